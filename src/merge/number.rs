//! Numbers: sums in the type that the servers sum in, comparisons as the servers compare.
//!
//! Owns: which type that is, and how a sum is written. Does not know: groups. Invariant: DECIMAL is exact; DOUBLE is added
//! as the servers add it, one after another.

use std::cmp::Ordering;

use super::decimal::Decimal;
use super::error::Error;
use super::key;
use super::real;
use super::row::{Format, Writer};
use crate::wire::column::{Column, kind};

/// What a sum is computed in: the type of the shards' own SUM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Number {
    Decimal,
    Real,
}

/// A number as it is compared.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Scalar {
    Exact(Decimal),
    Real(f64),
}

impl Scalar {
    /// A literal: exact without an exponent, as the servers take it.
    pub fn literal(text: &[u8]) -> Option<Self> {
        match text.iter().any(|byte| matches!(byte, b'e' | b'E')) {
            false => Decimal::parse(text).map(Self::Exact),
            true => key::real(text, Format::Text).ok().map(Self::Real),
        }
    }

    /// Digits behind the point; `None` for DOUBLE.
    pub fn digits(self) -> Option<usize> {
        match self {
            Self::Exact(value) => Some(value.scale()),
            Self::Real(_) => None,
        }
    }

    /// A column's value, where [`Scalar::has`] it.
    pub fn of(column: &Column, value: &[u8], format: Format) -> Result<Self, Error> {
        Ok(match column.kind {
            kind::DOUBLE | kind::FLOAT => Self::Real(key::real(value, format)?),
            kind::DECIMAL | kind::NEWDECIMAL => Self::Exact(Decimal::parse(value).ok_or(Error::Malformed)?),
            _ if column.is_unsigned() => Self::Exact(i128::from(key::unsigned(value, format)?).into()),
            _ => Self::Exact(i128::from(key::signed(value, format)?).into()),
        })
    }

    /// Whether a column's values are numbers as they are sent: FLOAT is rounded in text.
    pub fn has(column: &Column, format: Format) -> bool {
        let integer =
            matches!(column.kind, kind::TINY | kind::SHORT | kind::INT24 | kind::LONG | kind::LONGLONG);
        integer || Number::of(column).is_some() || column.kind == kind::FLOAT && format == Format::Binary
    }

    /// Exact numbers compare exactly, others as DOUBLE.
    pub fn compare(self, other: Self) -> Result<Ordering, Error> {
        if let (Self::Exact(left), Self::Exact(right)) = (self, other) {
            return left.compare(right);
        }
        self.real()?.partial_cmp(&other.real()?).ok_or(Error::Malformed)
    }

    pub fn real(self) -> Result<f64, Error> {
        match self {
            Self::Real(value) => Ok(value),
            Self::Exact(value) => {
                let mut text = Vec::new();
                value.write(0, &mut text)?;
                key::real(&text, Format::Text)
            }
        }
    }
}

/// A sum so far.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Sum {
    /// Of nothing: NULL.
    Empty,
    Decimal(Decimal),
    Real(f64),
}

impl Number {
    /// Of a column that holds sums; `None` where it holds something else.
    pub fn of(column: &Column) -> Option<Self> {
        match column.kind {
            kind::DECIMAL | kind::NEWDECIMAL => Some(Self::Decimal),
            kind::DOUBLE => Some(Self::Real),
            _ => None,
        }
    }
}

impl Sum {
    pub fn add(&mut self, number: Number, value: &[u8], format: Format) -> Result<(), Error> {
        *self = match (number, *self) {
            (Number::Decimal, sum) => {
                let value = Decimal::parse(value).ok_or(Error::Malformed)?;
                Self::Decimal(if let Self::Decimal(sum) = sum { sum.plus(value)? } else { value })
            }
            (Number::Real, sum) => {
                let sum = if let Self::Real(sum) = sum { sum } else { 0.0 };
                Self::Real(sum + key::real(value, format)?)
            }
        };
        Ok(())
    }

    /// As a number; `None` for NULL.
    pub fn scalar(self) -> Option<Scalar> {
        match self {
            Self::Empty => None,
            Self::Decimal(sum) => Some(Scalar::Exact(sum)),
            Self::Real(sum) => Some(Scalar::Real(sum)),
        }
    }

    /// Divided by how many values it is of.
    pub fn average(self, count: u64, column: &Column) -> Result<Self, Error> {
        Ok(match self {
            _ if count == 0 => Self::Empty,
            Self::Empty => Self::Empty,
            Self::Decimal(sum) => Self::Decimal(sum.divide(count, usize::from(column.decimals))?),
            Self::Real(sum) => Self::Real(sum / count as f64), // as the servers do
        })
    }

    /// The same as the servers compute with it: with more digits than the column shows.
    pub fn whole_average(self, count: u64, column: &Column) -> Result<Option<Scalar>, Error> {
        Ok(match self {
            _ if count == 0 => None,
            Self::Decimal(sum) => Some(Scalar::Exact(sum.average(count, usize::from(column.decimals))?)),
            other => other.average(count, column)?.scalar(),
        })
    }

    /// Writes it as a value of `column`, which may have fewer digits.
    pub fn write(self, column: &Column, writer: &mut Writer<'_>) -> Result<(), Error> {
        match self {
            Self::Empty => writer.null(),
            Self::Real(sum) if sum.is_finite() => {
                writer.double(sum, |out| real::put(sum, column.decimals, out));
            }
            Self::Real(_) => return Err(Error::Overflow),
            Self::Decimal(sum) => {
                let mut result = Ok(());
                let sum = sum.rounded(usize::from(column.decimals))?;
                writer.text(|out| result = sum.write(usize::from(column.decimals), out));
                result?;
            }
        }
        Ok(())
    }
}
