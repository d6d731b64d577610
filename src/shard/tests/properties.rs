//! What holds for every value: it has one shard or a reason, in whichever way it is written.

use proptest::prelude::*;

use crate::shard::*;

/// Keyspaces of all methods for one type, over shards 0 to 4.
fn keyspaces(key: KeyType, low: &str, middle: &str, high: &str) -> Vec<Keyspace> {
    let keyspace =
        |placement| Keyspace { name: "k".into(), method: "", key: vec![key], placement, shards: Vec::new() };
    let claims: Vec<_> =
        (0..5u16).map(|slot| (u32::from(slot) * 20..u32::from(slot) * 20 + 20, ShardIx(slot))).collect();
    let slots = |by| Placement::Slots { by, table: SlotTable::new(100, &claims).unwrap() };
    let mut all = vec![keyspace(slots(SlotBy::Hash))];
    if key == KeyType::Integer {
        all.push(keyspace(slots(SlotBy::Mod)));
        all.push(keyspace(slots(SlotBy::Crc32)));
    }
    let rule = |text: &str| key.rule(text).unwrap();
    if key.is_ordered() {
        let piece = |from: Option<&str>, to: Option<&str>, shard| Piece {
            from: from.map(rule),
            to: to.map(rule),
            shard: ShardIx(shard),
        };
        let open =
            vec![piece(None, Some(low), 0), piece(Some(low), Some(middle), 1), piece(Some(middle), None, 2)];
        let closed = vec![piece(Some(middle), Some(high), 3), piece(Some(low), Some(middle), 4)];
        all.extend([open, closed].map(|pieces| keyspace(Placement::Ranges(Pieces::new(pieces).unwrap()))));
    }
    let mut list: Vec<_> =
        [low, middle, high].iter().zip(0..).map(|(text, at)| (rule(text), ShardIx(at))).collect();
    list.sort();
    all.push(keyspace(Placement::List(list)));
    if let KeyType::Date | KeyType::Datetime { .. } = key {
        for (_, unit) in Unit::NAMES {
            let period = |text: &str| Some(unit.period(Date::parse(&text.as_bytes()[..10]).unwrap()));
            let pieces = vec![
                Piece { from: None, to: period(low), shard: ShardIx(0) },
                Piece { from: period(low), to: period(high), shard: ShardIx(1) },
            ];
            all.push(keyspace(Placement::Periods { unit, pieces: Pieces::new(pieces).unwrap() }));
        }
    }
    all
}

fn integers() -> Vec<Keyspace> {
    keyspaces(KeyType::Integer, "-5", "10", "1000")
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.as_bytes(), Charset::Utf8)
}

/// Where `low ≤ value ≤ high`, the value's shard is among those of the range.
fn ranges_hold(keyspaces: &[Keyspace], low: &Value<'_>, value: &Value<'_>, high: &Value<'_>) {
    for keyspace in keyspaces {
        let Ok(shard) = keyspace.locate(&[*value]) else { continue };
        for (low, high) in [(Some(low), Some(high)), (Some(low), None), (None, Some(high)), (None, None)] {
            let set = keyspace.locate_range(low, high);
            assert!(
                set.contains(shard),
                "{value:?} is on {shard}, {low:?} to {high:?} on {set:?}: {:?}",
                keyspace.placement
            );
        }
    }
}

/// Numbers near the pieces' ends and near the types' bounds.
fn number() -> impl Strategy<Value = i128> {
    prop_oneof![
        -20..20i128,
        990..1010i128,
        any::<i64>().prop_map(i128::from),
        any::<u64>().prop_map(i128::from)
    ]
}

fn day() -> impl Strategy<Value = Date> {
    (2024..2028u16, 1..=12u8, 1..=28u8).prop_map(|(year, month, day)| Date::new(year, month, day).unwrap())
}

