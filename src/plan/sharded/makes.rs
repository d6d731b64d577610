//! INSERT into a table of whose rows Tidegate makes a value (`generate`).
//!
//! Owns: which rows need one, as AUTO_INCREMENT takes them, and the text with the values in it, which is planned as any other is.
//! Does not know: how values are made. Invariant: a text with all its values needs none; what could be 0 or NULL, and is not known before
//! a server has computed it, is refused: the server would make a value of its own.

use std::ops::Range;

use super::keys::KeySource;
use super::named::{named_number, named_uuid};
use super::parse::rows::{rows, values};
use super::parse::statement::{Insert, Rows};
use super::parse::text::{At, Text, counts};
use super::parse::tree::{Body, ExprKind, Item, Path, Query, Select, Source};
use super::planned::{Planned, Routed};
use super::refusal::{Reason, Refusal};
use super::values::Arguments;
use crate::generate::{Id, Sequence, uuid};
use crate::shard::{Generate, GenerateBy, Value};
use crate::sql::lexer::Lexer;
use crate::sql::{self, quoted, splice};

/// An INSERT whose rows may need values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Makes {
    /// How they are made.
    pub by: GenerateBy,
    /// Whose they are.
    pub sequence: Sequence,
    /// The column.
    pub column: String,
    /// Where its name is put, if the statement does not name it.
    list: Option<Put>,
    /// Each row's.
    slots: Vec<Slot>,
    /// It may change rows that are there: ON DUPLICATE KEY UPDATE.
    pub updates: bool,
    /// The statement as it stands, on any shard, or at home: to be prepared there; it is never carried out so.
    pub bare: Option<Routed>,
    /// What becomes of it where no row needs a value; `None` where one does, whatever the values of the others.
    pub otherwise: Option<Box<Planned>>,
}

/// Where something is put that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Put {
    /// Behind this token, in front of more.
    First(At),
    /// Behind this token, which is a word, in front of more.
    Word(At),
    /// Behind this token, alone.
    Only(At),
    /// In front of this token, as a list of its own.
    List(At),
    /// Behind this token, with the column's name, in front of more.
    Set(At),
}

/// The value of one row.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Slot {
    /// It is not there.
    Absent(Put),
    /// NULL or DEFAULT stands for it.
    Instead(Range<At>),
    /// It is given, and may be one that asks for another.
    Given { tokens: Range<At>, source: KeySource },
    /// It is given.
    Kept,
}

/// Which rows of one execution get values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wants(Vec<usize>);

