//! How reads spread over the replicas.
//!
//! Does not know: why a replica is in or out, who asks, random numbers and loads (they come in). Invariant: a choice allocates nothing.
//!
//! | `reads.balance` | a replica's share | chosen |
//! |---|---|---|
//! | `lag_weighted` | weight × lag factor | spread evenly; from who is clearly slower or busier than another, chosen by chance, to that one |
//! | `random` | weight | by chance |
//! | `round_robin` | weight | in turn |
//! | `least_connections` | weight | the one with the fewest connections in use for its share |
//! | `source_hash` | weight | by the client's address: the same while it is there (highest random weight; Thaler and Ravishankar 1998) |
//!
//! A replica that has come back has a smaller share for a while, whatever the method.
//!
//! Two random choices are Mitzenmacher's (2001): looking at one more server than chance would is what keeps queues short, and as nobody looks for
//! the best of all, nobody is run over by all. Here the first choice is not taken at random but by the shares, and it stands unless the other is
//! clearly better: the weights are the operator's word, and small differences are noise.

use std::time::Duration;

use super::pace::Speed;
use crate::balance::Balance;
use crate::ids::ServerId;

/// Share that is left to the latest replica which may still serve, in thousandths.
const FLOOR_PERMILLE: u64 = 100;
/// Lag at which the floor is reached where no `max_lag` says it.
const UNLIMITED_REFERENCE: Duration = Duration::from_secs(10);
/// How much worse is clearly worse, see `how_much_worse`: twice.
const CLEARLY: f32 = 1.0;
/// Times of answers that differ by less say nothing: by half or twice.
const NOISE: f32 = 1.0;
/// As many must be in flight at a replica for the time of its answers to count: where reads come one by one, a busy moment of the machine is no
/// sign of a slow server, and nobody waits for anybody.
const CROWD: u32 = 2;
/// Requests in flight that are added to those of the two replicas of a comparison, by their shares: among few, one more or less means nothing,
/// and would draw reads to who has the smaller share.
/// A session that would leave its replica before its turn is over must ask a question there first: four times.
const WORTH_A_QUESTION: f32 = 2.0;
const FEW: f32 = 8.0;

/// The replicas that take reads, with their shares summed up so that a pick is one binary search.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Readers {
    /// Shares by weight.
    weighted: Spread,
    /// Shares by weight × lag factor.
    lagged: Spread,
    /// The cluster's method.
    balance: Balance,
}

/// A replica that takes reads.
#[derive(Clone, Copy)]
pub(super) struct Replica<'a> {
    pub id: ServerId,
    pub address: &'a str,
    /// Above 0.
    pub weight: u32,
    pub lag: Duration,
    /// Part of its share that it has by now, in thousandths, from 1.
    pub warmth_permille: u64,
}

/// What a server is at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Sessions that have a connection, or wait for one.
    pub connections: u32,
    /// Of these, those that are not silent: requests in flight.
    pub running: u32,
    /// How fast it has answered.
    pub speed: Option<Speed>,
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
    /// What a server is at.
    pub load: &'a dyn Fn(ServerId) -> Load,
}

/// Shares and their sums.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Spread(Vec<Slice>);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slice {
    id: ServerId,
    /// Above 0.
    share: u64,
    /// Of its address, for `source_hash`.
    seed: u64,
    /// Sum of the shares up to and with this one.
    end: u64,
}

impl Readers {
    /// Those of `replicas`.
    pub(super) fn new<'a>(
        replicas: impl Iterator<Item = Replica<'a>> + Clone,
        max_lag: Option<Duration>,
        balance: Balance,
    ) -> Self {
        Self {
            weighted: Spread::new(replicas.clone(), |_| 1000),
            lagged: Spread::new(replicas, |lag| lag_permille(lag, max_lag)),
            balance,
        }
    }

    /// How many replicas take reads.
    pub fn len(&self) -> usize {
        self.weighted.0.len()
    }

    /// Whether no replica takes reads.
    pub fn is_empty(&self) -> bool {
        self.weighted.0.is_empty()
    }

    /// Each replica with its share by the cluster's method; the shares' sum is the whole.
    pub fn shares(&self) -> impl Iterator<Item = (ServerId, u64)> + '_ {
        self.of(self.balance).0.iter().map(|slice| (slice.id, slice.share))
    }

    /// The replica at `random` (all 64 bits evenly distributed) among those that are not excluded.
    pub fn pick(&self, random: u64, exclude: &[ServerId]) -> Option<ServerId> {
        self.of(self.balance).slice(random, exclude).map(|slice| slice.id)
    }

    /// The replica for one read by this method, among those that are not excluded.
    pub fn choose(&self, balance: Balance, draw: Draw<'_>, exclude: &[ServerId]) -> Option<ServerId> {
        let spread = self.of(balance);
        let chosen = match balance {
            Balance::Random => spread.slice(draw.random, exclude),
            Balance::LagWeighted => spread.two_choices(&draw, exclude),
            Balance::RoundRobin => spread.in_turn(draw.turn, exclude),
            Balance::LeastConnections => spread.least(&draw, exclude),
            Balance::SourceHash => spread.of_source(draw.source, exclude),
        };
        chosen.map(|slice| slice.id)
    }

    /// Whether reads turn from `id` to another replica just now, by `lag_weighted`.
    pub fn is_outdone(&self, id: ServerId, draw: Draw<'_>) -> bool {
        let one = self.lagged.0.iter().find(|slice| slice.id == id);
        one.is_some_and(|one| self.lagged.better_than(one, WORTH_A_QUESTION, &draw, &[]).is_some())
    }

    fn of(&self, balance: Balance) -> &Spread {
        if balance == Balance::LagWeighted { &self.lagged } else { &self.weighted }
    }
}

