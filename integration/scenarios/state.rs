//! A session's state: kept for it, hidden from others, gone when it goes.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tidegate::wire::command as com;

use crate::harness::{Login, Outcome, Rules, Scenario, Stage, until, within};

both_dialects! {
    settings_do_not_leak_between_sessions,
    default_databases_do_not_leak_between_sessions,
    a_default_database_that_is_gone_holds_nothing_up_and_may_come_back,
    a_transaction_outlives_the_lack_of_a_default_database,
    a_statement_whose_database_is_gone_leaves_the_sessions_own,
    names_set_again_take_a_collation_back,
    one_collation_stays_beside_two_character_sets,
    settings_are_replayed_under_a_collation_that_is_not_ascii,
    t13_temporary_tables_stay_usable,
    user_locks_stay_until_released,
    t9_user_variables_keep_one_value_and_reads_stay_free,
    t11_every_form_of_set_reaches_every_connection,
    locked_tables_stay_locked,
    text_prepared_statements_stay,
    nothing_is_left_for_the_next_client,
    a_role_is_not_left_for_the_next_client,
    non_utf8_statements_are_read_in_their_charset,
}

pub const PRIMARY: usize = 0;
pub const WHICH: &str = "SELECT id FROM which";

/// One connection to the primary, one to the one replica that serves; a table.
pub async fn crowded(scenario: Scenario, max: u32) -> Stage {
    let rules = Rules { weights: vec![1, 1, 0], ..Rules::pool(&format!("{{max: {max}}}")) };
    let stage = scenario.stage_with(rules).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    stage
}

pub async fn text(client: &mut Conn, sql: &str) -> Option<String> {
    client
        .query_first::<Option<String>, _>(sql)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
        .expect("a row")
}

pub async fn code(client: &mut Conn, sql: &str) -> u16 {
    match client.query_drop(sql).await {
        Err(mysql_async::Error::Server(error)) => error.code,
        other => panic!("{sql}: an error was due, not {other:?}"),
    }
}

pub async fn ids(client: &mut Conn) -> Option<String> {
    text(client, "SELECT GROUP_CONCAT(id ORDER BY id) FROM t LOCK IN SHARE MODE").await
}

async fn settings_do_not_leak_between_sessions(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    // What a plain read shows of a setting on the replica; then on the primary.
    let cases = [
        ("SET time_zone = '+05:00'", "SELECT TIMEDIFF(NOW(), UTC_TIMESTAMP()) FROM which"),
        ("SET NAMES gbk", "SELECT CHARSET('x') FROM which"),
        ("SET sql_mode = 'HIGH_NOT_PRECEDENCE'", "SELECT NOT 1 BETWEEN -5 AND 5 FROM which"),
        ("SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'", r"SELECT LENGTH('\\') FROM which"),
        ("SET @@session.lc_time_names = 'de_DE'", "SELECT DATE_FORMAT('2000-01-01', '%M') FROM which"),
        ("SET LOCAL div_precision_increment = 9", "SELECT 1/3 FROM which"),
        ("SET collation_connection = 'utf8mb4_bin'", "SELECT COLLATION('x') FROM which"),
        ("SET default_week_format = 3", "SELECT WEEK('2008-02-20') FROM which"),
    ];
    for (set, show) in cases {
        for show in [
            show.to_owned(),
            format!("{show} FOR UPDATE").replace("FROM which", "FROM t RIGHT JOIN (SELECT 1 AS x) d ON 1"),
        ] {
            // Both, because a reset gives the servers' defaults instead of the handshake's.
            client.reset().await.unwrap();
            other.reset().await.unwrap();
            for each in [&mut client, &mut other] {
                each.query_drop(format!("USE {}", stage.schema)).await.unwrap();
            }
            let usual = text(&mut other, &show).await;
            assert_eq!(text(&mut client, &show).await, usual, "{show}");
            client.query_drop(set).await.unwrap();
            for _ in 0..2 {
                assert_ne!(text(&mut client, &show).await, usual, "{set}: {show}");
                assert_eq!(text(&mut other, &show).await, usual, "{set} of another session: {show}");
            }
        }
    }
}

