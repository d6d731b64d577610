//! Errors and warnings of shards name databases and tables as the client does.

use super::definitions::split;
use super::fill;
use crate::harness::{RawClient, Scenario};

both_dialects! {
    errors_of_shards_have_the_names_of_the_client,
    a_definition_warns_once,
}

async fn errors_of_shards_have_the_names_of_the_client(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for sql in [
        "CREATE TABLE lines (customer_id BIGINT, id INT, CHECK (id < 9), PRIMARY KEY (customer_id, id))",
        "SELECT nothing(id) FROM customers WHERE id = 1",
        "SELECT customers.nothing FROM customers WHERE id = 1",
        "INSERT INTO customers (id, name) VALUES (1, 'there')",
        "INSERT INTO customers (id, name, score) VALUES (11, 'x', 'text')",
        "INSERT INTO customers (id, name, score) VALUES (11, 'x', 1), (12, 'y', 'text')",
        "UPDATE customers SET score = id + 9223372036854775807 WHERE id = 1",
        "UPDATE customers SET score = id + 9223372036854775807 WHERE id IN (1, 2)",
        "ALTER TABLE customers DROP nothing",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    for (cluster, shard) in [(&split.stage.cluster, 0), (&split.second, 1)] {
        cluster.run(0, &[&format!("DROP TABLE {}_{shard}.orders", split.stage.schema)]).await;
    }
    split.stage.cluster.run(0, &[&format!("DROP TABLE {}.orders", split.whole)]).await;
    let wanted = format!("Table '{}.orders' doesn't exist", split.stage.schema);
    for sql in [
        "SELECT total FROM orders WHERE customer_id = 1",
        "SELECT total FROM orders",
        "DELETE FROM orders WHERE customer_id = 2",
        "DELETE FROM orders WHERE customer_id IN (1, 2)",
        "SELECT total FROM orders WHERE customer_id = 2",
    ] {
        let error = client.error(sql).await;
        assert_eq!((error.code, &*String::from_utf8_lossy(&error.message)), (1146, &*wanted), "{sql}");
    }
    // It is told so, too.
    warned(&mut client, &wanted).await;
}

async fn a_definition_warns_once(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for sql in ["DROP TABLE IF EXISTS orders", "DROP TABLE IF EXISTS orders"] {
        split.same(&mut client, &mut direct, sql).await;
    }
    let wanted = format!("Unknown table '{}.orders'", split.stage.schema);
    warned(&mut client, &wanted).await;
}

/// One row tells this.
async fn warned(client: &mut RawClient, wanted: &str) {
    let rows = client.select("SHOW WARNINGS").await.rows;
    let told: Vec<_> = rows.iter().map(|row| String::from_utf8_lossy(row).into_owned()).collect();
    assert!(told.len() == 1 && told[0].contains(wanted), "{told:?}");
}
