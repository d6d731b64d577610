//! KILL by the ids that Tidegate gave, and the end of statements whose client has gone.
//!
//! Owns: who may kill whom, and how a thread of a server is ended. Invariant: the servers judge rights; a thread is
//! killed only while it is claimed, so that never another client's statement dies.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::attempt::failure::Failure;
use super::query::UNCLEAR_KILL;
use super::work::Work;
use super::worker::Worker;
use super::{Flow, Problem, Session, reply};
use crate::backend::account::Account;
use crate::backend::class::Class;
use crate::backend::connect::Opening;
use crate::backend::connection::Connection;
use crate::backend::exchange::{Answer, ExchangeError};
use crate::backend::state::State;
use crate::execute::client::Signals;
use crate::ids::{BackendId, ServerId};
use crate::plan;
use crate::registry::{CLIENT_IDS, Claim, Handle};
use crate::sql::{self, Class as StatementClass, Dialect, Kill, Recognised, Uses, Victim};
use crate::wire::command;
use crate::wire::err::ErrPacket;
use crate::wire::ok::Status;
use crate::wire::parameters::{Parameter, Parameters};
use crate::wire::reply::Expect;

/// Connections that are tried for a KILL.
const ASK_TRIES: u32 = 3;
/// Time for a KILL on a server.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// What an expression may use of which KILL takes the value.
const WITHOUT_EFFECT: Uses = Uses::USER_VARIABLE_READ
    .union(Uses::SYSTEM_VARIABLE)
    .union(Uses::CONNECTION_ID)
    .union(Uses::PRIMARY_FUNCTION)
    .union(Uses::SYSTEM_SCHEMA)
    .union(Uses::PROCESSES);

/// What servers refuse in a KILL, each in its own words.
const NO_PART_OF_KILL: Uses = Uses::UNKNOWN_FUNCTION.union(Uses::SEQUENCE).union(Uses::SEQUENCE_LAST);

fn refused_function(dialect: Dialect) -> ErrPacket {
    match dialect {
        Dialect::MySql => ErrPacket::new(
            1235,
            b"42000",
            "This version of MySQL doesn't yet support 'Usage of subqueries or stored function calls as part of this statement'",
        ),
        Dialect::MariaDb => {
            ErrPacket::new(1970, b"42000", "KILL does not support subqueries or stored functions")
        }
    }
}

/// Whether the account of this connection may end other users' sessions.
const RIGHTS: &[u8] = b"SELECT COUNT(*) FROM information_schema.user_privileges WHERE \
    privilege_type IN ('SUPER', 'CONNECTION_ADMIN', 'CONNECTION ADMIN') AND \
    grantee = CONCAT('\\'', REPLACE(CURRENT_USER(), '@', '\\'@\\''), '\\'')";

