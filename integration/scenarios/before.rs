//! What asks about the statement before, while other sessions use the same few server connections.

use std::net::SocketAddr;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::harness::{Login, RawClient, Rules, Scenario, Stage};

both_dialects! {
    t4_last_insert_id_is_the_sessions_own,
    t4_explicit_ids_and_expressions,
    t4_last_insert_id_outlives_its_connection,
    t4_a_session_that_inserted_nothing_has_no_id,
    what_writes_asks_no_replica_about_the_statement_before,
    t14_row_counts_are_the_sessions_own,
    t4_an_insert_id_and_a_row_count_are_asked_together,
    t14_counts_in_larger_expressions_are_the_sessions_own,
    t14_what_cannot_be_known_is_refused,
    t14_found_rows_are_the_sessions_own,
    t14_warnings_are_those_of_the_statement_before,
    t14_errors_are_those_of_the_statement_before,
    t14_counted_rows_outlive_their_connection,
    t14_warnings_outlive_their_connection,
}

/// One connection to the primary, one to the one replica that serves: whoever comes next has it.
async fn crowded(scenario: Scenario) -> Stage {
    let rules = Rules { weights: vec![1, 1, 0], ..Rules::pool("{max: 1}") };
    let stage = scenario.stage_with(rules).await;
    stage
        .given(&[
            "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
            "INSERT INTO t (v) VALUES (1), (2), (3), (4), (5)",
            "CREATE TABLE child (parent INT)",
        ])
        .await;
    stage
}

async fn number(client: &mut Conn, sql: &str) -> i64 {
    let row: Row =
        client.query_first(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).expect("a row");
    row.get(0).expect("a number")
}

/// Uses both connections, with an insert id, counts and rows of its own.
async fn bustle(client: &mut Conn) {
    client.query_drop("INSERT INTO t (v) VALUES (70), (71)").await.unwrap();
    client.query_drop("SELECT id FROM t LIMIT 4").await.unwrap();
    client.query_drop("SELECT id FROM t LIMIT 4 FOR UPDATE").await.unwrap();
}

async fn t4_last_insert_id_is_the_sessions_own(scenario: Scenario) {
    let stage = crowded(scenario).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    for rows in ["(1)", "(1), (2), (3)"] {
        client.query_drop(format!("INSERT INTO t (v) VALUES {rows}")).await.unwrap();
        let expected = client.last_insert_id().expect("generated") as i64;
        assert_eq!(
            number(&mut client, "SELECT LAST_INSERT_ID() AS id").await,
            expected,
            "at once, of {rows}"
        );
        bustle(&mut other).await;
        for sql in [
            "SELECT LAST_INSERT_ID() AS id",
            "SELECT last_insert_id ( )",
            "SELECT @@last_insert_id",
            "SELECT @@identity",
            "SELECT LAST_INSERT_ID() FROM t LIMIT 1",
        ] {
            assert_eq!(number(&mut client, sql).await, expected, "{sql} of {rows}");
            bustle(&mut other).await;
        }
        for _ in 0..2 {
            let prepared: Option<i64> = client.exec_first("SELECT LAST_INSERT_ID() AS id", ()).await.unwrap();
            assert_eq!(prepared, Some(expected), "prepared, of {rows}");
            bustle(&mut other).await;
        }
        client.query_drop("INSERT INTO child VALUES (LAST_INSERT_ID())").await.unwrap();
        assert_eq!(
            number(&mut client, "SELECT MAX(parent) FROM child FOR UPDATE").await,
            expected,
            "in a write, of {rows}"
        );
    }
}

async fn t4_explicit_ids_and_expressions(scenario: Scenario) {
    let stage = crowded(scenario).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, 0, "a new session has none");
    client.query_drop("INSERT INTO t (v) VALUES (1)").await.unwrap();
    let generated = client.last_insert_id().unwrap() as i64;
    client.query_drop("INSERT INTO t (id, v) VALUES (1000, 1)").await.unwrap();
    bustle(&mut other).await;
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, generated, "an explicit id is none");

    client.query_drop("UPDATE t SET v = LAST_INSERT_ID(v + 41) WHERE id = 1").await.unwrap();
    bustle(&mut other).await;
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, 42, "set by an expression in a write");
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID(77)").await, 77);
    bustle(&mut other).await;
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, 77, "set by an expression in a read");
}

