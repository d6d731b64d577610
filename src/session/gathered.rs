//! Warnings of a change's parts, told as one reply to SHOW WARNINGS.
//!
//! Owns: asking each site while it knows them, and the reply. Does not know: what has warned. Invariant: rows are the servers' own but for
//! the number of the statement's row, which is the client's; what is too much to keep is not told at all.

use super::Session;
use crate::backend::connection::Connection;
use crate::execute::part::{Packet, Part};
use crate::execute::told::at_own_row;
use crate::wire::capabilities::Capabilities;
use crate::wire::command;
use crate::wire::frame::{lenenc_string, put_lenenc, put_lenenc_string, put_packet};
use crate::wire::ok::{Status, put_end};

/// One more than are kept; servers have 1024 (`max_error_count`).
const QUESTION: &[u8] = b"SHOW WARNINGS LIMIT 1025";
const ROWS_MAX: usize = 1024;
/// Longest rows that are kept for a session, all together.
const BYTES_MAX: usize = 64 << 10;
/// Warnings about a statement's text: every part has them, and they are one. ER_WARN_DEPRECATED_SYNTAX, its kin without a replacement, and
/// of character sets' names, ER_BINLOG_UNSAFE_STATEMENT.
const OF_TEXT: [&[u8]; 5] = [b"1287", b"1681", b"3719", b"3778", b"1592"];

/// Warnings of several sites.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    columns: Vec<Vec<u8>>,
    rows: Vec<Vec<u8>>,
    bytes: usize,
}

impl Gathered {
    /// Takes a row in; `rows` are the numbers that the site's rows have in the client's statement. False where another site has told the same.
    fn take(&mut self, row: &[u8], rows: &[usize]) -> bool {
        if is_of_text(row) && self.rows.iter().any(|told| told == row) {
            return false;
        }
        self.bytes += row.len();
        if self.rows.len() <= ROWS_MAX && self.bytes <= BYTES_MAX {
            self.rows.push(renumbered(row, rows).unwrap_or_else(|| row.to_vec()));
        }
        true
    }

    /// The reply; `None` where there are no warnings, or too many.
    pub fn reply(&self, status: Status, capabilities: Capabilities) -> Option<Box<[u8]>> {
        if self.rows.is_empty() || self.rows.len() > ROWS_MAX || self.bytes > BYTES_MAX {
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

impl Session {
    /// Asks the connection for the warnings of the part that has run on it last; says how many of them another site has told, too.
    pub(super) async fn gather_warnings(
        &mut self,
        connection: Box<Connection>,
        rows: &[usize],
        gathered: &mut Gathered,
    ) -> (Box<Connection>, u16) {
        let mut part =
            Part::new(connection, self.worker.buffers.take(), self.worker.config.limits.packet_max);
        let mut question = Vec::with_capacity(QUESTION.len() + 16);
        command::put_query(&mut question, QUESTION, part.connection.capabilities);
        if part.connection.stream.write_all(&question).await.is_err() {
            return (part.into_connection(), 0);
        }
        let (mut columns, mut known) = (Vec::new(), 0);
        loop {
            match part.next(&mut self.client).await {
                Ok(Packet::Column(range)) => columns.push(part.bytes(range).to_vec()),
                Ok(Packet::Columns) if gathered.columns.is_empty() => {
                    gathered.columns = std::mem::take(&mut columns)
                }
                Ok(Packet::Columns) => {}
                Ok(Packet::Row(range)) => known += u16::from(!gathered.take(part.bytes(range), rows)),
                Ok(Packet::End(_) | Packet::Error(_)) | Err(_) => return (part.into_connection(), known),
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
            let mut gathered = Gathered { columns: vec![b"\x03def...".to_vec(); 3], ..Gathered::default() };
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
    fn what_is_too_much_is_not_told() {
        let mut gathered = Gathered::default();
        assert!((0..2000).all(|_| gathered.take(&row("x"), &[])));
        assert_eq!(gathered.reply(Status::AUTOCOMMIT, Capabilities::empty()), None);
        assert!(gathered.rows.len() <= ROWS_MAX + 1);
    }
}
