//! What a session's reads must not miss: its own writes, and what it has read before.
//!
//! Owns: the session's mark, and which server is known to be past it. Does not know: how lag is measured. Invariant: in doubt a
//! replica is behind; a primary never is. What is known of a server only grows: it executes, it does not take back.
//!
//! - **Own writes** are named by GTIDs, which servers report with the OK. A replica has them if it was seen to, or waited for them.
//! - **No way back in time**: a session reads on where it has read; elsewhere only where everything is that was there after its
//!   last read, by the servers' own word. A write of its own is later than all it has read, and stands for it.

pub(super) mod inquiry;
pub(super) mod reader;
pub(super) mod readonly;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Session;
use super::work::Work;
use crate::consistency::Consistency;
use crate::execute::relay::End;
use crate::ids::ServerId;
use crate::sql::{self, Class, Dialect, Recognised, Uses};
use crate::topology::{Snapshot, Topology, Transactions};
use crate::wire::ok::{Change, Status, changes};

/// Reads at one replica, where nothing but asking shows another to be past the last one, before the next is drawn. So that shares hold
/// over reads, not only over sessions; an answer costs one read more in so many at most.
const TURN: u32 = 64;
/// As many are enough to look whether another replica is clearly better.
const LOOK: u32 = 8;
/// A session asks the primary for its position not more often than this.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Servers known by number; those beyond are asked about each time.
const KNOWN_MAX: u16 = 64;

/// What becomes of a session that has read at one replica for a while.
pub(super) enum Stays {
    /// It reads on there, unless another is clearly better.
    Looks(ServerId),
    /// The next replica is drawn.
    Over(ServerId),
}

/// A session's mark.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// Its own transactions.
    wrote: Transactions,
    /// Who was the primary when that was taken in, unless it was given from outside.
    under: Option<ServerId>,
    /// When it wrote something that no GTID names, or that failed after it had perhaps written.
    wrote_unnamed: Option<Instant>,
    /// Servers that have all that it wrote: bits by number.
    having: u64,
    /// Where it has read last since it wrote, and when.
    pub read: Option<(ServerId, Instant)>,
    /// How often it has stayed there.
    pub stayed: u32,
    /// Where it goes from there: it is known what it must not miss.
    pub next: Option<ServerId>,
    /// The level that the session has chosen.
    pub level: Option<Consistency>,
    /// The level of the statement in hand, and who was primary when it began.
    current: Option<(Consistency, Option<ServerId>)>,
    /// The session's mark covers all that the primary had at this moment.
    covers: Option<Instant>,
    /// A replica for the statement in hand must have what the primary had then.
    pub since: Option<Instant>,
    /// Whether only the primary will do for the statement in hand: what it must not miss could not be learnt.
    pub unlearnt: bool,
    /// When the primary was asked last what it had.
    pub asked: Option<Instant>,
    /// The server on which the statement in hand must wait for `wrote`.
    pub wait_at: Option<ServerId>,
}

impl Freshness {
    /// A statement begins.
    pub fn begin(&mut self, statement: Recognised, snapshot: &Snapshot) {
        let level = statement.consistency().or(self.level).unwrap_or(snapshot.cluster.reads.consistency);
        self.current = Some((level, snapshot.primary));
    }

    /// What the statement in hand must not miss.
    pub fn consistency(&self) -> Consistency {
        self.current.map_or(Consistency::Session, |(level, _)| level)
    }

    /// Whether any replica will do.
    pub fn is_free(&self) -> bool {
        self.wrote.is_empty() && self.wrote_unnamed.is_none() && self.read.is_none() && self.since.is_none()
    }

    /// What it has written, where that can be told.
    pub fn named(&self) -> Option<&Transactions> {
        self.wrote_unnamed.is_none().then_some(&self.wrote)
    }

