//! Members of a group, one like the other: MySQL's Group Replication, and Galera.

use std::time::{Duration, Instant};

use crate::harness::{Outcome, RawClient, Rules, Scenario, Stage, until};

both_dialects! {
    one_member_writes_and_all_that_are_in_step_read,
    another_member_takes_the_writes_of_one_that_is_killed,
}

const WHICH: &str = "SELECT id FROM which";

async fn place(stage: &Stage, client: &mut RawClient, sql: &str) -> usize {
    stage.place(client.value(sql).await.expect("an id").parse().expect("a number"))
}

/// Waits until this many members take reads beside the one that writes.
async fn until_readers(stage: &Stage, readers: usize) {
    let text = format!("a primary, replicas that take reads: {readers}");
    until("members take reads", || async { stage.proxy.get("/readyz").await.contains(&text) }).await;
}

/// Writes a row. A node of Galera that has just lost the others refuses it (1180, 1213): the client begins again, as at the node itself.
async fn write(client: &mut RawClient, id: u32) {
    let client = tokio::sync::Mutex::new(client);
    until("writes go on", || async {
        match client.lock().await.query(format!("INSERT INTO t VALUES ({id}, 0)")).await.pop() {
            Some(Outcome::Ok(_)) => true,
            Some(Outcome::Err(error)) if [1180, 1213].contains(&error.code) => false,
            other => panic!("{other:?}"),
        }
    })
    .await;
}

async fn one_member_writes_and_all_that_are_in_step_read(scenario: Scenario) {
    let rules = Rules { reads: "consistency: session".into(), ..Rules::pool("{primary_wait: 30s}") };
    let stage = scenario.group_stage(rules).await;
    until_readers(&stage, 2).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, server INT)"]).await;
    spread(&stage).await;
    own_writes(&stage).await;
    leave(scenario, &stage).await;
}

/// Where statements go that want nothing but an answer.
async fn spread(stage: &Stage) {
    let mut client = stage.raw().await;
    let mut read_at = [0; 3];
    for id in 0..20 {
        client.ok(format!("INSERT INTO t SELECT {id}, @@server_id")).await;
        read_at[place(stage, &mut client, "/* tidegate: eventual */ SELECT id FROM which").await] += 1;
    }
    assert!(read_at[0] == 0 && read_at[1] > 0 && read_at[2] > 0, "{read_at:?}");
    let writer = "SELECT MIN(server) FROM t WHERE server = (SELECT MAX(server) FROM t) FOR UPDATE";
    assert_eq!(place(stage, &mut client, writer).await, 0);
}

/// A session reads what it has written, and at other members once those are known to have it.
async fn own_writes(stage: &Stage) {
    let mut client = stage.raw().await;
    for id in 20..100 {
        client.ok(format!("INSERT INTO t VALUES ({id}, 0)")).await;
        assert_eq!(client.value("SELECT COUNT(*) FROM t").await.unwrap(), (id + 1).to_string());
    }
    let client = tokio::sync::Mutex::new(client);
    until("another member serves what the session has written", || async {
        place(stage, &mut *client.lock().await, WHICH).await != 0
    })
    .await;
    assert_eq!(client.lock().await.value("SELECT COUNT(*) FROM t").await.unwrap(), "100");
}

/// The member that writes is parted from the others: one of those takes its place, and it serves nothing until it is back.
async fn leave(scenario: Scenario, stage: &Stage) {
    let (leave, join) = if scenario.is_mysql() {
        ("STOP GROUP_REPLICATION", "START GROUP_REPLICATION")
    } else {
        (
            "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'",
            "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'",
        )
    };
    let mut client = stage.raw().await;
    stage.cluster.run(0, &[leave]).await;
    write(&mut client, 100).await;
    until_readers(stage, 1).await;
    for _ in 0..10 {
        assert_ne!(place(stage, &mut client, WHICH).await, 0);
    }
    stage.cluster.run(0, &[join]).await;
    until_readers(stage, 2).await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t FOR UPDATE").await.unwrap(), "101");
}

async fn another_member_takes_the_writes_of_one_that_is_killed(scenario: Scenario) {
    let mut stage = scenario.group_stage(Rules::pool("{primary_wait: 30s}")).await;
    until_readers(&stage, 2).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;

    stage.cluster.tell("kill", 0);
    let began = Instant::now();
    client.ok("INSERT INTO t VALUES (2)").await; // it was not sent yet, and waits for the group's choice
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(client.value("SELECT COUNT(*) FROM t FOR UPDATE").await.unwrap(), "2");
    until_readers(&stage, 1).await;

    stage.cluster.tell("start", 0);
    until_readers(&stage, 2).await;
    let writer = client.value("SELECT @@server_id FROM t WHERE id = 1 FOR UPDATE").await.unwrap();
    assert_ne!(stage.place(writer.parse().unwrap()), 0, "who comes back takes nothing over");
}
