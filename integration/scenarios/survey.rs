//! `tidegate check --connect`: rules for shards, and the tables that servers have.

use crate::harness::{Cluster, Rules, Scenario, check};

both_dialects! {
    tables_are_held_against_the_rules,
    what_cannot_be_asked_is_an_error,
    what_generate_needs_is_held_against_the_servers,
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

async fn what_generate_needs_is_held_against_the_servers(scenario: Scenario) {
    let (cluster, schema) = (Cluster::shared(scenario.dialect), scenario.schema());
    let run = async |sql: &str| cluster.run(0, &[&sql.replace("DB", &schema)]).await;
    for place in ["DB", "DB_0", "DB_1"] {
        run(&format!("DROP DATABASE IF EXISTS {place}")).await;
        run(&format!("CREATE DATABASE {place} CHARACTER SET utf8mb4")).await;
        run(&format!("CREATE TABLE {place}.countries (id SMALLINT PRIMARY KEY)")).await;
    }
    for place in ["DB_0", "DB_1"] {
        let columns = "customer_id BIGINT NOT NULL, id INT NOT NULL AUTO_INCREMENT UNIQUE, PRIMARY KEY (customer_id, id)";
        run(&format!("CREATE TABLE {place}.orders ({columns})")).await;
    }
    // A monitor of its own, which others give nothing.
    run("DROP USER IF EXISTS 'm_generate'@'%'").await;
    run("CREATE USER 'm_generate'@'%' IDENTIFIED BY 'monitor-pw'").await;
    let mut rules = rules(&schema);
    rules.top = rules
        .top
        .replace("orders: customer_id", "orders: {key: customer_id, generate: {id: snowflake}}")
        .replace("[countries]", "[{name: countries, generate: {id: segment}}]");
    let rules = rules.yaml(&cluster).replace("user: tidegate,", "user: m_generate,");
    let found = |rules: &str, wanted: &[&str], is_right: bool| {
        let (right, said) = check(rules, &["--connect", "--user", "app"]);
        let told = wanted.iter().all(|wanted| said.contains(wanted));
        assert!(right == is_right && told, "{wanted:?}:\n{said}");
        assert!(!said.contains("monitor-pw"), "{said}");
        said
    };
    let lacks = "the account `m_generate` of `monitor` lacks";
    found(
        &rules,
        &[
            "`id` on shard s0",
            "is int, and not a BIGINT, which ids by `snowflake` need",
            "`id` on shard s1",
            "is AUTO_INCREMENT, though Tidegate makes its values",
            "warning",
            "is smallint: a segment has 1000 numbers or more",
            lacks,
            "INSERT",
            "SELECT",
            "UPDATE",
        ],
        false,
    );
    run("CREATE DATABASE IF NOT EXISTS tidegate").await;
    run("GRANT SELECT, CREATE, INSERT ON tidegate.* TO 'm_generate'@'%'").await;
    for place in ["DB_0", "DB_1"] {
        run(&format!("ALTER TABLE {place}.orders MODIFY id BIGINT NOT NULL")).await;
    }
    found(&rules, &[lacks, "lacks UPDATE on tidegate.*", "GRANT UPDATE ON tidegate.* TO"], false);
    run("GRANT UPDATE ON tidegate.* TO 'm_generate'@'%'").await;
    let said = found(&rules, &["warning"], true);
    assert!(!said.contains("AUTO_INCREMENT"), "{said}");
    // UUIDs need nothing of anybody, but room.
    run("REVOKE SELECT, CREATE, INSERT, UPDATE ON tidegate.* FROM 'm_generate'@'%'").await;
    let uuids = rules.replace("segment", "uuid_v7_binary").replace("snowflake", "uuid_v7");
    let wanted = ["is bigint, and not a text of 36 characters", "is smallint, and not 16 bytes"];
    let said = found(&uuids, &wanted, false);
    assert!(!said.contains("lacks"), "{said}");
    run("DROP USER 'm_generate'@'%'").await;
    for place in ["DB", "DB_0", "DB_1"] {
        run(&format!("DROP DATABASE {place}")).await;
    }
}
