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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use clients::Clients;
pub use digests::{DIGESTS_MAX, Digest, Digests, Execution, Figures, Place, merge};
pub use latency::Latency;
pub use pools::{PoolMetrics, Rung};
pub use set::{CounterSet, GaugeSet};
pub use statements::StatementCounters;
pub use worker::WorkerMetrics;

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
    /// How transactions whose connection was lost went on.
    pub replays: &'static [&'static str],
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
    pools: Mutex<Vec<Arc<PoolMetrics>>>,
    workers: Vec<Arc<WorkerMetrics>>,
    names: Names,
}

impl Metrics {
    /// Counters for servers with these addresses and this many worker threads.
    pub fn new(names: Names, servers: impl IntoIterator<Item = String>, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            clients: Clients::new(names.refusals, names.login_failures),
            pins: GaugeSet::new(names.pins),
            pins_made: CounterSet::new(names.pins),
            pools: Mutex::new(servers.into_iter().map(PoolMetrics::new).map(Arc::new).collect()),
            workers: (0..workers.max(1)).map(|_| Arc::new(WorkerMetrics::new(&names))).collect(),
            names,
        })
    }

    /// The counters of one worker thread; threads beyond the number given share.
    pub fn worker(&self, index: usize) -> Arc<WorkerMetrics> {
        Arc::clone(&self.workers[index % self.workers.len()])
    }

    /// The counters of all pools, in the order in which their servers came.
    pub fn pools(&self) -> Vec<Arc<PoolMetrics>> {
        self.lock_pools().clone()
    }

    /// The counters of the connections to this address.
    pub fn pool(&self, address: &str) -> Arc<PoolMetrics> {
        let mut pools = self.lock_pools();
        if let Some(known) = pools.iter().find(|pool| pool.server() == address) {
            return Arc::clone(known);
        }
        let new = Arc::new(PoolMetrics::new(address.to_owned()));
        pools.push(Arc::clone(&new));
        new
    }

    /// No server has this address any more.
    pub fn retire_pool(&self, address: &str) {
        self.lock_pools().retain(|pool| pool.server() != address);
    }

    fn lock_pools(&self) -> MutexGuard<'_, Vec<Arc<PoolMetrics>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
