//! zlib and zstd, as the compressed protocol uses them: each frame on its own.
//!
//! Owns: who asks for what, and the compressors, which belong to threads and not to connections. Does not know: frames.
//! Invariant: what is unpacked goes into the caller's space and nowhere else; hostile input is an error.

use std::cell::RefCell;
use std::io;

use super::capabilities::Capabilities;

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
    pub(super) algorithm: Algorithm,
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

/// What a step of unpacking has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Bytes of the input that are done with.
    pub taken: usize,
    /// Bytes of the output that are filled.
    pub given: usize,
}

pub(super) fn invalid(what: &'static str) -> io::Error {
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
pub(super) fn pack(compression: Compression, bytes: &[u8], out: &mut [u8]) -> Option<usize> {
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
pub(super) enum Unpacker {
    Zlib(Box<flate2::Decompress>),
    Zstd(zstd::stream::raw::Decoder<'static>),
}

pub(super) struct Unpacked {
    /// What became of input and output.
    pub progress: Progress,
    /// The compressed data has ended.
    pub ended: bool,
}

impl Unpacker {
    /// One for a frame that begins.
    pub fn of(algorithm: Algorithm) -> io::Result<Self> {
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
    pub fn keep(mut self) {
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

    /// Unpacks some of `input` into `output`.
    pub fn run(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<Unpacked> {
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
mod tests {
    use super::*;

    #[test]
    fn zlib_is_taken_where_a_client_asks_for_both() {
        let both = Capabilities::COMPRESS | Capabilities::ZSTD_COMPRESSION;
        assert_eq!(Compression::asked(both, Some(5)), Some(Algorithm::Zlib.into()));
        let zstd = Compression::asked(Capabilities::ZSTD_COMPRESSION, Some(22)).unwrap();
        assert_eq!((zstd.algorithm, zstd.level), (Algorithm::Zstd, ZSTD_LEVEL_MAX));
        assert_eq!(Compression::asked(Capabilities::SSL, None), None);
    }
}
