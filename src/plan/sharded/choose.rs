//! Which shards one execution of a plan runs on.
//!
//! Owns: from sources to shards, and the refusals that only values bring. Does not know: SQL.
//! Invariant: a shard that may have a row of the statement is chosen; where several are and the plan cannot merge, it is refused.

use super::keys::{Bound, KeySource, Narrow};
use super::planned::{InsertedRow, Routed, Sites};
use super::refusal::{Reason, Refusal};
use super::values::{Arguments, Read};
use crate::shard::{Database, Doubt, Keyspace, NoMatch, NoPlace, Policy, ShardIx, ShardSet, Value};

/// The shards of one execution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chosen {
    /// One: the statement runs there as it is, but for names.
    One(ShardIx),
    /// Several: `Routed::many` says how their answers are merged.
    Several(ShardSet),
}

/// What a condition leaves.
struct Left {
    shards: ShardSet,
    /// A value that could not be placed, for which no shard was left out.
    doubt: Option<Doubt>,
}

impl Routed {
    /// The shards for these values. `database` is the one that the plan was made for.
    pub fn choose(&self, arguments: &Arguments<'_>, database: &Database) -> Result<Chosen, Refusal> {
        let Some(keyspace) = database.keyspaces.get(self.keyspace) else {
            return Err(Refusal::new(Reason::NoMatch, "The rules have changed"));
        };
        let on = Placing { arguments, keyspace, database, writes: self.verb.writes() };
        match &self.sites {
            Sites::Spread { narrow, given } => {
                let left = on.left(narrow)?;
                let chosen = self.one_or_several(&left, &on)?;
                self.in_place(&on, chosen, given)
            }
            Sites::Together { narrows, given } => {
                let mut one = None;
                for narrow in narrows {
                    let left = on.left(narrow)?;
                    if left.shards.is_empty() {
                        continue;
                    }
                    let shard = left.shards.only().ok_or_else(|| self.apart(&left))?;
                    if one.replace(shard).is_some_and(|other| other != shard) {
                        return Err(self.apart(&left));
                    }
                }
                self.in_place(&on, Chosen::One(one.unwrap_or(FIRST)), given)
            }
            Sites::First => Ok(Chosen::One(FIRST)),
            Sites::Rows(rows) => {
                let shards = rows.iter().map(|row| on.row(row)).collect::<Result<ShardSet, _>>()?;
                self.one_or_several(&Left { shards, doubt: None }, &on)
            }
        }
    }

    /// The shard of each row of an INSERT, in order; empty for other statements.
    pub fn rows(&self, arguments: &Arguments<'_>, database: &Database) -> Result<Vec<ShardIx>, Refusal> {
        let (Sites::Rows(rows), Some(keyspace)) = (&self.sites, database.keyspaces.get(self.keyspace)) else {
            return Ok(Vec::new());
        };
        let on = Placing { arguments, keyspace, database, writes: true };
        rows.iter().map(|row| on.row(row)).collect()
    }

    fn one_or_several(&self, left: &Left, on: &Placing<'_>) -> Result<Chosen, Refusal> {
        if let Some(shard) = left.shards.only() {
            return Ok(Chosen::One(shard));
        }
        if left.shards.is_empty() {
            // No row can be found; a server says so in the right columns.
            return Ok(Chosen::One(FIRST));
        }
        if let Some(doubt) = left.doubt {
            let policy = on.database.without_key;
            let policy = if on.writes { policy.write } else { policy.read };
            if policy == Policy::Refuse || self.many.is_err() {
                return Err(Refusal::new(Reason::DoubtfulKey, format!("The key {doubt}")));
            }
        }
        match &self.many {
            Ok(_) => Ok(Chosen::Several(left.shards)),
            Err(refusal) => Err(refusal.clone()),
        }
    }

    /// Keys that are given to rows stay in the shard where the rows are.
    fn in_place(
        &self,
        on: &Placing<'_>,
        chosen: Chosen,
        given: &[Vec<KeySource>],
    ) -> Result<Chosen, Refusal> {
        for key in given {
            match on.place(key) {
                Ok(shard) if chosen == Chosen::One(shard) => {}
                _ => {
                    return Err(Refusal::new(
                        Reason::ChangesKey,
                        "The key is changed to one of another shard",
                    ));
                }
            }
        }
        Ok(chosen)
    }

