//! What goes to a server before a statement: the session's state, what another session left there, debts.
//!
//! Owns: the steps that bring a connection to where the statement may run, and their replies. Does not know: routes, clients.
//! Invariant: after it, the connection's state is the session's, and nothing of another session's can be asked about.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::failure::Failure;
use crate::backend::connection::Connection;
use crate::backend::exchange;
use crate::backend::insert_id::{InsertId, TAKE};
use crate::backend::state::Difference;
use crate::plan::{Reason, Route, Target};
use crate::session::lease::ABOUT_BEFORE;
use crate::session::pins::Pins;
use crate::session::readback::globals::values;
use crate::session::settle::runs_a_routine;
use crate::session::work::Work;
use crate::session::{Problem, Session};
use crate::sql::{Class, Dialect, Recognised, Uses};
use crate::wire::buffer::Buffer;
use crate::wire::command;
use crate::wire::err::ErrPacket;
use crate::wire::frame::put_packet;
use crate::wire::ok::Status;
use crate::wire::reply::Expect;

/// Time for each of the replies to what goes before a statement; all are quick on a server that lives.
pub(in crate::session) const PRELUDE_LIMIT: Duration = Duration::from_secs(10);

/// How long a session does without a database that was not there.
const MISSED: Duration = Duration::from_millis(500);
/// ER_UNKNOWN_SYSTEM_VARIABLE.
const UNKNOWN_VARIABLE: u16 = 1193;
/// ER_QUERY_TIMEOUT: the client's `max_execution_time`.
const TIMED_OUT: u16 = 3024;

/// How many tables the session has created, and how often it has set its role. Within a procedure session tracking reports
/// neither CREATE TEMPORARY TABLE … AS SELECT (tried on both dialects) nor SET ROLE (MySQL), but they are counted.
pub(in crate::session) const COUNTED: &[u8] = b"SHOW SESSION STATUS WHERE Variable_name IN \
    ('Com_create_table', 'Com_create_temporary_table', 'Com_set_role')";

/// A reply that must be consumed before the statement's own.
pub(in crate::session) enum Step {
    /// OK or an error.
    Simple,
    /// The same, or rows that nobody wants, which FOUND_ROWS() would count there.
    Rows,
    /// The LAST_INSERT_ID() of another session.
    ReadBack(Arc<InsertId>),
    /// [`COUNTED`].
    Counted,
    /// Global variables, before they are changed.
    Globals,
    /// The wait for what the session has written.
    Position,
    /// An error on purpose, or a warning.
    Signal,
    /// From here on the session reads only; see `guard`.
    Guard,
    /// Where it fails, the session reads only still.
    Guarded,
}

impl Step {
    /// Whether a write that is on its way already does no harm where this fails.
    pub fn is_harmless(&self) -> bool {
        // To read another session's insert id back changes nothing for this one, however it ends.
        matches!(self, Self::ReadBack(_) | Self::Guard | Self::Guarded)
    }

    /// Whether it leaves another FOUND_ROWS(), which a statement that fails leaves as it is.
    fn counts_rows(&self) -> bool {
        matches!(
            self,
            Self::Rows | Self::ReadBack(_) | Self::Counted | Self::Globals | Self::Position | Self::Signal
        )
    }
}

