//! COMMIT and ROLLBACK where nothing is open, as pools of connections send them for each connection that comes back.

use tidegate::wire::ok::Status;

use crate::harness::{Login, Rules, Scenario};

both_dialects! {
    the_end_of_nothing_waits_for_no_server,
    an_end_that_begins_the_next_goes_to_the_server,
}

async fn the_end_of_nothing_waits_for_no_server(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 1, queue_timeout: 2s}")).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let (mut holder, mut client) = (stage.raw().await, stage.raw().await);
    client.ok("SET autocommit=0").await;
    client.ok("INSERT INTO t VALUES (1), (2)").await;
    client.ok("COMMIT").await;
    holder.ok("BEGIN").await;
    assert_eq!(holder.value("SELECT COUNT(*) FROM t").await.unwrap(), "2");
    for end in ["ROLLBACK", "commit;", "COMMIT"] {
        let told = client.ok(end).await;
        assert!(!told.status.intersects(Status::IN_TRANSACTION | Status::AUTOCOMMIT), "{end}: {told:?}");
    }
    assert_eq!(client.value("SELECT ROW_COUNT()").await.unwrap(), "0");
    assert_eq!(client.error("/* tidegate: primary */ SELECT 7").await.code, 1040, "the connection is taken");
    holder.ok("ROLLBACK").await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.unwrap(), "2");
    client.ok("DELETE FROM t").await;
    client.ok("ROLLBACK").await;
    assert_eq!(
        client.value("SELECT COUNT(*) FROM t").await.unwrap(),
        "2",
        "a transaction that is open is ended"
    );
}

async fn an_end_that_begins_the_next_goes_to_the_server(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut direct = stage.direct(Login::default()).await;
    let mut client = stage.raw().await;
    for each in [&mut direct, &mut client] {
        each.ok("SET completion_type=CHAIN").await;
        assert!(each.ok("COMMIT").await.status.contains(Status::IN_TRANSACTION));
        each.ok("SET completion_type=DEFAULT").await;
        assert!(!each.ok("ROLLBACK").await.status.contains(Status::IN_TRANSACTION));
        assert!(each.ok("ROLLBACK AND CHAIN").await.status.contains(Status::IN_TRANSACTION));
    }
}
