//! Views that the rules list: made on every shard, read like tables by their key.

use mysql_async::prelude::Queryable;

use super::definitions::{GRANT, entries, said};
use super::{Split, TABLES, fill, rules};
use crate::harness::packets::Param;
use crate::harness::{Cluster, Scenario};

both_dialects! {
    views_are_made_on_every_shard_and_read_by_their_key,
    a_view_whose_rows_are_no_shards_own_is_refused,
}

/// A database whose rules list the view `spent`.
async fn with_view(scenario: Scenario) -> Split {
    let listed = |schema: &str, second: &Cluster| {
        let mut rules = rules(schema, second);
        rules.top = rules.top.replace("customers: id\n", "customers: id\n          spent: customer_id\n");
        rules
    };
    let split = Split::of(scenario, Cluster::own(scenario.dialect, 0), &TABLES, listed).await;
    split.stage.cluster.run(0, &[GRANT]).await;
    split
}

async fn views_are_made_on_every_shard_and_read_by_their_key(scenario: Scenario) {
    let split = with_view(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for sql in [
        "CREATE VIEW spent AS SELECT o.customer_id, c.name, SUM(o.total) AS total FROM orders o JOIN customers c ON c.id = o.customer_id \
         GROUP BY o.customer_id, c.name",
        "SELECT customer_id, name, total FROM spent WHERE customer_id = 3",
        "SELECT customer_id, name, total FROM spent ORDER BY customer_id",
        "SELECT COUNT(*), SUM(total), MAX(name) FROM spent WHERE total > 2",
        "SELECT s.total, c.score FROM spent s JOIN customers c ON c.id = s.customer_id ORDER BY c.id",
        "INSERT INTO orders (customer_id, id, total) VALUES (3, 2, 10), (4, 2, 20)",
        "SELECT customer_id, total FROM spent WHERE customer_id IN (3, 4) ORDER BY customer_id",
        "CREATE VIEW spent AS SELECT customer_id FROM orders",
        "CREATE OR REPLACE VIEW spent AS SELECT * FROM orders WHERE total > 5",
        "SELECT customer_id, id, total FROM spent ORDER BY customer_id, id",
        "UPDATE spent SET total = total + 1 WHERE customer_id = 3",
        "DELETE FROM spent WHERE customer_id = 4 AND id = 2",
        "SELECT customer_id, id, total FROM orders ORDER BY customer_id, id",
        "ALTER VIEW spent AS SELECT customer_id, COUNT(*) AS n FROM orders GROUP BY customer_id",
        "SELECT n, COUNT(*) FROM spent GROUP BY n ORDER BY n",
        "DROP VIEW spent",
        "CREATE VIEW named AS SELECT id, name FROM countries",
        "SELECT * FROM named",
        "DROP VIEW named",
    ] {
        let ours = client.query(sql).await.pop().expect("an answer");
        let servers = direct.query(sql).await.pop().expect("an answer");
        let (ours, servers) = (shape(ours), shape(servers));
        assert_eq!(ours, servers, "{sql}");
    }
    client.ok("DROP VIEW IF EXISTS spent").await;
    assert_eq!(entries(&split, "open").await, 0);
    // Prepared, and under the client's names.
    client.ok("CREATE VIEW spent AS SELECT customer_id, total FROM orders").await;
    let statement =
        client.prepare("SELECT total FROM spent WHERE customer_id = ?").await.expect("it is prepared");
    assert_eq!(client.execute(statement, &[Param::Int(1)]).await.rows().rows.len(), 1);
    let schema = &split.stage.schema;
    let sql = format!(
        "SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{schema}' AND TABLE_NAME = 'spent'"
    );
    assert_eq!(client.value(sql).await.as_deref(), Some("VIEW"));
    for (cluster, place) in [(&split.stage.cluster, 0), (&split.second, 1)] {
        let sql = format!("SELECT COUNT(*) FROM {schema}_{place}.spent");
        let rows: Option<u64> = cluster.root(0).await.query_first(sql).await.unwrap();
        assert!(rows.is_some_and(|rows| rows > 0));
    }
    // A shard that refuses it is named, and it is resumed.
    client.ok("DROP VIEW spent").await;
    split.second.run(0, &[&format!("RENAME TABLE {schema}_1.orders TO {schema}_1.orders_away")]).await;
    let error = client.error("CREATE VIEW spent AS SELECT customer_id FROM orders").await;
    assert!(said(&error).contains("on s0; not on s1"), "{error}");
    split.second.run(0, &[&format!("RENAME TABLE {schema}_1.orders_away TO {schema}_1.orders")]).await;
    let message = said(&error);
    let id = message
        .split("definition ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .expect("an id")
        .to_owned();
    client.ok(format!("CALL tidegate.resume_definition({id})")).await;
    assert!(client.select("SELECT customer_id FROM spent").await.rows.len() > 4);
}

/// What a client reads of an answer, without names of databases.
fn shape(outcome: crate::harness::Outcome) -> String {
    match outcome {
        crate::harness::Outcome::Rows(rows) => {
            let names: Vec<_> = (0..rows.columns.len()).map(|at| rows.name(at)).collect();
            format!("{names:?} {:?}", rows.texts())
        }
        crate::harness::Outcome::Ok(ok) => {
            format!("{} changed, {}, {} warnings", ok.affected_rows, ok.info, ok.warnings)
        }
        crate::harness::Outcome::Err(error) => format!("{}", error.code),
        crate::harness::Outcome::File(name) => name,
    }
}

async fn a_view_whose_rows_are_no_shards_own_is_refused(scenario: Scenario) {
    let split = with_view(scenario).await;
    let mut client = split.stage.raw().await;
    for sql in [
        "CREATE VIEW other AS SELECT customer_id FROM orders",
        "CREATE VIEW spent AS SELECT customer_id FROM orders LIMIT 5",
        "CREATE VIEW spent AS SELECT MAX(customer_id) AS customer_id FROM orders",
        "CREATE VIEW spent AS SELECT id AS customer_id FROM orders",
        "CREATE VIEW spent AS SELECT customer_id, RANK() OVER (ORDER BY total) AS n FROM orders",
        "CREATE VIEW spent AS SELECT id AS customer_id FROM countries",
        "ALTER VIEW other AS SELECT * FROM customers",
        "CREATE VIEW countries AS SELECT * FROM plain",
    ] {
        let error = client.error(sql).await;
        assert!(error.code == 1235 && said(&error).contains("(view)"), "{sql}: {error}");
    }
    assert_eq!(client.error("SELECT customer_id FROM spent WHERE customer_id = 1").await.code, 1146);
    // A trigger and a routine say what to do.
    let error = client.error("CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW SET NEW.total = 1").await;
    assert!(said(&error).contains("(trigger)"), "{error}");
    let error = client.error("CREATE TRIGGER t AFTER INSERT ON plain FOR EACH ROW DELETE FROM orders").await;
    assert!(said(&error).contains("(trigger)"), "{error}");
    let error = client.error("CREATE PROCEDURE p() SELECT COUNT(*) FROM orders").await;
    assert!(said(&error).contains("(routine)"), "{error}");
}
