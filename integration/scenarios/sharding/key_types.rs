//! Keys of each type among the parameters of prepared statements: found in whatever type a client sends them.

use std::slice;

use super::Split;
use super::prepared::{Both, Pair};
use crate::harness::packets::Param;
use crate::harness::{Cluster, Rules, Scenario};

both_dialects! {
    keys_of_all_types_are_found_however_they_are_sent,
}

/// Rules with keyspaces of two shards by hash: the lines of each one's key, and its table.
pub fn keyspaces(schema: &str, second: &Cluster, keyspaces: &[(&str, &str)]) -> Rules {
    let server = &second.servers[0];
    let mut top = format!(
        "default_cluster: main\ndatabases:\n  {schema}:\n    home: {{cluster: main, schema: {schema}}}\n    keyspaces:"
    );
    for (at, (key, table)) in keyspaces.iter().enumerate() {
        let key = key.replace(", ", "\n        ");
        top += &format!(
            "\n      space{at}:\n        method: hash\n        key_type: {key}\n        slots: 64\n        shards:\n          \
             s0: {{cluster: main, schema: {schema}_0, slots: 0-31}}\n          s1: {{cluster: second, schema: {schema}_1, slots: 32-63}}\n        \
             tables:\n          {table}"
        );
    }
    let clusters = format!("  second:\n    servers: [\"{}:{}\"]\n", server.host, server.port);
    Rules { top, clusters, reads: "consistency: session".into(), ..Rules::default() }
}

/// Tables with keys of each type, and their keyspaces.
const TYPES: [(&str, &str, &str); 7] = [
    ("numbers (k BIGINT PRIMARY KEY, v INT)", "integer", "numbers: k"),
    (
        "texts (k VARCHAR(40) COLLATE utf8mb4_bin PRIMARY KEY, v INT)",
        "string, collation: utf8mb4_bin",
        "texts: k",
    ),
    ("decimals (k DECIMAL(10,2) PRIMARY KEY, v INT)", "decimal, scale: 2", "decimals: k"),
    ("strings (k VARBINARY(40) PRIMARY KEY, v INT)", "bytes", "strings: k"),
    ("uuids (k BINARY(16) PRIMARY KEY, v INT)", "uuid", "uuids: k"),
    ("days (k DATE PRIMARY KEY, v INT)", "date", "days: k"),
    ("moments (k DATETIME PRIMARY KEY, v INT)", "datetime", "moments: k"),
];

