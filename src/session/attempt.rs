//! One statement on one connection: what must be sent before it, the statement, the relay of its reply.

use std::sync::Arc;
use std::time::Instant;

use super::execution::Execution;
use super::guard::pipelines;
use super::observed::Tally;
use super::pins::Pins;
use super::prelude::Step;
use super::readonly::commits;
use super::reply::Rows;
use super::resume::Resumed;
use super::texts::About;
use super::{Flow, Problem, Session};
use crate::backend::connection::Connection;
use crate::backend::exchange::ExchangeError;
use crate::backend::statements::Source;
use crate::execute::client::{Kept, Signals};
use crate::execute::relay::{End, Refusal, RelayError, relay};
use crate::ids::ServerId;
use crate::plan::{Reason, Route, Target};
use crate::sql::{self, Class, Lexing, Recognised, Uses};
use crate::wire::buffer::Buffer;
use crate::wire::command;
use crate::wire::err::ErrPacket;
use crate::wire::frame::HEADER;
use crate::wire::ok::Status;
use crate::wire::reply::{Expect, Scanner};

/// ER_OPTION_PREVENTS_STATEMENT, ER_READ_ONLY_MODE, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION's neighbours: the server
/// is read only.
pub(super) const READ_ONLY: [u16; 2] = [1290, 1836];
/// ER_SERVER_SHUTDOWN: the statement was ended by the server's own end, not by KILL QUERY (1317).
const SHUTDOWN: u16 = 1053;
/// ER_UNKNOWN_COM_ERROR.
const UNKNOWN_COMMAND: u16 = 1047;
/// ER_BAD_DB_ERROR.
const UNKNOWN_DATABASE: u16 = 1049;
/// ER_UNKNOWN_STMT_HANDLER, ER_NEED_REPREPARE.
const STALE_STATEMENT: [u16; 2] = [1243, 1615];

/// Connections that may fail under one statement before the client is told.
const FAILURES_MAX: u32 = 8;

/// Something to be done on a server for the client.
pub(super) struct Work<'a> {
    /// The client's packets, as they are to be sent.
    pub packets: &'a [u8],
    /// What kind of reply comes.
    pub expect: Expect,
    /// What the statement is.
    pub statement: Recognised,
    /// Its text, where it came as such.
    pub text: Option<&'a [u8]>,
    /// For COM_STMT_PREPARE: the source, and the id that the client will know.
    pub preparing: Option<(Arc<Source>, u32)>,
    /// For COM_STMT_EXECUTE and its kin.
    pub execution: Option<Execution<'a>>,
    /// For text PREPARE, EXECUTE, DEALLOCATE of what need not stay on its connection.
    pub about: Option<About>,
}

impl<'a> Work<'a> {
    /// A command that is not a statement's text.
    pub fn command(packets: &'a [u8], expect: Expect, statement: Recognised) -> Self {
        Self { packets, expect, statement, text: None, preparing: None, execution: None, about: None }
    }

    /// The statement's text, of an EXECUTE that which it executes; empty for commands without one.
    pub fn sql(&self) -> &[u8] {
        if let Some(About::Execute(text, _)) = &self.about {
            return &text.sql;
        }
        let executed = self.execution.as_ref().map(|execution| &*execution.source.text);
        let prepared = self.preparing.as_ref().map(|(source, _)| &*source.text);
        self.text.or(executed).or(prepared).unwrap_or_default()
    }

    /// Its reply is SHOW PROCESSLIST's.
    fn lists_processes(&self) -> bool {
        self.statement.class == Class::ShowServer && self.statement.uses.contains(Uses::PROCESSES)
    }

    /// The database that USE or COM_INIT_DB names, where its name can be told.
    pub fn database(&self, lexing: &Lexing) -> Option<Vec<u8>> {
        match self.packets.get(HEADER..) {
            Some([command::INIT_DB, name @ ..]) => Some(name.to_vec()),
            _ => sql::used_database(self.sql(), lexing),
        }
    }
}

/// How an attempt failed.
pub(super) enum Failure {
    /// Before the statement was sent, a server refused what goes before it.
    Prelude(ErrPacket),
    /// A statement could not be prepared again where it was to be executed; the connection is as it was.
    Reprepare(ErrPacket),
    /// The replica has not had in time what the session has written. The statement may be on its way to it.
    Behind,
    /// The connection failed before the statement was sent.
    Unsent(std::io::Error),
    /// While the statement ran.
    Relay(RelayError),
}

