//! The lexer against real servers: where it cuts, what it calls a read, which statements it calls the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test's way to fail

use std::collections::HashMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row};
use serde::Deserialize;
use tidegate::sql::lexer::{Kind, Lexer};
use tidegate::sql::{self, Class, Dialect, LexCharset, Lexing, ServerVersion, Uses};

/// One statement per line; those of MySQL that MariaDB does not parse are skipped there.
const STATEMENTS: &str = include_str!("sql_digest/statements.sql");

/// Errors that only a server which refuses writes gives.
const REFUSED_AS_A_WRITE: [u16; 3] = [1290, 1792, 1836];

#[derive(Deserialize)]
struct Servers {
    clusters: HashMap<String, Cluster>,
}

#[derive(Deserialize, Clone)]
struct Cluster {
    dialect: String,
    version: String,
    servers: Vec<Server>,
}

#[derive(Deserialize, Clone)]
struct Server {
    role: String,
    host: String,
    port: u16,
}

/// A dialect's cluster that has the wanted role, from the file that TIDEGATE_SERVERS names.
struct Target {
    lexing: Lexing,
    cluster: Cluster,
}

impl Target {
    fn of(dialect: Dialect) -> Self {
        let path = std::env::var("TIDEGATE_SERVERS").expect("TIDEGATE_SERVERS names the launcher's file");
        let text = std::fs::read_to_string(path).unwrap();
        let servers: Servers = serde_saphyr::from_str(&text).unwrap();
        let name = if dialect == Dialect::MySql { "mysql" } else { "mariadb" };
        let has_replica = |cluster: &Cluster| cluster.servers.iter().any(|server| server.role == "replica");
        let cluster = servers
            .clusters
            .into_values()
            .find(|cluster| cluster.dialect == name && has_replica(cluster))
            .expect("a cluster of each dialect with a replica");
        let number = cluster
            .version
            .split(['.', '-'])
            .take(3)
            .fold(0, |number, part| number * 100 + part.parse::<u32>().unwrap());
        let lexing = Lexing {
            ansi_quotes: false,
            no_backslash_escapes: false,
            charset: LexCharset::AsciiSafe,
            server: ServerVersion { dialect, number },
        };
        Self { lexing, cluster }
    }

    async fn connect(&self, role: &str, user: &str, password: &str) -> Conn {
        let server = self.cluster.servers.iter().find(|server| server.role == role).unwrap();
        let options = OptsBuilder::default()
            .ip_or_hostname(server.host.clone())
            .tcp_port(server.port)
            .user(Some(user))
            .pass(Some(password))
            .prefer_socket(false);
        Conn::new(options).await.unwrap()
    }

    /// A connection to the primary with this module's tables.
    async fn primary(&self) -> Conn {
        let mut primary = self.connect("primary", "app", "app-pw").await;
        for statement in [
            "CREATE DATABASE IF NOT EXISTS sql_digest",
            "USE sql_digest",
            "CREATE TABLE IF NOT EXISTS t (a INT PRIMARY KEY, b INT, c VARCHAR(50), j LONGTEXT, FULLTEXT (c))",
            "CREATE TABLE IF NOT EXISTS u LIKE t",
            "CREATE TABLE IF NOT EXISTS sbtest1 (id INT PRIMARY KEY, k INT, c VARCHAR(50))",
        ] {
            primary.query_drop(statement).await.unwrap();
        }
        primary
    }

    /// A connection to the replica, which has all that the primary has.
    async fn replica(&self, primary: &mut Conn) -> Conn {
        let mut replica = self.connect("replica", "app", "app-pw").await;
        let (position, wait) = match self.lexing.server.dialect {
            Dialect::MySql => ("SELECT @@global.gtid_executed", "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 30)"),
            Dialect::MariaDb => ("SELECT @@global.gtid_binlog_pos", "SELECT MASTER_GTID_WAIT(?, 30)"),
        };
        let position: String = primary.query_first(position).await.unwrap().unwrap();
        let late: Option<i64> = replica.exec_first(wait, (position,)).await.unwrap();
        assert_eq!(late, Some(0), "the replica catches up");
        replica.query_drop("USE sql_digest").await.unwrap();
        replica
    }
}

/// Runs an async test on a runtime of its own.
fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// The server's error code, or 0.
fn code(result: &Result<Vec<Row>, mysql_async::Error>) -> u16 {
    match result {
        Ok(_) => 0,
        Err(mysql_async::Error::Server(error)) => error.code,
        Err(error) => panic!("the connection failed: {error}"),
    }
}

