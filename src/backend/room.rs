//! Room for statements that need several connections to one server at once; all cores together.
//!
//! Owns: how many connections such statements may have, and who waits for that. Does not know: connections (they come from the pool
//! afterwards), statements. Invariant: the room that is given out is never more than the server has connections, so statements that have it
//! never wait for each other's connections; who waits is served in the order of coming, all at once or not at all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// One server's.
#[derive(Debug, Default)]
pub struct Room {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    count: usize,
    max: usize,
    grant: oneshot::Sender<Place>,
}

/// Room for so many connections; given back when dropped.
#[derive(Debug)]
pub struct Place {
    room: Arc<Room>,
    count: usize,
}

impl Place {
    /// How many connections may be taken.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// What a statement gets.
#[derive(Debug)]
pub enum Entry {
    /// There is room.
    Now(Place),
    /// There will be.
    Later(oneshot::Receiver<Place>),
    /// As many wait as may.
    Full,
}

/// How many connections such statements may have of `max`: one is left for others, for KILL among them.
fn usable(max: usize) -> usize {
    max.saturating_sub(1).max(1)
}

/// How many connections of `wanted` a statement may have that can do with fewer, where the server has `max`.
pub fn share(wanted: usize, max: usize) -> usize {
    wanted.min(usable(max))
}

impl Room {
    /// Room for `count` connections of the server's `max`, before which `queue_max` may wait.
    pub fn enter(self: &Arc<Self>, count: usize, max: usize, queue_max: usize) -> Entry {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waiters.is_empty() && state.fits(count, max) {
            state.taken += count;
            return Entry::Now(Place { room: Arc::clone(self), count });
        }
        if state.waiters.len() >= queue_max {
            state.waiters.retain(|waiter| !waiter.grant.is_closed());
        }
        if state.waiters.len() >= queue_max {
            return Entry::Full;
        }
        let (grant, granted) = oneshot::channel();
        state.waiters.push_back(Waiter { count, max, grant });
        drop(state);
        self.serve(); // the one before may have gone
        Entry::Later(granted)
    }

    /// Lets in who waits, as far as there is room.
    fn serve(self: &Arc<Self>) {
        loop {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            while state.waiters.front().is_some_and(|waiter| waiter.grant.is_closed()) {
                state.waiters.pop_front();
            }
            let Some(first) = state.waiters.front() else { return };
            if !state.fits(first.count, first.max) {
                return;
            }
            let Some(waiter) = state.waiters.pop_front() else { return };
            state.taken += waiter.count;
            drop(state);
            // One that has gone in this moment drops its place, which serves the next.
            let place = Place { room: Arc::clone(self), count: waiter.count };
            drop(waiter.grant.send(place));
        }
    }
}

impl State {
    /// One that needs all that the server has gets it when nobody else has any.
    fn fits(&self, count: usize, max: usize) -> bool {
        self.taken + count <= usable(max) || self.taken == 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.room.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken = state.taken.saturating_sub(self.count);
        drop(state);
        self.room.serve();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(entry: Entry) -> Place {
        match entry {
            Entry::Now(place) => place,
            other => panic!("{other:?}"),
        }
    }

    fn later(entry: Entry) -> oneshot::Receiver<Place> {
        match entry {
            Entry::Later(granted) => granted,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn together_they_leave_one_connection_to_others() {
        let room = Arc::<Room>::default();
        let (one, two) = (now(room.enter(2, 5, 9)), now(room.enter(2, 5, 9)));
        let mut waits = later(room.enter(1, 5, 9));
        assert!(waits.try_recv().is_err());
        drop(one);
        assert_eq!(waits.try_recv().unwrap().count(), 1);
        drop(two);
        assert_eq!(room.state.lock().unwrap().taken, 0);
        assert_eq!((share(4, 3), share(4, 1), share(2, 100)), (2, 1, 2));
    }

    #[test]
    fn who_needs_much_is_not_overtaken_by_who_needs_little() {
        let room = Arc::<Room>::default();
        let first = now(room.enter(1, 4, 9));
        let mut large = later(room.enter(4, 4, 9));
        let mut small = later(room.enter(1, 4, 9));
        assert!(large.try_recv().is_err() && small.try_recv().is_err());
        drop(first);
        let all = large.try_recv().unwrap();
        assert!(small.try_recv().is_err());
        drop(all);
        assert!(small.try_recv().is_ok());
    }

    #[test]
    fn who_has_gone_is_passed_over_and_the_queue_is_bounded() {
        let room = Arc::<Room>::default();
        let first = now(room.enter(1, 1, 2));
        drop(later(room.enter(1, 1, 2)));
        let mut next = later(room.enter(1, 1, 2));
        let mut last = later(room.enter(1, 1, 2));
        assert!(matches!(room.enter(1, 1, 2), Entry::Full));
        drop(first);
        drop(next.try_recv().unwrap());
        assert!(last.try_recv().is_ok());
    }
}
