//! Primaries that go and come back, and who takes their place; members of a group.

use super::*;

/// Three servers of which A is the primary.
fn watched(now: Instant) -> Book {
    let mut book = guarded();
    let follower = |id| said(id, true, vec![channel(1, Some(0))]);
    for (id, outcome) in [(A, primary()), (B, follower(2)), (THIRD, follower(3))] {
        book.probed(id, outcome, now);
    }
    assert_eq!(book.snapshot(0, now).primary, Some(A));
    book
}

#[test]
fn a_primary_that_hands_over_takes_nothing_new_and_keeps_its_role() {
    let now = Instant::now();
    let mut book = watched(now);
    book.hand_over(HandOver::Begun(A));
    let snapshot = book.snapshot(0, now);
    assert_eq!((snapshot.primary, snapshot.server(A).unwrap().role), (None, Role::Primary));
    assert_eq!(snapshot.server(A).unwrap().left_out, Some(LeftOut::HandsOver));
    assert_eq!(readers(&mut book, now), [B, THIRD], "reads go on");
    book.probed(A, said(1, true, vec![]), now);
    book.probed(B, said(2, false, vec![]), now);
    assert_eq!(book.snapshot(0, now).primary, None, "the third is still seen to follow A");
    book.probed(THIRD, said(3, true, vec![channel(2, Some(0))]), now);
    assert_eq!(book.snapshot(0, now).primary, Some(B), "the next one does not hand over");
    book.hand_over(HandOver::No);
    assert_eq!(book.snapshot(0, now).primary, Some(B));
}

#[test]
fn a_primary_that_another_instance_hands_over_takes_nothing_new_for_as_long_as_that_may_take() {
    let now = Instant::now();
    let mut book = watched(now);
    let announced = |hands_over| {
        let Outcome::Good(observation) = primary() else { panic!("it is good") };
        Outcome::Good(Observation { hands_over, ..observation })
    };
    let waits = Duration::from_secs(5);
    Arc::make_mut(&mut book.settings).pool.primary_wait = waits;
    book.probed(A, announced(true), now);
    assert_eq!(book.snapshot(0, now).primary, None);
    assert_eq!(book.snapshot(0, now).server(A).unwrap().left_out, Some(LeftOut::HandsOver));
    book.hand_over(HandOver::Told(A));
    assert_eq!(book.snapshot(0, now).primary, Some(A), "it is this one, and goes on for a moment");
    book.hand_over(HandOver::No);
    book.probed(A, announced(true), now + waits);
    assert_eq!(book.snapshot(0, now + waits).primary, None);
    let later = now + waits + Duration::from_millis(1);
    assert_eq!(book.snapshot(0, later).primary, Some(A), "it hangs, or was never meant");
    book.probed(A, announced(false), later);
    book.probed(A, announced(true), later);
    assert_eq!(book.snapshot(0, later).primary, None);
}

#[test]
fn a_cluster_in_which_nobody_writes_says_so_and_is_nobodys_business_while_it_is_handed_over() {
    let now = Instant::now();
    let mut book = watched(now);
    let halted = |hands_over| {
        let Outcome::Good(observation) = said(1, true, vec![]) else { panic!("it is good") };
        Outcome::Good(Observation { hands_over, ..observation })
    };
    book.probed(A, halted(true), now);
    assert_eq!((book.snapshot(0, now).primary, book.plight().halted), (None, None));
    book.probed(A, halted(false), now);
    assert_eq!(book.plight().halted, Some(A));
    let left_out = book.snapshot(0, now).server(A).unwrap().left_out;
    assert_eq!(left_out, Some(LeftOut::Halted { promotes: true }));
}

#[test]
fn an_old_primary_that_comes_back_writable_is_loose_and_used_by_nobody() {
    let now = Instant::now();
    let mut book = watched(now);
    let down =
        |book: &mut Book, id| (0..3).for_each(|_| book.probed(id, Outcome::Failed(Cause::Refused), now));
    down(&mut book, A);
    book.probed(B, said(2, false, vec![]), now);
    book.probed(THIRD, said(3, true, vec![channel(2, Some(0))]), now);
    assert_eq!(book.snapshot(0, now).primary, Some(B));
    // The new one is down when the old one is back, and nobody is left who would speak against it.
    down(&mut book, B);
    down(&mut book, THIRD);
    book.probed(A, primary(), now);
    book.probed(A, primary(), now);
    let snapshot = book.snapshot(0, now);
    assert_eq!((snapshot.primary, snapshot.server(A).unwrap().role), (None, Role::Rival));
    assert_eq!(book.plight().loose, [A]);
    book.probed(A, said(1, true, vec![channel(2, Some(0))]), now);
    assert!(book.plight().loose.is_empty() && book.plight().stray.is_empty(), "it follows");
}

