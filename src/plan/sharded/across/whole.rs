//! How a column of the shards' groups becomes the whole group's.
//!
//! Owns: the fold of each aggregate. Does not know: types: a column that cannot be folded so is refused by
//! `merge`. Invariant: what has no fold here is refused.

use super::super::parse::tree::{Call, Expr, ExprKind};
use super::super::refusal::{Reason, Refusal, shown};
use super::aggregates::{has_aggregate, is_aggregate};
use super::columns::{copy, text};
use super::computed::divides_inside;
use super::groups::Grouping;
use super::joined::is_joined;
use crate::merge::{Deviation, Distinct, Fold, Key};
use crate::sql::Dialect;

/// Values that shards group by besides, at most: each shard sends a row for each combination.
pub(super) const FINER_MAX: usize = 3;

impl Grouping<'_, '_> {
    /// How the column that is this expression, at `place` of the shards' rows, becomes the whole group's.
    pub fn fold(&mut self, expr: &Expr, place: usize) -> Result<Fold, Refusal> {
        let words = self.columns.scope.text;
        if !has_aggregate(words, expr) {
            // Any row's value. Where all rows are one group, a shard without rows answers, too.
            let open = self.always && !is_constant(expr);
            return if open { Err(refused("A column")) } else { Ok(Fold::Any) };
        }
        match &expr.kind {
            ExprKind::Call(call) if is_aggregate(words, call) => {
                let name = words.name(call.name.last());
                let distinct = if call.distinct { "(DISTINCT …)" } else { "" };
                self.aggregate(expr, call, place)
                    .ok_or_else(|| refused(&format!("{}{distinct}", shown(&name))))
            }
            _ => match self.expression(expr).filter(|found| !divides_inside(found, true)) {
                Some(expression) => Ok(Fold::Expression(expression)),
                None => self.finished(expr, place).ok_or_else(|| refused("An expression")),
            },
        }
    }

    pub fn aggregate(&mut self, expr: &Expr, call: &Call, place: usize) -> Option<Fold> {
        let words = self.columns.scope.text;
        let name = words.name(call.name.last());
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        // Servers shall say that it is wrong.
        if call.arguments.iter().any(|argument| has_aggregate(words, argument)) {
            return None;
        }
        // Each shard has values of its own, unless its groups are finer.
        let apart = !call.distinct || !self.is_finer && self.columns.is_keyed(call);
        match () {
            () if is(b"MIN") => Some(Fold::Least(self.columns.key(place, expr))),
            () if is(b"MAX") => Some(Fold::Greatest(self.columns.key(place, expr))),
            () if is(b"BIT_AND") => Some(Fold::BitAnd),
            () if is(b"BIT_OR") => Some(Fold::BitOr),
            () if is(b"BIT_XOR") => Some(Fold::BitXor),
            () if is(b"ANY_VALUE") && !self.always => Some(Fold::Any),
            () if is(b"GROUPING") && self.select.rollup => Some(Fold::Any),
            () if is_joined(words, call) => self.joined(call, &name, place),
            () if !apart => self.distinct(call, &name, place),
            () if is(b"COUNT") => Some(Fold::Count),
            // In finer groups and those of levels, which MariaDB keeps in a temporary table, sums have no more digits than their type tells.
            () if (self.is_finer || self.select.rollup)
                && self.has_quotients(call)
                && (is(b"SUM") || is(b"AVG")) =>
            {
                None
            }
            () if is(b"SUM") && self.has_quotients(call) => self.sum_of(call).map(Fold::SumOf),
            () if is(b"SUM") => Some(Fold::Sum),
            () if is(b"AVG") => self.average(call),
            () => self.deviation(call, deviates(&name)?),
        }
    }

    /// Each value counts once: the shards tell of each value of a group, in finer groups.
    fn distinct(&mut self, call: &Call, name: &[u8], place: usize) -> Option<Fold> {
        let mut keys = Vec::new();
        for argument in &call.arguments {
            keys.push(self.finer_by(argument)?);
        }
        if self.finer.len() > FINER_MAX {
            return None;
        }
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if is(b"COUNT") {
            return Some(Fold::CountDistinct(keys));
        }
        // What is added up differs as numbers do: '1' and '01' are one.
        let [argument] = &call.arguments[..] else { return None };
        match () {
            () if is(b"SUM") => Some(Fold::SumDistinct(Distinct { value: place, key: Key::at(place) })),
            () if is(b"AVG") => {
                let value = self.columns.add(vec![text("SUM(DISTINCT "), copy(argument), text(")")]);
                Some(Fold::AverageDistinct(Distinct { value, key: Key::at(value) }))
            }
            () => None,
        }
    }

