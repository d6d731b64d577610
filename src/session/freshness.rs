//! What a session's reads must not miss: its own writes, and what it has read before.
//!
//! Owns: the session's mark, and which server is known to be past it. Does not know: how lag is measured. Invariant: in doubt a
//! replica is behind; a primary never is. What is known of a server only grows: it executes, it does not take back.
//!
//! - **Own writes** are named by GTIDs, which servers report with the OK. A replica has them if it was seen to, or waited for them.
//! - **No way back in time**: a session reads on where it has read; elsewhere only where everything is that was there after its
//!   last read, by the servers' own word. A write of its own is later than all it has read, and stands for it.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::attempt::Work;
use super::{Flow, Problem, Session, reply};
use crate::config::Consistency;
use crate::execute::relay::End;
use crate::ids::ServerId;
use crate::plan::{Reason, Route, Target};
use crate::sql::{self, Class, Dialect, Own, Recognised, Uses};
use crate::topology::{Draw, Snapshot, Topology, Transactions};
use crate::wire::command;
use crate::wire::ok::{Change, Status, changes};
use crate::wire::reply::Expect;

/// A session asks the primary for its position not more often than this.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long that may take.
const ASK_LIMIT: Duration = Duration::from_secs(1);

/// Servers known by number; those beyond are asked about each time.
const KNOWN_MAX: u16 = 64;

/// A session's mark.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// Its own transactions.
    wrote: Transactions,
    /// When it wrote something that no GTID names, or that failed after it had perhaps written.
    wrote_unnamed: Option<Instant>,
    /// Servers that have all that it wrote: bits by number.
    having: u64,
    /// Where it has read last since it wrote, and when.
    read: Option<(ServerId, Instant)>,
    /// The level that the session has chosen.
    level: Option<Consistency>,
    /// When the primary was asked last what it had.
    asked: Option<Instant>,
    /// The server on which the statement in hand must wait for `wrote`.
    wait_at: Option<ServerId>,
}

