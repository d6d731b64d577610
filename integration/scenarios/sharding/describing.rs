//! What a sharded table is, and where a statement would go: as one server would tell, under the client's names.

use std::process::Command;

use super::Split;
use crate::harness::{Outcome, RawClient, Scenario};

both_dialects! {
    explain_tidegate_tells_where_a_statement_goes_and_runs_nothing,
    explain_gives_the_plans_of_all_shards,
    t57_a_sharded_table_is_described_as_on_one_server,
    t57_a_dump_holds_all_rows,
}

/// The rows of EXPLAIN TIDEGATE.
async fn told(client: &mut RawClient, sql: &str) -> Vec<(String, String)> {
    let rows = client.select(format!("EXPLAIN TIDEGATE {sql}")).await.texts();
    let part = |cell: &Option<String>| cell.clone().expect("no NULL");
    rows.iter().map(|row| (part(&row[0]), part(&row[1]))).collect()
}

fn value<'a>(lines: &'a [(String, String)], item: &str) -> &'a str {
    let found = lines.iter().find(|(name, _)| name == item);
    &found.unwrap_or_else(|| panic!("no {item} in {lines:?}")).1
}

async fn explain_tidegate_tells_where_a_statement_goes_and_runs_nothing(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let mut client = split.stage.raw().await;
    let schema = &split.stage.schema;
    let one = told(&mut client, "SELECT name FROM customers WHERE id = 3").await;
    assert_eq!((value(&one, "class"), value(&one, "role")), ("Read", "replica"));
    assert_eq!((value(&one, "select"), value(&one, "on")), ("keyspace customer", "key 3"));
    assert_eq!((value(&one, "shards"), value(&one, "reason")), ("s1", "read-only query"));
    let several = told(&mut client, "SELECT name FROM customers ORDER BY name LIMIT 3").await;
    assert_eq!(value(&several, "shards"), "s0, s1");
    for shard in ["sql s0", "sql s1"] {
        assert!(value(&several, shard).contains("WEIGHT_STRING"), "{several:?}");
    }
    assert!(value(&several, "merge").contains("3 of them"), "{several:?}");
    let rows = told(&mut client, "INSERT INTO customers (id) VALUES (1), (2), (3)").await;
    assert_eq!(value(&rows, "sql s0"), "INSERT INTO customers (id) VALUES (2)");
    assert_eq!(value(&rows, "sql s1"), "INSERT INTO customers (id) VALUES (1),(3)");
    let qualified = told(&mut client, &format!("DELETE FROM {schema}.orders WHERE customer_id = 2")).await;
    assert_eq!(value(&qualified, "sql s0"), format!("DELETE FROM `{schema}_0`.orders WHERE customer_id = 2"));
    let refused = told(&mut client, "UPDATE customers SET score = 0").await;
    assert_eq!(value(&refused, "refused"), "write-without-key");
    assert!(value(&refused, "error").contains("1235"), "{refused:?}");
    let home = told(&mut client, "SELECT * FROM plain FOR UPDATE").await;
    assert_eq!((value(&home, "role"), value(&home, "plan")), ("primary", "home, as it stands"));
    assert_eq!(told(&mut client, "START TRANSACTION").await[0].1, "Begin(Default)");
    assert_eq!(value(&told(&mut client, "SELECT 1; SELECT 2").await, "plan"), "home, as it stands");
    client.ok("BEGIN").await;
    client.ok("INSERT INTO plain (id) VALUES (1)").await;
    assert_eq!(value(&told(&mut client, "SELECT * FROM plain").await, "reason"), "in a transaction");
    client.ok("ROLLBACK").await;
    // Nothing was carried out, and the session goes on.
    assert_eq!(client.value("SELECT COUNT(*) FROM customers").await.as_deref(), Some("0"));
    assert_eq!(client.prepare("EXPLAIN TIDEGATE SELECT 1").await.expect_err("it is refused").code, 1235);
}

