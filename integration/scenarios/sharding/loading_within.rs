//! LOAD DATA LOCAL INFILE into sharded tables within a transaction of the client: it stands and falls with that, and a file that fails leaves the
//! transaction as it was.

use super::Split;
use super::loading::{both, load, same};
use super::transactions::BEST_EFFORT;
use super::writes::{ids, same_rows};
use crate::harness::{Cluster, Outcome, Scenario};

both_dialects! {
    a_file_in_a_transaction_stands_and_falls_with_it,
    rows_for_a_second_shard_are_refused_and_nothing_of_the_file_stays,
    a_file_for_several_shards_is_part_of_a_transaction_that_may_write_there,
    a_file_that_fails_in_a_transaction_leaves_it_open,
    a_deadlock_under_a_file_ends_the_transaction_everywhere,
    a_shard_that_is_lost_under_a_file_undoes_the_transaction,
}

const INTO: &str = "LOAD DATA LOCAL INFILE 'it\\'s rows.csv' INTO TABLE customers (id, name, score)";

/// Rows of customers with such keys.
fn rows(ids: impl Iterator<Item = u32>) -> Vec<u8> {
    ids.map(|id| format!("{id}\tname {id}\t{}\n", id % 7)).collect::<String>().into_bytes()
}

fn even() -> Vec<u8> {
    rows((1000..3000).filter(|id| id % 2 == 0))
}

async fn a_file_in_a_transaction_stands_and_falls_with_it(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = both(&split).await;
    let (mut other, mut other_direct) = both(&split).await;
    for begin in ["BEGIN", "SET autocommit = 0"] {
        for end in ["ROLLBACK", "COMMIT"] {
            split.same(&mut client, &mut direct, begin).await;
            for (sql, file) in [
                ("LOAD DATA FILE INTO TABLE customers (id, name, score)", &even()[..]),
                ("LOAD DATA FILE INTO TABLE customers (id, name, score)", b"2\tb\t2\n4\td\tx\n2\tagain\t1\n"),
                ("LOAD DATA FILE REPLACE INTO TABLE customers (id, name, score)", b"2\tnew\t2\n6\tf\t1\n"),
                ("LOAD DATA FILE IGNORE INTO TABLE customers (name, id)", b"i\t6\nh\t8\n"),
                ("LOAD DATA FILE INTO TABLE customers (id, name, score)", b""),
                (
                    "LOAD DATA FILE INTO TABLE customers (id, @x, name) SET score = @x * 2",
                    b"10\t5\ta\n12\t6\tb\n",
                ),
                ("LOAD DATA FILE INTO TABLE orders (customer_id, id, total)", b"2\t1\t1.5\n2\t2\tx\n"),
                ("LOAD DATA FILE INTO TABLE tickets (customer_id, text)", b"2\ta\n2\tb\n"),
                ("LOAD DATA FILE INTO TABLE customers (id, missing)", b"30\tx\n"),
            ] {
                same(&split, &mut client, &mut direct, sql, file).await;
                for sql in ["SELECT @x", "SELECT COUNT(*) FROM customers WHERE id = 2 FOR UPDATE"] {
                    split.same(&mut client, &mut direct, sql).await;
                }
            }
            // Others see none of it before its end.
            split.same(&mut other, &mut other_direct, "SELECT COUNT(*) FROM customers").await;
            for sql in ["INSERT INTO customers (id) VALUES (40)", "SELECT LAST_INSERT_ID()", end] {
                split.same(&mut client, &mut direct, sql).await;
            }
            split.stage.cluster.caught_up().await;
            same_rows(&split, &mut other, &mut other_direct).await;
            let count = "SELECT COUNT(*), MIN(text), MAX(customer_id) FROM tickets";
            split.same(&mut other, &mut other_direct, count).await;
        }
        for client in [&mut client, &mut direct] {
            client.ok("SET autocommit = 1").await;
            client.ok("DELETE FROM customers WHERE id IN (2, 4, 6, 8, 10, 12, 40)").await;
        }
    }
    assert!(ids(&split, 1).await.is_empty());
    // Savepoints of the client's, around it and behind it.
    for sql in ["BEGIN", "INSERT INTO customers (id) VALUES (50)", "SAVEPOINT a"] {
        split.same(&mut client, &mut direct, sql).await;
    }
    let file = &b"52\tx\t1\n54\ty\t2\n"[..];
    same(&split, &mut client, &mut direct, "LOAD DATA FILE INTO TABLE customers (id, name, score)", file)
        .await;
    for sql in
        ["SAVEPOINT b", "INSERT INTO customers (id) VALUES (56)", "ROLLBACK TO b", "RELEASE SAVEPOINT b"]
    {
        split.same(&mut client, &mut direct, sql).await;
    }
    same_rows(&split, &mut client, &mut direct).await;
    for sql in ["ROLLBACK TO a", "COMMIT"] {
        split.same(&mut client, &mut direct, sql).await;
    }
    same_rows(&split, &mut client, &mut direct).await;
}

