//! How much a merge keeps, against what it may.

use super::error::Error;

/// Counts bytes that are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Meter {
    used: usize,
    max: usize,
}

impl Meter {
    pub fn new(max: usize) -> Self {
        Self { used: 0, max }
    }

    /// Before so much more is kept.
    pub fn take(&mut self, bytes: usize) -> Result<(), Error> {
        let used = self.used.checked_add(bytes).filter(|used| *used <= self.max);
        self.used = used.ok_or(Error::Memory(self.max))?;
        Ok(())
    }

    /// After so much has been let go.
    pub fn give(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }
}
