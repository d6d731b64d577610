//! The PROXY protocol, versions 1 and 2 (HAProxy, "The PROXY protocol", 2020/03/05): who connects by way of a balancer.
//!
//! Owns: its bytes, and how many of them there are. Does not know: who may send it.
//! Invariant: not a byte behind the header is read, and no more than `V1_MAX` or `16 + V2_BODY_MAX` of it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::socket::Peer;

/// Longest header of version 1, its CR LF included (section 2.1).
const V1_MAX: usize = 107;
/// First bytes of version 2 (section 2.2).
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Addresses and TLVs of version 2 that are taken; the longest addresses, of Unix sockets, have 216 bytes.
const V2_BODY_MAX: usize = 4096;
/// Bytes of a packet's header; as many decide whether a PROXY header begins.
const START: usize = 4;

/// What a header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// The client's address.
    Client(Peer),
    /// Nothing: the balancer itself connects (LOCAL), or it does not know (UNKNOWN, UNSPEC).
    Nothing,
}

/// Why a header cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The connection failed or ended within it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not one.
    #[error("malformed PROXY header: {0}")]
    Malformed(&'static str),
}

/// Whether the first four bytes that a peer sends begin a PROXY header. A packet of the protocol never begins so: it
/// would be number 88 or 10.
pub fn begins(start: [u8; START]) -> bool {
    start == *b"PROX" || V2_SIGNATURE.starts_with(&start)
}

/// Reads the header that begins with `start`, to its last byte. Not cancel safe.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, start: [u8; START]) -> Result<Said, HeaderError> {
    if start == *b"PROX" { read_v1(stream, start).await } else { read_v2(stream, start).await }
}

async fn read_v1<S: AsyncRead + Unpin>(stream: &mut S, start: [u8; START]) -> Result<Said, HeaderError> {
    let mut line = start.to_vec();
    while !line.ends_with(b"\n") {
        if line.len() == V1_MAX {
            return Err(HeaderError::Malformed("no end of the line within 107 bytes"));
        }
        line.push(stream.read_u8().await?); // what is behind the line is not ours to read
    }
    parse_v1(&line).ok_or(HeaderError::Malformed("version 1"))
}

/// `PROXY TCP4 192.0.2.7 10.0.0.1 4321 3306\r\n`.
fn parse_v1(line: &[u8]) -> Option<Said> {
    let text = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let fields = text.strip_prefix("PROXY ")?;
    if fields == "UNKNOWN" || fields.starts_with("UNKNOWN ") {
        return Some(Said::Nothing);
    }
    let mut fields = fields.split(' ');
    let family = fields.next()?;
    let [source, destination] = [fields.next()?, fields.next()?];
    let [port, _] = [v1_port(fields.next()?)?, v1_port(fields.next()?)?];
    if fields.next().is_some() {
        return None;
    }
    let [source, destination]: [IpAddr; 2] = [source.parse().ok()?, destination.parse().ok()?];
    let of_family = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    of_family.then_some(Said::Client(Peer::Network(SocketAddr::new(source, port))))
}

/// Digits without sign or leading zeros.
fn v1_port(text: &str) -> Option<u16> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain)
}

