//! What of a column or a definition does not fit.

use crate::shard::{Collation, Form, GenerateBy, KeyType};
use crate::topology::catalog::{Column, Definition};

/// Why a column cannot have keys of this type: "varchar(20), and not an integer". `None` where it can.
pub(super) fn of_key(key: &KeyType, column: &Column) -> Option<String> {
    let Column { of_type, scale, collation, extra, .. } = column;
    if extra.contains(" GENERATED") {
        return Some(format!("{of_type} that the server computes, and no statement gives a row's key"));
    }
    let name = of_type.split(['(', ' ']).next().unwrap_or_default();
    let is_text = ["char", "varchar"].contains(&name) || name.ends_with("text");
    let digits = |most: u8| scale.is_some_and(|scale| scale <= u64::from(most));
    let (fits, wanted) = match key {
        KeyType::Integer => (name.ends_with("int"), "an integer".to_owned()),
        KeyType::Decimal { scale } => (
            name == "decimal" && digits(*scale),
            format!("DECIMAL with {scale} digits behind the point, or fewer"),
        ),
        KeyType::String(rule) if is_text => return of_text(*rule, collation.as_deref().unwrap_or_default()),
        KeyType::String(_) => (false, "CHAR or VARCHAR".to_owned()),
        KeyType::Bytes => (
            ["binary", "varbinary"].contains(&name) || name.ends_with("blob"),
            "BINARY or VARBINARY".to_owned(),
        ),
        KeyType::Uuid => (
            name == "uuid" || is_text || ["binary(16)", "varbinary(16)"].contains(&&**of_type),
            "a UUID: a text, BINARY(16) or UUID".to_owned(),
        ),
        KeyType::Date => (name == "date", "DATE".to_owned()),
        KeyType::Datetime { scale } => (
            name == "datetime" && digits(*scale),
            format!("DATETIME with {scale} digits behind the point, or fewer"),
        ),
    };
    (!fits).then(|| format!("{of_type}, and not {wanted}"))
}

/// Why a column cannot have values that are made so, and what to do. `None` where it can.
pub(super) fn of_made(by: GenerateBy, column: &Column) -> Option<(String, &'static str)> {
    let Column { of_type, scale, extra, .. } = column;
    if extra.contains(" GENERATED") {
        return Some((
            format!("{of_type} that the server computes"),
            "name another column in `generate`, or take that out",
        ));
    }
    let (name, rest) = of_type.split_at(of_type.find(['(', ' ']).unwrap_or(of_type.len()));
    let within = rest.trim_start_matches('(').split([',', ')']).next().unwrap_or_default();
    let length: u32 = within.parse().unwrap_or_default();
    let is_decimal = |digits| name == "decimal" && length >= digits && *scale == Some(0);
    let (fits, wanted, help) = match by {
        GenerateBy::Snowflake => (
            name == "bigint" || is_decimal(19),
            "a BIGINT, which ids by `snowflake` need: they have 63 bits",
            "make it a BIGINT, or write `segment`",
        ),
        GenerateBy::Segment => (
            name.ends_with("int") || is_decimal(1),
            "an integer, which ids by `segment` are",
            "make it a BIGINT, or write `uuid_v7` or `uuid_v7_binary`",
        ),
        GenerateBy::UuidV7 => (
            ["char", "varchar"].contains(&name) && length >= 36 || name.ends_with("text") || name == "uuid",
            "a text of 36 characters, which ids by `uuid_v7` are",
            "make it CHAR(36), or write `uuid_v7_binary` for BINARY(16)",
        ),
        GenerateBy::UuidV7Binary => (
            *of_type == "binary(16)" || name == "varbinary" && length >= 16 || name.ends_with("blob"),
            "16 bytes, which ids by `uuid_v7_binary` are",
            "make it BINARY(16), or write `uuid_v7` for CHAR(36)",
        ),
    };
    (!fits).then(|| (format!("{of_type}, and not {wanted}"), help))
}

/// Why a column has few values for rows to come.
pub(super) fn of_small(by: GenerateBy, column: &Column) -> Option<String> {
    let name = column.of_type.split(['(', ' ']).next().unwrap_or_default();
    let is_small = by == GenerateBy::Segment && ["tinyint", "smallint", "mediumint"].contains(&name);
    is_small.then(|| {
        format!(
            "{}: a segment has 1000 numbers or more, of which some are left out whenever Tidegate ends",
            column.of_type
        )
    })
}

/// Why a text's collation takes for equal what the rule's does not.
fn of_text(rule: Collation, collation: &str) -> Option<String> {
    let by = if rule.name.is_empty() { "the default".to_owned() } else { format!("`{}`", rule.name) };
    match Collation::named(collation) {
        None => Some(format!("compared by {collation}, which no rule knows")),
        Some(own) if rule.form == Form::Exact && own.form != Form::Exact => {
            Some(format!("compared by {collation}, which takes more texts for equal than {by} in the rules"))
        }
        Some(_) => None,
    }
}

/// The first difference between two definitions that statements could see.
pub(super) fn difference(one: &Definition, other: &Definition) -> Option<String> {
    let mut columns = one.columns.iter().zip(&other.columns);
    if let Some((one, other)) = columns.find(|(one, other)| one != other) {
        return Some(of_columns(one, other));
    }
    let longer = if one.columns.len() > other.columns.len() { one } else { other };
    let shorter = one.columns.len().min(other.columns.len());
    if let Some(column) = longer.columns.get(shorter) {
        return Some(format!("only one of them has column `{}`", column.name));
    }
    let unique = |definition: &Definition| {
        let mut unique: Vec<_> = definition.indexes.iter().filter(|(_, index)| index.is_unique).collect();
        unique.sort_by_key(|(_, index)| index.columns.clone());
        unique.into_iter().map(|(_, index)| index.columns.join(", ")).collect::<Vec<_>>()
    };
    let (one, other) = (unique(one), unique(other));
    let missing =
        one.iter().find(|own| !other.contains(own)).or_else(|| other.iter().find(|own| !one.contains(own)));
    missing.map(|columns| format!("only one of them has a unique index on ({columns})"))
}

fn of_columns(one: &Column, other: &Column) -> String {
    let name = &one.name;
    if one.name != other.name {
        return format!("where one has column `{name}`, the other has `{}`", other.name);
    }
    let part = |what: &str, one: &str, other: &str| format!("column `{name}` has {what} {one} and {other}");
    if one.of_type != other.of_type {
        return part("types", &one.of_type, &other.of_type);
    }
    if one.collation != other.collation {
        let [one, other] = [&one.collation, &other.collation].map(|name| name.as_deref().unwrap_or("none"));
        return part("collations", one, other);
    }
    if one.is_nullable != other.is_nullable {
        return format!("column `{name}` is NOT NULL on one of them");
    }
    if one.extra != other.extra {
        return part("options", &quoted(&one.extra), &quoted(&other.extra));
    }
    let [one, other] =
        [&one.default, &other.default].map(|default| default.as_deref().map_or("none".into(), quoted));
    part("defaults", &one, &other)
}

fn quoted(text: &str) -> String {
    format!("'{text}'")
}
