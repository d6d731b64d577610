//! COMMIT and ROLLBACK where nothing is open, as pools of connections send them for each connection that comes back.

use tidegate::wire::ok::Status;

use crate::harness::{Login, Rules, Scenario};

both_dialects! {
    the_end_of_nothing_waits_for_no_server,
    an_end_that_begins_the_next_goes_to_the_server,
    an_end_with_release_is_the_sessions,
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

/// Servers answer, then close the connection.
async fn an_end_with_release_is_the_sessions(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    for (place, before, end) in [
        (1, "BEGIN", "COMMIT RELEASE"),
        (2, "CREATE TEMPORARY TABLE own (a INT)", "ROLLBACK AND NO CHAIN RELEASE"),
        (3, "SET completion_type='RELEASE'", "COMMIT"),
        (4, "SET completion_type=2", "SELECT 1; ROLLBACK"),
        (5, "DO 0", "COMMIT RELEASE"),
    ] {
        for through in [false, true] {
            let mut client = match through {
                true => stage.raw().await,
                false => stage.direct(Login::default()).await,
            };
            client.ok(before).await;
            client.ok(format!("REPLACE INTO t VALUES ({place})")).await;
            client.query(end).await.pop().unwrap().ok();
            client.closed().await;
        }
    }
    let mut client = stage.raw().await;
    client.ok("SET completion_type='RELEASE'").await;
    client.ok("COMMIT NO RELEASE").await;
    assert_eq!(
        client.value("/* tidegate: primary */ SELECT GROUP_CONCAT(id ORDER BY id) FROM t").await.unwrap(),
        "1,2,3,4,5"
    );
    let end = client.prepare("ROLLBACK RELEASE").await.unwrap();
    client.execute(end, &[]).await.ok();
    client.closed().await;
}
