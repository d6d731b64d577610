//! One id for a session, wherever a statement asks for it or names it: CONNECTION_ID(), lists of processes, KILL.

use tidegate::wire::command as com;

use crate::harness::packets::{Outcome, Param};
use crate::harness::{Login, RawClient, Rules, Scenario, Stage, until};
use crate::kill::{endless, until_running};

both_dialects! {
    the_own_id_is_the_same_in_any_expression,
    lists_of_processes_show_sessions,
    lists_of_processes_show_what_the_account_may_see,
    waiting_sessions_are_found_and_killed_by_their_ids,
    prepared_lists_are_of_the_moment_of_their_execution,
    kill_takes_expressions_and_the_servers_own_ids,
    kill_user_ends_the_sessions_of_an_account,
    the_performance_schema_and_sys_name_sessions,
}

/// Servers without statements of other scenarios: MySQL's `information_schema.processlist` is an error while a statement with a
/// character beyond utf8mb3 runs anywhere on the server.
async fn quiet_stage(scenario: Scenario, replicas: usize, rules: Rules) -> Stage {
    if scenario.is_mysql() {
        scenario.own_stage(replicas, rules).await
    } else {
        scenario.stage_with(rules).await
    }
}

async fn the_own_id_is_the_same_in_any_expression(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id BIGINT UNSIGNED)", "INSERT INTO t VALUES (1)"]).await;
    let (mut client, mut server) = (stage.raw().await, stage.direct(Login::default()).await);
    let own = client.greeting.connection_id.to_string();
    for sql in [
        "SELECT CONNECTION_ID()",
        "SELECT CONNECTION_ID() AS a, connection_id() b",
        "SELECT 'x', connection_id ( ), 7 FROM t",
        "SELECT DISTINCT CONNECTION_ID() FROM t ORDER BY 1",
        "SELECT d.* FROM (SELECT CONNECTION_ID()) d",
        "SELECT (SELECT CONNECTION_ID())",
        "SELECT IF(CONNECTION_ID() > 0, 'yes', 'no')",
        "SELECT CONCAT('a', CONNECTION_ID()) LIKE 'a%'",
        "SELECT @@pseudo_thread_id",
        "SELECT @@pseudo_thread_id = CONNECTION_ID()",
        "SELECT /*!50000 CONNECTION_ID() */",
        "SELECT CONNECTION_ID() UNION SELECT CONNECTION_ID()",
    ] {
        let (ours, theirs) = (client.select(sql).await, server.select(sql).await);
        assert_eq!(ours.columns, theirs.columns, "{sql}");
        let id = server.greeting.connection_id.to_string();
        let expected: Vec<Vec<_>> = theirs
            .texts()
            .into_iter()
            .map(|row| {
                row.into_iter()
                    .map(|cell| if cell == Some(id.clone()) { Some(own.clone()) } else { cell })
                    .collect()
            })
            .collect();
        assert_eq!(ours.texts(), expected, "{sql}");
        let (statement, theirs) = (client.prepare(sql).await.unwrap(), server.prepare(sql).await.unwrap());
        let (ours, theirs) =
            (client.execute(statement, &[]).await.rows(), server.execute(theirs, &[]).await.rows());
        assert_eq!(ours.columns, theirs.columns, "prepared {sql}");
    }
    for sql in ["INSERT INTO t VALUES (CONNECTION_ID())", "UPDATE t SET id = CONNECTION_ID() WHERE id = 1"] {
        client.ok(sql).await;
        let count = format!("/* tidegate: primary */ SELECT COUNT(*) FROM t WHERE id = {own}");
        assert_ne!(client.value(count).await.unwrap(), "0", "{sql}");
    }
    client.ok("SET @mine = CONNECTION_ID()").await;
    assert_eq!(client.value("SELECT @mine").await.unwrap(), own);
    let statement = client.prepare("SELECT ? + CONNECTION_ID() = CONNECTION_ID() + 5").await.unwrap();
    for _ in 0..2 {
        let rows = client.execute(statement, &[Param::Int(5)]).await.rows();
        assert_eq!(rows.rows[0][2], 1, "with parameters");
    }
    // The holder of a lock is a server's thread, to be compared with the server's own id.
    let lock = &stage.schema;
    client.value(format!("SELECT GET_LOCK('{lock}', 10)")).await.unwrap();
    let mine = client.value(format!("SELECT IS_USED_LOCK('{lock}') = CONNECTION_ID()")).await;
    assert_eq!(mine.as_deref(), Some("1"));
}

