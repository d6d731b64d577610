//! Savepoints of a transaction that has parts at several sites, or may get them.
//!
//! Owns: their names, in the order of the servers'; what a statement about one does to all parts. Does not know: how a part is begun
//! (`beginning`). Invariant: each part has all savepoints that are known, also those that are older than the part; a statement about one is carried
//! out in every part, or the transaction is over.

use tokio::time::timeout;

use crate::backend::connection::Connection;
use crate::backend::exchange;
use crate::execute::relay::End;
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::pins::Pins;
use crate::session::readback::contains_word;
use crate::session::work::Work;
use crate::session::{Problem, Session};
use crate::sql::{self, Class, Ending, Recognised, SavepointVerb, Uses};
use crate::wire::buffer::Buffer;
use crate::wire::command;
use crate::wire::err::ErrPacket;
use crate::wire::ok::Status;
use crate::wire::reply::Expect;

/// Savepoints of one transaction that are known by their names.
const KNOWN_MAX: usize = 1000;
/// The longest name, in bytes.
const NAME_MAX: usize = 256;
/// ER_SP_DOES_NOT_EXIST.
const UNKNOWN: u16 = 1305;

/// What may set savepoints behind a BEGIN in one packet.
const OTHERS: [&[u8]; 3] = [b"savepoint", b"call", b"execute"];

/// Those of the open transaction.
#[derive(Debug, Default)]
pub(in crate::session) struct Savepoints {
    /// The oldest first.
    known: Vec<Savepoint>,
    /// So many have been set.
    count: u64,
    /// There may be others, or fewer.
    unclear: bool,
}

#[derive(Debug)]
struct Savepoint {
    name: Box<[u8]>,
    /// It was the first, the second, … that was set in the transaction.
    number: u64,
}

impl Savepoints {
    /// The transaction is over.
    pub fn clear(&mut self) {
        if self.count > 0 || self.unclear {
            *self = Self::default();
        }
    }

    /// How many have been set.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What sets them, the oldest first.
    pub fn statements(&self) -> Vec<Vec<u8>> {
        self.known.iter().map(|savepoint| words(SavepointVerb::Set, &savepoint.name)).collect()
    }

    /// Something has run that may have set some, or ended them.
    pub fn are_unclear(&mut self) {
        self.unclear = true;
    }

    /// Whether there may be some that are not known.
    pub fn have_unknown(&self) -> bool {
        self.unclear
    }

    /// Whether there is one of this name. Servers compare by letters, in which ASCII has no case.
    fn has(&self, name: &[u8]) -> bool {
        self.position(name).is_some()
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.known.iter().position(|savepoint| savepoint.name.eq_ignore_ascii_case(name))
    }

    /// A server has done this. Where it has rolled back: how many had been set when this one was.
    pub fn note(&mut self, verb: SavepointVerb, name: &[u8]) -> Option<u64> {
        let at = self.position(name);
        match (verb, at) {
            (SavepointVerb::Set, at) => {
                if let Some(at) = at {
                    self.known.remove(at);
                }
                self.count += 1;
                match is_comparable(name) && self.known.len() < KNOWN_MAX {
                    true => self.known.push(Savepoint { name: name.into(), number: self.count }),
                    false => self.unclear = true,
                }
                None
            }
            (SavepointVerb::Release, Some(at)) => {
                self.known.truncate(at);
                None
            }
            (SavepointVerb::RollBackTo, Some(at)) => {
                self.known.truncate(at + 1);
                // A later one of the same name may be that to which the server has gone back.
                self.known.get(at).filter(|_| !self.unclear).map(|savepoint| savepoint.number)
            }
            (SavepointVerb::Release | SavepointVerb::RollBackTo, None) => {
                self.unclear = true;
                None
            }
        }
    }
}

/// Whether it is known which other names a server takes for this one: letters beyond ASCII equal others (`é` and `e`).
fn is_comparable(name: &[u8]) -> bool {
    name.is_ascii() && name.len() <= NAME_MAX
}

/// A statement of this kind, in words that mean the same in every session.
fn words(verb: SavepointVerb, name: &[u8]) -> Vec<u8> {
    let verb: &[u8] = match verb {
        SavepointVerb::Set => b"SAVEPOINT `",
        SavepointVerb::Release => b"RELEASE SAVEPOINT `",
        SavepointVerb::RollBackTo => b"ROLLBACK TO SAVEPOINT `",
    };
    [verb, name, b"`"].concat()
}

