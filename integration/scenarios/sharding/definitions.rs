//! Definitions of listed tables: on every shard, or known where not.

use mysql_async::prelude::Queryable;
use tidegate::wire::ok::Status;

use super::{Split, fill, rules};
use crate::console::{console, rows};
use crate::harness::packets::Param;
use crate::harness::{Cluster, Login, Outcome, RawClient, Scenario, pace, within};

both_dialects! {
    definitions_run_on_every_shard,
    a_definition_commits_what_is_open,
    a_definition_that_is_refused_leaves_the_transaction_as_it_was,
    who_resumes_a_definition_commits_what_is_open_first,
    a_shard_that_refuses_a_definition_is_named_and_it_is_resumed,
    what_no_shard_can_do_is_done_nowhere,
    a_shard_that_ends_in_the_middle_has_it_when_it_is_resumed,
    shards_of_one_schema_are_defined_by_their_suffixes,
    rows_get_one_time_at_every_shard,
    a_kill_ends_a_definition_where_it_is,
}

pub const GRANT: &str = "GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON tidegate.* TO tidegate@'%'";

/// Of a split database whose journal can be written.
pub async fn split(scenario: Scenario) -> Split {
    let split = Split::new(scenario).await;
    split.stage.cluster.run(0, &[GRANT]).await;
    split
}

/// How many definitions of the scenario's database the journal has in this state.
pub async fn entries(split: &Split, state: &str) -> u64 {
    let schema = &split.stage.schema;
    let sql =
        format!("SELECT COUNT(*) FROM tidegate.definitions WHERE name = '{schema}' AND state = '{state}'");
    split.stage.cluster.root(0).await.query_first(sql).await.unwrap().unwrap()
}

/// What a table is at a shard; empty where there is none.
pub async fn definition(split: &Split, shard: usize, table: &str) -> String {
    let cluster = if shard == 0 { &split.stage.cluster } else { &split.second };
    let sql = format!("SHOW CREATE TABLE {}_{shard}.{table}", split.stage.schema);
    let row: Result<Option<(String, String)>, _> = cluster.root(0).await.query_first(sql).await;
    row.ok().flatten().map(|(_, text)| text).unwrap_or_default()
}

/// The id in an error's message.
fn id_of(message: &[u8]) -> u64 {
    let message = String::from_utf8_lossy(message).into_owned();
    let rest = message.split("definition ").nth(1).unwrap_or_else(|| panic!("no id: {message}"));
    rest.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("no id: {message}"))
}

pub fn said(error: &tidegate::wire::err::ErrPacket) -> String {
    String::from_utf8_lossy(&error.message).into_owned()
}

