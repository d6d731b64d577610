//! Semi-synchronous replication where Tidegate promotes: a primary answers no commit that nobody else has, a replica waits for nobody,
//! and who cannot be shut out because its commits wait is shut out all the same. Each scenario has servers of its own.

use mysql_async::prelude::Queryable;

use crate::console::operator;
use crate::failover::{is_writable, primary, receive, replaced, rules, until_follows, until_rows};
use crate::harness::{Login, Outcome, Proxy, RawClient, Rules, Scenario, Stage, within};

both_dialects! {
    a_promoted_server_acknowledges_nothing_alone,
    a_primary_whose_commits_wait_is_shut_out_and_answers_nobody,
    who_hands_over_waits_for_nobody_any_more,
    a_switchover_that_is_taken_back_leaves_a_replica_that_applies,
    a_primary_that_was_restarted_waits_again,
    a_promotion_that_broke_off_leaves_replicas_that_receive_and_apply,
    a_candidate_that_was_left_waiting_is_promoted_all_the_same,
    what_the_account_lacks_for_it_is_told,
    a_session_is_not_taken_back_by_a_replica_that_lacks_what_nobody_was_acknowledged,
}

/// Names of the variables: the source's side, and its wait without replicas.
fn words(scenario: Scenario) -> (&'static str, &'static str) {
    match scenario.is_mysql() {
        true => ("rpl_semi_sync_source_enabled", "rpl_semi_sync_source_wait_no_replica"),
        false => ("rpl_semi_sync_master_enabled", "rpl_semi_sync_master_wait_no_slave"),
    }
}

/// Servers that acknowledge what they receive, of which the primary alone waits for that, for an hour.
async fn stage_with(scenario: Scenario, rules: Rules) -> Stage {
    let options: &[&str] = match scenario.is_mysql() {
        true => &[
            "--opt=c:plugin-load-add=semisync_source.so;semisync_replica.so",
            "--opt=c:rpl-semi-sync-replica-enabled=ON",
            "--opt=c:rpl-semi-sync-source-timeout=3600000",
        ],
        false => &[
            "--opt=c:rpl-semi-sync-slave-enabled=ON",
            "--opt=c:rpl-semi-sync-master-timeout=3600000",
            "--opt=c:rpl-semi-sync-master-wait-point=AFTER_SYNC",
        ],
    };
    let stage = scenario.own_stage_with(2, rules, options).await;
    let (enabled, alone) = words(scenario);
    stage.cluster.run(0, &[&format!("SET GLOBAL {alone} = ON, GLOBAL {enabled} = ON")]).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    stage.proxy.until_logged("Tidegate promotes a replica").await;
    stage
}

async fn stage(scenario: Scenario) -> Stage {
    stage_with(scenario, rules()).await
}

/// Whether a server waits for acknowledgements, and does so alone.
async fn waits(stage: &Stage, scenario: Scenario, server: usize) -> (bool, bool) {
    let (enabled, alone) = words(scenario);
    let sql = format!("SELECT @@global.{enabled}, @@global.{alone}");
    stage.cluster.root(server).await.query_first(sql).await.unwrap().expect("a row")
}

/// Waits until so many commits of a server wait for an acknowledgement.
async fn until_waiting(stage: &Stage, server: usize, wanted: u64) {
    let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'INSERT INTO%' AND command <> 'Killed' \
               AND (state LIKE 'Waiting for semi-sync%' OR state LIKE '%ommit')";
    stage.cluster.until_number(server, "commits wait", sql, |commits| commits == wanted).await;
}

async fn a_promoted_server_acknowledges_nothing_alone(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let (mut client, next) = replaced(&mut stage).await;
    let other = 3 - next;
    until_follows(&stage, other, next).await;
    assert_eq!(waits(&stage, scenario, next).await, (true, true));
    assert!(!waits(&stage, scenario, other).await.0);
    // It has lost its only replica: it says nothing.
    stage.cluster.run(other, &[receive(scenario, false)]).await;
    client.send_query("INSERT INTO t VALUES (3)").await;
    until_waiting(&stage, next, 1).await;
    stage.cluster.run(other, &[receive(scenario, true)]).await;
    let outcome = client.outcomes().await.remove(0);
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    stage.cluster.tell("start", 0);
    until_follows(&stage, 0, next).await;
    for server in [0, other] {
        until_rows(&stage, server, 3).await;
        assert!(!waits(&stage, scenario, server).await.0);
    }
}

