//! Servers come and go, and rules change, while clients work: no client may notice.

mod names;
mod workload;

use mysql_async::prelude::Queryable;

use self::workload::Workload;
use crate::console::{address, console, row, rows};
use crate::harness::{Cluster, RawClient, Rules, Scenario, Stage, until};

both_dialects! {
    t30_t64_servers_come_and_go_under_work,
    t30_t64_the_same_where_sessions_read_their_writes,
    t64_a_file_that_is_wrong_changes_nothing,
    a_transaction_on_a_draining_server_goes_on_to_its_end,
    what_outlasts_the_time_limit_of_a_drain_is_ended,
    who_waits_for_a_connection_goes_elsewhere_when_its_server_drains,
    orders_of_the_console_stand_over_the_file,
    the_primary_is_not_taken_away,
    pools_and_accounts_change_while_clients_are_there,
}

/// Connections of applications to a server, by its own word.
pub async fn connections(cluster: &Cluster, server: usize) -> u64 {
    let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user IN ('app', 'u_empty')";
    cluster.root(server).await.query_first(sql).await.unwrap().unwrap()
}

async fn until_left(cluster: &Cluster, server: usize) {
    until("its connections have gone", || async { connections(cluster, server).await == 0 }).await;
}

async fn until_shown(stage: &Stage, server: usize, cells: &[&str]) {
    let sql = format!("SELECT * FROM servers WHERE server = '{}'", address(stage, server));
    until(&format!("{cells:?}"), || async {
        let mut console = console(stage).await;
        let found = rows(&mut console, &sql).await;
        found.first().is_some_and(|row| cells.iter().all(|cell| row.iter().any(|found| found == cell)))
    })
    .await;
}

async fn until_gone(stage: &Stage, server: usize) {
    let sql = format!("SELECT COUNT(*) AS n FROM servers WHERE server = '{}'", address(stage, server));
    until("the server is gone", || async { row(&mut console(stage).await, &sql).await == ["n=0"] }).await;
}

/// What an order or RELOAD is refused with.
async fn refused(console: &mut RawClient, sql: &str) -> String {
    let error = console.error(sql).await;
    assert_eq!(error.code, 1105, "{error:?}");
    String::from_utf8_lossy(&error.message).into_owned()
}

async fn t30_t64_servers_come_and_go_under_work(scenario: Scenario) {
    come_and_go(scenario, Rules::default()).await;
}

async fn t30_t64_the_same_where_sessions_read_their_writes(scenario: Scenario) {
    come_and_go(scenario, Rules { reads: "consistency: session".into(), ..Rules::default() }).await;
}

async fn come_and_go(scenario: Scenario, both: Rules) {
    let first = Rules { unlisted: vec![2], ..both.clone() };
    let stage = scenario.own_stage(2, first.clone()).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, who INT)"]).await;
    let work = Workload::begin(&stage).await;
    work.until_reads_at(1).await;
    assert_eq!(connections(&stage.cluster, 2).await, 0);

    stage.proxy.reload(&stage.cluster, &both);
    work.until_reads_at(2).await;
    work.until_reads_at(1).await;

    let weighted = Rules { weights: vec![1, 0, 1], ..both.clone() };
    stage.proxy.reload(&stage.cluster, &weighted);
    until_shown(&stage, 1, &["Weight=0", "Read_share_percent=0.000", "Standing=member"]).await;
    work.until_reads_at(2).await;
    // T30: 1000 to 1 against the rest.
    let heavy = Rules { weights: vec![1, 1000, 1], ..both.clone() };
    stage.proxy.reload(&stage.cluster, &heavy);
    work.until_reads_at(1).await;

    let draining = Rules { draining: vec![1], ..heavy.clone() };
    stage.proxy.reload(&stage.cluster, &draining);
    until_shown(&stage, 1, &["Standing=draining", "Left_out=it drains"]).await;
    until_left(&stage.cluster, 1).await;
    let before = work.reads_at(1);
    work.until_reads_at(2).await;
    assert_eq!(work.reads_at(1), before, "it takes nothing new");
    stage.proxy.reload(&stage.cluster, &heavy);
    work.until_reads_at(1).await;

    stage.proxy.reload_text("version: 1\nclusters: {main: {servers: []}}\n");
    stage.proxy.until_logged("the rules were read again and refused: nothing has changed").await;
    work.until_reads_at(1).await;

    stage.proxy.reload(&stage.cluster, &Rules { unlisted: vec![1], ..heavy });
    until_gone(&stage, 1).await;
    until_left(&stage.cluster, 1).await;
    let before = work.reads_at(1);
    for _ in 0..3 {
        work.until_reads_at(2).await;
    }
    assert_eq!((work.reads_at(1), connections(&stage.cluster, 1).await), (before, 0));
    let metrics = stage.proxy.get("/metrics").await;
    assert!(!metrics.contains(&address(&stage, 1)), "its series have gone, too");
    let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'tidegate'";
    let cluster = &stage.cluster;
    until("the probes have ended", || async {
        cluster.root(1).await.query_first::<u64, _>(sql).await.unwrap() == Some(0)
    })
    .await;

    // Another's return is as good as its first coming.
    stage.proxy.reload(&stage.cluster, &both);
    work.until_reads_at(1).await;
    work.end().await;
}

