//! A cluster in which no server takes writes, though none is gone: what becomes of a switchover that did not come to its end.
//!
//! Pure: decided from what the servers said when they were asked for it. Does not know: how it is done. Invariant: nobody takes writes
//! again who lacks what another server has, nor before the other of the two is known to take none.

use std::sync::Arc;

use super::super::roles;
use super::election::{self, Refusal, Seat, Testimony};

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Who was the primary is it again.
    Back,
    /// The candidate is the primary.
    On,
}

/// What becomes of a switchover from one server to another; `None` where this is not what it has left.
pub(super) fn way(seats: &[Seat], from: usize, to: usize) -> Result<Option<Way>, Refusal> {
    let members = election::members(seats);
    let heard = |place: usize| {
        let said = seats[place].said.as_ref().filter(|_| seats[place].answered);
        said.ok_or_else(|| Refusal::Silent(Arc::clone(&seats[place].address)))
    };
    let old = heard(from)?;
    if !stands_still(old) {
        return Ok(None);
    }
    let new = heard(to)?;
    nobody_writes(seats, &[to])?;
    let is_promoted = roles::may_be_primary(&members, to);
    if !is_promoted && !election::is_follower(seats, to, from) {
        return Ok(None);
    }
    match is_promoted || !old.history.contains(&new.claims) {
        true => lacks_nothing(seats, to).map(|()| Some(Way::On)),
        false => lacks_nothing(seats, from).map(|()| Some(Way::Back)),
    }
}

/// The server that takes no writes and follows nobody, while others follow it; by the servers' own word.
pub(super) fn halted(seats: &[Seat]) -> Result<usize, Refusal> {
    nobody_writes(seats, &[])?;
    let is_it = |&place: &usize| {
        let said = seats[place].said.as_ref().filter(|_| seats[place].answered && !seats[place].lost);
        said.is_some_and(stands_still)
            && (0..seats.len()).any(|other| election::is_follower(seats, other, place))
    };
    let mut found = (0..seats.len()).filter(is_it);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Refusal::Nobody("none that the others follow answers".to_owned())),
        (Some(_), Some(_)) => Err(Refusal::Nobody("others follow more than one of them".to_owned())),
    }
}

fn stands_still(said: &Testimony) -> bool {
    said.identity.read_only && said.identity.replication.is_known_to_be_none()
}

/// No server that answers takes writes, but perhaps these.
fn nobody_writes(seats: &[Seat], but: &[usize]) -> Result<(), Refusal> {
    let members = election::members(seats);
    let mut others = (0..seats.len()).filter(|place| !but.contains(place) && seats[*place].answered);
    match others.find(|&place| roles::may_be_primary(&members, place)) {
        Some(place) => Err(Refusal::Writable(Arc::clone(&seats[place].address))),
        None => Ok(()),
    }
}

/// Whether a server has executed all that another has executed or received, but for what only that one has written.
pub(super) fn lacks_nothing(seats: &[Seat], place: usize) -> Result<(), Refusal> {
    let Some(has) = seats[place].said.as_ref().map(|said| &said.history) else {
        return Err(Refusal::Silent(Arc::clone(&seats[place].address)));
    };
    for (other, seat) in seats.iter().enumerate().filter(|(other, seat)| *other != place && seat.answered) {
        let Some(said) = &seat.said else { continue };
        let mut more = said.claims.without(has);
        if election::is_follower(seats, other, place) {
            // Written there by mistake: that keeps nobody from being followed.
            let (uuid, server_id) = (said.identity.server_uuid.as_deref(), said.identity.server_id);
            more = more.without(&said.history.written_by(uuid, server_id));
        }
        if !more.is_empty() {
            let (server, count) = (Arc::clone(&seat.address), more.count());
            return Err(Refusal::MoreElsewhere { server, count, which: more.to_string() });
        }
    }
    Ok(())
}
