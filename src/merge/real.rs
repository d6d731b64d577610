//! DOUBLE as text, as the servers write it.

use std::io::Write as _;

/// `decimals` of a column whose digits behind the point are not fixed.
const NOT_FIXED: u8 = 31;
/// Places of the point beyond which a number is written with an exponent (the servers' MAX_DECPT_FOR_F_FORMAT).
const POINT_MAX: i32 = 15;
/// Digits of an f64 at most, with sign, point and exponent.
const LENGTH: usize = 32;

/// Appends a number: its shortest digits that read back as the same, or so many behind the point as the column has.
pub(super) fn put(value: f64, decimals: u8, out: &mut Vec<u8>) {
    // Writing to memory does not fail, and what `shortest` is given fits.
    if decimals < NOT_FIXED {
        let _ = write!(out, "{value:.*}", usize::from(decimals));
        return;
    }
    let mut text = [0u8; LENGTH];
    let mut rest = &mut text[..];
    let _ = write!(rest, "{value:e}");
    let length = LENGTH - rest.len();
    let mut parts = text[..length].split(|byte| *byte == b'e');
    let (mantissa, exponent) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let exponent: i32 = std::str::from_utf8(exponent).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let point = exponent + 1;
    if value != 0.0 && !(-POINT_MAX + 1..=POINT_MAX).contains(&point) {
        out.extend_from_slice(&text[..length]);
    } else {
        debug_assert!(!mantissa.is_empty());
        let _ = write!(out, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SELECT` of each on MySQL 9.7 and MariaDB 10.11.
    #[test]
    fn as_servers_write_it() {
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e14, "100000000000000"),
            (123456789012345.0, "123456789012345"),
            (999999999999999.9, "999999999999999.9"),
            (1e15, "1e15"),
            (1234567890123456.0, "1.234567890123456e15"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (1.5e-15, "0.0000000000000015"),
            (1.5e-20, "1.5e-20"),
            (1e100, "1e100"),
            (f64::MAX, "1.7976931348623157e308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        ] {
            let mut out = Vec::new();
            put(value, 31, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        let mut out = Vec::new();
        put(2.0, 6, &mut out);
        assert_eq!(out, b"2.000000");
    }
}
