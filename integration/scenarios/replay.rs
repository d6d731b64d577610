//! Transactions that lose their server in the middle. Each scenario has servers of its own.

use tidegate::wire::ok::Status;

use crate::failover::{primary, rules};
use crate::harness::packets::Param;
use crate::harness::{Outcome, RawClient, Rules, Scenario, Stage};

both_dialects! {
    a_transaction_goes_on_at_the_server_that_was_promoted,
    t34_a_transaction_goes_on_after_a_restart_and_does_nothing_twice,
    a_result_that_is_another_one_now_ends_it,
    what_is_not_kept_or_has_other_effects_is_not_run_again,
    tables_without_transactions_keep_it_from_being_run_again,
    a_text_of_another_session_is_never_run_in_place_of_its_own,
    t35_a_commit_that_was_sent_is_never_run_again,
    a_commit_that_was_not_sent_is_sent_elsewhere,
    what_was_only_begun_begins_elsewhere_whatever_the_rules,
    what_a_demoted_primary_refuses_in_a_transaction_goes_on_at_the_next,
    what_was_only_begun_at_a_demoted_primary_begins_at_the_next,
}

const REPLAY: &str = "transactions: {replay: all, replay_statements: 8, replay_size: 64KiB}";
const METRIC: &str = "tidegate_transaction_replays_total";

/// One server, whose transactions are kept.
async fn alone(scenario: Scenario) -> Stage {
    let rules = Rules { in_cluster: REPLAY.into(), ..Rules::pool("{primary_wait: 25s}") };
    let stage = scenario.own_stage(0, rules).await;
    stage
        .given(&["CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 10), (2, 20)"])
        .await;
    stage
}

/// Kills a server and starts it again.
pub fn restart(stage: &mut Stage, server: usize) {
    stage.cluster.tell("kill", server);
    stage.cluster.tell("start", server);
}

pub async fn until_counted(stage: &Stage, outcome: &str, wanted: u64) {
    let label = format!("outcome=\"{outcome}\"");
    stage.proxy.until_metric(METRIC, &[&label], |value| value == wanted).await;
}

/// Sends a statement to the primary, which gets it, does nothing with it any more, and is killed.
pub async fn send_to_a_server_that_dies(stage: &mut Stage, client: &mut RawClient, sql: &str) {
    const RECEIVED: &str = "tidegate_client_received_bytes_total";
    stage.cluster.tell("pause", 0);
    let received = stage.proxy.metric(RECEIVED, &[]).await;
    client.send_query(sql).await;
    stage.proxy.until_metric(RECEIVED, &[], |now| now > received).await;
    stage.cluster.tell("kill", 0);
}

/// A statement of a lost transaction is refused for this reason.
pub async fn refused(client: &mut RawClient, sql: &str, why: &str) {
    let lost = client.error(sql).await;
    assert_eq!((lost.code, &lost.sqlstate), (1158, b"08S01"), "{lost}");
    let message = String::from_utf8_lossy(&lost.message).into_owned();
    assert!(message.ends_with(&format!("it was not replayed: {why}")), "{message}");
    client.closed().await;
}

async fn a_transaction_goes_on_at_the_server_that_was_promoted(scenario: Scenario) {
    let with_failover = rules();
    let in_cluster = format!("{}\n    {REPLAY}", with_failover.in_cluster);
    let mut stage = scenario.own_stage(2, Rules { in_cluster, ..with_failover }).await;
    stage
        .given(&[
            "CREATE TABLE p (id BIGINT AUTO_INCREMENT PRIMARY KEY, v INT)",
            "CREATE TABLE c (p BIGINT, v INT)",
        ])
        .await;
    stage.proxy.until_logged("Tidegate promotes a replica").await;
    let mut client = stage.raw().await;
    client.ok("SET time_zone = '+03:00', @mine = 7").await;
    client.ok("INSERT INTO p (v) VALUES (0)").await;
    let insert = client.prepare("INSERT INTO c VALUES (?, ?)").await.expect("it can be prepared");
    stage.cluster.caught_up().await;

    client.ok("BEGIN").await;
    let id = client.ok("INSERT INTO p (v) VALUES (1)").await.insert_id;
    client.ok("INSERT INTO c VALUES (LAST_INSERT_ID(), 1)").await;
    client.ok("SAVEPOINT a").await;
    assert_eq!(client.execute(insert, &[Param::Int(5), Param::Int(2)]).await.ok().affected_rows, 1);
    assert_eq!(client.value("SELECT CONCAT(@mine, @@time_zone)").await.unwrap(), "7+03:00");
    client.ok("UPDATE c SET v = v + 10 WHERE p = 5").await;
    stage.cluster.tell("kill", 0);

    assert_eq!(client.value("SELECT LAST_INSERT_ID()").await.unwrap(), id.to_string());
    assert_ne!(primary(&stage).await, 0);
    until_counted(&stage, "replayed", 1).await;
    assert_eq!(client.execute(insert, &[Param::Int(6), Param::Int(3)]).await.ok().affected_rows, 1);
    client.ok("COMMIT").await;
    let rows = "/* tidegate: primary */ SELECT GROUP_CONCAT(p, ':', v ORDER BY v SEPARATOR ' ') FROM c";
    assert_eq!(client.value(rows).await.unwrap(), format!("{id}:1 6:3 5:12"));
    assert_eq!(client.value("/* tidegate: primary */ SELECT COUNT(*) FROM p").await.unwrap(), "2");
    assert_eq!(client.value("SELECT CONCAT(@mine, @@time_zone)").await.unwrap(), "7+03:00");
}

