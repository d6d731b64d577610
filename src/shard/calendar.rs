//! Days, and the years, months and weeks that they are in.
//!
//! Owns: the Gregorian calendar as servers count it, ISO 8601's weeks, plain notations of both. Does not know: time zones, the clock.
//! Invariant: a `Date` that was made here exists; a later day is never in an earlier period.

use std::fmt::Write as _;

use super::value::{Date, Datetime};

const SECOND: u64 = 1_000_000;
/// Microseconds have so many digits.
const FRACTION: usize = 6;

impl Date {
    /// The day, where there is such a one from year 1 to year 9999.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let last = match month {
            2 => 28 + u8::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        ((1..=9999).contains(&year) && (1..=last).contains(&day)).then_some(Self { year, month, day })
    }

    /// A day as servers read it in a text: `2026-01-05`, `2026-1-5`. Their many other notations are refused.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.splitn(3, |byte| *byte == b'-');
        let mut part = |digits| parts.next().and_then(|part| count(part, digits));
        let (year, month, day) = (part(4..=4)?, part(1..=2)?, part(1..=2)?);
        Self::new(u16::try_from(year).ok()?, u8::try_from(month).ok()?, u8::try_from(day).ok()?)
    }

    /// Days since 1 January of year 1, which is 0 and a Monday.
    pub(super) fn number(self) -> i64 {
        // From March on, so that the leap day is a year's last: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
        let (year, month, day) = (i64::from(self.year), i64::from(self.month), i64::from(self.day));
        let year = year - i64::from(month <= 2);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        365 * year + year / 4 - year / 100 + year / 400 + of_year - 306
    }
}

impl Datetime {
    /// A moment as servers read it in a text: a day, and `10:20:30` or `10:20:30.5` behind a space or a `T`, or nothing for midnight.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let split = text.iter().position(|byte| matches!(byte, b' ' | b'T'));
        let (day, time) = text.split_at(split.unwrap_or(text.len()));
        let date = Date::parse(day)?;
        let Some((_, time)) = time.split_first() else { return Some(Self { date, microseconds: 0 }) };
        let mut parts = time.splitn(2, |byte| *byte == b'.');
        let mut clock = parts.next()?.split(|byte| *byte == b':');
        let mut part = |below: u64| clock.next().and_then(|part| count(part, 1..=2)).filter(|n| *n < below);
        let (hour, minute, second) = (part(24)?, part(60)?, part(60)?);
        let fraction = match parts.next() {
            None => 0,
            Some(digits) => {
                let zeros = u32::try_from(FRACTION.checked_sub(digits.len())?).ok()?;
                count(digits, 1..=FRACTION)? * 10u64.pow(zeros)
            }
        };
        let microseconds = ((hour * 60 + minute) * 60 + second) * SECOND + fraction;
        clock.next().is_none().then_some(Self { date, microseconds })
    }

    /// Whether there is such a moment.
    pub(super) fn exists(self) -> bool {
        let Date { year, month, day } = self.date;
        Date::new(year, month, day).is_some() && self.microseconds < 86_400 * SECOND
    }

    /// Whether no more than `digits` behind the second's point are other than 0.
    pub(super) fn fits(self, digits: u8) -> bool {
        let unit = 10u64.pow(u32::from(digits).min(6));
        (self.microseconds % SECOND).is_multiple_of(SECOND / unit)
    }

    /// Its one form in text: `2026-01-05 10:20:30`, and a point with what of the fraction is not 0.
    pub(super) fn text(self) -> String {
        let (seconds, fraction) = (self.microseconds / SECOND, self.microseconds % SECOND);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let mut text = format!("{} {hour:02}:{minute:02}:{second:02}", self.date.text());
        if fraction > 0 {
            let _ = write!(text, ".{fraction:06}");
            text.truncate(text.trim_end_matches('0').len());
        }
        text
    }
}

