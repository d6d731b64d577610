//! UUIDs that Tidegate makes, and values in reference tables: kept, told and found as one server's.

use mysql_async::prelude::Queryable;

use super::generated::{GRANT, number, numbers, told};
use super::{Split, rules};
use crate::harness::packets::Param;
use crate::harness::{Cluster, RawClient, Rules, Scenario};

both_dialects! {
    rows_get_uuids,
    a_uuid_that_is_the_key_leads_to_its_shard,
    all_copies_of_a_row_get_one_value,
}

const TABLES: [&str; 5] = [
    "notes (customer_id BIGINT, id CHAR(36) PRIMARY KEY, text VARCHAR(20))",
    "blobs (customer_id BIGINT, id BINARY(16) PRIMARY KEY, text VARCHAR(20))",
    "visits (id BINARY(16) PRIMARY KEY, text VARCHAR(20))",
    "plain (id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(40))",
    "countries (id INT PRIMARY KEY, name VARCHAR(20) UNIQUE)",
];

fn making(schema: &str, second: &Cluster) -> Rules {
    let mut rules = rules(schema, second);
    let shards = format!(
        "s0: {{cluster: main, schema: {schema}_0, slots: 0-0}}\n          s1: {{cluster: second, schema: {schema}_1, slots: 1-1}}"
    );
    for (plain, made) in [
        ("          customers: id\n", ""),
        ("          orders: customer_id\n", "          notes: {key: customer_id, generate: {id: uuid_v7}}\n"),
        (
            "          tickets: customer_id\n",
            "          blobs: {key: customer_id, generate: {id: uuid_v7_binary}}\n",
        ),
        ("reference_tables: [countries]", "reference_tables: [{name: countries, generate: {id: segment}}]"),
    ] {
        assert!(rules.top.contains(plain), "{plain}");
        rules.top = rules.top.replace(plain, made);
    }
    let visits = format!(
        "      visit:\n        method: hash\n        key_type: uuid\n        slots: 2\n        shards:\n          {shards}\n        tables:\n          \
         visits: {{key: id, generate: {{id: uuid_v7_binary}}}}\n    reference_tables:"
    );
    rules.top = rules.top.replace("    reference_tables:", &visits);
    rules
}

async fn split(scenario: Scenario) -> Split {
    let main = Cluster::shared(scenario.dialect);
    main.run(0, &[GRANT]).await;
    // Absent before anybody has fetched.
    let old = format!("DELETE FROM tidegate.id_segments WHERE database_name = '{}'", scenario.schema());
    drop(main.root(0).await.query_drop(old).await);
    Split::of(scenario, Cluster::own(scenario.dialect, 0), &TABLES, making).await
}

async fn texts(client: &mut RawClient, sql: &str) -> Vec<String> {
    let rows = client.select(sql).await.texts();
    rows.into_iter().map(|row| row[0].clone().expect("a value")).collect()
}

async fn rows_get_uuids(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let before = told(&mut client, "INSERT INTO plain (text) VALUES ('x')").await;
    for table in ["notes", "blobs"] {
        let rows = format!("INSERT INTO {table} (customer_id, text) VALUES (?, ?), (?, ?)");
        let prepared = client.prepare(&rows).await.expect("prepared");
        for n in 0..3 {
            for sql in [
                format!("INSERT INTO {table} (customer_id, text) VALUES (1, '{n} a')"),
                format!(
                    "INSERT INTO {table} (customer_id, id, text) VALUES (1, NULL, '{n} b'), (2, DEFAULT, '{n} c')"
                ),
                format!("INSERT INTO {table} VALUES (2, NULL, '{n} d')"),
                format!("INSERT INTO {table} SET customer_id = 1, text = '{n} e'"),
                format!("INSERT INTO {table} (customer_id, text) VALUE (1, '{n} f')"),
            ] {
                // As of one server: nothing is told of what is no number.
                assert_eq!(client.ok(&sql).await.insert_id, 0, "{sql}");
            }
            let (one, other) = (format!("{n} g"), format!("{n} h"));
            let values =
                [Param::Int(1), Param::Text(one.as_bytes()), Param::Int(2), Param::Text(other.as_bytes())];
            let ok = client.execute(prepared, &values).await.ok();
            assert_eq!((ok.affected_rows, ok.insert_id), (2, 0));
        }
        assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, before);
        // In the order in which they were made, each once.
        let (all, found) = (
            format!("SELECT text FROM {table} ORDER BY id"),
            texts(&mut client, &format!("SELECT text FROM {table} ORDER BY text")).await,
        );
        assert_eq!((texts(&mut client, &all).await, found.len()), (found, 24));
        let shape = match table {
            "notes" => {
                "SELECT DISTINCT id RLIKE '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' FROM notes"
            }
            _ => "SELECT DISTINCT HEX(id) RLIKE '^[0-9A-F]{12}7[0-9A-F]{3}[89AB][0-9A-F]{15}$' FROM blobs",
        };
        assert_eq!(numbers(&mut client, shape).await, [1], "{table}");
    }
    // The time in them is that of now.
    let time = "SELECT ABS(CAST(CONV(LEFT(HEX(MAX(id)), 12), 16, 10) AS SIGNED) / 1000 - UNIX_TIMESTAMP()) < 3600 FROM blobs WHERE customer_id = 1";
    assert_eq!(numbers(&mut client, time).await, [1]);
    // What is given is kept, expressions too.
    client.ok("INSERT INTO notes (customer_id, id) VALUES (3, '0'), (3, UUID())").await;
    let given =
        client.prepare("INSERT INTO notes (customer_id, id) VALUES (3, ?), (4, ?)").await.expect("prepared");
    client.execute(given, &[Param::Text(b"given"), Param::Null]).await.ok();
    client.execute(given, &[Param::Text(b"both"), Param::Text(b"of them")]).await.ok();
    let kept =
        texts(&mut client, "SELECT id FROM notes WHERE customer_id > 2 AND LENGTH(id) < 36 ORDER BY id")
            .await;
    assert_eq!(kept, ["0", "both", "given", "of them"]);
    assert_eq!(numbers(&mut client, "SELECT COUNT(*) FROM notes WHERE customer_id > 2").await, [6]);
}

