//! The resolved configuration: what every other layer receives by argument.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::balance::Balance;
use crate::consistency::Consistency;
use crate::ids::ClusterId;
use crate::shard::Rules;

use zeroize::Zeroizing;

use super::lag::LagBy;
use super::listen::{Keepalive, ListenAddress, ProxyProtocol};
use super::sharding::RuleTest;

/// A secret of the configuration (a password); never printed, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes of a password.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The password's bytes, for a scramble or a cleartext exchange over TLS.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The whole configuration of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses on which MySQL clients are accepted; at least one.
    pub listen: Vec<ListenAddress>,
    /// Who may say on behalf of whom a client connects.
    pub proxy_protocol: ProxyProtocol,
    /// TCP keepalive towards clients.
    pub keepalive: Keepalive,
    /// Address of the HTTP side (`/healthz`, `/readyz`, `/metrics`), if it is wanted.
    pub http: Option<SocketAddr>,
    /// The SQL console for operators, if it is wanted.
    pub console: Option<Console>,
    /// How clients prove who they are.
    pub auth: Auth,
    /// TLS towards clients.
    pub client_tls: ClientTls,
    /// What clients may compress their connections with.
    pub client_compression: Vec<Compression>,
    /// The account and the rhythm of the servers' probes.
    pub monitor: Monitor,
    /// The clusters behind this proxy, in the file's order; at least one. A [`ClusterId`] is a place here.
    pub clusters: Vec<Cluster>,
    /// The one that holds everything which no rule places.
    pub home: ClusterId,
    /// Databases with a home of their own or sharded tables.
    pub rules: Rules,
    /// Statements with what the rules must make of them.
    pub tests: Vec<RuleTest>,
    /// Bounds on what clients may use.
    pub limits: Limits,
    /// How long open transactions may go on after SIGTERM, and on a server that drains or was removed.
    pub drain_timeout: Duration,
    /// Worker threads, one runtime each; at least 1.
    pub threads: usize,
    /// What is logged, and how.
    pub log: Log,
}

impl Config {
    /// The cluster that holds everything which no rule places.
    pub fn home(&self) -> &Cluster {
        &self.clusters[self.home.place()]
    }

    /// The servers of all clusters.
    pub fn servers(&self) -> impl Iterator<Item = &Server> {
        self.clusters.iter().flat_map(|cluster| &cluster.servers)
    }
}

/// The SQL console for operators.
#[derive(Clone, Debug)]
pub struct Console {
    /// Its address.
    pub listen: SocketAddr,
    /// Who may come in; at least one, each with a password. They have no accounts towards the servers.
    pub users: Vec<User>,
    /// Count statements by their digest.
    pub digests: bool,
}

/// How clients prove who they are.
#[derive(Clone, Debug)]
pub enum Auth {
    /// The servers' own accounts: Tidegate stores no password and the servers judge.
    Passthrough,
    /// The accounts listed in the file.
    Users(Vec<User>),
}

/// One account of `users:`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The name that the client gives.
    pub name: String,
    /// The password that the client must prove.
    pub password: Secret,
    /// The account used towards the servers.
    pub backend_user: String,
    /// Its password.
    pub backend_password: Secret,
    /// What the client's connection must be like.
    pub require: Require,
}

/// What a client's connection must be like for an account, as the servers' `REQUIRE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Require {
    /// Anything will do.
    Nothing,
    /// TLS.
    Tls,
    /// TLS and a certificate that an authority of `tls.client_ca` has signed.
    Certificate {
        /// Whom it must name, such as `/C=SE/CN=client`.
        subject: Option<String>,
        /// Who must have signed it, in the same form.
        issuer: Option<String>,
    },
}

/// TLS towards clients.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Certificate chain and private key in PEM; a self-signed pair is made at start where none is given.
    pub certificate: Option<CertificateFiles>,
    /// Refuse clients that do not ask for TLS (error 3159).
    pub require: bool,
    /// Refuse clients that show no certificate of `client_ca` (error 1045); they need TLS then, over Unix sockets too.
    pub require_certificate: bool,
    /// PEM file of the authorities of clients' certificates; without one no client is asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// Offer TLS at all.
    pub enabled: bool,
    /// Lowest version that is accepted.
    pub min_version: TlsVersion,
}

/// Where a certificate and its key are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFiles {
    /// PEM file with the chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

/// Protocol versions of TLS that Tidegate speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

/// How a connection's bytes are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// zlib (RFC 1950).
    Zlib,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// The account and the rhythm of the servers' probes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Monitor {
    /// Account with REPLICATION CLIENT (MariaDB: also REPLICA MONITOR).
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Time between two probes of one server.
    pub interval: Duration,
    /// A probe that takes longer has failed.
    pub timeout: Duration,
    /// Failed probes in a row that take a server out.
    pub failures: u32,
    /// Good probes in a row that bring it back.
    pub successes: u32,
    /// What says how far a replica is behind.
    pub lag: LagBy,
}

