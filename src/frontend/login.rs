//! A client's login: greeting, TLS, response, proof of the password; and the same again for COM_CHANGE_USER.
//!
//! Owns: the order of these steps and what the client is told when one fails. Does not know: databases (the final OK
//! comes after the session has checked the one that was named). Invariant: when an error comes back the client has
//! been told, as far as it could be; nothing here waits longer than the caller lets it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

pub use super::error::{LoginError, LoginErrorKind};
use super::context::LoginContext;
use super::error::Reject;
use super::exchange::{Challenge, Exchange};
use crate::backend::account::Account;
use crate::ids::ClientId;
use crate::wire::auth::fresh_salt;
use crate::wire::capabilities::Capabilities;
use crate::wire::handshake::{Attributes, ClientHello, Response};
use crate::wire::packet_io::PacketIo;
use crate::wire::stream::Stream;

/// Bytes that are read from a client that was refused, so that closing does not take the error away from it.
const DRAIN_MAX: usize = 64 * 1024;

/// A client that was let in, up to the final OK.
#[derive(Debug)]
pub struct Login {
    /// The connection; nothing of it is buffered elsewhere.
    pub stream: Stream,
    /// The account that it may use.
    pub account: Arc<Account>,
    /// The database that it named; not checked.
    pub database: Option<Vec<u8>>,
    /// The flags in force: the client's, as far as they were offered.
    pub capabilities: Capabilities,
    /// Id of the collation that it asked for; 0 is the server's default.
    pub collation: u16,
    /// What it told of itself.
    pub attributes: Attributes,
    /// Sequence number of the OK, or of the error about the database.
    pub sequence: u8,
}

/// A client that has become another user, up to the final OK.
#[derive(Debug)]
pub struct ChangedUser {
    /// The account that it may use now.
    pub account: Arc<Account>,
    /// The database that it named; not checked.
    pub database: Option<Vec<u8>>,
    /// Id of the collation that it asked for; 0 is the server's default.
    pub collation: u16,
    /// What it told of itself.
    pub attributes: Attributes,
    /// Sequence number of the OK, or of the error about the database.
    pub sequence: u8,
}

/// Takes a new connection to a known account. Cancel safe: a connection that is not finished is closed.
pub async fn login(stream: TcpStream, id: ClientId, context: &LoginContext) -> Result<Login, LoginError> {
    let mut stream = Stream::Plain(stream);
    let mut sequence = 0;
    let outcome = greet(&mut stream, &mut sequence, id, context).await;
    let mut greeted = told(&mut stream, sequence, outcome).await?;
    if greeted.hello == ClientHello::Tls {
        stream = encrypt(stream, context).await.map_err(Reject::untold)?;
        let outcome = hello(&mut stream, &mut sequence, greeted.offered).await;
        greeted.hello = told(&mut stream, sequence, outcome).await?;
    }
    let outcome = admit(&mut stream, &mut sequence, greeted, context).await;
    let (account, response, capabilities) = told(&mut stream, sequence, outcome).await?;
    let Response { database, collation, attributes, .. } = response;
    Ok(Login { stream, account, database, capabilities, collation, attributes, sequence })
}

/// Makes a client another user. `payload` is the command's, its first byte included; it was packet number 0.
/// The client is always challenged anew, as servers do. After an error the connection must be closed.
/// Not cancel safe: packets may be half written.
pub async fn change_user(
    stream: &mut Stream,
    payload: &[u8],
    context: &LoginContext,
    capabilities: Capabilities,
) -> Result<ChangedUser, LoginError> {
    let mut io = PacketIo::new(&mut *stream, 1);
    let outcome = match Response::decode_change_user(payload, capabilities) {
        Some(response) => prove(&mut io, &response, None, capabilities, context).await.map(|account| (account, response)),
        None => Err(Reject::malformed("malformed COM_CHANGE_USER")),
    };
    let (_, sequence) = io.into_parts();
    let (account, response) = told(stream, sequence, outcome).await?;
    let Response { database, collation, attributes, .. } = response;
    Ok(ChangedUser { account, database, collation, attributes, sequence })
}

/// What was said to a client, and what it answered.
struct Greeted {
    offered: Capabilities,
    challenge: Challenge,
    hello: ClientHello,
}

