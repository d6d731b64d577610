//! What an expression is made of: literals, names, calls, CASE, queries in parentheses.
//!
//! Owns: which tokens begin an expression, and what stands inside a call's parentheses. Does not know: operators between expressions.
//! Invariant: that of `expression`.

use super::dialect::fail;
use super::expression::{Climb, Parsed, level};
use super::lower::lower;
use super::text::At;
use super::tree::{Expr, ExprKind, Path, Query};
use crate::sql::lexer::Kind;

/// Reserved words that are values, with or without `()`.
const VALUES: &[&[u8]] = &[
    b"CURRENT_DATE",
    b"CURRENT_TIME",
    b"CURRENT_TIMESTAMP",
    b"CURRENT_USER",
    b"CURRENT_ROLE",
    b"FALSE",
    b"LOCALTIME",
    b"LOCALTIMESTAMP",
    b"TRUE",
    b"UTC_DATE",
    b"UTC_TIME",
    b"UTC_TIMESTAMP",
];
/// Units of INTERVAL.
const UNITS: &[&[u8]] = &[
    b"MICROSECOND",
    b"SECOND",
    b"MINUTE",
    b"HOUR",
    b"DAY",
    b"WEEK",
    b"MONTH",
    b"QUARTER",
    b"YEAR",
    b"SECOND_MICROSECOND",
    b"MINUTE_MICROSECOND",
    b"MINUTE_SECOND",
    b"HOUR_MICROSECOND",
    b"HOUR_SECOND",
    b"HOUR_MINUTE",
    b"DAY_MICROSECOND",
    b"DAY_SECOND",
    b"DAY_MINUTE",
    b"DAY_HOUR",
    b"YEAR_MONTH",
];

