//! One change at several sites: it is made last at all of them, or at none.
//!
//! Owns: the order of steps, what each answer means, what the client is told. Does not know: what each site gets (`portions`), the transactions
//! around the parts (`bracket`), how what sites tell is one (`execute::told`). Invariant: where any part fails, all are rolled back; the client's
//! own transaction state is what it was: outside of one.

pub(super) mod bracket;
pub(super) mod fates;
pub(super) mod gathered;
pub(super) mod helpings;
pub(super) mod loading;
pub(super) mod making;
pub(super) mod numbering;
pub(super) mod passing;
pub(super) mod portions;
pub(super) mod within;

use tokio::time::timeout;

use self::bracket::{LOST, START_CLOCK};
use self::gathered::Gathered;
use self::portions::{Portion, Spread};
use self::within::Within;
use super::attempt::prelude::PRELUDE_LIMIT;
use super::diagnostics::Last;
use super::observed::Tally;
use super::problem::INTERRUPTED;
use super::{Flow, Problem, Session};
use crate::backend::connection::Connection;
use crate::backend::insert_id::{self, TAKE};
use crate::backend::room::Place;
use crate::execute::part::{Packet, Part, PartEnd};
use crate::execute::relay::{End, RelayError};
use crate::execute::told::{Told, at_own_row};
use crate::plan::{self, Route, Target};
use crate::sql::{Dialect, Recognised};
use crate::topology::Signal;
use crate::wire::command;
use crate::wire::err::ErrPacket;
use crate::wire::frame::put_packet;
use crate::wire::ok::{Change, Ok as OkPacket, changes};

/// A change on its way.
pub(super) struct Run<'a> {
    pub spread: &'a Spread,
    /// The client's text, where a portion has no own one.
    pub text: &'a [u8],
    pub statement: Recognised,
    pub route: Route,
    /// What a connection is given back with.
    pub restores: Vec<u8>,
    /// The statement's time, in seconds, once the first site has told it.
    pub time: Option<Vec<u8>>,
    /// What each site has told.
    pub ends: Vec<PartEnd>,
    pub warnings: Gathered,
    /// With a connection more went than the change.
    pub state_lost: bool,
    /// Room for its connections, until they are given back.
    pub places: Vec<Place>,
    /// What it does within the client's transaction; `None` where it has transactions of its own.
    pub within: Option<Within>,
}

/// Why nothing was done.
pub(super) enum Failure {
    /// This is why; the client is told.
    Problem(Problem),
    /// There is nobody to tell.
    Gone,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl<'a> Run<'a> {
    /// Whether the server is to keep more warnings than it does by itself.
    pub fn asks_for_all_warnings(&self, dialect: Dialect) -> bool {
        !self.spread.kept.is_empty() && dialect == Dialect::MariaDb
    }

    /// What a site is sent.
    pub fn text_of(&self, portion: &'a Portion) -> &'a [u8] {
        if portion.share.sql.is_empty() { self.text } else { &portion.share.sql }
    }
}

impl Session {
    /// Carries out a change at all of its sites, and answers as one server would.
    pub(super) async fn spread(
        &mut self,
        spread: &Spread,
        text: &[u8],
        statement: Recognised,
        route: Route,
    ) -> Flow {
        let status = self.status;
        let mut run = self.run_of(spread, text, statement, route);
        self.entry.handle.runs_in_parts();
        let result = self.change_all(&mut run).await;
        self.entry.handle.parts_are_done();
        if result.is_err() {
            self.undo(&mut run).await;
        }
        (self.status, self.status_unsure) = (status, false);
        let flow = match result {
            Ok(()) => self.tell_change(&run).await,
            Err(Failure::Problem(problem)) => self.refuse(&problem).await,
            Err(Failure::Gone) => Flow::Close,
        };
        if run.state_lost { Flow::Close } else { flow }
    }

    /// A change that has not begun.
    pub(super) fn run_of<'a>(
        &self,
        spread: &'a Spread,
        text: &'a [u8],
        statement: Recognised,
        route: Route,
    ) -> Run<'a> {
        let (ends, warnings) = (Vec::new(), self.no_warnings(&spread.kept));
        let (restores, time) = (START_CLOCK.to_vec(), None);
        let (places, state_lost, within) = (Vec::new(), false, None);
        let mut run = Run {
            spread,
            text,
            statement,
            route,
            restores,
            time,
            ends,
            warnings,
            state_lost,
            places,
            within,
        };
        if run.asks_for_all_warnings(self.lexing.server.dialect) {
            run.restores.extend_from_slice(b",max_error_count=");
            run.restores.extend_from_slice(self.max_error_count().unwrap_or(b"DEFAULT"));
        }
        run
    }

