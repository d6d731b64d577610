//! User variables of sessions that share connections.

use std::net::SocketAddr;

use crate::harness::{Login, Outcome, RawClient, Rules, Scenario, Stage, until};

both_dialects! {
    values_come_back_with_their_types,
    t10_a_variable_does_not_pin,
    triggers_see_the_variables_of_their_session_only,
    variables_assigned_in_a_transaction_outlive_it,
    variables_assigned_by_prepared_texts_are_known,
    variables_that_cannot_be_brought_stay_where_they_are,
    a_variable_that_is_short_again_pins_nobody,
    diagnostics_and_out_parameters_are_kept,
    a_failed_statement_may_have_assigned,
    diagnostics_that_assign_nothing_show_no_others_variable,
    what_a_view_has_set_is_not_seen_by_others,
    what_a_trigger_has_set_is_its_own_sessions,
}

/// One connection to the primary, and none to replicas: every session has the same one.
async fn single(scenario: Scenario) -> Stage {
    let rules = Rules { weights: vec![1, 0, 0], ..Rules::pool("{max: 1}") };
    scenario.stage_with(rules).await
}

async fn is_unpinned(stage: &Stage) {
    until("no connection is held", || async { stage.proxy.metric("tidegate_pool_in_use", &[]).await == 0 })
        .await;
    stage.proxy.until_metric("tidegate_pinned_sessions", &[], |pinned| pinned == 0).await;
}

const VALUES: &[&str] = &[
    "1",
    "-1",
    "18446744073709551615",
    "CAST(5 AS UNSIGNED)",
    "1.50",
    "-0.0001",
    "CAST(7 AS DECIMAL(10,0))",
    "1.5e0",
    "1/3e0",
    "-1e-300",
    "1e300",
    "0e0",
    "'abc'",
    "''",
    "_latin1'\u{e9}' COLLATE latin1_german1_ci",
    "_binary'a\\0b'",
    "x'00ff'",
    "b'101'",
    "0x41",
    "NULL",
    "CAST(NULL AS SIGNED)",
    "TRUE",
    "DATE'2020-02-29'",
    "TIMESTAMP'2020-02-29 01:02:03.000004'",
    "TIME'-01:02:03.5'",
    "JSON_OBJECT('a', 'b')",
    "'\u{1f600} it''s \\\\ \\n'",
    "REPEAT('x', 10000)",
    "N'n'",
    "CONCAT('a', 1)",
    "1 = 1",
];

async fn values_come_back_with_their_types(scenario: Scenario) {
    let stage = single(scenario).await;
    let server = SocketAddr::new("127.0.0.1".parse().unwrap(), stage.cluster.servers[0].port);
    let mut direct = RawClient::login(server, &Login::default()).await.unwrap();
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    let seen = "SELECT @v, HEX(@v), COLLATION(@v), @v + 0";
    for value in VALUES {
        let before = client.select(seen).await;
        let set = format!("SET @v = {value}, @w = 1");
        let refused = |outcomes: Vec<Outcome>| matches!(outcomes.last(), Some(Outcome::Err(_)));
        let expected = refused(direct.query(&set).await);
        assert_eq!(refused(client.query(&set).await), expected, "{set}");
        other.ok("SET @v = 'another client', @w = 2").await; // on the same connection
        if expected {
            continue;
        }
        let (expected, found) = (direct.select(seen).await, client.select(seen).await);
        assert_eq!(
            format!("{:?}", found.bytes()),
            format!("{:?}", expected.bytes()),
            "{value} after {before:?}"
        );
        assert_eq!(found.columns, expected.columns, "{value}");
        assert_eq!(other.value("SELECT CONCAT(@v, @w)").await.unwrap(), "another client2");
    }
}

async fn t10_a_variable_does_not_pin(scenario: Scenario) {
    let stage = single(scenario).await;
    let mut client = stage.raw().await;
    client.ok("SET @ApplicationName = 'DBeaver'").await;
    is_unpinned(&stage).await;
    client.select("SELECT @a := 5").await;
    is_unpinned(&stage).await;
    client.ok("SELECT 6, 'x' INTO @b, @C").await;
    is_unpinned(&stage).await;
    let mut other = stage.raw().await;
    let all = "SELECT CONCAT_WS(',', @applicationname, @`A`, @'b', @c)";
    assert_eq!(other.value(all).await.unwrap(), "");
    assert_eq!(client.value(all).await.unwrap(), "DBeaver,5,6,x");
    let statement = client.prepare(all).await.unwrap();
    other.ok("SET @a = 'theirs'").await;
    assert!(client.execute(statement, &[]).await.rows().rows[0].ends_with(b"DBeaver,5,6,x"));
    client.command(tidegate::wire::command::RESET_CONNECTION, b"").await;
    client.outcome().await.ok();
    assert_eq!(client.value(all).await.unwrap(), "");
}

