//! Servers, their roles, health and lag; which of them may serve what.
//!
//! Owns: probes (mysql_async), the state of each server, balancing. Does not know: clients, sessions, statements.
//! Invariant: sessions read one immutable `Snapshot` by one atomic load; only the monitor makes a new one.
//!
//! | File | What |
//! |---|---|
//! | `snapshot` | what the rest of the program sees |
//! | `clusters` | all of them |
//! | `monitor` | who is watched, reports of sessions |
//! | `shared` | publication, positions |
//! | `watch` | the tasks: a probe per server, a look-up per name |
//! | `probe`, `greeting` | what each server says of itself |
//! | `ask`, `beat` | what `monitor.lag` asks of it; heartbeats written at the primary |
//! | `book` | pure: events in, snapshots out |
//! | `resolve` | the addresses of names |
//! | `health`, `roles`, `reads`, `balance` | pure: is it up, what is it, may it serve reads, how many |
//! | `warmth` | whether a replica has come back a moment ago |
//! | `pace` | how fast a server has answered lately |
//! | `gtid`, `course` | pure: sets of transactions; what the primary had when, and how late that makes a replica |
//! | `pulse` | pure: how late heartbeats make a replica |
//! | `group` | what members of a group (Group Replication, Galera) say of it |
//! | `grants` | what generated ids are made from: leases of nodes, segments of numbers |
//! | `promotion` | another server becomes the primary by Tidegate itself |
//! | `definitions` | the journal of definitions that run on several shards |
//! | `catalog` | the tables that a cluster has, asked once for `tidegate check --connect` |
//! | `rights` | what an account may do, by its SHOW GRANTS |
//! | `replication`, `facts`, `journal` | the servers' answers parsed; changes told to the log |

mod ask;
mod balance;
mod beat;
mod book;
pub mod catalog;
mod clusters;
mod course;
pub mod definitions;
mod facts;
mod grants;
mod greeting;
mod group;
mod gtid;
mod health;
mod journal;
mod monitor;
mod pace;
mod probe;
mod promotion;
mod pulse;
mod reads;
mod replication;
mod resolve;
mod rights;
mod roles;
mod shared;
#[cfg(test)]
mod simulation;
mod snapshot;
mod warmth;
mod watch;

pub use balance::{Draw, Load, Readers};
pub(crate) use balance::{golden, mix};
pub use book::Refused;
pub use clusters::Clusters;
pub use facts::ServerFacts;
pub use grants::{keep_node, keep_segments};
pub use group::Unfit;
pub use gtid::Transactions;
pub use health::{Cause, Signal, State};
pub use monitor::Topology;
pub use pace::Speed;
pub use promotion::{Quiet, Tally};
pub use reads::LeftOut;
pub use resolve::{Resolve, Resolving, System};
pub use roles::Role;
pub use shared::Position;
pub use snapshot::{Server, Snapshot, Standing};
