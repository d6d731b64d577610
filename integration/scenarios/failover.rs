//! Tidegate's own promotion, and planned switchovers. Each scenario has servers of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use mysql_async::prelude::Queryable;

use crate::console::operator;
use crate::harness::{Proxy, RawClient, Rules, Scenario, Stage, pace, until, within};

both_dialects! {
    t31_a_killed_primary_is_replaced_and_comes_back_as_a_replica,
    t37_two_failovers_in_a_row,
    a_primary_that_its_replicas_hear_from_is_not_replaced,
    a_replica_with_errant_transactions_is_not_promoted,
    an_old_primary_with_transactions_of_its_own_is_kept_out,
    of_several_instances_one_promotes,
    without_a_majority_nobody_is_promoted,
    a_switchover_costs_no_statement,
    a_switchover_costs_no_statement_of_another_instance,
    a_switchover_waits_for_transactions_and_is_taken_back,
    a_primary_that_is_back_before_it_is_missed_takes_writes_again,
    t33_a_single_write_that_a_demoted_primary_refuses_waits_for_the_next,
}

/// Rules with which Tidegate promotes. Statements wait long: what is tested is not the machine's speed.
pub fn rules() -> Rules {
    let failover = "failover: {mode: promote, user: failover, password: failover-pw, \
                    replication: {user: repl, password: repl-pw}}";
    Rules { in_cluster: failover.into(), ..Rules::pool("{primary_wait: 25s}") }
}

pub async fn stage(scenario: Scenario) -> Stage {
    let stage = scenario.own_stage(2, rules()).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    stage.proxy.until_logged("Tidegate promotes a replica").await;
    stage
}

/// The place of the server that takes the writes.
pub async fn primary(stage: &Stage) -> usize {
    let mut client = stage.client().await;
    let place = stage.answers(&mut client, "/* tidegate: primary */ SELECT id FROM which").await;
    client.disconnect().await.unwrap();
    place
}

/// The first server dies, and another takes its place: it, and a session that has written before and after. Who lives will have two rows.
pub async fn replaced(stage: &mut Stage) -> (RawClient, usize) {
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.caught_up().await;
    stage.cluster.tell("kill", 0);
    client.ok("INSERT INTO t VALUES (2)").await;
    let next = primary(stage).await;
    (client, next)
}

/// Waits until a server says that it is read only and follows the server at `source`.
pub async fn until_follows(stage: &Stage, server: usize, source: usize) {
    let status = if stage.cluster.dialect == tidegate::sql::Dialect::MySql {
        "SHOW REPLICA STATUS"
    } else {
        "SHOW SLAVE STATUS"
    };
    let port = stage.cluster.servers[source].port;
    let mut root = stage.cluster.root(server).await;
    let mut pace = pace();
    let asking = async {
        loop {
            let read_only: u8 = root.query_first("SELECT @@global.read_only").await.unwrap().unwrap();
            let row: Option<mysql_async::Row> = root.query_first(status).await.unwrap();
            let of = |row: &mysql_async::Row, modern: &str, old: &str| -> Option<String> {
                row.get_opt::<String, _>(modern).or_else(|| row.get_opt(old)).and_then(Result::ok)
            };
            let follows = row.is_some_and(|row| {
                of(&row, "Source_Port", "Master_Port") == Some(port.to_string())
                    && of(&row, "Replica_IO_Running", "Slave_IO_Running").as_deref() == Some("Yes")
                    && of(&row, "Replica_SQL_Running", "Slave_SQL_Running").as_deref() == Some("Yes")
            });
            if follows && read_only == 1 {
                return;
            }
            pace.tick().await;
        }
    };
    within(&format!("server {server} follows server {source}"), asking).await;
}

/// Waits until a server has this many rows of `t`.
pub async fn until_rows(stage: &Stage, server: usize, wanted: u64) {
    let mut root = stage.cluster.root(server).await;
    let sql = format!("SELECT COUNT(*) FROM {}.t", stage.schema);
    let mut pace = pace();
    let asking = async {
        while root.query_first::<u64, _>(&sql).await.unwrap() != Some(wanted) {
            pace.tick().await;
        }
    };
    within(&format!("{wanted} rows on server {server}"), asking).await;
}

