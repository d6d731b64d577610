//! Sees servers off: those that drain and those that leave finish what they have begun, and no more.
//!
//! Owns: the time limit of that. Does not know: why a server goes. Invariant: a server that leaves is forgotten only when no
//! connection to it is open; past the limit the sessions that still are there are ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::fleet::Fleet;
use crate::config::Config;
use crate::execute::client::Signals;
use crate::ids::ServerId;
use crate::registry::Registry;
use crate::topology::{Server, Standing, Topology};

/// How often servers that are going are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The steward at work.
pub(super) struct Steward {
    pub fleet: Arc<Fleet>,
    pub registry: Arc<Registry>,
    pub topology: Arc<Topology>,
    pub config: Arc<ArcSwap<Config>>,
}

/// A server that goes.
struct Going {
    since: Instant,
    /// The log knows that the time is over.
    told: bool,
}

impl Default for Going {
    fn default() -> Self {
        Self { since: Instant::now(), told: false }
    }
}

impl Steward {
    /// Works until it is dropped.
    pub async fn work(self) {
        let mut changes = self.topology.subscribe();
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut going: HashMap<ServerId, Going> = HashMap::new();
        loop {
            if going.is_empty() {
                if changes.changed().await.is_err() {
                    return;
                }
            } else {
                ticks.tick().await;
            }
            changes.mark_unchanged(); // before the look
            let snapshot = Arc::clone(&self.topology.snapshot());
            going.retain(|id, _| snapshot.server(*id).is_some_and(Server::is_closing));
            for server in &snapshot.servers {
                if let Some(shared) = self.fleet.known(server.id)
                    && shared.is_closing() != server.is_closing()
                {
                    shared.set_closing(server.is_closing());
                }
                if server.is_closing() {
                    self.see_off(server, going.entry(server.id).or_default());
                }
            }
        }
    }

    fn see_off(&self, server: &Server, going: &mut Going) {
        let open = self.fleet.known(server.id).map_or(0, |shared| shared.gate.open());
        if open > 0 && going.since.elapsed() >= self.config.load().drain_timeout {
            let sessions = self.registry.raise_at(server.id, Signals::KILL);
            if sessions > 0 && !std::mem::replace(&mut going.told, true) {
                tracing::warn!(server = %server.address, sessions, "drain time is over: sessions that are still there are ended");
            }
        }
        if open == 0 && server.standing == Standing::Leaving {
            self.fleet.forget(server);
        }
    }
}
