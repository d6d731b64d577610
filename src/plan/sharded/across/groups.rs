//! GROUP BY and aggregates: groups that several shards have parts of.
//!
//! Owns: what rows of a group agree in, the columns of a group's row, the order of groups. Does not know: how one column is folded
//! (`whole`), HAVING (`having`). Invariant: no shard leaves out a part of a group that is in the result.

use super::super::edits::{Edit, NameEdit, Piece};
use super::super::keys::KeySource;
use super::super::parse::text::{At, Text};
use super::super::parse::tree::{Alias, Call, Expr, ExprKind, Path, Query, Select};
use super::super::planned::{Finishing, Merged};
use super::super::refusal::{Reason, Refusal};
use super::aggregates::{has_aggregate, is_aggregate, is_extreme};
use super::columns::{Columns, text};
use super::cut;
use super::joined::asks_for_finer;
use super::order::Sorted;
use super::rollup::Levels;
use super::rows::arrival;
use super::whole::FINER_MAX;
use crate::merge::{Combine, Fold, Groups, Key, Output, Pad, Spec};
use crate::sql::Dialect;

/// A query with groups.
pub(super) struct Grouping<'c, 'q> {
    pub columns: &'c mut Columns<'q>,
    pub select: &'q Select,
    /// What rows of a group agree in.
    pub keys: Vec<Key>,
    /// Columns of a group's row behind those of the select list.
    hidden: Vec<Output>,
    /// Numbers in HAVING and in expressions.
    pub numbers: Vec<KeySource>,
    /// Strings between texts that are joined.
    pub texts: Vec<KeySource>,
    /// All rows are one group.
    pub always: bool,
    /// Shards' groups are finer than those that are asked for.
    pub is_finer: bool,
    /// What shards group by besides, with its place: the values of aggregates that count each once.
    pub finer: Vec<(usize, Piece)>,
    /// Columns that a server computes in the end.
    pub finished: Vec<Finishing>,
    /// The order in which texts are joined: that of the shards' rows.
    pub joined_by: Option<Vec<Key>>,
    /// WITH ROLLUP of MariaDB.
    pub levels: Levels,
}

/// What groups are sorted by.
pub(super) enum By {
    /// Something that all rows of a group have: the shards sort by it.
    Key(Key),
    /// A column of a group's row.
    Output(usize),
}

impl<'c, 'q> Grouping<'c, 'q> {
    /// For groups of which `calls` are asked.
    pub fn new(columns: &'c mut Columns<'q>, select: &'q Select, calls: &[&Call]) -> Result<Self, Refusal> {
        let always = select.group.is_empty();
        let words = columns.scope.text;
        let is_finer = calls.iter().any(|call| {
            let once = call.distinct && is_aggregate(words, call) && !is_extreme(words, call);
            once && !columns.is_keyed(call) || asks_for_finer(words, call)
        });
        if select.rollup && is_finer {
            return Err(grouped("WITH ROLLUP beside DISTINCT or sorted aggregates,"));
        }
        let (keys, hidden, numbers, texts, finer) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Ok(Self {
            columns,
            select,
            keys,
            hidden,
            numbers,
            texts,
            always,
            is_finer,
            finer,
            finished: Vec::new(),
            joined_by: None,
            levels: Levels::default(),
        })
    }