async fn t4_last_insert_id_outlives_its_connection(scenario: Scenario) {
    let stage = crowded(scenario).await;
    let mut client = stage.client().await;
    client.query_drop("INSERT INTO t (v) VALUES (1)").await.unwrap();
    let expected = client.last_insert_id().unwrap() as i64;
    let mut root = stage.cluster.root(0).await;
    let threads: Vec<Row> = root.query("SHOW PROCESSLIST").await.unwrap();
    let is_ours = |row: &&Row| row.get::<Option<String>, _>("db").flatten() == Some(stage.schema.clone());
    let connection: u64 = threads.iter().find(is_ours).and_then(|row| row.get("Id")).expect("the pool's");
    root.query_drop(format!("KILL {connection}")).await.unwrap();
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, expected);
}

async fn t14_row_counts_are_the_sessions_own(scenario: Scenario) {
    let stage = crowded(scenario).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    for sql in ["SELECT ROW_COUNT()", "SELECT ROW_COUNT() AS n"] {
        client.query_drop("UPDATE t SET v = v + 1 WHERE id <= 3").await.unwrap();
        bustle(&mut other).await;
        assert_eq!(number(&mut client, sql).await, 3, "{sql}");
        client.query_drop("DELETE FROM t WHERE v = -1").await.unwrap();
        bustle(&mut other).await;
        assert_eq!(number(&mut client, sql).await, 0, "{sql}");
        client.query_drop("SELECT v FROM t LIMIT 2").await.unwrap();
        bustle(&mut other).await;
        assert_eq!(number(&mut client, sql).await, -1, "{sql} after a read");
        client.exec_drop("UPDATE t SET v = v + 1 WHERE id <= ?", (2,)).await.unwrap();
        bustle(&mut other).await;
        assert_eq!(number(&mut client, sql).await, 2, "{sql} after a prepared write");
    }
}

/// With the types, names and warnings of one server, wherever the statement before has run.
async fn t14_counts_in_larger_expressions_are_the_sessions_own(scenario: Scenario) {
    let stage = crowded(scenario).await;
    let server = SocketAddr::new("127.0.0.1".parse().unwrap(), stage.cluster.servers[0].port);
    let login = Login { database: Some(stage.schema.clone()), ..Login::default() };
    let mut direct = RawClient::login(server, &login).await.unwrap();
    let (mut client, mut other) = (stage.raw().await, stage.client().await);
    let befores = ["SELECT id FROM t WHERE id <= 2", "UPDATE t SET v = v + 1 WHERE id <= 3", "DO 0"];
    for sql in [
        "SELECT ROW_COUNT() + 0",
        "SELECT 1, FOUND_ROWS() * 2 AS n",
        "SELECT CONCAT(ROW_COUNT(), ',', FOUND_ROWS())",
        "SELECT row_count( ) FROM t WHERE id = 1 FOR UPDATE",
    ] {
        // What is found later than directly behind a SELECT is another matter, see docs/session-state.md.
        let befores = if sql.contains("FOUND_ROWS") { &befores[..1] } else { &befores };
        for before in befores {
            for prepared in [false, true] {
                let mut seen = Vec::new();
                for asker in [&mut direct, &mut client] {
                    let statement = asker.prepare(sql).await.unwrap();
                    asker.query(before).await;
                    bustle(&mut other).await;
                    let rows = match prepared {
                        true => asker.execute(statement, &[]).await.rows(),
                        false => asker.select(sql).await,
                    };
                    let warnings = asker.value("SELECT @@warning_count").await;
                    seen.push((format!("{:?}", rows.rows), rows.columns, warnings));
                }
                assert_eq!(seen[1], seen[0], "{sql} after {before}, prepared: {prepared}");
            }
        }
    }
    client.query("UPDATE t SET v = v + 1 WHERE id <= 3").await;
    bustle(&mut other).await;
    client.ok("INSERT INTO child VALUES (ROW_COUNT() + 40)").await;
    assert_eq!(client.value("SELECT MAX(parent) FROM child FOR UPDATE").await.unwrap(), "43", "in a write");
}

/// FOUND_ROWS() behind LIMIT with an offset is another number than that of the rows that came.
async fn t14_what_cannot_be_known_is_refused(scenario: Scenario) {
    let stage = crowded(scenario).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    for sql in ["SELECT FOUND_ROWS()", "SELECT FOUND_ROWS() + 0"] {
        client.query_drop("SELECT id FROM t WHERE id <= 4 LIMIT 2 OFFSET 1").await.unwrap();
        bustle(&mut other).await;
        let error = client.query_drop(sql).await.unwrap_err();
        assert!(matches!(&error, mysql_async::Error::Server(error) if error.code == 1235), "{sql}: {error}");
    }
}

