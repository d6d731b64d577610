//! The layouts of other proxies, so that tables which they have split can be served as they lie.
//!
//! Owns: which number kingshard, Gaea and Mycat give a key, as their published sources have it (docs/sharding.md names the files). Does not
//! know: shards. Invariant: a key that those programs would place by its notation, or by the platform they run on, is in doubt.

use super::key::Key;
use super::value::Doubt;

/// A layout that no method of Tidegate's own describes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Layout {
    /// `hash` of kingshard and Gaea: a number, or a text's CRC-32, modulo the slots.
    KingshardHash,
    /// `mod` of Gaea, PartitionByMod of Mycat: the number without its sign, modulo the slots.
    AbsoluteMod,
    /// PartitionByLong of Mycat: the lower half of 64 bits xor the upper one, modulo 1024 (Gaea takes the lower bits alone: `mod`).
    MycatLong,
    /// PartitionByString of Mycat: 31-multiplier hash of a part of the text, modulo 1024.
    MycatString {
        /// The first character; negative ones count from the end.
        from: i32,
        /// The first one that does not count; 0 and negative ones count from the end.
        to: i32,
    },
    /// PartitionByMurmurHash of Mycat: a ring of the slots' points.
    MycatMurmur(Ring),
    /// Gaea's padding mod: some digits of a number that is filled up with zeros, modulo the slots.
    PaddingMod(Padding),
}

/// The points of a consistent hash, in order, each with its slot.
#[derive(Clone, PartialEq, Eq)]
pub struct Ring {
    seed: u32,
    points_each: u32,
    points: Vec<(i32, u32)>,
}

/// Which digits of a number count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Padding {
    /// Zeros are put in front, not behind.
    pub in_front: bool,
    /// So many digits there are then; longer numbers are cut.
    pub length: usize,
    /// The first digit that counts.
    pub from: usize,
    /// The first one that does not any more.
    pub to: usize,
}

/// Slots that Mycat's layouts by 1024 have.
pub const MYCAT_SLOTS: u32 = 1024;

impl Layout {
    /// The slot of a key.
    pub(super) fn slot(&self, key: &Key, slots: u32) -> Result<u32, Doubt> {
        let slots = u64::from(slots.max(1));
        let slot = match self {
            Self::KingshardHash => kingshard_hash(key)? % slots,
            Self::AbsoluteMod => signed(key)?.unsigned_abs() % slots,
            Self::MycatLong => {
                let bits = signed(key)?.cast_unsigned();
                ((bits >> 32) ^ bits) % u64::from(MYCAT_SLOTS)
            }
            Self::MycatString { from, to } => part_hash(&ascii(key)?, *from, *to) % u64::from(MYCAT_SLOTS),
            Self::MycatMurmur(ring) => ring.slot(&ascii(key)?).into(),
            Self::PaddingMod(padding) => padding.digits(signed(key)?)? % slots,
        };
        u32::try_from(slot).map_err(|_| Doubt::OutOfRange)
    }
}

/// A number as it is; a text that is digits alone as this number, else its CRC-32.
fn kingshard_hash(key: &Key) -> Result<u64, Doubt> {
    match key {
        Key::Number(number) => {
            u64::try_from(number.rem_euclid(1 << 64)).map_err(|_| Doubt::OutOfRange) // two's complement
        }
        Key::Text(text) => {
            let digits =
                std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let number = digits.and_then(|digits| digits.parse().ok());
            Ok(number.unwrap_or_else(|| crc32fast::hash(text).into()))
        }
        _ => Err(Doubt::Kind),
    }
}

/// A number of 64 bits with its sign: above these the programs differ.
fn signed(key: &Key) -> Result<i64, Doubt> {
    match key {
        Key::Number(number) => {
            i64::try_from(*number).ok().filter(|number| *number > i64::MIN).ok_or(Doubt::OutOfRange)
        }
        _ => Err(Doubt::Kind),
    }
}

/// The key as a text of ASCII: beyond it the programs count different units.
fn ascii(key: &Key) -> Result<Vec<u8>, Doubt> {
    match key {
        Key::Number(number) => Ok(number.to_string().into_bytes()),
        Key::Text(text) if text.is_ascii() => Ok(text.clone()),
        Key::Text(_) => Err(Doubt::Characters),
        _ => Err(Doubt::Kind),
    }
}

fn part_hash(text: &[u8], from: i32, to: i32) -> u64 {
    let place = |place: i32, at_end: bool| {
        let from_end = at_end || place < 0;
        let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
        let place = i64::from(place) + if from_end { length } else { 0 };
        usize::try_from(place.clamp(0, length)).unwrap_or_default()
    };
    let part = text.get(place(from, false)..place(to, to <= 0)).unwrap_or_default();
    part.iter().fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)))
}

impl Ring {
    /// The ring of so many slots, each with so many points.
    pub fn new(seed: u32, slots: u32, points_each: u32) -> Self {
        let mut all = std::collections::BTreeMap::new();
        for slot in 0..slots {
            // Each point's name goes on from the one before.
            let mut name = format!("SHARD-{slot}");
            for point in 0..points_each {
                name.push_str(&format!("-NODE-{point}"));
                all.insert(murmur3(name.as_bytes(), seed), slot); // the later one has a point that two share
            }
        }
        Self { seed, points_each, points: all.into_iter().collect() }
    }

    /// Its seed, and how many points each slot has.
    pub fn options(&self) -> (u32, u32) {
        (self.seed, self.points_each)
    }

    fn slot(&self, text: &[u8]) -> u32 {
        let hash = murmur3(text, self.seed);
        let at = self.points.partition_point(|(point, _)| *point < hash);
        self.points.get(at).or(self.points.first()).map_or(0, |(_, slot)| *slot)
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("seed", &self.seed).field("points_each", &self.points_each).finish()
    }
}

/// MurmurHash3 (x86, 32 bits) of an ASCII text in UTF-16, little end first, as Guava's `hashUnencodedChars`.
fn murmur3(text: &[u8], seed: u32) -> i32 {
    let mix = |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut hash = seed;
    let pairs = text.chunks_exact(2);
    let last = pairs.remainder().first().copied();
    for pair in pairs {
        if let [low, high] = pair {
            hash = (hash ^ mix(u32::from(*low) | u32::from(*high) << 16)).rotate_left(13);
            hash = hash.wrapping_mul(5).wrapping_add(0xe654_6b64);
        }
    }
    if let Some(last) = last {
        hash ^= mix(last.into());
    }
    hash ^= u32::try_from(text.len()).unwrap_or(u32::MAX).wrapping_mul(2);
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    (hash ^ hash >> 16).cast_signed()
}

impl Padding {
    /// The number that the digits make. Numbers below zero are refused: the minus would be among the digits.
    fn digits(self, number: i64) -> Result<u64, Doubt> {
        if number < 0 {
            return Err(Doubt::OutOfRange);
        }
        let zeros = |digits: &String| "0".repeat(self.length.saturating_sub(digits.len()));
        let digits = number.to_string();
        let filled = if self.in_front { zeros(&digits) + &digits } else { digits.clone() + &zeros(&digits) };
        filled.get(self.from..self.to).and_then(|part| part.parse().ok()).ok_or(Doubt::Digits)
    }
}
