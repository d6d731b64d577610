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
    /// So many are to be fetched.
    wanted: u64,
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
        let counter = self.counter(sequence).ok_or(Lacking::default())?;
        let count = count as u64;
        // Nobody is overtaken.
        if counter.waiting.load(Ordering::Acquire) == 0
            && let Some(first) = self.try_take(&counter, count)
        {
            return Ok(first);
        }
        let _waiting = Waiting::of(&counter.waiting);
        let turn = async {
            let _line = counter.line.lock().await;
            loop {
                if let Some(first) = self.try_take(&counter, count) {
                    return first;
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

    fn try_take(&self, counter: &Counter, count: u64) -> Option<u64> {
        let mut state = counter.lock();
        let (first, asks) = state.take(count, Instant::now());
        drop(state);
        if asks {
            self.due.notify_one();
        }
        first
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
                from: state.current.end.max(state.ahead.end),
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
        let is_low = left(&self.current) + left(&self.ahead) <= self.length / 2;
        (first, (is_low || short > 0) && self.ask(short, now))
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
        let had = self.current.end.max(self.ahead.end);
        let numbers = numbers.start.max(had)..numbers.end;
        (self.is_there, self.wanted) = (true, 0);
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
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn sequence() -> Sequence {
        Sequence { database: "shop".into(), table: "orders".into() }
    }

    fn wanting() -> Segments {
        let segments = Segments::default();
        segments.want(BTreeSet::from([sequence()]));
        segments
    }

    /// What is written down elsewhere: the first number that nobody has.
    async fn fetch(segments: &Segments, free: &mut u64) -> Fetch {
        let due = segments.due().await.pop().unwrap();
        if due.count == 0 {
            segments.is_there(&due.sequence);
        } else {
            let start = due.from.max(*free);
            *free = start + due.count;
            segments.grant(&due.sequence, start..*free);
        }
        due
    }

    #[tokio::test]
    async fn numbers_only_grow_and_are_fetched_ahead() {
        let segments = wanting();
        let mut free = 1;
        assert_eq!(fetch(&segments, &mut free).await.count, 0);
        let (sequence, mut had) = (sequence(), Vec::new());
        let ten = async {
            for _ in 0..500 {
                had.push(segments.take(&sequence, 1, PATIENCE).await.unwrap());
            }
        };
        tokio::join!(ten, fetch(&segments, &mut free));
        assert_eq!(had, (1..=500).collect::<Vec<_>>());
        // Half of it is used: the next one is fetched while the rest is given out.
        let next = fetch(&segments, &mut free).await;
        assert_eq!((next.count, next.from), (2000, 1001));
        for number in 501..=1500 {
            assert_eq!(segments.take(&sequence, 1, PATIENCE).await, Ok(number));
        }
    }

    #[tokio::test]
    async fn what_others_have_is_left_out() {
        let segments = wanting();
        let (mut free, sequence) = (1, sequence());
        tokio::join!(
            async { segments.take(&sequence, 1, PATIENCE).await.unwrap() },
            fetch(&segments, &mut free)
        );
        free = 7001;
        let rows = async { segments.take(&sequence, 2500, PATIENCE).await.unwrap() };
        let (first, fetched) = tokio::join!(rows, fetch(&segments, &mut free));
        assert_eq!((first, fetched.count), (7001, 2500), "the rows of one statement have no gap");
        // What is older than that is never given out behind it.
        let (next, _) = tokio::join!(
            async { segments.take(&sequence, 1, PATIENCE).await.unwrap() },
            fetch(&segments, &mut free)
        );
        assert_eq!(next, 9501);
    }

    #[tokio::test]
    async fn a_counter_that_was_set_back_repeats_nothing() {
        let segments = wanting();
        let (mut free, sequence) = (1, sequence());
        tokio::join!(
            async { segments.take(&sequence, 900, PATIENCE).await.unwrap() },
            fetch(&segments, &mut free)
        );
        let counter = segments.counter(&sequence).unwrap();
        counter.lock().grant(1..3001);
        for number in 901..=3000 {
            assert_eq!(segments.take(&sequence, 1, PATIENCE).await, Ok(number));
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_or_is_overtaken() {
        let segments = wanting();
        let (mut free, sequence) = (1, sequence());
        let begin = Instant::now();
        let patience = Duration::from_millis(20);
        assert_eq!(segments.take(&sequence, 1, patience).await, Err(Lacking::default()));
        assert!(begin.elapsed() >= patience);
        let gone = Sequence { table: "gone".into(), ..sequence.clone() };
        assert_eq!(segments.take(&gone, 1, PATIENCE).await, Err(Lacking::default()));
        let many = async { segments.take(&sequence, 5000, PATIENCE).await.unwrap() };
        let one = async {
            tokio::task::yield_now().await; // `many` stands in the line
            segments.take(&sequence, 1, PATIENCE).await.unwrap()
        };
        let fetches = async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            fetch(&segments, &mut free).await;
            fetch(&segments, &mut free).await
        };
        let (many, one, _) = tokio::join!(many, one, fetches);
        assert_eq!((many, one), (1, 5001));
    }

    #[test]
    fn segments_are_as_large_as_they_are_used_up_fast() {
        let (mut state, mut now) = (State::default(), Instant::now());
        let mut lengths = Vec::new();
        for pause in [0, 1, 1, 60, 200, 200, 200, 200] {
            now += Duration::from_secs(pause);
            assert!(state.ask(0, now));
            lengths.push(std::mem::take(&mut state.wanted));
        }
        assert_eq!(lengths, [1000, 2000, 4000, 4000, 2000, 1000, 1000, 1000]);
        for _ in 0..20 {
            state.ask(0, now);
            state.wanted = 0;
        }
        assert_eq!(state.length, MOST);
    }
}
