//! The byte lexer: a statement's tokens by kind and span, as the servers' own lexers cut them.
//!
//! Owns: where each token starts and ends under sql_mode, charset and server version; which versioned comments
//! are code. Does not know: keywords, grammar. Invariant: tokens cover the text in order without overlap, what
//! lies between two tokens is white space, no byte sequence panics, no allocation, linear time.

use super::model::{Dialect, LexCharset, Lexing};
use memchr::{memchr, memchr2};

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

    /// Bytes of the character at an offset: more than one only where its later bytes may look like ASCII.
    #[inline]
    fn character(&self, at: usize) -> usize {
        let lead = self.byte(at);
        if lead < 0x80 || self.lexing.charset == LexCharset::AsciiSafe {
            return 1;
        }
        let next = self.byte(at + 1);
        let double = match self.lexing.charset {
            LexCharset::AsciiSafe => false,
            LexCharset::Big5 => matches!(lead, 0xA1..=0xF9) && matches!(next, 0x40..=0x7E | 0xA1..=0xFE),
            LexCharset::Gbk => matches!(lead, 0x81..=0xFE) && matches!(next, 0x40..=0x7E | 0x80..=0xFE),
            LexCharset::Sjis => {
                matches!(lead, 0x81..=0x9F | 0xE0..=0xFC) && matches!(next, 0x40..=0x7E | 0x80..=0xFC)
            }
            LexCharset::Gb18030 => {
                let quadruple = matches!(next, 0x30..=0x39)
                    && matches!(self.byte(at + 2), 0x81..=0xFE)
                    && matches!(self.byte(at + 3), 0x30..=0x39);
                if matches!(lead, 0x81..=0xFE) && quadruple {
                    return 4;
                }
                matches!(lead, 0x81..=0xFE) && matches!(next, 0x40..=0x7E | 0x80..=0xFE)
            }
        };
        if double { 2 } else { 1 }
    }

    fn digits(&self, from: usize) -> usize {
        let rest = self.sql.get(from..).unwrap_or_default();
        from + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
    }

    /// `12`, `1.5`, `1e3`, `0x1F`, `0b1`; and `1a`, `0xZ`, `1e`, which are identifiers.
    fn number_or_identifier(&mut self, start: usize) -> (Kind, usize) {
        if self.byte(start) == b'0' {
            let (kind, digit): (_, fn(&u8) -> bool) = match self.byte(start + 1) {
                b'x' => (Kind::Hex, u8::is_ascii_hexdigit),
                b'b' => (Kind::Bit, |byte| matches!(byte, b'0' | b'1')),
                _ => (Kind::Integer, u8::is_ascii_digit),
            };
            if kind != Kind::Integer {
                let rest = self.sql.get(start + 2..).unwrap_or_default();
                let length = rest.iter().position(|byte| !digit(byte)).unwrap_or(rest.len());
                let end = start + 2 + length;
                if length > 0 && !is(self.byte(end), IDENTIFIER) {
                    return (kind, end);
                }
                return self.word(start);
            }
        }
        let end = self.digits(start);
        let next = self.byte(end);
        if next == b'.' {
            return self.fraction(end + 1);
        }
        if !is(next, IDENTIFIER) {
            return (Kind::Integer, end);
        }
        match self.exponent(end) {
            Some(end) => (Kind::Float, end),
            None => self.word(start),
        }
    }

    /// What follows a number's point.
    fn fraction(&mut self, from: usize) -> (Kind, usize) {
        let end = self.digits(from);
        match self.exponent(end) {
            Some(end) => (Kind::Float, end),
            None if matches!(self.byte(end), b'e' | b'E') => (Kind::Unknown, end + 1),
            None => (Kind::Decimal, end),
        }
    }

    /// The end of `e12`, `e+12`, `E-12`.
    fn exponent(&self, at: usize) -> Option<usize> {
        if !matches!(self.byte(at), b'e' | b'E') {
            return None;
        }
        let sign = matches!(self.byte(at + 1), b'+' | b'-');
        let from = at + 1 + usize::from(sign);
        let end = self.digits(from);
        (end > from).then_some(end)
    }

    fn dot(&mut self, start: usize) -> (Kind, usize) {
        if self.byte(start + 1).is_ascii_digit() && self.word_end != start {
            return self.fraction(start + 1);
        }
        self.dot_end = start + 1;
        (Kind::Punct(b'.'), start + 1)
    }

    /// `x'…'` and `b'…'`: no escapes, digits only.
    fn quoted_number(&self, start: usize, kind: Kind) -> (Kind, usize) {
        let from = start + 2;
        let rest = self.sql.get(from..).unwrap_or_default();
        match rest.iter().position(|byte| !byte.is_ascii_hexdigit()) {
            Some(length) if rest[length] == b'\'' => (kind, from + length + 1),
            _ => (Kind::Unknown, self.sql.len()),
        }
    }

    fn introducer_or_word(&mut self, start: usize) -> (Kind, usize) {
        let end = self.identifier(start);
        let name = self.sql.get(start + 1..end).unwrap_or_default();
        if is_charset(name) { (Kind::Introducer, end) } else { self.word(start) }
    }

    /// A string whose opening quote is at `quote_at`; doubled quotes and backslashes do not end it.
    fn string(&self, quote_at: usize, quote: u8) -> (Kind, usize) {
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
    fn has_dollar_quotes(&self) -> bool {
        let server = self.lexing.server;
        server.dialect == Dialect::MySql && server.number >= 90_000
    }

    fn dollar(&mut self, start: usize) -> (Kind, usize) {
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
    fn quoted_name(&self, start: usize, quote: u8) -> (Kind, usize) {
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

    /// The end of a comment up to the line's end; a NUL ends it too, as in the servers.
    fn line_end(&self, start: usize) -> usize {
        let rest = self.sql.get(start..).unwrap_or_default();
        start + memchr2(b'\n', 0, rest).unwrap_or(rest.len())
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

    fn comment(&mut self, start: usize) -> (Kind, usize) {
        let mariadb = self.lexing.server.dialect == Dialect::MariaDb;
        match (self.byte(start + 2), self.byte(start + 3)) {
            (b'!', _) => self.versioned_comment(start + 3, false),
            (b'M', b'!') if mariadb => self.versioned_comment(start + 4, true),
            (b'+', _) => self.hint_comment(start),
            _ => match self.plain_comment_end(start + 2) {
                Some(end) => (Kind::Comment, end),
                None => (Kind::Unknown, self.sql.len()),
            },
        }
    }

    fn plain_comment_end(&self, mut from: usize) -> Option<usize> {
        loop {
            let star = from + memchr(b'*', self.sql.get(from..)?)?;
            if self.byte(star + 1) == b'/' {
                return Some(star + 2);
            }
            from = star + 1;
        }
    }

    /// An optimizer hint. The servers end it at the first `*/` outside quotes, or at the first one at all where it
    /// is a plain comment to them; when the two could differ, it is `Unknown`.
    fn hint_comment(&self, start: usize) -> (Kind, usize) {
        let Some(end) = self.plain_comment_end(start + 3) else {
            return (Kind::Unknown, self.sql.len());
        };
        let content = self.sql.get(start..end).unwrap_or_default();
        let unbalanced =
            b"`'\"".iter().any(|quote| !memchr::memchr_iter(*quote, content).count().is_multiple_of(2));
        (if unbalanced { Kind::Unknown } else { Kind::OptimizerHint }, end)
    }

    /// `/*! … */` and `/*!50700 … */`: five digits, six where a sixth stands. Code when the server is of that
    /// version; MariaDB skips MySQL's own 5.7 to 9.99 unless it is marked `/*M!`.
    fn versioned_comment(&mut self, digits_at: usize, own: bool) -> (Kind, usize) {
        let length = (0..6).take_while(|offset| self.byte(digits_at + offset).is_ascii_digit()).count();
        let (version, end) = if length < 5 {
            (0, digits_at)
        } else {
            let number =
                (0..length).fold(0, |sum, at| sum * 10 + u32::from(self.byte(digits_at + at) - b'0'));
            (number, digits_at + length)
        };
        let server = self.lexing.server;
        let foreign = server.dialect == Dialect::MariaDb && !own && (50_700..=99_999).contains(&version);
        if version <= server.number && !foreign {
            self.in_code_comment = true;
            return (Kind::Comment, end);
        }
        match self.skipped_comment_end(end) {
            Some(end) => (Kind::Comment, end),
            None => (Kind::Unknown, self.sql.len()),
        }
    }

    /// The end of a versioned comment that is not code: it may hold plain comments, one level deep.
    fn skipped_comment_end(&self, mut from: usize) -> Option<usize> {
        loop {
            let at = from + memchr2(b'*', b'/', self.sql.get(from..)?)?;
            from = match (self.byte(at), self.byte(at + 1)) {
                (b'*', b'/') => return Some(at + 2),
                (b'/', b'*') => self.plain_comment_end(at + 2)?,
                _ => at + 1,
            };
        }
    }

    /// `*/`: the end of a versioned comment that is code, or an error.
    fn comment_end(&mut self, start: usize) -> (Kind, usize) {
        let open = std::mem::replace(&mut self.in_code_comment, false);
        (if open { Kind::Comment } else { Kind::Unknown }, start + 2)
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

/// Names of character sets that may stand as `_name` in front of a literal.
fn is_charset(name: &[u8]) -> bool {
    const CHARSETS: [&[u8]; 42] = [
        b"armscii8",
        b"ascii",
        b"big5",
        b"binary",
        b"cp1250",
        b"cp1251",
        b"cp1256",
        b"cp1257",
        b"cp850",
        b"cp852",
        b"cp866",
        b"cp932",
        b"dec8",
        b"eucjpms",
        b"euckr",
        b"gb18030",
        b"gb2312",
        b"gbk",
        b"geostd8",
        b"greek",
        b"hebrew",
        b"hp8",
        b"keybcs2",
        b"koi8r",
        b"koi8u",
        b"latin1",
        b"latin2",
        b"latin5",
        b"latin7",
        b"macce",
        b"macroman",
        b"sjis",
        b"swe7",
        b"tis620",
        b"ucs2",
        b"ujis",
        b"utf16",
        b"utf16le",
        b"utf32",
        b"utf8",
        b"utf8mb3",
        b"utf8mb4",
    ];
    CHARSETS.iter().any(|charset| charset.eq_ignore_ascii_case(name))
}
