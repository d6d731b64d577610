//! A planned switchover: the primary hands over to a replica that an operator names, and nobody's statement fails.
//!
//! Owns: its order. Does not know: sessions; whoever asks for it tells when they have left. Invariant: until the candidate is
//! writable every step is taken back when a later one fails, if need be by another Tidegate, as a mark tells what was begun; it is made
//! writable only when the old primary is read only and the candidate has all of it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use super::super::book::HandOver;
use super::super::replication::IoThread;
use super::super::shared::Shared;
use super::election;
use super::failover::followers;
use super::halt;
use super::hand::{Hand, PROMPT, Trouble};
use super::lease::Lease;
use super::mark::Mark;
use super::tally::{Act, Why};
use super::warden::{Quiet, Warden};
use super::words;
use crate::ids::ServerId;

/// How long the old primary may take to become read only, and the candidate to apply the rest, once no transaction is open. Both
/// happen while writes wait: `transactions_timeout` and twice this are at most `primary_wait`.
const STEP: Duration = Duration::from_secs(1);
/// Between two looks at others' transactions: the servers keep what they show of them for a tenth of a second.
const OTHERS_LOOK: Duration = Duration::from_millis(110);

/// Nothing is handed over any more once it is dropped, whatever has happened.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.update(|book| book.hand_over(HandOver::No));
    }
}

impl Warden {
    /// Makes the server at `address` the primary. `quiet` gets the id of the primary and says when no transaction is open there.
    pub async fn switch_over(
        &self,
        address: &str,
        quiet: impl FnOnce(ServerId) -> Quiet + Send,
    ) -> Result<(), String> {
        let done = self.change_places(address, quiet).await;
        if let Err(trouble) = &done {
            self.shared.tally.refused(trouble.why);
        }
        done.map_err(|trouble| trouble.to_string())
    }

    async fn change_places(
        &self,
        address: &str,
        quiet: impl FnOnce(ServerId) -> Quiet + Send,
    ) -> Result<(), Trouble> {
        let _acting = timeout(PROMPT, self.acting.lock())
            .await
            .map_err(|_| Trouble::new(Why::Locked, "the servers' roles are just being changed"))?;
        if self.shared.lock().has_group() {
            let text = "the servers are members of a group, which elects its primary by itself";
            return Err(Trouble::new(Why::NoCandidate, text));
        }
        let snapshot = self.shared.snapshot();
        let target = snapshot.servers.iter().find(|server| &*server.address == address);
        let target = target.ok_or_else(|| format!("there is no server {address}"))?.id;
        let Some(primary) = snapshot.primary else { return self.resume_to(&snapshot, target).await };
        if target == primary {
            return Err(Trouble::new(Why::Ordered, format!("{address} is the primary")));
        }
        let mut lease = self.lease_soon(&snapshot).await?;
        let (from, to) = match (lease.place(primary), lease.place(target)) {
            (Some(from), Some(to)) => (from, to),
            _ => return Err("a server that leaves can neither hand over nor take over".into()),
        };
        self.prepare(&mut lease, from, to).await?;
        let _end = End(&self.shared);
        if let Err(trouble) = self.announce(&mut lease, from, to).await {
            error!(why = %trouble, "switchover: given up");
            self.untidy.store(true, Ordering::Relaxed);
            return Err(trouble);
        }
        info!(from = %lease.seats[from].1.address, to = address, "switchover: new writes wait");
        self.shared.update(|book| book.hand_over(HandOver::Begun(primary)));
        let done = self.hand_over(&mut lease, from, to, quiet(primary)).await;
        match &done {
            Err(trouble) => {
                error!(why = %trouble, "switchover: given up");
                let taken_back = match lease.hand(from) {
                    Ok(hand) => hand.announce(false).await,
                    Err(trouble) => Err(trouble),
                };
                if let Err(trouble) = taken_back {
                    warn!(%trouble, "others are not told that the primary goes on: they see it soon");
                }
                self.shared.probe_now(primary);
            }
            Ok(()) => self.until_seen(target).await,
        }
        self.shared.update(|book| book.hand_over(HandOver::No));
        if done.is_ok() {
            info!(primary = address, "switchover: done");
            self.shared.tally.done(Act::Switchover);
            let replicas = others(&lease, from, to);
            self.lead(&mut lease, to, &replicas, &[from]).await;
        }
        self.unmark(&mut lease, if done.is_ok() { to } else { from }).await;
        done
    }

