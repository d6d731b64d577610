//! `tables` of keyspaces, and `reference_tables`.
//!
//! Owns: which table has which rule. Does not know: where rows are.
//! Invariant: a table has one rule, and no two tables of a database have one physical name.

use std::collections::{BTreeMap, HashMap};

use crate::ids::ClusterId;
use crate::shard::{Generate, GenerateBy, Keyspace, Table};

use super::super::error::{Place, quoted};
use super::super::fields::{Context, Fields, Item};
use super::super::tree::Value;
use super::{named, server_name};

/// Names of tables with suffixes, on all shards of a database together.
const PHYSICAL_MAX: usize = 1 << 20;

/// The ways to make values, by their words.
const GENERATORS: [(&str, GenerateBy); 4] = [
    (GenerateBy::Snowflake.name(), GenerateBy::Snowflake),
    (GenerateBy::Segment.name(), GenerateBy::Segment),
    (GenerateBy::UuidV7.name(), GenerateBy::UuidV7),
    (GenerateBy::UuidV7Binary.name(), GenerateBy::UuidV7Binary),
];

/// The tables of a database, as they are found.
#[derive(Default)]
pub(super) struct Tables<'n> {
    found: Vec<Found<'n>>,
}

struct Found<'n> {
    name: &'n str,
    place: Place,
    rule: String,
    table: Table,
    /// Where the file says how values are made.
    generated: Option<(Place, String)>,
}

impl<'n> Tables<'n> {
    /// The tables of a keyspace, whose key has so many columns, if that is known.
    pub(super) fn sharded(
        &mut self,
        item: Option<&Item<'n>>,
        keyspace: usize,
        columns: Option<usize>,
        cx: &mut Context<'_, '_>,
    ) {
        for (entry, item) in item.map(|item| named(item, "tables", cx)).unwrap_or_default() {
            let at_name = Item { rule: item.rule.clone(), node: item.node };
            server_name(&at_name, &entry.key, "a table", cx);
            let Some((key, generate, generated)) = key(&item, columns, cx) else { continue };
            let table = Table::Sharded { keyspace, key, generate };
            self.found.push(Found {
                name: &entry.key,
                place: entry.place,
                rule: item.rule,
                table,
                generated,
            });
        }
    }

    /// The tables that are the same everywhere.
    pub(super) fn reference(&mut self, item: &Item<'n>, cx: &mut Context<'_, '_>) {
        for element in item.elements() {
            let (name, generate) = if let Value::Map(_) = element.node.value {
                let mut fields = Fields::of(&element, cx);
                let name = fields.require(cx, "name", "name the table: `name: countries`");
                let generate = fields.take("generate").and_then(|item| generate(&item, cx));
                fields.finish(cx);
                (name, generate)
            } else {
                (Some(element), None)
            };
            let Some(name_item) = name else { continue };
            let Some(name) = name_item.text(cx) else { continue };
            server_name(&name_item, name, "a table", cx);
            let (place, rule) = (name_item.node.place, name_item.rule);
            let table = Table::Reference { generate };
            self.found.push(Found { name, place, rule, table, generated: None });
        }
    }

    /// The rules by table, each once.
    pub(super) fn finish(self, keyspaces: &[Keyspace], cx: &mut Context<'_, '_>) -> BTreeMap<String, Table> {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for Found { name, place, rule, .. } in &self.found {
            if let Some(other) = seen.insert(name.to_lowercase(), name) {
                let (message, help) = if other == *name {
                    (format!("the table {} has a rule already", quoted(name)), "keep one of the two")
                } else {
                    let message = format!("{} and {} differ in case alone", quoted(other), quoted(name));
                    (message, "servers may take them for one table: rename one")
                };
                cx.errors.add(*place, rule, message, Some(help.to_owned()));
            }
        }
        self.physical_names(keyspaces, &seen, cx);
        self.keys_that_are_made(keyspaces, cx);
        self.found.into_iter().map(|found| (found.name.to_owned(), found.table)).collect()
    }

    /// A key whose values Tidegate makes must be of their type.
    fn keys_that_are_made(&self, keyspaces: &[Keyspace], cx: &mut Context<'_, '_>) {
        for Found { table, generated, .. } in &self.found {
            let Table::Sharded { keyspace, key, generate: Some(generate) } = table else { continue };
            let Some(((place, rule), keyspace)) = generated.as_ref().zip(keyspaces.get(*keyspace)) else {
                continue;
            };
            let of_column = key.iter().position(|column| column.eq_ignore_ascii_case(&generate.column));
            let Some(of_type) = of_column.and_then(|at| keyspace.key.get(at)) else { continue };
            if !generate.by.fits(of_type) {
                let fitting: Vec<_> = GENERATORS.iter().filter(|(_, by)| by.fits(of_type)).collect();
                let help = match fitting.is_empty() {
                    true => "make the values of another column".to_owned(),
                    false => {
                        let words: Vec<_> = fitting.iter().map(|(word, _)| format!("`{word}`")).collect();
                        format!("write {}", words.join(" or "))
                    }
                };
                let (column, word, of_type) = (quoted(&generate.column), generate.by.name(), of_type.name());
                let message =
                    format!("{column} is a key of type {of_type}, which cannot have values by `{word}`");
                cx.errors.add(*place, rule, message, Some(help));
            }
        }
    }

