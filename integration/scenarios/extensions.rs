//! Capabilities of one dialect alone: MariaDB's extended ones, MySQL's optional metadata.

use tidegate::wire::capabilities::Capabilities;
use tidegate::wire::command as com;
use tidegate::wire::frame::lenenc;

use crate::harness::packets::{Param, Prepared};
use crate::harness::{Login, Outcome, RawClient, Rules, Scenario};

both_dialects! {
    what_a_dialect_has_is_offered,
    bulks_are_executed_where_they_are_prepared,
    progress_is_reported,
    extended_types_are_described,
    metadata_is_left_out_on_request,
}

/// A client that says what it can, as MariaDB's do.
fn with(flags: Capabilities) -> Login {
    let login = Login::with(flags);
    Login { capabilities: login.capabilities.difference(Capabilities::LONG_PASSWORD), ..login }
}

const EXTENDED: Capabilities =
    Capabilities::PROGRESS.union(Capabilities::STMT_BULK_OPERATIONS).union(Capabilities::EXTENDED_METADATA);

async fn what_a_dialect_has_is_offered(scenario: Scenario) {
    let stage = scenario.stage().await;
    let offered = stage.raw().await.greeting.capabilities;
    let server = stage.direct(with(Capabilities::empty())).await.greeting.capabilities;
    for flag in Capabilities::all().iter() {
        let ours = [Capabilities::SSL, Capabilities::COMPRESS, Capabilities::ZSTD_COMPRESSION];
        let expected = ours.contains(&flag) || server.contains(flag) && Capabilities::OFFERED.contains(flag);
        assert_eq!(offered.contains(flag), expected, "{flag:?}");
    }
    assert_eq!(offered.contains(EXTENDED), !scenario.is_mysql());
    assert_eq!(offered.contains(Capabilities::OPTIONAL_RESULTSET_METADATA), scenario.is_mysql());
}

