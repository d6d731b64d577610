//! Numbers of a sequence, of which whole segments are fetched ahead.
//!
//! Owns: what of a sequence is at hand, when more is to be fetched, and how much. Does not know: where it is fetched
//! (`topology::grants`). Invariant: a number is given out once, and those of a sequence only grow: what is fetched is above all that was had.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Lacking;

/// How many numbers are fetched at once at least,
const LEAST: u64 = 1000;
/// and at most, where no statement needs more.
const MOST: u64 = 1 << 20;
/// A number that a row gives is passed over only below this: what is larger would leave no room behind it.
pub const GIVEN: u64 = 1 << 62;
/// A segment that lasts no longer is followed by one that is twice as large,
const TOO_SHORT: Duration = Duration::from_secs(10);
/// and one that lasts as long by one of half its size.
const TOO_LONG: Duration = Duration::from_secs(120);

/// Whose numbers they are.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sequence {
    /// The database as clients know it.
    pub database: String,
    /// The table in it, as the rules name it.
    pub table: String,
}

/// What is to be fetched.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetch {
    /// Of this sequence
    pub sequence: Sequence,
    /// so many; 0 where it is only to be made sure that the sequence is there.
    pub count: u64,
    /// All of them are this or more.
    pub from: u64,
}

/// All sequences.
#[derive(Debug, Default)]
pub struct Segments {
    counters: RwLock<HashMap<Sequence, Arc<Counter>>>,
    due: Notify,
}

/// One sequence.
#[derive(Debug, Default)]
struct Counter {
    state: Mutex<State>,
    /// How many wait for numbers, one of them at the head of
    waiting: AtomicUsize,
    /// the line.
    line: tokio::sync::Mutex<()>,
    granted: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What is at hand,
    current: Range<u64>,
    /// and what comes behind it.
    ahead: Range<u64>,
    /// How many are fetched at once.
    length: u64,
    /// When that many were asked for.
    asked: Option<Instant>,
    /// So many are to be fetched,
    wanted: u64,
    /// from this one on.
    floor: u64,
    /// The sequence is known to be where it is fetched.
    is_there: bool,
}

impl Segments {
    /// From now on these are needed, and no others.
    pub fn want(&self, sequences: BTreeSet<Sequence>) {
        let mut counters = self.counters.write().unwrap_or_else(PoisonError::into_inner);
        counters.retain(|sequence, _| sequences.contains(sequence));
        for sequence in sequences {
            counters.entry(sequence).or_default();
        }
        drop(counters);
        self.due.notify_one();
    }

    /// So many numbers without a gap, the first of them; waits until `patience` is over where they have to be fetched.
    ///
    /// # Errors
    /// None could be fetched, or the rules do not have the sequence any more.
    pub async fn take(&self, sequence: &Sequence, count: usize, patience: Duration) -> Result<u64, Lacking> {
        let count = count as u64;
        self.in_line(sequence, patience, |state| state.take(count, Instant::now())).await
    }

    /// A row gives this number itself: what is given out from now on is above it, as of AUTO_INCREMENT.
    ///
    /// # Errors
    /// As above.
    pub async fn pass(&self, sequence: &Sequence, given: u64, patience: Duration) -> Result<(), Lacking> {
        if given >= GIVEN {
            return Ok(());
        }
        self.in_line(sequence, patience, |state| state.pass(given, Instant::now())).await
    }

    /// So many numbers as [`Self::take`] gives, or none, beside rows of the same statement that give theirs: none of those is among them. What
    /// they give within reach is passed, as AUTO_INCREMENT passes it; what is further away is to be left behind when they are in.
    ///
    /// # Errors
    /// As above.
    pub async fn take_beside<Given: Iterator<Item = u64>>(
        &self,
        sequence: &Sequence,
        count: usize,
        given: impl Fn() -> Given,
        patience: Duration,
    ) -> Result<u64, Lacking> {
        loop {
            let reach = self.counter(sequence).ok_or(Lacking::default())?.lock().reach();
            if reach <= LEAST && given().next().is_some() {
                self.pass(sequence, 0, patience).await?; // nothing was fetched yet: what is near is not known
                continue;
            }
            if let Some(near) = given().filter(|number| *number < reach).max() {
                self.pass(sequence, near, patience).await?;
            }
            if count == 0 {
                return Ok(0);
            }
            let first = self.take(sequence, count, patience).await?;
            let taken = first..first.saturating_add(count as u64);
            if !given().any(|number| taken.contains(&number)) {
                return Ok(first);
            }
        }
    }

    /// Whether all below this number, and itself, is passed at once, as it is of the next segment at the latest.
    pub fn is_near(&self, sequence: &Sequence, number: u64) -> bool {
        self.counter(sequence).is_some_and(|counter| number < counter.lock().reach())
    }

    /// A row with this number is in: as [`Self::pass`], and nobody waits for it.
    pub fn leave(&self, sequence: &Sequence, given: u64) {
        let Some(counter) = self.counter(sequence).filter(|_| given < GIVEN) else { return };
        let asks = counter.lock().leave(given, Instant::now());
        if asks {
            self.due.notify_one();
        }
    }

