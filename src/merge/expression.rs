//! Arithmetic over a group's aggregates.
//!
//! Owns: evaluation with exact numbers and DOUBLE, and the integers, decimals and doubles that come out. Does not know: how
//! the aggregates come about. Invariant: the type is the shards' own; what does not fit it is an error, and so is a shape whose rounding
//! is not known. An average is computed with by more digits than it shows, and as DOUBLE by others still: then it is refused.

use super::error::Error;
use super::number::{Scalar, Sum};
use super::row::Writer;
use super::spec::{Expression, Operator};
use crate::wire::column::{Column, kind};

/// Digits behind the point that a product's type has at most (MySQL, where that matters).
const DIGITS_MAX: usize = 30;

/// An expression whose shape and outputs have been looked at.
#[derive(Debug)]
pub(super) struct Formula {
    node: Node,
    whole: bool,
}

#[derive(Debug)]
enum Node {
    Output(usize),
    Number(Scalar),
    Arithmetic(Box<Node>, Operator, Box<Node>),
    /// One divided by the other: so many digits more than the first has by its type.
    Quotient(Box<Node>, Box<Node>, usize),
    IfNull(Box<Node>, Box<Node>),
    /// To so many digits behind the point.
    Round(Box<Node>, usize),
    /// Exact numbers only.
    Declared(Box<Node>, usize),
}

/// What an expression may be computed with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Known {
    /// Digits behind the point by its type; `None` for DOUBLE.
    pub digits: Option<usize>,
    /// It has more digits than its type says, which differ where it is taken as DOUBLE.
    pub average: bool,
}

impl Formula {
    /// For the output at `place`; `known` tells of an output that can be computed with.
    pub fn new(
        expression: &Expression,
        place: usize,
        column: &Column,
        known: impl Fn(usize) -> Option<Known>,
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
        let shape = Shape { known: &known, digits: column.decimals.into() };
        let (node, made) = shape.node(expression, may_divide).ok_or(unfoldable)?;
        let mixed = made.average && made.real && made.exact;
        if mixed { Err(unfoldable) } else { Ok(Self { node, whole: false }) }
    }

    /// What another output is, with all the digits that a server computes with.
    pub fn whole(output: usize) -> Self {
        Self { node: Node::Output(output), whole: true }
    }

    /// The value, of the outputs' values; `None` for NULL.
    pub fn value(
        &self,
        column: &Column,
        output: &impl Fn(usize) -> Result<Option<Scalar>, Error>,
    ) -> Result<Option<Scalar>, Error> {
        evaluate(&self.node, usize::from(column.decimals), output)
    }

    /// Writes a value in the type of its column.
    pub fn write(
        &self,
        value: Option<Scalar>,
        column: &Column,
        writer: &mut Writer<'_>,
    ) -> Result<(), Error> {
        match value {
            Some(Scalar::Exact(value)) if self.whole => {
                let mut result = Ok(());
                writer.text(|out| result = value.write(0, out));
                result
            }
            value => write(value, column, writer),
        }
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

/// What is known of a node.
#[derive(Clone, Copy, Debug)]
struct Made {
    digits: Option<usize>,
    average: bool,
    exact: bool,
    real: bool,
}

impl Made {
    fn with(self, other: Self, digits: impl FnOnce(usize, usize) -> usize) -> Self {
        Self {
            digits: self.digits.zip(other.digits).map(|(one, other)| digits(one, other)),
            average: self.average || other.average,
            exact: self.exact || other.exact,
            real: self.real || other.real,
        }
    }
}

impl From<Known> for Made {
    fn from(known: Known) -> Self {
        let Known { digits, average } = known;
        let exact = digits.is_some();
        Self { digits, average: average && exact, exact, real: !exact }
    }
}

/// What nodes are made by.
struct Shape<'a, K> {
    known: &'a K,
    /// Those of the column that is made.
    digits: usize,
}

impl<K: Fn(usize) -> Option<Known>> Shape<'_, K> {
    fn node(&self, expression: &Expression, divide: Divide) -> Option<(Node, Made)> {
        let below = |expression: &Expression, divide| {
            self.node(expression, divide).map(|(node, made)| (Box::new(node), made))
        };
        Some(match expression {
            Expression::Output(place) => (Node::Output(*place), (self.known)(*place)?.into()),
            Expression::Number(text) => {
                let number = Scalar::literal(text)?;
                (Node::Number(number), Known { digits: number.digits(), average: false }.into())
            }
            Expression::Arithmetic(_, Operator::Over, _) if divide != Divide::Here => return None,
            Expression::Arithmetic(left, operator, right) => {
                let ((left, one), (right, other)) =
                    (below(left, Divide::Never)?, below(right, Divide::Never)?);
                match operator {
                    Operator::Over => {
                        let more = self.digits.saturating_sub(one.digits.unwrap_or(self.digits));
                        (Node::Quotient(left, right, more), one.with(other, |_, _| self.digits))
                    }
                    Operator::Times => {
                        let made = one.with(other, |one, other| (one + other).min(DIGITS_MAX));
                        (Node::Arithmetic(left, *operator, right), made)
                    }
                    Operator::Plus | Operator::Minus => {
                        (Node::Arithmetic(left, *operator, right), one.with(other, usize::max))
                    }
                }
            }
            Expression::IfNull(value, other) => {
                let first = if divide == Divide::First { Divide::Here } else { Divide::Never };
                let ((value, one), (other, two)) = (below(value, first)?, below(other, Divide::Never)?);
                (Node::IfNull(value, other), one.with(two, usize::max))
            }
            Expression::Round { value, digits, clipped } => {
                let (value, made) = below(value, Divide::Never)?;
                let digits = std::str::from_utf8(digits).ok()?.parse::<usize>().ok()?;
                let digits = match made.digits {
                    Some(own) if *clipped => digits.min(own),
                    _ => digits,
                };
                (Node::Round(value, digits), Made { digits: made.digits.map(|_| digits), ..made })
            }
            Expression::Declared(value) => {
                let (value, made) = self.node(value, divide)?;
                match made.digits {
                    Some(digits) => (Node::Declared(value.into(), digits), made),
                    None => (value, made),
                }
            }
        })
    }
}

