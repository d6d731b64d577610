//! Where a session's LAST_INSERT_ID() is to be had.
//!
//! An OK packet's insert id may be an explicit value, which LAST_INSERT_ID() does not give. So the connection that
//! ran the statement is remembered; if another session takes it first, that one reads the value back for us.

use std::sync::Mutex;
use std::sync::PoisonError;

use crate::ids::{BackendId, ServerId};

/// Where the value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Place {
    /// No statement of the session has made one.
    #[default]
    Nowhere,
    /// On this connection; `reported` is what its OK packet said.
    On {
        /// The server.
        server: ServerId,
        /// Its thread.
        id: BackendId,
        /// What OK packets said since the value was known.
        reported: Reported,
        /// The session's value before, where the connection may hold another session's still: a reported id that was
        /// given explicitly is not taken over (REPLACE, ON DUPLICATE KEY UPDATE).
        before: Option<u64>,
    },
    /// Known.
    Known(u64),
}

/// Most ids that are kept.
const REPORTED_MAX: usize = 8;

/// Ids that OK packets have reported, of which none, or the value itself, may be LAST_INSERT_ID(). The first and the last
/// ones: who inserts more rows with ids of its own behind a generated one asks for that no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reported {
    ids: [u64; REPORTED_MAX],
    count: u8,
}

impl Reported {
    /// This one.
    pub fn one(id: u64) -> Self {
        let mut reported = Self::default();
        reported.add(id);
        reported
    }

    /// One more.
    pub fn add(&mut self, id: u64) {
        if self.last() == Some(id) {
            return;
        }
        if usize::from(self.count) == REPORTED_MAX {
            self.ids.copy_within(2.., 1);
            self.count -= 1;
        }
        self.ids[usize::from(self.count)] = id;
        self.count += 1;
    }

    /// The newest.
    pub fn last(&self) -> Option<u64> {
        self.all().last().copied()
    }

    /// All of them, oldest first.
    pub fn all(&self) -> &[u64] {
        &self.ids[..usize::from(self.count)]
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
        if let Place::On { server: s, id: i, reported, before } = *place
            && (s, i) == (server, id)
        {
            *place = Place::Known(match (value, before) {
                (Some(value), Some(before)) if !reported.all().contains(&value) => before,
                (value, _) => value.or(reported.last()).or(before).unwrap_or(0),
            });
            self.changed.notify_waiters();
        }
    }

    /// Waits until it is no longer on a connection that somebody else uses.
    pub async fn settled(&self) -> Place {
        loop {
            let changed = self.changed.notified();
            let place = self.place();
            if !matches!(place, Place::On { .. }) {
                return place;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(reported: &[u64], before: Option<u64>) -> InsertId {
        let mut ids = Reported::default();
        reported.iter().for_each(|id| ids.add(*id));
        let insert_id = InsertId::default();
        insert_id.put(Place::On { server: ServerId(0), id: BackendId(5), reported: ids, before });
        insert_id
    }

    #[test]
    fn an_id_that_was_given_is_not_the_value() {
        for (reported, before, value, settled) in [
            (&[1001][..], Some(0), Some(0), 0),
            (&[1001, 1002], Some(7), Some(3), 7), // another session's
            (&[8, 1001, 1002], Some(7), Some(8), 8),
            (&[1001, 1002], Some(7), None, 1002),
            (&[1001], None, Some(9), 9),
            (&[], Some(7), None, 7),
            (&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], Some(70), Some(1), 1),
            (&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], Some(70), Some(11), 11),
            (&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], Some(70), Some(70), 70),
        ] {
            let insert_id = on(reported, before);
            insert_id.settle(ServerId(0), BackendId(6), value);
            assert!(matches!(insert_id.place(), Place::On { .. }), "another connection's");
            insert_id.settle(ServerId(0), BackendId(5), value);
            assert_eq!(insert_id.place(), Place::Known(settled), "{reported:?} {before:?} {value:?}");
        }
    }
}
