//! Savepoints of transactions that go to several places, before or after they were set.

use tidegate::sql::Dialect;
use tidegate::wire::ok::Status;

use super::transactions::{BEST_EFFORT, same_rows};
use super::{Split, fill};
use crate::harness::packets::Param;
use crate::harness::{Cluster, RawClient, Scenario};

both_dialects! {
    nested_blocks_of_a_framework_work_at_a_shard,
    savepoints_hold_at_all_places_of_a_transaction,
    what_is_rolled_back_leaves_the_place_free_for_another,
    savepoints_end_with_their_transaction,
    what_cannot_be_told_at_all_places_is_refused,
    prepared_savepoints_hold_at_all_places,
    a_part_that_is_lost_ends_a_transaction_with_savepoints,
    a_savepoint_may_be_the_first_statement_of_a_transaction,
    settings_of_a_transaction_go_to_all_of_its_places,
    a_read_only_transaction_stays_one_at_all_places,
    one_transaction_may_follow_another_at_once,
    every_answer_tells_of_the_transaction,
}

async fn filled(scenario: Scenario, policies: &str) -> (Split, RawClient, RawClient) {
    let split = Split::with(scenario, Cluster::own(scenario.dialect, 0), policies).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    (split, client, direct)
}

/// Each statement is answered as by one server, and leaves the same rows.
async fn same(split: &Split, (client, direct): (&mut RawClient, &mut RawClient), statements: &[&str]) {
    for sql in statements {
        split.same(client, direct, sql).await;
    }
    let mut other = split.stage.raw().await;
    same_rows(split, &mut other, direct).await;
}

/// As Django, SQLAlchemy and Rails send them: the first savepoint comes before the first statement at a shard.
async fn nested_blocks_of_a_framework_work_at_a_shard(scenario: Scenario) {
    let (split, mut client, mut direct) = filled(scenario, "").await;
    for begin in ["BEGIN", "START TRANSACTION", "BEGIN; SELECT 1"] {
        let nested = [
            begin,
            "SAVEPOINT `s139_x1`",
            "INSERT INTO customers (id, name, score) VALUES (11, 'x', 1)",
            "RELEASE SAVEPOINT `s139_x1`",
            "SAVEPOINT `s139_x2`",
            "UPDATE customers SET score = 100 WHERE id = 11",
            "SAVEPOINT `s139_x3`",
            "INSERT INTO customers (id, name, score) VALUES (1, 'there', 1)",
            "ROLLBACK TO SAVEPOINT `s139_x3`",
            "RELEASE SAVEPOINT `s139_x3`",
            "SELECT id, score FROM customers WHERE id = 11",
            "ROLLBACK TO SAVEPOINT `s139_x2`",
            "RELEASE SAVEPOINT `s139_x2`",
            "SELECT id, score FROM customers WHERE id = 11",
            "COMMIT",
            "DELETE FROM customers WHERE id = 11",
        ];
        same(&split, (&mut client, &mut direct), &nested).await;
    }
}

async fn savepoints_hold_at_all_places_of_a_transaction(scenario: Scenario) {
    let (split, mut client, mut direct) = filled(scenario, BEST_EFFORT).await;
    let statements = [
        "BEGIN",
        "INSERT INTO plain VALUES (1, 'before')",
        "SAVEPOINT a",
        "UPDATE customers SET score = 10 WHERE id = 1",
        "SAVEPOINT b",
        "UPDATE customers SET score = 20 WHERE id = 2",
        "INSERT INTO plain VALUES (2, 'behind b')",
        "SELECT id, score FROM customers ORDER BY id",
        "ROLLBACK TO SAVEPOINT B",
        "SELECT id, score FROM customers ORDER BY id",
        "SELECT * FROM plain ORDER BY id",
        "UPDATE customers SET score = 21 WHERE id = 2",
        // Set again, it is the latest.
        "SAVEPOINT a",
        "UPDATE customers SET score = 30 WHERE id IN (1)",
        "UPDATE customers SET score = 31 WHERE id = 4",
        "ROLLBACK WORK TO a",
        "SELECT id, score FROM customers ORDER BY id",
        "RELEASE SAVEPOINT b",
        "ROLLBACK TO a",
        "RELEASE SAVEPOINT a",
        "SELECT LAST_INSERT_ID(), ROW_COUNT()",
        "UPDATE customers SET score = 33 WHERE id = 3",
        "SHOW WARNINGS",
        "COMMIT",
        "ROLLBACK TO a",
    ];
    same(&split, (&mut client, &mut direct), &statements).await;
    // Without BEGIN; the last place is opened behind all of them.
    let statements = [
        "SET autocommit = 0",
        "UPDATE customers SET score = 40 WHERE id = 1",
        "SAVEPOINT `a b`",
        "UPDATE customers SET score = 40 WHERE id = 2",
        "SAVEPOINT savepoint",
        "DELETE FROM plain",
        "SELECT COUNT(*) FROM plain",
        "ROLLBACK TO SAVEPOINT savepoint",
        "SELECT COUNT(*) FROM plain",
        "ROLLBACK TO SAVEPOINT `A B`",
        "UPDATE customers SET score = 41 WHERE id = 2",
        "COMMIT",
        "SET autocommit = 1",
    ];
    same(&split, (&mut client, &mut direct), &statements).await;
    // Reads at several shards, and of all.
    let statements = [
        "START TRANSACTION READ ONLY",
        "SAVEPOINT a",
        "SELECT id, score FROM customers ORDER BY id",
        "ROLLBACK TO a",
        "SELECT COUNT(*) FROM plain",
        "RELEASE SAVEPOINT a",
        "SELECT score FROM customers WHERE id = 1",
        "COMMIT",
    ];
    same(&split, (&mut client, &mut direct), &statements).await;
}

