//! The journal of definitions: what it needs, who else writes to it, and what becomes of it where its writer or its connection dies.

use mysql_async::prelude::Queryable;

use super::definitions::{GRANT, definition, entries, resumed, said, split, until_waiting};
use super::rules;
use crate::harness::{Login, Proxy, RawClient, Rules, Scenario, within};

both_dialects! {
    without_privileges_for_the_journal_nothing_is_done,
    a_journal_whose_connection_is_lost_is_written_all_the_same,
    many_tables_are_dropped_at_once,
    definitions_of_several_tables_at_once_do_not_fail_each_other,
    another_instance_resumes_what_a_dead_one_has_begun,
}

/// Rules with two shards in the home's own schema, which have these tables.
pub fn beside_each_other(schema: &str, tables: &str) -> Rules {
    let top = format!(
        "default_cluster: main\ndatabases:\n  {schema}:\n    home: {{cluster: main, schema: {schema}}}\n    keyspaces:\n      customer:\n        \
         method: mod\n        key_type: integer\n        slots: 2\n        shards: {{\"s{{0..1}}\": {{cluster: main, schema: {schema}, tables: \
         \"{{table}}_{{0..1}}\", slots: 0-1}}}}\n        tables: {{{tables}}}"
    );
    Rules { top, ..Rules::default() }
}

async fn without_privileges_for_the_journal_nothing_is_done(scenario: Scenario) {
    let schema = scenario.schema();
    let stage = scenario.own_stage(0, beside_each_other(&schema, "customers: id")).await;
    let mut client = stage.raw().await;
    let error = client.error("CREATE TABLE customers (id INT PRIMARY KEY)").await;
    assert!(
        error.code == 1227
            && said(&error).contains("CREATE, SELECT, INSERT, UPDATE and DELETE on tidegate.*"),
        "{error}"
    );
    assert!(client.select("SHOW TABLES LIKE 'customers%'").await.rows.is_empty());
    stage.cluster.run(0, &[GRANT]).await;
    client.ok("CREATE TABLE customers (id INT PRIMARY KEY)").await;
    // Without more than that it goes on where the tables are there.
    stage.cluster.run(0, &["REVOKE CREATE ON tidegate.* FROM tidegate@'%'"]).await;
    client.ok("INSERT INTO customers (id) VALUES (1), (2)").await;
    client.ok("ALTER TABLE customers ADD x INT").await;
    assert_eq!(client.select("SELECT id, x FROM customers ORDER BY id").await.rows.len(), 2);
}

async fn a_journal_whose_connection_is_lost_is_written_all_the_same(scenario: Scenario) {
    let schema = scenario.schema();
    let stage = scenario.own_stage(0, beside_each_other(&schema, "customers: id")).await;
    stage.cluster.run(0, &[GRANT]).await;
    let mut client = stage.raw().await;
    client.ok("CREATE TABLE customers (id INT PRIMARY KEY)").await;
    let mut root = stage.cluster.root(0).await;
    root.query_drop("BEGIN").await.unwrap();
    root.query_drop(format!("SELECT * FROM {schema}.customers_0")).await.unwrap();
    client.send_query("ALTER TABLE customers ADD COLUMN late INT").await;
    until_waiting(&stage.cluster).await;
    let mut killer = stage.cluster.root(0).await;
    let sql = "SELECT id FROM information_schema.processlist WHERE user = 'tidegate' AND db = 'tidegate'";
    let journals: Vec<u64> = killer.query(sql).await.unwrap();
    assert_eq!(journals.len(), 1);
    killer.query_drop(format!("KILL {}", journals[0])).await.unwrap();
    root.query_drop("COMMIT").await.unwrap();
    client.outcomes().await.remove(0).ok();
    let states: Vec<String> =
        killer.query("SELECT state FROM tidegate.definitions ORDER BY id").await.unwrap();
    assert_eq!(states, ["done", "done"]);
    assert_eq!(client.select("SELECT id, late FROM customers").await.columns.len(), 2);
}

async fn many_tables_are_dropped_at_once(scenario: Scenario) {
    let names: Vec<_> = (0..40).map(|number| format!("listed_{number}")).collect();
    let listed: Vec<_> = names.iter().map(|name| format!("{name}: id")).collect();
    let schema = scenario.schema();
    let stage = scenario.stage_with(beside_each_other(&schema, &listed.join(", "))).await;
    stage.cluster.run(0, &[GRANT]).await;
    let mut client = stage.raw().await;
    for name in &names {
        client.ok(format!("CREATE TABLE {name} (id INT PRIMARY KEY)")).await;
    }
    client.ok(format!("DROP TABLE {}", names.join(", "))).await;
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{schema}' AND table_name LIKE 'listed%'"
    );
    let left: Option<u64> = stage.cluster.root(0).await.query_first(sql).await.unwrap();
    assert_eq!(left, Some(0));
}

async fn definitions_of_several_tables_at_once_do_not_fail_each_other(scenario: Scenario) {
    let split = split(scenario).await;
    let before = entries(&split, "done").await;
    let alters = |table: &'static str| {
        let stage = &split.stage;
        async move {
            let mut client = stage.raw().await;
            for round in 0..15 {
                client.ok(format!("ALTER TABLE {table} COMMENT = 'round {round}'")).await;
            }
        }
    };
    let all =
        async { tokio::join!(alters("customers"), alters("orders"), alters("tickets"), alters("countries")) };
    within("all are defined", all).await;
    assert_eq!((entries(&split, "open").await, entries(&split, "done").await), (0, before + 60));
}

async fn another_instance_resumes_what_a_dead_one_has_begun(scenario: Scenario) {
    let mut split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let mut reader = split.second.root(0).await;
    reader.query_drop("BEGIN").await.unwrap();
    reader.query_drop(format!("SELECT * FROM {}_1.customers", split.stage.schema)).await.unwrap();
    client.send_query("ALTER TABLE customers ADD COLUMN late INT").await;
    until_waiting(&split.second).await;
    split.stage.proxy.crash();
    reader.query_drop("COMMIT").await.unwrap();
    let sql = format!(
        "SELECT d.id FROM tidegate.definitions d JOIN tidegate.definition_sites s ON s.id = d.id WHERE d.name = '{}' AND s.site = 's1' AND s.state = 'running'",
        split.stage.schema
    );
    let id: u64 = split.stage.cluster.root(0).await.query_first(sql).await.unwrap().expect("it is noted");
    let rules = rules(&split.stage.schema, &split.second);
    let proxy = Proxy::start(&split.stage.cluster, &rules).await;
    let login = Login { database: Some(split.stage.schema.clone()), ..Login::default() };
    let mut client = RawClient::login(proxy.address, &login).await.unwrap();
    resumed(&mut client, id).await;
    assert_eq!(definition(&split, 0, "customers").await, definition(&split, 1, "customers").await);
    assert!(definition(&split, 1, "customers").await.contains("late"));
    drop(proxy);
}
