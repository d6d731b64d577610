//! Reads that wait for a server which hangs: they are told, so that they run again elsewhere.
//!
//! Does not know: which statements can (their sessions do), how a server is found to be down. Invariant: a server that answers its
//! probes is waited for, however long it takes.

use std::sync::Arc;
use std::time::Duration;

use crate::execute::client::Signals;
use crate::registry::Registry;
use crate::topology::{State, Topology};

/// How often it is looked while a server is down: a statement may have gone there by an older snapshot.
const PERIOD: Duration = Duration::from_millis(250);

/// Tells sessions of servers that are down, for as long as it runs.
pub(super) async fn rescue(registry: Arc<Registry>, topology: Arc<Topology>) {
    let mut changes = topology.subscribe();
    loop {
        changes.mark_unchanged(); // before the look, so that no change falls between the look and the wait
        let down: Vec<_> = {
            let snapshot = topology.snapshot();
            let down = snapshot.servers.iter().filter(|server| server.state == State::Down);
            down.map(|server| server.id).collect()
        };
        for server in &down {
            registry.raise_at(*server, Signals::DOWN);
        }
        let change = changes.changed();
        let ended = match down.is_empty() {
            true => change.await.is_err(),
            false => tokio::time::timeout(PERIOD, change).await.is_ok_and(|changed| changed.is_err()),
        };
        if ended {
            return;
        }
    }
}
