//! Transactions that have only read when their server dies: they go on elsewhere, without any rule. Each scenario has servers of its own.

use crate::failover::{primary, rules};
use crate::harness::packets::Param;
use crate::harness::{RawClient, Rules, Scenario, Stage};
use crate::replay::{refused, restart, send_to_a_server_that_dies, until_counted};

both_dialects! {
    reads_go_on_after_a_restart_in_one_snapshot,
    reads_go_on_at_the_server_that_was_promoted,
    a_read_only_transaction_goes_on_at_another_replica,
    reads_of_which_one_would_be_another_now_end_with_the_error,
    what_has_done_more_than_read_ends_with_the_error,
    reads_beyond_the_bounds_end_with_the_error,
    what_a_view_writes_is_not_lost,
}

const COUNT: &str = "SELECT COUNT(*) FROM t";

async fn given(stage: &Stage) {
    stage
        .given(&["CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 10), (2, 20)"])
        .await;
}

/// One server, and rules that say nothing of transactions, or this.
async fn alone(scenario: Scenario, in_cluster: &str) -> Stage {
    let mut rules = Rules::pool("{primary_wait: 25s}");
    if !in_cluster.is_empty() {
        rules.in_cluster = in_cluster.into();
    }
    let stage = scenario.own_stage(0, rules).await;
    given(&stage).await;
    stage
}

/// The error of a transaction that nobody has tried to run again.
async fn lost(client: &mut RawClient, sql: &str) {
    let lost = client.error(sql).await;
    assert_eq!((lost.code, &lost.sqlstate), (1158, b"08S01"), "{lost}");
    assert!(lost.message.ends_with(b"the session's state are lost with it"), "{lost}");
    client.closed().await;
}

async fn reads_go_on_after_a_restart_in_one_snapshot(scenario: Scenario) {
    let mut stage = alone(scenario, "").await;
    let (mut client, mut implicit, mut ends) = (stage.raw().await, stage.raw().await, stage.raw().await);
    let mut other = stage.raw().await;
    client.ok("SET time_zone = '+03:00', @mine = 1").await;
    let prepared = client.prepare("SELECT v FROM t WHERE id = ?").await.expect("it can be prepared");
    client.ok("BEGIN").await;
    assert_eq!(client.value("SELECT v FROM t WHERE id = @mine").await.unwrap(), "10");
    client.execute(prepared, &[Param::Int(2)]).await.rows();
    assert_eq!(client.error("SELECT missing FROM t").await.code, 1054);
    client.ok("SAVEPOINT a").await;
    assert_eq!(client.value("SELECT @@time_zone").await.unwrap(), "+03:00");
    implicit.ok("SET autocommit = 0").await;
    assert_eq!(implicit.value(COUNT).await.unwrap(), "2");
    ends.ok("BEGIN").await;
    ends.select(COUNT).await;
    restart(&mut stage, 0);

    assert_eq!(client.value("SELECT SUM(v) FROM t").await.unwrap(), "30");
    assert_eq!(implicit.value(COUNT).await.unwrap(), "2");
    ends.ok("COMMIT").await;
    until_counted(&stage, "replayed", 3).await;
    // All that it reads is of one moment still, the one at which it was run again.
    other.ok("INSERT INTO t VALUES (3, 30)").await;
    assert_eq!(client.value("SELECT SUM(v) FROM t").await.unwrap(), "30");
    assert_eq!(implicit.value(COUNT).await.unwrap(), "2");
    client.execute(prepared, &[Param::Int(1)]).await.rows();
    client.ok("ROLLBACK TO a").await;
    client.ok("UPDATE t SET v = 11 WHERE id = 1").await;
    client.ok("COMMIT").await;
    assert_eq!(other.value("SELECT SUM(v) FROM t").await.unwrap(), "61");

    // What is written goes on as well, where it is seen that there is nobody to send it to; where it was sent, nobody knows.
    client.ok("BEGIN").await;
    client.select(COUNT).await;
    restart(&mut stage, 0);
    client.ok("INSERT INTO t VALUES (4, 40)").await;
    client.ok("COMMIT").await;
    assert_eq!(other.value(COUNT).await.unwrap(), "4");
    client.ok("BEGIN").await;
    client.select(COUNT).await;
    send_to_a_server_that_dies(&mut stage, &mut client, "INSERT INTO t VALUES (5, 50)").await;
    let lost = client.outcomes().await.remove(0).err();
    assert_eq!((lost.code, &lost.sqlstate), (1158, b"08S01"), "{lost}");
    stage.cluster.tell("start", 0);
    assert_eq!(other.value(COUNT).await.unwrap(), "4");
}

