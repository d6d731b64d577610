//! Columns of the combined rows that a server computes: expressions of aggregates that only the servers' own rules can give.
//!
//! Owns: the question (the aggregates' values as literals of their types), the rows that wait for the answer, what becomes of both. Does not
//! know: who is asked. Invariant: a value goes in by the type of the aggregate that it is, so that the server computes as it would over the
//! aggregate itself; what has no such literal is refused before a row is given out; what is kept is paid for.

use std::collections::VecDeque;
use std::io::Write as _;
use std::rc::Rc;

use super::error::Error;
use super::key;
use super::meter::{Meter, Purse};
use super::row::{Field, Format, Layout, Writer};
use super::spec::{Finished, Spec, Word};
use crate::wire::column::{BINARY_CHARSET, Column, ZEROFILL, kind};

/// Rows of one question, at most, and its bytes where there are more than one.
const ROWS_MAX: usize = 500;
const BYTES_MAX: usize = 256 << 10;
/// What a row that waits costs beside its bytes.
const ROW: usize = 32;

/// Rows that wait for a server.
#[derive(Debug)]
pub struct Finisher {
    columns: Vec<Column>,
    layout: Layout,
    /// So many of the columns are for the client.
    shown: usize,
    finished: Vec<Finished>,
    waiting: VecDeque<Box<[u8]>>,
    meter: Meter,
    fields: Vec<Field>,
    values: Vec<Field>,
}

impl Finisher {
    /// For combined rows of these columns; `None` where no server is needed.
    pub(super) fn new(
        spec: &Spec,
        columns: &[Column],
        format: Format,
        purse: &Rc<Purse>,
    ) -> Result<Option<Self>, Error> {
        if spec.finished.is_empty() {
            return Ok(None);
        }
        let of = |place: usize| columns.get(place).ok_or(Error::NoColumn(place));
        for one in &spec.finished {
            let result = of(one.place)?;
            if format == Format::Binary && !is_written(result) {
                return Err(Error::Unfoldable(one.place));
            }
            let (mut exact, mut real) = (false, false);
            for word in &one.words {
                let (Word::Output(place) | Word::Whole(place)) = word else { continue };
                let column = of(*place)?;
                exact |= column.kind == kind::NEWDECIMAL;
                real |= column.kind == kind::DOUBLE;
                if one.alike && exact && real {
                    return Err(Error::Unfoldable(one.place));
                }
                // Bytes of a character set that is not known would be seen.
                let seen = result.charset == BINARY_CHARSET && column.charset != BINARY_CHARSET;
                if !is_literal(column, format, one.texts && !(seen && result.is_string())) {
                    return Err(Error::Unfoldable(*place));
                }
            }
        }
        Ok(Some(Self {
            columns: columns.to_vec(),
            layout: Layout::new(format, columns.iter()),
            shown: columns.len().saturating_sub(spec.hidden),
            finished: spec.finished.clone(),
            waiting: VecDeque::new(),
            meter: Meter::new(Rc::clone(purse)),
            fields: Vec::new(),
            values: Vec::new(),
        }))
    }

    /// A combined row, with all its columns.
    pub fn keep(&mut self, row: &[u8]) -> Result<(), Error> {
        self.meter.take(row.len() + ROW)?;
        self.waiting.push_back(row.into());
        Ok(())
    }

    /// What a server is asked about the first rows that wait, and how many they are; `None` where none does.
    pub fn question(&mut self) -> Result<Option<(Vec<u8>, usize)>, Error> {
        if self.waiting.is_empty() {
            return Ok(None);
        }
        let mut text = Vec::new();
        let mut rows = 0;
        for row in self.waiting.iter().take(ROWS_MAX) {
            self.layout.split(row, &mut self.fields)?;
            text.extend_from_slice(if rows == 0 { b"SELECT " } else { b" UNION ALL SELECT " });
            let _ = write!(text, "{rows}"); // writing to memory does not fail
            for one in &self.finished {
                text.extend_from_slice(b", ");
                for word in &one.words {
                    match word {
                        Word::Sql(sql) => text.extend_from_slice(sql),
                        Word::Output(place) | Word::Whole(place) => {
                            let field = self.fields.get(*place).ok_or(Error::Malformed)?;
                            let column = self.columns.get(*place).ok_or(Error::Malformed)?;
                            // What stands beside it may be a word.
                            text.push(b' ');
                            match (word, field.of(row), column.kind) {
                                (Word::Whole(_), Some(value), kind::NEWDECIMAL) => whole(value, &mut text)?,
                                (_, value, _) => literal(column, value, self.layout.format, &mut text)?,
                            }
                            text.push(b' ');
                        }
                    }
                }
            }
            rows += 1;
            if text.len() > BYTES_MAX {
                break;
            }
        }
        Ok(Some((text, rows)))
    }

