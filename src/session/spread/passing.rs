//! A number that a row gives itself, where Tidegate makes those of others (`generate: segment`): it is passed once the row is in.
//!
//! Owns: what waits for the statement's end, and by which ends it is passed. Does not know: how (`generate::segment`). Invariant: as of
//! AUTO_INCREMENT, a statement that has failed moves its sequence to nothing far away; one of which nobody knows whether it has failed does.

use crate::generate::Sequence;
use crate::session::observed::Tally;
use crate::session::{Problem, Session};

/// What is passed when the statement has ended.
#[derive(Debug)]
pub(in crate::session) struct Passing {
    /// Of this sequence
    pub sequence: Sequence,
    /// this number, the largest
    pub given: u64,
    /// among those of so many rows.
    pub rows: usize,
    /// They may have changed rows that were there, instead: ON DUPLICATE KEY UPDATE.
    pub updates: bool,
    /// The column that gets it.
    pub column: String,
}

impl Passing {
    /// Whether the row may be in, by what the server has told.
    fn may_be_in(&self, tally: &Tally) -> bool {
        match tally.affected() {
            Some(0) => false,
            Some(2) => !(self.updates && self.rows == 1), // one that was there was changed
            _ => true,
        }
    }
}

impl Session {
    /// The statement in hand has ended, well or badly.
    pub(in crate::session) fn pass_given(&mut self) {
        let Some(passing) = self.passing.take() else { return };
        if passing.may_be_in(&self.tally) {
            self.worker.generators.segments.leave(&passing.sequence, passing.given);
        }
    }

    /// Nothing is in, unless the problem is that nobody knows.
    pub(in crate::session) fn pass_nothing(&mut self, problem: &Problem) {
        if self.passing.is_some() && !problem.leaves_doubt() {
            self.passing = None;
        }
    }
}