#[test]
fn digests_group_statements_as_the_server_does() {
    run(async {
        let target = Target::of(Dialect::MySql);
        let mut server = target.primary().await;
        let mut ours_of = HashMap::new();
        let mut theirs_of = HashMap::new();
        let mut faults = Vec::new();
        let mut compared = 0;
        for statement in STATEMENTS.lines() {
            let query = "SELECT STATEMENT_DIGEST(?), STATEMENT_DIGEST_TEXT(?)";
            let (theirs, their_text): (String, String) =
                match server.exec_first(query, (statement, statement)).await {
                    Ok(row) => row.unwrap(),
                    Err(error) => {
                        faults.push(format!("the server does not take {statement}: {error}"));
                        continue;
                    }
                };
            compared += 1;
            let ours = sql::digest(statement.as_bytes(), &target.lexing);
            let our_text = sql::digest_text(statement.as_bytes(), &target.lexing);
            if our_text != their_text.as_bytes() {
                faults.push(format!(
                    "{statement}\n  server {their_text}\n  ours   {}",
                    our_text.escape_ascii()
                ));
            }
            if *ours_of.entry(theirs.clone()).or_insert(ours) != ours {
                faults.push(format!("the server calls it equal to another, we do not: {statement}"));
            }
            if *theirs_of.entry(ours).or_insert(theirs.clone()) != theirs {
                faults.push(format!("we call it equal to another, the server does not: {statement}"));
            }
        }
        assert!(faults.is_empty(), "{} of {compared}:\n{}", faults.len(), faults.join("\n"));
        assert!(
            compared > 300 && ours_of.len() < compared,
            "{compared} statements in {} groups",
            ours_of.len()
        );
    });
}

/// Class Read or Show, and nothing used that asks for the primary.
fn may_run_on_a_replica(statement: &str, lexing: &Lexing) -> bool {
    let primary = Uses::UNKNOWN_FUNCTION | Uses::PRIMARY_FUNCTION | Uses::DOUBT | Uses::USER_LOCK;
    let found = sql::recognise(statement.as_bytes(), lexing);
    matches!(found.class, Class::Read | Class::Show) && !found.uses.intersects(primary)
}

async fn reads_succeed_on_a_replica(dialect: Dialect) {
    let target = Target::of(dialect);
    let mut primary = target.primary().await;
    let body = "CREATE FUNCTION writes() RETURNS INT NOT DETERMINISTIC MODIFIES SQL DATA
        BEGIN INSERT INTO sql_digest.u (a) VALUES (1); RETURN 1; END";
    let mut root = target.connect("primary", "admin", "admin-pw").await;
    root.query_drop("DROP FUNCTION IF EXISTS sql_digest.writes").await.unwrap();
    root.query_drop("USE sql_digest").await.unwrap();
    root.query_drop(body).await.unwrap();
    let mut replica = target.replica(&mut primary).await;

    // What the check relies on: this replica does refuse a write inside a function, and the lexer tells of it.
    let refused = code(&replica.query("SELECT writes()").await);
    assert!(REFUSED_AS_A_WRITE.contains(&refused), "got {refused}");
    assert!(!may_run_on_a_replica("SELECT writes()", &target.lexing));

    let (mut ran, mut refused) = (0, Vec::new());
    for statement in STATEMENTS.lines().filter(|statement| may_run_on_a_replica(statement, &target.lexing)) {
        match code(&replica.query(statement).await) {
            0 => ran += 1,
            error if REFUSED_AS_A_WRITE.contains(&error) => refused.push((error, statement)),
            _ => {}
        }
    }
    assert!(refused.is_empty(), "{refused:?}");
    assert!(ran > 100, "only {ran} statements ran");
}

#[test]
fn t8_mysql_reads_succeed_on_a_replica() {
    run(reads_succeed_on_a_replica(Dialect::MySql));
}

#[test]
fn t8_mariadb_reads_succeed_on_a_replica() {
    run(reads_succeed_on_a_replica(Dialect::MariaDb));
}

/// MariaDB's grammar has these in some forms only (`POINT(x, y)`, `FROM JSON_TABLE(…)`); in other forms the names are free.
/// The lexer takes them as pure all the same.
const PURE_IN_SOME_FORMS: [&str; 8] = [
    "GEOMETRYCOLLECTION",
    "JSON_TABLE",
    "LINESTRING",
    "MULTILINESTRING",
    "MULTIPOINT",
    "MULTIPOLYGON",
    "POINT",
    "POLYGON",
];

