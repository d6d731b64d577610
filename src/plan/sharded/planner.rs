//! The rules as planning asks them: what a table's name means.
//!
//! Owns: look-ups by name. Does not know: placement, servers. Invariant: names are compared byte by byte; one that differs in case only is
//! told, because whether servers take the two for one depends on them.

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::planned::Planned;
use super::route::{self, Request};
use crate::shard::{Database, Rules, Table};

/// Longest name of a table that can be listed, in bytes: 64 characters.
const NAME_MAX: usize = 256;

/// Plans statements by one generation of rules.
#[derive(Debug)]
pub struct Planner {
    rules: Arc<Rules>,
    /// The names of all listed tables, case folded.
    listed: FxHashSet<Vec<u8>>,
    /// All of them are of ASCII.
    ascii: bool,
    /// The names of databases whose home is not on the default cluster, case folded.
    moved: FxHashSet<Vec<u8>>,
}

/// What a name means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning<'a> {
    /// A table at home, or of a database without rules.
    Home,
    /// A listed table.
    Listed(&'a Database, &'a Table),
    /// It differs from a listed table in its case.
    OtherCase,
}

impl Planner {
    /// A planner for these rules.
    pub fn new(rules: Arc<Rules>) -> Self {
        let names = || rules.databases.values().flat_map(|database| database.tables.keys());
        let listed = names().map(|name| folded(name.as_bytes()).into_owned()).collect();
        let ascii = names().all(|name| name.is_ascii()) && rules.moved().all(|own| own.name.is_ascii());
        let moved = rules.moved().map(|database| folded(database.name.as_bytes()).into_owned()).collect();
        Self { rules, listed, ascii, moved }
    }

    /// The rules.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Whether no table is listed and no database is elsewhere, so that every statement runs at the one home.
    pub fn is_idle(&self) -> bool {
        self.listed.is_empty() && self.moved.is_empty()
    }

    /// Whether a database has its home on another cluster than the default one.
    pub(super) fn moves_any(&self) -> bool {
        !self.moved.is_empty()
    }

    /// Whether a database of this name, whatever its case, has its home there.
    pub(super) fn is_moved(&self, name: &[u8]) -> bool {
        name.len() <= NAME_MAX && self.moved.contains(&*folded(name))
    }

    /// Plans a packet.
    pub fn plan(&self, request: &Request<'_>) -> Planned {
        route::plan(self, request)
    }

    /// What a table's name means.
    pub(super) fn table(&self, schema: Option<&[u8]>, table: &[u8]) -> Meaning<'_> {
        let Some(schema) = schema else { return Meaning::Home };
        let mut other_case = false;
        for database in self.rules.databases.values() {
            if !same(database.name.as_bytes(), schema) {
                continue;
            }
            for (name, listed) in database.tables.iter().filter(|(name, _)| same(name.as_bytes(), table)) {
                if database.name.as_bytes() == schema && name.as_bytes() == table {
                    return Meaning::Listed(database, listed);
                }
                other_case = true;
            }
        }
        if other_case { Meaning::OtherCase } else { Meaning::Home }
    }

    /// Whether a listed table of any database has this name, whatever its case.
    pub(super) fn lists(&self, table: &[u8]) -> bool {
        table.len() <= NAME_MAX && self.listed.contains(&*folded(table))
    }

    /// Whether the name has characters that, in a character set other than UTF-8, may be those of a listed table.
    pub(super) fn may_list_in_other_bytes(&self, name: &[u8]) -> bool {
        !self.ascii && !name.is_ascii()
    }

    /// Whether the database, by its exact name, has tables that are listed.
    pub(super) fn has_rules_for(&self, schema: &[u8]) -> bool {
        let named = self.rules.databases.values().find(|database| database.name.as_bytes() == schema);
        named.is_some_and(|database| !database.tables.is_empty())
    }

    /// Whether the database has tables that are listed, whatever its case.
    pub(super) fn is_sharded(&self, schema: &[u8]) -> bool {
        let mut databases = self.rules.databases.values().filter(|database| !database.tables.is_empty());
        databases.any(|database| same(database.name.as_bytes(), schema))
    }
}

fn same(one: &[u8], other: &[u8]) -> bool {
    one == other || folded(one) == folded(other)
}

/// A name without its case.
fn folded(name: &[u8]) -> Cow<'_, [u8]> {
    if name.iter().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    match std::str::from_utf8(name) {
        Ok(name) => Cow::Owned(name.to_lowercase().into_bytes()),
        Err(_) => Cow::Owned(name.to_ascii_lowercase()),
    }
}
