//! Sessions that are at a server which is no use to them any more: reads at one that hangs are told, so that they run again elsewhere;
//! everybody is told whose primary has been replaced, so that nothing which that one still acknowledges reaches a client.
//!
//! Does not know: which statements can run again (their sessions do), how a server is found to be down or replaced. Invariant: a server
//! that answers its probes is waited for, however long it takes, unless another has its place.

use std::sync::Arc;
use std::time::Duration;

use crate::execute::client::Signals;
use crate::registry::Registry;
use crate::topology::{Server, State, Topology};

/// How often it is looked while there is such a server: a statement may have gone there by an older snapshot.
const PERIOD: Duration = Duration::from_millis(250);

/// Tells sessions of servers that are down, for as long as it runs.
pub(super) async fn rescue(registry: Arc<Registry>, topology: Arc<Topology>) {
    let mut changes = topology.subscribe();
    loop {
        changes.mark_unchanged(); // before the look, so that no change falls between the look and the wait
        let of = |server: &Server| match (server.replaced, server.state) {
            (true, _) => Some((server.id, Signals::REPLACED)),
            (false, State::Down) => Some((server.id, Signals::DOWN)),
            _ => None,
        };
        let useless: Vec<_> = topology.snapshot().servers.iter().filter_map(of).collect();
        for (server, signal) in &useless {
            registry.raise_at(*server, *signal);
        }
        let change = changes.changed();
        let ended = match useless.is_empty() {
            true => change.await.is_err(),
            false => tokio::time::timeout(PERIOD, change).await.is_ok_and(|changed| changed.is_err()),
        };
        if ended {
            return;
        }
    }
}
