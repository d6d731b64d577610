//! The rows of `INSERT … VALUES (…), (…)`: cut by their parentheses and commas, never parsed.
//!
//! Owns: where they begin and end. Does not know: columns, keys. Invariant: linear time, no memory but that of the cuts.

use std::ops::Range;

use super::text::{At, Text};
use crate::sql::lexer::Kind;

/// The tokens of all rows of an INSERT or REPLACE, from the first `(`; `None` where there are none, or something is odd with them.
pub(super) fn find(text: &Text, statement: At) -> Option<Range<At>> {
    if !text.is_one_of(statement, &[b"INSERT", b"REPLACE"]) {
        return None;
    }
    let mut depth = 0u32;
    let mut at = statement + 1;
    loop {
        match text.kind(at) {
            Kind::Punct(b'(') => depth += 1,
            Kind::Punct(b')') => depth = depth.saturating_sub(1),
            Kind::Word if depth == 0 && text.is(at + 1, b'(') => {
                // VALUE may be the table's name: then a word that is reserved stands before it.
                let value = text.is_word(at, b"VALUE") && !text.is_reserved(at - 1) && !text.is(at - 1, b'.');
                if value || text.is_word(at, b"VALUES") {
                    break;
                }
            }
            _ if at >= text.len() => return None,
            _ => {}
        }
        at += 1;
    }
    let first = at + 1;
    let mut end = row_end(text, first)?;
    while text.is(end, b',') {
        end = row_end(text, end + 1)?;
    }
    Some(first..end)
}

/// The token after the row that begins with a parenthesis here; `None` where none does, or it holds a query.
fn row_end(text: &Text, first: At) -> Option<At> {
    if !text.is(first, b'(') {
        return None;
    }
    let mut depth = 0u32;
    let mut at = first;
    loop {
        match text.kind(at) {
            Kind::Punct(b'(') => depth += 1,
            Kind::Punct(b')') if depth == 1 => return Some(at + 1),
            Kind::Punct(b')') => depth -= 1,
            Kind::Punct(b';') => return None,
            Kind::Word if text.is_one_of(at, &[b"SELECT", b"TABLE", b"WITH"]) => return None,
            _ if at >= text.len() => return None,
            _ => {}
        }
        at += 1;
    }
}

/// The rows in `find`'s range.
pub(in crate::plan::sharded) fn rows(text: &Text, all: Range<At>) -> impl Iterator<Item = Range<At>> + '_ {
    let mut next = Some(all.start).filter(|_| !all.is_empty());
    std::iter::from_fn(move || {
        let first = next?;
        let end = row_end(text, first)?;
        next = Some(end + 1).filter(|_| end < all.end);
        Some(first..end)
    })
}

/// The values of a row, each by its tokens.
pub(in crate::plan::sharded) fn values(text: &Text, row: Range<At>) -> Vec<Range<At>> {
    let (first, last) = (row.start + 1, row.end.saturating_sub(1));
    let mut begin = first;
    let mut depth = 0u32;
    let mut values = Vec::new();
    for at in first..last {
        match text.kind(at) {
            Kind::Punct(b'(') => depth += 1,
            Kind::Punct(b')') => depth = depth.saturating_sub(1),
            Kind::Punct(b',') if depth == 0 => {
                values.push(begin..at);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if first < last {
        values.push(begin..last);
    }
    values
}
