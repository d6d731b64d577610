//! From a value to a key: one form for all values that a server takes for equal.
//!
//! Owns: the types of keys, and what of a value is a key of each. Does not know: shards.
//! Invariant: where `column = value` holds on a server for a column of the type, the value has the column's key, or it is in doubt;
//! and what is stored for a value that is not in doubt has the value's key. docs/sharding.md tells how this was asked from servers.

use std::borrow::Cow;

use super::collation::{Collation, Form};
use super::number::{Number, Refusal, shortest};
use super::value::{Charset, Date, Datetime, Doubt, NoPlace, Value};

/// Whole numbers that a floating-point number has exactly, and no other with it.
const EXACT_IN_DOUBLE: u128 = 1 << 53;
/// Numbers of so many digits differ as floating-point numbers where they differ.
const TOLD_APART_BY_DOUBLE: u128 = 1_000_000_000_000_000;
/// Bounds of BIGINT, signed and unsigned together.
const INTEGERS: std::ops::RangeInclusive<i128> = -(1 << 63)..=(1 << 64) - 1;

/// The type of a key's column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyType {
    /// Any integer type, up to BIGINT UNSIGNED.
    Integer,
    /// DECIMAL with so many digits behind the point, or fewer.
    Decimal {
        /// Digits behind the point.
        scale: u8,
    },
    /// CHAR, VARCHAR.
    String(Collation),
    /// BINARY, VARBINARY.
    Bytes,
    /// A UUID: as text, as 16 bytes, or MariaDB's type.
    Uuid,
    /// DATE.
    Date,
    /// DATETIME with so many digits behind the second's point, or fewer.
    Datetime {
        /// Digits behind the point.
        scale: u8,
    },
}

/// The one form of equal values. Keys of one type have the order in which a server sorts them, where `KeyType::is_ordered`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Key {
    /// An integer, or a decimal times `10^scale`.
    Number(i128),
    /// A text in UTF-8, without spaces at its end.
    Text(Vec<u8>),
    /// Bytes without zeros at their end.
    Bytes(Vec<u8>),
    /// A UUID.
    Uuid([u8; 16]),
    /// A day.
    Date(Date),
    /// A day with a time.
    Datetime(Datetime),
}