async fn definitions_run_on_every_shard(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let ours = client.prepare("SELECT * FROM customers WHERE id = ?").await.unwrap();
    let all = client.prepare("SELECT * FROM customers WHERE score > ? ORDER BY id").await.unwrap();
    for sql in [
        "ALTER TABLE customers ADD COLUMN note VARCHAR(10) DEFAULT 'x'",
        "SELECT * FROM customers ORDER BY id",
        "ALTER TABLE customers ADD INDEX by_name (name), ALGORITHM=INPLACE, LOCK=NONE",
        "ALTER TABLE customers MODIFY score BIGINT, ALGORITHM=COPY",
        "SELECT ROW_COUNT()",
        "DROP INDEX by_name ON customers",
        "CREATE INDEX by_score ON customers (score)",
        "ALTER TABLE customers RENAME COLUMN note TO remark",
        "SELECT id, remark FROM customers WHERE id IN (1, 2) ORDER BY id",
        "TRUNCATE TABLE orders",
        "SELECT COUNT(*) FROM orders",
        "DROP TABLE orders, tickets",
        "CREATE TABLE orders (customer_id BIGINT, id INT, x INT, PRIMARY KEY (customer_id, id))",
        "CREATE TABLE IF NOT EXISTS orders (customer_id BIGINT)",
        "SHOW WARNINGS",
        "CREATE TABLE tickets LIKE orders",
        "INSERT INTO tickets (customer_id, id) VALUES (1, 1), (2, 1)",
        "SELECT * FROM tickets ORDER BY customer_id",
        "ALTER TABLE customers ADD COLUMN score INT",
        "SHOW WARNINGS",
        "ALTER TABLE customers NONSENSE",
        "ALTER TABLE countries ADD COLUMN code CHAR(2) DEFAULT 'xx'",
        "INSERT INTO countries (id, name) VALUES (1, 'here')",
        "SELECT c.id, n.code FROM customers c JOIN countries n ON n.id = c.id WHERE c.id = 1",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    let schema = &split.stage.schema;
    client.ok(format!("ALTER TABLE {schema}.customers COMMENT = 'qualified'")).await;
    for table in ["customers", "orders", "tickets", "countries"] {
        let (one, other) = (definition(&split, 0, table).await, definition(&split, 1, table).await);
        assert_eq!(one, other);
        assert!(!one.is_empty(), "{table}");
    }
    assert!(definition(&split, 1, "customers").await.contains("'qualified'"));
    // What was prepared before knows the columns of now.
    for (statement, value) in [(ours, 1), (all, 0)] {
        let rows = client.execute(statement, &[Param::Int(value)]).await.rows();
        assert_eq!(rows.columns.len(), 4);
        assert!(!rows.rows.is_empty());
    }
    assert_eq!(entries(&split, "open").await, 0);
    assert_eq!(entries(&split, "done").await, 13);
    let error = client.prepare("ALTER TABLE customers ADD z INT").await.unwrap_err();
    assert!(said(&error).contains("send it as a text"), "{error}");
}

async fn a_definition_commits_what_is_open(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for sql in [
        "BEGIN",
        "INSERT INTO customers (id, name) VALUES (1, 'a')",
        "SELECT COUNT(*) FROM plain",
        "ALTER TABLE orders ADD COLUMN y INT",
        "SELECT 7",
        "ROLLBACK",
        "SELECT id FROM customers ORDER BY id",
        "BEGIN",
        "INSERT INTO plain VALUES (1, 'a')",
        "TRUNCATE orders",
        "ROLLBACK",
        "SELECT id FROM plain",
        "SET autocommit = 0",
        "INSERT INTO customers (id, name) VALUES (2, 'b')",
        "CREATE INDEX i ON customers (name)",
        "ROLLBACK",
        "SELECT id FROM customers ORDER BY id",
        "ROLLBACK",
        "SET autocommit = 1",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    client.ok("LOCK TABLES plain WRITE").await;
    let error = client.error("ALTER TABLE orders ADD COLUMN z INT").await;
    assert_eq!(error.code, 1235, "{error}");
    client.ok("UNLOCK TABLES").await;
}

async fn a_definition_that_is_refused_leaves_the_transaction_as_it_was(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let too_long = format!("ALTER TABLE orders COMMENT = 'x' /* {} */", "long ".repeat(220_000));
    for (round, refused) in ["ALTER TABLE orders ADD COLUMN z INT", &too_long].into_iter().enumerate() {
        client.ok("BEGIN").await;
        client.ok(format!("INSERT INTO plain VALUES ({round}, 'a')")).await;
        let bound = round == 0;
        if bound {
            // What is not to be left behind at home.
            client.ok("SET timestamp = 1").await;
        }
        let error = client.error(refused).await;
        assert_eq!(error.code, 1235, "{error}");
        // No replica has the row yet.
        let sql = format!("SELECT text FROM plain WHERE id = {round}");
        assert_eq!(client.value(&sql).await.as_deref(), Some("a"));
        client.ok("COMMIT").await;
        if bound {
            client.ok("SET timestamp = DEFAULT").await;
        }
    }
    let sql = format!("SELECT COUNT(*) FROM {}.plain", split.stage.schema);
    let kept: Option<u64> = split.stage.cluster.root(0).await.query_first(sql).await.unwrap();
    assert_eq!(kept, Some(2));
}

async fn who_resumes_a_definition_commits_what_is_open_first(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let schema = &split.stage.schema;
    for id in 1..=4 {
        client.ok(format!("INSERT INTO customers (id, name) VALUES ({id}, 'n{}')", id % 3)).await;
    }
    // 1 and 4 have one name, at different shards; 3 gets that of 1.
    client.ok("UPDATE customers SET name = 'n1' WHERE id = 3").await;
    let error = client.error("ALTER TABLE customers ADD UNIQUE names (name)").await;
    assert!(said(&error).contains("on s0; not on s1: "), "{error}");
    let id = id_of(&error.message);
    // Of a session that has another default database, and is at shards.
    let login = Login { database: None, ..Login::default() };
    let mut other = RawClient::login(split.stage.proxy.address, &login).await.unwrap();
    other.ok("BEGIN").await;
    other.ok(format!("UPDATE {schema}.customers SET name = 'free' WHERE id = 3")).await;
    assert_eq!(
        other.value(&format!("SELECT name FROM {schema}.customers WHERE id = 2")).await.as_deref(),
        Some("n2")
    );
    let error = other.error("CALL tidegate.resume_definition(4000000000)").await;
    assert!(said(&error).contains("there is no definition"), "{error}");
    let told = other.ok(format!("CALL tidegate.resume_definition({id})")).await;
    assert!(!told.status.contains(Status::IN_TRANSACTION));
    other.ok("ROLLBACK").await;
    assert_eq!(
        other.value(&format!("SELECT name FROM {schema}.customers WHERE id = 3")).await.as_deref(),
        Some("free")
    );
    assert!(definition(&split, 0, "customers").await.contains("names"));
    assert!(definition(&split, 1, "customers").await.contains("names"));
    assert_eq!(entries(&split, "open").await, 0);
}

async fn a_shard_that_refuses_a_definition_is_named_and_it_is_resumed(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    for id in [1, 3, 5, 6] {
        let name = if id == 5 { 3 } else { id };
        client.ok(format!("INSERT INTO customers (id, name) VALUES ({id}, 'n{name}')")).await;
    }
    client.ok("SET sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'").await;
    let sql = "ALTER TABLE \"customers\" ADD UNIQUE \"names\" (name)";
    let error = client.error(sql).await;
    assert_eq!(error.code, 1105, "{error}");
    let message = said(&error);
    assert!(message.contains("not on all of its shards: on s0; not on s1: "), "{message}");
    assert!(message.contains("Duplicate entry"), "{message}");
    let id = id_of(&error.message);
    assert!(definition(&split, 0, "customers").await.contains("names"));
    assert!(!definition(&split, 1, "customers").await.contains("names"));
    // Nothing else is defined of this table meanwhile, other tables are.
    let mut other = split.stage.raw().await;
    let error = other.error("DROP TABLE customers").await;
    assert!(error.code == 1105 && said(&error).contains(&format!("definition {id} of customers")), "{error}");
    other.ok("ALTER TABLE orders ADD z INT").await;
    let error = other.error(format!("CALL tidegate.resume_definition({id})")).await;
    assert!(said(&error).contains("on s0; not on s1: "), "{error}");
    let mut console = console(&split.stage).await;
    let shown = rows(&mut console, "SHOW DEFINITIONS").await;
    let own: Vec<_> = shown.iter().filter(|row| row[0] == format!("Id={id}")).collect();
    let [own] = &own[..] else { panic!("{shown:?}") };
    assert_eq!((&*own[1], &*own[3]), ("State=open", "Tables=customers"), "{own:?}");
    assert!(own[4].starts_with("Sites=s0 done, s1 failed (Duplicate entry"), "{own:?}");
    assert_eq!((&*own[5], own[7].clone()), ("Account=app", format!("Statement={sql}")));
    other.ok("DELETE FROM customers WHERE id = 5").await;
    // As it was read then: with quotes around names.
    other.ok(format!("CALL tidegate.resume_definition({id})")).await;
    assert_eq!(definition(&split, 0, "customers").await, definition(&split, 1, "customers").await);
    assert!(definition(&split, 1, "customers").await.contains("names"));
    assert_eq!(other.value("SELECT \"text\"").await.as_deref(), Some("text"), "its own sql_mode is back");
    let error = other.error(format!("CALL tidegate.resume_definition({id})")).await;
    assert!(said(&error).contains("is over"), "{error}");
    let error = other.error("CALL tidegate.resume_definition(4000000000)").await;
    assert!(said(&error).contains("there is no definition"), "{error}");
    // One that is given up is not in the way of others.
    client.ok("ALTER TABLE customers DROP INDEX names").await;
    client.ok("INSERT INTO customers (id, name) VALUES (5, 'n3')").await;
    let id = id_of(&client.error(sql).await.message);
    console.ok(format!("ABANDON DEFINITION {id}")).await;
    let error = console.error(format!("ABANDON DEFINITION {id}")).await;
    assert!(said(&error).contains("is over"), "{error}");
    client.ok("ALTER TABLE customers COMMENT = 'it goes on'").await;
    assert!(definition(&split, 0, "customers").await.contains("names"), "what is done stays done");
}

async fn what_no_shard_can_do_is_done_nowhere(scenario: Scenario) {
    let mut split = split(scenario).await;
    let mut client = split.stage.raw().await;
    let root = format!("{}_1", split.stage.schema);
    split
        .second
        .run(0, &[&format!("DROP TABLE {root}.orders"), &format!("CREATE TABLE {root}.extra (id INT)")])
        .await;
    for (sql, code) in [
        ("DROP TABLE orders", 1051),
        ("DROP TABLE customers, orders", 1051),
        ("ALTER TABLE orders ADD x INT", 1146),
        ("TRUNCATE orders", 1146),
        ("CREATE TABLE orders (customer_id INT)", 1050),
    ] {
        let error = client.error(sql).await;
        assert_eq!(error.code, code, "{sql}: {error}");
        assert!(said(&error).contains("nothing was done anywhere"), "{error}");
    }
    assert!(
        !definition(&split, 0, "orders").await.is_empty()
            && !definition(&split, 0, "customers").await.is_empty()
    );
    client.ok("DROP TABLE IF EXISTS orders").await;
    assert!(definition(&split, 0, "orders").await.is_empty());
    split.second.tell("kill", 0);
    let error = client.error("ALTER TABLE customers ADD x INT").await;
    assert!([1290, 1429, 1158].contains(&error.code), "{error}");
    assert!(!definition(&split, 0, "customers").await.contains("`x`"));
    assert_eq!(entries(&split, "open").await, 0);
}

/// Waits until a statement waits for a metadata lock there.
pub async fn until_waiting(cluster: &Cluster) {
    let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata lock%'";
    cluster.until_number(0, "a definition waits", sql, |waiting| waiting > 0).await;
}

async fn a_shard_that_ends_in_the_middle_has_it_when_it_is_resumed(scenario: Scenario) {
    let mut split = split(scenario).await;
    let mut client = split.stage.raw().await;
    client.ok("INSERT INTO customers (id) VALUES (1), (2)").await;
    let mut reader = split.second.root(0).await;
    reader.query_drop("BEGIN").await.unwrap();
    reader.query_drop(format!("SELECT * FROM {}_1.customers", split.stage.schema)).await.unwrap();
    client.send_query("ALTER TABLE customers ADD COLUMN late INT").await;
    until_waiting(&split.second).await;
    // Another session does not define the table meanwhile, and reads find the shards apart.
    let mut other = split.stage.raw().await;
    let error = other.error("TRUNCATE customers").await;
    assert!(error.code == 1205 && said(&error).contains("is being carried out"), "{error}");
    split.second.tell("kill", 0);
    let error = client.outcomes().await.remove(0).err();
    assert_eq!((error.code, &error.sqlstate), (1158, b"08007"), "{error}");
    assert!(said(&error).contains("on s0; unknown on s1: "), "{error}");
    let id = id_of(&error.message);
    split.second.tell("start", 0);
    // T58: until then the shards' tables differ, and a read of both says so.
    until_told(&mut client, "SELECT * FROM customers", "its tables differ").await;
    resumed(&mut client, id).await;
    assert_eq!(client.select("SELECT id, late FROM customers ORDER BY id").await.rows.len(), 2);
    assert_eq!(definition(&split, 0, "customers").await, definition(&split, 1, "customers").await);
    assert!(definition(&split, 1, "customers").await.contains("late"));
    assert_eq!(entries(&split, "open").await, 0);
}

/// Resumes a definition as soon as that is possible.
pub async fn resumed(client: &mut RawClient, id: u64) {
    let mut pace = pace();
    within("the definition is resumed", async {
        loop {
            pace.tick().await;
            let outcome = client.query(format!("CALL tidegate.resume_definition({id})")).await.remove(0);
            match outcome {
                Outcome::Ok(_) => return,
                Outcome::Err(error) => {
                    assert!([1105, 1158, 1205, 1290, 1429].contains(&error.code), "{error}")
                }
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
}

async fn shards_of_one_schema_are_defined_by_their_suffixes(scenario: Scenario) {
    let rules = |schema: &str, second: &Cluster| {
        let mut rules = rules(schema, second);
        rules.top = format!(
            "default_cluster: main\ndatabases:\n  {schema}:\n    home: {{cluster: main, schema: {schema}}}\n    keyspaces:\n      customer:\n        \
             method: mod\n        key_type: integer\n        slots: 4\n        shards:\n          \"s{{0..3}}\": {{cluster: main, schema: {schema}_0, \
             tables: \"{{table}}_{{00..03}}\", slots: 0-3}}\n        tables:\n          customers: id\n          orders: customer_id\n          \
             orders_old: customer_id"
        );
        rules
    };
    let split = Split::of(scenario, Cluster::own(scenario.dialect, 0), &["plain (id INT)"], rules).await;
    split.stage.cluster.run(0, &[GRANT]).await;
    let (mut client, mut direct) = split.both().await;
    for sql in [
        "CREATE TABLE customers (id BIGINT PRIMARY KEY, name VARCHAR(40))",
        "CREATE TABLE orders (customer_id BIGINT, id INT, n INT, PRIMARY KEY (customer_id, id), CONSTRAINT of_customer FOREIGN KEY (customer_id) \
         REFERENCES customers (id) ON DELETE CASCADE, CONSTRAINT few CHECK (n < 5))",
        "INSERT INTO customers (id, name) VALUES (0, 'a'), (1, 'b'), (2, 'c'), (3, 'd')",
        "INSERT INTO orders (customer_id, id, n) VALUES (0, 1, 1), (1, 1, 2), (2, 1, 3), (3, 1, 4)",
        "SELECT * FROM orders ORDER BY customer_id",
        "ALTER TABLE orders ADD INDEX by_n (n)",
        "ALTER TABLE orders DROP FOREIGN KEY of_customer, ADD FOREIGN KEY (customer_id) REFERENCES customers (id)",
        "ALTER TABLE orders DROP FOREIGN KEY orders_ibfk_1",
        "RENAME TABLE orders TO orders_old",
        "SELECT * FROM orders_old ORDER BY customer_id",
        "CREATE TABLE orders LIKE orders_old",
        "SELECT COUNT(*) FROM orders",
        "DROP TABLE customers, orders_old",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = '{}_0'",
        split.stage.schema
    );
    let left: Option<u64> = split.stage.cluster.root(0).await.query_first(sql).await.unwrap();
    assert_eq!(left, Some(4));
}

/// Waits until a statement is refused with these words.
async fn until_told(client: &mut RawClient, sql: &str, words: &str) {
    let mut pace = pace();
    within(words, async {
        loop {
            pace.tick().await;
            if matches!(client.query(sql).await.pop(), Some(Outcome::Err(error)) if said(&error).contains(words)) {
                return;
            }
        }
    })
    .await;
}

async fn rows_get_one_time_at_every_shard(scenario: Scenario) {
    let split = split(scenario).await;
    let mut client = split.stage.raw().await;
    client.ok("INSERT INTO customers (id) VALUES (1), (2), (3), (4)").await;
    client.ok("INSERT INTO countries (id, name) VALUES (1, 'here')").await;
    for table in ["customers", "countries"] {
        client
            .ok(format!("ALTER TABLE {table} ADD COLUMN made DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6)"))
            .await;
    }
    let times = client.select("SELECT DISTINCT made FROM customers ORDER BY made").await.texts();
    assert_eq!(times.len(), 1, "{times:?}");
    let mut of_copies = Vec::new();
    for (cluster, schema) in [
        (&split.stage.cluster, split.stage.schema.clone()),
        (&split.stage.cluster, format!("{}_0", split.stage.schema)),
        (&split.second, format!("{}_1", split.stage.schema)),
    ] {
        let sql = format!("SELECT CAST(made AS CHAR) FROM {schema}.countries");
        let time: Option<String> = cluster.root(0).await.query_first(sql).await.unwrap();
        of_copies.push(time.unwrap());
    }
    assert!(of_copies.iter().all(|time| *time == of_copies[0]), "{of_copies:?}");
    // Connections have their servers' time again.
    let sql = "SELECT MIN(NOW(6) > made) FROM customers WHERE id = 1 FOR UPDATE";
    assert_eq!(client.value(sql).await.as_deref(), Some("1"));
    let error = client.error("ALTER TABLE countries ADD COLUMN u CHAR(36) DEFAULT (UUID())").await;
    assert!(said(&error).contains("reference-write"), "{error}");
}

async fn a_kill_ends_a_definition_where_it_is(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, mut killer) = (split.stage.raw().await, split.stage.raw().await);
    let schema = &split.stage.schema;
    client.ok("INSERT INTO customers (id) VALUES (1), (2)").await;
    let mut reader = split.second.root(0).await;
    reader.query_drop("BEGIN").await.unwrap();
    reader.query_drop(format!("SELECT * FROM {schema}_1.customers")).await.unwrap();
    client.send_query("ALTER TABLE customers ADD COLUMN late INT").await;
    until_waiting(&split.second).await;
    killer.ok(format!("KILL QUERY {}", client.greeting.connection_id)).await;
    let error = client.outcomes().await.remove(0).err();
    assert!(said(&error).contains("on s0; not on s1: "), "{error}");
    let id = id_of(&error.message);
    // Who goes away while it runs leaves it open, and the server does not go on with it.
    client.send_query(format!("CALL tidegate.resume_definition({id})")).await;
    until_waiting(&split.second).await;
    drop(client);
    let runs = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'ALTER TABLE%'";
    split.second.until_number(0, "it is ended", runs, |statements| statements == 0).await;
    reader.query_drop("COMMIT").await.unwrap();
    resumed(&mut killer, id).await;
    assert_eq!(definition(&split, 0, "customers").await, definition(&split, 1, "customers").await);
    assert!(definition(&split, 1, "customers").await.contains("late"));
}
