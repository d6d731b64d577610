//! Transactions of a client: begun, ended and lost as on one server, and nobody else's.

use mysql_async::prelude::Queryable;

use crate::harness::{Login, Scenario, until};
use crate::state::{PRIMARY, WHICH, code, crowded, ids, text};

both_dialects! {
    set_transaction_counts_for_one_transaction,
    what_waits_for_a_transaction_is_nobody_elses,
    savepoints_work,
    a_savepoint_may_come_before_its_transaction,
    an_implicit_commit_ends_the_transaction,
    xa_transactions_work,
    a_transaction_ends_with_its_client,
    t41_transactions_and_settings_can_be_prepared,
    a_session_ends_with_the_connection_of_its_transaction,
    a_statement_that_fails_without_autocommit_keeps_its_transaction,
    an_execution_that_cannot_be_prepared_leaves_the_transaction,
    what_is_prepared_again_commits_nothing,
}

/// Asks for the id that the server knows: a call that holds a comment is left as it is.
const SERVERS_OWN_ID: &str = "SELECT CONNECTION_ID(/* the server's */) + 0";

async fn set_transaction_counts_for_one_transaction(scenario: Scenario) {
    let stage = crowded(scenario, 2).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    client.query_drop("SET TRANSACTION READ ONLY").await.unwrap();
    client.query_drop("BEGIN").await.unwrap();
    assert!([1792, 1290].contains(&code(&mut client, "INSERT INTO t VALUES (1)").await));
    client.query_drop("COMMIT").await.unwrap();
    client.query_drop("BEGIN").await.unwrap();
    client.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    client.query_drop("COMMIT").await.unwrap();

    other.query_drop("BEGIN").await.unwrap();
    other.query_drop("INSERT INTO t VALUES (2)").await.unwrap();
    client.query_drop("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED").await.unwrap();
    for expected in ["1,2", "1"] {
        client.query_drop("BEGIN").await.unwrap();
        assert_eq!(
            text(&mut client, "SELECT GROUP_CONCAT(id ORDER BY id) FROM t").await.as_deref(),
            Some(expected)
        );
        client.query_drop("COMMIT").await.unwrap();
    }
    other.query_drop("ROLLBACK").await.unwrap();
    client.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE").await.unwrap();
    let variable = if scenario.is_mysql() { "transaction_isolation" } else { "tx_isolation" };
    for _ in 0..2 {
        assert_eq!(text(&mut client, &format!("SELECT @@{variable}")).await.as_deref(), Some("SERIALIZABLE"));
        assert_eq!(
            text(&mut other, &format!("SELECT @@{variable}")).await.as_deref(),
            Some("REPEATABLE-READ")
        );
    }
}

/// None of these is a transaction, to a server: SET TRANSACTION waits on, and must not wait on a connection of the pool.
async fn what_waits_for_a_transaction_is_nobody_elses(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    stage.given(&["CREATE VIEW constant AS SELECT 1 AS a"]).await;
    let with = "WITH q AS (SELECT 1 AS a) SELECT * FROM q";
    for (id, between) in ["SAVEPOINT b", with, "SELECT * FROM constant"].into_iter().enumerate() {
        let mut client = stage.raw().await;
        client.ok("SET TRANSACTION READ ONLY").await;
        client.query(between).await;
        if id < 2 {
            let refused = client.error("INSERT INTO t VALUES (7)").await;
            assert!([1792, 1290].contains(&refused.code), "{between}: {refused}");
        }
        drop(client);
        stage.raw().await.ok(format!("INSERT INTO t VALUES ({id})")).await;
    }
}

