//! Values that Tidegate makes for rows: told and kept as one server's AUTO_INCREMENT, unique over shards and instances.

use mysql_async::prelude::Queryable;

use super::{Split, rules};
use crate::harness::packets::Param;
use crate::harness::{Cluster, Outcome, Proxy, RawClient, Rules, Scenario, pace, within};

both_dialects! {
    t04_rows_get_ids_as_from_auto_increment,
    t04_rows_of_several_shards_get_ids,
    t04_prepared_rows_get_ids,
    t04_prepared_rows_of_several_shards_get_ids,
    a_row_that_is_there_keeps_its_id,
    a_made_key_leads_to_its_shard,
    a_hundred_thousand_rows_get_ids,
    a_restart_and_a_second_instance_repeat_no_id,
    a_lease_that_is_lost_is_told_and_got_again,
}

const TABLES: [&str; 4] = [
    "customers (id BIGINT PRIMARY KEY, name VARCHAR(40), score BIGINT)",
    "tickets (customer_id BIGINT, id BIGINT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(20), UNIQUE KEY (customer_id, text))",
    "plain (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(40))",
    "countries (id INT PRIMARY KEY, name VARCHAR(20))",
];

/// What the monitor's account needs.
pub(super) const GRANT: &str = "GRANT SELECT, INSERT, UPDATE, CREATE ON tidegate.* TO tidegate@'%'";

fn generating(schema: &str, second: &Cluster) -> Rules {
    let mut rules = rules(schema, second);
    for (table, key) in [("customers", "id"), ("tickets", "customer_id")] {
        let plain = format!("{table}: {key}");
        rules.top =
            rules.top.replace(&plain, &format!("{table}: {{key: {key}, generate: {{id: snowflake}}}}"));
    }
    rules.top = rules.top.replace("          orders: customer_id\n", "");
    rules
}

async fn split(scenario: Scenario) -> Split {
    Cluster::shared(scenario.dialect).run(0, &[GRANT]).await;
    Split::of(scenario, Cluster::own(scenario.dialect, 0), &TABLES, generating).await
}

pub(super) async fn number(client: &mut RawClient, sql: &str) -> u64 {
    client.value(sql).await.expect("a value").parse().expect("a number")
}

pub(super) async fn numbers(client: &mut RawClient, sql: &str) -> Vec<u64> {
    let rows = client.select(sql).await.texts();
    rows.into_iter().map(|row| row[0].as_deref().expect("a value").parse().expect("a number")).collect()
}

/// The id that the client is told of an INSERT is what it asks for then, under each of its names.
pub(super) async fn told(client: &mut RawClient, sql: &str) -> u64 {
    let told = client.ok(sql).await.insert_id;
    for asked in ["SELECT LAST_INSERT_ID() AS id", "SELECT @@last_insert_id", "SELECT @@identity AS x"] {
        assert_eq!(number(client, asked).await, told, "{asked} behind {sql}");
    }
    told
}

