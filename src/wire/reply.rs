//! Where a server's reply ends: a scan over packet headers that decodes no row.
//!
//! Owns: the state of one reply. Does not know: sockets, who asked.
//! Invariant: bytes before a [`Step`]'s mark never need to be looked at again and may be forwarded.

use super::capabilities::Capabilities;
use super::frame::{HEADER, Header, PAYLOAD_MAX, lenenc};
use super::ok::Status;

/// Bytes of a packet that say what it is, its header included.
pub const LOOK: usize = HEADER + 3;

/// What kind of reply a command gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// OK, ERR, result sets, LOCAL INFILE: COM_QUERY, COM_STMT_EXECUTE.
    Results,
    /// As `Results`, or a cursor instead of rows: COM_STMT_EXECUTE that asks for one.
    Cursor,
    /// One OK, EOF or ERR.
    Simple,
    /// COM_STMT_PREPARE's answer with its definitions.
    Prepared,
    /// Rows and their end: COM_STMT_FETCH.
    Rows,
    /// Column definitions and their end: COM_FIELD_LIST.
    Fields,
    /// One packet of text: COM_STATISTICS.
    Text,
}

/// A packet that ends a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Terminal {
    /// An OK packet, header 0x00, or 0xFE at the end of rows under DEPRECATE_EOF.
    Ok,
    /// An EOF packet of the old kind.
    Eof,
    /// EOF behind column definitions, only where it speaks of session state: MariaDB says so to every client.
    ColumnsEof,
    /// An ERR packet.
    Err,
    /// COM_STMT_PREPARE_OK: definitions follow it.
    PrepareOk,
    /// The server asks the client for a file's content.
    Infile,
    /// The text of COM_STATISTICS.
    Text,
    /// The last definition of a prepared statement that has no EOF behind it; the packet itself is ordinary.
    Definitions,
    /// A column's definition, which ends nothing: where [`Scanner::stopping_at_columns`].
    Column,
}

/// How far the scan came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The first `usize` bytes are plain; more input is needed.
    More(usize),
    /// A packet that must be seen whole begins at `start` and has `length` bytes, not all of which are there.
    Need {
        /// Plain bytes before it.
        start: usize,
        /// Header and payload.
        length: usize,
    },
    /// The packet at `start..end` ends a result. The scan goes on behind it.
    End {
        /// Plain bytes before it.
        start: usize,
        /// End of the packet.
        end: usize,
        /// Which kind.
        terminal: Terminal,
    },
    /// The stream breaks the protocol here.
    Malformed,
}

/// More columns than a statement of the largest size can name.
const COLUMNS_MAX: u64 = 1 << 30;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    First,
    Columns(u64),
    ColumnsEnd,
    Rows,
    PrepareFirst,
    Definitions {
        left: u64,
        eof: bool,
        then: u64,
    },
    /// So many ends of definitions that are left out.
    Ends(u8),
    Done,
}

/// Scans one reply.
#[derive(Clone, Copy, Debug)]
pub struct Scanner {
    expect: Expect,
    phase: Phase,
    deprecate_eof: bool,
    /// Whether definitions follow is said where they are counted.
    optional_metadata: bool,
    /// Progress reports may come before anything else.
    progress: bool,
    /// Definitions of columns are seen whole.
    columns: bool,
    /// Bytes of a plain packet still to pass.
    skip: usize,
    /// The packet being passed fills 16 MiB: the next one continues it.
    continued: bool,
    rows: u64,
    /// OUT parameters of a procedure: another result follows, though only the EOF behind their columns says so
    /// (MySQL 9.7).
    out_parameters: bool,
}

impl Scanner {
    /// A scan of the reply to a command that expects `expect`, on a connection with `capabilities`.
    pub fn new(expect: Expect, capabilities: Capabilities) -> Self {
        let phase = match expect {
            Expect::Results | Expect::Cursor | Expect::Simple | Expect::Text => Phase::First,
            Expect::Prepared => Phase::PrepareFirst,
            Expect::Rows | Expect::Fields => Phase::Rows,
        };
        let deprecate_eof = capabilities.contains(Capabilities::DEPRECATE_EOF);
        let optional_metadata = capabilities.contains(Capabilities::OPTIONAL_RESULTSET_METADATA);
        let progress = capabilities.contains(Capabilities::PROGRESS);
        Self {
            expect,
            phase,
            deprecate_eof,
            optional_metadata,
            progress,
            columns: false,
            skip: 0,
            continued: false,
            rows: 0,
            out_parameters: false,
        }
    }

    /// The same scan, which stops at each definition of a column ([`Terminal::Column`]).
    pub fn stopping_at_columns(mut self) -> Self {
        self.columns = true;
        self
    }

