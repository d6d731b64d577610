//! The compressed protocol: frames around the packets (MySQL manual, "Compression").
//!
//! Owns: the frames of one connection, both ways: a 3-byte length, a number, the 3-byte length before compression (0:
//! the bytes are as they were), the bytes. Does not know: sockets.
//! Invariant: memory does not follow what a frame announces. It is unpacked into the reader's own space as it comes,
//! and one that unpacks to another length than it announced is refused.

use std::cell::RefCell;
use std::io;

use super::capabilities::Capabilities;
use super::frame::{HEADER, Header, PAYLOAD_MAX};

/// Bytes before each frame.
const FRAME_HEADER: usize = 7;
/// Less is not worth packing; servers have the same bound.
const PACKED_MIN: usize = 50;
/// Bytes of packets in one frame of ours: a core serves others between two of them.
const PART_MAX: usize = 64 * 1024;
/// What servers compress with; only time and size depend on it.
const ZLIB_LEVEL: u32 = 6;
/// The level where nobody asks for another, as the servers have it.
const ZSTD_LEVEL: u8 = 3;
/// A client may ask for up to 22; the core's time is not only its own.
const ZSTD_LEVEL_MAX: u8 = 9;
/// 16 MiB, as much as a frame can unpack to (log2).
const ZSTD_WINDOW_LOG_MAX: u32 = 24;
/// Unpackers that a thread keeps for later frames.
const SPARE_MAX: usize = 4;

/// How bytes are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// `CLIENT_COMPRESS`.
    Zlib,
    /// `CLIENT_ZSTD_COMPRESSION_ALGORITHM`.
    Zstd,
}

/// An algorithm and what it needs to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compression {
    algorithm: Algorithm,
    level: u8,
}

impl Compression {
    /// What a client asks for by its flags, as far as they were offered; `level` is the last byte of its response, for
    /// zstd. Of both, servers take zlib.
    pub fn asked(flags: Capabilities, level: Option<u8>) -> Option<Self> {
        if flags.contains(Capabilities::COMPRESS) {
            return Some(Algorithm::Zlib.into());
        }
        let level = level.unwrap_or(ZSTD_LEVEL).clamp(1, ZSTD_LEVEL_MAX);
        flags.contains(Capabilities::ZSTD_COMPRESSION).then_some(Self { algorithm: Algorithm::Zstd, level })
    }

    /// The flag that asks for it.
    pub fn flag(self) -> Capabilities {
        self.algorithm.flag()
    }

    /// The level, as the response to a server's greeting names it.
    pub fn level(self) -> u8 {
        self.level
    }
}

impl Algorithm {
    /// The flag that asks for it.
    pub fn flag(self) -> Capabilities {
        match self {
            Self::Zlib => Capabilities::COMPRESS,
            Self::Zstd => Capabilities::ZSTD_COMPRESSION,
        }
    }
}

impl From<Algorithm> for Compression {
    fn from(algorithm: Algorithm) -> Self {
        Self { algorithm, level: ZSTD_LEVEL }
    }
}

/// Which side of the connection we are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// We send commands.
    Client,
    /// We answer them.
    Server,
}

