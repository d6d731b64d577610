//! What a name in a block stands for.
//!
//! Owns: resolution of qualifiers and columns as servers do it: the innermost block first. Does not know: which columns tables have, but
//! for their keys. Invariant: a column that could be another one's is nobody's.

use std::borrow::Cow;

use super::edits::{Edit, NameEdit};
use super::parse::text::At;
use super::parse::tree::Path;
use super::scope::{Block, BlockIx, Instance, InstanceIx, Scope, What};

impl Scope<'_> {
    /// `table.` or `db.table.` before a column: what of it is replaced where the table is not at home.
    pub fn qualifier(&mut self, qualifiers: &[At], block: BlockIx) {
        let Some(table) = qualifiers.last() else { return };
        let Some(found) = self.qualified(qualifiers, block).and_then(|at| self.instances.get(at)) else {
            return;
        };
        if !matches!(found.what, What::Sharded { .. } | What::Reference) {
            return;
        }
        if self.in_place && !found.aliased {
            self.edits.push(NameEdit { token: *table, edit: Edit::Table });
        }
        self.schema_edit(qualifiers);
    }

    /// The database's name in `db.table` is replaced.
    pub fn schema_edit(&mut self, name: &[At]) {
        if let [schema, _] = name {
            self.edits.push(NameEdit { token: *schema, edit: Edit::Schema });
        }
    }

    /// The instance that `table` or `db.table` means in a block; `None` where that is in doubt.
    pub fn qualified(&self, qualifiers: &[At], block: BlockIx) -> Option<InstanceIx> {
        let name = |at: &At| self.text.name(*at);
        let (schema, table): (Option<Cow<'_, [u8]>>, _) = match qualifiers {
            [table] => (None, name(table)),
            [schema, table] => (Some(name(schema)), name(table)),
            _ => return None,
        };
        let fits = |instance: &Instance<'_>, exactly: bool| {
            let same = |one: &[u8], other: &[u8]| {
                if exactly { one == other } else { one.eq_ignore_ascii_case(other) }
            };
            let in_schema = schema
                .as_deref()
                .is_none_or(|schema| instance.schema.as_deref().is_some_and(|own| same(own, schema)));
            in_schema && same(&instance.called, &table)
        };
        let find = |exactly| {
            self.chain(block).find_map(|block| {
                let mut found = block
                    .instances
                    .iter()
                    .copied()
                    .filter(|at| self.instances.get(*at).is_some_and(|instance| fits(instance, exactly)));
                // Two of one name: the servers tell them apart by schema, or refuse.
                let first = found.next()?;
                Some(found.next().is_none().then_some(first))
            })?
        };
        let (exact, loose) = (find(true), find(false));
        if exact == loose { exact } else { None }
    }

    /// A block and those around it.
    pub fn chain(&self, block: BlockIx) -> impl Iterator<Item = &Block> {
        let get = |at: BlockIx| self.blocks.get(at);
        std::iter::successors(get(block), move |block| block.parent.and_then(get))
    }

    /// The column of a key that a path means in a block.
    pub fn key_column(&self, path: &Path, block: BlockIx) -> Option<(InstanceIx, usize)> {
        let name = self.text.name(path.last());
        if !path.qualifiers().is_empty() {
            return self.key_of(self.qualified(path.qualifiers(), block)?, &name);
        }
        for block in self.chain(block) {
            let keys = block.instances.iter().filter_map(|at| self.key_of(*at, &name));
            let mut keys = keys.filter(|key| !self.absorbed.contains(key));
            match (keys.next(), keys.next()) {
                // Were it another table's too, servers would refuse it as ambiguous.
                (Some(key), None) => return Some(key),
                (Some(_), Some(_)) => return None,
                // It may be a column of a table here that we do not know.
                _ if !block.instances.is_empty() => return None,
                _ => {}
            }
        }
        None
    }

    /// A column of an instance's key, by its name.
    pub fn key_of(&self, at: InstanceIx, name: &[u8]) -> Option<(InstanceIx, usize)> {
        let What::Sharded { key, .. } = self.instances.get(at)?.what else { return None };
        let column = key.iter().position(|column| column.as_bytes().eq_ignore_ascii_case(name))?;
        Some((at, column))
    }
}
