//! What servers do not report by themselves, and is asked for after the statement that may have changed it.
//!
//! Owns: which statements need a question, and what follows from its answer. Does not know: clients' packets.
//! Invariant: a connection of which an answer is missing is broken: nobody knows its state.

use std::sync::Arc;

use tokio::time::timeout;

use super::Session;
use super::attempt::Work;
use super::pins::Pins;
use super::prelude::{PRELUDE_LIMIT, TABLES_CREATED};
use crate::backend::connection::Connection;
use crate::backend::exchange::ExchangeError;
use crate::backend::state::{State, is_replayed};
use crate::sql::{self, Class, Dialect, Recognised, Uses};
use crate::wire::track::{CHOICES, Shown};

impl Session {
    /// What the servers do not report: a database with a wide character set (MariaDB), variables that SET names as
    /// `@@name` (MariaDB), and what statements about accounts mean for other connections.
    pub(super) async fn note_unreported(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        before: &Arc<State>,
    ) {
        let Recognised { class, uses, .. } = work.statement;
        if class == Class::Use
            && before.schema == self.desired.schema
            && let Some(schema) = work.database(&self.lexing)
            && schema != self.desired.schema
        {
            let mut next = (*self.desired).clone();
            next.schema = schema;
            self.adopt(connection, next);
        }
        let sets = work.statement.class_is_set() || uses.contains(Uses::MULTIPLE);
        if sets && self.lexing.server.dialect == Dialect::MariaDb {
            let names = sql::unscoped_variables(work.sql(), &self.lexing);
            if !names.is_empty() {
                self.read_back_variables(connection, names).await;
            }
        }
        self.note_accounts(work);
    }

    /// Notes a statement about accounts: before it is sent, so that who has seen its answer finds nothing proven, and after
    /// it, for what was proven meanwhile.
    pub(super) fn note_accounts(&self, work: &Work<'_>) {
        if matches!(work.statement.class, Class::Ddl | Class::Other | Class::SetGlobal)
            && sql::changes_accounts(work.sql(), &self.lexing)
        {
            self.worker.pool.age();
            self.worker.gatekeeper.accounts_changed();
        }
    }

    /// The session's state, and that of the connection, is this from now on.
    fn adopt(&mut self, connection: &mut Connection, next: State) {
        self.desired = Arc::new(next);
        connection.state = Arc::clone(&self.desired);
        self.relex();
    }

    /// Reads variables of which the server has not said what they are now.
    async fn read_back_variables(&mut self, connection: &mut Connection, names: Vec<Vec<u8>>) {
        let items: Vec<_> = names.iter().map(|name| [b"@@", &name[..]].concat()).collect();
        let question = [b"SELECT ", &items.join(&b',')[..]].concat();
        let mut buffer = self.worker.buffers.take();
        let answer = timeout(PRELUDE_LIMIT, connection.run(&question, &mut buffer)).await;
        let row = match answer {
            Ok(Ok(mut answer)) if buffer.filled().is_empty() => answer.rows.pop().unwrap_or_default(),
            _ => Vec::new(),
        };
        if row.len() != names.len() {
            connection.broken = true; // in a state that nobody knows
            return;
        }
        let mut next = (*self.desired).clone();
        for (name, value) in names.iter().zip(row) {
            if is_replayed(name) {
                next.set(name, &value.unwrap_or_default());
            }
        }
        self.adopt(connection, next);
    }

    /// `SET NAMES … COLLATE …` reports the character sets but not the collation (tried on both dialects).
    pub(super) async fn read_back_collation(&mut self, connection: &mut Connection) {
        let mut buffer = self.worker.buffers.take();
        let answer = connection.run(b"SELECT @@collation_connection", &mut buffer).await;
        match answer.as_ref().ok().and_then(|answer| answer.value()) {
            Some(collation) if buffer.filled().is_empty() => {
                let mut next = (*self.desired).clone();
                if next.set(b"collation_connection", collation) {
                    self.desired = Arc::new(next);
                }
                connection.state = Arc::clone(&self.desired);
            }
            _ => connection.broken = true,
        }
    }

    /// A statement follows a CALL without asking about it: did the procedure create tables, temporary ones perhaps?
    pub(super) async fn look_for_tables(&mut self, held: &mut Connection) {
        self.set_pins(self.pins.difference(Pins::CALLED));
        let mut buffer = self.worker.buffers.take();
        let before = held.tables_created.take();
        let created = match held.run(TABLES_CREATED, &mut buffer).await {
            Ok(answer) if buffer.filled().is_empty() && answer.error.is_none() => Some(answer.sum()),
            _ => None,
        };
        held.tables_created = created;
        held.broken |= created.is_none();
        if created.is_none() || created != before {
            self.set_pins(self.pins | Pins::UNEXPLAINED);
        }
    }

    /// A statement about user locks has run: which does the session hold still?
    pub(super) async fn look_for_locks(&mut self, held: &mut Connection) {
        let mut locks = Vec::new();
        if let Some(question) = self.ledger.lock_question() {
            let mut buffer = self.worker.buffers.take();
            let answer = timeout(PRELUDE_LIMIT, held.run(&question, &mut buffer)).await;
            held.user = None; // what the client may ask about its last statement is gone from it
            match answer {
                Ok(Ok(answer)) if buffer.filled().is_empty() && answer.error.is_none() => {
                    let values = answer.rows.into_iter().flatten();
                    locks.extend(values.map(|value| value.as_deref() == Some(b"1")));
                }
                _ => {
                    held.broken = true;
                    return;
                }
            }
        }
        let pins = self.ledger.note_locks(&locks, self.pins);
        self.set_pins(pins);
    }

    /// The client may have chosen what session tracking shows it: that is kept, and all is tracked again.
    pub(super) async fn take_in_tracking(&mut self, connection: &mut Connection, work: &Work<'_>) {
        let Some(server) = self.worker.pool.server(connection.server).cloned() else { return };
        let mut buffer = self.worker.buffers.take();
        let taken_in = async {
            let chosen = connection.chosen(&mut buffer).await?;
            server.track(connection, &mut buffer).await?;
            Ok::<_, ExchangeError>(chosen)
        };
        let Ok(chosen) = taken_in.await else {
            connection.broken = true;
            return;
        };
        connection.broken |= !buffer.filled().is_empty();
        let text = work.sql();
        let mut shown = Shown::clone(self.client.shown.as_ref().unwrap_or(&connection.shown));
        let mut values = chosen.each_ref().map(Option::as_deref);
        for (value, name) in values.iter_mut().zip(CHOICES) {
            // What the statement does not name has the value that Tidegate gave it.
            if !contains_word(text, name.as_bytes()) {
                *value = None;
            }
        }
        shown.choose(values);
        self.client.shown = Some(Arc::new(shown));
    }
}
/// Whether a SET may have changed what session tracking reports.
pub(super) fn mentions_tracking(work: &Work<'_>) -> bool {
    let may = work.statement.class == Class::Set || work.statement.uses.contains(Uses::MULTIPLE);
    may && contains_word(work.sql(), b"session_track")
}

/// Whether `text` has `word` in it, in upper or lower case.
fn contains_word(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

/// Whether a SET may have named a collation beside a character set.
pub(super) fn charset_by_name(text: Option<&[u8]>) -> bool {
    text.is_some_and(|text| {
        text.len() < 4096 && text.windows(7).any(|word| word.eq_ignore_ascii_case(b"collate"))
    })
}
