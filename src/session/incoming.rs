//! Receives a client's commands.
//!
//! Owns: the wait for the next command and its assembly. Does not know: what commands mean.
//! Invariant: while a client is idle no buffer is held; what a client may send before it is understood is bounded.

use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::timeout;

use super::worker::{Reserved, Worker};
use crate::execute::client::Client;
use crate::wire::buffer::{Buffer, ORDINARY};
use crate::wire::frame::{HEADER, Header, PAYLOAD_MAX, Renumber, put_packet};

/// A client that stops in the middle of a packet is given up, as by a server's `net_read_timeout`.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// Statements up to this size are not counted against the common budget.
const COUNTED_ABOVE: usize = 1 << 20;

/// One command, whole.
#[derive(Debug)]
pub struct Command {
    buffer: Buffer,
    end: usize,
    /// The payload, where it came in several packets.
    assembled: Option<Vec<u8>>,
    _reserved: Option<Reserved>,
}

impl Command {
    /// Its payload, command byte included; never empty.
    pub fn payload(&self) -> &[u8] {
        match &self.assembled {
            Some(payload) => payload,
            None => &self.buffer.filled()[HEADER..self.end],
        }
    }

    /// Its packets as they came.
    pub fn packets(&self) -> &[u8] {
        &self.buffer.filled()[..self.end]
    }

    /// Its packets with another text in the place of `text`, which ends the payload.
    pub fn with_text(&self, text: &[u8], other: &[u8]) -> Vec<u8> {
        let payload = self.payload();
        let head = payload.get(..payload.len().saturating_sub(text.len())).unwrap_or_default();
        let mut packets = Vec::with_capacity(HEADER + head.len() + other.len());
        put_packet(&mut packets, 0, &[head, other].concat());
        packets
    }

    /// The sequence number of the reply's first packet: one after the command's last.
    pub fn reply_sequence(&self) -> u8 {
        let packets = 1 + self.payload().len() / PAYLOAD_MAX;
        u8::try_from(packets % 256).unwrap_or(1)
    }

    /// Gives the buffer back where further commands follow in it.
    pub fn into_rest(mut self) -> Option<Buffer> {
        self.buffer.consume(self.end);
        (!self.buffer.filled().is_empty()).then_some(self.buffer)
    }
}

/// What came of waiting for a command.
#[derive(Debug)]
pub enum Incoming {
    /// A command.
    Command(Command),
    /// The client has gone.
    Closed,
    /// A signal is raised.
    Signalled,
    /// Nothing has come for as long as the caller wanted to wait.
    Idle,
    /// It sends more than it may: error 1153, with this sequence number.
    TooLarge(u8),
    /// The budget for large statements is used up: error 1041.
    NoMemory,
    /// Sequence numbers that make no sense: error 1156.
    OutOfOrder,
}

/// Waits for the next command. `pending` holds what came behind the one before; `mask` says which signals end the
/// wait while nothing of a command has come; `patience` bounds that wait.
pub async fn next(
    client: &mut Client,
    worker: &Worker,
    pending: Option<Buffer>,
    mask: u8,
    patience: Option<Duration>,
) -> Incoming {
    let mut buffer = match (pending, patience) {
        (Some(buffer), _) => buffer,
        (None, None) => match first_bytes(client, worker, mask).await {
            Ok(Some(buffer)) => buffer,
            Ok(None) => return Incoming::Signalled,
            Err(error) => return unreadable(&error),
        },
        (None, Some(patience)) => match timeout(patience, first_bytes(client, worker, mask)).await {
            Ok(Ok(Some(buffer))) => buffer,
            Ok(Ok(None)) => return Incoming::Signalled,
            Ok(Err(error)) => return unreadable(&error),
            Err(_) => return Incoming::Idle,
        },
    };
    let mut reserved: Option<Reserved> = None;
    let mut counted = COUNTED_ABOVE;
    // In a compressed stream the frames count, and servers do not look at the packets' numbers: libmariadb's are wrong
    // where a statement has several.
    let compressed = client.stream.is_compressed();
    let end = loop {
        let wanted = match measure(buffer.filled(), worker.config.limits.packet_max, !compressed) {
            Measured::Whole(end) => break end,
            Measured::More(wanted) => wanted,
            Measured::TooLarge(sequence) => return Incoming::TooLarge(sequence),
            Measured::OutOfOrder => return Incoming::OutOfOrder,
        };
        if wanted > buffer.capacity() {
            // Grows as bytes arrive, not as they are announced.
            let target = wanted.min((buffer.filled().len() * 2).max(ORDINARY * 4));
            if target > counted {
                match worker.reserve_packet(target - counted) {
                    Some(more) => keep(&mut reserved, more),
                    None => return Incoming::NoMemory,
                }
                counted = target;
            }
            buffer.reserve(target);
        } else if buffer.space().is_empty() {
            buffer.reserve(buffer.capacity());
        }
        match timeout(READ_LIMIT, client.stream.read(buffer.space())).await {
            Ok(Ok(length @ 1..)) => buffer.fill(length),
            Ok(Err(error)) => return unreadable(&error),
            _ => return Incoming::Closed,
        }
    };
    if compressed {
        Renumber::from(0).pass(&mut buffer.filled_mut()[..end]);
    }
    let assembled = (end > PAYLOAD_MAX).then(|| assemble(&buffer.filled()[..end]));
    if let Some(payload) = &assembled {
        match worker.reserve_packet(payload.len()) {
            Some(more) => keep(&mut reserved, more),
            None => return Incoming::NoMemory,
        }
    }
    Incoming::Command(Command { buffer, end, assembled, _reserved: reserved })
}

