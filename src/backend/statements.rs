//! Prepared statements that are open on one server connection.
//!
//! Owns: which source text is open under which id, least recently used first out. Does not know: packets, clients.
//! Invariant: never more than `max` open; what is evicted is listed until it has been closed on the server.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use super::state::State;

/// What a prepared statement was made from: equal sources can share one statement on a connection.
#[derive(Debug)]
pub struct Source {
    /// The statement's text.
    pub text: Box<[u8]>,
    /// Session state when it was prepared: names and modes were resolved by it.
    pub state: Arc<State>,
    /// Tells statements of one client apart that are equal otherwise.
    pub copy: u32,
    /// Hash of text and state.
    pub kin: u64,
    hash: u64,
}

impl Source {
    /// A source, which of its kin `copy` tells; its hash is computed once, here. `hasher` is the process's own, so that no client
    /// can choose collisions.
    pub fn new(
        text: Box<[u8]>,
        state: Arc<State>,
        copy: impl FnOnce(u64) -> u32,
        hasher: &impl std::hash::BuildHasher,
    ) -> Self {
        let kin = hasher.hash_one((&text, &*state));
        let copy = copy(kin);
        Self { text, state, copy, kin, hash: hasher.hash_one((kin, copy)) }
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && self.copy == other.copy
            && self.text == other.text
            && (Arc::ptr_eq(&self.state, &other.state) || self.state == other.state)
    }
}

impl Eq for Source {}

impl Hash for Source {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.hash);
    }
}

/// Passes the hash through that a [`Source`] carries.
#[derive(Default)]
pub struct Carried(u64);

impl Hasher for Carried {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// One statement that is open on the connection.
#[derive(Debug)]
pub struct Open {
    /// The server's id of it.
    pub id: u32,
    /// Parameter types that the server remembers from the last execution, where they are known.
    pub types: Option<Arc<[u8]>>,
    /// It may remember some.
    typed: bool,
    used: u64,
}

impl Open {
    /// An execution with these parameter types, or with none, is sent.
    pub fn note_types(&mut self, types: &Option<Arc<[u8]>>) {
        self.typed |= types.is_some();
        self.types.clone_from(types);
    }
}

/// The statements that are open on one connection.
#[derive(Debug, Default)]
pub struct Statements {
    open: HashMap<Arc<Source>, Open, BuildHasherDefault<Carried>>,
    clock: u64,
    closing: Vec<u32>,
}

impl Statements {
    /// The open statement of this source, now the most recently used one.
    pub fn get(&mut self, source: &Arc<Source>) -> Option<&mut Open> {
        self.clock += 1;
        let open = self.open.get_mut(source)?;
        open.used = self.clock;
        Some(open)
    }

    /// The types that the server remembers for a statement are not known any more.
    pub fn forget_types(&mut self, source: &Arc<Source>) {
        if let Some(open) = self.open.get_mut(source) {
            open.types = None;
        }
    }

    /// Forgets a statement that may have been executed with parameter types, for one who has never sent any.
    pub fn renew(&mut self, source: &Arc<Source>) {
        if self.open.get(source).is_some_and(|open| open.typed) {
            self.remove(source);
        }
    }

    /// Whether a statement of this source is open.
    pub fn contains(&self, source: &Arc<Source>) -> bool {
        self.open.contains_key(source)
    }

    /// Notes that `source` is open under `id`; makes room by evicting the least recently used ones.
    pub fn insert(&mut self, source: Arc<Source>, id: u32, max: usize) {
        while self.open.len() >= max.max(1) {
            let Some(oldest) =
                self.open.iter().min_by_key(|(_, open)| open.used).map(|(source, _)| Arc::clone(source))
            else {
                break;
            };
            self.remove(&oldest);
        }
        self.clock += 1;
        if let Some(before) =
            self.open.insert(source, Open { id, types: None, typed: false, used: self.clock })
        {
            self.closing.push(before.id);
        }
    }

    /// Forgets a statement; it is closed with the next write.
    pub fn remove(&mut self, source: &Arc<Source>) {
        if let Some(open) = self.open.remove(source) {
            self.closing.push(open.id);
        }
    }

    /// Forgets all without closing: the server has done it.
    pub fn clear(&mut self) {
        self.open.clear();
        self.closing.clear();
    }

    /// Ids that must be closed on the server; the list is empty afterwards.
    pub fn take_closing(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.closing)
    }

    /// Whether ids wait to be closed.
    pub fn has_closing(&self) -> bool {
        !self.closing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::RandomState;

    fn source(text: &str, schema: &str) -> Arc<Source> {
        let state = Arc::new(State::with_schema(schema.into()));
        static HASHER: std::sync::LazyLock<RandomState> = std::sync::LazyLock::new(RandomState::new);
        Arc::new(Source::new(text.as_bytes().into(), state, |_| 0, &*HASHER))
    }

    #[test]
    fn equal_text_in_another_database_is_another_statement() {
        let mut statements = Statements::default();
        statements.insert(source("SELECT 1", "a"), 1, 10);
        assert_eq!(statements.get(&source("SELECT 1", "a")).unwrap().id, 1);
        assert!(statements.get(&source("SELECT 1", "b")).is_none());
    }

    #[test]
    fn the_least_recently_used_one_is_closed() {
        let mut statements = Statements::default();
        statements.insert(source("a", ""), 1, 2);
        statements.insert(source("b", ""), 2, 2);
        statements.get(&source("a", ""));
        statements.insert(source("c", ""), 3, 2);
        assert_eq!(statements.take_closing(), [2]);
        assert!(statements.get(&source("b", "")).is_none() && !statements.has_closing());
    }

    #[test]
    fn preparing_again_closes_the_one_before() {
        let mut statements = Statements::default();
        statements.insert(source("a", ""), 1, 2);
        statements.insert(source("a", ""), 9, 2);
        assert_eq!(statements.take_closing(), [1]);
    }
}
