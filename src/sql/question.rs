//! Small statements that the proxy answers or acts on itself: KILL, and questions about the connection.
//!
//! Owns: their exact forms. Does not know: sessions. Invariant: any other form is `None` and goes to a server.

use super::keywords::Keyword;
use super::lexer::Kind;
use super::model::{Dialect, Kill, Lexing, Uses, Victim};
use super::scan::{Item, Scan, unquoted};
use std::borrow::Cow;

/// What a bare question asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Question {
    /// `SELECT CONNECTION_ID()`.
    ConnectionId,
    /// `SELECT ROW_COUNT()`.
    RowCount,
    /// `SELECT FOUND_ROWS()`.
    FoundRows,
    /// `SELECT LAST_INSERT_ID()`.
    LastInsertId,
}

/// A statement that asks for one number of the session and nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BareQuestion<'a> {
    /// What is asked.
    pub kind: Question,
    /// The result column's name as the server would give it: the alias, or the expression as written.
    pub column_name: Cow<'a, [u8]>,
}

/// `KILL [HARD | SOFT] [CONNECTION | QUERY] …`, where it is the packet's only statement.
pub fn parse_kill(sql: &[u8], lexing: &Lexing) -> Option<Kill> {
    let mut scan = Scan::new(sql, lexing);
    let first = first_of_packet(&mut scan)?;
    if first.keyword != Keyword::Kill {
        return None;
    }
    let mut item = scan.next()?;
    if matches!(item.keyword, Keyword::Hard | Keyword::Soft) {
        item = scan.next()?;
    }
    let query_only = item.keyword == Keyword::Query;
    if query_only || item.keyword == Keyword::Connection {
        item = scan.next()?;
    }
    let start = item.token.start;
    let mut items = vec![item];
    while let Some(item) = scan.next() {
        items.push(item);
    }
    let end = items.last()?.token.end;
    let mariadb = lexing.server.dialect == Dialect::MariaDb;
    let victim = match &items[..] {
        [id] if id.token.kind == Kind::Integer => {
            Victim::Id(std::str::from_utf8(id.token.text(sql)).ok()?.parse().ok()?)
        }
        // `ID` alone is a column's name.
        [id, _, ..] if mariadb && query_only && id.token.text(sql).eq_ignore_ascii_case(b"ID") => {
            Victim::Statement
        }
        [user, account @ ..] if mariadb && user.keyword == Keyword::User => of_account(sql, account)?,
        _ => Victim::Expression(start..end),
    };
    ends(&mut scan).then_some(Kill { victim, query_only })
}

/// `name[@host]`, quoted or not, without escapes; CURRENT_USER.
fn of_account(sql: &[u8], items: &[Item]) -> Option<Victim> {
    let (name, host) = match items {
        [name] => (name, None),
        [name, host] if host.token.kind == Kind::UserVariable => (name, Some(host)),
        [me, ..] if me.token.text(sql).eq_ignore_ascii_case(b"CURRENT_USER") => (me, None),
        _ => return None,
    };
    let written = name.token.text(sql);
    if name.token.kind == Kind::Word && written.eq_ignore_ascii_case(b"CURRENT_USER") {
        return Some(Victim::User { name: None, host: None });
    }
    let host = match host {
        Some(host) => Some(unquoted_text(host.token.text(sql).strip_prefix(b"@")?)?),
        None => None,
    };
    Some(Victim::User { name: Some(unquoted_text(written)?), host })
}

/// A name or a string without its quotes; `None` where something in it is escaped.
fn unquoted_text(text: &[u8]) -> Option<Vec<u8>> {
    let inner = match text {
        [first @ (b'\'' | b'"' | b'`'), inner @ .., last] if first == last => inner,
        _ => text,
    };
    let plain = !inner.iter().any(|byte| matches!(byte, b'\'' | b'"' | b'`' | b'\\'));
    plain.then(|| inner.to_vec())
}

