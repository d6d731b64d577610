//! One session, as others see it, and how the thread that runs its statement is claimed for a KILL.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};

use tokio::sync::Notify;

use super::activity::Activity;
use super::idle::Idle;
use crate::backend::account::Account;
use crate::backend::class::Class;
use crate::execute::client::Signals;
use crate::ids::{BackendId, ClientId, ServerId};
use crate::wire::socket::Peer;

/// Whose session it is; another one after COM_CHANGE_USER.
#[derive(Clone, Debug)]
pub struct Who {
    /// The account, with the name that the client gave.
    pub account: Arc<Account>,
    /// What its server connections are like.
    pub class: Class,
    /// Where the client is.
    pub peer: Peer,
}

/// A session as others see it.
#[derive(Debug)]
pub struct Handle {
    /// Its id.
    pub id: ClientId,
    /// Whose it is.
    pub who: Who,
    /// Wakes it.
    pub signals: Arc<Signals>,
    /// What it does.
    pub activity: Activity,
    /// Since when it is idle.
    pub idle: Idle,
    /// Server and thread that run its statement; 0 while none does.
    running: AtomicU64,
    /// Whether it is one that runs in several places, one after the other: [`WHOLE`], [`IN_PARTS`] or [`INTERRUPTED`].
    parts: AtomicU8,
    /// KILLs of that thread that are under way.
    killers: AtomicU32,
    /// One of them has ended.
    spared: Notify,
}

/// Where the server stands in the word; below are the thread's number and [`CLAIMED`].
const SERVER_AT: u32 = 48;
/// Beside the thread: somebody has claimed it.
const CLAIMED: u64 = 1 << (SERVER_AT - 1);
const THREAD: u64 = CLAIMED - 1;

/// A statement of one place, or none.
const WHOLE: u8 = 0;
/// Between two of its parts a statement runs nowhere, and goes on all the same.
const IN_PARTS: u8 = 1;
/// It is to end before its next part.
const INTERRUPTED: u8 = 2;

/// Server and thread in one word that is not 0.
pub(super) fn pack(server: ServerId, id: BackendId) -> u64 {
    (u64::from(server.0) + 1) << SERVER_AT | id.0 & THREAD
}

/// The same the other way round; `None` for 0.
pub(super) fn unpack(packed: u64) -> Option<(ServerId, BackendId)> {
    let server = u16::try_from((packed >> SERVER_AT).checked_sub(1)?).ok()?;
    Some((ServerId(server), BackendId(packed & THREAD)))
}

impl Handle {
    /// A session that runs nothing.
    pub fn new(id: ClientId, who: Who, signals: Arc<Signals>) -> Self {
        let (running, killers) = (AtomicU64::new(0), AtomicU32::new(0));
        Self {
            id,
            who,
            signals,
            activity: Activity::default(),
            idle: Idle::default(),
            running,
            parts: AtomicU8::new(WHOLE),
            killers,
            spared: Notify::new(),
        }
    }

    /// Its statement runs on this thread of this server from now on.
    pub fn runs_on(&self, server: ServerId, id: BackendId) {
        self.running.store(pack(server, id), SeqCst);
    }

    /// Its statement, which runs on several threads, waits for this one from now on. False when the one that it has waited for was
    /// claimed: the statement is to end, though that thread may have had nothing to do any more.
    pub fn goes_on_at(&self, server: ServerId, id: BackendId) -> bool {
        let next = |running| (running & CLAIMED == 0).then(|| pack(server, id));
        self.running.fetch_update(SeqCst, SeqCst, next).is_ok()
    }

    /// Its statement has ended. True when somebody is just killing that thread: it must not be used again, or
    /// only once [`Handle::spared`].
    pub fn runs_nothing(&self) -> bool {
        self.running.store(0, SeqCst);
        self.killers.load(SeqCst) > 0
    }

    /// Its statement runs in several places, one after the other, from now on.
    pub fn runs_in_parts(&self) {
        self.parts.store(IN_PARTS, SeqCst);
    }

    /// Its statement has ended, or can no more be taken back. True when it was interrupted before.
    pub fn parts_are_done(&self) -> bool {
        self.parts.swap(WHOLE, SeqCst) == INTERRUPTED
    }

    /// Asks a statement that runs in parts, and just now nowhere, to end before the next of them.
    pub fn interrupt_parts(&self) {
        let _ = self.parts.compare_exchange(IN_PARTS, INTERRUPTED, SeqCst, SeqCst);
    }

    /// Whether somebody has.
    pub fn is_interrupted(&self) -> bool {
        self.parts.load(SeqCst) == INTERRUPTED
    }

    /// The thread that runs its statement now, to be shown; whoever wants to end it must [`Handle::claim`] it.
    pub fn running(&self) -> Option<(ServerId, BackendId)> {
        unpack(self.running.load(SeqCst))
    }

    /// Whether its statement runs on this server, or it keeps a connection there.
    pub fn is_at(&self, server: ServerId) -> bool {
        let place = self.running().or_else(|| self.activity.holds());
        place.is_some_and(|(at, _)| at == server)
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
        let claimed = |running| (running != 0).then_some(running | CLAIMED);
        let running = self.running.fetch_update(SeqCst, SeqCst, claimed).ok()?; // dropping the claim gives it back
        claim.target = unpack(running);
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::ids::AccountId;
    use crate::wire::capabilities::Capabilities;

    /// A session of the account `app`.
    pub(crate) fn handle(id: ClientId) -> Handle {
        let account = Account {
            id: AccountId(1),
            user: b"app".to_vec(),
            backend_user: b"app".to_vec(),
            secret: Secret::new(""),
            expired: false,
        };
        let class = Class::of(Capabilities::PROTOCOL_41, 45);
        let who = Who { account: Arc::new(account), class, peer: Peer::Local };
        Handle::new(id, who, Arc::default())
    }

    #[test]
    fn a_thread_that_is_being_killed_is_not_used_again() {
        let handle = Arc::new(handle(ClientId(1)));
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
    fn only_what_runs_in_parts_is_interrupted_between_them() {
        let handle = handle(ClientId(1));
        handle.interrupt_parts();
        assert!(!handle.is_interrupted(), "nothing runs");
        handle.runs_in_parts();
        assert!(!handle.is_interrupted());
        handle.interrupt_parts();
        assert!(handle.is_interrupted() && handle.parts_are_done());
        assert!(!handle.is_interrupted() && !handle.parts_are_done(), "the next statement is another one");
    }

    #[test]
    fn a_statement_on_several_threads_ends_when_one_of_them_is_claimed() {
        let handle = Arc::new(handle(ClientId(1)));
        assert!(handle.goes_on_at(ServerId(0), BackendId(1)));
        assert!(handle.goes_on_at(ServerId(2), BackendId(77)));
        drop(handle.claim().unwrap());
        assert_eq!(handle.running(), Some((ServerId(2), BackendId(77))));
        assert!(!handle.goes_on_at(ServerId(0), BackendId(1)), "it has been killed");
        assert!(!handle.runs_nothing());
        assert!(handle.goes_on_at(ServerId(0), BackendId(1)), "the next statement has not");
    }
}
