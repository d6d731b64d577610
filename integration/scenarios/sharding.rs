//! Tables spread over shards on two clusters, beside the same tables on one server: what is answered is the same, or refused.

use mysql_async::prelude::Queryable;
use tidegate::execute::names::Names;
use tidegate::wire::err::ErrPacket;
use tidegate::wire::ok::Status;

use crate::harness::packets::Okay;
use crate::harness::{Cluster, Login, Outcome, RawClient, Rules, Scenario, Stage};

mod apart;
mod averages;
mod corners;
mod crowd;
mod cursors;
mod definitions;
mod describing;
mod dictionary;
mod executions;
mod generated;
mod homes;
mod journal;
mod key_types;
mod loading;
mod loading_within;
mod made;
mod messages;
mod numbered;
mod prepared;
mod rollups;
mod savepoints;
mod seams;
mod segments;
mod transactions;
mod unlisted;
mod upkeep;
mod views;
mod writes;

/// Tables as the client knows them.
const TABLES: [&str; 5] = [
    "customers (id BIGINT PRIMARY KEY, name VARCHAR(40), score INT)",
    "orders (customer_id BIGINT, id INT, total DECIMAL(10,2), PRIMARY KEY (customer_id, id))",
    "plain (id INT PRIMARY KEY, text VARCHAR(40))",
    "countries (id INT PRIMARY KEY, name VARCHAR(20) UNIQUE, changed TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6))",
    "tickets (customer_id BIGINT, id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(8) NOT NULL DEFAULT '')",
];

/// Two shards: one beside the home, one on a cluster of its own; and a database on one server that holds the same.
struct Split {
    // The proxy ends before its servers.
    stage: Stage,
    second: Cluster,
    /// Where everything is in one place.
    whole: String,
}

fn rules(schema: &str, second: &Cluster) -> Rules {
    let server = &second.servers[0];
    let top = format!(
        "default_cluster: main\ndatabases:\n  {schema}:\n    home: {{cluster: main, schema: {schema}}}\n    keyspaces:\n      customer:\n        \
         method: mod\n        key_type: integer\n        slots: 2\n        shards:\n          s0: {{cluster: main, schema: {schema}_0, slots: 0-0}}\n          \
         s1: {{cluster: second, schema: {schema}_1, slots: 1-1}}\n        tables:\n          customers: id\n          orders: customer_id\n          \
         tickets: customer_id\n    reference_tables: [countries]"
    );
    let clusters = format!("  second:\n    servers: [\"{}:{}\"]\n", server.host, server.port);
    Rules { top, clusters, reads: "consistency: session".into(), ..Rules::default() }
}

impl Split {
    async fn new(scenario: Scenario) -> Self {
        Self::with(scenario, Cluster::own(scenario.dialect, 0), "").await
    }

    /// `policies`: further lines for the database.
    async fn with(scenario: Scenario, second: Cluster, policies: &str) -> Self {
        let rules = |schema: &str, second: &Cluster| {
            let mut rules = rules(schema, second);
            rules.top.push_str(policies);
            rules
        };
        Self::of(scenario, second, &TABLES, rules).await
    }

    /// With these tables; `plain` is at home alone, `countries` there, too.
    async fn of(
        scenario: Scenario,
        second: Cluster,
        tables: &[&str],
        rules: impl Fn(&str, &Cluster) -> Rules,
    ) -> Self {
        let schema = scenario.schema();
        let whole = format!("{schema}_w");
        let main = Cluster::shared(scenario.dialect);
        for (cluster, schema) in
            [(&main, format!("{schema}_0")), (&second, format!("{schema}_1")), (&main, whole.clone())]
        {
            cluster
                .run(
                    0,
                    &[
                        &format!("DROP DATABASE IF EXISTS {schema}"),
                        &format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4"),
                    ],
                )
                .await;
            for table in tables.iter().filter(|table| schema == whole || !table.starts_with("plain")) {
                cluster.run(0, &[&format!("CREATE TABLE {schema}.{table}")]).await;
            }
        }
        let stage = scenario.stage_with(rules(&schema, &second)).await;
        for table in
            tables.iter().filter(|table| table.starts_with("plain") || table.starts_with("countries"))
        {
            stage.given(&[&format!("CREATE TABLE {table}")]).await;
        }
        Self { stage, second, whole }
    }

    /// Runs it on both; the answers are the same to the byte, but for the name of the database.
    async fn same(&self, client: &mut RawClient, direct: &mut RawClient, sql: &str) {
        let own = self.names();
        let told = |outcomes: Vec<Outcome>| {
            outcomes.into_iter().map(|outcome| tell(outcome, &own)).collect::<Vec<_>>()
        };
        let (ours, servers) = (told(client.query(sql).await), told(direct.query(sql).await));
        assert_eq!(ours, servers, "{sql}");
    }

