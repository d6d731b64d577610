//! The common limit of connections to one server, for all threads together, and the queue in front of it.
//!
//! Owns: permits and waiters. Does not know: sockets, sessions.
//! Invariant: at most `max` permits exist at a time; a permit that is given back goes to the first waiter.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// What a waiter gets: a connection that fits, or the right to open one.
#[derive(Debug)]
pub enum Grant<C> {
    /// A connection of the waiter's own kind.
    Connection(C),
    /// A permit to open one.
    Permit(Permit<C>),
}

/// The right to hold one connection; given back when dropped.
#[derive(Debug)]
pub struct Permit<C> {
    gate: Arc<Gate<C>>,
}

impl<C> Drop for Permit<C> {
    fn drop(&mut self) {
        self.gate.open.fetch_sub(1, SeqCst);
        self.gate.wake();
    }
}

#[derive(Debug)]
struct Waiter<C> {
    /// Tells kinds of connections apart, see [`Gate::wait`].
    kind: u64,
    grant: oneshot::Sender<Grant<C>>,
}

/// The limit of one server.
#[derive(Debug)]
pub struct Gate<C> {
    max: usize,
    queue_max: usize,
    open: AtomicUsize,
    waiting: AtomicUsize,
    waiters: Mutex<VecDeque<Waiter<C>>>,
}

impl<C> Gate<C> {
    /// A gate for `max` connections and `queue_max` waiters.
    pub fn new(max: usize, queue_max: usize) -> Self {
        Self {
            max,
            queue_max,
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            waiters: Mutex::default(),
        }
    }

    /// Takes a permit if there is one.
    pub fn try_permit(self: &Arc<Self>) -> Option<Permit<C>> {
        self.open.fetch_update(SeqCst, SeqCst, |open| (open < self.max).then_some(open + 1)).ok()?;
        Some(Permit { gate: Arc::clone(self) })
    }

    /// Stands in the queue for a connection of `kind`; `None` when the queue is full.
    pub fn wait(self: &Arc<Self>, kind: u64) -> Option<oneshot::Receiver<Grant<C>>> {
        let (grant, granted) = oneshot::channel();
        {
            let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            waiters.retain(|waiter| !waiter.grant.is_closed());
            if waiters.len() >= self.queue_max {
                return None;
            }
            waiters.push_back(Waiter { kind, grant });
            self.waiting.store(waiters.len(), SeqCst);
        }
        self.wake(); // a permit may have come back in between
        Some(granted)
    }

    /// Whether anyone waits.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    /// Offers a connection of `kind` to the waiters. It comes back when nobody wants it; when only others than of its
    /// kind wait, it comes back too and should be closed, so that its permit goes to the first of them.
    pub fn offer(&self, kind: u64, mut connection: C) -> Result<(), (C, Offer)> {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            waiters.retain(|waiter| !waiter.grant.is_closed());
            // Strictly in order: a waiter of another kind at the head gets the permit, or it would starve.
            let first = waiters.front().map(|waiter| waiter.kind);
            self.waiting.store(waiters.len(), SeqCst);
            match first {
                None => return Err((connection, Offer::Unwanted)),
                Some(other) if other != kind => return Err((connection, Offer::Close)),
                Some(_) => {}
            }
            let Some(waiter) = waiters.pop_front() else { return Err((connection, Offer::Unwanted)) };
            self.waiting.store(waiters.len(), SeqCst);
            match waiter.grant.send(Grant::Connection(connection)) {
                Ok(()) => return Ok(()),
                Err(Grant::Connection(back)) => connection = back,
                Err(Grant::Permit(_)) => return Ok(()),
            }
        }
    }

    /// Connections that are open or being opened.
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Sessions that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Gives free permits to the waiters, first come first served.
    fn wake(self: &Arc<Self>) {
        while self.waiting.load(SeqCst) > 0 {
            let Some(permit) = self.try_permit() else { return };
            let waiter = {
                let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
                let waiter = waiters.pop_front();
                self.waiting.store(waiters.len(), SeqCst);
                waiter
            };
            match waiter {
                // A waiter that has gone drops the permit, which wakes the next one.
                Some(waiter) => drop(waiter.grant.send(Grant::Permit(permit))),
                None => return, // the permit goes back as it is dropped
            }
        }
    }
}

/// Why an offered connection came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offer {
    /// Nobody waits.
    Unwanted,
    /// Somebody waits for another kind: close it.
    Close,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_bounded_and_come_back() {
        let gate = Arc::new(Gate::<()>::new(2, 1));
        let (a, b) = (gate.try_permit().unwrap(), gate.try_permit().unwrap());
        assert!(gate.try_permit().is_none());
        drop(a);
        assert!(gate.try_permit().is_some(), "dropped at once");
        drop(b);
        assert_eq!(gate.open(), 0);
    }

    #[test]
    fn a_permit_given_back_goes_to_the_first_waiter() {
        let gate = Arc::new(Gate::<()>::new(1, 2));
        let held = gate.try_permit().unwrap();
        let mut first = gate.wait(1).unwrap();
        let mut second = gate.wait(2).unwrap();
        assert!(gate.wait(3).is_none(), "the queue is full");
        drop(held);
        let granted = first.try_recv().unwrap();
        assert!(matches!(granted, Grant::Permit(_)) && second.try_recv().is_err());
        drop(granted);
        assert!(second.try_recv().is_ok());
    }

    #[test]
    fn a_waiter_that_has_gone_is_passed_over() {
        let gate = Arc::new(Gate::<()>::new(1, 2));
        let held = gate.try_permit().unwrap();
        drop(gate.wait(1).unwrap());
        let mut second = gate.wait(1).unwrap();
        drop(held);
        assert!(second.try_recv().is_ok());
        assert_eq!(gate.waiting(), 0);
    }

    #[test]
    fn a_connection_goes_to_a_waiter_of_its_kind_and_is_closed_for_another() {
        let gate = Arc::new(Gate::<u8>::new(1, 2));
        assert_eq!(gate.offer(1, 7), Err((7, Offer::Unwanted)));
        let _held = gate.try_permit().unwrap();
        let mut waiter = gate.wait(1).unwrap();
        assert_eq!(gate.offer(2, 7), Err((7, Offer::Close)));
        assert_eq!(gate.offer(1, 8), Ok(()));
        assert!(matches!(waiter.try_recv(), Ok(Grant::Connection(8))));
    }
}