/// Starts or stops a replica's receiving thread.
pub fn receive(scenario: Scenario, on: bool) -> &'static str {
    match (scenario.is_mysql(), on) {
        (true, true) => "START REPLICA IO_THREAD",
        (true, false) => "STOP REPLICA IO_THREAD",
        (false, true) => "START SLAVE IO_THREAD",
        (false, false) => "STOP SLAVE IO_THREAD",
    }
}

pub async fn is_writable(stage: &Stage, server: usize) -> bool {
    let mut root = stage.cluster.root(server).await;
    root.query_first::<u8, _>("SELECT @@global.read_only").await.unwrap() == Some(0)
}

async fn t31_a_killed_primary_is_replaced_and_comes_back_as_a_replica(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let (mut idle, mut writer) = (stage.raw().await, stage.raw().await);
    idle.ok("SET @a = 7, time_zone = '+03:00'").await;
    writer.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.caught_up().await;
    stage.cluster.tell("kill", 0);
    // Neither has sent anything when the primary dies: both wait, and nobody sees an error.
    idle.ok("INSERT INTO t VALUES (2)").await;
    writer.ok("INSERT INTO t VALUES (3)").await;
    assert_eq!(idle.value("SELECT @a").await.unwrap(), "7");
    assert_eq!(idle.value("/* tidegate: primary */ SELECT COUNT(*) FROM t").await.unwrap(), "3");
    let next = primary(&stage).await;
    assert_ne!(next, 0);
    let other = 3 - next;
    until_follows(&stage, other, next).await;

    // The old one is writable as it starts; it is fenced, and has nothing of its own.
    stage.cluster.tell("start", 0);
    until_follows(&stage, 0, next).await;
    writer.ok("INSERT INTO t VALUES (4)").await;
    for server in 0..3 {
        until_rows(&stage, server, 4).await;
        assert_eq!(is_writable(&stage, server).await, server == next);
    }
    stage.proxy.until_logged("fenced: a second writable server").await;
}

async fn t37_two_failovers_in_a_row(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let mut client = stage.raw().await;
    for (round, id) in [(1, 10), (2, 20), (3, 30)] {
        let before = primary(&stage).await;
        client.ok(format!("INSERT INTO t VALUES ({id})")).await;
        for server in 0..3 {
            until_rows(&stage, server, round).await;
        }
        stage.cluster.tell("kill", before);
        assert_eq!(
            client.error(format!("INSERT INTO t VALUES ({id})")).await.code,
            1062,
            "it waits, and is run"
        );
        let next = primary(&stage).await;
        assert_ne!(next, before);
        stage.cluster.tell("start", before);
        for server in (0..3).filter(|server| *server != next) {
            until_follows(&stage, server, next).await;
        }
    }
}

async fn a_primary_that_its_replicas_hear_from_is_not_replaced(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let mut client = stage.raw().await;
    // It hangs: for Tidegate it is gone; its replicas have not noticed yet.
    stage.cluster.tell("pause", 0);
    let label = format!(":{}\"", stage.cluster.servers[0].port);
    stage.proxy.until_metric("tidegate_server_up", &[&label], |value| value == 0).await;
    let writing = tokio::spawn(async move {
        client.ok("INSERT INTO t VALUES (1)").await;
    });
    let mut reader = stage.raw().await;
    // Longer than a promotion takes, with its second for a server that does not answer; and shorter than it takes the replicas to
    // notice.
    for _ in 0..25 {
        reader.select("SELECT SLEEP(0.1), COUNT(*) FROM t").await;
    }
    stage.cluster.tell("resume", 0);
    writing.await.expect("the write was held, and is run");
    assert_eq!(primary(&stage).await, 0);
    assert!(is_writable(&stage, 0).await && !is_writable(&stage, 1).await && !is_writable(&stage, 2).await);
}

async fn a_replica_with_errant_transactions_is_not_promoted(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let mut client = stage.raw().await;
    stage
        .cluster
        .run(
            1,
            &[
                "SET GLOBAL read_only = OFF",
                "CREATE DATABASE errant",
                if scenario.is_mysql() {
                    "SET GLOBAL super_read_only = ON"
                } else {
                    "SET GLOBAL read_only = ON"
                },
            ],
        )
        .await;
    stage.cluster.tell("kill", 0);
    client.ok("INSERT INTO t VALUES (1)").await;
    assert_eq!(primary(&stage).await, 2);
    stage.proxy.until_logged("errant transactions").await;
}

