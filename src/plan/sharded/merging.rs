//! A plan's merge with the values of one execution.
//!
//! Owns: LIMIT, and the numbers that rows are compared or computed with. Does not know: rows, sessions. Invariant: a number that is not
//! understood is none: the statement does not run.

use super::edits::{Edit, NameEdit, tokens_of};
use super::keys::KeySource;
use super::planned::{Cut, Finishing, Merged, Operand, Term};
use super::refusal::{Reason, Refusal};
use super::values::Arguments;
use crate::merge::{
    self, Arrival, Combine, Condition, Error, Expression, Finished, Fold, Key, Limit, Pad, Spec, Word,
};
use crate::shard::Value;

/// How one execution's rows become one result.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Merging {
    spec: Spec,
    width: usize,
    star: Option<usize>,
}

impl Merged {
    /// For these values: the merge, and what becomes of the text, `names` included.
    ///
    /// # Errors
    /// A number is none, or an expression is another one than the plan takes it for.
    pub fn execution(
        &self,
        names: &[NameEdit],
        arguments: &Arguments<'_>,
    ) -> Result<(Merging, Vec<NameEdit>), Refusal> {
        let refuse = |reason, what: &str| Refusal::new(reason, what);
        let literal = |ordinal: u32| {
            let literal = arguments.literals.get(ordinal as usize)?;
            arguments.sql.get(literal.span.clone())
        };
        if self.alike.iter().any(|(one, other)| literal(*one).is_none() || literal(*one) != literal(*other)) {
            let what = "DISTINCT on several shards, sorted or grouped by something else";
            return Err(refuse(Reason::DistinctAcrossShards, what));
        }
        let mut spec = self.spec.clone();
        let mut edits = [names, &self.edits].concat();
        if let Some(cut) = &self.limit {
            let what = "LIMIT on several shards is no number";
            spec.limit =
                limit(cut, arguments, &mut edits).ok_or_else(|| refuse(Reason::LimitNotConstant, what))?;
        }
        edits.sort_by_key(|edit| edit.token);
        let what = "HAVING, or an expression of aggregates, on several shards with what is no number";
        let no_number = || refuse(Reason::HavingAcrossShards, what);
        let numbers: Option<Vec<_>> = self.numbers.iter().map(|source| arguments.digits(*source)).collect();
        fill(&mut spec, &numbers.ok_or_else(no_number)?).ok_or_else(no_number)?;
        let what = "GROUP_CONCAT on several shards with a SEPARATOR beyond ASCII";
        let texts: Option<Vec<_>> = self.texts.iter().map(|source| ascii(arguments, *source)).collect();
        fill_texts(&mut spec, &texts.ok_or_else(|| refuse(Reason::AggregateAcrossShards, what))?);
        spec.finished = self.finished.iter().map(|own| finished(own, arguments)).collect();
        Ok((Merging { spec, width: self.width, star: self.star }, edits))
    }
}

/// The LIMIT of the result; what the shards' is goes to `edits`.
fn limit(cut: &Cut, arguments: &Arguments<'_>, edits: &mut Vec<NameEdit>) -> Option<Limit> {
    let number = |operand: Operand| arguments.number(operand.source);
    let count = number(cut.count)?;
    let offset = match cut.offset {
        Some(offset) => number(offset)?,
        None => 0,
    };
    let theirs = if cut.pushed { count.saturating_add(offset) } else { u64::MAX };
    let mut put = |token, number: u64| {
        edits.push(NameEdit { token, edit: Edit::Text(arguments.written(number)) });
    };
    // Of no rows servers tell the columns in a way of its own.
    if count > 0 {
        put(cut.count.token, theirs);
        if let Some(offset) = cut.offset {
            put(offset.token, 0);
        }
    }
    Some(Limit { offset, count: Some(count) })
}

/// Puts numbers where their places stand.
fn fill(spec: &mut Spec, numbers: &[Vec<u8>]) -> Option<()> {
    if let Combine::Groups(groups) = &mut spec.combine {
        for output in &mut groups.outputs {
            if let Fold::Expression(expression) = &mut output.fold {
                fill_expression(expression, numbers)?;
            }
        }
    }
    spec.having.as_mut().map_or(Some(()), |condition| fill_condition(condition, numbers))
}

