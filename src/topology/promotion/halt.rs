//! A cluster in which no server takes writes, though none is gone: what becomes of a switchover that did not come to its end.
//!
//! Pure: decided from what the servers said when they were asked for it. Does not know: how it is done. Invariant: nobody takes writes
//! again who lacks what another server has, nor before the other of the two is known to take none.

use std::sync::Arc;

use super::super::roles;
use super::election::Refusal;
use super::seat::{self, Seat, Testimony};

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
    let members = seat::members(seats);
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
    if !is_promoted && !seat::is_follower(seats, to, from) {
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
        said.is_some_and(stands_still) && (0..seats.len()).any(|other| seat::is_follower(seats, other, place))
    };
    let mut found = (0..seats.len()).filter(is_it);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(Refusal::Nobody("none that the others follow answers".to_owned())),
        (Some(_), Some(_)) => Err(Refusal::Nobody("others follow more than one of them".to_owned())),
    }
}

/// Whether a server takes writes as the primary does, and it alone.
pub(super) fn leads(seats: &[Seat], place: usize) -> Result<(), Refusal> {
    nobody_writes(seats, &[place])?;
    match seats[place].answered && roles::may_be_primary(&seat::members(seats), place) {
        true => Ok(()),
        false => Err(Refusal::Nobody(format!("{} is not the primary any more", seats[place].address))),
    }
}

/// Whether a candidate that takes no writes any more has none of its own, which the old primary would lack.
pub(super) fn has_nothing_of_its_own(seats: &[Seat], to: usize, from: usize) -> Result<(), Refusal> {
    let heard = |place: usize| seats[place].said.as_ref().filter(|_| seats[place].answered);
    let (Some(new), Some(old)) = (heard(to), heard(from)) else {
        return Err(Refusal::Silent(Arc::clone(&seats[to].address)));
    };
    let own = new.claims.without(&old.history);
    if own.is_empty() {
        return Ok(());
    }
    let (server, count) = (Arc::clone(&seats[to].address), own.count());
    Err(Refusal::MoreElsewhere { server, count, which: own.to_string() })
}

fn stands_still(said: &Testimony) -> bool {
    said.identity.read_only && said.identity.replication.is_known_to_be_none()
}

/// No server that answers takes writes, but perhaps these.
fn nobody_writes(seats: &[Seat], but: &[usize]) -> Result<(), Refusal> {
    let members = seat::members(seats);
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
        if seat::is_follower(seats, other, place) {
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

#[cfg(test)]
mod tests {
    use super::super::super::replication::Replication;
    use super::super::seat::tests::{seat, set};
    use super::*;

    /// Server 1 was about to hand over to 2; 3 follows it as well.
    fn seats(of_first: &str, of_second: &str) -> Vec<Seat> {
        let mut seats = vec![seat(1, &[], of_first), seat(2, &[1], of_second), seat(3, &[1], "@1:1-90")];
        seats[0].said.as_mut().expect("it spoke").identity.read_only = true;
        seats
    }

    fn write(seat: &mut Seat, follows: bool) {
        let said = &mut seat.said.as_mut().expect("it spoke").identity;
        said.read_only = false;
        if !follows {
            said.replication = Replication::Channels(Vec::new());
        }
    }

    #[test]
    fn who_was_the_primary_is_it_again_while_the_candidate_has_nothing_of_its_own() {
        let mut seats = seats("@1:1-100", "@1:1-98");
        assert_eq!(way(&seats, 0, 1), Ok(Some(Way::Back)));
        assert_eq!(halted(&seats), Ok(0));
        write(&mut seats[1], true);
        assert_eq!(way(&seats, 0, 1), Ok(Some(Way::Back)), "it takes writes, and has none");
        assert_eq!(halted(&seats), Ok(0), "nobody's primary yet");
        seats[2].answered = false;
        assert_eq!(way(&seats, 0, 1), Ok(Some(Way::Back)));
    }

    #[test]
    fn a_candidate_that_is_the_primary_by_its_own_word_is_it() {
        let mut seats = seats("@1:1-100", "@1:1-100,@2:1-3");
        write(&mut seats[1], true);
        assert_eq!(way(&seats, 0, 1), Ok(Some(Way::On)));
        write(&mut seats[1], false);
        assert_eq!(way(&seats, 0, 1), Ok(Some(Way::On)));
        assert_eq!(halted(&seats), Err(Refusal::Writable("h:2".into())));
        seats[1].said.as_mut().expect("it spoke").history = set("@1:1-98,@2:1-3");
        assert!(matches!(way(&seats, 0, 1), Err(Refusal::MoreElsewhere { count: 2, .. })), "it lacks two");
    }

    #[test]
    fn nothing_is_done_while_one_of_the_two_is_silent_or_a_third_takes_writes() {
        let mut silent = seats("@1:1-100", "@1:1-98");
        silent[1].answered = false;
        assert_eq!(way(&silent, 0, 1), Err(Refusal::Silent("h:2".into())));
        let mut third = seats("@1:1-100", "@1:1-98");
        write(&mut third[2], false);
        assert_eq!(way(&third, 0, 1), Err(Refusal::Writable("h:3".into())));
        let mut ahead = seats("@1:1-89", "@1:1-89");
        ahead[2].said.as_mut().expect("it spoke").claims = set("@1:1-90");
        assert!(
            matches!(way(&ahead, 0, 1), Err(Refusal::MoreElsewhere { count: 1, .. })),
            "the third has more"
        );
    }

    #[test]
    fn a_mark_of_another_time_says_nothing() {
        let mut goes_on = seats("@1:1-100", "@1:1-98");
        write(&mut goes_on[0], false);
        assert_eq!(way(&goes_on, 0, 1), Ok(None), "who was to hand over takes writes");
        assert_eq!(leads(&goes_on, 0), Ok(()));
        assert_eq!(leads(&goes_on, 1), Err(Refusal::Writable("h:1".into())));
        let mut elsewhere = seats("@1:1-100", "@1:1-98");
        elsewhere[1] = seat(2, &[3], "@1:1-90");
        assert_eq!(way(&elsewhere, 0, 1), Ok(None), "the candidate follows another");
        let mut follows = seats("@1:1-100", "@1:1-98");
        follows[0] = seat(1, &[3], "@1:1-90");
        assert_eq!(way(&follows, 0, 1), Ok(None));
    }

    #[test]
    fn what_a_replica_has_written_by_mistake_keeps_nobody_from_taking_writes() {
        let mut seats = seats("@1:1-100", "@1:1-98");
        seats[2] = seat(3, &[1], "@1:1-90,@3:1-2");
        assert_eq!(way(&seats, 0, 1), Ok(Some(Way::Back)));
    }

    #[test]
    fn a_candidate_that_was_written_to_in_the_last_moment_is_found() {
        let seats = seats("@1:1-100", "@1:1-100,@2:1");
        assert!(matches!(has_nothing_of_its_own(&seats, 1, 0), Err(Refusal::MoreElsewhere { count: 1, .. })));
        assert_eq!(has_nothing_of_its_own(&seats, 2, 0), Ok(()));
    }
}