    /// An execution that changes several sites, of a statement with this text, class and digest.
    pub(super) async fn execute_spread(
        &mut self,
        text: &[u8],
        (statement, digest): (Recognised, u64),
        spread: &Spread,
    ) -> Flow {
        self.settle_before(statement, text).await;
        let counted = self.begin_statement(digest, text);
        let route = plan::route(statement, self.situation());
        let flow = self.spread(spread, text, statement, route).await;
        self.end_statement(counted, route);
        flow
    }

    /// Begins everywhere, runs the parts one after the other, then makes them last. In the order of the sites: so two such changes wait for
    /// each other at one site, which sees it, and never in a ring.
    async fn change_all(&mut self, run: &mut Run<'_>) -> Result<(), Failure> {
        self.nothing_in_the_way(run)?;
        let portions = &run.spread.portions;
        let clusters = portions.iter().map(|portion| portion.share.site.cluster);
        run.places = if portions.len() > 1 { self.room_for(clusters).await? } else { Vec::new() };
        for portion in portions {
            self.open(portion, run).await?;
        }
        for portion in portions {
            self.change_one(portion, run).await?;
        }
        self.commit_all(run).await
    }

    /// The connection on which a part is open, to be asked.
    ///
    /// # Errors
    /// Somebody has ended the statement, or the part is lost.
    pub(super) async fn take_open_part(
        &mut self,
        portion: &Portion,
        run: &Run<'_>,
    ) -> Result<Box<Connection>, Failure> {
        self.visit(&portion.share.site).await;
        if self.entry.handle.is_interrupted() {
            return Err(INTERRUPTED.into());
        }
        let held = self.held.take().ok_or(LOST)?;
        self.worker.counters.statements.count(Target::Primary as usize, run.route.reason as usize);
        Ok(held)
    }

    /// Runs a part, and asks what is to be told of it.
    async fn change_one(&mut self, portion: &Portion, run: &mut Run<'_>) -> Result<(), Failure> {
        let held = self.take_open_part(portion, run).await?;
        let (connection, answer) = match self.has_lost_its_place(held.server) {
            true => (held, Err(RelayError::Protocol)),
            false => self.ask(held, portion, run.text_of(portion)).await,
        };
        // The client reads of one copy only.
        let asks = !run.spread.copies || run.ends.is_empty();
        let about = (portion, &portion.rows[..], asks);
        let (mut connection, end) = self.end_of_part(connection, answer, about, run).await?;
        if run.warnings.has_altered() {
            self.keep_open(connection, run);
            return Err(Problem::Unsupported(ALTERED.into()).into());
        }
        let alone = run.spread.portions.len() == 1;
        if alone && end.insert_id != 0 {
            let told = End { insert_id: end.insert_id, ..End::default() };
            self.note_insert_id(&mut connection, &told, run.statement).await;
        }
        let made = !alone && end.insert_id != 0 && self.made_id(&mut connection).await != Some(0);
        run.ends.push(end);
        self.keep_open(connection, run);
        if made { Err(Problem::Unsupported(MADE_ID.into()).into()) } else { Ok(()) }
    }

    /// What a part has answered about these rows of the client's, with its warnings where these are asked for.
    pub(super) async fn end_of_part(
        &mut self,
        mut connection: Box<Connection>,
        answer: Result<Packet, RelayError>,
        (portion, rows, asks): (&Portion, &[usize], bool),
        run: &mut Run<'_>,
    ) -> Result<(Box<Connection>, PartEnd), Failure> {
        let server = connection.server;
        let doomed = self.entry.handle.runs_nothing();
        if doomed {
            self.outlive_kill(&mut connection).await;
        }
        let answered = self.take_answer(answer, doomed, rows, &mut connection);
        let mut end = match answered {
            Ok(end) => end,
            Err(Failure::Gone) => {
                run.state_lost = true;
                self.abandon(connection);
                return Err(Failure::Gone);
            }
            Err(failure) => {
                if let Some(source) = &portion.share.source {
                    connection.statements.forget_types(source); // it may have failed before the server took them
                }
                if connection.broken {
                    self.topology.report(server, Signal::ConnectionLost);
                }
                self.keep_open(connection, run);
                return Err(failure);
            }
        };
        if end.warnings > 0 && asks {
            let known;
            let about = (end.warnings, rows);
            (connection, known) = self.gather_warnings(connection, about, &mut run.warnings).await;
            end.warnings = end.warnings.saturating_sub(known);
        }
        Ok((connection, end))
    }

