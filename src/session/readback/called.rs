//! What routines and prepared texts have left, which run statements that the client's text does not show.
//!
//! Owns: tables that they may have created, pins that they may have made, warnings that they may have cleared. Does not know: what a routine
//! does. Invariant: where the server does not tell, the connection stays the session's (`Pins::UNEXPLAINED`).

use tokio::time::timeout;

use super::contains_word;
use crate::backend::connection::Connection;
use crate::backend::exchange::{Answer, ExchangeError};
use crate::execute::relay::End;
use crate::session::Session;
use crate::session::attempt::prelude::{COUNTED, PRELUDE_LIMIT};
use crate::session::pins::Pins;
use crate::session::work::Work;
use crate::sql::{self, Class, Dialect, PreparedText, Recognised, Uses};
use crate::wire::buffer::Buffer;
use crate::wire::capabilities::Capabilities;
use crate::wire::ok::{Change, changes};

/// Changes nothing, and says that it has changed some state.
const TELLS: &[u8] = b"SET SESSION sql_warnings=@@SESSION.sql_warnings";

/// Words of which one is in each packet of several statements that may create tables or set roles.
const CREATING: [&[u8]; 4] = [b"create", b"role", b"call", b"exec"];

/// System variables in prepared texts that are told apart.
const SETTINGS_MAX: usize = 64;

impl Session {
    /// How many tables the connection's session has created by the server's count, after this statement.
    pub(in crate::session) fn count_tables(&self, connection: &mut Connection, end: &End, work: &Work<'_>) {
        let Recognised { class, uses, .. } = work.statement;
        let succeeded = end.error.is_none();
        // Of a stored program it looks as if several statements were in the packet.
        let several = uses.contains(Uses::MULTIPLE)
            && (end.several || class != Class::Ddl)
            && (uses.intersects(Uses::UNKNOWN_FUNCTION | Uses::DOUBT)
                || CREATING.iter().any(|word| contains_word(work.sql(), word)));
        let runs_text = class == Class::TextPrepared && sql::executes_text(work.sql(), &self.lexing);
        if several || runs_text || uses.contains(Uses::ROLE) {
            connection.counted = None;
        } else if uses.contains(Uses::FLUSH_STATUS) && succeeded {
            connection.counted = Some(0);
        } else if class == Class::Ddl {
            let created =
                sql::tables_created(work.sql(), &self.lexing).filter(|count| succeeded || *count == 0);
            connection.counted = connection.counted.zip(created).map(|(had, more)| had + more);
        }
    }

    /// A statement follows a CALL without asking about it: did the procedure create tables, temporary ones perhaps, or set
    /// a role?
    pub(in crate::session) async fn look_after_call(&mut self, held: &mut Connection) {
        self.set_pins(self.pins.difference(Pins::CALLED));
        let mut buffer = self.worker.buffers.take();
        let before = held.counted.take();
        self.last.found_there = false; // the question has rows
        // An error tells nothing of state. MySQL tells it with the next OK packet, which a classic end of rows is not; MariaDB with
        // that of the next statement which changes some.
        let failed = self.last.condition.is_some();
        let teller: Option<&[u8]> = match held.dialect {
            Dialect::MySql => {
                (failed && !held.capabilities.contains(Capabilities::DEPRECATE_EOF)).then_some(b"DO 0")
            }
            Dialect::MariaDb => failed.then_some(TELLS),
        };
        let asked = async {
            self.recount_warnings(held, &mut buffer).await?;
            let mut answer = held.run(COUNTED, &mut buffer).await?;
            if let Some(condition) = &mut self.last.condition {
                condition.at = None; // the question has cleared it
            }
            if let Some(teller) = teller.filter(|_| answer.error.is_none()) {
                answer.changes = held.run(teller, &mut buffer).await?.changes;
            }
            Ok::<_, ExchangeError>(answer)
        };
        let answer = timeout(PRELUDE_LIMIT, asked).await.ok().and_then(Result::ok);
        let answer = answer.filter(|answer| buffer.filled().is_empty() && answer.error.is_none());
        let counted = answer.as_ref().map(Answer::sum);
        held.counted = counted;
        held.broken |= counted.is_none();
        let own = |change: &Change<'_>| {
            matches!(change, Change::Variable { name: b"sql_warnings", .. } | Change::State)
        };
        let by_own = teller == Some(TELLS);
        if let Some(answer) = answer
            && !(answer.changes.is_empty() || by_own && changes(&answer.changes).all(|change| own(&change)))
        {
            let unexplained = self.note_changes(held, &answer.changes, true);
            self.note_switches(held);
            if unexplained {
                self.set_pins(self.pins | Pins::UNEXPLAINED);
            }
        }
        if counted.is_none() || counted != before {
            self.set_pins(self.pins | Pins::UNEXPLAINED);
        }
    }

    /// In front of [`COUNTED`], which clears warnings: whether a routine or a text has used a table, and so has cleared MariaDB's before,
    /// only the server knows.
    pub(in crate::session) async fn recount_warnings(
        &mut self,
        connection: &mut Connection,
        buffer: &mut Buffer,
    ) -> Result<(), ExchangeError> {
        let here = Some((connection.server, connection.id));
        if self.last.warnings == 0 || self.last.place != here || connection.dialect != Dialect::MariaDb {
            return Ok(());
        }
        let left = connection.run(b"SELECT @@warning_count", buffer).await?;
        if left.value() == Some(b"0") {
            (self.last.warnings, self.last.condition, self.last.kept) = (0, None, None);
        }
        Ok(())
    }

    /// What a statement about prepared texts has left, when it may have run one: a server reports little of that, and says
    /// nothing of which text it was.
    pub(in crate::session) fn left_by_texts(&mut self, work: &Work<'_>, succeeded: bool) -> Pins {
        let mut left = Pins::empty();
        match sql::prepared_texts(work.sql(), &self.lexing) {
            Some(texts) => texts.iter().for_each(|text| left |= self.text_leaves(text)),
            None => left = Pins::UNEXPLAINED,
        }
        let left = self.ledger.note_texts(left);
        let multiple = work.statement.uses.contains(Uses::MULTIPLE);
        if !(succeeded || multiple || left.contains(Pins::USER_LOCK))
            || !sql::executes_text(work.sql(), &self.lexing)
        {
            return Pins::empty();
        }
        self.ledger.distrust(left);
        left
    }

    /// What the execution of a text that was prepared may leave on the connection.
    fn text_leaves(&mut self, text: &PreparedText) -> Pins {
        let Some(text) = self.prepared_text(text) else { return Pins::UNEXPLAINED };
        let statement = self.recognise(&text);
        let settings = &mut self.variables.settings_in_texts;
        if statement.class_is_set() {
            settings.extend(sql::unscoped_variables(&text, &self.lexing));
        }
        let too_many = settings.len() > SETTINGS_MAX;
        if too_many {
            settings.clear();
        }
        let mut left = Pins::default().after(statement).difference(Pins::TEXT_PREPARED);
        left.set(
            Pins::UNEXPLAINED,
            too_many
                || statement.uses.contains(Uses::DOUBT)
                || matches!(statement.class, Class::Call | Class::TextPrepared),
        );
        left
    }
}