impl Wants {
    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl Makes {
    /// What is inserted, with regard to the column; `bare` is the statement as it stands. `None` where the columns are not known.
    pub(super) fn of(
        text: &Text,
        insert: &Insert,
        generate: &Generate,
        sequence: Sequence,
        bare: Option<Routed>,
    ) -> Result<Option<Self>, Refusal> {
        let unclear = |what: &str| {
            let what = format!("The value of `{}`, which Tidegate makes, {what}", generate.column);
            Refusal::new(Reason::GeneratedUnclear, what)
        };
        let is_column = |path: &Path| text.name(path.last()).eq_ignore_ascii_case(generate.column.as_bytes());
        let slot = |tokens: Range<At>, source: Option<KeySource>| {
            if tokens.end == tokens.start + 1 && text.is_one_of(tokens.start, &[b"NULL", b"DEFAULT"]) {
                return Ok(Slot::Instead(tokens));
            }
            match source {
                Some(source) => Ok(Slot::Given { tokens, source }),
                None if !generate.by.is_number() => Ok(Slot::Kept),
                None => Err(unclear("is an expression")),
            }
        };
        let (mut list, mut slots) = (None, Vec::new());
        match &insert.rows {
            Rows::Query(query) => {
                let select =
                    one_row(text, query).ok_or_else(|| unclear("comes from rows that are selected"))?;
                let columns = insert.columns.as_deref().unwrap_or_default();
                let (Some(column), Some(Item::Expr(first, _))) = (columns.first(), select.items.first())
                else {
                    return Err(unclear("comes from rows that are selected"));
                };
                match columns.iter().position(is_column) {
                    None => {
                        list = Some(Put::First(before(column)));
                        slots.push(Slot::Absent(Put::Word(first.first.saturating_sub(1))));
                    }
                    Some(place) => {
                        let items = select.items.get(..=place).unwrap_or_default();
                        let all = items.iter().all(|item| matches!(item, Item::Expr(..)));
                        let Some(Item::Expr(value, _)) = items.last().filter(|_| all) else {
                            return Err(unclear("comes from rows that are selected"));
                        };
                        slots.push(slot(value.first..value.end, KeySource::of(text, value))?);
                    }
                }
            }
            Rows::Set(sets) => match sets.iter().rev().find(|set| is_column(&set.column)) {
                Some(set) if set.value.kind == ExprKind::Default => {
                    slots.push(Slot::Instead(set.value.first..set.value.end));
                }
                Some(set) => {
                    slots.push(slot(set.value.first..set.value.end, KeySource::of(text, &set.value))?);
                }
                None => {
                    let first = sets.first().ok_or_else(|| unclear("has no place"))?;
                    slots.push(Slot::Absent(Put::Set(before(&first.column))));
                }
            },
            Rows::Values(all) => {
                let columns = insert.columns.as_deref().unwrap_or_default();
                let place = columns.iter().position(is_column);
                let word = all.start.saturating_sub(1);
                if place.is_none() {
                    list = Some(match (&insert.columns, columns.first()) {
                        (Some(_), Some(first)) => Put::First(before(first)),
                        (Some(_), None) => Put::Only(word.saturating_sub(2)),
                        (None, _) => Put::List(word),
                    });
                }
                for row in rows(text, all.clone()) {
                    let is_empty = row.end == row.start + 2;
                    slots.push(match place {
                        None if is_empty => Slot::Absent(Put::Only(row.start)),
                        None if insert.columns.is_none() => return Ok(None),
                        None => Slot::Absent(Put::First(row.start)),
                        Some(place) => {
                            let Some(tokens) = values(text, row).get(place).cloned() else {
                                let what = "A row has not a value for each column";
                                return Err(Refusal::new(Reason::ColumnCount, what));
                            };
                            let source = KeySource::of_tokens(text, tokens.clone());
                            slot(tokens, source)?
                        }
                    });
                }
            }
        }
        let (column, by) = (generate.column.clone(), generate.by);
        let updates = !insert.on_duplicate.is_empty();
        Ok(Some(Self { by, sequence, column, list, slots, updates, bare, otherwise: None }))
    }

    /// The rows that need values, whatever is given; `None` where no row does.
    pub fn sure_needs(&self) -> Option<Wants> {
        let sure = |slot: &Slot| matches!(slot, Slot::Absent(_) | Slot::Instead(_));
        let rows = self.slots.iter().enumerate().filter(|(_, slot)| sure(slot));
        let needs: Vec<_> = rows.map(|(row, _)| row).collect();
        (!needs.is_empty()).then_some(Wants(needs))
    }

    /// Whether a row needs a value, whatever values are given.
    pub(super) fn surely_needs(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot, Slot::Absent(_) | Slot::Instead(_)))
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.slots.len()
    }

    /// The rows of this execution that need values. `zero_is_value`: sql_mode has NO_AUTO_VALUE_ON_ZERO.
    ///
    /// # Errors
    /// A value is given of which only a server can tell whether it is 0, or one by which nobody could tell what became of the rows before.
    pub fn needs(&self, arguments: &Arguments<'_>, zero_is_value: bool) -> Result<Wants, Refusal> {
        let mut needs = Vec::new();
        for (row, slot) in self.slots.iter().enumerate() {
            let asks = match slot {
                Slot::Absent(_) | Slot::Instead(_) => true,
                Slot::Kept => false,
                Slot::Given { source, .. } if self.by.is_number() => {
                    match asks_for_number(arguments.read(*source).value(), zero_is_value) {
                        Some(asks) => asks,
                        None => {
                            let what = format!(
                                "Whether the value of `{}`, which Tidegate makes, is 0 in a row is not known",
                                self.column
                            );
                            return Err(Refusal::new(Reason::GeneratedUnclear, what));
                        }
                    }
                }
                Slot::Given { source, .. } => arguments.read(*source).value() == Value::Null,
            };
            if asks {
                needs.push(row);
            } else if self.by.is_number()
                && self.updates
                && !needs.is_empty()
                && matches!(slot, Slot::Given { .. })
            {
                // The server tells the last id that was given: whether the row before was inserted, or was there, nobody knows then.
                let what = format!(
                    "ON DUPLICATE KEY UPDATE with a row that gives `{}` behind one whose value Tidegate makes",
                    self.column
                );
                return Err(Refusal::new(Reason::GeneratedUnclear, what));
            }
        }
        Ok(Wants(needs))
    }

    /// The numbers that rows of this execution give themselves.
    pub fn given(&self, arguments: &Arguments<'_>) -> impl Iterator<Item = u64> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Given { source, .. } => whole_number(arguments.read(*source).value()),
            Slot::Absent(_) | Slot::Instead(_) | Slot::Kept => None,
        })
    }

    /// A value as it is written in a text.
    pub fn literal(&self, id: Id) -> Vec<u8> {
        match (id, self.by) {
            (Id::Number(number), _) => number.to_string().into_bytes(),
            (Id::Uuid(uuid), GenerateBy::UuidV7Binary) => format!("X'{uuid:032X}'").into_bytes(),
            (Id::Uuid(uuid), _) => [&b"'"[..], &uuid::text(uuid), b"'"].concat(),
        }
    }

    /// A value as a parameter that the client does not have.
    pub fn named(&self, id: Id) -> Vec<u8> {
        match id {
            Id::Number(number) => named_number(number),
            Id::Uuid(uuid) => named_uuid(uuid, self.by == GenerateBy::UuidV7Binary),
        }
    }

    /// The text with these values, the first for the first row that needs one.
    pub fn write(
        &self,
        arguments: &Arguments<'_>,
        needs: &Wants,
        value: impl Fn(usize) -> Vec<u8>,
    ) -> Vec<u8> {
        let column = || quoted(self.column.as_bytes(), b'`');
        let mut puts: Vec<(Range<At>, Vec<u8>)> = Vec::with_capacity(needs.count() + 1);
        if let Some(list) = self.list {
            puts.push(put(list, column(), &column()));
        }
        let slots = needs.0.iter().filter_map(|row| self.slots.get(*row));
        puts.extend(slots.enumerate().map(|(at, slot)| match slot {
            Slot::Absent(place) => put(*place, value(at), &column()),
            Slot::Instead(tokens) | Slot::Given { tokens, .. } => (tokens.clone(), value(at)),
            Slot::Kept => (0..0, Vec::new()),
        }));
        // Where the column is put, every row has a value made.
        let mut edits = Vec::with_capacity(puts.len());
        let mut puts = puts.into_iter().peekable();
        let (mut start, mut before) = (0, 0);
        let tokens = Lexer::new(arguments.sql, arguments.lexing).filter(|token| counts(token.kind)).zip(0..);
        for (token, number) in tokens {
            while let Some((range, _)) = puts.peek() {
                if number == range.start {
                    start = token.start;
                }
                let span = match range.is_empty() {
                    true if number == range.start => before..before,
                    false if number + 1 == range.end => start..token.end,
                    _ => break,
                };
                if let Some((_, text)) = puts.next() {
                    edits.push(sql::Edit { span, text });
                }
            }
            before = token.end;
        }
        splice(arguments.sql, &edits)
    }
}

