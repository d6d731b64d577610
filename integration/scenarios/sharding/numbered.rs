//! LOAD DATA LOCAL INFILE into tables with `generate`: rows get what one server's AUTO_INCREMENT would give them, and no id comes twice.

use mysql_async::prelude::Queryable;

use super::generated::{GRANT, number, numbers};
use super::loading::{both, load};
use super::{Split, rules, tell};
use crate::harness::{Cluster, RawClient, Rules, Scenario};

both_dialects! {
    t04_rows_of_a_file_get_numbers,
    numbers_that_a_file_gives_are_passed,
    a_file_whose_ids_could_come_twice_is_refused,
    rows_of_a_file_get_snowflakes_and_uuids,
}

const TABLES: [&str; 6] = [
    "customers (id BIGINT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(40), score INT)",
    "tickets (customer_id BIGINT, id INT PRIMARY KEY AUTO_INCREMENT, text VARCHAR(20), UNIQUE KEY (customer_id, text))",
    "orders (customer_id BIGINT, id BIGINT PRIMARY KEY, text VARCHAR(20))",
    "notes (customer_id BIGINT, id CHAR(36) PRIMARY KEY, text VARCHAR(20))",
    "plain (id INT PRIMARY KEY)",
    "countries (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(20))",
];

fn generating(schema: &str, second: &Cluster) -> Rules {
    let mut rules = rules(schema, second);
    for (plain, by) in [
        ("customers: id", "segment"),
        ("tickets: customer_id", "segment"),
        ("orders: customer_id", "snowflake"),
    ] {
        assert!(rules.top.contains(plain));
        let key = plain.split(": ").nth(1).unwrap();
        let table = plain.split(':').next().unwrap();
        let made = format!("{table}: {{key: {key}, generate: {{id: {by}}}}}");
        rules.top = rules.top.replace(plain, &made);
    }
    let notes = "          notes: {key: customer_id, generate: {id: uuid_v7}}\n    reference_tables: [{name: countries, generate: {id: segment}}]";
    rules.top = rules.top.replace("    reference_tables: [countries]", notes);
    rules
}

async fn split(scenario: Scenario) -> Split {
    let main = Cluster::shared(scenario.dialect);
    main.run(0, &[GRANT]).await;
    // Absent before anybody has fetched.
    let old = format!("DELETE FROM tidegate.id_segments WHERE database_name = '{}'", scenario.schema());
    drop(main.root(0).await.query_drop(old).await);
    Split::of(scenario, Cluster::own(scenario.dialect, 0), &TABLES, generating).await
}

fn statement(sql: &str) -> String {
    sql.replace("FILE", "LOCAL INFILE 'it\\'s rows.csv'")
}

/// Loads a file on both; all that is told, and all rows, are the same.
async fn same(split: &Split, client: &mut RawClient, direct: &mut RawClient, sql: &str, file: &[u8]) {
    let (own, sql) = (split.names(), statement(sql));
    let (ours, theirs) = (load(client, &sql, file).await, load(direct, &sql, file).await);
    assert_eq!(tell(ours, &own), tell(theirs, &own), "{sql}: {}", file.escape_ascii());
    for question in [
        "SELECT LAST_INSERT_ID()",
        "SELECT @@identity",
        "SELECT id, name, score FROM customers ORDER BY id",
        "SELECT customer_id, id, text FROM tickets ORDER BY id",
        "SELECT id, name FROM countries ORDER BY id",
    ] {
        split.same(client, direct, question).await;
    }
}

