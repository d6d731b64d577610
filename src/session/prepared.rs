//! Prepared statements: one identity per client statement, prepared where it runs.
//!
//! Owns: the client's ids, and how an execution is written for one server connection. Does not know: routes.
//! Invariant: a server's statement id never reaches a client, and a client's never a server.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::attempt::{Failure, Work};
use super::incoming::Command;
use super::pins::Pins;
use super::{Flow, Problem, Session, reply};
use crate::backend::connection::Connection;
use crate::backend::exchange;
use crate::backend::state::State;
use crate::backend::statements::Source;
use crate::execute::relay::End;
use crate::plan::{self, Target};
use crate::sql::{Class, Dialect, Recognised, Uses};
use crate::wire::buffer::Buffer;
use crate::wire::capabilities::Capabilities;
use crate::wire::command;
use crate::wire::execute::{Layout, asks_for_cursor, statement_id, with_types};
use crate::wire::frame::{HEADER, PAYLOAD_MAX, put_packet};
use crate::wire::ok::Status;
use crate::wire::reply::Expect;

/// MariaDB: the statement that was prepared last.
const LAST_PREPARED: u32 = u32::MAX;
/// ER_UNKNOWN_STMT_HANDLER.
const UNKNOWN_STATEMENT: u16 = 1243;

/// A statement that a client has prepared.
#[derive(Debug)]
struct Known {
    source: Arc<Source>,
    statement: Recognised,
    /// The text's digest; 0 with digests off.
    digest: u64,
    parameters: u16,
    /// The types that the client sent last; it need not send them again.
    types: Option<Arc<[u8]>>,
    /// Why COM_STMT_SEND_LONG_DATA failed; told at the execution.
    long_data_failed: bool,
}

/// The client's statements.
#[derive(Debug, Default)]
pub(super) struct Statements {
    known: HashMap<u32, Known>,
    last: u32,
    /// Those with an open cursor on the held connection.
    cursors: HashSet<u32>,
    /// Those with long data on the held connection that waits for an execution.
    long_data: HashSet<u32>,
}

impl Statements {
    fn resolve(&self, id: u32) -> u32 {
        if id == LAST_PREPARED { self.last } else { id }
    }

    /// All are gone: COM_RESET_CONNECTION, COM_CHANGE_USER.
    pub fn clear(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    /// The held connection is gone, with what was on it.
    pub fn lose(&mut self) {
        self.cursors.clear();
        self.long_data.clear();
    }

    /// The pins that cursors and long data make.
    fn pins(&self, mut pins: Pins) -> Pins {
        pins.set(Pins::CURSOR, !self.cursors.is_empty());
        pins.set(Pins::LONG_DATA, !self.long_data.is_empty());
        pins
    }

    /// What an execution, a fetch or a reset leaves; its pins.
    pub fn after(&mut self, execution: &Execution<'_>, end: &End, pins: Pins) -> Pins {
        if execution.executes {
            self.long_data.remove(&execution.id);
        }
        let open = end.error.is_none() && !end.status.contains(Status::LAST_ROW_SENT);
        // A routine's own cursor shows in the flag, too (MariaDB), and is gone.
        let asked = !execution.executes || asks_for_cursor(execution.payload);
        if open && asked && end.status.contains(Status::CURSOR_EXISTS) {
            self.cursors.insert(execution.id);
        } else if execution.executes || !open {
            self.cursors.remove(&execution.id);
        }
        self.pins(pins)
    }

    /// Which copy of a source the client prepares: two statements of one client must not share one on a server, or
    /// one's cursor would be closed and its long data taken by the other.
    fn copy(&self, text: &[u8], state: &State) -> u32 {
        let same =
            self.known.values().filter(|known| *known.source.text == *text && *known.source.state == *state);
        same.map(|known| known.source.copy + 1).max().unwrap_or(0)
    }
}

/// An execution, or something else about a statement, to be written for one connection.
pub(super) struct Execution<'a> {
    /// The client's id of it.
    id: u32,
    pub source: &'a Arc<Source>,
    payload: &'a [u8],
    /// The client's types for this execution.
    types: Option<Arc<[u8]>>,
    /// Where the packet says whether types follow, if it has parameters.
    bound_at: Option<usize>,
    /// The packet itself carries the types.
    carries_types: bool,
    /// It is an execution, which ends long data.
    executes: bool,
}

