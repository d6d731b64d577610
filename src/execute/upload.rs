//! A file that the client sends for LOAD DATA LOCAL, where Tidegate itself has asked for it.
//!
//! Owns: the way from packets to bytes, and to the file's end. Does not know: what the bytes are. Invariant: a piece at a time is held; nothing
//! behind the file is taken from the client.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::client::Client;
use super::relay::RelayError;
use crate::wire::buffer::Buffer;
use crate::wire::frame::{HEADER, Header, PAYLOAD_MAX, put_packet};

/// A client that stops in the middle of its file is given up, as by a server's `net_read_timeout`.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// A file on its way.
#[derive(Debug)]
pub struct Upload {
    buffer: Buffer,
    /// What is left of the packet that is passing.
    left: usize,
    /// The number of the packet that answers, as far as packets have come.
    sequence: u8,
    /// The packet before was as long as packets can be: another one belongs to it.
    full: bool,
    ended: bool,
}

/// A server's question for a file, and the number of the packet behind it.
pub fn put_request(out: &mut Vec<u8>, sequence: u8, name: &[u8]) -> u8 {
    put_packet(out, sequence, &[b"\xfb", name].concat())
}

impl Upload {
    /// The file whose first packet has this number.
    pub fn new(buffer: Buffer, sequence: u8) -> Self {
        Self { buffer, left: 0, sequence, full: false, ended: false }
    }

    /// The number of the packet that answers the file, once it has ended.
    pub fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Whether all has come.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Appends the next piece to `out`; nothing at the end. Not cancel safe.
    ///
    /// # Errors
    /// The client has gone, was killed, says nothing for too long, or breaks the protocol.
    pub async fn next(&mut self, client: &mut Client, out: &mut Vec<u8>) -> Result<(), RelayError> {
        while !self.ended {
            let before = out.len();
            self.unpack(out)?;
            if out.len() > before || self.ended {
                return Ok(());
            }
            if self.buffer.space().is_empty() {
                self.buffer.reserve(self.buffer.capacity());
            }
            let read = timeout(READ_LIMIT, client.read(self.buffer.space())).await;
            let length = match read.map_err(|_| RelayError::Client(io::ErrorKind::TimedOut.into()))? {
                Some(Ok(0)) => return Err(RelayError::Client(io::ErrorKind::UnexpectedEof.into())),
                Some(read) => read.map_err(RelayError::Client)?,
                None => return Err(RelayError::Killed),
            };
            self.buffer.fill(length);
        }
        Ok(())
    }

    /// Reads what is left of the file, for nobody: a client hears nothing before its end. As above.
    ///
    /// # Errors
    /// As above.
    pub async fn drain(&mut self, client: &mut Client) -> Result<(), RelayError> {
        let mut nowhere = Vec::new();
        while !self.ended {
            nowhere.clear();
            self.next(client, &mut nowhere).await?;
        }
        Ok(())
    }

    fn unpack(&mut self, out: &mut Vec<u8>) -> Result<(), RelayError> {
        loop {
            let bytes = self.buffer.filled();
            if self.left > 0 {
                let length = self.left.min(bytes.len());
                out.extend_from_slice(&bytes[..length]);
                self.left -= length;
                self.buffer.consume(length);
                if self.left > 0 {
                    return Ok(());
                }
                continue;
            }
            let Some(header) = Header::parse(bytes) else { return Ok(()) };
            self.buffer.consume(HEADER);
            self.sequence = self.sequence.wrapping_add(1);
            self.left = header.length;
            // An empty packet behind a full one is the end of that.
            let continues = std::mem::replace(&mut self.full, header.length == PAYLOAD_MAX);
            if header.length == 0 && !continues {
                self.ended = true;
                // A client has nothing to say before the answer.
                return if self.buffer.filled().is_empty() { Ok(()) } else { Err(RelayError::Protocol) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::buffer::Freelist;

    #[test]
    fn packets_become_a_file_however_they_are_cut() {
        let file = [&[3, 0, 0, 2, b'a', b'b', b'c'][..], &[1, 0, 0, 3, b'd'], &[0, 0, 0, 4]].concat();
        for piece in 1..=file.len() {
            let (mut upload, mut out) =
                (Upload::new(std::rc::Rc::new(Freelist::default()).take(), 2), Vec::new());
            for bytes in file.chunks(piece) {
                assert!(!upload.has_ended());
                upload.buffer.extend(bytes);
                upload.unpack(&mut out).unwrap();
            }
            assert!(upload.has_ended() && out == b"abcd" && upload.sequence() == 5, "by {piece}");
        }
        let mut upload = Upload::new(std::rc::Rc::new(Freelist::default()).take(), 2);
        upload.buffer.extend(&[0, 0, 0, 2, 0]);
        assert!(matches!(upload.unpack(&mut Vec::new()), Err(RelayError::Protocol)));
    }

    #[test]
    fn an_empty_packet_behind_a_full_one_does_not_end_the_file() {
        let mut upload = Upload::new(std::rc::Rc::new(Freelist::default()).take(), 2);
        let mut out = Vec::new();
        upload.buffer.extend(&[255, 255, 255, 2]);
        upload.unpack(&mut out).unwrap();
        upload.left = 0; // all of it has come
        upload.buffer.extend(&[0, 0, 0, 3, 1, 0, 0, 4, b'a']);
        upload.unpack(&mut out).unwrap();
        assert!(!upload.has_ended() && out == b"a");
        upload.buffer.extend(&[0, 0, 0, 5]);
        upload.unpack(&mut out).unwrap();
        assert!(upload.has_ended());
    }
}
