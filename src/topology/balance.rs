//! How reads spread over the replicas: weight × lag factor.
//!
//! Does not know: why a replica is in or out, random numbers (they come in). Invariant: `pick` allocates nothing.

use std::time::Duration;

use crate::ids::ServerId;

/// Share that is left to the latest replica which may still serve, in thousandths.
const FLOOR_PERMILLE: u64 = 100;
/// Lag at which the floor is reached where no `max_lag` says it.
const UNLIMITED_REFERENCE: Duration = Duration::from_secs(10);

/// The replicas that take reads, with their shares summed up so that a pick is one binary search.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Readers {
    slices: Vec<Slice>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slice {
    id: ServerId,
    share: u64,
    /// Sum of the shares up to and with this one.
    end: u64,
}

impl Readers {
    /// Replicas with their weight (above 0) and lag.
    pub(super) fn new(
        replicas: impl Iterator<Item = (ServerId, u32, Duration)>,
        max_lag: Option<Duration>,
    ) -> Self {
        let mut end = 0;
        let slices = replicas
            .map(|(id, weight, lag)| {
                let share = u64::from(weight) * lag_permille(lag, max_lag);
                end += share;
                Slice { id, share, end }
            })
            .collect();
        Self { slices }
    }

    /// How many replicas take reads.
    pub fn len(&self) -> usize {
        self.slices.len()
    }

    /// Whether no replica takes reads.
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Each replica with its share; the shares' sum is the whole.
    pub fn shares(&self) -> impl Iterator<Item = (ServerId, u64)> + '_ {
        self.slices.iter().map(|slice| (slice.id, slice.share))
    }

    /// The replica at `random` (all 64 bits evenly distributed) among those that are not excluded.
    pub fn pick(&self, random: u64, exclude: &[ServerId]) -> Option<ServerId> {
        let total = self.slices.last()?.end;
        if exclude.is_empty() {
            let position = scale(random, total);
            let index = self.slices.partition_point(|slice| slice.end <= position);
            return self.slices.get(index).map(|slice| slice.id);
        }
        let included = || self.slices.iter().filter(|slice| !exclude.contains(&slice.id));
        let mut position = scale(random, included().map(|slice| slice.share).sum());
        for slice in included() {
            match position.checked_sub(slice.share) {
                Some(rest) => position = rest,
                None => return Some(slice.id),
            }
        }
        None
    }
}

/// `random` from 0..2^64 to 0..total.
fn scale(random: u64, total: u64) -> u64 {
    ((u128::from(random) * u128::from(total)) >> 64) as u64
}

/// 1000 at no lag, falling in a straight line to the floor at `max_lag`.
fn lag_permille(lag: Duration, max_lag: Option<Duration>) -> u64 {
    let reference = max_lag.unwrap_or(UNLIMITED_REFERENCE).as_micros().max(1);
    let lag = lag.as_micros().min(reference);
    let lost = u128::from(1000 - FLOOR_PERMILLE) * lag / reference;
    1000 - u64::try_from(lost).unwrap_or(1000 - FLOOR_PERMILLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LAG: Option<Duration> = Some(Duration::from_secs(2));

    fn readers(replicas: &[(u16, u32, u64)]) -> Readers {
        let replicas = replicas
            .iter()
            .map(|&(id, weight, lag_ms)| (ServerId(id), weight, Duration::from_millis(lag_ms)));
        Readers::new(replicas, MAX_LAG)
    }

    /// How often each id is picked over evenly spread numbers.
    fn counts(readers: &Readers, exclude: &[ServerId]) -> [u32; 4] {
        let mut counts = [0; 4];
        for step in 0..10_000u64 {
            if let Some(ServerId(id)) = readers.pick(step * (u64::MAX / 10_000), exclude) {
                counts[usize::from(id)] += 1;
            }
        }
        counts
    }

    fn near(counts: [u32; 4], expected: [u32; 4]) {
        for (count, expected) in counts.iter().zip(expected) {
            assert!(count.abs_diff(expected) <= 2, "{counts:?}");
        }
    }

    #[test]
    fn weights_share_the_reads() {
        near(counts(&readers(&[(1, 1, 0), (2, 3, 0)]), &[]), [0, 2500, 7500, 0]);
    }

    #[test]
    fn lag_makes_a_share_smaller_but_not_nothing() {
        near(counts(&readers(&[(1, 1, 0), (2, 1, 2000)]), &[]), [0, 9091, 909, 0]);
        near(counts(&readers(&[(1, 1, 0), (2, 1, 1000)]), &[]), [0, 6452, 3548, 0]);
        assert_eq!(lag_permille(Duration::from_secs(3600), None), FLOOR_PERMILLE);
        assert_eq!(lag_permille(Duration::ZERO, Some(Duration::ZERO)), 1000);
    }

    #[test]
    fn excluded_replicas_get_nothing_and_the_others_keep_their_proportions() {
        let three = readers(&[(0, 1, 0), (1, 1, 0), (2, 3, 0)]);
        near(counts(&three, &[ServerId(0)]), [0, 2500, 7500, 0]);
        assert_eq!(counts(&three, &[ServerId(0), ServerId(1), ServerId(2)]), [0; 4]);
        near(counts(&three, &[ServerId(3)]), [2000, 2000, 6000, 0]);
    }

    #[test]
    fn t30_who_is_not_in_it_gets_nothing_even_at_the_ends() {
        let one = readers(&[(2, 1000, 0)]);
        for random in [0, 1, u64::MAX / 2, u64::MAX] {
            assert_eq!(one.pick(random, &[]), Some(ServerId(2)));
            assert_eq!(one.pick(random, &[ServerId(2)]), None);
            assert_eq!(Readers::default().pick(random, &[]), None);
        }
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        let many: Vec<_> = (0..u16::MAX).map(|id| (ServerId(id), u32::MAX, Duration::ZERO)).collect();
        let readers = Readers::new(many.into_iter(), None);
        assert_eq!(readers.pick(u64::MAX, &[]), Some(ServerId(u16::MAX - 1)));
    }
}
