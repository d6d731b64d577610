//! A SELECT, or a UNION of several, in parts, so that it can be made smaller.
//!
//! Owns: its text, with values in it or as parameters, and what of it can be left out. Does not know: tables. Invariant: what is left is a
//! statement again.

/// What stands around a value that may be a parameter.
const MARKS: [char; 2] = ['⟨', '⟩'];

/// A value that may be a parameter.
pub fn marked(value: impl std::fmt::Display) -> String {
    format!("{}{value}{}", MARKS[0], MARKS[1])
}

/// A text with its values.
pub fn plain(marked: &str) -> String {
    marked.replace(MARKS, "")
}

/// A text with a question mark for each value, and these.
pub fn apart(marked: &str) -> (String, Vec<String>) {
    let (mut sql, mut values) = (String::new(), Vec::new());
    let mut parts = marked.split(MARKS);
    sql += parts.next().unwrap_or_default();
    while let Some(value) = parts.next() {
        values.push(value.to_owned());
        sql += "?";
        sql += parts.next().unwrap_or_default();
    }
    (sql, values)
}

/// An item of the select list.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    pub sql: String,
    /// Of texts that are equal any may stand here.
    pub open: bool,
}

/// A SELECT.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Statement {
    pub distinct: bool,
    pub items: Vec<Item>,
    pub from: String,
    pub filter: Vec<String>,
    pub group: Vec<String>,
    pub rollup: bool,
    /// Servers sort such groups by themselves, and shards' alike.
    pub sorted: bool,
    pub having: Vec<String>,
    /// WINDOW.
    pub window: Option<String>,
    /// Further parts of a UNION, with ALL or without.
    pub parts: Vec<(bool, Statement)>,
    /// As such a part: EXCEPT or INTERSECT in the place of UNION.
    pub joined_by: Option<&'static str>,
    pub order: Vec<String>,
    /// At the end of ORDER BY: makes the order total.
    pub last: Vec<String>,
    pub limit: Option<(u64, u64)>,
    /// It is prepared, and its values are parameters.
    pub prepared: bool,
}

impl Statement {
    /// As a text.
    pub fn sql(&self) -> String {
        plain(&self.marked())
    }

    /// With its values marked.
    pub fn marked(&self) -> String {
        let mut sql = self.core();
        for (all, part) in &self.parts {
            let all = if *all { " ALL" } else { "" };
            sql += &format!(" {}{all} ", part.joined_by.unwrap_or("UNION"));
            sql += &part.core();
        }
        let order = [&self.order[..], &self.last].concat();
        if !order.is_empty() {
            sql += &format!(" ORDER BY {}", order.join(", "));
        }
        if let Some((offset, count)) = self.limit {
            let (offset, count) = (marked(offset), marked(count));
            sql += &if self.limit.is_some_and(|(offset, _)| offset == 0) {
                format!(" LIMIT {count}")
            } else {
                format!(" LIMIT {offset}, {count}")
            };
        }
        sql
    }

    /// Up to ORDER BY.
    fn core(&self) -> String {
        let items: Vec<_> = self.items.iter().map(|item| &*item.sql).collect();
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{} FROM {}", items.join(", "), self.from);
        for (word, list, between) in [
            ("WHERE", &self.filter, " AND "),
            ("GROUP BY", &self.group, ", "),
            ("HAVING", &self.having, " AND "),
        ] {
            if !list.is_empty() {
                sql += &format!(" {word} {}", list.join(between));
            }
            if word == "GROUP BY" && self.rollup && !list.is_empty() {
                sql += " WITH ROLLUP";
            }
        }
        if let Some(window) = &self.window {
            sql += &format!(" WINDOW {window}");
        }
        sql
    }

    /// Whether the order of rows is known to the last one.
    pub fn is_ordered(&self) -> bool {
        !self.last.is_empty() || self.sorted && self.rollup && !self.group.is_empty()
    }

    /// Whether groups are sorted, or their rows, for an order, for sums of them or for values that count once.
    pub fn sorts_groups(&self) -> bool {
        let sorts = |item: &Item| ["DISTINCT", "ORDER BY"].iter().any(|word| item.sql.contains(word));
        self.rollup || !self.order.is_empty() || !self.last.is_empty() || self.items.iter().any(sorts)
    }

    /// The same with one part less.
    pub fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut smaller = self.clone();
            change(&mut smaller);
            if smaller != *self && !smaller.items.is_empty() {
                all.push(smaller);
            }
        };
        with(&|one| one.prepared = false);
        with(&|one| one.limit = None);
        with(&|one| one.distinct = false);
        with(&|one| one.having.clear());
        with(&|one| one.rollup = false);
        with(&|one| one.filter.clear());
        with(&|one| one.parts.iter_mut().for_each(|(_, part)| part.filter.clear()));
        with(&|one| (one.order.clear(), one.last.clear()).0);
        (0..self.parts.len()).for_each(|at| with(&|one| drop(one.parts.remove(at))));
        // The parts of a UNION have as many columns each.
        let items = if self.parts.is_empty() { self.items.len() } else { 0 };
        (0..items).for_each(|at| with(&|one| drop(one.items.remove(at))));
        (0..self.order.len()).for_each(|at| with(&|one| drop(one.order.remove(at))));
        // Of finer groups the order may be open.
        let groups = if self.order.is_empty() && self.last.is_empty() { self.group.len() } else { 0 };
        (0..groups).for_each(|at| with(&|one| drop(one.group.remove(at))));
        (0..self.having.len()).for_each(|at| with(&|one| drop(one.having.remove(at))));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_parameters() {
        let text = format!("a = {} AND b = {}", marked(1), marked("'x'"));
        assert_eq!(plain(&text), "a = 1 AND b = 'x'");
        assert_eq!(apart(&text), ("a = ? AND b = ?".into(), vec!["1".into(), "'x'".into()]));
    }
}