async fn keys_of_all_types_are_found_however_they_are_sent(scenario: Scenario) {
    let tables = TYPES.map(|(table, ..)| table);
    let rules = |schema: &str, second: &Cluster| {
        keyspaces(schema, second, &TYPES.map(|(_, key, table)| (key, table)))
    };
    let split = Split::of(scenario, Cluster::own(scenario.dialect, 0), &tables, rules).await;
    let mut pair = Pair::of(&split).await;
    let (blob, decimal, double, date, datetime) = (252, 246, 5, 10, 12);
    let (two, nine) = (2f64.to_le_bytes(), 9e15f64.to_le_bytes());
    let values: [(&str, &[Param<'_>]); 7] = [
        (
            "numbers",
            &[
                Param::Int(1),
                Param::Int(-7),
                Param::Text(b"2"),
                Param::Text(b" 3.0"),
                Param::Typed(double, 0, &two),
                Param::Typed(decimal, 0, b"\x034.0"),
                Param::Typed(1, 0x80, &[200]),
                Param::Typed(1, 0, &[200]),
                Param::Int(9_007_199_254_740_992),
                Param::Int(9_007_199_254_740_993),
                Param::Text(b"9007199254740993"),
                Param::Text(b"9007199254740994"),
                Param::Typed(double, 0, &nine),
                Param::Unsigned(u64::MAX),
            ],
        ),
        (
            "texts",
            &[
                Param::Text(b"abc"),
                Param::Text(b"ABC"),
                Param::Text(b"abc "),
                Param::Text(b""),
                Param::Text("d\u{e9}j\u{e0} vu \u{1f600}".as_bytes()),
                Param::Typed(blob, 0, b"\x03xyz"),
                Param::Text(b"it's \\ a 'test'"),
            ],
        ),
        (
            "decimals",
            &[
                Param::Typed(decimal, 0, b"\x041.50"),
                Param::Text(b"1.5"),
                Param::Int(3),
                Param::Text(b"3.00"),
                Param::Typed(double, 0, &two),
                Param::Int(-12),
            ],
        ),
        (
            "strings",
            &[
                Param::Typed(blob, 0, b"\x03a\xff\x01"),
                Param::Text(b"a"),
                Param::Typed(blob, 0, b"\x01a"),
                Param::Text(b""),
            ],
        ),
        (
            "uuids",
            &[
                Param::Typed(blob, 0, b"\x100123456789abcdef"),
                Param::Text(b"0123456789abcdeg"),
                Param::Text(b"0123456789abcdef"),
            ],
        ),
        (
            "days",
            &[
                Param::Typed(date, 0, &[4, 0xea, 7, 1, 5]),
                Param::Text(b"2026-01-05"),
                Param::Text(b"2026-1-6"),
                Param::Typed(datetime, 0, &[4, 0xea, 7, 2, 28]),
                Param::Typed(datetime, 0, &[7, 0xea, 7, 3, 1, 0, 0, 0]),
                Param::Typed(date, 0, &[7, 0xea, 7, 3, 2, 9, 9, 9]),
            ],
        ),
        (
            "moments",
            &[
                Param::Typed(datetime, 0, &[7, 0xea, 7, 1, 5, 10, 20, 30]),
                Param::Text(b"2026-01-05 10:20:30"),
                Param::Typed(date, 0, &[4, 0xea, 7, 1, 6]),
                Param::Text(b"2026-01-06 00:00:00"),
                Param::Typed(7, 0, &[11, 0xea, 7, 1, 7, 1, 2, 3, 0, 0, 0, 0]),
            ],
        ),
    ];
    for (table, keys) in values {
        let (insert, select) = (
            format!("INSERT INTO {table} (k, v) VALUES (?, ?)"),
            format!("SELECT k, v FROM {table} WHERE k = ?"),
        );
        let list = format!("SELECT COUNT(*) FROM {table} WHERE k IN (?, ?)");
        // Each by a statement of its own: MySQL goes on taking a parameter for what it was before.
        for (at, key) in keys.iter().enumerate() {
            // Equal ones are in one place, whose server refuses the second.
            pair.all(&insert, &[&[key.clone(), Param::Int(at as i64)]]).await;
        }
        for (at, key) in keys.iter().enumerate() {
            pair.all(&select, &[slice::from_ref(key)]).await;
            pair.all(&list, &[&[key.clone(), Param::Null]]).await;
            pair.all(&list, &[&[key.clone(), keys[(at + 1) % keys.len()].clone()]]).await;
        }
        // As here, whatever came before.
        let again = pair.ours.prepare(&select).await.expect("prepared");
        for key in keys {
            let theirs = pair.theirs.prepare(&select).await.expect("prepared");
            pair.execute(Both { ours: again, theirs }, slice::from_ref(key)).await;
        }
        pair.query(&format!("SELECT COUNT(*), SUM(v) FROM {table}")).await;
    }
    for (sql, value) in [
        ("UPDATE numbers SET v = 0 WHERE k = ?", Param::Text(b"5abc")),
        ("DELETE FROM numbers WHERE k = ?", Param::Typed(double, 0, &2.5f64.to_le_bytes())),
        ("DELETE FROM texts WHERE k = ?", Param::Int(5)),
        ("DELETE FROM days WHERE k = ?", Param::Typed(datetime, 0, &[7, 0xea, 7, 3, 1, 1, 0, 0])),
        ("DELETE FROM days WHERE k = ?", Param::Typed(date, 0, &[0])),
        ("INSERT INTO moments (k, v) VALUES (?, 1)", Param::Typed(11, 0, &[0])),
        ("INSERT INTO decimals (k, v) VALUES (?, 1)", Param::Text(b"1.005")),
    ] {
        pair.refused(sql, &[value], "doubtful-key").await;
    }
    pair.refused("INSERT INTO days (k, v) VALUES (?, 1)", &[Param::Null], "null-key").await;
}
