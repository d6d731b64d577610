//! A server's greeting, read raw: mysql_async keeps its flags to itself, and typed flags would lose unknown bits.
//!
//! Invariant: at most `PAYLOAD_MAX` bytes are read, nothing is written, no input panics.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

/// Longest greeting that is accepted; real ones have about 100 bytes.
const PAYLOAD_MAX: usize = 1024;

/// Protocol 10 greeting (manual: "Protocol::HandshakeV10"), as far as the proxy repeats it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Greeting {
    /// `server version`, as sent.
    pub version_text: String,
    /// Both halves of `capability flags`.
    pub capabilities: u32,
    /// MariaDB: the last four of the ten reserved bytes, where LONG_PASSWORD is clear.
    pub mariadb_capabilities: u32,
    /// `character_set`.
    pub collation: u8,
    /// `auth_plugin_name`; empty where the server names none.
    pub auth_plugin: String,
}

/// Connects, reads the greeting and leaves.
///
/// The server counts this as an interrupted handshake (`max_connect_errors`), which the next good login of
/// this host sets back to zero: so call it only after a login that worked, and once per login.
pub(super) async fn read_from(at: SocketAddr) -> io::Result<Greeting> {
    let mut stream = TcpStream::connect(at).await?;
    read(&mut stream).await
}

/// Not cancel safe: a part of the packet may have been read.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Greeting> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], 0]) as usize; // int<3>
    if length > PAYLOAD_MAX {
        return Err(invalid("greeting too long"));
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    parse(&payload).ok_or_else(|| invalid("not a protocol 10 greeting"))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn parse(payload: &[u8]) -> Option<Greeting> {
    let rest = payload.strip_prefix(&[10])?; // int<1> protocol version
    let (version, rest) = until_nul(rest)?; // string<NUL>
    let rest = rest.get(4 + 8 + 1..)?; // int<4> thread id, string[8] auth data, filler
    let (low, rest) = rest.split_first_chunk::<2>()?; // int<2>
    let (&collation, rest) = rest.split_first()?; // int<1>
    let rest = rest.get(2..)?; // int<2> status flags
    let (high, rest) = rest.split_first_chunk::<2>()?; // int<2>
    let (&auth_length, rest) = rest.split_first()?; // int<1>
    let rest = rest.get(6..)?; // string[6] reserved
    let (extended, rest) = rest.split_first_chunk::<4>()?; // string[4] reserved, MariaDB: int<4>
    let rest = rest.get(usize::from(auth_length).saturating_sub(8).max(13)..).unwrap_or_default(); // auth data
    let plugin = until_nul(rest).map_or(rest, |(plugin, _)| plugin); // string<NUL>
    let capabilities = u32::from_le_bytes([low[0], low[1], high[0], high[1]]);
    Some(Greeting {
        version_text: String::from_utf8(version.to_vec()).ok()?,
        capabilities,
        mariadb_capabilities: if capabilities & 1 == 0 { u32::from_le_bytes(*extended) } else { 0 },
        collation,
        auth_plugin: String::from_utf8_lossy(plugin).into_owned(),
    })
}

fn until_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn capture(version: &str, low: u16, high: u16, extended: u32, plugin: &str) -> Vec<u8> {
        let mut payload = vec![10];
        payload.extend_from_slice(version.as_bytes());
        payload.extend_from_slice(&[0, 42, 0, 0, 0]);
        payload.extend_from_slice(b"abcdefgh\0");
        payload.extend_from_slice(&low.to_le_bytes());
        payload.extend_from_slice(&[255, 2, 0]);
        payload.extend_from_slice(&high.to_le_bytes());
        payload.extend_from_slice(&[21, 0, 0, 0, 0, 0, 0]);
        payload.extend_from_slice(&extended.to_le_bytes());
        payload.extend_from_slice(b"ijklmnopqrst\0");
        payload.extend_from_slice(plugin.as_bytes());
        payload.push(0);
        payload
    }

    #[test]
    fn greeting_of_mysql() {
        let greeting = parse(&capture("9.7.4", 0xffff, 0xdfff, 7, "caching_sha2_password")).unwrap();
        assert_eq!(greeting.version_text, "9.7.4");
        assert_eq!(greeting.capabilities, 0xdfff_ffff);
        assert_eq!(greeting.mariadb_capabilities, 0, "reserved bytes of MySQL mean nothing");
        assert_eq!(greeting.collation, 255);
        assert_eq!(greeting.auth_plugin, "caching_sha2_password");
    }

    #[test]
    fn greeting_of_mariadb() {
        let greeting = parse(&capture("5.5.5-10.11.19-MariaDB", 0xf7fe, 0x81ff, 29, "mysql_native_password"));
        let greeting = greeting.unwrap();
        assert_eq!(greeting.version_text, "5.5.5-10.11.19-MariaDB");
        assert_eq!(greeting.mariadb_capabilities, 29);
    }

    #[test]
    fn truncated_greetings_are_refused() {
        let whole = capture("9.7.4", 0xffff, 0xdfff, 0, "");
        for end in 0..40 {
            let cut = parse(&whole[..end.min(whole.len())]);
            assert!(cut.is_none() || end >= 1 + 6 + 13 + 2 + 1 + 2 + 2 + 1 + 10, "{end}");
        }
        assert_eq!(parse(b"\xff\x10\x04Too many connections"), None);
    }

    #[tokio::test]
    async fn a_length_beyond_the_bound_is_refused_unread() {
        let error = read(&mut &[0xff, 0xff, 0xff, 0, 10][..]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            parse(&bytes);
        }
    }
}
