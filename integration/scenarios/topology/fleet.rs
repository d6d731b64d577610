//! Servers of one test's own, by the launcher: what a scenario breaks, no other test uses.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use serde::Deserialize;
use tidegate::config::{
    Cluster, Keepalive, LagBy, Monitor, Pool, Reads, Secret, Server, ServerTls, ServerTlsMode, Transactions,
};
use tidegate::sql::Dialect;

/// Longest wait for the launcher's answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// The launcher, kept alive by its stdin, and what it started.
pub struct Fleet {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    pub version: String,
    /// The primary first.
    pub servers: Vec<Process>,
    pub tls: Tls,
}

#[derive(Deserialize, Debug)]
struct Started {
    clusters: std::collections::BTreeMap<String, StartedCluster>,
    tls: Tls,
}

#[derive(Deserialize, Debug)]
struct StartedCluster {
    version: String,
    servers: Vec<Process>,
}

#[derive(Deserialize, Clone, Debug)]
pub struct Tls {
    pub ca: PathBuf,
    pub other_ca: PathBuf,
    pub client_cert: PathBuf,
    pub client_key: PathBuf,
}

#[derive(Deserialize, Clone, Debug)]
pub struct Process {
    pub name: String,
    pub host: String,
    pub port: u16,
    pub datadir: PathBuf,
}

#[derive(Deserialize, Debug)]
struct Answer {
    ok: bool,
}

impl Fleet {
    /// A primary with this many replicas, caught up.
    pub fn start(dialect: Dialect, replicas: usize) -> Self {
        Self::start_with(dialect, &format!("+{replicas}"), &[])
    }

    /// Servers of the launcher's shape (`+2`: two replicas; `*3`: a group of three), with further arguments for the launcher.
    pub fn start_with(dialect: Dialect, shape: &str, arguments: &[&str]) -> Self {
        let name = match dialect {
            Dialect::MySql => "mysql",
            Dialect::MariaDb => "mariadb",
        };
        let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/servers");
        let mut child = Command::new(launcher)
            .args(["up", "--cluster", &format!("c={name}{shape}")])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the launcher starts");
        let (send, answers) = channel();
        let stdout = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let line = answers.recv_timeout(PATIENCE).expect("the launcher says what it started");
        let mut started: Started = serde_saphyr::from_str(&line).expect("the launcher speaks JSON");
        let cluster = started.clusters.remove("c").expect("our cluster");
        Self {
            stdin: child.stdin.take(),
            child,
            answers,
            version: cluster.version,
            servers: cluster.servers,
            tls: started.tls,
        }
    }

    /// One of the launcher's commands (`kill`, `start`, `pause`, `resume`, …) for the server at `index`.
    pub fn tell(&mut self, command: &str, index: usize) {
        let stdin = self.stdin.as_mut().expect("not dropped");
        writeln!(stdin, "{command} {}", self.servers[index].name).expect("the launcher listens");
        let line = self.answers.recv_timeout(PATIENCE).expect("the launcher answers");
        let answer: Answer = serde_saphyr::from_str(&line).expect("the launcher speaks JSON");
        assert!(answer.ok, "{command}: {line}");
    }

    /// A connection as root.
    pub async fn root(&self, index: usize) -> Conn {
        let server = &self.servers[index];
        let options = OptsBuilder::default()
            .ip_or_hostname(&server.host)
            .tcp_port(server.port)
            .user(Some("root"))
            .prefer_socket(false);
        Conn::new(options).await.expect("root can log in")
    }

    /// Runs statements as root on the server at `index`.
    pub async fn run(&self, index: usize, statements: &[&str]) {
        let mut root = self.root(index).await;
        for statement in statements {
            root.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// The configuration of a cluster of the servers at these indexes, in this order.
    pub fn cluster(&self, indexes: &[usize]) -> Cluster {
        let server = |&index: &usize| Server {
            host: self.servers[index].host.clone(),
            port: self.servers[index].port,
            weight: 1,
            draining: false,
        };
        Cluster {
            multi_primary: false,
            name: "main".into(),
            servers: indexes.iter().map(server).collect(),
            compression: None,
            resolve_interval: Duration::from_secs(5),
            tls: ServerTls { mode: ServerTlsMode::Off, ..ServerTls::default() },
            keepalive: Keepalive::default(),
            forward_attributes: false,
            transactions: Transactions::default(),
            promotion: None,
            reads: Reads::default(),
            pool: Pool {
                max: 1,
                min_idle: 0,
                idle_timeout: Duration::from_secs(1),
                lifetime: Duration::from_secs(1),
                lifetime_jitter_percent: 0,
                queue: 1,
                queue_timeout: Duration::from_secs(1),
                connect_timeout: Duration::from_secs(1),
                primary_wait: Duration::from_secs(1),
            },
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // The launcher stops everything at the end of its stdin.
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// The launcher's monitor account, probing faster than by default. The timeout is long: two busy cores must not
/// make a good probe fail.
pub fn monitor() -> Monitor {
    Monitor {
        user: "tidegate".into(),
        password: Secret::new("monitor-pw"),
        interval: Duration::from_millis(100),
        timeout: Duration::from_secs(1),
        failures: 3,
        successes: 2,
        lag: LagBy::Auto,
    }
}
