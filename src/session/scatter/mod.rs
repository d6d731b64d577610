//! One statement at several sites: their replies become one.
//!
//! Owns: who is asked, and what it means that one fails. Does not know: how the replies become one (`united`), which connections there are
//! (`lanes`, `parts`), what the statement is at each site (it comes in). Invariant: what fails before the reply's first byte begins anew
//! elsewhere, where the statement may run twice, or is its error; what fails later ends the reply by an error packet; a connection with more to
//! come is never used again.

pub(super) mod finishing;
pub(super) mod lanes;
pub(super) mod parts;
pub(super) mod tended;
pub(super) mod united;
pub(super) mod upkeep;

use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use self::lanes::Lanes;
use self::parts::{Asked, Ended};
use self::tended::Tended;
use self::united::Reply;
use super::attempt::failure::Failure as Before;
use super::sites::Site;
use super::sites::bound::Bindings;
use super::sites::branches::DEADLOCK;
use super::spread::bracket::LOST;
use super::work::Work;
use super::{Flow, Problem, Session};
use crate::backend::connection::Connection;
use crate::backend::statements::Source;
use crate::execute::part::Packet;
use crate::execute::relay::RelayError;
use crate::ids::{ClusterId, ServerId};
use crate::merge::{self, Purse};
use crate::plan::sharded::Merging;
use crate::plan::{self, Route, Target};
use crate::sql::{Recognised, Uses};
use crate::wire::command;
use crate::wire::err::ErrPacket;
use crate::wire::reply::Expect;

/// How often a read begins anew before the client is told.
const FAILURES_MAX: u32 = 8;
/// ER_QUERY_INTERRUPTED.
const KILLED: u16 = 1317;

/// What is to be run at a site.
#[derive(Debug)]
pub(super) struct Share {
    pub site: Site,
    pub sql: Vec<u8>,
    /// The same, prepared.
    pub source: Option<Arc<Source>>,
}

/// How the replies of several sites become one.
#[derive(Clone, Copy)]
pub(super) enum Uniting<'a> {
    /// Rows are merged.
    Rows(&'a Merging),
    /// What is told of tables is told once.
    Tables(&'a Tended),
}

/// A read of several sites.
pub(super) struct Read<'a> {
    pub statement: Recognised,
    /// Its parameters, where it is prepared.
    pub bindings: Option<&'a Bindings>,
    /// The memory that it takes.
    pub purse: Rc<Purse>,
    /// A transaction is open, or each statement opens one: its parts run there.
    pub in_transaction: bool,
    /// It may run a second time, as nothing has gone to the client.
    pub may_move: bool,
}

impl Read<'_> {
    /// Whether it reads user variables, which must be the session's at each site.
    pub fn reads_variables(&self) -> bool {
        self.statement.uses.contains(Uses::USER_VARIABLE_READ)
    }
}

/// What one attempt leaves for the next.
pub(super) struct Trial {
    pub route: Route,
    /// Servers that have failed it.
    pub tried: Vec<ServerId>,
    /// How long it may wait for servers.
    pub deadline: Option<Instant>,
    failures: u32,
}

/// How a scattered statement failed.
pub(super) enum Failure {
    /// Nothing has been done: it is begun anew.
    Again,
    /// The connection to a server of the cluster was lost while it ran.
    Lost(ClusterId, ServerId),
    /// By a server's error, or one of our own that a client may see.
    Refused(ErrPacket),
    /// Before it was run anywhere, or while it ran.
    Problem(Problem),
    /// There is nobody to tell.
    Gone,
}

impl Failure {
    /// Whether somebody has ended the statement.
    fn is_interruption(&self) -> bool {
        match self {
            Self::Refused(error) | Self::Problem(Problem::Server(error)) => error.code == KILLED,
            Self::Problem(Problem::Request(code, _)) => *code == KILLED,
            Self::Problem(_) | Self::Again | Self::Lost(..) | Self::Gone => false,
        }
    }

