//! The common limit of connections to one server, for all threads together, and the queue in front of it.
//!
//! Owns: permits and waiters. Does not know: sockets, sessions.
//! Invariant: at most `max` permits exist at a time; a permit that is given back goes to the first waiter, and a waiter
//! is overtaken at most `max` times.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::ids::BackendId;

/// How many of those who wait are looked at, under the lock, for one of a connection's kind.
const LOOK_AT: usize = 256;

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
    /// The server's thread of the connection that is held by it.
    thread: Option<BackendId>,
}

impl<C> Permit<C> {
    /// The connection that is held by it has this thread of the server.
    pub fn serves(&mut self, thread: BackendId) {
        let mut threads = self.gate.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = self.thread.replace(thread) {
            threads.remove(&before);
        }
        threads.insert(thread);
    }
}

impl<C> Drop for Permit<C> {
    fn drop(&mut self) {
        if let Some(thread) = self.thread {
            self.gate.threads.lock().unwrap_or_else(PoisonError::into_inner).remove(&thread);
        }
        self.gate.open.fetch_sub(1, SeqCst);
        self.gate.wake();
    }
}

#[derive(Debug)]
struct Waiter<C> {
    /// Tells kinds of connections apart, see [`Gate::wait`].
    kind: u64,
    grant: oneshot::Sender<Grant<C>>,
    /// `Queue::served` at which its turn is, first come first served.
    due: u64,
}

/// Who waits, in the order of coming.
#[derive(Debug)]
struct Queue<C> {
    waiters: VecDeque<Waiter<C>>,
    /// How many have been served so far, or have gone.
    served: u64,
}

impl<C> Queue<C> {
    /// Who gets a connection of `kind`: the first of that kind, so that connections are not closed and opened again for each
    /// turn of the kinds; unless the first of all, of another kind, has been overtaken `overtaken_max` times.
    fn place_of(&mut self, kind: u64, overtaken_max: u64) -> Result<usize, Offer> {
        while self.waiters.front().is_some_and(|waiter| waiter.grant.is_closed()) {
            self.take(0);
        }
        let first = self.waiters.front().ok_or(Offer::Unwanted)?;
        if first.kind != kind && self.served.saturating_sub(first.due) >= overtaken_max {
            return Err(Offer::Close);
        }
        let fits = |waiter: &Waiter<C>| waiter.kind == kind && !waiter.grant.is_closed();
        self.waiters.iter().take(LOOK_AT).position(fits).ok_or(Offer::Close)
    }

    fn take(&mut self, place: usize) -> Option<Waiter<C>> {
        let waiter = self.waiters.remove(place)?;
        self.served += 1;
        Some(waiter)
    }
}

/// The limit of one server.
#[derive(Debug)]
pub struct Gate<C> {
    max: AtomicUsize,
    queue_max: AtomicUsize,
    open: AtomicUsize,
    waiting: AtomicUsize,
    queue: Mutex<Queue<C>>,
    /// The server's threads that connections of this process have: a server that lists its threads does not tell.
    threads: Mutex<HashSet<BackendId>>,
}

impl<C> Gate<C> {
    /// A gate for `max` connections and `queue_max` waiters.
    pub fn new(max: usize, queue_max: usize) -> Self {
        Self {
            max: AtomicUsize::new(max),
            queue_max: AtomicUsize::new(queue_max),
            open: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(Queue { waiters: VecDeque::new(), served: 0 }),
            threads: Mutex::default(),
        }
    }

