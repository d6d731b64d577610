//! The commands about prepared statements: one identity per client statement, prepared where it runs.
//!
//! Owns: what each command does and refuses. Does not know: servers' ids of statements (`execution`), shards (`bound`).

use std::sync::Arc;

use super::Known;
use super::execution::Execution;
use super::placing::Prepare;
use crate::backend::connection::Connection;
use crate::backend::statements::Source;
use crate::execute::relay::End;
use crate::plan::{self, Target};
use crate::session::incoming::Command;
use crate::session::pins::Pins;
use crate::session::query::COUNTS;
use crate::session::sites::abroad::{Abroad, Ahead};
use crate::session::sites::bound::Bound;
use crate::session::work::Work;
use crate::session::{Flow, Problem, Session, reply};
use crate::sql::{Class, Dialect, Recognised, Uses};
use crate::wire::capabilities::Capabilities;
use crate::wire::execute::{Layout, asks_for_cursor, statement_id};
use crate::wire::parameters::Parameters;
use crate::wire::reply::Expect;

/// ER_UNKNOWN_STMT_HANDLER.
const UNKNOWN_STATEMENT: u16 = 1243;
/// ER_MALFORMED_PACKET.
const MALFORMED_PACKET: u16 = 1835;

const EXPLAINED: &str = "EXPLAIN TIDEGATE is not prepared: send it as a text, with the values in it";

/// What COM_STMT_SEND_LONG_DATA holds at least: its command byte, the statement (4 bytes), the parameter (2 bytes).
const LONG_DATA_MIN: usize = 7;

impl Session {
    /// COM_STMT_PREPARE.
    pub(in crate::session) async fn prepare(&mut self, command: &Command) -> Flow {
        if self.statements.known.len() >= self.worker.config.limits.prepared_max {
            let message = "Can't create more prepared statements for this client (Tidegate: limits.prepared)";
            return self.refuse(&Problem::Request(1461, message.into())).await;
        }
        let text = &command.payload()[1..];
        let statement = self.recognise(text);
        if statement.uses.contains(Uses::EXPLAINED) {
            return self.refuse(&Problem::Unsupported(EXPLAINED.into())).await;
        }
        let Prepare { sql, back, anew, listed } = match self.direct_prepare(text, statement).await {
            Ok(prepare) => prepare,
            Err(problem) => return self.refuse(&problem).await,
        };
        let (asked, text) = (text, sql.as_deref().unwrap_or(text));
        let own = match statement.uses.intersects(Uses::CONNECTION_ID | Uses::PROCESSES) {
            true => self.in_own_ids(text, statement).await,
            false => None,
        };
        let text = own.as_deref().unwrap_or(text);
        let packets = (sql.is_some() || own.is_some()).then(|| command.with_text(asked, text));
        let hasher = &self.worker.hasher;
        let source = |text: &[u8], state| {
            Arc::new(Source::new(text.into(), state, |kin| self.statements.copy(kin), hasher))
        };
        let base = listed.as_deref().unwrap_or(if sql.is_none() { text } else { asked });
        let base = self.is_away().then(|| source(base, self.logical_state()));
        let source = source(text, Arc::clone(&self.desired));
        let is_other = anew || listed.is_some() || own.is_some() && sql.is_none();
        self.statements.written = is_other.then(|| asked.into());
        self.statements.base = base;
        let id = self.statements.free_id();
        self.settle_before_preparing(statement, text).await;
        let route = plan::route(statement, self.situation());
        // Preparing has none of the statement's effects, but the types of user variables are in its answer.
        let looked_at = Uses::MULTIPLE | Uses::USER_VARIABLE_READ | Uses::USER_VARIABLE_WRITE;
        let neutral = Recognised::plain(Class::Read, statement.uses & looked_at);
        let work = Work {
            preparing: Some((source, id)),
            ..Work::command(packets.as_deref().unwrap_or(command.packets()), Expect::Prepared, neutral)
        };
        self.statements.last = id;
        let flow = self.perform(&work, route).await;
        if let Some(back) = back.filter(|_| self.held.is_none()) {
            Box::pin(self.visit(&back)).await; // where the session's transaction is
        }
        flow
    }