async fn rows_for_a_second_shard_are_refused_and_nothing_of_the_file_stays(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let (mut client, mut direct) = both(&split).await;
    for written in ["INSERT INTO customers (id) VALUES (1)", "INSERT INTO customers (id) VALUES (2)"] {
        for sql in ["BEGIN", written] {
            split.same(&mut client, &mut direct, sql).await;
        }
        // Few rows, which all wait until the end, and many.
        for file in [rows(10..20), rows(1000..9000)] {
            let error = load(&mut client, INTO, &file).await.err();
            assert_eq!(error.code, 1235, "{error}");
            let message = String::from_utf8_lossy(&error.message).into_owned();
            assert!(message.contains("the transaction has written at another shard"), "{message}");
            same_rows(&split, &mut client, &mut direct).await;
        }
        split.same(&mut client, &mut direct, "COMMIT").await;
        same_rows(&split, &mut client, &mut direct).await;
    }
    // What nothing stays of has written nowhere: the next statement may write anywhere.
    for key in [3, 4] {
        client.ok("BEGIN").await;
        load(&mut client, INTO, &rows(1000..9000)).await.err();
        direct.ok("BEGIN").await;
        for sql in [&format!("INSERT INTO customers (id) VALUES ({key})"), "COMMIT"] {
            split.same(&mut client, &mut direct, sql).await;
        }
        same_rows(&split, &mut client, &mut direct).await;
    }
    // Copies are several places.
    client.ok("BEGIN").await;
    let sql = "LOAD DATA LOCAL INFILE 'it\\'s rows.csv' INTO TABLE countries (id, name)";
    let error = load(&mut client, sql, b"1\tPeru\n").await.err();
    assert!(String::from_utf8_lossy(&error.message).contains("within a transaction"), "{error}");
    client.ok("COMMIT").await;
    client.ok("START TRANSACTION READ ONLY").await;
    assert_eq!(load(&mut client, INTO, b"1\ta\t1\n").await.err().code, 1792);
}

