//! Window functions on several shards.
//!
//! Owns: which windows are in one shard. Does not know: what is computed in them. Invariant: each row of a window that passes here is in the
//! same shard, because the windows are apart by the sharding key.

use super::super::parse::text::{At, Text};
use super::super::parse::tree::{Call, Expr, Select};
use super::super::refusal::{Reason, Refusal};
use super::columns::Columns;
use crate::sql::lexer::Kind;

/// Whether each shard's windows are whole.
pub(super) fn check(columns: &Columns<'_>, select: &Select, calls: &[&Call]) -> Result<(), Refusal> {
    let refused = |what: &str| Err(Refusal::new(Reason::WindowAcrossShards, what));
    let text = columns.scope.text;
    let named = select.elaborate && !select.rollup || !select.windows.is_empty();
    if named && !are_keyed(columns, select) {
        return refused(
            "Windows with names on several shards that PARTITION BY does not tell apart by the key",
        );
    }
    let keyed = |call: &&Call| {
        columns.have_key(&partition(text, &call.arguments)) || named && is_of_window(text, call)
    };
    match calls.iter().filter(|call| call.over).all(keyed) {
        true => Ok(()),
        false => refused("Windows on several shards that PARTITION BY does not tell apart by the key"),
    }
}

/// Whether each window with a name is apart by the key, or made of another one with a name.
fn are_keyed(columns: &Columns<'_>, select: &Select) -> bool {
    let text = columns.scope.text;
    // The first definition's tokens: WINDOW name AS ( … ).
    let Some(first) = select.windows.iter().map(|expr| expr.first).min() else { return false };
    let Some(mut at) = (select.at..first).rev().find(|at| text.is_word(*at, b"WINDOW")) else { return false };
    loop {
        // at: WINDOW, or a comma.
        let inside = at + 4;
        if !text.is_word(at + 2, b"AS") || !text.is(at + 3, b'(') {
            return false;
        }
        let keyed = match text.is_word(inside, b"PARTITION") {
            true => {
                let own: Vec<_> =
                    select.windows.iter().filter(|expr| expr.first >= inside).cloned().collect();
                own.first().is_some_and(|expr| expr.first == inside + 2)
                    && columns.have_key(&partition(text, &own))
            }
            false => is_name(text, inside),
        };
        let Some(end) = closed(text, at + 3).filter(|_| keyed) else { return false };
        if !text.is(end + 1, b',') {
            return true;
        }
        at = end + 1;
    }
}

/// Whether a call is over a window with a name, or one that is made of it.
fn is_of_window(text: &Text, call: &Call) -> bool {
    let Some(end) = closed(text, call.name.last() + 1) else { return false };
    // FROM FIRST, RESPECT NULLS and their like may stand between.
    let Some(over) = (end + 1..end + 6).find(|at| text.is_word(*at, b"OVER")) else { return false };
    let at = if text.is(over + 1, b'(') { over + 2 } else { over + 1 };
    is_name(text, at)
}

/// Whether a window's name stands there.
fn is_name(text: &Text, at: At) -> bool {
    const OTHERS: &[&[u8]] = &[b"PARTITION", b"ORDER", b"ROWS", b"RANGE", b"GROUPS"];
    match text.kind(at) {
        Kind::Word => !text.is_one_of(at, OTHERS),
        Kind::QuotedName => true,
        _ => false,
    }
}

/// The parenthesis that closes this one.
fn closed(text: &Text, open: At) -> Option<At> {
    let mut depth = 0u32;
    if !text.is(open, b'(') {
        return None;
    }
    for at in open..text.len() {
        match text.kind(at) {
            Kind::Punct(b'(') => depth += 1,
            Kind::Punct(b')') => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// What the first PARTITION BY before one of these expressions has: a window's own.
fn partition(text: &Text, expressions: &[Expr]) -> Vec<Expr> {
    let is_first = |expr: &Expr| {
        let word =
            |back: u32, word: &[u8]| expr.first.checked_sub(back).is_some_and(|at| text.is_word(at, word));
        word(1, b"BY") && word(2, b"PARTITION")
    };
    let Some(first) = expressions.iter().position(is_first) else { return Vec::new() };
    let mut found: Vec<Expr> = Vec::new();
    for expr in &expressions[first..] {
        let follows = found.last().is_none_or(|last| text.is(last.end, b',') && last.end + 1 == expr.first);
        if !follows {
            break;
        }
        found.push(expr.clone());
    }
    found
}
