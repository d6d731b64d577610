//! Servers that fail. Each scenario has servers of its own.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tokio::sync::watch;

use crate::harness::{Login, Outcome, RawClient, Rules, Scenario, Stage, until, within};

both_dialects! {
    a_replica_killed_under_load_costs_no_read,
    t36_a_read_that_was_interrupted_is_run_elsewhere,
    a_read_on_a_server_that_hangs_is_run_elsewhere,
    a_replica_whose_applier_stops_gets_no_reads,
    t20_t33_without_a_primary_reads_go_on_and_writes_fail_clearly,
    idle_connections_of_a_restarted_server_cost_no_read,
    a_log_that_nobody_reads_stops_nothing,
    a_server_alone_says_itself_whom_it_lets_write_while_it_is_read_only,
}

const WHICH: &str = "SELECT id FROM which";

/// Reads until one of the wanted server answers.
async fn until_read_from(stage: &Stage, client: &mut RawClient, wanted: usize) {
    let reading =
        async { while stage.place(client.value(WHICH).await.unwrap().parse().unwrap()) != wanted {} };
    within(&format!("a read from server {wanted}"), reading).await;
}

async fn until_up(stage: &Stage, server: usize, up: bool) {
    let label = format!(":{}\"", stage.cluster.servers[server].port);
    stage.proxy.until_metric("tidegate_server_up", &[&label], |value| (value == 1) == up).await;
}

async fn a_replica_killed_under_load_costs_no_read(scenario: Scenario) {
    let mut stage = scenario.own_stage(2, Rules::default()).await;
    let (stop, reads) = (watch::Sender::new(false), watch::Sender::new(0));
    let mut readers = Vec::new();
    for _ in 0..8 {
        let (mut client, stop, reads) = (stage.client().await, stop.subscribe(), reads.clone());
        readers.push(tokio::spawn(async move {
            while !*stop.borrow() {
                let read = client.query_first::<u64, _>(WHICH).await;
                assert!(read.as_ref().is_ok_and(Option::is_some), "{read:?}");
                let read = client.exec_first::<u64, _, _>("SELECT id FROM which WHERE id > ?", (0,)).await;
                assert!(read.as_ref().is_ok_and(Option::is_some), "{read:?}");
                reads.send_modify(|reads| *reads += 2);
            }
            client.disconnect().await.unwrap();
        }));
    }
    let more = async || {
        let before = *reads.borrow();
        let mut reads = reads.subscribe();
        within("reads go on", reads.wait_for(|now| *now > before + 100)).await.expect("somebody reads");
    };
    let mut client = stage.raw().await;
    until_read_from(&stage, &mut client, 1).await;
    more().await;
    stage.cluster.tell("kill", 1);
    until_up(&stage, 1, false).await;
    more().await;
    stage.cluster.tell("start", 1);
    until_read_from(&stage, &mut client, 1).await;
    more().await;
    stop.send_replace(true);
    for reader in readers {
        reader.await.expect("no read failed");
    }
}

async fn t36_a_read_that_was_interrupted_is_run_elsewhere(scenario: Scenario) {
    let mut stage = scenario.own_stage(2, Rules::default()).await;
    let rows: Vec<String> = (0..100).map(|n| format!("({n})")).collect();
    stage.given(&["CREATE TABLE t (n INT)", &format!("INSERT INTO t VALUES {}", rows.join(", "))]).await;
    for (command, server) in [("kill", 1), ("stop", 2)] {
        // A read that lasts on that server until it ends, and is quick on any other. (MySQL ends a SLEEP as if it were
        // over, so this one counts ten thousand million rows.)
        let id: u64 =
            stage.cluster.root(server).await.query_first("SELECT @@server_id").await.unwrap().unwrap();
        let sql = format!(
            "SELECT id, (SELECT COUNT(*) FROM t a, t b, t c, t d, t e WHERE which.id = {id} AND a.n + b.n + c.n + d.n + e.n > 0) \
             FROM which"
        );
        let mut client = stage.raw().await;
        let listed = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%t a, t b%' AND id <> CONNECTION_ID()";
        let landing = async {
            loop {
                let mut root = stage.cluster.root(server).await; // it may be left in the middle of an answer
                client.send_query(&sql).await;
                // Either it has come to another server, and ends; or it lasts there.
                tokio::select! {
                    outcomes = client.outcomes() => drop(outcomes),
                    () = async { while root.query_first::<u64, _>(listed).await.unwrap().unwrap() == 0 {} } => return,
                }
            }
        };
        within("the read lasts there", landing).await;
        stage.cluster.tell(command, server);
        let outcomes = client.outcomes().await;
        let [Outcome::Rows(rows)] = &outcomes[..] else { panic!("{command}: {outcomes:?}") };
        assert_ne!(stage.place(rows.value().unwrap().parse().unwrap()), server);
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
        stage.cluster.tell("start", server);
        until_up(&stage, server, true).await;
    }
}

