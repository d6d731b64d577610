//! INSERT and REPLACE without a list of columns: the columns are a shard's word, and no row is where its key is not.

use mysql_async::prelude::Queryable;

use super::prepared::{Pair, text};
use super::{Split, rules};
use crate::harness::packets::Param;
use crate::harness::{Cluster, Outcome, RawClient, Scenario, pace, within};

both_dialects! {
    rows_without_a_list_of_columns_go_to_their_shards,
    prepared_rows_without_a_list_of_columns_go_to_their_shards,
    t58_definitions_of_others_put_no_row_into_a_wrong_shard,
    definitions_through_tidegate_count_at_once,
    what_has_no_columns_is_told_as_a_server_tells_it,
}

/// The key is not the first column, one is generated, one is not there without its name.
const TABLES: [&str; 3] = [
    "orders (customer_id BIGINT, id INT, total DECIMAL(10,2), PRIMARY KEY (customer_id, id))",
    "tickets (text VARCHAR(20), twice INT GENERATED ALWAYS AS (id * 2) STORED, hidden INT INVISIBLE DEFAULT 5, `odd ``name` INT, \
     customer_id BIGINT, id INT, PRIMARY KEY (customer_id, id))",
    "plain (id INT PRIMARY KEY, text VARCHAR(40))",
];

const ALL: &str =
    "SELECT text, twice, hidden, `odd ``name`, customer_id, id FROM tickets ORDER BY customer_id, id";

/// What the journal of definitions needs.
const GRANT: &str = "GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON tidegate.* TO tidegate@'%'";

async fn split(scenario: Scenario) -> Split {
    let rules = |schema: &str, second: &Cluster| {
        let mut rules = rules(schema, second);
        rules.top = rules
            .top
            .replace("          customers: id\n", "")
            .replace("    reference_tables: [countries]", "");
        rules
    };
    Split::of(scenario, Cluster::own(scenario.dialect, 0), &TABLES, rules).await
}

/// Rows of each shard that belong to the other one.
async fn strays(split: &Split, table: &str) -> u64 {
    let mut found = 0;
    for (shard, cluster) in [&split.stage.cluster, &split.second].into_iter().enumerate() {
        let sql = format!(
            "SELECT COUNT(*) FROM {}_{shard}.{table} WHERE customer_id % 2 <> {shard}",
            split.stage.schema
        );
        found += cluster.root(0).await.query_first::<u64, _>(sql).await.unwrap().unwrap();
    }
    found
}

/// Runs a definition past Tidegate, on every shard and on the server that has all.
async fn define(split: &Split, sql: &str) {
    let main = &split.stage.cluster;
    let schema = &split.stage.schema;
    for (cluster, schema) in
        [(main, format!("{schema}_0")), (&split.second, format!("{schema}_1")), (main, split.whole.clone())]
    {
        cluster.run(0, &[&sql.replace("{}", &schema)]).await;
    }
}

