//! The byte lexer: a statement's tokens by kind and span, as the servers' own lexers cut them.
//!
//! Owns: where each token starts and ends under sql_mode, charset and server version; which versioned comments
//! are code. Does not know: keywords, grammar. Invariant: tokens cover the text in order without overlap, what
//! lies between two tokens is white space, no byte sequence panics, no allocation, linear time.

mod charsets;
mod comments;
mod numbers;
mod quoted;

use super::model::{LexCharset, Lexing};

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An unquoted word: keyword or identifier.
    Word,
    /// An unquoted identifier right after or right before a dot: never a keyword.
    Name,
    /// `` `…` ``, or `"…"` under ANSI_QUOTES.
    QuotedName,
    /// `'…'`, `"…"`, `N'…'`, and MySQL 9's `$$…$$`.
    String,
    /// `_utf8mb4` and the like, in front of a literal.
    Introducer,
    /// `1`.
    Integer,
    /// `1.5`, `.5`.
    Decimal,
    /// `1e3`, `1.5e-3`.
    Float,
    /// `0x1F`, `x'1F'`.
    Hex,
    /// `0b01`, `b'01'`.
    Bit,
    /// `?`.
    Placeholder,
    /// `@x`, `@'x'`, `` @`x` ``; also the host part of an account name.
    UserVariable,
    /// `@@x`, `@@session.x`.
    SystemVariable,
    /// `:=`.
    Assign,
    /// An operator of two or three characters.
    Operator,
    /// A single character.
    Punct(u8),
    /// A comment, or the opening or closing mark of a versioned comment that is code.
    Comment,
    /// `/*+ … */`.
    OptimizerHint,
    /// Bytes that no statement can hold here: an unclosed quote or comment, NUL, `*/` outside a comment.
    Unknown,
}

/// A token and the bytes that it covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Offset of its first byte.
    pub start: usize,
    /// Offset after its last byte.
    pub end: usize,
}

impl Token {
    /// Its bytes; empty when `sql` is not the text that was lexed.
    #[inline]
    pub fn text<'a>(&self, sql: &'a [u8]) -> &'a [u8] {
        sql.get(self.start..self.end).unwrap_or_default()
    }
}

/// Cuts a text into tokens.
#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    sql: &'a [u8],
    at: usize,
    lexing: Lexing,
    /// Inside a versioned comment that is read as code.
    in_code_comment: bool,
    /// Where the last unquoted identifier ended: a dot there is always a separator.
    word_end: usize,
    /// Where the last separating dot ended: an identifier there is never a keyword nor a number.
    dot_end: usize,
}

const SPACE: u8 = 1;
const IDENTIFIER: u8 = 2;
const DIGIT: u8 = 4;

/// Classes of bytes.
static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        class[byte] = match byte as u8 {
            b' ' | 9..=13 => SPACE,
            b'0'..=b'9' => IDENTIFIER | DIGIT,
            b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'$' | 0x80.. => IDENTIFIER,
            _ => 0,
        };
        byte += 1;
    }
    class
};

#[inline]
fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

impl<'a> Lexer<'a> {
    /// A lexer at the start of `sql`.
    pub fn new(sql: &'a [u8], lexing: &Lexing) -> Self {
        Self {
            sql,
            at: 0,
            lexing: *lexing,
            in_code_comment: false,
            word_end: usize::MAX,
            dot_end: usize::MAX,
        }
    }

