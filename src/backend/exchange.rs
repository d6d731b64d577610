//! Statements of our own on a server connection: one reply, collected and decoded.
//!
//! Owns: small answers. Does not know: clients; nothing of a client's reply passes here.
//! Invariant: an answer larger than `ANSWER_MAX` is a protocol error, never memory.

use std::io;

use super::connection::Connection;
use crate::wire::buffer::Buffer;
use crate::wire::err::ErrPacket;
use crate::wire::frame::{HEADER, Header, lenenc, lenenc_string};
use crate::wire::ok::{Ok as OkPacket, Status};
use crate::wire::reply::{Expect, Scanner, Step, Terminal, eof_status};

const ANSWER_MAX: usize = 1 << 20;

/// Why a statement of our own has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The network's.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The reply makes no sense, or is too large.
    #[error("malformed reply")]
    Protocol,
    /// The server refused the statement.
    #[error("{0}")]
    Refused(ErrPacket),
}

/// A row of text values; `None` is NULL.
pub type Row = Vec<Option<Vec<u8>>>;

/// What a column's definition says of its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// The protocol's number of the type, such as 8 for BIGINT.
    pub kind: u8,
    /// The protocol's flags, such as 32 for UNSIGNED.
    pub flags: u16,
}

/// A server's answer.
#[derive(Debug, Default)]
pub struct Answer {
    /// Its error, if it refused.
    pub error: Option<ErrPacket>,
    /// Columns of its (last) result set; none where the session has definitions left out.
    pub columns: Vec<Column>,
    /// Rows of its (last) result set.
    pub rows: Vec<Row>,
    /// The id of a statement that was prepared.
    pub prepared: Option<u32>,
    /// Session state changes in its OK packets, undecoded.
    pub changes: Vec<u8>,
}

impl Answer {
    /// The answer, where it is no error.
    ///
    /// # Errors
    /// [`ExchangeError::Refused`] with the server's error.
    pub fn into_ok(self) -> Result<Self, ExchangeError> {
        match self.error {
            Some(error) => Err(ExchangeError::Refused(error)),
            None => Ok(self),
        }
    }

    /// The sum of the last column's numbers, as of `SHOW STATUS`.
    pub fn sum(&self) -> u64 {
        let numbers = self.rows.iter().filter_map(|row| row.last()?.as_deref());
        numbers.filter_map(|text| std::str::from_utf8(text).ok()?.parse::<u64>().ok()).sum()
    }

    /// The first value of the first row, where it is a number.
    pub fn number(&self) -> Option<u64> {
        std::str::from_utf8(self.value()?).ok()?.parse().ok()
    }

    /// The first value of the first row.
    pub fn value(&self) -> Option<&[u8]> {
        self.rows.first()?.first()?.as_deref()
    }
}

/// Reads bytes until `buffer` holds more than before. A stream that ends is an error.
pub(super) async fn fill(connection: &mut Connection, buffer: &mut Buffer) -> io::Result<()> {
    if buffer.space().is_empty() {
        let more = buffer.filled().len() * 2;
        buffer.reserve(more);
    }
    match connection.stream.read(buffer.space()).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => {
            buffer.fill(length);
            Ok(())
        }
    }
}

/// Receives the reply to one command; bytes behind it stay in `buffer`.
///
/// # Errors
/// The network's, or a malformed or oversized reply.
pub async fn receive(
    connection: &mut Connection,
    buffer: &mut Buffer,
    expect: Expect,
) -> Result<Answer, ExchangeError> {
    let mut scanner = Scanner::new(expect, connection.capabilities);
    let mut plain = Vec::new();
    let mut answer = Answer::default();
    while !scanner.is_done() {
        match scanner.advance(buffer.filled()) {
            Step::More(length) | Step::Need { start: length, .. } => {
                plain.extend_from_slice(&buffer.filled()[..length]);
                buffer.consume(length);
                if plain.len() + buffer.filled().len() > ANSWER_MAX {
                    return Err(ExchangeError::Protocol);
                }
                fill(connection, buffer).await?;
            }
            Step::End { end, terminal: Terminal::ColumnsEof, .. } => {
                plain.extend_from_slice(&buffer.filled()[..end]);
                buffer.consume(end);
            }
            Step::End { start, end, terminal } => {
                let bytes = buffer.filled();
                plain.extend_from_slice(&bytes[..start]);
                let payload = bytes.get(start + HEADER..end).unwrap_or_default();
                match terminal {
                    Terminal::Err => {
                        answer.error = Some(ErrPacket::decode(payload).ok_or(ExchangeError::Protocol)?)
                    }
                    Terminal::Ok => {
                        let ok = OkPacket::parse(payload, connection.capabilities)
                            .ok_or(ExchangeError::Protocol)?;
                        connection.status = ok.status;
                        answer.changes.extend_from_slice(ok.changes);
                        if answer.changes.len() > ANSWER_MAX {
                            return Err(ExchangeError::Protocol);
                        }
                    }
                    Terminal::Eof => connection.status = eof_status(payload).unwrap_or(Status::empty()),
                    Terminal::Infile => return Err(ExchangeError::Protocol),
                    Terminal::PrepareOk => {
                        let id = payload.get(1..5).and_then(|id| id.first_chunk().copied());
                        answer.prepared = Some(u32::from_le_bytes(id.ok_or(ExchangeError::Protocol)?));
                    }
                    Terminal::Text | Terminal::Definitions | Terminal::ColumnsEof | Terminal::Column => {}
                }
                if !plain.is_empty() && answer.prepared.is_none() {
                    (answer.columns, answer.rows) = result_set(&plain).ok_or(ExchangeError::Protocol)?;
                    plain.clear();
                }
                buffer.consume(end);
            }
            Step::Malformed => return Err(ExchangeError::Protocol),
        }
    }
    Ok(answer)
}

/// Decodes the packets of a text result set before its end: count, definitions, an EOF perhaps, rows.
fn result_set(packets: &[u8]) -> Option<(Vec<Column>, Vec<Row>)> {
    let mut rest = packets;
    let (count, after) = split_packet(rest)?;
    rest = after;
    let (count, follows) = lenenc(count)?;
    let mut columns = Vec::new();
    // OPTIONAL_RESULTSET_METADATA says behind the number whether definitions follow.
    for _ in 0..if follows == [0] { 0 } else { count } {
        let (definition, after) = split_packet(rest)?;
        columns.push(column(definition)?);
        rest = after;
    }
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let (payload, after) = split_packet(rest)?;
        rest = after;
        if !(payload.first() == Some(&0xfe) && payload.len() < 9) {
            rows.push(row(payload, count)?);
        }
    }
    Some((columns, rows))
}

/// The type in a column definition, whose last 12 bytes are charset (2), length (4), type, flags (2), decimals, filler.
fn column(definition: &[u8]) -> Option<Column> {
    let fixed: &[u8; 12] = definition.last_chunk()?;
    Some(Column { kind: fixed[6], flags: u16::from_le_bytes([fixed[7], fixed[8]]) })
}

fn row(mut payload: &[u8], columns: u64) -> Option<Row> {
    let mut row = Vec::new();
    for _ in 0..columns {
        if let Some(rest) = payload.strip_prefix(&[0xfb]) {
            row.push(None);
            payload = rest;
        } else {
            let (value, rest) = lenenc_string(payload)?;
            row.push(Some(value.to_vec()));
            payload = rest;
        }
    }
    Some(row)
}

fn split_packet(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let header = Header::parse(bytes)?;
    bytes[HEADER..].split_at_checked(header.length)
}
