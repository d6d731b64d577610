//! How warm a replica's caches are taken to be: one that comes back begins with a part of its reads.
//!
//! Does not know: why it was out (but for its lag), what reads do. Pure: the moments come in.

use std::time::{Duration, Instant};

use super::reads::LeftOut;
use super::roles::Role;

/// Of one server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Warmth {
    /// It takes no reads, and not for its lag alone.
    cold: bool,
    /// Since when it has taken reads again; `None` where it has done so from Tidegate's start on.
    back: Option<Instant>,
}

impl Warmth {
    /// Of a server of which nothing is known.
    pub const UNKNOWN: Self = Self { cold: true, back: None };

    /// Takes in what the server is `now`. `begun`: others had all been looked at before, so that it comes later than Tidegate.
    pub fn note(&mut self, role: Role, left_out: Option<LeftOut>, begun: bool, now: Instant) {
        match left_out {
            _ if role == Role::Primary => self.cold = false,
            None if role.reads() => {
                if self.cold {
                    *self = Self { cold: false, back: begun.then_some(now) };
                }
            }
            // It has applied what was written.
            Some(LeftOut::Late { .. }) => {}
            _ => self.cold = true,
        }
    }

    /// The part of its share that it has by now, in thousandths: from a tenth, in ten steps.
    pub fn permille(self, slow_start: Duration, now: Instant) -> u64 {
        let Some(back) = self.back else { return 1000 };
        let steps = now.saturating_duration_since(back).as_micros() * 10;
        (steps.checked_div(slow_start.as_micros()).unwrap_or(9).min(9) as u64 + 1) * 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Option<LeftOut> =
        Some(LeftOut::Late { lag: Duration::ZERO, max: Duration::ZERO, told: Duration::ZERO });

    #[test]
    fn it_grows_from_a_tenth_to_the_whole() {
        let back = Instant::now();
        let warmth = Warmth { cold: false, back: Some(back) };
        let at = |ms, slow_start_s| {
            warmth.permille(Duration::from_secs(slow_start_s), back + Duration::from_millis(ms))
        };
        let found = [0, 999, 1000, 5500, 8999, 9000, 99_999].map(|ms| at(ms, 10));
        assert_eq!(found, [100, 100, 200, 600, 900, 1000, 1000]);
        assert_eq!(at(0, 0), 1000, "switched off");
    }

    #[test]
    fn who_was_out_for_more_than_its_lag_begins_anew() {
        let now = Instant::now();
        let begins_with = |history: &[(Role, Option<LeftOut>)], begun| {
            let mut warmth = Warmth::UNKNOWN;
            history.iter().for_each(|(role, left_out)| warmth.note(*role, *left_out, begun, now));
            warmth.note(Role::Replica, None, begun, now);
            warmth.permille(Duration::from_secs(10), now)
        };
        assert_eq!((begins_with(&[], false), begins_with(&[], true)), (1000, 100));
        assert_eq!(begins_with(&[(Role::Primary, None)], true), 1000);
        assert_eq!(begins_with(&[(Role::Primary, None), (Role::Replica, LATE)], true), 1000);
        let drained = (Role::Replica, Some(LeftOut::Draining));
        assert_eq!(begins_with(&[(Role::Primary, None), drained, (Role::Replica, LATE)], true), 100);
    }
}