    /// Waits, behind those who wait already, until the step is done.
    async fn in_line<Done>(
        &self,
        sequence: &Sequence,
        patience: Duration,
        step: impl Fn(&mut State) -> (Option<Done>, bool),
    ) -> Result<Done, Lacking> {
        let counter = self.counter(sequence).ok_or(Lacking::default())?;
        let step = || {
            let (done, asks) = step(&mut counter.lock());
            if asks {
                self.due.notify_one();
            }
            done
        };
        // Nobody is overtaken.
        if counter.waiting.load(Ordering::Acquire) == 0
            && let Some(done) = step()
        {
            return Ok(done);
        }
        let _waiting = Waiting::of(&counter.waiting);
        let turn = async {
            let _line = counter.line.lock().await;
            loop {
                if let Some(done) = step() {
                    return done;
                }
                counter.granted.notified().await; // one that came before counts
            }
        };
        tokio::time::timeout(patience, turn).await.map_err(|_| Lacking::default())
    }

    /// What must be fetched; waits until there is something.
    pub async fn due(&self) -> Vec<Fetch> {
        loop {
            let due = self.all_due();
            if !due.is_empty() {
                return due;
            }
            self.due.notified().await;
        }
    }

    /// The sequence is there.
    pub fn is_there(&self, sequence: &Sequence) {
        if let Some(counter) = self.counter(sequence) {
            counter.lock().is_there = true;
        }
    }

    /// These numbers are nobody else's.
    pub fn grant(&self, sequence: &Sequence, numbers: Range<u64>) {
        if let Some(counter) = self.counter(sequence) {
            counter.lock().grant(numbers);
            counter.granted.notify_one();
        }
    }

    fn counter(&self, sequence: &Sequence) -> Option<Arc<Counter>> {
        self.counters.read().unwrap_or_else(PoisonError::into_inner).get(sequence).cloned()
    }

    fn all_due(&self) -> Vec<Fetch> {
        let counters = self.counters.read().unwrap_or_else(PoisonError::into_inner);
        let due = counters.iter().filter_map(|(sequence, counter)| {
            let state = counter.lock();
            let is_due = state.wanted > 0 || !state.is_there;
            is_due.then(|| Fetch {
                sequence: sequence.clone(),
                count: state.wanted,
                from: state.had().max(state.floor),
            })
        });
        due.collect()
    }
}

impl Counter {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// So many, if they are at hand, and whether more must be fetched from now on.
    fn take(&mut self, count: u64, now: Instant) -> (Option<u64>, bool) {
        if left(&self.current) < count && left(&self.ahead) >= count {
            self.current = std::mem::take(&mut self.ahead);
        }
        let first = (left(&self.current) >= count).then_some(self.current.start);
        if let Some(first) = first {
            self.current.start = first.saturating_add(count);
        }
        let short = if first.is_none() { count } else { 0 };
        (first, (self.is_low() || short > 0) && self.ask(short, now))
    }

    /// All that is given out later is above this number; whether that is so now, and whether more must be fetched from now on.
    fn pass(&mut self, given: u64, now: Instant) -> (Option<()>, bool) {
        if given >= self.current.end && left(&self.ahead) > 0 {
            self.current = std::mem::take(&mut self.ahead);
        }
        if given >= self.current.end {
            self.floor = self.floor.max(given.saturating_add(1));
            return (None, self.ask(1, now));
        }
        self.current.start = self.current.start.max(given.saturating_add(1));
        (Some(()), self.is_low() && self.ask(0, now))
    }

    /// The same, where what is at hand is given up if all of it is below; whether more must be fetched from now on.
    fn leave(&mut self, given: u64, now: Instant) -> bool {
        let had = self.had();
        if given < had {
            return self.pass(given, now).1;
        }
        (self.current, self.ahead) = (had..had, had..had);
        self.floor = self.floor.max(given.saturating_add(1));
        self.ask(1, now)
    }

    /// Where the next segment ends, or later.
    fn reach(&self) -> u64 {
        self.had().saturating_add(self.length.max(LEAST))
    }

    /// Half of what was fetched last is used.
    fn is_low(&self) -> bool {
        left(&self.current) + left(&self.ahead) <= self.length / 2
    }

    /// Where all ends that was ever fetched.
    fn had(&self) -> u64 {
        self.current.end.max(self.ahead.end)
    }

    /// Has a segment fetched; false where one is on its way that is large enough.
    fn ask(&mut self, short: u64, now: Instant) -> bool {
        if self.wanted == 0 {
            let lasted = self.asked.replace(now).map(|asked| now.saturating_duration_since(asked));
            self.length = match lasted {
                Some(lasted) if lasted < TOO_SHORT => self.length.saturating_mul(2),
                Some(lasted) if lasted > TOO_LONG => self.length / 2,
                _ => self.length,
            }
            .clamp(LEAST, MOST);
        }
        let wanted = self.wanted.max(self.length).max(short);
        std::mem::replace(&mut self.wanted, wanted) < wanted
    }

    fn grant(&mut self, numbers: Range<u64>) {
        self.is_there = true;
        if numbers.end <= self.floor {
            return; // it was on its way when a row gave a larger number
        }
        let numbers = numbers.start.max(self.had()).max(self.floor)..numbers.end;
        self.wanted = 0;
        if numbers.is_empty() {
            return;
        }
        if left(&self.ahead) > 0 && self.ahead.end == numbers.start {
            self.ahead.end = numbers.end;
        } else if left(&self.ahead) == 0 && self.current.end == numbers.start {
            self.current.end = numbers.end;
        } else if left(&self.current) == 0 && left(&self.ahead) == 0 {
            self.current = numbers;
        } else {
            if left(&self.ahead) > 0 {
                self.current = std::mem::take(&mut self.ahead); // somebody needs more than both of them have
            }
            self.ahead = numbers;
        }
    }
}

fn left(numbers: &Range<u64>) -> u64 {
    numbers.end.saturating_sub(numbers.start)
}

/// One who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn of(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::AcqRel);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