    /// The byte at an offset; 0 past the end, as the servers' lexers see it.
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.sql.get(at).copied().unwrap_or(0)
    }

    /// The kind and the end of the token that starts at `start`.
    fn cut(&mut self, start: usize, first: u8) -> (Kind, usize) {
        match first {
            _ if self.dot_end == start && is(first, IDENTIFIER) => (Kind::Name, self.identifier(start)),
            b'0'..=b'9' => self.number_or_identifier(start),
            b'x' | b'X' if self.byte(start + 1) == b'\'' => self.quoted_number(start, Kind::Hex),
            b'b' | b'B' if self.byte(start + 1) == b'\'' => self.quoted_number(start, Kind::Bit),
            b'n' | b'N' if self.byte(start + 1) == b'\'' => self.string(start + 1, b'\''),
            b'_' => self.introducer_or_word(start),
            b'$' if self.has_dollar_quotes() => self.dollar(start),
            _ if is(first, IDENTIFIER) => self.word(start),
            b'\'' => self.string(start, b'\''),
            b'"' if self.lexing.ansi_quotes => self.quoted_name(start, b'"'),
            b'"' => self.string(start, b'"'),
            b'`' => self.quoted_name(start, b'`'),
            b'.' => self.dot(start),
            b'@' => self.variable(start),
            b'#' => (Kind::Comment, self.line_end(start)),
            b'-' => self.minus(start),
            b'/' if self.byte(start + 1) == b'*' => self.comment(start),
            b'*' if self.byte(start + 1) == b'/' => self.comment_end(start),
            b'?' if !is(self.byte(start + 1), IDENTIFIER) => (Kind::Placeholder, start + 1),
            b'?' | 0 => (Kind::Unknown, start + 1),
            _ => self.operator(start, first),
        }
    }

    /// A keyword or an identifier; right before a dot it is no keyword.
    fn word(&mut self, start: usize) -> (Kind, usize) {
        let end = self.identifier(start);
        let qualifies = self.byte(end) == b'.' && is(self.byte(end + 1), IDENTIFIER);
        (if qualifies { Kind::Name } else { Kind::Word }, end)
    }

    fn identifier(&mut self, start: usize) -> usize {
        let mut end = start;
        if self.lexing.charset == LexCharset::AsciiSafe {
            let rest = self.sql.get(start..).unwrap_or_default();
            end += rest.iter().position(|byte| !is(*byte, IDENTIFIER)).unwrap_or(rest.len());
        } else {
            while is(self.byte(end), IDENTIFIER) {
                end += self.character(end);
            }
        }
        self.word_end = end;
        end
    }

    fn dot(&mut self, start: usize) -> (Kind, usize) {
        if self.byte(start + 1).is_ascii_digit() && self.word_end != start {
            return self.fraction(start + 1);
        }
        self.dot_end = start + 1;
        (Kind::Punct(b'.'), start + 1)
    }

    /// `@x`, `@'x'`, `@@x`, `@@global.x`.
    fn variable(&mut self, start: usize) -> (Kind, usize) {
        match self.byte(start + 1) {
            b'@' => self.system_variable(start),
            quote @ (b'\'' | b'"' | b'`') => {
                let (kind, end) = if quote == b'`' || quote == b'"' && self.lexing.ansi_quotes {
                    self.quoted_name(start + 1, quote)
                } else {
                    self.string(start + 1, quote)
                };
                (if kind == Kind::Unknown { kind } else { Kind::UserVariable }, end)
            }
            _ => {
                let mut end = start + 1;
                while is(self.byte(end), IDENTIFIER) || self.byte(end) == b'.' {
                    end += self.character(end);
                }
                (Kind::UserVariable, end)
            }
        }
    }

    fn system_variable(&mut self, start: usize) -> (Kind, usize) {
        let mut at = start + 2;
        loop {
            if self.byte(at) == b'`' {
                let (kind, end) = self.quoted_name(at, b'`');
                if kind == Kind::Unknown {
                    return (kind, end);
                }
                at = end;
            } else if is(self.byte(at), IDENTIFIER) {
                at = self.identifier(at);
            } else {
                return (Kind::Unknown, at);
            }
            let next = self.byte(at + 1);
            if self.byte(at) != b'.' || !(is(next, IDENTIFIER) || next == b'`') {
                return (Kind::SystemVariable, at);
            }
            at += 1;
        }
    }

    /// `-- …` (white space, a control character or the end must follow), `->`, `->>`, `-`.
    fn minus(&self, start: usize) -> (Kind, usize) {
        let third = self.byte(start + 2);
        match self.byte(start + 1) {
            b'-' if is(third, SPACE) || third.is_ascii_control() => (Kind::Comment, self.line_end(start)),
            b'>' if third == b'>' => (Kind::Operator, start + 3),
            b'>' => (Kind::Operator, start + 2),
            _ => (Kind::Punct(b'-'), start + 1),
        }
    }

    fn operator(&self, start: usize, first: u8) -> (Kind, usize) {
        let (second, third) = (self.byte(start + 1), self.byte(start + 2));
        match (first, second) {
            (b':', b'=') => (Kind::Assign, start + 2),
            (b'<', b'=') if third == b'>' => (Kind::Operator, start + 3),
            (b'<', b'=' | b'>' | b'<') | (b'>', b'=' | b'>') | (b'!', b'=') => (Kind::Operator, start + 2),
            (b'&', b'&') | (b'|', b'|') => (Kind::Operator, start + 2),
            _ => (Kind::Punct(first), start + 1),
        }
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    #[inline]
    fn next(&mut self) -> Option<Token> {
        while let Some(&first) = self.sql.get(self.at) {
            if is(first, SPACE) {
                self.at += 1;
                continue;
            }
            let start = self.at;
            let (kind, end) = self.cut(start, first);
            self.at = end.min(self.sql.len());
            return Some(Token { kind, start, end: self.at });
        }
        // A versioned comment that was never closed is an error to the servers.
        std::mem::replace(&mut self.in_code_comment, false).then_some(Token {
            kind: Kind::Unknown,
            start: self.at,
            end: self.at,
        })
    }
}
