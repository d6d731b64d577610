//! The columns of the shards' rows: those that the client asks for, and hidden ones behind them.
//!
//! Owns: their places, what hidden ones are needed to compare by, where they stand in the text. Does not know: types: text's weights are
//! asked for wherever a value may be text. Invariant: a hidden column is made of the statement's own tokens, means what these mean, has a
//! name of its own, and is computed alike by all shards.

use std::ops::Range;

use super::super::edits::{Edit, NameEdit, Piece};
use super::super::parse::text::{At, Text, is_literal};
use super::super::parse::tree::{Alias, Expr, ExprKind, Item, Select, Source};
use super::super::planned::Merged;
use super::super::refusal::{Reason, Refusal};
use super::super::scope::{BlockIx, Scope, What};
use super::aggregates::has_aggregate;
use crate::merge::{Key, Pad};
use crate::sql::Dialect;
use crate::sql::lexer::Kind;

/// Functions whose answer depends on the server or the moment: two calls of one statement, or of two shards, differ.
pub(super) const VOLATILE: &[&[u8]] = &[
    b"CURDATE",
    b"CURRENT_DATE",
    b"CURRENT_TIME",
    b"CURRENT_TIMESTAMP",
    b"CURTIME",
    b"LOCALTIME",
    b"LOCALTIMESTAMP",
    b"NOW",
    b"RAND",
    b"RANDOM_BYTES",
    b"SLEEP",
    b"SYSDATE",
    b"SYS_GUID",
    b"UNIX_TIMESTAMP",
    b"UTC_DATE",
    b"UTC_TIME",
    b"UTC_TIMESTAMP",
    b"UUID",
    b"UUID_SHORT",
];
/// Functions that give numbers.
const NUMBERS: &[&[u8]] = &[
    b"ABS",
    b"AVG",
    b"BIT_AND",
    b"BIT_OR",
    b"BIT_XOR",
    b"CHAR_LENGTH",
    b"COUNT",
    b"DAY",
    b"FLOOR",
    b"HOUR",
    b"LENGTH",
    b"MINUTE",
    b"MONTH",
    b"ROUND",
    b"SUM",
    b"YEAR",
];

/// Hidden columns, at most. Each is compared with all.
const HIDDEN_MAX: usize = 256;

/// The statement's tokens of an expression.
pub(super) fn copy(expr: &Expr) -> Piece {
    Piece::Copy(expr.first..expr.end)
}

/// Words of our own.
pub(super) fn text(words: &'static str) -> Piece {
    Piece::Text(words.into())
}

/// A space's weight where the collation pads. The string is of a character set that becomes any other's.
pub(super) fn pad(own: &[Piece]) -> Vec<Piece> {
    let words = [", _latin1' ') = CONCAT(", "), WEIGHT_STRING(RIGHT(CONCAT(", ", _latin1' '), 1)), '')"];
    let mut pieces = vec![text("IF(CONCAT(")];
    for words in words {
        pieces.extend_from_slice(own);
        pieces.push(text(words));
    }
    pieces
}

/// The columns of one SELECT.
pub(super) struct Columns<'q> {
    pub scope: &'q Scope<'q>,
    pub top: Option<BlockIx>,
    /// Those of the select list; a star is `None`.
    pub items: Vec<Option<(&'q Expr, Alias)>>,
    hidden: Vec<Vec<Piece>>,
    /// GROUP BY.
    group: &'q [Expr],
    /// What shards group by besides.
    finer: Vec<Range<At>>,
    /// Literals that must be the same: so many of them stand before each in the statement.
    alike: Vec<(u32, u32)>,
}

impl<'q> Columns<'q> {
    pub fn new(scope: &'q Scope<'q>, select: &'q Select, top: Option<BlockIx>) -> Self {
        let items = select.items.iter().map(|item| match item {
            Item::Expr(expr, alias) => Some((expr, *alias)),
            Item::Star | Item::TableStar(_) => None,
        });
        Self {
            scope,
            top,
            items: items.collect(),
            hidden: Vec::new(),
            group: &select.group,
            finer: Vec::new(),
            alike: Vec::new(),
        }
    }

    /// Whether a star is among the items.
    pub fn have_star(&self) -> bool {
        self.items.contains(&None)
    }

    /// How many tables the query has.
    pub fn tables(&self) -> usize {
        self.top.and_then(|top| self.scope.blocks.get(top)).map_or(0, |block| block.instances.len())
    }

    /// Whether a derived table is read, whose columns MySQL weighs as texts.
    pub fn reads_query(&self) -> bool {
        let block = self.top.and_then(|top| self.scope.blocks.get(top));
        let mut own = block.into_iter().flat_map(|block| &block.instances);
        own.any(|at| self.scope.instances.get(*at).is_some_and(|own| matches!(own.what, What::Query)))
    }

