//! Connections to one server.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// How a connection came back from its lease: the rungs of the check-in ladder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rung {
    /// Clean: back to the pool as it is.
    Reuse,
    /// Its transaction was rolled back.
    Rollback,
    /// Its session was reset.
    Reset,
    /// It was closed.
    Close,
}

impl Rung {
    pub(super) const NAMES: [&'static str; 4] = ["reuse", "rollback", "reset", "close"];
}

/// Counters of one server's pool.
#[derive(Debug)]
pub struct PoolMetrics {
    server: String,
    open: AtomicI64,
    in_use: AtomicI64,
    waiting: AtomicI64,
    opened: AtomicU64,
    failed: AtomicU64,
    waits: AtomicU64,
    waited_us: AtomicU64,
    rungs: [AtomicU64; 4],
}

impl PoolMetrics {
    pub(super) fn new(server: String) -> Self {
        Self {
            server,
            open: AtomicI64::new(0),
            in_use: AtomicI64::new(0),
            waiting: AtomicI64::new(0),
            opened: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            waited_us: AtomicU64::new(0),
            rungs: Default::default(),
        }
    }

    /// A connection was made.
    pub fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection could not be made.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection has ended.
    pub fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// A lease begins.
    pub fn leased(&self) {
        self.in_use.fetch_add(1, Ordering::Relaxed);
    }

    /// A lease ends by this rung.
    pub fn checked_in(&self, rung: Rung) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        self.rungs[rung as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A session begins to wait for a connection.
    pub fn wait_begins(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.waits.fetch_add(1, Ordering::Relaxed);
    }

    /// A session has got its connection, or gave up, after this time.
    pub fn wait_ends(&self, after: Duration) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let waited_us = after.as_micros().try_into().unwrap_or(u64::MAX);
        self.waited_us.fetch_add(waited_us, Ordering::Relaxed);
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Open, in use, waiting.
    pub fn gauges(&self) -> [i64; 3] {
        [&self.open, &self.in_use, &self.waiting].map(|value| value.load(Ordering::Relaxed))
    }

    /// Opened, failed, waits.
    pub fn counters(&self) -> [u64; 3] {
        [&self.opened, &self.failed, &self.waits].map(|value| value.load(Ordering::Relaxed))
    }

    /// Time that sessions have waited, together.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_us.load(Ordering::Relaxed))
    }

    /// Check-ins by rung, in the order of `Rung::NAMES`.
    pub fn rungs(&self) -> [u64; 4] {
        self.rungs.each_ref().map(|value| value.load(Ordering::Relaxed))
    }
}
