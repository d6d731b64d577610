//! A keyspace: its method, its key's types and its shards, put together.
//!
//! Owns: which options a method reads. Does not know: how they are written for a shard (`shards`).
//! Invariant: an option that the method does not read is an error, and so is a key's type that it cannot place.

use std::collections::BTreeMap;

use crate::shard::{
    Key, Keyspace, Piece, PieceFault, Pieces, Placement, ShardIx, SlotBy, SlotFault, SlotTable, Unit,
};

use super::super::error::quoted;
use super::super::fields::{Context, Fields, Item};
use super::key_types::key_types;
use super::method::Method;
use super::shards::{self, Part, Shards};

/// The keyspace `name`, what it says of its tables, and how many columns their keys have.
pub(super) fn keyspace<'n>(
    name: &str,
    item: &Item<'n>,
    clusters: &[&str],
    cx: &mut Context<'_, '_>,
) -> (Option<Keyspace>, Option<Item<'n>>, Option<usize>) {
    let mut fields = Fields::of(item, cx);
    let method = fields.require(cx, "method", "write how keys are spread: `method: hash`");
    let method_item = method.clone();
    let method = method.and_then(|item| item.choice(cx, &Method::NAMES));
    let key = key_types(&mut fields, cx);
    let slots_item = fields.take("slots");
    let slots = slots_item
        .as_ref()
        .and_then(|item| item.count(cx, 1..=shards::SLOTS_MAX.into()))
        .and_then(|n| u32::try_from(n).ok());
    let unit_item = fields.take("unit");
    let unit = unit_item.as_ref().and_then(|item| item.choice(cx, &Unit::NAMES));
    let shards_item = fields.require(
        cx,
        "shards",
        "list the shards: `shards: {s0: {cluster: main, schema: shop_0, slots: 0-1023}}`",
    );
    let tables = fields.take("tables");
    let columns = key.as_ref().map(Vec::len);
    let layout = fields.section(cx, "layout");
    let (Some(method), Some(key), Some(shards_item)) = (method, key, shards_item) else {
        fields.finish(cx);
        return (None, tables, columns);
    };
    misfits(&fields, method, cx);
    if let (Some(item), [key]) = (&method_item, key.as_slice())
        && let Some(places) = method.refuses(key)
    {
        let message =
            format!("{} does not place a key of type {}", quoted(method.name()), quoted(key.name()));
        item.error(cx, message, Some(format!("it places {places}")));
    }
    if key.len() > 1 && method != Method::Hash {
        fields.conflict(
            cx,
            &["key_type"],
            "a key of several columns is placed by `hash` only",
            "write `method: hash`, or one type",
        );
    }
    if method == Method::Date && unit_item.is_none() {
        fields.missing(cx, "unit", "say how long a period is: `unit: month`");
    }
    let slots = method.slots(slots_item.as_ref().map(|item| (item, slots)), &fields, cx);
    fields.finish(cx);
    let by = method.slot_by(layout, slots, cx);
    let before = cx.errors.count();
    let lines = shards::Lines { method, key: &key, unit: unit.unwrap_or(Unit::Day), slots };
    let shards = shards::shards(&shards_item, clusters, &lines, cx);
    if cx.errors.count() > before {
        return (None, tables, columns);
    }
    let Some(placement) = placement(&lines, by, &shards_item, &shards, cx) else {
        return (None, tables, columns);
    };
    let keyspace =
        Keyspace { name: name.to_owned(), method: method.name(), key, placement, shards: shards.shards };
    (Some(keyspace), tables, columns)
}

/// Options that this method does not read.
fn misfits(fields: &Fields<'_>, method: Method, cx: &mut Context<'_, '_>) {
    let by = method.name();
    for (option, is_read) in [("slots", method.part() == Part::Slots), ("unit", method == Method::Date)] {
        if fields.has(option) && !is_read {
            let message = format!("{} is given, but `method: {by}` does not read it", quoted(option));
            fields.conflict(cx, &[option], message, "remove it, or write another `method`");
        }
    }
}

