//! `shards` of a keyspace: where each is.
//!
//! Owns: how a shard is written, alone or as a pattern that stands for many. Does not know: how its part of the keys is written (`parts`).
//! Invariant: no two shards have one name or one place.

use std::collections::HashMap;
use std::ops::Range;

use crate::ids::ClusterId;
use crate::shard::{Key, KeyType, SHARDS_MAX, Shard, ShardIx, Unit};

use super::super::error::quoted;
use super::super::fields::{Context, Fields, Item};
use super::super::tree::Entry;
use super::method::Method;
use super::parts;
use super::pattern::{self, Texts};
use super::{cluster, named, own_name, server_name};

/// Slots that a keyspace can have: Mycat's PartitionByCRC32PreSlot has 102,400.
pub(super) const SLOTS_MAX: u32 = 1 << 17;

/// What of the keyspace says how its shards are written.
pub(super) struct Lines<'k> {
    pub method: Method,
    pub key: &'k [KeyType],
    /// Of the method `date`.
    pub unit: Unit,
    /// Of methods with slots.
    pub slots: u32,
}

/// How shards say what is theirs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Slots,
    Ranges,
    Values,
}

/// The shards, and what is whose.
#[derive(Default)]
pub(super) struct Shards<'n> {
    pub shards: Vec<Shard>,
    pub slots: Vec<(Range<u32>, ShardIx, Item<'n>)>,
    pub ranges: Vec<KeyRange<'n>>,
    pub values: Vec<(Key, ShardIx, Item<'n>)>,
}

/// Keys from `from` on and below `to`; of the method `date`, numbers of periods.
pub(super) struct KeyRange<'n> {
    pub from: Option<Key>,
    pub to: Option<Key>,
    pub shard: ShardIx,
    pub item: Item<'n>,
}

impl Shards<'_> {
    pub(super) fn name(&self, shard: ShardIx) -> &str {
        self.shards.get(shard.index()).map_or("", |shard| &shard.name)
    }
}

/// One element of `shards`, which may stand for many.
pub(super) struct Group<'n> {
    entry: &'n Entry,
    pub item: Item<'n>,
    /// Its shards' places.
    pub shards: Range<usize>,
}

/// All shards of `item`.
pub(super) fn shards<'n>(
    item: &Item<'n>,
    clusters: &[&str],
    lines: &Lines<'_>,
    cx: &mut Context<'_, '_>,
) -> Shards<'n> {
    let mut shards = Shards::default();
    for (entry, element) in named(item, "shards", cx) {
        let mut fields = Fields::of(&element, cx);
        let names = match Texts::parse(&entry.key) {
            Ok(names) => names,
            Err((message, help)) => {
                cx.errors.add(entry.place, &element.rule, message, Some(help));
                Texts::One(entry.key.clone())
            }
        };
        let cluster = cluster(&mut fields, clusters, cx);
        let schema = fields.require(cx, "schema", "name the shard's schema on its cluster");
        let schema = schema.and_then(|item| texts(&item, names.len(), Texts::parse, cx));
        let suffix = fields.take("tables").and_then(|item| texts(&item, names.len(), pattern::suffix, cx));
        let first = shards.shards.len();
        if first + names.len() > SHARDS_MAX {
            let help = Some("use fewer".to_owned());
            element.error(cx, format!("a keyspace has {SHARDS_MAX} shards at most"), help);
            break;
        }
        let group = Group { entry, item: element, shards: first..first + names.len() };
        place(&mut shards, &group, &names, cluster, schema.as_ref(), suffix.as_ref(), cx);
        parts::parts(&mut shards, &group, &mut fields, lines, cx);
        fields.finish(cx);
    }
    if shards.shards.is_empty() && !item.node.is_null() {
        item.error(cx, "no shard is given", Some("write `{s0: {cluster: main, schema: shop_0}}`".to_owned()));
    }
    unique(&shards, item, cx);
    shards
}

/// A text, or a pattern with as many as the shard's name has.
fn texts(
    item: &Item<'_>,
    count: usize,
    parse: impl Fn(&str) -> Result<Texts, (String, String)>,
    cx: &mut Context<'_, '_>,
) -> Option<Texts> {
    match parse(item.text(cx)?) {
        Ok(texts) if texts.fits(count) => Some(texts),
        Ok(texts) => {
            let message = format!("it stands for {} texts, but the shard's name for {count}", texts.len());
            item.error(
                cx,
                message,
                Some("write as many numbers in both: `\"s{0..3}\": {schema: \"shop_{0..3}\"}`".to_owned()),
            );
            None
        }
        Err((message, help)) => {
            item.error(cx, message, Some(help));
            None
        }
    }
}

/// Adds the shards of a group.
fn place(
    shards: &mut Shards<'_>,
    group: &Group<'_>,
    names: &Texts,
    cluster: Option<ClusterId>,
    schema: Option<&Texts>,
    suffix: Option<&Texts>,
    cx: &mut Context<'_, '_>,
) {
    own_name(names.at(0), &group.item, group.entry, "a shard", cx);
    if let Some(schema) = schema {
        server_name(&group.item, schema.at(0), "a schema", cx);
    }
    for at in 0..names.len() {
        shards.shards.push(Shard {
            name: names.at(at).to_owned(),
            cluster: cluster.unwrap_or(ClusterId(0)),
            schema: schema.map_or("", |schema| schema.at(at)).to_owned(),
            suffix: suffix.map(|suffix| suffix.at(at).to_owned()),
        });
    }
}

fn unique(shards: &Shards<'_>, item: &Item<'_>, cx: &mut Context<'_, '_>) {
    let mut names: HashMap<&str, ()> = HashMap::new();
    let mut places: HashMap<(ClusterId, &str, Option<&str>), &str> = HashMap::new();
    for Shard { name, cluster, schema, suffix } in &shards.shards {
        if names.insert(name, ()).is_some() {
            let help = Some("patterns and names together must not repeat one".to_owned());
            item.error(cx, format!("two shards are named {}", quoted(name)), help);
        }
        if let Some(other) = places.insert((*cluster, schema, suffix.as_deref()), name)
            && !schema.is_empty()
        {
            let message = format!(
                "the shards {} and {} have the same tables: in schema {}",
                quoted(other),
                quoted(name),
                quoted(schema)
            );
            let help = "give each a schema, or `tables: \"{table}_0\"` in one";
            item.error(cx, message, Some(help.to_owned()));
        }
    }
}
