//! The monitor: one probe task per server, reports from sessions, and publication of snapshots.
//!
//! Owns: tasks, time and the one place where a snapshot is made. Does not know: what a probe says or means.
//! Invariant: a reader's view is one atomic load; a new snapshot is published only when something changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, warn};

use crate::config;
use crate::ids::ServerId;

use super::book::{Book, Observation, Outcome};
use super::gtid::Transactions;
use super::health::{Cause, Signal};
use super::journal;
use super::probe::{Failure, Prober, Target};
use super::snapshot::Snapshot;

/// Least time between two probes of one server, however many sessions report.
const PROBE_GAP: Duration = Duration::from_millis(20);

/// The cluster, watched. Dropping it ends the watching; the last snapshot stays readable.
#[derive(Debug)]
pub struct Topology {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    snapshot: ArcSwap<Snapshot>,
    generation: watch::Sender<u64>,
    all_probed: watch::Sender<bool>,
    servers: Vec<Watched>,
}

/// What a server had executed at one moment.
#[derive(Debug)]
pub struct Position {
    /// Not later than the moment; `None` before the first good probe.
    pub at: Option<std::time::Instant>,
    /// The transactions; `None` where they are not known, or carry no GTIDs.
    pub executed: Option<Arc<Transactions>>,
}

/// What sessions touch of a server without the book's lock.
#[derive(Debug)]
struct Watched {
    probe_now: Notify,
    /// What it had executed at the last good probe.
    position: ArcSwap<Position>,
    /// A failed connect was reported since the last good probe: more of them change nothing.
    reported: AtomicBool,
}

impl Topology {
    /// Starts one probe task per server on the current tokio runtime.
    pub fn start(cluster: &config::Cluster, monitor: &config::Monitor) -> Arc<Self> {
        let mut book = Book::new(cluster, monitor);
        let first = book.snapshot(0, Instant::now().into_std());
        let shared = Arc::new(Shared {
            book: Mutex::new(book),
            snapshot: ArcSwap::from_pointee(first),
            generation: watch::Sender::new(0),
            all_probed: watch::Sender::new(false),
            servers: cluster.servers.iter().map(|_| Watched::new()).collect(),
        });
        let mut tasks = JoinSet::new();
        for (id, server) in (0..).map(ServerId).zip(&cluster.servers) {
            let target = Target::new(server, &cluster.tls, monitor);
            let rhythm = Rhythm { interval: monitor.interval, timeout: monitor.timeout };
            tasks.spawn(watch_server(Arc::clone(&shared), id, target, rhythm));
        }
        Arc::new(Self { shared, tasks: Mutex::new(tasks) })
    }

    /// The cluster as it is known now: one atomic load.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.shared.snapshot.load()
    }

    /// What a server had executed when it was probed last.
    pub fn position(&self, id: ServerId) -> Option<Guard<Arc<Position>>> {
        self.shared.servers.get(usize::from(id.0)).map(|watched| watched.position.load())
    }

    /// Generations as they are published.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.generation.subscribe()
    }

    /// Waits until every server has been probed once, with whatever outcome. Cancel safe.
    pub async fn wait_until_known(&self) {
        // The sender lives as long as `self`, so this cannot end early.
        let _ = self.shared.all_probed.subscribe().wait_for(|known| *known).await;
    }

    /// Takes in what a session met at a server. Cheap: a repeated report is one atomic operation.
    pub fn report(&self, id: ServerId, signal: Signal) {
        let Some(watched) = self.shared.servers.get(usize::from(id.0)) else { return };
        let failure = match signal {
            Signal::Ok if !watched.reported.load(Ordering::Relaxed) => return,
            Signal::Ok => None,
            Signal::ConnectionLost => return watched.probe_now.notify_one(),
            Signal::ConnectRefused => Some(Cause::Refused),
            Signal::ConnectTimeout => Some(Cause::TimedOut),
        };
        if watched.reported.swap(failure.is_some(), Ordering::Relaxed) != failure.is_some() {
            self.shared.update(|book| book.reported(id, failure));
        }
        if failure.is_some() {
            watched.probe_now.notify_one();
        }
    }

    /// Ends all probes. The last snapshot stays as it is.
    pub fn shutdown(&self) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
    }
}

