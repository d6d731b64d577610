//! Prepared statements that are open on one server connection.
//!
//! Owns: which source text is open under which id, least recently used first out. Does not know: packets, clients.
//! Invariant: never more than `max` open; what is evicted is listed until it has been closed on the server.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use super::connection::User;
use super::state::State;
use crate::wire::execute::{Class, classes};

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
    /// What each parameter was of when it was not NULL last.
    classes: Vec<Class>,
    /// Who has executed it; `None` also where several have.
    by: Option<User>,
    /// It has been executed with a cursor.
    had_cursor: bool,
    used: u64,
}

/// An execution, as far as a server's statement may not fit it.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// The parameters' types.
    pub types: Option<&'a Arc<[u8]>>,
    /// They have names.
    pub named: bool,
    /// It asks for a cursor.
    pub with_cursor: bool,
    /// Whose it is.
    pub by: User,
    /// What the same session has done before must not count either.
    pub strict: bool,
}

impl Open {
    /// Whether an execution on MySQL is there what it is on a statement of its own. MySQL 9.7 goes on comparing a parameter as what it was
    /// before: a text as a number, a whole number as a floating-point one. And what has had a cursor gives its rows without one in another
    /// form, and no end to them.
    pub fn fits(&self, wanted: &Use<'_>) -> bool {
        if self.had_cursor && !wanted.with_cursor {
            return false;
        }
        let Some(types) = wanted.types else { return true };
        let own = self.by == Some(wanted.by) && !wanted.strict;
        own || self.types.as_ref().is_some_and(|known| Arc::ptr_eq(known, types) || known == types)
            || self.classes.iter().zip(classes(types, wanted.named)).all(|(before, now)| before.lets(now))
    }

    /// It is executed so.
    pub fn note_use(&mut self, wanted: &Use<'_>) {
        self.had_cursor |= wanted.with_cursor;
        let first = self.classes.is_empty() && self.by.is_none();
        self.by = Some(wanted.by).filter(|by| first || self.by == Some(*by));
        let Some(types) = wanted.types else { return };
        if self.types.as_ref().is_some_and(|known| Arc::ptr_eq(known, types)) {
            return;
        }
        for (at, now) in classes(types, wanted.named).enumerate() {
            match self.classes.get_mut(at) {
                Some(before) if now != Class::Null => *before = now,
                Some(_) => {}
                None => self.classes.push(now),
            }
        }
    }

    fn new(id: u32, used: u64) -> Self {
        Self { id, types: None, typed: false, classes: Vec::new(), by: None, had_cursor: false, used }
    }

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
        if let Some(before) = self.open.insert(source, Open::new(id, self.clock)) {
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
    use crate::ids::ClientId;
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

    fn wanted(types: &Arc<[u8]>, by: User, strict: bool) -> Use<'_> {
        Use { types: Some(types), named: false, with_cursor: false, by, strict }
    }

    #[test]
    fn t40_what_others_have_executed_changes_nothing() {
        let (int, double, text, null, day) = ([8, 0x80], [5, 0], [0xfd, 0], [6, 0], [12, 0]);
        let user = |client| User { client: ClientId(client), incarnation: 0, epoch: 0 };
        let types = |kinds: &[[u8; 2]]| Arc::<[u8]>::from(kinds.concat());
        for (before, now, fits) in [
            ([int, int], [int, int], true),
            ([text, int], [int, int], true),
            ([null, null], [text, day], true),
            ([int, double], [null, double], true),
            ([int, int], [int, text], false),
            ([double, int], [int, int], false),
            ([day, int], [text, int], false),
            ([day, int], [double, int], false),
        ] {
            let (before, now) = (types(&before), types(&now));
            let mut open = Open::new(1, 0);
            assert!(open.fits(&wanted(&before, user(1), true)));
            open.note_use(&wanted(&before, user(1), false));
            open.note_types(&Some(Arc::clone(&before)));
            assert_eq!(open.fits(&wanted(&now, user(2), false)), fits, "{before:?} {now:?}");
            assert_eq!(open.fits(&wanted(&now, user(1), true)), fits, "{before:?} {now:?}");
            // Its own, as on a connection of its own.
            assert!(open.fits(&wanted(&now, user(1), false)));
            open.note_use(&wanted(&before, user(2), false));
            assert_eq!(open.fits(&wanted(&now, user(1), false)), fits, "not its own any more");
        }
        // NULL leaves what was before.
        let mut open = Open::new(1, 0);
        for one in [[double], [null]] {
            open.note_use(&wanted(&types(&one), user(1), false));
            open.note_types(&Some(types(&one)));
        }
        assert!(!open.fits(&wanted(&types(&[int]), user(2), false)));
    }

    #[test]
    fn what_has_had_a_cursor_gets_one() {
        let by = User { client: ClientId(1), incarnation: 0, epoch: 0 };
        let wanted = |with_cursor| Use { types: None, named: false, with_cursor, by, strict: false };
        let mut open = Open::new(1, 0);
        assert!(open.fits(&wanted(true)) && open.fits(&wanted(false)));
        open.note_use(&wanted(true));
        assert!(open.fits(&wanted(true)) && !open.fits(&wanted(false)));
    }

    #[test]
    fn preparing_again_closes_the_one_before() {
        let mut statements = Statements::default();
        statements.insert(source("a", ""), 1, 2);
        statements.insert(source("a", ""), 9, 2);
        assert_eq!(statements.take_closing(), [1]);
    }
}
