//! A statement's fingerprint: the same for all statements that differ in literals, comments and case of keywords.
//!
//! Owns: which tokens count, and how MySQL's STATEMENT_DIGEST_TEXT() writes them. Does not know: grammar.
//! Invariant: statements with equal digest texts have equal digests and, but for chance (2^-64), the other way round.
//! The hash is fast, stable and not secret: what is decided by a digest must be harmless when a client forges one.

use super::functions;
use super::keywords::{self, Keyword};
use super::lexer::{Kind, Lexer, Token};
use super::model::{Dialect, Lexing};
use super::reduce::{Piece, Reducer, Sink};
use super::scan::unquoted;

/// Longer digest texts are cut here and end in `...`, in bytes.
pub const DIGEST_TEXT_MAX: usize = 64 * 1024;

/// The statement's digest.
pub fn digest(sql: &[u8], lexing: &Lexing) -> u64 {
    let mut hash = Hash { state: 0x243F_6A88_85A3_08D3 };
    reduce(sql, lexing, &mut hash);
    fold(hash.state, SECRET)
}

/// The statement as its digest sees it: names in backticks, keywords in upper case, `?` for literals.
pub fn digest_text(sql: &[u8], lexing: &Lexing) -> Vec<u8> {
    let mut text = Text { out: Vec::with_capacity(sql.len().min(1024)) };
    reduce(sql, lexing, &mut text);
    if text.out.len() > DIGEST_TEXT_MAX {
        text.out.truncate(DIGEST_TEXT_MAX);
        text.out.extend_from_slice(b"...");
    }
    text.out.truncate(text.out.trim_ascii_end().len());
    text.out
}

/// Sends the statement's pieces to a sink.
fn reduce(sql: &[u8], lexing: &Lexing, sink: &mut impl Sink) {
    let mut feed = Feed {
        sql,
        lexing,
        reducer: Reducer::new(sql, sink),
        definition: false,
        after_verb: false,
        depth: 0,
        list: None,
    };
    let mut separator = false;
    let mut first = true;
    for token in Lexer::new(sql, lexing) {
        match token.kind {
            Kind::Comment => continue,
            Kind::Punct(b';') => {
                separator = !first;
                continue;
            }
            Kind::OptimizerHint => {
                feed.hint(&token);
                continue;
            }
            _ => {}
        }
        if std::mem::replace(&mut separator, false) {
            feed.reducer.push(Piece::Mark(b';'));
        }
        feed.token(&token, first);
        first = false;
    }
    feed.reducer.finish();
}

/// Turns tokens into pieces.
struct Feed<'a, 's, S: Sink> {
    sql: &'a [u8],
    lexing: &'a Lexing,
    reducer: Reducer<'a, 's, S>,
    /// CREATE or ALTER: NULL is there a property of a column as often as a value.
    definition: bool,
    /// The last token may be followed by an optimizer hint.
    after_verb: bool,
    /// Open parentheses, and how many there are around the ORDER BY or GROUP BY list that goes on.
    depth: u32,
    list: Option<u32>,
}

impl<S: Sink> Feed<'_, '_, S> {
    fn token(&mut self, token: &Token, first: bool) {
        self.after_verb = false;
        if let Piece::Position(..) = self.reducer.last()
            && self.continues_expression(token)
        {
            self.reducer.position_was_value();
        }
        match token.kind {
            Kind::Integer if self.is_position() => self.reducer.push(Piece::Position(token.start, token.end)),
            Kind::Word => self.word(token, first),
            Kind::Integer | Kind::Decimal | Kind::Float | Kind::Hex | Kind::Bit => self.reducer.push_number(),
            Kind::String | Kind::Placeholder => self.reducer.push_value(),
            Kind::Introducer => self.reducer.push(Piece::Text(b"(_charset)")),
            Kind::Punct(byte) => self.mark(byte),
            Kind::Assign => self.reducer.push(Piece::Text(b":=")),
            Kind::Operator => self.reducer.push(Piece::Text(operator(token.text(self.sql)))),
            Kind::UserVariable => self.user_variable(token),
            Kind::SystemVariable => self.system_variable(token),
            Kind::Name | Kind::QuotedName => self.reducer.push(name(token)),
            // What is not closed may be a literal, of a statement that was cut perhaps: data must not be shown, and must not
            // tell digests apart.
            Kind::Unknown => self.reducer.push_value(),
            Kind::Comment | Kind::OptimizerHint => {}
        }
    }

