//! Shards whose tables have come apart, definitions that others make, keys with odd names, and user variables in reads of several shards.

use super::{Split, TABLES, fill, rules};
use crate::harness::packets::Param;
use crate::harness::{Cluster, Outcome, Scenario};

both_dialects! {
    t56_keys_with_odd_names_lead_to_their_shards,
    t58_columns_in_another_order_are_no_answer,
    t58_definitions_of_others_are_seen_at_once,
    reads_of_several_shards_know_the_sessions_variables,
}

/// Names of key columns.
const ODD: [&str; 5] = ["select", "a b", "größe", "x`y", "Mixed"];

async fn t56_keys_with_odd_names_lead_to_their_shards(scenario: Scenario) {
    let quoted: Vec<_> = ODD.iter().map(|name| format!("`{}`", name.replace('`', "``"))).collect();
    let own: Vec<_> = quoted
        .iter()
        .enumerate()
        .map(|(at, key)| format!("odd_{at} ({key} BIGINT, n INT, PRIMARY KEY ({key}, n))"))
        .collect();
    let tables: Vec<_> = TABLES.iter().copied().chain(own.iter().map(|table| &**table)).collect();
    let listed = |schema: &str, second: &Cluster| {
        let mut rules = rules(schema, second);
        let odd: String =
            ODD.iter().enumerate().map(|(at, key)| format!("\n          odd_{at}: {key:?}")).collect();
        rules.top = rules.top.replace("customers: id\n", &format!("customers: id{odd}\n"));
        rules
    };
    let split = Split::of(scenario, Cluster::own(scenario.dialect, 0), &tables, listed).await;
    let (mut client, mut direct) = split.both().await;
    for (at, key) in quoted.iter().enumerate() {
        for sql in [
            format!("INSERT INTO odd_{at} ({key}, n) VALUES (2443, 1), (2444, 1), ('2443', 2)"),
            format!("SELECT {key}, n FROM odd_{at} WHERE {key} = 2443 ORDER BY n"),
            format!("SELECT n FROM odd_{at} WHERE {key} = '2443' AND n = 2"),
            format!("SELECT o.n FROM odd_{at} AS o WHERE o.{key} IN ('2444') FOR UPDATE"),
            format!("UPDATE odd_{at} SET n = 5 WHERE odd_{at}.{key} = ' 2443' AND n = 2"),
            format!("SELECT {key} AS k, COUNT(*) FROM odd_{at} GROUP BY {key} ORDER BY {key}"),
            format!("SELECT a.n, b.n FROM odd_{at} a JOIN odd_{at} b USING ({key}) WHERE a.n < b.n"),
            format!("INSERT INTO odd_{at} SET n = 9, {key} = 7 ON DUPLICATE KEY UPDATE n = 10"),
            format!("DELETE FROM odd_{at} WHERE {key} = 2444"),
            format!("SELECT * FROM odd_{at} ORDER BY {key}, n"),
        ] {
            split.same(&mut client, &mut direct, &sql).await;
        }
        let by_key = format!("SELECT n FROM odd_{at} WHERE {key} = ? ORDER BY n");
        let statement = client.prepare(by_key).await.expect("it is prepared");
        for param in [Param::Int(2443), Param::Text(b"2443"), Param::Text(b"02443")] {
            let rows = client.execute(statement, &[param]).await.rows();
            assert_eq!(rows.rows, [[0, 0, 1, 0, 0, 0], [0, 0, 5, 0, 0, 0]], "{key}");
        }
        let told = client.select(format!("EXPLAIN TIDEGATE SELECT 1 FROM odd_{at} WHERE {key} = 2443")).await;
        let shards = told.texts().into_iter().find(|row| row[0].as_deref() == Some("shards"));
        assert_eq!(shards.expect("shards")[1].as_deref(), Some("s1"), "{key}");
    }
    // Names of columns know no case.
    split.same(&mut client, &mut direct, "SELECT n FROM odd_4 WHERE mIXED = 2443 ORDER BY n").await;
}

async fn t58_columns_in_another_order_are_no_answer(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let schema = &split.stage.schema;
    let add = |table: String, columns: &str| format!("ALTER TABLE {table} {columns}");
    let (main, second) = (&split.stage.cluster, &split.second);
    main.run(0, &[&add(format!("{schema}_0.customers"), "ADD one INT DEFAULT 1, ADD two INT DEFAULT 2")])
        .await;
    second
        .run(0, &[&add(format!("{schema}_1.customers"), "ADD two INT DEFAULT 2, ADD one INT DEFAULT 1")])
        .await;
    let whole = format!("{}.customers", split.whole);
    main.run(0, &[&add(whole, "ADD one INT DEFAULT 1, ADD two INT DEFAULT 2")]).await;
    let all = client.prepare("SELECT * FROM customers WHERE score > ?").await.expect("it is prepared");
    for sql in [
        "SELECT * FROM customers",
        "SELECT c.* FROM customers c ORDER BY c.id",
        "SELECT d.* FROM (SELECT * FROM customers) AS d ORDER BY d.id",
        "SELECT o.id, c.* FROM customers c JOIN orders o ON o.customer_id = c.id",
    ] {
        let error = client.error(sql).await;
        assert!(String::from_utf8_lossy(&error.message).contains("its tables differ"), "{sql}: {error}");
    }
    let Outcome::Err(error) = client.execute(all, &[Param::Int(0)]).await else { panic!("it is answered") };
    assert!(String::from_utf8_lossy(&error.message).contains("its tables differ"), "{error}");
    for sql in [
        "SELECT one, two, ONE + 1 FROM customers ORDER BY id",
        "SELECT * FROM customers WHERE id = 2",
        &format!(
            "SELECT customers.one, customers.two * 2, MAX({schema}.customers.two + 1) FROM customers GROUP BY 1, 2"
        ),
    ] {
        let rows = client.select(sql).await;
        assert!(rows.texts().iter().flatten().all(Option::is_some) || sql.contains('*'), "{sql}");
    }
    let sql = "SELECT one, two FROM customers ORDER BY id";
    split.same(&mut client, &mut direct, sql).await;
    second.run(0, &[&format!("ALTER TABLE {schema}_1.customers MODIFY two INT DEFAULT 2 AFTER one")]).await;
    split.same(&mut client, &mut direct, "SELECT * FROM customers ORDER BY id").await;
}

