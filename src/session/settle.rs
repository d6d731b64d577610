//! After a reply: the server's word on state, and whether the connection is kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::diagnostics::Last;
use super::pins::Pins;
use super::readback::{charset_by_name, mentions_tracking};
use super::resume::course::Course;
use super::work::Work;
use super::{Flow, Session};
use crate::backend::connection::Connection;
use crate::backend::state::{State, is_replayed};
use crate::execute::relay::End;
use crate::sql::{self, Class, Dialect, Effect, Ending, Recognised, Uses};
use crate::wire::ok::{Change, Status, changes};
use crate::wire::reply::Expect;

/// How long a KILL of a statement that has ended may still take; more than the time for a KILL on a server.
const SPARED_LIMIT: Duration = Duration::from_secs(6);

impl Session {
    /// Takes in how the statement ended, passes an unsent error on, and keeps or gives back the connection.
    pub(super) async fn settle(
        &mut self,
        mut connection: Box<Connection>,
        mut end: End,
        work: &Work<'_>,
        doomed: bool,
    ) -> Flow {
        // SET autocommit=1 ends a transaction and leaves its mode to the next one (tried on both dialects).
        let mode_stays = self.status.contains(Status::IN_TRANSACTION_READONLY)
            && work.statement.class == Class::Set
            && !end.status.contains(Status::IN_TRANSACTION);
        self.status = end.status;
        let untold = end.error.is_some() || self.status_unsure && work.preparing.is_some(); // its answer need not tell
        self.status_unsure = untold && end.status.contains(Status::IN_TRANSACTION);
        connection.warned |= end.warnings > 0 || end.error.is_some();
        if let Some((source, id)) = &work.preparing {
            self.prepared(&mut connection, &end, source, *id);
            if end.error.is_some() {
                // It may be asked about as any statement's.
                self.set_pins(self.pins | Pins::DIAGNOSTICS);
                self.note_error(&connection, &mut end);
            } else {
                let here = (connection.server, connection.id);
                self.note_prepared(&source.text, here, end.warnings);
                if self.last.warnings > 0 && self.last.place == Some(here) {
                    self.set_pins(self.pins | Pins::DIAGNOSTICS);
                }
            }
        } else {
            self.note_freshness(connection.server, work, &end);
            self.note_effects(&mut connection, &mut end, work).await;
        }
        if mode_stays {
            self.set_pins(self.pins | Pins::NEXT_TRANSACTION);
        }
        let unsent = end.error.as_mut().and_then(|error| error.unsent.take());
        if doomed {
            self.outlive_kill(&mut connection).await;
        }
        let released = end.error.is_none() && self.is_released(work);
        connection.broken |= released; // the server has closed it
        if !released && self.held.is_none() && !self.pins.intersects(Pins::PASSING) {
            self.read_variables(&mut connection).await;
            if connection.may_lock {
                self.look_for_locks_of_routines(&mut connection).await;
            }
        }
        let kept = self.keep_or_release(connection);
        let flow = match unsent {
            Some(packet) => {
                self.worker.counters.errors.count(super::ProblemKind::Backend as usize);
                self.tell(&packet).await
            }
            None => Flow::Continue,
        };
        if released {
            self.end_told().await;
            return Flow::Close;
        }
        if kept == Flow::Close { kept } else { flow }
    }

    /// Whether the end of a transaction, which has succeeded, is that of its session (RELEASE).
    fn is_released(&self, work: &Work<'_>) -> bool {
        if work.statement.class != Class::EndOrSavepoint || work.preparing.is_some() {
            return false;
        }
        let by_itself = match self.desired.get(b"completion_type") {
            Some(value) => value == b"RELEASE",
            // By the servers' own setting: it leads on, and not to another transaction.
            None => !self.status.contains(Status::IN_TRANSACTION) && self.end_leads_on(),
        };
        let may = by_itself || work.statement.uses.contains(Uses::CHAIN_OR_RELEASE);
        may && sql::releases(work.sql(), &self.lexing, by_itself)
    }

    /// Somebody is killing the thread of this connection: waits until that is over, so that not the state on it is lost
    /// with the statement. Where no state is on it, it is reset before another client gets it: the KILL may have come
    /// late, and would end that client's statement. Closing instead would let clients burn connections by KILL.
    pub(super) async fn outlive_kill(&mut self, connection: &mut Connection) {
        let needed = connection.status.contains(Status::IN_TRANSACTION)
            || !self.pins.difference(Pins::PASSING).is_empty();
        let spared = timeout(SPARED_LIMIT, self.entry.handle.spared()).await.is_ok();
        connection.broken |= !spared;
        connection.dirty |= !needed;
    }