impl Spread {
    fn new<'a>(replicas: impl Iterator<Item = Replica<'a>>, lag_permille: impl Fn(Duration) -> u64) -> Self {
        let mut end = 0;
        let slice = |replica: Replica<'_>| {
            let permille = (lag_permille(replica.lag) * replica.warmth_permille / 1000).max(1);
            let share = u64::from(replica.weight) * permille;
            end += share;
            let seed = replica.address.bytes().fold(0, |seed, byte| mix(seed ^ u64::from(byte)));
            Slice { id: replica.id, share, seed, end }
        };
        Self(replicas.map(slice).collect())
    }

    fn included<'a>(&'a self, exclude: &[ServerId]) -> impl Iterator<Item = &'a Slice> {
        self.0.iter().filter(|slice| !exclude.contains(&slice.id))
    }

    /// The one at `random` (all 64 bits evenly distributed) by its share.
    fn slice(&self, random: u64, exclude: &[ServerId]) -> Option<&Slice> {
        if exclude.is_empty() {
            let position = scale(random, self.0.last()?.end);
            return self.0.get(self.0.partition_point(|slice| slice.end <= position));
        }
        at(scale(random, total(self.included(exclude))), self.included(exclude))
    }

    /// By the shares; or by chance another, where that is clearly better.
    fn two_choices(&self, draw: &Draw<'_>, exclude: &[ServerId]) -> Option<&Slice> {
        let first = self.slice(draw.spread, exclude)?;
        Some(self.better_than(first, CLEARLY, draw, exclude).unwrap_or(first))
    }

    /// One of the others by chance, if it is clearly better.
    fn better_than(&self, one: &Slice, margin: f32, draw: &Draw<'_>, exclude: &[ServerId]) -> Option<&Slice> {
        let others = || self.included(exclude).filter(|slice| slice.id != one.id);
        let other = at(scale(draw.random, total(others())), others())?;
        (how_much_worse(one, other, draw.load) > margin).then_some(other)
    }

    /// As many are served in a round as there are replicas, each by one part of the whole; the parts have the same width, and all rounds
    /// together spread evenly over it.
    fn in_turn(&self, turn: u64, exclude: &[ServerId]) -> Option<&Slice> {
        let parts = self.included(exclude).count() as u64;
        let total = total(self.included(exclude));
        let within = scale(golden(turn.checked_div(parts)?), total);
        let position =
            (u128::from(turn % parts) * u128::from(total) + u128::from(within)) / u128::from(parts);
        at(u64::try_from(position).ok()?, self.included(exclude))
    }

    fn least(&self, draw: &Draw<'_>, exclude: &[ServerId]) -> Option<&Slice> {
        let load = |slice: &Slice| u128::from((draw.load)(slice.id).connections);
        let busier = |one: &Slice, other: &Slice| {
            load(one) * u128::from(other.share) > load(other) * u128::from(one.share)
        };
        let first = self.slice(draw.spread, exclude)?; // among equals, whoever is next
        Some(self.included(exclude).fold(first, |best, slice| if busier(best, slice) { slice } else { best }))
    }

    fn of_source(&self, source: u64, exclude: &[ServerId]) -> Option<&Slice> {
        let weight = |slice: &Slice| {
            let random = mix(source ^ slice.seed);
            // Above 0 and at most 1; the highest of -w/ln(u) falls to each by its share.
            let unit = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
            slice.share as f64 / -unit.ln()
        };
        self.included(exclude).max_by(|a, b| weight(a).total_cmp(&weight(b)))
    }
}

/// How much worse a read at `one` is than one at `other`, by the requests in flight, each for its share, and by the time that an answer takes:
/// logarithm to base 2 of the quotient.
fn how_much_worse(one: &Slice, other: &Slice, load: &dyn Fn(ServerId) -> Load) -> f32 {
    let (its, theirs) = (load(one.id), load(other.id));
    let per_share = |load: Load, slice: &Slice| load.running as f32 / slice.share as f32;
    let few = FEW / (one.share + other.share) as f32;
    let busier = ((per_share(its, one) + few) / (per_share(theirs, other) + few)).log2();
    let crowded = its.running >= CROWD;
    let slower = match (its.speed, theirs.speed) {
        (Some(its), Some(theirs)) if crowded => {
            let difference = its.logarithm - theirs.logarithm;
            (difference - difference.clamp(-NOISE, NOISE)) * its.trust.min(theirs.trust)
        }
        _ => 0.0,
    };
    busier + slower
}

fn total<'a>(slices: impl Iterator<Item = &'a Slice>) -> u64 {
    slices.map(|slice| slice.share).sum()
}

/// The one whose share begins at or before `position` and ends behind it.
fn at<'a>(mut position: u64, mut slices: impl Iterator<Item = &'a Slice>) -> Option<&'a Slice> {
    slices.find(|slice| {
        let rest = position.checked_sub(slice.share);
        position = rest.unwrap_or(0);
        rest.is_none()
    })
}

/// Spreads the bits of a number (the finalizer of SplitMix64; Steele, Lea and Flood 2014). The same for ever: who moves is who must.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Spreads any run of numbers evenly over all of `u64` (steps of the golden ratio: Knuth, TAOCP 3, 6.4).
pub(crate) fn golden(number: u64) -> u64 {
    number.wrapping_mul(0x9E37_79B9_7F4A_7C15)
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
#[path = "balance_tests.rs"]
mod tests;