    /// COM_STMT_PREPARE has been answered.
    pub(in crate::session) fn prepared(
        &mut self,
        connection: &mut Connection,
        end: &End,
        source: &Arc<Source>,
        id: u32,
    ) {
        let (written, base) = (self.statements.written.take(), self.statements.base.take());
        let Some(prepared) = end.prepared.filter(|_| end.error.is_none()) else { return };
        let max = self.open_max();
        connection.statements.insert(Arc::clone(source), prepared.id, max);
        let abroad = Abroad::prepared_as(base.is_some().then(|| Arc::clone(source)));
        let source = base.unwrap_or_else(|| Arc::clone(source));
        let text = written.as_deref().unwrap_or(&source.text);
        let (statement, digest) = (self.recognise(text), self.digest(text));
        let known = Known {
            kin: source.kin,
            source,
            statement,
            digest,
            written,
            parameters: prepared.parameters,
            types: None,
            long_data_failed: false,
            reading: self.reading(),
            abroad,
        };
        self.statements.add(id, known);
    }

    /// COM_STMT_EXECUTE, and MariaDB's COM_STMT_BULK_EXECUTE.
    pub(in crate::session) async fn execute(&mut self, command: &Command) -> Flow {
        let attributes = self.class.capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
        let payload = command.payload();
        let Some(id) = statement_id(payload).map(|id| self.statements.resolve(id)) else {
            return self.malformed().await;
        };
        let Some(known) = self.statements.known.get_mut(&id) else {
            return self.unknown_statement(id, "mysqld_stmt_execute").await;
        };
        let Some(layout) = Layout::of(payload, known.parameters, attributes) else {
            return self.malformed().await;
        };
        let mut replaced = None;
        if let Some(types) = layout.types.clone().map(|range| &payload[range])
            && known.types.as_deref() != Some(types)
        {
            replaced = Some(known.types.replace(types.into()));
        }
        let (source, mut statement, types) =
            (Arc::clone(&known.source), known.statement, known.types.clone());
        let digest = known.digest;
        if statement.class == Class::Kill {
            let values = Parameters::of(
                payload,
                known.parameters,
                attributes,
                types.as_deref().unwrap_or_default(),
                |_| None,
            );
            let Some(values) = values else { return self.malformed().await };
            return Box::pin(self.execute_kill(&source.text, &values)).await;
        }
        let source = match statement.uses.contains(Uses::PROCESSES) {
            true => self.list_anew(id, source, statement).await,
            false => source,
        };
        if self.statements.known.get_mut(&id).is_some_and(|known| std::mem::take(&mut known.long_data_failed))
        {
            let message = "Tidegate: the data of COM_STMT_SEND_LONG_DATA was lost with its server connection";
            return self.refuse(&Problem::Request(1210, message.into())).await;
        }
        if statement.uses.intersects(Uses::CONNECTION_ID | Uses::ROW_COUNT | Uses::FOUND_ROWS)
            && let Some(answer) = self.answer(&source.text, reply::Rows::Binary).await
        {
            return self.tell(&answer).await;
        }
        let bound = match self.direct_execution(id, payload).await {
            Ok(bound) => bound,
            Err(problem) => return self.refuse(&problem).await,
        };
        let (is_ruled, asked) = (bound.is_some(), source);
        let (here, bindings) = match bound {
            None => (None, None),
            Some(Bound::Done) => {
                self.note_own_end();
                return self.tell(&reply::ok(1, self.standing(), 0, self.client.capabilities)).await;
            }
            Some(Bound::Here(here, bindings)) => (Some(here), bindings),
            Some(Bound::Scattered(shares, merging, bindings)) => {
                let (text, about) = (&asked.text, (statement, digest));
                return Box::pin(self.execute_scattered(text, about, &shares, &merging, &bindings)).await;
            }
            Some(Bound::Spread(spread)) => {
                return Box::pin(self.execute_spread(&asked.text, (statement, digest), &spread)).await;
            }
        };
        let mut source = here.as_ref().unwrap_or(&asked);
        self.settle_before(statement, &source.text).await;
        let counted = self.begin_statement(digest, &asked.text);
        let mut situation = self.situation();
        situation.pinned |= self.pins.intersects(Pins::LONG_DATA | Pins::CURSOR);
        let mut route = plan::route(statement, situation);
        if asks_for_cursor(payload) {
            route = self.for_pin(route, Pins::CURSOR);
        }
        let with_counts;
        if statement.uses.intersects(COUNTS)
            && let Some(told) = self.with_counts(&source.text, statement, route.target)
        {
            let (state, copy) = (Arc::clone(&source.state), source.copy);
            with_counts = Arc::new(Source::new(told.into(), state, |_| copy, &self.worker.hasher));
            source = &with_counts;
            statement.uses.remove(COUNTS);
        }
        let (bound_at, carries_types) = (layout.bound_at, layout.types.is_some());
        let execution = match &bindings {
            Some(bindings) => bindings.execution(source),
            None => Execution { id, source, payload, types, bound_at, carries_types, executes: true },
        };
        let work = Work {
            execution: Some(execution),
            ..Work::command(
                command.packets(),
                if asks_for_cursor(payload) { Expect::Cursor } else { Expect::Results },
                statement,
            )
        };
        let flow = self.perform(&work, route).await;
        self.client.made = None;
        self.end_statement(counted, route);
        if let Some(before) = replaced
            && self.is_malformed()
            && let Some(known) = self.statements.known.get_mut(&id)
        {
            known.types = before;
        }
        if is_ruled {
            Box::pin(self.note_parts(&asked.text, statement)).await;
        }
        flow
    }

