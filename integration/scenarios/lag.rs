//! How far a replica is behind: by what `monitor.lag` asks for, and what replicas of each kind are taken for. Each scenario has servers of
//! its own.

use mysql_async::prelude::Queryable;
use tidegate::sql::Dialect;

use crate::console::console;
use crate::harness::{Cluster, Rules, Scenario, Stage, until};

both_dialects! {
    heartbeats_begin_with_the_privilege_and_outlive_a_lost_source,
    no_heartbeat_is_written_beside_a_second_writable_server,
    pt_heartbeats_are_timed_by_one_clock_whatever_they_say,
    the_answer_to_an_own_question_is_the_lag,
    t28_where_all_are_late_the_primary_takes_so_many_reads_and_they_none,
    a_table_that_is_locked_takes_no_server_out,
    a_delayed_replica_is_late_once_something_is_written,
    a_chained_replica_is_as_late_as_what_it_follows,
    a_filtered_replica_is_not_late_by_what_it_leaves_out,
    a_source_outside_of_the_cluster_makes_a_replica_late,
}

const BEATS: &str = "lag: {mode: heartbeat, table: tidegate.heartbeat, interval: 100ms}";

fn rules(lag: &str, max_lag: &str) -> Rules {
    Rules { monitor: lag.into(), max_lag: max_lag.into(), ..Rules::default() }
}

/// How far a server is behind in seconds, and why it takes no reads, as SHOW SERVERS says.
async fn shown(stage: &Stage, place: usize) -> (Option<f64>, Option<String>) {
    let port = stage.cluster.servers[place].port;
    let sql = format!("SELECT lag_seconds, left_out FROM servers WHERE server LIKE '%:{port}'");
    let [lag, left_out] = &console(stage).await.select(sql).await.texts()[0][..] else {
        panic!("two columns")
    };
    (lag.as_ref().map(|lag| lag.parse().expect("a number")), left_out.clone())
}

/// Waits until a server's lag and its reason to take no reads are as wanted.
async fn until_shown(stage: &Stage, place: usize, what: &str, wanted: impl Fn(Option<f64>, &str) -> bool) {
    until(&format!("server {place}: {what}"), || async {
        let (lag, left_out) = shown(stage, place).await;
        wanted(lag, left_out.as_deref().unwrap_or("reads"))
    })
    .await;
}

fn in_time(lag: Option<f64>, left_out: &str) -> bool {
    lag.is_some_and(|lag| lag < 1.0) && left_out == "reads"
}

/// The last heartbeat on a server, in microseconds; 0 where there is none.
async fn beat(stage: &Stage, place: usize) -> u64 {
    let sql = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', beat) FROM tidegate.heartbeat";
    stage.cluster.root(place).await.query_first(sql).await.ok().flatten().unwrap_or(0)
}

/// Statements of the words of MySQL, or of those of MariaDB.
async fn told(stage: &Stage, place: usize, mysql: &[&str], mariadb: &[&str]) {
    let statements = match stage.cluster.dialect {
        Dialect::MySql => mysql,
        Dialect::MariaDb => mariadb,
    };
    stage.cluster.run(place, statements).await;
}

/// Has a replica follow another server than so far, by its position.
async fn follow(stage: &Stage, place: usize, port: u16) {
    let (mysql, mariadb) = (
        format!("CHANGE REPLICATION SOURCE TO SOURCE_PORT = {port}"),
        format!("CHANGE MASTER TO MASTER_PORT = {port}"),
    );
    told(stage, place, &["STOP REPLICA", &mysql, "START REPLICA"], &["STOP SLAVE", &mariadb, "START SLAVE"])
        .await;
}

