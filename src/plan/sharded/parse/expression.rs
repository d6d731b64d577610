//! Expressions by MySQL's precedences, as both servers' grammars have them.
//!
//! Owns: what binds how tightly. A scenario proves it: servers give the same value for random expressions and for the same ones with
//! the parentheses that this tree implies. Does not know: names' meaning.
//! Invariant: what is not surely understood is an error, never a guess; depth is bounded.

use sqlparser::parser::{Parser, ParserError};

use super::dialect::{Ours, fail};
use super::feed::number;
use super::text::{At, Text};
use super::tree::{Comparison, Expr, ExprKind};
use crate::sql::lexer::Kind;

/// Expressions inside expressions, at most.
const DEPTH_MAX: u32 = 64;

/// How tightly operators bind, from the loosest.
pub(super) mod level {
    pub const LOWEST: u8 = 0;
    pub const OR: u8 = 10;
    pub const XOR: u8 = 20;
    pub const AND: u8 = 30;
    pub const NOT: u8 = 40;
    pub const COMPARISON: u8 = 50;
    pub const PREDICATE: u8 = 60;
    pub const BIT_OR: u8 = 70;
    pub const BIT_AND: u8 = 80;
    pub const SHIFT: u8 = 90;
    pub const SUM: u8 = 100;
    pub const PRODUCT: u8 = 110;
    pub const BIT_XOR: u8 = 120;
    pub const SIGN: u8 = 130;
    pub const TIGHT: u8 = 140;
}

/// An operator between two expressions, or behind one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Infix {
    Or,
    And,
    /// Anything without a shape of its own.
    Plain,
    Compare(Comparison),
    Is,
    /// `[NOT] IN`, `[NOT] BETWEEN`, `[NOT] LIKE`, `[NOT] REGEXP`, MEMBER OF, SOUNDS LIKE; `negated`.
    In(bool),
    Between(bool),
    Like,
    Regexp,
    Member,
    Collate,
}

/// Climbs precedences over sqlparser's tokens.
pub(super) struct Climb<'o, 'p, 'd> {
    pub(super) ours: &'o Ours,
    pub(super) parser: &'p mut Parser<'d>,
}

pub(super) type Parsed<T> = Result<T, ParserError>;

