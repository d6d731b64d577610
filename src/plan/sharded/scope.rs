//! Which tables a statement reads and writes, block by block, and what each name in it stands for.
//!
//! Owns: instances of tables, blocks (one for each SELECT), common table expressions, aliases, the walk over all clauses.
//! Does not know: what stands in FROM (`from`), what follows from the conditions (`facts`). Invariant: every table of the tree becomes an instance; a column
//! that could be another one's is nobody's.

use std::collections::{HashMap, HashSet};

use super::edits::{Edit, NameEdit};
use super::facts::{Fact, KeyColumn};
use super::parse::text::{At, Text};
use super::parse::tree::{Alias, Body, Common, Expr, ExprKind, Item, Path, Query, Select};
use super::planner::Planner;
use super::reach::Reach;
use super::refusal::{Reason, Refusal, shown};
use crate::shard::Database;

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
    pub(super) commons: Vec<Vec<u8>>,
    pub(super) joins: JoinIx,
}

pub(super) type Walked<T> = Result<T, Refusal>;

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
