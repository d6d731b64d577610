//! Transactions that write in several places, where the rules let them: all of it lasts, or nothing, unless a server fails in between.

use tidegate::wire::ok::Status;

use super::{Split, fill};
use crate::harness::packets::Param;
use crate::harness::{Cluster, RawClient, Scenario, within};

both_dialects! {
    a_transaction_writes_everywhere_and_ends_everywhere,
    an_insert_id_is_told_at_the_other_places_of_a_transaction,
    a_deadlock_undoes_what_was_written_at_home,
    what_ends_a_transaction_unseen_leaves_no_part_open,
    a_part_that_is_lost_before_commit_undoes_all,
    a_commit_that_fails_in_between_is_told,
}

pub(super) const BEST_EFFORT: &str = "\n    transactions: best_effort";

const ROWS: [&str; 3] = [
    "SELECT id, name, score FROM customers ORDER BY id",
    "SELECT customer_id, id, total FROM orders ORDER BY customer_id, id",
    "SELECT id, text FROM plain ORDER BY id",
];

async fn best_effort(scenario: Scenario) -> (Split, RawClient, RawClient) {
    let split = Split::with(scenario, Cluster::own(scenario.dialect, 0), BEST_EFFORT).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    (split, client, direct)
}

pub(super) async fn same_rows(split: &Split, client: &mut RawClient, direct: &mut RawClient) {
    split.stage.cluster.caught_up().await; // other sessions read there
    for sql in ROWS {
        split.same(client, direct, sql).await;
    }
}