async fn triggers_see_the_variables_of_their_session_only(scenario: Scenario) {
    let stage = single(scenario).await;
    stage
        .given(&[
            "CREATE TABLE t (id INT PRIMARY KEY, who VARCHAR(20))",
            "CREATE TRIGGER audit BEFORE INSERT ON t FOR EACH ROW SET NEW.who = @who",
            "CREATE FUNCTION who() RETURNS VARCHAR(20) READS SQL DATA RETURN @who",
        ])
        .await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok("SET @who = 'client'").await;
    other.ok("INSERT INTO t (id) VALUES (1)").await;
    client.ok("INSERT INTO t (id) VALUES (2)").await;
    other.ok("INSERT INTO t (id) VALUES (3)").await;
    let who = "SELECT GROUP_CONCAT(IFNULL(who, '-') ORDER BY id) FROM t";
    assert_eq!(other.value(who).await.unwrap(), "-,client,-");
    assert_eq!(client.value("SELECT who()").await.unwrap(), "client");
    assert_eq!(other.value("SELECT who()").await, None);
}

async fn variables_assigned_in_a_transaction_outlive_it(scenario: Scenario) {
    let stage = single(scenario).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t VALUES (7)").await;
    client.ok("SELECT MAX(id) FROM t INTO @max").await;
    client.ok("SET @twice = @max * 2").await;
    client.ok("ROLLBACK").await;
    is_unpinned(&stage).await;
    other.ok("SET @max = 1, @twice = 2").await;
    assert_eq!(client.value("SELECT CONCAT(@max, ',', @twice)").await.unwrap(), "7,14");
}

async fn variables_assigned_by_prepared_texts_are_known(scenario: Scenario) {
    let stage = single(scenario).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok("SET @text = 'SELECT @hidden := ? + 1'").await;
    client.ok("SET @n = 4").await;
    for prepare in ["PREPARE p FROM 'SELECT @hidden := ? + 1'", "PREPARE p FROM @text"] {
        client.ok(prepare).await;
        assert_eq!(client.select("EXECUTE p USING @n").await.value().unwrap(), "5");
        client.ok("DEALLOCATE PREPARE p").await;
        is_unpinned(&stage).await;
        other.ok("SET @hidden = 'theirs'").await;
        assert_eq!(client.value("SELECT @hidden").await.unwrap(), "5");
        client.ok("SET @hidden = NULL").await;
    }
}

async fn variables_that_cannot_be_brought_stay_where_they_are(scenario: Scenario) {
    let rules = Rules { weights: vec![1, 0, 0], ..Rules::pool("{max: 2}") };
    let stage = scenario.stage_with(rules).await;
    for set in ["SET @big = REPEAT('x', 100000), @small = 1", "SET @\u{e9} = REPEAT('x', 100000), @small = 1"]
    {
        let (mut client, mut other) = (stage.raw().await, stage.raw().await);
        client.ok(set).await;
        other.ok("SET @big = 1, @small = 2").await;
        stage.proxy.until_metric("tidegate_pinned_sessions", &["user variables"], |pinned| pinned == 1).await;
        client.ok("SET @small = @small + 1").await;
        let name = if set.contains("@big") { "big" } else { "\u{e9}" };
        let value = format!("SELECT CONCAT(LENGTH(@{name}), ',', @small)");
        assert_eq!(client.value(value).await.unwrap(), "100000,2");
        drop(client);
        is_unpinned(&stage).await;
        assert_eq!(stage.raw().await.value("SELECT CONCAT_WS('', @big, @small, @\u{e9})").await.unwrap(), "");
    }
}

async fn a_variable_that_is_short_again_pins_nobody(scenario: Scenario) {
    let rules = Rules { weights: vec![1, 0, 0], ..Rules::pool("{max: 2}") };
    let stage = scenario.stage_with(rules).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    for short in ["SET @big = 'short'", "SELECT @big := 'short'", "SELECT 'short' INTO @big"] {
        client.ok("SET @big = REPEAT('x', 100000), @small = 1").await;
        client.ok("SET @other = 5").await;
        stage.proxy.until_metric("tidegate_pinned_sessions", &["user variables"], |pinned| pinned == 1).await;
        other.ok("SET @big = 1, @small = 2").await;
        assert_eq!(client.value("SELECT LENGTH(@big)").await.unwrap(), "100000");
        client.query(short).await;
        client.value("SELECT 1").await.unwrap();
        is_unpinned(&stage).await;
        other.ok("SET @big = 1, @small = 2").await;
        assert_eq!(client.value("SELECT CONCAT_WS(',', @big, @small, @other)").await.unwrap(), "short,1,5");
    }
}

async fn diagnostics_and_out_parameters_are_kept(scenario: Scenario) {
    let stage = single(scenario).await;
    stage.given(&["CREATE PROCEDURE p (OUT a INT, INOUT b INT) BEGIN SET a = 3, b = b + 1; END"]).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok("SET @b = 8").await;
    client.ok("CALL p(@a, @b)").await;
    other.ok("SET @a = 0, @b = 0, @code = 0").await;
    assert_eq!(client.value("SELECT CONCAT(@a, ',', @b)").await.unwrap(), "3,9");
    assert_eq!(client.error("SELECT nowhere").await.code, 1054);
    client.ok("GET DIAGNOSTICS CONDITION 1 @code = MYSQL_ERRNO").await;
    other.ok("SET @code = 0").await;
    assert_eq!(client.value("SELECT @code").await.unwrap(), "1054");
}

