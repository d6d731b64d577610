//! Rows of several shards become one result.
//!
//! Owns: merging in order, DISTINCT, groups and their aggregates, LIMIT, hidden columns, in both protocols. Does not
//! know: statements, connections, who waits for what. Invariant: pure (no I/O, no clock); what it gives is what one
//! server with all the rows gives, or an error; what it keeps is bounded: a row per shard, and what [`Merger::new`] is
//! allowed for groups, distinct values and sorting.
//!
//! ```text
//!  push ─▶ arrival ─▶ combine ─▶ having ─▶ order ─▶ limit ─▶ hidden columns cut ─▶ next
//! ```

mod aggregate;
mod bits;
mod concat;
mod condition;
mod decimal;
mod decimal_key;
mod error;
mod expression;
mod groups;
mod heads;
mod json;
mod key;
mod meter;
mod number;
mod real;
mod row;
mod seen;
mod sorter;
mod spec;
mod temporal;
#[cfg(test)]
mod tests;

use crate::wire::column::Column;
use aggregate::Aggregate;
use condition::Filter;
pub use error::{Error, Needs};
use groups::Grouper;
use heads::Heads;
use key::Codec;
use meter::Meter;
pub use row::Format;
use row::{Field, Layout};
use seen::Seen;
use sorter::Sorter;
pub use spec::{
    Arrival, Combine, Concat, Condition, Distinct, Expression, Fold, Groups, Key, Limit, Operand, Operator,
    Output, Pad, Spec, Test, Weight,
};

/// Bounds of a merge, as the session has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Bytes that groups, distinct values and rows to be sorted may take; and as many that the shards' next rows may.
    pub memory_max: usize,
    /// `max_sort_length`: so many bytes of text decide the shards' order.
    pub sort_length_max: usize,
}

/// What a merger can do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A row's payload has been appended.
    Row,
    /// A shard's next row, or its end, must be known first.
    Wants(Want),
    /// The result is complete. Rows that shards still have are of no use.
    Done,
}

/// Which shard's row is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// This one's. Others may be told of too, while they are wanted themselves.
    Shard(usize),
    /// That of any shard that has not ended.
    Any,
}

/// Merges the rows of one result.
#[derive(Debug)]
pub struct Merger {
    /// Of the shards' rows.
    given: Vec<Column>,
    layout: Layout,
    /// The longest row that is taken in.
    row_max: usize,
    /// Of the combined rows, and their definitions without those that are hidden.
    combined: Layout,
    columns: Vec<Column>,
    hidden: usize,
    source: Source,
    combine: Combiner,
    having: Option<Filter>,
    order: Option<Sorter>,
    sorted: Option<std::vec::IntoIter<Box<[u8]>>>,
    offset: u64,
    left: u64,
    meter: Meter,
    /// The row at hand, and one that is being made.
    row: Vec<u8>,
    made: Vec<u8>,
    fields: Vec<Field>,
}

/// Where rows come from.
#[derive(Debug)]
enum Source {
    /// One row, of any shard.
    Any {
        held: Vec<u8>,
        full: bool,
        ended: Vec<bool>,
    },
    Sorted(Heads),
}

/// What becomes of rows.
#[derive(Debug)]
enum Combiner {
    Rows,
    Distinct { codec: Codec, seen: Seen, key: Vec<u8> },
    Groups(Grouper),
}