async fn t57_a_sharded_table_is_described_as_on_one_server(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for sql in [
        "SHOW CREATE TABLE customers",
        "SHOW CREATE TABLE tickets",
        "SHOW CREATE TABLE countries",
        "DESCRIBE orders",
        "DESC customers name",
        "DESC customers 's%'",
        "EXPLAIN orders",
        "SHOW COLUMNS FROM tickets",
        "SHOW FULL FIELDS IN tickets LIKE 'c%'",
        "SHOW COLUMNS FROM customers WHERE Type LIKE 'int%' AND `Null` = 'YES'",
        "SHOW INDEX FROM orders",
        "SHOW KEYS FROM orders WHERE Key_name = 'PRIMARY'",
        "BEGIN",
        "DESC customers",
        "SHOW CREATE TABLE plain",
        "ROLLBACK",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    let schema = &split.stage.schema;
    for sql in [format!("SHOW COLUMNS FROM orders FROM {schema}"), format!("DESC `{schema}`.`orders`")] {
        let rows = client.select(&*sql).await.texts();
        assert_eq!(rows.len(), 3, "{sql}: {rows:?}");
    }
    // COM_FIELD_LIST, by which the ordinary client completes names.
    for table in [&b"orders\0"[..], b"customers\0na%\0", b"plain\0"] {
        let mut answers = Vec::new();
        for each in [&mut client, &mut direct] {
            let packets = each.fields(table).await;
            // All but the schema, which is the shard's own in this old command's answer.
            let named = |packet: &Vec<u8>| match &packet[..] {
                [3, b'd', b'e', b'f', length, rest @ ..] => rest[usize::from(*length)..].to_vec(),
                _ => packet.clone(),
            };
            answers.push(packets.iter().map(named).collect::<Vec<_>>());
        }
        assert_eq!(answers[0], answers[1], "{table:?}");
        assert!(answers[0].len() > 1, "{table:?}");
    }
    let upper = client.error("DESC CUSTOMERS").await;
    assert!(String::from_utf8_lossy(&upper.message).contains("name-case"), "{upper}");
}

async fn explain_gives_the_plans_of_all_shards(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    super::fill(&split, &mut client, &mut direct).await;
    let explain = if scenario.is_mysql() { "EXPLAIN FORMAT=TRADITIONAL" } else { "EXPLAIN" };
    for (sql, plans) in [
        ("SELECT id FROM customers ORDER BY name LIMIT 1", 2),
        ("SELECT c.id FROM customers c JOIN orders o ON o.customer_id = c.id", 4),
        ("SELECT id FROM customers WHERE id = 3", 1),
        ("UPDATE customers SET score = 0 WHERE id IN (1, 2)", 2),
    ] {
        let rows = client.select(format!("{explain} {sql}")).await;
        assert_eq!(
            (rows.rows.len(), rows.name(1)),
            (plans, "select_type".to_owned()),
            "{sql}: {:?}",
            rows.texts()
        );
    }
    let json = client.select("EXPLAIN FORMAT=JSON SELECT COUNT(*) FROM customers").await;
    assert_eq!(json.rows.len(), 2);
    if !scenario.is_mysql() {
        assert_eq!(client.select("ANALYZE SELECT COUNT(*) FROM customers").await.rows.len(), 2);
        let refused = client.error("ANALYZE UPDATE customers SET score = 0 WHERE id IN (1, 2)").await;
        assert!(String::from_utf8_lossy(&refused.message).contains("explain-across-shards"), "{refused}");
    }
    // Nothing was changed.
    split.same(&mut client, &mut direct, "SELECT id, score FROM customers ORDER BY id").await;
}

/// What mysqldump asks before and between tables, with `--skip-lock-tables`.
const DUMPED: &[&str] = &[
    "/*!40100 SET @@SQL_MODE='' */",
    "/*!40103 SET TIME_ZONE='+00:00' */",
    "SHOW VARIABLES LIKE 'ndbinfo\\_version'",
    "SHOW TABLES",
    "show table status like 'orders'",
    "SET SQL_QUOTE_SHOW_CREATE=1",
    "SET SESSION character_set_results = 'binary'",
    "show create table `orders`",
    "SET SESSION character_set_results = 'utf8mb4'",
    "show fields from `orders`",
    "SELECT /*!40001 SQL_NO_CACHE */ * FROM `orders`",
    "SET SESSION character_set_results = 'binary'",
    "use `DB`",
    "select @@collation_database",
    "SHOW TRIGGERS LIKE 'orders'",
];

async fn t57_a_dump_holds_all_rows(scenario: Scenario) {
    let split = Split::new(scenario).await;
    split.stage.given(&["DROP VIEW which"]).await; // whose definer is not the one who loads the dump
    let (mut client, mut direct) = split.both().await;
    super::fill(&split, &mut client, &mut direct).await;
    let schema = &split.stage.schema;
    for sql in DUMPED {
        let outcome = client.query(sql.replace("DB", schema)).await.pop().expect("an answer");
        assert!(!matches!(outcome, Outcome::Err(_)), "{sql}: {outcome:?}");
    }
    let tool = split.stage.cluster.tool("mariadb-dump").filter(|_| !scenario.is_mysql());
    let Some((client_program, dump)) = tool else { return };
    let proxy = split.stage.proxy.addresses()[0];
    let to =
        |host: &str, port: u16| [format!("--host={host}"), format!("--port={port}"), "--user=app".to_owned()];
    let dumped = Command::new(dump)
        .env("MYSQL_PWD", "app-pw")
        .args(["--no-defaults", "--skip-lock-tables", "--skip-ssl"])
        .args(to("127.0.0.1", proxy.port()))
        .arg(schema)
        .output()
        .expect("the tool runs");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let loaded = format!("{schema}_l");
    let main = &split.stage.cluster;
    main.run(0, &[&format!("DROP DATABASE IF EXISTS {loaded}"), &format!("CREATE DATABASE {loaded}")]).await;
    let file = std::env::temp_dir().join(format!("{loaded}-{}.sql", std::process::id()));
    std::fs::write(&file, &dumped.stdout).expect("room for the dump");
    let server = &main.servers[0];
    let status = Command::new(client_program)
        .env("MYSQL_PWD", "app-pw")
        .args(["--no-defaults", "--skip-ssl"])
        .args(to(&server.host, server.port))
        .arg(&loaded)
        .stdin(std::fs::File::open(&file).expect("the dump"))
        .status()
        .expect("the client runs");
    std::fs::remove_file(&file).expect("the dump is there");
    assert!(status.success(), "the dump loads");
    for table in ["customers", "orders", "tickets", "countries", "plain"] {
        let there = direct.select(format!("SELECT * FROM {loaded}.{table} ORDER BY 1, 2")).await.texts();
        let here =
            direct.select(format!("SELECT * FROM {}.{table} ORDER BY 1, 2", split.whole)).await.texts();
        assert_eq!(there, here, "{table}");
    }
}
