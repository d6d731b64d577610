//! What sharding keys tell: groups and values that one shard alone has, columns that are no text.
//!
//! Owns: which expressions are such keys. Does not know: places of rows. Invariant: of texts, which may be equal in two shards, and of names
//! that could be another column's, nothing is told.

use super::super::parse::text::At;
use super::super::parse::tree::{Alias, Call, Expr, ExprKind, Path};
use super::super::scope::What;
use super::columns::Columns;
use crate::shard::KeyType;

impl Columns<'_> {
    /// The type of a sharding key's column that is no text.
    pub fn key_type(&self, path: &Path) -> Option<KeyType> {
        let (instance, column) = self.scope.key_column(path, self.top?)?;
        let What::Sharded { database, keyspace, .. } = self.scope.instances.get(instance)?.what else {
            return None;
        };
        let own = database.keyspaces.get(keyspace)?.key.get(column)?;
        use KeyType::{Date, Datetime, Decimal, Integer};
        matches!(own, Integer | Decimal { .. } | Date | Datetime { .. }).then_some(*own)
    }

    /// Whether the only argument is the whole sharding key of a table, so that no two shards have equal values of it, NULL left out.
    pub fn is_keyed(&self, call: &Call) -> bool {
        let [argument] = &call.arguments[..] else { return false };
        self.key_of(argument).is_some_and(|(_, _, length)| length == 1)
    }

    /// Whether the expression is a column of a sharding key, which its table surely has.
    pub fn is_sharding_column(&self, expr: &Expr) -> bool {
        let ExprKind::Column(path) = &expr.kind else { return false };
        self.top.is_some_and(|top| self.scope.key_column(path, top).is_some())
    }

    /// Whether a sharding key is among these expressions of GROUP BY: then each group is in one shard.
    pub fn have_key(&self, group: &[Expr]) -> bool {
        let found: Vec<_> = group.iter().filter_map(|expr| self.key_of(expr)).collect();
        found.iter().any(|(instance, _, length)| {
            // Rows without a partner have NULL there, in every shard.
            let kept = self.scope.instances.get(*instance).is_some_and(|own| own.nullable.is_empty());
            let has = |column| found.iter().any(|(other, own, _)| (other, *own) == (instance, column));
            kept && (0..*length).all(has)
        })
    }

    /// The places of items that are a table's whole sharding key, of rows that are all there.
    pub fn key_places(&self) -> Vec<usize> {
        let items = self.items.iter().map_while(|item| *item).enumerate();
        let is_key = |expr: &Expr| {
            self.key_of(expr).is_some_and(|(instance, _, length)| {
                length == 1 && self.scope.instances.get(instance).is_some_and(|own| own.nullable.is_empty())
            })
        };
        items.filter(|(_, (expr, _))| is_key(expr)).map(|(place, _)| place).collect()
    }

    /// The column of a sharding key that an expression is: table, place in the key, the key's length. None where equal values may lie
    /// apart, as texts can.
    fn key_of(&self, expr: &Expr) -> Option<(usize, usize, usize)> {
        let ExprKind::Column(path) = &expr.kind else { return None };
        self.key_type(path)?;
        let (instance, column) = self.scope.key_column(path, self.top?)?;
        let own = self.scope.instances.get(instance)?;
        // Of several tables' columns the select list may mean another one.
        let clear = !path.qualifiers().is_empty() || self.tables() == 1 || self.is_unnamed(path);
        let What::Sharded { key, .. } = own.what else { return None };
        (clear && Some(own.block) == self.top).then_some((instance, column, key.len()))
    }

    /// Whether no item can have this name.
    fn is_unnamed(&self, path: &Path) -> bool {
        let words = self.scope.text;
        let name = words.name(path.last());
        let same = |other: At| words.name(other).eq_ignore_ascii_case(&name);
        self.items.iter().all(|item| match item {
            None | Some((_, Alias::Text)) => false,
            Some((_, Alias::Name(alias))) => !same(*alias),
            Some((Expr { kind: ExprKind::Column(own), .. }, Alias::None)) => !same(own.last()),
            Some((_, Alias::None)) => true,
        })
    }
}