    /// Whether the server has not understood the packet of the execution: then it does not know its types either (tried on MySQL).
    fn is_malformed(&self) -> bool {
        self.last.condition.as_ref().is_some_and(|condition| condition.packet.code == MALFORMED_PACKET)
    }

    /// COM_STMT_SEND_LONG_DATA: no reply, whatever happens, but for a packet that is too short: MySQL answers that with an
    /// error, and MariaDB takes no notice of it. It must not get to a server, whose answer nobody would wait for.
    pub(in crate::session) async fn send_long_data(&mut self, command: &Command) -> Flow {
        let payload = command.payload();
        if payload.len() < LONG_DATA_MIN {
            return match self.lexing.server.dialect {
                Dialect::MySql => self.malformed().await,
                Dialect::MariaDb => Flow::Continue,
            };
        }
        let Some(id) = statement_id(payload).map(|id| self.statements.resolve(id)) else {
            return Flow::Continue;
        };
        if !self.statements.known.contains_key(&id) {
            return Flow::Continue;
        }
        let (parameter, bytes) = (u16::from_le_bytes([payload[5], payload[6]]), &payload[LONG_DATA_MIN..]);
        if self.keep_ahead(id, parameter, bytes).await {
            return Flow::Continue;
        }
        let Some(known) = self.statements.known.get(&id) else { return Flow::Continue };
        let (source, statement) = (Arc::clone(&known.source), known.statement);
        if self.may_be_bound_to_replica() {
            self.leave_replica_for(statement, &source.text).await;
        }
        let route = plan::route(statement, self.situation());
        let mut route = self.for_pin(route, Pins::LONG_DATA);
        if self.forward_silently(&mut route, statement, id, &source, payload).await {
            self.statements.open.long_data.insert(id);
            self.set_pins(self.pins | Pins::LONG_DATA);
        } else if let Some(known) = self.statements.known.get_mut(&id) {
            known.long_data_failed = true;
        }
        Flow::Continue
    }

    /// The route of what leaves a pin that holds every statement: with the first of its kind, or to the primary, as the
    /// next statement may write.
    fn for_pin(&self, route: plan::Route, pin: Pins) -> plan::Route {
        match route.target {
            _ if self.pins.contains(pin) => {
                plan::Route { target: Target::Held, reason: plan::Reason::Pinned }
            }
            Target::Replica if self.pins.intersects(Pins::SOFT) => {
                plan::Route { target: Target::Held, reason: plan::Reason::Pinned }
            }
            Target::Replica => plan::Route { target: Target::Primary, reason: plan::Reason::MakesPin },
            _ => route,
        }
    }

    /// Sends a command about a statement that gets no reply, and keeps the connection.
    async fn forward_silently(
        &mut self,
        route: &mut plan::Route,
        statement: Recognised,
        id: u32,
        source: &Arc<Source>,
        payload: &[u8],
    ) -> bool {
        let Ok(mut connection) = self.obtain(route, statement, &mut Vec::new()).await else { return false };
        let execution = Execution {
            id,
            source,
            payload,
            types: None,
            bound_at: None,
            carries_types: false,
            executes: false,
        };
        let work = Work::command(&[], Expect::Simple, statement);
        match self.send_only(&mut connection, &work, &execution).await {
            Ok(()) => {
                self.hold(connection);
                true
            }
            Err(_) => {
                self.lose(connection);
                false
            }
        }
    }