/// COM_STMT_BULK_EXECUTE of rows with a number and a text.
async fn bulk(
    client: &mut RawClient,
    statement: Prepared,
    rows: &[(i64, Option<&str>)],
    types: bool,
) -> Outcome {
    let mut payload = statement.id.to_le_bytes().to_vec();
    payload.extend_from_slice(&[if types { 128 } else { 0 }, 0]);
    if types {
        payload.extend_from_slice(&[8, 0, 0xfd, 0]);
    }
    for (id, text) in rows {
        payload.push(0); // indicator: a value follows
        payload.extend_from_slice(&id.to_le_bytes());
        match text {
            Some(text) => payload.extend([&[0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()),
            None => payload.push(1), // indicator: NULL
        }
    }
    client.command(com::STMT_BULK_EXECUTE, &payload).await;
    client.outcomes().await.pop().expect("a result")
}

async fn bulks_are_executed_where_they_are_prepared(scenario: Scenario) {
    let stage = scenario.stage_with(Rules::pool("{max: 2}")).await;
    stage.given(&["CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20))"]).await;
    let mut client = stage.raw_with(with(EXTENDED)).await;
    let mut other = stage.raw_with(with(EXTENDED)).await;
    let statement = client.prepare("INSERT INTO t VALUES (?, ?)").await.unwrap();
    if scenario.is_mysql() {
        let error = bulk(&mut client, statement, &[(1, None)], true).await.err();
        return assert_eq!(error.code, 1047, "{error}");
    }
    let _unused = other.prepare("SELECT 1").await.unwrap();
    let theirs = other.prepare("INSERT INTO t VALUES (?, ?)").await.unwrap();
    let done =
        bulk(&mut client, statement, &[(1, Some("one")), (2, None), (3, Some("three"))], true).await.ok();
    assert_eq!((done.affected_rows, done.info.as_str()), (3, "Records: 3  Duplicates: 0  Warnings: 0"));
    // The other client has given no types yet on the connection that it gets now.
    let done = bulk(&mut other, theirs, &[(4, Some("four"))], true).await.ok();
    assert_eq!(done.affected_rows, 1);
    for round in 0..4 {
        // Without types: those of before hold, on whatever connection it runs.
        let ids = [10 + 2 * round, 11 + 2 * round];
        let mut busy = stage.raw_with(with(EXTENDED)).await;
        if round % 2 == 0 {
            busy.ok("BEGIN").await;
            busy.value("/* tidegate: primary */ SELECT 1").await;
        }
        let done = bulk(&mut client, statement, &[(ids[0], Some("x")), (ids[1], None)], false).await.ok();
        assert_eq!(done.affected_rows, 2);
        let single = client.execute(statement, &[Param::Int(100 + round), Param::Text(b"y")]).await;
        assert_eq!(single.ok().affected_rows, 1);
    }
    let error = bulk(&mut client, statement, &[(500, None), (1, None)], true).await.err();
    assert_eq!(error.code, 1062);
    let sql = "SELECT COUNT(*), COUNT(name) FROM t FOR UPDATE";
    let counted = client.select(sql).await.texts().remove(0);
    let found = stage.direct(with(EXTENDED)).await.select(sql).await.texts().remove(0);
    assert_eq!(counted, found);
    assert!(counted[0].as_deref() >= Some("16"), "{counted:?}");
    // One that did not ask for it may not.
    let mut plain = stage.raw().await;
    let statement = plain.prepare("INSERT INTO t VALUES (?, ?)").await.unwrap();
    assert_eq!(bulk(&mut plain, statement, &[(900, None)], true).await.err().code, 1047);
}

async fn progress_is_reported(scenario: Scenario) {
    if scenario.is_mysql() {
        return; // its servers report none
    }
    let stage = scenario.stage().await;
    let both = Capabilities::PROGRESS | Capabilities::COMPRESS;
    let mut client = stage.raw_with(with(both)).await;
    // A server reports once a second at most: it gets more to do until it takes that long.
    let mut rows = 300;
    while slow_alter(&mut client, rows).await == 0 {
        rows *= 3;
        assert!(rows < 100_000, "no report of {rows} rows");
    }
    let mut plain = stage.raw_with(with(Capabilities::empty())).await;
    assert_eq!(slow_alter(&mut plain, rows).await, 0, "a client that did not ask");
}

/// Runs a statement that is slow by what it computes for each row; gives the number of progress reports.
async fn slow_alter(client: &mut RawClient, rows: u32) -> usize {
    client.ok("SET progress_report_time = 1").await;
    // Temporary, so that replicas have nothing of it.
    client.ok("CREATE TEMPORARY TABLE t (id INT) ENGINE=InnoDB").await;
    client.ok(format!("INSERT INTO t SELECT seq FROM seq_1_to_{rows}")).await;
    let sum = "SHA2(REPEAT('x', 1000000 + id * 0), 512)";
    client
        .send_query(format!("ALTER TABLE t ADD COLUMN v CHAR(128) AS ({sum}) STORED, ALGORITHM=COPY"))
        .await;
    let mut reports = 0;
    let last = loop {
        let packet = client.read().await;
        if !packet.starts_with(&[0xff, 0xff, 0xff]) {
            break packet;
        }
        reports += 1;
    };
    assert_eq!(last[0], 0, "{last:02x?}");
    client.ok("DROP TEMPORARY TABLE t").await;
    assert_eq!(client.value("SELECT 7").await.unwrap(), "7");
    reports
}

async fn extended_types_are_described(scenario: Scenario) {
    if scenario.is_mysql() {
        return; // its servers have no such types
    }
    let stage = scenario.stage().await;
    stage.given(&["CREATE TABLE t (j JSON, p POINT, n INT)"]).await;
    for flags in [Capabilities::empty(), Capabilities::EXTENDED_METADATA] {
        let sql = "SELECT j, p, n, CONNECTION_ID() FROM t";
        let seen = stage.raw_with(with(flags)).await.select(sql).await.columns;
        assert_eq!(seen, stage.direct(with(flags)).await.select(sql).await.columns);
        let described = seen[0].windows(4).any(|text| text == b"json");
        assert_eq!(described, flags.contains(Capabilities::EXTENDED_METADATA));
        // What Tidegate answers itself is described as a server does it.
        let mut client = stage.raw_with(with(flags)).await;
        let mine = client.select("SELECT CONNECTION_ID()").await.columns;
        let theirs = stage.direct(with(flags)).await.select("SELECT CONNECTION_ID()").await.columns;
        assert_eq!(mine[0].len(), theirs[0].len());
    }
}

async fn metadata_is_left_out_on_request(scenario: Scenario) {
    if !scenario.is_mysql() {
        return; // its servers have nothing of the kind
    }
    let stage = scenario.stage_with(Rules::pool("{max: 1}")).await;
    let flag = Capabilities::OPTIONAL_RESULTSET_METADATA;
    for old in [false, true] {
        let mut login = with(flag);
        login.capabilities.set(Capabilities::DEPRECATE_EOF, !old);
        let mut plain = stage.raw().await;
        let mut client = stage.raw_with(login).await;
        let ends = usize::from(old);
        for (setting, definitions) in [("FULL", 1), ("NONE", 0), ("FULL", 1)] {
            client.ok(format!("SET resultset_metadata = '{setting}'")).await;
            for _ in 0..3 {
                // The connection has served another class in between.
                assert_eq!(plain.value("SELECT 7").await.unwrap(), "7");
                for (sql, counted) in [("SELECT 7, id FROM which", 2), ("SELECT CONNECTION_ID()", 1)] {
                    client.send_query(sql).await;
                    let header = client.read().await;
                    let (columns, follows) = lenenc(&header).unwrap();
                    assert_eq!(columns, counted);
                    let follow = follows == [1];
                    assert!(follow || definitions == 0, "{sql}: {header:?}");
                    let count = if follow { columns as usize } else { 0 };
                    for _ in 0..count + ends + 1 {
                        client.read().await;
                    }
                    let end = client.read().await;
                    assert_eq!(end[0], 0xfe, "{sql}: {end:02x?}");
                }
                client.command(com::STMT_PREPARE, b"SELECT ?, id FROM which").await;
                let first = client.read().await;
                assert_eq!((first[0], first[12]), (0, definitions));
                for _ in 0..3 * usize::from(definitions) + 2 * ends {
                    client.read().await;
                }
                let id = u32::from_le_bytes([first[1], first[2], first[3], first[4]]);
                client
                    .send_execute(Prepared { id, columns: 2, parameters: 1 }, 0, &[Param::Int(5)], true)
                    .await;
                assert_eq!(client.read().await, [2, definitions]);
                for _ in 0..2 * usize::from(definitions) + ends + 1 {
                    client.read().await;
                }
                assert_eq!(client.read().await[0], 0xfe);
            }
            client.ok("SET resultset_metadata = 'FULL'").await;
        }
    }
}
