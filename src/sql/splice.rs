//! Where a statement speaks of connections by their ids, so that other text can take its place: splice, don't print.
//!
//! Owns: edits of a text, and the spans of tables that list connections (`own_id` has the calls).
//! Does not know: sessions, what the servers' tables hold. Invariant: what stands outside the replaced spans stays byte
//! for byte; where a replacement could change what the statement means, nothing of it is replaced.

use std::ops::Range;

use super::keywords::Keyword;
use super::lexer::{Kind, Lexer};
use super::model::Lexing;
use super::outline::Seen;
use super::scan::unquoted;
use super::tables::Tables;

/// Longest text that is looked through; in longer ones (bulk loads) servers' ids stay.
pub(super) const LOOKED_THROUGH_MAX: usize = 1 << 20;
/// Most tables of a packet that are replaced: each replacement carries the whole list of connections.
const TABLES_MAX: usize = 4;

/// A part of a text and what takes its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edit {
    /// The part.
    pub span: Range<usize>,
    /// The new text.
    pub text: Vec<u8>,
}

/// A table that the statement reads, one of those that were looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedTable {
    /// Which, by its place in the list that was given.
    pub which: usize,
    /// The whole name.
    pub span: Range<usize>,
    /// The name that columns are qualified with, where the statement gives the table no other.
    pub alias: Option<Vec<u8>>,
}

/// The text with its parts replaced; `edits` in the order of the text.
pub fn splice(sql: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut out = Vec::with_capacity(sql.len() + edits.iter().map(|edit| edit.text.len()).sum::<usize>());
    let mut at = 0;
    for edit in edits {
        out.extend_from_slice(sql.get(at..edit.span.start).unwrap_or_default());
        out.extend_from_slice(&edit.text);
        at = edit.span.end;
    }
    out.extend_from_slice(sql.get(at..).unwrap_or_default());
    out
}

/// The tables of `wanted`, as (schema, name), that the packet reads; `schema` is the default one. None where they are named in a way
/// that a derived table in their place could not answer to.
pub fn listed_tables(
    sql: &[u8],
    lexing: &Lexing,
    schema: &[u8],
    wanted: &[(&str, &str)],
) -> Vec<ListedTable> {
    let mut found = Vec::new();
    let same = |one: &[u8], other: &str| one.eq_ignore_ascii_case(other.as_bytes());
    for statement in statements(sql, lexing) {
        let describes = [Keyword::Create, Keyword::Alter, Keyword::Explain, Keyword::Describe, Keyword::Desc];
        if statement.first().is_some_and(|first| describes.contains(&first.keyword)) {
            break;
        }
        let mut tables = Tables::new(sql);
        statement.iter().for_each(|seen| tables.see(seen));
        for table in tables.finish() {
            let in_schema = table.schema.as_deref().unwrap_or(schema);
            let which =
                wanted.iter().position(|(schema, name)| same(in_schema, schema) && same(&table.name, name));
            let Some(which) = which else { continue };
            let Some(at) = statement.iter().position(|seen| seen.token.start == table.span.start) else {
                return Vec::new();
            };
            let reads = at.checked_sub(1).and_then(|before| statement.get(before)).is_some_and(|before| {
                matches!(before.keyword, Keyword::From | Keyword::Join | Keyword::StraightJoin)
                    || matches!(before.token.kind, Kind::Punct(b',' | b'('))
            });
            if !reads || found.len() == TABLES_MAX {
                return Vec::new();
            }
            let after = statement[at..].iter().find(|seen| seen.token.start >= table.span.end);
            let has_alias = after.is_some_and(|seen| {
                seen.keyword == Keyword::As
                    || seen.token.kind == Kind::QuotedName
                    || seen.token.kind == Kind::Word && !seen.reserved
            });
            let alias = (!has_alias).then(|| table.name.clone());
            found.push(ListedTable { which, span: table.span, alias });
        }
        // `schema.table.column` can be said of a table only.
        if asks_by_servers_ids(sql, &statement) || qualifies_by_schema(sql, &statement, &found) {
            return Vec::new();
        }
    }
    found
}

/// Whether the packet is `SHOW [FULL] PROCESSLIST`.
pub fn shows_processlist(sql: &[u8], lexing: &Lexing) -> bool {
    let mut statements = statements(sql, lexing);
    let Some(statement) = statements.next() else { return false };
    let is_last = statements.all(|rest| rest.is_empty());
    let [show, middle @ .., list] = &statement[..] else { return false };
    let whole = match middle {
        [] => true,
        [full] => full.keyword == Keyword::Full,
        _ => false,
    };
    let lists = list.token.text(sql).eq_ignore_ascii_case(b"PROCESSLIST");
    show.keyword == Keyword::Show && whole && lists && is_last
}

