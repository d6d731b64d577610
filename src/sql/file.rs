//! A file as LOAD DATA reads it: where its rows end, and some of their fields.
//!
//! Owns: the servers' own way through a file (`READ_INFO` of MySQL's and MariaDB's `sql_load.cc`), byte by byte. Does not know: tables, or whose
//! rows they are. Invariant: a row ends where the server ends it, and a field that is given is what the server takes it for; what hangs on a
//! character set's longer characters is never given. Memory is bounded by who brings the bytes.

use std::ops::Range;

/// How a file is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Format {
    /// Behind a field that is not a row's last one; of ASCII, and not empty.
    pub field_end: Vec<u8>,
    /// Behind a row; of ASCII, not empty, and not the same.
    pub line_end: Vec<u8>,
    /// In front of a row; what stands before it is passed over.
    pub line_start: Vec<u8>,
    /// May stand around a field.
    pub enclosed: Option<u8>,
    /// Takes the meaning from what follows, or gives it one.
    pub escaped: Option<u8>,
}

/// What stands for a column of the key in a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Field {
    /// These bytes.
    Text(Vec<u8>),
    /// NULL.
    Null,
    /// The row has ended before.
    Missing,
    /// A quote opens it, and the file ends.
    Unclosed,
}

/// What comes next in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// A row of so many bytes; its key is in [`Rows::key`].
    Row(usize),
    /// So many bytes that are no row.
    Skipped(usize),
    /// More bytes are needed, or the word that there are none.
    More,
    /// Bytes of no character stand where the server goes from character to character.
    Unclear,
}

/// The rows of a file, one after the other.
#[derive(Clone, Debug)]
pub struct Rows {
    format: Format,
    /// Fields of a row that are read; the rest of its line is passed over.
    fields: usize,
    /// Those that make its key.
    places: Vec<usize>,
    /// Lines in front of the first row.
    skip: u64,
    /// Characters are of UTF-8; else each is a byte.
    utf8: bool,
    key: Vec<Field>,
    /// Where each of the key's fields stands in its row, quotes included.
    spans: Vec<Range<usize>>,
    /// Where a row's first field begins.
    begins: usize,
}

/// Bytes are missing.
struct Short;

/// How a field ended.
enum End {
    Field,
    Line,
    File,
    /// It has not begun: the file has ended.
    Nothing,
}

impl Rows {
    /// Of a file in this format, behind so many lines, with so many fields in a row, of which those at `places` are its key.
    pub fn new(format: Format, skip: u64, fields: usize, places: Vec<usize>, utf8: bool) -> Self {
        Self { format, fields, places, skip, utf8, key: Vec::new(), spans: Vec::new(), begins: 0 }
    }

    /// The key of the row that came last.
    pub fn key(&self) -> &[Field] {
        &self.key
    }

    /// Where the field at this place of the key stands in its row, if it is there.
    pub fn span(&self, place: usize) -> Range<usize> {
        self.spans.get(place).cloned().unwrap_or_default()
    }

    /// Where the first field of the row begins that came last.
    pub fn begins(&self) -> usize {
        self.begins
    }

    /// Reads on; `bytes` is the file from where the last row ended, `ended` says that it is all.
    pub fn next(&mut self, bytes: &[u8], ended: bool) -> Next {
        if bytes.is_empty() {
            return Next::More;
        }
        let reader = Reader { format: &self.format, bytes, at: 0, ended };
        if self.skip > 0 {
            return match reader.line(self.utf8) {
                Ok(Some(length)) => {
                    self.skip -= 1;
                    Next::Skipped(length)
                }
                Ok(None) => Next::Unclear,
                Err(Short) => Next::More,
            };
        }
        self.key.clear();
        self.key.resize(self.places.len(), Field::Missing);
        self.spans.clear();
        self.spans.resize(self.places.len(), 0..0);
        match self.row(bytes, ended) {
            Ok(next) => next,
            Err(Short) => Next::More,
        }
    }

