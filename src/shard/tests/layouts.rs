//! Layouts of other proxies: the numbers come from a Python script over their published algorithms (docs/sharding.md says which), with the
//! reference implementations `mmh3` and `zlib`; its ring agrees with all 105 keys of Gaea's own test for seed 0 and two slots.

use crate::shard::*;

fn slot(layout: Layout, key: KeyType, value: Value<'_>, slots: u16) -> Result<u16, NoPlace> {
    let claims: Vec<_> = (0..slots).map(|slot| (slot.into()..u32::from(slot) + 1, ShardIx(slot))).collect();
    let table = SlotTable::new(slots.into(), &claims).unwrap();
    let placement = Placement::Slots { by: SlotBy::Adopted(layout), table };
    let keyspace = Keyspace { name: "k".into(), method: "", key: vec![key], placement, shards: Vec::new() };
    keyspace.locate(&[value]).map(|shard| shard.0)
}

fn number(layout: Layout, number: i128, slots: u16) -> Result<u16, NoPlace> {
    slot(layout, KeyType::Integer, Value::Integer(number), slots)
}

fn text(layout: Layout, text: &str, slots: u16) -> Result<u16, NoPlace> {
    let exact = KeyType::String(Collation::named("utf8mb4_bin").unwrap());
    slot(layout, exact, Value::Text(text.as_bytes(), Charset::Utf8), slots)
}

const BEYOND: Result<u16, NoPlace> = Err(NoPlace::Doubt(Doubt::OutOfRange));

#[test]
fn kingshard_hash() {
    for (key, slot) in [(0, 0), (2443, 3), (-1, 7), (-3, 5), (i128::from(u64::MAX), 7)] {
        assert_eq!(number(Layout::KingshardHash, key, 8), Ok(slot), "{key}");
    }
    for (key, slot) in [("2443", 3), ("007", 7), ("abc", 2), ("18446744073709551616", 0), ("-1", 2), ("", 0)]
    {
        assert_eq!(text(Layout::KingshardHash, key, 8), Ok(slot), "{key}");
    }
}

#[test]
fn mycat_mod_takes_the_sign_off() {
    for (key, slot) in [(0, 0), (6, 6), (7, 0), (-1, 1), (-8, 1), (i128::from(i64::MAX), 0)] {
        assert_eq!(number(Layout::AbsoluteMod, key, 7), Ok(slot), "{key}");
    }
    assert_eq!(number(Layout::AbsoluteMod, i128::from(i64::MAX) + 1, 7), BEYOND);
    assert_eq!(number(Layout::AbsoluteMod, i64::MIN.into(), 7), BEYOND);
}

#[test]
fn mycat_long_folds_64_bits() {
    for (key, slot) in [
        (0, 0),
        (1, 1),
        (-1, 0),
        (1024, 0),
        (1025, 1),
        (4_294_967_296, 1),
        (1_099_511_627_781, 261),
        (-1_000_000, 575),
        (i128::from(i64::MAX), 0),
    ] {
        assert_eq!(number(Layout::MycatLong, key, 1024), Ok(slot), "{key}");
    }
}

#[test]
fn mycat_string_hashes_a_part() {
    let by = |from, to| Layout::MycatString { from, to };
    for (key, from, to, slot) in [
        ("abcdefghij", 0, 8, 132),
        ("abc", 0, 8, 98),
        ("abcdef", -2, 0, 161),
        ("abcdef", 1, -1, 130),
        ("abcdef", 0, 0, 99),
        ("", 0, 8, 0),
        ("user-0000000000000000000001", 0, 0, 579),
        ("abc", -9, 2, 33),
        ("ab", 5, 8, 0),
    ] {
        assert_eq!(text(by(from, to), key, 1024), Ok(slot), "{key} {from} {to}");
    }
    assert_eq!(number(by(0, 2), 12345, 1024), Ok(545));
    assert_eq!(text(by(0, 8), "é", 1024), Err(NoPlace::Doubt(Doubt::Characters)));
}

#[test]
fn mycat_murmur_is_a_ring() {
    let four = Layout::MycatMurmur(Ring::new(0, 4, 160));
    for (key, slot) in [("0", 2), ("1", 1), ("42", 2), ("2443", 3), ("-7", 3), ("abc", 3), ("user-10001", 1)]
    {
        assert_eq!(text(four.clone(), key, 4), Ok(slot), "{key}");
    }
    assert_eq!(number(four.clone(), 2443, 4), Ok(3), "a number is its text");
    assert_eq!(number(four, i64::MAX.into(), 4), Ok(2));
    let ten = Layout::MycatMurmur(Ring::new(3, 10, 16));
    for (key, slot) in [("0", 4), ("1", 9), ("42", 9), ("2443", 6), ("abc", 6)] {
        assert_eq!(text(ten.clone(), key, 10), Ok(slot), "{key}");
    }
    // From Gaea's shard_mycat_test.go, there computed by Mycat: seed 0, two slots.
    let two = Layout::MycatMurmur(Ring::new(0, 2, 160));
    for (key, slot) in
        [("", 0), ("hello, world", 0), ("?!)_FFSD", 1), ("-50", 0), ("-46", 1), ("-44", 0), ("-43", 1)]
    {
        assert_eq!(text(two.clone(), key, 2), Ok(slot), "{key}");
    }
}

#[test]
fn gaea_padding_mod_cuts_digits() {
    let by = |in_front, length, from, to| Layout::PaddingMod(Padding { in_front, length, from, to });
    for (key, layout, slots, slot) in [
        (2443, by(false, 18, 10, 16), 2, 0),
        (123_456_789_012_345_678, by(false, 18, 10, 16), 4, 0),
        (1_234_567_890_123_456_789, by(false, 18, 10, 16), 7, 4),
        (2443, by(true, 8, 4, 8), 10, 3),
        (7, by(true, 4, 0, 2), 3, 0),
    ] {
        assert_eq!(number(layout, key, slots), Ok(slot), "{key}");
    }
    assert_eq!(number(by(true, 8, 4, 8), -1, 2), BEYOND);
}
