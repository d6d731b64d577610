//! Who takes a lost primary's place: decided from what the servers said when they were asked for it.
//!
//! Pure. Does not know: connections, the lease. Invariant: nobody is elected whose data is not a continuation of the lost primary's, nor
//! one that lacks a transaction which another server that answered has.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::super::gtid::Transactions;
use super::super::roles;
use super::plight::hears_from;
use super::seat::{Seat, Testimony, members};
use super::tally::{Trouble, Why};

/// Why a server cannot take the place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unfit {
    /// It did not answer.
    Silent,
    /// It does not follow the lost primary, or not only that one.
    Elsewhere,
    /// Its applying thread is stopped by this error; 0 for none.
    Stopped(u32),
    /// Nobody could follow it.
    CannotLead,
    /// It leaves out some of what it receives, and counts it as executed.
    Filtered,
    /// It is to be late by this much, and has not applied all that it has received.
    Delayed(Duration),
    /// It has written transactions of its own.
    Errant(Transactions),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("it does not answer"),
            Self::Elsewhere => f.write_str("it does not follow that primary alone"),
            Self::Stopped(0) => f.write_str("its applying thread is stopped"),
            Self::Stopped(code) => write!(f, "its applying thread is stopped by error {code}"),
            Self::CannotLead => f.write_str(
                "it does not log what it applies with GTIDs (log_bin, log_replica_updates, gtid_mode)",
            ),
            Self::Filtered => f.write_str("it leaves out some of what it receives (replication filters)"),
            Self::Delayed(delay) => write!(f, "it applies all {delay:?} later, as it was told"),
            Self::Errant(own) => write!(f, "it has {} errant transactions: {own}", own.count()),
        }
    }
}

/// Why nobody is promoted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It answered.
    #[error("{0} answers, it is not gone")]
    Answers(Arc<str>),
    /// A replica is connected to it.
    #[error("{0} still hears from it")]
    Heard(Arc<str>),
    /// Nobody says that it is gone: the receiving threads were stopped.
    #[error("no replica tries to reach it: their receiving threads are stopped")]
    Unasked,
    /// There is another.
    #[error("{0} is writable")]
    Writable(Arc<str>),
    /// It is not known whether it takes writes.
    #[error("{0} does not answer: whether it takes writes is not known")]
    Silent(Arc<str>),
    /// Nobody can take its place.
    #[error("no server can take its place: {0}")]
    Nobody(String),
    /// What would be lost is there.
    #[error("{server} has {count} transactions that no server has which could take the place: {which}")]
    MoreElsewhere { server: Arc<str>, count: u64, which: String },
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        let why = match &refusal {
            Refusal::Answers(_) | Refusal::Heard(_) => Why::NotGone,
            Refusal::Unasked => Why::Unasked,
            Refusal::Writable(_) | Refusal::Silent(_) => Why::Contested,
            Refusal::Nobody(_) => Why::NoCandidate,
            Refusal::MoreElsewhere { .. } => Why::WouldLose,
        };
        Self::new(why, refusal.to_string())
    }
}

/// Whether the primary is gone by the servers' own word.
pub(super) fn confirm(seats: &[Seat], source: usize) -> Result<(), Refusal> {
    let members = members(seats);
    if seats[source].answered && !seats[source].lost {
        return Err(Refusal::Answers(Arc::clone(&seats[source].address)));
    }
    let name = |index: usize| Arc::clone(&seats[index].address);
    let others = || (0..seats.len()).filter(|&index| index != source && seats[index].answered);
    if let Some(index) = others().find(|&index| roles::may_be_primary(&members, index)) {
        return Err(Refusal::Writable(name(index)));
    }
    if seats[source].answered {
        return Ok(()); // it says itself that it has not what they have
    }
    if let Some(index) = others().find(|&index| hears_from(&members, index, source)) {
        return Err(Refusal::Heard(name(index)));
    }
    let tries = |index: usize| {
        let said = members[index].identity.filter(|_| roles::follows(&members, index, source));
        said.is_some_and(|said| said.replication.channels().iter().any(|channel| channel.misses()))
    };
    if others().any(tries) { Ok(()) } else { Err(Refusal::Unasked) }
}