async fn t14_found_rows_are_the_sessions_own(scenario: Scenario) {
    let stage = crowded(scenario).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    for sql in ["SELECT FOUND_ROWS()", "SELECT FOUND_ROWS() AS n"] {
        client.query_drop("SELECT SQL_CALC_FOUND_ROWS id FROM t WHERE id <= 5 LIMIT 1").await.unwrap();
        // The session keeps the connection until it has asked; the other one can use the primary's only.
        other.query_drop("INSERT INTO t (v) VALUES (70), (71)").await.unwrap();
        assert_eq!(number(&mut client, sql).await, 5, "{sql}");
        client.query_drop("SELECT id FROM t WHERE id <= 2").await.unwrap();
        bustle(&mut other).await;
        assert_eq!(number(&mut client, sql).await, 2, "{sql} without SQL_CALC_FOUND_ROWS");
        client.query_drop("SELECT id FROM t WHERE id <= 3 FOR UPDATE").await.unwrap();
        bustle(&mut other).await;
        assert_eq!(number(&mut client, sql).await, 3, "{sql} on the primary");
        let _: Vec<i64> = client.exec("SELECT id FROM t WHERE id <= ?", (4,)).await.unwrap();
        bustle(&mut other).await;
        assert_eq!(client.exec_first(sql, ()).await.unwrap(), Some(4), "{sql}, prepared");
        client.query_drop("SELECT id FROM t ORDER BY id LIMIT 2, 1").await.unwrap();
        assert_eq!(number(&mut client, sql).await, 3, "{sql}: with those before the offset");
        client.query_drop("SELECT id FROM t ORDER BY id LIMIT 1 OFFSET 2").await.unwrap();
        bustle(&mut other).await;
        let error = client.query_drop(sql).await.unwrap_err();
        assert!(error.to_string().contains("LIMIT with an offset"), "{sql}: {error}");
    }
}

/// Codes of SHOW WARNINGS and its kind.
async fn codes(client: &mut Conn, sql: &str) -> Vec<u16> {
    let rows: Vec<(String, u16, String)> =
        client.query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.into_iter().map(|(_, code, _)| code).collect()
}

async fn t14_warnings_are_those_of_the_statement_before(scenario: Scenario) {
    let stage = scenario.stage_with(Rules { weights: vec![1, 1, 0], ..Rules::pool("{max: 2}") }).await;
    stage
        .given(&["CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)", "INSERT INTO t (v) VALUES (1)"])
        .await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    let warn_on_replica = "SELECT CAST('x' AS SIGNED), CAST('y' AS SIGNED) FROM t WHERE id = 1";
    let warn_on_primary = "DROP TABLE IF EXISTS missing";
    for (sql, expected) in [(warn_on_replica, vec![1292, 1292]), (warn_on_primary, vec![1051])] {
        client.query_drop(sql).await.unwrap();
        bustle(&mut other).await;
        assert_eq!(codes(&mut client, "SHOW WARNINGS").await, expected, "{sql}");
        bustle(&mut other).await;
        assert_eq!(codes(&mut client, "SHOW WARNINGS").await, expected, "{sql}, asked again");
        assert_eq!(number(&mut client, "SHOW COUNT(*) WARNINGS").await, expected.len() as i64);
        assert_eq!(number(&mut client, "SELECT @@warning_count").await, expected.len() as i64);

        client.query_drop(sql).await.unwrap();
        client.query_drop("SELECT v FROM t WHERE id = 1").await.unwrap();
        bustle(&mut other).await;
        assert_eq!(
            codes(&mut client, "SHOW WARNINGS").await,
            [0u16; 0],
            "a statement without any came after {sql}"
        );
        client.query_drop(sql).await.unwrap();
        client.query_drop("GET DIAGNOSTICS @count = NUMBER").await.unwrap();
        assert_eq!(number(&mut client, "SELECT @count").await, expected.len() as i64);
        client.reset().await.unwrap();
        client.query_drop(format!("USE {}", stage.schema)).await.unwrap();
    }
    // Another session's warnings are nobody's.
    other.query_drop(warn_on_replica).await.unwrap();
    other.query_drop("SELECT v FROM t").await.unwrap();
    assert_eq!(codes(&mut client, "SHOW WARNINGS").await, [0u16; 0]);
}

async fn t14_errors_are_those_of_the_statement_before(scenario: Scenario) {
    let stage = scenario.stage_with(Rules { weights: vec![1, 1, 0], ..Rules::pool("{max: 2}") }).await;
    stage
        .given(&["CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)", "INSERT INTO t (v) VALUES (1)"])
        .await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    for (sql, code) in
        [("SELECT * FROM missing", 1146), ("INSERT INTO t (id) VALUES (1)", 1062), ("SELEC 1", 1064)]
    {
        client.query_drop(sql).await.unwrap_err();
        bustle(&mut other).await;
        assert_eq!(codes(&mut client, "SHOW ERRORS").await, [code], "{sql}");
        assert_eq!(codes(&mut client, "SHOW WARNINGS").await, [code], "{sql}");
        assert_eq!(number(&mut client, "SHOW COUNT(*) ERRORS").await, 1);
    }
    client.query_drop("SELECT v FROM t").await.unwrap();
    assert_eq!(codes(&mut client, "SHOW ERRORS").await, [0u16; 0]);
}

