//! The values behind a plan's sources, in one execution: literals of the text, parameters of COM_STMT_EXECUTE.
//!
//! Owns: reading literals as the servers read them. Does not know: keys' types, placement.
//! Invariant: a literal that could be read in two ways is `Other` or of an unknown character set: a doubt, never a guess.

use std::borrow::Cow;

use super::keys::{KeySource, Typed};
use super::named::named_number;
use crate::shard::{Charset, Date, Datetime, Value};
use crate::sql::lexer::Kind;
use crate::sql::{LexCharset, Lexing, Literal};

/// What an execution brings.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    /// The text.
    pub sql: &'a [u8],
    /// How it is read.
    pub lexing: &'a Lexing,
    /// Its literals, as `sql::shape` has collected them.
    pub literals: &'a [Literal],
    /// Its parameters.
    pub parameters: &'a [Value<'a>],
    /// What the bytes of its strings mean: character_set_client.
    pub charset: Charset,
}

/// A value that may have bytes of its own.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Read<'a> {
    Plain(Value<'a>),
    Decimal(Cow<'a, [u8]>),
    Text(Cow<'a, [u8]>, Charset),
    Bytes(Vec<u8>),
}

impl Read<'_> {
    /// The value.
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Plain(value) => *value,
            Self::Decimal(text) => Value::Decimal(text),
            Self::Text(text, charset) => Value::Text(text, *charset),
            Self::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

impl<'a> Arguments<'a> {
    /// The value of a source; one that is not there is in doubt.
    pub(super) fn read(&self, source: KeySource) -> Read<'a> {
        match source {
            KeySource::Null => Read::Plain(Value::Null),
            KeySource::Parameter(ordinal) => {
                Read::Plain(self.parameters.get(ordinal as usize).copied().unwrap_or(Value::Other))
            }
            KeySource::Literal { ordinal, negative, typed } => {
                let literal = self.literals.get(ordinal as usize);
                literal.map_or(Read::Plain(Value::Other), |literal| self.literal(literal, negative, typed))
            }
        }
    }

    /// The number that LIMIT or OFFSET gives; `None` where it is none.
    pub fn number(&self, source: KeySource) -> Option<u64> {
        match (self.read(source).value(), source) {
            (Value::Integer(number), _) => u64::try_from(number).ok(),
            // Drivers without whole numbers send them so, and servers take it.
            (Value::Text(digits, _), KeySource::Parameter(_)) if digits.iter().all(u8::is_ascii_digit) => {
                ascii(digits)?.parse().ok()
            }
            _ => None,
        }
    }

    /// A number as it is put into the text: where parameters are bound, as one more of them, so that the text is one for all numbers.
    pub fn written(&self, number: u64) -> Vec<u8> {
        if self.parameters.is_empty() { number.to_string().into_bytes() } else { named_number(number) }
    }

    /// A number as it is written; `None` where it is none.
    pub(super) fn digits(&self, source: KeySource) -> Option<Vec<u8>> {
        match source {
            KeySource::Literal { ordinal, negative, typed: Typed::Plain } => {
                let literal = self.literals.get(ordinal as usize)?;
                if !matches!(literal.kind, Kind::Integer | Kind::Decimal | Kind::Float) {
                    return None;
                }
                let sign: &[u8] = if negative { b"-" } else { b"" };
                Some([sign, self.sql.get(literal.span.clone())?].concat())
            }
            KeySource::Parameter(_) => match self.read(source).value() {
                Value::Integer(number) => Some(number.to_string().into_bytes()),
                Value::Decimal(text) => Some(text.to_vec()),
                _ => None,
            },
            KeySource::Literal { .. } | KeySource::Null => None,
        }
    }

    fn literal(&self, literal: &Literal, negative: bool, typed: Typed) -> Read<'a> {
        let text = self.sql.get(literal.span.clone()).unwrap_or_default();
        match (literal.kind, typed) {
            (Kind::Integer, Typed::Plain) => Read::Plain(integer(text, negative)),
            (Kind::Decimal, Typed::Plain) if negative => Read::Decimal([b"-", text].concat().into()),
            (Kind::Decimal, Typed::Plain) => Read::Decimal(text.into()),
            (Kind::Float, Typed::Plain) => Read::Plain(double(text, negative)),
            (Kind::Hex, Typed::Plain) => hex(text).map_or(Read::Plain(Value::Other), Read::Bytes),
            (Kind::String, Typed::Plain) => self.string(text),
            (Kind::String, Typed::Date) => Read::Plain(date(inside(text)).map_or(Value::Other, Value::Date)),
            (Kind::String, Typed::Timestamp) => {
                Read::Plain(datetime(inside(text)).map_or(Value::Other, Value::Datetime))
            }
            _ => Read::Plain(Value::Other),
        }
    }

    /// A string without quotes and escapes.
    fn string(&self, text: &'a [u8]) -> Read<'a> {
        let quote = text.first().copied().unwrap_or_default();
        let inner = inside(text);
        let escapes = !self.lexing.no_backslash_escapes;
        let is_plain = |byte: &u8| *byte != quote && !(escapes && *byte == b'\\');
        // In these character sets a backslash may be half of a character.
        let odd = self.lexing.charset != LexCharset::AsciiSafe && !inner.is_ascii();
        let charset = if odd { Charset::Unknown } else { self.charset };
        if inner.iter().all(is_plain) {
            return Read::Text(inner.into(), charset);
        }
        let mut out = Vec::with_capacity(inner.len());
        let mut bytes = inner.iter().copied();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' if escapes => match bytes.next() {
                    Some(b'0') => out.push(0),
                    Some(b'b') => out.push(8),
                    Some(b'n') => out.push(b'\n'),
                    Some(b'r') => out.push(b'\r'),
                    Some(b't') => out.push(b'\t'),
                    Some(b'Z') => out.push(26),
                    // Outside patterns these two keep their backslash.
                    Some(kept @ (b'%' | b'_')) => out.extend([b'\\', kept]),
                    Some(other) => out.push(other),
                    None => {}
                },
                _ if byte == quote => {
                    bytes.next();
                    out.push(byte);
                }
                _ => out.push(byte),
            }
        }
        Read::Text(out.into(), charset)
    }
}

