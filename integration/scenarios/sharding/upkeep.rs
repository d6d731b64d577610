//! ANALYZE, CHECK, OPTIMIZE, REPAIR and CHECKSUM TABLE of tables on several shards: told once, as one server would.

use super::journal::beside_each_other;
use super::{Split, TABLES, fill, rules};
use crate::harness::{Cluster, Outcome, RawClient, Scenario};

both_dialects! {
    tables_on_all_shards_are_looked_after_as_on_one_server,
    checksums_of_shards_add_up_to_that_of_the_whole_table,
    a_shard_that_lacks_a_table_is_named,
    looking_after_tables_commits_what_is_open_and_a_checksum_sees_it,
    shards_of_one_schema_are_looked_after_by_their_suffixes,
}

/// All of a reply that a client reads, with one name for the database.
fn told(outcome: Outcome, from: &str, to: &str) -> String {
    let own = |text: String| text.replace(from, to);
    match outcome {
        Outcome::Rows(rows) => {
            let names: Vec<_> = (0..rows.columns.len()).map(|at| rows.name(at)).collect();
            own(format!("{names:?} {:?} {} warnings", rows.texts(), rows.end.warnings))
        }
        Outcome::Ok(ok) => format!("{} changed", ok.affected_rows),
        Outcome::Err(error) => own(format!("{error}")),
        Outcome::File(name) => name,
    }
}

impl Split {
    /// Runs it on both: `DB` stands for the database.
    async fn told_alike(&self, client: &mut RawClient, direct: &mut RawClient, sql: &str) -> String {
        let own = &self.stage.schema;
        let ours = client.query(sql.replace("DB", own)).await.pop().expect("an answer");
        let servers = direct.query(sql.replace("DB", &self.whole)).await.pop().expect("an answer");
        let ours = told(ours, own, own);
        assert_eq!(ours, told(servers, &self.whole, own), "{sql}");
        ours
    }
}

async fn tables_on_all_shards_are_looked_after_as_on_one_server(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for sql in [
        "SELECT id FROM customers WHERE id IN (1, 2, 3) ORDER BY id",
        "ANALYZE TABLE customers",
        "SELECT ROW_COUNT(), FOUND_ROWS()",
        "ANALYZE NO_WRITE_TO_BINLOG TABLE customers, orders",
        "ANALYZE LOCAL TABLES DB.customers",
        "CHECK TABLE orders, customers QUICK FAST;",
        "CHECK TABLE plain, countries, `DB`.`customers` EXTENDED",
        "CHECK TABLE customers FOR UPGRADE",
        "OPTIMIZE TABLE customers, countries, plain",
        "REPAIR TABLE countries, tickets",
        "SHOW WARNINGS",
        "CHECK TABLE missing, orders",
        "ANALYZE TABLE orders, orders",
    ] {
        split.told_alike(&mut client, &mut direct, sql).await;
    }
    let own: &[&str] = match scenario.is_mysql() {
        true => &[
            "ANALYZE TABLE customers UPDATE HISTOGRAM ON name, score WITH 4 BUCKETS",
            "ANALYZE TABLE customers DROP HISTOGRAM ON name",
            "ANALYZE TABLE customers UPDATE HISTOGRAM ON orders",
            "ANALYZE TABLE customers NONSENSE",
        ],
        false => &[
            "ANALYZE TABLE customers PERSISTENT FOR ALL",
            "ANALYZE TABLE customers PERSISTENT FOR COLUMNS (name, score) INDEXES ()",
            "ANALYZE TABLE plain PERSISTENT FOR ALL, plain PERSISTENT FOR ALL",
            "OPTIMIZE TABLE customers NOWAIT",
        ],
    };
    for sql in own {
        split.told_alike(&mut client, &mut direct, sql).await;
    }
    let refused = client.prepare("ANALYZE TABLE customers").await.expect_err("it is refused");
    assert_eq!(refused.code, 1235, "{refused}");
    let refused = client.error("CHECK TABLE Customers").await;
    assert!(String::from_utf8_lossy(&refused.message).contains("name-case"), "{refused}");
    split.stage.proxy.until_metric("tidegate_pinned_sessions", &[], |pins| pins == 0).await;
}

