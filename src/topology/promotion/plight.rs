//! What is to be done: decided from what the probes say of all servers together.
//!
//! Pure. Does not know: how any of it is done, or whether another Tidegate does it. Invariant: a primary is gone only where the probes
//! say so and none of the replicas still hears from it.

use super::super::replication::IoThread;
use super::super::roles::{self, Member};

/// What is wrong with a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in super::super) struct Plight<S = crate::ids::ServerId> {
    /// The primary is gone, and nobody has its place.
    pub gone: Option<S>,
    /// Writable, and not the primary: to be made read only.
    pub loose: Vec<S>,
    /// It was the primary, is read only and follows nobody: to be made a replica, if its data allows it.
    pub idle: Vec<S>,
    /// The last primary, up and read only, which a majority still follows: it takes writes again, if it is read only because it was
    /// restarted.
    pub asleep: Option<S>,
    /// Who is the primary, and up.
    pub primary: Option<S>,
}

impl Plight<usize> {
    /// The same by other names.
    pub fn map<S>(self, name: impl Fn(usize) -> S + Copy) -> Plight<S> {
        Plight {
            gone: self.gone.map(name),
            loose: self.loose.into_iter().map(name).collect(),
            idle: self.idle.into_iter().map(name).collect(),
            asleep: self.asleep.map(name),
            primary: self.primary.map(name),
        }
    }
}

