//! Configuration: raw YAML resolved once into the values that the program passes around.
//!
//! Owns: the rules file's language, its defaults, and its errors (all of them at once, each with file,
//! line, column and a snippet). Does not know: sockets, servers, the clock.
//! Invariant: a `Config` that exists is whole and cross-checked; nothing later needs to validate it again.

mod model;

pub use model::*;