async fn t04_rows_of_a_file_get_numbers(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, mut direct) = both(&split).await;
    for (sql, file) in [
        // The column is not listed; the number is the key.
        (
            "LOAD DATA FILE INTO TABLE customers (name, score)",
            &b"a\t1\nb\t2\nc\nd\t4\t5\n\\N\t\\N\n\ny\t7"[..],
        ),
        ("LOAD DATA FILE INTO TABLE tickets (customer_id, text)", b"1\ta\n2\tb\n2\tc\n1\td\n"),
        // The first row is there already.
        ("LOAD DATA FILE IGNORE INTO TABLE tickets (customer_id, text)", b"1\ta\n"),
        ("LOAD DATA FILE INTO TABLE countries (name)", b"x\ny\nz\n"),
        // It is listed, and asks.
        ("LOAD DATA FILE INTO TABLE countries (name, id)", b"p\t\\N\nq\t0\nr\t000"),
    ] {
        same(&split, &mut client, &mut direct, sql, file).await;
    }
    for (sql, file) in [
        (
            "LOAD DATA FILE INTO TABLE customers FIELDS TERMINATED BY ',' ENCLOSED BY '\"' LINES STARTING BY '>>' TERMINATED BY '\\r\\n' \
             IGNORE 1 LINES (score, id, name)",
            &b">>score,id,name\r\nno>>1,\"0\",\"a,\r\n\"\"b\"\r\n>>\"2\",NULL,\"x\"\r\n\r\n>>\"3\",\"\\N\",\"y\"\r\n>>4,0,z"[..],
        ),
        ("LOAD DATA FILE INTO TABLE tickets", b"5\t\\N\tfive\n6\t0\tsix\n7\t\\N\tseven\textra\n"),
    ] {
        let before = number(&mut client, "SELECT COUNT(*) FROM customers").await;
        let tickets = number(&mut client, "SELECT COUNT(*) FROM tickets").await;
        let (own, sql) = (split.names(), statement(sql));
        let (ours, theirs) = (load(&mut client, &sql, file).await, load(&mut direct, &sql, file).await);
        assert_eq!(tell(ours, &own), tell(theirs, &own), "{sql}");
        let first = number(&mut client, "SELECT LAST_INSERT_ID()").await;
        let made = match sql.contains("customers") {
            true => numbers(&mut client, &format!("SELECT id FROM customers ORDER BY id LIMIT 99 OFFSET {before}")).await,
            false => numbers(&mut client, &format!("SELECT id FROM tickets ORDER BY id LIMIT 99 OFFSET {tickets}")).await,
        };
        assert_eq!(made, (first..first + made.len() as u64).collect::<Vec<_>>(), "{sql}");
        // All but the numbers is the same; a server leaves out some behind a file.
        for rows in ["SELECT name, score FROM customers ORDER BY id", "SELECT customer_id, text FROM tickets ORDER BY id"] {
            split.same(&mut client, &mut direct, rows).await;
        }
    }
    let rows: String = (0..30_000).map(|row| format!("{row}\trow {row}\n")).collect();
    let sql = statement("LOAD DATA FILE INTO TABLE tickets (customer_id, text)");
    assert_eq!(load(&mut client, &sql, rows.as_bytes()).await.ok().affected_rows, 30_000);
    let distinct = "SELECT COUNT(DISTINCT id) = COUNT(*) AND COUNT(*) > 30000 FROM tickets";
    assert_eq!(number(&mut client, distinct).await, 1);
    let ordered = "SELECT customer_id FROM tickets WHERE text LIKE 'row %' ORDER BY id";
    assert!(numbers(&mut client, ordered).await.is_sorted(), "in the order of the file");
}

async fn numbers_that_a_file_gives_are_passed(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, mut direct) = both(&split).await;
    let insert = "INSERT INTO tickets (customer_id) VALUES (1)";
    let sql = "LOAD DATA FILE INTO TABLE tickets (id, customer_id)";
    same(&split, &mut client, &mut direct, sql, b"3\t1\n-4\t2\n5\t1\n").await;
    split.same(&mut client, &mut direct, insert).await;
    // One behind the other, near and far.
    same(&split, &mut client, &mut direct, sql, b"7000\t1\n").await;
    split.same(&mut client, &mut direct, insert).await;
    let rows: String = (0..3000).map(|row| format!("{}\t{row}\n", 100_000 + row * 7)).collect();
    same(&split, &mut client, &mut direct, sql, rows.as_bytes()).await;
    split.same(&mut client, &mut direct, insert).await;
    let there = number(&mut client, "SELECT MAX(id) FROM tickets").await;
    // Numbers that are made among those that are given meet none of them, whichever comes first.
    let rows: String = (0..30_000)
        .map(|row| match row % 4 {
            0 => "\\N\t1\n".to_owned(),
            1 => format!("{}\t2\n", there + 10_000 + row * 5),
            2 => "0\t2\n".to_owned(),
            _ => format!("{}\t1\n", there + 500_000 - row),
        })
        .collect();
    let loaded = load(&mut client, &statement(sql), rows.as_bytes()).await.ok();
    assert_eq!((loaded.affected_rows, loaded.warnings), (30_000, 0));
    assert_eq!(number(&mut client, "SELECT COUNT(DISTINCT id) = COUNT(*) FROM tickets").await, 1);
    let next = client.ok(insert).await.insert_id;
    assert_eq!(next, number(&mut client, "SELECT MAX(id) FROM tickets").await);
    assert!(next > there + 490_000);
    // What no row has got moves nothing: a file that is refused, rows that were there.
    let refused = format!("{}\t1\n\t2\n", next + 900_000_000);
    let error = load(&mut client, &statement(sql), refused.as_bytes()).await.err();
    assert!(String::from_utf8_lossy(&error.message).contains("(generated-unclear)"), "{error}");
    assert_eq!(client.ok(insert).await.insert_id, next + 1);
}

