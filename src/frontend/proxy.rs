//! The whole proxy: put together, started, drained.
//!
//! Owns: the order of start and end. Does not know: the command line. Invariant: clients are accepted only when
//! everything behind them runs; after a drain nothing is left running.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::accounts::Accounts;
use super::context::{LoginContext, ServerFacts, greeting_version};
use super::cores::{self, Common, Core};
use super::fleet::{Fleet, place};
use super::judge::{Asked, ServersJudge};
use super::listener::{Acceptor, Listener};
use super::login::LoginErrorKind;
use super::operators::{self, Mailboxes, Operators};
use super::rsa::{LoginKey, LoginKeyError};
use super::steering::{Helm, Reread};
use super::steward::Steward;
use super::tls::{FrontendTls, FrontendTlsError};
use crate::admin::console::{Bounds, Console, Steering};
use crate::admin::http::{self, Serving};
use crate::backend::connect::Dialing;
use crate::backend::epoch::Epoch;
use crate::backend::server::Common as ServersCommon;
use crate::backend::tls::{BackendTls, BackendTlsError};
use crate::config::{Auth, Change, Cluster, Config, ListenAddress, Server};
use crate::execute::client::Signals;
use crate::generate::Generators;
use crate::merge::Budget;
use crate::observe::{Metrics, Names};
use crate::plan::{Reason, Target};
use crate::registry::Registry;
use crate::session::{Directory, PIN_NAMES, ProblemKind, REPLAY_OUTCOMES};
use crate::sql::Dialect;
use crate::topology::{Clusters, Resolve, Snapshot, State, System, Topology, keep_node, keep_segments};
use crate::wire::capabilities::Capabilities;
use crate::wire::packer::Algorithm;

/// Causes to refuse a client before its login.
const REFUSALS: &[&str] = &["too many clients"];

/// How often idle sessions are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: ListenAddress,
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

/// Whether the certificates and keys that the configuration names can be used. Nothing is started.
///
/// # Errors
/// See [`StartError`]: those about TLS.
pub fn check_files(config: &Config) -> Result<(), StartError> {
    for cluster in &config.clusters {
        BackendTls::prepare(&cluster.tls, true)?;
    }
    FrontendTls::prepare(&config.client_tls)?;
    Ok(())
}

/// How the servers of a cluster are connected to.
fn dialing(cluster: &Cluster, shows_certificate: bool) -> Result<Dialing, StartError> {
    Ok(Dialing {
        tls: BackendTls::prepare(&cluster.tls, shows_certificate)?,
        compression: cluster.compression.map(|wanted| Algorithm::from(wanted).into()),
        keepalive: cluster.keepalive.clone(),
    })
}

/// A running proxy.
pub struct Proxy {
    config: Arc<ArcSwap<Config>>,
    helm: Arc<Helm>,
    addresses: Vec<ListenAddress>,
    registry: Arc<Registry>,
    clusters: Arc<Clusters>,
    cores: Arc<Vec<Core>>,
    accepting: JoinSet<()>,
    _seeing_off: JoinSet<()>,
    draining: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    _http: Option<Serving>,
    operators: Option<Operators>,
}