async fn an_old_primary_with_transactions_of_its_own_is_kept_out(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let mut client = stage.raw().await;
    for server in [1, 2] {
        stage.cluster.run(server, &[receive(scenario, false)]).await;
    }
    let lost = format!("INSERT INTO {}.t VALUES (100)", stage.schema);
    stage.cluster.run(0, &[&lost]).await;
    stage.cluster.tell("kill", 0);
    for server in [1, 2] {
        stage.cluster.run(server, &[receive(scenario, true)]).await;
    }
    client.ok("INSERT INTO t VALUES (1)").await;
    let next = primary(&stage).await;
    stage.cluster.tell("start", 0);
    stage.proxy.until_logged("it has transactions that the primary lacks").await;
    assert!(!is_writable(&stage, 0).await);
    let mut console =
        RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in");
    let port = stage.cluster.servers[0].port;
    let sql = format!(
        "SELECT COUNT(*) FROM servers WHERE server LIKE '%:{port}' AND left_out LIKE '%1 transactions that the primary lacks'"
    );
    let asking = async { while console.value(&sql).await.unwrap() != "1" {} };
    within("SHOW SERVERS says so", asking).await;
    client.ok("INSERT INTO t VALUES (2)").await;
    assert_eq!(primary(&stage).await, next);
}

async fn of_several_instances_one_promotes(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let other = Proxy::start(&stage.cluster, &rules()).await;
    other.until_logged("Tidegate promotes a replica").await;
    let login = crate::harness::Login { database: Some(stage.schema.clone()), ..Default::default() };
    let mut clients = [stage.raw().await, RawClient::login(other.address, &login).await.expect("it serves")];
    stage.cluster.tell("kill", 0);
    for (id, client) in clients.iter_mut().enumerate() {
        client.ok(format!("INSERT INTO t VALUES ({id})")).await;
    }
    let next = primary(&stage).await;
    assert!(is_writable(&stage, next).await && !is_writable(&stage, 3 - next).await);
    until_follows(&stage, 3 - next, next).await;
    for client in &mut clients {
        assert_eq!(client.value("/* tidegate: primary */ SELECT COUNT(*) FROM t").await.unwrap(), "2");
    }
    let promoted =
        usize::from(stage.proxy.has_logged(" promoted ")) + usize::from(other.has_logged(" promoted "));
    assert_eq!(promoted, 1);
}

async fn without_a_majority_nobody_is_promoted(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let mut client = stage.raw().await;
    stage.cluster.tell("kill", 1);
    stage.cluster.tell("kill", 0);
    stage.proxy.until_logged("only 1 of 3 servers can be reached and locked").await;
    assert!(!is_writable(&stage, 2).await);
    stage.cluster.tell("start", 1);
    client.ok("INSERT INTO t VALUES (1)").await;
    assert_ne!(primary(&stage).await, 0);
}

async fn a_switchover_costs_no_statement(scenario: Scenario) {
    let stage = stage(scenario).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(stage.client().await);
    }
    switch_over_under(&stage, clients).await;
}

async fn a_switchover_costs_no_statement_of_another_instance(scenario: Scenario) {
    let stage = stage(scenario).await;
    let other = Proxy::start(&stage.cluster, &rules()).await;
    other.until_logged("Tidegate promotes a replica").await;
    let mut clients = vec![stage.client().await, stage.client().await];
    for _ in 0..4 {
        let options = stage.options("app", "app-pw").tcp_port(other.address.port());
        clients.push(mysql_async::Conn::new(options).await.expect("app can log in"));
    }
    switch_over_under(&stage, clients).await;
}

/// Switchovers by the stage's own Tidegate, while clients write, in transactions and without.
async fn switch_over_under(stage: &Stage, clients: Vec<mysql_async::Conn>) {
    let mut console =
        RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in");
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writers = Vec::new();
    for (worker, mut client) in (0u64..).zip(clients) {
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        writers.push(tokio::spawn(async move {
            let mut next = worker * 1_000_000;
            while !stop.load(Relaxed) {
                for sql in ["BEGIN", "INSERT", "INSERT", "SELECT COUNT(*) FROM t", "COMMIT", "INSERT"] {
                    let sql = if sql == "INSERT" {
                        next += 1;
                        format!("INSERT INTO t VALUES ({next})")
                    } else {
                        sql.to_owned()
                    };
                    let outcome = client.query_drop(&sql).await;
                    assert!(outcome.is_ok(), "{sql}: {outcome:?}");
                }
                done.fetch_add(3, Relaxed);
            }
            client.disconnect().await.unwrap();
        }));
    }
    for to in [1, 2, 0, 1] {
        let before = done.load(Relaxed);
        until("writes go on", || async { done.load(Relaxed) > before + 30 }).await;
        console.ok(format!("SWITCHOVER TO '127.0.0.1:{}'", stage.cluster.servers[to].port)).await;
        assert_eq!(primary(stage).await, to);
        for server in (0..3).filter(|server| *server != to) {
            until_follows(stage, server, to).await;
        }
    }
    stop.store(true, Relaxed);
    for writer in writers {
        writer.await.expect("no statement failed");
    }
    for server in 0..3 {
        until_rows(stage, server, done.load(Relaxed)).await;
    }
}

