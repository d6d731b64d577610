//! UNION, EXCEPT and INTERSECT on several shards: each shard makes it of its own rows.
//!
//! Owns: which parts can be in it, ORDER BY and DISTINCT of the whole. Does not know: how one SELECT is merged. Invariant: the shards compute the
//! client's own UNION, so that names and types are the servers'; each row of a part comes from one shard, but for rows that DISTINCT makes one.

use super::super::edits::{Edit, NameEdit, Piece};
use super::super::parse::text::At;
use super::super::parse::tree::{Alias, Body, Expr, ExprKind, Item, Query, Select, Set};
use super::super::planned::Merged;
use super::super::refusal::{Reason, Refusal};
use super::super::scope::{Scope, What};
use super::columns::{Columns, VOLATILE, pad, text};
use super::groups::order_or_limit;
use super::rows::arrival;
use super::{calls, cut, grouping, windows};
use crate::merge::{Combine, Key, Pad, Spec};
use crate::sql::Dialect;

/// What a UNION is called where columns are added to it.
const CALLED: &str = "`tidegate`";

/// A UNION, EXCEPT or INTERSECT; `is_bare` where nothing follows it.
pub(super) fn merged(scope: &Scope<'_>, query: &Query, set: &Set, is_bare: bool) -> Result<Merged, Refusal> {
    if query.locking {
        return Err(Refusal::new(Reason::LockingAcrossShards, "Rows of several shards are locked"));
    }
    let mixed = !set.union || [&set.left, &set.right].into_iter().any(|side| is_mixed(side, set.all));
    let all = set.all && !mixed;
    let mut parts = Vec::new();
    for side in [&set.left, &set.right] {
        selects(side, &mut parts)?;
    }
    for part in &parts {
        check(scope, part, all)?;
    }
    if mixed && !have_key(scope, &parts) {
        return Err(refused(
            "EXCEPT, INTERSECT or UNION ALL behind another UNION, without the key in one place of all parts,",
        ));
    }
    let first = parts.first().ok_or_else(|| refused("VALUES"))?;
    let mut union = Union { scope, parts: &parts, first, hidden: Vec::new() };
    // Rows that are equal have equal keys: they are in one shard, which has told them apart.
    let whole = all || mixed;
    let distinct = if whole { Vec::new() } else { union.all()? };
    let mut order = Vec::new();
    for item in &query.order {
        let key = union.by(&item.expr)?;
        order.push(Key { descending: item.descending, ..key });
    }
    let combine = if whole { Combine::Rows } else { Combine::Distinct(distinct) };
    let hidden = std::mem::take(&mut union.hidden);
    let anonymous = !hidden.is_empty();
    let spec = Spec { arrival: arrival(order), combine, hidden: hidden.len(), anonymous, ..Spec::default() };
    let is_star = |item: &Item| !matches!(item, Item::Expr(..));
    Ok(Merged {
        spec,
        width: first.items.len() + hidden.len(),
        star: first.items.iter().rposition(is_star),
        edits: around(scope, query, hidden, is_bare)?,
        limit: cut(scope, query.limit.as_ref(), true)?,
        ..Merged::default()
    })
}

/// The SELECTs of a side.
fn selects<'q>(body: &'q Body, into: &mut Vec<&'q Select>) -> Result<(), Refusal> {
    match body {
        Body::Select(select) => into.push(select),
        Body::Query(query) => {
            if query.limit.is_some() || query.locking || !query.with.is_empty() {
                return Err(refused("A part with LIMIT, FOR UPDATE or WITH"));
            }
            return selects(&query.body, into);
        }
        Body::Set(set) => {
            selects(&set.left, into)?;
            return selects(&set.right, into);
        }
        Body::Values(_) => return Err(refused("VALUES")),
    }
    Ok(())
}