impl From<ExchangeError> for Failure {
    fn from(error: ExchangeError) -> Self {
        match error {
            // What was to come after it runs there as little: a failed connection.
            ExchangeError::Refused(error) if error.code == SHUTDOWN => {
                Self::Unsent(std::io::ErrorKind::ConnectionAborted.into())
            }
            ExchangeError::Refused(error) => Self::Prelude(error),
            ExchangeError::Io(error) => Self::Unsent(error),
            ExchangeError::Protocol => Self::Unsent(std::io::ErrorKind::InvalidData.into()),
        }
    }
}

impl Session {
    /// Carries out `work` where the route says, elsewhere where that fails and nothing is lost by it.
    pub(super) async fn perform(&mut self, work: &Work<'_>, mut route: Route) -> Flow {
        self.note_accounts(work);
        self.try_database_again(work.statement);
        if self.pins.contains(Pins::DIAGNOSTICS) {
            route = self.beside_warnings(work, route).await;
        }
        let mut statement = work.statement;
        statement.uses.set(Uses::UNSET_VARIABLE, self.reads_unset(work));
        let mut tried: Vec<ServerId> = Vec::new();
        let mut retried_statement = false;
        let mut failures = 0;
        let mut demoted_since = None;
        loop {
            let mut connection = match self.obtain(&mut route, statement, &mut tried).await {
                Ok(connection) => connection,
                Err(problem) => return self.refuse(&problem).await,
            };
            let server = connection.server;
            let on_replica = route.target == Target::Replica;
            // By the server's word on this connection. A session that has kept its own connection runs this statement
            // elsewhere: a plain read beside a soft pin.
            let state_there = self.held.is_none()
                && (connection.status.contains(Status::IN_TRANSACTION) || !self.pins.is_empty());
            if self.client.signals.is_raised(Signals::REPLACED) && self.is_replaced(server) {
                if state_there {
                    match self.resume(connection, work, true).await {
                        Resumed::Elsewhere => continue,
                        Resumed::Answered(flow) => return flow,
                    }
                }
                self.lose(connection);
                continue;
            }
            if state_there && self.has_gone_before_the_end(&connection, work) {
                match self.resume(connection, work, true).await {
                    Resumed::Elsewhere => continue,
                    Resumed::Answered(flow) => return flow,
                }
            }
            self.client.may_move = repeatable(work, on_replica) && !state_there;
            if self.client.may_move && self.client.signals.is_raised(Signals::DOWN) {
                self.client.signals.lower(Signals::DOWN); // it was about another statement
            }
            self.entry.handle.runs_on(server, connection.id);
            let waits = self.freshness.wait_at.is_some();
            let began = on_replica.then(Instant::now);
            self.listen(work);
            let result = self.attempt(&mut connection, work).await;
            // A KILL may be on its way to this thread.
            let doomed = self.entry.handle.runs_nothing();
            if doomed && !state_there && !matches!(result, Ok(End { error: None, .. })) {
                connection.broken = true;
            }
            match result {
                Ok(End { error: Some(refusal), .. })
                    if refusal.unsent.is_some() && on_replica && READ_ONLY.contains(&refusal.code) =>
                {
                    self.release(connection, false);
                    route = Route { target: Target::Primary, reason: Reason::RefusedByReplica };
                }
                Ok(End { error: Some(refusal), .. })
                    if refusal.unsent.is_some()
                        && READ_ONLY.contains(&refusal.code)
                        && commits(work, &self.lexing)
                        && self.may_leave_replica(&connection) =>
                {
                    if let Err(connection) = self.end_on_primary(connection).await {
                        self.lose(connection);
                        let problem = Problem::Lost { outcome_unknown: false, state_lost: true };
                        return self.refuse(&problem).await;
                    }
                    route = Route { target: Target::Primary, reason: Reason::RefusedByReplica };
                }
                Ok(End { error: Some(refusal), .. })
                    if says_read_only(&refusal)
                        && route.target == Target::Primary
                        && !state_there
                        && whole_or_nothing(work)
                        && self.may_wait(*demoted_since.get_or_insert_with(Instant::now)) =>
                {
                    // It is the primary no more, and the topology learns it now: the statement waits for the next one.
                    self.worker.topology.report(server, crate::topology::Signal::ConnectionLost);
                    self.release(connection, false);
                    tried.push(server);
                }
                Ok(End { error: Some(refusal), .. })
                    if is_out_of_its_group(&refusal)
                        && !state_there
                        && self.may_wait(*demoted_since.get_or_insert_with(Instant::now)) =>
                {
                    self.worker.topology.report(server, crate::topology::Signal::ConnectionLost);
                    self.release(connection, false);
                    tried.push(server);
                }
                Ok(End { error: Some(refusal), .. })
                    if refusal.unsent.is_some()
                        && refusal.code == SHUTDOWN
                        && repeatable(work, on_replica)
                        && !state_there =>
                {
                    connection.broken = true;
                    self.release(connection, false);
                    tried.push(server);
                }
                Ok(End { error: Some(refusal), .. })
                    if refusal.unsent.is_some()
                        && STALE_STATEMENT.contains(&refusal.code)
                        && !std::mem::replace(&mut retried_statement, work.execution.is_some())
                        && work.execution.is_some() =>
                {
                    if let Some(execution) = &work.execution {
                        connection.statements.remove(execution.source);
                    }
                    if doomed {
                        self.outlive_kill(&mut connection).await;
                    }
                    if self.keep_or_release(connection) == Flow::Close {
                        return Flow::Close;
                    }
                }
                // The server ends in the middle of a transaction: the statement was not run, or will be rolled back.
                Ok(End { error: Some(refusal), .. })
                    if refusal.unsent.is_some()
                        && refusal.code == SHUTDOWN
                        && state_there
                        && self.may_go_on(work) =>
                {
                    match self.resume(connection, work, false).await {
                        Resumed::Elsewhere => {}
                        Resumed::Answered(flow) => return flow,
                    }
                }
                Ok(mut end) => {
                    if self.held.is_none() {
                        self.note_course(work, &end, route);
                    }
                    self.name_the_transaction(&connection, &mut end);
                    self.worker.counters.statements.count(route.target as usize, route.reason as usize);
                    let began = began.filter(|_| !waits && says_how_fast(work, &end));
                    self.tally = Tally::of(&end, route, began.map(|began| (server, began)));
                    return self.settle(connection, end, work, doomed).await;
                }
                Err(Failure::Prelude(error)) if self.forget_variable(&error) => {
                    // The session's other state can still be had: on another connection.
                    self.lose(connection);
                    if state_there {
                        return self
                            .refuse(&Problem::Lost { outcome_unknown: false, state_lost: true })
                            .await;
                    }
                }
                Err(Failure::Prelude(error)) if error.code == UNKNOWN_DATABASE && !state_there => {
                    self.lose(connection);
                    if self.worker.topology.snapshot().primary != Some(server)
                        && route.target != Target::Primary
                    {
                        // Made a moment ago, perhaps.
                        route = Route { target: Target::Primary, reason: Reason::RefusedByReplica };
                    } else if !self.lack_database() {
                        return self.refuse(&Problem::Server(error)).await;
                    }
                }
                Err(Failure::Prelude(error)) => {
                    self.lose(connection);
                    let flow = self.refuse(&Problem::Server(error)).await;
                    // Going on outside the transaction would commit what the client means to be in it.
                    return if state_there { Flow::Close } else { flow };
                }
                Err(Failure::Reprepare(error)) => {
                    // As if the execution had failed: what is on the connection stays.
                    if doomed {
                        self.outlive_kill(&mut connection).await;
                    }
                    let kept = self.keep_or_release(connection);
                    let flow = self.refuse(&Problem::Server(error)).await;
                    return if kept == Flow::Close { kept } else { flow };
                }
                Err(Failure::Behind) => {
                    self.worker.note_late(server);
                    self.lose(connection); // what it would answer is not to be seen
                }
                Err(Failure::Relay(RelayError::Client(_) | RelayError::Killed)) => {
                    self.abandon(connection);
                    return Flow::Close;
                }
                Err(Failure::Relay(RelayError::Protocol)) => {
                    let server = self.worker.name_of(server);
                    tracing::error!(%server, "a server's reply breaks the protocol; its connection is closed");
                    self.lose(connection);
                    return Flow::Close;
                }
                Err(Failure::Relay(RelayError::Uninvited { sent })) => {
                    let server = self.worker.name_of(server);
                    tracing::error!(%server, "a server asks for a file of a client that sends none; its connection is closed");
                    self.lose(connection);
                    if sent {
                        return Flow::Close;
                    }
                    let flow = self.refuse(&Problem::no_local_files(self.lexing.server.dialect)).await;
                    return if state_there { Flow::Close } else { flow };
                }
                Err(failure) => {
                    if let Failure::Unsent(error) | Failure::Relay(RelayError::Server { error, .. }) =
                        &failure
                    {
                        let server = self.worker.name_of(server);
                        tracing::debug!(%server, %error, "a server connection failed");
                    }
                    let (unsent, sent) = match &failure {
                        Failure::Unsent(_) => (true, false),
                        Failure::Relay(RelayError::Server { sent, .. }) => (false, *sent),
                        _ => (false, true),
                    };
                    self.worker.topology.report(server, crate::topology::Signal::ConnectionLost);
                    if sent {
                        self.lose(connection);
                        return Flow::Close; // half a reply has gone out: there is no way to say so in the protocol
                    }
                    if state_there {
                        match self.resume(connection, work, unsent).await {
                            Resumed::Elsewhere => continue,
                            Resumed::Answered(flow) => return flow,
                        }
                    }
                    self.lose(connection);
                    failures += 1;
                    if (unsent || repeatable(work, on_replica)) && failures < FAILURES_MAX {
                        self.worker.counters.retried();
                        // A primary has no substitute: it is tried again.
                        if on_replica && self.worker.topology.snapshot().primary != Some(server) {
                            tried.push(server);
                        }
                        continue;
                    }
                    let problem = Problem::Lost { outcome_unknown: !unsent, state_lost: false };
                    return self.refuse(&problem).await;
                }
            }
            self.worker.counters.retried();
        }
    }