    /// Sends a part's text; the first packet of the answer.
    pub(super) async fn ask(
        &mut self,
        held: Box<Connection>,
        portion: &Portion,
        sql: &[u8],
    ) -> (Box<Connection>, Result<Packet, RelayError>) {
        let mut part = Part::new(held, self.worker.buffers.take(), self.worker.config.limits.packet_max);
        let mut packets = Vec::new();
        match &portion.bindings {
            None => command::put_query(&mut packets, sql, part.connection.capabilities),
            bindings => match self.write_share(&mut part.connection, &portion.share, bindings.as_ref()).await
            {
                Ok(written) => packets = written,
                Err(failure) => return (part.into_unasked(), failure.into_answer()),
            },
        }
        self.entry.handle.runs_on(part.connection.server, part.connection.id);
        let answer = match part.connection.stream.write_all(&packets).await {
            Ok(()) => part.next(&mut self.client).await,
            Err(error) => Err(RelayError::Server { error, sent: false }),
        };
        (part.into_connection(), answer)
    }

    /// What a part's answer means; `doomed`: somebody has killed the statement.
    fn take_answer(
        &self,
        answer: Result<Packet, RelayError>,
        doomed: bool,
        rows: &[usize],
        connection: &mut Connection,
    ) -> Result<PartEnd, Failure> {
        match answer {
            Ok(Packet::End(_)) if doomed => Err(INTERRUPTED.into()),
            Ok(Packet::End(end)) => {
                connection.warned |= end.warnings > 0;
                // A trigger has set something, which nobody tells apart.
                connection.dirty |= changes(&end.changes).any(|change| matches!(change, Change::State));
                Ok(end)
            }
            Ok(Packet::Error(error)) => {
                let error = self.in_own_names(error);
                connection.warned = true;
                let message = at_own_row(error.message, rows);
                Err(Problem::Server(ErrPacket { message, ..error }).into())
            }
            Err(RelayError::Client(_) | RelayError::Killed) => Err(Failure::Gone),
            Ok(_) | Err(_) => {
                connection.broken = true;
                Err(LOST.into())
            }
        }
    }

    /// The id that the server has made for a row: one that was given is told alike. 0 where it has made none; `None` where it does not say.
    pub(super) async fn made_id(&mut self, connection: &mut Connection) -> Option<u64> {
        let mut buffer = self.worker.buffers.take();
        let asked = timeout(PRELUDE_LIMIT, connection.run(TAKE, &mut buffer)).await;
        let made = match asked {
            Ok(Ok(answer)) => answer.number(),
            _ => None,
        };
        connection.broken |= made.is_none();
        made
    }

    /// Answers as one server would.
    pub(super) async fn tell_change(&mut self, run: &Run<'_>) -> Flow {
        let mut told = match run.ends.first() {
            Some(first) if run.spread.copies => {
                let differs = run.ends.iter().any(|end| end.affected_rows != first.affected_rows);
                if differs {
                    let rows: Vec<_> = run.ends.iter().map(|end| end.affected_rows).collect();
                    tracing::warn!(client = %self.entry.handle.id, ?rows, "copies of a reference table have differed");
                }
                Told::of(first)
            }
            Some(only) if run.ends.len() == 1 => Told::of(only),
            _ => Told::sum(&run.ends, run.spread.inserted.as_ref()),
        };
        if let Some(id) = run.spread.made.and_then(|made| made.told(told.insert_id, told.affected_rows)) {
            told.insert_id = id;
            self.insert_id.put(insert_id::Place::Known(id));
        }
        // What is stored instead is the largest that its column takes, and no number to go on behind.
        if self.passing.as_ref().is_some_and(|passing| run.warnings.tells_altered(&passing.column)) {
            self.passing = None;
        }
        let (status, flags) = (self.standing(), self.client.capabilities);
        let end =
            End { status, affected_rows: told.affected_rows, warnings: told.warnings, ..End::default() };
        self.tally = Tally::of(&end, run.route, None);
        self.last = Last {
            row_count: told.affected_rows.into(),
            found_rows: self.last.found_rows,
            found_rows_unknown: self.last.found_rows_unknown,
            warnings: told.warnings,
            kept: run.warnings.reply(status, flags),
            ..Last::default()
        };
        let ok = OkPacket {
            affected_rows: told.affected_rows,
            last_insert_id: told.insert_id,
            status,
            warnings: told.warnings,
            info: &told.info,
            changes: &[],
        };
        let (mut payload, mut packet) = (Vec::new(), Vec::new());
        ok.put(&mut payload, 0, flags);
        put_packet(&mut packet, self.sequence, &payload);
        self.tell(&packet).await
    }
}

const ALTERED: &str = "INSERT IGNORE would have stored another key than was given, or warns of too many rows to be sure; nothing was inserted: give keys that fit \
                       their column, or split the statement";

pub(super) const MADE_ID: &str = "rows in several places got AUTO_INCREMENT values, which each server counts by itself; nothing was inserted: give the values, \
                       or insert rows of one shard at a time";
