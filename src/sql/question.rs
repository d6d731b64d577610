//! Small statements that the proxy answers or acts on itself: KILL, and questions about the connection.
//!
//! Owns: their exact forms. Does not know: sessions. Invariant: any other form is `None` and goes to a server.

use super::keywords::Keyword;
use super::lexer::Kind;
use super::model::{Kill, Lexing, Uses};
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

/// `KILL [HARD | SOFT] [CONNECTION | QUERY] id` with a number; MariaDB's `KILL QUERY ID` names a query, not a
/// connection, and is `None`.
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
    if item.token.kind != Kind::Integer {
        return None;
    }
    let id = std::str::from_utf8(item.token.text(sql)).ok()?.parse().ok()?;
    ends(&mut scan).then_some(Kill { id, query_only })
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
    fn kill_is_read_with_its_number() {
        for (sql, id, query_only) in [
            ("KILL 5", 5, false),
            ("kill query 18446744073709551615;", u64::MAX, true),
            ("KILL CONNECTION /* x */ 7 -- y", 7, false),
            ("KILL HARD QUERY 7", 7, true),
            ("/* c */ KILL SOFT CONNECTION 7 ; ;", 7, false),
        ] {
            assert_eq!(parse_kill(sql.as_bytes(), &MARIADB), Some(Kill { id, query_only }), "{sql}");
        }
        for sql in [
            "KILL",
            "KILL -1",
            "KILL 1.0",
            "KILL @a",
            "KILL 5 6",
            "KILL 5; SELECT 1",
            "KILL 18446744073709551616",
            "KILL QUERY ID 5",
            "KILL USER 'x'",
            "KILL CONNECTION_ID()",
            "KILL '5'",
            "SELECT 5",
            "KILL 5 /*",
        ] {
            assert_eq!(parse_kill(sql.as_bytes(), &MYSQL), None, "{sql}");
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
