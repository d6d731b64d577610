//! Nanoseconds per statement of the lexer's two hot functions, and of counting a statement by its digest; best of many
//! rounds.

#![allow(clippy::print_stdout)] // a benchmark's only way to speak

use std::hint::black_box;
use std::time::{Duration, Instant};

use tidegate::observe::{Digests, Execution};
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

/// Other digests in the table.
const OTHERS: u64 = 1_000;

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
        ("update", "UPDATE sbtest1 SET k=k+1 WHERE id=5023".to_owned()),
        ("ORM select", orm_select()),
        ("100-row INSERT", insert),
    ];
    let mut digests = Digests::default();
    for other in 0..OTHERS {
        digests.place(other.wrapping_mul(0x9E37_79B9_7F4A_7C15), Vec::new);
    }
    let execution =
        Execution { took: Duration::from_micros(80), rows: 1, failed: false, route: 2, reason: 0 };
    println!(
        "{:<16} {:>8} {:>14} {:>11} {:>11}",
        "statement", "bytes", "recognise ns", "digest ns", "count ns"
    );
    for (name, sql) in statements {
        let recognised = best(|| {
            black_box(recognise(black_box(sql.as_bytes()), &LEXING));
        });
        let digested = best(|| {
            black_box(digest(black_box(sql.as_bytes()), &LEXING));
        });
        let known = digest(sql.as_bytes(), &LEXING);
        let counted = best(|| {
            let place = digests.place(black_box(known), Vec::new);
            digests.count(place, known, black_box(&execution));
        });
        println!("{name:<16} {:>8} {recognised:>14.0} {digested:>11.0} {counted:>11.0}", sql.len());
    }
}

/// As ORMs write it: each column with its table and an alias.
fn orm_select() -> String {
    let columns: Vec<_> = (0..20).map(|n| format!("`orders`.`field_{n}` AS `orders_field_{n}`")).collect();
    format!(
        "SELECT {} FROM `orders` LEFT OUTER JOIN `customers` ON `customers`.`id` = `orders`.`customer_id` \
         WHERE `orders`.`state` IN ('open', 'paid', 'sent') AND `customers`.`id` = 4711 LIMIT 50",
        columns.join(", ")
    )
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