#[test]
fn two_writable_servers_without_a_majority_are_a_split_brain() {
    let now = Instant::now();
    let mut book = watched(now);
    book.probed(B, said(2, false, vec![]), now);
    book.probed(THIRD, said(3, true, vec![]), now);
    let snapshot = book.snapshot(0, now);
    assert_eq!(snapshot.primary, None);
    assert_eq!(snapshot.server(A).unwrap().left_out, Some(LeftOut::Contested));
    assert!(snapshot.explain_unusable_to_client().contains("split brain"));
    assert!(book.plight().loose.is_empty(), "which of them it is cannot be told");
}

#[test]
fn a_server_may_have_been_restarted_when_its_probes_connected_anew() {
    let (mut book, now) = (book(), Instant::now());
    book.probed(A, primary(), now);
    book.probed(B, replica(Some(0)), now);
    book.probed(A, said(1, true, vec![]), now + Duration::from_millis(250));
    assert_eq!(book.writable_before(A), None, "somebody has set it read only");
    let Outcome::Good(mut observation) = said(1, true, vec![]) else { panic!("it is good") };
    observation.connected = now + Duration::from_millis(400);
    book.probed(A, Outcome::Good(observation), now + Duration::from_millis(500));
    assert_eq!(book.writable_before(A), Some(now));
}

/// An answer of a member that has committed this much.
fn member(server_id: u32, unfit: Option<Unfit>, sequence: u64) -> Outcome {
    let mut outcome = executed(said(server_id, false, vec![]), sequence);
    if let Outcome::Good(observation) = &mut outcome {
        observation.identity.group = Some(Membership { name: "g".into(), unfit });
    }
    outcome
}

#[test]
fn a_member_of_the_primarys_group_reads_while_it_is_in_step() {
    let (mut book, now) = (book(), Instant::now());
    book.probed(A, member(1, None, 7), now);
    book.probed(B, member(2, None, 7), now);
    assert_eq!(book.snapshot(0, now).primary, Some(A));
    assert_eq!(
        left_out(&mut book, B, now),
        Some(LeftOut::LagUnknown),
        "nothing is known of the primary's course"
    );
    book.probed(A, member(1, None, 8), now);
    book.probed(B, member(2, None, 8), now);
    assert_eq!(readers(&mut book, now), [B]);
    book.probed(B, member(2, Some(Unfit::Parted), 8), now);
    assert_eq!(left_out(&mut book, B, now), Some(LeftOut::Unfit(Unfit::Parted)));
    book.probed(A, member(1, Some(Unfit::Parted), 8), now);
    book.probed(B, member(2, None, 9), now);
    let snapshot = book.snapshot(0, now);
    assert_eq!(
        (snapshot.primary, snapshot.server(A).unwrap().left_out),
        (Some(B), Some(LeftOut::Unfit(Unfit::Parted)))
    );
}

#[test]
fn a_second_writable_server_is_a_peer_where_the_operator_says_so() {
    for (multi_primary, role, takes) in [(false, Role::Rival, vec![]), (true, Role::Peer, vec![B])] {
        let mut book = Book::new(&Cluster { multi_primary, ..cluster() }, &rhythm(), ServerIds::default());
        let now = Instant::now();
        book.probed(A, said(1, false, vec![]), now);
        book.probed(B, said(2, false, vec![]), now);
        assert_eq!(book.snapshot(0, now).server(B).unwrap().role, role);
        assert_eq!(readers(&mut book, now), takes);
        for _ in 0..3 {
            book.probed(A, TIMED_OUT, now);
        }
        assert_eq!(book.snapshot(0, now).primary, Some(B));
    }
}