impl Date {
    /// The day of that number; the first or the last one where there is none.
    fn at(number: i64) -> Self {
        let first = Self { year: 1, month: 1, day: 1 };
        let (mut year, number) = (1 + number.max(0) / 366, number.max(0));
        while year < 9999 && number >= start(year + 1) {
            year += 1;
        }
        let days = number - start(year);
        let year = u16::try_from(year).unwrap_or(9999);
        let months = (1..=12).rev().filter_map(|month| Self::new(year, month, 1));
        let month =
            months.into_iter().find(|first| first.number() - start(year.into()) <= days).unwrap_or(first);
        let day = u8::try_from(number - month.number() + 1).unwrap_or(31).min(31);
        Self { day, ..month }
    }

    /// Its one form in text: `2026-01-05`.
    pub(super) fn text(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// How long the periods are by which the method `date` splits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// `2026`.
    Year,
    /// `2026-01`.
    Month,
    /// ISO 8601's, from Monday on: `2026-W01`.
    Week,
    /// `2026-01-31`.
    Day,
}

impl Unit {
    /// Their words in the rules file.
    pub const NAMES: [(&'static str, Self); 4] =
        [("year", Self::Year), ("month", Self::Month), ("week", Self::Week), ("day", Self::Day)];

    /// Its word in the rules file.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, unit)| *unit == self).map_or("", |(name, _)| name)
    }

    /// The number of the period that a day is in; consecutive periods have consecutive numbers.
    pub fn period(self, date: Date) -> i64 {
        match self {
            Self::Year => date.year.into(),
            Self::Month => i64::from(date.year) * 12 + i64::from(date.month) - 1,
            Self::Week => date.number().div_euclid(7),
            Self::Day => date.number(),
        }
    }

    /// The number of the period that is written so in the rules file.
    pub fn parse(self, text: &str) -> Option<i64> {
        let bytes = text.as_bytes();
        let number = |range: std::ops::Range<usize>| bytes.get(range).and_then(|part| count(part, 1..=4));
        let small = |range| number(range).and_then(|number| u8::try_from(number).ok());
        let year = u16::try_from(number(0..4)?).ok()?;
        let date = match (self, bytes.get(4..)?) {
            (Self::Year, []) => Date::new(year, 1, 1),
            (Self::Month, [b'-', _, _]) => Date::new(year, small(5..7)?, 1),
            (Self::Week, [b'-', b'W', _, _]) => return week(year, small(6..8)?),
            (Self::Day, [b'-', _, _, b'-', _, _]) => Date::new(year, small(5..7)?, small(8..10)?),
            _ => None,
        };
        date.map(|date| self.period(date))
    }

    /// A period as it is written in the rules file.
    pub fn show(self, period: i64) -> String {
        match self {
            Self::Year => format!("{period:04}"),
            Self::Month => format!("{:04}-{:02}", period.div_euclid(12), period.rem_euclid(12) + 1),
            Self::Week => {
                // The year that has the week's Thursday.
                let year = Date::at(period * 7 + 3).year;
                let first = week(year, 1).unwrap_or(period);
                format!("{year:04}-W{:02}", period - first + 1)
            }
            Self::Day => Date::at(period).text(),
        }
    }

    /// An example of how a period is written.
    pub fn example(self) -> &'static str {
        match self {
            Self::Year => "2026",
            Self::Month => "2026-01",
            Self::Week => "2026-W01",
            Self::Day => "2026-01-31",
        }
    }
}

/// The number of a year's first day.
fn start(year: i64) -> i64 {
    let years = year - 1;
    365 * years + years / 4 - years / 100 + years / 400
}

/// The number of a year's week: week 1 is that of 4 January.
fn week(year: u16, week: u8) -> Option<i64> {
    let first = |year| Date::new(year, 1, 4).map(|date| Unit::Week.period(date));
    let start = first(year)?;
    let weeks = first(year + 1).map_or(52, |next| next - start);
    (week >= 1 && i64::from(week) <= weeks).then(|| start + i64::from(week) - 1)
}

/// A number without a sign that is written with so many digits.
fn count(text: &[u8], digits: std::ops::RangeInclusive<usize>) -> Option<u64> {
    let plain = digits.contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    plain.then(|| text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_without_a_gap() {
        let mut number = 0;
        for year in 1..=9999 {
            for month in 1..=12 {
                for date in (1..=31).filter_map(|day| Date::new(year, month, day)) {
                    assert_eq!(date.number(), number, "{date:?}");
                    number += 1;
                }
            }
        }
        assert_eq!(number, 3_652_059); // TO_DAYS('9999-12-31') - TO_DAYS('0001-01-01') + 1, asked from MySQL
    }

    #[test]
    fn weeks_are_those_of_iso_8601() {
        // From `date -d DAY +%G-W%V` (GNU coreutils).
        for (day, week) in [
            ("2026-01-01", "2026-W01"),
            ("2025-12-29", "2026-W01"),
            ("2025-12-28", "2025-W52"),
            ("2021-01-03", "2020-W53"),
            ("2021-01-04", "2021-W01"),
            ("2024-12-30", "2025-W01"),
        ] {
            let date = Date::parse(day.as_bytes()).unwrap();
            assert_eq!(Unit::Week.parse(week), Some(Unit::Week.period(date)), "{day}");
        }
        assert_eq!(Unit::Week.parse("2026-W53"), Some(Unit::Week.period(Date::new(2026, 12, 31).unwrap())));
        assert_eq!((Unit::Week.parse("2025-W53"), Unit::Week.parse("2025-W00")), (None, None));
    }

    #[test]
    fn plain_dates_are_read_and_others_refused() {
        let read = |text: &str| Datetime::parse(text.as_bytes()).map(Datetime::text);
        for (text, form) in [
            ("2026-01-05", "2026-01-05 00:00:00"),
            ("2026-1-5", "2026-01-05 00:00:00"),
            ("2026-01-05T10:20:30", "2026-01-05 10:20:30"),
            ("2026-01-05 1:2:3.50", "2026-01-05 01:02:03.5"),
            ("2024-02-29 23:59:59.999999", "2024-02-29 23:59:59.999999"),
        ] {
            assert_eq!(read(text).as_deref(), Some(form), "{text}");
        }
        for text in [
            "",
            "26-01-05",
            "20260105",
            "2026-02-30",
            "2026-01-00",
            "0000-00-00",
            "2026-01-05 ",
            " 2026-01-05",
            "2026-01-05 10:20",
            "2026-01-05 24:00:00",
            "2026-01-05 10:20:30.",
            "2026-01-05 10:20:30.1234567",
            "2026-01-05 10:20:30+02:00",
            "2026-01-05 10:20:30Z",
            "2026/01/05",
            "2026-01-05x",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn periods_are_written_by_their_unit() {
        assert_eq!(Unit::Month.parse("2026-02").map(|period| period - 1), Unit::Month.parse("2026-01"));
        assert_eq!(Unit::Month.parse("2027-01").map(|period| period - 1), Unit::Month.parse("2026-12"));
        assert_eq!(Unit::Year.parse("2026"), Some(2026));
        for (unit, text) in [
            (Unit::Year, "2026-01"),
            (Unit::Month, "2026-13"),
            (Unit::Month, "2026-1"),
            (Unit::Week, "2026-01"),
            (Unit::Day, "2026-01"),
            (Unit::Day, "2026-02-29"),
            (Unit::Year, "0000"),
            (Unit::Year, "é026"),
        ] {
            assert_eq!(unit.parse(text), None, "{text}");
        }
        for (_, unit) in Unit::NAMES {
            assert!(unit.parse(unit.example()).is_some());
            let last = unit.period(Date::new(9999, 12, 31).unwrap());
            for period in (unit.period(Date::new(1, 1, 1).unwrap()) + 1..last).step_by(13) {
                assert_eq!(unit.parse(&unit.show(period)), Some(period), "{}", unit.show(period));
            }
        }
    }
}
