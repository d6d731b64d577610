//! One server's reply, packet by packet, where several servers' replies become one.
//!
//! Owns: which packet is what. Does not know: what becomes of rows, who else is asked. Invariant: a packet is looked at once it is whole, and
//! bounded; after an end or an error nothing of the reply is left in the connection.

use std::io;
use std::ops::Range;
use std::rc::Rc;

use super::client::{Client, Waited};
use super::relay::RelayError;
use crate::backend::connection::Connection;
use crate::merge::Purse;
use crate::wire::buffer::Buffer;
use crate::wire::capabilities::Capabilities;
use crate::wire::err::ErrPacket;
use crate::wire::frame::{HEADER, Header, PAYLOAD_MAX, lenenc};
use crate::wire::ok::{Ok as OkPacket, Status};
use crate::wire::reply::{eof_status, eof_warnings};

/// How a reply ended, or one of its results.
#[derive(Debug, Default)]
pub struct PartEnd {
    /// Status flags.
    pub status: Status,
    /// Rows changed.
    pub affected_rows: u64,
    /// The insert id; 0 for none.
    pub insert_id: u64,
    /// Warnings.
    pub warnings: u16,
    /// The server's words on what was changed.
    pub info: Vec<u8>,
    /// Session state changes, undecoded.
    pub changes: Vec<u8>,
}

/// A packet of a reply.
#[derive(Debug)]
pub enum Packet {
    /// A column's definition, in the buffer.
    Column(Range<usize>),
    /// All columns have been.
    Columns,
    /// A row, in the buffer.
    Row(Range<usize>),
    /// The server wants a file by this name, in the buffer; its answer comes behind that.
    File(Range<usize>),
    /// The end.
    End(PartEnd),
    /// The server's error.
    Error(ErrPacket),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    First,
    Columns(u64),
    /// An EOF packet comes.
    ColumnsEnd,
    /// None does.
    ColumnsDone,
    Rows,
    Done,
}

/// A reply that is being read.
#[derive(Debug)]
pub struct Part {
    /// From whom.
    pub connection: Box<Connection>,
    buffer: Buffer,
    /// Bytes of the buffer's start that have been given out.
    given: usize,
    phase: Phase,
    packet_max: usize,
    /// What the buffer takes above an ordinary one is counted there.
    purse: Option<Rc<Purse>>,
    may_move: bool,
}

impl Part {
    /// The reply to a query that was sent on this connection. A packet is `packet_max` bytes at most.
    pub fn new(connection: Box<Connection>, buffer: Buffer, packet_max: usize) -> Self {
        Self { connection, buffer, given: 0, phase: Phase::First, packet_max, purse: None, may_move: false }
    }

    /// One of several that share memory. Where it `may_move`, a server that is down is not waited for.
    pub fn of_several(self, purse: Rc<Purse>, may_move: bool) -> Self {
        Self { purse: Some(purse), may_move, ..self }
    }

    /// The packet that was told of last is done with; so is the memory that a large one took.
    pub fn release(&mut self) {
        self.buffer.consume(std::mem::take(&mut self.given));
        let before = self.buffer.capacity();
        self.buffer.shrink();
        if let Some(purse) = &self.purse {
            purse.give(before - self.buffer.capacity());
        }
    }

