//! What is to be done: decided from what the probes say of all servers together.
//!
//! Pure. Does not know: how any of it is done, or whether another Tidegate does it. Invariant: a primary is gone only where the probes
//! say so and none of the replicas still hears from it, or where it has come back without data that they have.

use super::super::roles::{self, Member};

/// What is wrong with a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in super::super) struct Plight<S = crate::ids::ServerId> {
    /// The primary is gone, and nobody has its place.
    pub gone: Option<S>,
    /// Writable, and not the primary: to be made read only.
    pub loose: Vec<S>,
    /// They follow nobody, or a server that is not the primary and leads nowhere: to be made its replicas, if their data allows it.
    pub stray: Vec<S>,
    /// The only writable server, which cannot be told to be the primary: others still follow one that is gone. A promotion that did not
    /// come to its end.
    pub unfinished: Option<S>,
    /// The last primary, up and read only, which a majority still follows: it takes writes again, if it is read only because it was
    /// restarted.
    pub asleep: Option<S>,
    /// It is up, takes no writes and follows nobody, though others follow it, and there is no primary: somebody has set it read only, or a
    /// switchover did not come to its end.
    pub halted: Option<S>,
    /// Who is the primary, and up.
    pub primary: Option<S>,
}

impl<S> Plight<S> {
    /// Whether nothing is wrong.
    pub fn is_well(&self) -> bool {
        !self.is_urgent() && self.stray.is_empty()
    }

    /// Whether more is wrong than that a server does not follow the primary.
    pub fn is_urgent(&self) -> bool {
        let singles = [&self.gone, &self.unfinished, &self.asleep, &self.halted];
        singles.iter().any(|one| one.is_some()) || !self.loose.is_empty()
    }
}

