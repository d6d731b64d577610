//! What a session has, between its home and its shards: it goes along, or the statement is refused.

use mysql_async::prelude::Queryable;
use tidegate::sql::Dialect;
use tidegate::wire::ok::Status;

use super::{Split, fill};
use crate::harness::{RawClient, Scenario, within};

both_dialects! {
    a_deadlock_at_one_shard_leaves_nothing_at_another,
    a_deadlock_under_a_read_of_several_shards_leaves_nothing,
    a_kill_ends_a_read_at_all_shards,
    an_error_leaves_what_is_open_elsewhere,
    a_transaction_that_is_open_elsewhere_may_finish,
    user_variables_are_read_where_they_are_known,
    user_variables_go_along_from_place_to_place,
    a_definition_at_home_commits_what_shards_have,
    what_is_committed_unasked_is_not_missed,
    autocommit_ends_only_what_servers_end_by_it,
    what_holds_for_one_connection_is_not_left_behind,
    a_default_database_outlasts_a_shard,
    what_a_plan_does_not_see_is_refused,
}

/// The error of a statement that this release refuses.
async fn refused(client: &mut RawClient, sql: &str) {
    let error = client.error(sql).await;
    assert_eq!(error.code, 1235, "{sql}: {error}");
}

async fn a_deadlock_at_one_shard_leaves_nothing_at_another(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    split.end_by_a_deadlock(&mut client, &["UPDATE customers SET score = 77 WHERE id = 2"]).await;
    let begun = client.ok("BEGIN").await;
    assert!(begun.status.contains(Status::IN_TRANSACTION));
    client.ok("COMMIT").await;
    split.same(&mut client, &mut direct, "SELECT id, score FROM customers ORDER BY id").await;
}

async fn a_deadlock_under_a_read_of_several_shards_leaves_nothing(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    client.ok("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE").await; // reads lock
    let all = "SELECT id, score FROM customers ORDER BY id";
    let prepared = client.prepare(all).await.expect("prepared");
    let written = ["UPDATE customers SET score = 77 WHERE id = 2"];
    split.in_a_ring(&mut client, &written, async |client| client.error(all).await).await;
    client.ok("COMMIT").await;
    split.same(&mut client, &mut direct, all).await;
    let execute = async |client: &mut RawClient| client.execute(prepared, &[]).await.err();
    split.in_a_ring(&mut client, &written, execute).await;
    client.ok("COMMIT").await;
    split.same(&mut client, &mut direct, all).await;
}

async fn a_kill_ends_a_read_at_all_shards(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let starts = "SELECT /* tidegate: primary */ ";
    let runs =
        format!("SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '{starts}%SLEEP(40)%'");
    for before in ["DO 1", "BEGIN"] {
        for sql in [before, "UPDATE customers SET score = score + 1 WHERE id = 1"] {
            split.same(&mut client, &mut direct, sql).await;
        }
        for read in [
            "id, SLEEP(40) FROM customers",
            "SLEEP(40), id FROM customers ORDER BY id",
            "MAX(SLEEP(40)) FROM customers",
        ] {
            client.send_query(&format!("{starts}{read}")).await;
            for cluster in [&split.stage.cluster, &split.second] {
                cluster.until_number(0, "it runs", &runs, |statements| statements > 0).await;
            }
            let mut killer = split.stage.raw().await;
            killer.ok(format!("KILL QUERY {}", client.greeting.connection_id)).await;
            let error = within("all of it ends", client.outcomes()).await.remove(0).err();
            assert_eq!(error.code, 1317, "{error}");
            for cluster in [&split.stage.cluster, &split.second] {
                cluster.until_number(0, "it is ended", &runs, |statements| statements == 0).await;
            }
            split.same(&mut client, &mut direct, "SELECT id, score FROM customers ORDER BY id").await;
        }
    }
    split.same(&mut client, &mut direct, "ROLLBACK").await;
    split.same(&mut client, &mut direct, "SELECT id, score FROM customers ORDER BY id").await;
}

async fn an_error_leaves_what_is_open_elsewhere(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for begin in ["BEGIN", "SET autocommit = 0"] {
        for sql in [
            begin,
            "UPDATE customers SET score = score + 1 WHERE id = 1",
            "SELECT score FROM customers WHERE id = 2",
            "SELECT missing FROM plain",
            "SELECT COUNT(*) FROM plain",
            "SELECT missing FROM plain",
            "SELECT missing FROM customers WHERE id = 2",
            "SELECT missing FROM customers",
            "COMMIT",
            "SELECT id, score FROM customers ORDER BY id",
        ] {
            split.same(&mut client, &mut direct, sql).await;
        }
    }
}

