//! Values of the binary protocol, written as `type:value`.

use tidegate::wire::cursor::put_lenenc_bytes;

use super::step::unhex;

/// A parameter as it goes over the wire.
#[derive(Clone, PartialEq, Debug)]
pub struct Value {
    /// The type's number, and 0x80 for unsigned.
    pub kind: [u8; 2],
    /// `None`: NULL.
    pub bytes: Option<Vec<u8>>,
}

impl Value {
    /// Reads `type:value` or `null`.
    pub fn parse(text: &str) -> Self {
        let (kind, value) = text.split_once(':').unwrap_or((text, ""));
        let signed = || value.parse::<i64>().unwrap_or_else(|_| panic!("{text}: an integer"));
        let lenenc = |bytes: &[u8]| {
            let mut out = Vec::new();
            put_lenenc_bytes(&mut out, bytes);
            out
        };
        let (number, unsigned, bytes) = match kind {
            "null" => (6, 0, None),
            "tiny" => (1, 0, Some((signed() as i8).to_le_bytes().to_vec())),
            "utiny" => (1, 0x80, Some((signed() as u8).to_le_bytes().to_vec())),
            "short" => (2, 0, Some((signed() as i16).to_le_bytes().to_vec())),
            "ushort" => (2, 0x80, Some((signed() as u16).to_le_bytes().to_vec())),
            "year" => (13, 0x80, Some((signed() as u16).to_le_bytes().to_vec())),
            "long" => (3, 0, Some((signed() as i32).to_le_bytes().to_vec())),
            "ulong" => (3, 0x80, Some((signed() as u32).to_le_bytes().to_vec())),
            "int24" => (9, 0, Some((signed() as i32).to_le_bytes().to_vec())),
            "big" => (8, 0, Some(signed().to_le_bytes().to_vec())),
            "ubig" => (8, 0x80, Some(value.parse::<u64>().expect("an integer").to_le_bytes().to_vec())),
            "float" => (4, 0, Some(value.parse::<f32>().expect("a float").to_le_bytes().to_vec())),
            "double" => (5, 0, Some(value.parse::<f64>().expect("a double").to_le_bytes().to_vec())),
            "decimal" => (0xf6, 0, Some(lenenc(value.as_bytes()))),
            "text" => (0xfd, 0, Some(lenenc(value.as_bytes()))),
            "char" => (0xfe, 0, Some(lenenc(value.as_bytes()))),
            "varchar" => (0x0f, 0, Some(lenenc(value.as_bytes()))),
            "blob" => (0xfc, 0, Some(lenenc(&unhex(value)))),
            "date" => (10, 0, Some(moment(value, 4))),
            "datetime" => (12, 0, Some(moment(value, 7))),
            "timestamp" => (7, 0, Some(moment(value, 11))),
            "time" => (11, 0, Some(time(value))),
            _ => panic!("no such type: {text}"),
        };
        Self { kind: [number, unsigned], bytes }
    }
}

/// `year-month-day-hour-minute-second-microsecond`, of which `length` bytes are sent.
fn moment(text: &str, length: u8) -> Vec<u8> {
    let mut parts = text.split('-').map(|part| part.parse::<u32>().expect("a part of a date"));
    let mut next = || parts.next().unwrap_or(0);
    let mut out = vec![length];
    out.extend_from_slice(&(next() as u16).to_le_bytes());
    for _ in 0..5 {
        out.push(next() as u8);
    }
    out.extend_from_slice(&next().to_le_bytes());
    out.truncate(usize::from(length) + 1);
    out
}

/// `days-hours-minutes-seconds-microseconds`, negative with `n` in front.
fn time(text: &str) -> Vec<u8> {
    let (negative, text) = text.strip_prefix('n').map_or((0, text), |rest| (1, rest));
    let mut parts = text.split('-').map(|part| part.parse::<u32>().expect("a part of a time"));
    let mut next = || parts.next().unwrap_or(0);
    let mut out = vec![12, negative];
    out.extend_from_slice(&next().to_le_bytes());
    for _ in 0..3 {
        out.push(next() as u8);
    }
    out.extend_from_slice(&next().to_le_bytes());
    out
}