async fn greet(
    stream: &mut Stream,
    sequence: &mut u8,
    id: ClientId,
    context: &LoginContext,
) -> Result<Greeted, Reject> {
    let salt = fresh_salt().map_err(|_| Reject::internal("no random bytes for a salt"))?;
    let challenge = Challenge { plugin: context.plugin(), salt };
    let offered = context.offered();
    let greeting = context.greeting(id, offered, challenge.plugin, &salt).encode();
    let mut io = PacketIo::new(&mut *stream, *sequence);
    let written = io.write(&greeting).await;
    *sequence = io.sequence();
    written?;
    let hello = hello(stream, sequence, offered).await?;
    Ok(Greeted { offered, challenge, hello })
}

/// Reads a client's first packet, or the one that it sends again once TLS is there.
async fn hello(stream: &mut Stream, sequence: &mut u8, offered: Capabilities) -> Result<ClientHello, Reject> {
    let offered = if stream.is_tls() { offered.difference(Capabilities::SSL) } else { offered };
    let mut io = PacketIo::new(stream, *sequence);
    let packet = io.read().await;
    *sequence = io.sequence();
    ClientHello::decode(&packet?, offered).ok_or_else(|| Reject::malformed("malformed handshake response"))
}

async fn encrypt(stream: Stream, context: &LoginContext) -> Result<Stream, Reject> {
    let (Stream::Plain(tcp), Some(tls)) = (stream, &context.tls) else {
        return Err(Reject::malformed("TLS where there is none to be had"));
    };
    tls.accept(tcp).await.map(Stream::Tls).map_err(|error| Reject::tls(&error))
}

/// From the client's response to its account.
async fn admit(
    stream: &mut Stream,
    sequence: &mut u8,
    greeted: Greeted,
    context: &LoginContext,
) -> Result<(Arc<Account>, Response, Capabilities), Reject> {
    let response = match greeted.hello {
        ClientHello::Response(response) => response,
        ClientHello::TooOld => return Err(Reject::unsupported("consider upgrading MySQL client")),
        ClientHello::Tls => return Err(Reject::malformed("TLS was asked for twice")),
    };
    if context.require_tls && !stream.is_tls() {
        return Err(Reject::tls_required());
    }
    let client = Capabilities::from_bits_retain(response.capabilities);
    let mut io = PacketIo::new(stream, *sequence);
    let proven = prove(&mut io, &response, Some(greeted.challenge), client, context).await;
    *sequence = io.sequence();
    let capabilities = client.intersection(greeted.offered).difference(Capabilities::SSL);
    Ok((proven?, response, capabilities))
}

async fn prove(
    io: &mut PacketIo<&mut Stream>,
    response: &Response,
    challenge: Option<Challenge>,
    capabilities: Capabilities,
    context: &LoginContext,
) -> Result<Arc<Account>, Reject> {
    let peer = io.stream().tcp().peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
    let can_switch = capabilities.contains(Capabilities::PLUGIN_AUTH);
    Exchange { io, context, peer, can_switch }.authenticate(response, challenge).await
}

/// Tells the client why it is not let in, where that is so and it can be told.
async fn told<T>(stream: &mut Stream, sequence: u8, outcome: Result<T, Reject>) -> Result<T, LoginError> {
    let reject = match outcome {
        Ok(value) => return Ok(value),
        Err(reject) => reject,
    };
    let Some(packet) = &reject.packet else { return Err(reject.untold()) };
    let payload = packet.encode();
    if PacketIo::new(&mut *stream, sequence).write(&payload).await.is_err() {
        return Err(reject.untold());
    }
    let sent = Some(packet.code);
    finish(stream).await;
    Err(LoginError { kind: reject.kind, sent, detail: reject.detail })
}

/// Ends our side and takes what has already come: a socket that is closed with bytes unread is reset, and the error
/// would be lost with it. Nothing is waited for, and what fails here changes nothing.
async fn finish(stream: &mut Stream) {
    if let Err(error) = stream.shutdown().await {
        tracing::trace!(%error, "the client was gone before it was told");
    }
    let mut scratch = [0; 4096];
    let mut left = DRAIN_MAX;
    while let Ok(length @ 1..) = stream.tcp().try_read(&mut scratch) {
        left = left.saturating_sub(length);
        if left == 0 {
            break;
        }
    }
}

impl Reject {
    /// As an error of which the client knows nothing.
    fn untold(self) -> LoginError {
        let detail: Cow<'static, str> = self.detail;
        LoginError { kind: self.kind, sent: None, detail }
    }
}
