//! Window functions on several shards.
//!
//! Owns: which windows are in one shard. Does not know: what is computed in them. Invariant: each row of a window that passes here is in the
//! same shard, because the windows are apart by the sharding key.

use super::super::parse::text::Text;
use super::super::parse::tree::{Call, Expr, Select};
use super::super::refusal::{Reason, Refusal};
use super::columns::Columns;

/// Whether each shard's windows are whole.
pub(super) fn check(columns: &Columns<'_>, select: &Select, calls: &[&Call]) -> Result<(), Refusal> {
    let refused = |what: &str| Err(Refusal::new(Reason::WindowAcrossShards, what));
    if !select.windows.is_empty() || select.elaborate && !select.rollup {
        return refused("Windows with names on several shards");
    }
    let text = columns.scope.text;
    let keyed = |call: &&Call| columns.have_key(&partition(text, call));
    match calls.iter().filter(|call| call.over).all(keyed) {
        true => Ok(()),
        false => refused("Windows on several shards that PARTITION BY does not tell apart by the key"),
    }
}

/// What a window function's own PARTITION BY has.
fn partition(text: &Text, call: &Call) -> Vec<Expr> {
    let is_first = |expr: &Expr| {
        let word =
            |back: u32, word: &[u8]| expr.first.checked_sub(back).is_some_and(|at| text.is_word(at, word));
        word(1, b"BY") && word(2, b"PARTITION")
    };
    let Some(first) = call.arguments.iter().position(is_first) else { return Vec::new() };
    let mut found: Vec<Expr> = Vec::new();
    for expr in &call.arguments[first..] {
        let follows = found.last().is_none_or(|last| text.is(last.end, b',') && last.end + 1 == expr.first);
        if !follows {
            break;
        }
        found.push(expr.clone());
    }
    found
}
