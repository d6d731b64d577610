//! A derived table, or a common table expression, whose rows each come from one shard: the query around it reads it as a sharded table.
//!
//! Owns: which statements have one. Does not know: keys, what is done with the rows. Invariant: there is no other derived table, it is read once,
//! and no outer join puts NULLs in the place of its rows, which every shard would have.

use super::across;
use super::parse::tree::{Body, Query, Select, Source};
use super::reach::Reach;
use super::scope::{Scope, What};

/// The SELECTs that it is made of; none where there is no such table.
pub(super) fn selects(scope: &Scope<'_>, query: &Query) -> Vec<Reach> {
    found(scope, query).unwrap_or_default()
}

fn found(scope: &Scope<'_>, query: &Query) -> Option<Vec<Reach>> {
    let select = outer(query)?;
    let block = scope.selects.get(&select.at)?.block;
    let mut read = scope.instances.iter().filter(|instance| matches!(instance.what, What::Query));
    let own = read.next().filter(|own| own.block == block && own.nullable.is_empty())?;
    let mut inside = Vec::new();
    select.from.iter().for_each(|source| derived(source, &mut inside));
    let common = query.with.iter().map(|common| &common.query);
    inside.extend(common);
    let ([inner], None, false) = (&inside[..], read.next(), query.recursive) else { return None };
    // What a name means that is a common table expression's is known where there is one.
    if own.name.is_some() == query.with.is_empty() {
        return None;
    }
    let mut parts = Vec::new();
    rows(inner, &mut parts)?;
    let reach =
        |part: &&Select| across::is_of_shards(scope, part).then(|| scope.selects.get(&part.at).cloned());
    parts.iter().map(|part| reach(part)?).collect()
}

/// The SELECT that reads it.
fn outer(query: &Query) -> Option<&Select> {
    match &query.body {
        Body::Select(select) => Some(select),
        Body::Query(inner) if query.with.is_empty() && inner.with.is_empty() => outer(inner),
        _ => None,
    }
}

/// The derived tables of a FROM.
fn derived<'q>(source: &'q Source, into: &mut Vec<&'q Query>) {
    match source {
        Source::Table { .. } => {}
        Source::Derived { query, .. } => into.push(query),
        Source::Join(join) => {
            derived(&join.left, into);
            derived(&join.right, into);
        }
    }
}

/// The SELECTs whose rows, all together, are the query's.
pub(super) fn rows<'q>(query: &'q Query, into: &mut Vec<&'q Select>) -> Option<()> {
    if query.limit.is_some() || query.locking || !query.with.is_empty() {
        return None;
    }
    of_body(&query.body, into)
}

fn of_body<'q>(body: &'q Body, into: &mut Vec<&'q Select>) -> Option<()> {
    match body {
        Body::Select(select) => into.push(select),
        Body::Query(query) => return rows(query, into),
        Body::Set(set) if set.union && set.all => {
            of_body(&set.left, into)?;
            return of_body(&set.right, into);
        }
        Body::Set(_) | Body::Values(_) => return None,
    }
    Some(())
}
