//! KILL by Tidegate's ids, and statements whose client has gone.

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::command as com;
use tokio::sync::watch;

use crate::harness::packets::Param;
use crate::harness::{Login, Outcome, RawClient, Rules, Scenario, Stage, until};

both_dialects! {
    connection_ids_are_tidegates_own,
    kill_query_ends_the_statement_and_not_the_session,
    kill_query_leaves_the_transaction,
    who_still_kills_a_statement_that_has_failed_ends_no_session,
    kill_ends_the_session_at_work_and_at_rest,
    kill_ends_what_would_still_follow,
    a_kill_that_was_prepared_means_tidegates_ids,
    sessions_of_others_need_rights,
    the_statement_of_a_client_that_has_gone_is_ended,
    a_kill_that_nobody_answers_leaves_nothing_counted,
    what_no_kill_may_name_is_refused_in_the_servers_words,
}

/// A read that runs until it is ended; `mark` finds it in the servers' process lists.
pub fn endless(mark: &str) -> String {
    format!("SELECT /* {mark} */ SLEEP(600), id FROM which")
}

/// Statements with the mark that run now, on all servers. By SHOW, as other scenarios use the servers: MySQL's
/// `information_schema.processlist` is an error while a statement with a character beyond utf8mb3 runs.
async fn running(stage: &Stage, mark: &str) -> usize {
    let mut count = 0;
    for server in 0..stage.cluster.servers.len() {
        let threads: Vec<Row> =
            stage.cluster.root(server).await.query("SHOW FULL PROCESSLIST").await.unwrap();
        let texts = threads.iter().filter_map(|row| row.get::<Option<Vec<u8>>, _>("Info")?);
        count += texts.filter(|text| memchr::memmem::find(text, mark.as_bytes()).is_some()).count();
    }
    count
}

pub async fn until_running(stage: &Stage, mark: &str, wanted: usize) {
    until(&format!("{wanted} of {mark} run"), || async { running(stage, mark).await == wanted }).await;
}

/// KILL QUERY shows as an error or, in SLEEP on MySQL, as its result.
fn was_interrupted(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Err(error) => error.code == 1317,
        Outcome::Rows(rows) => rows.value().as_deref() == Some("1"),
        _ => false,
    }
}

async fn connection_ids_are_tidegates_own(scenario: Scenario) {
    let stage = scenario.stage().await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    for each in [&mut client, &mut other] {
        let id = each.greeting.connection_id.to_string();
        assert_eq!(each.value("SELECT CONNECTION_ID()").await.unwrap(), id);
        each.ok("BEGIN").await;
        let rows = each.select("SELECT connection_id() AS `the id`").await;
        assert_eq!((rows.name(0).as_str(), rows.value().unwrap()), ("the id", id.clone()));
        each.ok("COMMIT").await;
        let statement = each.prepare("SELECT CONNECTION_ID()").await.unwrap();
        let rows = each.execute(statement, &[]).await.rows();
        // A binary row: header, NULL bits, the number.
        assert_eq!(rows.rows[0][2..6], each.greeting.connection_id.to_le_bytes(), "prepared");
    }
    assert_ne!(client.greeting.connection_id, other.greeting.connection_id);
}

async fn kill_query_ends_the_statement_and_not_the_session(scenario: Scenario) {
    let stage = scenario.stage().await;
    let (mut client, mut killer) = (stage.raw().await, stage.raw().await);
    let mark = format!("{}-mark", scenario.name);
    for prefix in ["", "/* tidegate: primary */ "] {
        client.send_query(format!("{prefix}{}", endless(&mark))).await;
        until_running(&stage, &mark, 1).await;
        killer.ok(format!("KILL QUERY {}", client.greeting.connection_id)).await;
        let outcomes = client.outcomes().await;
        assert!(was_interrupted(outcomes.last().unwrap()), "{outcomes:?}");
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    }
    killer.ok(format!("KILL QUERY {}", client.greeting.connection_id)).await;
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7", "nothing ran");
    assert_eq!(killer.error("KILL QUERY 4000000000").await.code, 1094);
}

