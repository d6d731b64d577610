//! Every command of the protocol, and clients of every age.

use std::time::Instant;

use mysql_async::prelude::Queryable;
use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::command as com;
use tidegate::wire::err::ErrPacket;
use tidegate::wire::ok::Status;

use crate::harness::packets::{Okay, Param, Prepared};
use crate::harness::{Login, Outcome, RawClient, Rules, Scenario, until};

both_dialects! {
    unknown_commands_are_refused_and_the_session_goes_on,
    small_commands_are_answered,
    a_change_of_database_counts_no_warnings_of_ours,
    reset_connection_begins_anew,
    change_user_begins_anew_as_another,
    a_refused_change_of_user_is_as_on_a_server,
    set_option_allows_several_statements_or_not,
    cursors_are_fetched_in_parts,
    long_data_comes_in_parts,
    long_data_that_is_too_short_puts_nothing_out_of_step,
    statements_of_one_client_do_not_share_cursors_or_data,
    a_client_is_killed_that_owes_its_file,
    t18_clients_get_what_they_asked_for,
    t40_signs_come_from_the_client,
    t42_types_need_not_be_sent_again,
    t38_t39_statements_that_are_closed_leave_nothing,
    large_parameters_and_rows_pass,
    local_files_are_loaded,
    query_attributes_are_taken,
    found_rows_is_the_clients_choice,
    procedures_give_all_their_results,
    t40_what_others_have_executed_changes_nothing,
    a_statement_that_does_not_fit_is_prepared_again_where_its_session_is,
}

/// What `work` sees, without what a server counts by itself.
fn seen(outcomes: &[Outcome]) -> String {
    format!("{outcomes:#?}")
}

async fn unknown_commands_are_refused_and_the_session_goes_on(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut client = stage.raw().await;
    // SLEEP, SHUTDOWN, CONNECT, DEBUG, TIME, DELAYED_INSERT, BINLOG_DUMP, TABLE_DUMP, CONNECT_OUT, REGISTER_REPLICA, DAEMON,
    // BINLOG_DUMP_GTID, CLONE, and what no version knows.
    for command in [0x00, 0x08, 0x0b, 0x0d, 0x0f, 0x10, 0x12, 0x13, 0x14, 0x15, 0x1d, 0x1e, 0x20, 0x55, 0xff]
    {
        client.command(command, b"\x04\0\0\0\0\0\0\0\0\0").await;
        let error = client.outcome().await.err();
        assert_eq!((error.code, &error.sqlstate), (1047, b"08S01"), "{command:#04x}: {error}");
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    }
}

async fn small_commands_are_answered(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20) DEFAULT 'x')"]).await;
    let login = Login { capabilities: Login::OLD, ..Login::default() };
    let (mut client, mut direct) = (stage.raw_with(login.clone()).await, stage.direct(login.clone()).await);
    client.command(com::PING, b"").await;
    client.outcome().await.ok();
    client.command(com::STATISTICS, b"").await;
    let text = client.read().await;
    assert!(text.starts_with(b"Uptime: "), "{}", String::from_utf8_lossy(&text));

    for table in [&b"t\0"[..], b"t\0na%\0", b"missing\0"] {
        let mut answers = Vec::new();
        for each in [&mut client, &mut direct] {
            answers.push(each.fields(table).await);
        }
        assert_eq!(answers[0], answers[1], "{table:?}");
    }

    client.command(com::INIT_DB, b"test").await;
    client.outcome().await.ok();
    assert_eq!(client.value("SELECT DATABASE()").await.unwrap(), "test");
    client.command(com::INIT_DB, b"missing").await;
    assert_eq!(client.outcome().await.err().code, 1049);
    assert_eq!(client.value("SELECT DATABASE()").await.unwrap(), "test");
    client.command(com::QUIT, b"").await;
    client.closed().await;
}

/// MySQL warns of the character set, also where Tidegate sets it.
async fn a_change_of_database_counts_no_warnings_of_ours(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 1}")).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    for sql in ["SET NAMES utf8mb3", "DO (SELECT 1 FROM (SELECT 1) t)"] {
        client.query(sql).await;
    }
    other.query("SET NAMES latin1").await;
    for client in [&mut other, &mut client] {
        client.command(com::INIT_DB, b"test").await;
        assert_eq!(client.outcome().await.ok().warnings, 0);
    }
}

