//! Against evaluations that keep all values in memory and compare them by their meaning.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Rows of a few shards: two numbers (the second in cents) and a text, each of which may be NULL.
type Rows = Vec<Vec<(Option<i64>, Option<i64>, Option<String>)>>;

fn shards() -> impl Strategy<Value = Rows> {
    let number = || proptest::option::weighted(0.8, -4i64..4);
    let cents = || proptest::option::weighted(0.8, -250i64..250);
    let word = || proptest::option::weighted(0.8, "[abAB]{0,2}");
    vec(vec((number(), cents(), word()), 0..12), 1..5)
}

fn formats() -> impl Strategy<Value = Format> {
    prop_oneof![Just(Format::Text), Just(Format::Binary)]
}

fn value(of: Option<impl ToString>) -> Value {
    of.map_or(Value::Null, text)
}

fn money(cents: i64) -> String {
    format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100)
}

/// Columns and rows: the number, the amount, the text, its weight.
fn columns() -> [Column; 4] {
    [bigint(), decimals(2), varchar(), varbinary()]
}

fn encoded(row: &(Option<i64>, Option<i64>, Option<String>)) -> Vec<Value> {
    let (number, cents, word) = row;
    vec![
        value(*number),
        value(cents.map(money)),
        value(word.clone()),
        value(word.as_ref().map(|word| word.to_lowercase())),
    ]
}

fn word_key() -> Key {
    Key::at(2).weighed(3, Pad::None)
}

fn directed(key: Key, descending: bool) -> Key {
    if descending { key.descending() } else { key }
}

