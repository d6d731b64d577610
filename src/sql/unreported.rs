//! What a statement has changed in its session, where servers do not report it.
//!
//! Does not know: whether it succeeds. Invariant: what is not surely understood is not named.

use super::lexer::Kind;
use super::model::Lexing;
use super::phrase::{Phrase, code, lower, tokens};
use super::scan::split_variable;

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

#[cfg(test)]
mod tests {
    use super::super::tests::MARIADB;
    use super::*;

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
}