async fn t04_rows_get_ids_as_from_auto_increment(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let mut before = 0;
    // All of these ask for a value; each of the forms has its own way into the text.
    for (n, sql) in [
        "INSERT INTO tickets (customer_id, text) VALUES (1, '{}')",
        "INSERT INTO tickets (customer_id, text, id) VALUES (1, '{}', NULL)",
        "INSERT INTO tickets (customer_id, id, text) VALUES (1, DEFAULT, '{}')",
        "INSERT INTO tickets (id, customer_id, text) VALUE (0, 1, '{}');",
        "INSERT INTO tickets (id, customer_id, text) VALUES ('0', 1, '{}')",
        "INSERT INTO tickets (`ID`, customer_id, text) VALUES (-0.4, 1, '{}')",
        "INSERT /* (1) */ INTO tickets(tickets.customer_id /* ( */, text)VALUES(1,'{}') -- end",
        "INSERT INTO tickets SET customer_id = 1, text = '{}'",
        "INSERT tickets SET id = NULL, customer_id = 1, text = '{}'",
        "INSERT tickets SET tickets.customer_id = 1, text = '{}', tickets.id = DEFAULT",
        "REPLACE INTO tickets (customer_id, text) VALUES (1, '{}')",
        "INSERT INTO tickets VALUES (1, NULL, '{}')",
        "INSERT tickets VALUES (1, 0, '{}'), (1, DEFAULT, '{} too')",
    ]
    .iter()
    .enumerate()
    {
        let id = told(&mut client, &sql.replace("{}", &n.to_string())).await;
        let there = format!("SELECT id FROM tickets WHERE customer_id = 1 AND text = '{n}'");
        assert_eq!(number(&mut client, &there).await, id, "{sql}");
        assert!(id > before, "ids are ordered: {before} {id}");
        before = id;
    }
    // A value that is given is no LAST_INSERT_ID().
    for sql in [
        "INSERT INTO tickets (customer_id, id) VALUES (1, 77)",
        "INSERT INTO tickets (customer_id, id) VALUES (1, '78'), (1, -5)",
    ] {
        client.ok(sql).await;
        assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, before, "{sql}");
    }
    assert_eq!(numbers(&mut client, "SELECT COUNT(*) FROM tickets WHERE id IN (77, 78, -5)").await, [3]);
    // Of several rows the first id that was made.
    let first =
        told(&mut client, "INSERT INTO tickets (customer_id, text) VALUES (3, 'a'), (3, 'b'), (3, 'c')")
            .await;
    let mixed = told(
        &mut client,
        "INSERT INTO tickets (customer_id, id) VALUES (5, 800), (5, NULL), (5, 801), (5, 0)",
    )
    .await;
    let ids = numbers(&mut client, "SELECT id FROM tickets WHERE customer_id IN (3, 5) ORDER BY id").await;
    assert_eq!(ids, [800, 801, first, first + 1, first + 2, mixed, mixed + 1]);
    // A transaction, and what is read of the value within a statement.
    client.ok("BEGIN").await;
    let id = told(&mut client, "INSERT INTO tickets (customer_id, text) VALUES (7, 't')").await;
    client.ok("INSERT INTO customers (id, name, score) VALUES (7, 'of t', LAST_INSERT_ID())").await;
    assert_eq!(number(&mut client, "SELECT score FROM customers WHERE id = 7").await, id);
    client.ok("ROLLBACK").await;
    // At home the server makes its own, and both are known behind each other.
    assert_eq!(told(&mut client, "INSERT INTO plain (text) VALUES ('a')").await, 1);
    let id = told(&mut client, "INSERT INTO tickets (customer_id, text) VALUES (7, 't')").await;
    assert_eq!(told(&mut client, "INSERT INTO plain (text) VALUES ('b')").await, 2);
    assert!(told(&mut client, "INSERT INTO tickets (customer_id, text) VALUES (7, 'u')").await > id);
    let error = client.error("INSERT INTO tickets (customer_id, text) VALUES (7, 'u')").await;
    assert_eq!(error.code, 1062);
    // 0 is a value where sql_mode says so; what only a server can tell from 0 is refused.
    client.ok("SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')").await;
    client.ok("INSERT INTO tickets (customer_id, id) VALUES (9, 0)").await;
    assert_eq!(number(&mut client, "SELECT id FROM tickets WHERE customer_id = 9").await, 0);
    for value in ["1 - 1", "''", "'0.0'", "x'00'", "FALSE", "(SELECT 0)", "DEFAULT(id)"] {
        let sql = format!("INSERT INTO tickets (customer_id, id) VALUES (9, {value})");
        let Some(Outcome::Err(error)) = client.query(&sql).await.pop() else { panic!("{sql}: not refused") };
        assert!(
            String::from_utf8_lossy(&error.message).contains("(generated-unclear)") || value == "(SELECT 0)",
            "{sql}: {error}"
        );
    }
    assert_eq!(numbers(&mut client, "SELECT COUNT(*) FROM tickets WHERE customer_id = 9").await, [1]);
}