    /// A server at which the session was has lost its place as the primary: whether it is this one. What it would acknowledge from
    /// now on is not on the server that has its place.
    pub(super) fn is_replaced(&self, server: ServerId) -> bool {
        self.client.signals.lower(Signals::REPLACED);
        self.worker.topology.snapshot().primary != Some(server)
    }

    /// Whether a statement that waits for a primary since then may wait on.
    fn may_wait(&self, since: Instant) -> bool {
        let snapshot = self.worker.topology.snapshot();
        snapshot.servers.len() > 1 && since.elapsed() < snapshot.cluster.pool.primary_wait
    }

    /// Sends what must go before, then the statement, and relays the reply.
    pub(super) async fn attempt(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) -> Result<End, Failure> {
        let mut buffer = self.worker.buffers.take();
        let mut before = Vec::new();
        let mut steps = Vec::new();
        self.catch_up(connection, work, &mut before, &mut steps, &mut buffer).await?;
        let execution = work.execution.as_ref();
        if let Some(untyped) = execution.filter(|e| e.lacks_types())
            && !self.pins.intersects(Pins::CURSOR | Pins::LONG_DATA)
        {
            connection.statements.renew(untyped.source);
        }
        let prepares = execution.is_some_and(|e| !connection.statements.contains(e.source));
        let harmless = steps.iter().all(Step::is_harmless);
        let in_transaction = connection.status.contains(Status::IN_TRANSACTION);
        let missing = self.missing_texts(connection, work);
        if !before.is_empty()
            && (prepares || !missing.is_empty() || !(harmless || pipelines(work, in_transaction)))
        {
            // What must not run in a wrong state waits until the state is known to be right; nor is anything prepared
            // in a wrong one.
            connection.stream.write_all(&before).await.map_err(Failure::Unsent)?;
            before.clear();
            self.consume(connection, &mut steps, &mut buffer).await?;
        }
        if !missing.is_empty() {
            self.unless_interrupted(self.bring_texts(connection, missing, &mut buffer)).await?;
        }
        match &work.execution {
            Some(execution) => self.dress(connection, execution, &mut before, &mut buffer).await?,
            None if before.is_empty() => {
                connection.stream.write_all(work.packets).await.map_err(lost_in_write)?;
                return self.receive(connection, work, buffer).await;
            }
            None => before.extend_from_slice(work.packets),
        }
        connection.stream.write_all(&before).await.map_err(lost_in_write)?;
        match self.consume(connection, &mut steps, &mut buffer).await {
            Err(Failure::Unsent(error)) if !pipelines(work, in_transaction) => {
                return Err(lost_in_write(error));
            }
            consumed => consumed?,
        }
        self.receive(connection, work, buffer).await
    }

