//! What a shard's errors call things, in the words that the client knows.
//!
//! Owns: errors. Does not know: columns (`execute::names`), which shard it is.

use crate::execute::relay::End;
use crate::session::{Session, reply};
use crate::wire::err::ErrPacket;

/// Characters of an error that MySQL lets a statement make.
const TEXT_MAX: usize = 128;

impl Session {
    /// A shard's error in the names that the client knows.
    pub(in crate::session) fn in_own_names(&self, error: ErrPacket) -> ErrPacket {
        let named = self.client.names.as_ref().and_then(|names| names.of_error(&error));
        named.unwrap_or(error)
    }

    /// The same of an error that the client is about to be sent.
    pub(in crate::session) fn tell_in_own_names(&self, end: &mut End) {
        let (Some(names), Some(error)) = (&self.client.names, &mut end.error) else { return };
        let named = error.packet.as_ref().filter(|_| error.unsent.is_some());
        let Some(named) = named.and_then(|packet| names.of_error(packet)) else { return };
        error.unsent = Some(reply::error(self.sequence, &named));
        // SHOW WARNINGS tells it so where a server can be made to.
        if named.message.len() <= TEXT_MAX {
            (error.packet, error.renamed) = (Some(named), true);
        }
    }
}
