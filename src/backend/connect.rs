//! From a server's address to a connection that takes commands.
//!
//! Owns: TCP, greeting, TLS, authentication. Does not know: pools, session state. Invariant: a connection that is
//! `Established` has the class and the account that were asked for, and no byte of it is unread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::account::Account;
use super::auth::Proof;
use super::class::Class;
use super::tls::{BackendTls, TlsError, encrypt};
use crate::config::{self, Keepalive, Server};
use crate::ids::BackendId;
use crate::wire::capabilities::Capabilities;
use crate::wire::compress::Side;
use crate::wire::err::{self, ErrPacket};
use crate::wire::handshake::{Attributes, Greeting, Response, ssl_request};
use crate::wire::packer::{Algorithm, Compression};
use crate::wire::packet_io::{PacketError, PacketIo};
use crate::wire::socket::{self, Socket};
use crate::wire::stream::Stream;

/// How servers are connected to.
#[derive(Clone, Debug)]
pub struct Dialing {
    /// How connections are encrypted.
    pub tls: BackendTls,
    /// How they are compressed, where the server offers it.
    pub compression: Option<Compression>,
    /// So that a dead path is noticed before the next statement needs it.
    pub keepalive: Keepalive,
}

impl Dialing {
    /// The same without TLS.
    pub fn without_tls(&self) -> Self {
        Self { tls: BackendTls::off(), ..self.clone() }
    }
}

/// Where a server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// As it is configured; its certificate must name this host.
    pub server: Arc<Server>,
    /// The address to connect to; `None` where the name has not been found yet.
    pub at: Option<SocketAddr>,
}

/// What one connection has beside its account and its class.
#[derive(Clone, Copy, Debug, Default)]
pub struct Opening<'a> {
    /// Attributes of a client to show beside our own.
    pub attributes: Option<&'a Attributes>,
    /// The default database to begin with.
    pub database: Option<&'a [u8]>,
}

/// Bytes of a client's attributes that are forwarded; servers refuse a handshake with more than 64 KiB.
const FORWARDED_MAX: usize = 60 * 1024;
/// Bytes that the two lengths of an attribute may take.
const LENGTHS_MAX: usize = 18;

/// A connection in its command phase.
#[derive(Debug)]
pub struct Established {
    /// The connection; nothing of it is buffered elsewhere.
    pub stream: Stream,
    /// The server's id for it, as `KILL` takes it.
    pub backend_id: BackendId,
    /// The flags in force: what we asked for, all of it offered by the server.
    pub capabilities: Capabilities,
    /// Status flags of the server's OK.
    pub status: u16,
    /// The version in the server's greeting.
    pub version: String,
    /// Low byte of the id of the server's default collation.
    pub server_collation: u8,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server's own word.
    #[error("the server refused the connection: {0}")]
    Refused(ErrPacket),
    /// The network's.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It took too long.
    #[error("connecting took longer than the time limit")]
    Timeout,
    /// No encrypted connection came to be.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// What came is not the protocol.
    #[error("protocol error: {0}")]
    Protocol(&'static str),
    /// The account uses an authentication that Tidegate does not speak.
    #[error("the account's authentication is not supported: {0}")]
    AuthUnsupported(String),
}

/// ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED: full, and alive.
const OVERLOAD: [u16; 3] = [1040, 1203, 1226];
/// ER_SERVER_SHUTDOWN.
const SHUTDOWN: u16 = 1053;
/// ER_HOST_IS_BLOCKED, ER_HOST_NOT_PRIVILEGED: about our address, not about the account.
const HOST: [u16; 2] = [1129, 1130];

impl ConnectError {
    /// Whether the server or the way to it is at fault; its considered refusals are not failures, and a server
    /// with too many connections is alive (T32).
    pub fn is_server_failure(&self) -> bool {
        match self {
            Self::Refused(error) => error.code == SHUTDOWN,
            Self::AuthUnsupported(_) => false,
            Self::Io(_) | Self::Timeout | Self::Tls(_) | Self::Protocol(_) => true,
        }
    }

