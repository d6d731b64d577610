//! Changes in several shards: told as one server tells of them, and done everywhere or nowhere.

use mysql_async::prelude::Queryable;
use tidegate::sql::Dialect;

use super::{Split, TABLES, fill, rules};
use crate::harness::{Cluster, Outcome, RawClient, Scenario, pace, within};

both_dialects! {
    rows_of_one_insert_go_to_their_shards,
    rows_of_several_shards_are_changed_by_one_statement,
    t54_a_part_that_fails_leaves_nothing_anywhere,
    what_a_session_has_set_holds_in_every_shard,
    a_transaction_does_not_write_in_two_shards,
    ids_that_shards_make_are_refused_and_given_ones_are_told,
    a_kill_ends_all_parts,
    a_kill_between_two_parts_ends_the_statement,
    a_server_that_ends_between_parts_leaves_nothing,
    a_commit_that_is_lost_is_named,
    a_hundred_thousand_rows_at_once,
    t52_a_reference_table_is_changed_on_every_copy,
    a_copy_that_refuses_a_change_keeps_it_from_all,
    a_statement_has_one_time_in_all_shards,
    insert_ignore_stores_no_other_key,
}

const SCATTER: &str = "\n    without_key: {write: scatter}";

/// What is in the tables, by a session at Tidegate and on the one server.
pub(super) async fn same_rows(split: &Split, client: &mut RawClient, direct: &mut RawClient) {
    for sql in [
        "SELECT id, name, score FROM customers ORDER BY id",
        "SELECT customer_id, id, total FROM orders ORDER BY customer_id, id",
    ] {
        split.same(client, direct, sql).await;
    }
}

/// Keys in a shard's table of customers, past Tidegate.
pub(super) async fn ids(split: &Split, shard: usize) -> Vec<i64> {
    let cluster = if shard == 0 { &split.stage.cluster } else { &split.second };
    let sql = format!("SELECT id FROM {}_{shard}.customers ORDER BY id", split.stage.schema);
    cluster.root(0).await.query(sql).await.unwrap()
}

