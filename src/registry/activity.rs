//! What a session does now: written by the session alone, read by whoever shows it.
//!
//! Each field is true by itself; two of them read one after the other may be of two moments. Nothing is decided by
//! them.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::handle::{pack, unpack};
use crate::ids::{BackendId, ServerId};

/// What a session is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It waits for its client, and no transaction is open.
    Idle,
    /// It waits for its client, whose transaction is open.
    InTransaction,
    /// It carries out a command.
    Busy,
}

/// What a session does.
#[derive(Debug)]
pub struct Activity {
    login: Instant,
    phase: AtomicU8,
    /// Nanoseconds from the login to the beginning of the phase.
    since_ns: AtomicU64,
    /// Digest of the last statement; 0 for none.
    digest: AtomicU64,
    /// The server connection that it keeps while its client is silent; 0 for none.
    holds: AtomicU64,
    database: Mutex<Vec<u8>>,
    pins: Mutex<Vec<Pin>>,
}

/// A reason for which the session keeps its server connection.
#[derive(Clone, Debug)]
pub struct Pin {
    /// The reason's name.
    pub reason: &'static str,
    /// Since when it stands.
    pub since: SystemTime,
    /// Digest of the statement that made it; 0 where digests are off.
    pub digest: u64,
    /// That digest's text.
    pub text: Option<Arc<[u8]>>,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            login: Instant::now(),
            phase: AtomicU8::new(Phase::Idle as u8),
            since_ns: AtomicU64::new(0),
            digest: AtomicU64::new(0),
            holds: AtomicU64::new(0),
            database: Mutex::default(),
            pins: Mutex::default(),
        }
    }
}

impl Activity {
    /// A command has come.
    pub fn busy(&self, now: Instant) {
        self.enter(Phase::Busy, now);
    }

    /// The command has been answered; `held` is the server connection that the session keeps.
    pub fn idle(&self, now: Instant, in_transaction: bool, held: Option<(ServerId, BackendId)>) {
        self.holds.store(held.map_or(0, |(server, id)| pack(server, id)), Relaxed);
        self.enter(if in_transaction { Phase::InTransaction } else { Phase::Idle }, now);
    }

    fn enter(&self, phase: Phase, now: Instant) {
        let since = now.saturating_duration_since(self.login).as_nanos();
        self.since_ns.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
        self.phase.store(phase as u8, Relaxed);
    }

    /// The statement at work has this digest.
    pub fn runs(&self, digest: u64) {
        self.digest.store(digest, Relaxed);
    }

    /// The default database is this one now; empty for none.
    pub fn set_database(&self, name: &[u8]) {
        let mut database = lock(&self.database);
        if *database != name {
            name.clone_into(&mut database);
        }
    }

    /// A reason to keep the server connection has come up.
    pub fn pinned(&self, reason: &'static str, text: Option<Arc<[u8]>>) {
        let digest = self.digest.load(Relaxed);
        lock(&self.pins).push(Pin { reason, since: SystemTime::now(), digest, text });
    }

    /// A reason has ended.
    pub fn unpinned(&self, reason: &'static str) {
        lock(&self.pins).retain(|pin| pin.reason != reason);
    }

    /// What the session is at, and for how long.
    pub fn phase(&self) -> (Phase, Duration) {
        let phase = match self.phase.load(Relaxed) {
            0 => Phase::Idle,
            1 => Phase::InTransaction,
            _ => Phase::Busy,
        };
        (phase, self.login.elapsed().saturating_sub(Duration::from_nanos(self.since_ns.load(Relaxed))))
    }

    /// Digest of the last statement; 0 for none.
    pub fn digest(&self) -> u64 {
        self.digest.load(Relaxed)
    }

    /// The server connection that it keeps while its client is silent.
    pub fn holds(&self) -> Option<(ServerId, BackendId)> {
        unpack(self.holds.load(Relaxed))
    }

    /// The default database; empty for none.
    pub fn database(&self) -> Vec<u8> {
        lock(&self.database).clone()
    }

    /// Why it keeps its server connection.
    pub fn pins(&self) -> Vec<Pin> {
        lock(&self.pins).clone()
    }
}

/// Nothing that holds these locks can panic; if it did, what is shown would still be whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other() {
        let activity = Activity::default();
        let now = Instant::now();
        activity.busy(now);
        assert_eq!(activity.phase().0, Phase::Busy);
        activity.idle(now, true, Some((ServerId(0), BackendId(7))));
        assert_eq!(activity.phase().0, Phase::InTransaction);
        assert_eq!(activity.holds(), Some((ServerId(0), BackendId(7))));
        activity.idle(now, false, None);
        assert_eq!((activity.phase().0, activity.holds()), (Phase::Idle, None));
    }

    #[test]
    fn a_pin_names_the_statement_that_made_it() {
        let activity = Activity::default();
        activity.runs(5);
        activity.pinned("locks", Some((*b"LOCK TABLES").into()));
        activity.runs(6);
        activity.pinned("xa", None);
        assert_eq!(activity.pins().iter().map(|pin| pin.digest).collect::<Vec<_>>(), [5, 6]);
        activity.unpinned("locks");
        assert_eq!(activity.pins()[0].reason, "xa");
    }
}
