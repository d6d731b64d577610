//! Numbers with units: durations in milliseconds, sizes in bytes.
//!
//! Owns: the units' names, and the mend for a number that lacks one. Does not know: which option it is for.
//! Invariant: what is accepted is exact; nothing is rounded, and nothing overflows.

use super::error::quoted;

/// A kind of quantity: its units, largest first, each with its worth in the smallest.
pub(super) struct Units {
    /// What a message calls it.
    what: &'static str,
    units: &'static [(&'static str, u64)],
    /// Spellings of other programs, and what is meant here.
    others: &'static [(&'static str, &'static str)],
    /// The unit that a bare number most often lacks.
    usual: &'static str,
}

/// Milliseconds, with units `ms`, `s`, `m` and `h`.
pub(super) const DURATION: Units = Units {
    what: "duration",
    units: &[("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)],
    others: &[
        ("hr", "h"),
        ("hour", "h"),
        ("hours", "h"),
        ("min", "m"),
        ("mins", "m"),
        ("minute", "m"),
        ("minutes", "m"),
        ("sec", "s"),
        ("secs", "s"),
        ("second", "s"),
        ("seconds", "s"),
        ("msec", "ms"),
        ("millis", "ms"),
    ],
    usual: "s",
};

/// Bytes, with units `B`, `KiB`, `MiB` and `GiB`.
pub(super) const SIZE: Units = Units {
    what: "size",
    units: &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)],
    others: &[("g", "GiB"), ("gb", "GiB"), ("m", "MiB"), ("mb", "MiB"), ("k", "KiB"), ("kb", "KiB")],
    usual: "MiB",
};

/// Percent, written `10%`.
pub(super) const PERCENT: Units = Units { what: "percentage", units: &[("%", 1)], others: &[], usual: "%" };

/// Why a quantity is refused, and its mend.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub message: String,
    pub help: String,
}

impl Units {
    /// The quantity in its smallest unit.
    pub(super) fn parse(&self, text: &str) -> Result<u64, Refusal> {
        let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(digits_end);
        let refuse = |message: String, help: String| Err(Refusal { message, help });
        let names = self.units.iter().rev().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>();
        if digits.is_empty() || unit.starts_with('.') {
            let message = format!("{} is not a {}", quoted(text), self.what);
            return refuse(message, format!("write a whole number and a unit ({})", names.join(", ")));
        }
        if unit.is_empty() {
            let message = format!("{} lacks its unit", quoted(text));
            return refuse(
                message,
                format!("write `{digits}{}`; units are {}", self.usual, names.join(", ")),
            );
        }
        let Some((_, worth)) = self.units.iter().find(|(name, _)| *name == unit) else {
            let message = format!("{} has an unknown unit", quoted(text));
            return refuse(
                message,
                match self.meant(unit.trim()) {
                    Some(meant) => format!("write `{digits}{meant}`"),
                    None => format!("units are {}", names.join(", ")),
                },
            );
        };
        match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*worth)) {
            Some(value) => Ok(value),
            None => refuse(format!("{} is too large", quoted(text)), "write a smaller number".to_owned()),
        }
    }

    /// `value` with the largest unit that divides it.
    pub(super) fn show(&self, value: u64) -> String {
        let fits = |(_, worth): &&(&str, u64)| value > 0 && value.is_multiple_of(*worth);
        match self.units.iter().find(fits) {
            Some((name, worth)) => format!("{}{name}", value / worth),
            None => format!("{value}{}", self.units.last().map_or("", |(name, _)| name)),
        }
    }

    /// The unit that another spelling stands for.
    fn meant(&self, unit: &str) -> Option<&'static str> {
        let lower = unit.to_ascii_lowercase();
        let same = self.units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(name, _)| *name);
        same.or_else(|| self.others.iter().find(|(name, _)| *name == lower).map(|(_, meant)| *meant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit() {
        for (text, ms) in [("250ms", 250), ("2s", 2000), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0)] {
            assert_eq!(DURATION.parse(text), Ok(ms), "{text}");
        }
        for (text, bytes) in [("7B", 7), ("16KiB", 16_384), ("64MiB", 67_108_864), ("1GiB", 1_073_741_824)] {
            assert_eq!(SIZE.parse(text), Ok(bytes), "{text}");
        }
        assert_eq!(PERCENT.parse("10%"), Ok(10));
    }

    #[test]
    fn refuses_with_the_mend() {
        for (units, text, mend) in [
            (&DURATION, "5", "write `5s`"),
            (&DURATION, "5 sec", "write `5s`"),
            (&DURATION, "3MIN", "write `3m`"),
            (&DURATION, "1.5s", "whole number"),
            (&DURATION, "-1s", "whole number"),
            (&DURATION, "", "whole number"),
            (&DURATION, "1d", "units are `ms`, `s`, `m`, `h`"),
            (&SIZE, "64MB", "write `64MiB`"),
            (&SIZE, "64mib", "write `64MiB`"),
            (&SIZE, "64", "write `64MiB`"),
            (&PERCENT, "10", "write `10%`"),
        ] {
            let refusal = units.parse(text).expect_err(text);
            assert!(refusal.help.contains(mend), "{text}: {}", refusal.help);
        }
    }

    #[test]
    fn an_overflow_is_refused() {
        assert!(DURATION.parse("18446744073709551615h").is_err());
        assert!(SIZE.parse("99999999999999999999B").is_err());
    }

    #[test]
    fn shows_the_largest_unit_that_divides() {
        assert_eq!(DURATION.show(90_000), "90s");
        assert_eq!(DURATION.show(0), "0ms");
        assert_eq!(SIZE.show(1 << 30), "1GiB");
    }
}
