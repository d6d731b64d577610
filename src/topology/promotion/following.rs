//! Servers are made to follow the primary: after a change, and later who was left out then or has come back since.
//!
//! Owns: what is told to a server that is to follow, and the log of it. Does not know: how the primary became one. Invariant: nobody is
//! told to follow who has, or has received, a transaction that the primary lacks; one that stays apart is left as it is, read only. Those who
//! follow somebody else come first, and who has followed nobody last: a replica that is stopped while Tidegate dies is seen to be astray as
//! long as its source stands alone, and taken for one that a person has stopped once that one follows in turn.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::super::snapshot::Snapshot;
use super::election::Refusal;
use super::hand::{Hand, Trouble};
use super::joining::{self, Apart};
use super::lease::Lease;
use super::seat::Seat;
use super::tally::{Act, Why};
use super::warden::Warden;
use super::words::{self, Source};
use crate::config::ServerTlsMode;
use crate::ids::ServerId;

impl Warden {
    /// Makes these replicas follow the new primary; `anew` are those who have followed nobody. Whom it does not succeed with is found
    /// again later: these stay alone until then, as a replica that stays stopped is known for astray by its source's standing alone.
    pub(super) async fn lead(&self, lease: &mut Lease, primary: usize, replicas: &[usize], anew: &[usize]) {
        let seats = lease.seats();
        let mut all = true;
        for &place in replicas.iter().chain(anew).filter(|&&place| place != primary) {
            let is_new = !replicas.contains(&place);
            if is_new && !all {
                info!(server = %seats[place].address, "it follows when all others do");
                continue;
            }
            let Ok(hand) = lease.hand(place) else { continue };
            let said = seats[hand.seat].said.as_ref();
            let several = said.is_some_and(|said| said.identity.replication.channels().len() > 1);
            let done = match several {
                // It was stopped; whom it follows is its own affair.
                true => hand.tell(words::receive(hand.dialect(), true)).await,
                false => self.follow(hand, &seats[primary], is_new).await,
            };
            match done {
                Ok(()) if several => {
                    warn!(server = %hand.address, "it follows several servers: it is not told to follow the primary");
                }
                Ok(()) => self.note_following(hand, &seats[primary]),
                Err(trouble) => {
                    all = false;
                    warn!(%trouble, "a server does not follow the new primary yet: it is tried again");
                }
            }
            self.shared.probe_now(hand.id);
        }
    }

    fn note_following(&self, hand: &Hand, primary: &Seat) {
        self.shared.tally.done(Act::Repointing);
        info!(server = %hand.address, primary = %primary.address, "it follows the primary");
    }

    async fn follow(&self, hand: &mut Hand, primary: &Seat, anew: bool) -> Result<(), Trouble> {
        hand.tell(words::fence(hand.dialect())).await?;
        hand.disarm().await?;
        let tls = matches!(self.tls.mode, ServerTlsMode::Required | ServerTlsMode::Verified);
        let source = Source { host: &primary.host, port: primary.port, settings: &self.settings, tls };
        let told = hand.tell_secretly(&words::follow(hand.dialect(), &source, anew)).await;
        if told.is_err() && !anew {
            // It may have been stopped, and goes on with whom it has followed.
            let _ = hand.tell(words::start(hand.dialect())).await;
        }
        told
    }

    /// Makes servers replicas of the primary that follow nobody, or somebody else, where their data allows it. False when one must stay
    /// apart.
    pub(super) async fn gather(
        &self,
        snapshot: &Snapshot,
        primary: ServerId,
        stray: &[ServerId],
    ) -> Result<bool, Trouble> {
        let mut lease = self.lease(snapshot).await?;
        lease.survey().await;
        let still = self.shared.lock().plight();
        let place = lease.place(primary).ok_or("the primary is no longer configured")?;
        let leads = |seat: &Seat| seat.said.as_ref().is_some_and(|said| !said.identity.read_only);
        if still.primary != Some(primary) || !lease.seats[place].1.answered || !leads(&lease.seats[place].1) {
            return Err(Trouble::new(Why::Contested, "the primary is not what it was"));
        }
        let mut all = true;
        let seats = lease.seats();
        let stray = stray.iter().filter(|id| still.stray.contains(id)).filter_map(|id| lease.place(*id));
        for at in joining::in_turn(&seats, stray.collect()) {
            let id = lease.seats[at].0;
            if joining::has_begun(&seats, at, place) {
                self.shared.probe_now(id); // what was known of it was seen in the middle of that
                continue;
            }
            match joining::may_follow(&seats, at, place) {
                Ok(anew) => {
                    self.follow(lease.hand(at)?, &seats[place], anew).await?;
                    if anew {
                        info!(server = %seats[at].address, "it has nothing that the primary lacks: it follows it from now on");
                    }
                    self.note_following(lease.hand(at)?, &seats[place]);
                    self.shared.update(|book| book.diverges(id, 0));
                    self.shared.probe_now(id);
                }
                Err(why) => {
                    self.leave_apart(id, &seats[at].address, &why);
                    all = false;
                }
            }
        }
        Ok(all)
    }

    fn leave_apart(&self, id: ServerId, server: &Arc<str>, why: &Apart) {
        match why {
            Apart::Diverged(own) => {
                let (count, transactions) = (own.count(), own.to_string());
                error!(%server, count, transactions, "it has transactions that the primary lacks: it is kept out");
                self.shared.update(|book| book.diverges(id, count));
            }
            Apart::Empty => error!(%server, %why, "it is kept out"),
            Apart::Unclear => warn!(%server, %why, "it is left as it is"),
        }
        self.shared.tally.refused(if *why == Apart::Unclear { Why::Server } else { Why::WouldLose });
    }

    /// Comes to the end of a promotion that another Tidegate, or this one before it was restarted, has begun: `only` is writable, and the
    /// others follow a server that is gone.
    pub(super) async fn finish(&self, snapshot: &Snapshot, only: ServerId) -> Result<(), Trouble> {
        let mut lease = self.lease(snapshot).await?;
        lease.survey().await;
        if self.shared.lock().plight().unfinished != Some(only) {
            return Err(Trouble::new(Why::Contested, "the servers are not what they were"));
        }
        let place = lease.place(only).ok_or("the server that is writable is no longer configured")?;
        let seats = lease.seats();
        let others = joining::unfinished(&seats, place)?;
        for &index in &others {
            if let Err(Apart::Diverged(own)) = joining::may_follow(&seats, index, place) {
                let (server, count) = (Arc::clone(&seats[index].address), own.count());
                return Err(Refusal::MoreElsewhere { server, count, which: own.to_string() }.into());
            }
        }
        lease.hand(place)?.arm().await?;
        warn!(server = %seats[place].address, "a promotion has not come to its end: the others follow it now");
        self.lead(&mut lease, place, &others, &[]).await;
        self.until_seen(only).await;
        Ok(())
    }
}
