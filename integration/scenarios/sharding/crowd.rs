//! Many shards, few connections, servers that hang or end: reads of several shards go on, or end with an error.

use mysql_async::prelude::Queryable;
use tidegate::wire::err::ErrPacket;

use super::{Split, TABLES, fill, rules};
use crate::harness::{Cluster, Outcome, RawClient, Rules, Scenario, Stage, until, within};

both_dialects! {
    reads_of_many_shards_share_few_connections,
    a_replica_that_hangs_is_left_for_another_server,
    t36_a_server_that_ends_under_a_read_is_left_for_another,
    a_read_at_a_server_that_hangs_can_be_killed,
    what_a_merge_keeps_is_bounded,
    what_a_server_computes_needs_no_more_rows_than_the_limit,
}

/// One shard beside the home, and four on the other cluster, which has these options.
fn wide(schema: &str, second: &Cluster, options: &str) -> Rules {
    let mut rules = rules(schema, second);
    let shards: String = (1..=4)
        .map(|shard| {
            format!(
                "s{shard}: {{cluster: second, schema: {schema}_{shard}, slots: {shard}-{shard}}}\n          "
            )
        })
        .collect();
    let one = format!("s1: {{cluster: second, schema: {schema}_1, slots: 1-1}}\n");
    assert!(rules.top.contains(&one));
    rules.top =
        rules.top.replace("slots: 2\n", "slots: 5\n").replace(&one, &format!("{}\n", shards.trim_end()));
    rules.clusters.push_str(options);
    rules
}

async fn wide_split(scenario: Scenario, second: Cluster, options: &str) -> Split {
    let schema = scenario.schema();
    for shard in 2..=4 {
        let database = format!("{schema}_{shard}");
        second
            .run(
                0,
                &[
                    &format!("DROP DATABASE IF EXISTS {database}"),
                    &format!("CREATE DATABASE {database} CHARACTER SET utf8mb4"),
                ],
            )
            .await;
        for table in TABLES.iter().filter(|table| !table.starts_with("plain")) {
            second.run(0, &[&format!("CREATE TABLE {database}.{table}")]).await;
        }
    }
    Split::of(scenario, second, &TABLES, |schema, second| wide(schema, second, options)).await
}

const READS: [&str; 6] = [
    "SELECT id, name, score FROM customers ORDER BY id",
    "SELECT id FROM customers ORDER BY score DESC, id LIMIT 3",
    "SELECT COUNT(*), SUM(score), COUNT(DISTINCT name) FROM customers",
    "SELECT name, COUNT(*) FROM customers GROUP BY name ORDER BY name",
    "SELECT id FROM customers WHERE id IN (1, 2, 3) ORDER BY id",
    "SELECT score FROM customers WHERE id = 3",
];

async fn reads_of_many_shards_share_few_connections(scenario: Scenario) {
    for pool in [1, 2, 3] {
        let options = format!("    pool: {{max: {pool}, queue_timeout: 20s}}\n");
        let split = wide_split(scenario, Cluster::alone(scenario.dialect), &options).await;
        let (mut client, mut direct) = split.both().await;
        fill(&split, &mut client, &mut direct).await;
        split.stage.cluster.caught_up().await; // other sessions read there
        for sql in READS {
            split.same(&mut client, &mut direct, sql).await;
        }
        if pool == 3 {
            // Four at once are more than there are.
            let error = client.error("UPDATE customers SET score = 1 WHERE id IN (1, 2, 3, 4)").await;
            assert_eq!(error.code, 1235, "{error}");
            let sql = "UPDATE customers SET score = score + 1 WHERE id IN (1, 2, 3)";
            split.same(&mut client, &mut direct, sql).await;
        }
        split.stage.cluster.caught_up().await;
        let mut wanted = Vec::new();
        for sql in READS {
            wanted.push(rows(direct.query(sql).await));
        }
        let crowd = (0..30).map(|turn| many_reads(&split.stage, turn, &wanted));
        within("30 clients read", futures_of(crowd)).await;
        split.same(&mut client, &mut direct, READS[0]).await;
    }
}

