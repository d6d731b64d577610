//! Clients: accept, TLS, authentication, limits.
//!
//! Owns: a client's way from its first byte to a known account. Does not know: statements, routes, pools.
//! Invariant: no client is let in whose password was not proven against one that the file gives or that the
//! servers have accepted; no password is logged, printed or kept on disk.

pub mod accounts;
mod certificate;
pub mod context;
mod cores;
mod error;
mod exchange;
mod fleet;
mod gatekeeper;
pub mod judge;
mod listener;
pub mod login;
mod operators;
mod overrides;
pub mod proxy;
mod rescue;
pub mod rsa;
pub mod steering;
mod steward;
#[cfg(test)]
mod testing;
pub mod tls;
