//! More kinds of random SELECTs: UNION, windows, sums of levels, texts that are joined, expressions of aggregates.
//!
//! Owns: these kinds. Does not know: tables beyond what a source names. Invariant: that of `generate`.

use super::generate::{Expr, Generator, Source};
use super::statement::{Item, Statement};
use super::tables::Nature;

impl Generator<'_> {
    /// Parts of as many columns each.
    pub(super) fn union(&mut self, source: &Source) -> Statement {
        let count = 1 + self.random.below(3);
        // Of EXCEPT and INTERSECT, with the key in the same place most often.
        let keyed = self.chance(40);
        let mut statement = self.part(source, count);
        if keyed {
            statement.items[0] = Item { sql: source.key.clone(), open: true };
        }
        for (at, item) in statement.items.iter_mut().enumerate() {
            if at % 2 == 0 || !item.sql.chars().all(|c| c.is_alphanumeric() || c == '.' || c == '_') {
                item.sql += &format!(" AS u{at}");
            }
        }
        let names: Vec<String> = statement
            .items
            .iter()
            .map(|item| {
                let name = item.sql.rsplit(" AS ").next().unwrap_or_default();
                name.rsplit('.').next().unwrap_or_default().to_owned()
            })
            .collect();
        let all = self.chance(50);
        for _ in 0..=self.random.below(2) {
            let other = self.source();
            let mut part = self.part(&other, count);
            part.from = other.from.to_owned();
            if keyed {
                if self.chance(90) {
                    part.items[0] = Item { sql: other.key.clone(), open: true };
                }
                part.joined_by = [None, Some("EXCEPT"), Some("INTERSECT")][self.random.below(3)];
            }
            part.filter = (0..self.random.below(2)).map(|_| self.filter(&other)).collect();
            // MariaDB 10.11 does not come to an end with INTERSECT ALL and EXCEPT ALL in one statement.
            let all = (if self.chance(90) { all } else { !all }) && part.joined_by.is_none();
            statement.parts.push((all, part));
        }
        let clear = names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1);
        if clear && self.chance(60) {
            statement.last = (1..=count)
                .map(|place| if self.chance(50) { place.to_string() } else { names[place - 1].clone() })
                .collect();
            statement.last = self.directed(&statement.last.clone());
        }
        statement
    }

    fn part(&mut self, source: &Source, count: usize) -> Statement {
        let mut statement = Statement::default();
        while statement.items.len() < count {
            let expr = self.expr(source);
            // Numbers that a server rounds where it makes them one type.
            if expr.nature != Nature::Rough {
                statement.items.push(Item { sql: expr.sql, open: true });
            }
        }
        statement
    }

    pub(super) fn windows(&mut self, source: &Source) -> Statement {
        let mut statement = Statement::default();
        let column = self.expr(source);
        statement.items.push(Item { sql: column.sql, open: false });
        for at in 0..=self.random.below(2) {
            let number = self.column(source);
            let by = if self.chance(85) { source.key.clone() } else { number.sql.clone() };
            let unique = source.unique.join(", ");
            let c = &number.sql;
            let numeric = number.nature == Nature::Number;
            let sql = match self.random.below(6) {
                0 => format!("ROW_NUMBER() OVER (PARTITION BY {by} ORDER BY {unique} DESC)"),
                1 => format!("COUNT(*) OVER (PARTITION BY {by})"),
                2 if numeric => format!("SUM({c}) OVER (PARTITION BY {by} ORDER BY {unique})"),
                3 if numeric => format!("RANK() OVER (PARTITION BY {by} ORDER BY {c})"),
                4 => format!("LAG({c}) OVER (PARTITION BY {by} ORDER BY {unique})"),
                _ if numeric => {
                    format!(
                        "MAX({c}) OVER (PARTITION BY {by} ORDER BY {unique} ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)"
                    )
                }
                _ => format!("COUNT({c}) OVER (PARTITION BY {by})"),
            };
            statement.items.push(Item { sql: format!("{sql} AS w{at}"), open: true });
        }
        if self.chance(25) {
            let by = if self.chance(90) { &source.key } else { &source.unique[0] };
            statement.window =
                Some(format!("v AS (PARTITION BY {by} ORDER BY {}), u AS (v)", source.unique.join(", ")));
            for (at, over) in ["v", "u", "(v ROWS 2 PRECEDING)"].into_iter().enumerate() {
                let sql = format!("SUM({}) OVER {over} AS n{at}", source.unique[0]);
                statement.items.push(Item { sql, open: true });
            }
        }
        if self.chance(70) {
            statement.order = if self.chance(40) { vec!["w0".to_owned()] } else { Vec::new() };
            statement.last = self.directed(&source.unique);
        }
        statement
    }

    /// WITH ROLLUP.
    pub(super) fn sums(&mut self, source: &Source) -> Statement {
        let mut statement = Statement { rollup: true, sorted: true, ..Statement::default() };
        for _ in 0..=self.random.below(2) {
            let column = self.column(source);
            if !statement.group.contains(&column.sql) {
                if self.chance(90) {
                    statement.items.push(Item { sql: column.sql.clone(), open: true });
                }
                let c = &column.sql;
                let sql = match (self.random.below(14), column.nature) {
                    (0, _) => format!("{c} IS NULL"),
                    (1, Nature::Number) => format!("{c} + 1"),
                    (1 | 2, Nature::Text) => format!("IFNULL({c}, 'all')"),
                    (3, Nature::Number) => format!("CASE WHEN {c} IS NULL THEN -1 ELSE {c} END"),
                    (4, Nature::Text) => format!("CONCAT('x', {c})"),
                    _ => String::new(),
                };
                if !sql.is_empty() {
                    statement.items.push(Item { sql, open: true });
                }
                // MySQL sorts these by their texts here.
                statement.sorted &= column.nature != Nature::Enumerated;
                statement.group.push(column.sql);
            }
        }
        for _ in 0..=self.random.below(2) {
            let sql = self.aggregate(source).sql;
            statement.items.push(Item { sql, open: true });
        }
        if self.chance(30) {
            statement.having.push("COUNT(*) > 2".to_owned());
        }
        if self.chance(20) {
            let column = self.random.pick(&statement.group).clone();
            statement.having.push(format!("{column} IS {}NULL", ["", "NOT "][self.random.below(2)]));
        }
        statement
    }

    /// An aggregate that joins texts, a deviation, or an expression.
    pub(super) fn joined_or_computed(&mut self, source: &Source) -> Expr {
        let column = self.column(source);
        let c = &column.sql;
        let unique = source.unique.join(", ");
        let number = |sql: String| Expr { sql, nature: Nature::Number };
        let text = |sql: String| Expr { sql, nature: Nature::Text };
        let is_number = column.nature == Nature::Number;
        match self.random.below(36) {
            0 => text(format!("GROUP_CONCAT({c})")),
            1 => text(format!("GROUP_CONCAT({c} ORDER BY {unique} SEPARATOR '; ')")),
            2 => text(format!("GROUP_CONCAT({c} ORDER BY {unique})")),
            3 => text(format!("GROUP_CONCAT(DISTINCT {c} ORDER BY {c} DESC SEPARATOR '')")),
            4 => text(format!("GROUP_CONCAT({c}, {} SEPARATOR '-')", source.key)),
            5 => text(format!("JSON_ARRAYAGG({c})")),
            6 => text(format!("JSON_OBJECTAGG(CONCAT_WS('-', {unique}), {c})")),
            7 if is_number => rough(format!("STDDEV({c})")),
            8 if is_number => rough(format!("VAR_SAMP({c})")),
            9 if is_number => number(format!("ROUND(SUM({c}) / 7, 1)")),
            10 if is_number => number(format!("NULLIF(MAX({c}), 0)")),
            11 if is_number => text(format!("CONCAT(IFNULL(SUM({c}), 0))")),
            12 => text("IF(COUNT(*) > 2, 'many', 'few')".into()),
            13 => number("COUNT(*) * 100 / 7".into()),
            14 if is_number => number(format!("CASE WHEN MIN({c}) < 0 THEN 0 ELSE SUM({c}) END")),
            15 if is_number => number(format!("ROUND(AVG({c}), 2)")),
            16 => text(format!("CONCAT(MIN({c}), '..', MAX({c}))")),
            17 if is_number => number(format!("SUM({c}) / COUNT(*)")),
            18 => number(format!("COUNT(DISTINCT {c}) / COUNT(*)")),
            19 if is_number => number(format!("IFNULL(AVG({c}), 0)")),
            20 if is_number => number(format!("COALESCE(ROUND(AVG({c}), 1), 0) + 1")),
            21 if is_number => number(format!("AVG({c}) * 3")),
            22 if is_number => number(format!("AVG({c}) / 3")),
            23 if is_number => number(format!("100 * SUM({c}) / SUM({})", source.unique[0])),
            24 if is_number => number(format!("CAST(AVG({c}) AS DECIMAL(20, 3))")),
            25 if is_number => text(format!("CONCAT(ROUND(AVG({c}), 1), '%')")),
            26 if is_number => number(format!("FLOOR(AVG({c}))")),
            27 if is_number => text(format!("IF(AVG({c}) > 2.3333, 'many', 'few')")),
            28 if is_number => text(format!("FORMAT(AVG({c}), 2)")),
            29 if is_number => rough(format!("ROUND(STDDEV_POP({c}), 2)")),
            30 if is_number => rough(format!("IFNULL(STD({c}), 0)")),
            31 if is_number => number(format!("SUM({c} / 7)")),
            32 if is_number => number(format!("ROUND(AVG({c} / 3), 2)")),
            33 if is_number => number(format!("AVG({c}) - AVG({})", source.unique[0])),
            34 if is_number => number(format!("ROUND(IFNULL(AVG({c}), 0), 6)")),
            _ => number(format!("SUM({}) % 10", source.unique[0])),
        }
    }
}

fn rough(sql: String) -> Expr {
    Expr { sql, nature: Nature::Rough }
}
