//! A SELECT in parts, so that it can be made smaller.
//!
//! Owns: its text, what of it can be left out. Does not know: tables. Invariant: what is left is a statement again.

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
    pub having: Vec<String>,
    pub order: Vec<String>,
    /// At the end of ORDER BY: makes the order total.
    pub last: Vec<String>,
    pub limit: Option<(u64, u64)>,
}

impl Statement {
    pub fn sql(&self) -> String {
        let items: Vec<_> = self.items.iter().map(|item| &*item.sql).collect();
        let mut sql = format!(
            "SELECT {}{} FROM {}",
            if self.distinct { "DISTINCT " } else { "" },
            items.join(", "),
            self.from
        );
        let order = [&self.order[..], &self.last].concat();
        for (word, list, between) in [
            ("WHERE", &self.filter, " AND "),
            ("GROUP BY", &self.group, ", "),
            ("HAVING", &self.having, " AND "),
            ("ORDER BY", &order, ", "),
        ] {
            if !list.is_empty() {
                sql += &format!(" {word} {}", list.join(between));
            }
        }
        if let Some((offset, count)) = self.limit {
            sql += &if offset == 0 { format!(" LIMIT {count}") } else { format!(" LIMIT {offset}, {count}") };
        }
        sql
    }

    /// Whether the order of rows is known to the last one.
    pub fn is_ordered(&self) -> bool {
        !self.last.is_empty()
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
        with(&|one| one.limit = None);
        with(&|one| one.distinct = false);
        with(&|one| one.having.clear());
        with(&|one| one.filter.clear());
        with(&|one| (one.order.clear(), one.last.clear()).0);
        (0..self.items.len()).for_each(|at| with(&|one| drop(one.items.remove(at))));
        (0..self.order.len()).for_each(|at| with(&|one| drop(one.order.remove(at))));
        // Of finer groups the order may be open.
        let groups = if self.order.is_empty() && self.last.is_empty() { self.group.len() } else { 0 };
        (0..groups).for_each(|at| with(&|one| drop(one.group.remove(at))));
        (0..self.having.len()).for_each(|at| with(&|one| drop(one.having.remove(at))));
        all
    }
}
