//! Servers, their roles, health and lag; which of them may serve what.
//!
//! Owns: probes (mysql_async), the state of each server, balancing. Does not know: clients, sessions, statements.
//! Invariant: sessions read one immutable `Snapshot` by one atomic load; only the monitor makes a new one.
//!
//! | File | What |
//! |---|---|
//! | `snapshot` | what the rest of the program sees |
//! | `monitor` | the tasks: a probe per server and interval, reports, publication |
//! | `probe`, `greeting` | all I/O of this layer |
//! | `book` | pure: events in, snapshots out |
//! | `health`, `roles`, `reads`, `balance` | pure: is it up, what is it, may it serve reads, how many |
//! | `gtid`, `course` | pure: sets of transactions; what the primary had when, and how late that makes a replica |
//! | `replication`, `facts`, `journal` | the servers' answers parsed; changes told to the log |

mod balance;
mod book;
mod course;
mod facts;
mod greeting;
mod gtid;
mod health;
mod journal;
mod monitor;
mod probe;
mod reads;
mod replication;
mod roles;
mod snapshot;

pub(crate) use balance::mix;
pub use balance::{Draw, Readers};
pub use facts::ServerFacts;
pub use gtid::Transactions;
pub use health::{Cause, Signal, State};
pub use monitor::{Position, Topology};
pub use reads::LeftOut;
pub use roles::Role;
pub use snapshot::{Server, Snapshot};
