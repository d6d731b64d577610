//! What a pool does about once a second: close what is idle too long, too old or gone, and open what `min_idle` asks for.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Pool;
use crate::backend::account::Account;
use crate::backend::connect::Opening;
use crate::backend::connection::{Connection, Key};
use crate::backend::server::Server;
use crate::ids::ServerId;

/// How long before its server would a connection is closed that is idle; more than the time between two tidyings.
const HASTE: Duration = Duration::from_secs(2);

/// An account in use.
#[derive(Debug)]
pub(super) struct User {
    pub account: Arc<Account>,
    pub seen: Instant,
}

impl Pool {
    /// Closes connections that are idle too long, too old, or gone; to be called about once a second. `patience`: how long
    /// a server lets connections of a kind be idle. One is closed shortly before its server would, so that no statement is
    /// sent into a connection that is just being closed.
    pub fn tidy(&self, patience: impl Fn(ServerId, Key) -> Duration) {
        let now = Instant::now();
        let mut closing = Vec::new();
        {
            let mut idle = self.idle.borrow_mut();
            for ((server, key), list) in idle.iter_mut() {
                let Some(known) = self.server(*server).filter(|server| !server.must_close()) else {
                    closing.append(list);
                    continue;
                };
                let (idle_timeout, min_idle) = (known.settings().idle_timeout, self.min_idle(&known));
                let usual = patience(*server, *key);
                let mut spare = list.len().saturating_sub(min_idle);
                for at in (0..list.len()).rev() {
                    let connection = &mut list[at];
                    let old = spare > 0 && now.duration_since(connection.used) >= idle_timeout;
                    let patience = own_patience(connection).unwrap_or(usual).saturating_sub(HASTE);
                    let unsafe_soon = now.duration_since(connection.spoken_to) >= patience;
                    if old || unsafe_soon || now >= connection.expires || connection.is_stale() {
                        spare = spare.saturating_sub(1);
                        closing.push(list.remove(at));
                    }
                }
            }
            idle.retain(|_, list| !list.is_empty());
        }
        closing.into_iter().for_each(|connection| self.close(connection));
        let is_gone = |server: &Rc<Server>| server.is_gone() && self.idle(server.id) == 0;
        self.servers
            .borrow_mut()
            .iter_mut()
            .for_each(|server| drop(server.take_if(|server| is_gone(server))));
    }

    /// Opens connections until `min_idle` lie here for every account in use; forgets accounts that are not in use any
    /// more. To be called beside [`Pool::tidy`].
    pub async fn refill(self: Rc<Self>) {
        if self.refilling.replace(true) {
            return; // a slow server: the one before is still at it
        }
        self.refill_once().await;
        self.refilling.set(false);
    }

    async fn refill_once(self: &Rc<Self>) {
        let now = Instant::now();
        let mut short = Vec::new();
        {
            let idle = self.idle.borrow();
            let mut users = self.users.borrow_mut();
            for (place, user) in users.iter_mut() {
                let list = idle.get(place).map_or(&[][..], Vec::as_slice);
                user.seen = list.iter().map(|connection| connection.used).fold(user.seen, Instant::max);
            }
            let in_use = |(server, _): &(ServerId, Key), user: &User| {
                let stays = self.server(*server).filter(|server| !server.is_closing());
                let idle_timeout = stays.map(|server| server.settings().idle_timeout);
                idle_timeout.is_some_and(|limit| now.duration_since(user.seen) < limit)
            };
            users.retain(|place, user| in_use(place, user));
            for (place, user) in users.iter() {
                let wanted = self.server(place.0).map_or(0, |server| self.min_idle(&server));
                let missing = wanted.saturating_sub(idle.get(place).map_or(0, Vec::len));
                short.push((*place, Arc::clone(&user.account), user.seen, missing));
            }
        }
        for ((server, key), account, seen, missing) in short {
            let Some(known) = self.server(server) else { continue };
            for _ in 0..missing {
                let Some(permit) = known.gate.try_permit() else { break };
                // A server that cannot be reached is the monitor's business; it is tried again in a second.
                let Ok(mut connection) =
                    self.open(&known, &account, key.class, Opening::default(), permit).await
                else {
                    break;
                };
                connection.used = seen;
                self.keep(connection);
            }
            if let Some(user) = self.users.borrow_mut().get_mut(&(server, key)) {
                user.seen = seen; // our own opening is no use
            }
        }
    }
}
/// The `wait_timeout` that a session has set on the connection.
fn own_patience(connection: &Connection) -> Option<Duration> {
    let text = std::str::from_utf8(connection.state.get(b"wait_timeout")?).ok()?;
    text.parse().ok().map(Duration::from_secs)
}
