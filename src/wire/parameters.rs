//! Values of parameters in COM_STMT_EXECUTE and MariaDB's COM_STMT_BULK_EXECUTE (manual, "Binary Protocol Value").
//!
//! Owns: how they are written, and a packet with them in another order. Does not know: what they are for. Invariant: no input panics; a
//! value lies inside the payload, and one whose length is not known for certain makes the packet malformed.

use super::column::kind;
use super::command::STMT_BULK_EXECUTE;
use super::cursor::Cursor;
use super::execute::{Layout, PARAMETER_COUNT_AVAILABLE};
use super::frame::{lenenc, put_lenenc, put_lenenc_string};

/// Where the null bitmap begins, or with query attributes the count in front of it.
const HEAD: usize = 10;
/// Where the types of a bulk are, or its rows.
const BULK_HEAD: usize = 7;
/// Flag of a type: the number has no sign.
const NO_SIGN: u8 = 0x80;

/// A parameter's value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Parameter<'a> {
    /// NULL.
    Null,
    /// A whole number.
    Integer(i128),
    /// FLOAT or DOUBLE.
    Real(f64),
    /// A decimal number as text.
    Decimal(&'a [u8]),
    /// A string in the client's character set.
    Text(&'a [u8]),
    /// A string of bytes.
    Bytes(&'a [u8]),
    /// Year, month, day, and microseconds since the day's beginning; `None` where the type has no time of day.
    Date(u16, u8, u8, Option<u64>),
    /// TIME, DEFAULT, and what is of no use as a key.
    Other,
}

/// What another statement gets for one of its parameters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Argument {
    /// The parameter at this place.
    Parameter(usize),
    /// A number.
    Number(u64),
    /// A text of this length in ASCII.
    Text([u8; 36]),
    /// A string of bytes.
    Bytes([u8; 16]),
}

impl Argument {
    /// Its type and flags, and its value, where it is no parameter.
    fn own(&self, value: &mut Vec<u8>) -> [u8; 2] {
        match self {
            Self::Parameter(_) => [kind::NULL, 0],
            Self::Number(number) => {
                value.extend_from_slice(&number.to_le_bytes());
                [kind::LONGLONG, NO_SIGN]
            }
            Self::Text(text) => {
                put_lenenc_string(value, text);
                [kind::VAR_STRING, 0]
            }
            Self::Bytes(bytes) => {
                put_lenenc_string(value, bytes);
                [kind::BLOB, 0]
            }
        }
    }
}

/// The parameters of one COM_STMT_EXECUTE.
#[derive(Clone, Debug)]
pub struct Parameters<'a> {
    payload: &'a [u8],
    slots: Vec<Slot<'a>>,
    /// Query attributes, where the connection has them.
    attributes: Option<Attributes<'a>>,
}

/// One parameter.
#[derive(Clone, Debug)]
struct Slot<'a> {
    value: Parameter<'a>,
    null: bool,
    /// Its type, with its name where there are query attributes.
    kind: &'a [u8],
    /// Its value, as it came.
    bytes: &'a [u8],
    /// It was sent ahead of the execution.
    ahead: Option<&'a [u8]>,
}

