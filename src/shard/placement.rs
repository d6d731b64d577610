//! Where a key's rows are.
//!
//! Owns: the methods, of one key and of a range of keys. Does not know: names of shards.
//! Invariant: `locate(x)` is in `locate_range(low, high)` wherever `low ≤ x ≤ high` holds on a server.

use super::calendar::Unit;
use super::key::{Key, KeyType};
use super::pieces::Pieces;
use super::set::{ShardIx, ShardSet};
use super::slots::{SlotBy, SlotTable};
use super::value::{Doubt, NoPlace, Value};

/// Consecutive whole numbers that are looked up one by one, where a method has no order.
const ENUMERATED_MAX: i128 = 64;

/// How keys are spread over shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Placement {
    /// A key has a slot, and a slot a shard.
    Slots {
        /// How the slot is found.
        by: SlotBy,
        /// The shard of each slot.
        table: SlotTable,
    },
    /// Keys in their order, cut into pieces.
    Ranges(Pieces<Key>),
    /// Each key by name, in order.
    List(Vec<(Key, ShardIx)>),
    /// The periods that keys are in, cut into pieces.
    Periods {
        /// How long one is.
        unit: Unit,
        /// Whose they are, by `Unit::period`.
        pieces: Pieces<i64>,
    },
}

impl Placement {
    /// Where the rows of a key are, of which a value for each column of `types` is given.
    pub(super) fn locate(&self, types: &[KeyType], values: &[Value<'_>]) -> Result<ShardIx, NoPlace> {
        if types.len() != values.len() {
            return Err(NoPlace::Doubt(Doubt::Columns));
        }
        if let ([key_type], [value]) = (types, values) {
            return self.place(types, &[key_type.key(value)?]);
        }
        // NULL decides before doubt: whatever the other parts are, no row has it.
        if values.contains(&Value::Null) {
            return Err(NoPlace::Null);
        }
        let key = types.iter().zip(values).map(|(key_type, value)| key_type.key(value));
        self.place(types, &key.collect::<Result<Vec<_>, _>>()?)
    }

    /// Where rows are whose key is one of a list (`IN`). NULL has no part in it; a key that no shard is for is an error (T55).
    pub(super) fn locate_any(&self, types: &[KeyType], values: &[Value<'_>]) -> Result<ShardSet, NoPlace> {
        let [key_type] = types else { return Err(NoPlace::Doubt(Doubt::Columns)) };
        let mut given = values.iter().filter(|value| **value != Value::Null);
        let first = given.next().map(Value::is_double);
        let is_mixed = given.any(|value| Some(value.is_double()) != first);
        let (mut set, mut error) = (ShardSet::EMPTY, NoPlace::Null);
        for value in values {
            let key = if is_mixed { key_type.key_in_mixed(value) } else { key_type.key(value) };
            match key.and_then(|key| self.place(types, &[key])) {
                Ok(shard) => set.insert(shard),
                Err(NoPlace::Null) => {}
                Err(NoPlace::NoMatch) => error = NoPlace::NoMatch,
                Err(doubt) => return Err(doubt),
            }
        }
        if set.is_empty() || error == NoPlace::NoMatch { Err(error) } else { Ok(set) }
    }

    fn place(&self, types: &[KeyType], key: &[Key]) -> Result<ShardIx, NoPlace> {
        match (self, key) {
            (Self::Slots { by, table }, _) => {
                let slot = by.slot(types, key, table.slots()).map_err(NoPlace::Doubt)?;
                table.shard(slot).ok_or(NoPlace::NoMatch)
            }
            (Self::Ranges(_), [key]) if has_controls(key) => Err(NoPlace::Doubt(Doubt::Characters)),
            (Self::Ranges(pieces), [key]) => pieces.locate(key).ok_or(NoPlace::NoMatch),
            (Self::List(list), [key]) => {
                let at = list.binary_search_by(|(listed, _)| listed.cmp(key));
                at.ok().and_then(|at| list.get(at)).map(|(_, shard)| *shard).ok_or(NoPlace::NoMatch)
            }
            (Self::Periods { unit, pieces }, [key]) => {
                let period = period(*unit, key).ok_or(NoPlace::Doubt(Doubt::Kind))?;
                pieces.locate(&period).ok_or(NoPlace::NoMatch)
            }
            _ => Err(NoPlace::Doubt(Doubt::Columns)),
        }
    }

    /// Where rows are whose key is from `low` to `high`, both included; a bound that cannot be told is none.
    pub(super) fn locate_range(
        &self,
        types: &[KeyType],
        low: Option<&Value<'_>>,
        high: Option<&Value<'_>>,
    ) -> ShardSet {
        let [key_type] = types else { return self.shards() };
        let as_double = [low, high].into_iter().flatten().any(Value::is_double);
        let bound = |value: Option<&Value<'_>>| {
            value.and_then(|value| key_type.below(value, as_double)).filter(|key| !has_controls(key))
        };
        let (low, high) = (bound(low), bound(high));
        match self {
            Self::Slots { .. } => self.enumerated(types, low, high).unwrap_or_else(|| self.shards()),
            Self::Ranges(pieces) => pieces.within(low.as_ref(), high.as_ref()),
            Self::List(list) => {
                // What holds control characters is not in the order of its bytes (PAD SPACE).
                let is_within = |key: &Key| {
                    low.as_ref().is_none_or(|low| low <= key) && high.as_ref().is_none_or(|high| key <= high)
                };
                let met = list.iter().filter(|(key, _)| has_controls(key) || is_within(key));
                met.map(|(_, shard)| *shard).collect()
            }
            Self::Periods { unit, pieces } => {
                let period = |bound: Option<Key>| bound.and_then(|key| period(*unit, &key));
                pieces.within(period(low).as_ref(), period(high).as_ref())
            }
        }
    }

    /// The shards of a few consecutive whole numbers.
    fn enumerated(&self, types: &[KeyType], low: Option<Key>, high: Option<Key>) -> Option<ShardSet> {
        let (Some(Key::Number(low)), Some(Key::Number(high)), [KeyType::Integer]) = (low, high, types) else {
            return None;
        };
        let few = high.checked_sub(low).is_some_and(|more| more < ENUMERATED_MAX);
        let numbers = (low..=high).map(|number| self.locate(types, &[Value::Integer(number)]));
        few.then(|| numbers.filter_map(Result::ok).collect())
    }

    /// All shards that a key may be on.
    pub(super) fn shards(&self) -> ShardSet {
        match self {
            Self::Slots { table, .. } => table.shards(),
            Self::Ranges(pieces) => pieces.within(None, None),
            Self::List(list) => list.iter().map(|(_, shard)| *shard).collect(),
            Self::Periods { pieces, .. } => pieces.within(None, None),
        }
    }
}

/// Collations that fill up with spaces sort what is below a space before a text's end.
fn has_controls(key: &Key) -> bool {
    matches!(key, Key::Text(text) if text.iter().any(|byte| *byte < b' '))
}

fn period(unit: Unit, key: &Key) -> Option<i64> {
    match key {
        Key::Date(date) | Key::Datetime(super::value::Datetime { date, .. }) => Some(unit.period(*date)),
        _ => None,
    }
}