/// The token in front of a column's name.
fn before(column: &Path) -> At {
    column.qualifiers().first().copied().unwrap_or(column.last()).saturating_sub(1)
}

/// The SELECT of a query that has no more than one row: it reads no table.
fn one_row<'a>(text: &Text, query: &'a Query) -> Option<&'a Select> {
    let Body::Select(select) = &query.body else { return None };
    let is_none = |source: &Source| matches!(source, Source::Table { name, .. } if name.qualifiers().is_empty() && text.is_word(name.last(), b"DUAL"));
    let plain = !select.elaborate && select.group.is_empty() && query.with.is_empty();
    (plain && select.from.iter().all(is_none)).then_some(select)
}

/// What is put, and where: in front of the token with this number, behind the one before.
fn put(place: Put, what: Vec<u8>, column: &[u8]) -> (Range<At>, Vec<u8>) {
    let behind = |at: At| at + 1..at + 1;
    match place {
        Put::First(at) => (behind(at), [&what, &b","[..]].concat()),
        Put::Word(at) => (behind(at), [&b" "[..], &what, b","].concat()),
        Put::Only(at) => (behind(at), what),
        Put::List(at) => (at..at, [&b" ("[..], &what, b")"].concat()),
        Put::Set(at) => (behind(at), [&b" "[..], column, b"=", &what, b","].concat()),
    }
}

/// Whether a value asks for another in a column of numbers, as one of AUTO_INCREMENT does; `None` where only a server knows.
pub fn asks_for_number(value: Value<'_>, zero_is_value: bool) -> Option<bool> {
    asks(value).map(|asked| match asked {
        Asked::Null => true,
        Asked::Zero => !zero_is_value,
        Asked::Nothing => false,
    })
}

/// What a value asks of an AUTO_INCREMENT column.
enum Asked {
    Null,
    Zero,
    Nothing,
}

/// `None` where only a server knows.
fn asks(value: Value<'_>) -> Option<Asked> {
    let of = |is_zero| Some(if is_zero { Asked::Zero } else { Asked::Nothing });
    match value {
        Value::Null => Some(Asked::Null),
        Value::Integer(number) => of(number == 0),
        // It is rounded to a whole number, a half of floating point to the even one.
        Value::Double(number) if number.is_finite() => of(number.abs() <= 0.5),
        Value::Decimal(text) => {
            of(std::str::from_utf8(text).ok()?.parse::<f64>().ok().filter(|n| n.is_finite())?.abs() < 0.5)
        }
        Value::Text(text, _) | Value::Bytes(text) => {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            let whole = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            whole.then(|| of(digits.iter().all(|digit| *digit == b'0')))?
        }
        _ => None,
    }
}

/// The whole number above 0 that a value is stored as.
pub fn whole_number(value: Value<'_>) -> Option<u64> {
    // Above 2^53 not every number is one of these.
    let rounded = |number: f64| (0.5..9e15).contains(&number).then_some(number.round() as u64);
    match value {
        Value::Integer(number) => u64::try_from(number).ok(),
        Value::Double(number) => rounded(number),
        Value::Decimal(text) => rounded(std::str::from_utf8(text).ok()?.parse().ok()?),
        Value::Text(text, _) | Value::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        _ => None,
    }
}
