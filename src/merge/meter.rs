//! How much a merge keeps, against what it may, and what all merges together may.
//!
//! Owns: the counts. Does not know: what is kept. Invariant: what a purse has taken of the common budget goes back when it is dropped.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::error::Error;

/// A purse takes so much of the common budget at a time, so that rows cost no atomic operation each.
const GRAIN: usize = 64 << 10;

/// What all merges of the process may keep together, in bytes.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    /// So much, of which nothing is used.
    pub fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    /// How much is used.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let next = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.max);
        self.used.fetch_update(Relaxed, Relaxed, next).is_ok()
    }
}

/// What one statement may keep: rows on their way, groups, distinct values, rows to be sorted.
#[derive(Debug)]
pub struct Purse {
    used: Cell<usize>,
    max: usize,
    /// Taken of the common budget.
    reserved: Cell<usize>,
    budget: Arc<Budget>,
}

impl Purse {
    /// So many bytes, out of that budget.
    pub fn new(max: usize, budget: Arc<Budget>) -> Rc<Self> {
        Rc::new(Self { used: Cell::new(0), max, reserved: Cell::new(0), budget })
    }

    /// Before so much more is kept.
    ///
    /// # Errors
    /// It is more than the statement may keep, or than is left for all.
    pub fn take(&self, bytes: usize) -> Result<(), Error> {
        let used = self.used.get().checked_add(bytes).filter(|used| *used <= self.max);
        let used = used.ok_or(Error::Memory(self.max))?;
        if let Some(lacks) = used.checked_sub(self.reserved.get()).filter(|lacks| *lacks > 0) {
            let grains = lacks.checked_next_multiple_of(GRAIN).unwrap_or(lacks);
            let taken = [grains, lacks].into_iter().find(|bytes| self.budget.take(*bytes));
            let taken = taken.ok_or(Error::CommonMemory(self.budget.max))?;
            self.reserved.set(self.reserved.get() + taken);
        }
        self.used.set(used);
        Ok(())
    }

    /// After so much has been let go.
    pub fn give(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_sub(bytes));
    }

    /// Something that had room for `before` bytes has room for `now`.
    ///
    /// # Errors
    /// See [`Purse::take`].
    pub fn grown(&self, before: usize, now: usize) -> Result<(), Error> {
        match now.checked_sub(before) {
            Some(0) => Ok(()),
            Some(more) => self.take(more),
            None => {
                self.give(before - now);
                Ok(())
            }
        }
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.reserved.get(), Relaxed);
    }
}

/// Counts bytes that a merge keeps.
#[derive(Clone, Debug)]
pub(super) struct Meter(Rc<Purse>);

impl Meter {
    pub fn new(purse: Rc<Purse>) -> Self {
        Self(purse)
    }

    /// Before so much more is kept.
    pub fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.0.take(bytes)
    }

    /// After so much has been let go.
    pub fn give(&mut self, bytes: usize) {
        self.0.give(bytes);
    }

    /// Puts `row` into `held`, whose memory is used again.
    pub fn fill(&mut self, held: &mut Vec<u8>, row: &[u8]) -> Result<(), Error> {
        let before = held.capacity();
        held.clear();
        if row.len() > before {
            self.0.take(row.len() - before)?;
            held.reserve_exact(row.len());
            self.0.grown(row.len(), held.capacity())?;
        }
        held.extend_from_slice(row);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_share_a_budget_and_give_it_back() {
        let budget = Arc::new(Budget::new(3 * GRAIN));
        let (one, two) = (Purse::new(2 * GRAIN, budget.clone()), Purse::new(2 * GRAIN, budget.clone()));
        one.take(GRAIN + 1).unwrap();
        assert_eq!(budget.used(), 2 * GRAIN, "in grains");
        assert_eq!(one.take(GRAIN), Err(Error::Memory(2 * GRAIN)), "its own bound");
        one.take(GRAIN - 1).unwrap();
        two.take(GRAIN).unwrap();
        assert_eq!(two.take(1), Err(Error::CommonMemory(3 * GRAIN)));
        two.give(GRAIN);
        two.take(GRAIN).unwrap();
        drop(one);
        two.take(GRAIN).unwrap();
        drop(two);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_left_is_taken_to_the_last_byte() {
        let budget = Arc::new(Budget::new(GRAIN / 2));
        let purse = Purse::new(usize::MAX, Arc::clone(&budget));
        purse.take(GRAIN / 2).unwrap();
        assert_eq!(purse.take(1), Err(Error::CommonMemory(GRAIN / 2)));
        assert_eq!(purse.take(usize::MAX), Err(Error::Memory(usize::MAX)), "no overflow");
    }

    #[test]
    fn a_row_in_anothers_place_costs_what_it_is_longer() {
        let budget = Arc::new(Budget::new(1 << 20));
        let purse = Purse::new(1000, budget);
        let (mut meter, mut held) = (Meter::new(Rc::clone(&purse)), Vec::new());
        meter.fill(&mut held, &[1; 600]).unwrap();
        meter.fill(&mut held, &[2; 500]).unwrap();
        meter.fill(&mut held, &[3; 900]).unwrap();
        assert_eq!((purse.used.get(), &held[..]), (held.capacity(), &[3; 900][..]));
        assert_eq!(meter.fill(&mut Vec::new(), &[4; 200]), Err(Error::Memory(1000)));
    }
}
