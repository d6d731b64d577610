//! Which values a group has had.

use std::collections::HashSet;

use super::error::Error;
use super::meter::Meter;

/// What a value costs beside its bytes.
const OVERHEAD: usize = 48;

/// Values that were there before.
#[derive(Debug)]
pub(super) enum Seen {
    /// Equal values come one after another: the last is enough.
    Last(Option<Vec<u8>>),
    /// They come in any order.
    All(HashSet<Box<[u8]>>),
}

impl Seen {
    pub fn new(adjacent: bool) -> Self {
        if adjacent { Self::Last(None) } else { Self::All(HashSet::new()) }
    }

    /// Whether the value is new; it is not from now on.
    pub fn insert(&mut self, key: &[u8], meter: &mut Meter) -> Result<bool, Error> {
        match self {
            Self::Last(Some(last)) if last == key => Ok(false),
            Self::Last(last) => {
                let last = last.get_or_insert_default();
                last.clear();
                last.extend_from_slice(key);
                Ok(true)
            }
            Self::All(seen) if seen.contains(key) => Ok(false),
            Self::All(seen) => {
                meter.take(key.len() + OVERHEAD)?;
                seen.insert(key.into());
                Ok(true)
            }
        }
    }

    /// Bytes that were taken for it.
    pub fn cost(&self) -> usize {
        match self {
            Self::Last(_) => 0,
            Self::All(seen) => seen.iter().map(|key| key.len() + OVERHEAD).sum(),
        }
    }
}
