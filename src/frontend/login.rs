//! A client's login: greeting, TLS, response, proof of the password; and the same again for COM_CHANGE_USER.
//!
//! Owns: the order of these steps and what the client is told when one fails. Does not know: databases (the final OK
//! comes after the session has checked the one that was named). Invariant: when an error comes back the client has
//! been told, as far as it could be; nothing here takes longer than the context's time limit.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::certificate::Certificate;
use super::context::LoginContext;
use super::error::Reject;
pub use super::error::{LoginError, LoginErrorKind};
use super::exchange::{Challenge, Exchange};
use super::judge::Transport;
use crate::backend::account::Account;
use crate::ids::ClientId;
use crate::session::Admitted;
use crate::session::worker::{Caller, NewUser};
use crate::wire::auth::{Plugin, Salt, fresh_salt};
use crate::wire::capabilities::Capabilities;
use crate::wire::handshake::{ClientHello, Response};
use crate::wire::packer::Compression;
use crate::wire::packet_io::PacketIo;
use crate::wire::proxy_header::{self, HeaderError, Said};
use crate::wire::socket::{Peer, Socket};
use crate::wire::stream::Stream;

/// Bytes that are read from a client that was refused, so that closing does not take the error away from it.
const DRAIN_MAX: usize = 64 * 1024;

/// The part of the time limit that is kept for telling a client what the servers did not answer in time.
const KEPT_FOR_TELLING: u32 = 10;

/// When a login must be over, and when its question to the servers.
#[derive(Clone, Copy)]
struct Clock {
    end: Instant,
    answers: Instant,
}

impl Clock {
    fn start(context: &LoginContext) -> Self {
        let (now, limit) = (Instant::now(), context.time_limit);
        Self { end: now + limit, answers: now + (limit - limit / KEPT_FOR_TELLING) }
    }
}

/// Takes a new connection to a known account. `peer` is the socket's, and becomes the one of a PROXY header that can be
/// believed. Cancel safe: a connection that is not finished is closed.
pub async fn login(
    socket: Socket,
    peer: &mut Peer,
    id: ClientId,
    context: &LoginContext,
) -> Result<Admitted, LoginError> {
    let clock = Clock::start(context);
    let outcome = timeout_at(clock.end, enter(socket, peer, id, context, clock)).await;
    outcome.unwrap_or_else(|_| Err(LoginError::timed_out()))
}

async fn enter(
    socket: Socket,
    peer: &mut Peer,
    id: ClientId,
    context: &LoginContext,
    clock: Clock,
) -> Result<Admitted, LoginError> {
    let mut io = PacketIo::new(Stream::from(socket), 0);
    let outcome = greet(&mut io, peer, id, context).await;
    let mut greeted = told(&mut io, outcome).await?;
    if greeted.hello == ClientHello::Tls {
        io = encrypt(io, context).await.map_err(Reject::untold)?;
        let outcome = hello_over_tls(&mut io, greeted.offered).await;
        greeted.hello = told(&mut io, outcome).await?;
    }
    let (offered, salt) = (greeted.offered, greeted.challenge.salt);
    let outcome = admit(&mut io, greeted, *peer, context, clock).await;
    let (account, response) = told(&mut io, outcome).await?;
    let capabilities = response.capabilities.intersection(offered).difference(Capabilities::SSL);
    let attributes = context.forwarded(response.attributes, Caller { id, peer: *peer });
    let Response { database, collation, zstd_level, .. } = response;
    let compression = Compression::asked(capabilities, zstd_level);
    let (stream, sequence) = io.into_parts();
    Ok(Admitted {
        stream,
        account,
        database,
        capabilities,
        compression,
        collation,
        attributes,
        salt,
        sequence,
    })
}

