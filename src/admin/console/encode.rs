//! A table as a MySQL result set (MySQL manual, "Text Resultset").

use super::table::{Kind, Table};
use crate::wire::capabilities::Capabilities;
use crate::wire::frame::{put_lenenc, put_lenenc_string, put_packet};
use crate::wire::ok::{Status, put_end};

const TYPE_DOUBLE: u8 = 5;
const TYPE_LONGLONG: u8 = 8;
const TYPE_VAR_STRING: u8 = 253;
const UNSIGNED: u16 = 1 << 5;
/// utf8mb4_general_ci.
const CHARSET_TEXT: u16 = 45;
const CHARSET_BINARY: u16 = 63;
/// What stands for NULL in a row.
const NULL: u8 = 0xfb;

/// The packets of the answer to COM_QUERY, the first of which has number 1.
pub(super) fn encode(table: &Table, capabilities: Capabilities, status: Status) -> Vec<u8> {
    let mut out = Vec::new();
    let mut sequence = 1;
    let mut put = |payload: &[u8]| sequence = put_packet(&mut out, sequence, payload);
    let mut payload = Vec::new();
    put_lenenc(&mut payload, table.columns.len() as u64);
    put(&payload);
    for column in &table.columns {
        put(&definition(&column.name, column.kind));
    }
    let mut end = Vec::new();
    put_end(&mut end, status, 0, capabilities);
    if !capabilities.contains(Capabilities::DEPRECATE_EOF) {
        put(&end);
    }
    for row in &table.rows {
        payload.clear();
        for value in row {
            match value.shown() {
                Some(text) => put_lenenc_string(&mut payload, text.as_bytes()),
                None => payload.push(NULL),
            }
        }
        put(&payload);
    }
    put(&end);
    out
}

/// A column's definition.
fn definition(name: &str, kind: Kind) -> Vec<u8> {
    let (charset, width, kind, flags, decimals) = match kind {
        Kind::Number => (CHARSET_BINARY, 20u32, TYPE_LONGLONG, UNSIGNED, 0),
        Kind::Fraction => (CHARSET_BINARY, 23, TYPE_DOUBLE, 0, 31),
        Kind::Text => (CHARSET_TEXT, 4096, TYPE_VAR_STRING, 0, 31),
    };
    let mut payload = Vec::new();
    for part in [&b"def"[..], b"", b"", b"", name.as_bytes(), b""] {
        put_lenenc_string(&mut payload, part); // string<lenenc>
    }
    payload.push(0x0c); // length of what follows
    payload.extend_from_slice(&charset.to_le_bytes()); // int<2>
    payload.extend_from_slice(&width.to_le_bytes()); // int<4>
    payload.push(kind); // int<1>
    payload.extend_from_slice(&flags.to_le_bytes()); // int<2>
    payload.extend_from_slice(&[decimals, 0, 0]); // int<1>, filler
    payload
}

#[cfg(test)]
mod tests {
    use super::super::table::Value;
    use super::*;
    use crate::wire::frame::Header;
    use crate::wire::reply::{Expect, Scanner, Step, Terminal};

    #[test]
    fn a_table_is_a_whole_result_for_old_and_new_clients() {
        let mut table =
            Table::new(&[("Server", Kind::Text), ("Open", Kind::Number), ("Lag", Kind::Fraction)]);
        table.rows.push(vec!["db-1".into(), Value::Number(7), Value::Null]);
        table.rows.push(vec!["x".repeat(70_000).into(), Value::Number(u64::MAX), Value::Fraction(0.25)]);
        for capabilities in [Capabilities::empty(), Capabilities::DEPRECATE_EOF] {
            let bytes = encode(&table, capabilities, Status::AUTOCOMMIT);
            assert_eq!(Header::parse(&bytes).unwrap().sequence, 1);
            let mut scanner = Scanner::new(Expect::Results, capabilities);
            let Step::End { end, terminal, .. } = scanner.advance(&bytes) else { panic!("no end") };
            assert!(scanner.is_done() && end == bytes.len() && scanner.rows() == 2);
            assert_eq!(terminal == Terminal::Ok, capabilities == Capabilities::DEPRECATE_EOF);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(text.contains("18446744073709551615") && text.contains("0.250") && text.contains("db-1"));
        }
    }
}