    fn is_bound(&self, connection: &Connection) -> bool {
        connection.status.intersects(Status::IN_TRANSACTION | Status::MORE_RESULTS) || !self.pins.is_empty()
    }

    async fn note_effects(&mut self, connection: &mut Box<Connection>, end: &mut End, work: &Work<'_>) {
        let statement = work.statement;
        let succeeded = end.error.is_none();
        let mut pins = self.pins;
        let before = (statement.class == Class::Use).then(|| Arc::clone(&self.desired));
        let about_tracking = mentions_tracking(work);
        let was_dirty = connection.dirty;
        let of_it_alone = self.set_for_it_alone(work, end);
        let mut unexplained =
            !end.changes.is_empty() && self.note_changes(connection, &end.changes, runs_a_routine(statement));
        unexplained &= !about_tracking;
        self.note_texts_there(connection, work, succeeded);
        if statement.uses.contains(Uses::TEXT_PREPARED) {
            pins |= self.left_by_texts(work, succeeded);
        }
        if succeeded {
            pins = self.enter(pins.after(statement), work);
        } else if statement.uses.contains(Uses::MULTIPLE) {
            // Those before the one that failed have run.
            pins = pins.after(statement);
            self.ledger.distrust(Pins::default().after(statement));
        } else if statement.uses.contains(Uses::USER_LOCK) {
            pins = self.enter(pins.after(statement), work); // taken perhaps before it failed: the server will be asked
        }
        if unexplained && !Pins::explains(statement) {
            pins |= Pins::UNEXPLAINED;
        }
        let prepares_only =
            statement.class == Class::TextPrepared && !sql::executes_text(work.sql(), &self.lexing);
        if runs_a_routine(statement) && !prepares_only {
            self.note_routine(connection);
        }
        if statement.class == Class::Call && !pins.contains(Pins::UNEXPLAINED) {
            pins |= Pins::CALLED; // asking now would take the answer from SHOW WARNINGS and ROW_COUNT()
        }
        if statement.uses.intersects(Uses::SEQUENCE | Uses::SEQUENCE_LAST) {
            pins = self.note_sequences(connection, statement, pins);
        }
        self.count_tables(connection, end, work);
        if pins.contains(Pins::NEXT_TRANSACTION)
            && !statement.uses.contains(Uses::NEXT_TRANSACTION)
            && !end.status.contains(Status::IN_TRANSACTION)
            && (succeeded && self.was_a_transaction(work))
        {
            pins.remove(Pins::NEXT_TRANSACTION); // its transaction has been
            // Most likely: what a view reads, or tables without transactions, the text does not tell.
            if statement.class != Class::EndOrSavepoint {
                connection.dirty = true;
            }
        }
        if pins.contains(Pins::SAVEPOINT)
            || statement.uses.contains(Uses::MULTIPLE)
            || statement.class == Class::EndOrSavepoint && succeeded
        {
            pins = self.keep_first_savepoint(pins, end, work);
        }
        if let Some(execution) = &work.execution {
            if !succeeded {
                // It may have failed before the server took the types.
                connection.statements.forget_types(execution.source);
            }
            pins = self.statements.after(execution, end, connection.dialect, pins);
        }
        let asks_before = statement.class == Class::Diagnostics || statement.uses.contains(Uses::DIAGNOSTICS);
        if asks_before && end.warnings > 0 {
            pins |= Pins::DIAGNOSTICS; // a GET DIAGNOSTICS that fails adds to what it asks about
        }
        if asks_before && succeeded {
            self.note_question((connection.server, connection.id), work, end);
        } else if !asks_before {
            let left = if self.leaves_warnings(work) && end.warnings == 0 { self.last.warnings } else { 0 };
            let asked_about = end.warnings > 0
                || left > 0
                || work.expect == Expect::Fields // MySQL warns that it is deprecated, and does not count that
                || statement.uses.contains(Uses::CALC_FOUND_ROWS);
            pins.set(Pins::DIAGNOSTICS, asked_about);
            let here = Some((connection.server, connection.id));
            let counts = work.expect != Expect::Text; // COM_STATISTICS leaves them, and its connection may have another's
            self.last = Last {
                place: here,
                found_there: end.rows.is_some() || self.last.found_there && self.last.place == here,
                row_count: match end.rows {
                    _ if !counts => self.last.row_count,
                    Some(_) => -1,
                    None => i128::from(end.affected_rows),
                },
                found_rows: if succeeded && counts {
                    self.found_rows(work, end)
                } else {
                    self.last.found_rows
                },
                warnings: end.warnings.max(left),
                condition: self.last.condition.take().filter(|_| left > 0),
                kept: self.last.kept.take().filter(|_| left > 0),
                counts_are_ours: !counts,
                counted: statement.uses.contains(Uses::CALC_FOUND_ROWS),
                found_rows_unknown: match end.rows {
                    // Of a cursor's rows the server has sent none, or some.
                    Some(_) => {
                        statement.uses.contains(Uses::OFFSET) || end.status.contains(Status::CURSOR_EXISTS)
                    }
                    None => self.last.found_rows_unknown,
                },
            };
        }
        if !succeeded {
            pins |= Pins::DIAGNOSTICS;
            self.note_error(connection, end);
        }
        if !Arc::ptr_eq(&connection.state, &self.desired) {
            connection.state = Arc::clone(&self.desired);
        }
        self.set_pins(pins);
        if !end.changes.is_empty() {
            self.note_switches(connection);
        }
        // Of a command, MySQL's next answer would count what SHOW WARNINGS leaves.
        let gets = statement.class == Class::Diagnostics && end.rows.is_none() && !work.sql().is_empty();
        let vain = gets && succeeded && self.has_asked_in_vain(connection, end).await;
        self.note_variables(connection, work, succeeded && !vain).await;
        if gets && succeeded {
            self.note_row_count((connection.server, connection.id), work);
        }
        self.note_insert_id(connection, end, statement).await;
        if let Some((before, names)) = of_it_alone {
            // Of several statements the last ones may have set them for good.
            match statement.uses.contains(Uses::MULTIPLE) {
                true => self.read_back_variables(connection, names).await,
                false => self.take_back_values(connection, &before, &names).await,
            }
        }
        if about_tracking {
            self.take_in_tracking(connection, work).await;
            connection.dirty = was_dirty;
        }
        if succeeded {
            self.note_unreported(connection, work, before.as_deref()).await;
        }
        if succeeded && !end.changes.is_empty() && charset_by_name(work.sql(), &end.changes, &self.desired) {
            self.read_back_collation(connection, &end.changes).await;
        }
    }

