//! Our dialect for sqlparser: it parses the frames of queries, we parse every expression.
//!
//! Owns: where the two meet. sqlparser's own expressions bind MySQL's operators wrongly (`id=5 && a=1`, XOR, `^`, BINARY, LIKE BINARY), so
//! that a key would be lost or misread; they are never reached. Does not know: what is in an expression.
//! Invariant: each expression in sqlparser's tree is the number of one of ours; work and depth are bounded.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use sqlparser::ast::{Expr as Foreign, Value, ValueWithSpan};
use sqlparser::dialect::{Dialect, MySqlDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Span;

use super::expression::Climb;
use super::feed::number;
use super::text::{At, Text};
use super::tree::Expr;

/// Expressions that are parsed for each token of a statement, at most: sqlparser tries some forms twice.
const TRIES_PER_TOKEN: u32 = 8;

/// The dialect of one statement.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) text: Text,
    /// The rows of an INSERT, which sqlparser is not given.
    pub(super) rows: Option<Range<At>>,
    /// `||` joins texts: PIPES_AS_CONCAT.
    pub(super) pipes_join: bool,
    /// NOT binds like `!`: HIGH_NOT_PRECEDENCE.
    pub(super) not_binds_tightly: bool,
    /// An operator was met that sql_mode gives another meaning.
    pub(super) mode_matters: Cell<bool>,
    expressions: RefCell<Vec<Option<Expr>>>,
    tries: Cell<u32>,
    pub(super) depth: Cell<u32>,
}

impl Ours {
    pub(super) fn new(
        text: Text,
        rows: Option<Range<At>>,
        pipes_join: bool,
        not_binds_tightly: bool,
    ) -> Self {
        let tries = text.len().saturating_mul(TRIES_PER_TOKEN).saturating_add(64);
        Self {
            text,
            rows,
            pipes_join,
            not_binds_tightly,
            mode_matters: Cell::new(false),
            expressions: RefCell::default(),
            tries: Cell::new(tries),
            depth: Cell::new(0),
        }
    }

    /// One expression is about to be parsed.
    pub(super) fn spend(&self) -> Result<(), ParserError> {
        let left = self.tries.get().checked_sub(1).ok_or_else(|| fail("too much work"))?;
        self.tries.set(left);
        Ok(())
    }

    /// An expression as sqlparser carries it.
    fn keep(&self, expr: Expr) -> Foreign {
        let mut kept = self.expressions.borrow_mut();
        kept.push(Some(expr));
        let number = (kept.len() - 1).to_string();
        Foreign::Value(ValueWithSpan { value: Value::Number(number, false), span: Span::empty() })
    }

    /// The expression behind sqlparser's.
    pub(super) fn take(&self, foreign: &Foreign) -> Result<Expr, ParserError> {
        let Foreign::Value(ValueWithSpan { value: Value::Number(number, _), .. }) = foreign else {
            return Err(fail("an expression that we have not parsed"));
        };
        let taken =
            number.parse().ok().and_then(|at: usize| self.expressions.borrow_mut().get_mut(at)?.take());
        taken.ok_or_else(|| fail("an expression that was taken before"))
    }
}

impl Ours {
    /// The error for such an operator.
    pub(super) fn mode(&self) -> ParserError {
        self.mode_matters.set(true);
        fail("sql_mode gives this another meaning")
    }
}

/// An error; its text is for tests, clients read the reason.
pub(super) fn fail(what: &str) -> ParserError {
    ParserError::ParserError(what.to_owned())
}

impl Dialect for Ours {
    fn dialect(&self) -> std::any::TypeId {
        std::any::TypeId::of::<MySqlDialect>()
    }

    fn is_identifier_start(&self, _: char) -> bool {
        false
    }

    fn is_identifier_part(&self, _: char) -> bool {
        false
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Foreign, ParserError>> {
        Some(Climb { ours: self, parser }.expression().map(|expr| self.keep(expr)))
    }

    fn parse_infix(&self, _: &mut Parser, _: &Foreign, _: u8) -> Option<Result<Foreign, ParserError>> {
        Some(Err(fail("an operator that we have not parsed")))
    }

    /// All operators have been read by `parse_prefix`.
    fn get_next_precedence(&self, _: &Parser) -> Option<Result<u8, ParserError>> {
        Some(Ok(0))
    }

    fn is_select_item_alias(&self, _: bool, _: &Keyword, parser: &mut Parser) -> bool {
        self.is_alias(parser)
    }

    fn is_table_factor_alias(&self, _: bool, _: &Keyword, parser: &mut Parser) -> bool {
        self.is_alias(parser)
    }

    fn supports_limit_comma(&self) -> bool {
        true
    }

    fn supports_table_hints(&self) -> bool {
        true
    }

    fn supports_select_modifiers(&self) -> bool {
        true
    }

    fn supports_group_by_with_modifier(&self) -> bool {
        true
    }

    fn supports_cross_join_constraint(&self) -> bool {
        true
    }

    fn supports_left_associative_joins_without_parens(&self) -> bool {
        false
    }

    fn supports_parens_around_table_factor(&self) -> bool {
        true
    }
}

impl Ours {
    /// Whether the token that was read last may name a column or a table: an unquoted reserved word cannot.
    fn is_alias(&self, parser: &Parser) -> bool {
        number(parser.get_current_token().span).is_some_and(|at| self.text.is_name(at))
    }
}
