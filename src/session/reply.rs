//! Replies that Tidegate makes itself: OK, ERR, the end of something, one number, rows of texts.

use crate::wire::capabilities::Capabilities;
use crate::wire::err::ErrPacket;
use crate::wire::frame::{put_lenenc, put_lenenc_string, put_packet};
use crate::wire::ok::{Ok as OkPacket, Status, put_end};
use crate::wire::track::schema_entry;

const TYPE_LONGLONG: u8 = 8;
const TYPE_VAR_STRING: u8 = 253;
const CHARSET_BINARY: u16 = 63;
/// utf8mb4_general_ci.
const CHARSET_TEXT: u16 = 45;
const NOT_NULL: u16 = 1;
const UNSIGNED: u16 = 1 << 5;
const TYPE_LONG: u8 = 3;
const BINARY: u16 = 1 << 7;

/// An OK packet.
pub fn ok(sequence: u8, status: Status, warnings: u16, capabilities: Capabilities) -> Vec<u8> {
    let mut payload = Vec::new();
    OkPacket { status, warnings, ..OkPacket::default() }.put(&mut payload, 0, capabilities);
    packet(sequence, &payload)
}

/// An OK packet that tells how many were changed.
pub fn changed(sequence: u8, affected_rows: u64, status: Status, capabilities: Capabilities) -> Vec<u8> {
    let mut payload = Vec::new();
    OkPacket { status, affected_rows, ..OkPacket::default() }.put(&mut payload, 0, capabilities);
    packet(sequence, &payload)
}

/// The OK packet of a login, which names the database to those who are told of changes.
pub fn welcome(sequence: u8, status: Status, schema: &[u8], capabilities: Capabilities) -> Vec<u8> {
    let changes = if schema.is_empty() { Vec::new() } else { schema_entry(schema) };
    let mut payload = Vec::new();
    OkPacket { status, changes: &changes, ..OkPacket::default() }.put(&mut payload, 0, capabilities);
    packet(sequence, &payload)
}

/// An EOF packet, or what takes its place.
pub fn end(sequence: u8, status: Status, warnings: u16, capabilities: Capabilities) -> Vec<u8> {
    let mut payload = Vec::new();
    put_end(&mut payload, status, warnings, capabilities);
    packet(sequence, &payload)
}

/// An ERR packet.
pub fn error(sequence: u8, error: &ErrPacket) -> Vec<u8> {
    packet(sequence, &error.encode())
}

/// How a row is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rows {
    /// As COM_QUERY is answered.
    Text,
    /// As COM_STMT_EXECUTE is answered.
    Binary,
}

/// The column of a number, as the servers define it (tried on both).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    /// ROW_COUNT(), FOUND_ROWS().
    Signed,
    /// CONNECTION_ID() of MySQL.
    Unsigned,
    /// CONNECTION_ID() of MariaDB.
    Short,
}

/// A result set of one column and one row with a whole number, as servers answer `SELECT CONNECTION_ID()`.
pub fn number(
    name: &[u8],
    (column, value): (Number, i64),
    rows: Rows,
    (status, warnings): (Status, u16),
    capabilities: Capabilities,
) -> Vec<u8> {
    let (kind, width, sign): (u8, u32, u16) = match column {
        Number::Signed => (TYPE_LONGLONG, 21, 0),
        Number::Unsigned => (TYPE_LONGLONG, 21, UNSIGNED),
        Number::Short => (TYPE_LONG, 10, UNSIGNED),
    };
    let mut out = Vec::new();
    let mut payload = Vec::new();
    put_count(&mut payload, 1, capabilities);
    let mut sequence = put_packet(&mut out, 1, &payload);
    let definition =
        Definition { charset: CHARSET_BINARY, width, kind, flags: NOT_NULL | BINARY | sign, decimals: 0 };
    sequence = put_packet(&mut out, sequence, &definition.named(name, capabilities));
    if !capabilities.contains(Capabilities::DEPRECATE_EOF) {
        payload.clear();
        put_end(&mut payload, status, warnings, capabilities);
        sequence = put_packet(&mut out, sequence, &payload);
    }
    payload.clear();
    match rows {
        Rows::Text => put_lenenc_string(&mut payload, value.to_string().as_bytes()),
        Rows::Binary => {
            payload.extend_from_slice(&[0, 0]); // header, NULL bits
            let bytes = value.to_le_bytes();
            payload.extend_from_slice(if kind == TYPE_LONG { &bytes[..4] } else { &bytes }); // int<4> or int<8>
        }
    }
    sequence = put_packet(&mut out, sequence, &payload);
    payload.clear();
    put_end(&mut payload, status, warnings, capabilities);
    put_packet(&mut out, sequence, &payload);
    out
}

