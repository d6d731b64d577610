//! What ALTER TABLE changes, one thing after the other.
//!
//! Owns: which of these the rules forbid. Does not know: what stands in a table (`body`). Invariant: the key's columns keep their names and
//! can go on having the keys; no table gets a name that the rules do not know.

use std::ops::Range;

use super::body::{Body, is_column};
use super::key;
use super::reader::{Name, Reader};
use crate::plan::sharded::edits::{Edit, NameEdit};
use crate::plan::sharded::parse::text::At;
use crate::plan::sharded::refusal::{Reason, Refusal};
use crate::shard::KeyType;
use crate::sql::Dialect;

/// Reads what is left of ALTER TABLE; gives the tables that foreign keys name.
pub(super) fn read<'b>(reader: &mut Reader<'b>, table: &Name<'b>) -> Result<Vec<Name<'b>>, Refusal> {
    reader.no_query()?;
    let mut others = Vec::new();
    for part in reader.parts(reader.at, reader.text.len()) {
        change(reader, table, part, &mut others)?;
    }
    reader.at = reader.text.len();
    Ok(others)
}

fn change<'b>(
    reader: &mut Reader<'b>,
    table: &Name<'b>,
    part: Range<At>,
    others: &mut Vec<Name<'b>>,
) -> Result<(), Refusal> {
    let text = reader.text;
    reader.at = part.start + 1;
    let refuse = |what: &str| Err(Refusal::new(Reason::Definition, format!("{what} {}", table.shown())));
    match &text.bytes(part.start).to_ascii_uppercase()[..] {
        b"ADD" => return add(reader, table, part, others),
        b"DROP" => return remove(reader, table),
        b"MODIFY" => {
            reader.word(b"COLUMN");
            reader.words(&[b"IF", b"EXISTS"]);
            Body { table }.part(reader, reader.at..part.end, None, others)?;
        }
        b"CHANGE" => {
            reader.word(b"COLUMN");
            reader.words(&[b"IF", b"EXISTS"]);
            let (old, new) = (reader.name_of_part()?, reader.at);
            same_name(reader, table, old, new)?;
            Body { table }.part(reader, new..part.end, None, others)?;
        }
        b"RENAME" => {
            if reader.word(b"COLUMN") {
                reader.words(&[b"IF", b"EXISTS"]);
                let old = reader.name_of_part()?;
                if !reader.word(b"TO") {
                    return Err(reader.not_understood());
                }
                same_name(reader, table, old, reader.at)?;
            } else if !reader.word_of(&[b"INDEX", b"KEY"]) {
                let what = format!("ALTER TABLE would give {} another name", table.shown());
                return Err(Refusal::new(Reason::Rename, what));
            }
        }
        b"ALTER" if reader.word_of(&[b"CHECK", b"CONSTRAINT"]) => {
            if table.is_suffixed() && text.is_word(reader.at - 1, b"CONSTRAINT") {
                return refuse("ALTER CONSTRAINT does not say of what kind, and shards share a schema:");
            }
            constraint(reader, table, b"_chk_")?;
        }
        b"CONVERT" => {
            let texts = table.sharded().is_some_and(|sharded| {
                sharded.types().iter().any(|of_type| matches!(of_type, KeyType::String(_)))
            });
            if !reader.word(b"TO") || text.is_one_of(reader.at, &[b"TABLE", b"PARTITION"]) {
                return refuse("A partition becomes a table, or a table a partition:");
            }
            if texts {
                let what = format!("CONVERT TO changes the collation of the key of {}", table.shown());
                return Err(Refusal::new(Reason::KeyColumn, what));
            }
        }
        b"EXCHANGE" => return refuse("A partition changes places with a table:"),
        b"DISCARD" | b"IMPORT" => return refuse("A tablespace is left or taken in:"),
        b"UNION" => return Err(reader.not_understood()),
        _ => {}
    }
    Ok(())
}

