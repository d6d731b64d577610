//! How reads spread over the replicas.
//!
//! Does not know: why a replica is in or out, who asks, random numbers and loads (they come in). Invariant: a choice allocates nothing.
//!
//! | `reads.balance` | a replica's share | chosen |
//! |---|---|---|
//! | `lag_weighted` | weight × lag factor | spread evenly |
//! | `random` | weight | by chance |
//! | `round_robin` | weight | in turn |
//! | `least_connections` | weight | the one with the fewest connections in use for its share |
//! | `source_hash` | weight | by the client's address: the same while it is there (highest random weight; Thaler and Ravishankar 1998) |

use std::time::Duration;

use crate::config::Balance;
use crate::ids::ServerId;

/// Share that is left to the latest replica which may still serve, in thousandths.
const FLOOR_PERMILLE: u64 = 100;
/// Lag at which the floor is reached where no `max_lag` says it.
const UNLIMITED_REFERENCE: Duration = Duration::from_secs(10);

/// The replicas that take reads, with their shares summed up so that a pick is one binary search.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Readers {
    slices: Vec<Slice>,
    balance: Balance,
}

/// A replica that takes reads.
pub(super) struct Replica<'a> {
    pub id: ServerId,
    pub address: &'a str,
    /// Above 0.
    pub weight: u32,
    pub lag: Duration,
}

/// What a choice may depend on.
#[derive(Clone, Copy)]
pub struct Draw<'a> {
    /// All 64 bits by chance.
    pub random: u64,
    /// Spreads evenly over any run of draws.
    pub spread: u64,
    /// Counts the draws.
    pub turn: u64,
    /// Of the client's address, all 64 bits evenly distributed.
    pub source: u64,
    /// Connections in use at a server.
    pub load: &'a dyn Fn(ServerId) -> u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slice {
    id: ServerId,
    share: u64,
    /// Of its address, for `source_hash`.
    seed: u64,
    /// Sum of the shares up to and with this one.
    end: u64,
}

impl Readers {
    /// Those of `replicas`.
    pub(super) fn new<'a>(
        replicas: impl Iterator<Item = Replica<'a>>,
        max_lag: Option<Duration>,
        balance: Balance,
    ) -> Self {
        let mut end = 0;
        let factor = |lag| if balance == Balance::LagWeighted { lag_permille(lag, max_lag) } else { 1 };
        let slices = replicas
            .map(|Replica { id, address, weight, lag }| {
                let share = u64::from(weight) * factor(lag);
                end += share;
                Slice {
                    id,
                    share,
                    seed: address.bytes().fold(0, |seed, byte| mix(seed ^ u64::from(byte))),
                    end,
                }
            })
            .collect();
        Self { slices, balance }
    }

    /// How many replicas take reads.
    pub fn len(&self) -> usize {
        self.slices.len()
    }

    /// Whether no replica takes reads.
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// Each replica with its share; the shares' sum is the whole.
    pub fn shares(&self) -> impl Iterator<Item = (ServerId, u64)> + '_ {
        self.slices.iter().map(|slice| (slice.id, slice.share))
    }

    /// The replica for one read, among those that are not excluded.
    pub fn choose(&self, draw: Draw<'_>, exclude: &[ServerId]) -> Option<ServerId> {
        match self.balance {
            Balance::Random => self.pick(draw.random, exclude),
            Balance::LagWeighted => self.pick(draw.spread, exclude),
            Balance::RoundRobin => {
                let total: u64 = self.included(exclude).map(|slice| slice.share).sum();
                self.at(draw.turn.checked_rem(total)?, exclude).map(|slice| slice.id)
            }
            Balance::LeastConnections => {
                let first = self.slice(draw.spread, exclude)?; // among equals, whoever is next
                let least = |best, slice| if busier(best, slice, draw.load) { slice } else { best };
                Some(self.included(exclude).fold(first, least).id)
            }
            Balance::SourceHash => {
                let weight = |slice: &Slice| {
                    let random = mix(draw.source ^ slice.seed);
                    // Above 0 and at most 1; the highest of -w/ln(u) falls to each by its share.
                    let unit = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
                    slice.share as f64 / -unit.ln()
                };
                self.included(exclude).max_by(|a, b| weight(a).total_cmp(&weight(b))).map(|slice| slice.id)
            }
        }
    }

    fn included<'a>(&'a self, exclude: &[ServerId]) -> impl Iterator<Item = &'a Slice> {
        self.slices.iter().filter(|slice| !exclude.contains(&slice.id))
    }

    /// The replica at `random` (all 64 bits evenly distributed) among those that are not excluded.
    pub fn pick(&self, random: u64, exclude: &[ServerId]) -> Option<ServerId> {
        self.slice(random, exclude).map(|slice| slice.id)
    }

    fn slice<'a>(&'a self, random: u64, exclude: &[ServerId]) -> Option<&'a Slice> {
        if exclude.is_empty() {
            let position = scale(random, self.slices.last()?.end);
            return self.slices.get(self.slices.partition_point(|slice| slice.end <= position));
        }
        self.at(scale(random, self.included(exclude).map(|slice| slice.share).sum()), exclude)
    }

    /// The one whose share begins at or before `position` and ends behind it.
    fn at<'a>(&'a self, mut position: u64, exclude: &[ServerId]) -> Option<&'a Slice> {
        self.included(exclude).find(|slice| {
            let rest = position.checked_sub(slice.share);
            position = rest.unwrap_or(0);
            rest.is_none()
        })
    }
}

