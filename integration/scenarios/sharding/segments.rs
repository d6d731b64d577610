//! Ids from segments (`generate: {id: segment}`): fetched ahead, told as one server's AUTO_INCREMENT, and none twice whatever ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use mysql_async::prelude::Queryable;
use tokio::task::JoinSet;

use super::generated::{GRANT, number, numbers, told};
use super::{Split, rules};
use crate::failover::receive;
use crate::harness::packets::Param;
use crate::harness::{Cluster, Login, Outcome, Proxy, RawClient, Rules, Scenario, pace, until, within};

both_dialects! {
    t04_rows_get_numbers_of_a_segment,
    two_instances_and_a_restart_repeat_no_number,
    a_segment_that_cannot_be_fetched_is_told,
    another_primary_begins_behind_what_was_lost,
    numbers_that_rows_give_are_passed,
    a_number_that_no_row_has_got_is_not_passed,
    a_row_that_is_selected_gets_a_number,
    ids_stay_unique_and_ordered_while_the_homes_primary_is_replaced,
}

const TABLES: [&str; 4] = [
    "customers (id BIGINT PRIMARY KEY, name VARCHAR(40), score BIGINT)",
    "tickets (customer_id BIGINT, id INT PRIMARY KEY, text VARCHAR(20), UNIQUE KEY (customer_id, text))",
    "plain (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(40))",
    "countries (id INT PRIMARY KEY, name VARCHAR(20))",
];

fn generating(schema: &str, second: &Cluster) -> Rules {
    let mut rules = rules(schema, second);
    for (table, key) in [("customers", "id"), ("tickets", "customer_id")] {
        let plain = format!("{table}: {key}");
        rules.top = rules.top.replace(&plain, &format!("{table}: {{key: {key}, generate: {{id: segment}}}}"));
    }
    rules.top = rules.top.replace("          orders: customer_id\n", "");
    rules
}

async fn split(scenario: Scenario) -> Split {
    split_by(scenario, generating).await
}

/// On a row of its own, however often this runs.
async fn split_by(scenario: Scenario, rules: impl Fn(&str, &Cluster) -> Rules) -> Split {
    let main = Cluster::shared(scenario.dialect);
    main.run(0, &[GRANT]).await;
    let mut root = main.root(0).await;
    let schema = scenario.schema();
    // Absent before anybody has fetched.
    let old = format!("DELETE FROM tidegate.id_segments WHERE database_name = '{schema}'");
    drop(root.query_drop(old).await);
    Split::of(scenario, Cluster::own(scenario.dialect, 0), &TABLES, rules).await
}

async fn login(split: &Split, proxy: &Proxy) -> RawClient {
    let login = Login { database: Some(split.stage.schema.clone()), ..Login::default() };
    RawClient::login(proxy.address, &login).await.expect("the login works")
}

async fn t04_rows_get_numbers_of_a_segment(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    assert_eq!(told(&mut client, "INSERT INTO tickets (customer_id, text) VALUES (1, 'a')").await, 1);
    assert_eq!(told(&mut client, "INSERT INTO tickets VALUES (2, 0, 'b'), (1, NULL, 'c')").await, 2);
    assert_eq!(told(&mut client, "INSERT INTO tickets SET id = DEFAULT, customer_id = 2").await, 4);
    // Each table counts for itself; the number is the key here.
    assert_eq!(told(&mut client, "INSERT INTO customers (name) VALUES ('x'), ('y'), ('z')").await, 1);
    assert_eq!(client.value("SELECT name FROM customers WHERE id = 2").await, Some("y".into()));
    let given = client.ok("INSERT INTO tickets (customer_id, id) VALUES (1, -7)").await;
    assert_eq!(given.affected_rows, 1);
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, 1);
    let rows = client
        .prepare("INSERT INTO tickets (customer_id, text) VALUES (?, ?), (?, ?)")
        .await
        .expect("prepared");
    for n in 0..3 {
        let values = [Param::Int(n), Param::Text(b"p"), Param::Int(n + 1), Param::Text(b"q")];
        let first = client.execute(rows, &values).await.ok().insert_id;
        assert_eq!(first, 5 + 2 * u64::try_from(n).unwrap());
        assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID() AS id").await, first);
    }
    let there = "SELECT id FROM tickets WHERE id > 0 ORDER BY id";
    assert_eq!(numbers(&mut client, there).await, (1..=10).collect::<Vec<_>>());
    // More than a segment at once, without a gap.
    let rows: Vec<String> = (1..=20_000).map(|n| format!("({n}, 't{n}')")).collect();
    let first =
        told(&mut client, &format!("INSERT INTO tickets (customer_id, text) VALUES {}", rows.join(", ")))
            .await;
    let around = format!(
        "SELECT MIN(id) = {first}, MAX(id) = {first} + 19999, COUNT(*) FROM tickets WHERE id >= {first}"
    );
    let row = client.select(&around).await.texts().remove(0);
    assert_eq!(row, ["1", "1", "20000"].map(|text| Some(text.to_owned())));
}

