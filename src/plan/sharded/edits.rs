//! What of the client's text is replaced for a shard, by token.
//!
//! Owns: the kinds of edits. Does not know: which shard, until it is asked for a text. Invariant: all else stays byte for byte.

use std::borrow::Cow;
use std::ops::Range;

use super::parse::text::{At, counts, unquote};
use crate::sql::lexer::{Lexer, Token};
use crate::sql::{self, Lexing, quoted, splice};

/// A token and what becomes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NameEdit {
    /// The token's number, comments not counted.
    pub token: At,
    /// What becomes of it.
    pub edit: Edit,
}

/// What becomes of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Edit {
    /// It is the database's name: the shard's schema takes its place.
    Schema,
    /// It is a table's name, or qualifies a column: gets the shard's suffix, where it has one.
    Table,
    /// It is a name that a server has made of a table's: behind so many bytes of it the shard's suffix is put, where it has one.
    Within(usize),
    /// Behind it ` AS name` is put, where the shard has a suffix: columns go on being found under the table's name.
    Alias(Vec<u8>),
    /// It begins `DATABASE()` or `SCHEMA()`: the three tokens become the database's name as a string.
    CurrentDatabase {
        /// It is a column of the result and has no alias: it keeps its text as its name.
        named: bool,
    },
    /// In front of it these are put.
    Before(Vec<Piece>),
    /// Behind it these are put.
    After(Vec<Piece>),
    /// It is left out, with those up to this one.
    Without(At),
    /// This takes its place.
    Text(Vec<u8>),
}

/// A part of what is put into the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// These words.
    Text(Cow<'static, str>),
    /// These tokens of the statement, with a shard's names.
    Copy(Range<At>),
}

/// Where a statement's tables are: one shard.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The database, as the client knows it.
    pub database: &'a [u8],
    /// The shard's schema.
    pub schema: &'a [u8],
    /// What the shard's tables have behind their names; empty for most.
    pub suffix: &'a [u8],
}

impl Place<'_> {
    /// Whether an edit changes anything here.
    fn needs(&self, edit: &Edit) -> bool {
        match edit {
            Edit::Schema | Edit::CurrentDatabase { .. } => self.schema != self.database,
            Edit::Table | Edit::Within(_) | Edit::Alias(_) => !self.suffix.is_empty(),
            Edit::Before(_) | Edit::After(_) | Edit::Without(_) | Edit::Text(_) => true,
        }
    }
}

impl NameEdit {
    /// The token after the last one that is looked at.
    fn end(&self) -> At {
        let end = match &self.edit {
            Edit::CurrentDatabase { .. } => self.token.saturating_add(3),
            Edit::Without(end) => *end,
            Edit::Before(pieces) | Edit::After(pieces) => {
                let ends = pieces.iter().map(|piece| match piece {
                    Piece::Copy(range) => range.end,
                    Piece::Text(_) => 0,
                });
                ends.max().unwrap_or_default()
            }
            Edit::Schema | Edit::Table | Edit::Within(_) | Edit::Alias(_) | Edit::Text(_) => 0,
        };
        end.max(self.token.saturating_add(1))
    }
}

/// The text of a statement for one shard, by edits in the order of their tokens; `None` where it is the client's own.
pub fn text_for(sql: &[u8], lexing: &Lexing, edits: &[NameEdit], place: &Place<'_>) -> Option<Vec<u8>> {
    let edits: Vec<_> = edits.iter().filter(|edit| place.needs(&edit.edit)).collect();
    let end = edits.iter().map(|edit| edit.end()).max()?;
    let tokens = Lexer::new(sql, lexing).filter(|token| counts(token.kind)).take(end as usize).collect();
    Some(Writing { sql, tokens, edits, place }.whole())
}

/// Tokens of a statement as they stand, with a space where there was anything between them.
pub(super) fn tokens_of(sql: &[u8], lexing: &Lexing, range: Range<At>) -> Vec<u8> {
    let tokens =
        Lexer::new(sql, lexing).filter(|token| counts(token.kind)).take(range.end as usize).collect();
    let place = Place { database: b"", schema: b"", suffix: b"" };
    let mut out = Vec::new();
    Writing { sql, tokens, edits: Vec::new(), place: &place }.copy(range, &mut out);
    out
}

