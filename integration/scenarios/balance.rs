//! `reads.balance` with real replicas.

use crate::harness::{RawClient, Rules, Scenario, Stage};

both_dialects! {
    round_robin_takes_turns,
    source_hash_keeps_a_client_where_it_is,
    least_connections_goes_to_who_has_fewer,
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
