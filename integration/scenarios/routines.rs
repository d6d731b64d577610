//! What routines leave on a connection: no text shows it, and servers tell of it only that something changed.

use mysql_async::prelude::Queryable;

use crate::harness::{Login, Outcome, Rules, Scenario};

both_dialects! {
    t13_a_temporary_table_that_a_call_made_stays,
    a_user_variable_that_a_function_set_stays,
    what_routines_set_is_not_seen_by_others,
    a_cursor_inside_a_routine_hides_no_rows,
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
