//! Worker threads: one current-thread runtime each, on which sessions live with their server connections.
//!
//! Owns: the threads and their mailboxes. Does not know: listening sockets, what sessions do.
//! Invariant: a session never leaves its thread; what threads share is snapshots, counters, and the servers' gates.

use std::hash::RandomState;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};

use super::context::LoginContext;
use super::fleet::Fleet;
use super::listener::Accepted;
use super::login;
use crate::admin::console::CoreView;
use crate::backend::connection::Key;
use crate::backend::epoch::Epoch;
use crate::backend::pool::{Pool, Wanted};
use crate::config::Config;
use crate::generate::Generators;
use crate::ids::{ClientId, ServerId};
use crate::merge::Budget;
use crate::observe::Metrics;
use crate::registry::{Handle, Registry};
use crate::session::worker::{Caller, Parts, Worker};
use crate::session::{Admitted, Directory, Problem, Session, kill};
use crate::topology::Clusters;
use crate::wire::buffer::Freelist;
use crate::wire::capabilities::Capabilities;
use crate::wire::socket::Peer;

/// How often idle server connections are looked after.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// What all cores are made from.
#[derive(Clone)]
pub(super) struct Common {
    pub config: Arc<Config>,
    pub clusters: Arc<Clusters>,
    pub fleet: Arc<Fleet>,
    /// Of the accounts and their rights.
    pub epoch: Arc<Epoch>,
    /// Which tables are where.
    pub directory: Arc<ArcSwap<Directory>>,
    pub context: Arc<LoginContext>,
    pub registry: Arc<Registry>,
    /// What values of rows are made from.
    pub generators: Arc<Generators>,
    pub metrics: Arc<Metrics>,
    pub packet_memory: Arc<AtomicUsize>,
    /// Of all merges.
    pub merge_memory: Arc<Budget>,
    pub hasher: RandomState,
}

/// A client on its way to its core.
pub(super) struct Arrival {
    pub stream: Accepted,
    pub peer: Peer,
    pub id: ClientId,
}

/// What other threads ask of a core.
pub(super) enum Mail {
    /// A new client.
    Arrival(Arrival),
    /// What the core alone knows is to be shown.
    Look(oneshot::Sender<CoreView>),
    /// The statement of this session is to be ended.
    KillQuery(Arc<Handle>, oneshot::Sender<Result<(), Problem>>),
}

/// One worker thread, as the acceptor sees it.
pub(super) struct Core {
    mailbox: mpsc::UnboundedSender<Mail>,
    /// Clients that it has.
    pub clients: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Core {
    /// Sends a client to the core. The number of clients is bounded by the acceptor, and so is this queue.
    pub fn welcome(&self, arrival: Arrival) {
        self.clients.fetch_add(1, Relaxed);
        if self.mailbox.send(Mail::Arrival(arrival)).is_err() {
            self.clients.fetch_sub(1, Relaxed);
        }
    }

    /// Where the core gets its mail, for those who ask little.
    pub fn mailbox(&self) -> mpsc::UnboundedSender<Mail> {
        self.mailbox.clone()
    }

    /// Closes the mailbox and waits until the thread has ended. Blocks.
    pub fn join(&mut self) {
        let (closed, _) = mpsc::unbounded_channel();
        self.mailbox = closed;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a worker thread has panicked");
        }
    }
}

/// Starts `config.threads` cores; they end when `stop` is true and their sessions have gone or been dropped.
pub(super) fn start(common: &Common, stop: &watch::Receiver<bool>) -> io::Result<Vec<Core>> {
    let count = common.config.threads.max(1);
    let mut homes = Vec::new();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
    for (home, wanted) in receivers.into_iter().enumerate() {
        let others = senders
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != home)
            .map(|(_, sender)| sender.clone())
            .collect();
        homes.push((home, wanted, others));
    }
    homes
        .into_iter()
        .map(|(home, wanted, others)| {
            let (mailbox, mail) = mpsc::unbounded_channel();
            let clients = Arc::<AtomicUsize>::default();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let seed = Seed {
                common: common.clone(),
                home,
                others,
                mail,
                wanted,
                clients: Arc::clone(&clients),
                stop: stop.clone(),
            };
            let thread = std::thread::Builder::new().name(format!("core-{home}")).spawn(move || {
                LocalSet::new().block_on(&runtime, seed.grow());
            })?;
            Ok(Core { mailbox, clients, thread: Some(thread) })
        })
        .collect()
}

/// What a thread begins with.
struct Seed {
    common: Common,
    home: usize,
    others: Vec<mpsc::UnboundedSender<Wanted>>,
    mail: mpsc::UnboundedReceiver<Mail>,
    wanted: mpsc::UnboundedReceiver<Wanted>,
    clients: Arc<AtomicUsize>,
    stop: watch::Receiver<bool>,
}

