//! What routines leave on a connection: no text shows it, and servers tell of it only that something changed.

use mysql_async::prelude::Queryable;

use crate::harness::{Login, Outcome, Rules, Scenario};

both_dialects! {
    t13_a_temporary_table_that_a_call_made_stays,
    a_user_variable_that_a_function_set_stays,
    what_routines_set_is_not_seen_by_others,
    what_a_failed_call_has_set_stays,
    an_error_outlasts_the_first_call_behind_it,
    a_cursor_inside_a_routine_hides_no_rows,
    what_a_prepared_text_leaves_stays,
    a_role_that_no_text_shows_is_not_handed_on,
}

const MAKE: &str = "CREATE TEMPORARY TABLE made (a INT); INSERT INTO made VALUES (42);";

/// Alone, beside a variable that the server names, and called from another database, which the server names too.
async fn t13_a_temporary_table_that_a_call_made_stays(scenario: Scenario) {
    let stage = scenario.stage().await;
    let plain = format!("CREATE PROCEDURE plain() BEGIN {MAKE} END");
    let beside = format!("CREATE PROCEDURE beside() BEGIN SET sql_mode = 'ANSI'; {MAKE} END");
    stage.given(&[&plain, &beside]).await;
    let schema = &stage.schema;
    for (database, procedure) in [(schema.as_str(), "plain"), (schema.as_str(), "beside"), ("test", "plain")]
    {
        let mut client = stage.client().await;
        client.query_drop(format!("USE {database}")).await.unwrap();
        client.query_drop(format!("CALL {schema}.{procedure}()")).await.unwrap();
        for _ in 0..4 {
            let seen: Result<Option<u32>, _> =
                client.query_first(format!("SELECT a FROM {schema}.made")).await;
            assert_eq!(seen.expect("the table is there"), Some(42), "{procedure} from {database}");
        }
        client.disconnect().await.unwrap();
    }
}

async fn a_user_variable_that_a_function_set_stays(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage
        .given(&["CREATE FUNCTION f() RETURNS INT DETERMINISTIC NO SQL BEGIN SET @left = 7; RETURN 1; END"])
        .await;
    let mut client = stage.client().await;
    client.query_drop("USE test").await.unwrap();
    client.query_drop(format!("SELECT {}.f()", stage.schema)).await.unwrap();
    // Others, on every core, who take the connection and keep it if it was given back.
    let mut others = Vec::new();
    for _ in 0..8 {
        let mut other = stage.client().await;
        other.query_drop("BEGIN").await.unwrap();
        other.query_drop("SELECT id FROM which").await.unwrap();
        others.push(other);
    }
    assert_eq!(client.query_first("SELECT @left").await.unwrap(), Some(7));
}

/// Where results end with EOF packets, servers report nothing of what a function sets: the connection is not pinned, and
/// goes to the other client.
async fn what_routines_set_is_not_seen_by_others(scenario: Scenario) {
    let stage = scenario.stage_with(Rules { weights: vec![1, 1, 0], ..Rules::pool("{max: 1}") }).await;
    stage
        .given(&[
            "CREATE FUNCTION f() RETURNS INT DETERMINISTIC NO SQL BEGIN SET @left = 7; RETURN 1; END",
            "CREATE PROCEDURE p(OUT x INT) SET x = 5",
        ])
        .await;
    let old = || Login { capabilities: Login::OLD, ..Login::default() };
    let (mut client, mut other) = (stage.raw_with(old()).await, stage.raw_with(old()).await);
    for _ in 0..3 {
        assert_eq!(client.value("SELECT f()").await.unwrap(), "1");
        let null = other.value("SELECT IFNULL(@left, 'nothing')").await.unwrap();
        assert_eq!(null, "nothing", "of another client");
        assert_eq!(client.value("SELECT f()").await.unwrap(), "1");
        assert_eq!(client.value("SELECT @left").await.unwrap(), "7", "its own, right after");
    }
    drop(other);
    client.ok("CALL p(@out)").await;
    client.value("SELECT id FROM which").await.unwrap();
    assert_eq!(client.value("SELECT @out").await.unwrap(), "5", "an OUT parameter");
}

/// An error tells nothing of state; MySQL tells it with its next OK packet, MariaDB never.
async fn what_a_failed_call_has_set_stays(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 2}")).await;
    let body = "SET @left = 7; SET time_zone = '+07:00'; SIGNAL SQLSTATE '45000'";
    stage.given(&[&format!("CREATE PROCEDURE p() BEGIN {body}; END")]).await;
    for capabilities in [Login::OLD, Login::default().capabilities] {
        let login = || Login { capabilities, ..Login::default() };
        let (mut client, mut other) = (stage.raw_with(login()).await, stage.raw_with(login()).await);
        let results = client.query("CALL p()").await;
        assert!(matches!(&results[..], [Outcome::Err(_)]), "{results:?}");
        client.ok("DO 1").await;
        other.ok("BEGIN").await; // another connection, where the first is kept
        other.value("SELECT id FROM which").await.unwrap();
        other.ok("COMMIT").await;
        assert_eq!(client.value("SELECT @@time_zone").await.unwrap(), "+07:00");
        assert_eq!(client.value("SELECT @left").await.unwrap(), "7");
        assert_eq!(other.value("SELECT IFNULL(@left, 'nothing')").await.unwrap(), "nothing");
    }
}

