//! The servers of a scenario: those of the whole run, or servers of its own that it may break.

use std::net::SocketAddr;
use std::path::PathBuf;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use serde::Deserialize;
use tidegate::sql::Dialect;

use super::{pace, within};
use crate::topology::fleet::{Fleet, Process, Tls};

/// A primary and its replicas.
pub struct Cluster {
    pub dialect: Dialect,
    /// The primary first.
    pub servers: Vec<Process>,
    pub ca: PathBuf,
    pub other_ca: PathBuf,
    /// All certificates of the run.
    pub tls: Tls,
    is_group: bool,
    own: Option<Fleet>,
}

/// An account that every server of its dialect has.
#[derive(Deserialize, Clone, Debug)]
pub struct Account {
    pub dialect: String,
    pub user: String,
    pub password: String,
    pub require_tls: bool,
}

/// What the launcher writes to the file that `TIDEGATE_SERVERS` names.
#[derive(Deserialize)]
struct Run {
    clusters: std::collections::BTreeMap<String, RunCluster>,
    tls: Tls,
    accounts: Vec<Account>,
    /// The ordinary client of each dialect.
    clients: std::collections::BTreeMap<String, PathBuf>,
}

#[derive(Deserialize)]
struct RunCluster {
    servers: Vec<Process>,
}

impl Run {
    fn read() -> Self {
        let path = std::env::var_os("TIDEGATE_SERVERS").expect("integration/test sets TIDEGATE_SERVERS");
        let text = std::fs::read_to_string(path).expect("the file that TIDEGATE_SERVERS names");
        serde_saphyr::from_str(&text).expect("the launcher's JSON")
    }
}

/// What the launcher calls the dialect, and a run its cluster.
fn name(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "mysql",
        Dialect::MariaDb => "mariadb",
    }
}

impl Cluster {
    /// The servers that all scenarios of a run share: a primary with two replicas. Nobody may break them.
    pub fn shared(dialect: Dialect) -> Self {
        Self::of_run(dialect, name(dialect)).expect("a cluster of the dialect")
    }

    /// One server beside the shared ones: the run's, where it has one (`mysqlalone`, `mariadbalone`), else an own one.
    pub fn alone(dialect: Dialect) -> Self {
        let name = format!("{}alone", name(dialect));
        Self::of_run(dialect, &name).unwrap_or_else(|| Self::own(dialect, 0))
    }

    fn of_run(dialect: Dialect, name: &str) -> Option<Self> {
        let mut run = Run::read();
        let servers = run.clusters.remove(name)?.servers;
        let (ca, other_ca) = (run.tls.ca.clone(), run.tls.other_ca.clone());
        Some(Self { dialect, servers, ca, other_ca, tls: run.tls, is_group: false, own: None })
    }

    /// The accounts of the run's servers.
    pub fn accounts(dialect: Dialect) -> Vec<Account> {
        let mut accounts = Run::read().accounts;
        accounts.retain(|account| account.dialect == name(dialect));
        accounts
    }

    /// The dialect's ordinary client, and a tool that is installed beside it; `None` where it is not.
    pub fn tool(&self, tool: &str) -> Option<(PathBuf, PathBuf)> {
        let client = Run::read().clients.remove(name(self.dialect))?;
        let tool = client.with_file_name(tool);
        tool.exists().then_some((client, tool))
    }

    /// Servers of the scenario's own.
    pub fn own(dialect: Dialect, replicas: usize) -> Self {
        Self::own_with(dialect, replicas, &[])
    }

    /// The same, started with further arguments for the launcher.
    pub fn own_with(dialect: Dialect, replicas: usize, arguments: &[&str]) -> Self {
        Self::started(dialect, Fleet::start_with(dialect, &format!("+{replicas}"), arguments))
    }

    /// Three members of a group: Group Replication, or Galera.
    pub fn group(dialect: Dialect) -> Self {
        Self { is_group: true, ..Self::started(dialect, Fleet::start_with(dialect, "*3", &[])) }
    }

    fn started(dialect: Dialect, fleet: Fleet) -> Self {
        let (ca, other_ca, tls) = (fleet.tls.ca.clone(), fleet.tls.other_ca.clone(), fleet.tls.clone());
        Self { dialect, servers: fleet.servers.clone(), ca, other_ca, tls, is_group: false, own: Some(fleet) }
    }

    /// One of the launcher's commands (`kill`, `start`, `pause` …) for a server of the scenario's own.
    pub fn tell(&mut self, command: &str, server: usize) {
        self.own.as_mut().expect("shared servers are not to be broken").tell(command, server);
    }

    /// Where a server listens.
    pub fn address(&self, server: usize) -> SocketAddr {
        let server = &self.servers[server];
        format!("{}:{}", server.host, server.port).parse().expect("an address")
    }

    /// A connection as root, past Tidegate.
    pub async fn root(&self, server: usize) -> Conn {
        let process = &self.servers[server];
        let options = OptsBuilder::default()
            .ip_or_hostname(&process.host)
            .tcp_port(process.port)
            .user(Some("root"))
            .max_allowed_packet(Some(64 << 20))
            .wait_timeout(Some(600))
            .prefer_socket(false);
        Conn::new(options).await.expect("root can log in")
    }

    /// Runs statements as root on one server, past Tidegate.
    pub async fn run(&self, server: usize, statements: &[&str]) {
        let mut root = self.root(server).await;
        for statement in statements {
            root.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        root.disconnect().await.expect("goodbye");
    }

    /// Waits until a server answers a question with a number that is `wanted`.
    pub async fn until_number(&self, server: usize, what: &str, sql: &str, wanted: impl Fn(u64) -> bool) {
        let (mut root, mut pace) = (self.root(server).await, pace());
        let asking = async {
            loop {
                pace.tick().await;
                if wanted(root.query_first(sql).await.unwrap().expect("a row")) {
                    return;
                }
            }
        };
        within(what, asking).await;
    }

    /// Waits until every replica has applied what the primary has written so far.
    pub async fn caught_up(&self) {
        if self.is_group && self.dialect == Dialect::MariaDb {
            for member in 1..self.servers.len() {
                self.run(member, &["SET SESSION wsrep_sync_wait = 1", "SELECT 1"]).await;
            }
            return;
        }
        let position = match self.dialect {
            Dialect::MySql => "SELECT @@global.gtid_executed",
            Dialect::MariaDb => "SELECT @@global.gtid_binlog_pos",
        };
        let mut root = self.root(0).await;
        let position: String = root.query_first(position).await.unwrap().unwrap();
        let wait = match self.dialect {
            Dialect::MySql => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', 30)"),
            Dialect::MariaDb => format!("SELECT MASTER_GTID_WAIT('{position}', 30)"),
        };
        for replica in 1..self.servers.len() {
            let result: i64 = self.root(replica).await.query_first(&wait).await.unwrap().unwrap();
            assert_eq!(result, 0, "replica {replica} does not catch up");
        }
    }
}