    fn mark(&mut self, byte: u8) {
        match byte {
            b'(' => self.depth = self.depth.saturating_add(1),
            b')' => {
                self.depth = self.depth.saturating_sub(1);
                self.list = self.list.filter(|depth| *depth <= self.depth);
            }
            _ => {}
        }
        self.reducer.push_mark(byte);
    }

    /// An integer here is a whole item of ORDER BY or GROUP BY, unless an expression goes on after it.
    fn is_position(&self) -> bool {
        let begins = matches!(self.reducer.last(), Piece::Text(b"BY") | Piece::Mark(b','));
        begins && self.list == Some(self.depth)
    }

    fn continues_expression(&self, token: &Token) -> bool {
        match token.kind {
            Kind::Punct(byte) => !matches!(byte, b',' | b')'),
            Kind::Word => keywords::find(token.text(self.sql)).is_some_and(|found| {
                let text = found.text();
                let operators: [&[u8]; 11] = [
                    b"AND", b"OR", b"XOR", b"IS", b"IN", b"LIKE", b"RLIKE", b"BETWEEN", b"NOT", b"DIV",
                    b"MOD",
                ];
                operators.contains(&text)
            }),
            Kind::Operator | Kind::Assign => true,
            _ => false,
        }
    }

    fn word(&mut self, token: &Token, first: bool) {
        let text = token.text(self.sql);
        let Some(found) = keywords::find(text).filter(|found| found.known(self.lexing.server.dialect)) else {
            let call = self.sql.get(token.end) == Some(&b'(');
            let piece = match functions::keyword_before_parenthesis(text) {
                Some(function) if call => Piece::Text(function),
                _ => name(token),
            };
            return self.reducer.push(piece);
        };
        let keyword = found.keyword();
        match keyword {
            Keyword::Null if self.null_is_value() => return self.reducer.push_value(),
            Keyword::Create | Keyword::Alter => self.definition |= first,
            Keyword::Select | Keyword::Insert | Keyword::Replace | Keyword::Update | Keyword::Delete => {
                self.after_verb = true;
            }
            _ => {}
        }
        match found.text() {
            b"BY" if matches!(self.reducer.last(), Piece::Text(b"ORDER" | b"GROUP" | b"PARTITION")) => {
                self.list = Some(self.depth)
            }
            b"LIMIT" | b"HAVING" | b"ORDER" | b"FOR" | b"INTO" | b"WINDOW" | b"ROWS" | b"RANGE"
            | b"UNION" | b"SELECT" | b"SEPARATOR" | b"WITH" | b"LOCK" | b"EXCEPT" | b"INTERSECT" => {
                self.list = None
            }
            _ => {}
        }
        self.reducer.push(Piece::Text(found.text()));
    }

    /// NULL is a literal, except in IS [NOT] NULL and as a column's property.
    fn null_is_value(&self) -> bool {
        match self.reducer.last() {
            Piece::Text(b"IS" | b"NOT") => false,
            Piece::Text(b"DEFAULT" | b"SELECT") => true,
            Piece::Mark(mark) => !self.definition || mark != b')',
            _ => !self.definition,
        }
    }

    /// `@x` counts as `@?`, as in MySQL; a name in backticks is kept.
    fn user_variable(&mut self, token: &Token) {
        self.reducer.push(Piece::Mark(b'@'));
        match token.text(self.sql) {
            [b'@', b'`', ..] => self.reducer.push(Piece::Name(token.start + 1, token.end)),
            _ => self.reducer.push_value(),
        }
    }

    fn system_variable(&mut self, token: &Token) {
        self.reducer.push(Piece::Mark(b'@'));
        self.reducer.push(Piece::Mark(b'@'));
        let base = token.start + 2;
        let inside = self.sql.get(base..token.end).unwrap_or_default();
        for part in Lexer::new(inside, self.lexing) {
            let part = Token { start: part.start + base, end: part.end + base, ..part };
            match part.kind {
                // The scope: a keyword although a dot follows.
                Kind::Name if part.start == base => self.word(&part, false),
                _ => self.token(&part, false),
            }
        }
    }