async fn reset_connection_begins_anew(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let mut client = stage.raw().await;
    let usual = client.value("SELECT @@sql_mode").await;
    for sql in [
        "CREATE TEMPORARY TABLE tmp (id INT)",
        "SET @v = 1",
        "SET sql_mode = 'ANSI', time_zone = '+01:00'",
        "BEGIN",
        "INSERT INTO t VALUES (1)",
    ] {
        client.ok(sql).await;
    }
    let statement = client.prepare("SELECT 1").await.unwrap();
    client.command(com::RESET_CONNECTION, b"").await;
    let ok = client.outcome().await.ok();
    assert!(!ok.status.contains(Status::IN_TRANSACTION));
    assert_eq!(client.value("SELECT @v").await, None);
    assert_eq!(client.value("SELECT @@sql_mode").await, usual);
    assert_eq!(client.error("/* tidegate: primary */ SELECT * FROM tmp").await.code, 1146);
    assert_eq!(client.value("SELECT COUNT(*) FROM t FOR UPDATE").await.unwrap(), "0", "rolled back");
    assert_eq!(client.value("SELECT DATABASE()").await.unwrap(), stage.schema, "the database stays");
    assert_eq!(client.execute(statement, &[]).await.err().code, 1243, "prepared statements are gone");
}

pub fn change_user(client: &RawClient, user: &str, password: &str, database: &str) -> Vec<u8> {
    let salt = tidegate::wire::auth::salt_from(&client.greeting.salt).unwrap();
    let plugin = tidegate::wire::auth::Plugin::CachingSha2Password;
    let auth = tidegate::wire::auth::scramble(plugin, &salt, password.as_bytes()).unwrap();
    let length = [u8::try_from(auth.len()).unwrap()];
    let end = [&b"\0"[..], &45u16.to_le_bytes(), plugin.name().as_bytes(), b"\0"].concat();
    [&[com::CHANGE_USER], user.as_bytes(), b"\0", &length, &auth, database.as_bytes(), &end].concat()
}

async fn change_user_begins_anew_as_another(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut client = stage.raw().await;
    client.ok("SET @v = 1, time_zone = '+01:00'").await;
    client.ok("CREATE TEMPORARY TABLE tmp (id INT)").await;
    let packet = change_user(&client, "admin", "admin-pw", "test");
    client.send(&packet).await;
    let login = Login::account("admin", "admin-pw");
    client.prove(&login, [1; 20]).await.expect("admin may");
    assert!(client.value("SELECT CURRENT_USER()").await.unwrap().starts_with("admin@"));
    assert_eq!(client.value("SELECT DATABASE()").await.unwrap(), "test");
    assert_eq!(client.value("SELECT @v").await, None);
    assert_ne!(client.value("SELECT TIMEDIFF(NOW(), UTC_TIMESTAMP())").await.unwrap(), "01:00:00");
    assert_eq!(client.error("/* tidegate: primary */ SELECT * FROM tmp").await.code, 1146);

    let packet = change_user(&client, "app", "wrong", "test");
    client.send(&packet).await;
    let error = client.prove(&Login::account("app", "wrong"), [1; 20]).await.unwrap_err();
    assert_eq!(error.code, 1045, "{error}");
    if scenario.is_mysql() {
        client.closed().await;
    }
}

/// MySQL closes the connection, MariaDB's session begins anew as who it was, and has three tries.
async fn a_refused_change_of_user_is_as_on_a_server(scenario: Scenario) {
    let stage = scenario.stage().await;
    let (mut client, mut direct) = (stage.raw().await, stage.direct(Login::default()).await);
    let (app, wrong) = (Login::account("app", "app-pw"), Login::account("app", "wrong"));
    for each in [&mut client, &mut direct] {
        each.ok("SET NAMES latin1, @v = 1, sql_mode = 'ANSI'").await;
        let mut seen = Vec::new();
        for (login, database) in
            [(&wrong, "shop"), (&app, "no_such"), (&app, "shop"), (&wrong, "shop"), (&app, "test")]
        {
            let packet = change_user(each, "app", &login.password, database);
            each.send(&packet).await;
            let code = each.prove(login, [1; 20]).await.map_or_else(|error| error.code, |_| 0);
            seen.push(code);
            if code != 0 && scenario.is_mysql() {
                each.closed().await;
                break;
            }
            each.ok("SET @w = 1").await;
            let state = "SELECT CONCAT_WS(',', USER(), DATABASE(), @v, @@sql_mode, @@character_set_client)";
            let state = each.value(state).await.unwrap();
            let expected = if seen.contains(&0) { "shop" } else { &stage.schema };
            assert!(state.contains(&format!(",{expected},")), "{state}");
            assert!(!state.contains("ANSI") && !state.contains("latin1"), "{state}");
        }
        let expected: &[u16] = if scenario.is_mysql() { &[1045] } else { &[1045, 1049, 0, 1045, 1047] };
        assert_eq!(seen, expected);
    }
}

