//! Values that Tidegate makes for the rows of an INSERT (`generate`).
//!
//! Owns: the way from a statement, or an execution, without them to one with them, and what becomes of LAST_INSERT_ID(). Does not know: which
//! rows need values (`plan::sharded`), how they are made (`generate`). Invariant: a text with its values is planned as if the client had sent
//! it so.

use std::sync::Arc;

use super::bound::{Bound, Given, MALFORMED};
use super::direct::{Directed, Directory, RULES_CHANGED, refused};
use super::problem::INTERRUPTED;
use super::{Problem, Session};
use crate::backend::connection::Connection;
use crate::backend::insert_id::Place;
use crate::execute::made::Made;
use crate::generate::Run;
use crate::plan::sharded::{Arguments, Makes, Planned, Wants, named_number, positional};
use crate::shard::{GenerateBy, Value};
use crate::sql::{self, Literal, Recognised};
use crate::wire::parameters::Argument;

/// A statement that has its values.
pub(super) struct Filled {
    /// Its text,
    pub sql: Vec<u8>,
    /// the plan of that,
    pub planned: Arc<Planned>,
    /// and what the client is told of them.
    pub made: Made,
}

impl Session {
    /// Makes what the rows of a text need; `None` where they need nothing. `literals` are its own then.
    ///
    /// # Errors
    /// Nothing can be made now, or what is given is not understood.
    pub(super) async fn fill(
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
        let sql = makes.write(&arguments, &needs, |at| run.number(at).to_string().into_bytes());
        let reading = self.reading();
        let planned = self.planned_as(directory, &sql, statement, self.logical_schema(), reading, literals);
        Ok(Some(Filled { sql, planned, made: made(makes, &needs, run) }))
    }

    /// The values that an execution needs; `None` where it needs none.
    pub(super) async fn make_for(
        &mut self,
        makes: &Makes,
        arguments: &Arguments<'_>,
    ) -> Result<Option<(Wants, Run)>, Problem> {
        let needs = makes.needs(arguments, self.zero_is_value).map_err(|refusal| refused(&refusal))?;
        if needs.count() == 0 {
            return Ok(None);
        }
        let patience = self.worker.clusters.home().snapshot().cluster.pool.primary_wait;
        let worker = std::rc::Rc::clone(&self.worker);
        let generators = &worker.generators;
        let count = needs.count();
        let run = async {
            match makes.by {
                GenerateBy::Segment => {
                    let first = generators.segments.take(&makes.sequence, count, patience).await;
                    first.map(Run::From).map_err(|_| NO_SEGMENT)
                }
                GenerateBy::Snowflake | GenerateBy::UuidV7 => {
                    generators.numbers(count, patience).await.map(Run::Ticks).map_err(|_| NO_NODE)
                }
            }
        };
        tokio::select! {
            biased;
            made = run => made.map(|run| Some((needs, run))),
            _ = self.client.interrupted() => Err(INTERRUPTED),
        }
    }

    /// An execution whose rows may need values.
    pub(super) async fn bind_making(
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
            let Some(Planned::Routed(routed)) = makes.otherwise.as_deref() else { return Err(RULES_CHANGED) };
            return self.bind(directory, routed, given, asked).await;
        };
        // The numbers are parameters that the client does not have: the text is one for all executions.
        let named = makes.write(&with_values, &needs, |at| named_number(run.number(at)));
        let (plain, order) = positional(&named, asked.lexing);
        let values: Option<Vec<_>> = order
            .iter()
            .map(|argument| match argument {
                Argument::Parameter(at) => values.get(*at).copied(),
                Argument::Number(number) => Some(Value::Integer((*number).into())),
            })
            .collect();
        let values = values.ok_or(MALFORMED)?;
        let schema = &given.base.state.schema;
        let mut literals = Vec::new();
        let planned =
            self.planned_as(directory, &plain, given.statement, schema, given.reading, &mut literals);
        let routed = match whole(&planned)? {
            Planned::Routed(routed) => routed,
            Planned::Refused(refusal) => return Err(refused(refusal)),
            _ => return Err(RULES_CHANGED),
        };
        sql::shape(&named, asked.lexing, 0, &mut literals); // they are in other places there
        let asked = Arguments { sql: &named, literals: &literals, parameters: &values, ..asked };
        let sql = match self.follow(directory, routed, &asked, given.statement).await? {
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
                spread.made = Some(made(makes, &needs, run));
                return Ok(Bound::Spread(spread));
            }
            Directed::Scattered(..) | Directed::Defined(_) | Directed::Tended(_) | Directed::Done => {
                return Err(RULES_CHANGED);
            }
        };
        let (sql, order) = positional(&sql, asked.lexing);
        let bindings = given.bindings(parameters.arranged(&order), order.len())?;
        let bound = self.bound_here(given, Some(sql), Some(bindings)).await?;
        self.client.made = Some(made(makes, &needs, run));
        Ok(bound)
    }

    /// Rows with values that were made are in: where LAST_INSERT_ID() is now.
    pub(super) fn note_made(&mut self, connection: &mut Connection, id: u64, statement: Recognised) {
        self.insert_id.put(Place::Known(id));
        if statement.may_use_insert_id() {
            // The value before was brought here.
            connection.debt = Some(Arc::clone(&self.insert_id));
        }
    }
}

/// What a client is told of these.
pub(super) fn made(makes: &Makes, needs: &Wants, run: Run) -> Made {
    let last = needs.count().saturating_sub(1);
    Made { first: run.number(0), last: run.number(last), updates: makes.updates }
}

/// The plan of a statement that has all its values.
pub(super) fn whole(planned: &Planned) -> Result<&Planned, Problem> {
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
                spread.made = Some(self.made);
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

/// The same, where numbers are fetched.
const NO_SEGMENT: Problem = Problem::Request(
    1467,
    std::borrow::Cow::Borrowed(
        "no id can be made for the row: no segment of numbers could be fetched from the home cluster's primary in time (Tidegate's log \
         says why); nothing was inserted",
    ),
);

const BULK_MAKES: &str = "the rows of one bulk execution get no values from Tidegate (`generate`) in this release: execute the statement for \
                          each row, or send several rows in one INSERT";
