//! A client's prepared statements, by its ids.
//!
//! Owns: what is known of each, and which have a cursor or long data on the held connection. Does not know: servers' ids, rules.
//! Invariant: two statements of one client never share one on a server.

pub(super) mod execution;
pub(super) mod placing;
pub(super) mod prepared;
pub(super) mod texts;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault};
use std::sync::Arc;

use self::execution::Execution;
use super::pins::Pins;
use super::sites::abroad::{Abroad, Ahead};
use super::sites::direct::Reading;
use crate::backend::epoch::Before;
use crate::backend::statements::{Carried, Source};
use crate::execute::relay::{End, Refusal};
use crate::sql::{Dialect, Recognised};
use crate::wire::execute::asks_for_cursor;
use crate::wire::ok::Status;

/// MariaDB: the statement that was prepared last.
const LAST_PREPARED: u32 = u32::MAX;
/// ER_WRONG_ARGUMENTS, ER_MALFORMED_PACKET: of an execution that a server does not understand.
const MALFORMED: [u16; 2] = [1210, 1835];

/// A statement that a client has prepared.
#[derive(Debug)]
pub(super) struct Known {
    pub source: Arc<Source>,
    /// That of the source which it was prepared from.
    pub kin: u64,
    pub statement: Recognised,
    /// The text's digest; 0 with digests off.
    pub digest: u64,
    /// The text as the client has sent it, where servers get another.
    pub written: Option<Arc<[u8]>>,
    pub parameters: u16,
    /// The types that the client sent last; it need not send them again.
    pub types: Option<Arc<[u8]>>,
    /// Why COM_STMT_SEND_LONG_DATA failed; told at the execution.
    pub long_data_failed: bool,
    /// How its text is read.
    pub reading: Reading,
    /// What it is where the rules place it.
    pub abroad: Abroad,
}

impl Known {
    /// All that servers may know it as.
    pub fn sources(&self) -> Vec<Arc<Source>> {
        let own = std::iter::once(&self.source);
        own.chain(self.abroad.sources()).map(Arc::clone).collect()
    }
}

/// What of the statements is open on one connection.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Those with an open cursor.
    pub cursors: HashSet<u32>,
    /// Those with long data that waits for an execution.
    pub long_data: HashSet<u32>,
}

impl Open {
    /// Whether it is there.
    pub fn has(&self, id: u32) -> bool {
        self.cursors.contains(&id) || self.long_data.contains(&id)
    }

    /// It is not there any more; whether it was.
    pub fn close(&mut self, id: u32) -> bool {
        let (cursor, long_data) = (self.cursors.remove(&id), self.long_data.remove(&id));
        cursor || long_data
    }

    /// The pins that cursors and long data make.
    pub fn pins(&self, mut pins: Pins) -> Pins {
        pins.set(Pins::CURSOR, !self.cursors.is_empty());
        pins.set(Pins::LONG_DATA, !self.long_data.is_empty());
        pins
    }
}

/// The client's statements.
#[derive(Debug, Default)]
pub(super) struct Statements {
    pub known: HashMap<u32, Known>,
    /// By hash of text and state, which the process's own hasher made: how many are known, and the copy that comes next.
    copies: HashMap<u64, (u32, u32), BuildHasherDefault<Carried>>,
    pub last: u32,
    /// The client's own text of the statement that is being prepared, where servers get another.
    pub written: Option<Arc<[u8]>>,
    /// Its own source, where it is prepared at a shard.
    pub base: Option<Arc<Source>>,
    /// Of the held connection.
    pub open: Open,
}

impl Statements {
    /// An id that no open statement has.
    pub fn free_id(&self) -> u32 {
        let mut id = self.last;
        loop {
            id = id.wrapping_add(1);
            if id != 0 && id != LAST_PREPARED && !self.known.contains_key(&id) {
                return id;
            }
        }
    }

    /// MariaDB's clients may mean the last one without its id.
    pub fn resolve(&self, id: u32) -> u32 {
        if id == LAST_PREPARED { self.last } else { id }
    }