/// `SET collation_connection` changes the character set beside it, which only the second SET NAMES takes back.
async fn names_set_again_take_a_collation_back(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    for set in ["SET NAMES latin1", "SET collation_connection = 'utf16_bin'", "SET NAMES latin1"] {
        client.query_drop(set).await.unwrap();
    }
    for _ in 0..2 {
        text(&mut other, "SELECT CHARSET('x') FROM which").await;
        let seen = text(&mut client, "SELECT CHARSET('x') FROM which").await;
        assert_eq!(seen.as_deref(), Some("latin1"));
    }
}

/// A bare literal would be UTF-16, which no server takes for the name of a locale or a time zone.
async fn one_collation_stays_beside_two_character_sets(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    for (client, charset) in [(&mut client, "ascii"), (&mut other, "gbk")] {
        client.query_drop(format!("SET NAMES {charset}")).await.unwrap();
        client.query_drop("SET collation_connection = latin1_german2_ci").await.unwrap();
    }
    // The connection changes hands each time.
    for client in [&mut client, &mut other] {
        for sql in ["SELECT COLLATION('x') FROM which", "SELECT @@collation_connection"] {
            assert_eq!(text(client, sql).await.as_deref(), Some("latin1_german2_ci"), "{sql}");
        }
    }
}

async fn settings_are_replayed_under_a_collation_that_is_not_ascii(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    for set in ["SET collation_connection = 'utf16_bin'", "SET time_zone = _latin1'+05:00'"] {
        client.query_drop(set).await.unwrap();
    }
    for _ in 0..2 {
        text(&mut other, "SELECT @@time_zone FROM which").await;
        assert_eq!(text(&mut client, "SELECT @@time_zone FROM which").await.as_deref(), Some("+05:00"));
    }
}

async fn default_databases_do_not_leak_between_sessions(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    let mut without = Conn::new(stage.options("app", "app-pw").db_name(None::<String>)).await.unwrap();
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    let (show, show_on_primary) = ("SELECT DATABASE()", "/* tidegate: primary */ SELECT DATABASE()");
    other.query_drop("USE test").await.unwrap();
    for _ in 0..3 {
        for sql in [show, show_on_primary] {
            assert_eq!(text(&mut client, sql).await.as_deref(), Some(&*stage.schema));
            assert_eq!(text(&mut other, sql).await.as_deref(), Some("test"));
            assert_eq!(text(&mut without, sql).await, None);
        }
    }
    assert_eq!(code(&mut other, "USE missing").await, 1049);
    assert_eq!(text(&mut other, show).await.as_deref(), Some("test"), "a USE that fails changes nothing");
    assert_eq!(code(&mut without, "SELECT * FROM t").await, 1046);
}

async fn a_default_database_that_is_gone_holds_nothing_up_and_may_come_back(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    let name = format!("{}_2", stage.schema.chars().take(55).collect::<String>());
    let (drop, create) = (format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}"));
    let (table, insert) = (format!("CREATE TABLE {name}.t (n INT)"), "INSERT INTO t VALUES (1)");
    stage.cluster.run(0, &[&drop, &create, &table]).await;
    stage.cluster.caught_up().await;
    for reset in [false, true] {
        let mut client = stage.raw().await;
        client.ok(format!("USE {name}")).await;
        client.ok(insert).await;
        stage.cluster.run(0, &[&drop]).await;
        assert!([1046, 1049, 1146].contains(&client.error(insert).await.code));
        assert_eq!(client.value("SELECT 'goes on'").await.as_deref(), Some("goes on"));
        if reset {
            client.command(com::RESET_CONNECTION, &[]).await; // which keeps the name, on one server
            client.outcome().await.ok();
        }
        stage.cluster.run(0, &[&create, &table]).await;
        let last = tokio::sync::Mutex::new(client);
        let is_used = || async { matches!(last.lock().await.query(insert).await[..], [Outcome::Ok(_)]) };
        until("it is used again", is_used).await;
        last.into_inner().ok(format!("USE {}", stage.schema)).await;
    }
    stage.cluster.run(0, &[&drop]).await;
}

