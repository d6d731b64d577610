//! State that servers change without a report, and what must not come of it.

use crate::harness::{Login, RawClient, Rules, Scenario, Stage};

both_dialects! {
    variables_set_without_a_scope_are_the_sessions,
    a_database_of_wide_characters_is_used,
    a_databases_name_is_read_in_its_clients_charset,
    prepared_texts_leave_no_variables_to_others,
    rights_that_were_granted_count_for_new_logins,
    a_locked_account_does_not_come_in,
    a_session_outlives_a_change_of_its_account,
    null_may_ask_for_the_insert_id,
    warnings_are_not_left_to_others,
}

/// One connection to the primary, and none to replicas: every session has the same one.
async fn single(scenario: Scenario) -> Stage {
    let rules = Rules { weights: vec![1, 0, 0], ..Rules::pool("{max: 1}") };
    scenario.stage_with(rules).await
}

async fn variables_set_without_a_scope_are_the_sessions(scenario: Scenario) {
    let stage = single(scenario).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    let seen = "SELECT CONCAT(@@sql_mode, ',', @@wait_timeout)";
    let before = other.value(seen).await.unwrap();
    client.ok("SET @@sql_mode = 'NO_ZERO_DATE', @@wait_timeout = 1234").await;
    assert_eq!(other.value(seen).await.unwrap(), before);
    assert_eq!(client.value(seen).await.unwrap(), "NO_ZERO_DATE,1234");
    client.ok("SET @@sql_mode = DEFAULT").await;
    client.ok("SET @@sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES'), wait_timeout = DEFAULT").await;
    assert!(client.value("SELECT @@sql_mode").await.unwrap().contains("ANSI_QUOTES"));
    assert_eq!(client.value("SELECT \"1\" FROM (SELECT 2 AS \"1\") t").await.unwrap(), "2");
    assert_eq!(other.value(seen).await.unwrap(), before);
}

async fn a_database_of_wide_characters_is_used(scenario: Scenario) {
    let stage = single(scenario).await;
    let wide = format!("{}_wide", stage.schema);
    stage.given(&[&format!("CREATE DATABASE {wide} CHARACTER SET ucs2")]).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok(format!("USE `{wide}`")).await;
    assert_eq!(other.value("SELECT DATABASE()").await.unwrap(), stage.schema);
    assert_eq!(client.value("SELECT DATABASE()").await.unwrap(), wide);
    client.ok(format!("USE {}", stage.schema)).await;
    client.command(tidegate::wire::command::INIT_DB, wide.as_bytes()).await;
    client.outcome().await.ok();
    assert_eq!(other.value("SELECT DATABASE()").await.unwrap(), stage.schema);
    assert_eq!(client.value("SELECT DATABASE()").await.unwrap(), wide);
    stage.given(&[&format!("DROP DATABASE {wide}")]).await;
}

/// Servers report it in UTF-8, whatever the client speaks.
async fn a_databases_name_is_read_in_its_clients_charset(scenario: Scenario) {
    const LATIN1_SWEDISH_CI: u8 = 8;
    let stage = single(scenario).await;
    let base = stage.schema.strip_suffix("charset").unwrap();
    // The bytes of `é` in UTF-8 are `Ã©` to a client of latin1, and so to its server.
    let (utf8, latin1) = (format!("{base}Ã©"), format!("{base}é"));
    let drop = format!("DROP DATABASE IF EXISTS `{utf8}`");
    stage.given(&["SET NAMES utf8mb4", &drop, &format!("CREATE DATABASE `{utf8}`")]).await;
    let login = |collation| Login { collation, ..Login::default() };
    let mut other = stage.raw().await;
    let here = "SELECT CONCAT(HEX(CONVERT(DATABASE() USING utf8mb4)), @@character_set_client)";
    let hex: String = utf8.bytes().map(|byte| format!("{byte:02X}")).collect();
    for names in [None, Some("SET NAMES latin1"), Some("SET character_set_client = latin1")] {
        let mut client = stage.raw_with(login(if names.is_some() { 45 } else { LATIN1_SWEDISH_CI })).await;
        if let Some(names) = names {
            client.ok(names).await;
        }
        for _ in 0..2 {
            client.ok(format!("USE `{latin1}`")).await;
            other.value("SELECT 1").await.unwrap(); // takes the connection to its own database
            assert_eq!(client.value(here).await.unwrap(), format!("{hex}latin1"), "{names:?}");
            client.ok(format!("USE {}", stage.schema)).await;
            client.command(tidegate::wire::command::INIT_DB, latin1.as_bytes()).await;
            client.outcome().await.ok();
            other.value("SELECT 1").await.unwrap();
            assert_eq!(client.value(here).await.unwrap(), format!("{hex}latin1"), "{names:?}");
        }
        client.command(tidegate::wire::command::RESET_CONNECTION, b"").await;
        client.outcome().await.ok();
        other.value("SELECT 1").await.unwrap();
        assert_eq!(client.value(here).await.unwrap(), format!("{hex}utf8mb4"), "{names:?}");
    }
    let database = Some(latin1);
    let mut client = stage.raw_with(Login { database, ..login(LATIN1_SWEDISH_CI) }).await;
    other.value("SELECT 1").await.unwrap();
    assert_eq!(client.value(here).await.unwrap(), format!("{hex}latin1"), "named at the login");
    stage.given(&["SET NAMES utf8mb4", &drop]).await;
}

