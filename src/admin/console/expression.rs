//! The expressions that a console statement may hold: values, and conditions on the rows of one table.
//!
//! Invariant: nesting is bounded, so that no statement overflows the stack.

use std::cmp::Ordering;

use super::table::{Table, Value, like};
use super::tokens::{Token, Tokens};

/// Parentheses and NOTs within each other.
const DEPTH_MAX: usize = 32;

/// A value, or where it is found.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Operand {
    Literal(Value),
    Column(String),
    Variable(String),
    /// A function of no arguments, its name in lower case.
    Function(String),
    /// COUNT(*).
    Count,
}

/// A condition on a row.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Operand, &'static str, Operand),
    Like(Operand, Operand),
    In(Operand, Vec<Operand>),
    IsNull(Operand),
    /// A value by itself, which is true when it is a number other than 0.
    Is(Operand),
}

/// What is not about the table: variables and functions.
pub(super) trait Surroundings {
    /// A system variable; `None` where there is none of this name.
    fn variable(&self, name: &str) -> Option<Value>;
    /// A function's value; `None` where there is none of this name.
    fn function(&self, name: &str) -> Option<Value>;
}

/// Why a statement cannot be answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unanswerable {
    /// It is none of those that the console knows.
    Unknown,
    /// 1054.
    NoColumn(String),
    /// 1146.
    NoTable(String),
    /// 1193.
    NoVariable(String),
    /// 1305.
    NoFunction(String),
    /// 1049.
    NoDatabase(String),
}

const COMPARISONS: [&str; 8] = ["=", "<=>", "!=", "<>", "<=", ">=", "<", ">"];

impl Operand {
    pub fn parse(tokens: &mut Tokens) -> Option<Self> {
        Some(match tokens.next()? {
            Token::Text(text) => Self::Literal(Value::Text(text)),
            Token::Number(text) => Self::Literal(match text.parse() {
                Ok(number) => Value::Number(number),
                Err(_) => Value::Fraction(text.parse().ok()?),
            }),
            Token::Variable(name) => Self::Variable(name),
            Token::Quoted(name) => Self::rest_of_name(name, tokens)?,
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "null" => Self::Literal(Value::Null),
                "true" => Self::Literal(Value::Number(1)),
                "false" => Self::Literal(Value::Number(0)),
                "count" if tokens.mark("(") => {
                    let whole = tokens.mark("*") || tokens.number().is_some();
                    return (whole && tokens.mark(")")).then_some(Self::Count);
                }
                name if tokens.mark("(") => {
                    return tokens.mark(")").then(|| Self::Function(name.to_owned()));
                }
                name @ ("current_user" | "current_timestamp") => Self::Function(name.to_owned()),
                _ => Self::rest_of_name(word, tokens)?,
            },
            Token::Mark(_) => return None,
        })
    }

    /// `a`, `a.b`, `a.b.c`: the last part is the column.
    fn rest_of_name(mut name: String, tokens: &mut Tokens) -> Option<Self> {
        while tokens.mark(".") {
            name = tokens.name()?;
        }
        Some(Self::Column(name))
    }

    pub fn value(
        &self,
        table: &Table,
        row: &[Value],
        around: &dyn Surroundings,
    ) -> Result<Value, Unanswerable> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Column(name) => {
                let at = table.column(name).ok_or_else(|| Unanswerable::NoColumn(name.clone()))?;
                Ok(row.get(at).cloned().unwrap_or(Value::Null))
            }
            Self::Variable(name) => {
                around.variable(name).ok_or_else(|| Unanswerable::NoVariable(name.clone()))
            }
            Self::Function(name) => {
                around.function(name).ok_or_else(|| Unanswerable::NoFunction(name.clone()))
            }
            Self::Count => Ok(Value::from(table.rows.len())),
        }
    }
}

