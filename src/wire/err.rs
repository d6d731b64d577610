//! ERR packets (MySQL manual, "ERR_Packet").
//!
//! Owns: their bytes. Does not know: which errors there are. Invariant: a server's message passes byte for byte.

use std::fmt;

use super::cursor::Cursor;

/// First byte of an ERR packet.
pub const HEADER: u8 = 0xff;

/// SQLSTATE of errors that have no better one.
const GENERAL: [u8; 5] = *b"HY000";

/// An error as it goes over the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrPacket {
    /// The error's number.
    pub code: u16,
    /// Its SQLSTATE.
    pub sqlstate: [u8; 5],
    /// The message, in the connection's charset.
    pub message: Vec<u8>,
}

impl ErrPacket {
    /// An error of our own.
    pub fn new(code: u16, sqlstate: &[u8; 5], message: impl Into<Vec<u8>>) -> Self {
        Self { code, sqlstate: *sqlstate, message: message.into() }
    }

    /// The payload for a client of the 4.1 protocol.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(9 + self.message.len());
        payload.push(HEADER);
        payload.extend_from_slice(&self.code.to_le_bytes()); // int<2>
        payload.push(b'#'); // string[1] sql_state_marker
        payload.extend_from_slice(&self.sqlstate); // string[5]
        payload.extend_from_slice(&self.message); // string<EOF>
        payload
    }

    /// Reads a payload; `None` where it is no ERR packet. The SQLSTATE may be missing: a server that refuses a
    /// connection before the handshake does not know yet whether the client reads it.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8()? != HEADER {
            return None;
        }
        let code = cursor.u16()?;
        let text = cursor.rest();
        let (sqlstate, message) = match text.strip_prefix(b"#").and_then(|tail| tail.split_first_chunk::<5>()) {
            Some((sqlstate, message)) => (*sqlstate, message),
            None => (GENERAL, text),
        };
        Some(Self { code, sqlstate, message: message.to_vec() })
    }
}

impl fmt::Display for ErrPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, sqlstate, message } = self;
        write!(f, "{code} ({}): {}", String::from_utf8_lossy(sqlstate), String::from_utf8_lossy(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let error = ErrPacket::new(1045, b"28000", "Access denied");
        assert_eq!(ErrPacket::decode(&error.encode()), Some(error));
    }

    #[test]
    fn before_the_handshake_mariadb_10_11() {
        let error = ErrPacket::decode(b"\xff\x10\x04Too many connections").unwrap();
        assert_eq!((error.code, &error.sqlstate, &error.message[..]), (1040, b"HY000", &b"Too many connections"[..]));
    }

    #[test]
    fn short_or_foreign_packets_are_none() {
        for payload in [&b""[..], b"\x00", b"\xff", b"\xff\x10"] {
            assert_eq!(ErrPacket::decode(payload), None);
        }
        assert_eq!(ErrPacket::decode(b"\xff\x10\x04#0800").unwrap().message, b"#0800");
    }
}
