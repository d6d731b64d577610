//! One statement of a client: a connection for it, an attempt there, and another one where that may be.
//!
//! Owns: the order of steps, and what one attempt leaves for the next. Does not know: what errors mean (`refusal`, `failure`). Invariant:
//! a statement is attempted again only where the attempt before has done nothing, or where its transaction is run again whole.

use std::time::Instant;

use super::freshness::readonly::refusal;
use super::observed::Tally;
use super::pins::Pins;
use super::resume::Resumed;
use super::work::Work;
use super::{Flow, Problem, Session};
use crate::backend::connection::Connection;
use crate::execute::client::Signals;
use crate::execute::relay::End;
use crate::ids::ServerId;
use crate::plan::{self, Route, Target};
use crate::sql::{Class, Uses};
use crate::wire::capabilities::Capabilities;
use crate::wire::ok::Status;

/// What one attempt leaves for the next.
pub(super) struct Trial {
    /// Where the statement goes now.
    pub route: Route,
    /// Servers that have failed it.
    pub tried: Vec<ServerId>,
    /// How many connections have.
    pub failures: u32,
    /// It was prepared anew.
    pub prepared_anew: bool,
    /// Since when it waits for the next primary.
    pub demoted_since: Option<Instant>,
}

/// An attempt that was made.
#[derive(Clone, Copy)]
pub(super) struct Made {
    pub server: ServerId,
    pub on_replica: bool,
    /// The session's transaction, or what pins it, is on the connection, by the server's word.
    pub state_there: bool,
    /// A KILL may be on its way to the connection's thread.
    pub doomed: bool,
    /// When it began, on a replica.
    began: Option<Instant>,
}

/// What follows an attempt.
pub(super) enum Next {
    /// Another one.
    Again,
    /// Nothing: the client has its answer, or none to expect.
    Over(Flow),
}

impl Session {
    /// Carries out `work` where the route says, elsewhere where that fails and nothing is lost by it.
    pub(super) async fn perform(&mut self, work: &Work<'_>, mut route: Route) -> Flow {
        self.note_accounts(work);
        self.try_database_again(work.statement);
        if self.pins.contains(Pins::DIAGNOSTICS) {
            route = self.beside_warnings(work, route).await;
        }
        if self.must_not_run(work) {
            return self.refuse(&Problem::Server(refusal(self.lexing.server.dialect))).await;
        }
        if self.held.as_deref().is_some_and(|held| self.must_end_on_primary(held, work))
            && let Some(held) = self.held.take()
        {
            if let Err(held) = Box::pin(self.end_on_primary(held, work.execution.as_ref())).await {
                self.lose(held);
                return self.refuse(&Problem::Lost { outcome_unknown: false, state_lost: true }).await;
            }
            route = plan::route(work.statement, self.situation());
        }
        let mut statement = work.statement;
        statement.uses.set(Uses::UNSET_VARIABLE, self.reads_unset(work));
        let (tried, failures, prepared_anew, demoted_since) = (Vec::new(), 0, false, None);
        let mut trial = Trial { route, tried, failures, prepared_anew, demoted_since };
        loop {
            let connection = match self.obtain(&mut trial.route, statement, &mut trial.tried).await {
                Ok(connection) => connection,
                Err(problem) => return self.refuse(&problem).await,
            };
            match self.try_on(connection, work, &mut trial).await {
                Next::Again => self.worker.counters.retried(),
                Next::Over(flow) => return flow,
            }
        }
    }

    /// One attempt.
    async fn try_on(&mut self, mut connection: Box<Connection>, work: &Work<'_>, trial: &mut Trial) -> Next {
        let server = connection.server;
        let on_replica = trial.route.target == Target::Replica;
        // A session that has kept its own connection runs this statement elsewhere: a plain read beside a soft pin.
        let state_there = self.held.is_none()
            && (connection.status.contains(Status::IN_TRANSACTION) || !self.pins.is_empty());
        let replaced = self.has_lost_its_place(server);
        if replaced || state_there && self.has_gone(&connection, work) {
            if !state_there {
                self.lose(connection);
                return Next::Again;
            }
            return match self.resume(connection, work, true).await {
                Resumed::Elsewhere => Next::Again,
                Resumed::Answered(flow) => Next::Over(flow),
            };
        }
        self.client.may_move = work.is_repeatable(on_replica) && !state_there;
        if self.client.may_move && self.client.signals.is_raised(Signals::DOWN) {
            self.client.signals.lower(Signals::DOWN); // it was about another statement
        }
        self.entry.handle.runs_on(server, connection.id);
        let waits = self.freshness.wait_at.is_some();
        let began = (on_replica && !waits).then(Instant::now);
        self.listen(work);
        self.client.told.same_database =
            self.client.capabilities.contains(Capabilities::SESSION_TRACK) && !work.may_change_database();
        let result = self.attempt(&mut connection, work).await;
        let doomed = self.entry.handle.runs_nothing();
        if doomed && !state_there && result.is_err() {
            connection.broken = true;
        }
        let made = Made { server, on_replica, state_there, doomed, began };
        match result {
            Ok(end) => self.answered(connection, end, work, made, trial).await,
            // What is rare is apart from the session's own future, whose size every client pays for.
            Err(failure) => Box::pin(self.failed(connection, failure, work, made, trial)).await,
        }
    }

    /// The reply has come to its end.
    async fn answered(
        &mut self,
        connection: Box<Connection>,
        mut end: End,
        work: &Work<'_>,
        made: Made,
        trial: &mut Trial,
    ) -> Next {
        if let Some(refusal) = &end.error
            && let Some(way) = self.way_out(refusal, &connection, work, made, trial)
        {
            return Box::pin(self.go(way, connection, work, made, trial)).await;
        }
        let route = trial.route;
        if self.held.is_none() {
            self.note_course(work, &end, route);
        }
        self.name_the_transaction(&connection, &mut end);
        self.tell_in_own_names(&mut end);
        self.worker.counters.statements.count(route.target as usize, route.reason as usize);
        let began = made.began.filter(|_| says_how_fast(work, &end));
        self.tally = Tally::of(&end, route, began.map(|began| (made.server, began)));
        Next::Over(self.settle(connection, end, work, made.doomed).await)
    }

    /// The connection has done nothing for the statement, and stays what it was.
    pub(super) async fn keep_after(&mut self, mut connection: Box<Connection>, made: Made) -> Flow {
        if made.doomed {
            self.outlive_kill(&mut connection).await;
        }
        self.keep_or_release(connection)
    }

    /// Whether this server, at which the session was, has lost its place as the primary meanwhile. What it would acknowledge from
    /// now on is not on the server that has its place.
    pub(super) fn has_lost_its_place(&self, server: ServerId) -> bool {
        if !self.client.signals.is_raised(Signals::REPLACED) {
            return false;
        }
        self.client.signals.lower(Signals::REPLACED);
        self.topology.snapshot().primary != Some(server)
    }
}

/// Whether the time that it took tells of its server: of large results it tells more of the client.
fn says_how_fast(work: &Work<'_>, end: &End) -> bool {
    const LARGE: u64 = 64 << 10;
    matches!(work.statement.class, Class::Read | Class::Show) && end.error.is_none() && end.sent <= LARGE
}
