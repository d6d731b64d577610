//! A key's value as a statement gives it, and why it may have no place.
//!
//! Owns: the kinds of literals and parameters that can be a key's. Does not know: SQL, or the key's column.
//! Invariant: text is bytes; nothing here takes memory.

use std::fmt;

/// A value as it came: a literal's, unescaped, or a parameter's.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    /// NULL, which equals nothing.
    Null,
    /// A whole number without a point, or an integer parameter.
    Integer(i128),
    /// A number with a point and no exponent, as written: `12.50`.
    Decimal(&'a [u8]),
    /// A number with an exponent, or a parameter of type FLOAT or DOUBLE.
    Double(f64),
    /// A string in the connection's character set, without quotes and escapes.
    Text(&'a [u8], Charset),
    /// A string without a character set: `X'…'`, `_binary'…'`, a BLOB parameter.
    Bytes(&'a [u8]),
    /// `DATE'…'`, or a parameter of that type.
    Date(Date),
    /// `TIMESTAMP'…'`, or a parameter of type DATETIME or TIMESTAMP.
    Datetime(Datetime),
    /// Something else that is constant, such as `TIME'…'`: no key has this type.
    Other,
}

/// What the bytes of a text mean.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Charset {
    /// `utf8mb4`, `utf8mb3`, `ascii`.
    Utf8,
    /// `latin1` as servers have it: Windows' code page 1252.
    Latin1,
    /// Another one, in which bytes below 0x80 are ASCII, and a text without others is ASCII: `cp1251`, `latin2`, …
    AsciiBased,
    /// Any other.
    Unknown,
}

/// A day of the Gregorian calendar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Date {
    /// 1 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to the month's last.
    pub day: u8,
}

/// A day with a time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Datetime {
    /// The day.
    pub date: Date,
    /// Microseconds since its beginning.
    pub microseconds: u64,
}

/// Why a value has no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoPlace {
    /// It is NULL: no row's key equals it.
    Null,
    /// No shard is for it: it is outside all ranges, or in no list.
    NoMatch,
    /// It may equal keys of several shards, or none: only a server can tell.
    Doubt(Doubt),
}

/// Why only a server can tell which keys a value equals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// It is of a kind that servers compare with the key's type by converting both.
    Kind,
    /// The text is not a plain number.
    NotANumber,
    /// It has more digits than the key's type, or more behind the point than its `scale`.
    Digits,
    /// It is past the type's bounds.
    OutOfRange,
    /// The text is in a character set that is not compared here.
    Charset,
    /// The text has characters which the collation may take for others.
    Characters,
    /// The text is not a plain date, or has a time of day.
    NotADate,
    /// It is not a UUID.
    NotAUuid,
    /// The number of values is not that of the key's columns.
    Columns,
}

impl fmt::Display for NoPlace {
    /// A sentence's end about the value: "… is NULL".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("is NULL"),
            Self::NoMatch => f.write_str("matches no shard"),
            Self::Doubt(doubt) => doubt.fmt(f),
        }
    }
}

impl fmt::Display for Doubt {
    /// A sentence's end about the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kind => "is of another type than the key",
            Self::NotANumber => "is not a plain number",
            Self::Digits => "has more digits than the key",
            Self::OutOfRange => "is out of the key's range",
            Self::Charset => "is in a character set that the key is not compared in",
            Self::Characters => "has characters that the key's collation may take for others",
            Self::NotADate => "is not a plain date of the key's precision",
            Self::NotAUuid => "is not a UUID",
            Self::Columns => "is not one value for each column of the key",
        })
    }
}
