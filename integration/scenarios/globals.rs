//! SET GLOBAL: who logs in later begins with the new value, who is there keeps the one from before.

use crate::harness::{Login, RawClient, Rules, Scenario, Stage};

both_dialects! {
    a_new_session_begins_with_what_was_set_globally,
    a_session_keeps_the_mode_that_it_began_with,
    no_write_is_lost_by_autocommit_that_was_off_globally,
}

/// Two connections to the primary, and none to replicas, so that all sessions use the same ones.
async fn alone(scenario: Scenario) -> Stage {
    scenario.own_stage(0, Rules::pool("{max: 2}")).await
}

async fn administrator(stage: &Stage) -> RawClient {
    stage.raw_with(Login::account("admin", "admin-pw")).await
}

/// Asks on whichever connections there are: `other` holds one of the two, and has set the variable for itself on it before.
async fn everywhere(stage: &Stage, client: &mut RawClient, sql: &str) -> String {
    let mut other = stage.raw().await;
    let mut seen = Vec::new();
    for _ in 0..4 {
        other.ok("SET SESSION div_precision_increment = 2").await;
        other.ok("BEGIN").await;
        other.value("SELECT 1/3").await.unwrap();
        seen.push(client.value(sql).await.unwrap());
        other.ok("ROLLBACK").await;
        seen.push(client.value(sql).await.unwrap());
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "one value for one session: {seen:?}");
    seen.swap_remove(0)
}

async fn a_new_session_begins_with_what_was_set_globally(scenario: Scenario) {
    let stage = alone(scenario).await;
    let third = "SELECT 1/3";
    let mut admin = administrator(&stage).await;
    let mut first = stage.raw().await;
    assert_eq!(everywhere(&stage, &mut first, third).await, "0.3333");
    admin.ok("SET GLOBAL div_precision_increment = 8").await;
    let mut second = stage.raw().await;
    assert_eq!(everywhere(&stage, &mut second, third).await, "0.33333333");
    assert_eq!(everywhere(&stage, &mut first, third).await, "0.3333", "it was there before");
    assert_eq!(admin.value(third).await.unwrap(), "0.3333", "the session that has set it, too");
    let prepared = admin.prepare("SET @@global.div_precision_increment = 6").await.unwrap();
    admin.execute(prepared, &[]).await.ok();
    let mut third_one = stage.raw().await;
    for (client, wanted) in
        [(&mut first, "0.3333"), (&mut second, "0.33333333"), (&mut third_one, "0.333333")]
    {
        assert_eq!(everywhere(&stage, client, third).await, wanted);
    }
    first.command(tidegate::wire::command::RESET_CONNECTION, b"").await;
    first.outcome().await.ok();
    assert_eq!(
        everywhere(&stage, &mut first, third).await,
        "0.333333",
        "COM_RESET_CONNECTION takes the global value"
    );
    second.ok("SET SESSION div_precision_increment = DEFAULT").await;
    assert_eq!(everywhere(&stage, &mut second, third).await, "0.333333", "DEFAULT is the global value");
}

async fn a_session_keeps_the_mode_that_it_began_with(scenario: Scenario) {
    let stage = alone(scenario).await;
    let mut admin = administrator(&stage).await;
    let mut first = stage.raw().await;
    let (mode, quoted) = ("SELECT @@sql_mode", "SELECT \"1\" FROM (SELECT 2 AS \"1\") t");
    let before = first.value(mode).await.unwrap();
    let prepared = first.prepare("SELECT \"1\", CAST(@@sql_mode AS CHAR)").await.unwrap();
    first.ok("PREPARE text FROM 'SELECT \"1\"'").await;
    admin.ok("SET GLOBAL sql_mode = 'ANSI_QUOTES', time_zone = '+03:00'").await;
    assert_eq!(admin.error("SET GLOBAL sql_mode = 'no such mode'").await.code, 1231);
    let mut second = stage.raw().await;
    assert_eq!(everywhere(&stage, &mut second, mode).await, "ANSI_QUOTES");
    assert_eq!(everywhere(&stage, &mut second, quoted).await, "2");
    assert_eq!(everywhere(&stage, &mut second, "SELECT @@time_zone").await, "+03:00");
    assert_eq!(everywhere(&stage, &mut first, mode).await, before);
    assert_eq!(everywhere(&stage, &mut first, "SELECT \"a\"").await, "a");
    assert_eq!(everywhere(&stage, &mut first, "SELECT @@time_zone").await, "SYSTEM");
    for _ in 0..3 {
        second.ok("BEGIN").await;
        second.value(quoted).await.unwrap();
        let rows = first.execute(prepared, &[]).await.rows();
        assert!(rows.rows[0].ends_with(before.as_bytes()), "prepared, and prepared again");
        assert_eq!(first.select("EXECUTE text").await.value().unwrap(), "1");
        second.ok("ROLLBACK").await;
        first.execute(prepared, &[]).await.rows();
        assert_eq!(first.select("EXECUTE text").await.value().unwrap(), "1");
    }
}

/// A connection that was opened meanwhile commits nothing by itself; on MySQL its status flags do not tell.
async fn no_write_is_lost_by_autocommit_that_was_off_globally(scenario: Scenario) {
    let stage = alone(scenario).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let mut admin = administrator(&stage).await;
    let mut first = stage.raw().await;
    first.ok("INSERT INTO t VALUES (1)").await;
    admin.ok("SET GLOBAL autocommit = 0").await;
    let mut meanwhile = stage.raw().await;
    assert_eq!(meanwhile.value("SELECT @@autocommit").await.unwrap(), "0");
    meanwhile.ok("INSERT INTO t VALUES (2)").await;
    first.ok("INSERT INTO t VALUES (3)").await;
    meanwhile.ok("ROLLBACK").await;
    admin.ok("SET GLOBAL autocommit = 1").await;
    let mut last = stage.raw().await;
    first.ok("INSERT INTO t VALUES (4)").await;
    last.ok("INSERT INTO t VALUES (5)").await;
    meanwhile.ok("INSERT INTO t VALUES (6)").await;
    let mut direct = stage.direct(Login::default()).await;
    let ids = "SELECT GROUP_CONCAT(id ORDER BY id) FROM t";
    assert_eq!(direct.value(ids).await.unwrap(), "1,3,4,5", "committed by themselves");
    meanwhile.ok("COMMIT").await;
    assert_eq!(direct.value(ids).await.unwrap(), "1,3,4,5,6");
}
