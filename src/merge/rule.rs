//! How each column of a group's row is folded, held against the shards' columns.
//!
//! Owns: what must hold of the columns so that a fold gives what one server gives. Does not know: values. Invariant: what is not sure is refused
//! before a row is read.

use super::bits::{self, Bits};
use super::error::Error;
use super::expression::{Formula, Known};
use super::key::Codec;
use super::number::{Number, Scalar};
use super::row::Format;
use super::seen::Seen;
use super::spec::{Concat, Deviation, Fold, Key, Length, Output};
use super::work::Work;
use crate::wire::column::{Column, kind};

/// How a column is folded, resolved against the shards' columns.
#[derive(Debug)]
pub(super) enum Rule {
    Any,
    Count,
    Sum {
        of: usize,
        number: Number,
    },
    Average {
        sum: usize,
        count: usize,
        number: Number,
    },
    Best {
        codec: Codec,
    },
    Bits(Bits),
    CountDistinct(Distinct),
    SumDistinct {
        distinct: Distinct,
        value: usize,
        number: Number,
        average: bool,
    },
    Concat {
        concat: Concat,
        distinct: Option<Distinct>,
    },
    JsonArray {
        separator: Vec<u8>,
        length_max: Option<Length>,
    },
    JsonObject {
        sorted: bool,
    },
    Deviation(Deviation),
    Finished,
    /// Of the other outputs' values.
    Expression(Formula),
}

/// What tells values apart, and whether equal ones arrive together.
#[derive(Debug)]
pub(super) struct Distinct {
    codec: Codec,
    adjacent: bool,
}

impl Distinct {
    /// Nothing has been seen yet.
    pub fn seen(&self) -> Seen {
        Seen::new(self.adjacent)
    }

    /// Whether the row has a value, and a new one.
    pub fn is_new(&self, seen: &mut Seen, work: &mut Work<'_>) -> Result<bool, Error> {
        Ok(work.encode(&self.codec)? && seen.insert(work.key, work.meter)?)
    }
}

impl Rule {
    /// Of an output; see [`Aggregate::new`](super::aggregate::Aggregate::new).
    pub fn of(
        output: &Output,
        outputs: &[Output],
        columns: &[Column],
        format: Format,
        adjacent: impl Fn(&[Key]) -> bool,
    ) -> Result<Self, Error> {
        let place = output.place;
        let column = |place: usize| columns.get(place).ok_or(Error::NoColumn(place));
        let integer = |place: usize| match column(place)?.kind {
            kind::LONGLONG => Ok(place),
            _ => Err(Error::Unfoldable(place)),
        };
        let number = |place: usize| Number::of(column(place)?).ok_or(Error::Unfoldable(place));
        let codec = |keys: &[Key]| Codec::new(keys, columns, format, None);
        let best = |key: &Key, descending| {
            Ok::<_, Error>(Self::Best { codec: codec(&[Key { descending, ..key.clone() }])? })
        };
        let distinct =
            |keys: &[Key]| Ok::<_, Error>(Distinct { codec: codec(keys)?, adjacent: adjacent(keys) });
        let sum_distinct = |of: &super::spec::Distinct, average| {
            Ok::<_, Error>(Self::SumDistinct {
                distinct: distinct(std::slice::from_ref(&of.key))?,
                value: of.value,
                number: number(of.value)?,
                average,
            })
        };
        let bits = |operation| Bits::of(operation, column(place)?).ok_or(Error::Unfoldable(place));
        Ok(match &output.fold {
            Fold::Any => Self::Any,
            Fold::Finished => Self::Finished,
            Fold::Count => integer(place).map(|_| Self::Count)?,
            Fold::Sum => Self::Sum { of: place, number: number(place)? },
            Fold::SumOf(of) => {
                number(place)?;
                Self::Sum { of: *of, number: number(*of)? }
            }
            Fold::Average { sum, count } => {
                number(place)?;
                Self::Average { sum: *sum, count: integer(*count)?, number: number(*sum)? }
            }
            Fold::Least(key) => best(key, false)?,
            Fold::Greatest(key) => best(key, true)?,
            Fold::BitAnd => Self::Bits(bits(bits::Operation::And)?),
            Fold::BitOr => Self::Bits(bits(bits::Operation::Or)?),
            Fold::BitXor => Self::Bits(bits(bits::Operation::Xor)?),
            Fold::CountDistinct(keys) => {
                integer(place).and_then(|_| distinct(keys).map(Self::CountDistinct))?
            }
            Fold::SumDistinct(of) => sum_distinct(of, false)?,
            Fold::AverageDistinct(of) => sum_distinct(of, true)?,
            Fold::Concat(concat) => {
                if !column(concat.value)?.is_string() || column(concat.value)?.is_wide() {
                    return Err(Error::Unfoldable(concat.value));
                }
                concat.times.map(integer).transpose()?;
                let distinct = concat.distinct.as_deref().map(distinct).transpose()?;
                Self::Concat { concat: concat.clone(), distinct }
            }
            Fold::Expression(expression) => {
                let known = |output: usize| {
                    let output = outputs.get(output).filter(|output| output.fold.is_number())?;
                    let column = columns.get(output.place).filter(|column| Scalar::has(column, format))?;
                    let exact = !matches!(column.kind, kind::DOUBLE | kind::FLOAT);
                    let average = matches!(output.fold, Fold::Average { .. } | Fold::AverageDistinct(_));
                    Some(Known { digits: exact.then(|| column.decimals.into()), average })
                };
                Self::Expression(Formula::new(expression, place, column(place)?, known)?)
            }
            Fold::Whole(output) => {
                let known = outputs.get(*output).filter(|output| output.fold.is_number());
                known.ok_or(Error::Unfoldable(place))?;
                Self::Expression(Formula::whole(*output))
            }
            Fold::JsonObject { sorted } => {
                is_json(column(place)?).then_some(()).ok_or(Error::Unfoldable(place))?;
                Self::JsonObject { sorted: *sorted }
            }
            Fold::Deviation(of) => {
                integer(of.count)?;
                for place in [place, of.sum, of.variance] {
                    let real = column(place)?.kind == kind::DOUBLE;
                    real.then_some(()).ok_or(Error::Unfoldable(place))?;
                }
                Self::Deviation(*of)
            }
            Fold::JsonArray { separator, length_max } => {
                is_json(column(place)?).then_some(()).ok_or(Error::Unfoldable(place))?;
                Self::JsonArray { separator: separator.clone(), length_max: *length_max }
            }
        })
    }
}

/// Whether values are JSON, as text whose bytes are those of the servers.
fn is_json(column: &Column) -> bool {
    (column.is_string() || column.kind == kind::JSON) && !column.is_wide()
}

impl Fold {
    /// Whether an expression can be computed with it, if its column holds numbers.
    fn is_number(&self) -> bool {
        !matches!(
            self,
            Self::Expression(_)
                | Self::Whole(_)
                | Self::Concat(_)
                | Self::JsonArray { .. }
                | Self::JsonObject { .. }
                | Self::Finished
        )
    }
}
