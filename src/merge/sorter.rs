//! Rows that are put in order when the last has come.
//!
//! Owns: the rows that can still be part of the result. Does not know: where they come from.
//! Invariant: with a LIMIT no more rows are kept than it reaches; equal rows keep the order in which they came.

use std::collections::BinaryHeap;

use super::error::Error;
use super::key::Codec;
use super::meter::Meter;
use super::row::{Field, Layout};

/// What a kept row costs beside its bytes.
const OVERHEAD: usize = 64;

/// Compared by key, then by arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Kept {
    key: Box<[u8]>,
    arrival: u64,
    row: Box<[u8]>,
}

impl Kept {
    fn cost(&self) -> usize {
        self.key.len() + self.row.len() + OVERHEAD
    }
}

/// Sorts.
#[derive(Debug)]
pub(super) struct Sorter {
    codec: Codec,
    /// The greatest on top.
    kept: BinaryHeap<Kept>,
    rows_max: u64,
    arrivals: u64,
    key: Vec<u8>,
}

impl Sorter {
    /// For a result of which at most `rows_max` rows are wanted.
    pub fn new(codec: Codec, rows_max: u64) -> Self {
        Self { codec, kept: BinaryHeap::new(), rows_max, arrivals: 0, key: Vec::new() }
    }

    pub fn push(
        &mut self,
        row: &[u8],
        layout: &Layout,
        fields: &mut Vec<Field>,
        meter: &mut Meter,
    ) -> Result<(), Error> {
        layout.split(row, fields)?;
        self.key.clear();
        self.codec.encode(row, fields, &mut self.key)?;
        if self.kept.len() as u64 >= self.rows_max {
            if self.kept.peek().is_none_or(|greatest| *greatest.key <= *self.key) {
                return Ok(());
            }
            let gone = self.kept.pop().map_or(0, |kept| kept.cost());
            meter.give(gone);
        }
        meter.take(self.key.len() + row.len() + OVERHEAD)?;
        self.kept.push(Kept { key: self.key.as_slice().into(), arrival: self.arrivals, row: row.into() });
        self.arrivals += 1;
        Ok(())
    }

    /// The rows in their order.
    pub fn finish(&mut self) -> std::vec::IntoIter<Box<[u8]>> {
        let sorted = std::mem::take(&mut self.kept).into_sorted_vec();
        sorted.into_iter().map(|kept| kept.row).collect::<Vec<_>>().into_iter()
    }
}
