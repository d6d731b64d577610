//! ORDER BY, DISTINCT, LIMIT.

use tidegate::merge::{Arrival, Combine, Key, Limit, Pad, Spec};

use super::{COLUMNS, Case, Compare, check, table};
use crate::harness::Scenario;

both_dialects! {
    rows_are_ordered_by_values_of_every_type,
    distinct_values_of_every_type,
    a_limit_counts_over_all_parts,
}

/// Columns with a collation.
const TEXTS: &[&str] = &["g", "ubin", "uni", "l", "c", "tx", "ai", "cs"];

/// All columns, with those whose collation only one dialect has.
fn names() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().map(|(name, ..)| *name).chain(["ai", "cs"])
}

/// Expressions that make any column comparable: its weight, a space's weight where its collation pads, its number.
fn hidden(column: &str) -> String {
    let space =
        format!("IF(CONCAT({column}, ' ') = {column}, WEIGHT_STRING(RIGHT(CONCAT({column}, ' '), 1)), '')");
    let number =
        if column == "f" || column == "fx" { format!("{column} + 0e0") } else { format!("{column} + 0") };
    match column {
        "e" | "st" | "f" | "fx" => format!("NULL, NULL, {number}"),
        "vb" | "bn" | "bl" => format!("WEIGHT_STRING({column}), '', NULL"),
        _ if TEXTS.contains(&column) => format!("WEIGHT_STRING({column}), {space}, NULL"),
        _ => "NULL, NULL, NULL".to_owned(),
    }
}

/// The key of a column at `place`, with what [`hidden`] names from `hidden` on.
fn key(place: usize, hidden: usize) -> Key {
    Key::at(place).weighed(hidden, Pad::At(hidden + 1)).numbered(hidden + 2)
}

async fn rows_are_ordered_by_values_of_every_type(scenario: Scenario) {
    let (_stage, mut client) = table(scenario).await;
    let mut cases = Vec::new();
    for name in names() {
        for (direction, first) in [("", key(0, 2)), ("DESC", key(0, 2).descending())] {
            let order = format!("ORDER BY {name} {direction}, id DESC");
            cases.push(Case {
                whole: format!("SELECT {name}, id FROM {{t}} {order}"),
                part: format!("SELECT {name}, id, {} FROM {{t}} {order}", hidden(name)),
                spec: Spec {
                    arrival: Arrival::Sorted(vec![first, Key::at(1).descending()]),
                    hidden: 3,
                    ..Spec::default()
                },
                compare: Compare::All,
            });
        }
    }
    check(&mut client, cases).await;
}

async fn distinct_values_of_every_type(scenario: Scenario) {
    let (_stage, mut client) = table(scenario).await;
    let mut cases = Vec::new();
    for name in names() {
        for arrival in [Arrival::Any, Arrival::Sorted(vec![key(0, 1)])] {
            let order = if arrival == Arrival::Any { String::new() } else { format!("ORDER BY {name}") };
            let part = format!("SELECT DISTINCT {name}, {} FROM {{t}} {order}", hidden(name));
            let spec =
                Spec { arrival, combine: Combine::Distinct(vec![key(0, 1)]), hidden: 3, ..Spec::default() };
            cases.push(Case {
                whole: format!("SELECT DISTINCT {name} FROM {{t}}"),
                part,
                spec,
                // Of texts that are equal any may stay.
                compare: if TEXTS.contains(&name) { Compare::Number } else { Compare::Set },
            });
        }
    }
    check(&mut client, cases).await;
}

async fn a_limit_counts_over_all_parts(scenario: Scenario) {
    let (_stage, mut client) = table(scenario).await;
    let limit = |offset, count| Limit { offset, count: Some(count) };
    let case = |offset, count| Case {
        whole: format!("SELECT b, id FROM {{t}} ORDER BY b, id LIMIT {offset}, {count}"),
        part: format!("SELECT b, id FROM {{t}} ORDER BY b, id LIMIT {}", offset + count),
        spec: Spec {
            arrival: Arrival::Sorted(vec![Key::at(0), Key::at(1)]),
            limit: limit(offset, count),
            ..Spec::default()
        },
        compare: Compare::All,
    };
    let cases = [(0, 10), (7, 13), (0, 0), (230, 20), (300, 5)];
    check(&mut client, cases.into_iter().map(|(offset, count)| case(offset, count)).collect()).await;
}
