//! Views: which run on every shard, and which stay at home.
//!
//! Owns: the heads of these statements, and what a view over sharded tables must be. Does not know: how a view is read (like any table of the
//! rules). Invariant: a view that is made has each of its rows in one shard, under the key that the rules give it.

use super::reader::{Name, Reader, Sharded, What};
use crate::plan::sharded::across;
use crate::plan::sharded::derived;
use crate::plan::sharded::parse::parse;
use crate::plan::sharded::parse::statement::Statement;
use crate::plan::sharded::parse::text::{At, Text};
use crate::plan::sharded::parse::tree::{Alias, ExprKind, Item, Select};
use crate::plan::sharded::planned::{Definition, Leaves, Needs, Planned, Target};
use crate::plan::sharded::planner::{Meaning, Planner};
use crate::plan::sharded::refusal::{Reason, Refusal, shown};
use crate::plan::sharded::route::{self, Request};
use crate::plan::sharded::scope::{Instance, Scope, What as Source};
use crate::shard::Table;

/// Words between CREATE or ALTER and VIEW.
const HEAD: &[&[u8]] =
    &[b"OR", b"REPLACE", b"ALGORITHM", b"UNDEFINED", b"MERGE", b"TEMPTABLE", b"DEFINER", b"SQL", b"SECURITY"];

/// Plans a statement about a view that names listed tables; `None` for all others.
pub(in crate::plan::sharded) fn plan(
    text: &Text,
    planner: &Planner,
    request: &Request<'_>,
    mentions: &[At],
) -> Option<Result<Planned, Refusal>> {
    let mut reader = Reader::new(text, planner, request.database);
    if text.is_word(0, b"DROP") {
        reader.at = 1;
        return reader.word(b"VIEW").then(|| dropped(reader, mentions));
    }
    if !text.is_one_of(0, &[b"CREATE", b"ALTER"]) {
        return None;
    }
    let view = (1..text.len()).find(|at| text.is_word(*at, b"VIEW"))?;
    // A user's name may be anything, and a host's.
    let is_head = |at: At| {
        text.is_one_of(at, HEAD)
            || (2..=6).any(|back| text.is_word(at.wrapping_sub(back), b"DEFINER"))
            || text.is(at, b'=')
            || text.is(at.wrapping_sub(1), b'=')
    };
    if !(1..view).all(is_head) {
        return None;
    }
    let replaces = (1..view).any(|at| text.is_word(at, b"REPLACE"));
    reader.at = view + 1;
    Some(made(reader, request, mentions, replaces))
}

/// DROP VIEW.
fn dropped(mut reader: Reader<'_>, mentions: &[At]) -> Result<Planned, Refusal> {
    let maybe = reader.words(&[b"IF", b"EXISTS"]);
    let needs = if maybe { Needs::Either } else { Needs::Present };
    let mut views = Vec::new();
    loop {
        views.push(reader.table()?);
        if !reader.punct(b',') {
            break;
        }
    }
    reader.word_of(&[b"RESTRICT", b"CASCADE"]);
    reader.end()?;
    reader.all_understood(mentions)?;
    if views.iter().all(|view| matches!(view.what, What::Home)) {
        return Ok(Planned::Home);
    }
    let mut own: Option<Sharded<'_>> = None;
    for view in &views {
        let sharded = view.sharded().ok_or_else(|| elsewhere(view))?;
        let other = own.replace(sharded);
        if other.is_some_and(|own| {
            (&own.database.name, own.keyspace) != (&sharded.database.name, sharded.keyspace)
        }) {
            return Err(Refusal::new(Reason::TwoKeyspaces, "Views of two keyspaces are dropped at once"));
        }
    }
    let Some(own) = own else { return Ok(Planned::Home) };
    let targets = views.iter().map(|view| target(view, needs, Leaves::Absent)).collect();
    Ok(definition(reader, own, "drop view", targets))
}

/// CREATE VIEW, ALTER VIEW from the name on.
fn made(
    mut reader: Reader<'_>,
    request: &Request<'_>,
    mentions: &[At],
    replaces: bool,
) -> Result<Planned, Refusal> {
    let text = reader.text;
    let alters = text.is_word(0, b"ALTER");
    let maybe = reader.words(&[b"IF", b"NOT", b"EXISTS"]);
    let view = reader.table()?;
    let named = match text.is(reader.at, b'(') {
        true => {
            let end = reader.behind_bracket(reader.at);
            let parts = reader.parts(reader.at + 1, end.saturating_sub(1));
            reader.at = end;
            parts.into_iter().map(|part| text.name(part.start).into_owned()).collect()
        }
        false => Vec::new(),
    };
    if !reader.word(b"AS") {
        return Err(reader.not_understood());
    }
    let own = match view.what {
        What::Home => return at_home(&reader, request, &view, mentions),
        What::Reference(_) => return Err(elsewhere(&view)),
        What::Sharded(own) => own,
    };
    let unlike = |what: &str| Err(Refusal::new(Reason::View, format!("The view {} {what}", view.shown())));
    let (words, parsed) = parse(Text::new(request.sql, request.lexing), reader.at, request.modes);
    let Ok(Statement::Query(query)) = parsed else {
        return unlike("has a query that is not understood");
    };
    let mut scope = Scope::new(&words, reader.planner(), request.database);
    scope.query(&query, None, false)?;
    route::understood(&scope, mentions)?;
    scope.functions(request.recognised.uses)?;
    let tables = scope.tables()?;
    let is_of_keyspace = tables
        .is_some_and(|tables| tables.database.name == own.database.name && tables.keyspace == own.keyspace);
    if !is_of_keyspace {
        return unlike("reads no table of the keyspace that the rules give it");
    }
    let mut parts = Vec::new();
    let tops = scope.tops(&query.body);
    let of_rows = derived::rows(&query, &mut parts).is_some()
        && parts.iter().all(|part| across::is_of_shards(&scope, part))
        && route::are_tied(&scope, &tops);
    if !of_rows {
        return unlike("would not have each of its rows in one shard");
    }
    for (place, column) in own.key.iter().enumerate() {
        if !has_key(&scope, &parts, place, column, &named) {
            let what = format!(
                "does not give the key of its tables as {}, its key by the rules",
                shown(column.as_bytes())
            );
            return unlike(&what);
        }
    }
    let (verb, needs) = match (alters, maybe || replaces) {
        (true, _) => ("alter view", Needs::Present),
        (false, true) => ("create view", Needs::Either),
        (false, false) => ("create view", Needs::Absent),
    };
    let leaves = if alters || replaces { Leaves::Changed } else { Leaves::Present };
    let targets = vec![target(&view, needs, leaves)];
    reader.edits.extend(scope.edits.iter().cloned());
    Ok(definition(reader, own, verb, targets))
}