impl Proxy {
    /// Starts everything on the current runtime and on worker threads; returns once clients are accepted.
    ///
    /// # Errors
    /// See [`StartError`]. Servers that cannot be reached are no error: they are waited for.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with(config, None, Arc::new(System)).await
    }

    /// The same, with a way to read the rules again, and a resolver for servers' names.
    ///
    /// # Errors
    /// As [`Proxy::start`].
    pub async fn start_with(
        config: Config,
        reread: Option<Reread>,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, StartError> {
        // In passthrough the probes alone show the cluster's certificate: without this they would fail, one by one.
        check_files(&config)?;
        let config = Arc::new(config);
        let in_effect = Arc::new(ArcSwap::new(Arc::clone(&config)));
        let open = |address: &ListenAddress| {
            let failed = |error| StartError::Listen { address: address.clone(), error };
            Listener::open(address, &config.keepalive).map_err(failed)
        };
        let listeners = config.listen.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let addresses = listeners.iter().filter_map(|listener| listener.address().ok()).collect();
        let epoch = Arc::<Epoch>::default();
        let in_common = |cluster: &Cluster| -> Result<_, StartError> {
            let dialing = dialing(cluster, matches!(config.auth, Auth::Users(_)))?;
            Ok(Arc::new(ServersCommon::new(dialing, cluster.pool.clone(), Arc::clone(&epoch))))
        };
        let commons = config.clusters.iter().map(in_common).collect::<Result<Vec<_>, _>>()?;
        let dialing = commons[config.home.place()].dialing.clone();
        let frontend_tls = FrontendTls::prepare(&config.client_tls)?;
        let key = Arc::new(LoginKey::generate()?);

        let clusters = Arc::new(Clusters::start_with(&config, resolver));
        clusters.wait_until_known().await;
        let topology = Arc::clone(clusters.home());

        let names = Names {
            routes: &Target::NAMES,
            reasons: Reason::NAMES,
            errors: ProblemKind::NAMES,
            pins: PIN_NAMES,
            replays: REPLAY_OUTCOMES,
            refusals: REFUSALS,
            login_failures: LoginErrorKind::NAMES,
        };
        let metrics = Metrics::new(names, config.servers().map(Server::address), config.threads);
        let judge = Arc::new(ServersJudge::new(judges(&topology.snapshot()), dialing));
        let accounts = Arc::new(Accounts::new(&config.auth));
        let context = LoginContext::new(
            Arc::clone(&accounts),
            Arc::clone(&judge) as _,
            frontend_tls.clone(),
            &config.client_tls,
            Arc::clone(&key),
            config.limits.login_timeout,
            config.proxy_protocol.clone(),
            config.home().forward_attributes,
            facts(&topology.snapshot()),
        );
        let context = Arc::new(context.compressing(&config.client_compression));
        let registry = Arc::<Registry>::default();
        let fleet = Arc::new(Fleet::new(
            Arc::clone(&clusters),
            commons,
            Arc::clone(&context) as _,
            Arc::clone(&metrics),
        ));
        let directory = Arc::new(ArcSwap::from_pointee(Directory::new(config.rules.clone(), None)));
        let generators = Arc::<Generators>::default();
        let helm = Arc::new(Helm::new(
            reread,
            (Arc::clone(&in_effect), Arc::clone(&directory), Arc::clone(&generators)),
            Arc::clone(&clusters),
            Arc::clone(&fleet),
            accounts,
            Arc::clone(&registry),
        ));
        let common = Common {
            fleet: Arc::clone(&fleet),
            epoch,
            directory: Arc::clone(&directory),
            config: Arc::clone(&config),
            clusters: Arc::clone(&clusters),
            context: Arc::clone(&context),
            registry: Arc::clone(&registry),
            generators: Arc::clone(&generators),
            metrics: Arc::clone(&metrics),
            packet_memory: Arc::default(),
            merge_memory: Arc::new(Budget::new(config.limits.merge_memory_total_max)),
            hasher: std::hash::RandomState::new(),
        };
        let (stop, stopped) = watch::channel(false);
        let (draining, drained) = watch::channel(false);
        let cores = Arc::new(cores::start(&common, &stopped).map_err(StartError::Thread)?);
        let http = match config.http {
            Some(address) => {
                let serving =
                    http::serve(address, Arc::clone(&clusters), Arc::clone(&metrics), drained).await;
                let failed = |error| StartError::Listen { address: ListenAddress::Tcp(address), error };
                Some(serving.map_err(failed)?)
            }
            None => None,
        };
        let operators = match &config.console {
            Some(settings) => {
                let refuse =
                    |error| StartError::Listen { address: ListenAddress::Tcp(settings.listen), error };
                let listener = tokio::net::TcpListener::bind(settings.listen).await.map_err(refuse)?;
                let address = listener.local_addr().map_err(refuse)?;
                let console = Console {
                    config: Arc::clone(&in_effect),
                    steering: Arc::clone(&helm) as _,
                    clusters: Arc::clone(&clusters),
                    metrics: Arc::clone(&metrics),
                    registry: Arc::clone(&registry),
                    cores: Arc::new(Mailboxes(cores.iter().map(Core::mailbox).collect())),
                    started: SystemTime::now(),
                    bounds: Bounds::default(),
                };
                let judge = Arc::clone(&judge) as _;
                let login = operators::login_context(&config, settings, judge, frontend_tls, key);
                Some(Operators::serve(listener, address, console, login))
            }
            None => None,
        };
        let mut accepting = JoinSet::new();
        accepting.spawn(sweep(Arc::clone(&registry)));
        accepting.spawn(follow(topology, context, judge));
        let mut seeing_off = JoinSet::new();
        seeing_off.spawn(keep_node(Arc::clone(clusters.home()), Arc::clone(&generators)));
        seeing_off.spawn(keep_segments(Arc::clone(clusters.home()), generators));
        for topology in clusters.iter() {
            accepting.spawn(super::rescue::rescue(Arc::clone(&registry), Arc::clone(topology)));
            let steward = Steward {
                fleet: Arc::clone(&fleet),
                registry: Arc::clone(&registry),
                topology: Arc::clone(topology),
                config: Arc::clone(&in_effect),
            };
            seeing_off.spawn(steward.work());
        }
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
        Ok(Self {
            config: in_effect,
            helm,
            _seeing_off: seeing_off,
            addresses,
            registry,
            clusters,
            cores,
            accepting,
            draining,
            stop,
            _http: http,
            operators,
        })
    }

    /// The addresses that clients are accepted on; real ports where port 0 was asked for.
    pub fn addresses(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// The address of the HTTP side.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self._http.as_ref().map(Serving::address)
    }

    /// The address of the SQL console.
    pub fn console_address(&self) -> Option<SocketAddr> {
        self.operators.as_ref().map(Operators::address)
    }

    /// Reads the rules again and takes over what has changed, all of it or nothing; the log says which. What has changed, or why
    /// nothing has.
    ///
    /// # Errors
    /// In words for an operator.
    pub async fn reload(&self) -> Result<Vec<Change>, String> {
        self.helm.reload().await
    }

    /// Takes no new clients, lets open transactions finish within the configured time, then ends everything.
    pub async fn drain(mut self) {
        self.draining.send_replace(true);
        self.accepting.shutdown().await;
        tracing::info!(
            clients = self.registry.len(),
            "draining: no new clients, open transactions may finish"
        );
        let limit = self.config.load().drain_timeout;
        if timeout(limit, self.registry.drain()).await.is_err() {
            tracing::warn!(
                clients = self.registry.len(),
                "drain time is over: transactions that are still open are ended"
            );
            self.registry.raise_all(Signals::KILL);
        }
        self.clusters.settle().await;
        self.clusters.shutdown();
        self.stop.send_replace(true);
        if let Some(cores) = Arc::get_mut(&mut self.cores) {
            cores.iter_mut().for_each(Core::join);
        }
    }
}