async fn set_option_allows_several_statements_or_not(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 2}")).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    for _ in 0..2 {
        client.command(com::SET_OPTION, &[1, 0]).await;
        client.rows(vec![]).await.rows();
        assert_eq!(client.error("SELECT 1; SELECT 2").await.code, 1064);
        assert_eq!(other.query("SELECT 1; SELECT 2").await.len(), 2, "another session's own option");
        client.command(com::SET_OPTION, &[0, 0]).await;
        client.rows(vec![]).await.rows();
        assert_eq!(client.query("SELECT 1; SELECT 2").await.len(), 2);
    }
    // The same while the session holds its connection.
    client.ok("BEGIN").await;
    client.command(com::SET_OPTION, &[1, 0]).await;
    let end = client.rows(vec![]).await.rows().end;
    assert!(end.status.contains(Status::IN_TRANSACTION));
    assert_eq!(client.error("SELECT 1; SELECT 2").await.code, 1064);
    client.ok("ROLLBACK").await;
    client.command(com::SET_OPTION, &[2, 0]).await;
    assert_eq!(client.outcome().await.err().code, 1047);
}

async fn cursors_are_fetched_in_parts(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 2}")).await;
    stage
        .given(&["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3), (4), (5)"])
        .await;
    for capabilities in [Login::OLD, Login::default().capabilities] {
        let login = Login { capabilities, ..Login::default() };
        let (mut client, mut other) = (stage.raw_with(login).await, stage.raw().await);
        let statement = client.prepare("SELECT id FROM t WHERE id > ? ORDER BY id").await.unwrap();
        client.send_execute(statement, 1, &[Param::Int(1)], true).await;
        let count = client.read().await;
        assert_eq!(count, [1]);
        for _ in 0..count[0] {
            client.read().await;
        }
        // With a cursor no rows follow; the end says that it is open.
        let Outcome::Rows(opened) = client.rows(vec![]).await else { panic!("no end") };
        assert!(opened.rows.is_empty() && opened.end.status.contains(Status::CURSOR_EXISTS), "{opened:?}");
        for (expected, last) in [(&[2, 3][..], false), (&[4, 5][..], false), (&[], true)] {
            assert_eq!(other.value("SELECT COUNT(*) FROM t").await.unwrap(), "5", "others work meanwhile");
            let fetch = [&statement.id.to_le_bytes()[..], &2u32.to_le_bytes()].concat();
            client.command(com::STMT_FETCH, &fetch).await;
            let rows = client.rows(vec![]).await.rows();
            let ids: Vec<u8> = rows.rows.iter().map(|row| row[2]).collect();
            assert_eq!(ids, expected);
            assert_eq!(rows.end.status.contains(Status::LAST_ROW_SENT), last);
        }
        client.command(com::STMT_CLOSE, &statement.id.to_le_bytes()).await;
        assert_eq!(client.value("SELECT 1").await.unwrap(), "1");
    }
}

