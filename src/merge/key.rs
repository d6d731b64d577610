//! Keys: the values that rows are compared by, written so that their bytes compare as the values do.
//!
//! Owns: for each kind of value, an encoding that keeps its order (and so its equality). Does not know: rows of other
//! shards, directions of a whole result. Invariant: keys of one codec compare byte by byte exactly as MySQL orders
//! the values, NULL first; what cannot be compared so is refused when the codec is made.

use super::decimal_key;
use super::error::{Error, Needs};
use super::row::{Field, Format};
use super::spec::{Key, Pad};
use super::temporal;
use crate::wire::column::{BINARY_CHARSET, Column, kind};

/// Before a value that is NULL, or not.
const NULL: u8 = 0;
const VALUE: u8 = 1;
/// A zero byte of a value; its end.
const ZERO: [u8; 2] = [0, 0xff];
const END: [u8; 2] = [0, 1];
/// Behind a space: what comes after the run of spaces that it belongs to is less than a space, the end, or more.
const LESS: u8 = 1;
const ENDS: u8 = 2;
const MORE: u8 = 3;

/// How a value's bytes are read.
#[derive(Clone, PartialEq, Eq, Debug)]
enum How {
    /// Always NULL.
    Null,
    /// Little-endian in binary rows.
    Signed,
    Unsigned,
    /// DOUBLE; in binary rows also FLOAT.
    Real,
    Decimal,
    /// DATE, DATETIME, TIMESTAMP.
    Moment,
    Time,
    /// BIT: big-endian, of any length up to eight bytes.
    Bits,
    Bytes,
    Padded(Pad),
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Part {
    /// Of what is compared.
    place: usize,
    /// Of the value that it stands for.
    of: usize,
    how: How,
    descending: bool,
}

/// Writes the keys of rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Codec {
    format: Format,
    parts: Vec<Part>,
    /// Bytes of text that count (`max_sort_length`); all where `None`.
    prefix: Option<usize>,
}

impl Codec {
    /// For rows of these columns; refuses what could not be compared exactly.
    pub fn new(
        keys: &[Key],
        columns: &[Column],
        format: Format,
        prefix: Option<usize>,
    ) -> Result<Self, Error> {
        let part = |key| Part::new(key, columns, format);
        Ok(Self { format, parts: keys.iter().map(part).collect::<Result<_, _>>()?, prefix })
    }