async fn rows_without_a_list_of_columns_go_to_their_shards(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for sql in [
        "INSERT INTO tickets VALUES ('a', DEFAULT, 7, 1, 1)",
        "INSERT tickets VALUE ('b', DEFAULT, NULL, 2, 1)",
        "INSERT INTO tickets /* ( */ VALUES ('c', DEFAULT, 7, 3, 1), ('d', DEFAULT, 8, 4, 1),('e', DEFAULT, 9, 5, 1) -- end",
        "INSERT INTO tickets VALUES ('again', DEFAULT, 7, 1, 1), ('new', DEFAULT, 7, 6, 1) \
         ON DUPLICATE KEY UPDATE text = VALUES(text), hidden = hidden + 1",
        "REPLACE INTO tickets VALUES ('r', DEFAULT, 1, 2, 1), ('s', DEFAULT, 1, 3, 1), ('t', DEFAULT, 1, 8, 1)",
        ALL,
        // A duplicate at the second shard: nothing stays at the first.
        "INSERT INTO tickets VALUES ('x', DEFAULT, 1, 20, 1), ('x', DEFAULT, 1, 1, 1)",
        "INSERT INTO tickets VALUES ('x', 5, 1, 20, 1)",
        "INSERT IGNORE INTO tickets VALUES ('x', DEFAULT, 1, 20, 1), ('x', DEFAULT, 1, 2, 1)",
        "SHOW WARNINGS",
        "BEGIN",
        "INSERT INTO tickets VALUES ('in', DEFAULT, 1, 30, 1)",
        "ROLLBACK",
        "INSERT INTO orders VALUES (1, 1, 2.5), (2, 1, 3.5)",
        "INSERT INTO orders SELECT customer_id, id + 1, total * 2 FROM orders WHERE customer_id = 1",
        "SELECT customer_id, id, total FROM orders ORDER BY 1, 2",
        "INSERT INTO plain VALUES (1, 'home')",
        ALL,
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    for sql in [
        "INSERT INTO tickets VALUES ('x', 1, 1, 1)",
        "INSERT INTO tickets VALUES ('x', DEFAULT, 5, 1, 40, 1)",
        "INSERT INTO tickets VALUES ('x', DEFAULT, 1, 40, 1), ()",
    ] {
        assert_eq!(client.error(sql).await.code, direct.error(sql).await.code, "{sql}");
    }
    assert_eq!(strays(&split, "tickets").await + strays(&split, "orders").await, 0);
    // Thousands of rows at once.
    let rows: Vec<_> = (100..4100).map(|n| format!("('bulk', DEFAULT, 1, {n}, 1)")).collect();
    split.same(&mut client, &mut direct, &format!("INSERT INTO tickets VALUES {}", rows.join(","))).await;
    split.same(&mut client, &mut direct, "SELECT COUNT(*), SUM(customer_id) FROM tickets").await;
}

async fn prepared_rows_without_a_list_of_columns_go_to_their_shards(scenario: Scenario) {
    let split = split(scenario).await;
    let mut pair = Pair::of(&split).await;
    let (int, text) = (Param::Int, Param::Text);
    pair.all(
        "INSERT INTO tickets VALUES (?, DEFAULT, ?, ?, 1)",
        &[&[text(b"a"), int(7), int(1)], &[text(b"b"), Param::Null, int(2)], &[text(b"c"), int(7), int(1)]],
    )
    .await;
    pair.all(
        "INSERT INTO {db}.tickets VALUES (?, DEFAULT, 1, ?, ?), (?, DEFAULT, 2, ?, ?) ON DUPLICATE KEY UPDATE text = CONCAT(VALUES(text), ?)",
        &[
            &[text(b"d"), int(3), int(1), text(b"e"), int(4), int(1), text(b"!")],
            &[text(b"f"), int(5), int(1), text(b"g"), int(7), int(1), text(b"!")],
            &[text(b"h"), int(1), int(1), text(b"i"), int(2), int(1), text(b"!")],
        ],
    )
    .await;
    pair.all(
        "REPLACE INTO orders VALUES (?, ?, ?)",
        &[&[int(1), int(1), int(5)], &[int(1), int(1), int(6)], &[int(2), int(1), int(6)]],
    )
    .await;
    let kept = pair.prepare("INSERT INTO orders VALUES (?, ?, ?)").await;
    pair.execute(kept, &[int(11), int(1), int(1)]).await;
    for sql in ["BEGIN", "ROLLBACK"] {
        pair.query(sql).await;
        pair.execute(kept, &[int(13), int(if sql == "BEGIN" { 1 } else { 2 }), int(1)]).await;
    }
    pair.query(ALL).await;
    pair.query("SELECT customer_id, id, total FROM orders ORDER BY 1, 2").await;
    assert_eq!(strays(&split, "tickets").await + strays(&split, "orders").await, 0);
}

async fn t58_definitions_of_others_put_no_row_into_a_wrong_shard(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, mut direct) = split.both().await;
    let mut pair = Pair::of(&split).await;
    let prepared = pair.prepare("INSERT INTO orders VALUES (?, ?, ?)").await;
    pair.execute(prepared, &[Param::Int(1), Param::Int(100), Param::Int(1)]).await;
    split.same(&mut client, &mut direct, "INSERT INTO orders VALUES (1, 1, 1)").await;
    // One column more: a row that has a value for it is understood at once.
    define(&split, "ALTER TABLE {}.orders ADD COLUMN note VARCHAR(9)").await;
    split.same(&mut client, &mut direct, "INSERT INTO orders VALUES (2, 1, 1, 'n')").await;
    // The key changes its place with another column of its type: known later, and no row is where it does not belong meanwhile.
    define(&split, "ALTER TABLE {}.orders MODIFY id INT FIRST").await;
    let known = async {
        let (mut number, mut pace) = (1000, pace());
        loop {
            pace.tick().await;
            number += 2;
            client.ok(&format!("INSERT INTO orders VALUES ({number}, 3, 1, 'n')")).await;
            let sql = format!("SELECT COUNT(*) FROM orders WHERE id = {number} AND customer_id = 3");
            if client.value(&sql).await.as_deref() == Some("1") {
                return;
            }
        }
    };
    within("the new order of the columns to be known", known).await;
    assert_eq!(strays(&split, "orders").await, 0);
    // A prepared statement that was made before: its columns are those of now.
    let error = pair.ours.execute(prepared.ours, &[Param::Int(5), Param::Int(6), Param::Int(7)]).await.err();
    assert_eq!(error.code, 1136, "{error}");
    define(&split, "ALTER TABLE {}.orders DROP COLUMN note").await;
    let known = async {
        let mut pace = pace();
        loop {
            pace.tick().await;
            let params = [Param::Int(5), Param::Int(6), Param::Int(7)];
            if matches!(pair.ours.execute(prepared.ours, &params).await, Outcome::Ok(_)) {
                return;
            }
        }
    };
    within("the prepared statement to know it", known).await;
    assert_eq!(pair.ours.value("SELECT id FROM orders WHERE customer_id = 6").await.as_deref(), Some("5"));
    assert_eq!(strays(&split, "orders").await, 0);
}

