//! LAST_INSERT_ID() of sessions that share two server connections, against what one server says to a session of its own.

use super::differential::forms::Random;
use crate::harness::{Login, Outcome, RawClient, Rules, Scenario, Stage};

both_dialects! {
    an_explicit_id_is_none_on_another_connection,
    an_insert_id_goes_into_a_transaction_elsewhere,
    an_explicit_id_may_be_a_number_that_another_session_has_generated,
    the_only_generated_id_may_stand_among_many_explicit_ones,
    a_failed_insert_leaves_the_id_that_it_leaves_on_one_server,
    an_explicit_id_and_a_row_count_are_asked_together,
    rows_that_are_returned_have_made_an_id,
    an_insert_id_outlives_a_reset_of_its_connection,
    an_insert_id_outlives_its_connection_that_makes_room,
    any_sequence_leaves_the_id_of_one_server,
}

const SESSIONS: usize = 3;

/// The same client twice: through Tidegate, and past it in a database of its own.
struct Twin {
    through: RawClient,
    direct: RawClient,
}

impl Twin {
    /// Runs the statement on both sides; the answers must be alike.
    async fn run(&mut self, sql: &str) {
        let expected = answer(&mut self.direct, sql).await;
        let found = answer(&mut self.through, sql).await;
        assert_eq!(found, expected, "{sql}");
    }

    async fn all(&mut self, statements: &[&str]) {
        for sql in statements {
            self.run(sql).await;
        }
    }
}

/// Rows, insert id, or the error's number.
async fn answer(client: &mut RawClient, sql: &str) -> Vec<String> {
    let one = |outcome| match outcome {
        Outcome::Ok(okay) => format!("id {}", okay.insert_id),
        Outcome::Err(error) => format!("error {}", error.code),
        Outcome::Rows(rows) => format!("{:?}", rows.texts()),
        Outcome::File(_) => unreachable!("no statement loads a file"),
    };
    client.query(sql).await.into_iter().map(one).collect()
}

/// Two connections to the primary, none to replicas; each session has a table of its own.
async fn twins(scenario: Scenario) -> (Stage, Vec<Twin>) {
    let rules = Rules { weights: vec![1, 0, 0], top: "threads: 1".into(), ..Rules::pool("{max: 2}") };
    let stage = scenario.stage_with(rules).await;
    let direct = format!("{}_d", stage.schema);
    let mut setup = vec![format!("DROP DATABASE IF EXISTS {direct}"), format!("CREATE DATABASE {direct}")];
    for schema in [&stage.schema, &direct] {
        for session in 0..SESSIONS {
            setup.push(format!(
                "CREATE TABLE {schema}.t{session} (id INT PRIMARY KEY AUTO_INCREMENT, n INT UNIQUE)"
            ));
            setup.push(format!("CREATE TABLE {schema}.child{session} (parent BIGINT)"));
        }
    }
    let setup: Vec<&str> = setup.iter().map(String::as_str).collect();
    stage.given(&setup).await;
    let mut twins = Vec::new();
    for _ in 0..SESSIONS {
        let login = Login { capabilities: Login::OLD, database: Some(direct.clone()), ..Login::default() };
        let through = stage.raw_with(Login { database: None, ..login.clone() }).await;
        let direct = RawClient::login(stage.cluster.address(0), &login).await.expect("the login works");
        twins.push(Twin { through, direct });
    }
    (stage, twins)
}

/// Both connections are open, and the one that `a` has used is not the one that is used next.
async fn spread(a: &mut Twin, b: &mut Twin, within: &[&str]) {
    a.run("BEGIN").await;
    b.all(&["BEGIN", "COMMIT"]).await;
    a.all(within).await;
    a.run("COMMIT").await;
}