    fn row(&mut self, bytes: &[u8], ended: bool) -> Result<Next, Short> {
        let Self { format, fields, places, utf8, key, spans, begins, .. } = self;
        let mut reader = Reader { format, bytes, at: 0, ended };
        if !reader.start()? {
            return Ok(Next::Skipped(bytes.len()));
        }
        *begins = reader.at;
        for field in 0..*fields {
            let mut text = places.contains(&field).then(Vec::new);
            let from = reader.at;
            let (end, found, to) = reader.field(text.as_mut())?;
            if matches!(end, End::Nothing) {
                return Ok(if field == 0 { Next::Skipped(bytes.len()) } else { Next::Row(reader.at) });
            }
            let found = text.map(|text| found.unwrap_or(Field::Text(text)));
            for place in places.iter().enumerate().filter(|(_, place)| **place == field).map(|(at, _)| at) {
                if let (Some(key), Some(span), Some(found)) =
                    (key.get_mut(place), spans.get_mut(place), &found)
                {
                    key.clone_from(found);
                    *span = from..to;
                }
            }
            match end {
                End::Field => {}
                End::Line | End::File | End::Nothing => return Ok(Next::Row(reader.at)),
            }
        }
        // Fields that no column is for, or none.
        let rest = Reader { bytes: bytes.get(reader.at..).unwrap_or_default(), at: 0, ..reader };
        let at = reader.at;
        Ok({ rest }.line(*utf8)?.map_or(Next::Unclear, |length| Next::Row(at + length)))
    }
}

/// A place in a file's bytes.
#[derive(Clone, Copy)]
struct Reader<'a> {
    format: &'a Format,
    bytes: &'a [u8],
    at: usize,
    ended: bool,
}