    /// What the client is told.
    fn into_problem(self) -> Problem {
        match self {
            Self::Refused(error) => Problem::Server(error),
            Self::Problem(problem) => problem,
            Self::Again | Self::Lost(..) | Self::Gone => LOST,
        }
    }
}

impl Failure {
    /// As the answer to a statement that could not be prepared where it was to run.
    pub fn into_answer(self) -> Result<Packet, RelayError> {
        match self {
            Self::Refused(error) | Self::Problem(Problem::Server(error)) => Ok(Packet::Error(error)),
            Self::Gone => Err(RelayError::Killed),
            Self::Again | Self::Lost(..) | Self::Problem(_) => {
                let error = std::io::ErrorKind::ConnectionAborted.into();
                Err(RelayError::Server { error, sent: false })
            }
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<RelayError> for Failure {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Client(_) | RelayError::Killed => Self::Gone,
            RelayError::Memory(error) => error.into(),
            _ => Self::Problem(LOST),
        }
    }
}

impl From<Before> for Failure {
    /// Of what goes before an execution.
    fn from(failure: Before) -> Self {
        match failure {
            Before::Prelude(error) | Before::Reprepare(error) => Self::Refused(error),
            Before::Relay(error) => error.into(),
            Before::Behind | Before::Unsent(_) => Self::Problem(LOST),
        }
    }
}

impl From<merge::Error> for Failure {
    fn from(error: merge::Error) -> Self {
        let (code, state) = error.mysql_code();
        Self::Refused(ErrPacket::new(code, state, error.to_string()))
    }
}

impl Session {
    /// Runs a query at all these sites, or executes it with these parameters, and gives the client one result.
    pub(super) async fn scatter(
        &mut self,
        shares: &[Share],
        uniting: Uniting<'_>,
        statement: Recognised,
        route: Route,
        bindings: Option<&Bindings>,
    ) -> Flow {
        let mut trial = Trial { route, tried: Vec::new(), deadline: None, failures: 0 };
        loop {
            let in_transaction = self.is_in_transaction() || self.sites.begin.is_some();
            let repeatable =
                Work::command(&[], Expect::Results, statement).is_repeatable(route.target == Target::Replica);
            let limits = &self.worker.config.limits;
            let purse = Purse::new(limits.merge_memory_max, Arc::clone(&self.worker.merge_memory));
            let may_move = repeatable && !in_transaction;
            let read = Read { statement, bindings, purse, in_transaction, may_move };
            match self.scatter_once(shares, uniting, &read, &mut trial).await {
                Some(flow) => return flow,
                None => self.worker.counters.retried(),
            }
        }
    }

    /// One attempt; `None` where another one is to be made.
    async fn scatter_once(
        &mut self,
        shares: &[Share],
        uniting: Uniting<'_>,
        read: &Read<'_>,
        trial: &mut Trial,
    ) -> Option<Flow> {
        let mut reply = Reply::new(self.sequence);
        let mut parts = Vec::with_capacity(shares.len());
        // Its room is given back after the connections.
        let (lanes, result) = match self.lanes(shares, read, trial).await {
            Ok(mut lanes) => {
                let result = match self.ask_all(shares, read, trial, &mut lanes, &mut parts).await {
                    Ok(()) => self.unite(&mut parts, shares, uniting, read, &mut reply).await,
                    Err(failure) => Err(failure),
                };
                (Some(lanes), result)
            }
            Err(failure) => (None, Err(failure)),
        };
        if result.as_ref().is_err_and(Failure::is_interruption) {
            self.stop_parts(&parts).await;
        }
        self.drain_parts(&mut parts, result.is_err()).await;
        let doomed = self.entry.handle.runs_nothing();
        let warnings = parts.iter().map(Asked::warnings).sum::<u32>();
        let was_sent = parts.iter().any(Asked::was_sent);
        let ended = Ended { failed: result.is_err(), doomed };
        let left = self.give_back(parts, shares, read.statement, ended).await;
        drop(lanes);
        match &result {
            Err(Failure::Lost(cluster, server)) => self.note_lost(*cluster, *server, trial),
            Err(Failure::Refused(error)) if error.code == DEADLOCK && read.in_transaction => {
                self.undo_parts().await;
            }
            _ => {}
        }
        let flow = match result {
            Ok(()) => self.end_reply(&mut reply, left, warnings, uniting).await,
            Err(Failure::Gone) => Flow::Close,
            Err(failure) if reply.sent == 0 => {
                trial.failures += 1;
                let anew = match failure {
                    Failure::Again => true,
                    Failure::Lost(..) => read.may_move || !was_sent && !read.in_transaction,
                    _ => false,
                };
                if anew && !left.lost && trial.failures < FAILURES_MAX {
                    return None;
                }
                self.refuse(&failure.into_problem()).await
            }
            // In the place of a row.
            Err(failure) => {
                reply.put(&failure.into_problem().packet().encode());
                self.send_reply(&mut reply).await
            }
        };
        // What the client sends next is meant for the state that is lost.
        Some(if left.lost { Flow::Close } else { flow })
    }

