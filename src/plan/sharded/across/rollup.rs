//! WITH ROLLUP: groups of each level, and their sums.
//!
//! Owns: what tells a sum from a group of NULL, and the order of both. Does not know: how columns are folded. Invariant: rows of two levels are
//! never one: GROUPING() is a key, too.

use super::super::parse::tree::{Alias, Expr, ExprKind};
use super::super::refusal::Refusal;
use super::columns::{copy, text};
use super::groups::{By, Grouping, grouped};
use crate::merge::{Key, Output};

impl Grouping<'_, '_> {
    /// Whether a row is a sum over this column of GROUP BY. Expressions are asked for by other ones in groups, which sums would have, too.
    pub fn sums(&mut self, expr: &Expr) -> Result<Key, Refusal> {
        let columns = &mut *self.columns;
        let item = columns.is_whole(expr).then(|| columns.position(expr)).flatten();
        let own = match item {
            Some(place) => columns.items.get(place).copied().flatten().map(|(own, _)| own),
            None => Some(expr),
        };
        let refused = || grouped("More than columns WITH ROLLUP");
        let own = own.ok_or_else(refused)?;
        let ExprKind::Column(path) = &own.kind else { return Err(refused()) };
        let named = |(other, alias): &(&Expr, Alias)| {
            columns.answers_to(other, *alias, path) && !matches!(other.kind, ExprKind::Column(_))
        };
        if columns.items.iter().flatten().any(named) {
            return Err(refused());
        }
        let place = columns.add(vec![text("GROUPING("), copy(own), text(")")]);
        Ok(Key::at(place))
    }

    /// The order in which MySQL gives them: each sum behind what it is of.
    pub fn rolled(&mut self, outputs: &[Output]) -> Vec<Key> {
        let keys = self.keys.clone();
        let mut order = Vec::new();
        for pair in keys.chunks(2) {
            for key in pair.iter().rev() {
                order.push(self.order(By::Key(key.clone()), outputs));
            }
        }
        order
    }
}