    /// The server's threads that connections of this process have.
    pub fn threads(&self) -> Vec<BackendId> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Whether a connection of this process has this thread of the server.
    pub fn has_thread(&self, thread: BackendId) -> bool {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).contains(&thread)
    }

    /// Takes a permit if there is one.
    pub fn try_permit(self: &Arc<Self>) -> Option<Permit<C>> {
        self.open
            .fetch_update(SeqCst, SeqCst, |open| (open < self.max.load(SeqCst)).then_some(open + 1))
            .ok()?;
        Some(Permit { gate: Arc::clone(self), thread: None })
    }

    /// Stands in the queue for a connection of `kind`; `None` when the queue is full.
    pub fn wait(self: &Arc<Self>, kind: u64) -> Option<oneshot::Receiver<Grant<C>>> {
        let (grant, granted) = oneshot::channel();
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.waiters.len() >= self.queue_max.load(SeqCst) {
                let before = queue.waiters.len();
                queue.waiters.retain(|waiter| !waiter.grant.is_closed());
                queue.served += (before - queue.waiters.len()) as u64;
            }
            if queue.waiters.len() >= self.queue_max.load(SeqCst) {
                return None;
            }
            let due = queue.served + queue.waiters.len() as u64;
            queue.waiters.push_back(Waiter { kind, grant, due });
            self.waiting.store(queue.waiters.len(), SeqCst);
        }
        self.wake(); // a permit may have come back in between
        Some(granted)
    }

    /// From now on there may be as many, and as many may wait. Connections above the limit go as they are given back.
    pub fn resize(self: &Arc<Self>, max: usize, queue_max: usize) {
        self.max.store(max, SeqCst);
        self.queue_max.store(queue_max, SeqCst);
        self.wake();
    }

    /// Sends away who waits.
    pub fn dismiss(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.served += queue.waiters.len() as u64;
        queue.waiters.clear();
        self.waiting.store(0, SeqCst);
    }

    /// Whether more are open than may be.
    pub fn is_crowded(&self) -> bool {
        self.open.load(Relaxed) > self.max.load(Relaxed)
    }

    /// Whether anyone waits.
    pub fn is_wanted(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    /// Offers a connection of `kind` to the waiters. It comes back when nobody wants it; when only others than of its
    /// kind wait, or one of them has waited too long, it comes back too and should be closed, so that its permit goes to the
    /// first.
    pub fn offer(&self, kind: u64, mut connection: C) -> Result<(), (C, Offer)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let place = queue.place_of(kind, self.max.load(Relaxed) as u64);
            let taken = place.map(|place| queue.take(place));
            self.waiting.store(queue.waiters.len(), SeqCst);
            let waiter = match taken {
                Ok(Some(waiter)) => waiter,
                Ok(None) => return Err((connection, Offer::Unwanted)),
                Err(why) => return Err((connection, why)),
            };
            match waiter.grant.send(Grant::Connection(connection)) {
                Ok(()) | Err(Grant::Permit(_)) => return Ok(()),
                Err(Grant::Connection(back)) => connection = back, // gone in this moment
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
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                let waiter = queue.take(0);
                self.waiting.store(queue.waiters.len(), SeqCst);
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
    /// It is the turn of somebody who waits for another kind: close it.
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

    #[test]
    fn a_connection_passes_those_of_other_kinds_only_so_often() {
        let gate = Arc::new(Gate::<u8>::new(2, 9));
        let _held = (gate.try_permit().unwrap(), gate.try_permit().unwrap());
        let mut other = gate.wait(2).unwrap();
        let mut own: Vec<_> = (0..3).map(|_| gate.wait(1).unwrap()).collect();
        let mut late = gate.wait(2).unwrap();
        assert_eq!(gate.offer(1, 7), Ok(()));
        assert_eq!(gate.offer(1, 8), Ok(()));
        assert!(matches!(own[0].try_recv(), Ok(Grant::Connection(7))), "in the order of coming");
        assert!(matches!(own[1].try_recv(), Ok(Grant::Connection(8))));
        assert_eq!(gate.offer(1, 9), Err((9, Offer::Close)), "the first has been overtaken twice");
        assert_eq!(gate.offer(2, 5), Ok(()));
        assert!(matches!(other.try_recv(), Ok(Grant::Connection(5))));
        // Who comes last has been overtaken by nobody: those who are served were there before.
        assert_eq!(gate.offer(1, 9), Ok(()));
        assert!(matches!(own[2].try_recv(), Ok(Grant::Connection(9))));
        assert_eq!(gate.offer(1, 9), Err((9, Offer::Close)));
        assert_eq!(gate.offer(2, 6), Ok(()));
        assert!(matches!(late.try_recv(), Ok(Grant::Connection(6))));
        assert_eq!(gate.offer(2, 6), Err((6, Offer::Unwanted)));
    }
}
