//! Methods that make a number of a key, and the shard of each number.
//!
//! Owns: those numbers, which are pinned for ever: a row is where its key's number says. Does not know: the rules file.
//! Invariant: a key has one slot, below the number of slots, and every slot one shard.

use std::fmt;
use std::ops::Range;

use twox_hash::XxHash3_64;

use super::adopted::Layout;
use super::key::{Key, KeyType};
use super::set::{ShardIx, ShardSet};
use super::value::Doubt;

/// How a key's slot is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotBy {
    /// XXH3 (64 bits, no seed) of the key's form, modulo the slots.
    Hash,
    /// The integer modulo the slots; a negative one counts down from the last slot.
    Mod,
    /// CRC-32 as the servers' CRC32() of the key, modulo the slots.
    Crc32,
    /// As another proxy does it.
    Adopted(Layout),
}

impl SlotBy {
    /// The slot of a key with a part for each column.
    pub(super) fn slot(&self, types: &[KeyType], key: &[Key], slots: u32) -> Result<u32, Doubt> {
        match (self, key) {
            (Self::Hash, _) => Ok(rest(XxHash3_64::oneshot(&form(types, key)), slots)),
            (Self::Mod, [Key::Number(number)]) => {
                u32::try_from(number.rem_euclid(i128::from(slots.max(1)))).map_err(|_| Doubt::OutOfRange)
            }
            (Self::Crc32, [key]) => Ok(rest(crc32fast::hash(&plain(key)?).into(), slots)),
            (Self::Adopted(layout), [key]) => layout.slot(key, slots),
            _ => Err(Doubt::Columns),
        }
    }
}

/// What the method `hash` hashes: each part with its type's tag, a zero byte between two.
fn form(types: &[KeyType], key: &[Key]) -> Vec<u8> {
    let mut form = Vec::with_capacity(48); // one number or UUID
    for (at, (key_type, key)) in types.iter().zip(key).enumerate() {
        if at > 0 {
            form.push(0);
        }
        key_type.write(key, &mut form);
    }
    form
}

/// The text that a server makes of the key.
fn plain(key: &Key) -> Result<Vec<u8>, Doubt> {
    match key {
        Key::Number(number) => Ok(number.to_string().into_bytes()),
        Key::Text(bytes) | Key::Bytes(bytes) => Ok(bytes.clone()),
        _ => Err(Doubt::Kind),
    }
}

fn rest(hash: u64, slots: u32) -> u32 {
    u32::try_from(hash % u64::from(slots.max(1))).unwrap_or_default() // below `slots`
}

/// The shard of each slot.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotTable(Vec<ShardIx>);

/// Why slots do not make a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SlotFault {
    /// No shard has this slot.
    Gap(u32),
    /// Two claims, by their places in what was given, have this slot.
    Overlap(usize, usize, u32),
    /// This claim has a slot that there is not.
    Beyond(usize),
}

impl SlotTable {
    /// The table of `slots` slots, of which each claim gives some to a shard.
    pub fn new(slots: u32, claims: &[(Range<u32>, ShardIx)]) -> Result<Self, SlotFault> {
        let mut owners: Vec<Option<usize>> = vec![None; slots as usize];
        for (at, (range, _)) in claims.iter().enumerate() {
            for slot in range.clone() {
                match owners.get_mut(slot as usize) {
                    None => return Err(SlotFault::Beyond(at)),
                    Some(Some(other)) => return Err(SlotFault::Overlap(*other, at, slot)),
                    Some(owner) => *owner = Some(at),
                }
            }
        }
        let shard = |(slot, owner): (u32, Option<usize>)| {
            let claim = owner.and_then(|at| claims.get(at)).ok_or(SlotFault::Gap(slot))?;
            Ok(claim.1)
        };
        (0..slots).zip(owners).map(shard).collect::<Result<_, _>>().map(Self)
    }

    /// How many slots there are.
    pub fn slots(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// Whose the slot is.
    pub(super) fn shard(&self, slot: u32) -> Option<ShardIx> {
        self.0.get(slot as usize).copied()
    }

    /// All that have a slot.
    pub(super) fn shards(&self) -> ShardSet {
        self.0.iter().copied().collect()
    }

    /// The slots by shard, consecutive ones together.
    pub fn ranges(&self) -> impl Iterator<Item = (Range<usize>, ShardIx)> + '_ {
        let mut end = 0;
        self.0.chunk_by(|a, b| a == b).filter_map(move |chunk| {
            let start = end;
            end += chunk.len();
            chunk.first().map(|shard| (start..end, *shard))
        })
    }
}

impl fmt::Debug for SlotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.ranges().map(|(slots, shard)| (slots, shard.0))).finish()
    }
}