async fn t04_rows_of_several_shards_get_ids(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let sql = "INSERT INTO tickets (customer_id, text) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')";
    let ok = client.ok(sql).await;
    assert_eq!((ok.affected_rows, &*ok.info), (4, "Records: 4  Duplicates: 0  Warnings: 0"));
    let first = number(&mut client, "SELECT LAST_INSERT_ID()").await;
    assert_eq!(ok.insert_id, first);
    assert_eq!(
        numbers(&mut client, "SELECT id FROM tickets ORDER BY text").await,
        [first, first + 1, first + 2, first + 3]
    );
    let mixed = told(
        &mut client,
        "INSERT INTO tickets (id, customer_id) VALUES (900, 1), (NULL, 2), (0, 1), (901, 2)",
    )
    .await;
    assert_eq!(
        numbers(&mut client, "SELECT id FROM tickets WHERE text IS NULL ORDER BY id").await,
        [900, 901, mixed, mixed + 1]
    );
    let ignored = client.ok("INSERT IGNORE INTO tickets (customer_id, text) VALUES (1, 'a'), (2, 'b')").await;
    assert_eq!((ignored.affected_rows, ignored.insert_id), (0, 0));
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, mixed);
    let error = client.error("INSERT INTO tickets (customer_id, text) VALUES (5, 'new'), (2, 'b')").await;
    assert_eq!(error.code, 1062);
    assert_eq!(numbers(&mut client, "SELECT COUNT(*) FROM tickets WHERE customer_id = 5").await, [0]);
}

async fn t04_prepared_rows_get_ids(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let mut before = 0;
    let asks = [Param::Null, Param::Int(0), Param::Text(b"0"), Param::Null];
    let absent =
        client.prepare("INSERT INTO tickets (customer_id, text) VALUES (?, ?)").await.expect("prepared");
    let given = client
        .prepare("INSERT INTO tickets (customer_id, text, id) VALUES (?, ?, ?)")
        .await
        .expect("prepared");
    let unlisted = client.prepare("INSERT INTO tickets VALUES (?, ?, ?)").await.expect("prepared");
    let last = client.prepare("SELECT LAST_INSERT_ID() AS id").await.expect("prepared");
    for (n, id) in asks.into_iter().enumerate() {
        let text = n.to_string();
        let with_id = [Param::Int(1), Param::Text(text.as_bytes()), id.clone()];
        let in_order = [Param::Int(3), id, Param::Text(text.as_bytes())];
        for (statement, params) in [
            (absent, &[Param::Int(2), Param::Text(text.as_bytes())][..]),
            (given, &with_id),
            (unlisted, &in_order),
        ] {
            let told = client.execute(statement, params).await.ok().insert_id;
            assert!(told > before);
            before = told;
            let asked = client.execute(last, &[]).await.rows();
            assert_eq!(asked.rows[0][2..10], told.to_le_bytes(), "prepared");
            assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, told);
            assert_eq!(number(&mut client, "SELECT MAX(id) FROM tickets").await, told);
        }
    }
    client.execute(given, &[Param::Int(1), Param::Null, Param::Int(66)]).await.ok();
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, before);
    // Without any parameter of the client's; rows whose key is made; types that are not sent again.
    let none = client.prepare("INSERT INTO tickets (customer_id) VALUES (2)").await.expect("prepared");
    let set = client.prepare("INSERT INTO tickets SET customer_id = ?").await.expect("prepared");
    let key = client.prepare("INSERT INTO customers (name) VALUES (?)").await.expect("prepared");
    for _ in 0..4 {
        assert!(client.execute(none, &[]).await.ok().insert_id > before);
        assert!(client.execute(set, &[Param::Int(1)]).await.ok().insert_id > before);
        let id = client.execute(key, &[Param::Text(b"x")]).await.ok().insert_id;
        assert_eq!(number(&mut client, &format!("SELECT COUNT(*) FROM customers WHERE id = {id}")).await, 1);
    }
    client.send_execute(absent, 0, &[Param::Int(2), Param::Text(b"untyped")], false).await;
    let id = client.outcome().await.ok().insert_id;
    assert_eq!(number(&mut client, "SELECT id FROM tickets WHERE text = 'untyped'").await, id);
    let rows = "INSERT INTO customers (id, name) VALUES (1 + ?, 'x')";
    let error = client.prepare(rows).await.expect_err("an expression");
    assert!(String::from_utf8_lossy(&error.message).contains("(generated-unclear)"), "{error}");
}