impl Reader<'_> {
    /// The next byte; `None` at the file's end.
    fn get(&mut self) -> Result<Option<u8>, Short> {
        match self.bytes.get(self.at) {
            Some(byte) => {
                self.at += 1;
                Ok(Some(*byte))
            }
            None if self.ended => Ok(None),
            None => Err(Short),
        }
    }

    /// Whether the rest of a terminator stands here, whose first byte has been; goes behind it then.
    fn rest_of(&mut self, terminator: &[u8]) -> Result<bool, Short> {
        let before = self.at;
        for expected in terminator.get(1..).unwrap_or_default() {
            if self.get()? != Some(*expected) {
                self.at = before;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn ends_with(&mut self, byte: u8, terminator: &[u8]) -> Result<bool, Short> {
        Ok(terminator.first() == Some(&byte) && self.rest_of(terminator)?)
    }

    /// Goes behind what stands in front of a row; false where it does not come any more.
    fn start(&mut self) -> Result<bool, Short> {
        let mark = &self.format.line_start;
        if mark.is_empty() {
            return Ok(true);
        }
        match memchr::memmem::find(self.bytes, mark) {
            Some(at) => {
                self.at = at + mark.len();
                Ok(true)
            }
            None if self.ended => Ok(false),
            None => Err(Short),
        }
    }

    /// Reads a field; what it stands for, where that is not the bytes in `text`; where it ends, in front of what ends it.
    fn field(&mut self, mut text: Option<&mut Vec<u8>>) -> Result<(End, Option<Field>, usize), Short> {
        let format = self.format;
        let Some(first) = self.get()? else { return Ok((End::Nothing, None, self.at)) };
        let encloses = format.enclosed.filter(|quote| *quote == first);
        if encloses.is_none() {
            self.at -= 1;
        }
        let (mut length, mut null) = (0usize, false);
        let mut put = |byte: u8| {
            length += 1;
            if let Some(text) = &mut text {
                text.push(byte);
            }
        };
        let (end, to) = loop {
            let before = self.at;
            let Some(mut byte) = self.get()? else { break (End::File, before) };
            if format.escaped == Some(byte) {
                let Some(next) = self.get()? else {
                    put(byte);
                    break (End::File, self.at);
                };
                if format.escaped != format.enclosed || next == byte {
                    null |= next == b'N';
                    put(unescaped(next));
                    continue;
                }
                self.at -= 1;
            }
            if encloses.is_none() && self.ends_with(byte, &format.line_end)? {
                break (End::Line, before);
            }
            if encloses == Some(byte) {
                let behind = self.at;
                match self.get()? {
                    Some(next) if next == byte => {
                        put(byte);
                        continue;
                    }
                    None => break (End::Line, behind),
                    Some(next) if self.ends_with(next, &format.line_end)? => break (End::Line, behind),
                    Some(next) if self.ends_with(next, &format.field_end)? => break (End::Field, behind),
                    Some(_) => self.at -= 1,
                }
                byte = encloses.unwrap_or(byte);
            } else if encloses.is_none() && self.ends_with(byte, &format.field_end)? {
                break (End::Field, before);
            }
            put(byte);
        };
        let closed = !matches!(end, End::File);
        let word = format.enclosed.is_some() && text.is_some_and(|text| text.as_slice() == b"NULL");
        let found = match encloses {
            Some(_) if !closed => Some(Field::Unclosed),
            _ if null && length == 1 => Some(Field::Null),
            None if word => Some(Field::Null),
            _ => None,
        };
        Ok((end, found, to))
    }

    /// The length of what is left of a line, as the servers pass over it: quotes mean nothing. `None` where it has bytes of no character, by
    /// whose first the servers may pass over a line's end.
    fn line(mut self, utf8: bool) -> Result<Option<usize>, Short> {
        while let Some(byte) = self.get()? {
            if self.format.escaped == Some(byte) {
                if self.get()?.is_none() {
                    break;
                }
                continue;
            }
            if self.ends_with(byte, &self.format.line_end)? {
                break;
            }
        }
        let line = self.bytes.get(..self.at).unwrap_or_default();
        Ok((!utf8 || std::str::from_utf8(line).is_ok()).then_some(self.at))
    }
}

/// What an escaped byte stands for.
fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'0' => 0,
        b'Z' => 26,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format() -> Format {
        Format {
            field_end: b"\t".to_vec(),
            line_end: b"\n".to_vec(),
            line_start: Vec::new(),
            enclosed: None,
            escaped: Some(b'\\'),
        }
    }

    fn csv() -> Format {
        Format { field_end: b",".to_vec(), line_end: b"\r\n".to_vec(), enclosed: Some(b'"'), ..format() }
    }

    /// Rows with the key's fields, fed in pieces of this size.
    fn read(mut rows: Rows, file: &[u8], piece: usize) -> Vec<(Vec<u8>, Vec<Field>)> {
        let (mut from, mut to, mut found) = (0, 0, Vec::new());
        loop {
            match rows.next(&file[from..to], to == file.len()) {
                Next::Row(length) => {
                    found.push((file[from..from + length].to_vec(), rows.key().to_vec()));
                    from += length;
                }
                Next::Skipped(length) => from += length,
                Next::More if to == file.len() => return found,
                Next::More => to = (to + piece).min(file.len()),
                Next::Unclear => {
                    found.push((b"?".to_vec(), Vec::new()));
                    return found;
                }
            }
        }
    }

    fn keys(format: Format, (fields, key): (usize, usize), file: &[u8]) -> Vec<Field> {
        let rows = || Rows::new(format.clone(), 0, fields, vec![key], true);
        let whole = read(rows(), file, usize::MAX - file.len());
        for piece in 1..9 {
            assert_eq!(read(rows(), file, piece), whole, "by {piece}");
        }
        let bytes: Vec<u8> = whole.iter().flat_map(|(row, _)| row.clone()).collect();
        assert!(whole.iter().any(|(row, _)| row == b"?") || bytes == file, "every byte is in one row");
        whole.into_iter().flat_map(|(_, key)| key).collect()
    }

    fn text(text: &str) -> Field {
        Field::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn fields_are_what_servers_take_them_for() {
        use Field::{Missing, Null, Unclosed};
        for (format, place, file, expected) in [
            (format(), (2, 0), "1\ta\n2\tb\n3\tc", vec![text("1"), text("2"), text("3")]),
            (format(), (2, 0), "\\N\ta\n\n1\\\t2\tb\n\\x4\n", vec![Null, text(""), text("1\t2"), text("x4")]),
            (format(), (2, 1), "a\t1\tmore\\\nstill\nb\n\t\\N\\N\n", vec![text("1"), Missing, text("NN")]),
            (format(), (2, 1), "NULL\tNULL\na\t", vec![text("NULL"), Missing]),
            (
                csv(),
                (2, 1),
                "\"a,\r\nb\",\"1\"\r\na,NULL\r\na,\"NULL\"\r\n",
                vec![text("1"), Null, text("NULL")],
            ),
            (
                csv(),
                (2, 0),
                "\"a\"\"b\",1\r\n\"a\"b\",1\r\na\"b,1\r\n",
                vec![text("a\"b"), text("a\"b"), text("a\"b")],
            ),
            (csv(), (2, 0), "1\n,\r2,x\r\n\"3,x\r\n", vec![text("1\n"), Unclosed]),
            (csv(), (1, 0), "1,\"a\r\n\"\r\n\"2\"", vec![text("1"), text("\r\n\"2")]),
            (csv(), (2, 0), "\"\\N\",x\r\n\"\\\"\",", vec![Null, text("\"")]),
            (Format { escaped: None, ..csv() }, (2, 0), "\\N,x\r\n", vec![text("\\N")]),
            (
                Format { escaped: Some(b'"'), ..csv() },
                (2, 0),
                "\"a\"\"b\",x\r\n\"\\n\",y\r\n",
                vec![text("a\"b"), text("\\n")],
            ),
            (
                Format { line_start: b">>".to_vec(), ..format() },
                (2, 0),
                "no\n>1>>2\tx\n>>3\tx\n",
                vec![text("2"), text("3")],
            ),
            (
                Format { field_end: b"||".to_vec(), ..format() },
                (2, 1),
                "a|b||1|\nc||2",
                vec![text("1|"), text("2")],
            ),
        ] {
            assert_eq!(keys(format.clone(), place, file.as_bytes()), expected, "{file:?} in {format:?}");
        }
    }

    #[test]
    fn a_field_is_found_in_its_row() {
        for (format, file, fields) in [
            (format(), &b"1\t22\t3\n\t\\N\t\n1\t\\\t2\n1\t4"[..], ["22", "\\N", "\\\t2", "4"]),
            (csv(), b"1,\"2\"\"\",3\r\n\"a,\r\n\",NULL\r\n1,\r\n1,\"4\"", ["\"2\"\"\"", "NULL", "", "\"4\""]),
            (
                Format { line_start: b">>".to_vec(), ..format() },
                b"no >>1\t22\t3\n>>\tx\n\n>>1\t\ty\nz>>1\t4",
                ["22", "x", "", "4"],
            ),
        ] {
            let begins = if format.line_start.is_empty() { [0; 4] } else { [5, 2, 3, 3] };
            let (mut rows, mut from) = (Rows::new(format, 0, 3, vec![7, 1], true), 0);
            for (expected, begin) in fields.into_iter().zip(begins) {
                let Next::Row(length) = rows.next(&file[from..], true) else { panic!("{expected}") };
                let row = &file[from..from + length];
                assert_eq!(row[rows.span(1)].escape_ascii().to_string(), expected.escape_debug().to_string());
                assert_eq!((rows.begins(), rows.span(0)), (begin, 0..0), "{}", row.escape_ascii());
                from += length;
            }
            assert_eq!(from, file.len());
        }
    }

    #[test]
    fn lines_in_front_are_passed_over_and_what_is_no_character_is_told() {
        let rows = Rows::new(csv(), 2, 1, vec![0], true);
        let found = read(rows, b"\"head\r\ning\"\r\n7,x\r\n", 3);
        assert_eq!(found, [(b"7,x\r\n".to_vec(), vec![text("7")])]);
        assert_eq!(keys(format(), (1, 0), b"1\tgr\xc3\xbc\xc3\x9fe\n2\tgr\xfc\n"), [text("1")]);
        assert_eq!(read(Rows::new(format(), 0, 1, vec![0], false), b"2\tgr\xfc\n", 2).len(), 1);
        assert_eq!(read(Rows::new(format(), 0, 2, Vec::new(), true), b"", 2), []);
    }
}
