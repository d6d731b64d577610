//! From sqlparser's queries to ours.
//!
//! Owns: which of its forms are MySQL's. Does not know: expressions, which are ours already.
//! Invariant: a form that MySQL does not have, or that we have not thought of, is an error.

use sqlparser::ast;
use sqlparser::parser::ParserError;

use super::dialect::{Ours, fail};
use super::expression::Parsed;
use super::feed::number;
use super::text::At;
use super::tree::{
    Alias, Body, Common, Expr, Item, Join, JoinKind, Limit, Order, Path, Query, Select, Set, Source,
};

/// A query.
pub(super) fn lower(ours: &Ours, query: ast::Query) -> Parsed<Query> {
    let odd = query.fetch.is_some()
        || query.for_clause.is_some()
        || query.settings.is_some()
        || query.format_clause.is_some()
        || !query.pipe_operators.is_empty();
    if odd {
        return Err(foreign());
    }
    let (recursive, with) = match query.with {
        Some(with) => (with.recursive, with.cte_tables),
        None => (false, Vec::new()),
    };
    let order = match query.order_by {
        None => Vec::new(),
        Some(ast::OrderBy { kind: ast::OrderByKind::Expressions(list), interpolate: None }) => {
            list.into_iter().map(|item| order_item(ours, item)).collect::<Parsed<_>>()?
        }
        Some(_) => return Err(foreign()),
    };
    Ok(Query {
        recursive,
        with: with.into_iter().map(|cte| common(ours, cte)).collect::<Parsed<_>>()?,
        body: body(ours, *query.body)?,
        order,
        limit: query.limit_clause.map(|clause| limit(ours, clause)).transpose()?,
        locking: !query.locks.is_empty(),
    })
}

fn foreign() -> ParserError {
    fail("a form that MySQL does not have")
}

/// A common table expression.
pub(super) fn common(ours: &Ours, cte: ast::Cte) -> Parsed<Common> {
    if cte.from.is_some() || cte.materialized.is_some() {
        return Err(foreign());
    }
    Ok(Common { name: ident(&cte.alias.name)?, query: lower(ours, *cte.query)? })
}

fn body(ours: &Ours, body: ast::SetExpr) -> Parsed<Body> {
    Ok(match body {
        ast::SetExpr::Select(select) => Body::Select(Box::new(self::select(ours, *select)?)),
        ast::SetExpr::Query(query) => Body::Query(Box::new(lower(ours, *query)?)),
        ast::SetExpr::SetOperation { left, right, set_quantifier, op } => {
            use ast::SetQuantifier::{All, Distinct, None};
            if !matches!(set_quantifier, All | Distinct | None) {
                return Err(foreign());
            }
            let (union, all) = (op == ast::SetOperator::Union, set_quantifier == All);
            let (left, right) = (self::body(ours, *left)?, self::body(ours, *right)?);
            Body::Set(Box::new(Set { union, all, left, right }))
        }
        ast::SetExpr::Values(values) => {
            let values = values.rows.iter().flat_map(|row| &row.content);
            Body::Values(values.map(|value| ours.take(value)).collect::<Parsed<_>>()?)
        }
        _ => return Err(foreign()),
    })
}

fn select(ours: &Ours, select: ast::Select) -> Parsed<Select> {
    let odd = select.top.is_some()
        || select.exclude.is_some()
        || select.into.is_some()
        || select.prewhere.is_some()
        || select.qualify.is_some()
        || select.value_table_mode.is_some()
        || !select.lateral_views.is_empty()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || select.flavor != ast::SelectFlavor::Standard;
    if odd {
        return Err(foreign());
    }
    let distinct = match select.distinct {
        None | Some(ast::Distinct::All) => false,
        Some(ast::Distinct::Distinct) => true,
        Some(ast::Distinct::On(_)) => return Err(foreign()),
    };
    let ast::GroupByExpr::Expressions(group, modifiers) = select.group_by else {
        return Err(foreign());
    };
    if !modifiers.iter().all(|modifier| *modifier == ast::GroupByWithModifier::Rollup) {
        return Err(foreign());
    }
    let rollup = !modifiers.is_empty();
    let elaborate = rollup || !select.named_window.is_empty();
    Ok(Select {
        at: number(select.select_token.0.span).ok_or_else(foreign)?,
        distinct,
        items: items(ours, select.projection)?,
        from: sources(ours, select.from)?,
        filter: expression(ours, select.selection)?,
        group: group.iter().map(|expr| ours.take(expr)).collect::<Parsed<_>>()?,
        having: expression(ours, select.having)?,
        windows: windows(ours, select.named_window)?,
        rollup,
        elaborate,
    })
}

fn windows(ours: &Ours, windows: Vec<ast::NamedWindowDefinition>) -> Parsed<Vec<Expr>> {
    let mut exprs = Vec::new();
    for ast::NamedWindowDefinition(_, window) in windows {
        let ast::NamedWindowExpr::WindowSpec(window) = window else { return Err(foreign()) };
        // Bounds of a frame are expressions too; sqlparser's tree has them inside.
        if window.window_frame.is_some() {
            return Err(foreign());
        }
        let order = window.order_by.iter().map(|order| &order.expr);
        for expr in window.partition_by.iter().chain(order) {
            exprs.push(ours.take(expr)?);
        }
    }
    Ok(exprs)
}