/// Recognises exactly `SELECT f()` with an optional alias, for the four functions of [`Question`].
pub fn bare_question<'a>(sql: &'a [u8], lexing: &Lexing) -> Option<BareQuestion<'a>> {
    let mut scan = Scan::new(sql, lexing);
    if first_of_packet(&mut scan)?.keyword != Keyword::Select {
        return None;
    }
    let function = scan.next().filter(|item| item.token.kind == Kind::Word)?;
    let kind = match function.token.text(sql) {
        name if name.eq_ignore_ascii_case(b"CONNECTION_ID") => Question::ConnectionId,
        name if name.eq_ignore_ascii_case(b"ROW_COUNT") => Question::RowCount,
        name if name.eq_ignore_ascii_case(b"FOUND_ROWS") => Question::FoundRows,
        name if name.eq_ignore_ascii_case(b"LAST_INSERT_ID") => Question::LastInsertId,
        _ => return None,
    };
    scan.next().filter(|item| item.is(b'('))?;
    let close = scan.next().filter(|item| item.is(b')'))?;
    let column_name = match scan.next() {
        None => {
            let written = sql.get(function.token.start..close.token.end)?;
            // The servers drop versioned comments' marks from the name; such text is not worth imitating.
            if memchr::memmem::find(written, b"/*!").is_some()
                || memchr::memmem::find(written, b"/*M!").is_some()
            {
                return None;
            }
            Cow::Borrowed(written)
        }
        Some(item) if item.keyword == Keyword::As => alias(sql, scan.next()?)?,
        Some(item) => alias(sql, item)?,
    };
    ends(&mut scan).then_some(BareQuestion { kind, column_name })
}

/// Whether the packet is SHOW WARNINGS, and nothing else.
pub fn shows_warnings(sql: &[u8], lexing: &Lexing) -> bool {
    let mut scan = Scan::new(sql, lexing);
    let shows = first_of_packet(&mut scan).is_some_and(|first| first.keyword == Keyword::Show);
    let what = scan.next().map(|item| item.token.text(sql)).unwrap_or_default();
    shows && what.eq_ignore_ascii_case(b"WARNINGS") && ends(&mut scan)
}

/// The first token of a packet; statements that are empty are skipped by the servers only at the end.
fn first_of_packet(scan: &mut Scan<'_>) -> Option<Item> {
    scan.begin_statement();
    scan.next()
}

/// Nothing but `;` and comments follows.
fn ends(scan: &mut Scan<'_>) -> bool {
    loop {
        if scan.next().is_some() {
            return false;
        }
        if !scan.more {
            return !scan.uses.contains(Uses::DOUBT);
        }
        scan.begin_statement();
    }
}