async fn a_transaction_that_is_open_elsewhere_may_finish(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let name = split.stage.schema.clone();
    let mut idle = split.stage.raw().await;
    // At home, where nothing is open.
    for sql in ["SET autocommit = 0", "UPDATE customers SET score = 55 WHERE id = 1", &format!("USE {name}")]
    {
        client.ok(sql).await;
    }
    split.stage.proxy.terminate();
    idle.end().await;
    client.ok("UPDATE customers SET score = 56 WHERE id = 1").await;
    client.ok("COMMIT").await;
    client.end().await;
    let sql = format!("SELECT score FROM {name}_1.customers WHERE id = 1");
    let score: Option<i64> = split.second.root(0).await.query_first(sql).await.unwrap();
    assert_eq!(score, Some(56));
}

async fn user_variables_are_read_where_they_are_known(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for sql in ["SET @v = 3", "SELECT id FROM customers WHERE id = 1 AND score < @v"] {
        split.same(&mut client, &mut direct, sql).await;
    }
    split.same(&mut client, &mut direct, "SELECT id FROM customers WHERE score > @v ORDER BY id").await;
    for sql in ["BEGIN", "SET @v = 5"] {
        client.ok(sql).await;
    }
    refused(&mut client, "UPDATE customers SET score = @v WHERE id = 1").await;
    client.ok("ROLLBACK").await;
    split.same(&mut client, &mut direct, "SELECT id, score FROM customers ORDER BY id").await;
    direct.ok("SET @v = 5").await;
    split.same(&mut client, &mut direct, "UPDATE customers SET score = @v WHERE id = 1").await;
    split.same(&mut client, &mut direct, "SELECT id, score FROM customers ORDER BY id").await;
}

