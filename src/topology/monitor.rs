//! The cluster, watched: who is in it, what is known of it, what sessions tell of it.
//!
//! Owns: the tasks, one probe per server and one look-up per name, and the configuration that they follow. Does not know: what a probe
//! says or means. Invariant: a reader's view is one atomic load; whatever changes goes through the book.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::Guard;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{self, LagBy};
use crate::ids::{ServerId, ServerIds};

use super::ask::ask_server;
use super::beat::beat_server;
use super::book::{Book, Refused};
use super::health::{Cause, Signal};
use super::pace::Speed;
use super::probe::Target;
use super::promotion::{Quiet, Tally, Warden};
use super::resolve::{self, Resolve, System};
use super::shared::{Position, Shared};
use super::snapshot::Snapshot;
use super::watch::{Rhythm, follow_name, watch_server};

/// The cluster, watched. Dropping it ends the watching; the last snapshot stays readable.
#[derive(Debug)]
pub struct Topology {
    shared: Arc<Shared>,
    tasks: Mutex<Tasks>,
    /// Who changes the servers' roles, where that is Tidegate.
    warden: Option<Arc<Warden>>,
}

/// What is going on for whom.
#[derive(Debug)]
struct Tasks {
    monitor: Arc<config::Monitor>,
    tls: config::ServerTls,
    probes: HashMap<ServerId, JoinSet<()>>,
    names: HashMap<(String, u16), JoinSet<()>>,
    _hirer: JoinSet<()>,
    _warden: JoinSet<()>,
}

impl Topology {
    /// Watches the cluster on the current tokio runtime.
    pub fn start(cluster: &config::Cluster, monitor: &config::Monitor) -> Arc<Self> {
        Self::start_with(cluster, monitor, ServerIds::default(), Arc::new(System))
    }

    /// The same with ids that other clusters' servers share, and a resolver of one's own.
    pub fn start_with(
        cluster: &config::Cluster,
        monitor: &config::Monitor,
        ids: ServerIds,
        resolver: Arc<dyn Resolve>,
    ) -> Arc<Self> {
        let shared = Arc::new(Shared::new(Book::new(cluster, monitor, ids), resolver));
        let warden = cluster.promotion.clone().map(|settings| {
            Arc::new(Warden::new(Arc::clone(&shared), settings, cluster.tls.clone(), monitor))
        });
        let topology = Arc::new_cyclic(|this: &Weak<Self>| {
            let mut hirer = JoinSet::new();
            hirer.spawn(hire(Weak::clone(this), Arc::clone(&shared)));
            let tasks = Tasks {
                monitor: Arc::new(monitor.clone()),
                tls: cluster.tls.clone(),
                probes: HashMap::new(),
                names: HashMap::new(),
                _hirer: hirer,
                _warden: JoinSet::new(),
            };
            Self { shared, tasks: Mutex::new(tasks), warden }
        });
        topology.watch();
        if let Some(warden) = &topology.warden {
            topology.lock_tasks()._warden.spawn(begin(Arc::clone(&topology.shared), Arc::clone(warden)));
        }
        topology
    }

    /// Makes the cluster what the configuration says, as one change. Servers that are new are probed and then used; those that
    /// are no longer listed leave: they are in the snapshots until [`Topology::forget`].
    ///
    /// # Errors
    /// See [`Refused`]; nothing has changed then.
    pub fn configure(&self, cluster: &config::Cluster, monitor: &config::Monitor) -> Result<(), Refused> {
        let mut done = Ok(());
        self.shared.update(|book| {
            done = book.check(cluster);
            if done.is_ok() {
                book.configure(Arc::new(cluster.clone()), monitor);
            }
        });
        done?;
        {
            let mut tasks = self.lock_tasks();
            if *tasks.monitor != *monitor {
                tasks.monitor = Arc::new(monitor.clone());
                tasks.probes.clear();
            }
        }
        self.watch();
        Ok(())
    }

    /// Nothing of a server that was leaving is in use any more.
    pub fn forget(&self, id: ServerId) {
        self.shared.update(|book| book.gone(id));
        self.watch();
    }