impl Session {
    /// Collects what a connection needs before the statement may run on it.
    pub(in crate::session) async fn catch_up(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        before: &mut Vec<u8>,
        steps: &mut Vec<Step>,
        buffer: &mut Buffer,
    ) -> Result<(), Failure> {
        let me = Some(self.me());
        let here = (connection.server, connection.id);
        if work.statement.may_use_insert_id() {
            self.call_in_insert_id(Some(here)).await;
        }
        let of_other = connection.routine_of.is_some() && connection.routine_of != me;
        if of_other || self.must_forget_sequences(connection, work.statement) {
            let server = self.worker.pool.server(connection.server);
            let server = server.ok_or(Failure::Unsent(std::io::ErrorKind::NotFound.into()))?;
            let clear = async {
                connection.pay_debt(buffer).await?;
                connection.reset(&server, buffer).await
            };
            let cleared = timeout(PRELUDE_LIMIT, clear).await;
            cleared.map_err(|_| Failure::Unsent(std::io::ErrorKind::TimedOut.into()))??;
        }
        self.outlast_globals_on(connection);
        let wait = || self.topology.snapshot().cluster.reads.wait.as_secs_f64();
        if let Some(sql) = self.freshness.take_wait(connection.server, self.lexing.server.dialect, wait) {
            command::put_query(before, &sql, connection.capabilities);
            steps.push(Step::Position);
        }
        let fresh = !Arc::ptr_eq(&connection.state, &self.desired) && connection.state != self.desired;
        let mut difference = Difference::default();
        if fresh {
            let parted = timeout(PRELUDE_LIMIT, self.part_from(connection, buffer)).await;
            difference = parted.map_err(|_| Failure::Unsent(std::io::ErrorKind::TimedOut.into()))??;
        }
        let mut variables = Vec::new();
        self.bring_variables(connection, work, &mut variables);
        if self.may_guard(connection, work, &difference, &variables) {
            self.put_guarded(connection, &difference, &variables, before, steps);
            variables.clear();
        } else {
            put_difference(connection, &difference, before, steps);
        }
        if !Arc::ptr_eq(&connection.state, &self.desired) {
            connection.state = Arc::clone(&self.desired);
        }
        if fresh {
            self.watch(connection);
        }
        if let Some(debt) = connection.debt.take_if(|debt| self.must_take(debt, here, work.statement)) {
            command::put_query(before, TAKE, connection.capabilities);
            steps.push(Step::ReadBack(debt));
        }
        if connection.statements.has_closing() {
            for id in connection.statements.take_closing() {
                let [a, b, c, d] = id.to_le_bytes();
                put_packet(before, 0, &[command::STMT_CLOSE, a, b, c, d]);
            }
        }
        if !variables.is_empty() {
            command::put_query(before, &variables, connection.capabilities);
            steps.push(Step::Simple);
        }
        if work.statement.class == Class::Call && connection.counted.is_none() {
            if before.is_empty() {
                let recounted = timeout(PRELUDE_LIMIT, self.recount_warnings(connection, buffer)).await;
                recounted.map_err(|_| Failure::Unsent(std::io::ErrorKind::TimedOut.into()))??;
            }
            command::put_query(before, COUNTED, connection.capabilities);
            steps.push(Step::Counted);
            if let Some(condition) = &mut self.last.condition {
                condition.at = None; // MariaDB's routines may leave it, and this question has cleared it
            }
        }
        let uses = work.statement.uses;
        if work.statement.may_use_insert_id()
            && let Some(value) = self.insert_id_to_bring(uses)
        {
            let counts = uses.contains(Uses::ROW_COUNT) && self.last.row_count < 0;
            let sql = if counts {
                format!("SELECT LAST_INSERT_ID({value})") // leaves a row count of -1, as SET does not
            } else {
                format!("SET SESSION last_insert_id={value}")
            };
            command::put_query(before, sql.as_bytes(), connection.capabilities);
            steps.push(Step::Rows);
        }
        let another = connection.user != me;
        let elsewhere = another || self.last.is_elsewhere((connection.server, connection.id), uses);
        connection.user = me;
        // MariaDB's statements without tables leave the warnings as they are, for whoever asks later.
        let outlasts = connection.warned && self.lexing.server.dialect == Dialect::MariaDb;
        // This session's own, of a statement before the last; COM_INIT_DB clears none, as other statements do.
        let init_db = work.statement.class == Class::Use && work.text.is_none();
        // MySQL warns of some character sets that are replayed.
        let stale = self.last.warnings == 0
            && (outlasts && uses.contains(Uses::DIAGNOSTICS) || (connection.warned || fresh) && init_db);
        // Whether an error outlasts a routine, or a text that is prepared, the server finds out.
        let carries = (runs_a_routine(work.statement) || work.preparing.is_some())
            && (another || self.last.is_elsewhere((connection.server, connection.id), Uses::DIAGNOSTICS))
            && self.leaves_warnings(work);
        if uses.intersects(ABOUT_BEFORE) && elsewhere || another && outlasts || stale || carries {
            // What another session's statement left there is not for this client.
            if (uses.contains(Uses::DIAGNOSTICS) || carries) && self.put_condition(connection, before) {
                connection.warned = true;
                steps.push(Step::Signal);
                if let Some(counts) = self.recounting() {
                    command::put_query(before, counts, connection.capabilities);
                    steps.push(Step::Rows);
                }
            } else {
                for clears in self.clearing() {
                    command::put_query(before, clears, connection.capabilities);
                    steps.push(Step::Rows);
                }
                connection.warned = false;
                self.last.counts_are_ours |= self.last.row_count > 0;
                if let Some(condition) = &mut self.last.condition {
                    condition.at = None;
                }
            }
        }
        self.globals_before.clear();
        if let Some(question) = self.question_of_globals(work) {
            command::put_query(before, &question, connection.capabilities);
            steps.push(Step::Globals);
        }
        self.last.found_there &= !steps.iter().any(Step::counts_rows);
        Ok(())
    }