/// All of them at once.
async fn futures_of(crowd: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut crowd: Vec<_> = crowd.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        crowd.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if crowd.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn many_reads(stage: &Stage, turn: usize, wanted: &[Vec<Vec<u8>>]) {
    let mut client = stage.raw().await;
    for round in 0..12 {
        let which = (turn + round) % READS.len();
        assert_eq!(rows(client.query(READS[which]).await), wanted[which], "{}", READS[which]);
    }
}

fn rows(outcomes: Vec<Outcome>) -> Vec<Vec<u8>> {
    match outcomes.into_iter().next() {
        Some(Outcome::Rows(result)) => result.rows,
        other => panic!("{other:?}"),
    }
}

/// A primary and a replica behind the second shard; everything is on both.
async fn with_a_replica(scenario: Scenario) -> (Split, RawClient, RawClient) {
    let second = Cluster::own(scenario.dialect, 1);
    let with_both = |schema: &str, second: &Cluster| {
        let mut rules = rules(schema, second);
        let [primary, replica] = [0, 1].map(|server| second.address(server));
        rules.clusters =
            format!("  second:\n    servers: [\"{primary}\", \"{replica}\"]\n    reads: {{max_lag: 10s}}\n");
        rules
    };
    let split = Split::of(scenario, second, &TABLES, with_both).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    split.second.caught_up().await;
    split.stage.cluster.caught_up().await;
    let replica = split.second.servers[1].port.to_string();
    until("the replica serves reads", || async {
        split.stage.raw().await.query(ALL).await;
        split.stage.proxy.metric("tidegate_pool_opened_total", &[&*replica]).await > 0
    })
    .await;
    (split, client, direct)
}

const ALL: &str = "SELECT id, score FROM customers ORDER BY id";

async fn a_replica_that_hangs_is_left_for_another_server(scenario: Scenario) {
    let (mut split, _, mut direct) = with_a_replica(scenario).await;
    // Its reads are free: they go to the replica.
    let mut reader = split.stage.raw().await;
    split.same(&mut reader, &mut direct, ALL).await;
    split.second.tell("pause", 1);
    within("a read goes on", split.same(&mut reader, &mut direct, ALL)).await;
    within("another", split.same(&mut reader, &mut direct, "SELECT COUNT(*), SUM(score) FROM customers"))
        .await;
    split.second.tell("resume", 1);
}

async fn t36_a_server_that_ends_under_a_read_is_left_for_another(scenario: Scenario) {
    let (mut split, _, mut direct) = with_a_replica(scenario).await;
    let mut reader = split.stage.raw().await;
    split.same(&mut reader, &mut direct, ALL).await;
    // For each row of the shard a while.
    let slow = "SELECT id, score FROM customers WHERE SLEEP(0.5) = 0 ORDER BY id";
    let reading = async {
        let answer = rows(reader.query(slow).await);
        assert_eq!(answer, rows(direct.query(ALL).await));
    };
    let killing = async {
        until("the replica reads", || async {
            let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User sleep'";
            split.second.root(1).await.query_first::<u64, _>(sql).await.unwrap() == Some(1)
        })
        .await;
        split.second.tell("kill", 1);
    };
    let both = async { tokio::join!(reading, killing) };
    within("the read goes on", both).await;
}

async fn a_read_at_a_server_that_hangs_can_be_killed(scenario: Scenario) {
    let mut split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    split.stage.cluster.caught_up().await; // another session reads there
    let id = client.value("SELECT CONNECTION_ID()").await.expect("an id");
    client.ok("BEGIN").await;
    client.query(ALL).await;
    let mut other = split.stage.raw().await;
    split.second.tell("pause", 0);
    client.send_query(ALL).await;
    // Whatever the KILL is told, the session ends.
    within("the KILL", other.query(&format!("KILL {id}"))).await;
    // The part at the other shard may end first, by an error as of a server's session that is killed.
    let end = async {
        if let Some(packet) = client.next().await {
            assert_eq!(ErrPacket::decode(&packet).expect("an ERR packet").code, 1317);
            client.closed().await;
        }
    };
    within("the session ends", end).await;
    split.second.tell("resume", 0);
    within("others go on", async {
        split.same(&mut other, &mut direct, ALL).await;
    })
    .await;
}

async fn what_a_merge_keeps_is_bounded(scenario: Scenario) {
    let limits = |schema: &str, second: &Cluster| {
        let mut rules = rules(schema, second);
        rules.limits = "{merge_memory: 1MiB, merge_memory_total: 2MiB}".into();
        rules
    };
    let second = Cluster::alone(scenario.dialect);
    let split = Split::of(scenario, second, &TABLES, limits).await;
    let (mut client, mut direct) = split.both().await;
    let values: Vec<_> = (1..=4000).map(|id| format!("({id}, 'name {id}', {})", id % 7)).collect();
    let sql = format!("INSERT INTO customers (id, name, score) VALUES {}", values.join(","));
    split.same(&mut client, &mut direct, &sql).await;
    for sql in [
        // Groups, distinct values, rows to be sorted, and rows that are large.
        "SELECT REPEAT(name, 30) AS n, COUNT(*) FROM customers GROUP BY n ORDER BY COUNT(*), n",
        "SELECT REPEAT('x', 1500000), id FROM customers WHERE id < 3 ORDER BY id",
    ] {
        let error = client.error(sql).await;
        assert_eq!(error.code, 1038, "{sql}: {error}");
        assert!(String::from_utf8_lossy(&error.message).contains("limits.merge_memory"), "{error}");
    }
    for sql in [
        // T50: as much as goes through is not kept.
        "SELECT id, REPEAT(name, 30) AS n FROM customers ORDER BY id",
        "SELECT id FROM customers ORDER BY id LIMIT 3 OFFSET 3990",
        "SELECT id FROM customers ORDER BY id LIMIT 10 OFFSET 76000000",
        "SELECT score, COUNT(*) FROM customers GROUP BY score ORDER BY COUNT(*) DESC, score LIMIT 2",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
}

async fn what_a_server_computes_needs_no_more_rows_than_the_limit(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for start in [1, 10_001] {
        let rows = start..start + 10_000;
        let values: Vec<_> = rows.map(|id| format!("({id}, '{id:040}', {})", id % 7)).collect();
        let sql = format!("INSERT INTO customers (id, name, score) VALUES {}", values.join(","));
        split.same(&mut client, &mut direct, &sql).await;
    }
    // Each shard has more than a MiB of groups that nobody wants.
    let sql = "SELECT name, IF(SUM(score) > 2, 'many', 'few') FROM customers GROUP BY name HAVING COUNT(*) < 5 ORDER BY name LIMIT 3";
    for sql in [sql, "BEGIN", sql, "COMMIT"] {
        split.same(&mut client, &mut direct, sql).await;
    }
}
