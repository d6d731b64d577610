//! Reads on the primary that were meant for a replica: how many at a time, and the line in front of them; all cores together.
//!
//! Owns: the count and who waits. Does not know: why no replica serves a read, how many may run (both come in). Invariant: a place that is given back
//! is told to who waits longest, and nobody who comes later takes it first.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::observe::PoolMetrics;

/// The count.
#[derive(Debug, Default)]
pub struct Spill {
    running: AtomicUsize,
    waiting: AtomicUsize,
    freed: Arc<Notify>,
}

/// A place on the primary; given back when dropped.
#[derive(Debug)]
pub struct Spilled(Arc<Spill>);

/// A place in the line, counted as a wait for a connection to the primary.
#[derive(Debug)]
pub struct Line {
    spill: Arc<Spill>,
    metrics: Option<Arc<PoolMetrics>>,
    since: Instant,
    freed: Pin<Box<OwnedNotified>>,
}

impl Spill {
    /// One of `max` places. Who has not stood in `line` gets none while others do.
    pub fn enter(self: &Arc<Self>, max: usize, line: Option<&Line>) -> Option<Spilled> {
        if line.is_none() && self.waiting.load(SeqCst) > 0 {
            return None;
        }
        let next = |running: usize| (running < max).then_some(running + 1);
        self.running.fetch_update(SeqCst, SeqCst, next).ok()?;
        Some(Spilled(Arc::clone(self)))
    }

    /// Stands in line; `None` where `max` do already. `metrics` are the primary's, if there is one.
    pub fn stand(self: &Arc<Self>, max: usize, metrics: Option<Arc<PoolMetrics>>) -> Option<Line> {
        let next = |waiting: usize| (waiting < max).then_some(waiting + 1);
        self.waiting.fetch_update(SeqCst, SeqCst, next).ok()?;
        let freed = Box::pin(Arc::clone(&self.freed).notified_owned());
        metrics.iter().for_each(|metrics| metrics.wait_begins());
        Some(Line { spill: Arc::clone(self), metrics, since: Instant::now(), freed })
    }
}

impl Line {
    /// From now on a place that comes free is told to [`Line::freed`].
    pub fn listen(&mut self) {
        self.freed.set(Arc::clone(&self.spill.freed).notified_owned());
        self.freed.as_mut().enable();
    }

    /// Waits until a place may have come free. Cancel safe.
    pub async fn freed(&mut self) {
        self.freed.as_mut().await;
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
        self.0.freed.notify_one();
    }
}

impl Drop for Line {
    /// It may have been told of a place that it does not take.
    fn drop(&mut self) {
        self.metrics.iter().for_each(|metrics| metrics.wait_ends(self.since.elapsed()));
        self.spill.waiting.fetch_sub(1, SeqCst);
        self.spill.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_may() {
        let spill = Arc::<Spill>::default();
        let (one, two) = (spill.enter(2, None).unwrap(), spill.enter(2, None));
        assert!(two.is_some() && spill.enter(2, None).is_none() && spill.enter(0, None).is_none());
        drop(one);
        assert!(spill.enter(2, None).is_some());
    }

    #[tokio::test]
    async fn who_waits_is_told_and_overtaken_by_nobody() {
        let spill = Arc::<Spill>::default();
        let held = spill.enter(1, None).unwrap();
        let (mut first, mut second) = (spill.stand(2, None).unwrap(), spill.stand(2, None).unwrap());
        assert!(spill.stand(2, None).is_none(), "the line is full");
        first.listen();
        second.listen();
        drop(held);
        assert!(spill.enter(1, None).is_none(), "the place is for who waits");
        first.freed().await;
        let taken = spill.enter(1, Some(&first)).unwrap();
        drop(first);
        second.listen();
        assert!(spill.enter(1, Some(&second)).is_none());
        drop(taken);
        second.freed().await;
        assert!(spill.enter(1, Some(&second)).is_some());
    }

    #[tokio::test]
    async fn who_goes_without_its_place_leaves_it_to_the_next() {
        let spill = Arc::<Spill>::default();
        let held = spill.enter(1, None).unwrap();
        let (mut first, mut second) = (spill.stand(2, None).unwrap(), spill.stand(2, None).unwrap());
        first.listen();
        second.listen();
        drop(held);
        drop(first); // a replica took its read meanwhile
        second.freed().await;
        assert!(spill.enter(1, Some(&second)).is_some());
        drop(second);
        assert!(spill.enter(1, None).is_some(), "and nobody is left in line");
    }
}
