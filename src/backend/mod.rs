//! One server connection: connect, TLS, authentication, state, prepared cache; the pool and its check-in ladder.
//!
//! Owns: everything between us and one server. Does not know: clients, plans, which server is to be used.
//! Invariant: a password goes to a server only as a scramble, over TLS, or encrypted by RSA.

pub mod account;
pub mod auth;
pub mod class;
pub mod connect;
pub mod tls;
