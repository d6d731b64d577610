//! What the journal of definitions tells, and is told.
//!
//! Owns: the shapes. Does not know: tables, connections.

use mysql_async::Error;

/// The account may not, in this database, at this table, at all.
const DENIED: [u16; 3] = [1044, 1142, 1227];
/// A lock that was waited for too long; a deadlock.
const CROSSED: [u16; 2] = [1205, 1213];

/// What the journal cannot do.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The account lacks privileges.
    #[error("the monitor account may not: {0}")]
    Denied(String),
    /// There is no primary to write to, or it fails.
    #[error("{0}")]
    Failed(String),
    /// The server has undone it, as two wrote at the same moment: it may be done again.
    #[error("two definitions are noted at the same moment: {0}")]
    Crossed(String),
    /// Another definition of a table is open.
    #[error("definition {id} of {table} is open")]
    Taken {
        /// Which.
        id: u64,
        /// Of which table.
        table: String,
        /// Somebody is carrying it out.
        running: bool,
    },
    /// There is no such entry.
    #[error("there is no definition {0}")]
    Unknown(u64),
    /// Somebody is carrying it out.
    #[error("definition {0} is being carried out")]
    Running(u64),
    /// It is over.
    #[error("definition {0} is over")]
    Over(u64),
    /// Somebody else has taken it.
    #[error("definition {0} was taken by another")]
    Lost(u64),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Server(error) if DENIED.contains(&error.code) => Self::Denied(error.message),
            Error::Server(error) if CROSSED.contains(&error.code) => Self::Crossed(error.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// What is known of a definition at one site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// Its turn has not come.
    Waiting,
    /// It has been sent, or is about to be: nobody knows.
    Running,
    /// The site has it.
    Done,
    /// The server has refused it.
    Failed,
}

impl Word {
    /// As the journal has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Waiting, Self::Running, Self::Done, Self::Failed].into_iter().find(|own| own.as_str() == word)
    }
}

/// A definition that is about to begin.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The logical database.
    pub database: &'a str,
    /// The tables that it makes, changes or removes.
    pub tables: &'a [String],
    /// As the client has sent it.
    pub statement: &'a [u8],
    /// The session's state, which says how it is read.
    pub settings: &'a [u8],
    /// Who has sent it.
    pub account: &'a str,
    /// Where it runs, in this order.
    pub sites: &'a [String],
}

/// A definition of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its number.
    pub id: u64,
    /// `open`, `done`, `abandoned`.
    pub state: String,
    /// The logical database.
    pub database: String,
    /// The tables, for people.
    pub tables: String,
    /// As the client has sent it.
    pub statement: Vec<u8>,
    /// See [`Claim::settings`].
    pub settings: Vec<u8>,
    /// Who has sent it.
    pub account: String,
    /// When, in UTC.
    pub began: String,
    /// The same in microseconds since 1970.
    pub began_us: u64,
    /// Somebody is carrying it out.
    pub running: bool,
    /// Where it runs.
    pub sites: Vec<Site>,
}

/// A site of a definition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// A shard's name, or `home`.
    pub name: String,
    /// What is known.
    pub word: Word,
    /// What there was before it was sent.
    pub had: Option<String>,
    /// Why the server has refused it.
    pub error: Option<String>,
}

/// A note about a site.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// The site's place in the list.
    pub place: usize,
    /// What is known now.
    pub word: Word,
    /// What there was before; `None` leaves what was noted.
    pub had: Option<&'a str>,
    /// Why it was refused.
    pub error: Option<&'a str>,
}