async fn long_data_comes_in_parts(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 2}")).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, data LONGTEXT)"]).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    let statement = client.prepare("INSERT INTO t VALUES (?, ?)").await.unwrap();
    let part = vec![b'x'; 1 << 20];
    let head = [&statement.id.to_le_bytes()[..], &1u16.to_le_bytes()].concat();
    for round in 1..=2 {
        for _ in 0..3 {
            client.command(com::STMT_SEND_LONG_DATA, &[&head[..], &part].concat()).await;
            assert_eq!(other.value("SELECT 1").await.unwrap(), "1");
        }
        let inserted = client.execute(statement, &[Param::Int(round), Param::Sent]).await.ok();
        assert_eq!(inserted.affected_rows, 1);
    }
    // What was sent can be taken back.
    client.command(com::STMT_SEND_LONG_DATA, &[&head[..], b"gone"].concat()).await;
    client.command(com::STMT_RESET, &statement.id.to_le_bytes()).await;
    client.outcome().await.ok();
    client.execute(statement, &[Param::Int(3), Param::Text(b"kept")]).await.ok();
    let lengths = client.value("SELECT GROUP_CONCAT(LENGTH(data) ORDER BY id) FROM t FOR UPDATE").await;
    assert_eq!(lengths.unwrap(), "3145728,3145728,4");
}

/// MySQL answers it, though the command has no answer otherwise: were it passed on, every later reply on that server connection
/// would go to the command after its own.
async fn long_data_that_is_too_short_puts_nothing_out_of_step(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mysql = scenario.is_mysql();
    let login = Login::with(Capabilities::empty());
    for mut client in [stage.direct(login.clone()).await, stage.raw().await] {
        let statement = client.prepare("SELECT 'executed', ?").await.unwrap();
        for length in [0, 3, 4, 5] {
            let short = &[&statement.id.to_le_bytes()[..], &[0, 0]].concat()[..length];
            client.command(com::STMT_SEND_LONG_DATA, short).await;
            if mysql {
                let error = client.outcome().await.err();
                assert_eq!((error.code, &error.sqlstate), (1835, b"HY000"), "{length}: {error}");
            }
            let executed = client.execute(statement, &[Param::Text(b"x")]).await.rows();
            assert_eq!(executed.rows.len(), 1, "{length}");
            assert_eq!(client.value("SELECT 'next'").await.unwrap(), "next", "{length}");
        }
    }
}

/// Opens a cursor for a statement with one parameter and one column.
async fn open(client: &mut RawClient, statement: Prepared, from: i64) {
    client.send_execute(statement, 1, &[Param::Int(from)], true).await;
    assert_eq!(client.read().await, [1]);
    client.read().await;
    client.rows(vec![]).await.rows();
}

async fn fetch_ids(client: &mut RawClient, statement: Prepared) -> Vec<u8> {
    let fetch = [&statement.id.to_le_bytes()[..], &2u32.to_le_bytes()].concat();
    client.command(com::STMT_FETCH, &fetch).await;
    client.rows(vec![]).await.rows().rows.iter().map(|row| row[2]).collect()
}

/// A server's statement serves several clients. MySQL's goes on comparing a parameter as what it was before, and one that has had a cursor
/// gives rows of another form.
async fn t40_what_others_have_executed_changes_nothing(scenario: Scenario) {
    let rules = Rules { weights: vec![1, 0, 0], ..Rules::pool("{max: 2}") };
    let stage = scenario.stage_with(rules).await;
    stage
        .given(&[
            "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20))",
            "INSERT INTO t VALUES (1, '5'), (2, '05'), (3, '5.0'), (9007199254740992, 'x'), (9007199254740993, 'y')",
        ])
        .await;
    let (mut one, mut other) = (stage.raw().await, stage.raw().await);
    let (by_name, by_id) = ("SELECT id FROM t WHERE name = ? ORDER BY id", "SELECT id FROM t WHERE id = ?");
    let (ours, theirs) = (one.prepare(by_name).await.unwrap(), other.prepare(by_name).await.unwrap());
    let (our_id, their_id) = (one.prepare(by_id).await.unwrap(), other.prepare(by_id).await.unwrap());
    let (big, half) = (9_007_199_254_740_993i64, 2.5f64.to_le_bytes());
    for _ in 0..3 {
        assert_eq!(one.execute(ours, &[Param::Int(5)]).await.rows().rows.len(), 3, "compared as numbers");
        assert_eq!(
            other.execute(theirs, &[Param::Text(b"5")]).await.rows().rows.len(),
            1,
            "compared as texts"
        );
        assert!(one.execute(our_id, &[Param::Typed(5, 0, &half)]).await.rows().rows.is_empty());
        let found = other.execute(their_id, &[Param::Int(big)]).await.rows();
        assert_eq!(found.rows, [[&[0, 0][..], &big.to_le_bytes()].concat()]);
        one.send_execute(ours, 1, &[Param::Int(5)], true).await;
        assert_eq!(one.read().await, [1]);
        one.read().await;
        one.rows(vec![]).await.rows();
        while fetch_ids(&mut one, ours).await.len() == 2 {}
    }
}