async fn what_is_rolled_back_leaves_the_place_free_for_another(scenario: Scenario) {
    let (split, mut client, mut direct) = filled(scenario, "").await;
    let statements = [
        "BEGIN",
        "SAVEPOINT a",
        "UPDATE customers SET score = 10 WHERE id = 1",
        "SELECT score FROM customers WHERE id = 2",
        "ROLLBACK TO a",
        "UPDATE customers SET score = 20 WHERE id = 2",
        "SAVEPOINT b",
        "SELECT id, score FROM customers ORDER BY id",
        "COMMIT",
    ];
    same(&split, (&mut client, &mut direct), &statements).await;
    for sql in [
        "BEGIN",
        "UPDATE customers SET score = 70 WHERE id = 2",
        "SAVEPOINT a",
        "UPDATE customers SET score = 71 WHERE id = 2",
        "SELECT score FROM customers WHERE id = 1",
        "ROLLBACK TO a",
    ] {
        client.query(sql).await;
    }
    // What came before the savepoint stands.
    let error = client.error("UPDATE customers SET score = 5 WHERE id = 1").await;
    assert_eq!(error.code, 1235, "{error}");
    client.ok("ROLLBACK").await;
    same(&split, (&mut client, &mut direct), &[]).await;
}

async fn savepoints_end_with_their_transaction(scenario: Scenario) {
    let (split, mut client, mut direct) = filled(scenario, BEST_EFFORT).await;
    for end in ["COMMIT", "ROLLBACK", "BEGIN", "CREATE TABLE IF NOT EXISTS later (a INT)"] {
        let statements = [
            "BEGIN",
            "SAVEPOINT a",
            "UPDATE customers SET score = score + 1 WHERE id = 1",
            "UPDATE customers SET score = score + 1 WHERE id = 2",
            end,
            "ROLLBACK TO a",
            "RELEASE SAVEPOINT a",
            "BEGIN",
            "SELECT score FROM customers WHERE id = 1",
            "SELECT score FROM customers WHERE id = 2",
            "ROLLBACK TO a",
            "COMMIT",
            // A savepoint without a transaction is none.
            "SAVEPOINT a",
            "ROLLBACK TO a",
        ];
        same(&split, (&mut client, &mut direct), &statements).await;
    }
    // The server that has ended a part by itself has ended its savepoints, too.
    split
        .end_by_a_deadlock(&mut client, &["SAVEPOINT a", "UPDATE customers SET score = 7 WHERE id = 2"])
        .await;
    let error = client.error("ROLLBACK TO a").await;
    assert_eq!(error.code, 1305, "{error}");
    same(
        &split,
        (&mut client, &mut direct),
        &["BEGIN", "SELECT score FROM customers WHERE id = 1", "ROLLBACK"],
    )
    .await;
}

