//! The client's side of an exchange: its stream, its flags, and the signals that interrupt it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use tokio::io::AsyncWrite;
use tokio::time::timeout;

use super::made::Made;
use super::names::Names;
use super::relay::RelayError;
use super::sum::Sum;
use crate::wire::capabilities::Capabilities;
use crate::wire::socket::Ahead;
use crate::wire::stream::Stream;
use crate::wire::track::{Shown, Told};

/// A client that takes none of its reply for this long is given up, as by a server's `net_write_timeout`.
const WRITE_LIMIT: Duration = Duration::from_secs(60);
/// TLS record type "alert": a client that says goodbye.
const TLS_ALERT: u8 = 21;

/// What other threads tell a session.
#[derive(Debug, Default)]
pub struct Signals {
    flags: AtomicU8,
    waker: AtomicWaker,
}

impl Signals {
    /// The client is to be disconnected, and its statement ended.
    pub const KILL: u8 = 1;
    /// The process shuts down: end as soon as no transaction is open.
    pub const DRAIN: u8 = 2;
    /// The client was idle for too long, as far as the sweep could see.
    pub const IDLE: u8 = 4;
    /// The server that runs its statement has not answered its probes for too long.
    pub const DOWN: u8 = 8;
    /// The server that it is at was the primary, and another has its place: what it says of writes counts for nothing any more.
    pub const REPLACED: u8 = 16;

    /// Raises a signal; it stays raised.
    pub fn raise(&self, flag: u8) {
        self.flags.fetch_or(flag, SeqCst);
        self.waker.wake();
    }

    /// Takes a signal back.
    pub fn lower(&self, flag: u8) {
        self.flags.fetch_and(!flag, SeqCst);
    }

    /// Whether a signal is raised.
    pub fn is_raised(&self, flag: u8) -> bool {
        self.flags.load(SeqCst) & flag != 0
    }

    /// Ready once one of `mask` is raised. One task at a time may wait.
    pub fn poll(&self, context: &Context<'_>, mask: u8) -> Poll<()> {
        if self.flags.load(SeqCst) & mask != 0 {
            return Poll::Ready(());
        }
        self.waker.register(context.waker());
        if self.flags.load(SeqCst) & mask != 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Longest reply that is kept to be changed.
const KEPT_MAX: usize = 64 << 20;

/// What becomes of a reply that the client does not get as it comes.
#[derive(Debug)]
pub enum Kept {
    /// It is kept, to be changed first.
    Whole(Vec<u8>),
    /// The client has had it before.
    Nothing,
}

impl Kept {
    /// What was kept of it.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Nothing => Vec::new(),
        }
    }
}

/// A logged-in client.
#[derive(Debug)]
pub struct Client {
    /// Its connection.
    pub stream: Stream,
    /// The flags in force on it.
    pub capabilities: Capabilities,
    /// What interrupts it.
    pub signals: Arc<Signals>,
    /// What session tracking shows it, where that is not what servers show by default.
    pub shown: Option<Arc<Shown>>,
    /// What it shows of the transaction's state only where that is another one.
    pub told: Told,
    /// What it would have been sent, where it is not to get that as it comes.
    pub kept: Option<Kept>,
    /// Of the reply in hand, where it may have to be compared with another's.
    pub sum: Option<Sum>,
    /// What the server calls otherwise than the client, in the reply in hand.
    pub names: Option<Arc<Names>>,
    /// Values that were made for the rows of the statement in hand: what it is told of them.
    pub made: Option<Made>,
    /// Whether its statement can begin anew on another server, as long as nothing of the reply has gone out.
    pub may_move: bool,
}

/// Why a wait for a server ended.
#[derive(Debug)]
pub enum Waited {
    /// The server sent this many bytes; 0 when it closed.
    Server(io::Result<usize>),
    /// The client has gone.
    ClientGone,
    /// KILL was raised.
    Killed,
}