async fn prepared_texts_leave_no_variables_to_others(scenario: Scenario) {
    let stage = single(scenario).await;
    let mut other = stage.raw().await;
    let before = other.value("SELECT @@wait_timeout").await;
    let mut client = stage.raw().await;
    client.ok("PREPARE p FROM 'SET @@wait_timeout = 4321'").await;
    client.ok("EXECUTE p").await;
    client.ok("DEALLOCATE PREPARE p").await;
    assert_eq!(other.value("SELECT @@wait_timeout").await, before);
}

async fn rights_that_were_granted_count_for_new_logins(scenario: Scenario) {
    let stage = single(scenario).await;
    let (user, schema) = ("newly_granted", format!("{}_granted", stage.schema));
    let mut root = RawClient::login(stage.proxy.address, &Login::account("root", "")).await.unwrap();
    root.ok(format!("DROP USER IF EXISTS {user}")).await;
    root.ok(format!("CREATE USER {user} IDENTIFIED BY 'pw'")).await;
    root.ok(format!("CREATE DATABASE {schema}")).await;
    root.ok(format!("CREATE TABLE {schema}.t (id INT)")).await;
    let login = Login::account(user, "pw");
    let read = format!("SELECT COUNT(*) FROM {schema}.t");
    let mut client = RawClient::login(stage.proxy.address, &login).await.unwrap();
    assert_eq!(client.error(&read).await.code, 1142);
    drop(client);
    root.ok(format!("GRANT SELECT ON *.* TO {user}")).await;
    assert_eq!(RawClient::login(stage.proxy.address, &login).await.unwrap().value(&read).await.unwrap(), "0");
    root.ok(format!("DROP USER {user}")).await;
    root.ok(format!("DROP DATABASE {schema}")).await;
}

async fn a_locked_account_does_not_come_in(scenario: Scenario) {
    let stage = single(scenario).await;
    let user = "newly_locked";
    let mut root = RawClient::login(stage.proxy.address, &Login::account("root", "")).await.unwrap();
    root.ok(format!("DROP USER IF EXISTS {user}")).await;
    root.ok(format!("CREATE USER {user} IDENTIFIED BY 'pw'")).await;
    let login = Login::account(user, "pw");
    drop(RawClient::login(stage.proxy.address, &login).await.unwrap());
    root.ok(format!("ALTER USER {user} ACCOUNT LOCK")).await;
    let error = RawClient::login(stage.proxy.address, &login).await.err().unwrap();
    assert!([3118, 4151].contains(&error.code), "{error}");
    root.ok(format!("DROP USER {user}")).await;
}

async fn null_may_ask_for_the_insert_id(scenario: Scenario) {
    let rules = Rules { weights: vec![1, 0, 0], ..Rules::pool("{max: 2}") };
    let stage = scenario.stage_with(rules).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)"]).await;
    let (mut client, mut other) = (stage.raw().await, stage.raw().await);
    client.ok("SET sql_auto_is_null = 1").await;
    client.ok("INSERT INTO t (v) VALUES (10)").await;
    other.ok("INSERT INTO t (v) VALUES (20)").await; // on the same connection
    assert_eq!(client.value("SELECT v FROM t WHERE id IS NULL").await.unwrap(), "10");
}

async fn warnings_are_not_left_to_others(scenario: Scenario) {
    let stage = single(scenario).await;
    let mut client = stage.raw().await;
    client.ok("DROP TABLE IF EXISTS missing").await;
    drop(client);
    let mut other = stage.raw().await;
    assert!(other.select("SHOW WARNINGS").await.rows.is_empty(), "at first");
    let mut client = stage.raw().await;
    client.ok("DROP TABLE IF EXISTS missing").await;
    drop(client);
    other.ok("SET @a = 1").await;
    assert_eq!(other.value("SELECT @@warning_count").await.unwrap(), "0");
    assert!(other.select("SHOW WARNINGS").await.rows.is_empty(), "after a statement without tables");
}

async fn a_session_outlives_a_change_of_its_account(scenario: Scenario) {
    let stage = single(scenario).await;
    let mut root = RawClient::login(stage.proxy.address, &Login::account("root", "")).await.unwrap();
    let user = "soon_locked";
    root.ok(format!("DROP USER IF EXISTS {user}")).await;
    root.ok(format!("CREATE USER {user} IDENTIFIED BY 'pw'")).await;
    let mut client = RawClient::login(stage.proxy.address, &Login::account(user, "pw")).await.unwrap();
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    client.ok("BEGIN").await;
    client.ok("COMMIT").await;
    // Past Tidegate's pool of one connection: the client's connection is not taken for it.
    stage.cluster.run(0, &[&format!("ALTER USER {user} ACCOUNT LOCK")]).await;
    assert_eq!(client.value("SELECT 8").await.unwrap(), "8");
    root.ok(format!("DROP USER {user}")).await;
}
