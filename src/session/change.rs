//! COM_CHANGE_USER: another account, another session on the same connection.
//!
//! Owns: what becomes of the session, whether the change is allowed or not. Does not know: how passwords are proven.
//! Invariant: nothing of the session before is left, whatever the outcome; who is not allowed to change is who it was.

use std::sync::Arc;

use super::incoming::Command;
use super::worker::{Caller, NewUser, Refusal};
use super::{Flow, Problem, Session};
use crate::backend::account::Account;
use crate::backend::class::Class;
use crate::backend::state::State;
use crate::registry::{Handle, Who};
use crate::sql::Dialect;
use crate::wire::capabilities::Capabilities;
use crate::wire::handshake::Attributes;

/// Refused changes after which MariaDB knows the command no more on this connection; changes that were allowed between
/// them do not count them back (tried on 10.11, and in its suite: `change_user_notembedded`).
const REFUSED_MAX: u8 = 3;

/// Who a session was before it was to become another.
struct Former {
    handle: Arc<Handle>,
    account: Arc<Account>,
    attributes: Option<Box<Attributes>>,
    class: Class,
    epoch: u64,
    state: State,
}

impl Session {
    /// The command, from packet to answer. Where the change is refused MySQL closes the connection, MariaDB goes on as
    /// after COM_RESET_CONNECTION, with the database and the account from before (tried on both).
    pub(super) async fn change_user(&mut self, command: &Command) -> Flow {
        self.drop_state().await;
        let stays = self.lexing.server.dialect == Dialect::MariaDb && !self.account.expired;
        let former = self.former();
        if stays && self.changes_refused >= REFUSED_MAX {
            self.be_again(former);
            return self.refuse(&Problem::Request(1047, "Unknown command".into())).await;
        }
        let gatekeeper = Arc::clone(&self.worker.gatekeeper);
        let changing = gatekeeper.change_user(
            &mut self.client.stream,
            Caller { id: self.entry.handle.id, peer: self.entry.handle.who.peer },
            command.payload(),
            self.client.capabilities,
            &self.salt,
        );
        match changing.await {
            Ok(user) => {
                if self.become_user(user).await {
                    return Flow::Continue;
                }
            }
            Err(Refusal::Told) => {}
            Err(Refusal::Broken) => return Flow::Close,
        }
        if !stays {
            self.end_told().await;
            return Flow::Close;
        }
        self.changes_refused += 1;
        self.be_again(former);
        Flow::Continue
    }

    /// False where the database that it named is refused, which the client has been told.
    async fn become_user(&mut self, user: NewUser) -> bool {
        let several = self.class.capabilities.contains(Capabilities::MULTI_STATEMENTS);
        self.class = Class::of(self.client.capabilities, user.collation);
        self.class.capabilities.set(Capabilities::MULTI_STATEMENTS, several); // COM_SET_OPTION's word stands (tried)
        if self.lexing.server.dialect == Dialect::MariaDb {
            self.class.capabilities.remove(Capabilities::IGNORE_SPACE); // of the first login alone (tried)
        }
        let (handle, account) = (&self.entry.handle, Arc::clone(&user.account));
        let who = Who { account, class: self.class, peer: handle.who.peer };
        let handle = Handle::new(handle.id, who, Arc::clone(&self.client.signals));
        self.entry.replace(Arc::new(handle));
        self.account = user.account;
        self.epoch = self.worker.pool.epoch();
        self.attributes = user.attributes;
        self.desired = Arc::new(State::default());
        self.become_fresh();
        self.finish_login(user.database, user.sequence).await
    }

    fn former(&self) -> Former {
        let mut state = (*self.desired).clone();
        state.reset();
        state.role = None;
        Former {
            handle: Arc::clone(&self.entry.handle),
            account: Arc::clone(&self.account),
            attributes: self.attributes.clone(),
            class: self.class,
            epoch: self.epoch,
            state,
        }
    }

    fn be_again(&mut self, former: Former) {
        self.entry.replace(former.handle);
        self.account = former.account;
        self.attributes = former.attributes;
        self.class = former.class;
        self.epoch = former.epoch;
        self.desired = Arc::new(former.state);
        self.become_fresh();
    }
}