impl Waited {
    /// Why there are no more bytes; `sent`: the client has had some of the reply.
    pub fn into_error(self, sent: bool) -> RelayError {
        match self {
            Self::Server(result) => {
                let error = result.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                RelayError::Server { error, sent }
            }
            Self::ClientGone => RelayError::Client(io::ErrorKind::ConnectionAborted.into()),
            Self::Killed => RelayError::Killed,
        }
    }
}

impl Client {
    /// Reads from `server`, while an eye is kept on the client: it may vanish, or be killed. Where it `may_move`, a server that is
    /// down is not waited for; one whose place another has taken never is.
    pub async fn wait_for(&mut self, server: &mut Stream, space: &mut [u8], may_move: bool) -> Waited {
        let mut watching = true;
        poll_fn(|context| {
            let replaced = self.signals.is_raised(Signals::REPLACED);
            if !replaced && let Poll::Ready(done) = server.poll_read_some(context, space) {
                return Poll::Ready(Waited::Server(done));
            }
            self.poll_interruption(context, may_move, &mut watching)
        })
        .await
    }

    /// Waits for what ends the wait for a server, while that is asked something on the client's behalf.
    pub async fn interrupted(&self) -> Waited {
        let mut watching = true;
        poll_fn(|context| self.poll_interruption(context, self.may_move, &mut watching)).await
    }

    fn poll_interruption(
        &self,
        context: &mut Context<'_>,
        may_move: bool,
        watching: &mut bool,
    ) -> Poll<Waited> {
        let mask = Signals::KILL | Signals::REPLACED | if may_move { Signals::DOWN } else { 0 };
        if self.signals.poll(context, mask).is_ready() {
            let killed = self.signals.is_raised(Signals::KILL);
            let lost =
                || io::Error::new(io::ErrorKind::TimedOut, "the server hangs, or another has its place");
            return Poll::Ready(if killed { Waited::Killed } else { Waited::Server(Err(lost())) });
        }
        if *watching && let Poll::Ready(gone) = self.poll_gone(context) {
            *watching = false;
            if gone {
                return Poll::Ready(Waited::ClientGone);
            }
        }
        Poll::Pending
    }

    /// Ready with true when the client has gone, with false when it has sent its next command already.
    fn poll_gone(&self, context: &mut Context<'_>) -> Poll<bool> {
        self.stream.socket().poll_ahead(context).map(|ahead| match ahead {
            Ok(Ahead::Byte(TLS_ALERT)) => self.stream.is_tls(),
            Ok(Ahead::Byte(_) | Ahead::Bytes) => false,
            Ok(Ahead::End) | Err(_) => true,
        })
    }

    /// Reads what the client sends; `None` when it is killed.
    pub async fn read(&mut self, space: &mut [u8]) -> Option<io::Result<usize>> {
        poll_fn(|context| {
            if self.signals.poll(context, Signals::KILL).is_ready() {
                return Poll::Ready(None);
            }
            self.stream.poll_read_some(context, space).map(Some)
        })
        .await
    }

    /// Writes all of `bytes`, within the time that a server would give the client.
    ///
    /// # Errors
    /// The network's, or `TimedOut`.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.kept {
            None => {}
            Some(Kept::Nothing) => return Ok(()),
            Some(Kept::Whole(kept)) if kept.len() + bytes.len() > KEPT_MAX => {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            Some(Kept::Whole(kept)) => {
                kept.extend_from_slice(bytes);
                return Ok(());
            }
        }
        let rest = &bytes[self.stream.try_write(bytes)?..];
        if rest.is_empty() {
            return Ok(());
        }
        timeout(WRITE_LIMIT, self.send_slow(rest)).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    /// Writes until all is gone or the client is killed.
    async fn send_slow(&mut self, mut rest: &[u8]) -> io::Result<()> {
        let Self { stream, signals, .. } = self;
        while !rest.is_empty() {
            let written = poll_fn(|context| {
                if signals.poll(context, Signals::KILL).is_ready() {
                    return Poll::Ready(Err(io::ErrorKind::Interrupted.into()));
                }
                Pin::new(&mut *stream).poll_write(context, rest)
            })
            .await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = &rest[written..];
        }
        poll_fn(|context| Pin::new(&mut *stream).poll_flush(context)).await
    }
}