    /// Sees to it that each server is probed and each name looked up, and nothing else.
    fn watch(&self) {
        let mut tasks = self.lock_tasks(); // first: who comes later sees what is later
        let seats: Vec<_> = {
            let book = self.shared.lock();
            book.seats().map(|(id, server, at)| (id, Arc::clone(server), at)).collect()
        };
        let Tasks { monitor, tls, probes, names, .. } = &mut *tasks;
        probes.retain(|id, _| seats.iter().any(|(known, ..)| known == id));
        let rhythm = Rhythm { interval: monitor.interval, timeout: monitor.timeout };
        for (id, server, at) in &seats {
            let (Some(at), Some(watched)) = (at, self.shared.watched(*id)) else { continue };
            probes.entry(*id).or_insert_with(|| {
                let target = Target::new(server, *at, tls, &monitor.user, &monitor.password);
                let mut probe = JoinSet::new();
                match &monitor.lag {
                    LagBy::Auto => {}
                    by => {
                        let asking =
                            ask_server(Arc::clone(&self.shared), *id, target.clone(), by.clone(), rhythm);
                        probe.spawn(asking);
                    }
                }
                if let LagBy::Heartbeat(beats) = &monitor.lag {
                    let shared = Arc::clone(&self.shared);
                    probe.spawn(beat_server(shared, *id, target.clone(), beats.clone(), rhythm.timeout));
                }
                probe.spawn(watch_server(Arc::clone(&self.shared), *id, watched, target, rhythm));
                probe
            });
        }
        let named = |server: &config::Server| resolve::literal(server).is_none();
        let snapshot = self.shared.snapshot.load();
        let wanted: Vec<_> = snapshot.cluster.servers.iter().filter(|server| named(server)).collect();
        names.retain(|(host, port), _| {
            wanted.iter().any(|server| (&server.host, server.port) == (host, *port))
        });
        for server in wanted {
            names.entry((server.host.clone(), server.port)).or_insert_with(|| {
                let mut follower = JoinSet::new();
                follower.spawn(follow_name(Arc::clone(&self.shared), server.clone(), rhythm.timeout));
                follower
            });
        }
    }

    /// As whom servers are asked.
    pub(super) fn monitor(&self) -> Arc<config::Monitor> {
        Arc::clone(&self.lock_tasks().monitor)
    }

    fn lock_tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cluster as it is known now: one atomic load.
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.shared.snapshot.load()
    }

    /// What a server had executed when it was probed last.
    pub fn position(&self, id: ServerId) -> Option<Guard<Arc<Position>>> {
        let watched = self.shared.watched.load();
        watched.get(usize::from(id.0))?.as_ref().map(|watched| watched.position.load())
    }

    /// A server has answered a read at `now` after `took`.
    pub fn answered(&self, id: ServerId, now: Instant, took: Duration) {
        if let Some(Some(watched)) = self.shared.watched.load().get(usize::from(id.0)) {
            watched.pace.note(now, took);
        }
    }

    /// Probes of a server so far: those that succeeded, those that found it too busy to answer, those that failed. Each counts once what it
    /// has shown is known.
    pub fn probes(&self, id: ServerId) -> [u64; 3] {
        let watched = self.shared.watched(id);
        watched.map_or([0; 3], |watched| watched.probes.each_ref().map(|count| count.load(Ordering::Relaxed)))
    }

    /// How fast it has answered reads lately; `None` where it has answered none.
    pub fn speed(&self, id: ServerId, now: Instant) -> Option<Speed> {
        self.shared.watched.load().get(usize::from(id.0))?.as_ref()?.pace.speed(now)
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

    /// A session has changed something that probes ask for.
    pub fn look_again(&self, id: ServerId) {
        self.shared.probe_now(id);
    }

    /// Takes in what a session met at a server. Cheap: a repeated report is one atomic operation.
    pub fn report(&self, id: ServerId, signal: Signal) {
        let Some(watched) = self.shared.watched(id) else { return };
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

    /// Makes the server at this address the primary, where Tidegate may. Goes on to its end also when nobody waits for it any more.
    /// `quiet` gets the id of the primary and says when no transaction is open there; new ones wait meanwhile.
    ///
    /// # Errors
    /// Why nothing has changed, in words for an operator.
    pub async fn switch_over(
        &self,
        address: String,
        quiet: impl FnOnce(ServerId) -> Quiet + Send + 'static,
    ) -> Result<(), String> {
        let Some(warden) = self.warden.clone() else {
            return Err("Tidegate changes no server's role: `failover.mode` is `follow`".to_owned());
        };
        let switching = tokio::spawn(async move { warden.switch_over(&address, quiet).await });
        switching.await.unwrap_or_else(|_| Err("the switchover broke off".to_owned()))
    }

    /// How often the servers' roles were changed by Tidegate.
    pub fn tally(&self) -> &Tally {
        &self.shared.tally
    }

    /// Waits until no server's role is being changed; not for ever.
    pub async fn settle(&self) {
        if let Some(warden) = &self.warden {
            warden.come_to_an_end().await;
        }
    }

    /// Ends all probes. The last snapshot stays as it is.
    pub fn shutdown(&self) {
        let mut tasks = self.lock_tasks();
        tasks.probes.clear();
        tasks.names.clear();
        tasks._hirer.abort_all();
        tasks._warden.abort_all();
    }
}

/// Promotes nobody before every server has been probed.
async fn begin(shared: Arc<Shared>, warden: Arc<Warden>) {
    let _ = shared.all_probed.subscribe().wait_for(|known| *known).await;
    warden.work().await;
}

/// Begins to watch who has come by a name.
async fn hire(topology: Weak<Topology>, shared: Arc<Shared>) {
    loop {
        shared.moved.notified().await;
        let Some(topology) = topology.upgrade() else { return };
        topology.watch();
    }
}
