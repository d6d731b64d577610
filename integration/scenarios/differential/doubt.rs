//! What no proxy can have equal, as it is left over from the connection's past: which observations of a session show it.
//!
//! Owns: the two reasons. Invariant: only what a server itself calls undefined, or takes from an older statement, is left out.
//!
//! - MySQL's CALL of a procedure that runs no statement with a count answers with the row count that the statement before left
//!   on the connection; ROW_COUNT() behind it, too.
//! - MySQL adds the error of a command about a statement that does not exist or has no cursor, of wrong arguments, and of an unknown command
//!   to what is there to ask about already, and counts it behind later commands.
//! - MySQL tells with the next OK (not EOF) that a statement which has failed has ended the transaction; that may be the OK of what Tidegate replays.
//! - GET DIAGNOSTICS of a condition behind the last of an error's: it assigns nothing, and its answer does not tell.
//! - ROW_COUNT() and FOUND_ROWS() in a larger expression: the connection may serve others by then (docs/session-state.md).
//! - FOUND_ROWS() later than directly behind a SELECT: as before, and Tidegate knows only the rows that it has passed on.
//! - MariaDB leaves warnings after a CALL that reads no table, which no text tells.
//! - MySQL's COM_FIELD_LIST warns that it is deprecated, beside what is there; another command behind it forgets that, or does not.
//! - Servers keep the report of the default database that a statement which has failed would have made for a later one; Tidegate makes none
//!   behind what cannot change the database.
//! - LAST_INSERT_ID() in what asks about a statement that has failed as well: the connection of that may have none, and nothing can go before.
//! - MariaDB's START TRANSACTION leaves warnings; where it leads to the primary, several of them do not go along.
//! - MySQL's COM_STMT_RESET counts no warnings and shows none, and GET DIAGNOSTICS finds them still.

use super::player::Packet;
use super::step::{Line, Step};

/// Procedures of the world that run no statement with a count.
const UNCOUNTED: [&str; 3] = ["_out(", "_set(", "_signal("];

/// ER_UNKNOWN_COM_ERROR, ER_WRONG_ARGUMENTS, ER_UNKNOWN_STMT_HANDLER, ER_STMT_HAS_NO_OPEN_CURSOR.
const ADDED: [u16; 4] = [1047, 1210, 1243, 1421];

/// What is left over in one session.
#[derive(Default)]
pub struct Doubt {
    /// The texts in its slots.
    prepared: [String; 4],
    count: bool,
    /// There is something to ask about.
    left: bool,
    /// Something was added to it, or taken away, that no text tells.
    added: bool,
    /// The statement before was a SELECT.
    selected: bool,
    /// A statement has failed, on MySQL, and no OK packet has come since.
    failed: bool,
    /// The statement before has failed.
    refused: bool,
    /// The statement before has left several warnings.
    several: bool,
}

impl Doubt {
    fn text(&self, step: &Step) -> String {
        match step {
            Step::Query(sql) | Step::Attributes(sql, _) | Step::File(sql, _) => {
                String::from_utf8_lossy(sql).into_owned()
            }
            Step::Execute(execution) => self.prepared[execution.slot].clone(),
            _ => String::new(),
        }
    }

    /// Marks what does not count in a line that is to be played; false where nothing of it does.
    pub fn apply(&self, line: &mut Line) -> bool {
        let text = self.text(&line.step);
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        line.counted = !is_uncounted(&text);
        line.told = !self.failed;
        line.warned = !(self.added && text.is_empty());
        line.moves = may_move(&text, &line.step);
        line.exact &= !(self.count && has(&["ROW_COUNT"]));
        line.exact &= !(self.added && asks(&text) || is_larger(&text));
        line.exact &= !(self.refused && asks(&text) && has(&["LAST_INSERT_ID"]));
        line.exact &= self.selected || !has(&["FOUND_ROWS()"]);
        !(self.added && text.contains("GET DIAGNOSTICS"))
    }

    /// Takes in what one server has answered.
    pub fn note(&mut self, line: &Line, answer: &[Packet], mysql: bool) {
        if let Step::Prepare(slot, sql) = &line.step {
            self.prepared[*slot] = String::from_utf8_lossy(sql).into_owned();
        }
        let text = self.text(&line.step);
        let failed = answer.last().is_some_and(|packet| packet.bytes.first() == Some(&0xff));
        if !text.is_empty() {
            self.count = mysql && is_uncounted(&text);
        }
        let told = answer.iter().any(|packet| packet.status_at.is_some() && packet.bytes.len() > 5);
        self.failed = mysql && (failed || self.failed && !told);
        let begins = !mysql && (text.starts_with("BEGIN") || text.starts_with("START TRANSACTION"));
        let moves = begins && self.several;
        self.refused = failed;
        self.several = answer.last().is_some_and(|packet| packet.warnings() > 1)
            || self.several && (begins || asks(&text));
        let code = answer.last().and_then(|packet| packet.bytes.strip_prefix(b"\xff")?.first_chunk::<2>());
        let unknown = code.is_some_and(|code| ADDED.contains(&u16::from_le_bytes(*code)));
        let calls = text.starts_with("CALL");
        let resets = matches!(line.step, Step::ResetStatement(_));
        let lists = mysql && matches!(line.step, Step::FieldList(_));
        let added = lists || self.left && if mysql { unknown || resets } else { calls || moves };
        self.added = added || self.added && (text.is_empty() || asks(&text) || !mysql && !failed);
        self.selected = match &line.step {
            // One that fails leaves the count of what was before it.
            Step::Query(_) | Step::Execute(_) if failed => self.selected,
            Step::Query(_) | Step::Execute(_) => text.starts_with("SELECT") && !text.contains("INTO"),
            _ => false,
        };
        let leaves = matches!(
            line.step,
            Step::Ping | Step::SetOption(_) | Step::Statistics | Step::CloseStatement(_) | Step::LongData(..)
        ) || !mysql && matches!(line.step, Step::Prepare(..));
        let adds = text.contains("GET DIAGNOSTICS CONDITION"); // in vain, perhaps
        self.left =
            failed || adds || self.left && (leaves || asks(&text)) || answer.iter().any(Packet::warns);
    }

    /// Takes in that Tidegate refuses what the server has answered: what there is to ask about is that.
    pub fn note_refusal(&mut self) {
        self.added = true;
    }
}

/// Whether the default database may be another one behind it.
fn may_move(text: &str, step: &Step) -> bool {
    let text = text.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let begins =
        ["USE", "CALL", "PREPARE", "EXECUTE", "DEALLOCATE"].iter().any(|word| text.starts_with(word));
    let names = has(&["DATABASE", "SCHEMA"]) || text.contains(';') && has(&["USE", "CALL", "EXECUTE"]);
    let commands = matches!(step, Step::InitDb(_) | Step::ChangeUser { .. } | Step::ResetConnection);
    begins || names || commands
}

/// Whether the statement leaves what there is to ask about.
fn asks(text: &str) -> bool {
    ["WARNINGS", "ERRORS", "_count", "DIAGNOSTICS"].iter().any(|word| text.contains(word))
}

/// Whether the statement asks for a count, and not for that alone.
pub fn is_larger(text: &str) -> bool {
    let asks = text.contains("ROW_COUNT()") || text.contains("FOUND_ROWS()");
    asks && !text.contains(';') && !matches!(text, "SELECT ROW_COUNT()" | "SELECT FOUND_ROWS()")
}

fn is_uncounted(text: &str) -> bool {
    text.starts_with("CALL") && UNCOUNTED.iter().any(|name| text.contains(name))
}
