//! What is known of every server, kept together: one observation in, one snapshot out.
//!
//! Owns: each server's health and last words, and who is primary. Does not know: sockets, tasks, the wall clock
//! (the moment of each event comes in). Invariant: the snapshot follows from the book and the moment alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{self, Balance};
use crate::ids::ServerId;

use super::balance::{Readers, Replica};
use super::course::Course;
use super::facts::ServerFacts;
use super::gtid::Transactions;
use super::health::{Cause, Health, News, State, Thresholds};
use super::reads::{self, LastLag, LeftOut, ReadLimits};
use super::replication::{IoThread, Replication};
use super::roles::{self, Assignment, Identity, Member, Role};
use super::snapshot::{Server, Snapshot};

/// What a good probe brings.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    /// Who it is and whom it follows.
    pub identity: Identity,
    /// Its settings.
    pub facts: Arc<ServerFacts>,
    /// The transactions that it has executed; `None` where they carry no GTIDs.
    pub executed: Option<Arc<Transactions>>,
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
    servers: Vec<Record>,
    primary: Option<usize>,
    course: Course,
    thresholds: Thresholds,
    limits: ReadLimits,
    balance: Balance,
}

#[derive(Debug)]
struct Record {
    config: Arc<config::Server>,
    address: Arc<str>,
    health: Health,
    probed: bool,
    seen: Option<Seen>,
    /// It was out for its lag.
    late: bool,
    /// The last lag that the server itself knew, and when.
    known_lag: Option<(Instant, Duration)>,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    observation: Observation,
    /// How late it was by what it had executed, where that can be said.
    lag: Option<Duration>,
}

impl Book {
    /// A book of servers of which nothing is known.
    pub fn new(cluster: &config::Cluster, monitor: &config::Monitor) -> Self {
        let record = |server: &config::Server| Record {
            config: Arc::new(server.clone()),
            address: server.address().into(),
            health: Health::NEW,
            probed: false,
            seen: None,
            late: false,
            known_lag: None,
        };
        Self {
            servers: cluster.servers.iter().map(record).collect(),
            primary: None,
            course: Course::default(),
            thresholds: Thresholds { failures: monitor.failures.max(1), successes: monitor.successes.max(1) },
            balance: cluster.reads.balance,
            limits: ReadLimits {
                max_lag: cluster.reads.max_lag,
                facts_max_age: (monitor.interval + monitor.timeout).saturating_mul(monitor.failures.max(1)),
            },
        }
    }

    /// Every server has been probed at least once, with whatever outcome.
    pub fn all_probed(&self) -> bool {
        self.servers.iter().all(|record| record.probed)
    }

    /// Takes in a probe's end.
    pub fn probed(&mut self, id: ServerId, outcome: Outcome, now: Instant) {
        let (thresholds, max_age) = (self.thresholds, self.limits.facts_max_age);
        let Some(record) = self.servers.get_mut(usize::from(id.0)) else { return };
        record.probed = true;
        let is_primary = self.primary == Some(usize::from(id.0));
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
                let lag = executed.and_then(|executed| self.course.lag(executed, now));
                record.seen = Some(Seen { at: now, observation, lag });
                News::Good
            }
            Outcome::Busy => News::Busy,
            Outcome::Failed(cause) => News::Bad { cause, stale: record.is_stale(now, max_age) },
        };
        record.health = record.health.handle(news, thresholds);
    }

    /// Takes in what a session met: it could not connect, or (`None`) it could.
    pub fn reported(&mut self, id: ServerId, failure: Option<Cause>) {
        let thresholds = self.thresholds;
        let Some(record) = self.servers.get_mut(usize::from(id.0)) else { return };
        record.health = record.health.handle(failure.map_or(News::Connected, News::Reported), thresholds);
    }

    /// Decides roles and reads as of `now`.
    pub fn snapshot(&mut self, generation: u64, now: Instant) -> Snapshot {
        let members: Vec<_> = self.servers.iter().map(Record::as_member).collect();
        let Assignment { primary, roles } = roles::assign(&members, self.primary, self.all_probed());
        if std::mem::replace(&mut self.primary, primary) != primary {
            self.course.clear();
        }
        let is_up = |index: &usize| self.servers[*index].health.state() == State::Up;
        let primary = primary.filter(is_up);

        let server = |(index, record): (usize, &Record)| {
            record.as_server(server_id(index), roles[index], primary.is_some(), &self.limits, now)
        };
        let servers: Vec<_> = self.servers.iter().enumerate().map(server).collect();
        for (record, server) in self.servers.iter_mut().zip(&servers) {
            record.late = matches!(server.left_out, Some(LeftOut::Late { .. }));
        }
        let facts = primary
            .and_then(|index| servers[index].facts.clone())
            .or_else(|| servers.iter().find_map(|server| server.facts.clone()));
        let readers = servers
            .iter()
            .filter(|server| server.role == Role::Replica && server.left_out.is_none())
            .map(|server| Replica {
                id: server.id,
                address: &server.address,
                weight: server.config.weight,
                lag: server.lag.unwrap_or_default(),
            });
        Snapshot {
            generation,
            readers: Readers::new(readers, self.limits.max_lag, self.balance),
            primary: primary.map(server_id),
            version: facts.as_ref().map(|facts| facts.version),
            facts,
            servers,
        }
    }
}