/// The database is asked for again after a while, but not where its absence would cost what is open.
async fn a_transaction_outlives_the_lack_of_a_default_database(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    let name = format!("{}_2", stage.schema.chars().take(55).collect::<String>());
    let (drop, create) = (format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}"));
    stage.cluster.run(0, &[&drop, &create]).await;
    stage.cluster.caught_up().await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok(format!("USE {name}")).await;
    stage.cluster.run(0, &[&drop]).await;
    // The connections are another session's in between, so that the database is entered anew.
    other.ok("DELETE FROM t").await;
    other.select("SELECT 1 FROM t").await;
    client.select("SELECT 1").await;
    let (table, started) = (format!("{}.t", stage.schema), std::time::Instant::now());
    client.ok("BEGIN").await;
    client.ok(format!("INSERT INTO {table} VALUES (1)")).await;
    let client = tokio::sync::Mutex::new(client);
    until("it would be asked for again", || async {
        let read = format!("SELECT COUNT(*) FROM {table}");
        assert_eq!(client.lock().await.value(read).await.unwrap(), "1");
        started.elapsed().as_millis() > 700
    })
    .await;
    let mut client = client.into_inner();
    client.ok("COMMIT").await;
    assert_eq!(other.value("/* tidegate: primary */ SELECT COUNT(*) FROM t").await.unwrap(), "1");

    // As on one server, what begins anew keeps its database, whether that is there now or later.
    client.command(0x1f, &[]).await;
    client.outcome().await.ok();
    stage.cluster.run(0, &[&create]).await;
    stage.cluster.caught_up().await;
    assert_eq!(client.value("SELECT DATABASE()").await.unwrap(), name);
    stage.cluster.run(0, &[&drop]).await;
}

/// A statement is prepared again where it was prepared first. That this is not there any more says nothing of where the session is now.
async fn a_statement_whose_database_is_gone_leaves_the_sessions_own(scenario: Scenario) {
    let limits = "{prepared_per_backend: 1}".into();
    let rules = Rules { limits, weights: vec![1, 0, 0], ..Rules::pool("{max: 1}") };
    let stage = scenario.stage_with(rules).await;
    let name = format!("{}_2", stage.schema.chars().take(55).collect::<String>());
    let (drop, create) = (format!("DROP DATABASE IF EXISTS {name}"), format!("CREATE DATABASE {name}"));
    stage.cluster.run(0, &[&drop, &create, &format!("CREATE TABLE {name}.t (id INT)")]).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok(format!("USE {name}")).await;
    let prepared = client.prepare("INSERT INTO t VALUES (7)").await.unwrap();
    client.ok(format!("USE {}", stage.schema)).await;
    stage.cluster.run(0, &[&drop]).await;
    // It takes the connection's only place for a statement.
    let another = other.prepare("DO 1").await.unwrap();
    other.execute(another, &[]).await.ok();
    assert_eq!(client.execute(prepared, &[]).await.err().code, 1049);
    assert_eq!(client.value("SELECT DATABASE()").await.unwrap(), stage.schema);
    client.ok("INSERT INTO t VALUES (1)").await;
    assert_eq!(other.value("SELECT GROUP_CONCAT(id) FROM t").await.unwrap(), "1");

    // Where the session's own is gone, what is prepared in another one does not lead it there.
    stage.cluster.run(0, &[&create]).await;
    client.ok(format!("USE {}", stage.schema)).await;
    let prepared = client.prepare("INSERT INTO t VALUES (2)").await.unwrap();
    client.ok(format!("USE {name}")).await;
    stage.cluster.run(0, &[&drop]).await;
    other.execute(another, &[]).await.ok();
    let _either = client.execute(prepared, &[]).await;
    assert!([1046, 1049].contains(&client.error("INSERT INTO t VALUES (99)").await.code));
    assert_eq!(other.value("SELECT COUNT(*) FROM t WHERE id = 99").await.unwrap(), "0");
}

