//! HAVING: asked of whole groups, or by each shard of its own where that is the same.
//!
//! Owns: which conditions are, and what their operands are. Does not know: how numbers compare. Invariant: a condition that is left to the
//! shards holds for all parts of a group, or for none.

use super::super::edits::{Edit, NameEdit, Piece};
use super::super::parse::tree::{Alias, Comparison, Expr, ExprKind, Path};
use super::super::refusal::{Reason, Refusal};
use super::aggregates::{has_aggregate, has_average};
use super::columns::text;
use super::groups::Grouping;
use crate::merge::{Condition, Operand, Output, Test};
use crate::sql::Dialect;
use crate::sql::lexer::Kind;

impl Grouping<'_, '_> {
    /// The condition, and what becomes of it in the text.
    pub fn having(&mut self) -> Result<(Option<Condition>, Vec<NameEdit>), Refusal> {
        let Some(having) = &self.select.having else { return Ok((None, Vec::new())) };
        let conditions = match &having.kind {
            ExprKind::And(list) => &list[..],
            _ => std::slice::from_ref(having),
        };
        let (theirs, ours): (Vec<_>, Vec<_>) =
            conditions.iter().partition(|condition| !self.always && self.is_shards(condition));
        if ours.is_empty() && !self.renames() {
            return Ok((None, Vec::new()));
        }
        let ours: Option<Vec<_>> = ours.into_iter().map(|condition| self.condition(condition)).collect();
        let mut ours = ours.ok_or_else(refused)?;
        let word = having.first.checked_sub(1).filter(|at| self.columns.scope.text.is_word(*at, b"HAVING"));
        let token = word.ok_or_else(refused)?;
        let mut pieces = Vec::new();
        for (number, condition) in theirs.into_iter().enumerate() {
            pieces.push(text(if number == 0 { "HAVING " } else { " AND " }));
            pieces.append(&mut self.theirs(condition));
        }
        let mut edits = vec![NameEdit { token, edit: Edit::Without(having.end) }];
        if !pieces.is_empty() {
            edits.insert(0, NameEdit { token, edit: Edit::Before(pieces) });
        }
        let condition = match ours.len() {
            0 => None,
            1 => ours.pop(),
            _ => Some(Condition::All(ours)),
        };
        Ok((condition, edits))
    }

    /// Whether shards must know a condition's columns by hidden ones. Under ONLY_FULL_GROUP_BY MariaDB refuses a column there (1463) where the
    /// groups are by another table's column of that name, too, as finer ones may be.
    fn renames(&self) -> bool {
        self.is_finer && self.columns.tables() > 1 && self.columns.scope.text.dialect() == Dialect::MariaDb
    }

    /// A condition, as the shards have it.
    fn theirs(&mut self, condition: &Expr) -> Vec<Piece> {
        let (mut columns, mut left) = (Vec::new(), vec![condition]);
        while let Some(expr) = left.pop().filter(|_| self.renames()) {
            if matches!(expr.kind, ExprKind::Column(_)) {
                columns.push(expr.first..expr.end);
            }
            left.extend(expr.children());
        }
        columns.sort_by_key(|column| column.start);
        let (mut pieces, mut at) = (Vec::new(), condition.first);
        for column in columns {
            let hidden = self.columns.add(vec![Piece::Copy(column.clone())]) - self.columns.items.len();
            pieces.push(Piece::Copy(at..column.start));
            pieces.push(Piece::Text(format!(" `tidegate {hidden}` ").into()));
            at = column.end;
        }
        pieces.push(Piece::Copy(at..condition.end));
        pieces
    }