async fn read_v2<S: AsyncRead + Unpin>(stream: &mut S, start: [u8; START]) -> Result<Said, HeaderError> {
    let mut fixed = [0; 16];
    fixed[..START].copy_from_slice(&start);
    stream.read_exact(&mut fixed[START..]).await?;
    if !fixed.starts_with(&V2_SIGNATURE) {
        return Err(HeaderError::Malformed("not the signature of version 2"));
    }
    let [.., command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > V2_BODY_MAX {
        return Err(HeaderError::Malformed("version 2 of more than 4096 bytes"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    parse_v2(command, family, &body).ok_or(HeaderError::Malformed("version 2"))
}

/// `body`: addresses as `family` has them, then TLVs, which are skipped.
fn parse_v2(command: u8, family: u8, body: &[u8]) -> Option<Said> {
    let network = |ip: IpAddr, port: [u8; 2]| {
        Said::Client(Peer::Network(SocketAddr::new(ip, u16::from_be_bytes(port))))
    };
    match (command, family) {
        (0x20, _) | (0x21, 0x00) => Some(Said::Nothing), // LOCAL; UNSPEC
        (0x21, 0x11) => {
            let (addresses, _) = body.split_first_chunk::<12>()?; // 4 + 4, ports 2 + 2
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *addresses;
            Some(network(Ipv4Addr::new(a, b, c, d).into(), [high, low]))
        }
        (0x21, 0x21) => {
            let (addresses, _) = body.split_first_chunk::<36>()?; // 16 + 16, ports 2 + 2
            let source = addresses.first_chunk::<16>()?;
            Some(network(Ipv6Addr::from(*source).into(), [addresses[32], addresses[33]]))
        }
        (0x21, 0x31) => (body.len() >= 216).then_some(Said::Client(Peer::Local)), // two paths of 108
        _ => None, // another version, another command, datagrams
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is made of `bytes`, and what is left of them.
    fn read_all(bytes: &[u8]) -> (Result<Said, HeaderError>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut stream = bytes;
            let mut start = [0; START];
            stream.read_exact(&mut start).await.unwrap();
            assert!(begins(start), "{start:?}");
            let said = read(&mut stream, start).await;
            (said, stream.to_vec())
        })
    }

    fn said(bytes: &[u8]) -> Option<Said> {
        let (said, rest) = read_all(&[bytes, b"next"].concat());
        if said.is_ok() {
            assert_eq!(rest, b"next", "not a byte more, not a byte less");
        }
        said.ok()
    }

    fn client(address: &str) -> Option<Said> {
        Some(Said::Client(Peer::Network(address.parse().unwrap())))
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&V2_SIGNATURE[..], &[command, family], &length, body].concat()
    }

    #[test]
    fn version_1() {
        assert_eq!(said(b"PROXY TCP4 192.0.2.7 10.0.0.1 4321 3306\r\n"), client("192.0.2.7:4321"));
        assert_eq!(said(b"PROXY TCP6 2001:db8::7 ::1 4321 3306\r\n"), client("[2001:db8::7]:4321"));
        assert_eq!(said(b"PROXY UNKNOWN\r\n"), Some(Said::Nothing));
        let longest =
            format!("PROXY UNKNOWN {0} {0} 65535 65535\r\n", "ffff:".repeat(8).trim_end_matches(':'));
        assert_eq!(longest.len(), V1_MAX);
        assert_eq!(said(longest.as_bytes()), Some(Said::Nothing));
        for wrong in [
            "PROXY TCP4 192.0.2.7 10.0.0.1 4321 3306\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4321\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 4321 3306 1\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 65536 3306\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 +1 3306\r\n",
            "PROXY TCP4 192.0.2.7 10.0.0.1 01 3306\r\n",
            "PROXY TCP4  192.0.2.7 10.0.0.1 1 3306\r\n",
            "PROXY TCP4 ::1 ::1 1 3306\r\n",
            "PROXY TCP6 192.0.2.7 10.0.0.1 1 3306\r\n",
            "PROXY UDP4 192.0.2.7 10.0.0.1 1 3306\r\n",
            "PROXY UNKNOWNER\r\n",
            "PROXX TCP4 192.0.2.7 10.0.0.1 1 3306\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(said(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn version_2() {
        let v4 = [192, 0, 2, 8, 10, 0, 0, 1, 0x10, 0xe1, 0x0c, 0xea];
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::9".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&[0x10, 0xe1]);
        assert_eq!(said(&v2(0x21, 0x11, &v4)), client("192.0.2.8:4321"));
        assert_eq!(said(&v2(0x21, 0x11, &[&v4[..], &[4, 0, 3, 1, 2, 3]].concat())), client("192.0.2.8:4321"));
        assert_eq!(said(&v2(0x21, 0x21, &v6)), client("[2001:db8::9]:4321"));
        assert_eq!(said(&v2(0x21, 0x31, &[0; 216])), Some(Said::Client(Peer::Local)));
        for nothing in [v2(0x20, 0, &[]), v2(0x20, 0x11, &v4), v2(0x21, 0, &[]), v2(0x21, 0, &[1, 2])] {
            assert_eq!(said(&nothing), Some(Said::Nothing), "{nothing:?}");
        }
        for wrong in [
            v2(0x21, 0x11, &v4[..11]),
            v2(0x21, 0x21, &v6[..35]),
            v2(0x21, 0x31, &[0; 215]),
            v2(0x21, 0x12, &v4),
            v2(0x22, 0x11, &v4),
            v2(0x11, 0x11, &v4),
        ] {
            assert_eq!(said(&wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_read_is_bounded() {
        let (error, rest) = read_all(&[&b"PROXY "[..], &[b'x'; 200]].concat());
        assert!(matches!(error, Err(HeaderError::Malformed(_))));
        assert_eq!(rest.len(), 206 - V1_MAX);
        let body = [0; V2_BODY_MAX + 1];
        let (error, rest) = read_all(&v2(0x21, 0x11, &body));
        assert!(matches!(error, Err(HeaderError::Malformed(_))));
        assert_eq!(rest.len(), body.len(), "not even begun");
        assert_eq!(said(&v2(0x20, 0, &body[1..])), Some(Said::Nothing));
    }

    #[test]
    fn a_packet_does_not_begin_so() {
        for number in [0, 1, 2] {
            assert!(!begins([b'P', b'R', b'O', number]) && !begins([0x0d, 0x0a, 0x0d, number]));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(version_2: bool, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let start: &[u8] = if version_2 { &V2_SIGNATURE } else { b"PROXY " };
            let _ = read_all(&[start, &bytes].concat());
        }

        #[test]
        fn cut_headers_are_refused(cut in 4..27_usize) {
            let whole = v2(0x21, 0x11, &[0; 12]);
            prop_assert!(matches!(read_all(&whole[..cut]).0, Err(HeaderError::Io(_))));
        }
    }
}