/// Looks at all servers; `is_down` as their probes say it.
pub(in super::super) fn plight(
    members: &[Member<'_>],
    current: Option<usize>,
    last: Option<usize>,
    is_down: impl Fn(usize) -> bool,
) -> Plight<usize> {
    if members.iter().any(Member::is_in_group) {
        return Plight::default(); // which elects by itself
    }
    let all = || 0..members.len();
    let primary = current.filter(|&index| members[index].up && roles::may_be_primary(members, index));
    let proven = primary.is_some_and(|index| roles::has_majority(members, index));
    let stands_alone = |index: usize, read_only: bool| {
        members[index].up
            && primary != Some(index)
            && members[index].identity.is_some_and(|said| {
                said.read_only == read_only && is_known_to_follow_nobody(&said.replication)
            })
    };
    let loose = |&index: &usize| stands_alone(index, false) && (members[index].deposed || proven);
    let idle = |&index: &usize| stands_alone(index, true) && members[index].deposed && primary.is_some();
    let nobody = || !all().any(|index| members[index].up && roles::may_be_primary(members, index));
    let asleep = |&index: &usize| {
        stands_alone(index, true)
            && !members[index].deposed
            && roles::has_majority(members, index)
            && nobody()
    };
    Plight {
        asleep: last.filter(asleep),
        gone: gone(members, current, is_down),
        loose: all().filter(loose).collect(),
        idle: all().filter(idle).collect(),
        primary,
    }
}

fn is_known_to_follow_nobody(replication: &super::super::replication::Replication) -> bool {
    matches!(replication, super::super::replication::Replication::Channels(channels) if channels.is_empty())
}

fn gone(members: &[Member<'_>], current: Option<usize>, is_down: impl Fn(usize) -> bool) -> Option<usize> {
    let all = || 0..members.len();
    if all().any(|index| members[index].up && roles::may_be_primary(members, index)) {
        return None;
    }
    let follow = |source: usize| {
        all().filter(move |&index| {
            index != source && members[index].up && roles::follows(members, index, source)
        })
    };
    // Where it was never seen, as after a start, it is the one that all who are up follow.
    let source = current.or_else(|| {
        let mut followed = all().filter(|&source| is_down(source) && follow(source).next().is_some());
        followed.next().filter(|_| followed.next().is_none())
    })?;
    let mut followers = follow(source).peekable();
    let is_gone = is_down(source)
        && followers.peek().is_some()
        && followers.all(|index| !hears_from(members, index, source));
    is_gone.then_some(source)
}

/// Whether a replica is connected to its source.
pub(super) fn hears_from(members: &[Member<'_>], replica: usize, source: usize) -> bool {
    let runs = |said: &roles::Identity| {
        said.replication.channels().iter().any(|channel| channel.io == IoThread::Runs)
    };
    roles::follows(members, replica, source) && members[replica].identity.is_some_and(runs)
}

#[cfg(test)]
mod tests {
    use super::super::super::replication::Replication;
    use super::super::super::roles::Identity;
    use super::super::super::roles::tests::{identity, members};
    use super::*;

    /// A server that follows these and has lost them.
    fn lost(id: u32, sources: &[u32]) -> Identity {
        let mut said = identity(id, true, sources);
        if let Replication::Channels(channels) = &mut said.replication {
            channels.iter_mut().for_each(|channel| channel.io = IoThread::Connecting);
        }
        said
    }

    fn looked_at(servers: &[Identity], down: &[usize], current: Option<usize>) -> Plight<usize> {
        plight(&members(servers, down), current, current, |index| down.contains(&index))
    }

    #[test]
    fn a_primary_is_gone_when_no_replica_hears_from_it() {
        let servers = [identity(1, false, &[]), lost(2, &[1]), lost(3, &[1])];
        assert_eq!(looked_at(&servers, &[0], Some(0)).gone, Some(0));
        assert_eq!(looked_at(&servers, &[0], None).gone, Some(0), "as after a start");
        assert_eq!(looked_at(&servers, &[], Some(0)).gone, None, "it is up");
    }

    #[test]
    fn a_partition_of_tidegate_alone_is_no_failure() {
        let one_hears = [identity(1, false, &[]), lost(2, &[1]), identity(3, true, &[1])];
        assert_eq!(looked_at(&one_hears, &[0], Some(0)).gone, None);
        let nobody_to_ask = [identity(1, false, &[]), lost(2, &[1]), lost(3, &[1])];
        assert_eq!(looked_at(&nobody_to_ask, &[0, 1, 2], Some(0)).gone, None);
    }

    #[test]
    fn nobody_is_replaced_while_somebody_is_writable() {
        let servers = [identity(1, false, &[]), identity(2, false, &[]), lost(3, &[1])];
        assert_eq!(looked_at(&servers, &[0], Some(0)).gone, None);
    }

    #[test]
    fn a_group_sees_to_itself() {
        let mut servers = [identity(1, false, &[]), lost(2, &[1]), lost(3, &[1])];
        assert!(looked_at(&servers, &[0], Some(0)).gone.is_some());
        servers[1].group = super::super::super::group::tests::member("g");
        assert_eq!(looked_at(&servers, &[0], Some(0)), Plight::default());
    }

    #[test]
    fn who_comes_back_writable_is_loose_and_who_comes_back_read_only_is_idle() {
        let servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[2])];
        let found = looked_at(&servers, &[], Some(1));
        assert_eq!((found.loose, found.idle, found.primary), (vec![0], vec![], Some(1)));
        let unproven = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[9])];
        assert_eq!(looked_at(&unproven, &[], Some(1)).loose, [0; 0], "which of them it is cannot be told");
        let back = [identity(1, true, &[]), identity(2, false, &[]), identity(3, true, &[2])];
        let look = |deposed| {
            let mut members = members(&back, &[]);
            members[0].deposed = deposed;
            plight(&members, Some(1), Some(1), |_| false).idle
        };
        assert_eq!((look(true), look(false)), (vec![0], vec![]), "others may have taken it out on purpose");
    }

    #[test]
    fn a_primary_that_is_read_only_while_a_majority_follows_it_is_asleep() {
        let servers = [identity(1, true, &[]), identity(2, true, &[1]), identity(3, true, &[1])];
        let asleep =
            |servers: &[Identity], last| plight(&members(servers, &[]), None, last, |_| false).asleep;
        assert_eq!(asleep(&servers, Some(0)), Some(0));
        assert_eq!(asleep(&servers, None), None, "it was not seen as the primary");
        let left = [identity(1, true, &[]), identity(2, true, &[3]), identity(3, true, &[])];
        assert_eq!(asleep(&left, Some(0)), None, "nobody follows it");
        let replaced = [identity(1, true, &[]), identity(2, false, &[]), identity(3, true, &[1])];
        assert_eq!(asleep(&replaced, Some(0)), None, "another one is writable");
    }
}
