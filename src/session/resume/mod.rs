//! A transaction whose connection is lost goes on elsewhere.
//!
//! Owns: when that is safe, and running its statements again. Does not know: what is kept of it (`course`). Invariant: nothing is run
//! again once what may end the transaction has been sent; the client has seen nothing that the transaction which goes on would deny.

pub(super) mod course;
pub(super) mod record;

use std::io;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use self::course::{Course, Kind, Outcome};
use self::record::{Record, Step, writes_insert_id};
use super::attempt::failure::Failure;
use super::freshness::readonly::commits;
use super::pins::Pins;
use super::work::Work;
use super::{Flow, Problem, Session, reply};
use crate::backend::connection::Connection;
use crate::backend::insert_id::Place;
use crate::execute::client::Kept;
use crate::execute::relay::RelayError;
use crate::execute::sum::Sum;
use crate::ids::ServerId;
use crate::plan::Target;
use crate::sql::{Class, Ending};
use crate::topology::Signal;
use crate::wire::ok::Status;

/// Time for all of its statements.
const REPLAY_LIMIT: Duration = Duration::from_secs(30);

/// Connections that may fail, such as idle ones to a server that has been restarted.
const CONNECTIONS_MAX: u32 = 64;

/// Tables that do not take part in transactions: what was written there before the connection was lost is there still. Those that the
/// account may see.
const NOT_TRANSACTIONAL: &[u8] = b"SELECT EXISTS(SELECT 1 FROM information_schema.TABLES AS t \
    LEFT JOIN information_schema.ENGINES AS e ON e.ENGINE = t.ENGINE \
    WHERE t.TABLE_TYPE = 'BASE TABLE' AND COALESCE(e.TRANSACTIONS, 'NO') <> 'YES' \
    AND t.TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema'))";

/// The value that a statement would take.
const INSERT_ID: &[u8] = b"SELECT LAST_INSERT_ID()";

/// What becomes of a statement whose transaction was lost.
pub(super) enum Resumed {
    /// The transaction is on another connection now: the statement can be sent.
    Elsewhere,
    /// The statement has been answered.
    Answered(Flow),
}

/// Why a transaction was not run again.
enum Stop {
    /// For this reason.
    For(Outcome),
    /// Its client has gone, or was killed.
    Gone,
}

impl Session {
    /// The connection with the session's state is lost, with `work` in hand, which the server has not got if it is `unsent`: has the
    /// transaction go on elsewhere, or tells the client that it is lost.
    pub(super) async fn resume(&mut self, lost: Box<Connection>, work: &Work<'_>, unsent: bool) -> Resumed {
        // Apart from the session's own future, whose size every client pays for.
        Box::pin(self.go_on(lost, work, unsent)).await
    }

    async fn go_on(&mut self, lost: Box<Connection>, work: &Work<'_>, unsent: bool) -> Resumed {
        let here = (lost.server, lost.id);
        let in_transaction = lost.status.contains(Status::IN_TRANSACTION);
        let alone = in_transaction && self.pins.difference(Pins::PASSING).is_empty();
        let unsure = self.status_unsure && !unsent;
        let kind = self.kind(work);
        let course = std::mem::take(&mut self.course);
        self.client.sum = None;
        self.lose(lost);
        if alone && kind == Kind::Ends(Ending::Rollback) && !self.end_leads_on() {
            self.note_own_end();
            let ok = reply::ok(self.sequence, self.standing(), 0, self.client.capabilities);
            return Resumed::Answered(self.tell(&ok).await);
        }
        let why = match self.may_resume(course, kind, (alone, unsure, unsent)) {
            Ok(None) => None,
            Err(outcome) => Some(outcome),
            Ok(Some((record, done))) => match self.run_again(&record, work, kind, unsent).await {
                Ok(connection) => {
                    self.take_up(connection, record, here, done);
                    return Resumed::Elsewhere;
                }
                Err(Stop::Gone) => return Resumed::Answered(Flow::Close),
                Err(Stop::For(outcome)) => Some(outcome),
            },
        };
        if let Some(outcome) = why {
            self.worker.counters.replays.count(outcome as usize);
            tracing::info!(client = %self.entry.handle.id, why = outcome.words(), "a lost transaction was not replayed");
        }
        let why = why.map(Outcome::words);
        let ends = kind == Kind::Ends(Ending::Commit) || commits(work, &self.lexing);
        let problem = match kind {
            _ if in_transaction && !unsent && ends => Problem::CommitLost { why },
            _ => Problem::TransactionLost { outcome_unknown: !unsent, why },
        };
        Resumed::Answered(self.refuse(&problem).await)
    }