/// A table with columns of all kinds.
const KINDS: &str = "kinds (id BIGINT PRIMARY KEY, a BIGINT, b VARCHAR(40), c CHAR(10), d DECIMAL(12,3), e DATETIME(3), f DOUBLE, g FLOAT, h TEXT, i BLOB, \
                     j BIT(5), k ENUM('x','y','z'), l SET('p','q','r'), m JSON, n DATE, o TIME(2), p YEAR, q TINYINT UNSIGNED NOT NULL DEFAULT 3, r BINARY(4), \
                     s VARBINARY(9), t TIMESTAMP NULL, u POINT, v INT AS (id + 1) STORED, w VARCHAR(9) AS (k) VIRTUAL)";

/// A row of it; NULL in every column that `nulls` does not leave.
fn row(id: i64, nulls: u32) -> String {
    let values = [
        format!("{}", id.wrapping_mul(0x9e37_79b9_7f4a)),
        format!("'{}x'", "é".repeat(usize::try_from(id % 5).unwrap_or(3))),
        format!("'c{id}'"),
        format!("{id}.125"),
        "'2026-01-02 03:04:05.678'".into(),
        format!("{id} / 7e0"),
        "1.5".into(),
        format!("REPEAT('text', {})", id % 40),
        format!("x'00ff{:02x}'", id & 0xff),
        "b'101'".into(),
        "'y'".into(),
        "'p,r'".into(),
        format!("'{{\"a\": {id}}}'"),
        "'2026-01-01'".into(),
        "'-10:11:12.5'".into(),
        "2026".into(),
    ];
    let more = ["x'01'".to_owned(), "x'0102'".into(), "'2026-01-01 00:00:00'".into(), "POINT(1, 2)".into()];
    let or_null = |(at, value): (usize, String)| if nulls >> at & 1 == 1 { "NULL".to_owned() } else { value };
    let values: Vec<_> = values.into_iter().enumerate().map(or_null).collect();
    let more: Vec<_> = more.into_iter().enumerate().map(|(at, value)| or_null((at + 16, value))).collect();
    format!("({id}, {}, {}, {})", values.join(", "), id & 0x7f, more.join(", "))
}

async fn checksums_of_shards_add_up_to_that_of_the_whole_table(scenario: Scenario) {
    let tables = [&TABLES[..], &[KINDS]].concat();
    let listed = |schema: &str, second: &Cluster| {
        let mut rules = rules(schema, second);
        rules.top = rules.top.replace("customers: id\n", "customers: id\n          kinds: id\n");
        rules
    };
    let split = Split::of(scenario, Cluster::own(scenario.dialect, 0), &tables, listed).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let rows: Vec<_> =
        (0..64u32).map(|id| row(i64::from(id) * 11 - 300, id.wrapping_mul(0x9e37_79b9) >> 7)).collect();
    let columns = "id, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u";
    for sql in [
        &*format!("INSERT INTO kinds ({columns}) VALUES {}", rows.join(", ")),
        "INSERT INTO countries VALUES (1, 'here', '2026-01-01 00:00:00')",
        "INSERT INTO plain VALUES (1, 'home')",
    ] {
        split.told_alike(&mut client, &mut direct, sql).await;
    }
    let sum = split.told_alike(&mut client, &mut direct, "CHECKSUM TABLE kinds").await;
    assert!(!sum.contains("None") && !sum.contains("\"0\""), "{sum}");
    for sql in [
        "CHECKSUM TABLE kinds, plain, customers, countries, tickets, DB.orders",
        "CHECKSUM TABLE kinds EXTENDED",
        "CHECKSUM TABLE customers, plain QUICK",
        "CHECKSUM TABLE customers, missing, orders, absent",
        "SHOW WARNINGS",
        "CHECKSUM TABLE countries",
        "DELETE FROM kinds WHERE id IN (-300, -289)",
        "CHECKSUM TABLE kinds",
    ] {
        split.told_alike(&mut client, &mut direct, sql).await;
    }
    // A row more on one shard alone.
    let before = client.select("CHECKSUM TABLE kinds").await.texts();
    let schema = &split.stage.schema;
    split.second.run(0, &[&format!("DELETE FROM {schema}_1.kinds WHERE id > 300")]).await;
    assert_ne!(client.select("CHECKSUM TABLE kinds").await.texts(), before);
}

