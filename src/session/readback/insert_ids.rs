//! LAST_INSERT_ID() of a session whose statements run on many connections.
//!
//! Owns: when the value is read back, brought, and noted. Does not know: how it is kept (`backend::insert_id`).
//! Invariant: a statement that may name it runs on the connection that has it, or where it was brought; a connection on which
//! a statement may make an id has none, or this session's newest.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::backend::connection::{Connection, Key};
use crate::backend::insert_id::{InsertId, Place};
use crate::execute::relay::End;
use crate::session::Session;
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::diagnostics::At;
use crate::session::lease::ABOUT_BEFORE;
use crate::sql::{Class, Recognised, Uses};

/// How long another session may take to read our value back.
const OTHERS_LIMIT: Duration = Duration::from_secs(5);

/// Whether the statement may make an id, with or without a word of it. Those that may name it are brought it.
fn may_make(statement: Recognised) -> bool {
    !matches!(
        statement.class,
        Class::Empty
            | Class::Read
            | Class::Show
            | Class::ShowServer
            | Class::Diagnostics
            | Class::LockingRead
            | Class::Begin(_)
            | Class::EndOrSavepoint
            | Class::Set
            | Class::SetGlobal
            | Class::Use
    )
}

impl Session {
    /// Whether what is noted on the connection must be taken from it before the statement: another session's value, which
    /// that may ask for, or an older one, which would be taken for what the statement has made.
    pub(in crate::session) fn must_take(
        &self,
        debt: &Arc<InsertId>,
        here: At,
        statement: Recognised,
    ) -> bool {
        if Arc::ptr_eq(debt, &self.insert_id) {
            // Whoever asks about the statement before asks this connection, as that has left it.
            may_make(statement) && !statement.uses.intersects(ABOUT_BEFORE) && !debt.place().is_on(here)
        } else {
            may_make(statement) || Arc::strong_count(debt) > 1 && debt.place().is_on(here)
        }
    }

    /// What LAST_INSERT_ID() must be set to in front of a statement that may name it; [`Session::call_in_insert_id`] came before.
    pub(in crate::session) fn insert_id_to_bring(&self, uses: Uses) -> Option<String> {
        match self.insert_id.place() {
            // Of a session that has made none, too: the connection may have another's.
            Place::Nowhere => Some("0".to_owned()),
            Place::Known(value) => Some(value.to_string()),
            // A SET would take the row count that the same statement asks about.
            Place::On { .. } if uses.intersects(ABOUT_BEFORE) => None,
            Place::On { before: Some(before @ 1..), .. } => {
                // Without the cast it is a DECIMAL to MySQL, which it does not take back.
                Some(format!("CAST(IF(LAST_INSERT_ID(),LAST_INSERT_ID(),{before}) AS UNSIGNED)"))
            }
            Place::On { .. } => None,
        }
    }

    /// Has the value, where it is on another connection than this one.
    pub(in crate::session) async fn call_in_insert_id(&mut self, but: Option<At>) {
        let Place::On { server, id, .. } = self.insert_id.place() else { return };
        if Some((server, id)) == but {
            return;
        }
        let key = Key { account: self.account.id, class: self.class };
        // Held by this session, where the statement is a plain read beside a soft pin.
        if let Some(mut held) = self.held.take_if(|held| (held.server, held.id) == (server, id)) {
            self.read_insert_id(&mut held).await;
            self.hold(held);
        } else if let Some(mut branch) = self.sites.take_branch((server, id)) {
            self.read_insert_id(&mut branch.held).await;
            self.sites.parked.push(branch);
        } else if let Some(mut there) = self.worker.pool.take_exactly(server, key, id) {
            self.read_insert_id(&mut there).await;
            self.worker.pool.check_in(there);
        } else if timeout(OTHERS_LIMIT, self.insert_id.settled()).await.is_err() {
            self.insert_id.give_up(); // somebody else had it, and was to read the value back for us
        }
    }

    /// The value is known after it.
    async fn read_insert_id(&self, there: &mut Connection) {
        let mut buffer = self.worker.buffers.take();
        let paid = timeout(PRELUDE_LIMIT, there.pay_debt(&mut buffer)).await;
        there.broken |= !matches!(paid, Ok(Ok(()))) || !buffer.filled().is_empty();
        there.user = None; // what the client may ask about its last statement is gone from it
        if self.insert_id.place().is_on((there.server, there.id)) {
            self.insert_id.give_up();
        }
    }

    /// The statement has run here: where the value is now. Servers tell of an id that was made, or given, except where the
    /// statement has failed behind its first rows, and where its rows are returned (tried on both dialects).
    pub(in crate::session) async fn note_insert_id(
        &mut self,
        connection: &mut Connection,
        end: &End,
        statement: Recognised,
    ) {
        if let Some(id) = end.made {
            return self.note_made(connection, id, statement);
        }
        let named = statement.may_use_insert_id();
        let untold = matches!(statement.class, Class::Write | Class::Ddl)
            && (end.error.is_some() || end.rows.is_some());
        if end.insert_id == 0 && !named && !untold {
            return;
        }
        let here = (connection.server, connection.id);
        self.call_in_insert_id(Some(here)).await;
        let place = self.insert_id.place().after(here, end.insert_id);
        self.insert_id.put(if named { place.named() } else { place });
        connection.debt = Some(Arc::clone(&self.insert_id));
    }
}
