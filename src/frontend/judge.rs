//! Asking the servers whether a password is right.
//!
//! Owns: the question, put to one server after another until one has judged. Does not know: what clients sent,
//! what is remembered. Invariant: only a server's OK is a yes; no server, no yes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::backend::account::Account;
use crate::backend::class::Class;
use crate::backend::connect::{ConnectError, Established, connect};
use crate::backend::tls::BackendTls;
use crate::config::{Secret, Server};
use crate::ids::AccountId;
use crate::wire::capabilities::Capabilities;
use crate::wire::err::ErrPacket;

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
    /// No server could be asked.
    #[error("no server could be asked")]
    Unavailable,
}

/// The answer to come.
pub type Verdict<'a> = Pin<Box<dyn Future<Output = Result<(), JudgeError>> + Send + 'a>>;

/// Who knows which passwords are right.
pub trait Judge: Send + Sync {
    /// Whether the servers let `user` in with `password`.
    fn judge<'a>(&'a self, user: &'a [u8], password: &'a [u8]) -> Verdict<'a>;
}

/// The servers themselves, by a login of their own.
pub struct ServersJudge {
    servers: ArcSwap<Vec<Server>>,
    tls: BackendTls,
    timeout: Duration,
}

impl ServersJudge {
    /// Asks `servers` in their order, the primary best first, each within `timeout`.
    pub fn new(servers: Vec<Server>, tls: BackendTls, timeout: Duration) -> Self {
        Self { servers: ArcSwap::from_pointee(servers), tls, timeout }
    }

    /// Asks these from now on: the topology has changed.
    pub fn set_servers(&self, servers: Vec<Server>) {
        self.servers.store(Arc::new(servers));
    }

    async fn ask(&self, user: &[u8], password: &[u8]) -> Result<(), JudgeError> {
        let account = Account {
            id: NO_ACCOUNT,
            user: user.to_vec(),
            backend_user: user.to_vec(),
            secret: Secret::new(password.to_vec()),
        };
        let class = Class::of(Capabilities::empty(), 0);
        let servers = self.servers.load_full();
        let mut excuse = None;
        for server in servers.iter() {
            match connect(server, &self.tls, &account, &class, self.timeout).await {
                Ok(established) => {
                    leave(established).await;
                    return Ok(());
                }
                Err(ConnectError::AuthUnsupported(plugin)) => return Err(JudgeError::Unsupported(plugin)),
                Err(ConnectError::Refused(words)) if ConnectError::is_judgement(words.code) => {
                    return Err(JudgeError::Refused(words));
                }
                Err(ConnectError::Refused(words)) => excuse = excuse.or(Some(words)),
                Err(error) => {
                    tracing::debug!(server = server.address(), %error, "cannot ask this server about a password");
                }
            }
        }
        Err(excuse.map_or(JudgeError::Unavailable, JudgeError::NotJudged))
    }
}

impl Judge for ServersJudge {
    fn judge<'a>(&'a self, user: &'a [u8], password: &'a [u8]) -> Verdict<'a> {
        Box::pin(self.ask(user, password))
    }
}

/// Says goodbye. Whether the server still hears it does not matter to the answer.
async fn leave(mut established: Established) {
    if let Err(error) = established.stream.write_all(&QUIT).await {
        tracing::debug!(%error, "a server closed the connection that asked it about a password");
    }
}
