//! Which server is the primary: decided over all servers together, from `read_only` and who follows whom.
//!
//! Does not know: lag, clocks, clients. Invariant: at most one primary, and the one in use stays while it is
//! valid, so that two writable servers cannot make the writes go back and forth.

use super::group::Membership;
use super::gtid::Transactions;
use super::replication::{IoThread, Replication};

/// What a server is to its cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Not known yet.
    Unknown,
    /// Takes the writes.
    Primary,
    /// Follows another server, or takes no writes.
    Replica,
    /// Writable beside the primary, and of one group with it: it has the same data, and may take the primary's place.
    Peer,
    /// Writable beside the primary and following nobody: its data may differ, so it takes nothing.
    Rival,
}

impl Role {
    /// Whether it takes reads beside the primary.
    pub fn reads(self) -> bool {
        matches!(self, Self::Replica | Self::Peer)
    }

    /// The word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Peer => "peer",
            Self::Rival => "rival",
        }
    }
}

/// What one server last said of itself.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// `read_only` or `super_read_only`.
    pub read_only: bool,
    /// `server_id`.
    pub server_id: u32,
    /// `server_uuid`; MySQL only.
    pub server_uuid: Option<String>,
    /// Whom it follows.
    pub replication: Replication,
    /// The group that it is in.
    pub group: Option<Membership>,
}

/// One server as this module sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    /// The configured host.
    pub host: &'a str,
    /// The configured port.
    pub port: u16,
    /// It takes connections.
    pub up: bool,
    /// It was the primary until another took its place, and has not been made a replica since.
    pub deposed: bool,
    /// It has come back without transactions that others have: it is no primary.
    pub lost: bool,
    /// All that its binary log has held, as far as that is known.
    pub history: Option<&'a Transactions>,
    /// It finishes what it has begun, as the rules or an operator want it.
    pub draining: bool,
    /// What it last said; `None` if it never did. What a dead server said still counts for who follows whom.
    pub identity: Option<&'a Identity>,
}

impl Member<'_> {
    /// Whether it is a member of a group.
    pub fn is_in_group(&self) -> bool {
        self.identity.is_some_and(|said| said.group.is_some())
    }
}

/// The outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Assignment {
    /// The primary, up or not.
    pub primary: Option<usize>,
    /// One role per member.
    pub roles: Vec<Role>,
}

