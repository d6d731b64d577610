//! Clients' connections and logins.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::set::CounterSet;

/// Counters of clients.
#[derive(Debug)]
pub struct Clients {
    connected: AtomicI64,
    accepted: AtomicU64,
    /// Clients refused before their login, by cause.
    pub refused: CounterSet,
    /// Failed logins, by kind.
    pub login_failed: CounterSet,
}

impl Clients {
    pub(super) fn new(refusals: &'static [&'static str], login_failures: &'static [&'static str]) -> Self {
        Self {
            connected: AtomicI64::new(0),
            accepted: AtomicU64::new(0),
            refused: CounterSet::new(refusals),
            login_failed: CounterSet::new(login_failures),
        }
    }

    /// A client has connected.
    pub fn entered(&self) {
        self.connected.fetch_add(1, Ordering::Relaxed);
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// A client has gone.
    pub fn left(&self) {
        self.connected.fetch_sub(1, Ordering::Relaxed);
    }

    /// Clients now.
    pub fn connected(&self) -> i64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Clients so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}
