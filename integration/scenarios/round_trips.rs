//! How often a statement waits for its server: counted by a relay between Tidegate and the primary.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Cluster, Login, Proxy, RawClient, Rules, Scenario, Stage};

both_dialects! {
    a_difference_of_state_costs_no_round_trip,
    a_write_whose_state_is_refused_is_not_carried_out,
    a_write_never_lands_in_a_database_of_a_similar_name,
    an_id_that_another_session_has_made_costs_no_round_trip,
}

/// In every statement that is counted, so that the probes' connections are not.
const MARK: &[u8] = b"counted";

/// One connection through the relay.
#[derive(Default)]
struct Count {
    /// Tidegate was the last to speak.
    asked: AtomicBool,
    /// It has carried a marked statement.
    marked: AtomicBool,
    /// Times that Tidegate spoke after the server.
    turns: AtomicU64,
}

/// A relay to one server that counts turns.
struct Relay {
    address: SocketAddr,
    counts: Arc<std::sync::Mutex<Vec<Arc<Count>>>>,
}

impl Relay {
    async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::<std::sync::Mutex<Vec<Arc<Count>>>>::default();
        let all = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(server).await else { continue };
                let count = Arc::<Count>::default();
                all.lock().unwrap().push(Arc::clone(&count));
                let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
                tokio::spawn(pump(near_read, far_write, Arc::clone(&count), true));
                tokio::spawn(pump(far_read, near_write, count, false));
            }
        });
        Self { address, counts }
    }

    /// Turns of the connections that carried marked statements.
    fn turns(&self) -> u64 {
        let counts = self.counts.lock().unwrap();
        counts.iter().filter(|count| count.marked.load(SeqCst)).map(|count| count.turns.load(SeqCst)).sum()
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, count: Arc<Count>, asks: bool) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let said = &bytes[..length];
        if asks && said.windows(MARK.len()).any(|window| window == MARK) {
            count.marked.store(true, SeqCst);
        }
        if count.asked.swap(asks, SeqCst) != asks && asks {
            count.turns.fetch_add(1, SeqCst);
        }
        if to.write_all(said).await.is_err() {
            break;
        }
    }
}

/// A Tidegate with one connection to the primary, through a relay; two clients of it.
async fn relayed(stage: &Stage) -> (Relay, Proxy, RawClient, RawClient) {
    let mut cluster = Cluster::shared(stage.cluster.dialect);
    cluster.servers.truncate(1);
    let server = SocketAddr::new(cluster.servers[0].host.parse().unwrap(), cluster.servers[0].port);
    let relay = Relay::start(server).await;
    cluster.servers[0].port = relay.address.port();
    let rules = Rules { server_tls: "{mode: off}".into(), ..Rules::pool("{max: 1}") };
    let proxy = Proxy::start_unready(&cluster, &rules).await;
    let login = Login { database: Some(stage.schema.clone()), ..Login::default() };
    let client = RawClient::login(proxy.address, &login).await.unwrap();
    let other = RawClient::login(proxy.address, &login).await.unwrap();
    (relay, proxy, client, other)
}

async fn a_difference_of_state_costs_no_round_trip(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let (relay, _proxy, mut client, mut other) = relayed(&stage).await;
    client.ok("SET time_zone = '+03:00', sql_mode = 'ANSI'").await;
    client.ok("SET @a = 'counted'").await;
    client.ok("USE information_schema").await;
    client.select("SELECT @a, 'counted'").await;
    let table = format!("{}.t", stage.schema);
    for sql in [
        "SELECT @a, 'counted'",
        &format!("REPLACE INTO {table} VALUES (7) /* counted */"),
        &format!("UPDATE {table} SET id = id /* counted */"),
        &format!("SELECT id FROM {table} FOR UPDATE /* counted */"),
        "BEGIN /* counted */",
    ] {
        // The other client has the only connection, with its own state, in between.
        other.ok("SET @a = 'theirs', time_zone = '-01:00'").await;
        other.select("SELECT 'counted'").await;
        for state in ["another", "the right"] {
            let before = relay.turns();
            client.query(sql).await;
            assert_eq!(relay.turns() - before, 1, "{sql}, in {state} state");
        }
        client.ok("ROLLBACK").await;
    }
    assert_eq!(client.value(format!("SELECT id FROM {table} FOR UPDATE")).await.unwrap(), "7");
    // What is prepared there costs no more; what is not costs one round trip for that.
    let write = client.prepare(format!("REPLACE INTO {table} VALUES (8) /* counted */")).await.unwrap();
    client.execute(write, &[]).await.ok();
    other.ok("SET time_zone = '-02:00'").await;
    other.select("SELECT 'counted'").await;
    let before = relay.turns();
    client.execute(write, &[]).await.ok();
    assert_eq!(relay.turns() - before, 1, "an execution");
}