async fn t34_a_transaction_goes_on_after_a_restart_and_does_nothing_twice(scenario: Scenario) {
    let mut stage = alone(scenario).await;
    stage.given(&["CREATE TABLE l (n INT)"]).await;
    let (mut client, mut implicit) = (stage.raw().await, stage.raw().await);
    client.ok("START TRANSACTION").await;
    client.ok("INSERT INTO l VALUES (1)").await;
    assert_eq!(client.error("INSERT INTO t VALUES (1, 1)").await.code, 1062);
    assert_eq!(client.value("SELECT v FROM t WHERE id = 1 FOR UPDATE").await.unwrap(), "10");
    implicit.ok("SET autocommit = 0").await;
    implicit.ok("INSERT INTO l VALUES (100)").await;
    restart(&mut stage, 0);
    client.ok("INSERT INTO l VALUES (2)").await;
    implicit.ok("INSERT INTO l VALUES (200)").await;
    // A second client of the first one's row waits for it, as it did before.
    implicit.send_query("UPDATE t SET v = v + 1 WHERE id = 1").await;
    client.ok("UPDATE t SET v = v + 1 WHERE id = 1").await;
    client.ok("COMMIT").await;
    assert!(matches!(implicit.outcomes().await.remove(0), Outcome::Ok(_)));
    implicit.ok("COMMIT").await;
    until_counted(&stage, "replayed", 2).await;
    let mut reader = stage.raw().await;
    assert_eq!(reader.value("SELECT GROUP_CONCAT(n ORDER BY n) FROM l").await.unwrap(), "1,2,100,200");
    assert_eq!(reader.value("SELECT v FROM t WHERE id = 1").await.unwrap(), "12");

    // Once for each transaction: a statement that ends its server does not end the next one, and the next.
    client.ok("BEGIN").await;
    client.ok("INSERT INTO l VALUES (3)").await;
    restart(&mut stage, 0);
    client.ok("INSERT INTO l VALUES (4)").await;
    restart(&mut stage, 0);
    refused(&mut client, "INSERT INTO l VALUES (5)", "it had been replayed before").await;
    until_counted(&stage, "lost twice", 1).await;
    assert_eq!(reader.value("SELECT GROUP_CONCAT(n ORDER BY n) FROM l").await.unwrap(), "1,2,100,200");
}

async fn a_result_that_is_another_one_now_ends_it(scenario: Scenario) {
    let mut stage = alone(scenario).await;
    let (mut reader, mut writer, mut other) = (stage.raw().await, stage.raw().await, stage.raw().await);
    reader.ok("BEGIN").await;
    assert_eq!(reader.value("SELECT v FROM t WHERE id = 1").await.unwrap(), "10");
    writer.ok("BEGIN").await;
    assert_eq!(writer.ok("UPDATE t SET v = 21 WHERE id = 2 AND v = 20").await.affected_rows, 1);
    other.ok("UPDATE t SET v = 11 WHERE id = 1").await;
    stage.cluster.tell("kill", 0);
    stage.cluster.tell("start", 0);
    other.ok("UPDATE t SET v = 22 WHERE id = 2").await;
    refused(&mut reader, "INSERT INTO t VALUES (3, 3)", "a result was not the same again").await;
    refused(&mut writer, "INSERT INTO t VALUES (4, 4)", "a result was not the same again").await;
    until_counted(&stage, "other result", 2).await;
    let rows = "SELECT GROUP_CONCAT(id, ':', v ORDER BY id) FROM t";
    assert_eq!(other.value(rows).await.unwrap(), "1:11,2:22", "nothing of them is left");
}

