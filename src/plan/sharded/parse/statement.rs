//! The statements that can be planned.
//!
//! Owns: their shapes. Does not know: names' meaning, keys. Invariant: that of `tree`.

use std::ops::Range;

use super::text::At;
use super::tree::{Common, Expr, Item, Path, Query, Source};

/// `column = value`.
#[derive(Clone, PartialEq, Debug)]
pub struct Assignment {
    /// The column.
    pub column: Path,
    /// The value.
    pub value: Expr,
}

/// A statement that can be planned.
#[derive(Clone, PartialEq, Debug)]
pub enum Statement {
    /// SELECT and its kin.
    Query(Query),
    /// UPDATE.
    Update(Update),
    /// DELETE.
    Delete(Delete),
    /// INSERT, REPLACE.
    Insert(Insert),
}

/// UPDATE of one table or several.
#[derive(Clone, PartialEq, Debug)]
pub struct Update {
    /// WITH before it.
    pub with: Vec<Common>,
    /// WITH RECURSIVE.
    pub recursive: bool,
    /// The tables.
    pub tables: Vec<Source>,
    /// SET.
    pub sets: Vec<Assignment>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// ORDER BY.
    pub order: Vec<Expr>,
    /// LIMIT.
    pub limited: bool,
}

/// DELETE from one table or several.
#[derive(Clone, PartialEq, Debug)]
pub struct Delete {
    /// WITH before it.
    pub with: Vec<Common>,
    /// WITH RECURSIVE.
    pub recursive: bool,
    /// The tables that lose rows, in the forms for several tables; empty in the form for one.
    pub targets: Vec<Path>,
    /// The tables.
    pub tables: Vec<Source>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// ORDER BY.
    pub order: Vec<Expr>,
    /// LIMIT.
    pub limited: bool,
    /// MariaDB's RETURNING: its expressions.
    pub returning: Option<Vec<Item>>,
}

/// INSERT or REPLACE.
#[derive(Clone, PartialEq, Debug)]
pub struct Insert {
    /// REPLACE.
    pub replace: bool,
    /// The table.
    pub table: Path,
    /// The last token of what names it, PARTITION included.
    pub into_end: At,
    /// The columns, where they are written.
    pub columns: Option<Vec<Path>>,
    /// What is inserted.
    pub rows: Rows,
    /// `AS new`, `AS new(a, b)` after VALUES: the name.
    pub row_alias: Option<At>,
    /// ON DUPLICATE KEY UPDATE.
    pub on_duplicate: Vec<Assignment>,
    /// MariaDB's RETURNING: its expressions.
    pub returning: Option<Vec<Item>>,
}

/// What an INSERT inserts.
#[derive(Clone, PartialEq, Debug)]
pub enum Rows {
    /// VALUES: the tokens of all rows.
    Values(Range<At>),
    /// SET.
    Set(Vec<Assignment>),
    /// SELECT, TABLE, WITH, VALUES ROW().
    Query(Box<Query>),
}
