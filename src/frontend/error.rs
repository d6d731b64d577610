//! Why a client was not let in.
//!
//! Owns: the errors that clients read, in the servers' own words where servers have them, and the log's side of them.
//! Does not know: sockets. Invariant: no secret and no address of a server is in any of them.

use std::borrow::Cow;

use super::judge::JudgeError;
use crate::wire::err::ErrPacket;
use crate::wire::packet_io::PacketError;
use crate::wire::socket::Peer;

/// Longest name of an account that is taken, and shown; servers have 128 characters, of up to 3 bytes.
pub(super) const NAME_MAX: usize = 384;

/// Kinds of failed logins; also the metric's label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LoginErrorKind {
    /// The client closed the connection, as one does that does not like what it is asked for.
    ClientLeft,
    /// The connection to the client failed.
    Io,
    /// What came is not the protocol: a scanner, another protocol, a broken client.
    Malformed,
    /// No TLS came to be, or the client does not use it though it must.
    Tls,
    /// Client and servers have no authentication in common that Tidegate speaks.
    Unsupported,
    /// The password is wrong, or the servers refuse the account.
    Denied,
    /// No server could judge.
    NoServer,
    /// Ours.
    Internal,
    /// It was not finished in time.
    TimedOut,
}

impl LoginErrorKind {
    /// All labels, by `self as usize`.
    pub const NAMES: &'static [&'static str] = &[
        "client_left",
        "io",
        "malformed",
        "tls",
        "unsupported",
        "denied",
        "no_server",
        "internal",
        "timed_out",
    ];

    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::ClientLeft => "client_left",
            Self::Io => "io",
            Self::Malformed => "malformed",
            Self::Tls => "tls",
            Self::Unsupported => "unsupported",
            Self::Denied => "denied",
            Self::NoServer => "no_server",
            Self::Internal => "internal",
            Self::TimedOut => "timed_out",
        }
    }
}

/// A client was not let in. What it had to be told has been told.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct LoginError {
    /// What kind of failure it is.
    pub kind: LoginErrorKind,
    /// Number of the error that was sent to the client; `None` where nothing was sent.
    pub sent: Option<u16>,
    /// For the log.
    pub detail: Cow<'static, str>,
}

impl LoginError {
    /// The time limit has passed; the connection is closed without a word, whose turn it was to speak is not known.
    pub(super) fn timed_out() -> Self {
        Self { kind: LoginErrorKind::TimedOut, sent: None, detail: "not finished in time".into() }
    }
}

/// A login that ends here, with what the client is to be told.
#[derive(Debug)]
pub(super) struct Reject {
    pub kind: LoginErrorKind,
    pub packet: Option<ErrPacket>,
    pub detail: Cow<'static, str>,
}

impl Reject {
    fn told(kind: LoginErrorKind, packet: ErrPacket) -> Self {
        let detail = packet.to_string().into();
        Self { kind, packet: Some(packet), detail }
    }

    /// ER_HANDSHAKE_ERROR.
    pub fn malformed(detail: &'static str) -> Self {
        let packet = ErrPacket::new(1043, b"08S01", "Bad handshake");
        Self { kind: LoginErrorKind::Malformed, packet: Some(packet), detail: detail.into() }
    }

    /// ER_ACCESS_DENIED_ERROR.
    pub fn denied(user: &[u8], peer: Peer, with_password: bool) -> Self {
        let using = if with_password { "YES" } else { "NO" };
        let mut message = b"Access denied for user '".to_vec();
        message.extend_from_slice(user.get(..NAME_MAX).unwrap_or(user));
        message.extend_from_slice(format!("'@'{}' (using password: {using})", peer.host()).as_bytes());
        Self::told(LoginErrorKind::Denied, ErrPacket::new(1045, b"28000", message))
    }

    /// ER_HOST_NOT_PRIVILEGED, in MariaDB's words.
    pub fn proxy_header_refused(peer: Peer) -> Self {
        let message = format!("Proxy header is not accepted from {}", peer.host());
        Self::told(LoginErrorKind::Denied, ErrPacket::new(1130, b"HY000", message))
    }