    /// The bytes of a packet that [`Part::next`] has told of last.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.buffer.filled().get(range).unwrap_or_default()
    }

    /// The next packet, while an eye is kept on the client. Not cancel safe.
    ///
    /// # Errors
    /// See [`RelayError`]; nothing more can be read then.
    pub async fn next(&mut self, client: &mut Client) -> Result<Packet, RelayError> {
        loop {
            self.buffer.consume(std::mem::take(&mut self.given));
            if self.phase == Phase::ColumnsDone {
                self.phase = Phase::Rows;
                return Ok(Packet::Columns);
            }
            let range = self.whole(client).await?;
            let deprecate_eof = self.connection.capabilities.contains(Capabilities::DEPRECATE_EOF);
            let payload = &self.buffer.filled()[range.clone()];
            let first = payload.first().copied().unwrap_or_default();
            match self.phase {
                Phase::Rows | Phase::First | Phase::ColumnsEnd if first == 0xff => {
                    let error = ErrPacket::decode(payload).ok_or(RelayError::Protocol)?;
                    self.connection.status.remove(Status::MORE_RESULTS);
                    self.phase = Phase::Done;
                    return Ok(Packet::Error(error));
                }
                Phase::First if first == 0 => return self.ok(range),
                Phase::First if first == 0xfb => return Ok(Packet::File(range.start + 1..range.end)),
                Phase::First => match lenenc(payload) {
                    Some((columns @ 1.., _)) => self.phase = Phase::Columns(columns),
                    _ => return Err(RelayError::Protocol),
                },
                Phase::Columns(left) => {
                    self.phase = match left {
                        2.. => Phase::Columns(left - 1),
                        _ if deprecate_eof => Phase::ColumnsDone,
                        _ => Phase::ColumnsEnd,
                    };
                    return Ok(Packet::Column(range));
                }
                Phase::ColumnsEnd => {
                    self.phase = Phase::Rows;
                    return Ok(Packet::Columns);
                }
                Phase::Rows if first == 0xfe && deprecate_eof && payload.len() < PAYLOAD_MAX => {
                    return self.ok(range);
                }
                Phase::Rows if first == 0xfe && !deprecate_eof && payload.len() < 9 => {
                    let status = eof_status(payload).ok_or(RelayError::Protocol)?;
                    self.connection.status = status;
                    self.phase = Phase::Done;
                    let warnings = eof_warnings(payload).unwrap_or_default();
                    return Ok(Packet::End(PartEnd { status, warnings, ..PartEnd::default() }));
                }
                Phase::Rows => return Ok(Packet::Row(range)),
                Phase::ColumnsDone | Phase::Done => return Err(RelayError::Protocol),
            }
        }
    }

    fn ok(&mut self, range: Range<usize>) -> Result<Packet, RelayError> {
        let payload = &self.buffer.filled()[range];
        let ok = OkPacket::parse(payload, self.connection.capabilities).ok_or(RelayError::Protocol)?;
        let end = PartEnd {
            status: ok.status,
            affected_rows: ok.affected_rows,
            insert_id: ok.last_insert_id,
            warnings: ok.warnings,
            info: ok.info.to_vec(),
            changes: ok.changes.to_vec(),
        };
        self.connection.status = ok.status;
        self.phase = Phase::Done;
        Ok(Packet::End(end))
    }

    /// Where the next packet's payload is in the buffer, all of it; what is longer than a packet can be is put together.
    async fn whole(&mut self, client: &mut Client) -> Result<Range<usize>, RelayError> {
        let mut length = 0;
        loop {
            let header = loop {
                if let Some(header) = Header::parse(self.buffer.filled().get(length..).unwrap_or_default()) {
                    break header;
                }
                self.read(client, length + HEADER).await?;
            };
            if length + header.length > self.packet_max {
                return Err(RelayError::Protocol);
            }
            if length > 0 {
                self.buffer.replace(length..length + HEADER, b""); // the header of what continues the packet
            } else {
                length = HEADER;
            }
            length += header.length;
            while self.buffer.filled().len() < length {
                self.read(client, length).await?;
            }
            if header.length < PAYLOAD_MAX {
                self.given = length;
                return Ok(HEADER..length);
            }
        }
    }

    async fn read(&mut self, client: &mut Client, wanted: usize) -> Result<(), RelayError> {
        let before = self.buffer.capacity();
        if let Some(purse) = &self.purse {
            purse.grown(before, wanted.max(before)).map_err(RelayError::Memory)?;
        }
        self.buffer.reserve(wanted.max(before));
        match client.wait_for(&mut self.connection.stream, self.buffer.space(), self.may_move).await {
            Waited::Server(Ok(length @ 1..)) => {
                self.buffer.fill(length);
                Ok(())
            }
            Waited::Server(result) => {
                let error = result.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                Err(RelayError::Server { error, sent: false })
            }
            Waited::ClientGone => Err(RelayError::Client(io::ErrorKind::ConnectionAborted.into())),
            Waited::Killed => Err(RelayError::Killed),
        }
    }

    /// Whether the reply has ended.
    pub fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// What is still to come is not kept: it is counted no more.
    pub fn count_no_more(&mut self) {
        self.purse = None;
    }

    /// A reply is still to come, or some of it.
    pub fn begin(&mut self) {
        self.release();
        self.phase = Phase::First;
    }

    /// The connection, where nothing has been sent.
    pub fn into_unasked(self) -> Box<Connection> {
        self.connection
    }

    /// The connection, once the reply has ended; one on which more may come is broken.
    pub fn into_connection(mut self) -> Box<Connection> {
        let more = self.connection.status.contains(Status::MORE_RESULTS);
        self.connection.broken |= self.phase != Phase::Done || more;
        self.connection
    }
}
