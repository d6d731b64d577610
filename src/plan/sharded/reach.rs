//! What each SELECT of a statement has inside it.
//!
//! Owns: the tables that a SELECT and the queries in it name, as a range of instances. Does not know: keys. Invariant: instances are numbered
//! in the order of the walk, so that those of one SELECT stand together.

use std::ops::Range;

use super::parse::tree::Body;
use super::scope::{BlockIx, InstanceIx, Scope};

/// What one SELECT has, with all that is inside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reach {
    pub block: BlockIx,
    pub instances: Range<InstanceIx>,
}

impl Scope<'_> {
    /// The SELECTs of a query's own body: one, which has all of the statement, or those of a UNION.
    pub fn tops(&self, body: &Body) -> Vec<Reach> {
        let tops = self.selects_of(body);
        match &tops[..] {
            [one] => self.whole(one.block),
            _ => tops,
        }
    }

    /// A block with all of the statement.
    pub fn whole(&self, block: BlockIx) -> Vec<Reach> {
        vec![Reach { block, instances: 0..self.instances.len() }]
    }

    fn selects_of(&self, body: &Body) -> Vec<Reach> {
        match body {
            Body::Select(select) => self.selects.get(&select.at).cloned().into_iter().collect(),
            Body::Query(query) => self.selects_of(&query.body),
            Body::Set(set) => [self.selects_of(&set.left), self.selects_of(&set.right)].concat(),
            Body::Values(_) => Vec::new(),
        }
    }
}
