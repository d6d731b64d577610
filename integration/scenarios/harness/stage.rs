//! A scenario set up: servers, a database of its own, a Tidegate, and clients of it.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row};
use tidegate::sql::Dialect;

use super::{Cluster, Login, Proxy, RawClient, Rules};

/// Makes a view `which` whose `id` tells the server that answers.
pub fn which(dialect: Dialect, schema: &str) -> String {
    let variables = match dialect {
        Dialect::MySql => "performance_schema.global_variables",
        Dialect::MariaDb => "information_schema.global_variables",
    };
    format!(
        "CREATE VIEW {schema}.which AS SELECT CAST(variable_value AS UNSIGNED) AS id FROM {variables} \
         WHERE variable_name = 'server_id'"
    )
}

/// What a test is called with.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub dialect: Dialect,
    /// The path of its module; the dialect's module is the last part.
    pub module: &'static str,
    pub name: &'static str,
}

/// What a scenario plays on.
pub struct Stage {
    // The proxy ends before its servers.
    pub proxy: Proxy,
    pub cluster: Cluster,
    /// The scenario's own database, with a view `which` whose `id` tells the server that answers.
    pub schema: String,
    /// The servers' ids, the primary's first.
    ids: Vec<u64>,
}

impl Scenario {
    /// The run's servers, and a Tidegate with the usual rules.
    pub async fn stage(self) -> Stage {
        self.stage_with(Rules::default()).await
    }

    /// The run's servers, and a Tidegate with these rules.
    pub async fn stage_with(self, rules: Rules) -> Stage {
        self.on(Cluster::shared(self.dialect), &rules).await
    }

    /// Servers that the scenario may break.
    pub async fn own_stage(self, replicas: usize, rules: Rules) -> Stage {
        self.on(Cluster::own(self.dialect, replicas), &rules).await
    }

    /// Three members of a group that the scenario may break.
    pub async fn group_stage(self, rules: Rules) -> Stage {
        self.on(Cluster::group(self.dialect), &rules).await
    }

    /// Servers of the scenario's own, started with further arguments for the launcher.
    pub async fn own_stage_with(self, replicas: usize, rules: Rules, arguments: &[&str]) -> Stage {
        self.on(Cluster::own_with(self.dialect, replicas, arguments), &rules).await
    }

    async fn on(self, cluster: Cluster, rules: &Rules) -> Stage {
        let schema = self.schema();
        let which = which(self.dialect, &schema);
        let drop = format!("DROP DATABASE IF EXISTS {schema}");
        let create = format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4");
        cluster.run(0, &[&drop, &create, &which]).await;
        cluster.caught_up().await;
        let mut ids = Vec::new();
        for server in 0..cluster.servers.len() {
            let id = cluster.root(server).await.query_first("SELECT @@server_id").await;
            ids.push(id.expect("a server answers").expect("a row"));
        }
        let proxy = Proxy::start(&cluster, rules).await;
        Stage { proxy, cluster, schema, ids }
    }

    /// A database of its own among those of all scenarios: two modules may have scenarios of one name.
    pub fn schema(self) -> String {
        let module = self.module.rsplit("::").nth(1).expect("scenarios are in modules");
        format!("{module}_{}", self.name).chars().take(60).collect()
    }

    pub fn is_mysql(self) -> bool {
        self.dialect == Dialect::MySql
    }
}

impl Stage {
    /// Runs statements in the scenario's database as root on the primary, past Tidegate; the replicas have them after.
    pub async fn given(&self, statements: &[&str]) {
        let mut root = self.cluster.root(0).await;
        root.query_drop(format!("USE {}", self.schema)).await.unwrap();
        for statement in statements {
            root.query_drop(*statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
        root.disconnect().await.unwrap();
        self.cluster.caught_up().await;
    }

    /// Options of a client for the account, in the scenario's database.
    pub fn options(&self, user: &str, password: &str) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname(self.proxy.address.ip().to_string())
            .tcp_port(self.proxy.address.port())
            .user(Some(user))
            .pass(Some(password))
            .db_name(Some(&self.schema))
            .max_allowed_packet(Some(64 << 20))
            .wait_timeout(Some(600))
            .prefer_socket(false)
    }

    /// An ordinary client.
    pub async fn client(&self) -> Conn {
        Conn::new(self.options("app", "app-pw")).await.expect("app can log in")
    }

    /// A client that chooses its packets.
    pub async fn raw(&self) -> RawClient {
        self.raw_with(Login::default()).await
    }

    /// The same with an own login; the database is the scenario's where the login names none.
    pub async fn raw_with(&self, login: Login) -> RawClient {
        let database = login.database.clone().or_else(|| Some(self.schema.clone()));
        RawClient::login(self.proxy.address, &Login { database, ..login }).await.expect("the login works")
    }

    /// A session past Tidegate, on the primary, in the scenario's database.
    pub async fn direct(&self, login: Login) -> RawClient {
        let login = Login { database: Some(self.schema.clone()), ..login };
        RawClient::login(self.cluster.address(0), &login).await.expect("the login works")
    }

    /// Asks through the client which server answers a statement like `SELECT id FROM which`, whose first column is
    /// the id; gives the server's place in the cluster, so that 0 is the primary.
    pub async fn answers(&self, client: &mut Conn, sql: &str) -> usize {
        let row: Row =
            client.query_first(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).expect("a row");
        self.place(row.get(0).expect("an id"))
    }

    /// The place of a server in the cluster.
    pub fn place(&self, id: u64) -> usize {
        self.ids.iter().position(|known| *known == id).expect("a server of ours")
    }

    /// Waits until what a server is like now is known.
    pub async fn until_probed(&self, place: usize) {
        let server = format!(":{}\"", self.cluster.servers[place].port);
        let labels = [&*server, "outcome=\"ok\""];
        let before = self.proxy.metric("tidegate_server_probes_total", &labels).await;
        // The first of them may have begun before.
        self.proxy.until_metric("tidegate_server_probes_total", &labels, |now| now >= before + 2).await;
    }

    /// Statements that a replica refused as read only.
    pub async fn refused_by_replicas(&self) -> u64 {
        self.proxy.metric("tidegate_statements_total", &["reason=\"refused by a replica\""]).await
    }
}
