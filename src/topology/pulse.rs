//! How late a replica is by a table of heartbeats, or by the answer to an operator's own question.
//!
//! Owns: what a beat that a replica shows says of it. Does not know: who writes the beats, whose clock they are of. Pure: the moments come in.
//! Invariant: a beat that the primary shows and a replica does not is timed by our clock; two beats are subtracted from each other only
//! where that is not known, and then both are of the one clock that wrote them. What the primary does not show says nothing.

use std::time::{Duration, Instant};

use super::course::{Course, Progress};

/// Beats that may be missed before the table is taken to be no longer written.
const MISSED_MAX: u32 = 3;

/// A moment as the table has it: microseconds since 1970 by the clock and in the time zone of its writer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Beat(pub i64);

impl Progress for Beat {
    fn reaches(&self, other: &Self) -> bool {
        self >= other
    }
}

/// What a server has answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reading {
    /// The beat in its table.
    Beat(Beat),
    /// The answer to the question; `None` for NULL: not known.
    Answer(Option<Duration>),
    /// It could not be asked, or there is no beat.
    Nothing,
}

/// How late a replica is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Measured {
    /// So much.
    Lag(Duration),
    /// It has said that it does not know.
    Unknown,
    /// What is asked says nothing of it.
    Nothing,
}

/// The beats that the primary has shown.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    course: Course<Beat>,
    /// After so long without a new one nobody writes them.
    patience: Duration,
}

impl Pulse {
    /// Beats that are written every `interval`, and looked at every so often with an answer in `timeout`.
    pub fn new(interval: Duration, timeout: Duration) -> Self {
        Self { course: Course::default(), patience: interval.saturating_mul(MISSED_MAX) + timeout }
    }

    /// The primary's beat, asked for at `at`. One that lies before those that were seen begins anew: a clock was set back.
    pub fn note(&mut self, at: Instant, beat: Beat) {
        if self.course.last().is_some_and(|(_, last)| beat < *last) {
            self.course.clear();
        }
        self.course.note(at, &beat);
    }

    /// Another server is the primary now.
    pub fn clear(&mut self) {
        self.course.clear();
    }

    /// How late a server is that has answered this at `now`.
    pub fn measure(&self, reading: Reading, now: Instant) -> Measured {
        match reading {
            Reading::Beat(beat) => self.lag(beat, now).map_or(Measured::Nothing, Measured::Lag),
            Reading::Answer(answer) => answer.map_or(Measured::Unknown, Measured::Lag),
            Reading::Nothing => Measured::Nothing,
        }
    }

    fn lag(&self, beat: Beat, now: Instant) -> Option<Duration> {
        let (at, last) = self.course.last()?;
        let age = now.saturating_duration_since(*at);
        let ahead = Duration::from_micros(u64::try_from(beat.0.saturating_sub(last.0)).unwrap_or(0));
        if age > self.patience || ahead > self.patience {
            return None; // nobody writes, or it is of before the writer's clock was set back
        }
        self.course.lag(&beat, now).or_else(|| {
            let before = u64::try_from(last.0.saturating_sub(beat.0)).ok()?;
            Some(Duration::from_micros(before) + age)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// Beats of 100 s, 101 s, … by some clock, seen every second by ours; and the moment of the last.
    fn beating(count: i64) -> (Pulse, Instant) {
        let (mut pulse, start) = (Pulse::new(ms(1000), ms(500)), Instant::now());
        let moment = |number: i64| start + ms(1000 * number as u64);
        (0..count).for_each(|number| pulse.note(moment(number), Beat((100 + number) * SECOND)));
        (pulse, moment(count - 1))
    }

    #[test]
    fn what_is_missing_is_timed_by_our_clock() {
        let (pulse, now) = beating(5);
        let lag = |second: i64, after| pulse.lag(Beat(second * SECOND), now + ms(after));
        assert_eq!(lag(104, 300), Some(ms(0)), "it has the last");
        assert_eq!(lag(103, 300), Some(ms(300)));
        assert_eq!(lag(101, 300), Some(ms(2300)));
        assert_eq!(lag(105, 900), Some(ms(0)), "the primary was asked before it");
    }

    #[test]
    fn what_is_older_than_all_that_was_seen_is_timed_by_the_writers_clock() {
        let (pulse, now) = beating(1);
        assert_eq!(pulse.lag(Beat(40 * SECOND), now + ms(250)), Some(ms(60_250)));
        assert_eq!(pulse.lag(Beat(i64::MIN), now).map(|lag| lag > ms(60_000)), Some(true), "no overflow");
    }

    #[test]
    fn a_silent_table_says_nothing() {
        assert_eq!(
            Pulse::new(ms(1000), ms(500)).measure(Reading::Beat(Beat(0)), Instant::now()),
            Measured::Nothing
        );
        let (mut pulse, now) = beating(5);
        let last = Reading::Beat(Beat(104 * SECOND));
        assert_eq!(pulse.measure(last, now + ms(3500)), Measured::Lag(ms(0)));
        assert_eq!(pulse.measure(last, now + ms(3501)), Measured::Nothing);
        pulse.note(now + ms(3502), Beat(104 * SECOND));
        assert_eq!(pulse.measure(last, now + ms(3502)), Measured::Nothing, "the same beat again is none");
        pulse.clear();
        assert_eq!(pulse.measure(last, now), Measured::Nothing);
    }

    #[test]
    fn a_clock_that_was_set_back_begins_anew() {
        let (mut pulse, now) = beating(5);
        pulse.note(now + ms(1000), Beat(50 * SECOND));
        assert_eq!(pulse.lag(Beat(50 * SECOND), now + ms(1000)), Some(ms(0)));
        assert_eq!(pulse.lag(Beat(104 * SECOND), now + ms(1000)), None, "how late, cannot be said");
        pulse.note(now + ms(2000), Beat(51 * SECOND));
        assert_eq!(pulse.lag(Beat(50 * SECOND), now + ms(2100)), Some(ms(100)));
    }

    #[test]
    fn null_is_not_zero() {
        let (pulse, now) = beating(1);
        assert_eq!(pulse.measure(Reading::Answer(None), now), Measured::Unknown);
        assert_eq!(pulse.measure(Reading::Answer(Some(ms(7))), now), Measured::Lag(ms(7)));
        assert_eq!(pulse.measure(Reading::Nothing, now), Measured::Nothing);
    }
}
