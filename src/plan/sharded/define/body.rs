//! What stands in a table: columns, keys, constraints; of CREATE TABLE, and of what ALTER TABLE adds.
//!
//! Owns: what of that the rules decide about: the key's columns, foreign keys, and names that are one schema's, which several shards may share.
//! Does not know: options, indexes. Invariant: a foreign key that is let pass finds its row in the same shard.

use std::ops::Range;

use super::key;
use super::reader::{Name, Reader, What};
use crate::plan::sharded::edits::{Edit, NameEdit};
use crate::plan::sharded::parse::text::{At, Text};
use crate::plan::sharded::refusal::{Reason, Refusal};
use crate::sql::Dialect;
use crate::sql::lexer::Kind;

/// What a part of a table begins with that is no column.
const NO_COLUMNS: &[&[u8]] = &[
    b"CONSTRAINT",
    b"PRIMARY",
    b"UNIQUE",
    b"KEY",
    b"INDEX",
    b"FULLTEXT",
    b"SPATIAL",
    b"FOREIGN",
    b"CHECK",
    b"PARTITION",
];
/// The same only with these behind it: alone they can be columns' names.
const NO_COLUMNS_WITH: &[(&[u8], &[&[u8]])] =
    &[(b"PERIOD", &[b"FOR"]), (b"SYSTEM", &[b"VERSIONING"]), (b"VECTOR", &[b"INDEX", b"KEY"])];
/// With what a query begins, or what leads to one.
const QUERY: &[&[u8]] = &[b"SELECT", b"VALUES", b"TABLE", b"AS", b"WITH"];

/// Whether the name of a column stands here, and nothing else of a table begins.
pub(super) fn is_column(text: &Text, at: At) -> bool {
    let begins =
        |(word, behind): &(&[u8], &[&[u8]])| text.is_word(at, word) && text.is_one_of(at + 1, behind);
    !text.is_one_of(at, NO_COLUMNS) && !NO_COLUMNS_WITH.iter().any(begins)
}

/// The parts of a table.
pub(super) struct Body<'a, 'b> {
    pub table: &'a Name<'b>,
}

