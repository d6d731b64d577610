//! One server connection as the pool and the sessions hold it.
//!
//! Owns: the stream, the server's id of it, its known session state and its open prepared statements.
//! Does not know: clients, routes. Invariant: `state` and `statements` describe the server's side exactly, or the
//! connection is marked broken and never used again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::account::Account;
use super::class::Class;
use super::connect::{self, ConnectError, Opening};
use super::exchange::{Answer, ExchangeError, receive};
use super::gate::Permit;
use super::insert_id::{self, InsertId};
use super::server::Server;
use super::spill::Spilled;
use super::state::{Handshake, State};
use super::statements::Statements;
use super::texts::Texts;
use super::variables::Placed;
use crate::ids::{AccountId, BackendId, ClientId, ServerId};
use crate::sql::Dialect;
use crate::wire::buffer::{Buffer, Freelist};
use crate::wire::capabilities::Capabilities;
use crate::wire::command;
use crate::wire::frame::put_packet;
use crate::wire::ok::Status;
use crate::wire::reply::Expect;
use crate::wire::stream::Stream;
use crate::wire::track::{CHOICES, Shown};

/// What connections have in common that may serve the same client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// The account that they are logged in with.
    pub account: AccountId,
    /// Their handshake's values.
    pub class: Class,
}

/// A session as connections know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct User {
    /// Its client.
    pub client: ClientId,
    /// How often that has begun anew (COM_RESET_CONNECTION, COM_CHANGE_USER).
    pub incarnation: u32,
    /// The accounts' state at its login, see [`super::server::Shared::epoch`]: older connections do not serve it.
    pub epoch: u64,
}

/// A server connection, logged in and with session tracking on.
#[derive(Debug)]
pub struct Connection {
    /// The byte stream.
    pub stream: Stream,
    /// Which server it leads to.
    pub server: ServerId,
    /// The server's thread id.
    pub id: BackendId,
    /// What it may be used for.
    pub key: Key,
    /// The flags in force on it.
    pub capabilities: Capabilities,
    /// Status flags of the last reply.
    pub status: Status,
    /// Session state on the server's side.
    pub state: Arc<State>,
    /// What of session tracking the server shows by default.
    pub shown: Arc<Shown>,
    /// Prepared statements open on it.
    pub statements: Statements,
    /// Texts that it may have under their names.
    pub texts: Texts,
    /// The session whose LAST_INSERT_ID() lives here, or has lived; without one, the server's is 0.
    pub debt: Option<Arc<InsertId>>,
    /// The session whose statement ran on it last.
    pub user: Option<User>,
    /// The session for which a procedure or a stored function ran: it may have set user variables, which is not reported,
    /// so that the connection is reset before another client's statement.
    pub routine_of: Option<User>,
    /// A routine has run, and the server has not been asked since whether a user lock is held.
    pub may_lock: bool,
    /// The server tells the account about user locks, as far as is known.
    pub tells_locks: bool,
    /// The session that has drawn from a sequence on it last (MariaDB).
    pub sequences_of: Option<User>,
    /// The session that has switched profiling or the optimizer trace on: what they have collected survives
    /// COM_RESET_CONNECTION (tried on both dialects), and no other session gets the connection.
    pub watched_by: Option<User>,
    /// The server's product, once tracking is on.
    pub dialect: Dialect,
    /// User variables that are set on it.
    pub variables: Placed,
    /// A statement on it left warnings or an error, and nothing has cleared them for certain.
    pub warned: bool,
    /// The accounts' state at its login, see [`super::server::Shared::epoch`].
    pub epoch: u64,
    /// The last change of global variables that it began behind, see [`super::epoch::Epoch`].
    pub globals: u64,
    /// Tables that its session has created so far, by the server's count; `None` when that is not known.
    pub counted: Option<u64>,
    /// The place that a read has on the primary for want of a replica, until the connection is given back.
    pub spilled: Option<Spilled>,
    /// Must be closed: killed, out of step, or in a state that nobody knows.
    pub broken: bool,
    /// Must be reset before another client gets it.
    pub dirty: bool,
    /// A reset does not make it as good as new: it is closed after it.
    pub worn_out: bool,
    /// When it becomes too old.
    pub expires: Instant,
    /// When a client used it last.
    pub used: Instant,
    /// When the server was spoken to last: its `wait_timeout` runs from then.
    pub spoken_to: Instant,
    /// The thread whose runtime watches its socket.
    pub home: usize,
    permit: Permit<Box<Connection>>,
}

