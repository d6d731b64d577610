//! A merge in words.
//!
//! Owns: the words. Does not know: the statement; its numbers come in. Invariant: that of `shown`.

use crate::merge::{Arrival, Combine, Condition, Expression, Fold, Key, Operand, Operator, Pad, Spec, Test};

/// A merge, whose numbers are these.
pub(super) fn describe(spec: &Spec, numbers: &[String], texts: &[String]) -> String {
    let words = Words { numbers, texts };
    let mut out = match &spec.combine {
        Combine::Rows => "rows".to_owned(),
        Combine::Distinct(by) => format!("distinct rows by {}", keys(by)),
        Combine::Groups(groups) => {
            let folds: Vec<_> =
                groups.outputs.iter().map(|output| words.fold(output.place, &output.fold)).collect();
            match &groups.keys[..] {
                [] => format!("one group: {}", folds.join(", ")),
                by => format!("groups by {}: {}", keys(by), folds.join(", ")),
            }
        }
    };
    for level in &spec.levels {
        let (value, sum, whole) = (level.value + 1, level.sum + 1, level.whole + 1);
        out += &format!("; sums over {value} by {sum}, none where only {whole} is null");
    }
    match &spec.arrival {
        Arrival::Any => {}
        Arrival::Sorted(by) => out += &format!("; in order of {}", keys(by)),
    }
    if let Some(having) = &spec.having {
        out += &format!("; where {}", words.condition(having));
    }
    if !spec.order.is_empty() {
        out += &format!("; then sorted by {}", keys(&spec.order));
    }
    if spec.anonymous {
        out += "; columns of no table";
    }
    if spec.hidden > 0 {
        out += &format!("; {} hidden", spec.hidden);
    }
    out
}

fn keys(keys: &[Key]) -> String {
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

fn key(key: &Key) -> String {
    let mut out = (key.place + 1).to_string();
    if let Some(weight) = &key.weight {
        out += &format!(" (weight {}", weight.place + 1);
        if let Pad::At(space) = weight.pad {
            out += &format!(", space {}", space + 1);
        }
        out += ")";
    }
    if key.descending {
        out += " descending";
    }
    out
}

struct Words<'a> {
    numbers: &'a [String],
    texts: &'a [String],
}

impl Words<'_> {
    fn fold(&self, place: usize, fold: &Fold) -> String {
        let place = place + 1;
        match fold {
            Fold::Any => format!("{place}"),
            Fold::Count => format!("count {place}"),
            Fold::Sum => format!("sum {place}"),
            Fold::SumOf(of) => format!("sum {place} of {}", of + 1),
            Fold::Average { sum, count } => format!("average {place} of {} and {}", sum + 1, count + 1),
            Fold::Least(by) => format!("least {place} by {}", key(by)),
            Fold::Greatest(by) => format!("greatest {place} by {}", key(by)),
            Fold::Expression(expression) => format!("{place} = {}", self.expression(expression)),
            Fold::CountDistinct(by) => format!("count {place} of different {}", keys(by)),
            Fold::SumDistinct(of) => format!("sum {place} of different {}", key(&of.key)),
            Fold::AverageDistinct(of) => {
                format!("average {place} of different {} by {}", of.value + 1, key(&of.key))
            }
            Fold::Concat(of) => {
                let place: Option<usize> =
                    std::str::from_utf8(&of.separator).ok().and_then(|place| place.parse().ok());
                let between = place.and_then(|place| self.texts.get(place)).map_or("','", String::as_str);
                let once = of.distinct.as_ref().map(|by| format!(" of different {}", keys(by)));
                format!("join {place_} by {between}{}", once.unwrap_or_default(), place_ = of.value + 1)
            }
            Fold::JsonArray { .. } => format!("array {place}"),
            Fold::JsonObject { .. } => format!("object {place}"),
            Fold::Deviation(of) => {
                let what = if of.root { "deviation" } else { "variance" };
                let sample = if of.sample { " of a sample" } else { "" };
                let (count, sum, variance) = (of.count + 1, of.sum + 1, of.variance + 1);
                format!("{what}{sample} {place} of {count}, {sum} and {variance}")
            }
            Fold::Whole(of) => format!("all digits of #{}", of + 1),
            Fold::Finished => format!("{place} by a server"),
            Fold::BitAnd | Fold::BitOr | Fold::BitXor => format!("{fold:?} {place}").to_ascii_lowercase(),
        }
    }

    fn number(&self, place: &[u8]) -> &str {
        let place: Option<usize> = std::str::from_utf8(place).ok().and_then(|place| place.parse().ok());
        place.and_then(|place| self.numbers.get(place)).map_or("?", String::as_str)
    }

    fn expression(&self, expression: &Expression) -> String {
        match expression {
            Expression::Output(place) => format!("#{}", place + 1),
            Expression::Number(place) => self.number(place).to_owned(),
            Expression::Arithmetic(left, operator, right) => {
                let sign = match operator {
                    Operator::Plus => '+',
                    Operator::Minus => '-',
                    Operator::Times => '*',
                    Operator::Over => '/',
                };
                format!("({} {sign} {})", self.expression(left), self.expression(right))
            }
            Expression::IfNull(value, other) => {
                format!("({} or {})", self.expression(value), self.expression(other))
            }
            Expression::Round { value, digits, .. } => {
                let digits = if digits.is_empty() { "0" } else { self.number(digits) };
                format!("(round {} to {digits})", self.expression(value))
            }
            Expression::Declared(value) => self.expression(value),
        }
    }

    fn condition(&self, condition: &Condition) -> String {
        let list = |list: &[Condition], word: &str| {
            let parts: Vec<_> = list.iter().map(|part| self.condition(part)).collect();
            format!("({})", parts.join(word))
        };
        match condition {
            Condition::Compare(left, test, right) => {
                let test = match test {
                    Test::Equal => "=",
                    Test::NotEqual => "<>",
                    Test::Less => "<",
                    Test::LessOrEqual => "<=",
                    Test::Greater => ">",
                    Test::GreaterOrEqual => ">=",
                };
                format!("{} {test} {}", self.operand(left), self.operand(right))
            }
            Condition::IsNull(of) => format!("{} is null", self.operand(of)),
            Condition::Not(of) => format!("not {}", self.condition(of)),
            Condition::All(parts) => list(parts, " and "),
            Condition::Any(parts) => list(parts, " or "),
        }
    }

    fn operand(&self, operand: &Operand) -> String {
        match operand {
            Operand::Column(place) => format!("#{}", place + 1),
            Operand::Number(place) => self.number(place).to_owned(),
        }
    }
}
