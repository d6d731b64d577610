//! Something to be done on a server for the client.
//!
//! Owns: what a statement is, as it is sent, and what of it decides whether it may be sent twice. Does not know: servers.

use std::sync::Arc;

use super::readback::contains_word;
use super::statements::execution::Execution;
use super::statements::texts::About;
use crate::backend::statements::Source;
use crate::sql::{self, Class, Lexing, Recognised, Uses};
use crate::wire::command;
use crate::wire::frame::HEADER;
use crate::wire::reply::Expect;

/// Something to be done on a server for the client.
pub(super) struct Work<'a> {
    /// The client's packets, as they are to be sent.
    pub packets: &'a [u8],
    /// What kind of reply comes.
    pub expect: Expect,
    /// What the statement is.
    pub statement: Recognised,
    /// Its text, where it came as such.
    pub text: Option<&'a [u8]>,
    /// For COM_STMT_PREPARE: the source, and the id that the client will know.
    pub preparing: Option<(Arc<Source>, u32)>,
    /// For COM_STMT_EXECUTE and its kin.
    pub execution: Option<Execution<'a>>,
    /// For text PREPARE, EXECUTE, DEALLOCATE of what need not stay on its connection.
    pub about: Option<About>,
}

impl<'a> Work<'a> {
    /// A command that is not a statement's text.
    pub fn command(packets: &'a [u8], expect: Expect, statement: Recognised) -> Self {
        Self { packets, expect, statement, text: None, preparing: None, execution: None, about: None }
    }

    /// The statement's text, of an EXECUTE that which it executes; empty for commands without one.
    pub fn sql(&self) -> &[u8] {
        if let Some(About::Execute(text, _)) = &self.about {
            return &text.sql;
        }
        let executed = self.execution.as_ref().map(|execution| &*execution.source.text);
        let prepared = self.preparing.as_ref().map(|(source, _)| &*source.text);
        self.text.or(executed).or(prepared).unwrap_or_default()
    }

    /// It is a text PREPARE of what need not stay on its connection.
    pub fn prepares_text(&self) -> bool {
        matches!(self.about, Some(About::Prepare(..)))
    }

    /// Its reply is SHOW PROCESSLIST's.
    pub fn lists_processes(&self) -> bool {
        self.statement.class == Class::ShowServer && self.statement.uses.contains(Uses::PROCESSES)
    }

    /// The database that USE or COM_INIT_DB names, where its name can be told.
    pub fn database(&self, lexing: &Lexing) -> Option<Vec<u8>> {
        match self.packets.get(HEADER..) {
            Some([command::INIT_DB, name @ ..]) => Some(name.to_vec()),
            _ => sql::used_database(self.sql(), lexing),
        }
    }

    /// Whether the session may have another default database behind it. What a server says of that behind other statements is late: it
    /// keeps what one that has failed would have said.
    pub fn may_change_database(&self) -> bool {
        let Recognised { class, uses, .. } = self.statement;
        let names = |words: &[&[u8]]| words.iter().any(|word| contains_word(self.sql(), word));
        match class {
            Class::Use | Class::TextPrepared => true,
            // Of a routine in another database, MariaDB reports the way back.
            Class::Call => self.sql().contains(&b'.'),
            _ if uses.contains(Uses::DOUBT) => true,
            _ if uses.contains(Uses::MULTIPLE) => {
                names(&[b"use", b"call", b"execute", b"database", b"schema"])
            }
            Class::Ddl => names(&[b"database", b"schema"]),
            _ => false,
        }
    }

    /// Whether it may run a second time where the first has sent nothing: reads that were meant for a replica, and what only begins a
    /// transaction.
    pub fn is_repeatable(&self, on_replica: bool) -> bool {
        let Recognised { class, uses, .. } = self.statement;
        on_replica && matches!(class, Class::Read | Class::Show | Class::Begin(_))
            || matches!(class, Class::Begin(_)) && !uses.contains(Uses::MULTIPLE)
            || self.preparing.is_some()
    }

    /// Whether nothing of it has been done where a server has refused it as read only: not so of what consists of several statements.
    pub fn is_whole_or_nothing(&self) -> bool {
        matches!(self.statement.class, Class::Write | Class::Ddl)
            && !self.statement.uses.contains(Uses::MULTIPLE)
    }
}
