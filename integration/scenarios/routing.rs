//! Where statements go, and what they see there. `which` is a view whose `id` tells the server that answers.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::harness::{Login, Outcome, RawClient, Rules, Scenario};

both_dialects! {
    t1_locking_reads_go_to_the_primary,
    t2_without_autocommit_all_reads_stay_in_one_transaction,
    t2_autocommit_that_is_off_on_the_servers_counts,
    t3_a_transaction_sees_its_own_rows,
    t5_a_write_after_a_variable_goes_to_the_primary,
    t6_with_is_routed_by_what_follows,
    t7_several_statements_go_by_the_strongest,
    t7_an_error_ends_several_statements,
    t8_functions_that_may_write_go_to_the_primary,
    t15_server_state_is_the_primarys,
    t16_odd_statements_are_answered_as_the_server_does,
    t17_state_reaches_every_connection,
    t19_transactions_go_by_their_access_mode,
    hints_force_a_role,
    reads_spread_by_weight,
    a_workload_writes_nothing_on_replicas,
    a_read_that_writes_is_run_on_the_primary,
    what_ends_a_read_only_transaction_to_write_is_asked_of_no_replica,
    a_read_only_transaction_is_kept_beside_a_soft_pin,
}

const PRIMARY: usize = 0;

async fn t1_locking_reads_go_to_the_primary(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)"]).await;
    let mut client = stage.client().await;
    let mut locking = vec![
        "FOR UPDATE",
        "for update",
        "FOR\n\tUPDATE",
        "FOR UPDATE;",
        "FOR UPDATE -- why\n",
        "FOR /* why */ UPDATE /* then */",
        "LOCK IN SHARE MODE",
        "LOCK\nIN # why\nSHARE MODE ;",
        "FOR UPDATE SKIP LOCKED",
        "FOR UPDATE NOWAIT",
        "/*!50000 FOR UPDATE */",
        "WHERE id = 1 FOR UPDATE",
    ];
    if scenario.is_mysql() {
        locking.extend(["FOR SHARE", "FOR SHARE OF t SKIP LOCKED", "FOR UPDATE OF t NOWAIT"]);
    }
    for clause in locking {
        let sql = format!("SELECT (SELECT id FROM which) FROM t {clause}");
        assert_eq!(stage.answers(&mut client, &sql).await, PRIMARY, "{clause:?}");
    }
    for clause in ["", "/* FOR UPDATE */", "-- FOR UPDATE", "WHERE 'FOR UPDATE' <> 'LOCK IN SHARE MODE'"] {
        let sql = format!("SELECT (SELECT id FROM which) FROM t {clause}");
        assert_ne!(stage.answers(&mut client, &sql).await, PRIMARY, "{clause:?} locks nothing");
    }
}

async fn t2_without_autocommit_all_reads_stay_in_one_transaction(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    client.query_drop("SET autocommit = 0").await.unwrap();
    let count = "SELECT COUNT(*) FROM t";
    assert_eq!(client.query_first(count).await.unwrap(), Some(0));
    other.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(client.query_first(count).await.unwrap(), Some(0), "the snapshot of the first read holds");
    assert_eq!(stage.answers(&mut client, "SELECT id FROM which").await, PRIMARY);
    client.query_drop("COMMIT").await.unwrap();
    assert_eq!(client.query_first(count).await.unwrap(), Some(1));
    client.query_drop("INSERT INTO t VALUES (2)").await.unwrap();
    client.query_drop("ROLLBACK").await.unwrap();
    client.query_drop("SET autocommit = 1").await.unwrap();
    assert_ne!(stage.answers(&mut client, "SELECT id FROM which").await, PRIMARY);
    let written: u64 = stage
        .cluster
        .root(0)
        .await
        .query_first(format!("SELECT COUNT(*) FROM {}.t", stage.schema))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(written, 1);
}

