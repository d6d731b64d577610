//! What reads on replicas must not miss. Each scenario has servers of its own, whose replicas apply late.

use mysql_async::prelude::Queryable;
use tidegate::sql::Dialect;
use tokio::sync::watch;

use crate::harness::{Outcome, RawClient, Rules, Scenario, Stage, until, within};

both_dialects! {
    t21_a_session_reads_its_own_writes,
    a_session_never_goes_back_in_time,
    reads_without_a_pause_spread_by_weight,
    a_wait_in_vain_ends_at_the_primary,
    t36_a_wait_that_a_servers_end_cuts_short_costs_no_read,
    what_a_failed_statement_has_written_is_read,
    questions_about_the_server_bind_nobody,
    eventual_takes_any_replica,
    t22_a_gtid_handed_to_another_session_binds_it,
}

fn rules() -> Rules {
    Rules { reads: "consistency: session".into(), ..Rules::default() }
}

/// For replicas that a lock keeps from applying: they serve for however long a busy machine takes.
fn ever_late(consistency: &str) -> Rules {
    Rules { reads: format!("consistency: {consistency}"), max_lag: "unlimited".into(), ..Rules::default() }
}

/// Has a replica apply everything so many seconds after it was written.
async fn delay(stage: &Stage, replica: usize, seconds: u32) {
    let statements = match stage.cluster.dialect {
        Dialect::MySql => [
            "STOP REPLICA".to_owned(),
            format!("CHANGE REPLICATION SOURCE TO SOURCE_DELAY = {seconds}"),
            "START REPLICA".into(),
        ],
        Dialect::MariaDb => [
            "STOP SLAVE".to_owned(),
            format!("CHANGE MASTER TO MASTER_DELAY = {seconds}"),
            "START SLAVE".into(),
        ],
    };
    stage.cluster.run(replica, &statements.each_ref().map(String::as_str)).await;
    stage.until_probed(replica).await; // one before may have seen the replica's thread stopped
}

/// A value, and the place of the server that gave it.
pub async fn read(stage: &Stage, client: &mut RawClient, value: &str) -> (u64, usize) {
    let row = client.select(format!("SELECT ({value}), id FROM which")).await.texts().remove(0);
    let number = |column: usize| row[column].as_ref().expect("not NULL").parse().expect("a number");
    (number(0), stage.place(number(1)))
}

/// With `TIDEGATE_PAIRS` for more; prints what share of the reads the replicas served.
#[expect(clippy::print_stdout, reason = "the shares are figures to be read")]
async fn t21_a_session_reads_its_own_writes(scenario: Scenario) {
    let pairs: u64 = std::env::var("TIDEGATE_PAIRS").map_or(150, |text| text.parse().expect("a number"));
    let stage = scenario.own_stage(2, rules()).await;
    stage.given(&["CREATE TABLE pairs (id BIGINT PRIMARY KEY)", "INSERT INTO pairs VALUES (0)"]).await;
    let mut client = stage.raw().await;
    let prepared = client.prepare("SELECT MAX(id) FROM pairs").await.expect("it can be prepared");
    let mut written = 0;
    // MariaDB counts by whole seconds of two clocks: a delay of 1 may be none.
    for delays in [[0, 0], [5, 0], [2, 5]] {
        for (replica, seconds) in (1..).zip(delays) {
            delay(&stage, replica, seconds).await;
        }
        let mut served = [0u64; 3];
        for _ in 0..pairs {
            written += 1;
            client.ok(format!("INSERT INTO pairs VALUES ({written})")).await;
            match written % 3 {
                0 => assert_eq!(client.execute(prepared, &[]).await.rows().bytes().len(), 1),
                1 => drop(client.ok("START TRANSACTION READ ONLY").await),
                _ => {}
            }
            let (value, place) = read(&stage, &mut client, "SELECT MAX(id) FROM pairs").await;
            assert_eq!(value, written, "from server {place} with delays of {delays:?} s");
            served[place] += 1;
            if written % 3 == 1 {
                client.ok("COMMIT").await;
            }
        }
        println!("delays {delays:?} s: {served:?} reads by the primary and the replicas");
        let by_replicas = served[1] + served[2];
        match delays {
            [0, 0] => assert!(by_replicas > 0, "{served:?}"),
            [_, 0] => {}
            _ => assert!(served[0] > 0, "{served:?}"),
        }
    }
}

