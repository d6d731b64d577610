//! Warnings of a change's parts, told as one reply to SHOW WARNINGS.
//!
//! Owns: asking each site while it knows them, and the reply. Does not know: what has warned. Invariant: rows are the servers' own but for
//! the number of the statement's row, which is the client's; what is too much to keep is not told at all.

use crate::backend::connection::Connection;
use crate::execute::names::Names;
use crate::execute::part::{Packet, Part};
use crate::execute::told::at_own_row;
use crate::session::Session;
use crate::sql::Dialect;
use crate::wire::capabilities::Capabilities;
use crate::wire::command;
use crate::wire::frame::{lenenc_string, put_lenenc, put_lenenc_string, put_packet};
use crate::wire::ok::{Status, put_end};

const QUESTION: &[u8] = b"SHOW WARNINGS";
/// `max_error_count`, where the session has set none: MySQL's, and MariaDB's.
const ROWS_MAX: (usize, usize) = (1024, 64);
/// Longest rows that are kept for a session, all together.
const BYTES_MAX: usize = 64 << 10;
/// Warnings that another value is stored than was given: NULL in a column without, out of range, cut, of another kind, too long.
const ALTERED: [&[u8]; 6] = [b"1048", b"1264", b"1265", b"1292", b"1366", b"1406"];
/// Warnings about a statement's text: every part has them, and they are one. ER_WARN_DEPRECATED_SYNTAX, its kin without a replacement, and
/// of character sets' names, ER_BINLOG_UNSAFE_STATEMENT.
const OF_TEXT: [&[u8]; 5] = [b"1287", b"1681", b"3719", b"3778", b"1592"];

/// Warnings of several sites.
#[derive(Debug, Default)]
pub(in crate::session) struct Gathered {
    columns: Vec<Vec<u8>>,
    rows: Vec<Vec<u8>>,
    bytes: usize,
    /// How many rows the client would be told by one server.
    rows_max: usize,
    /// Columns of which it must be known whether a value was altered.
    watched: Vec<String>,
    /// That, or it cannot be known.
    altered: bool,
    /// Every site does the same: what several of them tell is one warning.
    pub alike: bool,
}

impl Gathered {
    /// Takes a row in; `rows` are the numbers that the site's rows have in the client's statement. False where another site has told the same.
    fn take(&mut self, row: &[u8], rows: &[usize]) -> bool {
        if (self.alike || is_of_text(row)) && self.rows.iter().any(|told| told == row) {
            return false;
        }
        self.altered |= self.watched.iter().any(|column| alters(row, column));
        if self.rows.len() < self.rows_max && self.bytes + row.len() <= BYTES_MAX {
            self.bytes += row.len();
            self.rows.push(renumbered(row, rows).unwrap_or_else(|| row.to_vec()));
        }
        true
    }

    /// A row that is as the client is to be told it.
    pub fn tell(&mut self, columns: &[Vec<u8>], row: &[u8]) {
        if self.columns.is_empty() {
            self.columns = columns.to_vec();
        }
        self.take(row, &[]);
    }

    /// How many rows one server keeps for the client.
    pub fn most(&self) -> usize {
        self.rows_max
    }

    /// How many rows are told.
    pub fn count(&self) -> u16 {
        u16::try_from(self.rows.len()).unwrap_or(u16::MAX)
    }

    /// Whether a watched column has got another value than was given, as far as the warnings tell.
    pub fn has_altered(&self) -> bool {
        self.altered
    }

    /// Whether this column has, as far as those warnings tell that are kept.
    pub fn tells_altered(&self, column: &str) -> bool {
        self.rows.iter().any(|row| alters(row, column))
    }