    /// The client begins and writes these; then the second shard's server ends its transaction, which waits in a ring with another's.
    async fn end_by_a_deadlock(&self, client: &mut RawClient, written: &[&str]) {
        self.in_a_ring(client, written, async |client| {
            client.error("SELECT id FROM customers WHERE id = 3 FOR UPDATE").await
        })
        .await;
    }

    /// The same, whose statement is given; it must want the row with id 3.
    async fn in_a_ring(
        &self,
        client: &mut RawClient,
        written: &[&str],
        last: impl AsyncFnOnce(&mut RawClient) -> ErrPacket,
    ) {
        let table = format!("{}_1.customers", self.stage.schema);
        let mut other = self.second.root(0).await;
        other.query_drop("START TRANSACTION").await.unwrap();
        // More changes than the client's: the server gives up the client.
        for id in [3, 5, 7] {
            other.query_drop(format!("UPDATE {table} SET score = 90 WHERE id = {id}")).await.unwrap();
        }
        client.ok("BEGIN").await;
        for sql in written {
            client.ok(*sql).await;
        }
        assert_eq!(
            client.value("SELECT id FROM customers WHERE id = 1 FOR UPDATE").await.as_deref(),
            Some("1")
        );
        let waiting = tokio::spawn(async move {
            other.query_drop(format!("UPDATE {table} SET score = 91 WHERE id = 1")).await.unwrap();
            other.query_drop("ROLLBACK").await.unwrap();
        });
        // Not of `innodb_trx`, which servers look at anew only where nobody has asked for a tenth of a second.
        let waits = "SELECT `COUNT` FROM information_schema.innodb_metrics WHERE name = 'lock_row_lock_current_waits'";
        self.second.until_number(0, "the other waits for a lock", waits, |waiting| waiting == 1).await;
        let error = last(client).await;
        assert_eq!(error.code, 1213, "{error}");
        waiting.await.unwrap();
    }

    /// What is called otherwise on the server that holds all.
    fn names(&self) -> Names {
        Names { schema: (self.whole.clone().into(), self.stage.schema.clone().into()), tables: vec![] }
    }

    /// A session at Tidegate, and one on the server that holds all.
    async fn both(&self) -> (RawClient, RawClient) {
        let login = Login { database: Some(self.whole.clone()), ..Login::default() };
        let direct = RawClient::login(self.stage.cluster.address(0), &login).await.expect("the login works");
        (self.stage.raw().await, direct)
    }
}

/// An answer as one text; errors and definitions without the name of the database.
fn tell(outcome: Outcome, own: &Names) -> String {
    let ends = |end: &Okay| {
        format!("{:?}, {} warnings", end.status & (Status::IN_TRANSACTION | Status::AUTOCOMMIT), end.warnings)
    };
    match outcome {
        Outcome::Ok(ok) => {
            format!("{} changed, id {}, {}, {}", ok.affected_rows, ok.insert_id, ok.info, ends(&ok))
        }
        Outcome::Err(error) => format!("{}", own.of_error(&error).unwrap_or(error)),
        Outcome::File(name) => name,
        Outcome::Rows(result) => {
            let columns =
                result.columns.iter().map(|column| own.of_definition(column).unwrap_or(column.clone()));
            format!("{:?} {:?} {}", columns.collect::<Vec<_>>(), result.rows, ends(&result.end))
        }
    }
}