/// An expression with the tokens of this execution's text.
fn finished(own: &Finishing, arguments: &Arguments<'_>) -> Finished {
    let words = own.parts.iter().map(|part| match part {
        Term::Tokens(range) => Word::Sql(tokens_of(arguments.sql, arguments.lexing, range.clone())),
        Term::Text(words) => Word::Sql(words.as_bytes().to_vec()),
        Term::Output(place) => Word::Output(*place),
        Term::Whole(place) => Word::Whole(*place),
    });
    Finished { place: own.place, words: words.collect(), texts: own.texts, alike: own.alike }
}

/// A string of ASCII, which is the same in all character sets that texts are joined in.
fn ascii(arguments: &Arguments<'_>, source: KeySource) -> Option<Vec<u8>> {
    match arguments.read(source).value() {
        Value::Text(text, _) if text.is_ascii() => Some(text.to_vec()),
        _ => None,
    }
}

/// Puts strings where their places stand.
fn fill_texts(spec: &mut Spec, texts: &[Vec<u8>]) {
    let Combine::Groups(groups) = &mut spec.combine else { return };
    for output in &mut groups.outputs {
        let Fold::Concat(concat) = &mut output.fold else { continue };
        let place = std::str::from_utf8(&concat.separator).ok().and_then(|place| place.parse().ok());
        if let Some(text) = place.and_then(|place: usize| texts.get(place)) {
            concat.separator.clone_from(text);
        }
    }
}

fn fill_expression(expression: &mut Expression, numbers: &[Vec<u8>]) -> Option<()> {
    match expression {
        Expression::Output(_) => Some(()),
        Expression::Number(number) => fill_number(number, numbers),
        Expression::Arithmetic(left, _, right) | Expression::IfNull(left, right) => {
            fill_expression(left, numbers)?;
            fill_expression(right, numbers)
        }
        Expression::Declared(value) => fill_expression(value, numbers),
        Expression::Round { value, digits, .. } => {
            fill_expression(value, numbers)?;
            match digits.is_empty() {
                true => digits.push(b'0'),
                false => fill_number(digits, numbers)?,
            }
            Some(())
        }
    }
}

fn fill_condition(condition: &mut Condition, numbers: &[Vec<u8>]) -> Option<()> {
    let operand = |operand: &mut merge::Operand| match operand {
        merge::Operand::Column(_) => Some(()),
        merge::Operand::Number(number) => fill_number(number, numbers),
    };
    match condition {
        Condition::Compare(left, _, right) => {
            operand(left)?;
            operand(right)
        }
        Condition::IsNull(of) => operand(of),
        Condition::Not(of) => fill_condition(of, numbers),
        Condition::All(list) | Condition::Any(list) => {
            list.iter_mut().try_for_each(|one| fill_condition(one, numbers))
        }
    }
}

fn fill_number(number: &mut Vec<u8>, numbers: &[Vec<u8>]) -> Option<()> {
    let place: usize = std::str::from_utf8(number).ok()?.parse().ok()?;
    number.clone_from(numbers.get(place)?);
    Some(())
}

/// A number as a plan holds it: its source is kept, and its place among them stands for it.
pub(super) fn number(source: KeySource, numbers: &mut Vec<KeySource>) -> Vec<u8> {
    numbers.push(source);
    (numbers.len() - 1).to_string().into_bytes()
}

impl Merging {
    /// Rows of any columns, one shard's after the other's.
    pub fn rows() -> Self {
        Self { spec: Spec::default(), width: 1, star: Some(0) }
    }

    /// What is done with rows of so many columns.
    ///
    /// # Errors
    /// The rows have not as many as were asked for.
    pub fn of(&self, columns: usize) -> Result<Spec, Error> {
        let mut spec = self.spec.clone();
        let Some(star) = self.star else {
            return if columns == self.width { Ok(spec) } else { Err(Error::Malformed) };
        };
        let more = columns.checked_sub(self.width).ok_or(Error::Malformed)?;
        let place = |place: &mut usize| *place += if *place > star { more } else { 0 };
        // With a star rows are passed on, perhaps sorted.
        if let Arrival::Sorted(keys) = &mut spec.arrival {
            for Key { place: own, weight, number, descending: _ } in keys {
                place(own);
                number.iter_mut().for_each(place);
                if let Some(weight) = weight {
                    place(&mut weight.place);
                    if let Pad::At(space) = &mut weight.pad {
                        place(space);
                    }
                }
            }
        }
        Ok(spec)
    }

    /// Rows at the result's start that the client does not get.
    pub fn offset(&self) -> u64 {
        self.spec.limit.offset
    }
}