    /// Sends a command that gets no reply.
    pub(super) async fn send_only(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        execution: &Execution<'_>,
    ) -> Result<(), Failure> {
        let mut buffer = self.worker.buffers.take();
        let (mut before, mut steps) = (Vec::new(), Vec::new());
        self.client.may_move = false;
        self.catch_up(connection, work, &mut before, &mut steps, &mut buffer).await?;
        connection.stream.write_all(&before).await.map_err(Failure::Unsent)?;
        self.consume(connection, &mut steps, &mut buffer).await?;
        before.clear();
        self.dress(connection, execution, &mut before, &mut buffer).await?;
        connection.stream.write_all(&before).await.map_err(Failure::Unsent)
    }

    async fn receive(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        mut buffer: Buffer,
    ) -> Result<End, Failure> {
        let scanner = Scanner::new(work.expect, connection.capabilities);
        let id = work.preparing.as_ref().map(|(_, id)| *id);
        if work.lists_processes() {
            return self.receive_processlist(connection, work, buffer, scanner).await;
        }
        let end =
            relay(connection, &mut self.client, &mut buffer, scanner, id).await.map_err(Failure::Relay)?;
        if self.client.kept.is_none() {
            self.worker.counters.sent(end.sent);
        }
        if !buffer.filled().is_empty() {
            return Err(Failure::Relay(RelayError::Protocol));
        }
        Ok(end)
    }
}