fn server_id(index: usize) -> ServerId {
    ServerId(u16::try_from(index).unwrap_or(u16::MAX))
}

impl Record {
    fn as_member(&self) -> Member<'_> {
        Member {
            host: &self.config.host,
            port: self.config.port,
            up: self.health.state() == State::Up,
            identity: self.seen.as_ref().map(|seen| &seen.observation.identity),
        }
    }

    fn as_server(
        &self,
        id: ServerId,
        role: Role,
        primary_is_up: bool,
        limits: &ReadLimits,
        now: Instant,
    ) -> Server {
        let (lag, left_out) = match self.usable(role, limits, now) {
            Err(reason) => (None, Some(reason)),
            Ok(()) if role == Role::Primary => (None, None),
            Ok(()) => match self.lag(primary_is_up, limits, now) {
                Err(reason) => (None, Some(reason)),
                Ok(lag) if self.config.weight == 0 => (Some(lag), Some(LeftOut::NoWeight)),
                Ok(lag) => (Some(lag), reads::admit(lag, self.late, limits).err()),
            },
        };
        Server {
            id,
            config: Arc::clone(&self.config),
            address: Arc::clone(&self.address),
            role,
            state: self.health.state(),
            left_out,
            lag,
            server_id: self.seen.as_ref().map_or(0, |seen| seen.observation.identity.server_id),
            facts: self.seen.as_ref().map(|seen| Arc::clone(&seen.observation.facts)),
        }
    }

    /// Whether it can be used at all; a primary's facts do not age, as long as it is up (T26, T32).
    fn usable(&self, role: Role, limits: &ReadLimits, now: Instant) -> Result<(), LeftOut> {
        match (self.health, role) {
            (Health::Unknown { cause, .. }, _) => Err(LeftOut::NotProbed(cause)),
            (Health::Down { cause, .. }, _) => Err(LeftOut::Down(cause)),
            (Health::Up { .. }, Role::Primary) => Ok(()),
            (Health::Up { .. }, Role::Rival) => Err(LeftOut::Rival),
            (Health::Up { .. }, _) if self.is_stale(now, limits.facts_max_age) => Err(LeftOut::Stale),
            (Health::Up { .. }, Role::Unknown) if !self.is_unreadable() => Err(LeftOut::RoleUndecided),
            (Health::Up { .. }, Role::Unknown | Role::Replica) => Ok(()),
        }
    }

    fn lag(&self, primary_is_up: bool, limits: &ReadLimits, now: Instant) -> Result<Duration, LeftOut> {
        let seen = self.seen.as_ref().ok_or(LeftOut::NotProbed(None))?;
        let last = self.known_lag.map(|(at, lag)| LastLag { lag, age: now.saturating_duration_since(at) });
        let replication = &seen.observation.identity.replication;
        let reported = reads::lag(replication, last, primary_is_up, limits)?;
        // Whole seconds by the source's clock and ours; finer, and by one clock, where GTIDs tell it.
        let follows_one = matches!(replication.channels(), [channel] if channel.io == IoThread::Runs);
        Ok(seen.lag.filter(|_| follows_one && primary_is_up).unwrap_or(reported))
    }

    fn is_unreadable(&self) -> bool {
        self.seen
            .as_ref()
            .is_some_and(|seen| seen.observation.identity.replication == Replication::Unreadable)
    }

    fn is_stale(&self, now: Instant, max_age: Duration) -> bool {
        self.seen.as_ref().is_some_and(|seen| now.saturating_duration_since(seen.at) > max_age)
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
pub(super) mod tests;