/// A stream that cannot be read any more has ended, or holds compressed frames that are none.
fn unreadable(error: &io::Error) -> Incoming {
    if error.kind() == io::ErrorKind::InvalidData { Incoming::OutOfOrder } else { Incoming::Closed }
}

fn keep(reserved: &mut Option<Reserved>, more: Reserved) {
    match reserved {
        Some(known) => known.join(more),
        None => *reserved = Some(more),
    }
}

/// Waits until the first bytes of a command are there; `None` when a signal of `mask` comes first.
///
/// A buffer is taken for each try and given back when nothing is there. Reading by `poll_read` instead of waiting for
/// readiness and trying saves a system call: after a read that did not fill the buffer nothing is asked of the kernel.
async fn first_bytes(client: &mut Client, worker: &Worker, mask: u8) -> io::Result<Option<Buffer>> {
    poll_fn(|context| {
        if client.signals.poll(context, mask).is_ready() {
            return Poll::Ready(Ok(None));
        }
        let mut buffer = worker.buffers.take();
        match ready!(client.stream.poll_read_some(context, buffer.space()))? {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            length => {
                buffer.fill(length);
                Poll::Ready(Ok(Some(buffer)))
            }
        }
    })
    .await
}

enum Measured {
    Whole(usize),
    /// This many bytes are needed at least.
    More(usize),
    /// With the sequence number that the answer has.
    TooLarge(u8),
    OutOfOrder,
}

/// How long the command at the start of `bytes` is. `numbered`: its packets' numbers must be right.
fn measure(bytes: &[u8], payload_max: usize, numbered: bool) -> Measured {
    let (mut at, mut payload) = (0, 0);
    for sequence in (0..=u8::MAX).cycle() {
        let Some(header) = Header::parse(&bytes[at..]) else { return Measured::More(at + HEADER) };
        if numbered && header.sequence != sequence {
            return Measured::OutOfOrder;
        }
        payload += header.length;
        if payload > payload_max {
            return Measured::TooLarge(sequence.wrapping_add(1));
        }
        at += HEADER + header.length;
        if bytes.len() < at {
            return Measured::More(at);
        }
        if header.length < PAYLOAD_MAX {
            break;
        }
    }
    Measured::Whole(at)
}

/// The payload out of its packets.
fn assemble(mut packets: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(packets.len());
    while let Some(header) = Header::parse(packets) {
        let (packet, rest) = packets.split_at((HEADER + header.length).min(packets.len()));
        payload.extend_from_slice(&packet[HEADER..]);
        packets = rest;
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::put_packet;

    #[test]
    fn commands_are_measured_and_assembled() {
        let text = vec![b'x'; PAYLOAD_MAX + 10];
        let mut packets = Vec::new();
        put_packet(&mut packets, 0, &text);
        assert!(matches!(measure(&packets, usize::MAX, true), Measured::Whole(end) if end == packets.len()));
        assert!(matches!(measure(&packets[..packets.len() - 1], usize::MAX, true), Measured::More(_)));
        assert!(matches!(measure(&packets, PAYLOAD_MAX, true), Measured::TooLarge(2)));
        assert_eq!(assemble(&packets), text);
    }

    #[test]
    fn a_wrong_sequence_number_is_noticed() {
        assert!(matches!(measure(&[1, 0, 0, 1, 3], 10, true), Measured::OutOfOrder));
        assert!(matches!(measure(&[1, 0, 0, 1, 3], 10, false), Measured::Whole(5)));
    }

    #[test]
    fn an_announced_length_takes_no_memory() {
        assert!(matches!(measure(&[0xff, 0xff, 0xff, 0, 3], 1 << 30, true), Measured::More(_)));
    }
}