    /// Whether it compares columns of GROUP BY with constants and nothing else: equal values, as GROUP BY takes them, compare alike.
    fn is_shards(&self, expr: &Expr) -> bool {
        // Equal texts may be different numbers: those are compared by the merge, which refuses texts.
        let words = self.columns.scope.text;
        let plain = |expr: &Expr| match expr.kind {
            ExprKind::Literal { at, .. } => words.kind(at) == Kind::String,
            ExprKind::Null => true,
            _ => self.is_grouped(expr),
        };
        match &expr.kind {
            ExprKind::And(list) | ExprKind::Or(list) => list.iter().all(|one| self.is_shards(one)),
            ExprKind::Compare(_, sides) => plain(&sides.0) && plain(&sides.1),
            ExprKind::In { operands, .. } => operands.iter().all(plain),
            ExprKind::Between { operands, .. } => operands.iter().all(plain),
            ExprKind::Other(operands) => match (&operands[..], self.unary(expr)) {
                ([of], Some(Unary::Not)) => self.is_shards(of),
                ([of], Some(Unary::IsNull | Unary::IsNotNull)) => plain(of),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whether it is a column that GROUP BY names as well: HAVING means that one.
    pub fn is_grouped(&self, expr: &Expr) -> bool {
        let ExprKind::Column(path) = &expr.kind else { return false };
        let words = self.columns.scope.text;
        let same = |one, other| words.name(one).eq_ignore_ascii_case(&words.name(other));
        self.select.group.iter().any(|group| {
            let ExprKind::Column(own) = &group.kind else { return false };
            let (one, other) = (own.parts(), path.parts());
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(*one, *other))
        })
    }

    fn condition(&mut self, expr: &Expr) -> Option<Condition> {
        match &expr.kind {
            ExprKind::And(list) => self.conditions(list).map(Condition::All),
            ExprKind::Or(list) => self.conditions(list).map(Condition::Any),
            ExprKind::Compare(..) | ExprKind::In { .. } | ExprKind::Between { .. }
                if !self.compares_alike(expr) =>
            {
                None
            }
            ExprKind::Compare(comparison, sides) => {
                let test = match comparison {
                    Comparison::Equal => Test::Equal,
                    Comparison::NotEqual => Test::NotEqual,
                    Comparison::Less => Test::Less,
                    Comparison::LessOrEqual => Test::LessOrEqual,
                    Comparison::Greater => Test::Greater,
                    Comparison::GreaterOrEqual => Test::GreaterOrEqual,
                    Comparison::NullSafe => return None,
                };
                Some(Condition::Compare(self.operand(&sides.0)?, test, self.operand(&sides.1)?))
            }
            ExprKind::In { negated, operands } => {
                let (subject, list) = operands.split_first()?;
                let subject = self.operand(subject)?;
                let mut any = Vec::new();
                for one in list {
                    any.push(Condition::Compare(subject.clone(), Test::Equal, self.operand(one)?));
                }
                Some(negate(Condition::Any(any), *negated))
            }
            ExprKind::Between { negated, operands } => {
                let [subject, low, high] = &**operands;
                let subject = self.operand(subject)?;
                let low = Condition::Compare(subject.clone(), Test::GreaterOrEqual, self.operand(low)?);
                let high = Condition::Compare(subject, Test::LessOrEqual, self.operand(high)?);
                Some(negate(Condition::All(vec![low, high]), *negated))
            }
            ExprKind::Other(operands) => {
                let [of] = &operands[..] else { return None };
                match self.unary(expr)? {
                    Unary::IsNull | Unary::IsNotNull if !self.knows_null(of) => None,
                    Unary::Not => Some(Condition::Not(self.condition(of)?.into())),
                    Unary::IsNull => self.operand(of).map(Condition::IsNull),
                    Unary::IsNotNull => Some(Condition::Not(Condition::IsNull(self.operand(of)?).into())),
                }
            }
            _ => None,
        }
    }

    /// Whether averages are compared as exact numbers: as DOUBLE they have other digits. What is no literal may be one.
    fn compares_alike(&self, expr: &Expr) -> bool {
        let words = self.columns.scope.text;
        let average = |expr: &Expr| {
            let item = |path: &Path| {
                let mut items = self.columns.items.iter().flatten();
                items
                    .any(|(own, alias)| self.columns.answers_to(own, *alias, path) && has_average(words, own))
            };
            has_average(words, expr) || matches!(&expr.kind, ExprKind::Column(path) if item(path))
        };
        let exact = |expr: &Expr| {
            let ExprKind::Literal { at, typed: None, .. } = expr.kind else { return false };
            matches!(words.kind(at), Kind::Integer | Kind::Decimal)
        };
        let mut averages = expr.children().filter(|side| average(side));
        averages.next().is_none()
            || averages.next().is_none() && expr.children().all(|side| average(side) || exact(side))
    }

    fn conditions(&mut self, list: &[Expr]) -> Option<Vec<Condition>> {
        list.iter().map(|one| self.condition(one)).collect()
    }

    /// One side of a comparison.
    fn operand(&mut self, expr: &Expr) -> Option<Operand> {
        let words = self.columns.scope.text;
        match &expr.kind {
            ExprKind::Literal { .. } => self.literal(expr).map(Operand::Number),
            ExprKind::Column(path) if !self.is_grouped(expr) => {
                // Another column's name is an error, which the shards would not see.
                let items = self.columns.items.iter().enumerate();
                let mut found = items.filter(|(_, item)| {
                    item.is_some_and(|(own, alias)| self.columns.answers_to(own, alias, path))
                });
                let (place, item) = found.next()?;
                let own = item.map(|(own, _)| own);
                let open = self.columns.items.iter().flatten().any(|(_, alias)| *alias == Alias::Text);
                if found.next().is_some() || open {
                    return None;
                }
                let whole = own.and_then(|own| self.whole(own, place));
                Some(Operand::Column(whole.unwrap_or(place)))
            }
            ExprKind::Column(_) => {
                let place = self.columns.expr(expr)?;
                let key = self.keys.iter().find(|key| key.place == place)?.place;
                let items = self.columns.items.len();
                let fold = crate::merge::Fold::Any;
                Some(Operand::Column(if key < items { key } else { self.output(Output { place, fold }) }))
            }
            _ if has_aggregate(words, expr) => {
                let place = self.columns.expr(expr)?;
                if let Some(whole) = self.whole(expr, place) {
                    return Some(Operand::Column(whole));
                }
                if place < self.columns.items.len() {
                    return Some(Operand::Column(place));
                }
                let fold = self.fold(expr, place).ok()?;
                Some(Operand::Column(self.output(Output { place, fold })))
            }
            _ => None,
        }
    }

    /// What is asked of the only operand.
    fn unary(&self, expr: &Expr) -> Option<Unary> {
        let words = self.columns.scope.text;
        let ExprKind::Other(operands) = &expr.kind else { return None };
        let [of] = &operands[..] else { return None };
        let before = of.first.checked_sub(1).filter(|at| *at >= expr.first);
        if before.is_some_and(|at| words.is_word(at, b"NOT")) {
            return Some(Unary::Not);
        }
        if !words.is_word(of.end, b"IS") {
            return None;
        }
        match words.is_word(of.end + 1, b"NOT") {
            true => words.is_word(of.end + 2, b"NULL").then_some(Unary::IsNotNull),
            false => words.is_word(of.end + 1, b"NULL").then_some(Unary::IsNull),
        }
    }
}

/// A condition on one operand.
enum Unary {
    Not,
    IsNull,
    IsNotNull,
}

fn negate(condition: Condition, negated: bool) -> Condition {
    if negated { Condition::Not(condition.into()) } else { condition }
}

pub(super) fn refused() -> Refusal {
    let what = "HAVING on several shards with more than comparisons of aggregates and numbers";
    Refusal::new(Reason::HavingAcrossShards, what)
}