    /// The place of an item; `None` where it is not known.
    pub fn place(&self, item: usize) -> Option<usize> {
        let is_star = |item: &Option<_>| item.is_none();
        let before = self.items.get(..item)?.iter().any(is_star);
        let after = self.items.get(item..)?.iter().any(is_star);
        (!(before && after)).then_some(item)
    }

    /// How many columns are hidden.
    pub fn hidden(&self) -> usize {
        self.hidden.len()
    }

    /// Adds a hidden column; gives its place.
    pub fn add(&mut self, pieces: Vec<Piece>) -> usize {
        let same = |one: &Piece, other: &Piece| match (one, other) {
            (Piece::Copy(one), Piece::Copy(other)) => self.same(one, other),
            _ => one == other,
        };
        let known = self.hidden.iter().position(|own| {
            own.len() == pieces.len() && own.iter().zip(&pieces).all(|(one, other)| same(one, other))
        });
        let at = known.unwrap_or_else(|| {
            // One too many is enough to be refused.
            self.hidden.truncate(HIDDEN_MAX);
            self.hidden.push(pieces);
            self.hidden.len() - 1
        });
        self.items.len() + at
    }

    /// Shards group by this expression, too.
    pub fn group_by(&mut self, expr: &Expr) {
        self.finer.push(expr.first..expr.end);
    }

    /// The place of an expression: that of an item which is the same, or of a hidden column. `None` where it cannot stand in the select
    /// list once more.
    pub fn expr(&mut self, expr: &Expr) -> Option<usize> {
        if !self.copies(expr) {
            return None;
        }
        let same = |item: usize| {
            let (own, _) = self.items.get(item).copied().flatten()?;
            self.same(&(own.first..own.end), &(expr.first..expr.end)).then(|| self.place(item))?
        };
        Some((0..self.items.len()).find_map(same).unwrap_or_else(|| {
            let pieces = self.once(expr);
            self.add(pieces)
        }))
    }

    /// An expression that may stand in the select list of groups. ONLY_FULL_GROUP_BY knows an expression of GROUP BY by itself, not inside
    /// others (MySQL), or once (MariaDB); all of a group's are equal.
    fn once(&self, expr: &Expr) -> Vec<Piece> {
        let items = self.items.iter().flatten().map(|(own, _)| *own);
        let known = self.group.iter().chain(items).map(|own| own.first..own.end);
        let known =
            known.chain(self.finer.iter().cloned()).any(|own| self.is_like(own, expr.first..expr.end));
        let whole = matches!(expr.kind, ExprKind::Column(_)) || has_aggregate(self.scope.text, expr);
        let grouped = !self.group.is_empty() || !self.finer.is_empty();
        match known && !whole && grouped {
            true => vec![text("MIN("), copy(expr), text(")")],
            false => vec![copy(expr)],
        }
    }

    /// Whether expressions are the same but for literals.
    fn is_like(&self, one: Range<At>, other: Range<At>) -> bool {
        let words = self.scope.text;
        one.len() == other.len()
            && one.zip(other).all(|(one, other)| {
                let kind = words.kind(one);
                is_literal(kind) && kind == words.kind(other)
                    || self.same(&(one..one + 1), &(other..other + 1))
            })
    }

    /// The item that is the same expression, where literals that stand in both are the same in each execution.
    pub fn item_like(&mut self, expr: &Expr) -> Option<(usize, &'q Expr)> {
        let words = self.scope.text;
        if !self.copies(expr) {
            return None;
        }
        let items = self.items.iter().enumerate();
        let mut items = items.filter_map(|(place, item)| item.map(|(own, _)| (place, own)));
        let (place, own) = items.find(|(_, own)| self.is_like(own.first..own.end, expr.first..expr.end))?;
        let literals =
            (own.first..own.end).zip(expr.first..expr.end).filter(|(one, _)| is_literal(words.kind(*one)));
        self.alike.extend(literals.map(|(one, other)| (words.ordinal(one), words.ordinal(other))));
        Some((place, own))
    }

    /// Whether tokens are the same words. Literals are no part of the statement's shape: they may differ in the next one.
    fn same(&self, one: &Range<At>, other: &Range<At>) -> bool {
        let words = self.scope.text;
        one.len() == other.len()
            && one.clone().zip(other.clone()).all(|(one, other)| {
                let kind = words.kind(one);
                one == other
                    || kind == words.kind(other)
                        && !is_literal(kind)
                        && words.bytes(one).eq_ignore_ascii_case(words.bytes(other))
            })
    }

    /// Whether the expression can be computed once more, with the same result.
    pub fn copies(&self, expr: &Expr) -> bool {
        let words = self.scope.text;
        (expr.first..expr.end).all(|at| match words.kind(at) {
            // A parameter would be one more; an assignment is an effect.
            Kind::Placeholder | Kind::UserVariable | Kind::Assign => false,
            Kind::Word => !words.is_word(at, b"SELECT") && !words.is_one_of(at, VOLATILE),
            _ => true,
        })
    }