async fn reads_go_on_at_the_server_that_was_promoted(scenario: Scenario) {
    let mut stage = scenario.own_stage(2, rules()).await;
    given(&stage).await;
    stage.proxy.until_logged("Tidegate promotes a replica").await;
    let mut client = stage.raw().await;
    client.ok("BEGIN").await;
    assert_eq!(client.value("SELECT v FROM t WHERE id = 1").await.unwrap(), "10");
    stage.cluster.tell("kill", 0);
    assert_eq!(client.value(COUNT).await.unwrap(), "2");
    assert_ne!(primary(&stage).await, 0);
    client.ok("INSERT INTO t VALUES (3, 30)").await;
    client.ok("COMMIT").await;
    assert_eq!(client.value("/* tidegate: primary */ SELECT COUNT(*) FROM t").await.unwrap(), "3");
}

async fn a_read_only_transaction_goes_on_at_another_replica(scenario: Scenario) {
    let mut stage = scenario.own_stage(2, Rules::default()).await;
    given(&stage).await;
    let (mut client, mut names_its_server) = (stage.raw().await, stage.raw().await);
    let mut places = Vec::new();
    for client in [&mut client, &mut names_its_server] {
        client.ok("START TRANSACTION READ ONLY").await;
        assert_eq!(client.value(COUNT).await.unwrap(), "2");
    }
    places.push(names_its_server.value("SELECT id FROM which").await.unwrap());
    for server in [1, 2] {
        stage.cluster.tell("kill", server);
    }
    // The primary serves them where no replica is left.
    assert_eq!(client.value("SELECT v FROM t WHERE id = 2").await.unwrap(), "20");
    assert_eq!(
        client.value("SELECT id FROM which").await.map(|id| stage.place(id.parse().unwrap())),
        Some(0)
    );
    client.ok("COMMIT").await;
    until_counted(&stage, "replayed", 1).await;
    // Another server has another name, and the client has seen that.
    refused(&mut names_its_server, COUNT, "a result was not the same again").await;
}

async fn reads_of_which_one_would_be_another_now_end_with_the_error(scenario: Scenario) {
    let mut stage = alone(scenario, "").await;
    let mut other = stage.raw().await;
    let mut clients = Vec::new();
    for level in ["REPEATABLE READ", "READ COMMITTED"] {
        let mut client = stage.raw().await;
        client.ok(format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}")).await;
        client.ok("BEGIN").await;
        assert_eq!(client.value("SELECT v FROM t WHERE id = 1").await.unwrap(), "10");
        clients.push(client);
    }
    let mut elsewhere = stage.raw().await;
    elsewhere.ok("BEGIN").await;
    assert_eq!(elsewhere.value("SELECT v FROM t WHERE id = 2").await.unwrap(), "20");
    other.ok("UPDATE t SET v = 11 WHERE id = 1").await;
    restart(&mut stage, 0);
    for client in &mut clients {
        refused(client, "SELECT v FROM t WHERE id = 2", "a result was not the same again").await;
    }
    assert_eq!(
        elsewhere.value("SELECT v FROM t WHERE id = 1").await.unwrap(),
        "11",
        "it has not read that row"
    );
    until_counted(&stage, "other result", 2).await;
}

