//! The transactions around a change's parts at several sites: begun at each of them, ended together.
//!
//! Owns: what is sent before a part and after it. Does not know: the parts (`spread`). Invariant: no COMMIT is sent before every part has
//! succeeded; where the first COMMIT fails, all is rolled back; where a later one does, the client and the log are told which sites have their
//! parts. A connection is given back as it came.

use tokio::time::timeout;

use super::fates::{Fate, Fates};
use super::portions::Portion;
use super::within::MARK;
use super::{Failure, Run};
use crate::backend::connection::Connection;
use crate::backend::exchange::{self, Answer, ExchangeError};
use crate::execute::relay::End;
use crate::ids::ServerId;
use crate::plan::{Route, Target};
use crate::session::attempt::failure::{Failure as Attempt, SHUTDOWN};
use crate::session::attempt::prelude::{PRELUDE_LIMIT, Step};
use crate::session::pins::Pins;
use crate::session::problem::INTERRUPTED;
use crate::session::resume::course::Course;
use crate::session::work::Work;
use crate::session::{Flow, Problem, Session};
use crate::sql::Uses;
use crate::topology::Signal;
use crate::wire::buffer::Buffer;
use crate::wire::command;
use crate::wire::ok::Status;
use crate::wire::reply::Expect;

const BEGIN: &[u8] = b"START TRANSACTION";
/// Whatever `completion_type` says.
pub(in crate::session) const COMMIT: &[u8] = b"COMMIT AND NO CHAIN NO RELEASE";
pub(in crate::session) const ROLLBACK: &[u8] = b"ROLLBACK AND NO CHAIN NO RELEASE";
/// The statement has one time: that of the first site, which is told to all. NOW() and its kin, and columns' defaults, follow it.
const STOP_CLOCK: &[u8] = b"SET timestamp=@@timestamp";
const TELL_CLOCK: &[u8] = b"SELECT @@timestamp";
pub(in crate::session) const START_CLOCK: &[u8] = b"SET timestamp=DEFAULT";
/// As many as a server can keep, where it must be known what it has stored. MySQL lets few accounts set that, and keeps 1024.
const ALL_WARNINGS: &[u8] = b"SET max_error_count=65535";
/// Time for the answer to a COMMIT: it may wait for replicas, and for a disk.
pub(in crate::session) const COMMIT_LIMIT: std::time::Duration = std::time::Duration::from_secs(60);
/// Connections that may fail before one has begun.
const FAILURES_MAX: u32 = 8;
/// What a transaction of our own would end, or what holds for one connection and not for those at other sites.
const IN_THE_WAY: Pins = Pins::LOCKS
    .union(Pins::HANDLER)
    .union(Pins::XA)
    .union(Pins::NEXT_TRANSACTION)
    .union(Pins::BINDING_VARIABLE)
    .union(Pins::ROLE);

pub(in crate::session) const LOST: Problem = Problem::Lost { outcome_unknown: false, state_lost: false };

impl Session {
    /// What the session has on the connection that it holds here does not hold elsewhere, or would end.
    pub(in crate::session) fn nothing_in_the_way(&self, run: &Run<'_>) -> Result<(), Problem> {
        let reads = run.statement.uses.contains(Uses::USER_VARIABLE_READ);
        let unread = if reads { Pins::USER_VARIABLES } else { Pins::default() };
        match self.pins.intersects(IN_THE_WAY.union(unread)) {
            true => Err(Problem::Unsupported(HELD.into())),
            false => Ok(()),
        }
    }

    /// Begins a transaction at a site. Another connection is taken where one has failed: nothing was done on it.
    pub(in crate::session) async fn open(
        &mut self,
        portion: &Portion,
        run: &mut Run<'_>,
    ) -> Result<(), Failure> {
        self.visit(&portion.share.site).await;
        self.nothing_in_the_way(run)?;
        for _ in 0..FAILURES_MAX {
            let mut route = Route { target: Target::Primary, ..run.route };
            let mut connection = self.obtain(&mut route, run.statement, &mut Vec::new()).await?;
            let error = match self.begin_on(&mut connection, portion, run).await {
                Ok(()) => {
                    (self.status, self.course) = (connection.status, Course::Untold);
                    self.hold(connection);
                    return Ok(());
                }
                Err(error) => error,
            };
            let server = connection.server;
            connection.broken = true; // in whatever state
            self.part_with(connection, run);
            match error {
                Attempt::Prelude(error) => return Err(Problem::Server(error).into()),
                _ if run.state_lost => break,
                _ => self.topology.report(server, Signal::ConnectionLost),
            }
        }
        Err(LOST.into())
    }

