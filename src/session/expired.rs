//! A session whose account's password has expired.
//!
//! Owns: its one server connection. Does not know: when a password has expired; the server says so. Invariant: all of its
//! commands go to that connection, where the server refuses what may not be done yet (1820), also once a new password is
//! set: the session never learns it, so it cannot open another.

use std::sync::Arc;

use super::pins::Pins;
use super::{Flow, Problem, Session, reply};
use crate::backend::connection::Connection;
use crate::plan::{Reason, Route, Target};

impl Session {
    /// Ends the login of an account whose password has expired. False when the client must go.
    pub(super) async fn finish_expired_login(&mut self, database: Option<&[u8]>, sequence: u8) -> bool {
        match self.connect_expired(database).await {
            Ok(connection) => {
                self.desired = Arc::clone(&connection.state);
                self.status = connection.status;
                self.held = Some(connection);
                self.set_pins(Pins::EXPIRED_PASSWORD);
                let ok = reply::ok(sequence, self.status, 0, self.client.capabilities);
                self.tell(&ok).await == Flow::Continue
            }
            Err(problem) => {
                tracing::debug!(client = %self.entry.handle.id, %problem, "login refused");
                self.tell(&reply::error(sequence, &problem.packet())).await;
                false
            }
        }
    }

    async fn connect_expired(&mut self, database: Option<&[u8]>) -> Result<Box<Connection>, Problem> {
        // A password is changed on the primary, and replicates.
        let mut route = Route { target: Target::Primary, reason: Reason::Pinned };
        let (server, _) = self.choose(&mut route, &mut Vec::new(), &mut None).await?;
        Ok(self.lease_from(server, database).await?)
    }
}