    /// Has it miss none of `given`, either; false where that is too much to keep.
    pub fn take_in(&mut self, given: &Transactions) -> bool {
        self.having = 0;
        self.under = None;
        self.wrote.extend(given)
    }

    /// Where another has become the primary since, what that one lacks was lost with the one before: no server will ever have it, and no
    /// read is to wait for it. `executed`: as the primary was probed when it was found to be that, or later.
    pub fn give_up_what_is_lost(
        &mut self,
        primary: Option<ServerId>,
        executed: impl FnOnce(ServerId) -> Option<Arc<Transactions>>,
    ) {
        let Some(primary) = primary.filter(|primary| self.under.is_some_and(|under| under != *primary))
        else {
            return;
        };
        let Some(executed) = executed(primary) else { return };
        let lost = self.wrote.without(&executed);
        if !lost.is_empty() {
            self.wrote = self.wrote.without(&lost);
            self.having = 0;
        }
        self.under = Some(primary);
    }

    fn has_named(&mut self, topology: &Topology, id: ServerId) -> bool {
        let bit = if id.0 < KNOWN_MAX { 1 << id.0 } else { 0 };
        if self.wrote.is_empty() || self.having & bit != 0 {
            return true;
        }
        let has = topology
            .position(id)
            .is_some_and(|position| position.executed.as_ref().is_some_and(|all| all.contains(&self.wrote)));
        if has {
            self.having |= bit;
        }
        has
    }

    /// Whether `id` has all that `other` had at some time after `moment`.
    fn has_caught_up(topology: &Topology, id: ServerId, other: ServerId, moment: Instant) -> bool {
        let (Some(it), Some(other)) = (topology.position(id), topology.position(other)) else { return false };
        let later = other.at.is_some_and(|at| at >= moment);
        later && matches!((&it.executed, &other.executed), (Some(it), Some(other)) if it.contains(other))
    }

    fn has_unnamed(&self, topology: &Topology, snapshot: &Snapshot, id: ServerId) -> bool {
        self.wrote_unnamed.is_none_or(|moment| {
            snapshot.primary.is_some_and(|primary| Self::has_caught_up(topology, id, primary, moment))
        })
    }

    fn is_not_back(&self, topology: &Topology, id: ServerId) -> bool {
        self.read.is_none_or(|(seen, when)| seen == id || Self::has_caught_up(topology, id, seen, when))
    }

    /// Whether a read on `id` misses nothing.
    pub fn allows(&mut self, topology: &Topology, snapshot: &Snapshot, id: ServerId) -> bool {
        self.has_named(topology, id) && self.may_wait(topology, snapshot, id)
    }

    /// Whether it misses nothing but what can be waited for.
    pub fn may_wait(&self, topology: &Topology, snapshot: &Snapshot, id: ServerId) -> bool {
        self.is_not_back(topology, id)
            && self.has_unnamed(topology, snapshot, id)
            && self.since.is_none_or(|since| covers(topology, id, since))
    }

    /// The statement that waits on this server, where one must; as many seconds at most.
    pub fn take_wait(
        &mut self,
        id: ServerId,
        dialect: Dialect,
        seconds: impl FnOnce() -> f64,
    ) -> Option<Vec<u8>> {
        self.wait_at.take_if(|at| *at == id)?;
        let function = match dialect {
            Dialect::MySql => "WAIT_FOR_EXECUTED_GTID_SET",
            Dialect::MariaDb => "MASTER_GTID_WAIT",
        };
        // The client's sql_select_limit is not for this.
        Some(format!("SELECT {function}('{}',{:.3}) LIMIT 1", self.wrote, seconds()).into_bytes())
    }

    /// The server has all.
    pub fn has_waited(&mut self, id: ServerId) {
        if id.0 < KNOWN_MAX {
            self.having |= 1 << id.0;
        }
    }