/// A select list.
pub(super) fn items(ours: &Ours, items: Vec<ast::SelectItem>) -> Parsed<Vec<Item>> {
    use ast::SelectItem::{ExprWithAlias, QualifiedWildcard, UnnamedExpr, Wildcard};
    let item = |item| {
        Ok(match item {
            Wildcard(_) => Item::Star,
            QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                Item::TableStar(path(&name)?)
            }
            UnnamedExpr(expr) => Item::Expr(ours.take(&expr)?, Alias::None),
            // sqlparser keeps no place of a string.
            ExprWithAlias { expr, alias } => {
                Item::Expr(ours.take(&expr)?, number(alias.span).map_or(Alias::Text, Alias::Name))
            }
            _ => return Err(foreign()),
        })
    };
    items.into_iter().map(item).collect()
}

fn expression(ours: &Ours, expr: Option<ast::Expr>) -> Parsed<Option<Expr>> {
    expr.map(|expr| ours.take(&expr)).transpose()
}

/// An item of ORDER BY.
pub(super) fn order_item(ours: &Ours, item: ast::OrderByExpr) -> Parsed<Order> {
    let descending = match item.options.sort {
        None | Some(ast::OrderBySort::Asc) => false,
        Some(ast::OrderBySort::Desc) => true,
        Some(ast::OrderBySort::Using(_)) => return Err(foreign()),
    };
    if item.options.nulls_first.is_some() || item.with_fill.is_some() {
        return Err(foreign());
    }
    Ok(Order { expr: ours.take(&item.expr)?, descending })
}

fn limit(ours: &Ours, clause: ast::LimitClause) -> Parsed<Limit> {
    Ok(match clause {
        ast::LimitClause::OffsetCommaLimit { offset, limit } => {
            Limit { count: ours.take(&limit)?, offset: Some(ours.take(&offset)?) }
        }
        ast::LimitClause::LimitOffset { limit: Some(limit), offset, limit_by } if limit_by.is_empty() => {
            let offset = offset.map(|offset| ours.take(&offset.value)).transpose()?;
            Limit { count: ours.take(&limit)?, offset }
        }
        ast::LimitClause::LimitOffset { .. } => return Err(foreign()),
    })
}

/// What stands between the commas of FROM.
pub(super) fn sources(ours: &Ours, list: Vec<ast::TableWithJoins>) -> Parsed<Vec<Source>> {
    list.into_iter().map(|joined| joins(ours, joined)).collect()
}

fn joins(ours: &Ours, joined: ast::TableWithJoins) -> Parsed<Source> {
    use ast::JoinOperator as Op;
    let mut left = source(ours, joined.relation)?;
    for join in joined.joins {
        if join.global {
            return Err(foreign());
        }
        let (kind, constraint) = match join.join_operator {
            Op::Join(on) | Op::Inner(on) | Op::CrossJoin(on) | Op::StraightJoin(on) => (JoinKind::Inner, on),
            Op::Left(on) | Op::LeftOuter(on) => (JoinKind::Left, on),
            Op::Right(on) | Op::RightOuter(on) => (JoinKind::Right, on),
            _ => return Err(foreign()),
        };
        let right = source(ours, join.relation)?;
        let (on, using) = match constraint {
            ast::JoinConstraint::On(expr) => (Some(ours.take(&expr)?), Vec::new()),
            ast::JoinConstraint::Using(columns) => {
                let columns = columns.iter().map(|column| Ok(path(column)?.last()));
                (None, columns.collect::<Parsed<_>>()?)
            }
            // NATURAL: which columns are equal is the servers' knowledge.
            ast::JoinConstraint::Natural | ast::JoinConstraint::None => (None, Vec::new()),
        };
        left = Source::Join(Box::new(Join { left, right, kind, on, using }));
    }
    Ok(left)
}

fn source(ours: &Ours, factor: ast::TableFactor) -> Parsed<Source> {
    match factor {
        ast::TableFactor::Table {
            name,
            alias,
            args: None,
            with_hints,
            version: None,
            with_ordinality: false,
            partitions,
            json_path: None,
            sample: None,
            index_hints: _,
        } if with_hints.is_empty() => {
            let name = path(&name)?;
            let partition = partitions.last().map(ident).transpose()?.map(|last| last + 2);
            let end = partition.unwrap_or(name.last() + 1);
            Ok(Source::Table { name, alias: self::alias(alias.as_ref())?, end })
        }
        ast::TableFactor::Derived { lateral, subquery, alias, sample: None } => {
            let query = Box::new(lower(ours, *subquery)?);
            let alias = match &alias {
                // `AS t (a, b)` renames the columns, which nothing here relies on.
                Some(alias) if alias.at.is_none() => Some(ident(&alias.name)?),
                Some(_) => return Err(foreign()),
                None => None,
            };
            Ok(Source::Derived { query, alias, lateral })
        }
        ast::TableFactor::NestedJoin { table_with_joins, alias: None } => joins(ours, *table_with_joins),
        _ => Err(foreign()),
    }
}

fn alias(alias: Option<&ast::TableAlias>) -> Parsed<Option<At>> {
    match alias {
        None => Ok(None),
        Some(alias) if alias.columns.is_empty() && alias.at.is_none() => ident(&alias.name).map(Some),
        Some(_) => Err(foreign()),
    }
}

/// A name's token. A string in its place has none.
pub(super) fn ident(ident: &ast::Ident) -> Parsed<At> {
    number(ident.span).ok_or_else(foreign)
}

/// A name with its qualifiers.
pub(super) fn path(name: &ast::ObjectName) -> Parsed<Path> {
    let parts = name.0.iter().map(|part| match part {
        ast::ObjectNamePart::Identifier(part) => ident(part),
        ast::ObjectNamePart::Function(_) => Err(foreign()),
    });
    let parts = parts.collect::<Parsed<Vec<_>>>()?;
    Path::new(&parts).ok_or_else(foreign)
}