/// Every function that the lexer calls pure is the server's own: no stored function can have its place.
async fn pure_functions_are_built_in(dialect: Dialect) {
    const NO_SUCH_FUNCTION: [u16; 2] = [1305, 1630];
    let target = Target::of(dialect);
    let mut server = target.primary().await;
    let mut missing = Vec::new();
    for function in sql::pure_functions(dialect) {
        let mut codes = Vec::new();
        for arguments in ["", "0", "0, 0", "0, 0, 0"] {
            codes.push(code(&server.query(format!("SELECT {function}({arguments})")).await));
        }
        if codes.iter().any(|code| NO_SUCH_FUNCTION.contains(code)) {
            missing.push(function);
        }
    }
    let expected = if dialect == Dialect::MariaDb { &PURE_IN_SOME_FORMS[..] } else { &[] };
    assert_eq!(missing, expected);
    assert_eq!(code(&server.query("SELECT no_such_function(0)").await), 1305, "the check can fail");
}

#[test]
fn t8_mysql_pure_functions_are_built_in() {
    run(pure_functions_are_built_in(Dialect::MySql));
}

#[test]
fn t8_mariadb_pure_functions_are_built_in() {
    run(pure_functions_are_built_in(Dialect::MariaDb));
}

#[test]
fn mariadb_lists_no_function_that_the_lexer_does_not_know() {
    run(async {
        let target = Target::of(Dialect::MariaDb);
        let mut server = target.primary().await;
        let names: Vec<String> =
            server.query("SELECT function FROM information_schema.sql_functions").await.unwrap();
        let unknown: Vec<_> =
            names.iter().filter(|name| !sql::is_built_in(name.as_bytes(), target.lexing.server)).collect();
        // Listed by the server, but no function can be called by this name.
        assert_eq!(unknown, ["SCHEMAS"]);
    });
}

/// The value that the lexer's tokens make of a sum of ones; `None` where it sees an error.
fn sum(statement: &[u8], lexing: &Lexing) -> Option<i64> {
    let mut sum = 0;
    for token in Lexer::new(statement, lexing) {
        match token.kind {
            Kind::Integer => sum += 1,
            Kind::Unknown => return None,
            _ => {}
        }
    }
    Some(sum)
}