async fn t2_autocommit_that_is_off_on_the_servers_counts(scenario: Scenario) {
    let stage = scenario.own_stage(1, Rules::default()).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    for server in [0, 1] {
        stage.cluster.run(server, &["SET GLOBAL autocommit = 0"]).await;
    }
    // New connections have it; the pool's must not be older.
    let rules = Rules::default();
    let proxy = crate::harness::Proxy::start(&stage.cluster, &rules).await;
    let login = Login { database: Some(stage.schema.clone()), ..Login::default() };
    let mut client = RawClient::login(proxy.address, &login).await.unwrap();
    let mut other = stage.cluster.root(0).await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.unwrap(), "0");
    other.query_drop(format!("INSERT INTO {}.t VALUES (1)", stage.schema)).await.unwrap();
    other.query_drop("COMMIT").await.unwrap();
    assert_eq!(
        client.value("SELECT COUNT(*) FROM t").await.unwrap(),
        "0",
        "the snapshot of the first read holds"
    );
    client.ok("COMMIT").await;
    assert_eq!(client.value("SELECT COUNT(*) FROM t").await.unwrap(), "1");
}

async fn t3_a_transaction_sees_its_own_rows(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let mut client = stage.client().await;
    for begin in ["BEGIN", "START TRANSACTION", "START TRANSACTION WITH CONSISTENT SNAPSHOT", "BEGIN WORK"] {
        client.query_drop(begin).await.unwrap();
        client.query_drop("INSERT INTO t VALUES (1)").await.unwrap();
        assert_eq!(client.query_first("SELECT COUNT(*) FROM t").await.unwrap(), Some(1), "{begin}");
        assert_eq!(stage.answers(&mut client, "SELECT id FROM which").await, PRIMARY, "{begin}");
        client.query_drop("ROLLBACK").await.unwrap();
        assert_ne!(stage.answers(&mut client, "SELECT id FROM which").await, PRIMARY, "{begin} has ended");
    }
}

async fn t5_a_write_after_a_variable_goes_to_the_primary(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, server INT)"]).await;
    let mut client = stage.client().await;
    for before in [
        "SELECT @@version_comment LIMIT 1",
        "SELECT @@session.autocommit",
        "SELECT @x",
        "SELECT id FROM which",
    ] {
        client.query_drop(before).await.unwrap();
        client.query_drop("INSERT INTO t (server) SELECT id FROM which").await.unwrap();
    }
    let servers: Vec<u64> = client.query("SELECT server FROM t FOR UPDATE").await.unwrap();
    assert_eq!(servers.iter().map(|id| stage.place(*id)).collect::<Vec<_>>(), [PRIMARY; 4]);
    assert_eq!(stage.refused_by_replicas().await, 0);
}

async fn t6_with_is_routed_by_what_follows(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 2)"]).await;
    let mut client = stage.client().await;
    let mut reads = vec![
        "WITH c AS (SELECT id FROM which) SELECT id FROM c",
        "WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 3) SELECT id FROM which, c LIMIT 1",
    ];
    if scenario.is_mysql() {
        reads.push("(WITH c AS (SELECT id FROM which) SELECT id FROM c)");
    }
    for sql in reads {
        assert_ne!(stage.answers(&mut client, sql).await, PRIMARY, "{sql}");
    }
    let locking = "WITH c AS (SELECT id FROM which) SELECT c.id FROM c, t LIMIT 1 FOR UPDATE";
    if scenario.is_mysql() {
        assert_eq!(stage.answers(&mut client, locking).await, PRIMARY);
        client
            .query_drop("WITH c AS (SELECT 1 AS id) UPDATE t JOIN c USING (id) SET t.v = 10")
            .await
            .unwrap();
        client.query_drop("WITH c AS (SELECT 2 AS id) DELETE t FROM t JOIN c USING (id)").await.unwrap();
        let rows: Vec<(u64, u64)> = client.query("SELECT id, v FROM t LOCK IN SHARE MODE").await.unwrap();
        assert_eq!(rows, [(1, 10)]);
    }
    client.query_drop("INSERT INTO t WITH c AS (SELECT 3 AS id) SELECT id, 3 FROM c").await.unwrap();
    assert_eq!(stage.refused_by_replicas().await, 0);
}

