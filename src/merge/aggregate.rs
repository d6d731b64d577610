//! One column of a group's row: values in, a value out.
//!
//! Owns: how each aggregate folds the shards' parts of it. Does not know: which rows are a group.
//! Invariant: NULL parts count for nothing, and what is kept is paid for.

use super::bits::{self, Bits};
use super::concat;
use super::deviation::Moments;
use super::error::Error;
use super::expression::Formula;
use super::json::{self, Object};
use super::key::{self, Codec};
use super::number::{Number, Scalar, Sum};
use super::row::{Format, Layout, Writer};
use super::seen::Seen;
use super::spec::{Concat, Deviation, Fold, Key, Length, Output};
use super::work::{Best, Work};
use crate::wire::column::{Column, kind};

/// How a column is folded, resolved against the shards' columns.
#[derive(Debug)]
pub(super) struct Aggregate {
    place: usize,
    /// The column's definition.
    pub column: Column,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    Any,
    Count,
    Sum(Number),
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
struct Distinct {
    codec: Codec,
    adjacent: bool,
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

impl Distinct {
    fn seen(&self) -> Seen {
        Seen::new(self.adjacent)
    }

    /// Whether the row has a value, and a new one.
    fn is_new(&self, seen: &mut Seen, work: &mut Work<'_>) -> Result<bool, Error> {
        Ok(work.encode(&self.codec)? && seen.insert(work.key, work.meter)?)
    }
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
        let place = output.place;
        let column = |place: usize| columns.get(place).ok_or(Error::NoColumn(place));
        let integer = |place: usize| match column(place)?.kind {
            kind::LONGLONG => Ok(place),
            _ => Err(Error::Unfoldable(place)),
        };
        let number = |place: usize| Number::of(column(place)?).ok_or(Error::Unfoldable(place));
        let codec = |keys: &[Key]| Codec::new(keys, columns, format, None);
        let best = |key: &Key, descending| {
            Ok::<_, Error>(Rule::Best { codec: codec(&[Key { descending, ..key.clone() }])? })
        };
        let distinct =
            |keys: &[Key]| Ok::<_, Error>(Distinct { codec: codec(keys)?, adjacent: adjacent(keys) });
        let sum_distinct = |of: &super::spec::Distinct, average| {
            Ok::<_, Error>(Rule::SumDistinct {
                distinct: distinct(std::slice::from_ref(&of.key))?,
                value: of.value,
                number: number(of.value)?,
                average,
            })
        };
        let bits = |operation| Bits::of(operation, column(place)?).ok_or(Error::Unfoldable(place));
        let rule = match &output.fold {
            Fold::Any => Rule::Any,
            Fold::Finished => Rule::Finished,
            Fold::Count => integer(place).map(|_| Rule::Count)?,
            Fold::Sum => Rule::Sum(number(place)?),
            Fold::Average { sum, count } => {
                number(place)?;
                Rule::Average { sum: *sum, count: integer(*count)?, number: number(*sum)? }
            }
            Fold::Least(key) => best(key, false)?,
            Fold::Greatest(key) => best(key, true)?,
            Fold::BitAnd => Rule::Bits(bits(bits::Operation::And)?),
            Fold::BitOr => Rule::Bits(bits(bits::Operation::Or)?),
            Fold::BitXor => Rule::Bits(bits(bits::Operation::Xor)?),
            Fold::CountDistinct(keys) => {
                integer(place).and_then(|_| distinct(keys).map(Rule::CountDistinct))?
            }
            Fold::SumDistinct(of) => sum_distinct(of, false)?,
            Fold::AverageDistinct(of) => sum_distinct(of, true)?,
            Fold::Concat(concat) => {
                if !column(concat.value)?.is_string() || column(concat.value)?.is_wide() {
                    return Err(Error::Unfoldable(concat.value));
                }
                concat.times.map(integer).transpose()?;
                let distinct = concat.distinct.as_deref().map(distinct).transpose()?;
                Rule::Concat { concat: concat.clone(), distinct }
            }
            Fold::Expression(expression) => {
                let number = |output: usize| {
                    let output = outputs.get(output).filter(|output| output.fold.is_number());
                    let column = output.and_then(|output| columns.get(output.place));
                    column.is_some_and(|column| Scalar::has(column, format))
                };
                Rule::Expression(Formula::new(expression, place, column(place)?, number)?)
            }
            Fold::JsonObject { sorted } => {
                is_json(column(place)?).then_some(()).ok_or(Error::Unfoldable(place))?;
                Rule::JsonObject { sorted: *sorted }
            }
            Fold::Deviation(of) => {
                integer(of.count)?;
                for place in [place, of.sum, of.variance] {
                    let real = column(place)?.kind == kind::DOUBLE;
                    real.then_some(()).ok_or(Error::Unfoldable(place))?;
                }
                Rule::Deviation(*of)
            }
            Fold::JsonArray { separator, length_max } => {
                is_json(column(place)?).then_some(()).ok_or(Error::Unfoldable(place))?;
                Rule::JsonArray { separator: separator.clone(), length_max: *length_max }
            }
        };
        Ok(Self { place, column: column(place)?.clone(), rule })
    }

    /// The state of a group without rows.
    pub fn begin(&self) -> State {
        match &self.rule {
            Rule::Any | Rule::Expression(_) | Rule::Finished => State::Value(None),
            Rule::Count => State::Count(0),
            Rule::Sum(_) | Rule::Average { .. } => State::Sum { sum: Sum::Empty, count: 0 },
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
            (Rule::Sum(number), State::Sum { sum, .. }) => {
                if let Some(value) = work.value(self.place)? {
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
        let encoded = match state {
            State::Value(value) => value.as_deref(),
            State::Best(best) => best.as_ref().map(|best| &*best.value),
            State::Count(count) | State::CountDistinct { count, .. } => {
                return Ok(Some(Scalar::Exact((*count).into())));
            }
            State::Sum { sum, .. } | State::SumDistinct { sum, .. } => return Ok(sum.scalar()),
            State::Bits(Some(bits::Value::Number(number))) => {
                return Ok(Some(Scalar::Exact(i128::from(*number).into())));
            }
            State::Bits(_) | State::Concat { .. } | State::Object(_) | State::Moments(_) => {
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

/// Whether values are JSON, as text whose bytes are those of the servers.
fn is_json(column: &Column) -> bool {
    (column.is_string() || column.kind == kind::JSON) && !column.is_wide()
}

impl Fold {
    /// Whether an expression can be computed with it, if its column holds numbers.
    fn is_number(&self) -> bool {
        !matches!(
            self,
            Self::Average { .. }
                | Self::AverageDistinct(_)
                | Self::Expression(_)
                | Self::Concat(_)
                | Self::JsonArray { .. }
                | Self::JsonObject { .. }
                | Self::Deviation(_)
                | Self::Finished
        )
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
