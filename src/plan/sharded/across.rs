//! A SELECT on several shards: how their answers become one, or why they do not.
//!
//! Owns: which queries can be merged exactly. Does not know: rows. Invariant: each row of the result is made in one shard from rows
//! of that shard (`route` has seen to it); what is done to all rows together is named in `Merge`, or the query is refused.

use super::keys::KeySource;
use super::parse::tree::{Alias, Body, Call, Expr, ExprKind, Item, Limit, Order, Query, Select};
use super::planned::{Cut, Merge, Operand, SortBy, SortKey, Total};
use super::refusal::{Reason, Refusal};
use super::scope::{BlockIx, Scope};
use crate::sql::Uses;

/// Functions that make one value of many rows.
const AGGREGATES: &[&[u8]] = &[
    b"ANY_VALUE",
    b"AVG",
    b"BIT_AND",
    b"BIT_OR",
    b"BIT_XOR",
    b"COUNT",
    b"GROUP_CONCAT",
    b"GROUPING",
    b"JSON_ARRAYAGG",
    b"JSON_OBJECTAGG",
    b"MAX",
    b"MEDIAN",
    b"MIN",
    b"PERCENTILE_CONT",
    b"PERCENTILE_DISC",
    b"STD",
    b"STDDEV",
    b"STDDEV_POP",
    b"STDDEV_SAMP",
    b"ST_COLLECT",
    b"SUM",
    b"VARIANCE",
    b"VAR_POP",
    b"VAR_SAMP",
];

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

/// How a query's answers are merged.
pub(super) fn merge(
    scope: &Scope<'_>,
    query: &Query,
    top: Option<BlockIx>,
    uses: Uses,
) -> Result<Merge, Refusal> {
    state(uses)?;
    let select = match &query.body {
        Body::Select(select) => select,
        // `(SELECT …) LIMIT 1`: two LIMITs may be there.
        Body::Query(inner) if query.order.is_empty() && query.limit.is_none() && !query.locking => {
            return merge(scope, inner, top, uses);
        }
        _ => return refuse(Reason::UnionAcrossShards, "A UNION, or parentheses, on several shards"),
    };
    if query.locking {
        return refuse(Reason::LockingAcrossShards, "Rows of several shards are locked");
    }
    if select.distinct {
        return refuse(Reason::DistinctAcrossShards, "DISTINCT on several shards");
    }
    if select.elaborate || calls(select, query).any(|call| call.over) {
        return refuse(Reason::WindowAcrossShards, "Windows or ROLLUP on several shards");
    }
    if !select.group.is_empty() {
        return refuse(Reason::GroupAcrossShards, "GROUP BY on several shards");
    }
    if select.having.is_some() {
        return refuse(Reason::HavingAcrossShards, "HAVING on several shards");
    }
    if aggregates(scope, select, query) {
        return totals(scope, select, query);
    }
    let limit = query.limit.as_ref().map(|limit| cut(scope, limit)).transpose()?;
    let order =
        query.order.iter().map(|order| sort_key(scope, select, top, order)).collect::<Result<_, _>>()?;
    Ok(Merge::Rows { order, limit })
}

/// Whether the select list or ORDER BY makes one value of many rows.
pub(super) fn aggregates(scope: &Scope<'_>, select: &Select, query: &Query) -> bool {
    calls(select, query).any(|call| {
        let name = scope.text.name(call.name.last());
        call.over || AGGREGATES.iter().any(|aggregate| aggregate.eq_ignore_ascii_case(&name))
    })
}

/// All calls in the select list and ORDER BY, those inside other queries left out.
fn calls<'q>(select: &'q Select, query: &'q Query) -> impl Iterator<Item = &'q Call> {
    let items = select.items.iter().filter_map(|item| match item {
        Item::Expr(expr, _) => Some(expr),
        Item::Star | Item::TableStar(_) => None,
    });
    let mut found = Vec::new();
    let mut left: Vec<&Expr> = items.chain(query.order.iter().map(|order| &order.expr)).collect();
    while let Some(expr) = left.pop() {
        if let ExprKind::Call(call) = &expr.kind {
            found.push(call);
        }
        left.extend(expr.children());
    }
    found.into_iter()
}

