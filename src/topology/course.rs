//! The primary's course: what it had executed when. A replica's lag follows from where on it the replica is.
//!
//! Does not know: servers' clocks, heartbeats, who the primary is. Pure: the moments come in. Invariant: no clock but ours is compared, so
//! that no skew can fool it; an idle primary makes nobody late.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::gtid::Transactions;

/// Points kept: at the default interval of 250 ms, two minutes of uninterrupted writing.
const POINTS_MAX: usize = 512;

/// How far a server has come.
pub(super) trait Progress: Clone + PartialEq {
    /// Whether who has come this far has come as far as `other`, too.
    fn reaches(&self, other: &Self) -> bool;
}

impl Progress for Transactions {
    fn reaches(&self, other: &Self) -> bool {
        self.contains(other)
    }
}

/// What the primary had executed at some probes, oldest first; each differs from the one before.
#[derive(Debug)]
pub(super) struct Course<P> {
    points: VecDeque<(Instant, P)>,
    /// When it had no more than the last of them, by the last probe.
    confirmed: Option<Instant>,
}

impl<P> Default for Course<P> {
    fn default() -> Self {
        Self { points: VecDeque::new(), confirmed: None }
    }
}

impl<P: Progress> Course<P> {
    /// A probe of the primary, sent at `at`.
    pub fn note(&mut self, at: Instant, executed: &P) {
        self.confirmed = Some(at);
        if self.points.back().is_some_and(|(_, last)| last == executed) {
            return;
        }
        if self.points.len() == POINTS_MAX {
            self.points.pop_front();
        }
        self.points.push_back((at, executed.clone()));
    }

    /// Another server is the primary now.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The last moment at which the primary is known to have had no more than `executed`; `None` where there is none.
    pub fn covers(&self, executed: &P) -> Option<Instant> {
        match self.has(executed).checked_sub(1)? {
            last if last + 1 == self.points.len() => self.confirmed,
            last => self.points.get(last).map(|(at, _)| *at),
        }
    }

    /// How many of the points it has. Servers do not take back: who lacks one point lacks those after it.
    fn has(&self, executed: &P) -> usize {
        self.points.partition_point(|(_, point)| executed.reaches(point))
    }

    /// The last of the points, and when it was first seen.
    pub fn last(&self) -> Option<&(Instant, P)> {
        self.points.back()
    }

    /// How long a server with `executed` at `now` has been lacking something at least; zero where it lacks nothing that is known.
    /// `None` where it lacks all that is known: since when cannot be said.
    ///
    /// It may be more by the time between two probes.
    pub fn lag(&self, executed: &P, now: Instant) -> Option<Duration> {
        let has = self.has(executed);
        match self.points.get(has) {
            None if self.points.is_empty() => None,
            None => Some(Duration::ZERO),
            Some(_) if has == 0 => None,
            Some((at, _)) => Some(now.saturating_duration_since(*at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(last: u64) -> Transactions {
        Transactions::parse(format!("0-1-{last}").as_bytes()).expect("a position")
    }

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn lag_is_the_age_of_the_first_thing_missing() {
        let (mut course, start) = (Course::default(), Instant::now());
        assert_eq!(course.lag(&set(9), start), None);
        for (at, last) in [(0, 10), (250, 20), (500, 30)] {
            course.note(start + ms(at), &set(last));
        }
        let lag = |last| course.lag(&set(last), start + ms(600));
        assert_eq!(lag(9), None);
        assert_eq!(lag(10), Some(ms(350)));
        assert_eq!(lag(29), Some(ms(100)));
        assert_eq!(lag(30), Some(ms(0)));
        assert_eq!(lag(99), Some(ms(0)));
    }

    #[test]
    fn what_a_server_covers_is_the_last_it_has_all_of() {
        let (mut course, start) = (Course::default(), Instant::now());
        assert_eq!(course.covers(&set(9)), None);
        for (at, last) in [(0, 10), (250, 20), (500, 20), (750, 30), (1000, 30)] {
            course.note(start + ms(at), &set(last));
        }
        for (last, covered) in
            [(9, None), (10, Some(0)), (19, Some(0)), (29, Some(250)), (30, Some(1000)), (99, Some(1000))]
        {
            assert_eq!(course.covers(&set(last)), covered.map(|at| start + ms(at)), "{last}");
        }
        course.clear();
        assert_eq!(course.covers(&set(99)), None);
    }

    #[test]
    fn an_idle_primary_makes_nobody_late() {
        let (mut course, start) = (Course::default(), Instant::now());
        for second in 0..1000 {
            course.note(start + ms(1000 * second), &set(10));
        }
        assert_eq!(course.points.len(), 1);
        assert_eq!(course.lag(&set(10), start + ms(1_000_000)), Some(ms(0)));
    }

    #[test]
    fn the_oldest_points_go() {
        let (mut course, start) = (Course::default(), Instant::now());
        for number in 1..=POINTS_MAX as u64 + 10 {
            course.note(start + ms(number), &set(number));
        }
        assert_eq!(course.points.len(), POINTS_MAX);
        assert_eq!(course.lag(&set(5), start + ms(9999)), None);
    }
}