async fn a_switchover_waits_for_transactions_and_is_taken_back(scenario: Scenario) {
    let stage = stage(scenario).await;
    let mut console =
        RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in");
    let (mut inside, mut other) = (stage.raw().await, stage.raw().await);
    inside.ok("BEGIN").await;
    inside.ok("INSERT INTO t VALUES (1)").await;
    let order = format!("SWITCHOVER TO '127.0.0.1:{}'", stage.cluster.servers[1].port);
    let refused = console.error(&order).await;
    assert!(refused.to_string().contains("1 sessions have open transactions"), "{refused}");
    other.ok("INSERT INTO t VALUES (2)").await;
    inside.ok("COMMIT").await;
    assert_eq!(primary(&stage).await, 0);
    console.ok(&order).await;
    assert_eq!(primary(&stage).await, 1);
    assert_eq!(other.value("/* tidegate: primary */ SELECT COUNT(*) FROM t").await.unwrap(), "2");
    let again = console.error(&order).await;
    assert!(again.to_string().contains("is the primary"), "{again}");
}

async fn t33_a_single_write_that_a_demoted_primary_refuses_waits_for_the_next(scenario: Scenario) {
    // Promoted by others, as in `follow`.
    let stage = scenario.own_stage(1, Rules::pool("{primary_wait: 25s}")).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writers = Vec::new();
    for worker in 0..4u64 {
        let (mut client, stop, done) = (stage.client().await, Arc::clone(&stop), Arc::clone(&done));
        writers.push(tokio::spawn(async move {
            let mut next = worker * 1_000_000;
            while !stop.load(Relaxed) {
                next += 1;
                let outcome = client.exec_drop("INSERT INTO t VALUES (?)", (next,)).await;
                assert!(outcome.is_ok(), "{outcome:?}");
                done.fetch_add(1, Relaxed);
            }
            client.disconnect().await.unwrap();
        }));
    }
    let more = |count| {
        let (done, before) = (Arc::clone(&done), done.load(Relaxed));
        async move { until("writes go on", || async { done.load(Relaxed) > before + count }).await }
    };
    more(20).await;
    let (read_only, promote) = match scenario.is_mysql() {
        true => (
            "SET GLOBAL super_read_only = ON",
            ["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = OFF"],
        ),
        false => {
            ("SET GLOBAL read_only = ON", ["STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = OFF"])
        }
    };
    stage.cluster.run(0, &[read_only]).await;
    stage.cluster.caught_up().await;
    stage.cluster.run(1, &promote).await;
    more(20).await;
    stop.store(true, Relaxed);
    for writer in writers {
        writer.await.expect("no write failed");
    }
    assert_eq!(primary(&stage).await, 1);
    until_rows(&stage, 1, done.load(Relaxed)).await;
}

async fn a_primary_that_is_back_before_it_is_missed_takes_writes_again(scenario: Scenario) {
    // Its configuration makes it read only, as it should be; and it takes very long to be missed.
    let rules = Rules { monitor: "failures: 100".into(), ..rules() };
    let mut stage = scenario.own_stage(2, rules).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;
    // Somebody's own order stands.
    stage.cluster.run(0, &["SET GLOBAL read_only = ON"]).await;
    stage.proxy.until_logged("is read only, and was not restarted").await;
    assert!(!is_writable(&stage, 0).await);
    stage.cluster.run(0, &["SET GLOBAL read_only = OFF"]).await;
    client.ok("INSERT INTO t VALUES (2)").await;
    stage.cluster.tell("kill", 0);
    stage.cluster.tell("start-read-only", 0);
    client.ok("INSERT INTO t VALUES (3)").await;
    assert_eq!(primary(&stage).await, 0);
    stage.proxy.until_logged("the primary was restarted and came back read only").await;
}
