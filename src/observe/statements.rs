//! Statements by route and reason: a flat array, resolved once, counted by two indexes.

use std::sync::atomic::{AtomicU64, Ordering};

/// One counter per pair of route and reason.
#[derive(Debug)]
pub struct StatementCounters {
    routes: &'static [&'static str],
    reasons: &'static [&'static str],
    values: Box<[AtomicU64]>,
}

impl StatementCounters {
    /// All at 0.
    pub fn new(route_names: &'static [&'static str], reason_names: &'static [&'static str]) -> Self {
        let pairs = route_names.len() * reason_names.len();
        Self {
            routes: route_names,
            reasons: reason_names,
            values: (0..pairs).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Adds one statement.
    pub fn count(&self, route_index: usize, reason_index: usize) {
        if let Some(value) = self.value(route_index, reason_index) {
            value.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Statements so far.
    pub fn get(&self, route_index: usize, reason_index: usize) -> u64 {
        self.value(route_index, reason_index).map_or(0, |value| value.load(Ordering::Relaxed))
    }

    fn value(&self, route: usize, reason: usize) -> Option<&AtomicU64> {
        if reason >= self.reasons.len() {
            return None; // it would be the next route's
        }
        self.values.get(route.checked_mul(self.reasons.len())?.checked_add(reason)?)
    }

    /// Indexes and names of all pairs.
    pub(super) fn pairs(&self) -> impl Iterator<Item = ((usize, &'static str), (usize, &'static str))> + '_ {
        let reasons = || self.reasons.iter().copied().enumerate();
        self.routes
            .iter()
            .copied()
            .enumerate()
            .flat_map(move |route| reasons().map(move |reason| (route, reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_counts_for_itself() {
        let counters = StatementCounters::new(&["primary", "replica"], &["write", "read", "hint"]);
        counters.count(1, 0);
        counters.count(1, 0);
        counters.count(0, 2);
        assert_eq!((counters.get(1, 0), counters.get(0, 2), counters.get(0, 0)), (2, 1, 0));
        assert_eq!(counters.pairs().count(), 6);
    }

    #[test]
    fn an_index_out_of_range_is_nobody_elses() {
        let counters = StatementCounters::new(&["primary", "replica"], &["write", "read"]);
        for (route, reason) in [(0, 2), (2, 0), (usize::MAX, 1), (0, usize::MAX)] {
            counters.count(route, reason);
        }
        assert!(counters.pairs().all(|((route, _), (reason, _))| counters.get(route, reason) == 0));
    }
}