async fn t13_temporary_tables_stay_usable(scenario: Scenario) {
    let stage = crowded(scenario, 2).await;
    stage
        .given(&[
            "CREATE PROCEDURE make() BEGIN CREATE TEMPORARY TABLE made (n INT); INSERT INTO made VALUES (7); END",
            // The servers do not report this one as a change of state (MySQL 9.7, MariaDB 10.11).
            "CREATE PROCEDURE make_by_select() CREATE TEMPORARY TABLE selected AS SELECT 7 AS n",
        ])
        .await;
    let cases = [
        ("CREATE TEMPORARY TABLE tmp AS SELECT 7 AS n", "SELECT n FROM tmp"),
        ("CALL make()", "SELECT n FROM made"),
        ("CALL make_by_select()", "SELECT n FROM selected"),
    ];
    for (make, read) in cases {
        let (mut client, mut other) = (stage.client().await, stage.client().await);
        client.query_drop(make).await.unwrap();
        for _ in 0..3 {
            other.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
            other.query_drop("DELETE FROM t").await.unwrap();
            assert_eq!(client.query_first(read).await.unwrap(), Some(7), "{make}");
            assert_eq!(code(&mut other, read).await, 1146);
        }
        client.disconnect().await.unwrap();
        other.disconnect().await.unwrap();
    }
}

async fn user_locks_stay_until_released(scenario: Scenario) {
    let stage = crowded(scenario, 3).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    let get = format!("SELECT GET_LOCK('{}', 0)", stage.schema);
    assert_eq!(client.query_first(&*get).await.unwrap(), Some(1));
    for _ in 0..3 {
        client.query_drop("SELECT COUNT(*) FROM t").await.unwrap();
        assert_eq!(other.query_first(&*get).await.unwrap(), Some(0));
    }
    assert_eq!(
        client.query_first(format!("SELECT RELEASE_LOCK('{}')", stage.schema)).await.unwrap(),
        Some(1)
    );
    assert_eq!(other.query_first(&*get).await.unwrap(), Some(1));
    other.disconnect().await.unwrap();
    let waiting = client.query_first(format!("SELECT GET_LOCK('{}', 20)", stage.schema));
    assert_eq!(within("the lock of a client that has gone", waiting).await.unwrap(), Some(1));
}

async fn t9_user_variables_keep_one_value_and_reads_stay_free(scenario: Scenario) {
    let stage = crowded(scenario, 2).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    client.query_drop("SET @v = 1").await.unwrap();
    for expected in 1..=3 {
        assert_eq!(client.query_first("SELECT @v").await.unwrap(), Some(expected));
        assert_ne!(stage.answers(&mut client, WHICH).await, PRIMARY, "a read without variables");
        assert_eq!(text(&mut other, "SELECT @v").await, None, "another session's");
        assert_eq!(client.query_first("SELECT @v := @v + 1").await.unwrap(), Some(expected + 1));
        assert_eq!(client.exec_first("SELECT @v", ()).await.unwrap(), Some(expected + 1));
    }
    client.query_drop("INSERT INTO t VALUES (@v)").await.unwrap();
    assert_eq!(ids(&mut client).await.as_deref(), Some("4"));
}

