//! The right to change a cluster's roles: a lock on more than half of its servers.
//!
//! Owns: how several Tidegates agree who acts. Does not know: what is done then. Invariant: the servers that count are all configured
//! ones, whether they answer or not, so that two halves of a network can never both have the right.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::gtid::Transactions;
use super::super::probe::Target;
use super::super::snapshot::{Server, Snapshot, Standing};
use super::hand::Hand;
use super::seat::{Seat, Testimony};
use super::tally::{Trouble, Why};
use crate::config::{Promotion, ServerTls};
use crate::ids::ServerId;

/// A cluster in hand.
pub(super) struct Lease {
    /// Those that answer, in the file's order.
    pub hands: Vec<Hand>,
    /// All configured servers.
    pub seats: Vec<(ServerId, Seat)>,
    held: Vec<ServerId>,
}

impl Lease {
    /// Reaches all servers, and locks none: for a look.
    pub async fn look(snapshot: &Snapshot, settings: &Promotion, tls: &ServerTls, limit: Duration) -> Self {
        let members = || snapshot.servers.iter().filter(|server| server.standing != Standing::Leaving);
        let mut hands = reach(members(), settings, tls, limit).await;
        hands.sort_by_key(|hand| hand.seat);
        let seats = members().map(|server| (server.id, seat(server))).collect();
        Self { hands, seats, held: Vec::new() }
    }

    /// Reaches all servers and locks more than half of them, in the order of their addresses, so that of two who try one succeeds.
    pub async fn take(
        snapshot: &Snapshot,
        settings: &Promotion,
        tls: &ServerTls,
        limit: Duration,
    ) -> Result<Self, Trouble> {
        let mut lease = Self::look(snapshot, settings, tls, limit).await;
        let all = lease.seats.len();
        let needed = all / 2 + 1;
        let mut order: Vec<_> = lease.hands.iter_mut().collect();
        order.sort_by(|one, other| one.address.cmp(&other.address));
        for hand in order {
            match hand.lock().await {
                Ok(true) => lease.held.push(hand.id),
                Ok(false) => {
                    let text = format!("{}: another Tidegate has the lock", hand.address);
                    return Err(Trouble::new(Why::Locked, text));
                }
                Err(trouble) => tracing::warn!(%trouble, "a server cannot be locked"),
            }
        }
        if lease.held.len() < needed {
            let held = lease.held.len();
            let text = format!("only {held} of {all} servers can be reached and locked: {needed} are needed");
            return Err(Trouble::new(Why::NoMajority, text));
        }
        Ok(lease)
    }

    /// Makes sure that it holds still, just before what cannot be taken back.
    pub async fn holds(&mut self) -> Result<(), Trouble> {
        let needed = self.seats.len() / 2 + 1;
        let mut held = 0;
        for hand in self.hands.iter_mut().filter(|hand| self.held.contains(&hand.id)) {
            held += usize::from(hand.holds_lock().await);
        }
        if held < needed {
            let text = format!("the lock is held on {held} servers only: {needed} are needed");
            Err(Trouble::new(Why::NoMajority, text))
        } else {
            Ok(())
        }
    }

    /// Asks all who answer.
    pub async fn survey(&mut self) {
        for (_, seat) in &mut self.seats {
            seat.answered = false;
        }
        for hand in &mut self.hands {
            match hand.testify().await {
                Ok(said) => {
                    let seat = &mut self.seats[hand.seat].1;
                    (seat.said, seat.answered) = (Some(said), true);
                }
                Err(trouble) => tracing::warn!(%trouble, "a server does not say what a promotion needs"),
            }
        }
    }

    /// What a server that does not answer said last.
    pub fn remember(&mut self, id: ServerId, said: Testimony) {
        if let Some((_, seat)) = self.seats.iter_mut().find(|(seat, _)| *seat == id) {
            seat.said.get_or_insert(said);
        }
    }

    /// A server has come back without these transactions: they count as its last words.
    pub fn has_lost(&mut self, place: usize, missing: &Transactions) {
        let seat = &mut self.seats[place].1;
        if let Some(said) = &mut seat.said {
            seat.lost = seat.answered && !said.history.contains(missing); // it may have said more since
            said.history.join(missing);
        }
    }

    /// The seats alone.
    pub fn seats(&self) -> Vec<Seat> {
        self.seats.iter().map(|(_, seat)| seat.clone()).collect()
    }

    /// A server's place in the configuration.
    pub fn place(&self, id: ServerId) -> Option<usize> {
        self.seats.iter().position(|(seat, _)| *seat == id)
    }

    /// The server at this place.
    pub fn hand(&mut self, place: usize) -> Result<&mut Hand, Trouble> {
        let address = Arc::clone(&self.seats[place].1.address);
        let hand = self.hands.iter_mut().find(|hand| hand.seat == place);
        Ok(hand.ok_or_else(|| format!("{address}: not reached"))?)
    }
}

/// Connects to all that can be reached, at the same time.
pub(super) async fn reach(
    servers: impl Iterator<Item = &Server>,
    settings: &Promotion,
    tls: &ServerTls,
    limit: Duration,
) -> Vec<Hand> {
    let mut reaching = JoinSet::new();
    for (place, server) in servers.enumerate() {
        let Some(at) = server.at else { continue };
        let target = Target::new(&server.config, at, tls, &settings.user, &settings.password);
        let who = (server.id, place, Arc::clone(&server.address));
        reaching.spawn(async move { Hand::reach(&target, who, limit).await });
    }
    let mut hands = Vec::new();
    while let Some(reached) = reaching.join_next().await {
        match reached {
            Ok(Ok(hand)) => hands.push(hand),
            Ok(Err(trouble)) => tracing::debug!(%trouble, "a server is not reached for a promotion"),
            Err(_) => tracing::warn!("a server's answer broke off an attempt to reach it"),
        }
    }
    hands
}

fn seat(server: &Server) -> Seat {
    Seat {
        host: server.config.host.clone(),
        port: server.config.port,
        address: Arc::clone(&server.address),
        preferred: server.config.weight > 0 && !server.config.draining,
        said: None,
        answered: false,
        lost: false,
    }
}