async fn what_cannot_be_told_at_all_places_is_refused(scenario: Scenario) {
    let (split, mut client, mut direct) = filled(scenario, BEST_EFFORT).await;
    for (set, back) in [
        ("SAVEPOINT `é`", "ROLLBACK TO e"),
        ("DO 1; SAVEPOINT a", "ROLLBACK TO a"),
        ("BEGIN; SAVEPOINT a", "ROLLBACK TO a"),
    ] {
        client.ok("BEGIN").await;
        client.query(set).await;
        client.ok("UPDATE customers SET score = 50 WHERE id = 1").await;
        client.ok("UPDATE customers SET score = 50 WHERE id = 2").await;
        for sql in [back, "RELEASE SAVEPOINT b", "SAVEPOINT c"] {
            let error = client.error(sql).await;
            assert_eq!(error.code, 1235, "{sql}: {error}");
        }
        client.ok("ROLLBACK").await;
    }
    same(&split, (&mut client, &mut direct), &[]).await;
}

/// MySQL prepares none of them.
async fn prepared_savepoints_hold_at_all_places(scenario: Scenario) {
    let (split, mut client, mut direct) = filled(scenario, BEST_EFFORT).await;
    if scenario.dialect == Dialect::MySql {
        let error = client.prepare("SAVEPOINT a").await.unwrap_err();
        assert_eq!(error.code, 1295, "{error}");
        return;
    }
    let set = client.prepare("SAVEPOINT a").await.expect("prepared");
    let back = client.prepare("ROLLBACK TO a").await.expect("prepared");
    client.ok("BEGIN").await;
    client.execute(set, &[] as &[Param<'_>]).await.ok();
    for id in 1..=2 {
        client.ok(format!("UPDATE customers SET score = 60 WHERE id = {id}")).await;
    }
    client.execute(back, &[] as &[Param<'_>]).await.ok();
    client.ok("UPDATE customers SET score = 61 WHERE id = 3").await;
    client.ok("COMMIT").await;
    direct.ok("UPDATE customers SET score = 61 WHERE id = 3").await;
    same(&split, (&mut client, &mut direct), &[]).await;
}

async fn a_part_that_is_lost_ends_a_transaction_with_savepoints(scenario: Scenario) {
    let (mut split, mut client, mut direct) = filled(scenario, BEST_EFFORT).await;
    for sql in [
        "BEGIN",
        "SAVEPOINT a",
        "UPDATE customers SET score = 70 WHERE id = 1",
        "UPDATE customers SET score = 70 WHERE id = 2",
    ] {
        client.ok(sql).await;
    }
    split.second.tell("kill", 0);
    let error = client.error("ROLLBACK TO a").await;
    assert_eq!((error.code, &error.sqlstate), (1158, b"08S01"), "{error}");
    split.second.tell("start", 0);
    same(&split, (&mut client, &mut direct), &[]).await;
}

/// As drivers send it that switch autocommit off: nothing tells of a transaction before the next statement.
async fn a_savepoint_may_be_the_first_statement_of_a_transaction(scenario: Scenario) {
    let (split, mut client, mut direct) = filled(scenario, BEST_EFFORT).await;
    let statements = [
        "SET autocommit = 0",
        "SAVEPOINT a",
        "UPDATE customers SET score = 1 WHERE id = 1",
        "SAVEPOINT b",
        "UPDATE customers SET score = 1 WHERE id = 2",
        "INSERT INTO plain VALUES (3, 'x')",
        "ROLLBACK TO a",
        "SELECT id, score FROM customers ORDER BY id",
        "SELECT COUNT(*) FROM plain",
        "ROLLBACK TO b",
        "UPDATE customers SET score = 2 WHERE id = 3",
        "RELEASE SAVEPOINT a",
        "COMMIT",
        "ROLLBACK TO a",
        "SAVEPOINT c",
        "SELECT 1",
        "ROLLBACK TO c",
        "ROLLBACK",
        "ROLLBACK TO c",
        "UPDATE customers SET score = 3 WHERE id = 4",
        "COMMIT",
        "SAVEPOINT d",
        "SET autocommit = 1",
        "ROLLBACK TO d",
    ];
    same(&split, (&mut client, &mut direct), &statements).await;
}

/// As `mysqldump --single-transaction` sends them.
async fn settings_of_a_transaction_go_to_all_of_its_places(scenario: Scenario) {
    let (split, mut client, mut direct) = filled(scenario, "").await;
    let statements = [
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "START TRANSACTION /*!40100 WITH CONSISTENT SNAPSHOT */",
        "SAVEPOINT sp",
        "SELECT id, name FROM customers ORDER BY id",
        "SET SESSION character_set_results = 'binary'",
        "SELECT id, name FROM customers ORDER BY id",
        "SET SESSION character_set_results = 'utf8mb4'",
        "SELECT COUNT(*), MAX(score) FROM customers",
        "ROLLBACK TO SAVEPOINT sp",
        "SELECT customer_id, total FROM orders ORDER BY customer_id",
        "ROLLBACK TO SAVEPOINT sp",
        "RELEASE SAVEPOINT sp",
        "SET time_zone = '+03:00'",
        "SELECT id, HOUR(FROM_UNIXTIME(id)) FROM customers ORDER BY id",
        "COMMIT",
    ];
    for sql in statements {
        split.same(&mut client, &mut direct, sql).await;
    }
}

/// What BEGIN makes of a read only transaction, the servers differ in.
async fn a_read_only_transaction_stays_one_at_all_places(scenario: Scenario) {
    let (split, mut client, mut direct) = filled(scenario, "").await;
    let write = "UPDATE customers SET score = 5 WHERE id = 1";
    let several = "UPDATE customers SET score = 5 WHERE id IN (1, 2)";
    let copies = "INSERT INTO countries (id, name) VALUES (1, 'x')";
    let read = "SELECT score FROM customers WHERE id = 2";
    for statements in [
        &["START TRANSACTION READ ONLY", read, write, several, copies, "COMMIT"][..],
        &["START TRANSACTION READ ONLY", several, copies, "ROLLBACK"],
        &["START TRANSACTION READ ONLY", "BEGIN", read, write, "ROLLBACK"],
        &["START TRANSACTION READ ONLY", read, "BEGIN", write, "ROLLBACK"],
        &["START TRANSACTION READ ONLY", read, "COMMIT AND CHAIN", write, "ROLLBACK"],
        &["START TRANSACTION READ ONLY", "START TRANSACTION READ WRITE", write, "ROLLBACK"],
        &["START TRANSACTION READ ONLY; SELECT 1", write, "ROLLBACK"],
    ] {
        same(&split, (&mut client, &mut direct), statements).await;
    }
}

/// AND CHAIN.
async fn one_transaction_may_follow_another_at_once(scenario: Scenario) {
    let (split, mut client, mut direct) = filled(scenario, "").await;
    let statements = [
        "BEGIN",
        "UPDATE customers SET score = 10 WHERE id = 1",
        "SELECT score FROM customers WHERE id = 2",
        "SELECT COUNT(*) FROM plain",
        "COMMIT AND CHAIN",
        "UPDATE customers SET score = 20 WHERE id = 2",
        "SELECT id, score FROM customers ORDER BY id",
        "ROLLBACK AND CHAIN",
        "INSERT INTO plain VALUES (5, 'x')",
        "SELECT score FROM customers WHERE id = 2",
        "COMMIT",
        "SELECT score FROM customers WHERE id = 2",
        "SET completion_type = 'CHAIN'",
        "BEGIN",
        "SELECT score FROM customers WHERE id = 2",
        "UPDATE customers SET score = 30 WHERE id = 1",
        "COMMIT",
        "UPDATE customers SET score = 40 WHERE id = 2",
        "COMMIT AND NO CHAIN",
        "SET completion_type = DEFAULT",
    ];
    same(&split, (&mut client, &mut direct), &statements).await;
    let (mut client, _) = split.both().await;
    client.ok("BEGIN").await;
    client.ok("UPDATE customers SET score = 50 WHERE id = 1").await;
    client.value("SELECT score FROM customers WHERE id = 2").await;
    client.ok("COMMIT RELEASE").await;
    direct.ok("UPDATE customers SET score = 50 WHERE id = 1").await;
    let (mut client, _) = split.both().await;
    same(&split, (&mut client, &mut direct), &[]).await;
}

async fn every_answer_tells_of_the_transaction(scenario: Scenario) {
    let (split, mut client, mut direct) = filled(scenario, "").await;
    for begin in [&["SET autocommit = 0"][..], &["SET autocommit = 1", "BEGIN"]] {
        for sql in begin.iter().chain(&["SELECT score FROM customers WHERE id = 1"]) {
            split.same(&mut client, &mut direct, sql).await;
        }
        let status = client.ok(format!("USE {}", split.stage.schema)).await.status;
        assert!(status.contains(Status::IN_TRANSACTION), "{status:?}");
        let status = client.select("SHOW TABLES LIKE 'nothing'").await.end.status;
        assert!(status.contains(Status::IN_TRANSACTION), "{status:?}");
        for sql in ["SELECT 1", "DO 1", "SET @a = 1", "SHOW WARNINGS", "SAVEPOINT a", "COMMIT"] {
            split.same(&mut client, &mut direct, sql).await;
        }
    }
}
