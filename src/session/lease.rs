//! Which server, and which connection to it.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::pins::Pins;
use super::settle::runs_a_routine;
use super::{Problem, Session};
use crate::backend::connect::{ConnectError, Opening};
use crate::backend::connection::{Connection, Key};
use crate::backend::insert_id::Place;
use crate::backend::pool::LeaseError;
use crate::config::Auth;
use crate::ids::ServerId;
use crate::plan::{Reason, Route, Target};
use crate::sql::{Class, Dialect, Recognised, Uses};
use crate::topology::Signal;
use crate::wire::ok::Status;

/// How long a server that has no substitute is left alone between two tries.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// What asks about the statement before.
pub(super) const ABOUT_BEFORE: Uses = Uses::DIAGNOSTICS.union(Uses::FOUND_ROWS).union(Uses::ROW_COUNT);

impl Session {
    /// The connection that the route asks for. `tried` holds servers that have failed this statement already; the
    /// route's target and reason are changed where another role had to do.
    pub(super) async fn obtain(
        &mut self,
        route: &mut Route,
        statement: Recognised,
        tried: &mut Vec<ServerId>,
    ) -> Result<Box<Connection>, Problem> {
        self.freshness.begin(statement, &self.topology.snapshot());
        self.asked_balance = statement.balance;
        let outlast = self.last.warnings > 0 && self.lexing.server.dialect == Dialect::MariaDb;
        if self.last.counted && !outlast && !statement.uses.intersects(ABOUT_BEFORE) {
            self.ask_found_rows().await; // which outlasts statements that fail
        }
        // A pin is made on the primary, if there is one, whatever the statement asks about the one before.
        let target = if self.begins_on_primary(statement) { Target::Primary } else { route.target };
        if let Some(connection) = self.take_held(target, statement) {
            let here = (connection.server, connection.id);
            if statement.uses.contains(Uses::SEQUENCE_LAST) && self.has_drawn_elsewhere(here) {
                self.hold(connection);
                return Err(self.sequences_are_lost());
            }
            return Ok(connection);
        }
        if statement.uses.contains(Uses::SEQUENCE_LAST)
            && let Some(connection) = self.take_drawn_on()?
        {
            return Ok(connection);
        }
        if let Some(connection) = self.take_before(target, statement).await {
            return Ok(connection);
        }
        let before = statement.uses.intersects(Uses::FOUND_ROWS | Uses::ROW_COUNT)
            && self.last.condition.is_none()
            && !statement.uses.contains(Uses::MULTIPLE); // which asks about its own statements, mostly
        if before && self.last.place.is_some() {
            let what = "FOUND_ROWS() and ROW_COUNT() within a larger expression, and FOUND_ROWS() after LIMIT with an offset, \
                        cannot be answered here: the connection of the statement before serves others now; ask by \
                        SELECT FOUND_ROWS() or SELECT ROW_COUNT() alone";
            return Err(Problem::Unsupported(what.into()));
        }
        if route.target == Target::Replica {
            // In this order: what a session stands at where it was is not yet what its level asks for now.
            self.move_on().await;
            self.keep_up().await;
        }
        let mut deadline = None;
        loop {
            let (server, spilled) = self.choose(route, tried, &mut deadline).await?;
            match self.lease_from(server, None).await {
                // init_connect may have switched autocommit off: then every statement opens a transaction.
                Ok(connection) if self.turns_out_transactional(route, &connection) => {
                    self.status.remove(Status::AUTOCOMMIT);
                    self.worker.pool.check_in(connection);
                    *route = Route { target: Target::Primary, reason: Reason::AutocommitOff };
                }
                Ok(mut connection) => {
                    connection.spilled = spilled;
                    return Ok(connection);
                }
                Err(error) => {
                    let deadline = self.deadline(&mut deadline);
                    self.try_elsewhere(route, server, error, tried, deadline).await?;
                }
            }
        }
    }