async fn t04_prepared_rows_of_several_shards_get_ids(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let (int, text) = (Param::Int, |text: &'static str| Param::Text(text.as_bytes()));
    let rows = "INSERT INTO tickets (customer_id, text) VALUES (?, ?), (?, ?), (3, ?)";
    let rows = client.prepare(rows).await.expect("prepared");
    for n in 10..14 {
        let values = [int(n), text("a"), int(20 + n), text("b"), text("c")];
        client.ok("DELETE FROM tickets WHERE customer_id = 3").await;
        client.send_execute(rows, 0, &values, n != 12).await;
        let ok = client.outcome().await.ok();
        assert_eq!((ok.affected_rows, &*ok.info), (3, "Records: 3  Duplicates: 0  Warnings: 0"));
        let first = number(&mut client, "SELECT LAST_INSERT_ID()").await;
        assert_eq!(ok.insert_id, first);
        let there = format!("SELECT id FROM tickets WHERE customer_id IN ({n}, 20 + {n}, 3) ORDER BY text");
        assert_eq!(numbers(&mut client, &there).await, [first, first + 1, first + 2]);
    }
    // Given, asked for in each way, and both; the same statement leads to one shard and to two.
    let given =
        "INSERT INTO tickets (id, customer_id) VALUES (?, ?), (?, ?) ON DUPLICATE KEY UPDATE text = ?";
    let given = client.prepare(given).await.expect("prepared");
    let mut made = number(&mut client, "SELECT LAST_INSERT_ID()").await;
    let mut next = 900;
    for (one, other) in
        [(None, Some(Param::Null)), (None, Some(int(0))), (Some(text("0")), Some(Param::Null)), (None, None)]
    {
        for customer in [52, 53] {
            let asks = one.is_some() || other.is_some();
            let value = |asked: &Option<Param<'static>>, next| asked.clone().unwrap_or(Param::Int(next));
            let ids = [value(&one, next), value(&other, next + 1)];
            next += 2;
            let [one, other] = ids;
            let values = [one, int(51), other, int(customer), text("again")];
            let ok = client.execute(given, &values).await.ok();
            assert_eq!(ok.affected_rows, 2);
            let last = number(&mut client, "SELECT LAST_INSERT_ID()").await;
            match asks {
                true => assert!(last > made && ok.insert_id == last),
                false => assert_eq!(last, made, "nothing was made"),
            }
            made = last;
        }
    }
    // The server tells the id that was given last, and nothing of the row before.
    let error = client.execute(given, &[int(0), int(51), int(999), int(52), text("again")]).await.err();
    assert!(String::from_utf8_lossy(&error.message).contains("(generated-unclear)"), "{error}");
    assert_eq!(numbers(&mut client, "SELECT COUNT(*) FROM tickets WHERE customer_id > 50").await, [16]);
    assert_eq!(numbers(&mut client, "SELECT COUNT(*) = COUNT(DISTINCT id) FROM tickets").await, [1]);
    // The made value is the key.
    let keys =
        client.prepare("INSERT INTO customers (name) VALUES (?), (?), (?), (?)").await.expect("prepared");
    for n in 1..=3 {
        let id = client.execute(keys, &[text("a"), text("b"), text("c"), text("d")]).await.ok().insert_id;
        let there = format!("SELECT name FROM customers WHERE id = {}", id + 3);
        assert_eq!(client.value(there).await, Some("d".to_owned()));
        assert_eq!(numbers(&mut client, "SELECT COUNT(*) FROM customers").await, [4 * n]);
    }
    for (shard, cluster) in [(0, &split.stage.cluster), (1, &split.second)] {
        let sql =
            format!("SELECT COUNT(*), SUM(id % 2 = {shard}) FROM {}_{shard}.customers", split.stage.schema);
        let (all, right): (u64, u64) = cluster.root(0).await.query_first(sql).await.unwrap().unwrap();
        assert_eq!((all, right), (6, 6));
    }
    // All or nothing, and within a transaction as its text.
    client.ok("INSERT INTO tickets (customer_id, text) VALUES (2, 'there')").await;
    let values = [int(7), text("new"), int(2), text("there"), text("new")];
    assert_eq!(client.execute(rows, &values).await.err().code, 1062);
    assert_eq!(numbers(&mut client, "SELECT COUNT(*) FROM tickets WHERE text = 'new'").await, [0]);
    client.ok("BEGIN").await;
    let error = client.execute(rows, &values).await.err();
    assert_eq!(error.code, 1235, "{error}");
    client.ok("ROLLBACK").await;
}

async fn a_row_that_is_there_keeps_its_id(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, mut direct) = split.both().await;
    let there = told(&mut client, "INSERT INTO tickets (customer_id, text) VALUES (1, 'a')").await;
    direct.ok(format!("INSERT INTO tickets (customer_id, text, id) VALUES (1, 'a', {there})")).await;
    direct.ok(format!("SELECT LAST_INSERT_ID({there})").replace("SELECT", "DO")).await;
    let insert = |text: &str, set: &str| {
        format!("INSERT INTO tickets (customer_id, text) VALUES (1, '{text}') ON DUPLICATE KEY UPDATE {set}")
    };
    // What one server tells of a row that is there: nothing, or what LAST_INSERT_ID(id) makes of it.
    for set in ["text = 'b'", "id = LAST_INSERT_ID(id), text = 'a'", "id = LAST_INSERT_ID(id)"] {
        let sql = insert(if set == "text = 'b'" { "a" } else { "b" }, set);
        let sql = if set == "id = LAST_INSERT_ID(id)" { sql.replace("'b'", "'a'") } else { sql };
        let (ours, theirs) = (client.ok(&sql).await, direct.ok(&sql).await);
        assert_eq!((ours.insert_id, ours.affected_rows), (theirs.insert_id, theirs.affected_rows), "{sql}");
        assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, there, "{sql}");
    }
    let id = told(&mut client, &insert("new", "text = 'old'")).await;
    assert_eq!(number(&mut client, "SELECT id FROM tickets WHERE text = 'new'").await, id);
    assert!(id > there);
    let id = told(&mut client, &insert("newer", "id = LAST_INSERT_ID(id)")).await;
    assert_eq!(number(&mut client, "SELECT id FROM tickets WHERE text = 'newer'").await, id);
    let replaced = told(&mut client, "REPLACE INTO tickets (customer_id, text) VALUES (1, 'newer')").await;
    assert_eq!(number(&mut client, "SELECT id FROM tickets WHERE text = 'newer'").await, replaced);
}