/// A column's alias, where it is plain enough that the server gives it back byte for byte.
fn alias<'a>(sql: &'a [u8], item: Item) -> Option<Cow<'a, [u8]>> {
    const LONGEST: usize = 64;
    let text = item.token.text(sql);
    let name = match (item.token.kind, text) {
        (Kind::Word, _) if !item.reserved => text,
        (Kind::QuotedName, _) => unquoted(text),
        (Kind::String, [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"']) => inner,
        _ => return None,
    };
    let plain = name.is_ascii()
        && !name.is_empty()
        && name.len() <= LONGEST
        && name.trim_ascii() == name
        && !name.iter().any(|byte| matches!(byte, b'\\' | b'\'' | b'"' | b'`') || byte.is_ascii_control());
    plain.then_some(Cow::Borrowed(name))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MARIADB, MYSQL};
    use super::*;

    #[test]
    fn kill_is_read_with_its_victim() {
        let id = Victim::Id;
        let of = |name: Option<&str>, host: Option<&str>| {
            let bytes = |text: &str| text.as_bytes().to_vec();
            Victim::User { name: name.map(bytes), host: host.map(bytes) }
        };
        for (sql, victim, query_only) in [
            ("KILL 5", id(5), false),
            ("kill query 18446744073709551615;", id(u64::MAX), true),
            ("KILL CONNECTION /* x */ 7 -- y", id(7), false),
            ("KILL HARD QUERY 7", id(7), true),
            ("/* c */ KILL SOFT CONNECTION 7 ; ;", id(7), false),
            ("KILL @a", Victim::Expression(5..7), false),
            ("KILL QUERY CONNECTION_ID() + 1;", Victim::Expression(11..30), true),
            ("KILL -1", Victim::Expression(5..7), false),
            ("KILL QUERY ID 5", Victim::Statement, true),
            ("KILL QUERY ID 5 + 1", Victim::Statement, true),
            ("KILL QUERY ID", Victim::Expression(11..13), true),
            ("KILL USER x", of(Some("x"), None), false),
            ("KILL QUERY USER 'x'@'localhost'", of(Some("x"), Some("localhost")), true),
            ("KILL USER `x`@h", of(Some("x"), Some("h")), false),
            ("KILL USER CURRENT_USER()", of(None, None), false),
        ] {
            assert_eq!(parse_kill(sql.as_bytes(), &MARIADB), Some(Kill { victim, query_only }), "{sql}");
        }
        for sql in [
            "KILL",
            "KILL 5; SELECT 1",
            "KILL 18446744073709551616",
            "KILL USER 'it''s'",
            "KILL USER",
            "SELECT 5",
            "KILL 5 /*",
        ] {
            assert_eq!(parse_kill(sql.as_bytes(), &MARIADB), None, "{sql}");
        }
        let expression = parse_kill(b"KILL USER x", &MYSQL).map(|kill| kill.victim);
        assert_eq!(expression, Some(Victim::Expression(5..11)), "MySQL has no such form, and will say so");
    }

    #[test]
    fn show_warnings_is_found_where_it_stands_alone() {
        for (sql, shows) in [
            ("SHOW WARNINGS", true),
            (" show /* x */ warnings ; ", true),
            ("SHOW WARNINGS LIMIT 1", false),
            ("SHOW COUNT(*) WARNINGS", false),
            ("SHOW ERRORS", false),
            ("SHOW WARNINGS; SELECT 1", false),
        ] {
            assert_eq!(shows_warnings(sql.as_bytes(), &MYSQL), shows, "{sql}");
        }
    }

    #[test]
    fn t4_bare_questions_are_found_with_their_column() {
        for (sql, kind, column) in [
            ("SELECT CONNECTION_ID()", Question::ConnectionId, "CONNECTION_ID()"),
            ("select connection_id ( ) ;", Question::ConnectionId, "connection_id ( )"),
            ("SELECT LAST_INSERT_ID() AS id", Question::LastInsertId, "id"),
            ("SELECT LAST_INSERT_ID() `my id` -- x", Question::LastInsertId, "my id"),
            ("SELECT /* x */ FOUND_ROWS() 'rows'", Question::FoundRows, "rows"),
            ("SELECT row_count() affected", Question::RowCount, "affected"),
        ] {
            let expected = BareQuestion { kind, column_name: Cow::Borrowed(column.as_bytes()) };
            assert_eq!(bare_question(sql.as_bytes(), &MYSQL), Some(expected), "{sql}");
        }
        for sql in [
            "SELECT LAST_INSERT_ID(1)",
            "SELECT CONNECTION_ID(), 1",
            "SELECT CONNECTION_ID() + 1",
            "SELECT CONNECTION_ID() FROM t",
            "SELECT CONNECTION_ID() LIMIT 0",
            "SELECT CONNECTION_ID() INTO @a",
            "SELECT CONNECTION_ID(); SELECT 1",
            "SELECT `CONNECTION_ID`()",
            "SELECT db.ROW_COUNT()",
            "SELECT CONNECTION_ID",
            "SELECT CONNECTION_ID() AS",
            "SELECT CONNECTION_ID() AS 'it''s'",
            "SELECT DISTINCT CONNECTION_ID()",
            "SELECT CONNECTION_ID(/*! */)",
            "SELECT CONNECTION_ID() /*! , 1 */",
            "SELECT CONNECTION_ID() UNION SELECT 1",
        ] {
            assert_eq!(bare_question(sql.as_bytes(), &MYSQL), None, "{sql}");
        }
    }
}