    /// Takes in a statement that has ended on `id`. `named`: what this server writes carries GTIDs.
    fn note(
        &mut self,
        id: ServerId,
        statement: Recognised,
        end: &End,
        named: impl Fn() -> bool,
        reads: bool,
    ) {
        let mut written = Transactions::default();
        for change in changes(&end.changes) {
            let text = match change {
                Change::Gtids(text) | Change::Variable { name: b"last_gtid", value: text } => text,
                _ => continue,
            };
            match Transactions::parse(text).filter(|_| named()) {
                Some(one) if written.extend(&one) => {}
                _ => self.wrote_unnamed = Some(Instant::now()),
            }
        }
        let failed = end.error.is_some();
        if failed && may_have_written(statement) {
            self.forget_read(); // what it has read the primary has, too
            self.wrote_unnamed = Some(Instant::now());
        } else if !written.is_empty() {
            if !self.wrote.extend(&written) {
                self.wrote = Transactions::default();
                self.wrote_unnamed = Some(Instant::now());
            }
            self.having = 0;
            self.under = Some(id);
            self.forget_read();
        } else if may_have_written(statement) && !end.status.contains(Status::IN_TRANSACTION) && !named() {
            self.forget_read();
            self.wrote_unnamed = Some(Instant::now());
        } else if reads {
            self.read = Some((id, Instant::now()));
        }
    }

    fn forget_read(&mut self) {
        self.read = None;
    }

    /// Where it has read for its turn, or for long enough to look about; `None` where neither.
    pub fn may_have_had_its_turn(&mut self) -> Option<Stays> {
        if self.stayed == 0 || !self.stayed.is_multiple_of(LOOK) {
            return None;
        }
        let (home, _) = self.read?;
        if self.stayed < TURN {
            return Some(Stays::Looks(home));
        }
        self.stayed = 0;
        Some(Stays::Over(home))
    }

    /// The primary, if only a probe of it that is later than all the session has done there would let it go.
    pub fn bound(&self) -> Option<ServerId> {
        let primary = self.current?.1?;
        let bound = self.wrote_unnamed.is_some() || self.read.is_some_and(|(seen, _)| seen == primary);
        (bound && self.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY)).then_some(primary)
    }

    /// Whether it misses nothing that the primary had at `moment`.
    pub fn covers(&self, moment: Instant) -> bool {
        self.covers.is_some_and(|covered| covered >= moment)
    }

    /// Has it miss nothing of what the primary had at `moment`; false where that is too much to keep.
    pub fn cover(&mut self, moment: Instant, all: &Transactions) -> bool {
        if !self.take_in(all) {
            return false;
        }
        let primary = self.current.and_then(|(_, primary)| primary);
        self.under = primary;
        self.covers = Some(moment);
        self.wrote_unnamed.take_if(|wrote| *wrote <= moment);
        // What a replica has shown its primary may have a moment later (semi-synchronous replication).
        self.read.take_if(|(seen, read)| Some(*seen) == primary && *read <= moment);
        true
    }

    /// `id` has had all this after everything that the session has done: from now on it is that which counts.
    pub fn stand_at(&mut self, id: ServerId, all: Transactions) {
        self.wrote = all;
        self.under = self.current.and_then(|(_, primary)| primary);
        self.wrote_unnamed = None;
        self.having = 0;
        self.has_waited(id);
        self.forget_read();
    }
}

impl Session {
    /// Takes in what a statement means for later reads.
    pub(super) fn note_freshness(&mut self, id: ServerId, work: &Work<'_>, end: &End) {
        if self.freshness.consistency() == Consistency::Eventual
            && end.changes.is_empty()
            && end.error.is_none()
        {
            return; // what it writes may still be handed to another session
        }
        let primary = self.freshness.current.and_then(|(_, primary)| primary);
        // What drivers ask a server about itself binds nobody to the primary.
        let reads = reads_data(work.statement)
            && (primary != Some(id)
                || end.status.contains(Status::IN_TRANSACTION)
                || reads_tables(work.statement, || {
                    sql::Outline::of(work.sql(), &self.lexing).tables.is_empty()
                }));
        let named = || {
            let snapshot = self.topology.snapshot();
            let facts = snapshot.server(id).and_then(|server| server.facts.as_ref());
            facts.is_some_and(|facts| facts.gtids)
        };
        self.freshness.note(id, work.statement, end, named, reads);
    }
}

