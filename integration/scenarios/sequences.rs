//! MariaDB's sequences: what was drawn last is known to the connection.

use crate::harness::{Rules, Scenario};

both_dialects! {
    the_last_value_drawn_is_the_sessions_own,
}

async fn the_last_value_drawn_is_the_sessions_own(scenario: Scenario) {
    // One core: whoever comes next has the connection that was given back last.
    let rules = Rules { weights: vec![1, 0, 0], top: "threads: 1".into(), ..Rules::pool("{max: 2}") };
    let stage = scenario.stage_with(rules).await;
    if scenario.is_mysql() {
        let mut client = stage.raw().await;
        assert_eq!(client.error("SELECT LASTVAL(s)").await.code, 1305, "a stored function's name");
        return;
    }
    stage.given(&["CREATE SEQUENCE s"]).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    assert_eq!(client.value("SELECT NEXTVAL(s)").await.unwrap(), "1");
    assert_eq!(other.value("SELECT NEXT VALUE FOR s").await.unwrap(), "2");
    for _ in 0..2 {
        assert_eq!(client.error("SELECT LASTVAL(s)").await.code, 1235, "lost, and it says so");
    }
    // From here on it is known that this account asks.
    assert_eq!(client.value("SELECT NEXTVAL(s)").await.unwrap(), "3");
    stage.proxy.until_metric("tidegate_pinned_sessions", &["sequence"], |pinned| pinned == 1).await;
    assert_eq!(other.value("SELECT NEXTVAL(s)").await.unwrap(), "4");
    for _ in 0..3 {
        assert_eq!(client.value("SELECT LASTVAL(s)").await.unwrap(), "3");
        assert_eq!(client.value("SELECT PREVIOUS VALUE FOR s").await.unwrap(), "3");
        assert_eq!(other.value("SELECT LASTVAL(s) + 0").await.unwrap(), "4");
    }
    drop((client, other));
    stage.proxy.until_metric("tidegate_pinned_sessions", &[], |pinned| pinned == 0).await;
    let (mut third, mut fourth) = (stage.raw().await, stage.raw().await);
    for session in [&mut third, &mut fourth] {
        session.ok("BEGIN").await;
        assert_eq!(session.value("SELECT LASTVAL(s)").await, None, "another session's");
    }
}
