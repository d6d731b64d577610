//! SIGTERM: open transactions may finish, nobody new comes in, then it ends.

use tokio::net::TcpStream;

use crate::harness::{Rules, Scenario, until};

both_dialects! {
    open_transactions_finish,
    transactions_past_the_time_limit_end,
}

async fn open_transactions_finish(scenario: Scenario) {
    let mut stage = scenario.stage_with(Rules { drain: "{timeout: 20s}".into(), ..Rules::default() }).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let (mut client, mut idle) = (stage.raw().await, stage.raw().await);
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t VALUES (1)").await;
    stage.proxy.terminate();
    let address = stage.proxy.address;
    until("nobody new is let in", || async move { TcpStream::connect(address).await.is_err() }).await;
    idle.end().await;
    client.ok("INSERT INTO t VALUES (2)").await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.unwrap(), "2");
    assert!(!stage.proxy.has_ended(), "a transaction is open");
    client.ok("COMMIT").await;
    client.end().await;
    assert!(stage.proxy.ends_clean());
    let mut root = stage.cluster.root(0).await;
    let sql = format!("SELECT COUNT(*) FROM {}.t", stage.schema);
    let count: Option<u64> = mysql_async::prelude::Queryable::query_first(&mut root, sql).await.unwrap();
    assert_eq!(count, Some(2));
}

async fn transactions_past_the_time_limit_end(scenario: Scenario) {
    let mut stage = scenario.stage_with(Rules { drain: "{timeout: 300ms}".into(), ..Rules::default() }).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let (mut client, mut busy) = (stage.raw().await, stage.raw().await);
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t VALUES (1)").await;
    busy.send_query("SELECT SLEEP(600)").await;
    stage.proxy.terminate();
    client.end().await;
    busy.end().await;
    assert!(stage.proxy.ends_clean());
    let mut root = stage.cluster.root(0).await;
    let sql = format!("SELECT COUNT(*) FROM {}.t FOR UPDATE", stage.schema);
    let count: Option<u64> = mysql_async::prelude::Queryable::query_first(&mut root, sql).await.unwrap();
    assert_eq!(count, Some(0), "rolled back");
}
