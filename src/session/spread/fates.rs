//! What became of the parts of a change, once COMMIT was sent to the first of their sites.
//!
//! Owns: who has its part, who has not, of whom nobody knows, whether to go on, and how a client reads that. Does not know: servers.
//! Invariant: a site is in one list.

use crate::wire::err::ErrPacket;

/// ER_ERROR_DURING_COMMIT.
const IN_COMMIT: u16 = 1180;
/// ER_NET_READ_ERROR, with the standard's "transaction resolution unknown".
const LOST: (u16, &[u8; 5]) = (1158, b"08007");

/// What became of a part whose COMMIT was sent.
#[derive(Debug)]
pub enum Fate {
    /// The server has said so.
    Committed,
    /// It has refused.
    Refused(ErrPacket),
    /// Nobody knows.
    Unknown,
}

/// What became of the parts, by the names of their sites.
#[derive(Debug, Default)]
pub struct Fates {
    /// Committed.
    pub have: Vec<String>,
    /// Rolled back.
    pub lack: Vec<String>,
    /// Their connections were lost before the answer to COMMIT came.
    pub unknown: Vec<String>,
    /// Why one has not.
    pub why: Option<ErrPacket>,
    /// They are those of a client's transaction.
    pub of_transaction: bool,
}

impl Fates {
    /// Whether all have their parts.
    pub fn are_good(&self) -> bool {
        self.lack.is_empty() && self.unknown.is_empty()
    }

    /// What became of one; whether the next part is to be made last. Where the outcome of the first one is unknown, that no other is made last
    /// leaves the least to mend.
    ///
    /// # Errors
    /// It is the first one, and was refused: nothing has lasted.
    pub fn note(&mut self, name: String, fate: Fate) -> Result<bool, ErrPacket> {
        match fate {
            Fate::Committed => self.have.push(name),
            Fate::Refused(error) if self.have.is_empty() => return Err(error),
            Fate::Refused(error) => {
                self.lack.push(name);
                self.why = Some(error);
            }
            Fate::Unknown => self.unknown.push(name),
        }
        Ok(!self.have.is_empty())
    }

    /// Whose parts they are.
    pub fn of(&self) -> &'static str {
        if self.of_transaction { "transaction" } else { "statement" }
    }

    /// What the client reads.
    pub fn packet(&self) -> ErrPacket {
        let said = [(&self.have, "committed on"), (&self.lack, "not on"), (&self.unknown, "unknown on")];
        let said = said.iter().filter(|(sites, _)| !sites.is_empty());
        let said: Vec<_> = said.map(|(sites, what)| format!("{what} {}", sites.join(", "))).collect();
        let mut message = format!(
            "Tidegate: the {} may be in effect on some of its shards only: {}",
            self.of(),
            said.join("; ")
        );
        if !self.unknown.is_empty() {
            message.push_str(" (the connection was lost during COMMIT)");
        }
        if let Some(why) = &self.why {
            message.push_str(&format!(": {why}"));
        }
        match self.unknown.is_empty() {
            true => ErrPacket::new(IN_COMMIT, b"HY000", message),
            false => ErrPacket::new(LOST.0, LOST.1, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reads_who_has_it() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let why = Some(ErrPacket::new(1290, b"HY000", "read only"));
        let partly = Fates { have: names(&["s0", "s2"]), lack: names(&["s1"]), why, ..Fates::default() };
        let packet = partly.packet();
        let message = String::from_utf8_lossy(&packet.message).into_owned();
        assert!(message.contains("only: committed on s0, s2; not on s1: "), "{message}");
        assert!(message.ends_with("read only"), "{message}");
        assert_eq!((packet.code, &packet.sqlstate), (IN_COMMIT, b"HY000"));
        let unknown = Fates { lack: names(&["s1"]), unknown: names(&["s0"]), ..Fates::default() };
        let packet = unknown.packet();
        let message = String::from_utf8_lossy(&packet.message).into_owned();
        assert!(
            message.ends_with("only: not on s1; unknown on s0 (the connection was lost during COMMIT)"),
            "{message}"
        );
        assert_eq!((packet.code, &packet.sqlstate), LOST);
    }
}
