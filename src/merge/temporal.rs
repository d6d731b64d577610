//! Dates and times as numbers that keep their order.
//!
//! Owns: both encodings of DATE, DATETIME, TIMESTAMP and TIME. Does not know: calendars, time zones.
//! Invariant: `0000-00-00` and other dates that are none have their place too.

use super::row::Format;
use crate::wire::cursor::Cursor;

const MICROSECONDS: i64 = 1_000_000;

/// A DATE, DATETIME or TIMESTAMP.
pub(super) fn moment(value: &[u8], format: Format) -> Option<u64> {
    let [year, month, day, hour, minute, second, microsecond] = match format {
        Format::Text => moment_text(value)?,
        Format::Binary => moment_binary(value)?,
    };
    let days = (year * 16 + month) * 32 + day;
    Some(((days * 24 + hour) * 60 + minute) * 60 * 1_000_000 + second * 1_000_000 + microsecond)
}

/// `YYYY-MM-DD[ hh:mm:ss[.ffffff]]`.
fn moment_text(value: &[u8]) -> Option<[u64; 7]> {
    let mut reader = Reader(value);
    let mut parts = [0; 7];
    for (place, before) in [(0, b""), (1, b"-"), (2, b"-")] as [(usize, &[u8]); 3] {
        parts[place] = reader.number(before)?;
    }
    if !reader.0.is_empty() {
        for (place, before) in [(3, b" "), (4, b":"), (5, b":")] as [(usize, &[u8]); 3] {
            parts[place] = reader.number(before)?;
        }
        parts[6] = reader.fraction()?;
    }
    fits(parts)
}

fn moment_binary(value: &[u8]) -> Option<[u64; 7]> {
    let mut parts = [0; 7];
    let mut cursor = Cursor::new(value);
    if !cursor.is_empty() {
        parts[0] = cursor.u16()?.into();
        for part in &mut parts[1..3] {
            *part = cursor.u8()?.into();
        }
    }
    if !cursor.is_empty() {
        for part in &mut parts[3..6] {
            *part = cursor.u8()?.into();
        }
    }
    if !cursor.is_empty() {
        parts[6] = cursor.u32()?.into();
    }
    cursor.is_empty().then_some(())?;
    fits(parts)
}

/// What is beyond its place would spoil the order.
fn fits(parts: [u64; 7]) -> Option<[u64; 7]> {
    let below = [10_000, 16, 32, 24, 60, 60, 1_000_000];
    parts.iter().zip(below).all(|(part, below)| *part < below).then_some(parts)
}

/// A TIME, in microseconds.
pub(super) fn time(value: &[u8], format: Format) -> Option<i64> {
    let (negative, hours, [minutes, seconds, microseconds]) = match format {
        Format::Text => {
            let (negative, digits) = value.strip_prefix(b"-").map_or((false, value), |digits| (true, digits));
            let mut reader = Reader(digits);
            let hours = reader.number(b"")?;
            (negative, hours, [reader.number(b":")?, reader.number(b":")?, reader.fraction()?])
        }
        Format::Binary if value.is_empty() => (false, 0, [0; 3]),
        Format::Binary => {
            let mut cursor = Cursor::new(value);
            let negative = cursor.u8()? != 0;
            let hours = u64::from(cursor.u32()?) * 24 + u64::from(cursor.u8()?);
            let (minutes, seconds) = (cursor.u8()?, cursor.u8()?);
            let microseconds = if cursor.is_empty() { 0 } else { cursor.u32()? };
            cursor.is_empty().then_some(())?;
            (negative, hours, [minutes.into(), seconds.into(), microseconds.into()])
        }
    };
    let minutes = i64::try_from(hours.checked_mul(60)?.checked_add(minutes)?).ok()?;
    let seconds = minutes.checked_mul(60)?.checked_add(i64::try_from(seconds).ok()?)?;
    let time = seconds.checked_mul(MICROSECONDS)?.checked_add(i64::try_from(microseconds).ok()?)?;
    Some(if negative { -time } else { time })
}

/// Numbers of a text, one after another.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// The number behind `before`.
    fn number(&mut self, before: &[u8]) -> Option<u64> {
        let digits = self.0.strip_prefix(before)?;
        let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
        let (number, rest) = digits.split_at(end);
        if number.is_empty() || number.len() > 9 {
            return None;
        }
        self.0 = rest;
        Some(number.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
    }

    /// Microseconds at the end: up to six digits behind a point, or nothing.
    fn fraction(&mut self) -> Option<u64> {
        if self.0.is_empty() {
            return Some(0);
        }
        let digits = self.0.len() - 1;
        let number = self.number(b".")?;
        let missing = 6usize.checked_sub(digits)?;
        self.0.is_empty().then(|| (0..missing).fold(number, |number, _| number * 10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_order_in_both_encodings() {
        let rows: [(&str, &[u8]); 6] = [
            ("0000-00-00", b""),
            ("0001-01-02", b"\x01\x00\x01\x02"),
            ("1999-12-31 23:59:59", b"\xcf\x07\x0c\x1f\x17\x3b\x3b"),
            ("2020-01-02 03:04:05", b"\xe4\x07\x01\x02\x03\x04\x05"),
            ("2020-01-02 03:04:05.000001", b"\xe4\x07\x01\x02\x03\x04\x05\x01\x00\x00\x00"),
            ("2020-01-02 03:04:05.500", b"\xe4\x07\x01\x02\x03\x04\x05\x20\xa1\x07\x00"),
        ];
        let mut before = None;
        for (text, binary) in rows {
            let moment = super::moment(text.as_bytes(), Format::Text);
            assert!(moment.is_some() && moment > before, "{text}");
            assert_eq!(super::moment(binary, Format::Binary), moment, "{text}");
            before = moment;
        }
    }

    #[test]
    fn times_are_signed_and_longer_than_a_day() {
        let rows: [(&str, &[u8]); 6] = [
            ("-838:59:59", b"\x01\x22\x00\x00\x00\x16\x3b\x3b"),
            ("-100:00:00.500", b"\x01\x04\x00\x00\x00\x04\x00\x00\x20\xa1\x07\x00"),
            ("-00:00:01", b"\x01\x00\x00\x00\x00\x00\x00\x01"),
            ("00:00:00", b""),
            ("00:00:00.000001", b"\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00"),
            ("838:59:59", b"\x00\x22\x00\x00\x00\x16\x3b\x3b"),
        ];
        let mut before = None;
        for (text, binary) in rows {
            let time = super::time(text.as_bytes(), Format::Text);
            assert!(time.is_some() && time > before, "{text}");
            assert_eq!(super::time(binary, Format::Binary), time, "{text}");
            before = time;
        }
    }

    #[test]
    fn what_is_malformed_is_none() {
        for text in
            ["", "2020", "2020-01", "2020-01-02 ", "2020-01-02 03:04", "2020-13-02x", "2020-01-02 03:04:05."]
        {
            assert_eq!(moment(text.as_bytes(), Format::Text), None, "{text}");
        }
        for text in ["", "-", "1:2", "1:2:3.", "1:2:3.1234567", "99999999999:00:00"] {
            assert_eq!(time(text.as_bytes(), Format::Text), None, "{text}");
        }
        assert_eq!(moment(b"\x01", Format::Binary), None);
        assert_eq!(time(b"\x00\x01", Format::Binary), None);
    }
}
