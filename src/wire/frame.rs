//! Packets: a 3-byte length, a sequence number, a payload (MySQL manual, "Protocol::Packet").

/// Bytes before each payload.
pub const HEADER: usize = 4;
/// A payload of this length goes on in the next packet.
pub const PAYLOAD_MAX: usize = 0xff_ff_ff;

/// A packet's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Bytes of payload that follow.
    pub length: usize,
    /// Number of the packet within its exchange, modulo 256.
    pub sequence: u8,
}

impl Header {
    /// Reads the header at the start of `bytes`, if all four bytes are there.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, sequence] = bytes.first_chunk::<4>()?;
        Some(Self { length: usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16, sequence }) // int<3>, int<1>
    }
}

/// Appends `payload` as one packet, or as several where it is 16 MiB or longer; returns the next sequence number.
pub fn put_packet(out: &mut Vec<u8>, mut sequence: u8, payload: &[u8]) -> u8 {
    let mut rest = payload;
    loop {
        let (part, after) = rest.split_at(rest.len().min(PAYLOAD_MAX));
        put_header(out, part.len(), sequence);
        out.extend_from_slice(part);
        sequence = sequence.wrapping_add(1);
        if part.len() < PAYLOAD_MAX {
            return sequence;
        }
        rest = after;
    }
}

/// Appends the header of a packet shorter than 16 MiB.
pub fn put_header(out: &mut Vec<u8>, length: usize, sequence: u8) {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&[length[0], length[1], length[2], sequence]);
}

/// Gives packets that pass consecutive numbers. Those that cross a compressed connection need it: after each flush a
/// server counts its packets on from the number of frames, and so do clients in a file that they send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Renumber {
    /// The next packet's number.
    pub next: u8,
    /// Bytes of the packet that passes still to come.
    skip: usize,
    /// What has passed of the header before them.
    header: [u8; 3],
    filled: usize,
}

impl Renumber {
    /// The next packet to pass gets this number.
    pub fn from(next: u8) -> Self {
        Self { next, skip: 0, header: [0; 3], filled: 0 }
    }

    /// Passes bytes that follow those before, cut anywhere.
    pub fn pass(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len() - at);
                self.skip -= passed;
                at += passed;
                continue;
            }
            if let Some(place) = self.header.get_mut(self.filled) {
                *place = bytes[at];
                self.filled += 1;
            } else {
                bytes[at] = self.next;
                let [a, b, c] = self.header;
                *self = Self::from(self.next.wrapping_add(1));
                self.skip = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
            }
            at += 1;
        }
    }
}

/// Reads a length-encoded integer; gives it with the bytes after it. `None` when short or not an integer.
pub fn lenenc(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let width = match first {
        0..=0xfa => return Some((u64::from(first), rest)),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let (number, rest) = rest.split_at_checked(width)?;
    let mut wide = [0; 8];
    wide[..width].copy_from_slice(number);
    Some((u64::from_le_bytes(wide), rest))
}

/// Reads a length-encoded string; gives it with the bytes after it.
pub fn lenenc_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = lenenc(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// Appends a length-encoded integer.
pub fn put_lenenc(out: &mut Vec<u8>, number: u64) {
    let bytes = number.to_le_bytes();
    match number {
        0..=0xfa => out.push(bytes[0]),
        0xfb..=0xffff => out.extend_from_slice(&[0xfc, bytes[0], bytes[1]]),
        0x1_0000..=0xff_ffff => out.extend_from_slice(&[0xfd, bytes[0], bytes[1], bytes[2]]),
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Appends a length-encoded string.
pub fn put_lenenc_string(out: &mut Vec<u8>, string: &[u8]) {
    put_lenenc(out, string.len() as u64);
    out.extend_from_slice(string);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenenc_integers_survive_the_round_trip() {
        for number in [0, 0xfa, 0xfb, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000, u64::MAX] {
            let mut out = Vec::new();
            put_lenenc(&mut out, number);
            assert_eq!(lenenc(&out), Some((number, &[][..])));
            assert_eq!(lenenc(&out[..out.len() - 1]), None, "truncated {number}");
        }
    }

    #[test]
    fn packets_are_renumbered_however_they_are_cut() {
        let (mut wrong, mut right) = (Vec::new(), Vec::new());
        for (was, becomes, length) in [(9, 254, 3), (10, 255, 0), (2, 0, 300), (2, 1, 1)] {
            put_packet(&mut wrong, was, &vec![7; length]);
            put_packet(&mut right, becomes, &vec![7; length]);
        }
        for piece in 1..wrong.len() {
            let (mut renumber, mut bytes) = (Renumber::from(254), wrong.clone());
            bytes.chunks_mut(piece).for_each(|piece| renumber.pass(piece));
            assert_eq!((bytes, renumber), (right.clone(), Renumber::from(2)), "by {piece}");
        }
    }

    #[test]
    fn a_payload_of_exactly_16_mib_ends_with_an_empty_packet() {
        let mut out = Vec::new();
        let next = put_packet(&mut out, 0, &vec![7; PAYLOAD_MAX]);
        assert_eq!(next, 2);
        assert_eq!(Header::parse(&out), Some(Header { length: PAYLOAD_MAX, sequence: 0 }));
        assert_eq!(out[HEADER + PAYLOAD_MAX..], [0, 0, 0, 1]);
    }
}