/// `SELECT COUNT(*), MAX(a)`: one row of each shard, one row in all.
fn totals(scope: &Scope<'_>, select: &Select, query: &Query) -> Result<Merge, Refusal> {
    let one = |item: &Item| {
        let Item::Expr(Expr { kind: ExprKind::Call(call), .. }, _) = item else { return None };
        let name = scope.text.name(call.name.last());
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        match () {
            () if call.arguments.iter().any(|argument| contains_call(scope, argument)) => None,
            () if is(b"MIN") => Some(Total::Min),
            () if is(b"MAX") => Some(Total::Max),
            () if call.distinct => None,
            () if is(b"COUNT") => Some(Total::Count),
            () if is(b"SUM") => Some(Total::Sum),
            () => None,
        }
    };
    let totals: Option<Vec<_>> = select.items.iter().map(one).collect();
    match totals {
        Some(totals) if query.limit.is_none() && query.order.is_empty() => Ok(Merge::Totals(totals)),
        _ => refuse(Reason::AggregateAcrossShards, "These aggregates on several shards"),
    }
}

/// An aggregate inside an aggregate's argument is an error to servers; they shall say it.
fn contains_call(scope: &Scope<'_>, expr: &Expr) -> bool {
    let own = matches!(&expr.kind, ExprKind::Call(call) if {
        let name = scope.text.name(call.name.last());
        AGGREGATES.iter().any(|aggregate| aggregate.eq_ignore_ascii_case(&name))
    });
    own || expr.children().any(|child| contains_call(scope, child))
}

fn cut(scope: &Scope<'_>, limit: &Limit) -> Result<Cut, Refusal> {
    let operand = |expr: &Expr| match KeySource::of(scope.text, expr) {
        Some(source @ (KeySource::Literal { negative: false, .. } | KeySource::Parameter(_))) => {
            Ok(Operand { token: expr.first, source })
        }
        _ => refuse(Reason::LimitNotConstant, "LIMIT on several shards is no number"),
    };
    Ok(Cut { count: operand(&limit.count)?, offset: limit.offset.as_ref().map(operand).transpose()? })
}

/// The column of the result that an item of ORDER BY is.
fn sort_key(
    scope: &Scope<'_>,
    select: &Select,
    top: Option<BlockIx>,
    order: &Order,
) -> Result<SortKey, Refusal> {
    let by = sort_by(scope, select, top, &order.expr);
    match by {
        Some(by) => Ok(SortKey { by, descending: order.descending }),
        None => refuse(Reason::OrderAcrossShards, "ORDER BY on several shards by what is not selected"),
    }
}

fn sort_by(scope: &Scope<'_>, select: &Select, top: Option<BlockIx>, expr: &Expr) -> Option<SortBy> {
    let text = scope.text;
    if let ([Item::Star], ExprKind::Column(path)) = (&select.items[..], &expr.kind) {
        let tables = top.and_then(|top| scope.blocks.get(top)).map_or(0, |block| block.instances.len());
        return (tables == 1).then(|| SortBy::Named(text.name(path.last()).into_owned()));
    }
    // With a star among the items their places are not known.
    let items = select.items.iter().map(|item| match item {
        Item::Expr(expr, alias) => Some((expr, *alias)),
        Item::Star | Item::TableStar(_) => None,
    });
    let items = items.collect::<Option<Vec<_>>>()?;
    let position = match &expr.kind {
        // The number itself is part of the statement's shape.
        ExprKind::Literal { at, negative: false, typed: None } => {
            let number: usize = std::str::from_utf8(text.bytes(*at)).ok()?.parse().ok()?;
            number.checked_sub(1).filter(|position| *position < items.len())?
        }
        ExprKind::Column(path) => {
            let name = text.name(path.last());
            let same = |other: &[u8]| other.eq_ignore_ascii_case(&name);
            let matches = items.iter().enumerate().filter(|(_, (item, alias))| {
                let column = match &item.kind {
                    ExprKind::Column(column) => Some(column),
                    _ => None,
                };
                match (path.qualifiers(), alias, column) {
                    ([], Alias::Name(alias), _) => same(&text.name(*alias)),
                    ([], Alias::None, Some(column)) => same(&text.name(column.last())),
                    ([.., table], _, Some(column)) => {
                        let theirs = column.qualifiers().last();
                        let own_table = theirs.is_some_and(|theirs| text.name(*theirs) == text.name(*table));
                        own_table && same(&text.name(column.last()))
                    }
                    _ => false,
                }
            });
            let mut matches = matches.map(|(position, _)| position);
            let first = matches.next()?;
            matches.next().is_none().then_some(first)?
        }
        _ => return None,
    };
    Some(SortBy::Position(position))
}
