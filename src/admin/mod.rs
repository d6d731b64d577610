//! The operators' side: what the program says of itself over HTTP.
//!
//! Owns: the HTTP endpoints and what they show. Does not know: clients' sessions, statements.
//! Invariant: nothing here changes what the data plane does, and no request holds a connection for long.

pub mod http;
mod listener;
mod servers;