async fn t7_several_statements_go_by_the_strongest(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let mut client = stage.raw().await;
    let sql = "SELECT id FROM which; INSERT INTO t VALUES (1), (2); SELECT id FROM t ORDER BY id; UPDATE t SET id = 9 WHERE id = 2";
    let outcomes = client.query(sql).await;
    let [Outcome::Rows(which), Outcome::Ok(inserted), Outcome::Rows(rows), Outcome::Ok(updated)] =
        &outcomes[..]
    else {
        panic!("{outcomes:?}")
    };
    assert_eq!(stage.place(which.value().unwrap().parse().unwrap()), PRIMARY);
    assert_eq!((inserted.affected_rows, updated.affected_rows), (2, 1));
    assert_eq!(rows.texts(), [[Some("1".into())], [Some("2".into())]]);

    // A transaction that a packet opens and ends leaves none open; one that it opens stays.
    assert_eq!(client.query("BEGIN; INSERT INTO t VALUES (3); COMMIT").await.len(), 3);
    assert_ne!(stage.place(client.value("SELECT id FROM which").await.unwrap().parse().unwrap()), PRIMARY);
    assert_eq!(client.query("BEGIN; INSERT INTO t VALUES (4)").await.len(), 2);
    assert_eq!(stage.place(client.value("SELECT id FROM which").await.unwrap().parse().unwrap()), PRIMARY);
    client.ok("ROLLBACK").await;
    assert_eq!(client.value("SELECT GROUP_CONCAT(id ORDER BY id) FROM t FOR UPDATE").await.unwrap(), "1,3,9");
}

