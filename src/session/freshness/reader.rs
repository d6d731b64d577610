//! Which replica a read goes to, by the shares and by what its session must not miss.
//!
//! Does not know: how shares come about, what the mark is made of. Invariant: what a session reads is never older than what it has
//! read or written, where it asks for that.

use std::sync::Arc;
use std::time::Instant;

use super::{Stays, covers};
use crate::balance::Balance;
use crate::consistency::Consistency;
use crate::ids::ServerId;
use crate::session::Session;
use crate::topology::{Draw, Load, Snapshot, Transactions};

impl Session {
    /// Where the session reads, while nothing can show another replica to be past its last read. Only who may move draws: so those who
    /// begin spread as the shares are.
    fn stays_at(&mut self, snapshot: &Snapshot, tried: &[ServerId]) -> Option<ServerId> {
        let (home, when) = self.freshness.read?;
        let topology = &self.topology;
        let may_move =
            topology.position(home).is_some_and(|position| position.at.is_some_and(|at| at >= when));
        let stays = self.freshness.consistency() != Consistency::Eventual
            && serves(snapshot, home, tried)
            && !may_move;
        let home = (stays && self.freshness.allows(topology, snapshot, home)).then_some(home)?;
        self.freshness.stayed += 1;
        Some(home)
    }

    /// A replica by its share.
    fn draw(&self, snapshot: &Snapshot, tried: &[ServerId]) -> Option<ServerId> {
        let (spread, turn) = self.worker.draw();
        self.with_draw(spread, turn, |draw| snapshot.readers.choose(self.balance(snapshot), draw, tried))
    }

    /// Whether reads turn away from this replica just now.
    fn is_outdone(&self, snapshot: &Snapshot, home: ServerId) -> bool {
        self.balance(snapshot) == Balance::LagWeighted
            && self.with_draw(0, 0, |draw| snapshot.readers.is_outdone(home, draw))
    }

    /// The method for the statement in hand: its own, its database's, or the cluster's.
    fn balance(&self, snapshot: &Snapshot) -> Balance {
        let reads = &snapshot.cluster.reads;
        let of_database = || {
            let any_case = snapshot.facts.as_ref().is_some_and(|facts| facts.lower_case_table_names != 0);
            let schema = &self.desired.schema[..];
            let is_it = |name: &str| match any_case {
                true => name.as_bytes().eq_ignore_ascii_case(schema),
                false => name.as_bytes() == schema,
            };
            reads.balance_of.iter().find(|(name, _)| is_it(name)).map(|(_, balance)| *balance)
        };
        self.asked_balance.or_else(of_database).unwrap_or(reads.balance)
    }

