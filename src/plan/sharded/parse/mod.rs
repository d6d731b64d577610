//! From a packet's bytes to the tree that planning reads.
//!
//! Owns: the bounds of what is parsed, our dialect of sqlparser, the tree. Does not know: rules, names' meaning.
//! Invariant: no input panics, overflows the stack or takes more than linear memory; what is not surely understood is an error.

mod bracket;
mod call;
mod change;
mod dialect;
mod expression;
mod feed;
mod lower;
mod primary;
pub(super) mod rows;
pub(super) mod statement;
#[cfg(test)]
mod tests;
pub(super) mod text;
pub(super) mod tree;

use std::ops::Range;

use sqlparser::parser::Parser;

pub use self::bracket::bracketed;
use self::dialect::Ours;
use self::expression::Climb;
use self::statement::Statement;
use self::text::{At, Text};
use crate::sql::lexer::Kind;

/// Longest statement that is parsed, in tokens. Rows of an INSERT are cut and not parsed, and do not count.
const TOKENS_MAX: usize = 100_000;
/// Parentheses inside parentheses, at most.
const PARENTHESES_MAX: u32 = 64;
/// Joins, and set operations, of one statement, at most. MySQL itself joins no more than 61 tables.
const JOINS_MAX: usize = 256;
/// Queries inside queries and joins inside joins that sqlparser may enter.
const RECURSION_MAX: usize = 50;

/// Why there is no tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NoTree {
    /// Its parentheses or joins are nested too deeply.
    TooDeep,
    /// It has too many tokens.
    TooLong,
    /// It has an operator that sql_mode gives another meaning.
    SqlMode,
    /// It is not understood; what the parser says is for tests and logs.
    NotParsed(String),
}

/// sql_mode as far as it changes how operators bind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Modes {
    /// PIPES_AS_CONCAT: `||` joins texts.
    pub pipes_as_concat: bool,
    /// HIGH_NOT_PRECEDENCE: NOT binds like `!`.
    pub high_not_precedence: bool,
}

/// Parses a text from a token on. The text is given back whatever comes of it.
pub(super) fn parse(text: Text, first: At, modes: Modes) -> (Text, Result<Statement, NoTree>) {
    let rows = rows::find(&text, first);
    match bounds(&text, rows.as_ref()) {
        Ok(()) => {}
        Err(no_tree) => return (text, Err(no_tree)),
    }
    let tokens = feed::feed(&text, first, rows.as_ref());
    let ours = Ours::new(text, rows, modes.pipes_as_concat, modes.high_not_precedence);
    let parsed = {
        let mut parser =
            Parser::new(&ours).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(tokens);
        Climb { ours: &ours, parser: &mut parser }.statement()
    };
    let parsed = parsed.map_err(|error| match ours.mode_matters.get() {
        true => NoTree::SqlMode,
        false => NoTree::NotParsed(error.to_string()),
    });
    (ours.text, parsed)
}

/// Whether the text can be parsed, and its tree dropped, within the stack and in little time.
fn bounds(text: &Text, rows: Option<&Range<At>>) -> Result<(), NoTree> {
    if (text.len() - rows.map_or(0, |rows| rows.end - rows.start)) as usize > TOKENS_MAX {
        return Err(NoTree::TooLong);
    }
    let (mut depth, mut joins) = (0u32, 0usize);
    for at in 0..text.len() {
        match text.kind(at) {
            Kind::Punct(b'(') => depth += 1,
            Kind::Punct(b')') => depth = depth.saturating_sub(1),
            Kind::Word => {
                let joining: &[&[u8]] = &[b"JOIN", b"STRAIGHT_JOIN", b"UNION", b"EXCEPT", b"INTERSECT"];
                joins += usize::from(text.is_one_of(at, joining));
            }
            _ => {}
        }
        if depth > PARENTHESES_MAX || joins > JOINS_MAX {
            return Err(NoTree::TooDeep);
        }
    }
    Ok(())
}
