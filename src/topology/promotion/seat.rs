//! What each configured server said when all were asked: what elections are decided from.
//!
//! Pure. Does not know: connections, what is decided. Invariant: a server that did not answer says nothing, but for the last words of one
//! that is lost.

use std::sync::Arc;

use super::super::gtid::Transactions;
use super::super::roles::{self, Identity, Member};

/// What a server said when it was asked.
#[derive(Clone, Debug)]
pub(super) struct Testimony {
    /// Who it is and whom it follows.
    pub identity: Identity,
    /// It writes GTIDs to a binary log, also for what it applies: others can follow it.
    pub can_lead: bool,
    /// What it has executed or received.
    pub holds: Transactions,
    /// What it has executed.
    pub executed: Transactions,
    /// What it has executed, by who wrote it.
    pub history: Transactions,
    /// What it has executed or received, by who wrote it.
    pub claims: Transactions,
}

/// A configured server, whether it answered or not.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub host: String,
    pub port: u16,
    pub address: Arc<str>,
    /// It takes reads and is not to drain: first among equals.
    pub preferred: bool,
    /// What it said; of a lost primary, what it said last.
    pub said: Option<Testimony>,
    /// It has answered.
    pub answered: bool,
    /// It has come back without transactions that others have.
    pub lost: bool,
}

/// The servers as the rules for roles see them.
pub(super) fn members(seats: &[Seat]) -> Vec<Member<'_>> {
    seats
        .iter()
        .map(|seat| Member {
            host: &seat.host,
            port: seat.port,
            up: seat.answered,
            deposed: false,
            lost: seat.lost,
            history: None,
            draining: false,
            identity: seat.said.as_ref().map(|said| &said.identity),
        })
        .collect()
}

/// Whether a server has answered and follows this one.
pub(super) fn is_follower(seats: &[Seat], index: usize, source: usize) -> bool {
    seats[index].answered && roles::follows(&members(seats), index, source)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::super::replication::{Channel, IoThread, Replication};
    use super::super::super::roles::tests::identity;
    use super::*;

    pub const UUID: &str = "9a0b33ef-7c1c-11ef-8c62-0242ac12000";

    pub fn set(text: &str) -> Transactions {
        Transactions::parse(text.replace('@', UUID).as_bytes()).expect(text)
    }

    /// Server `id`, whose UUID ends with it; what it holds has `@` for the common part of UUIDs.
    pub fn seat(id: u16, sources: &[u32], holds: &str) -> Seat {
        let mut said = identity(id.into(), !sources.is_empty(), sources);
        said.server_uuid = Some(format!("{UUID}{id}"));
        if let Replication::Channels(channels) = &mut said.replication {
            for channel in channels {
                (channel.io, channel.source_uuid) =
                    (IoThread::Connecting, Some(format!("{UUID}{}", channel.source_server_id)));
            }
        }
        let holds = set(holds);
        let (executed, history, claims) = (holds.clone(), holds.clone(), holds.clone());
        let said = Testimony { identity: said, can_lead: true, holds, executed, history, claims };
        Seat {
            host: "h".into(),
            port: id,
            address: format!("h:{id}").into(),
            preferred: true,
            said: Some(said),
            answered: true,
            lost: false,
        }
    }

    pub fn channel(seat: &mut Seat) -> &mut Channel {
        let said = seat.said.as_mut().expect("it spoke");
        let Replication::Channels(channels) = &mut said.identity.replication else { panic!("readable") };
        &mut channels[0]
    }
}
