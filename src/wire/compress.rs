//! The compressed protocol: frames around the packets (MySQL manual, "Compression").
//!
//! Owns: the frames of one connection, both ways: a 3-byte length, a number, the 3-byte length before compression (0:
//! the bytes are as they were), the bytes. Does not know: sockets.
//! Invariant: memory does not follow what a frame announces. It is unpacked into the reader's own space as it comes,
//! and one that unpacks to another length than it announced is refused.

use std::io;

use super::frame::{HEADER, Header, PAYLOAD_MAX};
use super::packer::{Compression, Progress, Unpacker, invalid, pack};

/// Bytes before each frame.
const FRAME_HEADER: usize = 7;
/// Less is not worth packing; servers have the same bound.
const PACKED_MIN: usize = 50;
/// Bytes of packets in one frame of ours: a core serves others between two of them.
const PART_MAX: usize = 64 * 1024;
/// Longest packet that waits until it is whole.
const HELD_MAX: usize = 256 * 1024;

/// Which side of the connection we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// We send commands.
    Client,
    /// We answer them.
    Server,
}

/// The frames of one connection.
#[derive(Debug)]
pub struct Codec {
    compression: Compression,
    side: Side,
    /// The next frame's number, in either direction.
    number: u8,
    /// The last packet that was written, and what is left of it to be written.
    last: Header,
    skip: usize,
    /// Of a packet that is not compressed: what is left of its frame.
    frame: usize,
    /// The beginning of a packet that waits for its rest.
    held: Vec<u8>,
    /// Something was read since a packet was written.
    heard: bool,
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    Header { bytes: [u8; FRAME_HEADER], filled: usize },
    Plain { left: usize },
    Packed { left: usize, due: usize, unpacker: Option<Unpacker> },
}

const BETWEEN_FRAMES: Reading = Reading::Header { bytes: [0; FRAME_HEADER], filled: 0 };

impl Codec {
    /// For a connection that has just been logged in.
    pub fn new(compression: Compression, side: Side) -> Self {
        let last = Header { length: 0, sequence: 0 };
        let (held, reading) = (Vec::new(), BETWEEN_FRAMES);
        Self { compression, side, number: 0, last, skip: 0, frame: 0, held, heard: true, reading }
    }

    /// The number that the packet after the last written one has.
    pub fn next_packet(&self) -> u8 {
        self.last.sequence.wrapping_add(1)
    }