    /// The reply; `None` where there are no warnings.
    pub fn reply(&self, status: Status, capabilities: Capabilities) -> Option<Box<[u8]>> {
        if self.rows.is_empty() {
            return None;
        }
        let (mut out, mut payload) = (Vec::new(), Vec::new());
        put_lenenc(&mut payload, self.columns.len() as u64);
        if capabilities.contains(Capabilities::OPTIONAL_RESULTSET_METADATA) {
            payload.push(1); // definitions follow, as a client can always take them
        }
        let mut sequence = put_packet(&mut out, 1, &payload);
        for column in &self.columns {
            sequence = put_packet(&mut out, sequence, column);
        }
        let mut end = Vec::new();
        put_end(&mut end, status, 0, capabilities);
        if !capabilities.contains(Capabilities::DEPRECATE_EOF) {
            sequence = put_packet(&mut out, sequence, &end);
        }
        for row in &self.rows {
            sequence = put_packet(&mut out, sequence, row);
        }
        put_packet(&mut out, sequence, &end);
        Some(out.into())
    }
}

/// Whether a warning says that this column has got another value than was given.
fn alters(row: &[u8], column: &str) -> bool {
    let told = lenenc_string(row).and_then(|(_, rest)| lenenc_string(rest));
    let Some((code, rest)) = told else { return true };
    let Some((message, _)) = lenenc_string(rest) else { return true };
    let names = ['\'', '`'].map(|quote| format!("{quote}{column}{quote}").to_lowercase());
    let message = String::from_utf8_lossy(message).to_lowercase();
    ALTERED.contains(&code) && names.iter().any(|name| message.contains(name))
}

/// Whether a warning is about the statement's text, whatever the rows are.
fn is_of_text(row: &[u8]) -> bool {
    let code = lenenc_string(row).and_then(|(_, rest)| lenenc_string(rest));
    code.is_some_and(|(code, _)| OF_TEXT.contains(&code))
}

/// Level, code and message, with the client's number of the row in the message; `None` where it is no such row.
fn renumbered(row: &[u8], rows: &[usize]) -> Option<Vec<u8>> {
    let (level, rest) = lenenc_string(row)?;
    let (code, rest) = lenenc_string(rest)?;
    let (message, _) = lenenc_string(rest)?;
    let mut out = Vec::with_capacity(row.len() + 8);
    for text in [level, code, &at_own_row(message.to_vec(), rows)] {
        put_lenenc_string(&mut out, text);
    }
    Some(out)
}

/// Level, code and message, in the client's names; `None` where it has no other.
fn in_own_names(row: &[u8], names: &Names) -> Option<Vec<u8>> {
    let (level, rest) = lenenc_string(row)?;
    let (code, rest) = lenenc_string(rest)?;
    let (message, _) = lenenc_string(rest)?;
    let message = names.of_message(std::str::from_utf8(code).ok()?.parse().ok()?, message)?;
    let mut out = Vec::with_capacity(row.len() + 8);
    for text in [level, code, &message] {
        put_lenenc_string(&mut out, text);
    }
    Some(out)
}

impl Session {
    /// For the warnings of a change; `watched`: columns whose values must not be altered.
    pub(in crate::session) fn no_warnings(&self, watched: &[String]) -> Gathered {
        let own = self.max_error_count().and_then(|count| std::str::from_utf8(count).ok()?.parse().ok());
        let (mysql, mariadb) = ROWS_MAX;
        let usual = if self.lexing.server.dialect == Dialect::MySql { mysql } else { mariadb };
        Gathered { rows_max: own.unwrap_or(usual), watched: watched.to_vec(), ..Gathered::default() }
    }

    /// `max_error_count`, where the client has set it.
    pub(in crate::session) fn max_error_count(&self) -> Option<&[u8]> {
        let count = self.desired.get(b"max_error_count")?;
        count.iter().all(u8::is_ascii_digit).then_some(count)
    }

