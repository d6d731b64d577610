//! What the items of ORDER BY mean.
//!
//! Owns: aliases and positions, as servers look them up: the select list first. Does not know: groups. Invariant: a name that could mean
//! two things is refused.

use super::super::parse::tree::{Alias, Expr, ExprKind, Path};
use super::super::refusal::{Reason, Refusal};
use super::columns::Columns;

/// What is sorted by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sorted<'q> {
    /// An item of the select list, at this place.
    Item(usize, &'q Expr),
    /// Something else.
    Other(&'q Expr),
}

impl<'q> Columns<'q> {
    /// What an item of ORDER BY is.
    pub fn sorted(&self, expr: &'q Expr) -> Result<Sorted<'q>, Refusal> {
        match &expr.kind {
            ExprKind::Literal { negative: false, typed: None, .. } if self.is_whole(expr) => {
                let item = self
                    .position(expr)
                    .and_then(|position| self.items.get(position).copied().flatten().zip(Some(position)));
                match item {
                    Some(((own, _), position)) if self.items.iter().take(position).all(Option::is_some) => {
                        Ok(Sorted::Item(position, own))
                    }
                    _ => Err(refused("A position in the select list that is not known")),
                }
            }
            ExprKind::Column(path) => match self.named(path)? {
                Some(item) => Ok(self.item(item).unwrap_or(Sorted::Other(expr))),
                None if self.have_star() && path.qualifiers().is_empty() && self.tables() != 1 => {
                    Err(refused("A column without its table, beside a star"))
                }
                None => Ok(Sorted::Other(expr)),
            },
            ExprKind::Parameter(_) => Err(refused("A parameter")),
            // A server may take it for a position, and the plan's shape does not have it.
            ExprKind::Literal { .. } => Err(refused("A literal")),
            _ => Ok(Sorted::Other(expr)),
        }
    }

    fn item(&self, item: usize) -> Option<Sorted<'q>> {
        let (expr, _) = self.items.get(item).copied().flatten()?;
        // Between two stars no place is known, but what stands there can be computed again.
        Some(self.place(item).map_or(Sorted::Other(expr), |place| Sorted::Item(place, expr)))
    }

    /// Whether it is a whole number, which names a column.
    pub fn is_whole(&self, expr: &Expr) -> bool {
        matches!(expr.kind, ExprKind::Literal { at, .. } if (expr.first, expr.end) == (at, at + 1) && self.scope.text.kind(at) == crate::sql::lexer::Kind::Integer)
    }

    /// The place that a whole number names. The number itself is part of the statement's shape.
    pub fn position(&self, expr: &Expr) -> Option<usize> {
        let ExprKind::Literal { at, .. } = expr.kind else { return None };
        let number: usize = std::str::from_utf8(self.scope.text.bytes(at)).ok()?.parse().ok()?;
        number.checked_sub(1)
    }

    /// The only item that a name means.
    fn named(&self, path: &Path) -> Result<Option<usize>, Refusal> {
        let mut found = None;
        for (at, item) in self.items.iter().enumerate() {
            let Some((expr, alias)) = item else { continue };
            if !self.answers_to(expr, *alias, path) {
                continue;
            }
            if found.replace(at).is_some() {
                return Err(refused("A name that several columns have"));
            }
        }
        // Its text is no part of the statement's shape.
        let unknown = self.items.iter().flatten().any(|(_, alias)| *alias == Alias::Text);
        if unknown && path.qualifiers().is_empty() {
            return Err(refused("A name beside a column whose alias is a string"));
        }
        Ok(found)
    }

    /// Whether an item has this name: its alias, or that of its column.
    pub fn answers_to(&self, expr: &Expr, alias: Alias, path: &Path) -> bool {
        let words = self.scope.text;
        let name = words.name(path.last());
        let column = match &expr.kind {
            ExprKind::Column(column) => Some(column),
            _ => None,
        };
        let same_column = |column: &Path| words.name(column.last()).eq_ignore_ascii_case(&name);
        match (path.qualifiers(), alias, column) {
            ([], Alias::Name(alias), _) => words.name(alias).eq_ignore_ascii_case(&name),
            ([], Alias::None, Some(column)) => same_column(column),
            ([.., table], _, Some(column)) => {
                let theirs = column.qualifiers().last();
                let own_table = theirs.is_some_and(|theirs| words.name(*theirs) == words.name(*table));
                own_table && same_column(column)
            }
            _ => false,
        }
    }
}

fn refused(what: &str) -> Refusal {
    Refusal::new(Reason::OrderAcrossShards, format!("{what} in ORDER BY on several shards"))
}