async fn two_instances_and_a_restart_repeat_no_number(scenario: Scenario) {
    let mut split = split(scenario).await;
    let rules = generating(&split.stage.schema, &split.second);
    let other = Proxy::start(&split.stage.cluster, &rules).await;
    let mut sessions = Vec::new();
    for which in 0..12 {
        let proxy = if which % 2 == 0 { &split.stage.proxy } else { &other };
        sessions.push(login(&split, proxy).await);
    }
    // Each session sees its own ids grow.
    let work = sessions.into_iter().enumerate().map(|(which, mut client)| async move {
        let mut ids = Vec::new();
        for n in 0..100 {
            let rows = format!("({n}, '{which} {n} a'), ({n} + 0, '{which} {n} b')").replace(" + 0", "");
            let sql =
                format!("INSERT INTO tickets (customer_id, text) VALUES {rows}, ({which}, '{which} {n} c')");
            let id = client.ok(sql).await.insert_id;
            assert!(ids.last().is_none_or(|last| *last < id), "{which}: {id} behind {:?}", ids.last());
            ids.extend([id, id + 1, id + 2]);
        }
        ids
    });
    let mut ids: Vec<u64> = work.collect::<JoinSet<_>>().join_all().await.concat();
    split.stage.proxy.crash();
    let again = Proxy::start(&split.stage.cluster, &rules).await;
    let (mut client, mut beside) = (login(&split, &again).await, login(&split, &other).await);
    for n in 0..700 {
        for (which, client) in [&mut client, &mut beside].into_iter().enumerate() {
            let sql = format!("INSERT INTO tickets (customer_id, text) VALUES ({n}, 'again {which}')");
            ids.push(client.ok(sql).await.insert_id);
        }
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "no id is given twice");
    assert_eq!(numbers(&mut client, "SELECT COUNT(DISTINCT id) FROM tickets").await, [all as u64]);
}

async fn a_segment_that_cannot_be_fetched_is_told(scenario: Scenario) {
    let rules = |schema: &str, second: &Cluster| Rules {
        pool: "{primary_wait: 1s}".into(),
        ..generating(schema, second)
    };
    let split = split_by(scenario, rules).await;
    let mut client = split.stage.raw().await;
    let insert = "INSERT INTO tickets (customer_id) VALUES (1), (2)";
    let first = client.ok(insert).await.insert_id;
    // The row is somebody else's for as long as he likes.
    let mut root = split.stage.cluster.root(0).await;
    root.query_drop("BEGIN").await.unwrap();
    let row = format!(
        "SELECT next_id FROM tidegate.id_segments WHERE database_name = '{}' AND table_name = 'tickets' FOR UPDATE",
        split.stage.schema
    );
    let _: Vec<u64> = root.query(row).await.unwrap();
    let many = format!("{insert}{}", ", (1)".repeat(400));
    let (mut last, mut outcomes) = (first, 0);
    let error = loop {
        outcomes += 1;
        match client.query(&many).await.remove(0) {
            Outcome::Ok(ok) => {
                assert!(ok.insert_id > last);
                last = ok.insert_id;
            }
            other => break other.err(),
        }
    };
    assert_eq!(error.code, 1467, "{error}");
    assert!(outcomes > 1, "what was fetched ahead is used");
    assert!(
        String::from_utf8_lossy(&error.message).contains("no segment of numbers could be fetched"),
        "{error}"
    );
    // What needs no id goes on.
    client.ok("INSERT INTO tickets (id, customer_id) VALUES (-7, 1), (-8, 2)").await;
    root.query_drop("ROLLBACK").await.unwrap();
    let mut pace = pace();
    within("numbers are fetched again", async {
        loop {
            pace.tick().await;
            if let Outcome::Ok(ok) = client.query(&many).await.remove(0) {
                return assert!(ok.insert_id > last);
            }
        }
    })
    .await;
    let distinct = "SELECT COUNT(*) = COUNT(DISTINCT id) FROM tickets";
    assert_eq!(numbers(&mut client, distinct).await, [1]);
}