/// Decides all roles. No primary is chosen before `all_probed`: the first to answer might be the wrong one.
pub(super) fn assign(members: &[Member<'_>], current: Option<usize>, all_probed: bool) -> Assignment {
    assigned(members, choose(members, current, all_probed))
}

/// The same where Tidegate itself promotes, and a primary that has lost its place may come back writable at any time: two writable
/// servers are no primary, unless a majority of all servers is one of them and those that follow it; and one alone is none as long as
/// others follow somebody else.
pub(super) fn assign_guarded(members: &[Member<'_>], current: Option<usize>, all_probed: bool) -> Assignment {
    assigned(members, choose_guarded(members, current, all_probed))
}

fn choose_guarded(members: &[Member<'_>], current: Option<usize>, all_probed: bool) -> Option<usize> {
    let current = current.filter(|&index| may_be_primary(members, index));
    if current.is_none() && !all_probed {
        return None;
    }
    let writable: Vec<_> =
        (0..members.len()).filter(|&index| members[index].up && may_be_primary(members, index)).collect();
    match writable[..] {
        [] => current,
        [one] if current == Some(one) || !is_contradicted(members, one) => Some(one),
        [_] => None,
        _ => writable.iter().copied().find(|&index| {
            let others = || writable.iter().copied().filter(move |&other| other != index);
            has_majority(members, index)
                && (current == Some(index) || others().all(|other| has_all_of(members, index, other)))
        }),
    }
}

/// Whether a server and those that follow it are more than half of all. Who has been told to stop receiving follows nobody: a promotion
/// begins with that, and may not have come to its end.
pub(super) fn has_majority(members: &[Member<'_>], index: usize) -> bool {
    let follow =
        |&other: &usize| other != index && receives(&members[other]) && follows(members, other, index);
    ((0..members.len()).filter(follow).count() + 1) * 2 > members.len()
}

/// Whether a server lacks nothing that another has. Where two are writable and it is not known who was the primary before, followers alone
/// do not tell: those of an old primary may not have been told of the new one yet.
fn has_all_of(members: &[Member<'_>], index: usize, other: usize) -> bool {
    match (members[index].history, members[other].history) {
        (Some(one), Some(other)) => one.contains(other),
        _ => true,
    }
}

/// Whether a server receives from another, or would if it could.
fn receives(member: &Member<'_>) -> bool {
    member.identity.is_some_and(|said| said.replication.channels().iter().any(|c| c.io != IoThread::Stopped))
}

/// Whether a server that is up follows another than this one, which does not follow this one in turn.
fn is_contradicted(members: &[Member<'_>], index: usize) -> bool {
    contradicting(members, index).next().is_some()
}

/// Those that are up and follow another than this one, which does not follow this one in turn.
pub(super) fn contradicting(members: &[Member<'_>], index: usize) -> impl Iterator<Item = usize> {
    let speaks = move |&other: &usize| other != index && members[other].up && receives(&members[other]);
    (0..members.len()).filter(speaks).filter(move |&other| {
        (0..members.len())
            .filter(|&source| source != index && source != other && follows(members, other, source))
            .any(|source| !follows(members, source, index))
    })
}

fn assigned(members: &[Member<'_>], primary: Option<usize>) -> Assignment {
    let roles = (0..members.len()).map(|index| role(members, index, primary)).collect();
    Assignment { primary, roles }
}

fn choose(members: &[Member<'_>], current: Option<usize>, all_probed: bool) -> Option<usize> {
    if is_only_server(members) {
        return Some(0);
    }
    let current = current.filter(|&index| may_be_primary(members, index));
    if current.is_some_and(|index| members[index].up) {
        return current;
    }
    if current.is_none() && !all_probed {
        return None;
    }
    (0..members.len())
        .filter(|&index| members[index].up && may_be_primary(members, index))
        .max_by_key(|&index| (followers(members, index), std::cmp::Reverse(index)))
        .or(current)
}

fn role(members: &[Member<'_>], index: usize, primary: Option<usize>) -> Role {
    let Some(identity) = members[index].identity else { return Role::Unknown };
    let follows_any = !identity.replication.channels().is_empty();
    if primary == Some(index) {
        Role::Primary
    } else if identity.read_only || follows_any {
        Role::Replica
    } else if primary.is_some_and(|primary| are_peers(members, index, primary)) {
        Role::Peer
    } else if (primary.is_some() || members[index].deposed || members[index].lost)
        && (members[index].up || !members[index].deposed)
        && identity.replication != Replication::Unreadable
    {
        Role::Rival
    } else {
        Role::Unknown
    }
}

/// Whether two servers are members of one group.
fn are_peers(members: &[Member<'_>], one: usize, other: usize) -> bool {
    let group = |index: usize| members[index].identity.and_then(|said| said.group.as_ref());
    matches!((group(one), group(other)), (Some(one), Some(other)) if one.name == other.name)
}

/// The only server of a cluster is its primary also while it is read only: whom it lets write then is its own to say. Not so one that
/// follows another, and not where Tidegate promotes: there `read_only` is what keeps writes away.
fn is_only_server(members: &[Member<'_>]) -> bool {
    let follows_nobody =
        |said: &Identity| matches!(&said.replication, Replication::Channels(channels) if channels.is_empty());
    matches!(members, [Member { identity: Some(said), .. }] if follows_nobody(said) && said.group.is_none())
}

/// Writable, and following no server of this cluster but those that follow it back (a ring).
///
/// Where the replication status may not be read, a writable server is believed only if it stands alone.
pub(super) fn may_be_primary(members: &[Member<'_>], index: usize) -> bool {
    let barred = members[index].deposed || members[index].lost;
    let Some(identity) = members[index].identity.filter(|_| !barred) else { return false };
    if identity.read_only || (identity.replication == Replication::Unreadable && members.len() > 1) {
        return false;
    }
    if identity.group.as_ref().is_some_and(|group| group.unfit.is_some()) {
        return false;
    }
    (0..members.len())
        .filter(|&other| other != index && follows(members, index, other))
        .all(|other| follows(members, other, index))
}

fn followers(members: &[Member<'_>], index: usize) -> usize {
    (0..members.len()).filter(|&other| other != index && follows(members, other, index)).count()
}

/// Whether a channel of `replica` has `source` as its source: by UUID where both are known, else by the
/// configured address, else by `server_id`.
pub(super) fn follows(members: &[Member<'_>], replica: usize, source: usize) -> bool {
    let Some(identity) = members[replica].identity else { return false };
    let source = &members[source];
    identity.replication.channels().iter().any(|channel| {
        let said = source.identity;
        match (&channel.source_uuid, said.and_then(|said| said.server_uuid.as_ref())) {
            // One that has come back without its data has another UUID than its replicas know.
            (Some(one), Some(other)) if !source.lost => one.eq_ignore_ascii_case(other),
            _ => {
                (channel.source_host.eq_ignore_ascii_case(source.host) && channel.source_port == source.port)
                    || said
                        .is_some_and(|said| said.server_id != 0 && said.server_id == channel.source_server_id)
            }
        }
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::replication::tests::channel;
    use super::*;

    /// A server with this id that follows these ids.
    pub fn identity(server_id: u32, read_only: bool, sources: &[u32]) -> Identity {
        let channels = sources.iter().map(|&source| channel(source, Some(0))).collect();
        Identity {
            read_only,
            server_id,
            server_uuid: None,
            replication: Replication::Channels(channels),
            group: None,
        }
    }

    pub fn members<'a>(identities: &'a [Identity], down: &[usize]) -> Vec<Member<'a>> {
        let member = |(index, identity)| Member {
            host: "elsewhere",
            port: 1,
            up: !down.contains(&index),
            deposed: false,
            lost: false,
            history: None,
            draining: false,
            identity: Some(identity),
        };
        identities.iter().enumerate().map(member).collect()
    }

    fn assigned(
        identities: &[Identity],
        down: &[usize],
        current: Option<usize>,
    ) -> (Option<usize>, Vec<Role>) {
        let assignment = assign(&members(identities, down), current, true);
        (assignment.primary, assignment.roles)
    }

    use super::super::group::Unfit;
    use Role::{Peer, Primary, Replica, Rival};

    #[test]
    fn a_primary_and_its_replicas() {
        let servers = [identity(1, true, &[2]), identity(2, false, &[]), identity(3, true, &[2])];
        assert_eq!(assigned(&servers, &[], None), (Some(1), vec![Replica, Primary, Replica]));
    }

    #[test]
    fn a_replica_that_forgot_read_only_is_a_replica() {
        let servers = [identity(2, false, &[1]), identity(1, false, &[])];
        assert_eq!(assigned(&servers, &[], None), (Some(1), vec![Replica, Primary]));
        assert_eq!(assigned(&servers, &[1], Some(1)).0, Some(1), "also when the primary is down");
        assert_eq!(assigned(&servers[..1], &[], None).0, Some(0), "its source is outside of the cluster");
    }

    #[test]
    fn all_read_only_is_no_primary() {
        let servers = [identity(1, true, &[]), identity(2, true, &[1])];
        assert_eq!(assigned(&servers, &[], Some(0)), (None, vec![Replica, Replica]));
    }

    #[test]
    fn who_stands_alone_is_the_primary_also_when_read_only() {
        let alone = [identity(1, true, &[])];
        assert_eq!(assigned(&alone, &[], None), (Some(0), vec![Primary]));
        assert_eq!(assigned(&alone, &[0], Some(0)), (Some(0), vec![Primary]), "also while it is down");
        assert_eq!(guarded(&alone, &[], Some(0)), (None, vec![Replica]));
        assert_eq!(
            assigned(&[identity(1, true, &[9])], &[], None),
            (None, vec![Replica]),
            "it follows another"
        );
    }

    #[test]
    fn of_a_group_one_member_that_is_fit_takes_the_writes_and_the_others_are_its_peers() {
        let of = |name: &str, unfit| Some(Membership { name: name.into(), unfit });
        let in_group = |id, group| Identity { group, ..identity(id, false, &[]) };
        let mut servers = [1, 2, 3].map(|id| in_group(id, of("g", None)));
        assert_eq!(assigned(&servers, &[], None), (Some(0), vec![Primary, Peer, Peer]));
        assert_eq!(assigned(&servers, &[0], Some(0)), (Some(1), vec![Peer, Primary, Peer]));
        assert_eq!(assigned(&servers, &[], Some(1)).0, Some(1), "who comes back is a peer");
        servers[1].group = of("g", Some(Unfit::Parted));
        assert_eq!(assigned(&servers, &[], Some(1)), (Some(0), vec![Primary, Peer, Peer]));
        servers[2].group = of("other", None);
        assert_eq!(assigned(&servers, &[], None).1[2], Rival, "another group has other data");
        servers[2] = identity(3, false, &[]);
        assert_eq!(assigned(&servers, &[], None).1[2], Rival);
        servers[0].group = of("g", Some(Unfit::Outside));
        assert_eq!(assigned(&servers[..2], &[], Some(0)).0, None, "nobody is fit");
    }

    #[test]
    fn a_group_with_one_writer_shows_it_by_read_only() {
        let member = |id, read_only| Identity {
            group: Some(Membership { name: "g".into(), unfit: None }),
            ..identity(id, read_only, &[])
        };
        let servers = [member(1, true), member(2, false), member(3, true)];
        assert_eq!(assigned(&servers, &[], None), (Some(1), vec![Replica, Primary, Replica]));
        assert_eq!(assigned(&servers, &[1], Some(1)).0, Some(1), "until the group has elected another");
    }

    #[test]
    fn of_two_writable_servers_the_replicas_choose() {
        let servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[2])];
        assert_eq!(assigned(&servers, &[], None), (Some(1), vec![Rival, Primary, Replica]));
        assert_eq!(
            assigned(&servers[..2], &[], None),
            (Some(0), vec![Primary, Rival]),
            "else the file's order"
        );
    }

    #[test]
    fn t26_the_primary_in_use_stays_while_it_is_valid() {
        let servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[2])];
        assert_eq!(assigned(&servers, &[], Some(0)).0, Some(0));
        assert_eq!(assigned(&servers, &[0], Some(0)).0, Some(1), "it is down and another is there");
        assert_eq!(assigned(&servers, &[0, 1], Some(0)).0, Some(0), "down, and nobody else");
    }

    #[test]
    fn a_promoted_replica_takes_over_from_a_demoted_primary() {
        let servers = [identity(1, true, &[2]), identity(2, false, &[])];
        assert_eq!(assigned(&servers, &[], Some(0)), (Some(1), vec![Replica, Primary]));
    }

    #[test]
    fn a_ring_has_a_primary() {
        let servers = [identity(1, true, &[2]), identity(2, false, &[1])];
        assert_eq!(assigned(&servers, &[], None), (Some(1), vec![Replica, Primary]));
        let both_writable = [identity(1, false, &[2]), identity(2, false, &[1])];
        assert_eq!(assigned(&both_writable, &[], None), (Some(0), vec![Primary, Replica]));
    }

    #[test]
    fn a_primary_that_follows_another_cluster_is_a_primary() {
        let servers = [identity(1, false, &[99]), identity(2, true, &[1])];
        assert_eq!(assigned(&servers, &[], None), (Some(0), vec![Primary, Replica]));
    }

    #[test]
    fn nobody_is_chosen_before_all_were_probed() {
        let servers = [identity(1, false, &[]), identity(2, false, &[])];
        let assignment = assign(&members(&servers, &[]), None, false);
        assert_eq!((assignment.primary, assignment.roles), (None, vec![Role::Unknown, Role::Unknown]));
    }

    #[test]
    fn a_uuid_tells_sources_apart_that_share_an_id() {
        let mut replica = identity(2, false, &[1]);
        if let Replication::Channels(channels) = &mut replica.replication {
            channels[0].source_uuid = Some("other".into());
        }
        let mut primary = identity(1, false, &[]);
        primary.server_uuid = Some("mine".into());
        assert!(!follows(&members(&[replica, primary], &[]), 0, 1));
    }

    #[test]
    fn the_configured_address_tells_the_source_too() {
        let servers = [identity(2, true, &[0]), identity(1, false, &[])];
        let mut members = members(&servers, &[]);
        assert!(!follows(&members, 0, 1), "an id of 0 is no id");
        (members[1].host, members[1].port) = ("HOST-0", 3306);
        assert!(follows(&members, 0, 1));
        members[1].identity = None;
        assert!(follows(&members, 0, 1), "also of a server that was never reached");
    }

    fn guarded(
        identities: &[Identity],
        down: &[usize],
        current: Option<usize>,
    ) -> (Option<usize>, Vec<Role>) {
        let assignment = assign_guarded(&members(identities, down), current, true);
        (assignment.primary, assignment.roles)
    }

    #[test]
    fn two_writable_servers_are_no_primary_unless_the_majority_follows_one() {
        let servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[2])];
        assert_eq!(guarded(&servers, &[], None), (Some(1), vec![Rival, Primary, Replica]));
        assert_eq!(guarded(&servers, &[], Some(0)).0, Some(1), "also where the other one was in use");
        let split = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[9])];
        assert_eq!(guarded(&split, &[], Some(0)).0, None, "split brain");
        assert_eq!(guarded(&split, &[1], Some(0)).0, Some(0));
    }

    #[test]
    fn who_comes_back_alone_is_no_primary_while_others_follow_somebody_else() {
        let servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[2])];
        assert_eq!(guarded(&servers, &[1], None).0, None, "2 took the place of 1, and is down itself");
        assert_eq!(guarded(&servers, &[1, 2], None).0, Some(0), "nobody says otherwise");
        let chain = [identity(1, false, &[]), identity(2, true, &[1]), identity(3, true, &[2])];
        assert_eq!(guarded(&chain, &[], None).0, Some(0), "who follows a follower contradicts nobody");
    }

    #[test]
    fn replicas_that_were_told_to_stop_receiving_contradict_nobody() {
        let mut servers = [identity(1, false, &[]), identity(2, false, &[]), identity(3, true, &[1])];
        if let Replication::Channels(channels) = &mut servers[2].replication {
            channels[0].io = IoThread::Stopped;
        }
        assert_eq!(guarded(&servers, &[0], Some(0)).0, Some(1), "as in the middle of a promotion");
    }

    #[test]
    fn a_deposed_primary_is_a_rival_until_it_follows() {
        let servers = [identity(1, false, &[]), identity(2, true, &[])];
        let mut members = members(&servers, &[1]);
        members[0].deposed = true;
        let assignment = assign_guarded(&members, None, true);
        assert_eq!((assignment.primary, assignment.roles), (None, vec![Rival, Replica]));
    }

    #[test]
    fn an_unreadable_status_is_believed_only_of_a_server_alone() {
        let unreadable = Identity { replication: Replication::Unreadable, ..identity(1, false, &[]) };
        assert_eq!(assigned(std::slice::from_ref(&unreadable), &[], None), (Some(0), vec![Primary]));
        let two = [unreadable.clone(), Identity { server_id: 2, ..unreadable }];
        assert_eq!(assigned(&two, &[], None), (None, vec![Role::Unknown, Role::Unknown]));
    }
}
