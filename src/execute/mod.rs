//! Sends a plan's statement and relays its reply.
//!
//! Owns: the path of bytes between one client and one server connection, and what the reply's ends say.
//! Does not know: routes, pools. Invariant: rows pass as they came; a byte that went to the client is remembered,
//! so that nothing is ever sent twice.

pub mod client;
pub mod infile;
pub mod made;
pub mod messages;
pub mod names;
pub mod part;
pub mod relay;
pub mod sum;
pub mod told;
pub mod upload;
