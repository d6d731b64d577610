//! Forwards one reply from a server to a client, and says how it ended.
//!
//! Rows pass as they came. OK packets are shortened in place for clients that did not ask for session tracking, or not for all
//! that Tidegate has servers report.
//! An error before which nothing was sent is not sent but given to the caller, who may still try elsewhere.

use std::io;

use super::client::{Client, Kept, Waited};
use super::{infile, made};
use crate::backend::connection::Connection;
use crate::wire::buffer::{Buffer, LARGE, ORDINARY};
use crate::wire::capabilities::Capabilities;
use crate::wire::err::ErrPacket;
use crate::wire::frame::{HEADER, Renumber, put_header};
use crate::wire::ok::{Ok as OkPacket, Status};
use crate::wire::reply::{LOOK, Scanner, Step, Terminal, eof_status, eof_warnings};
use crate::wire::track::{Shown, Told};

/// Largest packet that is looked at whole: OK with session tracking, ERR.
const WHOLE_MAX: usize = 1 << 20;

/// Reports of session state that are kept of one reply, however many results it has.
const CHANGES_MAX: usize = 4 << 20;

/// How a reply ended.
#[derive(Debug, Default)]
pub struct End {
    /// Status flags at the end.
    pub status: Status,
    /// Rows changed, of the last OK packet.
    pub affected_rows: u64,
    /// The insert id of the last OK packet that had one; 0 for none.
    pub insert_id: u64,
    /// The id that the client was told of rows whose values Tidegate has made.
    pub made: Option<u64>,
    /// Warnings of the last result.
    pub warnings: u16,
    /// Rows of the last result, if it was a result set.
    pub rows: Option<u64>,
    /// Session state changes of all OK packets, undecoded.
    pub changes: Vec<u8>,
    /// There was more than one result.
    pub several: bool,
    /// The error that ended it.
    pub error: Option<Refusal>,
    /// COM_STMT_PREPARE's answer.
    pub prepared: Option<Prepared>,
    /// Bytes that went to the client.
    pub sent: u64,
}

/// An error packet that ended a reply.
#[derive(Debug)]
pub struct Refusal {
    /// The error's number.
    pub code: u16,
    /// The error, where it is one that can be read.
    pub packet: Option<ErrPacket>,
    /// Another error than the server has.
    pub renamed: bool,
    /// The whole reply, headers included, where nothing of it has been sent yet: the error, and the column definitions
    /// that a server may write before it.
    pub unsent: Option<Vec<u8>>,
}

/// What COM_STMT_PREPARE's answer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prepared {
    /// The server's id of the statement.
    pub id: u32,
    /// Parameters that it takes.
    pub parameters: u16,
}

/// Why a reply did not reach its end. The server connection is broken in every case.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The server's connection failed; `sent` tells whether the client had bytes of the reply.
    #[error("the server connection failed: {error}")]
    Server {
        /// The network's word.
        error: io::Error,
        /// Some of the reply had gone to the client.
        sent: bool,
    },
    /// The client's connection failed, or it vanished.
    #[error("the client connection failed: {0}")]
    Client(io::Error),
    /// The server asks for a file of a client that has said that it sends none; `sent` as above.
    #[error("the server asks for a file, uninvited")]
    Uninvited {
        /// Some of the reply had gone to the client.
        sent: bool,
    },
    /// KILL.
    #[error("killed")]
    Killed,
    /// Where several replies become one: more would have to be kept than may be.
    #[error(transparent)]
    Memory(crate::merge::Error),
    /// A packet that makes no sense here.
    #[error("the stream breaks the protocol")]
    Protocol,
}

impl RelayError {
    pub(super) fn server_after_bytes(error: io::Error) -> Self {
        Self::Server { error, sent: true }
    }
}

