//! Values that Tidegate makes for the rows of an INSERT (`generate`).
//!
//! Owns: the way from a statement without them to one with them, and what becomes of LAST_INSERT_ID(). Does not know: which rows need
//! values (`plan::sharded`), how they are made (`generate`). Invariant: a text with its values is planned as if the client had sent it so.

use std::sync::Arc;

use super::direct::{Directed, Directory, RULES_CHANGED, refused};
use super::{Problem, Session};
use crate::backend::connection::Connection;
use crate::backend::insert_id::Place;
use crate::execute::made::Made;
use crate::generate::Run;
use crate::plan::sharded::{Arguments, Makes, Planned, Wants};
use crate::sql::{Literal, Recognised};

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
        let made = tokio::select! {
            biased;
            made = worker.generators.numbers(needs.count(), patience) => made,
            _ = self.client.interrupted() => return Err(INTERRUPTED),
        };
        made.map(|run| Some((needs, run))).map_err(|_| NO_NODE)
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
        match directed {
            Directed::Here => Directed::As(self.sql),
            Directed::Spread(mut spread) => {
                for portion in spread.portions.iter_mut().filter(|portion| portion.share.sql.is_empty()) {
                    portion.share.sql.clone_from(&self.sql);
                }
                spread.made = Some(self.made);
                Directed::Spread(spread)
            }
            directed => directed,
        }
    }
}

const INTERRUPTED: Problem =
    Problem::Request(1317, std::borrow::Cow::Borrowed("Query execution was interrupted"));

/// ER_AUTOINC_READ_FAILED.
const NO_NODE: Problem = Problem::Request(
    1467,
    std::borrow::Cow::Borrowed(
        "no id can be made for the row: this instance has no node leased at the home cluster's primary, or could not renew its lease in \
         time (Tidegate's log says why); nothing was inserted",
    ),
);