    /// How many columns an answer has.
    pub fn width(&self) -> usize {
        self.finished.len() + 1
    }

    /// The answer's row with this number: appends the result's row to `out`.
    pub fn answer(&mut self, number: usize, answer: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let row = self.waiting.pop_front().ok_or(Error::Malformed)?;
        self.meter.give(row.len() + ROW);
        Layout::of_text(self.width()).split(answer, &mut self.fields)?;
        let answered = |at: usize| self.fields.get(at).and_then(|field| field.of(answer));
        if answered(0) != Some(number.to_string().as_bytes()) {
            return Err(Error::Malformed);
        }
        self.layout.split(&row, &mut self.values)?;
        let mut writer = Writer::begin(self.layout.format, self.shown, out);
        for (place, field) in self.values.iter().take(self.shown).enumerate() {
            match self.finished.iter().position(|one| one.place == place) {
                None => writer.encoded(field.null, field.encoded(&row)),
                Some(at) => match answered(at + 1) {
                    None => writer.null(),
                    Some(value) => put(self.columns.get(place).ok_or(Error::Malformed)?, value, &mut writer)?,
                },
            }
        }
        Ok(())
    }
}

/// Whether a value of this column can be written in a binary row, of its text.
fn is_written(column: &Column) -> bool {
    let number = matches!(column.kind, kind::LONG | kind::LONGLONG | kind::DOUBLE | kind::NEWDECIMAL);
    number || column.is_string() && !column.is_enumerated()
}

/// Writes a value of its text.
fn put(column: &Column, value: &[u8], writer: &mut Writer<'_>) -> Result<(), Error> {
    let text = || std::str::from_utf8(value).map_err(|_| Error::Malformed);
    if writer.format() == Format::Text {
        writer.bytes(value);
        return Ok(());
    }
    match column.kind {
        kind::LONG | kind::LONGLONG => {
            let width = if column.kind == kind::LONG { 4 } else { 8 };
            writer.integer(text()?.parse().map_err(|_| Error::Malformed)?, width);
        }
        kind::DOUBLE => writer.double(text()?.parse().map_err(|_| Error::Malformed)?, |_| ()),
        _ => writer.bytes(value),
    }
    Ok(())
}

/// Whether the column's values can be written as literals of their type. Texts only where their collation does not matter.
fn is_literal(column: &Column, format: Format, texts: bool) -> bool {
    let plain = column.flags & ZEROFILL == 0;
    match column.kind {
        kind::TINY | kind::SHORT | kind::INT24 | kind::LONG | kind::LONGLONG | kind::NEWDECIMAL => plain,
        // Text has fewer digits than the number where they are fixed.
        kind::DOUBLE => plain && (format == Format::Binary || column.decimals >= 31),
        kind::DATE | kind::DATETIME | kind::TIMESTAMP | kind::TIME => format == Format::Text,
        _ => texts && column.is_string() && introducer(column).is_some(),
    }
}

/// What stands before a text's bytes.
fn introducer(column: &Column) -> Option<&'static str> {
    match column.charset {
        45 | 46 | 224..=247 | 255..=323 => Some("_utf8mb4 "),
        63 => Some(""),
        _ => None,
    }
}

/// Appends a DECIMAL as a literal that has as many digits.
fn whole(value: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    if !value.iter().all(|byte| byte.is_ascii_digit() || b"-.".contains(byte)) {
        return Err(Error::Malformed);
    }
    out.push(b'(');
    out.extend_from_slice(value);
    // Without a point it would be an integer.
    out.extend_from_slice(if value.contains(&b'.') { b")" } else { b".)" });
    Ok(())
}

