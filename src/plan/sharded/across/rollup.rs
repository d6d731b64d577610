//! WITH ROLLUP: groups of each level, and their sums.
//!
//! Owns: what tells a sum from a group of NULL, and the order of both; what else sums have. Does not know: how columns are folded. Invariant:
//! rows of two levels are never one: whether a row is a sum over a column is a key, too.

use super::super::edits::{Edit, NameEdit, Piece};
use super::super::parse::text::At;
use super::super::parse::tree::{Alias, Expr, ExprKind, Path};
use super::super::refusal::Refusal;
use super::aggregates::has_aggregate;
use super::columns::{copy, text};
use super::groups::{By, Grouping, grouped};
use crate::merge::{Key, Level, Output};
use crate::sql::Dialect;

/// Calls whose arguments MariaDB does not take for NULL in a sum, though GROUP BY names them.
const APART: &[&[u8]] = &[b"DEFAULT", b"INTERVAL", b"VALUE", b"VALUES"];

/// What MariaDB's groups need, which has no GROUPING().
#[derive(Default)]
pub(super) struct Levels {
    pub levels: Vec<Level>,
    /// GROUP BY in the text.
    pub edits: Vec<NameEdit>,
}

impl Grouping<'_, '_> {
    /// A key that tells whether a row is a sum over this column of GROUP BY, whose values are at `place`. Expressions are asked for by other
    /// ones in groups, which sums would have, too.
    pub fn level(&mut self, expr: &Expr, place: usize) -> Result<(), Refusal> {
        let columns = &mut *self.columns;
        let item = columns.items.get(place).copied().flatten().map(|(own, _)| own);
        let own = item.unwrap_or(expr);
        let refused = || grouped("More than columns WITH ROLLUP");
        let ExprKind::Column(path) = &own.kind else { return Err(refused()) };
        let named = |(other, alias): &(&Expr, Alias)| {
            columns.answers_to(other, *alias, path) && !matches!(other.kind, ExprKind::Column(_))
        };
        if columns.items.iter().flatten().any(named) {
            return Err(refused());
        }
        if self.keys.iter().filter(|key| key.place == place).count() > 1 {
            return Err(grouped("The same column twice WITH ROLLUP"));
        }
        if columns.scope.text.dialect() == Dialect::MySql {
            let place = columns.add(vec![text("GROUPING("), copy(own), text(")")]);
            self.keys.push(Key::at(place));
            return Ok(());
        }
        // Groups are by one thing that tells whether `a` is NULL, `a`, and another such thing: neither of the two is NULL by itself. Where the
        // first is, the row is a sum over `a`; where only the second is, it is of a level between. An expression that a client may write,
        // as `a IS NULL`, would get the group's NULL in places of the client's own.
        let sum = columns.add(vec![text("IF("), copy(own), text(" IS NULL, 72061, 72060)")]);
        let whole = columns.add(vec![text("IF("), copy(own), text(" IS NULL, 72063, 72062)")]);
        self.levels.levels.push(Level { value: place, sum, whole });
        let hidden = |place: usize| place - columns.items.len();
        let before = format!(" `tidegate {}`,", hidden(sum));
        let behind = format!(", `tidegate {}`", hidden(whole));
        // The first behind BY or the comma.
        for (token, piece) in [(expr.first.saturating_sub(1), before), (expr.end.saturating_sub(1), behind)] {
            let edit = Edit::After(vec![Piece::Text(piece.into())]);
            self.levels.edits.push(NameEdit { token, edit });
        }
        // The group of NULL comes first, the sum last.
        self.keys.push(Key::at(sum).descending());
        Ok(())
    }

    /// Whether sums have at this place of the select list what all rows of the sum give alike. MariaDB puts NULL in the place of the column
    /// that GROUP BY means, and of its like in functions; elsewhere sums have a value of some row.
    pub fn is_level(&self, expr: &Expr, place: usize) -> bool {
        let words = self.columns.scope.text;
        !self.select.rollup
            || words.dialect() == Dialect::MySql
            || has_aggregate(words, expr)
            || self.keys.iter().any(|key| key.place == place)
            || !matches!(expr.kind, ExprKind::Column(_)) && self.follows(expr)
    }

    fn follows(&self, expr: &Expr) -> bool {
        let words = self.columns.scope.text;
        let known = match &expr.kind {
            ExprKind::Column(path) => self.is_grouped(expr) || self.is_item_of_groups(path),
            ExprKind::Call(call) => {
                let name = words.name(call.name.last());
                let is = |list: &[&[u8]]| list.iter().any(|own| own.eq_ignore_ascii_case(&name));
                !(call.over || is(APART) || is(&[b"ISNULL"]) && self.asks_hidden(expr))
            }
            ExprKind::Other(operands) if operands.iter().any(|of| words.is_word(of.end, b"IS")) => {
                !self.asks_hidden(expr)
            }
            ExprKind::Literal { .. }
            | ExprKind::Parameter(_)
            | ExprKind::Null
            | ExprKind::Compare(..)
            | ExprKind::In { .. }
            | ExprKind::Between { .. }
            | ExprKind::Other(_) => true,
            _ => false,
        };
        known && expr.children().all(|child| self.follows(child))
    }

    /// Whether a column is asked for NULL that is not selected. MariaDB takes such a one for never NULL, if it is so by itself, where it
    /// stands behind: there it is hidden.
    fn asks_hidden(&self, expr: &Expr) -> bool {
        let hidden = |of: &Expr| matches!(&of.kind, ExprKind::Column(path) if !self.is_item_of_groups(path));
        expr.children().any(hidden)
    }

    /// Whether it is the column of an item that GROUP BY names by its place or its alias.
    fn is_item_of_groups(&self, path: &Path) -> bool {
        let words = self.columns.scope.text;
        let same = |(one, other): (&At, &At)| words.name(*one).eq_ignore_ascii_case(&words.name(*other));
        let items = self.keys.iter().filter_map(|key| self.columns.items.get(key.place).copied().flatten());
        items.into_iter().any(|(own, _)| match &own.kind {
            ExprKind::Column(own) => {
                own.parts().len() == path.parts().len() && own.parts().iter().zip(path.parts()).all(same)
            }
            _ => false,
        })
    }

    /// Whether a sum's NULL is known to HAVING as such. MariaDB takes a column that cannot be NULL for not NULL there, too.
    pub fn knows_null(&self, of: &Expr) -> bool {
        let words = self.columns.scope.text;
        !self.select.rollup || words.dialect() == Dialect::MySql || has_aggregate(words, of)
    }

    /// The order in which servers give them: each sum behind what it is of.
    pub fn rolled(&mut self, outputs: &[Output]) -> Vec<Key> {
        let keys = self.keys.clone();
        let mut order = Vec::new();
        for pair in keys.chunks(2) {
            for key in pair.iter().rev() {
                let descending = key.descending;
                order.push(Key { descending, ..self.order(By::Key(key.clone()), outputs) });
            }
        }
        order
    }
}