    /// The held connection, where the statement needs it or it is the right one anyway; otherwise one that is only
    /// held for questions goes back.
    fn take_held(&mut self, target: Target, statement: Recognised) -> Option<Box<Connection>> {
        let held = self.held.as_ref()?;
        let mut asks_before = statement.uses.intersects(ABOUT_BEFORE);
        if (asks_before || statement.uses.contains(Uses::MEASURES))
            && statement.class != Class::Write // which needs the primary, whatever it asks
            && self.last.place.is_some_and(|place| place != (held.server, held.id))
        {
            return None; // the statement before was a plain read that ran beside a soft pin
        }
        if asks_before && target == Target::Primary {
            asks_before = self.topology.snapshot().primary == Some(held.server);
        }
        if self.pins.difference(Pins::PASSING).is_empty()
            && !self.status.contains(Status::IN_TRANSACTION)
            && !asks_before
        {
            // Held for questions only, and this is none.
            let suits = match target {
                Target::Held => true,
                Target::Any | Target::Primary => self.topology.snapshot().primary == Some(held.server),
                Target::Replica => false,
            };
            let mut connection = self.held.take()?;
            if suits {
                // What a CALL has left is looked for later, if it has not been.
                self.set_pins(self.pins.difference(Pins::DIAGNOSTICS));
                return Some(connection);
            }
            connection.dirty |= self.pins.contains(Pins::CALLED);
            self.set_pins(self.pins.difference(Pins::PASSING));
            self.release(connection, false);
            return None;
        }
        match target {
            Target::Held | Target::Any => self.held.take(),
            Target::Primary | Target::Replica if asks_before => self.held.take(),
            // Softly pinned: the statement needs nothing of what is there, but is at home where no replica serves.
            Target::Replica => {
                let snapshot = self.topology.snapshot();
                let alone = snapshot.pick_replica(0, &[]).is_none() && snapshot.primary == Some(held.server);
                if alone { self.held.take() } else { None }
            }
            Target::Primary => self.held.take(),
        }
    }

    /// For statements about the one before: the connection that it ran on, if nobody has used it since.
    async fn take_before(&mut self, target: Target, statement: Recognised) -> Option<Box<Connection>> {
        let key = Key { account: self.account.id, class: self.class };
        // What must go to the primary does not go elsewhere for what it asks about the statement before, and nothing to another cluster.
        let suits = |server| {
            let snapshot = self.topology.snapshot();
            snapshot.server(server).is_some()
                && (target != Target::Primary || snapshot.primary == Some(server))
        };
        if statement.uses.intersects(ABOUT_BEFORE)
            && let Some((server, id)) = self.last.place
        {
            if !suits(server) {
                return None;
            }
            let connection = self.worker.pool.take_exactly(server, key, id)?;
            if connection.user == Some(self.me()) {
                return Some(connection);
            }
            self.worker.pool.check_in(connection); // it has served somebody else since
            return None;
        }
        if (statement.class == Class::ShowServer || statement.uses.contains(Uses::MEASURES))
            && let Some((server, id)) = self.last.place.filter(|(server, _)| suits(*server))
            && let Some(connection) = self.worker.pool.take_exactly(server, key, id)
        {
            // The counters of the session are those of the connection that has served it.
            if connection.user == Some(self.me()) {
                return Some(connection);
            }
            self.worker.pool.check_in(connection);
        }
        const OF_ROUTINES: Uses = Uses::USER_VARIABLE_READ.union(Uses::USER_LOCK).union(Uses::SEQUENCE_LAST);
        if (statement.uses.intersects(OF_ROUTINES) || runs_a_routine(statement))
            && let Some((server, id)) = self.last_routine_at().filter(|(server, _)| suits(*server))
            && let Some(connection) = self.worker.pool.take_exactly(server, key, id)
        {
            // A routine may have set a variable or taken a lock there.
            if self.is_of_own_routine(&connection) {
                return Some(connection);
            }
            self.worker.pool.check_in(connection);
        }
        if statement.uses.intersects(Uses::UNSET_VARIABLE | Uses::SEQUENCE_LAST)
            && let Some((server, id)) = self.last.place.filter(|(server, _)| suits(*server))
            && let Some(connection) = self.worker.pool.take_exactly(server, key, id)
        {
            // A trigger, a view or a column's default may have left it there.
            if connection.variables.is_of(self.me()) {
                return Some(connection);
            }
            self.worker.pool.check_in(connection);
        }
        if statement.may_use_insert_id()
            && let Place::On { server, id, .. } = self.insert_id.place()
            && suits(server)
            // At a shard of another cluster the value is read back: the session's database is not there.
            && self.topology.snapshot().server(server).is_some()
        {
            return self.worker.pool.take_exactly(server, key, id);
        }
        None
    }