/// Names, and how a server computes, are resolved when it prepares: not in the state that another session has left.
async fn a_statement_that_does_not_fit_is_prepared_again_where_its_session_is(scenario: Scenario) {
    let rules = Rules { weights: vec![1, 0, 0], ..Rules::pool("{max: 1}") };
    let stage = scenario.stage_with(rules).await;
    let (mut one, mut other, mut mover) = (stage.raw().await, stage.raw().await, stage.raw().await);
    let sql = "SELECT ?, DATABASE(), 1 / 3";
    let (ours, theirs) = (one.prepare(sql).await.unwrap(), other.prepare(sql).await.unwrap());
    mover.ok("USE information_schema").await;
    mover.ok("SET SESSION div_precision_increment = 9").await;
    for number in 0..3 {
        let row = one.execute(ours, &[Param::Text(b"5")]).await.rows().rows.remove(0);
        assert!(row.ends_with(b"\x060.3333"), "{}", row.escape_ascii());
        assert_eq!(mover.value("SELECT DATABASE()").await.unwrap(), "information_schema");
        let row = other.execute(theirs, &[Param::Int(number)]).await.rows().rows.remove(0);
        let computed = [stage.schema.as_bytes(), b"\x060.3333"].concat();
        assert!(row.ends_with(&computed), "{}", row.escape_ascii());
        assert_eq!(mover.value("SELECT DATABASE()").await.unwrap(), "information_schema");
    }
}

async fn statements_of_one_client_do_not_share_cursors_or_data(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 2}")).await;
    stage
        .given(&[
            "CREATE TABLE t (id INT PRIMARY KEY)",
            "INSERT INTO t VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9)",
            "CREATE TABLE texts (id INT PRIMARY KEY, data LONGTEXT)",
        ])
        .await;
    let mut client = stage.raw().await;
    let same = "SELECT id FROM t WHERE id >= ? ORDER BY id";
    let (one, two) = (client.prepare(same).await.unwrap(), client.prepare(same).await.unwrap());
    let third = client.prepare("SELECT id FROM t WHERE id > ? ORDER BY id").await.unwrap();
    open(&mut client, one, 1).await;
    open(&mut client, two, 5).await;
    open(&mut client, third, 3).await;
    assert_eq!(fetch_ids(&mut client, one).await, [1, 2]);
    assert_eq!(fetch_ids(&mut client, two).await, [5, 6]);
    client.command(com::STMT_RESET, &third.id.to_le_bytes()).await;
    client.outcome().await.ok();
    assert_eq!(fetch_ids(&mut client, one).await, [3, 4]);
    client.command(com::STMT_CLOSE, &one.id.to_le_bytes()).await;
    assert_eq!(fetch_ids(&mut client, two).await, [7, 8]);
    client.command(com::STMT_CLOSE, &two.id.to_le_bytes()).await;

    let insert = "INSERT INTO texts VALUES (?, ?)";
    let (one, two) = (client.prepare(insert).await.unwrap(), client.prepare(insert).await.unwrap());
    for (statement, data) in [(one, &b"first"[..]), (two, b"second")] {
        let head = [&statement.id.to_le_bytes()[..], &1u16.to_le_bytes()].concat();
        client.command(com::STMT_SEND_LONG_DATA, &[&head[..], data].concat()).await;
    }
    for (id, statement) in [(1, one), (2, two)] {
        client.execute(statement, &[Param::Int(id), Param::Sent]).await.ok();
    }
    let data = client.value("SELECT GROUP_CONCAT(data ORDER BY id) FROM texts FOR UPDATE").await;
    assert_eq!(data.unwrap(), "first,second");
}

async fn a_client_is_killed_that_owes_its_file(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT)"]).await;
    let mut client = stage.raw_with(Login::with(Capabilities::LOCAL_FILES)).await;
    client.send_query("LOAD DATA LOCAL INFILE 'rows.csv' INTO TABLE t").await;
    assert!(matches!(client.outcome().await, Outcome::File(_)));
    client.send_numbered(b"1\n").await;
    stage.raw().await.ok(format!("KILL {}", client.greeting.connection_id)).await;
    client.closed().await;
    until("no connection is leased", || async { stage.proxy.metric("tidegate_pool_in_use", &[]).await == 0 })
        .await;
}

