//! How the statement says that its file is written: FIELDS, LINES, IGNORE … LINES, and what its strings stand for.
//!
//! Owns: these clauses. Does not know: the file, its columns. Invariant: what a server could read in another way than is known here is refused.

use super::Reader;
use crate::plan::sharded::edits::{Edit, NameEdit};
use crate::plan::sharded::keys::KeySource;
use crate::plan::sharded::refusal::Refusal;
use crate::plan::sharded::values::Read;
use crate::sql::file::Format;
use crate::sql::lexer::Kind;

impl Reader<'_> {
    /// What a string stands for, or a number in hexadecimal digits.
    pub(super) fn string(&self) -> Result<Vec<u8>, Refusal> {
        let source = KeySource::of_tokens(self.text, self.at..self.at + 1);
        match source.map(|source| self.arguments.read(source)) {
            Some(Read::Text(bytes, _)) if self.text.kind(self.at) == Kind::String => Ok(bytes.into_owned()),
            Some(Read::Bytes(bytes)) => Ok(bytes),
            _ => self.not_parsed(),
        }
    }

    /// The string behind `words`, where they stand here.
    fn mark(&mut self, words: [&[u8]; 2]) -> Result<Option<Vec<u8>>, Refusal> {
        if !(self.text.is_word(self.at, words[0]) && self.text.is_word(self.at + 1, words[1])) {
            return Ok(None);
        }
        self.at += 2;
        let mark = self.string()?;
        self.at += 1;
        if !mark.is_ascii() {
            return self.refuse("The fields or lines of a file for {} are marked by characters beyond ASCII");
        }
        Ok(Some(mark))
    }

    /// The byte behind such words; `None` inside for none at all.
    fn byte(&mut self, words: [&[u8]; 2]) -> Result<Option<Option<u8>>, Refusal> {
        let Some(mark) = self.mark(words)? else { return Ok(None) };
        match mark[..] {
            [] => Ok(Some(None)),
            [byte] => Ok(Some(Some(byte))),
            _ => self.refuse("ENCLOSED BY or ESCAPED BY of a file for {} is more than one character"),
        }
    }

    pub(super) fn format(&mut self) -> Result<Format, Refusal> {
        // Where backslashes escape nothing, they do not in files either, unless the statement says so.
        let usual = (!self.arguments.lexing.no_backslash_escapes).then_some(b'\\');
        let mut format = Format {
            field_end: b"\t".to_vec(),
            line_end: b"\n".to_vec(),
            line_start: Vec::new(),
            enclosed: None,
            escaped: usual,
        };
        if self.word_of(&[b"FIELDS", b"COLUMNS"]) {
            let before = self.at;
            loop {
                if let Some(mark) = self.mark([b"TERMINATED", b"BY"])? {
                    format.field_end = mark;
                } else if let Some(byte) = self.byte([b"ESCAPED", b"BY"])? {
                    format.escaped = byte;
                } else {
                    let optionally = self.text.is_word(self.at, b"OPTIONALLY");
                    self.at += u32::from(optionally);
                    match self.byte([b"ENCLOSED", b"BY"])? {
                        Some(byte) => format.enclosed = byte,
                        None if optionally || self.at == before => return self.not_parsed(),
                        None => break,
                    }
                }
            }
        }
        if self.word(b"LINES") {
            let before = self.at;
            loop {
                if let Some(mark) = self.mark([b"TERMINATED", b"BY"])? {
                    format.line_end = mark;
                } else if let Some(mark) = self.mark([b"STARTING", b"BY"])? {
                    format.line_start = mark;
                } else if self.at == before {
                    return self.not_parsed();
                } else {
                    break;
                }
            }
        }
        if format.field_end.is_empty() || format.line_end.is_empty() {
            return self.refuse("A file for {} has rows of fixed widths: FIELDS or LINES TERMINATED BY ''");
        }
        if format.field_end == format.line_end {
            return self.refuse("The fields of a file for {} end as its lines do");
        }
        Ok(format)
    }

    /// IGNORE … LINES: none of a shard's.
    pub(super) fn ignored(&mut self, edits: &mut Vec<NameEdit>) -> Result<u64, Refusal> {
        if !self.word(b"IGNORE") {
            return Ok(0);
        }
        let count = std::str::from_utf8(self.text.bytes(self.at)).ok().and_then(|digits| digits.parse().ok());
        let Some(count) = count.filter(|_| self.text.kind(self.at) == Kind::Integer) else {
            return self.not_parsed();
        };
        edits.push(NameEdit { token: self.at, edit: Edit::Text(b"0".to_vec()) });
        self.at += 1;
        if self.word_of(&[b"LINES", b"ROWS"]) { Ok(count) } else { self.not_parsed() }
    }
}
