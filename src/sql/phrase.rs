//! Reads a statement's tokens one by one, where its form is known.
//!
//! Does not know: which statements there are. Invariant: past the end stands nothing, for ever.

use super::lexer::{Kind, Lexer, Token};
use super::model::Lexing;
use super::scan::unquoted;

/// The tokens of a text but its comments.
pub(super) fn code<'a>(sql: &'a [u8], lexing: &Lexing) -> impl Iterator<Item = Token> + use<'a> {
    Lexer::new(sql, lexing).filter(|token| token.kind != Kind::Comment)
}

/// All of them.
pub(super) fn tokens(sql: &[u8], lexing: &Lexing) -> Vec<Token> {
    code(sql, lexing).collect()
}

/// The first word of a packet; empty where it has none.
pub fn first_word<'a>(sql: &'a [u8], lexing: &Lexing) -> &'a [u8] {
    code(sql, lexing).next().map_or(b"", |token| token.text(sql))
}

pub(super) fn lower(name: &[u8]) -> Vec<u8> {
    name.to_ascii_lowercase()
}

/// The tokens of a statement that are left to read.
#[derive(Clone, Copy)]
pub(super) struct Phrase<'a> {
    pub sql: &'a [u8],
    pub tokens: &'a [Token],
}

impl<'a> Phrase<'a> {
    pub fn peek(&self) -> Option<(Kind, &'a [u8])> {
        self.tokens.first().map(|token| (token.kind, token.text(self.sql)))
    }

    /// The next token's text; empty at the end.
    pub fn word(&mut self) -> &'a [u8] {
        let text = self.peek().map_or(&b""[..], |(_, text)| text);
        self.tokens = self.tokens.get(1..).unwrap_or_default();
        text
    }

    /// Consumes the next token if it is this word.
    pub fn take(&mut self, word: &[u8]) -> bool {
        let is = self.peek().is_some_and(|(_, text)| text.eq_ignore_ascii_case(word));
        if is {
            self.word();
        }
        is
    }

    /// An identifier without its quotes; `None` where none stands, or one with quotes inside.
    pub fn name(&mut self) -> Option<&'a [u8]> {
        let (kind, text) = self.peek()?;
        let name = unquoted(text);
        let plain = !name.iter().any(|byte| matches!(byte, b'`' | b'"'));
        let is_name = matches!(kind, Kind::Word | Kind::Name | Kind::QuotedName) && plain;
        self.word();
        is_name.then_some(name)
    }

    /// `[schema.]table`.
    pub fn table(&mut self) -> Option<(Option<Vec<u8>>, Vec<u8>)> {
        let first = self.name()?;
        if self.take(b".") {
            return Some((Some(first.to_vec()), self.name()?.to_vec()));
        }
        Some((None, first.to_vec()))
    }
}