async fn a_made_key_leads_to_its_shard(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    for n in 0..20 {
        let id = told(&mut client, &format!("INSERT INTO customers (name) VALUES ('{n}')")).await;
        assert_eq!(
            client.value(format!("SELECT name FROM customers WHERE id = {id}")).await,
            Some(n.to_string())
        );
    }
    client.ok("INSERT INTO customers (name) VALUES ('a'), ('b'), ('c'), ('d')").await;
    client.ok("INSERT INTO customers () VALUES ()").await;
    client.ok("INSERT INTO customers VALUES ()").await;
    assert_eq!(numbers(&mut client, "SELECT COUNT(*) FROM customers").await, [26]);
    // Past Tidegate: each row is where its key says.
    for (shard, cluster) in [(0, &split.stage.cluster), (1, &split.second)] {
        let sql =
            format!("SELECT COUNT(*), SUM(id % 2 = {shard}) FROM {}_{shard}.customers", split.stage.schema);
        let (all, right): (u64, u64) = cluster.root(0).await.query_first(sql).await.unwrap().unwrap();
        assert!(all > 0 && all == right, "{all} {right}");
    }
}

async fn a_hundred_thousand_rows_get_ids(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let rows: Vec<String> = (1..=100_000).map(|n| format!("({n}, 't{n}')")).collect();
    let sql = format!("INSERT INTO tickets (customer_id, text) VALUES {}", rows.join(", "));
    let first = told(&mut client, &sql).await;
    assert_eq!(numbers(&mut client, "SELECT COUNT(*) FROM tickets").await, [100_000]);
    assert_eq!(numbers(&mut client, "SELECT MIN(id) FROM tickets").await, [first]);
    // Time and count of the last one: there is no gap, so none is there twice.
    let tick = |id: u64| (id >> 22) << 12 | id & 4095;
    let last = number(&mut client, "SELECT MAX(id) FROM tickets").await;
    assert_eq!(tick(last) - tick(first), 99_999);
    let in_order = "SELECT customer_id FROM tickets ORDER BY id LIMIT 10 OFFSET 5000";
    assert_eq!(numbers(&mut client, in_order).await, (5001..=5010).collect::<Vec<_>>());
}