impl Seed {
    /// The thread's whole life.
    async fn grow(mut self) {
        let worker = Rc::new(self.worker());
        let mut tidy = interval(TIDY_EVERY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(mail) = self.mail.recv() => open(mail, &worker, &self.common.context, &self.clients),
                Some(Wanted(server)) = self.wanted.recv() => worker.pool.donate(server),
                _ = tidy.tick() => {
                    worker.pool.tidy(patience(&self.common.clusters));
                    if worker.pool.keeps_some_idle() {
                        tokio::task::spawn_local(Rc::clone(&worker.pool).refill());
                    }
                }
                _ = self.stop.wait_for(|stop| *stop) => break,
            }
        }
        worker.pool.shut_down();
        // The goodbyes to the servers are tasks of their own; they get a moment.
        tokio::task::yield_now().await;
    }

    fn worker(&self) -> Worker {
        let Common {
            config,
            clusters,
            fleet,
            epoch,
            directory,
            context,
            registry,
            generators,
            metrics,
            packet_memory,
            merge_memory,
            hasher,
        } = self.common.clone();
        let buffers = Rc::new(Freelist::default());
        let pool =
            Pool::new(fleet, epoch, hasher.clone(), self.others.clone(), Rc::clone(&buffers), self.home);
        let counters = metrics.worker(self.home);
        Worker::new(Parts {
            config,
            clusters,
            directory,
            pool: Rc::new(pool),
            buffers,
            registry,
            generators,
            gatekeeper: context,
            metrics,
            counters,
            packet_memory,
            merge_memory,
            hasher,
        })
    }
}

/// How long each server lets connections of a kind be idle, as far as it is known.
fn patience(clusters: &Clusters) -> impl Fn(ServerId, Key) -> Duration + use<> {
    let snapshots = clusters.snapshots();
    move |server, key| {
        let server = snapshots.iter().find_map(|snapshot| snapshot.server(server));
        let facts = server.and_then(|server| server.facts.as_ref());
        let interactive = key.class.capabilities.contains(Capabilities::INTERACTIVE);
        facts.map_or(
            Duration::MAX,
            |facts| if interactive { facts.interactive_timeout } else { facts.wait_timeout },
        )
    }
}

/// Does what is asked, in a task of its own where that takes time.
fn open(mail: Mail, worker: &Rc<Worker>, context: &Arc<LoginContext>, clients: &Arc<AtomicUsize>) {
    let worker = Rc::clone(worker);
    match mail {
        Mail::Arrival(arrival) => {
            let serving = serve(worker, Arc::clone(context), arrival, Arc::clone(clients));
            tokio::task::spawn_local(serving);
        }
        // Whoever asked may have gone; then nobody is told.
        Mail::Look(answer) => drop(answer.send(look(&worker))),
        Mail::KillQuery(target, answer) => {
            tokio::task::spawn_local(async move {
                drop(answer.send(kill::kill_query(&worker, &target).await));
            });
        }
    }
}

/// What a core alone knows.
fn look(worker: &Worker) -> CoreView {
    let snapshots = worker.clusters.snapshots();
    let servers = snapshots.iter().flat_map(|snapshot| &snapshot.servers);
    let idle = servers.map(|server| (server.id, worker.pool.idle(server.id))).collect();
    CoreView { idle, digests: worker.digests.as_ref().map(|digests| digests.borrow().copy()) }
}

/// One client, from its first byte to its last.
async fn serve(worker: Rc<Worker>, context: Arc<LoginContext>, arrival: Arrival, clients: Arc<AtomicUsize>) {
    let _counted = Counted::begin(Arc::clone(&worker.metrics), clients);
    // The login's state is large and short-lived: it is not kept with the session's.
    let admitted = Box::pin(admit(&worker, &context, arrival)).await;
    if let Some((caller, admitted)) = admitted {
        let registry = Arc::clone(&worker.registry);
        let session = Box::pin(Session::begin(worker, &registry, caller, admitted)).await;
        if let Some(session) = session {
            session.run().await;
        }
    }
}

async fn admit(worker: &Worker, context: &LoginContext, arrival: Arrival) -> Option<(Caller, Admitted)> {
    let Arrival { stream, mut peer, id } = arrival;
    let socket = match stream {
        Accepted::Tcp(tcp) => tokio::net::TcpStream::from_std(tcp).ok()?.into(),
        Accepted::Unix(unix) => tokio::net::UnixStream::from_std(unix).ok()?.into(),
    };
    match login::login(socket, &mut peer, id, context).await {
        Ok(login) => {
            tracing::debug!(client = %id, %peer, user = %String::from_utf8_lossy(&login.account.user), "client logged in");
            Some((Caller { id, peer }, login))
        }
        Err(error) => {
            worker.metrics.clients.login_failed.count(error.kind as usize);
            tracing::info!(client = %id, %peer, kind = error.kind.label(), code = error.sent, detail = %error.detail, "login failed");
            None
        }
    }
}

/// Counts a client while it is there.
struct Counted(Arc<Metrics>, Arc<AtomicUsize>);

impl Counted {
    fn begin(metrics: Arc<Metrics>, clients: Arc<AtomicUsize>) -> Self {
        metrics.clients.entered();
        Self(metrics, clients)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.clients.left();
        self.1.fetch_sub(1, Relaxed);
    }
}