fn evaluate(
    node: &Node,
    scale: usize,
    output: &impl Fn(usize) -> Result<Option<Scalar>, Error>,
) -> Result<Option<Scalar>, Error> {
    let pair = |left: &Node, right: &Node| {
        Ok::<_, Error>(evaluate(left, scale, output)?.zip(evaluate(right, scale, output)?))
    };
    match node {
        Node::Output(place) => output(*place),
        Node::Number(number) => Ok(Some(*number)),
        Node::IfNull(value, other) => match evaluate(value, scale, output)? {
            Some(value) => Ok(Some(value)),
            None => evaluate(other, scale, output),
        },
        Node::Arithmetic(left, operator, right) => {
            let Some((left, right)) = pair(left, right)? else { return Ok(None) };
            apply(left, *operator, right).map(Some)
        }
        Node::Quotient(left, right, more) => match pair(left, right)? {
            None => Ok(None),
            Some((Scalar::Exact(left), Scalar::Exact(right))) => {
                Ok(left.over(right, scale, *more)?.map(Scalar::Exact))
            }
            Some((left, right)) => match (left.real()?, right.real()?) {
                (_, 0.0) => Ok(None),
                (left, right) => finite(left / right).map(Some),
            },
        },
        Node::Round(value, digits) => match evaluate(value, scale, output)? {
            Some(Scalar::Exact(value)) => Ok(Some(Scalar::Exact(value.rounded(*digits)?))),
            Some(Scalar::Real(value)) => Ok(Some(Scalar::Real(rounded(value, *digits)))),
            None => Ok(None),
        },
        Node::Declared(value, digits) => match evaluate(value, scale, output)? {
            Some(Scalar::Exact(value)) => Ok(Some(Scalar::Exact(value.rounded(*digits)?))),
            other => Ok(other),
        },
    }
}

/// As the servers round a DOUBLE (`my_double_round`).
fn rounded(value: f64, digits: usize) -> f64 {
    let power = i32::try_from(digits).map_or(f64::INFINITY, |digits| 10f64.powi(digits));
    let large = value * power;
    if large.is_finite() && power.is_finite() { large.round_ties_even() / power } else { value }
}

fn finite(value: f64) -> Result<Scalar, Error> {
    if value.is_finite() { Ok(Scalar::Real(value)) } else { Err(Error::Overflow) }
}

fn apply(left: Scalar, operator: Operator, right: Scalar) -> Result<Scalar, Error> {
    if let (Scalar::Exact(left), Scalar::Exact(right)) = (left, right) {
        return Ok(Scalar::Exact(match operator {
            Operator::Plus => left.plus(right)?,
            Operator::Minus => left.plus(right.negated())?,
            Operator::Times => left.times(right)?,
            Operator::Over => return Err(Error::Malformed), // a quotient
        }));
    }
    let (left, right) = (left.real()?, right.real()?);
    finite(match operator {
        Operator::Plus => left + right,
        Operator::Minus => left - right,
        Operator::Times => left * right,
        Operator::Over => return Err(Error::Malformed),
    })
}

/// Writes a value in the type of its column.
fn write(value: Option<Scalar>, column: &Column, writer: &mut Writer<'_>) -> Result<(), Error> {
    let Some(value) = value else {
        writer.null();
        return Ok(());
    };
    match (column.kind, value) {
        (kind::DOUBLE, value) => Sum::Real(value.real()?).write(column, writer),
        (kind::NEWDECIMAL, Scalar::Exact(value)) => Sum::Decimal(value).write(column, writer),
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
