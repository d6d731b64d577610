//! `databases.NAME`: a database's home, keyspaces, reference tables and policies.
//!
//! Owns: those options, and what must fit together in one database. Does not know: how a key is placed (`shard`).
//! Invariant: what comes out names clusters of the file, shards without a gap and each table once.

mod key_types;
mod keyspace;
mod method;
mod parts;
mod pattern;
mod shards;
mod shown;
mod tables;
mod tests_section;

use crate::ids::ClusterId;
use crate::shard::{Database, Home, Keyspace, NoMatch, Policy, Transactions, WithoutKey};

use super::error::quoted;
use super::fields::{Context, Fields, Item};
use super::guess::did_you_mean;
use super::tree::{Entry, Value};

pub(super) use shown::{database_told, shown};
pub(super) use tests_section::rule_tests;
pub use tests_section::{Expected, Role, RuleTest};

use tables::Tables;

/// Characters of the name of a schema, a table or a column, as servers have it.
const NAME_MAX: usize = 64;
/// Bytes of the name of a keyspace or a shard, which stand in logs and metrics.
const OWN_NAME_MAX: usize = 64;

const POLICIES: [(&str, Policy); 2] = [("scatter", Policy::Scatter), ("refuse", Policy::Refuse)];

/// What the sharding options of a database say; `None` where there is none of them.
pub(super) fn database(
    name: &str,
    fields: &mut Fields<'_>,
    clusters: &[&str],
    cx: &mut Context<'_, '_>,
) -> Option<Database> {
    let given = ["home", "keyspaces", "reference_tables", "without_key", "no_match", "transactions"]
        .iter()
        .any(|name| fields.has(name));
    let home = fields.take("home");
    let keyspaces = fields.take("keyspaces");
    let reference_tables = fields.take("reference_tables");
    let mut policies = fields.section(cx, "without_key");
    let default = WithoutKey::default();
    let without_key = WithoutKey {
        read: policies.choice(cx, "read", &POLICIES, default.read),
        write: policies.choice(cx, "write", &POLICIES, default.write),
    };
    policies.finish(cx);
    let no_matches = [("refuse", NoMatch::Refuse), ("empty", NoMatch::Empty)];
    let no_match = fields.choice(cx, "no_match", &no_matches, NoMatch::Refuse);
    let transactions = [Transactions::OneShard, Transactions::BestEffort].map(|one| (one.name(), one));
    let transactions = fields.choice(cx, "transactions", &transactions, Transactions::OneShard);
    if !given {
        return None;
    }
    let home = match home {
        Some(item) => self::home(&item, clusters, cx),
        None => {
            let cluster = clusters.first().unwrap_or(&"main");
            let help =
                format!("say where the other tables are: `home: {{cluster: {cluster}, schema: {name}}}`");
            fields.missing(cx, "home", &help);
            None
        }
    };
    let mut tables = Tables::default();
    let keyspaces =
        keyspaces.map(|item| self::keyspaces(&item, clusters, &mut tables, cx)).unwrap_or_default();
    if let Some(item) = reference_tables {
        tables.reference(&item, cx);
    }
    let tables = tables.finish(&keyspaces, cx);
    Some(Database {
        name: name.to_owned(),
        home: home?,
        keyspaces,
        tables,
        without_key,
        no_match,
        transactions,
    })
}

fn home(item: &Item<'_>, clusters: &[&str], cx: &mut Context<'_, '_>) -> Option<Home> {
    let mut fields = Fields::of(item, cx);
    let cluster = cluster(&mut fields, clusters, cx);
    let schema = fields.require(cx, "schema", "name the schema with the tables that no rule names");
    fields.finish(cx);
    let schema = schema.and_then(|item| Some(server_name(&item, item.text(cx)?, "a schema", cx)?.to_owned()));
    Some(Home { cluster: cluster?, schema: schema? })
}

fn keyspaces<'n>(
    item: &Item<'n>,
    clusters: &[&str],
    tables: &mut Tables<'n>,
    cx: &mut Context<'_, '_>,
) -> Vec<Keyspace> {
    let mut keyspaces = Vec::new();
    for (entry, item) in named(item, "keyspaces", cx) {
        own_name(&entry.key, &item, entry, "a keyspace", cx);
        let (keyspace, its_tables, columns) = keyspace::keyspace(&entry.key, &item, clusters, cx);
        // What is wrong with the tables of a keyspace without a place is told, too.
        let at = if keyspace.is_some() { keyspaces.len() } else { usize::MAX };
        tables.sharded(its_tables.as_ref(), at, columns, cx);
        keyspaces.extend(keyspace);
    }
    keyspaces
}

/// The elements of a mapping from names.
fn named<'n>(item: &Item<'n>, what: &str, cx: &mut Context<'_, '_>) -> Vec<(&'n Entry, Item<'n>)> {
    let Value::Map(entries) = &item.node.value else {
        if !item.node.is_null() {
            item.refuse(cx, &format!("a mapping from names to {what}"));
        }
        return Vec::new();
    };
    let element =
        |entry: &'n Entry| (entry, Item { rule: format!("{}.{}", item.rule, entry.key), node: &entry.node });
    entries.iter().map(element).collect()
}

/// The option `cluster`: a cluster of the file.
fn cluster(fields: &mut Fields<'_>, clusters: &[&str], cx: &mut Context<'_, '_>) -> Option<ClusterId> {
    let item = fields.require(cx, "cluster", "name one of the file's `clusters`")?;
    let name = item.text(cx)?;
    let place = clusters.iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok());
    if place.is_none() {
        let help = match did_you_mean(name, clusters.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the file's clusters are {}", list(clusters)),
        };
        item.error(cx, format!("there is no cluster {}", quoted(name)), Some(help));
    }
    place.map(ClusterId)
}

/// A name of a schema, a table or a column as servers take it.
fn server_name<'s>(item: &Item<'_>, name: &'s str, what: &str, cx: &mut Context<'_, '_>) -> Option<&'s str> {
    let fits =
        !name.is_empty() && name.chars().count() <= NAME_MAX && !name.ends_with(' ') && !name.contains('\0');
    if !fits {
        let help = Some(format!("servers take 1 to {NAME_MAX} characters, with no space at the end"));
        item.error(cx, format!("{} cannot be {what}'s name", quoted(name)), help);
    }
    fits.then_some(name)
}

/// A name that is Tidegate's own.
fn own_name(name: &str, item: &Item<'_>, entry: &Entry, what: &str, cx: &mut Context<'_, '_>) {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > OWN_NAME_MAX || !name.bytes().all(allowed) {
        let help = Some(format!("use 1 to {OWN_NAME_MAX} letters, digits, `-` and `_`"));
        cx.errors.add(entry.place, &item.rule, format!("{} cannot be {what}'s name", quoted(name)), help);
    }
}

/// Names between backticks, with commas.
fn list(names: &[impl AsRef<str>]) -> String {
    names.iter().map(|name| quoted(name.as_ref())).collect::<Vec<_>>().join(", ")
}