async fn t58_definitions_of_others_are_seen_at_once(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let schema = &split.stage.schema;
    let all =
        client.prepare("SELECT * FROM customers WHERE score > ? ORDER BY id").await.expect("it is prepared");
    let one = client.prepare("SELECT * FROM customers WHERE id = ?").await.expect("it is prepared");
    for (statement, columns) in [(all, 3), (one, 3)] {
        assert_eq!(client.execute(statement, &[Param::Int(1)]).await.rows().columns.len(), columns);
    }
    for (cluster, place) in [
        (&split.stage.cluster, format!("{schema}_0")),
        (&split.second, format!("{schema}_1")),
        (&split.stage.cluster, split.whole.clone()),
    ] {
        cluster.run(0, &[&format!("ALTER TABLE {place}.customers ADD note VARCHAR(8) DEFAULT 'new'")]).await;
        cluster.run(0, &[&format!("DROP TABLE {place}.tickets")]).await;
    }
    for (statement, columns) in [(all, 4), (one, 4)] {
        assert_eq!(client.execute(statement, &[Param::Int(1)]).await.rows().columns.len(), columns);
    }
    for sql in [
        "SELECT * FROM customers ORDER BY id",
        "SELECT note, COUNT(*) FROM customers GROUP BY note",
        "UPDATE customers SET note = 'x' WHERE id IN (1, 2)",
        "SELECT id FROM customers WHERE note = 'x' ORDER BY id",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    assert_eq!(client.error("SELECT * FROM tickets WHERE customer_id = 1").await.code, 1146);
    assert_eq!(client.error("SELECT COUNT(*) FROM tickets").await.code, 1146);
    assert_eq!(client.select("DESCRIBE customers").await.rows.len(), 4);
}

async fn reads_of_several_shards_know_the_sessions_variables(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for sql in [
        "SET @least = 2, @name = 'ann', @factor = 1.5, @bytes = x'41'",
        "SELECT id, score FROM customers WHERE score > @least ORDER BY id",
        "SELECT id FROM customers WHERE name = @name COLLATE utf8mb4_bin ORDER BY id",
        "SELECT COUNT(*), SUM(score), MAX(id) FROM customers WHERE id > @least AND name <> @name COLLATE utf8mb4_bin",
        "SELECT score * @factor, @least FROM customers ORDER BY id",
        "SELECT id FROM customers WHERE @never IS NULL AND id < 3 ORDER BY id",
        "SELECT c.id FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.total > @factor ORDER BY c.id",
        // Set in the open transaction, which has parts already.
        "BEGIN",
        "SELECT id FROM customers WHERE score > @least ORDER BY id",
        "SET @least = 3",
        "SELECT id FROM customers WHERE score > @least ORDER BY id",
        "UPDATE customers SET score = 50 WHERE id = 1",
        "SET @least = 49",
        "SELECT id FROM customers WHERE score > @least ORDER BY id",
        "SELECT id FROM customers WHERE id = 1 AND score > @least",
        "ROLLBACK",
        "SELECT id FROM customers WHERE score > @least ORDER BY id",
        "SET autocommit = 0",
        "SET @least = 1",
        "SELECT id FROM customers WHERE score > @least ORDER BY id",
        "COMMIT",
        "SET autocommit = 1",
        "SET @least = NULL",
        "SELECT id FROM customers WHERE score > @least ORDER BY id",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    // What another session has set on the same connections is nobody else's.
    client.ok("SET @pick = 6").await;
    let sql = "SELECT id FROM customers WHERE id > @pick ORDER BY id";
    assert_eq!(client.select(sql).await.rows.len(), 2);
    let mut other = split.stage.raw().await;
    assert!(other.select(sql).await.rows.is_empty());
    assert_eq!(client.select(sql).await.rows.len(), 2);
    // Prepared, by what each execution finds.
    let statement = client.prepare("SELECT id FROM customers WHERE id > @pick AND id > ? ORDER BY id").await;
    let statement = statement.expect("it is prepared");
    assert_eq!(client.execute(statement, &[Param::Int(0)]).await.rows().rows.len(), 2);
    client.ok("SET @pick = 3").await;
    assert_eq!(client.execute(statement, &[Param::Int(7)]).await.rows().rows.len(), 1);
    assert_eq!(client.execute(statement, &[Param::Int(0)]).await.rows().rows.len(), 5);
    for sql in ["SELECT @last := id FROM customers", "SELECT id, @n := @n + 1 FROM customers ORDER BY id"] {
        let error = client.error(sql).await;
        assert_eq!(error.code, 1235, "{sql}: {error}");
    }
    split.stage.proxy.until_metric("tidegate_pinned_sessions", &[], |pins| pins == 0).await;
}
