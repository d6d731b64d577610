//! Replies that Tidegate makes itself: OK, ERR, the end of something, one number.

use crate::wire::capabilities::Capabilities;
use crate::wire::err::ErrPacket;
use crate::wire::frame::{put_lenenc, put_lenenc_string, put_packet};
use crate::wire::ok::{Ok as OkPacket, Status, put_end};
use crate::wire::track::schema_entry;

const TYPE_LONGLONG: u8 = 8;
const CHARSET_BINARY: u16 = 63;
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
    put_lenenc(&mut payload, 1);
    if capabilities.contains(Capabilities::OPTIONAL_RESULTSET_METADATA) {
        payload.push(1); // definitions follow, as a client can always take them
    }
    let mut sequence = put_packet(&mut out, 1, &payload);
    payload.clear();
    for part in [&b"def"[..], b"", b"", b"", name, b""] {
        put_lenenc_string(&mut payload, part); // string<lenenc>
    }
    if capabilities.contains(Capabilities::EXTENDED_METADATA) {
        put_lenenc_string(&mut payload, b""); // string<lenenc>: no extended type
    }
    payload.push(0x0c); // length of what follows
    payload.extend_from_slice(&CHARSET_BINARY.to_le_bytes()); // int<2>
    payload.extend_from_slice(&width.to_le_bytes()); // int<4> display width
    payload.push(kind); // int<1>
    payload.extend_from_slice(&(NOT_NULL | BINARY | sign).to_le_bytes()); // int<2>
    payload.extend_from_slice(&[0, 0, 0]); // decimals, filler
    sequence = put_packet(&mut out, sequence, &payload);
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
}