/// The rows of a list by the id in the first column.
async fn listed(client: &mut RawClient, sql: &str) -> Vec<(u32, Vec<String>)> {
    let rows = client.select(sql).await.texts();
    let text = |cell: Option<String>| cell.unwrap_or_else(|| "NULL".into());
    rows.into_iter()
        .map(|row| {
            let cells: Vec<_> = row.into_iter().map(text).collect();
            (cells[0].parse().unwrap(), cells)
        })
        .collect()
}

fn row_of(rows: &[(u32, Vec<String>)], id: u32) -> &Vec<String> {
    let found: Vec<_> = rows.iter().filter(|row| row.0 == id).collect();
    assert_eq!(found.len(), 1, "{id} in {rows:?}");
    &found[0].1
}

async fn lists_of_processes_show_sessions(scenario: Scenario) {
    let stage = quiet_stage(scenario, 1, Rules::default()).await;
    let mark = format!("{}-mark", scenario.name);
    let (mut client, mut resting, mut busy) = (stage.raw().await, stage.raw().await, stage.raw().await);
    let mut elsewhere = stage.raw().await;
    let mut pinned = stage.raw().await;
    let [own, rests, works, away, holds] =
        [&client, &resting, &busy, &elsewhere, &pinned].map(|session| session.greeting.connection_id);
    resting.value("SELECT 1").await;
    pinned.ok("BEGIN").await;
    busy.send_query(format!("/* tidegate: primary */ {}", endless(&mark))).await;
    elsewhere.send_query(endless(&format!("{mark}-replica"))).await;
    until_running(&stage, &mark, 2).await;
    let schema = &stage.schema;
    for sql in [
        "SHOW FULL PROCESSLIST",
        "SHOW PROCESSLIST",
        "SELECT * FROM information_schema.processlist",
        "SELECT p.* FROM information_schema.processlist AS p JOIN (SELECT 1) one ORDER BY 1",
    ] {
        let rows = listed(&mut client, sql).await;
        let row = row_of(&rows, works);
        assert_eq!(&row[1..5], ["app", row[2].as_str(), schema, "Query"], "{sql}");
        assert!(row[7].contains(&mark), "{row:?}");
        for (id, command, state) in
            [(rests, "Sleep", ""), (holds, "Sleep", ""), (away, "Query", "Running on another server")]
        {
            let row = row_of(&rows, id);
            assert_eq!(
                (&row[1], &row[3], &row[4]),
                (&"app".into(), schema, &command.into()),
                "{sql} {row:?}"
            );
            assert!(row[6] == state, "{sql} {row:?}");
            assert!(row[2].starts_with("127.0.0.1:"), "{row:?}");
        }
        let row = row_of(&rows, own);
        assert_eq!(row[7], sql, "its own text");
        let of_stage = rows.iter().filter(|(_, row)| row[3] == *schema).count();
        assert_eq!(of_stage, 5, "{sql}: connections that nobody uses are not shown: {rows:?}");
    }
    for (sql, expected) in [
        ("SELECT id, user FROM information_schema.processlist WHERE id = CONNECTION_ID()".to_owned(), own),
        (
            format!(
                "SELECT p.id, 1 FROM information_schema.processlist p WHERE p.db = '{schema}' AND p.info LIKE '%{mark}%' AND p.id <> CONNECTION_ID()"
            ),
            works,
        ),
        (format!("SELECT processlist.id FROM information_schema.processlist WHERE id = {rests}"), rests),
    ] {
        let rows = listed(&mut client, &sql).await;
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [expected], "{sql}");
    }
    let mut past = stage.direct(Login::default()).await;
    for sql in ["SHOW PROCESSLIST", "SHOW FULL PROCESSLIST"] {
        assert_eq!(client.select(sql).await.columns, past.select(sql).await.columns, "{sql}");
        let (ours, theirs) = (client.prepare(sql).await.unwrap(), past.prepare(sql).await.unwrap());
        let ours = client.execute(ours, &[]).await.rows();
        assert_eq!(ours.columns, past.execute(theirs, &[]).await.rows().columns, "{sql}");
    }
    client.ok("USE information_schema").await;
    let rows = listed(&mut client, "SELECT id, db FROM processlist WHERE id = CONNECTION_ID()").await;
    assert_eq!((rows[0].0, rows[0].1[1].as_str()), (own, "information_schema"));
    for id in [works, away] {
        client.ok(format!("KILL QUERY {id}")).await;
    }
    busy.outcomes().await;
    elsewhere.outcomes().await;
    assert_eq!(pinned.value("SELECT 7").await.unwrap(), "7");
}

