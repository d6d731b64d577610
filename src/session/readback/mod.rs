//! What servers do not report by themselves, and is asked for after the statement that may have changed it.
//!
//! Owns: which statements need a question, and what follows from its answer. Does not know: clients' packets.
//! Invariant: a connection of which an answer is missing is broken: nobody knows its state.

pub(super) mod called;
pub(super) mod globals;
pub(super) mod insert_ids;
pub(super) mod sequences;
pub(super) mod variables;

use std::sync::Arc;

use tokio::time::timeout;

use super::Session;
use super::attempt::prelude::PRELUDE_LIMIT;
use super::diagnostics::{Condition, NO_SUCH_CONDITION};
use super::pins::Pins;
use super::work::Work;
use crate::backend::connection::Connection;
use crate::backend::exchange::{Answer, ExchangeError};
use crate::backend::state::{State, is_replayed};
use crate::execute::relay::End;
use crate::sql::{self, Class, Dialect, Recognised, Uses};
use crate::wire::buffer::Buffer;
use crate::wire::ok::{Change, changes};
use crate::wire::track::{CHOICES, Shown};

impl Session {
    /// What the servers do not report: a database with a wide character set (MariaDB), and variables that SET names as `@@name`
    /// (MariaDB).
    pub(super) async fn note_unreported(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        before: Option<&State>,
    ) {
        let Recognised { class, uses, .. } = work.statement;
        if class == Class::Use
            && before.is_some_and(|before| before.schema == self.desired.schema)
            && let Some(schema) = work.database(&self.lexing)
            && schema != self.desired.schema
        {
            if schema.is_ascii() {
                self.enter_schema(connection, schema);
            } else {
                self.read_back_schema(connection).await; // the name is in the client's character set
            }
        }
        let sets = work.statement.class_is_set() || uses.intersects(Uses::MULTIPLE | Uses::TEXT_PREPARED);
        if sets && self.lexing.server.dialect == Dialect::MariaDb {
            let mut names = sql::unscoped_variables(work.sql(), &self.lexing);
            if uses.contains(Uses::TEXT_PREPARED) && sql::executes_text(work.sql(), &self.lexing) {
                names.extend(self.variables.settings_in_texts.iter().cloned());
            }
            if !names.is_empty() {
                self.read_back_variables(connection, names).await;
            }
        }
    }

    /// Whether who logs in after this statement may find other rights, or begin with other values.
    pub(super) fn concerns_logins(&self, work: &Work<'_>) -> bool {
        work.preparing.is_none()
            && (work.statement.class == Class::SetGlobal
                || matches!(work.statement.class, Class::Ddl | Class::Other)
                    && sql::changes_accounts(work.sql(), &self.lexing))
    }

    /// Such a statement has succeeded. Before its client knows, so that who logs in then finds nothing from before.
    pub(super) fn note_for_logins(&mut self, connection: &Connection, work: &Work<'_>) {
        if work.statement.class == Class::SetGlobal {
            self.note_set_global(connection, work);
        }
        self.note_accounts(work);
    }