proptest! {
    #[test]
    fn t56_a_number_and_its_texts_have_one_place(number in number(), zeros in 0..4usize, spaces in 0..3usize) {
        for keyspace in integers() {
            let place = keyspace.locate(&[Value::Integer(number)]);
            let digits = format!("{:spaces$}{number}.{}", "", "0".repeat(zeros));
            prop_assert_eq!(keyspace.locate(&[Value::Decimal(digits.as_bytes())]), place);
            prop_assert_eq!(keyspace.locate(&[text(&digits)]), place);
            prop_assert_eq!(keyspace.locate(&[text(&number.to_string())]), place);
            if number.unsigned_abs() < 1 << 53 {
                prop_assert_eq!(keyspace.locate(&[Value::Double(number as f64)]), place);
            }
        }
    }

    #[test]
    fn a_value_has_a_shard_or_a_reason(bytes in prop::collection::vec(any::<u8>(), 0..40), number in any::<i128>(), double in any::<f64>()) {
        let exact = KeyType::String(Collation::named("utf8mb4_bin").unwrap());
        let sets = [
            integers(),
            keyspaces(KeyType::Decimal { scale: 2 }, "-5.5", "10", "1000.25"),
            keyspaces(exact, "b", "m", "t"),
            keyspaces(KeyType::String(Collation::ANY), "b", "m", "t"),
            keyspaces(KeyType::Bytes, "b", "m", "t"),
            keyspaces(KeyType::Date, "2025-02-01", "2026-01-01", "2027-01-01"),
            keyspaces(KeyType::Datetime { scale: 6 }, "2025-02-01", "2026-01-01", "2027-01-01"),
            keyspaces(KeyType::Uuid, "00112233445566778899aabbccddeeff", "00112233445566778899aabbccddee00", "ffffffffffffffffffffffffffffffff"),
        ];
        for keyspace in sets.iter().flatten() {
            for charset in [Charset::Utf8, Charset::Latin1, Charset::AsciiBased, Charset::Unknown] {
                let found = keyspace.locate(&[Value::Text(&bytes, charset)]);
                prop_assert!(found.is_ok_and(|shard| shard.0 < 5) || matches!(found, Err(NoPlace::NoMatch | NoPlace::Doubt(_))));
            }
            for value in [Value::Bytes(&bytes), Value::Integer(number), Value::Double(double), Value::Decimal(&bytes), Value::Other] {
                prop_assert_ne!(keyspace.locate(&[value]), Err(NoPlace::Null));
                keyspace.locate_range(Some(&value), Some(&value));
            }
            prop_assert_eq!(keyspace.locate(&[Value::Null]), Err(NoPlace::Null));
            prop_assert_eq!(keyspace.locate(&[]), Err(NoPlace::Doubt(Doubt::Columns)));
        }
    }

    #[test]
    fn a_range_of_numbers_has_the_shards_of_all_in_it(mut numbers in [number(), number(), number()], fraction in 0..100u8) {
        numbers.sort_unstable();
        let [low, value, high] = numbers;
        let value = Value::Integer(value);
        ranges_hold(&integers(), &Value::Integer(low), &value, &Value::Integer(high));
        // A fraction reaches further up, and less far down.
        let digits = format!("{high}.{fraction:02}");
        if high >= 0 {
            ranges_hold(&integers(), &Value::Integer(low), &value, &Value::Decimal(digits.as_bytes()));
            ranges_hold(&integers(), &Value::Integer(low), &value, &text(&digits));
        }
        let digits = format!("{low}.{fraction:02}");
        if low < 0 {
            ranges_hold(&integers(), &Value::Decimal(digits.as_bytes()), &value, &Value::Integer(high));
        }
    }

    #[test]
    fn a_range_of_decimals_has_the_shards_of_all_in_it(mut cents in [-100_000..200_000i64, -100_000..200_000i64, -100_000..200_000i64]) {
        cents.sort_unstable();
        let digits = cents.map(|cents| format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100));
        let [low, value, high] = digits.each_ref().map(|digits| Value::Decimal(digits.as_bytes()));
        ranges_hold(&keyspaces(KeyType::Decimal { scale: 2 }, "-5.5", "10", "1000.25"), &low, &value, &high);
    }

    #[test]
    fn a_range_of_texts_has_the_shards_of_all_in_it(mut texts in ["[a-z é]{0,3}", "[a-z é]{0,3}", "[a-z é]{0,3}"]) {
        texts.sort_unstable_by(|a, b| a.trim_end_matches(' ').cmp(b.trim_end_matches(' ')));
        let [low, value, high] = texts.each_ref().map(|bytes| text(bytes));
        let exact = KeyType::String(Collation::named("utf8mb4_bin").unwrap());
        ranges_hold(&keyspaces(exact, "b", "m", "t"), &low, &value, &high);
    }

    #[test]
    fn a_range_of_days_has_the_shards_of_all_in_it(mut days in [day(), day(), day()], hour in 0..24u8) {
        days.sort_unstable();
        let [low, value, high] = days.map(Value::Date);
        let dates = keyspaces(KeyType::Date, "2025-02-01", "2026-01-01", "2027-01-01");
        ranges_hold(&dates, &low, &value, &high);
        // A time of day in a bound: the day itself may be in.
        let end = format!("{:04}-{:02}-{:02} {hour:02}:00:00", days[2].year, days[2].month, days[2].day);
        ranges_hold(&dates, &low, &value, &text(&end));
        ranges_hold(&keyspaces(KeyType::Datetime { scale: 0 }, "2025-02-01", "2026-01-01", "2027-01-01"), &low, &value, &text(&end));
    }
}