async fn definitions_through_tidegate_count_at_once(scenario: Scenario) {
    let split = split(scenario).await;
    split.stage.cluster.run(0, &[GRANT]).await;
    let mut others: Vec<RawClient> = Vec::new();
    for _ in 0..4 {
        others.push(split.stage.raw().await); // on all cores
    }
    let (mut client, mut direct) = split.both().await;
    let mut row = 0;
    for (definition, values) in [
        ("ALTER TABLE orders ADD COLUMN note VARCHAR(9) FIRST", "('n', {c}, {i}, 1)"),
        ("ALTER TABLE orders MODIFY id INT FIRST", "({i}, 'n', {c}, 1)"),
        ("ALTER TABLE orders DROP COLUMN note", "({i}, {c}, 1)"),
        ("ALTER TABLE orders MODIFY customer_id BIGINT FIRST", "({c}, {i}, 1)"),
        ("ALTER TABLE orders RENAME COLUMN total TO sum", "({c}, {i}, 1)"),
    ] {
        for other in &mut others {
            row += 1;
            // Each core knows the columns as they were; a row without enough values asks for nothing.
            _ = other.query(&format!("INSERT INTO orders VALUES ({row})")).await;
        }
        split.same(&mut client, &mut direct, definition).await;
        for other in &mut others {
            row += 1;
            let sql = format!(
                "INSERT INTO orders VALUES {}",
                values.replace("{c}", &row.to_string()).replace("{i}", "7")
            );
            split.same(other, &mut direct, &sql).await;
        }
    }
    split.stage.cluster.caught_up().await;
    split.same(&mut client, &mut direct, "SELECT customer_id, id FROM orders ORDER BY 1, 2").await;
    assert_eq!(strays(&split, "orders").await, 0);
}

async fn what_has_no_columns_is_told_as_a_server_tells_it(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, mut direct) = split.both().await;
    define(&split, "DROP TABLE {}.orders").await;
    let missing = "INSERT INTO orders VALUES (1, 1, 1)";
    assert_eq!(client.error(missing).await.code, direct.error(missing).await.code);
    let error = client.prepare("INSERT INTO orders VALUES (?, 1, 1)").await.expect_err("no such table");
    assert_eq!((error.code, text(&error.message).contains("orders")), (1146, true), "{error}");
    // Names beyond ASCII, in the client's own characters.
    define(&split, "CREATE TABLE {}.orders (`größe` INT, customer_id BIGINT, id INT)").await;
    split.same(&mut client, &mut direct, "INSERT INTO orders VALUES (5, 2, 1), (6, 3, 1)").await;
    client.ok("SET NAMES latin1").await;
    let error = client.error("INSERT INTO orders VALUES (5, 1, 1)").await;
    assert!(text(&error.message).contains("(name-charset)"), "{error}");
    client.ok("SET NAMES utf8mb4").await;
    split.same(&mut client, &mut direct, "SELECT customer_id, id FROM orders ORDER BY 1").await;
    assert_eq!(strays(&split, "orders").await, 0);
}
