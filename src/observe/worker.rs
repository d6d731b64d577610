//! What every statement touches, one set per worker thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Names;
use super::latency::Latency;
use super::set::CounterSet;
use super::statements::StatementCounters;

/// The counters of one worker thread.
#[derive(Debug)]
pub struct WorkerMetrics {
    /// Statements by route and reason.
    pub statements: StatementCounters,
    /// Errors told to clients, by kind.
    pub errors: CounterSet,
    /// Transactions whose connection was lost, by how they went on.
    pub replays: CounterSet,
    latency: Box<[Latency]>,
    received: AtomicU64,
    sent: AtomicU64,
    retries: AtomicU64,
    plans: [AtomicU64; 2],
}

impl WorkerMetrics {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            statements: StatementCounters::new(names.routes, names.reasons),
            errors: CounterSet::new(names.errors),
            replays: CounterSet::new(names.replays),
            latency: names.routes.iter().map(|_| Latency::default()).collect(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            plans: Default::default(),
        }
    }

    /// A statement of this route took this long, from its packet to the end of its reply.
    pub fn took(&self, route_index: usize, duration: Duration) {
        if let Some(latency) = self.latency.get(route_index) {
            latency.observe(duration);
        }
    }

    /// Bytes that came from clients.
    pub fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes that went to clients.
    pub fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A read was sent again to another server.
    pub fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// A statement on sharded tables has got its plan: one that was kept, or one made for it.
    pub fn planned(&self, kept: bool) {
        self.plans[usize::from(!kept)].fetch_add(1, Ordering::Relaxed);
    }

    /// Plans that were kept, and plans that were made.
    pub(super) fn plans(&self) -> [u64; 2] {
        self.plans.each_ref().map(|value| value.load(Ordering::Relaxed))
    }

    pub(super) fn latency(&self, route_index: usize) -> Option<&Latency> {
        self.latency.get(route_index)
    }

    /// Bytes received, bytes sent, retries.
    pub(super) fn totals(&self) -> [u64; 3] {
        [&self.received, &self.sent, &self.retries].map(|value| value.load(Ordering::Relaxed))
    }
}
