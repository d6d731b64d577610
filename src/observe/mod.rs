//! Counters: what the program tells of itself to `/metrics`.
//!
//! Owns: the counters, their names and their exposition. Does not know: what the labels mean (their owners give
//! the names once, and count by index afterwards), sessions, servers' states.
//! Invariant: metrics observe, they never decide; counting takes no lock and no memory, and an index that is out
//! of range counts nothing. What every statement touches is counted per worker thread and summed when scraped, so
//! that cores do not pass cache lines to and fro.

mod clients;
mod digests;
mod exposition;
mod latency;
mod pools;
mod set;
mod statements;
mod worker;

use std::sync::Arc;

pub use clients::Clients;
pub use digests::{DIGESTS_MAX, Digest, Digests, Execution, Figures, Place, merge};
pub use latency::Latency;
pub use pools::{PoolMetrics, Rung};
pub use set::{CounterSet, GaugeSet};
pub use statements::StatementCounters;
pub use worker::WorkerMetrics;

use crate::ids::ServerId;

/// The names behind the indexes, given by the layers that own the enums.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Routes of statements.
    pub routes: &'static [&'static str],
    /// Reasons of routes.
    pub reasons: &'static [&'static str],
    /// Kinds of errors.
    pub errors: &'static [&'static str],
    /// Reasons for a session to keep its backend connection.
    pub pins: &'static [&'static str],
    /// Causes to refuse a client before its login.
    pub refusals: &'static [&'static str],
    /// Kinds of failed logins.
    pub login_failures: &'static [&'static str],
}

/// All counters of the process; shared by `Arc`.
#[derive(Debug)]
pub struct Metrics {
    /// Clients' connections and logins.
    pub clients: Clients,
    /// Sessions that keep their backend connection now, by reason.
    pub pins: GaugeSet,
    /// Reasons to keep a backend connection that came up so far.
    pub pins_made: CounterSet,
    pools: Vec<PoolMetrics>,
    workers: Vec<Arc<WorkerMetrics>>,
    names: Names,
}

impl Metrics {
    /// Counters for servers with these addresses (in `ServerId` order) and this many worker threads.
    pub fn new(names: Names, servers: impl IntoIterator<Item = String>, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            clients: Clients::new(names.refusals, names.login_failures),
            pins: GaugeSet::new(names.pins),
            pins_made: CounterSet::new(names.pins),
            pools: servers.into_iter().map(PoolMetrics::new).collect(),
            workers: (0..workers.max(1)).map(|_| Arc::new(WorkerMetrics::new(&names))).collect(),
            names,
        })
    }

    /// The counters of one worker thread; threads beyond the number given share.
    pub fn worker(&self, index: usize) -> Arc<WorkerMetrics> {
        Arc::clone(&self.workers[index % self.workers.len()])
    }

    /// The counters of all pools, in the servers' order.
    pub fn pools(&self) -> &[PoolMetrics] {
        &self.pools
    }

    /// The counters of one server's pool.
    pub fn pool(&self, id: ServerId) -> Option<&PoolMetrics> {
        self.pools.get(usize::from(id.0))
    }
}