/// A good probe over a connection made at `connected`, of a server that has all this.
fn has(outcome: Outcome, connected: Instant, history: &str) -> Outcome {
    let Outcome::Good(mut observation) = outcome else { panic!("it is good") };
    observation.connected = connected;
    observation.history = Transactions::parse_state(history.as_bytes()).map(Arc::new);
    Outcome::Good(observation)
}

#[test]
fn a_primary_that_comes_back_without_what_others_have_is_none() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let mut book = watched(now);
    let follower = |id| said(id, true, vec![channel(1, Some(0))]);
    let lost = |book: &mut Book| match book.snapshot(0, later).server(A).unwrap().left_out {
        Some(LeftOut::Lost(count)) => count,
        _ => 0,
    };
    book.probed(A, has(primary(), now, "0-1-100"), now);
    book.probed(B, has(follower(2), now, "0-1-90"), now);
    book.probed(A, has(primary(), now, "0-1-1"), now);
    assert_eq!(
        (lost(&mut book), book.snapshot(0, later).primary),
        (0, Some(A)),
        "RESET MASTER is somebody's own doing"
    );
    book.probed(A, has(primary(), now, "0-1-100"), now);
    // Another connection: it may have been restarted.
    book.probed(A, has(primary(), later, "0-1-100"), later);
    assert_eq!(book.snapshot(0, later).primary, Some(A));
    book.probed(A, has(primary(), later + Duration::from_secs(1), "0-1-40"), later);
    assert_eq!(
        (lost(&mut book), book.snapshot(0, later).primary),
        (50, None),
        "what nobody has does not count"
    );
    assert_eq!((book.plight().gone, book.missed(A).count()), (Some(A), 60));
    book.probed(A, has(said(1, true, vec![channel(2, Some(0))]), later, "0-1-40"), later);
    assert_eq!(lost(&mut book), 0, "it follows, and gets it again");
}

#[test]
fn a_primary_that_is_being_replaced_is_none_whatever_it_says() {
    let now = Instant::now();
    let mut book = watched(now);
    book.bar(A, true);
    book.probed(A, primary(), now);
    let snapshot = book.snapshot(0, now);
    assert_eq!((snapshot.primary, snapshot.server(A).unwrap().replaced), (None, true));
    book.bar(A, false);
    let snapshot = book.snapshot(0, now);
    assert_eq!(
        (snapshot.primary, snapshot.server(A).unwrap().replaced),
        (Some(A), false),
        "nobody could take its place"
    );
}

#[test]
fn who_is_at_a_replaced_primary_is_told_until_it_takes_no_writes() {
    let now = Instant::now();
    let mut book = watched(now);
    (0..3).for_each(|_| book.probed(A, Outcome::Failed(Cause::TimedOut), now));
    assert!(!book.snapshot(0, now).server(A).unwrap().replaced, "it may come back");
    book.probed(B, said(2, false, vec![]), now);
    book.probed(THIRD, said(3, true, vec![channel(2, Some(0))]), now);
    let replaced = |book: &mut Book| book.snapshot(0, now).server(A).unwrap().replaced;
    assert!(replaced(&mut book));
    (0..2).for_each(|_| book.probed(A, primary(), now));
    assert!(replaced(&mut book));
    book.probed(A, said(1, true, vec![]), now);
    assert!(!replaced(&mut book));
}

#[test]
fn what_a_replica_was_asked_later_about_is_not_missing() {
    let now = Instant::now();
    let (later, last) = (now + Duration::from_secs(1), now + Duration::from_secs(2));
    let mut book = watched(now);
    let follower = |id| said(id, true, vec![channel(1, Some(0))]);
    book.probed(A, has(primary(), now, "0-1-100"), now);
    // A's answer is older than its replica's, and comes in later.
    book.probed(B, has(follower(2), now, "0-1-105"), now);
    book.probed(A, has(primary(), later, "0-1-101"), later);
    assert_eq!(book.snapshot(0, later).primary, Some(A));
    book.probed(A, has(primary(), later, "0-1-106"), last);
    assert_eq!((book.snapshot(0, last).primary, book.missed(A).count()), (Some(A), 0));
    // Its machine has lost the end of its log.
    book.probed(B, has(follower(2), now, "0-1-110"), last);
    book.probed(A, has(primary(), last, "0-1-106"), last);
    book.probed(A, has(primary(), last, "0-1-107"), last);
    assert_eq!((book.snapshot(0, last).primary, book.missed(A).count()), (None, 3));
}
