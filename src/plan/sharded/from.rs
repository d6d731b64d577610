//! What stands in FROM, table by table.
//!
//! Owns: what a table's name means where it stands, which outer joins may put NULLs in its place, and which columns USING makes one. Does not
//! know: the other clauses (`scope`). Invariant: that of the scope.

use super::edits::{Edit, NameEdit};
use super::facts::{Fact, KeyColumn};
use super::parse::text::At;
use super::parse::tree::{Join, JoinKind, Path, Source};
use super::planner::Meaning;
use super::refusal::{Reason, Refusal, shown};
use super::scope::{BlockIx, Instance, InstanceIx, JoinIx, Scope, Walked, What};
use crate::shard::Table;

impl<'a> Scope<'a> {
    /// What stands in FROM. ON conditions are looked at when all tables are known.
    pub fn sources(&mut self, sources: &[Source], block: BlockIx) -> Walked<()> {
        let mut conditions = Vec::new();
        for source in sources {
            self.source(source, block, &mut conditions)?;
        }
        for (join, at) in conditions {
            self.join_condition(join, block, at)?;
        }
        Ok(())
    }

    fn source<'s>(
        &mut self,
        source: &'s Source,
        block: BlockIx,
        conditions: &mut Vec<(&'s Join, Joined)>,
    ) -> Walked<()> {
        match source {
            Source::Table { name, alias, end } => self.table(*name, *alias, Some(*end), block),
            Source::Derived { query, alias, lateral } => {
                let parent = if *lateral {
                    Some(block)
                } else {
                    self.blocks.get(block).and_then(|block| block.parent)
                };
                self.query(query, parent, true)?;
                let called = alias.map(|at| self.text.name(at).into_owned()).unwrap_or_default();
                self.add(Instance {
                    what: What::Query,
                    block,
                    name: None,
                    called,
                    aliased: true,
                    schema: None,
                    nullable: Vec::new(),
                });
                Ok(())
            }
            Source::Join(join) => {
                let start = self.instances_of(block);
                self.source(&join.left, block, conditions)?;
                let middle = self.instances_of(block);
                self.source(&join.right, block, conditions)?;
                let end = self.instances_of(block);
                let number = self.joins;
                self.joins += 1;
                let nullable = match join.kind {
                    JoinKind::Inner => 0..0,
                    JoinKind::Left => middle..end,
                    JoinKind::Right => start..middle,
                };
                let own = self.blocks.get(block).map(|block| block.instances.clone()).unwrap_or_default();
                for at in own.get(nullable).unwrap_or_default() {
                    if let Some(instance) = self.instances.get_mut(*at) {
                        instance.nullable.push(number);
                    }
                }
                let left = own.get(start..middle).unwrap_or_default().to_vec();
                let right = own.get(middle..end).unwrap_or_default().to_vec();
                conditions.push((join, Joined { number, left, right }));
                Ok(())
            }
        }
    }

    fn instances_of(&self, block: BlockIx) -> usize {
        self.blocks.get(block).map_or(0, |block| block.instances.len())
    }

    fn join_condition(&mut self, join: &Join, block: BlockIx, joined: Joined) -> Walked<()> {
        let only_when = (join.kind != JoinKind::Inner).then_some(joined.number);
        self.condition(join.on.as_ref(), block, only_when)?;
        for column in &join.using {
            let name = self.text.name(*column);
            let (left, right) = (self.used(&joined.left, &name), self.used(&joined.right, &name));
            if let (Some(left), Some(right)) = (left, right) {
                self.facts.push(Fact::equal(block, only_when, left, right));
                // The column that both have in common is the one of the side that is kept.
                self.absorbed.insert(if join.kind == JoinKind::Right { left } else { right });
            }
        }
        Ok(())
    }

    /// The key column that `USING (name)` means on one side: that of the only table there, or the only one of its name that is no
    /// NULL. Had another table there such a column too, servers would refuse the name as ambiguous.
    fn used(&self, side: &[InstanceIx], name: &[u8]) -> Option<KeyColumn> {
        let mut keys =
            side.iter().filter_map(|at| self.key_of(*at, name)).filter(|key| !self.absorbed.contains(key));
        let key = keys.next().filter(|_| keys.next().is_none())?;
        let kept = self.instances.get(key.0).is_some_and(|instance| instance.nullable.is_empty());
        (side.len() == 1 || kept).then_some(key)
    }

    /// A table's name.
    pub fn table(&mut self, name: Path, alias: Option<At>, end: Option<At>, block: BlockIx) -> Walked<()> {
        self.seen.insert(name.last());
        let own = self.text.name(name.last()).into_owned();
        let schema = match name.qualifiers() {
            [] => self.schema.map(<[u8]>::to_vec),
            [.., schema] => Some(self.text.name(*schema).into_owned()),
        };
        let what = match name.qualifiers() {
            [] => self.common(&own)?,
            [_] => None,
            _ => return Err(Refusal::new(Reason::NotParsed, "A table's name has three parts")),
        };
        let what = match what {
            Some(what) => what,
            None => match self.planner.table(schema.as_deref(), &own) {
                Meaning::Home => What::Home,
                Meaning::Listed(database, Table::Sharded { keyspace, key, .. }) => {
                    What::Sharded { database, keyspace: *keyspace, key }
                }
                Meaning::Listed(_, Table::Reference { .. }) => What::Reference,
                Meaning::OtherCase => {
                    let what = format!("{} is written in another case than in the rules", shown(&own));
                    return Err(Refusal::new(Reason::NameCase, what));
                }
            },
        };
        if matches!(what, What::Sharded { .. } | What::Reference) {
            if let [schema] = name.qualifiers() {
                self.edits.push(NameEdit { token: *schema, edit: Edit::Schema });
            }
            let logical = own.clone();
            self.edits.push(NameEdit { token: name.last(), edit: Edit::Table });
            if let (None, Some(end), false) = (alias, end, self.in_place) {
                self.edits.push(NameEdit { token: end.saturating_sub(1), edit: Edit::Alias(logical) });
            }
        }
        let called = alias.map_or(own, |alias| self.text.name(alias).into_owned());
        let aliased = alias.is_some();
        self.add(Instance { what, block, name: Some(name), called, aliased, schema, nullable: Vec::new() });
        Ok(())
    }

    /// Whether an unqualified name is a common table expression's.
    fn common(&self, name: &[u8]) -> Walked<Option<What<'a>>> {
        match self.commons.iter().rev().find(|common| common.eq_ignore_ascii_case(name)) {
            None => Ok(None),
            Some(common) if common == name || !self.planner.lists(name) => Ok(Some(What::Query)),
            Some(_) => {
                let what = format!("{} differs from a common table expression in its case", shown(name));
                Err(Refusal::new(Reason::NameShadowed, what))
            }
        }
    }

    fn add(&mut self, instance: Instance<'a>) {
        let at = self.instances.len();
        if let Some(block) = self.blocks.get_mut(instance.block) {
            block.instances.push(at);
        }
        self.instances.push(instance);
    }
}

/// The two sides of a join, and its number.
struct Joined {
    number: JoinIx,
    left: Vec<InstanceIx>,
    right: Vec<InstanceIx>,
}
