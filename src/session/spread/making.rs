//! Values that Tidegate makes for the rows of an INSERT (`generate`).
//!
//! Owns: the way from a statement, or an execution, without them to one with them, and what becomes of LAST_INSERT_ID(). Does not know: which
//! rows need values (`plan::sharded`), how they are made (`generate`). Invariant: a text with its values is planned as if the client had sent
//! it so.

use std::sync::Arc;
use std::time::Duration;

use super::passing::Passing;
use crate::backend::connection::Connection;
use crate::backend::insert_id::Place;
use crate::execute::made::Made;
use crate::generate::{GIVEN, Generators, Id, Run};
use crate::plan::sharded::{Arguments, Makes, Planned, Wants, positional};
use crate::session::problem::INTERRUPTED;
use crate::session::sites::bound::{Bound, Given, MALFORMED};
use crate::session::sites::direct::{Directed, Directory, RULES_CHANGED, refused};
use crate::session::{Problem, Session};
use crate::shard::{Charset, GenerateBy, Value};
use crate::sql::{self, Literal, Recognised};
use crate::wire::parameters::Argument;

/// A statement that has its values.
pub(in crate::session) struct Filled {
    /// Its text,
    pub sql: Vec<u8>,
    /// the plan of that,
    pub planned: Arc<Planned>,
    /// and what the client is told of them.
    pub made: Option<Made>,
}

impl Session {
    /// Makes what the rows of a text need; `None` where they need nothing. `literals` are its own then.
    ///
    /// # Errors
    /// Nothing can be made now, or what is given is not understood.
    pub(in crate::session) async fn fill(
        &mut self,
        directory: &Directory,
        makes: &Makes,
        text: &[u8],
        statement: Recognised,
        literals: &mut Vec<Literal>,
    ) -> Result<Option<Filled>, Problem> {
        let (lexing, charset) = (self.lexing, self.charset);
        let arguments = Arguments { sql: text, lexing: &lexing, literals, parameters: &[], charset };
        let Some((needs, run)) = self.make_for(makes, &arguments).await? else { return Ok(None) };
        let sql = makes.write(&arguments, &needs, |at| makes.literal(run.id(at)));
        let reading = self.reading();
        let planned = self.planned_as(directory, &sql, statement, self.logical_schema(), reading, literals);
        Ok(Some(Filled { sql, planned, made: made(makes, &needs, run) }))
    }

    /// The values that an execution needs; `None` where it needs none.
    pub(in crate::session) async fn make_for(
        &mut self,
        makes: &Makes,
        arguments: &Arguments<'_>,
    ) -> Result<Option<(Wants, Run)>, Problem> {
        let needs = makes.needs(arguments, self.zero_is_value).map_err(|refusal| refused(&refusal))?;
        let given = match makes.by {
            GenerateBy::Segment => makes.given(arguments).filter(|given| *given < GIVEN).max(),
            _ => None,
        };
        self.passing = given.map(|given| Box::new(passing(makes, given)));
        if needs.count() == 0 && given.is_none() {
            return Ok(None);
        }
        let patience = self.worker.clusters.home().snapshot().cluster.pool.primary_wait;
        let worker = std::rc::Rc::clone(&self.worker);
        let generators = &worker.generators;
        let count = needs.count();
        let run = async {
            match makes.by {
                GenerateBy::Segment => {
                    let given = || makes.given(arguments);
                    let first =
                        generators.segments.take_beside(&makes.sequence, count, given, patience).await;
                    let first = first.map_err(|_| NO_SEGMENT)?;
                    if count == 0 {
                        return Ok(None);
                    }
                    Ok(Run::From(first))
                }
                by => without_sequence(generators, by, count, patience).await,
            }
            .map(Some)
        };
        tokio::select! {
            biased;
            made = run => made.map(|run| run.map(|run| (needs, run))),
            _ = self.client.interrupted() => Err(INTERRUPTED),
        }
    }

