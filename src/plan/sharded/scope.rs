//! Which tables a statement reads and writes, block by block, and what each name in it stands for.
//!
//! Owns: instances of tables, blocks (one for each SELECT), common table expressions, aliases, resolution of columns.
//! Does not know: what follows from the conditions (`facts`). Invariant: every table of the tree becomes an instance; a column
//! that could be another one's is nobody's.

use std::collections::{HashMap, HashSet};

use super::edits::{Edit, NameEdit};
use super::facts::{Fact, KeyColumn};
use super::parse::text::{At, Text};
use super::parse::tree::{
    Alias, Body, Common, Expr, ExprKind, Item, Join, JoinKind, Path, Query, Select, Source,
};
use super::planner::{Meaning, Planner};
use super::reach::Reach;
use super::refusal::{Reason, Refusal, shown};
use crate::shard::{Database, Table};

/// An instance, by its place in `Scope::instances`.
pub(super) type InstanceIx = usize;
/// A block, by its place in `Scope::blocks`.
pub(super) type BlockIx = usize;
/// An outer join, by its number.
pub(super) type JoinIx = usize;

/// What stands in a FROM list.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum What<'a> {
    /// A sharded table.
    Sharded { database: &'a Database, keyspace: usize, key: &'a [String] },
    /// A reference table.
    Reference,
    /// A table at home.
    Home,
    /// A derived table or a common table expression.
    Query,
}

/// One table, each time that it is named.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Instance<'a> {
    pub what: What<'a>,
    /// The block whose FROM has it.
    pub block: BlockIx,
    /// Its name as the text has it.
    pub name: Option<Path>,
    /// The alias, or the table's name: what columns are qualified with.
    pub called: Vec<u8>,
    /// It has an alias.
    pub aliased: bool,
    /// The schema that the name has or that is the default one.
    pub schema: Option<Vec<u8>>,
    /// The outer joins that may put NULLs in its place.
    pub nullable: Vec<JoinIx>,
}

/// One SELECT, or the tables of an UPDATE or DELETE.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Block {
    /// The block whose columns can be named here too.
    pub parent: Option<BlockIx>,
    pub instances: Vec<InstanceIx>,
    /// It is inside a derived table or a common table expression.
    pub derived: bool,
}

/// A function that is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Called {
    pub name: Vec<u8>,
    pub qualified: bool,
}

/// Everything that a statement names.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub text: &'a Text,
    pub planner: &'a Planner,
    pub schema: Option<&'a [u8]>,
    pub instances: Vec<Instance<'a>>,
    pub blocks: Vec<Block>,
    pub facts: Vec<Fact>,
    pub edits: Vec<NameEdit>,
    pub calls: Vec<Called>,
    /// Names of tables and columns that have been looked at.
    pub seen: HashSet<At>,
    /// Key columns that USING has made one with another table's: their name alone means that one.
    pub absorbed: HashSet<KeyColumn>,
    /// The blocks of `IN (SELECT …)`, by the token behind the subject.
    pub inner: HashMap<At, BlockIx>,
    /// All SELECTs, by the word.
    pub selects: HashMap<At, Reach>,
    /// Tables without aliases are renamed where they stand and where they qualify columns, and get no alias.
    pub in_place: bool,
    /// Common table expressions that can be named, innermost last.
    commons: Vec<Vec<u8>>,
    joins: JoinIx,
}

type Walked<T> = Result<T, Refusal>;

impl<'a> Scope<'a> {
    pub fn new(text: &'a Text, planner: &'a Planner, schema: Option<&'a [u8]>) -> Self {
        Self {
            text,
            planner,
            schema,
            instances: Vec::new(),
            blocks: Vec::new(),
            facts: Vec::new(),
            edits: Vec::new(),
            calls: Vec::new(),
            seen: HashSet::new(),
            absorbed: HashSet::new(),
            inner: HashMap::new(),
            selects: HashMap::new(),
            in_place: false,
            commons: Vec::new(),
            joins: 0,
        }
    }

    /// A query with all that is in it; gives the block of its SELECT, where it is one.
    pub fn query(
        &mut self,
        query: &Query,
        parent: Option<BlockIx>,
        derived: bool,
    ) -> Walked<Option<BlockIx>> {
        let before = self.commons.len();
        self.with(query.recursive, &query.with, parent)?;
        let block = self.body(&query.body, parent, derived)?;
        // ORDER BY of a UNION names columns of the result.
        let outer = block.or(parent);
        for order in &query.order {
            self.expr(&order.expr, outer)?;
        }
        self.commons.truncate(before);
        Ok(block)
    }

    /// Common table expressions, which can be named from here on.
    pub fn with(&mut self, recursive: bool, with: &[Common], parent: Option<BlockIx>) -> Walked<()> {
        for common in with {
            let name = self.text.name(common.name).into_owned();
            if recursive {
                // Which ones its own query can name differs between servers.
                if self.planner.lists(&name) {
                    let what = format!("A recursive common table expression is named {}", shown(&name));
                    return Err(Refusal::new(Reason::NameShadowed, what));
                }
                self.commons.push(name.clone());
            }
            self.query(&common.query, parent, true)?;
            if !recursive {
                self.commons.push(name);
            }
        }
        Ok(())
    }

