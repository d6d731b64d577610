//! Another server becomes the primary by Tidegate itself: when the primary is gone, or because an operator wants it.
//!
//! Owns: `failover: {mode: promote}`. Does not know: sessions; who waits for a primary sees the next snapshot. Invariant: roles are changed
//! only by who holds the lease; one server is made writable only after all others that answer have been made sure of.
//!
//! | File | What |
//! |---|---|
//! | `plight` | pure: what is wrong, by the probes |
//! | `seat` | pure: what each server said when it was asked |
//! | `election` | pure: is the primary really gone, and who takes its place |
//! | `joining` | pure: who may follow the primary as it is |
//! | `halt` | pure: what becomes of a switchover that did not come to its end |
//! | `words` | pure: both dialects' statements |
//! | `semisync` | pure: what is set of semi-synchronous replication |
//! | `hand`, `lease` | connections for one act, and the right to act |
//! | `mark` | what tells, durably, that a switchover has begun |
//! | `barrier` | a server is shut out though its clients are in the way |
//! | `warden` | the task: which act is due, and its log |
//! | `failover`, `guard`, `following` | the acts: a lost primary is replaced; who may write; who is to follow |
//! | `handover`, `resumption` | a planned switchover; one that broke off |
//! | `tidying` | what else acts that broke off have left |
//! | `tally` | what is counted of all that |

mod barrier;
mod election;
mod failover;
mod following;
mod guard;
mod halt;
mod hand;
mod handover;
mod joining;
mod lease;
mod mark;
mod plight;
mod resumption;
mod seat;
mod semisync;
mod tally;
mod tidying;
mod warden;
mod words;

pub(super) use plight::{Plight, plight};
pub use tally::Tally;
pub use warden::Quiet;
pub(super) use warden::Warden;
#[cfg(test)]
pub(super) use words::HANDS_OVER;