    /// Whether the packet to come is a column's definition, or a parameter's, that is to be seen whole.
    fn is_at_column(&self) -> bool {
        self.columns && matches!(self.phase, Phase::Columns(_) | Phase::Definitions { left: 1.., .. })
    }

    /// Whether the whole reply has been seen.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// Rows of the result that ended last (or of the one being scanned).
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Goes on over `bytes`, which begin where the last step's mark was.
    pub fn advance(&mut self, bytes: &[u8]) -> Step {
        let mut at = 0;
        loop {
            let passed = self.skip.min(bytes.len() - at);
            self.skip -= passed;
            at += passed;
            let rest = &bytes[at..];
            let Some(header) = Header::parse(rest).filter(|_| self.skip == 0) else { return Step::More(at) };
            if self.continued {
                self.pass(header);
                continue;
            }
            if header.length == 0 {
                return Step::Malformed;
            }
            let Some(&first) = rest.get(HEADER) else { return Step::More(at) };
            if first == 0xff && self.progress {
                match rest.get(HEADER + 1..LOOK) {
                    None if header.length >= 3 => return Step::More(at),
                    Some(&[0xff, 0xff]) => {
                        self.pass(header); // an error in form only: how far the statement has come
                        continue;
                    }
                    _ => {}
                }
            }
            let length = HEADER + header.length;
            if self.is_at_column() {
                if rest.len() < length {
                    return Step::Need { start: at, length };
                }
                if let Some(terminal) = self.look(header, first)
                    && !self.finish(terminal, &rest[HEADER..length])
                {
                    return Step::Malformed;
                }
                return Step::End { start: at, end: at + length, terminal: Terminal::Column };
            }
            if let Some(terminal) = self.look(header, first) {
                if rest.len() < length {
                    return Step::Need { start: at, length };
                }
                if !self.finish(terminal, &rest[HEADER..length]) {
                    return Step::Malformed;
                }
                match terminal {
                    // These are plain to the reader: the scan simply goes on behind them.
                    Terminal::Definitions => {}
                    Terminal::Eof if !matches!(self.phase, Phase::Done | Phase::First) => {
                        if eof_status(&rest[HEADER..length])
                            .is_some_and(|status| status.contains(Status::SESSION_STATE_CHANGED))
                        {
                            return Step::End { start: at, end: at + length, terminal: Terminal::ColumnsEof };
                        }
                    }
                    _ => return Step::End { start: at, end: at + length, terminal },
                }
                at += length;
                if self.phase == Phase::Done {
                    return Step::End { start: at, end: at, terminal };
                }
            } else {
                self.pass(header);
            }
        }
    }

    /// Lets a plain packet go by.
    fn pass(&mut self, header: Header) {
        self.skip = HEADER + header.length;
        self.continued = header.length == PAYLOAD_MAX;
    }

    /// Decides by header and first byte whether the packet must be seen whole.
    fn look(&mut self, header: Header, first: u8) -> Option<Terminal> {
        let end_of_rows = first == 0xfe && header.length < if self.deprecate_eof { PAYLOAD_MAX } else { 9 };
        let end = if self.deprecate_eof { Terminal::Ok } else { Terminal::Eof };
        match self.phase {
            Phase::Columns(left) => {
                self.phase = match left {
                    2.. => Phase::Columns(left - 1),
                    _ if self.deprecate_eof => Phase::Rows,
                    _ => Phase::ColumnsEnd,
                };
                None
            }
            Phase::Rows if first == 0xff => Some(Terminal::Err),
            Phase::Rows if end_of_rows => Some(end),
            Phase::Rows => {
                self.rows += 1;
                None
            }
            Phase::ColumnsEnd => Some(if first == 0xff { Terminal::Err } else { Terminal::Eof }),
            Phase::First | Phase::PrepareFirst if first == 0xff => Some(Terminal::Err),
            Phase::PrepareFirst => Some(Terminal::PrepareOk),
            Phase::First => Some(match (self.expect, first) {
                (Expect::Text, _) => Terminal::Text,
                (Expect::Simple, 0xfe) if header.length < 7 => Terminal::Eof,
                (Expect::Simple, _) | (_, 0x00) => Terminal::Ok,
                (_, 0xfb) => Terminal::Infile,
                _ => Terminal::Definitions,
            }),
            Phase::Definitions { left: 0, .. } | Phase::Ends(_) => Some(Terminal::Eof),
            Phase::Definitions { .. } => Some(Terminal::Definitions),
            Phase::Done => Some(Terminal::Err),
        }
    }

