//! Commands of the command phase (MySQL manual, "Command Phase").

use super::capabilities::Capabilities;
use super::frame::put_packet;

/// COM_QUIT.
pub const QUIT: u8 = 0x01;
/// COM_INIT_DB.
pub const INIT_DB: u8 = 0x02;
/// COM_QUERY.
pub const QUERY: u8 = 0x03;
/// COM_FIELD_LIST.
pub const FIELD_LIST: u8 = 0x04;
/// COM_STATISTICS.
pub const STATISTICS: u8 = 0x09;
/// COM_PROCESS_KILL.
pub const PROCESS_KILL: u8 = 0x0c;
/// COM_PING.
pub const PING: u8 = 0x0e;
/// COM_CHANGE_USER.
pub const CHANGE_USER: u8 = 0x11;
/// COM_STMT_PREPARE.
pub const STMT_PREPARE: u8 = 0x16;
/// COM_STMT_EXECUTE.
pub const STMT_EXECUTE: u8 = 0x17;
/// COM_STMT_SEND_LONG_DATA.
pub const STMT_SEND_LONG_DATA: u8 = 0x18;
/// COM_STMT_CLOSE.
pub const STMT_CLOSE: u8 = 0x19;
/// COM_STMT_RESET.
pub const STMT_RESET: u8 = 0x1a;
/// COM_SET_OPTION.
pub const SET_OPTION: u8 = 0x1b;
/// COM_STMT_FETCH.
pub const STMT_FETCH: u8 = 0x1c;
/// MariaDB: COM_STMT_BULK_EXECUTE.
pub const STMT_BULK_EXECUTE: u8 = 0xfa;
/// COM_RESET_CONNECTION.
pub const RESET_CONNECTION: u8 = 0x1f;

/// Appends COM_QUERY with a statement of our own, as a connection with `capabilities` expects it.
pub fn put_query(out: &mut Vec<u8>, sql: &[u8], capabilities: Capabilities) {
    let mut payload = Vec::with_capacity(sql.len() + 3);
    payload.push(QUERY);
    if capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
        payload.extend_from_slice(&[0, 1]); // no parameters, one set of them
    }
    payload.extend_from_slice(sql);
    put_packet(out, 0, &payload);
}

/// The statement's text in a COM_QUERY payload (its command byte included), behind its query attributes if the
/// connection has them. `None` when the payload is malformed.
pub fn query_text(payload: &[u8], capabilities: Capabilities) -> Option<&[u8]> {
    let rest = payload.get(1..)?;
    if !capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
        return Some(rest);
    }
    if let [0, 1, text @ ..] = rest {
        return Some(text); // the ordinary case: no attributes
    }
    let (count, rest) = super::frame::lenenc(rest)?;
    let (_sets, rest) = super::frame::lenenc(rest)?;
    let count = usize::try_from(count).ok().filter(|count| *count <= usize::from(u16::MAX))?;
    if count == 0 {
        return Some(rest);
    }
    let (nulls, rest) = rest.split_at_checked(count.div_ceil(8))?;
    let (&bound, mut rest) = rest.split_first()?;
    if bound != 1 {
        return None;
    }
    let mut types = Vec::with_capacity(count);
    for _ in 0..count {
        let (&[kind, _flags], after) = rest.split_first_chunk::<2>()?;
        types.push(kind);
        (_, rest) = super::frame::lenenc_string(after)?;
    }
    for (at, kind) in types.into_iter().enumerate() {
        if nulls[at / 8] & (1 << (at % 8)) == 0 {
            rest = skip_value(kind, rest)?;
        }
    }
    Some(rest)
}

/// Skips one binary value of a column type; `None` when it is short or of an unknown type.
fn skip_value(kind: u8, bytes: &[u8]) -> Option<&[u8]> {
    let width = match kind {
        6 => 0,                                               // NULL
        1 => 1,                                               // TINY
        2 | 13 => 2,                                          // SHORT, YEAR
        3 | 4 | 9 => 4,                                       // LONG, FLOAT, INT24
        5 | 8 => 8,                                           // DOUBLE, LONGLONG
        7 | 10..=12 | 14 => usize::from(*bytes.first()?) + 1, // dates and times: a length byte
        0 | 15..=17 | 242 | 245..=255 => return Some(super::frame::lenenc_string(bytes)?.1),
        _ => return None,
    };
    bytes.get(width..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATTRIBUTES: Capabilities = Capabilities::QUERY_ATTRIBUTES;

    #[test]
    fn the_text_is_found_with_and_without_attributes() {
        assert_eq!(query_text(b"\x03SELECT 1", Capabilities::empty()), Some(&b"SELECT 1"[..]));
        assert_eq!(query_text(b"\x03\x00\x01SELECT 1", ATTRIBUTES), Some(&b"SELECT 1"[..]));
        // one attribute "a" of type VAR_STRING with value "xy"; a NULL one "b"
        let payload = b"\x03\x02\x01\x02\x01\xfd\x00\x01a\xfd\x00\x01b\x02xySELECT 1";
        assert_eq!(query_text(payload, ATTRIBUTES), Some(&b"SELECT 1"[..]));
    }

    #[test]
    fn malformed_attributes_are_refused() {
        let payload = b"\x03\x02\x01\x02\x01\xfd\x00\x01a\xfd\x00\x01b\x02xy";
        for end in 0..payload.len() - 1 {
            assert!(query_text(&payload[..end], ATTRIBUTES).is_none_or(<[u8]>::is_empty), "{end}");
        }
        assert_eq!(query_text(b"\x03\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", ATTRIBUTES), None);
    }
}
