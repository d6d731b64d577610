//! What each site of a definition gets, and where its tables are there.
//!
//! Owns: from a plan to the sites. Does not know: how it is carried out (`defining`).

use super::looks::Place;
use crate::plan::sharded::{Definition, Target};
use crate::session::Session;
use crate::session::scatter::Share;
use crate::session::sites::Site;
use crate::session::sites::direct;
use crate::session::spread::portions::{Portion, Spread};
use crate::shard::{Database, Shard};

/// A definition, ready to be carried out.
#[derive(Debug)]
pub(in crate::session) struct Defined {
    /// What each site gets.
    pub spread: Spread,
    /// Where its tables are, site by site.
    pub places: Vec<Place>,
    /// The database, as clients know it.
    pub database: String,
    pub targets: Vec<Target>,
    /// See [`Definition::again`].
    pub again: bool,
    /// It may give values to rows that are there.
    pub alters: bool,
}

impl Defined {
    /// What the sites are called.
    pub fn names(&self) -> Vec<String> {
        self.spread.portions.iter().map(|portion| portion.name.clone()).collect()
    }
}

impl Session {
    /// What each site of a definition gets; `None` where home is the only one.
    pub(in crate::session) fn defined(
        &self,
        database: &Database,
        definition: &Definition,
        text: &[u8],
    ) -> Option<Defined> {
        let (home, shards) = definition.sites(database);
        if shards.is_empty() {
            return None;
        }
        let at_home = || {
            let share = Share { site: Site::home(database.home.cluster), sql: Vec::new(), source: None };
            let schema = database.home.schema.clone();
            let place = Place { schema, suffix: String::new(), tables: Vec::new() };
            (Portion::new(share, "home".to_owned(), Vec::new()), place)
        };
        let on_shard = |shard: &Shard| {
            let share = direct::share(database, shard, text, &definition.edits, &self.lexing);
            let suffix = shard.suffix.clone().unwrap_or_default();
            let portion = Portion::new(share, shard.name.clone(), Vec::new());
            let tables = database.tables.keys().filter(|_| !suffix.is_empty()).cloned().collect();
            (portion, Place { schema: shard.schema.clone(), suffix, tables })
        };
        let (portions, places) =
            home.then(at_home).into_iter().chain(shards.into_iter().map(on_shard)).unzip();
        let spread = Spread { portions, inserted: None, copies: home, made: None, kept: Vec::new() };
        Some(Defined {
            spread,
            places,
            database: database.name.clone(),
            targets: definition.targets.clone(),
            again: definition.again,
            alters: definition.verb == "alter table",
        })
    }
}
