//! All sessions of the process, by the id that their clients know.
//!
//! Owns: what one session may know of another. Does not know: what sessions do.
//! Invariant: an entry lives exactly as long as its session.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use dashmap::DashMap;
use tokio::sync::Notify;

use super::idle::Idle;
use crate::execute::client::Signals;
use crate::ids::{AccountId, BackendId, ClientId, ServerId};
use crate::wire::socket::Peer;

/// A session as others see it.
#[derive(Debug)]
pub struct Handle {
    /// Its id.
    pub id: ClientId,
    /// Where its client is.
    pub peer: Peer,
    /// The name that its client gave.
    pub user: Vec<u8>,
    /// The account behind it.
    pub account: AccountId,
    /// Wakes it.
    pub signals: Arc<Signals>,
    /// Since when it is idle.
    pub idle: Idle,
    /// Server and thread that run its statement; 0 while none does.
    running: AtomicU64,
    /// KILLs of that thread that are under way.
    killers: AtomicU32,
    /// One of them has ended.
    spared: Notify,
}

const THREAD_BITS: u32 = 48;

impl Handle {
    /// A session that runs nothing.
    pub fn new(id: ClientId, peer: Peer, user: Vec<u8>, account: AccountId, signals: Arc<Signals>) -> Self {
        let (running, killers) = (AtomicU64::new(0), AtomicU32::new(0));
        Self {
            id,
            peer,
            user,
            account,
            signals,
            idle: Idle::default(),
            running,
            killers,
            spared: Notify::new(),
        }
    }

    /// Its statement runs on this thread of this server from now on.
    pub fn runs_on(&self, server: ServerId, id: BackendId) {
        let packed = (u64::from(server.0) + 1) << THREAD_BITS | id.0 & ((1 << THREAD_BITS) - 1);
        self.running.store(packed, SeqCst);
    }

    /// Its statement has ended. True when somebody is just killing that thread: it must not be used again, or
    /// only once [`Handle::spared`].
    pub fn runs_nothing(&self) -> bool {
        self.running.store(0, SeqCst);
        self.killers.load(SeqCst) > 0
    }

    /// Waits until nobody kills the thread any more that ran its statement.
    pub async fn spared(&self) {
        loop {
            let mut spared = std::pin::pin!(self.spared.notified());
            spared.as_mut().enable(); // before the look, so that no end falls between the look and the wait
            if self.killers.load(SeqCst) == 0 {
                return;
            }
            spared.await;
        }
    }

    /// Claims the thread that runs its statement, so that it will not serve anybody else while it is killed.
    pub fn claim(self: &Arc<Self>) -> Option<Claim> {
        self.killers.fetch_add(1, SeqCst);
        let mut claim = Claim { handle: Arc::clone(self), target: None };
        let packed = self.running.load(SeqCst);
        let server = u16::try_from((packed >> THREAD_BITS).checked_sub(1)?).ok()?; // dropping the claim gives it back
        claim.target = Some((ServerId(server), BackendId(packed & ((1 << THREAD_BITS) - 1))));
        Some(claim)
    }
}

/// A thread of a server that is being killed.
#[derive(Debug)]
pub struct Claim {
    handle: Arc<Handle>,
    target: Option<(ServerId, BackendId)>,
}

impl Claim {
    /// Which.
    pub fn target(&self) -> Option<(ServerId, BackendId)> {
        self.target
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.handle.killers.fetch_sub(1, SeqCst);
        self.handle.spared.notify_waiters();
    }
}

/// The sessions of the process.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: DashMap<ClientId, Arc<Handle>>,
    next: AtomicU32,
    /// Seconds since the first sweep, and 1; 0 before it.
    now: AtomicU32,
}

impl Registry {
    /// An id that no living session has. Ids start at 1 and come again only after four thousand million clients.
    pub fn fresh_id(&self) -> ClientId {
        loop {
            let id = ClientId(self.next.fetch_add(1, SeqCst).wrapping_add(1));
            if id.0 != 0 && !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    /// Adds a session; it is removed when the entry is dropped.
    pub fn enter(self: &Arc<Self>, handle: Arc<Handle>) -> Entry {
        self.sessions.insert(handle.id, Arc::clone(&handle));
        Entry { registry: Arc::clone(self), handle }
    }

    /// The session with this id.
    pub fn find(&self, id: u64) -> Option<Arc<Handle>> {
        let id = ClientId(u32::try_from(id).ok()?);
        self.sessions.get(&id).map(|entry| Arc::clone(entry.value()))
    }

    /// The second that the last sweep has seen, as [`Idle`] counts; never 0.
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_being_killed_is_not_used_again() {
        let handle = Arc::new(Handle::new(ClientId(1), Peer::Local, vec![], AccountId(1), Arc::default()));
        assert!(handle.claim().is_none(), "nothing runs");
        handle.runs_on(ServerId(2), BackendId(77));
        let claim = handle.claim().unwrap();
        assert_eq!(claim.target(), Some((ServerId(2), BackendId(77))));
        assert!(handle.runs_nothing());
        drop(claim);
        handle.runs_on(ServerId(0), BackendId(1));
        assert!(!handle.runs_nothing());
    }

    #[test]
    fn an_entry_lives_as_long_as_its_session() {
        let registry = Arc::new(Registry::default());
        let id = registry.fresh_id();
        let entry =
            registry.enter(Arc::new(Handle::new(id, Peer::Local, vec![], AccountId(1), Arc::default())));
        assert!(registry.find(u64::from(id.0)).is_some());
        drop(entry);
        assert!(registry.is_empty() && registry.find(u64::from(id.0)).is_none());
    }
}
