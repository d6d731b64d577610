//! Warnings that outlive their connection: read before it is given up, and told as the server has told them.
//!
//! Owns: the reply to SHOW WARNINGS of a session that was silent for a while. Does not know: what is in it.
//! Invariant: it is the reply about the statement before, byte for byte; it is gone with the next statement.

use tokio::time::timeout;

use crate::execute::client::Kept;
use crate::execute::relay::{End, RelayError, relay};
use crate::session::Session;
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::pins::Pins;
use crate::sql::{self, Class, Recognised};
use crate::wire::command;
use crate::wire::ok::Status;
use crate::wire::reply::{Expect, Scanner};

/// One more than are kept; servers have 1024 (`max_error_count`).
const QUESTION: &[u8] = b"SHOW WARNINGS LIMIT 1025";
const ROWS_MAX: u64 = 1024;
/// Longest reply that is kept for a session.
const BYTES_MAX: usize = 64 << 10;

impl Session {
    /// The held connection is about to be given up on which the last statement left warnings.
    pub(in crate::session) async fn keep_warnings(&mut self) {
        if self.last.warnings == 0
            || self.last.kept.is_some()
            || !self.pins.difference(Pins::PASSING).is_empty()
        {
            return;
        }
        let (me, place) = (self.me(), self.last.place);
        let Some(mut held) = self.held.take_if(|held| {
            place == Some((held.server, held.id))
                && held.user == Some(me)
                && !held.status.contains(Status::IN_TRANSACTION)
        }) else {
            return;
        };
        let mut buffer = self.worker.buffers.take();
        let mut question = Vec::with_capacity(QUESTION.len() + 8);
        command::put_query(&mut question, QUESTION, held.capabilities);
        let scanner = Scanner::new(Expect::Results, held.capabilities);
        self.client.kept = Some(Kept::Whole(Vec::new()));
        let asked = async {
            held.stream
                .write_all(&question)
                .await
                .map_err(|error| RelayError::Server { error, sent: false })?;
            relay(&mut held, &mut self.client, &mut buffer, scanner, None).await
        };
        let ended = timeout(PRELUDE_LIMIT, asked).await;
        let reply = self.client.kept.take().map(Kept::into_bytes).unwrap_or_default();
        match ended {
            Ok(Ok(End { error: None, rows: Some(1..=ROWS_MAX), .. })) if reply.len() <= BYTES_MAX => {
                self.last.kept = Some(reply.into());
            }
            Ok(Ok(_)) => {}
            _ => held.broken = true,
        }
        held.broken |= !buffer.filled().is_empty();
        self.held = Some(held);
    }

    /// The reply to SHOW WARNINGS, where the connection that could answer serves others by now.
    pub(in crate::session) fn kept_warnings(&self, text: &[u8], statement: Recognised) -> Option<Box<[u8]>> {
        let kept = self.last.kept.as_ref().filter(|_| statement.class == Class::Diagnostics)?;
        (!self.is_before_at_hand() && sql::shows_warnings(text, &self.lexing)).then(|| kept.clone())
    }
}
