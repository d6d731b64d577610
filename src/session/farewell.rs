//! How a session ends that its client does not end: too long idle, killed, drained, or after a packet that cannot be answered.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::incoming::Incoming;
use super::{Session, reply};
use crate::execute::client::Signals;
use crate::sql::Dialect;
use crate::wire::capabilities::Capabilities;
use crate::wire::err::ErrPacket;

/// The servers' default `wait_timeout`, while none has been asked.
const WAIT_TIMEOUT: Duration = Duration::from_secs(28_800);

impl Session {
    /// The sweep has raised its signal when the client had just sent a command, which has been carried out since.
    pub(super) fn was_woken_too_early(&self) -> bool {
        let signals = &self.client.signals;
        if !signals.is_raised(Signals::IDLE) || self.is_idle_for_too_long() {
            return false;
        }
        signals.lower(Signals::IDLE);
        true // other signals are seen when the wait is begun again
    }

    pub(super) fn is_idle_for_too_long(&self) -> bool {
        self.entry.handle.idle.is_over(self.worker.registry.now())
    }

    /// The session may be idle as long as on a server: by its own `wait_timeout`, else by the server's for clients of
    /// its kind.
    pub(super) fn limit_idleness(&self) {
        let own =
            self.desired.get(b"wait_timeout").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let limit = own.map(Duration::from_secs).or_else(|| {
            let snapshot = self.topology.snapshot();
            let facts = snapshot.facts.as_ref()?;
            let interactive = self.class.capabilities.contains(Capabilities::INTERACTIVE);
            Some(if interactive { facts.interactive_timeout } else { facts.wait_timeout })
        });
        self.entry.handle.idle.set_limit(limit.unwrap_or(WAIT_TIMEOUT));
    }

    /// Tells the client why it is disconnected, where there is something to tell.
    pub(super) async fn dismiss(&mut self, why: Incoming) {
        let sequence = if let Incoming::TooLarge(sequence) = why { sequence } else { 1 };
        let error = match why {
            Incoming::Closed | Incoming::Idle | Incoming::Command(_) => return,
            Incoming::Signalled if self.client.signals.is_raised(Signals::KILL) => return,
            Incoming::Signalled if self.is_idle_for_too_long() => {
                // MariaDB says nothing (tried on 10.11). MySQL's packet answers none, so it is number 0.
                if self.lexing.server.dialect == Dialect::MySql {
                    let sent = self.client.send(&reply::error(0, &idle_for_too_long())).await;
                    tracing::debug!(client = %self.entry.handle.id, told = sent.is_ok(), "client was idle for too long");
                }
                return;
            }
            Incoming::Signalled => ErrPacket::new(1053, b"08S01", "Server shutdown in progress"),
            Incoming::TooLarge(_) => ErrPacket::new(
                1153,
                b"08S01",
                "Got a packet bigger than 'max_allowed_packet' bytes (Tidegate: limits.packet)",
            ),
            Incoming::NoMemory => ErrPacket::new(
                1041,
                b"HY000",
                "Tidegate: out of memory for large statements (limits.packet_memory)",
            ),
            Incoming::OutOfOrder => ErrPacket::new(1156, b"08S01", "Got packets out of order"),
        };
        tracing::info!(client = %self.entry.handle.id, code = error.code, "client dismissed");
        if self.client.send(&reply::error(sequence, &error)).await.is_ok() {
            self.linger().await;
        }
    }

    /// The client has been told that this is the end.
    pub(super) async fn end_told(&mut self) {
        // Who cannot be told so sees it by the end itself.
        if self.client.stream.shutdown().await.is_ok() {
            self.linger().await;
        }
    }

    /// Reads on for a moment, so that closing does not take the error away from a client that is still sending.
    pub(super) async fn linger(&mut self) {
        let work = async {
            let mut sink = self.worker.buffers.take();
            for _ in 0..4096 {
                match self.client.stream.read(sink.space()).await {
                    Ok(1..) => {}
                    _ => break,
                }
            }
        };
        // Whoever is not done by then loses the message, not more.
        drop(tokio::time::timeout(Duration::from_secs(1), work).await);
    }
}
/// ER_CLIENT_INTERACTION_TIMEOUT, in MySQL's words.
fn idle_for_too_long() -> ErrPacket {
    let message = "The client was disconnected by the server because of inactivity. See wait_timeout and \
                   interactive_timeout for configuring this behavior.";
    ErrPacket::new(4031, b"HY000", message)
}