    /// Whether the server has judged the account and its password: another server of the cluster would say the same.
    pub fn is_account_refused(&self) -> bool {
        match self {
            Self::Refused(error) => Self::is_judgement(error.code),
            Self::AuthUnsupported(_) => true,
            Self::Io(_) | Self::Timeout | Self::Tls(_) | Self::Protocol(_) => false,
        }
    }

    /// Whether a refusal with this code is about the account, and not about the server's own state.
    pub fn is_judgement(code: u16) -> bool {
        code != SHUTDOWN && !OVERLOAD.contains(&code) && !HOST.contains(&code)
    }
}

impl From<PacketError> for ConnectError {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Closed => Self::Io(std::io::ErrorKind::UnexpectedEof.into()),
            PacketError::Io(error) => Self::Io(error),
            PacketError::TooLong(_) => Self::Protocol("a packet is too long for the connection phase"),
            PacketError::OutOfOrder { .. } => Self::Protocol("packets out of order"),
        }
    }
}

impl From<config::Compression> for Algorithm {
    fn from(configured: config::Compression) -> Self {
        match configured {
            config::Compression::Zlib => Self::Zlib,
            config::Compression::Zstd => Self::Zstd,
        }
    }
}

/// Connects to the server at `place` as `account`, with the handshake values of `class`, compressed where the server offers it,
/// within `timeout` all in all. Cancel safe: a connection that is not finished is closed.
pub async fn connect(
    place: &Place,
    dialing: &Dialing,
    account: &Account,
    class: &Class,
    opening: Opening<'_>,
    timeout: Duration,
) -> Result<Established, ConnectError> {
    let established = tokio::time::timeout(timeout, establish(place, dialing, account, class, opening));
    established.await.unwrap_or(Err(ConnectError::Timeout))
}

async fn establish(
    place: &Place,
    dialing: &Dialing,
    account: &Account,
    class: &Class,
    opening: Opening<'_>,
) -> Result<Established, ConnectError> {
    let mut io = PacketIo::new(Stream::from(Socket::from(open(place, &dialing.keepalive).await?)), 0);
    let greeting = read_greeting(&mut io).await?;
    let connector = dialing
        .tls
        .connector(greeting.capabilities.contains(Capabilities::SSL))
        .map_err(|_| ConnectError::Tls(TlsError::NotOffered))?;
    let mut flags = class.response_flags(greeting.capabilities, connector.is_some());
    let compression = dialing.compression.filter(|wanted| greeting.capabilities.contains(wanted.flag()));
    if let Some(compression) = compression {
        flags.insert(compression.flag());
    }
    flags.set(Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS, account.expired);
    flags.set(Capabilities::CONNECT_WITH_DB, opening.database.is_some()); // what counts is the SSLRequest's, where there is one
    if let Some(connector) = connector {
        io.write(&ssl_request(flags, class.collation)).await?;
        let (stream, sequence) = io.into_parts();
        let socket = stream.into_socket().ok_or(ConnectError::Protocol("TLS inside TLS"))?;
        io = PacketIo::new(encrypt(connector, socket, &place.server.host).await?.into(), sequence);
    }
    let secret = account.secret.expose();
    let proof = Proof::begin(&greeting.plugin, &greeting.salt, secret, connector.is_some());
    let response = Response {
        capabilities: flags,
        collation: u16::from(class.collation),
        user: account.backend_user.clone(),
        auth: proof.first_response()?,
        database: opening.database.map(Into::into),
        plugin: Some(proof.plugin().name().into()),
        attributes: attributes(opening.attributes),
        zstd_level: compression.map(Compression::level),
    };
    let response = response.encode().ok_or(ConnectError::Protocol("the account's name cannot be sent"))?;
    io.write(&response).await?;
    let status = proof.finish(&mut io).await?;
    let (mut stream, _) = io.into_parts();
    if let Some(compression) = compression {
        stream.compress(compression, Side::Client);
    }
    Ok(Established {
        stream,
        backend_id: BackendId(u64::from(greeting.connection_id)),
        capabilities: flags,
        status,
        version: String::from_utf8_lossy(&greeting.version).into_owned(),
        server_collation: greeting.collation,
    })
}