    /// A server has refused what the rules file says: the client has done nothing wrong, and cannot mend it.
    fn own_account_refused(&self, server: ServerId, error: &ConnectError) -> Problem {
        let (user, backend_user) = (&self.account.user, &self.account.backend_user);
        tracing::error!(
            user = %String::from_utf8_lossy(user),
            backend_user = %String::from_utf8_lossy(backend_user),
            server = %self.worker.name_of(server),
            %error,
            "a server refuses the account that `users` gives: correct its backend password, or the account"
        );
        Problem::BackendAccount { user: user.clone() }
    }

    pub(super) async fn lease_from(
        &self,
        server: ServerId,
        database: Option<&[u8]>,
    ) -> Result<Box<Connection>, LeaseError> {
        let me = Some(self.me());
        let opening = Opening { attributes: self.attributes.as_deref(), database };
        self.worker.pool.lease(server, &self.account, self.class, &self.desired, me, opening).await
    }

    /// Whether a read that was meant for a replica would open a transaction there.
    pub(super) fn turns_out_transactional(&self, route: &Route, connection: &Connection) -> bool {
        route.target == Target::Replica
            && route.reason == Reason::ReadOnlyQuery
            && self.desired.get(b"autocommit").is_none()
            && connection.state.get(b"autocommit").is_none()
            && !connection.status.contains(Status::AUTOCOMMIT)
    }

    /// A lease has failed: notes what it says about the server, and whether another may do.
    pub(super) async fn try_elsewhere(
        &mut self,
        route: &Route,
        server: ServerId,
        error: LeaseError,
        tried: &mut Vec<ServerId>,
        deadline: Instant,
    ) -> Result<(), Problem> {
        if let LeaseError::Connect(error) = &error {
            tracing::debug!(server = %self.worker.name_of(server), %error, "cannot get a server connection");
            if error.is_account_refused() {
                self.worker.gatekeeper.refused(&self.account);
                self.worker.pool.forget(|_, key| key.account == self.account.id);
                if let Auth::Users(_) = self.worker.config.auth {
                    return Err(self.own_account_refused(server, error));
                }
            }
            match error {
                ConnectError::Timeout => self.topology.report(server, Signal::ConnectTimeout),
                ConnectError::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    self.topology.report(server, Signal::ConnectRefused);
                }
                ConnectError::Io(_) => self.topology.report(server, Signal::ConnectionLost),
                _ => {}
            }
        }
        let judged = matches!(&error, LeaseError::Connect(error) if error.is_account_refused());
        let crowded =
            matches!(error, LeaseError::QueueFull | LeaseError::QueueTimeout | LeaseError::TooSmall { .. });
        let elsewhere = route.target != Target::Primary
            || matches!(&error, LeaseError::Connect(e) if e.is_server_failure())
            || matches!(error, LeaseError::Leaving);
        if judged || crowded || !elsewhere || Instant::now() >= deadline {
            return Err(error.into());
        }
        self.worker.counters.retried();
        if route.target == Target::Primary {
            // There is no other: it is asked again when the servers have changed, or after a moment.
            let mut changes = self.topology.subscribe();
            let pause = deadline.min(Instant::now() + PAUSE);
            // The moment having passed is no error.
            let _ = timeout_at(pause, changes.changed()).await;
        } else {
            tried.push(server);
        }
        Ok(())
    }
}