async fn an_explicit_id_is_none_on_another_connection(scenario: Scenario) {
    let (_stage, mut twins) = twins(scenario).await;
    let [a, b, c] = &mut twins[..] else { unreachable!() };
    spread(a, b, &["INSERT INTO t0 (n) VALUES (1)", "INSERT INTO t0 (id) VALUES (1000)"]).await;
    a.all(&["INSERT INTO t0 (id) VALUES (1001)", "SELECT LAST_INSERT_ID()"]).await;
    // The connection that knows is held by others, or its own is held by a transaction.
    a.all(&["INSERT INTO t0 (n) VALUES (2)", "INSERT INTO t0 (id) VALUES (2000)"]).await;
    b.all(&["BEGIN", "INSERT INTO t1 (id) VALUES (7)"]).await;
    a.all(&["BEGIN", "INSERT INTO t0 (id) VALUES (2001)", "SELECT LAST_INSERT_ID()", "COMMIT"]).await;
    b.all(&["SELECT LAST_INSERT_ID()", "COMMIT"]).await;
    c.all(&["INSERT INTO t2 (id) VALUES (7)", "SELECT LAST_INSERT_ID()"]).await;
    a.all(&["INSERT INTO t0 (id) VALUES (2002)", "SELECT LAST_INSERT_ID()"]).await;
}

async fn an_insert_id_goes_into_a_transaction_elsewhere(scenario: Scenario) {
    let (_stage, mut twins) = twins(scenario).await;
    let [a, b, _] = &mut twins[..] else { unreachable!() };
    spread(a, b, &["INSERT INTO t0 (n) VALUES (1), (2)"]).await;
    a.all(&[
        "BEGIN",
        "INSERT INTO child0 VALUES (LAST_INSERT_ID())",
        "SELECT * FROM child0 FOR UPDATE",
        "COMMIT",
    ])
    .await;
    spread(b, a, &["INSERT INTO t1 (n) VALUES (1), (2)", "INSERT INTO t1 (n) VALUES (3)"]).await;
    b.all(&["BEGIN", "SELECT LAST_INSERT_ID(), @@identity", "COMMIT"]).await;
}

async fn an_explicit_id_may_be_a_number_that_another_session_has_generated(scenario: Scenario) {
    let (_stage, mut twins) = twins(scenario).await;
    let [a, b, c] = &mut twins[..] else { unreachable!() };
    // `a` leaves an id on both connections, and has the newer one on the second.
    spread(a, b, &["INSERT INTO t0 (n) VALUES (1)"]).await;
    c.all(&["BEGIN", "SELECT 1 FROM t2"]).await;
    a.all(&["INSERT INTO t0 (n) VALUES (2)"]).await;
    c.run("COMMIT").await;
    for id in 1..=2 {
        for (at, twin) in [&mut *b, &mut *c].into_iter().enumerate() {
            twin.run(&format!("INSERT INTO t{} (id) VALUES ({id})", at + 1)).await;
            twin.run("SELECT LAST_INSERT_ID()").await;
        }
    }
    a.run("SELECT LAST_INSERT_ID()").await;
}

async fn the_only_generated_id_may_stand_among_many_explicit_ones(scenario: Scenario) {
    let (_stage, mut twins) = twins(scenario).await;
    let [a, b, _] = &mut twins[..] else { unreachable!() };
    for id in 100..140 {
        a.run(&format!(
            "INSERT INTO t0 (id) VALUES ({})",
            if id == 120 { "NULL".into() } else { id.to_string() }
        ))
        .await;
    }
    b.run("INSERT INTO t1 (id) VALUES (5)").await;
    a.run("SELECT LAST_INSERT_ID()").await;
}

async fn a_failed_insert_leaves_the_id_that_it_leaves_on_one_server(scenario: Scenario) {
    let (_stage, mut twins) = twins(scenario).await;
    let [a, b, _] = &mut twins[..] else { unreachable!() };
    a.run("INSERT INTO t0 (n) VALUES (1)").await;
    for sql in [
        "INSERT INTO t0 (n) VALUES (8), (9), (1)",
        "INSERT INTO t0 (n) VALUES (1)",
        "INSERT INTO t0 (id) VALUES (1)",
    ] {
        b.run("INSERT INTO t1 (n) VALUES (NULL)").await;
        a.run(sql).await;
        b.run("INSERT INTO t1 (n) VALUES (NULL)").await;
        a.run("SELECT LAST_INSERT_ID()").await;
        b.run("SELECT LAST_INSERT_ID()").await;
    }
}

async fn an_explicit_id_and_a_row_count_are_asked_together(scenario: Scenario) {
    let (_stage, mut twins) = twins(scenario).await;
    let [a, b, _] = &mut twins[..] else { unreachable!() };
    a.run("INSERT INTO t0 (n) VALUES (1)").await;
    b.run("INSERT INTO t1 (n) VALUES (NULL), (NULL)").await;
    a.all(&["INSERT INTO t0 (id) VALUES (50), (51)", "SELECT ROW_COUNT(), LAST_INSERT_ID()"]).await;
}