    /// The session's state before a change that MariaDB's SET STATEMENT gave values to, and their names.
    fn set_for_it_alone(&self, work: &Work<'_>, end: &End) -> Option<(Arc<State>, Vec<Vec<u8>>)> {
        let may = self.lexing.server.dialect == Dialect::MariaDb
            && end.rows.is_none()
            && (end.error.is_some() || !end.changes.is_empty())
            && !work.statement.class_is_set()
            && (work.statement.uses.contains(Uses::MULTIPLE)
                || sql::first_word(work.sql(), &self.lexing).eq_ignore_ascii_case(b"set"));
        let names = if may { sql::set_for_statement(work.sql(), &self.lexing) } else { Vec::new() };
        (!names.is_empty()).then(|| (Arc::clone(&self.desired), names))
    }

    /// Enters what a statement has made or ended on its connection; gives the reasons that stand on.
    fn enter(&mut self, mut pins: Pins, work: &Work<'_>) -> Pins {
        const NAMED: Uses = crate::plan::MAKES_PIN
            .difference(Uses::USER_VARIABLE_WRITE.union(Uses::NEXT_TRANSACTION))
            .union(Uses::UNLOCK_TABLES);
        let Recognised { class, uses, .. } = work.statement;
        let ends = !pins.is_empty() && matches!(class, Class::Ddl | Class::Begin(_));
        if !uses.intersects(NAMED) && !ends {
            return pins;
        }
        let mut effects = sql::effects(work.sql(), &self.lexing);
        self.name_locks(&mut effects, work);
        if let [Effect::Role(role)] = &effects[..] {
            let mut next = (*self.desired).clone();
            next.role = Some(role.clone());
            self.desired = Arc::new(next);
            pins.remove(Pins::ROLE);
        }
        self.ledger.after(effects, Pins::default().after(work.statement), pins, &self.desired.schema)
    }

    /// Takes in the reported changes; true when the server speaks of state without saying which. What a routine does
    /// is one report: a variable that it names may stand beside a temporary table that it does not.
    pub(super) fn note_changes(
        &mut self,
        connection: &mut Connection,
        reported: &[u8],
        routine: bool,
    ) -> bool {
        let mut named = false;
        let mut some_state = false;
        let mut tracking_touched = false;
        let mut next: Option<State> = None;
        for change in changes(reported) {
            match change {
                Change::State => some_state = true,
                Change::Variable { name, .. } if name.starts_with(b"session_track") && !is_replayed(name) => {
                    tracking_touched = true
                }
                // MariaDB's word of the transaction explains nothing: a trigger may have set a variable.
                Change::Variable { name: b"last_gtid", .. } => {}
                Change::Variable { .. } | Change::Schema(_) => named = true,
                _ => {}
            }
        }
        if some_state || named {
            for change in changes(reported) {
                // Variables that change by themselves (last_gtid) come without the word that state changed.
                if some_state || matches!(change, Change::Schema(_)) {
                    next.get_or_insert_with(|| (*self.desired).clone()).observe(change);
                }
            }
        }
        if let Some(next) = next.filter(|next| *next != *self.desired) {
            self.desired = Arc::new(next);
            self.relex();
        }
        connection.state = Arc::clone(&self.desired);
        if tracking_touched {
            // What we would not be told any more we could not replay: the connection is not shared again.
            connection.dirty = true;
        }
        some_state && (routine || !named) && !tracking_touched
    }

