//! `method` of a keyspace, with what the layouts of other proxies need besides.
//!
//! Owns: which options, slots and types of keys a method has. Does not know: shards.
//! Invariant: an option of `layout` that the method does not read is an error.

use crate::shard::{Collation, Form, KeyType, Layout, MYCAT_SLOTS, Padding, Ring, SlotBy};

use super::super::error::quoted;
use super::super::fields::{Context, Fields, Item};
use super::shards::Part;

/// Slots of the method `hash` where the rules give no number.
const SLOTS: u32 = 1024;
/// Points of each slot on Mycat's ring where the rules give no number: as Mycat's `virtualBucketTimes`.
const POINTS: u32 = 160;
/// Points of a whole ring.
const RING_MAX: u64 = 1 << 17;
/// Digits of a number that is filled up.
const PADDED_MAX: u64 = 64;

/// A word for `method`, and what it stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Hash,
    Mod,
    Crc32Mod,
    Range,
    List,
    Date,
    KingshardHash,
    MycatMod,
    MycatLong,
    MycatString,
    MycatMurmur,
    GaeaPaddingMod,
}

impl Method {
    pub(super) const NAMES: [(&str, Self); 12] = [
        ("hash", Self::Hash),
        ("mod", Self::Mod),
        ("crc32_mod", Self::Crc32Mod),
        ("range", Self::Range),
        ("list", Self::List),
        ("date", Self::Date),
        ("kingshard_hash", Self::KingshardHash),
        ("mycat_mod", Self::MycatMod),
        ("mycat_long", Self::MycatLong),
        ("mycat_string", Self::MycatString),
        ("mycat_murmur", Self::MycatMurmur),
        ("gaea_padding_mod", Self::GaeaPaddingMod),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, method)| *method == self).map_or("", |(name, _)| name)
    }

    /// How its shards say what is theirs.
    pub(super) fn part(self) -> Part {
        match self {
            Self::Range | Self::Date => Part::Ranges,
            Self::List => Part::Values,
            _ => Part::Slots,
        }
    }

    /// How many slots there are; `None` where the rules have to say.
    fn slots_usual(self) -> Option<u32> {
        match self {
            Self::Hash => Some(SLOTS),
            Self::MycatLong | Self::MycatString => Some(MYCAT_SLOTS),
            _ => None,
        }
    }

    /// The number of slots, of which the rules say `given`.
    pub(super) fn slots(
        self,
        given: Option<(&Item<'_>, Option<u32>)>,
        fields: &Fields<'_>,
        cx: &mut Context<'_, '_>,
    ) -> u32 {
        if self.part() == Part::Slots && given.is_none() && self.slots_usual().is_none() {
            fields.missing(cx, "slots", "write the number that keys are divided by: `slots: 4`");
        }
        let slots = given.and_then(|(_, slots)| slots).or(self.slots_usual()).unwrap_or(SLOTS);
        if let (Self::MycatLong | Self::MycatString, Some((item, _))) = (self, given)
            && slots != MYCAT_SLOTS
        {
            let message = format!("{} has {MYCAT_SLOTS} slots", quoted(self.name()));
            item.error(cx, message, Some("remove the line".to_owned()));
        }
        slots
    }

    /// The key's types that it places, for a message; `None` where it places this one.
    pub(super) fn refuses(self, key: &KeyType) -> Option<&'static str> {
        const EXACT: &str = "a string by a collation that ends in `_bin`";
        let is_exact = |collation: &Collation| collation.form == Form::Exact;
        let is_integer = *key == KeyType::Integer;
        let (places, those) = match (self, key) {
            (Self::Hash | Self::List, _) => (true, ""),
            (Self::Mod | Self::MycatMod | Self::MycatLong | Self::GaeaPaddingMod, _) => {
                (is_integer, "an integer")
            }
            (Self::Date, _) => {
                (matches!(key, KeyType::Date | KeyType::Datetime { .. }), "a date or datetime")
            }
            (_, KeyType::String(collation)) => (is_exact(collation), EXACT),
            (Self::Range, _) => (*key != KeyType::Uuid, "a type with an order"),
            (Self::Crc32Mod, _) => (is_integer || *key == KeyType::Bytes, "an integer, a string or bytes"),
            (Self::KingshardHash | Self::MycatString | Self::MycatMurmur, _) => {
                (is_integer, "an integer or a string")
            }
        };
        (!places).then_some(those)
    }

    /// How a key's slot is found, with the options of `layout`; for methods without slots as `hash`.
    pub(super) fn slot_by(self, mut fields: Fields<'_>, slots: u32, cx: &mut Context<'_, '_>) -> SlotBy {
        let seed = fields.count(cx, "seed", 0, 0..=u32::MAX.into());
        let points = fields.count(cx, "virtual_buckets", POINTS, 1..=1000);
        let in_front = fields.choice(cx, "pad", &[("left", true), ("right", false)], false);
        let length = fields.count(cx, "pad_length", 18, 1..=PADDED_MAX);
        let (from, to) = (fields.take("from"), fields.take("to"));
        let reads: &[&str] = match self {
            Self::MycatMurmur => &["seed", "virtual_buckets"],
            Self::MycatString => &["from", "to"],
            Self::GaeaPaddingMod => &["pad", "pad_length", "from", "to"],
            _ => &[],
        };
        for option in ["seed", "virtual_buckets", "pad", "pad_length", "from", "to"] {
            if fields.has(option) && !reads.contains(&option) {
                let message =
                    format!("{} is given, but `method: {}` does not read it", quoted(option), self.name());
                fields.conflict(cx, &[option], message, "remove it, or write another `method`");
            }
        }
        let place = |item: Option<Item<'_>>, usual: i32, cx: &mut Context<'_, '_>| {
            item.and_then(|item| signed(&item, cx)).unwrap_or(usual)
        };
        let by = match self {
            Self::Mod => SlotBy::Mod,
            Self::Crc32Mod => SlotBy::Crc32,
            Self::KingshardHash => SlotBy::Adopted(Layout::KingshardHash),
            Self::MycatMod => SlotBy::Adopted(Layout::AbsoluteMod),
            Self::MycatLong => SlotBy::Adopted(Layout::MycatLong),
            Self::MycatString => {
                SlotBy::Adopted(Layout::MycatString { from: place(from, 0, cx), to: place(to, 8, cx) })
            }
            Self::MycatMurmur => {
                let too_many = u64::from(slots) * u64::from(points) > RING_MAX;
                if too_many {
                    let help = "write fewer `slots` or `virtual_buckets`";
                    fields.conflict(
                        cx,
                        &["virtual_buckets"],
                        "the ring would have more than 131072 points",
                        help,
                    );
                }
                SlotBy::Adopted(Layout::MycatMurmur(Ring::new(
                    seed,
                    slots,
                    if too_many { 1 } else { points },
                )))
            }
            Self::GaeaPaddingMod => {
                let (from, to) = (place(from, 10, cx), place(to, 16, cx));
                let digits = usize::try_from(from).ok().zip(usize::try_from(to).ok());
                let length = usize::try_from(length).unwrap_or_default();
                let (from, to) = digits.unwrap_or_default();
                if from >= to || to > length || to - from > 18 {
                    let message =
                        format!("the digits from {from} on and below {to} are not 1 to 18 of {length}");
                    fields.conflict(
                        cx,
                        &["from", "to", "pad_length"],
                        message,
                        "write `from` below `to`, and `to` at most `pad_length`",
                    );
                }
                SlotBy::Adopted(Layout::PaddingMod(Padding { in_front, length, from, to }))
            }
            Self::Hash | Self::Range | Self::List | Self::Date => SlotBy::Hash,
        };
        fields.finish(cx);
        by
    }
}

/// A small whole number with a sign or none.
fn signed(item: &Item<'_>, cx: &mut Context<'_, '_>) -> Option<i32> {
    let text = item.text(cx)?;
    let number = text.parse().ok().filter(|number| (-4096..=4096).contains(number) && !text.starts_with('+'));
    if number.is_none() {
        item.error(
            cx,
            format!("{} is not a place in a text", quoted(text)),
            Some("write a whole number from -4096 to 4096".to_owned()),
        );
    }
    number
}
