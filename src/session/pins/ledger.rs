//! What is on the held connection, by name, so that a pin ends when its cause does.
//!
//! Owns: the names of temporary tables, handlers, prepared texts, locks and bound variables. Does not know: servers.
//! Invariant: a reason is taken away only when all that stood for it is known to have ended.

use std::collections::BTreeSet;

use super::Pins;
use crate::sql::{Effect, LockKind};

/// Names of one kind beyond which they are not told any more.
const NAMES_MAX: usize = 256;

/// The names.
#[derive(Debug, Default)]
pub(in crate::session) struct Ledger {
    tables: BTreeSet<(Vec<u8>, Vec<u8>)>,
    handlers: BTreeSet<Vec<u8>>,
    texts: BTreeSet<Vec<u8>>,
    locks: BTreeSet<LockKind>,
    bound: BTreeSet<Vec<u8>>,
    user_locks: BTreeSet<Vec<u8>>,
    /// A routine has taken a user lock that was held when the server was asked last.
    unnamed_locks: bool,
    xa: bool,
    /// What an execution of the texts may leave.
    text_pins: Pins,
    /// Reasons of which something is there that has no name here.
    untold: Pins,
    /// The server has not been asked for the user locks since a statement about them.
    ask_locks: bool,
}

/// Reasons that end by name.
const TOLD: Pins = Pins::TEMPORARY_TABLE
    .union(Pins::HANDLER)
    .union(Pins::TEXT_PREPARED)
    .union(Pins::LOCKS)
    .union(Pins::BINDING_VARIABLE)
    .union(Pins::USER_LOCK)
    .union(Pins::XA);

impl Ledger {
    /// The connection is gone, with all that was on it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes in what a statement has done, in a session whose default database is `schema`. `added` are the reasons
    /// that the statement stands for, `pins` all that stand; gives those that stand on.
    pub fn after(&mut self, effects: Vec<Effect>, added: Pins, pins: Pins, schema: &[u8]) -> Pins {
        let table = |of: Option<Vec<u8>>, name| (of.unwrap_or_else(|| schema.to_vec()), name);
        for effect in effects {
            match effect {
                Effect::Created(of, name) => drop(self.tables.insert(table(of, name))),
                Effect::Dropped(of, name) => drop(self.tables.remove(&table(of, name))),
                Effect::Opened(name) => drop(self.handlers.insert(name)),
                Effect::Closed(name) => drop(self.handlers.remove(&name)),
                Effect::Prepared(name) => drop(self.texts.insert(name)),
                Effect::Deallocated(name) => drop(self.texts.remove(&name)),
                Effect::Locked(kind) => drop(self.locks.insert(kind)),
                Effect::Unlocked(kind) => drop(self.locks.remove(&kind)),
                Effect::XaBegun => self.xa = true,
                Effect::XaEnded => self.xa = false,
                Effect::UserLock(name) => drop(self.user_locks.insert(name)),
                Effect::UserLocksReleased => {
                    self.user_locks.clear();
                    self.unnamed_locks = false;
                    self.untold.remove(Pins::USER_LOCK);
                }
                Effect::Bound(name, true) => drop(self.bound.remove(&name)),
                Effect::Bound(name, false) => {
                    if added.contains(Pins::BINDING_VARIABLE) {
                        self.bound.insert(name);
                    }
                }
                Effect::Renamed => self.untold.set(Pins::TEMPORARY_TABLE, !self.tables.is_empty()),
                Effect::Role(_) => {}
                Effect::Untold | Effect::UserLockParameter(_) => self.untold |= added,
            }
        }
        if self.texts.is_empty() && !self.untold.contains(Pins::TEXT_PREPARED) {
            self.text_pins = Pins::empty();
        }
        self.ask_locks |= added.contains(Pins::USER_LOCK);
        if [&self.handlers, &self.texts, &self.bound, &self.user_locks]
            .iter()
            .any(|names| names.len() > NAMES_MAX)
            || self.tables.len() > NAMES_MAX
        {
            self.untold |= TOLD;
        }
        self.standing(pins)
    }

    /// Something that stands for these reasons has no name.
    pub fn distrust(&mut self, added: Pins) {
        self.untold |= added;
    }

    /// Texts have been prepared whose execution may leave this; gives what that of any text may leave.
    pub fn note_texts(&mut self, left: Pins) -> Pins {
        self.text_pins |= left;
        self.text_pins
    }