async fn t11_every_form_of_set_reaches_every_connection(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    let cases = [
        ("SET @@local.div_precision_increment = 9", "div_precision_increment"),
        ("SET LOCAL group_concat_max_len = 77", "group_concat_max_len"),
        ("SET SESSION max_sort_length = 99", "max_sort_length"),
        ("SET @@session.lc_time_names = 'de_DE'", "lc_time_names"),
        ("SET time_zone = '+05:00'", "time_zone"),
        ("SET @@innodb_lock_wait_timeout = 1", "innodb_lock_wait_timeout"),
    ];
    for (set, name) in cases {
        let seen = ["primary", "replica"].map(|role| format!("/* tidegate: {role} */ SELECT @@{name}"));
        let usual = text(&mut other, &seen[0]).await;
        // The one connection to each server changes hands between any two statements.
        for (change, differs) in [(set, true), (&format!("SET {name} = DEFAULT"), false), (set, true)] {
            client.query_drop(change).await.unwrap();
            for sql in &seen {
                assert_eq!(text(&mut other, sql).await, usual, "{change} of another session: {sql}");
                assert_eq!(text(&mut client, sql).await != usual, differs, "{change}: {sql}");
            }
        }
    }
    // The limit of the session counts where its next statement waits.
    stage.given(&["INSERT INTO t VALUES (1)"]).await;
    let mut holder = stage.direct(Login::default()).await;
    holder.ok("BEGIN").await;
    holder.ok("UPDATE t SET id = 2").await;
    other.query_drop("DO 1").await.unwrap();
    let waited = within("a lock's limit of one second", client.query_drop("UPDATE t SET id = 3")).await;
    assert!(matches!(&waited, Err(mysql_async::Error::Server(error)) if error.code == 1205), "{waited:?}");
}

async fn locked_tables_stay_locked(scenario: Scenario) {
    let stage = crowded(scenario, 2).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    let wait = "SET SESSION lock_wait_timeout = 1";
    other.query_drop(wait).await.unwrap();
    client.query_drop("LOCK TABLES t WRITE").await.unwrap();
    client.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(code(&mut other, "INSERT INTO t VALUES (2)").await, 1205);
    assert_eq!(code(&mut client, "SELECT * FROM which").await, 1100, "not locked");
    client.query_drop("UNLOCK TABLES").await.unwrap();
    other.query_drop("INSERT INTO t VALUES (2)").await.unwrap();
    assert_ne!(stage.answers(&mut client, WHICH).await, PRIMARY, "the pin ends with the locks");
    assert_eq!(ids(&mut client).await.as_deref(), Some("1,2"));
}

async fn text_prepared_statements_stay(scenario: Scenario) {
    let stage = crowded(scenario, 2).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    client.query_drop("PREPARE s FROM 'SELECT ? + 1'").await.unwrap();
    client.query_drop("SET @a = 41").await.unwrap();
    for _ in 0..3 {
        assert_ne!(stage.answers(&mut client, WHICH).await, PRIMARY, "a plain read");
        assert_eq!(code(&mut other, "EXECUTE s").await, 1243, "another session's");
        assert_eq!(client.query_first("EXECUTE s USING @a").await.unwrap(), Some(42));
    }
    client.query_drop("DEALLOCATE PREPARE s").await.unwrap();
    assert_eq!(code(&mut client, "EXECUTE s USING @a").await, 1243);
}

