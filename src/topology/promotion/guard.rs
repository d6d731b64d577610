//! Who may take writes, and who may not: a second writable server is set read only, a primary that slept takes writes again.
//!
//! Does not know: promotions. Invariant: nobody is shut out while the primary does not answer, and nobody takes writes again whom a person
//! has set read only, or who has come back with less than others have from it.

use std::time::Duration;

use tracing::{info, warn};

use super::super::snapshot::Snapshot;
use super::Plight;
use super::hand::{Hand, PROMPT};
use super::tally::{Act, Trouble, Why};
use super::warden::Warden;
use super::words;
use crate::ids::ServerId;

impl Warden {
    /// Makes writable servers read only that are not the primary. It must answer at this moment: where it was just lost, the writable
    /// one may be what another instance has put in its place.
    pub(super) async fn fence(&self, snapshot: &Snapshot, loose: &[ServerId]) -> Result<(), Trouble> {
        let mut lease = self.lease(snapshot).await?;
        lease.survey().await;
        let Plight { loose: still, primary, .. } = self.shared.lock().plight(); // somebody may have changed that meanwhile
        let leads = primary.and_then(|primary| lease.place(primary)).is_some_and(|place| {
            let seat = &lease.seats[place].1;
            seat.answered && seat.said.as_ref().is_some_and(|said| !said.identity.read_only)
        });
        if !leads {
            let text = "a second server is writable, and the primary does not answer: neither is shut out";
            return Err(Trouble::new(Why::Contested, text));
        }
        for hand in lease.hands.iter_mut().filter(|hand| loose.contains(&hand.id) && still.contains(&hand.id))
        {
            hand.shut_out().await?;
            self.note_fenced(hand);
        }
        Ok(())
    }

    pub(super) fn note_fenced(&self, hand: &Hand) {
        self.shared.tally.done(Act::Fencing);
        warn!(server = %hand.address, "fenced: a second writable server was set read only");
        self.shared.update(|book| book.depose(hand.id));
        self.shared.probe_now(hand.id);
    }

    /// Lets a primary take writes again that is read only since it was restarted, as its configuration says; not one that somebody has
    /// set read only.
    pub(super) async fn wake(&self, snapshot: &Snapshot, last: ServerId) -> Result<(), Trouble> {
        let mut lease = self.lease(snapshot).await?;
        let (still, seen) = {
            let book = self.shared.lock();
            (book.plight().asleep == Some(last), book.writable_before(last))
        };
        let place = lease.place(last).ok_or("the primary is no longer configured")?;
        let hand = lease.hand(place)?;
        let (_, uptime): (String, u64) = hand.ask("SHOW GLOBAL STATUS LIKE 'Uptime'", PROMPT).await?;
        // Whole seconds, one too many at times: who has been up for longer was not restarted since it was seen to be writable.
        let restarted =
            seen.is_some_and(|seen| Duration::from_secs(uptime.saturating_sub(1)) < seen.elapsed());
        if !still || !restarted {
            let text = format!("{} is read only, and was not restarted: somebody wants it so", hand.address);
            return Err(Trouble::new(Why::Ordered, text));
        }
        lease.holds().await?;
        let hand = lease.hand(place)?;
        hand.arm().await?;
        hand.tell(words::unfence(hand.dialect())).await?;
        self.shared.tally.done(Act::Waking);
        info!(server = %hand.address, "the primary was restarted and came back read only: it takes writes again");
        self.shared.probe_now(last);
        self.until_seen(last).await;
        Ok(())
    }
}
