//! LOAD DATA LOCAL: the client's file on its way to the server. Only for clients that have said that they send files: others are told of no
//! request ([`RelayError::Uninvited`]).

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::client::Client;
use super::relay::RelayError;
use crate::backend::connection::Connection;
use crate::wire::buffer::Buffer;
use crate::wire::frame::{HEADER, Header, Renumber};

/// A client that stops in the middle of its file is given up, as by a server's `net_read_timeout`.
const READ_LIMIT: Duration = Duration::from_secs(30);

/// Passes the client's packets on until the empty one that ends the file. The first has `number`, which a compressed
/// connection on either side may count otherwise; then the number of the packet after the last is given. `buffer` is
/// used for the way and must be empty; it is empty again afterwards.
pub(super) async fn pump(
    connection: &mut Connection,
    client: &mut Client,
    buffer: &mut Buffer,
    number: u8,
) -> Result<u8, RelayError> {
    let mut skip = 0;
    let compressed = client.stream.is_compressed() || connection.stream.is_compressed();
    let mut renumber = compressed.then(|| Renumber::from(number));
    loop {
        if buffer.space().is_empty() {
            buffer.reserve(buffer.capacity());
        }
        let read = timeout(READ_LIMIT, client.read(buffer.space())).await;
        let length = match read.map_err(|_| RelayError::Client(io::ErrorKind::TimedOut.into()))? {
            Some(Ok(0)) => return Err(RelayError::Client(io::ErrorKind::UnexpectedEof.into())),
            Some(read) => read.map_err(RelayError::Client)?,
            None => return Err(RelayError::Killed),
        };
        if let Some(renumber) = &mut renumber {
            renumber.pass(&mut buffer.space()[..length]);
        }
        buffer.fill(length);
        let (pass, ended) = scan(buffer.filled(), &mut skip);
        connection
            .stream
            .write_all(&buffer.filled()[..pass])
            .await
            .map_err(RelayError::server_after_bytes)?;
        buffer.consume(pass);
        if ended {
            // A client has nothing to say before the server's answer.
            let next = renumber.map_or(0, |renumber| renumber.next);
            return if buffer.filled().is_empty() { Ok(next) } else { Err(RelayError::Protocol) };
        }
    }
}

/// How many bytes of `bytes` may pass, and whether they end the file. `skip` is what is left of a packet.
fn scan(bytes: &[u8], skip: &mut usize) -> (usize, bool) {
    let mut at = 0;
    loop {
        let passed = (*skip).min(bytes.len() - at);
        *skip -= passed;
        at += passed;
        let Some(header) = Header::parse(&bytes[at..]).filter(|_| *skip == 0) else { return (at, false) };
        if header.length == 0 {
            return (at + HEADER, true);
        }
        *skip = HEADER + header.length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_packet_ends_the_file_however_it_is_cut() {
        let file = [&[3, 0, 0, 2, b'a', b'b', b'c'][..], &[1, 0, 0, 3, b'd'], &[0, 0, 0, 4]].concat();
        for piece in 1..=file.len() {
            let (mut skip, mut at, mut seen) = (0, 0, 0);
            loop {
                seen = (seen + piece).min(file.len());
                let (pass, ended) = scan(&file[at..seen], &mut skip);
                at += pass;
                if ended {
                    break;
                }
            }
            assert_eq!(at, file.len(), "by {piece}");
        }
    }
}