impl Plight<usize> {
    /// The same by other names.
    pub fn map<S>(self, name: impl Fn(usize) -> S + Copy) -> Plight<S> {
        Plight {
            gone: self.gone.map(name),
            loose: self.loose.into_iter().map(name).collect(),
            stray: self.stray.into_iter().map(name).collect(),
            unfinished: self.unfinished.map(name),
            asleep: self.asleep.map(name),
            halted: self.halted.map(name),
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
            && members[index]
                .identity
                .is_some_and(|said| said.read_only == read_only && said.replication.is_known_to_be_none())
    };
    let loose = |&index: &usize| stands_alone(index, false) && (members[index].deposed || proven);
    // Who drains may have been taken out on purpose.
    let alone = |index: usize| {
        stands_alone(index, true) && (members[index].deposed || (proven && !members[index].draining))
    };
    let stray =
        |&index: &usize| primary.is_some_and(|primary| alone(index) || is_astray(members, index, primary));
    let nobody = || !all().any(|index| members[index].up && roles::may_be_primary(members, index));
    let asleep = |&index: &usize| {
        stands_alone(index, true)
            && !members[index].deposed
            && !members[index].lost
            && roles::has_majority(members, index)
            && nobody()
    };
    let gone = gone(members, current.or(last), &is_down);
    let halted = |&index: &usize| {
        stands_alone(index, true) && !members[index].lost && followers(members, index).next().is_some()
    };
    Plight {
        asleep: last.filter(asleep),
        halted: all().find(halted).filter(|_| primary.is_none() && gone.is_none()),
        gone,
        loose: all().filter(loose).collect(),
        stray: all().filter(stray).collect(),
        unfinished: unfinished(members, current, &is_down),
        primary,
    }
}

/// Whether a replica of a single source gets nothing that the primary writes: its source is another member, and so on up to one that is
/// not the primary; or it was told of the primary, and never begun.
fn is_astray(members: &[Member<'_>], index: usize, primary: usize) -> bool {
    let said = members[index].identity.filter(|_| members[index].up && index != primary);
    let Some([channel]) = said.map(|said| said.replication.channels()) else { return false };
    let source =
        |of: usize| (0..members.len()).find(|&other| other != of && roles::follows(members, of, other));
    if source(index) == Some(primary) {
        let primary = members[primary].identity;
        return channel.is_unbegun(primary.map_or(0, |said| said.server_id));
    }
    // As many steps as there are servers: they may follow each other in a ring.
    let mut top = index;
    for _ in 0..members.len() {
        match source(top) {
            Some(next) if next == primary => return false,
            Some(next) => top = next,
            None => break,
        }
    }
    let ends = members[top].identity.is_none_or(|said| said.replication.is_known_to_be_none());
    top != index && ends
}

fn gone(members: &[Member<'_>], known: Option<usize>, is_down: impl Fn(usize) -> bool) -> Option<usize> {
    let all = || 0..members.len();
    if all().any(|index| members[index].up && roles::may_be_primary(members, index)) {
        return None;
    }
    // Where it was never seen, as after a start, it is the one that all who are up follow.
    let source = known.or_else(|| {
        let is_followed = |&source: &usize| followers(members, source).next().is_some();
        let mut followed = all().filter(|&source| is_down(source)).filter(is_followed);
        followed.next().filter(|_| followed.next().is_none())
    })?;
    let mut followers = followers(members, source).peekable();
    let is_gone = followers.peek().is_some()
        && (members[source].lost && members[source].up
            || is_down(source) && followers.all(|index| !hears_from(members, index, source)));
    is_gone.then_some(source)
}

fn unfinished(
    members: &[Member<'_>],
    current: Option<usize>,
    is_down: impl Fn(usize) -> bool,
) -> Option<usize> {
    let mut writable = (0..members.len()).filter(|&i| members[i].up && roles::may_be_primary(members, i));
    let only = writable.next().filter(|_| current.is_none() && writable.next().is_none())?;
    let mut others = roles::contradicting(members, only).peekable();
    others.peek()?;
    let follows_a_dead_one = |other: usize| {
        (0..members.len()).any(|source| {
            is_down(source) && roles::follows(members, other, source) && !hears_from(members, other, source)
        })
    };
    others.all(follows_a_dead_one).then_some(only)
}

/// Those that are up and follow this one.
fn followers(members: &[Member<'_>], source: usize) -> impl Iterator<Item = usize> {
    (0..members.len())
        .filter(move |&index| index != source && members[index].up && roles::follows(members, index, source))
}

/// Whether a replica is connected to its source.
pub(super) fn hears_from(members: &[Member<'_>], replica: usize, source: usize) -> bool {
    let hears = |said: &roles::Identity| said.replication.channels().iter().any(|channel| channel.hears());
    roles::follows(members, replica, source) && members[replica].identity.is_some_and(hears)
}

#[cfg(test)]
mod tests {
    use super::super::super::gtid::Transactions;
    use super::super::super::replication::{IoThread, Replication};
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
    fn a_replica_that_is_refused_by_the_primary_hears_from_it() {
        let mut refused = lost(2, &[1]);
        if let Replication::Channels(channels) = &mut refused.replication {
            channels[0].io_error = 1045; // the account's password was changed
        }
        let servers = [identity(1, false, &[]), refused, lost(3, &[1])];
        assert_eq!(looked_at(&servers, &[0], Some(0)).gone, None);
    }

    #[test]
    fn a_primary_that_has_come_back_without_its_data_is_gone_while_its_replicas_hear_from_it() {
        let servers = [identity(1, false, &[]), identity(2, true, &[1]), identity(3, true, &[1])];
        let mut members = members(&servers, &[]);
        members[0].lost = true;
        let found = plight(&members, None, Some(0), |_| false);
        assert_eq!((found.gone, found.asleep), (Some(0), None));
    }

    #[test]
    fn who_comes_back_writable_is_loose_and_who_comes_back_read_only_is_astray() {
        let servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[2])];
        let found = looked_at(&servers, &[], Some(1));
        assert_eq!((found.loose, found.stray, found.primary), (vec![0], vec![], Some(1)));
        let unproven = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[9])];
        assert_eq!(looked_at(&unproven, &[], Some(1)).loose, [0; 0], "which of them it is cannot be told");
        let back = [identity(1, true, &[]), identity(2, false, &[]), identity(3, true, &[2])];
        assert_eq!(
            looked_at(&back, &[], Some(1)).stray,
            [0],
            "also after a start, where it was not seen to lose its place"
        );
        let mut members = members(&back, &[]);
        members[0].draining = true;
        let look = |members: &[Member<'_>]| plight(members, Some(1), Some(1), |_| false).stray;
        assert_eq!(look(&members), [0; 0], "somebody may have taken it out on purpose");
        members[0].deposed = true;
        assert_eq!(look(&members), [0]);
    }

    #[test]
    fn who_follows_the_old_primary_is_astray() {
        let servers =
            [identity(1, false, &[]), identity(2, false, &[]), lost(3, &[1]), identity(4, true, &[2])];
        assert_eq!(looked_at(&servers, &[0], Some(1)).stray, [2]);
        assert_eq!(looked_at(&servers[..2], &[0], Some(1)).stray, [0; 0]);
        let chain = [identity(1, true, &[2]), identity(2, false, &[]), identity(3, true, &[1])];
        assert_eq!(looked_at(&chain, &[], Some(1)).stray, [0; 0], "it gets all, by another replica");
        let outside = [identity(2, false, &[]), identity(3, true, &[9])];
        assert_eq!(looked_at(&outside, &[], Some(0)).stray, [0; 0], "whom that follows is not known here");
        let ring = [identity(2, false, &[]), identity(3, true, &[4]), identity(4, true, &[3])];
        assert_eq!(looked_at(&ring, &[], Some(0)).stray, [0; 0], "nobody's doing that is Tidegate's");
    }

    #[test]
    fn a_replica_that_is_stopped_is_astray_while_its_source_stands_alone() {
        let mut stopped = identity(3, true, &[1]);
        if let Replication::Channels(channels) = &mut stopped.replication {
            (channels[0].io, channels[0].sql_runs) = (IoThread::Stopped, false);
        }
        let told = [identity(1, true, &[]), identity(2, false, &[]), stopped.clone()];
        assert_eq!(looked_at(&told, &[], Some(1)).stray, [2], "a change of primary broke off");
        let chained = [identity(1, true, &[2]), identity(2, false, &[]), stopped];
        assert_eq!(looked_at(&chained, &[], Some(1)).stray, [0; 0], "a person may have stopped it");
    }

    #[test]
    fn who_was_told_of_the_primary_and_never_begun_is_astray() {
        let mut unbegun = identity(3, true, &[0]);
        if let Replication::Channels(channels) = &mut unbegun.replication {
            (channels[0].io, channels[0].sql_runs) = (IoThread::Stopped, false);
            (channels[0].source_host, channels[0].source_port) = ("elsewhere".into(), 1);
        }
        let servers = [identity(2, false, &[]), unbegun];
        let look = |servers: &[Identity]| looked_at(servers, &[], Some(0)).stray;
        assert_eq!(look(&servers), [1]);
        let mut of_mariadb = servers.clone();
        if let Replication::Channels(channels) = &mut of_mariadb[1].replication {
            channels[0].source_server_id = 1; // of the one before, until it is reached
        }
        assert_eq!(look(&of_mariadb), [1]);
        let mut stopped = servers;
        if let Replication::Channels(channels) = &mut stopped[1].replication {
            channels[0].source_server_id = 2;
        }
        assert_eq!(look(&stopped), [0; 0], "it has followed the primary: a person has stopped it");
    }

    #[test]
    fn a_promotion_that_did_not_come_to_its_end_is_found_after_a_start() {
        let servers = [identity(1, false, &[]), identity(2, false, &[]), lost(3, &[1])];
        let look = |servers: &[Identity], down: &[usize], current| {
            plight(&members(servers, down), current, None, |index| down.contains(&index)).unfinished
        };
        assert_eq!(look(&servers, &[0], None), Some(1));
        assert_eq!(look(&servers, &[0], Some(1)), None, "it is the primary");
        assert_eq!(look(&servers, &[], None), None, "both are writable");
        let heard = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[1])];
        assert_eq!(look(&heard, &[0], None), None, "its replica hears from the other one");
    }

    #[test]
    fn of_two_writable_servers_the_one_that_lacks_something_is_not_chosen_for_its_followers() {
        let set = |text: &str| Transactions::parse_state(text.as_bytes()).expect(text);
        let (old, new) = (set("0-1-100"), set("0-1-100,0-2-130"));
        // 3 follows the old primary 1 again: nobody has told it of 2.
        let servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[1])];
        let mut members = members(&servers, &[]);
        (members[0].history, members[1].history) = (Some(&old), Some(&new));
        let primary = |members: &[Member<'_>], current| roles::assign_guarded(members, current, true).primary;
        assert_eq!(primary(&members, None), None);
        (members[0].history, members[1].history) = (Some(&new), Some(&old));
        assert_eq!(primary(&members, None), Some(0));
    }

    #[test]
    fn a_cluster_in_which_nobody_writes_is_halted_whoever_was_the_primary() {
        let servers = [identity(1, true, &[]), identity(2, true, &[1]), identity(3, true, &[1])];
        let halted = |servers: &[Identity], down: &[usize]| looked_at(servers, down, None).halted;
        assert_eq!(halted(&servers, &[]), Some(0));
        assert_eq!(halted(&servers, &[1, 2]), None, "nobody says that it was the primary");
        assert_eq!(halted(&servers, &[0]), None);
        let half_done = [identity(1, true, &[]), identity(2, false, &[1]), identity(3, true, &[1])];
        assert_eq!(halted(&half_done, &[]), Some(0), "the candidate still follows it");
        let replaced = [identity(1, true, &[]), identity(2, false, &[]), identity(3, true, &[1])];
        assert_eq!(looked_at(&replaced, &[], Some(1)).halted, None, "there is a primary");
        assert_eq!(halted(&replaced, &[]), Some(0), "nobody can tell that it is one");
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
