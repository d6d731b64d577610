//! What is known of every server, kept together: one observation in, one snapshot out.
//!
//! Owns: each server's health and last words, and who is primary. Does not know: sockets, tasks, the wall clock
//! (the moment of each event comes in). Invariant: the snapshot follows from the book and the moment alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config;
use crate::ids::ServerId;

use super::balance::{Readers, Replica};
use super::course::Course;
use super::facts::ServerFacts;
use super::group::Unfit;
use super::gtid::Transactions;
use super::health::{Cause, Health, News, State, Thresholds};
use super::promotion::{Plight, plight};
use super::pulse::{Measured, Pulse, Reading};
use super::reads::{self, LastLag, LeftOut, ReadLimits};
use super::replication::{IoThread, Replication};
use super::resolve;
use super::roles::{self, Assignment, Identity, Member, Role};
use super::snapshot::{Server, Snapshot, Standing};
use super::warmth::Warmth;

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
    /// A primary that hands over: it stays the primary, and takes nothing new.
    handing_over: Option<ServerId>,
    course: Course<Transactions>,
    lag_by: config::LagBy,
    pulse: Pulse,
    settings: Arc<config::Cluster>,
    thresholds: Thresholds,
    limits: ReadLimits,
    next_id: u16,
    /// All servers have been looked at: who takes reads from now on comes later than Tidegate.
    begun: bool,
}

/// Why the cluster stays as it is.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Writes would have nowhere to go.
    #[error(
        "{0} is the primary now: make another server the primary first, or set it read only where the cluster is to have none"
    )]
    RemovesPrimary(Arc<str>),
}

