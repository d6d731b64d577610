//! What a statement's conditions say of keys, and what follows for each table.
//!
//! Owns: facts, and the tables whose rows must have one key. Does not know: what is done across shards.
//! Invariant: a fact is used for a table only where it holds for every row of that table which matters to the result. A row
//! matters when it is part of a row that passes WHERE; for the side of an outer join that may be NULL also ON must hold, because a row
//! that fails it is as good as absent. A fact of another outer join may be used from the moment when an equality needs its NULL side to be there.

use super::across;
use super::keys::{Bound, Gather, KeySource, Narrow, Said, any};
use super::parse::tree::{Body, Comparison, Expr, ExprKind, Item, Path, Query};
use super::scope::{BlockIx, InstanceIx, JoinIx, Scope, What};

/// A column of an instance's key.
pub(super) type KeyColumn = (InstanceIx, usize);

/// Something that a conjunct says.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Fact {
    /// The block in whose conditions it stands.
    block: BlockIx,
    /// It holds for rows to which this outer join gave a partner.
    only_when: Option<JoinIx>,
    says: Says,
}

#[derive(Clone, PartialEq, Debug)]
enum Says {
    /// Two columns are equal, and not NULL.
    Equal(KeyColumn, KeyColumn),
    /// A column is one of some values.
    Column(KeyColumn, Said),
    /// The whole key of an instance is narrowed.
    Whole(InstanceIx, Narrow),
}

/// What is known of an instance's rows.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Known {
    /// The keys that its rows have.
    pub narrow: Narrow,
    /// The instances whose whole keys equal its own.
    pub together: Vec<InstanceIx>,
}

impl Fact {
    /// Two columns are equal.
    pub fn equal(block: BlockIx, only_when: Option<JoinIx>, one: KeyColumn, other: KeyColumn) -> Self {
        Self { block, only_when, says: Says::Equal(one, other) }
    }
}

