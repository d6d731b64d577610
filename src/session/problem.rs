//! Why a statement could not be carried out, and what the client is told.
//!
//! Invariant: messages name no hosts, users or files of the inside; a server's own error passes unchanged.

use std::borrow::Cow;

use super::spread::fates::Fates;
use crate::backend::connect::ConnectError;
use crate::backend::pool::LeaseError;
use crate::sql::Dialect;
use crate::wire::err::ErrPacket;

/// ER_CONNECT_TO_FOREIGN_DATA_SOURCE. Not 2003: numbers from 2000 to 2999 are the clients' own, and MariaDB's client
/// library takes an error packet with one for a malformed packet (tried with its test suite).
pub const CANNOT_CONNECT: u16 = 1429;
/// ER_NET_READ_ERROR, with the SQLSTATE by which drivers tell a lost connection. Not 2013, see above.
const LOST: u16 = 1158;
/// The standard's "connection exception: transaction resolution unknown", by which drivers tell a lost COMMIT.
const RESOLUTION_UNKNOWN: &[u8; 5] = b"08007";

/// Kinds of problems; also the metric's label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The client asked for something impossible.
    Client,
    /// Tidegate does not do this.
    Unsupported,
    /// A server failed or refused.
    Backend,
    /// A limit is reached.
    Overload,
    /// The state of a session is lost.
    Lost,
}

impl Kind {
    /// Names for the metric, by `self as usize`.
    pub const NAMES: &'static [&'static str] = &["client", "unsupported", "backend", "overload", "lost"];
}

/// A statement that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A server's own error.
    #[error("{0}")]
    Server(ErrPacket),
    /// No server for it.
    #[error("no usable primary: {0}")]
    NoPrimary(String),
    /// No server at all.
    #[error("no usable server: {0}")]
    NoServer(String),
    /// The connection to the server was lost while the statement ran.
    #[error("the server connection was lost during the statement")]
    Lost {
        /// It may have been executed.
        outcome_unknown: bool,
        /// What else went with the connection.
        state_lost: bool,
    },
    /// The connection was lost with a transaction that was open on it, before what ends that was sent.
    #[error("the server connection was lost with a transaction")]
    TransactionLost {
        /// The statement in hand may have been executed.
        outcome_unknown: bool,
        /// Why it was not run again elsewhere, where the rules want that.
        why: Option<&'static str>,
    },
    /// The connection was lost after COMMIT was sent, or what commits by itself, and before its answer.
    #[error("the server connection was lost during COMMIT")]
    CommitLost {
        /// Why the transaction was not run again elsewhere, where the rules want that.
        why: Option<&'static str>,
    },
    /// Some shards have committed their parts of a statement; others have not, or it is not known.
    #[error("a statement was committed in part")]
    Halved(Box<Fates>),
    /// The queue for connections is full, or a wait in it was too long.
    #[error("{0}")]
    Queue(&'static str),
    /// A server does not let in the account that the rules file gives for this user.
    #[error("the account for the servers is refused")]
    BackendAccount {
        /// The name that the client gave.
        user: Vec<u8>,
    },
    /// Connecting failed in a way that is not the server's own word.
    #[error("cannot connect to the server: {0}")]
    Connect(String),
    /// The client's request makes no sense.
    #[error("{1}")]
    Request(u16, Cow<'static, str>),
    /// Not done, and why.
    #[error("{0}")]
    Unsupported(Cow<'static, str>),
}

impl Problem {
    /// Whether the statement may have been executed, all the same.
    pub(super) fn leaves_doubt(&self) -> bool {
        match self {
            Self::Lost { outcome_unknown, .. } | Self::TransactionLost { outcome_unknown, .. } => {
                *outcome_unknown
            }
            Self::CommitLost { .. } | Self::Halved(_) => true,
            _ => false,
        }
    }
}

impl From<LeaseError> for Problem {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Connect(ConnectError::Refused(error)) => Self::Server(error),
            LeaseError::Connect(error) => Self::Connect(error.to_string()),
            LeaseError::QueueFull => Self::Queue("too many clients wait for a server connection"),
            LeaseError::Leaving => Self::Connect(error.to_string()),
            LeaseError::QueueTimeout => Self::Queue("no server connection came free in time"),
            LeaseError::TooSmall { .. } => Self::Unsupported(error.to_string().into()),
        }
    }
}

