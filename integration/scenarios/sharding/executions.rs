//! Executions whose values lead a change to several places: told as one server tells of them, done everywhere or nowhere.

use mysql_async::prelude::Queryable;
use tidegate::wire::capabilities::Capabilities;

use super::prepared::{Pair, bulk, text};
use super::{Split, fill, tell};
use crate::harness::packets::Param;
use crate::harness::{Login, Scenario};

both_dialects! {
    a_prepared_change_goes_to_all_its_shards,
    a_prepared_change_of_a_reference_table_is_made_on_every_copy,
    rows_of_a_bulk_go_to_their_shards,
}

const ALL: [&str; 2] = [
    "SELECT id, name, score FROM customers ORDER BY id",
    "SELECT customer_id, id, total FROM orders ORDER BY customer_id, id",
];

async fn a_prepared_change_goes_to_all_its_shards(scenario: Scenario) {
    let split = Split::new(scenario).await;
    for flags in [Login::default().capabilities, Login::OLD] {
        let mut pair = Pair::with(&split, flags).await;
        let (int, name) = (Param::Int, Param::Text);
        pair.all(
            "INSERT INTO customers (id, name, score) VALUES (?, ?, ?), (?, UPPER(?), 7), (3, ?, ?)",
            &[
                &[int(1), name(b"a"), int(10), int(2), name(b"b"), name(b"c"), Param::Null],
                // There already, at the second shard.
                &[int(4), name(b"d"), int(1), int(5), name(b"e"), name(b"f"), int(3)],
            ],
        )
        .await;
        pair.all(
            "INSERT INTO customers (id, score) VALUES (?, ?), (?, ?) ON DUPLICATE KEY UPDATE score = VALUES(score) + ?",
            &[
                &[int(1), int(5), int(2), int(6), int(100)],
                &[int(8), int(5), int(2), int(6), int(200)],
                &[int(9), int(5), int(11), int(6), int(200)],
            ],
        )
        .await;
        let update =
            pair.prepare("UPDATE customers SET score = score + ?, name = ? WHERE id IN (?, ?, ?)").await;
        pair.execute(update, &[int(1), name(b"u"), int(1), int(2), int(9)]).await;
        pair.execute_as(update, 0, &[int(2), name(b"v"), int(2), int(8), int(1)], false).await; // without types
        pair.execute(update, &[int(3), name(b"w"), int(1), int(9), int(9)]).await; // in one shard
        pair.execute(update, &[int(3), name(&[b'x'; 60]), int(1), int(2), int(9)]).await; // too long
        pair.all(
            "REPLACE INTO customers (name, id) VALUES (?, ?), (?, ?)",
            &[&[name(b"r"), int(8), name(b"s"), int(9)]],
        )
        .await;
        pair.all(
            "INSERT IGNORE INTO customers (id, name) VALUES (?, ?), (?, ?)",
            &[&[int(8), name(b"i"), int(21), name(b"i")], &[int(23), name(b"i"), int(25), name(b"i")]],
        )
        .await;
        for sql in ALL {
            pair.query(sql).await;
        }
        pair.all("DELETE FROM customers WHERE id IN (?, ?)", &[&[int(8), int(9)], &[int(8), int(9)]]).await;
        pair.all("DELETE FROM customers WHERE id BETWEEN ? AND ?", &[&[int(1), int(30)]]).await;
        pair.query(ALL[0]).await;
    }
    // Within a transaction it is refused, as its text is.
    let mut pair = Pair::of(&split).await;
    pair.query("BEGIN").await;
    pair.refused(
        "DELETE FROM customers WHERE id IN (?, ?)",
        &[Param::Int(1), Param::Int(2)],
        "in several places",
    )
    .await;
    pair.query("ROLLBACK").await;
}

async fn a_prepared_change_of_a_reference_table_is_made_on_every_copy(scenario: Scenario) {
    let split = Split::new(scenario).await;
    let mut pair = Pair::of(&split).await;
    let (int, name) = (Param::Int, Param::Text);
    pair.all(
        "INSERT INTO countries (id, name) VALUES (?, ?), (?, CONCAT(?, '!'))",
        &[&[int(1), name(b"one"), int(2), name(b"two")], &[int(3), name(b"three"), int(1), name(b"again")]],
    )
    .await;
    pair.all("UPDATE countries SET name = ? WHERE id < ?", &[&[name(b"first"), int(2)]]).await;
    pair.all("DELETE FROM countries WHERE name = ?", &[&[name(b"two!")], &[name(b"two!")]]).await;
    pair.query("SELECT id, name FROM countries ORDER BY id").await;
    let schema = &split.stage.schema;
    for (cluster, database) in [
        (&split.stage.cluster, schema.clone()),
        (&split.stage.cluster, format!("{schema}_0")),
        (&split.second, format!("{schema}_1")),
    ] {
        let rows: Vec<(i32, String)> = cluster
            .root(0)
            .await
            .query(format!("SELECT id, name FROM {database}.countries ORDER BY id"))
            .await
            .unwrap();
        assert_eq!(rows, [(1, "first".to_owned())], "{database}");
    }
}

async fn rows_of_a_bulk_go_to_their_shards(scenario: Scenario) {
    if scenario.is_mysql() {
        return; // it has no such command
    }
    let split = Split::new(scenario).await;
    let flags = Login::default().capabilities | Capabilities::STMT_BULK_OPERATIONS;
    let mut pair = Pair::with(&split, flags).await;
    fill(&split, &mut pair.ours, &mut pair.theirs).await;
    let own = split.names();
    let insert = pair.prepare("INSERT INTO orders (customer_id, id, total) VALUES (?, ?, 1)").await;
    let twice = pair
        .prepare(
            "INSERT INTO orders (customer_id, id) VALUES (?, ?) ON DUPLICATE KEY UPDATE total = total + 1",
        )
        .await;
    let update = pair.prepare("UPDATE orders SET total = total * 2 WHERE customer_id = ? AND id < ?").await;
    let unlisted = pair.prepare("INSERT INTO orders VALUES (?, ?, NULL)").await;
    let delete = pair.prepare("DELETE FROM orders WHERE customer_id = ? AND id = ?").await;
    for (statement, types, rows) in [
        (insert, true, &[(1, 70), (2, 71), (1, 72), (4, 73)][..]),
        (insert, false, &[(1, 74), (2, 75)]),
        (insert, true, &[(2, 80), (3, 70), (1, 70)]), // the last is there already
        (twice, true, &[(1, 70), (2, 90), (2, 71)]),
        (update, true, &[(1, 72), (2, 80), (8, 9)]),
        (delete, true, &[(1, 70), (2, 71), (2, 999)]),
        (insert, true, &[(5, 1000), (7, 1000)]),
        (unlisted, true, &[(6, 1001), (7, 1001), (8, 1001)]),
        (unlisted, false, &[(1, 1002), (3, 1002)]),
    ] {
        let ours = tell(bulk(&mut pair.ours, statement.ours, rows, types).await, &own);
        let theirs = tell(bulk(&mut pair.theirs, statement.theirs, rows, types).await, &own);
        assert_eq!(ours, theirs, "{rows:?}");
        pair.query(ALL[1]).await;
    }
    pair.execute(insert, &[Param::Int(1), Param::Int(177)]).await;
    let copies = pair.prepare("INSERT INTO countries (id, name) VALUES (?, ?)").await;
    let error = bulk(&mut pair.ours, copies.ours, &[(1, 75), (2, 76)], true).await.err();
    assert!(text(&error.message).contains("reference table"), "{error}");
}
