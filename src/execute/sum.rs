//! A checksum of one reply: whether a client that has seen one has seen the other.
//!
//! Owns: what of a reply counts. Does not know: where replies come from. Invariant: what differs between servers that hold the same
//! data does not count: status flags (which index was used, how slow it was) and session tracking.

use std::hash::{BuildHasher, DefaultHasher, Hasher, RandomState};

use crate::wire::ok::Ok as OkPacket;

/// The checksum, as far as the reply has come.
#[derive(Clone, Debug)]
pub struct Sum(DefaultHasher);

impl Sum {
    /// Of nothing yet. Sums can be compared that have the same keys.
    pub fn new(keys: &RandomState) -> Self {
        Self(keys.build_hasher())
    }

    /// Columns and rows, in pieces of any size.
    pub fn rows(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// An OK packet, also one that ends rows.
    pub fn ok(&mut self, ok: &OkPacket<'_>) {
        self.0.write_u64(ok.affected_rows);
        self.0.write_u64(ok.last_insert_id);
        self.0.write_u16(ok.warnings);
        self.0.write(ok.info);
        self.0.write_u8(0xfe);
    }

    /// An EOF packet that ends rows.
    pub fn end(&mut self, warnings: u16) {
        self.0.write_u16(warnings);
        self.0.write_u8(0xfd);
    }

    /// The payload of an ERR packet.
    pub fn error(&mut self, payload: &[u8]) {
        self.0.write(payload);
        self.0.write_u8(0xff);
    }

    /// The sum so far.
    pub fn value(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_matter_and_bytes_do() {
        let keys = RandomState::new();
        let sum = |pieces: &[&[u8]]| {
            let mut sum = Sum::new(&keys);
            pieces.iter().for_each(|piece| sum.rows(piece));
            sum.value()
        };
        let text: Vec<u8> = (0..100).collect();
        for cut in 0..text.len() {
            assert_eq!(sum(&[&text]), sum(&[&text[..cut], &text[cut..]]), "cut at {cut}");
        }
        assert_ne!(sum(&[b"a"]), sum(&[b"b"]));
    }

    #[test]
    fn flags_do_not_count_and_what_was_done_does() {
        let keys = RandomState::new();
        let sum = |ok: OkPacket<'_>| {
            let mut sum = Sum::new(&keys);
            sum.ok(&ok);
            sum.value()
        };
        let plain = OkPacket::default();
        let slow = OkPacket { status: crate::wire::ok::Status::SLOW, changes: b"x", ..plain };
        assert_eq!(sum(plain), sum(slow));
        for other in [
            OkPacket { affected_rows: 1, ..plain },
            OkPacket { last_insert_id: 1, ..plain },
            OkPacket { warnings: 1, ..plain },
            OkPacket { info: b"Rows matched: 1", ..plain },
        ] {
            assert_ne!(sum(plain), sum(other), "{other:?}");
        }
    }
}
