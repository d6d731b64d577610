//! Rows as they are sent: where their values are, and how new ones are written.
//!
//! Owns: the two encodings of a row (manual, "Text Resultset Row", "Binary Resultset Row"). Does not know: meaning.
//! Invariant: every range lies inside the row; a row that does not fit its columns is an error.

use super::error::Error;
use crate::wire::column::{Column, kind};
use crate::wire::cursor::Cursor;
use crate::wire::frame::{put_lenenc, put_lenenc_string};

/// NULL in a text row.
const NULL: u8 = 0xfb;
/// Bits of the NULL bitmap of a binary row that are not used.
const BITMAP_OFFSET: usize = 2;

/// How rows are encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Answers to COM_QUERY.
    Text,
    /// Answers to COM_STMT_EXECUTE.
    Binary,
}

/// Where a value is in its row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Field {
    pub null: bool,
    /// Start of its encoding.
    raw: usize,
    /// Start of its bytes, behind their length.
    value: usize,
    /// End of both.
    end: usize,
}

impl Field {
    /// The value's bytes; `None` for NULL.
    pub fn of(self, row: &[u8]) -> Option<&[u8]> {
        (!self.null).then(|| row.get(self.value..self.end)).flatten()
    }

    /// The value as it is encoded, which another row of the same format can take over.
    pub fn encoded(self, row: &[u8]) -> &[u8] {
        row.get(self.raw..self.end).unwrap_or_default()
    }
}

/// How the rows of a result are laid out.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub format: Format,
    /// Bytes of each value in a binary row; 0: its length comes first.
    widths: Vec<usize>,
}

impl Layout {
    pub fn new<'a>(format: Format, columns: impl Iterator<Item = &'a Column>) -> Self {
        let width = |column: &Column| match (format, column.kind) {
            (Format::Text, _) => 0,
            (_, kind::TINY) => 1,
            (_, kind::SHORT | kind::YEAR) => 2,
            (_, kind::LONG | kind::INT24 | kind::FLOAT) => 4,
            (_, kind::LONGLONG | kind::DOUBLE) => 8,
            _ => 0,
        };
        Self { format, widths: columns.map(width).collect() }
    }

    /// Of rows of text with so many columns.
    pub fn of_text(columns: usize) -> Self {
        Self { format: Format::Text, widths: vec![0; columns] }
    }

    /// The bytes of a value of the column at `place`, of its encoding.
    pub fn decode<'a>(&self, place: usize, encoded: &'a [u8]) -> Option<&'a [u8]> {
        match self.widths.get(place)? {
            0 => Cursor::new(encoded).lenenc_bytes(),
            _ => Some(encoded),
        }
    }

    /// Finds the values of a row.
    pub fn split(&self, row: &[u8], fields: &mut Vec<Field>) -> Result<(), Error> {
        fields.clear();
        let mut cursor = Cursor::new(row);
        let bitmap = match self.format {
            Format::Text => &[],
            Format::Binary => {
                cursor.u8().filter(|header| *header == 0).ok_or(Error::Malformed)?;
                cursor.bytes(bitmap_length(self.widths.len())).ok_or(Error::Malformed)?
            }
        };
        let mut at = row.len() - cursor.rest_length();
        for (place, width) in self.widths.iter().enumerate() {
            let rest = &row[at..];
            let null = match self.format {
                Format::Text => rest.first() == Some(&NULL),
                Format::Binary => {
                    let bit = place + BITMAP_OFFSET;
                    bitmap.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0)
                }
            };
            let (head, length) = match (null, self.format) {
                (true, Format::Text) => (1, 0),
                (true, Format::Binary) => (0, 0),
                (false, _) if *width > 0 => (0, *width),
                (false, _) => {
                    let mut cursor = Cursor::new(rest);
                    let length = cursor.lenenc_int().and_then(|length| usize::try_from(length).ok());
                    (rest.len() - cursor.rest_length(), length.ok_or(Error::Malformed)?)
                }
            };
            let value = at + head;
            let end = value.checked_add(length).filter(|end| *end <= row.len()).ok_or(Error::Malformed)?;
            fields.push(Field { null, raw: at, value, end });
            at = end;
        }
        if at == row.len() { Ok(()) } else { Err(Error::Malformed) }
    }

    /// Appends the row's first columns, all but `hidden` of them.
    pub fn cut(
        &self,
        row: &[u8],
        hidden: usize,
        fields: &mut Vec<Field>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if hidden == 0 {
            out.extend_from_slice(row);
            return Ok(());
        }
        self.split(row, fields)?;
        let kept = self.widths.len().saturating_sub(hidden);
        let end = fields.get(kept).map_or(row.len(), |field| field.raw);
        match self.format {
            Format::Text => out.extend_from_slice(&row[..end]),
            Format::Binary => {
                let mut writer = Writer::begin(self.format, kept, out);
                for field in &fields[..kept] {
                    writer.encoded(field.null, field.encoded(row));
                }
            }
        }
        Ok(())
    }
}

