//! Rows that are passed on: sorted, or each once.
//!
//! Owns: ORDER BY and DISTINCT without groups, or where each group is in one shard. Does not know: what columns are made of.
//! Invariant: a LIMIT goes to the shards only where no row is dropped after.

use super::super::parse::tree::{Order, Query};
use super::super::planned::Merged;
use super::super::refusal::{Reason, Refusal};
use super::columns::Columns;
use super::cut;
use super::order::Sorted;
use crate::merge::{Arrival, Combine, Key, Spec};

/// All rows.
pub(super) fn rows<'q>(columns: &mut Columns<'q>, query: &'q Query) -> Result<Merged, Refusal> {
    let keys = query.order.iter().map(|order| sort_key(columns, order)).collect::<Result<Vec<_>, _>>()?;
    let spec = Spec { arrival: arrival(keys), hidden: columns.hidden(), ..Spec::default() };
    Ok(Merged { spec, limit: cut(columns.scope, query.limit.as_ref(), true)?, ..Merged::default() })
}

/// Those that differ.
pub(super) fn distinct<'q>(columns: &mut Columns<'q>, query: &'q Query) -> Result<Merged, Refusal> {
    let mut keys = Vec::new();
    for place in 0..columns.items.len() {
        let Some((expr, _)) = columns.items.get(place).copied().flatten() else {
            return Err(refused("DISTINCT * on several shards"));
        };
        keys.push(columns.key(place, expr));
    }
    let mut order = Vec::new();
    for item in &query.order {
        let place = match columns.sorted(&item.expr)? {
            Sorted::Item(place, _) => Some(place),
            Sorted::Other(expr) => columns.item_like(expr).map(|(place, _)| place),
        };
        let Some(place) = place else {
            return Err(refused("DISTINCT on several shards, sorted or grouped by something else"));
        };
        let key = keys.get(place).cloned().unwrap_or_default();
        order.push(Key { descending: item.descending, ..key });
    }
    // Shards tell rows apart by what is hidden, too: of `a` and `a `, which are equal, they give both.
    let pushed = columns.hidden() == 0;
    let hidden = columns.hidden();
    let spec = Spec { arrival: arrival(order), combine: Combine::Distinct(keys), hidden, ..Spec::default() };
    Ok(Merged { spec, limit: cut(columns.scope, query.limit.as_ref(), pushed)?, ..Merged::default() })
}

/// The order in which shards send rows.
pub(super) fn arrival(keys: Vec<Key>) -> Arrival {
    if keys.is_empty() { Arrival::Any } else { Arrival::Sorted(keys) }
}

fn sort_key<'q>(columns: &mut Columns<'q>, order: &'q Order) -> Result<Key, Refusal> {
    let (place, expr) = match columns.sorted(&order.expr)? {
        Sorted::Item(place, expr) => (place, expr),
        Sorted::Other(expr) => {
            let place = columns.expr(expr).ok_or_else(|| {
                let what = "ORDER BY on several shards by what may differ each time";
                Refusal::new(Reason::OrderAcrossShards, what)
            })?;
            (place, expr)
        }
    };
    Ok(Key { descending: order.descending, ..columns.key(place, expr) })
}

fn refused(what: &str) -> Refusal {
    Refusal::new(Reason::DistinctAcrossShards, what)
}
