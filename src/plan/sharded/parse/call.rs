//! Calls of functions, whatever words stand between their arguments.
//!
//! Owns: what is inside the parentheses, OVER, MATCH and POSITION. Does not know: what functions do.
//! Invariant: every expression inside becomes an argument; that of `expression`.

use super::dialect::fail;
use super::expression::{Climb, Parsed, level};
use super::text::At;
use super::tree::{Call, Expr, ExprKind, Path};
use crate::sql::lexer::Kind;

/// Words that stand between the expressions inside a call (`TRIM(BOTH a FROM b)`), an OVER or a GROUP_CONCAT.
const BETWEEN_ARGUMENTS: &[&[u8]] = &[
    b"FROM",
    b"FOR",
    b"LEADING",
    b"TRAILING",
    b"BOTH",
    b"ORDER",
    b"PARTITION",
    b"BY",
    b"ASC",
    b"DESC",
    b"SEPARATOR",
];
/// Words after which the call holds no expression any more: a type, a character set, a window's frame.
const END_OF_ARGUMENTS: &[&[u8]] = &[b"AS", b"USING", b"ROWS", b"RANGE", b"GROUPS"];

impl Climb<'_, '_, '_> {
    pub(super) fn call(&mut self, name: Path, first: At) -> Parsed<Expr> {
        let mut call = Call { name, distinct: false, star: false, over: false, arguments: Vec::new() };
        if self.query_follows() {
            // `f((SELECT …))` has a query in parentheses of its own; `f(SELECT …)` is nothing.
            return Err(fail("a query as arguments"));
        }
        self.expect(b'(')?;
        call.distinct = self.next_is_word(b"DISTINCT");
        if call.distinct || self.next_is_word(b"ALL") {
            self.advance();
        }
        if self.next_is(b'*') && self.at().is_some_and(|at| self.text().is(at + 1, b')')) {
            call.star = true;
            self.advance();
        }
        self.arguments(&mut call.arguments)?;
        if self.next_is_word(b"OVER") {
            call.over = true;
            self.advance();
            if self.take(b'(') {
                self.arguments(&mut call.arguments)?;
            } else {
                self.advance();
            }
        }
        Ok(Expr { kind: ExprKind::Call(call), first, end: self.position() })
    }

    /// Expressions up to and with the closing parenthesis, whatever words stand between them.
    fn arguments(&mut self, into: &mut Vec<Expr>) -> Parsed<()> {
        loop {
            let at = self.need()?;
            if self.take(b')') {
                return Ok(());
            }
            if self.text().is_one_of(at, END_OF_ARGUMENTS) {
                return self.skip_to_end();
            }
            if self.take(b',') {
                continue;
            }
            if self.text().is_one_of(at, BETWEEN_ARGUMENTS) {
                self.advance();
                continue;
            }
            into.push(self.climb(level::LOWEST)?);
        }
    }

    /// To the closing parenthesis and past it; there is no query on the way.
    fn skip_to_end(&mut self) -> Parsed<()> {
        let mut depth = 0u32;
        loop {
            let at = self.need()?;
            if self.text().is_word(at, b"SELECT") {
                return Err(fail("a query in a type"));
            }
            self.advance();
            match self.text().kind(at) {
                Kind::Punct(b'(') => depth += 1,
                Kind::Punct(b')') if depth == 0 => return Ok(()),
                Kind::Punct(b')') => depth -= 1,
                _ => {}
            }
        }
    }

    /// `MATCH (a, b) AGAINST (c IN BOOLEAN MODE)`.
    pub(super) fn matches(&mut self, at: At) -> Parsed<Expr> {
        self.advance();
        let columns = self.parentheses(self.need()?)?;
        self.expect_word(b"AGAINST")?;
        self.expect(b'(')?;
        let words = self.climb(level::BIT_OR)?;
        while !self.take(b')') {
            let mode: &[&[u8]] =
                &[b"IN", b"BOOLEAN", b"NATURAL", b"LANGUAGE", b"MODE", b"WITH", b"QUERY", b"EXPANSION"];
            if !self.text().is_one_of(self.need()?, mode) {
                return Err(fail("a mode of MATCH"));
            }
            self.advance();
        }
        Ok(Expr { kind: ExprKind::Other(vec![columns, words]), first: at, end: self.position() })
    }

    /// `POSITION(a IN b)`.
    pub(super) fn position_in(&mut self, at: At) -> Parsed<Expr> {
        self.advance();
        self.expect(b'(')?;
        let what = self.climb(level::BIT_OR)?;
        self.expect_word(b"IN")?;
        let place = self.climb(level::LOWEST)?;
        self.expect(b')')?;
        Ok(Expr { kind: ExprKind::Other(vec![what, place]), first: at, end: self.position() })
    }
}
