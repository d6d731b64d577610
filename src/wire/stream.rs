//! A byte stream to a client or a server: a plain socket, or TLS over it.
//!
//! Owns: the two kinds behind one type, so that the relay is written once. Does not know: packets.
//! Invariant: nothing is buffered here but what TLS must hold.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::socket::Socket;

/// A receiver that takes none of a packet for this long is given up, as by a server's `net_write_timeout`.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// TLS as rustls speaks it on either side.
pub type Tls = tokio_rustls::TlsStream<Socket>;

/// A connection, plain or encrypted.
#[derive(Debug)]
pub enum Stream {
    /// A socket as it is.
    Plain(Socket),
    /// TLS over a socket.
    Tls(Box<Tls>),
}

impl Stream {
    /// Reads what there is, or `None` when nothing is there yet. `Some(0)` is the end of the stream.
    pub fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self {
            Self::Plain(socket) => match socket.try_read(buffer) {
                Ok(length) => Ok(Some(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error),
            },
            Self::Tls(tls) => {
                let mut context = Context::from_waker(std::task::Waker::noop());
                let mut read = ReadBuf::new(buffer);
                match Pin::new(&mut **tls).poll_read(&mut context, &mut read) {
                    Poll::Ready(Ok(())) => Ok(Some(read.filled().len())),
                    Poll::Ready(Err(error)) => Err(error),
                    Poll::Pending => Ok(None),
                }
            }
        }
    }

    /// Reads at least one byte, or 0 at the end of the stream.
    pub fn poll_read_some(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(buffer);
        ready!(match self {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, &mut read),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(context, &mut read),
        })?;
        Poll::Ready(Ok(read.filled().len()))
    }

    /// Reads at least one byte, or 0 at the end of the stream. Cancel safe.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_read_some(context, buffer)).await
    }

    /// Writes all of `bytes`, within a minute. Not cancel safe: a part may have gone out.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(socket) => {
                // The ordinary case is one system call and no waiting.
                let written = match socket.try_write(bytes) {
                    Ok(written) => written,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    Err(error) => return Err(error),
                };
                if written == bytes.len() {
                    return Ok(());
                }
                timeout(WRITE_LIMIT, socket.write_all(&bytes[written..])).await?
            }
            Self::Tls(tls) => {
                let write = async {
                    tls.write_all(bytes).await?;
                    tls.flush().await
                };
                timeout(WRITE_LIMIT, write).await?
            }
        }
    }

    /// Has the socket of a plain connection watched by the runtime that calls, instead of the one that opened it.
    /// One with TLS stays where it is.
    ///
    /// # Errors
    /// The system's.
    pub fn move_to_this_runtime(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.move_to_this_runtime(),
            Self::Tls(_) => Ok(()),
        }
    }

    /// The socket underneath.
    pub fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Whether the bytes are encrypted on the way.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_shutdown(context),
        }
    }
}