#[test]
fn t55_a_key_outside_of_all_ranges_has_no_shard() {
    let closed = &integers()[4];
    for (value, found) in [
        (-6, Err(NoPlace::NoMatch)),
        (-5, Ok(ShardIx(4))),
        (999, Ok(ShardIx(3))),
        (1000, Err(NoPlace::NoMatch)),
    ] {
        assert_eq!(closed.locate(&[Value::Integer(value)]), found, "{value}");
    }
    assert!(closed.locate_range(Some(&Value::Integer(1000)), None).is_empty());
}

#[test]
fn what_a_server_compares_by_converting_is_in_doubt() {
    let doubt = |key: KeyType, value: Value<'_>| match keyspaces_of(key).locate(&[value]) {
        Err(NoPlace::Doubt(doubt)) => doubt,
        other => panic!("{key:?} {value:?}: {other:?}"),
    };
    for (key, value, why) in [
        (KeyType::Integer, text("2443abc"), Doubt::NotANumber),
        (KeyType::Integer, text("2443.5"), Doubt::Digits),
        (KeyType::Integer, Value::Decimal(b"18446744073709551616"), Doubt::OutOfRange),
        (KeyType::Integer, Value::Bytes(b"2443"), Doubt::Kind),
        (KeyType::Integer, Value::Double(0.5), Doubt::Digits),
        (KeyType::Integer, Value::Double(f64::NAN), Doubt::Digits),
        (KeyType::Decimal { scale: 2 }, Value::Decimal(b"1.255"), Doubt::Digits),
        (KeyType::Decimal { scale: 2 }, text("10000000000000.00"), Doubt::Digits),
        (KeyType::String(Collation::ANY), Value::Integer(5), Doubt::Kind),
        (KeyType::Uuid, text("not-a-uuid"), Doubt::NotAUuid),
        (KeyType::Uuid, text("00112233445566778899aabbccddeeff00"), Doubt::NotAUuid),
        (KeyType::Date, text("2026-01-05 10:00:00"), Doubt::NotADate),
        (KeyType::Datetime { scale: 0 }, text("2026-01-05 10:00:00.5"), Doubt::NotADate),
        (KeyType::Date, Value::Integer(20260105), Doubt::Kind),
        (KeyType::Date, Value::Date(Date { year: 0, month: 0, day: 0 }), Doubt::NotADate),
    ] {
        assert_eq!(doubt(key, value), why, "{value:?}");
    }
}

#[test]
fn a_list_has_the_shards_of_its_values() {
    let keyspace = &integers()[1]; // mod 100, 20 a shard
    let shards = |values: &[Value<'_>]| {
        keyspace.locate_any(values).map(|set| set.iter().map(|shard| shard.0).collect::<Vec<_>>())
    };
    assert_eq!(shards(&[Value::Integer(1), Value::Integer(99), text("2")]), Ok(vec![0, 4]));
    assert_eq!(shards(&[Value::Null, Value::Integer(30)]), Ok(vec![1]));
    assert_eq!(shards(&[Value::Null]), Err(NoPlace::Null));
    assert_eq!(shards(&[Value::Integer(1), text("x")]), Err(NoPlace::Doubt(Doubt::NotANumber)));
    // MySQL finds 9007199254740992 by `IN ('9007199254740993', 1)`, and does not by `IN ('9007199254740993', '1')`.
    let large = text("9007199254740993");
    assert_eq!(shards(&[large, text("1")]), Ok(vec![0, 4]));
    assert_eq!(shards(&[large, Value::Integer(1)]), Err(NoPlace::Doubt(Doubt::Digits)));
    let closed = &integers()[4];
    assert_eq!(closed.locate_any(&[Value::Integer(1), Value::Integer(5000)]), Err(NoPlace::NoMatch), "T55");
}

fn keyspaces_of(key: KeyType) -> Keyspace {
    let table = SlotTable::new(1, &[(0..1, ShardIx(0))]).unwrap();
    let placement = Placement::Slots { by: SlotBy::Hash, table };
    Keyspace { name: "k".into(), method: "hash", key: vec![key], placement, shards: Vec::new() }
}