    /// An execution whose rows may need values.
    pub(in crate::session) async fn bind_making(
        &mut self,
        directory: &Directory,
        makes: &Makes,
        given: &Given<'_>,
        asked: Arguments<'_>,
    ) -> Result<Bound, Problem> {
        if given.is_bulk() {
            return Err(Problem::Unsupported(BULK_MAKES.into()));
        }
        let parameters = given.parameters()?;
        let values = given.values(&parameters, self.charset);
        let with_values = Arguments { parameters: &values, ..asked };
        let Some((needs, run)) = self.make_for(makes, &with_values).await? else {
            return match makes.otherwise.as_deref() {
                Some(Planned::Routed(routed)) => self.bind(directory, routed, given, asked).await,
                Some(Planned::Copies(copies)) => {
                    let database = directory.rules_of(&copies.database)?;
                    if !database.copies().is_empty() {
                        let spread = self.spread_copies(database, copies, &given.base.text)?;
                        return self.bind_copies(spread, given);
                    }
                    self.stay_home(&given.base.text, given.statement).await?;
                    let payload = given.has_ahead().then(|| parameters.whole());
                    let bindings =
                        payload.map(|payload| given.bindings(payload, values.len())).transpose()?;
                    self.bound_here(given, None, bindings).await
                }
                _ => Err(RULES_CHANGED),
            };
        };
        // The values are parameters that the client does not have: the text is one for all executions.
        let named = makes.write(&with_values, &needs, |at| makes.named(run.id(at)));
        let (plain, order) = positional(&named, asked.lexing);
        let values: Option<Vec<_>> = order
            .iter()
            .map(|argument| match argument {
                Argument::Parameter(at) => values.get(*at).copied(),
                Argument::Number(number) => Some(Value::Integer((*number).into())),
                Argument::Text(text) => Some(Value::Text(text, Charset::Utf8)),
                Argument::Bytes(bytes) => Some(Value::Bytes(bytes)),
            })
            .collect();
        let values = values.ok_or(MALFORMED)?;
        let schema = &given.base.state.schema;
        let mut literals = Vec::new();
        let planned =
            self.planned_as(directory, &plain, given.statement, schema, given.reading, &mut literals);
        sql::shape(&named, asked.lexing, 0, &mut literals); // they are in other places there
        let asked = Arguments { sql: &named, literals: &literals, parameters: &values, ..asked };
        let directed = match whole(&planned)? {
            Planned::Routed(routed) => self.follow(directory, routed, &asked, given.statement).await?,
            Planned::Copies(copies) => match directory.rules_of(&copies.database)? {
                database if database.copies().is_empty() => self.stay_home(&named, given.statement).await?,
                database => self.spread_copies(database, copies, &named)?,
            },
            Planned::Refused(refusal) => return Err(refused(refusal)),
            _ => return Err(RULES_CHANGED),
        };
        let sql = match directed {
            Directed::Here => named.clone(),
            Directed::As(sql) => sql,
            Directed::Spread(mut spread) => {
                self.close_cursor_elsewhere(given.id);
                for portion in &mut spread.portions {
                    let text = if portion.share.sql.is_empty() { &named } else { &portion.share.sql };
                    let (sql, order) = positional(text, asked.lexing);
                    let bindings = given.bindings(parameters.arranged(&order), order.len())?;
                    self.bind_portion(portion, given, sql, bindings)?;
                }
                spread.made = made(makes, &needs, run);
                return Ok(Bound::Spread(spread));
            }
            Directed::Scattered(..)
            | Directed::Defined(_)
            | Directed::Tended(_)
            | Directed::Loaded(_)
            | Directed::Done => {
                return Err(RULES_CHANGED);
            }
        };
        let (sql, order) = positional(&sql, asked.lexing);
        let bindings = given.bindings(parameters.arranged(&order), order.len())?;
        let bound = self.bound_here(given, Some(sql), Some(bindings)).await?;
        self.client.made = made(makes, &needs, run);
        Ok(bound)
    }

    /// Rows with values that were made are in: where LAST_INSERT_ID() is now.
    pub(in crate::session) fn note_made(
        &mut self,
        connection: &mut Connection,
        id: u64,
        statement: Recognised,
    ) {
        self.insert_id.put(Place::Known(id));
        if statement.may_use_insert_id() {
            // The value before was brought here.
            connection.debt = Some(Arc::clone(&self.insert_id));
        }
    }
}

/// Values that are of no sequence.
pub(super) async fn without_sequence(
    generators: &Generators,
    by: GenerateBy,
    count: usize,
    patience: Duration,
) -> Result<Run, Problem> {
    match by {
        GenerateBy::Snowflake => {
            generators.numbers(count, patience).await.map(Run::Ticks).map_err(|_| NO_NODE)
        }
        GenerateBy::UuidV7 | GenerateBy::UuidV7Binary => {
            generators.uuids(count).map(Run::Uuids).map_err(|_| NO_CHANCE)
        }
        GenerateBy::Segment => Err(NO_SEGMENT),
    }
}

/// What is passed when a statement with this number has ended.
fn passing(makes: &Makes, given: u64) -> Passing {
    let (sequence, column) = (makes.sequence.clone(), makes.column.clone());
    Passing { sequence, given, rows: makes.rows(), updates: makes.updates, column }
}

/// What a client is told of these; nothing of what is no number, as by a server.
fn made(makes: &Makes, needs: &Wants, run: Run) -> Option<Made> {
    match (run.id(0), run.id(needs.count().saturating_sub(1))) {
        (Id::Number(first), Id::Number(last)) => Some(Made { first, last, updates: makes.updates }),
        _ => None,
    }
}

/// The plan of a statement that has all its values.
pub(in crate::session) fn whole(planned: &Planned) -> Result<&Planned, Problem> {
    match planned {
        Planned::Makes(makes) => makes.otherwise.as_deref().ok_or(RULES_CHANGED),
        planned => Ok(planned),
    }
}

impl Filled {
    /// What was directed by this text, for one who has the client's alone.
    pub fn direct(self, directed: Directed) -> Directed {
        match directed.by_text(self.sql) {
            Directed::Spread(mut spread) => {
                spread.made = self.made;
                Directed::Spread(spread)
            }
            directed => directed,
        }
    }
}

/// ER_AUTOINC_READ_FAILED.
const NO_NODE: Problem = Problem::Request(
    1467,
    std::borrow::Cow::Borrowed(
        "no id can be made for the row: this instance has no node leased at the home cluster's primary, or could not renew its lease in \
         time (Tidegate's log says why); nothing was inserted",
    ),
);

/// The same, where the system gives no chance for UUIDs.
const NO_CHANCE: Problem = Problem::Request(
    1467,
    std::borrow::Cow::Borrowed(
        "no id can be made for the row: Tidegate's system has no random numbers; nothing was inserted",
    ),
);

/// The same, where numbers are fetched.
pub(super) const NO_SEGMENT: Problem = Problem::Request(
    1467,
    std::borrow::Cow::Borrowed(
        "no id can be made for the row: no segment of numbers could be fetched from the home cluster's primary in time (Tidegate's log \
         says why); nothing was inserted",
    ),
);

const BULK_MAKES: &str = "the rows of one bulk execution get no values from Tidegate (`generate`) in this release: execute the statement for \
                          each row, or send several rows in one INSERT";