/// Relays the reply that `scanner` expects. `buffer` may hold the reply's first bytes already. A prepared statement's
/// id is replaced by `statement_id`. Not cancel safe.
///
/// # Errors
/// See [`RelayError`].
pub async fn relay(
    connection: &mut Connection,
    client: &mut Client,
    buffer: &mut Buffer,
    mut scanner: Scanner,
    statement_id: Option<u32>,
) -> Result<End, RelayError> {
    let mut end = End::default();
    if client.names.is_some() {
        scanner = scanner.stopping_at_columns();
    }
    let mut mark = 0; // bytes of the buffer that may go to the client
    let mut renumber = connection.stream.next_packet().map(Renumber::from);
    if let Some(renumber) = &mut renumber {
        renumber.pass(buffer.filled_mut());
    }
    loop {
        let step = scanner.advance(&buffer.filled()[mark..]);
        if let Some(sum) = &mut client.sum {
            let (Step::End { start: plain, .. } | Step::More(plain) | Step::Need { start: plain, .. }) = step
            else {
                return Err(RelayError::Protocol);
            };
            sum.rows(&buffer.filled()[mark..mark + plain]);
        }
        let wanted = match step {
            Step::End { start, end: stop, terminal } => {
                let (start, stop) = (mark + start, mark + stop);
                if let (Terminal::Column, Some(names)) = (terminal, &client.names) {
                    mark = names.put_back(buffer, start..stop);
                    if scanner.is_done() {
                        send(client, buffer, &mut mark, &mut end).await?;
                        return Ok(end);
                    }
                    continue;
                }
                let unsent = end.sent == 0;
                mark = note(
                    &mut end,
                    buffer,
                    start..stop,
                    terminal,
                    &scanner,
                    unsent,
                    connection,
                    client,
                    statement_id,
                )?;
                if terminal == Terminal::Infile && !client.capabilities.contains(Capabilities::LOCAL_FILES) {
                    return Err(RelayError::Uninvited { sent: !unsent });
                }
                if terminal == Terminal::Infile {
                    let request = buffer.filled().get(start + 3).copied().unwrap_or_default();
                    send(client, buffer, &mut mark, &mut end).await?;
                    let answer = infile::pump(connection, client, buffer, request.wrapping_add(1)).await?;
                    renumber = renumber.map(|_| Renumber::from(answer));
                    continue;
                }
                if scanner.is_done() {
                    send(client, buffer, &mut mark, &mut end).await?;
                    return Ok(end);
                }
                end.several |= matches!(terminal, Terminal::Ok | Terminal::Eof);
                continue;
            }
            Step::More(plain) => {
                mark += plain;
                LOOK
            }
            Step::Need { start, length } if length <= WHOLE_MAX => {
                mark += start;
                length
            }
            Step::Need { .. } | Step::Malformed => return Err(RelayError::Protocol),
        };
        let full = buffer.space().is_empty();
        send(client, buffer, &mut mark, &mut end).await?;
        make_room(buffer, wanted, full);
        let may_move = client.may_move && end.sent == 0;
        match client.wait_for(&mut connection.stream, buffer.space(), may_move).await {
            Waited::Server(Ok(length @ 1..)) => {
                if let Some(renumber) = &mut renumber {
                    renumber.pass(&mut buffer.space()[..length]);
                }
                buffer.fill(length);
            }
            over => return Err(over.into_error(end.sent > 0)),
        }
    }
}

/// A reply that fills the buffer gets a large one; a packet that must be seen whole gets room for it.
fn make_room(buffer: &mut Buffer, wanted: usize, was_full: bool) {
    let target = if was_full && buffer.capacity() == ORDINARY { LARGE } else { buffer.capacity() };
    if buffer.filled().is_empty() && target == buffer.capacity() && wanted <= target {
        return;
    }
    buffer.reserve(target.max(wanted));
}

/// Sends the first `mark` bytes.
async fn send(
    client: &mut Client,
    buffer: &mut Buffer,
    mark: &mut usize,
    end: &mut End,
) -> Result<(), RelayError> {
    if *mark > 0 {
        client.send(&buffer.filled()[..*mark]).await.map_err(RelayError::Client)?;
        buffer.consume(*mark);
        end.sent += *mark as u64;
        *mark = 0;
    }
    Ok(())
}

/// Takes in a packet that ends a result; gives the new mark.
#[expect(clippy::too_many_arguments, reason = "one step of `relay`, split off to be read")]
fn note(
    end: &mut End,
    buffer: &mut Buffer,
    packet: std::ops::Range<usize>,
    terminal: Terminal,
    scanner: &Scanner,
    unsent: bool,
    connection: &mut Connection,
    client: &mut Client,
    statement_id: Option<u32>,
) -> Result<usize, RelayError> {
    let (start, mut stop) = (packet.start, packet.end);
    if terminal == Terminal::Ok && client.made.is_some() {
        stop = tell_made(end, buffer, packet, scanner, connection, client);
    }
    let payload = buffer.filled().get(start + HEADER..stop).unwrap_or_default();
    match terminal {
        Terminal::Ok => {
            let ok = OkPacket::parse(payload, connection.capabilities).ok_or(RelayError::Protocol)?;
            if let Some(sum) = &mut client.sum {
                sum.ok(&ok);
            }
            end.status = ok.status;
            end.warnings = ok.warnings;
            let rows_end = payload.first() == Some(&0xfe);
            end.rows = rows_end.then(|| scanner.rows());
            if !rows_end {
                end.affected_rows = ok.affected_rows;
            }
            if ok.last_insert_id != 0 {
                end.insert_id = ok.last_insert_id;
            }
            // The same word again, from each result of a long procedure, says nothing new.
            if !end.changes.ends_with(ok.changes) {
                end.changes.extend_from_slice(ok.changes);
            }
            if end.changes.len() > CHANGES_MAX {
                return Err(RelayError::Protocol);
            }
            connection.status = ok.status;
            let told = client.capabilities.contains(Capabilities::SESSION_TRACK);
            let flagged = ok.status.contains(Status::SESSION_STATE_CHANGED);
            let longer = !ok.changes.is_empty() || !told && (flagged || !ok.info.is_empty());
            if connection.capabilities.contains(Capabilities::SESSION_TRACK) && longer {
                let shown = client.shown.as_ref().unwrap_or(&connection.shown);
                let shown = told.then_some((&**shown, &mut client.told));
                return Ok(shorten(buffer, start..stop, client.capabilities, shown));
            }
        }
        Terminal::Eof => {
            end.status = eof_status(payload).ok_or(RelayError::Protocol)?;
            end.warnings = eof_warnings(payload).unwrap_or(0);
            if let Some(sum) = &mut client.sum {
                sum.end(end.warnings);
            }
            end.rows = Some(scanner.rows());
            connection.status = end.status;
            hide_tracking(buffer, start, end.status);
        }
        Terminal::Err => {
            if let Some(sum) = &mut client.sum {
                sum.error(payload);
            }
            let packet = ErrPacket::decode(payload);
            let code = packet.as_ref().map_or(0, |packet| packet.code);
            connection.status.remove(Status::MORE_RESULTS);
            if !connection.status.contains(Status::AUTOCOMMIT) {
                // An error says nothing about the transaction, which a failing statement opens all the same.
                connection.status.insert(Status::IN_TRANSACTION);
            }
            end.status = connection.status;
            if unsent {
                end.error = Some(Refusal {
                    code,
                    packet,
                    renamed: false,
                    unsent: Some(buffer.filled()[..stop].to_vec()),
                });
                buffer.consume(stop);
                return Ok(0);
            }
            end.error = Some(Refusal { code, packet, renamed: false, unsent: None });
        }
        Terminal::PrepareOk => {
            let (Some(id), Some(parameters)) = (payload.get(1..5), payload.get(7..9)) else {
                return Err(RelayError::Protocol);
            };
            let id = u32::from_le_bytes([id[0], id[1], id[2], id[3]]);
            let parameters = u16::from_le_bytes([parameters[0], parameters[1]]);
            end.prepared = Some(Prepared { id, parameters });
            end.status = connection.status;
            if let Some(shown) = statement_id {
                buffer.filled_mut()[start + HEADER + 1..start + HEADER + 5]
                    .copy_from_slice(&shown.to_le_bytes());
            }
        }
        Terminal::ColumnsEof => {
            let status = eof_status(payload).ok_or(RelayError::Protocol)?;
            hide_tracking(buffer, start, status);
        }
        Terminal::Infile | Terminal::Text | Terminal::Definitions | Terminal::Column => {
            end.status = connection.status
        }
    }
    Ok(stop)
}