impl Session {
    /// The same of SHOW PROCESSLIST, whose reply is changed before the client gets it.
    async fn receive_processlist(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        mut buffer: Buffer,
        scanner: Scanner,
    ) -> Result<End, Failure> {
        self.client.kept = Some(Kept::Whole(Vec::new()));
        let ended = relay(connection, &mut self.client, &mut buffer, scanner, None).await;
        let kept = self.client.kept.take().map(Kept::into_bytes).unwrap_or_default();
        let mut end = ended.map_err(|error| match error {
            RelayError::Server { error, .. } => Failure::Relay(RelayError::Server { error, sent: false }),
            other => Failure::Relay(other),
        })?;
        if !buffer.filled().is_empty() {
            return Err(Failure::Relay(RelayError::Protocol));
        }
        let rows = if work.execution.is_some() { Rows::Binary } else { Rows::Text };
        let whole = end.error.is_some() || end.status.contains(Status::CURSOR_EXISTS);
        let shown = if whole { kept } else { self.processlist_in_own_ids(connection, kept, rows) };
        end.sent = shown.len() as u64;
        self.worker.counters.sent(end.sent);
        self.client.send(&shown).await.map_err(|error| Failure::Relay(RelayError::Client(error)))?;
        Ok(end)
    }
}

/// A write that failed may have reached the server all the same.
fn lost_in_write(error: std::io::Error) -> Failure {
    Failure::Relay(RelayError::Server { error, sent: false })
}

/// Whether a server refused a statement because it takes no writes. The same numbers stand for other options, such as `secure_file_priv`.
fn says_read_only(refusal: &Refusal) -> bool {
    let named = |packet: &ErrPacket| memchr::memmem::find(&packet.message, b"read-only").is_some();
    refusal.unsent.is_some()
        && READ_ONLY.contains(&refusal.code)
        && refusal.packet.as_ref().is_some_and(named)
}

/// A node of Galera that has lost the others begins nothing: "WSREP has not yet prepared node for application use".
fn is_out_of_its_group(refusal: &Refusal) -> bool {
    let names_it = |packet: &ErrPacket| packet.message.starts_with(b"WSREP");
    refusal.unsent.is_some()
        && refusal.code == UNKNOWN_COMMAND
        && refusal.packet.as_ref().is_some_and(names_it)
}

/// Whether the time that it took tells of its server: of large results it tells more of the client.
fn says_how_fast(work: &Work<'_>, end: &End) -> bool {
    const LARGE: u64 = 64 << 10;
    matches!(work.statement.class, Class::Read | Class::Show) && end.error.is_none() && end.sent <= LARGE
}

/// Whether nothing of it has been done where a server has refused it as read only: not so of what consists of several statements.
fn whole_or_nothing(work: &Work<'_>) -> bool {
    matches!(work.statement.class, Class::Write | Class::Ddl) && !work.statement.uses.contains(Uses::MULTIPLE)
}

/// Whether it may run a second time where the first has sent nothing: reads that were meant for a replica, and what only begins a
/// transaction.
fn repeatable(work: &Work<'_>, on_replica: bool) -> bool {
    let Recognised { class, uses, .. } = work.statement;
    on_replica && matches!(class, Class::Read | Class::Show | Class::Begin(_))
        || matches!(class, Class::Begin(_)) && !uses.contains(Uses::MULTIPLE)
        || work.preparing.is_some()
}