async fn what_has_done_more_than_read_ends_with_the_error(scenario: Scenario) {
    let mut stage = alone(scenario, "").await;
    stage
        .given(&[
            "CREATE TABLE k (id INT PRIMARY KEY)",
            "INSERT INTO k VALUES (1), (2), (3), (4)",
            "CREATE PROCEDURE nothing() DO 1",
            "CREATE FUNCTION one() RETURNS INT DETERMINISTIC NO SQL RETURN 1",
        ])
        .await;
    let isolation = if scenario.is_mysql() { "transaction_isolation" } else { "tx_isolation" };
    let serializable = format!("SET {isolation} = 'SERIALIZABLE'");
    let cases: &[&[&str]] = &[
        &["BEGIN", "SELECT id FROM k WHERE id = 1 FOR UPDATE"],
        &["BEGIN", "SELECT id FROM k WHERE id = 2 LOCK IN SHARE MODE"],
        &["BEGIN", "SELECT 1 FROM t WHERE id = (SELECT id FROM k WHERE id = 3 FOR UPDATE)"],
        &["BEGIN", COUNT, "UPDATE k SET id = id WHERE id = 9"],
        &["BEGIN", "SELECT LAST_INSERT_ID(5)"],
        &["BEGIN", "SELECT LAST_INSERT_ID()"],
        &["BEGIN", "SELECT one()"],
        &["BEGIN", "SELECT 1; SELECT 2"],
        &["BEGIN", COUNT, "COMMIT AND CHAIN", COUNT],
        &["BEGIN", COUNT, "SET SESSION sql_mode = 'ANSI_QUOTES'"],
        &["START TRANSACTION WITH CONSISTENT SNAPSHOT", COUNT],
        &[&serializable, "BEGIN", COUNT],
        &["SET autocommit = 0", "SELECT id FROM k WHERE id = 4 FOR UPDATE"],
    ];
    let mut clients = Vec::new();
    for statements in cases {
        let mut client = stage.raw().await;
        for sql in *statements {
            eprintln!("{sql}");
            client.query(sql).await;
        }
        clients.push((statements, client));
    }
    // What stands beside a transaction is lost with it, too.
    let pinned: &[&[&str]] = &[
        &["BEGIN", "SELECT @a := 1"],
        &["BEGIN", "SELECT GET_LOCK('a', 0)"],
        &["CREATE TEMPORARY TABLE tmp (n INT)", "BEGIN", COUNT],
        &["BEGIN", "CALL nothing()"],
    ];
    for statements in pinned {
        let mut client = stage.raw().await;
        for sql in *statements {
            eprintln!("{sql}");
            client.query(sql).await;
        }
        clients.push((statements, client));
    }
    restart(&mut stage, 0);
    for (statements, client) in &mut clients {
        eprintln!("{statements:?}");
        let lost = client.error(COUNT).await;
        assert_eq!((lost.code, &lost.sqlstate), (1158, b"08S01"), "{lost}");
        client.closed().await;
    }
    until_counted(&stage, "replayed", 0).await;
    // By default of the servers, too.
    stage.cluster.run(0, &[&format!("SET GLOBAL {isolation} = 'SERIALIZABLE'")]).await;
    stage.until_probed(0).await;
    let mut client = stage.raw().await;
    client.ok("BEGIN").await;
    client.select(COUNT).await;
    stage.cluster.tell("kill", 0);
    stage.cluster.tell("start", 0);
    lost(&mut client, COUNT).await;
}

async fn reads_beyond_the_bounds_end_with_the_error(scenario: Scenario) {
    let mut stage = alone(scenario, "transactions: {replay_statements: 4, replay_size: 8KiB}").await;
    let (mut many, mut large, mut fits) = (stage.raw().await, stage.raw().await, stage.raw().await);
    for client in [&mut many, &mut large, &mut fits] {
        client.ok("BEGIN").await;
        client.select(COUNT).await;
        client.select(COUNT).await;
    }
    many.select(COUNT).await;
    many.select(COUNT).await;
    large.select(format!("SELECT '{}' = ''", "x".repeat(8_000))).await;
    fits.select(COUNT).await;
    restart(&mut stage, 0);
    for client in [&mut many, &mut large] {
        refused(client, COUNT, "it was longer than the rules keep").await;
    }
    assert_eq!(fits.value(COUNT).await.unwrap(), "2");
    until_counted(&stage, "too long", 2).await;
    until_counted(&stage, "replayed", 1).await;
}

/// A text that only reads may write all the same. It is run again with the rest, whatever the isolation level.
async fn what_a_view_writes_is_not_lost(scenario: Scenario) {
    let mut stage = alone(scenario, "").await;
    stage
        .given(&[
            "CREATE TABLE l (n INT)",
            "CREATE FUNCTION write_one() RETURNS INT DETERMINISTIC MODIFIES SQL DATA \
             BEGIN INSERT INTO l VALUES (1); RETURN 1; END",
            "CREATE VIEW v AS SELECT write_one() AS n",
        ])
        .await;
    let mut client = stage.raw().await;
    client.ok("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await;
    client.ok("BEGIN").await;
    assert_eq!(client.value("SELECT n FROM v").await.unwrap(), "1");
    restart(&mut stage, 0);
    client.ok("COMMIT").await;
    until_counted(&stage, "replayed", 1).await;
    assert_eq!(client.value("SELECT COUNT(*) FROM l").await.unwrap(), "1");
}
