//! Whether a statement uses a table: MariaDB clears the warnings of the statement before for those that do, and for no others.
//!
//! Owns: which reading statements do (tried with 88 kinds on MariaDB 10.11). Does not know: what warnings there are.
//! Invariant: in doubt, it uses one.

use super::lexer::{Kind, Token};
use super::model::Lexing;
use super::outline::Outline;
use super::phrase::{Phrase, tokens};

/// Whether no statement of the packet uses a table. A derived table and a common table expression are some; subqueries and UNION
/// without tables are none, and neither is what HELP reads.
pub fn uses_no_table(sql: &[u8], lexing: &Lexing) -> bool {
    let tokens = tokens(sql, lexing);
    let all = tokens.split(|token| token.kind == Kind::Punct(b';')).all(|tokens| is_tableless(sql, tokens));
    all && Outline::of(sql, lexing).tables.is_empty()
}

/// As far as the names of tables do not tell.
fn is_tableless(sql: &[u8], tokens: &[Token]) -> bool {
    let is = |token: &Token, words: &[&[u8]]| {
        token.kind == Kind::Word && words.iter().any(|word| token.text(sql).eq_ignore_ascii_case(word))
    };
    let mut words = Phrase { sql, tokens };
    let reads = || tokens.iter().any(|token| is(token, &[b"select", b"values"]));
    let derived = |pair: &[Token]| is(&pair[0], &[b"from", b"join"]) && pair[1].kind == Kind::Punct(b'(');
    match &*words.word().to_ascii_lowercase() {
        b"with" => false,
        b"show" => shows_no_table(words),
        // They describe a table where they do not explain a statement.
        b"explain" | b"describe" | b"desc" => reads() && !tokens.windows(2).any(derived),
        _ => !tokens.windows(2).any(derived),
    }
}

/// Whether a SHOW reads what is no table to MariaDB: most of them read tables of `information_schema` (51 were tried).
fn shows_no_table(mut words: Phrase<'_>) -> bool {
    match &*words.word().to_ascii_lowercase() {
        b"all" | b"authors" | b"binary" | b"binlog" | b"contributors" | b"engine" | b"grants" | b"master"
        | b"privileges" | b"processlist" | b"profiles" | b"relaylog" | b"replica" | b"slave" => true,
        b"full" => words.word().eq_ignore_ascii_case(b"processlist"),
        b"create" => matches!(
            &*words.word().to_ascii_lowercase(),
            b"database"
                | b"event"
                | b"function"
                | b"package"
                | b"procedure"
                | b"schema"
                | b"trigger"
                | b"user"
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::MARIADB;
    use super::*;

    #[test]
    fn tables_of_every_kind_count() {
        for sql in [
            "SELECT * FROM t",
            "SELECT 1 FROM (SELECT 1) t",
            "WITH q AS (SELECT 1 AS a) SELECT * FROM q",
            "SELECT 1; SELECT 1 FROM (SELECT 1) t",
            "EXPLAIN SELECT * FROM t",
            "DESC t",
            "EXPLAIN t",
            "SHOW TABLES",
            "SHOW FULL TABLES",
            "SHOW CREATE TABLE t",
            "INSERT INTO t VALUES (1)",
            "SELECT (SELECT a FROM t)",
        ] {
            assert!(!uses_no_table(sql.as_bytes(), &MARIADB), "{sql}");
        }
    }

    #[test]
    fn what_reads_no_table_is_told() {
        for sql in [
            "SELECT 1",
            "SELECT 1 UNION SELECT 2",
            "SELECT 1 IN (SELECT 2)",
            "SELECT TRIM('a' FROM 'b')",
            "SELECT 1 FROM DUAL",
            "EXPLAIN SELECT 1",
            "HELP 'nothing'",
            "SET @a = (SELECT 1)",
            "VALUES (1)",
            "SHOW GRANTS",
            "SHOW FULL PROCESSLIST",
            "SHOW CREATE DATABASE a",
            "SHOW CREATE PROCEDURE a.p",
        ] {
            assert!(uses_no_table(sql.as_bytes(), &MARIADB), "{sql}");
        }
    }
}
