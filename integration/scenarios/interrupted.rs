//! Changes of the primary that a Tidegate has begun and did not live to end: the next one finds them, or another instance. Each scenario has
//! servers of its own.

use mysql_async::prelude::Queryable;

use crate::console::operator;
use crate::failover::{is_writable, primary, rules, stage, until_follows, until_rows};
use crate::harness::{Login, Proxy, RawClient, Scenario, Stage};

both_dialects! {
    a_switchover_whose_tidegate_has_died_is_undone_by_the_next,
    a_switchover_whose_tidegate_has_died_is_undone_by_another_instance,
    a_candidate_that_was_made_writable_already_is_set_read_only_first,
    a_candidate_that_has_transactions_of_its_own_is_the_primary,
    a_candidate_that_follows_nobody_any_more_is_the_primary,
    a_replica_that_was_told_of_the_candidate_and_never_begun_follows,
    who_is_read_only_by_a_persons_word_takes_writes_again_by_an_order,
    who_is_read_only_by_a_persons_word_is_replaced_by_an_order,
    without_its_privileges_a_switchover_leaves_no_mark,
    a_mark_that_was_left_behind_is_removed,
}

/// Two instances, of which the first dies while it hands over: the primary is read only, and nobody else is writable yet. A
/// row is on the primary that the candidate, the second server, has received and not applied.
async fn broken_off(stage: &mut Stage) {
    let mut inside = stage.raw().await;
    inside.ok("BEGIN").await;
    inside.ok("INSERT INTO t VALUES (1)").await;
    let mut console =
        RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in");
    console.send_query(format!("SWITCHOVER TO '127.0.0.1:{}'", stage.cluster.servers[1].port)).await;
    stage.proxy.until_logged("switchover: new writes wait").await;
    // From now on the candidate cannot apply.
    let mut locker = stage.cluster.root(1).await;
    locker.query_drop(format!("LOCK TABLES {}.t READ", stage.schema)).await.unwrap();
    inside.ok("COMMIT").await;
    let read_only = "SELECT @@global.read_only";
    stage.cluster.until_number(0, "the primary is read only", read_only, |on| on == 1).await;
    stage.proxy.crash();
    locker.query_drop("UNLOCK TABLES").await.unwrap();
    assert!(!is_writable(stage, 0).await && !is_writable(stage, 1).await && !is_writable(stage, 2).await);
}

async fn start_again(stage: &mut Stage) {
    stage.proxy = Proxy::start_unready(&stage.cluster, &rules()).await;
}

/// A write is done, and the server at `wanted` alone is writable; the others follow it and have all of the two rows.
async fn until_writes_go_on(stage: &Stage, proxy: &Proxy, wanted: usize) {
    let login = Login { database: Some(stage.schema.clone()), ..Login::default() };
    let mut client = RawClient::login(proxy.address, &login).await.expect("the login works");
    client.ok("INSERT INTO t VALUES (2)").await;
    for server in 0..3 {
        assert_eq!(is_writable(stage, server).await, server == wanted, "server {server}");
        if server != wanted {
            until_follows(stage, server, wanted).await;
        }
        until_rows(stage, server, 2).await;
    }
}

/// The same of a cluster that has a mark, which is gone then.
async fn until_resumed(stage: &Stage, proxy: &Proxy, wanted: usize) {
    until_writes_go_on(stage, proxy, wanted).await;
    until_unmarked(stage, wanted).await;
}

async fn until_unmarked(stage: &Stage, server: usize) {
    let marks = "SELECT COUNT(*) FROM tidegate.switchover";
    stage.cluster.until_number(server, "there is no mark any more", marks, |marks| marks == 0).await;
}

async fn a_switchover_whose_tidegate_has_died_is_undone_by_the_next(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    broken_off(&mut stage).await;
    start_again(&mut stage).await;
    until_resumed(&stage, &stage.proxy, 0).await;
    stage.proxy.until_logged("a switchover did not come to its end: it is undone").await;
}

async fn a_switchover_whose_tidegate_has_died_is_undone_by_another_instance(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    let other = Proxy::start(&stage.cluster, &rules()).await;
    let login = Login { database: Some(stage.schema.clone()), ..Login::default() };
    let mut client = RawClient::login(other.address, &login).await.expect("the login works");
    broken_off(&mut stage).await;
    client.ok("INSERT INTO t VALUES (3)").await;
    client.ok("DELETE FROM t WHERE id = 3").await;
    until_resumed(&stage, &other, 0).await;
}

/// What the candidate was told before Tidegate died, or some of it.
fn promoted(scenario: Scenario) -> [&'static str; 3] {
    match scenario.is_mysql() {
        true => ["SET GLOBAL read_only = OFF", "STOP REPLICA", "RESET REPLICA ALL"],
        false => ["SET GLOBAL read_only = OFF", "STOP SLAVE", "RESET SLAVE ALL"],
    }
}

async fn a_candidate_that_was_made_writable_already_is_set_read_only_first(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    for told in [1, 2] {
        broken_off(&mut stage).await;
        until_rows(&stage, 1, 1).await;
        stage.cluster.run(1, &promoted(scenario)[..told]).await;
        start_again(&mut stage).await;
        until_resumed(&stage, &stage.proxy, 0).await;
        stage.raw().await.ok("DELETE FROM t").await;
        for server in 0..3 {
            until_rows(&stage, server, 0).await;
        }
    }
}

