//! What of the client's text is replaced for a shard: names, by token.
//!
//! Owns: the kinds of edits. Does not know: which shard, until it is asked for a text. Invariant: all else stays byte for byte.

use super::parse::text::{At, counts, unquote};
use super::planned::Cut;
use crate::sql::lexer::Lexer;
use crate::sql::{self, Lexing, splice};

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
    /// Behind it ` AS name` is put, where the shard has a suffix: columns go on being found under the table's name.
    Alias(Vec<u8>),
    /// It begins `DATABASE()` or `SCHEMA()`: the three tokens become the database's name as a string.
    CurrentDatabase {
        /// It is a column of the result and has no alias: it keeps its text as its name.
        named: bool,
    },
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
            Edit::Table | Edit::Alias(_) => !self.suffix.is_empty(),
        }
    }
}

/// The text of a statement for one shard; `None` where it is the client's own.
pub fn text_for(sql: &[u8], lexing: &Lexing, edits: &[NameEdit], place: &Place<'_>) -> Option<Vec<u8>> {
    let mut edits = edits.iter().filter(|edit| place.needs(&edit.edit)).peekable();
    edits.peek()?;
    let mut splices = Vec::new();
    let mut tokens = Lexer::new(sql, lexing).filter(|token| counts(token.kind)).zip(0..);
    let mut last = None;
    for NameEdit { token, edit } in edits {
        let found = match last.filter(|(_, number)| number == token) {
            Some(found) => Some(found),
            None => tokens.find(|(_, number)| number == token),
        };
        let Some((found, number)) = found else { break };
        last = Some((found, number));
        let (span, text) = match edit {
            Edit::Schema => (found.start..found.end, quoted(place.schema, b'`')),
            Edit::Table => {
                let name = [&*unquote(found.text(sql)), place.suffix].concat();
                (found.start..found.end, quoted(&name, b'`'))
            }
            Edit::Alias(name) => (found.end..found.end, [b" AS ".as_slice(), &quoted(name, b'`')].concat()),
            Edit::CurrentDatabase { named } => {
                let end = tokens.nth(1).map_or(found.end, |(closing, _)| closing.end);
                let mut text = string(place.database);
                if *named {
                    let name = sql.get(found.start..end).unwrap_or_default();
                    text = [&text, b" AS ".as_slice(), &quoted(name, b'`')].concat();
                }
                (found.start..end, text)
            }
        };
        splices.push(sql::Edit { span, text });
    }
    Some(splice(sql, &splices))
}

/// The text with a LIMIT of `count` rows from the first on, in the place of its own.
pub fn with_limit(sql: &[u8], lexing: &Lexing, cut: &Cut, count: &[u8]) -> Vec<u8> {
    let tokens = Lexer::new(sql, lexing).filter(|token| counts(token.kind)).zip(0..);
    let edits = tokens.filter_map(|(token, number)| {
        let text = match () {
            () if number == cut.count.token => count,
            () if cut.offset.is_some_and(|offset| number == offset.token) => b"0",
            () => return None,
        };
        Some(sql::Edit { span: token.start..token.end, text: text.to_vec() })
    });
    splice(sql, &edits.collect::<Vec<_>>())
}

/// A name in quotes.
fn quoted(name: &[u8], quote: u8) -> Vec<u8> {
    let mut out = vec![quote];
    for byte in name {
        out.push(*byte);
        if *byte == quote {
            out.push(quote);
        }
    }
    out.push(quote);
    out
}

/// A name as a string. A backslash cannot stand in it: whether it escapes depends on sql_mode.
fn string(name: &[u8]) -> Vec<u8> {
    quoted(&name.iter().copied().filter(|byte| *byte != b'\\').collect::<Vec<_>>(), b'\'')
}
