//! How fast a server has answered lately, in one number that all cores share.
//!
//! Owns: the average. Does not know: what was answered, who asks. Invariant: noting and reading are one atomic load or two, without a lock; what
//! two cores note in one moment may count once.
//!
//! It averages the logarithms: one report among a thousand point selects must not make a server look slow. And it ages: a server
//! that answers nothing, because reads go elsewhere, is to be tried again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Weight of one answer among others that come without a pause.
const SHARE: f32 = 1.0 / 32.0;
/// In this time what is known counts for half as much. Short: only what was measured at about the same time can be compared, or a busy moment of
/// the machine looks like a slow server.
const HALF_LIFE: Duration = Duration::from_millis(250);

/// How fast a server has answered.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Speed {
    /// The logarithm to base 2 of the average in µs.
    pub logarithm: f32,
    /// 1 where it has answered just now, and half as much with each quarter of a second since.
    pub trust: f32,
}

/// The average of one server.
#[derive(Debug)]
#[repr(align(64))] // written by all cores: nothing else is to be on its cache line
pub(super) struct Pace {
    origin: Instant,
    /// The logarithm as an `f32`, and behind it when it was made, in ms since `origin`. 0: never.
    average: AtomicU64,
}

impl Pace {
    /// Of a server that has answered nothing yet.
    pub fn new(origin: Instant) -> Self {
        Self { origin, average: AtomicU64::new(0) }
    }

    /// It has answered at `now` after `took`.
    pub fn note(&self, now: Instant, took: Duration) {
        let sample = (took.as_micros().max(1) as f32).log2();
        let logarithm = self.speed(now).map_or(sample, |Speed { logarithm, trust }| {
            sample + (logarithm - sample) * (1.0 - SHARE) * trust
        });
        let ms = self.ms(now).max(1);
        self.average.store(u64::from(logarithm.to_bits()) << 32 | u64::from(ms), Relaxed);
    }

    /// As of `now`; `None` where it has answered nothing yet.
    pub fn speed(&self, now: Instant) -> Option<Speed> {
        let average = self.average.load(Relaxed);
        // A core's look at the clock may be before another's; and after 49 days all begins again.
        let age_ms = (self.ms(now).wrapping_sub(average as u32) as i32).max(0);
        let logarithm = f32::from_bits((average >> 32) as u32);
        let trust = || (age_ms as f32 / -(HALF_LIFE.as_millis() as f32)).exp2();
        (average != 0).then(|| Speed { logarithm, trust: trust() })
    }

    fn ms(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.origin).as_millis() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The average in ms after `count` answers at an interval of 1 ms, each as long as `took` says.
    fn after(count: u32, took: impl Fn(u32) -> Duration) -> f32 {
        let start = Instant::now();
        let pace = Pace::new(start);
        (1..=count).for_each(|number| pace.note(start + number * MS, took(number)));
        pace.speed(start + count * MS).unwrap().logarithm.exp2() / 1000.0
    }

    #[test]
    fn what_is_always_the_same_is_the_average() {
        let average = after(1000, |_| MS);
        assert!((0.99..1.01).contains(&average), "{average}");
        assert_eq!(Pace::new(Instant::now()).speed(Instant::now()), None);
    }

    #[test]
    fn one_long_statement_does_not_make_a_server_slow() {
        let average = after(1000, |number| if number == 1000 { 1000 * MS } else { MS });
        assert!((1.0..1.3).contains(&average), "{average}");
        let slow = after(1000, |number| if number > 900 { 10 * MS } else { MS });
        assert!((8.0..10.1).contains(&slow), "a hundred of them do: {slow}");
    }

    #[test]
    fn what_is_known_counts_for_less_with_time() {
        let start = Instant::now();
        let pace = Pace::new(start);
        (1..=100).for_each(|number| pace.note(start + number * MS, 16 * MS));
        let at = |halves: u32| pace.speed(start + 100 * MS + halves * HALF_LIFE).unwrap();
        assert_eq!([0, 1, 3, 3600].map(|halves| at(halves).trust), [1.0, 0.5, 0.125, 0.0]);
        assert_eq!(at(3600).logarithm, at(0).logarithm);
        // What it answers then counts for the more.
        pace.note(start + Duration::from_secs(10), MS);
        let speed = pace.speed(start + Duration::from_secs(10)).unwrap();
        assert!((speed.logarithm.exp2() / 1000.0 - 1.0).abs() < 0.01, "{speed:?}");
    }

    #[test]
    fn no_answer_and_no_clock_breaks_it() {
        let start = Instant::now();
        let pace = Pace::new(start + MS);
        pace.note(start, Duration::ZERO);
        pace.note(start + 9 * MS, Duration::MAX);
        for now in [start, start + 9 * MS, start + Duration::from_secs(60 * 86_400)] {
            let speed = pace.speed(now).unwrap();
            assert!(speed.logarithm.is_finite() && (0.0..=1.0).contains(&speed.trust), "{speed:?}");
        }
    }
}