/// A view that no rule lists is at home, and sees what is there: reference tables, but none that is on shards.
fn at_home(
    reader: &Reader<'_>,
    request: &Request<'_>,
    view: &Name<'_>,
    mentions: &[At],
) -> Result<Planned, Refusal> {
    let text = reader.text;
    let is_reference = |at: &At| {
        let qualified = *at >= 2 && text.is(at - 1, b'.');
        let schema = if qualified { Some(text.name(at - 2)) } else { request.database.map(Into::into) };
        matches!(
            reader.planner().table(schema.as_deref(), &text.name(*at)),
            Meaning::Listed(_, Table::Reference { .. })
        )
    };
    if mentions.iter().all(is_reference) {
        return Ok(Planned::Home);
    }
    let what = format!("The view {} would be at home, and names tables that are on shards", view.shown());
    Err(Refusal::new(Reason::View, what))
}

/// Whether the view's column of this name is the key's own, in all parts of its query.
fn has_key(scope: &Scope<'_>, parts: &[&Select], place: usize, column: &str, named: &[Vec<u8>]) -> bool {
    let Some(first) = parts.first() else { return false };
    let is_called = |name: &[u8]| name.eq_ignore_ascii_case(column.as_bytes());
    let own = first.items.iter().position(|item| match item {
        Item::Expr(_, Alias::Name(alias)) => is_called(&scope.text.name(*alias)),
        Item::Expr(expr, Alias::None) => match &expr.kind {
            ExprKind::Column(path) => is_called(&scope.text.name(path.last())),
            _ => false,
        },
        _ => false,
    });
    let is_key_at = |select: &Select, at: usize| match select.items.get(at) {
        Some(Item::Expr(expr, _)) => is_key(scope, &expr.kind, select, place),
        _ => false,
    };
    let is_plain = |select: &&Select| select.items.iter().all(|item| matches!(item, Item::Expr(..)));
    if !named.is_empty() || parts.len() > 1 {
        // Columns are told apart by their places, which a star hides.
        let at = if named.is_empty() { own } else { named.iter().position(|name| is_called(name)) };
        return parts.iter().all(is_plain)
            && at.is_some_and(|at| parts.iter().all(|select| is_key_at(select, at)));
    }
    match own {
        Some(at) => is_key_at(first, at),
        // A view has no two columns of one name: the star's is that of the only table.
        None => {
            first.items.iter().any(|item| matches!(item, Item::Star))
                && is_of_one(scope, first, place, column)
        }
    }
}

/// Whether a SELECT reads one table alone, whose key has this column.
fn is_of_one(scope: &Scope<'_>, select: &Select, place: usize, column: &str) -> bool {
    let block = scope.selects.get(&select.at).and_then(|reach| scope.blocks.get(reach.block));
    let mut tables =
        block.into_iter().flat_map(|block| &block.instances).filter_map(|at| scope.instances.get(*at));
    let has_key = |own: &Instance<'_>| matches!(own.what, Source::Sharded { key, .. } if key.get(place).is_some_and(|own| own.eq_ignore_ascii_case(column)));
    tables.next().is_some_and(has_key) && tables.next().is_none()
}

fn is_key(scope: &Scope<'_>, expr: &ExprKind, select: &Select, place: usize) -> bool {
    let (ExprKind::Column(path), Some(reach)) = (expr, scope.selects.get(&select.at)) else { return false };
    scope.key_column(path, reach.block).is_some_and(|(instance, own)| {
        let kept = |own: &Instance<'_>| own.nullable.is_empty() && own.block == reach.block;
        own == place && scope.instances.get(instance).is_some_and(kept)
    })
}

fn target(view: &Name<'_>, needs: Needs, leaves: Leaves) -> Target {
    Target { table: String::from_utf8_lossy(&view.own).into_owned(), needs, leaves }
}

fn definition(mut reader: Reader<'_>, own: Sharded<'_>, verb: &'static str, targets: Vec<Target>) -> Planned {
    reader.edits.sort_by_key(|edit| edit.token);
    reader.edits.dedup();
    Planned::Definition(Box::new(Definition {
        database: own.database.name.clone(),
        keyspace: Some(own.keyspace),
        verb,
        targets,
        again: false,
        edits: reader.edits,
    }))
}

fn elsewhere(view: &Name<'_>) -> Refusal {
    let what = format!("{} is no view on shards by the rules", view.shown());
    Refusal::new(Reason::View, what)
}
