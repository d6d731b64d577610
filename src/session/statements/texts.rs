//! Text PREPARE, EXECUTE and DEALLOCATE of statements that leave nothing on their connection.
//!
//! Owns: which texts are made again elsewhere, what a statement needs of them, and what it has made of them. Does not know: routes.
//! Invariant: a statement that may execute a name runs where that name is this session's text or none at all; a text of which the
//! execution could leave something is not here, and pins (`ledger`).

use std::sync::Arc;

use crate::backend::connection::Connection;
use crate::backend::texts::{NAMES_MAX, Name, Text};
use crate::session::Session;
use crate::session::attempt::failure::Failure;
use crate::session::pins::Pins;
use crate::session::work::Work;
use crate::sql::{self, Class, PreparedText, Recognised, TextCommand, Uses};
use crate::wire::buffer::Buffer;
use crate::wire::command;
use crate::wire::reply::Expect;

/// Texts of one session, and their bytes; with more, PREPARE pins.
const TEXTS_MAX: usize = 64;
const BYTES_MAX: usize = 64 << 10;

/// What an execution may use that leaves nothing on the connection, and asks about nothing that is there.
const TAME: Uses = Uses::SYSTEM_VARIABLE
    .union(Uses::SYSTEM_SCHEMA)
    .union(Uses::PRIMARY_FUNCTION)
    .union(Uses::LAST_INSERT_ID)
    .union(Uses::SUBQUERY)
    .union(Uses::OFFSET);

/// A statement about a text of this session.
pub(in crate::session) enum About {
    /// It prepares this one.
    Prepare(Name, Arc<Text>),
    /// It executes it.
    Execute(Arc<Text>, Name),
    /// It drops it.
    Deallocate(Arc<Text>, Name),
}

/// What a connection needs before a statement.
#[derive(Default)]
pub(in crate::session) struct Missing {
    dropped: Vec<Name>,
    prepared: Vec<(Name, Arc<Text>)>,
}

impl Missing {
    /// Nothing.
    pub fn is_empty(&self) -> bool {
        self.dropped.is_empty() && self.prepared.is_empty()
    }
}

impl Session {
    /// What the statement is about, where it is about a text that is made again wherever it is needed. It counts as the statement that it executes
    /// then, or as one that sets the session's state.
    pub(in crate::session) fn about_text(&self, text: &[u8], statement: &mut Recognised) -> Option<About> {
        let bound = Pins::TEXT_PREPARED | Pins::UNEXPLAINED;
        if statement.class != Class::TextPrepared
            || statement.uses.intersects(Uses::MULTIPLE | Uses::DOUBT)
            || self.pins.intersects(bound)
        {
            return None;
        }
        let known = |name: &Name| self.texts.get(name).map(Arc::clone);
        let about = match sql::text_command(text, &self.lexing)? {
            TextCommand::Prepare(name, from) => {
                let made = self.tame(text, &from)?;
                About::Prepare(name.into_boxed_slice(), Arc::new(made))
            }
            TextCommand::Execute(name) => {
                let name = name.into_boxed_slice();
                About::Execute(known(&name)?, name)
            }
            TextCommand::Deallocate(name) => {
                let name = name.into_boxed_slice();
                About::Deallocate(known(&name)?, name)
            }
        };
        let outer = statement.uses.difference(Uses::TEXT_PREPARED);
        (statement.class, statement.uses) = match &about {
            About::Execute(text, _) => (text.statement.class, text.statement.uses),
            _ => (Class::Set, outer | Uses::NOT_CONSTANT),
        };
        Some(about)
    }

    /// The text that a PREPARE makes, where its execution leaves nothing, and it can be made again.
    fn tame(&self, prepare: &[u8], from: &PreparedText) -> Option<Text> {
        let sql = self.prepared_text(from)?;
        let statement = self.recognise(&sql);
        let leaves_nothing = matches!(statement.class, Class::Read | Class::LockingRead | Class::Write)
            && TAME.contains(statement.uses)
            && statement.hint.is_none();
        let prepare = match from {
            PreparedText::Literal(_) => prepare.into(),
            // The variable may have another value by then.
            PreparedText::Variable(_) => {
                let name = match sql::text_command(prepare, &self.lexing)? {
                    TextCommand::Prepare(name, _) => name,
                    _ => return None,
                };
                [b"PREPARE `", &name[..], b"` FROM ", &quoted(&sql)?[..]].concat().into_boxed_slice()
            }
        };
        let text = Text { prepare, sql: sql.into(), statement, state: Arc::clone(&self.desired) };
        let bytes: usize = self.texts.values().map(|text| text.size()).sum();
        let fits = self.texts.len() < TEXTS_MAX && bytes + text.size() <= BYTES_MAX;
        (leaves_nothing && fits).then_some(text)
    }