async fn t7_an_error_ends_several_statements(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut client = stage.raw().await;
    let outcomes = client.query("SELECT 1; SELECT * FROM missing; SELECT 2").await;
    let [Outcome::Rows(one), Outcome::Err(error)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert_eq!((one.value().unwrap().as_str(), error.code), ("1", 1146));
    assert_eq!(client.value("SELECT 3").await.unwrap(), "3");
}

async fn t8_functions_that_may_write_go_to_the_primary(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE FUNCTION f() RETURNS INT READS SQL DATA RETURN (SELECT id FROM which)"]).await;
    let mut client = stage.client().await;
    let mut on_primary = vec![
        "SELECT f()",
        "SELECT `f` ()",
        "SELECT id, LAST_INSERT_ID(7) FROM which",
        "SELECT id FROM which HAVING f() > 0",
    ];
    if !scenario.is_mysql() {
        stage.given(&["CREATE SEQUENCE s"]).await;
        on_primary.extend(["SELECT id, NEXTVAL(s) FROM which", "SELECT id, NEXT VALUE FOR s FROM which"]);
    }
    for sql in on_primary {
        assert_eq!(stage.answers(&mut client, sql).await, PRIMARY, "{sql}");
    }
    for sql in ["SELECT id, SLEEP(0) FROM which", "SELECT MAX(id), CONCAT(LOWER('A'), NOW()) FROM which"] {
        assert_ne!(stage.answers(&mut client, sql).await, PRIMARY, "{sql}");
    }
    assert_eq!(stage.answers(&mut client, "SELECT id, IS_FREE_LOCK('no') FROM which").await, PRIMARY);
    client.query_drop("SELECT id INTO @server FROM which").await.unwrap();
    assert_eq!(stage.answers(&mut client, "SELECT @server").await, PRIMARY);
}

async fn t15_server_state_is_the_primarys(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut client = stage.client().await;
    for sql in ["SELECT @@server_id", "SELECT @@global.server_id + 0", "SELECT @@GLOBAL . server_id"] {
        assert_eq!(stage.answers(&mut client, sql).await, PRIMARY, "{sql}");
    }
    for sql in ["SELECT @@read_only", "SELECT @@global.read_only", "SELECT @@`read_only`"] {
        assert_eq!(client.query_first(sql).await.unwrap(), Some(0), "{sql}");
    }
    for sql in ["SHOW VARIABLES LIKE 'read_only'", "SHOW GLOBAL VARIABLES WHERE variable_name = 'read_only'"]
    {
        let row: (String, String) = client.query_first(sql).await.unwrap().unwrap();
        assert_eq!(row.1, "OFF", "{sql}");
    }
    let mut admin = Conn::new(stage.options("admin", "admin-pw")).await.unwrap();
    let replica: Option<Row> = admin.query_first("SHOW REPLICA STATUS").await.unwrap();
    assert!(replica.is_none(), "the primary follows nobody");
}

async fn t16_odd_statements_are_answered_as_the_server_does(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage
        .given(&["CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))", "INSERT INTO t VALUES (1, 'a')"])
        .await;
    let login = Login { database: Some(stage.schema.clone()), capabilities: Login::OLD, ..Login::default() };
    let mut through = stage.raw_with(login.clone()).await;
    let mut direct = stage.direct(login).await;
    let statements: &[&[u8]] = &[
        b"",
        b" ",
        b";",
        b";;",
        b"-- nothing",
        b"/* nothing */",
        b"# nothing\n",
        b"/* open",
        b"/*! */",
        b"/*!50000 SELECT 1 */",
        b"/*!99999 SELECT 1 */ SELECT 2",
        b"/*!50000 SELECT */ 3",
        b"SELECT 1;",
        b"SELECT 1; -- end",
        b"SELECT 1; ; SELECT 2",
        b"/*!50000 UPDATE t SET v = 'b' WHERE id = 2 */",
        b"SELECT /*!50000 v, */ id FROM t FOR UPDATE",
        b"SELECT 'a' \"b\", 'it''s', \"a\"\"b\"",
        b"SELECT 'a\\'b', 'c\\\\'",
        b"SET sql_mode = 'ANSI_QUOTES'",
        b"SELECT \"id\" FROM t FOR UPDATE",
        b"SELECT \"id;\" FROM t",
        b"SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
        b"SELECT 'a\\', 'b'",
        b"SELECT '\\'; SELECT 2",
        b"SET sql_mode = DEFAULT",
        b"SELECT _utf8mb4'x', N'y', X'4142', 0x4142, b'01000001'",
        b"SELECT HEX('\xff\xfe')",
        b"SELECT HEX(_binary'\xff\xfe\0z')",
        b"SELECT\0 1",
        b"SELEC 1",
        b"(SELECT 1) UNION (SELECT 2) ORDER BY 1",
        b"((SELECT 1))",
        b"TABLE t",
        b"VALUES ROW(1)",
        b"DO 1",
        b"SELECT 1 AS `a``b`",
        b"SELECT * FROM t WHERE v = 'x",
        b"SET NAMES latin1",
        b"SELECT '\xe4', HEX('\xe4')",
        b"SET NAMES utf8mb4",
        b"SELECT 1/0",
        b"HELP 'nothing'",
    ];
    for sql in statements {
        let (expected, found) = (direct.query(sql).await, through.query(sql).await);
        let text = String::from_utf8_lossy(sql).into_owned();
        assert_eq!(format!("{found:#?}"), format!("{expected:#?}"), "{text:?}");
    }
}

async fn t17_state_reaches_every_connection(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 2}")).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, seen VARCHAR(100))"]).await;
    let (mut client, mut other) = (stage.client().await, stage.client().await);
    client.query_drop("SET time_zone = '+03:00', sql_mode = 'ANSI_QUOTES'").await.unwrap();
    client.query_drop("SET NAMES latin1").await.unwrap();
    client.query_drop("USE information_schema").await.unwrap();
    let seen = "SELECT CONCAT(DATABASE(), ' ', TIMEDIFF(NOW(), UTC_TIMESTAMP()), ' ', CHARSET('x'))";
    let mut places = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let sql = format!("{seen}, id, CHAR_LENGTH(\"id\") FROM \"{}\".\"which\"", stage.schema);
        let (text, id): (String, u64) =
            client.query_first::<(String, u64, u64), _>(sql).await.unwrap().map(|(a, b, _)| (a, b)).unwrap();
        assert_eq!(text, "information_schema 03:00:00 latin1");
        places.insert(stage.place(id));
        let text: Option<String> = other.query_first(format!("{seen} FROM which")).await.unwrap();
        assert_eq!(text.unwrap(), format!("{} 00:00:00 utf8mb4", stage.schema), "another session's state");
    }
    assert_eq!(places.into_iter().collect::<Vec<_>>(), [1, 2], "on both replicas");
    client
        .query_drop(format!("INSERT INTO {}.t {seen}", stage.schema).replace("SELECT", "SELECT 1,"))
        .await
        .unwrap();
    let text: Option<String> =
        client.query_first(format!("SELECT seen FROM {}.t FOR UPDATE", stage.schema)).await.unwrap();
    assert_eq!(text.unwrap(), "information_schema 03:00:00 latin1", "on the primary");
}