async fn savepoints_work(scenario: Scenario) {
    let stage = crowded(scenario, 2).await;
    let mut client = stage.client().await;
    let statements = [
        "BEGIN",
        "INSERT INTO t VALUES (1)",
        "SAVEPOINT a",
        "INSERT INTO t VALUES (2)",
        "SAVEPOINT b",
        "INSERT INTO t VALUES (3)",
        "ROLLBACK TO SAVEPOINT a",
        "RELEASE SAVEPOINT a",
    ];
    for sql in statements {
        client.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    assert_eq!(code(&mut client, "ROLLBACK TO b").await, 1305);
    client.query_drop("COMMIT AND CHAIN").await.unwrap();
    client.query_drop("INSERT INTO t VALUES (4)").await.unwrap();
    assert_eq!(stage.answers(&mut client, WHICH).await, PRIMARY, "the chained transaction is open");
    client.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(ids(&mut client).await.as_deref(), Some("1"));
}

/// With `autocommit` off no status flag tells of it; the connection is nobody else's all the same.
async fn a_savepoint_may_come_before_its_transaction(scenario: Scenario) {
    let stage = crowded(scenario, 2).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    for sql in ["SET autocommit = 0", "SAVEPOINT a"] {
        client.query_drop(sql).await.unwrap();
    }
    other.query_drop("BEGIN").await.unwrap();
    for sql in [
        "INSERT INTO t VALUES (1)",
        "ROLLBACK TO a",
        "INSERT INTO t VALUES (2)",
        "RELEASE SAVEPOINT a",
        "COMMIT",
    ] {
        client.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    other.query_drop("COMMIT").await.unwrap();
    assert_eq!(ids(&mut client).await.as_deref(), Some("2"));
    client.query_drop("SAVEPOINT b").await.unwrap();
    client.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(code(&mut client, "ROLLBACK TO b").await, 1305);
    client.query_drop("COMMIT").await.unwrap();
    // It is not left to whoever has the connection next.
    client.query_drop("SAVEPOINT c").await.unwrap();
    drop(client);
    other.query_drop("SET autocommit = 0").await.unwrap();
    for _ in 0..4 {
        assert_eq!(code(&mut other, "ROLLBACK TO c").await, 1305);
    }
}

async fn an_implicit_commit_ends_the_transaction(scenario: Scenario) {
    let stage = crowded(scenario, 2).await;
    let mut client = stage.client().await;
    client.query_drop("BEGIN").await.unwrap();
    client.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    client.query_drop("CREATE TABLE other (id INT)").await.unwrap();
    client.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(ids(&mut client).await.as_deref(), Some("1"));
    assert_ne!(stage.answers(&mut client, WHICH).await, PRIMARY);
}

async fn xa_transactions_work(scenario: Scenario) {
    let stage = crowded(scenario, 2).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    for (id, end) in [(1, "COMMIT"), (2, "ROLLBACK")] {
        let xid = format!("'{}{id}'", stage.schema);
        for sql in [
            &format!("XA START {xid}"),
            &format!("INSERT INTO t VALUES ({id})"),
            &format!("XA END {xid}"),
            &format!("XA PREPARE {xid}"),
        ] {
            client.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            other.query_drop("SELECT COUNT(*) FROM t").await.unwrap();
        }
        client.query_drop(format!("XA {end} {xid}")).await.unwrap();
    }
    assert_eq!(ids(&mut client).await.as_deref(), Some("1"));
}

async fn a_transaction_ends_with_its_client(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    let mut client = stage.client().await;
    client.query_drop("BEGIN").await.unwrap();
    client.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    client.disconnect().await.unwrap();
    let mut next = stage.client().await;
    next.query_drop("INSERT INTO t VALUES (2)").await.unwrap();
    next.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(ids(&mut next).await.as_deref(), Some("2"));

    // The same where the client just vanishes.
    let mut vanishing = stage.raw().await;
    vanishing.ok("BEGIN").await;
    vanishing.ok("INSERT INTO t VALUES (3)").await;
    drop(vanishing);
    next.query_drop("INSERT INTO t VALUES (4)").await.unwrap();
    assert_eq!(ids(&mut next).await.as_deref(), Some("2,4"));
}

async fn t41_transactions_and_settings_can_be_prepared(scenario: Scenario) {
    let stage = crowded(scenario, 2).await;
    let mut direct = stage.direct(Login::default()).await;
    let mut client = stage.raw().await;
    // What a server does not prepare is refused with its own error.
    for sql in [
        "BEGIN",
        "START TRANSACTION",
        "COMMIT",
        "ROLLBACK",
        "SET @a = 1",
        "SET sql_mode = ''",
        "USE test",
        "SET autocommit = 1",
        "SHOW WARNINGS",
        "FLUSH TABLES",
    ] {
        let (expected, found) = (direct.prepare(sql).await, client.prepare(sql).await);
        let code = |result: &Result<_, tidegate::wire::err::ErrPacket>| {
            result.as_ref().err().map(|error| error.code)
        };
        assert_eq!(code(&found), code(&expected), "{sql}");
    }
    let set = client.prepare("SET time_zone = '+07:00'").await.unwrap();
    client.execute(set, &[]).await.ok();
    assert_eq!(client.value("SELECT TIMEDIFF(NOW(), UTC_TIMESTAMP())").await.unwrap(), "07:00:00");
    let off = client.prepare("SET autocommit = 0").await.unwrap();
    client.execute(off, &[]).await.ok();
    client.ok("INSERT INTO t VALUES (1)").await;
    let rollback = client.prepare("ROLLBACK").await.unwrap();
    client.execute(rollback, &[]).await.ok();
    client.ok("INSERT INTO t VALUES (2)").await;
    let commit = client.prepare("COMMIT").await.unwrap();
    client.execute(commit, &[]).await.ok();
    client.ok("SET autocommit = 1").await;
    assert_eq!(client.value("SELECT GROUP_CONCAT(id) FROM t FOR UPDATE").await.unwrap(), "2");
    if !scenario.is_mysql() {
        let begin = client.prepare("BEGIN").await.unwrap();
        client.execute(begin, &[]).await.ok();
        client.ok("INSERT INTO t VALUES (3)").await;
        client.execute(rollback, &[]).await.ok();
        let schema = client.prepare("USE test").await;
        if let Ok(schema) = schema {
            client.execute(schema, &[]).await.ok();
            assert_eq!(client.value("SELECT DATABASE()").await.unwrap(), "test");
        }
    }
}

/// What a client sends in a transaction must not be committed one by one because the transaction is lost.
async fn a_session_ends_with_the_connection_of_its_transaction(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (n INT)"]).await;
    for prepare in [false, true] {
        let mut client = stage.raw().await;
        client.ok("BEGIN").await;
        client.ok("INSERT INTO t VALUES (1)").await;
        let thread = client.value(SERVERS_OWN_ID).await.unwrap();
        let mut root = stage.cluster.root(PRIMARY).await;
        root.query_drop(format!("KILL {thread}")).await.unwrap();
        if prepare {
            client.command(tidegate::wire::command::STMT_PREPARE, b"INSERT INTO t VALUES (2)").await;
            assert_eq!(client.read().await[0], 0xff);
        } else {
            assert_eq!(client.error("INSERT INTO t VALUES (2)").await.code, 1158);
        }
        client.closed().await;
        let left: Option<u64> =
            root.query_first(format!("SELECT COUNT(*) FROM {}.t", stage.schema)).await.unwrap();
        assert_eq!(left, Some(0));
    }
}

/// An error packet has no status flags; the locks of the failed statement's transaction must not go to the pool.
async fn a_statement_that_fails_without_autocommit_keeps_its_transaction(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (n INT PRIMARY KEY)", "INSERT INTO t VALUES (1)"]).await;
    let mut client = stage.raw().await;
    client.ok("SET autocommit = 0").await;
    assert_eq!(client.error("INSERT INTO t VALUES (1)").await.code, 1062);
    let thread = client.value(SERVERS_OWN_ID).await.unwrap();
    // Another client's connection, held later for questions about an error only, tells when that time is over.
    let mut clock = stage.raw().await;
    assert_eq!(clock.error("INSERT INTO nowhere VALUES (1)").await.code, 1146);
    stage.proxy.until_metric("tidegate_pool_in_use", &[], |used| used == 1).await;
    let open =
        format!("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = {thread}");
    let open: u64 = stage.cluster.root(0).await.query_first(open).await.unwrap().unwrap();
    assert_eq!(open, 1, "the transaction is lost");
    client.ok("ROLLBACK").await;
    until("the connection is given back", || async {
        stage.proxy.metric("tidegate_pool_in_use", &[]).await == 0
    })
    .await;
}

async fn an_execution_that_cannot_be_prepared_leaves_the_transaction(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (n INT) ENGINE = InnoDB", "CREATE TABLE gone (n INT)"]).await;
    let mut client = stage.client().await;
    let statement = client.prep("SELECT n FROM gone").await.unwrap(); // on a replica
    stage.given(&["DROP TABLE gone"]).await;
    client.query_drop("BEGIN").await.unwrap();
    client.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    let refused = client.exec_drop(&statement, ()).await.unwrap_err();
    assert!(matches!(&refused, mysql_async::Error::Server(error) if error.code == 1146), "{refused:?}");
    client.query_drop("INSERT INTO t VALUES (2)").await.unwrap();
    client.query_drop("ROLLBACK").await.unwrap();
    let left = client.query_first("/* tidegate: primary */ SELECT COUNT(*) FROM t").await.unwrap();
    assert_eq!(left, Some(0));
}

/// A statement is prepared again in the state that its client had then: of that, `autocommit` would commit what is open now.
async fn what_is_prepared_again_commits_nothing(scenario: Scenario) {
    let stage = crowded(scenario, 2).await;
    let mut client = stage.client().await;
    let statement = client.prep("SELECT COUNT(*) FROM t").await.unwrap(); // on a replica
    client.query_drop("SET autocommit = 0").await.unwrap();
    client.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(client.exec_first(&statement, ()).await.unwrap(), Some(1));
    client.query_drop("ROLLBACK").await.unwrap();
    assert_eq!(
        client.exec_first(&statement, ()).await.unwrap(),
        Some(0),
        "rolled back, and there all the same"
    );
}
