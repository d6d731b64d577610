//! Tables of statements with their classes, one file per line of thought.

mod digests;
mod doubts;
mod languages;
mod outlines;
mod reads;
mod session;
mod tokens;

use super::*;

pub(crate) const MYSQL: Lexing = Lexing {
    ansi_quotes: false,
    no_backslash_escapes: false,
    charset: LexCharset::AsciiSafe,
    server: ServerVersion { dialect: Dialect::MySql, number: 90_704 },
};

pub(crate) const MARIADB: Lexing =
    Lexing { server: ServerVersion { dialect: Dialect::MariaDb, number: 101_119 }, ..MYSQL };

/// Asserts class and exact uses in MySQL.
#[track_caller]
fn mysql(sql: &str, class: Class, uses: Uses) {
    check(sql, &MYSQL, class, uses);
}

/// Asserts class and exact uses in MariaDB.
#[track_caller]
fn mariadb(sql: &str, class: Class, uses: Uses) {
    check(sql, &MARIADB, class, uses);
}

/// Asserts class and exact uses in both dialects.
#[track_caller]
fn both(sql: &str, class: Class, uses: Uses) {
    mysql(sql, class, uses);
    mariadb(sql, class, uses);
}

#[track_caller]
fn check(sql: &str, lexing: &Lexing, class: Class, uses: Uses) {
    let found = recognise(sql.as_bytes(), lexing);
    assert_eq!((found.class, found.uses), (class, uses), "{:?}: {sql}", lexing.server.dialect);
}