async fn a_candidate_that_has_transactions_of_its_own_is_the_primary(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    broken_off(&mut stage).await;
    until_rows(&stage, 1, 1).await;
    let written = format!("CREATE TABLE {}.of_its_own (id INT PRIMARY KEY)", stage.schema);
    let [writable, stop, _] = promoted(scenario);
    stage.cluster.run(1, &[writable, stop, &written]).await;
    start_again(&mut stage).await;
    until_resumed(&stage, &stage.proxy, 1).await;
    stage.proxy.until_logged("a switchover did not come to its end: it is brought to it").await;
}

async fn a_candidate_that_follows_nobody_any_more_is_the_primary(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    broken_off(&mut stage).await;
    until_rows(&stage, 1, 1).await;
    // The third server was not told to stop receiving: it still hears from the old primary.
    stage.cluster.run(1, &promoted(scenario)).await;
    start_again(&mut stage).await;
    until_resumed(&stage, &stage.proxy, 1).await;
}

async fn a_replica_that_was_told_of_the_candidate_and_never_begun_follows(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    broken_off(&mut stage).await;
    until_rows(&stage, 1, 1).await;
    stage.cluster.run(1, &promoted(scenario)).await;
    let port = stage.cluster.servers[1].port;
    let told = match scenario.is_mysql() {
        true => [
            "STOP REPLICA".to_owned(),
            format!("CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}"),
        ],
        false => [
            "STOP SLAVE".to_owned(),
            format!("CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}"),
        ],
    };
    stage.cluster.run(2, &told.each_ref().map(|sql| &**sql)).await;
    start_again(&mut stage).await;
    until_resumed(&stage, &stage.proxy, 1).await;
}

/// Somebody has set the primary read only, and Tidegate leaves it so, also a new one. SHOW SERVERS says what to do.
async fn read_only(scenario: Scenario) -> (Stage, RawClient) {
    let mut stage = stage(scenario).await;
    stage.raw().await.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.run(0, &["SET GLOBAL read_only = ON"]).await;
    stage.proxy.until_logged("somebody wants it so").await;
    stage.proxy.crash();
    start_again(&mut stage).await;
    stage.proxy.until_logged("somebody wants it so").await;
    stage.proxy.until_logged("SWITCHOVER TO").await;
    assert!(!is_writable(&stage, 0).await);
    let mut console =
        RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in");
    let sql = "SELECT COUNT(*) FROM servers WHERE left_out LIKE '%the others follow it%SWITCHOVER%'";
    assert_eq!(console.value(sql).await.expect("a row"), "1");
    (stage, console)
}

async fn who_is_read_only_by_a_persons_word_takes_writes_again_by_an_order(scenario: Scenario) {
    let (stage, mut console) = read_only(scenario).await;
    console.ok(format!("SWITCHOVER TO '127.0.0.1:{}'", stage.cluster.servers[0].port)).await;
    until_writes_go_on(&stage, &stage.proxy, 0).await;
}

async fn who_is_read_only_by_a_persons_word_is_replaced_by_an_order(scenario: Scenario) {
    let (stage, mut console) = read_only(scenario).await;
    console.ok(format!("SWITCHOVER TO '127.0.0.1:{}'", stage.cluster.servers[1].port)).await;
    until_writes_go_on(&stage, &stage.proxy, 1).await;
}

async fn without_its_privileges_a_switchover_leaves_no_mark(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    stage.proxy.crash();
    for server in 0..3 {
        let revoke = "REVOKE CREATE, SELECT, INSERT, DELETE ON tidegate.* FROM failover@'%'";
        let mut statements = vec!["SET SESSION sql_log_bin = OFF", revoke];
        if scenario.is_mysql() && server != 0 {
            statements.insert(0, "SET GLOBAL super_read_only = OFF");
        }
        stage.cluster.run(server, &statements).await;
    }
    stage.proxy = Proxy::start(&stage.cluster, &rules()).await;
    stage.proxy.until_logged("a switchover that Tidegate does not live to end is left as it is").await;
    broken_off(&mut stage).await;
    start_again(&mut stage).await;
    stage.proxy.until_logged("somebody wants it so").await;
    let mut console =
        RawClient::login(stage.proxy.console(), &operator()).await.expect("the operator gets in");
    console.ok(format!("SWITCHOVER TO '127.0.0.1:{}'", stage.cluster.servers[1].port)).await;
    assert_eq!(primary(&stage).await, 1);
    for server in [0, 2] {
        until_follows(&stage, server, 1).await;
        until_rows(&stage, server, 1).await;
    }
}

async fn a_mark_that_was_left_behind_is_removed(scenario: Scenario) {
    let mut stage = stage(scenario).await;
    broken_off(&mut stage).await;
    // Somebody was quicker.
    stage.cluster.run(0, &["SET GLOBAL read_only = OFF"]).await;
    start_again(&mut stage).await;
    until_unmarked(&stage, 0).await;
    stage.cluster.run(0, &["SET GLOBAL read_only = ON"]).await;
    stage.proxy.until_logged("somebody wants it so").await;
    assert!(!is_writable(&stage, 0).await);
}