impl Merger {
    /// For the rows of so many shards, all of these `columns` (the first shard's definitions). What cannot be merged
    /// exactly is refused here, before a row is read.
    pub fn new(
        spec: &Spec,
        columns: &[Column],
        format: Format,
        shards: usize,
        bounds: Bounds,
    ) -> Result<Self, Error> {
        let layout = Layout::new(format, columns.iter());
        let arrival = match &spec.arrival {
            Arrival::Any => &[][..],
            Arrival::Sorted(keys) => keys,
        };
        let combine = Combiner::new(&spec.combine, arrival, columns, format)?;
        let outputs: Vec<_> = match &combine {
            Combiner::Groups(grouper) => {
                grouper.aggregates.iter().map(|aggregate| aggregate.column.clone()).collect()
            }
            _ => columns.to_vec(),
        };
        let reach = spec.limit.count.map_or(u64::MAX, |count| count.saturating_add(spec.limit.offset));
        let order = match &spec.order[..] {
            [] => None,
            keys => Some(Sorter::new(Codec::new(keys, &outputs, format, None)?, reach)),
        };
        let having =
            spec.having.as_ref().map(|condition| Filter::new(condition, &outputs, format)).transpose()?;
        let held = if matches!(spec.arrival, Arrival::Any) { 1 } else { shards };
        // Where rows that arrive together become one, all of a key counts.
        let together = !matches!(combine, Combiner::Rows);
        let source = match &spec.arrival {
            Arrival::Any => Source::Any { held: Vec::new(), full: false, ended: vec![false; shards] },
            Arrival::Sorted(keys) => {
                let prefix = (!together).then_some(bounds.sort_length_max);
                Source::Sorted(Heads::new(Codec::new(keys, columns, format, prefix)?, shards))
            }
        };
        let shown = outputs.len().checked_sub(spec.hidden).ok_or(Error::NoColumn(outputs.len()))?;
        Ok(Self {
            given: columns.to_vec(),
            layout,
            row_max: bounds.memory_max / held.max(1),
            combined: Layout::new(format, outputs.iter()),
            columns: outputs.into_iter().take(shown).collect(),
            hidden: spec.hidden,
            source,
            combine,
            having,
            order,
            sorted: None,
            offset: spec.limit.offset,
            left: spec.limit.count.unwrap_or(u64::MAX),
            meter: Meter::new(bounds.memory_max),
            row: Vec::new(),
            made: Vec::new(),
            fields: Vec::new(),
        })
    }

    /// Whether another shard's rows are laid out and compared as the first one's: its tables may have been altered alone.
    pub fn check(&self, shard: usize, columns: &[Column]) -> Result<(), Error> {
        let same = self.given.len() == columns.len()
            && self.given.iter().zip(columns).all(|(one, other)| one.is_like(other));
        if same { Ok(()) } else { Err(Error::Differing(shard)) }
    }

    /// The result's columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Which shard must tell of its next row before anything else can be given out; `None` where nothing is missing.
    pub fn wants(&self) -> Option<Want> {
        if self.left == 0 || self.sorted.is_some() {
            return None;
        }
        match &self.source {
            Source::Any { full, ended, .. } => (!full && ended.contains(&false)).then_some(Want::Any),
            Source::Sorted(heads) => heads.missing().map(Want::Shard),
        }
    }

    /// A shard's next row.
    pub fn push(&mut self, shard: usize, row: &[u8]) -> Result<(), Error> {
        if row.len() > self.row_max {
            return Err(Error::Memory(self.row_max));
        }
        match &mut self.source {
            Source::Any { held, full, ended } => {
                if *full || ended.get(shard) != Some(&false) {
                    return Err(Error::OutOfTurn(shard));
                }
                held.clear();
                held.extend_from_slice(row);
                *full = true;
                Ok(())
            }
            Source::Sorted(heads) => heads.push(shard, row, &self.layout, &mut self.fields),
        }
    }

    /// A shard has no more rows.
    pub fn ended(&mut self, shard: usize) -> Result<(), Error> {
        match &mut self.source {
            Source::Any { ended, .. } => {
                let ended = ended.get_mut(shard).filter(|ended| !**ended);
                *ended.ok_or(Error::OutOfTurn(shard))? = true;
                Ok(())
            }
            Source::Sorted(heads) => heads.ended(shard),
        }
    }

