//! Counters and gauges with one label whose values are known at the start.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// One counter per name, counted by index.
#[derive(Debug)]
pub struct CounterSet {
    names: &'static [&'static str],
    values: Box<[AtomicU64]>,
}

impl CounterSet {
    /// All at 0.
    pub fn new(names: &'static [&'static str]) -> Self {
        Self { names, values: names.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    /// Adds one.
    pub fn count(&self, index: usize) {
        if let Some(value) = self.values.get(index) {
            value.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The value at this index; 0 where there is none.
    pub fn get(&self, index: usize) -> u64 {
        self.values.get(index).map_or(0, |value| value.load(Ordering::Relaxed))
    }

    /// Names with values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.names.iter().zip(&self.values).map(|(name, value)| (*name, value.load(Ordering::Relaxed)))
    }
}

/// One gauge per name, moved by index.
#[derive(Debug)]
pub struct GaugeSet {
    names: &'static [&'static str],
    values: Box<[AtomicI64]>,
}

impl GaugeSet {
    /// All at 0.
    pub fn new(names: &'static [&'static str]) -> Self {
        Self { names, values: names.iter().map(|_| AtomicI64::new(0)).collect() }
    }

    /// One more.
    pub fn enter(&self, index: usize) {
        self.add(index, 1);
    }

    /// One less.
    pub fn leave(&self, index: usize) {
        self.add(index, -1);
    }

    /// The value at this index; 0 where there is none.
    pub fn get(&self, index: usize) -> i64 {
        self.values.get(index).map_or(0, |value| value.load(Ordering::Relaxed))
    }

    fn add(&self, index: usize, change: i64) {
        if let Some(value) = self.values.get(index) {
            value.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Names with values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, i64)> + '_ {
        self.names.iter().zip(&self.values).map(|(name, value)| (*name, value.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_by_index() {
        let counters = CounterSet::new(&["a", "b"]);
        counters.count(1);
        counters.count(1);
        counters.count(2);
        assert_eq!(counters.iter().collect::<Vec<_>>(), [("a", 0), ("b", 2)]);
        assert_eq!(counters.get(2), 0);
    }

    #[test]
    fn gauges_go_both_ways() {
        let gauges = GaugeSet::new(&["a"]);
        gauges.enter(0);
        gauges.enter(0);
        gauges.leave(0);
        gauges.leave(7);
        assert_eq!(gauges.iter().collect::<Vec<_>>(), [("a", 1)]);
    }
}
