//! Cursors and long data of prepared statements on sharded tables: they stay where they are, and find their statement again.

use tidegate::wire::command as com;
use tidegate::wire::ok::Status;

use super::Split;
use super::key_types::keyspaces;
use super::prepared::{Both, Pair, READ_ONLY_CURSOR};
use crate::harness::packets::Param;
use crate::harness::{Cluster, Scenario};

both_dialects! {
    cursors_stay_where_they_were_opened,
    long_data_waits_until_its_shard_is_known,
}

/// Opens a cursor in both sessions.
async fn open(pair: &mut Pair, both: Both, params: &[Param<'_>]) {
    for (client, statement) in [(&mut pair.ours, both.ours), (&mut pair.theirs, both.theirs)] {
        client.send_execute(statement, READ_ONLY_CURSOR, params, true).await;
        let columns = client.read().await[0];
        for _ in 0..columns {
            client.read().await;
        }
        let opened = client.rows(vec![]).await.rows();
        assert!(opened.rows.is_empty() && opened.end.status.contains(Status::CURSOR_EXISTS), "{opened:?}");
    }
}

async fn fetch(pair: &mut Pair, both: Both) {
    let mut told = Vec::new();
    for (client, statement) in [(&mut pair.ours, both.ours), (&mut pair.theirs, both.theirs)] {
        let fetch = [&statement.id.to_le_bytes()[..], &2u32.to_le_bytes()].concat();
        client.command(com::STMT_FETCH, &fetch).await;
        let rows = client.rows(vec![]).await.rows();
        told.push((rows.rows, rows.end.status.contains(Status::LAST_ROW_SENT)));
    }
    assert_eq!(told[0], told[1]);
}

async fn cursors_stay_where_they_were_opened(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let mut pair = Pair::of(&split).await;
    let int = Param::Int;
    let insert = pair.prepare("INSERT INTO orders (customer_id, id, total) VALUES (?, ?, 1)").await;
    let home = pair.prepare("INSERT INTO plain VALUES (?, 'x')").await;
    for id in 1..=5 {
        pair.execute(insert, &[int(1), int(id)]).await;
        pair.execute(insert, &[int(2), int(id + 10)]).await;
        pair.execute(home, &[int(id)]).await;
    }
    let sql = "SELECT id FROM orders WHERE customer_id = ? ORDER BY id";
    let (first, second) = (pair.prepare(sql).await, pair.prepare(sql).await);
    let plain = pair.prepare("SELECT id FROM plain WHERE id > ? ORDER BY id").await;
    open(&mut pair, first, &[int(1)]).await;
    open(&mut pair, second, &[int(2)]).await;
    open(&mut pair, plain, &[int(0)]).await;
    for both in [first, plain, second, second, first, plain] {
        fetch(&mut pair, both).await;
        pair.query("SELECT COUNT(*) FROM plain").await;
        pair.query("SELECT COUNT(*) FROM orders").await;
    }
    // Opened again elsewhere: the one before is gone.
    open(&mut pair, first, &[int(2)]).await;
    open(&mut pair, second, &[int(1)]).await;
    fetch(&mut pair, first).await;
    fetch(&mut pair, second).await;
    for (client, id) in [(&mut pair.ours, first.ours.id), (&mut pair.theirs, first.theirs.id)] {
        client.command(com::STMT_RESET, &id.to_le_bytes()).await;
        client.outcome().await.ok();
        client.command(com::STMT_FETCH, &[&id.to_le_bytes()[..], &2u32.to_le_bytes()].concat()).await;
        let error = client.outcome().await.err();
        assert_eq!(error.code, 1421, "{error}");
    }
    fetch(&mut pair, second).await;
    pair.close(second).await;
    pair.close(plain).await;
    // One that has had a cursor gives its rows at once elsewhere.
    let several = pair.prepare("SELECT id FROM orders WHERE customer_id IN (?, ?) ORDER BY id").await;
    open(&mut pair, several, &[int(1), int(3)]).await;
    for _ in 0..3 {
        fetch(&mut pair, several).await;
    }
    pair.ours.send_execute(several.ours, READ_ONLY_CURSOR, &[int(1), int(2)], true).await;
    assert_eq!(pair.ours.outcome().await.rows().rows.len(), 10);
    pair.close(several).await;
    // Nothing holds a connection any more.
    let pinned = async || {
        split
            .stage
            .proxy
            .until_metric("tidegate_pinned_sessions", &["reason=\"cursor\""], |sessions| sessions == 0)
            .await
    };
    pinned().await;
    open(&mut pair, first, &[int(1)]).await;
    pair.ours.command(com::RESET_CONNECTION, &[]).await;
    pair.ours.outcome().await.ok();
    pinned().await;
}

async fn long_data_waits_until_its_shard_is_known(scenario: Scenario) {
    let split = Split::of(
        scenario,
        Cluster::own(scenario.dialect, 0),
        &[
            "notes (k VARCHAR(40) COLLATE utf8mb4_bin PRIMARY KEY, data LONGTEXT)",
            "plain (id INT PRIMARY KEY, data LONGTEXT)",
        ],
        |schema, second| keyspaces(schema, second, &[("string, collation: utf8mb4_bin", "notes: k")]),
    )
    .await;
    let mut pair = Pair::of(&split).await;
    let part = vec![b'x'; 1 << 20];
    let insert = pair.prepare("INSERT INTO notes (k, data) VALUES (?, ?)").await;
    let home = pair.prepare("INSERT INTO plain (id, data) VALUES (?, ?)").await;
    for round in 0..4u8 {
        let key = format!("key {round}");
        send(&mut pair, insert, 0, &key.as_bytes()[..3]).await;
        send(&mut pair, home, 1, b"at home").await;
        for _ in 0..2 {
            send(&mut pair, insert, 1, &part).await;
        }
        pair.query("SELECT COUNT(*) FROM notes").await;
        send(&mut pair, insert, 0, &key.as_bytes()[3..]).await;
        pair.execute(insert, &[Param::Sent, Param::Sent]).await;
        pair.execute(home, &[Param::Int(round.into()), Param::Sent]).await;
        pair.execute(insert, &[Param::Text(format!("without {round}").as_bytes()), Param::Null]).await;
    }
    // What was sent can be taken back.
    send(&mut pair, insert, 1, b"gone").await;
    for (client, id) in [(&mut pair.ours, insert.ours.id), (&mut pair.theirs, insert.theirs.id)] {
        client.command(com::STMT_RESET, &id.to_le_bytes()).await;
        client.outcome().await.ok();
    }
    pair.execute(insert, &[Param::Text(b"kept"), Param::Text(b"kept")]).await;
    let lengths = "SELECT k, LENGTH(data) FROM notes WHERE k = ?";
    let keys = ["key 0", "key 1", "key 2", "key 3", "without 0", "kept"];
    let lengths = pair.prepare(lengths).await;
    for key in keys {
        pair.execute(lengths, &[Param::Text(key.as_bytes())]).await;
    }
    pair.query("SELECT id, data FROM plain").await;
}

/// COM_STMT_SEND_LONG_DATA to both.
async fn send(pair: &mut Pair, both: Both, parameter: u16, bytes: &[u8]) {
    for (client, id) in [(&mut pair.ours, both.ours.id), (&mut pair.theirs, both.theirs.id)] {
        let head = [&id.to_le_bytes()[..], &parameter.to_le_bytes()].concat();
        client.command(com::STMT_SEND_LONG_DATA, &[&head[..], bytes].concat()).await;
    }
}