async fn comments_are_cut_as_the_server_does(dialect: Dialect) {
    let target = Target::of(dialect);
    let mut server = target.primary().await;
    let version = target.lexing.server.number;
    let versions =
        [0, 32302, 40000, 50000, 50699, 50700, 80000, 99999, 100000, 100100, 101100, 101199, 999999];
    let mut texts: Vec<String> = versions
        .into_iter()
        .chain([version - 1, version, version + 1])
        .flat_map(|number| ["/*!", "/*M!"].map(|open| (number, open)))
        .flat_map(|(number, open)| [format!("{open}{number:05} +1 */"), format!("{open}{number:06} +1 */")])
        .collect();
    texts.extend(
        [
            "/* /* x */ +1",
            "/* x */ +1",
            "/*! +1 */ +1",
            "/*! +1",
            "/*!+1*/",
            "*/ +1",
            "/* x",
            "/*!50000+1*/",
            "/*!50000*/ +1",
            "/*! +1 /* x */ +1 */",
            "/*! +1 /* x */ +1",
            "/*!999999 /* x */ +1 */ +1",
            "/*!999999 /* /* x */ +1 */ +1",
            "/*! +1 /*! +1 */ +1 */",
            "/*! +1 /*! +1 */ +1",
            "/*! +1 /*!999999 +1 */ +1 */",
            "/*m! +1 */",
            "/**/ +1",
            "/***/ +1",
            "/*/ +1 */",
            "-- +1",
            "--\t+1",
            "--",
            "# +1",
            "#\n+1",
            "-- x\n+1",
            "--+1",
            "- -1",
            "+1 -- x\r+1",
            "--\x01 +1",
        ]
        .map(String::from),
    );
    let mut faults = Vec::new();
    for text in texts {
        let statement = format!("SELECT 1 {text}");
        let theirs = match server.query_first::<i64, _>(&statement).await {
            Ok(value) => value,
            Err(mysql_async::Error::Server(_)) => None,
            Err(error) => panic!("{error}"),
        };
        let ours = sum(statement.as_bytes(), &target.lexing);
        if ours != theirs {
            faults.push(format!("{text:?}: server {theirs:?}, ours {ours:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn t16_mysql_comments_are_cut_as_the_server_does() {
    run(comments_are_cut_as_the_server_does(Dialect::MySql));
}

#[test]
fn t16_mariadb_comments_are_cut_as_the_server_does() {
    run(comments_are_cut_as_the_server_does(Dialect::MariaDb));
}

/// Columns of a select list by its top-level commas; `None` where the lexer sees an error.
fn columns(statement: &[u8], lexing: &Lexing) -> Option<usize> {
    let mut columns = 1;
    for token in Lexer::new(statement, lexing) {
        match token.kind {
            Kind::Punct(b',') => columns += 1,
            Kind::Unknown => return None,
            _ => {}
        }
    }
    Some(columns)
}

async fn quotes_are_cut_as_the_server_does(dialect: Dialect) {
    let target = Target::of(dialect);
    let mut server = target.primary().await;
    let charsets = [
        ("utf8mb4", LexCharset::AsciiSafe),
        ("latin1", LexCharset::AsciiSafe),
        ("big5", LexCharset::Big5),
        ("gbk", LexCharset::Gbk),
        ("sjis", LexCharset::Sjis),
        ("cp932", LexCharset::Sjis),
        ("gb18030", LexCharset::Gb18030),
    ];
    let texts: [&[u8]; 18] = [
        b"'a', 'b'",
        b"'a\\', 'b'",
        b"'a\\\\', 'b'",
        b"'it''s', 'b'",
        b"\"a\\\", 'b'",
        b"\"it's\", 'b'",
        b"'a\"b', 'c'",
        b"'\xa5\\', 'b'",
        b"'\x95\\', 'b'",
        b"'\x81\\', 'b'",
        b"'\x81\x30\x81\x30', 'b'",
        b"'\x81\x30', 'b'",
        b"'\xa4\xa4\\', 'b'",
        b"N'a', _binary'b', x'41', b'1'",
        b"1 AS `a,b`, 2",
        b"1 AS `a``,b`, 2",
        b"'a' /* ' */, 'b'",
        b"1 AS \x83\x60, 2",
    ];
    let mut faults = Vec::new();
    for (name, charset) in charsets {
        if server.query_drop(format!("SET NAMES {name}")).await.is_err() {
            assert_eq!((dialect, name), (Dialect::MariaDb, "gb18030"), "only this one may be missing");
            continue;
        }
        for mode in ["", "ANSI_QUOTES", "NO_BACKSLASH_ESCAPES"] {
            server.query_drop(format!("SET sql_mode = '{mode}'")).await.unwrap();
            let lexing = Lexing {
                ansi_quotes: mode == "ANSI_QUOTES",
                no_backslash_escapes: mode == "NO_BACKSLASH_ESCAPES",
                charset,
                ..target.lexing
            };
            for text in texts {
                let statement = [b"SELECT ", text].concat();
                let Ok(rows) = server.query::<Row, _>(statement.clone()).await else { continue };
                let theirs = rows.first().map(|row| row.len());
                let ours = columns(&statement, &lexing);
                if ours != theirs {
                    let text = text.escape_ascii();
                    faults.push(format!("{name} {mode} {text}: server {theirs:?}, ours {ours:?}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn t16_mysql_quotes_are_cut_as_the_server_does() {
    run(quotes_are_cut_as_the_server_does(Dialect::MySql));
}

#[test]
fn t16_mariadb_quotes_are_cut_as_the_server_does() {
    run(quotes_are_cut_as_the_server_does(Dialect::MariaDb));
}

#[test]
fn t4_bare_questions_have_the_servers_column_names() {
    run(async {
        for dialect in [Dialect::MySql, Dialect::MariaDb] {
            let target = Target::of(dialect);
            let mut server = target.primary().await;
            for statement in [
                "SELECT CONNECTION_ID()",
                "select connection_id ( ) ;",
                "SELECT LAST_INSERT_ID() AS id",
                "SELECT ROW_COUNT() `a b`",
                "SELECT FOUND_ROWS() 'rows'",
                "SELECT found_rows( /* a */ ) -- x",
                "/* x */ SELECT row_count() n",
            ] {
                let question = sql::bare_question(statement.as_bytes(), &target.lexing);
                let ours = question.expect(statement).column_name.into_owned();
                let row: Row = server.query_first(statement).await.unwrap().unwrap();
                assert_eq!(row.columns_ref()[0].name_ref(), ours, "{dialect:?}: {statement}");
            }
        }
    });
}