    /// Those of the reasons that still stand.
    fn standing(&self, pins: Pins) -> Pins {
        let mut standing = self.untold;
        for (pin, stands) in [
            (Pins::TEMPORARY_TABLE, !self.tables.is_empty()),
            (Pins::HANDLER, !self.handlers.is_empty()),
            (Pins::TEXT_PREPARED, !self.texts.is_empty()),
            (Pins::LOCKS, !self.locks.is_empty()),
            (Pins::BINDING_VARIABLE, !self.bound.is_empty()),
            (Pins::USER_LOCK, !self.user_locks.is_empty() || self.unnamed_locks || self.ask_locks),
            (Pins::XA, self.xa),
        ] {
            standing.set(pin, stands || self.untold.contains(pin));
        }
        pins.difference(TOLD) | (pins & standing)
    }

    /// Whether the server can tell if the user locks are held still, and has not been asked.
    pub fn may_ask_locks(&self) -> bool {
        self.ask_locks && !self.untold.contains(Pins::USER_LOCK)
    }

    /// Whether a lock is held of which nobody knows the name.
    pub fn has_unnamed_locks(&self) -> bool {
        self.unnamed_locks
    }

    /// The server has told of locks, whatever their names.
    pub fn note_unnamed_locks(&mut self) {
        (self.unnamed_locks, self.ask_locks) = (true, false);
    }

    /// A routine has run, which may have released them.
    pub fn doubt_unnamed_locks(&mut self) {
        self.ask_locks |= self.unnamed_locks;
    }

    /// The statement that asks; `None` where there is no name to ask about.
    pub fn lock_question(&self) -> Option<Vec<u8>> {
        let names = self.user_locks.iter();
        let items: Vec<_> =
            names.map(|name| [b"IS_USED_LOCK(", &name[..], b")<=>CONNECTION_ID()"].concat()).collect();
        (!items.is_empty()).then(|| [b"SELECT ".to_vec(), items.join(&b',')].concat())
    }

    /// The answer to it: which of the locks are held. Gives the reasons that stand on.
    pub fn note_locks(&mut self, held: &[bool], pins: Pins) -> Pins {
        let mut held = held.iter().copied().chain(std::iter::repeat(false));
        self.user_locks.retain(|_| held.next().unwrap_or(false));
        (self.ask_locks, self.unnamed_locks) = (false, false);
        self.standing(pins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Vec<u8> {
        text.into()
    }

    #[test]
    fn a_reason_ends_with_the_last_of_its_names() {
        let mut ledger = Ledger::default();
        let tables = Pins::TEMPORARY_TABLE;
        let created = |of: &str| Effect::Created(Some(name(of)), name("t"));
        assert_eq!(ledger.after(vec![created("a")], tables, tables, b"a"), tables);
        assert_eq!(ledger.after(vec![created("b")], tables, tables, b"a"), tables);
        assert_eq!(ledger.after(vec![Effect::Dropped(None, name("t"))], Pins::empty(), tables, b"a"), tables);
        let all = tables | Pins::CURSOR;
        assert_eq!(ledger.after(vec![Effect::Dropped(None, name("t"))], tables, all, b"b"), Pins::CURSOR);
    }

    #[test]
    fn what_cannot_be_told_stays() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.after(vec![Effect::Untold], Pins::LOCKS, Pins::LOCKS, b""), Pins::LOCKS);
        let unlocked = vec![Effect::Unlocked(LockKind::Tables)];
        assert_eq!(ledger.after(unlocked, Pins::empty(), Pins::LOCKS, b""), Pins::LOCKS);
    }

    #[test]
    fn each_lock_has_its_own_end() {
        let mut ledger = Ledger::default();
        ledger.after(vec![Effect::Locked(LockKind::Instance)], Pins::LOCKS, Pins::LOCKS, b"");
        let flush = vec![Effect::Unlocked(LockKind::Tables), Effect::Unlocked(LockKind::Flush)];
        assert_eq!(ledger.after(flush, Pins::empty(), Pins::LOCKS, b""), Pins::LOCKS);
        let instance = vec![Effect::Unlocked(LockKind::Instance)];
        assert_eq!(ledger.after(instance, Pins::empty(), Pins::LOCKS, b""), Pins::empty());
    }

    #[test]
    fn user_locks_stand_until_the_server_says_otherwise() {
        let (mut ledger, pin) = (Ledger::default(), Pins::USER_LOCK);
        let locks = vec![Effect::UserLock(name("'a'")), Effect::UserLock(name("'b'"))];
        assert_eq!(ledger.after(locks, pin, pin, b""), pin);
        let question = ledger.lock_question().unwrap();
        assert_eq!(
            question,
            b"SELECT IS_USED_LOCK('a')<=>CONNECTION_ID(),IS_USED_LOCK('b')<=>CONNECTION_ID()"
        );
        assert_eq!(ledger.note_locks(&[false, true], pin), pin);
        assert_eq!(ledger.after(vec![], pin, pin, b""), pin, "RELEASE_LOCK: to be asked");
        assert_eq!(ledger.note_locks(&[false], pin), Pins::empty());
    }
}
