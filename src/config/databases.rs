//! `databases`: what holds for sessions whose default database has this name.
//!
//! Owns: the options of a database. Does not know: which databases there are. Invariant: what is not given is as the cluster has it.

use std::collections::BTreeMap;

use crate::balance::Balance;

use super::error::quoted;
use super::fields::{Context, Fields, Item};
use super::tree::Value;

/// Characters of a database's name, as servers have it.
const NAME_MAX: usize = 64;

/// How reads spread, by database.
pub(super) fn balances(top: &mut Fields<'_>, cx: &mut Context<'_, '_>) -> BTreeMap<String, Balance> {
    let mut balances = BTreeMap::new();
    let Some(item) = top.take("databases").filter(|item| !item.node.is_null()) else { return balances };
    let Value::Map(entries) = &item.node.value else {
        item.refuse(cx, "a mapping from names to databases");
        return balances;
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
        database.finish(cx);
    }
    balances
}