/// Looks for sessions that are idle for too long.
async fn sweep(registry: Arc<Registry>) {
    let start = Instant::now();
    let mut ticks = interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        registry.sweep(u32::try_from(start.elapsed().as_secs()).unwrap_or(u32::MAX));
    }
}

/// Keeps what logins announce, and whom they ask, true to the servers.
async fn follow(topology: Arc<Topology>, context: Arc<LoginContext>, judge: Arc<ServersJudge>) {
    let mut changes = topology.subscribe();
    while changes.changed().await.is_ok() {
        let snapshot = topology.snapshot();
        context.announce(facts(&snapshot));
        judge.ask_from_now_on(judges(&snapshot));
    }
}

/// The servers to ask about passwords: those that are up, the primary first; all of them where none is known to be.
fn judges(snapshot: &Snapshot) -> Asked {
    let mut servers: Vec<_> = snapshot.servers.iter().filter(|server| !server.is_closing()).collect();
    if servers.iter().any(|server| server.state == State::Up) {
        servers.retain(|server| server.state == State::Up);
    }
    servers.sort_by_key(|server| Some(server.id) != snapshot.primary);
    let servers = servers.into_iter().map(place).collect();
    Asked { servers, timeout: snapshot.cluster.pool.connect_timeout }
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::config::CertificateFiles;
    use crate::ids::ServerId;
    use crate::topology::{Role, Server as Seen, Standing};

    fn snapshot(states: &[State], primary: Option<u16>) -> Snapshot {
        let server = |(id, state): (u16, &State)| {
            let config = Server { host: format!("10.0.0.{id}"), port: 3306, weight: 1, draining: false };
            Seen {
                id: ServerId(id),
                address: config.address().into(),
                at: None,
                standing: Standing::Member,
                config: Arc::new(config),
                role: Role::Unknown,
                state: *state,
                replaced: false,
                left_out: None,
                lag: None,
                lag_is_asked: false,
                server_id: 0,
                facts: None,
            }
        };
        Snapshot {
            generation: 1,
            servers: (0..).zip(states).map(server).collect(),
            primary: primary.map(ServerId),
            ..Snapshot::default()
        }
    }

    #[test]
    fn passwords_are_for_servers_that_are_up_and_the_primary_first() {
        let asked = |snapshot: Snapshot| {
            let asked = judges(&snapshot).servers.into_iter();
            asked.map(|place| place.server.host.clone()).collect::<Vec<_>>()
        };
        assert_eq!(asked(snapshot(&[State::Up, State::Down, State::Up], Some(2))), ["10.0.0.2", "10.0.0.0"]);
        assert_eq!(asked(snapshot(&[State::Down, State::Up], None)), ["10.0.0.1"]);
        assert_eq!(asked(snapshot(&[State::Down, State::Unknown], None)), ["10.0.0.0", "10.0.0.1"]);
    }

    #[test]
    fn files_that_cannot_be_used_are_found_before_anything_starts() {
        let folder = std::env::temp_dir().join(format!("tidegate-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let key = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let path = write(name, key.serialize_pem());
            (key, path)
        };
        let ((own, own_path), (_, other_path)) = (key("own.pem"), key("other.pem"));
        let parameters = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = write("certificate.pem", parameters.self_signed(&own).unwrap().pem());
        let garbage = write("garbage.pem", "no certificate".into());
        let files = |certificate: &PathBuf, key: &PathBuf| {
            Some(CertificateFiles { certificate: certificate.clone(), key: key.clone() })
        };
        let check = |change: &dyn Fn(&mut Config)| {
            let mut config = Config::for_servers(&["127.0.0.1:1".to_owned()]).unwrap();
            change(&mut config);
            check_files(&config).map_err(|error| error.to_string())
        };
        for (certificate, key, expected) in [
            (&certificate, &own_path, None),
            (&certificate, &other_path, Some("`tls.key`")),
            (&garbage, &own_path, Some("garbage.pem")),
            (&certificate, &garbage, Some("garbage.pem")),
        ] {
            let pair = files(certificate, key);
            // In passthrough too, where the probes alone show the cluster's.
            for result in [
                check(&|config| config.client_tls.certificate = pair.clone()),
                check(&|config| config.clusters[0].tls.certificate = pair.clone()),
            ] {
                match (result, expected) {
                    (Ok(()), None) => {}
                    (Err(error), Some(part)) => assert!(error.contains(part), "{error}"),
                    (result, _) => panic!("{key:?}: {result:?}"),
                }
            }
        }
        assert!(check(&|config| config.client_tls.client_ca = Some(garbage.clone())).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
