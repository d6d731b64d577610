//! OK and EOF packets (MySQL manual, "OK_Packet", "EOF_Packet") and session tracking within them.

use bitflags::bitflags;

use super::capabilities::Capabilities;
use super::frame::{lenenc, lenenc_string, put_lenenc, put_lenenc_string};

bitflags! {
    /// The server's status flags, sent with every OK and EOF.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Status: u16 {
        /// A transaction is open.
        const IN_TRANSACTION = 1;
        /// `autocommit` is on.
        const AUTOCOMMIT = 1 << 1;
        /// Another result follows.
        const MORE_RESULTS = 1 << 3;
        /// No good index was used.
        const NO_GOOD_INDEX = 1 << 4;
        /// No index was used.
        const NO_INDEX = 1 << 5;
        /// A cursor is open for the statement.
        const CURSOR_EXISTS = 1 << 6;
        /// The cursor has no more rows.
        const LAST_ROW_SENT = 1 << 7;
        /// A database was dropped.
        const DATABASE_DROPPED = 1 << 8;
        /// sql_mode NO_BACKSLASH_ESCAPES is on.
        const NO_BACKSLASH_ESCAPES = 1 << 9;
        /// Metadata changed since the statement was prepared.
        const METADATA_CHANGED = 1 << 10;
        /// The statement was slow by the server's measure.
        const SLOW = 1 << 11;
        /// The result is that of a procedure's OUT parameters.
        const PS_OUT_PARAMS = 1 << 12;
        /// The open transaction is read only.
        const IN_TRANSACTION_READONLY = 1 << 13;
        /// Session state information follows in the OK packet.
        const SESSION_STATE_CHANGED = 1 << 14;
        /// MariaDB: sql_mode ANSI_QUOTES is on.
        const ANSI_QUOTES = 1 << 15;
    }
}

/// What an OK packet says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ok<'a> {
    /// Rows changed (or found, with FOUND_ROWS).
    pub affected_rows: u64,
    /// The first generated AUTO_INCREMENT value, or an explicit one; 0 for none.
    pub last_insert_id: u64,
    /// Status flags after the statement.
    pub status: Status,
    /// Warnings of the statement.
    pub warnings: u16,
    /// Text for people, such as `Rows matched: 1`.
    pub info: &'a [u8],
    /// Session state changes, undecoded; see [`changes`].
    pub changes: &'a [u8],
}

impl<'a> Ok<'a> {
    /// Parses a payload that begins with 0x00 or 0xFE, as sent under `capabilities`. `None` when it is malformed.
    pub fn parse(payload: &'a [u8], capabilities: Capabilities) -> Option<Self> {
        let (_, rest) = payload.split_first()?;
        let (affected_rows, rest) = lenenc(rest)?; // int<lenenc>
        let (last_insert_id, rest) = lenenc(rest)?; // int<lenenc>
        let (&[s0, s1, w0, w1], rest) = rest.split_first_chunk::<4>()?; // int<2> int<2>
        let status = Status::from_bits_retain(u16::from_le_bytes([s0, s1]));
        let warnings = u16::from_le_bytes([w0, w1]);
        let (mut info, mut changes): (&[u8], &[u8]) = (&[], &[]);
        if !rest.is_empty() {
            // string<lenenc>: also without SESSION_TRACK, where the manual says string<EOF> (MySQL 9.7, MariaDB 10.11)
            let (text, after) = lenenc_string(rest)?;
            info = text;
            if status.contains(Status::SESSION_STATE_CHANGED)
                && capabilities.contains(Capabilities::SESSION_TRACK)
            {
                (changes, _) = lenenc_string(after)?; // string<lenenc>
            }
        }
        Some(Self { affected_rows, last_insert_id, status, warnings, info, changes })
    }

    /// Appends the payload as a receiver with `capabilities` expects it; `header` is 0x00 or 0xFE.
    pub fn put(&self, out: &mut Vec<u8>, header: u8, capabilities: Capabilities) {
        let track = capabilities.contains(Capabilities::SESSION_TRACK);
        let mut status = self.status;
        status.set(Status::SESSION_STATE_CHANGED, track && !self.changes.is_empty());
        out.push(header);
        put_lenenc(out, self.affected_rows);
        put_lenenc(out, self.last_insert_id);
        out.extend_from_slice(&status.bits().to_le_bytes());
        out.extend_from_slice(&self.warnings.to_le_bytes());
        let with_changes = track && !self.changes.is_empty();
        if !self.info.is_empty() || with_changes {
            put_lenenc_string(out, self.info);
        }
        if with_changes {
            put_lenenc_string(out, self.changes);
        }
    }
}

