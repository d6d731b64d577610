//! What a client reads of a definition that has not come to its end.
//!
//! Owns: the words. Does not know: what has happened.

use crate::session::{Problem, Session};
use crate::topology::definitions::Trouble;
use crate::wire::err::ErrPacket;

impl Session {
    /// What the client reads when the journal cannot be written.
    pub(in crate::session) fn no_journal(&self, trouble: &Trouble) -> Problem {
        match trouble {
            Trouble::Denied(_) | Trouble::Failed(_) | Trouble::Crossed(_) => {
                tracing::error!(%trouble, "the journal of definitions cannot be written");
            }
            _ => tracing::debug!(%trouble, "a definition is refused"),
        }
        let resume = |id: u64| {
            format!("CALL tidegate.resume_definition({id}), or ABANDON DEFINITION {id} on Tidegate's console")
        };
        match trouble {
            Trouble::Denied(_) => Problem::Request(1227, DENIED.into()),
            Trouble::Failed(_) | Trouble::Crossed(_) => Problem::Request(1105, FAILED.into()),
            Trouble::Taken { id, table, running: true } => {
                let what = format!(
                    "Tidegate: definition {id} of {table} is being carried out: try again when it is over"
                );
                Problem::Request(1205, what.into())
            }
            Trouble::Taken { id, table, .. } => {
                let what = format!(
                    "Tidegate: definition {id} of {table} is not on all of its shards yet: {}",
                    resume(*id)
                );
                Problem::Request(1105, what.into())
            }
            Trouble::Unknown(id) => {
                Problem::Request(1105, format!("Tidegate: there is no definition {id}").into())
            }
            Trouble::Over(id) => Problem::Request(1105, format!("Tidegate: definition {id} is over").into()),
            Trouble::Running(id) | Trouble::Lost(id) => {
                let what = format!(
                    "Tidegate: definition {id} is being carried out by another session: try again when it is over"
                );
                Problem::Request(1205, what.into())
            }
        }
    }
}

/// What the client reads of a definition that some shards have.
pub(in crate::session) fn unfinished(
    id: u64,
    [have, lack, unknown]: [&[&str]; 3],
    why: &ErrPacket,
) -> ErrPacket {
    let said = [(have, "on"), (lack, "not on"), (unknown, "unknown on")];
    let said = said.iter().filter(|(sites, _)| !sites.is_empty());
    let said: Vec<_> = said.map(|(sites, what)| format!("{what} {}", sites.join(", "))).collect();
    let message = format!(
        "Tidegate: definition {id} is not on all of its shards: {}: {why}; then CALL tidegate.resume_definition({id}), or ABANDON DEFINITION {id} on Tidegate's console",
        said.join("; "),
    );
    match unknown.is_empty() {
        true => ErrPacket::new(1105, b"HY000", message),
        false => ErrPacket::new(1158, b"08007", message),
    }
}

const DENIED: &str = "Tidegate: the journal of definitions cannot be written, and nothing was done: Tidegate's monitor account needs CREATE, SELECT, INSERT, UPDATE and \
                      DELETE on tidegate.* at the database's home";
const FAILED: &str = "Tidegate: the journal of definitions at the database's home cannot be written, and nothing more was done: Tidegate's log says why";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reads_which_shards_have_it() {
        let why = ErrPacket::new(1062, b"23000", "Duplicate entry");
        let packet = unfinished(17, [&["s0"], &["s1", "s2"], &[]], &why);
        let message = String::from_utf8_lossy(&packet.message).into_owned();
        assert!(
            message.contains("definition 17 is not on all of its shards: on s0; not on s1, s2: "),
            "{message}"
        );
        assert!(
            message.contains("Duplicate entry") && message.contains("resume_definition(17)"),
            "{message}"
        );
        assert_eq!((packet.code, &packet.sqlstate), (1105, b"HY000"));
        let packet = unfinished(17, [&[], &["s1"], &["s0"]], &why);
        assert_eq!((packet.code, &packet.sqlstate), (1158, b"08007"));
        assert!(String::from_utf8_lossy(&packet.message).contains("unknown on s0"));
    }
}