/// Without a source auto knows the lag for some seconds only; a beat that is missing is missing for ever longer.
async fn heartbeats_begin_with_the_privilege_and_outlive_a_lost_source(scenario: Scenario) {
    let stage = scenario.own_stage(1, rules(BEATS, "unlimited")).await;
    stage.proxy.until_logged("heartbeat cannot be written").await;
    stage.proxy.until_logged("needs=\"CREATE TABLE IF NOT EXISTS `tidegate`.`heartbeat` (id").await;
    until_shown(&stage, 1, "in time as by auto", in_time).await;
    stage.given(&["GRANT SELECT, INSERT, UPDATE, CREATE ON tidegate.* TO tidegate@'%'"]).await;
    stage.proxy.until_logged("lag is found as `monitor.lag` says").await;
    let first = beat(&stage, 0).await;
    until("beats arrive", || async { beat(&stage, 1).await > first + 500_000 }).await;
    until_shown(&stage, 1, "in time", in_time).await;

    follow(&stage, 1, 1).await; // nobody listens there
    until_shown(&stage, 1, "ever later", |lag, left_out| {
        assert_ne!(left_out, "its lag is not known");
        lag.is_some_and(|lag| lag > 6.0)
    })
    .await;
    follow(&stage, 1, stage.cluster.servers[0].port).await;
    until_shown(&stage, 1, "in time again", in_time).await;
    assert!(!stage.proxy.has_logged("lag is found as by `auto`: what"));

    // Without its table the heartbeat is auto's again, and is written again by itself.
    stage.given(&["DROP TABLE tidegate.heartbeat"]).await;
    until("it is made again", || async { beat(&stage, 0).await > first }).await;
}

/// A second server that takes writes may be the right one: what is written here could be in no other.
async fn no_heartbeat_is_written_beside_a_second_writable_server(scenario: Scenario) {
    let stage = scenario.own_stage(2, rules(BEATS, "10s")).await;
    stage.given(&["GRANT SELECT, INSERT, UPDATE, CREATE ON tidegate.* TO tidegate@'%'"]).await;
    stage.proxy.until_logged("lag is found as `monitor.lag` says").await;
    stage.cluster.run(1, &["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = OFF"]).await;
    stage.proxy.until_logged("a second writable server").await;
    let beats = async || [beat(&stage, 0).await, beat(&stage, 1).await];
    let before = beats().await;
    for _ in 0..5 {
        stage.until_probed(0).await;
    }
    let now = beats().await;
    // One may have been on its way.
    assert!(now[0] - before[0] < 500_000 && now[1] == before[1], "{before:?} {now:?}");
    until_shown(&stage, 2, "in time as by auto", in_time).await;
    stage.cluster.run(1, &["SET GLOBAL read_only = ON"]).await;
    until("beats again", || async { beat(&stage, 0).await > now[0] + 500_000 }).await;
}