    /// Notes a statement about accounts: before it is sent, as some of several may succeed, and after it, for what was proven meanwhile.
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
        self.note_switches(connection);
    }

    /// SET STATEMENT … FOR a change (MariaDB) has reported the values that held for that change alone. What the session had stands, and the
    /// report of its return, which would come with the next OK packet, another session's perhaps, is taken out.
    pub(super) async fn take_back_values(
        &mut self,
        connection: &mut Connection,
        before: &State,
        names: &[Vec<u8>],
    ) {
        let mut next = (*self.desired).clone();
        names.iter().for_each(|name| next.put_back(name, before));
        self.adopt(connection, next);
        let mut buffer = self.worker.buffers.take();
        let flushed = timeout(PRELUDE_LIMIT, connection.run(b"DO 0", &mut buffer)).await;
        let is_flushed = matches!(flushed, Ok(Ok(answer)) if answer.error.is_none());
        connection.broken |= !(is_flushed && buffer.filled().is_empty());
        self.status = connection.status; // which tells of sql_mode, too
        self.last.counts_are_ours = true;
    }

    fn enter_schema(&mut self, connection: &mut Connection, schema: Vec<u8>) {
        let mut next = (*self.desired).clone();
        next.schema = schema;
        self.adopt(connection, next);
    }

    /// What the session's variables have its server collect about its statements stays where they ran. On the primary
    /// alone: there everything can run.
    pub(super) fn note_switches(&mut self, connection: &mut Connection) {
        let switched = self.watch(connection);
        let mut pins = self.pins.difference(Pins::SWITCHED);
        if self.topology.snapshot().primary == Some(connection.server) {
            pins |= switched;
        }
        self.set_pins(pins);
    }

    /// What the session has its servers collect; the connection is not for others then.
    pub(super) fn watch(&self, connection: &mut Connection) -> Pins {
        let mut switched = Pins::empty();
        let traced = self.desired.get(b"optimizer_trace").is_some_and(|to| to.starts_with(b"enabled=on"));
        switched.set(Pins::OPTIMIZER_TRACE, traced);
        switched.set(Pins::PROFILING, self.is_on(b"profiling"));
        if !switched.is_empty() {
            connection.watched_by = Some(self.me());
        }
        switched
    }

    /// Reads the default database's name, in UTF-8 as servers report it.
    pub(super) async fn read_back_schema(&mut self, connection: &mut Connection) {
        let mut buffer = self.worker.buffers.take();
        let question = connection.run(b"SELECT CONVERT(DATABASE() USING binary)", &mut buffer);
        match timeout(PRELUDE_LIMIT, question).await {
            Ok(Ok(answer)) if buffer.filled().is_empty() && answer.error.is_none() => {
                let schema = answer.value().unwrap_or_default().to_vec();
                self.enter_schema(connection, schema);
            }
            _ => connection.broken = true, // in a state that nobody knows
        }
    }

    /// Reads variables of which the server has not said what they are now.
    pub(super) async fn read_back_variables(&mut self, connection: &mut Connection, names: Vec<Vec<u8>>) {
        let mut next = (*self.desired).clone();
        let mut buffer = self.worker.buffers.take();
        if report_again(connection, &mut buffer, &names, &mut next).await
            || ask_for(connection, &mut buffer, &names, &mut next).await
        {
            self.adopt(connection, next);
        } else {
            connection.broken = true; // in a state that nobody knows
        }
    }

    /// `SET NAMES … COLLATE …` reports the character sets but not the collation (tried on both dialects).
    pub(super) async fn read_back_collation(&mut self, connection: &mut Connection, reported: &[u8]) {
        let mut buffer = self.worker.buffers.take();
        let question = connection.run(b"SELECT @@collation_connection", &mut buffer);
        let answer = timeout(PRELUDE_LIMIT, question).await.ok().and_then(Result::ok);
        match answer.as_ref().and_then(|answer| answer.value()) {
            Some(collation) if buffer.filled().is_empty() => {
                let mut next = (*self.desired).clone();
                next.set(b"collation_connection", collation);
                let named =
                    |change| matches!(change, Change::Variable { name: b"character_set_results", .. });
                let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                if changes(reported).any(named) && collation.iter().all(plain) {
                    next.results = Some(collation.to_vec()); // SET NAMES, then
                }
                self.desired = Arc::new(next);
                connection.state = Arc::clone(&self.desired);
                self.last.counts_are_ours = true;
            }
            _ => connection.broken = true,
        }
    }

    /// The connection is given up on which SQL_CALC_FOUND_ROWS has counted: a question may come still.
    pub(super) async fn ask_found_rows(&mut self) {
        if !self.last.counted {
            return;
        }
        self.last.counted = false;
        let Some(mut held) = self.held.take_if(|held| self.last.place == Some((held.server, held.id))) else {
            return;
        };
        let mut buffer = self.worker.buffers.take();
        let answer = timeout(PRELUDE_LIMIT, held.run(b"SELECT FOUND_ROWS()", &mut buffer)).await;
        (held.user, self.last.found_there) = (None, false); // it answers otherwise from now on
        match answer.ok().and_then(Result::ok).filter(|_| buffer.filled().is_empty()) {
            Some(answer) => {
                let text = answer.value().and_then(|text| std::str::from_utf8(text).ok());
                self.last.found_rows =
                    text.and_then(|text| text.parse().ok()).unwrap_or(self.last.found_rows);
            }
            None => held.broken = true,
        }
        self.held = Some(held);
    }

    /// Whether GET DIAGNOSTICS has assigned nothing: it succeeds with a warning where there is no such condition. Variables
    /// that another session has left here would be taken for what it assigned. The warning is there to ask about.
    pub(super) async fn has_asked_in_vain(&mut self, connection: &mut Connection, end: &End) -> bool {
        let in_vain = match &self.last.condition {
            // How many an error has left is not known.
            Some(Condition { packet, .. }) if packet.code != NO_SUCH_CONDITION => {
                end.warnings > 0 && self.is_last_in_vain(connection).await
            }
            // Where the statement before has not run there, none were left.
            _ if self.last.place != Some((connection.server, connection.id)) => end.warnings > 0,
            _ => end.warnings > self.left_warnings(),
        };
        if in_vain {
            self.note_addition(connection);
        }
        in_vain
    }

    /// Whether the last warning is that there is no such condition. SHOW WARNINGS leaves them all.
    async fn is_last_in_vain(&self, connection: &mut Connection) -> bool {
        let mut buffer = self.worker.buffers.take();
        let answer = timeout(PRELUDE_LIMIT, connection.run(b"SHOW WARNINGS", &mut buffer)).await;
        match answer {
            Ok(Ok(answer)) if buffer.filled().is_empty() => {
                answer.rows.last().and_then(|row| row.get(1)?.as_deref())
                    == Some(NO_SUCH_CONDITION.to_string().as_bytes())
            }
            _ => {
                connection.broken = true;
                true
            }
        }
    }

    /// The client may have chosen what session tracking shows it: that is kept, and all is tracked again.
    pub(super) async fn take_in_tracking(&mut self, connection: &mut Connection, work: &Work<'_>) {
        let Some(server) = self.worker.pool.server(connection.server) else { return };
        let mut buffer = self.worker.buffers.take();
        let taken_in = async {
            let chosen = connection.chosen(&mut buffer).await?;
            server.track(connection, &mut buffer).await?;
            Ok::<_, ExchangeError>(chosen)
        };
        let Ok(Ok(chosen)) = timeout(PRELUDE_LIMIT, taken_in).await else {
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
/// Has the variables reported, by setting them to what they are, with a scope: in the client's counters, and in the row
/// number of MariaDB's warnings, a SELECT would be seen. False where one of them cannot be set to what it is.
async fn report_again(
    connection: &mut Connection,
    buffer: &mut Buffer,
    names: &[Vec<u8>],
    state: &mut State,
) -> bool {
    let items: Vec<_> = names.iter().map(|name| [name, &b"=@@session."[..], name].concat()).collect();
    let Some(answer) = ask(connection, buffer, b"SET SESSION ", &items).await else { return false };
    let told = |change: &Change<'_>| match change {
        Change::Variable { name, .. } => names.iter().any(|one| one.eq_ignore_ascii_case(name)),
        _ => false,
    };
    if changes(&answer.changes).filter(told).count() < names.len() {
        return false;
    }
    for change in changes(&answer.changes).filter(told) {
        state.observe(change);
    }
    true
}

/// Asks for the variables by a SELECT.
async fn ask_for(
    connection: &mut Connection,
    buffer: &mut Buffer,
    names: &[Vec<u8>],
    state: &mut State,
) -> bool {
    let items: Vec<_> = names.iter().map(|name| [b"@@", &name[..]].concat()).collect();
    let answer = ask(connection, buffer, b"SELECT ", &items).await;
    let row = answer.and_then(|mut answer| answer.rows.pop()).unwrap_or_default();
    for (name, value) in names.iter().zip(&row).filter(|(name, _)| is_replayed(name)) {
        state.set(name, value.as_deref().unwrap_or_default());
    }
    row.len() == names.len()
}

async fn ask(
    connection: &mut Connection,
    buffer: &mut Buffer,
    verb: &[u8],
    items: &[Vec<u8>],
) -> Option<Answer> {
    let question = [verb, &items.join(&b',')[..]].concat();
    let answer = timeout(PRELUDE_LIMIT, connection.run(&question, buffer)).await.ok()?.ok()?;
    (buffer.filled().is_empty() && answer.error.is_none()).then_some(answer)
}

/// Whether a SET may have changed what session tracking reports.
pub(super) fn mentions_tracking(work: &Work<'_>) -> bool {
    let may = work.statement.class == Class::Set || work.statement.uses.contains(Uses::MULTIPLE);
    may && contains_word(work.sql(), b"session_track")
}

/// Whether `text` has `word` in it, in upper or lower case.
pub(in crate::session) fn contains_word(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

/// Whether a SET may have given the connection a collation that is not the character set's own: by name, or by the session's default.
pub(super) fn charset_by_name(text: &[u8], reported: &[u8], state: &State) -> bool {
    let named = |change| matches!(change, Change::Variable { name: b"character_set_connection", .. });
    let by_default = || state.get(b"default_collation_for_utf8mb4").is_some();
    text.len() < 4096 && (contains_word(text, b"collate") || by_default()) && changes(reported).any(named)
}
