//! Tidegate: a MySQL-protocol proxy for read/write splitting.
//!
//! Layers, each may use those below it and none above (`layers` test in this file's crate holds it):
//!
//! ```text
//! main, admin
//! frontend            accept, TLS, authentication of clients
//! session             one client's state machine
//! plan     execute    where a statement goes, and why; relay of its reply
//! backend  topology   server connections and pools; servers, roles, health
//! observe             counters, read by `admin`
//! wire  sql  config   protocol, lexer, rules file; no I/O policy
//! ids                 newtypes
//! ```
//!
//! Read `docs/architecture.md` for the code map with invariants.
//!
//! Lints: see `[lints]` in `Cargo.toml`; each line there says why.

pub mod admin;
pub mod backend;
pub mod config;
pub mod execute;
pub mod frontend;
pub mod ids;
pub mod observe;
pub mod plan;
pub mod sql;
pub mod topology;
pub mod wire;