async fn t18_clients_get_what_they_asked_for(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 2}")).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)"]).await;
    let ages = [
        Capabilities::empty(),
        Capabilities::DEPRECATE_EOF,
        Capabilities::SESSION_TRACK,
        Capabilities::DEPRECATE_EOF | Capabilities::SESSION_TRACK,
    ];
    let mut clients = Vec::new();
    for flags in ages {
        let login = Login { capabilities: Login::OLD | flags, ..Login::default() };
        clients.push(stage.raw_with(login).await);
    }
    // Every reader checks every packet by its own flags; all share the same few connections.
    for client in &mut clients {
        let tracks = client.capabilities.contains(Capabilities::SESSION_TRACK);
        for sql in [
            "SET time_zone = '+01:00'",
            "USE test",
            &format!("USE {}", stage.schema),
            "SET NAMES latin1",
            "SET autocommit = 0",
            "SET autocommit = 1",
        ] {
            assert_eq!(client.ok(sql).await.reports_changes(), tracks, "{sql}");
        }
        let inserted: Okay = client.ok("INSERT INTO t (v) VALUES (1), (2)").await;
        assert_eq!(
            (inserted.affected_rows, inserted.info.as_str()),
            (2, "Records: 2  Duplicates: 0  Warnings: 0")
        );
        assert!(inserted.insert_id > 0);
        assert_eq!(client.select("SELECT id, v FROM t LIMIT 3").await.end.warnings, 0);
        assert_eq!(client.select("SELECT CAST('x' AS SIGNED)").await.end.warnings, 1);
        assert_eq!(client.query("SELECT 1; UPDATE t SET v = 3 LIMIT 1; SELECT 2").await.len(), 3);
        let statement = client.prepare("SELECT v FROM t WHERE id > ?").await.unwrap();
        client.execute(statement, &[Param::Int(0)]).await.rows();
        let none: ErrPacket = client.error("SELECT * FROM missing").await;
        assert_eq!((none.code, &none.sqlstate), (1146, b"42S02"));
        client.select("SELECT v FROM t").await; // so that it keeps no connection for SHOW ERRORS
    }
}

async fn t40_signs_come_from_the_client(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage
        .given(&[
            "CREATE TABLE t (u BIGINT UNSIGNED, s BIGINT)",
            "INSERT INTO t VALUES (18446744073709551615, -1)",
        ])
        .await;
    let login = Login::default();
    let (mut client, mut direct) = (stage.raw().await, stage.direct(login.clone()).await);
    let statement = client.prepare("SELECT CAST(? AS CHAR), CAST(? AS CHAR)").await.unwrap();
    let rows = client.execute(statement, &[Param::Unsigned(u64::MAX), Param::Int(-1)]).await.rows();
    assert!(rows.rows[0].windows(20).any(|text| text == b"18446744073709551615"), "{:?}", rows.rows);
    assert!(rows.rows[0].ends_with(b"\x02-1"), "{:?}", rows.rows);
    let mut answers = Vec::new();
    for each in [&mut client, &mut direct] {
        let statement = each.prepare("SELECT u, s FROM t WHERE u = ? FOR UPDATE").await.unwrap();
        answers.push(seen(&[each.execute(statement, &[Param::Unsigned(u64::MAX)]).await]));
    }
    assert_eq!(answers[0], answers[1]);
}

async fn t42_types_need_not_be_sent_again(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 2}")).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2), (3)"]).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    let statement = client.prepare("SELECT id, ? FROM t WHERE id >= ? ORDER BY id").await.unwrap();
    for (round, types) in [true, false, false, false, false, false].into_iter().enumerate() {
        client.send_execute(statement, 0, &[Param::Text(b"text"), Param::Int(2)], types).await;
        let rows = client.outcome().await.rows();
        assert_eq!(rows.rows.len(), 2, "round {round}");
        assert!(rows.rows[0].ends_with(b"\x04text"), "round {round}");
        other.select("SELECT COUNT(*) FROM t").await; // so that another connection may be next
    }
}