    /// Where tables have suffixes, two of them may have one name, or one that servers do not take.
    fn physical_names(
        &self,
        keyspaces: &[Keyspace],
        names: &HashMap<String, &str>,
        cx: &mut Context<'_, '_>,
    ) {
        let suffixed =
            |keyspace: &Keyspace| keyspace.shards.iter().filter(|shard| shard.suffix.is_some()).count();
        let all = self.found.iter().filter_map(|found| match &found.table {
            Table::Sharded { keyspace, .. } => {
                keyspaces.get(*keyspace).map(|keyspace| (found, suffixed(keyspace)))
            }
            Table::Reference { .. } => None,
        });
        let mut count = 0;
        for (found, shards) in all {
            count += shards;
            if count > PHYSICAL_MAX {
                let message =
                    format!("the tables with suffixes have more than {PHYSICAL_MAX} names on their shards");
                cx.errors.add(
                    found.place,
                    &found.rule,
                    message,
                    Some("use fewer shards in one schema".to_owned()),
                );
                return;
            }
        }
        let mut taken: HashMap<(ClusterId, &str, String), &str> = HashMap::new();
        for Found { name, place, rule, table, .. } in &self.found {
            let Table::Sharded { keyspace, .. } = table else { continue };
            let shards = keyspaces.get(*keyspace).into_iter().flat_map(|keyspace| &keyspace.shards);
            for shard in shards.filter(|shard| shard.suffix.is_some()) {
                let physical = shard.physical(name);
                let named = names.get(&physical.to_lowercase()).copied();
                let other =
                    named.or_else(|| taken.insert((shard.cluster, &shard.schema, physical.clone()), name));
                let message = match other {
                    Some(other) => format!(
                        "{} would be named {} on a shard, as {} is",
                        quoted(name),
                        quoted(&physical),
                        quoted(other)
                    ),
                    None if physical.chars().count() > super::NAME_MAX => {
                        format!(
                            "{} would be named {}, which is too long for servers",
                            quoted(name),
                            quoted(&physical)
                        )
                    }
                    None => continue,
                };
                cx.errors.add(*place, rule, message, Some("write other `tables` for the shard".to_owned()));
                break;
            }
        }
    }
}

/// The columns of a table's key, and how values are made, with its place in the file.
type Keyed = (Vec<String>, Option<Generate>, Option<(Place, String)>);

/// A table's key columns: one name, a list of them, or a mapping with `key` and `generate`.
fn key(item: &Item<'_>, columns: Option<usize>, cx: &mut Context<'_, '_>) -> Option<Keyed> {
    let Value::Map(_) = item.node.value else {
        return Some((self::columns(item, columns, cx)?, None, None));
    };
    let mut fields = Fields::of(item, cx);
    let key = fields.require(cx, "key", "name the column of the key: `key: customer_id`");
    let made = fields.take("generate");
    let generate = made.as_ref().and_then(|item| generate(item, cx));
    fields.finish(cx);
    let place = made.map(|item| (item.node.place, item.rule));
    Some((self::columns(&key?, columns, cx)?, generate, place))
}

fn columns(item: &Item<'_>, count: Option<usize>, cx: &mut Context<'_, '_>) -> Option<Vec<String>> {
    let elements = item.elements();
    if let Some(count) = count.filter(|count| *count != elements.len()) {
        let message = format!(
            "the keyspace's key has {count} column{}, here are {}",
            if count == 1 { "" } else { "s" },
            elements.len()
        );
        item.error(cx, message, Some("name a column for each `key_type`, in its order".to_owned()));
        return None;
    }
    let column = |element: &Item<'_>| {
        let name = element.text(cx)?;
        server_name(element, name, "a column", cx).map(str::to_owned)
    };
    elements.iter().map(column).collect()
}

/// `generate: {id: snowflake}`.
fn generate(item: &Item<'_>, cx: &mut Context<'_, '_>) -> Option<Generate> {
    let columns = named(item, "generators", cx);
    let [(entry, element)] = columns.as_slice() else {
        item.error(cx, "expected one column", Some("write `generate: {id: snowflake}`".to_owned()));
        return None;
    };
    let column = server_name(element, &entry.key, "a column", cx)?.to_owned();
    let by = element.choice(cx, &GENERATORS)?;
    Some(Generate { column, by })
}
