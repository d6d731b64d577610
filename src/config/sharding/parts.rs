//! What of a keyspace is a shard's: `slots`, `from` and `to`, `ranges`, or `values`.
//!
//! Owns: how these are written, and how a pattern's shards divide them. Does not know: whether the parts make a whole.
//! Invariant: a part is a shard's of the group that it is read for.

use crate::shard::{Key, ShardIx};

use super::super::error::quoted;
use super::super::fields::{Context, Fields, Item};
use super::method::Method;
use super::shards::{Group, KeyRange, Lines, Part, SLOTS_MAX, Shards};

/// Reads what is the group's by `slots`, `from` and `to`, `ranges`, or `values`.
pub(super) fn parts<'n>(
    shards: &mut Shards<'n>,
    group: &Group<'n>,
    fields: &mut Fields<'n>,
    lines: &Lines<'_>,
    cx: &mut Context<'_, '_>,
) {
    let slots = fields.take("slots");
    let (from, to, ranges) = (fields.take("from"), fields.take("to"), fields.take("ranges"));
    let values = fields.take("values");
    let part = lines.method.part();
    for (option, of) in [
        ("slots", Part::Slots),
        ("from", Part::Ranges),
        ("to", Part::Ranges),
        ("ranges", Part::Ranges),
        ("values", Part::Values),
    ] {
        if of != part && fields.has(option) {
            let message = format!(
                "{} is given, but `method: {}` does not read it",
                quoted(option),
                lines.method.name()
            );
            let instead = match part {
                Part::Slots => "write the shard's `slots`",
                Part::Ranges => "write the shard's `from` and `to`",
                Part::Values => "write the shard's `values`",
            };
            fields.conflict(cx, &[option], message, instead);
        }
    }
    match (part, slots, values) {
        (Part::Slots, Some(item), _) => self::slots(shards, group, &item, cx),
        (Part::Slots, None, _) => {
            fields.missing(cx, "slots", "say which slots are the shard's: `slots: 0-511`")
        }
        (Part::Values, _, Some(item)) => self::values(shards, group, &item, lines, cx),
        (Part::Values, _, None) => fields.missing(cx, "values", "list the shard's keys: `values: [1, 2]`"),
        (Part::Ranges, ..) => match ranges {
            None if from.is_none() && to.is_none() => fields.missing(
                cx,
                "from",
                "say from where on and to where keys are the shard's: `from: 0, to: 1000`",
            ),
            None => range(shards, group, &group.item, (from, to), lines, cx),
            Some(item) if from.is_some() || to.is_some() => {
                item.error(
                    cx,
                    "`ranges` is given beside `from` and `to`",
                    Some("put all of them into `ranges`".to_owned()),
                );
            }
            Some(item) => {
                for element in item.elements() {
                    let mut fields = Fields::of(&element, cx);
                    let ends = (fields.take("from"), fields.take("to"));
                    fields.finish(cx);
                    range(shards, group, &element, ends, lines, cx);
                }
            }
        },
    }
}

/// `0-511`, `7`, or a list of these; a group divides them evenly, in order.
fn slots<'n>(shards: &mut Shards<'n>, group: &Group<'n>, item: &Item<'n>, cx: &mut Context<'_, '_>) {
    let mut ranges = Vec::new();
    for element in item.elements() {
        let Some(text) = element.text(cx) else { return };
        let number =
            |text: &str| text.parse::<u32>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last && last < SLOTS_MAX => {
                ranges.push((first..last + 1, element));
            }
            _ => {
                let help = Some(
                    "write `0-511`, `7`, or a list such as `[0-3, 8]`; the last slot is included".to_owned(),
                );
                element.error(cx, format!("{} are not slots", quoted(text)), help);
                return;
            }
        }
    }
    let count = group.shards.len();
    let all: usize = ranges.iter().map(|(range, _)| range.len()).sum();
    if !all.is_multiple_of(count) {
        let help = Some(format!("give a multiple of {count}, or write the shards one by one"));
        item.error(cx, format!("{all} slots cannot be divided evenly among {count} shards"), help);
        return;
    }
    let each = all / count;
    let mut given = 0;
    for (range, element) in ranges {
        let mut start = range.start;
        while start < range.end {
            let left = u32::try_from(each - given % each).unwrap_or(u32::MAX);
            let end = range.end.min(start.saturating_add(left));
            shards.slots.push((start..end, shard(group, given / each), element.clone()));
            given += (end - start) as usize;
            start = end;
        }
    }
}

