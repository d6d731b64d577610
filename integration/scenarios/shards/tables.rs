//! Random tables: two that are sharded by `k`, with columns of random types, and one by a text.
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
    /// Columns of the one that is sharded by a text.
    pub words: Vec<Column>,
}

/// What that text is: equal for the servers where it differs by case or spaces at the end.
pub const WORDS: [&str; 10] = ["abc", "ABC", "abc ", "a", "A  ", "b", "B", "x-1", "", " a"];

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
        let of = |name: &str| {
            let (name, kind, values) = all.iter().find(|(own, ..)| *own == name).expect("a column").clone();
            Column { name: name.to_owned(), kind, values, nature: nature(name) }
        };
        Self { tables: tables.into(), words: vec![of("i"), of("g"), of("d")] }
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
            (key, format!("({key}, {id}{})", values(&self.columns, random)))
        };
        (1..=ROWS).map(row).collect()
    }
}

impl Column {
    /// A value as SQL. There are few, so that groups have several rows.
    pub fn value(&self, random: &mut Random) -> String {
        let number = random.next();
        if number.is_multiple_of(7) { "NULL".to_owned() } else { (self.values)(number >> 3) }
    }
}

/// A value for each column, a comma before each.
pub fn values(columns: &[Column], random: &mut Random) -> String {
    columns.iter().map(|column| format!(", {}", column.value(random))).collect()
}

impl Tables {
    /// The third table's definition, behind CREATE TABLE and the schema.
    pub fn words_definition(&self) -> String {
        let columns: String =
            self.words.iter().map(|column| format!(", {} {}", column.name, column.kind)).collect();
        let key = "VARCHAR(12) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci";
        format!("words (w {key} NOT NULL, id INT NOT NULL{columns}, PRIMARY KEY (w, id))")
    }

    /// Its rows, each an INSERT's values.
    pub fn words_rows(&self, random: &mut Random) -> Vec<String> {
        let row = |id: u64| {
            let word = *random.pick(&WORDS);
            format!("('{word}', {id}{})", values(&self.words, random))
        };
        (1..=ROWS / 2).map(row).collect()
    }
}