impl KeyType {
    /// The word for it in the rules file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Integer => "integer",
            Self::Decimal { .. } => "decimal",
            Self::String(_) => "string",
            Self::Bytes => "bytes",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Datetime { .. } => "datetime",
        }
    }

    /// The key that a value in the rules file stands for.
    pub fn rule(&self, text: &str) -> Result<Key, NoPlace> {
        self.key(&match self {
            Self::Integer | Self::Decimal { .. } => Value::Decimal(text.as_bytes()),
            _ => Value::Text(text.as_bytes(), Charset::Utf8),
        })
    }

    /// Whether keys have the order of a server's columns.
    pub fn is_ordered(&self) -> bool {
        match self {
            Self::String(collation) => collation.form == Form::Exact,
            Self::Uuid => false,
            _ => true,
        }
    }

    /// The key that equals `value`.
    pub(super) fn key(&self, value: &Value<'_>) -> Result<Key, NoPlace> {
        if *value == Value::Null {
            return Err(NoPlace::Null);
        }
        match self {
            Self::Integer => integer(value).map(Key::Number),
            Self::Decimal { scale } => decimal(value, *scale).map(Key::Number),
            Self::String(collation) => text(value, *collation).map(Key::Text),
            Self::Bytes => bytes(value).map(Key::Bytes),
            Self::Uuid => uuid(value).map(Key::Uuid),
            Self::Date => date(value).map(Key::Date),
            Self::Datetime { scale } => datetime(value, *scale).map(Key::Datetime),
        }
        .map_err(NoPlace::Doubt)
    }

    /// The greatest key that is not above `value`, for a comparison by order: the value's own, or that of the whole number or the day
    /// below. `None` where none can be told; `as_double` says that servers may compare floating-point numbers.
    pub(super) fn below(&self, value: &Value<'_>, as_double: bool) -> Option<Key> {
        let floor = |scale| {
            let number = number(value).ok()?;
            let is_told = !as_double || number.digits() < TOLD_APART_BY_DOUBLE;
            is_told.then(|| number.floor(scale)).flatten().map(Key::Number)
        };
        match self {
            _ if !self.is_ordered() => None,
            Self::Integer => floor(0),
            Self::Decimal { scale } => floor(*scale),
            Self::Date => moment(value).ok().map(|moment| Key::Date(moment.date)),
            Self::Datetime { .. } => moment(value).ok().map(Key::Datetime),
            _ => self.key(value).ok(),
        }
    }

    /// The key that equals `value` where a list of values of several types is compared: MySQL then takes texts for floating-point numbers.
    pub(super) fn key_in_mixed(&self, value: &Value<'_>) -> Result<Key, NoPlace> {
        let key = self.key(value)?;
        match key {
            Key::Number(number) if number.unsigned_abs() >= TOLD_APART_BY_DOUBLE => {
                Err(NoPlace::Doubt(Doubt::Digits))
            }
            _ => Ok(key),
        }
    }

    /// Appends what the method `hash` hashes: a tag, a colon and a text that a person can write.
    pub(super) fn write(&self, key: &Key, out: &mut Vec<u8>) {
        let tag: &[u8] = match self {
            Self::Integer => b"i:",
            Self::Decimal { .. } => b"d:",
            Self::String(_) => b"s:",
            Self::Bytes => b"b:",
            Self::Uuid => b"u:",
            Self::Date => b"D:",
            Self::Datetime { .. } => b"T:",
        };
        out.extend_from_slice(tag);
        out.extend_from_slice(&self.text(key));
    }

    /// The key as a text.
    pub(super) fn text<'k>(&self, key: &'k Key) -> Cow<'k, [u8]> {
        let text = match (key, self) {
            (Key::Text(bytes) | Key::Bytes(bytes), _) => return bytes.into(),
            (Key::Number(number), Self::Decimal { scale }) => shortest(*number, *scale),
            (Key::Number(number), _) => number.to_string(),
            (Key::Uuid(uuid), _) => return hex(uuid).into(),
            (Key::Date(date), _) => date.text(),
            (Key::Datetime(moment), _) => moment.text(),
        };
        text.into_bytes().into()
    }

    /// The key as the rules file could have it.
    pub fn show(&self, key: &Key) -> String {
        String::from_utf8_lossy(&self.text(key)).into_owned()
    }
}

impl Value<'_> {
    /// Whether servers compare it with a number by way of floating-point numbers, at least in some places.
    pub fn is_double(&self) -> bool {
        matches!(self, Self::Text(..) | Self::Double(_))
    }
}

/// A value as a number, exactly, where servers compare it as this number and no other.
fn number(value: &Value<'_>) -> Result<Number, Doubt> {
    let parse = |text| {
        Number::parse(text).map_err(|refusal| match refusal {
            Refusal::NotANumber => Doubt::NotANumber,
            Refusal::Digits => Doubt::Digits,
        })
    };
    match *value {
        Value::Integer(integer) => Ok(Number::whole(integer)),
        Value::Decimal(digits) => parse(digits),
        Value::Text(text, charset) if charset != Charset::Unknown => parse(text),
        Value::Text(..) => Err(Doubt::Charset),
        Value::Double(double) if double.fract() == 0.0 && double.abs() <= EXACT_IN_DOUBLE as f64 => {
            Ok(Number::whole(double as i128))
        }
        Value::Double(_) => Err(Doubt::Digits),
        _ => Err(Doubt::Kind),
    }
}

fn integer(value: &Value<'_>) -> Result<i128, Doubt> {
    let integer = number(value)?.integer().ok_or(Doubt::Digits)?;
    if !INTEGERS.contains(&integer) { Err(Doubt::OutOfRange) } else { Ok(integer) }
}

