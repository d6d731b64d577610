//! The mark of a switchover that has begun: a row at the primary that hands over, which its replicas get with all else.
//!
//! Owns: its table, and what is told to a server about it. Does not know: when it is set, or what follows from it. Invariant: it is there
//! before the primary takes no writes, and is removed by who sees that a server takes writes again. So where none does, and it is there, a
//! Tidegate has not lived to end what it had begun, and no person wants it so. It is written over connections that hold no lock: a commit
//! that waits for an acknowledgement would keep everybody from the act that brings the replica back which could give it.

use super::super::rights;
use super::hand::{Hand, PROMPT, Trouble};

const IS_THERE: &str = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'tidegate' AND table_name = 'switchover'";
/// For a server that has no such table yet; `account` says whose it was, `begun` when.
const MAKE: [&str; 3] = [
    "CREATE DATABASE IF NOT EXISTS tidegate",
    ENTER,
    "CREATE TABLE IF NOT EXISTS tidegate.switchover (id TINYINT UNSIGNED NOT NULL PRIMARY KEY, outgoing VARCHAR(300) NOT NULL, \
     incoming VARCHAR(300) NOT NULL, account VARCHAR(300) NOT NULL, begun DATETIME NOT NULL) ENGINE = InnoDB",
];
/// Filters by the default database (`replicate_ignore_db`) take or leave all of it then: a replica that left out the database alone would
/// stop at the table.
const ENTER: &str = "USE tidegate";
const READ: &str = "SELECT outgoing, incoming FROM tidegate.switchover WHERE id = 1";
const REMOVE: &str = "DELETE FROM tidegate.switchover WHERE id = 1";
/// What the account needs for it, there.
const RIGHTS: [&str; 4] = ["CREATE", "SELECT", "INSERT", "DELETE"];

/// Who was to hand over to whom, by their addresses in the rules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub outgoing: String,
    pub incoming: String,
}

impl Mark {
    fn set(&self) -> String {
        // Addresses hold neither quotes nor backslashes: the rules' own check.
        let Self { outgoing, incoming } = self;
        format!(
            "REPLACE INTO tidegate.switchover VALUES (1, '{outgoing}', '{incoming}', LEFT(USER(), 300), UTC_TIMESTAMP())"
        )
    }
}

impl Hand {
    /// Sets the mark, at a server that takes writes; false where the account may not.
    pub async fn mark(&mut self, mark: &Mark) -> Result<bool, Trouble> {
        self.another().await?.set(mark).await
    }

    async fn set(&mut self, mark: &Mark) -> Result<bool, Trouble> {
        let make: &[&str] = if self.has_marks().await? { &[ENTER] } else { &MAKE };
        for sql in make.iter().copied().chain([&*mark.set()]) {
            if !self.may_tell(sql).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The mark, if there is one.
    pub async fn marked(&mut self) -> Result<Option<Mark>, Trouble> {
        if !self.has_marks().await? {
            return Ok(None);
        }
        let found: Option<(String, String)> = self.ask_for(READ, PROMPT).await?;
        Ok(found.map(|(outgoing, incoming)| Mark { outgoing, incoming }))
    }

    /// Removes it, where it is, at a server that takes writes; the account may be one that could write to others.
    pub async fn unmark(&mut self) -> Result<(), Trouble> {
        let read_only: u8 = self.ask("SELECT @@global.read_only", PROMPT).await?;
        match self.marked().await? {
            Some(_) if read_only == 0 => {
                let mut aide = self.another().await?;
                aide.tell(ENTER).await?;
                aide.tell(REMOVE).await
            }
            _ => Ok(()),
        }
    }

    async fn has_marks(&mut self) -> Result<bool, Trouble> {
        self.ask::<u64>(IS_THERE, PROMPT).await.map(|tables| tables > 0)
    }
}

/// Privileges for marks that an account lacks, by its SHOW GRANTS.
pub(super) fn missing(grants: &[String]) -> Vec<&'static str> {
    rights::missing(grants, "switchover", &RIGHTS)
}