/// Whether `one` has more in use for its share than `other`.
fn busier(one: &Slice, other: &Slice, load: &dyn Fn(ServerId) -> u32) -> bool {
    u128::from(load(one.id)) * u128::from(other.share) > u128::from(load(other.id)) * u128::from(one.share)
}

/// Spreads the bits of a number (the finalizer of SplitMix64; Steele, Lea and Flood 2014). The same for ever: who moves is who must.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// `random` from 0..2^64 to 0..total.
fn scale(random: u64, total: u64) -> u64 {
    ((u128::from(random) * u128::from(total)) >> 64) as u64
}

/// 1000 at no lag, falling in a straight line to the floor at `max_lag`.
fn lag_permille(lag: Duration, max_lag: Option<Duration>) -> u64 {
    let reference = max_lag.unwrap_or(UNLIMITED_REFERENCE).as_micros().max(1);
    let lag = lag.as_micros().min(reference);
    let lost = u128::from(1000 - FLOOR_PERMILLE) * lag / reference;
    1000 - u64::try_from(lost).unwrap_or(1000 - FLOOR_PERMILLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_LAG: Option<Duration> = Some(Duration::from_secs(2));

    fn replica(id: u16, weight: u32, lag: Duration) -> Replica<'static> {
        Replica {
            id: ServerId(id),
            address: ["10.0.0.1:3306", "10.0.0.2:3306", "db-3:3306", "[::1]:3307"][usize::from(id % 4)],
            weight,
            lag,
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

    /// How often each of three is chosen in 10,000 draws; `draw` makes one from its number.
    fn chosen(
        balance: Balance,
        weights: [u32; 3],
        load: &dyn Fn(ServerId) -> u32,
        exclude: &[ServerId],
    ) -> [u32; 4] {
        let replicas = (0..).zip(weights).map(|(id, weight)| replica(id, weight, Duration::from_secs(1)));
        let readers = Readers::new(replicas, MAX_LAG, balance);
        let mut counts = [0; 4];
        for number in 0..10_000u64 {
            let random = mix(number + 7);
            let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let draw = Draw { random, spread, turn: number, source: mix(number / 10), load };
            counts[usize::from(readers.choose(draw, exclude).expect("one").0)] += 1;
        }
        counts
    }

    const METHODS: [Balance; 5] = [
        Balance::LagWeighted,
        Balance::RoundRobin,
        Balance::LeastConnections,
        Balance::SourceHash,
        Balance::Random,
    ];

    #[test]
    fn every_method_keeps_to_the_weights_and_to_who_is_in() {
        for balance in METHODS {
            let counts = chosen(balance, [1, 1, 2], &|_| 0, &[]);
            for (count, expected) in counts.iter().zip([2500u32, 2500, 5000]) {
                assert!(count.abs_diff(expected) < 350, "{balance:?} {counts:?}");
            }
            let without = chosen(balance, [1, 1, 1], &|_| 0, &[ServerId(1)]);
            assert_eq!(without[1], 0, "{balance:?}");
            assert!(without[0].abs_diff(without[2]) < 700, "{balance:?} {without:?}");
        }
        let draw = Draw { random: 0, spread: 0, turn: 0, source: 0, load: &|_| 0 };
        for balance in METHODS {
            assert_eq!(Readers::new(std::iter::empty(), None, balance).choose(draw, &[]), None);
        }
    }

    #[test]
    fn round_robin_takes_turns() {
        let replicas = (0..3).map(|id| replica(id, 1, Duration::ZERO));
        let readers = Readers::new(replicas, None, Balance::RoundRobin);
        let of = |turn| readers.choose(Draw { random: 0, spread: 0, turn, source: 0, load: &|_| 0 }, &[]);
        assert_eq!(
            (0..6).map(|turn| of(turn).map(|id| id.0)).collect::<Vec<_>>(),
            [0, 1, 2, 0, 1, 2].map(Some)
        );
    }

    #[test]
    fn who_is_busy_gets_less() {
        let load = |id: ServerId| if id.0 == 0 { 10 } else { 2 };
        assert_eq!(chosen(Balance::LeastConnections, [1, 1, 1], &load, &[])[0], 0);
        // Ten in use are fewer for ten times the share.
        assert_eq!(chosen(Balance::LeastConnections, [10, 1, 1], &load, &[])[0], 10_000);
    }

    #[test]
    fn a_source_stays_where_it_is_and_only_those_of_one_that_leaves_move() {
        let all = Readers::new((0..4).map(|id| replica(id, 1, Duration::ZERO)), None, Balance::SourceHash);
        let of = |source: u64, exclude: &[ServerId]| {
            all.choose(
                Draw { random: source, spread: source, turn: source, source: mix(source), load: &|_| 0 },
                exclude,
            )
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
}
