//! What a definition is of: tables, accounts, or something else.
//!
//! Owns: the forms of CREATE, ALTER, DROP and their kin, as far as that takes. Does not know: what is defined, whether it succeeds.
//! Invariant: each answer errs to the side that its question names.

use super::lexer::{Kind, Token};
use super::model::Lexing;
use super::phrase::{Phrase, code, lower, tokens};

/// Whether a packet holds a statement about accounts, their passwords or their rights.
pub fn changes_accounts(sql: &[u8], lexing: &Lexing) -> bool {
    let tokens = tokens(sql, lexing);
    tokens.split(|token| token.kind == Kind::Punct(b';')).any(|tokens| {
        let mut words = Phrase { sql, tokens };
        match &*lower(words.word()) {
            b"grant" | b"revoke" => true,
            b"create" | b"alter" | b"drop" | b"rename" => {
                if words.take(b"or") {
                    words.word();
                }
                words.take(b"user") || words.take(b"role")
            }
            b"set" => words.take(b"password") || words.take(b"default"),
            b"flush" => tokens.iter().any(|token| token.text(sql).eq_ignore_ascii_case(b"privileges")),
            _ => false,
        }
    })
}

/// How many statements of one packet, that has succeeded, the server has counted as creating a table; `None` where that
/// cannot be told.
pub fn tables_created(sql: &[u8], lexing: &Lexing) -> Option<u64> {
    let tokens = tokens(sql, lexing);
    let mut words = Phrase { sql, tokens: &tokens };
    if !words.take(b"create") {
        // What SET STATEMENT wraps is not looked for.
        return (!words.take(b"set")).then_some(0);
    }
    if words.take(b"or") {
        words.take(b"replace");
    }
    words.take(b"temporary");
    Some(u64::from(words.take(b"table")))
}

/// Whether a definition is surely of something that is no table, and uses none: a database, an account, a routine.
pub fn defines_no_table(sql: &[u8], lexing: &Lexing) -> bool {
    let tokens: Vec<Token> = code(sql, lexing).take(5).collect();
    let mut words = Phrase { sql, tokens: &tokens };
    let mut takes = |all: &[&[u8]]| all.iter().any(|word| words.take(word));
    if takes(&[b"grant", b"revoke"]) {
        return true;
    }
    if takes(&[b"rename"]) {
        return takes(&[b"user"]);
    }
    let drops = takes(&[b"drop"]);
    if !drops && !takes(&[b"alter", b"create"]) {
        return false;
    }
    if takes(&[b"or"]) {
        takes(&[b"replace"]);
    }
    takes(&[b"database", b"schema", b"user", b"role", b"server", b"function", b"procedure"])
        || drops && takes(&[b"event", b"trigger"])
}

#[cfg(test)]
mod tests {
    use super::super::tests::MARIADB;
    use super::*;

    #[test]
    fn statements_about_accounts_are_told() {
        let told = |sql: &str| changes_accounts(sql.as_bytes(), &MARIADB);
        for sql in [
            "GRANT SELECT ON a.* TO b",
            "SELECT 1; revoke a from b",
            "CREATE OR REPLACE USER a",
            "DROP ROLE a",
            "SET PASSWORD = ''",
            "FLUSH LOCAL PRIVILEGES",
        ] {
            assert!(told(sql), "{sql}");
        }
        assert!(
            !told("CREATE TABLE user (a INT)")
                && !told("FLUSH TABLES")
                && !told("ALTER TABLE role ADD a INT")
        );
    }

    #[test]
    fn created_tables_are_counted_as_servers_do() {
        let count = |sql: &str| tables_created(sql.as_bytes(), &MARIADB);
        for sql in ["CREATE TABLE t (a INT)", "create /* x */ or replace temporary table t AS SELECT 1"] {
            assert_eq!(count(sql), Some(1), "{sql}");
        }
        for sql in [
            "CREATE VIEW v AS SELECT 1",
            "ALTER TABLE t ADD b INT",
            "CREATE PROCEDURE p() CREATE TABLE t (a INT)",
        ] {
            assert_eq!(count(sql), Some(0), "{sql}");
        }
        assert_eq!(count("SET STATEMENT max_statement_time = 1 FOR CREATE TABLE t (a INT)"), None);
    }

    #[test]
    fn what_is_no_table_is_known_by_its_kind() {
        let is = |sql: &str| defines_no_table(sql.as_bytes(), &MARIADB);
        for sql in [
            "DROP DATABASE d",
            "create or replace user u",
            "GRANT r TO u",
            "/* */ DROP EVENT e",
            "ALTER FUNCTION f COMMENT ''",
        ] {
            assert!(is(sql), "{sql}");
        }
        for sql in [
            "DROP TABLE t",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DO 1",
            "RENAME TABLE t TO u",
            "TRUNCATE t",
            "CREATE",
        ] {
            assert!(!is(sql), "{sql}");
        }
    }
}
