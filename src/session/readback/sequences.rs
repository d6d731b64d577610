//! MariaDB's sequences: LASTVAL() and PREVIOUS VALUE FOR answer for the connection on which NEXTVAL() ran.
//!
//! Owns: which accounts ask, where a session has last drawn, and what follows. Does not know: names, values.
//! Invariant: what the session has drawn is asked of the connection that knows it, or not at all.

use std::cell::RefCell;
use std::collections::HashSet;

use crate::backend::connection::{Connection, Key};
use crate::ids::AccountId;
use crate::session::diagnostics::At;
use crate::session::pins::Pins;
use crate::session::{Problem, Session};
use crate::sql::{Recognised, Uses};

/// Accounts that are remembered; beyond, all are forgotten.
const ACCOUNTS_MAX: usize = 256;

const LOST: &str = "LASTVAL() and PREVIOUS VALUE FOR cannot be answered here: another session has drawn from a sequence on this one's \
                    connection since; ask in the transaction of NEXTVAL(). The next NEXTVAL() keeps its connection";

/// Accounts of which some client has asked for the last value. Most never do: sequences are drawn from by programs that take the value
/// from NEXTVAL()'s own answer, and are not worth a pin.
#[derive(Debug, Default)]
pub(in crate::session) struct Askers(RefCell<HashSet<AccountId>>);

impl Askers {
    /// Whether one of this account's has.
    pub fn contains(&self, account: AccountId) -> bool {
        self.0.borrow().contains(&account)
    }

    fn insert(&self, account: AccountId) {
        let mut accounts = self.0.borrow_mut();
        if accounts.len() >= ACCOUNTS_MAX {
            accounts.clear();
        }
        accounts.insert(account);
    }
}

impl Session {
    /// The statement has run: notes what it has drawn. From the first question on, an account's sessions keep the connections
    /// on which they draw.
    pub(in crate::session) fn note_sequences(
        &mut self,
        connection: &mut Connection,
        statement: Recognised,
        pins: Pins,
    ) -> Pins {
        let account = self.account.id;
        if statement.uses.contains(Uses::SEQUENCE_LAST) {
            self.worker.sequence_askers.insert(account);
        }
        if statement.uses.contains(Uses::SEQUENCE) {
            connection.sequences_of = Some(self.me());
            self.sequence_at = Some((connection.server, connection.id));
        }
        let knows = self.sequence_at == Some((connection.server, connection.id));
        if knows && self.worker.sequence_askers.contains(account) { pins | Pins::SEQUENCE } else { pins }
    }

    /// The connection on which the session has drawn, for a statement that asks for the last value and finds none held.
    ///
    /// # Errors
    /// Another session has drawn there since.
    pub(in crate::session) fn take_drawn_on(&mut self) -> Result<Option<Box<Connection>>, Problem> {
        let Some((server, id)) = self.sequence_at else { return Ok(None) };
        let key = Key { account: self.account.id, class: self.class };
        if let Some(connection) = self.worker.pool.take_exactly(server, key, id) {
            if connection.sequences_of == Some(self.me()) {
                return Ok(Some(connection));
            }
            self.worker.pool.check_in(connection);
        }
        Err(self.sequences_are_lost())
    }

    /// What is told where the connection that knows is another session's, until the session has drawn anew.
    pub(in crate::session) fn sequences_are_lost(&mut self) -> Problem {
        self.worker.sequence_askers.insert(self.account.id);
        Problem::Unsupported(LOST.into())
    }

    /// Whether the held connection does not know what the session has drawn.
    pub(in crate::session) fn has_drawn_elsewhere(&self, held: At) -> bool {
        self.sequence_at.is_some_and(|at| at != held)
    }

    /// Whether others have drawn on the connection, and this session may ask what was drawn.
    pub(in crate::session) fn must_forget_sequences(
        &self,
        connection: &Connection,
        statement: Recognised,
    ) -> bool {
        connection.sequences_of.is_some_and(|user| user != self.me())
            && (statement.uses.contains(Uses::SEQUENCE_LAST)
                || self.worker.sequence_askers.contains(self.account.id))
    }
}
