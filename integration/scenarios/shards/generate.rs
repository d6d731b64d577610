//! Random SELECTs on random tables.
//!
//! Owns: the kinds of statements. Does not know: which of them can be answered. Invariant: what one server leaves open is marked so, or
//! not asked for.

use super::statement::{Item, Statement, marked};
use super::tables::{Column, Nature, Tables, WORDS};
use crate::differential::forms::Random;

pub struct Generator<'a> {
    pub tables: &'a Tables,
    pub random: &'a mut Random,
}

/// What a query reads.
pub(super) struct Source {
    pub from: &'static str,
    /// Columns as they are named, with what can be done with them.
    pub columns: Vec<(String, Nature)>,
    /// Columns that tell rows apart.
    pub unique: Vec<String>,
    pub key: String,
}

/// An expression.
#[derive(Clone, Debug)]
pub(super) struct Expr {
    pub sql: String,
    pub nature: Nature,
}

impl Generator<'_> {
    pub fn statement(&mut self) -> Statement {
        let source = self.source();
        let mut statement = match self.random.below(15) {
            // MariaDB 10.11 loses rows of DISTINCT and of groups where a derived table is read.
            kind if source.from.starts_with('(') && kind % 2 == 0 => self.rows(&source),
            _ if source.from.starts_with('(') => self.totals(&source),
            0..=2 => self.rows(&source),
            3 => self.distinct(&source),
            4..=8 => self.groups(&source),
            9 | 10 => self.totals(&source),
            11 => self.windows(&source),
            12 => self.sums(&source),
            _ => self.union(&source),
        };
        statement.from = source.from.to_owned();
        statement.prepared = self.chance(35);
        for _ in 0..self.random.below(3) {
            let filter = self.filter(&source);
            statement.filter.push(filter);
        }
        if self.random.below(5) < 2 {
            let offset = [0, 0, 1, 3, 50][self.random.below(5)];
            statement.limit = Some((offset, [0, 1, 2, 5, 100][self.random.below(5)]));
        }
        statement
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.random.below(100) < percent
    }

    pub(super) fn source(&mut self) -> Source {
        let (one, two) = (&self.tables.tables[0].columns, &self.tables.tables[1].columns);
        let named = |prefix: &str, columns: &[Column]| -> Vec<(String, Nature)> {
            let keys = ["k", "id"].map(|name| (format!("{prefix}{name}"), Nature::Number));
            let others = columns.iter().map(|column| (format!("{prefix}{}", column.name), column.nature));
            keys.into_iter().chain(others).collect()
        };
        let both = || [named("a.", one), named("b.", two)].concat();
        let unique = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self.random.below(10) {
            8 => Source {
                from: "(SELECT * FROM one WHERE id <> 7) AS d",
                columns: named("d.", one),
                unique: unique(&["d.id", "d.k"]),
                key: "d.k".into(),
            },
            9 => Source {
                from: "(SELECT k, id FROM one UNION ALL SELECT k, id FROM two WHERE id < 30) AS d",
                columns: named("d.", &[]),
                unique: unique(&["d.id", "d.k"]),
                key: "d.k".into(),
            },
            7 => Source {
                from: "words",
                columns: std::iter::once(("w".to_owned(), Nature::Text))
                    .chain(named("", &self.tables.words).into_iter().skip(1))
                    .collect(),
                unique: unique(&["id", "w"]),
                key: "w".into(),
            },
            0..=2 => {
                Source { from: "one", columns: named("", one), unique: unique(&["id", "k"]), key: "k".into() }
            }
            3 => Source {
                from: "two",
                columns: named("two.", two),
                unique: unique(&["two.id", "two.k"]),
                key: "two.k".into(),
            },
            4 => Source {
                from: "one AS a",
                columns: named("a.", one),
                unique: unique(&["a.id", "a.k"]),
                key: "a.k".into(),
            },
            5 => Source {
                from: "one a JOIN two b ON a.k = b.k",
                columns: both(),
                unique: unique(&["a.id", "b.id", "a.k"]),
                key: "b.k".into(),
            },
            _ => Source {
                from: "one a LEFT JOIN two b ON b.k = a.k AND b.id < 20",
                columns: both(),
                unique: unique(&["a.id", "b.id", "a.k"]),
                key: "a.k".into(),
            },
        }
    }

    pub(super) fn column(&mut self, source: &Source) -> Expr {
        let (sql, nature) = self.random.pick(&source.columns).clone();
        Expr { sql, nature }
    }

    /// An expression of one row.
    pub(super) fn expr(&mut self, source: &Source) -> Expr {
        let column = self.column(source);
        if self.chance(60) {
            return column;
        }
        let c = &column.sql;
        let number = |sql: String| Expr { sql, nature: Nature::Number };
        let text = |sql: String| Expr { sql, nature: Nature::Text };
        // MySQL and MariaDB forget the OFFSET of DISTINCT constants, as IS NULL of a column that cannot be is.
        let nullable = !c.ends_with('k') && !c.ends_with("id");
        match (column.nature, self.random.below(6)) {
            (_, 0) if nullable => number(format!("{c} IS NULL")),
            (Nature::Number, 1) => number(format!("{c} % 3")),
            // Not ABS: MariaDB 10.11 counts rows whose ABS is NULL to the group before, sorted from the greatest.
            (Nature::Number, 2) => number(format!("{c} DIV 2")),
            (Nature::Number, 3) => number(format!("CASE WHEN {c} > 0 THEN 1 ELSE 0 END")),
            (Nature::Number, 4) => number(format!("IFNULL({c}, 0)")),
            (Nature::Number, _) => number(format!("{c} + 1")),
            (Nature::Text, 1) => number(format!("CHAR_LENGTH({c})")),
            (Nature::Text, 2) => text(format!("LEFT({c}, 1)")),
            (Nature::Text, 3) => text(format!("IFNULL({c}, 'z')")),
            (Nature::Text, 4) => text(format!("CONCAT({c}, 'x')")),
            (Nature::Text, _) => text(format!("UPPER({c})")),
            (Nature::Bytes, 1 | 2) => text(format!("HEX({c})")),
            (Nature::Bytes, _) => number(format!("LENGTH({c})")),
            (Nature::Enumerated, 1 | 2) => number(format!("{c} + 0")),
            (Nature::Enumerated, _) => text(format!("CONCAT({c})")),
            (Nature::Rough, _) => number(format!("{c} > 0")),
            (Nature::Time, 1 | 2) => text(format!("CONCAT({c})")),
            (Nature::Time, _) => column,
        }
    }

    /// The name of a column, for something else.
    fn alias(&mut self, source: &Source) -> String {
        self.column(source).sql.rsplit('.').next().unwrap_or_default().to_owned()
    }

    pub(super) fn filter(&mut self, source: &Source) -> String {
        let column = self.column(source);
        let (c, key, id) = (&column.sql, &source.key, &source.unique[0]);
        let worded = source.from == "words";
        let number = |number: u64| marked(number);
        let text = |text: &str| marked(format!("'{text}'"));
        let random = |random: &mut crate::differential::forms::Random, worded: bool| match worded {
            true => marked(format!("'{}'", random.pick(&WORDS))),
            false => marked(random.next() % 13),
        };
        let (one, two) = (random(self.random, worded), random(self.random, worded));
        match (self.random.below(14), column.nature) {
            (0, _) => format!("{key} IN ({one}, {two}, {})", random(self.random, worded)),
            (1, _) => format!("{id} < {}", number(30)),
            (2, _) => format!("{key} <> {one}"),
            (3, Nature::Number | Nature::Rough) => format!("{c} > {}", number(0)),
            (3, Nature::Text) => format!("{c} LIKE {}", text("a%")),
            (4, Nature::Text) => format!("{c} = {}", text("a")),
            (4, _) => format!("{id} > {}", number(1000)),
            (5, _) => format!("{key} = {one}"),
            (6, _) => format!("({key} = {one} OR {key} = {two} && {id} < {})", number(40)),
            // What must not be lost, or taken for a condition on the key.
            (7, _) => format!("({key} = {one} OR {id} = {})", number(7)),
            (8, _) => format!("{key} = {one} && {id} % {} = 1 /* OR 1 */", number(3)),
            (9, _) => format!("{key} = {one} /*! AND {id} < 40 */"),
            (10, _) => format!("NOT ({key} = {one}) /*!99999 OR 1 = 1 */"),
            (11, _) => format!("{key} BETWEEN {one} AND {two}"),
            (12, _) => format!("{id} IN (SELECT id FROM {})", self.inner(source)),
            _ => format!("{c} IS NOT NULL"),
        }
    }

    /// A query inside, tied to the outer one by the key or not.
    fn inner(&mut self, source: &Source) -> String {
        let (key, id) = (&source.key, &source.unique[0]);
        match self.random.below(3) {
            _ if source.from == "words" => format!("words AS i WHERE i.w = {key} AND i.id <> 3"),
            0 => format!("two AS i WHERE i.id = {id}"),
            _ => format!("two AS i WHERE i.k = {key}"),
        }
    }

    fn direction(&mut self) -> &'static str {
        if self.chance(40) { " DESC" } else { "" }
    }

    /// Some in their order.
    pub(super) fn directed(&mut self, names: &[String]) -> Vec<String> {
        names.iter().map(|name| format!("{name}{}", self.direction())).collect()
    }

    fn rows(&mut self, source: &Source) -> Statement {
        let mut statement = Statement::default();
        let star = self.chance(20);
        if star {
            statement.items.push(Item { sql: "*".into(), open: true });
        }
        let mut names = Vec::new();
        for at in 0..=self.random.below(3) {
            let expr = self.expr(source);
            let alias = match self.random.below(10) {
                0 | 1 => Some(format!("c{at}")),
                2 => Some(self.alias(source)).filter(|alias| !["k", "id"].contains(&&**alias)),
                _ => None,
            };
            let sql = alias.as_ref().map_or(expr.sql.clone(), |alias| format!("{} AS {alias}", expr.sql));
            names.push(alias.unwrap_or(expr.sql));
            statement.items.push(Item { sql, open: star });
        }
        for _ in 0..self.random.below(3) {
            let by = match self.random.below(4) {
                0 if !star => (1 + self.random.below(statement.items.len())).to_string(),
                1 => self.random.pick(&names).clone(),
                _ => self.expr(source).sql,
            };
            let by = format!("{by}{}", self.direction());
            statement.order.push(by);
        }
        if self.chance(70) {
            statement.last = self.directed(&source.unique);
        }
        statement
    }

    fn distinct(&mut self, source: &Source) -> Statement {
        let mut statement = Statement { distinct: true, ..Statement::default() };
        let mut names = Vec::new();
        for _ in 0..=self.random.below(3) {
            let expr = self.expr(source);
            if !names.contains(&expr.sql) {
                statement.items.push(Item { sql: expr.sql.clone(), open: true });
                names.push(expr.sql);
            }
        }
        if self.chance(60) {
            statement.last = self.directed(&names);
        }
        statement
    }

    pub(super) fn aggregate(&mut self, source: &Source) -> Expr {
        if self.chance(30) {
            return self.joined_or_computed(source);
        }
        let column = self.column(source);
        let c = &column.sql;
        let number = |sql: String| Expr { sql, nature: Nature::Number };
        let is_number = column.nature == Nature::Number;
        match self.random.below(16) {
            0 | 1 => number("COUNT(*)".into()),
            2 => number(format!("COUNT({c})")),
            3 => Expr { sql: format!("MIN({c})"), nature: column.nature },
            4 => Expr { sql: format!("MAX({c})"), nature: column.nature },
            5 => number(format!("COUNT(DISTINCT {c})")),
            6 => number(format!("COUNT(DISTINCT {})", source.key)),
            7 if is_number => number(format!("SUM({c})")),
            8 if is_number => number(format!("AVG({c})")),
            9 if is_number => number(format!("SUM({c} + 1) / 7")),
            10 if is_number => number(format!("IFNULL(SUM({c}), 0)")),
            11 if is_number => number(format!("MAX({c}) - MIN({c})")),
            12 => number("COUNT(*) * 2 + 1".into()),
            13 if is_number => number(format!("BIT_OR({c})")),
            14 if is_number => number(format!("SUM(DISTINCT {c})")),
            15 => Expr {
                sql: format!("GROUP_CONCAT({c} ORDER BY {})", source.unique.join(", ")),
                nature: Nature::Text,
            },
            _ => number(format!("SUM({})", source.unique[0])),
        }
    }

    fn groups(&mut self, source: &Source) -> Statement {
        let mut statement = Statement::default();
        let (mut names, mut texts, mut clear) = (Vec::new(), Vec::new(), true);
        for at in 0..=self.random.below(2) {
            let expr = if self.chance(15) {
                Expr { sql: source.key.clone(), nature: Nature::Number }
            } else {
                self.expr(source)
            };
            if names.contains(&expr.sql) {
                continue;
            }
            let open = true;
            // Names of columns, too: GROUP BY means the column, ORDER BY the alias.
            let alias = match self.random.below(5) {
                0 => self.alias(source),
                _ => format!("g{at}"),
            };
            match self.random.below(5) {
                // Not selected.
                0 => statement.group.push(expr.sql.clone()),
                1 => {
                    clear &= alias.starts_with('g');
                    statement.items.push(Item { sql: format!("{} AS {alias}", expr.sql), open });
                    statement.group.push(alias);
                }
                2 => {
                    statement.items.push(Item { sql: expr.sql.clone(), open });
                    statement.group.push(statement.items.len().to_string());
                }
                _ => {
                    statement.items.push(Item { sql: expr.sql.clone(), open });
                    statement.group.push(expr.sql.clone());
                }
            }
            texts.extend((expr.nature == Nature::Text).then(|| expr.sql.clone()));
            names.push(expr.sql);
        }
        let mut aggregates = Vec::new();
        for at in 0..=self.random.below(3) {
            let aggregate = self.aggregate(source);
            let alias = self.chance(30);
            let sql = if alias { format!("{} AS a{at}", aggregate.sql) } else { aggregate.sql.clone() };
            statement.items.push(Item { sql, open: true });
            aggregates.push((if alias { format!("a{at}") } else { aggregate.sql }, aggregate.nature));
        }
        if self.chance(25) {
            let (name, nature) = self.random.pick(&aggregates).clone();
            statement.having.push(match (self.random.below(3), nature) {
                (0, _) => "COUNT(*) > 2".to_owned(),
                (_, Nature::Number) => format!("{name} BETWEEN 1 AND 9.5"),
                _ => format!("{name} IS NOT NULL"),
            });
        }
        if let Some(text) = texts.first().filter(|_| self.random.below(5) == 0) {
            statement.having.push(format!("{text} = 'a'"));
        }
        // What ORDER BY would mean by a column's name is that alias.
        if clear && self.chance(60) {
            for _ in 0..self.random.below(2) {
                let by = match self.random.below(3) {
                    0 => self.random.pick(&aggregates).0.clone(),
                    1 => self.aggregate(source).sql,
                    _ => self.random.pick(&names).clone(),
                };
                let by = format!("{by}{}", self.direction());
                // The order of what is joined is open.
                let joined = |sql: &str| {
                    ["GROUP_CONCAT", "JSON_", "STD", "VAR_"].iter().any(|name| sql.contains(name))
                };
                let alias = statement
                    .items
                    .iter()
                    .find(|item| item.sql.ends_with(&format!(" AS {}", by.replace(" DESC", ""))));
                if !joined(&by) && !alias.is_some_and(|item| joined(&item.sql)) {
                    statement.order.push(by);
                }
            }
            statement.last = self.directed(&names);
        }
        statement
    }

    fn totals(&mut self, source: &Source) -> Statement {
        let mut statement = Statement::default();
        for _ in 0..=self.random.below(4) {
            let sql = self.aggregate(source).sql;
            statement.items.push(Item { sql, open: true });
        }
        statement
    }
}
