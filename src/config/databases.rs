//! `databases`: what holds for sessions whose default database has this name.
//!
//! Owns: the options of a database; those of sharding are in `sharding`. Does not know: which databases there are. Invariant: what is not given is as the cluster has it.

use std::collections::BTreeMap;

use crate::balance::Balance;
use crate::shard::Rules;

use super::error::quoted;
use super::fields::{Context, Fields, Item};
use super::sharding;
use super::tree::Value;

/// Characters of a database's name, as servers have it.
const NAME_MAX: usize = 64;

/// How reads spread, by database, and the rules of sharded ones; `clusters` are the file's, in its order.
pub(super) fn databases(
    top: &mut Fields<'_>,
    clusters: &[&str],
    cx: &mut Context<'_, '_>,
) -> (BTreeMap<String, Balance>, Rules) {
    let (mut balances, mut rules) = (BTreeMap::new(), Rules::default());
    let Some(item) = top.take("databases").filter(|item| !item.node.is_null()) else {
        return (balances, rules);
    };
    let Value::Map(entries) = &item.node.value else {
        item.refuse(cx, "a mapping from names to databases");
        return (balances, rules);
    };
    for entry in entries {
        let rule = format!("{}.{}", item.rule, entry.key);
        if entry.key.is_empty() || entry.key.chars().count() > NAME_MAX {
            let help = Some(format!("a database's name has 1 to {NAME_MAX} characters"));
            let message = format!("{} cannot be a database's name", quoted(&entry.key));
            cx.errors.add(entry.place, &rule, message, help);
        }
        let mut database = Fields::of(&Item { rule, node: &entry.node }, cx);
        let mut reads = database.section(cx, "reads");
        let balance = reads.take("balance").and_then(|item| item.choice(cx, &Balance::NAMES));
        balances.extend(balance.map(|balance| (entry.key.clone(), balance)));
        reads.finish(cx);
        let sharded = sharding::database(&entry.key, &mut database, clusters, cx);
        rules.databases.extend(sharded.map(|sharded| (entry.key.clone(), sharded)));
        database.finish(cx);
    }
    (balances, rules)
}
