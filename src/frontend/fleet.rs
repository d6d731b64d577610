//! The servers as the pools know them: made when the first session needs one, kept until nothing of it is left.
//!
//! Owns: each server's shared side. Does not know: who is used for what (`topology` says it). Invariant: one `ServerId` has one shared
//! side, on all cores; one that the topology has forgotten has none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::account::Witness;
use crate::backend::connect::Place;
use crate::backend::server::{Common, Directory, Shared};
use crate::config;
use crate::ids::ServerId;
use crate::observe::Metrics;
use crate::topology::{Clusters, Server};

/// All servers' shared sides.
pub(super) struct Fleet {
    clusters: Arc<Clusters>,
    /// By the clusters' ids.
    commons: Vec<Arc<Common>>,
    witness: Arc<dyn Witness>,
    metrics: Arc<Metrics>,
    known: Mutex<HashMap<ServerId, Arc<Shared>>>,
}

impl Fleet {
    /// Without connections yet.
    pub fn new(
        clusters: Arc<Clusters>,
        commons: Vec<Arc<Common>>,
        witness: Arc<dyn Witness>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { clusters, commons, witness, metrics, known: Mutex::default() }
    }

    /// Keeps connections like this from now on.
    pub fn adopt(&self, clusters: &[config::Cluster]) {
        let known = self.lock(); // who is made meanwhile has the one or the other, and is resized below
        for (common, cluster) in self.commons.iter().zip(clusters) {
            common.settings.store(Arc::new(cluster.pool.clone()));
        }
        for shared in known.values() {
            let settings = shared.settings();
            shared.gate.resize(settings.max, settings.queue);
        }
    }

    /// The shared side of a server that has one.
    pub fn known(&self, id: ServerId) -> Option<Arc<Shared>> {
        self.lock().get(&id).cloned()
    }

    /// Nothing of this server is in use.
    pub fn forget(&self, server: &Server) {
        if let Some(shared) = self.lock().remove(&server.id) {
            shared.set_gone();
        }
        if let Some(topology) = self.clusters.of_server(server.id) {
            topology.forget(server.id);
        }
        let is_it = |other: &Server| other.address == server.address;
        if !self.clusters.iter().any(|topology| topology.snapshot().servers.iter().any(is_it)) {
            self.metrics.retire_pool(&server.address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerId, Arc<Shared>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Directory for Fleet {
    fn find(&self, id: ServerId) -> Option<Arc<Shared>> {
        let mut known = self.lock();
        if let Some(shared) = known.get(&id) {
            return Some(Arc::clone(shared));
        }
        let (topology, common) = self.clusters.iter().zip(&self.commons).find(|(topology, _)| {
            topology.snapshot().server(id).is_some() // none is in two clusters
        })?;
        let snapshot = topology.snapshot();
        let server = snapshot.server(id)?;
        let shared = Arc::new(Shared::new(
            id,
            place(server),
            Arc::clone(common),
            Arc::clone(&self.witness),
            self.metrics.pool(&server.address),
        ));
        shared.set_closing(server.is_closing());
        known.insert(id, Arc::clone(&shared));
        Some(shared)
    }
}

/// Where a server is.
pub(super) fn place(server: &Server) -> Place {
    Place { server: Arc::clone(&server.config), at: server.at }
}