/// What stands behind the parameters, as it came.
#[derive(Clone, Debug)]
struct Attributes<'a> {
    nulls: Vec<bool>,
    kinds: &'a [u8],
    values: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// Of an execution of a statement with so many `parameters`, whose types are `types`, as this packet or an earlier one carries them;
    /// empty where the client has never sent any: then all are NULL. `attributes` tells whether the connection has query attributes;
    /// `ahead` gives values that were sent before. `None` where the payload is malformed.
    pub fn of(
        payload: &'a [u8],
        parameters: u16,
        attributes: bool,
        types: &'a [u8],
        ahead: impl Fn(u16) -> Option<&'a [u8]>,
    ) -> Option<Self> {
        if parameters == 0 {
            let none = || Attributes { nulls: Vec::new(), kinds: &[], values: &[] };
            return Some(Self { payload, slots: Vec::new(), attributes: attributes.then(none) });
        }
        let mut rest = payload.get(HEAD..)?;
        let mut count = usize::from(parameters);
        if attributes {
            let (number, after) = lenenc(rest)?;
            let most = usize::from(u16::MAX);
            count = usize::try_from(number).ok().filter(|number| (count..=most).contains(number))?;
            rest = after;
        }
        let (nulls, rest) = rest.split_at_checked(count.div_ceil(8))?;
        let is_null = |at: usize| nulls.get(at / 8).is_some_and(|byte| byte & 1 << (at % 8) != 0);
        let (bound, mut rest) = rest.split_first()?;
        if *bound != 0 {
            rest = rest.get(types.len()..)?;
        }
        let (mut kinds, mut values) = (Cursor::new(types), Cursor::new(rest));
        let mut slots = Vec::with_capacity(usize::from(parameters));
        for at in 0..parameters {
            let start = types.len() - kinds.rest_length();
            let (kind, flags) = if types.is_empty() { (kind::NULL, 0) } else { (kinds.u8()?, kinds.u8()?) };
            if attributes && !types.is_empty() {
                kinds.lenenc_bytes()?;
            }
            let written = types.get(start..types.len() - kinds.rest_length())?;
            let unnamed: &[u8] = if attributes { &[kind::NULL, 0, 0] } else { &[kind::NULL, 0] };
            let written = if types.is_empty() { unnamed } else { written };
            let (before, null, ahead) = (values, is_null(at.into()), ahead(at));
            let value = match ahead {
                Some(bytes) => string(kind, bytes)?,
                None if null => Parameter::Null,
                None => value(kind, flags & NO_SIGN != 0, &mut values)?,
            };
            let bytes = { before }.bytes(before.rest_length() - values.rest_length())?;
            // As to servers: what was sent ahead is no NULL, whatever the packet says.
            let null = null && ahead.is_none();
            slots.push(Slot { value, null, kind: written, bytes, ahead });
        }
        let attributes = attributes.then(|| Attributes {
            nulls: (slots.len()..count).map(is_null).collect(),
            kinds: kinds.rest(),
            values: values.rest(),
        });
        Some(Self { payload, slots, attributes })
    }

    /// The values, in order.
    pub fn values(&self) -> impl Iterator<Item = Parameter<'a>> + '_ {
        self.slots.iter().map(|slot| slot.value)
    }

    /// The packet's payload with all types, and with what was sent ahead.
    pub fn whole(&self) -> Option<Vec<u8>> {
        let order: Vec<_> = (0..self.slots.len()).map(Argument::Parameter).collect();
        self.arranged(&order)
    }

    /// The same for a statement that has these for its parameters; `None` where one of them is none. Attributes of a statement without
    /// parameters are left out where it gets some.
    pub fn arranged(&self, order: &[Argument]) -> Option<Vec<u8>> {
        if self.slots.is_empty() && order.is_empty() {
            return Some(self.payload.to_vec());
        }
        let slots = order.iter().map(|argument| match argument {
            Argument::Parameter(at) => self.slots.get(*at).map(Ok),
            own => Some(Err(own)),
        });
        let slots = slots.collect::<Option<Vec<Result<&Slot<'_>, &Argument>>>>()?;
        let others = self.attributes.as_ref().map_or(&[][..], |attributes| &attributes.nulls);
        let nulls = slots.iter().map(|slot| slot.is_ok_and(|slot| slot.null)).chain(others.iter().copied());
        let count = slots.len() + others.len();
        let mut packet = self.payload.get(..HEAD)?.to_vec();
        if self.attributes.is_some() && (count > 0 || packet.get(5)? & PARAMETER_COUNT_AVAILABLE != 0) {
            put_lenenc(&mut packet, u64::try_from(count).ok()?);
        }
        if count == 0 {
            return Some(packet);
        }
        let start = packet.len();
        packet.resize(start + count.div_ceil(8), 0);
        for (at, _) in nulls.enumerate().filter(|(_, null)| *null) {
            *packet.get_mut(start + at / 8)? |= 1 << (at % 8);
        }
        packet.push(1);
        for slot in &slots {
            match slot {
                Ok(slot) => packet.extend_from_slice(slot.kind),
                Err(own) => {
                    packet.extend_from_slice(&own.own(&mut Vec::new()));
                    packet.extend(self.attributes.as_ref().map(|_| 0)); // it has no name
                }
            }
        }
        packet.extend_from_slice(self.attributes.as_ref().map_or(&[], |attributes| attributes.kinds));
        for slot in slots {
            match slot {
                Ok(Slot { ahead: Some(bytes), .. }) => put_lenenc_string(&mut packet, bytes),
                Ok(slot) => packet.extend_from_slice(slot.bytes),
                Err(own) => {
                    own.own(&mut packet);
                }
            }
        }
        packet.extend_from_slice(self.attributes.as_ref().map_or(&[], |attributes| attributes.values));
        Some(packet)
    }
}

/// The rows of one COM_STMT_BULK_EXECUTE.
#[derive(Clone, Debug)]
pub struct Bulk<'a> {
    types: &'a [u8],
    rows: Cursor<'a>,
    /// Of the payload.
    length: usize,
}

