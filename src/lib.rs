//! Tidegate: a MySQL-protocol proxy for read/write splitting.
//!
//! Layers, each may use those below it and none above (`layers.rs` holds it):
//!
//! ```text
//! main
//! frontend explain survey    accept, TLS, authentication of clients; assembly; `tidegate route`; `tidegate check --connect`
//! session  admin      one client's state machine; HTTP and SQL for operators
//! registry            all sessions, as others may see them
//! plan     execute    where a statement goes, and why; relay of its reply
//! merge               several shards' rows become one result
//! backend  topology   server connections and pools; servers, roles, health
//! observe             counters, read by `admin`
//! wire  sql  config   protocol, lexer, rules file; no I/O policy
//! shard               sharding rules: keys and their places; pure
//! ids  consistency  balance  generate    newtypes, levels, methods, unique values
//! ```
//!
//! Read `docs/architecture.md` for the code map with invariants.
//!
//! Lints: see `[lints]` in `Cargo.toml`; each line there says why.

pub mod admin;
pub mod backend;
pub mod balance;
pub mod config;
pub mod consistency;
#[cfg(test)]
mod documents;
pub mod execute;
pub mod explain;
pub mod frontend;
pub mod generate;
pub mod ids;
#[cfg(test)]
mod layers;
pub mod merge;
pub mod observe;
pub mod plan;
pub mod registry;
pub mod session;
pub mod shard;
pub mod sql;
pub mod survey;
pub mod topology;
pub mod wire;