    /// ER_UNKNOWN_ERROR, in MariaDB's words.
    pub fn proxy_header_malformed(detail: &'static str) -> Self {
        let packet = ErrPacket::new(1105, b"HY000", "Failed to parse proxy header");
        Self { kind: LoginErrorKind::Malformed, packet: Some(packet), detail: detail.into() }
    }

    /// The same, with what the log should say of it.
    pub fn because(self, detail: &'static str) -> Self {
        Self { detail: format!("{}; {detail}", self.detail).into(), ..self }
    }

    /// ER_SECURE_TRANSPORT_REQUIRED.
    pub fn tls_required() -> Self {
        let message =
            "Connections using insecure transport are prohibited while --require_secure_transport=ON.";
        Self::told(LoginErrorKind::Tls, ErrPacket::new(3159, b"HY000", message))
    }

    /// ER_NOT_SUPPORTED_AUTH_MODE, with why.
    pub fn unsupported(why: &str) -> Self {
        let message = format!("Client does not support authentication protocol requested by server; {why}");
        Self::told(LoginErrorKind::Unsupported, ErrPacket::new(1251, b"08004", message))
    }

    /// TLS was begun and did not come to be: there is nobody to tell.
    pub fn tls(error: &std::io::Error) -> Self {
        let detail = format!("TLS with the client failed: {error}").into();
        Self { kind: LoginErrorKind::Tls, packet: None, detail }
    }

    /// No random bytes, or the like.
    pub fn internal(detail: &'static str) -> Self {
        let packet = ErrPacket::new(1105, b"HY000", "Unknown error");
        Self { kind: LoginErrorKind::Internal, packet: Some(packet), detail: detail.into() }
    }
}

impl Reject {
    /// As an error of which the client knows nothing.
    pub fn untold(self) -> LoginError {
        LoginError { kind: self.kind, sent: None, detail: self.detail }
    }
}

impl From<PacketError> for Reject {
    fn from(error: PacketError) -> Self {
        match error {
            PacketError::Closed => Self {
                kind: LoginErrorKind::ClientLeft,
                packet: None,
                detail: "the client left during its login".into(),
            },
            PacketError::Io(error) => error.into(),
            PacketError::TooLong(_) => Self::malformed("the packet is too long for a login"),
            // ER_NET_PACKETS_OUT_OF_ORDER
            PacketError::OutOfOrder { .. } => Self::told(
                LoginErrorKind::Malformed,
                ErrPacket::new(1156, b"08S01", "Got packets out of order"),
            ),
        }
    }
}

impl From<std::io::Error> for Reject {
    fn from(error: std::io::Error) -> Self {
        Self { kind: LoginErrorKind::Io, packet: None, detail: error.to_string().into() }
    }
}

impl From<JudgeError> for Reject {
    fn from(error: JudgeError) -> Self {
        match error {
            // ER_MUST_CHANGE_PASSWORD_LOGIN; who can handle it does not come here.
            JudgeError::Expired => Self::told(
                LoginErrorKind::Denied,
                ErrPacket::new(
                    1862,
                    b"HY000",
                    "Your password has expired. To log in you must change it using a client that supports expired passwords.",
                ),
            ),
            JudgeError::Refused(packet) => Self::told(LoginErrorKind::Denied, packet),
            JudgeError::NotJudged(packet) => Self::told(LoginErrorKind::NoServer, packet),
            JudgeError::Unsupported(plugin) => Self::unsupported(&format!(
                "the proxy cannot pass on the account's authentication ({plugin})"
            )),
            JudgeError::Unavailable => Self::told(
                LoginErrorKind::NoServer,
                ErrPacket::new(
                    crate::session::CANNOT_CONNECT,
                    b"HY000",
                    "Can't connect to MySQL server: no server can check the password now",
                ),
            ),
        }
    }
}