/// Makes a client another user. `payload` is the command's, its first byte included; it was packet number 0.
/// The client is challenged anew, as servers do; one that cannot be asked (no PLUGIN_AUTH) has answered the greeting's
/// challenge, `salt`, a second time, by mysql_native_password, as MySQL has it. After an error the stream is left open.
/// Not cancel safe: packets may be half written.
pub async fn change_user(
    stream: &mut Stream,
    caller: Caller,
    payload: &[u8],
    context: &LoginContext,
    capabilities: Capabilities,
    salt: &Salt,
) -> Result<NewUser, LoginError> {
    let clock = Clock::start(context);
    let outcome =
        timeout_at(clock.end, become_user(stream, caller, payload, context, capabilities, salt, clock)).await;
    outcome.unwrap_or_else(|_| Err(LoginError::timed_out()))
}

async fn become_user(
    stream: &mut Stream,
    caller: Caller,
    payload: &[u8],
    context: &LoginContext,
    capabilities: Capabilities,
    salt: &Salt,
    clock: Clock,
) -> Result<NewUser, LoginError> {
    let (transport, certificate, peer) = (transport(stream), Certificate::of(stream), caller.peer);
    let mut io = PacketIo::new(&mut *stream, 1);
    let outcome = match Response::decode_change_user(payload, capabilities) {
        Some(response) => {
            let can_switch = capabilities.contains(Capabilities::PLUGIN_AUTH);
            let handles_expired = capabilities.contains(Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS);
            let old = (!can_switch).then_some(Challenge { plugin: Plugin::NativePassword, salt: *salt });
            let (io, deadline) = (&mut io, clock.answers);
            let exchange =
                Exchange { io, context, peer, transport, certificate, can_switch, handles_expired, deadline };
            exchange.authenticate(&response, old).await.map(|account| (account, response))
        }
        None => Err(Reject::malformed("malformed COM_CHANGE_USER")),
    };
    let sequence = io.sequence();
    match outcome {
        Ok((account, Response { database, collation, attributes, .. })) => {
            let attributes = context.forwarded(attributes, caller);
            Ok(NewUser { account, database, collation, attributes, sequence })
        }
        Err(reject) => Err(tell(stream, sequence, reject).await),
    }
}

/// What was said to a client, and what it answered.
struct Greeted {
    offered: Capabilities,
    challenge: Challenge,
    hello: ClientHello,
}

async fn greet(
    io: &mut PacketIo<Stream>,
    peer: &mut Peer,
    id: ClientId,
    context: &LoginContext,
) -> Result<Greeted, Reject> {
    let salt = fresh_salt().map_err(|_| Reject::internal("no random bytes for a salt"))?;
    let challenge = Challenge { plugin: context.plugin(), salt };
    let offered = context.offered();
    io.write(&context.greeting(id, offered, challenge.plugin, &salt).encode()).await?;
    let mut header = io.read_header().await?;
    if proxy_header::begins(header) {
        *peer = announced(io.stream_mut(), header, *peer, context).await?;
        header = io.read_header().await?;
    }
    let hello = decode(io.read_payload(header).await?, offered)?;
    Ok(Greeted { offered, challenge, hello })
}

/// The client that a balancer announces. As on MariaDB, the header may come before or after the greeting, and clients
/// of the same network may do without; from anywhere else it is refused.
async fn announced(
    stream: &mut Stream,
    start: [u8; 4],
    balancer: Peer,
    context: &LoginContext,
) -> Result<Peer, Reject> {
    if !context.proxy_protocol.trusts(balancer.ip()) {
        return Err(Reject::proxy_header_refused(balancer));
    }
    match proxy_header::read(stream, start).await {
        Ok(Said::Client(client)) => Ok(client),
        Ok(Said::Nothing) => Ok(balancer),
        Err(HeaderError::Malformed(detail)) => Err(Reject::proxy_header_malformed(detail)),
        Err(HeaderError::Io(error)) => Err(error.into()),
    }
}

/// Reads the packet that a client sends again once TLS is there.
async fn hello_over_tls(io: &mut PacketIo<Stream>, offered: Capabilities) -> Result<ClientHello, Reject> {
    decode(io.read().await?, offered.difference(Capabilities::SSL))
}

