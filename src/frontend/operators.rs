//! Operators come in: the console's listener, its logins, and its way to the cores.
//!
//! Owns: who may use the console, and how many at once. Does not know: the console's statements. Invariant: an operator
//! proves the password of an account of `admin.users`, by the same exchange as a client, before anything is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::accounts::Accounts;
use super::context::{LoginContext, ServerFacts};
use super::cores::Mail;
use super::judge::Judge;
use super::listener::too_many;
use super::login;
use super::rsa::LoginKey;
use super::tls::FrontendTls;
use crate::admin::console::{Asking, Console, CoreView, Cores, Operator, VERSION};
use crate::config::{self, Auth, Config, ProxyProtocol};
use crate::ids::ClientId;
use crate::registry::Handle;
use crate::session::Admitted;
use crate::wire::capabilities::Capabilities;
use crate::wire::err::ErrPacket;
use crate::wire::socket::Peer;

/// Connections at once; further ones get error 1040 in place of the greeting.
const CONNECTIONS_MAX: usize = 32;
/// A core that does not answer within this time is left out of what is shown.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// A pause where the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// utf8mb4_general_ci.
const COLLATION: u8 = 45;

/// The flags that operators' clients may use.
const OFFERED: Capabilities =
    Capabilities::OFFERED.difference(Capabilities::QUERY_ATTRIBUTES).difference(Capabilities::LOCAL_FILES);

/// The console at work; dropping it ends it and its connections.
#[derive(Debug)]
pub(super) struct Operators {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Operators {
    /// Serves on the current runtime.
    pub fn serve(
        listener: TcpListener,
        address: SocketAddr,
        console: Console,
        context: LoginContext,
    ) -> Self {
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::new(console), Arc::new(context)));
        tracing::info!(%address, "the SQL console is served");
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the SQL console can be reached from other machines");
        }
        Self { address, _task: task }
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What logins to the console need. `judge` is never asked: the accounts are those of the file.
pub(super) fn login_context(
    config: &Config,
    console: &config::Console,
    judge: Arc<dyn Judge>,
    tls: Option<FrontendTls>,
    key: Arc<LoginKey>,
) -> LoginContext {
    let facts =
        ServerFacts { version: VERSION.into(), capabilities: OFFERED, collation: COLLATION, mariadb: false };
    LoginContext::new(
        Arc::new(Accounts::new(&Auth::Users(console.users.clone()))),
        judge,
        tls,
        &config.client_tls,
        key,
        config.limits.login_timeout,
        ProxyProtocol::default(),
        false,
        facts,
    )
}

async fn accept(listener: TcpListener, console: Arc<Console>, context: Arc<LoginContext>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => match Arc::clone(&room).try_acquire_owned() {
                Ok(permit) => {
                    let (console, context) = (Arc::clone(&console), Arc::clone(&context));
                    connections.spawn(async move {
                        let _permit = permit;
                        enter(stream, peer, console, &context).await;
                    });
                }
                Err(_) => {
                    tracing::warn!(%peer, limit = CONNECTIONS_MAX, "operator refused: too many connections");
                    // A client that does not take 30 bytes loses the message.
                    let _ = stream.try_write(&too_many());
                }
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept an operator");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        // A connection that has panicked has said so in the log, and only itself has ended.
        while connections.try_join_next().is_some() {}
    }
}

async fn enter(stream: TcpStream, peer: SocketAddr, console: Arc<Console>, context: &LoginContext) {
    let id: ClientId = console.registry.fresh_id();
    // Answers are whole; what an operator waits for should not wait for more.
    drop(stream.set_nodelay(true));
    let mut peer = Peer::Network(peer);
    match login::login(stream.into(), &mut peer, id, context).await {
        Ok(Admitted { stream, account, database, capabilities, sequence, .. }) => {
            let user = account.user.clone();
            tracing::info!(operator = %String::from_utf8_lossy(&user), %peer, "an operator has logged in to the console");
            let operator = Operator { id, user, capabilities, database: None };
            console.serve(stream, operator, sequence, database).await;
        }
        Err(error) => {
            tracing::warn!(%peer, kind = error.kind.label(), code = error.sent, detail = %error.detail, "login to the console failed");
        }
    }
}

/// The way to the worker threads.
pub(super) struct Mailboxes(pub Vec<mpsc::UnboundedSender<Mail>>);

impl Cores for Mailboxes {
    fn look(&self) -> Asking<'_, Vec<CoreView>> {
        Box::pin(async move {
            let mut answers = Vec::new();
            for mailbox in &self.0 {
                let (answer, answered) = oneshot::channel();
                if mailbox.send(Mail::Look(answer)).is_ok() {
                    answers.push(answered);
                }
            }
            let mut views = Vec::new();
            for answered in answers {
                views.extend(timeout(LOOK_LIMIT, answered).await.ok().and_then(Result::ok));
            }
            views
        })
    }

    fn kill_query(&self, target: Arc<Handle>) -> Asking<'_, Result<(), ErrPacket>> {
        Box::pin(async move {
            let gone = || ErrPacket::new(1053, b"08S01", "Server shutdown in progress");
            let (answer, answered) = oneshot::channel();
            // Any core can: each has connections to every server.
            let mailbox = self.0.first().ok_or_else(gone)?;
            mailbox.send(Mail::KillQuery(target, answer)).map_err(|_| gone())?;
            answered.await.map_err(|_| gone())?.map_err(|problem| problem.packet())
        })
    }
}
