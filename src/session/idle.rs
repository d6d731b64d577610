//! How long a session may be idle: the servers' `wait_timeout` and `interactive_timeout`.
//!
//! Owns: since when a session is idle, by a clock of whole seconds, and for how long it may be. Does not know: timers; the
//! registry's sweep looks at all sessions about once a second. Invariant: a session pays two stores for each command.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// What the sweep needs to know of one session.
#[derive(Debug, Default)]
pub struct Idle {
    /// The second in which it became idle; 0 while it works.
    since: AtomicU32,
    /// Seconds for which it may be idle; 0: for ever.
    limit: AtomicU32,
}

impl Idle {
    /// It is idle from `now` on, or goes on being it. `now` is never 0.
    pub fn begin(&self, now: u32) {
        if self.since.load(Relaxed) == 0 {
            self.since.store(now, Relaxed);
        }
    }

    /// It works.
    pub fn end(&self) {
        self.since.store(0, Relaxed);
    }

    /// Sets the time that it may be idle, in whole seconds.
    pub fn set_limit(&self, limit: Duration) {
        self.limit.store(u32::try_from(limit.as_secs()).unwrap_or(u32::MAX), Relaxed);
    }

    /// Whether it has been idle for too long. A second more than the limit, so that it never is a moment too early.
    pub fn is_over(&self, now: u32) -> bool {
        let (since, limit) = (self.since.load(Relaxed), self.limit.load(Relaxed));
        since != 0 && limit != 0 && now.saturating_sub(since) > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_is_idle_for_longer_than_its_limit_is_over() {
        let idle = Idle::default();
        idle.begin(7);
        assert!(!idle.is_over(u32::MAX), "no limit yet");
        idle.set_limit(Duration::from_secs(3));
        assert!(!idle.is_over(10) && idle.is_over(11));
        idle.begin(11); // looked around, and is idle still
        assert!(idle.is_over(11));
        idle.end();
        assert!(!idle.is_over(100), "it works");
        idle.begin(100);
        assert!(!idle.is_over(103) && idle.is_over(104));
        idle.set_limit(Duration::from_secs(u64::MAX));
        assert!(!idle.is_over(u32::MAX));
    }
}
