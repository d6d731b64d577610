//! Expressions over aggregates that the merge computes itself: arithmetic, IFNULL, COALESCE, ROUND.
//!
//! Owns: which these are, and what each dialect rounds on the way. Does not know: types: a column that cannot be computed so is refused by
//! `merge`. Invariant: MySQL rounds what an operation gives to the digits of its type before it goes on, but not an average; MariaDB rounds
//! at the end.

use super::super::keys::KeySource;
use super::super::merging::number;
use super::super::parse::tree::{Call, Expr, ExprKind};
use super::aggregates::is_aggregate;
use super::groups::Grouping;
use crate::merge::{Expression, Fold, Operator, Output};
use crate::sql::Dialect;
use crate::sql::lexer::Kind;

impl Grouping<'_, '_> {
    /// Arithmetic over aggregates and numbers.
    pub fn expression(&mut self, expr: &Expr) -> Option<Expression> {
        let words = self.columns.scope.text;
        match &expr.kind {
            ExprKind::Literal { typed: None, .. } => self.literal(expr).map(Expression::Number),
            ExprKind::Call(call) if is_aggregate(words, call) => {
                let place = self.columns.expr(expr)?;
                let fold = self.aggregate(expr, call, place)?;
                Some(Expression::Output(self.output(Output { place, fold })))
            }
            ExprKind::Call(call) if !call.distinct && !call.over => self.function(call),
            ExprKind::Other(operands) => {
                let (first, rest) = operands.split_first().filter(|(_, rest)| !rest.is_empty())?;
                let mut left = self.operand_of(first)?;
                let mut end = first.end;
                for (number, right) in rest.iter().enumerate() {
                    let operator = match words.kind(end) {
                        Kind::Punct(b'+') => Operator::Plus,
                        Kind::Punct(b'-') => Operator::Minus,
                        Kind::Punct(b'*') => Operator::Times,
                        Kind::Punct(b'/') => Operator::Over,
                        _ => return None,
                    };
                    if right.first != end + 1 {
                        return None;
                    }
                    let value = self.operand_of(right)?;
                    let before = if number == 0 { left } else { self.declared(left) };
                    left = Expression::Arithmetic(before.into(), operator, value.into());
                    end = right.end;
                }
                Some(left)
            }
            _ => None,
        }
    }

    /// IFNULL, COALESCE of two, ROUND.
    fn function(&mut self, call: &Call) -> Option<Expression> {
        let name = self.columns.scope.text.name(call.name.last());
        let is = |own: &[u8]| own.eq_ignore_ascii_case(&name);
        match &call.arguments[..] {
            [value, other] if is(b"IFNULL") || is(b"COALESCE") => {
                let (value, other) = (self.operand_of(value)?, self.operand_of(other)?);
                Some(Expression::IfNull(value.into(), other.into()))
            }
            [value, rest @ ..] if is(b"ROUND") && rest.len() < 2 => {
                let digits = match rest.first() {
                    Some(digits) => self.literal(digits).filter(|_| is_integer(self, digits))?,
                    None => Vec::new(),
                };
                let clipped = self.columns.scope.text.dialect() == Dialect::MySql;
                Some(Expression::Round { value: self.operand_of(value)?.into(), digits, clipped })
            }
            _ => None,
        }
    }

    /// What stands inside another expression.
    fn operand_of(&mut self, expr: &Expr) -> Option<Expression> {
        let own = self.expression(expr)?;
        Some(self.declared(own))
    }

    /// An operation that is not the last.
    fn declared(&self, own: Expression) -> Expression {
        let last = matches!(own, Expression::Output(_) | Expression::Number(_));
        let mysql = self.columns.scope.text.dialect() == Dialect::MySql;
        if last || !mysql { own } else { Expression::Declared(own.into()) }
    }

    /// The output that is an average with all digits that MySQL compares it by: MariaDB compares those that it shows.
    pub fn whole(&mut self, expr: &Expr, place: usize) -> Option<usize> {
        let words = self.columns.scope.text;
        let ExprKind::Call(call) = &expr.kind else { return None };
        if words.dialect() != Dialect::MySql || !is_aggregate(words, call) {
            return None;
        }
        let fold = self.aggregate(expr, call, place)?;
        let average = matches!(fold, Fold::Average { .. } | Fold::AverageDistinct(_));
        average.then(|| {
            let output = self.output(Output { place, fold });
            self.output(Output { place, fold: Fold::Whole(output) })
        })
    }

    /// A number that stands in the statement, as a plan holds it.
    pub fn literal(&mut self, expr: &Expr) -> Option<Vec<u8>> {
        let words = self.columns.scope.text;
        let source = KeySource::of(words, expr)?;
        let is_number = matches!(expr.kind, ExprKind::Literal { at, typed: None, .. }
            if matches!(words.kind(at), Kind::Integer | Kind::Decimal | Kind::Float));
        is_number.then(|| number(source, &mut self.numbers))
    }
}

/// Whether a literal is an integer without a sign.
fn is_integer(grouping: &Grouping<'_, '_>, expr: &Expr) -> bool {
    let words = grouping.columns.scope.text;
    matches!(expr.kind, ExprKind::Literal { at, negative: false, .. } if words.kind(at) == Kind::Integer)
}

/// Whether a division stands where it is not the last step: servers round it otherwise.
pub(super) fn divides_inside(expression: &Expression, outermost: bool) -> bool {
    match expression {
        Expression::Output(_) | Expression::Number(_) => false,
        Expression::Arithmetic(left, operator, right) => {
            *operator == Operator::Over && !outermost
                || divides_inside(left, false)
                || divides_inside(right, false)
        }
        Expression::IfNull(value, other) => divides_inside(value, outermost) || divides_inside(other, false),
        Expression::Declared(value) => divides_inside(value, outermost),
        Expression::Round { value, .. } => divides_inside(value, false),
    }
}