async fn large_parameters_and_rows_pass(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, data LONGBLOB)"]).await;
    let mut client = stage.raw().await;
    // Sizes around the packet's bound of 16 MiB - 1, and above it.
    let whole = vec![b'x'; 20 << 20];
    let statement = client.prepare("INSERT INTO t VALUES (?, ?)").await.unwrap();
    client.execute(statement, &[Param::Int(1), Param::Text(&whole)]).await.ok();
    let read = client.prepare("SELECT data FROM t WHERE id = ? FOR UPDATE").await.unwrap();
    let rows = client.execute(read, &[Param::Int(1)]).await.rows();
    assert!(
        rows.rows[0].len() == (20 << 20) + 11 && rows.rows[0].ends_with(&whole[..100]),
        "{}",
        rows.rows[0].len()
    );
    for length in [(16 << 20) - 13, (16 << 20) - 6, (16 << 20) - 5, 16 << 20] {
        let sql = [b"SELECT '", &whole[..length], b"'"].concat();
        let value = client.select(&sql).await.bytes();
        assert_eq!(value[0][0].as_ref().map(Vec::len), Some(length));
    }
    assert_eq!(client.value("SELECT REPEAT('y', 20 * 1024 * 1024)").await.unwrap().len(), 20 << 20);
}

async fn local_files_are_loaded(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20))"]).await;
    let mut client = stage.raw_with(Login::with(Capabilities::LOCAL_FILES)).await;
    let load = "LOAD DATA LOCAL INFILE 'rows.csv' INTO TABLE t FIELDS TERMINATED BY ','";
    client.send_query(load).await;
    let Outcome::File(name) = client.outcome().await else { panic!("no request for the file") };
    assert_eq!(name, "rows.csv");
    client.send_numbered(b"1,one\n2,two\n").await;
    let more: Vec<u8> = (3..100_000).flat_map(|id| format!("{id},x\n").into_bytes()).collect();
    client.send_numbered(&more).await;
    client.send_numbered(b"").await;
    assert_eq!(client.outcome().await.ok().affected_rows, 99_999);
    assert_eq!(client.value("SELECT COUNT(*) FROM t FOR UPDATE").await.unwrap(), "99999");

    client.send_query(format!("{load}; SELECT 7")).await;
    assert!(matches!(client.outcome().await, Outcome::File(_)));
    client.send_numbered(b"").await;
    let rest = client.outcomes().await;
    assert!(matches!(&rest[..], [Outcome::Ok(_), Outcome::Rows(_)]), "{rest:?}");

    // A client that did not offer files is not asked for one.
    let mut without = stage.raw().await;
    assert!([1148, 3948, 4166].contains(&without.error(load).await.code));
    assert_eq!(without.value("SELECT 7").await.unwrap(), "7");
}

async fn query_attributes_are_taken(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 2}")).await;
    let login = Login::with(Capabilities::QUERY_ATTRIBUTES);
    let (mut client, mut other) = (stage.raw_with(login.clone()).await, stage.raw().await);
    assert_eq!(client.capabilities.contains(Capabilities::QUERY_ATTRIBUTES), scenario.is_mysql());
    if !scenario.is_mysql() {
        return; // its servers have none
    }
    for _ in 0..3 {
        // One attribute: count, sets, NULL bits, new types, type, name, value.
        let attribute = b"\x01\x01\x00\x01\xfe\x00\x05trace\x03abc";
        client.command(com::QUERY, &[&attribute[..], b"SELECT id FROM which"].concat()).await;
        let id = client.outcome().await.rows().value().unwrap().parse().unwrap();
        assert_ne!(stage.place(id), 0, "the statement behind the attributes is a read");
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
        assert_eq!(other.value("SELECT 8").await.unwrap(), "8", "a client without attributes");
        client
            .command(com::QUERY, &[&attribute[..], b"CREATE TABLE IF NOT EXISTS t (id INT)"].concat())
            .await;
        client.outcome().await.ok();
    }
    // Prepared: the packet says itself how many parameters come, attributes included.
    let statement = client.prepare("SELECT ? + 1").await.unwrap();
    let head = [&[com::STMT_EXECUTE][..], &statement.id.to_le_bytes(), &[8, 1, 0, 0, 0]].concat();
    let body = b"\x02\x00\x01\x08\x00\x00\xfe\x00\x05trace\x29\0\0\0\0\0\0\0\x03abc";
    client.send(&[&head[..], body].concat()).await;
    let rows = client.outcome().await.rows();
    assert_eq!(rows.rows[0][2], 42, "{rows:?}");
}

