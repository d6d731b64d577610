//! Packets of the connection phase, one at a time.
//!
//! Owns: header, length bound and sequence number of packets before the command phase. Does not know: their
//! content. Invariant: never reads a byte past the packet, because TLS may start right behind it; that costs two
//! reads per packet, so the command phase has framing of its own.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Largest packet of the connection phase: 64 KiB of connection attributes (the servers' own bound) and the rest.
pub const PACKET_MAX: usize = 72 * 1024;

/// Memory taken before the first byte of a payload has come.
const INITIAL_CAPACITY: usize = 512;

/// Why a packet could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The peer closed the connection between two packets.
    #[error("the peer closed the connection")]
    Closed,
    /// The connection failed, or ended inside a packet.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Longer than `PACKET_MAX`: not a packet of the connection phase.
    #[error("a packet of {0} bytes is too long for the connection phase")]
    TooLong(usize),
    /// The sequence number is not the next one.
    #[error("packet number {got} where {expected} was due")]
    OutOfOrder {
        /// The number that was due.
        expected: u8,
        /// The number in the header.
        got: u8,
    },
}

/// A connection in its connection phase: the stream, and the number of the next packet on it.
#[derive(Debug)]
pub struct PacketIo<S> {
    stream: S,
    sequence: u8,
}

impl<S> PacketIo<S> {
    /// Goes on with packet number `sequence`.
    pub fn new(stream: S, sequence: u8) -> Self {
        Self { stream, sequence }
    }

    /// The number of the next packet in either direction.
    pub fn sequence(&self) -> u8 {
        self.sequence
    }

    /// The stream underneath.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream underneath, to be used between packets.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Gives the stream back; no byte of it is held here.
    pub fn into_parts(self) -> (S, u8) {
        (self.stream, self.sequence)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> PacketIo<S> {
    /// Reads the next packet's payload. Not cancel safe: a part of the packet may be lost.
    pub async fn read(&mut self) -> Result<Vec<u8>, PacketError> {
        let header = self.read_header().await?;
        self.read_payload(header).await
    }

    /// Reads four bytes, which may be a packet's header. Not cancel safe.
    pub async fn read_header(&mut self) -> Result<[u8; 4], PacketError> {
        let mut header = [0; 4];
        match self.stream.read(&mut header[..1]).await {
            Ok(0) => return Err(PacketError::Closed),
            // TLS that ends without its goodbye, which clients of MySQL do not say.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(PacketError::Closed),
            read => read?,
        };
        self.stream.read_exact(&mut header[1..]).await?;
        Ok(header)
    }

    /// Reads the payload behind `header`. Not cancel safe.
    pub async fn read_payload(&mut self, header: [u8; 4]) -> Result<Vec<u8>, PacketError> {
        let [a, b, c, sequence] = header;
        let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        if length > PACKET_MAX {
            return Err(PacketError::TooLong(length));
        }
        if sequence != self.sequence {
            return Err(PacketError::OutOfOrder { expected: self.sequence, got: sequence });
        }
        self.sequence = sequence.wrapping_add(1);
        // The buffer grows with what arrives, not with what the header promises.
        let mut payload = Vec::with_capacity(length.min(INITIAL_CAPACITY));
        (&mut self.stream).take(length as u64).read_to_end(&mut payload).await?;
        if payload.len() < length {
            return Err(PacketError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(payload)
    }

    /// Writes `payload`, at most `PACKET_MAX` bytes, as one packet. Not cancel safe: a part may have gone out.
    pub async fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        if payload.len() > PACKET_MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "packet too long for the connection phase",
            ));
        }
        let [a, b, c, ..] = payload.len().to_le_bytes();
        let mut packet = zeroize::Zeroizing::new(Vec::with_capacity(payload.len() + 4));
        packet.extend_from_slice(&[a, b, c, self.sequence]);
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.stream.write_all(&packet).await?;
        self.stream.flush().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn read(bytes: &[u8]) -> (Result<Vec<u8>, PacketError>, Vec<u8>) {
        runtime().block_on(async {
            let (near, mut far) = tokio::io::duplex(1024);
            far.write_all(bytes).await.unwrap();
            drop(far);
            let mut io = PacketIo::new(near, 1);
            let packet = io.read().await;
            let (mut stream, _) = io.into_parts();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            (packet, rest)
        })
    }

    #[test]
    fn nothing_is_read_past_a_packet() {
        let (packet, rest) = read(&[3, 0, 0, 1, b'a', b'b', b'c', 0x16, 0x03]);
        assert_eq!(packet.unwrap(), b"abc");
        assert_eq!(rest, [0x16, 0x03]);
    }

    #[test]
    fn bad_packets_are_errors() {
        assert!(matches!(read(&[]).0, Err(PacketError::Closed)));
        assert!(matches!(read(&[3, 0]).0, Err(PacketError::Io(_))));
        assert!(matches!(read(&[3, 0, 0, 1, b'a']).0, Err(PacketError::Io(_))));
        assert!(matches!(read(b"GET / HTTP/1.1").0, Err(PacketError::TooLong(_))));
        assert!(matches!(read(&[0, 0, 0, 7]).0, Err(PacketError::OutOfOrder { expected: 1, got: 7 })));
    }

    #[test]
    fn sequence_counts_both_directions() {
        runtime().block_on(async {
            let (near, far) = tokio::io::duplex(1024);
            let (mut client, mut server) = (PacketIo::new(near, 0), PacketIo::new(far, 0));
            for turn in 0..300_u32 {
                client.write(&turn.to_le_bytes()).await.unwrap();
                assert_eq!(server.read().await.unwrap(), turn.to_le_bytes());
                server.write(b"").await.unwrap();
                assert_eq!(client.read().await.unwrap(), b"");
            }
            assert_eq!(client.sequence(), 88, "600 packets modulo 256");
        });
    }
}
