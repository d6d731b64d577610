//! GROUP_CONCAT and the aggregates of JSON: texts that are joined.
//!
//! Owns: their arguments, and what the shards must send for an order or for values that count once. Does not know: how texts are joined
//! (`merge`). Invariant: texts of several shards come in the order that is asked for; how long they may be a shard says itself.

use super::super::edits::{Edit, NameEdit, Piece};
use super::super::keys::KeySource;
use super::super::merging::number;
use super::super::parse::text::Text;
use super::super::parse::tree::{Call, Expr, ExprKind, Query};
use super::super::refusal::Refusal;
use super::columns::{copy, text};
use super::groups::{Grouping, grouped, order_or_limit};
use crate::merge::{Concat, Fold, Key, Length};
use crate::sql::Dialect;
use crate::sql::lexer::Kind;

/// The parts of such a call.
struct Parts<'q> {
    values: Vec<&'q Expr>,
    order: Vec<(&'q Expr, bool)>,
    separator: Option<&'q Expr>,
}

impl<'q> Parts<'q> {
    fn of(words: &Text, call: &'q Call) -> Self {
        let mut parts = Self { values: Vec::new(), order: Vec::new(), separator: None };
        let mut ordered = false;
        for argument in &call.arguments {
            let before = argument.first.saturating_sub(1);
            ordered |= words.is_word(before, b"BY");
            if words.is_word(before, b"SEPARATOR") {
                parts.separator = Some(argument);
            } else if ordered {
                parts.order.push((argument, words.is_word(argument.end, b"DESC")));
            } else {
                parts.values.push(argument);
            }
        }
        parts
    }
}

/// Whether the shards' groups must be finer for it: by what it is sorted by, or by its values.
pub(super) fn asks_for_finer(words: &Text, call: &Call) -> bool {
    is_joined(words, call) && (call.distinct || !Parts::of(words, call).order.is_empty())
}

/// Whether it joins texts.
pub(super) fn is_joined(words: &Text, call: &Call) -> bool {
    let name = words.name(call.name.last());
    [&b"GROUP_CONCAT"[..], b"JSON_ARRAYAGG", b"JSON_OBJECTAGG"]
        .iter()
        .any(|own| own.eq_ignore_ascii_case(&name))
}

impl Grouping<'_, '_> {
    /// How its texts, at `place` of the shards' rows, become the whole group's.
    pub fn joined(&mut self, call: &Call, name: &[u8], place: usize) -> Option<Fold> {
        let words = self.columns.scope.text;
        let is_mysql = words.dialect() == Dialect::MySql;
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let parts = Parts::of(words, call);
        if !is_mysql && self.is_finer && !is(b"GROUP_CONCAT") {
            return None; // MariaDB 10.11 gives other bytes than the definition says where it sorts groups beside texts in latin1
        }
        if is(b"JSON_OBJECTAGG") {
            let plain = !call.distinct && parts.order.is_empty();
            return plain.then_some(Fold::JsonObject { sorted: is_mysql });
        }
        let separator = match parts.separator {
            None => b",".to_vec(),
            Some(Expr { kind: ExprKind::Literal { at, negative: false, typed: None }, .. })
                if words.kind(*at) == Kind::String =>
            {
                let source = KeySource::of(words, parts.separator?)?;
                number(source, &mut self.texts)
            }
            Some(_) => return None,
        };
        let distinct = match call.distinct {
            true => Some(self.values(&parts)?),
            false => None,
        };
        self.sort_by(&parts, distinct.as_deref())?;
        if is(b"JSON_ARRAYAGG") {
            let length = (!is_mysql).then(|| self.length());
            let between = if is_mysql { ", " } else { "," };
            // Of equal values any may stand for all, and the shards' arrays have one each.
            return distinct
                .is_none()
                .then(|| Fold::JsonArray { separator: between.into(), length_max: length });
        }
        let length_max = self.length();
        Some(Fold::Concat(Concat { value: place, separator, distinct, times: None, length_max }))
    }