    /// The session's state goes along in the same write: nothing happens before the answer is there.
    pub(super) async fn begin_on(
        &mut self,
        connection: &mut Connection,
        portion: &Portion,
        run: &mut Run<'_>,
    ) -> Result<(), Attempt> {
        let mut buffer = self.worker.buffers.take();
        let (mut before, mut steps) = (Vec::new(), Vec::new());
        if run.spread.inserted.is_some() || run.spread.copies {
            // An id that an earlier statement has made there would be taken for a new one.
            let paid = timeout(PRELUDE_LIMIT, connection.pay_debt(&mut buffer)).await;
            paid.map_err(|_| Attempt::Unsent(std::io::ErrorKind::TimedOut.into()))??;
        }
        let text = Some(run.text_of(portion));
        let work = Work { text, ..Work::command(BEGIN, Expect::Results, run.statement) };
        self.catch_up(connection, &work, &mut before, &mut steps, &mut buffer).await?;
        let begin = if run.within.is_some() { MARK } else { BEGIN };
        command::put_query(&mut before, begin, connection.capabilities);
        steps.push(Step::Simple);
        if run.asks_for_all_warnings(connection.dialect) {
            command::put_query(&mut before, ALL_WARNINGS, connection.capabilities);
            steps.push(Step::Simple);
        }
        // Where this is not allowed (MariaDB's `secure_timestamp`), shards have times of their own; copies must not.
        steps.push(if run.spread.copies { Step::Simple } else { Step::Signal });
        match &run.time {
            Some(time) => {
                let set = [b"SET timestamp=", &time[..]].concat();
                command::put_query(&mut before, &set, connection.capabilities);
            }
            None => {
                command::put_query(&mut before, STOP_CLOCK, connection.capabilities);
                command::put_query(&mut before, TELL_CLOCK, connection.capabilities);
            }
        }
        connection.stream.write_all(&before).await.map_err(Attempt::Unsent)?;
        self.consume(connection, &mut steps, &mut buffer).await?;
        if run.time.is_none() {
            let told =
                timeout(PRELUDE_LIMIT, exchange::receive(connection, &mut buffer, Expect::Results)).await;
            let told = told.map_err(|_| Attempt::Unsent(std::io::ErrorKind::TimedOut.into()))??.into_ok()?;
            let is_time = |text: &&[u8]| text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
            let time = told.value().filter(is_time).map(<[u8]>::to_vec);
            run.time = Some(time.ok_or(Attempt::Unsent(std::io::ErrorKind::InvalidData.into()))?);
        }
        Ok(())
    }

    /// Makes all parts last, once it is sure that none of them is lost already.
    pub(in crate::session) async fn commit_all(&mut self, run: &mut Run<'_>) -> Result<(), Failure> {
        if run.within.is_some() {
            return self.leave_parts_open(run).await;
        }
        let portions = &run.spread.portions;
        for portion in portions {
            self.visit(&portion.share.site).await;
            if !self.has_part_here() {
                return Err(LOST.into());
            }
        }
        if self.entry.handle.parts_are_done() {
            return Err(INTERRUPTED.into());
        }
        let mut fates = Fates::default();
        for (at, portion) in portions.iter().enumerate() {
            self.visit(&portion.share.site).await;
            let fate = self.commit_one(run).await;
            if !fates.note(portion.name.clone(), fate).map_err(Problem::Server)? {
                let others = portions.iter().skip(at + 1);
                fates.lack.extend(others.map(|portion| portion.name.clone()));
                break;
            }
        }
        Ok(self.told_of(fates)?)
    }

    /// Whether the part stands that is held here, as far as is known without asking.
    pub(in crate::session) fn has_part_here(&mut self) -> bool {
        let topology = self.topology.snapshot();
        self.held.as_mut().is_some_and(|held| {
            held.broken |= held.is_stale();
            let open = held.status.contains(Status::IN_TRANSACTION) && !held.broken;
            open && topology.server(held.server).is_some_and(|server| !server.replaced)
        })
    }

    /// All COMMITs have been sent that were to be.
    ///
    /// # Errors
    /// Some parts do not last, or it is not known; the log has it, too.
    pub(in crate::session) fn told_of(&self, fates: Fates) -> Result<(), Problem> {
        if fates.are_good() {
            return Ok(());
        }
        let (have, lack, unknown) = (fates.have.join(" "), fates.lack.join(" "), fates.unknown.join(" "));
        tracing::error!(
            client = %self.entry.handle.id, %have, %lack, %unknown,
            "a {} may be in effect on some of its shards only", fates.of()
        );
        Err(Problem::Halved(Box::new(fates)))
    }

