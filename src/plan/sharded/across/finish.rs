//! Expressions of aggregates that a server computes, of the whole groups' aggregates.
//!
//! Owns: which expressions these are. Does not know: how values are told to the server (`merge`). Invariant: the same expression over the same
//! values by the same rules: nothing in it depends on a table, a moment, a session's own values, or the collation of a text.

use std::ops::Range;

use super::super::parse::text::{At, Text};
use super::super::parse::tree::{Call, Expr, ExprKind};
use super::super::planned::{Finishing, Term};
use super::aggregates::{has_aggregate, has_average, is_aggregate, is_average};
use super::computed::divides_inside;
use super::groups::Grouping;
use crate::merge::{Fold, Output};
use crate::sql::Dialect;
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

/// Functions that take an average as an exact number, or as the text that it shows.
const OF_AVERAGES: &[&[u8]] = &[
    b"ABS",
    b"CAST",
    b"CEIL",
    b"CEILING",
    b"COALESCE",
    b"CONCAT",
    b"CONCAT_WS",
    b"FLOOR",
    b"FORMAT",
    b"GREATEST",
    b"IF",
    b"IFNULL",
    b"ISNULL",
    b"LEAST",
    b"NULLIF",
    b"ROUND",
    b"TRUNCATE",
];
/// Of these, those that texts may stand in beside it, as no number is made of them.
const BESIDE_TEXTS: &[&[u8]] = &[b"COALESCE", b"CONCAT", b"CONCAT_WS", b"IF", b"IFNULL"];

/// What has been found in an expression.
struct Found {
    /// Aggregates, by their tokens, and what stands for them.
    aggregates: Vec<(Range<At>, Vec<Term>)>,
    texts: bool,
    /// Averages are among them, as quotients.
    quotients: bool,
}

/// What MySQL makes of an average that stands right there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Around {
    /// The text that it shows.
    Text,
    /// It takes all digits, and what it gives has not more of them for that.
    Digits,
    Other,
}

impl Grouping<'_, '_> {
    /// The fold of a column that a server computes in the end.
    pub fn finished(&mut self, expr: &Expr, place: usize) -> Option<Fold> {
        if self.finished.iter().all(|own| own.place != place) {
            let mut found = Found { aggregates: Vec::new(), texts: true, quotients: false };
            self.find(expr, Around::Other, &mut found)?;
            if found.quotients && !is_of_averages(self.columns.scope.text, expr) {
                return None;
            }
            found.aggregates.sort_by_key(|(tokens, _)| tokens.start);
            let (mut parts, mut at) = (Vec::new(), expr.first);
            for (tokens, mut terms) in found.aggregates {
                if at < tokens.start {
                    parts.push(Term::Tokens(at..tokens.start));
                }
                parts.append(&mut terms);
                at = tokens.end;
            }
            if at < expr.end {
                parts.push(Term::Tokens(at..expr.end));
            }
            self.finished.push(Finishing { place, parts, texts: found.texts, alike: found.quotients });
        }
        Some(Fold::Finished)
    }