/// However a KILL QUERY and the statement's end fall together, what follows is in the transaction or fails. Each
/// statement gets its KILLs: killers that do not wait for one would leave the servers' threads without a processor.
async fn kill_query_leaves_the_transaction(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (n INT)"]).await;
    let mut client = stage.raw().await;
    let id = client.greeting.connection_id;
    let (strike, _) = watch::channel(());
    let mut killers = Vec::new();
    for _ in 0..2 {
        let (mut killer, mut struck) = (stage.raw().await, strike.subscribe());
        killers.push(tokio::spawn(async move {
            while struck.changed().await.is_ok() {
                killer.ok(format!("KILL QUERY {id}")).await;
            }
        }));
    }
    let (mut rounds, mut ended) = (0, 0);
    // As many as it takes until a KILL has met its statement.
    while rounds < 200 || ended == 0 {
        rounds += 1;
        for sql in ["BEGIN"].iter().chain(&["INSERT INTO t VALUES (1)"; 5]).chain(&["ROLLBACK"]) {
            loop {
                strike.send_replace(());
                let failed = matches!(client.query(sql).await.last(), Some(Outcome::Err(_)));
                ended += usize::from(failed);
                if !failed || sql.starts_with("INSERT") {
                    break;
                }
            }
        }
    }
    drop(strike);
    for killer in killers {
        killer.await.unwrap();
    }
    let left: Option<u64> =
        stage.client().await.query_first("/* tidegate: primary */ SELECT COUNT(*) FROM t").await.unwrap();
    assert_eq!(left, Some(0), "inserted outside the transaction");
}

/// The statement may have set a variable before it failed, which is nothing that must be kept: it can be read back.
async fn who_still_kills_a_statement_that_has_failed_ends_no_session(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 2}")).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)"]).await;
    let (mut client, mut other, mut killer) = (stage.raw().await, stage.raw().await, stage.raw().await);
    let mut locking = stage.direct(Login::default()).await;
    locking.ok("BEGIN").await;
    locking.value("SELECT id FROM t FOR UPDATE").await.unwrap();
    client.ok("SET @a = 5").await;
    let mark = format!("{}-mark", scenario.name);
    client.send_query(format!("UPDATE /* {mark} */ t SET id = @a := 7")).await;
    until_running(&stage, &mark, 1).await;
    other.ok("BEGIN").await;
    other.value("SELECT COUNT(*) FROM t").await.unwrap();
    // No connection is left on which it could kill, while it has taken aim.
    killer.send_query(format!("KILL QUERY {}", client.greeting.connection_id)).await;
    stage.proxy.until_metric("tidegate_pool_waiting", &[], |waiting| waiting == 1).await;
    let threads: Vec<Row> = stage.cluster.root(0).await.query("SHOW FULL PROCESSLIST").await.unwrap();
    let is_meant = |row: &&Row| {
        let text = row.get::<Option<Vec<u8>>, _>("Info").flatten();
        text.is_some_and(|text| memchr::memmem::find(&text, mark.as_bytes()).is_some())
    };
    let id: u64 = threads.iter().find(is_meant).unwrap().get("Id").unwrap();
    stage.cluster.run(0, &[&format!("KILL QUERY {id}")]).await;
    until_running(&stage, &mark, 0).await;
    other.ok("ROLLBACK").await;
    let Some(Outcome::Err(error)) = client.outcomes().await.pop() else { panic!("it was killed") };
    assert_eq!(error.code, 1317);
    killer.outcome().await.ok();
    let value = client.value("SELECT @a").await.unwrap();
    assert!(["5", "7"].contains(&value.as_str()), "the session goes on with what the server has: {value}");
}

async fn kill_ends_the_session_at_work_and_at_rest(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut killer = stage.raw().await;
    let mark = format!("{}-mark", scenario.name);
    for by_command in [false, true] {
        for busy in [false, true] {
            let mut client = stage.raw().await;
            let id = client.greeting.connection_id;
            client.ok("BEGIN").await;
            if busy {
                client.send_query(endless(&mark)).await;
                until_running(&stage, &mark, 1).await;
            }
            if by_command {
                killer.command(com::PROCESS_KILL, &id.to_le_bytes()).await;
                killer.outcome().await.ok();
            } else {
                killer.ok(format!("KILL {id}")).await;
            }
            client.end().await; // what came of the statement, or why it ends
            until_running(&stage, &mark, 0).await;
            until("it is forgotten", || async { stage.proxy.metric("tidegate_clients", &[]).await == 1 })
                .await;
            assert_eq!(killer.error(format!("KILL {id}")).await.code, 1094);
        }
    }
    let id = killer.greeting.connection_id;
    let end = if scenario.is_mysql() { 1317 } else { 1927 };
    assert_eq!(killer.error(format!("KILL {id}")).await.code, end, "one's own end");
    killer.closed().await;
}

