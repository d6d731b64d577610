//! The merge of one result: rows in, rows out.
//!
//! Owns: the steps between, in their order; LIMIT. Does not know: how any of them works. Invariant: one row is looked at, at
//! most one is given out; buffers are used again.

use std::rc::Rc;
use std::sync::Arc;

use super::combiner::{Combiner, Outcome};
use super::condition::Filter;
use super::error::{Error, Needs};
use super::finish::Finisher;
use super::key::Codec;
use super::meter::{Budget, Meter, Purse};
use super::row::{Field, Format, Layout};
use super::sorter::Sorter;
use super::source::Source;
use super::spec::{Arrival, Level, Spec};
use super::{Bounds, Step, Want};
use crate::wire::column::{Column, kind};

/// Merges the rows of one result.
#[derive(Debug)]
pub struct Merger {
    /// Of the shards' rows.
    given: Vec<Column>,
    layout: Layout,
    /// Of the combined rows, and their definitions without those that are hidden.
    combined: Layout,
    columns: Vec<Column>,
    hidden: usize,
    finisher: Option<Finisher>,
    source: Source,
    levels: Vec<Level>,
    combine: Combiner,
    having: Option<Filter>,
    order: Option<Sorter>,
    sorted: Option<std::vec::IntoIter<Box<[u8]>>>,
    offset: u64,
    left: u64,
    meter: Meter,
    /// The row at hand.
    row: Vec<u8>,
    fields: Vec<Field>,
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
        let own = Arc::new(Budget::new(bounds.memory_max));
        let purse = Purse::new(bounds.memory_max, own);
        Self::within(spec, columns, format, shards, bounds.sort_length_max, &purse)
    }

    /// The same, where what is kept is counted with other things: in this purse.
    pub fn within(
        spec: &Spec,
        columns: &[Column],
        format: Format,
        shards: usize,
        sort_length_max: usize,
        purse: &Rc<Purse>,
    ) -> Result<Self, Error> {
        let layout = Layout::new(format, columns.iter());
        // MariaDB groups BIT as numbers, and has the last row's value in a sum's column.
        let is_bit = |level: &&Level| columns.get(level.value).is_some_and(|own| own.kind == kind::BIT);
        if let Some(level) = spec.levels.iter().find(is_bit) {
            return Err(Error::Incomparable { place: level.value, needs: Needs::Nothing });
        }
        let arrival = match &spec.arrival {
            Arrival::Any => &[][..],
            Arrival::Sorted(keys) => keys,
        };
        let combine = Combiner::new(&spec.combine, arrival, columns, format)?;
        let outputs = combine.columns(columns);
        let reach = spec.limit.count.map_or(u64::MAX, |count| count.saturating_add(spec.limit.offset));
        let order = match &spec.order[..] {
            [] => None,
            keys => Some(Sorter::new(Codec::new(keys, &outputs, format, None)?, reach)),
        };
        let having =
            spec.having.as_ref().map(|condition| Filter::new(condition, &outputs, format)).transpose()?;
        let source = match &spec.arrival {
            Arrival::Any => Source::any(shards),
            Arrival::Sorted(keys) => {
                // Where rows that arrive together become one, all of a key counts.
                let passes = matches!(combine, Combiner::Rows);
                let codec = Codec::new(keys, columns, format, passes.then_some(sort_length_max))?;
                Source::sorted(codec, shards)
            }
        };
        let finisher = Finisher::new(spec, &outputs, format, purse)?;
        let shown = outputs.len().checked_sub(spec.hidden).ok_or(Error::NoColumn(outputs.len()))?;
        Ok(Self {
            given: columns.to_vec(),
            layout,
            combined: Layout::new(format, outputs.iter()),
            columns: outputs
                .into_iter()
                .take(shown)
                .map(|column| if spec.anonymous { column.of_no_table() } else { column })
                .collect(),
            // What a server computes with is still needed.
            hidden: if finisher.is_some() { 0 } else { spec.hidden },
            finisher,
            source,
            levels: spec.levels.clone(),
            combine,
            having,
            order,
            sorted: None,
            offset: spec.limit.offset,
            left: spec.limit.count.unwrap_or(u64::MAX),
            meter: Meter::new(Rc::clone(purse)),
            row: Vec::new(),
            fields: Vec::new(),
        })
    }

    /// Whether another shard's rows are laid out and compared as the first one's: its tables may have been altered alone.
    pub fn check(&self, shard: usize, columns: &[Column]) -> Result<(), Error> {
        let text = self.layout.format == Format::Text;
        let same = self.given.len() == columns.len()
            && self
                .given
                .iter()
                .zip(columns)
                .all(|(one, other)| one.is_like(other, text) && is_called(one, other));
        if same { Ok(()) } else { Err(Error::Differing(shard)) }
    }

    /// What is done with the result's rows before they are given out, where a server must compute some of their columns.
    pub fn finisher(&mut self) -> Option<Finisher> {
        self.finisher.take()
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
        self.source.wants()
    }

    /// A shard's next row.
    pub fn push(&mut self, shard: usize, row: &[u8]) -> Result<(), Error> {
        self.source.push(shard, row, &self.layout, &mut self.fields, &mut self.meter)
    }

    /// A shard has no more rows.
    pub fn ended(&mut self, shard: usize) -> Result<(), Error> {
        self.source.ended(shard)
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
            let arrived = self.source.take(&mut self.row);
            if arrived && !self.counts()? {
                continue;
            }
            let (row, fields) = (&mut self.row, &mut self.fields);
            let outcome = match self.combine.step(arrived, row, &self.layout, fields, &mut self.meter)? {
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

    /// Whether the shard's row at hand is of a level that counts.
    fn counts(&mut self) -> Result<bool, Error> {
        if self.levels.is_empty() {
            return Ok(true);
        }
        self.layout.split(&self.row, &mut self.fields)?;
        let is_null = |place: usize| self.fields.get(place).map(|field| field.null).ok_or(Error::Malformed);
        for level in &self.levels {
            match (is_null(level.sum)?, is_null(level.whole)?) {
                (false, true) => return Ok(false),
                (true, _) if !is_null(level.value)? => {
                    return Err(Error::Incomparable { place: level.value, needs: Needs::Nothing });
                }
                _ => {}
            }
        }
        Ok(true)
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

/// Whether both may be one column: a star's columns have their own names, in whatever order a shard has them. An expression that names a table
/// has that in its heading, as the shard knows it.
fn is_called(one: &Column, other: &Column) -> bool {
    let (one, other) = (one.name(), other.name());
    one.eq_ignore_ascii_case(other) || one.contains(&b'.') || other.contains(&b'.')
}