impl Session {
    /// A KILL in any of its forms.
    pub(super) async fn kill(&mut self, text: &[u8], kill: Kill) -> Flow {
        let Kill { victim, query_only } = kill;
        let id = match victim {
            Victim::Id(id) => id,
            Victim::Expression(span) => {
                match self.compute(text.get(span).unwrap_or_default()).await {
                    // As both servers take what is no number.
                    Ok(value) => {
                        value.and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok()).unwrap_or(0)
                    }
                    Err(problem) => return self.refuse(&problem).await,
                }
            }
            // A server's numbers of statements are its own, and are never used again.
            Victim::Statement => return self.pass_kill_on(text).await,
            Victim::User { name, host } => return self.kill_user(name, host, query_only).await,
        };
        match self.worker.registry.find(id) {
            Some(target) => self.kill_session(&target, query_only).await,
            None if self.is_thread_of_others(id) => {
                let verb = if query_only { "KILL QUERY" } else { "KILL" };
                self.pass_kill_on(format!("{verb} {id}").as_bytes()).await
            }
            None => {
                let message = format!("Unknown thread id: {id}");
                self.refuse(&Problem::Request(1094, message.into())).await
            }
        }
    }

    /// An execution of a KILL that was prepared: whom it means, no server knows.
    pub(super) async fn execute_kill(&mut self, text: &[u8], values: &Parameters<'_>) -> Flow {
        let Some(mut kill) = sql::parse_kill(text, &self.lexing) else {
            return self.refuse(&Problem::Unsupported(UNCLEAR_KILL.into())).await;
        };
        if let Some(value) = values.values().next() {
            let is_all =
                matches!(&kill.victim, Victim::Expression(span) if text.get(span.clone()) == Some(b"?"));
            if !is_all {
                return self.refuse(&Problem::Unsupported(UNCLEAR_KILL.into())).await;
            }
            let number = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok();
            let id = match value {
                Parameter::Integer(id) => u64::try_from(id).ok(),
                Parameter::Decimal(text) | Parameter::Text(text) | Parameter::Bytes(text) => number(text),
                _ => None,
            };
            kill.victim = Victim::Id(id.unwrap_or(0)); // as both servers take what is no number
        }
        self.kill(text, kill).await
    }

    /// A connection of somebody else to the server that lists its threads: none of Tidegate's, which serve one client now and
    /// another one in a moment.
    fn is_thread_of_others(&self, id: u64) -> bool {
        let held = self.held.as_ref().map(|held| held.server);
        let server = held.or_else(|| self.topology.snapshot().primary);
        let own = |server| self.worker.pool.server(server).is_some_and(|s| s.gate.has_thread(BackendId(id)));
        id < u64::from(*CLIENT_IDS.start()) && !server.is_some_and(own)
    }

    /// The server knows whom this is about, and judges the right to do it.
    async fn pass_kill_on(&mut self, text: &[u8]) -> Flow {
        let statement = Recognised::plain(StatementClass::Kill, Uses::empty());
        let mut packets = Vec::new();
        command::put_query(&mut packets, text, self.class.capabilities);
        let work = Work { text: Some(text), ..Work::command(&packets, Expect::Results, statement) };
        let route = plan::route(statement, self.situation());
        self.perform(&work, route).await
    }

    /// All sessions of an account; those of connections that do not go through Tidegate stay.
    async fn kill_user(&mut self, name: Option<Vec<u8>>, host: Option<Vec<u8>>, query_only: bool) -> Flow {
        let name = name.unwrap_or_else(|| self.account.user.clone());
        let is_meant = |handle: &Arc<Handle>| {
            let peer = handle.who.peer;
            handle.who.account.user == name
                && host.as_deref().is_none_or(|host| match host {
                    b"%" => true,
                    // A server knows this machine by its name, where it looks names up.
                    b"localhost" => peer.ip().is_none_or(|ip| ip.is_loopback()),
                    host => host == peer.host().as_bytes(),
                })
        };
        let targets: Vec<_> = self.worker.registry.all().into_iter().filter(is_meant).collect();
        if let Some(first) = targets.first()
            && let Err(problem) = self.may_kill(first).await
        {
            return self.refuse(&problem).await;
        }
        let mut itself = false;
        for target in &targets {
            itself |= target.id == self.entry.handle.id;
            if let Err(problem) = self.end(target, query_only).await {
                return self.refuse(&problem).await;
            }
        }
        let ended = targets.len() as u64;
        let flow = self.tell(&reply::changed(1, ended, self.standing(), self.client.capabilities)).await;
        if itself && !query_only { Flow::Close } else { flow }
    }

    async fn kill_session(&mut self, target: &Arc<Handle>, query_only: bool) -> Flow {
        if let Err(problem) = self.may_kill(target).await {
            return self.refuse(&problem).await;
        }
        if let Err(problem) = self.end(target, query_only).await {
            return self.refuse(&problem).await;
        }
        if target.id == self.entry.handle.id {
            // As servers answer their own end (tried on both).
            let error = match (self.lexing.server.dialect, query_only) {
                (Dialect::MariaDb, false) => ErrPacket::new(1927, b"70100", "Connection was killed"),
                _ => ErrPacket::new(1317, b"70100", "Query execution was interrupted"),
            };
            let flow = self.tell(&reply::error(1, &error)).await;
            return if query_only { flow } else { Flow::Close };
        }
        self.tell(&reply::ok(1, self.standing(), 0, self.client.capabilities)).await
    }

    /// Ends the statement of a session, and the session, unless it is this one.
    async fn end(&self, target: &Arc<Handle>, query_only: bool) -> Result<(), Problem> {
        if !query_only && target.id != self.entry.handle.id {
            tracing::info!(client = %self.entry.handle.id, target = %target.id, query_only, "kill");
            // It ends what runs with its connection: KILL QUERY would let what follows in the packet, or in a routine, run on.
            target.signals.raise(Signals::KILL);
            target.interrupt_parts();
            return Ok(());
        }
        match target.claim() {
            Some(claim) => {
                tracing::info!(client = %self.entry.handle.id, target = %target.id, query_only, "kill");
                end_statement(&self.worker, &self.account, self.class, claim).await
            }
            None => {
                target.interrupt_parts();
                Ok(())
            }
        }
    }

    /// The value of an expression in this session.
    async fn compute(&mut self, expression: &[u8]) -> Result<Option<Vec<u8>>, Problem> {
        let sql = [b"SELECT (", expression, b")"].concat();
        let statement = self.recognise(&sql);
        let without_effect =
            statement.class == StatementClass::Read && WITHOUT_EFFECT.contains(statement.uses);
        if statement.uses.intersects(NO_PART_OF_KILL) {
            return Err(Problem::Server(refused_function(self.lexing.server.dialect)));
        }
        if !without_effect {
            return Err(Problem::Unsupported("KILL takes an id, or an expression without effects".into()));
        }
        let sql = self.in_own_ids(&sql, statement).await.unwrap_or(sql);
        self.settle_before(statement, &sql).await;
        let mut route = plan::route(statement, self.situation());
        let mut connection = self.obtain(&mut route, statement, &mut Vec::new()).await?;
        let state_there = self.held.is_none()
            && (connection.status.contains(Status::IN_TRANSACTION) || !self.pins.is_empty());
        let work = Work { text: Some(&sql), ..Work::command(&[], Expect::Results, statement) };
        let mut buffer = self.worker.buffers.take();
        let asked = async {
            let (mut before, mut steps) = (Vec::new(), Vec::new());
            self.catch_up(&mut connection, &work, &mut before, &mut steps, &mut buffer).await?;
            connection.stream.write_all(&before).await.map_err(Failure::Unsent)?;
            self.consume(&mut connection, &mut steps, &mut buffer).await?;
            Ok::<_, Failure>(connection.run(&sql, &mut buffer).await?)
        };
        let Ok(Ok(answer)) = timeout(KILL_LIMIT, asked).await else {
            self.lose(connection);
            return Err(Problem::Lost { outcome_unknown: false, state_lost: state_there });
        };
        if self.keep_or_release(connection) == Flow::Close {
            return Err(Problem::Lost { outcome_unknown: false, state_lost: true });
        }
        match answer.error {
            Some(error) => Err(Problem::Server(error)),
            None => Ok(answer.value().map(<[u8]>::to_vec)),
        }
    }

    /// One's own sessions may be killed; others' by whom the servers allow it.
    async fn may_kill(&self, target: &Handle) -> Result<(), Problem> {
        if target.who.account.user == self.account.user {
            return Ok(());
        }
        let snapshot = self.topology.snapshot();
        let Some(server) = snapshot.primary.or_else(|| snapshot.pick_replica(self.worker.random(), &[]))
        else {
            return Err(Problem::NoServer(snapshot.explain_unusable_to_client()));
        };
        drop(snapshot);
        let answer = ask(&self.worker, &self.account, self.class, server, RIGHTS).await?;
        match answer.value() {
            Some(b"0") | None => {
                let message = format!("You are not owner of thread {}", target.id);
                Err(Problem::Server(ErrPacket::new(1095, b"HY000", message)))
            }
            Some(_) => Ok(()),
        }
    }

    /// Ends what runs on a thread of this session, whose reply is read to its end afterwards.
    pub(super) async fn stop_thread(&self, server: ServerId, id: BackendId) {
        let sql = format!("KILL QUERY {id}");
        if let Err(problem) = ask(&self.worker, &self.account, self.class, server, sql.as_bytes()).await {
            tracing::debug!(%problem, "a part of a statement that has been killed could not be ended");
        }
    }

    /// The client has gone, or was killed, while its statement runs: the statement is ended on the server.
    pub(super) fn abandon(&mut self, connection: Box<Connection>) {
        let (server, id) = (connection.server, connection.id);
        self.lose(connection);
        let worker = Rc::clone(&self.worker);
        let (account, class) = (Arc::clone(&self.account), self.class);
        tokio::task::spawn_local(async move {
            // An error means that the thread has ended by itself.
            if let Err(problem) = ask(&worker, &account, class, server, format!("KILL {id}").as_bytes()).await
            {
                tracing::debug!(%problem, "the statement of a client that has gone could not be killed");
            }
        });
    }
}

