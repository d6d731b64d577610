//! A byte stream to a client or a server: a socket, plain or with TLS over it, and compression over either.
//!
//! Owns: these kinds behind one type, so that the relay is written once. Does not know: packets.
//! Invariant: nothing is buffered here but what TLS must hold, and what has come of compressed frames that nobody has
//! asked for yet; a connection that is idle holds nothing.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::compress::{Codec, Side};
use super::packer::Compression;
use super::socket::Socket;

/// A receiver that takes none of a packet for this long is given up, as by a server's `net_write_timeout`.
const WRITE_LIMIT: Duration = Duration::from_secs(60);
/// Compressed bytes that are read at once.
const RAW_MAX: usize = 64 * 1024;
/// Bytes that are compressed before others on the core have their turn: some 10 ms.
const TURN_MAX: usize = 512 * 1024;

/// TLS as rustls speaks it on either side.
pub type Tls = tokio_rustls::TlsStream<Socket>;

/// A connection: plain or encrypted, compressed or not.
#[derive(Debug)]
pub struct Stream {
    transport: Transport,
    packing: Option<Box<Packing>>,
}

/// What carries the bytes.
#[derive(Debug)]
enum Transport {
    Plain(Socket),
    Tls(Box<Tls>),
}

/// Compressed frames on their way.
#[derive(Debug)]
struct Packing {
    codec: Codec,
    /// What was read and not unpacked yet.
    raw: Vec<u8>,
    raw_at: usize,
    /// What was packed and not written yet.
    out: Vec<u8>,
    out_at: usize,
    /// Packed since others had their turn.
    turn: usize,
}

thread_local! {
    /// Where compressed bytes are read to; all of them are unpacked, or kept elsewhere, before it is used again.
    static RAW: RefCell<Box<[u8]>> = RefCell::new(vec![0; RAW_MAX].into());
}

impl From<Socket> for Stream {
    fn from(socket: Socket) -> Self {
        Self { transport: Transport::Plain(socket), packing: None }
    }
}

impl From<Box<Tls>> for Stream {
    fn from(tls: Box<Tls>) -> Self {
        Self { transport: Transport::Tls(tls), packing: None }
    }
}

impl Stream {
    /// Whatever is sent and received from now on is compressed: the login has just ended. `side` is ours.
    pub fn compress(&mut self, compression: Compression, side: Side) {
        let codec = Codec::new(compression, side);
        let (raw, out) = (Vec::new(), Vec::new());
        self.packing = Some(Packing { codec, raw, raw_at: 0, out, out_at: 0, turn: 0 }.into());
    }

    /// Whether it is compressed. Packets then have numbers that count frames in places: see [`Self::next_packet`].
    pub fn is_compressed(&self) -> bool {
        self.packing.is_some()
    }

    /// Of a compressed stream: the number of the packet that answers the last one that was written. What a compressed
    /// server answers may have another number: it counts frames, and clients do not look.
    pub fn next_packet(&self) -> Option<u8> {
        self.packing.as_ref().map(|packing| packing.codec.next_packet())
    }