    /// Whether what is added up may have more digits than its type tells, as MariaDB's quotients have, which each shard's own sum would
    /// lose. MySQL rounds each of them.
    pub fn has_quotients(&self, call: &Call) -> bool {
        let words = self.columns.scope.text;
        let divides = |mut tokens: std::ops::Range<_>| tokens.any(|at| words.is(at, b'/'));
        words.dialect() == Dialect::MariaDb
            && !call.distinct
            && (call.arguments.iter().any(|argument| divides(argument.first..argument.end))
                || self.columns.reads_query() && divides(0..words.len()))
    }

    /// The place of a sum with all digits: of DECIMAL with more of them behind the point, of DOUBLE as it is.
    fn sum_of(&mut self, call: &Call) -> Option<usize> {
        let [argument] = &call.arguments[..] else { return None };
        let behind = text(") * 1.000000000000000000000000000");
        self.columns.copies(argument).then(|| self.columns.add(vec![text("SUM("), copy(argument), behind]))
    }

    /// AVG is made of SUM and COUNT.
    fn average(&mut self, call: &Call) -> Option<Fold> {
        let [argument] = &call.arguments[..] else { return None };
        if !self.columns.copies(argument) {
            return None;
        }
        let (sum, count) = match call.distinct {
            true => ("SUM(DISTINCT ", "COUNT(DISTINCT "),
            false => ("SUM(", "COUNT("),
        };
        let sum = match self.has_quotients(call) {
            true => self.sum_of(call)?,
            false => self.columns.add(vec![text(sum), copy(argument), text(")")]),
        };
        let count = self.columns.add(vec![text(count), copy(argument), text(")")]);
        Some(Fold::Average { sum, count })
    }

    /// STDDEV, VARIANCE and their kin are made of counts, sums and variances of the shards, as DOUBLE: definitions of MariaDB's would round
    /// them in text.
    fn deviation(&mut self, call: &Call, (sample, root): (bool, bool)) -> Option<Fold> {
        let [argument] = &call.arguments[..] else { return None };
        if call.distinct || !self.columns.copies(argument) {
            return None;
        }
        let mut of = |function: &'static str, behind: &'static str| {
            self.columns.add(vec![text(function), copy(argument), text(behind)])
        };
        let (count, sum) = (of("COUNT(", ")"), of("SUM(", ") + 0e0"));
        Some(Fold::Deviation(Deviation { count, sum, variance: of("VAR_POP(", ") + 0e0"), sample, root }))
    }
}

/// Whether an aggregate of this name is of a sample, and whether it is a root; `None` for all others.
fn deviates(name: &[u8]) -> Option<(bool, bool)> {
    let is = |names: &[&[u8]]| names.iter().any(|own| own.eq_ignore_ascii_case(name));
    match () {
        () if is(&[b"STD", b"STDDEV", b"STDDEV_POP"]) => Some((false, true)),
        () if is(&[b"STDDEV_SAMP"]) => Some((true, true)),
        () if is(&[b"VARIANCE", b"VAR_POP"]) => Some((false, false)),
        () if is(&[b"VAR_SAMP"]) => Some((true, false)),
        () => None,
    }
}

/// Whether the value is the same for all rows: it has no column and no query.
fn is_constant(expr: &Expr) -> bool {
    let varies = matches!(
        expr.kind,
        ExprKind::Column(_) | ExprKind::Query(_) | ExprKind::Exists(_) | ExprKind::InQuery { .. }
    );
    !varies && expr.children().all(is_constant)
}

fn refused(what: &str) -> Refusal {
    let what =
        format!("{what} beside or of aggregates on several shards, which cannot be made of the shards' own");
    Refusal::new(Reason::AggregateAcrossShards, what)
}