/// The row is as an older replica would have it that another server became the primary from.
async fn another_primary_begins_behind_what_was_lost(scenario: Scenario) {
    let mut split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let mut last = 0;
    for n in 0..900 {
        last =
            client.ok(format!("INSERT INTO tickets (customer_id, text) VALUES ({n}, 'x')")).await.insert_id;
    }
    assert_eq!(last, 900);
    let mut root = split.stage.cluster.root(0).await;
    let name = format!("database_name = '{}' AND table_name = 'tickets'", split.stage.schema);
    root.query_drop(format!("UPDATE tidegate.id_segments SET next_id = 1, server = 99 WHERE {name}"))
        .await
        .unwrap();
    // Another instance knows nothing of the numbers that this one has had.
    split.stage.proxy.crash();
    let rules = generating(&split.stage.schema, &split.second);
    let again = Proxy::start(&split.stage.cluster, &rules).await;
    let mut client = login(&split, &again).await;
    let widest: u64 = root
        .query_first(format!("SELECT widest FROM tidegate.id_segments WHERE {name}"))
        .await
        .unwrap()
        .expect("a row");
    let first = client.ok("INSERT INTO tickets (customer_id, text) VALUES (1, 'y')").await.insert_id;
    assert_eq!(first, 1 + 16 * widest);
    // The row is lost altogether: it begins behind what this instance has had.
    root.query_drop(format!("DELETE FROM tidegate.id_segments WHERE {name}")).await.unwrap();
    let rows = "(1)".to_owned() + &", (2)".repeat(2999);
    let later = client.ok(format!("INSERT INTO tickets (customer_id) VALUES {rows}")).await.insert_id;
    assert!(later > first, "{first} {later}");
    let distinct = "SELECT COUNT(*) = COUNT(DISTINCT id) FROM tickets";
    assert_eq!(numbers(&mut client, distinct).await, [1]);
}

async fn numbers_that_rows_give_are_passed(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let insert = "INSERT INTO tickets (customer_id, text) VALUES (1, NULL)";
    let given =
        client.prepare("INSERT INTO tickets (customer_id, id) VALUES (?, ?)").await.expect("prepared");
    let mut next = 1;
    for (n, id) in [0, 5, 3, 900, 700_000, 6000, 1_000_000].into_iter().enumerate() {
        if id > 0 && n % 2 == 0 {
            client.ok(format!("INSERT INTO tickets (customer_id, id) VALUES (2, '{id}'), (1, -{id})")).await;
        } else if id > 0 {
            client.execute(given, &[Param::Int(1), Param::Int(id)]).await.ok();
        }
        next = next.max(u64::try_from(id).unwrap() + 1);
        assert_eq!(told(&mut client, insert).await, next, "behind {id}");
        next += 1;
    }
    let mixed = "INSERT INTO tickets (customer_id, id) VALUES (1, NULL), (2, 1000500), (1, 0)";
    assert_eq!(told(&mut client, mixed).await, 1_000_501);
    // Who starts later begins behind them, too.
    let rules = generating(&split.stage.schema, &split.second);
    let again = Proxy::start(&split.stage.cluster, &rules).await;
    let mut other = login(&split, &again).await;
    assert!(other.ok(insert).await.insert_id > 1_000_502);
}

