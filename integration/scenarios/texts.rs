//! Text PREPARE of sessions that share one server connection, or run on several.

use crate::harness::{Login, Outcome, RawClient, Rules, Scenario, Stage, until};

both_dialects! {
    a_text_is_executed_on_any_connection,
    sessions_do_not_see_each_others_texts,
    a_text_means_what_it_meant_when_it_was_prepared,
    a_text_that_fails_takes_the_one_before_with_it,
    texts_end_with_their_session,
    a_text_that_cannot_be_made_again_fails_as_on_one_server,
    what_an_execution_may_leave_pins,
    a_text_that_pins_takes_the_name_of_one_that_does_not,
    a_procedure_executes_the_texts_of_its_session,
    many_texts_pin,
    texts_of_sessions_that_are_gone_are_bounded,
}

async fn single(scenario: Scenario, max: u32) -> Stage {
    let rules =
        Rules { weights: vec![1, 0, 0], top: "threads: 1".into(), ..Rules::pool(&format!("{{max: {max}}}")) };
    let stage = scenario.stage_with(rules).await;
    stage
        .given(&[
            "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, n INT)",
            "INSERT INTO t (n) VALUES (1), (2)",
        ])
        .await;
    stage
}

async fn error(client: &mut RawClient, sql: &str) -> u16 {
    client.error(sql).await.code
}

async fn value(client: &mut RawClient, sql: &str) -> String {
    client.value(sql).await.unwrap_or_default()
}

async fn a_text_that_pins_takes_the_name_of_one_that_does_not(scenario: Scenario) {
    let stage = single(scenario, 2).await;
    let mut client = stage.raw().await;
    client.ok("SET @n = 1").await;
    client.ok("PREPARE p FROM 'SELECT n FROM t WHERE id = ?'").await;
    assert_eq!(value(&mut client, "EXECUTE p USING @n").await, "1");
    client.ok("PREPARE p FROM 'SELECT @n + 4'").await;
    assert_eq!(value(&mut client, "EXECUTE p").await, "5");
    client.ok("PREPARE p FROM 'SELECT n + 6 FROM t WHERE id = ?'").await;
    assert_eq!(value(&mut client, "EXECUTE p USING @n").await, "7");
    client.ok("DEALLOCATE PREPARE p").await;
    assert_eq!(error(&mut client, "EXECUTE p USING @n").await, 1243);
}

async fn until_free(stage: &Stage) {
    until("no connection is held", || async { stage.proxy.metric("tidegate_pool_in_use", &[]).await == 0 })
        .await;
}

async fn a_text_is_executed_on_any_connection(scenario: Scenario) {
    let stage = single(scenario, 2).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok("SET @n = 2, @q = 'SELECT n + ? FROM t WHERE id = ?'").await;
    client.ok("PREPARE `Sel` FROM @q").await;
    client.ok("SET @q = 'SELECT 0'").await;
    client.ok("PREPARE ins FROM 'INSERT INTO t (n) VALUES (?)'").await;
    until_free(&stage).await;
    // Both connections, one after the other.
    other.ok("BEGIN").await;
    other.select("SELECT * FROM t FOR UPDATE").await;
    assert_eq!(value(&mut client, "EXECUTE sel USING @n, @n").await, "4");
    other.ok("COMMIT").await;
    for n in [70, 71] {
        client.ok(format!("SET @n = {n}")).await;
        other.ok("BEGIN").await;
        assert_eq!(client.ok("EXECUTE INS USING @n").await.affected_rows, 1);
        assert_ne!(value(&mut client, "SELECT LAST_INSERT_ID()").await, "0");
        other.ok("COMMIT").await;
    }
    client.ok("BEGIN").await;
    client.ok("EXECUTE ins USING @n").await;
    client.ok("ROLLBACK").await;
    assert_eq!(value(&mut other, "SELECT GROUP_CONCAT(n ORDER BY n) FROM t").await, "1,2,70,71");
    assert_eq!(error(&mut client, "EXECUTE ins").await, 1210);
    client.ok("DEALLOCATE PREPARE SEL").await;
    assert_eq!(error(&mut client, "EXECUTE sel USING @n, @n").await, 1243);
    client.ok("DROP PREPARE ins").await;
    assert_eq!(error(&mut client, "DROP PREPARE ins").await, 1243);
}

