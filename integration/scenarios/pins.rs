//! Pins: each ends when its cause does, and the connection is then as good as new.

use tidegate::wire::capabilities::Capabilities;

use crate::harness::packets::Param;
use crate::harness::{Login, Rules, Scenario, Stage, until};

both_dialects! {
    t13_a_pin_ends_with_the_last_temporary_table,
    handlers_pin_until_they_are_closed,
    prepared_texts_pin_until_they_are_deallocated,
    locks_pin_until_they_are_given_back,
    user_locks_pin_while_they_are_held,
    user_locks_are_named_by_parameters_too,
    xa_transactions_pin_until_they_end,
    a_prepared_xa_transaction_leaves_nothing_to_the_next_client,
    binding_variables_pin_until_they_are_taken_back,
    several_statements_in_a_packet_pin_on,
    roles_are_taken_along,
    a_resource_group_is_not_left_for_the_next_client,
    set_transaction_stands_until_its_transaction,
    a_lock_of_a_failed_statement_is_kept,
    a_transaction_begins_where_a_soft_pin_is,
    a_cursor_does_not_keep_writes_on_a_replica,
    t12_no_pin_on_a_replica_makes_a_write_fail,
}

/// One connection to the primary, none to replicas: whoever is pinned keeps everybody else out.
async fn single(scenario: Scenario) -> Stage {
    let rules = Rules { weights: vec![1, 0, 0], ..Rules::pool("{max: 2}") };
    let stage = scenario.stage_with(rules).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)"]).await;
    stage
}

/// How many sessions are pinned for this reason; for any where it is empty.
async fn until_pinned(stage: &Stage, reason: &str, sessions: u64) {
    let label = format!("reason=\"{reason}\"");
    let labels: &[&str] = if reason.is_empty() { &[] } else { &[&label] };
    stage.proxy.until_metric("tidegate_pinned_sessions", labels, |pinned| pinned == sessions).await;
    if sessions == 0 {
        until("no connection is held", || async {
            stage.proxy.metric("tidegate_pool_in_use", &[]).await == 0
        })
        .await;
    }
}

/// Runs the statements of one client; after each it is pinned, or not, for the reason.
async fn course(stage: &Stage, reason: &str, steps: &[(&str, bool)]) {
    let mut client = stage.raw().await;
    for (sql, pinned) in steps {
        for outcome in client.query(sql).await {
            assert!(!matches!(outcome, crate::harness::Outcome::Err(_)), "{sql}: {outcome:?}");
        }
        if *pinned {
            until_pinned(stage, reason, 1).await;
        } else {
            until_pinned(stage, "", 0).await;
        }
    }
    drop(client);
    until_pinned(stage, "", 0).await;
}

async fn t13_a_pin_ends_with_the_last_temporary_table(scenario: Scenario) {
    let stage = single(scenario).await;
    let reason = "temporary table";
    course(
        &stage,
        reason,
        &[
            ("CREATE TEMPORARY TABLE a (n INT)", true),
            ("CREATE TEMPORARY TABLE IF NOT EXISTS `b` SELECT 1 AS n", true),
            ("INSERT INTO a VALUES (1)", true),
            ("DROP TABLE a", true),
            ("SELECT * FROM b", true),
            ("DROP TEMPORARY TABLE IF EXISTS b", false),
            ("CREATE TEMPORARY TABLE t (n INT)", true),
            ("DROP TABLE t", false),
            ("SELECT id FROM t", false),
        ],
    )
    .await;
    let renamed = [
        ("CREATE TEMPORARY TABLE a (n INT)", true),
        ("ALTER TABLE a RENAME TO c", true),
        ("CREATE TEMPORARY TABLE a (n INT)", true),
        ("DROP TABLE a", true),
        ("SELECT * FROM c", true),
    ];
    course(&stage, reason, &renamed).await;
}

async fn handlers_pin_until_they_are_closed(scenario: Scenario) {
    let steps = [
        ("HANDLER t OPEN", true),
        ("HANDLER t OPEN AS u", true),
        ("HANDLER u READ FIRST", true),
        ("HANDLER t CLOSE", true),
        ("HANDLER u CLOSE", false),
    ];
    course(&single(scenario).await, "handler", &steps).await;
}

async fn prepared_texts_pin_until_they_are_deallocated(scenario: Scenario) {
    let steps = [
        ("PREPARE r FROM 'SELECT 1'", false),
        ("EXECUTE r", false),
        ("PREPARE p FROM 'SELECT @a := 1'", true),
        ("PREPARE q FROM 'SET @a = 2'", true),
        ("EXECUTE p", true),
        ("EXECUTE r", true),
        ("DEALLOCATE PREPARE P", true),
        ("DROP PREPARE `q`", false),
    ];
    course(&single(scenario).await, "text prepared statement", &steps).await;
}