/// Whether something else than UNION is in it, or UNION within UNION ALL. Within a UNION that tells rows apart, others may be of any kind.
fn is_mixed(body: &Body, all: bool) -> bool {
    match body {
        Body::Query(query) => is_mixed(&query.body, all),
        Body::Set(set) => {
            !set.union || all && !set.all || is_mixed(&set.left, all) || is_mixed(&set.right, all)
        }
        Body::Select(_) | Body::Values(_) => false,
    }
}

/// Whether all parts have the sharding key in the same column, so that rows which are equal are in one shard.
fn have_key(scope: &Scope<'_>, parts: &[&Select]) -> bool {
    let mut common: Option<Vec<usize>> = None;
    for part in parts {
        let block = scope.selects.get(&part.at).map(|reach| reach.block);
        let own = Columns::new(scope, part, block).key_places();
        let both = match common {
            None => own,
            Some(known) => known.into_iter().filter(|place| own.contains(place)).collect(),
        };
        common = Some(both);
    }
    common.is_some_and(|places| !places.is_empty())
}

/// Whether the shards' answers to a part are the part's own.
pub(super) fn check(scope: &Scope<'_>, select: &Select, all: bool) -> Result<(), Refusal> {
    let Some(reach) = scope.selects.get(&select.at) else { return Err(refused("A part")) };
    let mut own = reach.instances.clone().filter_map(|at| scope.instances.get(at));
    if !own.any(|instance| matches!(instance.what, What::Sharded { .. })) {
        // Every shard has these rows; what differs each time would make them several.
        let steady = (0..scope.text.len()).all(|at| !scope.text.is_one_of(at, VOLATILE));
        return if !all && steady { Ok(()) } else { Err(refused("A part without a sharded table")) };
    }
    if select.rollup || all && select.distinct {
        return Err(refused("A part with DISTINCT or WITH ROLLUP"));
    }
    let columns = Columns::new(scope, select, Some(reach.block));
    let calls: Vec<_> = calls(select, &[]).collect();
    windows::check(&columns, select, &calls)?;
    if grouping(scope, select, &calls) && !columns.have_key(&select.group) {
        return Err(refused("A part with aggregates, or groups without the key"));
    }
    Ok(())
}

struct Union<'u, 'q> {
    scope: &'u Scope<'q>,
    parts: &'u [&'q Select],
    first: &'q Select,
    hidden: Vec<Vec<Piece>>,
}

impl Union<'_, '_> {
    /// What tells rows apart: all columns.
    fn all(&mut self) -> Result<Vec<Key>, Refusal> {
        (0..self.first.items.len())
            .map(|place| match self.name(place) {
                _ if self.is_number(place) => Ok(Key::at(place)),
                Some(name) => Ok(self.weighed(Key::at(place), name)),
                None => Err(refused("DISTINCT rows of * or of a column without a name")),
            })
            .collect()
    }

    /// What an item of ORDER BY is: a column of the result.
    fn by(&mut self, expr: &Expr) -> Result<Key, Refusal> {
        let words = self.scope.text;
        let starred = self.first.items.iter().any(|item| !matches!(item, Item::Expr(..)));
        match &expr.kind {
            ExprKind::Literal { at, negative: false, typed: None } if !starred => {
                let number =
                    std::str::from_utf8(words.bytes(*at)).ok().and_then(|number| number.parse().ok());
                let place = number.and_then(|number: usize| number.checked_sub(1));
                match place.filter(|place| *place < self.first.items.len()) {
                    Some(place) if self.is_number(place) => Ok(Key::at(place)),
                    Some(place) => match self.name(place) {
                        Some(name) => Ok(self.weighed(Key::at(place), name)),
                        None => Err(ordered("a column without a name")),
                    },
                    None => Err(ordered("a position of no column")),
                }
            }
            ExprKind::Column(path) if path.qualifiers().is_empty() => {
                let name = words.name(path.last());
                let is_named = |place: &usize| {
                    self.name(*place).is_some_and(|own| words.name(own).eq_ignore_ascii_case(&name))
                };
                let found: Vec<_> = (0..self.first.items.len()).filter(is_named).collect();
                match (&found[..], starred) {
                    ([place], false) if self.is_number(*place) => Ok(Key::at(*place)),
                    ([place], false) => {
                        let own = self.name(*place).unwrap_or_else(|| path.last());
                        Ok(self.weighed(Key::at(*place), own))
                    }
                    ([], true) => {
                        let place = self.add(vec![Piece::Copy(path.last()..path.last() + 1)]);
                        Ok(self.weighed(Key::at(place), path.last()))
                    }
                    _ => Err(ordered("a name that no column has, or several")),
                }
            }
            _ => Err(ordered("more than a column's name or position")),
        }
    }

