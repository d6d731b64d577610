//! What stands in quotes: strings and names.
//!
//! Does not know: what a string is for. Invariant: that of the lexer; what is not closed is `Unknown` up to the text's end.

use memchr::memchr2;

use super::{IDENTIFIER, Kind, Lexer, is};
use crate::sql::model::{Dialect, LexCharset};

impl Lexer<'_> {
    /// A string whose opening quote is at `quote_at`; doubled quotes and backslashes do not end it.
    pub(super) fn string(&self, quote_at: usize, quote: u8) -> (Kind, usize) {
        let escape = if self.lexing.no_backslash_escapes { quote } else { b'\\' };
        let mut at = quote_at + 1;
        loop {
            if self.lexing.charset == LexCharset::AsciiSafe {
                let rest = self.sql.get(at..).unwrap_or_default();
                match memchr2(quote, escape, rest) {
                    Some(offset) => at += offset,
                    None => return (Kind::Unknown, self.sql.len()),
                }
            }
            if at >= self.sql.len() {
                return (Kind::Unknown, self.sql.len());
            }
            let byte = self.byte(at);
            if byte == quote {
                if self.byte(at + 1) != quote || at + 1 >= self.sql.len() {
                    return (Kind::String, at + 1);
                }
                at += 2;
            } else if byte == escape {
                at += 2;
            } else {
                at += self.character(at);
            }
        }
    }

    /// MySQL 9 reads `$$ … $$` and `$tag$ … $tag$` as text: the bodies of programs in other languages.
    pub(super) fn has_dollar_quotes(&self) -> bool {
        let server = self.lexing.server;
        server.dialect == Dialect::MySql && server.number >= 90_000
    }

    pub(super) fn dollar(&mut self, start: usize) -> (Kind, usize) {
        let rest = self.sql.get(start + 1..).unwrap_or_default();
        let length =
            rest.iter().position(|byte| *byte == b'$' || !is(*byte, IDENTIFIER)).unwrap_or(rest.len());
        if rest.get(length) != Some(&b'$') {
            return self.word(start);
        }
        let from = start + length + 2;
        let tag = self.sql.get(start..from).unwrap_or_default();
        let body = self.sql.get(from..).unwrap_or_default();
        match memchr::memmem::find(body, tag) {
            Some(offset) => (Kind::String, from + offset + tag.len()),
            None => (Kind::Unknown, self.sql.len()),
        }
    }

    /// A quoted identifier; a NUL in it is an error to the servers.
    pub(super) fn quoted_name(&self, start: usize, quote: u8) -> (Kind, usize) {
        let mut at = start + 1;
        loop {
            if self.lexing.charset == LexCharset::AsciiSafe {
                let rest = self.sql.get(at..).unwrap_or_default();
                at += memchr2(quote, 0, rest).unwrap_or(rest.len());
            }
            match self.byte(at) {
                0 => return (Kind::Unknown, self.sql.len()),
                byte if byte == quote && self.byte(at + 1) == quote => at += 2,
                byte if byte == quote => return (Kind::QuotedName, at + 1),
                _ => at += self.character(at),
            }
        }
    }
}
