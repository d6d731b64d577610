//! Asking the servers whether a password is right.
//!
//! Owns: the question, put to one server after another until one has judged. Does not know: what clients sent,
//! what is remembered. Invariant: only a server's OK is a yes; no server, no yes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout};

use crate::backend::account::Account;
use crate::backend::class::Class;
use crate::backend::connect::{ConnectError, Dialing, Established, Opening, Place, connect};
use crate::config::Secret;
use crate::ids::AccountId;
use crate::wire::capabilities::Capabilities;
use crate::wire::command;
use crate::wire::err::ErrPacket;
use crate::wire::packet_io::{PacketError, PacketIo};

/// ER_MUST_CHANGE_PASSWORD.
const MUST_CHANGE_PASSWORD: u16 = 1820;
/// COM_QUIT as a packet: without it a server counts the connection as aborted.
const QUIT: [u8; 5] = [1, 0, 0, 0, 1];
/// The account of a question; no pool ever sees it.
const NO_ACCOUNT: AccountId = AccountId(0);

/// Why a password was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// A server has judged; its own words are for the client.
    #[error("refused by a server: {0}")]
    Refused(ErrPacket),
    /// No server has judged, and this is what one of them said instead (too many connections, shutting down).
    #[error("not judged by any server: {0}")]
    NotJudged(ErrPacket),
    /// The account uses an authentication that Tidegate does not speak; no password could help.
    #[error("authentication not supported: {0}")]
    Unsupported(String),
    /// A server has accepted it, and lets it do nothing but set another one.
    #[error("the password has expired")]
    Expired,
    /// No server could be asked.
    #[error("no server could be asked")]
    Unavailable,
}

/// How a client is connected to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// By TLS.
    Tls,
    /// By a Unix socket without TLS: as private as TLS for passwords, and no TLS for accounts that require it.
    Local,
    /// In the clear.
    Plain,
}

impl Transport {
    /// Whether nobody on the way can read along; what servers call a secure transport.
    pub fn is_private(self) -> bool {
        self != Self::Plain
    }
}

/// For which clients a server's yes holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// For those on TLS: the account may be one that the servers let in by TLS only (`REQUIRE SSL`).
    TlsClients,
    /// For all.
    AnyClient,
}

/// What the servers are asked.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The account.
    pub user: &'a [u8],
    /// Its password.
    pub password: &'a [u8],
    /// Id of the client's collation: what the bytes of the account's name mean.
    pub collation: u16,
    /// How the client that claims it is connected.
    pub client: Transport,
    /// Whether that client can be let in to set another password where this one has expired.
    pub handles_expired: bool,
    /// When the answer must be there.
    pub deadline: Instant,
}

/// The answer to come.
pub type Verdict<'a> = Pin<Box<dyn Future<Output = Result<Reach, JudgeError>> + Send + 'a>>;

/// Who knows which passwords are right.
pub trait Judge: Send + Sync {
    /// Whether the servers let this account in, and for which clients that holds; for the one that asks at least.
    fn judge<'a>(&'a self, question: Question<'a>) -> Verdict<'a>;

    /// What a connection proves that a server has let in.
    fn reach(&self, encrypted: bool) -> Reach;
}

/// The servers themselves, by a login of their own.
///
/// A server sees the proxy's connection and not the client's. So a client without TLS is judged over a connection
/// without TLS, and accounts that require it are refused in the server's own words; unless the configuration says
/// that every connection to the servers is to be encrypted, which then is what the accounts' requirement is about.
pub struct ServersJudge {
    asked: ArcSwap<Asked>,
    dialing: Dialing,
    without_tls: Dialing,
}

/// Whom to ask, and how long each may take.
#[derive(Debug)]
pub struct Asked {
    /// In this order: the primary best first.
    pub servers: Vec<Place>,
    /// For each.
    pub timeout: Duration,
}

impl ServersJudge {
    /// Asks these in their order, each within its time and its share of what is left.
    pub fn new(asked: Asked, dialing: Dialing) -> Self {
        let without_tls = dialing.without_tls();
        Self { asked: ArcSwap::from_pointee(asked), dialing, without_tls }
    }

    /// Asks these from now on: the topology has changed.
    pub fn ask_from_now_on(&self, asked: Asked) {
        self.asked.store(Arc::new(asked));
    }

    async fn ask(&self, question: Question<'_>) -> Result<Reach, JudgeError> {
        let account = Account {
            id: NO_ACCOUNT,
            user: question.user.to_vec(),
            backend_user: question.user.to_vec(),
            secret: Secret::new(question.password.to_vec()),
            expired: question.handles_expired,
        };
        let class = Class::of(Capabilities::empty(), question.collation);
        let dialing = match question.client {
            Transport::Plain | Transport::Local if !self.dialing.tls.is_must() => &self.without_tls,
            Transport::Plain | Transport::Local | Transport::Tls => &self.dialing,
        };
        let whom = self.asked.load_full();
        let servers = &whom.servers;
        let mut excuse = None;
        for (asked, place) in (0_u32..).zip(servers.iter()) {
            // A server that does not answer leaves the others their time.
            let left = u32::try_from(servers.len()).unwrap_or(u32::MAX).saturating_sub(asked).max(1);
            let share = question.deadline.saturating_duration_since(Instant::now()) / left;
            let limit = share.min(whom.timeout);
            match connect(place, dialing, &account, &class, Opening::default(), limit).await {
                Ok(mut established) => {
                    let reach = self.reach(established.stream.is_tls());
                    let usable = timeout(limit, is_usable(&mut established)).await;
                    leave(established).await;
                    match usable {
                        Ok(Ok(true)) => return Ok(reach),
                        Ok(Ok(false)) => return Err(JudgeError::Expired),
                        failed => {
                            tracing::debug!(
                                server = place.server.address(),
                                ?failed,
                                "no answer behind a login"
                            )
                        }
                    }
                }
                Err(ConnectError::AuthUnsupported(plugin)) => return Err(JudgeError::Unsupported(plugin)),
                Err(ConnectError::Refused(words)) if ConnectError::is_judgement(words.code) => {
                    return Err(JudgeError::Refused(words));
                }
                Err(ConnectError::Refused(words)) => excuse = excuse.or(Some(words)),
                Err(error) => {
                    tracing::debug!(server = place.server.address(), %error, "cannot ask this server about a password");
                }
            }
        }
        Err(excuse.map_or(JudgeError::Unavailable, JudgeError::NotJudged))
    }
}

impl Judge for ServersJudge {
    fn judge<'a>(&'a self, question: Question<'a>) -> Verdict<'a> {
        Box::pin(self.ask(question))
    }

    fn reach(&self, encrypted: bool) -> Reach {
        if encrypted && !self.dialing.tls.is_must() { Reach::TlsClients } else { Reach::AnyClient }
    }
}

/// Whether the account may do anything: one with an expired password is let in, by a server that is set so or for a
/// client that says it understands, and the OK packet does not tell.
async fn is_usable(established: &mut Established) -> Result<bool, PacketError> {
    let mut io = PacketIo::new(&mut established.stream, 0);
    io.write(&[&[command::QUERY], &b"DO 0"[..]].concat()).await?;
    let answer = io.read().await?;
    Ok(ErrPacket::decode(&answer).is_none_or(|error| error.code != MUST_CHANGE_PASSWORD))
}

/// Says goodbye. Whether the server still hears it does not matter to the answer.
async fn leave(mut established: Established) {
    if let Err(error) = established.stream.write_all(&QUIT).await {
        tracing::debug!(%error, "a server closed the connection that asked it about a password");
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
