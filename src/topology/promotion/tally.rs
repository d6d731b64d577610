//! How often the servers' roles were changed, and how often that was refused and why.
//!
//! Owns: the names of acts and reasons, and the counters. Does not know: who shows them. Invariant: they observe, they decide nothing.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::observe::CounterSet;

/// A change of a server's role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Act {
    /// A replica took the place of a primary that was gone.
    Promotion,
    /// A replica took the place of the primary by an operator's order.
    Switchover,
    /// A writable server that was not the primary was set read only.
    Fencing,
    /// A server was made a replica of the primary.
    Repointing,
    /// A primary that was restarted took writes again.
    Waking,
    /// A switchover that did not come to its end was undone, or brought to it.
    Resumption,
}

impl Act {
    /// Names for the metrics, by `self as usize`.
    const NAMES: &'static [&'static str] =
        &["promotion", "switchover", "fencing", "repointing", "waking", "resumption"];
}

/// Why nothing was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Why {
    /// Another Tidegate acts.
    Locked,
    /// Too few servers can be reached.
    NoMajority,
    /// The primary answers, or somebody hears from it.
    NotGone,
    /// Nobody says that it is gone.
    Unasked,
    /// Another server is writable.
    Contested,
    /// No server can take the place.
    NoCandidate,
    /// It would lose transactions.
    WouldLose,
    /// A person wants it so.
    Ordered,
    /// Sessions do not leave the primary.
    Sessions,
    /// A server did not do what it was told.
    Server,
}

impl Why {
    /// Names for the metric, by `self as usize`.
    const NAMES: &'static [&'static str] = &[
        "locked",
        "no_majority",
        "not_gone",
        "unasked",
        "contested",
        "no_candidate",
        "would_lose",
        "ordered",
        "sessions",
        "server",
    ];
}

/// What went wrong, in words for the log; what is only words is a server's failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Trouble {
    pub why: Why,
    pub text: String,
}

impl Trouble {
    pub fn new(why: Why, text: impl Into<String>) -> Self {
        Self { why, text: text.into() }
    }
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self::new(Why::Server, text)
    }
}

impl From<&str> for Trouble {
    fn from(text: &str) -> Self {
        Self::new(Why::Server, text)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The counters.
#[derive(Debug)]
pub struct Tally {
    acts: CounterSet,
    refusals: CounterSet,
    /// When each act was done last, in seconds since 1970; 0 for never.
    last: Box<[AtomicU64]>,
}

impl Default for Tally {
    fn default() -> Self {
        let last = Act::NAMES.iter().map(|_| AtomicU64::new(0)).collect();
        Self { acts: CounterSet::new(Act::NAMES), refusals: CounterSet::new(Why::NAMES), last }
    }
}

impl Tally {
    pub(super) fn done(&self, act: Act) {
        self.acts.count(act as usize);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if let Some(last) = self.last.get(act as usize) {
            last.store(now, Relaxed);
        }
    }

    pub(super) fn refused(&self, why: Why) {
        self.refusals.count(why as usize);
    }

    /// Each act with how often it was done, and when last, in seconds since 1970, if ever.
    pub fn acts(&self) -> impl Iterator<Item = (&'static str, u64, Option<u64>)> + '_ {
        let last = self.last.iter().map(|last| Some(last.load(Relaxed)).filter(|at| *at > 0));
        self.acts.iter().zip(last).map(|((name, count), last)| (name, count, last))
    }

    /// Each reason with how often it was given.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.refusals.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_act_and_each_reason_has_its_name() {
        let tally = Tally::default();
        tally.done(Act::Waking);
        tally.refused(Why::Server);
        let done: Vec<_> = tally.acts().filter(|(_, count, last)| *count == 1 && last.is_some()).collect();
        assert_eq!(done.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), ["waking"]);
        assert_eq!(tally.refusals().filter(|(_, count)| *count == 1).collect::<Vec<_>>(), [("server", 1)]);
        assert_eq!(
            (Act::NAMES.len(), Why::NAMES.len()),
            (Act::Resumption as usize + 1, Why::Server as usize + 1)
        );
    }
}
