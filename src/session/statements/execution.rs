//! An execution as one server connection must get it.
//!
//! Owns: preparing a statement where it is not yet, its id and types there. Does not know: routes, replies to clients.
//! Invariant: a server's statement id never reaches a client, and a client's never a server.

use std::sync::Arc;

use crate::backend::connection::Connection;
use crate::backend::exchange::{self, Answer};
use crate::backend::state::{Difference, State};
use crate::backend::statements::{Source, Use};
use crate::execute::relay::RelayError;
use crate::session::Session;
use crate::session::attempt::failure::Failure;
use crate::session::pins::Pins;
use crate::sql::Dialect;
use crate::wire::buffer::Buffer;
use crate::wire::capabilities::Capabilities;
use crate::wire::command;
use crate::wire::execute::{asks_for_cursor, with_types};
use crate::wire::frame::{HEADER, PAYLOAD_MAX, put_packet};
use crate::wire::reply::Expect;

/// An execution, or something else about a statement, to be written for one connection.
pub(in crate::session) struct Execution<'a> {
    /// The client's id of it.
    pub id: u32,
    pub source: &'a Arc<Source>,
    pub payload: &'a [u8],
    /// The client's types for this execution.
    pub types: Option<Arc<[u8]>>,
    /// Where the packet says whether types follow, if it has parameters.
    pub bound_at: Option<usize>,
    /// The packet itself carries the types.
    pub carries_types: bool,
    /// It is an execution, which ends long data.
    pub executes: bool,
}

impl Execution<'_> {
    /// It has parameters, and the client has never said of what types: servers take that where all are NULL (tried on both
    /// dialects), and must not take the types of another client's execution.
    pub fn lacks_types(&self) -> bool {
        self.bound_at.is_some() && self.types.is_none()
    }
}

