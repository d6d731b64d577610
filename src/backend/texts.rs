//! Statements that a text PREPARE has made, as they can be made again.
//!
//! Owns: what makes one, and which are on a connection. Does not know: sessions, who may execute one.
//! Invariant: what a connection may have under a name is in its list; what is in the list may have gone since.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::state::State;
use crate::sql::Recognised;

/// A name, in lower case: names of ASCII letters differ by nothing else (tried on both dialects).
pub type Name = Box<[u8]>;

/// Texts by name.
pub type Texts = BTreeMap<Name, Arc<Text>>;

/// Names on a connection beyond which those of other sessions are taken from it.
pub const NAMES_MAX: usize = 16;

/// A prepared text.
#[derive(Debug)]
pub struct Text {
    /// The statement that prepares it.
    pub prepare: Box<[u8]>,
    /// What it prepares.
    pub sql: Box<[u8]>,
    /// What that is.
    pub statement: Recognised,
    /// The state in which it was prepared: that decides what names and quotes in it mean, and the collation of its literals.
    pub state: Arc<State>,
}

impl Text {
    /// Bytes that it takes.
    pub fn size(&self) -> usize {
        self.prepare.len() + self.sql.len()
    }
}
