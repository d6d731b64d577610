//! What the rules file says of sharded databases, resolved.
//!
//! Owns: databases, keyspaces, tables and shards by name. Does not know: the file, servers, statements.
//! Invariant: a `Table::Sharded` names a keyspace that its database has, with as many columns as that has types.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::ClusterId;

use super::key::KeyType;
use super::placement::Placement;
use super::set::{ShardIx, ShardSet};
use super::value::{NoPlace, Value};

/// All that the rules file says of databases; the default has no rule for any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// The cluster of databases without a home of their own.
    pub home: ClusterId,
    /// Databases that have a home or sharded tables, by their logical names.
    pub databases: BTreeMap<String, Database>,
}

/// A database as clients see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Database {
    /// Its logical name.
    pub name: String,
    /// Where the tables are that no rule names.
    pub home: Home,
    /// What owns the places of rows, in the file's order.
    pub keyspaces: Vec<Keyspace>,
    /// Tables with a rule, by their logical names, as the file writes them.
    pub tables: BTreeMap<String, Table>,
    /// What becomes of statements that name no key.
    pub without_key: WithoutKey,
    /// What becomes of keys that no shard is for.
    pub no_match: NoMatch,
    /// Where a client's transaction may write.
    pub transactions: Transactions,
}

/// Where a client's transaction may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transactions {
    /// In one place: a shard, or outside of the shards.
    #[default]
    OneShard,
    /// In several, which COMMIT makes last one after the other: a server that fails in between leaves some without.
    BestEffort,
}

impl Transactions {
    /// Its name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneShard => "one_shard",
            Self::BestEffort => "best_effort",
        }
    }
}

/// Where a database's unsplit tables are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Home {
    /// The cluster.
    pub cluster: ClusterId,
    /// The schema there.
    pub schema: String,
}

/// A table with a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Table {
    /// Its rows are spread by a key.
    Sharded {
        /// The place of its keyspace in `Database::keyspaces`.
        keyspace: usize,
        /// The columns of its key, in the order of `Keyspace::key`.
        key: Vec<String>,
        /// A column whose values Tidegate makes.
        generate: Option<Generate>,
    },
    /// The same rows at home and on every shard.
    Reference {
        /// A column whose values Tidegate makes.
        generate: Option<Generate>,
    },
}

impl Table {
    /// The column whose values Tidegate makes.
    pub fn generate(&self) -> Option<&Generate> {
        match self {
            Self::Sharded { generate, .. } | Self::Reference { generate } => generate.as_ref(),
        }
    }
}

/// A column whose values Tidegate makes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Generate {
    /// The column.
    pub column: String,
    /// How they are made.
    pub by: GenerateBy,
}

/// How unique values are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GenerateBy {
    /// 64 bits: time, instance, count.
    Snowflake,
    /// Numbers that are fetched ahead from a table.
    Segment,
    /// UUIDs of version 7 (RFC 9562), as texts.
    UuidV7,
    /// The same as 16 bytes.
    UuidV7Binary,
}

impl GenerateBy {
    /// The word for it in the rules file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Snowflake => "snowflake",
            Self::Segment => "segment",
            Self::UuidV7 => "uuid_v7",
            Self::UuidV7Binary => "uuid_v7_binary",
        }
    }

    /// Whether they are numbers, of which 0 asks for another one, as of AUTO_INCREMENT.
    pub const fn is_number(self) -> bool {
        matches!(self, Self::Snowflake | Self::Segment)
    }

    /// Whether a key of this type can have them.
    pub const fn fits(self, key: &KeyType) -> bool {
        match self {
            Self::Snowflake | Self::Segment => matches!(key, KeyType::Integer | KeyType::Decimal { .. }),
            Self::UuidV7 => matches!(key, KeyType::Uuid | KeyType::String(_)),
            Self::UuidV7Binary => matches!(key, KeyType::Uuid | KeyType::Bytes),
        }
    }
}

/// What becomes of statements that name no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WithoutKey {
    /// Of reads.
    pub read: Policy,
    /// Of writes.
    pub write: Policy,
}

impl Default for WithoutKey {
    fn default() -> Self {
        Self { read: Policy::Scatter, write: Policy::Refuse }
    }
}

/// What becomes of a statement that names no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// It goes to all shards.
    Scatter,
    /// It is refused.
    Refuse,
}

/// What becomes of a statement whose key no shard is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NoMatch {
    /// It is refused.
    #[default]
    Refuse,
    /// A read has no rows; a write is refused.
    Empty,
}

