//! A checksum of one reply: whether a client that has seen one has seen the other.
//!
//! Owns: what of a reply counts. Does not know: where replies come from. Invariant: what differs between servers that hold the same
//! data does not count: status flags (which index was used, how slow it was) and session tracking.
//!
//! XXH64, which takes what comes in pieces, needs no memory, and costs a fraction of relaying the bytes.

use std::hash::Hasher;

use twox_hash::XxHash64;

use crate::wire::ok::Ok as OkPacket;

/// The checksum, as far as the reply has come.
#[derive(Clone, Debug)]
pub struct Sum {
    hash: XxHash64,
    length: u64,
}

impl Sum {
    /// Of nothing yet. Sums can be compared that have the same seed.
    pub fn new(seed: u64) -> Self {
        Self { hash: XxHash64::with_seed(seed), length: 0 }
    }

    /// Columns and rows, in pieces of any size.
    pub fn rows(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.hash.write(bytes);
    }

    /// An OK packet, also one that ends rows.
    pub fn ok(&mut self, ok: &OkPacket<'_>) {
        self.hash.write_u64(ok.affected_rows);
        self.hash.write_u64(ok.last_insert_id);
        self.hash.write_u16(ok.warnings);
        self.hash.write(ok.info);
        self.hash.write_u8(0xfe);
    }

    /// An EOF packet that ends rows.
    pub fn end(&mut self, warnings: u16) {
        self.hash.write_u16(warnings);
        self.hash.write_u8(0xfd);
    }

    /// The payload of an ERR packet.
    pub fn error(&mut self, payload: &[u8]) {
        self.hash.write(payload);
        self.hash.write_u8(0xff);
    }

    /// The sum so far.
    pub fn value(&self) -> u64 {
        self.hash.finish()
    }

    /// Bytes of columns and rows so far.
    pub fn length(&self) -> u64 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_do_not_matter_and_bytes_do() {
        let sum = |pieces: &[&[u8]]| {
            let mut sum = Sum::new(7);
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
        let sum = |ok: OkPacket<'_>| {
            let mut sum = Sum::new(7);
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