    /// Asks the connection for the warnings of the part that has run on it last, of which there are so many, about these rows; says how many
    /// of them another site has told, too.
    pub(in crate::session) async fn gather_warnings(
        &mut self,
        connection: Box<Connection>,
        (count, rows): (u16, &[usize]),
        gathered: &mut Gathered,
    ) -> (Box<Connection>, u16) {
        let mut part =
            Part::new(connection, self.worker.buffers.take(), self.worker.config.limits.packet_max);
        let mut question = Vec::with_capacity(QUESTION.len() + 16);
        command::put_query(&mut question, QUESTION, part.connection.capabilities);
        if part.connection.stream.write_all(&question).await.is_err() {
            return (part.into_connection(), 0);
        }
        let (mut columns, mut known, mut told) = (Vec::new(), 0, 0u32);
        loop {
            match part.next(&mut self.client).await {
                Ok(Packet::Column(range)) => columns.push(part.bytes(range).to_vec()),
                Ok(Packet::Columns) if gathered.columns.is_empty() => {
                    gathered.columns = std::mem::take(&mut columns)
                }
                Ok(Packet::Columns) => {}
                Ok(Packet::Row(range)) => {
                    told += 1;
                    let row = part.bytes(range);
                    let named = self.client.names.as_ref().and_then(|names| in_own_names(row, names));
                    known += u16::from(!gathered.take(named.as_deref().unwrap_or(row), rows));
                }
                Ok(Packet::End(_) | Packet::Error(_) | Packet::File(_)) | Err(_) => {
                    // Where some are not told: for all that is known.
                    let all = told >= count.into() && count < u16::MAX;
                    gathered.altered |= !all && !gathered.watched.is_empty();
                    return (part.into_connection(), known);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::reply::{Expect, Scanner, Step};

    fn row(message: &str) -> Vec<u8> {
        let mut row = Vec::new();
        ["Warning", "1265", message].iter().for_each(|text| put_lenenc_string(&mut row, text.as_bytes()));
        row
    }

    #[test]
    fn rows_of_several_sites_are_one_reply_with_the_clients_numbers() {
        for flags in
            [Capabilities::empty(), Capabilities::DEPRECATE_EOF | Capabilities::OPTIONAL_RESULTSET_METADATA]
        {
            let mut gathered =
                Gathered { columns: vec![b"\x03def...".to_vec(); 3], rows_max: 9, ..Gathered::default() };
            assert_eq!(gathered.reply(Status::AUTOCOMMIT, flags), None);
            gathered.take(&row("Data truncated for column 'name' at row 2"), &[4, 7]);
            gathered.take(&row("Something else"), &[5]);
            let reply = gathered.reply(Status::AUTOCOMMIT, flags).expect("a reply");
            let mut scanner = Scanner::new(Expect::Results, flags);
            let mut at = 0;
            while let Step::End { end, .. } = scanner.advance(&reply[at..]) {
                at += end;
                if scanner.is_done() {
                    break;
                }
            }
            assert!(scanner.is_done() && at == reply.len() && scanner.rows() == 2);
            assert!(memchr::memmem::find(&reply, b"'name' at row 8").is_some());
        }
    }

    #[test]
    fn no_more_is_told_than_one_server_tells() {
        let mut gathered = Gathered { rows_max: 64, ..Gathered::default() };
        assert!((0..2000).all(|_| gathered.take(&row("x"), &[])));
        assert_eq!(gathered.rows.len(), 64);
        // Of a statement's text once.
        let mut about = Vec::new();
        ["Warning", "1287", "deprecated"]
            .iter()
            .for_each(|text| put_lenenc_string(&mut about, text.as_bytes()));
        let mut gathered = Gathered { rows_max: 64, ..Gathered::default() };
        assert!(gathered.take(&about, &[]) && !gathered.take(&about, &[]));
    }

    #[test]
    fn a_value_that_was_altered_is_seen() {
        for (message, altered) in [
            ("Out of range value for column 'id' at row 1", true),
            ("Incorrect integer value: 'x' for column `shop_0`.`orders`.`Id` at row 1", true),
            ("Data truncated for column 'name' at row 1", false),
        ] {
            let watched = vec!["id".to_owned()];
            let mut gathered = Gathered { watched, ..Gathered::default() };
            gathered.take(&row(message), &[]);
            assert_eq!(gathered.has_altered(), altered, "{message}");
        }
        let mut duplicate = Vec::new();
        ["Warning", "1062", "Duplicate entry 'id' for key"]
            .iter()
            .for_each(|text| put_lenenc_string(&mut duplicate, text.as_bytes()));
        assert!(!alters(&duplicate, "id"));
    }
}
