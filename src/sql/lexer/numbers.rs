//! Numbers, and what only begins like one.
//!
//! Does not know: quotes but those of `x'…'` and `b'…'`. Invariant: that of the lexer.

use super::{IDENTIFIER, Kind, Lexer, is};

impl Lexer<'_> {
    pub(super) fn digits(&self, from: usize) -> usize {
        let rest = self.sql.get(from..).unwrap_or_default();
        from + rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len())
    }

    /// `12`, `1.5`, `1e3`, `0x1F`, `0b1`; and `1a`, `0xZ`, `1e`, which are identifiers.
    pub(super) fn number_or_identifier(&mut self, start: usize) -> (Kind, usize) {
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
    pub(super) fn fraction(&mut self, from: usize) -> (Kind, usize) {
        let end = self.digits(from);
        match self.exponent(end) {
            Some(end) => (Kind::Float, end),
            None if matches!(self.byte(end), b'e' | b'E') => (Kind::Unknown, end + 1),
            None => (Kind::Decimal, end),
        }
    }

    /// The end of `e12`, `e+12`, `E-12`.
    pub(super) fn exponent(&self, at: usize) -> Option<usize> {
        if !matches!(self.byte(at), b'e' | b'E') {
            return None;
        }
        let sign = matches!(self.byte(at + 1), b'+' | b'-');
        let from = at + 1 + usize::from(sign);
        let end = self.digits(from);
        (end > from).then_some(end)
    }

    /// `x'…'` and `b'…'`: no escapes, digits only.
    pub(super) fn quoted_number(&self, start: usize, kind: Kind) -> (Kind, usize) {
        let from = start + 2;
        let rest = self.sql.get(from..).unwrap_or_default();
        match rest.iter().position(|byte| !byte.is_ascii_hexdigit()) {
            Some(length) if rest[length] == b'\'' => (kind, from + length + 1),
            _ => (Kind::Unknown, self.sql.len()),
        }
    }
}
