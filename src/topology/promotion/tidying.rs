//! What acts that broke off have left behind, where there is a primary all the same: a mark, replicas that wait for acknowledgements or were
//! told to stop receiving.
//!
//! Does not know: when it is looked for (`warden`: at the start, and whenever the primary is there again). Invariant: it is looked for
//! without the lease and changed under it only, so that nothing is taken from an act that is under way; one replica that a person has
//! stopped stays stopped, as no act stops some and leaves others.

use tracing::{info, warn};

use super::super::replication::{Channel, IoThread};
use super::super::snapshot::Snapshot;
use super::lease::Lease;
use super::seat::{self, Seat};
use super::tally::{Trouble, Why};
use super::warden::Warden;
use crate::ids::ServerId;

/// What was found.
#[derive(PartialEq, Eq, Debug, Default)]
struct Leftovers {
    /// A mark at the primary.
    marked: bool,
    /// Replicas that wait for acknowledgements of what they apply.
    waiting: Vec<usize>,
    /// All replicas, none of which receives.
    deaf: Vec<usize>,
}

impl Warden {
    /// Looks for what is left of acts, and clears it away.
    pub(super) async fn tidy(&self, snapshot: &Snapshot, primary: ServerId) -> Result<(), Trouble> {
        let mut look = Lease::look(snapshot, &self.settings, &self.tls, self.limit).await;
        if self.leftovers(&mut look, primary).await? == Leftovers::default() {
            return Ok(());
        }
        drop(look);
        let mut lease = self.lease(snapshot).await?;
        let left = self.leftovers(&mut lease, primary).await?;
        for &place in &left.waiting {
            let hand = lease.hand(place)?;
            hand.disarm().await?;
            warn!(server = %hand.address, "a replica waited for acknowledgements, as only a primary should: it does no more");
        }
        if !left.deaf.is_empty() {
            warn!("no replica received from the primary, as when a promotion breaks off: they are told to");
            self.receive(&mut lease, &left.deaf, true).await;
        }
        if left.marked {
            let place = lease.place(primary).ok_or("the primary is no longer configured")?;
            lease.hand(place)?.unmark().await?;
            info!("the mark of a switchover that is over was removed");
        }
        Ok(())
    }

    async fn leftovers(&self, lease: &mut Lease, primary: ServerId) -> Result<Leftovers, Trouble> {
        lease.survey().await;
        let place = lease.place(primary).ok_or("the primary is no longer configured")?;
        let seats = lease.seats();
        let leads = seats[place].said.as_ref().is_some_and(|said| !said.identity.read_only);
        if !leads || !seats[place].answered {
            return Err(Trouble::new(Why::Contested, "the primary is not what it was"));
        }
        let marked = lease.hand(place)?.marked().await?.is_some();
        let mut waiting = Vec::new();
        for hand in lease.hands.iter_mut().filter(|hand| is_replica(&seats, hand.seat, place)) {
            if hand.semi_sync().await?.waits() {
                waiting.push(hand.seat);
            }
        }
        Ok(Leftovers { marked, waiting, deaf: deaf(&seats, place) })
    }
}

fn is_replica(seats: &[Seat], place: usize, primary: usize) -> bool {
    let is_read_only = seats[place].said.as_ref().is_some_and(|said| said.identity.read_only);
    place != primary && is_read_only && seat::is_follower(seats, place, primary)
}

/// All replicas of the primary that answer, where none of them receives, though each applies and met no error.
fn deaf(seats: &[Seat], primary: usize) -> Vec<usize> {
    let replicas: Vec<_> = (0..seats.len()).filter(|&place| is_replica(seats, place, primary)).collect();
    let told_to_stop =
        |channel: &Channel| channel.io == IoThread::Stopped && channel.io_error == 0 && channel.sql_runs;
    let is_deaf = |place: &usize| {
        let said = seats[*place].said.as_ref();
        said.is_some_and(|said| said.identity.replication.channels().iter().all(told_to_stop))
    };
    if replicas.iter().all(is_deaf) { replicas } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::super::seat::tests::{channel, seat};
    use super::*;

    #[test]
    fn replicas_are_told_to_receive_only_where_none_does() {
        let mut seats = vec![seat(1, &[], "@1:1-9"), seat(2, &[1], "@1:1-9"), seat(3, &[1], "@1:1-9")];
        channel(&mut seats[1]).io = IoThread::Stopped;
        assert_eq!(deaf(&seats, 0), [0; 0], "a person has stopped that one");
        channel(&mut seats[2]).io = IoThread::Stopped;
        assert_eq!(deaf(&seats, 0), [1, 2]);
        channel(&mut seats[2]).sql_runs = false;
        assert_eq!(deaf(&seats, 0), [0; 0], "STOP REPLICA, of no thread by name");
        channel(&mut seats[2]).sql_runs = true;
        channel(&mut seats[2]).io_error = 13_114;
        assert_eq!(deaf(&seats, 0), [0; 0]);
        seats[2].answered = false;
        assert_eq!(deaf(&seats, 0), [1]);
    }
}