/// Tells the id of rows whose values were made, in the place of the server's; gives the packet's new end.
fn tell_made(
    end: &mut End,
    buffer: &mut Buffer,
    packet: std::ops::Range<usize>,
    scanner: &Scanner,
    connection: &Connection,
    client: &Client,
) -> usize {
    let bytes = buffer.filled().get(packet.clone()).unwrap_or_default();
    let ok = bytes.get(HEADER..).and_then(|payload| OkPacket::parse(payload, connection.capabilities));
    // Of a statement before, which is run again, the client has been told.
    let is_before = matches!(client.kept, Some(Kept::Nothing));
    let (Some(values), Some(ok), false) = (client.made, ok, is_before) else { return packet.end };
    if bytes.get(HEADER) == Some(&0xfe) {
        end.made = (scanner.rows() > 0).then_some(values.first); // RETURNING
        return packet.end;
    }
    let Some(id) = values.told(ok.last_insert_id, ok.affected_rows) else { return packet.end };
    end.made = Some(id);
    let Some(fresh) = made::with_id(bytes, id, connection.capabilities) else { return packet.end };
    let stop = packet.start + fresh.len();
    buffer.replace(packet, &fresh);
    stop
}

/// Takes the word of session tracking out of the EOF packet at `start`, behind which no change can stand.
fn hide_tracking(buffer: &mut Buffer, start: usize, status: Status) {
    let shown = status.difference(Status::SESSION_STATE_CHANGED).bits().to_le_bytes();
    buffer.filled_mut()[start + HEADER + 3..start + HEADER + 5].copy_from_slice(&shown);
}

/// Rewrites the OK packet at `packet` for a client that is told of no changes, or of those that are `shown`; it only gets
/// shorter. Gives its new end.
fn shorten(
    buffer: &mut Buffer,
    packet: std::ops::Range<usize>,
    client: Capabilities,
    shown: Option<(&Shown, &mut Told)>,
) -> usize {
    let bytes = buffer.filled_mut();
    let sequence = bytes[packet.start + 3];
    let payload = bytes[packet.start + HEADER..packet.end].to_vec();
    let Some(mut ok) = OkPacket::parse(&payload, Capabilities::SESSION_TRACK) else { return packet.end };
    let changes = shown.and_then(|(shown, told)| shown.filter(ok.changes, told)).unwrap_or_default();
    ok.changes = &changes;
    let mut fresh = Vec::with_capacity(packet.len());
    fresh.extend_from_slice(&[0; HEADER]);
    ok.put(&mut fresh, payload[0], client);
    let mut header = Vec::with_capacity(HEADER);
    put_header(&mut header, fresh.len() - HEADER, sequence);
    fresh[..HEADER].copy_from_slice(&header);
    let end = packet.start + fresh.len();
    bytes[packet.start..end].copy_from_slice(&fresh);
    let all = bytes.len();
    bytes.copy_within(packet.end..all, end);
    buffer.truncate(all - (packet.end - end));
    end
}