    /// Goes on as far as it can: appends the payload of the result's next row to `out`, or says what it waits for.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<Step, Error> {
        while self.left > 0 {
            if let Some(sorted) = &mut self.sorted {
                let Some(row) = sorted.next() else { break };
                self.row = row.into_vec();
                if self.pass(out)? {
                    return Ok(Step::Row);
                }
                continue;
            }
            if let Some(want) = self.wants() {
                return Ok(Step::Wants(want));
            }
            let outcome = match self.combine()? {
                Outcome::Row if !self.is_wanted()? => Outcome::Kept,
                outcome => outcome,
            };
            match (outcome, &mut self.order) {
                (Outcome::Kept, _) => {}
                (Outcome::Row, None) => {
                    if self.pass(out)? {
                        return Ok(Step::Row);
                    }
                }
                (Outcome::Row, Some(sorter)) => {
                    sorter.push(&self.row, &self.combined, &mut self.fields, &mut self.meter)?;
                }
                (Outcome::Ended, None) => break,
                (Outcome::Ended, Some(sorter)) => self.sorted = Some(sorter.finish()),
            }
        }
        self.left = 0;
        Ok(Step::Done)
    }

    /// Takes a row in, where there is one, and leaves what comes of it in `row`.
    fn combine(&mut self) -> Result<Outcome, Error> {
        let arrived = self.source.take(&mut self.row);
        match (&mut self.combine, arrived) {
            (Combiner::Rows, true) => Ok(Outcome::Row),
            (Combiner::Rows | Combiner::Distinct { .. }, false) => Ok(Outcome::Ended),
            (Combiner::Distinct { codec, seen, key }, true) => {
                self.layout.split(&self.row, &mut self.fields)?;
                key.clear();
                codec.encode(&self.row, &self.fields, key)?;
                let new = seen.insert(key, &mut self.meter)?;
                Ok(if new { Outcome::Row } else { Outcome::Kept })
            }
            (Combiner::Groups(grouper), _) => {
                self.made.clear();
                let made = if arrived {
                    self.layout.split(&self.row, &mut self.fields)?;
                    grouper.push(&self.row, &self.fields, &mut self.meter, &mut self.made)?
                } else {
                    grouper.finish(&mut self.made)?
                };
                std::mem::swap(&mut self.row, &mut self.made);
                Ok(match (made, arrived) {
                    (true, _) => Outcome::Row,
                    (false, true) => Outcome::Kept,
                    (false, false) => Outcome::Ended,
                })
            }
        }
    }

    /// Whether HAVING is true of the row at hand.
    fn is_wanted(&mut self) -> Result<bool, Error> {
        let Some(filter) = &self.having else { return Ok(true) };
        self.combined.split(&self.row, &mut self.fields)?;
        filter.holds(&self.row, &self.fields)
    }

    /// Gives out the row at hand, if LIMIT lets it.
    fn pass(&mut self, out: &mut Vec<u8>) -> Result<bool, Error> {
        if self.offset > 0 {
            self.offset -= 1;
            return Ok(false);
        }
        self.left -= 1;
        self.combined.cut(&self.row, self.hidden, &mut self.fields, out)?;
        Ok(true)
    }
}

/// What came of a row, or of there being none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// A row.
    Row,
    /// Nothing yet.
    Kept,
    /// Nothing will.
    Ended,
}

impl Source {
    /// Puts the next row into `row`; false where there is none.
    fn take(&mut self, row: &mut Vec<u8>) -> bool {
        match self {
            Self::Any { held, full, .. } => {
                std::mem::swap(held, row);
                std::mem::take(full)
            }
            Self::Sorted(heads) => heads.take(row),
        }
    }
}

impl Combiner {
    fn new(combine: &Combine, arrival: &[Key], columns: &[Column], format: Format) -> Result<Self, Error> {
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
                Ok(Self::Groups(Grouper::new(codec, aggregates, adjacent, groups.always, layout)))
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
