//! What the book knows of primaries that were, and of those that take their place.
//!
//! Does not know: how a server is promoted. Invariant: that of the book.

use std::sync::Arc;
use std::time::Instant;

use super::record::Record;
use super::{Book, HandOver, Observation};
use crate::ids::ServerId;
use crate::topology::gtid::Transactions;
use crate::topology::health::State;
use crate::topology::promotion::{Plight, plight};
use crate::topology::roles::{Identity, Member};

impl Book {
    /// What a server lacks of what it had, once it was connected to anew: it may have been restarted without its data, or with older
    /// data; and what it may lack. `None` where it does not say what it has, or nothing has changed.
    pub(super) fn missing(&self, id: ServerId, now: &Observation) -> Option<(Transactions, Transactions)> {
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
    pub(super) fn lost(&self, record: &Record) -> u64 {
        if self.settings.promotion.is_none() || record.missing.is_empty() {
            return 0;
        }
        let others = self.members().filter(|other| other.id != record.id);
        let histories = others.filter_map(|other| other.seen.as_ref()?.observation.history.as_deref());
        let left = histories.fold(record.missing.clone(), |left, history| left.without(history));
        record.missing.count() - left.count()
    }

    /// All members as the rules for roles see them.
    pub(super) fn all_members(&self) -> Vec<Member<'_>> {
        let with_losses = |record: &Record| record.missing.is_empty() || self.lost(record) == 0;
        self.members().map(|record| Member { lost: !with_losses(record), ..record.as_member() }).collect()
    }

    /// What must be done about the primary, or about who was it, where Tidegate promotes.
    pub fn plight(&self) -> Plight {
        let members = self.all_members();
        let current = self.members().position(|record| Some(record.id) == self.primary);
        let is_down = |index: usize| self.servers[index].health.state() == State::Down;
        let last = self.members().position(|record| Some(record.id) == self.last_primary);
        let mut plight = plight(&members, current, last, is_down).map(|index| self.servers[index].id);
        let is_announced =
            |id: &ServerId| self.servers.iter().any(|record| record.id == *id && record.announced.is_some());
        plight.halted = plight.halted.filter(|halted| !is_announced(halted)); // who hands it over is at it
        plight
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

    /// What this Tidegate does about the primary's place; another server that takes it is not concerned.
    pub fn hand_over(&mut self, how: HandOver) {
        self.handing_over = how;
    }

    /// Whether a primary takes nothing new as it hands over: by this Tidegate, or by another one that lets it be known, and is believed for
    /// as long as a switchover may take.
    pub(super) fn hands_over(&self, record: &Record, now: Instant) -> bool {
        match self.handing_over {
            HandOver::Begun(id) if id == record.id => true,
            HandOver::Told(id) if id == record.id => false,
            _ => record
                .announced
                .is_some_and(|since| now.saturating_duration_since(since) <= self.settings.pool.primary_wait),
        }
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
    pub(super) fn take_place(&mut self, chosen: ServerId, guarded: bool) {
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
}