    /// All aggregates of an expression; `None` where something else is in it.
    fn find(&mut self, expr: &Expr, around: Around, found: &mut Found) -> Option<()> {
        let words = self.columns.scope.text;
        if let Some(output) = self.computed(expr) {
            found.aggregates.push((expr.first..expr.end, vec![Term::Output(output)]));
            return Some(());
        }
        let mut inside = Around::Other;
        match &expr.kind {
            ExprKind::Literal { .. } | ExprKind::Null => return Some(()),
            ExprKind::Call(call) if is_aggregate(words, call) && !call.over => {
                return self.leaf(expr, call, around, found);
            }
            ExprKind::Call(call) => {
                let name = words.name(call.name.last());
                let is = |list: &[&[u8]]| list.iter().any(|own| own.eq_ignore_ascii_case(&name));
                let plain = !call.over && !call.distinct && !call.star && call.name.qualifiers().is_empty();
                if !plain || !is(FUNCTIONS) {
                    return None;
                }
                found.texts &= is(OF_TEXTS);
                let cast = |of: &Expr| words.is_word(of.end, b"AS") && words.is_word(of.end + 1, b"DECIMAL");
                inside = match &call.arguments[..] {
                    _ if is(&[b"CONCAT", b"CONCAT_WS"]) => Around::Text,
                    [_] if is(&[b"FLOOR", b"CEIL", b"CEILING"]) => Around::Digits,
                    [_, _] if is(&[b"FORMAT"]) => Around::Digits,
                    [of, ..] if is(&[b"CAST"]) && cast(of) => Around::Digits,
                    _ => Around::Other,
                };
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
            | ExprKind::Between { .. } => {
                found.texts = false;
                let compares = !matches!(expr.kind, ExprKind::Other(_) | ExprKind::And(_) | ExprKind::Or(_));
                if compares && expr.children().all(|side| is_exact(words, side)) {
                    inside = Around::Digits;
                }
            }
            _ => return None,
        }
        // An assignment has its value as its only child.
        if !self.columns.copies(expr) || !has_aggregate(words, expr) && has_column(expr) {
            return None;
        }
        expr.children().try_for_each(|child| self.find(child, inside, found))
    }

    /// An output that is an expression with averages inside, which the merge computes as a server does, its type included.
    fn computed(&mut self, expr: &Expr) -> Option<usize> {
        let words = self.columns.scope.text;
        let mysql = words.dialect() == Dialect::MySql;
        let rounds = |call: &Call| words.name(call.name.last()).eq_ignore_ascii_case(b"ROUND");
        let is_own = match &expr.kind {
            ExprKind::Call(call) => rounds(call) || mysql && !is_aggregate(words, call),
            ExprKind::Other(_) => mysql,
            _ => false,
        };
        if !is_own || !has_average(words, expr) {
            return None;
        }
        let own = self.expression(expr).filter(|own| !divides_inside(own, true))?;
        let place = self.columns.expr(expr)?;
        Some(self.output(Output { place, fold: Fold::Expression(own) }))
    }

    /// An aggregate. An average has more digits inside an expression than by itself: MariaDB's is what its sum divided by its count is.
    fn leaf(&mut self, expr: &Expr, call: &Call, around: Around, found: &mut Found) -> Option<()> {
        let place = self.columns.expr(expr)?;
        let mysql = self.columns.scope.text.dialect() == Dialect::MySql;
        let terms = match self.aggregate(expr, call, place)? {
            Fold::Average { sum, count } if !mysql && !self.has_quotients(call) => {
                found.quotients = true;
                let sum = self.output(Output { place: sum, fold: Fold::Sum });
                let count = self.output(Output { place: count, fold: Fold::Count });
                vec![
                    Term::Text("("),
                    Term::Output(sum),
                    Term::Text("/"),
                    Term::Output(count),
                    Term::Text(")"),
                ]
            }
            fold @ (Fold::Average { .. } | Fold::AverageDistinct(_)) if mysql => match around {
                Around::Text => vec![Term::Output(self.output(Output { place, fold }))],
                Around::Digits => vec![Term::Whole(self.whole(expr, place)?)],
                Around::Other => return None,
            },
            Fold::Average { .. }
            | Fold::AverageDistinct(_)
            | Fold::SumOf(_)
            | Fold::Deviation(_)
            | Fold::Concat(_)
            | Fold::JsonArray { .. }
            | Fold::JsonObject { .. } => return None,
            fold => vec![Term::Output(self.output(Output { place, fold }))],
        };
        found.aggregates.push((expr.first..expr.end, terms));
        Some(())
    }
}

/// Whether MySQL compares it as an exact number: an average, or a literal.
fn is_exact(words: &Text, side: &Expr) -> bool {
    match &side.kind {
        ExprKind::Call(call) => is_average(words, call),
        ExprKind::Literal { at, typed: None, .. } => matches!(words.kind(*at), Kind::Integer | Kind::Decimal),
        _ => false,
    }
}

/// Whether averages in an expression are nowhere taken as DOUBLE, which has other digits than the exact quotient.
fn is_of_averages(words: &Text, expr: &Expr) -> bool {
    if (expr.first..expr.end).any(|at| words.kind(at) == Kind::Float) {
        return false;
    }
    let no_text = |side: &Expr| (side.first..side.end).all(|at| words.kind(at) != Kind::String);
    let own = match &expr.kind {
        _ if !has_average(words, expr) => return true,
        ExprKind::Call(call) if is_average(words, call) => return true,
        ExprKind::Call(call) => {
            let name = words.name(call.name.last());
            let is = |list: &[&[u8]]| list.iter().any(|own| own.eq_ignore_ascii_case(&name));
            let cast =
                |of: &Expr| words.is_one_of(of.end + 1, &[b"CHAR", b"DECIMAL", b"SIGNED", b"UNSIGNED"]);
            is(OF_AVERAGES)
                && (is(BESIDE_TEXTS) || no_text(expr))
                && (!is(&[b"CAST"]) || call.arguments.first().is_some_and(cast))
        }
        _ => no_text(expr) || words.is_word(expr.first, b"CASE") && words.is_word(expr.first + 1, b"WHEN"),
    };
    own && expr.children().all(|child| is_of_averages(words, child))
}

/// Whether a column stands in it.
fn has_column(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Column(_)) || expr.children().any(has_column)
}
