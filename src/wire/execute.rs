//! COM_STMT_EXECUTE and MariaDB's COM_STMT_BULK_EXECUTE: where things are in their payloads (manual pages of the same
//! names).
//!
//! Owns: the places of the statement's id and of the parameters' types, so that both can be replaced. Does not know:
//! values. Invariant: every place lies inside the payload.

use super::column::kind;
use super::command::{STMT_BULK_EXECUTE, STMT_EXECUTE};
use super::cursor::Cursor;
use super::frame::{lenenc, lenenc_string};

/// Flag: the packet says itself how many parameters it has.
pub(super) const PARAMETER_COUNT_AVAILABLE: u8 = 8;
/// Flag of a bulk: the packet carries the parameters' types.
const SEND_TYPES: u8 = 128;

/// The statement that a COM_STMT_* payload is about; `None` when it is too short.
pub fn statement_id(payload: &[u8]) -> Option<u32> {
    let &[_, a, b, c, d] = payload.first_chunk::<5>()?;
    Some(u32::from_le_bytes([a, b, c, d])) // int<4>
}

/// Where things are in a payload of one of the two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The byte that says whether types follow; `None` without parameters.
    pub bound_at: Option<usize>,
    /// The parameters' types, where the packet carries them.
    pub types: Option<std::ops::Range<usize>>,
}

/// Flags of an execution that ask for a cursor: CURSOR_TYPE_READ_ONLY, _FOR_UPDATE, _SCROLLABLE.
const CURSORS: u8 = 0x07;

/// Whether an execution's payload asks for a cursor of any kind.
pub fn asks_for_cursor(payload: &[u8]) -> bool {
    payload.get(5).is_some_and(|flags| flags & CURSORS != 0)
}

/// Asks for rows in the place of a cursor. A client takes them, as servers open no cursor for every statement.
pub fn ask_for_rows(payload: &mut [u8]) {
    if let Some(flags) = payload.get_mut(5) {
        *flags &= !CURSORS;
    }
}

impl Layout {
    /// Of a payload for a statement with so many `parameters`; `attributes` tells whether the connection has query
    /// attributes. `None` when the payload is too short for what it claims.
    pub fn of(payload: &[u8], parameters: u16, attributes: bool) -> Option<Self> {
        if payload.first() == Some(&STMT_BULK_EXECUTE) {
            return Self::of_bulk(payload, parameters);
        }
        debug_assert_eq!(payload.first(), Some(&STMT_EXECUTE));
        let &[_, _, _, _, _, flags, ..] = payload.first_chunk::<10>()?;
        let counted = attributes && flags & PARAMETER_COUNT_AVAILABLE != 0;
        if parameters == 0 && !counted {
            return Some(Self { bound_at: None, types: None });
        }
        let mut rest = &payload[10..];
        let mut count = usize::from(parameters);
        // With query attributes the count is there whatever the flag says, and every type has a name.
        if attributes {
            let (number, after) = lenenc(rest)?;
            count = usize::try_from(number).ok().filter(|count| *count <= usize::from(u16::MAX))?;
            rest = after;
        }
        if count == 0 {
            return Some(Self { bound_at: None, types: None });
        }
        rest = rest.get(count.div_ceil(8)..)?;
        let bound_at = payload.len() - rest.len();
        let (&bound, mut rest) = rest.split_first()?;
        let start = bound_at + 1;
        if bound == 0 {
            return Some(Self { bound_at: Some(bound_at), types: None });
        }
        for _ in 0..count {
            rest = rest.get(2..)?; // int<1> type, int<1> flags
            if attributes {
                (_, rest) = lenenc_string(rest)?; // string<lenenc> name
            }
        }
        Some(Self { bound_at: Some(bound_at), types: Some(start..payload.len() - rest.len()) })
    }

    fn of_bulk(payload: &[u8], parameters: u16) -> Option<Self> {
        let &[_, _, _, _, _, flags, _] = payload.first_chunk::<7>()?; // int<2> flags
        if parameters == 0 {
            return Some(Self { bound_at: None, types: None });
        }
        let types = 7..7 + 2 * usize::from(parameters); // int<1> type, int<1> flags
        let carried = flags & SEND_TYPES != 0;
        (!carried || payload.len() >= types.end)
            .then_some(Self { bound_at: Some(5), types: carried.then_some(types) })
    }
}

/// What a parameter is of, as far as MySQL goes on taking it for that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // as in `kind`
pub enum Class {
    Null,
    Integer,
    Real,
    Decimal,
    Date,
    Datetime,
    Time,
    String,
}

