//! Who is in the book: the configured servers, and those that are leaving.
//!
//! Does not know: how they are. Invariant: an id is never given twice while anybody may hold it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Book;
use super::record::Record;
use crate::config;
use crate::ids::ServerId;
use crate::topology::health::{State, Thresholds};
use crate::topology::pulse::Pulse;
use crate::topology::reads::ReadLimits;
use crate::topology::resolve;

/// Why the cluster stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Writes would have nowhere to go.
    #[error(
        "{0} is the primary now: make another server the primary first, or set it read only where the cluster is to have none"
    )]
    RemovesPrimary(Arc<str>),
}

impl Book {
    /// Why this must not become the cluster's configuration now.
    pub fn check(&self, cluster: &config::Cluster) -> Result<(), Refused> {
        let primary = self.members().find(|record| Some(record.id) == self.primary);
        let lost = primary.filter(|record| {
            let is_it = |server: &config::Server| record.is_configured_as(server);
            record.health.state() == State::Up && !cluster.servers.iter().any(is_it)
        });
        lost.map_or(Ok(()), |record| Err(Refused::RemovesPrimary(Arc::clone(&record.address))))
    }

    /// Makes the cluster what the configuration says: who is new is not known yet, who is no longer listed leaves. What is known
    /// of the others stays, and so do their ids.
    pub fn configure(&mut self, cluster: Arc<config::Cluster>, monitor: &config::Monitor) {
        let mut before = std::mem::take(&mut self.servers);
        for server in &cluster.servers {
            let same = |record: &Record| record.is_configured_as(server);
            let known = before.iter().position(|record| same(record) && !record.leaving);
            // One that was about to leave is taken back, where it is where its address says.
            let back =
                || before.iter().position(|record| same(record) && record.at == resolve::literal(server));
            let mut record = match known.or_else(back) {
                Some(at) => before.remove(at),
                None => Record::new(self.ids.draw(), server),
            };
            record.leaving = false;
            if *record.config != *server {
                record.config = Arc::new(server.clone());
            }
            self.servers.push(record);
        }
        self.servers.extend(before.into_iter().filter(|record| record.at.is_some()).map(Record::leave));
        self.forget_lost_primary();
        let (failures, successes) = (monitor.failures.max(1), monitor.successes.max(1));
        self.thresholds = Thresholds { failures, successes };
        self.limits = ReadLimits {
            max_lag: cluster.reads.max_lag,
            facts_max_age: (monitor.interval + monitor.timeout).saturating_mul(failures),
        };
        self.settings = cluster;
        if self.lag_by != monitor.lag {
            self.lag_by = monitor.lag.clone();
            let interval = monitor.lag.beats().map_or(Duration::ZERO, |beats| beats.interval);
            self.pulse = Pulse::new(interval, monitor.interval + monitor.timeout);
            self.servers.iter_mut().for_each(|record| record.measured = None);
        }
    }

    /// A server's name leads to `at` now. From elsewhere that makes another server of it: the one before leaves.
    pub fn moved(&mut self, host: &str, port: u16, at: SocketAddr) {
        let is_it =
            |record: &Record| !record.leaving && record.config.host == host && record.config.port == port;
        let Some(place) = self.servers.iter().position(is_it) else { return };
        let (config, before) = (Arc::clone(&self.servers[place].config), self.servers[place].at);
        if before == Some(at) {
            return;
        }
        let comes_back =
            |record: &Record| record.leaving && record.at == Some(at) && record.is_configured_as(&config);
        let next = match self.servers.iter().position(comes_back) {
            Some(known) => Record { leaving: false, config, ..self.servers.remove(known) },
            None if before.is_none() => return self.servers[place].at = Some(at),
            None => Record { at: Some(at), ..Record::new(self.ids.draw(), &config) },
        };
        let last = std::mem::replace(&mut self.servers[place], next);
        self.servers.extend(before.map(|_| last.leave()));
        self.forget_lost_primary();
    }

    /// Nothing is left of a server that was leaving.
    pub fn gone(&mut self, id: ServerId) {
        if let Some(place) = self.servers.iter().position(|record| record.leaving && record.id == id) {
            self.servers.remove(place);
            self.ids.give_back(id);
        }
    }

    /// Each server's id, its configuration, and where it is.
    pub fn seats(&self) -> impl Iterator<Item = (ServerId, &Arc<config::Server>, Option<SocketAddr>)> {
        self.servers.iter().map(|record| (record.id, &record.config, record.at))
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Record> {
        self.servers.iter().take_while(|record| !record.leaving)
    }
}
