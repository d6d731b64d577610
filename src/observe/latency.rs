//! How long statements take: a histogram with fixed buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in µs, each inclusive: 50 µs to 10 s, and one more above.
const BOUNDS_US: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_ns: AtomicU64,
}

impl Latency {
    /// Adds one duration.
    pub fn observe(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let index = BOUNDS_US.partition_point(|bound| bound * 1_000 < ns);
        self.buckets[index].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

/// Sums of several histograms, as the exposition wants them.
#[derive(Debug)]
pub(super) struct Totals {
    /// Upper bound in seconds, and how many are in this bucket alone.
    pub buckets: Vec<(f64, u64)>,
    /// Seconds of all.
    pub sum: f64,
    /// How many there are.
    pub count: u64,
}

/// Sums up; `count` is that of the buckets as they were read, so that both always agree.
pub(super) fn totals<'a>(parts: impl Iterator<Item = &'a Latency>) -> Totals {
    let mut counts = [0; BOUNDS_US.len() + 1];
    let mut sum_ns = 0u64;
    for part in parts {
        for (count, bucket) in counts.iter_mut().zip(&part.buckets) {
            *count += bucket.load(Ordering::Relaxed);
        }
        sum_ns = sum_ns.wrapping_add(part.sum_ns.load(Ordering::Relaxed));
    }
    let bounds = BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
    Totals {
        buckets: bounds.zip(counts).collect(),
        sum: Duration::from_nanos(sum_ns).as_secs_f64(),
        count: counts.iter().sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_the_last_bucket_takes_the_rest() {
        let latency = Latency::default();
        for us in [0, 50, 51, 10_000_000, 10_000_001, u64::MAX / 1_000_000] {
            latency.observe(Duration::from_micros(us));
        }
        let totals = totals([&latency].into_iter());
        assert_eq!(totals.buckets[0], (0.000_05, 2));
        assert_eq!(totals.buckets[1], (0.000_1, 1));
        assert_eq!(totals.buckets[16], (10.0, 1));
        assert_eq!(totals.buckets[17], (f64::INFINITY, 2));
        assert_eq!(totals.count, 6);
    }

    #[test]
    fn a_nanosecond_above_a_bound_is_in_the_next_bucket() {
        let latency = Latency::default();
        latency.observe(Duration::from_nanos(50_001));
        assert_eq!(totals([&latency].into_iter()).buckets[1].1, 1);
    }

    #[test]
    fn parts_are_summed() {
        let (one, other) = (Latency::default(), Latency::default());
        one.observe(Duration::from_millis(1));
        other.observe(Duration::from_millis(2));
        let totals = totals([&one, &other].into_iter());
        assert_eq!((totals.count, totals.sum), (2, 0.003));
    }
}