async fn a_shard_that_lacks_a_table_is_named(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    let schema = split.stage.schema.clone();
    split.second.run(0, &[&format!("DROP TABLE {schema}_1.orders")]).await;
    let rows = client.select("CHECK TABLE customers, orders").await.texts();
    let of = |cells: [&str; 4]| cells.map(|cell| Some(cell.replace("DB", &schema))).to_vec();
    assert_eq!(
        rows,
        [
            of(["DB.customers", "check", "status", "OK"]),
            of(["DB.orders", "check", "Error", "Table 'DB.orders' doesn't exist (at s1)"]),
            of(["DB.orders", "check", "status", "Operation failed (at s1)"]),
        ]
    );
    let sums = client.select("CHECKSUM TABLE orders").await;
    assert_eq!((sums.texts(), sums.end.warnings), (vec![vec![Some(format!("{schema}.orders")), None]], 1));
    let warned = client.select("SHOW WARNINGS").await.texts();
    assert_eq!(warned[0][2].as_deref(), Some(&*format!("Table '{schema}.orders' doesn't exist (at s1)")));
    split.stage.cluster.run(0, &[&format!("DROP TABLE {schema}_0.orders")]).await;
    direct.ok("DROP TABLE orders").await;
    for sql in ["CHECK TABLE orders, customers", "CHECKSUM TABLE customers, orders", "SHOW WARNINGS"] {
        split.told_alike(&mut client, &mut direct, sql).await;
    }
}

async fn looking_after_tables_commits_what_is_open_and_a_checksum_sees_it(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = split.both().await;
    fill(&split, &mut client, &mut direct).await;
    for sql in [
        "BEGIN",
        "UPDATE customers SET score = 70 WHERE id = 1",
        "CHECKSUM TABLE customers, plain",
        "ROLLBACK",
        "SELECT score FROM customers WHERE id = 1",
        "CHECKSUM TABLE customers",
        "BEGIN",
        "UPDATE customers SET score = 71 WHERE id = 1",
        "SELECT COUNT(*) FROM orders",
        "ANALYZE TABLE orders",
        "SELECT score FROM customers WHERE id = 2",
        "ROLLBACK",
        "SELECT score FROM customers WHERE id = 1",
        "BEGIN",
        "INSERT INTO plain VALUES (5, 'x')",
        "CHECK TABLE customers",
        "ROLLBACK",
        "SELECT * FROM plain",
        "SET autocommit = 0",
        "UPDATE customers SET score = 72 WHERE id = 2",
        "OPTIMIZE TABLE orders, plain",
        "ROLLBACK",
        "SELECT score FROM customers WHERE id = 2",
        "CHECKSUM TABLE customers",
        "COMMIT",
        "SET autocommit = 1",
        "LOCK TABLES plain READ",
    ] {
        split.told_alike(&mut client, &mut direct, sql).await;
    }
    let refused = client.error("ANALYZE TABLE customers").await;
    assert!(String::from_utf8_lossy(&refused.message).contains("table locks"), "{refused}");
    client.ok("UNLOCK TABLES").await;
    client.select("ANALYZE TABLE customers").await;
}

async fn shards_of_one_schema_are_looked_after_by_their_suffixes(scenario: Scenario) {
    let schema = scenario.schema();
    let stage = scenario.stage_with(beside_each_other(&schema, "customers: id")).await;
    stage
        .given(&[
            "CREATE TABLE customers_0 (id INT PRIMARY KEY)",
            "CREATE TABLE customers_1 LIKE customers_0",
        ])
        .await;
    stage.given(&["INSERT INTO customers_0 VALUES (2), (4)", "INSERT INTO customers_1 VALUES (1)"]).await;
    stage.given(&["CREATE TABLE whole LIKE customers_0", "INSERT INTO whole VALUES (1), (2), (4)"]).await;
    let mut client = stage.raw().await;
    let name = Some(format!("{schema}.customers"));
    let status = |op: &str| [op, "status", "OK"].map(|cell| Some(cell.to_owned()));
    let rows = client.select("CHECK TABLE customers").await.texts();
    assert_eq!(rows, [[&[name.clone()][..], &status("check")].concat()]);
    let sums = client.select("CHECKSUM TABLE customers, whole").await.texts();
    assert_eq!((&sums[0][0], &sums[0][1]), (&name, &sums[1][1]));
    stage.given(&["DROP TABLE customers_1"]).await;
    let rows = client.select("ANALYZE TABLE customers").await.texts();
    assert_eq!(rows[0][3], Some(format!("Table '{schema}.customers' doesn't exist (at s1)")));
}