    /// What of prepared texts must be put right on the connection before the statement.
    pub(in crate::session) fn missing_texts(&self, connection: &Connection, work: &Work<'_>) -> Missing {
        let mut missing = Missing::default();
        let there = &connection.texts;
        if self.texts.is_empty() && there.is_empty() {
            return missing;
        }
        let is_mine =
            |name: &Name, text: &Arc<Text>| self.texts.get(name).is_some_and(|mine| Arc::ptr_eq(mine, text));
        let others =
            || there.iter().filter(|(name, text)| !is_mine(name, text)).map(|(name, _)| name.clone());
        let has = |name: &Name| there.get(name).is_some_and(|text| is_mine(name, text));
        match &work.about {
            Some(About::Execute(text, name) | About::Deallocate(text, name)) if !has(name) => {
                missing.prepared.push((name.clone(), Arc::clone(text)));
            }
            Some(_) => {}
            // A procedure may execute any name, and a text that is not known here.
            None if work.statement.class == Class::Call
                || work.statement.uses.contains(Uses::TEXT_PREPARED) =>
            {
                missing.dropped.extend(others());
                let lacking = self.texts.iter().filter(|(name, _)| !has(name));
                missing.prepared.extend(lacking.map(|(name, text)| (name.clone(), Arc::clone(text))));
                return missing;
            }
            None => {}
        }
        if work.about.is_some() && there.len() >= NAMES_MAX {
            missing.dropped.extend(others());
        }
        missing
    }

    /// Puts it right. The connection is in the session's state. Texts that are not `named` are there for a procedure that may execute them:
    /// one that cannot be prepared any more (its table is gone, the transaction reads only) does not keep that from running.
    pub(in crate::session) async fn bring_texts(
        &self,
        connection: &mut Connection,
        missing: Missing,
        named: bool,
        buffer: &mut Buffer,
    ) -> Result<(), Failure> {
        for name in missing.dropped {
            let drop = [b"DEALLOCATE PREPARE `", &name[..], b"`"].concat();
            connection.run(&drop, buffer).await?; // its error says that it is gone already
            connection.texts.remove(&name);
        }
        for (name, text) in missing.prepared {
            let mut prepare = Vec::with_capacity(text.prepare.len() + 8);
            command::put_query(&mut prepare, &text.prepare, connection.capabilities);
            // One that fails may leave another session's text under the name, as noted.
            match self.prepare_in(connection, &text.state, &prepare, Expect::Results, buffer).await {
                Ok(_) => {
                    connection.texts.insert(name, text);
                }
                Err(Failure::Reprepare(_)) if !named && !connection.broken => {
                    connection.texts.remove(&name);
                    connection.warned = true;
                }
                Err(failure) => return Err(failure),
            }
        }
        if connection.warned && !named && self.last.warnings == 0 {
            for clears in self.clearing() {
                connection.run(clears, buffer).await?.into_ok()?;
            }
        }
        Ok(())
    }

    /// A statement about texts has run: which there are now, for the session and on the connection.
    pub(in crate::session) fn note_texts_there(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        succeeded: bool,
    ) {
        match &work.about {
            Some(About::Prepare(name, text)) => {
                // One that fails has dropped the one before (tried on both dialects), if it has come so far.
                connection.texts.insert(name.clone(), Arc::clone(text));
                self.texts.remove(name);
                if succeeded {
                    self.texts.insert(name.clone(), Arc::clone(text));
                }
            }
            Some(About::Deallocate(_, name)) if succeeded => {
                self.texts.remove(name);
                connection.texts.remove(name);
            }
            Some(_) => {}
            // What it has made pins, and is not to be taken for the text that had the name.
            None if work.statement.uses.contains(Uses::TEXT_PREPARED)
                && !(self.texts.is_empty() && connection.texts.is_empty()) =>
            {
                let name = match sql::text_command(work.sql(), &self.lexing) {
                    Some(TextCommand::Prepare(name, _)) => name,
                    Some(TextCommand::Deallocate(name)) if succeeded => name,
                    Some(_) => return,
                    None => return self.ledger.distrust(Pins::TEXT_PREPARED),
                };
                self.texts.remove(&name[..]);
                connection.texts.remove(&name[..]);
            }
            None => {}
        }
    }
}

/// The text as a literal in whatever mode and character set; `None` where that is not surely the same.
fn quoted(sql: &[u8]) -> Option<Vec<u8>> {
    let plain = sql.iter().all(|byte| (b' '..=b'~').contains(byte) && *byte != b'\\');
    plain.then(|| {
        let inner: Vec<u8> =
            sql.iter().flat_map(|byte| [*byte].repeat(1 + usize::from(*byte == b'\''))).collect();
        [b"'", &inner[..], b"'"].concat()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reads_alike_everywhere_is_quoted() {
        assert_eq!(quoted(b"SELECT 'a'").unwrap(), b"'SELECT ''a'''");
        assert_eq!(quoted(b"SELECT '\\n'"), None);
        assert_eq!(quoted("SELECT 'ä'".as_bytes()), None);
    }
}