/// KILL QUERY by an operator: by the session's own account, which may always end its own statements.
///
/// # Errors
/// The server could not be asked.
pub async fn kill_query(worker: &Worker, target: &Arc<Handle>) -> Result<(), Problem> {
    match target.claim() {
        Some(claim) => end_statement(worker, &target.who.account, target.who.class, claim).await,
        None => {
            target.interrupt_parts(); // nothing runs at a server
            Ok(())
        }
    }
}

/// Ends the statement that runs on a claimed thread.
async fn end_statement(
    worker: &Worker,
    account: &Arc<Account>,
    class: Class,
    claim: Claim,
) -> Result<(), Problem> {
    let Some((server, id)) = claim.target() else { return Ok(()) };
    match ask(worker, account, class, server, format!("KILL QUERY {id}").as_bytes()).await {
        Err(Problem::Server(error)) if error.code == 1094 => Ok(()), // it has ended meanwhile
        other => other.map(|_| ()),
    }
}

/// Runs a statement of our own on a pooled connection; it must be one that may run twice.
pub(super) async fn ask(
    worker: &Worker,
    account: &Arc<Account>,
    class: Class,
    server: ServerId,
    sql: &[u8],
) -> Result<Answer, Problem> {
    let deadline = Instant::now() + KILL_LIMIT;
    let late = || Problem::Connect("no answer in time".into());
    let mut tries = 0;
    loop {
        tries += 1;
        // Any database does: the statement names none, and changes nothing on the connection.
        let any = State::with_schema(b"?".to_vec());
        let lease = worker.pool.lease(server, account, class, &any, None, Opening::default());
        let mut connection = timeout_at(deadline, lease).await.map_err(|_| late())??;
        let mut buffer = worker.buffers.take();
        // The limit is around the answer alone: a connection that is dropped without a check-in counts as at work for ever.
        let answer = timeout_at(deadline, connection.run(sql, &mut buffer)).await;
        connection.broken = !matches!(answer, Ok(Ok(_))) || !buffer.filled().is_empty();
        worker.pool.check_in(connection);
        match answer.map_err(|_| late())?.and_then(Answer::into_ok) {
            Ok(answer) => return Ok(answer),
            Err(ExchangeError::Refused(error)) => return Err(Problem::Server(error)),
            // The connection had died in the pool.
            Err(error) if tries < ASK_TRIES => {
                tracing::debug!(server = %worker.name_of(server), %error, "asking a server again");
            }
            Err(error) => return Err(Problem::Connect(error.to_string())),
        }
    }
}
