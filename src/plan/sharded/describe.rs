//! SHOW and DESCRIBE of one table: a shard's answer, under the client's names.
//!
//! Owns: the forms that name one table. Does not know: which shard, what the answer holds. Invariant: a form that is not known is `None`, and
//! is refused or runs at home as it would without this.

use super::edits::{Edit, NameEdit};
use super::parse::text::{At, Text};
use super::planned::{Planned, Routed, Sites, Verb};
use super::planner::{Meaning, Planner};
use super::refusal::{Reason, Refusal, shown};
use crate::shard::Table;

/// What a statement asks of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// Its columns: rows without the table's name.
    Columns,
    /// Its indexes: the name is a column of each row.
    Indexes,
    /// Its definition: the name is a column, and stands in the text.
    Definition,
}

/// One table, described.
struct Described {
    asked: Asked,
    schema: Option<At>,
    table: At,
    /// The first token behind it.
    rest: At,
}

/// The plan of a statement that describes one sharded table; `None` for all others.
pub(super) fn plan(
    planner: &Planner,
    text: &Text,
    database: Option<&[u8]>,
    mentions: &[At],
) -> Option<Result<Planned, Refusal>> {
    let Described { asked, schema, table, rest } = read(text)?;
    let name = text.name(table);
    let own = schema.map(|at| text.name(at));
    let (database, listed) = match planner.table(own.as_deref().or(database), &name) {
        Meaning::Listed(database, listed) => (database, listed),
        Meaning::OtherCase => {
            let what = format!("{} differs in its case from a table of the rules", shown(&name));
            return Some(Err(Refusal::new(Reason::NameCase, what)));
        }
        Meaning::Home => return None,
    };
    let Table::Sharded { keyspace, .. } = listed else { return Some(Ok(Planned::Home)) };
    if text.is_word(rest, b"WHERE") && mentions.iter().any(|at| *at > rest) {
        let what = format!("A condition on what describes {} names a sharded table", shown(&name));
        return Some(Err(Refusal::new(Reason::Description, what)));
    }
    let mut edits = vec![NameEdit { token: table, edit: Edit::Table }];
    edits.extend(schema.map(|token| NameEdit { token, edit: Edit::Schema }));
    edits.sort_by_key(|edit| edit.token);
    let keyspace_of = database.keyspaces.get(*keyspace)?;
    if asked != Asked::Columns && keyspace_of.shards.iter().any(|shard| shard.suffix.is_some()) {
        let what = format!("{} has other names on its shards, which this would tell", shown(&name));
        return Some(Err(Refusal::new(Reason::Description, what)));
    }
    Some(Ok(Planned::Routed(Box::new(Routed {
        database: database.name.clone(),
        keyspace: *keyspace,
        verb: Verb::Describe,
        sites: Sites::First,
        many: Err(Refusal::new(Reason::Description, "One shard describes a table")),
        edits,
        ignores: Vec::new(),
    }))))
}

/// Which table is described; `None` where none is, or by a form that is not known.
fn read(text: &Text) -> Option<Described> {
    if text.is_one_of(0, &[b"DESCRIBE", b"DESC", b"EXPLAIN"]) {
        return named(text, 1, Asked::Columns);
    }
    if !text.is_word(0, b"SHOW") {
        return None;
    }
    let mut at = 1;
    while text.is_one_of(at, &[b"FULL", b"EXTENDED"]) {
        at += 1;
    }
    if text.is_word(at, b"CREATE") && text.is_word(at + 1, b"TABLE") {
        return named(text, at + 2, Asked::Definition);
    }
    let asked = match () {
        () if text.is_one_of(at, &[b"COLUMNS", b"FIELDS"]) => Asked::Columns,
        () if text.is_one_of(at, &[b"INDEX", b"INDEXES", b"KEYS"]) => Asked::Indexes,
        () => return None,
    };
    if !text.is_one_of(at + 1, &[b"FROM", b"IN"]) {
        return None;
    }
    let mut found = named(text, at + 2, asked)?;
    if text.is_one_of(found.rest, &[b"FROM", b"IN"]) && text.is_name(found.rest + 1) {
        if found.schema.is_some() {
            return None; // the name stands in two schemas
        }
        found.schema = Some(found.rest + 1);
        found.rest += 2;
    }
    Some(found)
}

/// `[schema.]table`.
fn named(text: &Text, at: At, asked: Asked) -> Option<Described> {
    if !text.is_name(at) {
        return None;
    }
    let qualified = text.is(at + 1, b'.');
    let (schema, table) = if qualified { (Some(at), at + 2) } else { (None, at) };
    Some(Described { asked, schema, table, rest: table + 1 })
}