async fn a_session_never_goes_back_in_time(scenario: Scenario) {
    let stage = scenario.own_stage(2, rules()).await;
    stage.given(&["CREATE TABLE clock (tick BIGINT)", "INSERT INTO clock VALUES (0)"]).await;
    delay(&stage, 2, 1).await;
    let (stop, ticks) = (watch::Sender::new(false), watch::Sender::new(0));
    let mut clock = ticks.subscribe();
    let ticking = {
        let (mut root, stop) = (stage.client().await, stop.subscribe());
        tokio::spawn(async move {
            while !*stop.borrow() {
                root.query_drop("UPDATE clock SET tick = tick + 1").await.expect("a tick");
                ticks.send_modify(|ticks| *ticks += 1);
            }
            root.disconnect().await.expect("goodbye");
        })
    };
    let mut clients = [stage.raw().await, stage.raw().await, stage.raw().await];
    let mut seen = [(0, 0); 3];
    for round in 1..=40 {
        for (client, last) in clients.iter_mut().zip(&mut seen) {
            for _ in 0..5 {
                let (tick, place) = read(&stage, client, "SELECT tick FROM clock").await;
                assert!(tick >= last.0, "{tick} from server {place} after {last:?}");
                *last = (tick, place);
            }
        }
        let before = *clock.borrow();
        // A pause, in which servers are probed and sessions may move.
        let ticked = clock.wait_for(|now| *now > before + round % 4 * 20);
        within("the clock ticks", ticked).await.expect("no tick failed");
    }
    stop.send_replace(true);
    ticking.await.expect("no tick failed");
}

/// The replica's appliers wait at a lock, which does not show in its status before a second has passed.
async fn reads_without_a_pause_spread_by_weight(scenario: Scenario) {
    let stage = scenario.own_stage(2, Rules { weights: vec![1, 1, 3], ..rules() }).await;
    stage.given(&["CREATE TABLE clock (tick BIGINT)", "INSERT INTO clock VALUES (0)"]).await;
    let mut client = stage.raw().await;
    let mut served = [0u32; 3];
    for _ in 0..1_600 {
        served[read(&stage, &mut client, "SELECT tick FROM clock").await.1] += 1;
    }
    assert_eq!(served[0], 0, "{served:?}");
    // The first is drawn anew after at most 64 reads: 25 draws or more.
    assert!((1_050..=1_350).contains(&served[2]), "{served:?}");
    // While others write, it moves, too, and never back in time.
    let mut writer = stage.raw().await;
    let (mut tick, mut last, mut moved_to) = (0, (0, 0), [0u32; 3]);
    for number in 0..1_000 {
        if number % 10 == 0 {
            tick += 1;
            writer.ok(format!("UPDATE clock SET tick = {tick}")).await;
        }
        let (seen, place) = read(&stage, &mut client, "SELECT tick FROM clock").await;
        assert!(seen >= last.0, "{seen} from server {place} after {last:?}");
        moved_to[place] += u32::from(place != last.1);
        last = (seen, place);
    }
    assert!(moved_to[1] > 0 && moved_to[2] > 0, "{moved_to:?}");
}

async fn a_wait_in_vain_ends_at_the_primary(scenario: Scenario) {
    let stage = scenario.own_stage(1, ever_late("session")).await;
    stage.given(&["CREATE TABLE t (n BIGINT)", "INSERT INTO t VALUES (0)"]).await;
    let mut client = stage.raw().await;
    assert_eq!(read(&stage, &mut client, "SELECT MAX(n) FROM t").await, (0, 1));
    let mut root = stage.cluster.root(1).await;
    root.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("root may lock");
    client.ok("INSERT INTO t VALUES (1)").await;
    for _ in 0..3 {
        assert_eq!(read(&stage, &mut client, "SELECT MAX(n) FROM t").await, (1, 0));
    }
    // The lock may hold up the replica's probes, too. A statement is counted after its client has the answer.
    until("all three are counted with the reason", || async {
        let mut on_primary = 0;
        for reason in ["replicas are behind the session", "no replica can serve"] {
            let label = format!("reason=\"{reason}\"");
            on_primary += stage.proxy.metric("tidegate_statements_total", &[&label]).await;
        }
        on_primary >= 3
    })
    .await;
    // Who has written nothing is served there.
    let mut other = stage.raw().await;
    assert_eq!(read(&stage, &mut other, "SELECT MAX(n) FROM t").await, (0, 1));
    root.query_drop("UNLOCK TABLES").await.expect("it was locked");
    let client = tokio::sync::Mutex::new(client);
    until("the replica is read again", || async {
        let (value, place) = read(&stage, &mut *client.lock().await, "SELECT MAX(n) FROM t").await;
        assert_eq!(value, 1);
        place == 1
    })
    .await;
}