/// Why this server could not take the place of `source`, if so.
pub(super) fn unfit(seats: &[Seat], index: usize, source: usize) -> Option<Unfit> {
    let Some(said) = seats[index].said.as_ref().filter(|_| seats[index].answered) else {
        return Some(Unfit::Silent);
    };
    let [channel] = said.identity.replication.channels() else { return Some(Unfit::Elsewhere) };
    if !roles::follows(&members(seats), index, source) {
        return Some(Unfit::Elsewhere);
    }
    let all_applied = said.executed.contains(&said.holds);
    // Writable and stopped: its promotion has begun, and did not come to its end.
    let begun = !said.identity.read_only && channel.sql_error == 0 && all_applied;
    if !channel.sql_runs && !begun {
        return Some(Unfit::Stopped(channel.sql_error));
    }
    if channel.filtered {
        return Some(Unfit::Filtered);
    }
    if !channel.delay.is_zero() && !all_applied {
        return Some(Unfit::Delayed(channel.delay));
    }
    if !said.can_lead {
        return Some(Unfit::CannotLead);
    }
    let mut known = Transactions::default();
    for (other, seat) in seats.iter().enumerate().filter(|(other, _)| *other != index) {
        let others = seat.said.as_ref().filter(|_| seat.answered || other == source);
        if let Some(others) = others {
            known.join(&others.history);
            known.join(&others.holds);
        }
    }
    let own = said.history.written_by(said.identity.server_uuid.as_deref(), said.identity.server_id);
    let errant = own.without(&known);
    (!errant.is_empty()).then_some(Unfit::Errant(errant))
}

/// Who takes the place: who has received most; among equals who takes reads, then who has applied most, then the file's order.
/// Those who cannot are given with their reasons.
pub(super) fn elect(seats: &[Seat], source: usize) -> Result<(usize, Vec<(usize, Unfit)>), Refusal> {
    let others = (0..seats.len()).filter(|&index| index != source);
    let (mut fit, mut left) = (Vec::new(), Vec::new());
    for index in others {
        match unfit(seats, index, source) {
            None => fit.push(index),
            Some(why) => left.push((index, why)),
        }
    }
    let rank = |&index: &usize| {
        let said = seats[index].said.as_ref();
        let of = |set: fn(&Testimony) -> &Transactions| said.map_or(0, |said| set(said).count());
        (of(|said| &said.holds), seats[index].preferred, of(|said| &said.executed), std::cmp::Reverse(index))
    };
    let Some(best) = fit.iter().copied().max_by_key(rank) else {
        let each = left.iter().map(|(index, why)| format!("{}: {why}", seats[*index].address));
        return Err(Refusal::Nobody(each.collect::<Vec<_>>().join("; ")));
    };
    let has = seats[best].said.as_ref().map(|said| said.holds.clone()).unwrap_or_default();
    for (index, seat) in seats.iter().enumerate().filter(|(index, _)| *index != best && *index != source) {
        let Some(said) = seat.said.as_ref().filter(|_| seat.answered) else { continue };
        let mut more = said.holds.without(&has);
        if let Some((_, Unfit::Errant(errant))) = left.iter().find(|(other, _)| *other == index) {
            more = more.without(errant);
        }
        if !more.is_empty() && roles::follows(&members(seats), index, source) {
            let (server, count) = (Arc::clone(&seat.address), more.count());
            return Err(Refusal::MoreElsewhere { server, count, which: more.to_string() });
        }
    }
    Ok((best, left))
}

#[cfg(test)]
mod tests {
    use super::super::super::replication::IoThread;
    use super::super::seat::tests::{UUID, channel, seat, set};
    use super::*;

    /// Server 1 is lost, and was last seen with 1-100; 2 and 3 follow it.
    fn seats(second: &str, third: &str) -> Vec<Seat> {
        let mut seats = vec![seat(1, &[], "@1:1-100"), seat(2, &[1], second), seat(3, &[1], third)];
        seats[0].answered = false;
        seats
    }

    fn elected(seats: &[Seat]) -> Option<usize> {
        elect(seats, 0).ok().map(|(index, _)| index)
    }

    #[test]
    fn who_has_received_most_takes_the_place() {
        assert_eq!(elected(&seats("@1:1-100", "@1:1-107")), Some(2));
        assert_eq!(elected(&seats("@1:1-108", "@1:1-107")), Some(1));
        assert_eq!(elected(&seats("@1:1-107", "@1:1-107")), Some(1), "else the file's order");
    }

    #[test]
    fn who_takes_no_reads_comes_last_among_equals_only() {
        let mut equal = seats("@1:1-107", "@1:1-107");
        equal[1].preferred = false;
        assert_eq!(elected(&equal), Some(2));
        let mut ahead = seats("@1:1-108", "@1:1-107");
        ahead[1].preferred = false;
        assert_eq!(elected(&ahead), Some(1));
    }

    #[test]
    fn who_has_errant_transactions_is_named_and_not_elected() {
        let seats = seats("@1:1-107,@2:1-2", "@1:1-107");
        let (best, left) = elect(&seats, 0).expect("the other one");
        assert_eq!((best, left.len()), (2, 1));
        assert_eq!(left[0].1.to_string(), format!("it has 2 errant transactions: {UUID}2:1-2"));
    }