impl Session {
    /// A savepoint is set, released or rolled back to in all parts of the open transaction.
    ///
    /// # Errors
    /// It is not known, or cannot be told in all of them; where a part has failed, the transaction is over.
    pub(in crate::session) async fn save_parts(
        &mut self,
        text: &[u8],
        statement: Recognised,
    ) -> Result<(), Problem> {
        let read = sql::savepoint(text, &self.lexing).filter(|_| statement.uses.is_empty());
        let (verb, name) = read.ok_or(Problem::Unsupported(UNCLEAR.into()))?;
        if self.sites.savepoints.unclear || !is_comparable(&name) {
            return Err(Problem::Unsupported(UNCLEAR.into()));
        }
        if verb != SavepointVerb::Set && !self.sites.savepoints.has(&name) {
            let message = [b"SAVEPOINT ", &name[..], b" does not exist"].concat();
            return Err(Problem::Server(ErrPacket::new(UNKNOWN, b"42000", message)));
        }
        if !self.has_open_part()
            && let Some(site) = self.sites.parked.iter().find(|branch| branch.is_open())
        {
            let site = site.site().clone();
            self.visit(&site).await; // the client is told that its transaction is open
        }
        if !self.ask_parts(&words(verb, &name)).await {
            tracing::info!(client = %self.entry.handle.id, "a transaction is over: a savepoint could not be told in all of its parts");
            self.undo_parts().await;
            return Err(Problem::TransactionLost { outcome_unknown: false, why: None });
        }
        let undone = self.sites.savepoints.note(verb, &name);
        self.course.miss();
        self.undo_writes(undone);
        for branch in self.sites.parked.iter_mut().filter(|branch| branch.is_open()) {
            branch.ran_savepoint(undone);
        }
        Ok(())
    }

    /// Whether a part of the open transaction is where the session is.
    pub(in crate::session) fn has_open_part(&self) -> bool {
        self.held.is_some() && self.status.contains(Status::IN_TRANSACTION)
    }

    /// What was written here since so many savepoints had been set is undone.
    fn undo_writes(&mut self, undone: Option<u64>) {
        self.sites.wrote = self.sites.wrote.filter(|since| undone.is_none_or(|undone| *since < undone));
    }

    /// Runs it in all open parts; false where one has failed.
    async fn ask_parts(&mut self, sql: &[u8]) -> bool {
        let open = self.has_open_part();
        let here = self.held.as_deref_mut().filter(|_| open);
        let elsewhere = self.sites.parked.iter_mut().filter(|branch| branch.is_open());
        let mut parts: Vec<&mut Connection> =
            here.into_iter().chain(elsewhere.map(|branch| &mut *branch.held)).collect();
        for part in &mut parts {
            let mut packet = Vec::with_capacity(sql.len() + 8);
            command::put_query(&mut packet, sql, part.capabilities);
            let sent = !part.broken && part.stream.write_all(&packet).await.is_ok();
            part.broken |= !sent;
        }
        let mut succeeded = true;
        let mut buffer = self.worker.buffers.take();
        for part in &mut parts {
            succeeded &= answers(part, &mut buffer).await;
        }
        succeeded
    }

    /// With `autocommit` off a savepoint may come before what begins its transaction: no status flag tells that it is there, on this connection
    /// (tried on both dialects).
    pub(in crate::session) fn keep_first_savepoint(
        &self,
        mut pins: Pins,
        end: &End,
        work: &Work<'_>,
    ) -> Pins {
        let is_told = end.status.intersects(Status::AUTOCOMMIT | Status::IN_TRANSACTION);
        let Recognised { class, uses, .. } = work.statement;
        // What else such a packet does to the savepoints, its text does not tell.
        let hidden = uses.contains(Uses::MULTIPLE) || matches!(class, Class::Call | Class::TextPrepared);
        let ends_or_sets = work.statement.class == Class::EndOrSavepoint && end.error.is_none();
        if is_told {
            pins.remove(Pins::SAVEPOINT);
        } else if hidden {
            if contains_word(work.sql(), b"savepoint") {
                pins |= Pins::SAVEPOINT;
            }
        } else if ends_or_sets {
            let is_savepoint = sql::ending(work.sql(), &self.lexing) == Ending::Savepoint;
            pins.set(Pins::SAVEPOINT, is_savepoint);
        }
        pins
    }

