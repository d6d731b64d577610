//! `reads.balance` with real replicas.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;

use crate::harness::{RawClient, Rules, Scenario, Stage, until, within};

both_dialects! {
    round_robin_takes_turns,
    source_hash_keeps_a_client_where_it_is,
    least_connections_goes_to_who_has_fewer,
    reads_turn_from_a_replica_that_hangs,
    a_replica_that_comes_back_begins_with_a_tenth,
    a_statement_and_a_database_choose_how_reads_spread,
    reads_that_spill_are_bounded,
    a_read_that_spills_waits_for_its_turn_or_a_replica,
}

async fn stage(scenario: Scenario, balance: &str) -> Stage {
    let reads = format!("consistency: eventual, balance: {balance}");
    scenario.stage_with(Rules { reads, top: "threads: 2".into(), ..Rules::default() }).await
}

async fn place(stage: &Stage, client: &mut RawClient) -> usize {
    stage.place(client.value("SELECT id FROM which").await.expect("an id").parse().expect("a number"))
}

async fn round_robin_takes_turns(scenario: Scenario) {
    let stage = stage(scenario, "round_robin").await;
    let mut client = stage.raw().await;
    let mut places = Vec::new();
    for _ in 0..8 {
        places.push(place(&stage, &mut client).await);
    }
    assert!(places.windows(2).all(|pair| pair[0] != pair[1] && pair[0] > 0), "{places:?}");
}

async fn source_hash_keeps_a_client_where_it_is(scenario: Scenario) {
    let stage = stage(scenario, "source_hash").await;
    let mut places = Vec::new();
    for _ in 0..4 {
        let mut client = stage.raw().await;
        for _ in 0..4 {
            places.push(place(&stage, &mut client).await);
        }
    }
    assert!(places[0] > 0 && places.iter().all(|place| *place == places[0]), "{places:?}");
}

async fn least_connections_goes_to_who_has_fewer(scenario: Scenario) {
    let stage = stage(scenario, "least_connections").await;
    let mut clients = Vec::new();
    let mut at = [0, 0, 0];
    for _ in 0..4 {
        let mut client = stage.raw().await;
        client.ok("START TRANSACTION READ ONLY").await;
        let place = place(&stage, &mut client).await;
        at[place] += 1;
        clients.push((client, place));
    }
    assert_eq!(at, [0, 2, 2]);
    for (client, _) in clients.iter_mut().filter(|(_, place)| *place == 1) {
        client.ok("COMMIT").await;
    }
    // A connection comes back after its client has the answer.
    let replica = format!(":{}\"", stage.cluster.servers[1].port);
    stage.proxy.until_metric("tidegate_pool_in_use", &[&replica], |used| used == 0).await;
    for _ in 0..2 {
        let mut client = stage.raw().await;
        client.ok("START TRANSACTION READ ONLY").await;
        assert_eq!(place(&stage, &mut client).await, 1);
        clients.push((client, 1));
    }
}

async fn reads_turn_from_a_replica_that_hangs(scenario: Scenario) {
    const READS: usize = 40;
    let rules = Rules { top: "threads: 2".into(), max_lag: "168h".into(), ..Rules::default() };
    let stage = scenario.own_stage(2, rules).await;
    stage.given(&["CREATE TABLE t (id INT)"]).await;
    let mut holder = stage.cluster.root(1).await;
    if scenario.is_mysql() {
        holder.query_drop("SET GLOBAL super_read_only = OFF").await.unwrap(); // or it locks nothing
    }
    holder.query_drop(format!("LOCK TABLES {}.t WRITE", stage.schema)).await.unwrap();
    let (mut reads, answered) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    let replica = format!(":{}\"", stage.cluster.servers[1].port);
    let labels = [&replica[..]];
    let hanging = || stage.proxy.metric("tidegate_pool_in_use", &labels);
    for number in 1..=READS {
        let (mut client, count) = (stage.raw().await, Arc::clone(&answered));
        reads.spawn(async move {
            assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("0"));
            count.fetch_add(1, SeqCst);
        });
        let ended = || async { answered.load(SeqCst) + hanging().await as usize >= number };
        until("the read is answered, or hangs", ended).await;
    }
    // By weight half of them would hang. So few in flight say nothing; then each further one goes elsewhere.
    let hang = hanging().await;
    assert!((1..=8).contains(&hang), "{hang} of {READS}");
    holder.query_drop("UNLOCK TABLES").await.unwrap();
    within("the lock is gone", reads.join_all()).await;
    assert_eq!(answered.load(SeqCst), READS);
}

/// A replica's part of the reads in the metrics, in thousandths.
async fn until_share(stage: &Stage, server: usize, wanted: impl Fn(f64) -> bool) {
    let label = format!(":{}\"}} ", stage.cluster.servers[server].port);
    until("the share is as wanted", || async {
        let metrics = stage.proxy.get("/metrics").await;
        let mut lines = metrics.lines().filter(|line| line.starts_with("tidegate_server_read_share{"));
        let share = lines.find_map(|line| line.split_once(&label)).expect("a share").1;
        wanted(share.parse().expect("a number"))
    })
    .await;
}

