//! The operators' side: what the program says of itself over HTTP and in SQL.
//!
//! Owns: the HTTP endpoints, the SQL console, and what they show. Does not know: what sessions do with statements.
//! Invariant: what changes the data plane (the console's KILL, RELOAD and orders about servers) is carried out by others and logged; no
//! request holds anything of it for long.

pub mod console;
pub mod http;
mod listener;
mod servers;