    /// The name of a column of the result: the first part's.
    fn name(&self, place: usize) -> Option<At> {
        match self.first.items.get(place)? {
            Item::Expr(_, Alias::Name(alias)) => Some(*alias),
            Item::Expr(Expr { kind: ExprKind::Column(path), .. }, Alias::None) => Some(path.last()),
            _ => None,
        }
    }

    /// Whether a column is surely no text: those of all parts are numbers.
    fn is_number(&self, place: usize) -> bool {
        self.parts.iter().all(|part| {
            let block = self.scope.selects.get(&part.at).map(|reach| reach.block);
            let columns = Columns::new(self.scope, part, block);
            let starred = part.items.iter().take(place + 1).any(|item| !matches!(item, Item::Expr(..)));
            match part.items.get(place) {
                Some(Item::Expr(expr, _)) if !starred => columns.is_number(expr),
                _ => false,
            }
        })
    }

    fn weighed(&mut self, key: Key, name: At) -> Key {
        let own = [Piece::Copy(name..name + 1)];
        let weight = self.add([&[text("WEIGHT_STRING(")], &own[..], &[text(")")]].concat());
        let space = self.add(pad(&own));
        let key = key.weighed(weight, Pad::At(space));
        if self.scope.text.dialect() == Dialect::MySql { key.numbered(weight) } else { key }
    }

    fn add(&mut self, pieces: Vec<Piece>) -> usize {
        let at = self.hidden.iter().position(|own| *own == pieces).unwrap_or_else(|| {
            self.hidden.push(pieces);
            self.hidden.len() - 1
        });
        self.first.items.len() + at
    }
}

/// The UNION as a derived table, with columns behind its own; ORDER BY and LIMIT stay where they are.
fn around(
    scope: &Scope<'_>,
    query: &Query,
    hidden: Vec<Vec<Piece>>,
    is_bare: bool,
) -> Result<Vec<NameEdit>, Refusal> {
    if hidden.is_empty() {
        return Ok(Vec::new());
    }
    let words = scope.text;
    let next = order_or_limit(words, query);
    let ends = query.order.is_empty() && query.limit.is_none();
    if !is_bare || !query.with.is_empty() || next.is_none() && !ends {
        return Err(refused("A sorted or DISTINCT UNION in parentheses or with WITH"));
    }
    let mut before = vec![Piece::Text(format!("SELECT {CALLED}.*").into())];
    for (number, pieces) in hidden.into_iter().enumerate() {
        before.push(text(", "));
        before.extend(pieces);
        before.push(Piece::Text(format!(" AS `tidegate {number}`").into()));
    }
    before.push(text(" FROM ("));
    let behind = |space: &str| vec![Piece::Text(format!(") AS {CALLED}{space}").into())];
    let end = match next {
        Some(token) => NameEdit { token, edit: Edit::Before(behind(" ")) },
        None => NameEdit { token: words.len().saturating_sub(1), edit: Edit::After(behind("")) },
    };
    Ok(vec![NameEdit { token: 0, edit: Edit::Before(before) }, end])
}

fn refused(what: &str) -> Refusal {
    Refusal::new(Reason::UnionAcrossShards, format!("{what} in a UNION on several shards"))
}

fn ordered(what: &str) -> Refusal {
    Refusal::new(Reason::OrderAcrossShards, format!("A UNION on several shards is sorted by {what}"))
}
