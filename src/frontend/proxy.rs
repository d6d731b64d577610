//! The whole proxy: put together, started, drained.
//!
//! Owns: the order of start and end. Does not know: the command line. Invariant: clients are accepted only when
//! everything behind them runs; after a drain nothing is left running.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::accounts::Accounts;
use super::context::{LoginContext, ServerFacts, greeting_version};
use super::cores::{self, Arrival, Common, Core};
use super::judge::ServersJudge;
use super::login::LoginErrorKind;
use super::rsa::{LoginKey, LoginKeyError};
use super::tls::{FrontendTls, FrontendTlsError};
use crate::admin::http::{self, Serving};
use crate::backend::tls::{BackendTls, BackendTlsError};
use crate::config::{Config, Server};
use crate::execute::client::Signals;
use crate::observe::{Metrics, Names};
use crate::plan::{Reason, Target};
use crate::session::registry::Registry;
use crate::session::{PIN_NAMES, ProblemKind};
use crate::sql::Dialect;
use crate::topology::{Snapshot, State, Topology};
use crate::wire::capabilities::Capabilities;

/// Causes to refuse a client before its login.
const REFUSALS: &[&str] = &["too many clients"];
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 4096;
/// A pause where the process has no file descriptor left for a client.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's word.
        error: io::Error,
    },
    /// The certificate towards clients.
    #[error("TLS towards clients: {0}")]
    FrontendTls(#[from] FrontendTlsError),
    /// The authority for the servers' certificates.
    #[error("TLS towards servers: {0}")]
    BackendTls(#[from] BackendTlsError),
    /// The key pair for passwords.
    #[error("cannot make an RSA key pair: {0}")]
    Key(#[from] LoginKeyError),
    /// Threads.
    #[error("cannot start a worker thread: {0}")]
    Thread(io::Error),
}

/// A running proxy.
pub struct Proxy {
    config: Arc<Config>,
    addresses: Vec<SocketAddr>,
    registry: Arc<Registry>,
    topology: Arc<Topology>,
    cores: Arc<Vec<Core>>,
    accepting: JoinSet<()>,
    draining: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    _http: Option<Serving>,
}

impl Proxy {
    /// Starts everything on the current runtime and on worker threads; returns once clients are accepted.
    ///
    /// # Errors
    /// See [`StartError`]. Servers that cannot be reached are no error: they are waited for.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let listeners =
            config.listen.iter().map(|address| listen(*address)).collect::<Result<Vec<_>, _>>()?;
        let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let backend_tls = BackendTls::prepare(&config.cluster.tls)?;
        let frontend_tls = FrontendTls::prepare(&config.client_tls)?;
        let key = LoginKey::generate()?;

        let topology = Topology::start(&config.cluster, &config.monitor);
        topology.wait_until_known().await;

        let names = Names {
            routes: &Target::NAMES,
            reasons: Reason::NAMES,
            errors: ProblemKind::NAMES,
            pins: PIN_NAMES,
            refusals: REFUSALS,
            login_failures: LoginErrorKind::NAMES,
        };
        let metrics = Metrics::new(names, config.cluster.servers.iter().map(Server::address), config.threads);
        let judge = Arc::new(ServersJudge::new(
            judges(&topology.snapshot()),
            backend_tls.clone(),
            config.cluster.pool.connect_timeout,
        ));
        let context = LoginContext::new(
            Arc::new(Accounts::new(&config.auth)),
            Arc::clone(&judge) as _,
            frontend_tls,
            config.client_tls.require,
            key,
            config.limits.login_timeout,
            facts(&topology.snapshot()),
        );
        let context = Arc::new(context.compressing(&config.client_compression));
        let registry = Arc::<Registry>::default();
        let common = Common {
            servers: cores::shared_servers(&config, &Arc::new(backend_tls), &(Arc::clone(&context) as _)),
            config: Arc::clone(&config),
            topology: Arc::clone(&topology),
            context: Arc::clone(&context),
            registry: Arc::clone(&registry),
            metrics: Arc::clone(&metrics),
            packet_memory: Arc::default(),
            hasher: std::hash::RandomState::new(),
        };
        let (stop, stopped) = watch::channel(false);
        let (draining, drained) = watch::channel(false);
        let cores = Arc::new(cores::start(&common, &stopped).map_err(StartError::Thread)?);
        let http = match config.http {
            Some(address) => {
                let serving =
                    http::serve(address, Arc::clone(&topology), Arc::clone(&metrics), drained).await;
                Some(serving.map_err(|error| StartError::Listen { address, error })?)
            }
            None => None,
        };
        let mut accepting = JoinSet::new();
        accepting.spawn(follow(Arc::clone(&topology), context, judge));
        for listener in listeners {
            let acceptor = Acceptor {
                clients_max: config.limits.clients,
                cores: Arc::clone(&cores),
                registry: Arc::clone(&registry),
                metrics: Arc::clone(&metrics),
            };
            #[expect(
                deprecated,
                reason = "its successor is unsafe; a listener keeps its descriptor while it lives"
            )]
            let listener = AsyncFd::new(listener).map_err(StartError::Thread)?;
            accepting.spawn(acceptor.accept(listener));
        }
        Ok(Self { config, addresses, registry, topology, cores, accepting, draining, stop, _http: http })
    }

    /// The addresses that clients are accepted on; real ports where port 0 was asked for.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address of the HTTP side.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self._http.as_ref().map(Serving::address)
    }

    /// Takes no new clients, lets open transactions finish within the configured time, then ends everything.
    pub async fn drain(mut self) {
        self.draining.send_replace(true);
        self.accepting.shutdown().await;
        tracing::info!(
            clients = self.registry.len(),
            "draining: no new clients, open transactions may finish"
        );
        self.registry.raise_all(Signals::DRAIN);
        let gone = async {
            while !self.registry.is_empty() {
                // Logins that were under way have come in since.
                self.registry.raise_all(Signals::DRAIN);
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(self.config.drain_timeout, gone).await.is_err() {
            tracing::warn!(
                clients = self.registry.len(),
                "drain time is over: transactions that are still open are ended"
            );
            self.registry.raise_all(Signals::KILL);
        }
        self.topology.shutdown();
        self.stop.send_replace(true);
        if let Some(cores) = Arc::get_mut(&mut self.cores) {
            cores.iter_mut().for_each(Core::join);
        }
    }
}

/// Keeps what logins announce, and whom they ask, true to the servers.
async fn follow(topology: Arc<Topology>, context: Arc<LoginContext>, judge: Arc<ServersJudge>) {
    let mut changes = topology.subscribe();
    while changes.changed().await.is_ok() {
        let snapshot = topology.snapshot();
        context.announce(facts(&snapshot));
        judge.set_servers(judges(&snapshot));
    }
}

/// The servers to ask about passwords: those that are up, the primary first; all of them where none is known to be.
fn judges(snapshot: &Snapshot) -> Vec<Server> {
    let mut servers: Vec<_> = snapshot.servers.iter().collect();
    if servers.iter().any(|server| server.state == State::Up) {
        servers.retain(|server| server.state == State::Up);
    }
    servers.sort_by_key(|server| Some(server.id) != snapshot.primary);
    servers.into_iter().map(|server| (*server.config).clone()).collect()
}

/// What is announced to clients: what the servers announce.
fn facts(snapshot: &Snapshot) -> ServerFacts {
    match &snapshot.facts {
        Some(facts) => ServerFacts {
            version: greeting_version(&facts.version_text),
            capabilities: Capabilities::of(facts.capabilities, facts.mariadb_capabilities),
            collation: facts.greeting_collation,
            mariadb: facts.version.dialect == Dialect::MariaDb,
        },
        // No server has been seen yet: what all supported ones have in common.
        None => ServerFacts {
            version: b"8.0.11-Tidegate".to_vec(),
            capabilities: Capabilities::OFFERED.intersection(Capabilities::COMMON),
            collation: 45,
            mariadb: false,
        },
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        // Accepted sockets inherit both (Linux). A client that vanished without a word is noticed by the second.
        socket.set_tcp_nodelay(true)?;
        socket.set_keepalive(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|error| StartError::Listen { address, error })
}

/// Accepts clients and sends each to the core with the fewest.
struct Acceptor {
    clients_max: usize,
    cores: Arc<Vec<Core>>,
    registry: Arc<Registry>,
    metrics: Arc<Metrics>,
}

impl Acceptor {
    async fn accept(self, listener: AsyncFd<TcpListener>) {
        loop {
            let Ok(mut ready) = listener.readable().await else { return };
            loop {
                match ready.try_io(|listener| listener.get_ref().accept()) {
                    Ok(Ok((stream, peer))) => self.admit(stream, peer),
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(Err(error)) => {
                        // Such as no file descriptor left: clients wait in the backlog meanwhile.
                        tracing::warn!(%error, "cannot accept a client");
                        sleep(ACCEPT_PAUSE).await;
                        break;
                    }
                    Err(_) => break, // none left
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let clients: usize = self.cores.iter().map(|core| core.clients.load(Relaxed)).sum();
        if clients >= self.clients_max {
            self.metrics.clients.refused.count(0);
            tracing::info!(limit = self.clients_max, "client refused: too many connections");
            return turn_away(&stream);
        }
        if stream.set_nonblocking(true).is_err() {
            return; // it has gone already
        }
        let Some(core) = self.cores.iter().min_by_key(|core| core.clients.load(Relaxed)) else { return };
        core.welcome(Arrival { stream, peer, id: self.registry.fresh_id() });
    }
}

/// Error 1040 in place of the greeting; the client's flags are not known, so it goes without SQLSTATE as servers send it.
fn turn_away(stream: &TcpStream) {
    let mut packet = Vec::new();
    let payload = [&[0xff, 0x10, 0x04][..], b"Too many connections"].concat();
    crate::wire::frame::put_packet(&mut packet, 0, &payload);
    // A client that does not take 30 bytes loses the message.
    let _ = stream.set_nonblocking(true).and_then(|()| io::Write::write(&mut &*stream, &packet));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ServerId;
    use crate::topology::{Readers, Role, Server as Seen};

    fn snapshot(states: &[State], primary: Option<u16>) -> Snapshot {
        let server = |(id, state): (u16, &State)| {
            let config = Server { host: format!("10.0.0.{id}"), port: 3306, weight: 1 };
            Seen {
                id: ServerId(id),
                address: config.address().into(),
                config: Arc::new(config),
                role: Role::Unknown,
                state: *state,
                left_out: None,
                lag: None,
                facts: None,
            }
        };
        Snapshot {
            generation: 1,
            servers: (0..).zip(states).map(server).collect(),
            primary: primary.map(ServerId),
            readers: Readers::default(),
            version: None,
            facts: None,
        }
    }

    #[test]
    fn passwords_are_for_servers_that_are_up_and_the_primary_first() {
        let asked = |snapshot| judges(&snapshot).into_iter().map(|server| server.host).collect::<Vec<_>>();
        assert_eq!(asked(snapshot(&[State::Up, State::Down, State::Up], Some(2))), ["10.0.0.2", "10.0.0.0"]);
        assert_eq!(asked(snapshot(&[State::Down, State::Up], None)), ["10.0.0.1"]);
        assert_eq!(asked(snapshot(&[State::Down, State::Unknown], None)), ["10.0.0.0", "10.0.0.1"]);
    }
}
