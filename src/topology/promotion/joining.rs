//! Who may follow the primary as it is, and who follows one that is gone still.
//!
//! Pure: decided from what the servers said when they were asked for it. Does not know: how a server is told. Invariant: nobody may follow
//! who has, or has received, a transaction that the primary lacks.

use std::sync::Arc;

use super::super::gtid::Transactions;
use super::super::replication::Replication;
use super::super::roles;
use super::election::Refusal;
use super::plight::hears_from;
use super::seat::{Seat, is_follower, members};

/// Whether a server follows this one already, and was not only told to.
pub(super) fn has_begun(seats: &[Seat], index: usize, source: usize) -> bool {
    let said = seats[index].said.as_ref().filter(|_| is_follower(seats, index, source));
    let id = seats[source].said.as_ref().map_or(0, |said| said.identity.server_id);
    said.is_some_and(|said| {
        said.identity.replication.channels().iter().any(|channel| !channel.is_unbegun(id))
    })
}

/// The order in which servers are told to follow the primary: who follows nobody is the last.
pub(super) fn in_turn(seats: &[Seat], mut servers: Vec<usize>) -> Vec<usize> {
    let follows_nobody = |place: &usize| {
        let said = seats[*place].said.as_ref();
        said.is_some_and(|said| said.identity.replication.is_known_to_be_none())
    };
    servers.sort_by_key(follows_nobody);
    servers
}

/// Who follows a server that is gone, while `only` is writable; by the servers' own word.
pub(super) fn unfinished(seats: &[Seat], only: usize) -> Result<Vec<usize>, Refusal> {
    let members = members(seats);
    if !seats[only].answered || !roles::may_be_primary(&members, only) {
        return Err(Refusal::Nobody(format!("{} is not writable any more", seats[only].address)));
    }
    let others = || (0..seats.len()).filter(|&index| index != only && seats[index].answered);
    if let Some(index) = others().find(|&index| roles::may_be_primary(&members, index)) {
        return Err(Refusal::Writable(Arc::clone(&seats[index].address)));
    }
    let of = |source: usize| others().filter(move |&index| is_follower(seats, index, source));
    let mut found = Vec::new();
    for source in (0..seats.len()).filter(|&source| source != only) {
        let said = seats[source].said.as_ref().filter(|_| seats[source].answered);
        match said.map(|said| said.identity.replication.channels().is_empty()) {
            Some(true) if of(source).next().is_some() => {
                return Err(Refusal::Answers(Arc::clone(&seats[source].address)));
            }
            Some(_) => continue, // it follows another in turn
            None => {}
        }
        if of(source).any(|index| hears_from(&members, index, source)) {
            return Err(Refusal::Heard(Arc::clone(&seats[source].address)));
        }
        found.extend(of(source));
    }
    Ok(found)
}

/// Why a server does not become a replica of the primary.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Apart {
    /// It does not answer, or has changed meanwhile.
    #[error("it does not answer, or follows several servers")]
    Unclear,
    /// It has nothing, as a server whose data directory was emptied.
    #[error("it has no transactions at all: build it from a backup of the primary")]
    Empty,
    /// What the primary lacks.
    #[error("it has transactions that the primary lacks: {0}")]
    Diverged(Transactions),
}

/// Whether a server may become a replica of `primary` as it is: true if it has followed nobody.
pub(super) fn may_follow(seats: &[Seat], index: usize, primary: usize) -> Result<bool, Apart> {
    let heard = |place: usize| seats[place].said.as_ref().filter(|_| seats[place].answered);
    let (Some(said), Some(leads)) = (heard(index), heard(primary)) else { return Err(Apart::Unclear) };
    let Replication::Channels(channels) = &said.identity.replication else { return Err(Apart::Unclear) };
    let own = said.claims.without(&leads.history);
    match channels.len() {
        0 | 1 if !own.is_empty() => Err(Apart::Diverged(own)),
        0 | 1 if said.claims.is_empty() && !leads.history.is_empty() => Err(Apart::Empty),
        0 => Ok(true),
        1 => Ok(false),
        _ => Err(Apart::Unclear),
    }
}

#[cfg(test)]
mod tests {
    use super::super::seat::tests::{seat, set};
    use super::*;

    #[test]
    fn who_follows_nobody_is_the_last_to_follow() {
        let seats = [seat(1, &[], ""), seat(2, &[], ""), seat(3, &[1], ""), seat(4, &[1], "")];
        assert_eq!(in_turn(&seats, vec![0, 2, 3]), [2, 3, 0]);
    }

    #[test]
    fn who_has_nothing_or_something_of_its_own_stays_apart() {
        let mut seats =
            vec![seat(2, &[], "@1:1-107,@2:1-5"), seat(1, &[], "@1:1-107"), seat(3, &[1], "@1:1-100")];
        let may = |seats: &[Seat], index| may_follow(seats, index, 0);
        assert_eq!((may(&seats, 1), may(&seats, 2)), (Ok(true), Ok(false)));
        seats[1] = seat(1, &[], "");
        assert_eq!(may(&seats, 1), Err(Apart::Empty));
        seats[2].said.as_mut().expect("it spoke").claims = set("@1:1-108");
        assert_eq!(may(&seats, 2), Err(Apart::Diverged(set("@1:108"))), "received is enough");
        seats[2].answered = false;
        assert_eq!(may(&seats, 2), Err(Apart::Unclear));
    }
}