async fn t4_a_session_that_inserted_nothing_has_no_id(scenario: Scenario) {
    let stage = crowded(scenario).await;
    stage.given(&["CREATE PROCEDURE add_one() INSERT INTO t (v) VALUES (9)"]).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    bustle(&mut other).await;
    client.query_drop("SELECT id FROM t LIMIT 1 FOR UPDATE").await.unwrap();
    for sql in ["SELECT LAST_INSERT_ID()", "SELECT @@last_insert_id"] {
        assert_eq!(number(&mut client, sql).await, 0, "{sql}");
    }
    client.query_drop("CALL add_one()").await.unwrap();
    let expected = number(&mut client, "/* tidegate: primary */ SELECT MAX(id) FROM t").await;
    bustle(&mut other).await;
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, expected, "of a procedure");
    client.query_drop("SET last_insert_id = 88").await.unwrap();
    assert_eq!(number(&mut client, "SELECT LAST_INSERT_ID()").await, 88);
}

/// `admin` may write where the server is read only: a statement that went there would be lost for all others.
async fn what_writes_asks_no_replica_about_the_statement_before(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (n INT)", "INSERT INTO t VALUES (1), (2)"]).await;
    let mut client = Conn::new(stage.options("admin", "admin-pw")).await.unwrap();
    for read in ["SELECT n FROM t LIMIT 2", "SELECT 1/0, CAST('x' AS SIGNED) FROM t LIMIT 2"] {
        client.query_drop(read).await.unwrap();
        client.query_drop("INSERT INTO t VALUES (FOUND_ROWS() + 40)").await.unwrap();
    }
    stage.cluster.caught_up().await;
    for server in 0..stage.cluster.servers.len() {
        let sql = format!("SELECT GROUP_CONCAT(n ORDER BY n) FROM {}.t", stage.schema);
        let rows: Option<String> = stage.cluster.root(server).await.query_first(sql).await.unwrap();
        assert_eq!(rows.as_deref(), Some("1,2,42,42"), "server {server}");
    }
}

async fn t4_an_insert_id_and_a_row_count_are_asked_together(scenario: Scenario) {
    let stage = crowded(scenario).await;
    let mut client = stage.raw().await;
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t (id, v) VALUES (5000, 1)").await;
    client.ok("INSERT INTO t (v) VALUES (1), (2)").await;
    let both = client.select("SELECT LAST_INSERT_ID(), ROW_COUNT()").await.texts().remove(0);
    assert_eq!(both, [Some("5001".to_owned()), Some("2".to_owned())]);
}

/// A client may think for longer than its connection is kept for the question.
async fn t14_counted_rows_outlive_their_connection(scenario: Scenario) {
    let stage = scenario.stage_with(Rules { weights: vec![1, 0, 0], ..Rules::pool("{max: 1}") }).await;
    stage.given(&["CREATE TABLE t (id INT)", "INSERT INTO t VALUES (1), (2), (3)"]).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.select("SELECT SQL_CALC_FOUND_ROWS id FROM t LIMIT 1").await;
    assert_eq!(other.value("SELECT COUNT(*) FROM t").await.unwrap(), "3", "has waited for the connection");
    assert_eq!(client.value("SELECT FOUND_ROWS()").await.unwrap(), "3");
}

/// A person reads "2 warnings", and asks for them some time later.
async fn t14_warnings_outlive_their_connection(scenario: Scenario) {
    let stage = crowded(scenario).await;
    let (mut client, mut other) = (stage.raw().await, stage.client().await);
    let warns = "SELECT CAST('a' AS SIGNED), CAST('b' AS SIGNED) FROM t WHERE id = 1";
    client.select(warns).await;
    let expected = client.select("SHOW WARNINGS").await;
    assert_eq!(expected.rows.len(), 2);
    client.select(warns).await;
    // The client is silent, and its connection is given up.
    stage.proxy.until_metric("tidegate_pinned_sessions", &[], |pinned| pinned == 0).await;
    bustle(&mut other).await;
    for ask in ["SHOW WARNINGS", "show warnings;", "SHOW WARNINGS"] {
        let seen = client.select(ask).await;
        assert_eq!((&seen.rows, &seen.columns), (&expected.rows, &expected.columns), "{ask}");
        bustle(&mut other).await;
    }
    client.select("SELECT id FROM t WHERE id = 1").await;
    bustle(&mut other).await;
    assert!(client.select("SHOW WARNINGS").await.rows.is_empty(), "of the statement before");
}
