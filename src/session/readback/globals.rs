//! SET GLOBAL: sessions that log in later begin with the new values, and sessions that are there keep those that they began with.
//!
//! Owns: what is asked before one, and what follows for this session and the connections that it uses. Does not know: what other sessions
//! have done on the servers by another way. Invariant: a connection's state says of each variable that has changed since its login, or its
//! last reset, what it is there.

use std::sync::Arc;

use crate::backend::connection::Connection;
use crate::backend::epoch::Before;
use crate::backend::exchange::Answer;
use crate::backend::state::State;
use crate::session::Session;
use crate::session::lease::ABOUT_BEFORE;
use crate::session::pins::Pins;
use crate::session::work::Work;
use crate::sql::{self, Class};
use crate::wire::capabilities::Capabilities;

impl Session {
    /// Takes in, between two statements, what others have changed since this session began. Not while something is open that knows its
    /// statement by the state in which that was prepared.
    pub(in crate::session) fn outlast_globals(&mut self) {
        let now = self.worker.pool.globals();
        if self.globals == now || self.pins.intersects(Pins::CURSOR | Pins::LONG_DATA) {
            return;
        }
        let before = self.worker.pool.globals_between(self.globals, now);
        self.globals = now;
        let spaced = self.class.capabilities.contains(Capabilities::IGNORE_SPACE);
        self.statements.outlast(&before, spaced, &self.worker.hasher);
        let mut own = (*self.desired).clone();
        if own.outlast(&before, spaced) {
            self.desired = Arc::new(own);
            self.relex();
        }
        // The first value of each is the one that the session began with.
        for (name, value) in before {
            if self.outlasted.iter().all(|(known, _)| *known != name) {
                self.outlasted.push((name, value));
            }
        }
    }

    /// The same of a connection, as far as this session knows of it.
    pub(in crate::session) fn outlast_globals_on(&self, connection: &mut Connection) {
        if connection.globals >= self.globals {
            return;
        }
        let before = self.worker.pool.globals_between(connection.globals, self.globals);
        connection.globals = self.globals;
        let mut there = (*connection.state).clone();
        if there.outlast(&before, connection.capabilities.contains(Capabilities::IGNORE_SPACE)) {
            connection.state = Arc::new(there);
        }
    }

    /// A state of this session's from before, with what has changed since.
    pub(in crate::session) fn outlasting(&self, mut state: State) -> State {
        state.outlast(&self.outlasted, self.class.capabilities.contains(Capabilities::IGNORE_SPACE));
        state
    }

    /// What is asked in front of a SET GLOBAL, where it may change what sessions begin with.
    pub(in crate::session) fn question_of_globals(&self, work: &Work<'_>) -> Option<Vec<u8>> {
        if work.statement.class != Class::SetGlobal
            || work.preparing.is_some()
            || work.statement.uses.intersects(ABOUT_BEFORE)
            || self.pins.intersects(Pins::MEASURED)
        {
            return None;
        }
        let names = sql::global_variables(work.sql(), &self.lexing)?;
        let list = names.join(&b"','"[..]);
        let question = [&b"SHOW GLOBAL VARIABLES WHERE Variable_name IN ('"[..], &list, b"')"].concat();
        (!names.is_empty()).then_some(question)
    }

    /// A SET has succeeded that is no session's alone.
    pub(in crate::session) fn note_set_global(&mut self, connection: &Connection, work: &Work<'_>) {
        if sql::global_variables(work.sql(), &self.lexing).is_none() {
            return;
        }
        if !self.globals_before.is_empty() {
            self.worker.pool.note_globals(std::mem::take(&mut self.globals_before));
        }
        self.worker.pool.age();
        self.topology.look_again(connection.server);
    }
}

/// Names and values.
pub(in crate::session) fn values(answer: Answer) -> Vec<Before> {
    let row = |row: Vec<Option<Vec<u8>>>| {
        let mut columns = row.into_iter();
        Some((columns.next()??.to_ascii_lowercase(), columns.next()??))
    };
    answer.rows.into_iter().filter_map(row).collect()
}