async fn found_rows_is_the_clients_choice(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 1}")).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 1)"]).await;
    let (mut found, mut changed) =
        (stage.raw_with(Login::with(Capabilities::FOUND_ROWS)).await, stage.raw().await);
    for _ in 0..3 {
        assert_eq!(found.ok("UPDATE t SET v = 1").await.affected_rows, 2);
        assert_eq!(changed.ok("UPDATE t SET v = 1").await.affected_rows, 0);
    }
}

async fn procedures_give_all_their_results(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage
        .given(&[
            "CREATE PROCEDURE several() BEGIN SELECT 1; SELECT 2, 3; UPDATE u SET v = v + 1; SELECT id FROM which; END",
            "CREATE TABLE u (v INT)",
            "INSERT INTO u VALUES (1)",
            "CREATE PROCEDURE gives(IN a INT, OUT b INT) BEGIN SET b = a + 1; SELECT a; END",
        ])
        .await;
    for capabilities in [Login::OLD, Login::default().capabilities] {
        let login = Login { capabilities, ..Login::default() };
        let mut client = stage.raw_with(login.clone()).await;
        let results = client.query("CALL several(); SELECT 4").await;
        let [Outcome::Rows(_), Outcome::Rows(two), Outcome::Rows(which), Outcome::Ok(_), Outcome::Rows(_)] =
            &results[..]
        else {
            panic!("{results:?}")
        };
        assert_eq!(two.columns.len(), 2);
        assert_eq!(stage.place(which.value().unwrap().parse().unwrap()), 0);
        let mut direct = stage.direct(login.clone()).await;
        let mut answers = Vec::new();
        for each in [&mut client, &mut direct] {
            let statement = each.prepare("CALL gives(?, ?)").await.unwrap();
            each.send_execute(statement, 0, &[Param::Int(1), Param::Null], true).await;
            answers.push(seen(&each.outcomes().await));
        }
        assert_eq!(answers[0], answers[1], "OUT parameters come as a result of their own");
    }
}

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says so");
    line.split_ascii_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// Each text is another one, and none comes again. `TIDEGATE_STATEMENTS` says how many; a million takes minutes. What was
/// measured is printed (`--no-capture`).
async fn t38_t39_statements_that_are_closed_leave_nothing(scenario: Scenario) {
    let stage = scenario.own_stage(1, Rules::default()).await; // others would prepare some, too
    let mut client = stage.raw().await;
    let mut round = async |texts: std::ops::Range<u32>| {
        for number in texts {
            let statement = client.prepare(format!("SELECT {number}, REPEAT('x', {number})")).await.unwrap();
            client.command(com::STMT_CLOSE, &statement.id.to_le_bytes()).await;
        }
    };
    round(0..2_000).await; // the caches are full
    let before = resident(stage.proxy.pid);
    let statements = std::env::var("TIDEGATE_STATEMENTS").map_or(10_000, |text| text.parse().unwrap());
    let started = Instant::now();
    round(2_000..statements).await;
    let (after, took_s) = (resident(stage.proxy.pid), started.elapsed().as_secs());
    let grown = after.saturating_sub(before);
    assert!(grown < 1024, "{grown} KiB for {statements} statements, each closed");
    let open = stage.proxy.metric("tidegate_pool_open", &[]).await;
    let mut prepared = 0;
    for server in 0..stage.cluster.servers.len() {
        let count: (String, u64) = stage
            .cluster
            .root(server)
            .await
            .query_first("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")
            .await
            .unwrap()
            .unwrap();
        prepared += count.1;
    }
    eprintln!(
        "{:?}: {statements} cycles in {took_s} s; Tidegate {before} KiB, then {after} KiB; {prepared} prepared on all servers, {open} connections",
        scenario.dialect
    );
    assert!(prepared <= open * 128, "{prepared} statements stay prepared on {open} connections");
    assert_eq!(stage.proxy.metric("tidegate_pool_check_ins_total", &["reset"]).await, 0);
}