async fn locks_pin_until_they_are_given_back(scenario: Scenario) {
    let steps = [
        ("LOCK TABLES t WRITE", true),
        ("INSERT INTO t VALUES (1)", true),
        ("UNLOCK TABLES", false),
        ("FLUSH TABLES t WITH READ LOCK", true),
        ("SELECT * FROM t", true),
        ("UNLOCK TABLES", false),
    ];
    let mysql = scenario.is_mysql();
    let stage = single(scenario).await;
    course(&stage, "locks", &steps).await;
    let mut client = stage.raw().await;
    client.ok("LOCK TABLES t READ").await;
    client.ok("BEGIN").await; // which unlocks, too
    client.ok("INSERT INTO t VALUES (2)").await;
    client.ok("COMMIT").await;
    until_pinned(&stage, "", 0).await;
    // The instance's lock is not UNLOCK TABLES' to give back.
    if mysql {
        stage.cluster.run(0, &["GRANT BACKUP_ADMIN ON *.* TO 'app'@'%'"]).await;
        let steps = [("LOCK INSTANCE FOR BACKUP", true), ("UNLOCK TABLES", true), ("UNLOCK INSTANCE", false)];
        course(&stage, "locks", &steps).await;
    }
}

async fn user_locks_pin_while_they_are_held(scenario: Scenario) {
    let stage = single(scenario).await;
    let (a, b) = (format!("{}.a", stage.schema), format!("{}.b", stage.schema));
    let get = |name: &str| format!("SELECT GET_LOCK('{name}', 0)");
    let release = |name: &str| format!("DO RELEASE_LOCK('{name}')");
    let free = format!("SELECT IS_FREE_LOCK('{a}')");
    let expression = format!("SELECT GET_LOCK(CONCAT('{a}', 'x'), 0)");
    course(
        &stage,
        "user lock",
        &[
            (&free, false),
            (&get(&a), true),
            ("SELECT 1", true),
            (&get(&b), true),
            (&release(&a), true),
            ("SELECT id FROM t", true),
            (&release(&b), false),
            (&get(&a), true),
            ("SELECT RELEASE_ALL_LOCKS()", false),
            (&expression, true),
            (&release(&b), true),
            ("SELECT RELEASE_ALL_LOCKS()", false),
        ],
    )
    .await;
    // A lock that somebody else holds is not had, and pins nobody.
    let (mut holder, mut other) = (stage.raw().await, stage.raw().await);
    assert_eq!(holder.value(get(&a)).await.unwrap(), "1");
    assert_eq!(other.value(get(&a)).await.unwrap(), "0");
    until_pinned(&stage, "user lock", 1).await;
    assert_eq!(holder.value(format!("SELECT RELEASE_LOCK('{a}')")).await.unwrap(), "1");
    until_pinned(&stage, "", 0).await;
}

/// As drivers take them that prepare every statement.
async fn user_locks_are_named_by_parameters_too(scenario: Scenario) {
    let stage = single(scenario).await;
    let mut client = stage.raw().await;
    let take = client.prepare("SELECT ?, GET_LOCK(?, ?)").await.unwrap();
    let give = client.prepare("SELECT RELEASE_LOCK(?)").await.unwrap();
    let ask = client.prepare("SELECT IS_FREE_LOCK(?)").await.unwrap();
    for name in [format!("{}.a", stage.schema), format!("{} \u{e9}'\\", stage.schema)] {
        let name = || Param::Text(name.as_bytes());
        client.execute(take, &[Param::Int(7), name(), Param::Int(0)]).await.rows();
        until_pinned(&stage, "user lock", 1).await;
        client.value("SELECT 1").await.unwrap();
        client.execute(ask, &[name()]).await.rows();
        client.value("SELECT 1").await.unwrap();
        until_pinned(&stage, "user lock", 1).await;
        client.execute(give, &[name()]).await.rows();
        until_pinned(&stage, "", 0).await;
    }
}

async fn xa_transactions_pin_until_they_end(scenario: Scenario) {
    let stage = single(scenario).await;
    let id = format!("'{}'", stage.schema);
    let [start, end, prepare, commit] =
        ["START", "END", "PREPARE", "COMMIT"].map(|verb| format!("XA {verb} {id}"));
    let steps: [(&str, bool); 5] = [
        (&start, true),
        ("INSERT INTO t VALUES (1)", true),
        (&end, true),
        (&prepare, true),
        (&commit, false),
    ];
    course(&stage, "xa", &steps).await;
    assert_eq!(stage.raw().await.value("SELECT COUNT(*) FROM t").await.unwrap(), "1");
}