/// It is on its way when the server refuses the state: it must not be carried out in another's.
async fn a_write_whose_state_is_refused_is_not_carried_out(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)", "CREATE TABLE m (id INT) ENGINE = MyISAM"]).await;
    let (_relay, _proxy, mut client, mut other) = relayed(&stage).await;
    let gone = format!("{}_gone", stage.schema.chars().take(55).collect::<String>());
    for table in ["t", "m"] {
        stage.cluster.run(0, &[&format!("CREATE DATABASE {gone}")]).await;
        client.ok(format!("USE {gone}")).await;
        client.ok("SET time_zone = '+03:00'").await;
        other.ok("SET time_zone = '-01:00'").await;
        stage.cluster.run(0, &[&format!("DROP DATABASE {gone}")]).await;
        assert_eq!(
            client.error(format!("INSERT INTO {table} VALUES (5)")).await.code,
            1046,
            "no database selected"
        );
        assert_eq!(other.value(format!("SELECT COUNT(*) FROM {table} FOR UPDATE")).await.unwrap(), "0");
        // Nor does the guard stay.
        client.ok(format!("USE {}", stage.schema)).await;
        client.ok(format!("INSERT INTO {table} VALUES (6)")).await;
        other.ok(format!("DELETE FROM {table}")).await;
    }
}

/// Names that a server's collation takes for one are two databases.
async fn a_write_never_lands_in_a_database_of_a_similar_name(scenario: Scenario) {
    let stage = scenario.stage().await;
    let (_relay, _proxy, mut client, mut other) = relayed(&stage).await;
    let stem: String = stage.schema.chars().take(50).collect();
    let (accented, plain) = (format!("{stem}_\u{e9}"), format!("{stem}_e"));
    let given: Vec<String> = [&accented, &plain]
        .iter()
        .flat_map(|name| {
            [
                format!("DROP DATABASE IF EXISTS {name}"),
                format!("CREATE DATABASE {name}"),
                format!("CREATE TABLE {name}.t (id INT PRIMARY KEY)"),
            ]
        })
        .collect();
    stage.cluster.run(0, &given.iter().map(|sql| &**sql).collect::<Vec<_>>()).await;
    client.ok(format!("USE {plain}")).await;
    other.ok(format!("USE {accented}")).await;
    other.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.run(0, &[&format!("DROP DATABASE {plain}")]).await;
    assert_eq!(client.error("INSERT INTO t VALUES (5)").await.code, 1046, "no database selected");
    assert_eq!(other.value("SELECT GROUP_CONCAT(id) FROM t").await.unwrap(), "1");
    stage.cluster.run(0, &[&format!("DROP DATABASE {accented}")]).await;
}

async fn an_id_that_another_session_has_made_costs_no_round_trip(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT)"]).await;
    let (relay, _proxy, mut client, mut other) = relayed(&stage).await;
    let write = "INSERT INTO t VALUES (NULL) /* counted */";
    let made = client.ok(write).await.insert_id;
    for sql in [write, "BEGIN /* counted */"] {
        let before = relay.turns();
        other.ok(sql).await;
        assert_eq!(relay.turns() - before, 1, "{sql}: the id is read back in the same write");
        other.ok("ROLLBACK").await;
        assert_eq!(client.value("SELECT LAST_INSERT_ID()").await, Some(made.to_string()));
    }
    let before = relay.turns();
    client.ok(write).await;
    client.ok(write).await;
    assert_eq!(relay.turns() - before, 2, "nothing is asked of a session's own connection");
}
