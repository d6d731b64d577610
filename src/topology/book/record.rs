//! What is known of one server.
//!
//! Owns: what follows from it for that server alone: how late it is, whether it serves reads. Does not know: the other servers but for what
//! comes in. Invariant: that of the book.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Observation;
use crate::config;
use crate::ids::ServerId;
use crate::topology::group::Unfit;
use crate::topology::gtid::Transactions;
use crate::topology::health::{Health, State};
use crate::topology::pulse::Measured;
use crate::topology::reads::{self, LastLag, LeftOut, ReadLimits};
use crate::topology::replication::{IoThread, Replication};
use crate::topology::resolve;
use crate::topology::roles::{Identity, Member, Role};
use crate::topology::snapshot::{Server, Standing};
use crate::topology::warmth::Warmth;

#[derive(Debug)]
pub(super) struct Record {
    pub id: ServerId,
    pub config: Arc<config::Server>,
    /// Where it is; `None` before its name was found.
    pub at: Option<SocketAddr>,
    /// No longer configured, or its name leads elsewhere now.
    pub leaving: bool,
    pub address: Arc<str>,
    pub health: Health,
    pub probed: bool,
    pub seen: Option<Seen>,
    /// It was out for its lag.
    pub late: bool,
    pub warmth: Warmth,
    /// It was the primary until another took its place, and has followed nobody since.
    pub deposed: bool,
    /// It is gone, and another is being put in its place: should it come back meanwhile, it is no primary.
    pub barred: bool,
    /// Since when it is known to be about to hand over.
    pub announced: Option<Instant>,
    /// Another has taken its place as the primary, and it is not known to take no writes.
    pub replaced: bool,
    /// Transactions that it had, or that others have from it, and that it has come back without.
    pub missing: Transactions,
    /// What others have from it, when it was connected to anew and had not said so yet: they may have been asked later.
    pub doubted: Transactions,
    /// When it was last seen to be writable, and when the connection was made that told it.
    pub writable: Option<(Instant, Instant)>,
    /// Transactions that it has and the primary lacks, as far as that was looked for.
    pub diverged: u64,
    /// The last lag that the server itself knew, and when.
    pub known_lag: Option<(Instant, Duration)>,
    /// What `monitor.lag` asks for says of it, and when it was asked.
    pub measured: Option<(Instant, Measured)>,
}

#[derive(Debug)]
pub(super) struct Seen {
    pub at: Instant,
    pub observation: Observation,
    /// How late it was by what it had executed, where that can be said.
    pub lag: Option<Duration>,
}

impl Record {
    pub(super) fn new(id: ServerId, server: &config::Server) -> Self {
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
            announced: None,
            replaced: false,
            missing: Transactions::default(),
            doubted: Transactions::default(),
            writable: None,
            diverged: 0,
            known_lag: None,
            measured: None,
        }
    }

    pub(super) fn leave(self) -> Self {
        Self { leaving: true, ..self }
    }

    /// Whether it took writes when it was seen last.
    pub(super) fn is_writable(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| !seen.observation.identity.read_only)
    }

    pub(super) fn is_configured_as(&self, server: &config::Server) -> bool {
        (&self.config.host, self.config.port) == (&server.host, server.port)
    }

    pub(super) fn standing(&self) -> Standing {
        match (self.leaving, self.config.draining) {
            (true, _) => Standing::Leaving,
            (false, true) => Standing::Draining,
            (false, false) => Standing::Member,
        }
    }

    pub(super) fn as_member(&self) -> Member<'_> {
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

    pub(super) fn as_server(
        &self,
        role: Role,
        primary_is_up: bool,
        limits: &ReadLimits,
        now: Instant,
    ) -> Server {
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
    pub(super) fn usable(&self, role: Role, limits: &ReadLimits, now: Instant) -> Result<(), LeftOut> {
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
    pub(super) fn asked(&self, limits: &ReadLimits, now: Instant) -> Option<Result<Duration, LeftOut>> {
        let (at, measured) = self.measured?;
        match measured {
            _ if now.saturating_duration_since(at) > limits.facts_max_age => None,
            Measured::Lag(lag) => Some(Ok(lag)),
            Measured::Unknown => Some(Err(LeftOut::LagUnknown)),
            Measured::Nothing => None,
        }
    }

    pub(super) fn lag(
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
    pub(super) fn told_delay(&self) -> Duration {
        let channels = self.seen.iter().flat_map(|seen| seen.observation.identity.replication.channels());
        channels.map(|channel| channel.delay).max().unwrap_or_default()
    }

    pub(super) fn unfit(&self) -> Option<Unfit> {
        self.seen.as_ref()?.observation.identity.group.as_ref()?.unfit
    }

    pub(super) fn is_unreadable(&self) -> bool {
        self.seen
            .as_ref()
            .is_some_and(|seen| seen.observation.identity.replication == Replication::Unreadable)
    }

    pub(super) fn is_stale(&self, now: Instant, max_age: Duration) -> bool {
        self.seen.as_ref().is_some_and(|seen| now.saturating_duration_since(seen.at) > max_age)
    }
}
