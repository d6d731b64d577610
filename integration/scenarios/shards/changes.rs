//! Random changes of the tables' rows.
//!
//! Owns: the kinds of changes. Does not know: which of them are carried out. Invariant: what one server leaves open (which rows a LIMIT takes)
//! is not asked for without an order.

use super::generate::Generator;
use super::tables::{self, WORDS};

/// Ids of rows: those that are there from the beginning, and some more.
const IDS: u64 = 80;

impl Generator<'_> {
    /// A change.
    pub fn change(&mut self) -> String {
        match self.random.below(5) {
            0 => self.of_words(),
            table => self.of_numbers(table % 2),
        }
    }

    fn of_numbers(&mut self, table: usize) -> String {
        let table = &self.tables.tables[table];
        let name = table.name;
        let key = self.random.next() % 13;
        let other = self.random.next() % 13;
        let id = 1 + self.random.next() % IDS;
        let names: String = table.columns.iter().map(|column| format!(", {}", column.name)).collect();
        let column = self.random.pick(&table.columns);
        let set = format!("{} = {}", column.name, column.value(self.random));
        let mut rows = Vec::new();
        for _ in 0..=self.random.below(4) {
            let (key, id) = (self.random.next() % 13, 40 + self.random.next() % IDS);
            rows.push(format!("({key}, {id}{})", tables::values(&table.columns, self.random)));
        }
        let rows = format!("{name} (k, id{names}) VALUES {}", rows.join(", "));
        match self.random.below(18) {
            0 | 1 => format!("INSERT INTO {rows}"),
            2 => format!("REPLACE INTO {rows}"),
            3 => format!("INSERT INTO {rows} ON DUPLICATE KEY UPDATE {0} = VALUES({0})", column.name),
            4 => format!("INSERT INTO {rows} ON DUPLICATE KEY UPDATE k = k, {set}"),
            5 => format!("INSERT IGNORE INTO {rows}"),
            6 => format!("UPDATE {name} SET {set} WHERE id = {id}"),
            7 => format!("UPDATE {name} SET {set} WHERE k = {key} && id < {id}"),
            8 => format!("UPDATE {name} SET {set} WHERE k = {key} OR id = {id}"),
            9 => format!("UPDATE {name} SET {set} WHERE k IN ({key}, {other}) /*! AND id > {id} */"),
            10 => format!("UPDATE {name} SET {set}, k = {other} WHERE k = {key} AND id = {id}"),
            11 => format!("UPDATE {name} SET {set} WHERE k = {key} ORDER BY id LIMIT 1"),
            12 => format!("UPDATE {name} SET {set} ORDER BY id, k LIMIT 2"),
            13 => format!("DELETE FROM {name} WHERE k = {key} AND id % 3 = 1"),
            14 => format!("DELETE FROM {name} WHERE id = {id} /*!99999 OR 1 */"),
            15 => format!("DELETE FROM {name} WHERE NOT (k <> {key} OR id > {id})"),
            16 => format!(
                "DELETE t FROM {name} t JOIN one o ON o.k = t.k WHERE t.k = {key} AND o.id < 10 AND t.id = {id}"
            ),
            _ => format!("UPDATE {name} SET {set} WHERE k = '{key} ' AND id < {id}"),
        }
    }

    fn of_words(&mut self) -> String {
        let word = *self.random.pick(&WORDS);
        let id = 1 + self.random.next() % IDS;
        let values = tables::values(&self.tables.words, self.random);
        match self.random.below(6) {
            0 => format!("INSERT INTO words (w, id, i, g, d) VALUES ('{word}', {id}{values})"),
            1 => format!("REPLACE INTO words (w, id, i, g, d) VALUES ('{word}', {id}{values})"),
            2 => format!("UPDATE words SET i = {id} WHERE w = '{word}'"),
            3 => format!("UPDATE words SET i = {id} WHERE w = '{word} ' && id % 2 = 0"),
            4 => format!("DELETE FROM words WHERE w IN ('{word}') AND id = {id}"),
            _ => format!("UPDATE words SET i = {id}, w = w WHERE w LIKE '{word}'"),
        }
    }
}
