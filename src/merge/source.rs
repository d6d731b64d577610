//! Where the merge's rows come from.
//!
//! Owns: which shard must tell of its next row. Does not know: what becomes of rows. Invariant: nothing is taken that was not wanted, and
//! the rows held are counted.

use super::Want;
use super::error::Error;
use super::heads::Heads;
use super::key::Codec;
use super::meter::Meter;
use super::row::{Field, Layout};

/// Rows that have arrived and not been taken.
#[derive(Debug)]
pub(super) struct Source {
    order: Order,
}

#[derive(Debug)]
enum Order {
    /// One row, of any shard.
    Any {
        held: Vec<u8>,
        full: bool,
        ended: Vec<bool>,
    },
    Sorted(Heads),
}

impl Source {
    /// Rows are taken as they come.
    pub fn any(shards: usize) -> Self {
        Self { order: Order::Any { held: Vec::new(), full: false, ended: vec![false; shards] } }
    }

    /// Rows are taken by their keys, in whose order each shard's come.
    pub fn sorted(codec: Codec, shards: usize) -> Self {
        Self { order: Order::Sorted(Heads::new(codec, shards)) }
    }

    pub fn wants(&self) -> Option<Want> {
        match &self.order {
            Order::Any { full, ended, .. } => (!full && ended.contains(&false)).then_some(Want::Any),
            Order::Sorted(heads) => heads.missing().map(Want::Shard),
        }
    }

    pub fn push(
        &mut self,
        shard: usize,
        row: &[u8],
        layout: &Layout,
        fields: &mut Vec<Field>,
        meter: &mut Meter,
    ) -> Result<(), Error> {
        match &mut self.order {
            Order::Any { held, full, ended } => {
                if *full || ended.get(shard) != Some(&false) {
                    return Err(Error::OutOfTurn(shard));
                }
                meter.fill(held, row)?;
                *full = true;
                Ok(())
            }
            Order::Sorted(heads) => heads.push(shard, row, layout, fields, meter),
        }
    }

    pub fn ended(&mut self, shard: usize) -> Result<(), Error> {
        match &mut self.order {
            Order::Any { ended, .. } => {
                let ended = ended.get_mut(shard).filter(|ended| !**ended);
                *ended.ok_or(Error::OutOfTurn(shard))? = true;
                Ok(())
            }
            Order::Sorted(heads) => heads.ended(shard),
        }
    }

    /// Puts the next row into `row`; false where there is none. To be asked when no shard is wanted.
    pub fn take(&mut self, row: &mut Vec<u8>) -> bool {
        match &mut self.order {
            Order::Any { held, full, .. } => {
                std::mem::swap(held, row);
                std::mem::take(full)
            }
            Order::Sorted(heads) => heads.take(row),
        }
    }
}