async fn a_uuid_that_is_the_key_leads_to_its_shard(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    client
        .ok("INSERT INTO visits (text) VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f'), ('g'), ('h')")
        .await;
    let one = client.prepare("INSERT INTO visits (text) VALUES (?)").await.expect("prepared");
    let two = client.prepare("INSERT INTO visits (text) VALUES (?), (?)").await.expect("prepared");
    for text in ["i", "j", "k", "l"] {
        client.execute(one, &[Param::Text(text.as_bytes())]).await.ok();
        client.execute(two, &[Param::Text(text.as_bytes()), Param::Text(b"two")]).await.ok();
    }
    let ids = texts(&mut client, "SELECT HEX(id) FROM visits").await;
    assert_eq!(ids.len(), 20);
    for id in &ids {
        let found = format!("SELECT COUNT(*) FROM visits WHERE id = X'{id}'");
        assert_eq!(numbers(&mut client, &found).await, [1], "{id}");
    }
    let mut shards = Vec::new();
    for (shard, cluster) in [(0, &split.stage.cluster), (1, &split.second)] {
        let sql = format!("SELECT COUNT(*) FROM {}_{shard}.visits", split.stage.schema);
        shards.push(cluster.root(0).await.query_first::<u64, _>(sql).await.unwrap().unwrap());
    }
    assert!(shards.iter().sum::<u64>() == 20 && !shards.contains(&20), "{shards:?}");
}

async fn all_copies_of_a_row_get_one_value(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    assert_eq!(told(&mut client, "INSERT INTO countries (name) VALUES ('a'), ('b')").await, 1);
    assert_eq!(told(&mut client, "INSERT INTO countries (id, name) VALUES (NULL, 'c'), (0, 'd')").await, 3);
    assert_eq!(told(&mut client, "INSERT INTO countries SET name = 'e'").await, 5);
    let update = "INSERT INTO countries (name) VALUES ('e') ON DUPLICATE KEY UPDATE name = 'E'";
    assert_eq!(client.ok(update).await.insert_id, 0);
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, 5);
    client.ok("INSERT INTO countries (id, name) VALUES (50, 'given')").await;
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, 5);
    let prepared = client.prepare("INSERT INTO countries (name, id) VALUES (?, ?)").await.expect("prepared");
    assert_eq!(client.execute(prepared, &[Param::Text(b"f"), Param::Null]).await.ok().insert_id, 51);
    client.execute(prepared, &[Param::Text(b"g"), Param::Int(60)]).await.ok();
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID() AS id").await, 51);
    let error = client.error("INSERT INTO countries VALUES (NULL, 'h')").await;
    assert!(String::from_utf8_lossy(&error.message).contains("(generated-unclear)"), "{error}");
    let schema = &split.stage.schema;
    for (cluster, copy) in [
        (&split.stage.cluster, schema.clone()),
        (&split.stage.cluster, format!("{schema}_0")),
        (&split.second, format!("{schema}_1")),
    ] {
        let sql = format!("SELECT GROUP_CONCAT(id, name ORDER BY id) FROM {copy}.countries");
        let rows: Option<String> = cluster.root(0).await.query_first(sql).await.unwrap();
        assert_eq!(rows.as_deref(), Some("1a,2b,3c,4d,5E,50given,51f,60g"), "{copy}");
    }
}
