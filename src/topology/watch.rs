//! The tasks: a probe per server and interval, a look-up per name and interval.
//!
//! Owns: their rhythm, and what the log is told of failures. Does not know: what a probe says or means, who is to be watched.
//! Invariant: what goes wrong in a probe is that probe's failure, and no task ends by it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, info, warn};

use crate::config;
use crate::ids::ServerId;

use super::book::{Observation, Outcome};
use super::health::{Cause, State};
use super::probe::{Failure, Prober, Target};
use super::resolve;
use super::shared::{Position, Shared, Watched};
use super::snapshot::{Server, Standing};

/// Least time between two probes of one server, however many sessions report.
const PROBE_GAP: Duration = Duration::from_millis(20);

/// When probes are made, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    pub interval: Duration,
    pub timeout: Duration,
}

/// Looks a server's name up for as long as the task lives.
pub(super) async fn follow_name(shared: Arc<Shared>, server: config::Server, limit: Duration) {
    let (host, port) = (server.host.as_str(), server.port);
    let mut failed = false;
    loop {
        let looked_up = shared.resolver.resolve(host, port).await;
        let records = match looked_up {
            Ok(records) => records,
            Err(error) => {
                if !std::mem::replace(&mut failed, true) {
                    warn!(host, %error, "a server's name cannot be looked up");
                }
                Vec::new()
            }
        };
        failed &= records.is_empty();
        let known = {
            let snapshot = shared.snapshot.load();
            let is_it = |known: &&Server| {
                known.standing != Standing::Leaving && known.config.host == host && known.config.port == port
            };
            snapshot.servers.iter().find(is_it).map(|known| (known.id, known.at, known.state == State::Down))
        };
        if let Some((id, at, is_down)) = known {
            match resolve::choose(at, is_down, &records, limit).await {
                Some(next) if Some(next) != at => {
                    info!(host, at = %next, before = at.map(tracing::field::display), "a server's name leads to another address");
                    shared.update(|book| book.moved(host, port, next));
                    shared.moved.notify_one();
                }
                Some(_) => {}
                None => {
                    let outcome = Outcome::Failed(Cause::Unreachable);
                    shared.update(|book| book.probed(id, outcome, Instant::now().into_std()));
                }
            }
        }
        let pause = shared.snapshot.load().cluster.resolve_interval;
        tokio::time::sleep(pause).await;
    }
}

/// Probes one server for as long as the task lives.
pub(super) async fn watch_server(
    shared: Arc<Shared>,
    id: ServerId,
    watched: Arc<Watched>,
    target: Target,
    rhythm: Rhythm,
) {
    let mut prober = Prober::new(target.clone());
    let mut told = None;
    let mut ticks = tokio::time::interval(rhythm.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = watched.probe_now.notified() => tokio::time::sleep(PROBE_GAP).await,
        }
        let asked = Instant::now().into_std();
        let (returned, result) = run_probe(prober, rhythm.timeout).await;
        prober = returned.unwrap_or_else(|| Prober::new(target.clone()));
        tell_failure(&shared, id, &result, &mut told);
        let mut executed = None;
        let outcome = match result {
            Ok(observation) => {
                executed = observation.executed.clone();
                Outcome::Good(observation)
            }
            Err(Failure::Busy(_)) => Outcome::Busy,
            Err(Failure::Failed(cause, _)) => Outcome::Failed(cause),
        };
        let kind = match outcome {
            Outcome::Good(_) => 0,
            Outcome::Busy => 1,
            Outcome::Failed(_) => 2,
        };
        let answered = !matches!(outcome, Outcome::Failed(_));
        shared.update(|book| match &outcome {
            Outcome::Good(_) => {
                book.probed(id, outcome, asked); // the answer may be as old as the question
                let covers = executed.as_deref().and_then(|executed| book.covers(executed));
                watched.position.store(Arc::new(Position { at: Some(asked), executed, covers }));
            }
            _ => book.probed(id, outcome, Instant::now().into_std()),
        });
        watched.probes[kind].fetch_add(1, Ordering::Relaxed);
        if answered {
            watched.reported.store(false, Ordering::Relaxed);
        }
    }
}

/// One probe; where it breaks off or is out of time, the prober is lost with its connection.
async fn run_probe(mut prober: Prober, timeout: Duration) -> (Option<Prober>, Result<Observation, Failure>) {
    let probe = async move {
        let result = prober.probe().await;
        (prober, result)
    };
    match guarded(timeout, probe).await {
        Ok((prober, result)) => (Some(prober), result),
        Err(Cut::BrokeOff) => (None, Err(Failure::Failed(Cause::Protocol, "the probe broke off".into()))),
        Err(Cut::TimedOut) => {
            (None, Err(Failure::Failed(Cause::TimedOut, format!("no answer within {timeout:?}"))))
        }
    }
}

/// Why there is no result.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// By a panic of the driver over a hostile answer.
    BrokeOff,
    /// It was out of time, and was cut off.
    TimedOut,
}

/// What talks to a server in a task of its own, for so long at most: neither its time nor its panic is ours.
pub(super) async fn guarded<T: Send + 'static>(
    timeout: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Cut> {
    let mut running = JoinSet::new();
    running.spawn(work);
    match tokio::time::timeout(timeout, running.join_next()).await {
        Ok(Some(Ok(result))) => Ok(result),
        Ok(_) => Err(Cut::BrokeOff),
        Err(_) => Err(Cut::TimedOut),
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