/// In a packet of several statements, and in a routine that handles every error.
async fn kill_ends_what_would_still_follow(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mark = format!("{}-mark", scenario.name);
    let wait = format!("DO SLEEP(600 + 0 * LENGTH('{mark}'))");
    let routine = format!(
        "CREATE PROCEDURE p() SQL SECURITY INVOKER BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; {wait}; INSERT INTO t VALUES (2); END"
    );
    stage.given(&["CREATE TABLE t (id INT)", &routine]).await;
    let mut killer = stage.raw().await;
    for text in [format!("{wait}; INSERT INTO t VALUES (1)"), "CALL p()".into()] {
        let mut client = stage.raw_with(Login::with(Capabilities::MULTI_STATEMENTS)).await;
        let id = client.greeting.connection_id;
        client.send_query(text).await;
        until_running(&stage, &mark, 1).await;
        killer.ok(format!("KILL {id}")).await;
        client.end().await;
        until_running(&stage, &mark, 0).await;
    }
    until("no connection is leased", || async { stage.proxy.metric("tidegate_pool_in_use", &[]).await == 0 })
        .await;
    let sql = format!("SELECT COUNT(*) FROM {}.t", stage.schema);
    assert_eq!(stage.cluster.root(0).await.query_first(sql).await.unwrap(), Some(0));
}

async fn a_kill_that_was_prepared_means_tidegates_ids(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut killer = stage.raw().await;
    let mut victim = stage.raw().await;
    let statement = killer.prepare(&format!("KILL {}", victim.greeting.connection_id)).await.unwrap();
    killer.execute(statement, &[]).await.ok();
    victim.end().await;
    assert_eq!(killer.execute(statement, &[]).await.err().code, 1094);
    if !scenario.is_mysql() {
        let mut victim = stage.raw().await;
        let id = Param::Int(victim.greeting.connection_id.into());
        let statement = killer.prepare("KILL CONNECTION ?").await.unwrap();
        killer.execute(statement, &[id]).await.ok();
        victim.end().await;
    }
    assert_eq!(killer.value("SELECT 7").await.unwrap(), "7");
}

async fn sessions_of_others_need_rights(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut client = stage.raw().await;
    let mut stranger = stage.raw_with(Login::account("u_empty", "")).await;
    let id = client.greeting.connection_id;
    for sql in [format!("KILL {id}"), format!("KILL QUERY {id}"), format!("KILL CONNECTION {id}")] {
        assert_eq!(stranger.error(&sql).await.code, 1095, "{sql}");
    }
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    let mut admin = stage.raw_with(Login::account("admin", "admin-pw")).await;
    admin.ok(format!("KILL {id}")).await;
    client.end().await;
}

async fn the_statement_of_a_client_that_has_gone_is_ended(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mark = format!("{}-mark", scenario.name);
    for prefix in ["", "/* tidegate: primary */ "] {
        let mut client: RawClient = stage.raw().await;
        client.send_query(format!("{prefix}{}", endless(&mark))).await;
        until_running(&stage, &mark, 1).await;
        drop(client);
        until_running(&stage, &mark, 0).await;
    }
    until("no connection is leased", || async { stage.proxy.metric("tidegate_pool_in_use", &[]).await == 0 })
        .await;
}

async fn a_kill_that_nobody_answers_leaves_nothing_counted(scenario: Scenario) {
    let rules = Rules { top: "threads: 1".into(), ..Rules::default() };
    let mut stage = scenario.own_stage(0, rules).await;
    let mark = format!("{}-mark", scenario.name);
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.send_query(endless(&mark)).await;
    until_running(&stage, &mark, 1).await;
    // The connection on which the KILL is asked then.
    other.value("SELECT 1").await.unwrap();
    stage.cluster.tell("pause", 0);
    drop(client);
    stage
        .proxy
        .until_metric("tidegate_pool_check_ins_total", &["rung=\"close\""], |closed| closed == 2)
        .await;
    stage.cluster.tell("resume", 0);
    assert_eq!(stage.proxy.metric("tidegate_pool_in_use", &[]).await, 0);
    assert_eq!(stage.proxy.metric("tidegate_pool_open", &[]).await, 0);
}

async fn what_no_kill_may_name_is_refused_in_the_servers_words(scenario: Scenario) {
    let stage = scenario.stage().await;
    let (mut client, mut direct) = (stage.raw().await, stage.direct(Login::default()).await);
    for sql in ["KILL f()", "KILL QUERY (SELECT 1) + f()", "KILL LASTVAL(s)", "KILL 1 + NEXTVAL(s)"] {
        let (refused, by_the_server) = (client.error(sql).await, direct.error(sql).await);
        assert_eq!((refused.code, refused.message), (by_the_server.code, by_the_server.message), "{sql}");
    }
}
