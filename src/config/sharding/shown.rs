//! The sharding rules in effect, as options and values of the rules file.
//!
//! Owns: how a resolved rule is written again; patterns are written out. Does not know: who asks.
//! Invariant: every option that `sharding` reads has a line for each shard or table that can have it.

use crate::shard::{
    Collation, Database, Generate, Key, KeyType, Keyspace, Layout, NoMatch, Piece, Placement, Policy, Rules,
    ShardIx, SlotBy, Table,
};

use super::super::shown::Shown;
use super::POLICIES;
use super::tests_section::{Expected, Role, RuleTest};

/// All databases with rules, and the tests.
pub(in super::super) fn shown(rules: &Rules, tests: &[RuleTest], clusters: &[&str], out: &mut Shown) {
    for (name, database) in &rules.databases {
        database_shown(&format!("databases.{name}"), database, clusters, out);
    }
    for (at, test) in tests.iter().enumerate() {
        let (shards, role, refused) = match test.expected {
            Expected::Refused => (None, None, true),
            Expected::Sent { shards, role } => (shards, role, false),
        };
        out.put(format!("tests[{at}].sql"), &test.sql);
        out.put(format!("tests[{at}].database"), &test.database);
        out.optional(format!("tests[{at}].shards"), shards);
        let role = role.map(|role| if role == Role::Primary { "primary" } else { "replica" });
        out.optional(format!("tests[{at}].role"), role);
        out.put(format!("tests[{at}].refused"), refused);
    }
}

/// A database in a few words, for a change.
pub(in super::super) fn database_told(database: &Database) -> String {
    let shards: usize = database.keyspaces.iter().map(|keyspace| keyspace.shards.len()).sum();
    let (keyspaces, tables) = (database.keyspaces.len(), database.tables.len());
    format!("{}: {keyspaces} keyspaces, {shards} shards, {tables} tables", database.name)
}

fn policy(policy: Policy) -> &'static str {
    POLICIES.iter().find(|(_, known)| *known == policy).map_or("", |(name, _)| name)
}

fn database_shown(option: &str, database: &Database, clusters: &[&str], out: &mut Shown) {
    let cluster = |id: crate::ids::ClusterId| clusters.get(usize::from(id.0)).copied().unwrap_or_default();
    out.put(format!("{option}.home.cluster"), cluster(database.home.cluster));
    out.put(format!("{option}.home.schema"), &database.home.schema);
    for (at, keyspace) in database.keyspaces.iter().enumerate() {
        let option = format!("{option}.keyspaces.{}", keyspace.name);
        keyspace_shown(&option, keyspace, out);
        for (shard, place) in keyspace.shards.iter().zip(0..) {
            let option = format!("{option}.shards.{}", shard.name);
            out.put(format!("{option}.cluster"), cluster(shard.cluster));
            out.put(format!("{option}.schema"), &shard.schema);
            out.optional(
                format!("{option}.tables"),
                shard.suffix.as_ref().map(|suffix| format!("{{table}}{suffix}")),
            );
            part_shown(&option, keyspace, ShardIx(place), out);
        }
        for (name, table) in &database.tables {
            let Table::Sharded { keyspace, key, generate } = table else { continue };
            if *keyspace == at {
                out.list(&format!("{option}.tables.{name}.key"), key);
                out.optional(format!("{option}.tables.{name}.generate"), generate.as_ref().map(made));
            }
        }
    }
    let references = || database.tables.iter().filter(|(_, table)| matches!(table, Table::Reference { .. }));
    for (at, (name, table)) in references().enumerate() {
        out.put(format!("{option}.reference_tables[{at}].name"), name);
        out.optional(format!("{option}.reference_tables[{at}].generate"), table.generate().map(made));
    }
    out.list(&format!("{option}.reference_tables"), &references().map(|(name, _)| name).collect::<Vec<_>>());
    out.put(format!("{option}.without_key.read"), policy(database.without_key.read));
    out.put(format!("{option}.without_key.write"), policy(database.without_key.write));
    out.put(
        format!("{option}.no_match"),
        if database.no_match == NoMatch::Empty { "empty" } else { "refuse" },
    );
    out.put(format!("{option}.transactions"), database.transactions.name());
}

fn made(generate: &Generate) -> String {
    format!("{}: {}", generate.column, generate.by.name())
}