async fn t19_transactions_go_by_their_access_mode(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let mut client = stage.client().await;
    let which = "SELECT id FROM which";
    for begin in ["START TRANSACTION READ ONLY", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"] {
        client.query_drop(begin).await.unwrap();
        let place = stage.answers(&mut client, which).await;
        assert_ne!(place, PRIMARY, "{begin}");
        for _ in 0..5 {
            assert_eq!(stage.answers(&mut client, which).await, place, "one transaction, one server");
        }
        let error = client.query_drop("INSERT INTO t VALUES (1)").await.unwrap_err();
        // As a primary says it: the replica's own word would be 1290, which comes before the transaction's.
        assert!(matches!(&error, mysql_async::Error::Server(error) if error.code == 1792), "{error}");
        assert_eq!(stage.answers(&mut client, which).await, place, "the transaction goes on");
        client.query_drop("COMMIT").await.unwrap();
    }
    for begin in ["BEGIN", "START TRANSACTION READ WRITE", "START TRANSACTION"] {
        client.query_drop(begin).await.unwrap();
        assert_eq!(stage.answers(&mut client, which).await, PRIMARY, "{begin}");
        client.query_drop("COMMIT").await.unwrap();
    }
    client.query_drop("SET SESSION TRANSACTION READ ONLY").await.unwrap();
    client.query_drop("BEGIN").await.unwrap();
    assert_ne!(stage.answers(&mut client, which).await, PRIMARY, "the session's default counts");
    client.query_drop("COMMIT").await.unwrap();
}

async fn hints_force_a_role(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (server INT)"]).await;
    let mut client = stage.client().await;
    for sql in [
        "/* tidegate: primary */ SELECT id FROM which",
        "SELECT /* tidegate: primary */ id FROM which",
        "select/*tidegate:primary*/id from which",
    ] {
        assert_eq!(stage.answers(&mut client, sql).await, PRIMARY, "{sql}");
    }
    for sql in ["/* tidegate: replica */ SELECT @@server_id", "SELECT /* tidegate: replica */ @@server_id"] {
        assert_ne!(stage.answers(&mut client, sql).await, PRIMARY, "{sql}");
    }
    // No hint: not at one of the two places, or text.
    assert_ne!(stage.answers(&mut client, "SELECT id FROM which /* tidegate: primary */").await, PRIMARY);
    assert_ne!(stage.answers(&mut client, "SELECT id, '/* tidegate: primary */' FROM which").await, PRIMARY);
    // A hint does not send a write to a replica.
    client.query_drop("/* tidegate: replica */ INSERT INTO t SELECT id FROM which").await.unwrap();
    assert_eq!(stage.answers(&mut client, "SELECT server FROM t FOR UPDATE").await, PRIMARY);
    client.query_drop("BEGIN").await.unwrap();
    assert_eq!(
        stage.answers(&mut client, "/* tidegate: replica */ SELECT id FROM which").await,
        PRIMARY,
        "in a transaction"
    );
    client.query_drop("COMMIT").await.unwrap();
    assert_eq!(stage.refused_by_replicas().await, 0);
}

async fn reads_spread_by_weight(scenario: Scenario) {
    // A replica's share falls with its lag's part of `max_lag`, and other scenarios write.
    let rules = Rules { weights: vec![1, 1, 3], max_lag: "168h".into(), ..Rules::default() };
    let stage = scenario.stage_with(rules).await;
    let mut client = stage.client().await;
    let mut served = [0; 3];
    for _ in 0..400 {
        served[stage.answers(&mut client, "SELECT id FROM which").await] += 1;
    }
    // 300 are due; six standard deviations are 52.
    assert!(served[0] == 0 && (248..=352).contains(&served[2]), "{served:?}");
}

