//! `{00..15}` in a text: many texts that differ by a number.
//!
//! Owns: that notation, and `{table}` with a suffix. Does not know: what the texts are for.
//! Invariant: a pattern has 1 to `SHARDS_MAX` texts, all different.

use crate::shard::SHARDS_MAX;

use super::super::error::quoted;

/// A message and its mend.
type Refusal = (String, String);

/// A text, or as many as its pattern stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Texts {
    /// No pattern.
    One(String),
    /// One for each number, in order.
    Many(Vec<String>),
}

impl Texts {
    /// What `text` stands for.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let Some((before, rest)) = text.split_once('{') else { return Ok(Self::One(text.to_owned())) };
        let refuse = |help: &str| Err((format!("{} is not a pattern", quoted(text)), help.to_owned()));
        let Some((numbers, after)) = rest.split_once('}') else {
            return refuse("close the brace: `{00..15}`");
        };
        if after.contains('{') {
            return refuse("keep one pattern in a text");
        }
        let Some((first, last)) = numbers.split_once("..") else {
            return refuse("write first and last number: `{00..15}`");
        };
        let number = |digits: &str| {
            let plain = (1..=18).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let (Some(from), Some(to)) = (number(first), number(last)) else {
            return refuse("write two numbers: `{00..15}`");
        };
        let is_padded = first.len() > 1 && first.starts_with('0');
        if is_padded && first.len() != last.len() {
            return refuse("write both numbers with as many digits: `{00..15}`");
        }
        let count = to
            .checked_sub(from)
            .and_then(|more| usize::try_from(more).ok())
            .map(|more| more.saturating_add(1));
        match count {
            None => refuse("begin with the smaller number"),
            Some(count) if count > SHARDS_MAX => {
                refuse(&format!("it stands for {count} texts; a keyspace has {SHARDS_MAX} shards at most"))
            }
            Some(_) => {
                let width = if is_padded { first.len() } else { 0 };
                Ok(Self::Many((from..=to).map(|number| format!("{before}{number:0width$}{after}")).collect()))
            }
        }
    }

    /// How many texts there are.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(texts) => texts.len(),
        }
    }

    /// The text at a place; without a pattern it is the same at all.
    pub(super) fn at(&self, place: usize) -> &str {
        match self {
            Self::One(text) => text,
            Self::Many(texts) => texts.get(place).map_or("", String::as_str),
        }
    }

    /// Whether it goes along with `count` others.
    pub(super) fn fits(&self, count: usize) -> bool {
        matches!(self, Self::One(_)) || self.len() == count
    }
}

/// What stands behind `{table}` in the names of a shard's tables.
pub(super) fn suffix(text: &str) -> Result<Texts, Refusal> {
    match text.strip_prefix("{table}") {
        Some(rest) if !rest.is_empty() => Texts::parse(rest),
        _ => Err((
            format!("{} does not name a shard's tables", quoted(text)),
            "begin with the table's own name and add to it: `\"{table}_{00..15}\"`".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(text: &str) -> Vec<String> {
        let texts = Texts::parse(text).unwrap();
        (0..texts.len()).map(|at| texts.at(at).to_owned()).collect()
    }

    #[test]
    fn numbers_are_counted_with_their_digits() {
        assert_eq!(many("shop_{8..11}"), ["shop_8", "shop_9", "shop_10", "shop_11"]);
        assert_eq!(many("t{08..11}x"), ["t08x", "t09x", "t10x", "t11x"]);
        assert_eq!(many("{0..0}"), ["0"]);
        assert_eq!(many("plain"), ["plain"]);
        assert_eq!(suffix("{table}_{00..01}"), Ok(Texts::Many(vec!["_00".into(), "_01".into()])));
        assert_eq!(suffix("{table}_2026"), Ok(Texts::One("_2026".into())));
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_mend() {
        for (text, mend) in [
            ("a{00..15", "close the brace"),
            ("a{0..1}b{0..1}", "one pattern"),
            ("a{0-1}", "first and last"),
            ("a{x..y}", "two numbers"),
            ("a{00..7}", "as many digits"),
            ("a{7..0}", "smaller number"),
            ("a{0..1024}", "1024 shards at most"),
            ("a{..}", "two numbers"),
            ("a{0..99999999999999999999}", "two numbers"),
        ] {
            assert!(Texts::parse(text).is_err_and(|(_, help)| help.contains(mend)), "{text}");
        }
        for text in ["{table}", "orders_{0..1}", "x{table}_1", ""] {
            assert!(suffix(text).is_err(), "{text}");
        }
    }
}
