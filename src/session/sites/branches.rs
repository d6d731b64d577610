//! A transaction with parts at several sites: all may read, one has written.
//!
//! Owns: ending its parts together. Does not know: which site a statement needs (`direct`), how a part is begun (`beginning`).
//! Invariant: where one part has written, what ends the transaction is relayed to and from that one (of several: `commits`); a part that has
//! only read ends as the client asks, and loses nothing if it cannot.

use tokio::time::timeout;

use super::{Branch, Site};
use crate::backend::connection::Connection;
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::pins::Pins;
use crate::session::readback::contains_word;
use crate::session::spread::bracket::{COMMIT, ROLLBACK};
use crate::session::{Problem, Session};
use crate::shard::Transactions;
use crate::sql::{self, Class, Ending, Recognised, Uses};
use crate::wire::buffer::Buffer;
use crate::wire::ok::Status;

/// ER_LOCK_DEADLOCK: the server has rolled back its whole transaction.
pub(in crate::session) const DEADLOCK: u16 = 1213;
/// ER_LOCK_WAIT_TIMEOUT: the same, where `innodb_rollback_on_timeout` says so.
const LOCK_WAIT: u16 = 1205;

impl Session {
    /// Sees to it that what the statement does to the open transaction is done to its parts elsewhere; goes where the statement itself
    /// must run. Nothing happens where there are none. True where nothing is left of it to be done.
    ///
    /// # Errors
    /// What cannot be done in several parts, or a part that has written could not be committed.
    pub(in crate::session) async fn end_parts_for(
        &mut self,
        text: &[u8],
        statement: Recognised,
    ) -> Result<bool, Problem> {
        self.sites.in_part = false;
        if self.is_away()
            && !matches!(statement.class, Class::Begin(_) | Class::Set)
            && self.ends_implicitly(text, statement)
        {
            self.visit(&Site::home(self.home())).await; // where it runs: what is open here is open elsewhere then
        }
        if !self.sites.is_open_elsewhere() {
            return Ok(false);
        }
        match statement.class {
            Class::EndOrSavepoint => match sql::ending(text, &self.lexing) {
                Ending::Savepoint => self.save_parts(text, statement).await.map(|()| true),
                _ if self.cannot_be_ended_so(statement) => Err(Problem::Unsupported(CHAIN.into())),
                Ending::Commit if self.writers() > 1 => self.commit_parts(statement).await.map(|()| true),
                ending => {
                    if let Some(writer) = self.part_to_tell() {
                        self.visit(&writer).await;
                    }
                    let sql: &[u8] = if ending == Ending::Rollback { b"ROLLBACK" } else { b"COMMIT" };
                    self.end_parts(sql).await.map(|()| false)
                }
            },
            _ if self.ends_implicitly(text, statement) => {
                // A part that has written here alone is committed by the server that gets the statement, which tells of it.
                match self.sites.parked.iter().any(|branch| branch.is_open() && branch.wrote()) {
                    true => self.commit_parts(statement).await?,
                    false => self.end_parts(b"COMMIT").await?,
                }
                if !(self.held.is_some() && self.status.contains(Status::IN_TRANSACTION)) {
                    self.sites.begin = None;
                }
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Whether this would do more to the parts than end them, and not in one place alone: begin the next transaction, or end the session.
    fn cannot_be_ended_so(&self, statement: Recognised) -> bool {
        let leads_on = statement.uses.contains(Uses::CHAIN_OR_RELEASE) || self.end_leads_on();
        !Uses::CHAIN_OR_RELEASE.contains(statement.uses) || leads_on && self.writers() > 1
    }

    /// How many parts of the open transaction have written.
    fn writers(&self) -> usize {
        let here = self.has_open_part() && self.sites.wrote.is_some();
        let elsewhere = self.sites.parked.iter().filter(|branch| branch.is_open() && branch.wrote());
        elsewhere.count() + usize::from(here)
    }

    /// Whether a server commits the open transaction before, or with, the statement.
    fn ends_implicitly(&self, text: &[u8], statement: Recognised) -> bool {
        let Recognised { class, uses, .. } = statement;
        match class {
            Class::Begin(_) => true,
            Class::Ddl => !uses.contains(Uses::TEMPORARY_TABLE),
            Class::Session => uses.contains(Uses::LOCK_TABLES),
            // Only where it is switched on.
            Class::Set => {
                let is_on = self.status.contains(Status::AUTOCOMMIT);
                !is_on && sql::may_switch_autocommit_on(text, &self.lexing)
            }
            _ => sql::changes_accounts(text, &self.lexing),
        }
    }

    /// Where the part is that has written; else any part where the session is at none.
    fn part_to_tell(&self) -> Option<Site> {
        let writer = self.sites.parked.iter().find(|branch| branch.wrote());
        let here = self.held.is_some() && self.status.contains(Status::IN_TRANSACTION);
        let any = || self.sites.parked.iter().find(|branch| branch.is_open()).filter(|_| !here);
        writer.or_else(any).map(|branch| branch.site().clone())
    }

    /// Ends all parts but that of the site where the session is: the one that has written first.
    pub(in crate::session) async fn end_parts(&mut self, sql: &'static [u8]) -> Result<(), Problem> {
        self.sites.parked.sort_by_key(|branch| !branch.wrote());
        let mut stay = Vec::new();
        let mut failed = None;
        for mut branch in std::mem::take(&mut self.sites.parked) {
            if branch.is_open() {
                let ended = end(&mut branch.held, sql, &mut self.worker.buffers.take()).await;
                if branch.wrote() && failed.is_none() && sql == b"COMMIT" {
                    failed = ended.err();
                }
                branch.ended();
            }
            match branch.is_needed() {
                true => stay.push(branch),
                false => self.release(branch.held, false),
            }
        }
        self.sites.parked = stay;
        failed.map_or(Ok(()), Err)
    }

    /// The statement that the session is about to run may write here. `rule`: what its database says of more than one place; `None`
    /// outside of the shards.
    ///
    /// # Errors
    /// Another site has what the open transaction has written.
    pub(in crate::session) fn note_write(
        &mut self,
        statement: Recognised,
        rule: Option<Transactions>,
    ) -> Result<(), Problem> {
        let rule = self.rule_of_write(statement, rule)?;
        if may_write(statement) && self.is_in_transaction() {
            let savepoints = self.sites.savepoints.count();
            (self.sites.wrote, self.sites.rule) = (self.sites.wrote.or(Some(savepoints)), rule);
        }
        Ok(())
    }

    /// What the rules of all who have written in the open transaction say of more than one place, with the statement.
    ///
    /// # Errors
    /// As above.
    pub(in crate::session) fn rule_of_write(
        &self,
        statement: Recognised,
        rule: Option<Transactions>,
    ) -> Result<Option<Transactions>, Problem> {
        if !may_write(statement) || !self.is_in_transaction() {
            return Ok(self.sites.rule);
        }
        let strict = [self.sites.rule, rule].contains(&Some(Transactions::OneShard));
        let rule = if strict { Some(Transactions::OneShard) } else { self.sites.rule.or(rule) };
        if self.sites.parked.iter().any(|branch| branch.wrote()) {
            if rule != Some(Transactions::BestEffort) {
                return Err(Problem::Unsupported(SECOND_WRITER.into()));
            }
            if may_end(statement) {
                return Err(Problem::Unsupported(UNSEEN_END.into()));
            }
        }
        Ok(rule)
    }

    /// The statement runs here: within a part of the open transaction, if there is one.
    pub(in crate::session) fn note_part(&mut self) {
        self.sites.in_part = self.held.is_some() && self.status.contains(Status::IN_TRANSACTION);
    }

    /// Whether the open transaction is read only.
    pub(in crate::session) fn is_read_only(&self) -> bool {
        self.has_open_part() && self.status.contains(Status::IN_TRANSACTION_READONLY)
            || self.sites.parked.iter().any(Branch::is_read_only)
    }

    /// Whether a transaction is open at any site, or every statement opens one.
    pub(in crate::session) fn is_in_transaction(&self) -> bool {
        self.held.is_some() && self.status.contains(Status::IN_TRANSACTION)
            || self.sites.is_open_elsewhere()
            || !self.status.contains(Status::AUTOCOMMIT)
    }

    /// A server has rolled its part back under a read of several: nothing of the transaction is to be left anywhere.
    pub(in crate::session) async fn undo_parts(&mut self) {
        self.visit(&Site::home(self.home())).await;
        let _ = self.end_parts(b"ROLLBACK").await;
        if let Some(mut held) = self.held.take_if(|held| held.status.contains(Status::IN_TRANSACTION)) {
            let _ = end(&mut held, b"ROLLBACK", &mut self.worker.buffers.take()).await; // or its end does
            self.let_go(held);
        }
        self.forget_parts();
    }

    /// A statement has ended. What begins a transaction is remembered, to be begun at other sites, too.
    pub(in crate::session) async fn note_parts(&mut self, text: &[u8], statement: Recognised) {
        let is_open =
            |session: &Self| session.held.is_some() && session.status.contains(Status::IN_TRANSACTION);
        let was_open = std::mem::take(&mut self.sites.in_part);
        if let Some(error) = self.tally.error() {
            let elsewhere = self.sites.is_open_elsewhere();
            if was_open && (elsewhere || matches!(error, DEADLOCK | LOCK_WAIT)) {
                self.make_status_sure().await;
            }
            if elsewhere && (error == DEADLOCK || was_open && !is_open(self)) {
                // This server has rolled its part back: nothing of the transaction is to be left elsewhere.
                let _ = self.end_parts(b"ROLLBACK").await;
            }
        }
        let open = is_open(self);
        if open && !was_open && may_begin_with_a_write(text, statement) {
            self.sites.wrote = self.sites.wrote.or(Some(self.sites.savepoints.count()));
        }
        let saved = self.pins.contains(Pins::SAVEPOINT);
        let ended = was_open && !open && self.tally.error().is_none();
        if ended && self.sites.is_open_elsewhere() {
            // A server has committed its part with the statement.
            if let Err(problem) = self.commit_parts(statement).await {
                tracing::error!(client = %self.entry.handle.id, %problem, "parts of a transaction that a statement has committed at its server do not last");
            }
            return;
        }
        if open && matches!(statement.class, Class::Begin(_)) && !statement.uses.contains(Uses::MULTIPLE) {
            self.forget_parts();
            self.sites.begin = Some(self.begun_by(text, statement));
        } else if open || saved {
            if statement.uses.contains(Uses::MULTIPLE) {
                self.sites.begin = None; // one of them may have begun another
            }
            self.note_savepoints(text, statement, self.tally.error().is_some());
        }
        if open {
            return;
        }
        self.sites.wrote = None;
        if !saved && !self.sites.is_open_elsewhere() {
            self.forget_parts();
        }
    }
}

/// Whether a transaction may have been begun, and written in, by one packet or by a routine.
fn may_begin_with_a_write(text: &[u8], statement: Recognised) -> bool {
    const WRITES: [&[u8]; 8] =
        [b"insert", b"update", b"delete", b"replace", b"call", b"load", b"execute", b"with"];
    match statement.class {
        Class::Call | Class::TextPrepared => true,
        _ => statement.uses.contains(Uses::MULTIPLE) && WRITES.iter().any(|word| contains_word(text, word)),
    }
}

/// Whether the statement may leave something that COMMIT makes last.
pub(super) fn may_write(statement: Recognised) -> bool {
    use Class::{Diagnostics, Empty, LockingRead, Read, Set, Show, ShowServer, Use};
    let reads = matches!(
        statement.class,
        Empty
            | Read
            | LockingRead
            | Show
            | ShowServer
            | Diagnostics
            | Set
            | Use
            | Class::Begin(_)
            | Class::EndOrSavepoint
    );
    !reads || statement.uses.intersects(Uses::UNKNOWN_FUNCTION | Uses::MULTIPLE)
}

/// Whether the statement may end the transaction of its server, which its class does not tell.
fn may_end(statement: Recognised) -> bool {
    matches!(statement.class, Class::Call | Class::TextPrepared) || statement.uses.contains(Uses::MULTIPLE)
}

/// Ends a part of a transaction.
async fn end(connection: &mut Connection, sql: &[u8], buffer: &mut Buffer) -> Result<(), Problem> {
    if connection.broken {
        return Err(Problem::CommitLost { why: None });
    }
    let sql = if sql == b"COMMIT" { COMMIT } else { ROLLBACK };
    match timeout(PRELUDE_LIMIT, connection.run(sql, buffer)).await {
        Ok(Ok(answer)) => answer.error.map_or(Ok(()), |error| Err(Problem::Server(error))),
        _ => {
            connection.broken = true;
            Err(Problem::CommitLost { why: None })
        }
    }
}

const CHAIN: &str = "AND CHAIN, RELEASE and several statements in one packet cannot end a transaction that has written at several shards or outside of them: end it by \
                     COMMIT or ROLLBACK alone, with completion_type NO_CHAIN";

const UNSEEN_END: &str = "a routine, a text that is executed, and several statements in one packet could end the transaction at their server alone, while it has \
                          written elsewhere: commit it first, or send the statements one by one";

const SECOND_WRITER: &str = "the transaction has written at another shard, or outside of the shards: one that writes in two places needs a \
                             commit in two phases, which this release does not do; commit it first, keep what it writes in one shard, or choose \
                             `transactions: best_effort` for the database";
