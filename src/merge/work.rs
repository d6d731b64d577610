//! A row that is being folded, and the best value of those folded so far.

use super::error::Error;
use super::key::{self, Codec};
use super::meter::Meter;
use super::row::{Field, Format};

/// What folding works on.
pub(super) struct Work<'a> {
    pub row: &'a [u8],
    pub fields: &'a [Field],
    pub format: Format,
    pub meter: &'a mut Meter,
    /// For a key.
    pub key: &'a mut Vec<u8>,
}

impl Work<'_> {
    pub fn field(&self, place: usize) -> Result<Field, Error> {
        self.fields.get(place).copied().ok_or(Error::Malformed)
    }

    pub fn value(&self, place: usize) -> Result<Option<&[u8]>, Error> {
        Ok(self.field(place)?.of(self.row))
    }

    pub fn count(&self, place: usize) -> Result<u64, Error> {
        self.value(place)?.map_or(Ok(0), |value| key::unsigned(value, self.format))
    }

    /// Encodes the row's key; tells whether none of its values is NULL.
    pub fn encode(&mut self, codec: &Codec) -> Result<bool, Error> {
        self.key.clear();
        codec.encode(self.row, self.fields, self.key)
    }
}

/// The value whose key is least.
#[derive(Debug)]
pub(super) struct Best {
    key: Vec<u8>,
    /// As it is encoded.
    pub value: Vec<u8>,
}

impl Best {
    /// Keeps the row's value at `place` where its key is less.
    pub fn fold(
        best: &mut Option<Self>,
        codec: &Codec,
        place: usize,
        work: &mut Work<'_>,
    ) -> Result<(), Error> {
        // Where the key is NULL, what comes with it (a weight) need not be.
        if work.field(place)?.null || !work.encode(codec)? {
            return Ok(());
        }
        let value = work.field(place)?.encoded(work.row);
        let better = best.as_ref().is_none_or(|best| *work.key < best.key);
        if better {
            let kept = best.get_or_insert_with(|| Self { key: Vec::new(), value: Vec::new() });
            work.meter.give(kept.key.len() + kept.value.len());
            work.meter.take(work.key.len() + value.len())?;
            kept.key.clone_from(work.key);
            kept.value.clear();
            kept.value.extend_from_slice(value);
        }
        Ok(())
    }

    /// Bytes that were taken for it.
    pub fn cost(&self) -> usize {
        self.key.len() + self.value.len()
    }
}