    #[test]
    fn what_a_server_wrote_as_an_earlier_primary_is_not_errant() {
        let mut seats = seats("@1:1-107,@2:1-50", "@1:1-107,@2:1-50");
        assert_eq!(elected(&seats), Some(1));
        seats[2].answered = false;
        assert!(elected(&seats).is_none(), "nobody is left who would know them");
        seats[0].said.as_mut().expect("its last words").history = set("@1:1-100,@2:1-50");
        assert_eq!(elected(&seats), Some(1), "the lost primary had them");
    }

    #[test]
    fn nothing_is_thrown_away_that_a_server_has_which_cannot_lead() {
        let mut seats = seats("@1:1-107", "@1:1-109");
        channel(&mut seats[2]).sql_runs = false;
        let refused = elect(&seats, 0).unwrap_err();
        let which = format!("{UUID}1:108-109");
        assert_eq!(refused, Refusal::MoreElsewhere { server: "h:3".into(), count: 2, which });
        let mut behind = self::seats("@1:1-107", "@1:1-100");
        channel(&mut behind[2]).sql_runs = false;
        assert_eq!(elected(&behind), Some(1));
    }

    #[test]
    fn who_cannot_lead_is_not_elected() {
        let mut seats = seats("@1:1-107", "@1:1-107");
        seats[1].said.as_mut().expect("it spoke").can_lead = false;
        seats[2].answered = false;
        let refused = elect(&seats, 0).unwrap_err().to_string();
        assert!(
            refused.contains("h:2: it does not log") && refused.contains("h:3: it does not answer"),
            "{refused}"
        );
    }

    #[test]
    fn who_leaves_something_out_is_not_elected() {
        let mut seats = seats("@1:1-107", "@1:1-107");
        channel(&mut seats[1]).filtered = true;
        let (best, left) = elect(&seats, 0).expect("the other one");
        assert_eq!((best, &left[0].1), (2, &Unfit::Filtered));
        seats[1].said.as_mut().expect("it spoke").holds = set("@1:1-109");
        assert!(
            matches!(elect(&seats, 0), Err(Refusal::MoreElsewhere { count: 2, .. })),
            "and what it has counts"
        );
    }

    #[test]
    fn who_is_to_be_late_is_elected_where_it_is_not() {
        let mut seats = seats("@1:1-107", "@1:1-107");
        channel(&mut seats[1]).delay = Duration::from_secs(3600);
        assert_eq!(elected(&seats), Some(1));
        seats[1].said.as_mut().expect("it spoke").executed = set("@1:1-50");
        assert_eq!(elected(&seats), Some(2));
    }

    #[test]
    fn a_promotion_that_did_not_come_to_its_end_is_gone_on_with() {
        let mut seats = seats("@1:1-108", "@1:1-107");
        channel(&mut seats[1]).sql_runs = false;
        assert!(matches!(elect(&seats, 0), Err(Refusal::MoreElsewhere { .. })), "a person has stopped it");
        seats[1].said.as_mut().expect("it spoke").identity.read_only = false;
        assert_eq!(elected(&seats), Some(1));
        seats[1].said.as_mut().expect("it spoke").executed = set("@1:1-107");
        assert_eq!(elected(&seats), None, "it has not applied all");
    }

    #[test]
    fn a_primary_without_its_data_is_gone_though_it_answers() {
        let mut seats = seats("@1:1-107", "@1:1-107");
        (seats[0].answered, seats[0].lost) = (true, true);
        channel(&mut seats[1]).io = IoThread::Runs;
        assert_eq!(confirm(&seats, 0), Ok(()));
    }

    #[test]
    fn a_primary_is_gone_by_the_replicas_word_only() {
        let all = seats("@1:1-107", "@1:1-107");
        assert_eq!(confirm(&all, 0), Ok(()));
        let mut answers = all.clone();
        answers[0].answered = true;
        assert_eq!(confirm(&answers, 0), Err(Refusal::Answers("h:1".into())));
        let mut hears = all.clone();
        channel(&mut hears[2]).io = IoThread::Runs;
        assert_eq!(confirm(&hears, 0), Err(Refusal::Heard("h:3".into())));
        let mut refused = all.clone();
        channel(&mut refused[2]).io_error = 1045;
        assert_eq!(
            confirm(&refused, 0),
            Err(Refusal::Heard("h:3".into())),
            "it answers, if only by a refusal"
        );
        let mut stopped = all.clone();
        stopped[1..].iter_mut().for_each(|seat| channel(seat).io = IoThread::Stopped);
        assert_eq!(confirm(&stopped, 0), Err(Refusal::Unasked));
        let mut promoted = all;
        promoted[1] = seat(2, &[], "@1:1-107");
        assert_eq!(confirm(&promoted, 0), Err(Refusal::Writable("h:2".into())));
    }
}