async fn lists_of_processes_show_what_the_account_may_see(scenario: Scenario) {
    let stage = quiet_stage(scenario, 0, Rules::default()).await;
    let schema = &stage.schema;
    let poor = format!("p_{}", &scenario.name[scenario.name.len() - 20..]);
    let by = if scenario.is_mysql() { "WITH caching_sha2_password BY" } else { "BY" };
    stage
        .given(&[
            &format!("DROP USER IF EXISTS '{poor}'@'%'"),
            &format!("CREATE USER '{poor}'@'%' IDENTIFIED {by} 'poor-pw'"),
            &format!("GRANT SELECT ON {schema}.* TO '{poor}'@'%'"),
        ])
        .await;
    let (mut one, two) = (
        stage.raw_with(Login::account(&poor, "poor-pw")).await,
        stage.raw_with(Login::account(&poor, "poor-pw")).await,
    );
    let mut other = stage.raw().await;
    other.ok("BEGIN").await;
    let mut ids = vec![one.greeting.connection_id, two.greeting.connection_id];
    ids.sort_unstable();
    for sql in ["SHOW PROCESSLIST", "SELECT * FROM information_schema.processlist ORDER BY id"] {
        let rows = listed(&mut one, sql).await;
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), ids, "{sql}: {rows:?}");
    }
    let rows = listed(&mut other, "SHOW PROCESSLIST").await;
    ids.push(other.greeting.connection_id);
    ids.iter().for_each(|id| assert_eq!(row_of(&rows, *id)[3], *schema));
    drop(one);
    stage.given(&[&format!("DROP USER '{poor}'@'%'")]).await;
}

/// What a test suite does: it waits until a session waits for a lock, and what pt-kill does: it ends it by the id that it has read.
async fn waiting_sessions_are_found_and_killed_by_their_ids(scenario: Scenario) {
    let stage = quiet_stage(scenario, 0, Rules::default()).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, n INT)", "INSERT INTO t VALUES (1, 1)"]).await;
    let schema = &stage.schema;
    let (mut holder, mut waiter, mut admin) = (stage.raw().await, stage.raw().await, stage.raw().await);
    for lock in ["LOCK TABLES t WRITE", "BEGIN"] {
        holder.ok(lock).await;
        holder.ok("UPDATE t SET n = 2 WHERE id = 1").await;
        waiter.send_query("UPDATE t SET n = 3 WHERE id = 1").await;
        let who = format!(
            "SELECT id FROM information_schema.processlist WHERE db = '{schema}' AND info LIKE 'UPDATE t SET n = 3%' AND command = 'Query'"
        );
        // A connection that is opened while the list is made shows under the server's id for that moment.
        let mine = waiter.greeting.connection_id.to_string();
        until("it is listed", || async { stage.raw().await.value(&who).await.as_ref() == Some(&mine) }).await;
        if lock == "BEGIN" {
            let blocked = "SELECT CAST(trx_mysql_thread_id AS CHAR) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
            until("it waits", || async {
                let rows = stage.raw().await.select(blocked).await.texts();
                rows.into_iter().flatten().flatten().any(|id| id == mine)
            })
            .await;
        }
        let own = "SELECT id FROM information_schema.processlist WHERE id = CONNECTION_ID()";
        assert_eq!(
            holder.value(own).await.unwrap(),
            holder.greeting.connection_id.to_string(),
            "with {lock}"
        );
        admin.ok(format!("KILL QUERY {}", waiter.greeting.connection_id)).await;
        assert_eq!(waiter.outcome().await.err().code, 1317);
        holder.ok(if lock == "BEGIN" { "ROLLBACK" } else { "UNLOCK TABLES" }).await;
    }
}