/// The shards' parts as one placement.
fn placement(
    lines: &shards::Lines<'_>,
    by: SlotBy,
    item: &Item<'_>,
    shards: &Shards<'_>,
    cx: &mut Context<'_, '_>,
) -> Option<Placement> {
    let Shards { slots, ranges, values, .. } = shards;
    let (key, unit) = (lines.key.first()?, lines.unit);
    match lines.method {
        Method::Range => {
            let piece = |(from, to): (&Option<Key>, &Option<Key>), shard| Piece {
                from: from.clone(),
                to: to.clone(),
                shard,
            };
            let given = ranges.iter().map(|range| piece((&range.from, &range.to), range.shard)).collect();
            joined(given, shards, |point| key.show(point), cx).map(Placement::Ranges)
        }
        Method::Date => {
            let period = |key: &Option<Key>| {
                key.as_ref()
                    .and_then(|key| if let Key::Number(n) = key { i64::try_from(*n).ok() } else { None })
            };
            let given = ranges
                .iter()
                .map(|range| Piece { from: period(&range.from), to: period(&range.to), shard: range.shard })
                .collect();
            joined(given, shards, |point| unit.show(*point), cx)
                .map(|pieces| Placement::Periods { unit, pieces })
        }
        Method::List => {
            let mut list: BTreeMap<&Key, ShardIx> = BTreeMap::new();
            for (value, shard, item) in values {
                if list.insert(value, *shard).is_some() {
                    let help = Some("keep it on one shard".to_owned());
                    let message = format!("the key {} is listed already", quoted(&key.show(value)));
                    item.error(cx, message, help);
                }
            }
            let list = list.into_iter().map(|(key, shard)| (key.clone(), shard)).collect();
            Some(Placement::List(list))
        }
        _ => {
            let claims: Vec<_> = slots.iter().map(|(range, shard, _)| (range.clone(), *shard)).collect();
            match SlotTable::new(lines.slots, &claims) {
                Ok(table) => Some(Placement::Slots { by, table }),
                Err(fault) => {
                    slot_fault(fault, lines.slots, item, shards, cx);
                    None
                }
            }
        }
    }
}

fn slot_fault(fault: SlotFault, slots: u32, item: &Item<'_>, shards: &Shards<'_>, cx: &mut Context<'_, '_>) {
    let named = |at: usize| shards.slots.get(at).map(|(_, shard, item)| (shards.name(*shard), item));
    match fault {
        SlotFault::Gap(first) => {
            let later = shards.slots.iter().map(|(range, ..)| range.start).filter(|start| *start > first);
            let last = later.min().unwrap_or(slots) - 1;
            let gap = if first == last {
                format!("slot {first} belongs")
            } else {
                format!("slots {first}-{last} belong")
            };
            let help = Some(format!("give every slot from 0 to {} to a shard", slots - 1));
            item.error(cx, format!("{gap} to no shard"), help);
        }
        SlotFault::Overlap(first, second, slot) => {
            if let (Some((other, _)), Some((_, item))) = (named(first), named(second)) {
                let help = Some("give each slot to one shard".to_owned());
                item.error(cx, format!("slot {slot} belongs to shard {} already", quoted(other)), help);
            }
        }
        SlotFault::Beyond(at) => {
            if let Some((_, item)) = named(at) {
                let help = Some(format!(
                    "slots are 0 to {}; `slots` of the keyspace says how many there are",
                    slots - 1
                ));
                item.error(cx, "there is no such slot", help);
            }
        }
    }
}

/// The pieces as a line, or an error at the piece that does not join.
fn joined<T: Ord>(
    given: Vec<Piece<T>>,
    shards: &Shards<'_>,
    show: impl Fn(&T) -> String,
    cx: &mut Context<'_, '_>,
) -> Option<Pieces<T>> {
    let end = |point: Option<&T>| point.map_or("the end".to_owned(), |point| quoted(&show(point)));
    let ends: Vec<_> = given.iter().map(|piece| (end(piece.from.as_ref()), end(piece.to.as_ref()))).collect();
    let fault = match Pieces::new(given) {
        Ok(pieces) => return Some(pieces),
        Err(fault) => fault,
    };
    let at = |at: usize| shards.ranges.get(at).zip(ends.get(at));
    let found = match fault {
        PieceFault::Empty(place) => at(place).map(|(range, (from, to))| {
            (
                range,
                format!("no key is from {from} on and below {to}"),
                "write the smaller one first; `to` is not in the range",
            )
        }),
        PieceFault::Gap(first, second) => {
            at(first).zip(at(second)).map(|((before, (_, to)), (range, (from, _)))| {
                let message = format!(
                    "keys from {to} to {from} belong to no shard: {} ends before",
                    quoted(shards.name(before.shard))
                );
                (range, message, "begin where the other ends: `to` is not in its range")
            })
        }
        PieceFault::Overlap(first, second) => {
            at(first).zip(at(second)).map(|((before, (_, to)), (range, (from, _)))| {
                let message = format!(
                    "keys from {from} on belong to {} already, up to {to}",
                    quoted(shards.name(before.shard))
                );
                (range, message, "begin where the other ends")
            })
        }
    };
    if let Some((range, message, help)) = found {
        range.item.error(cx, message, Some(help.to_owned()));
    }
    None
}
