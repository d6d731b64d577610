//! What a definition says of a key's column, held against the rules.
//!
//! Owns: which types of columns can have keys of which type. Does not know: which statement says it; what only a server knows, such as a table's
//! default collation where no text names one. Invariant: a column that is let pass stores what the rules place.

use std::ops::Range;

use super::reader::{Name, Sharded};
use crate::plan::sharded::parse::text::{At, Text};
use crate::plan::sharded::refusal::{Reason, Refusal, shown};
use crate::shard::{Collation, Form, KeyType};

const INTEGERS: &[&[u8]] = &[
    b"TINYINT",
    b"SMALLINT",
    b"MEDIUMINT",
    b"MIDDLEINT",
    b"INT",
    b"INTEGER",
    b"BIGINT",
    b"INT1",
    b"INT2",
    b"INT3",
    b"INT4",
    b"INT8",
    b"BOOL",
    b"BOOLEAN",
    b"SERIAL",
];
const DECIMALS: &[&[u8]] = &[b"DECIMAL", b"DEC", b"NUMERIC", b"FIXED"];
const TEXTS: &[&[u8]] = &[
    b"CHAR",
    b"VARCHAR",
    b"CHARACTER",
    b"TINYTEXT",
    b"TEXT",
    b"MEDIUMTEXT",
    b"LONGTEXT",
    b"NCHAR",
    b"NVARCHAR",
    b"NATIONAL",
];
const BYTES: &[&[u8]] = &[b"BINARY", b"VARBINARY", b"TINYBLOB", b"BLOB", b"MEDIUMBLOB", b"LONGBLOB"];

/// Which column of a table's key has this name.
pub(super) fn column_of(sharded: &Sharded<'_>, name: &[u8]) -> Option<usize> {
    let name = String::from_utf8_lossy(name).to_lowercase();
    sharded.key.iter().position(|column| column.to_lowercase() == name)
}

/// A refusal that is about a table's key.
pub(super) fn refuse(table: &Name<'_>, column: &[u8], what: &str) -> Refusal {
    Refusal::new(Reason::KeyColumn, format!("{} of {} {what}", shown(column), table.shown()))
}

/// Whether a column of this definition, from its type on, can have the keys. `collation`: what the text says of the table's.
pub(super) fn check(
    text: &Text,
    definition: Range<At>,
    key: &KeyType,
    collation: Option<&[u8]>,
) -> Result<(), String> {
    let (at, end) = (definition.start, definition.end);
    let is = |words: &[&[u8]]| text.is_one_of(at, words);
    let has = |word: &[u8]| (at..end).find(|at| text.is_word(*at, word));
    let computed = (at..end).any(|at| text.is_word(at, b"AS") && text.is(at + 1, b'('));
    if computed {
        return Err("is computed by the server, and no statement gives a row's key".to_owned());
    }
    let number =
        |at: At| std::str::from_utf8(text.bytes(at)).ok().and_then(|digits| digits.parse::<u64>().ok());
    // The digits behind the point, or behind the second's.
    let second = |at: At| match text.is(at + 1, b'(') {
        true if text.is(at + 3, b',') => number(at + 4),
        _ => Some(0),
    };
    let first = |at: At| if text.is(at + 1, b'(') { number(at + 2) } else { Some(0) };
    let most = |digits: Option<u64>, scale: u8| digits.is_some_and(|digits| digits <= u64::from(scale));
    let sixteen = is(&[b"BINARY", b"VARBINARY"]) && first(at) == Some(16);
    let (fits, wanted) = match key {
        KeyType::Integer => (is(INTEGERS), "an integer".to_owned()),
        KeyType::Decimal { scale } => (
            is(DECIMALS) && most(second(at), *scale),
            format!("DECIMAL with {scale} digits behind the point, or fewer"),
        ),
        KeyType::String(rule) if is(TEXTS) => {
            let own = has(b"COLLATE").map(|at| text.name(at + 1).into_owned());
            let named = own.as_deref().or(collation);
            return of_text(*rule, named);
        }
        KeyType::String(_) => (false, "CHAR or VARCHAR".to_owned()),
        KeyType::Bytes => (is(BYTES), "BINARY or VARBINARY".to_owned()),
        KeyType::Uuid => {
            (is(&[b"UUID"]) || is(TEXTS) || sixteen, "a UUID: a text, BINARY(16) or UUID".to_owned())
        }
        KeyType::Date => (is(&[b"DATE"]), "DATE".to_owned()),
        KeyType::Datetime { scale } => (
            is(&[b"DATETIME"]) && most(first(at), *scale),
            format!("DATETIME with {scale} digits behind the point, or fewer"),
        ),
    };
    if fits { Ok(()) } else { Err(format!("is {}, and not {wanted}", shown(text.bytes(at)))) }
}

/// Whether a text's collation takes for equal no more than the rule's.
fn of_text(rule: Collation, collation: Option<&[u8]>) -> Result<(), String> {
    let name = collation.map(|name| String::from_utf8_lossy(name).to_lowercase());
    match name.as_deref().map(|name| (name, Collation::named(name))) {
        None if rule.form == Form::Exact => {
            Err(format!("has no COLLATE, and the rules compare its values by {}", rule.name))
        }
        None => Ok(()),
        Some((name, None)) => Err(format!("is compared by {name}, which no rule knows")),
        Some((name, Some(own))) if rule.form == Form::Exact && own.form != Form::Exact => Err(format!(
            "is compared by {name}, which takes more texts for equal than {} in the rules",
            rule.name
        )),
        Some(_) => Ok(()),
    }
}