    /// Whether a statement that has left no transaction open has surely been one: then SET TRANSACTION is used up.
    fn was_a_transaction(&self, work: &Work<'_>) -> bool {
        let Recognised { class, uses, .. } = work.statement;
        match class {
            Class::Write | Class::LockingRead | Class::Ddl => true,
            Class::EndOrSavepoint => {
                !uses.contains(Uses::CHAIN_OR_RELEASE)
                    && sql::ending(work.sql(), &self.lexing) != Ending::Savepoint
            }
            // A server begins none for a statement without tables, as one of a WITH may be, nor for one about its own schemas.
            Class::Read => {
                !uses.contains(Uses::SYSTEM_SCHEMA)
                    && !sql::first_word(work.sql(), &self.lexing).eq_ignore_ascii_case(b"with")
                    && !sql::Outline::of(work.sql(), &self.lexing).tables.is_empty()
            }
            _ => false,
        }
    }

    /// Keeps the connection while something of the session is on it, else gives it back. A session whose state is lost
    /// must end: what its client sends next is meant for that state.
    #[must_use]
    pub(super) fn keep_or_release(&mut self, connection: Box<Connection>) -> Flow {
        let bound = self.is_bound(&connection);
        if self.held.is_some() {
            // A plain read beside a soft pin: the pinned connection is the one that stays.
            self.status = self.held.as_ref().map_or(self.status, |held| held.status);
            self.release(connection, false);
        } else if bound && !connection.broken {
            self.held = Some(connection);
        } else if bound {
            let passing = !connection.status.contains(Status::IN_TRANSACTION)
                && self.pins.difference(Pins::PASSING).is_empty();
            self.lose(connection);
            return if passing { Flow::Continue } else { Flow::Close };
        } else {
            self.release(connection, false);
        }
        Flow::Continue
    }

    /// Puts the connection where `obtain` finds it again.
    pub(super) fn hold(&mut self, connection: Box<Connection>) {
        self.held = Some(connection);
    }

    /// Gives a connection back to the pool. `leaving`: the session's state on it is of no use any more.
    pub(super) fn release(&mut self, mut connection: Box<Connection>, leaving: bool) {
        self.unburden(&mut connection, leaving);
        self.worker.pool.check_in(connection);
    }

    /// Notes on a connection what the pool must know of it.
    pub(super) fn unburden(&self, connection: &mut Connection, leaving: bool) {
        if leaving && !self.pins.difference(Pins::HARMLESS).is_empty() {
            connection.dirty = true;
            connection.broken |= self.pins.contains(Pins::EXPIRED_PASSWORD);
            // A reset behind XA PREPARE leaves MariaDB's connection with half a transaction (tried on 10.11), for whoever gets it next.
            connection.broken |= self.pins.contains(Pins::XA) && connection.dialect == Dialect::MariaDb;
            connection.worn_out |= self.pins.intersects(Pins::LASTING);
        }
        connection.dirty |= leaving && self.is_of_own_routine(connection); // a lock, say, for which others wait
        connection.broken |= leaving && connection.watched_by.is_some();
        connection.dirty |= connection.variables.is_crowded();
    }

    /// The connection is gone, and what was on it.
    pub(super) fn lose(&mut self, mut connection: Box<Connection>) {
        connection.broken = true;
        self.worker.pool.check_in(connection);
        if self.held.is_none() {
            self.set_pins(Pins::default());
            self.ledger.clear();
            self.statements.lose();
            self.status.remove(Status::IN_TRANSACTION | Status::IN_TRANSACTION_READONLY);
            self.course = Course::Untold;
            self.client.told.lose();
        }
    }
}

/// Whether statements may have run that the text does not show.
pub(super) fn runs_a_routine(statement: Recognised) -> bool {
    matches!(statement.class, Class::Call | Class::TextPrepared)
        || statement.uses.contains(Uses::UNKNOWN_FUNCTION)
}