/// Whose clock and time zone they are of is all the same: here an hour passes with every beat, and it is 2001.
async fn pt_heartbeats_are_timed_by_one_clock_whatever_they_say(scenario: Scenario) {
    let lag = "lag: {mode: pt-heartbeat, table: percona.heartbeat, interval: 1s}";
    let stage = scenario.own_stage(2, rules(lag, "2s")).await;
    stage.proxy.until_logged("lag cannot be asked for").await;
    stage
        .given(&[
            "CREATE DATABASE percona",
            // As pt-heartbeat makes it.
            "CREATE TABLE percona.heartbeat (ts varchar(26) NOT NULL, server_id int unsigned NOT NULL PRIMARY KEY, \
             file varchar(255) DEFAULT NULL, position bigint unsigned DEFAULT NULL, \
             relay_master_log_file varchar(255) DEFAULT NULL, exec_master_log_pos bigint unsigned DEFAULT NULL)",
            "INSERT INTO percona.heartbeat (ts, server_id) VALUES ('2001-01-01T00:00:00.000500', @@server_id), ('2031-01-01T00:00:00.000500', 77)",
            "GRANT SELECT ON percona.heartbeat TO tidegate@'%'",
        ])
        .await;
    let mut root = stage.cluster.root(0).await;
    let next = "UPDATE percona.heartbeat SET ts = DATE_FORMAT(ts + INTERVAL 1 HOUR, '%Y-%m-%dT%H:%i:%s.%f') WHERE server_id = @@server_id";
    let mut beat = async || {
        root.query_drop(next).await.expect("a beat");
        stage.until_probed(0).await;
    };
    for _ in 0..5 {
        beat().await;
    }
    stage.proxy.until_logged("lag is found as `monitor.lag` says").await;
    until_shown(&stage, 1, "in time", in_time).await;
    // Whoever holds the table back is as late as by our clock, not by hours.
    let mut lock = stage.cluster.root(1).await;
    lock.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("root may lock");
    let late = async |place: usize| shown(&stage, place).await.0.unwrap_or_default();
    while late(1).await <= 2.0 {
        beat().await;
    }
    assert!(late(1).await < 60.0, "{}", late(1).await);
    until_shown(&stage, 1, "left out", |_, left_out| left_out.contains("behind, more than 2s")).await;
    assert!(late(2).await < 2.0, "{}", late(2).await);
    lock.query_drop("UNLOCK TABLES").await.expect("unlocked");
    while late(1).await >= 1.0 {
        beat().await;
    }
    // Nobody writes any more: that is no lag.
    until("silence is told", || async { stage.proxy.has_logged("lag is found as by `auto`: what") }).await;
    until_shown(&stage, 1, "in time as by auto", in_time).await;
}

async fn the_answer_to_an_own_question_is_the_lag(scenario: Scenario) {
    let lag = "lag: {mode: query, query: SELECT seconds FROM test.own}";
    let stage = scenario.own_stage(2, rules(lag, "10s")).await;
    stage
        .given(&["CREATE TABLE test.own (seconds DOUBLE)", "GRANT SELECT ON test.own TO tidegate@'%'"])
        .await;
    for replica in [1, 2] {
        told(&stage, replica, &["SET GLOBAL super_read_only = OFF"], &[]).await;
    }
    let answers = async |place: usize, value: &str| answer(&stage, place, value).await;
    answers(1, "7.5").await;
    answers(2, "NULL").await;
    until_shown(&stage, 1, "its own word", |lag, left_out| lag == Some(7.5) && left_out == "reads").await;
    until_shown(&stage, 2, "not known", |lag, left_out| (lag, left_out) == (None, "its lag is not known"))
        .await;
    answers(1, "100").await;
    until_shown(&stage, 1, "late", |lag, why| lag == Some(100.0) && why == "100s behind, more than 10s")
        .await;
    // It can be changed while it runs.
    stage.proxy.reload(&stage.cluster, &rules("failures: 3", "10s"));
    until_shown(&stage, 1, "as by auto", in_time).await;
    stage.proxy.reload(&stage.cluster, &rules(lag, "10s"));
    until_shown(&stage, 1, "late again", |lag, _| lag == Some(100.0)).await;
    answers(2, "-1").await;
    until_shown(&stage, 2, "a clock that is behind", |lag, left_out| lag == Some(0.0) && left_out == "reads")
        .await;
    // Two rows are no answer, and neither is an error: then it is found as without.
    answers(1, "100), (100").await;
    stage.proxy.until_logged("the answer is not one row").await;
    until_shown(&stage, 1, "as by auto", in_time).await;
    stage.cluster.run(2, &["SET sql_log_bin = 0", "RENAME TABLE test.own TO test.other"]).await;
    stage.proxy.until_logged("lag is found as by `auto`: what").await;
    until_shown(&stage, 2, "as by auto", in_time).await;
}

/// Has what a server answers to the own question of the stage's rules.
async fn answer(stage: &Stage, place: usize, value: &str) {
    let insert = format!("INSERT INTO test.own VALUES ({value})");
    stage.cluster.run(place, &["SET sql_log_bin = 0", "DELETE FROM test.own", &insert]).await;
}

