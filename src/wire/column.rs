//! Column definitions (MySQL manual, "ColumnDefinition41"; MariaDB's with extended metadata).
//!
//! Owns: the fields that say how a column's values are written and compared. Does not know: what the column is for.
//! Invariant: the payload passes byte for byte, whatever names it holds.

use super::cursor::Cursor;
use super::frame::put_lenenc_string;

/// Kinds of values, as a definition names them (manual, "Field types").
#[allow(missing_docs)] // the manual's names
pub mod kind {
    pub const DECIMAL: u8 = 0;
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const NULL: u8 = 6;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const TINY_BLOB: u8 = 249;
    pub const MEDIUM_BLOB: u8 = 250;
    pub const LONG_BLOB: u8 = 251;
    pub const BLOB: u8 = 252;
    pub const VAR_STRING: u8 = 253;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}

/// Flag: the column's numbers have no sign.
pub const UNSIGNED: u16 = 1 << 5;
/// Flag: its numbers are filled up with zeros.
pub const ZEROFILL: u16 = 1 << 6;
/// Flag: an ENUM, sent as a string.
pub const ENUM: u16 = 1 << 8;
/// Flag: a SET, sent as a string.
pub const SET: u16 = 1 << 11;
/// The character set of what is no text.
pub const BINARY_CHARSET: u16 = 63;

/// The strings at the head of a definition: catalog, schema, table, original table, name, original name.
const NAMES: usize = 6;
/// Bytes of the fixed fields, their length byte included.
const FIXED: usize = 13;

/// One column of a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Column {
    payload: Vec<u8>,
    /// Collation number that its text has on this connection.
    pub charset: u16,
    /// Longest display, in bytes.
    pub length: u32,
    /// What values it has; see [`kind`].
    pub kind: u8,
    /// Such as [`UNSIGNED`].
    pub flags: u16,
    /// Digits behind the point; 31 where that is not fixed.
    pub decimals: u8,
}

impl Column {
    /// Reads a definition; `None` where it is malformed.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(payload);
        for _ in 0..NAMES {
            cursor.lenenc_bytes()?; // string<lenenc>
        }
        let mut rest = cursor.rest();
        if rest.len() != FIXED {
            let mut cursor = Cursor::new(rest);
            cursor.lenenc_bytes()?; // string<lenenc>: MariaDB's extended metadata
            rest = cursor.rest();
        }
        let &[_, c0, c1, l0, l1, l2, l3, kind, f0, f1, decimals, _, _] = rest else { return None };
        Some(Self {
            payload: payload.to_vec(),
            charset: u16::from_le_bytes([c0, c1]),
            length: u32::from_le_bytes([l0, l1, l2, l3]),
            kind,
            flags: u16::from_le_bytes([f0, f1]),
            decimals,
        })
    }

    /// Its name in the result.
    pub fn name(&self) -> &[u8] {
        let mut cursor = Cursor::new(&self.payload);
        for _ in 0..4 {
            cursor.lenenc_bytes(); // catalog, schema, table, original table
        }
        cursor.lenenc_bytes().unwrap_or_default()
    }

    /// The definition as it came.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Whether its numbers have no sign.
    pub fn is_unsigned(&self) -> bool {
        self.flags & UNSIGNED != 0
    }

    /// Whether values of both are written and compared alike, in rows of text or in binary ones. The same expression has another type
    /// where a server puts it into a temporary table: a narrower integer, other decimals of a string.
    pub fn is_like(&self, other: &Self, text: bool) -> bool {
        let of = |column: &Self| {
            let integer =
                matches!(column.kind, kind::TINY | kind::SHORT | kind::INT24 | kind::LONG | kind::LONGLONG);
            let (kind, decimals) = match () {
                () if column.is_string() => (kind::VAR_STRING, 0),
                () if integer && text => (kind::LONGLONG, 0),
                () => (column.kind, column.decimals),
            };
            (kind, column.charset, decimals, column.flags & (UNSIGNED | ZEROFILL | ENUM | SET))
        };
        of(self) == of(other)
    }

    /// Whether its text is of units of two or four bytes: ucs2, utf16, utf16le, utf32.
    pub fn is_wide(&self) -> bool {
        matches!(self.charset % 1024, 35 | 54..=56 | 60..=62 | 90 | 101..=124 | 128..=151 | 159..=183)
    }

    /// The same, of no table.
    #[must_use]
    pub fn of_no_table(self) -> Self {
        let mut cursor = Cursor::new(&self.payload);
        let names: [Option<&[u8]>; NAMES] = std::array::from_fn(|_| cursor.lenenc_bytes());
        let mut payload = Vec::with_capacity(self.payload.len());
        for (number, name) in names.into_iter().enumerate() {
            // catalog, schema, table, original table, name, original name
            let kept = matches!(number, 0 | 4);
            put_lenenc_string(&mut payload, name.filter(|_| kept).unwrap_or_default());
        }
        payload.extend_from_slice(cursor.rest());
        Self { payload, ..self }
    }

    /// Whether its values are strings of characters or bytes, in both protocols.
    pub fn is_string(&self) -> bool {
        matches!(
            self.kind,
            kind::VARCHAR
                | kind::VAR_STRING
                | kind::STRING
                | kind::TINY_BLOB
                | kind::MEDIUM_BLOB
                | kind::LONG_BLOB
                | kind::BLOB
        )
    }

    /// Whether it holds an ENUM or a SET, which sort by number and are sent as text.
    pub fn is_enumerated(&self) -> bool {
        self.flags & (ENUM | SET) != 0 || matches!(self.kind, kind::ENUM | kind::SET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SELECT b FROM shop.t` for a BIGINT UNSIGNED, as MySQL 9.7 sends it.
    const UNSIGNED_BIGINT: &[u8] =
        b"\x03def\x04shop\x01t\x01t\x01b\x01b\x0c\x3f\x00\x14\x00\x00\x00\x08\x20\x00\x00\x00\x00";

    #[test]
    fn what_decides_how_values_are_read() {
        let column = Column::parse(UNSIGNED_BIGINT).unwrap();
        assert_eq!((column.kind, column.charset, column.length), (kind::LONGLONG, BINARY_CHARSET, 20));
        assert!(column.is_unsigned() && !column.is_enumerated());
        assert_eq!((column.payload(), column.name()), (UNSIGNED_BIGINT, &b"b"[..]));
    }

    #[test]
    fn extended_metadata_stands_before_the_fixed_fields() {
        let (names, fixed) = UNSIGNED_BIGINT.split_at(UNSIGNED_BIGINT.len() - FIXED);
        for extended in [&b"\x00"[..], b"\x06\x00\x04json"] {
            let payload = [names, extended, fixed].concat();
            assert_eq!(Column::parse(&payload).unwrap().kind, kind::LONGLONG);
        }
    }

    #[test]
    fn short_definitions_are_none() {
        for end in 0..UNSIGNED_BIGINT.len() {
            assert_eq!(Column::parse(&UNSIGNED_BIGINT[..end]), None);
        }
    }
}
