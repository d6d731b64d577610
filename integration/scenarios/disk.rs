//! Servers whose disk is full. Each has a small filesystem of its own, which only root may mount: others skip these, and say so.

use std::path::Path;

use crate::harness::{Outcome, RawClient, Rules, Scenario, Stage, until, within};

both_dialects! {
    what_a_primary_without_space_has_acknowledged_is_kept,
    a_replica_without_space_gets_no_reads,
}

const ROW: usize = 200 << 10;

/// `None` where nobody may mount.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
async fn stage(scenario: Scenario) -> Option<Stage> {
    // The owner of a process' directory is who it runs as.
    if std::os::unix::fs::MetadataExt::uid(&Path::new("/proc/self").metadata().expect("it runs")) != 0 {
        println!("skipped: only root may mount the small filesystems that this needs");
        return None;
    }
    let log = match scenario.is_mysql() {
        true => "all:innodb-redo-log-capacity=16M",
        false => "all:innodb-log-file-size=16M",
    };
    let rules = Rules { reads: "consistency: session".into(), ..Rules::default() };
    let stage = scenario.own_stage_with(1, rules, &["--disk", "300", "--opt", log]).await;
    stage.given(&["CREATE TABLE t (id BIGINT PRIMARY KEY, v LONGBLOB)"]).await;
    Some(stage)
}

async fn write(client: &mut RawClient, id: u64) -> Outcome {
    let sql = format!("INSERT INTO t VALUES ({id}, REPEAT('x', {ROW}))");
    client.send_query(sql).await;
    within("the write's answer", client.outcomes()).await.remove(0)
}

async fn ids(client: &mut RawClient) -> Option<String> {
    client.value("SELECT GROUP_CONCAT(id ORDER BY id) FROM t").await
}

async fn what_a_primary_without_space_has_acknowledged_is_kept(scenario: Scenario) {
    let Some(mut stage) = stage(scenario).await else { return };
    let mut client = stage.raw().await;
    assert!(matches!(write(&mut client, 1).await, Outcome::Ok(_)));
    stage.cluster.caught_up().await;
    stage.cluster.tell("fill", 0);
    let mut acknowledged = vec!["1".to_owned()];
    let failure = loop {
        let id = acknowledged.len() as u64 + 1;
        match write(&mut client, id).await {
            Outcome::Ok(_) => acknowledged.push(id.to_string()),
            other => break other,
        }
    };
    let Outcome::Err(failure) = failure else { panic!("{failure:?}") };
    let wanted = Some(acknowledged.join(","));
    until("others read what was acknowledged", || async {
        let mut reader = stage.raw().await;
        ids(&mut reader).await == wanted
    })
    .await;
    stage.cluster.tell("free", 0);
    // MySQL refuses the statement; MariaDB, which finds no space for its redo log, ends itself.
    if scenario.is_mysql() {
        assert_eq!(failure.code, 1114, "{failure}");
    } else {
        assert_eq!(failure.code, 1158, "{failure}");
        client = stage.raw().await;
        stage.cluster.tell("start", 0);
    }
    assert!(matches!(write(&mut client, 1000).await, Outcome::Ok(_)), "it waits for the primary");
    acknowledged.push("1000".into());
    assert_eq!(ids(&mut client).await, Some(acknowledged.join(",")));
}

async fn a_replica_without_space_gets_no_reads(scenario: Scenario) {
    let Some(mut stage) = stage(scenario).await else { return };
    let mut client = stage.raw().await;
    stage.cluster.tell("fill", 1);
    for id in 1..=5 {
        assert!(matches!(write(&mut client, id).await, Outcome::Ok(_)));
        let wanted: Vec<_> = (1..=id).map(|id| id.to_string()).collect();
        assert_eq!(ids(&mut client).await, Some(wanted.join(",")));
    }
    until("it takes no reads", || async { stage.proxy.get("/readyz").await.contains("take reads: 0") }).await;
}
