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

/// What makes a column comparable that is not by its type, behind a comma: its weight, a space's weight where its collation
/// pads, its number. With how many columns that are.
fn hidden(column: &str) -> (String, usize) {
    let space =
        format!("IF(CONCAT({column}, ' ') = {column}, WEIGHT_STRING(RIGHT(CONCAT({column}, ' '), 1)), '')");
    match column {
        "e" | "st" => (format!(", NULL, NULL, {column} + 0"), 3),
        "f" | "fx" => (format!(", NULL, NULL, {column} + 0e0"), 3),
        _ if TEXTS.contains(&column) => (format!(", WEIGHT_STRING({column}), {space}, NULL"), 3),
        _ => (String::new(), 0),
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
        let (more, hidden) = hidden(name);
        for (direction, first) in [("", key(0, 2)), ("DESC", key(0, 2).descending())] {
            let order = format!("ORDER BY {name} {direction}, id DESC");
            cases.push(Case {
                whole: format!("SELECT {name}, id FROM {{t}} {order}"),
                part: format!("SELECT {name}, id{more} FROM {{t}} {order}"),
                spec: Spec {
                    arrival: Arrival::Sorted(vec![first, Key::at(1).descending()]),
                    hidden,
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
        let (more, hidden) = hidden(name);
        for arrival in [Arrival::Any, Arrival::Sorted(vec![key(0, 1)])] {
            if name == "bt" && arrival != Arrival::Any {
                continue; // MariaDB gives a BIT as BIGINT where DISTINCT is ordered
            }
            let order = if arrival == Arrival::Any { String::new() } else { format!("ORDER BY {name}") };
            let part = format!("SELECT DISTINCT {name}{more} FROM {{t}} {order}");
            let spec =
                Spec { arrival, combine: Combine::Distinct(vec![key(0, 1)]), hidden, ..Spec::default() };
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