fn keyspace_shown(option: &str, keyspace: &Keyspace, out: &mut Shown) {
    out.put(format!("{option}.method"), keyspace.method);
    out.list(&format!("{option}.key_type"), &keyspace.key.iter().map(KeyType::name).collect::<Vec<_>>());
    let collation =
        |key: &KeyType| if let KeyType::String(Collation { name, .. }) = key { Some(*name) } else { None };
    out.optional(format!("{option}.collation"), keyspace.key.iter().find_map(collation));
    let scale = |key: &KeyType| match key {
        KeyType::Decimal { scale } | KeyType::Datetime { scale } => Some(*scale),
        _ => None,
    };
    out.optional(format!("{option}.scale"), keyspace.key.iter().find_map(scale));
    let (slots, unit, layout) = match &keyspace.placement {
        Placement::Slots { by: SlotBy::Adopted(layout), table } => (Some(table.slots()), None, Some(layout)),
        Placement::Slots { table, .. } => (Some(table.slots()), None, None),
        Placement::Periods { unit, .. } => (None, Some(unit.name()), None),
        Placement::Ranges(_) | Placement::List(_) => (None, None, None),
    };
    out.optional(format!("{option}.slots"), slots);
    out.optional(format!("{option}.unit"), unit);
    let (ring, padding, places) = match layout {
        Some(Layout::MycatMurmur(ring)) => (Some(ring.options()), None, None),
        Some(Layout::PaddingMod(padding)) => {
            (None, Some(padding), Some((padding.from.to_string(), padding.to.to_string())))
        }
        Some(Layout::MycatString { from, to }) => (None, None, Some((from.to_string(), to.to_string()))),
        _ => (None, None, None),
    };
    out.optional(format!("{option}.layout.seed"), ring.map(|(seed, _)| seed));
    out.optional(format!("{option}.layout.virtual_buckets"), ring.map(|(_, points)| points));
    out.optional(
        format!("{option}.layout.pad"),
        padding.map(|padding| if padding.in_front { "left" } else { "right" }),
    );
    out.optional(format!("{option}.layout.pad_length"), padding.map(|padding| padding.length));
    let (from, to) = places.unzip();
    out.optional(format!("{option}.layout.from"), from);
    out.optional(format!("{option}.layout.to"), to);
}

/// What is a shard's, by its keyspace's placement.
fn part_shown(option: &str, keyspace: &Keyspace, shard: ShardIx, out: &mut Shown) {
    let (mut slots, mut ranges, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let key = |key: &Key| keyspace.key.first().map(|key_type| key_type.show(key)).unwrap_or_default();
    match &keyspace.placement {
        Placement::Slots { table, .. } => {
            let own = table.ranges().filter(|(_, owner)| *owner == shard);
            let text = |(slots, _): (std::ops::Range<usize>, _)| match slots.len() {
                1 => slots.start.to_string(),
                _ => format!("{}-{}", slots.start, slots.end - 1),
            };
            slots.extend(own.map(text));
        }
        Placement::Ranges(pieces) => ranges.extend(ends(pieces.iter(), shard, key)),
        Placement::Periods { unit, pieces } => {
            ranges.extend(ends(pieces.iter(), shard, |period| unit.show(*period)))
        }
        Placement::List(list) => {
            values.extend(list.iter().filter(|(_, owner)| *owner == shard).map(|(value, _)| key(value)));
        }
    }
    out.list(&format!("{option}.slots"), &slots);
    let single = if ranges.len() == 1 { ranges.pop() } else { None };
    let (from, to) = single.unwrap_or_default();
    out.optional(format!("{option}.from"), from);
    out.optional(format!("{option}.to"), to);
    for (at, (from, to)) in ranges.into_iter().enumerate() {
        out.optional(format!("{option}.ranges[{at}].from"), from);
        out.optional(format!("{option}.ranges[{at}].to"), to);
    }
    out.list(&format!("{option}.values"), &values);
}

/// Both ends of a shard's pieces, as the rules file has them.
fn ends<'p, T: 'p>(
    pieces: impl Iterator<Item = &'p Piece<T>>,
    shard: ShardIx,
    show: impl Fn(&T) -> String,
) -> Vec<(Option<String>, Option<String>)> {
    let own = pieces.filter(|piece| piece.shard == shard);
    own.map(|piece| (piece.from.as_ref().map(&show), piece.to.as_ref().map(&show))).collect()
}