    /// `group_concat_max_len`, as each shard has it.
    fn length(&mut self) -> Length {
        Length::At(self.columns.add(vec![text("@@group_concat_max_len")]))
    }

    /// Each value counts once: the shards tell of each in a group of its own.
    fn values(&mut self, parts: &Parts<'_>) -> Option<Vec<Key>> {
        parts.values.iter().map(|value| self.finer_by(value)).collect()
    }

    /// The shards' groups are finer by it; what it is compared by.
    pub fn finer_by(&mut self, expr: &Expr) -> Option<Key> {
        self.columns.group_by(expr);
        let own = self.columns.expr(expr)?;
        let key = self.columns.key(own, expr);
        if self.finer.iter().all(|(place, _)| *place != own) {
            self.finer.push((own, copy(expr)));
        }
        Some(key)
    }

    /// The shards send their groups in the order that is asked for.
    fn sort_by(&mut self, parts: &Parts<'_>, distinct: Option<&[Key]>) -> Option<()> {
        if parts.order.is_empty() {
            return Some(());
        }
        let mut sorted = Vec::new();
        for (expr, descending) in &parts.order {
            // A number is the place of a value.
            if matches!(expr.kind, ExprKind::Literal { .. } | ExprKind::Parameter(_) | ExprKind::Null) {
                return None;
            }
            let key = self.finer_by(expr)?;
            if distinct.is_some_and(|values| values.iter().all(|value| value.place != key.place)) {
                return None;
            }
            sorted.push(Key { descending: *descending, ..key });
        }
        match &self.joined_by {
            None => self.joined_by = Some(sorted),
            Some(known) if *known == sorted => {}
            Some(_) => return None,
        }
        Some(())
    }

    /// The order of the shards' groups in the text, in the place of the result's. `without` is what becomes of HAVING.
    pub fn join_in_order(
        &self,
        query: &Query,
        is_bare: bool,
        mut without: Vec<NameEdit>,
        edits: &mut Vec<NameEdit>,
    ) -> Result<(), Refusal> {
        let Some(joined_by) = &self.joined_by else {
            edits.extend(without);
            return Ok(());
        };
        let words = self.columns.scope.text;
        let items = self.columns.items.len();
        let mut list = String::from("ORDER BY ");
        for (number, key) in joined_by.iter().enumerate() {
            list += if number == 0 { "" } else { ", " };
            list += &match key.place.checked_sub(items) {
                Some(hidden) => format!("`tidegate {hidden}`"),
                None => (key.place + 1).to_string(),
            };
            list += if key.descending { " DESC" } else { "" };
        }
        let piece = |text: String| vec![Piece::Text(text.into())];
        let ends = query.order.is_empty() && query.limit.is_none();
        let (next, last) = (order_or_limit(words, query), without.pop());
        match (next, last) {
            (Some(token), last) => {
                edits.extend(without);
                edits.extend(last);
                edits.push(NameEdit { token, edit: Edit::Before(piece(list + " ")) });
                if let Some(last) = query.order.last() {
                    let end = last.expr.end;
                    let end = if words.is_one_of(end, &[b"ASC", b"DESC"]) { end + 1 } else { end };
                    edits.push(NameEdit { token, edit: Edit::Without(end) });
                }
            }
            // HAVING is the end, and is left out.
            (None, Some(last)) if ends && is_bare => {
                edits.extend(without);
                edits.push(NameEdit { token: last.token, edit: Edit::Before(piece(format!(" {list}"))) });
                edits.push(last);
            }
            (None, None) if ends && is_bare => {
                let token = words.len().saturating_sub(1);
                edits.push(NameEdit { token, edit: Edit::After(piece(format!(" {list}"))) });
            }
            _ => return Err(grouped("Sorted aggregates in parentheses")),
        }
        Ok(())
    }
}