/// Appends the end of a result set as a receiver with `capabilities` expects it.
pub fn put_end(out: &mut Vec<u8>, status: Status, warnings: u16, capabilities: Capabilities) {
    if capabilities.contains(Capabilities::DEPRECATE_EOF) {
        Ok { status, warnings, ..Ok::default() }.put(out, 0xfe, capabilities);
    } else {
        out.push(0xfe);
        out.extend_from_slice(&warnings.to_le_bytes());
        out.extend_from_slice(&status.bits().to_le_bytes());
    }
}

/// One entry of an OK packet's session state information.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// A system variable has this value now.
    Variable {
        /// Its name.
        name: &'a [u8],
        /// Its value as text.
        value: &'a [u8],
    },
    /// The default database is this one now; empty for none.
    Schema(&'a [u8]),
    /// Some state changed that a reconnect would lose (`session_track_state_change`).
    State,
    /// GTIDs of the session's last commit.
    Gtids(&'a [u8]),
    /// Transaction characteristics or state.
    Transaction,
    /// A kind that this release does not know.
    Unknown(u8),
}

/// Decodes session state information; stops at the first malformed entry.
pub fn changes(mut bytes: &[u8]) -> impl Iterator<Item = Change<'_>> {
    let mut variables: &[u8] = &[];
    std::iter::from_fn(move || {
        loop {
            if !variables.is_empty() {
                let (name, rest) = lenenc_string(variables)?;
                let (value, rest) = lenenc_string(rest)?;
                variables = rest;
                return Some(Change::Variable { name, value });
            }
            let (&kind, rest) = bytes.split_first()?;
            let (data, rest) = lenenc_string(rest)?;
            bytes = rest;
            return Some(match kind {
                0 => {
                    variables = data;
                    continue;
                }
                1 => Change::Schema(lenenc_string(data)?.0),
                2 => Change::State,
                3 => Change::Gtids(
                    data.split_first().and_then(|(_, d)| lenenc_string(d)).map_or(&[][..], |(d, _)| d),
                ),
                4 | 5 => Change::Transaction,
                other => Change::Unknown(other),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACKED: Capabilities = Capabilities::SESSION_TRACK;

    /// OK of `SET autocommit=0; USE test` style changes: two variables, a schema.
    fn tracked_payload() -> Vec<u8> {
        let mut variables = Vec::new();
        for text in ["autocommit", "OFF", "sql_mode", ""] {
            put_lenenc_string(&mut variables, text.as_bytes());
        }
        let mut list = vec![0];
        put_lenenc_string(&mut list, &variables);
        list.extend_from_slice(b"\x01\x05\x04test");
        let ok = Ok {
            affected_rows: 300,
            last_insert_id: 7,
            warnings: 2,
            info: b"Rows",
            changes: &list,
            status: Status::AUTOCOMMIT,
        };
        let mut out = Vec::new();
        ok.put(&mut out, 0, TRACKED);
        out
    }

    #[test]
    fn session_tracking_is_read_and_stripped() {
        let payload = tracked_payload();
        let ok = Ok::parse(&payload, TRACKED).unwrap();
        let found: Vec<_> = changes(ok.changes).collect();
        assert_eq!(
            found,
            [
                Change::Variable { name: b"autocommit", value: b"OFF" },
                Change::Variable { name: b"sql_mode", value: b"" },
                Change::Schema(b"test"),
            ]
        );
        let mut plain = Vec::new();
        ok.put(&mut plain, 0, Capabilities::empty());
        assert!(plain.len() < payload.len());
        let again = Ok::parse(&plain, Capabilities::empty()).unwrap();
        assert_eq!((again.affected_rows, again.last_insert_id, again.info), (300, 7, &b"Rows"[..]));
        assert!(!again.status.contains(Status::SESSION_STATE_CHANGED));
    }

    #[test]
    fn truncated_packets_are_refused_not_panicked_on() {
        let payload = tracked_payload();
        for end in 0..payload.len() {
            if let Some(ok) = Ok::parse(&payload[..end], TRACKED) {
                assert!(changes(ok.changes).count() <= 3);
            }
        }
    }
}