async fn a_file_for_several_shards_is_part_of_a_transaction_that_may_write_there(scenario: Scenario) {
    let split = Split::with(scenario, Cluster::own(scenario.dialect, 0), BEST_EFFORT).await;
    let (mut client, mut direct) = both(&split).await;
    let customers = "LOAD DATA FILE REPLACE INTO TABLE customers (id, name, score)";
    let countries = "LOAD DATA FILE INTO TABLE countries (id, name)";
    for end in ["ROLLBACK", "COMMIT"] {
        for sql in ["BEGIN", "INSERT INTO customers (id) VALUES (2)", "SAVEPOINT a"] {
            split.same(&mut client, &mut direct, sql).await;
        }
        same(&split, &mut client, &mut direct, customers, &rows(1..3000)).await;
        same(&split, &mut client, &mut direct, countries, b"1\tPeru\n2\tMali\n1\tagain\n").await;
        let sql = "SELECT COUNT(*) FROM customers c JOIN countries n ON n.id = c.score";
        split.same(&mut client, &mut direct, sql).await;
        for sql in ["UPDATE customers SET score = 9 WHERE id = 5", "SAVEPOINT b"] {
            split.same(&mut client, &mut direct, sql).await;
        }
        same(&split, &mut client, &mut direct, customers, b"5\tfive\t5\n6\tsix\t6\n5001\tx\ty\n").await;
        split.same(&mut client, &mut direct, "ROLLBACK TO b").await;
        same_rows(&split, &mut client, &mut direct).await;
        split.same(&mut client, &mut direct, end).await;
        same_rows(&split, &mut client, &mut direct).await;
        split.stage.cluster.caught_up().await;
        let (mut other, _) = both(&split).await;
        for sql in
            ["SELECT id, name FROM countries ORDER BY id", "SELECT COUNT(*), MAX(score) FROM customers"]
        {
            split.same(&mut other, &mut direct, sql).await;
        }
    }
    // One statement has one time, and the next one another.
    let sql = "LOAD DATA LOCAL INFILE 'it\\'s rows.csv' INTO TABLE countries (id)";
    client.ok("BEGIN").await;
    for ids in [100..3000, 3000..4000] {
        let file: String = ids.map(|id| format!("{id}\n")).collect();
        load(&mut client, sql, file.as_bytes()).await.ok();
    }
    let times = "SELECT COUNT(DISTINCT changed) FROM countries WHERE id >= 100";
    assert_eq!(client.value(times).await.as_deref(), Some("2"));
    client.ok("ROLLBACK").await;
    assert_eq!(ids(&split, 0).await.last(), Some(&2998));
}

async fn a_file_that_fails_in_a_transaction_leaves_it_open(scenario: Scenario) {
    let split = Split::with(scenario, Cluster::own(scenario.dialect, 0), BEST_EFFORT).await;
    let (mut client, mut direct) = both(&split).await;
    let trigger = format!(
        "CREATE TRIGGER {0}_1.t BEFORE INSERT ON {0}_1.customers FOR EACH ROW \
         IF NEW.id = 9501 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one', MYSQL_ERRNO = 1644; END IF",
        split.stage.schema
    );
    split.second.run(0, &[&trigger]).await;
    for sql in [
        "BEGIN",
        "INSERT INTO tickets (customer_id, text) VALUES (2, 'a')",
        "UPDATE customers SET score = 1 WHERE id = 1",
    ] {
        split.same(&mut client, &mut direct, sql).await;
    }
    let id = client.value("SELECT LAST_INSERT_ID()").await;
    for (last, code) in [
        ("9501\tx\t1\n", 1644),
        ("x\ty\t1\n", 1235),
        ("\\N\ty\t1\n", 1048),
        ("18446744073709551614\tx\t1\n", 1235),
    ] {
        let file = [&rows(1000..7000), last.as_bytes()].concat();
        let error = load(&mut client, INTO, &file).await.err();
        assert_eq!(error.code, code, "{error}");
        assert_eq!(client.value("SELECT LAST_INSERT_ID()").await, id, "{last}");
        same_rows(&split, &mut client, &mut direct).await;
    }
    // Ids of servers in several places.
    let sql = "LOAD DATA LOCAL INFILE 'it\\'s rows.csv' INTO TABLE tickets (customer_id, text)";
    let error = load(&mut client, sql, b"3\ta\n4\tb\n").await.err();
    assert!(String::from_utf8_lossy(&error.message).contains("AUTO_INCREMENT"), "{error}");
    assert_eq!(client.value("SELECT LAST_INSERT_ID()").await, id);
    // KILL QUERY.
    client.send_query("LOAD DATA LOCAL INFILE 'rows' INTO TABLE customers (id, name, score)").await;
    assert!(matches!(client.outcome().await, Outcome::File(_)));
    client.send_numbered(&rows(1000..7000)).await;
    let mut killer = split.stage.raw().await;
    killer.ok(format!("KILL QUERY {}", client.greeting.connection_id)).await;
    client.send_numbered(&rows(7000..8000)).await;
    client.send_numbered(b"").await;
    assert_eq!(client.outcome().await.err().code, 1317);
    same_rows(&split, &mut client, &mut direct).await;
    // What the transaction had done, and does then, lasts.
    same(
        &split,
        &mut client,
        &mut direct,
        "LOAD DATA FILE INTO TABLE customers (id, name, score)",
        &rows(1..9),
    )
    .await;
    for sql in
        ["SELECT id, customer_id, text FROM tickets", "COMMIT", "SELECT id, customer_id, text FROM tickets"]
    {
        split.same(&mut client, &mut direct, sql).await;
    }
    same_rows(&split, &mut client, &mut direct).await;
    // A row that somebody else has locked: the server undoes the statement alone.
    let mut locker = split.stage.raw().await;
    for sql in ["BEGIN", "UPDATE customers SET score = 8 WHERE id = 1"] {
        locker.ok(sql).await;
    }
    for sql in ["SET innodb_lock_wait_timeout = 1", "BEGIN", "UPDATE customers SET score = 9 WHERE id = 2"] {
        split.same(&mut client, &mut direct, sql).await;
    }
    let file = [&rows(1000..7000), &b"1\tx\t1\n"[..]].concat();
    assert_eq!(load(&mut client, INTO, &file).await.err().code, 1205);
    locker.ok("ROLLBACK").await;
    same_rows(&split, &mut client, &mut direct).await;
    split.same(&mut client, &mut direct, "COMMIT").await;
    same_rows(&split, &mut client, &mut direct).await;
}

