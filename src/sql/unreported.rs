//! What a statement has changed in its session, where servers do not report it.
//!
//! Does not know: whether it succeeds. Invariant: what is not surely understood is not named.

use super::lexer::{Kind, Token};
use super::model::Lexing;
use super::phrase::{Phrase, code, lower, tokens};
use super::scan::{split_variable, unquoted};

/// The database that `USE name` names; `None` for other statements, several, and names with quotes inside.
pub fn used_database(sql: &[u8], lexing: &Lexing) -> Option<Vec<u8>> {
    let tokens = tokens(sql, lexing);
    let mut words = Phrase { sql, tokens: &tokens };
    let used = words.take(b"use").then(|| words.name()).flatten()?;
    while words.take(b";") {}
    words.tokens.is_empty().then(|| used.to_vec())
}

/// System variables that SET names as `@@name`, without a scope, in lower case; not those that hold for the next
/// transaction only, nor those that bind the connection.
pub fn unscoped_variables(sql: &[u8], lexing: &Lexing) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    let mut tokens = code(sql, lexing).peekable();
    let (mut depth, mut opens_item) = (0u32, false);
    while let Some(token) = tokens.next() {
        let opened = std::mem::replace(&mut opens_item, false);
        match token.kind {
            Kind::Punct(b'(') => depth += 1,
            Kind::Punct(b')') => depth = depth.saturating_sub(1),
            Kind::Punct(b',') => opens_item = depth == 0,
            Kind::Word => opens_item = token.text(sql).eq_ignore_ascii_case(b"set"),
            Kind::SystemVariable if opened => {
                let assigned =
                    tokens.peek().is_some_and(|next| matches!(next.kind, Kind::Assign | Kind::Punct(b'=')));
                let (scope, name) = split_variable(token.text(sql));
                let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
                if assigned && plain && scope.is_empty() && !super::set::is_not_the_sessions(name) {
                    names.push(lower(name));
                }
            }
            _ => {}
        }
    }
    names
}

/// The variables to which SET STATEMENT … FOR gives values for one statement, in lower case, in any statement of the packet.
pub fn set_for_statement(sql: &[u8], lexing: &Lexing) -> Vec<Vec<u8>> {
    let mut tokens = code(sql, lexing).peekable();
    let mut names = Vec::new();
    loop {
        let mut word = |expected: &[u8]| {
            let is_it =
                |token: &Token| token.kind == Kind::Word && token.text(sql).eq_ignore_ascii_case(expected);
            tokens.next_if(is_it).is_some()
        };
        if word(b"set") && word(b"statement") {
            let (mut depth, mut at_name) = (0u32, true);
            for token in tokens.by_ref() {
                let opens = std::mem::take(&mut at_name);
                match token.kind {
                    Kind::Punct(b'(') => depth += 1,
                    Kind::Punct(b')') => depth = depth.saturating_sub(1),
                    Kind::Punct(b',') => at_name = depth == 0,
                    Kind::Word if depth == 0 && token.text(sql).eq_ignore_ascii_case(b"for") => break,
                    Kind::Word | Kind::QuotedName if opens => names.push(lower(unquoted(token.text(sql)))),
                    _ => {}
                }
            }
        }
        if !tokens.any(|token| token.kind == Kind::Punct(b';')) {
            return names;
        }
    }
}

/// Variables that a session begins with as they are globally, and that every account may set for itself (tried on both dialects, 70 of them).
/// Not the character sets, which the login gives, nor the time limits for idle clients, which are Tidegate's.
const INHERITED: [&[u8]; 46] = [
    b"auto_increment_increment",
    b"auto_increment_offset",
    b"autocommit",
    b"block_encryption_mode",
    b"check_constraint_checks",
    b"completion_type",
    b"cte_max_recursion_depth",
    b"default_storage_engine",
    b"default_tmp_storage_engine",
    b"default_week_format",
    b"div_precision_increment",
    b"explicit_defaults_for_timestamp",
    b"foreign_key_checks",
    b"group_concat_max_len",
    b"innodb_lock_wait_timeout",
    b"join_buffer_size",
    b"lc_messages",
    b"lc_time_names",
    b"lock_wait_timeout",
    b"long_query_time",
    b"max_execution_time",
    b"max_heap_table_size",
    b"max_join_size",
    b"max_length_for_sort_data",
    b"max_recursive_iterations",
    b"max_sort_length",
    b"max_sp_recursion_depth",
    b"max_statement_time",
    b"old_mode",
    b"optimizer_search_depth",
    b"optimizer_switch",
    b"read_buffer_size",
    b"sort_buffer_size",
    b"sql_auto_is_null",
    b"sql_big_selects",
    b"sql_buffer_result",
    b"sql_mode",
    b"sql_notes",
    b"sql_safe_updates",
    b"sql_select_limit",
    b"sql_warnings",
    b"time_zone",
    b"tmp_table_size",
    b"unique_checks",
    b"updatable_views_with_limit",
    b"use_stat_tables",
];

