//! Values that Tidegate makes for the rows of a file (`generate`).
//!
//! Owns: which rows get one, what is taken for them, and the row with its value. Does not know: where rows go (`loading`). Invariant: a value
//! that a row gets is no other row's of the file; where a row gives one that was made before, the file is refused. A number that is far away is
//! passed with the statement's end only (`passing`).

use std::ops::RangeInclusive;
use std::time::Duration;

use super::loading::Loading;
use super::making::{NO_SEGMENT, without_sequence};
use super::passing::Passing;
use crate::generate::{GIVEN, Generators, Id, Run, uuid};
use crate::plan::sharded::{LoadMakes, Reason, Refusal, asks_for_number, whole_number};
use crate::session::sites::direct::refused;
use crate::session::{Problem, Session};
use crate::shard::{Charset, GenerateBy, Value};
use crate::sql::file::{Field, Rows};

/// How many values are taken at once at most; one at first, then twice as many each time.
const TAKEN_MAX: usize = 1024;

/// So many gaps between the numbers of a file are remembered; what is in later ones is taken for a row's.
const GAPS_MAX: usize = 4096;

/// What is made for a file.
#[derive(Debug)]
pub(super) struct Numbering {
    makes: LoadMakes,
    /// Fields of the key, in front of the column's own.
    key_fields: usize,
    /// Those among them that are the column.
    in_key: Vec<usize>,
    /// What ends a field.
    field_end: Vec<u8>,
    charset: Charset,
    zero_is_value: bool,
    patience: Duration,
    /// What was taken last, how much of it, and how much of that is used.
    run: Option<Run>,
    taken: usize,
    used: usize,
    /// The numbers that rows have got, in their order.
    made: Vec<RangeInclusive<u64>>,
    /// The largest number that was passed.
    passed: Option<u64>,
    /// The least and the largest number that rows give and that is not passed yet.
    far: Option<RangeInclusive<u64>>,
    /// The row in hand and its key, with the value.
    row: Vec<u8>,
    key: Vec<Field>,
}

impl Session {
    /// What is to be made for a file; `None` for nothing.
    pub(super) fn numbering(&self, loading: &Loading, charset: Charset) -> Option<Numbering> {
        let load = loading.load();
        let makes = load.makes.clone()?;
        let is_column = |(_, name): &(usize, &String)| name.eq_ignore_ascii_case(&makes.column);
        let in_key = load.key.iter().enumerate().filter(is_column).map(|(at, _)| at).collect();
        Some(Numbering {
            makes,
            key_fields: load.places.len(),
            in_key,
            field_end: load.format.field_end.clone(),
            charset,
            zero_is_value: self.zero_is_value,
            patience: self.worker.clusters.home().snapshot().cluster.pool.primary_wait,
            run: None,
            taken: 0,
            used: 0,
            made: Vec::new(),
            passed: None,
            far: None,
            row: Vec::new(),
            key: Vec::new(),
        })
    }
}

