//! What a read must not miss: the levels, and how they are written in the rules file, in SET and in a hint.
//!
//! Does not know: how they are kept. Invariant: each level misses no more than those after it in [`Consistency`].

use std::fmt;
use std::time::Duration;

/// What a read must not miss.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Consistency {
    /// What anybody's write was acknowledged for before it, through whichever instance.
    Global,
    /// The same, as it was so many milliseconds before; and what `Session` must not.
    Bounded(u32),
    /// The session's own writes, and what it has read before.
    Session,
    /// Nothing: a replica may be behind by `max_lag`.
    Eventual,
}

/// The longest bound, in milliseconds: 7 days.
const LONGEST_MS: u32 = 7 * 24 * 60 * 60 * 1000;

impl Consistency {
    /// How it is written, for messages.
    pub const FORMS: &'static str =
        "`session`, `global`, `bounded(<duration>)` such as `bounded(2s)`, `eventual`";

    /// The level that `text` names, in whatever case; `None` for anything else, and for a bound below 1 ms or above 7 days.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let is = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
        if is("session") {
            return Some(Self::Session);
        }
        if is("global") {
            return Some(Self::Global);
        }
        if is("eventual") {
            return Some(Self::Eventual);
        }
        let (name, inside) = text.split_at_checked(b"bounded".len())?;
        let inside = inside.trim_ascii_start().strip_prefix(b"(")?.strip_suffix(b")")?.trim_ascii();
        let unit_at = inside.iter().position(|byte| !byte.is_ascii_digit())?;
        let (number, unit) = inside.split_at(unit_at);
        let number: u32 = str::from_utf8(number).ok()?.parse().ok()?;
        let unit_ms = match unit.to_ascii_lowercase().as_slice() {
            b"ms" => 1,
            b"s" => 1000,
            b"m" => 60 * 1000,
            b"h" => 60 * 60 * 1000,
            _ => return None,
        };
        let bound = number.checked_mul(unit_ms).filter(|ms| (1..=LONGEST_MS).contains(ms))?;
        name.eq_ignore_ascii_case(b"bounded").then_some(Self::Bounded(bound))
    }

    /// How old what a read sees of others' writes may be; `None` where nothing bounds it.
    pub fn age(self) -> Option<Duration> {
        match self {
            Self::Global => Some(Duration::ZERO),
            Self::Bounded(ms) => Some(Duration::from_millis(ms.into())),
            Self::Session | Self::Eventual => None,
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Bounded(ms) if ms % 1000 == 0 => write!(f, "bounded({}s)", ms / 1000),
            Self::Bounded(ms) => write!(f, "bounded({ms}ms)"),
            Self::Session => f.write_str("session"),
            Self::Eventual => f.write_str("eventual"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn their_forms_and_no_other() {
        for (text, level, shown) in [
            ("session", Consistency::Session, "session"),
            ("Global", Consistency::Global, "global"),
            ("EVENTUAL", Consistency::Eventual, "eventual"),
            ("bounded(2s)", Consistency::Bounded(2000), "bounded(2s)"),
            ("Bounded ( 1500ms )", Consistency::Bounded(1500), "bounded(1500ms)"),
            ("bounded(1M)", Consistency::Bounded(60_000), "bounded(60s)"),
            ("bounded(168h)", Consistency::Bounded(LONGEST_MS), "bounded(604800s)"),
        ] {
            assert_eq!(Consistency::parse(text.as_bytes()), Some(level), "{text}");
            assert_eq!(level.to_string(), shown);
            assert_eq!(Consistency::parse(shown.as_bytes()), Some(level), "{shown}");
        }
        for text in [
            "",
            "sessions",
            "bounded",
            "bounded()",
            "bounded(2)",
            "bounded(s)",
            "bounded(-1s)",
            "bounded(0s)",
            "bounded(169h)",
            "bounded(2s",
            "bounded 2s",
            "unbound(2s)",
            "bounded(4294967297ms)",
            "bounded(2 s)",
            "bounded(1.5s)",
        ] {
            assert_eq!(Consistency::parse(text.as_bytes()), None, "{text}");
        }
    }
}