async fn a_file_whose_ids_could_come_twice_is_refused(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, _direct) = both(&split).await;
    let listed = "LOAD DATA FILE INTO TABLE tickets (customer_id, id)";
    for (sql, file, words) in [
        (
            listed,
            &b"1\t\\N\n2\t1\n"[..],
            "is one that a row before may have got in row 2 of the file (generated-unclear)",
        ),
        (listed, b"1\t5\n2\t\n", "is no plain number in row 2 of the file (generated-unclear)"),
        (listed, b"1\t5\n2\n", "is missing in row 2 of the file (generated-unclear)"),
        (listed, b"1\t5\n2\t99999999999\n", "does not fit its column"),
        (
            "LOAD DATA FILE INTO TABLE tickets FIELDS TERMINATED BY '0' (customer_id)",
            b"",
            "are marked by what its id",
        ),
    ] {
        let error = load(&mut client, &statement(sql), file).await.err();
        assert!(String::from_utf8_lossy(&error.message).contains(words), "{sql}: {error}");
        assert_eq!(number(&mut client, "SELECT COUNT(*) FROM tickets").await, 0, "{sql}");
    }
    // A number of a block that was taken for the file, and that no row has, is passed.
    let rows = b"1\t\\N\n1\t\\N\n2\t\\N\n2\t1900\n1\t0\n1\t\\N\n2\t1903\n1\t\\N\n";
    let loaded = load(&mut client, &statement(listed), rows).await.ok();
    assert_eq!((loaded.affected_rows, loaded.warnings), (8, 0));
    assert_eq!(number(&mut client, "SELECT COUNT(DISTINCT id) = COUNT(*) FROM tickets").await, 1);
}

async fn rows_of_a_file_get_snowflakes_and_uuids(scenario: Scenario) {
    let split = split(scenario).await;
    let (mut client, _direct) = both(&split).await;
    let rows: String = (0..5000).map(|row| format!("{row}\t{row:05}\n")).collect();
    for table in ["orders", "notes"] {
        let sql = statement(&format!("LOAD DATA FILE INTO TABLE {table} (customer_id, text)"));
        assert_eq!(load(&mut client, &sql, rows.as_bytes()).await.ok().affected_rows, 5000);
        let texts = client.select(format!("SELECT text FROM {table} ORDER BY id")).await.texts();
        let texts: Vec<_> = texts.into_iter().flatten().flatten().collect();
        assert!(texts.len() == 5000 && texts.is_sorted(), "{table}: ids grow as rows do");
        let sql = statement(&format!("LOAD DATA FILE INTO TABLE {table} (customer_id, id, text)"));
        let loaded = load(&mut client, &sql, b"1\t77\tx\n2\t\\N\ty\n").await.ok();
        assert_eq!((loaded.affected_rows, loaded.warnings), (2, 0));
        assert_eq!(number(&mut client, &format!("SELECT COUNT(*) FROM {table} WHERE id = '77'")).await, 1);
        assert_eq!(number(&mut client, &format!("SELECT COUNT(DISTINCT id) FROM {table}")).await, 5002);
    }
    let shape = "SELECT COUNT(*) FROM notes WHERE id RLIKE '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'";
    assert_eq!(number(&mut client, shape).await, 5001);
    let first = number(&mut client, "SELECT MIN(id) FROM orders WHERE text = 'y'").await;
    assert!(first > 77);
    // The last file is of UUIDs, of which servers tell nothing.
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, first);
}
