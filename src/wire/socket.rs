//! The socket under a stream: TCP, or a Unix socket of this machine.
//!
//! Owns: what the two have in common, at the same cost. Does not know: TLS, packets.
//! Invariant: looking ahead takes no byte away.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A connected socket.
#[derive(Debug)]
pub enum Socket {
    /// Over the network, or loopback.
    Tcp(TcpStream),
    /// Within this machine: nobody on the way can read along.
    Unix(UnixStream),
}

/// The other end of a client's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// An address of the network: that of the socket, or the one that a trusted PROXY header gives.
    Network(SocketAddr),
    /// A process of this machine, by a Unix socket.
    Local,
}

impl Peer {
    /// Its IP address, if it has one. An IPv4 address is one also where the socket is IPv6.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Network(address) => Some(address.ip().to_canonical()),
            Self::Local => None,
        }
    }

    /// What stands behind the `@` of an account: the IP address, or `localhost`.
    pub fn host(&self) -> String {
        self.ip().map_or_else(|| "localhost".to_owned(), |ip| ip.to_string())
    }
}

/// Address and port, or `localhost`, as in a server's list of processes.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => SocketAddr::new(address.ip().to_canonical(), address.port()).fmt(f),
            Self::Local => f.write_str("localhost"),
        }
    }
}

/// What has come and was not read yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ahead {
    /// The end of the stream.
    End,
    /// Bytes, of which this is the first.
    Byte(u8),
    /// Bytes of a Unix socket, which shows only that there are some.
    Bytes,
}

impl From<TcpStream> for Socket {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl From<UnixStream> for Socket {
    fn from(unix: UnixStream) -> Self {
        Self::Unix(unix)
    }
}

impl Socket {
    /// Reads what there is.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; the system's.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_read(buffer),
            Self::Unix(unix) => unix.try_read(buffer),
        }
    }

    /// Writes what fits.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; the system's.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.try_write(bytes),
            Self::Unix(unix) => unix.try_write(bytes),
        }
    }

    /// Ready once something has come; it stays where it is.
    pub fn poll_ahead(&self, context: &mut Context<'_>) -> Poll<io::Result<Ahead>> {
        let unix = match self {
            Self::Tcp(tcp) => {
                let mut byte = [0];
                let mut peek = ReadBuf::new(&mut byte);
                ready!(tcp.poll_peek(context, &mut peek))?;
                return Poll::Ready(Ok(peek.filled().first().map_or(Ahead::End, |byte| Ahead::Byte(*byte))));
            }
            Self::Unix(unix) => unix,
        };
        loop {
            ready!(unix.poll_read_ready(context))?;
            let mut byte = [MaybeUninit::uninit()]; // not looked at: that would need unsafe code
            match unix.try_io(Interest::READABLE, || SockRef::from(unix).peek(&mut byte)) {
                Ok(0) => return Poll::Ready(Ok(Ahead::End)),
                Ok(_) => return Poll::Ready(Ok(Ahead::Bytes)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {} // was taken meanwhile
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Has the socket watched by the runtime that calls, instead of the one that opened it.
    ///
    /// # Errors
    /// The system's; the socket is as it was then.
    pub fn move_to_this_runtime(&mut self) -> io::Result<()> {
        // The descriptor is duplicated, so that the old one stays whole if this fails.
        *self = match self {
            Self::Tcp(tcp) => {
                let copy = std::net::TcpStream::from(tcp.as_fd().try_clone_to_owned()?);
                TcpStream::from_std(copy)?.into()
            }
            Self::Unix(unix) => {
                let copy = std::os::unix::net::UnixStream::from(unix.as_fd().try_clone_to_owned()?);
                UnixStream::from_std(copy)?.into()
            }
        };
        Ok(())
    }

    /// Whether it is one of this machine.
    pub fn is_unix(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

/// When a silent TCP peer is probed, and after how many probes without an answer it is given up.
pub fn keepalive(time: Duration, interval: Duration, probes: u32) -> TcpKeepalive {
    TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(probes)
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Self::Unix(unix) => Pin::new(unix).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Self::Unix(unix) => Pin::new(unix).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_flush(context),
            Self::Unix(unix) => Pin::new(unix).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(tcp) => Pin::new(tcp).poll_shutdown(context),
            Self::Unix(unix) => Pin::new(unix).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn pair_of_tcp() -> (Socket, Socket) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near.into(), listener.accept().await.unwrap().0.into())
    }

    #[tokio::test]
    async fn what_is_ahead_is_seen_and_stays() {
        let (one, other) = UnixStream::pair().unwrap();
        let unix = (one.into(), other.into());
        for ((near, mut far), seen) in [(pair_of_tcp().await, Ahead::Byte(b'x')), (unix, Ahead::Bytes)] {
            let quiet = near.poll_ahead(&mut Context::from_waker(Waker::noop()));
            assert!(quiet.is_pending(), "nothing has come: {quiet:?}");
            far.write_all(b"xy").await.unwrap();
            assert_eq!(poll_fn(|context| near.poll_ahead(context)).await.unwrap(), seen);
            let mut bytes = [0; 8];
            assert_eq!(near.try_read(&mut bytes).unwrap(), 2);
            drop(far);
            assert_eq!(poll_fn(|context| near.poll_ahead(context)).await.unwrap(), Ahead::End);
        }
    }
}