async fn a_key_leads_to_its_shard(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    for sql in [
        "INSERT INTO customers (id, name, score) VALUES (1, 'odd', 5)",
        "INSERT INTO customers (id, name, score) VALUES (2, 'even', 7)",
        "INSERT INTO orders (customer_id, id, total) VALUES (1, 1, 9.50)",
        "SELECT id, name, score FROM customers WHERE id = 1",
        "SELECT id, name, score FROM customers WHERE id = '2'",
        "SELECT c.*, o.total AS t FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = 1",
        "UPDATE customers SET score = score + 1 WHERE id = 2 AND score > 6",
        "SELECT COUNT(*), MAX(score) FROM customers WHERE id IN (2)",
        "SELECT 1 FROM customers WHERE id = NULL",
        "DELETE FROM customers WHERE id = 1 LIMIT 1",
        "SELECT id, name FROM customers WHERE id = 1",
        "INSERT INTO plain VALUES (1, 'home')",
        "SELECT * FROM plain",
        "SELECT DATABASE() IS NULL, 5",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
}

/// Eight customers, on both shards, and their orders.
async fn fill(split: &Split, client: &mut RawClient, direct: &mut RawClient) {
    for id in 1..=8 {
        let name = ["ann", "Bob", "cid", "Ann"][id % 4];
        let score = if id == 5 { "NULL".to_owned() } else { (id * 7 % 5).to_string() };
        for sql in [
            format!("INSERT INTO customers (id, name, score) VALUES ({id}, '{name}', {score})"),
            format!("INSERT INTO orders (customer_id, id, total) VALUES ({id}, 1, {id}.25)"),
        ] {
            split.same(client, direct, &sql).await;
        }
    }
}

async fn reads_of_several_shards_are_one_result(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for sql in [
        "SELECT id, score FROM customers ORDER BY id",
        "SELECT id, score FROM customers ORDER BY score DESC, id LIMIT 3",
        "SELECT id, score FROM customers ORDER BY 2, 1 LIMIT 2, 3",
        "SELECT id, score FROM customers ORDER BY id LIMIT 4 OFFSET 6",
        "SELECT id FROM customers WHERE id IN (1, 2, 7) ORDER BY id",
        "SELECT COUNT(*), SUM(score), MIN(id), MAX(score) FROM customers",
        "SELECT COUNT(*), SUM(total) FROM orders WHERE id = 1",
        "SELECT COUNT(*) FROM customers WHERE score > 100",
        "SELECT SUM(score) FROM customers WHERE score > 100",
        // T43, T45 to T50: by texts in any case, by what is not selected, of values that shards share.
        "SELECT AVG(score) FROM customers GROUP BY name ORDER BY name",
        "SELECT COUNT(DISTINCT name), COUNT(DISTINCT id), SUM(DISTINCT score), AVG(DISTINCT score) FROM customers",
        "SELECT COUNT(*) AS n FROM customers GROUP BY name ORDER BY n DESC, MAX(id) LIMIT 1",
        "SELECT SUM(score) AS s FROM customers GROUP BY name HAVING COUNT(*) > 2 ORDER BY MIN(id)",
        "SELECT id, score FROM customers ORDER BY LENGTH(name), name DESC, id LIMIT 1, 5",
        "SELECT * FROM customers ORDER BY name, id",
        "SELECT score * 2 AS twice, SUM(score) / 1000, IFNULL(SUM(score), 0), MIN(LOWER(name)) FROM customers GROUP BY twice ORDER BY twice",
        // T44: what a server computes of whole groups' aggregates.
        "SELECT CONCAT(IFNULL(SUM(score), 0), '%'), NULLIF(MAX(score), 0), ROUND(SUM(score) / 7, 1), COUNT(*) * 100 / 7 FROM customers",
        "SELECT SUM(score) / 7 * 7, IF(COUNT(*) > 2, 'many', 'few'), CASE WHEN MIN(score) < 3 THEN 0 ELSE SUM(score) END FROM customers",
        "SELECT CONCAT(IFNULL(SUM(score), 0), '%'), NULLIF(MAX(score), 0) FROM customers WHERE score > 100",
        "SELECT id FROM customers UNION SELECT customer_id FROM orders ORDER BY 1",
        "SELECT id FROM customers WHERE id = 1 UNION ALL SELECT customer_id FROM orders WHERE customer_id = 2 ORDER BY id DESC LIMIT 3",
        "SELECT DISTINCT score + 1 FROM customers ORDER BY score + 1 DESC",
        // Flags of key columns depend on how a server joins, so none is selected.
        "SELECT c.score, o.total FROM customers c JOIN orders o ON o.customer_id = c.id ORDER BY c.score DESC, o.total",
        "SELECT id FROM customers WHERE name = 'nobody' ORDER BY id",
        "SELECT id, missing FROM customers ORDER BY id",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
}

async fn what_cannot_be_answered_exactly_is_refused(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for (sql, reason) in [
        ("UPDATE customers SET score = 0", "write-without-key"),
        ("UPDATE customers SET id = 10 WHERE id = 1", "changes-key"),
        ("INSERT INTO customers (name) VALUES ('x')", "missing-key"),
        (
            "SELECT * FROM customers JOIN plain ON plain.id = customers.id WHERE customers.id = 1",
            "home-and-sharded",
        ),
        ("SELECT score + 1, COUNT(*) FROM customers GROUP BY score + 1 WITH ROLLUP", "group-across-shards"),
        ("SELECT id FROM customers ORDER BY RAND()", "order-across-shards"),
        ("CREATE VIEW v AS SELECT * FROM customers", "view"),
        ("SELECT 1; SELECT * FROM customers WHERE id = 1", "several-statements"),
        ("DELETE FROM orders WHERE customer_id IN (1, 2) LIMIT 1", "limit-across-shards"),
    ] {
        let error = client.error(sql).await;
        assert!(String::from_utf8_lossy(&error.message).contains(reason), "{sql}: {error}");
    }
    client.ok("SET sql_mode = ''").await;
    let error = client.error("INSERT INTO customers (id, name) VALUES (9, 'x')").await;
    assert!(String::from_utf8_lossy(&error.message).contains("STRICT"), "{error}");
    client.ok("SET sql_mode = DEFAULT").await;
    client.ok("SET sql_select_limit = 2").await;
    let error = client.error("SELECT id FROM customers").await;
    assert!(String::from_utf8_lossy(&error.message).contains("sql_select_limit"), "{error}");
    client.ok("SET sql_select_limit = DEFAULT").await;
    // Nothing of it was done, and the session goes on.
    for sql in ["SELECT COUNT(*), SUM(score), MAX(id) FROM customers", "SELECT COUNT(*) FROM orders"] {
        split.same(&mut client, &mut direct, sql).await;
    }
}

async fn t59_a_transaction_reads_everywhere_and_writes_in_one_place(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for sql in [
        "BEGIN",
        "SELECT score FROM customers WHERE id = 1",
        "SELECT score FROM customers WHERE id = 2",
        "UPDATE customers SET score = 90 WHERE id = 1",
        "SELECT id, score FROM customers ORDER BY id",
        "SELECT COUNT(*) FROM plain",
        "SELECT score FROM customers WHERE id = 2",
        "SELECT 7",
        "ROLLBACK",
        "SELECT id, score FROM customers ORDER BY id",
        "START TRANSACTION",
        "UPDATE customers SET score = 91 WHERE id = 2",
        "SELECT score FROM customers WHERE id = 1",
        "COMMIT",
        "SELECT id, score FROM customers ORDER BY id",
        "SET autocommit = 0",
        "SELECT score FROM customers WHERE id = 1",
        "SELECT id, score FROM customers ORDER BY id",
        "UPDATE customers SET score = 92 WHERE id = 3",
        "COMMIT",
        "SET autocommit = 1",
        "SELECT id, score FROM customers ORDER BY id",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    client.ok("BEGIN").await;
    client.ok("UPDATE customers SET score = 1 WHERE id = 1").await;
    let error = client.error("UPDATE customers SET score = 1 WHERE id = 2").await;
    assert_eq!(error.code, 1235, "{error}");
    client.ok("ROLLBACK").await;
    split.same(&mut client, &mut direct, "SELECT id, score FROM customers ORDER BY id").await;
}

async fn a_reload_adds_tables_and_moves_no_row(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let (stage, cluster) = (&split.stage, &split.stage.cluster);
    let before = rules(&stage.schema, &split.second).yaml(cluster);
    stage.proxy.reload_text(
        &before.replace("slots: 0-0", "slots: 7-7").replace("slots: 1-1", "slots: 0-0").replace("7-7", "1-1"),
    );
    stage.proxy.until_logged("restart Tidegate to change").await;
    split.same(&mut client, &mut direct, "SELECT id, score FROM customers ORDER BY id").await;
    let test = "tests: [{sql: \"SELECT * FROM customers WHERE id = 1\", shards: 2}]\ndatabases:";
    stage.proxy.reload_text(&before.replace("databases:", test));
    stage.proxy.until_logged("it goes to 1 shards, not 2").await;
    let error = client.error("SELECT * FROM later WHERE id = 1").await;
    assert_eq!(error.code, 1146, "{error}");
    for (cluster, schema) in [
        (cluster, format!("{}_0", stage.schema)),
        (&split.second, format!("{}_1", stage.schema)),
        (cluster, split.whole.clone()),
    ] {
        cluster.run(0, &[&format!("CREATE TABLE {schema}.later (id INT PRIMARY KEY)")]).await;
    }
    stage.proxy.reload_text(&before.replace("customers: id\n", "customers: id\n          later: id\n"));
    stage.proxy.until_logged("the rules were read again changes=").await;
    for sql in [
        "INSERT INTO later (id) VALUES (1)",
        "INSERT INTO later (id) VALUES (2)",
        "SELECT * FROM later ORDER BY id",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
}

both_dialects! {
    a_key_leads_to_its_shard,
    a_reload_adds_tables_and_moves_no_row,
    reads_of_several_shards_are_one_result,
    t59_a_transaction_reads_everywhere_and_writes_in_one_place,
    what_cannot_be_answered_exactly_is_refused,
}
