//! What must hold around a promotion when more goes wrong than that: servers that hang and come back, Tidegates that are restarted,
//! replicas that were left out. Each scenario has servers of its own.

use std::process::Command;

use mysql_async::prelude::Queryable;

use crate::console::operator;
use crate::failover::{is_writable, primary, receive, replaced, rules, stage, until_follows, until_rows};
use crate::harness::{Cluster, Outcome, Proxy, RawClient, Rules, Scenario, Stage, until};

both_dialects! {
    what_a_hanging_primary_acknowledges_after_its_replacement_reaches_nobody,
    an_earlier_primary_that_comes_back_as_the_next_dies_does_not_stop_the_third,
    a_primary_that_comes_back_during_its_replacement_gets_no_write_that_is_lost,
    a_replica_that_could_not_be_told_is_told_again,
    a_replica_that_was_left_out_follows_also_after_a_restart_of_tidegate,
    an_old_primary_that_comes_back_read_only_after_a_restart_of_tidegate_follows,
    a_replica_that_filters_is_not_promoted,
    a_session_whose_writes_were_lost_reads_from_replicas_again,
    a_primary_that_comes_back_without_its_data_is_replaced,
    a_replica_that_comes_back_without_its_data_is_kept_out,
    a_primary_with_another_server_id_is_the_same_server,
    what_was_done_is_counted,
}

/// Makes a replica notice that its source has gone silent, as it would by itself after `replica_net_timeout`.
async fn notice(stage: &Stage, scenario: Scenario, server: usize) {
    stage.cluster.run(server, &[receive(scenario, false), receive(scenario, true)]).await;
}

/// Crashes Tidegate and starts another in its place.
async fn restart(stage: &mut Stage) {
    stage.proxy.crash();
    stage.proxy = Proxy::start_unready(&stage.cluster, &rules()).await;
}

async fn what_a_hanging_primary_acknowledges_after_its_replacement_reaches_nobody(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let (mut inside, mut idle, mut writer) = (stage.raw().await, stage.raw().await, stage.raw().await);
    for (client, id) in [(&mut inside, 1), (&mut idle, 2)] {
        client.ok("BEGIN").await;
        client.ok(format!("INSERT INTO t VALUES ({id})")).await;
    }
    stage.cluster.caught_up().await;
    stage.cluster.tell("pause", 0);
    inside.send_query("COMMIT").await;
    for server in [1, 2] {
        notice(&stage, scenario, server).await;
    }
    writer.ok("INSERT INTO t VALUES (3)").await;
    let next = primary(&stage).await;
    assert_ne!(next, 0);
    // It waits no longer, though the old primary has said nothing yet.
    let ended = inside.outcomes().await.remove(0);
    assert!(matches!(&ended, Outcome::Err(lost) if lost.code == 1158), "{ended:?}");
    stage.cluster.tell("resume", 0);
    let lost = idle.error("COMMIT").await;
    assert_eq!(lost.code, 1158, "{lost}");
    assert_eq!(writer.value("/* tidegate: primary */ SELECT GROUP_CONCAT(id) FROM t").await.unwrap(), "3");
    stage.proxy.until_logged("fenced: a second writable server").await;
}

async fn a_primary_that_comes_back_during_its_replacement_gets_no_write_that_is_lost(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let (mut client, mut writer) = (stage.raw().await, stage.raw().await);
    // The replicas receive, and cannot apply.
    let mut lockers = vec![stage.cluster.root(1).await, stage.cluster.root(2).await];
    for locker in &mut lockers {
        locker.query_drop(format!("LOCK TABLES {}.t READ", stage.schema)).await.unwrap();
    }
    client.ok("INSERT INTO t VALUES (1)").await;
    for server in [1, 2] {
        until_it_cannot_apply(&stage, server).await;
    }
    stage.cluster.tell("kill", 0);
    stage.proxy.until_logged("it takes the primary's place once it has applied what it has received").await;
    stage.cluster.tell("start", 0);
    let label = format!(":{}\"", stage.cluster.servers[0].port);
    stage.proxy.until_metric("tidegate_server_up", &[&label], |value| value == 1).await;
    let writing = tokio::spawn(async move { writer.ok("INSERT INTO t VALUES (2)").await });
    stage.proxy.until_metric("tidegate_server_role", &[&label, "rival"], |value| value == 1).await;
    for mut locker in lockers {
        locker.query_drop("UNLOCK TABLES").await.unwrap();
    }
    writing.await.expect("it was held, and is run");
    stage.proxy.until_logged("answers, it is not gone").await;
    assert_eq!(primary(&stage).await, 0);
    assert!(is_writable(&stage, 0).await && !is_writable(&stage, 1).await && !is_writable(&stage, 2).await);
    for server in 0..3 {
        until_rows(&stage, server, 2).await;
    }
}

async fn an_earlier_primary_that_comes_back_as_the_next_dies_does_not_stop_the_third(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let (mut client, next) = replaced(&mut stage).await;
    let third = 3 - next;
    until_follows(&stage, third, next).await;
    until_rows(&stage, third, 2).await;
    stage.cluster.tell("kill", next);
    // Writable, as it starts; and nobody is there whom it could follow.
    stage.cluster.tell("start", 0);
    client.ok("INSERT INTO t VALUES (3)").await;
    assert_eq!(primary(&stage).await, third);
    until_follows(&stage, 0, third).await;
    until_rows(&stage, 0, 3).await;
}

