//! Numbers of 63 bits: 41 of time (milliseconds since 2026), 10 of the node, 12 of a count.
//!
//! Owns: the layout, and what keeps a number from being given out twice. Does not know: clocks (both are arguments), who grants.
//! Invariant: numbers only grow, whatever the wall clock does: where it goes back, or more are wanted than a millisecond has, the time in
//! them runs ahead of it. They stay within the times that were granted for the node, which nobody else is granted for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// 2026-01-01 00:00:00 UTC, in milliseconds of Unix time.
pub const EPOCH_MS: u64 = 1_767_225_600_000;
/// How many nodes there are.
pub const NODES: u16 = 1 << NODE_BITS;

const NODE_BITS: u32 = 10;
const COUNT_BITS: u32 = 12;
/// Numbers of one millisecond.
const COUNTS: u64 = 1 << COUNT_BITS;
/// The last millisecond that can be told, in the year 2095.
const LAST_MS: u64 = (1 << 41) - 1;

/// The right to make numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Which node.
    pub node: u16,
    /// Times in the numbers are this one or later,
    pub from_ms: u64,
    /// and before this one.
    pub until_ms: u64,
    /// It is good for nothing from then on, by the clock that nobody sets.
    pub ends: Instant,
}

/// There is no grant from which numbers could be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, thiserror::Error)]
#[error("no numbers are granted")]
pub struct Lacking {
    /// One is on its way, and good from then on.
    pub settles_in: Option<Duration>,
}

/// Numbers that were given out together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    node: u16,
    /// Time and count of the first.
    first: u64,
    /// How many.
    count: u64,
}

impl Run {
    /// The number at this place.
    pub fn number(self, at: usize) -> u64 {
        let tick = self.first.saturating_add(at as u64).min(self.first + self.count.saturating_sub(1));
        (tick >> COUNT_BITS) << (NODE_BITS + COUNT_BITS)
            | u64::from(self.node) << COUNT_BITS
            | tick & (COUNTS - 1)
    }
}

/// What numbers are made from.
#[derive(Debug, Default)]
pub struct Snowflakes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    grant: Option<Grant>,
    /// The first tick (time and count) that was not given out.
    next: u64,
    /// When a grant that is not good yet will be.
    settles: Option<Instant>,
}

impl Snowflakes {
    /// So many numbers. Up to as many as a millisecond has are without a gap.
    ///
    /// # Errors
    /// No grant is good for them.
    pub fn take(&self, count: usize, now_ms: u64, now: Instant) -> Result<Run, Lacking> {
        let mut state = self.lock();
        let settles_in = state.settles.map(|settles| settles.saturating_duration_since(now));
        let lacking = Lacking { settles_in: settles_in.filter(|left| !left.is_zero()) };
        let grant = state.grant.filter(|grant| now < grant.ends).ok_or(lacking)?;
        let count = count as u64;
        let begin = grant.from_ms.max(now_ms.min(LAST_MS)) << COUNT_BITS;
        let mut first = state.next.max(begin);
        if count <= COUNTS && first % COUNTS + count > COUNTS {
            first = (first / COUNTS + 1) * COUNTS;
        }
        let end = first.checked_add(count).ok_or(lacking)?;
        if end > grant.until_ms.min(LAST_MS) << COUNT_BITS {
            return Err(lacking);
        }
        state.next = end;
        Ok(Run { node: grant.node, first, count })
    }

    /// The latest time in a number so far, or the first that may be in one.
    pub fn reached_ms(&self) -> u64 {
        self.lock().next >> COUNT_BITS
    }

    /// From now on numbers are made by this grant.
    pub fn grant(&self, grant: Grant) {
        let mut state = self.lock();
        (state.grant, state.settles) = (Some(grant), None);
    }

    /// A grant will come then.
    pub fn settles(&self, at: Instant) {
        self.lock().settles = Some(at);
    }

    /// The node is somebody else's now.
    pub fn lose(&self) {
        self.lock().grant = None;
    }