async fn t28_where_all_are_late_the_primary_takes_so_many_reads_and_they_none(scenario: Scenario) {
    let reads = "consistency: eventual, spill: 1".into();
    let lag = rules("lag: {mode: query, query: SELECT seconds FROM test.own}", "10s");
    let stage = scenario.own_stage(2, Rules { reads, pool: "{primary_wait: 100ms}".into(), ..lag }).await;
    stage
        .given(&["CREATE TABLE test.own (seconds DOUBLE)", "GRANT SELECT ON test.own TO tidegate@'%'"])
        .await;
    for replica in [1, 2] {
        told(&stage, replica, &["SET GLOBAL super_read_only = OFF"], &[]).await;
        answer(&stage, replica, "100").await;
    }
    for replica in [1, 2] {
        until_shown(&stage, replica, "late", |_, why| why == "100s behind, more than 10s").await;
    }
    let (mut reader, mut other) = (stage.raw().await, stage.raw().await);
    let which = format!("SELECT id FROM {}.which", stage.schema);
    for _ in 0..8 {
        let id = reader.value(&which).await.expect("an id").parse().expect("a number");
        assert_eq!(stage.place(id), 0);
    }
    // The primary has as many of them at a time as the rules say; a late one is no way out.
    reader.ok("START TRANSACTION READ ONLY").await;
    reader.value(&which).await;
    let error = other.error(&which).await;
    assert_eq!(error.code, 1040, "{error:?}");
    // The first that is in time takes them, those of the primary too.
    answer(&stage, 1, "1").await;
    until_shown(&stage, 1, "in time", |lag, why| lag == Some(1.0) && why == "reads").await;
    reader.ok("COMMIT").await;
    for client in [&mut reader, &mut other] {
        let id = client.value(&which).await.expect("an id").parse().expect("a number");
        assert_eq!(stage.place(id), 1);
    }
}

/// The probes have a connection of their own.
async fn a_table_that_is_locked_takes_no_server_out(scenario: Scenario) {
    let stage = scenario.own_stage(1, rules(BEATS, "10s")).await;
    stage.given(&["GRANT SELECT, INSERT, UPDATE, CREATE ON tidegate.* TO tidegate@'%'"]).await;
    stage.proxy.until_logged("lag is found as `monitor.lag` says").await;
    let mut lock = stage.cluster.root(0).await;
    lock.query_drop("LOCK TABLES tidegate.heartbeat WRITE").await.expect("root may lock");
    stage.proxy.until_logged("lag is found as by `auto`: what").await;
    until_shown(&stage, 1, "in time as by auto", in_time).await;
    let waiting =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'tidegate' AND command <> 'Sleep'";
    for _ in 0..20 {
        stage.until_probed(0).await;
        let waiting: u64 = lock.query_first(waiting).await.expect("a list").expect("a row");
        assert!(waiting <= 4, "{waiting} connections wait for the table");
    }
    assert!(!stage.proxy.has_logged("to=\"down\""));
    lock.query_drop("UNLOCK TABLES").await.expect("unlocked");
    let last = beat(&stage, 0).await;
    until("beats again", || async { beat(&stage, 0).await > last + 500_000 }).await;
}

/// It has all that there is, until there is more.
async fn a_delayed_replica_is_late_once_something_is_written(scenario: Scenario) {
    let stage = scenario.own_stage(2, rules("failures: 3", "2s")).await;
    told(
        &stage,
        2,
        &["STOP REPLICA", "CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 3600", "START REPLICA"],
        &["STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY = 3600", "START SLAVE"],
    )
    .await;
    stage.until_probed(2).await;
    until_shown(&stage, 2, "in time", in_time).await;
    stage.cluster.run(0, &["CREATE TABLE test.late (id INT PRIMARY KEY)"]).await;
    until_shown(&stage, 2, "late", |lag, why| {
        lag.is_some_and(|lag| lag > 2.0) && why.ends_with("behind, more than 2s; it is told to be 3600s late")
    })
    .await;
    until_shown(&stage, 1, "in time", in_time).await;
}