proptest! {
    #[test]
    fn order_and_limit(
        shards in shards(),
        format in formats(),
        (number_down, cents_down, word_down) in any::<(bool, bool, bool)>(),
        offset in 0u64..8,
        count in proptest::option::of(0u64..12),
        late in any::<bool>(),
    ) {
        let compare = |left: &(_, _, Option<String>), right: &(_, _, Option<String>)| {
            let direct = |ordering: Ordering, down| if down { ordering.reverse() } else { ordering };
            let word = |row: &(_, _, Option<String>)| row.2.as_ref().map(|word| word.to_lowercase());
            let (left_numbers, right_numbers): ((Option<i64>, Option<i64>), _) = ((left.0, left.1), (right.0, right.1));
            direct(left_numbers.0.cmp(&right_numbers.0), number_down)
                .then(direct(word(left).cmp(&word(right)), word_down))
                .then(direct(left_numbers.1.cmp(&right_numbers.1), cents_down))
        };
        let mut whole: Vec<_> = shards.concat();
        whole.sort_by(compare);
        let limited = whole.iter().skip(offset as usize).take(count.unwrap_or(u64::MAX) as usize);
        let keys = vec![
            directed(Key::at(0), number_down),
            directed(word_key(), word_down),
            directed(Key::at(1), cents_down),
        ];
        let parts: Vec<Vec<_>> = shards
            .iter()
            .map(|rows| {
                let mut rows = rows.clone();
                if !late {
                    rows.sort_by(compare);
                }
                rows.iter().map(encoded).collect()
            })
            .collect();
        let limit = Limit { offset, count };
        let spec = if late {
            Spec { order: keys, limit, ..Spec::default() }
        } else {
            Spec { arrival: Arrival::Sorted(keys), limit, ..Spec::default() }
        };
        let merged = merge(&spec, &columns(), &parts, format, BOUNDS).unwrap();
        // Equal texts may come in any order; what is compared is what they are equal in.
        let shown = |row: &Vec<Value>| [row[0].clone(), row[1].clone(), row[3].clone()];
        let expected: Vec<_> = limited.map(|row| shown(&encoded(row))).collect();
        prop_assert_eq!(merged.iter().map(shown).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn groups(shards in shards(), format in formats(), sorted in any::<bool>(), grouped in any::<bool>()) {
        // By the text: count, sum, average, least and greatest of the amounts; by hand, and from the parts.
        type Group = (i64, Vec<i64>);
        let group = |rows: &[(Option<i64>, Option<i64>, Option<String>)]| {
            let mut groups = BTreeMap::<Option<String>, Group>::new();
            if !grouped {
                groups.insert(None, Group::default());
            }
            for (_, cents, word) in rows {
                let key = word.as_ref().filter(|_| grouped).map(|word| word.to_lowercase());
                let group = groups.entry(key).or_default();
                group.0 += 1;
                group.1.extend(cents);
            }
            groups
        };
        let row = |(key, (count, cents)): (Option<String>, Group)| {
            let sum = (!cents.is_empty()).then(|| cents.iter().sum::<i64>());
            // Six digits behind the point, rounded half away from zero.
            let average = sum.map(|sum| {
                let millionths = i128::from(sum) * 10_000 * 2 / cents.len() as i128;
                let rounded = (millionths.abs() + 1) / 2 * millionths.signum();
                let sign = if rounded < 0 { "-" } else { "" };
                format!("{sign}{}.{:06}", rounded.abs() / 1_000_000, rounded.abs() % 1_000_000)
            });
            vec![
                value(key.clone()),
                text(count),
                value(sum.map(money)),
                value(average),
                value(cents.iter().min().copied().map(money)),
                value(cents.iter().max().copied().map(money)),
                text(cents.len()),
                value(key),
            ]
        };
        let columns =
            [varchar(), bigint(), decimals(2), decimals(6), decimals(2), decimals(2), bigint(), varbinary()];
        let key = Key::at(0).weighed(7, Pad::None);
        let folds = [
            Fold::Any,
            Fold::Count,
            Fold::Sum,
            Fold::Average { sum: 2, count: 6 },
            Fold::Least(Key::at(4)),
            Fold::Greatest(Key::at(5)),
            Fold::Count,
            Fold::Any,
        ];
        let outputs = folds.into_iter().enumerate().map(|(place, fold)| Output { place, fold }).collect();
        let keys = if grouped { vec![key.clone()] } else { vec![] };
        let spec = Spec {
            arrival: if sorted { Arrival::Sorted(vec![key.clone()]) } else { Arrival::Any },
            combine: Combine::Groups(Groups { keys, outputs, always: !grouped }),
            order: if sorted { vec![] } else { vec![key] },
            ..Spec::default()
        };
        let parts: Vec<Vec<_>> =
            shards.iter().map(|rows| group(rows).into_iter().map(row).collect()).collect();
        let expected: Vec<_> = group(&shards.concat()).into_iter().map(row).collect();
        prop_assert_eq!(merge(&spec, &columns, &parts, format, BOUNDS), Ok(expected));
    }

    #[test]
    fn distinct(shards in shards(), format in formats(), sorted in any::<bool>()) {
        let mut keys: Vec<_> = shards.concat().into_iter().map(|row| row.0).collect();
        keys.sort();
        keys.dedup();
        let count = keys.iter().flatten().count();
        let sum: i64 = keys.iter().flatten().sum();
        let parts: Vec<Vec<_>> = shards
            .iter()
            .map(|rows| {
                let mut rows = rows.clone();
                rows.sort_by_key(|row| row.0);
                rows.iter().map(|row| vec![value(row.0), value(row.0), text(0)]).collect()
            })
            .collect();
        let columns = [bigint(), decimals(0), bigint()];
        let arrival = if sorted { Arrival::Sorted(vec![Key::at(0)]) } else { Arrival::Any };
        let order = if sorted { vec![] } else { vec![Key::at(0)] };
        let spec = Spec { arrival: arrival.clone(), combine: Combine::Distinct(vec![Key::at(0)]), order, ..Spec::default() };
        let merged = merge(&spec, &columns, &parts, format, BOUNDS).unwrap();
        let expected: Vec<_> = keys.iter().map(|key| vec![value(*key), value(*key), text(0)]).collect();
        prop_assert_eq!(merged, expected);
        // The same values, counted and summed up.
        let outputs = vec![
            Output { place: 2, fold: Fold::CountDistinct(vec![Key::at(0)]) },
            Output { place: 1, fold: Fold::SumDistinct(Distinct { value: 1, key: Key::at(0) }) },
        ];
        let combine = Combine::Groups(Groups { keys: vec![], outputs, always: true });
        let merged = merge(&Spec { arrival, combine, ..Spec::default() }, &columns, &parts, format, BOUNDS);
        prop_assert_eq!(merged, Ok(vec![vec![text(count), value((count > 0).then_some(sum))]]));
    }

    #[test]
    fn no_bytes_make_it_panic(
        rows in vec((0usize..3, vec(any::<u8>(), 0..40)), 0..6),
        kinds in vec((any::<u8>(), any::<bool>(), any::<u16>()), 1..5),
        format in formats(),
    ) {
        let columns: Vec<_> =
            kinds.iter().map(|(kind, text, flags)| definition(*kind, if *text { UTF8 } else { 63 }, *flags, 2)).collect();
        let last = columns.len() - 1;
        let folds = [Fold::Any, Fold::Count, Fold::Sum, Fold::Greatest(Key::at(0)), Fold::BitOr];
        let outputs: Vec<_> = folds.into_iter().map(|fold| Output { place: last, fold }).collect();
        let key = Key::at(0).weighed(last, Pad::At(last)).numbered(last);
        for combine in outputs
            .into_iter()
            .map(|output| Combine::Groups(Groups { keys: vec![key.clone()], outputs: vec![output], always: true }))
            .chain([Combine::Rows, Combine::Distinct(vec![key.clone()])])
        {
            let arrival = Arrival::Sorted(vec![key.clone()]);
            let spec = Spec { arrival, combine, hidden: 1, ..Spec::default() };
            let Ok(mut merger) = Merger::new(&spec, &columns, format, 3, BOUNDS) else { continue };
            let mut out = Vec::new();
            for (shard, row) in &rows {
                let _ = merger.push(*shard, row);
                let _ = merger.next(&mut out);
            }
            for shard in 0..3 {
                let _ = merger.ended(shard);
            }
            while merger.next(&mut out) == Ok(Step::Row) {}
        }
    }

    #[test]
    fn keys_compare_as_numbers_do(left in any::<i64>(), right in any::<i64>(), scale in 0usize..4) {
        // Small numbers meet more often.
        for (left, right) in [(left, right), (left % 100, right % 100), (left, left)] {
            let compared = |column: Column, text: fn(i64) -> String| {
                let key = |value| key_of(&[Key::at(0)], std::slice::from_ref(&column), &[super::text(text(value))]);
                key(left).cmp(&key(right))
            };
            prop_assert_eq!(compared(bigint(), |value| value.to_string()), left.cmp(&right));
            prop_assert_eq!(compared(unsigned(), |value| (value as u64).to_string()), (left as u64).cmp(&(right as u64)));
            prop_assert_eq!(compared(decimals(2), |value| money(value / 2)), (left / 2).cmp(&(right / 2)));
            let double = definition(kind::DOUBLE, BINARY_CHARSET, 0, 31);
            let real = |value: i64| value as f64 / 10f64.powi(scale as i32);
            let key = |value| key_of(&[Key::at(0)], std::slice::from_ref(&double), &[text(real(value))]);
            prop_assert_eq!(Some(key(left).cmp(&key(right))), real(left).partial_cmp(&real(right)));
        }
    }

    #[test]
    fn keys_compare_as_bytes_do(
        left in (vec(0u8..3, 0..5), vec(0u8..3, 0..5)),
        right in (vec(0u8..3, 0..5), vec(0u8..3, 0..5)),
        (first, second) in any::<(bool, bool)>(),
    ) {
        let keys = [directed(Key::at(0), first), directed(Key::at(1), second)];
        let key = |(one, other): &(Vec<u8>, Vec<u8>)| {
            let row = [Value::Text(one.clone()), Value::Text(other.clone())];
            key_of(&keys, &[varbinary(), varbinary()], &row)
        };
        let direct = |ordering: Ordering, down| if down { ordering.reverse() } else { ordering };
        let expected = direct(left.0.cmp(&right.0), first).then(direct(left.1.cmp(&right.1), second));
        prop_assert_eq!(key(&left).cmp(&key(&right)), expected);
    }

    #[test]
    fn keys_compare_as_padded_text_does(left in vec(1u8..4, 0..6), right in vec(1u8..4, 0..6), wide in any::<bool>()) {
        // Weights of one byte or two, of which 2 is a space's: the shorter text goes on with spaces.
        let weights = |text: &[u8]| -> Vec<u8> {
            text.iter().flat_map(|byte| if wide { vec![0, *byte] } else { vec![*byte] }).collect()
        };
        let keys = [Key::at(0).weighed(1, Pad::Space(weights(&[2])))];
        let key = |text: &[u8]| {
            let row = [Value::Text(text.to_vec()), Value::Text(weights(text))];
            key_of(&keys, &[varchar(), varbinary()], &row)
        };
        let padded = |text: &[u8]| [text, &[2; 8][text.len()..]].concat();
        prop_assert_eq!(key(&left).cmp(&key(&right)), padded(&left).cmp(&padded(&right)));
    }
}

fn key_of(keys: &[Key], columns: &[Column], row: &[Value]) -> Vec<u8> {
    let mut made = None;
    for format in [Format::Text, Format::Binary] {
        let row = encode(columns, row, format);
        let (mut fields, mut key) = (Vec::new(), Vec::new());
        Layout::new(format, columns.iter()).split(&row, &mut fields).unwrap();
        Codec::new(keys, columns, format, None).unwrap().encode(&row, &fields, &mut key).unwrap();
        // Both protocols, one key.
        assert_eq!(*made.get_or_insert(key.clone()), key);
    }
    made.unwrap()
}
