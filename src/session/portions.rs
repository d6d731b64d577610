//! What each site gets of a change that several carry out together.
//!
//! Owns: the texts, and whose answer the client gets. Does not know: how they are carried out (`spread`). Invariant: every row of an
//! INSERT is in one portion, and the portions are in the order of the shards, so that two such changes never wait for each other.

use std::collections::BTreeMap;

use super::direct::{Directed, On, RULES_CHANGED, refused};
use super::scatter::Share;
use super::{Problem, Session};
use crate::execute::told::Inserted;
use crate::plan::sharded::{Arguments, InsertedRow, Sites, Split};
use crate::shard::{ShardIx, ShardSet};

/// A change that several sites carry out together.
#[derive(Debug)]
pub(super) struct Spread {
    pub portions: Vec<Portion>,
    /// How the rows of an INSERT were given out.
    pub inserted: Option<Inserted>,
}

/// What one site gets of it.
#[derive(Debug)]
pub(super) struct Portion {
    /// Where, and as what; an empty text for the client's own.
    pub share: Share,
    /// What people call the site.
    pub name: String,
    /// The rows that it has, by their places in the client's statement; none of what is no list of rows.
    pub rows: Vec<usize>,
}

impl Session {
    /// The statement changes rows of several shards.
    ///
    /// # Errors
    /// It would do so within a transaction, whose end is the client's.
    pub(super) fn spread_over(
        &self,
        on: &On<'_>,
        shards: &ShardSet,
        arguments: &Arguments<'_>,
    ) -> Result<Directed, Problem> {
        if self.is_in_transaction() {
            return Err(Problem::Unsupported(IN_TRANSACTION.into()));
        }
        Ok(Directed::Spread(Box::new(on.spread(shards, arguments, self)?)))
    }
}

impl On<'_> {
    /// What each of the shards gets.
    pub(super) fn spread(
        &self,
        shards: &ShardSet,
        arguments: &Arguments<'_>,
        session: &Session,
    ) -> Result<Spread, Problem> {
        self.routed.many.as_ref().map_err(refused)?;
        if let Sites::Rows(rows) = &self.routed.sites {
            return self.split(rows, arguments, session);
        }
        let portion = |shard| {
            let share = self.share(shard, arguments.sql, &self.routed.edits, session)?;
            Some(Portion { share, name: self.name(shard)?, rows: Vec::new() })
        };
        let portions = shards.iter().map(portion).collect::<Option<_>>().ok_or(RULES_CHANGED)?;
        Ok(Spread { portions, inserted: None })
    }

    /// Each row of an INSERT goes to its shard.
    fn split(
        &self,
        rows: &[InsertedRow],
        arguments: &Arguments<'_>,
        session: &Session,
    ) -> Result<Spread, Problem> {
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
            ignores: split.ignores,
        };
        let portion = |(shard, rows): (ShardIx, Vec<usize>)| {
            let (text, edits) = split.only(&rows, &self.routed.edits);
            let mut share = self.share(shard, &text, &edits, session)?;
            if share.sql.is_empty() {
                share.sql = text;
            }
            Some(Portion { share, name: self.name(shard)?, rows })
        };
        let portions = of_shard.into_iter().map(portion).collect::<Option<_>>();
        Ok(Spread { portions: portions.ok_or(RULES_CHANGED)?, inserted: Some(inserted) })
    }

    fn name(&self, shard: ShardIx) -> Option<String> {
        Some(self.database.keyspaces.get(self.routed.keyspace)?.shard(shard)?.name.clone())
    }
}

const IN_TRANSACTION: &str = "the statement writes in several shards, within a transaction: one that writes in two places needs a commit in two \
                              phases, which this release does not do; send it outside of a transaction, or write in one shard";
