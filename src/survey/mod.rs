//! The rules held against the tables that servers have: `tidegate check --connect`.
//!
//! Owns: what of a table contradicts its rule, and what one should know of it. Does not know: how servers are asked (`topology::catalog`).
//! Invariant: pure. What would put a row on a wrong shard, or make an answer wrong, is an error; what a person should only know is a warning.

mod misfit;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::config::Config;
use crate::ids::ClusterId;
use crate::shard::{Database, Generate, GenerateBy, Keyspace, Rules, Table};
use crate::topology::catalog::{Catalog, Definition, Wanted};

/// Something that was found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// Whether the rules must not be used so.
    pub is_error: bool,
    /// `database.table`.
    pub about: String,
    /// What is so.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { is_error, about, message, help } = self;
        let kind = if *is_error { "error" } else { "warning" };
        write!(f, "{kind}[{about}]: {message}\n = help: {help}\n")
    }
}

/// A place where a table of the rules must be.
struct Seat<'a> {
    /// What it is there: "shard s0", "home".
    name: String,
    cluster: ClusterId,
    schema: &'a str,
    table: String,
}

/// What must be asked of each cluster.
pub fn wanted(rules: &Rules) -> BTreeMap<ClusterId, Wanted> {
    let mut wanted = BTreeMap::<ClusterId, Wanted>::new();
    for database in rules.databases.values() {
        for (name, table) in &database.tables {
            let home = home(database, name);
            for Seat { cluster, schema, table, .. } in seats(database, name, table).into_iter().chain([home])
            {
                wanted.entry(cluster).or_default().entry(schema.to_owned()).or_default().insert(table);
            }
        }
    }
    wanted
}

/// The tables by which the home's primary grants what values are made from.
pub fn granting(rules: &Rules) -> Vec<&'static str> {
    let made = |by| rules.generated(by).next().is_some();
    let nodes: &[_] = if made(GenerateBy::Snowflake) { &["id_nodes", "id_home"] } else { &[] };
    let segments: &[_] = if made(GenerateBy::Segment) { &["id_segments"] } else { &[] };
    [nodes, segments].concat()
}

/// That the monitor's account lacks these privileges there.
pub fn lacking(user: &str, cluster: &str, lacking: &[&str]) -> Option<String> {
    let rights = lacking.join(", ");
    let message = format!(
        "error: cluster {cluster}: the account `{user}` of `monitor` lacks {rights} on tidegate.*, by which ids are granted (`generate`)\n \
         = help: GRANT {rights} ON tidegate.* TO {user}@…\n"
    );
    (!lacking.is_empty()).then_some(message)
}

/// What is found where the rules meet these tables. A cluster that is not among them is not judged.
pub fn compare(config: &Config, catalogs: &BTreeMap<ClusterId, Catalog>) -> Vec<Finding> {
    let mut survey = Survey { config, catalogs, found: BTreeSet::new() };
    for database in config.rules.databases.values() {
        for (name, table) in &database.tables {
            survey.table(database, name, table);
        }
    }
    let mut found: Vec<_> = survey.found.into_iter().collect();
    found.sort_by_key(|finding| !finding.is_error);
    found
}

struct Survey<'a> {
    config: &'a Config,
    catalogs: &'a BTreeMap<ClusterId, Catalog>,
    found: BTreeSet<Finding>,
}