    /// Moves on behind a packet that was seen whole; false when it makes no sense.
    fn finish(&mut self, terminal: Terminal, payload: &[u8]) -> bool {
        if self.phase == Phase::Done {
            return false;
        }
        match (terminal, self.phase) {
            (Terminal::Definitions, Phase::First) => match lenenc(payload) {
                // MariaDB answers a SELECT of 68,001 literals; a count costs nothing here.
                Some((columns @ 1..=COLUMNS_MAX, rest)) => {
                    self.rows = 0;
                    self.phase = match (self.optional_metadata && rest == [0], self.deprecate_eof) {
                        (false, _) => Phase::Columns(columns),
                        (true, true) => Phase::Rows,
                        (true, false) => Phase::ColumnsEnd,
                    };
                }
                _ => return false,
            },
            (Terminal::Definitions | Terminal::Eof, Phase::Definitions { left, eof, then }) => {
                self.phase = self.definitions_after(left, eof, then);
            }
            (Terminal::Eof, Phase::Ends(left)) => self.phase = ends(left - 1),
            (Terminal::PrepareOk, _) => {
                let &[0, _, _, _, _, c0, c1, p0, p1, ..] = payload else { return false };
                let columns = u64::from(u16::from_le_bytes([c0, c1]));
                let parameters = u64::from(u16::from_le_bytes([p0, p1]));
                let left_out = self.optional_metadata && payload.get(12) == Some(&0);
                self.phase = match left_out {
                    false => self.definitions_from(parameters, columns),
                    true if self.deprecate_eof => Phase::Done,
                    // The ends of what is left out come all the same.
                    true => ends(u8::from(parameters > 0) + u8::from(columns > 0)),
                };
            }
            (Terminal::Eof, Phase::ColumnsEnd) => {
                let Some(status) = eof_status(payload) else { return false };
                self.out_parameters = status.contains(Status::PS_OUT_PARAMS | Status::MORE_RESULTS);
                // MariaDB also sets the flag for a cursor inside a routine, with rows behind it.
                self.phase = if self.expect == Expect::Cursor && status.contains(Status::CURSOR_EXISTS) {
                    self.after_result(status)
                } else {
                    Phase::Rows
                };
            }
            (Terminal::Eof, _) => {
                let Some(mut status) = eof_status(payload) else { return false };
                status
                    .set(Status::MORE_RESULTS, status.contains(Status::MORE_RESULTS) || self.out_parameters);
                self.out_parameters = false;
                self.phase = self.after_result(status);
            }
            (Terminal::Ok, _) => {
                let Some(status) = ok_status(payload) else { return false };
                self.phase = self.after_result(status);
            }
            (Terminal::Infile, _) => self.phase = Phase::First,
            (Terminal::ColumnsEof | Terminal::Column, _) => return false,
            (Terminal::Err | Terminal::Text | Terminal::Definitions, _) => self.phase = Phase::Done,
        }
        true
    }

    fn after_result(&self, status: Status) -> Phase {
        let more =
            matches!(self.expect, Expect::Results | Expect::Cursor) && status.contains(Status::MORE_RESULTS);
        if more { Phase::First } else { Phase::Done }
    }

    fn definitions_from(&self, left: u64, then: u64) -> Phase {
        match (left, then) {
            (0, 0) => Phase::Done,
            (0, _) => self.definitions_from(then, 0),
            _ => Phase::Definitions { left, eof: !self.deprecate_eof, then },
        }
    }

    fn definitions_after(&self, left: u64, eof: bool, then: u64) -> Phase {
        match left {
            0 => self.definitions_from(then, 0),
            1 if !eof => self.definitions_from(then, 0),
            _ => Phase::Definitions { left: left - 1, eof, then },
        }
    }
}

fn ends(left: u8) -> Phase {
    if left == 0 { Phase::Done } else { Phase::Ends(left) }
}

/// Status flags of an EOF packet's payload.
pub fn eof_status(payload: &[u8]) -> Option<Status> {
    let &[_, _, _, s0, s1] = payload.first_chunk::<5>()?;
    Some(Status::from_bits_retain(u16::from_le_bytes([s0, s1])))
}

/// Warnings of an EOF packet's payload.
pub fn eof_warnings(payload: &[u8]) -> Option<u16> {
    let &[_, w0, w1] = payload.first_chunk::<3>()?;
    Some(u16::from_le_bytes([w0, w1]))
}

fn ok_status(payload: &[u8]) -> Option<Status> {
    let (_, rest) = lenenc(payload.get(1..)?)?;
    let (_, rest) = lenenc(rest)?;
    let &[s0, s1] = rest.first_chunk::<2>()?;
    Some(Status::from_bits_retain(u16::from_le_bytes([s0, s1])))
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