/// The servers that hold the same data, and how they are used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// Its name in the file.
    pub name: String,
    /// Its servers, in the file's order; at least one.
    pub servers: Vec<Server>,
    /// Whether all writable servers hold the same data, by the operator's word.
    pub multi_primary: bool,
    /// How often their names are looked up.
    pub resolve_interval: Duration,
    /// TLS towards them.
    pub tls: ServerTls,
    /// Compression towards them, where they offer it.
    pub compression: Option<Compression>,
    /// Which replicas may serve reads.
    pub reads: Reads,
    /// How many connections to each server are kept, and how.
    pub pool: Pool,
    /// What is done for transactions whose connection is lost.
    pub transactions: Transactions,
    /// TCP keepalive towards them.
    pub keepalive: Keepalive,
    /// Whether a connection shows the attributes of the client that it was opened for.
    pub forward_attributes: bool,
    /// Tidegate's own promotion; `None` where it only follows what others promote.
    pub promotion: Option<Promotion>,
}

/// `failover: {mode: promote}`: another server is made the primary by Tidegate itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promotion {
    /// The account that changes the servers' roles.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// The account by which a replica follows its source.
    pub replication_user: String,
    /// Its password.
    pub replication_password: Secret,
    /// How long the candidate may take to apply what it has received.
    pub apply_timeout: Duration,
    /// How long a planned switchover waits for open transactions.
    pub transactions_timeout: Duration,
}

/// Weights that a server can have.
pub const WEIGHTS: RangeInclusive<u64> = 0..=10_000;

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Host name or IP address.
    pub host: String,
    /// TCP port, 3306 where the file gives none.
    pub port: u16,
    /// Share of the reads relative to the other replicas; 0 takes none.
    pub weight: u32,
    /// It finishes what it has begun and takes nothing new.
    pub draining: bool,
}

impl Server {
    /// `host:port`, as the file and the logs write it.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// TLS towards the servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerTls {
    /// Whether, and how strictly.
    pub mode: ServerTlsMode,
    /// PEM file of the authority for `verified`; the system's roots are not used.
    pub ca: Option<PathBuf>,
    /// Tidegate's own certificate towards them, for accounts with `REQUIRE X509`; shown where Tidegate judges its
    /// clients itself, and by the probes.
    pub certificate: Option<CertificateFiles>,
}

/// How strictly TLS is used towards the servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerTlsMode {
    /// Never.
    Off,
    /// Where the server offers it.
    Preferred,
    /// Always; the certificate is not checked.
    Required,
    /// Always; certificate and host name are checked against `ca`.
    Verified,
}

/// Which replicas may serve reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reads {
    /// A replica further behind than this takes no reads; `None` is written `unlimited`.
    pub max_lag: Option<Duration>,
    /// How they spread over the replicas.
    pub balance: Balance,
    /// The same for sessions whose default database has this name.
    pub balance_of: BTreeMap<String, Balance>,
    /// What a read must not miss.
    pub consistency: Consistency,
    /// How long a read may wait on a replica for its session's own writes; zero: it goes to the primary at once.
    pub wait: Duration,
    /// How long the share of a replica grows that has come back; zero: it has all of it at once.
    pub slow_start: Duration,
    /// How many reads that no replica can serve the primary takes at a time; `None` is written `unlimited`.
    pub spill: Option<usize>,
}

/// Connections to each server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool {
    /// Connections to one server, all accounts and threads together.
    pub max: usize,
    /// Idle connections kept for each account in use, to each server.
    pub min_idle: usize,
    /// An idle connection above `min_idle` is closed after this.
    pub idle_timeout: Duration,
    /// A connection older than this is closed at check-in.
    pub lifetime: Duration,
    /// Part of `lifetime` that is drawn at random per connection, in percent, so that they do not end together.
    pub lifetime_jitter_percent: u32,
    /// Sessions that may wait for a connection to one server.
    pub queue: usize,
    /// How long each of them may wait.
    pub queue_timeout: Duration,
    /// Time to connect and authenticate.
    pub connect_timeout: Duration,
    /// How long a statement waits for a usable primary before it fails.
    pub primary_wait: Duration,
}

/// Which transactions are run again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replay {
    /// None.
    Off,
    /// Those that have only read, and locked nothing.
    Reads,
    /// All that leave nothing beyond themselves.
    All,
}

impl Replay {
    /// As the rules file writes them.
    pub const NAMES: [(&'static str, Self); 3] =
        [("off", Self::Off), ("reads", Self::Reads), ("all", Self::All)];

    /// As the rules file writes it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, replay)| *replay == self).map_or("", |(name, _)| name)
    }
}

/// Transactions whose connection is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transactions {
    /// Which of them are run again elsewhere, where that gives the same results.
    pub replay: Replay,
    /// Statements that are kept of one for that; a longer one is not run again.
    pub replay_statements_max: usize,
    /// Bytes that are kept of one for that.
    pub replay_size_max: usize,
}

/// Bounds on what clients may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Client connections; further ones get error 1040.
    pub clients: usize,
    /// Time from connect to the end of authentication.
    pub login_timeout: Duration,
    /// Largest statement in bytes (all packets of one payload together).
    pub packet_max: usize,
    /// Bytes that all statements being received may hold together above 1 MiB each.
    pub packet_memory_max: usize,
    /// Bytes that the merge of one statement's rows may keep.
    pub merge_memory_max: usize,
    /// Bytes that all merges may keep together.
    pub merge_memory_total_max: usize,
    /// Prepared statements of one client.
    pub prepared_max: usize,
    /// Prepared statements kept open on one backend connection.
    pub prepared_per_backend_max: usize,
}

/// What is logged, and how.
#[derive(Clone, Debug)]
pub struct Log {
    /// A `tracing` filter, such as `info` or `tidegate=debug`.
    pub filter: String,
    /// Text for people or one JSON object a line.
    pub format: LogFormat,
}

/// Form of the log's lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