impl Connection {
    /// Connects, logs in, and turns session tracking on. One whose password has
    /// expired can be told nothing: it is without session tracking, and not for the pool.
    ///
    /// # Errors
    /// The server's refusal, the network's, or `limit` having passed.
    pub async fn open(
        server: &Server,
        account: &Account,
        class: Class,
        opening: Opening<'_>,
        mut permit: Permit<Box<Self>>,
        buffers: &std::rc::Rc<Freelist>,
        limit: Duration,
    ) -> Result<Self, ConnectError> {
        let (epoch, globals) = (server.epoch(), server.globals());
        let established =
            connect::connect(&server.place, server.dialing(), account, &class, opening, limit).await?;
        server.witness.accepted(account, established.stream.is_tls());
        permit.serves(established.backend_id);
        let now = Instant::now();
        let mut connection = Self {
            stream: established.stream,
            server: server.id,
            id: established.backend_id,
            key: Key { account: account.id, class },
            capabilities: established.capabilities,
            status: Status::from_bits_retain(established.status),
            state: Arc::new(State::default()),
            shown: Arc::default(),
            statements: Statements::default(),
            texts: Texts::default(),
            debt: None,
            user: None,
            routine_of: None,
            may_lock: false,
            tells_locks: true,
            sequences_of: None,
            watched_by: None,
            dialect: Dialect::MySql,
            variables: Placed::default(),
            warned: false,
            epoch,
            globals,
            counted: Some(0),
            spilled: None,
            broken: false,
            dirty: false,
            worn_out: false,
            expires: now + server.lifetime(),
            used: now,
            spoken_to: now,
            home: server.home,
            permit,
        };
        if account.expired {
            connection.state = Arc::new(State::with_schema(opening.database.unwrap_or_default().to_vec()));
            return Ok(connection);
        }
        let mut buffer = buffers.take();
        match timeout(limit, server.track(&mut connection, &mut buffer)).await {
            Ok(Ok(())) => Ok(connection),
            Ok(Err(ExchangeError::Refused(error))) => Err(ConnectError::Refused(error)),
            Ok(Err(ExchangeError::Io(error))) => Err(ConnectError::Io(error)),
            Ok(Err(ExchangeError::Protocol)) => {
                Err(ConnectError::Protocol("the reply to the session's set-up"))
            }
            Err(_) => Err(ConnectError::Timeout),
        }
    }

    /// Runs a statement of our own and collects its answer. Not cancel safe: mark the connection broken when it is
    /// abandoned.
    ///
    /// # Errors
    /// The network's; an error packet is an [`Answer`].
    pub async fn run(&mut self, sql: &[u8], buffer: &mut Buffer) -> Result<Answer, ExchangeError> {
        let mut packet = Vec::with_capacity(sql.len() + 8);
        command::put_query(&mut packet, sql, self.capabilities);
        self.stream.write_all(&packet).await?;
        receive(self, buffer, Expect::Results).await
    }

    /// The values of [`CHOICES`] on the server; MariaDB does not have all of them.
    ///
    /// # Errors
    /// The server's or the network's.
    pub async fn chosen(&mut self, buffer: &mut Buffer) -> Result<[Option<Vec<u8>>; 4], ExchangeError> {
        let answer = self.run(b"SHOW SESSION VARIABLES LIKE 'session_track%'", buffer).await?.into_ok()?;
        let value = |name: &str| {
            let row = answer
                .rows
                .iter()
                .find(|row| row.first().is_some_and(|n| n.as_deref() == Some(name.as_bytes())));
            row.and_then(|row| row.get(1)?.clone())
        };
        Ok(CHOICES.map(value))
    }

    /// Has a plain socket watched by the runtime that calls.
    ///
    /// # Errors
    /// The system's; the connection is broken then.
    pub fn move_home(&mut self, home: usize) -> std::io::Result<()> {
        self.stream.move_to_this_runtime()?;
        self.home = home;
        Ok(())
    }

