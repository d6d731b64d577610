//! What servers count, profile and trace of a session's statements: the client sees its own, and only that.

use crate::harness::{Login, Rules, Scenario, Stage};

both_dialects! {
    counters_count_what_the_client_did,
    session_status_is_of_the_statement_before,
    profiles_are_the_clients_until_it_has_enough,
    the_optimizer_trace_is_of_the_clients_statement,
    what_was_collected_is_not_seen_by_others,
}

/// Reads go to replicas, where there is no pin.
async fn prepared(scenario: Scenario) -> Stage {
    filled(scenario.stage_with(Rules { weights: vec![0, 1, 1], ..Rules::default() }).await).await
}

/// The same on servers without other scenarios, where it matters what their statements do to a session's counters: MariaDB's sessions
/// read a routine again, which counts, after any other routine was created.
async fn prepared_apart(scenario: Scenario) -> Stage {
    if scenario.is_mysql() {
        return prepared(scenario).await;
    }
    filled(scenario.own_stage(1, Rules { weights: vec![0, 1], ..Rules::default() }).await).await
}

async fn filled(stage: Stage) -> Stage {
    stage
        .given(&[
            "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
            "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)",
            "CREATE PROCEDURE p() SELECT v FROM t WHERE id = 2",
            "CALL p()", // reads the dictionary's tables for the server, which is counted for its session
        ])
        .await;
    stage
}

async fn until_pinned(stage: &Stage, reason: &str, sessions: u64) {
    let label = format!("reason=\"{reason}\"");
    stage.proxy.until_metric("tidegate_pinned_sessions", &[&label], |pinned| pinned == sessions).await;
}

/// The counters after statements that are of all kinds for which Tidegate has questions of its own.
async fn counters_count_what_the_client_did(scenario: Scenario) {
    let stage = prepared_apart(scenario).await;
    let (mut client, mut other, mut direct) =
        (stage.raw().await, stage.raw().await, stage.direct(Login::default()).await);
    let work = [
        "FLUSH STATUS",
        "SELECT v FROM t WHERE id = 1",
        "SET @a = 5",
        "SELECT @a := v FROM t WHERE id = @a - 2",
        "CALL p()",
        "CREATE TEMPORARY TABLE made AS SELECT * FROM t",
        "CALL p()",
        "DROP TEMPORARY TABLE made",
        "SELECT GET_LOCK('measures', 0)",
        "SELECT RELEASE_LOCK('measures')",
        "SELECT COUNT(*) FROM t, t u",
    ];
    let counters = "SHOW STATUS WHERE Variable_name LIKE 'Handler_read%' OR Variable_name IN \
                    ('Com_select', 'Com_set_option', 'Com_show_status', 'Com_do', 'Com_call_procedure', 'Select_scan')";
    for _ in 0..2 {
        for sql in work {
            for each in [&mut client, &mut direct] {
                each.query(sql).await;
            }
            other.value("SELECT COUNT(*) FROM t").await.unwrap();
        }
        assert_eq!(client.select(counters).await.texts(), direct.select(counters).await.texts());
        until_pinned(&stage, "session status", 1).await;
    }
    client.command(tidegate::wire::command::RESET_CONNECTION, b"").await;
    client.outcome().await.ok();
    until_pinned(&stage, "session status", 0).await;
}

/// Without FLUSH STATUS, too, where nobody has taken the connection: a replica's.
async fn session_status_is_of_the_statement_before(scenario: Scenario) {
    let stage = prepared(scenario).await;
    let mut client = stage.raw().await;
    let table = if scenario.is_mysql() { "performance_schema" } else { "information_schema" };
    let asked =
        format!("SELECT variable_value FROM {table}.session_status WHERE variable_name = 'Select_full_join'");
    for _ in 0..3 {
        client.ok("INSERT INTO t SELECT MAX(id) + 1, 4 FROM t").await;
        client.value("SELECT COUNT(*) FROM t a, t b WHERE a.v + b.v > 3").await.unwrap();
        let joins = client.select("SHOW SESSION STATUS LIKE 'Select_full_join'").await.texts();
        assert_ne!(joins[0][1].as_deref(), Some("0"), "of the connection that joined");
        client.value("SELECT COUNT(*) FROM t a, t b WHERE a.v + b.v > 3").await.unwrap();
        assert_ne!(client.value(&asked).await.unwrap(), "0", "of the connection that joined");
    }
}

async fn profiles_are_the_clients_until_it_has_enough(scenario: Scenario) {
    let stage = prepared(scenario).await;
    let mut client = stage.raw().await;
    client.ok("SET @c = 1").await;
    client.ok("SET profiling = 1").await;
    until_pinned(&stage, "profiling", 1).await;
    let work = ["SELECT v FROM t WHERE id = 1", "SET @a = 1", "SELECT @a", "CALL p()", "SELECT 1"];
    for sql in work {
        client.query(sql).await;
    }
    let profiles = |rows: Vec<Vec<Option<String>>>| {
        rows.into_iter().map(|mut row| row.remove(2).unwrap()).collect::<Vec<_>>()
    };
    let mut expected: Vec<_> = work.map(str::to_owned).to_vec();
    expected[3] = "SELECT v FROM t WHERE id = 2".into(); // CALL itself is not profiled, but what it runs is
    assert_eq!(profiles(client.select("SHOW PROFILES").await.texts()), expected);
    client.ok("SET profiling = 0").await;
    until_pinned(&stage, "profiling", 0).await;
    assert_eq!(profiles(client.select("SHOW PROFILES").await.texts())[..5], expected);
}

async fn the_optimizer_trace_is_of_the_clients_statement(scenario: Scenario) {
    let stage = prepared(scenario).await;
    let mut client = stage.raw().await;
    client.ok("SET optimizer_trace = 'enabled=on'").await;
    until_pinned(&stage, "optimizer trace", 1).await;
    let traced = "SELECT v, @b := v FROM t WHERE id = 1";
    client.select(traced).await;
    let seen = "SELECT query FROM information_schema.optimizer_trace";
    assert_eq!(client.value(seen).await.unwrap(), traced);
    client.ok("SET optimizer_trace = 'enabled=off'").await;
    until_pinned(&stage, "optimizer trace", 0).await;
}

/// COM_RESET_CONNECTION leaves profiles where they are, on both dialects: so the connection has no other client.
async fn what_was_collected_is_not_seen_by_others(scenario: Scenario) {
    let rules = Rules { weights: vec![1, 0, 0], ..Rules::pool("{max: 1}") };
    let stage = scenario.stage_with(rules).await;
    for leaves in [false, true] {
        let (mut client, mut other) = (stage.raw().await, stage.raw().await);
        client.ok("SET profiling = 1").await;
        client.value("SELECT 'a secret'").await.unwrap();
        if leaves {
            drop(client);
        } else {
            client.ok("SET profiling = 0").await;
        }
        assert_eq!(other.select("SHOW PROFILES").await.texts(), Vec::<Vec<Option<String>>>::new());
    }
}
