//! What is known of every server, kept together: one observation in, one snapshot out.
//!
//! Owns: each server's health and last words, and who is primary. Does not know: sockets, tasks, the wall clock
//! (the moment of each event comes in). Invariant: the snapshot follows from the book and the moment alone.

mod record;
mod seats;
mod succession;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::balance::{Readers, Replica};
use super::course::Course;
use super::facts::ServerFacts;
use super::gtid::Transactions;
use super::health::{Cause, News, State, Thresholds};
use super::pulse::{Pulse, Reading};
use super::reads::{self, LeftOut, ReadLimits};
use super::roles::{self, Assignment, Identity, Role};
use super::snapshot::Snapshot;
use crate::config;
use crate::ids::{ServerId, ServerIds};
use record::{Record, Seen};

pub use seats::Refused;

/// What this Tidegate does about giving the primary's place away by order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HandOver {
    /// Nothing.
    No,
    /// It lets others know that this server will hand over; here it goes on.
    Told(ServerId),
    /// This server stays the primary, and takes nothing new.
    Begun(ServerId),
}

/// What a good probe brings.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    /// When the connection was made that told it.
    pub connected: Instant,
    /// Who it is and whom it follows.
    pub identity: Identity,
    /// Its settings.
    pub facts: Arc<ServerFacts>,
    /// The transactions that it has executed; `None` where they carry no GTIDs.
    pub executed: Option<Arc<Transactions>>,
    /// All that its binary log has held, by who wrote it; where Tidegate promotes.
    pub history: Option<Arc<Transactions>>,
    /// Some Tidegate has let it be known that it is about to hand over.
    pub hands_over: bool,
}

/// How a probe ended.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// It answered all.
    Good(Observation),
    /// It answered that it has no connection left.
    Busy,
    /// It failed.
    Failed(Cause),
}

/// The cluster's book.
#[derive(Debug)]
pub(super) struct Book {
    /// The members in the configuration's order, then those that are leaving.
    servers: Vec<Record>,
    primary: Option<ServerId>,
    /// The last one that there was.
    last_primary: Option<ServerId>,
    handing_over: HandOver,
    course: Course<Transactions>,
    lag_by: config::LagBy,
    pulse: Pulse,
    settings: Arc<config::Cluster>,
    thresholds: Thresholds,
    limits: ReadLimits,
    /// Shared with the books of other clusters.
    ids: ServerIds,
    /// All servers have been looked at: who takes reads from now on comes later than Tidegate.
    begun: bool,
}

impl Book {
    /// A book of servers of which nothing is known.
    pub fn new(cluster: &config::Cluster, monitor: &config::Monitor, ids: ServerIds) -> Self {
        let mut book = Self {
            servers: Vec::new(),
            primary: None,
            last_primary: None,
            handing_over: HandOver::No,
            course: Course::default(),
            lag_by: config::LagBy::Auto,
            pulse: Pulse::default(),
            settings: Arc::default(),
            thresholds: Thresholds { failures: 1, successes: 1 },
            limits: ReadLimits { max_lag: None, facts_max_age: Duration::ZERO },
            ids,
            begun: false,
        };
        book.configure(Arc::new(cluster.clone()), monitor);
        book
    }

    fn forget_lost_primary(&mut self) {
        if !self.members().any(|record| Some(record.id) == self.primary) {
            self.primary = None;
            self.begin_course();
        }
    }

    /// Another server is the primary, or none: nobody is late by what the one before had.
    fn begin_course(&mut self) {
        self.course.clear();
        self.pulse.clear();
        self.servers.iter_mut().for_each(|record| record.measured = None);
    }

    /// Takes in what a server has answered to what `monitor.lag` asks for, at `now`.
    pub fn measured(&mut self, id: ServerId, reading: Reading, now: Instant) {
        if self.primary == Some(id) {
            if let Reading::Beat(beat) = reading {
                self.pulse.note(now, beat);
            }
            return;
        }
        let measured = self.pulse.measure(reading, now);
        if let Some(record) = self.record(id) {
            record.measured = Some((now, measured));
        }
    }

    /// Every server has been probed at least once, with whatever outcome.
    pub fn all_probed(&self) -> bool {
        self.members().all(|record| record.probed)
    }

    fn record(&mut self, id: ServerId) -> Option<&mut Record> {
        self.servers.iter_mut().find(|record| record.id == id)
    }