/// What [`Codec::unpack`] has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Bytes of the input that are done with.
    pub taken: usize,
    /// Bytes of the output that are filled.
    pub given: usize,
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
        Self { compression, side, number: 0, last, skip: 0, heard: true, reading: BETWEEN_FRAMES }
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

    /// Appends a frame with a first part of `packets` to `out`; gives the length of that part, 0 only for nothing. A
    /// packet's header must not be cut by two calls.
    pub fn pack(&mut self, packets: &[u8], out: &mut Vec<u8>) -> usize {
        let length = self.part(packets);
        let part = &packets[..length];
        if part.is_empty() {
            return 0;
        }
        let start = out.len();
        let body = start + FRAME_HEADER;
        // What does not become smaller goes as it is.
        out.resize(body + length - 1, 0);
        let packed = if length < PACKED_MIN { None } else { pack(self.compression, part, &mut out[body..]) };
        let due = packed.map_or(0, |_| length);
        out.truncate(body + packed.unwrap_or(0));
        if packed.is_none() {
            out.extend_from_slice(part);
        }
        let [a, b, c, ..] = (out.len() - body).to_le_bytes();
        let [x, y, z, ..] = due.to_le_bytes();
        out[start..body].copy_from_slice(&[a, b, c, self.number, x, y, z]);
        self.number = self.number.wrapping_add(1);
        length
    }

    /// How much of `packets` goes into the next frame: a command, or an answer that nobody waits for, begins one.
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
            if self.begins(header.sequence) {
                if at > 0 {
                    return at;
                }
                self.number = header.sequence;
            }
            self.last = header;
            self.heard = false;
            self.skip = HEADER + header.length;
        }
    }

    /// Whether a packet with this number does not follow the one before.
    fn begins(&self, sequence: u8) -> bool {
        let follows = sequence == self.next_packet();
        match self.side {
            // Numbers come round to 0, in a file of the client above all.
            Side::Client => sequence == 0 && self.last.length < PAYLOAD_MAX && !(follows && !self.heard),
            Side::Server => sequence == 1 && !follows && !self.heard,
        }
    }
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The packers of a thread. Each frame is on its own, so connections need none of theirs.
#[derive(Default)]
struct Packers {
    zlib: Option<flate2::Compress>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

thread_local! {
    static PACKERS: RefCell<Packers> = RefCell::default();
    static SPARE: RefCell<Vec<Unpacker>> = const { RefCell::new(Vec::new()) };
}

/// Compresses `bytes` into `out`; gives the length, or `None` when it does not fit.
fn pack(compression: Compression, bytes: &[u8], out: &mut [u8]) -> Option<usize> {
    PACKERS.with_borrow_mut(|packers| match compression.algorithm {
        Algorithm::Zlib => {
            let level = flate2::Compression::new(ZLIB_LEVEL);
            let zlib = packers.zlib.get_or_insert_with(|| flate2::Compress::new(level, true));
            zlib.reset();
            let status = zlib.compress(bytes, out, flate2::FlushCompress::Finish).ok()?;
            let length = usize::try_from(zlib.total_out()).ok()?;
            (status == flate2::Status::StreamEnd).then_some(length)
        }
        Algorithm::Zstd => {
            let mut zstd = match packers.zstd.take() {
                Some(zstd) => zstd,
                None => zstd::bulk::Compressor::new(0).ok()?,
            };
            zstd.set_compression_level(compression.level.into()).ok()?;
            let length = zstd.compress_to_buffer(bytes, out).ok();
            packers.zstd = Some(zstd);
            length
        }
    })
}

/// Unpacks one frame after another.
enum Unpacker {
    Zlib(Box<flate2::Decompress>),
    Zstd(zstd::stream::raw::Decoder<'static>),
}

struct Unpacked {
    progress: Progress,
    ended: bool,
}

impl Unpacker {
    fn of(algorithm: Algorithm) -> io::Result<Self> {
        let suits = |unpacker: &Self| matches!(unpacker, Self::Zlib(_)) == (algorithm == Algorithm::Zlib);
        let spare = SPARE.with_borrow_mut(|spare| Some(spare.swap_remove(spare.iter().position(suits)?)));
        match (spare, algorithm) {
            (Some(spare), _) => Ok(spare),
            (None, Algorithm::Zlib) => Ok(Self::Zlib(Box::new(flate2::Decompress::new(true)))),
            (None, Algorithm::Zstd) => {
                let mut decoder = zstd::stream::raw::Decoder::new()?;
                decoder.set_parameter(zstd::stream::raw::DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
                Ok(Self::Zstd(decoder))
            }
        }
    }

    /// Keeps it for a later frame.
    fn keep(mut self) {
        use zstd::stream::raw::Operation;
        let fresh = match &mut self {
            Self::Zlib(zlib) => {
                zlib.reset(true);
                true
            }
            Self::Zstd(zstd) => zstd.reinit().is_ok(),
        };
        SPARE.with_borrow_mut(|spare| {
            if fresh && spare.len() < SPARE_MAX {
                spare.push(self);
            }
        });
    }

    fn run(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<Unpacked> {
        use zstd::stream::raw::{InBuffer, Operation, OutBuffer};
        match self {
            Self::Zlib(zlib) => {
                let (taken, given) = (zlib.total_in(), zlib.total_out());
                let status = zlib
                    .decompress(input, output, flate2::FlushDecompress::None)
                    .map_err(|_| invalid("a frame is not zlib's"))?;
                let since = |now: u64, then: u64| usize::try_from(now - then).unwrap_or(usize::MAX);
                let progress =
                    Progress { taken: since(zlib.total_in(), taken), given: since(zlib.total_out(), given) };
                Ok(Unpacked { progress, ended: status == flate2::Status::StreamEnd })
            }
            Self::Zstd(zstd) => {
                let (mut from, mut into) = (InBuffer::around(input), OutBuffer::around(output));
                let hint = zstd.run(&mut from, &mut into).map_err(|_| invalid("a frame is not zstd's"))?;
                let progress = Progress { taken: from.pos(), given: into.pos() };
                Ok(Unpacked { progress, ended: hint == 0 })
            }
        }
    }
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zlib(_) => "Zlib",
            Self::Zstd(_) => "Zstd",
        })
    }
}

#[cfg(test)]
#[path = "compress_tests.rs"]
mod tests;
