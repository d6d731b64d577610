//! What a careful look at the answers of shards has found to be wrong once.

use super::{Scenario, Split, rules};
use crate::harness::{Cluster, Outcome, RawClient};

both_dialects! {
    the_least_enum_is_no_text,
    expressions_count_once,
    columns_of_one_name_are_told_apart_in_having,
}

/// `kinds` in the place of `customers`.
async fn with_kinds(scenario: Scenario) -> Split {
    let tables = [
        "customers (id BIGINT PRIMARY KEY, name VARCHAR(20), kind ENUM('zeta', 'alpha', 'mid'), score INT, KEY (name, score), KEY (score))",
        "orders (customer_id BIGINT, id INT, name VARCHAR(20), PRIMARY KEY (customer_id, id))",
        "countries (id INT PRIMARY KEY)",
        "tickets (customer_id BIGINT)",
    ];
    let split = Split::of(scenario, Cluster::own(scenario.dialect, 0), &tables, rules).await;
    let (mut client, mut direct) = split.both().await;
    for id in 1..=24 {
        let (name, kind) = (["a", "b", "c"][id % 3], ["zeta", "alpha", "mid"][id / 2 % 3]);
        for sql in [
            format!(
                "INSERT INTO customers (id, name, kind, score) VALUES ({id}, '{name}', '{kind}', {})",
                id % 4
            ),
            format!("INSERT INTO orders (customer_id, id, name) VALUES ({id}, 1, '{}')", ["a", "b"][id % 2]),
        ] {
            split.same(&mut client, &mut direct, &sql).await;
        }
    }
    split.stage.cluster.caught_up().await; // for sessions that have not written
    split
}

/// Not the columns' types: one MySQL tells those of the temporary table that it sorts.
async fn same_rows(client: &mut RawClient, direct: &mut RawClient, sql: &str) {
    assert_eq!(client.select(sql).await.rows, direct.select(sql).await.rows, "{sql}");
}

async fn the_least_enum_is_no_text(scenario: Scenario) {
    let split = with_kinds(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for (aggregate, group) in [
        ("GROUP_CONCAT(score ORDER BY score)", "score"),
        ("GROUP_CONCAT(DISTINCT name ORDER BY name)", "name"),
        ("COUNT(DISTINCT score)", "name"),
    ] {
        let sql = format!(
            "SELECT {group}, {aggregate} FROM customers WHERE id > 3 GROUP BY {group} ORDER BY MIN(kind), {group}"
        );
        // As a server sorts it, by the number of the text that is least; or refused, where the shards' columns do not tell the type.
        match client.query(&sql).await.remove(0) {
            Outcome::Rows(rows) => assert_eq!(rows.rows, direct.select(&sql).await.rows, "{sql}"),
            refused => assert_eq!(refused.err().code, 1235, "{sql}"),
        }
        for by in ["MIN(name)", "MAX(score)", "MIN(LOWER(kind))"] {
            let sql =
                format!("SELECT {group}, {aggregate} FROM customers GROUP BY {group} ORDER BY {by}, {group}");
            same_rows(&mut client, &mut direct, &sql).await;
        }
    }
}

async fn expressions_count_once(scenario: Scenario) {
    let split = with_kinds(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for sql in [
        "SELECT COUNT(DISTINCT id + 0) FROM customers",
        "SELECT COUNT(DISTINCT UPPER(name), score + 1), SUM(DISTINCT score * 2) FROM customers",
        "SELECT score, COUNT(DISTINCT UPPER(name)) FROM customers GROUP BY score ORDER BY score",
        "SELECT score + 1, COUNT(DISTINCT CONCAT(name, 'x')) FROM customers GROUP BY score + 1 ORDER BY score + 1",
        "SELECT COUNT(DISTINCT CASE WHEN score > 2 THEN name END) FROM customers",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
}

async fn columns_of_one_name_are_told_apart_in_having(scenario: Scenario) {
    let split = with_kinds(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for session in [&mut client, &mut direct] {
        session.ok("SET sql_mode = CONCAT(@@sql_mode, ',ONLY_FULL_GROUP_BY')").await;
    }
    let from = "FROM customers c JOIN orders o ON o.customer_id = c.id GROUP BY o.name";
    for sql in [
        format!("SELECT COUNT(DISTINCT c.name) {from} HAVING o.name = 'a'"),
        format!(
            "SELECT o.name, COUNT(DISTINCT c.name), COUNT(*) n {from} HAVING o.name IN ('a', 'b') AND n > 2 ORDER BY o.name"
        ),
        format!("SELECT COUNT(DISTINCT o.name), COUNT(*) {from} HAVING (o.name = 'a') ORDER BY o.name"),
    ] {
        split.same(&mut client, &mut direct, &sql).await;
    }
}