/// MariaDB's routines that use no table leave what the statement before has left; what Tidegate asks before the first CALL on a
/// connection does not.
async fn an_error_outlasts_the_first_call_behind_it(scenario: Scenario) {
    let stage = scenario.stage().await;
    stage.given(&["CREATE PROCEDURE p() SET @p = 1"]).await;
    let mut client = stage.raw().await;
    client.query("DEALLOCATE PREPARE missing").await;
    client.ok("CALL p()").await;
    let shown = client.select("SHOW WARNINGS").await;
    assert_eq!(shown.rows.len(), usize::from(!scenario.is_mysql()), "{shown:?}"); // as on one server
}

/// MariaDB's status flags say of a routine's cursor what they say of a client's, and rows follow all the same.
async fn a_cursor_inside_a_routine_hides_no_rows(scenario: Scenario) {
    let stage = scenario.stage().await;
    let body =
        "DECLARE x INT; DECLARE c CURSOR FOR SELECT 41 + 1; OPEN c; FETCH c INTO x; CLOSE c; SELECT x;";
    stage.given(&[&format!("CREATE PROCEDURE p() BEGIN {body} END")]).await;
    for capabilities in [Login::OLD, Login::default().capabilities] {
        let mut client = stage.raw_with(Login { capabilities, ..Login::default() }).await;
        let results = client.query("CALL p()").await;
        assert!(matches!(&results[..], [Outcome::Rows(_), Outcome::Ok(_)]), "{results:?}");
        let prepared = client.prepare("CALL p()").await.unwrap();
        client.send_execute(prepared, 0, &[], true).await;
        let results = client.outcomes().await;
        assert!(matches!(&results[..], [Outcome::Rows(_), .., Outcome::Ok(_)]), "{results:?}");
        assert_eq!(client.value("SELECT 7").await.unwrap(), "7", "the next statement's reply is its own");
    }
}

/// What an EXECUTE has left is there for the session's next statements, reads too, and gone with it.
async fn what_a_prepared_text_leaves_stays(scenario: Scenario) {
    let stage = scenario.stage().await;
    for make in [
        "CREATE TEMPORARY TABLE made (a CHAR(1))",
        "CREATE TEMPORARY TABLE made AS SELECT \\'a\\' AS a",
        "CREATE TEMPORARY TABLE made AS SELECT ''a'' AS a",
    ] {
        let mut client = stage.raw().await;
        client.ok(format!("SET @text = '{make}'")).await;
        let from = if make.contains("AS") { format!("'{make}'") } else { "@text".to_owned() };
        client.ok(format!("PREPARE p FROM {from}")).await;
        client.ok("EXECUTE p").await;
        client.select("SELECT a FROM made").await;
        client.ok("DEALLOCATE PREPARE p").await;
        for _ in 0..4 {
            client.select("SELECT a FROM made").await;
        }
    }
    let mut client = stage.raw().await;
    client.ok("PREPARE p FROM 'SELECT 1'").await;
    client.value("EXECUTE p").await.unwrap();
    client.ok("DEALLOCATE PREPARE p").await;
    if !scenario.is_mysql() {
        client.value("EXECUTE IMMEDIATE 'SELECT 1'").await.unwrap();
    }
    stage.proxy.until_metric("tidegate_pinned_sessions", &[], |pinned| pinned == 0).await;
}

/// COM_RESET_CONNECTION keeps a role: who gets the connection next must not have it.
async fn a_role_that_no_text_shows_is_not_handed_on(scenario: Scenario) {
    let stage = scenario.stage_with(Rules { weights: vec![1, 0, 0], ..Rules::pool("{max: 1}") }).await;
    let role = "role_no_text_shows";
    stage.cluster.run(0, &[&format!("CREATE ROLE {role}"), &format!("GRANT {role} TO 'app'@'%'")]).await;
    stage.given(&[&format!("CREATE PROCEDURE p() SQL SECURITY INVOKER SET ROLE {role}")]).await;
    let prepared = format!("PREPARE p FROM 'SET ROLE {role}'");
    for statements in [&[&prepared[..], "EXECUTE p", "DEALLOCATE PREPARE p"][..], &["CALL p()"]] {
        for asks in [true, false] {
            let mut client = stage.raw().await;
            for sql in statements {
                client.ok(sql).await;
            }
            if asks {
                assert!(client.value("SELECT CURRENT_ROLE()").await.unwrap().contains(role), "its own");
            }
            drop(client);
            let mut other = stage.raw().await;
            let of_other = other.value("SELECT CURRENT_ROLE()").await;
            assert!(of_other.as_deref().is_none_or(|role| role == "NONE"), "{statements:?}: {of_other:?}");
        }
    }
    stage.cluster.run(0, &[&format!("DROP ROLE {role}")]).await;
}