fn bitmap_length(columns: usize) -> usize {
    (columns + BITMAP_OFFSET).div_ceil(8)
}

/// Writes a row, value by value.
pub(super) struct Writer<'a> {
    format: Format,
    /// Where the bitmap begins.
    bitmap: usize,
    place: usize,
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Starts a row of so many columns behind what is there.
    pub fn begin(format: Format, columns: usize, out: &'a mut Vec<u8>) -> Self {
        if format == Format::Binary {
            out.push(0);
        }
        let bitmap = out.len();
        if format == Format::Binary {
            out.resize(bitmap + bitmap_length(columns), 0);
        }
        Self { format, bitmap, place: 0, out }
    }

    /// How the row is encoded.
    pub fn format(&self) -> Format {
        self.format
    }

    /// A value in the encoding of another row.
    pub fn encoded(&mut self, null: bool, encoded: &[u8]) {
        if null {
            return self.null();
        }
        self.out.extend_from_slice(encoded);
        self.place += 1;
    }

    /// NULL.
    pub fn null(&mut self) {
        match self.format {
            Format::Text => self.out.push(NULL),
            Format::Binary => {
                let bit = self.place + BITMAP_OFFSET;
                if let Some(byte) = self.out.get_mut(self.bitmap + bit / 8) {
                    *byte |= 1 << (bit % 8);
                }
            }
        }
        self.place += 1;
    }

    /// Bytes that have their length before them: text, DECIMAL, blobs.
    pub fn bytes(&mut self, value: &[u8]) {
        put_lenenc_string(self.out, value);
        self.place += 1;
    }

    /// An integer, signed or not; `width` bytes of it where rows are binary.
    pub fn integer(&mut self, value: i128, width: usize) {
        match self.format {
            Format::Text => self.text(|out| put_integer(out, value)),
            Format::Binary => {
                // Two's complement: the low bytes are right for both.
                self.out.extend_from_slice(&value.to_le_bytes()[..width]);
                self.place += 1;
            }
        }
    }

    /// A DOUBLE; `text` writes it where rows are text.
    pub fn double(&mut self, value: f64, text: impl FnOnce(&mut Vec<u8>)) {
        match self.format {
            Format::Text => self.text(text),
            Format::Binary => {
                self.out.extend_from_slice(&value.to_le_bytes());
                self.place += 1;
            }
        }
    }

    /// What `write` appends, with its length before it.
    pub fn text(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.out.len();
        write(self.out);
        let length = self.out.len() - at;
        put_lenenc(self.out, length as u64);
        // The length was written last: bring it to the front.
        let head = self.out.len() - at - length;
        self.out[at..].rotate_right(head);
        self.place += 1;
    }
}

/// Appends a number's digits.
fn put_integer(out: &mut Vec<u8>, value: i128) {
    use std::io::Write as _;
    // Writing to memory does not fail.
    let _ = write!(out, "{value}");
}