    /// MySQL keeps optimizer hints in its digests, right after the verb.
    fn hint(&mut self, token: &Token) {
        if !std::mem::replace(&mut self.after_verb, false) || self.lexing.server.dialect != Dialect::MySql {
            return;
        }
        let (base, end) = (token.start + 3, token.end.saturating_sub(2));
        let inside = self.sql.get(base..end).unwrap_or_default();
        self.reducer.push(Piece::Text(b"/*+"));
        let mut depth = 0u32;
        for part in Lexer::new(inside, self.lexing) {
            let part = Token { start: part.start + base, end: part.end + base, ..part };
            match part.kind {
                Kind::Word if depth == 0 => self.reducer.push(Piece::Upper(part.start, part.end)),
                Kind::Word if part.text(self.sql).first().is_some_and(u8::is_ascii_digit) => {
                    self.reducer.push_value();
                }
                Kind::Word => self.reducer.push(name(&part)),
                Kind::UserVariable => {
                    self.reducer.push(Piece::Text(HINT_AT));
                    self.reducer.push(Piece::Name(part.start + 1, part.end));
                }
                _ => self.token(&part, false),
            }
            match part.kind {
                Kind::Punct(b'(') => depth = depth.saturating_add(1),
                Kind::Punct(b')') => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        self.reducer.push(Piece::Text(b"*/"));
    }
}

/// `@` in a hint's `table@block`, which MySQL writes without a space.
const HINT_AT: &[u8] = b"@";

fn name(token: &Token) -> Piece {
    Piece::Name(token.start, token.end)
}

/// An operator's canonical text.
fn operator(text: &[u8]) -> &'static [u8] {
    match text {
        b"<=" => b"<=",
        b">=" => b">=",
        b"<>" | b"!=" => b"!=",
        b"<=>" => b"<=>",
        b"<<" => b"<<",
        b">>" => b">>",
        b"&&" => b"&&",
        b"||" => b"||",
        b"->" => b"->",
        _ => b"->>",
    }
}

/// Hashes pieces: each by its kind, length and bytes.
struct Hash {
    state: u64,
}

const SECRET: u64 = 0x9E37_79B9_7F4A_7C15;

/// Multiplies and folds the product's halves together.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

impl Hash {
    #[inline]
    fn bytes(&mut self, kind: u64, bytes: &[u8], read: impl Fn(u8) -> u8) {
        let mut state = self.state ^ kind.wrapping_mul(SECRET) ^ (bytes.len() as u64).rotate_left(40);
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(read(*byte)));
            state = fold(state ^ word, 0xA076_1D64_78BD_642F);
        }
        self.state = fold(state ^ 0xE703_7ED1_A0B4_28DB, SECRET);
    }
}

impl Sink for Hash {
    fn emit(&mut self, sql: &[u8], piece: Piece) {
        match piece {
            Piece::Name(start, end) => {
                self.bytes(1, unquoted(sql.get(start..end).unwrap_or_default()), |byte| byte);
            }
            Piece::Position(start, end) => {
                self.bytes(3, sql.get(start..end).unwrap_or_default(), |byte| byte);
            }
            Piece::Upper(start, end) => {
                self.bytes(2, sql.get(start..end).unwrap_or_default(), |byte| byte.to_ascii_uppercase());
            }
            Piece::Mark(byte) => self.state = fold(self.state ^ u64::from(byte) ^ 0x1000, SECRET),
            other => self.bytes(2, other.text(), |byte| byte),
        }
    }
}

/// Writes pieces as MySQL does.
struct Text {
    out: Vec<u8>,
}

impl Sink for Text {
    fn emit(&mut self, sql: &[u8], piece: Piece) {
        if self.out.len() > DIGEST_TEXT_MAX {
            return;
        }
        match piece {
            Piece::Name(start, end) => {
                let name = unquoted(sql.get(start..end).unwrap_or_default());
                self.out.push(b'`');
                self.out.extend_from_slice(&name[..name.len().min(DIGEST_TEXT_MAX)]);
                self.out.push(b'`');
            }
            Piece::Position(start, end) => {
                let digits = sql.get(start..end).unwrap_or_default();
                self.out.extend_from_slice(&digits[..digits.len().min(DIGEST_TEXT_MAX)]);
            }
            Piece::Upper(start, end) => {
                let word = sql.get(start..end).unwrap_or_default();
                self.out.extend(word.iter().take(DIGEST_TEXT_MAX).map(u8::to_ascii_uppercase));
            }
            Piece::Text(HINT_AT) => {
                if self.out.ends_with(b"` ") {
                    self.out.pop();
                }
                return self.out.push(b'@');
            }
            Piece::Mark(b'@') => return self.out.push(b'@'),
            Piece::Mark(byte) => self.out.push(byte),
            other => self.out.extend_from_slice(other.text()),
        }
        self.out.push(b' ');
    }
}