impl<'a> Bulk<'a> {
    /// Of a payload for a statement with so many `parameters`, whose types are `types`, as this packet or an earlier one carries them.
    /// `None` where the payload is malformed, or another command's.
    pub fn of(payload: &'a [u8], parameters: u16, types: &'a [u8]) -> Option<Self> {
        let bulk = payload.first() == Some(&STMT_BULK_EXECUTE);
        if !bulk || parameters == 0 || types.len() != 2 * usize::from(parameters) {
            return None;
        }
        let carried = Layout::of(payload, parameters, false)?.types.map_or(0, |types| types.len());
        let rows = Cursor::new(payload.get(BULK_HEAD + carried..)?);
        Some(Self { types, rows, length: payload.len() })
    }

    /// Where the next row begins in the payload.
    pub fn position(&self) -> usize {
        self.length - self.rows.rest_length()
    }

    /// Whether the packet asks for an answer to each of its rows.
    pub fn asks_for_each(payload: &[u8]) -> bool {
        const SEND_UNIT_RESULTS: u8 = 64;
        payload.get(5).is_some_and(|flags| flags & SEND_UNIT_RESULTS != 0)
    }

    /// The next row's values; `false` where there is none. `None` where the payload is malformed.
    pub fn next(&mut self, row: &mut Vec<Parameter<'a>>) -> Option<bool> {
        const VALUE: u8 = 0;
        const NULL: u8 = 1;
        row.clear();
        if self.rows.is_empty() {
            return Some(false);
        }
        let mut kinds = Cursor::new(self.types);
        while !kinds.is_empty() {
            let (kind, flags) = (kinds.u8()?, kinds.u8()?);
            row.push(match self.rows.u8()? {
                VALUE => value(kind, flags & NO_SIGN != 0, &mut self.rows)?,
                NULL => Parameter::Null,
                _ => Parameter::Other, // DEFAULT, or the column is left out
            });
        }
        Some(true)
    }
}

fn value<'a>(kind: u8, no_sign: bool, values: &mut Cursor<'a>) -> Option<Parameter<'a>> {
    let integer = |signed: i64, size: u32| {
        let whole = i128::from(signed);
        Parameter::Integer(if no_sign && signed < 0 { whole + (1i128 << size) } else { whole })
    };
    Some(match kind {
        kind::TINY => integer(i64::from(values.u8()?.cast_signed()), 8),
        kind::SHORT | kind::YEAR => integer(i64::from(values.u16()?.cast_signed()), 16),
        kind::LONG | kind::INT24 => integer(i64::from(values.u32()?.cast_signed()), 32),
        kind::LONGLONG => integer(values.u64()?.cast_signed(), 64),
        kind::FLOAT => Parameter::Real(f64::from(f32::from_bits(values.u32()?))),
        kind::DOUBLE => Parameter::Real(f64::from_bits(values.u64()?)),
        kind::DECIMAL | kind::NEWDECIMAL => Parameter::Decimal(values.lenenc_bytes()?),
        kind::DATE | kind::DATETIME | kind::TIMESTAMP => date(kind, values)?,
        kind::TIME => {
            let length = usize::from(values.u8()?);
            values.bytes(length)?;
            Parameter::Other
        }
        _ => string(kind, values.lenenc_bytes()?)?,
    })
}

/// A value that is written as bytes.
fn string(kind: u8, bytes: &[u8]) -> Option<Parameter<'_>> {
    match kind {
        kind::VARCHAR | kind::VAR_STRING | kind::STRING => Some(Parameter::Text(bytes)),
        kind::TINY_BLOB | kind::MEDIUM_BLOB | kind::LONG_BLOB | kind::BLOB => Some(Parameter::Bytes(bytes)),
        kind::BIT | kind::ENUM | kind::SET | kind::JSON | kind::GEOMETRY | kind::VECTOR => {
            Some(Parameter::Other)
        }
        _ => None,
    }
}

fn date<'a>(kind: u8, values: &mut Cursor<'a>) -> Option<Parameter<'a>> {
    let length = usize::from(values.u8()?);
    let mut fields = Cursor::new(values.bytes(length)?);
    if length == 0 {
        return Some(Parameter::Date(0, 0, 0, (kind != kind::DATE).then_some(0)));
    }
    let (year, month, day) = (fields.u16()?, fields.u8()?, fields.u8()?);
    let micros = match length {
        4 => 0,
        7 | 11 => {
            let (hour, minute, second) = (fields.u8()?, fields.u8()?, fields.u8()?);
            let micro = if length == 11 { fields.u32()? } else { 0 };
            let seconds = u64::from(hour) * 3600 + u64::from(minute) * 60 + u64::from(second);
            seconds * 1_000_000 + u64::from(micro)
        }
        // With an offset from UTC, on MySQL: another day perhaps.
        _ => return Some(Parameter::Other),
    };
    Some(match kind {
        // Servers leave out what is behind the day.
        kind::DATE => Parameter::Date(year, month, day, None),
        _ => Parameter::Date(year, month, day, Some(micros)),
    })
}

#[cfg(test)]
#[path = "parameters_tests.rs"]
mod tests;
