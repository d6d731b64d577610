//! Our tokens as sqlparser's: it never sees the text.
//!
//! Owns: which words are keywords to it, and clauses that it does not know, said in words that it does. Does not know: grammar.
//! Invariant: a token's span is its number, so what it parses can be traced to bytes; a word that is not in the list is a name.

use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Word};

use super::text::{At, Text};
use crate::sql::lexer::Kind;

/// MySQL's words for the frame of a query. All others (ANTI, ASOF, FULL, PIVOT, QUALIFY, SAMPLE …) are names in MySQL.
const KEYWORDS: &[(&[u8], Keyword)] = &[
    (b"ALL", Keyword::ALL),
    (b"AS", Keyword::AS),
    (b"ASC", Keyword::ASC),
    (b"BY", Keyword::BY),
    (b"CROSS", Keyword::CROSS),
    (b"DESC", Keyword::DESC),
    (b"DISTINCT", Keyword::DISTINCT),
    (b"DISTINCTROW", Keyword::DISTINCTROW),
    (b"EXCEPT", Keyword::EXCEPT),
    (b"FOR", Keyword::FOR),
    (b"FORCE", Keyword::FORCE),
    (b"FROM", Keyword::FROM),
    (b"GROUP", Keyword::GROUP),
    (b"HAVING", Keyword::HAVING),
    (b"HIGH_PRIORITY", Keyword::HIGH_PRIORITY),
    (b"IGNORE", Keyword::IGNORE),
    (b"INDEX", Keyword::INDEX),
    (b"INNER", Keyword::INNER),
    (b"INTERSECT", Keyword::INTERSECT),
    (b"JOIN", Keyword::JOIN),
    (b"KEY", Keyword::KEY),
    (b"LATERAL", Keyword::LATERAL),
    (b"LEFT", Keyword::LEFT),
    (b"LIMIT", Keyword::LIMIT),
    (b"LOCKED", Keyword::LOCKED),
    (b"NATURAL", Keyword::NATURAL),
    (b"NOWAIT", Keyword::NOWAIT),
    (b"OF", Keyword::OF),
    (b"OFFSET", Keyword::OFFSET),
    (b"ON", Keyword::ON),
    (b"ORDER", Keyword::ORDER),
    (b"OUTER", Keyword::OUTER),
    (b"PARTITION", Keyword::PARTITION),
    (b"RECURSIVE", Keyword::RECURSIVE),
    (b"RIGHT", Keyword::RIGHT),
    (b"ROLLUP", Keyword::ROLLUP),
    (b"ROW", Keyword::ROW),
    (b"SELECT", Keyword::SELECT),
    (b"SHARE", Keyword::SHARE),
    (b"SKIP", Keyword::SKIP),
    (b"SQL_BIG_RESULT", Keyword::SQL_BIG_RESULT),
    (b"SQL_BUFFER_RESULT", Keyword::SQL_BUFFER_RESULT),
    (b"SQL_CALC_FOUND_ROWS", Keyword::SQL_CALC_FOUND_ROWS),
    (b"SQL_NO_CACHE", Keyword::SQL_NO_CACHE),
    (b"SQL_SMALL_RESULT", Keyword::SQL_SMALL_RESULT),
    (b"STRAIGHT_JOIN", Keyword::STRAIGHT_JOIN),
    (b"UNION", Keyword::UNION),
    (b"UPDATE", Keyword::UPDATE),
    (b"USE", Keyword::USE),
    (b"USING", Keyword::USING),
    (b"VALUES", Keyword::VALUES),
    (b"WHERE", Keyword::WHERE),
    (b"WINDOW", Keyword::WINDOW),
    (b"WITH", Keyword::WITH),
];

/// The tokens for sqlparser, from the first one of the statement; those in `without` left out.
pub(super) fn feed(text: &Text, first: At, without: Option<&Range<At>>) -> Vec<TokenWithSpan> {
    let left_out = without.map_or(0, |range| range.end - range.start);
    let mut out = Vec::with_capacity((text.len() - left_out) as usize);
    let mut at = first;
    while at < text.len() {
        if let Some(range) = without.filter(|range| range.start == at) {
            at = range.end;
            continue;
        }
        // LOCK IN SHARE MODE is FOR SHARE.
        let words: [&[u8]; 4] = [b"LOCK", b"IN", b"SHARE", b"MODE"];
        if (at..).zip(words).all(|(at, word)| text.is_word(at, word)) {
            out.push(wrap(word(Keyword::FOR, None), at));
            out.push(wrap(word(Keyword::SHARE, None), at + 2));
            at += 4;
            continue;
        }
        // `… INTO @a, @b` says where rows go, not which ones they are.
        if text.is_word(at, b"INTO") && text.kind(at + 1) == Kind::UserVariable {
            at += 2;
            while text.is(at, b',') && text.kind(at + 1) == Kind::UserVariable {
                at += 2;
            }
            continue;
        }
        out.push(wrap(token(text, at), at));
        at += 1;
    }
    out
}

/// The number of a token that `feed` has made; `None` at the end of the text.
pub(super) fn number(span: Span) -> Option<At> {
    At::try_from(span.start.column.checked_sub(1)?).ok()
}

fn wrap(token: Token, at: At) -> TokenWithSpan {
    let place = Location { line: 1, column: u64::from(at) + 1 };
    TokenWithSpan { token, span: Span { start: place, end: place } }
}

fn word(keyword: Keyword, quote_style: Option<char>) -> Token {
    Token::Word(Word { value: String::new(), quote_style, keyword })
}

fn token(text: &Text, at: At) -> Token {
    match text.kind(at) {
        Kind::Word => {
            let bytes = text.bytes(at);
            let found = KEYWORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(bytes));
            word(found.map_or(Keyword::NoKeyword, |(_, keyword)| *keyword), None)
        }
        Kind::Name | Kind::QuotedName => word(Keyword::NoKeyword, Some('`')),
        Kind::String => Token::SingleQuotedString(String::new()),
        Kind::Integer | Kind::Decimal | Kind::Float | Kind::Hex | Kind::Bit => {
            Token::Number(String::from("0"), false)
        }
        Kind::Placeholder => Token::Placeholder(String::from("?")),
        Kind::Punct(b'(') => Token::LParen,
        Kind::Punct(b')') => Token::RParen,
        Kind::Punct(b',') => Token::Comma,
        Kind::Punct(b'.') => Token::Period,
        Kind::Punct(b'*') => Token::Mul,
        Kind::Punct(b';') => Token::SemiColon,
        Kind::Punct(b'=') => Token::Eq,
        // Only the expressions' parser looks at these, and it looks at our tokens.
        _ => Token::Char(' '),
    }
}
