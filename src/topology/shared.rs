//! What all tasks and sessions share of the cluster: the book, the snapshot made of it, each server's position.
//!
//! Owns: the one place where a snapshot is made. Does not know: probes, names. Invariant: a new snapshot is published only when something
//! has changed, and what sessions touch of a server is there before they can see it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::ids::ServerId;

use super::book::Book;
use super::gtid::Transactions;
use super::journal;
use super::pace::Pace;
use super::promotion::Tally;
use super::resolve::Resolve;
use super::snapshot::Snapshot;

/// The common ground.
pub(super) struct Shared {
    pub book: Mutex<Book>,
    pub snapshot: ArcSwap<Snapshot>,
    pub generation: watch::Sender<u64>,
    pub all_probed: watch::Sender<bool>,
    /// By id; those that are gone are empty.
    pub watched: ArcSwap<Vec<Option<Arc<Watched>>>>,
    /// A name leads elsewhere: somebody new must be watched.
    pub moved: Notify,
    pub resolver: Arc<dyn Resolve>,
    /// What was done to the servers' roles.
    pub tally: Tally,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("book", &self.book).finish_non_exhaustive()
    }
}

/// What a server had executed at one moment.
#[derive(Debug)]
pub struct Position {
    /// Not later than the moment; `None` before the first good probe.
    pub at: Option<std::time::Instant>,
    /// The transactions; `None` where they are not known, or carry no GTIDs.
    pub executed: Option<Arc<Transactions>>,
    /// The last moment at which the primary is known to have had no more than these.
    pub covers: Option<std::time::Instant>,
}

/// What sessions touch of a server without the book's lock.
#[derive(Debug)]
pub(super) struct Watched {
    pub probe_now: Notify,
    /// What it had executed at the last good probe.
    pub position: ArcSwap<Position>,
    /// A failed connect was reported since the last good probe: more of them change nothing.
    pub reported: AtomicBool,
    /// How fast it has answered statements.
    pub pace: Pace,
    /// Probes that succeeded, found it too busy to answer, and failed; each counts once it was taken in.
    pub probes: [AtomicU64; 3],
}

impl Watched {
    fn new() -> Self {
        let position = ArcSwap::from_pointee(Position { at: None, executed: None, covers: None });
        let pace = Pace::new(std::time::Instant::now());
        let probes = [(); 3].map(|()| AtomicU64::new(0));
        Self { probe_now: Notify::new(), position, reported: AtomicBool::new(false), pace, probes }
    }
}

impl Shared {
    /// Of a book that nothing was entered into yet.
    pub fn new(mut book: Book, resolver: Arc<dyn Resolve>) -> Self {
        let first = book.snapshot(0, Instant::now().into_std());
        let shared = Self {
            snapshot: ArcSwap::from_pointee(first),
            generation: watch::Sender::new(0),
            all_probed: watch::Sender::new(false),
            watched: ArcSwap::default(),
            moved: Notify::new(),
            resolver,
            tally: Tally::default(),
            book: Mutex::new(book),
        };
        shared.seat(&shared.lock());
        shared
    }

    /// The book.
    pub fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What sessions touch of a server.
    pub fn watched(&self, id: ServerId) -> Option<Arc<Watched>> {
        self.watched.load().get(usize::from(id.0))?.clone()
    }

    /// Enters something, and publishes what follows from it.
    pub fn update(&self, change: impl FnOnce(&mut Book)) {
        let mut book = self.lock();
        change(&mut book);
        self.seat(&book);
        let old = self.snapshot.load_full();
        let mut new = book.snapshot(old.generation, Instant::now().into_std());
        if new != *old {
            new.generation += 1;
            journal::log_changes(&old, &new);
            let generation = new.generation;
            self.snapshot.store(Arc::new(new));
            self.generation.send_replace(generation);
        }
        if book.all_probed() {
            self.all_probed.send_if_modified(|known| !std::mem::replace(known, true));
        }
    }

    /// The cluster as it is known now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Generations as they are published.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    /// Something has been changed at a server: it is probed again at once.
    pub fn probe_now(&self, id: ServerId) {
        if let Some(watched) = self.watched(id) {
            watched.probe_now.notify_one();
        }
    }

    /// The same of all servers.
    pub fn probe_all_now(&self) {
        self.watched.load().iter().flatten().for_each(|watched| watched.probe_now.notify_one());
    }

    /// Gives each server of the book what sessions touch of it, before they can see it.
    fn seat(&self, book: &Book) {
        let watched = self.watched.load();
        let is_there = |id: ServerId| watched.get(usize::from(id.0)).is_some_and(Option::is_some);
        let seated = watched.iter().filter(|watched| watched.is_some()).count();
        if book.seats().count() == seated && book.seats().all(|(id, ..)| is_there(id)) {
            return;
        }
        let mut next = Vec::new();
        for (id, ..) in book.seats() {
            let place = usize::from(id.0);
            if next.len() <= place {
                next.resize(place + 1, None);
            }
            let known = watched.get(place).cloned().flatten();
            next[place] = Some(known.unwrap_or_else(|| Arc::new(Watched::new())));
        }
        self.watched.store(Arc::new(next));
    }
}
