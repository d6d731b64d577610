//! Newtypes for the numbers that must not be mixed.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The connection id that Tidegate gave to a client in its greeting; what `KILL` names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ClientId(pub u32);

/// The thread id that a server gave to one of our connections.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BackendId(pub u64);

/// A cluster: its place in the rules file, from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ClusterId(pub u8);

impl ClusterId {
    /// The cluster as a place in a list of all.
    pub fn place(self) -> usize {
        usize::from(self.0)
    }
}

/// A server of one of the clusters, stable while the process lives. Counted over all clusters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServerId(pub u16);

/// One account of the servers with one password; a changed password is another id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AccountId(pub u64);

/// Where the clusters of one process get their servers' ids from.
#[derive(Clone, Debug, Default)]
pub struct ServerIds(Arc<Mutex<Drawn>>);

#[derive(Debug, Default)]
struct Drawn {
    next: u16,
    in_use: HashSet<u16>,
}

impl ServerIds {
    /// One that no server has; one that had it is long forgotten.
    pub fn draw(&self) -> ServerId {
        let mut drawn = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let id = drawn.next;
            drawn.next = id.wrapping_add(1);
            if drawn.in_use.insert(id) {
                return ServerId(id);
            }
        }
    }

    /// Nothing is left of this server.
    pub fn give_back(&self, id: ServerId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).in_use.remove(&id.0);
    }
}

macro_rules! display_inner {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
display_inner!(ClientId, BackendId, ClusterId, ServerId, AccountId);
