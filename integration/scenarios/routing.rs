//! Where statements go, and what they see there.

use mysql_async::prelude::Queryable;

use crate::harness::{Rules, Scenario};

both_dialects! {
    t1_locking_reads_go_to_the_primary,
}

async fn t1_locking_reads_go_to_the_primary(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)"]).await;
    let mut client = stage.client().await;
    assert_ne!(stage.answers(&mut client, "SELECT id FROM which").await, 0);
    let _ = Rules::default();
    client.disconnect().await.unwrap();
}