    /// The merge; `is_bare` where nothing follows the query.
    pub fn merged(mut self, query: &'q Query, is_bare: bool) -> Result<Merged, Refusal> {
        let select = self.select;
        for expr in &select.group {
            let key = self.group_key(expr)?;
            let place = key.place;
            self.keys.push(key);
            if select.rollup {
                self.level(expr, place)?;
            }
        }
        let mut outputs = Vec::new();
        for place in 0..self.columns.items.len() {
            let Some((expr, _)) = self.columns.items.get(place).copied().flatten() else {
                return Err(grouped("* of groups"));
            };
            if !self.is_level(expr, place) {
                return Err(grouped("What sums have of any row, WITH ROLLUP of MariaDB,"));
            }
            outputs.push(Output { place, fold: self.fold(expr, place)? });
        }
        let (having, without) = self.having()?;
        // One row needs no order.
        let orders = if self.always { &[][..] } else { &query.order };
        let mut by = Vec::new();
        for order in orders {
            by.push((self.by(&order.expr, &outputs)?, order.descending));
        }
        let is_finished = |place: usize| {
            let output = outputs.get(place).or_else(|| self.hidden.get(place.checked_sub(outputs.len())?));
            output.is_some_and(|output| output.fold == Fold::Finished)
        };
        if by.iter().any(|(by, _)| matches!(by, By::Output(place) if is_finished(*place))) {
            return Err(ordered("an expression that a server computes in the end"));
        }
        if having.as_ref().is_some_and(|having| having.asks(&is_finished)) {
            return Err(super::having::refused());
        }
        let is_extreme = |place: usize| {
            let output = outputs.get(place).or_else(|| self.hidden.get(place.checked_sub(outputs.len())?));
            output.is_some_and(|output| matches!(output.fold, Fold::Least(_) | Fold::Greatest(_)))
        };
        let sorts_extremes = by.iter().any(|(by, _)| matches!(by, By::Output(place) if is_extreme(*place)));
        let mut spec = Spec { levels: std::mem::take(&mut self.levels.levels), having, ..Spec::default() };
        let (mut pushed, mut by_keys) = (false, Vec::new());
        if self.joined_by.is_none() && by.iter().all(|(by, _)| matches!(by, By::Key(_))) {
            let sorted = by.into_iter().filter_map(|(by, descending)| match by {
                By::Key(key) => Some(Key { descending, ..key }),
                By::Output(_) => None,
            });
            let sorted: Vec<_> = sorted.collect();
            // The first groups of all are among the first of each shard that has them; by anything else (the length of a text) parts of one
            // group may stand apart.
            let has = |keys: &[Key], one: &Key| keys.iter().any(|own| own.place == one.place);
            let whole = self.keys.iter().all(|key| has(&sorted, key))
                && sorted.iter().all(|key| has(&self.keys, key));
            pushed = whole && !self.always && spec.having.is_none() && self.finer.is_empty();
            by_keys.clone_from(&sorted);
            spec.arrival = arrival(sorted);
        } else {
            for (by, descending) in by {
                if let By::Key(key) = &by {
                    by_keys.push(key.clone());
                }
                let key = self.order(by, &outputs);
                spec.order.push(Key { descending, ..key });
            }
        }
        if select.rollup && orders.is_empty() {
            spec.order = self.rolled(&outputs);
        }
        if let Some(joined_by) = &self.joined_by {
            spec.arrival = arrival(joined_by.clone());
        }
        if !self.finer.is_empty() && !self.is_whole(&outputs, &by_keys) {
            return Err(grouped("A column that GROUP BY does not name, beside DISTINCT aggregates,"));
        }
        let mut edits = self.finer(query, is_bare)?;
        edits.append(&mut self.levels.edits);
        if sorts_extremes && self.joined_by.is_some() && self.columns.scope.text.dialect() == Dialect::MariaDb
        {
            // Where MariaDB groups by sorting alone, it tells of the least ENUM or SET as of a text, which it is not sorted as.
            edits.push(NameEdit { token: select.at, edit: Edit::After(vec![text(" SQL_BUFFER_RESULT")]) });
        }
        self.join_in_order(query, is_bare, without, &mut edits)?;
        let limit = cut(self.columns.scope, query.limit.as_ref(), pushed)?;
        spec.hidden = self.hidden.len();
        outputs.append(&mut self.hidden);
        spec.combine = Combine::Groups(Groups { keys: self.keys, outputs, always: self.always });
        Ok(Merged {
            spec,
            limit,
            edits,
            numbers: self.numbers,
            texts: self.texts,
            finished: self.finished,
            ..Merged::default()
        })
    }