impl Freshness {
    /// Whether any replica will do.
    fn is_free(&self) -> bool {
        self.wrote.is_empty() && self.wrote_unnamed.is_none() && self.read.is_none()
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
    fn allows(&mut self, topology: &Topology, snapshot: &Snapshot, id: ServerId) -> bool {
        self.has_named(topology, id) && self.may_wait(topology, snapshot, id)
    }

    /// Whether it misses nothing but what can be waited for.
    fn may_wait(&self, topology: &Topology, snapshot: &Snapshot, id: ServerId) -> bool {
        self.is_not_back(topology, id) && self.has_unnamed(topology, snapshot, id)
    }

    /// The statement that waits on this server, where one must; `seconds` at most.
    pub fn take_wait(&mut self, id: ServerId, dialect: Dialect, seconds: f64) -> Option<Vec<u8>> {
        self.wait_at.take_if(|at| *at == id)?;
        let function = match dialect {
            Dialect::MySql => "WAIT_FOR_EXECUTED_GTID_SET",
            Dialect::MariaDb => "MASTER_GTID_WAIT",
        };
        // The client's sql_select_limit is not for this.
        Some(format!("SELECT {function}('{}',{seconds:.3}) LIMIT 1", self.wrote).into_bytes())
    }

    /// The wait has ended: the server has all.
    pub fn has_waited(&mut self, id: ServerId) {
        if id.0 < KNOWN_MAX {
            self.having |= 1 << id.0;
        }
    }

    /// Takes in a statement that has ended on `id`. `named`: what this server writes carries GTIDs.
    fn note(&mut self, id: ServerId, statement: Recognised, end: &End, named: bool, reads: bool) {
        let mut written = Transactions::default();
        for change in changes(&end.changes) {
            let text = match change {
                Change::Gtids(text) | Change::Variable { name: b"last_gtid", value: text } => text,
                _ => continue,
            };
            match Transactions::parse(text) {
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
            self.forget_read();
        } else if !named && may_have_written(statement) && !end.status.contains(Status::IN_TRANSACTION) {
            self.forget_read();
            self.wrote_unnamed = Some(Instant::now());
        } else if reads {
            self.read = Some((id, Instant::now()));
        }
    }

    fn forget_read(&mut self) {
        self.read = None;
    }

    /// Whether only a probe of `primary` that is later than all the session has done there would let it go.
    fn is_bound_to(&self, primary: ServerId) -> bool {
        let bound = self.wrote_unnamed.is_some() || self.read.is_some_and(|(seen, _)| seen == primary);
        bound && self.asked.is_none_or(|asked| asked.elapsed() >= ASK_EVERY)
    }

    /// The primary has had all this after everything that the session has done: from now on it is that which counts.
    fn stand_at(&mut self, all: Transactions) {
        self.wrote = all;
        self.wrote_unnamed = None;
        self.having = 0;
        self.forget_read();
    }
}

impl Session {
    /// Where the session reads, while nothing can show another replica to be past its last read. Only who may move draws: so those who
    /// begin spread as the shares are.
    fn stays_at(&mut self, snapshot: &Snapshot, tried: &[ServerId]) -> Option<ServerId> {
        let (home, when) = self.freshness.read?;
        let serves = !tried.contains(&home) && snapshot.readers.shares().any(|(id, _)| id == home);
        let topology = &self.worker.topology;
        let may_move =
            topology.position(home).is_some_and(|position| position.at.is_some_and(|at| at >= when));
        let stays = self.consistency() == Consistency::Session && serves && !may_move;
        (stays && self.freshness.allows(topology, snapshot, home)).then_some(home)
    }

    /// A replica for a read, fresh enough for this session, or on which it may wait; `None` where only the primary is.
    pub(super) fn choose_replica(&mut self, snapshot: &Snapshot, tried: &[ServerId]) -> Option<ServerId> {
        self.freshness.wait_at = None;
        if let Some(home) = self.stays_at(snapshot, tried) {
            return Some(home);
        }
        let load = |id| self.worker.pool.server(id).map_or(0, |server| server.in_use());
        let (spread, turn) = self.worker.draw();
        let draw = Draw { random: self.worker.random(), spread, turn, source: self.source, load: &load };
        let first = snapshot.readers.choose(draw, tried)?;
        let reads = &self.worker.config.cluster.reads;
        if self.consistency() == Consistency::Eventual || self.freshness.is_free() {
            return Some(first);
        }
        let topology = &self.worker.topology;
        let may_serve =
            |id: &ServerId| !tried.contains(id) && snapshot.readers.shares().any(|(reader, _)| reader == *id);
        // Where it has read it may read on.
        let home = self.freshness.read.map(|(seen, _)| seen).filter(may_serve);
        let candidates = || {
            let others = snapshot.readers.shares().map(|(id, _)| id).filter(|id| !tried.contains(id));
            [Some(first), home].into_iter().flatten().chain(others)
        };
        if let Some(id) = candidates().find(|id| self.freshness.allows(topology, snapshot, *id)) {
            return Some(id);
        }
        let id = candidates()
            .find(|id| self.is_near(snapshot, *id) && self.freshness.may_wait(topology, snapshot, *id))?;
        self.freshness.wait_at = (!reads.wait.is_zero()).then_some(id);
        self.freshness.wait_at
    }

    /// A session that reads on the primary without a pause would do so for ever: no probe is later than its last read. Asked by the
    /// session itself, between two reads, the primary names what a replica must have.
    pub(super) async fn leave_primary(&mut self) {
        let (primary, sql) = {
            let snapshot = self.worker.topology.snapshot();
            let Some(primary) = snapshot.primary.filter(|primary| self.freshness.is_bound_to(*primary))
            else {
                return;
            };
            let named = snapshot.server(primary).and_then(|server| server.facts.as_ref());
            let is_near = snapshot.readers.shares().any(|(id, _)| self.is_near(&snapshot, id));
            if self.consistency() == Consistency::Eventual
                || !is_near
                || !named.is_some_and(|facts| facts.gtids)
            {
                return;
            }
            let sql: &[u8] = match self.lexing.server.dialect {
                Dialect::MySql => b"SELECT @@global.gtid_executed LIMIT 1",
                Dialect::MariaDb => b"SELECT @@global.gtid_binlog_pos LIMIT 1",
            };
            (primary, sql)
        };
        self.freshness.asked = Some(Instant::now());
        let Ok(mut connection) = self.lease_from(primary, None).await else { return };
        let mut buffer = self.worker.buffers.take();
        let answer = timeout(ASK_LIMIT, connection.run(sql, &mut buffer)).await;
        connection.user = None; // what somebody may ask there about a last statement is gone
        match answer {
            Ok(Ok(answer)) if buffer.filled().is_empty() => {
                let all = answer.value().and_then(Transactions::parse);
                if let Some(all) = all.filter(|all| Transactions::default().extend(all)) {
                    self.freshness.stand_at(all);
                }
            }
            _ => connection.broken = true,
        }
        self.worker.pool.check_in(connection);
    }

    /// Whether a wait there would not be long.
    fn is_near(&self, snapshot: &Snapshot, id: ServerId) -> bool {
        let lag = snapshot.server(id).and_then(|server| server.lag);
        lag.is_some_and(|lag| lag <= self.worker.config.cluster.reads.wait) && self.worker.may_wait_at(id)
    }

    /// Takes in what a statement means for later reads.
    pub(super) fn note_freshness(&mut self, id: ServerId, work: &Work<'_>, end: &End) {
        if self.consistency() == Consistency::Eventual && end.changes.is_empty() && end.error.is_none() {
            return; // what it writes may still be handed to another session
        }
        let snapshot = self.worker.topology.snapshot();
        let named =
            snapshot.server(id).and_then(|server| server.facts.as_ref()).is_some_and(|facts| facts.gtids);
        // What drivers ask a server about itself binds nobody to the primary.
        let reads = reads_data(work.statement)
            && (snapshot.primary != Some(id)
                || end.status.contains(Status::IN_TRANSACTION)
                || reads_tables(work.statement, || {
                    sql::Outline::of(work.sql(), &self.lexing).tables.is_empty()
                }));
        self.freshness.note(id, work.statement, end, named, reads);
    }
}

impl Session {
    fn consistency(&self) -> Consistency {
        self.freshness.level.unwrap_or(self.worker.config.cluster.reads.consistency)
    }

    /// A statement that no server knows: about what the session must not miss.
    pub(super) async fn carry_out_own(&mut self, own: Own) -> Flow {
        let wrong = |name: &str, value: &[u8]| {
            let value = String::from_utf8_lossy(value);
            Problem::Request(1231, format!("Variable '{name}' can't be set to the value of '{value}'").into())
        };
        match own {
            Own::Gtid => return self.tell_gtid().await,
            Own::SetGtid(text) => {
                let given = Transactions::parse(&text).filter(|given| self.freshness.wrote.extend(given));
                if given.is_none() {
                    return self.refuse(&wrong("tidegate_gtid", &text)).await;
                }
                self.freshness.having = 0;
            }
            Own::SetConsistency(text) => {
                self.freshness.level = match &text[..] {
                    b"default" => None,
                    b"session" => Some(Consistency::Session),
                    b"eventual" => Some(Consistency::Eventual),
                    _ => return self.refuse(&wrong("tidegate_consistency", &text)).await,
                };
            }
        }
        self.tell(&reply::ok(1, self.standing(), 0, self.client.capabilities)).await
    }

    /// Hands out what the session has written, for another session to read no less. A server writes the result.
    async fn tell_gtid(&mut self) -> Flow {
        if self.freshness.wrote_unnamed.is_some() {
            let what = "what this session has written cannot be told: a statement failed that may have written, or its server has no GTIDs";
            return self.refuse(&Problem::Unsupported(what.into())).await;
        }
        let sql = format!("SELECT '{}' AS `tidegate_gtid()`", self.freshness.wrote).into_bytes();
        let mut packets = Vec::new();
        command::put_query(&mut packets, &sql, self.class.capabilities);
        let work =
            Work { text: Some(&sql), ..Work::command(&packets, Expect::Results, self.recognise(&sql)) };
        self.perform(&work, Route { target: Target::Any, reason: Reason::SessionState }).await
    }
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