/// What owns the places of rows: tables with one keyspace are co-located.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyspace {
    /// Its name.
    pub name: String,
    /// The word for its method in the rules file.
    pub method: &'static str,
    /// The types of the key's columns; at least one.
    pub key: Vec<KeyType>,
    /// How keys are spread.
    pub placement: Placement,
    /// Where they are spread to, in the file's order.
    pub shards: Vec<Shard>,
}

/// One slice of a keyspace's tables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shard {
    /// Its name.
    pub name: String,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its schema there.
    pub schema: String,
    /// What its tables' names have at their end, where a schema has several shards.
    pub suffix: Option<String>,
}

impl Rules {
    /// Databases and tables of which values of a column are made so.
    pub fn generated(&self, by: GenerateBy) -> impl Iterator<Item = (&String, &String)> {
        self.databases.iter().flat_map(move |(database, rules)| {
            let is_made = move |table: &Table| table.generate().is_some_and(|generate| generate.by == by);
            rules
                .tables
                .iter()
                .filter(move |(_, table)| is_made(table))
                .map(move |(table, _)| (database, table))
        })
    }

    /// The cluster with the unsplit tables of a database; `schema` is its name, empty for none.
    pub fn home_of(&self, schema: &[u8]) -> ClusterId {
        let named = std::str::from_utf8(schema).ok().and_then(|name| self.databases.get(name));
        named.map_or(self.home, |database| database.home.cluster)
    }

    /// Databases whose home is on another cluster than the default one.
    pub fn moved(&self) -> impl Iterator<Item = &Database> {
        self.databases.values().filter(|database| database.home.cluster != self.home)
    }

    /// The database of that name.
    pub fn database(&self, name: &str) -> Option<&Database> {
        self.databases.get(name)
    }
}

impl Database {
    /// The shards whose copies of reference tables are not those at home, each copy once, in the file's order.
    pub fn copies(&self) -> Vec<&Shard> {
        let mut known = BTreeSet::from([(self.home.cluster.0, self.home.schema.clone(), None)]);
        let shards = self.keyspaces.iter().flat_map(|keyspace| &keyspace.shards);
        let place = |shard: &'_ Shard| (shard.cluster.0, shard.schema.clone(), shard.suffix.clone());
        shards.filter(|shard| known.insert(place(shard))).collect()
    }

    /// Whether every row that `before` places is still where it was: what is there is as it was, and what is new is new.
    pub fn keeps_places_of(&self, before: &Self) -> bool {
        let known = |keyspace: &Keyspace| self.keyspaces.iter().position(|own| own == keyspace);
        let kept: Vec<_> = before.keyspaces.iter().map(known).collect();
        let same = |(name, table): (&String, &Table)| match (table, self.tables.get(name)) {
            (Table::Reference { .. }, Some(Table::Reference { .. })) => true,
            (
                Table::Sharded { keyspace, key, .. },
                Some(Table::Sharded { keyspace: now, key: of_now, .. }),
            ) => kept.get(*keyspace) == Some(&Some(*now)) && key == of_now,
            _ => false,
        };
        self.home == before.home && kept.iter().all(Option::is_some) && before.tables.iter().all(same)
    }

    /// The rule for a table; without one it is at home.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }
}

impl Keyspace {
    /// The shard with the rows whose key has these values, one for each column.
    pub fn locate(&self, values: &[Value<'_>]) -> Result<ShardIx, NoPlace> {
        self.placement.locate(&self.key, values)
    }

    /// The shards with the rows whose key, of one column, is one of these: all values of one `IN`, for servers compare a list of several
    /// types in another way. A list of NULLs alone is `NoPlace::Null`.
    pub fn locate_any(&self, values: &[Value<'_>]) -> Result<ShardSet, NoPlace> {
        self.placement.locate_any(&self.key, values)
    }

    /// The shards that can have rows whose key is from `low` to `high`, both included; `None` is no bound. A key of several columns
    /// has no ranges: all shards.
    pub fn locate_range(&self, low: Option<&Value<'_>>, high: Option<&Value<'_>>) -> ShardSet {
        self.placement.locate_range(&self.key, low, high)
    }

    /// All shards.
    pub fn all(&self) -> ShardSet {
        ShardSet::all(self.shards.len())
    }

    /// The shard of that number.
    pub fn shard(&self, shard: ShardIx) -> Option<&Shard> {
        self.shards.get(shard.index())
    }
}

impl Shard {
    /// What a table of the keyspace is called here.
    pub fn physical(&self, table: &str) -> String {
        format!("{table}{}", self.suffix.as_deref().unwrap_or_default())
    }
}
