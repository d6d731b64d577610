//! Which server is the primary: decided over all servers together, from `read_only` and who follows whom.
//!
//! Does not know: lag, clocks, clients. Invariant: at most one primary, and the one in use stays while it is
//! valid, so that two writable servers cannot make the writes go back and forth.

mod member;

use super::replication::Replication;

pub(super) use member::{Identity, Member, contradicting, follows, has_majority, may_be_primary};

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

/// Whether a server lacks nothing that another has. Where two are writable and it is not known who was the primary before, followers alone
/// do not tell: those of an old primary may not have been told of the new one yet.
fn has_all_of(members: &[Member<'_>], index: usize, other: usize) -> bool {
    match (members[index].history, members[other].history) {
        (Some(one), Some(other)) => one.contains(other),
        _ => true,
    }
}

/// Whether a server that is up follows another than this one, which does not follow this one in turn.
fn is_contradicted(members: &[Member<'_>], index: usize) -> bool {
    contradicting(members, index).next().is_some()
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

fn followers(members: &[Member<'_>], index: usize) -> usize {
    (0..members.len()).filter(|&other| other != index && follows(members, other, index)).count()
}

#[cfg(test)]
pub(super) mod tests;