    /// COM_STMT_FETCH: rows of an open cursor.
    pub(in crate::session) async fn fetch(&mut self, command: &Command) -> Flow {
        self.about_statement(command, Expect::Rows, "mysqld_stmt_fetch").await
    }

    /// COM_STMT_RESET: long data and cursors end; without any there is nothing to tell a server.
    pub(in crate::session) async fn reset_statement(&mut self, command: &Command) -> Flow {
        let Some(id) = statement_id(command.payload()).map(|id| self.statements.resolve(id)) else {
            return self.malformed().await;
        };
        let Some(known) = self.statements.known.get_mut(&id) else {
            return self.unknown_statement(id, "mysqld_stmt_reset").await;
        };
        known.long_data_failed = false;
        known.abroad.ahead = Ahead::default();
        self.visit_open(id).await;
        if self.statements.open.has(id) && self.held.is_some() {
            self.statements.open.long_data.remove(&id);
            self.set_pins(self.statements.open.pins(self.pins));
            return self.about_statement(command, Expect::Simple, "mysqld_stmt_reset").await;
        }
        self.make_status_sure().await;
        self.note_statement_command(None, 0);
        self.note_command(0);
        self.last.counts_are_ours = true; // a connection that is held has not heard of it
        self.tell(&reply::ok(1, self.standing(), 0, self.client.capabilities)).await
    }

    /// A command about a statement that must go where its cursor is.
    async fn about_statement(&mut self, command: &Command, expect: Expect, function: &str) -> Flow {
        let payload = command.payload();
        let Some(id) = statement_id(payload).map(|id| self.statements.resolve(id)) else {
            return self.malformed().await;
        };
        if !self.statements.known.contains_key(&id) {
            return self.unknown_statement(id, function).await;
        }
        self.visit_open(id).await;
        if self.held.is_none() || expect == Expect::Rows && !self.statements.open.cursors.contains(&id) {
            let end = if self.lexing.server.dialect == Dialect::MySql { "." } else { "" };
            let message = format!("The statement ({id}) has no open cursor{end}");
            return self.refuse(&Problem::Request(1421, message.into())).await;
        }
        let known = self.statements.known.get(&id);
        let there = known.and_then(|known| known.abroad.last()).filter(|_| self.is_away());
        let Some(source) = there.or_else(|| Some(&known?.source)).map(Arc::clone) else {
            return self.unknown_statement(id, function).await;
        };
        let statement = Recognised::plain(Class::Read, Uses::empty());
        let execution = Execution {
            id,
            source: &source,
            payload,
            types: None,
            bound_at: None,
            carries_types: false,
            executes: false,
        };
        let work = Work { execution: Some(execution), ..Work::command(command.packets(), expect, statement) };
        if expect == Expect::Simple {
            self.statements.open.cursors.remove(&id);
            self.set_pins(self.statements.open.pins(self.pins));
        }
        let route = plan::Route { target: Target::Held, reason: plan::Reason::Pinned };
        self.perform(&work, route).await
    }

    /// COM_STMT_CLOSE: no reply. What is open on servers stays open for others.
    pub(in crate::session) fn close_statement(&mut self, command: &Command) -> Flow {
        let Some(id) = statement_id(command.payload()).map(|id| self.statements.resolve(id)) else {
            return Flow::Continue;
        };
        let Some(known) = self.statements.remove(id) else { return Flow::Continue };
        if self.is_open_elsewhere(id) {
            self.close_elsewhere(id, &known.sources());
        }
        if self.pins.intersects(Pins::CURSOR | Pins::LONG_DATA)
            && let Some(mut held) = self.held.take()
        {
            // A cursor or long data of it ends with it.
            known.sources().iter().for_each(|source| held.statements.remove(source));
            self.statements.open.close(id);
            self.set_pins(self.statements.open.pins(self.pins));
            return self.keep_or_release(held);
        }
        Flow::Continue
    }

    async fn malformed(&mut self) -> Flow {
        self.refuse(&Problem::Request(1835, "Malformed communication packet.".into())).await
    }

    async fn unknown_statement(&mut self, id: u32, function: &str) -> Flow {
        let function = match self.lexing.server.dialect {
            Dialect::MySql => "mysql_stmt_precheck", // whatever the command
            Dialect::MariaDb => function,
        };
        let message = format!("Unknown prepared statement handler ({id}) given to {function}");
        self.refuse(&Problem::Request(UNKNOWN_STATEMENT, message.into())).await
    }
}