    /// Reads what there is, or `None` when nothing is there yet. `Some(0)` is the end of the stream.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        if let (Transport::Plain(socket), None) = (&self.transport, &self.packing) {
            return match socket.try_read(buffer) {
                Ok(length) => Ok(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error),
            };
        }
        match self.poll_read_some(&mut Context::from_waker(Waker::noop()), buffer) {
            Poll::Ready(length) => length.map(Some),
            Poll::Pending => Ok(None),
        }
    }

    /// Reads at least one byte, or 0 at the end of the stream.
    pub fn poll_read_some(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.packing {
            None => self.transport.poll_read_some(context, buffer),
            Some(packing) => packing.poll_read_some(&mut self.transport, context, buffer),
        }
    }

    /// Reads at least one byte, or 0 at the end of the stream. Cancel safe.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_read_some(context, buffer)).await
    }

    /// Writes all of `bytes` that the system takes at once, where nothing needs to be done to them: gives their number.
    ///
    /// # Errors
    /// The network's.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (Transport::Plain(socket), None) = (&self.transport, &self.packing) else { return Ok(0) };
        match socket.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }

    /// Writes all of `bytes`, within a minute. Not cancel safe: a part may have gone out.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        // The ordinary case is one system call and no waiting.
        let written = self.try_write(bytes)?;
        if written == bytes.len() {
            return Ok(());
        }
        let write = async {
            AsyncWriteExt::write_all(self, &bytes[written..]).await?;
            self.flush().await
        };
        timeout(WRITE_LIMIT, write).await?
    }

    /// Has the socket of a plain connection watched by the runtime that calls, instead of the one that opened it.
    /// One with TLS stays where it is.
    ///
    /// # Errors
    /// The system's.
    pub fn move_to_this_runtime(&mut self) -> io::Result<()> {
        match &mut self.transport {
            Transport::Plain(socket) => socket.move_to_this_runtime(),
            Transport::Tls(_) => Ok(()),
        }
    }

    /// The socket underneath.
    pub fn socket(&self) -> &Socket {
        match &self.transport {
            Transport::Plain(socket) => socket,
            Transport::Tls(tls) => tls.get_ref().0,
        }
    }

    /// The socket, where no TLS is over it.
    pub fn into_socket(self) -> Option<Socket> {
        match self.transport {
            Transport::Plain(socket) => Some(socket),
            Transport::Tls(_) => None,
        }
    }

    /// TLS, where it is over the socket.
    pub fn tls(&self) -> Option<&Tls> {
        match &self.transport {
            Transport::Plain(_) => None,
            Transport::Tls(tls) => Some(tls),
        }
    }

    /// Whether the bytes are encrypted on the way.
    pub fn is_tls(&self) -> bool {
        matches!(self.transport, Transport::Tls(_))
    }
}

impl Transport {
    fn poll_read_some(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        ready!(match self {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, &mut read),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(context, &mut read),
        })?;
        Poll::Ready(Ok(read.filled().len()))
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(context),
        }
    }
}

impl Packing {
    fn poll_read_some(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let done = self.codec.unpack(&self.raw[self.raw_at..], buffer)?;
        self.raw_at += done.taken;
        if done.given > 0 {
            return Poll::Ready(Ok(done.given));
        }
        // Nothing comes of what is there: all of it has been taken.
        (self.raw, self.raw_at) = (Vec::new(), 0);
        RAW.with_borrow_mut(|raw| {
            loop {
                let length = ready!(transport.poll_read_some(context, raw))?;
                let done = self.codec.unpack(&raw[..length], buffer)?;
                self.raw.extend_from_slice(&raw[done.taken..length]);
                if done.given > 0 || length == 0 {
                    return Poll::Ready(Ok(done.given));
                }
            }
        })
    }

    /// Writes what was packed before.
    fn poll_drain(&mut self, transport: &mut Transport, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.out_at < self.out.len() {
            match ready!(transport.poll_write(context, &self.out[self.out_at..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.out_at += length,
            }
        }
        (self.out, self.out_at) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        transport: &mut Transport,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(transport, context))?;
        if self.turn >= TURN_MAX {
            self.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = self.codec.pack(bytes, &mut self.out);
        self.turn += length;
        match self.poll_drain(transport, context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // What the system does not take now goes out before what comes next, at the latest by a flush.
            _ => Poll::Ready(Ok(length)),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = ready!(self.get_mut().poll_read_some(context, buffer.initialize_unfilled()))?;
        buffer.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { transport, packing } = self.get_mut();
        match packing {
            None => transport.poll_write(context, bytes),
            Some(packing) => packing.poll_write(transport, context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { transport, packing } = self.get_mut();
        if let Some(packing) = packing {
            ready!(packing.poll_drain(transport, context))?;
        }
        transport.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { transport, packing } = self.get_mut();
        if let Some(packing) = packing {
            ready!(packing.poll_drain(transport, context))?;
        }
        match transport {
            Transport::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Transport::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(context),
        }
    }
}