async fn sessions_do_not_see_each_others_texts(scenario: Scenario) {
    let stage = single(scenario, 1).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok("PREPARE p FROM 'SELECT 1'").await;
    assert_eq!(error(&mut other, "EXECUTE p").await, 1243);
    assert_eq!(error(&mut other, "DEALLOCATE PREPARE p").await, 1243);
    assert_eq!(value(&mut client, "EXECUTE p").await, "1");
    other.ok("PREPARE P FROM 'SELECT 2'").await;
    for _ in 0..2 {
        assert_eq!(value(&mut client, "EXECUTE p").await, "1");
        assert_eq!(value(&mut other, "EXECUTE p").await, "2");
    }
    other.ok("DEALLOCATE PREPARE p").await;
    assert_eq!(error(&mut other, "EXECUTE p").await, 1243);
    assert_eq!(value(&mut client, "EXECUTE p").await, "1");
    // Names that are not found in the text.
    let several = other.query("DO 1; EXECUTE p").await;
    assert!(matches!(&several[1], Outcome::Err(error) if error.code == 1243), "{several:?}");
    drop(other);
    assert_eq!(value(&mut client, "EXECUTE p").await, "1");
}

async fn a_text_means_what_it_meant_when_it_was_prepared(scenario: Scenario) {
    let stage = single(scenario, 1).await;
    let mut other = stage.raw().await;
    let mut client = stage.raw().await;
    let mut direct = stage.direct(Login::default()).await;
    for sql in [
        "PREPARE here FROM 'SELECT DATABASE(), n FROM t WHERE id = 1'",
        "SET sql_mode = 'ANSI'",
        "PREPARE ansi FROM 'SELECT 1||1 AS x, \"n\" FROM t WHERE id = 2'",
        "SET NAMES latin1 COLLATE latin1_german1_ci",
        "PREPARE german FROM 'SELECT COLLATION(''a''), @@sql_mode, FROM_UNIXTIME(0)'",
        "SET NAMES utf8mb4, sql_mode = '', time_zone = '+05:00'",
        "USE information_schema",
    ] {
        direct.ok(sql).await;
        client.ok(sql).await;
        other.ok("SET sql_mode = 'NO_BACKSLASH_ESCAPES'").await;
        other.select("SELECT 1 FROM t").await;
    }
    for sql in [
        "EXECUTE here",
        "EXECUTE ansi",
        "EXECUTE german",
        "SELECT DATABASE(), @@sql_mode, @@collation_connection",
    ] {
        assert_eq!(client.select(sql).await.texts(), direct.select(sql).await.texts(), "{sql}");
        other.select("SELECT 1 FROM t").await;
    }
}

async fn a_text_that_fails_takes_the_one_before_with_it(scenario: Scenario) {
    let stage = single(scenario, 1).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    for wrong in ["SELEC", "SELECT * FROM nosuch"] {
        client.ok("PREPARE p FROM 'SELECT 1'").await;
        other.select("SELECT 1").await;
        client.error(format!("PREPARE p FROM '{wrong}'")).await;
        assert_eq!(error(&mut client, "EXECUTE p").await, 1243, "{wrong}");
        other.select("SELECT 1").await;
        assert_eq!(error(&mut client, "EXECUTE p").await, 1243, "{wrong}");
    }
}

async fn texts_end_with_their_session(scenario: Scenario) {
    let stage = single(scenario, 1).await;
    let mut client = stage.raw().await;
    client.ok("PREPARE p FROM 'SELECT 1'").await;
    client.command(tidegate::wire::command::RESET_CONNECTION, &[]).await;
    client.read().await;
    assert_eq!(error(&mut client, "EXECUTE p").await, 1243);
    client.ok("PREPARE p FROM 'SELECT 1'").await;
    drop(client);
    assert_eq!(error(&mut stage.raw().await, "EXECUTE p").await, 1243);
}