async fn nothing_is_left_for_the_next_client(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    let lock = stage.schema.clone();
    let show =
        "SELECT CONCAT_WS(' ', CHARSET('x'), TIMEDIFF(NOW(), UTC_TIMESTAMP()), LENGTH('\\\\'), DATABASE())";
    let mut fresh = stage.client().await;
    let usual = text(&mut fresh, show).await;
    fresh.disconnect().await.unwrap();
    for _ in 0..2 {
        let mut client = stage.client().await;
        for sql in [
            "CREATE TEMPORARY TABLE tmp (id INT)",
            "SET @v = 1",
            &format!("SELECT GET_LOCK('{lock}', 0)"),
            "SET NAMES gbk",
            "SET time_zone = '+05:00', sql_mode = 'NO_BACKSLASH_ESCAPES', SESSION TRANSACTION READ ONLY",
            "PREPARE s FROM 'SELECT 1'",
            "USE test",
            "SET autocommit = 0",
            &format!("LOCK TABLES {}.t READ", stage.schema),
        ] {
            if sql.contains("READ ONLY") {
                client
                    .query_drop("SET time_zone = '+05:00', sql_mode = 'NO_BACKSLASH_ESCAPES'")
                    .await
                    .unwrap();
                client.query_drop("SET SESSION TRANSACTION READ ONLY").await.unwrap();
                continue;
            }
            client.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        client.disconnect().await.unwrap();

        let mut next = stage.client().await;
        for place in ["", "/* tidegate: primary */ "] {
            assert_eq!(text(&mut next, &format!("{place}{show}")).await, usual);
        }
        assert_eq!(text(&mut next, "SELECT @v").await, None);
        assert_eq!(next.query_first(format!("SELECT IS_FREE_LOCK('{lock}')")).await.unwrap(), Some(1));
        assert_eq!(next.query_first("SELECT @@autocommit").await.unwrap(), Some(1));
        assert_eq!(code(&mut next, "/* tidegate: primary */ SELECT * FROM tmp").await, 1146);
        assert_eq!(code(&mut next, "EXECUTE s").await, 1243);
        next.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
        next.query_drop("DELETE FROM t").await.unwrap();
        next.disconnect().await.unwrap();
    }
}

async fn non_utf8_statements_are_read_in_their_charset(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    let (mut client, mut other) = (stage.raw().await, stage.client().await);
    let mut charsets = vec!["gbk", "sjis", "cp932", "big5"];
    if scenario.is_mysql() {
        charsets.push("gb18030");
    }
    for charset in charsets {
        client.ok(format!("SET NAMES {charset}")).await;
        // Two bytes, one character; the second is a backslash to who reads bytes.
        let character: &[u8] = match charset {
            "sjis" | "cp932" => b"\x95\x5c",
            "big5" => b"\xa5\x5c",
            _ => b"\xbf\x5c",
        };
        for _ in 0..2 {
            let sql = [b"SELECT '", character, b"', CHAR_LENGTH('", character, b"'), (SELECT id FROM which)"]
                .concat();
            let rows = client.select(&sql).await.bytes();
            assert_eq!(rows[0][0].as_deref(), Some(character), "{charset}");
            assert_eq!(rows[0][1].as_deref(), Some(&b"1"[..]), "{charset}");
            let id = String::from_utf8_lossy(rows[0][2].as_ref().unwrap()).parse().unwrap();
            assert_ne!(stage.place(id), PRIMARY, "{charset}: understood");
            let locking =
                [b"SELECT (SELECT id FROM which), '", character, b"' FROM (SELECT 1) d FOR UPDATE"].concat();
            let id = client.value(&locking).await.unwrap().parse().unwrap();
            assert_eq!(stage.place(id), PRIMARY, "{charset}: the lock is seen behind the text");
            assert_eq!(text(&mut other, "SELECT 'ü\\\\'").await.as_deref(), Some("ü\\"));
        }
    }
    let outcomes = client.query(b"SET NAMES gbk; SELECT '\xbf\x5c'; SELECT 2").await;
    assert!(matches!(&outcomes[..], [Outcome::Ok(_), Outcome::Rows(_), Outcome::Rows(_)]), "{outcomes:?}");
    until("no session is pinned", || async {
        stage.proxy.metric("tidegate_pinned_sessions", &[]).await == 0
    })
    .await;
}

/// COM_RESET_CONNECTION leaves it.
async fn a_role_is_not_left_for_the_next_client(scenario: Scenario) {
    let stage = crowded(scenario, 1).await;
    let role = format!("r_{}", scenario.is_mysql());
    stage.given(&[&format!("CREATE ROLE IF NOT EXISTS {role}"), &format!("GRANT {role} TO app@'%'")]).await;
    for reset in [false, true] {
        let mut client = stage.client().await;
        let show = "/* tidegate: primary */ SELECT CURRENT_ROLE()";
        let before = text(&mut client, show).await;
        client.query_drop(format!("SET ROLE {role}")).await.unwrap();
        assert!(text(&mut client, show).await.unwrap().contains(&role));
        if reset {
            client.reset().await.unwrap(); // which leaves the role, as on the servers
            assert!(text(&mut client, show).await.unwrap().contains(&role));
        }
        client.disconnect().await.unwrap();
        assert_eq!(text(&mut stage.client().await, show).await, before);
    }
    stage.given(&[&format!("DROP ROLE {role}")]).await;
}