    /// A statement has ended where the session is, with its transaction open: what it has done to savepoints there. `failed`: with an error.
    pub(in crate::session) fn note_savepoints(&mut self, text: &[u8], statement: Recognised, failed: bool) {
        let Recognised { class, uses, .. } = statement;
        let among_others = uses.contains(Uses::MULTIPLE);
        if among_others && matches!(class, Class::Begin(_)) {
            self.sites.savepoints.clear();
            if OTHERS.iter().any(|word| contains_word(text, word)) {
                self.sites.savepoints.are_unclear();
            }
        } else if among_others
            || matches!(class, Class::Call | Class::TextPrepared)
            || uses.contains(Uses::DOUBT)
        {
            self.sites.savepoints.are_unclear();
        } else if class == Class::EndOrSavepoint && !failed {
            if !self.worker.directory.load().lists_any() {
                return self.sites.savepoints.are_unclear(); // rules may come before the transaction ends
            }
            match sql::ending(text, &self.lexing) {
                Ending::Savepoint => match sql::savepoint(text, &self.lexing) {
                    Some((verb, name)) => {
                        let undone = self.sites.savepoints.note(verb, &name);
                        self.undo_writes(undone);
                    }
                    None => self.sites.savepoints.are_unclear(),
                },
                // AND CHAIN: the next transaction is open.
                Ending::Commit | Ending::Rollback => {
                    self.sites.savepoints.clear();
                    (self.sites.wrote, self.sites.rule) = (None, None);
                }
            }
        }
    }
}

/// Whether a part answers that it has done it.
async fn answers(part: &mut Connection, buffer: &mut Buffer) -> bool {
    if part.broken {
        return false;
    }
    let answer = timeout(PRELUDE_LIMIT, exchange::receive(part, buffer, Expect::Results)).await;
    part.broken |= !matches!(answer, Ok(Ok(_)));
    matches!(answer, Ok(Ok(answer)) if answer.error.is_none())
}

const UNCLEAR: &str = "savepoints of a transaction that is open at several shards, or also outside of them, must be told at all of these, which needs plain names in ASCII, \
                       statements of their own, and no routine, executed text or packet of several statements before them, which could have set or ended some: \
                       end the transaction, or keep it in one place";

#[cfg(test)]
mod tests {
    use super::SavepointVerb::{Release, RollBackTo, Set};
    use super::*;

    fn names(savepoints: &Savepoints) -> Vec<String> {
        savepoints.known.iter().map(|known| String::from_utf8_lossy(&known.name).into_owned()).collect()
    }

    #[test]
    fn they_are_those_of_a_server() {
        let mut all = Savepoints::default();
        for name in [&b"a"[..], b"b", b"c", b"B"] {
            assert_eq!(all.note(Set, name), None);
        }
        assert_eq!(names(&all), ["a", "c", "B"], "one that is set again is the latest");
        assert_eq!(all.note(RollBackTo, b"C"), Some(3));
        assert_eq!(names(&all), ["a", "c"], "those that are later end");
        assert_eq!(all.note(Set, b"d"), None);
        assert_eq!(all.note(Release, b"c"), None);
        assert_eq!((names(&all), all.unclear, all.count()), (vec!["a".to_owned()], false, 5));
        assert_eq!(all.statements(), [b"SAVEPOINT `a`".to_vec()]);
    }

    #[test]
    fn behind_what_may_have_set_others_nothing_is_known_to_be_undone() {
        let mut all = Savepoints::default();
        all.note(Set, b"a");
        all.are_unclear();
        assert_eq!(all.note(RollBackTo, b"a"), None);
    }

    #[test]
    fn what_cannot_be_compared_or_is_too_much_is_unclear() {
        for name in ["é".as_bytes(), &[b'x'; NAME_MAX + 1]] {
            let mut all = Savepoints::default();
            all.note(Set, name);
            assert!(all.unclear && all.known.is_empty());
            all.clear();
            assert!(!all.unclear);
        }
        let mut all = Savepoints::default();
        for number in 0..KNOWN_MAX + 1 {
            assert!(!all.unclear);
            all.note(Set, format!("s{number}").as_bytes());
        }
        assert!(all.unclear && all.known.len() == KNOWN_MAX);
        let mut all = Savepoints::default();
        all.note(RollBackTo, b"of another");
        assert!(all.unclear);
    }
}