async fn t64_a_file_that_is_wrong_changes_nothing(scenario: Scenario) {
    let stage = scenario.stage().await;
    let rules = Rules { weights: vec![1, 7, 7], ..Rules::default() };
    let good = rules.yaml(&stage.cluster);
    let mut console = console(&stage).await;
    let unchanged = async |console: &mut RawClient| {
        let weights = rows(console, "SELECT weight FROM servers").await.concat();
        assert_eq!(weights, ["weight=1", "weight=1", "weight=1"]);
    };
    // Not a rules file any more: each error with its place, as `tidegate check` says it.
    stage.proxy.reload_text(
        &good.replace("max_lag: 10s", "max_lag: 10").replace("drain: {timeout: 3s}", "drane: {}"),
    );
    stage.proxy.until_logged("nothing has changed").await;
    let why = refused(&mut console, "RELOAD").await;
    assert!(why.contains("clusters.main.reads.max_lag") && why.contains("drane: unknown option"), "{why}");
    unchanged(&mut console).await;
    // Right, but not while it runs; what could change waits with the rest.
    stage.proxy.write_rules(&good.replace("limits: {}", "limits: {clients: 77}\nthreads: 1"));
    let why = refused(&mut console, "RELOAD").await;
    assert!(why.contains("restart Tidegate to change limits.clients, threads"), "{why}");
    unchanged(&mut console).await;
    stage.proxy.write_rules(&good);
    let changes = rows(&mut console, "RELOAD").await;
    let option = "Option=clusters.main.servers".to_owned();
    let change = |server| {
        let server = address(&stage, server);
        vec![option.clone(), format!("Before={server}, weight 1"), format!("After={server}, weight 7")]
    };
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(changes.contains(&change(1)) && changes.contains(&change(2)), "{changes:?}");
    assert_eq!(rows(&mut console, "RELOAD").await, Vec::<Vec<String>>::new());
    let weights = rows(&mut console, "SELECT weight FROM servers").await.concat();
    assert_eq!(weights, ["weight=1", "weight=7", "weight=7"]);
}

/// A client inside a read only transaction on a replica, and that replica.
async fn reader(stage: &Stage) -> (RawClient, usize) {
    let mut client = stage.raw().await;
    client.ok("START TRANSACTION READ ONLY").await;
    let place = which(stage, &mut client).await;
    assert_ne!(place, 0);
    (client, place)
}

async fn which(stage: &Stage, client: &mut RawClient) -> usize {
    stage.place(client.value("SELECT id FROM which").await.expect("an id").parse().expect("a number"))
}

async fn a_transaction_on_a_draining_server_goes_on_to_its_end(scenario: Scenario) {
    let patient = Rules { drain: "{timeout: 10m}".into(), ..Rules::default() };
    let stage = scenario.own_stage(2, patient.clone()).await;
    let (mut client, place) = reader(&stage).await;
    stage.proxy.reload(&stage.cluster, &Rules { unlisted: vec![place], ..patient.clone() });
    until_shown(&stage, place, &["Standing=leaving"]).await;
    let mut other = stage.raw().await;
    for _ in 0..20 {
        assert_eq!(which(&stage, &mut client).await, place);
        assert_ne!(which(&stage, &mut other).await, place);
    }
    until("only the transaction is left", || async { connections(&stage.cluster, place).await == 1 }).await;
    let name = format!("server=\"{}\"", address(&stage, place));
    assert_eq!(stage.proxy.metric("tidegate_pool_in_use", &[&name]).await, 1);
    client.ok("COMMIT").await;
    until_gone(&stage, place).await;
    assert_eq!(connections(&stage.cluster, place).await, 0);
    assert_ne!(which(&stage, &mut client).await, place);
}