impl Class {
    fn of(kind: u8) -> Self {
        match kind {
            kind::NULL => Self::Null,
            kind::TINY | kind::SHORT | kind::LONG | kind::INT24 | kind::LONGLONG | kind::YEAR => {
                Self::Integer
            }
            kind::FLOAT | kind::DOUBLE => Self::Real,
            kind::DECIMAL | kind::NEWDECIMAL => Self::Decimal,
            kind::DATE | kind::NEWDATE => Self::Date,
            kind::DATETIME | kind::TIMESTAMP => Self::Datetime,
            kind::TIME => Self::Time,
            _ => Self::String,
        }
    }

    /// Whether a parameter that was of this class is taken for what it is when it is of another one.
    pub fn lets(self, now: Self) -> bool {
        self == now || matches!(self, Self::Null | Self::String) || now == Self::Null
    }
}

/// The classes of parameters of these types, which have names where the connection has query attributes.
pub fn classes(types: &[u8], named: bool) -> impl Iterator<Item = Class> + '_ {
    let mut types = Cursor::new(types);
    std::iter::from_fn(move || {
        let (kind, _) = (types.u8()?, types.u8()?);
        if named {
            types.lenenc_bytes()?;
        }
        Some(Class::of(kind))
    })
}

/// The payload with `types` added, which it does not carry; `bound_at` is its layout's.
pub fn with_types(payload: &[u8], bound_at: usize, types: &[u8]) -> Vec<u8> {
    let bulk = payload.first() == Some(&STMT_BULK_EXECUTE);
    let (head, rest) = payload.split_at((bound_at + if bulk { 2 } else { 1 }).min(payload.len()));
    let mut whole = [head, types, rest].concat();
    if let Some(bound) = whole.get_mut(bound_at) {
        *bound |= if bulk { SEND_TYPES } else { 1 };
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: [u8; 10] = [STMT_EXECUTE, 1, 0, 0, 0, 0, 1, 0, 0, 0];

    #[test]
    fn types_are_found_where_they_are() {
        let with = [&HEAD[..], &[0, 1, 3, 0, 0xfd, 0, 7, 0, 0, 0, 1, b'x']].concat();
        assert_eq!(Layout::of(&with, 2, false), Some(Layout { bound_at: Some(11), types: Some(12..16) }));
        let without = [&HEAD[..], &[0, 0, 7, 0, 0, 0, 1, b'x']].concat();
        assert_eq!(Layout::of(&without, 2, false), Some(Layout { bound_at: Some(11), types: None }));
        assert_eq!(Layout::of(&HEAD, 0, false), Some(Layout { bound_at: None, types: None }));
    }

    #[test]
    fn attributes_carry_names() {
        let mut head = HEAD;
        head[5] = PARAMETER_COUNT_AVAILABLE;
        let payload = [&head[..], &[1, 0, 1, 3, 0, 2, b'a', b'b', 7, 0, 0, 0]].concat();
        assert_eq!(Layout::of(&payload, 1, true), Some(Layout { bound_at: Some(12), types: Some(13..18) }));
        head[5] = 0; // as mysql-connector-python sends it
        let payload = [&head[..], &[1, 0, 1, 3, 0, 2, b'a', b'b', 7, 0, 0, 0]].concat();
        assert_eq!(Layout::of(&payload, 1, true), Some(Layout { bound_at: Some(12), types: Some(13..18) }));
    }

    #[test]
    fn a_bulk_is_laid_out_otherwise() {
        let with = b"\xfa\x01\0\0\0\x80\0\x03\0\xfd\0\0\x07\0\0\0\x01";
        assert_eq!(Layout::of(with, 2, true), Some(Layout { bound_at: Some(5), types: Some(7..11) }));
        assert_eq!(Layout::of(&with[..10], 2, true), None);
        let without = b"\xfa\x01\0\0\0\0\0\0\x07\0\0\0\x01";
        assert_eq!(Layout::of(without, 2, true), Some(Layout { bound_at: Some(5), types: None }));
        assert_eq!(with_types(without, 5, b"\x03\0\xfd\0"), with);
        assert_eq!(Layout::of(without, 0, true), Some(Layout { bound_at: None, types: None }));
    }

    #[test]
    fn types_are_added() {
        let without = [&HEAD[..], &[0, 0, 7, 0, 0, 0]].concat();
        assert_eq!(with_types(&without, 11, &[3, 0]), [&HEAD[..], &[0, 1, 3, 0, 7, 0, 0, 0]].concat());
    }

    #[test]
    fn short_packets_are_refused() {
        let with = [&HEAD[..], &[0, 1, 3, 0, 0xfd, 0]].concat();
        for end in 0..with.len() {
            if end > 0 {
                assert_eq!(Layout::of(&with[..end], 2, false), None, "{end}");
            }
        }
    }
}
