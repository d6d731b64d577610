//! A primary that is gone is replaced.
//!
//! Owns: the order of a promotion. Does not know: when one is due (`plight`), who is elected (`election`). Invariant: from the first step
//! on the primary that is gone gets no statement of this Tidegate, whatever becomes of it; it gets its place back only where nobody has
//! it; and it has not answered up to the moment at which another is made writable.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::super::gtid::Transactions;
use super::super::roles::Identity;
use super::super::shared::Shared;
use super::super::snapshot::Snapshot;
use super::election::{self, Refusal};
use super::hand::Hand;
use super::lease::Lease;
use super::seat::{self, Seat, Testimony};
use super::tally::{Act, Trouble};
use super::warden::{STEP, Warden};
use super::words;
use crate::ids::ServerId;

/// Keeps a server from being the primary, until it is dropped.
struct Bar<'a>(&'a Shared, ServerId);

impl<'a> Bar<'a> {
    fn new(shared: &'a Shared, id: ServerId) -> Self {
        shared.update(|book| book.bar(id, true));
        Self(shared, id)
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.0.update(|book| book.bar(self.1, false));
    }
}

impl Warden {
    /// Puts the best replica in the place of a primary that is gone. `loose` are earlier primaries that are writable.
    pub(super) async fn fail_over(
        &self,
        snapshot: &Snapshot,
        source: ServerId,
        loose: &[ServerId],
    ) -> Result<(), Trouble> {
        let started = Instant::now();
        let mut lease = self.lease(snapshot).await?;
        self.shut_out(&mut lease, loose).await?;
        if let Some((identity, history)) = self.recall(source) {
            let history = history.map(|history| (*history).clone()).unwrap_or_default();
            let (holds, executed) = (Transactions::default(), Transactions::default());
            let claims = history.clone();
            lease.remember(source, Testimony { identity, can_lead: false, holds, executed, history, claims });
        }
        self.survey(&mut lease, source).await;
        let place = lease.place(source).ok_or("the primary that is gone is no longer configured")?;
        match election::confirm(&lease.seats(), place) {
            Ok(()) => {}
            Err(refusal) => {
                if refusal == Refusal::Unasked {
                    // Perhaps by an instance that did not come to the end.
                    let stopped = followers(&lease.seats(), place);
                    self.receive(&mut lease, &stopped, true).await;
                }
                return Err(refusal.into());
            }
        }
        let address = Arc::clone(&lease.seats[place].1.address);
        let (reached, of, lost) = (lease.hands.len(), lease.seats.len(), lease.seats[place].1.lost);
        if lost {
            warn!(primary = %address, reached, of, "the primary has come back without what its replicas have: one of them takes its place");
            self.shut_out(&mut lease, &[source]).await?;
        } else {
            warn!(primary = %address, reached, of, "the primary is gone, as its replicas say too: one of them takes its place");
        }
        let _bar = Bar::new(&self.shared, source);
        let replicas = followers(&lease.seats(), place);
        match self.replace(&mut lease, place, &replicas).await {
            Ok(best) => {
                let server = Arc::clone(&lease.seats[best].1.address);
                let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                info!(%server, took_ms, "promoted");
                self.shared.tally.done(Act::Promotion);
                self.shared.update(|book| book.depose(source));
                let chosen = lease.seats[best].0;
                self.lead(&mut lease, best, &replicas, &[]).await;
                self.until_seen(chosen).await;
                Ok(())
            }
            Err(trouble) => {
                self.receive(&mut lease, &replicas, true).await;
                Err(trouble)
            }
        }
    }

    fn recall(&self, id: ServerId) -> Option<(Identity, Option<Arc<Transactions>>)> {
        self.shared.lock().last_words(id)
    }

    /// Asks all, and counts what the primary has come back without as its last words.
    async fn survey(&self, lease: &mut Lease, source: ServerId) {
        lease.survey().await;
        let missing = self.shared.lock().missed(source);
        if let Some(place) = lease.place(source).filter(|_| !missing.is_empty()) {
            lease.has_lost(place, &missing);
        }
    }