impl Climb<'_, '_, '_> {
    /// A whole expression.
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.climb(level::LOWEST)
    }

    /// An expression whose operators bind at least as tightly as `least`.
    pub(super) fn climb(&mut self, least: u8) -> Parsed<Expr> {
        self.ours.spend()?;
        let depth = self.ours.depth.get();
        if depth >= DEPTH_MAX {
            return Err(fail("nested too deeply"));
        }
        self.ours.depth.set(depth + 1);
        let climbed = self.climb_inside(least);
        self.ours.depth.set(depth);
        climbed
    }

    fn climb_inside(&mut self, least: u8) -> Parsed<Expr> {
        let mut left = self.prefix(least)?;
        // The level of the operator that made `left`, if this loop did: a chain of equals is one flat list.
        let mut made = None;
        let mut wrapped = 0;
        while let Some((infix, level, tokens)) = self.infix()? {
            if level < least {
                break;
            }
            // `a LIKE b IN (c)`: an error to MySQL; MariaDB does not bind all of them from the left. `a IN (b) + c`: an error too, but
            // for `@x := a IN (b) + c`, where MySQL adds to the assignment.
            if made.is_some_and(|made| level > made || level == level::PREDICATE && level == made) {
                return Err(fail("an operator behind a whole predicate"));
            }
            // `x IS NULL IS NULL …` has no flat form.
            let flat =
                matches!(infix, Infix::And | Infix::Or | Infix::Plain | Infix::Compare(_) | Infix::Regexp);
            wrapped += u32::from(!(flat && made.is_none_or(|made| made >= level)));
            if wrapped > DEPTH_MAX {
                return Err(fail("chained too long"));
            }
            (0..tokens).for_each(|_| self.advance());
            left = self.apply(left, infix, level, made == Some(level))?;
            made = Some(level);
        }
        Ok(left)
    }

    /// The operator that comes next: its level, and how many tokens it has.
    fn infix(&self) -> Parsed<Option<(Infix, u8, u8)>> {
        use level::*;
        let text = self.text();
        let Some(at) = self.at() else { return Ok(None) };
        let compare = |comparison| Some((Infix::Compare(comparison), COMPARISON, 1));
        let plain = |level| Some((Infix::Plain, level, 1));
        Ok(match text.kind(at) {
            Kind::Punct(b'=') => compare(Comparison::Equal),
            Kind::Punct(b'<') => compare(Comparison::Less),
            Kind::Punct(b'>') => compare(Comparison::Greater),
            Kind::Punct(b'|') => plain(BIT_OR),
            Kind::Punct(b'&') => plain(BIT_AND),
            Kind::Punct(b'+' | b'-') => plain(SUM),
            Kind::Punct(b'*' | b'/' | b'%') => plain(PRODUCT),
            Kind::Punct(b'^') => plain(BIT_XOR),
            Kind::Operator => match text.bytes(at) {
                b"<=>" => compare(Comparison::NullSafe),
                b"<=" => compare(Comparison::LessOrEqual),
                b">=" => compare(Comparison::GreaterOrEqual),
                b"<>" | b"!=" => compare(Comparison::NotEqual),
                b"<<" | b">>" => plain(SHIFT),
                b"&&" => Some((Infix::And, AND, 1)),
                b"||" if self.ours.pipes_join => return Err(self.ours.mode()),
                b"||" => Some((Infix::Or, OR, 1)),
                _ => return Err(fail("an operator behind an expression")),
            },
            Kind::Word => self.infix_word(at),
            _ => None,
        })
    }

    fn infix_word(&self, at: At) -> Option<(Infix, u8, u8)> {
        use level::*;
        let text = self.text();
        let negated = text.is_word(at, b"NOT");
        let (word, tokens) = if negated { (at + 1, 2) } else { (at, 1) };
        let is = |what: &[u8]| text.is_word(word, what);
        let predicate = if is(b"IN") {
            Some(Infix::In(negated))
        } else if is(b"BETWEEN") {
            Some(Infix::Between(negated))
        } else if is(b"LIKE") {
            Some(Infix::Like)
        } else if is(b"REGEXP") || is(b"RLIKE") {
            Some(Infix::Regexp)
        } else {
            None
        };
        if let Some(infix) = predicate {
            return Some((infix, PREDICATE, tokens));
        }
        if negated {
            return None;
        }
        if is(b"AND") {
            Some((Infix::And, AND, 1))
        } else if is(b"OR") {
            Some((Infix::Or, OR, 1))
        } else if is(b"XOR") {
            Some((Infix::Plain, XOR, 1))
        } else if is(b"IS") {
            Some((Infix::Is, COMPARISON, 1))
        } else if is(b"DIV") || is(b"MOD") {
            Some((Infix::Plain, PRODUCT, 1))
        } else if is(b"COLLATE") {
            Some((Infix::Collate, TIGHT, 1))
        } else if is(b"SOUNDS") && text.is_word(at + 1, b"LIKE") {
            Some((Infix::Regexp, PREDICATE, 2))
        } else if is(b"MEMBER") && text.is_word(at + 1, b"OF") {
            Some((Infix::Member, PREDICATE, 2))
        } else if is(b"MEMBER") && text.is(at + 1, b'(') {
            Some((Infix::Member, PREDICATE, 1))
        } else {
            None
        }
    }

    /// `left` with the operator that has just been read and what follows it; `chained` when `left` was made by the same level.
    fn apply(&mut self, left: Expr, infix: Infix, level: u8, chained: bool) -> Parsed<Expr> {
        match infix {
            Infix::And | Infix::Or => {
                let right = self.climb(level + 1)?;
                let kind = if infix == Infix::And { ExprKind::And } else { ExprKind::Or };
                Ok(join(left, right, chained, kind))
            }
            Infix::Plain if level == level::SUM && self.next_is_word(b"INTERVAL") => {
                let right = self.interval()?;
                Ok(join(left, right, chained, ExprKind::Other))
            }
            Infix::Plain | Infix::Regexp => {
                let right = self.climb(level + 1)?;
                Ok(join(left, right, chained, ExprKind::Other))
            }
            Infix::Compare(comparison) => self.compare(left, comparison, chained),
            Infix::Is => self.is(left),
            Infix::In(negated) => self.in_list(left, negated),
            Infix::Between(negated) => {
                let low = self.climb(level + 1)?;
                self.expect_word(b"AND")?;
                let high = self.climb(level + 1)?;
                let (first, end) = (left.first, high.end);
                let operands = Box::new([left, low, high]);
                Ok(Expr { kind: ExprKind::Between { negated, operands }, first, end })
            }
            Infix::Like => {
                // MySQL takes a pattern without operators only.
                let mut children = vec![left, self.climb(level::SIGN)?];
                if self.next_is_word(b"ESCAPE") {
                    self.advance();
                    children.push(self.climb(level::SIGN)?);
                }
                Ok(self.other(children))
            }
            Infix::Member => {
                self.expect(b'(')?;
                let list = self.climb(level::LOWEST)?;
                self.expect(b')')?;
                Ok(self.other(vec![left, list]))
            }
            Infix::Collate => {
                self.advance();
                Ok(self.other(vec![left]))
            }
        }
    }

    fn compare(&mut self, left: Expr, comparison: Comparison, chained: bool) -> Parsed<Expr> {
        let quantified = self.at().is_some_and(|at| {
            self.text().is_one_of(at, &[b"ALL", b"ANY", b"SOME"]) && self.text().is(at + 1, b'(')
        });
        if quantified {
            self.advance();
            let query = self.prefix(level::SIGN)?;
            return Ok(self.other(vec![left, query]));
        }
        let right = self.climb(level::COMPARISON + 1)?;
        if chained {
            return Ok(join(left, right, true, ExprKind::Other));
        }
        let (first, end) = (left.first, right.end);
        Ok(Expr { kind: ExprKind::Compare(comparison, Box::new((left, right))), first, end })
    }

    /// `IS [NOT] NULL` and its kin; IS is read.
    fn is(&mut self, left: Expr) -> Parsed<Expr> {
        if self.next_is_word(b"NOT") {
            self.advance();
        }
        let at = self.need()?;
        if !self.text().is_one_of(at, &[b"NULL", b"TRUE", b"FALSE", b"UNKNOWN"]) {
            return Err(fail("IS what?"));
        }
        let of_truth = !self.next_is_word(b"NULL");
        self.advance();
        // No comparison can follow a test of truth; behind `@x := a IS TRUE` one would compare the variable.
        if of_truth && self.infix()?.is_some_and(|(_, level, _)| level >= level::COMPARISON) {
            return Err(fail("a comparison behind IS TRUE"));
        }
        Ok(self.other(vec![left]))
    }

    fn in_list(&mut self, left: Expr, negated: bool) -> Parsed<Expr> {
        let first = left.first;
        if self.query_follows() {
            let query = Box::new(self.query_in_parentheses()?);
            let kind = ExprKind::InQuery { negated, subject: Box::new(left), query };
            return Ok(Expr { kind, first, end: self.position() });
        }
        self.expect(b'(')?;
        let mut operands = vec![left];
        loop {
            operands.push(self.climb(level::LOWEST)?);
            if !self.take(b',') {
                break;
            }
        }
        self.expect(b')')?;
        Ok(Expr { kind: ExprKind::In { negated, operands }, first, end: self.position() })
    }

    // What follows reads tokens.

    pub(super) fn text(&self) -> &Text {
        &self.ours.text
    }

    /// The number of the next token.
    pub(super) fn at(&self) -> Option<At> {
        number(self.parser.peek_token_ref().span)
    }

    pub(super) fn need(&self) -> Parsed<At> {
        self.at().ok_or_else(|| fail("the text ends"))
    }

    /// The number after that of the token that was read last.
    pub(super) fn position(&self) -> At {
        number(self.parser.get_current_token().span).map_or(0, |at| at + 1)
    }

    pub(super) fn advance(&mut self) {
        self.parser.advance_token();
    }

    pub(super) fn next_is(&self, byte: u8) -> bool {
        self.at().is_some_and(|at| self.text().is(at, byte))
    }

    pub(super) fn next_is_word(&self, word: &[u8]) -> bool {
        self.at().is_some_and(|at| self.text().is_word(at, word))
    }

    pub(super) fn take(&mut self, byte: u8) -> bool {
        let is = self.next_is(byte);
        if is {
            self.advance();
        }
        is
    }

    pub(super) fn expect(&mut self, byte: u8) -> Parsed<()> {
        if self.take(byte) { Ok(()) } else { Err(fail("another mark was expected")) }
    }

    pub(super) fn take_word(&mut self, word: &[u8]) -> bool {
        let is = self.next_is_word(word);
        if is {
            self.advance();
        }
        is
    }

    pub(super) fn expect_word(&mut self, word: &[u8]) -> Parsed<()> {
        if self.take_word(word) { Ok(()) } else { Err(fail("another word was expected")) }
    }

    /// Something without a shape, from its first child to the token that was read last.
    pub(super) fn other(&self, children: Vec<Expr>) -> Expr {
        let first = children.first().map_or(0, |child| child.first);
        Expr { kind: ExprKind::Other(children), first, end: self.position() }
    }
}

/// Two operands in one list; `left` is the list already when it was `chained`.
fn join(left: Expr, right: Expr, chained: bool, list: fn(Vec<Expr>) -> ExprKind) -> Expr {
    let (first, end) = (left.first, right.end);
    let mut operands = match left.kind {
        ExprKind::And(operands) | ExprKind::Or(operands) | ExprKind::Other(operands) if chained => operands,
        ExprKind::Compare(_, operands) if chained => {
            let (one, other) = *operands;
            vec![one, other]
        }
        kind => vec![Expr { kind, ..left }],
    };
    operands.push(right);
    Expr { kind: list(operands), first, end }
}
