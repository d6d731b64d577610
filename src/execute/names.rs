//! Names of a shard's schema and tables in the definitions of columns, put back to those that the client knows.
//!
//! Does not know: which shard, and why. Invariant: a definition that cannot be read passes as it came.

use crate::wire::buffer::Buffer;
use crate::wire::frame::{HEADER, lenenc_string, put_lenenc_string, put_packet};

/// What is called otherwise on the server than by the client.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Names {
    /// The schema: there, and for the client.
    pub schema: (Vec<u8>, Vec<u8>),
    /// Tables: there, and for the client.
    pub tables: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Names {
    /// Whether anything has another name there.
    pub fn differ(&self) -> bool {
        self.schema.0 != self.schema.1 || !self.tables.is_empty()
    }

    /// Rewrites the definition in the packet at `packet`; gives its new end.
    pub(super) fn put_back(&self, buffer: &mut Buffer, packet: std::ops::Range<usize>) -> usize {
        let bytes = &buffer.filled()[packet.clone()];
        let Some(payload) = self.of_definition(&bytes[HEADER..]) else { return packet.end };
        let mut fresh = Vec::with_capacity(HEADER + payload.len());
        put_packet(&mut fresh, bytes[3], &payload);
        buffer.replace(packet.clone(), &fresh);
        packet.start + fresh.len()
    }

    /// What the client calls a table.
    pub(super) fn of_client<'a>(&'a self, table: &'a [u8]) -> &'a [u8] {
        self.tables.iter().find(|(there, _)| there == table).map_or(table, |(_, known)| known)
    }

    /// The definition with the client's names; `None` where it has no other.
    pub fn of_definition(&self, definition: &[u8]) -> Option<Vec<u8>> {
        let (catalog, rest) = lenenc_string(definition)?;
        let (schema, rest) = lenenc_string(rest)?;
        if schema != self.schema.0 {
            return None;
        }
        let (table, rest) = lenenc_string(rest)?;
        let (origin, rest) = lenenc_string(rest)?;
        let mut fresh = Vec::with_capacity(definition.len());
        for name in [catalog, &self.schema.1, self.of_client(table), self.of_client(origin)] {
            put_lenenc_string(&mut fresh, name);
        }
        fresh.extend_from_slice(rest);
        Some(fresh)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::wire::buffer::Freelist;

    fn definition(names: [&str; 4]) -> Vec<u8> {
        let mut payload = Vec::new();
        names.iter().for_each(|name| put_lenenc_string(&mut payload, name.as_bytes()));
        payload.extend_from_slice(b"\x02id\x02id\x0c rest");
        payload
    }

    fn put_back(names: [&str; 4]) -> Vec<u8> {
        let own = Names {
            schema: (b"shop_0".to_vec(), b"shop".to_vec()),
            tables: vec![(b"orders_3".to_vec(), b"orders".to_vec())],
        };
        let mut buffer = Rc::new(Freelist::default()).take();
        let mut packet = b"before".to_vec();
        put_packet(&mut packet, 7, &definition(names));
        buffer.extend(&packet);
        buffer.extend(b"after");
        let stop = own.put_back(&mut buffer, 6..packet.len());
        assert_eq!((&buffer.filled()[..6], &buffer.filled()[stop..]), (&b"before"[..], &b"after"[..]));
        buffer.filled()[6..stop].to_vec()
    }

    #[test]
    fn names_of_a_shard_are_those_of_the_client_again() {
        let packet = |names| {
            let mut packet = Vec::new();
            put_packet(&mut packet, 7, &definition(names));
            packet
        };
        assert_eq!(
            put_back(["def", "shop_0", "orders_3", "orders_3"]),
            packet(["def", "shop", "orders", "orders"])
        );
        assert_eq!(put_back(["def", "shop_0", "o", "orders_3"]), packet(["def", "shop", "o", "orders"]));
        // Another schema, and what is no definition at all.
        assert_eq!(put_back(["def", "blog", "orders_3", "x"]), packet(["def", "blog", "orders_3", "x"]));
        assert_eq!(put_back(["", "", "", ""]), packet(["", "", "", ""]));
    }
}