/// What stands between the quotes.
fn inside(text: &[u8]) -> &[u8] {
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default()
}

fn ascii(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok()
}

/// More digits than fit are a DECIMAL to the servers, and no key.
fn integer(text: &[u8], negative: bool) -> Value<'static> {
    let number: Option<i128> = ascii(text).and_then(|text| text.parse().ok());
    number.map_or(Value::Other, |number| Value::Integer(if negative { -number } else { number }))
}

fn double(text: &[u8], negative: bool) -> Value<'static> {
    let number: Option<f64> = ascii(text).and_then(|text| text.parse().ok());
    number.map_or(Value::Other, |number| Value::Double(if negative { -number } else { number }))
}

/// `0x1F`, `x'1F'`.
fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digits = match text {
        [b'0', _, digits @ ..] => digits,
        [_, b'\'', digits @ .., b'\''] => digits,
        _ => return None,
    };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (first, pairs) = digits.split_at(digits.len() % 2);
    let mut bytes = first.iter().map(|byte| digit(*byte)).collect::<Option<Vec<_>>>()?;
    for pair in pairs.chunks_exact(2) {
        let [high, low] = *pair else { return None };
        bytes.push(digit(high)? << 4 | digit(low)?);
    }
    Some(bytes)
}

/// `2026-11-23`; other forms are in doubt.
fn date(text: &[u8]) -> Option<Date> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else { return None };
    let number = |digits: &[u8]| ascii(digits)?.parse::<u16>().ok();
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    let date = Date { year, month: u8::try_from(month).ok()?, day: u8::try_from(day).ok()? };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (year > 0 && (1..=last).contains(&day)).then_some(date)
}

/// `2026-11-23 01:02:03.456`; other forms are in doubt.
fn datetime(text: &[u8]) -> Option<Datetime> {
    let (day, time) = text.split_at_checked(10)?;
    let [b' ' | b'T', h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = time else { return None };
    let number = |digits: [u8; 2]| ascii(&digits)?.parse::<u64>().ok();
    let (hour, minute, second) = (number([*h1, *h2])?, number([*m1, *m2])?, number([*s1, *s2])?);
    let micros = match rest {
        [] => 0,
        [b'.', digits @ ..]
            if !digits.is_empty() && digits.len() <= 6 && digits.iter().all(u8::is_ascii_digit) =>
        {
            let number: u64 = ascii(digits)?.parse().ok()?;
            number * 10u64.pow(6 - u32::try_from(digits.len()).ok()?)
        }
        _ => return None,
    };
    let whole = hour < 24 && minute < 60 && second < 60;
    let microseconds = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros;
    whole.then_some(Datetime { date: date(day)?, microseconds })
}
