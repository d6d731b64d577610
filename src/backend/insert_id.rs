//! Where a session's LAST_INSERT_ID() is to be had.
//!
//! An OK packet's insert id may be an explicit value, which LAST_INSERT_ID() does not give. So the connection that
//! ran the statement is remembered; whoever needs that for another session, or the value elsewhere, reads it back first, and
//! leaves 0 there. Invariant: a connection that no session is noted on ([`Connection::debt`]) answers LAST_INSERT_ID() with 0.
//!
//! [`Connection::debt`]: super::connection::Connection::debt

use std::sync::Mutex;
use std::sync::PoisonError;

use crate::ids::{BackendId, ServerId};

/// Asks for LAST_INSERT_ID(), and leaves none: who comes next would take it for its own.
pub const TAKE: &[u8] = b"SELECT LAST_INSERT_ID(),LAST_INSERT_ID(0)";

/// Where the value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Place {
    /// No statement of the session has made one.
    #[default]
    Nowhere,
    /// On this connection, by the last answer of its statements.
    On {
        /// The server.
        server: ServerId,
        /// Its thread.
        id: BackendId,
        /// The last id that an OK packet has told: the value, most likely, should the connection be lost.
        reported: Option<u64>,
        /// The session's value before, which holds while the connection has none (0): ids that are given explicitly are
        /// reported, and not taken over. `None` where a statement may have set it to 0.
        before: Option<u64>,
    },
    /// Known.
    Known(u64),
}

impl Place {
    /// Whether it is on this connection.
    pub fn is_on(self, at: (ServerId, BackendId)) -> bool {
        matches!(self, Self::On { server, id, .. } if (server, id) == at)
    }

    /// The value by the server's answer, or what is most likely where there is none.
    fn value(self, answer: Option<u64>) -> u64 {
        match (self, answer) {
            (Self::Nowhere, _) => 0,
            (Self::Known(value), _) => value,
            (Self::On { before: Some(before), .. }, Some(0)) => before,
            (Self::On { .. }, Some(value)) => value,
            (Self::On { reported, before, .. }, None) => reported.or(before).unwrap_or(0),
        }
    }

    /// The same on a connection that is right whatever it says, by a statement that has named the value there.
    pub fn named(self) -> Self {
        match self {
            Self::On { server, id, reported, before } => {
                Self::On { server, id, reported: reported.or(before), before: None }
            }
            other => other,
        }
    }

    /// What it is after a statement on this connection that may have made an id, and was told this one.
    pub fn after(self, (server, id): (ServerId, BackendId), told: u64) -> Self {
        let told = (told != 0).then_some(told);
        match self {
            Self::On { reported, before, .. } if self.is_on((server, id)) => {
                Self::On { server, id, reported: told.or(reported), before }
            }
            _ => Self::On { server, id, reported: told, before: Some(self.value(None)) },
        }
    }

    /// Whether a statement on the connection finds the value there without being brought it.
    pub fn needs_nothing(self) -> bool {
        matches!(self, Self::On { before: None | Some(0), .. })
    }
}

/// A session's LAST_INSERT_ID(), shared with the connection that still holds it.
#[derive(Debug, Default)]
pub struct InsertId {
    place: Mutex<Place>,
    changed: tokio::sync::Notify,
}

impl InsertId {
    /// Where it is now.
    pub fn place(&self) -> Place {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves it.
    pub fn put(&self, place: Place) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
        self.changed.notify_waiters();
    }

    /// The connection `id` gives it up: its value, read back, or what its OK packet said where it cannot be read.
    pub fn settle(&self, server: ServerId, id: BackendId, value: Option<u64>) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_on((server, id)) {
            *place = Place::Known(place.value(value));
            self.changed.notify_waiters();
        }
    }

    /// The connection that has it is not to be asked.
    pub fn give_up(&self) {
        let place = self.place();
        self.put(Place::Known(place.value(None)));
    }

    /// Waits until it is no longer on a connection that somebody else uses.
    pub async fn settled(&self) {
        loop {
            let changed = self.changed.notified();
            if !matches!(self.place(), Place::On { .. }) {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: (ServerId, BackendId) = (ServerId(0), BackendId(5));

    #[test]
    fn an_id_that_was_given_is_not_the_value() {
        for (start, told, answer, settled) in [
            (Place::Nowhere, &[1001][..], Some(0), 0),
            (Place::Known(7), &[1001, 1002], Some(0), 7),
            (Place::Known(7), &[8, 1001, 1002], Some(8), 8),
            (Place::Known(7), &[1001, 1002], None, 1002),
            (Place::Known(7), &[], Some(3), 3), // of a statement that has failed
            (Place::Known(7), &[0], None, 7),
        ] {
            let insert_id = InsertId::default();
            insert_id.put(told.iter().fold(start.after(HERE, 0), |place, id| place.after(HERE, *id)));
            insert_id.settle(ServerId(0), BackendId(6), answer);
            assert!(insert_id.place().is_on(HERE), "another connection's");
            insert_id.settle(HERE.0, HERE.1, answer);
            assert_eq!(insert_id.place(), Place::Known(settled), "{start:?} {told:?} {answer:?}");
        }
    }

    #[test]
    fn what_a_statement_has_named_is_right_also_as_none() {
        let named = Place::Known(7).after(HERE, 0).named();
        assert!(named.needs_nothing());
        assert_eq!((named.value(Some(0)), named.value(None)), (0, 7));
    }
}
