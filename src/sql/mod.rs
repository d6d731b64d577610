//! The lexer pass: what a statement is, by its bytes, before any parser.
//!
//! Owns: class, uses, hints, digest, literals' spans, named tables, for the languages of MySQL and MariaDB.
//! Does not know: sessions, servers, rules. Invariant: never panics, never allocates in `recognise`,
//! linear in the statement's length; in doubt the answer is the one that sends the statement to the primary.

mod model;

pub use model::*;