async fn a_transaction_writes_everywhere_and_ends_everywhere(scenario: Scenario) {
    let (split, mut client, mut direct) = best_effort(scenario).await;
    for end in ["COMMIT", "ROLLBACK", "CREATE TABLE IF NOT EXISTS later (a INT)", "BEGIN", "COMMIT WORK"] {
        for sql in [
            "BEGIN",
            "UPDATE customers SET score = score + 10 WHERE id = 1",
            "UPDATE customers SET score = score + 20 WHERE id = 2",
            "INSERT INTO plain (id, text) VALUES (1, 'a') ON DUPLICATE KEY UPDATE text = CONCAT(text, 'b')",
            "SELECT id, score FROM customers ORDER BY id",
            "UPDATE orders SET total = total + 1 WHERE customer_id = 3",
            "INSERT INTO customers (id) VALUES (1)", // there already: the statement alone is undone
            end,
            "SELECT 1",
        ] {
            split.same(&mut client, &mut direct, sql).await;
        }
        if end != "BEGIN" {
            let mut other = split.stage.raw().await;
            same_rows(&split, &mut other, &mut direct).await;
        }
        same_rows(&split, &mut client, &mut direct).await;
        for sql in ["ROLLBACK", "DELETE FROM customers WHERE id = 77"] {
            split.same(&mut client, &mut direct, sql).await;
        }
    }
    for sql in [
        "SET autocommit = 0",
        "DELETE FROM orders WHERE customer_id = 1",
        "DELETE FROM orders WHERE customer_id = 2",
        "COMMIT",
        "DELETE FROM orders WHERE customer_id = 3",
        "DELETE FROM orders WHERE customer_id = 4",
        "SET autocommit = 1",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    same_rows(&split, &mut client, &mut direct).await;
    // Prepared, and ended by its client's end.
    let commit = client.prepare("COMMIT").await.expect("prepared");
    client.ok("BEGIN").await;
    client.ok("DELETE FROM customers WHERE id = 7").await;
    client.ok("DELETE FROM customers WHERE id = 8").await;
    let ended = client.execute(commit, &[] as &[Param<'_>]).await.ok();
    assert!(!ended.status.contains(Status::IN_TRANSACTION));
    direct.ok("DELETE FROM customers WHERE id IN (7, 8)").await;
    client.ok("BEGIN").await;
    client.ok("DELETE FROM customers WHERE id = 1").await;
    client.ok("DELETE FROM customers WHERE id = 2").await;
    let error = client.error("DELETE FROM customers WHERE id IN (3, 4)").await;
    assert_eq!(error.code, 1235, "{error}");
    drop(client);
    let mut other = split.stage.raw().await;
    within("the rows are free", async {
        other.ok("UPDATE customers SET score = 5 WHERE id IN (1, 2)").await
    })
    .await;
    direct.ok("UPDATE customers SET score = 5 WHERE id IN (1, 2)").await;
    same_rows(&split, &mut other, &mut direct).await;
}

async fn an_insert_id_is_told_at_the_other_places_of_a_transaction(scenario: Scenario) {
    let split = Split::with(scenario, Cluster::own(scenario.dialect, 0), "").await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for schema in [&split.stage.schema, &split.whole] {
        let table = format!("{schema}.counted (id INT AUTO_INCREMENT PRIMARY KEY, a INT)");
        split.stage.cluster.run(0, &[&format!("CREATE TABLE {table}")]).await;
    }
    for sql in [
        "BEGIN",
        "INSERT INTO counted VALUES (7, 1)", // given, not made: the OK packet tells 7, LAST_INSERT_ID() stays 0
        "SELECT id, score FROM customers WHERE id = 3",
        "SELECT LAST_INSERT_ID()",
        "SELECT id, LAST_INSERT_ID() FROM customers WHERE id = 2",
        "INSERT INTO counted (a) VALUES (2), (3)",
        "SELECT id, LAST_INSERT_ID() FROM customers WHERE id = 3",
        "SELECT id, LAST_INSERT_ID() FROM customers WHERE id = 2",
        "INSERT INTO counted VALUES (20, LAST_INSERT_ID())",
        "SELECT id FROM customers WHERE id = LAST_INSERT_ID() - 5 AND id = 3",
        "SELECT LAST_INSERT_ID()",
        "COMMIT",
        "SELECT LAST_INSERT_ID()",
        "SELECT id, a FROM counted ORDER BY id",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
}

async fn a_deadlock_undoes_what_was_written_at_home(scenario: Scenario) {
    let (split, mut client, mut direct) = best_effort(scenario).await;
    let written = ["INSERT INTO plain VALUES (5, 'gone')", "UPDATE customers SET score = 7 WHERE id = 2"];
    split.end_by_a_deadlock(&mut client, &written).await;
    client.ok("COMMIT").await;
    same_rows(&split, &mut client, &mut direct).await;
}

async fn what_ends_a_transaction_unseen_leaves_no_part_open(scenario: Scenario) {
    let (split, mut client, mut direct) = best_effort(scenario).await;
    for (cluster, schema) in
        [(&split.stage.cluster, &split.stage.schema), (&split.stage.cluster, &split.whole)]
    {
        cluster.run(0, &[&format!("CREATE PROCEDURE {schema}.ends() COMMIT")]).await;
    }
    for client in [&mut client, &mut direct] {
        client.ok("PREPARE ends FROM 'COMMIT'").await;
    }
    let ends = ["CALL ends()", "EXECUTE ends", "DO 1; COMMIT"];
    for end in ends {
        for sql in ["BEGIN", "UPDATE customers SET score = 99 WHERE id = 1"] {
            client.ok(sql).await;
        }
        // It would be committed at home alone.
        let error = client.error(end).await;
        assert_eq!(error.code, 1235, "{end}: {error}");
        client.ok("ROLLBACK").await;
    }
    same_rows(&split, &mut client, &mut direct).await;
    // Parts that have only read end with it, and see what is there afterwards.
    for end in &ends[..2] {
        for sql in
            ["BEGIN", "SELECT score FROM customers WHERE id = 1", "INSERT INTO plain VALUES (8, 'x')", end]
        {
            split.same(&mut client, &mut direct, sql).await;
        }
        let (mut other, _) = split.both().await;
        other.ok("UPDATE customers SET score = score + 1 WHERE id = 1").await;
        direct.ok("UPDATE customers SET score = score + 1 WHERE id = 1").await;
        for sql in ["SELECT score FROM customers WHERE id = 1", "DELETE FROM plain WHERE id = 8"] {
            split.same(&mut client, &mut direct, sql).await;
        }
    }
    same_rows(&split, &mut client, &mut direct).await;
}

async fn a_part_that_is_lost_before_commit_undoes_all(scenario: Scenario) {
    let (mut split, mut client, mut direct) = best_effort(scenario).await;
    for sql in [
        "BEGIN",
        "UPDATE customers SET score = 70 WHERE id = 2",
        "UPDATE customers SET score = 70 WHERE id = 1",
        "INSERT INTO plain VALUES (6, 'gone')",
    ] {
        client.ok(sql).await;
    }
    split.second.tell("kill", 0);
    let error = client.error("COMMIT").await;
    assert_eq!((error.code, &error.sqlstate), (1158, b"08S01"), "{error}");
    split.second.tell("start", 0);
    let mut other = split.stage.raw().await;
    same_rows(&split, &mut other, &mut direct).await;
}

async fn a_commit_that_fails_in_between_is_told(scenario: Scenario) {
    let (mut split, mut client, mut direct) = best_effort(scenario).await;
    for sql in [
        "BEGIN",
        "UPDATE customers SET score = 70 WHERE id = 2",
        "UPDATE customers SET score = 70 WHERE id = 1",
    ] {
        client.ok(sql).await;
    }
    // The second server does not answer its COMMIT any more, and ends then.
    split.second.tell("pause", 0);
    client.send_query("COMMIT").await;
    let first = format!("SELECT score FROM {}_0.customers WHERE id = 2", split.stage.schema);
    split.stage.cluster.until_number(0, "the first shard has its part", &first, |score| score == 70).await;
    split.second.tell("kill", 0);
    let error = within("the answer", client.outcome()).await.err();
    let message = String::from_utf8_lossy(&error.message).into_owned();
    assert_eq!((error.code, &error.sqlstate), (1158, b"08007"), "{message}");
    assert!(
        message.contains("the transaction") && message.contains("committed on s0; unknown on s1"),
        "{message}"
    );
    split.stage.proxy.until_logged("a transaction may be in effect on some of its shards only").await;
    split.second.tell("start", 0);
    // The session goes on.
    client.ok("UPDATE customers SET score = 70 WHERE id = 1").await;
    direct.ok("UPDATE customers SET score = 70 WHERE id IN (1, 2)").await;
    same_rows(&split, &mut client, &mut direct).await;
}