async fn rows_of_one_insert_go_to_their_shards(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for sql in [
        "INSERT INTO customers (id, name, score) VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)",
        "SELECT ROW_COUNT()",
        "INSERT INTO customers (id, name) VALUES (4, 'it''s (4), (5)'), /* five */ (5, 'b') -- rows\n, (6, 'c')",
        "INSERT INTO customers (id, score) VALUES (6, 60), (7, 70) ON DUPLICATE KEY UPDATE score = VALUES(score), customers.name = 'dup'",
        "INSERT INTO customers (id, score) VALUES (7, 70), (6, 60) ON DUPLICATE KEY UPDATE score = VALUES(score)",
        "INSERT INTO customers (id, score) VALUES (7, 70), (6, 61), (8, 8), (9, 9) ON DUPLICATE KEY UPDATE score = VALUES(score)",
        "REPLACE INTO customers (id, name) VALUES (1, 'again'), (10, 'new'), (12, 'new')",
        "REPLACE customers (id, name) VALUE (1, 'again'), (2, 'again')",
        "INSERT INTO orders (customer_id, id, total) VALUES (1, 1, 1.5), (2, 1, 2.5), (1, 2, 3.5);",
        "INSERT INTO customers (id) VALUES (20), (22)",
        // In one shard.
        "INSERT INTO orders SET customer_id = 3, id = 1, total = 5",
        "INSERT INTO orders (customer_id, id, total) SELECT 1, id + 10, total FROM orders WHERE customer_id = 1",
        "INSERT INTO orders (customer_id, id, total) SELECT customer_id, id + 20, total FROM orders WHERE customer_id = 3",
        "REPLACE INTO orders (customer_id, id, total) SELECT customer_id, id, total + 1 FROM orders WHERE customer_id = 1",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    same_rows(&split, &mut client, &mut direct).await;
    assert_eq!(ids(&split, 0).await, [2, 4, 6, 8, 10, 12, 20, 22]);
    assert_eq!(ids(&split, 1).await, [1, 3, 5, 7, 9]);
    // Qualified names, and the functions that would give the shard's away.
    let (ours, theirs) = (&split.stage.schema, &split.whole);
    let sql = "INSERT INTO {}.customers (id, name) VALUES (31, DATABASE() = '{}'), (32, SCHEMA() = '{}') \
               ON DUPLICATE KEY UPDATE {}.customers.name = 'twice'";
    for _ in 0..2 {
        client.ok(sql.replace("{}", ours)).await;
        direct.ok(sql.replace("{}", theirs)).await;
    }
    same_rows(&split, &mut client, &mut direct).await;
}

async fn rows_of_several_shards_are_changed_by_one_statement(scenario: Scenario) {
    let second = Cluster::own(scenario.dialect, 0);
    let split = Split::with(scenario, second, SCATTER).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for sql in [
        "UPDATE customers SET score = score + 1 WHERE id IN (1, 2, 3, 4) AND score > 1",
        "UPDATE customers SET score = 3 WHERE id IN (1, 2)",
        "UPDATE customers SET score = 3 WHERE id IN (1, 2)",
        "SELECT ROW_COUNT()",
        "UPDATE customers SET id = id, name = CONCAT(name, '+') WHERE id IN (5, 6)",
        "UPDATE orders SET total = total * 2",
        "UPDATE orders o SET o.total = o.total + (SELECT c.score FROM customers c WHERE c.id = o.customer_id) WHERE o.customer_id < 5",
        "DELETE FROM orders WHERE customer_id IN (7, 8)",
        "DELETE FROM orders WHERE total > 100",
        "DELETE FROM customers WHERE score = 4 ORDER BY id",
        "UPDATE customers SET name = REPEAT('x', 50) WHERE id = 1 OR id = 2",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    same_rows(&split, &mut client, &mut direct).await;
    // T51
    for sql in [
        "UPDATE customers SET score = 0 ORDER BY id LIMIT 1",
        "DELETE FROM customers LIMIT 1",
        "DELETE FROM customers WHERE id IN (1, 2) LIMIT 1",
    ] {
        let error = client.error(sql).await;
        assert!(String::from_utf8_lossy(&error.message).contains("limit-across-shards"), "{sql}: {error}");
    }
    split.same(&mut client, &mut direct, "DELETE FROM customers").await;
    same_rows(&split, &mut client, &mut direct).await;
}

async fn t54_a_part_that_fails_leaves_nothing_anywhere(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for sql in [
        "INSERT INTO customers (id, name) VALUES (3, 'there'), (6, 'too')",
        "INSERT INTO customers (id, name) VALUES (2, 'b'), (4, 'd'), (3, 'c')",
        "INSERT INTO customers (id, name) VALUES (1, 'b'), (6, 'd'), (5, 'c')",
        "INSERT INTO customers (id, name) VALUES (1, 'b'), (2, 'd'), (4, REPEAT('x', 41))",
        "INSERT INTO customers (id, missing) VALUES (1, 'b'), (2, 'd')",
        "UPDATE customers SET score = 99999999999 WHERE id IN (3, 6)",
        "SELECT 7",
        "INSERT IGNORE INTO customers (id, name) VALUES (1, 'new'), (3, 'old'), (6, 'old'), (8, 'new')",
        "SELECT ROW_COUNT()",
    ] {
        split.same(&mut client, &mut direct, sql).await;
        same_rows(&split, &mut client, &mut direct).await;
    }
    assert_eq!((ids(&split, 0).await, ids(&split, 1).await), (vec![6, 8], vec![1, 3]));
    // Warnings of both shards, whose order is the shards'.
    let sql = "INSERT IGNORE INTO customers (id, name) VALUES (6, 'old'), (10, 'new'), (3, 'old')";
    split.same(&mut client, &mut direct, sql).await;
    let told = async |client: &mut RawClient| {
        let mut rows = client.select("SHOW WARNINGS").await.texts();
        rows.sort();
        rows
    };
    assert_eq!(told(&mut client).await, told(&mut direct).await);
    if scenario.is_mysql() {
        // MariaDB leaves warnings as they are by what uses no table.
        split.same(&mut client, &mut direct, "SELECT 1").await;
        split.same(&mut client, &mut direct, "SHOW WARNINGS").await;
    }
}

async fn what_a_session_has_set_holds_in_every_shard(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for sql in [
        "SET @score = 5, time_zone = '+05:00', lc_time_names = 'de_DE'",
        "INSERT INTO customers (id, score, name) VALUES (1, @score, @@time_zone), (2, @score + 1, FROM_UNIXTIME(0))",
        "UPDATE customers SET name = CONCAT(name, MONTHNAME('2026-01-01')) WHERE id IN (1, 2)",
        "SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')",
        "INSERT INTO \"customers\" (id, name) VALUES (3, 'x'), (4, 'y')",
        "SET sql_mode = CONCAT(@@sql_mode, ',ERROR_FOR_DIVISION_BY_ZERO')",
        "UPDATE customers SET score = 1 / 0 WHERE id IN (3, 4)",
        "SET sql_mode = REPLACE(@@sql_mode, 'ERROR_FOR_DIVISION_BY_ZERO', '')",
        "UPDATE customers SET score = 1 / 0 WHERE id IN (3, 4)",
        "SET completion_type = 'CHAIN'",
        "INSERT INTO customers (id, name) VALUES (5, 'x'), (6, 'y')",
        "SELECT 1",
        "SET completion_type = 'NO_CHAIN', transaction_read_only = 1",
        "INSERT INTO customers (id, name) VALUES (7, 'x'), (8, 'y')",
        "SET transaction_read_only = 0",
        "SELECT @score",
    ] {
        if scenario.is_mysql() || !sql.contains("transaction_read_only") {
            split.same(&mut client, &mut direct, sql).await;
        }
    }
    same_rows(&split, &mut client, &mut direct).await;
}

async fn a_transaction_does_not_write_in_two_shards(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let sql = "UPDATE customers SET score = 50 WHERE id IN (1, 2)";
    for begin in ["BEGIN", "SET autocommit = 0"] {
        client.ok(begin).await;
        for before in [
            "SELECT 1",
            "SELECT * FROM customers WHERE id = 1",
            "UPDATE customers SET score = 1 WHERE id = 1",
        ] {
            client.query(before).await;
            let error = client.error(sql).await;
            assert!(
                String::from_utf8_lossy(&error.message).contains("two phases"),
                "{begin}, {before}: {error}"
            );
        }
        client.ok("ROLLBACK").await;
    }
    client.ok("SET autocommit = 1").await;
    same_rows(&split, &mut client, &mut direct).await;
    // What its own transaction would end, or what is set on one connection.
    for (before, after) in [
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT COUNT(*) FROM plain"),
        ("LOCK TABLES plain WRITE", "UNLOCK TABLES"),
        ("SET timestamp = 1000", "SET timestamp = DEFAULT"),
    ] {
        client.ok(before).await;
        let error = client.error(sql).await;
        assert!(String::from_utf8_lossy(&error.message).contains("end these first"), "{before}: {error}");
        client.query(after).await;
    }
    split.same(&mut client, &mut direct, sql).await;
    same_rows(&split, &mut client, &mut direct).await;
}

async fn ids_that_shards_make_are_refused_and_given_ones_are_told(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for sql in [
        "INSERT INTO tickets (customer_id, id) VALUES (1, 11), (2, 12), (3, 13), (4, 14)",
        "SELECT LAST_INSERT_ID()",
        "INSERT INTO tickets (customer_id, id) VALUES (2, 22), (4, 24), (1, 21)",
        "REPLACE INTO tickets (customer_id, id, text) VALUES (2, 22, 'x'), (1, 21, 'y')",
        "INSERT INTO tickets (customer_id, id) VALUES (2, 22), (1, 21) ON DUPLICATE KEY UPDATE text = 'dup'",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    let one = client.ok("INSERT INTO tickets (customer_id) VALUES (6)").await;
    let before = client.value("SELECT LAST_INSERT_ID()").await;
    assert_eq!(before, Some(one.insert_id.to_string()));
    let error = client.error("INSERT INTO tickets (customer_id) VALUES (7), (8)").await;
    assert!(String::from_utf8_lossy(&error.message).contains("AUTO_INCREMENT"), "{error}");
    assert_eq!(client.value("SELECT COUNT(*) FROM tickets WHERE customer_id IN (7, 8)").await.unwrap(), "0");
    // Its own value again, and given.
    let sql = format!("REPLACE INTO tickets (customer_id, id) VALUES (7, 107), (6, {})", one.insert_id);
    assert_eq!(client.ok(sql).await.insert_id, one.insert_id);
    assert_eq!(client.value("SELECT LAST_INSERT_ID()").await, before);
}

/// Waits until a statement waits for a lock there.
async fn until_locked(cluster: &Cluster) {
    // INNODB_TRX would not do: who asks for it more often than every 0.1 s gets the same answer.
    let schema = if cluster.dialect == Dialect::MySql { "performance_schema" } else { "information_schema" };
    let sql = format!(
        "SELECT CAST(variable_value AS UNSIGNED) FROM {schema}.global_status WHERE variable_name = 'Innodb_row_lock_current_waits'"
    );
    cluster.until_number(0, "a statement waits for a row", &sql, |waiting| waiting > 0).await;
}

async fn a_kill_ends_all_parts(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let mut root = split.second.root(0).await;
    root.query_drop("BEGIN").await.unwrap();
    root.query_drop(format!("UPDATE {}_1.customers SET score = 77 WHERE id = 1", split.stage.schema))
        .await
        .unwrap();
    client.send_query("UPDATE customers SET score = 50 WHERE id IN (1, 2)").await;
    until_locked(&split.second).await;
    let mut killer = split.stage.raw().await;
    killer.ok(format!("KILL QUERY {}", client.greeting.connection_id)).await;
    let error = client.outcomes().await.remove(0).err();
    assert_eq!(error.code, 1317, "{error}");
    root.query_drop("ROLLBACK").await.unwrap();
    same_rows(&split, &mut client, &mut direct).await;
    // So does the end of the client.
    root.query_drop("BEGIN").await.unwrap();
    root.query_drop(format!("UPDATE {}_1.customers SET score = 77 WHERE id = 1", split.stage.schema))
        .await
        .unwrap();
    client.send_query("UPDATE customers SET score = 50 WHERE id IN (1, 2)").await;
    until_locked(&split.second).await;
    drop(client);
    let runs = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'UPDATE customers%'";
    split.second.until_number(0, "it is ended", runs, |statements| statements == 0).await;
    root.query_drop("ROLLBACK").await.unwrap();
    split.stage.cluster.caught_up().await; // another session reads there
    let mut client = split.stage.raw().await;
    same_rows(&split, &mut client, &mut direct).await;
}

/// No part runs at a server while the second shard's only connection is somebody else's.
async fn a_kill_between_two_parts_ends_the_statement(scenario: Scenario) {
    let second = Cluster::alone(scenario.dialect);
    let with_one = |schema: &str, second: &Cluster| {
        let mut rules = rules(schema, second);
        rules.clusters.push_str("    pool: {max: 1, queue_timeout: 20s}\n");
        rules
    };
    let split = Split::of(scenario, second, &TABLES, with_one).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let mut other = split.stage.raw().await;
    other.ok("BEGIN").await;
    other.ok("UPDATE customers SET score = score WHERE id = 1").await;
    client.send_query("UPDATE customers SET score = 50 WHERE id IN (1, 2)").await;
    split.stage.proxy.until_metric("tidegate_pool_waiting", &[], |waiting| waiting > 0).await;
    let mut killer = split.stage.raw().await;
    killer.ok(format!("KILL QUERY {}", client.greeting.connection_id)).await;
    other.ok("ROLLBACK").await;
    let error = client.outcomes().await.remove(0).err();
    assert_eq!(error.code, 1317, "{error}");
    same_rows(&split, &mut client, &mut direct).await;
    // It was for that statement.
    split.same(&mut client, &mut direct, "UPDATE customers SET score = 51 WHERE id IN (1, 2)").await;
    same_rows(&split, &mut client, &mut direct).await;
}

async fn a_server_that_ends_between_parts_leaves_nothing(scenario: Scenario) {
    let mut split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let mut root = split.second.root(0).await;
    root.query_drop("BEGIN").await.unwrap();
    root.query_drop(format!("UPDATE {}_1.customers SET score = 77 WHERE id = 1", split.stage.schema))
        .await
        .unwrap();
    client.send_query("UPDATE customers SET score = 50 WHERE id IN (1, 2)").await;
    until_locked(&split.second).await;
    split.second.tell("kill", 0);
    let error = client.outcomes().await.remove(0).err();
    assert_eq!((error.code, &error.sqlstate), (1158, b"08S01"), "{error}");
    assert!(!String::from_utf8_lossy(&error.message).contains("unknown"), "{error}");
    split.second.tell("start", 0);
    until_reached(&mut client).await;
    same_rows(&split, &mut client, &mut direct).await;
}

/// Waits until the second shard's server is used again.
async fn until_reached(client: &mut RawClient) {
    let mut pace = pace();
    within("the shard is back", async {
        loop {
            pace.tick().await;
            let outcome = client.query("SELECT COUNT(*) FROM customers WHERE id = 1").await.remove(0);
            if matches!(outcome, Outcome::Rows(_)) {
                return;
            }
        }
    })
    .await;
}

async fn a_commit_that_is_lost_is_named(scenario: Scenario) {
    // Its commits wait for a replica, and there is none.
    let (options, enable): (&[&str], _) = match scenario.is_mysql() {
        true => (
            &["--opt=c:plugin-load-add=semisync_source.so", "--opt=c:rpl-semi-sync-source-timeout=3600000"],
            "SET GLOBAL rpl_semi_sync_source_wait_no_replica = ON, GLOBAL rpl_semi_sync_source_enabled = ON",
        ),
        false => (
            &["--opt=c:rpl-semi-sync-master-timeout=3600000"],
            "SET GLOBAL rpl_semi_sync_master_wait_no_slave = ON, GLOBAL rpl_semi_sync_master_enabled = ON",
        ),
    };
    let second = Cluster::own_with(scenario.dialect, 0, options);
    let mut split = Split::with(scenario, second, "").await;
    let mut client = split.stage.raw().await;
    client.ok("INSERT INTO customers (id, score) VALUES (1, 1), (2, 2)").await;
    split.second.run(0, &[enable]).await;
    client.send_query("UPDATE customers SET score = 50 WHERE id IN (1, 2)").await;
    let waits = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'COMMIT%' AND state LIKE '%semi-sync%'";
    split.second.until_number(0, "the COMMIT waits", waits, |commits| commits == 1).await;
    split.second.tell("kill", 0);
    let error = client.outcomes().await.remove(0).err();
    assert_eq!((error.code, &error.sqlstate), (1158, b"08007"), "{error}");
    let message = String::from_utf8_lossy(&error.message).into_owned();
    assert!(message.contains("committed on s0; unknown on s1"), "{message}");
    split.stage.proxy.until_logged("a statement may be in effect on some of its shards only").await;
    assert_eq!(client.value("SELECT score FROM customers WHERE id = 2").await.unwrap(), "50");
}

async fn a_hundred_thousand_rows_at_once(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    let rows: Vec<String> = (1..=100_000).map(|id| format!("({id}, 'name {id}', {})", id % 7)).collect();
    let sql = format!("INSERT INTO customers (id, name, score) VALUES {}", rows.join(", "));
    split.same(&mut client, &mut direct, &sql).await;
    split
        .same(&mut client, &mut direct, "SELECT COUNT(*), SUM(id), SUM(score), MAX(id) FROM customers")
        .await;
    assert_eq!((ids(&split, 0).await.len(), ids(&split, 1).await.len()), (50_000, 50_000));
}

/// The rows of each copy: at home, on both shards, and on the one server that has everything.
async fn copies(split: &Split, columns: &str) -> Vec<Vec<(i64, String)>> {
    let schema = &split.stage.schema;
    let mut copies = Vec::new();
    for (cluster, schema) in [
        (&split.stage.cluster, schema.clone()),
        (&split.stage.cluster, format!("{schema}_0")),
        (&split.second, format!("{schema}_1")),
        (&split.stage.cluster, split.whole.clone()),
    ] {
        let sql = format!("SELECT id, {columns} FROM {schema}.countries ORDER BY id");
        copies.push(cluster.root(0).await.query(sql).await.unwrap());
    }
    copies
}

async fn t52_a_reference_table_is_changed_on_every_copy(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for sql in [
        "INSERT INTO countries (id, name) VALUES (1, 'Norway')",
        "INSERT INTO countries VALUES (2, 'Peru', NOW(6)), (3, CONCAT('Ma', 'li'), '2026-01-01')",
        "SET @name = 'Chad'",
        "INSERT INTO countries SET id = 4, name = @name",
        "SELECT ROW_COUNT()",
        "UPDATE countries SET name = UPPER(name) WHERE id < 3",
        "UPDATE countries SET name = UPPER(name) WHERE id < 3",
        "REPLACE INTO countries (id, name) VALUES (4, 'Chile'), (5, 'Fiji')",
        "INSERT INTO countries (id, name) VALUES (5, 'Fiji'), (6, 'Togo') ON DUPLICATE KEY UPDATE name = 'FIJI'",
        "INSERT IGNORE INTO countries (id, name) VALUES (6, 'Togo'), (7, 'Iran')",
        "SHOW WARNINGS",
        "DELETE FROM countries WHERE id IN (3, 7)",
        "SELECT id, name FROM countries ORDER BY id",
        "INSERT INTO countries (id, name) VALUES (1, 'again')",
        "INSERT INTO countries (id, name) VALUES (9, 'a name of more than twenty characters')",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    let names = copies(&split, "name").await;
    assert_eq!(names[0].len(), 5);
    assert!(names.iter().all(|copy| *copy == names[0]), "{names:?}");
    // Each row was written at one time, also by the column's default.
    let times = copies(&split, "CAST(UNIX_TIMESTAMP(changed) AS CHAR)").await;
    assert!(times[..3].iter().all(|copy| *copy == times[0]), "{times:?}");
    client.ok("INSERT INTO customers (id, name) VALUES (1, 'x')").await;
    let joined = "SELECT countries.name FROM customers JOIN countries ON countries.id = customers.id WHERE customers.id = 1";
    assert_eq!(client.value(joined).await.unwrap(), "NORWAY");
}

async fn a_copy_that_refuses_a_change_keeps_it_from_all(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let mut client = split.stage.raw().await;
    client.ok("INSERT INTO countries (id, name) VALUES (1, 'Norway')").await;
    let schema = &split.stage.schema;
    split.second.run(0, &[&format!("INSERT INTO {schema}_1.countries (id, name) VALUES (2, 'stray')")]).await;
    let error = client.error("INSERT INTO countries (id, name) VALUES (3, 'Peru'), (2, 'Mali')").await;
    assert_eq!(error.code, 1062, "{error}");
    let counts: Vec<_> = copies(&split, "name").await.iter().map(Vec::len).collect();
    assert_eq!(counts[..3], [1, 1, 2]);
    // One that changes other rows than the client is told is in the log.
    assert_eq!(client.ok("DELETE FROM countries WHERE id = 2").await.affected_rows, 0);
    split.stage.proxy.until_logged("copies of a reference table have differed").await;
    for begin in ["BEGIN", "SET autocommit = 0"] {
        client.ok(begin).await;
        let error = client.error("DELETE FROM countries").await;
        assert!(String::from_utf8_lossy(&error.message).contains("two phases"), "{error}");
        client.ok("ROLLBACK").await;
    }
    client.ok("SET autocommit = 1").await;
    for sql in ["INSERT INTO countries (id, name) VALUES (4, UUID())", "DELETE FROM countries LIMIT 1"] {
        let error = client.error(sql).await;
        assert!(String::from_utf8_lossy(&error.message).contains("reference-write"), "{sql}: {error}");
    }
    let names = copies(&split, "name").await;
    assert!(names[..3].iter().all(|copy| *copy == [(1, "Norway".to_owned())]), "{names:?}");
}

async fn a_statement_has_one_time_in_all_shards(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let mut client = split.stage.raw().await;
    client.ok("INSERT INTO customers (id, name) VALUES (1, NOW(6)), (2, NOW(6)), (3, '')").await;
    let mut times = Vec::new();
    for id in [1, 2] {
        times.push(client.value(format!("SELECT name FROM customers WHERE id = {id}")).await);
    }
    assert_eq!(times[0], times[1]);
    // The clock goes on where it has stood still, also after an error.
    client.error("INSERT INTO customers (id, name) VALUES (5, 'x'), (6, 'y'), (3, 'there')").await;
    for id in [1, 2] {
        let sql = format!(
            "SELECT NOW(6) > name AND @@timestamp > UNIX_TIMESTAMP(name) FROM customers WHERE id = {id} FOR UPDATE"
        );
        assert_eq!(client.value(sql).await.unwrap(), "1");
    }
}

async fn insert_ignore_stores_no_other_key(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for sql in [
        "INSERT IGNORE INTO customers (id, name) VALUES (1, 'a')",
        "INSERT IGNORE INTO customers (id, name) VALUES (1, 'b')",
        "SHOW WARNINGS",
        "INSERT IGNORE INTO customers (id, name) VALUES (3, REPEAT('x', 50)), (1, 'b'), (5, 'c')",
        "SELECT @@max_error_count",
        "INSERT IGNORE INTO customers SET id = 7, name = 'set'",
        "INSERT IGNORE INTO tickets (customer_id) VALUES (2)",
        "SELECT LAST_INSERT_ID()",
        "INSERT IGNORE INTO tickets (customer_id, id) VALUES (2, 2), (4, 20)",
        "SELECT LAST_INSERT_ID()",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    same_rows(&split, &mut client, &mut direct).await;
    // More warnings than a server keeps where nobody asks it to.
    let rows: Vec<String> = (0..1000).map(|_| "(1, 'again')".to_owned()).collect();
    let bulk = format!("INSERT IGNORE INTO customers (id, name) VALUES {}, (9, 'new')", rows.join(","));
    split.same(&mut client, &mut direct, &bulk).await;
    split.same(&mut client, &mut direct, "SHOW WARNINGS").await;
    if scenario.is_mysql() {
        let error = client.error(bulk.replace("(1, 'again')", "(1, 'x'), (1, 'y')")).await;
        assert!(String::from_utf8_lossy(&error.message).contains("split the statement"), "{error}");
    }
    // Keys of BIGINT in a column of another width.
    for (cluster, shard) in [(&split.stage.cluster, 0), (&split.second, 1)] {
        let sql = format!("ALTER TABLE {}_{shard}.customers MODIFY id INT", split.stage.schema);
        cluster.run(0, &[&sql]).await;
    }
    for rows in ["(5000000001, 'x')", "(5000000002, 'x'), (11, 'y')", "(13, 'x'), (5000000001, 'y')"] {
        let error = client.error(format!("INSERT IGNORE INTO customers (id, name) VALUES {rows}")).await;
        assert!(String::from_utf8_lossy(&error.message).contains("another key"), "{rows}: {error}");
    }
    client.ok("BEGIN").await;
    let error = client.error("INSERT IGNORE INTO customers (id, name) VALUES (15, 'x')").await;
    assert!(String::from_utf8_lossy(&error.message).contains("outside of transactions"), "{error}");
    client.ok("INSERT INTO customers (id, name) VALUES (1, 'x') ON DUPLICATE KEY UPDATE id = id").await;
    client.ok("COMMIT").await;
    let rows = "SELECT id, name FROM customers ORDER BY id";
    assert_eq!(client.select(rows).await.texts(), direct.select(rows).await.texts());
}
