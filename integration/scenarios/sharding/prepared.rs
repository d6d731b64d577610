//! Prepared statements on sharded tables, beside the same statements on one server that has all rows.

use std::slice;

use tidegate::execute::names::Names;
use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::command as com;
use tidegate::wire::ok::Status;

use super::{Split, fill, tell};
use crate::harness::packets::{Param, Prepared};
use crate::harness::{Login, Outcome, RawClient, Scenario};

pub const READ_ONLY_CURSOR: u8 = 1;

/// Two sessions that do the same: one at Tidegate, one on the server that holds all.
pub struct Pair {
    pub ours: RawClient,
    pub theirs: RawClient,
    own: Names,
}

/// A statement of both.
#[derive(Clone, Copy)]
pub struct Both {
    pub ours: Prepared,
    pub theirs: Prepared,
}

impl Pair {
    pub async fn of(split: &Split) -> Self {
        let (ours, theirs) = split.both().await;
        Self { ours, theirs, own: split.names() }
    }

    /// The same, whose clients have these flags.
    pub async fn with(split: &Split, flags: Capabilities) -> Self {
        let login =
            |schema: &str| Login { capabilities: flags, database: Some(schema.into()), ..Login::default() };
        let direct = RawClient::login(split.stage.cluster.address(0), &login(&split.whole)).await;
        let ours = split.stage.raw_with(login(&split.stage.schema)).await;
        Self { ours, theirs: direct.expect("the login works"), own: split.names() }
    }

    /// Prepares a statement, `{db}` in which is the database; what is told of it is the same.
    pub async fn prepare(&mut self, sql: &str) -> Both {
        let (here, there) =
            (sql.replace("{db}", &text(&self.own.schema.1)), sql.replace("{db}", &text(&self.own.schema.0)));
        let (ours, told) = described(&mut self.ours, &here).await;
        let (theirs, mut expected) = described(&mut self.theirs, &there).await;
        for column in &mut expected {
            *column = self.own.of_definition(column).unwrap_or(std::mem::take(column));
        }
        assert_eq!(told, expected, "{sql}");
        Both { ours, theirs }
    }