impl Session {
    /// COM_STMT_PREPARE.
    pub(super) async fn prepare(&mut self, command: &Command) -> Flow {
        if self.statements.known.len() >= self.worker.config.limits.prepared_max {
            let message = "Can't create more prepared statements for this client (Tidegate: limits.prepared)";
            return self.refuse(&Problem::Request(1461, message.into())).await;
        }
        let text = &command.payload()[1..];
        let statement = self.recognise(text);
        let source = Arc::new(Source::new(
            text.into(),
            Arc::clone(&self.desired),
            self.statements.copy(text, &self.desired),
            &self.worker.hasher,
        ));
        let id = self.free_id();
        self.settle_before(statement).await;
        let route = plan::route(statement, self.situation());
        // Preparing has none of the statement's effects.
        let neutral = Recognised { class: Class::Read, uses: statement.uses & Uses::MULTIPLE, hint: None };
        let work = Work {
            packets: command.packets(),
            expect: Expect::Prepared,
            statement: neutral,
            text: None,
            preparing: Some((source, id)),
            execution: None,
        };
        self.statements.last = id;
        self.perform(&work, route).await
    }

    fn free_id(&self) -> u32 {
        let mut id = self.statements.last;
        loop {
            id = id.wrapping_add(1);
            if id != 0 && id != LAST_PREPARED && !self.statements.known.contains_key(&id) {
                return id;
            }
        }
    }

    /// COM_STMT_PREPARE has been answered.
    pub(super) fn prepared(&mut self, connection: &mut Connection, end: &End, source: &Arc<Source>, id: u32) {
        let Some(prepared) = end.prepared.filter(|_| end.error.is_none()) else { return };
        let max = self.open_max();
        connection.statements.insert(Arc::clone(source), prepared.id, max);
        let statement = self.recognise(&source.text);
        let parameters = prepared.parameters;
        let known = Known {
            source: Arc::clone(source),
            statement,
            digest: self.digest(&source.text),
            parameters,
            types: None,
            long_data_failed: false,
        };
        self.statements.known.insert(id, known);
    }

    /// COM_STMT_EXECUTE, and MariaDB's COM_STMT_BULK_EXECUTE.
    pub(super) async fn execute(&mut self, command: &Command) -> Flow {
        let attributes = self.class.capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
        let payload = command.payload();
        let Some(id) = statement_id(payload).map(|id| self.statements.resolve(id)) else {
            return self.malformed().await;
        };
        let Some(known) = self.statements.known.get_mut(&id) else {
            return self.unknown_statement(id, "mysqld_stmt_execute").await;
        };
        if std::mem::take(&mut known.long_data_failed) {
            let message = "Tidegate: the data of COM_STMT_SEND_LONG_DATA was lost with its server connection";
            return self.refuse(&Problem::Request(1210, message.into())).await;
        }
        let Some(layout) = Layout::of(payload, known.parameters, attributes) else {
            return self.malformed().await;
        };
        if let Some(types) = layout.types.clone().map(|range| &payload[range])
            && known.types.as_deref() != Some(types)
        {
            known.types = Some(types.into());
        }
        if layout.bound_at.is_some() && known.types.is_none() {
            let message = "Incorrect arguments to mysqld_stmt_execute"; // no types now, and none before
            return self.refuse(&Problem::Request(1210, message.into())).await;
        }
        let (source, statement, types) = (Arc::clone(&known.source), known.statement, known.types.clone());
        let digest = known.digest;
        self.settle_before(statement).await;
        if statement.uses.intersects(Uses::CONNECTION_ID | Uses::ROW_COUNT | Uses::FOUND_ROWS)
            && let Some(answer) = self.answer(&source.text, reply::Rows::Binary)
        {
            return self.tell(&answer).await;
        }
        let counted = self.begin_statement(digest, &source.text);
        let mut situation = self.situation();
        situation.pinned |= self.pins.intersects(Pins::LONG_DATA | Pins::CURSOR);
        let mut route = plan::route(statement, situation);
        if asks_for_cursor(payload) {
            route = self.for_pin(route, Pins::CURSOR);
        }
        let (bound_at, carries_types) = (layout.bound_at, layout.types.is_some());
        let execution =
            Execution { id, source: &source, payload, types, bound_at, carries_types, executes: true };
        let work = Work {
            packets: command.packets(),
            expect: if asks_for_cursor(payload) { Expect::Cursor } else { Expect::Results },
            statement,
            text: None,
            preparing: None,
            execution: Some(execution),
        };
        let flow = self.perform(&work, route).await;
        self.end_statement(counted, route);
        flow
    }