/// As AUTO_INCREMENT's counter, which a statement that fails does not move, with one exception: rows in front of the one that fails, which
/// are taken back here as they are there (tried on both).
async fn a_number_that_no_row_has_got_is_not_passed(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    client.ok("INSERT INTO tickets (customer_id, text) VALUES (1, 'a'), (2, 'b')").await;
    let mut next = 3;
    for (sql, code) in [
        ("INSERT INTO tickets (customer_id, id, text) VALUES (1, 2000000000, 'a')", 1062),
        ("INSERT INTO tickets (customer_id, id, text) VALUES (1, 1, 'other')", 1062),
        (
            "INSERT INTO tickets (customer_id, id, text) VALUES (3, 2000000001, 'too long for this column')",
            1406,
        ),
        ("INSERT INTO tickets (customer_id, id) VALUES (1, 99999999999)", 1264),
        // Rows for both shards; one of them is in until the other one fails.
        (
            "INSERT INTO tickets (customer_id, id, text) VALUES (2, 2000000002, 'c'), (1, 2000000003, 'a')",
            1062,
        ),
        ("INSERT INTO tickets (customer_id, id, text) VALUES (2, NULL, 'c'), (1, 2000000003, 'a')", 1062),
        ("INSERT INTO tickets (customer_id, id, missing) VALUES (1, 2000000004, 'a')", 1054),
    ] {
        assert_eq!(client.error(sql).await.code, code, "{sql}");
        next += u64::from(sql.contains("NULL"));
        assert_eq!(
            told(&mut client, "INSERT INTO tickets (customer_id) VALUES (1)").await,
            next,
            "behind {sql}"
        );
        next += 1;
    }
    let prepared = client
        .prepare("INSERT INTO tickets (customer_id, id, text) VALUES (?, ?, ?), (2, ?, ?)")
        .await
        .expect("prepared");
    let values = [Param::Int(1), Param::Int(2_000_000_005), Param::Text(b"a")];
    let values = [&values[..], &[Param::Int(2_000_000_006), Param::Text(b"d")]].concat();
    assert_eq!(client.execute(prepared, &values).await.err().code, 1062);
    for sql in [
        "INSERT IGNORE INTO tickets (customer_id, id, text) VALUES (1, 2000000007, 'a')",
        "INSERT INTO tickets (customer_id, id, text) VALUES (1, 2000000008, 'a') ON DUPLICATE KEY UPDATE text = 'e'",
        // The column has got its largest number, and the shard's server would make no other one.
        "INSERT IGNORE INTO tickets (customer_id, id, text) VALUES (1, 99999999999, 'f')",
    ] {
        client.ok(sql).await;
        assert_eq!(
            told(&mut client, "INSERT INTO tickets (customer_id) VALUES (1)").await,
            next,
            "behind {sql}"
        );
        next += 1;
    }
    assert_eq!(number(&mut client, "SELECT MAX(id) FROM tickets").await, 2_147_483_647);
    // Those that are in are passed, also if they are taken back then.
    client.ok("REPLACE INTO tickets (customer_id, id, text) VALUES (2, 500000, 'b')").await;
    assert_eq!(told(&mut client, "INSERT INTO tickets (customer_id) VALUES (2)").await, 500_001);
    client.ok("BEGIN").await;
    client.ok("INSERT INTO tickets (customer_id, id) VALUES (2, 600000)").await;
    client.ok("ROLLBACK").await;
    assert_eq!(told(&mut client, "INSERT INTO tickets (customer_id) VALUES (2)").await, 600_001);
    let both = "INSERT INTO tickets (customer_id, id) VALUES (2, 700000), (1, NULL), (1, 700005)";
    assert_eq!(told(&mut client, both).await, 600_002);
    assert_eq!(told(&mut client, "INSERT INTO tickets (customer_id) VALUES (2)").await, 700_006);
}

async fn a_row_that_is_selected_gets_a_number(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let sql = "INSERT INTO tickets (customer_id, text) SELECT 1, 'a' ON DUPLICATE KEY UPDATE text = 'a'";
    assert_eq!(told(&mut client, sql).await, 1);
    assert_eq!(number(&mut client, "SELECT id FROM tickets WHERE customer_id = 1").await, 1);
    let again = client.ok(sql).await;
    assert_eq!((again.affected_rows, again.insert_id), (0, 0));
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, 1);
    let prepared = client
        .prepare("INSERT INTO tickets (customer_id, id, text) SELECT ?, ?, 'p'")
        .await
        .expect("prepared");
    let id = client.execute(prepared, &[Param::Int(2), Param::Null]).await.ok().insert_id;
    assert_eq!(numbers(&mut client, "SELECT id FROM tickets WHERE text = 'p'").await, [id]);
    let error = client
        .error("INSERT INTO tickets (customer_id) SELECT customer_id FROM tickets WHERE customer_id = 1")
        .await;
    assert!(String::from_utf8_lossy(&error.message).contains("(generated-unclear)"), "{error}");
}

