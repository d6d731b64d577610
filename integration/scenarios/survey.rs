//! `tidegate check --connect`: rules for shards, and the tables that servers have.

use crate::harness::{Cluster, Rules, Scenario, check};

both_dialects! {
    tables_are_held_against_the_rules,
    what_cannot_be_asked_is_an_error,
}

/// Two shards, and a reference table, on one cluster.
fn rules(schema: &str) -> Rules {
    let top = format!(
        "databases:\n  {schema}:\n    home: {{cluster: main, schema: {schema}}}\n    reference_tables: [countries]\n    keyspaces:\n      customer:\n        \
         method: hash\n        key_type: integer\n        slots: 2\n        tables: {{orders: customer_id}}\n        shards:\n          \
         s0: {{cluster: main, schema: {schema}_0, slots: 0-0}}\n          s1: {{cluster: main, schema: {schema}_1, slots: 1-1}}"
    );
    Rules { top, ..Rules::default() }
}

async fn tables_are_held_against_the_rules(scenario: Scenario) {
    let (cluster, schema) = (Cluster::shared(scenario.dialect), scenario.schema());
    let run = async |sql: &str| cluster.run(0, &[&sql.replace("DB", &schema)]).await;
    for place in ["DB", "DB_0", "DB_1"] {
        run(&format!("DROP DATABASE IF EXISTS {place}")).await;
        run(&format!("CREATE DATABASE {place} CHARACTER SET utf8mb4")).await;
        run(&format!("CREATE TABLE {place}.countries (code CHAR(2) PRIMARY KEY)")).await;
    }
    for place in ["DB_0", "DB_1"] {
        let columns = "customer_id BIGINT UNSIGNED NOT NULL, id INT, note VARCHAR(20) DEFAULT 'x', made TIMESTAMP DEFAULT CURRENT_TIMESTAMP";
        run(&format!("CREATE TABLE {place}.orders ({columns}, PRIMARY KEY (customer_id, id))")).await;
    }
    let rules = rules(&schema).yaml(&cluster);
    let asked = ["--connect", "--user", "app"];
    let (right, said) = check(&rules, &asked);
    assert!(right && !said.contains("warning"), "{said}");
    let found = |wanted: &[&str], is_right: bool| {
        let (right, said) = check(&rules, &asked);
        assert!(
            right == is_right && wanted.iter().all(|wanted| said.contains(wanted)),
            "{wanted:?}:\n{said}"
        );
    };
    run("ALTER TABLE DB_0.orders ADD UNIQUE (id)").await;
    found(
        &[
            "only one of them has a unique index on (id)",
            "warning",
            "id (id) is unique in each shard",
            "1 error\n",
        ],
        false,
    );
    run("ALTER TABLE DB_1.orders ADD UNIQUE (id)").await;
    found(&["warning", "id (id) is unique in each shard, not over all"], true);
    run("ALTER TABLE DB_1.orders MODIFY note VARCHAR(21) DEFAULT 'x'").await;
    found(&["column `note` has types varchar(20) and varchar(21)"], false);
    run("ALTER TABLE DB_1.orders MODIFY note VARCHAR(20) DEFAULT 'y'").await;
    found(&["column `note` has defaults"], false);
    run("ALTER TABLE DB_1.orders MODIFY note VARCHAR(20) DEFAULT 'x', MODIFY customer_id VARCHAR(10) NOT NULL").await;
    found(&["`customer_id` on shard s1", "is varchar(10), and not an integer"], false);
    run("DROP TABLE DB_1.orders").await;
    found(&["shard s1", "has no table `orders`"], false);
    run("CREATE TABLE DB_1.orders LIKE DB_0.orders").await;
    run("CREATE TABLE DB.orders LIKE DB_0.orders").await;
    found(&["warning", "home", "which no statement reaches"], true);
    run("DROP TABLE DB.countries").await;
    found(&["home", "has no table `countries`"], false);
    // The monitor's account sees no tables.
    let (right, said) = check(&rules, &["--connect"]);
    assert!(!right && said.contains("has no table `orders` that the account can see"), "{said}");
    for place in ["DB", "DB_0", "DB_1"] {
        run(&format!("DROP DATABASE {place}")).await;
    }
}

async fn what_cannot_be_asked_is_an_error(scenario: Scenario) {
    let (cluster, schema) = (Cluster::shared(scenario.dialect), scenario.schema());
    let rules = rules(&schema).yaml(&cluster);
    let (right, said) = check(&rules, &["--connect", "--user", "nobody"]);
    assert!(!right && said.contains("cluster main cannot be asked as `nobody`"), "{said}");
    assert!(!said.contains("app-pw"), "{said}");
    let nowhere = |rules: String, (place, port): (usize, u16)| {
        rules.replace(&format!(":{port}\""), &format!(":{}\"", place + 1))
    };
    let ports = cluster.servers.iter().map(|server| server.port).enumerate();
    let away = ports.fold(rules, nowhere);
    let (right, said) = check(&away, &["--connect", "--user", "app"]);
    assert!(!right && said.contains("127.0.0.1:1: ") && said.contains("127.0.0.1:2: "), "{said}");
}
