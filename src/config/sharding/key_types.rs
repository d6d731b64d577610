//! `key_type`, `collation` and `scale` of a keyspace.
//!
//! Owns: the words for keys' types. Does not know: which method places which. Invariant: an option that no type reads is an error.

use crate::shard::{Collation, KeyType};

use super::super::error::quoted;
use super::super::fields::{Context, Fields, Item};
use super::super::guess::did_you_mean;

/// Columns of one key.
const COLUMNS_MAX: usize = 8;
/// Digits behind the point of a DECIMAL, and of a DATETIME.
const SCALE_MAX: (u64, u64) = (30, 6);

/// `key_type` with `collation` and `scale`: a word, or a list of words for a key of several columns.
pub(super) fn key_types(fields: &mut Fields<'_>, cx: &mut Context<'_, '_>) -> Option<Vec<KeyType>> {
    let item = fields.require(cx, "key_type", "write the type of the key's column: `key_type: integer`");
    let collation = fields.take("collation");
    let scale = fields.take("scale");
    let of_text = match &collation {
        Some(item) => self::collation(item, cx).unwrap_or(Collation::ANY),
        None => Collation::ANY,
    };
    let scale_value = |max, cx: &mut Context<'_, '_>| {
        let scale = scale.as_ref().and_then(|item| item.count(cx, 0..=max));
        scale.and_then(|scale| u8::try_from(scale).ok()).unwrap_or(0)
    };
    #[derive(Clone, Copy)]
    enum Word {
        Decimal,
        Datetime,
        Other(KeyType),
    }
    let words = [
        ("integer", Word::Other(KeyType::Integer)),
        ("decimal", Word::Decimal),
        ("string", Word::Other(KeyType::String(of_text))),
        ("bytes", Word::Other(KeyType::Bytes)),
        ("uuid", Word::Other(KeyType::Uuid)),
        ("date", Word::Other(KeyType::Date)),
        ("datetime", Word::Datetime),
    ];
    let item = item?;
    let elements = item.elements();
    if !(1..=COLUMNS_MAX).contains(&elements.len()) {
        item.error(
            cx,
            format!("expected 1 to {COLUMNS_MAX} types"),
            Some("write `integer`, or `[integer, string]`".to_owned()),
        );
        return None;
    }
    let mut types = Vec::with_capacity(elements.len());
    for element in &elements {
        types.push(match element.choice(cx, &words)? {
            Word::Decimal => KeyType::Decimal { scale: scale_value(SCALE_MAX.0, cx) },
            Word::Datetime => KeyType::Datetime { scale: scale_value(SCALE_MAX.1, cx) },
            Word::Other(key) => key,
        });
    }
    let reads = |name: &[&str]| types.iter().any(|key| name.contains(&key.name()));
    for (option, is_read, of) in [
        ("collation", reads(&["string"]), "`string`"),
        ("scale", reads(&["decimal", "datetime"]), "`decimal` and `datetime`"),
    ] {
        if fields.has(option) && !is_read {
            let message = format!("{} is given, but it is for keys of type {of}", quoted(option));
            fields.conflict(cx, &[option], message, "remove it, or write another `key_type`");
        }
    }
    if reads(&["decimal"]) && !fields.has("scale") {
        fields.missing(
            cx,
            "scale",
            "write the digits behind the point, as in the column's DECIMAL(10,2): `scale: 2`",
        );
    }
    Some(types)
}

fn collation(item: &Item<'_>, cx: &mut Context<'_, '_>) -> Option<Collation> {
    let name = item.text(cx)?;
    let collation = Collation::named(name);
    if collation.is_none() {
        let help = match did_you_mean(name, Collation::names()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if name == "binary" => "write `key_type: bytes` for BINARY and VARBINARY".to_owned(),
            None => "give the column a collation of docs/sharding.md, such as `utf8mb4_bin`; or leave this line out if no two printable \
                     ASCII texts are equal under it that differ in more than case"
                .to_owned(),
        };
        item.error(cx, format!("it is not known which texts are equal under {}", quoted(name)), Some(help));
    }
    collation
}