    /// Sets servers read only that have lost their place.
    async fn shut_out(&self, lease: &mut Lease, loose: &[ServerId]) -> Result<(), Trouble> {
        for id in loose {
            let place = lease.place(*id).ok_or("a server that is writable is no longer configured")?;
            let hand = lease.hand(place)?;
            hand.shut_out().await?;
            self.note_fenced(hand);
        }
        Ok(())
    }

    /// Elects a server and makes it the primary; its place.
    async fn replace(&self, lease: &mut Lease, source: usize, replicas: &[usize]) -> Result<usize, Trouble> {
        // What they have is what they will have; and if the primary lives after all, it gets no acknowledgement of semi-synchronous
        // replication from them any more.
        self.receive(lease, replicas, false).await;
        let (id, began) = (lease.seats[source].0, Instant::now());
        self.survey(lease, id).await;
        let seats = lease.seats();
        let (best, left) = election::elect(&seats, source)?;
        for (index, why) in left {
            warn!(server = %seats[index].address, %why, "it cannot take the primary's place");
        }
        let Some(said) = &seats[best].said else { return Err("nobody was asked".into()) };
        let (executed, received) = (said.executed.count(), said.holds.count());
        info!(server = %seats[best].address, executed, received, "it takes the primary's place once it has applied what it has received");
        self.shared.probe_now(id);
        if !said.executed.contains(&said.holds) {
            // A promotion that broke off may have left it so.
            lease.hand(best)?.disarm().await?;
            self.catch_up(lease, best, &said.holds.to_string(), self.settings.apply_timeout).await?;
        }
        lease.holds().await?;
        // A server without its data was set read only; any other must still be silent.
        if !seats[source].lost && self.shared.lock().has_answered_since(id, began.into_std()) {
            return Err(Refusal::Answers(Arc::clone(&seats[source].address)).into());
        }
        self.crown(lease.hand(best)?).await?;
        Ok(best)
    }

    /// Waits for a candidate to apply what it has received, and keeps the lease meanwhile.
    async fn catch_up(
        &self,
        lease: &mut Lease,
        place: usize,
        needs: &str,
        limit: Duration,
    ) -> Result<(), Trouble> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lease.hand(place)?.has_applied(needs, left.min(STEP)).await {
                Ok(()) => return Ok(()),
                Err(trouble) if left <= STEP => return Err(trouble),
                Err(_) => lease.holds().await?,
            }
        }
    }

    /// Makes a server the primary, which acknowledges nothing alone where semi-synchronous replication is used.
    pub(super) async fn crown(&self, hand: &mut Hand) -> Result<(), Trouble> {
        let limit = self.settings.apply_timeout;
        hand.arm().await?;
        for sql in words::promote(hand.dialect()) {
            hand.tell_within(sql, limit).await?;
        }
        self.shared.probe_now(hand.id);
        Ok(())
    }

    /// Stops these replicas from receiving, or has them begin again, also one that was not made the primary after all.
    pub(super) async fn receive(&self, lease: &mut Lease, replicas: &[usize], on: bool) {
        for hand in lease.hands.iter_mut().filter(|hand| replicas.contains(&hand.seat)) {
            let ready = if on { hand.disarm().await } else { Ok(()) };
            let told = hand.tell(words::receive(hand.dialect(), on)).await;
            if let Err(trouble) = ready.and(told) {
                warn!(%trouble, on, "a receiving thread was not stopped or started");
            }
            // Who is seen to try to reach another server speaks against a new primary.
            self.shared.probe_now(hand.id);
        }
    }
}

/// Those who have answered and follow this server.
pub(super) fn followers(seats: &[Seat], source: usize) -> Vec<usize> {
    (0..seats.len()).filter(|&index| index != source && seat::is_follower(seats, index, source)).collect()
}