    fn apart(&self, left: &Left) -> Refusal {
        match (left.doubt, &self.many) {
            (Some(doubt), _) => Refusal::new(Reason::DoubtfulKey, format!("The key {doubt}")),
            (None, Err(refusal)) => refusal.clone(),
            (None, Ok(_)) => {
                Refusal::new(Reason::KeysApart, "The keys of this statement lie in several shards")
            }
        }
    }
}

/// Where there is nothing to find, this one says so; what is the same on all, too.
const FIRST: ShardIx = ShardIx(0);

/// Looks up keys.
struct Placing<'a> {
    arguments: &'a Arguments<'a>,
    keyspace: &'a Keyspace,
    database: &'a Database,
    writes: bool,
}

impl Placing<'_> {
    fn place(&self, key: &[KeySource]) -> Result<ShardIx, NoPlace> {
        if let [one] = key {
            return self.keyspace.locate(&[self.arguments.read(*one).value()]);
        }
        let read: Vec<Read<'_>> = key.iter().map(|source| self.arguments.read(*source)).collect();
        let values: Vec<_> = read.iter().map(Read::value).collect();
        self.keyspace.locate(&values)
    }

    /// The shard of a row that is inserted.
    fn row(&self, row: &InsertedRow) -> Result<ShardIx, Refusal> {
        self.place(&row.key).map_err(|no| match no {
            NoPlace::Null => Refusal::new(Reason::NullKey, "The key of a row is NULL"),
            NoPlace::NoMatch => no_match(),
            NoPlace::Doubt(doubt) => Refusal::new(Reason::DoubtfulKey, format!("The key of a row {doubt}")),
        })
    }

    /// Why a list of values is in doubt of which each has a place: servers may compare values of several types by other rules than each by itself.
    fn doubt_of_list(&self, keys: &[Vec<KeySource>]) -> Option<Doubt> {
        let one = keys.iter().map(|key| <&[_; 1]>::try_from(&key[..]).ok());
        let read: Vec<_> =
            one.map(|key| key.map(|[one]| self.arguments.read(*one))).collect::<Option<_>>()?;
        let values: Vec<_> = read.iter().map(Read::value).filter(|value| *value != Value::Null).collect();
        let first = values.first()?.is_double();
        if values.iter().all(|value| value.is_double() == first) {
            return None;
        }
        match self.keyspace.locate_any(&values) {
            Err(NoPlace::Doubt(doubt)) => Some(doubt),
            _ => None,
        }
    }

    /// The shards that a condition leaves.
    fn left(&self, narrow: &Narrow) -> Result<Left, Refusal> {
        let all = || self.keyspace.all();
        Ok(match narrow {
            Narrow::All => Left { shards: all(), doubt: None },
            Narrow::Keys(keys) => {
                if let Some(doubt) = self.doubt_of_list(keys) {
                    return Ok(Left { shards: all(), doubt: Some(doubt) });
                }
                let mut left = Left { shards: ShardSet::EMPTY, doubt: None };
                for key in keys {
                    match self.place(key) {
                        Ok(shard) => left.shards.insert(shard),
                        Err(NoPlace::Null) => {}
                        // No shard can have its rows, and there are none elsewhere.
                        Err(NoPlace::NoMatch) if self.database.no_match == NoMatch::Empty => {}
                        Err(NoPlace::NoMatch) => return Err(no_match()),
                        Err(NoPlace::Doubt(doubt)) => return Ok(Left { shards: all(), doubt: Some(doubt) }),
                    }
                }
                left
            }
            Narrow::Range { low, high } => {
                let read = |bound: &Option<Bound>| bound.map(|bound| self.arguments.read(bound.source));
                let (low, high) = (read(low), read(high));
                let (low, high) = (low.as_ref().map(Read::value), high.as_ref().map(Read::value));
                Left { shards: self.keyspace.locate_range(low.as_ref(), high.as_ref()), doubt: None }
            }
            Narrow::And(parts) => {
                let mut left = Left { shards: all(), doubt: None };
                for part in parts {
                    let part = self.left(part)?;
                    left.shards = left.shards.intersection(&part.shards);
                    left.doubt = left.doubt.or(part.doubt);
                }
                left
            }
            Narrow::Or(parts) => {
                let mut left = Left { shards: ShardSet::EMPTY, doubt: None };
                for part in parts {
                    let part = self.left(part)?;
                    left.shards = left.shards.union(&part.shards);
                    left.doubt = left.doubt.or(part.doubt);
                }
                left
            }
        })
    }
}

fn no_match() -> Refusal {
    Refusal::new(Reason::NoMatch, "The key matches no shard")
}
