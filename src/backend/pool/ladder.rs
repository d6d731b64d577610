//! The check-in ladder: a connection that comes back is reused as it is, rolled back, reset, or closed.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Pool;
use crate::backend::connection::Connection;
use crate::ids::ServerId;
use crate::observe::Rung;
use crate::wire::ok::Status;

/// Time for a roll back or a reset at check-in.
const REPAIR_LIMIT: Duration = Duration::from_secs(5);

impl Pool {
    /// Takes a connection back: the ladder is reuse, roll back, reset, close.
    pub fn check_in(self: &Rc<Self>, mut connection: Box<Connection>) {
        connection.spilled = None;
        let now = Instant::now();
        let must_close = self.closed.get() || self.server(connection.server).is_none_or(|s| s.must_close());
        if connection.broken || connection.worn_out || must_close || now >= connection.expires {
            self.checked_in(connection.server, Rung::Close);
            self.close(connection);
        } else if connection.dirty
            || connection.status.intersects(Status::IN_TRANSACTION | Status::MORE_RESULTS)
        {
            let pool = Rc::clone(self);
            tokio::task::spawn_local(async move { pool.repair(connection).await });
        } else {
            self.checked_in(connection.server, Rung::Reuse);
            connection.used = now;
            connection.spoken_to = now;
            self.keep(connection);
        }
    }

    /// As [`Pool::check_in`], but returns only when a transaction is rolled back and what must be reset is reset.
    pub async fn check_in_settled(self: &Rc<Self>, connection: Box<Connection>) {
        let unsettled = connection.dirty || connection.status.contains(Status::IN_TRANSACTION);
        if unsettled && !connection.broken && !self.closed.get() {
            Rc::clone(self).repair(connection).await;
        } else {
            self.check_in(connection);
        }
    }

    async fn repair(self: Rc<Self>, mut connection: Box<Connection>) {
        let Some(server) = self.server(connection.server) else { return };
        let mut buffer = self.buffers.take();
        let (work, rung) = if connection.dirty {
            let work = async {
                connection.pay_debt(&mut buffer).await?; // the reset would take it
                connection.reset(&server, &mut buffer).await
            };
            (timeout(REPAIR_LIMIT, work).await, Rung::Reset)
        } else {
            let work = async { connection.run(b"ROLLBACK", &mut buffer).await?.into_ok().map(|_| ()) };
            (timeout(REPAIR_LIMIT, work).await, Rung::Rollback)
        };
        if matches!(work, Ok(Ok(())))
            && buffer.filled().is_empty()
            && !connection.status.contains(Status::IN_TRANSACTION)
            && !connection.worn_out
        {
            self.checked_in(connection.server, rung);
            connection.spoken_to = Instant::now();
            self.keep(connection);
        } else {
            self.checked_in(connection.server, Rung::Close);
            self.close(connection);
        }
    }

    fn checked_in(&self, server: ServerId, rung: Rung) {
        if let Some(server) = self.server(server) {
            server.lease_ends();
            server.metrics.checked_in(rung);
        }
    }
}
