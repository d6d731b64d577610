//! A change's parts within the client's own transaction.
//!
//! Owns: going to the sites when the change needs them, and leaving the transaction as a server leaves it behind one statement. Does not know:
//! the parts (`spread`), how a transaction is begun at a site (`sites::branches`). Invariant: where the change fails, each site is back at the
//! savepoint that was set in front of its part, and has written if it had before; where a server has undone more than that, nothing of the
//! transaction is left anywhere.

use tokio::time::timeout;

use super::bracket::LOST;
use super::portions::{IN_TRANSACTION, Portion};
use super::{Failure, Run};
use crate::backend::connection::Connection;
use crate::backend::insert_id::TAKE;
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::freshness::readonly;
use crate::session::problem::INTERRUPTED;
use crate::session::sites::Site;
use crate::session::{Problem, Session};
use crate::shard::Transactions;
use crate::wire::err::ErrPacket;

/// In front of a part.
pub(super) const MARK: &[u8] = b"SAVEPOINT tidegate_statement";
/// Behind one that stands, and behind one that was undone.
const RELEASE: &[u8] = b"RELEASE SAVEPOINT tidegate_statement";
const BACK: &[u8] = b"ROLLBACK TO SAVEPOINT tidegate_statement";
/// ER_SP_DOES_NOT_EXIST: the server has rolled the whole transaction back.
const NO_SAVEPOINT: u16 = 1305;

/// A change within the client's transaction.
#[derive(Debug)]
pub(in crate::session) struct Within {
    /// What its database says of transactions that write in several places.
    rule: Transactions,
    /// What that was for the transaction before.
    rule_before: Option<Transactions>,
    /// Where it is, and since when the transaction had written there before.
    entered: Vec<(Site, Option<u64>)>,
    /// A part of the transaction is gone with its connection.
    pub lost: bool,
}

impl Within {
    fn has_entered(&self, site: &Site) -> bool {
        self.entered.iter().any(|(entered, _)| entered == site)
    }
}

/// What became of a part that was to be undone.
enum Undone {
    /// That is as it was before.
    Part,
    /// All that the transaction has done there.
    Transaction,
    /// Nobody knows.
    Unknown,
}

impl Session {
    /// What the rules say of the transaction that is open, or that a statement begins; `None` outside of transactions. `copies`: of all of which
    /// the change is.
    ///
    /// # Errors
    /// It is read only, or may not write in as many places.
    pub(super) fn within(&self, rule: Transactions, copies: bool) -> Result<Option<Transactions>, Problem> {
        if self.is_read_only() {
            return Err(Problem::Server(readonly::refusal(self.lexing.server.dialect)));
        }
        if !self.is_in_transaction() && self.sites.begin.is_none() {
            return Ok(None);
        }
        match copies && rule != Transactions::BestEffort {
            true => Err(Problem::Unsupported(IN_TRANSACTION.into())),
            false => Ok(Some(rule)),
        }
    }

    /// A change that has been nowhere yet.
    pub(super) fn begin_within(&self, rule: Transactions) -> Within {
        Within { rule, rule_before: self.sites.rule, entered: Vec::new(), lost: false }
    }

    /// Goes to the site that is asked about the statement first, by its place among the portions: where the transaction has written, or is open
    /// already, if it is.
    pub(super) async fn enter_first(&mut self, run: &mut Run<'_>) -> Result<usize, Failure> {
        let portions = &run.spread.portions;
        let wrote = |portion: &Portion| self.part_at(&portion.share.site) == Some(true);
        let is_open = |portion: &Portion| self.part_at(&portion.share.site).is_some();
        let known = portions.iter().position(wrote).or_else(|| portions.iter().position(is_open));
        let first = known.filter(|_| !run.spread.copies).unwrap_or_default();
        let portion = portions.get(first).ok_or(LOST)?;
        self.enter_part(portion, run).await?;
        Ok(first)
    }

    /// Whether the open transaction has written there; `None` where it is not open.
    fn part_at(&self, site: &Site) -> Option<bool> {
        if self.sites.is_at(site) {
            return self.has_open_part().then_some(self.sites.wrote.is_some());
        }
        let branch = self.sites.parked.iter().find(|branch| branch.is_open() && branch.site() == site)?;
        Some(branch.wrote())
    }

    /// The change is about to do something there, or, if it `writes`, to write. Nothing happens outside of the client's transactions.
    ///
    /// # Errors
    /// The transaction has written elsewhere, and may not write here; something of the session would stay behind.
    pub(super) async fn write_within(
        &mut self,
        portion: &Portion,
        writes: bool,
        run: &mut Run<'_>,
    ) -> Result<(), Failure> {
        let Some(rule) = run.within.as_ref().map(|within| within.rule) else { return Ok(()) };
        if !writes {
            return self.enter_part(portion, run).await;
        }
        self.may_leave_for(&portion.share.site, run.statement)?;
        self.visit(&portion.share.site).await;
        self.rule_of_write(run.statement, Some(rule))?;
        self.enter_part(portion, run).await?;
        Ok(self.note_write(run.statement, Some(rule))?)
    }