    /// Marks what begins, for those who find it if this Tidegate does not live to end it, and lets the other instances see it before
    /// anything changes: they begin nothing at the primary from then on.
    async fn announce(&self, lease: &mut Lease, from: usize, to: usize) -> Result<(), Trouble> {
        let [outgoing, incoming] = [from, to].map(|place| lease.seats[place].1.address.to_string());
        self.shared.update(|book| book.hand_over(HandOver::Told(lease.seats[from].0)));
        let hand = lease.hand(from)?;
        if !hand.mark(&Mark { outgoing, incoming }).await? {
            warn!(server = %hand.address, "the account of `failover` may not write to `tidegate.switchover`: the switchover is not marked: if this Tidegate does not live to end it, it is left as it is");
        }
        hand.announce(true).await?;
        sleep(self.interval).await;
        Ok(())
    }

    /// Makes sure that it can succeed, while nobody waits for it.
    async fn prepare(&self, lease: &mut Lease, from: usize, to: usize) -> Result<(), Trouble> {
        lease.survey().await;
        let seats = lease.seats();
        halt::leads(&seats, from)?; // another may have been at it just before
        let address = &seats[to].address;
        if let Some(why) = election::unfit(&seats, to, from) {
            return Err(Trouble::new(Why::NoCandidate, format!("{address} cannot take over: {why}")));
        }
        let receives = seats[to].said.iter().flat_map(|said| said.identity.replication.channels());
        if receives.into_iter().any(|channel| channel.io != IoThread::Runs) {
            let text = format!("{address} cannot take over: it does not receive from the primary");
            return Err(Trouble::new(Why::NoCandidate, text));
        }
        let position = self.position(lease, from).await?;
        lease.hand(to)?.has_applied(&position, self.settings.transactions_timeout).await
    }

    pub(super) async fn position(&self, lease: &mut Lease, place: usize) -> Result<String, Trouble> {
        let hand = lease.hand(place)?;
        let position: String = hand.ask(words::position(hand.dialect()), PROMPT).await?;
        // It becomes part of a statement.
        let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_,".contains(c);
        Ok(position.chars().filter(|c| allowed(*c)).collect())
    }

    async fn hand_over(
        &self,
        lease: &mut Lease,
        from: usize,
        to: usize,
        quiet: Quiet,
    ) -> Result<(), Trouble> {
        let begun = Instant::now();
        quiet.await.map_err(|why| Trouble::new(Why::Sessions, why))?;
        self.others_leave(lease.hand(from)?, begun + self.settings.transactions_timeout).await;
        let Err(why) = self.transfer(lease, from, to).await else { return Ok(()) };
        match self.take_back(lease, from, to).await {
            Ok(()) => Err(why),
            Err(more) => {
                Err(format!("{why}; and it could not be taken back ({more}): look at both servers").into())
            }
        }
    }

    /// Waits for transactions of other instances, and of clients that come another way; those that stay lose their place.
    async fn others_leave(&self, old: &mut Hand, deadline: Instant) {
        loop {
            let asked = timeout(STEP, old.ask::<u64>(words::OPEN_TRANSACTIONS, PROMPT)).await;
            match asked.unwrap_or_else(|_| Err("no answer in time".into())) {
                Ok(0) => return,
                Ok(open) if Instant::now() + OTHERS_LOOK >= deadline => {
                    warn!(
                        open,
                        "switchover: transactions of others are open still on the primary: it refuses what they write from now on"
                    );
                    return;
                }
                Ok(_) => sleep(OTHERS_LOOK).await,
                Err(trouble) => {
                    warn!(%trouble, "switchover: transactions of other instances are not waited for");
                    return;
                }
            }
        }
    }

    async fn transfer(&self, lease: &mut Lease, from: usize, to: usize) -> Result<(), Trouble> {
        let old = lease.hand(from)?;
        old.tell(&format!("SET SESSION lock_wait_timeout = {}", STEP.as_secs())).await?;
        old.tell(words::fence(old.dialect())).await?;
        self.shared.probe_now(old.id);
        let position = self.position(lease, from).await?;
        lease.hand(to)?.has_applied(&position, STEP).await?;
        // Who is still seen to receive from another server would speak against the new primary.
        self.receive(lease, &others(lease, from, to), false).await;
        lease.holds().await?;
        self.crown(lease.hand(to)?).await
    }

    /// Everything as it was. Where it cannot be made sure that the candidate takes no writes, the old primary stays read only.
    async fn take_back(&self, lease: &mut Lease, from: usize, to: usize) -> Result<(), Trouble> {
        self.give_back(lease, from, &[to]).await
    }
}

/// Who follows the old primary beside the new one.
fn others(lease: &Lease, from: usize, to: usize) -> Vec<usize> {
    followers(&lease.seats(), from).into_iter().filter(|&index| index != to).collect()
}