/// A text that is being written.
struct Writing<'a> {
    sql: &'a [u8],
    tokens: Vec<Token>,
    edits: Vec<&'a NameEdit>,
    place: &'a Place<'a>,
}

impl Writing<'_> {
    fn whole(&self) -> Vec<u8> {
        let mut splices = Vec::new();
        // What stands before this byte has been left out.
        let mut left_out = 0;
        for NameEdit { token, edit } in &self.edits {
            let Some(found) = self.token(*token).filter(|found| found.start >= left_out) else { continue };
            let (span, text) = match edit {
                Edit::Before(pieces) => (found.start..found.start, self.put(pieces)),
                Edit::After(pieces) => (found.end..found.end, self.put(pieces)),
                Edit::Alias(name) => (found.end..found.end, alias(name)),
                Edit::Text(text) => (found.start..found.end, text.clone()),
                Edit::Schema | Edit::Table | Edit::Within(_) => {
                    (found.start..found.end, self.name(edit, found))
                }
                Edit::Without(end) => {
                    let last = end.checked_sub(1).and_then(|last| self.token(last)).unwrap_or(found);
                    left_out = last.end;
                    (found.start..last.end, Vec::new())
                }
                Edit::CurrentDatabase { named } => {
                    let end = self.token(token.saturating_add(2)).map_or(found.end, |closing| closing.end);
                    let mut text = string(self.place.database);
                    if *named {
                        text.extend(alias(self.sql.get(found.start..end).unwrap_or_default()));
                    }
                    left_out = end;
                    (found.start..end, text)
                }
            };
            splices.push(sql::Edit { span, text });
        }
        splice(self.sql, &splices)
    }

    fn token(&self, at: At) -> Option<&Token> {
        self.tokens.get(at as usize)
    }

    /// A name as it is at the shard.
    fn name(&self, edit: &Edit, token: &Token) -> Vec<u8> {
        match edit {
            Edit::Schema => quoted(self.place.schema, b'`'),
            Edit::Within(length) => {
                let name = unquote(token.text(self.sql));
                let (table, rest) = name.split_at_checked(*length).unwrap_or((&name, b""));
                quoted(&[table, self.place.suffix, rest].concat(), b'`')
            }
            _ => quoted(&[&*unquote(token.text(self.sql)), self.place.suffix].concat(), b'`'),
        }
    }

    fn put(&self, pieces: &[Piece]) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Copy(range) => self.copy(range.clone(), &mut out),
            }
        }
        out
    }

    /// Tokens of the statement, with a space where there was anything between them: comments may begin or end there.
    fn copy(&self, range: Range<At>, out: &mut Vec<u8>) {
        let mut before = None;
        let mut at = range.start;
        while let Some(token) = self.token(at).filter(|_| at < range.end) {
            if before.is_some_and(|end| end < token.start) {
                out.push(b' ');
            }
            let (mut text, mut last) = (token.text(self.sql).to_vec(), at);
            for edit in self.edits.iter().filter(|edit| edit.token == at).map(|edit| &edit.edit) {
                match edit {
                    Edit::Schema | Edit::Table | Edit::Within(_) => text = self.name(edit, token),
                    Edit::Alias(name) => text.extend(alias(name)),
                    Edit::CurrentDatabase { .. } => {
                        text = string(self.place.database);
                        last = at.saturating_add(2);
                    }
                    Edit::Before(_) | Edit::After(_) | Edit::Without(_) | Edit::Text(_) => {}
                }
            }
            out.extend(text);
            before = self.token(last).map(|token| token.end);
            at = last.saturating_add(1);
        }
    }
}

fn alias(name: &[u8]) -> Vec<u8> {
    [b" AS ".as_slice(), &quoted(name, b'`')].concat()
}

/// A name as a string. A backslash cannot stand in it: whether it escapes depends on sql_mode.
fn string(name: &[u8]) -> Vec<u8> {
    quoted(&name.iter().copied().filter(|byte| *byte != b'\\').collect::<Vec<_>>(), b'\'')
}
