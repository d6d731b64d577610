//! UUIDs of version 7: 48 bits of time (milliseconds since 1970), 74 of chance (RFC 9562, 5.7).
//!
//! Owns: the layout, both ways to write one, and that they only grow (6.2, "monotonic random"). Does not know: clocks and chance, which
//! are arguments. Invariant: each is larger than all before it of this process, whatever the wall clock does: where it goes back, or
//! stands, the last one is added to, and the time in them runs ahead of it at the worst.

use std::sync::{Mutex, PoisonError};

const CHANCE_BITS: u32 = 74;
/// Time and chance together.
const BITS: u32 = 48 + CHANCE_BITS;

/// What UUIDs are made from.
#[derive(Debug, Default)]
pub struct Uuids {
    /// Time and chance of the last one.
    last: Mutex<u128>,
}

/// UUIDs that were given out together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Series {
    first: u128,
    step: u128,
}

impl Uuids {
    /// So many. `now_ms`: Unix time; `chance`: bits that nobody else has.
    pub fn take(&self, count: usize, now_ms: u64, chance: [u8; 16]) -> Series {
        let chance = u128::from_be_bytes(chance);
        // The upper bits are for the step, the lower ones for the beginning: they have none in common.
        let (step, chance) = (1 + (chance >> (128 - 32)), chance & ((1 << CHANCE_BITS) - 1));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (u128::from(now_ms) << CHANCE_BITS | chance) & ((1 << BITS) - 1);
        // A new millisecond begins anywhere; within one, what was given out goes on.
        let first = if now >> CHANCE_BITS > *last >> CHANCE_BITS { now } else { *last + step };
        *last = first + step * (count as u128).saturating_sub(1);
        Series { first, step }
    }
}

impl Series {
    /// The UUID at this place.
    pub fn uuid(self, at: usize) -> u128 {
        let whole = self.first + self.step * at as u128;
        let (time, chance) = (whole >> CHANCE_BITS, whole & ((1 << CHANCE_BITS) - 1));
        let (high, low) = (chance >> 62, chance & ((1 << 62) - 1));
        time << 80 | 7 << 76 | high << 64 | 2 << 62 | low
    }
}

/// Its 16 bytes.
pub fn bytes(uuid: u128) -> [u8; 16] {
    uuid.to_be_bytes()
}

/// Its 36 characters.
pub fn text(uuid: u128) -> [u8; 36] {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    let mut digits = (0..32).rev().map(|at| DIGITS[(uuid >> (4 * at)) as usize & 15]);
    std::array::from_fn(|at| if HYPHENS.contains(&at) { b'-' } else { digits.next().unwrap_or(b'0') })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_the_standard() {
        // RFC 9562, appendix A.6: 2022-02-22 14:22:22 -05:00.
        let (rand_a, rand_b) = (0xCC3_u128, 0x18C4_DC0C_0C07_398F_u128);
        let first = 0x017F_22E2_79B0_u128 << CHANCE_BITS | rand_a << 62 | rand_b;
        let uuid = Series { first, step: 1 }.uuid(0);
        assert_eq!(text(uuid), *b"017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        assert_eq!(bytes(uuid)[..6], [0x01, 0x7F, 0x22, 0xE2, 0x79, 0xB0]);
    }

    #[test]
    fn they_only_grow_whatever_the_clock_does() {
        let uuids = Uuids::default();
        let mut had = Vec::new();
        let mut chance = [0xFF_u8; 16];
        for now in [1000, 1000, 1001, 400, 400, 1001, 1001, 1002, 5000, 0] {
            chance[5] = chance[5].wrapping_mul(31).wrapping_add(7);
            let series = uuids.take(3, now, chance);
            had.extend((0..3).map(|at| text(series.uuid(at))));
        }
        assert!(had.windows(2).all(|pair| pair[0] < pair[1]), "{had:?}");
        assert!(had.iter().all(|uuid| uuid[14] == b'7' && b"89ab".contains(&uuid[19])));
    }

    #[test]
    fn instances_differ_by_chance() {
        let (one, other) = (Uuids::default(), Uuids::default());
        assert_ne!(one.take(1, 7, [1; 16]).uuid(0), other.take(1, 7, [2; 16]).uuid(0));
    }
}