    /// All are gone: COM_RESET_CONNECTION, COM_CHANGE_USER.
    pub fn clear(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// The held connection is gone, with what was on it.
    pub fn lose(&mut self) {
        self.open = Open::default();
    }

    /// The same where the session goes on: executions whose long data is lost must not run without it.
    pub fn give_up(&mut self) {
        for id in &self.open.long_data {
            if let Some(known) = self.known.get_mut(id) {
                known.long_data_failed = true;
            }
        }
        self.lose();
    }

    /// What an execution, a fetch or a reset leaves; its pins.
    pub fn after(&mut self, execution: &Execution<'_>, end: &End, dialect: Dialect, pins: Pins) -> Pins {
        if execution.executes && !keeps_long_data(end, dialect) {
            self.open.long_data.remove(&execution.id);
        }
        let open = end.error.is_none() && !end.status.contains(Status::LAST_ROW_SENT);
        // A routine's own cursor shows in the flag, too (MariaDB), and is gone.
        let asked = !execution.executes || asks_for_cursor(execution.payload);
        if open && asked && end.status.contains(Status::CURSOR_EXISTS) {
            self.open.cursors.insert(execution.id);
        } else if execution.executes || !open {
            self.open.cursors.remove(&execution.id);
        }
        self.open.pins(pins)
    }

    /// Which copy of a source of this kin the client prepares: two statements of one client must not share one on a server, or
    /// one's cursor would be closed and its long data taken by the other.
    pub fn copy(&self, kin: u64) -> u32 {
        self.copies.get(&kin).map_or(0, |(_, next)| *next)
    }

    /// A statement has been prepared.
    pub fn add(&mut self, id: u32, known: Known) {
        self.occupy(known.kin, known.source.copy);
        known.abroad.sources().iter().for_each(|source| self.occupy(source.kin, source.copy));
        self.known.insert(id, known);
    }

    /// A statement is closed.
    pub fn remove(&mut self, id: u32) -> Option<Known> {
        let known = self.known.remove(&id)?;
        self.vacate(known.kin);
        known.abroad.sources().iter().for_each(|source| self.vacate(source.kin));
        Some(known)
    }

    /// A statement as a shard knows it that has this text in this schema.
    pub fn at_shard(
        &mut self,
        id: u32,
        text: &[u8],
        schema: &[u8],
        hasher: &impl BuildHasher,
    ) -> Option<Arc<Source>> {
        let known = self.known.get(&id)?;
        if let Some(source) = known.abroad.find(text, schema) {
            return Some(Arc::clone(source));
        }
        let state = Arc::new(known.source.state.in_schema(schema));
        let source = Arc::new(Source::new(text.into(), state, |kin| self.copy(kin), hasher));
        self.occupy(source.kin, source.copy);
        let gone = self.known.get_mut(&id)?.abroad.keep(Arc::clone(&source));
        gone.iter().for_each(|source| self.vacate(source.kin));
        Some(source)
    }

    /// What was sent ahead of the statement's next execution, which is now.
    pub fn take_ahead(&mut self, id: u32) -> Ahead {
        self.known.get_mut(&id).map(|known| std::mem::take(&mut known.abroad.ahead)).unwrap_or_default()
    }

    /// The states in which they were prepared outlast a change of global variables, see [`State::outlast`](crate::backend::state::State::outlast).
    pub fn outlast(&mut self, before: &[Before], ignore_space: bool, hasher: &impl BuildHasher) {
        let ids: Vec<u32> = self.known.keys().copied().collect();
        for id in ids {
            let Some(known) = self.known.get(&id) else { continue };
            let (kin, mut state) = (known.kin, (*known.source.state).clone());
            if !state.outlast(before, ignore_space) {
                continue;
            }
            let text = known.source.text.clone();
            let source = Arc::new(Source::new(text, Arc::new(state), |kin| self.copy(kin), hasher));
            self.vacate(kin);
            self.occupy(source.kin, source.copy);
            if let Some(known) = self.known.get_mut(&id) {
                (known.kin, known.source) = (source.kin, source);
            }
        }
    }

    fn occupy(&mut self, kin: u64, copy: u32) {
        let (open, next) = self.copies.entry(kin).or_default();
        (*open, *next) = (*open + 1, copy.wrapping_add(1));
    }

    fn vacate(&mut self, kin: u64) {
        if let Entry::Occupied(mut copies) = self.copies.entry(kin) {
            let (open, _) = copies.get_mut();
            *open -= 1;
            if *open == 0 {
                copies.remove();
            }
        }
    }
}

/// Whether the server has an execution's long data still: MySQL's has where it did not understand the packet (tried).
fn keeps_long_data(end: &End, dialect: Dialect) -> bool {
    let malformed = |refusal: &Refusal| MALFORMED.contains(&refusal.code);
    dialect == Dialect::MySql && end.error.as_ref().is_some_and(malformed)
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use super::*;
    use crate::backend::state::State;
    use crate::plan::sharded::Modes;
    use crate::shard::Charset;
    use crate::sql::{Class, LexCharset, Lexing, ServerVersion, Uses};

    const READING: Reading = Reading {
        lexing: Lexing {
            ansi_quotes: false,
            no_backslash_escapes: false,
            charset: LexCharset::AsciiSafe,
            server: ServerVersion { dialect: Dialect::MySql, number: 90_700 },
        },
        modes: Modes { pipes_as_concat: false, high_not_precedence: false },
        charset: Charset::Utf8,
    };

    #[test]
    fn two_statements_of_one_text_are_never_one() {
        let (hasher, mut statements) = (RandomState::new(), Statements::default());
        let prepare = |statements: &mut Statements, id: u32, text: &str| {
            let state = Arc::new(State::default());
            let source = Source::new(text.as_bytes().into(), state, |kin| statements.copy(kin), &hasher);
            let copy = source.copy;
            let statement = Recognised::plain(Class::Read, Uses::empty());
            statements.add(
                id,
                Known {
                    kin: source.kin,
                    source: Arc::new(source),
                    statement,
                    digest: 0,
                    written: None,
                    parameters: 0,
                    types: None,
                    long_data_failed: false,
                    reading: READING,
                    abroad: Abroad::default(),
                },
            );
            copy
        };
        assert_eq!(prepare(&mut statements, 1, "a"), 0);
        assert_eq!(prepare(&mut statements, 2, "a"), 1);
        assert_eq!(prepare(&mut statements, 3, "b"), 0);
        assert!(statements.remove(1).is_some() && statements.remove(1).is_none());
        assert_eq!(prepare(&mut statements, 4, "a"), 2, "the second one is open still");
        assert!(statements.remove(2).is_some() && statements.remove(4).is_some());
        assert_eq!(prepare(&mut statements, 5, "a"), 0);
        // Nor at a shard.
        assert_eq!(prepare(&mut statements, 6, "a"), 1);
        let mut at_shard = |id| statements.at_shard(id, b"a", b"shop_0", &hasher).unwrap();
        let (five, six) = (at_shard(5), at_shard(6));
        assert!(five != six && Arc::ptr_eq(&five, &at_shard(5)) && Arc::ptr_eq(&six, &at_shard(6)));
        statements.remove(5);
        statements.remove(6);
        statements.remove(3);
        assert!(statements.copies.is_empty(), "{:?}", statements.copies);
    }
}