    /// What a COMMIT's answer is worth: that of a server that has been replaced meanwhile may not last.
    pub(in crate::session) fn fate_at(&self, server: ServerId, fate: Fate) -> Fate {
        let replaced = || self.topology.snapshot().server(server).is_none_or(|server| server.replaced);
        if matches!(fate, Fate::Committed) && replaced() { Fate::Unknown } else { fate }
    }

    /// Makes the part last that is held here.
    async fn commit_one(&mut self, run: &mut Run<'_>) -> Fate {
        let Some(mut held) = self.held.take() else { return Fate::Unknown };
        let mut buffer = self.worker.buffers.take();
        let answered = timeout(COMMIT_LIMIT, end_part(&mut held, &run.restores, COMMIT, &mut buffer)).await;
        let server = held.server;
        let fate = match answered {
            Ok(Ok(answer)) => match answer.error {
                None => {
                    let end = End { status: held.status, changes: answer.changes, ..End::default() };
                    self.note_freshness(server, &Work::command(&[], Expect::Results, run.statement), &end);
                    Fate::Committed
                }
                Some(error) if error.code == SHUTDOWN => Fate::Unknown,
                Some(error) => {
                    self.roll_back(&mut held, run).await;
                    Fate::Refused(error)
                }
            },
            Ok(Err(_)) | Err(_) => Fate::Unknown,
        };
        if matches!(fate, Fate::Unknown) {
            held.broken = true;
            self.topology.report(server, Signal::ConnectionLost);
        }
        self.part_with(held, run);
        self.fate_at(server, fate)
    }

    /// Takes back what is open at any site.
    pub(in crate::session) async fn undo(&mut self, run: &mut Run<'_>) {
        if let Some(within) = run.within.take() {
            return self.undo_within(within, run).await;
        }
        let portions = &run.spread.portions;
        for portion in portions {
            self.visit(&portion.share.site).await;
            if let Some(mut held) = self.held.take_if(|held| held.status.contains(Status::IN_TRANSACTION)) {
                self.roll_back(&mut held, run).await;
                self.part_with(held, run);
            }
        }
    }

    /// A connection that does not say that it has rolled back is closed, which does the same. Twice: a KILL that comes late ends the first.
    async fn roll_back(&mut self, held: &mut Connection, run: &Run<'_>) {
        let mut buffer = self.worker.buffers.take();
        for _ in 0..2 {
            if held.broken {
                return;
            }
            let answered = timeout(PRELUDE_LIMIT, end_part(held, &run.restores, ROLLBACK, &mut buffer)).await;
            held.broken |= !matches!(answered, Ok(Ok(_)));
            if held.broken || !held.status.contains(Status::IN_TRANSACTION) {
                return;
            }
        }
        held.broken = true;
    }

    /// The part stays open on the connection; where that is broken, it is undone.
    pub(in crate::session) fn keep_open(&mut self, connection: Box<Connection>, run: &mut Run<'_>) {
        if connection.broken {
            return self.part_with(connection, run);
        }
        self.status = connection.status;
        self.hold(connection);
    }

    /// The connection has no part any more.
    pub(in crate::session) fn part_with(&mut self, mut connection: Box<Connection>, run: &mut Run<'_>) {
        if connection.broken {
            connection.status.remove(Status::IN_TRANSACTION | Status::IN_TRANSACTION_READONLY);
        }
        self.status = connection.status;
        run.state_lost |= self.keep_or_release(connection) == Flow::Close;
    }
}

/// Ends a part. Its connection has the server's own time again.
async fn end_part(
    held: &mut Connection,
    restores: &[u8],
    sql: &[u8],
    buffer: &mut Buffer,
) -> Result<Answer, ExchangeError> {
    let mut packets = Vec::with_capacity(96);
    command::put_query(&mut packets, restores, held.capabilities);
    command::put_query(&mut packets, sql, held.capabilities);
    held.stream.write_all(&packets).await?;
    let started = exchange::receive(held, buffer, Expect::Results).await?;
    held.dirty |= started.error.is_some();
    exchange::receive(held, buffer, Expect::Results).await
}

const HELD: &str = "a statement that writes in several shards cannot run while the session has table locks, a handler, XA, a role, or variables \
                    of one connection (SET TRANSACTION, timestamp, sql_log_bin and their like): end these first, or write in one shard";