async fn what_outlasts_the_time_limit_of_a_drain_is_ended(scenario: Scenario) {
    let rules = Rules { drain: "{timeout: 300ms}".into(), ..Rules::default() };
    let stage = scenario.own_stage(2, rules).await;
    let (mut client, place) = reader(&stage).await;
    let mut bystander = stage.raw().await;
    bystander.ok("BEGIN").await;
    bystander.value("SELECT 7").await.unwrap();
    let mut console = console(&stage).await;
    console.ok(&format!("ALTER SERVER '{}' DRAIN", address(&stage, place))).await;
    client.end().await;
    until_left(&stage.cluster, place).await;
    stage.proxy.until_logged("drain time is over").await;
    bystander.ok("COMMIT").await;
    until_shown(&stage, place, &["Standing=draining"]).await;
}

async fn who_waits_for_a_connection_goes_elsewhere_when_its_server_drains(scenario: Scenario) {
    let pool = "{max: 1, queue_timeout: 10m}".into();
    let rules = Rules { pool, drain: "{timeout: 10m}".into(), weights: vec![1, 1, 0], ..Rules::default() };
    let stage = scenario.own_stage(2, rules.clone()).await;
    let (mut client, place) = reader(&stage).await;
    assert_eq!(place, 1);
    let mut waiting = stage.raw().await;
    waiting.send_query("SELECT id FROM which").await;
    stage.proxy.until_metric("tidegate_pool_waiting", &[&address(&stage, 1)], |waiting| waiting == 1).await;
    let rules = Rules { weights: vec![1, 1, 1], draining: vec![1], ..rules };
    stage.proxy.reload(&stage.cluster, &rules);
    let outcomes = waiting.outcomes().await;
    let [crate::harness::Outcome::Rows(found)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(stage.place(found.value().unwrap().parse().unwrap()), 2);
    client.ok("COMMIT").await;
}

async fn orders_of_the_console_stand_over_the_file(scenario: Scenario) {
    let stage = scenario.own_stage(2, Rules { unlisted: vec![2], ..Rules::default() }).await;
    let mut console = console(&stage).await;
    let [one, two] = [1, 2].map(|server| address(&stage, server));
    let mut client = stage.raw().await;

    console.ok(&format!("ADD SERVER '{two}' WEIGHT 5")).await;
    until_shown(&stage, 2, &["Weight=5", "State=up", "Left_out=NULL"]).await;
    console.ok(&format!("ALTER SERVER '{one}' DRAIN")).await;
    console.ok(&format!("ALTER SERVER '{two}' WEIGHT 3")).await;
    // A reload does not undo it, and what the file changes beside it is taken over.
    let rules = Rules { unlisted: vec![2], weights: vec![1, 9], max_lag: "20s".into(), ..Rules::default() };
    stage.proxy.reload(&stage.cluster, &rules);
    stage.proxy.until_logged("the rules were read again").await;
    stage.proxy.until_logged(&format!("server=\"{one}\" what=\"draining\"")).await;
    until_shown(&stage, 1, &["Weight=9", "Standing=draining"]).await;
    until_shown(&stage, 2, &["Weight=3", "Standing=member"]).await;
    for _ in 0..20 {
        assert_eq!(which(&stage, &mut client).await, 2);
    }
    console.ok(&format!("ALTER SERVER '{one}' RESET")).await;
    until_shown(&stage, 1, &["Weight=9", "Standing=member", "Left_out=NULL"]).await;
    console.ok(&format!("DROP SERVER '{two}'")).await;
    until_gone(&stage, 2).await;
    assert_eq!(connections(&stage.cluster, 2).await, 0);
    assert_eq!(which(&stage, &mut client).await, 1);
    // Also one of the file's, over reloads.
    console.ok(&format!("DROP SERVER '{one}'")).await;
    until_gone(&stage, 1).await;
    rows(&mut console, "RELOAD").await;
    assert_eq!(row(&mut console, "SELECT COUNT(*) AS n FROM servers").await, ["n=1"]);
    console.ok(&format!("ADD SERVER '{one}'")).await;
    until_shown(&stage, 1, &["Weight=9", "State=up"]).await;
    for (sql, why) in [
        (format!("ADD SERVER '{one}'"), "is a server of the cluster `main` already"),
        ("DROP SERVER '10.9.9.9:1'".into(), "is not a server of any cluster"),
        ("ALTER SERVER 'no host' DRAIN".into(), "no host"),
    ] {
        let told = refused(&mut console, &sql).await;
        assert!(told.contains(why), "{told}");
    }
}

async fn the_primary_is_not_taken_away(scenario: Scenario) {
    let stage = scenario.own_stage(1, Rules::default()).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let mut client = stage.raw().await;
    let mut console = console(&stage).await;
    let primary = address(&stage, 0);
    let told = refused(&mut console, &format!("DROP SERVER '{primary}'")).await;
    assert!(told.contains("is the primary now"), "{told}");
    stage.proxy.reload(&stage.cluster, &Rules { unlisted: vec![0], ..Rules::default() });
    stage.proxy.until_logged("the rules were read again and refused").await;
    // It may be asked to go: it does as soon as it is not the primary any more.
    console.ok(&format!("ALTER SERVER '{primary}' DRAIN")).await;
    until_shown(&stage, 0, &["Standing=draining", "Role=primary"]).await;
    client.ok("INSERT INTO t VALUES (1)").await;
    stage.cluster.caught_up().await;
    stage.cluster.run(0, &["SET GLOBAL read_only = ON"]).await;
    stage.cluster.run(1, &["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = OFF"]).await;
    until_shown(&stage, 1, &["Role=primary"]).await;
    client.ok("INSERT INTO t VALUES (2)").await;
    until_left(&stage.cluster, 0).await;
    console.ok(&format!("DROP SERVER '{primary}'")).await;
    until_gone(&stage, 0).await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.unwrap(), "2");
}

