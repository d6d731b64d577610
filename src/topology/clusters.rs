//! All clusters of one process, each watched for itself.
//!
//! Does not know: what lies on which. Invariant: there is at least one, and a `ServerId` is of one cluster only.

use std::sync::Arc;

use super::book::Refused;
use super::monitor::Topology;
use super::resolve::{Resolve, System};
use super::snapshot::{Server, Snapshot};
use crate::config::Config;
use crate::ids::{ClusterId, ServerId, ServerIds};

/// The clusters by their ids.
#[derive(Debug)]
pub struct Clusters {
    all: Vec<Arc<Topology>>,
    home: Arc<Topology>,
}

impl Clusters {
    /// Watches the clusters of the configuration on the current tokio runtime.
    pub fn start(config: &Config) -> Self {
        Self::start_with(config, Arc::new(System))
    }

    /// The same with a resolver of one's own.
    pub fn start_with(config: &Config, resolver: Arc<dyn Resolve>) -> Self {
        let ids = ServerIds::default();
        let start =
            |cluster| Topology::start_with(cluster, &config.monitor, ids.clone(), Arc::clone(&resolver));
        let all: Vec<_> = config.clusters.iter().map(start).collect();
        let home = Arc::clone(&all[config.home.place()]);
        Self { all, home }
    }

    /// The cluster of everything that no rule places.
    pub fn home(&self) -> &Arc<Topology> {
        &self.home
    }

    /// A cluster by its id; that of everything that no rule places where there is none.
    pub fn of(&self, id: ClusterId) -> &Arc<Topology> {
        self.at(id.place())
    }

    /// The cluster at this place of the configuration.
    pub fn at(&self, place: usize) -> &Arc<Topology> {
        self.all.get(place).unwrap_or(&self.home)
    }

    /// All of them, by their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topology>> {
        self.all.iter()
    }

    /// The cluster that a server is of, as long as it is in its snapshot.
    pub fn of_server(&self, id: ServerId) -> Option<&Arc<Topology>> {
        self.all.iter().find(|topology| topology.snapshot().server(id).is_some())
    }

    /// What is known of a server.
    pub fn server<T>(&self, id: ServerId, of: impl FnOnce(&Server) -> T) -> Option<T> {
        let snapshot = self.of_server(id)?.snapshot();
        snapshot.server(id).map(of)
    }

    /// The snapshots of all, by their ids.
    pub fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        self.all.iter().map(|topology| Arc::clone(&topology.snapshot())).collect()
    }

    /// Makes the clusters what the configuration says, all or none of them; see [`Topology::configure`].
    ///
    /// # Errors
    /// See [`Refused`]; nothing has changed then.
    pub fn configure(&self, next: &Config) -> Result<(), Refused> {
        let before: Vec<_> = self.snapshots().iter().map(|snapshot| Arc::clone(&snapshot.cluster)).collect();
        for (place, (topology, cluster)) in self.all.iter().zip(&next.clusters).enumerate() {
            let Err(refused) = topology.configure(cluster, &next.monitor) else { continue };
            for (topology, cluster) in self.all.iter().zip(&before).take(place) {
                // What was in effect a moment ago lacks no primary.
                let _ = topology.configure(cluster, &next.monitor);
            }
            return Err(refused);
        }
        Ok(())
    }

    /// Waits until every server of every cluster has been probed once, with whatever outcome. Cancel safe.
    pub async fn wait_until_known(&self) {
        for topology in &self.all {
            topology.wait_until_known().await;
        }
    }

    /// Waits until no server's role is being changed; not for ever.
    pub async fn settle(&self) {
        for topology in &self.all {
            topology.settle().await;
        }
    }

    /// Ends all probes. The last snapshots stay as they are.
    pub fn shutdown(&self) {
        self.all.iter().for_each(|topology| topology.shutdown());
    }
}