/// Opens the socket, tuned for short packets that wait for answers.
async fn open(place: &Place, keepalive: &Keepalive) -> std::io::Result<TcpStream> {
    let tcp = match place.at {
        Some(at) => TcpStream::connect(at).await?,
        None => TcpStream::connect((place.server.host.as_str(), place.server.port)).await?,
    };
    tcp.set_nodelay(true)?;
    SockRef::from(&tcp).set_tcp_keepalive(&socket::keepalive(
        keepalive.time,
        keepalive.interval,
        keepalive.probes,
    ))?;
    Ok(tcp)
}

async fn read_greeting(io: &mut PacketIo<Stream>) -> Result<Greeting, ConnectError> {
    const REQUIRED: Capabilities =
        Capabilities::PROTOCOL_41.union(Capabilities::SECURE_CONNECTION).union(Capabilities::PLUGIN_AUTH);
    let packet = io.read().await?;
    if packet.first() == Some(&err::HEADER) {
        return Err(ErrPacket::decode(&packet)
            .map_or(ConnectError::Protocol("malformed ERR packet"), ConnectError::Refused));
    }
    let greeting = Greeting::decode(&packet).ok_or(ConnectError::Protocol("malformed greeting"))?;
    if !greeting.capabilities.contains(REQUIRED) {
        return Err(ConnectError::Protocol("the server is too old"));
    }
    Ok(greeting)
}

/// What the servers' `session_connect_attrs` show: first who we are, so that a server that cuts them (MySQL after 512
/// bytes) keeps that; then what the client says of itself, where that is wanted. Without a client the connection
/// speaks for us alone: it serves many.
fn attributes(client: Option<&Attributes>) -> Attributes {
    let version = env!("CARGO_PKG_VERSION");
    let own = [("_proxy_name", "tidegate"), ("_proxy_version", version)];
    let alone = [("_client_name", "tidegate"), ("_client_version", version), ("program_name", "tidegate")];
    let pair = |(name, value): (&str, &str)| (name.into(), value.into());
    let mut attributes: Attributes = own.map(pair).into();
    let Some(client) = client else {
        attributes.extend(alone.map(pair));
        attributes.push((b"_pid".to_vec(), std::process::id().to_string().into()));
        return attributes;
    };
    let mut room = FORWARDED_MAX;
    for (name, value) in client {
        let Some(left) = room.checked_sub(name.len() + value.len() + LENGTHS_MAX) else { break };
        room = left;
        attributes.push((name.clone(), value.clone()));
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_s_attributes_come_behind_ours_and_are_bounded() {
        let names = |client: Option<&Attributes>| {
            let names = attributes(client).into_iter().map(|(name, _)| String::from_utf8(name).unwrap());
            names.collect::<Vec<_>>()
        };
        assert_eq!(
            names(None),
            ["_proxy_name", "_proxy_version", "_client_name", "_client_version", "program_name", "_pid"]
        );
        let client =
            vec![(b"program_name".to_vec(), b"app".to_vec()), (b"big".to_vec(), vec![b'x'; 64 * 1024])];
        assert_eq!(names(Some(&client)), ["_proxy_name", "_proxy_version", "program_name"]);
    }

    #[test]
    fn failures_and_judgements_are_told_apart() {
        let refused = |code| ConnectError::Refused(ErrPacket::new(code, b"HY000", ""));
        assert!(refused(1045).is_account_refused() && !refused(1045).is_server_failure());
        assert!(
            !refused(1040).is_account_refused() && !refused(1040).is_server_failure(),
            "t32: full is alive"
        );
        assert!(!refused(1053).is_account_refused() && refused(1053).is_server_failure());
        assert!(ConnectError::Timeout.is_server_failure() && !ConnectError::Timeout.is_account_refused());
    }
}