async fn a_primary_whose_commits_wait_is_shut_out_and_answers_nobody(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.caught_up().await;
    for server in [1, 2] {
        stage.cluster.run(server, &[receive(scenario, false)]).await;
    }
    // As sessions of another Tidegate, which does not know yet that it is replaced.
    let mut others = Vec::new();
    for id in 10..18 {
        let mut other = stage.direct(Login::default()).await;
        other.send_query(format!("INSERT INTO t VALUES ({id})")).await;
        others.push(other);
    }
    until_waiting(&stage, 0, 8).await;
    let mut idle = stage.direct(Login::default()).await;
    idle.value("SELECT 1").await.expect("a row");
    stage.cluster.tell("pause", 0);
    for server in [1, 2] {
        stage.cluster.run(server, &[receive(scenario, true)]).await;
    }
    stage.proxy.until_metric("tidegate_failover_acts_total", &["act=\"promotion\""], |n| n == 1).await;
    client.ok("INSERT INTO t VALUES (2)").await;
    let next = primary(&stage).await;
    assert_ne!(next, 0);
    until_follows(&stage, 3 - next, next).await;
    stage.cluster.tell("resume", 0);
    stage.proxy.until_logged("clients were in the way of shutting it out").await;
    stage.proxy.until_logged("fenced: a second writable server").await;
    for mut other in others.into_iter().chain([idle]) {
        // Not a byte: an OK would be a promise that is broken already.
        assert_eq!(within("its connection is closed", other.read_to_end()).await, b"");
    }
    assert!(!is_writable(&stage, 0).await);
    assert!(!waits(&stage, scenario, 0).await.0);
    stage.proxy.until_logged("it has transactions that the primary lacks: it is kept out").await;
    client.ok("INSERT INTO t VALUES (3)").await;
    until_rows(&stage, 3 - next, 3).await;
}

async fn who_hands_over_waits_for_nobody_any_more(scenario: Scenario) {
    let stage = stage(scenario).await;
    let mut console =
        RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in");
    let mut client = stage.raw().await;
    for (done, to) in [1, 2, 0].into_iter().enumerate() {
        console.ok(format!("SWITCHOVER TO '127.0.0.1:{}'", stage.cluster.servers[to].port)).await;
        client.ok(format!("INSERT INTO t VALUES ({to})")).await;
        assert_eq!(waits(&stage, scenario, to).await, (true, true));
        for server in (0..3).filter(|server| *server != to) {
            until_follows(&stage, server, to).await;
            // One that waited would apply nothing.
            until_rows(&stage, server, done as u64 + 1).await;
            assert!(!waits(&stage, scenario, server).await.0);
        }
    }
}

async fn a_switchover_that_is_taken_back_leaves_a_replica_that_applies(scenario: Scenario) {
    let stage = stage(scenario).await;
    let mut console =
        RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in");
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;
    // It is made writable, and cannot forget whom it followed.
    if scenario.is_mysql() {
        stage.cluster.run(1, &["SET GLOBAL super_read_only = OFF"]).await; // root may write then
    }
    let unable = ["SET SESSION sql_log_bin = OFF", "REVOKE RELOAD ON *.* FROM failover@'%'"];
    stage.cluster.run(1, &unable).await;
    let order = format!("SWITCHOVER TO '127.0.0.1:{}'", stage.cluster.servers[1].port);
    let refused = console.error(&order).await;
    assert!(refused.to_string().contains("RELOAD"), "{refused}");
    assert_eq!(primary(&stage).await, 0);
    assert_eq!(waits(&stage, scenario, 0).await, (true, true));
    assert!(!waits(&stage, scenario, 1).await.0);
    client.ok("INSERT INTO t VALUES (2)").await;
    for server in [1, 2] {
        until_follows(&stage, server, 0).await;
        until_rows(&stage, server, 2).await;
    }
}

async fn a_primary_that_was_restarted_waits_again(scenario: Scenario) {
    let mut stage = stage_with(scenario, Rules { monitor: "failures: 100".into(), ..rules() }).await;
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.tell("kill", 0);
    stage.cluster.tell("start-read-only", 0);
    client.ok("INSERT INTO t VALUES (2)").await;
    assert_eq!(primary(&stage).await, 0);
    assert_eq!(waits(&stage, scenario, 0).await, (true, true));
    for server in [1, 2] {
        until_rows(&stage, server, 2).await;
    }
}