async fn rows_that_are_returned_have_made_an_id(scenario: Scenario) {
    if scenario.is_mysql() {
        return; // it has no RETURNING
    }
    let (_stage, mut twins) = twins(scenario).await;
    let [a, b, _] = &mut twins[..] else { unreachable!() };
    a.all(&["INSERT INTO t0 (n) VALUES (1)", "INSERT INTO t0 (n) VALUES (2) RETURNING id"]).await;
    b.run("INSERT INTO t1 (id) VALUES (9)").await;
    a.run("SELECT LAST_INSERT_ID()").await;
    b.run("SELECT LAST_INSERT_ID()").await;
}

async fn an_insert_id_outlives_a_reset_of_its_connection(scenario: Scenario) {
    let (_stage, mut twins) = twins(scenario).await;
    let [a, b, _] = &mut twins[..] else { unreachable!() };
    a.all(&["INSERT INTO t0 (n) VALUES (1)", "INSERT INTO t0 (id) VALUES (77)"]).await;
    b.through.command(tidegate::wire::command::RESET_CONNECTION, &[]).await;
    b.through.read().await;
    b.direct.command(tidegate::wire::command::RESET_CONNECTION, &[]).await;
    b.direct.read().await;
    b.all(&["INSERT INTO t1 (id) VALUES (1)", "SELECT LAST_INSERT_ID()"]).await;
    a.run("SELECT LAST_INSERT_ID()").await;
}

async fn an_insert_id_outlives_its_connection_that_makes_room(scenario: Scenario) {
    let (stage, mut twins) = twins(scenario).await;
    twins[0].all(&["INSERT INTO t0 (n) VALUES (1)", "INSERT INTO t0 VALUES (500, 2)"]).await;
    // Clients with other flags, whose connections are not of the same kind.
    let mut others = [stage.raw().await, stage.raw().await];
    for other in &mut others {
        other.query("BEGIN").await;
    }
    for other in &mut others {
        other.query("ROLLBACK").await;
    }
    twins[0].run("SELECT LAST_INSERT_ID()").await;
}

async fn any_sequence_leaves_the_id_of_one_server(scenario: Scenario) {
    let mysql = scenario.is_mysql();
    let (_stage, mut twins) = twins(scenario).await;
    let mut random = Random::new(7);
    let mut open = [false; SESSIONS];
    for step in 0..400 {
        let at = random.below(SESSIONS);
        let (t, id, other) = (format!("t{at}"), 1 + random.below(40), 1 + random.below(40));
        // One connection stays for the others.
        let may_open = open.iter().filter(|open| **open).count() == 0;
        let sql = match random.below(16) {
            0..3 => format!("INSERT INTO {t} () VALUES ()"),
            3..6 => format!("REPLACE INTO {t} (id) VALUES ({id})"),
            6 => format!("REPLACE INTO {t} (id) VALUES ({id}), (NULL), ({other})"),
            // What fails keeps its connection for a second, for questions.
            7 if may_open => format!("INSERT INTO {t} (n) VALUES ({step}), ({step})"),
            8 => format!("REPLACE INTO {t} (id) VALUES ({id}); REPLACE INTO {t} (id) VALUES ({other})"),
            9 if may_open || open[at] => (if open[at] { "COMMIT" } else { "BEGIN" }).to_owned(),
            10 if mysql => format!("UPDATE {t} SET n = NULL WHERE id = LAST_INSERT_ID({id})"),
            10 => format!("REPLACE INTO {t} (id) VALUES ({id}), (NULL) RETURNING id"),
            11 => format!("INSERT INTO child{at} VALUES (LAST_INSERT_ID())"),
            12 => format!("SELECT MAX(parent) FROM child{at} FOR UPDATE"),
            _ => "SELECT LAST_INSERT_ID()".to_owned(),
        };
        match &*sql {
            "BEGIN" => open[at] = true,
            "COMMIT" => open[at] = false,
            _ => {}
        }
        let expected = answer(&mut twins[at].direct, &sql).await;
        let found = answer(&mut twins[at].through, &sql).await;
        assert_eq!(found, expected, "step {step}, session {at}: {sql}");
    }
}
