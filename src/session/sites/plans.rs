//! Plans of statements by their shape, kept for a core: what is planned once serves all statements that differ in literals only.
//!
//! Owns: the bound on what is kept, and when it is out of date. Does not know: what a plan says. Invariant: a plan is used only for the
//! rules, the default database and the modes that it was made for.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use crate::plan::sharded::Planned;

/// Plans that are kept in each of two generations.
const GENERATION_MAX: usize = 4096;
/// Rows and keys of all of them together: some 100 bytes each.
const WEIGHT_MAX: usize = 64 << 10;
/// Rows and keys of one: a larger one costs less to plan than it takes the server to carry out, and its shape comes back seldom.
const HEAVY: usize = 1024;

type Known = HashMap<u128, Arc<Planned>, FxBuildHasher>;

/// The plans of one core. Those that are used stay; the others go with their generation.
#[derive(Debug, Default)]
pub(in crate::session) struct Plans {
    /// Which rules they are for.
    rules: u64,
    /// Of the young ones.
    weight: usize,
    young: Known,
    old: Known,
}

impl Plans {
    /// The plan for the key under these rules.
    pub fn get(&mut self, rules: u64, key: u128) -> Option<Arc<Planned>> {
        if self.rules != rules {
            *self = Self { rules, ..Self::default() };
        }
        if let Some(known) = self.young.get(&key) {
            return Some(Arc::clone(known));
        }
        let known = self.old.remove(&key)?;
        self.keep(key, Arc::clone(&known));
        Some(known)
    }

    /// Keeps one, unless it is too large.
    pub fn keep(&mut self, key: u128, plan: Arc<Planned>) {
        let weight = plan.weight();
        if weight > HEAVY {
            return;
        }
        if self.young.len() >= GENERATION_MAX || self.weight + weight > WEIGHT_MAX {
            self.old = mem::take(&mut self.young);
            self.weight = 0;
        }
        self.weight += weight;
        self.young.insert(key, plan);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sharded::{InsertedRow, Merge, Routed, Sites, Verb};

    #[test]
    fn what_is_used_stays_and_what_is_kept_is_bounded() {
        let mut plans = Plans::default();
        let plan = Arc::new(Planned::Home);
        plans.keep(0, Arc::clone(&plan));
        for key in 1..20_000 {
            assert!(plans.get(0, 0).is_some(), "{key}");
            plans.keep(key, Arc::clone(&plan));
        }
        assert!(plans.young.len() + plans.old.len() <= 2 * GENERATION_MAX);
        assert!(plans.get(0, 1).is_none());
        assert!(plans.get(1, 0).is_none(), "other rules");
    }

    fn of_rows(rows: usize) -> Arc<Planned> {
        let row = InsertedRow { tokens: 0..1, key: Vec::new() };
        Arc::new(Planned::Routed(Box::new(Routed {
            database: String::new(),
            keyspace: 0,
            verb: Verb::Insert,
            sites: Sites::Rows(vec![row; rows]),
            many: Ok(Merge::Affected),
            edits: Vec::new(),
            ignores: Vec::new(),
        })))
    }

    #[test]
    fn plans_with_many_rows_are_not_kept_and_all_rows_are_bounded() {
        let mut plans = Plans::default();
        plans.keep(0, of_rows(HEAVY + 1));
        assert!(plans.get(0, 0).is_none());
        (1..1000).for_each(|key| plans.keep(key, of_rows(HEAVY)));
        assert!(plans.get(0, 999).is_some());
        let kept = plans.young.len() + plans.old.len();
        assert!((1..=2 * WEIGHT_MAX / HEAVY).contains(&kept), "{kept}");
    }
}
