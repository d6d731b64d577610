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
        /// The OK packet's value.
        reported: u64,
        /// The session's value before, where the connection may hold another session's still: a reported id that was
        /// given explicitly is not taken over (REPLACE, ON DUPLICATE KEY UPDATE).
        before: Option<u64>,
    },
    /// Known.
    Known(u64),
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
                (Some(value), Some(before)) if value != reported => before,
                (value, _) => value.unwrap_or(reported),
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
