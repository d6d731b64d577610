//! Expressions of aggregates that a server computes, of the whole groups' aggregates.
//!
//! Owns: which expressions these are. Does not know: how values are told to the server (`merge`). Invariant: the same expression over the same
//! values by the same rules: nothing in it depends on a table, a moment, a session's own values, or the collation of a text.

use std::ops::Range;

use super::super::parse::text::At;
use super::super::parse::tree::{Call, Expr, ExprKind};
use super::super::planned::{Finishing, Term};
use super::aggregates::{has_aggregate, is_aggregate};
use super::groups::Grouping;
use crate::merge::{Fold, Output};
use crate::sql::lexer::Kind;

/// Functions whose value is that of their arguments.
const FUNCTIONS: &[&[u8]] = &[
    b"ABS",
    b"CAST",
    b"CEIL",
    b"CEILING",
    b"COALESCE",
    b"CONCAT",
    b"CONCAT_WS",
    b"CONVERT",
    b"DATEDIFF",
    b"DATE_FORMAT",
    b"DAY",
    b"DEGREES",
    b"ELT",
    b"EXP",
    b"FIELD",
    b"FLOOR",
    b"FORMAT",
    b"GREATEST",
    b"HEX",
    b"HOUR",
    b"IF",
    b"IFNULL",
    b"INTERVAL",
    b"ISNULL",
    b"LEAST",
    b"LEFT",
    b"LENGTH",
    b"LN",
    b"LOG",
    b"LOG10",
    b"LOG2",
    b"LPAD",
    b"MINUTE",
    b"MOD",
    b"MONTH",
    b"NULLIF",
    b"POW",
    b"POWER",
    b"QUARTER",
    b"RADIANS",
    b"REPEAT",
    b"RIGHT",
    b"ROUND",
    b"RPAD",
    b"SECOND",
    b"SEC_TO_TIME",
    b"SIGN",
    b"SQRT",
    b"TIMESTAMPDIFF",
    b"TIME_TO_SEC",
    b"TO_DAYS",
    b"TRUNCATE",
    b"YEAR",
];
/// Of these, those whose value of texts depends neither on their collation nor on the bytes of their character set.
const OF_TEXTS: &[&[u8]] = &[b"COALESCE", b"CONCAT", b"CONCAT_WS", b"IFNULL"];

/// What has been found in an expression.
struct Found {
    /// Aggregates, by their tokens, and where their values are.
    aggregates: Vec<(Range<At>, usize)>,
    texts: bool,
}

impl Grouping<'_, '_> {
    /// The fold of a column that a server computes in the end.
    pub fn finished(&mut self, expr: &Expr, place: usize) -> Option<Fold> {
        if self.finished.iter().all(|own| own.place != place) {
            let mut found = Found { aggregates: Vec::new(), texts: true };
            self.find(expr, &mut found)?;
            found.aggregates.sort_by_key(|(tokens, _)| tokens.start);
            let (mut parts, mut at) = (Vec::new(), expr.first);
            for (tokens, output) in found.aggregates {
                if at < tokens.start {
                    parts.push(Term::Tokens(at..tokens.start));
                }
                parts.push(Term::Output(output));
                at = tokens.end;
            }
            if at < expr.end {
                parts.push(Term::Tokens(at..expr.end));
            }
            self.finished.push(Finishing { place, parts, texts: found.texts });
        }
        Some(Fold::Finished)
    }

    /// All aggregates of an expression; `None` where something else is in it.
    fn find(&mut self, expr: &Expr, found: &mut Found) -> Option<()> {
        let words = self.columns.scope.text;
        match &expr.kind {
            ExprKind::Literal { .. } | ExprKind::Null => return Some(()),
            ExprKind::Call(call) if is_aggregate(words, call) && !call.over => {
                return self.leaf(expr, call, found);
            }
            ExprKind::Call(call) => {
                let name = words.name(call.name.last());
                let is = |list: &[&[u8]]| list.iter().any(|own| own.eq_ignore_ascii_case(&name));
                let plain = !call.over && !call.distinct && !call.star && call.name.qualifiers().is_empty();
                if !plain || !is(FUNCTIONS) {
                    return None;
                }
                found.texts &= is(OF_TEXTS);
            }
            ExprKind::Other(operands) if operands.is_empty() => {
                let plain = matches!(words.kind(expr.first), Kind::String | Kind::Introducer)
                    || words.is_one_of(expr.first, &[b"TRUE", b"FALSE"]);
                return plain.then_some(());
            }
            ExprKind::Other(_)
            | ExprKind::And(_)
            | ExprKind::Or(_)
            | ExprKind::Compare(..)
            | ExprKind::In { .. }
            | ExprKind::Between { .. } => found.texts = false,
            _ => return None,
        }
        // An assignment has its value as its only child.
        if !self.columns.copies(expr) || !has_aggregate(words, expr) && has_column(expr) {
            return None;
        }
        expr.children().try_for_each(|child| self.find(child, found))
    }

    /// An aggregate; a quotient has more digits inside an expression than by itself, which nobody tells.
    fn leaf(&mut self, expr: &Expr, call: &Call, found: &mut Found) -> Option<()> {
        let place = self.columns.expr(expr)?;
        let fold = self.aggregate(expr, call, place)?;
        let known = !matches!(
            fold,
            Fold::Average { .. }
                | Fold::AverageDistinct(_)
                | Fold::Deviation(_)
                | Fold::Concat(_)
                | Fold::JsonArray { .. }
                | Fold::JsonObject { .. }
        );
        known.then_some(())?;
        let output = self.output(Output { place, fold });
        found.aggregates.push((expr.first..expr.end, output));
        Some(())
    }
}

/// Whether a column stands in it.
fn has_column(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Column(_)) || expr.children().any(has_column)
}