async fn what_is_not_kept_or_has_other_effects_is_not_run_again(scenario: Scenario) {
    let mut stage = alone(scenario).await;
    stage.given(&["CREATE PROCEDURE nothing() DO 1"]).await;
    let statement = "one of its statements cannot be run again";
    let state = "the session had other state on that connection";
    let long = "it was longer than the rules keep";
    let large = format!("SELECT '{}' = ''", "x".repeat(70_000));
    let mut cases: Vec<(Vec<&str>, &str)> = vec![
        (vec!["SELECT 1"; 8], long),
        (vec![&large], long),
        (vec!["DO GET_LOCK('a', 0)"], statement),
        (vec!["DO GET_LOCK('b', 0)", "DO RELEASE_LOCK('b')"], statement),
        (vec!["CREATE TEMPORARY TABLE tmp (n INT)"], statement),
        (vec!["SET @a = 1"], statement),
        (vec!["SET SESSION sql_mode = 'ANSI_QUOTES'"], statement),
        (vec!["CALL nothing()"], statement),
        (vec!["SELECT ROW_COUNT() + 1"], statement),
        (vec!["COMMIT AND CHAIN"], statement),
    ];
    let mut clients = Vec::new();
    for (statements, _) in &cases {
        let mut client = stage.raw().await;
        client.ok("BEGIN").await;
        client.ok("UPDATE t SET v = v WHERE id = 9").await;
        for statement in statements {
            let outcome = client.query(statement).await;
            assert!(
                !outcome.iter().any(|outcome| matches!(outcome, Outcome::Err(_))),
                "{statement}: {outcome:?}"
            );
        }
        clients.push(client);
    }
    let mut before = stage.raw().await;
    before.ok("CREATE TEMPORARY TABLE tmp (n INT)").await;
    before.ok("BEGIN").await;
    before.ok("UPDATE t SET v = v WHERE id = 9").await;
    clients.push(before);
    cases.push((vec!["CREATE TEMPORARY TABLE before BEGIN"], state));
    restart(&mut stage, 0);
    for ((statements, why), client) in cases.iter().zip(&mut clients) {
        let shown: String = statements[0].chars().take(40).collect();
        eprintln!("{shown}");
        refused(client, "INSERT INTO t VALUES (3, 3)", why).await;
    }
    // It would commit what was there before, and may have done so.
    let mut in_hand = stage.raw().await;
    in_hand.ok("BEGIN").await;
    in_hand.ok("UPDATE t SET v = v WHERE id = 9").await;
    send_to_a_server_that_dies(&mut stage, &mut in_hand, "CREATE TABLE u (n INT)").await;
    let lost = in_hand.outcomes().await.remove(0).err();
    assert_eq!((lost.code, &lost.sqlstate), (1158, b"08007"), "{lost}");
    stage.cluster.tell("start", 0);
    until_counted(&stage, "too long", 2).await;
    let mut reader = stage.raw().await;
    assert_eq!(reader.value("SELECT COUNT(*) FROM t").await.unwrap(), "2");
}

async fn tables_without_transactions_keep_it_from_being_run_again(scenario: Scenario) {
    let mut stage = alone(scenario).await;
    stage.given(&["CREATE TABLE m (n INT) ENGINE = MyISAM"]).await;
    let (mut writer, mut reader) = (stage.raw().await, stage.raw().await);
    writer.ok("BEGIN").await;
    writer.ok("INSERT INTO m VALUES (1)").await;
    reader.ok("BEGIN").await;
    assert_eq!(reader.value("SELECT v FROM t WHERE id = 1").await.unwrap(), "10");
    restart(&mut stage, 0);
    refused(&mut writer, "SELECT 1", "there are tables without transactions").await;
    assert_eq!(reader.value("SELECT v FROM t WHERE id = 2").await.unwrap(), "20", "nothing was written");
    reader.ok("COMMIT").await;
    until_counted(&stage, "table without transactions", 1).await;
    until_counted(&stage, "replayed", 1).await;
    assert!(reader.value("SELECT COUNT(*) FROM m").await.unwrap().len() == 1);
}

