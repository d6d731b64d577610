//! Shares and choices, by numbers that come in.

use super::*;

const MAX_LAG: Option<Duration> = Some(Duration::from_secs(2));

fn replica(id: u16, weight: u32, lag: Duration) -> Replica<'static> {
    Replica {
        id: ServerId(id),
        address: ["10.0.0.1:3306", "10.0.0.2:3306", "db-3:3306", "[::1]:3307"][usize::from(id % 4)],
        weight,
        lag,
        warmth_permille: 1000,
    }
}

fn readers(replicas: &[(u16, u32, u64)]) -> Readers {
    let replicas =
        replicas.iter().map(|&(id, weight, lag_ms)| replica(id, weight, Duration::from_millis(lag_ms)));
    Readers::new(replicas, MAX_LAG, Balance::LagWeighted)
}

/// How often each id is picked over evenly spread numbers.
fn counts(readers: &Readers, exclude: &[ServerId]) -> [u32; 4] {
    let mut counts = [0; 4];
    for step in 0..10_000u64 {
        if let Some(ServerId(id)) = readers.pick(step * (u64::MAX / 10_000), exclude) {
            counts[usize::from(id)] += 1;
        }
    }
    counts
}

fn near(counts: [u32; 4], expected: [u32; 4]) {
    for (count, expected) in counts.iter().zip(expected) {
        assert!(count.abs_diff(expected) <= 2, "{counts:?}");
    }
}

#[test]
fn weights_share_the_reads() {
    near(counts(&readers(&[(1, 1, 0), (2, 3, 0)]), &[]), [0, 2500, 7500, 0]);
}

#[test]
fn lag_makes_a_share_smaller_but_not_nothing() {
    near(counts(&readers(&[(1, 1, 0), (2, 1, 2000)]), &[]), [0, 9091, 909, 0]);
    near(counts(&readers(&[(1, 1, 0), (2, 1, 1000)]), &[]), [0, 6452, 3548, 0]);
    assert_eq!(lag_permille(Duration::from_secs(3600), None), FLOOR_PERMILLE);
    assert_eq!(lag_permille(Duration::ZERO, Some(Duration::ZERO)), 1000);
}

#[test]
fn excluded_replicas_get_nothing_and_the_others_keep_their_proportions() {
    let three = readers(&[(0, 1, 0), (1, 1, 0), (2, 3, 0)]);
    near(counts(&three, &[ServerId(0)]), [0, 2500, 7500, 0]);
    assert_eq!(counts(&three, &[ServerId(0), ServerId(1), ServerId(2)]), [0; 4]);
    near(counts(&three, &[ServerId(3)]), [2000, 2000, 6000, 0]);
}

#[test]
fn t30_who_is_not_in_it_gets_nothing_even_at_the_ends() {
    let one = readers(&[(2, 1000, 0)]);
    for random in [0, 1, u64::MAX / 2, u64::MAX] {
        assert_eq!(one.pick(random, &[]), Some(ServerId(2)));
        assert_eq!(one.pick(random, &[ServerId(2)]), None);
        assert_eq!(Readers::default().pick(random, &[]), None);
    }
}

#[test]
fn the_largest_weights_do_not_overflow() {
    let many: Vec<_> = (0..u16::MAX).map(|id| replica(id, u32::MAX, Duration::ZERO)).collect();
    let readers = Readers::new(many.into_iter(), None, Balance::LagWeighted);
    assert_eq!(readers.pick(u64::MAX, &[]), Some(ServerId(u16::MAX - 1)));
}

/// Nothing is known of any server.
fn idle(_: ServerId) -> Load {
    Load::default()
}

fn draw(number: u64, load: &dyn Fn(ServerId) -> Load) -> Draw<'_> {
    Draw { random: mix(number + 7), spread: golden(number), turn: number, source: mix(number / 10), load }
}

/// How often each of three is chosen in 10,000 draws.
fn chosen(
    balance: Balance,
    weights: [u32; 3],
    load: &dyn Fn(ServerId) -> Load,
    exclude: &[ServerId],
) -> [u32; 4] {
    let replicas = (0..).zip(weights).map(|(id, weight)| replica(id, weight, Duration::from_secs(1)));
    let readers = Readers::new(replicas, MAX_LAG, balance);
    let mut counts = [0; 4];
    for number in 0..10_000u64 {
        let id = readers.choose(balance, draw(number, load), exclude).expect("one");
        counts[usize::from(id.0)] += 1;
    }
    counts
}

#[test]
fn every_method_keeps_to_the_weights_and_to_who_is_in() {
    for (_, balance) in Balance::NAMES {
        let counts = chosen(balance, [1, 1, 2], &idle, &[]);
        for (count, expected) in counts.iter().zip([2500u32, 2500, 5000]) {
            assert!(count.abs_diff(expected) < 350, "{balance:?} {counts:?}");
        }
        let without = chosen(balance, [1, 1, 1], &idle, &[ServerId(1)]);
        assert_eq!(without[1], 0, "{balance:?}");
        assert!(without[0].abs_diff(without[2]) < 700, "{balance:?} {without:?}");
        let nobody = Readers::new(std::iter::empty(), None, balance);
        assert_eq!(nobody.choose(balance, draw(0, &idle), &[]), None);
        let alone = Readers::new(std::iter::once(replica(3, 1, Duration::ZERO)), None, balance);
        assert_eq!(alone.choose(balance, draw(0, &idle), &[]), Some(ServerId(3)));
        assert_eq!(alone.choose(balance, draw(0, &idle), &[ServerId(3)]), None);
    }
}

