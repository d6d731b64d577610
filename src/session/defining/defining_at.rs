//! A definition at one of its sites: the look at its tables there, the statement, the answer.
//!
//! Owns: the connection, the time that the statement has there, what each answer means. Does not know: other sites, the journal (`defining`).
//! Invariant: done is what the server has said so of, and is the primary still; a connection has its server's own time again.

use tokio::time::timeout;

use super::looks::{Look, Place, look};
use crate::backend::connection::Connection;
use crate::execute::client::Signals;
use crate::execute::part::{Packet, PartEnd};
use crate::execute::relay::{End, RelayError};
use crate::plan::sharded::Target;
use crate::plan::{Route, Target as Role};
use crate::session::attempt::failure::SHUTDOWN;
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::problem::INTERRUPTED;
use crate::session::spread::bracket::{LOST, START_CLOCK};
use crate::session::spread::portions::Portion;
use crate::session::spread::{Failure, Run};
use crate::session::work::Work;
use crate::session::{Problem, Session};
use crate::topology::Signal;
use crate::wire::err::ErrPacket;
use crate::wire::ok::{Change, changes};
use crate::wire::reply::Expect;

/// Connections that may turn out to be gone before anything was sent.
const FAILURES_MAX: u32 = 4;

/// How it ended at one site.
pub(in crate::session) enum Outcome {
    /// The server has carried it out.
    Done(PartEnd),
    /// The server has refused it.
    Refused(ErrPacket),
    /// Nobody knows.
    Unknown(Failure),
}

impl Session {
    /// A connection to a site's primary in the session's state, and the tables as they are there.
    pub(in crate::session) async fn look_at(
        &mut self,
        portion: &Portion,
        place: &Place,
        targets: &[Target],
        run: &mut Run<'_>,
    ) -> Result<(Box<Connection>, Look), Problem> {
        self.visit(&portion.share.site).await;
        self.nothing_in_the_way(run)?;
        let mut failures = 0;
        loop {
            if self.client.signals.is_raised(Signals::KILL) {
                return Err(INTERRUPTED);
            }
            let mut route = Route { target: Role::Primary, ..run.route };
            let mut connection = match self.ready(&mut route, None).await {
                Err(Problem::Connect(_)) if failures < FAILURES_MAX => {
                    failures += 1;
                    continue;
                }
                ready => ready?,
            };
            let mut buffer = self.worker.buffers.take();
            match look(&mut connection, targets, place, &mut buffer).await {
                Ok(look) => return Ok((connection, look)),
                Err(problem) => {
                    let again = connection.broken && failures < FAILURES_MAX && !run.state_lost;
                    self.part_with(connection, run);
                    failures += 1;
                    if !again {
                        return Err(problem);
                    }
                }
            }
        }
    }

    /// Sends it to a site's server, and takes the answer.
    pub(in crate::session) async fn define_at(
        &mut self,
        portion: &Portion,
        mut held: Box<Connection>,
        run: &mut Run<'_>,
    ) -> Outcome {
        let server = held.server;
        if let Some(failed) = self.stop_clock(&mut held, run).await {
            self.part_with(held, run);
            return failed;
        }
        self.worker.counters.statements.count(Role::Primary as usize, run.route.reason as usize);
        let (mut connection, answer) = self.ask(held, portion, run.text_of(portion)).await;
        if self.entry.handle.runs_nothing() {
            self.outlive_kill(&mut connection).await;
        }
        let outcome = match answer {
            Ok(Packet::End(end)) => {
                let told = End { status: end.status, changes: end.changes.clone(), ..End::default() };
                let work =
                    Work { text: Some(run.text), ..Work::command(&[], Expect::Results, run.statement) };
                self.note_freshness(server, &work, &told);
                connection.warned |= end.warnings > 0;
                connection.dirty |= changes(&end.changes).any(|change| matches!(change, Change::State));
                Outcome::Done(end)
            }
            Ok(Packet::Error(error)) if error.code != SHUTDOWN => {
                connection.warned = true;
                Outcome::Refused(self.in_own_names(error))
            }
            Err(RelayError::Client(_) | RelayError::Killed) => {
                run.state_lost = true;
                self.abandon(connection);
                return Outcome::Unknown(Failure::Gone);
            }
            Ok(_) | Err(_) => {
                connection.broken = true;
                self.topology.report(server, Signal::ConnectionLost);
                Outcome::Unknown(LOST.into())
            }
        };
        let outcome = match outcome {
            Outcome::Done(mut end) if end.warnings > 0 && (!run.spread.copies || run.ends.is_empty()) => {
                let known;
                (connection, known) =
                    self.gather_warnings(connection, (end.warnings, &[]), &mut run.warnings).await;
                end.warnings = end.warnings.saturating_sub(known);
                Outcome::Done(end)
            }
            outcome => outcome,
        };
        if run.time.is_some() && !connection.broken {
            self.start_clock(&mut connection).await;
        }
        self.part_with(connection, run);
        let replaced = self.topology.snapshot().server(server).is_none_or(|server| server.replaced);
        match outcome {
            Outcome::Done(_) if replaced => Outcome::Unknown(LOST.into()),
            outcome => outcome,
        }
    }

    /// New columns of rows that are there have one time at all sites, by which defaults such as CURRENT_TIMESTAMP are. Where a server does not let
    /// that be set (MariaDB's `secure_timestamp`) shards have times of their own; copies must not.
    async fn stop_clock(&mut self, connection: &mut Connection, run: &Run<'_>) -> Option<Outcome> {
        let set = [b"SET timestamp=", &run.time.as_ref()?[..]].concat();
        let mut buffer = self.worker.buffers.take();
        match timeout(PRELUDE_LIMIT, connection.run(&set, &mut buffer)).await {
            Ok(Ok(answer)) => answer.error.filter(|_| run.spread.copies).map(Outcome::Refused),
            Ok(Err(_)) | Err(_) => {
                connection.broken = true;
                Some(Outcome::Unknown(LOST.into()))
            }
        }
    }

    /// The connection has the server's own time again.
    async fn start_clock(&mut self, connection: &mut Connection) {
        let mut buffer = self.worker.buffers.take();
        let started = timeout(PRELUDE_LIMIT, connection.run(START_CLOCK, &mut buffer)).await;
        match started {
            Ok(Ok(answer)) => connection.dirty |= answer.error.is_some(),
            Ok(Err(_)) | Err(_) => connection.broken = true,
        }
    }
}

/// As `SET timestamp` takes it.
pub(in crate::session) fn time_of(began_us: u64) -> Vec<u8> {
    format!("{}.{:06}", began_us / 1_000_000, began_us % 1_000_000).into_bytes()
}
