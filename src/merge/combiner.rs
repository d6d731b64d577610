//! Which rows become one.
//!
//! Owns: DISTINCT and groups, as the result needs them. Does not know: order, LIMIT, where rows come from.
//! Invariant: where equal keys arrive together, no more than one of them is kept.

use super::aggregate::Aggregate;
use super::error::Error;
use super::groups::Grouper;
use super::key::Codec;
use super::meter::Meter;
use super::row::{Field, Format, Layout};
use super::seen::Seen;
use super::spec::{Combine, Key};
use crate::wire::column::Column;

/// What becomes of rows.
#[derive(Debug)]
pub(super) enum Combiner {
    Rows,
    Distinct { codec: Codec, seen: Seen, key: Vec<u8> },
    Groups { grouper: Grouper, made: Vec<u8> },
}

/// What came of a row, or of there being none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// A row.
    Row,
    /// Nothing yet.
    Kept,
    /// Nothing will.
    Ended,
}

impl Combiner {
    pub fn new(
        combine: &Combine,
        arrival: &[Key],
        columns: &[Column],
        format: Format,
    ) -> Result<Self, Error> {
        match combine {
            Combine::Rows => Ok(Self::Rows),
            Combine::Distinct(keys) => {
                let codec = Codec::new(keys, columns, format, None)?;
                Ok(Self::Distinct { codec, seen: Seen::new(together(keys, arrival)), key: Vec::new() })
            }
            Combine::Groups(groups) => {
                let codec = Codec::new(&groups.keys, columns, format, None)?;
                let adjacent = together(&groups.keys, arrival);
                let within = arrival.get(groups.keys.len()..).filter(|_| adjacent).unwrap_or_default();
                let aggregate = |output| {
                    Aggregate::new(output, &groups.outputs, columns, format, |keys| {
                        !within.is_empty() && together(keys, within)
                    })
                };
                let aggregates = groups.outputs.iter().map(aggregate).collect::<Result<Vec<_>, _>>()?;
                let layout = Layout::new(format, aggregates.iter().map(|aggregate| &aggregate.column));
                let grouper = Grouper::new(codec, aggregates, adjacent, groups.always, layout);
                Ok(Self::Groups { grouper, made: Vec::new() })
            }
        }
    }

    /// The definitions of the combined rows, out of the shards'.
    pub fn columns(&self, columns: &[Column]) -> Vec<Column> {
        match self {
            Self::Rows | Self::Distinct { .. } => columns.to_vec(),
            Self::Groups { grouper, .. } => {
                grouper.aggregates.iter().map(|aggregate| aggregate.column.clone()).collect()
            }
        }
    }

    /// Takes the row in, where one has `arrived`, and leaves there what comes of it.
    pub fn step(
        &mut self,
        arrived: bool,
        row: &mut Vec<u8>,
        layout: &Layout,
        fields: &mut Vec<Field>,
        meter: &mut Meter,
    ) -> Result<Outcome, Error> {
        match (self, arrived) {
            (Self::Rows, true) => Ok(Outcome::Row),
            (Self::Rows | Self::Distinct { .. }, false) => Ok(Outcome::Ended),
            (Self::Distinct { codec, seen, key }, true) => {
                layout.split(row, fields)?;
                key.clear();
                codec.encode(row, fields, key)?;
                Ok(if seen.insert(key, meter)? { Outcome::Row } else { Outcome::Kept })
            }
            (Self::Groups { grouper, made }, _) => {
                made.clear();
                let is_made = if arrived {
                    layout.split(row, fields)?;
                    grouper.push(row, fields, meter, made)?
                } else {
                    grouper.finish(made)?
                };
                std::mem::swap(row, made);
                Ok(match (is_made, arrived) {
                    (true, _) => Outcome::Row,
                    (false, true) => Outcome::Kept,
                    (false, false) => Outcome::Ended,
                })
            }
        }
    }
}

/// Whether rows that agree in `keys` follow each other where rows arrive by `arrival`.
fn together(keys: &[Key], arrival: &[Key]) -> bool {
    let same = |one: &Key, other: &Key| {
        (one.place, &one.weight, one.number) == (other.place, &other.weight, other.number)
    };
    arrival.get(..keys.len()).is_some_and(|first| {
        keys.iter().all(|key| first.iter().any(|other| same(key, other)))
            && first.iter().all(|key| keys.iter().any(|other| same(key, other)))
    })
}