    /// What the values at `place` are compared by, which are this expression's.
    pub fn key(&mut self, place: usize, expr: &Expr) -> Key {
        let key = Key::at(place);
        if self.is_number(expr) || !self.copies(expr) {
            return key;
        }
        let own = self.once(expr);
        let weight = self.add([&[text("WEIGHT_STRING(")], &own[..], &[text(")")]].concat());
        let space = self.add(pad(&own));
        let key = key.weighed(weight, Pad::At(space));
        // MySQL's weight of an ENUM or a SET is what they are sorted by, of a column; MariaDB's is their text.
        match (&expr.kind, self.scope.text.dialect()) {
            (ExprKind::Column(_), Dialect::MySql) if !self.reads_query() => key.numbered(weight),
            _ => key,
        }
    }

    /// Whether the value is surely no text.
    pub fn is_number(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Call(call) => {
                let name = self.scope.text.name(call.name.last());
                NUMBERS.iter().any(|number| number.eq_ignore_ascii_case(&name))
            }
            ExprKind::Column(path) => self.key_type(path).is_some(),
            ExprKind::Literal { at, typed: None, .. } => self.scope.text.kind(*at) != Kind::String,
            _ => false,
        }
    }

    /// A column that no shard computes where a table has a column of this alias' name: they refuse it as ambiguous. GROUP BY would mean
    /// that column.
    pub fn guard(&mut self, alias: At, select: &Select) -> Option<()> {
        let mut names = Vec::new();
        select.from.iter().try_for_each(|source| tables(self.scope.text, source, &mut names))?;
        let mut pieces = vec![text("(SELECT "), Piece::Copy(alias..alias + 1), text(" FROM ")];
        for name in names {
            pieces.extend([Piece::Copy(name), text(", ")]);
        }
        pieces.extend([
            text("(SELECT NULL AS "),
            Piece::Copy(alias..alias + 1),
            text(") AS `tidegate` LIMIT 0)"),
        ]);
        self.add(pieces);
        Some(())
    }

    /// Completes the merge with what is known of all columns.
    pub fn finish(self, select: &Select, merged: &mut Merged) -> Result<(), Refusal> {
        merged.width = self.items.len() + self.hidden.len();
        merged.star = self.items.iter().rposition(Option::is_none);
        merged.alike = self.alike;
        if self.hidden.is_empty() {
            return Ok(());
        }
        if self.hidden.len() > HIDDEN_MAX {
            let what = "A statement on several shards compares too many columns";
            return Err(Refusal::new(Reason::TooLong, what));
        }
        let known = select.from.first().and_then(|source| from(self.scope.text, source));
        let Some(from) = known.or_else(|| from_behind(self.scope.text, select.at)) else {
            let what = "ORDER BY or GROUP BY on several shards, of a query inside FROM";
            return Err(Refusal::new(Reason::DerivedAcrossShards, what));
        };
        let mut pieces = Vec::new();
        for (number, hidden) in self.hidden.into_iter().enumerate() {
            pieces.push(text(", "));
            pieces.extend(hidden);
            pieces.push(Piece::Text(format!(" AS `tidegate {number}`").into()));
        }
        pieces.push(text(" "));
        merged.edits.push(NameEdit { token: from, edit: Edit::Before(pieces) });
        Ok(())
    }
}

/// The token FROM, where a table's name follows it.
fn from(text: &Text, source: &Source) -> Option<At> {
    let name = match source {
        Source::Table { name, .. } => name,
        Source::Join(join) => return from(text, &join.left),
        Source::Derived { .. } => return None,
    };
    let mut at = name.parts().first()?.checked_sub(1)?;
    while text.is(at, b'(') {
        at = at.checked_sub(1)?;
    }
    text.is_word(at, b"FROM").then_some(at)
}

/// The first FROM behind a SELECT that is in no parentheses: those of EXTRACT, TRIM and queries inside are.
fn from_behind(text: &Text, select: At) -> Option<At> {
    let mut depth = 0u32;
    for at in select..text.len() {
        match text.kind(at) {
            Kind::Punct(b'(') => depth += 1,
            Kind::Punct(b')') => depth = depth.checked_sub(1)?,
            _ if depth == 0 && text.is_word(at, b"FROM") => return Some(at),
            _ => {}
        }
    }
    None
}

/// The names of tables, each once; `None` where there is something else.
fn tables(text: &Text, source: &Source, names: &mut Vec<Range<At>>) -> Option<()> {
    match source {
        Source::Table { name, .. } => {
            let last = name.last();
            if names.iter().all(|own| text.name(own.end - 1) != text.name(last)) {
                names.push(*name.parts().first()?..last + 1);
            }
            Some(())
        }
        Source::Join(join) => {
            tables(text, &join.left, names)?;
            tables(text, &join.right, names)
        }
        Source::Derived { .. } => None,
    }
}
