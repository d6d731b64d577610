//! One server connection: connect, TLS, authentication, state, prepared cache; the pool and its check-in ladder.
//!
//! Owns: everything between us and one server. Does not know: clients, plans, which server is to be used.
//! Invariant: a password goes to a server only as a scramble, over TLS, or encrypted by RSA.

pub mod account;
pub mod auth;
pub mod class;
pub mod connect;
pub mod connection;
pub mod epoch;
pub mod exchange;
pub mod gate;
pub mod insert_id;
pub mod names;
pub mod pem;
pub mod pool;
pub mod room;
pub mod server;
pub mod spill;
pub mod state;
pub mod statements;
pub mod texts;
pub mod tls;
pub mod variables;

use crate::sql::Dialect;

/// The product behind a version text such as `10.11.14-MariaDB-log` or `9.7.4`.
pub fn dialect_of(version: &[u8]) -> Dialect {
    let maria = version.windows(7).any(|window| window.eq_ignore_ascii_case(b"mariadb"));
    if maria { Dialect::MariaDb } else { Dialect::MySql }
}

/// A byte that differs from call to call; not for secrets.
fn random_byte() -> u8 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(0).to_le_bytes()[0]
}
