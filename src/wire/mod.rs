//! The MySQL client/server protocol: framing, handshake, commands, OK/ERR/EOF, replies' ends.
//!
//! Owns: bytes ↔ meaning, for both sides. Does not know: who is connected, routes, pools.
//! Invariant: no function here panics on any input, and every length is bounded before memory is taken.

pub mod auth;
pub mod buffer;
pub mod capabilities;
pub mod column;
pub mod command;
pub mod compress;
pub mod cursor;
pub mod err;
pub mod execute;
pub mod frame;
pub mod handshake;
pub mod ok;
pub mod packer;
pub mod packet_io;
pub mod parameters;
pub mod proxy_header;
pub mod reply;
pub mod socket;
pub mod stream;
pub mod track;