/// A result set of texts, none of which is NULL, from this packet number on.
pub fn texts<const WIDTH: usize>(
    names: [&[u8]; WIDTH],
    rows: &[[&[u8]; WIDTH]],
    (mut sequence, status): (u8, Status),
    capabilities: Capabilities,
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut payload = Vec::new();
    put_count(&mut payload, WIDTH as u64, capabilities);
    sequence = put_packet(&mut out, sequence, &payload);
    for (column, name) in names.iter().enumerate() {
        let longest = rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
        let width = u32::try_from(longest).unwrap_or(u32::MAX);
        let definition =
            Definition { charset: CHARSET_TEXT, width, kind: TYPE_VAR_STRING, flags: NOT_NULL, decimals: 31 };
        sequence = put_packet(&mut out, sequence, &definition.named(name, capabilities));
    }
    let mut end = Vec::new();
    put_end(&mut end, status, 0, capabilities);
    if !capabilities.contains(Capabilities::DEPRECATE_EOF) {
        sequence = put_packet(&mut out, sequence, &end);
    }
    for row in rows {
        payload.clear();
        row.iter().for_each(|value| put_lenenc_string(&mut payload, value));
        sequence = put_packet(&mut out, sequence, &payload);
    }
    put_packet(&mut out, sequence, &end);
    out
}

/// The number of columns, ahead of their definitions.
fn put_count(payload: &mut Vec<u8>, columns: u64, capabilities: Capabilities) {
    put_lenenc(payload, columns);
    if capabilities.contains(Capabilities::OPTIONAL_RESULTSET_METADATA) {
        payload.push(1); // definitions follow, as a client can always take them
    }
}

/// A column of no table.
struct Definition {
    charset: u16,
    width: u32,
    kind: u8,
    flags: u16,
    decimals: u8,
}

impl Definition {
    fn named(&self, name: &[u8], capabilities: Capabilities) -> Vec<u8> {
        let mut payload = Vec::new();
        for part in [&b"def"[..], b"", b"", b"", name, b""] {
            put_lenenc_string(&mut payload, part); // string<lenenc>
        }
        if capabilities.contains(Capabilities::EXTENDED_METADATA) {
            put_lenenc_string(&mut payload, b""); // string<lenenc>: no extended type
        }
        payload.push(0x0c); // length of what follows
        payload.extend_from_slice(&self.charset.to_le_bytes()); // int<2>
        payload.extend_from_slice(&self.width.to_le_bytes()); // int<4> display width
        payload.push(self.kind); // int<1>
        payload.extend_from_slice(&self.flags.to_le_bytes()); // int<2>
        payload.extend_from_slice(&[self.decimals, 0, 0]); // int<1>, filler
        payload
    }
}

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 4);
    put_packet(&mut out, sequence, payload);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::reply::{Expect, Scanner, Step, Terminal};

    #[test]
    fn a_number_is_a_whole_result_set_for_old_and_new_clients() {
        let old = Capabilities::EXTENDED_METADATA | Capabilities::OPTIONAL_RESULTSET_METADATA;
        for capabilities in [Capabilities::empty(), Capabilities::DEPRECATE_EOF, old] {
            let bytes = number(
                b"CONNECTION_ID()",
                (Number::Short, 42),
                Rows::Text,
                (Status::AUTOCOMMIT, 0),
                capabilities,
            );
            let mut scanner = Scanner::new(Expect::Results, capabilities);
            let Step::End { end, terminal, .. } = scanner.advance(&bytes) else { panic!("no end") };
            assert!(scanner.is_done() && end == bytes.len() && scanner.rows() == 1);
            assert_eq!(terminal == Terminal::Ok, capabilities == Capabilities::DEPRECATE_EOF);
        }
    }

    #[test]
    fn texts_are_a_whole_result_set_for_old_and_new_clients() {
        let old = Capabilities::EXTENDED_METADATA | Capabilities::OPTIONAL_RESULTSET_METADATA;
        let long = vec![b'x'; 70_000];
        let rows = [[&b"a"[..], b"1"], [b"", &long]];
        for capabilities in [Capabilities::empty(), Capabilities::DEPRECATE_EOF, old] {
            let bytes = texts([b"item", b"value"], &rows, (1, Status::AUTOCOMMIT), capabilities);
            let mut scanner = Scanner::new(Expect::Results, capabilities);
            let Step::End { end, .. } = scanner.advance(&bytes) else { panic!("no end") };
            assert!(scanner.is_done() && end == bytes.len() && scanner.rows() == 2);
        }
    }
}
