//! One statement on one connection: what must be sent before it, the statement, the relay of its reply.
//!
//! Owns: what goes out in one write. Does not know: which connection, what becomes of a statement that fails (`perform`).

pub(super) mod failure;
pub(super) mod guard;
pub(super) mod prelude;
pub(super) mod refusal;

use self::failure::Failure;
use self::guard::pipelines;
use self::prelude::Step;
use super::Session;
use super::pins::Pins;
use super::reply::Rows;
use super::statements::execution::Execution;
use super::work::Work;
use crate::backend::connection::Connection;
use crate::execute::client::Kept;
use crate::execute::relay::{End, RelayError, relay};
use crate::wire::buffer::Buffer;
use crate::wire::ok::Status;
use crate::wire::reply::Scanner;

impl Session {
    /// Sends what must go before, then the statement, and relays the reply.
    pub(super) async fn attempt(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) -> Result<End, Failure> {
        let mut buffer = self.worker.buffers.take();
        let mut before = Vec::new();
        let mut steps = Vec::new();
        self.catch_up(connection, work, &mut before, &mut steps, &mut buffer).await?;
        let execution = work.execution.as_ref();
        if let Some(untyped) = execution.filter(|e| e.lacks_types())
            && !self.pins.intersects(Pins::CURSOR | Pins::LONG_DATA)
        {
            connection.statements.renew(untyped.source);
        }
        let prepares = execution.is_some_and(|execution| self.is_to_prepare(connection, execution));
        let harmless = steps.iter().all(Step::is_harmless);
        let in_transaction = connection.status.contains(Status::IN_TRANSACTION);
        let missing = self.missing_texts(connection, work);
        if !before.is_empty()
            && (prepares || !missing.is_empty() || !(harmless || pipelines(work, in_transaction)))
        {
            // What must not run in a wrong state waits until the state is known to be right; nor is anything prepared
            // in a wrong one.
            connection.stream.write_all(&before).await.map_err(Failure::Unsent)?;
            before.clear();
            self.consume(connection, &mut steps, &mut buffer).await?;
        }
        if !missing.is_empty() {
            let brought = self.bring_texts(connection, missing, work.about.is_some(), &mut buffer);
            self.unless_interrupted(brought).await?;
        }
        match &work.execution {
            Some(execution) => self.dress(connection, execution, &mut before, &mut buffer).await?,
            None if before.is_empty() => {
                connection.stream.write_all(work.packets).await.map_err(lost_in_write)?;
                return self.receive(connection, work, buffer).await;
            }
            None => before.extend_from_slice(work.packets),
        }
        connection.stream.write_all(&before).await.map_err(lost_in_write)?;
        match self.consume(connection, &mut steps, &mut buffer).await {
            Err(Failure::Unsent(error)) if !pipelines(work, in_transaction) => {
                return Err(lost_in_write(error));
            }
            consumed => consumed?,
        }
        self.receive(connection, work, buffer).await
    }

    /// Sends a command that gets no reply.
    pub(super) async fn send_only(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        execution: &Execution<'_>,
    ) -> Result<(), Failure> {
        let mut buffer = self.worker.buffers.take();
        let (mut before, mut steps) = (Vec::new(), Vec::new());
        self.client.may_move = false;
        self.catch_up(connection, work, &mut before, &mut steps, &mut buffer).await?;
        connection.stream.write_all(&before).await.map_err(Failure::Unsent)?;
        self.consume(connection, &mut steps, &mut buffer).await?;
        before.clear();
        self.dress(connection, execution, &mut before, &mut buffer).await?;
        connection.stream.write_all(&before).await.map_err(Failure::Unsent)
    }

    async fn receive(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        mut buffer: Buffer,
    ) -> Result<End, Failure> {
        let scanner = Scanner::new(work.expect, connection.capabilities);
        let id = work.preparing.as_ref().map(|(_, id)| *id);
        if work.lists_processes() || self.client.kept.is_none() && self.concerns_logins(work) {
            return Box::pin(self.receive_first(connection, work, buffer, scanner)).await;
        }
        let end =
            relay(connection, &mut self.client, &mut buffer, scanner, id).await.map_err(Failure::Relay)?;
        if self.client.kept.is_none() {
            self.worker.counters.sent(end.sent);
        }
        if !buffer.filled().is_empty() {
            return Err(Failure::Relay(RelayError::Protocol));
        }
        Ok(end)
    }
}

impl Session {
    /// The same where something is to be done with the reply before the client has it: a list of processes is changed, and behind what
    /// others log in with, they may do so as soon as the client knows.
    async fn receive_first(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        mut buffer: Buffer,
        scanner: Scanner,
    ) -> Result<End, Failure> {
        self.client.kept = Some(Kept::Whole(Vec::new()));
        let ended = relay(connection, &mut self.client, &mut buffer, scanner, None).await;
        let mut reply = self.client.kept.take().map(Kept::into_bytes).unwrap_or_default();
        let refused = matches!(&ended, Ok(end) if end.error.is_some());
        if !work.lists_processes() && !refused {
            self.note_for_logins(connection, work); // also where nobody knows whether it has succeeded
        }
        let mut end = ended.map_err(|error| match error {
            RelayError::Server { error, .. } => Failure::Relay(RelayError::Server { error, sent: false }),
            other => Failure::Relay(other),
        })?;
        if !buffer.filled().is_empty() {
            return Err(Failure::Relay(RelayError::Protocol));
        }
        if work.lists_processes() && !refused && !end.status.contains(Status::CURSOR_EXISTS) {
            let rows = if work.execution.is_some() { Rows::Binary } else { Rows::Text };
            reply = self.processlist_in_own_ids(connection, reply, rows);
        }
        end.sent = reply.len() as u64;
        self.worker.counters.sent(end.sent);
        self.client.send(&reply).await.map_err(|error| Failure::Relay(RelayError::Client(error)))?;
        Ok(end)
    }
}

/// A write that failed may have reached the server all the same.
fn lost_in_write(error: std::io::Error) -> Failure {
    Failure::Relay(RelayError::Server { error, sent: false })
}
