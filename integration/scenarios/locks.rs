//! User locks that routines take: no text shows them.

use crate::harness::{Rules, Scenario, Stage, until};

both_dialects! {
    a_lock_that_a_routine_took_keeps_its_connection,
    a_lock_that_no_server_tells_of_ends_with_its_session,
}

const ROUTINES: [&str; 3] = [
    "CREATE PROCEDURE take(n CHAR(9)) DO GET_LOCK(n, 0)",
    "CREATE PROCEDURE give(n CHAR(9)) DO RELEASE_LOCK(n)",
    "CREATE FUNCTION f(n CHAR(9)) RETURNS INT NOT DETERMINISTIC READS SQL DATA RETURN GET_LOCK(n, 0)",
];

fn few() -> Rules {
    Rules::pool("{max: 2}")
}

/// Whether somebody has the lock, by the primary's word.
async fn is_held(stage: &Stage, lock: &str) -> bool {
    let holder: Option<Option<u64>> = mysql_async::prelude::Queryable::query_first(
        &mut stage.cluster.root(0).await,
        format!("SELECT IS_USED_LOCK('{lock}')"),
    )
    .await
    .expect("the primary answers");
    holder.flatten().is_some()
}

/// MySQL tells an account that may read `performance_schema`, MariaDB everybody with its plugin.
async fn a_lock_that_a_routine_took_keeps_its_connection(scenario: Scenario) {
    let stage = if scenario.is_mysql() {
        scenario.own_stage_with(0, few(), &["--performance-schema"]).await
    } else {
        let stage = scenario.own_stage(0, few()).await;
        stage.given(&["INSTALL SONAME 'metadata_lock_info'"]).await;
        stage
    };
    stage.given(&ROUTINES).await;
    for (take, give) in [
        ("CALL take('a')", "CALL give('a')"),
        ("SELECT f('a')", "SELECT RELEASE_LOCK('a')"),
        ("CALL take('a')", "DO RELEASE_ALL_LOCKS()"),
    ] {
        let mut client = stage.raw().await;
        client.query(take).await;
        stage.proxy.until_metric("tidegate_pinned_sessions", &["user lock"], |pinned| pinned == 1).await;
        let mut others = [stage.raw().await, stage.raw().await, stage.raw().await];
        for other in &mut others {
            other.ok("DO 0").await;
            assert_eq!(other.value("SELECT f('a')").await.as_deref(), Some("0"), "the lock of another");
        }
        assert!(is_held(&stage, "a").await);
        client.query("BEGIN").await;
        client.query(give).await;
        client.query("COMMIT").await;
        stage.proxy.until_metric("tidegate_pinned_sessions", &["user lock"], |pinned| pinned == 0).await;
        assert!(!is_held(&stage, "a").await);
    }
}

/// MySQL without its performance schema, MariaDB without the plugin. The lock is gone when the client has gone, also
/// where its connection lies idle in the pool.
async fn a_lock_that_no_server_tells_of_ends_with_its_session(scenario: Scenario) {
    let stage = scenario.own_stage(0, few()).await;
    stage.given(&ROUTINES).await;
    for take in ["CALL take('a')", "SELECT f('a')"] {
        let mut client = stage.raw().await;
        client.query(take).await;
        client.ok("DO 0").await;
        assert!(is_held(&stage, "a").await, "nobody else needs its connection");
        drop(client);
        until("the lock is free", || async { !is_held(&stage, "a").await }).await;
        let mut client = stage.raw().await;
        client.query(take).await;
        client.command(tidegate::wire::command::RESET_CONNECTION, b"").await;
        client.outcome().await.ok();
        until("the lock is free", || async { !is_held(&stage, "a").await }).await;
    }
}