/// `SET GLOBAL TRANSACTION`, and the variables that it sets.
const OF_TRANSACTIONS: [&[u8]; 4] =
    [b"transaction_isolation", b"transaction_read_only", b"tx_isolation", b"tx_read_only"];

/// Variables whose global value a SET GLOBAL may change, as far as sessions begin with it; some that it only reads may be among them. `None`
/// where it sets nothing globally.
pub fn global_variables(sql: &[u8], lexing: &Lexing) -> Option<Vec<&'static [u8]>> {
    let (mut names, mut sets) = (Vec::new(), false);
    for token in code(sql, lexing) {
        let text = token.text(sql);
        let (scope, name) = match token.kind {
            Kind::SystemVariable => split_variable(text),
            Kind::Word => (text, text),
            Kind::Name | Kind::QuotedName => (&b""[..], unquoted(text)),
            _ => continue,
        };
        sets |= scope.eq_ignore_ascii_case(b"global") || scope.eq_ignore_ascii_case(b"persist");
        let name = lower(name);
        if name == b"transaction" || OF_TRANSACTIONS.contains(&&*name) {
            names.extend(OF_TRANSACTIONS);
        } else if let Ok(at) = INHERITED.binary_search(&&*name) {
            names.push(INHERITED[at]);
        }
    }
    names.sort_unstable();
    names.dedup();
    sets.then_some(names)
}

#[cfg(test)]
mod tests {
    use super::super::tests::MARIADB;
    use super::*;

    #[test]
    fn what_holds_for_one_statement_is_named() {
        let names = |sql: &str| set_for_statement(sql.as_bytes(), &MARIADB).join(&b' ');
        assert_eq!(
            names("set statement a = IF(1, b, c), SQL_MODE='for' FOR UPDATE t SET d = 1, e = 2"),
            b"a sql_mode"
        );
        assert_eq!(
            names("SELECT 1; SET STATEMENT `Sql_Mode` = '' FOR DELETE FROM t; SET c = 1"),
            b"sql_mode"
        );
        assert_eq!(names("SET a = 1, b = 2"), b"");
        assert_eq!(names("UPDATE t SET statement = 1"), b"");
    }

    #[test]
    fn what_servers_do_not_report_is_read_from_the_text() {
        assert_eq!(used_database(b"USE `a b`;", &MARIADB).unwrap(), b"a b");
        assert_eq!(used_database(b"USE a; SELECT 1", &MARIADB), None);
        let unscoped = |sql: &str| unscoped_variables(sql.as_bytes(), &MARIADB).join(&b' ');
        assert_eq!(
            unscoped("SET @@SQL_MODE = 'ANSI', @@session.a = 1, @@b := f(1, @@c), d = 1"),
            b"sql_mode b"
        );
        assert_eq!(unscoped("SET a = @@b, @@tx_read_only = 1, @@timestamp = 1; SELECT @@c = 1"), b"");
        assert_eq!(unscoped("SELECT 1; SET @@a = 2"), b"a");
    }

    #[test]
    fn global_variables_that_sessions_begin_with_are_named() {
        assert!(INHERITED.is_sorted());
        let named = |sql: &str| global_variables(sql.as_bytes(), &MARIADB).unwrap().join(&b' ');
        for other in [
            "SET sql_mode = ''",
            "SET PASSWORD = 'global'",
            "SET RESOURCE GROUP a FOR 5",
            "SET @@persist_only.time_zone = 1",
        ] {
            assert_eq!(global_variables(other.as_bytes(), &MARIADB), None, "{other}");
        }
        assert_eq!(
            named("SET GLOBAL `Sql_Mode` = 'time_zone', @@persist.time_zone = 1, x.y = 2"),
            b"sql_mode time_zone"
        );
        assert_eq!(named("SET GLOBAL read_only = 1"), b"");
        let isolation: &[u8] = b"transaction_isolation transaction_read_only tx_isolation tx_read_only";
        assert_eq!(named("SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE"), isolation);
        assert_eq!(named("SET @@global.tx_isolation = 'SERIALIZABLE'"), isolation);
    }
}