async fn a_replica_that_could_not_be_told_is_told_again(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let mut client = stage.raw().await;
    // It receives and cannot apply; nor does it stop following, before that is over.
    let mut locker = stage.cluster.root(2).await;
    locker.query_drop(format!("LOCK TABLES {}.t READ", stage.schema)).await.unwrap();
    client.ok("INSERT INTO t VALUES (1)").await;
    until_it_cannot_apply(&stage, 2).await;
    until_rows(&stage, 1, 1).await;
    stage.cluster.tell("kill", 0);
    client.ok("INSERT INTO t VALUES (2)").await;
    assert_eq!(primary(&stage).await, 1);
    stage.proxy.until_logged("a server does not follow the new primary yet").await;
    locker.query_drop("UNLOCK TABLES").await.unwrap();
    until_follows(&stage, 2, 1).await;
    until_rows(&stage, 2, 2).await;
}

async fn until_it_cannot_apply(stage: &Stage, server: usize) {
    let waiting =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table%lock'";
    stage.cluster.until_number(server, "it cannot apply", waiting, |threads| threads > 0).await;
}

async fn a_replica_that_was_left_out_follows_also_after_a_restart_of_tidegate(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.caught_up().await;
    // Nobody can tell it whom to follow: it does not answer while another is promoted, and Tidegate ends before it does.
    stage.cluster.tell("pause", 2);
    stage.cluster.run(1, &["SELECT 1"]).await;
    stage.proxy.crash();
    stage.cluster.tell("kill", 0);
    let promote = match scenario.is_mysql() {
        true => ["STOP REPLICA", "SET GLOBAL read_only = OFF", "RESET REPLICA ALL"],
        false => ["STOP SLAVE", "SET GLOBAL read_only = OFF", "RESET SLAVE ALL"],
    };
    stage.cluster.run(1, &promote).await;
    stage.cluster.tell("resume", 2);
    stage.proxy = Proxy::start_unready(&stage.cluster, &rules()).await;
    until_follows(&stage, 2, 1).await;
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (2)").await;
    until_rows(&stage, 2, 2).await;
    // The same with a primary that is known.
    let follow_nobody = match scenario.is_mysql() {
        true => ["STOP REPLICA", "RESET REPLICA ALL"],
        false => ["STOP SLAVE", "RESET SLAVE ALL"],
    };
    stage.cluster.tell("start", 0);
    until_follows(&stage, 0, 1).await;
    stage.cluster.run(2, &follow_nobody).await;
    until_follows(&stage, 2, 1).await;
}

async fn an_old_primary_that_comes_back_read_only_after_a_restart_of_tidegate_follows(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let (_client, next) = replaced(&mut stage).await;
    until_follows(&stage, 3 - next, next).await;
    restart(&mut stage).await;
    stage.cluster.tell("start-read-only", 0);
    until_follows(&stage, 0, next).await;
    until_rows(&stage, 0, 2).await;
}

async fn a_replica_that_filters_is_not_promoted(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let mut client = stage.raw().await;
    let filter: &[&str] = match scenario.is_mysql() {
        true => &[
            "STOP REPLICA SQL_THREAD",
            "CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (elsewhere)",
            "START REPLICA SQL_THREAD",
        ],
        false => &["STOP SLAVE", "SET GLOBAL replicate_ignore_db = 'elsewhere'", "START SLAVE"],
    };
    stage.cluster.run(1, filter).await;
    client.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.caught_up().await;
    stage.cluster.tell("kill", 0);
    client.ok("INSERT INTO t VALUES (2)").await;
    assert_eq!(primary(&stage).await, 2);
    stage.proxy.until_logged("it leaves out some of what it receives").await;
}

async fn a_session_whose_writes_were_lost_reads_from_replicas_again(scenario: Scenario) {
    let rules = Rules { reads: "consistency: session, wait: 200ms".into(), ..rules() };
    let mut stage = scenario.own_stage(2, rules).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    stage.proxy.until_logged("Tidegate promotes a replica").await;
    let mut client = stage.raw().await;
    for server in [1, 2] {
        stage.cluster.run(server, &[receive(scenario, false)]).await;
    }
    // More than the next primary writes for some time: where numbers alone count, they are not reached soon.
    for id in 100..150 {
        client.ok(format!("INSERT INTO t VALUES ({id})")).await;
    }
    stage.cluster.tell("kill", 0);
    for server in [1, 2] {
        stage.cluster.run(server, &[receive(scenario, true)]).await;
    }
    let next = primary(&stage).await;
    until_follows(&stage, 3 - next, next).await;
    let other = 3 - next;
    let client = tokio::sync::Mutex::new(client);
    until("its reads use the replica", || async {
        let answer = client.lock().await.value("SELECT id FROM which").await.expect("a row");
        stage.place(answer.parse().expect("an id")) == other
    })
    .await;
}