async fn a_restart_and_a_second_instance_repeat_no_id(scenario: Scenario) {
    let mut split = split(scenario).await;
    let rules = generating(&split.stage.schema, &split.second);
    let other = Proxy::start(&split.stage.cluster, &rules).await;
    let mut sessions = Vec::new();
    for address in [split.stage.proxy.address, other.address] {
        let login =
            crate::harness::Login { database: Some(split.stage.schema.clone()), ..Default::default() };
        sessions.push(RawClient::login(address, &login).await.expect("the login works"));
    }
    let mut ids = Vec::new();
    for n in 0..200 {
        for (which, client) in sessions.iter_mut().enumerate() {
            let sql = format!(
                "INSERT INTO tickets (customer_id, text) VALUES ({n}, '{which} a'), ({n}, '{which} b')"
            );
            let id = client.ok(sql).await.insert_id;
            ids.extend([id, id + 1]);
        }
    }
    split.stage.proxy.crash();
    let again = Proxy::start(&split.stage.cluster, &rules).await;
    let login = crate::harness::Login { database: Some(split.stage.schema.clone()), ..Default::default() };
    let mut client = RawClient::login(again.address, &login).await.expect("the login works");
    for n in 0..200 {
        let sql = format!("INSERT INTO tickets (customer_id, text) VALUES ({n}, 'again')");
        ids.push(client.ok(sql).await.insert_id);
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "no id is given twice");
    let node = |id: &u64| id >> 12 & 1023;
    let nodes: std::collections::BTreeSet<_> = ids.iter().map(node).collect();
    assert_eq!(nodes.len(), 3, "each instance has a node of its own");
    assert_eq!(numbers(&mut client, "SELECT COUNT(DISTINCT id) FROM tickets").await, [all as u64]);
}

async fn a_lease_that_is_lost_is_told_and_got_again(scenario: Scenario) {
    Cluster::shared(scenario.dialect).run(0, &[GRANT]).await;
    let rules = |schema: &str, second: &Cluster| Rules {
        pool: "{primary_wait: 1s}".into(),
        ..generating(schema, second)
    };
    let split = Split::of(scenario, Cluster::own(scenario.dialect, 0), &TABLES, rules).await;
    let mut client = split.stage.raw().await;
    let insert = "INSERT INTO tickets (customer_id, text) VALUES (1, NULL), (2, NULL)";
    let node = |id: u64| id >> 12 & 1023;
    let first = client.ok(insert).await.insert_id;
    let mut ids = vec![first];
    // Another instance has it: a new one is leased.
    let mut root = split.stage.cluster.root(0).await;
    root.query_drop(format!("UPDATE tidegate.id_nodes SET owner = 'other' WHERE node = {}", node(first)))
        .await
        .unwrap();
    split.stage.proxy.until_logged("is another instance's: a new one is leased").await;
    ids.push(client.ok(insert).await.insert_id);
    let held = node(ids[1]);
    assert_ne!(node(first), held);
    // It cannot be renewed.
    root.query_drop("BEGIN").await.unwrap();
    let row = format!("SELECT owner FROM tidegate.id_nodes WHERE node = {held} FOR UPDATE");
    let _: Vec<String> = root.query(row).await.unwrap();
    let mut pace = pace();
    let error = loop {
        pace.tick().await;
        match client.query(insert).await.remove(0) {
            Outcome::Ok(ok) => ids.push(ok.insert_id),
            other => break other.err(),
        }
    };
    assert_eq!(error.code, 1467, "{error}");
    // What needs no id goes on.
    client.ok("INSERT INTO tickets (id, customer_id) VALUES (7, 1), (8, 2)").await;
    let prepared = client.prepare("INSERT INTO tickets (customer_id) VALUES (?)").await.expect("prepared");
    assert_eq!(client.execute(prepared, &[Param::Int(1)]).await.err().code, 1467);
    client.ok("BEGIN").await;
    client.ok("UPDATE tickets SET text = 'seven' WHERE customer_id = 1 AND id = 7").await;
    assert_eq!(client.error("INSERT INTO tickets (customer_id) VALUES (1)").await.code, 1467);
    client.ok("COMMIT").await;
    assert_eq!(numbers(&mut client, "SELECT COUNT(*) FROM tickets WHERE text = 'seven'").await, [1]);
    root.query_drop("ROLLBACK").await.unwrap();
    within("ids are made again", async {
        loop {
            pace.tick().await;
            if let Outcome::Ok(ok) = client.query(insert).await.remove(0) {
                return ids.push(ok.insert_id);
            }
        }
    })
    .await;
    assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] + 1 < pair[1]), "ids only grow");
    let all = 2 * ids.len() as u64 + 2;
    assert_eq!(numbers(&mut client, "SELECT COUNT(DISTINCT id) FROM tickets").await, [all]);
}