/// As a Tidegate leaves them that dies before it makes the first replica the primary, and is too slow to be missed: they were told to stop
/// receiving, and the candidate to wait for acknowledgements.
async fn leave_half_promoted(stage: &mut Stage, scenario: Scenario) {
    stage.proxy.crash();
    for server in [1, 2] {
        stage.cluster.run(server, &[receive(scenario, false)]).await;
    }
    let (enabled, alone) = words(scenario);
    stage.cluster.run(1, &[&format!("SET GLOBAL {alone} = ON, GLOBAL {enabled} = ON")]).await;
}

async fn a_promotion_that_broke_off_leaves_replicas_that_receive_and_apply(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    leave_half_promoted(&mut stage, scenario).await;
    stage.proxy = Proxy::start_unready(&stage.cluster, &rules()).await;
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;
    for server in [1, 2] {
        until_rows(&stage, server, 1).await;
        assert!(!waits(&stage, scenario, server).await.0);
    }
    assert_eq!(primary(&stage).await, 0);
    assert_eq!(waits(&stage, scenario, 0).await, (true, true));
}

async fn a_candidate_that_was_left_waiting_is_promoted_all_the_same(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    leave_half_promoted(&mut stage, scenario).await;
    // It receives what it cannot apply, and the other one does not.
    stage.cluster.run(1, &[receive(scenario, true)]).await;
    let mut direct = stage.direct(Login::default()).await;
    direct.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.tell("kill", 0);
    stage.proxy = Proxy::start_unready(&stage.cluster, &rules()).await;
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (2)").await;
    assert_eq!(primary(&stage).await, 1);
    until_rows(&stage, 2, 2).await;
    assert!(!waits(&stage, scenario, 2).await.0);
    assert!(!stage.proxy.has_logged("it has not applied what it needs"), "at the first attempt");
}

async fn what_the_account_lacks_for_it_is_told(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    stage.proxy.crash();
    stage.cluster.run(0, &["REVOKE PROCESS ON *.* FROM failover@'%'"]).await;
    let (_, alone) = words(scenario);
    stage.cluster.run(0, &[&format!("SET GLOBAL {alone} = OFF")]).await;
    stage.proxy = Proxy::start(&stage.cluster, &rules()).await;
    stage.proxy.until_logged("the account of `failover` lacks privileges").await;
    stage.proxy.until_logged("this primary answers commits that no replica has").await;
    assert!(stage.proxy.has_logged("PROCESS"));
}

async fn a_session_is_not_taken_back_by_a_replica_that_lacks_what_nobody_was_acknowledged(
    scenario: Scenario,
) {
    let rules = Rules { reads: "consistency: global, wait: 200ms".into(), ..rules() };
    let stage = stage_with(scenario, rules).await;
    // They receive, and acknowledge nothing.
    let acknowledges = match scenario.is_mysql() {
        true => "SET GLOBAL rpl_semi_sync_replica_enabled = OFF",
        false => "SET GLOBAL rpl_semi_sync_slave_enabled = OFF",
    };
    for server in [1, 2] {
        let again = [acknowledges, receive(scenario, false), receive(scenario, true)];
        stage.cluster.run(server, &again).await;
        until_follows(&stage, server, 0).await;
    }
    // The second one cannot apply.
    let mut locker = stage.cluster.root(2).await;
    locker.query_drop(format!("LOCK TABLES {}.t READ", stage.schema)).await.unwrap();
    let mut writer = stage.direct(Login::default()).await;
    writer.send_query("INSERT INTO t VALUES (1)").await;
    until_waiting(&stage, 0, 1).await;
    until_rows(&stage, 1, 1).await;
    let mut reader = stage.raw().await;
    let mut seen = 0;
    while seen == 0 {
        seen = count(&mut reader).await;
    }
    for _ in 0..150 {
        assert_eq!(count(&mut reader).await, 1, "it has seen the row");
    }
    locker.query_drop("UNLOCK TABLES").await.unwrap();
    let (enabled, _) = words(scenario);
    stage.cluster.run(0, &[&format!("SET GLOBAL {enabled} = OFF")]).await;
    let outcome = writer.outcomes().await.remove(0);
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
}

async fn count(reader: &mut RawClient) -> u64 {
    reader.value("SELECT COUNT(*) FROM t").await.expect("a row").parse().expect("a number")
}
