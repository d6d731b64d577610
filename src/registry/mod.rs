//! All sessions of the process, by the id that their clients know.
//!
//! Owns: what one session, or an operator, may know of another. Does not know: what sessions do.
//! Invariant: an entry lives exactly as long as its session; what a statement touches here are plain stores into
//! memory of its own session, never a lock.

mod activity;
mod handle;
mod idle;

use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Relaxed, SeqCst},
};

use dashmap::DashMap;
use tokio::sync::Notify;

pub use self::activity::{Activity, Phase, Pin};
pub use self::handle::{Claim, Handle, Who};
use crate::execute::client::Signals;
use crate::ids::{ClientId, ServerId};

/// The ids that clients get, all of ten digits: above what servers count up to, so that no thread of a server can be taken
/// for a session, and below 2³¹, because some drivers read a signed number.
pub const CLIENT_IDS: RangeInclusive<u32> = 1 << 30..=(1 << 31) - 1;

/// The sessions of the process.
#[derive(Debug)]
pub struct Registry {
    sessions: DashMap<ClientId, Arc<Handle>>,
    next: AtomicU32,
    /// Sessions are to end.
    draining: AtomicBool,
    /// Told of each session that ends meanwhile.
    left: Notify,
    /// Seconds since the first sweep, and 1; 0 before it.
    now: AtomicU32,
}

impl Default for Registry {
    /// No sessions. Their ids begin somewhere in their range: an id that another instance gave, or this one before its start,
    /// is most likely nobody's.
    fn default() -> Self {
        let [.., a, b, c, d] = RandomState::new().hash_one(0).to_le_bytes();
        Self {
            sessions: DashMap::new(),
            next: AtomicU32::new(u32::from_le_bytes([a, b, c, d])),
            draining: AtomicBool::new(false),
            left: Notify::new(),
            now: AtomicU32::new(0),
        }
    }
}

impl Registry {
    /// An id that no living session has. Ids come again only after a thousand million clients.
    pub fn fresh_id(&self) -> ClientId {
        loop {
            let next = self.next.fetch_add(1, SeqCst);
            let id = ClientId(CLIENT_IDS.start() | next & (CLIENT_IDS.start() - 1));
            if !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    /// Adds a session; it is removed when the entry is dropped.
    pub fn enter(self: &Arc<Self>, handle: Arc<Handle>) -> Entry {
        self.sessions.insert(handle.id, Arc::clone(&handle));
        if self.draining.load(SeqCst) {
            handle.signals.raise(Signals::DRAIN); // its login was under way
        }
        Entry { registry: Arc::clone(self), handle }
    }

    /// The session with this id.
    pub fn find(&self, id: u64) -> Option<Arc<Handle>> {
        let id = ClientId(u32::try_from(id).ok()?);
        self.sessions.get(&id).map(|entry| Arc::clone(entry.value()))
    }

    /// The second that the last sweep has seen, as sessions' idle times are counted; never 0.
    pub fn now(&self) -> u32 {
        self.now.load(Relaxed).max(1)
    }

    /// Wakes the sessions that are idle for too long; to be called about once a second. `second`: whole ones since the
    /// first call.
    pub fn sweep(&self, second: u32) {
        let now = second.saturating_add(1);
        self.now.store(now, Relaxed);
        let over = self.sessions.iter().filter(|entry| entry.idle.is_over(now));
        over.for_each(|entry| entry.signals.raise(Signals::IDLE));
    }

    /// Raises a signal in every session.
    pub fn raise_all(&self, flag: u8) {
        self.sessions.iter().for_each(|entry| entry.signals.raise(flag));
    }

    /// Has every session end once no transaction is open, those that come from now on, too; returns when there is none.
    pub async fn drain(&self) {
        self.draining.store(true, SeqCst);
        self.raise_all(Signals::DRAIN);
        loop {
            let left = self.left.notified(); // counts what ends from here on
            if self.is_empty() {
                return;
            }
            left.await;
        }
    }

    /// Raises a signal in those sessions that are on a server; how many there are.
    pub fn raise_at(&self, server: ServerId, flag: u8) -> usize {
        let at = self.sessions.iter().filter(|entry| entry.is_at(server));
        at.map(|entry| entry.signals.raise(flag)).count()
    }

    /// All sessions, by their ids.
    pub fn all(&self) -> Vec<Arc<Handle>> {
        let mut all: Vec<_> = self.sessions.iter().map(|entry| Arc::clone(entry.value())).collect();
        all.sort_unstable_by_key(|handle| handle.id);
        all
    }

    /// Sessions now.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

/// A session's place in the registry.
#[derive(Debug)]
pub struct Entry {
    registry: Arc<Registry>,
    /// The session.
    pub handle: Arc<Handle>,
}

impl Entry {
    /// The session has become another user's.
    pub fn replace(&mut self, handle: Arc<Handle>) {
        self.registry.sessions.insert(handle.id, Arc::clone(&handle));
        self.handle = handle;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.registry.sessions.remove(&self.handle.id);
        if self.registry.draining.load(SeqCst) {
            self.registry.left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lives_as_long_as_its_session() {
        let registry = Arc::new(Registry::default());
        let id = registry.fresh_id();
        assert!(CLIENT_IDS.contains(&id.0) && id.0.to_string().len() == 10);
        assert_ne!(id, registry.fresh_id());
        let entry = registry.enter(Arc::new(handle::tests::handle(id)));
        assert!(registry.find(u64::from(id.0)).is_some());
        assert_eq!(registry.all().len(), 1);
        drop(entry);
        assert!(registry.is_empty() && registry.find(u64::from(id.0)).is_none());
    }

    #[test]
    fn a_drain_ends_with_the_last_session_and_reaches_those_that_come_late() {
        let registry = Arc::new(Registry::default());
        let enter = |id| registry.enter(Arc::new(handle::tests::handle(ClientId(id))));
        let first = enter(1);
        let mut drained = Box::pin(registry.drain());
        let mut is_over = || {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            drained.as_mut().poll(&mut context).is_ready()
        };
        assert!(!is_over() && first.handle.signals.is_raised(Signals::DRAIN));
        let late = enter(2);
        assert!(late.handle.signals.is_raised(Signals::DRAIN));
        drop(first);
        assert!(!is_over());
        drop(late);
        assert!(is_over());
    }
}
