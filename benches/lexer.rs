//! Nanoseconds per statement of the lexer's two hot functions, best of many rounds.

#![allow(clippy::print_stdout)] // a benchmark's only way to speak

use std::hint::black_box;
use std::time::Instant;

use tidegate::sql::{Dialect, LexCharset, Lexing, ServerVersion, digest, recognise};

const LEXING: Lexing = Lexing {
    ansi_quotes: false,
    no_backslash_escapes: false,
    charset: LexCharset::AsciiSafe,
    server: ServerVersion { dialect: Dialect::MySql, number: 90_704 },
};

/// Rounds, and runs in a round.
const ROUNDS: u32 = 50;
const RUNS: u32 = 2_000;

fn main() {
    let rows: Vec<String> = (0..100)
        .map(|row| {
            format!("({row},{},'68487932199-96439406143-93774651418','67847967377-48000963322')", row * 7)
        })
        .collect();
    let insert = format!("INSERT INTO sbtest1 (id, k, c, pad) VALUES {}", rows.join(", "));
    let statements = [
        ("point select", "SELECT c FROM sbtest1 WHERE id=5023".to_owned()),
        (
            "range",
            "SELECT id, k, c, pad, t FROM sbtest1 WHERE id BETWEEN 4990 AND 5089 ORDER BY c".to_owned(),
        ),
        ("100-row INSERT", insert),
    ];
    println!("{:<16} {:>8} {:>14} {:>11}", "statement", "bytes", "recognise ns", "digest ns");
    for (name, sql) in statements {
        let recognised = best(|| {
            black_box(recognise(black_box(sql.as_bytes()), &LEXING));
        });
        let digested = best(|| {
            black_box(digest(black_box(sql.as_bytes()), &LEXING));
        });
        println!("{name:<16} {:>8} {recognised:>14.0} {digested:>11.0}", sql.len());
    }
}

/// Nanoseconds of one run in the best round.
fn best(mut run: impl FnMut()) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..RUNS).for_each(|_| run());
            start.elapsed().as_nanos() as f64 / f64::from(RUNS)
        })
        .fold(f64::INFINITY, f64::min)
}