fn decode(packet: Vec<u8>, offered: Capabilities) -> Result<ClientHello, Reject> {
    let packet = Zeroizing::new(packet);
    ClientHello::decode(&packet, offered).ok_or_else(|| Reject::malformed("malformed handshake response"))
}

async fn encrypt(io: PacketIo<Stream>, context: &LoginContext) -> Result<PacketIo<Stream>, Reject> {
    let (stream, sequence) = io.into_parts();
    let (Some(socket), Some(tls)) = (stream.into_socket(), &context.tls) else {
        return Err(Reject::malformed("TLS where there is none to be had"));
    };
    let tls = tls.accept(socket).await.map_err(|error| Reject::tls(&error))?;
    Ok(PacketIo::new(tls.into(), sequence))
}

/// From the client's response to its account.
async fn admit(
    io: &mut PacketIo<Stream>,
    greeted: Greeted,
    peer: Peer,
    context: &LoginContext,
    clock: Clock,
) -> Result<(Arc<Account>, Response), Reject> {
    let response = match greeted.hello {
        ClientHello::Response(response) => response,
        ClientHello::TooOld => return Err(Reject::unsupported("consider upgrading MySQL client")),
        ClientHello::Tls => return Err(Reject::malformed("TLS was asked for twice")),
    };
    let (transport, certificate) = (transport(io.stream()), Certificate::of(io.stream()));
    if context.require_tls && !transport.is_private() {
        return Err(Reject::tls_required());
    }
    let can_switch = response.capabilities.contains(Capabilities::PLUGIN_AUTH);
    let handles_expired = response.capabilities.contains(Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS);
    let deadline = clock.answers;
    let exchange =
        Exchange { io, context, peer, transport, certificate, can_switch, handles_expired, deadline };
    let account = exchange.authenticate(&response, Some(greeted.challenge)).await?;
    Ok((account, response))
}

fn transport(stream: &Stream) -> Transport {
    match stream.socket() {
        _ if stream.is_tls() => Transport::Tls,
        Socket::Unix(_) => Transport::Local,
        Socket::Tcp(_) => Transport::Plain,
    }
}

/// Tells the client where it is not let in.
async fn told<T>(io: &mut PacketIo<Stream>, outcome: Result<T, Reject>) -> Result<T, LoginError> {
    let sequence = io.sequence();
    match outcome {
        Ok(value) => Ok(value),
        Err(reject) => Err(refuse(io.stream_mut(), sequence, reject).await),
    }
}

/// Tells the client why it is not let in, and that nothing else will come.
async fn refuse(stream: &mut Stream, sequence: u8, reject: Reject) -> LoginError {
    let error = tell(stream, sequence, reject).await;
    if error.sent.is_some() {
        finish(stream).await;
    }
    error
}

/// Tells the client why it is not let in, where there is something to tell and it can be told.
async fn tell(stream: &mut Stream, sequence: u8, reject: Reject) -> LoginError {
    let Some(packet) = &reject.packet else { return reject.untold() };
    let payload = packet.encode();
    if PacketIo::new(&mut *stream, sequence).write(&payload).await.is_err() {
        return reject.untold();
    }
    LoginError { kind: reject.kind, sent: Some(packet.code), detail: reject.detail }
}

/// Ends our side and takes what has already come: a socket that is closed with bytes unread is reset, and the error
/// would be lost with it. Nothing is waited for, and what fails here changes nothing.
async fn finish(stream: &mut Stream) {
    if let Err(error) = stream.shutdown().await {
        tracing::trace!(%error, "the client was gone before it was told");
    }
    let mut scratch = [0; 4096];
    let mut left = DRAIN_MAX;
    while let Ok(length @ 1..) = stream.socket().try_read(&mut scratch) {
        left = left.saturating_sub(length);
        if left == 0 {
            break;
        }
    }
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