impl Climb<'_, '_, '_> {
    /// What stands before the first operator, signs and NOT included.
    pub(super) fn prefix(&mut self, least: u8) -> Parsed<Expr> {
        let at = self.need()?;
        match self.text().kind(at) {
            Kind::Punct(b'-' | b'+' | b'~') => self.sign(at),
            Kind::Punct(b'!') => self.unary(at, level::TIGHT),
            Kind::Punct(b'(') => self.parentheses(at),
            Kind::Punct(b'{') => self.braces(at),
            Kind::Placeholder => self.leaf(ExprKind::Parameter(at)),
            Kind::Integer | Kind::Decimal | Kind::Float | Kind::Hex | Kind::Bit => self.literal(at, None),
            Kind::String => self.string(at, None),
            Kind::Introducer => {
                self.advance();
                let literal = self.prefix(level::TIGHT)?;
                Ok(Expr { kind: ExprKind::Other(Vec::new()), first: at, end: literal.end })
            }
            Kind::SystemVariable => self.leaf(ExprKind::Other(Vec::new())),
            Kind::UserVariable => self.variable(),
            Kind::Name | Kind::QuotedName => self.name(at),
            Kind::Word => self.word(at, least),
            _ => Err(fail("no expression begins so")),
        }
    }

    fn leaf(&mut self, kind: ExprKind) -> Parsed<Expr> {
        let first = self.need()?;
        self.advance();
        Ok(Expr { kind, first, end: first + 1 })
    }

    fn literal(&mut self, at: At, typed: Option<At>) -> Parsed<Expr> {
        self.advance();
        let kind = ExprKind::Literal { at, negative: false, typed };
        Ok(Expr { kind, first: typed.unwrap_or(at), end: at + 1 })
    }

    /// A string; several in a row are one, which is no key.
    fn string(&mut self, at: At, typed: Option<At>) -> Parsed<Expr> {
        let literal = self.literal(at, typed)?;
        let national = self.text().bytes(at).first().is_none_or(|first| !matches!(first, b'\'' | b'"'));
        let mut parts = 0;
        while self.at().is_some_and(|at| self.text().kind(at) == Kind::String) {
            self.advance();
            parts += 1;
        }
        if parts == 0 && !national {
            return Ok(literal);
        }
        Ok(Expr { kind: ExprKind::Other(Vec::new()), first: literal.first, end: self.position() })
    }

    fn sign(&mut self, at: At) -> Parsed<Expr> {
        let minus = self.text().is(at, b'-');
        let number = matches!(self.text().kind(at + 1), Kind::Integer | Kind::Decimal | Kind::Float);
        let operand = self.unary(at, level::SIGN)?;
        if let ExprKind::Other(operands) = &operand.kind
            && let [Expr { kind: ExprKind::Literal { at: literal, negative: false, typed: None }, .. }] =
                operands[..]
            && minus
            && number
            && literal == at + 1
        {
            let kind = ExprKind::Literal { at: literal, negative: true, typed: None };
            return Ok(Expr { kind, ..operand });
        }
        Ok(operand)
    }

    fn unary(&mut self, at: At, level: u8) -> Parsed<Expr> {
        self.advance();
        let operand = self.climb(level)?;
        let end = operand.end;
        Ok(Expr { kind: ExprKind::Other(vec![operand]), first: at, end })
    }

    fn variable(&mut self) -> Parsed<Expr> {
        let variable = self.leaf(ExprKind::Other(Vec::new()))?;
        if !self.at().is_some_and(|at| self.text().kind(at) == Kind::Assign) {
            return Ok(variable);
        }
        self.advance();
        let value = self.climb(level::LOWEST)?;
        let end = value.end;
        Ok(Expr { kind: ExprKind::Other(vec![value]), first: variable.first, end })
    }

    /// `(…)`: a query, a row, or an expression, which then covers the parentheses too.
    pub(super) fn parentheses(&mut self, at: At) -> Parsed<Expr> {
        if self.query_follows() {
            let query = Box::new(self.query_in_parentheses()?);
            return Ok(Expr { kind: ExprKind::Query(query), first: at, end: self.position() });
        }
        self.advance();
        let mut inside = vec![self.climb(level::LOWEST)?];
        while self.take(b',') {
            inside.push(self.climb(level::LOWEST)?);
        }
        self.expect(b')')?;
        let kind = match inside.len() {
            1 => inside.remove(0).kind,
            _ => ExprKind::Row(inside),
        };
        Ok(Expr { kind, first: at, end: self.position() })
    }

    /// `{d '…'}`.
    fn braces(&mut self, at: At) -> Parsed<Expr> {
        self.advance();
        self.advance();
        let inside = self.climb(level::LOWEST)?;
        self.expect(b'}')?;
        Ok(Expr { kind: ExprKind::Other(vec![inside]), first: at, end: self.position() })
    }

    /// Whether `(` and the beginning of a query come next.
    pub(super) fn query_follows(&self) -> bool {
        let begins: &[&[u8]] = &[b"SELECT", b"WITH", b"TABLE"];
        self.at().is_some_and(|at| {
            self.text().is(at, b'(') && {
                let values = self.text().is_word(at + 1, b"VALUES") && self.text().is_word(at + 2, b"ROW");
                values || self.text().is_one_of(at + 1, begins)
            }
        })
    }

    pub(super) fn query_in_parentheses(&mut self) -> Parsed<Query> {
        self.expect(b'(')?;
        let query = self.parser.parse_query()?;
        self.expect(b')')?;
        lower(self.ours, *query)
    }

    fn word(&mut self, at: At, least: u8) -> Parsed<Expr> {
        let is = |word: &[u8]| self.text().is_word(at, word);
        let calls = self.text().is(at + 1, b'(');
        if is(b"NOT") {
            // Below this level it is no beginning; under HIGH_NOT_PRECEDENCE it is `!`.
            return match (self.ours.not_binds_tightly, least <= level::NOT) {
                (true, _) => Err(self.ours.mode()),
                (false, true) => self.unary(at, level::NOT),
                (false, false) => Err(fail("NOT here")),
            };
        }
        if is(b"BINARY") {
            return self.unary(at, level::TIGHT);
        }
        if is(b"EXISTS") {
            self.advance();
            let query = Box::new(self.query_in_parentheses()?);
            return Ok(Expr { kind: ExprKind::Exists(query), first: at, end: self.position() });
        }
        if is(b"CASE") {
            return self.case(at);
        }
        if is(b"INTERVAL") {
            return self.interval_at_start(at);
        }
        if is(b"MATCH") && calls {
            return self.matches(at);
        }
        if is(b"POSITION") && calls {
            return self.position_in(at);
        }
        if is(b"ROW") && calls {
            self.advance();
            let row = self.parentheses(at)?;
            return Ok(match row.kind {
                ExprKind::Row(_) => row,
                kind => Expr { kind: ExprKind::Other(vec![Expr { kind, ..row }]), ..row },
            });
        }
        let typed = is(b"DATE") || is(b"TIME") || is(b"TIMESTAMP");
        if typed && self.text().kind(at + 1) == Kind::String {
            self.advance();
            return self.string(at + 1, Some(at));
        }
        if calls {
            return self.name(at);
        }
        if is(b"NULL") {
            return self.leaf(ExprKind::Null);
        }
        if is(b"DEFAULT") {
            return self.leaf(ExprKind::Default);
        }
        if self.text().is_one_of(at, VALUES) {
            return self.leaf(ExprKind::Other(Vec::new()));
        }
        if self.text().is_reserved(at) {
            return Err(fail("a reserved word here"));
        }
        self.name(at)
    }

    /// A column, `column->'$.x'`, or a call.
    fn name(&mut self, at: At) -> Parsed<Expr> {
        let mut names = vec![at];
        self.advance();
        while self.next_is(b'.') {
            self.advance();
            let name = self.need()?;
            if !matches!(self.text().kind(name), Kind::Name | Kind::QuotedName | Kind::Word) {
                return Err(fail("a name was expected"));
            }
            names.push(name);
            self.advance();
        }
        let path = Path::new(&names).ok_or_else(|| fail("a name of more than three parts"))?;
        if self.next_is(b'(') {
            return self.call(path, at);
        }
        let column = Expr { kind: ExprKind::Column(path), first: at, end: self.position() };
        let arrow = self.at().filter(|at| matches!(self.text().bytes(*at), b"->" | b"->>"));
        if arrow.is_none() {
            return Ok(column);
        }
        self.advance();
        let json_path = self.need()?;
        if self.text().kind(json_path) != Kind::String {
            return Err(fail("a path was expected"));
        }
        self.advance();
        Ok(self.other(vec![column]))
    }

    fn case(&mut self, at: At) -> Parsed<Expr> {
        self.advance();
        let mut parts = Vec::new();
        if !self.next_is_word(b"WHEN") {
            parts.push(self.climb(level::LOWEST)?);
        }
        while self.take_word(b"WHEN") {
            parts.push(self.climb(level::LOWEST)?);
            self.expect_word(b"THEN")?;
            parts.push(self.climb(level::LOWEST)?);
        }
        if self.take_word(b"ELSE") {
            parts.push(self.climb(level::LOWEST)?);
        }
        self.expect_word(b"END")?;
        Ok(Expr { kind: ExprKind::Other(parts), first: at, end: self.position() })
    }

    /// `INTERVAL 1 DAY` behind `+` or `-`, or as an argument.
    pub(super) fn interval(&mut self) -> Parsed<Expr> {
        let first = self.need()?;
        self.expect_word(b"INTERVAL")?;
        let value = self.climb(level::LOWEST)?;
        self.unit()?;
        Ok(Expr { kind: ExprKind::Other(vec![value]), first, end: self.position() })
    }

    fn unit(&mut self) -> Parsed<()> {
        let at = self.need()?;
        if !self.text().is_one_of(at, UNITS) {
            return Err(fail("a unit was expected"));
        }
        self.advance();
        Ok(())
    }

    /// `INTERVAL(a, b)`, or `INTERVAL 1 DAY` where an expression begins: before `+`, or as an argument.
    fn interval_at_start(&mut self, at: At) -> Parsed<Expr> {
        self.advance();
        let value = self.climb(level::LOWEST)?;
        if matches!(value.kind, ExprKind::Row(_)) {
            return Ok(Expr { kind: ExprKind::Other(vec![value]), first: at, end: self.position() });
        }
        self.unit()?;
        let mut parts = vec![value];
        if self.take(b'+') {
            parts.push(self.climb(level::SIGN)?);
        }
        Ok(Expr { kind: ExprKind::Other(parts), first: at, end: self.position() })
    }
}