fn place_of(stage: &Stage, id: Option<String>) -> usize {
    stage.place(id.expect("an id").parse().expect("a number"))
}

async fn a_read_on_a_server_that_hangs_is_run_elsewhere(scenario: Scenario) {
    let mut stage = scenario.own_stage(2, Rules { weights: vec![1, 1, 0], ..Rules::default() }).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    let prepared = other.prepare(WHICH).await.expect("it can be prepared");
    assert_eq!(place_of(&stage, client.value(WHICH).await), 1);
    assert_eq!(other.execute(prepared, &[]).await.rows().bytes().len(), 1);
    let mut by_text = stage.raw().await;
    by_text.ok("PREPARE p FROM 'SELECT id FROM which'").await;
    // So that there are connections for all.
    let mut readers = [stage.raw().await, stage.raw().await, stage.raw().await, stage.raw().await];
    for reader in &mut readers {
        reader.ok("START TRANSACTION READ ONLY").await;
        reader.select(WHICH).await;
    }
    for reader in &mut readers {
        reader.ok("COMMIT").await;
    }
    let mut inside = stage.raw().await;
    inside.ok("START TRANSACTION READ ONLY").await;
    assert_eq!(place_of(&stage, inside.value(WHICH).await), 1);
    stage.cluster.tell("pause", 1);
    // Both go there: nobody knows yet. Nothing of the replies has come when it is seen to be down.
    client.send_query(WHICH).await;
    inside.send_query(WHICH).await;
    by_text.send_query("EXECUTE p").await;
    assert_eq!(other.execute(prepared, &[]).await.rows().bytes().len(), 1);
    let outcomes = client.outcomes().await;
    let [Outcome::Rows(rows)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(place_of(&stage, rows.value()), 0, "no other replica takes reads");
    // Nor had it got the text there.
    let outcomes = by_text.outcomes().await;
    let [Outcome::Rows(rows)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(place_of(&stage, rows.value()), 0);
    // A transaction has its snapshot there: it waits, as it would without Tidegate.
    stage.cluster.tell("resume", 1);
    let outcomes = inside.outcomes().await;
    let [Outcome::Rows(rows)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(place_of(&stage, rows.value()), 1);
}

async fn a_replica_whose_applier_stops_gets_no_reads(scenario: Scenario) {
    let stage = scenario.own_stage(2, Rules::default()).await;
    let mut client = stage.raw().await;
    until_read_from(&stage, &mut client, 1).await;
    stage.cluster.run(1, &["STOP REPLICA SQL_THREAD"]).await;
    until("it is out", || async { stage.proxy.get("/readyz").await.contains("take reads: 1") }).await;
    for _ in 0..200 {
        assert_eq!(stage.place(client.value(WHICH).await.unwrap().parse().unwrap()), 2);
    }
    stage.cluster.run(2, &["STOP REPLICA SQL_THREAD"]).await;
    until("both are out", || async { stage.proxy.get("/readyz").await.contains("take reads: 0") }).await;
    assert_eq!(stage.place(client.value(WHICH).await.unwrap().parse().unwrap()), 0, "no replica left");
    stage.cluster.run(1, &["START REPLICA SQL_THREAD"]).await;
    until_read_from(&stage, &mut client, 1).await;
}

async fn t20_t33_without_a_primary_reads_go_on_and_writes_fail_clearly(scenario: Scenario) {
    let mut stage = scenario.own_stage(2, Rules::pool("{primary_wait: 500ms}")).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let (mut client, mut inside, mut idle) = (stage.raw().await, stage.raw().await, stage.raw().await);
    inside.ok("BEGIN").await;
    inside.ok("INSERT INTO t VALUES (1)").await;
    client.ok("INSERT INTO t VALUES (2)").await;
    stage.cluster.caught_up().await;
    stage.cluster.tell("kill", 0);

    // The transaction is lost with its server: nothing of it runs elsewhere, or later.
    let lost = inside.error("INSERT INTO t VALUES (3)").await;
    assert_eq!(lost.code, 1158, "{lost}");
    inside.closed().await;

    until_up(&stage, 0, false).await;
    for _ in 0..20 {
        assert_ne!(stage.place(client.value(WHICH).await.unwrap().parse().unwrap()), 0);
    }
    assert_eq!(client.value("SELECT GROUP_CONCAT(id) FROM t").await.unwrap(), "2");
    let asked = Instant::now();
    let refused = client.error("INSERT INTO t VALUES (4)").await;
    assert_eq!(refused.code, 1290, "{refused}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(idle.error("BEGIN").await.code, 1290);

    // State needs no primary, nor does a new client.
    client.ok("SET time_zone = '+03:00', sql_mode = 'ANSI_QUOTES'").await;
    client.ok("SET NAMES latin1").await;
    assert_eq!(client.value("SELECT TIMEDIFF(NOW(), UTC_TIMESTAMP())").await.unwrap(), "03:00:00");
    client.ok("USE test").await;
    client.ok(format!("USE {}", stage.schema)).await;
    client.select("SELECT @@version, @@autocommit").await;
    let mut fresh = stage.raw().await;
    fresh.select(WHICH).await;

    stage.cluster.tell("start", 0);
    until_up(&stage, 0, true).await;
    until("it is the primary", || async { !stage.proxy.get("/readyz").await.contains("no primary") }).await;
    client.ok("INSERT INTO t VALUES (5)").await;
    assert_eq!(client.value("SELECT GROUP_CONCAT(id ORDER BY id) FROM t FOR UPDATE").await.unwrap(), "2,5");
}

async fn idle_connections_of_a_restarted_server_cost_no_read(scenario: Scenario) {
    let mut stage = scenario.own_stage(1, Rules::default()).await;
    stage.given(&["CREATE TABLE t (n INT)"]).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(stage.raw().await);
    }
    let primary = "/* tidegate: primary */ SELECT id FROM which";
    for (server, read) in [(1, WHICH), (0, primary)] {
        // All at once, so that each has a connection of its own.
        for client in &mut clients {
            client.send_query(read).await;
        }
        for client in &mut clients {
            client.outcomes().await;
        }
        for command in ["kill", "stop"] {
            stage.cluster.tell(command, server);
            until_up(&stage, server, false).await; // or what is waited for next would be true of before
            stage.cluster.tell("start", server);
            until_up(&stage, server, true).await;
            stage.given(&["INSERT INTO t VALUES (1)"]).await; // the replica receives and applies again
            until("all is well", || async {
                stage.proxy.get("/readyz").await.contains("a primary, replicas that take reads: 1")
            })
            .await;
            for client in &mut clients {
                assert_eq!(
                    stage.place(client.value(read).await.unwrap().parse().unwrap()),
                    server,
                    "{command}: {read}"
                );
            }
        }
    }
}

async fn a_log_that_nobody_reads_stops_nothing(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut client = stage.raw().await;
    let unread = stage.proxy.leave_log_unread();
    let many = async {
        for _ in 0..3000 {
            // Each leaves a line; together they are more than the pipe to the reader holds.
            assert_eq!(client.error("KILL QUERY 4000000000").await.code, 1094);
        }
    };
    within("answers without a reader of the log", many).await;
    drop(unread);
}

async fn a_server_alone_says_itself_whom_it_lets_write_while_it_is_read_only(scenario: Scenario) {
    let stage = scenario.own_stage(0, Rules::default()).await;
    stage.given(&["CREATE TABLE t (n INT)"]).await;
    let mut direct = stage.direct(Login::default()).await;
    let mut client = stage.raw().await;
    let mut root = stage.raw_with(Login::account("root", "")).await;
    client.ok("INSERT INTO t VALUES (1)").await;
    root.ok("SET GLOBAL read_only = ON").await;
    until_probed(scenario, &stage).await;

    let asked = Instant::now();
    let refused = client.error("INSERT INTO t VALUES (2)").await;
    let by_the_server = direct.error("INSERT INTO t VALUES (2)").await;
    assert_eq!((refused.code, refused.message), (by_the_server.code, by_the_server.message));
    assert!(asked.elapsed() < Duration::from_secs(5), "it waits for no other: {:?}", asked.elapsed());
    root.ok("INSERT INTO t VALUES (3)").await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.unwrap(), "2");
    root.ok("SET GLOBAL read_only = OFF").await;
    client.ok("INSERT INTO t VALUES (4)").await;
}

/// Waits until the only server has answered a probe that began after this.
async fn until_probed(scenario: Scenario, stage: &Stage) {
    let mut root = stage.cluster.root(0).await;
    let name = if scenario.is_mysql() { "Com_show_replica_status" } else { "Com_show_slave_status" };
    let sql = format!("SHOW GLOBAL STATUS LIKE '{name}'");
    let (_, before): (String, u64) = root.query_first(&sql).await.unwrap().unwrap();
    let root = tokio::sync::Mutex::new(root);
    until("two more probes", || async {
        let (_, now): (String, u64) = root.lock().await.query_first(&sql).await.unwrap().unwrap();
        now >= before + 2
    })
    .await;
}
