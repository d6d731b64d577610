//! UPDATE and DELETE.
//!
//! Owns: what they ask for besides the rows' keys: assignments to the key, LIMIT, several tables. Does not know: INSERT.
//! Invariant: no row is changed so that it would belong to another shard.

use super::across;
use super::copies::Besides;
use super::keys::KeySource;
use super::parse::statement::{Assignment, Delete, Update};
use super::parse::text::At;
use super::parse::tree::{Expr, ExprKind};
use super::planned::{Merge, Planned, Verb};
use super::refusal::{Reason, Refusal};
use super::route::{routed, understood};
use super::scope::{BlockIx, Scope, What};
use crate::sql::Uses;

type Decided = Result<Planned, Refusal>;

fn refuse<T>(reason: Reason, what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(reason, what))
}

impl Scope<'_> {
    /// UPDATE of one table or several.
    pub(super) fn update(&mut self, update: &Update, mentions: &[At], uses: Uses) -> Decided {
        self.with(update.recursive, &update.with, None)?;
        let block = self.block(None, false);
        self.sources(&update.tables, block)?;
        for set in &update.sets {
            self.qualifier(set.column.qualifiers(), block);
            self.expr(&set.value, Some(block))?;
        }
        self.condition(update.filter.as_ref(), block, None)?;
        update.order.iter().try_for_each(|order| self.expr(order, Some(block)))?;
        understood(self, mentions)?;
        self.functions(uses)?;
        if self.is_of_one_reference() {
            let besides = Besides { limited: update.limited, ..Besides::default() };
            return self.copies(Verb::Update, besides, uses);
        }
        self.no_reference_written(update.sets.iter(), block)?;
        let given = self.given(&update.sets, block)?;
        let several = self.blocks.get(block).is_some_and(|block| block.instances.len() > 1);
        let limited = update.limited;
        let moves = !given.is_empty();
        if moves && self.ignores() {
            return refuse(
                Reason::ChangesKey,
                "The key is set by UPDATE IGNORE, which could store another value",
            );
        }
        let whole = self.whole(block);
        routed(self, (&whole, &[]), given, Verb::Update, |_| {
            if moves {
                return refuse(Reason::ChangesKey, "The key is set in several shards");
            }
            several_shards(several, limited, false, uses)
        })
    }

    /// DELETE from one table or several.
    pub(super) fn delete(&mut self, delete: &Delete, mentions: &[At], uses: Uses) -> Decided {
        // The form for one table has no alias in all servers.
        self.in_place = delete.targets.is_empty();
        self.with(delete.recursive, &delete.with, None)?;
        let block = self.block(None, false);
        self.sources(&delete.tables, block)?;
        for target in &delete.targets {
            self.target(target.parts(), block)?;
        }
        self.condition(delete.filter.as_ref(), block, None)?;
        delete.order.iter().try_for_each(|order| self.expr(order, Some(block)))?;
        for item in delete.returning.iter().flatten() {
            self.item(item, block)?;
        }
        understood(self, mentions)?;
        self.functions(uses)?;
        if delete.targets.is_empty() && self.is_of_one_reference() {
            let (limited, returning) = (delete.limited, delete.returning.is_some());
            return self.copies(Verb::Delete, Besides { limited, returning, selects: false }, uses);
        }
        if delete.targets.is_empty() {
            self.no_reference(block)?;
        }
        let several = !delete.targets.is_empty();
        let (limited, returning) = (delete.limited, delete.returning.is_some());
        let whole = self.whole(block);
        routed(self, (&whole, &[]), Vec::new(), Verb::Delete, |_| {
            several_shards(several, limited, returning, uses)
        })
    }

    /// A table that a DELETE of several names to lose rows: an alias, or a table's name.
    fn target(&mut self, parts: &[At], block: BlockIx) -> Result<(), Refusal> {
        self.seen.extend(parts);
        let found = self.qualified(parts, block).and_then(|at| self.instances.get(at));
        match found.map(|found| &found.what) {
            Some(What::Reference) => refuse(Reason::ReferenceWrite, "Rows of a reference table are deleted"),
            Some(What::Sharded { .. }) => {
                self.schema_edit(parts);
                Ok(())
            }
            Some(_) => Ok(()),
            None => refuse(Reason::NotParsed, "A table that is deleted from is not among those joined"),
        }
    }

    /// The one table of a DELETE is no reference table.
    fn no_reference(&self, block: BlockIx) -> Result<(), Refusal> {
        let own = self.blocks.get(block).map(|block| &block.instances[..]).unwrap_or_default();
        let is_reference =
            |at: &usize| matches!(self.instances.get(*at).map(|own| &own.what), Some(What::Reference));
        if own.iter().any(is_reference) {
            return refuse(Reason::ReferenceWrite, "A reference table is written");
        }
        Ok(())
    }

    /// No column that is set is a reference table's, or could be.
    fn no_reference_written<'s>(
        &self,
        sets: impl Iterator<Item = &'s Assignment>,
        block: BlockIx,
    ) -> Result<(), Refusal> {
        for set in sets {
            match set.column.qualifiers() {
                [] => self.no_reference(block)?,
                qualifiers => {
                    let found = self.qualified(qualifiers, block).and_then(|at| self.instances.get(at));
                    if matches!(found.map(|own| &own.what), None | Some(What::Reference)) {
                        return refuse(Reason::ReferenceWrite, "A reference table is written");
                    }
                }
            }
        }
        Ok(())
    }

    /// The keys that SET gives to rows. A key that is set to itself gives none.
    fn given(&self, sets: &[Assignment], block: BlockIx) -> Result<Vec<Vec<KeySource>>, Refusal> {
        let mut given = Vec::new();
        for set in sets {
            let Some((instance, column)) = self.is_key(&set.column, block) else { continue };
            if self.same_column(&set.value, (instance, column), block) {
                continue;
            }
            match KeySource::of(self.text, &set.value) {
                Some(source) if self.key_columns(instance) == 1 && source != KeySource::Null => {
                    given.push(vec![source]);
                }
                _ => {
                    let what = format!("The key of {} is changed", self.shown(instance));
                    return refuse(Reason::ChangesKey, what);
                }
            }
        }
        Ok(given)
    }

    /// Whether an expression is this column itself.
    pub(super) fn same_column(&self, value: &Expr, column: (usize, usize), block: BlockIx) -> bool {
        matches!(&value.kind, ExprKind::Column(path) if self.is_key(path, block) == Some(column))
    }
}

/// UPDATE and DELETE on several shards.
fn several_shards(several: bool, limited: bool, returning: bool, uses: Uses) -> Result<Merge, Refusal> {
    across::state(uses)?;
    if limited {
        return refuse(Reason::LimitAcrossShards, "LIMIT of a change on several shards");
    }
    if several {
        return refuse(Reason::TablesAcrossShards, "Several tables are changed on several shards");
    }
    if returning {
        return refuse(Reason::ReturningAcrossShards, "RETURNING on several shards");
    }
    Ok(Merge::Affected)
}