    /// Sends the statement to each site that has a connection.
    async fn ask_all(
        &mut self,
        shares: &[Share],
        read: &Read<'_>,
        trial: &mut Trial,
        lanes: &mut Lanes,
        parts: &mut Vec<Asked>,
    ) -> Result<(), Failure> {
        let mut packets = Vec::with_capacity(shares.len());
        for (at, share) in shares.iter().enumerate() {
            self.visit(&share.site).await;
            let has_part = read.in_transaction || self.held.is_some();
            let mut asked = if has_part {
                let route = trial.route;
                self.worker.counters.statements.count(route.target as usize, route.reason as usize);
                self.take_part(route, read.statement, &read.purse).await?
            } else {
                self.take_lane(at, share, read, lanes, trial).await?
            };
            let written = match asked.connection() {
                Some(connection) => {
                    let brought = match has_part && read.reads_variables() {
                        true => self.bring(connection, share, read).await,
                        false => Ok(()),
                    };
                    match brought {
                        Ok(()) => self.write_share(connection, share, read.bindings).await,
                        Err(failure) => {
                            connection.broken |= !matches!(failure, Before::Prelude(_));
                            Err(failure.into())
                        }
                    }
                }
                None => Ok(Vec::new()), // its turn has not come
            };
            parts.push(asked);
            packets.push(written?);
        }
        for ((asked, packets), share) in parts.iter_mut().zip(packets).zip(shares) {
            if asked.waits_for().is_none() {
                self.send_to(asked, &packets, share).await?;
            }
        }
        Ok(())
    }

    /// An execution at several sites, of a statement with this text, class and digest.
    pub(super) async fn execute_scattered(
        &mut self,
        text: &[u8],
        (statement, digest): (Recognised, u64),
        shares: &[Share],
        merging: &Merging,
        bindings: &Bindings,
    ) -> Flow {
        self.settle_before(statement, text).await;
        let counted = self.begin_statement(digest, text);
        let route = plan::route(statement, self.situation());
        let uniting = Uniting::Rows(merging);
        let flow = self.scatter(shares, uniting, statement, route, Some(bindings)).await;
        self.end_statement(counted, route);
        self.note_parts(text, statement).await;
        flow
    }

    /// The packets for a site, where the session is; a statement is prepared there first where it is not yet.
    pub(super) async fn write_share(
        &self,
        connection: &mut Connection,
        share: &Share,
        bindings: Option<&Bindings>,
    ) -> Result<Vec<u8>, Failure> {
        let mut packets = Vec::with_capacity(share.sql.len() + 16);
        match (&share.source, bindings) {
            (Some(source), Some(bindings)) => {
                let mut buffer = self.worker.buffers.take();
                let execution = bindings.execution(source);
                if let Err(failure) = self.dress(connection, &execution, &mut packets, &mut buffer).await {
                    connection.broken |= !matches!(failure, Before::Prelude(_) | Before::Reprepare(_));
                    return Err(failure.into());
                }
            }
            _ => command::put_query(&mut packets, &share.sql, connection.capabilities),
        }
        Ok(packets)
    }
}