    /// Executes it; the answers are the same to the byte.
    pub async fn execute(&mut self, both: Both, params: &[Param<'_>]) {
        self.execute_as(both, 0, params, true).await;
    }

    pub async fn execute_as(&mut self, both: Both, cursor: u8, params: &[Param<'_>], types: bool) {
        self.ours.send_execute(both.ours, cursor, params, types).await;
        self.theirs.send_execute(both.theirs, cursor, params, types).await;
        let ours = tell(self.ours.outcome().await, &self.own);
        let theirs = tell(self.theirs.outcome().await, &self.own);
        assert_eq!(ours, theirs, "{params:?}");
    }

    /// Prepares it and executes it with each of these.
    pub async fn all(&mut self, sql: &str, executions: &[&[Param<'_>]]) {
        let both = self.prepare(sql).await;
        for params in executions {
            self.execute(both, params).await;
        }
        self.close(both).await;
    }

    pub async fn close(&mut self, both: Both) {
        self.ours.command(com::STMT_CLOSE, &both.ours.id.to_le_bytes()).await;
        self.theirs.command(com::STMT_CLOSE, &both.theirs.id.to_le_bytes()).await;
    }

    /// A text statement.
    pub async fn query(&mut self, sql: &str) {
        let ours = tell(self.ours.query(sql).await.pop().expect("a result"), &self.own);
        let theirs = tell(self.theirs.query(sql).await.pop().expect("a result"), &self.own);
        assert_eq!(ours, theirs, "{sql}");
    }

    /// Our execution is refused for this reason, and nothing is lost by it.
    pub async fn refused(&mut self, sql: &str, params: &[Param<'_>], reason: &str) {
        let statement = self.ours.prepare(sql).await.expect("prepared");
        let error = self.ours.execute(statement, params).await.err();
        assert!(text(&error.message).contains(reason), "{sql}: {error}");
        self.ours.command(com::STMT_CLOSE, &statement.id.to_le_bytes()).await;
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A statement with the definitions of its parameters and columns.
async fn described(client: &mut RawClient, sql: &str) -> (Prepared, Vec<Vec<u8>>) {
    client.command(com::STMT_PREPARE, sql.as_bytes()).await;
    let first = client.read().await;
    assert_eq!(first[0], 0, "{sql}: {}", text(&first));
    let number = |at: usize| u16::from_le_bytes([first[at], first[at + 1]]);
    let id = u32::from_le_bytes([first[1], first[2], first[3], first[4]]);
    let prepared = Prepared { id, columns: number(5), parameters: number(7) };
    let mut definitions = client.definitions(prepared.parameters.into()).await;
    definitions.extend(client.definitions(prepared.columns.into()).await);
    (prepared, definitions)
}

async fn a_key_among_the_parameters_leads_to_its_shard(scenario: Scenario) {
    let split = Split::new(scenario).await;
    for flags in [Login::default().capabilities, Login::OLD] {
        let mut pair = Pair::with(&split, flags).await;
        let (one, two, three) = (Param::Int(1), Param::Int(2), Param::Int(3));
        pair.all(
            "INSERT INTO customers (id, name, score) VALUES (?, ?, ?)",
            &[
                &[one.clone(), Param::Text(b"odd"), Param::Int(5)],
                &[Param::Unsigned(2), Param::Text(b"even"), Param::Null],
                &[Param::Text(b"3"), Param::Text("d\u{e9}j\u{e0}".as_bytes()), Param::Text(b"9")],
                &[one.clone(), Param::Text(b"again"), Param::Null],
            ],
        )
        .await;
        pair.all(
            "SELECT id, name, score, ? AS given FROM customers WHERE id = ?",
            &[
                &[Param::Int(7), one.clone()],
                &[Param::Int(7), two.clone()],
                &[Param::Int(-7), Param::Text(b"3")],
                &[Param::Int(7), Param::Null],
                &[Param::Int(7), Param::Typed(1, 0, &[1])],
                &[Param::Int(7), Param::Typed(2, 0x80, &[2, 0])],
                &[Param::Int(7), Param::Typed(3, 0, &[3, 0, 0, 0])],
                &[Param::Int(7), Param::Typed(5, 0, &2f64.to_le_bytes())],
                &[Param::Int(7), Param::Typed(246, 0, b"\x033.0")],
                &[Param::Int(7), Param::Int(1000)],
            ],
        )
        .await;
        pair.all(
            "SELECT {db}.customers.name FROM {db}.customers WHERE id = ?",
            &[slice::from_ref(&one), slice::from_ref(&two)],
        )
        .await;
        pair.all(
            "SELECT DATABASE() IS NULL AS none, name FROM customers WHERE ? = id",
            &[slice::from_ref(&one), slice::from_ref(&two)],
        )
        .await;
        pair.all(
            "UPDATE customers SET score = score + ? WHERE id = ?",
            &[&[one.clone(), one.clone()], &[two.clone(), three.clone()]],
        )
        .await;
        pair.all(
            "SELECT id FROM customers WHERE id IN (?, ?) ORDER BY id",
            &[&[one.clone(), three.clone()], &[one.clone(), two.clone()], &[two.clone(), Param::Null]],
        )
        .await;
        pair.all("SELECT id, name FROM customers WHERE id = 2 AND name <> ?", &[&[Param::Text(b"")]]).await;
        pair.all(
            "SELECT COUNT(*), MAX(score) FROM customers WHERE id = ? AND score > ?",
            &[&[one.clone(), Param::Int(0)]],
        )
        .await;
        pair.all(
            "DELETE FROM customers WHERE id = ? LIMIT 1",
            &[slice::from_ref(&one), slice::from_ref(&one), &[two], &[three]],
        )
        .await;
    }
}

async fn t42_types_need_not_be_sent_again(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let mut pair = Pair::of(&split).await;
    fill(&split, &mut pair.ours, &mut pair.theirs).await;
    let point = pair.prepare("SELECT id, name FROM customers WHERE id = ?").await;
    let several = pair.prepare("SELECT id FROM customers WHERE id > ? ORDER BY id LIMIT ?").await;
    for id in 1..=5 {
        // First without any: then it is an error, but for NULL.
        pair.execute_as(point, 0, &[Param::Int(id)], id == 1).await;
        pair.execute_as(several, 0, &[Param::Int(id), Param::Int(2)], id == 1).await;
        pair.execute_as(point, 0, &[Param::Null], id == 3).await;
        pair.execute_as(point, 0, &[Param::Int(id)], id == 3).await;
    }
    pair.execute(point, &[Param::Text(b"7")]).await;
    pair.execute_as(point, 0, &[Param::Text(b"8")], false).await;
    // Another session's statement on the same connections has other types.
    let mut other = Pair::of(&split).await;
    let theirs = other.prepare("SELECT id, name FROM customers WHERE id = ?").await;
    other.execute(theirs, &[Param::Int(2)]).await;
    pair.execute_as(point, 0, &[Param::Text(b"2")], false).await;
    other.execute_as(theirs, 0, &[Param::Int(8)], false).await;
    let never = pair.prepare("SELECT id FROM customers WHERE id = ? OR id = ?").await;
    pair.execute_as(never, 0, &[Param::Null, Param::Null], false).await;
}

async fn reads_of_several_shards_are_one_binary_result(scenario: Scenario) {
    let split = Split::new(scenario).await;
    for flags in [Login::default().capabilities, Login::OLD] {
        let mut pair = Pair::with(&split, flags).await;
        pair.query("DELETE FROM customers WHERE id = 0").await;
        if flags == Login::default().capabilities {
            fill(&split, &mut pair.ours, &mut pair.theirs).await;
        }
        let int = Param::Int;
        pair.all(
            "SELECT id, score, name FROM customers WHERE score >= ? ORDER BY score DESC, id LIMIT ?",
            &[
                &[int(0), int(3)],
                &[int(2), int(100)],
                &[int(9), int(1)],
                &[Param::Null, int(1)],
                &[int(0), int(0)],
            ],
        )
        .await;
        pair.all(
            "SELECT id, score FROM customers ORDER BY id LIMIT ?, ?",
            &[&[int(0), int(2)], &[int(2), int(3)], &[int(7), int(5)], &[int(50), int(1)]],
        )
        .await;
        pair.all("SELECT id, ? FROM customers ORDER BY id LIMIT ? OFFSET 3", &[&[Param::Text(b"x"), int(2)]])
            .await;
        pair.all(
            "SELECT id FROM customers ORDER BY id DESC LIMIT 3 OFFSET ?",
            &[&[int(0)], &[int(4)], &[int(6)]],
        )
        .await;
        pair.all("SELECT id FROM customers WHERE id < ? ORDER BY id LIMIT 2, 2", &[&[int(8)], &[int(3)]])
            .await;
        pair.all("SELECT id FROM customers ORDER BY id LIMIT 3", &[&[]]).await;
        pair.all(
            "SELECT COUNT(*), SUM(score), MIN(id), MAX(score) FROM {db}.customers WHERE id <> ?",
            &[&[int(1)], &[int(4)]],
        )
        .await;
        pair.all(
            "SELECT COUNT(*), SUM(total) FROM orders WHERE total > ?",
            &[&[Param::Typed(246, 0, b"\x044.00")]],
        )
        .await;
        // A key in one execution, keys in several in the next.
        pair.all(
            "SELECT id, name FROM customers WHERE id IN (?, ?, ?) ORDER BY id",
            &[&[int(1), int(3), int(5)], &[int(1), int(2), int(8)], &[int(4), int(4), int(6)]],
        )
        .await;
        pair.all("SELECT id FROM customers WHERE name = ? ORDER BY id", &[&[Param::Text(b"nobody")]]).await;
        // Rows at once in the place of a cursor, as of statements for which servers open none.
        let both = pair.prepare("SELECT id FROM customers WHERE id > ? ORDER BY id").await;
        pair.ours.send_execute(both.ours, READ_ONLY_CURSOR, &[int(3)], true).await;
        let rows = pair.ours.outcome().await.rows();
        assert!(rows.rows.len() == 5 && !rows.end.status.contains(Status::CURSOR_EXISTS), "{rows:?}");
        pair.execute(both, &[int(6)]).await;
    }
}

async fn parameters_are_the_clients_wherever_an_edit_puts_them(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let mut pair = Pair::of(&split).await;
    fill(&split, &mut pair.ours, &mut pair.theirs).await;
    let int = Param::Int;
    for (sql, executions) in [
        (
            "SELECT score, COUNT(*) FROM customers WHERE id > ? GROUP BY score HAVING COUNT(*) >= 1 ORDER BY score LIMIT ?",
            [&[int(0), int(5)][..], &[int(1), int(2)]],
        ),
        (
            "SELECT DISTINCT score FROM customers WHERE id <> ? ORDER BY score LIMIT ? OFFSET ?",
            [&[int(1), int(2), int(1)], &[int(5), int(9), int(0)]],
        ),
        (
            "SELECT id FROM customers WHERE id > ? ORDER BY name DESC, id LIMIT 3 OFFSET ?",
            [&[int(0), int(2)], &[int(2), int(0)]],
        ),
        (
            "SELECT COUNT(*), AVG(score) FROM customers WHERE name <> ? AND id < ?",
            [&[Param::Text(b"Bob"), int(8)], &[Param::Text(b"cid"), int(4)]],
        ),
    ] {
        let both = (pair.ours.prepare(sql).await.expect(sql), pair.theirs.prepare(sql).await.expect(sql));
        for params in executions {
            let ours = pair.ours.execute(both.0, params).await;
            let theirs = pair.theirs.execute(both.1, params).await.rows().rows;
            match ours {
                Outcome::Rows(ours) => assert_eq!(ours.rows, theirs, "{sql} {params:?}"),
                other => panic!("{sql}: {other:?}"),
            }
        }
    }
}

async fn prepared_statements_are_parts_of_transactions(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let mut pair = Pair::of(&split).await;
    fill(&split, &mut pair.ours, &mut pair.theirs).await;
    let point = pair.prepare("SELECT score FROM customers WHERE id = ?").await;
    let all = pair.prepare("SELECT id, score FROM customers WHERE id > ? ORDER BY id").await;
    let change = pair.prepare("UPDATE customers SET score = ? WHERE id = ?").await;
    let plain = pair.prepare("SELECT COUNT(*) FROM plain WHERE id > ?").await;
    let commit = pair.prepare("COMMIT").await;
    let tableless = pair.prepare("SELECT ? + 1").await;
    let int = Param::Int;
    for begins in ["BEGIN", "START TRANSACTION"] {
        pair.query(begins).await;
        for (statement, params) in [
            (point, &[int(1)][..]),
            (point, &[int(2)]),
            (change, &[int(90), int(1)]),
            (all, &[int(0)]),
            (plain, &[int(0)]),
            (tableless, &[int(1)]),
            (point, &[int(1)]),
        ] {
            pair.execute(statement, params).await;
        }
        match begins {
            "BEGIN" => pair.query("ROLLBACK").await,
            _ => pair.execute(commit, &[]).await,
        }
        pair.execute(all, &[int(0)]).await;
        pair.execute(commit, &[]).await;
    }
    // A statement that is prepared inside is none of the transaction's, wherever it is prepared.
    pair.query("BEGIN").await;
    pair.execute(change, &[int(91), int(2)]).await;
    let inside = pair.prepare("SELECT score FROM customers WHERE id = ? AND score > ?").await;
    let home = pair.prepare("SELECT text FROM plain WHERE id = ?").await;
    pair.execute(inside, &[int(2), int(0)]).await;
    pair.execute(home, &[int(1)]).await;
    pair.query("ROLLBACK").await;
    pair.execute(all, &[int(0)]).await;
    pair.query("SET autocommit = 0").await;
    pair.execute(point, &[int(1)]).await;
    pair.execute(change, &[int(92), int(3)]).await;
    pair.execute(commit, &[]).await;
    pair.query("SET autocommit = 1").await;
    pair.execute(all, &[int(0)]).await;
    // One writes in one place.
    pair.query("BEGIN").await;
    pair.execute(change, &[int(1), int(1)]).await;
    let error = pair.ours.execute(change.ours, &[int(1), int(2)]).await.err();
    assert_eq!(error.code, 1235, "{error}");
    pair.query("ROLLBACK").await;
    pair.execute(all, &[int(0)]).await;
}

async fn a_transaction_outlasts_what_is_read_of_several_shards(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let mut pair = Pair::of(&split).await;
    fill(&split, &mut pair.ours, &mut pair.theirs).await;
    let some = pair.prepare("SELECT id FROM customers WHERE id > ? ORDER BY id LIMIT 2").await;
    let mut elsewhere = Pair::of(&split).await;
    for (first, sql) in
        [(1, "SELECT id, score FROM customers ORDER BY id LIMIT 1"), (2, "SELECT COUNT(*) FROM customers")]
    {
        pair.query("BEGIN").await;
        pair.query(&format!("UPDATE customers SET score = score + 10 WHERE id = {first}")).await;
        pair.query(sql).await;
        pair.execute(some, &[Param::Int(0)]).await;
        pair.query("SELECT id, missing FROM customers ORDER BY id").await;
        // Of one moment, whatever others do: on all shards that it has read.
        elsewhere.query("UPDATE customers SET score = score + 1 WHERE id = 5").await;
        elsewhere.query("UPDATE customers SET score = score + 1 WHERE id = 6").await;
        pair.query("SELECT id, score FROM customers ORDER BY id").await;
        let error = pair.ours.error(format!("UPDATE customers SET score = 0 WHERE id = {}", first + 1)).await;
        assert_eq!(error.code, 1235, "{error}");
        pair.query("COMMIT").await;
        pair.query("SELECT id, score FROM customers ORDER BY id").await;
    }
    // A connection is not worth less for rows that LIMIT leaves.
    let opened = split.stage.proxy.metric("tidegate_pool_opened_total", &[]).await;
    for _ in 0..20 {
        pair.execute(some, &[Param::Int(1)]).await;
    }
    let after = split.stage.proxy.metric("tidegate_pool_opened_total", &[]).await;
    assert!(after <= opened + 2, "{opened} to {after} connections opened");
}

async fn what_no_shard_can_do_alone_is_refused(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let flags = Login::default().capabilities | Capabilities::STMT_BULK_OPERATIONS;
    let mut pair = Pair::with(&split, flags).await;
    fill(&split, &mut pair.ours, &mut pair.theirs).await;
    let int = Param::Int;
    for (sql, params, reason) in [
        ("UPDATE customers SET id = ? WHERE id = 1", &[int(2)][..], "changes-key"),
        ("SELECT id FROM customers WHERE id > 0 ORDER BY id LIMIT ?", &[Param::Int(-1)], "LIMIT"),
        ("SELECT id FROM customers WHERE id > 0 ORDER BY id LIMIT ?", &[Param::Null], "LIMIT"),
        ("DELETE FROM orders WHERE customer_id IN (?, ?) LIMIT 1", &[int(1), int(2)], "limit-across-shards"),
    ] {
        pair.refused(sql, params, reason).await;
    }
    for (sql, reason) in [
        ("UPDATE customers SET score = ?", "write-without-key"),
        ("INSERT INTO customers (name) VALUES (?)", "missing-key"),
        ("DROP TABLE customers", "definition"),
        ("SELECT @tidegate$p0, id FROM customers WHERE id = ?", "not-parsed"),
    ] {
        let error = pair.ours.prepare(sql).await.expect_err("refused");
        assert!(text(&error.message).contains(reason), "{sql}: {error}");
    }
    if !scenario.is_mysql() {
        let insert = pair.prepare("INSERT INTO orders (customer_id, id, total) VALUES (?, ?, 1)").await;
        for (types, rows) in [(true, &[(1, 70), (3, 71), (1, 72)][..]), (false, &[(2, 73), (4, 74)])] {
            for (client, statement) in [(&mut pair.ours, insert.ours), (&mut pair.theirs, insert.theirs)] {
                bulk(client, statement, rows, types).await.ok();
            }
        }
        pair.execute(insert, &[int(1), int(77)]).await;
    }
    // Nothing of it was done, and the session goes on.
    for sql in ["SELECT COUNT(*), SUM(score), MAX(id) FROM customers", "SELECT COUNT(*), SUM(id) FROM orders"]
    {
        pair.query(sql).await;
    }
}

/// COM_STMT_BULK_EXECUTE of rows with two numbers.
pub async fn bulk(client: &mut RawClient, statement: Prepared, rows: &[(i64, i64)], types: bool) -> Outcome {
    let mut payload = [&statement.id.to_le_bytes()[..], &[if types { 128 } else { 0 }, 0]].concat();
    payload.extend_from_slice(if types { &[8, 0, 8, 0] } else { &[] });
    for (one, other) in rows {
        payload.extend([&[0], &one.to_le_bytes()[..], &[0], &other.to_le_bytes()].concat());
    }
    client.command(com::STMT_BULK_EXECUTE, &payload).await;
    client.outcome().await
}

async fn statements_outlast_definitions_and_rules(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let mut pair = Pair::of(&split).await;
    fill(&split, &mut pair.ours, &mut pair.theirs).await;
    let (stage, cluster) = (&split.stage, &split.stage.cluster);
    let places = [
        (cluster, format!("{}_0", stage.schema)),
        (&split.second, format!("{}_1", stage.schema)),
        (cluster, split.whole.clone()),
    ];
    let point = pair.prepare("SELECT * FROM customers WHERE id = ?").await;
    let all = pair.prepare("SELECT * FROM customers WHERE id > ? ORDER BY id LIMIT 3").await;
    let int = Param::Int;
    for column in ["one", "two"] {
        for id in 1..=3 {
            pair.execute(point, &[int(id)]).await;
            pair.execute(all, &[int(id)]).await;
        }
        for (cluster, schema) in &places {
            cluster.run(0, &[&format!("ALTER TABLE {schema}.customers ADD COLUMN {column} INT")]).await;
        }
        cluster.caught_up().await;
    }
    pair.execute(point, &[int(4)]).await;
    pair.execute(all, &[int(4)]).await;
    // What is at home becomes sharded.
    for (cluster, schema) in &places {
        cluster.run(0, &[&format!("CREATE TABLE {schema}.later (id INT PRIMARY KEY, v INT)")]).await;
    }
    cluster.run(0, &[&format!("CREATE TABLE {}.later (id INT PRIMARY KEY, v INT)", stage.schema)]).await;
    cluster.caught_up().await;
    let insert = pair.prepare("INSERT INTO later (id, v) VALUES (?, ?)").await;
    let select = pair.prepare("SELECT id, v FROM later WHERE id > ? ORDER BY id").await;
    pair.execute(insert, &[int(1), int(1)]).await;
    pair.execute(select, &[int(0)]).await;
    pair.query("DELETE FROM later WHERE id = 1").await;
    let before = super::rules(&stage.schema, &split.second).yaml(cluster);
    stage.proxy.reload_text(&before.replace("customers: id\n", "customers: id\n          later: id\n"));
    stage.proxy.until_logged("the rules were read again changes=").await;
    for id in 1..=4 {
        pair.execute(insert, &[int(id), int(id)]).await;
        pair.execute(point, &[int(id)]).await;
    }
    pair.execute(select, &[int(0)]).await;
    pair.query("SELECT COUNT(*) FROM later").await;
    // And goes home again.
    stage.proxy.reload_text(&before);
    stage.proxy.until_logged("the rules were read again changes=").await;
    pair.execute(point, &[int(1)]).await;
}

both_dialects! {
    a_transaction_outlasts_what_is_read_of_several_shards,
    a_key_among_the_parameters_leads_to_its_shard,
    parameters_are_the_clients_wherever_an_edit_puts_them,
    prepared_statements_are_parts_of_transactions,
    reads_of_several_shards_are_one_binary_result,
    statements_outlast_definitions_and_rules,
    t42_types_need_not_be_sent_again,
    what_no_shard_can_do_alone_is_refused,
}
