//! A statement as its tokens, by number: what comes after parsing speaks of places as token numbers.
//!
//! Owns: the numbering (comments and optimizer hints are no tokens here), and which literal or parameter a token is.
//! Does not know: grammar. Invariant: a number past the end is a token without text.

use std::borrow::Cow;

use crate::sql::lexer::{Kind, Lexer, Token};
use crate::sql::{Dialect, Lexing, is_reserved};

/// A token's number.
pub type At = u32;

/// The text of one packet, cut by the servers' own rules.
#[derive(Debug)]
pub struct Text {
    sql: Box<[u8]>,
    tokens: Vec<Token>,
    /// For a literal or a parameter: how many of its kind stand before it.
    ordinals: Vec<u32>,
    dialect: Dialect,
}

/// Whether a token has a number.
pub(in crate::plan::sharded) fn counts(kind: Kind) -> bool {
    !matches!(kind, Kind::Comment | Kind::OptimizerHint)
}

/// Whether `sql::shape` takes the token out.
pub(in crate::plan::sharded) fn is_literal(kind: Kind) -> bool {
    matches!(kind, Kind::Integer | Kind::Decimal | Kind::Float | Kind::Hex | Kind::Bit | Kind::String)
}

impl Text {
    /// Cuts a text.
    pub fn new(sql: &[u8], lexing: &Lexing) -> Self {
        let (mut tokens, mut ordinals) = (Vec::new(), Vec::new());
        let (mut literals, mut parameters) = (0, 0);
        for token in Lexer::new(sql, lexing).filter(|token| counts(token.kind)) {
            let counter = match token.kind {
                Kind::Placeholder => &mut parameters,
                kind if is_literal(kind) => &mut literals,
                _ => &mut 0,
            };
            ordinals.push(*counter);
            *counter += 1;
            tokens.push(token);
        }
        // One `;` at the end is no part of the statement.
        while tokens.last().is_some_and(|token| token.kind == Kind::Punct(b';')) {
            tokens.pop();
        }
        Self { sql: sql.into(), tokens, ordinals, dialect: lexing.server.dialect }
    }

    /// How many tokens there are.
    pub fn len(&self) -> At {
        At::try_from(self.tokens.len()).unwrap_or(At::MAX)
    }

    /// Whose language it is.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// A token's kind; `Unknown` past the end.
    pub fn kind(&self, at: At) -> Kind {
        self.tokens.get(at as usize).map_or(Kind::Unknown, |token| token.kind)
    }

    /// A token's bytes; empty past the end.
    pub fn bytes(&self, at: At) -> &[u8] {
        self.tokens.get(at as usize).map_or(b"", |token| token.text(&self.sql))
    }

    /// The token that begins at this byte.
    pub fn at_byte(&self, start: usize) -> Option<At> {
        let at = self.tokens.binary_search_by_key(&start, |token| token.start).ok()?;
        At::try_from(at).ok()
    }

    /// Which literal, or which parameter, the token is.
    pub fn ordinal(&self, at: At) -> u32 {
        self.ordinals.get(at as usize).copied().unwrap_or(u32::MAX)
    }

    /// An unquoted word, whatever its case.
    pub fn is_word(&self, at: At, word: &[u8]) -> bool {
        self.kind(at) == Kind::Word && self.bytes(at).eq_ignore_ascii_case(word)
    }

    /// One of several words.
    pub fn is_one_of(&self, at: At, words: &[&[u8]]) -> bool {
        self.kind(at) == Kind::Word && words.iter().any(|word| self.bytes(at).eq_ignore_ascii_case(word))
    }

    /// A single character.
    pub fn is(&self, at: At, byte: u8) -> bool {
        self.kind(at) == Kind::Punct(byte)
    }

    /// A word that cannot be a name without quotes.
    pub fn is_reserved(&self, at: At) -> bool {
        self.kind(at) == Kind::Word && is_reserved(self.bytes(at), self.dialect)
    }

    /// Something that can be a name here; words that are reserved cannot.
    pub fn is_name(&self, at: At) -> bool {
        matches!(self.kind(at), Kind::Name | Kind::QuotedName)
            || self.kind(at) == Kind::Word && !self.is_reserved(at)
    }

    /// A name without its quotes, doubled ones inside made single.
    pub fn name(&self, at: At) -> Cow<'_, [u8]> {
        unquote(self.bytes(at))
    }
}

/// A name without its quotes.
pub(in crate::plan::sharded) fn unquote(name: &[u8]) -> Cow<'_, [u8]> {
    let (quote, inner) = match name {
        [b'`', inner @ .., b'`'] => (b'`', inner),
        [b'"', inner @ .., b'"'] => (b'"', inner),
        _ => return Cow::Borrowed(name),
    };
    if !inner.contains(&quote) {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        plain.push(byte);
        if byte == quote {
            bytes.next_if_eq(&quote);
        }
    }
    Cow::Owned(plain)
}