/// The group's shard at a place.
fn shard(group: &Group<'_>, at: usize) -> ShardIx {
    ShardIx(u16::try_from(group.shards.start + at).unwrap_or(u16::MAX)) // below `SHARDS_MAX`
}

fn values<'n>(
    shards: &mut Shards<'n>,
    group: &Group<'n>,
    item: &Item<'n>,
    lines: &Lines<'_>,
    cx: &mut Context<'_, '_>,
) {
    if group.shards.len() > 1 {
        item.error(
            cx,
            "a pattern's shards cannot share `values`",
            Some("write the shards one by one".to_owned()),
        );
    }
    for element in item.elements() {
        if let Some(key) = element.text(cx).and_then(|text| key(&element, text, lines, cx)) {
            shards.values.push((key, shard(group, 0), element));
        }
    }
}

/// A key as the rules give it; of the method `date`, the number of a period.
fn key(item: &Item<'_>, text: &str, lines: &Lines<'_>, cx: &mut Context<'_, '_>) -> Option<Key> {
    let key_type = lines.key.first()?;
    let (key, help) = if lines.method == Method::Date {
        let period = lines.unit.parse(text).map(|period| Key::Number(period.into()));
        (period, format!("write it as `{}`", lines.unit.example()))
    } else {
        let key = key_type.rule(text);
        let help = match key {
            Err(refusal) => format!("it {refusal}"),
            Ok(_) => String::new(),
        };
        (key.ok(), help)
    };
    let has_controls = matches!(&key, Some(Key::Text(text)) if text.iter().any(|byte| *byte < b' '));
    if has_controls && lines.method.part() == Part::Ranges {
        item.error(
            cx,
            "control characters have no place in an order of texts",
            Some("end the range elsewhere".to_owned()),
        );
        return None;
    }
    if key.is_none() {
        let what =
            if lines.method == Method::Date { "a period of this `unit`" } else { "a key of this `key_type`" };
        item.error(cx, format!("{} is not {what}", quoted(text)), Some(help));
    }
    key
}

/// `from` and `to`; a group divides a range of whole numbers or periods evenly, in order.
fn range<'n>(
    shards: &mut Shards<'n>,
    group: &Group<'n>,
    item: &Item<'n>,
    ends: (Option<Item<'n>>, Option<Item<'n>>),
    lines: &Lines<'_>,
    cx: &mut Context<'_, '_>,
) {
    let mut end = |item: &Option<Item<'n>>| match item {
        None => Some(None),
        Some(item) => key(item, item.text(cx)?, lines, cx).map(Some),
    };
    let (Some(from), Some(to)) = (end(&ends.0), end(&ends.1)) else { return };
    let item = ends.0.or(ends.1).unwrap_or(item.clone());
    let count = group.shards.len();
    if count == 1 {
        shards.ranges.push(KeyRange { from, to, shard: shard(group, 0), item });
        return;
    }
    let divided = match (&from, &to) {
        (Some(Key::Number(from)), Some(Key::Number(to))) => i128::try_from(count).ok().and_then(|count| {
            let points = to.checked_sub(*from).filter(|points| *points > 0 && points % count == 0)?;
            Some((*from, points / count))
        }),
        _ => None,
    };
    let Some((from, each)) = divided else {
        let help = "give `from` and `to` as whole numbers or periods, whose distance is a multiple of it; or write the shards one by one";
        item.error(
            cx,
            format!("the range cannot be divided evenly among {count} shards"),
            Some(help.to_owned()),
        );
        return;
    };
    for at in 0..count {
        let start = from + each * i128::try_from(at).unwrap_or(0);
        let (from, to) = (Some(Key::Number(start)), Some(Key::Number(start + each)));
        shards.ranges.push(KeyRange { from, to, shard: shard(group, at), item: item.clone() });
    }
}