    /// Appends the row's key; tells whether all its values are there (none is NULL).
    pub fn encode(&self, row: &[u8], fields: &[Field], out: &mut Vec<u8>) -> Result<bool, Error> {
        let mut whole = true;
        for (number, part) in self.parts.iter().enumerate() {
            let from = out.len();
            let field = fields.get(part.place).ok_or(Error::Malformed)?;
            match field.of(row) {
                // The weight of a text that is too long (`max_allowed_packet`) is NULL.
                None if fields.get(part.of).is_some_and(|of| !of.null) => {
                    return Err(Error::Incomparable { place: part.of, needs: Needs::Nothing });
                }
                None => {
                    out.push(NULL);
                    whole = false;
                }
                Some(value) => {
                    out.push(VALUE);
                    let last = number + 1 == self.parts.len() && !part.descending;
                    self.put(part, value, row, fields, last, out)?;
                }
            }
            if part.descending {
                out[from..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
        Ok(whole)
    }

    fn put(
        &self,
        part: &Part,
        value: &[u8],
        row: &[u8],
        fields: &[Field],
        last: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let cut = |value: &[u8]| value.len().min(self.prefix.unwrap_or(usize::MAX));
        match &part.how {
            How::Null => return Err(Error::Malformed),
            How::Signed => out.extend_from_slice(&order_signed(signed(value, self.format)?)),
            How::Unsigned => out.extend_from_slice(&unsigned(value, self.format)?.to_be_bytes()),
            How::Real => out.extend_from_slice(&order_real(real(value, self.format)?)),
            How::Decimal => decimal_key::put(value, out).ok_or(Error::Malformed)?,
            How::Moment => {
                let moment = temporal::moment(value, self.format).ok_or(Error::Malformed)?;
                out.extend_from_slice(&moment.to_be_bytes());
            }
            How::Time => {
                let time = temporal::time(value, self.format).ok_or(Error::Malformed)?;
                out.extend_from_slice(&order_signed(time));
            }
            How::Bits => out.extend_from_slice(&bits(value)?.to_be_bytes()),
            How::Bytes if last => out.extend_from_slice(&value[..cut(value)]),
            How::Bytes => put_escaped(&value[..cut(value)], out),
            How::Padded(Pad::Space(space)) => put_padded(&value[..cut(value)], space, out)?,
            How::Padded(Pad::At(place)) => {
                let space = fields.get(*place).and_then(|field| field.of(row)).ok_or(Error::Malformed)?;
                match space {
                    [] => put_escaped(&value[..cut(value)], out),
                    _ => put_padded(&value[..cut(value)], space, out)?,
                }
            }
            How::Padded(Pad::None) => put_escaped(&value[..cut(value)], out),
        }
        Ok(())
    }
}

impl Part {
    fn new(key: &Key, columns: &[Column], format: Format) -> Result<Self, Error> {
        let column = |place: usize| columns.get(place).ok_or(Error::NoColumn(place));
        let incomparable = |needs| Error::Incomparable { place: key.place, needs };
        let (mut place, mut how) = (key.place, how(column(key.place)?, format));
        if let (Err(Needs::Number), Some(number)) = (&how, key.number) {
            let numbered = self::how(column(number)?, format);
            // Bytes stand for the number of an ENUM or a SET alone.
            if column(key.place)?.is_enumerated() || !matches!(numbered, Ok(How::Bytes)) {
                (place, how) = (number, numbered);
            }
        }
        if let (Err(Needs::Weight), Some(weight)) = (&how, &key.weight) {
            let bytes = matches!(self::how(column(weight.place)?, format), Ok(How::Bytes));
            if let Pad::At(space) = weight.pad {
                column(space)?;
            }
            how = if !bytes {
                Err(Needs::Weight)
            } else if weight.pad == Pad::None {
                Ok(How::Bytes)
            } else {
                Ok(How::Padded(weight.pad.clone()))
            };
            place = weight.place;
        }
        Ok(Self { place, of: key.place, how: how.map_err(incomparable)?, descending: key.descending })
    }
}

/// How a column's values compare as they are sent, or what they need to.
fn how(column: &Column, format: Format) -> Result<How, Needs> {
    Ok(match column.kind {
        _ if column.is_enumerated() => return Err(Needs::Number),
        kind::TINY | kind::SHORT | kind::INT24 | kind::LONG | kind::LONGLONG | kind::YEAR => {
            if column.is_unsigned() || column.kind == kind::YEAR { How::Unsigned } else { How::Signed }
        }
        kind::DECIMAL | kind::NEWDECIMAL => How::Decimal,
        kind::DOUBLE => How::Real,
        kind::FLOAT if format == Format::Binary => How::Real,
        // Six digits in text: two numbers may look the same.
        kind::FLOAT => return Err(Needs::Number),
        kind::NULL => How::Null,
        kind::DATE | kind::NEWDATE | kind::DATETIME | kind::TIMESTAMP => How::Moment,
        kind::TIME => How::Time,
        kind::BIT => How::Bits,
        _ if column.is_string() && column.charset == BINARY_CHARSET => How::Bytes,
        _ if column.is_string() => return Err(Needs::Weight),
        _ => return Err(Needs::Nothing),
    })
}

fn order_signed(value: i64) -> [u8; 8] {
    (value as u64 ^ 1 << 63).to_be_bytes() // the sign's bit turned: negative numbers come first
}

fn order_real(value: f64) -> [u8; 8] {
    let bits = (value + 0.0).to_bits(); // 0 and -0 are one
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    ordered.to_be_bytes()
}

fn put_escaped(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some(zero) = memchr::memchr(0, rest) {
        out.extend_from_slice(&rest[..zero]);
        out.extend_from_slice(&ZERO);
        rest = &rest[zero + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&END);
}

/// Weights that are continued by a space's for ever. A space says what comes behind its run, so that `a` stands between
/// `a\t` and `a b`.
fn put_padded(value: &[u8], space: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut units = value.chunks_exact(space.len());
    if !units.remainder().is_empty() {
        return Err(Error::Malformed);
    }
    while let Some(unit) = units.next() {
        out.extend_from_slice(unit);
        if unit == space {
            let next = units.clone().find(|unit| *unit != space);
            match next {
                None => {
                    out.push(ENDS);
                    return Ok(());
                }
                Some(next) => out.push(if next < space { LESS } else { MORE }),
            }
        }
    }
    out.extend_from_slice(space);
    out.push(ENDS);
    Ok(())
}

/// An integer column's value.
pub(super) fn signed(value: &[u8], format: Format) -> Result<i64, Error> {
    match format {
        Format::Text => parse(value),
        Format::Binary => match *value {
            [a] => Ok(i64::from(a as i8)), // two's complement
            [a, b] => Ok(i64::from(i16::from_le_bytes([a, b]))),
            [a, b, c, d] => Ok(i64::from(i32::from_le_bytes([a, b, c, d]))),
            _ => value.try_into().map(i64::from_le_bytes).map_err(|_| Error::Malformed),
        },
    }
}

/// An integer column's value that has no sign.
pub(super) fn unsigned(value: &[u8], format: Format) -> Result<u64, Error> {
    match format {
        Format::Text => parse(value),
        Format::Binary => {
            let mut wide = [0; 8];
            wide.get_mut(..value.len()).ok_or(Error::Malformed)?.copy_from_slice(value);
            Ok(u64::from_le_bytes(wide))
        }
    }
}

/// A DOUBLE's or FLOAT's value.
pub(super) fn real(value: &[u8], format: Format) -> Result<f64, Error> {
    match (format, value) {
        (Format::Text, _) => parse(value),
        (Format::Binary, &[a, b, c, d]) => Ok(f64::from(f32::from_le_bytes([a, b, c, d]))),
        (Format::Binary, _) => value.try_into().map(f64::from_le_bytes).map_err(|_| Error::Malformed),
    }
}

fn parse<T: std::str::FromStr>(value: &[u8]) -> Result<T, Error> {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(Error::Malformed)
}

fn bits(value: &[u8]) -> Result<u64, Error> {
    let used = value.iter().position(|byte| *byte != 0).unwrap_or(value.len());
    let value = &value[used..];
    let mut wide = [0; 8];
    let from = wide.len().checked_sub(value.len()).ok_or(Error::Malformed)?;
    wide[from..].copy_from_slice(value);
    Ok(u64::from_be_bytes(wide))
}
