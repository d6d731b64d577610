//! What servers say of themselves, and how they stand to each other by that: who follows whom, who may be a primary.
//!
//! Pure. Does not know: which of those that may is the primary, clocks. Invariant: what a server that is down has said last still counts
//! for who follows whom.

use super::super::group::Membership;
use super::super::gtid::Transactions;
use super::super::replication::{IoThread, Replication};

/// What one server last said of itself.
#[derive(Clone, Debug)]
pub(in super::super) struct Identity {
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
pub(in super::super) struct Member<'a> {
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

/// Writable, and following no server of this cluster but those that follow it back (a ring).
///
/// Where the replication status may not be read, a writable server is believed only if it stands alone.
pub(in super::super) fn may_be_primary(members: &[Member<'_>], index: usize) -> bool {
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

/// Whether a channel of `replica` has `source` as its source: by UUID where both are known, else by the
/// configured address, else by `server_id`.
pub(in super::super) fn follows(members: &[Member<'_>], replica: usize, source: usize) -> bool {
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

/// Whether a server and those that follow it are more than half of all. Who has been told to stop receiving follows nobody: a promotion
/// begins with that, and may not have come to its end.
pub(in super::super) fn has_majority(members: &[Member<'_>], index: usize) -> bool {
    let follow =
        |&other: &usize| other != index && receives(&members[other]) && follows(members, other, index);
    ((0..members.len()).filter(follow).count() + 1) * 2 > members.len()
}

/// Whether a server receives from another, or would if it could.
fn receives(member: &Member<'_>) -> bool {
    member.identity.is_some_and(|said| said.replication.channels().iter().any(|c| c.io != IoThread::Stopped))
}

/// Those that are up and follow another than this one, which does not follow this one in turn.
pub(in super::super) fn contradicting(members: &[Member<'_>], index: usize) -> impl Iterator<Item = usize> {
    let speaks = move |&other: &usize| other != index && members[other].up && receives(&members[other]);
    (0..members.len()).filter(speaks).filter(move |&other| {
        (0..members.len())
            .filter(|&source| source != index && source != other && follows(members, other, source))
            .any(|source| !follows(members, source, index))
    })
}
