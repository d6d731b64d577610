//! Sums in the type that the servers sum in.
//!
//! Owns: which type that is, and how a sum is written. Does not know: groups. Invariant: DECIMAL is exact; DOUBLE is added
//! as the servers add it, one after another.

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

    /// Divided by how many values it is of.
    pub fn average(self, count: u64, column: &Column) -> Result<Self, Error> {
        Ok(match self {
            _ if count == 0 => Self::Empty,
            Self::Empty => Self::Empty,
            Self::Decimal(sum) => Self::Decimal(sum.divide(count, usize::from(column.decimals))?),
            Self::Real(sum) => Self::Real(sum / count as f64), // as the servers do
        })
    }

    /// Writes it as a value of `column`.
    pub fn write(self, column: &Column, writer: &mut Writer<'_>) -> Result<(), Error> {
        match self {
            Self::Empty => writer.null(),
            Self::Real(sum) if sum.is_finite() => {
                writer.double(sum, |out| real::put(sum, column.decimals, out));
            }
            Self::Real(_) => return Err(Error::Overflow),
            Self::Decimal(sum) => {
                let mut result = Ok(());
                writer.text(|out| result = sum.write(usize::from(column.decimals), out));
                result?;
            }
        }
        Ok(())
    }
}