    /// Unpacks frames out of `input` into `output`, until one of them is used up. Of a client's frames one at a time: the
    /// answer to a command is numbered after it, though the next may be there already.
    ///
    /// # Errors
    /// `InvalidData` for what is no frame.
    pub fn unpack(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<Progress> {
        let mut done = Progress::default();
        loop {
            let (from, into) = (&input[done.taken..], &mut output[done.given..]);
            match &mut self.reading {
                Reading::Header { bytes, filled } => {
                    if done.given > 0 && self.side == Side::Server {
                        return Ok(done);
                    }
                    let length = from.len().min(FRAME_HEADER - *filled);
                    bytes[*filled..*filled + length].copy_from_slice(&from[..length]);
                    *filled += length;
                    done.taken += length;
                    if *filled < FRAME_HEADER {
                        return Ok(done);
                    }
                    let header = *bytes;
                    self.open(header)?;
                }
                Reading::Plain { left } => {
                    let length = from.len().min(into.len()).min(*left);
                    into[..length].copy_from_slice(&from[..length]);
                    *left -= length;
                    done.taken += length;
                    done.given += length;
                    if *left > 0 {
                        return Ok(done);
                    }
                    self.reading = BETWEEN_FRAMES;
                }
                Reading::Packed { left, due, unpacker } => {
                    let from = &from[..from.len().min(*left)];
                    let room = into.len().min(*due);
                    if *due > 0 && room == 0 {
                        return Ok(done);
                    }
                    // With all of it unpacked, what is left may only be the end of the compressed data.
                    let mut excess = [0];
                    let into = if *due == 0 { &mut excess[..] } else { &mut into[..room] };
                    let Some(codec) = unpacker else { return Err(io::ErrorKind::InvalidData.into()) };
                    let step = codec.run(from, into)?;
                    if *due == 0 && step.progress.given > 0 {
                        return Err(invalid("a frame unpacks to more than it announced"));
                    }
                    *left -= step.progress.taken;
                    *due -= step.progress.given;
                    done.taken += step.progress.taken;
                    done.given += step.progress.given;
                    if step.ended {
                        if *left > 0 || *due > 0 {
                            return Err(invalid("a frame unpacks to another length than it announced"));
                        }
                        if let Some(unpacker) = unpacker.take() {
                            unpacker.keep();
                        }
                        self.reading = BETWEEN_FRAMES;
                    } else if step.progress == Progress::default() {
                        let starved = *left > 0 && from.is_empty();
                        return if starved { Ok(done) } else { Err(invalid("a frame does not end")) };
                    }
                }
            }
        }
    }

    /// Takes in a frame's header. A client's frames count on from our answers, or begin a command at 0; a server's are
    /// not checked, because the answers to commands that went out together have numbers of their own.
    fn open(&mut self, header: [u8; FRAME_HEADER]) -> io::Result<()> {
        let [a, b, c, number, x, y, z] = header;
        let left = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16; // int<3>
        let due = usize::from(x) | usize::from(y) << 8 | usize::from(z) << 16; // int<3>
        if left == 0 {
            return Err(invalid("an empty frame"));
        }
        if self.side == Side::Server && number != 0 && number != self.number {
            return Err(invalid("a frame is out of order"));
        }
        self.number = number.wrapping_add(1);
        self.heard = true;
        self.reading = match due {
            0 => Reading::Plain { left },
            _ => Reading::Packed { left, due, unpacker: Some(Unpacker::of(self.compression.algorithm)?) },
        };
        Ok(())
    }

    /// Appends frames with a first part of `packets` to `out`; gives the length of that part, 0 only for nothing.
    ///
    /// To a client a packet goes whole in one frame, as servers send it: mysql-connector-python reads on over one end of a
    /// frame, and no further. So one that is not whole waits for its rest, and a large one, which would hold memory and the
    /// core for long, is not compressed.
    pub fn pack(&mut self, packets: &[u8], out: &mut Vec<u8>) -> usize {
        match self.side {
            Side::Client => {
                let length = self.part(packets);
                self.put(&packets[..length], out);
                length
            }
            Side::Server if self.skip > 0 => self.pass(packets, out),
            Side::Server if !self.held.is_empty() => self.complete(packets, out),
            Side::Server => match self.whole(packets) {
                0 if self.skip > 0 => self.pass(packets, out),
                0 => self.complete(packets, out),
                length => {
                    self.put(&packets[..length], out);
                    length
                }
            },
        }
    }

    /// Appends one frame.
    fn put(&mut self, part: &[u8], out: &mut Vec<u8>) {
        if part.is_empty() {
            return;
        }
        let start = out.len();
        let body = start + FRAME_HEADER;
        // What does not become smaller goes as it is.
        out.resize(body + part.len() - 1, 0);
        let small = part.len() < PACKED_MIN;
        let packed = if small { None } else { pack(self.compression, part, &mut out[body..]) };
        out.truncate(body + packed.unwrap_or(0));
        if packed.is_none() {
            out.extend_from_slice(part);
        }
        let header = self.header(out.len() - body, packed.map_or(0, |_| part.len()));
        out[start..body].copy_from_slice(&header);
    }

    /// The next frame's header.
    fn header(&mut self, length: usize, due: usize) -> [u8; FRAME_HEADER] {
        let ([a, b, c, ..], [x, y, z, ..]) = (length.to_le_bytes(), due.to_le_bytes());
        let number = self.number;
        self.number = number.wrapping_add(1);
        [a, b, c, number, x, y, z]
    }

    /// How much of a command's `packets` goes into the next frame; another command begins one.
    fn part(&mut self, packets: &[u8]) -> usize {
        let end = packets.len().min(PART_MAX);
        let mut at = 0;
        loop {
            let passed = self.skip.min(end - at);
            self.skip -= passed;
            at += passed;
            let Some(header) = Header::parse(&packets[at..end]).filter(|_| self.skip == 0) else {
                // A header that does not fit waits for the next frame.
                return if at == 0 { end } else { at };
            };
            if at > 0 && self.begins(header.sequence) {
                return at;
            }
            self.note(header);
            self.skip = HEADER + header.length;
        }
    }

    /// How long the packets are at the start of an answer's `packets` that are whole, and go into one frame.
    fn whole(&mut self, packets: &[u8]) -> usize {
        let mut at = 0;
        while at < PART_MAX
            && let Some(header) = Header::parse(&packets[at..])
        {
            let length = HEADER + header.length;
            let large = length > HELD_MAX;
            if at > 0 && (large || self.begins(header.sequence)) || !large && packets.len() < at + length {
                break;
            }
            self.note(header);
            if large {
                self.skip = length;
                break;
            }
            at += length;
        }
        at
    }

    /// Takes more of a packet that goes into a frame whole.
    fn complete(&mut self, packets: &[u8], out: &mut Vec<u8>) -> usize {
        let mut taken = 0;
        loop {
            let wanted = Header::parse(&self.held).map_or(HEADER, |header| HEADER + header.length);
            let more = packets.len().min(taken + wanted.saturating_sub(self.held.len()));
            self.held.extend_from_slice(&packets[taken..more]);
            taken = more;
            match Header::parse(&self.held) {
                Some(header) if self.held.len() == HEADER + header.length => break self.note(header),
                // The header has just become whole.
                Some(header) if self.held.len() == HEADER && HEADER + header.length > HELD_MAX => {
                    self.note(header);
                    self.skip = HEADER + header.length;
                    let held = std::mem::take(&mut self.held);
                    self.pass(&held, out);
                    return taken;
                }
                _ if taken == packets.len() => return taken,
                _ => {}
            }
        }
        let held = std::mem::take(&mut self.held);
        self.put(&held, out);
        taken
    }

    /// Passes some of a large packet as it is, in a frame that was begun for all of it.
    fn pass(&mut self, packets: &[u8], out: &mut Vec<u8>) -> usize {
        if self.frame == 0 {
            self.frame = self.skip.min(PAYLOAD_MAX);
            let header = self.header(self.frame, 0);
            out.extend_from_slice(&header);
        }
        let length = packets.len().min(self.frame).min(PART_MAX);
        out.extend_from_slice(&packets[..length]);
        self.frame -= length;
        self.skip -= length;
        length
    }

    /// A packet is written that has this header.
    fn note(&mut self, header: Header) {
        if self.begins(header.sequence) {
            self.number = header.sequence;
        }
        self.last = header;
        self.heard = false;
    }

    /// Whether a packet with this number does not follow the one before.
    fn begins(&self, sequence: u8) -> bool {
        let follows = sequence == self.next_packet();
        match self.side {
            // Numbers come round to 0, in a file of the client above all.
            Side::Client => sequence == 0 && self.last.length < PAYLOAD_MAX && (self.heard || !follows),
            Side::Server => sequence == 1 && !follows && !self.heard,
        }
    }
}

#[cfg(test)]
#[path = "compress_tests.rs"]
mod tests;
