//! A server's error, of which the client has had nothing yet: whether the statement may still run, there or elsewhere.
//!
//! Owns: the errors that say more of a server than of the statement. Does not know: connections that fail (`failure`).
//! Invariant: what was refused and is sent again has done nothing.

use std::time::Instant;

use super::failure::SHUTDOWN;
use crate::backend::connection::Connection;
use crate::execute::relay::Refusal;
use crate::plan::{Reason, Route, Target};
use crate::session::freshness::readonly::commits;
use crate::session::perform::{Made, Next, Trial};
use crate::session::resume::Resumed;
use crate::session::work::Work;
use crate::session::{Flow, Problem, Session};
use crate::wire::err::ErrPacket;

/// ER_OPTION_PREVENTS_STATEMENT, ER_READ_ONLY_MODE, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION's neighbours: the server
/// is read only.
pub(in crate::session) const READ_ONLY: [u16; 2] = [1290, 1836];
/// Where a statement goes that a replica has refused.
pub(in crate::session) const TO_PRIMARY: Route =
    Route { target: Target::Primary, reason: Reason::RefusedByReplica };

/// ER_UNKNOWN_COM_ERROR.
const UNKNOWN_COMMAND: u16 = 1047;
/// ER_UNKNOWN_STMT_HANDLER, ER_NEED_REPREPARE.
const STALE_STATEMENT: [u16; 2] = [1243, 1615];

/// What a statement does that was refused.
pub(in crate::session) enum Way {
    /// It runs on the primary.
    ToPrimary,
    /// Its transaction does, where it ends that.
    EndsOnPrimary,
    /// It waits for the next primary, as this server is none any more.
    ToNextPrimary,
    /// It runs at another server.
    ToAnother,
    /// It is prepared anew.
    PreparesAnew,
    /// It runs where its transaction goes on.
    WithTransaction,
    /// The same, at the next primary: this server takes no writes any more, and nothing of the transaction is committed.
    WithTransactionToNextPrimary,
}

impl Session {
    /// What may become of it; `None` where the error is the client's.
    pub(in crate::session) fn way_out(
        &self,
        refusal: &Refusal,
        connection: &Connection,
        work: &Work<'_>,
        made: Made,
        trial: &mut Trial,
    ) -> Option<Way> {
        refusal.unsent.as_ref()?;
        let code = refusal.code;
        let is_early =
            |trial: &mut Trial| self.may_wait(*trial.demoted_since.get_or_insert_with(Instant::now));
        let may_wait = |trial: &mut Trial| !made.state_there && is_early(trial);
        if READ_ONLY.contains(&code) {
            if made.on_replica {
                return Some(Way::ToPrimary);
            }
            if commits(work, &self.lexing) && self.may_leave_replica(connection) {
                return Some(Way::EndsOnPrimary);
            }
            if made.state_there
                && says_read_only(refusal)
                && self.may_leave_demoted(connection)
                && is_early(trial)
            {
                return Some(Way::WithTransactionToNextPrimary);
            }
            let demoted = says_read_only(refusal)
                && trial.route.target == Target::Primary
                && work.is_whole_or_nothing()
                && may_wait(trial);
            return demoted.then_some(Way::ToNextPrimary);
        }
        if is_out_of_its_group(refusal) {
            return may_wait(trial).then_some(Way::ToNextPrimary);
        }
        if code == SHUTDOWN {
            return match made.state_there {
                true => self.may_go_on(work).then_some(Way::WithTransaction),
                false => work.is_repeatable(made.on_replica).then_some(Way::ToAnother),
            };
        }
        let stale = STALE_STATEMENT.contains(&code) && work.execution.is_some();
        (stale && !std::mem::replace(&mut trial.prepared_anew, true)).then_some(Way::PreparesAnew)
    }

    /// Goes it, up to the next attempt.
    pub(in crate::session) async fn go(
        &mut self,
        way: Way,
        mut connection: Box<Connection>,
        work: &Work<'_>,
        made: Made,
        trial: &mut Trial,
    ) -> Next {
        match way {
            Way::ToPrimary => {
                self.release(connection, false);
                trial.route = TO_PRIMARY;
            }
            Way::EndsOnPrimary => {
                if let Err(connection) = self.end_on_primary(connection, work.execution.as_ref()).await {
                    self.lose(connection);
                    let problem = Problem::Lost { outcome_unknown: false, state_lost: true };
                    return Next::Over(self.refuse(&problem).await);
                }
                trial.route = TO_PRIMARY;
            }
            Way::ToNextPrimary => {
                // The topology learns it now.
                self.topology.report(made.server, crate::topology::Signal::ConnectionLost);
                self.release(connection, false);
                trial.tried.push(made.server);
            }
            Way::ToAnother => {
                connection.broken = true;
                self.release(connection, false);
                trial.tried.push(made.server);
            }
            Way::PreparesAnew => {
                if let Some(execution) = &work.execution {
                    connection.statements.remove(execution.source);
                }
                if self.keep_after(connection, made).await == Flow::Close {
                    return Next::Over(Flow::Close);
                }
            }
            // The server ends in the middle of it: the statement was not run, or will be rolled back.
            Way::WithTransaction => {
                if let Resumed::Answered(flow) = self.resume(connection, work, false).await {
                    return Next::Over(flow);
                }
            }
            Way::WithTransactionToNextPrimary => {
                self.until_demoted(made.server).await;
                if let Resumed::Answered(flow) = self.resume(connection, work, true).await {
                    return Next::Over(flow);
                }
            }
        }
        Next::Again
    }

    /// Whether a statement that waits for a primary since then may wait on.
    fn may_wait(&self, since: Instant) -> bool {
        let snapshot = self.topology.snapshot();
        snapshot.servers.len() > 1 && since.elapsed() < snapshot.cluster.pool.primary_wait
    }
}

/// Whether a server refused a statement because it takes no writes. The same numbers stand for other options, such as `secure_file_priv`.
fn says_read_only(refusal: &Refusal) -> bool {
    let named = |packet: &ErrPacket| memchr::memmem::find(&packet.message, b"read-only").is_some();
    refusal.unsent.is_some()
        && READ_ONLY.contains(&refusal.code)
        && refusal.packet.as_ref().is_some_and(named)
}

/// A node of Galera that has lost the others begins nothing: "WSREP has not yet prepared node for application use".
fn is_out_of_its_group(refusal: &Refusal) -> bool {
    let names_it = |packet: &ErrPacket| packet.message.starts_with(b"WSREP");
    refusal.unsent.is_some()
        && refusal.code == UNKNOWN_COMMAND
        && refusal.packet.as_ref().is_some_and(names_it)
}