async fn prepared_lists_are_of_the_moment_of_their_execution(scenario: Scenario) {
    let stage = quiet_stage(scenario, 0, Rules::pool("{max: 4}")).await;
    let mut client = stage.raw().await;
    let sql = "SELECT COUNT(*) FROM information_schema.processlist WHERE id = ?";
    let count = client.prepare(sql).await.unwrap();
    let shown = client.prepare("SHOW PROCESSLIST").await.unwrap();
    for _ in 0..3 {
        let other = stage.raw().await;
        let id = Param::Unsigned(other.greeting.connection_id.into());
        let rows = client.execute(count, std::slice::from_ref(&id)).await.rows();
        assert_eq!(rows.rows[0][2], 1, "it is listed");
        let bytes = other.greeting.connection_id.to_le_bytes();
        let lists = |rows: &[Vec<u8>]| rows.iter().any(|row| row[3..7] == bytes || row[2..6] == bytes);
        assert!(lists(&client.execute(shown, &[]).await.rows().rows));
        drop(other);
        until("it is gone", || async { stage.proxy.metric("tidegate_clients", &[]).await == 1 }).await;
        let rows = client.execute(count, &[id]).await.rows();
        assert_eq!(rows.rows[0][2], 0, "it is listed no more");
        assert!(!lists(&client.execute(shown, &[]).await.rows().rows));
    }
}

async fn kill_takes_expressions_and_the_servers_own_ids(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut client = stage.raw().await;
    assert_eq!(client.error("KILL QUERY CONNECTION_ID()").await.code, 1317);
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    let mark = format!("{}-mark", scenario.name);
    let mut busy = stage.raw().await;
    client.ok(format!("SET @id = {}", busy.greeting.connection_id - 1)).await;
    busy.send_query(endless(&mark)).await;
    until_running(&stage, &mark, 1).await;
    client.ok("KILL CONNECTION @id + 1").await;
    busy.end().await;
    until_running(&stage, &mark, 0).await;
    for sql in ["KILL -1", "KILL NULL", "KILL 'x'", "KILL 2147483647", "KILL 4294967301"] {
        assert_eq!(client.error(sql).await.code, 1094, "{sql}");
    }
    assert_eq!(client.error("KILL @x := 5").await.code, 1235, "an expression with an effect");

    // A connection past Tidegate is listed by the server's id, and ends by that.
    let mut past = stage.direct(Login::default()).await;
    let id = past.greeting.connection_id;
    assert_eq!(row_of(&listed(&mut client, "SHOW PROCESSLIST").await, id)[1], "app");
    client.ok(format!("KILL {id}")).await;
    past.end().await;
    let mut past = stage.direct(Login::default()).await;
    client.command(com::PROCESS_KILL, &past.greeting.connection_id.to_le_bytes()).await;
    client.outcome().await.ok();
    past.end().await;

    // A thread that serves Tidegate's sessions is not to be ended: it serves another one in a moment.
    let mut root = stage.raw_with(Login::account("admin", "admin-pw")).await;
    root.ok("BEGIN").await;
    let statement = "SELECT CONNECTION_ID(/* the server's */) + 0";
    let thread = root.value(statement).await.unwrap();
    assert_eq!(root.error(format!("KILL {thread}")).await.code, 1094);
    assert_eq!(client.error(format!("KILL {thread}")).await.code, 1094);
    assert_eq!(root.value(statement).await.unwrap(), thread, "it lives");

    if scenario.is_mysql() {
        assert_eq!(client.error("KILL USER app").await.code, 1064);
        return;
    }
    busy = stage.raw().await;
    busy.send_query(format!("/* tidegate: primary */ {}", endless(&mark))).await;
    until_running(&stage, &mark, 1).await;
    let query = client
        .value(format!(
            "SELECT query_id FROM information_schema.processlist WHERE id = {}",
            busy.greeting.connection_id
        ))
        .await
        .unwrap();
    client.ok(format!("KILL QUERY ID {query}")).await;
    busy.outcomes().await;
    assert_eq!(busy.value("SELECT 7").await.unwrap(), "7");
    assert_eq!(client.error(format!("KILL QUERY ID {query}")).await.code, 1957);
}

