//! An attempt that came to no end: the connection failed, or what goes before the statement did.
//!
//! Owns: what each failure means for the statement. Does not know: servers' answers to the statement itself (`refusal`).
//! Invariant: a statement that may have run is not sent again, but with its transaction (`resume`).

use tokio::time::timeout;

use super::prelude::PRELUDE_LIMIT;
use super::refusal::{TO_PRIMARY, Way};
use crate::backend::connection::Connection;
use crate::backend::exchange::ExchangeError;
use crate::execute::relay::RelayError;
use crate::plan::Target;
use crate::session::freshness::readonly::{IN_READ_ONLY_TRANSACTION, commits};
use crate::session::perform::{Made, Next, Trial};
use crate::session::resume::Resumed;
use crate::session::spread::bracket::COMMIT;
use crate::session::work::Work;
use crate::session::{Flow, Problem, Session};
use crate::sql::Lexing;
use crate::wire::err::ErrPacket;
use crate::wire::ok::Status;

/// ER_SERVER_SHUTDOWN: the statement was ended by the server's own end, not by KILL QUERY (1317).
pub(in crate::session) const SHUTDOWN: u16 = 1053;
/// ER_BAD_DB_ERROR.
const UNKNOWN_DATABASE: u16 = 1049;

/// Connections that may fail under one statement before the client is told.
const FAILURES_MAX: u32 = 8;

/// How an attempt failed.
pub(in crate::session) enum Failure {
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

/// Whether MariaDB refuses to prepare a definition because of the read only transaction, which the definition, once prepared, ends (tried).
fn is_unprepared_there(error: &ErrPacket, connection: &Connection, work: &Work<'_>, lexing: &Lexing) -> bool {
    error.code == IN_READ_ONLY_TRANSACTION
        && connection.status.contains(Status::IN_TRANSACTION_READONLY)
        && commits(work, lexing)
}

impl Session {
    /// What becomes of the statement.
    pub(in crate::session) async fn failed(
        &mut self,
        connection: Box<Connection>,
        failure: Failure,
        work: &Work<'_>,
        made: Made,
        trial: &mut Trial,
    ) -> Next {
        match failure {
            Failure::Prelude(error) => self.before_it_failed(connection, error, made, trial).await,
            Failure::Reprepare(error) if self.may_be_on_primary(&error, made, trial) => {
                self.lose(connection);
                trial.route = TO_PRIMARY;
                Next::Again
            }
            Failure::Reprepare(error) if is_unprepared_there(&error, &connection, work, &self.lexing) => {
                if self.may_leave_replica(&connection) {
                    return self.go(Way::EndsOnPrimary, connection, work, made, trial).await;
                }
                self.end_before_definition(connection, made).await
            }
            Failure::Reprepare(error) => {
                // As if the execution had failed: what is on the connection stays.
                let kept = self.keep_after(connection, made).await;
                let flow = self.refuse(&Problem::Server(error)).await;
                Next::Over(if kept == Flow::Close { kept } else { flow })
            }
            Failure::Behind => {
                self.worker.note_late(made.server);
                self.lose(connection); // what it would answer is not to be seen
                Next::Again
            }
            Failure::Unsent(error) => self.lost(connection, error, true, work, made, trial).await,
            Failure::Relay(RelayError::Server { error, sent: false }) => {
                self.lost(connection, error, false, work, made, trial).await
            }
            Failure::Relay(error) => Next::Over(self.broken_off(connection, error, made).await),
        }
    }