    /// Appends the execution as this connection must get it, preparing the statement there first where needed.
    pub(super) async fn dress(
        &mut self,
        connection: &mut Connection,
        execution: &Execution<'_>,
        out: &mut Vec<u8>,
        buffer: &mut Buffer,
    ) -> Result<(), Failure> {
        let source = execution.source;
        if connection.statements.get(source).is_none() {
            self.prepare_again(connection, source, buffer).await?;
        }
        let Some(open) = connection.statements.get(source) else {
            return Err(Failure::Unsent(std::io::ErrorKind::NotFound.into()));
        };
        let id = open.id.to_le_bytes();
        let knows_types = execution.bound_at.is_none()
            || execution.carries_types
            || matches!((&open.types, &execution.types), (Some(a), Some(b)) if Arc::ptr_eq(a, b) || a == b);
        if execution.bound_at.is_some() {
            open.types.clone_from(&execution.types);
        }
        let payload = execution.payload;
        let at = out.len();
        match (execution.bound_at, &execution.types) {
            (Some(bound), Some(types)) if !knows_types => {
                // The connection has the types of another client's execution, or none.
                put_packet(out, 0, &with_types(payload, bound, types));
            }
            _ => {
                out.reserve(payload.len() + HEADER * (1 + payload.len() / PAYLOAD_MAX));
                put_packet(out, 0, payload);
            }
        }
        if let Some(place) = out.get_mut(at + HEADER + 1..at + HEADER + 5) {
            place.copy_from_slice(&id);
        }
        Ok(())
    }

    /// Prepares a client's statement on a connection that does not have it, in the state that it was prepared in.
    async fn prepare_again(
        &mut self,
        connection: &mut Connection,
        source: &Arc<Source>,
        buffer: &mut Buffer,
    ) -> Result<(), Failure> {
        let names = connection.names();
        let names = (names.0.as_str(), names.1.as_str());
        let mut packets = Vec::new();
        let mut replies = 0;
        let put_difference =
            |from: &crate::backend::state::State, to, packets: &mut Vec<u8>, replies: &mut usize| {
                // A database cannot be unset, and a reset would take the other statements: then the present state must do.
                let Some(difference) = from
                    .difference(to, names)
                    .filter(|difference| !difference.reset && difference.role.is_none())
                else {
                    return false;
                };
                if let Some(schema) = difference.schema {
                    put_packet(packets, 0, &[&[command::INIT_DB], &schema[..]].concat());
                    *replies += 1;
                }
                if let Some(set) = difference.set {
                    command::put_query(packets, &set, connection.capabilities);
                    *replies += 1;
                }
                true
            };
        let elsewhere = source.state != self.desired;
        let switched = elsewhere && put_difference(&self.desired, &source.state, &mut packets, &mut replies);
        let before = replies;
        put_packet(&mut packets, 0, &[&[command::STMT_PREPARE], &source.text[..]].concat());
        if switched {
            put_difference(&source.state, &self.desired, &mut packets, &mut replies);
        }
        connection.stream.write_all(&packets).await.map_err(Failure::Unsent)?;
        for _ in 0..before {
            exchange::receive(connection, buffer, Expect::Simple).await?.into_ok()?;
        }
        let answer = exchange::receive(connection, buffer, Expect::Prepared).await?;
        for _ in before..replies {
            exchange::receive(connection, buffer, Expect::Simple).await?.into_ok()?;
        }
        if let Some(error) = answer.error {
            return Err(Failure::Reprepare(error));
        }
        let id = answer.prepared.ok_or(Failure::Unsent(std::io::ErrorKind::InvalidData.into()))?;
        let max = self.open_max();
        connection.statements.insert(Arc::clone(source), id, max);
        Ok(())
    }