/// MySQL ends the wait by error 1053 most of the time, MariaDB by closing the connection.
async fn t36_a_wait_that_a_servers_end_cuts_short_costs_no_read(scenario: Scenario) {
    let rules = Rules {
        max_lag: "unlimited".into(),
        reads: "consistency: session, wait: 5s".into(),
        ..Rules::default()
    };
    let stage = scenario.own_stage(1, rules).await;
    stage.given(&["CREATE TABLE t (n BIGINT)", "INSERT INTO t VALUES (0)"]).await;
    let mut client = stage.raw().await;
    assert_eq!(read(&stage, &mut client, "SELECT MAX(n) FROM t").await, (0, 1));
    delay(&stage, 1, 60).await;
    client.ok("INSERT INTO t VALUES (1)").await;
    client.send_query("SELECT MAX(n) FROM t").await;
    let listed = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%GTID%' AND id <> CONNECTION_ID()";
    stage.cluster.until_number(1, "the read waits on the replica", listed, |reads| reads == 1).await;
    // MySQL may take half a minute for the rest of its end.
    stage.cluster.root(1).await.query_drop("SHUTDOWN").await.expect("it begins to end");
    let outcomes = within("the read's answer", client.outcomes()).await;
    let [Outcome::Rows(rows)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!(rows.value(), Some("1".into()));
}

async fn what_a_failed_statement_has_written_is_read(scenario: Scenario) {
    let stage = scenario.own_stage(1, rules()).await;
    stage
        .given(&[
            "CREATE TABLE t (n BIGINT)",
            "INSERT INTO t VALUES (0)",
            "CREATE PROCEDURE half(v BIGINT) BEGIN INSERT INTO t VALUES (v); SIGNAL SQLSTATE '45000'; END",
        ])
        .await;
    delay(&stage, 1, 1).await;
    let mut client = stage.raw().await;
    for value in 1..=3 {
        assert_eq!(client.error(format!("CALL half({value})")).await.code, 1644);
        assert_eq!(read(&stage, &mut client, "SELECT MAX(n) FROM t").await.0, value);
    }
}

/// What drivers ask at their start is answered by the primary, and makes no session stay there.
async fn questions_about_the_server_bind_nobody(scenario: Scenario) {
    let stage = scenario.own_stage(1, rules()).await;
    for question in
        ["SELECT @@version, @@server_id", "SELECT LAST_INSERT_ID()", "SHOW VARIABLES LIKE 'version'"]
    {
        let mut client = stage.raw().await;
        client.select(question).await;
        assert_eq!(read(&stage, &mut client, "1").await.1, 1, "{question}");
    }
}

async fn eventual_takes_any_replica(scenario: Scenario) {
    let stage = scenario.own_stage(1, ever_late("eventual")).await;
    stage.given(&["CREATE TABLE t (n BIGINT)", "INSERT INTO t VALUES (0)"]).await;
    let mut root = stage.cluster.root(1).await;
    root.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("root may lock");
    let mut client = stage.raw().await;
    client.ok("INSERT INTO t VALUES (1)").await;
    assert_eq!(read(&stage, &mut client, "SELECT MAX(n) FROM t").await, (0, 1));
    root.query_drop("UNLOCK TABLES").await.expect("it was locked");
}

async fn t22_a_gtid_handed_to_another_session_binds_it(scenario: Scenario) {
    let stage = scenario.own_stage(1, ever_late("eventual")).await;
    stage.given(&["CREATE TABLE t (n BIGINT)", "INSERT INTO t VALUES (0)"]).await;
    let mut root = stage.cluster.root(1).await;
    root.query_drop("FLUSH TABLES WITH READ LOCK").await.expect("root may lock");
    let (mut writer, mut reader) = (stage.raw().await, stage.raw().await);
    assert_eq!(writer.value("SELECT tidegate_gtid()").await.as_deref(), Some(""));
    writer.ok("INSERT INTO t VALUES (1)").await;
    let rows = writer.select("SELECT tidegate_gtid()").await;
    assert_eq!(rows.name(0), "tidegate_gtid()");
    let gtid = rows.value().expect("a position");
    let newest = "SELECT MAX(n) FROM t";
    assert_eq!(read(&stage, &mut reader, newest).await, (0, 1));
    reader.ok("SET SESSION tidegate_consistency = session").await;
    assert_eq!(read(&stage, &mut reader, newest).await, (0, 1));
    reader.ok(format!("SET tidegate_gtid = '{gtid}'")).await;
    assert_eq!(read(&stage, &mut reader, newest).await, (1, 0));
    reader.ok("SET tidegate_consistency = DEFAULT").await;
    assert_eq!(read(&stage, &mut reader, newest).await, (0, 1));
    for wrong in ["SET tidegate_consistency = strong", "SET tidegate_gtid = 'x'"] {
        assert_eq!(reader.error(wrong).await.code, 1231, "{wrong}");
    }
    root.query_drop("UNLOCK TABLES").await.expect("it was locked");
}