    /// A server has refused what brings the connection to the session's state.
    async fn before_it_failed(
        &mut self,
        connection: Box<Connection>,
        error: ErrPacket,
        made: Made,
        trial: &mut Trial,
    ) -> Next {
        self.lose(connection);
        if self.forget_variable(&error) {
            // The session's other state can still be had: on another connection.
            if made.state_there {
                let problem = Problem::Lost { outcome_unknown: false, state_lost: true };
                return Next::Over(self.refuse(&problem).await);
            }
            return Next::Again;
        }
        if self.may_be_on_primary(&error, made, trial) {
            trial.route = TO_PRIMARY;
            return Next::Again;
        }
        if error.code == UNKNOWN_DATABASE && !made.state_there && self.lack_database() {
            return Next::Again;
        }
        let flow = self.refuse(&Problem::Server(error)).await;
        // Going on outside the transaction would commit what the client means to be in it.
        Next::Over(if made.state_there { Flow::Close } else { flow })
    }

    /// Whether a database that a replica does not know was made a moment ago.
    fn may_be_on_primary(&self, error: &ErrPacket, made: Made, trial: &Trial) -> bool {
        error.code == UNKNOWN_DATABASE
            && !made.state_there
            && self.topology.snapshot().primary != Some(made.server)
            && trial.route.target != Target::Primary
    }

    /// The transaction ends, as the definition would end it.
    async fn end_before_definition(&mut self, mut connection: Box<Connection>, made: Made) -> Next {
        let mut buffer = self.worker.buffers.take();
        let ended = timeout(PRELUDE_LIMIT, connection.run(COMMIT, &mut buffer)).await;
        connection.broken |= !matches!(ended, Ok(Ok(_)));
        self.status = connection.status;
        match self.keep_after(connection, made).await {
            Flow::Close => Next::Over(Flow::Close),
            _ => Next::Again,
        }
    }

    /// The connection was lost, and the client has nothing of the reply.
    async fn lost(
        &mut self,
        connection: Box<Connection>,
        error: std::io::Error,
        unsent: bool,
        work: &Work<'_>,
        made: Made,
        trial: &mut Trial,
    ) -> Next {
        let server = self.worker.name_of(made.server);
        tracing::debug!(%server, %error, "a server connection failed");
        self.topology.report(made.server, crate::topology::Signal::ConnectionLost);
        if made.state_there {
            return match self.resume(connection, work, unsent).await {
                Resumed::Elsewhere => Next::Again,
                Resumed::Answered(flow) => Next::Over(flow),
            };
        }
        self.lose(connection);
        trial.failures += 1;
        if (unsent || work.is_repeatable(made.on_replica)) && trial.failures < FAILURES_MAX {
            // A primary has no substitute: it is tried again.
            if made.on_replica && self.topology.snapshot().primary != Some(made.server) {
                trial.tried.push(made.server);
            }
            return Next::Again;
        }
        let problem = Problem::Lost { outcome_unknown: !unsent, state_lost: false };
        Next::Over(self.refuse(&problem).await)
    }

    /// The relay has ended in the middle, by the client's or the server's fault.
    async fn broken_off(&mut self, connection: Box<Connection>, error: RelayError, made: Made) -> Flow {
        let server = || self.worker.name_of(made.server);
        match error {
            RelayError::Client(_) | RelayError::Killed => {
                self.abandon(connection);
                Flow::Close
            }
            RelayError::Protocol | RelayError::Memory(_) => {
                tracing::error!(server = %server(), "a server's reply breaks the protocol; its connection is closed");
                self.lose(connection);
                Flow::Close
            }
            RelayError::Uninvited { sent } => {
                tracing::error!(server = %server(), "a server asks for a file of a client that sends none; its connection is closed");
                self.lose(connection);
                if sent {
                    return Flow::Close;
                }
                let flow = self.refuse(&Problem::no_local_files(self.lexing.server.dialect)).await;
                if made.state_there { Flow::Close } else { flow }
            }
            RelayError::Server { error, .. } => {
                tracing::debug!(server = %server(), %error, "a server connection failed in the middle of a reply");
                self.topology.report(made.server, crate::topology::Signal::ConnectionLost);
                self.lose(connection);
                Flow::Close // half a reply has gone out: there is no way to say so in the protocol
            }
        }
    }
}
