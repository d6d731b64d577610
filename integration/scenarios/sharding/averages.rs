//! Averages inside expressions: a server computes with more digits of them than it shows, each dialect in its own way.

use super::{Scenario, Split, rules};
use crate::harness::Cluster;

both_dialects! {
    averages_inside_expressions_are_those_of_one_server,
    sums_of_quotients_lose_no_digits,
    a_comparison_asks_for_the_digits_that_the_server_compares,
}

/// Rows of which no average is even.
async fn with_numbers(scenario: Scenario) -> Split {
    let tables = [
        "customers (id BIGINT PRIMARY KEY, name VARCHAR(20), score INT, price DECIMAL(10, 2), rate DECIMAL(12, 6), weight DOUBLE, KEY (name))",
        "orders (customer_id BIGINT, id INT, PRIMARY KEY (customer_id, id))",
        "countries (id INT PRIMARY KEY)",
        "tickets (customer_id BIGINT)",
    ];
    let split = Split::of(scenario, Cluster::own(scenario.dialect, 0), &tables, rules).await;
    let (mut client, mut direct) = split.both().await;
    for id in 1u64..=42 {
        let name = ["a", "b", "c", "d", "e", "f"][id as usize % 6];
        let score = if name == "f" { "NULL".to_owned() } else { (id * id % 11).to_string() };
        let sql = format!(
            "INSERT INTO customers VALUES ({id}, '{name}', {score}, {}.{:02}, {}.{:06}, {}.25)",
            id * 7 % 13,
            id * 37 % 100,
            id % 3,
            id * 142_857 % 1_000_000,
            id % 5
        );
        split.same(&mut client, &mut direct, &sql).await;
    }
    split.stage.cluster.caught_up().await; // for sessions that have not written
    split
}

async fn averages_inside_expressions_are_those_of_one_server(scenario: Scenario) {
    let split = with_numbers(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for expression in [
        "ROUND(AVG(score), 2)",
        "ROUND(AVG(score))",
        "ROUND(AVG(score), 7)",
        "IFNULL(AVG(score), 0)",
        "COALESCE(AVG(price), 0) * 3",
        "ROUND(IFNULL(AVG(score), 0), 6)",
        "IFNULL(ROUND(AVG(rate), 3), 0)",
        "AVG(score) + 1",
        "AVG(score) * 3",
        "(AVG(score) + 1) * 3",
        "AVG(price) / 3",
        "100 * SUM(price) / SUM(score)",
        "SUM(price) / COUNT(*)",
        "AVG(price) - AVG(score)",
        "ROUND(AVG(DISTINCT id), 3)",
        "CAST(AVG(rate) AS DECIMAL(20, 12))",
        "CONCAT(ROUND(AVG(score), 1), '%')",
        "CONCAT(AVG(score), '%')",
        "FORMAT(AVG(price), 3)",
        "FLOOR(AVG(score))",
        "IF(AVG(score) > 4.5714, 'many', 'few')",
        "CASE WHEN AVG(score) BETWEEN 1 AND 4.5714 THEN 1 ELSE 2 END",
        "ROUND(AVG(weight), 2)",
        "AVG(weight) + 1",
        "IFNULL(AVG(weight), 0)",
        "ROUND(STD(score), 2)",
        "IFNULL(ROUND(VAR_SAMP(score), 3), 0)",
    ] {
        for rest in ["", "WHERE name = 'f'", "WHERE id > 1000", "GROUP BY name ORDER BY name"] {
            let sql = format!("SELECT {expression} FROM customers {rest}");
            split.same(&mut client, &mut direct, &sql).await;
        }
    }
    for sql in [
        "SELECT name FROM customers GROUP BY name ORDER BY ROUND(AVG(price), 1) DESC, name LIMIT 3",
        "SELECT name, IFNULL(AVG(score), 0) a FROM customers GROUP BY name HAVING a > 1 ORDER BY a, name",
        "SELECT name FROM customers GROUP BY name HAVING ROUND(AVG(score), 1) >= 4.6 ORDER BY name",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    // As DOUBLE an average has other digits.
    for expression in ["SQRT(AVG(score))", "AVG(score) * SUM(weight)"] {
        let sql = format!("SELECT {expression} FROM customers");
        assert_eq!(client.query(&sql).await.remove(0).err().code, 1235, "{sql}");
    }
}

async fn sums_of_quotients_lose_no_digits(scenario: Scenario) {
    let split = with_numbers(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for expression in [
        "SUM(score / 7)",
        "AVG(score / 7)",
        "SUM(price * score / 7)",
        "SUM(rate / 7 / 7)",
        "SUM(weight / 4)",
        "ROUND(AVG(score / 3), 2)",
        "SUM(score / 7) * 3",
    ] {
        for rest in ["", "WHERE name < 'd'", "WHERE id > 1000"] {
            let sql = format!("SELECT {expression} FROM customers {rest}");
            split.same(&mut client, &mut direct, &sql).await;
        }
    }
}

async fn a_comparison_asks_for_the_digits_that_the_server_compares(scenario: Scenario) {
    let split = with_numbers(scenario).await;
    let (mut client, mut direct) = split.both().await;
    let shown = direct.select("SELECT AVG(score) FROM customers GROUP BY name ORDER BY name").await;
    for average in shown.texts().into_iter().flatten().flatten() {
        for (test, alias) in
            [">", "=", "<", "<=", ">="].into_iter().flat_map(|test| [(test, false), (test, true)])
        {
            let sql = match alias {
                true => format!(
                    "SELECT name, AVG(score) a FROM customers GROUP BY name HAVING a {test} {average} ORDER BY name"
                ),
                false => format!(
                    "SELECT name FROM customers GROUP BY name HAVING AVG(score) {test} {average} ORDER BY name"
                ),
            };
            split.same(&mut client, &mut direct, &sql).await;
        }
    }
}
