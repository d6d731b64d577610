//! What has changed on the servers, through Tidegate, for clients that log in from now on: accounts and their rights, global variables.
//!
//! Owns: how often, and which values global variables had before. Does not know: sessions, connections. Invariant: what is remembered is
//! bounded; a change that is forgotten is one of [`CHANGES_MAX`] before the last.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Changed variables that are remembered.
const CHANGES_MAX: usize = 1024;

/// A variable's name and the global value that it had.
pub type Before = (Vec<u8>, Vec<u8>);

/// How often something has changed, all clusters together. A server gives a connection the rights that its account has at the login, those
/// on a database at USE, and the global variables' values at the login; a new session expects new ones, an older one those that it began with.
#[derive(Debug, Default)]
pub struct Epoch {
    now: AtomicU64,
    globals: AtomicU64,
    changes: Mutex<VecDeque<(u64, Before)>>,
}

impl Epoch {
    /// How often by now.
    pub fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    /// Connections that are open now are not for clients that log in from now on.
    pub fn next(&self) {
        self.now.fetch_add(1, Relaxed);
    }

    /// The number of the last change of a global variable.
    pub fn globals(&self) -> u64 {
        self.globals.load(Relaxed)
    }

    /// Global variables were changed; this is what they were before.
    pub fn note_globals(&self, before: Vec<Before>) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.globals.load(Relaxed) + 1;
        changes.extend(before.into_iter().map(|variable| (number, variable)));
        let forgotten = changes.len().saturating_sub(CHANGES_MAX);
        drop(changes.drain(..forgotten));
        self.globals.store(number, Relaxed);
    }

    /// What was changed after the change with the number `seen`, up to that with the number `last`, as it was before; the oldest first.
    pub fn globals_between(&self, seen: u64, last: u64) -> Vec<Before> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = changes.iter().filter(|(number, _)| (seen + 1..=last).contains(number));
        wanted.map(|(_, variable)| variable.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str, value: &str) -> Before {
        (name.into(), value.into())
    }

    #[test]
    fn who_began_later_misses_nothing() {
        let epoch = Epoch::default();
        epoch.note_globals(vec![variable("a", "1"), variable("b", "x")]);
        let seen = epoch.globals();
        epoch.note_globals(vec![variable("a", "2")]);
        let now = epoch.globals();
        assert_eq!(
            epoch.globals_between(0, now),
            [variable("a", "1"), variable("b", "x"), variable("a", "2")]
        );
        assert_eq!(epoch.globals_between(0, seen), [variable("a", "1"), variable("b", "x")]);
        assert_eq!(epoch.globals_between(seen, now), [variable("a", "2")]);
        assert_eq!(epoch.globals_between(now, now), []);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let epoch = Epoch::default();
        (0..3000).for_each(|_| epoch.note_globals(vec![variable("a", "1")]));
        assert_eq!((epoch.globals(), epoch.globals_between(0, 3000).len()), (3000, CHANGES_MAX));
    }
}