    /// Has the transaction open there, and a savepoint in it.
    async fn enter_part(&mut self, portion: &Portion, run: &mut Run<'_>) -> Result<(), Failure> {
        let site = &portion.share.site;
        if run.within.as_ref().is_none_or(|within| within.has_entered(site)) {
            return Ok(());
        }
        self.may_leave_for(site, run.statement)?;
        self.visit(site).await;
        self.nothing_in_the_way(run)?;
        // An id that an earlier statement has made there would be taken for a new one.
        self.call_in_insert_id(None).await;
        self.begin_part(run.statement).await?;
        let wrote = self.sites.wrote;
        let Some(mut held) = self.held.take() else { return Err(LOST.into()) };
        let begun =
            !self.has_lost_its_place(held.server) && self.begin_on(&mut held, portion, run).await.is_ok();
        held.broken |= !begun;
        self.course.miss();
        self.keep_open(held, run);
        if let Some(within) = &mut run.within {
            within.lost |= !begun;
            within.entered.push((site.clone(), wrote));
        }
        if begun { Ok(()) } else { Err(LOST.into()) }
    }

    /// The change has succeeded: its parts are the transaction's. The session is where it has written.
    pub(super) async fn leave_parts_open(&mut self, run: &mut Run<'_>) -> Result<(), Failure> {
        let entered: Vec<_> = run.within.iter().flat_map(|within| &within.entered).cloned().collect();
        for (site, _) in &entered {
            self.visit(site).await;
            if !self.has_part_here() {
                return Err(LOST.into());
            }
        }
        if self.entry.handle.parts_are_done() {
            return Err(INTERRUPTED.into());
        }
        let mut writer = None;
        for (site, _) in &entered {
            self.visit(site).await;
            let Some(mut held) = self.held.take() else { return Err(LOST.into()) };
            let done = self.tell_part(&mut held, &[&run.restores, RELEASE]).await;
            held.broken |= !matches!(done, Some(None));
            self.keep_open(held, run);
            if !matches!(done, Some(None)) {
                return Err(LOST.into());
            }
            writer = writer.or(self.sites.wrote.map(|_| site));
        }
        if let Some(writer) = writer {
            self.visit(writer).await;
        }
        Ok(())
    }

    /// The change has failed: the transaction is as before.
    pub(super) async fn undo_within(&mut self, mut within: Within, run: &mut Run<'_>) {
        let (mut lost, mut over) = (within.lost, false);
        for (site, wrote) in &within.entered {
            self.visit(site).await;
            let Some(mut held) = self.held.take() else {
                lost = true;
                continue;
            };
            let undone = self.undo_part(&mut held, run).await;
            held.broken |= matches!(undone, Undone::Unknown);
            lost |= held.broken;
            over |= matches!(undone, Undone::Transaction);
            self.keep_open(held, run);
            self.sites.wrote = *wrote;
        }
        self.sites.rule = within.rule_before;
        if lost || over {
            tracing::info!(client = %self.entry.handle.id, "a transaction is over: a server has rolled it back under a statement that wrote in parts, or was lost");
            self.undo_parts().await;
        }
        within.lost = lost;
        run.within = Some(within);
    }

    /// Twice: a KILL that comes late ends the first.
    async fn undo_part(&self, held: &mut Connection, run: &Run<'_>) -> Undone {
        for _ in 0..2 {
            match self.tell_part(held, &[&run.restores, TAKE, BACK, RELEASE]).await {
                Some(None) => return Undone::Part,
                Some(Some(error)) if error.code == NO_SAVEPOINT => return Undone::Transaction,
                Some(Some(_)) => {}
                None => return Undone::Unknown,
            }
        }
        Undone::Unknown
    }

    /// Runs statements about a part, up to the first that fails: its error. `None` where there is no answer.
    async fn tell_part(&self, held: &mut Connection, statements: &[&[u8]]) -> Option<Option<ErrPacket>> {
        let mut buffer = self.worker.buffers.take();
        for sql in statements {
            if held.broken {
                return None;
            }
            let answered = timeout(PRELUDE_LIMIT, held.run(sql, &mut buffer)).await;
            let Ok(Ok(answer)) = answered else { return None };
            if answer.error.is_some() {
                return Some(answer.error);
            }
        }
        Some(None)
    }
}