/// The transaction is the server's then, for whoever ends it by its name.
async fn a_prepared_xa_transaction_leaves_nothing_to_the_next_client(scenario: Scenario) {
    let stage = single(scenario).await;
    for (row, resets) in [(1, false), (11, true)] {
        let name = format!("'{} {row}'", stage.schema);
        let mut client = stage.raw().await;
        client.ok(format!("XA START {name}")).await;
        client.ok(format!("INSERT INTO t VALUES ({row})")).await;
        client.ok(format!("XA END {name}")).await;
        client.ok(format!("XA PREPARE {name}")).await;
        if resets {
            client.command(tidegate::wire::command::RESET_CONNECTION, b"").await;
            client.outcome().await.ok();
        } else {
            drop(client);
        }
        until_pinned(&stage, "", 0).await;
        for other in row + 1..row + 5 {
            let mut next = stage.raw().await;
            // MySQL's replicas, which apply in parallel, stop (1440) where one name comes again at once.
            let other_name = format!("{name}, '{other}'");
            next.ok(format!("XA START {other_name}")).await;
            next.ok(format!("INSERT INTO t VALUES ({other})")).await;
            next.ok(format!("XA END {other_name}")).await;
            next.ok(format!("XA COMMIT {other_name} ONE PHASE")).await;
        }
        let mut last = stage.raw().await;
        until("it is nobody's", || async {
            let ended = stage.raw().await.query(format!("XA COMMIT {name}")).await.pop();
            !matches!(ended, Some(crate::harness::Outcome::Err(_)))
        })
        .await;
        let rows = format!("/* tidegate: primary */ SELECT COUNT(*) FROM t WHERE id >= {row}");
        assert_eq!(last.value(rows).await.unwrap(), "5");
    }
}

async fn binding_variables_pin_until_they_are_taken_back(scenario: Scenario) {
    let steps = [
        ("SET timestamp = 1000000000", true),
        ("SELECT NOW()", true),
        ("SET timestamp = DEFAULT", false),
        ("SET @@session.timestamp = 1, insert_id = 5", true),
        ("SET timestamp = 0", true),
    ];
    course(&single(scenario).await, "binding variable", &steps).await;
}

async fn several_statements_in_a_packet_pin_on(scenario: Scenario) {
    let steps = [
        ("CREATE TEMPORARY TABLE a (n INT); DROP TABLE a", true),
        ("CREATE TEMPORARY TABLE b (n INT)", true),
        ("DROP TABLE b", true),
    ];
    course(&single(scenario).await, "temporary table", &steps).await;
}

async fn roles_are_taken_along(scenario: Scenario) {
    let stage = single(scenario).await;
    let (role, schema) = (format!("role_{}", stage.schema), &stage.schema);
    stage
        .cluster
        .run(
            0,
            &[
                &format!("CREATE ROLE {role}"),
                &format!("GRANT SELECT ON {schema}.t TO {role}"),
                &format!("GRANT {role} TO 'app'@'%'"),
            ],
        )
        .await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok(format!("SET ROLE {role}")).await;
    until_pinned(&stage, "", 0).await;
    for _ in 0..3 {
        assert!(other.value("SELECT CURRENT_ROLE()").await.is_none_or(|role| role == "NONE"));
        assert!(client.value("SELECT CURRENT_ROLE()").await.unwrap().contains(&role));
        client.ok("BEGIN").await; // takes the connection
        assert!(other.value("SELECT CURRENT_ROLE()").await.is_none_or(|role| role == "NONE"));
        assert!(client.value("SELECT CURRENT_ROLE()").await.unwrap().contains(&role));
        client.ok("COMMIT").await;
    }
    client.ok("SET ROLE NONE").await;
    assert!(client.value("SELECT CURRENT_ROLE()").await.is_none_or(|role| role == "NONE"));
    drop((client, other));
    stage.cluster.run(0, &[&format!("DROP ROLE {role}")]).await;
}

/// MariaDB has none.
async fn a_resource_group_is_not_left_for_the_next_client(scenario: Scenario) {
    if !scenario.is_mysql() {
        return;
    }
    let stage = single(scenario).await;
    let group = "CREATE RESOURCE GROUP pins_group TYPE = USER VCPU = 0";
    let grants = [
        "GRANT RESOURCE_GROUP_USER ON *.* TO 'app'@'%'",
        "GRANT SELECT ON performance_schema.* TO 'app'@'%'",
    ];
    stage.cluster.run(0, &[group, grants[0], grants[1]]).await;
    let which =
        "SELECT resource_group FROM performance_schema.threads WHERE processlist_id = CONNECTION_ID()";
    let mut client = stage.raw().await;
    client.ok("SET RESOURCE GROUP pins_group").await;
    until_pinned(&stage, "role", 1).await;
    drop(client);
    until_pinned(&stage, "", 0).await;
    for _ in 0..2 {
        assert_ne!(stage.raw().await.value(which).await.as_deref(), Some("pins_group"));
    }
    stage.cluster.run(0, &["DROP RESOURCE GROUP pins_group FORCE"]).await;
}

