//! Shards of one keyspace, by number, and sets of them.
//!
//! Owns: the union and the intersection. Does not know: what a shard is. Invariant: a set is in the order of the rules file, takes no
//! memory of its own, and holds no number of `SHARDS_MAX` or above.

use std::fmt;

/// Shards that one keyspace can have.
pub const SHARDS_MAX: usize = 1024;

const WORDS: usize = SHARDS_MAX / 64;

/// A shard of a keyspace: its place in `Keyspace::shards`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShardIx(pub u16);

impl ShardIx {
    /// Its place in `Keyspace::shards`.
    pub fn index(self) -> usize {
        self.0.into()
    }
}

impl fmt::Display for ShardIx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A set of shards of one keyspace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ShardSet([u64; WORDS]);

impl ShardSet {
    /// No shard.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// One shard.
    pub fn one(shard: ShardIx) -> Self {
        let mut set = Self::EMPTY;
        set.insert(shard);
        set
    }

    /// All of a keyspace with `count` shards.
    pub fn all(count: usize) -> Self {
        (0..count.min(SHARDS_MAX)).filter_map(|at| u16::try_from(at).ok()).map(ShardIx).collect()
    }

    /// Adds a shard.
    pub fn insert(&mut self, shard: ShardIx) {
        if let Some(word) = self.0.get_mut(shard.index() / 64) {
            *word |= 1 << (shard.index() % 64);
        }
    }

    /// Whether the shard is in it.
    pub fn contains(&self, shard: ShardIx) -> bool {
        self.0.get(shard.index() / 64).is_some_and(|word| word >> (shard.index() % 64) & 1 == 1)
    }

    /// Those in one of the two, or in both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// Those in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The first one.
    pub fn first(&self) -> Option<ShardIx> {
        self.iter().next()
    }

    /// The shard, where there is exactly one.
    pub fn only(&self) -> Option<ShardIx> {
        let mut shards = self.iter();
        shards.next().filter(|_| shards.next().is_none())
    }

    /// The shards in order.
    pub fn iter(&self) -> impl Iterator<Item = ShardIx> + '_ {
        let bits = |(at, word): (usize, u64)| {
            let rest = std::iter::successors(Some(word), |word| Some(word & word.wrapping_sub(1)));
            rest.take_while(|word| *word != 0).map(move |word| at * 64 + word.trailing_zeros() as usize)
        };
        self.0.iter().copied().enumerate().flat_map(bits).filter_map(|at| u16::try_from(at).ok()).map(ShardIx)
    }

    fn zip(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        let mut set = *self;
        for (word, theirs) in set.0.iter_mut().zip(other.0) {
            *word = with(*word, theirs);
        }
        set
    }
}

impl FromIterator<ShardIx> for ShardSet {
    fn from_iter<I: IntoIterator<Item = ShardIx>>(shards: I) -> Self {
        let mut set = Self::EMPTY;
        for shard in shards {
            set.insert(shard);
        }
        set
    }
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|shard| shard.0)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(shards: &[u16]) -> ShardSet {
        shards.iter().map(|shard| ShardIx(*shard)).collect()
    }

    #[test]
    fn sets_are_joined_and_cut() {
        let (a, b) = (set(&[0, 3, 64, 1023]), set(&[3, 5, 1023]));
        assert_eq!(a.union(&b), set(&[0, 3, 5, 64, 1023]));
        assert_eq!(a.intersection(&b), set(&[3, 1023]));
        assert_eq!(format!("{:?}", a.union(&b)), "{0, 3, 5, 64, 1023}");
        assert_eq!((a.len(), a.first(), a.only()), (4, Some(ShardIx(0)), None));
        assert_eq!(ShardSet::one(ShardIx(70)).only(), Some(ShardIx(70)));
        assert!(a.intersection(&set(&[1])).is_empty() && !a.contains(ShardIx(1)) && a.contains(ShardIx(64)));
    }

    #[test]
    fn a_keyspace_has_all_of_its_shards() {
        for count in [0, 1, 63, 64, 65, SHARDS_MAX] {
            let all = ShardSet::all(count);
            assert_eq!(all.len(), count);
            assert_eq!(all.iter().map(ShardIx::index).collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
        }
        assert_eq!(ShardSet::one(ShardIx(u16::MAX)), ShardSet::EMPTY);
    }
}
