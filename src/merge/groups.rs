//! Groups: rows that agree in their keys become one.
//!
//! Owns: the groups that are not finished. Does not know: order of the result, LIMIT. Invariant: where equal keys arrive
//! together, one group is kept; otherwise all of them are, in the order of their first rows, and paid for.

use std::collections::HashMap;

use super::aggregate::{Aggregate, State};
use super::error::Error;
use super::key::Codec;
use super::meter::Meter;
use super::row::{Field, Layout, Writer};
use super::work::Work;

/// What a group and one of its columns cost beside their bytes.
const GROUP: usize = 96;
const COLUMN: usize = size_of::<State>();

/// Folds rows into groups.
#[derive(Debug)]
pub(super) struct Grouper {
    codec: Codec,
    pub aggregates: Vec<Aggregate>,
    groups: Groups,
    /// A row is due even if none comes.
    always: bool,
    key: Vec<u8>,
    spare: Vec<u8>,
    /// Of the combined row.
    layout: Layout,
}

#[derive(Debug)]
enum Groups {
    /// The group that the last row belongs to.
    One(Option<(Vec<u8>, Vec<State>)>),
    /// All, by key; the next to be given out comes first.
    All { places: HashMap<Box<[u8]>, usize>, groups: Vec<Vec<State>>, given: usize },
}

impl Grouper {
    /// `adjacent`: rows of a group arrive one after another.
    pub fn new(
        codec: Codec,
        aggregates: Vec<Aggregate>,
        adjacent: bool,
        always: bool,
        layout: Layout,
    ) -> Self {
        let groups = if adjacent {
            Groups::One(None)
        } else {
            Groups::All { places: HashMap::new(), groups: Vec::new(), given: 0 }
        };
        Self { codec, aggregates, groups, always, key: Vec::new(), spare: Vec::new(), layout }
    }

    /// Adds a row. Where it is the first of another group, the finished one's row is appended to `out`: then true.
    pub fn push(
        &mut self,
        row: &[u8],
        fields: &[Field],
        meter: &mut Meter,
        out: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        self.key.clear();
        self.codec.encode(row, fields, &mut self.key)?;
        let mut work = Work { row, fields, format: self.layout.format, meter, key: &mut self.spare };
        let mut finished = false;
        let states = match &mut self.groups {
            Groups::One(group) => {
                if let Some((_, states)) = group.as_mut().filter(|(key, _)| *key != self.key) {
                    write(&self.aggregates, states, &self.layout, out)?;
                    finished = true;
                    states.iter().for_each(|state| work.meter.give(state.cost()));
                    states.clear();
                    states.extend(self.aggregates.iter().map(Aggregate::begin));
                }
                let begin = || self.aggregates.iter().map(Aggregate::begin).collect();
                let (key, states) = group.get_or_insert_with(|| (Vec::new(), begin()));
                key.clone_from(&self.key);
                states
            }
            Groups::All { places, groups, .. } => {
                let place = match places.get(&*self.key) {
                    Some(place) => *place,
                    None => {
                        work.meter.take(self.key.len() + GROUP + self.aggregates.len() * COLUMN)?;
                        places.insert(self.key.as_slice().into(), groups.len());
                        groups.push(self.aggregates.iter().map(Aggregate::begin).collect());
                        groups.len() - 1
                    }
                };
                groups.get_mut(place).ok_or(Error::Malformed)?
            }
        };
        self.always = false;
        for (aggregate, state) in self.aggregates.iter().zip(states) {
            aggregate.fold(state, &mut work)?;
        }
        Ok(finished)
    }

    /// When the last row has come: appends the next group's row; false where none is left.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<bool, Error> {
        if std::mem::take(&mut self.always) {
            let states: Vec<_> = self.aggregates.iter().map(Aggregate::begin).collect();
            write(&self.aggregates, &states, &self.layout, out)?;
            return Ok(true);
        }
        match &mut self.groups {
            Groups::One(group) => {
                let Some((_, states)) = group.take() else { return Ok(false) };
                write(&self.aggregates, &states, &self.layout, out)?;
            }
            Groups::All { groups, given, .. } => {
                let Some(states) = groups.get_mut(*given) else { return Ok(false) };
                write(&self.aggregates, states, &self.layout, out)?;
                *states = Vec::new();
                *given += 1;
            }
        }
        Ok(true)
    }
}

fn write(
    aggregates: &[Aggregate],
    states: &[State],
    layout: &Layout,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut writer = Writer::begin(layout.format, aggregates.len(), out);
    let output = |place: usize| {
        let (aggregate, state) = aggregates.get(place).zip(states.get(place)).ok_or(Error::Malformed)?;
        aggregate.scalar(state, layout, place)
    };
    for (aggregate, state) in aggregates.iter().zip(states) {
        match aggregate.formula() {
            None => aggregate.finish(state, &mut writer)?,
            Some(formula) => {
                let value = formula.value(&aggregate.column, &output)?;
                formula.write(value, &aggregate.column, &mut writer)?;
            }
        }
    }
    Ok(())
}
