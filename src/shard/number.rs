//! Numbers in decimal notation, exactly.
//!
//! Owns: what text is a plain number, and comparison by value. Does not know: keys.
//! Invariant: nothing is rounded; what does not fit is refused.

/// Digits that fit.
const DIGITS_MAX: u32 = 38;

/// `mantissa / 10^scale`, with no zero at the end of a fraction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Number {
    mantissa: i128,
    scale: u32,
}

/// Why text is no number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// It has other characters.
    NotANumber,
    /// It has more digits than fit.
    Digits,
}

impl Number {
    /// A sign or none, digits, and a point with digits or none; spaces around it.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let start =
            text.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).unwrap_or(text.len());
        let text = text.get(start..).unwrap_or_default();
        let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1);
        let text = text.get(..end).unwrap_or_default();
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, text),
        };
        let mut parts = digits.splitn(2, |byte| *byte == b'.');
        let (whole, fraction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let are_digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
        if whole.len() + fraction.len() == 0 || !are_digits(whole) || !are_digits(fraction) {
            return Err(Refusal::NotANumber);
        }
        let kept = fraction.iter().rposition(|byte| *byte != b'0').map_or(0, |at| at + 1);
        let mut mantissa: i128 = 0;
        for digit in whole.iter().chain(fraction.iter().take(kept)) {
            mantissa = mantissa
                .checked_mul(10)
                .and_then(|mantissa| mantissa.checked_add(i128::from(digit - b'0')))
                .ok_or(Refusal::Digits)?;
        }
        let scale = u32::try_from(kept).map_err(|_| Refusal::Digits)?;
        Ok(Self { mantissa: if negative { -mantissa } else { mantissa }, scale })
    }

    /// A whole number.
    pub(super) fn whole(value: i128) -> Self {
        Self { mantissa: value, scale: 0 }
    }

    /// The value, where it is whole.
    pub(super) fn integer(self) -> Option<i128> {
        (self.scale == 0).then_some(self.mantissa)
    }

    /// `value × 10^scale`, where that is whole and fits.
    pub(super) fn scaled(self, scale: u8) -> Option<i128> {
        let more = u32::from(scale).checked_sub(self.scale).filter(|more| *more <= DIGITS_MAX)?;
        self.mantissa.checked_mul(10i128.checked_pow(more)?)
    }

    /// The greatest `k` with `k ≤ value × 10^scale`, where it fits.
    pub(super) fn floor(self, scale: u8) -> Option<i128> {
        match self.scale.checked_sub(scale.into()) {
            None | Some(0) => self.scaled(scale),
            Some(less) => Some(self.mantissa.div_euclid(10i128.checked_pow(less)?)),
        }
    }

    /// All its digits as one whole number, without sign and point.
    pub(super) fn digits(self) -> u128 {
        self.mantissa.unsigned_abs()
    }
}

/// `scaled / 10^scale` in the shortest notation: `1.5` for 150 and 2.
pub(super) fn shortest(scaled: i128, scale: u8) -> String {
    let digits = format!("{:0>width$}", scaled.unsigned_abs(), width = usize::from(scale) + 1);
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    let fraction = fraction.trim_end_matches('0');
    let sign = if scaled < 0 { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_are_read_and_others_refused() {
        for (text, mantissa, scale) in [
            ("0", 0, 0),
            ("-0.00", 0, 0),
            ("+7", 7, 0),
            (" \t2443", 2443, 0),
            ("2443 ", 2443, 0),
            ("2443.", 2443, 0),
            (".5", 5, 1),
            ("-12.3400", -1234, 2),
            ("00012", 12, 0),
        ] {
            assert_eq!(Number::parse(text.as_bytes()), Ok(Number { mantissa, scale }), "{text}");
        }
        for text in [
            "", " ", ".", "-", "2443abc", "1e3", "0x10", "1 2", "1.2.3", "--1", "1_0", "\u{a0}1", "\u{c}1",
            "1\n",
        ] {
            assert_eq!(Number::parse(text.as_bytes()), Err(Refusal::NotANumber), "{text}");
        }
        assert_eq!(Number::parse(&[b'9'; 39]), Err(Refusal::Digits));
    }

    #[test]
    fn floors_and_shortest_forms() {
        let number = |text: &str| Number::parse(text.as_bytes()).unwrap();
        assert_eq!(number("5.5").floor(0), Some(5));
        assert_eq!(number("-5.5").floor(0), Some(-6));
        assert_eq!(number("5").floor(2), Some(500));
        assert_eq!(number("1.255").scaled(2), None);
        for (scaled, scale, text) in
            [(150, 2, "1.5"), (-5, 2, "-0.05"), (700, 2, "7"), (0, 3, "0"), (12, 0, "12")]
        {
            assert_eq!(shortest(scaled, scale), text);
            assert_eq!(number(text).scaled(scale), Some(scaled));
        }
    }
}
