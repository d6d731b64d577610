//! What a sharded table is, and where a statement would go: as one server would tell, under the client's names.

use super::Split;
use crate::harness::{RawClient, Scenario};

both_dialects! {
    explain_tidegate_tells_where_a_statement_goes_and_runs_nothing,
    t57_a_sharded_table_is_described_as_on_one_server,
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
    let upper = client.error("DESC CUSTOMERS").await;
    assert!(String::from_utf8_lossy(&upper.message).contains("name-case"), "{upper}");
}
