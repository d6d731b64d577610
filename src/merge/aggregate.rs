//! One column of a group's row: values in, a value out.
//!
//! Owns: how each aggregate folds the shards' parts of it. Does not know: which rows are a group, which columns can be folded so (`rule`).
//! Invariant: NULL parts count for nothing, and what is kept is paid for.

use super::bits;
use super::concat;
use super::deviation::Moments;
use super::error::Error;
use super::expression::Formula;
use super::json::{self, Object};
use super::key;
use super::number::{Scalar, Sum};
use super::row::{Format, Layout, Writer};
use super::rule::{Distinct, Rule};
use super::seen::Seen;
use super::spec::{Key, Length, Output};
use super::work::{Best, Work};
use crate::wire::column::Column;

/// A column of a group's row.
#[derive(Debug)]
pub(super) struct Aggregate {
    place: usize,
    /// The column's definition.
    pub column: Column,
    rule: Rule,
}

/// A column's value so far.
#[derive(Debug)]
pub(super) enum State {
    /// As it is encoded; `None` for NULL.
    Value(Option<Vec<u8>>),
    Count(i128),
    Sum {
        sum: Sum,
        count: u64,
    },
    /// The value whose key is least.
    Best(Option<Best>),
    Bits(Option<bits::Value>),
    CountDistinct {
        seen: Seen,
        count: i128,
    },
    SumDistinct {
        seen: Seen,
        sum: Sum,
        count: u64,
    },
    Concat {
        seen: Option<Seen>,
        text: Option<Vec<u8>>,
    },
    Object(Option<Object>),
    Moments(Moments),
}

impl Aggregate {
    /// Of an output; `adjacent` tells whether rows that agree in keys arrive together within a group.
    pub fn new(
        output: &Output,
        outputs: &[Output],
        columns: &[Column],
        format: Format,
        adjacent: impl Fn(&[Key]) -> bool,
    ) -> Result<Self, Error> {
        let rule = Rule::of(output, outputs, columns, format, adjacent)?;
        let column = columns.get(output.place).ok_or(Error::NoColumn(output.place))?;
        Ok(Self { place: output.place, column: column.clone(), rule })
    }

    /// The state of a group without rows.
    pub fn begin(&self) -> State {
        match &self.rule {
            Rule::Any | Rule::Expression(_) | Rule::Finished => State::Value(None),
            Rule::Count => State::Count(0),
            Rule::Sum { .. } | Rule::Average { .. } => State::Sum { sum: Sum::Empty, count: 0 },
            Rule::Best { .. } => State::Best(None),
            Rule::Bits(bits) => State::Bits(bits.empty()),
            Rule::CountDistinct(distinct) => State::CountDistinct { seen: distinct.seen(), count: 0 },
            Rule::SumDistinct { distinct, .. } => {
                State::SumDistinct { seen: distinct.seen(), sum: Sum::Empty, count: 0 }
            }
            Rule::Concat { distinct, .. } => {
                State::Concat { seen: distinct.as_ref().map(Distinct::seen), text: None }
            }
            Rule::JsonArray { .. } => State::Concat { seen: None, text: None },
            Rule::JsonObject { .. } => State::Object(None),
            Rule::Deviation(_) => State::Moments(Moments::default()),
        }
    }

    /// Adds a row's part.
    pub fn fold(&self, state: &mut State, work: &mut Work<'_>) -> Result<(), Error> {
        match (&self.rule, state) {
            (Rule::Any, State::Value(kept)) => {
                let field = work.field(self.place)?;
                if kept.is_none() && !field.null {
                    let value = field.encoded(work.row);
                    work.meter.take(value.len())?;
                    *kept = Some(value.to_vec());
                }
            }
            (Rule::Expression(_) | Rule::Finished, _) => {}
            (Rule::Count, State::Count(count)) => *count += i128::from(work.count(self.place)?),
            (Rule::Sum { of, number }, State::Sum { sum, .. }) => {
                if let Some(value) = work.value(*of)? {
                    sum.add(*number, value, work.format)?;
                }
            }
            (Rule::Average { sum: place, count: of, number }, State::Sum { sum, count }) => {
                if let Some(value) = work.value(*place)? {
                    sum.add(*number, value, work.format)?;
                    *count = count.checked_add(work.count(*of)?).ok_or(Error::Overflow)?;
                }
            }
            (Rule::Best { codec }, State::Best(best)) => Best::fold(best, codec, self.place, work)?,
            (Rule::Bits(bits), State::Bits(kept)) => {
                if let Some(value) = work.value(self.place)? {
                    bits.fold(kept, value, work.format)?;
                }
            }
            (Rule::CountDistinct(distinct), State::CountDistinct { seen, count }) => {
                *count += i128::from(distinct.is_new(seen, work)?);
            }
            (Rule::SumDistinct { distinct, value, number, .. }, State::SumDistinct { seen, sum, count }) => {
                if distinct.is_new(seen, work)? {
                    let value = work.value(*value)?.ok_or(Error::Malformed)?;
                    sum.add(*number, value, work.format)?;
                    *count += 1;
                }
            }
            (Rule::Concat { concat, distinct }, State::Concat { seen, text }) => {
                let times = match (distinct, seen, concat.times) {
                    (Some(distinct), Some(seen), _) => u64::from(distinct.is_new(seen, work)?),
                    (_, _, Some(place)) => work.count(place)?,
                    _ => 1,
                };
                let length = length(work, concat.length_max)?;
                if let Some(value) = work.fields.get(concat.value).ok_or(Error::Malformed)?.of(work.row) {
                    concat::append(text, concat, value, times, length, work.meter)?;
                }
            }
            (Rule::JsonArray { separator, length_max }, State::Concat { text, .. }) => {
                let length = length_max.map(|length_max| length(work, length_max)).transpose()?;
                if let Some(array) = work.fields.get(self.place).ok_or(Error::Malformed)?.of(work.row) {
                    json::append(text, array, separator, length, work.meter)?;
                }
            }
            (Rule::JsonObject { sorted }, State::Object(object)) => {
                if let Some(text) = work.fields.get(self.place).ok_or(Error::Malformed)?.of(work.row) {
                    object.get_or_insert_with(|| Object::new(*sorted)).add(text, work.meter)?;
                }
            }
            (Rule::Deviation(of), State::Moments(moments)) => {
                let count = work.count(of.count)?;
                if let Some((sum, variance)) = work.value(of.sum)?.zip(work.value(of.variance)?) {
                    let (sum, variance) = (key::real(sum, work.format)?, key::real(variance, work.format)?);
                    moments.add(count, sum, variance);
                }
            }
            // A state is made by its rule.
            _ => return Err(Error::Malformed),
        }
        Ok(())
    }

