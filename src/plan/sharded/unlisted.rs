//! INSERT and REPLACE without a list of columns.
//!
//! Owns: where the list belongs, and the text with it, which is planned as any other is. Does not know: which columns there are, or who is asked
//! for them. Invariant: a shard gets the list with the rows. So each value goes into the column by which its row was placed, or the
//! server refuses it, whatever has become of the table meanwhile.

use std::borrow::Cow;

use super::edits::{Edit, NameEdit, Piece, Place, text_for};
use super::parse::rows::rows;
use super::parse::statement::{Insert, Rows};
use super::parse::text::{At, Text};
use super::refusal::{Reason, Refusal, shown};
use crate::shard::Database;
use crate::sql::Lexing;

/// An INSERT that names no columns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unlisted {
    /// The database, by its logical name.
    pub database: String,
    /// The keyspace, by its place in the database.
    pub keyspace: usize,
    /// The table, by its logical name.
    pub table: String,
    /// The token behind which the list is put.
    behind: At,
}

impl Unlisted {
    /// Of an INSERT that gives its values by their order alone; `None` for others. A row without values needs no columns.
    pub(super) fn of(text: &Text, insert: &Insert, database: &Database, keyspace: usize) -> Option<Self> {
        let by_order = match &insert.rows {
            Rows::Values(all) => rows(text, all.clone()).any(|row| row.end > row.start + 2),
            Rows::Query(_) => true,
            Rows::Set(_) => false,
        };
        if insert.columns.is_some() || !by_order {
            return None;
        }
        let table = String::from_utf8_lossy(&text.name(insert.table.last())).into_owned();
        Some(Self { database: database.name.clone(), keyspace, table, behind: insert.into_end })
    }

    /// Of a statement whose list of columns would stand behind this token.
    pub(super) fn behind(database: &Database, keyspace: usize, table: String, behind: At) -> Self {
        Self { database: database.name.clone(), keyspace, table, behind }
    }

    /// The text with these columns.
    pub fn write(&self, sql: &[u8], lexing: &Lexing, columns: &[String]) -> Vec<u8> {
        let names: Vec<_> = columns.iter().map(|name| format!("`{}`", name.replace('`', "``"))).collect();
        let list = Piece::Text(Cow::Owned(format!(" ({})", names.join(", "))));
        let edits = [NameEdit { token: self.behind, edit: Edit::After(vec![list]) }];
        let nowhere = Place { database: b"", schema: b"", suffix: b"" };
        text_for(sql, lexing, &edits, &nowhere).unwrap_or_else(|| sql.to_vec())
    }

    /// Where nobody can be asked.
    pub fn refusal(&self) -> Refusal {
        let table = shown(self.table.as_bytes());
        Refusal::new(Reason::ColumnsUnknown, format!("Rows go into {table} without a list of columns"))
    }
}
