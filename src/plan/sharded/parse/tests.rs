//! Hostile statements: nothing panics, overflows the stack or takes long, in a thread with the stack of a worker.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::text::Text;
use super::{Modes, NoTree, parse};
use crate::sql::tests::{MARIADB, MYSQL};

/// The stack of a thread of the standard library.
const STACK: usize = 2 << 20;
/// Far more than any statement of these takes, on a busy machine.
const LONG: Duration = Duration::from_secs(20);

fn outcome(sql: &[u8]) -> Result<(), NoTree> {
    for lexing in [&MYSQL, &MARIADB] {
        parse(Text::new(sql, lexing), 0, Modes::default()).1?;
    }
    Ok(())
}

/// Parses and drops on a small stack, and not for long.
fn survives(sql: String) -> Result<(), NoTree> {
    let run = move || {
        let start = Instant::now();
        let outcome = outcome(sql.as_bytes());
        assert!(start.elapsed() < LONG, "{}", &sql[..sql.len().min(80)]);
        outcome
    };
    std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap()
}

#[test]
fn long_chains_are_flat() {
    for operator in [" OR ", " AND ", " XOR ", " + ", " * ", " = ", " ^ ", " | ", ", "] {
        let chain = vec!["a"; 8_000].join(operator);
        assert_eq!(survives(format!("SELECT {chain} FROM t WHERE a IN ({chain})")), Ok(()), "{operator}");
    }
}

#[test]
fn what_nests_is_bounded() {
    for (open, close) in [
        ("(", ")"),
        ("NOT ", ""),
        ("-", ""),
        ("!", ""),
        ("BINARY ", ""),
        ("@a:=", ""),
        ("f(", ")"),
        ("CASE WHEN ", " THEN 1 END"),
        ("(SELECT ", ")"),
        ("EXISTS (SELECT 1 FROM t WHERE ", ")"),
        ("a IN (SELECT ", ")"),
        ("a IN (", ")"),
    ] {
        for depth in [8, 40, 60, 200, 20_000] {
            let expression = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let parsed = survives(format!("SELECT {expression} FROM t WHERE {expression}"));
            assert!(depth > 8 || parsed.is_ok(), "{open} {depth}: {parsed:?}");
            assert!(depth < 200 || parsed.is_err(), "{open} {depth}");
        }
    }
}

#[test]
fn tables_that_nest_are_bounded() {
    for depth in [5, 20, 60, 20_000] {
        let (open, close) = ("(".repeat(depth), ")".repeat(depth));
        let joins = "JOIN t ".repeat(depth);
        let unions = "UNION SELECT 1 ".repeat(depth);
        let derived = format!("{}SELECT 1{}", "SELECT * FROM (".repeat(depth), ") x".repeat(depth));
        let odd = format!("{}t{}", "(SELECT 1 FROM (".repeat(depth), ") JOIN t)".repeat(depth));
        for sql in [
            format!("SELECT * FROM {open}t{close}"),
            format!("SELECT * FROM {open}t JOIN u{close}"),
            format!("SELECT * FROM t {joins}"),
            format!("SELECT 1 {unions}"),
            format!("{open}SELECT 1{close}"),
            format!("SELECT * FROM {odd}"),
            derived,
            format!("WITH {}a AS (SELECT 1) SELECT 1", "a AS (SELECT 1), ".repeat(depth)),
            format!("SELECT 1 IS NULL{}", " IS NULL".repeat(depth)),
        ] {
            drop(survives(sql));
        }
    }
}

/// Words and marks from which statements are made that are nearly right.
const PIECES: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "t",
    "u",
    "a",
    "b",
    "1",
    "'x'",
    "?",
    "(",
    ")",
    ",",
    ".",
    "*",
    "=",
    "<=>",
    "AND",
    "OR",
    "NOT",
    "IN",
    "BETWEEN",
    "JOIN",
    "LEFT",
    "ON",
    "USING",
    "GROUP",
    "BY",
    "ORDER",
    "LIMIT",
    "UNION",
    "ALL",
    "WITH",
    "AS",
    "INSERT",
    "INTO",
    "VALUES",
    "SET",
    "UPDATE",
    "DELETE",
    "REPLACE",
    "DUPLICATE",
    "KEY",
    "CASE",
    "WHEN",
    "THEN",
    "END",
    "EXISTS",
    "INTERVAL",
    "DAY",
    "@a",
    ":=",
    "OVER",
    "PARTITION",
    "LATERAL",
    "FOR",
    "SHARE",
    "LOCK",
    "MODE",
    "RETURNING",
    "`q`",
    "\"s\"",
    "/*!50000",
    "*/",
    "-- x\n",
    "->",
    "||",
    "&&",
    ";",
    "{",
    "}",
    "COUNT",
    "DISTINCT",
    "ROW",
    "NATURAL",
    "STRAIGHT_JOIN",
    "USE",
    "INDEX",
    "WINDOW",
    "ROLLUP",
    "OFFSET",
    "NULL",
    "DEFAULT",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_parsed_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(outcome(&bytes));
    }

    #[test]
    fn any_words_are_parsed_or_not(words in proptest::collection::vec(proptest::sample::select(PIECES), 0..60)) {
        drop(outcome(words.join(" ").as_bytes()));
        drop(outcome(format!("SELECT {}", words.join(" ")).as_bytes()));
    }
}