/// Whether a server is known to have all that the primary had at `moment`.
pub(super) fn covers(topology: &Topology, id: ServerId, moment: Instant) -> bool {
    topology.position(id).is_some_and(|position| position.covers.is_some_and(|covered| covered >= moment))
}

/// Whether a statement that failed, or that no GTID names, may have left something all the same.
fn may_have_written(statement: Recognised) -> bool {
    let class = matches!(
        statement.class,
        Class::Write | Class::Ddl | Class::Call | Class::TextPrepared | Class::EndOrSavepoint | Class::Other
    );
    class || statement.uses.intersects(Uses::MULTIPLE | Uses::UNKNOWN_FUNCTION)
}

/// Whether its answer may show data.
fn reads_data(statement: Recognised) -> bool {
    use Class::{Begin, Diagnostics, Empty, EndOrSavepoint, Kill, Session, Set, ShowServer, Use};
    !matches!(
        statement.class,
        Empty | Begin(_) | Diagnostics | EndOrSavepoint | Kill | Session | Set | ShowServer | Use
    )
}

/// Whether a statement that reads does more than ask about its server.
fn reads_tables(statement: Recognised, names_none: impl FnOnce() -> bool) -> bool {
    statement.class != Class::Read || statement.uses.contains(Uses::UNKNOWN_FUNCTION) || !names_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ServerId = ServerId(1);
    const OTHER: ServerId = ServerId(2);

    fn set(text: &str) -> Transactions {
        Transactions::parse(text.as_bytes()).expect(text)
    }

    fn wrote(text: &str, under: Option<ServerId>) -> Freshness {
        Freshness { wrote: set(text), under, having: 0b110, ..Freshness::default() }
    }

    fn executed(text: &str) -> Option<Arc<Transactions>> {
        Some(Arc::new(set(text)))
    }

    #[test]
    fn what_the_next_primary_lacks_is_waited_for_no_longer() {
        let mut session = wrote("0-1-7,1-1-3", Some(ONE));
        session.give_up_what_is_lost(Some(OTHER), |_| executed("0-1-5,1-1-4"));
        assert_eq!(session.wrote, set("0-1-5,1-1-3"));
        // What servers had of the whole says nothing of what is left.
        assert_eq!((session.having, session.under), (0, Some(OTHER)));
        // Under that one nothing is lost any more.
        session.give_up_what_is_lost(Some(OTHER), |_| executed(""));
        assert_eq!(session.wrote, set("0-1-5,1-1-3"));
    }

    #[test]
    fn what_the_next_primary_has_is_missed_by_no_read() {
        let mut session = wrote("0-1-7", Some(ONE));
        session.give_up_what_is_lost(Some(OTHER), |_| executed("0-1-7"));
        assert_eq!((&session.wrote, session.having, session.under), (&set("0-1-7"), 0b110, Some(OTHER)));
    }

    #[test]
    fn in_doubt_nothing_is_given_up() {
        let (all, lacks) = (set("0-1-7"), || executed("0-1-5"));
        // There is no primary; it is the same; it was not probed yet; what counts was given from outside.
        for (under, primary, known) in [
            (Some(ONE), None, lacks()),
            (Some(ONE), Some(ONE), lacks()),
            (Some(ONE), Some(OTHER), None),
            (None, Some(OTHER), lacks()),
        ] {
            let mut session = wrote("0-1-7", under);
            session.give_up_what_is_lost(primary, |_| known);
            assert_eq!((&session.wrote, session.having, session.under), (&all, 0b110, under));
        }
    }
}