async fn a_deadlock_under_a_file_ends_the_transaction_everywhere(scenario: Scenario) {
    let split = Split::with(scenario, Cluster::own(scenario.dialect, 0), BEST_EFFORT).await;
    let (mut client, mut direct) = both(&split).await;
    let sql = "INSERT INTO customers (id) VALUES (1), (2), (3), (5), (7)";
    for client in [&mut client, &mut direct] {
        client.ok(sql).await;
    }
    let written = ["INSERT INTO plain VALUES (5, 'gone')"];
    split
        .in_a_ring(&mut client, &written, async |client| {
            let sql = INTO.replace("INTO", "REPLACE INTO");
            load(client, &sql, b"2\tx\t1\n3\ty\t2\n").await.err()
        })
        .await;
    assert_eq!(client.value("SELECT COUNT(*) FROM plain").await.as_deref(), Some("0"));
    client.ok("COMMIT").await;
    same_rows(&split, &mut client, &mut direct).await;
    same(
        &split,
        &mut client,
        &mut direct,
        "LOAD DATA FILE INTO TABLE customers (id, name, score)",
        &rows(1..9),
    )
    .await;
}

async fn a_shard_that_is_lost_under_a_file_undoes_the_transaction(scenario: Scenario) {
    let mut split = Split::with(scenario, Cluster::own(scenario.dialect, 0), BEST_EFFORT).await;
    let (mut client, mut direct) = both(&split).await;
    for sql in ["BEGIN", "INSERT INTO plain VALUES (6, 'gone')", "INSERT INTO customers (id) VALUES (1)"] {
        client.ok(sql).await;
    }
    client.send_query(INTO).await;
    assert!(matches!(client.outcome().await, Outcome::File(_)));
    client.send_numbered(&rows(1000..3000)).await;
    split.second.tell("kill", 0);
    client.send_numbered(&rows(3000..9000)).await;
    client.send_numbered(b"").await;
    let error = client.outcome().await.err();
    assert_eq!((error.code, &error.sqlstate), (1158, b"08S01"), "{error}");
    client.closed().await;
    split.second.tell("start", 0);
    let (mut other, _) = both(&split).await;
    same_rows(&split, &mut other, &mut direct).await;
    assert_eq!(other.value("SELECT COUNT(*) FROM plain").await.as_deref(), Some("0"));
}
