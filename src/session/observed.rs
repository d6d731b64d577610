//! What others learn of a session at work: its phase, the digest of its statement, what that has cost.
//!
//! Owns: when it is told. Does not know: who shows it. Invariant: nothing is decided by it; with digests off no
//! statement is looked at.

use std::time::Instant;

use super::Session;
use super::pins::Pins;
use crate::execute::relay::End;
use crate::ids::ServerId;
use crate::observe::{Execution, Place};
use crate::plan::Route;
use crate::sql;
use crate::wire::ok::Status;

/// Bytes of a statement that its digest is made of: reading all of a bulk load twice would show in its time.
const DIGESTED_MAX: usize = 64 << 10;

/// How the statement in hand has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    rows: u64,
    failed: bool,
    /// The server's error.
    error: Option<u16>,
    route: Option<Route>,
    /// Who has answered, and when it was asked, where that tells how fast it is.
    asked: Option<(ServerId, Instant)>,
}

impl Tally {
    /// A server has answered; see `asked`.
    pub fn of(end: &End, route: Route, asked: Option<(ServerId, Instant)>) -> Self {
        let rows = end.rows.unwrap_or(end.affected_rows);
        let error = end.error.as_ref().map(|error| error.code);
        Self { rows, failed: error.is_some(), error, route: Some(route), asked }
    }

    /// The number of the server's error, where it has answered with one.
    pub fn error(&self) -> Option<u16> {
        self.error
    }

    /// How many rows it has changed, by the server's word; `None` where nobody knows.
    pub fn affected(&self) -> Option<u64> {
        match (self.error, self.route, self.failed) {
            (Some(_), ..) => Some(0),
            (None, Some(_), false) => Some(self.rows),
            _ => None,
        }
    }

    /// The client was told of a problem.
    pub fn fail(&mut self) {
        self.failed = true;
    }
}

/// A statement that is counted: its digest, and where that is in the core's table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    digest: u64,
    place: Option<Place>,
}

impl Session {
    /// The digest of a statement's text; 0 with digests off.
    pub(super) fn digest(&self, text: &[u8]) -> u64 {
        if self.worker.digests.is_some() { sql::digest(digested(text), &self.lexing) } else { 0 }
    }

    /// A statement begins.
    pub(super) fn begin_statement(&mut self, digest: u64, text: &[u8]) -> Counted {
        self.tally = Tally::default();
        let place = self.worker.digests.as_ref().map(|digests| {
            self.entry.handle.activity.runs(digest);
            digests.borrow_mut().place(digest, || sql::digest_text(digested(text), &self.lexing))
        });
        Counted { digest, place }
    }

    /// It has been answered. `route` is where it was meant to go.
    pub(super) fn end_statement(&mut self, counted: Counted, route: Route) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.since);
        self.since = now;
        self.worker.counters.took(route.target as usize, took);
        self.pass_given();
        if let Some((server, asked)) = self.tally.asked {
            self.topology.answered(server, now, now.saturating_duration_since(asked));
        }
        if let (Some(digests), Some(place)) = (&self.worker.digests, counted.place) {
            let Tally { rows, failed, route: taken, .. } = self.tally;
            let route = taken.unwrap_or(route);
            let execution =
                Execution { took, rows, failed, route: route.target as usize, reason: route.reason as usize };
            digests.borrow_mut().count(place, counted.digest, &execution);
        }
    }

    /// A command has come.
    pub(super) fn show_busy(&mut self) {
        self.since = Instant::now();
        self.entry.handle.activity.busy(self.since);
    }

    /// The client has its answer.
    pub(super) fn show_idle(&self) {
        let held = self.held.as_ref().map(|connection| (connection.server, connection.id));
        let in_transaction = held.is_some() && self.status.contains(Status::IN_TRANSACTION);
        self.entry.handle.activity.idle(self.since, in_transaction, held);
    }

    /// A pin begins or ends.
    pub(super) fn show_pin(&self, bit: usize, stands: bool) {
        let activity = &self.entry.handle.activity;
        let Some(reason) = Pins::NAMES.get(bit) else { return };
        if stands {
            let digests = self.worker.digests.as_ref();
            let text = digests.and_then(|digests| digests.borrow().text(activity.digest()));
            activity.pinned(reason, text);
        } else {
            activity.unpinned(reason);
        }
    }
}

/// The part of a statement that its digest is made of. A long list of rows is cut behind a row, so that its digest is that
/// of a shorter one.
fn digested(text: &[u8]) -> &[u8] {
    let Some(head) = text.get(..DIGESTED_MAX) else { return text };
    memchr::memmem::rfind(head, b"),").map_or(head, |row_end| &head[..=row_end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Dialect, LexCharset, Lexing, ServerVersion};

    #[test]
    fn a_bulk_load_has_the_digest_of_a_small_one() {
        let lexing = Lexing {
            ansi_quotes: false,
            no_backslash_escapes: false,
            charset: LexCharset::AsciiSafe,
            server: ServerVersion { dialect: Dialect::MySql, number: 90_704 },
        };
        let insert = |rows: usize| format!("INSERT INTO t VALUES {}", vec!["(1, 'a, b')"; rows].join(", "));
        let text = |sql: &str| sql::digest_text(digested(sql.as_bytes()), &lexing);
        let small = insert(3);
        assert_eq!(digested(small.as_bytes()), small.as_bytes());
        for rows in [10_000, 10_001, 20_000] {
            let large = insert(rows);
            assert!(digested(large.as_bytes()).len() <= DIGESTED_MAX);
            assert_eq!(text(&large), text(&small), "{rows} rows");
        }
        assert_eq!(digested(&[b'x'; DIGESTED_MAX + 1]).len(), DIGESTED_MAX);
        // A cut within a literal shows nothing of it, and makes no digest of its own.
        let document = |letter: &str| format!("INSERT INTO t VALUES (1, '{}')", letter.repeat(DIGESTED_MAX));
        assert!(text(&document("a")).starts_with(b"INSERT INTO `t` VALUES ("));
        assert_eq!(text(&document("a")), text(&document("b")));
    }
}