/// Texts and floating-point numbers are compared with decimals as floating-point numbers.
fn decimal(value: &Value<'_>, scale: u8) -> Result<i128, Doubt> {
    let scaled = number(value)?.scaled(scale).ok_or(Doubt::Digits)?;
    if value.is_double() && scaled.unsigned_abs() >= TOLD_APART_BY_DOUBLE {
        Err(Doubt::Digits)
    } else {
        Ok(scaled)
    }
}

fn text(value: &Value<'_>, collation: Collation) -> Result<Vec<u8>, Doubt> {
    match *value {
        Value::Text(text, charset) => collation.form(text, charset),
        Value::Bytes(bytes) if bytes.is_ascii() => collation.form(bytes, Charset::Utf8),
        Value::Bytes(_) => Err(Doubt::Charset),
        _ => Err(Doubt::Kind),
    }
}

/// Columns of type BINARY are filled up with zeros, so that these do not count at the end.
fn bytes(value: &Value<'_>) -> Result<Vec<u8>, Doubt> {
    let (Value::Text(bytes, Charset::Utf8 | Charset::Latin1 | Charset::AsciiBased) | Value::Bytes(bytes)) =
        *value
    else {
        return Err(if matches!(value, Value::Text(..)) { Doubt::Charset } else { Doubt::Kind });
    };
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    Ok(bytes.get(..end).unwrap_or_default().to_vec())
}

/// 16 bytes, or 32 hexadecimal digits with or without hyphens, of either case.
fn uuid(value: &Value<'_>) -> Result<[u8; 16], Doubt> {
    let (Value::Text(given, Charset::Utf8 | Charset::Latin1 | Charset::AsciiBased) | Value::Bytes(given)) =
        *value
    else {
        return Err(if matches!(value, Value::Text(..)) { Doubt::Charset } else { Doubt::Kind });
    };
    if let Ok(bytes) = <[u8; 16]>::try_from(given) {
        return Ok(bytes);
    }
    let end = given.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1);
    let given = given.get(..end).unwrap_or_default();
    let hyphens = given.len() == 36 && [8, 13, 18, 23].iter().all(|at| given.get(*at) == Some(&b'-'));
    let digits = given.iter().enumerate().filter(|(at, _)| !(hyphens && [8, 13, 18, 23].contains(at)));
    let mut uuid = [0; 16];
    let mut count = 0;
    for (_, byte) in digits {
        let digit = char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
            .ok_or(Doubt::NotAUuid)?;
        let place = uuid.get_mut(count / 2).ok_or(Doubt::NotAUuid)?;
        *place = *place << 4 | digit;
        count += 1;
    }
    if count == 32 { Ok(uuid) } else { Err(Doubt::NotAUuid) }
}

fn hex(uuid: &[u8; 16]) -> Vec<u8> {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    uuid.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// A value as a day with a time. Days that there are not (`0000-00-00`) are left to servers.
fn moment(value: &Value<'_>) -> Result<Datetime, Doubt> {
    let moment = match *value {
        Value::Date(date) => Datetime { date, microseconds: 0 },
        Value::Datetime(moment) => moment,
        Value::Text(_, Charset::Unknown) => return Err(Doubt::Charset),
        Value::Text(text, _) => Datetime::parse(text).ok_or(Doubt::NotADate)?,
        _ => return Err(Doubt::Kind),
    };
    if moment.exists() { Ok(moment) } else { Err(Doubt::NotADate) }
}

fn date(value: &Value<'_>) -> Result<Date, Doubt> {
    let moment = moment(value)?;
    if moment.microseconds == 0 { Ok(moment.date) } else { Err(Doubt::NotADate) }
}

fn datetime(value: &Value<'_>, scale: u8) -> Result<Datetime, Doubt> {
    let moment = moment(value)?;
    if moment.fits(scale) { Ok(moment) } else { Err(Doubt::NotADate) }
}