    /// Whether the connection of a transaction that is kept is seen to be lost before a statement is sent on it after which it could not be
    /// run again.
    pub(super) fn has_gone(&self, connection: &Connection, work: &Work<'_>) -> bool {
        !matches!(work.statement.class, Class::Read | Class::Show)
            && matches!(self.course, Course::Told(_) | Course::Begun(..))
            && connection.stream.socket().poll_ahead(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Whether the transaction on a connection may go on elsewhere where its server takes no writes any more. Others stay: their client is
    /// told what the server says.
    pub(super) fn may_leave_demoted(&self, connection: &Connection) -> bool {
        let alone = self.pins.difference(Pins::PASSING).is_empty();
        let is_kept = match &self.course {
            Course::Begun(_, route) => route.target == Target::Primary,
            Course::Told(record) => {
                record.route.target == Target::Primary && !record.resumed && *record.state == *self.desired
            }
            Course::Untold | Course::Lost(_) => false,
        };
        alone && is_kept && connection.status.contains(Status::IN_TRANSACTION)
    }

    /// Waits until a server that takes no writes is known to be the primary no more, if that is soon.
    pub(super) async fn until_demoted(&self, server: ServerId) {
        let topology = &self.topology;
        let mut changes = topology.subscribe();
        topology.report(server, Signal::ConnectionLost); // it is probed now
        let until = tokio::time::Instant::now() + topology.snapshot().cluster.pool.primary_wait;
        while topology.snapshot().primary == Some(server) {
            if !matches!(timeout_at(until, changes.changed()).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// What is to be run again, and how that will be called; `None` where the rules want nothing of the kind.
    fn may_resume(
        &self,
        course: Course,
        kind: Kind,
        (alone, unsure, unsent): (bool, bool, bool),
    ) -> Result<Option<(Box<Record>, Outcome)>, Outcome> {
        let record = match course {
            Course::Untold => return Ok(None),
            Course::Begun(access, route) if alone && (unsent || kind.is_harmless()) => {
                let (tapes, limits) = (&self.worker.tapes, self.transactions());
                let mut record = Record::new(tapes, limits, route, &self.desired, Place::Nowhere);
                record.begin(access, self.class.capabilities);
                return Ok(Some((Box::new(record), Outcome::BegunAgain)));
            }
            Course::Begun(..) => return Ok(None),
            _ if kind_ends(kind) && !unsent => return Err(Outcome::Commit),
            Course::Lost(why) => return Err(why),
            Course::Told(record) => record,
        };
        let lost_in_hand = !unsent && !record.may_be_lost_in(kind);
        if lost_in_hand && !record.keeps_writes() {
            return Ok(None); // it would have been more than reads
        }
        let why = if !alone {
            Outcome::Pinned
        } else if record.resumed {
            Outcome::Twice
        } else if unsure {
            Outcome::Unsure
        } else if lost_in_hand || *record.state != *self.desired {
            Outcome::Statement
        } else if record.is_only_begun() {
            return Ok(Some((record, Outcome::BegunAgain)));
        } else {
            return Ok(Some((record, Outcome::Replayed)));
        };
        Err(why)
    }

    /// The transaction is on this connection now.
    fn take_up(
        &mut self,
        connection: Box<Connection>,
        mut record: Box<Record>,
        lost: (ServerId, crate::ids::BackendId),
        done: Outcome,
    ) {
        self.worker.counters.replays.count(done as usize);
        let server = self.worker.name_of(connection.server);
        tracing::info!(client = %self.entry.handle.id, %server, statements = record.steps().len(), "a lost transaction was {}", done.words());
        if self.last.place == Some(lost) {
            self.last.place = Some((connection.server, connection.id));
        }
        self.status = connection.status;
        self.status_unsure = false;
        record.resumed = done == Outcome::Replayed;
        self.course = match record.steps().first().map(|step| step.statement.class) {
            Some(Class::Begin(access)) if !record.keeps_reads() => Course::Begun(access, record.route),
            _ => Course::Told(record),
        };
        self.hold(connection);
    }

    /// Runs a transaction again, up to where it was; gives the connection on which it is open.
    async fn run_again(
        &mut self,
        record: &Record,
        work: &Work<'_>,
        kind: Kind,
        unsent: bool,
    ) -> Result<Box<Connection>, Stop> {
        let writes = record.has_written() || kind == Kind::Writes && !unsent;
        let until = Instant::now() + self.topology.snapshot().cluster.pool.primary_wait;
        let known = self.begin_insert_id(record.insert_id);
        for _ in 0..CONNECTIONS_MAX {
            let mut connection = match self.connection_for(record, writes).await {
                Ok(Some(connection)) => connection,
                Ok(None) if Instant::now() < until => continue,
                Ok(None) => break,
                Err(stop) => return Err(stop),
            };
            if self.has_lost_its_place(connection.server) {
                self.lose(connection);
                continue;
            }
            // From now on it is told of this server, not of the one that was lost.
            self.entry.handle.runs_on(connection.server, connection.id);
            let deadline = tokio::time::Instant::now() + REPLAY_LIMIT;
            let mut done = 0;
            let result = async {
                for step in record.steps() {
                    if !known && step.writes_insert_id() {
                        self.has_made_an_id(&mut connection).await?;
                    }
                    self.run_step(&mut connection, record, step).await?;
                    done += 1;
                }
                if !known && writes_insert_id(work.statement) {
                    self.has_made_an_id(&mut connection).await?;
                }
                let open = connection.status.contains(Status::IN_TRANSACTION);
                if open { Ok(()) } else { Err(Again::For(Outcome::Differs)) }
            };
            let result = timeout_at(deadline, result)
                .await
                .unwrap_or_else(|_| Err(Again::Failed(io::ErrorKind::TimedOut.into())));
            (self.client.kept, self.client.sum) = (None, None);
            if self.entry.handle.runs_nothing() {
                self.outlive_kill(&mut connection).await;
            }
            match result {
                Ok(()) => {
                    self.keep_insert_id(known, record.insert_id);
                    return Ok(connection);
                }
                Err(Again::For(outcome)) => {
                    self.status = self.standing().difference(Status::IN_TRANSACTION);
                    self.release(connection, false); // the pool rolls it back
                    return Err(Stop::For(outcome));
                }
                Err(Again::Gone) => {
                    self.abandon(connection);
                    return Err(Stop::Gone);
                }
                Err(Again::Failed(error)) => {
                    let server = self.worker.name_of(connection.server);
                    tracing::debug!(%server, %error, statements = done, "a transaction cannot be run again here");
                    self.topology.report(connection.server, crate::topology::Signal::ConnectionLost);
                    self.lose(connection);
                    if Instant::now() >= until {
                        break;
                    }
                }
            }
        }
        Err(Stop::For(Outcome::NoServer))
    }

    /// A connection for it; `None` where one was lost.
    async fn connection_for(
        &mut self,
        record: &Record,
        writes: bool,
    ) -> Result<Option<Box<Connection>>, Stop> {
        let mut route = record.route;
        if route.target != Target::Replica {
            route.target = Target::Primary;
        }
        let Some(first) = record.steps().first() else { return Err(Stop::For(Outcome::Statement)) };
        if !writes {
            return match self.obtain(&mut route, first.statement, &mut Vec::new()).await {
                Ok(connection) => Ok(Some(connection)),
                Err(_) => Err(Stop::For(Outcome::NoServer)),
            };
        }
        let mut connection = match self.ready(&mut route, None).await {
            Ok(connection) => connection,
            Err(Problem::Connect(_)) => return Ok(None),
            Err(_) => return Err(Stop::For(Outcome::NoServer)),
        };
        let mut buffer = self.worker.buffers.take();
        let asked = async {
            let answer = connection.run(NOT_TRANSACTIONAL, &mut buffer).await?.into_ok()?;
            if connection.status.contains(Status::IN_TRANSACTION) {
                connection.run(b"ROLLBACK", &mut buffer).await?.into_ok()?; // with `autocommit` off
            }
            Ok::<_, Failure>(answer.number())
        };
        let deadline = tokio::time::Instant::now() + REPLAY_LIMIT;
        let outcome = match timeout_at(deadline, asked).await {
            Ok(Ok(Some(0))) => return Ok(Some(connection)),
            Ok(Ok(_)) => Outcome::NotTransactional,
            Ok(Err(Failure::Unsent(_))) => {
                self.topology.report(connection.server, crate::topology::Signal::ConnectionLost);
                self.lose(connection);
                return Ok(None);
            }
            Ok(Err(_)) | Err(_) => Outcome::NoServer,
        };
        connection.broken |= outcome == Outcome::NoServer;
        self.release(connection, false);
        Err(Stop::For(outcome))
    }

    /// Runs one statement again; its reply must be the one that the client has had.
    async fn run_step(
        &mut self,
        connection: &mut Connection,
        record: &Record,
        step: &Step,
    ) -> Result<(), Again> {
        self.client.kept = Some(Kept::Nothing);
        self.client.sum = Some(Sum::new(self.worker.sum_seed));
        let work = record.work(step, self.class.capabilities);
        let end = self.attempt(connection, &work).await?;
        let sum = self.client.sum.take().map(|sum| sum.value());
        connection.warned |= end.warnings > 0 || end.error.is_some();
        if let (Some(execution), true) = (&work.execution, end.error.is_some()) {
            connection.statements.forget_types(execution.source);
        }
        self.status = end.status;
        self.note_insert_id(connection, &end, step.statement).await;
        let same = match step.sum {
            Some(_) => step.sum == sum,
            None => end.error.is_none(),
        };
        if same { Ok(()) } else { Err(Again::For(Outcome::Differs)) }
    }

    /// LAST_INSERT_ID() is what it was before the transaction; false where nobody knows any more what that was: it is 0 then, until
    /// the transaction makes one.
    fn begin_insert_id(&mut self, before: Place) -> bool {
        let known = !matches!(before, Place::On { .. });
        self.insert_id = std::sync::Arc::default();
        self.insert_id.put(if known { before } else { Place::Nowhere });
        known
    }

    /// Where it was not known and the transaction has made none, the last one that was told is most likely right, as after any connection
    /// that is lost.
    fn keep_insert_id(&mut self, known: bool, before: Place) {
        let Place::On { reported, before, .. } = before else { return };
        let Some(likely) = reported.or(before).filter(|_| !known) else { return };
        self.insert_id.put(match self.insert_id.place() {
            Place::On { server, id, reported, .. } => {
                Place::On { server, id, reported, before: Some(likely) }
            }
            Place::Nowhere => Place::Known(likely),
            known => known,
        });
    }

    /// What LAST_INSERT_ID() says comes from the transaction itself.
    async fn has_made_an_id(&self, connection: &mut Connection) -> Result<(), Again> {
        let mut buffer = self.worker.buffers.take();
        let answer = connection.run(INSERT_ID, &mut buffer).await.map_err(Failure::from)?;
        match answer.number() {
            Some(1..) => Ok(()),
            _ => Err(Again::For(Outcome::Statement)),
        }
    }
}

/// How one statement failed to be run again.
enum Again {
    For(Outcome),
    Gone,
    Failed(io::Error),
}

impl From<Failure> for Again {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Relay(RelayError::Client(_) | RelayError::Killed) => Self::Gone,
            Failure::Prelude(_) | Failure::Reprepare(_) => Self::For(Outcome::Differs),
            Failure::Unsent(error) | Failure::Relay(RelayError::Server { error, .. }) => Self::Failed(error),
            Failure::Behind
            | Failure::Relay(RelayError::Protocol | RelayError::Uninvited { .. } | RelayError::Memory(_)) => {
                Self::Failed(io::ErrorKind::InvalidData.into())
            }
        }
    }
}

/// Whether the transaction may be over once the server has it.
fn kind_ends(kind: Kind) -> bool {
    matches!(kind, Kind::Ends(_))
}