async fn a_transaction_begins_where_a_soft_pin_is(scenario: Scenario) {
    let stage = scenario.stage().await;
    let mut client = stage.raw().await;
    client.ok("PREPARE p FROM 'SELECT 1'").await;
    client.ok("START TRANSACTION READ ONLY").await;
    let end = client.select("SELECT LAST_INSERT_ID(7)").await.end;
    assert!(end.status.contains(tidegate::wire::ok::Status::IN_TRANSACTION), "{end:?}");
    client.ok("COMMIT").await;
    assert_eq!(client.value("EXECUTE p").await.unwrap(), "1");
}

async fn a_cursor_does_not_keep_writes_on_a_replica(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)"]).await;
    let mut client = stage.raw().await;
    let statement = client.prepare("SELECT id FROM t").await.unwrap();
    client.send_execute(statement, 1, &[], true).await;
    client.outcomes().await;
    until_pinned(&stage, "cursor", 1).await;
    client.ok("INSERT INTO t VALUES (3)").await;
}

async fn set_transaction_stands_until_its_transaction(scenario: Scenario) {
    let stage = single(scenario).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    for (read, consumed) in [("SELECT @@version", false), ("SELECT 1 + 1", false), ("SELECT id FROM t", true)]
    {
        client.ok("SET TRANSACTION READ ONLY").await;
        until_pinned(&stage, "next transaction", 1).await;
        client.select(read).await;
        other.ok("REPLACE INTO t VALUES (1)").await;
        if consumed {
            until_pinned(&stage, "", 0).await;
            client.ok("REPLACE INTO t VALUES (2)").await;
        } else {
            assert_eq!(client.error("REPLACE INTO t VALUES (2)").await.code, 1792, "{read}");
            client.select("SELECT id FROM t").await;
        }
    }
}

async fn a_lock_of_a_failed_statement_is_kept(scenario: Scenario) {
    let stage = single(scenario).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    let get = format!("SELECT GET_LOCK('{}', 0)", stage.schema);
    assert_eq!(client.error(format!("{get}, (SELECT 1 UNION SELECT 2)")).await.code, 1242);
    let held = client.value(format!("SELECT IS_FREE_LOCK('{}')", stage.schema)).await.unwrap() == "0";
    assert_eq!(other.value(&get).await.unwrap(), if held { "0" } else { "1" });
}

/// What a read only transaction, or a view, leaves on a replica must not be where the next write goes.
async fn t12_no_pin_on_a_replica_makes_a_write_fail(scenario: Scenario) {
    let stage = scenario.stage_with(Rules { weights: vec![0, 1, 0], ..Rules::default() }).await;
    stage
        .given(&[
            "CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT)",
            "INSERT INTO t VALUES (1), (2)",
            "CREATE FUNCTION leaves_some() RETURNS INT NO SQL BEGIN SET @set = 1; RETURN 1; END",
            "CREATE VIEW seen AS SELECT leaves_some() AS n",
        ])
        .await;
    let writes = [
        "INSERT INTO t VALUES ()",
        "CREATE OR REPLACE VIEW w AS SELECT 1",
        "BEGIN",
        "SELECT id FROM t FOR UPDATE",
    ];
    let login = Login { capabilities: Login::OLD | Capabilities::DEPRECATE_EOF, ..Login::default() };
    for write in writes {
        for leaves in ["cursor", "SELECT n FROM seen", "SELECT leaves_some()", "SET profiling = 1"] {
            for ends in ["COMMIT", "START TRANSACTION READ WRITE", ""] {
                let mut client = stage.raw_with(login.clone()).await;
                if !ends.is_empty() {
                    client.ok("START TRANSACTION READ ONLY").await;
                }
                if leaves == "cursor" {
                    let statement = client.prepare("SELECT id FROM t").await.unwrap();
                    client.send_execute(statement, 1, &[], true).await;
                    client.outcomes().await;
                } else {
                    client.query(leaves).await;
                }
                for sql in [ends, write, "INSERT INTO t VALUES ()"].into_iter().filter(|sql| !sql.is_empty())
                {
                    for outcome in client.query(sql).await {
                        let failed = matches!(outcome, crate::harness::Outcome::Err(_));
                        assert!(!failed, "{leaves}, {ends}, {write}: {sql}: {outcome:?}");
                    }
                }
            }
        }
    }
    assert_eq!(stage.refused_by_replicas().await, 0);
}
