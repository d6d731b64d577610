//! `global` and `bounded`: what others have written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use tokio::sync::Mutex;

use crate::consistency::read;
use crate::harness::{RawClient, Rules, Scenario, Stage, until};

both_dialects! {
    global_sees_every_write_that_was_acknowledged,
    bounded_reads_where_the_bound_is_kept,
    a_hint_chooses_for_one_statement,
    without_a_primary_nobody_knows,
}

const NEWEST: &str = "SELECT MAX(n) FROM t";

async fn stage(scenario: Scenario, replicas: usize, reads: &str) -> Stage {
    let rules = Rules { reads: reads.into(), ..Rules::pool("{primary_wait: 500ms}") };
    let stage = scenario.own_stage(replicas, rules).await;
    stage.given(&["CREATE TABLE t (n BIGINT PRIMARY KEY)", "INSERT INTO t VALUES (0)"]).await;
    stage
}

/// Prints what share of the reads the replicas served.
#[expect(clippy::print_stdout, reason = "the share is a figure to be read")]
async fn global_sees_every_write_that_was_acknowledged(scenario: Scenario) {
    let stage = stage(scenario, 2, "consistency: global").await;
    // Who writes does not come through Tidegate.
    let (written, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writing = {
        let (mut root, schema) = (stage.cluster.root(0).await, stage.schema.clone());
        let (written, ended) = (Arc::clone(&written), Arc::clone(&ended));
        tokio::spawn(async move {
            let mut next = 1;
            while !ended.load(Relaxed) {
                root.query_drop(format!("INSERT INTO {schema}.t VALUES ({next})")).await.expect("a row");
                written.store(next, Relaxed);
                next += 1;
            }
        })
    };
    let reading = async || {
        let mut client = stage.raw().await;
        let mut served = [0u32; 3];
        for number in 0..100 {
            let before = written.load(Relaxed);
            if number % 4 == 0 {
                client.ok("START TRANSACTION READ ONLY").await;
            }
            let (seen, place) = read(&stage, &mut client, NEWEST).await;
            assert!(seen >= before, "{seen} from server {place}, after {before} was written");
            if number % 4 == 0 {
                client.ok("COMMIT").await;
            }
            served[place] += 1;
        }
        served
    };
    let (one, two, three) = tokio::join!(reading(), reading(), reading());
    let served = [0, 1, 2].map(|place: usize| one[place] + two[place] + three[place]);
    ended.store(true, Relaxed);
    writing.await.expect("all was written");
    println!(
        "{:?}: {} written meanwhile, reads by server {served:?}",
        scenario.dialect,
        written.load(Relaxed)
    );
    assert!(served[1] + served[2] > 0, "replicas serve some: {served:?}");
}

async fn bounded_reads_where_the_bound_is_kept(scenario: Scenario) {
    let stage = stage(scenario, 1, "consistency: bounded(1h)").await;
    let (mut writer, mut client) = (stage.raw().await, stage.raw().await);
    let mut strict = stage.raw().await;
    strict.ok("SET tidegate_consistency = 'bounded(1s)'").await;
    for one in [&mut client, &mut strict] {
        assert_eq!(read(&stage, one, NEWEST).await, (0, 1), "what is old enough is there");
    }
    let mut root = stage.cluster.root(1).await;
    root.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("root may lock");
    writer.ok("INSERT INTO t VALUES (1)").await;
    let acknowledged = Instant::now();
    let strict = Mutex::new(strict);
    until("the bound has passed", || async {
        let asked = Instant::now();
        let seen = read(&stage, &mut *strict.lock().await, NEWEST).await;
        assert!(seen == (1, 0) || asked - acknowledged < Duration::from_secs(1), "{seen:?} is too old");
        seen == (1, 0)
    })
    .await;
    assert_eq!(read(&stage, &mut client, NEWEST).await, (0, 1), "an hour has not passed");
    root.query_drop("UNLOCK TABLES").await.expect("it was locked");
}

async fn a_hint_chooses_for_one_statement(scenario: Scenario) {
    let stage = stage(scenario, 1, "consistency: eventual").await;
    let mut root = stage.cluster.root(1).await;
    root.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("root may lock");
    let (mut writer, mut client, mut other) = (stage.raw().await, stage.raw().await, stage.raw().await);
    let hinted = |hint: &str| format!("/* tidegate: {hint} */ {NEWEST}");
    let newest = async |client: &mut RawClient, hint| client.value(hinted(hint)).await.expect("a number");
    assert_eq!(newest(&mut other, "bounded(1h)").await, "0");
    writer.ok("INSERT INTO t VALUES (1)").await;
    for _ in 0..2 {
        assert_eq!(newest(&mut client, "global").await, "1");
        assert_eq!(newest(&mut client, "eventual").await, "0");
        assert_eq!(newest(&mut other, "bounded(1h)").await, "0");
        assert_eq!(newest(&mut client, "bounded(1h)").await, "1", "not back behind what it has read");
        assert_eq!(client.value(NEWEST).await.expect("a number"), "0");
    }
    let prepared = client.prepare(hinted("global")).await.expect("it can be prepared");
    let rows = client.execute(prepared, &[]).await.rows().bytes().len();
    assert_eq!(rows, 1);
    assert_eq!(newest(&mut writer, "session").await, "1");
    assert_eq!(newest(&mut writer, "eventual").await, "0");
    root.query_drop("UNLOCK TABLES").await.expect("it was locked");
}

async fn without_a_primary_nobody_knows(scenario: Scenario) {
    let mut stage = stage(scenario, 1, "consistency: global").await;
    let (mut client, mut unbound) = (stage.raw().await, stage.raw().await);
    assert_eq!(client.value(NEWEST).await.expect("a number"), "0");
    stage.cluster.tell("kill", 0);
    until("it is seen down", || async { stage.proxy.get("/readyz").await.contains("no primary") }).await;
    let error = client.error(NEWEST).await;
    assert_eq!(error.code, 1429, "{error}");
    // The first has perhaps read at the primary, and nobody can say any more that a replica has all of that.
    assert_eq!(unbound.value(format!("/* tidegate: session */ {NEWEST}")).await.expect("a number"), "0");
}
