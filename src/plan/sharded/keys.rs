//! Where a key's value comes from, and which keys a table's rows are narrowed to.
//!
//! Owns: sources of values, and sets of keys before the values are known. Does not know: names, placement.
//! Invariant: a `Narrow` never leaves out a row that the statement can touch: what is not understood is `All`.

use std::ops::Range;

use super::parse::text::{At, Text, is_literal};
use super::parse::tree::{Expr, ExprKind};
use crate::sql::lexer::Kind;

/// Combinations of values of a composite key that are looked at; with more, nothing is narrowed.
const COMBINATIONS_MAX: usize = 1024;

/// Where a value comes from, found anew for each execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeySource {
    /// A literal, by its place among the statement's literals.
    Literal {
        /// Its place in `sql::shape`'s list.
        ordinal: u32,
        /// A minus stands before it.
        negative: bool,
        /// The type in front of it.
        typed: Typed,
    },
    /// A parameter, by its place among them.
    Parameter(u32),
    /// NULL: equals nothing.
    Null,
}

/// The type in front of a literal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Typed {
    /// None.
    Plain,
    /// `DATE '…'`.
    Date,
    /// `TIMESTAMP '…'`.
    Timestamp,
    /// `TIME '…'`.
    Time,
}

/// An end of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// The value.
    pub source: KeySource,
    /// It belongs to the range.
    pub inclusive: bool,
}

/// The keys that a table's rows must have, as far as is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Narrow {
    /// Any.
    All,
    /// One of these; a value for each column of the key.
    Keys(Vec<Vec<KeySource>>),
    /// Of a key of one column: between these.
    Range {
        /// The lower end.
        low: Option<Bound>,
        /// The upper end.
        high: Option<Bound>,
    },
    /// What all of these allow.
    And(Vec<Narrow>),
    /// What one of these allows.
    Or(Vec<Narrow>),
}

impl Narrow {
    /// How many keys and ends it has.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::All => 0,
            Self::Keys(keys) => keys.len(),
            Self::Range { .. } => 2,
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::weight).sum(),
        }
    }
}

impl KeySource {
    /// The source of an expression's value; `None` when it is no literal, parameter or NULL that stands alone.
    pub(super) fn of(text: &Text, expr: &Expr) -> Option<Self> {
        match expr.kind {
            ExprKind::Literal { at, negative, typed } => {
                let typed = match typed {
                    None => Typed::Plain,
                    Some(word) if text.is_word(word, b"DATE") => Typed::Date,
                    Some(word) if text.is_word(word, b"TIMESTAMP") => Typed::Timestamp,
                    Some(_) => Typed::Time,
                };
                Some(Self::Literal { ordinal: text.ordinal(at), negative, typed })
            }
            ExprKind::Parameter(at) => Some(Self::Parameter(text.ordinal(at))),
            ExprKind::Null => Some(Self::Null),
            _ => None,
        }
    }

    /// The same of a value among rows, which are not parsed.
    pub(super) fn of_tokens(text: &Text, tokens: Range<At>) -> Option<Self> {
        let literal = |at: At, negative, typed| Self::Literal { ordinal: text.ordinal(at), negative, typed };
        let number = |at| matches!(text.kind(at), Kind::Integer | Kind::Decimal | Kind::Float);
        let plain = |at| text.bytes(at).first().is_some_and(|first| !matches!(first, b'n' | b'N' | b'$'));
        let at = tokens.start;
        match tokens.end.saturating_sub(at) {
            1 if text.kind(at) == Kind::Placeholder => Some(Self::Parameter(text.ordinal(at))),
            1 if is_literal(text.kind(at)) && plain(at) => Some(literal(at, false, Typed::Plain)),
            1 if text.is_word(at, b"NULL") => Some(Self::Null),
            2 if text.is(at, b'-') && number(at + 1) => Some(literal(at + 1, true, Typed::Plain)),
            2 if text.is_word(at, b"DATE") && text.kind(at + 1) == Kind::String => {
                Some(literal(at + 1, false, Typed::Date))
            }
            2 if text.is_word(at, b"TIMESTAMP") && text.kind(at + 1) == Kind::String => {
                Some(literal(at + 1, false, Typed::Timestamp))
            }
            _ => None,
        }
    }
}

/// What a condition says of one column of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// It is one of these.
    OneOf(Vec<KeySource>),
    /// It is between these.
    Between(Option<Bound>, Option<Bound>),
}

/// Collects what is said of one table's key in one conjunction.
#[derive(Debug)]
pub(super) struct Gather {
    columns: Vec<Vec<Said>>,
    whole: Vec<Narrow>,
}

impl Gather {
    /// For a key of so many columns.
    pub fn new(columns: usize) -> Self {
        Self { columns: vec![Vec::new(); columns], whole: Vec::new() }
    }

    /// Something is said of a column.
    pub fn column(&mut self, column: usize, said: Said) {
        if let Some(list) = self.columns.get_mut(column) {
            list.push(said);
        }
    }

    /// Something is said of the whole key.
    pub fn whole(&mut self, narrow: Narrow) {
        if narrow != Narrow::All {
            self.whole.push(narrow);
        }
    }

    /// The keys that all of it allows.
    pub fn finish(self) -> Narrow {
        let mut all = self.whole;
        match <[Vec<Said>; 1]>::try_from(self.columns) {
            Ok([said]) => all.extend(said.into_iter().map(|said| match said {
                Said::OneOf(sources) => {
                    Narrow::Keys(sources.into_iter().map(|source| vec![source]).collect())
                }
                Said::Between(low, high) => Narrow::Range { low, high },
            })),
            Err(columns) => all.extend(combinations(columns).map(Narrow::Keys)),
        }
        match all.len() {
            0 => Narrow::All,
            1 => all.remove(0),
            _ => Narrow::And(all),
        }
    }
}

/// Every combination of the columns' values, where each column has some.
fn combinations(columns: Vec<Vec<Said>>) -> Option<Vec<Vec<KeySource>>> {
    let mut keys = vec![Vec::new()];
    for said in columns {
        let lists = said.into_iter().filter_map(|said| match said {
            Said::OneOf(sources) => Some(sources),
            Said::Between(..) => None,
        });
        let shortest = lists.min_by_key(Vec::len)?;
        if keys.len().saturating_mul(shortest.len()) > COMBINATIONS_MAX {
            return None;
        }
        let with = |key: &Vec<KeySource>| {
            let key = key.clone();
            shortest.clone().into_iter().map(move |source| [&key[..], &[source]].concat())
        };
        keys = keys.iter().flat_map(with).collect();
    }
    Some(keys)
}

/// What one of several conditions allows.
pub(super) fn any(narrows: Vec<Narrow>) -> Narrow {
    if narrows.contains(&Narrow::All) { Narrow::All } else { Narrow::Or(narrows) }
}