    /// The formula, where the column is one.
    pub fn formula(&self) -> Option<&Formula> {
        match &self.rule {
            Rule::Expression(formula) => Some(formula),
            _ => None,
        }
    }

    /// The group's value as a number; `layout` is that of the combined row, in which this is the column at `place`.
    pub fn scalar(&self, state: &State, layout: &Layout, place: usize) -> Result<Option<Scalar>, Error> {
        let average = matches!(&self.rule, Rule::Average { .. } | Rule::SumDistinct { average: true, .. });
        let encoded = match state {
            State::Sum { sum, count } | State::SumDistinct { sum, count, .. } if average => {
                return sum.whole_average(*count, &self.column);
            }
            State::Moments(moments) => {
                let Rule::Deviation(of) = &self.rule else { return Err(Error::Malformed) };
                return Ok(moments.value(of).map(Scalar::Real));
            }
            State::Value(value) => value.as_deref(),
            State::Best(best) => best.as_ref().map(|best| &*best.value),
            State::Count(count) | State::CountDistinct { count, .. } => {
                return Ok(Some(Scalar::Exact((*count).into())));
            }
            State::Sum { sum, .. } | State::SumDistinct { sum, .. } => return Ok(sum.scalar()),
            State::Bits(Some(bits::Value::Number(number))) => {
                return Ok(Some(Scalar::Exact(i128::from(*number).into())));
            }
            State::Bits(_) | State::Concat { .. } | State::Object(_) => {
                return Err(Error::Malformed);
            }
        };
        let Some(encoded) = encoded else { return Ok(None) };
        let value = layout.decode(place, encoded).ok_or(Error::Malformed)?;
        Scalar::of(&self.column, value, layout.format).map(Some)
    }

    /// Writes the group's value.
    pub fn finish(&self, state: &State, writer: &mut Writer<'_>) -> Result<(), Error> {
        match (&self.rule, state) {
            (_, State::Value(value)) => writer.encoded(value.is_none(), value.as_deref().unwrap_or_default()),
            (_, State::Count(count) | State::CountDistinct { count, .. }) => writer.integer(*count, 8),
            (Rule::Average { .. } | Rule::SumDistinct { average: true, .. }, State::Sum { sum, count })
            | (Rule::SumDistinct { average: true, .. }, State::SumDistinct { sum, count, .. }) => {
                sum.average(*count, &self.column)?.write(&self.column, writer)?;
            }
            (_, State::Sum { sum, .. } | State::SumDistinct { sum, .. }) => {
                sum.write(&self.column, writer)?
            }
            (_, State::Best(best)) => match best {
                Some(best) => writer.encoded(false, &best.value),
                None => writer.null(),
            },
            (_, State::Bits(bits)) => bits::write(bits.as_ref(), writer),
            (_, State::Concat { text, .. }) => match text {
                Some(text) => writer.bytes(text),
                None => writer.null(),
            },
            (_, State::Object(object)) => match object {
                Some(object) => writer.bytes(&object.text()),
                None => writer.null(),
            },
            (Rule::Deviation(of), State::Moments(moments)) => {
                let value = moments.value(of).map_or(Sum::Empty, Sum::Real);
                value.write(&self.column, writer)?;
            }
            (_, State::Moments(_)) => return Err(Error::Malformed),
        }
        Ok(())
    }
}

/// How long a joined text may be.
fn length(work: &Work<'_>, length: Length) -> Result<usize, Error> {
    match length {
        Length::Is(length) => Ok(length),
        Length::At(place) => Ok(usize::try_from(work.count(place)?).unwrap_or(usize::MAX)),
    }
}

impl State {
    /// Bytes that were taken for it.
    pub fn cost(&self) -> usize {
        match self {
            Self::Value(value) => value.as_ref().map_or(0, Vec::len),
            Self::Best(best) => best.as_ref().map_or(0, Best::cost),
            Self::CountDistinct { seen, .. } | Self::SumDistinct { seen, .. } => seen.cost(),
            Self::Concat { seen, text } => {
                seen.as_ref().map_or(0, Seen::cost) + text.as_ref().map_or(0, Vec::len)
            }
            Self::Object(object) => object.as_ref().map_or(0, Object::cost),
            Self::Count(_) | Self::Sum { .. } | Self::Bits(_) | Self::Moments(_) => 0,
        }
    }
}