    fn body(&mut self, body: &Body, parent: Option<BlockIx>, derived: bool) -> Walked<Option<BlockIx>> {
        match body {
            Body::Select(select) => self.select(select, parent, derived).map(Some),
            Body::Query(query) => self.query(query, parent, derived),
            Body::Set(set) => {
                self.body(&set.left, parent, derived)?;
                self.body(&set.right, parent, derived)?;
                Ok(None)
            }
            Body::Values(values) => {
                values.iter().try_for_each(|value| self.expr(value, parent))?;
                Ok(None)
            }
        }
    }

    fn select(&mut self, select: &Select, parent: Option<BlockIx>, derived: bool) -> Walked<BlockIx> {
        let derived = derived || parent.and_then(|at| self.blocks.get(at)).is_some_and(|block| block.derived);
        let block = self.block(parent, derived);
        let before = self.instances.len();
        self.sources(&select.from, block)?;
        for item in &select.items {
            self.item(item, block)?;
        }
        self.condition(select.filter.as_ref(), block, None)?;
        let rest = select.group.iter().chain(&select.having).chain(&select.windows);
        for expr in rest {
            self.expr(expr, Some(block))?;
        }
        self.selects.insert(select.at, Reach { block, instances: before..self.instances.len() });
        Ok(block)
    }

    /// A new block.
    pub fn block(&mut self, parent: Option<BlockIx>, derived: bool) -> BlockIx {
        self.blocks.push(Block { parent, instances: Vec::new(), derived });
        self.blocks.len() - 1
    }

    /// An item of a select list.
    pub fn item(&mut self, item: &Item, block: BlockIx) -> Walked<()> {
        match item {
            Item::Star => Ok(()),
            Item::TableStar(path) => {
                self.qualifier(path.parts(), block);
                Ok(())
            }
            Item::Expr(expr, alias) => {
                let edits = self.edits.len();
                self.expr(expr, Some(block))?;
                // A column's name is the text of its expression, unless it has an alias.
                let whole = NameEdit { token: expr.first, edit: Edit::CurrentDatabase { named: false } };
                if let (Alias::None, ExprKind::Call(_), Some(edit)) =
                    (alias, &expr.kind, self.edits.get_mut(edits))
                    && *edit == whole
                {
                    edit.edit = Edit::CurrentDatabase { named: true };
                }
                Ok(())
            }
        }
    }

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
                Meaning::Listed(_, Table::Reference) => What::Reference,
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

    /// A condition: the names in it, and what it says of keys. `only_when`: it holds for rows to which this outer join gave a partner.
    pub fn condition(
        &mut self,
        condition: Option<&Expr>,
        block: BlockIx,
        only_when: Option<JoinIx>,
    ) -> Walked<()> {
        let Some(condition) = condition else { return Ok(()) };
        self.expr(condition, Some(block))?;
        self.note(condition, block, only_when);
        Ok(())
    }

    /// Names and queries inside an expression.
    pub fn expr(&mut self, expr: &Expr, block: Option<BlockIx>) -> Walked<()> {
        match &expr.kind {
            ExprKind::Column(path) => {
                self.seen.insert(path.last());
                if let Some(block) = block {
                    self.qualifier(path.qualifiers(), block);
                }
                Ok(())
            }
            ExprKind::Literal { .. } | ExprKind::Parameter(_) | ExprKind::Null | ExprKind::Default => Ok(()),
            ExprKind::Row(list)
            | ExprKind::And(list)
            | ExprKind::Or(list)
            | ExprKind::Other(list)
            | ExprKind::In { operands: list, .. } => list.iter().try_for_each(|expr| self.expr(expr, block)),
            ExprKind::Compare(_, sides) => {
                self.expr(&sides.0, block)?;
                self.expr(&sides.1, block)
            }
            ExprKind::Between { operands, .. } => operands.iter().try_for_each(|expr| self.expr(expr, block)),
            ExprKind::InQuery { subject, query, .. } => {
                self.expr(subject, block)?;
                let inner = self.query(query, block, false)?;
                self.inner.extend(inner.map(|inner| (subject.end, inner)));
                Ok(())
            }
            ExprKind::Query(query) | ExprKind::Exists(query) => self.query(query, block, false).map(drop),
            ExprKind::Call(call) => {
                self.note_call(call.name, expr);
                call.arguments.iter().try_for_each(|expr| self.expr(expr, block))
            }
        }
    }

    fn note_call(&mut self, name: Path, expr: &Expr) {
        let own = self.text.name(name.last()).into_owned();
        let qualified = !name.qualifiers().is_empty();
        let asks = own.eq_ignore_ascii_case(b"DATABASE") || own.eq_ignore_ascii_case(b"SCHEMA");
        if asks && !qualified && expr.end == expr.first + 3 {
            self.edits.push(NameEdit { token: expr.first, edit: Edit::CurrentDatabase { named: false } });
        }
        self.calls.push(Called { name: own, qualified });
    }
}

/// The two sides of a join, and its number.
struct Joined {
    number: JoinIx,
    left: Vec<InstanceIx>,
    right: Vec<InstanceIx>,
}