impl<'a> Survey<'a> {
    fn table(&mut self, database: &'a Database, name: &str, table: &Table) {
        let about = format!("{}.{name}", database.name);
        let seats = seats(database, name, table);
        let present: Vec<_> = seats.iter().filter_map(|seat| Some((seat, self.definition(seat)?))).collect();
        for seat in &seats {
            if self.is_known(seat) && !present.iter().any(|(there, _)| std::ptr::eq(*there, seat)) {
                let message =
                    format!("{} has no table `{}` that the account can see", self.at(seat), seat.table);
                self.error(
                    &about,
                    message,
                    "create it there as on the others, or give the account SELECT on it",
                );
            }
        }
        let Some(((first, definition), others)) = present.split_first() else { return };
        for (seat, other) in others {
            if let Some(difference) = misfit::difference(definition, other) {
                let message = format!("{} and {} differ: {difference}", self.at(first), self.at(seat));
                self.error(
                    &about,
                    message,
                    "make the definitions alike: the same columns in the same order, the same unique indexes",
                );
            }
        }
        if let Some(generate) = table.generate() {
            for (seat, definition) in &present {
                self.generated(&about, seat, definition, generate);
            }
        }
        if let Table::Sharded { keyspace, key, generate } = table
            && let Some(keyspace) = database.keyspaces.get(*keyspace)
        {
            for (seat, definition) in &present {
                self.key(&about, seat, definition, keyspace, key);
            }
            self.uniqueness(&about, definition, key, generate.as_ref());
            self.rows_at_home(&about, database, name, &seats);
        }
    }

    /// The key's columns are there, of its type, and found by an index.
    fn key(
        &mut self,
        about: &str,
        seat: &Seat<'_>,
        definition: &Definition,
        keyspace: &Keyspace,
        key: &[String],
    ) {
        for (column, of_type) in key.iter().zip(&keyspace.key) {
            let Some(found) = definition.columns.iter().find(|found| found.name.eq_ignore_ascii_case(column))
            else {
                let message = format!("{} has no column `{column}`, which is the key", self.at(seat));
                self.error(about, message, "name a column that the table has, in the keyspace's `tables`");
                continue;
            };
            if let Some(misfit) = misfit::of_key(of_type, found) {
                let message = format!("`{column}` on {} is {misfit}", self.at(seat));
                let help = format!(
                    "change the column, or the `key_type` of keyspace {} while it has no rows: values that are equal there must have one form",
                    keyspace.name
                );
                self.error(about, message, &help);
            }
        }
        let leads = |first: &String| key.iter().any(|column| column.eq_ignore_ascii_case(first));
        if !definition.indexes.values().any(|index| index.columns.first().is_some_and(leads)) {
            let message = format!("no index on {} begins with the key ({})", self.at(seat), key.join(", "));
            self.warning(about, message, "add one: nearly every statement has a condition on the key");
        }
    }

    /// The column whose values Tidegate makes is there, and takes them.
    fn generated(&mut self, about: &str, seat: &Seat<'_>, definition: &Definition, generate: &Generate) {
        let Generate { column, by } = generate;
        let Some(found) = definition.columns.iter().find(|found| found.name.eq_ignore_ascii_case(column))
        else {
            let message = format!("{} has no column `{column}`, whose values Tidegate makes", self.at(seat));
            self.error(about, message, "name a column that the table has in `generate`, or take that out");
            return;
        };
        if let Some((misfit, help)) = misfit::of_made(*by, found) {
            let message = format!("`{column}` on {} is {misfit}", self.at(seat));
            self.error(about, message, help);
        } else if let Some(misfit) = misfit::of_small(*by, found) {
            let message = format!("`{column}` on {} is {misfit}", self.at(seat));
            self.warning(about, message, "make it a BIGINT before its numbers are used up");
        }
        if found.extra.contains("auto_increment") {
            let message = format!(
                "`{column}` on {} is AUTO_INCREMENT, though Tidegate makes its values (`generate`)",
                self.at(seat)
            );
            let help =
                "drop AUTO_INCREMENT: rows that are inserted past Tidegate get numbers that others may have";
            self.warning(about, message, help);
        }
    }

