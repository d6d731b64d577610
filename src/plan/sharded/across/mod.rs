//! A SELECT on several shards: how their answers become one, or why they do not.
//!
//! Owns: which queries can be merged exactly. Does not know: rows, types of columns: what these do not allow is found out when the first
//! shard has told of its columns (`merge`). Invariant: each row of the result is made in one shard from rows
//! of that shard (`route` has seen to it), or of such rows by the merge; what is not said so is refused.

mod aggregates;
mod columns;
mod computed;
mod finish;
mod groups;
mod having;
mod joined;
mod keyed;
mod order;
mod rollup;
mod rows;
mod union;
mod whole;
mod windows;

use self::aggregates::is_aggregate;
use self::columns::Columns;
use self::groups::Grouping;
use super::keys::KeySource;
use super::parse::tree::{Body, Call, Expr, ExprKind, Item, Limit, Order, Query, Select};
use super::planned::{Cut, Merge, Operand};
use super::refusal::{Reason, Refusal};
use super::scope::{BlockIx, Scope};
use crate::sql::Uses;

/// Columns of ORDER BY, GROUP BY and DISTINCT together, at most. Each is looked for among those that are selected.
const KEYS_MAX: usize = 256;

/// Why what a statement uses besides tables cannot be had from several servers.
pub(super) fn state(uses: Uses) -> Result<(), Refusal> {
    if uses.intersects(Uses::USER_VARIABLE_WRITE | Uses::CALC_FOUND_ROWS | Uses::INTO) {
        return refuse(
            Reason::StateAcrossShards,
            "A statement on several shards leaves something for the next one",
        );
    }
    let own = Uses::PRIMARY_FUNCTION
        | Uses::LAST_INSERT_ID
        | Uses::FOUND_ROWS
        | Uses::ROW_COUNT
        | Uses::CONNECTION_ID;
    if uses.intersects(own) {
        return refuse(Reason::ServerFunction, "A function of one server is asked on several shards");
    }
    if uses.contains(Uses::UNKNOWN_FUNCTION) {
        return refuse(
            Reason::UnknownFunction,
            "A function that may be a stored one is called on several shards",
        );
    }
    Ok(())
}

fn refuse<T>(reason: Reason, what: &str) -> Result<T, Refusal> {
    Err(Refusal::new(reason, what))
}

/// Whether each of its rows is made in one shard, of rows that no other has.
pub(super) fn is_of_shards(scope: &Scope<'_>, select: &Select) -> bool {
    union::check(scope, select, true).is_ok()
}

/// How a query's answers are merged.
pub(super) fn merge<'q>(
    scope: &'q Scope<'q>,
    query: &'q Query,
    top: Option<BlockIx>,
    uses: Uses,
) -> Result<Merge, Refusal> {
    state(uses)?;
    // The statement's last token is the query's.
    let mut is_bare = true;
    let mut query = query;
    let select = loop {
        match &query.body {
            Body::Select(select) => break select,
            // `(SELECT …) LIMIT 1`: two LIMITs may be there.
            Body::Query(inner) if query.order.is_empty() && query.limit.is_none() && !query.locking => {
                (query, is_bare) = (inner, false);
            }
            Body::Set(set) => {
                return union::merged(scope, query, set, is_bare).map(|merged| Merge::Rows(Box::new(merged)));
            }
            _ => {
                let what = "VALUES, or parentheses, on several shards";
                return refuse(Reason::UnionAcrossShards, what);
            }
        }
    };
    if query.locking {
        return refuse(Reason::LockingAcrossShards, "Rows of several shards are locked");
    }
    let calls: Vec<_> = calls(select, &query.order).collect();
    let told_apart = if select.distinct { select.items.len() } else { 0 };
    if select.group.len() + query.order.len() + told_apart > KEYS_MAX {
        let what = "ORDER BY, GROUP BY and DISTINCT on several shards have too many columns";
        return refuse(Reason::TooLong, what);
    }
    let grouped = grouping(scope, select, &calls);
    let mut columns = Columns::new(scope, select, top);
    windows::check(&columns, select, &calls)?;
    // Each group is in one shard, whole; a sum of groups is not.
    let whole = grouped && !select.rollup && columns.have_key(&select.group);
    if grouped && !whole && calls.iter().any(|call| call.over) {
        return refuse(Reason::WindowAcrossShards, "Windows of groups that several shards have parts of");
    }
    let mut merged = match (grouped && !whole, select.distinct) {
        (true, true) => return refuse(Reason::DistinctAcrossShards, "DISTINCT of groups on several shards"),
        (true, false) => Grouping::new(&mut columns, select, &calls)?.merged(query, is_bare)?,
        (false, true) => rows::distinct(&mut columns, query)?,
        (false, false) => rows::rows(&mut columns, query)?,
    };
    columns.finish(select, &mut merged)?;
    Ok(Merge::Rows(Box::new(merged)))
}

/// Whether the select list, HAVING or ORDER BY makes one value of many rows, or looks at several.
pub(super) fn aggregates(scope: &Scope<'_>, select: &Select, query: &Query) -> bool {
    calls(select, &query.order).any(|call| call.over || is_aggregate(scope.text, call))
}

/// Whether rows become groups.
fn grouping(scope: &Scope<'_>, select: &Select, calls: &[&Call]) -> bool {
    !select.group.is_empty() || calls.iter().any(|call| !call.over && is_aggregate(scope.text, call))
}

/// All calls in the select list, HAVING and ORDER BY, those inside other queries left out.
fn calls<'q>(select: &'q Select, order: &'q [Order]) -> impl Iterator<Item = &'q Call> {
    let items = select.items.iter().filter_map(|item| match item {
        Item::Expr(expr, _) => Some(expr),
        Item::Star | Item::TableStar(_) => None,
    });
    let others = select.having.iter().chain(order.iter().map(|order| &order.expr));
    let mut found = Vec::new();
    let mut left: Vec<&Expr> = items.chain(others).collect();
    while let Some(expr) = left.pop() {
        if let ExprKind::Call(call) = &expr.kind {
            found.push(call);
        }
        left.extend(expr.children());
    }
    found.into_iter()
}

/// LIMIT; `pushed` where each shard needs to give no more rows than it reaches.
fn cut(scope: &Scope<'_>, limit: Option<&Limit>, pushed: bool) -> Result<Option<Cut>, Refusal> {
    let operand = |expr: &Expr| match KeySource::of(scope.text, expr) {
        Some(source @ (KeySource::Literal { negative: false, .. } | KeySource::Parameter(_))) => {
            Ok(Operand { token: expr.first, source })
        }
        _ => refuse(Reason::LimitNotConstant, "LIMIT on several shards is no number"),
    };
    let Some(limit) = limit else { return Ok(None) };
    let offset = limit.offset.as_ref().map(operand).transpose()?;
    Ok(Some(Cut { count: operand(&limit.count)?, offset, pushed }))
}
