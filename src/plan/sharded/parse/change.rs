//! UPDATE, DELETE, INSERT and REPLACE. sqlparser reads the tables and queries in them, the rest is read here.
//!
//! Owns: these statements' clauses in both dialects, but not the rows of VALUES (`rows`). Does not know: names.
//! Invariant: that of `expression`.

use sqlparser::ast;
use sqlparser::parser::Parser;

use super::dialect::fail;
use super::expression::{Climb, Parsed};
use super::lower::{common, items, lower, path, sources};
use super::statement::{Assignment, Delete, Insert, Rows, Statement, Update};
use super::text::At;
use super::tree::{Common, Expr, Item, Path, Source};
use crate::sql::lexer::Kind;

impl Climb<'_, '_, '_> {
    /// The statement at the start of the text; all of it is read.
    pub(super) fn statement(&mut self) -> Parsed<Statement> {
        let (recursive, with) = self.with()?;
        let statement = if self.take_word(b"UPDATE") {
            Statement::Update(self.update(recursive, with)?)
        } else if self.take_word(b"DELETE") {
            Statement::Delete(self.delete(recursive, with)?)
        } else if with.is_empty() && (self.next_is_word(b"INSERT") || self.next_is_word(b"REPLACE")) {
            Statement::Insert(self.insert()?)
        } else {
            let query = self.parser.parse_query()?;
            let mut query = lower(self.ours, *query)?;
            if !with.is_empty() {
                if !query.with.is_empty() {
                    return Err(fail("WITH twice"));
                }
                (query.with, query.recursive) = (with, recursive);
            }
            Statement::Query(query)
        };
        match self.at() {
            None => Ok(statement),
            Some(_) => Err(fail("something follows the statement")),
        }
    }

    fn with(&mut self) -> Parsed<(bool, Vec<Common>)> {
        if !self.take_word(b"WITH") {
            return Ok((false, Vec::new()));
        }
        let recursive = self.take_word(b"RECURSIVE");
        let ctes = self.parser.parse_comma_separated(Parser::parse_cte)?;
        let ctes = ctes.into_iter().map(|cte| common(self.ours, cte));
        Ok((recursive, ctes.collect::<Parsed<_>>()?))
    }

    fn update(&mut self, recursive: bool, with: Vec<Common>) -> Parsed<Update> {
        self.skip_words(&[b"LOW_PRIORITY", b"IGNORE"]);
        let tables = self.tables()?;
        self.expect_word(b"SET")?;
        let sets = self.assignments()?;
        let (filter, order, limited) = self.which_rows()?;
        Ok(Update { with, recursive, tables, sets, filter, order, limited })
    }

    fn delete(&mut self, recursive: bool, with: Vec<Common>) -> Parsed<Delete> {
        self.skip_words(&[b"LOW_PRIORITY", b"QUICK", b"IGNORE"]);
        let from_first = self.take_word(b"FROM");
        let start = self.parser.get_current_index();
        let mut targets = Vec::new();
        let several = self.targets(&mut targets)? && {
            if from_first { self.take_word(b"USING") } else { self.take_word(b"FROM") }
        };
        if !several {
            if !from_first {
                return Err(fail("DELETE of what?"));
            }
            targets.clear();
            while self.parser.get_current_index() > start {
                self.parser.prev_token();
            }
        }
        let tables = self.tables()?;
        let (filter, order, limited) = self.which_rows()?;
        let returning = self.returning()?;
        Ok(Delete { with, recursive, targets, tables, filter, order, limited, returning })
    }

    /// `t1, db.t2.*`; false where that is not what stands there.
    fn targets(&mut self, into: &mut Vec<Path>) -> Parsed<bool> {
        loop {
            let mut names = Vec::new();
            loop {
                let at = self.need()?;
                if self.text().is(at, b'*') && !names.is_empty() {
                    self.advance();
                    break;
                }
                if !self.text().is_name(at) {
                    return Ok(false);
                }
                names.push(at);
                self.advance();
                if !self.take(b'.') {
                    break;
                }
            }
            let Some(target) = Path::new(&names) else { return Ok(false) };
            into.push(target);
            if !self.take(b',') {
                return Ok(true);
            }
        }
    }

    fn insert(&mut self) -> Parsed<Insert> {
        let replace = self.next_is_word(b"REPLACE");
        self.advance();
        self.skip_words(&[b"LOW_PRIORITY", b"DELAYED", b"HIGH_PRIORITY", b"IGNORE"]);
        self.take_word(b"INTO");
        let table = path(&self.parser.parse_object_name(false)?)?;
        if self.take_word(b"PARTITION") {
            self.expect(b'(')?;
            while !self.take(b')') {
                self.need()?;
                self.advance();
            }
        }
        let into_end = self.need()?.saturating_sub(1);
        let mut columns = None;
        if self.next_is(b'(') && !self.query_in_any_parentheses() {
            columns = Some(self.columns()?);
        }
        let rows = if self.take_word(b"SET") {
            Rows::Set(self.assignments()?)
        } else if let Some(rows) = self.ours.rows.clone() {
            // The rows themselves were not fed.
            if !self.take_word(b"VALUE") {
                self.expect_word(b"VALUES")?;
            }
            Rows::Values(rows)
        } else {
            Rows::Query(Box::new(lower(self.ours, *self.parser.parse_query()?)?))
        };
        let row_alias = self.row_alias()?;
        let mut on_duplicate = Vec::new();
        if self.take_word(b"ON") {
            for word in [&b"DUPLICATE"[..], b"KEY", b"UPDATE"] {
                self.expect_word(word)?;
            }
            on_duplicate = self.assignments()?;
        }
        let returning = self.returning()?;
        Ok(Insert { replace, table, into_end, columns, rows, row_alias, on_duplicate, returning })
    }

    fn query_in_any_parentheses(&self) -> bool {
        let Some(mut at) = self.at() else { return false };
        while self.text().is(at, b'(') {
            at += 1;
        }
        self.text().is_one_of(at, &[b"SELECT", b"WITH", b"TABLE", b"VALUES"])
    }

    /// `(a, t.b)`.
    fn columns(&mut self) -> Parsed<Vec<Path>> {
        self.expect(b'(')?;
        let mut columns = Vec::new();
        while !self.take(b')') {
            columns.push(path(&self.parser.parse_object_name(false)?)?);
            if !self.take(b',') && !self.next_is(b')') {
                return Err(fail("a list of columns"));
            }
        }
        Ok(columns)
    }

    /// `AS new`, `AS new(a, b)`.
    fn row_alias(&mut self) -> Parsed<Option<At>> {
        if !self.take_word(b"AS") {
            return Ok(None);
        }
        let alias = self.need()?;
        self.advance();
        if self.next_is(b'(') {
            // New names for the row's columns: what `new.x` is would have to be looked up.
            return Err(fail("an alias with columns"));
        }
        Ok(Some(alias))
    }

    fn assignments(&mut self) -> Parsed<Vec<Assignment>> {
        let mut list = Vec::new();
        loop {
            let column = path(&self.parser.parse_object_name(false)?)?;
            let at = self.need()?;
            if !self.text().is(at, b'=') && self.text().kind(at) != Kind::Assign {
                return Err(fail("an assignment"));
            }
            self.advance();
            list.push(Assignment { column, value: self.expression()? });
            if !self.take(b',') {
                return Ok(list);
            }
        }
    }

    fn tables(&mut self) -> Parsed<Vec<Source>> {
        let tables = self.parser.parse_comma_separated(Parser::parse_table_and_joins)?;
        sources(self.ours, tables)
    }

    /// WHERE, ORDER BY, LIMIT.
    fn which_rows(&mut self) -> Parsed<(Option<Expr>, Vec<Expr>, bool)> {
        let filter = if self.take_word(b"WHERE") { Some(self.expression()?) } else { None };
        let mut order = Vec::new();
        if self.take_word(b"ORDER") {
            self.expect_word(b"BY")?;
            loop {
                order.push(self.expression()?);
                self.skip_words(&[b"ASC", b"DESC"]);
                if !self.take(b',') {
                    break;
                }
            }
        }
        let limited = self.take_word(b"LIMIT");
        if limited {
            self.expression()?;
        }
        Ok((filter, order, limited))
    }

    /// MariaDB's RETURNING.
    fn returning(&mut self) -> Parsed<Option<Vec<Item>>> {
        if !self.take_word(b"RETURNING") {
            return Ok(None);
        }
        let list: Vec<ast::SelectItem> = self.parser.parse_projection()?;
        items(self.ours, list).map(Some)
    }

    fn skip_words(&mut self, words: &[&[u8]]) {
        while self.at().is_some_and(|at| self.text().is_one_of(at, words)) {
            self.advance();
        }
    }
}