#[test]
fn only_lag_weighted_looks_at_the_lag() {
    let late = [(0, 1, 0), (1, 1, 2000)]
        .map(|(id, weight, lag)| replica(id, weight, lag * Duration::from_millis(1)));
    for (_, balance) in Balance::NAMES {
        let readers = Readers::new(late.iter().copied(), MAX_LAG, balance);
        let shares: Vec<_> = readers.shares().map(|(_, share)| share).collect();
        assert_eq!(shares, [1000, if balance == Balance::LagWeighted { 100 } else { 1000 }], "{balance:?}");
    }
}

#[test]
fn round_robin_takes_turns() {
    let turns = |weights: [u32; 3]| {
        let replicas = (0..).zip(weights).map(|(id, weight)| replica(id, weight, Duration::ZERO));
        let readers = Readers::new(replicas, None, Balance::RoundRobin);
        let of = move |turn| readers.choose(Balance::RoundRobin, draw(turn, &idle), &[]).expect("one").0;
        (0..9).map(of).collect::<Vec<_>>()
    };
    for weight in [1, 100] {
        assert_eq!(turns([weight; 3]), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    }
    // Nobody is served twice in a row whose share is below a half.
    let uneven = turns([200, 300, 300]);
    assert!(uneven.windows(2).all(|pair| pair[0] != pair[1]), "{uneven:?}");
}

#[test]
fn who_is_busy_gets_less() {
    let load = |id: ServerId| Load { connections: if id.0 == 0 { 10 } else { 2 }, ..Load::default() };
    assert_eq!(chosen(Balance::LeastConnections, [1, 1, 1], &load, &[])[0], 0);
    // Ten in use are fewer for ten times the share.
    assert_eq!(chosen(Balance::LeastConnections, [10, 1, 1], &load, &[])[0], 10_000);
}

#[test]
fn reads_turn_from_who_is_clearly_worse_and_only_then() {
    let with = |running: [u32; 3], ms: [f32; 3], trust: f32| {
        let load = move |id: ServerId| {
            let at = usize::from(id.0);
            let speed = Some(Speed { logarithm: (ms[at] * 1000.0).log2(), trust });
            Load { connections: 0, running: running[at], speed }
        };
        chosen(Balance::LagWeighted, [1, 1, 2], &load, &[])
    };
    let even = |counts: [u32; 4]| {
        counts.iter().zip([2500u32, 2500, 5000]).all(|(count, due)| count.abs_diff(due) < 20)
    };
    assert!(even(with([0; 3], [1.0; 3], 1.0)));
    assert!(even(with([4, 6, 12], [1.0, 1.4, 1.2], 1.0)), "noise");
    assert!(even(with([5, 5, 10], [1.0; 3], 1.0)), "a double share of the reads for a double share");
    assert!(even(with([1; 3], [1.0, 99.0, 1.0], 1.0)), "reads come one by one");
    let slow = with([2, 2, 4], [1.0, 9.0, 1.0], 1.0);
    assert!(slow[1] == 0 && slow[0].abs_diff(3333) < 300, "{slow:?}");
    assert!(even(with([2, 2, 4], [1.0, 9.0, 1.0], 0.2)), "what was slow some seconds ago is tried again");
    let crowded = with([2, 12, 4], [1.0; 3], 1.0);
    assert_eq!(crowded[1], 0, "{crowded:?}");
    assert_eq!(with([2, 12, 4], [1.0; 3], 1.0), crowded);
}

#[test]
fn a_session_leaves_who_is_clearly_worse() {
    let readers = readers(&[(0, 1, 0), (1, 1, 0)]);
    let load = |id: ServerId| Load { running: if id.0 == 0 { 20 } else { 1 }, ..Load::default() };
    assert!(readers.is_outdone(ServerId(0), draw(0, &load)));
    assert!(!readers.is_outdone(ServerId(1), draw(0, &load)));
    assert!(!readers.is_outdone(ServerId(2), draw(0, &load)), "it takes no reads");
}

#[test]
fn who_is_not_warm_yet_has_a_part_of_its_share() {
    let replicas = [(0, 1000), (1, 100)]
        .map(|(id, warmth_permille)| Replica { warmth_permille, ..replica(id, 2, Duration::ZERO) });
    for (_, balance) in Balance::NAMES {
        let readers = Readers::new(replicas.iter().copied(), None, balance);
        assert_eq!(readers.shares().map(|(_, share)| share).collect::<Vec<_>>(), [2000, 200], "{balance:?}");
    }
}

#[test]
fn a_source_stays_where_it_is_and_only_those_of_one_that_leaves_move() {
    let all = Readers::new((0..4).map(|id| replica(id, 1, Duration::ZERO)), None, Balance::SourceHash);
    let of = |source: u64, exclude: &[ServerId]| {
        let draw = Draw { source: mix(source), ..draw(source, &idle) };
        all.choose(Balance::SourceHash, draw, exclude)
    };
    for source in 0..1000 {
        let home = of(source, &[]);
        assert_eq!(of(source, &[]), home);
        let after = of(source, &[ServerId(2)]);
        assert!(after == home || home == Some(ServerId(2)), "{source}");
    }
    // For ever: a release that moved clients would empty their caches.
    assert_eq!(
        (0..8).map(|source| of(source, &[]).map_or(9, |id| id.0)).collect::<Vec<_>>(),
        [2, 1, 1, 0, 2, 0, 2, 2]
    );
}