    /// Takes in a probe's end.
    pub fn probed(&mut self, id: ServerId, outcome: Outcome, now: Instant) {
        let (thresholds, max_age) = (self.thresholds, self.limits.facts_max_age);
        let is_primary = self.primary == Some(id);
        let missing = match &outcome {
            Outcome::Good(observation) => self.missing(id, observation),
            _ => None,
        };
        let Some(record) = self.servers.iter_mut().find(|record| record.id == id) else { return };
        record.probed = true;
        let news = match outcome {
            Outcome::Good(mut observation) => {
                if let Some(lag) = reads::reported_lag(&observation.identity.replication) {
                    record.known_lag = Some((now, lag));
                }
                if let Some(seen) =
                    record.seen.take().filter(|seen| seen.observation.facts == observation.facts)
                {
                    observation.facts = seen.observation.facts;
                }
                let executed = observation.executed.as_ref();
                if let Some(executed) = executed.filter(|_| is_primary) {
                    self.course.note(now, executed);
                }
                if !observation.identity.read_only {
                    record.writable = Some((now, observation.connected));
                }
                if let Some(missing) = missing {
                    (record.missing, record.doubted) = missing;
                }
                let follows = !observation.identity.replication.channels().is_empty();
                if follows {
                    (record.deposed, record.diverged) = (false, 0);
                    (record.missing, record.doubted) = Default::default();
                }
                if follows || observation.identity.read_only {
                    record.replaced = false;
                }
                record.announced = observation.hands_over.then(|| record.announced.unwrap_or(now));
                let lag = executed.and_then(|executed| self.course.lag(executed, now));
                record.seen = Some(Seen { at: now, observation, lag });
                News::Good
            }
            Outcome::Busy => News::Busy,
            Outcome::Failed(cause) => News::Bad { cause, stale: record.is_stale(now, max_age) },
        };
        record.health = record.health.handle(news, thresholds);
    }

    /// When the primary had had no more than `executed`.
    pub fn covers(&self, executed: &Transactions) -> Option<Instant> {
        self.course.covers(executed)
    }

    /// Takes in what a session met: it could not connect, or (`None`) it could.
    pub fn reported(&mut self, id: ServerId, failure: Option<Cause>) {
        let thresholds = self.thresholds;
        let Some(record) = self.record(id) else { return };
        record.health = record.health.handle(failure.map_or(News::Connected, News::Reported), thresholds);
    }

    /// Decides roles and reads as of `now`.
    pub fn snapshot(&mut self, generation: u64, now: Instant) -> Snapshot {
        let members = self.all_members();
        let losses: Vec<_> = self.servers.iter().map(|record| self.lost(record)).collect();
        let current = self.members().position(|record| Some(record.id) == self.primary);
        let guarded = self.settings.promotion.is_some();
        let assign = if guarded { roles::assign_guarded } else { roles::assign };
        let Assignment { primary, roles } = assign(&members, current, self.all_probed());
        let chosen = primary.map(|index| self.servers[index].id);
        if let Some(chosen) = chosen {
            self.take_place(chosen, guarded);
        }
        if std::mem::replace(&mut self.primary, chosen) != chosen {
            self.begin_course();
        }
        let is_up = |index: &usize| self.servers[*index].health.state() == State::Up;
        let primary = primary.filter(is_up);
        let halted = if primary.is_none() { self.plight().halted } else { None };

        let multi_primary = self.settings.multi_primary;
        let server = |(index, record): (usize, &Record)| {
            let role = match roles.get(index).copied().unwrap_or(Role::Unknown) {
                Role::Rival if multi_primary => Role::Peer,
                role => role,
            };
            let mut server = record.as_server(role, primary.is_some(), &self.limits, now);
            match server.left_out {
                Some(LeftOut::RoleUndecided) if guarded && self.all_probed() => {
                    server.left_out = Some(LeftOut::Contested);
                }
                Some(LeftOut::Rival | LeftOut::NotReplicating) if losses[index] > 0 => {
                    server.left_out = Some(LeftOut::Lost(losses[index]));
                }
                Some(LeftOut::NotReplicating) if record.diverged > 0 => {
                    server.left_out = Some(LeftOut::Diverged(record.diverged));
                }
                Some(LeftOut::NotReplicating) if halted == Some(record.id) => {
                    server.left_out = Some(LeftOut::Halted { promotes: guarded });
                }
                None if role == Role::Primary && self.hands_over(record, now) => {
                    server.left_out = Some(LeftOut::HandsOver);
                }
                _ => {}
            }
            server
        };
        let servers: Vec<_> = self.servers.iter().enumerate().map(server).collect();
        for (record, server) in self.servers.iter_mut().zip(&servers) {
            record.late = matches!(server.left_out, Some(LeftOut::Late { .. }));
            record.warmth.note(server.role, server.left_out, self.begun, now);
        }
        self.begun |= self.all_probed();
        let slow_start = self.settings.reads.slow_start;
        let facts = primary
            .and_then(|index| servers[index].facts.clone())
            .or_else(|| servers.iter().find_map(|server| server.facts.clone()));
        let hands_over = primary.is_some_and(|index| self.hands_over(&self.servers[index], now));
        let readers = self
            .servers
            .iter()
            .zip(&servers)
            .filter(|(_, server)| server.role.reads() && server.left_out.is_none())
            .map(|(record, server)| Replica {
                id: server.id,
                address: &server.address,
                weight: server.config.weight,
                lag: server.lag.unwrap_or_default(),
                warmth_permille: record.warmth.permille(slow_start, now),
            });
        Snapshot {
            generation,
            readers: Readers::new(readers, self.limits.max_lag, self.settings.reads.balance),
            primary: primary.map(|index| self.servers[index].id).filter(|_| !hands_over),
            cluster: Arc::clone(&self.settings),
            version: facts.as_ref().map(|facts| facts.version),
            facts,
            servers,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