    fn with_draw<T>(&self, spread: u64, turn: u64, use_it: impl FnOnce(Draw<'_>) -> T) -> T {
        let load = |id| {
            let speed = self.topology.speed(id, self.since);
            let server = self.worker.pool.server(id);
            let [connections, running] = server.map_or([0; 2], |server| [server.engaged(), server.running()]);
            Load { connections, running, speed }
        };
        use_it(Draw { random: self.worker.random(), spread, turn, source: self.source, load: &load })
    }

    /// A replica for a read, fresh enough for this session, or on which it may wait; `None` where only the primary is.
    pub(in crate::session) fn choose_replica(
        &mut self,
        snapshot: &Snapshot,
        tried: &[ServerId],
    ) -> Option<ServerId> {
        self.freshness.wait_at = None;
        if self.freshness.unlearnt {
            return None;
        }
        let topology = &self.topology;
        self.freshness.give_up_what_is_lost(snapshot.primary, |id| topology.position(id)?.executed.clone());
        if let Some(home) = self.stays_at(snapshot, tried) {
            return Some(home);
        }
        let stayed = std::mem::take(&mut self.freshness.stayed);
        let next = self.freshness.next.take().filter(|next| serves(snapshot, *next, tried));
        if let Some(next) = next
            && (self.freshness.allows(&self.topology, snapshot, next) || self.waits_at(snapshot, next))
        {
            return Some(next);
        }
        let first = self.draw(snapshot, tried)?;
        if self.freshness.consistency() == Consistency::Eventual || self.freshness.is_free() {
            return Some(first);
        }
        // Where it has read it may read on.
        let home = self.freshness.read.map(|(seen, _)| seen).filter(|seen| serves(snapshot, *seen, tried));
        let candidates = || {
            let others = snapshot.readers.shares().map(|(id, _)| id).filter(|id| !tried.contains(id));
            [Some(first), home].into_iter().flatten().chain(others)
        };
        let chosen = candidates()
            .find(|id| self.freshness.allows(&self.topology, snapshot, *id))
            .or_else(|| candidates().find(|id| self.waits_at(snapshot, *id)));
        if chosen.is_some() && chosen == home && self.freshness.consistency().age().is_some() {
            self.freshness.stayed = stayed + 1; // with each read there is more to wait for, and it stays all the same
        }
        chosen
    }

    /// Whether all that a read on `id` would miss can be waited for there, not for long; then it is to be.
    fn waits_at(&mut self, snapshot: &Snapshot, id: ServerId) -> bool {
        let waits = !snapshot.cluster.reads.wait.is_zero()
            && self.is_near(snapshot, id)
            && self.freshness.may_wait(&self.topology, snapshot, id);
        if waits {
            self.freshness.wait_at = Some(id);
        }
        waits
    }

    /// A session that reads at one server without a pause would do so for ever: no probe is later than its last read. Asked by the
    /// session itself, between two reads, that server names what another must have.
    pub(in crate::session) async fn move_on(&mut self) {
        let Some((server, next)) = self.question() else { return };
        if let Some(all) = self.ask_executed(server).await.filter(|all| Transactions::default().extend(all)) {
            self.freshness.stand_at(server, all);
            self.freshness.next = next;
        }
    }

    /// For the levels that bound how old others' writes may be seen: learns what the primary had not longer ago than that.
    pub(in crate::session) async fn keep_up(&mut self) {
        (self.freshness.unlearnt, self.freshness.since) = (false, None);
        let Some(age) = self.freshness.consistency().age() else { return };
        // A clock that began later than that has seen all.
        let now = Instant::now();
        let since = now.checked_sub(age).unwrap_or(now);
        if self.freshness.covers(since) {
            return;
        }
        let topology = &self.topology;
        if topology.snapshot().readers.shares().any(|(id, _)| covers(topology, id, since)) {
            self.freshness.since = Some(since);
            return;
        }
        let learnt = self.primary_had(since).await;
        self.freshness.unlearnt = !learnt.is_some_and(|(at, all)| self.freshness.cover(at, &all));
    }

    /// What the primary had at `since` or later, and when; by the last probe where that is late enough.
    async fn primary_had(&self, since: Instant) -> Option<(Instant, Arc<Transactions>)> {
        let primary = self.topology.snapshot().primary?;
        let probed = self.topology.position(primary).and_then(|position| {
            let at = position.at.filter(|at| *at >= since)?;
            position.executed.clone().map(|executed| (at, executed))
        });
        match probed {
            Some(probed) => Some(probed),
            None => self.executed_since(primary, since).await,
        }
    }

    /// Which server to ask what it has, and where to go then, if that is decided.
    fn question(&mut self) -> Option<(ServerId, Option<ServerId>)> {
        if self.freshness.consistency() == Consistency::Eventual {
            return None;
        }
        // The levels with a bound ask the primary by themselves.
        if self.freshness.consistency().age().is_none()
            && let Some(primary) = self.freshness.bound()
        {
            let snapshot = self.topology.snapshot();
            snapshot.readers.shares().find(|(id, _)| self.is_near(&snapshot, *id))?;
            self.freshness.asked = Some(Instant::now());
            return Some((primary, None));
        }
        let stays = self.freshness.may_have_had_its_turn()?;
        let snapshot = self.topology.snapshot();
        let home = match stays {
            Stays::Over(home) => home,
            Stays::Looks(home) if self.is_outdone(&snapshot, home) => home,
            Stays::Looks(_) => return None,
        };
        snapshot.server(home).filter(|home| !home.is_closing())?; // no question goes there any more
        let next =
            self.draw(&snapshot, &[]).filter(|next| *next != home && self.is_near(&snapshot, *next))?;
        Some((home, Some(next)))
    }

    /// Whether a wait there would not be long.
    fn is_near(&self, snapshot: &Snapshot, id: ServerId) -> bool {
        let lag = snapshot.server(id).and_then(|server| server.lag);
        lag.is_some_and(|lag| lag <= snapshot.cluster.reads.wait) && self.worker.may_wait_at(id)
    }
}

/// Whether it serves reads, and has not failed this one.
fn serves(snapshot: &Snapshot, id: ServerId, tried: &[ServerId]) -> bool {
    !tried.contains(&id) && snapshot.readers.shares().any(|(reader, _)| reader == id)
}