/// The tokens of each statement of a packet, without comments.
pub(super) fn statements<'a>(sql: &'a [u8], lexing: &'a Lexing) -> impl Iterator<Item = Vec<Seen>> + 'a {
    let text = if sql.len() <= LOOKED_THROUGH_MAX { sql } else { b"" };
    let mut tokens = Lexer::new(text, lexing)
        .filter(|token| !matches!(token.kind, Kind::Comment | Kind::OptimizerHint))
        .peekable();
    std::iter::from_fn(move || {
        tokens.peek()?;
        let statement = tokens.by_ref().take_while(|token| token.kind != Kind::Punct(b';'));
        Some(statement.map(|token| Seen::of(token, sql, lexing)).collect())
    })
}

/// It compares with what only a server's own ids fit: the holder of a user-level lock, MySQL's threads.
pub(super) fn asks_by_servers_ids(sql: &[u8], statement: &[Seen]) -> bool {
    statement.windows(2).any(|pair| {
        let name = unquoted(pair[0].token.text(sql));
        let is_call = pair[1].token.kind == Kind::Punct(b'(');
        let about_threads = name.get(..3).is_some_and(|head| head.eq_ignore_ascii_case(b"ps_"));
        is_call && (about_threads || name.eq_ignore_ascii_case(b"IS_USED_LOCK"))
    })
}

/// Whether `schema.table.` stands somewhere, of one of the tables.
fn qualifies_by_schema(sql: &[u8], statement: &[Seen], tables: &[ListedTable]) -> bool {
    statement.windows(4).any(|four| {
        let dotted = [1, 3].iter().all(|at| four[*at].token.kind == Kind::Punct(b'.'));
        dotted
            && tables.iter().any(|table| {
                let last =
                    sql.get(table.span.clone()).and_then(|name| name.rsplit(|byte| *byte == b'.').next());
                let name = unquoted(last.unwrap_or_default());
                unquoted(four[2].token.text(sql)).eq_ignore_ascii_case(name)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::MARIADB;
    use super::*;

    const WANTED: [(&str, &str); 2] =
        [("information_schema", "PROCESSLIST"), ("performance_schema", "threads")];

    fn tables(sql: &str, schema: &str) -> Vec<(usize, String, Option<String>)> {
        let found = listed_tables(sql.as_bytes(), &MARIADB, schema.as_bytes(), &WANTED);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        found
            .into_iter()
            .map(|table| (table.which, sql[table.span].to_owned(), table.alias.map(text)))
            .collect()
    }

    #[test]
    fn tables_that_list_connections_are_found_with_their_names() {
        let named = "information_schema.processlist";
        assert_eq!(
            tables("SELECT * FROM information_schema.processlist WHERE 1", ""),
            [(0, named.into(), Some("processlist".into()))]
        );
        for sql in [
            "SELECT * FROM t JOIN information_schema.processlist AS p ON 1",
            "SELECT (SELECT COUNT(*) FROM information_schema.processlist p)",
            "INSERT INTO t SELECT 1 FROM a, information_schema.processlist `p`",
        ] {
            assert_eq!(tables(sql, "x"), [(0, named.into(), None)], "{sql}");
        }
        let both =
            tables("SELECT * FROM Threads, `information_schema` . `processlist`", "PERFORMANCE_SCHEMA");
        assert_eq!(both[0], (1, "Threads".into(), Some("Threads".into())));
        assert_eq!(both[1].0, 0);
    }

    #[test]
    fn tables_that_cannot_be_replaced_are_not_given() {
        for sql in [
            "SELECT * FROM processlist",
            "EXPLAIN SELECT * FROM information_schema.processlist",
            "SHOW COLUMNS IN information_schema.processlist",
            "TABLE information_schema.processlist",
            "CREATE VIEW v AS SELECT * FROM information_schema.processlist",
            "SELECT information_schema.processlist.id FROM information_schema.processlist",
            "SELECT IS_USED_LOCK('x') FROM information_schema.processlist",
        ] {
            assert_eq!(tables(sql, "test"), [], "{sql}");
        }
    }

    #[test]
    fn show_processlist_is_told_from_other_shows() {
        let shows = |sql: &str| shows_processlist(sql.as_bytes(), &MARIADB);
        assert!(shows("show /* x */ processlist;") && shows("SHOW FULL PROCESSLIST ; -- x"));
        for sql in ["SHOW TABLES", "SHOW PROCESSLIST; SELECT 1", "SHOW", "SHOW EXTENDED PROCESSLIST", ""] {
            assert!(!shows(sql), "{sql}");
        }
    }
}
