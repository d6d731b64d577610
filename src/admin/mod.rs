//! The operators' side: what the program says of itself over HTTP and in SQL.
//!
//! Owns: the HTTP endpoints, the SQL console, and what they show. Does not know: what sessions do with statements.
//! Invariant: apart from the console's KILL nothing here changes what the data plane does, and no request holds
//! anything of it for long.

pub mod console;
pub mod http;
mod listener;
mod servers;
