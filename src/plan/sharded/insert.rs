//! INSERT and REPLACE.
//!
//! Owns: where the key of each row comes from, and what may follow. Does not know: the rows' other values.
//! Invariant: a row goes to the shard of its key, and ON DUPLICATE KEY UPDATE leaves the key as it is.

use std::ops::Range;

use super::copies::Besides;
use super::edits::{Edit, NameEdit};
use super::keys::{KeySource, Narrow};
use super::makes::Makes;
use super::parse::rows::{rows, values};
use super::parse::statement::{Assignment, Insert, Rows};
use super::parse::text::At;
use super::parse::tree::{Body, Expr, ExprKind, Item, Path, Query, Select};
use super::planned::{InsertedRow, Merge, Planned, Routed, Sites, Verb};
use super::planner::Meaning;
use super::refusal::{Reason, Refusal};
use super::route::understood;
use super::scope::{BlockIx, InstanceIx, Scope, What};
use super::unlisted::Unlisted;
use crate::generate::Sequence;
use crate::shard::{Generate, Table};
use crate::sql::Uses;

fn refuse<T>(reason: Reason, what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(reason, what))
}

/// What rows go into.
struct Place<'a> {
    key: &'a [String],
    target: InstanceIx,
    block: BlockIx,
    /// What is selected, where that is so.
    source: Option<BlockIx>,
}