impl Numbering {
    /// A row of this number as its shard gets it, and its key.
    ///
    /// # Errors
    /// Whether it asks for a value is not known, it gives one that was made, or none can be made.
    pub async fn number<'a>(
        &'a mut self,
        generators: &Generators,
        (row, rows): (&'a [u8], &'a Rows),
        number: usize,
    ) -> Result<(&'a [u8], &'a [Field]), Problem> {
        let key = rows.key().get(..self.key_fields).unwrap_or_default();
        let own = rows.key().get(self.key_fields);
        if !self.asks(generators, own, number).await? {
            return Ok((row, key));
        }
        let value = match self.next(generators).await? {
            Id::Number(number) => number.to_string().into_bytes(),
            Id::Uuid(id) => uuid::text(id).to_vec(),
        };
        // Of ASCII, and of nothing that marks a field: it needs no quotes.
        let (end, instead) = match own {
            Some(_) => (&b""[..], rows.span(self.key_fields)),
            None => (&self.field_end[..], rows.begins()..rows.begins()),
        };
        let before = row.get(..instead.start).unwrap_or_default();
        let behind = row.get(instead.end..).unwrap_or_default();
        self.row.clear();
        [before, &value, end, behind].iter().for_each(|part| self.row.extend_from_slice(part));
        self.key.clear();
        self.key.extend_from_slice(key);
        for place in &self.in_key {
            if let Some(field) = self.key.get_mut(*place) {
                *field = Field::Text(value.clone());
            }
        }
        Ok((&self.row, &self.key))
    }

    /// Whether a row asks for a value; passes the number that it gives instead.
    async fn asks(
        &mut self,
        generators: &Generators,
        own: Option<&Field>,
        number: usize,
    ) -> Result<bool, Problem> {
        let text = match own {
            None | Some(Field::Null) => return Ok(true),
            Some(Field::Missing) => return Err(self.unclear("is missing", number)),
            Some(Field::Unclosed) => return Err(self.unclear("has no closing quote", number)),
            Some(Field::Text(_)) if !self.makes.by.is_number() => return Ok(false),
            Some(Field::Text(text)) => text,
        };
        let value = Value::Text(text, self.charset);
        let Some(asks) = asks_for_number(value, self.zero_is_value) else {
            return Err(self.unclear("is no plain number", number));
        };
        if let Some(given) = whole_number(value).filter(|_| self.makes.by == GenerateBy::Segment) {
            let above = self.made.partition_point(|made| *made.start() <= given);
            if above.checked_sub(1).and_then(|at| self.made.get(at)).is_some_and(|made| made.contains(&given))
            {
                return Err(self.unclear("is one that a row before may have got", number));
            }
            self.pass(generators, given).await?;
        }
        Ok(asks)
    }

    /// What is made from now on is above this number.
    async fn pass(&mut self, generators: &Generators, given: u64) -> Result<(), Problem> {
        let (segments, sequence) = (&generators.segments, &self.makes.sequence);
        if given >= GIVEN {
            return Ok(()); // no sequence comes so far
        }
        if let Some(Run::From(first)) = self.run {
            let rest = first.saturating_add(self.used as u64)..first.saturating_add(self.taken as u64);
            if rest.contains(&given) {
                self.used = usize::try_from(given - first).unwrap_or(self.taken).saturating_add(1);
                return Ok(());
            }
        }
        if self.passed.is_some_and(|passed| given <= passed) {
            return Ok(());
        }
        if self.passed.is_none() {
            // What is near is known once something was fetched.
            segments.pass(sequence, 0, self.patience).await.map_err(|_| NO_SEGMENT)?;
            self.passed = Some(0);
        }
        if segments.is_near(sequence, given) {
            segments.pass(sequence, given, self.patience).await.map_err(|_| NO_SEGMENT)?;
            self.passed = Some(given);
        } else {
            self.far = Some(match &self.far {
                Some(far) => given.min(*far.start())..=given.max(*far.end()),
                None => given..=given,
            });
        }
        Ok(())
    }

    /// The next value.
    async fn next(&mut self, generators: &Generators) -> Result<Id, Problem> {
        let run = match self.run {
            Some(run) if self.used < self.taken => run,
            _ => {
                let count = (self.taken * 2).clamp(1, TAKEN_MAX);
                let run = self.take(generators, count).await?;
                (self.run, self.taken, self.used) = (Some(run), count, 0);
                run
            }
        };
        let id = run.id(self.used);
        self.used += 1;
        if let Id::Number(number) = id {
            let many = self.made.len() >= GAPS_MAX;
            match self.made.last_mut() {
                Some(made) if many || number.checked_sub(1) == Some(*made.end()) => {
                    *made = *made.start()..=number
                }
                _ => self.made.push(number..=number),
            }
        }
        Ok(id)
    }

    async fn take(&mut self, generators: &Generators, count: usize) -> Result<Run, Problem> {
        let (segments, LoadMakes { by, sequence, .. }) = (&generators.segments, &self.makes);
        if *by != GenerateBy::Segment {
            return without_sequence(generators, *by, count, self.patience).await;
        }
        loop {
            let first = segments.take(sequence, count, self.patience).await.map_err(|_| NO_SEGMENT)?;
            let end = first.saturating_add(count as u64);
            let Some(far) = self.far.take_if(|far| *far.start() < end) else { return Ok(Run::From(first)) };
            // It is far no more, and any number between the two may be a row's.
            segments.pass(sequence, *far.end(), self.patience).await.map_err(|_| NO_SEGMENT)?;
            self.passed = self.passed.max(Some(*far.end()));
        }
    }

    /// The first number that a row has got.
    pub fn first(&self) -> Option<u64> {
        self.made.first().map(|made| *made.start())
    }

    /// What is passed when all rows are in.
    pub fn passing(&self) -> Option<Passing> {
        let given = *self.far.as_ref()?.end();
        let LoadMakes { sequence, column, .. } = self.makes.clone();
        Some(Passing { sequence, given, rows: usize::MAX, updates: false, column })
    }

    fn unclear(&self, what: &str, number: usize) -> Problem {
        let column = &self.makes.column;
        let what = format!(
            "The value of `{column}`, which Tidegate makes, {what} in row {} of the file",
            number + 1
        );
        refused(&Refusal::new(Reason::GeneratedUnclear, what))
    }
}