/// A server that was never used, and has ended.
fn unused(scenario: Scenario) -> Cluster {
    let mut unused = Cluster::own(scenario.dialect, 0);
    unused.tell("stop", 0);
    unused
}

/// Kills a server, and starts it with the data of one that was never used, before Tidegate has missed it.
fn empty(stage: &mut Stage, server: usize, unused: &Cluster) {
    let signal = |name: &str| {
        let done = Command::new("kill").args([name, &stage.proxy.pid.to_string()]).status();
        assert!(done.expect("kill is there").success());
    };
    signal("-STOP");
    stage.cluster.tell("kill", server);
    let (from, to) = (&unused.servers[0].datadir, &stage.cluster.servers[server].datadir);
    std::fs::remove_dir_all(to).expect("it has ended");
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp is there");
    assert!(copied.success());
    stage.cluster.tell("start", server);
    signal("-CONT");
}

async fn a_primary_that_comes_back_without_its_data_is_replaced(scenario: Scenario) {
    let unused = unused(scenario);
    let mut stage = stage(scenario).await;
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.caught_up().await;
    empty(&mut stage, 0, &unused);
    // Up to the next probe it may be asked, and says that it has no such database.
    let client = tokio::sync::Mutex::new(client);
    until("a write is taken", || async {
        let mut client = client.lock().await;
        client.send_query("INSERT INTO t VALUES (2)").await;
        matches!(client.outcomes().await.first(), Some(Outcome::Ok(_)))
    })
    .await;
    let next = primary(&stage).await;
    assert_ne!(next, 0);
    stage.proxy.until_logged("the primary has come back without what its replicas have").await;
    until_follows(&stage, 3 - next, next).await;
    until_rows(&stage, 3 - next, 2).await;
    assert!(!is_writable(&stage, 0).await);
    until_left_out(&stage, 0, "it has come back without %").await;
}

async fn a_replica_that_comes_back_without_its_data_is_kept_out(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.caught_up().await;
    empty(&mut stage, 2, &unused(scenario));
    stage.proxy.until_logged("it is kept out").await;
    assert!(!is_writable(&stage, 2).await);
    until_left_out(&stage, 2, "it has come back without %").await;
    client.ok("INSERT INTO t VALUES (2)").await;
    assert_eq!(primary(&stage).await, 0);
}

async fn a_primary_with_another_server_id_is_the_same_server(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.run(0, &["SET GLOBAL server_id = 4711"]).await;
    client.ok("INSERT INTO t VALUES (2)").await;
    stage.cluster.caught_up().await;
    stage.cluster.tell("kill", 0);
    client.ok("INSERT INTO t VALUES (3)").await;
    let next = primary(&stage).await;
    assert_ne!(next, 0);
    // Here the id changes again: to that of its configuration.
    stage.cluster.tell("start", 0);
    until_follows(&stage, 0, next).await;
    until_rows(&stage, 0, 3).await;
}

/// Waits until SHOW SERVERS gives this reason for a server.
async fn until_left_out(stage: &Stage, server: usize, why: &str) {
    let console = RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in");
    let (console, port) = (tokio::sync::Mutex::new(console), stage.cluster.servers[server].port);
    let sql = format!("SELECT COUNT(*) FROM servers WHERE server LIKE '%:{port}' AND left_out LIKE '{why}'");
    until(why, || async { console.lock().await.value(&sql).await.expect("a row") == "1" }).await;
}

async fn what_was_done_is_counted(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let act = |name: &str| format!("act=\"{name}\"");
    let mut console =
        RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in");
    let to = |server: usize| format!("SWITCHOVER TO '127.0.0.1:{}'", stage.cluster.servers[server].port);
    let (first, second) = (to(0), to(1));
    console.error(&first).await;
    stage.proxy.until_metric("tidegate_failover_refusals_total", &["reason=\"ordered\""], |n| n == 1).await;
    console.ok(&second).await;
    until_follows(&stage, 0, 1).await;
    console.ok(&first).await;
    let acts = "tidegate_failover_acts_total";
    stage.proxy.until_metric(acts, &[&act("switchover")], |n| n == 2).await;
    let last = "tidegate_failover_last_act_timestamp_seconds";
    stage.proxy.until_metric(last, &[&act("switchover")], |at| at > 1_600_000_000).await;
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;
    for server in [1, 2] {
        until_follows(&stage, server, 0).await;
        until_rows(&stage, server, 1).await;
    }
    stage.cluster.tell("kill", 0);
    client.ok("INSERT INTO t VALUES (2)").await;
    stage.proxy.until_metric(acts, &[&act("promotion")], |n| n == 1).await;
    assert_eq!(stage.proxy.metric(acts, &[&act("fencing")]).await, 0);
    let next = primary(&stage).await;
    stage.cluster.tell("start", 0);
    stage.proxy.until_metric(acts, &[&act("fencing")], |n| n == 1).await;
    until_follows(&stage, 0, next).await;
    // Two at each switchover, one at the promotion, and the one that came back.
    stage.proxy.until_metric(acts, &[&act("repointing")], |n| n == 6).await;
    assert!(!is_writable(&stage, 0).await);
}