    /// Statements that may be open on the connection in use. None is closed while one of them may have a cursor or long
    /// data; the client's own limit bounds them then.
    fn open_max(&self) -> usize {
        if self.pins.intersects(Pins::CURSOR | Pins::LONG_DATA) {
            return usize::MAX;
        }
        self.worker.config.limits.prepared_per_backend_max
    }

    /// COM_STMT_SEND_LONG_DATA: no reply, whatever happens.
    pub(super) async fn send_long_data(&mut self, command: &Command) -> Flow {
        let payload = command.payload();
        let Some(id) = statement_id(payload).map(|id| self.statements.resolve(id)) else {
            return Flow::Continue;
        };
        let Some(known) = self.statements.known.get(&id) else { return Flow::Continue };
        let (source, statement) = (Arc::clone(&known.source), known.statement);
        let route = plan::route(statement, self.situation());
        let mut route = self.for_pin(route, Pins::LONG_DATA);
        if self.forward_silently(&mut route, statement, id, &source, payload).await {
            self.statements.long_data.insert(id);
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
        let work = Work {
            packets: &[],
            expect: Expect::Simple,
            statement,
            text: None,
            preparing: None,
            execution: None,
        };
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
    pub(super) async fn fetch(&mut self, command: &Command) -> Flow {
        self.about_statement(command, Expect::Rows, "mysqld_stmt_fetch").await
    }

    /// COM_STMT_RESET: long data and cursors end; without any there is nothing to tell a server.
    pub(super) async fn reset_statement(&mut self, command: &Command) -> Flow {
        let Some(id) = statement_id(command.payload()).map(|id| self.statements.resolve(id)) else {
            return self.malformed().await;
        };
        let Some(known) = self.statements.known.get_mut(&id) else {
            return self.unknown_statement(id, "mysqld_stmt_reset").await;
        };
        known.long_data_failed = false;
        if self.pins.intersects(Pins::CURSOR | Pins::LONG_DATA) && self.held.is_some() {
            self.statements.long_data.remove(&id);
            self.set_pins(self.statements.pins(self.pins));
            return self.about_statement(command, Expect::Simple, "mysqld_stmt_reset").await;
        }
        self.tell(&reply::ok(1, self.standing(), self.client.capabilities)).await
    }

    /// A command about a statement that must go where its cursor is.
    async fn about_statement(&mut self, command: &Command, expect: Expect, function: &str) -> Flow {
        let payload = command.payload();
        let Some(id) = statement_id(payload).map(|id| self.statements.resolve(id)) else {
            return self.malformed().await;
        };
        let Some(known) = self.statements.known.get(&id) else {
            return self.unknown_statement(id, function).await;
        };
        if self.held.is_none() {
            let message = format!("The statement ({id}) has no open cursor.");
            return self.refuse(&Problem::Request(1421, message.into())).await;
        }
        let source = Arc::clone(&known.source);
        let statement = Recognised { class: Class::Read, uses: Uses::empty(), hint: None };
        let execution = Execution {
            id,
            source: &source,
            payload,
            types: None,
            bound_at: None,
            carries_types: false,
            executes: false,
        };
        let work = Work {
            packets: command.packets(),
            expect,
            statement,
            text: None,
            preparing: None,
            execution: Some(execution),
        };
        if expect == Expect::Simple {
            self.statements.cursors.remove(&id);
            self.set_pins(self.statements.pins(self.pins));
        }
        let route = plan::Route { target: Target::Held, reason: plan::Reason::Pinned };
        self.perform(&work, route).await
    }

    /// COM_STMT_CLOSE: no reply. What is open on servers stays open for others.
    pub(super) fn close_statement(&mut self, command: &Command) -> Flow {
        let Some(id) = statement_id(command.payload()).map(|id| self.statements.resolve(id)) else {
            return Flow::Continue;
        };
        let Some(known) = self.statements.known.remove(&id) else { return Flow::Continue };
        if self.pins.intersects(Pins::CURSOR | Pins::LONG_DATA)
            && let Some(mut held) = self.held.take()
        {
            // A cursor or long data of it ends with it.
            held.statements.remove(&known.source);
            self.statements.cursors.remove(&id);
            self.statements.long_data.remove(&id);
            self.set_pins(self.statements.pins(self.pins));
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