    /// The node, where numbers can be made.
    pub fn node(&self, now: Instant) -> Option<u16> {
        self.lock().grant.filter(|grant| now < grant.ends).map(|grant| grant.node)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(10);

    fn granted(from_ms: u64, now: Instant) -> Snowflakes {
        let snowflakes = Snowflakes::default();
        snowflakes.grant(Grant { node: 5, from_ms, until_ms: from_ms + 10_000, ends: now + TERM });
        snowflakes
    }

    fn numbers(snowflakes: &Snowflakes, count: usize, now_ms: u64, now: Instant) -> Vec<u64> {
        let run = snowflakes.take(count, now_ms, now).unwrap();
        (0..count).map(|at| run.number(at)).collect()
    }

    #[test]
    fn a_number_has_time_node_and_count() {
        let now = Instant::now();
        let snowflakes = granted(1000, now);
        assert_eq!(numbers(&snowflakes, 2, 1000, now), [1000 << 22 | 5 << 12, 1000 << 22 | 5 << 12 | 1]);
        assert_eq!(numbers(&snowflakes, 1, 1001, now), [1001 << 22 | 5 << 12]);
        assert!(numbers(&granted(LAST_MS - 10_000, now), 1, LAST_MS - 1, now)[0] < 1 << 63);
    }

    #[test]
    fn a_clock_that_goes_back_is_survived() {
        let now = Instant::now();
        let snowflakes = granted(1000, now);
        let mut all = Vec::new();
        for now_ms in [5000, 1000, 0, 4999, 5000, 5001, 2000] {
            for count in [1, 3000, 3000, 1] {
                all.extend(numbers(&snowflakes, count, now_ms, now));
            }
        }
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "numbers only grow");
    }

    #[test]
    fn many_at_once_run_ahead_of_the_clock_and_stay_within_the_grant() {
        let now = Instant::now();
        let snowflakes = granted(1000, now);
        let all = numbers(&snowflakes, 100_000, 1000, now);
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(snowflakes.reached_ms(), 1000 + 100_000 / 4096);
        let most = 10_000 * 4096;
        assert!(snowflakes.take(most, 1000, now).is_err(), "more than the grant has");
        assert!(snowflakes.take(1, 10_999, now).is_ok(), "what was refused has used up nothing");
        assert!(snowflakes.take(1, 11_000, now).is_err(), "a clock that is ahead of the grant");
    }

    #[test]
    fn numbers_of_one_statement_have_no_gap_where_a_millisecond_has_them() {
        let now = Instant::now();
        let snowflakes = granted(1000, now);
        snowflakes.take(3000, 1000, now).unwrap();
        let all = numbers(&snowflakes, 4096, 1000, now);
        assert!(all.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    }

    #[test]
    fn without_a_grant_or_past_its_end_there_are_none() {
        let now = Instant::now();
        let snowflakes = Snowflakes::default();
        assert_eq!(snowflakes.take(1, 1000, now), Err(Lacking { settles_in: None }));
        snowflakes.settles(now + TERM);
        assert_eq!(snowflakes.take(1, 1000, now), Err(Lacking { settles_in: Some(TERM) }));
        let snowflakes = granted(1000, now);
        assert!(snowflakes.take(1, 1000, now + TERM).is_err());
        assert_eq!((snowflakes.node(now), snowflakes.node(now + TERM)), (Some(5), None));
        snowflakes.lose();
        assert!(snowflakes.take(1, 1000, now).is_err());
    }

    #[test]
    fn another_grant_goes_on_behind_what_was_given_out() {
        let now = Instant::now();
        let snowflakes = granted(1000, now);
        let before = numbers(&snowflakes, 1, 9000, now)[0];
        snowflakes.grant(Grant { node: 3, from_ms: 2000, until_ms: 20_000, ends: now + TERM });
        assert!(numbers(&snowflakes, 1, 2000, now)[0] > before - (5 << 12));
        assert_eq!(snowflakes.node(now), Some(3));
    }
}