/// Appends a value as a literal of its type.
fn literal(column: &Column, value: Option<&[u8]>, format: Format, out: &mut Vec<u8>) -> Result<(), Error> {
    let quoted = |out: &mut Vec<u8>, kind: &str, digits: Option<u8>| {
        out.extend_from_slice(b"CAST(");
        match value {
            None => out.extend_from_slice(b"NULL"),
            Some(value) => {
                // Numbers and times have nothing in them that ends a string.
                let plain = |byte: &u8| byte.is_ascii_digit() || b"-+.: ".contains(byte);
                if !value.iter().all(plain) {
                    return Err(Error::Malformed);
                }
                out.push(b'\'');
                out.extend_from_slice(value);
                out.push(b'\'');
            }
        }
        // Writing to memory does not fail.
        let _ = match digits {
            Some(digits) => write!(out, " AS {kind}({digits}))"),
            None => write!(out, " AS {kind})"),
        };
        Ok(())
    };
    let decimals = Some(column.decimals.min(6)).filter(|decimals| *decimals > 0);
    match column.kind {
        kind::TINY | kind::SHORT | kind::INT24 | kind::LONG | kind::LONGLONG => {
            let number: Option<i128> = match value {
                None => None,
                Some(value) if column.is_unsigned() => Some(key::unsigned(value, format)?.into()),
                Some(value) => Some(key::signed(value, format)?.into()),
            };
            let kind = if column.is_unsigned() { "UNSIGNED" } else { "SIGNED" };
            let _ = match number {
                Some(number) => write!(out, "CAST({number} AS {kind})"),
                None => write!(out, "CAST(NULL AS {kind})"),
            };
            Ok(())
        }
        kind::NEWDECIMAL => {
            let scale = u32::from(column.decimals);
            let beside = u32::from(scale > 0) + u32::from(!column.is_unsigned());
            let precision = column.length.saturating_sub(beside).clamp(scale.max(1), 65);
            quoted(out, &format!("DECIMAL({precision},{scale})"), None)
        }
        kind::DOUBLE => {
            let _ = match value {
                None => write!(out, "(NULL + 0e0)"),
                Some(value) => write!(out, "({:e})", key::real(value, format)?),
            };
            Ok(())
        }
        kind::DATE => quoted(out, "DATE", None),
        kind::TIME => quoted(out, "TIME", decimals),
        kind::DATETIME | kind::TIMESTAMP => quoted(out, "DATETIME", decimals),
        _ => {
            match (value, introducer(column)) {
                (_, None) => return Err(Error::Malformed),
                (None, _) => out.extend_from_slice(b"CAST(NULL AS CHAR)"),
                (Some(value), Some(introducer)) => {
                    out.extend_from_slice(introducer.as_bytes());
                    out.extend_from_slice(b"X'");
                    value.iter().for_each(|byte| {
                        let _ = write!(out, "{byte:02X}");
                    });
                    out.push(b'\'');
                }
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::meter::Budget;
    use super::super::tests::definition;
    use super::*;

    const UTF8: u16 = 45;

    fn finisher(columns: &[Column], texts: bool) -> Result<Finisher, Error> {
        let words = vec![Word::Sql(b"IF(".to_vec()), Word::Output(1), Word::Sql(b"> 2, 1, 2)".to_vec())];
        let spec = Spec {
            finished: vec![Finished { place: 0, words, texts, alike: false }],
            hidden: 1,
            ..Spec::default()
        };
        let purse = Purse::new(1 << 20, Arc::new(Budget::new(1 << 20)));
        Finisher::new(&spec, columns, Format::Text, &purse).map(|finisher| finisher.expect("a question"))
    }

    #[test]
    fn values_are_literals_of_their_types() {
        let decimal = definition(kind::NEWDECIMAL, BINARY_CHARSET, 0, 2); // 20 characters, point and sign included
        let result = definition(kind::LONGLONG, BINARY_CHARSET, 0, 0);
        let mut finisher = finisher(&[result, decimal], false).unwrap();
        finisher.keep(b"\xfb\x041.50").unwrap();
        finisher.keep(b"\xfb\xfb").unwrap();
        let (question, rows) = finisher.question().unwrap().unwrap();
        let expected = "SELECT 0, IF( CAST('1.50' AS DECIMAL(18,2)) > 2, 1, 2) \
                        UNION ALL SELECT 1, IF( CAST(NULL AS DECIMAL(18,2)) > 2, 1, 2)";
        assert_eq!((String::from_utf8(question).unwrap().as_str(), rows), (expected, 2));
        let mut out = Vec::new();
        finisher.answer(0, b"\x010\x012", &mut out).unwrap();
        assert_eq!(out, b"\x012");
        // Another row's answer is no answer.
        assert_eq!(finisher.answer(1, b"\x010\x012", &mut out), Err(Error::Malformed));
        assert_eq!(finisher.question().unwrap(), None);
    }

    #[test]
    fn what_has_no_literal_is_refused() {
        let result = || definition(kind::LONGLONG, BINARY_CHARSET, 0, 0);
        for (column, texts) in [
            (definition(kind::VAR_STRING, UTF8, 0, 0), false),
            (definition(kind::VAR_STRING, 8, 0, 0), true),
            (definition(kind::YEAR, BINARY_CHARSET, 0, 0), true),
            (definition(kind::LONG, BINARY_CHARSET, ZEROFILL, 0), true),
            (definition(kind::DOUBLE, BINARY_CHARSET, 0, 4), true),
        ] {
            assert_eq!(finisher(&[result(), column], texts).err(), Some(Error::Unfoldable(1)));
        }
        // The bytes of a text would be seen.
        let bytes = definition(kind::VAR_STRING, BINARY_CHARSET, 0, 0);
        let text = definition(kind::VAR_STRING, UTF8, 0, 0);
        assert!(finisher(&[bytes, text], true).is_err());
    }
}
