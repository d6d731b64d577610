//! wait_timeout and interactive_timeout: idle clients are disconnected as a server would, and no statement meets a
//! server connection that its server is closing.

use mysql_async::prelude::Queryable;
use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::err::ErrPacket;

use crate::harness::{Login, RawClient, Rules, Scenario};

both_dialects! {
    a_client_that_is_idle_for_too_long_is_disconnected,
    clients_of_each_kind_have_their_servers_limit,
}

/// Waits for the end of an idle client's connection, and checks what comes before it.
async fn ends_as_on_a_server(client: &mut RawClient, scenario: Scenario) {
    client.expect_any_number();
    let last = client.next().await;
    if scenario.is_mysql() {
        let error = ErrPacket::decode(&last.expect("MySQL says why")).expect("an error");
        assert_eq!((error.code, &error.sqlstate), (4031, b"HY000"));
        client.closed().await;
    } else {
        assert_eq!(last, None, "MariaDB says nothing");
    }
}

async fn a_client_that_is_idle_for_too_long_is_disconnected(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let mut patient = stage.raw().await;
    patient.value("SELECT 7").await.unwrap();
    let mut clients = [stage.raw().await, stage.raw().await];
    for (client, in_transaction) in clients.iter_mut().zip([false, true]) {
        client.ok("SET SESSION wait_timeout = 2").await;
        if in_transaction {
            client.ok("BEGIN").await;
            client.ok("INSERT INTO t VALUES (1)").await;
        }
    }
    for client in &mut clients {
        ends_as_on_a_server(client, scenario).await;
    }
    // A client that says something once in a while is not idle.
    let mut busy = stage.raw().await;
    busy.ok("SET SESSION wait_timeout = 2").await;
    for _ in 0..4 {
        busy.value("SELECT SLEEP(1)").await.unwrap();
    }
    assert_eq!(busy.value("SELECT @@wait_timeout").await.unwrap(), "2");
    assert_eq!(patient.value("SELECT COUNT(*) FROM t").await.unwrap(), "0", "what was open was rolled back");
    // The limit goes with the session's state.
    busy.command(0x1f, b"").await;
    busy.read().await;
    assert_eq!(busy.value("SELECT @@wait_timeout > 2").await.unwrap(), "1");
}

async fn clients_of_each_kind_have_their_servers_limit(scenario: Scenario) {
    let options = ["--opt", "c:wait-timeout=4", "--opt", "c:interactive-timeout=600"];
    let stage = scenario.own_stage_with(0, Rules::default(), &options).await;
    let mut interactive = stage.raw_with(Login::with(Capabilities::INTERACTIVE)).await;
    let mut plain = stage.raw().await;
    for client in [&mut interactive, &mut plain] {
        client.value("SELECT 7").await.unwrap();
    }
    // Before the server closes what lies in the pool, Tidegate does.
    let aborted = async || {
        let mut root = stage.cluster.root(0).await;
        let row: Option<(String, u64)> =
            root.query_first("SHOW GLOBAL STATUS LIKE 'Aborted_clients'").await.expect("an answer");
        root.disconnect().await.expect("a goodbye, or it would be counted itself");
        row.expect("a row").1
    };
    let before = aborted().await;
    stage.proxy.until_metric("tidegate_pool_open", &[], |open| open == 1).await;
    assert_eq!(aborted().await, before, "the server has closed none");
    ends_as_on_a_server(&mut plain, scenario).await;
    assert_eq!(interactive.value("SELECT 7").await.unwrap(), "7");
}