async fn user_variables_go_along_from_place_to_place(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for (begin, end) in
        [("BEGIN", "COMMIT"), ("BEGIN", "ROLLBACK"), ("SET autocommit = 0", "SET autocommit = 1")]
    {
        for sql in [
            begin,
            "UPDATE customers SET score = score + 1 WHERE id = 1",
            "SELECT score FROM customers WHERE id = 2",
            "SET @x = 1.50, @y = 'a'",
            "SELECT COUNT(*) FROM plain",
            "SET @x = 2.25",
            "SELECT id FROM customers WHERE id = 1",
            "SELECT @x, @y",
            "SELECT @y := 'b' FROM customers WHERE id = 2",
            "SELECT COUNT(*) FROM customers",
            end,
            "SELECT @x, @y",
            "SELECT score FROM customers WHERE id = 2",
            "SHOW WARNINGS",
            "SELECT score FROM customers WHERE id = 1 AND score > @x",
            "SELECT @x, @y",
            "COMMIT",
        ] {
            split.same(&mut client, &mut direct, sql).await;
        }
    }
    // What is too long to be read back is known at its place alone.
    for sql in [
        "BEGIN",
        "SELECT id FROM customers WHERE id = 1",
        "SET @long = REPEAT('x', 40000)",
        "SELECT LENGTH(@long)",
        "SELECT COUNT(*) FROM plain",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    refused(&mut client, "SELECT LENGTH(@long)").await;
    refused(&mut client, "SET @y = LENGTH(@long)").await;
    client.ok("ROLLBACK").await;
}

async fn a_definition_at_home_commits_what_shards_have(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for sql in [
        "BEGIN",
        "UPDATE customers SET score = 50 WHERE id = 1",
        "CREATE TABLE later (a INT)",
        "INSERT INTO customers (id) VALUES (11)",
        "INSERT INTO customers (id) VALUES (12)",
        "ROLLBACK",
        "SELECT id, score FROM customers ORDER BY id",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
}

async fn what_is_committed_unasked_is_not_missed(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let mut client = split.stage.raw().await;
    for (begin, end) in [
        ("BEGIN", "BEGIN"),
        ("SET autocommit = 0", "SET autocommit = 1"),
        ("BEGIN", "CREATE TABLE IF NOT EXISTS later (a INT)"),
    ] {
        let before = client.value("SELECT tidegate_gtid()").await;
        for sql in [
            begin,
            // Beside the home: on its cluster.
            "UPDATE customers SET score = score + 1 WHERE id = 2",
            "SELECT score FROM customers WHERE id = 1",
            end,
            "ROLLBACK",
        ] {
            split.same(&mut client, &mut direct, sql).await;
        }
        assert_ne!(client.value("SELECT tidegate_gtid()").await, before, "{end}");
        split.same(&mut client, &mut direct, "SELECT score FROM customers WHERE id = 2").await;
    }
}

async fn autocommit_ends_only_what_servers_end_by_it(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for (begin, set) in [
        ("BEGIN", "SET autocommit = 1"),
        ("BEGIN", "SET autocommit = 0"),
        ("SELECT 1", "SET @a = @@autocommit, autocommit = 0"),
        ("SELECT 1", "SET SESSION autocommit = ON"),
    ] {
        for sql in [
            begin,
            "UPDATE customers SET score = score + 1 WHERE id = 1",
            "SELECT score FROM customers WHERE id = 2",
            set,
            "SELECT score FROM customers WHERE id = 1",
            "ROLLBACK",
            "SELECT id, score FROM customers ORDER BY id",
            "COMMIT",
        ] {
            split.same(&mut client, &mut direct, sql).await;
        }
    }
}

async fn what_holds_for_one_connection_is_not_left_behind(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for sql in ["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "BEGIN"] {
        client.ok(sql).await;
    }
    refused(&mut client, "SELECT score FROM customers WHERE id = 1").await;
    refused(&mut client, "SELECT COUNT(*) FROM customers").await;
    client.ok("ROLLBACK").await;
    client.ok("SET timestamp = 1").await;
    refused(&mut client, "INSERT INTO customers (id, score) VALUES (21, UNIX_TIMESTAMP())").await;
    client.ok("SET timestamp = DEFAULT").await;
    // Locks of users are one server's, whatever is open.
    assert_eq!(client.value("SELECT GET_LOCK('tidegate seams', 0)").await.as_deref(), Some("1"));
    for sql in ["BEGIN", "SELECT score FROM customers WHERE id = 1"] {
        split.same(&mut client, &mut direct, sql).await;
    }
    assert_eq!(client.value("SELECT RELEASE_LOCK('tidegate seams')").await.as_deref(), Some("1"));
    client.ok("ROLLBACK").await;
    // Settings that are newer than a part of the transaction; and a next one that begins at once.
    for sql in [
        "BEGIN",
        "SELECT score FROM customers WHERE id = 1",
        "SELECT score FROM customers WHERE id = 2",
        "SET time_zone = '+05:00'",
        "SELECT COUNT(*), MAX(HOUR(FROM_UNIXTIME(0))) FROM customers",
        "ROLLBACK",
        "SET completion_type = CHAIN",
        "BEGIN",
        "SELECT score FROM customers WHERE id = 1",
        "SELECT score FROM customers WHERE id = 2",
        "COMMIT",
        "SELECT score FROM customers WHERE id = 2",
        "SET completion_type = NO_CHAIN",
        "COMMIT",
        "SELECT COUNT(*) FROM customers",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
}

async fn a_default_database_outlasts_a_shard(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    client.ok("BEGIN").await;
    client.query("SELECT score FROM customers WHERE id = 1").await;
    client.ok(format!("USE {}", split.whole)).await;
    for _ in 0..2 {
        assert_eq!(client.value("SELECT DATABASE()").await.as_deref(), Some(&*split.whole));
        client.ok("ROLLBACK").await;
    }
    client.ok(format!("USE {}", split.stage.schema)).await;
    assert_eq!(client.value("SELECT COUNT(*) FROM customers").await.as_deref(), Some("8"));
}

async fn what_a_plan_does_not_see_is_refused(scenario: Scenario) {
    let is_mysql = scenario.dialect == Dialect::MySql;
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    split.same(&mut client, &mut direct, "SELECT id, score FROM customers ORDER BY 1 LIMIT 1").await;
    for sql in [
        "SELECT id, score FROM customers ORDER BY (1) LIMIT 1",
        "SELECT id, score FROM customers ORDER BY (2) LIMIT 1",
        "SELECT score, COUNT(*) FROM customers GROUP BY (1)",
    ] {
        refused(&mut client, sql).await;
    }
    if is_mysql {
        refused(&mut client, "SELECT /*+ SET_VAR(sql_select_limit=1) */ id FROM customers").await;
        refused(&mut client, "INSERT /*+ SET_VAR(sql_mode='') */ INTO customers (id) VALUES (30)").await;
    }
}
