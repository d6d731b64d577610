//! Random tables: two that are sharded by `k`, with columns of random types.
//!
//! Owns: columns and their values. Does not know: statements. Invariant: sums of what is summed up do not depend on the order of rows.

use crate::differential::forms::Random;
use crate::merging::{COLUMNS, Values};

/// Rows of the first table; the second has as many.
const ROWS: u64 = 60;

/// What can be done with a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nature {
    Number,
    /// A number whose sum depends on the order of rows.
    Rough,
    Text,
    Bytes,
    Time,
    Enumerated,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    kind: String,
    values: Values,
    pub nature: Nature,
}

/// A table: `k`, `id` and others.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: &'static str,
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug)]
pub struct Tables {
    pub tables: Vec<Table>,
}

fn nature(name: &str) -> Nature {
    match name {
        "x" | "f" | "fx" => Nature::Rough,
        "e" | "st" => Nature::Enumerated,
        "dt" | "tm" | "dm" | "ts" | "y" => Nature::Time,
        "vb" | "bn" | "bl" | "bt" => Nature::Bytes,
        "g" | "ubin" | "uni" | "l" | "c" | "tx" | "ai" | "cs" => Nature::Text,
        _ => Nature::Number,
    }
}

impl Tables {
    pub fn random(random: &mut Random, is_mysql: bool) -> Self {
        let mut all: Vec<(&str, String, Values)> =
            COLUMNS.iter().map(|(name, kind, values)| (*name, (*kind).to_owned(), *values)).collect();
        let words = all.iter().find(|(name, ..)| *name == "g").expect("a text").2;
        let (ai, cs) = match is_mysql {
            true => ("utf8mb4_0900_ai_ci", "utf8mb4_0900_as_cs"),
            false => ("utf8mb4_unicode_520_nopad_ci", "utf8mb4_unicode_520_ci"),
        };
        all.push(("ai", format!("VARCHAR(20) COLLATE {ai}"), words));
        all.push(("cs", format!("VARCHAR(20) COLLATE {cs}"), words));
        let tables = ["one", "two"].map(|name| {
            let mut columns: Vec<Column> = Vec::new();
            while columns.len() < 7 {
                let (name, kind, values) = random.pick(&all).clone();
                if columns.iter().all(|column| column.name != name) {
                    let column = Column { name: name.to_owned(), kind, values, nature: nature(name) };
                    columns.push(column);
                }
            }
            Table { name, columns }
        });
        Self { tables: tables.into() }
    }
}

impl Table {
    /// Its definition, behind CREATE TABLE and the schema.
    pub fn definition(&self) -> String {
        let columns: String =
            self.columns.iter().map(|column| format!(", {} {}", column.name, column.kind)).collect();
        format!("{} (k INT NOT NULL, id INT NOT NULL{columns}, PRIMARY KEY (k, id))", self.name)
    }

    /// Random rows: keys, and values as SQL.
    pub fn rows(&self, random: &mut Random) -> Vec<(u64, String)> {
        let row = |id: u64| {
            let key = random.next() % 12;
            let mut row = format!("({key}, {id}");
            for column in &self.columns {
                let number = random.next();
                // Few values, so that groups have several rows.
                let value =
                    if number.is_multiple_of(7) { "NULL".to_owned() } else { (column.values)(number >> 3) };
                row += &format!(", {value}");
            }
            (key, row + ")")
        };
        (1..=ROWS).map(row).collect()
    }
}