async fn a_text_that_cannot_be_made_again_fails_as_on_one_server(scenario: Scenario) {
    let stage = single(scenario, 2).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok("CREATE TABLE gone (n INT)").await;
    client.ok("PREPARE p FROM 'SELECT * FROM gone'").await;
    other.ok("DROP TABLE gone").await;
    other.ok("BEGIN").await;
    other.select("SELECT * FROM t WHERE id = 1 FOR UPDATE").await;
    client.ok("BEGIN").await;
    for _ in 0..2 {
        assert_eq!(error(&mut client, "EXECUTE p").await, 1146);
    }
    client.ok("INSERT INTO t (n) VALUES (9)").await;
    client.ok("COMMIT").await;
    other.ok("ROLLBACK").await;
    other.ok("CREATE TABLE gone (n INT)").await;
    assert_eq!(client.select("EXECUTE p").await.rows.len(), 0);
}

async fn what_an_execution_may_leave_pins(scenario: Scenario) {
    let stage = single(scenario, 1).await;
    for text in [
        "SET @a = 1",
        "SELECT GET_LOCK(\\'x\\', 0)",
        "SELECT ROW_COUNT()",
        "CREATE TEMPORARY TABLE x (a INT)",
    ] {
        let mut client = stage.raw().await;
        client.ok(format!("PREPARE p FROM '{text}'")).await;
        let labels = ["reason=\"text prepared statement\""];
        stage.proxy.until_metric("tidegate_pinned_sessions", &labels, |pinned| pinned == 1).await;
        client.ok("DEALLOCATE PREPARE p").await;
        stage.proxy.until_metric("tidegate_pinned_sessions", &labels, |pinned| pinned == 0).await;
    }
}

async fn a_procedure_executes_the_texts_of_its_session(scenario: Scenario) {
    let stage = single(scenario, 1).await;
    stage.given(&["CREATE DEFINER=app@'%' PROCEDURE run() EXECUTE p"]).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok("PREPARE p FROM 'SELECT 1'").await;
    assert_eq!(error(&mut other, "CALL run()").await, 1243);
    other.ok("PREPARE p FROM 'SELECT 2'").await;
    let answer = client.query("CALL run()").await;
    assert!(matches!(&answer[0], Outcome::Rows(rows) if rows.value().as_deref() == Some("1")), "{answer:?}");
}

async fn many_texts_pin(scenario: Scenario) {
    let stage = single(scenario, 2).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    for text in 0..70 {
        client.ok(format!("PREPARE p{text} FROM 'SELECT {text}'")).await;
    }
    let labels = ["reason=\"text prepared statement\""];
    stage.proxy.until_metric("tidegate_pinned_sessions", &labels, |pinned| pinned == 1).await;
    other.select("SELECT * FROM t").await;
    for text in [0, 63, 64, 69] {
        assert_eq!(value(&mut client, &format!("EXECUTE p{text}")).await, text.to_string());
    }
    for text in 0..70 {
        client.ok(format!("DEALLOCATE PREPARE p{text}")).await;
    }
    stage.proxy.until_metric("tidegate_pinned_sessions", &labels, |pinned| pinned == 0).await;
}

/// By the server's count: `max_prepared_stmt_count` is for all clients.
async fn texts_of_sessions_that_are_gone_are_bounded(scenario: Scenario) {
    let stage = single(scenario, 1).await;
    let mut client = stage.raw().await;
    for text in 0..100 {
        let mut other = stage.raw().await;
        other.ok(format!("PREPARE p{text} FROM 'SELECT {text}'")).await;
    }
    client.ok("PREPARE p FROM 'SELECT 1'").await;
    let counts = "SHOW SESSION STATUS WHERE Variable_name IN ('Com_prepare_sql', 'Com_dealloc_sql')";
    let rows = client.select(counts).await.texts();
    let count = |at: usize| rows[at][1].as_ref().expect("a number").parse::<i64>().expect("a number");
    let (closed, made) = (count(0), count(1));
    assert!(made == 101 && made - closed <= 20, "{made} prepared, {closed} closed");
}