async fn pools_and_accounts_change_while_clients_are_there(scenario: Scenario) {
    let users = |list: &str| Rules { auth: format!("auth: users\nusers: [{list}]"), ..Rules::default() };
    let app = "{name: app, password: one, backend: {user: app, password: app-pw}}";
    let stage = scenario.stage_with(users(app)).await;
    let login = |user: &str, password: &str| crate::harness::Login::account(user, password);
    let mut early = stage.raw_with(login("app", "one")).await;
    let other =
        "{name: app, password: two, backend: {user: app, password: app-pw}}, {name: u_empty, password: \"\"}";
    let next = Rules { pool: "{max: 1, primary_wait: 1s, queue_timeout: 10m}".into(), ..users(other) };
    stage.proxy.reload(&stage.cluster, &next);
    stage.proxy.until_logged("the rules were read again").await;
    assert!(RawClient::login(stage.proxy.address, &login("app", "one")).await.is_err());
    let mut late = stage.raw_with(login("app", "two")).await;
    early.ok("BEGIN").await;
    early.value("SELECT 7").await.unwrap();
    // There is one connection to the primary now: that of the transaction.
    late.send_query("SELECT 8 FOR UPDATE").await;
    stage.proxy.until_metric("tidegate_pool_waiting", &[&address(&stage, 0)], |waiting| waiting == 1).await;
    early.ok("COMMIT").await;
    assert_eq!(late.outcomes().await.len(), 1);
    assert_eq!(row(&mut console(&stage).await, "SELECT max FROM pools LIMIT 1").await, ["max=1"]);
    let mut third = stage.raw_with(login("u_empty", "")).await;
    assert_eq!(third.value("SELECT 9").await.unwrap(), "9");
    assert_eq!(early.value("SELECT 7").await.unwrap(), "7", "who is logged in stays");
    // A larger pool serves who waits already.
    early.ok("BEGIN").await;
    early.value("SELECT 7").await.unwrap();
    late.send_query("SELECT 8 FOR UPDATE").await;
    stage.proxy.until_metric("tidegate_pool_waiting", &[&address(&stage, 0)], |waiting| waiting == 1).await;
    stage.proxy.reload(&stage.cluster, &Rules { pool: "{max: 2}".into(), ..next });
    assert_eq!(late.outcomes().await.len(), 1);
    early.ok("COMMIT").await;
}