#[derive(Debug)]
struct Record {
    id: ServerId,
    config: Arc<config::Server>,
    /// Where it is; `None` before its name was found.
    at: Option<SocketAddr>,
    /// No longer configured, or its name leads elsewhere now.
    leaving: bool,
    address: Arc<str>,
    health: Health,
    probed: bool,
    seen: Option<Seen>,
    /// It was out for its lag.
    late: bool,
    warmth: Warmth,
    /// It was the primary until another took its place, and has followed nobody since.
    deposed: bool,
    /// It is gone, and another is being put in its place: should it come back meanwhile, it is no primary.
    barred: bool,
    /// Another has taken its place as the primary, and it is not known to take no writes.
    replaced: bool,
    /// Transactions that it had, or that others have from it, and that it has come back without.
    missing: Transactions,
    /// What others have from it, when it was connected to anew and had not said so yet: they may have been asked later.
    doubted: Transactions,
    /// When it was last seen to be writable, and when the connection was made that told it.
    writable: Option<(Instant, Instant)>,
    /// Transactions that it has and the primary lacks, as far as that was looked for.
    diverged: u64,
    /// The last lag that the server itself knew, and when.
    known_lag: Option<(Instant, Duration)>,
    /// What `monitor.lag` asks for says of it, and when it was asked.
    measured: Option<(Instant, Measured)>,
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
        let mut book = Self {
            servers: Vec::new(),
            primary: None,
            last_primary: None,
            handing_over: None,
            course: Course::default(),
            lag_by: config::LagBy::Auto,
            pulse: Pulse::default(),
            settings: Arc::default(),
            thresholds: Thresholds { failures: 1, successes: 1 },
            limits: ReadLimits { max_lag: None, facts_max_age: Duration::ZERO },
            next_id: 0,
            begun: false,
        };
        book.configure(Arc::new(cluster.clone()), monitor);
        book
    }

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
                None => Record::new(self.fresh_id(&before), server),
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
            None => Record { at: Some(at), ..Record::new(self.fresh_id(&[]), &config) },
        };
        let last = std::mem::replace(&mut self.servers[place], next);
        self.servers.extend(before.map(|_| last.leave()));
        self.forget_lost_primary();
    }

    /// Nothing is left of a server that was leaving.
    pub fn gone(&mut self, id: ServerId) {
        self.servers.retain(|record| !(record.leaving && record.id == id));
    }

    /// Each server's id, its configuration, and where it is.
    pub fn seats(&self) -> impl Iterator<Item = (ServerId, &Arc<config::Server>, Option<SocketAddr>)> {
        self.servers.iter().map(|record| (record.id, &record.config, record.at))
    }

    /// An id that no server has; one that had it is long forgotten.
    fn fresh_id(&mut self, others: &[Record]) -> ServerId {
        loop {
            let id = ServerId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            if !self.servers.iter().chain(others).any(|record| record.id == id) {
                return id;
            }
        }
    }

    fn members(&self) -> impl Iterator<Item = &Record> {
        self.servers.iter().take_while(|record| !record.leaving)
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

    /// What a server lacks of what it had, once it was connected to anew: it may have been restarted without its data, or with older
    /// data; and what it may lack. `None` where it does not say what it has, or nothing has changed.
    fn missing(&self, id: ServerId, now: &Observation) -> Option<(Transactions, Transactions)> {
        let history = now.history.as_deref()?;
        let record = self.servers.iter().find(|record| record.id == id)?;
        let before = record.seen.as_ref().map(|seen| &seen.observation);
        let is_same = before.is_some_and(|before| before.connected == now.connected);
        if is_same && record.missing.is_empty() && record.doubted.is_empty() {
            return None;
        }
        let own = before.and_then(|before| before.history.as_deref()).filter(|_| !is_same);
        let mut known = own.cloned().unwrap_or_default();
        known.join(&record.missing);
        known.join(&record.doubted);
        let missing = known.without(history);
        if is_same {
            return Some((missing, Transactions::default()));
        }
        let mut known = Transactions::default();
        for other in self.members().filter(|other| other.id != id) {
            let theirs = other.seen.as_ref().and_then(|seen| seen.observation.history.as_deref());
            let (uuid, server_id) = (now.identity.server_uuid.as_deref(), now.identity.server_id);
            theirs.into_iter().for_each(|theirs| known.join(&theirs.written_by(uuid, server_id)));
        }
        Some((missing, known.without(history)))
    }

    /// How many transactions a server has come back without that another server has; what nobody has is not to be had.
    fn lost(&self, record: &Record) -> u64 {
        if self.settings.promotion.is_none() || record.missing.is_empty() {
            return 0;
        }
        let others = self.members().filter(|other| other.id != record.id);
        let histories = others.filter_map(|other| other.seen.as_ref()?.observation.history.as_deref());
        let left = histories.fold(record.missing.clone(), |left, history| left.without(history));
        record.missing.count() - left.count()
    }

    /// All members as the rules for roles see them.
    fn all_members(&self) -> Vec<Member<'_>> {
        let with_losses = |record: &Record| record.missing.is_empty() || self.lost(record) == 0;
        self.members().map(|record| Member { lost: !with_losses(record), ..record.as_member() }).collect()
    }

    /// What must be done about the primary, or about who was it, where Tidegate promotes.
    pub fn plight(&self) -> Plight {
        let members = self.all_members();
        let current = self.members().position(|record| Some(record.id) == self.primary);
        let is_down = |index: usize| self.servers[index].health.state() == State::Down;
        let last = self.members().position(|record| Some(record.id) == self.last_primary);
        plight(&members, current, last, is_down).map(|index| self.servers[index].id)
    }

    /// Whether servers of the cluster are members of a group, which elects by itself.
    pub fn has_group(&self) -> bool {
        self.members().any(|record| record.as_member().is_in_group())
    }

    /// What a server last said of itself, and all that it had written or applied by then.
    pub fn last_words(&self, id: ServerId) -> Option<(Identity, Option<Arc<Transactions>>)> {
        let seen = self.servers.iter().find(|record| record.id == id)?.seen.as_ref()?;
        Some((seen.observation.identity.clone(), seen.observation.history.clone()))
    }

    /// When a server was last seen to take writes, if its probes have had to connect again since: it may have been restarted.
    pub fn writable_before(&self, id: ServerId) -> Option<Instant> {
        let record = self.servers.iter().find(|record| record.id == id)?;
        let (at, connected) = record.writable?;
        let anew = record.seen.as_ref().is_some_and(|seen| seen.observation.connected != connected);
        anew.then_some(at)
    }

    /// The primary takes nothing new until it is told otherwise, or another one is there; `None` ends that.
    pub fn hand_over(&mut self, primary: Option<ServerId>) {
        self.handing_over = primary;
    }

    /// The primary is gone, and loses its place; or keeps it, as nobody could take it.
    pub fn bar(&mut self, id: ServerId, barred: bool) {
        if let Some(record) = self.record(id) {
            record.barred = barred;
        }
    }

    /// Whether a server has answered a probe that was sent after `moment`.
    pub fn has_answered_since(&self, id: ServerId, moment: Instant) -> bool {
        let record = self.servers.iter().find(|record| record.id == id);
        record.and_then(|record| record.seen.as_ref()).is_some_and(|seen| seen.at > moment)
    }

    /// What a server has come back without.
    pub fn missed(&self, id: ServerId) -> Transactions {
        let record = self.servers.iter().find(|record| record.id == id);
        record.map(|record| record.missing.clone()).unwrap_or_default()
    }

    /// A server has lost its place as the primary.
    pub fn depose(&mut self, id: ServerId) {
        if let Some(record) = self.record(id) {
            record.deposed = true;
        }
    }

    /// A server has this many transactions that the primary lacks; none, if it follows it now.
    pub fn diverges(&mut self, id: ServerId, transactions: u64) {
        if let Some(record) = self.record(id) {
            record.diverged = transactions;
        }
    }

    /// A server is the primary; who was it before is it no more.
    fn take_place(&mut self, chosen: ServerId, guarded: bool) {
        let before = self.last_primary.replace(chosen).filter(|before| *before != chosen);
        if let Some(record) = before.and_then(|id| self.record(id)) {
            record.deposed |= guarded;
            // One that leaves finishes what it has begun: it may be the same server at another address.
            record.replaced = !record.leaving && record.is_writable();
        }
        if let Some(record) = self.record(chosen) {
            record.replaced = false;
        }
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
        let handing_over = self.handing_over;

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
                None if handing_over == Some(record.id) && role == Role::Primary => {
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
            primary: primary.map(|index| self.servers[index].id).filter(|id| handing_over != Some(*id)),
            cluster: Arc::clone(&self.settings),
            version: facts.as_ref().map(|facts| facts.version),
            facts,
            servers,
        }
    }
}

