//! COMMIT of a transaction that has written at several sites: one after the other.
//!
//! Owns: the order, and what each answer means. Does not know: how the parts came about (`branches`). Invariant: no COMMIT is sent before it is
//! sure that no part is lost already; where the first is refused, all are rolled back; where a later one is, the client and the log are told
//! which sites have their parts. In the end nothing of the transaction is open.

use tokio::time::timeout;

use super::Site;
use crate::backend::connection::Connection;
use crate::execute::relay::End;
use crate::session::attempt::failure::SHUTDOWN;
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::pins::Pins;
use crate::session::resume::course::Course;
use crate::session::spread::bracket::{COMMIT, COMMIT_LIMIT, ROLLBACK};
use crate::session::spread::fates::{Fate, Fates};
use crate::session::work::Work;
use crate::session::{Problem, Session};
use crate::sql::Recognised;
use crate::topology::Signal;
use crate::wire::err::ErrPacket;
use crate::wire::ok::Status;
use crate::wire::reply::Expect;

impl Session {
    /// Makes all parts last, those that have written first, in the order of their clusters and schemas.
    ///
    /// # Errors
    /// Some do not last, or it is not known. The transaction is over all the same.
    pub(in crate::session) async fn commit_parts(&mut self, statement: Recognised) -> Result<(), Problem> {
        let mut sites: Vec<Site> = Vec::new();
        if self.held.is_some() && self.status.contains(Status::IN_TRANSACTION) && self.sites.wrote.is_some() {
            sites.push(self.sites.here());
        }
        let elsewhere = self.sites.parked.iter().filter(|branch| branch.is_open() && branch.wrote());
        sites.extend(elsewhere.map(|branch| branch.site().clone()));
        let order = |site: &Site| {
            (site.cluster, site.names.as_ref().map(|names| (names.schema.0.clone(), names.tables.clone())))
        };
        sites.sort_by_cached_key(order);
        let result = self.commit_in_order(&sites, statement).await;
        // What has only read, and, after a failure, what has no COMMIT.
        let rest: &'static [u8] = if result.is_ok() { b"COMMIT" } else { b"ROLLBACK" };
        if let Some(mut held) = self.held.take_if(|held| held.status.contains(Status::IN_TRANSACTION)) {
            let _ = self.end_part(&mut held, rest).await; // it has only read, or is undone by its end
            self.let_go(held);
        }
        let _ = self.end_parts(rest).await;
        self.forget_parts();
        self.visit(&Site::home(self.home())).await;
        result
    }

    async fn commit_in_order(&mut self, sites: &[Site], statement: Recognised) -> Result<(), Problem> {
        for site in sites {
            self.visit(site).await;
            if !self.has_part_here() {
                return Err(Problem::TransactionLost { outcome_unknown: false, why: None });
            }
        }
        let mut fates = Fates { of_transaction: true, ..Fates::default() };
        let directory = self.worker.directory.load_full();
        for (at, site) in sites.iter().enumerate() {
            self.visit(site).await;
            let fate = self.commit_here(statement).await;
            if !fates.note(directory.name_of(site), fate).map_err(Problem::Server)? {
                fates.lack.extend(sites.iter().skip(at + 1).map(|site| directory.name_of(site)));
                break;
            }
        }
        self.told_of(fates)
    }

    /// Makes the part last that is held here.
    async fn commit_here(&mut self, statement: Recognised) -> Fate {
        let Some(mut held) = self.held.take() else { return Fate::Unknown };
        let server = held.server;
        let fate = match self.end_part(&mut held, COMMIT).await {
            Some(Ok(changes)) => {
                let end = End { status: held.status, changes, ..End::default() };
                self.note_freshness(server, &Work::command(&[], Expect::Results, statement), &end);
                Fate::Committed
            }
            Some(Err(error)) if error.code == SHUTDOWN => Fate::Unknown,
            Some(Err(error)) => {
                let _ = self.end_part(&mut held, ROLLBACK).await; // or its end does
                Fate::Refused(error)
            }
            None => Fate::Unknown,
        };
        if matches!(fate, Fate::Unknown) {
            held.broken = true;
            self.topology.report(server, Signal::ConnectionLost);
        }
        self.let_go(held);
        self.fate_at(server, fate)
    }

    /// Runs what ends a part; what the server reports besides, or its error. `None` where there is no answer.
    async fn end_part(&self, held: &mut Connection, sql: &[u8]) -> Option<Result<Vec<u8>, ErrPacket>> {
        if held.broken {
            return None;
        }
        let mut buffer = self.worker.buffers.take();
        let limit = if sql == COMMIT { COMMIT_LIMIT } else { PRELUDE_LIMIT };
        match timeout(limit, held.run(sql, &mut buffer)).await {
            Ok(Ok(answer)) => Some(match answer.error {
                None => Ok(answer.changes),
                Some(error) => Err(error),
            }),
            Ok(Err(_)) | Err(_) => {
                held.broken = true;
                None
            }
        }
    }

    /// The connection has no part any more; what else the session has on it stays.
    pub(in crate::session) fn let_go(&mut self, mut held: Box<Connection>) {
        held.broken |= held.status.contains(Status::IN_TRANSACTION);
        if held.broken {
            held.status.remove(Status::IN_TRANSACTION | Status::IN_TRANSACTION_READONLY);
        }
        self.status = held.status;
        (self.course, self.sites.wrote, self.status_unsure) = (Course::Untold, None, false);
        if held.broken || self.pins.difference(Pins::PASSING).is_empty() {
            self.set_pins(Pins::default());
            return self.release(held, false);
        }
        self.hold(held);
    }
}