async fn kill_user_ends_the_sessions_of_an_account(scenario: Scenario) {
    if scenario.is_mysql() {
        return; // MariaDB's
    }
    let stage = scenario.stage().await;
    let mark = format!("{}-mark", scenario.name);
    let (mut rests, mut works) = (
        stage.raw_with(Login::account("u_empty", "")).await,
        stage.raw_with(Login::account("u_empty", "")).await,
    );
    let mut app = stage.raw().await;
    works.send_query(endless(&mark)).await;
    until_running(&stage, &mark, 1).await;
    assert_eq!(app.error("KILL USER u_empty").await.code, 1095, "of others, without the right");
    assert_eq!(app.ok("KILL USER nobody").await.affected_rows, 0);
    let mut admin = stage.raw_with(Login::account("admin", "admin-pw")).await;
    assert_eq!(admin.ok("KILL USER u_empty@'10.0.0.1'").await.affected_rows, 0);
    assert_eq!(admin.ok("KILL QUERY USER 'u_empty'@'127.0.0.1'").await.affected_rows, 2);
    works.outcomes().await;
    assert_eq!(rests.value("SELECT 7").await.unwrap(), "7");
    assert_eq!(admin.ok("KILL USER u_empty").await.affected_rows, 2);
    rests.end().await;
    works.end().await;
    assert_eq!(app.ok("KILL USER CURRENT_USER").await.affected_rows, 1);
    app.closed().await;
}

async fn the_performance_schema_and_sys_name_sessions(scenario: Scenario) {
    let stage = scenario.own_stage_with(0, Rules::default(), &["--performance-schema"]).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, n INT)", "INSERT INTO t VALUES (1, 1)"]).await;
    let mut client = stage.raw_with(Login::account("admin", "admin-pw")).await;
    let (mut holder, mut waiter) = (stage.raw().await, stage.raw().await);
    let [own, holds, waits] = [&client, &holder, &waiter].map(|session| session.greeting.connection_id);
    holder.ok("BEGIN").await;
    holder.ok("UPDATE t SET n = 2").await;
    waiter.send_query("UPDATE t SET n = 3").await;
    let blocked = "SELECT waiting_pid, blocking_pid, sql_kill_blocking_query FROM sys.innodb_lock_waits";
    until("one waits", || async {
        let mut admin = stage.raw_with(Login::account("admin", "admin-pw")).await;
        !admin.select(blocked).await.rows.is_empty()
    })
    .await;
    let rows = client.select(blocked).await.texts();
    let expected = [waits.to_string(), holds.to_string(), format!("KILL QUERY {holds}")].map(Some);
    assert_eq!(rows, [expected]);
    let mut lists = vec![
        "SELECT processlist_id, processlist_user, processlist_host, t.* FROM performance_schema.threads t WHERE processlist_id IS NOT NULL",
        "SELECT conn_id FROM sys.processlist WHERE conn_id IS NOT NULL",
        "SELECT conn_id FROM sys.session",
        "SELECT DISTINCT processlist_id FROM performance_schema.session_connect_attrs",
    ];
    if scenario.is_mysql() {
        lists.push("SELECT * FROM performance_schema.processlist");
        let sql =
            "SELECT COUNT(*) FROM performance_schema.threads WHERE thread_id = PS_THREAD_ID(CONNECTION_ID())";
        assert_eq!(client.value(sql).await.unwrap(), "1");
    }
    for sql in lists {
        let ids: Vec<_> = listed(&mut client, sql).await.into_iter().map(|row| row.0).collect();
        for id in [own, holds, waits] {
            assert!(ids.contains(&id), "{id} in {ids:?}: {sql}");
        }
    }
    let host =
        "SELECT processlist_host FROM performance_schema.threads WHERE processlist_id = CONNECTION_ID()";
    assert_eq!(client.value(host).await.unwrap(), "127.0.0.1");
    let id = client.value("SELECT sql_kill_blocking_query FROM sys.innodb_lock_waits").await.unwrap();
    client.ok(id).await;
    client.ok(format!("KILL {holds}")).await;
    holder.end().await;
    assert!(matches!(waiter.outcome().await, Outcome::Ok(_)));
}