impl Scope<'_> {
    /// Takes in a condition, conjunct by conjunct.
    pub(super) fn note(&mut self, condition: &Expr, block: BlockIx, only_when: Option<JoinIx>) {
        if let ExprKind::And(list) = &condition.kind {
            return list.iter().for_each(|conjunct| self.note(conjunct, block, only_when));
        }
        if let ExprKind::InQuery { negated: false, subject, query } = &condition.kind {
            self.note_member(subject, query, block);
        }
        let mut facts = Vec::new();
        self.say(condition, block, &mut facts);
        self.facts.extend(facts.into_iter().map(|says| Fact { block, only_when, says }));
    }

    /// `key IN (SELECT key …)`: of the inner rows only those with that key matter, unless the inner query looks at all of them together.
    fn note_member(&mut self, subject: &Expr, query: &Query, block: BlockIx) {
        let (Body::Select(select), Some(inner)) = (&query.body, self.inner.get(&subject.end).copied()) else {
            return;
        };
        let together = select.elaborate
            || query.limit.is_some()
            || select.having.is_some()
            || !select.group.is_empty()
            || !query.with.is_empty()
            || across::aggregates(self, select, query);
        if together {
            return;
        }
        let subjects = match &subject.kind {
            ExprKind::Row(subjects) => &subjects[..],
            _ => std::slice::from_ref(subject),
        };
        if subjects.len() != select.items.len() {
            return;
        }
        for (outer, item) in subjects.iter().zip(&select.items) {
            let Item::Expr(own, _) = item else { return };
            if let (Some(outer), Some(own)) = (self.as_key(outer, block), self.as_key(own, inner)) {
                self.facts.push(Fact::equal(inner, None, outer, own));
            }
        }
    }

    /// What one conjunct says.
    fn say(&self, conjunct: &Expr, block: BlockIx, into: &mut Vec<Says>) {
        match &conjunct.kind {
            ExprKind::Compare(Comparison::Equal, sides) => self.say_equal(&sides.0, &sides.1, block, into),
            ExprKind::Or(_) | ExprKind::In { negated: false, .. } if self.said(conjunct, block).is_none() => {
                for instance in self.sharded_of(block) {
                    let narrow = self.narrow(conjunct, block, instance);
                    if narrow != Narrow::All {
                        into.push(Says::Whole(instance, narrow));
                    }
                }
            }
            _ => into.extend(self.said(conjunct, block).map(|(column, said)| Says::Column(column, said))),
        }
    }

    fn say_equal(&self, one: &Expr, other: &Expr, block: BlockIx, into: &mut Vec<Says>) {
        if let (ExprKind::Row(ones), ExprKind::Row(others)) = (&one.kind, &other.kind) {
            if ones.len() == others.len() {
                ones.iter().zip(others).for_each(|(one, other)| self.say_equal(one, other, block, into));
            }
            return;
        }
        if let (Some(one), Some(other)) = (self.as_key(one, block), self.as_key(other, block)) {
            return into.push(Says::Equal(one, other));
        }
        into.extend(self.said_equal(one, other, block).map(|(column, said)| Says::Column(column, said)));
    }

    /// The sharded instances of a block itself.
    fn sharded_of(&self, block: BlockIx) -> Vec<InstanceIx> {
        let own = self.blocks.get(block).map(|block| &block.instances[..]).unwrap_or_default();
        let is_sharded = |at: &InstanceIx| {
            self.instances.get(*at).is_some_and(|instance| matches!(instance.what, What::Sharded { .. }))
        };
        own.iter().copied().filter(is_sharded).collect()
    }

    fn as_key(&self, expr: &Expr, block: BlockIx) -> Option<KeyColumn> {
        let ExprKind::Column(path) = &expr.kind else { return None };
        self.key_column(path, block)
    }

    fn said_equal(&self, one: &Expr, other: &Expr, block: BlockIx) -> Option<(KeyColumn, Said)> {
        let (column, value) = match (self.as_key(one, block), self.as_key(other, block)) {
            (Some(column), None) => (column, other),
            (None, Some(column)) => (column, one),
            _ => return None,
        };
        Some((column, Said::OneOf(vec![KeySource::of(self.text, value)?])))
    }

    /// What a comparison says of one column.
    fn said(&self, expr: &Expr, block: BlockIx) -> Option<(KeyColumn, Said)> {
        let source = |expr| KeySource::of(self.text, expr);
        match &expr.kind {
            ExprKind::Compare(Comparison::Equal, sides) => self.said_equal(&sides.0, &sides.1, block),
            // A parameter may be NULL, which `<=>` finds.
            ExprKind::Compare(Comparison::NullSafe, sides) => {
                let said = self.said_equal(&sides.0, &sides.1, block)?;
                let literal = |source: &KeySource| matches!(source, KeySource::Literal { .. });
                let Said::OneOf(sources) = &said.1 else { return None };
                sources.iter().all(literal).then_some(said)
            }
            ExprKind::Compare(comparison, sides) => {
                let (column, bound, comparison) =
                    match (self.as_key(&sides.0, block), self.as_key(&sides.1, block)) {
                        (Some(column), None) => (column, source(&sides.1)?, *comparison),
                        (None, Some(column)) => (column, source(&sides.0)?, turned(*comparison)),
                        _ => return None,
                    };
                let bound = |inclusive| Some(Bound { source: bound, inclusive });
                let said = match comparison {
                    Comparison::Less => Said::Between(None, bound(false)),
                    Comparison::LessOrEqual => Said::Between(None, bound(true)),
                    Comparison::Greater => Said::Between(bound(false), None),
                    Comparison::GreaterOrEqual => Said::Between(bound(true), None),
                    _ => return None,
                };
                Some((column, said))
            }
            ExprKind::Between { negated: false, operands } => {
                let [column, low, high] = &**operands;
                let bound = |expr| Some(Bound { source: source(expr)?, inclusive: true });
                Some((self.as_key(column, block)?, Said::Between(Some(bound(low)?), Some(bound(high)?))))
            }
            ExprKind::In { negated: false, operands } => {
                let (subject, list) = operands.split_first()?;
                let sources = list.iter().map(source).collect::<Option<Vec<_>>>()?;
                Some((self.as_key(subject, block)?, Said::OneOf(sources)))
            }
            _ => None,
        }
    }

    /// What a condition leaves of the keys of one instance of the block, whatever its form.
    fn narrow(&self, expr: &Expr, block: BlockIx, instance: InstanceIx) -> Narrow {
        let mut gather = Gather::new(self.key_columns(instance));
        self.gather(expr, block, instance, &mut gather);
        gather.finish()
    }

    fn gather(&self, expr: &Expr, block: BlockIx, instance: InstanceIx, gather: &mut Gather) {
        match &expr.kind {
            ExprKind::And(list) => list.iter().for_each(|expr| self.gather(expr, block, instance, gather)),
            ExprKind::Or(list) => {
                gather.whole(any(list.iter().map(|expr| self.narrow(expr, block, instance)).collect()));
            }
            ExprKind::Compare(Comparison::Equal, sides) => {
                self.gather_equal(&sides.0, &sides.1, block, instance, gather);
            }
            ExprKind::In { negated: false, operands }
                if matches!(operands[..], [Expr { kind: ExprKind::Row(_), .. }, ..]) =>
            {
                gather.whole(self.rows_in(operands, block, instance));
            }
            _ => {
                if let Some(((of, column), said)) = self.said(expr, block)
                    && of == instance
                {
                    gather.column(column, said);
                }
            }
        }
    }

    fn gather_equal(
        &self,
        one: &Expr,
        other: &Expr,
        block: BlockIx,
        instance: InstanceIx,
        gather: &mut Gather,
    ) {
        if let (ExprKind::Row(ones), ExprKind::Row(others)) = (&one.kind, &other.kind) {
            if ones.len() == others.len() {
                let pairs = ones.iter().zip(others);
                pairs.for_each(|(one, other)| self.gather_equal(one, other, block, instance, gather));
            }
            return;
        }
        if let Some(((of, column), said)) = self.said_equal(one, other, block)
            && of == instance
        {
            gather.column(column, said);
        }
    }

    /// `(a, b) IN ((1, 2), (3, 4))`.
    fn rows_in(&self, operands: &[Expr], block: BlockIx, instance: InstanceIx) -> Narrow {
        let Some((Expr { kind: ExprKind::Row(columns), .. }, rows)) = operands.split_first() else {
            return Narrow::All;
        };
        let row = |row: &Expr| {
            let ExprKind::Row(values) = &row.kind else { return Narrow::All };
            if values.len() != columns.len() {
                return Narrow::All;
            }
            let mut gather = Gather::new(self.key_columns(instance));
            for (column, value) in columns.iter().zip(values) {
                self.gather_equal(column, value, block, instance, &mut gather);
            }
            gather.finish()
        };
        any(rows.iter().map(row).collect())
    }

    pub(super) fn key_columns(&self, instance: InstanceIx) -> usize {
        match self.instances.get(instance).map(|instance| &instance.what) {
            Some(What::Sharded { key, .. }) => key.len(),
            _ => 0,
        }
    }

    /// What follows from all facts for one sharded instance.
    pub(super) fn known(&self, instance: InstanceIx) -> Known {
        let Some(own) = self.instances.get(instance) else {
            return Known { narrow: Narrow::All, together: Vec::new() };
        };
        let blocks: Vec<BlockIx> =
            std::iter::successors(Some(own.block), |at| self.blocks.get(*at)?.parent).collect();
        let columns = self.key_columns(instance);
        // The outer joins known to have found a partner, and for each column those that equal it.
        let mut joins = own.nullable.clone();
        let mut equal: Vec<Vec<KeyColumn>> = (0..columns).map(|column| vec![(instance, column)]).collect();
        let holds = |fact: &Fact, joins: &[JoinIx]| {
            blocks.contains(&fact.block) && fact.only_when.is_none_or(|join| joins.contains(&join))
        };
        loop {
            let mut grown = false;
            for fact in self.facts.iter().filter(|fact| holds(fact, &joins)) {
                let Says::Equal(one, other) = fact.says else { continue };
                for class in &mut equal {
                    let new = match (class.contains(&one), class.contains(&other)) {
                        (true, false) => other,
                        (false, true) => one,
                        _ => continue,
                    };
                    class.push(new);
                    grown = true;
                }
            }
            for (reached, _) in equal.iter().flatten() {
                let theirs =
                    self.instances.get(*reached).map(|reached| &reached.nullable[..]).unwrap_or_default();
                for join in theirs {
                    if !joins.contains(join) {
                        joins.push(*join);
                        grown = true;
                    }
                }
            }
            if !grown {
                break;
            }
        }
        let together: Vec<InstanceIx> = (0..self.instances.len())
            .filter(|other| {
                let all = equal.iter().enumerate().all(|(column, class)| class.contains(&(*other, column)));
                all && self.key_columns(*other) == columns
            })
            .collect();
        let mut gather = Gather::new(columns);
        for fact in self.facts.iter().filter(|fact| holds(fact, &joins)) {
            match &fact.says {
                Says::Column(of, said) => {
                    for (column, class) in equal.iter().enumerate() {
                        if class.contains(of) {
                            gather.column(column, said.clone());
                        }
                    }
                }
                Says::Whole(of, narrow) if together.contains(of) => gather.whole(narrow.clone()),
                Says::Whole(..) | Says::Equal(..) => {}
            }
        }
        Known { narrow: gather.finish(), together }
    }

    /// Whether a path names a column of the key of any instance that is written, in any block.
    pub(super) fn is_key(&self, path: &Path, block: BlockIx) -> Option<KeyColumn> {
        let name = self.text.name(path.last());
        match path.qualifiers() {
            [] => self.blocks.get(block)?.instances.iter().find_map(|at| self.key_of(*at, &name)),
            qualifiers => self.key_of(self.qualified(qualifiers, block)?, &name),
        }
    }
}

/// The comparison with its sides exchanged.
fn turned(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        other => other,
    }
}