/// Names of text PREPARE are those of a connection, and another session may have given the same.
async fn a_text_of_another_session_is_never_run_in_place_of_its_own(scenario: Scenario) {
    let mut stage = alone(scenario).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok("PREPARE p FROM 'UPDATE t SET v = v + 1 WHERE id = 1'").await;
    other.ok("PREPARE p FROM 'UPDATE t SET v = v + 1 WHERE id = 2'").await;
    client.ok("BEGIN").await;
    assert_eq!(client.ok("EXECUTE p").await.affected_rows, 1);
    restart(&mut stage, 0);
    // It leaves its text on the connection that comes next.
    other.ok("EXECUTE p").await;
    refused(&mut client, "UPDATE t SET v = v + 1 WHERE id = 1", "one of its statements cannot be run again")
        .await;
    let rows = "SELECT GROUP_CONCAT(id, ':', v ORDER BY id) FROM t";
    assert_eq!(other.value(rows).await.unwrap(), "1:10,2:21");
}

async fn t35_a_commit_that_was_sent_is_never_run_again(scenario: Scenario) {
    let mut stage = alone(scenario).await;
    let mut client = stage.raw().await;
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t VALUES (3, 30)").await;
    send_to_a_server_that_dies(&mut stage, &mut client, "COMMIT").await;
    let lost = client.outcomes().await.remove(0).err();
    assert_eq!((lost.code, &lost.sqlstate), (1158, b"08007"), "{lost}");
    let message = String::from_utf8_lossy(&lost.message).into_owned();
    assert!(message.contains("whether the transaction was committed is unknown"), "{message}");
    assert!(message.ends_with("it was not replayed: COMMIT had been sent"), "{message}");
    client.closed().await;
    stage.cluster.tell("start", 0);
    let mut reader = stage.raw().await;
    assert_eq!(reader.value("SELECT COUNT(*) FROM t").await.unwrap(), "2");
    until_counted(&stage, "commit", 1).await;
    until_counted(&stage, "replayed", 0).await;
}

async fn a_commit_that_was_not_sent_is_sent_elsewhere(scenario: Scenario) {
    let mut stage = alone(scenario).await;
    let mut client = stage.raw().await;
    client.ok("BEGIN").await;
    client.ok("INSERT INTO t VALUES (3, 30)").await;
    restart(&mut stage, 0);
    client.ok("COMMIT").await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.unwrap(), "3");
    until_counted(&stage, "replayed", 1).await;
}

async fn what_was_only_begun_begins_elsewhere_whatever_the_rules(scenario: Scenario) {
    let in_cluster = "transactions: {replay: off}".into();
    let rules = Rules { weights: vec![1, 1, 0], in_cluster, ..Rules::pool("{primary_wait: 25s}") };
    let mut stage = scenario.own_stage(2, rules).await;
    stage.given(&["CREATE TABLE t (n INT)"]).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = stage.raw().await;
        client.ok("BEGIN").await;
        clients.push(client);
    }
    let [reads, writes, has_read, has_written, commits] = &mut clients[..] else { unreachable!() };
    has_read.select("SELECT COUNT(*) FROM t").await;
    has_written.ok("INSERT INTO t VALUES (1)").await;
    let mut read_only = stage.raw().await;
    read_only.ok("START TRANSACTION READ ONLY").await;
    restart(&mut stage, 0);

    assert_eq!(reads.value("SELECT COUNT(*) FROM t").await.unwrap(), "0");
    reads.ok("INSERT INTO t VALUES (2)").await;
    reads.ok("COMMIT").await;
    until_counted(&stage, "begun again", 1).await;
    // It is seen that there is nobody to send it to.
    writes.ok("INSERT INTO t VALUES (3)").await;
    writes.ok("COMMIT").await;
    until_counted(&stage, "begun again", 2).await;
    // Its snapshot is lost.
    assert_eq!(has_read.error("SELECT COUNT(*) FROM t").await.code, 1158);
    // That a transaction which is lost was rolled back is true.
    has_written.ok("ROLLBACK").await;
    has_written.ok("INSERT INTO t VALUES (4)").await;
    commits.ok("COMMIT").await;
    assert_eq!(
        has_written.value("/* tidegate: primary */ SELECT GROUP_CONCAT(n ORDER BY n) FROM t").await.unwrap(),
        "2,3,4"
    );

    // What was sent may have been executed, in a table without transactions for all that is known.
    let mut sent = stage.raw().await;
    sent.ok("BEGIN").await;
    send_to_a_server_that_dies(&mut stage, &mut sent, "INSERT INTO t VALUES (5)").await;
    assert_eq!(sent.outcomes().await.remove(0).err().code, 1158);
    stage.cluster.tell("start", 0);

    // So does BEGIN itself, which leaves nothing.
    let mut begins = stage.raw().await;
    send_to_a_server_that_dies(&mut stage, &mut begins, "BEGIN").await;
    stage.cluster.tell("start", 0);
    assert!(matches!(begins.outcomes().await.remove(0), Outcome::Ok(_)));
    begins.ok("INSERT INTO t VALUES (6)").await;
    begins.ok("COMMIT").await;

    let mut rolled_back = stage.raw().await;
    rolled_back.ok("START TRANSACTION READ ONLY").await;
    stage.cluster.tell("kill", 1);
    let status = rolled_back.ok("ROLLBACK").await.status;
    assert!(!status.intersects(Status::IN_TRANSACTION | Status::IN_TRANSACTION_READONLY), "{status:?}");
    read_only.select("SELECT COUNT(*) FROM t").await;
    assert_eq!(read_only.error("INSERT INTO t VALUES (5)").await.code, 1792);
    read_only.ok("COMMIT").await;
    until_counted(&stage, "begun again", 4).await;
}

