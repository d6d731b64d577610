//! A switchover that did not come to its end is undone, or brought to it: by its mark, or by an operator's order.
//!
//! Does not know: what becomes of it (`halt`), what a mark is (`mark`). Invariant: one server takes writes again only when the other one is
//! known to take none; whom a person has set read only, and nobody has marked, takes writes by an order alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::super::snapshot::Snapshot;
use super::election::{self, Refusal};
use super::failover::followers;
use super::halt::{self, Way};
use super::hand::Trouble;
use super::lease::Lease;
use super::tally::{Act, Why};
use super::warden::Warden;
use super::words;
use crate::ids::ServerId;

impl Warden {
    /// Nobody takes writes, and others follow this server. False where no mark says that a Tidegate has left it so.
    pub(super) async fn resume(&self, snapshot: &Snapshot, halted: ServerId) -> Result<bool, Trouble> {
        let mut lease = self.lease(snapshot).await?;
        lease.survey().await;
        if self.shared.lock().plight().halted != Some(halted) {
            return Err(Trouble::new(Why::Contested, "the servers are not what they were"));
        }
        let from = lease.place(halted).ok_or("the server that takes no writes is no longer configured")?;
        let Some(mark) = lease.hand(from)?.marked().await? else { return Ok(false) };
        let seats = lease.seats();
        let is_outgoing = *seats[from].address == *mark.outgoing;
        let to = seats.iter().position(|seat| *seat.address == *mark.incoming);
        let Some(to) = to.filter(|to| is_outgoing && *to != from) else { return Ok(false) };
        let (outgoing, incoming) = (&seats[from].address, &seats[to].address);
        match halt::way(&seats, from, to)? {
            None => return Ok(false),
            Some(Way::Back) => {
                warn!(%outgoing, %incoming, "a switchover did not come to its end: it is undone");
                self.give_back(&mut lease, from, &[to]).await?;
                self.conclude(&mut lease, from).await;
            }
            Some(Way::On) => {
                warn!(%outgoing, %incoming, "a switchover did not come to its end: it is brought to it");
                self.go_on(&mut lease, from, to).await?;
            }
        }
        Ok(true)
    }

    /// The same by an operator's order, who says which server is to take writes.
    pub(super) async fn resume_to(&self, snapshot: &Snapshot, target: ServerId) -> Result<(), Trouble> {
        let mut lease = self.lease_soon(snapshot).await?;
        lease.survey().await;
        let seats = lease.seats();
        let no_primary = |refusal: Refusal| {
            let trouble = Trouble::from(refusal);
            let servers = snapshot.explain_unusable();
            Trouble::new(
                trouble.why,
                format!("there is no primary ({servers}), and none can be made: {}", trouble.text),
            )
        };
        let from = halt::halted(&seats).map_err(no_primary)?;
        let to = lease.place(target).ok_or("a server that leaves cannot take over")?;
        let (address, incoming) = (Arc::clone(&seats[from].address), Arc::clone(&seats[to].address));
        if to == from {
            halt::lacks_nothing(&seats, from)?;
            info!(primary = %address, "switchover: it takes writes again");
            let is_writable =
                |place: &usize| seats[*place].said.as_ref().is_some_and(|said| !said.identity.read_only);
            let begun: Vec<_> = followers(&seats, from).into_iter().filter(is_writable).collect();
            self.give_back(&mut lease, from, &begun).await?;
            self.conclude(&mut lease, from).await;
            return Ok(());
        }
        if let Some(why) = election::unfit(&seats, to, from) {
            return Err(Trouble::new(Why::NoCandidate, format!("{incoming} cannot take over: {why}")));
        }
        info!(from = %address, to = %incoming, "switchover: no server takes writes, one is to");
        // Whatever broke off may have stopped it.
        let hand = lease.hand(to)?;
        hand.disarm().await?;
        hand.tell(words::start(hand.dialect())).await?;
        let position = self.position(&mut lease, from).await?;
        lease.hand(to)?.has_applied(&position, self.settings.transactions_timeout).await?;
        self.go_on(&mut lease, from, to).await
    }

    /// The candidate, which has all that the old primary has, is the primary.
    async fn go_on(&self, lease: &mut Lease, from: usize, to: usize) -> Result<(), Trouble> {
        lease.hand(from)?.shut_out().await?;
        lease.survey().await;
        halt::lacks_nothing(&lease.seats(), to)?;
        let others: Vec<_> =
            followers(&lease.seats(), from).into_iter().filter(|place| *place != to).collect();
        self.receive(lease, &others, false).await;
        lease.holds().await?;
        self.crown(lease.hand(to)?).await?;
        self.lead(lease, to, &others, &[from]).await;
        self.conclude(lease, to).await;
        Ok(())
    }

    /// The old primary takes writes again, once the `suspects`, which may have been made writable, take none. Where that cannot be made
    /// sure of it stays read only.
    pub(super) async fn give_back(
        &self,
        lease: &mut Lease,
        from: usize,
        suspects: &[usize],
    ) -> Result<(), Trouble> {
        for &suspect in suspects {
            lease.hand(suspect)?.shut_out().await?;
        }
        lease.survey().await;
        for &suspect in suspects {
            halt::has_nothing_of_its_own(&lease.seats(), suspect, from)?;
            let hand = lease.hand(suspect)?;
            hand.tell(words::start(hand.dialect())).await?;
            self.shared.probe_now(hand.id);
        }
        lease.holds().await?;
        let old = lease.hand(from)?;
        old.arm().await?;
        old.tell(words::unfence(old.dialect())).await?;
        self.shared.probe_now(old.id);
        let mut others = followers(&lease.seats(), from);
        others.retain(|other| !suspects.contains(other));
        self.receive(lease, &others, true).await;
        Ok(())
    }

    /// There is a primary again.
    async fn conclude(&self, lease: &mut Lease, primary: usize) {
        self.shared.tally.done(Act::Resumption);
        self.until_seen(lease.seats[primary].0).await;
        self.unmark(lease, primary).await;
    }

    /// Removes the mark, where the server takes writes; one that stays is found again.
    pub(super) async fn unmark(&self, lease: &mut Lease, primary: usize) {
        let done = match lease.hand(primary) {
            Ok(hand) => hand.unmark().await,
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = done {
            warn!(%trouble, "the mark of a switchover is not removed yet");
            self.untidy.store(true, Ordering::Relaxed);
        }
    }
}
