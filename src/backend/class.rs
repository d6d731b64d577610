//! The connection class: what is settled when a server connection is opened and cannot be changed later.
//!
//! Owns: which of a client's handshake values must be the same on the server's side. Does not know: pools.
//! Invariant: two connections of one account and one class answer a statement alike, byte for byte.

use crate::wire::capabilities::Capabilities;

/// What the connections that may serve a client have in common; part of the pool's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Class {
    /// Flags out of `Capabilities::CLASS`.
    pub capabilities: Capabilities,
    /// Id of the handshake's collation; 0, or an id that the server does not know, gives the server's default.
    pub collation: u8,
}

impl Class {
    /// The class that serves a client with these handshake values. A collation past 255 (COM_CHANGE_USER can
    /// name one) fits no handshake: the class has the server's default, and the session has to set its own.
    pub fn of(client: Capabilities, collation: u16) -> Self {
        let collation = u8::try_from(collation).unwrap_or(0);
        Self { capabilities: client.intersection(Capabilities::CLASS), collation }
    }

    /// The flags of our response to a server that offers `server`.
    pub(super) fn response_flags(self, server: Capabilities, tls: bool) -> Capabilities {
        let flags = self.capabilities.intersection(Capabilities::CLASS).union(ALWAYS).intersection(server);
        if tls { flags.union(Capabilities::SSL) } else { flags }
    }
}

/// Flags of every connection, where the server offers them. They change nothing that a client of another
/// class could see, or (SESSION_TRACK) what the relay takes out again.
const ALWAYS: Capabilities = Capabilities::LONG_PASSWORD
    .union(Capabilities::LONG_FLAG)
    .union(Capabilities::PROTOCOL_41)
    .union(Capabilities::TRANSACTIONS)
    .union(Capabilities::SECURE_CONNECTION)
    .union(Capabilities::MULTI_RESULTS)
    .union(Capabilities::PLUGIN_AUTH)
    .union(Capabilities::CONNECT_ATTRS)
    .union(Capabilities::PLUGIN_AUTH_LENENC_DATA)
    .union(Capabilities::MULTI_FACTOR_AUTHENTICATION) // to be asked for a second factor, and refuse it by name
    .union(Capabilities::SESSION_TRACK);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_keeps_what_changes_answers_and_nothing_else() {
        let client = Capabilities::FOUND_ROWS | Capabilities::DEPRECATE_EOF | Capabilities::SSL;
        let class = Class::of(client | Capabilities::CONNECT_WITH_DB, 45);
        assert_eq!(class.capabilities, Capabilities::FOUND_ROWS | Capabilities::DEPRECATE_EOF);
    }

    #[test]
    fn nothing_is_asked_that_the_server_does_not_offer() {
        let class = Class::of(Capabilities::all(), 45);
        let server = Capabilities::PROTOCOL_41 | Capabilities::FOUND_ROWS | Capabilities::COMPRESS;
        assert_eq!(class.response_flags(server, false), Capabilities::PROTOCOL_41 | Capabilities::FOUND_ROWS);
        assert!(class.response_flags(server, true).contains(Capabilities::SSL));
    }
}