impl Condition {
    /// Adds the operands, from left to right.
    pub fn operands<'a>(&'a self, found: &mut Vec<&'a Operand>) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.operands(found)),
            Self::Not(part) => part.operands(found),
            Self::Compare(one, _, other) | Self::Like(one, other) => found.extend([one, other]),
            Self::In(one, others) => found.extend(std::iter::once(one).chain(others)),
            Self::IsNull(one) | Self::Is(one) => found.push(one),
        }
    }

    pub fn parse(tokens: &mut Tokens) -> Option<Self> {
        Self::any(tokens, 0)
    }

    fn any(tokens: &mut Tokens, depth: usize) -> Option<Self> {
        let mut parts = vec![Self::all(tokens, depth)?];
        while tokens.words(&["OR"]) || tokens.mark("||") {
            parts.push(Self::all(tokens, depth)?);
        }
        Some(if parts.len() == 1 { parts.pop()? } else { Self::Any(parts) })
    }

    fn all(tokens: &mut Tokens, depth: usize) -> Option<Self> {
        let mut parts = vec![Self::one(tokens, depth)?];
        while tokens.words(&["AND"]) || tokens.mark("&&") {
            parts.push(Self::one(tokens, depth)?);
        }
        Some(if parts.len() == 1 { parts.pop()? } else { Self::All(parts) })
    }

    fn one(tokens: &mut Tokens, depth: usize) -> Option<Self> {
        if depth > DEPTH_MAX {
            return None;
        }
        if tokens.words(&["NOT"]) {
            return Some(Self::Not(Box::new(Self::one(tokens, depth + 1)?)));
        }
        if tokens.mark("(") {
            let inside = Self::any(tokens, depth + 1)?;
            return tokens.mark(")").then_some(inside);
        }
        let left = Operand::parse(tokens)?;
        if tokens.words(&["IS"]) {
            let not = tokens.words(&["NOT"]);
            return tokens.words(&["NULL"]).then(|| Self::IsNull(left).negated(not));
        }
        let not = tokens.words(&["NOT"]);
        if tokens.words(&["LIKE"]) {
            return Some(Self::Like(left, Operand::parse(tokens)?).negated(not));
        }
        if tokens.words(&["IN"]) {
            let mut values = Vec::new();
            let mut more = tokens.mark("(");
            while more {
                values.push(Operand::parse(tokens)?);
                more = tokens.mark(",");
            }
            return tokens.mark(")").then(|| Self::In(left, values).negated(not));
        }
        match COMPARISONS.iter().find(|mark| !not && tokens.mark(mark)) {
            Some(mark) => Some(Self::Compare(left, mark, Operand::parse(tokens)?)),
            None => (!not).then_some(Self::Is(left)),
        }
    }

    fn negated(self, not: bool) -> Self {
        if not { Self::Not(Box::new(self)) } else { self }
    }

    /// Whether a row meets it. What compares with NULL is not met.
    pub fn holds(
        &self,
        table: &Table,
        row: &[Value],
        around: &dyn Surroundings,
    ) -> Result<bool, Unanswerable> {
        let value = |operand: &Operand| operand.value(table, row, around);
        Ok(match self {
            Self::All(parts) => {
                for part in parts {
                    if !part.holds(table, row, around)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Any(parts) => {
                for part in parts {
                    if part.holds(table, row, around)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Not(part) => !part.holds(table, row, around)?,
            Self::Compare(left, mark, right) => {
                let (left, right) = (value(left)?, value(right)?);
                match (left.compare(&right), *mark) {
                    (order, "<=>") => order == Some(Ordering::Equal) || left == right,
                    (None, _) => false,
                    (Some(order), "=") => order.is_eq(),
                    (Some(order), "<") => order.is_lt(),
                    (Some(order), "<=") => order.is_le(),
                    (Some(order), ">") => order.is_gt(),
                    (Some(order), ">=") => order.is_ge(),
                    (Some(order), _) => order.is_ne(),
                }
            }
            Self::Like(left, pattern) => match (value(left)?.shown(), value(pattern)?.shown()) {
                (Some(text), Some(pattern)) => like(&text, &pattern),
                _ => false,
            },
            Self::In(left, values) => {
                let left = value(left)?;
                for right in values {
                    if left.compare(&value(right)?) == Some(Ordering::Equal) {
                        return Ok(true);
                    }
                }
                false
            }
            Self::IsNull(operand) => value(operand)? == Value::Null,
            Self::Is(operand) => value(operand)?.compare(&Value::Number(0)).is_some_and(Ordering::is_ne),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Kind;
    use super::*;

    struct Nothing;

    impl Surroundings for Nothing {
        fn variable(&self, name: &str) -> Option<Value> {
            (name == "one").then_some(Value::Number(1))
        }

        fn function(&self, _: &str) -> Option<Value> {
            None
        }
    }

    fn holds(condition: &str) -> Result<bool, Unanswerable> {
        let mut table = Table::new(&[("Name", Kind::Text), ("Rows", Kind::Number), ("Lag", Kind::Fraction)]);
        table.rows.push(vec!["db-1".into(), Value::Number(12), Value::Null]);
        let mut tokens = Tokens::of(condition);
        let parsed = Condition::parse(&mut tokens).filter(|_| tokens.is_done());
        parsed.ok_or(Unanswerable::Unknown)?.holds(&table, &table.rows[0], &Nothing)
    }

    #[test]
    fn conditions_on_a_row() {
        for (condition, expected) in [
            ("name = 'DB-1'", true),
            ("`Name` like 'db%' and rows > 9", true),
            ("t.name NOT LIKE 'db%' OR rows <= 11", false),
            ("rows IN (1, 12)", true),
            ("rows not in (1, 12)", false),
            ("lag IS NULL and not (lag is not null)", true),
            ("lag < 1 or lag >= 1", false),
            ("lag <=> NULL", true),
            ("@@one", true),
            ("1 = 0", false),
        ] {
            assert_eq!(holds(condition), Ok(expected), "{condition}");
        }
    }

    #[test]
    fn what_is_not_there_is_said() {
        assert_eq!(holds("nam = 1"), Err(Unanswerable::NoColumn("nam".into())));
        assert_eq!(holds("@@two = 1"), Err(Unanswerable::NoVariable("two".into())));
        assert_eq!(holds("f() = 1"), Err(Unanswerable::NoFunction("f".into())));
        for broken in ["", "rows >", "rows BETWEEN 1 AND 2", "(rows", "rows NOT", "rows IN (", "name LIKE"] {
            assert_eq!(holds(broken), Err(Unanswerable::Unknown), "{broken}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(holds(&format!("{}1", "(".repeat(30_000))), Err(Unanswerable::Unknown));
        assert_eq!(holds(&format!("{}1", "NOT ".repeat(15_000))), Err(Unanswerable::Unknown));
    }
}