async fn a_failed_statement_may_have_assigned(scenario: Scenario) {
    let stage = single(scenario).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok("SET @n = 1").await;
    let failing = "SELECT @n := 2 UNION ALL SELECT (SELECT 1 UNION SELECT 2)";
    assert_eq!(client.error(failing).await.code, 1242);
    assert_eq!(client.value("SELECT @@error_count").await.unwrap(), "1");
    other.ok("SET @n = 'theirs'").await;
    assert_eq!(client.value("SELECT @n").await.unwrap(), "2");
}

/// GET DIAGNOSTICS of a condition that is not there succeeds and assigns nothing: what stands on the connection is another's.
async fn diagnostics_that_assign_nothing_show_no_others_variable(scenario: Scenario) {
    let stage = single(scenario).await;
    let (mut one, mut other) = (stage.raw().await, stage.raw().await);
    other.ok("SET @secret = 'of another'").await;
    assert_eq!(other.value("SELECT @secret").await.as_deref(), Some("of another"));
    for before in ["SELECT no_such_column", "SELECT 1"] {
        one.query(before).await;
        one.ok("GET DIAGNOSTICS CONDITION 9 @secret = MESSAGE_TEXT").await;
        assert_eq!(one.value("SELECT @secret").await, None, "after {before}");
    }
    one.error("SELECT no_such_column").await;
    one.ok("GET DIAGNOSTICS CONDITION 1 @secret = MESSAGE_TEXT").await;
    assert!(one.value("SELECT @secret").await.expect("a text").contains("no_such_column"));
}

/// Where results end with EOF packets, servers report nothing of what a function in a view sets.
async fn what_a_view_has_set_is_not_seen_by_others(scenario: Scenario) {
    let stage = single(scenario).await;
    stage
        .given(&[
            "CREATE FUNCTION f(n INT) RETURNS INT DETERMINISTIC NO SQL BEGIN SET @left = n; RETURN n; END",
            "CREATE VIEW v AS SELECT f(7) AS n",
        ])
        .await;
    let old = || Login { capabilities: Login::OLD, ..Login::default() };
    let (mut client, mut other) = (stage.raw_with(old()).await, stage.raw_with(old()).await);
    assert_eq!(client.value("SELECT n FROM v").await.unwrap(), "7");
    assert_eq!(client.value("SELECT @left").await.unwrap(), "7", "its own, while nobody else was there");
    for _ in 0..3 {
        assert_eq!(client.value("SELECT n FROM v").await.unwrap(), "7");
        assert_eq!(other.value("SELECT @left").await, None, "of another client");
        let prepared = other.prepare("SELECT IFNULL(@left, 'nothing')").await.unwrap();
        assert_eq!(client.value("SELECT n FROM v").await.unwrap(), "7");
        assert!(other.execute(prepared, &[]).await.rows().rows[0].ends_with(b"nothing"), "prepared");
    }
    other.ok("SET @left = 'mine'").await;
    assert_eq!(client.value("SELECT n FROM v").await.unwrap(), "7");
    assert_eq!(other.value("SELECT @left").await.unwrap(), "mine", "its own, which the view has overwritten");
}

/// Servers report that a trigger has changed something, which pins; MariaDB does so beside the transaction's GTID.
async fn what_a_trigger_has_set_is_its_own_sessions(scenario: Scenario) {
    // One core: whoever comes next has the connection that was given back last.
    let rules = Rules { weights: vec![1, 0, 0], top: "threads: 1".into(), ..Rules::pool("{max: 2}") };
    let stage = scenario.stage_with(rules).await;
    stage
        .given(&[
            "CREATE TABLE fires (who VARCHAR(9))",
            "CREATE TRIGGER t AFTER INSERT ON fires FOR EACH ROW SET @left = NEW.who",
            "CREATE TABLE silent (who VARCHAR(9))",
        ])
        .await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    other.ok("DO 0").await; // the connection has served others before
    client.ok("INSERT INTO fires VALUES ('client')").await;
    for _ in 0..2 {
        assert_eq!(other.value("SELECT @left").await, None, "of another client");
        other.ok("INSERT INTO silent VALUES ('other')").await;
        assert_eq!(other.value("SELECT @left").await, None, "it fires nothing");
        assert_eq!(client.value("SELECT @left").await.as_deref(), Some("client"), "its own");
    }
    other.ok("BEGIN").await;
    other.ok("INSERT INTO fires VALUES ('other')").await;
    assert_eq!(other.value("SELECT @left").await.as_deref(), Some("other"), "its own");
    other.ok("COMMIT").await;
    assert_eq!(other.value("SELECT @left").await.as_deref(), Some("other"), "its own, later");
    assert_eq!(client.value("SELECT @left").await.as_deref(), Some("client"), "its own, still");
    drop((client, other));
    let mut third = stage.raw().await;
    assert_eq!(third.value("SELECT @left").await, None, "of those who have gone");
}