impl Watched {
    fn new() -> Self {
        let position = ArcSwap::from_pointee(Position { at: None, executed: None });
        Self { probe_now: Notify::new(), position, reported: AtomicBool::new(false) }
    }
}

impl Shared {
    fn update(&self, change: impl FnOnce(&mut Book)) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut book);
        let old = self.snapshot.load_full();
        let mut new = book.snapshot(old.generation, Instant::now().into_std());
        if new != *old {
            new.generation += 1;
            journal::log_changes(&old, &new);
            let generation = new.generation;
            self.snapshot.store(Arc::new(new));
            self.generation.send_replace(generation);
        }
        if book.all_probed() {
            self.all_probed.send_if_modified(|known| !std::mem::replace(known, true));
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Rhythm {
    interval: Duration,
    timeout: Duration,
}

/// Probes one server for as long as the task lives.
async fn watch_server(shared: Arc<Shared>, id: ServerId, target: Target, rhythm: Rhythm) {
    let watched = &shared.servers[usize::from(id.0)];
    let mut prober = Prober::new(target.clone());
    let mut told = None;
    let mut ticks = tokio::time::interval(rhythm.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = watched.probe_now.notified() => tokio::time::sleep(PROBE_GAP).await,
        }
        let at = Some(Instant::now().into_std());
        let (returned, result) = run_probe(prober, rhythm.timeout).await;
        prober = returned.unwrap_or_else(|| Prober::new(target.clone()));
        tell_failure(&shared, id, &result, &mut told);
        let outcome = match result {
            Ok(observation) => {
                let executed = observation.executed.clone();
                watched.position.store(Arc::new(Position { at, executed }));
                Outcome::Good(observation)
            }
            Err(Failure::Busy(_)) => Outcome::Busy,
            Err(Failure::Failed(cause, _)) => Outcome::Failed(cause),
        };
        let answered = !matches!(outcome, Outcome::Failed(_));
        shared.update(|book| book.probed(id, outcome, Instant::now().into_std()));
        if answered {
            watched.reported.store(false, Ordering::Relaxed);
        }
    }
}

/// One probe in a task of its own: a panic of the driver over a hostile answer is a failed probe, and a probe
/// that is out of time is cut off. In both cases the prober is lost with its connection.
async fn run_probe(mut prober: Prober, timeout: Duration) -> (Option<Prober>, Result<Observation, Failure>) {
    let mut running = JoinSet::new();
    running.spawn(async move {
        let result = prober.probe().await;
        (prober, result)
    });
    match tokio::time::timeout(timeout, running.join_next()).await {
        Ok(Some(Ok((prober, result)))) => (Some(prober), result),
        Ok(_) => (None, Err(Failure::Failed(Cause::Protocol, "the probe broke off".into()))),
        Err(_) => (None, Err(Failure::Failed(Cause::TimedOut, format!("no answer within {timeout:?}")))),
    }
}

/// Logs a failure's details once, until the probe fails otherwise or succeeds.
fn tell_failure(
    shared: &Shared,
    id: ServerId,
    result: &Result<Observation, Failure>,
    told: &mut Option<Option<Cause>>,
) {
    let (kind, detail) = match result {
        Ok(_) => return *told = None,
        Err(Failure::Busy(detail)) => (None, detail),
        Err(Failure::Failed(cause, detail)) => (Some(*cause), detail),
    };
    let snapshot = shared.snapshot.load();
    let server = snapshot.server(id).map_or("", |server| &server.address);
    if told.replace(kind) == Some(kind) {
        debug!(server, detail, "probe failed again");
    } else {
        warn!(server, detail, "probe failed");
    }
}