fn add<'b>(
    reader: &mut Reader<'b>,
    table: &Name<'b>,
    part: Range<At>,
    others: &mut Vec<Name<'b>>,
) -> Result<(), Refusal> {
    let text = reader.text;
    reader.word(b"COLUMN");
    reader.words(&[b"IF", b"NOT", b"EXISTS"]);
    let parts = match text.is(reader.at, b'(') {
        true => {
            let end = reader.behind_bracket(reader.at).saturating_sub(1);
            reader.parts(reader.at + 1, end)
        }
        false => reader.parts(reader.at, part.end),
    };
    for part in parts {
        let counts = (part.start..part.end).any(|at| {
            text.is_word(at, b"AUTO_INCREMENT") || at == part.start + 1 && text.is_word(at, b"SERIAL")
        });
        if counts {
            let what = format!("Each copy or shard of {} would number its rows by itself", table.shown());
            return Err(Refusal::new(Reason::Definition, what));
        }
        Body { table }.part(reader, part, None, others)?;
    }
    Ok(())
}

fn remove(reader: &mut Reader<'_>, table: &Name<'_>) -> Result<(), Refusal> {
    let text = reader.text;
    let at = reader.at;
    if !is_column(text, at) {
        let suffixed = table.is_suffixed();
        if reader.words(&[b"FOREIGN", b"KEY"]) {
            reader.words(&[b"IF", b"EXISTS"]);
            constraint(reader, table, b"_ibfk_")?;
        } else if reader.word(b"CHECK") {
            constraint(reader, table, b"_chk_")?;
        } else if suffixed && reader.word(b"CONSTRAINT") {
            let what = format!(
                "DROP CONSTRAINT does not say of what kind, and shards of {} share a schema",
                table.shown()
            );
            return Err(Refusal::new(Reason::Definition, what));
        }
        return Ok(());
    }
    reader.word(b"COLUMN");
    reader.words(&[b"IF", b"EXISTS"]);
    let name = text.name(reader.name_of_part()?);
    match table.sharded().and_then(|sharded| key::column_of(&sharded, &name)) {
        Some(_) => Err(key::refuse(table, &name, "is its key, and would be removed")),
        None => Ok(()),
    }
}

/// The name of a constraint, as a shard has it: see `body`. Names that servers have made begin with the table's.
fn constraint(reader: &mut Reader<'_>, table: &Name<'_>, mark: &[u8]) -> Result<(), Refusal> {
    let at = reader.name_of_part()?;
    if mark == b"_chk_" && reader.text.dialect() == Dialect::MariaDb {
        return Ok(()); // which are of their table there
    }
    let made = reader.text.name(at).strip_prefix(&table.own[..]).is_some_and(|rest| rest.starts_with(mark));
    let edit = if made { Edit::Within(table.own.len()) } else { Edit::Table };
    reader.edits.push(NameEdit { token: at, edit });
    Ok(())
}

/// A column of the key keeps its name, but for its case.
fn same_name(reader: &Reader<'_>, table: &Name<'_>, old: At, new: At) -> Result<(), Refusal> {
    let (old, new) = (reader.text.name(old), reader.text.name(new));
    let Some(sharded) = table.sharded() else { return Ok(()) };
    match (key::column_of(&sharded, &old), key::column_of(&sharded, &new)) {
        (one, other) if one == other => Ok(()),
        (Some(_), _) => Err(key::refuse(table, &old, "is its key, and would get another name")),
        _ => Err(key::refuse(table, &new, "is its key, and another column would get its name")),
    }
}

/// Whether one table can get the name of another: what the rules say of both is the same.
pub(super) fn may_be_renamed(from: &Name<'_>, to: &Name<'_>) -> Result<(), Refusal> {
    let same = match (from.sharded(), to.sharded()) {
        (Some(from), Some(to)) => from.keyspace == to.keyspace && from.key == to.key,
        (one, other) => one.is_none() && other.is_none() && from.database().is_some(),
    };
    if same && from.database() == to.database() {
        return Ok(());
    }
    let what = format!("The rules do not say the same of {} and {}", from.shown(), to.shown());
    Err(Refusal::new(Reason::Rename, what))
}