impl Scope<'_> {
    /// INSERT or REPLACE.
    pub(super) fn insert(
        &mut self,
        insert: &Insert,
        mentions: &[At],
        uses: Uses,
    ) -> Result<Planned, Refusal> {
        self.in_place = true;
        let block = self.block(None, false);
        self.table(insert.table, None, None, block)?;
        let target = self.instances.len() - 1;
        let source = match &insert.rows {
            Rows::Query(query) => self.query(query, None, false)?,
            _ => None,
        };
        let sets = match &insert.rows {
            Rows::Set(sets) => &sets[..],
            _ => &[],
        };
        for set in sets.iter().chain(&insert.on_duplicate) {
            self.qualifier(set.column.qualifiers(), block);
            self.expr(&set.value, Some(block))?;
        }
        for column in insert.columns.iter().flatten() {
            self.qualifier(column.qualifiers(), block);
        }
        for item in insert.returning.iter().flatten() {
            self.item(item, block)?;
        }
        understood(self, mentions)?;
        let what = self.instances.get(target).map(|target| &target.what);
        let (key, generate) = match what {
            Some(What::Sharded { key, database, keyspace }) => {
                if let Some(unlisted) = Unlisted::of(self.text, insert, database, *keyspace) {
                    return Ok(Planned::Unlisted(Box::new(unlisted)));
                }
                let table =
                    database.tables.get(&*String::from_utf8_lossy(&self.text.name(insert.table.last())));
                let generate = match table {
                    Some(Table::Sharded { generate, .. }) => generate.as_ref(),
                    _ => None,
                };
                (*key, generate)
            }
            Some(What::Reference) => return self.copied_with_values(insert, target, uses),
            // With a sharded table among those that are read, `tables` refuses.
            _ => return self.tables().map(|_| Planned::Home),
        };
        if let Rows::Values(all) = &insert.rows {
            self.rows_names(all.clone())?;
        }
        let makes = generate.map(|generate| self.makes(insert, generate)).transpose()?.flatten();
        let place = Place { key, target, block, source };
        match makes {
            None => self.placed(insert, uses, &place),
            Some(makes) if makes.surely_needs() => Ok(Planned::Makes(Box::new(makes))),
            Some(mut makes) => {
                makes.otherwise = Some(Box::new(self.placed(insert, uses, &place)?));
                Ok(Planned::Makes(Box::new(makes)))
            }
        }
    }

    /// The values that Tidegate makes.
    fn makes(&mut self, insert: &Insert, generate: &Generate) -> Result<Option<Makes>, Refusal> {
        let Some(tables) = self.tables()? else { return Ok(None) };
        let table = String::from_utf8_lossy(&self.text.name(insert.table.last())).into_owned();
        let sequence = Sequence { database: tables.database.name.clone(), table };
        let bare = Some(Routed {
            database: tables.database.name.clone(),
            keyspace: tables.keyspace,
            verb: if insert.replace { Verb::Replace } else { Verb::Insert },
            sites: Sites::Together { narrows: Vec::new(), given: Vec::new() },
            many: refuse(Reason::MissingKey, "Rows have no values yet"),
            edits: self.sorted_edits(),
            ignores: Vec::new(),
        });
        Makes::of(self.text, insert, generate, sequence, bare)
    }

    fn sorted_edits(&mut self) -> Vec<NameEdit> {
        self.edits.sort_by_key(|edit| edit.token);
        self.edits.dedup();
        self.edits.clone()
    }

    /// Rows with all their values go where their keys lead.
    fn placed(
        &mut self,
        insert: &Insert,
        uses: Uses,
        &Place { key, target, block, source }: &Place<'_>,
    ) -> Result<Planned, Refusal> {
        let Some(tables) = self.tables()? else { return Ok(Planned::Home) };
        self.functions(uses)?;
        self.key_stays(&insert.on_duplicate, insert, (target, block))?;
        let verb = if insert.replace { Verb::Replace } else { Verb::Insert };
        let (sites, many) = match &insert.rows {
            Rows::Values(all) => {
                let places = self.places(insert.columns.as_deref(), key, target)?;
                let columns = insert.columns.as_ref().map_or(0, Vec::len);
                let rows = self.inserted(all.clone(), columns, &places, target)?;
                (Sites::Rows(rows), self.split(insert, uses))
            }
            Rows::Set(sets) => {
                let key = self.key_of_sets(sets, key, target, block)?;
                (Sites::Rows(vec![InsertedRow { tokens: 0..0, key }]), self.split(insert, uses))
            }
            Rows::Query(query) => {
                let places = self.places(insert.columns.as_deref(), key, target)?;
                let narrows = self.selected(query, source, &places, target)?;
                let many = refuse(Reason::InsertSelect, "Rows of several shards are selected and inserted");
                (Sites::Together { narrows, given: Vec::new() }, many)
            }
        };
        let edits = self.sorted_edits();
        let database = tables.database.name.clone();
        let ignores = if self.ignores() { key.to_vec() } else { Vec::new() };
        let plan = Routed { database, keyspace: tables.keyspace, verb, sites, many, edits, ignores };
        Ok(Planned::Routed(Box::new(plan)))
    }

    /// Rows go into a reference table: a value that Tidegate makes is the same in all copies.
    fn copied_with_values(
        &mut self,
        insert: &Insert,
        target: InstanceIx,
        uses: Uses,
    ) -> Result<Planned, Refusal> {
        let name = self.text.name(insert.table.last()).into_owned();
        let schema = self.instances.get(target).and_then(|own| own.schema.clone());
        let (database, generate) = match self.planner.table(schema.as_deref(), &name) {
            Meaning::Listed(database, Table::Reference { generate: Some(generate) }) => (database, generate),
            _ => return self.copied(insert, uses),
        };
        if matches!(insert.rows, Rows::Query(_)) {
            return self.copied(insert, uses);
        }
        let table = String::from_utf8_lossy(&name).into_owned();
        let sequence = Sequence { database: database.name.clone(), table };
        let Some(mut makes) = Makes::of(self.text, insert, generate, sequence, None)? else {
            let what =
                format!("The value of `{}`, which Tidegate makes, has no column's name", generate.column);
            return refuse(Reason::GeneratedUnclear, what);
        };
        if !makes.surely_needs() {
            makes.otherwise = Some(Box::new(self.copied(insert, uses)?));
        }
        Ok(Planned::Makes(Box::new(makes)))
    }

    /// Rows go into a reference table.
    fn copied(&mut self, insert: &Insert, uses: Uses) -> Result<Planned, Refusal> {
        if let Rows::Values(all) = &insert.rows {
            self.rows_names(all.clone())?;
        }
        let verb = if insert.replace { Verb::Replace } else { Verb::Insert };
        let selects = matches!(insert.rows, Rows::Query(_));
        self.copies(verb, Besides { selects, returning: insert.returning.is_some(), limited: false }, uses)
    }

    /// INSERT IGNORE, UPDATE IGNORE: values that do not fit are stored as what fits.
    pub(super) fn ignores(&self) -> bool {
        let text = self.text;
        // Reserved: it is no name. IGNORE INDEX stands behind a table.
        (1..text.len()).filter(|at| text.is_word(*at, b"IGNORE")).any(|at| {
            let priority = text.is_one_of(at - 1, &[b"LOW_PRIORITY", b"HIGH_PRIORITY", b"DELAYED"]);
            let before = if priority { at.saturating_sub(2) } else { at - 1 };
            text.is_one_of(before, &[b"INSERT", b"UPDATE"])
        })
    }

    /// Names in rows, which are not parsed: DATABASE() is the only one that may stand there.
    fn rows_names(&mut self, all: Range<At>) -> Result<(), Refusal> {
        let text = self.text;
        for at in all {
            let asks = text.is_one_of(at, &[b"DATABASE", b"SCHEMA"]);
            if asks && text.is(at + 1, b'(') && text.is(at + 2, b')') {
                self.edits.push(NameEdit { token: at, edit: Edit::CurrentDatabase { named: false } });
            }
            if text.is(at, b'.') {
                return refuse(Reason::NotParsed, "A qualified name stands among the values");
            }
        }
        Ok(())
    }

    /// The places of the key's columns in the list of columns.
    fn places(
        &self,
        columns: Option<&[Path]>,
        key: &[String],
        target: InstanceIx,
    ) -> Result<Vec<usize>, Refusal> {
        let Some(columns) = columns else {
            return self.missing(target); // rows of defaults: see `Unlisted`
        };
        let place = |column: &String| {
            columns
                .iter()
                .position(|path| self.text.name(path.last()).eq_ignore_ascii_case(column.as_bytes()))
        };
        let places: Option<Vec<_>> = key.iter().map(place).collect();
        places.map_or_else(|| self.missing(target), Ok)
    }

    fn missing<T>(&self, target: InstanceIx) -> Result<T, Refusal> {
        refuse(Reason::MissingKey, format!("A row for {} has no key", self.shown(target)))
    }

    fn inserted(
        &self,
        all: Range<At>,
        columns: usize,
        places: &[usize],
        target: InstanceIx,
    ) -> Result<Vec<InsertedRow>, Refusal> {
        let row = |tokens: Range<At>| {
            let values = values(self.text, tokens.clone());
            if values.len() != columns {
                return refuse(
                    Reason::ColumnCount,
                    format!("A row for {} has not a value for each column", self.shown(target)),
                );
            }
            let value = |place: &usize| self.value(values.get(*place).cloned().unwrap_or_default(), target);
            let key = places.iter().map(value).collect::<Result<_, _>>()?;
            Ok(InsertedRow { tokens, key })
        };
        rows(self.text, all).map(row).collect()
    }

    /// The source of a value that is given by its tokens.
    fn value(&self, tokens: Range<At>, target: InstanceIx) -> Result<KeySource, Refusal> {
        match KeySource::of_tokens(self.text, tokens.clone()) {
            Some(source) => Ok(source),
            None if tokens.end == tokens.start + 1 && self.text.is_word(tokens.start, b"DEFAULT") => {
                self.missing(target)
            }
            None => refuse(
                Reason::KeyNotConstant,
                format!("The key of a row for {} is an expression", self.shown(target)),
            ),
        }
    }

    fn key_of_sets(
        &self,
        sets: &[Assignment],
        key: &[String],
        target: InstanceIx,
        block: BlockIx,
    ) -> Result<Vec<KeySource>, Refusal> {
        let column = |column: usize| {
            // The last of several wins.
            let set = sets.iter().rev().find(|set| self.is_key(&set.column, block) == Some((target, column)));
            let Some(set) = set else { return self.missing(target) };
            match KeySource::of(self.text, &set.value) {
                Some(source) => Ok(source),
                None if set.value.kind == ExprKind::Default => self.missing(target),
                None => refuse(
                    Reason::KeyNotConstant,
                    format!("The key of a row for {} is an expression", self.shown(target)),
                ),
            }
        };
        (0..key.len()).map(column).collect()
    }

    /// INSERT … SELECT: what must be in one shard.
    fn selected(
        &self,
        query: &Query,
        source: Option<BlockIx>,
        places: &[usize],
        target: InstanceIx,
    ) -> Result<Vec<Narrow>, Refusal> {
        let unclear = || {
            let what = format!("The key of rows that are selected for {} is not known", self.shown(target));
            Refusal::new(Reason::InsertSelect, what)
        };
        let (Some(select), Some(block)) = (only_select(query), source) else { return Err(unclear()) };
        // ROLLUP makes rows whose key is NULL.
        if select.elaborate {
            return Err(unclear());
        }
        let mut narrows = Vec::new();
        for at in 0..self.instances.len() {
            if at == target || self.key_columns(at) == 0 {
                continue;
            }
            let narrow = self.known(at).narrow;
            if narrow == Narrow::All {
                return refuse(Reason::InsertSelect, format!("{} is read without its key", self.shown(at)));
            }
            narrows.push(narrow);
        }
        // The key is one constant for all rows, or the key of a table whose rows are in the one shard anyway.
        let mut constants = Vec::new();
        for (column, place) in places.iter().enumerate() {
            let before = select.items.get(..=*place).ok_or_else(unclear)?;
            if !before.iter().all(|item| matches!(item, Item::Expr(..))) {
                return Err(unclear());
            }
            let Some(Item::Expr(value, _)) = before.last() else { return Err(unclear()) };
            match KeySource::of(self.text, value) {
                Some(source) => constants.push(source),
                None => match &value.kind {
                    ExprKind::Column(path) => {
                        let key = self.key_column(path, block).filter(|(from, own)| {
                            *own == column && self.key_columns(*from) == places.len() && self.is_kept(*from)
                        });
                        key.ok_or_else(unclear)?;
                    }
                    _ => return Err(unclear()),
                },
            }
        }
        match constants.len() {
            0 => {}
            given if given == places.len() => narrows.push(Narrow::Keys(vec![constants])),
            _ => return Err(unclear()),
        }
        Ok(narrows)
    }

    /// Rows for several shards: each gets its own.
    fn split(&self, insert: &Insert, uses: Uses) -> Result<Merge, Refusal> {
        super::across::state(self.without_false_writes(uses))?;
        if insert.returning.is_some() {
            return refuse(Reason::ReturningAcrossShards, "RETURNING on several shards");
        }
        Ok(Merge::Affected)
    }

    /// No outer join puts NULLs in its place.
    fn is_kept(&self, at: InstanceIx) -> bool {
        self.instances.get(at).is_some_and(|instance| instance.nullable.is_empty())
    }

    /// ON DUPLICATE KEY UPDATE sets no key but to itself, or to that of the row which was to be inserted.
    fn key_stays(
        &self,
        sets: &[Assignment],
        insert: &Insert,
        (target, block): (InstanceIx, BlockIx),
    ) -> Result<(), Refusal> {
        for set in sets {
            let Some(column) = self.is_key(&set.column, block).filter(|(of, _)| *of == target) else {
                continue;
            };
            let own = self.same_column(&set.value, column, block);
            if !own && !self.is_new_value(&set.value, insert, column) {
                return refuse(Reason::ChangesKey, format!("The key of {} is changed", self.shown(target)));
            }
        }
        Ok(())
    }

    /// `VALUES(key)`, or `new.key`.
    fn is_new_value(&self, value: &Expr, insert: &Insert, column: (InstanceIx, usize)) -> bool {
        let text = self.text;
        let is_key = |at: At| self.key_of(column.0, &text.name(at)) == Some(column);
        match &value.kind {
            ExprKind::Call(call) => {
                let name = text.name(call.name.last());
                let values = name.eq_ignore_ascii_case(b"VALUES") || name.eq_ignore_ascii_case(b"VALUE");
                let argument = match &call.arguments[..] {
                    [Expr { kind: ExprKind::Column(path), .. }] => Some(path.last()),
                    _ => None,
                };
                values && argument.is_some_and(is_key)
            }
            ExprKind::Column(path) => match (path.qualifiers(), insert.row_alias) {
                ([table], Some(alias)) => text.name(*table) == text.name(alias) && is_key(path.last()),
                _ => false,
            },
            _ => false,
        }
    }
}

fn only_select(query: &Query) -> Option<&Select> {
    match &query.body {
        Body::Select(select) => Some(select),
        Body::Query(inner) => only_select(inner),
        _ => None,
    }
}
