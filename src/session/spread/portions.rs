//! What each site gets of a change that several carry out together.
//!
//! Owns: the texts, and whose answer the client gets. Does not know: how they are carried out (`spread`). Invariant: every row of an
//! INSERT is in one portion, and the portions are in the order of the shards, so that two such changes never wait for each other.

use std::collections::BTreeMap;

use crate::execute::made::Made;
use crate::execute::told::Inserted;
use crate::plan::sharded::{Arguments, Copies, InsertedRow, Sites, Split};
use crate::session::freshness::readonly;
use crate::session::scatter::Share;
use crate::session::sites::Site;
use crate::session::sites::bound::Bindings;
use crate::session::sites::direct::{self, Directed, On, RULES_CHANGED, refused};
use crate::session::{Problem, Session};
use crate::shard::{Database, Shard, ShardIx, ShardSet};

/// A change that several sites carry out together.
#[derive(Debug)]
pub(in crate::session) struct Spread {
    pub portions: Vec<Portion>,
    /// How the rows of an INSERT were given out.
    pub inserted: Option<Inserted>,
    /// All do the same to their copies of a table; the first one's answer is the client's.
    pub copies: bool,
    /// Values that were made for its rows.
    pub made: Option<Made>,
    /// Columns whose values must be stored as they are given; empty where the server sees to that.
    pub kept: Vec<String>,
}

/// What one site gets of it.
#[derive(Debug)]
pub(in crate::session) struct Portion {
    /// Where, and as what; an empty text for the client's own.
    pub share: Share,
    /// What people call the site.
    pub name: String,
    /// The rows that it has, by their places in the client's statement; none of what is no list of rows.
    pub rows: Vec<usize>,
    /// What it is executed with, where it is prepared.
    pub bindings: Option<Bindings>,
}

impl Portion {
    /// A text.
    pub fn new(share: Share, name: String, rows: Vec<usize>) -> Self {
        Self { share, name, rows, bindings: None }
    }
}

impl Session {
    /// The statement changes rows of several shards, or may only be kept once it is known what it has stored.
    ///
    /// # Errors
    /// It would do so within a transaction, whose end is the client's.
    pub(in crate::session) fn spread_over(
        &self,
        on: &On<'_>,
        shards: &ShardSet,
        arguments: &Arguments<'_>,
    ) -> Result<Directed, Problem> {
        let ignores = !on.routed.ignores.is_empty();
        if ignores && !self.is_read_only() && (self.is_in_transaction() || on.routed.many.is_err()) {
            return Err(Problem::Unsupported(IGNORES.into()));
        }
        self.outside_of_transactions()?;
        Ok(Directed::Spread(Box::new(on.spread(shards, arguments)?)))
    }

    /// The statement changes a reference table: at home, then on the shards.
    ///
    /// # Errors
    /// As above.
    pub(in crate::session) fn spread_copies(
        &self,
        database: &Database,
        copies: &Copies,
        text: &[u8],
    ) -> Result<Directed, Problem> {
        self.outside_of_transactions()?;
        let home = Share { site: Site::home(database.home.cluster), sql: Vec::new(), source: None };
        let on_shard = |shard: &Shard| {
            let share = direct::share(database, shard, text, &copies.edits, &self.lexing);
            Portion::new(share, shard.name.clone(), Vec::new())
        };
        let home = Portion::new(home, "home".to_owned(), Vec::new());
        let portions = [home].into_iter().chain(database.copies().into_iter().map(on_shard)).collect();
        Ok(Directed::Spread(Box::new(Spread {
            portions,
            inserted: None,
            copies: true,
            made: None,
            kept: Vec::new(),
        })))
    }

    pub(in crate::session) fn outside_of_transactions(&self) -> Result<(), Problem> {
        if self.is_read_only() {
            return Err(Problem::Server(readonly::refusal(self.lexing.server.dialect)));
        }
        match self.is_in_transaction() || self.sites.begin.is_some() {
            true => Err(Problem::Unsupported(IN_TRANSACTION.into())),
            false => Ok(()),
        }
    }
}

impl On<'_> {
    /// What each of the shards gets.
    pub(in crate::session) fn spread(
        &self,
        shards: &ShardSet,
        arguments: &Arguments<'_>,
    ) -> Result<Spread, Problem> {
        self.routed.many.as_ref().map_err(refused)?;
        if let Sites::Rows(rows) = &self.routed.sites
            && shards.only().is_none()
        {
            return self.split(rows, arguments);
        }
        let portion = |shard| {
            let share = self.share(shard, arguments.sql, &self.routed.edits, arguments.lexing)?;
            Some(Portion::new(share, self.name(shard)?, Vec::new()))
        };
        let portions = shards.iter().map(portion).collect::<Option<_>>().ok_or(RULES_CHANGED)?;
        let kept = self.routed.ignores.clone();
        Ok(Spread { portions, inserted: None, copies: false, made: None, kept })
    }

    /// Each row of an INSERT goes to its shard.
    fn split(&self, rows: &[InsertedRow], arguments: &Arguments<'_>) -> Result<Spread, Problem> {
        let places = self.routed.rows(arguments, self.database).map_err(|refusal| refused(&refusal))?;
        let last = places.last().copied();
        let mut of_shard: BTreeMap<ShardIx, Vec<usize>> = BTreeMap::new();
        for (row, shard) in places.into_iter().enumerate() {
            of_shard.entry(shard).or_default().push(row);
        }
        let split = Split::of(arguments.sql, arguments.lexing, rows).ok_or(RULES_CHANGED)?;
        let inserted = Inserted {
            rows: of_shard.values().map(|rows| rows.len() as u64).collect(),
            last: of_shard.keys().position(|shard| Some(*shard) == last).unwrap_or_default(),
            ignores: !self.routed.ignores.is_empty(),
        };
        let portion = |(shard, rows): (ShardIx, Vec<usize>)| {
            let (text, edits) = split.only(&rows, &self.routed.edits);
            let mut share = self.share(shard, &text, &edits, arguments.lexing)?;
            if share.sql.is_empty() {
                share.sql = text;
            }
            Some(Portion::new(share, self.name(shard)?, rows))
        };
        let portions = of_shard.into_iter().map(portion).collect::<Option<_>>();
        Ok(Spread {
            portions: portions.ok_or(RULES_CHANGED)?,
            inserted: Some(inserted),
            copies: false,
            made: None,
            kept: self.routed.ignores.clone(),
        })
    }

    pub(in crate::session) fn name(&self, shard: ShardIx) -> Option<String> {
        Some(self.database.keyspaces.get(self.routed.keyspace)?.shard(shard)?.name.clone())
    }
}

pub(super) const IN_TRANSACTION: &str = "the statement writes in several places, within a transaction: one that writes in two places needs a commit in two \
                              phases, which this release does not do; send it outside of a transaction, or write in one shard";

const IGNORES: &str = "INSERT IGNORE on a sharded table runs outside of transactions only, and with plain values: a server could store another key than the \
                       one that the shard was chosen by, and that must be found out before COMMIT; use INSERT … ON DUPLICATE KEY UPDATE with the key set to \
                       itself";
