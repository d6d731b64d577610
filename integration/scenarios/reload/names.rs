//! Names that lead elsewhere while clients work.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tidegate::config;
use tidegate::frontend::proxy::Proxy;
use tidegate::topology::{Resolve, Resolving};
use tokio::time::interval;

use super::workload::{ROUND, Workload};
use super::{connections, until_left};
use crate::harness::{Cluster, Scenario, until, within};

both_dialects! {
    t30_a_name_is_followed_to_its_new_address,
    the_next_address_is_taken_when_the_one_in_use_is_down,
}

/// A resolver whose records a test changes.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<HashMap<String, Vec<SocketAddr>>>>);

impl Records {
    /// The name leads to these servers from now on; to none: it cannot be looked up.
    fn set(&self, name: &str, cluster: &Cluster, servers: &[usize]) {
        let at = |server: &usize| {
            let server = &cluster.servers[*server];
            SocketAddr::new(server.host.parse().expect("an address"), server.port)
        };
        self.0.lock().unwrap().insert(name.to_owned(), servers.iter().map(at).collect());
    }
}

impl Resolve for Records {
    fn resolve<'a>(&'a self, host: &'a str, _: u16) -> Resolving<'a> {
        let found = self.0.lock().unwrap().get(host).cloned().filter(|found| !found.is_empty());
        Box::pin(async move { found.ok_or_else(|| io::Error::other("no such name")) })
    }
}

/// A proxy of the test's own process in front of a primary and one replica, both known by names.
struct Named {
    cluster: Cluster,
    records: Records,
    proxy: Proxy,
    options: OptsBuilder,
    ids: Vec<u64>,
}

impl Named {
    async fn start(scenario: Scenario) -> Self {
        let cluster = Cluster::own(scenario.dialect, 2);
        let setup = [
            "CREATE TABLE test.t (id INT PRIMARY KEY AUTO_INCREMENT, who INT)".to_owned(),
            crate::harness::stage::which(scenario.dialect, "test"),
        ];
        cluster.run(0, &setup.each_ref().map(String::as_str)).await;
        cluster.caught_up().await;
        let mut ids = Vec::new();
        for server in 0..3 {
            ids.push(cluster.root(server).await.query_first("SELECT @@server_id").await.unwrap().unwrap());
        }
        let records = Records::default();
        records.set("primary.test", &cluster, &[0]);
        records.set("replica.test", &cluster, &[1]);
        let text = "version: 1\nlisten: \"127.0.0.1:0\"\nmonitor: {user: tidegate, password: monitor-pw, interval: 100ms}\n\
                    clusters:\n  main:\n    resolve_interval: 100ms\n    reads: {max_lag: 10s, consistency: eventual}\n    \
                    servers: [primary.test, replica.test]\n";
        let config = config::load(text, "names.yaml", &|_| None).expect("right rules");
        let proxy = Proxy::start_with(config, None, Arc::new(records.clone())).await.expect("it starts");
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(proxy.addresses()[0].tcp().expect("a TCP address").port())
            .user(Some("app"))
            .pass(Some("app-pw"))
            .db_name(Some("test"))
            .max_allowed_packet(Some(64 << 20))
            .wait_timeout(Some(600))
            .prefer_socket(false);
        Self { cluster, records, proxy, options, ids }
    }
}

async fn t30_a_name_is_followed_to_its_new_address(scenario: Scenario) {
    let Named { cluster, records, proxy, options, ids } = Named::start(scenario).await;
    let work = Workload::with(options, ids);
    work.until_reads_at(1).await;
    assert_eq!(connections(&cluster, 2).await, 0);

    // Another record beside the one in use changes nothing, nor does a resolver without an answer.
    records.set("replica.test", &cluster, &[2, 1]);
    work.until_reads_at(1).await;
    records.set("replica.test", &cluster, &[]);
    work.until_reads_at(1).await;
    assert_eq!(connections(&cluster, 2).await, 0);

    records.set("replica.test", &cluster, &[2]);
    work.until_reads_at(2).await;
    until_left(&cluster, 1).await;
    let before = work.reads_at(1);
    work.until_reads_at(2).await;
    assert_eq!(work.reads_at(1), before, "the old address gets nothing new");
    let probes = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'tidegate'";
    until("the old address is not probed any more", || async {
        cluster.root(1).await.query_first::<u64, _>(probes).await.unwrap() == Some(0)
    })
    .await;
    work.end().await;
    proxy.drain().await;
}

async fn the_next_address_is_taken_when_the_one_in_use_is_down(scenario: Scenario) {
    let Named { mut cluster, records, proxy, options, ids } = Named::start(scenario).await;
    let mut client = Conn::new(options).await.expect("app gets in");
    let mut until_read_at = async |server: usize| {
        let read = async {
            let mut rounds = interval(ROUND);
            while client.query_first("SELECT id FROM which").await.expect("an answer") != Some(ids[server]) {
                rounds.tick().await;
            }
        };
        within(&format!("a read at server {server}"), read).await;
    };
    until_read_at(1).await;
    records.set("replica.test", &cluster, &[1, 2]);
    cluster.tell("kill", 1);
    until_read_at(2).await;
    cluster.tell("start", 1);
    // Both are among the records: there is no reason to move.
    until_read_at(2).await;
    records.set("replica.test", &cluster, &[1]);
    until_read_at(1).await;
    client.disconnect().await.expect("goodbye");
    proxy.drain().await;
}