impl<'b> Body<'_, 'b> {
    /// CREATE TABLE from behind the name on; gives the tables that foreign keys name.
    pub fn read(&self, reader: &mut Reader<'b>) -> Result<Vec<Name<'b>>, Refusal> {
        let (start, text) = (reader.at, reader.text);
        let end = if text.is(start, b'(') { reader.behind_bracket(start) } else { start };
        self.no_query(reader, start, end)?;
        let collation = (end..text.len()).find(|at| text.is_word(*at, b"COLLATE"));
        let collation = collation.map(|at| text.name(at + 1 + u32::from(text.is(at + 1, b'='))).into_owned());
        let mut found = Vec::new();
        let mut others = Vec::new();
        for part in reader.parts(start + 1, end.saturating_sub(1).max(start + 1)) {
            found.extend(self.part(reader, part, collation.as_deref(), &mut others)?);
        }
        if let Some(sharded) = self.table.sharded() {
            let missing = |(at, _): &(usize, &String)| !found.contains(at);
            if let Some((_, column)) = sharded.key.iter().enumerate().find(missing) {
                return Err(key::refuse(
                    self.table,
                    column.as_bytes(),
                    "is its key by the rules, and is missing",
                ));
            }
        }
        reader.at = text.len();
        Ok(others)
    }

    fn no_query(&self, reader: &Reader<'_>, start: At, end: At) -> Result<(), Refusal> {
        let text = reader.text;
        let inside = (start..end).any(|at| text.is_word(at, b"SELECT"));
        let mut depth = 0u32;
        let behind = (end..text.len()).any(|at| {
            match text.kind(at) {
                Kind::Punct(b'(') => depth += 1,
                Kind::Punct(b')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            // `WITH SYSTEM VERSIONING` is MariaDB's.
            let versioning = text.is_word(at, b"WITH") && text.is_word(at + 1, b"SYSTEM");
            text.is_word(at, b"SELECT") || depth == 0 && text.is_one_of(at, QUERY) && !versioning
        });
        if inside || behind {
            let what = format!("{} would be made from the rows of a query", self.table.shown());
            return Err(Refusal::new(Reason::CreateSelect, what));
        }
        if (end..text.len()).any(|at| text.is_word(at, b"UNION")) {
            return Err(reader.not_understood());
        }
        Ok(())
    }

    /// One column, index or constraint; gives the place in the key of a column that is one of its.
    pub fn part(
        &self,
        reader: &mut Reader<'b>,
        part: Range<At>,
        collation: Option<&[u8]>,
        others: &mut Vec<Name<'b>>,
    ) -> Result<Option<usize>, Refusal> {
        let text = reader.text;
        self.rename_constraint(reader, &part);
        if let Some(references) = (part.start..part.end).find(|at| text.is_word(*at, b"REFERENCES")) {
            others.push(self.foreign_key(reader, &part, references)?);
        }
        if part.is_empty() || !is_column(text, part.start) {
            return Ok(None);
        }
        let Some(sharded) = self.table.sharded() else { return Ok(None) };
        let name = text.name(part.start);
        let Some(column) = key::column_of(&sharded, &name) else { return Ok(None) };
        if let Some(of_type) = sharded.types().get(column) {
            key::check(text, part.start + 1..part.end, of_type, collation)
                .map_err(|what| key::refuse(self.table, &name, &what))?;
        }
        Ok(Some(column))
    }

    /// A constraint's name is one schema's: of foreign keys, and with MySQL of checks.
    fn rename_constraint(&self, reader: &mut Reader<'_>, part: &Range<At>) {
        let text = reader.text;
        let mut at = part.start;
        while at < part.end {
            let named = text.is_word(at, b"CONSTRAINT") && !text.is_one_of(at + 1, &[b"FOREIGN", b"CHECK"]);
            let is_check = text.is_word(at + 2, b"CHECK") && text.dialect() == Dialect::MySql;
            if named && (text.is_word(at + 2, b"FOREIGN") || is_check) {
                reader.edits.push(NameEdit { token: at + 1, edit: Edit::Table });
            }
            let foreign = text.is_word(at, b"FOREIGN") && text.is_word(at + 1, b"KEY");
            if foreign && !text.is(at + 2, b'(') && !text.is_word(at + 2, b"IF") {
                reader.edits.push(NameEdit { token: at + 2, edit: Edit::Table });
            }
            at += 1;
        }
    }

    /// REFERENCES: the table that it names.
    fn foreign_key(
        &self,
        reader: &mut Reader<'b>,
        part: &Range<At>,
        references: At,
    ) -> Result<Name<'b>, Refusal> {
        let text = reader.text;
        reader.at = references + 1;
        let other = reader.table()?;
        let names = |open: At, close: At| -> Vec<Vec<u8>> {
            reader.parts(open + 1, close).into_iter().map(|part| text.name(part.start).into_owned()).collect()
        };
        let theirs = match text.is(reader.at, b'(') {
            true => names(reader.at, reader.behind_bracket(reader.at).saturating_sub(1)),
            false => return Err(reader.not_understood()),
        };
        let own = match text.is(references.saturating_sub(1), b')')
            && (part.start..references).any(|at| text.is_word(at, b"FOREIGN"))
        {
            true => {
                let open = (part.start..references).rev().find(|at| text.is(*at, b'('));
                names(open.unwrap_or(part.start), references - 1)
            }
            false => vec![text.name(part.start).into_owned()],
        };
        let (What::Sharded(child), What::Sharded(parent)) = (&self.table.what, &other.what) else {
            return Ok(other); // `planned` looks at whether they can stand together
        };
        let pairs: Vec<_> = own.iter().zip(&theirs).collect();
        let ties = |at: usize| {
            pairs.iter().any(|(own, their)| {
                key::column_of(child, own) == Some(at) && key::column_of(parent, their) == Some(at)
            })
        };
        if (0..child.key.len()).all(ties) && child.key.len() == parent.key.len() {
            return Ok(other);
        }
        let what = format!(
            "A foreign key of {} names rows of {} that may be in another shard",
            self.table.shown(),
            other.shown()
        );
        Err(Refusal::new(Reason::ForeignKey, what))
    }
}