async fn what_a_demoted_primary_refuses_in_a_transaction_goes_on_at_the_next(scenario: Scenario) {
    let rules = Rules { in_cluster: REPLAY.into(), ..Rules::pool("{primary_wait: 25s}") };
    let insert = |id: u32| format!("INSERT INTO t VALUES ({id})");
    let before = [Some(insert(1)), Some(insert(2)), None];
    let stage = go_on_at_the_next(scenario, rules, before, [Some(insert(3)), None, Some(insert(4))]).await;
    until_counted(&stage, "replayed", 2).await;
    until_counted(&stage, "begun again", 1).await;
}

async fn what_was_only_begun_at_a_demoted_primary_begins_at_the_next(scenario: Scenario) {
    let insert = |id: u32| Some(format!("INSERT INTO t VALUES ({id})"));
    let after = [1, 2, 3, 4].map(insert);
    let stage =
        go_on_at_the_next(scenario, Rules::pool("{primary_wait: 25s}"), [None, None, None, None], after)
            .await;
    until_counted(&stage, "begun again", 4).await;
}

/// Transactions that each do one thing before their primary takes no writes any more, and one after that, and commit: another server is
/// made the primary by people who wait for no transaction. Rows 1 to 4 are there then.
async fn go_on_at_the_next<const N: usize>(
    scenario: Scenario,
    rules: Rules,
    before: [Option<String>; N],
    after: [Option<String>; N],
) -> Stage {
    let stage = scenario.own_stage(1, rules).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let mut clients = Vec::new();
    for (before, after) in before.into_iter().zip(after) {
        let mut client = stage.raw().await;
        client.ok("BEGIN").await;
        if let Some(before) = before {
            client.ok(before).await;
        }
        clients.push((client, after));
    }
    let [read_only, promote] = demotion(scenario);
    stage.cluster.run(0, read_only).await;
    let going_on: Vec<_> = clients
        .into_iter()
        .map(|(mut client, after)| {
            tokio::spawn(async move {
                if let Some(after) = after {
                    client.ok(after).await;
                }
                client.ok("COMMIT").await;
            })
        })
        .collect();
    stage.cluster.caught_up().await;
    stage.cluster.run(1, promote).await;
    for client in going_on {
        client.await.expect("no statement failed");
    }
    let rows = "/* tidegate: primary */ SELECT GROUP_CONCAT(id ORDER BY id) FROM t";
    assert_eq!(stage.raw().await.value(rows).await.unwrap(), "1,2,3,4");
    assert_eq!(primary(&stage).await, 1);
    stage
}

/// What a person says to the primary, and then to the replica that takes its place.
fn demotion(scenario: Scenario) -> [&'static [&'static str]; 2] {
    match scenario.is_mysql() {
        true => [
            &["SET GLOBAL super_read_only = ON"],
            &["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL read_only = OFF"],
        ],
        false => {
            [&["SET GLOBAL read_only = ON"], &["STOP SLAVE", "RESET SLAVE ALL", "SET GLOBAL read_only = OFF"]]
        }
    }
}
