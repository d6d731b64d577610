//! The journal's entries as they are read.
//!
//! Owns: from rows to entries. Does not know: who holds one.

use std::collections::HashMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

use super::place::within;
use super::{BEGAN, Entry, Journal, RUNNING, Site, Trouble, Word};
use crate::topology::probe::not_understood;

impl Journal {
    /// An entry.
    ///
    /// # Errors
    /// [`Trouble::Unknown`], or what a server says.
    pub async fn entry(&mut self, id: u64) -> Result<Entry, Trouble> {
        self.entries(Some(id)).await?.pop().ok_or(Trouble::Unknown(id))
    }

    /// All entries, the newest first, with the beginnings of their statements; or one, whole.
    ///
    /// # Errors
    /// What a server says.
    pub async fn entries(&mut self, id: Option<u64>) -> Result<Vec<Entry>, Trouble> {
        within(async {
            let one = "(? IS NULL OR d.id = ?)";
            let sql = format!(
                "SELECT id, state, name, tables, IF(? IS NULL, LEFT(statement, 1000), statement), settings, account, CAST(began AS CHAR), {BEGAN}, {RUNNING} FROM definitions d WHERE {one} ORDER BY id DESC"
            );
            let rows: Vec<Row> = self.connection.exec(sql, (id, id, id)).await?;
            let sql = format!("SELECT id, site, state, had, error FROM definition_sites d WHERE {one} ORDER BY id, place");
            let sites: Vec<Row> = self.connection.exec(sql, (id, id)).await?;
            let mut of: HashMap<u64, Vec<Site>> = HashMap::new();
            for row in sites {
                let [id, name, word, had, error] = fields(row);
                let word = Word::parse(&text(word)).ok_or_else(|| not_understood("a site's state"))?;
                let site = Site { name: text(name), word, had: had.map(|had| text(Some(had))), error: error.map(|error| text(Some(error))) };
                of.entry(number(id.as_deref())).or_default().push(site);
            }
            let entry = |row: Row| {
                let [id, state, database, tables, statement, settings, account, began, began_us, running] =
                    fields(row);
                let id = number(id.as_deref());
                let (statement, settings) = (statement.unwrap_or_default(), settings.unwrap_or_default());
                let running = number(running.as_deref()) == 1;
                let began_us = number(began_us.as_deref());
                let [state, database, tables, account, began] = [state, database, tables, account, began].map(text);
                let sites = of.remove(&id).unwrap_or_default();
                Entry {
                    id,
                    state,
                    database,
                    tables,
                    statement,
                    settings,
                    account,
                    began,
                    began_us,
                    running,
                    sites,
                }
            };
            Ok(rows.into_iter().map(entry).collect())
        })
        .await
    }
}

/// The row's values as texts; those that are missing are NULL.
pub(super) fn fields<const COUNT: usize>(row: Row) -> [Option<Vec<u8>>; COUNT] {
    let mut values = row.unwrap_raw().into_iter();
    std::array::from_fn(|_| match values.next().flatten()? {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        Value::UInt(number) => Some(number.to_string().into_bytes()),
        other => Some(other.as_sql(true).into_bytes()),
    })
}

fn text(value: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&value.unwrap_or_default()).into_owned()
}

pub(super) fn number(value: Option<&[u8]>) -> u64 {
    value.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or_default()
}
