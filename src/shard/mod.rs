//! Sharding: which tables are split, by which key, and on which shard a key's rows are.
//!
//! Owns: the resolved rules, the one form of values that servers take for equal, the methods of placement. Does not know: the rules file,
//! SQL, servers; no I/O, no clock, no global.
//! Invariant: a value has one shard, or an error that says why it has none; never a guess. Where a row is placed is pinned by
//! `fingerprints`: no release can move one.
//!
//! The way of a key: `value` (as it came) → `key` (the form of its type, by `number`, `collation` and `calendar`) → `placement`
//! (by `slots` or `pieces`) → `set`.

mod adopted;
mod calendar;
mod collation;
mod key;
mod number;
mod pieces;
mod placement;
mod rules;
mod set;
mod slots;
mod value;

pub use adopted::{Layout, MYCAT_SLOTS, Padding, Ring};
pub use calendar::Unit;
pub use collation::{Collation, Form};
pub use key::{Key, KeyType};
pub use pieces::{Piece, PieceFault, Pieces};
pub use placement::Placement;
pub use rules::{
    Database, Generate, GenerateBy, Home, Keyspace, NoMatch, Policy, Rules, Shard, Table, Transactions,
    WithoutKey,
};
pub use set::{SHARDS_MAX, ShardIx, ShardSet};
pub use slots::{SlotBy, SlotFault, SlotTable};
pub use value::{Charset, Date, Datetime, Doubt, NoPlace, Value};

#[cfg(test)]
mod tests;