    /// Whether all that is shown or sorted by, and is no aggregate, is what GROUP BY names: in finer groups servers would allow more.
    fn is_whole(&self, outputs: &[Output], by: &[Key]) -> bool {
        let named = |place: usize| self.keys.iter().any(|key| key.place == place);
        let shown = outputs.iter().filter(|output| output.fold == Fold::Any);
        shown.map(|output| output.place).chain(by.iter().map(|key| key.place)).all(named)
    }

    /// The finer groups in the text.
    fn finer(&self, query: &Query, is_bare: bool) -> Result<Vec<NameEdit>, Refusal> {
        if self.finer.is_empty() {
            return Ok(Vec::new());
        }
        if self.finer.len() > FINER_MAX {
            return Err(grouped("Too many values of DISTINCT or sorted aggregates"));
        }
        let list = |first: &'static str| {
            let mut pieces = Vec::new();
            for (number, (_, piece)) in self.finer.iter().enumerate() {
                pieces.extend([text(if number == 0 { first } else { ", " }), piece.clone()]);
            }
            pieces
        };
        if let Some(last) = self.select.group.last() {
            return Ok(vec![NameEdit { token: last.end.saturating_sub(1), edit: Edit::After(list(", ")) }]);
        }
        let words = self.columns.scope.text;
        // The word that the next clause begins with.
        let next = match &self.select.having {
            Some(having) => having.first.checked_sub(1).filter(|at| words.is_word(*at, b"HAVING")),
            None => order_or_limit(words, query),
        };
        let ends = self.select.having.is_none() && query.order.is_empty() && query.limit.is_none();
        let edit = match next {
            Some(token) => {
                let mut pieces = list("GROUP BY ");
                pieces.push(text(" "));
                NameEdit { token, edit: Edit::Before(pieces) }
            }
            None if ends && is_bare => {
                NameEdit { token: words.len().saturating_sub(1), edit: Edit::After(list(" GROUP BY ")) }
            }
            None => return Err(grouped("DISTINCT aggregates in parentheses")),
        };
        Ok(vec![edit])
    }

    /// What an item of GROUP BY is compared by. A name means a table's column before it means an alias.
    fn group_key(&mut self, expr: &'q Expr) -> Result<Key, Refusal> {
        if self.columns.is_whole(expr) {
            let position = self.columns.position(expr);
            let item = position.and_then(|at| Some((at, self.columns.items.get(at).copied().flatten()?.0)));
            return match item {
                Some((place, own)) if !has_aggregate(self.columns.scope.text, own) => {
                    Ok(self.columns.key(place, own))
                }
                _ => Err(grouped("A position of no column")),
            };
        }
        if matches!(expr.kind, ExprKind::Literal { .. }) {
            return Err(grouped("A literal"));
        }
        if let ExprKind::Column(path) = &expr.kind
            && let Some((place, own)) = self.group_item(expr, path)?
        {
            return Ok(self.columns.key(place, own));
        }
        let place = self.expression_place(expr).ok_or_else(|| grouped("What may differ each time"))?;
        Ok(self.columns.key(place, expr))
    }

    /// The place of an expression. Where it matters that it is shown, an item may be told from it by literals only.
    fn expression_place(&mut self, expr: &Expr) -> Option<usize> {
        let item = if self.is_finer { self.columns.item_like(expr) } else { None };
        item.map(|(place, _)| place).or_else(|| self.columns.expr(expr))
    }

    /// The item of the select list that a name in GROUP BY means; `None` for a column that is not selected.
    fn group_item(&mut self, expr: &Expr, path: &Path) -> Result<Option<(usize, &'q Expr)>, Refusal> {
        let columns = &mut *self.columns;
        let words = columns.scope.text;
        let name = words.name(path.last());
        let (mut column, mut alias) = (None, None);
        for (place, item) in columns.items.iter().enumerate() {
            let Some((own, named)) = item.filter(|(own, named)| columns.answers_to(own, *named, path)) else {
                continue;
            };
            let is_column = matches!(&own.kind, ExprKind::Column(own)
                if words.name(own.last()).eq_ignore_ascii_case(&name));
            let found = if is_column { &mut column } else { &mut alias };
            if found.replace((place, own, named)).is_some() {
                return Err(grouped("A name that several columns have"));
            }
        }
        match (column, alias) {
            (Some((place, own, _)), None) => Ok(Some((place, own))),
            (None, None) => Ok(None),
            // A column that is surely there.
            (None, Some(_)) if columns.tables() == 1 && columns.is_sharding_column(expr) => Ok(None),
            (None, Some((place, own, Alias::Name(alias)))) if !has_aggregate(words, own) => {
                let guarded = columns.guard(alias, self.select);
                guarded.map(|()| Some((place, own))).ok_or_else(|| grouped("An alias of a query inside FROM"))
            }
            _ => Err(grouped("A name that is an alias, too")),
        }
    }

    /// What an item of ORDER BY is.
    fn by(&mut self, expr: &'q Expr, outputs: &[Output]) -> Result<By, Refusal> {
        let (place, expr) = match self.columns.sorted(expr)? {
            Sorted::Item(place, own) => (place, own),
            Sorted::Other(expr) => {
                (self.expression_place(expr).ok_or_else(|| ordered("what may differ each time"))?, expr)
            }
        };
        if has_aggregate(self.columns.scope.text, expr) {
            if place < outputs.len() {
                return Ok(By::Output(place));
            }
            let fold = self.fold(expr, place)?;
            return Ok(By::Output(self.output(Output { place, fold })));
        }
        let known = self.keys.iter().find(|key| key.place == place).cloned();
        Ok(By::Key(known.unwrap_or_else(|| self.columns.key(place, expr))))
    }

    /// A key of combined rows.
    pub fn order(&mut self, by: By, outputs: &[Output]) -> Key {
        let (place, key, fold) = match by {
            By::Key(key) => {
                let place = self.kept(key.place, Fold::Any, outputs);
                (place, key, Fold::Any)
            }
            By::Output(place) => {
                let known = outputs.get(place).or_else(|| self.hidden.get(place - outputs.len()));
                match known.map(|output| output.fold.clone()) {
                    Some(fold @ (Fold::Least(_) | Fold::Greatest(_))) => {
                        let (Fold::Least(key) | Fold::Greatest(key)) = fold.clone() else {
                            return Key::at(place);
                        };
                        (place, key, fold)
                    }
                    _ => return Key::at(place),
                }
            }
        };
        let Some(weight) = key.weight else { return Key::at(place) };
        let pad = match weight.pad {
            Pad::At(space) => Pad::At(self.kept(space, fold.clone(), outputs)),
            pad => pad,
        };
        Key::at(place).weighed(self.kept(weight.place, fold, outputs), pad)
    }

    /// The place in a group's row of the shards' column at `place`.
    fn kept(&mut self, place: usize, fold: Fold, outputs: &[Output]) -> usize {
        let output = Output { place, fold };
        outputs.iter().position(|own| *own == output).unwrap_or_else(|| self.output(output))
    }

    /// Adds a hidden column to a group's row; gives its place.
    pub fn output(&mut self, output: Output) -> usize {
        let known = self.hidden.iter().position(|own| *own == output);
        let at = known.unwrap_or_else(|| {
            self.hidden.push(output);
            self.hidden.len() - 1
        });
        self.columns.items.len() + at
    }
}

/// The word ORDER or LIMIT that follows a query's last SELECT.
pub(super) fn order_or_limit(words: &Text, query: &Query) -> Option<At> {
    let limit = query.limit.iter().flat_map(|limit| limit.offset.iter().chain([&limit.count]));
    match query.order.first() {
        Some(order) => order.expr.first.checked_sub(2).filter(|at| words.is_word(*at, b"ORDER")),
        None => {
            let first = limit.map(|expr| expr.first).min();
            first.and_then(|at| at.checked_sub(1)).filter(|at| words.is_word(*at, b"LIMIT"))
        }
    }
}

pub(super) fn grouped(what: &str) -> Refusal {
    Refusal::new(Reason::GroupAcrossShards, format!("{what} in GROUP BY on several shards"))
}

fn ordered(what: &str) -> Refusal {
    Refusal::new(Reason::OrderAcrossShards, format!("ORDER BY on several shards by {what}"))
}