/// Sessions of two instances insert all the time, into shards elsewhere. The home's replicas get nothing more, its primary fetches on and dies, and
/// one of them takes its place with a row that knows older numbers.
async fn ids_stay_unique_and_ordered_while_the_homes_primary_is_replaced(scenario: Scenario) {
    let (schema, second) = (scenario.schema(), Cluster::own(scenario.dialect, 0));
    for shard in 0..2 {
        let own = format!("{schema}_{shard}");
        let table = format!("CREATE TABLE {own}.{}", TABLES[1]);
        second.run(0, &[&format!("CREATE DATABASE {own}"), &table]).await;
    }
    let mut rules = generating(&schema, &second);
    let (at_home, there) =
        (format!("{{cluster: main, schema: {schema}_0"), format!("{{cluster: second, schema: {schema}_0"));
    assert!(rules.top.contains(&at_home));
    rules.top = rules.top.replace(&at_home, &there);
    let follows = Rules { pool: "{primary_wait: 25s}".into(), ..rules };
    let promotes = Rules { in_cluster: crate::failover::rules().in_cluster, ..follows.clone() };
    let mut stage = scenario.own_stage(2, promotes).await;
    stage.given(&[GRANT]).await;
    stage.proxy.until_logged("Tidegate promotes a replica").await;
    let other = Proxy::start(&stage.cluster, &follows).await;
    let (inserted, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let highest = Arc::new(AtomicU64::new(0));
    let mut writers = JoinSet::new();
    for which in 0..6 {
        let proxy = if which % 2 == 0 { &stage.proxy } else { &other };
        let login = Login { database: Some(schema.clone()), ..Login::default() };
        let mut client = RawClient::login(proxy.address, &login).await.expect("the login works");
        let (inserted, ends) = (Arc::clone(&inserted), Arc::clone(&ends));
        let highest = Arc::clone(&highest);
        writers.spawn(async move {
            let mut ids = Vec::new();
            for n in 0.. {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                let sql = format!("INSERT INTO tickets (customer_id, text) VALUES ({n}, '{which} {n}'), ({n} + 0, '{which} {n} too')");
                let id = client.ok(sql.replace(" + 0", "")).await.insert_id;
                ids.extend([id, id + 1]);
                highest.fetch_max(id + 1, Ordering::SeqCst);
                inserted.fetch_add(1, Ordering::SeqCst);
            }
            ids
        });
    }
    let more = async |wanted: usize| {
        let goal = inserted.load(Ordering::SeqCst) + wanted;
        until("rows are inserted", || async { inserted.load(Ordering::SeqCst) >= goal }).await;
    };
    more(600).await;
    let mut root = stage.cluster.root(1).await;
    for server in [1, 2] {
        stage.cluster.run(server, &[receive(scenario, false)]).await;
    }
    let row = format!(
        "SELECT next_id FROM tidegate.id_segments WHERE database_name = '{schema}' AND table_name = 'tickets'"
    );
    let known: u64 = root.query_first(&row).await.unwrap().expect("a row");
    stage
        .cluster
        .until_number(0, "numbers are fetched that no replica knows of", &row, |next| next > known + 1000)
        .await;
    stage.cluster.tell("kill", 0);
    for server in [1, 2] {
        stage.cluster.run(server, &[receive(scenario, true)]).await;
    }
    let fetched = format!(
        "SELECT COUNT(*) FROM tidegate.id_segments WHERE database_name = '{schema}' AND server = @@server_id"
    );
    let next = crate::failover::primary(&stage).await;
    assert_ne!(next, 0);
    stage
        .cluster
        .until_number(next, "numbers are fetched at the new primary", &fetched, |rows| rows > 0)
        .await;
    let lasts: u64 = stage.cluster.root(next).await.query_first(&row).await.unwrap().expect("a row");
    // What was fetched ahead before is used up then.
    until("ids of the new primary are given out", || async { highest.load(Ordering::SeqCst) > lasts }).await;
    ends.store(true, Ordering::SeqCst);
    let sessions = writers.join_all().await;
    assert!(sessions.iter().all(|ids| ids.is_sorted()), "each session's ids grow");
    let mut ids = sessions.concat();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "no id is given twice");
    assert!(ids.iter().any(|id| *id < known) && ids.iter().any(|id| *id > lasts));
    let mut client = stage.raw().await;
    let there = "SELECT COUNT(*), COUNT(DISTINCT id), SUM(id) FROM tickets";
    let sum: u64 = ids.iter().sum();
    let row = client.select(there).await.texts().remove(0);
    assert_eq!(row, [all.to_string(), all.to_string(), sum.to_string()].map(Some));
}