    /// What the connection's state lacks of the desired one; after a reset where it takes one.
    async fn part_from(
        &mut self,
        connection: &mut Connection,
        buffer: &mut Buffer,
    ) -> Result<Difference, Failure> {
        let handshake = connection.handshake();
        let impossible = || Failure::Unsent(std::io::ErrorKind::Unsupported.into());
        let difference = connection.state.difference(&self.desired, &handshake).ok_or_else(impossible)?;
        if !difference.reset {
            return Ok(difference);
        }
        let server = self.worker.pool.server(connection.server).ok_or_else(impossible)?;
        connection.pay_debt(buffer).await?; // what a session left there goes with the reset
        if self.desired.base == crate::backend::state::Base::Handshake {
            connection.reset(&server, buffer).await?;
        } else {
            connection.reset_as_client(&server, buffer).await?;
        }
        connection.state.difference(&self.desired, &handshake).ok_or_else(impossible)
    }

    /// Consumes the replies to what went before.
    pub(in crate::session) async fn consume(
        &mut self,
        connection: &mut Connection,
        steps: &mut Vec<Step>,
        buffer: &mut Buffer,
    ) -> Result<(), Failure> {
        for step in steps.drain(..) {
            let answer = timeout(PRELUDE_LIMIT, exchange::receive(connection, buffer, Expect::Results)).await;
            let answer = answer.map_err(|_| Failure::Unsent(std::io::ErrorKind::TimedOut.into()))??;
            self.client.told.miss(&answer.changes);
            let timed_out = answer.error.as_ref().is_some_and(|error| error.code == TIMED_OUT);
            if matches!(step, Step::Position)
                && (timed_out || answer.error.is_none() && answer.value() != Some(b"0"))
            {
                return Err(Failure::Behind);
            }
            if matches!(step, Step::Guard) && answer.error.is_some() {
                return Err(Failure::Unsent(std::io::ErrorKind::InvalidData.into())); // what follows may have been done
            }
            let answer = if matches!(step, Step::Signal | Step::ReadBack(_) | Step::Globals) {
                answer
            } else {
                answer.into_ok()?
            };
            match step {
                Step::Simple | Step::Rows | Step::Signal | Step::Guard | Step::Guarded => {}
                Step::Position => self.freshness.has_waited(connection.server),
                Step::Globals => self.globals_before = values(answer),
                Step::Counted => connection.counted = Some(answer.sum()),
                Step::ReadBack(debt) => debt.settle(connection.server, connection.id, answer.number()),
            }
        }
        Ok(())
    }

    /// Whether a server refused the replayed state for a variable that it does not have any more, of a plugin that was
    /// taken away; the session does without it then.
    pub(in crate::session) fn forget_variable(&mut self, error: &ErrPacket) -> bool {
        let name = error.message.split(|byte| *byte == b'\'').nth(1).unwrap_or_default();
        let mut next = (*self.desired).clone();
        let forgotten = error.code == UNKNOWN_VARIABLE && next.forget(name);
        if forgotten {
            tracing::info!(variable = %name.escape_ascii(), "a variable that a client has set is gone from the server");
            self.desired = Arc::new(next);
        }
        forgotten
    }