impl Record {
    fn new(id: ServerId, server: &config::Server) -> Self {
        Self {
            id,
            config: Arc::new(server.clone()),
            at: resolve::literal(server),
            leaving: false,
            address: server.address().into(),
            health: Health::NEW,
            probed: false,
            seen: None,
            late: false,
            warmth: Warmth::UNKNOWN,
            deposed: false,
            barred: false,
            replaced: false,
            missing: Transactions::default(),
            doubted: Transactions::default(),
            writable: None,
            diverged: 0,
            known_lag: None,
            measured: None,
        }
    }

    fn leave(self) -> Self {
        Self { leaving: true, ..self }
    }

    /// Whether it took writes when it was seen last.
    fn is_writable(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| !seen.observation.identity.read_only)
    }

    fn is_configured_as(&self, server: &config::Server) -> bool {
        (&self.config.host, self.config.port) == (&server.host, server.port)
    }

    fn standing(&self) -> Standing {
        match (self.leaving, self.config.draining) {
            (true, _) => Standing::Leaving,
            (false, true) => Standing::Draining,
            (false, false) => Standing::Member,
        }
    }

    fn as_member(&self) -> Member<'_> {
        Member {
            host: &self.config.host,
            port: self.config.port,
            up: self.health.state() == State::Up,
            deposed: self.deposed || self.barred,
            lost: false,
            history: self.seen.as_ref().and_then(|seen| seen.observation.history.as_deref()),
            draining: self.config.draining,
            identity: self.seen.as_ref().map(|seen| &seen.observation.identity),
        }
    }

    fn as_server(&self, role: Role, primary_is_up: bool, limits: &ReadLimits, now: Instant) -> Server {
        let asked = self.asked(limits, now).filter(|_| primary_is_up && role != Role::Primary);
        let (lag, left_out) = match self.usable(role, limits, now) {
            Err(reason) => (None, Some(reason)),
            Ok(()) if role == Role::Primary => (None, None),
            Ok(()) => match self.lag(role, asked, primary_is_up, limits, now) {
                Err(reason) => (None, Some(reason)),
                Ok(lag) if self.config.weight == 0 => (Some(lag), Some(LeftOut::NoWeight)),
                Ok(lag) => (Some(lag), reads::admit(lag, self.late, self.told_delay(), limits).err()),
            },
        };
        Server {
            id: self.id,
            at: self.at,
            standing: self.standing(),
            config: Arc::clone(&self.config),
            address: Arc::clone(&self.address),
            role,
            state: self.health.state(),
            // A peer takes writes by right.
            replaced: role != Role::Peer && (self.replaced || (self.barred && self.is_writable())),
            left_out,
            lag,
            lag_is_asked: asked.is_some(),
            server_id: self.seen.as_ref().map_or(0, |seen| seen.observation.identity.server_id),
            facts: self.seen.as_ref().map(|seen| Arc::clone(&seen.observation.facts)),
        }
    }

    /// Whether it can be used at all; a primary's facts do not age, as long as it is up (T26, T32).
    fn usable(&self, role: Role, limits: &ReadLimits, now: Instant) -> Result<(), LeftOut> {
        let unfit = self.unfit().map(LeftOut::Unfit);
        match (self.health, role) {
            (Health::Unknown { cause, .. }, _) => Err(LeftOut::NotProbed(cause)),
            (Health::Down { cause, .. }, _) => Err(LeftOut::Down(cause)),
            _ if self.leaving => Err(LeftOut::Leaving),
            _ if unfit.is_some() => unfit.map_or(Ok(()), Err),
            (Health::Up { .. }, Role::Primary) => Ok(()),
            (Health::Up { .. }, Role::Rival) => Err(LeftOut::Rival),
            _ if self.config.draining => Err(LeftOut::Draining),
            (Health::Up { .. }, _) if self.is_stale(now, limits.facts_max_age) => Err(LeftOut::Stale),
            (Health::Up { .. }, Role::Unknown) if !self.is_unreadable() => Err(LeftOut::RoleUndecided),
            (Health::Up { .. }, Role::Unknown | Role::Replica | Role::Peer) => Ok(()),
        }
    }

    /// What `monitor.lag` asks for says of it, if that is not too old.
    fn asked(&self, limits: &ReadLimits, now: Instant) -> Option<Result<Duration, LeftOut>> {
        let (at, measured) = self.measured?;
        match measured {
            _ if now.saturating_duration_since(at) > limits.facts_max_age => None,
            Measured::Lag(lag) => Some(Ok(lag)),
            Measured::Unknown => Some(Err(LeftOut::LagUnknown)),
            Measured::Nothing => None,
        }
    }

    fn lag(
        &self,
        role: Role,
        asked: Option<Result<Duration, LeftOut>>,
        primary_is_up: bool,
        limits: &ReadLimits,
        now: Instant,
    ) -> Result<Duration, LeftOut> {
        let seen = self.seen.as_ref().ok_or(LeftOut::NotProbed(None))?;
        let last = self.known_lag.map(|(at, lag)| LastLag { lag, age: now.saturating_duration_since(at) });
        let Identity { replication, group, .. } = &seen.observation.identity;
        if group.is_some() && replication.channels().is_empty() {
            // Members have all that is committed, or are about to; without a primary nobody has more.
            return match asked {
                Some(asked) => asked,
                None if primary_is_up => seen.lag.ok_or(LeftOut::LagUnknown),
                None => Ok(Duration::ZERO),
            };
        }
        if role == Role::Peer {
            return Ok(Duration::ZERO); // by the operator's word
        }
        let reported = reads::lag(replication, last, primary_is_up, limits);
        if let (Some(asked), Ok(_) | Err(LeftOut::LagUnknown)) = (asked, reported) {
            return asked;
        }
        let reported = reported?;
        // Whole seconds by the source's clock and ours; finer, and by one clock, where GTIDs tell it.
        let follows_one = matches!(replication.channels(), [channel] if channel.io == IoThread::Runs);
        Ok(seen.lag.filter(|_| follows_one && primary_is_up).unwrap_or(reported))
    }

    /// How late it was told to be.
    fn told_delay(&self) -> Duration {
        let channels = self.seen.iter().flat_map(|seen| seen.observation.identity.replication.channels());
        channels.map(|channel| channel.delay).max().unwrap_or_default()
    }

    fn unfit(&self) -> Option<Unfit> {
        self.seen.as_ref()?.observation.identity.group.as_ref()?.unfit
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
