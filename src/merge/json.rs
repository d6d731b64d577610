//! JSON_ARRAYAGG and JSON_OBJECTAGG: the shards' arrays and objects joined to one.
//!
//! Owns: where elements and members begin and end in a server's text. Does not know: values, which pass as they are. Invariant: what is no
//! array or object as a server writes it is an error.

use std::collections::BTreeMap;

use super::error::Error;
use super::meter::Meter;

/// Adds a shard's array, as text; `separator` stands between elements as the dialect writes it.
pub(super) fn append(
    kept: &mut Option<Vec<u8>>,
    array: &[u8],
    separator: &[u8],
    length_max: Option<usize>,
    meter: &mut Meter,
) -> Result<(), Error> {
    let Some(kept) = kept else {
        meter.take(array.len())?;
        *kept = Some(array.to_vec());
        return Ok(());
    };
    // MariaDB cuts an array that is too long, which is no array then: with more behind it nobody knows.
    let too_long = || length_max.map_or(Error::Malformed, Error::ConcatTooLong);
    let elements = array.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).ok_or_else(too_long)?;
    if kept.last() != Some(&b']')
        || length_max.is_some_and(|max| kept.len() + separator.len() + elements.len() > max)
    {
        return Err(too_long());
    }
    meter.take(separator.len() + elements.len())?;
    kept.pop();
    kept.extend_from_slice(separator);
    kept.extend_from_slice(elements);
    kept.push(b']');
    Ok(())
}

/// What a member costs beside its bytes.
const MEMBER: usize = 64;

/// An object so far.
#[derive(Debug)]
pub(super) enum Object {
    /// Members as they came, with what stands between them.
    Joined(Vec<u8>),
    /// By length and bytes of the keys.
    Sorted(BTreeMap<(usize, Vec<u8>), Vec<u8>>),
}

impl Object {
    pub fn new(sorted: bool) -> Self {
        if sorted { Self::Sorted(BTreeMap::new()) } else { Self::Joined(Vec::new()) }
    }

    /// Adds a shard's object.
    pub fn add(&mut self, text: &[u8], meter: &mut Meter) -> Result<(), Error> {
        let inside =
            text.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).ok_or(Error::Malformed)?;
        match self {
            Self::Joined(_) if inside.is_empty() => {}
            Self::Joined(kept) => {
                let between: &[u8] = if kept.is_empty() { b"" } else { b", " };
                meter.take(between.len() + inside.len())?;
                kept.extend_from_slice(between);
                kept.extend_from_slice(inside);
            }
            Self::Sorted(members) => {
                let mut rest = inside;
                while !rest.is_empty() {
                    let (key, length) = string(rest).ok_or(Error::Malformed)?;
                    let member = &rest[..length + value(&rest[length..]).ok_or(Error::Malformed)?];
                    rest = &rest[member.len()..];
                    rest = rest.strip_prefix(b", ").unwrap_or(rest);
                    meter.take(key.len() + member.len() + MEMBER)?;
                    members.insert((key.len(), key), member.to_vec());
                }
            }
        }
        Ok(())
    }

    /// As the server writes it.
    pub fn text(&self) -> Vec<u8> {
        let mut out = vec![b'{'];
        match self {
            Self::Joined(kept) => out.extend_from_slice(kept),
            Self::Sorted(members) => {
                for (number, member) in members.values().enumerate() {
                    out.extend_from_slice(if number == 0 { b"" } else { b", " });
                    out.extend_from_slice(member);
                }
            }
        }
        out.push(b'}');
        out
    }

    /// Bytes that were taken for it.
    pub fn cost(&self) -> usize {
        match self {
            Self::Joined(kept) => kept.len(),
            Self::Sorted(members) => {
                members.iter().map(|((length, _), member)| length + member.len() + MEMBER).sum()
            }
        }
    }
}

/// The characters of the string that a text begins with, and the bytes that it takes.
fn string(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut out = Vec::new();
    let mut at = 1;
    text.first().filter(|first| **first == b'"')?;
    loop {
        match *text.get(at)? {
            b'"' => return Some((out, at + 1)),
            b'\\' => {
                at += 1;
                match *text.get(at)? {
                    b'u' => {
                        let digits = std::str::from_utf8(text.get(at + 1..at + 5)?).ok()?;
                        // Servers write so what is below a space alone.
                        let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
                        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                        at += 4;
                    }
                    b'b' => out.push(8),
                    b'f' => out.push(12),
                    b'n' => out.push(b'\n'),
                    b'r' => out.push(b'\r'),
                    b't' => out.push(b'\t'),
                    other => out.push(other),
                }
            }
            other => out.push(other),
        }
        at += 1;
    }
}

/// How many bytes a text begins with up to the end of a member's value: to the comma behind it, or the end.
fn value(text: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0u32);
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => {
                at += string(&text[at..])?.1;
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => break,
            _ => {}
        }
        at += 1;
    }
    (depth == 0).then_some(at)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::meter::{Budget, Purse};
    use super::*;

    fn made(sorted: bool, parts: &[&str]) -> Result<String, Error> {
        let purse = Purse::new(1 << 20, Arc::new(Budget::new(1 << 20)));
        let (mut object, mut meter) = (Object::new(sorted), Meter::new(purse));
        parts.iter().try_for_each(|part| object.add(part.as_bytes(), &mut meter))?;
        Ok(String::from_utf8(object.text()).unwrap())
    }

    #[test]
    fn members_stand_as_each_dialect_has_them() {
        let parts = [r#"{"bb": [1, {"x": ","}], "a": "}"}"#, "{}", r#"{"b": null, "a": 2, "\"": 3}"#];
        assert_eq!(made(true, &parts).unwrap(), r#"{"\"": 3, "a": 2, "b": null, "bb": [1, {"x": ","}]}"#);
        let parts = [r#"{"b":1, "a":2}"#, r#"{"a":3}"#];
        assert_eq!(made(false, &parts).unwrap(), r#"{"b":1, "a":2, "a":3}"#);
        assert_eq!(made(true, &["{}"]).unwrap(), "{}");
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for text in
            ["", "[1]", "{", r#"{"a: 1}"#, r#"{"a": [1}"#, r#"{"a": 1]}"#, r#"{a: 1}"#, r#"{"\u12": 1}"#]
        {
            assert_eq!(made(true, &[text]), Err(Error::Malformed), "{text}");
        }
    }
}
