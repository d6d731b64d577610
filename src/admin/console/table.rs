//! Small tables of typed values: what the console answers with.

use std::borrow::Cow;
use std::cmp::Ordering;

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Whole numbers from 0 on.
    Number,
    /// Numbers with a fraction.
    Fraction,
    /// Text.
    Text,
}

/// A column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Column {
    pub name: Cow<'static, str>,
    pub kind: Kind,
}

/// One value.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Null,
    Number(u64),
    Fraction(f64),
    Text(String),
}

/// Rows under columns; every row has a value for each column.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Table {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Value>>,
}

impl Column {
    pub fn new(name: impl Into<Cow<'static, str>>, kind: Kind) -> Self {
        Self { name: name.into(), kind }
    }
}

impl Table {
    /// A table without rows.
    pub fn new(columns: &[(&'static str, Kind)]) -> Self {
        Self { columns: columns.iter().map(|(name, kind)| Column::new(*name, *kind)).collect(), rows: vec![] }
    }

    /// The same, all columns being text.
    pub fn of_texts(columns: &[&'static str]) -> Self {
        Self { columns: columns.iter().map(|name| Column::new(*name, Kind::Text)).collect(), rows: vec![] }
    }

    /// The first columns only.
    pub fn first_columns(mut self, count: usize) -> Self {
        self.columns.truncate(count);
        self.rows.iter_mut().for_each(|row| row.truncate(count));
        self
    }

    /// The place of a column, whose name is not sensitive to case.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }
}

impl Value {
    /// Text, or NULL where there is none.
    pub fn text_or_null(text: Option<impl Into<String>>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(text.into()))
    }

    /// As it goes over the wire; `None` for NULL.
    pub fn shown(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Null => None,
            Self::Number(number) => Some(number.to_string().into()),
            Self::Fraction(number) => Some(format!("{number:.3}").into()),
            Self::Text(text) => Some(text.as_str().into()),
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Null => None,
            Self::Number(number) => Some(*number as f64),
            Self::Fraction(number) => Some(*number),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }

    /// By number where both are numbers, else by text without regard to case; NULL compares with nothing.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            return a.partial_cmp(&b);
        }
        Some(self.shown()?.to_lowercase().cmp(&other.shown()?.to_lowercase()))
    }

    /// For sorting: NULL comes first.
    pub fn order(&self, other: &Self) -> Ordering {
        let null = |value: &Self| *value == Self::Null;
        self.compare(other).unwrap_or_else(|| null(other).cmp(&null(self)))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

/// SQL's LIKE without regard to case: `%` for any characters, `_` for one, `\` before either for itself. Linear but
/// for going back to the last `%`.
pub(super) fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let pattern = pieces(&pattern.to_lowercase());
    let (mut at, mut p) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(p) {
            Some(Piece::Any) => {
                back = Some((p + 1, at));
                p += 1;
            }
            Some(Piece::One) => (at, p) = (at + 1, p + 1),
            Some(Piece::Character(c)) if *c == text[at] => (at, p) = (at + 1, p + 1),
            _ => match &mut back {
                Some((after, from)) => {
                    *from += 1;
                    (at, p) = (*from, *after);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|piece| *piece == Piece::Any)
}

#[derive(PartialEq, Eq)]
enum Piece {
    Any,
    One,
    Character(char),
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let mut characters = pattern.chars();
    std::iter::from_fn(|| {
        Some(match characters.next()? {
            '%' => Piece::Any,
            '_' => Piece::One,
            '\\' => Piece::Character(characters.next().unwrap_or('\\')),
            other => Piece::Character(other),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (text, pattern, expected) in [
            ("Pool_max", "pool%", true),
            ("pool_max", "%MAX", true),
            ("pool_max", "pool\\_max", true),
            ("poolxmax", "pool\\_max", false),
            ("poolxmax", "pool_max", true),
            ("aXbXc", "%b%", true),
            ("", "%", true),
            ("", "_", false),
            ("abc", "ab", false),
            ("ab", "ab%%", true),
            ("é", "_", true),
        ] {
            assert_eq!(like(text, pattern), expected, "{text} LIKE {pattern}");
        }
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        assert!(!like(&"a".repeat(2000), &format!("{}b", "%a".repeat(500))));
    }

    #[test]
    fn numbers_compare_as_numbers_and_null_with_nothing() {
        assert_eq!(Value::from("10").compare(&Value::Number(9)), Some(Ordering::Greater));
        assert_eq!(Value::from("B").compare(&Value::from("b")), Some(Ordering::Equal));
        assert_eq!(Value::Null.compare(&Value::Number(1)), None);
        assert_eq!(Value::Null.order(&Value::Number(1)), Ordering::Less);
    }
}