    /// What servers keep unique is so within one shard only, unless the key is a part of it.
    fn uniqueness(
        &mut self,
        about: &str,
        definition: &Definition,
        key: &[String],
        generate: Option<&Generate>,
    ) {
        for (name, index) in definition.indexes.iter().filter(|(_, index)| index.is_unique) {
            let has = |column: &String| index.columns.iter().any(|own| own.eq_ignore_ascii_case(column));
            if !key.iter().all(has) {
                let message = format!(
                    "{name} ({}) is unique in each shard, not over all: the key ({}) is not a part of it",
                    index.columns.join(", "),
                    key.join(", ")
                );
                let help = "add the key to the index, or see to it that the application's values are unique";
                self.warning(about, message, help);
            }
        }
        for column in definition.columns.iter().filter(|column| column.extra.contains("auto_increment")) {
            if generate.is_none_or(|generate| !generate.column.eq_ignore_ascii_case(&column.name)) {
                let message = format!(
                    "`{}` counts in each shard for itself (AUTO_INCREMENT): two shards give the same numbers",
                    column.name
                );
                self.warning(about, message, "let Tidegate make the values (`generate`), or give them");
            }
        }
    }

    /// Rows that no statement reaches any more.
    fn rows_at_home(&mut self, about: &str, database: &'a Database, name: &str, seats: &[Seat<'_>]) {
        let home = home(database, name);
        let is_a_shard = |seat: &Seat<'_>| {
            (seat.cluster, seat.schema, &seat.table) == (home.cluster, home.schema, &home.table)
        };
        if !seats.iter().any(is_a_shard) && self.definition(&home).is_some() {
            let message = format!("{} has a table `{name}`, too, which no statement reaches", self.at(&home));
            self.warning(
                about,
                message,
                "move its rows to the shards and drop it, or take the table out of the rules",
            );
        }
    }

    fn is_known(&self, seat: &Seat<'_>) -> bool {
        self.catalogs.contains_key(&seat.cluster)
    }

    fn definition(&self, seat: &Seat<'_>) -> Option<&'a Definition> {
        self.catalogs.get(&seat.cluster)?.get(&(seat.schema.to_owned(), seat.table.clone()))
    }

    /// A place in words.
    fn at(&self, seat: &Seat<'_>) -> String {
        let cluster = self.config.clusters.get(seat.cluster.place()).map_or("", |cluster| &cluster.name);
        format!("{} (schema {} of cluster {cluster})", seat.name, seat.schema)
    }

    fn error(&mut self, about: &str, message: String, help: &str) {
        self.found.insert(Finding {
            is_error: true,
            about: about.to_owned(),
            message,
            help: help.to_owned(),
        });
    }

    fn warning(&mut self, about: &str, message: String, help: &str) {
        self.found.insert(Finding {
            is_error: false,
            about: about.to_owned(),
            message,
            help: help.to_owned(),
        });
    }
}

/// Where the table would be without a rule.
fn home<'a>(database: &'a Database, table: &str) -> Seat<'a> {
    let home = &database.home;
    Seat { name: "home".to_owned(), cluster: home.cluster, schema: &home.schema, table: table.to_owned() }
}

/// Where the table must be.
fn seats<'a>(database: &'a Database, name: &str, table: &Table) -> Vec<Seat<'a>> {
    let shards_of = |keyspace: &'a Keyspace, reference: bool| {
        keyspace.shards.iter().map(move |shard| Seat {
            name: format!("shard {}", shard.name),
            cluster: shard.cluster,
            schema: &shard.schema,
            table: if reference { name.to_owned() } else { shard.physical(name) },
        })
    };
    match table {
        Table::Sharded { keyspace, .. } => database
            .keyspaces
            .get(*keyspace)
            .into_iter()
            .flat_map(|keyspace| shards_of(keyspace, false))
            .collect(),
        Table::Reference { .. } => {
            let mut seats = vec![home(database, name)];
            for seat in database.keyspaces.iter().flat_map(|keyspace| shards_of(keyspace, true)) {
                if !seats.iter().any(|known| (known.cluster, known.schema) == (seat.cluster, seat.schema)) {
                    seats.push(seat);
                }
            }
            seats
        }
    }
}