async fn a_replica_that_comes_back_begins_with_a_tenth(scenario: Scenario) {
    let rules = |slow_start: &str, draining: Vec<usize>| Rules {
        reads: format!("consistency: eventual, balance: random, slow_start: {slow_start}"),
        draining,
        ..Rules::default()
    };
    let stage = scenario.stage_with(rules("1h", vec![])).await;
    until_share(&stage, 1, |share| share == 0.5).await; // they were there before Tidegate
    stage.proxy.reload(&stage.cluster, &rules("1h", vec![1]));
    until_share(&stage, 1, |share| share == 0.0).await;
    stage.proxy.reload(&stage.cluster, &rules("1h", vec![]));
    until_share(&stage, 1, |share| (share - 0.1 / 1.1).abs() < 0.001).await;
    let mut client = stage.raw().await;
    let mut at = [0; 3];
    for _ in 0..200 {
        at[place(&stage, &mut client).await] += 1;
    }
    // 18 are due; six standard deviations are 24.
    assert!(at[0] == 0 && at[1] <= 42, "{at:?}");
    stage.proxy.reload(&stage.cluster, &rules("1s", vec![]));
    until_share(&stage, 1, |share| share == 0.5).await;
}

async fn a_statement_and_a_database_choose_how_reads_spread(scenario: Scenario) {
    let stage = stage(scenario, "source_hash").await;
    let mut client = stage.raw().await;
    let takes_turns = |places: &[usize]| places.windows(2).all(|pair| pair[0] != pair[1]);
    let mut places = Vec::new();
    for _ in 0..6 {
        let id = client.value("/* tidegate: eventual, balance=round_robin */ SELECT id FROM which").await;
        places.push(stage.place(id.expect("an id").parse().expect("a number")));
    }
    assert!(takes_turns(&places), "{places:?}");
    let home = place(&stage, &mut client).await;
    for _ in 0..4 {
        assert_eq!(place(&stage, &mut client).await, home);
    }
    let top = format!("threads: 2\ndatabases: {{{}: {{reads: {{balance: round_robin}}}}}}", stage.schema);
    let reads = "consistency: eventual, balance: source_hash".to_owned();
    stage.proxy.reload(&stage.cluster, &Rules { reads, top, ..Rules::default() });
    stage.proxy.until_logged("the rules were read again").await;
    let mut places = Vec::new();
    for _ in 0..6 {
        places.push(place(&stage, &mut client).await);
    }
    assert!(takes_turns(&places), "{places:?}");
    // In another database the cluster's own holds.
    client.ok("USE shop").await;
    let sql = format!("SELECT id FROM {}.which", stage.schema);
    for _ in 0..4 {
        let id = client.value(&sql).await.expect("an id");
        assert_eq!(stage.place(id.parse().expect("a number")), home);
    }
}

/// A stage whose replicas take no reads, of which the primary takes one at a time.
async fn spilling(scenario: Scenario, pool: &str) -> Stage {
    let rules = Rules {
        weights: vec![1, 0, 0],
        reads: "consistency: eventual, spill: 1".into(),
        ..Rules::pool(pool)
    };
    let stage = scenario.stage_with(rules).await;
    stage.given(&["CREATE TABLE t (id INT)", "CREATE TABLE free (id INT)"]).await;
    stage
}

async fn reads_that_spill_are_bounded(scenario: Scenario) {
    let stage = spilling(scenario, "{primary_wait: 300ms}").await;
    let mut reader = stage.raw().await;
    let mut client = stage.raw().await;
    // A read only transaction has its place until it ends.
    reader.ok("START TRANSACTION READ ONLY").await;
    assert_eq!(place(&stage, &mut reader).await, 0);
    let error = client.error("SELECT COUNT(*) FROM t").await;
    let message = String::from_utf8_lossy(&error.message).into_owned();
    assert_eq!((error.code, message.contains("reads.spill")), (1040, true), "{message}");
    // What belongs to the primary does not count.
    client.ok("INSERT INTO t VALUES (1)").await;
    assert_eq!(client.value("/* tidegate: primary */ SELECT COUNT(*) FROM t").await.as_deref(), Some("1"));
    client.ok("BEGIN").await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("1"));
    client.ok("COMMIT").await;
    reader.ok("COMMIT").await;
    for _ in 0..3 {
        assert_eq!(client.value("SELECT COUNT(*) FROM t").await.as_deref(), Some("1"));
    }
    stage.proxy.until_metric("tidegate_errors_total", &["overload"], |errors| errors == 1).await;
}

async fn a_read_that_spills_waits_for_its_turn_or_a_replica(scenario: Scenario) {
    let stage = spilling(scenario, "{primary_wait: 30s, queue: 1}").await;
    let mut reader = stage.raw().await;
    for replica_comes in [false, true] {
        reader.ok("START TRANSACTION READ ONLY").await;
        assert_eq!(place(&stage, &mut reader).await, 0);
        let mut waiting = stage.raw().await;
        let waiting = tokio::spawn(async move { waiting.value("SELECT COUNT(*) FROM free").await });
        let primary = format!(":{}\"", stage.cluster.servers[0].port);
        stage.proxy.until_metric("tidegate_pool_waiting", &[&primary], |waiting| waiting == 1).await;
        // The line has one place.
        let error = stage.raw().await.error("SELECT COUNT(*) FROM free").await;
        assert_eq!(error.code, 1040, "{error:?}");
        if replica_comes {
            let rules = Rules {
                reads: "consistency: eventual, spill: 1".into(),
                ..Rules::pool("{primary_wait: 30s, queue: 1}")
            };
            stage.proxy.reload(&stage.cluster, &rules);
        } else {
            reader.ok("COMMIT").await;
        }
        let answer = within("the read has its turn", waiting).await.unwrap();
        assert_eq!(answer.as_deref(), Some("0"));
    }
}