/// Its source is in time with what it is sent: nothing.
async fn a_chained_replica_is_as_late_as_what_it_follows(scenario: Scenario) {
    let stage = scenario.own_stage(2, rules(BEATS, "2s")).await;
    stage.given(&["GRANT SELECT, INSERT, UPDATE, CREATE ON tidegate.* TO tidegate@'%'"]).await;
    follow(&stage, 2, stage.cluster.servers[1].port).await;
    stage.proxy.until_logged("lag is found as `monitor.lag` says").await;
    until_shown(&stage, 2, "in time", in_time).await;
    let mut lock = stage.cluster.root(1).await;
    lock.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("root may lock");
    for place in [1, 2] {
        until_shown(&stage, place, "late", |_, why| why.contains("behind, more than 2s")).await;
    }
    lock.query_drop("UNLOCK TABLES").await.expect("unlocked");
    for place in [1, 2] {
        until_shown(&stage, place, "in time", in_time).await;
    }
}

/// By its GTIDs it has had what it left out. Of heartbeats that it leaves out nothing can be said.
async fn a_filtered_replica_is_not_late_by_what_it_leaves_out(scenario: Scenario) {
    let stage = scenario.own_stage(2, rules(BEATS, "2s")).await;
    told(
        &stage,
        2,
        &["STOP REPLICA", "CHANGE REPLICATION FILTER REPLICATE_IGNORE_DB = (tidegate)", "START REPLICA"],
        &["STOP SLAVE", "SET GLOBAL replicate_ignore_db = 'tidegate'", "START SLAVE"],
    )
    .await;
    stage.cluster.run(0, &["GRANT SELECT, INSERT, UPDATE, CREATE ON tidegate.* TO tidegate@'%'"]).await;
    stage.proxy.until_logged("lag is found as `monitor.lag` says").await;
    until_shown(&stage, 1, "in time", in_time).await;
    for _ in 0..10 {
        stage.until_probed(2).await;
    }
    until_shown(&stage, 2, "in time as by auto", in_time).await;
    let port = stage.cluster.servers[2].port;
    stage.proxy.until_logged(&format!("server=127.0.0.1:{port} mode=\"heartbeat\"")).await;
}

/// All its channels must be in time, also those from elsewhere.
async fn a_source_outside_of_the_cluster_makes_a_replica_late(scenario: Scenario) {
    let stage = scenario.own_stage(2, rules("failures: 3", "2s")).await;
    let other = Cluster::own(scenario.dialect, 0);
    let port = other.servers[0].port;
    let (mysql, mariadb) = (
        format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = 'repl', \
             SOURCE_PASSWORD = 'repl-pw', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_DELAY = 3600 FOR CHANNEL 'other'"
        ),
        format!(
            "CHANGE MASTER 'other' TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = 'repl', \
             MASTER_PASSWORD = 'repl-pw', MASTER_USE_GTID = slave_pos, MASTER_DELAY = 3600"
        ),
    );
    if scenario.dialect == Dialect::MariaDb {
        other.run(0, &["SET GLOBAL gtid_domain_id = 9"]).await;
    }
    told(&stage, 2, &[&mysql, "START REPLICA FOR CHANNEL 'other'"], &[&mariadb, "START SLAVE 'other'"]).await;
    stage.until_probed(2).await;
    until_shown(&stage, 2, "in time", in_time).await;
    other.run(0, &["CREATE TABLE test.elsewhere (id INT PRIMARY KEY)"]).await;
    until_shown(&stage, 2, "late", |_, why| why.contains("behind, more than 2s")).await;
    until_shown(&stage, 1, "in time", in_time).await;
}
