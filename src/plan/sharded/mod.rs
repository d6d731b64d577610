//! Where a statement of a database with sharding rules runs: pure planning, on a miss of the plan cache.
//!
//! Owns: which statements run on which shards, with which text, and how their answers are one; every refusal with its reason.
//! Does not know: values, servers, sessions. Invariant: a statement that names a sharded table runs where one server with all rows
//! would give the same answer, or it is refused. No input panics, and time and memory are linear in the statement's length.

mod across;
mod change;
mod choose;
mod copies;
mod define;
mod derived;
mod describe;
pub mod dictionary;
mod edits;
mod facts;
mod from;
mod gate;
mod homes;
mod insert;
mod keys;
mod load;
mod makes;
mod merge_words;
mod merging;
mod named;
mod parse;
mod planned;
mod planner;
mod reach;
mod refusal;
mod resolve;
mod route;
mod scope;
mod shown;
mod split;
mod unlisted;
mod upkeep;
mod values;

#[cfg(test)]
mod cases;

pub use choose::Chosen;
pub use edits::{Edit, NameEdit, Piece, Place, text_for};
pub use keys::{Bound, KeySource, Narrow, Typed};
pub use load::{Load, LoadMakes};
pub use makes::{Makes, Wants, asks_for_number, whole_number};
pub use merging::Merging;
pub use named::{name_parameters, named_number, named_uuid, positional};
pub use parse::{Modes, bracketed};
pub use planned::*;
pub use planner::Planner;
pub use refusal::{Reason, Refusal};
pub use route::Request;
pub use shown::{Line, describe, execution, lines, print};
pub use split::Split;
pub use unlisted::Unlisted;
pub use values::Arguments;