async fn a_workload_writes_nothing_on_replicas(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 3}")).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)"]).await;
    let mut clients = Vec::new();
    for number in 0..4 {
        let mut client = stage.client().await;
        clients.push(tokio::spawn(async move {
            for step in 0..20 {
                client.exec_drop("INSERT INTO t (v) VALUES (?)", (number,)).await.unwrap();
                let id = client.last_insert_id().unwrap();
                client.query_drop("SELECT COUNT(*) FROM t").await.unwrap();
                client.exec_drop("UPDATE t SET v = v + 1 WHERE id = ?", (id,)).await.unwrap();
                client.query_drop("BEGIN").await.unwrap();
                client.query_drop("REPLACE INTO t VALUES (1, 1)").await.unwrap();
                client.exec_drop("SELECT v FROM t WHERE id = ?", (id,)).await.unwrap();
                client.query_drop(if step % 2 == 0 { "COMMIT" } else { "ROLLBACK" }).await.unwrap();
                client.exec_drop("DELETE FROM t WHERE id = ? AND v < 0", (id,)).await.unwrap();
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(stage.refused_by_replicas().await, 0);
    stage.proxy.until_metric("tidegate_statements_total", &["route=\"replica\""], |reads| reads >= 80).await;
}

async fn a_read_that_writes_is_run_on_the_primary(scenario: Scenario) {
    let stage = scenario.stage().await;
    let function = "CREATE FUNCTION count_up() RETURNS INT MODIFIES SQL DATA SQL SECURITY INVOKER \
                    BEGIN UPDATE t SET n = n + 1; RETURN (SELECT n FROM t); END";
    stage
        .given(&[
            "CREATE TABLE t (n INT)",
            "INSERT INTO t VALUES (0)",
            function,
            "CREATE SQL SECURITY INVOKER VIEW v AS SELECT count_up() AS n",
        ])
        .await;
    let mut client = stage.client().await;
    for expected in 1..=3 {
        assert_eq!(client.query_first("SELECT n FROM v").await.unwrap(), Some(expected));
    }
    assert_eq!(client.exec_first("SELECT n FROM v", ()).await.unwrap(), Some(4));
    assert!(stage.refused_by_replicas().await > 0, "a replica was asked first");
}

/// An account with high privileges would not be refused there.
async fn what_ends_a_read_only_transaction_to_write_is_asked_of_no_replica(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    let mut client = stage.raw().await;
    let create = client.prepare("CREATE TABLE made (id INT)").await.unwrap();
    for sql in [
        "CREATE TABLE u (id INT)",
        "ALTER TABLE u ADD n INT",
        "CREATE PROCEDURE p() SELECT 1",
        "DROP PROCEDURE p",
        "DROP TABLE u",
        "GRANT SELECT ON *.* TO CURRENT_USER",
        "LOCK TABLES t WRITE",
    ] {
        client.ok("START TRANSACTION READ ONLY").await;
        client.select("SELECT * FROM t").await;
        let outcome = client.query(sql).await;
        assert!(
            !matches!(outcome.last(), Some(Outcome::Err(error)) if [1290, 1792, 1836].contains(&error.code)),
            "{sql}: {outcome:?}"
        );
    }
    client.ok("UNLOCK TABLES").await;
    client.ok("START TRANSACTION READ ONLY").await;
    client.select("SELECT * FROM t").await;
    client.execute(create, &[]).await.ok();
    client.ok("DROP TABLE made").await;
    assert_eq!(stage.refused_by_replicas().await, 0);
}

async fn a_read_only_transaction_is_kept_beside_a_soft_pin(scenario: Scenario) {
    use tidegate::wire::ok::Status;
    let stage = scenario.stage().await;
    let mut client = stage.raw().await;
    client.ok("SET @x = 1").await;
    let begun = client.ok("START TRANSACTION READ ONLY").await;
    assert!(begun.status.contains(Status::IN_TRANSACTION));
    let read = client.select("SELECT id FROM which").await;
    assert!(read.end.status.contains(Status::IN_TRANSACTION), "{:?}", read.end.status);
    client.ok("COMMIT").await;
    assert_eq!(client.value("SELECT @x").await.unwrap(), "1");
}