impl Session {
    /// Appends the execution as this connection must get it, preparing the statement there first where needed.
    pub(in crate::session) async fn dress(
        &self,
        connection: &mut Connection,
        execution: &Execution<'_>,
        out: &mut Vec<u8>,
        buffer: &mut Buffer,
    ) -> Result<(), Failure> {
        let source = execution.source;
        let wanted = self.wanted(connection, execution);
        if self.is_to_prepare(connection, execution) {
            self.unless_interrupted(self.prepare_again(connection, source, buffer)).await?;
        }
        let Some(open) = connection.statements.get(source) else {
            return Err(Failure::Unsent(std::io::ErrorKind::NotFound.into()));
        };
        if let Some(wanted) = &wanted {
            open.note_use(wanted);
        }
        let id = open.id.to_le_bytes();
        let knows_types = execution.bound_at.is_none()
            || execution.carries_types
            || matches!((&open.types, &execution.types), (Some(a), Some(b)) if Arc::ptr_eq(a, b) || a == b);
        if execution.bound_at.is_some() {
            open.note_types(&execution.types);
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

    /// Whether the connection has no statement that the execution can use: what is there and does not fit is given up. Whoever
    /// has something else to send before sends that first, as nothing is prepared in a wrong state.
    pub(in crate::session) fn is_to_prepare(
        &self,
        connection: &mut Connection,
        execution: &Execution<'_>,
    ) -> bool {
        let wanted = self.wanted(connection, execution);
        match (connection.statements.get(execution.source), &wanted) {
            (Some(open), Some(wanted)) if !open.fits(wanted) => {
                connection.statements.remove(execution.source);
                true
            }
            (open, _) => open.is_none(),
        }
    }

    /// What an execution wants of a server's statement: of MySQL's, which remember. With data that was sent ahead it has to take what there is.
    fn wanted<'a>(&self, connection: &Connection, execution: &'a Execution<'_>) -> Option<Use<'a>> {
        let remembers = self.lexing.server.dialect == Dialect::MySql;
        let may_choose = execution.executes && !self.statements.open.long_data.contains(&execution.id);
        (remembers && may_choose).then(|| Use {
            types: execution.types.as_ref().filter(|_| execution.bound_at.is_some()),
            named: connection.capabilities.contains(Capabilities::QUERY_ATTRIBUTES),
            with_cursor: asks_for_cursor(execution.payload),
            by: self.me(),
            strict: self.is_away(),
        })
    }

    /// Does something before a statement that is not sent yet: as long as the server takes, for it may wait for a lock, and as long as the
    /// client is there, and has no reason to be elsewhere.
    pub(in crate::session) async fn unless_interrupted(
        &self,
        work: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        tokio::select! {
            biased;
            done = work => done,
            over = self.client.interrupted() => Err(match over.into_error(false) {
                RelayError::Server { error, .. } => Failure::Unsent(error),
                left => Failure::Relay(left),
            }),
        }
    }

    /// Prepares a client's statement on a connection that does not have it, in the state that it was prepared in.
    pub(in crate::session) async fn prepare_again(
        &self,
        connection: &mut Connection,
        source: &Arc<Source>,
        buffer: &mut Buffer,
    ) -> Result<(), Failure> {
        let mut prepare = Vec::with_capacity(source.text.len() + 8);
        put_packet(&mut prepare, 0, &[&[command::STMT_PREPARE], &source.text[..]].concat());
        let answer = self.prepare_in(connection, &source.state, &prepare, Expect::Prepared, buffer).await?;
        let id = answer.prepared.ok_or(Failure::Unsent(std::io::ErrorKind::InvalidData.into()))?;
        let max = self.open_max();
        connection.statements.insert(Arc::clone(source), id, max);
        Ok(())
    }

    /// Sends what prepares something, in the state that it was prepared in first, as far as that touches no open transaction.
    pub(in crate::session) async fn prepare_in(
        &self,
        connection: &mut Connection,
        state: &State,
        prepare: &[u8],
        expect: Expect,
        buffer: &mut Buffer,
    ) -> Result<Answer, Failure> {
        let handshake = connection.handshake();
        // A reset would take the other statements: then the present state must do.
        let way =
            |from: &State, to: &State| from.difference(to, &handshake).filter(|difference| !difference.reset);
        let state = &self.outlasting(state.within(&self.desired));
        let there = (*state != *self.desired).then(|| way(&self.desired, state)).flatten();
        let ways = there.zip(way(state, &self.desired));
        let capabilities = connection.capabilities;
        let mut packets = Vec::new();
        let put = |difference: &Difference, packets: &mut Vec<u8>| {
            if let Some(schema) = &difference.schema {
                put_packet(packets, 0, &[&[command::INIT_DB], &schema[..]].concat());
            }
            if let Some(set) = &difference.set {
                command::put_query(packets, set, capabilities);
            }
            usize::from(difference.schema.is_some()) + usize::from(difference.set.is_some())
        };
        let before = ways.as_ref().map_or(0, |(there, _)| put(there, &mut packets));
        packets.extend_from_slice(prepare);
        let after = ways.as_ref().map_or(0, |(_, back)| put(back, &mut packets));
        connection.stream.write_all(&packets).await.map_err(Failure::Unsent)?;
        for _ in 0..before {
            if let Err(error) = exchange::receive(connection, buffer, Expect::Simple).await?.into_ok() {
                connection.broken = true; // what follows has not been read
                return Err(match Failure::from(error) {
                    Failure::Prelude(error) => Failure::Reprepare(error), // it is not the session's own state
                    lost => lost,
                });
            }
        }
        let answer = exchange::receive(connection, buffer, expect).await?;
        for _ in 0..after {
            exchange::receive(connection, buffer, Expect::Simple).await?.into_ok()?;
        }
        match answer.error {
            Some(error) => Err(Failure::Reprepare(error)),
            None => Ok(answer),
        }
    }

    /// Statements that may be open on the connection in use. None is closed while one of them may have a cursor or long
    /// data; the client's own limit bounds them then.
    pub(in crate::session) fn open_max(&self) -> usize {
        if self.pins.intersects(Pins::CURSOR | Pins::LONG_DATA) {
            return usize::MAX;
        }
        self.worker.config.limits.prepared_per_backend_max
    }
}
