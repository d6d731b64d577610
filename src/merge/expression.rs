//! Arithmetic over a group's aggregates.
//!
//! Owns: evaluation with exact numbers and DOUBLE, and the integers, decimals and doubles that come out. Does not know: how
//! the aggregates come about. Invariant: the type is the shards' own; what does not fit it is an error, and so is a shape whose rounding
//! the dialects disagree on.

use super::error::Error;
use super::number::{Scalar, Sum};
use super::row::Writer;
use super::spec::{Expression, Operator};
use crate::wire::column::{Column, kind};

/// An expression whose shape and outputs have been looked at.
#[derive(Debug)]
pub(super) struct Formula(Node);

#[derive(Debug)]
enum Node {
    Output(usize),
    Number(Scalar),
    Arithmetic(Box<Node>, Operator, Box<Node>),
    IfNull(Box<Node>, Box<Node>),
}

impl Formula {
    /// For the output at `place`; `number` tells whether an output can be computed with.
    pub fn new(
        expression: &Expression,
        place: usize,
        column: &Column,
        number: impl Fn(usize) -> bool,
    ) -> Result<Self, Error> {
        let unfoldable = Error::Unfoldable(place);
        if !matches!(column.kind, kind::LONG | kind::LONGLONG | kind::NEWDECIMAL | kind::DOUBLE) {
            return Err(unfoldable);
        }
        // A literal that has digits behind the point would ask for more of a quotient's.
        let may_divide = match expression {
            Expression::IfNull(_, other) => match &**other {
                Expression::Number(text) if text.iter().all(u8::is_ascii_digit) => Divide::First,
                _ => Divide::Never,
            },
            _ => Divide::Here,
        };
        node(expression, may_divide, &number).map(Self).ok_or(unfoldable)
    }

    /// The value, of the outputs' values; `None` for NULL.
    pub fn value(
        &self,
        column: &Column,
        output: &impl Fn(usize) -> Result<Option<Scalar>, Error>,
    ) -> Result<Option<Scalar>, Error> {
        evaluate(&self.0, usize::from(column.decimals), output)
    }
}

/// Where a division may stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Divide {
    Here,
    /// In the first operand.
    First,
    Never,
}

fn node(expression: &Expression, divide: Divide, number: &impl Fn(usize) -> bool) -> Option<Node> {
    let below = |expression: &Expression, divide| node(expression, divide, number).map(Box::new);
    Some(match expression {
        Expression::Output(place) => Node::Output(Some(*place).filter(|place| number(*place))?),
        Expression::Number(text) => Node::Number(Scalar::literal(text)?),
        Expression::Arithmetic(_, Operator::Over, _) if divide != Divide::Here => return None,
        Expression::Arithmetic(left, operator, right) => {
            Node::Arithmetic(below(left, Divide::Never)?, *operator, below(right, Divide::Never)?)
        }
        Expression::IfNull(value, other) => {
            let first = if divide == Divide::First { Divide::Here } else { Divide::Never };
            Node::IfNull(below(value, first)?, below(other, Divide::Never)?)
        }
    })
}

fn evaluate(
    node: &Node,
    scale: usize,
    output: &impl Fn(usize) -> Result<Option<Scalar>, Error>,
) -> Result<Option<Scalar>, Error> {
    match node {
        Node::Output(place) => output(*place),
        Node::Number(number) => Ok(Some(*number)),
        Node::IfNull(value, other) => match evaluate(value, scale, output)? {
            Some(value) => Ok(Some(value)),
            None => evaluate(other, scale, output),
        },
        Node::Arithmetic(left, operator, right) => {
            let (left, right) = (evaluate(left, scale, output)?, evaluate(right, scale, output)?);
            let (Some(left), Some(right)) = (left, right) else { return Ok(None) };
            apply(left, *operator, right, scale)
        }
    }
}

fn apply(left: Scalar, operator: Operator, right: Scalar, scale: usize) -> Result<Option<Scalar>, Error> {
    if let (Scalar::Exact(left), Scalar::Exact(right)) = (left, right) {
        let made = match operator {
            Operator::Plus => Some(left.plus(right)?),
            Operator::Minus => Some(left.plus(right.negated())?),
            Operator::Times => Some(left.times(right)?),
            Operator::Over => left.over(right, scale)?,
        };
        return Ok(made.map(Scalar::Exact));
    }
    let (left, right) = (left.real()?, right.real()?);
    let made = match operator {
        Operator::Plus => left + right,
        Operator::Minus => left - right,
        Operator::Times => left * right,
        Operator::Over if right == 0.0 => return Ok(None),
        Operator::Over => left / right,
    };
    if made.is_finite() { Ok(Some(Scalar::Real(made))) } else { Err(Error::Overflow) }
}

/// Writes a value in the type of its column.
pub(super) fn write(value: Option<Scalar>, column: &Column, writer: &mut Writer<'_>) -> Result<(), Error> {
    let Some(value) = value else {
        writer.null();
        return Ok(());
    };
    match (column.kind, value) {
        (kind::DOUBLE, value) => Sum::Real(value.real()?).write(column, writer),
        (kind::NEWDECIMAL, Scalar::Exact(value)) if value.scale() <= usize::from(column.decimals) => {
            Sum::Decimal(value).write(column, writer)
        }
        (kind::LONG | kind::LONGLONG, Scalar::Exact(value)) => {
            let width = if column.kind == kind::LONG { 4 } else { 8 };
            let (least, most) = match column.is_unsigned() {
                true => (0, (1i128 << (8 * width)) - 1),
                false => (-1i128 << (8 * width - 1), (1i128 << (8 * width - 1)) - 1),
            };
            let value =
                value.integer().filter(|value| (least..=most).contains(value)).ok_or(Error::Overflow)?;
            writer.integer(value, width);
            Ok(())
        }
        _ => Err(Error::Overflow),
    }
}