    /// Whether the server has closed it, or has said something that nobody asked for. Costs no system call while
    /// nothing has arrived.
    pub fn is_stale(&mut self) -> bool {
        self.broken || !matches!(self.stream.try_read(&mut [0; 1]), Ok(None))
    }

    /// What its handshake has set.
    pub fn handshake(&self) -> Handshake {
        let (charset, collation) = super::names::of_collation(self.key.class.collation.into(), self.dialect);
        let ignore_space = self.capabilities.contains(Capabilities::IGNORE_SPACE);
        Handshake { charset, collation, ignore_space }
    }

    /// Reads back the LAST_INSERT_ID() of the session that has it here, if one has.
    ///
    /// # Errors
    /// The network's; the connection must be closed then.
    pub async fn pay_debt(&mut self, buffer: &mut Buffer) -> Result<(), ExchangeError> {
        let here = (self.server, self.id);
        let Some(debt) = self.debt.take_if(|debt| Arc::strong_count(debt) > 1 && debt.place().is_on(here))
        else {
            return Ok(()); // what nobody asks for any more goes with the reset
        };
        let answer = self.run(insert_id::TAKE, buffer).await;
        let number = answer.as_ref().ok().and_then(|answer| answer.number());
        debt.settle(self.server, self.id, number);
        answer.map(drop)
    }

    /// Forgets what COM_RESET_CONNECTION takes away.
    pub fn forget_session(&mut self) {
        let mut state = (*self.state).clone();
        state.reset();
        self.state = Arc::new(state);
        self.statements.clear();
        self.texts.clear();
        if let Some(debt) = self.debt.take() {
            debt.settle(self.server, self.id, None);
        }
        self.counted = Some(0); // the counters begin anew, too (tried on both dialects)
        self.routine_of = None;
        self.may_lock = false;
        self.sequences_of = None;
        self.variables.clear();
        self.warned = false;
        self.user = None; // what the client may ask about its last statement is gone from it
    }

    /// Resets the session on the server: transaction, variables, temporary tables, locks, statements; then sets the
    /// character set of the handshake and session tracking again.
    ///
    /// # Errors
    /// The server's or the network's; the connection must be closed then.
    pub async fn reset(&mut self, server: &Server, buffer: &mut Buffer) -> Result<(), ExchangeError> {
        self.reset_as_client(server, buffer).await?;
        let Handshake { charset, collation, ignore_space } = self.handshake();
        let mut sql = format!("SET NAMES '{charset}' COLLATE '{collation}'");
        if ignore_space {
            sql.push_str(",sql_mode=CONCAT(@@sql_mode,',IGNORE_SPACE')"); // as the login does
        }
        if self.capabilities.contains(Capabilities::INTERACTIVE) {
            sql.push_str(",wait_timeout=@@global.interactive_timeout");
        }
        self.run(sql.as_bytes(), buffer).await?.into_ok()?;
        let mut state = State::with_schema(self.state.schema.clone());
        state.role.clone_from(&self.state.role);
        self.state = Arc::new(state);
        Ok(())
    }

    /// The same as a client's own COM_RESET_CONNECTION leaves it: with the server's default character set.
    ///
    /// # Errors
    /// The server's or the network's; the connection must be closed then.
    pub async fn reset_as_client(
        &mut self,
        server: &Server,
        buffer: &mut Buffer,
    ) -> Result<(), ExchangeError> {
        let mut packet = Vec::with_capacity(16);
        put_packet(&mut packet, 0, &[command::RESET_CONNECTION]);
        let globals = server.globals();
        self.stream.write_all(&packet).await?;
        receive(self, buffer, Expect::Simple).await?.into_ok()?;
        self.forget_session();
        self.globals = globals; // it has their values of now
        server.track(self, buffer).await?;
        self.dirty = false;
        Ok(())
    }

    /// Closes, without a goodbye; what is left is the right to open another one.
    pub fn into_permit(self) -> Permit<Box<Self>> {
        self.permit
    }

    /// Says goodbye and closes, without waiting.
    pub fn close(mut self: Box<Self>) {
        tokio::task::spawn_local(async move {
            let quit = [1, 0, 0, 0, command::QUIT];
            // A server that is gone needs no goodbye.
            drop(timeout(Duration::from_secs(1), self.stream.write_all(&quit)).await);
        });
    }
}