impl Problem {
    /// As servers refuse LOAD DATA LOCAL to a client that has not said that it sends files: ER_CLIENT_LOCAL_FILES_DISABLED, and MariaDB's
    /// ER_LOAD_INFILE_CAPABILITY_DISABLED.
    pub fn no_local_files(dialect: Dialect) -> Self {
        let (state, code, message): (_, _, &str) = match dialect {
            Dialect::MySql => (
                b"42000",
                3948,
                "Loading local data is disabled; this must be enabled on both the client and server sides",
            ),
            Dialect::MariaDb => (
                b"HY000",
                4166,
                "The used command is not allowed because the MariaDB server or client has disabled the local infile capability",
            ),
        };
        Self::Server(ErrPacket::new(code, state, message))
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Server(_)
            | Self::Connect(_)
            | Self::BackendAccount { .. }
            | Self::NoPrimary(_)
            | Self::NoServer(_) => Kind::Backend,
            Self::Lost { .. } | Self::TransactionLost { .. } | Self::CommitLost { .. } | Self::Halved(_) => {
                Kind::Lost
            }
            Self::Queue(_) => Kind::Overload,
            Self::Request(..) => Kind::Client,
            Self::Unsupported(_) => Kind::Unsupported,
        }
    }

    /// Whether the session cannot go on as if nothing had happened: the client is disconnected after the error.
    pub fn ends_session(&self) -> bool {
        matches!(
            self,
            Self::Lost { state_lost: true, .. } | Self::TransactionLost { .. } | Self::CommitLost { .. }
        )
    }

    /// What the client gets.
    pub fn packet(&self) -> ErrPacket {
        match self {
            Self::Server(error) => error.clone(),
            Self::NoPrimary(why) => {
                let message =
                    format!("Tidegate: no usable primary ({why}); writes wait for one and then fail");
                ErrPacket::new(1290, b"HY000", message)
            }
            Self::NoServer(why) => {
                ErrPacket::new(CANNOT_CONNECT, b"HY000", format!("Tidegate: no usable server ({why})"))
            }
            Self::TransactionLost { outcome_unknown, why } => {
                let lost = Self::Lost { outcome_unknown: *outcome_unknown, state_lost: true };
                not_replayed(lost.packet(), *why)
            }
            Self::CommitLost { why } => {
                let message = "Tidegate: lost connection to the MySQL server during COMMIT; whether the transaction was \
                               committed is unknown";
                not_replayed(ErrPacket::new(LOST, RESOLUTION_UNKNOWN, message), *why)
            }
            Self::Lost { outcome_unknown, state_lost } => {
                let mut message =
                    String::from("Tidegate: lost connection to the MySQL server during the statement");
                if *outcome_unknown {
                    message.push_str("; whether it was executed is unknown");
                }
                if *state_lost {
                    message.push_str("; the transaction and the session's state are lost with it");
                }
                ErrPacket::new(LOST, b"08S01", message)
            }
            Self::Halved(fates) => fates.packet(),
            Self::Queue(what) => {
                ErrPacket::new(1040, b"08004", format!("Tidegate: too many connections: {what}"))
            }
            Self::BackendAccount { user } => {
                let user = user.escape_ascii();
                let message = format!(
                    "Tidegate: access denied: the server refused the account that Tidegate uses for user '{user}'; \
                     this password is right, the one in Tidegate's rules for the servers is not"
                );
                ErrPacket::new(1045, b"28000", message)
            }
            Self::Connect(_) => {
                ErrPacket::new(CANNOT_CONNECT, b"HY000", "Tidegate: cannot connect to the MySQL server")
            }
            Self::Request(code, message) => ErrPacket::new(*code, sqlstate(*code), message.as_bytes()),
            Self::Unsupported(what) => ErrPacket::new(1235, b"42000", format!("Tidegate: {what}")),
        }
    }
}

/// A KILL has ended the statement, or the session.
pub const INTERRUPTED: Problem = Problem::Request(1317, Cow::Borrowed("Query execution was interrupted"));

/// With the reason for which a transaction was not run again.
fn not_replayed(mut packet: ErrPacket, why: Option<&'static str>) -> ErrPacket {
    if let Some(why) = why {
        packet.message.extend_from_slice(b"; it was not replayed: ");
        packet.message.extend_from_slice(why.as_bytes());
    }
    packet
}

/// SQLSTATE of the codes that Tidegate raises itself, as servers give them.
fn sqlstate(code: u16) -> &'static [u8; 5] {
    match code {
        1047 | 1043 | 1156 | 1153 => b"08S01",
        1040 => b"08004",
        1461 => b"42000",
        1227 => b"42000",
        1317 => b"70100",
        _ => b"HY000",
    }
}
