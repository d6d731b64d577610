//! Where rows are, pinned: a change that fails here moves rows that are stored already, and must not be made.
//!
//! XXH3 was computed with Python's `xxhash` 3.x (the reference implementation in C), over the text that is named beside it.

use crate::shard::*;

fn keyspace(key: Vec<KeyType>, placement: Placement) -> Keyspace {
    Keyspace { name: "k".into(), method: "", key, placement, shards: Vec::new() }
}

/// A keyspace whose shards are its slots.
fn slots(key: Vec<KeyType>, by: SlotBy, slots: u16) -> Keyspace {
    let claims: Vec<_> = (0..slots).map(|slot| (slot.into()..u32::from(slot) + 1, ShardIx(slot))).collect();
    keyspace(key, Placement::Slots { by, table: SlotTable::new(slots.into(), &claims).unwrap() })
}

fn text(text: &str) -> Value<'_> {
    Value::Text(text.as_bytes(), Charset::Utf8)
}

#[test]
fn hash_is_xxh3_of_a_tagged_text() {
    let exact = KeyType::String(Collation::named("utf8mb4_bin").unwrap());
    let uuid =
        [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
    let long = "x".repeat(300);
    for (key, value, of, slot) in [
        (KeyType::Integer, Value::Integer(0), "i:0", 832),
        (KeyType::Integer, Value::Integer(42), "i:42", 379),
        (KeyType::Integer, text("2443"), "i:2443", 104),
        (KeyType::Integer, Value::Integer(-1), "i:-1", 573),
        (KeyType::Integer, Value::Integer(u64::MAX.into()), "i:18446744073709551615", 952),
        (KeyType::Decimal { scale: 2 }, Value::Decimal(b"1.50"), "d:1.5", 795),
        (exact, text("abc"), "s:abc", 769),
        (KeyType::String(Collation::ANY), text("ABC "), "s:abc", 769),
        (exact, text(&long), "s:xxx…, 300 times", 170),
        (KeyType::Bytes, Value::Bytes(b"abc\0"), "b:abc", 785),
        (KeyType::Uuid, Value::Bytes(&uuid), "u:00112233445566778899aabbccddeeff", 331),
        (KeyType::Uuid, text("00112233-4455-6677-8899-AABBCCDDEEFF"), "the same", 331),
        (KeyType::Date, text("2026-1-5"), "D:2026-01-05", 548),
        (KeyType::Datetime { scale: 3 }, text("2026-01-05 10:20:30.500"), "T:2026-01-05 10:20:30.5", 128),
    ] {
        let found = slots(vec![key], SlotBy::Hash, 1024).locate(&[value]);
        assert_eq!(found, Ok(ShardIx(slot)), "{of}");
    }
    let two = slots(vec![KeyType::Integer, exact], SlotBy::Hash, 1024);
    assert_eq!(two.locate(&[Value::Integer(7), text("abc")]), Ok(ShardIx(1002)), "i:7, a zero byte, s:abc");
}

#[test]
fn mod_is_the_remainder_and_never_below_zero() {
    let keyspace = slots(vec![KeyType::Integer], SlotBy::Mod, 7);
    for (value, slot) in [(0, 0), (2443, 0), (2444, 1), (-1, 6), (-7, 0), (i128::from(u64::MAX), 1)] {
        assert_eq!(keyspace.locate(&[Value::Integer(value)]), Ok(ShardIx(slot)), "{value}");
    }
}

#[test]
fn crc32_mod_is_what_servers_say() {
    // `SELECT CRC32(2443) % 16, CRC32('MySQL') % 16`, asked from MySQL 9.7.4 and MariaDB 10.11.19.
    let numbers = slots(vec![KeyType::Integer], SlotBy::Crc32, 16);
    assert_eq!(numbers.locate(&[Value::Integer(2443)]), Ok(ShardIx(11)));
    let exact = KeyType::String(Collation::named("utf8mb4_bin").unwrap());
    assert_eq!(slots(vec![exact], SlotBy::Crc32, 16).locate(&[text("MySQL")]), Ok(ShardIx(4)));
}