    /// The session's database is not there, dropped by somebody else or not made yet: it has none for some statements. False where it had
    /// none.
    pub(in crate::session) fn lack_database(&mut self) -> bool {
        if self.desired.schema.is_empty() || self.is_away() {
            return false;
        }
        self.missed_database = Some((self.desired.schema.clone(), Instant::now()));
        self.set_database(Vec::new());
        true
    }

    /// The session asks for such a database again after a while, where no state would be lost with a connection that cannot have it.
    pub(in crate::session) fn try_database_again(&mut self, statement: Recognised) {
        let Some((_, since)) = &self.missed_database else { return };
        let free = self.held.is_none()
            || self.pins.difference(Pins::PASSING).is_empty()
                && !self.status.contains(Status::IN_TRANSACTION)
                && !statement.uses.intersects(ABOUT_BEFORE);
        if free && since.elapsed() >= MISSED {
            self.recall_database();
        }
    }

    /// Such a database is the session's again, unless it has another by now.
    pub(in crate::session) fn recall_database(&mut self) {
        let Some((name, _)) = self.missed_database.take() else { return };
        if self.desired.schema.is_empty() {
            self.set_database(name);
        }
    }

    fn set_database(&mut self, name: Vec<u8>) {
        let mut next = (*self.desired).clone();
        next.schema = name;
        self.desired = Arc::new(next);
        self.relex();
    }

    /// The database and the settings of this session exist for its account: asked of a server, without a statement.
    /// `named`: a database whose name is known in the client's own character set only; it becomes the session's.
    pub(in crate::session) async fn check_state(&mut self, named: Option<&[u8]>) -> Result<(), Problem> {
        let mut route = Route { target: Target::Any, reason: Reason::SessionState };
        let mut connection = self.ready(&mut route, named).await?;
        if named.is_some() {
            self.read_back_schema(&mut connection).await;
        }
        let _ = self.keep_or_release(connection); // a session that begins has no state to lose
        Ok(())
    }

    /// A connection in this session's state, with the database `named` after it.
    pub(in crate::session) async fn ready(
        &mut self,
        route: &mut Route,
        named: Option<&[u8]>,
    ) -> Result<Box<Connection>, Problem> {
        let idle = Recognised::plain(Class::Set, Uses::empty());
        let mut connection = self.obtain(route, idle, &mut Vec::new()).await?;
        let mut buffer = self.worker.buffers.take();
        let (mut before, mut steps) = (Vec::new(), Vec::new());
        let work = Work::command(&[], Expect::Simple, idle);
        let result = async {
            self.catch_up(&mut connection, &work, &mut before, &mut steps, &mut buffer).await?;
            if let Some(name) = named {
                put_init_db(&mut before, name);
                steps.push(Step::Simple);
            }
            connection.stream.write_all(&before).await.map_err(Failure::Unsent)?;
            self.consume(&mut connection, &mut steps, &mut buffer).await
        };
        match result.await {
            Ok(()) => Ok(connection),
            Err(failure) => {
                self.lose(connection);
                Err(match failure {
                    Failure::Prelude(error) => Problem::Server(error),
                    _ => Problem::Connect("lost during the login".into()),
                })
            }
        }
    }
}

/// Appends what brings a connection from one state to another.
fn put_difference(
    connection: &mut Connection,
    difference: &Difference,
    before: &mut Vec<u8>,
    steps: &mut Vec<Step>,
) {
    if difference.schema_in_utf8 {
        command::put_query(before, b"SET character_set_client=utf8mb4", connection.capabilities);
        steps.push(Step::Simple);
    }
    if let Some(schema) = &difference.schema {
        put_init_db(before, schema);
        steps.push(Step::Simple);
    }
    if difference.role.is_some() {
        connection.counted = None;
    }
    for statement in [&difference.role, &difference.set].into_iter().flatten() {
        command::put_query(before, statement, connection.capabilities);
        steps.push(Step::Simple);
    }
}

pub(in crate::session) fn put_init_db(out: &mut Vec<u8>, schema: &[u8]) {
    put_packet(out, 0, &[&[command::INIT_DB], schema].concat());
}
