//! What is kept of a transaction: its statements as they came, and a checksum of each reply.
//!
//! Owns: the bounds, and the memory. Does not know: which statements may be kept (`course`), how they are run again (`resume`).
//! Invariant: a transaction is kept whole or not at all; the memory of one that is over serves the next one of its core.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use crate::backend::insert_id::Place;
use crate::backend::state::State;
use crate::backend::statements::Source;
use crate::config::{Replay, Transactions};
use crate::execute::sum::Sum;
use crate::plan::Route;
use crate::session::statements::execution::Execution;
use crate::session::work::Work;
use crate::sql::{Access, Class, Recognised, Uses};
use crate::wire::capabilities::Capabilities;
use crate::wire::command;
use crate::wire::frame::HEADER;
use crate::wire::reply::Expect;

/// What each statement takes beside its bytes.
const STEP_SIZE: usize = size_of::<Step>();

/// Results of one transaction, in bytes. Larger ones are not worth the time that it would take to read them again.
const RESULTS_MAX: u64 = 64 << 20;

/// Memory that is kept for records to come: so many, and none that is larger.
const SPARE_MAX: usize = 64;
const SPARE_SIZE_MAX: usize = 16 << 10;

/// Memory of records that are over; one core's.
#[derive(Debug, Default)]
pub(in crate::session) struct Tapes(RefCell<Vec<Tape>>);

/// Statements, one behind the other.
#[derive(Debug, Default)]
struct Tape {
    steps: Vec<Step>,
    /// Their packets.
    sent: Vec<u8>,
}

/// All that has run in a transaction.
#[derive(Debug)]
pub(in crate::session) struct Record {
    tape: Tape,
    home: Rc<Tapes>,
    results: u64,
    limits: Transactions,
    /// Of its first statement.
    pub route: Route,
    /// The session's state in it.
    pub state: Arc<State>,
    /// Where LAST_INSERT_ID() was before it.
    pub insert_id: Place,
    /// It has been run again already.
    pub resumed: bool,
}

/// One statement of it.
#[derive(Debug)]
pub(in crate::session) struct Step {
    pub statement: Recognised,
    /// Of its reply; `None` for one that says nothing.
    pub sum: Option<u64>,
    /// COM_QUERY with its header, or an execution's payload.
    sent: Range<usize>,
    execution: Option<Prepared>,
}

/// What an execution is beside its payload.
#[derive(Debug)]
struct Prepared {
    id: u32,
    source: Arc<Source>,
    types: Option<Arc<[u8]>>,
    bound_at: Option<usize>,
    carries_types: bool,
}

impl Step {
    /// It writes what LAST_INSERT_ID() says, which its own reply does not show.
    pub fn writes_insert_id(&self) -> bool {
        writes_insert_id(self.statement)
    }
}

/// Whether a statement writes what LAST_INSERT_ID() says.
pub(in crate::session) fn writes_insert_id(statement: Recognised) -> bool {
    statement.class == Class::Write && statement.uses.contains(Uses::LAST_INSERT_ID)
}

impl Record {
    /// Of nothing yet.
    pub fn new(
        home: &Rc<Tapes>,
        limits: Transactions,
        route: Route,
        state: &Arc<State>,
        insert_id: Place,
    ) -> Self {
        let tape = home.0.borrow_mut().pop().unwrap_or_default();
        let (home, state) = (Rc::clone(home), Arc::clone(state));
        Self { tape, home, results: 0, limits, route, state, insert_id, resumed: false }
    }

    /// The statement that begins a transaction in which nothing has run.
    pub fn begin(&mut self, access: Access, capabilities: Capabilities) {
        let sql: &[u8] = match access {
            Access::Default => b"BEGIN",
            Access::ReadOnly => b"START TRANSACTION READ ONLY",
            Access::ReadWrite => b"START TRANSACTION READ WRITE",
        };
        let start = self.tape.sent.len();
        command::put_query(&mut self.tape.sent, sql, capabilities);
        let statement = Recognised::plain(Class::Begin(access), Uses::empty());
        let sent = start..self.tape.sent.len();
        self.tape.steps.push(Step { statement, sum: None, sent, execution: None });
    }

    /// Keeps one more statement; false where that would be too much.
    pub fn push(&mut self, work: &Work<'_>, sum: &Sum) -> bool {
        self.results += sum.length();
        let (packets, prepared) = match &work.execution {
            Some(execution) => {
                let types = execution.types.as_ref().map_or(0, |types| types.len());
                (execution.payload, execution.source.text.len() + types)
            }
            None => (work.packets, 0),
        };
        let Tape { steps, sent } = &mut self.tape;
        let size = (steps.len() + 1) * STEP_SIZE + sent.len() + packets.len() + prepared;
        let fits = size <= self.limits.replay_size_max && steps.len() < self.limits.replay_statements_max;
        if !fits || self.results > RESULTS_MAX {
            return false;
        }
        let start = sent.len();
        sent.extend_from_slice(packets);
        let execution = work.execution.as_ref().map(|execution| Prepared {
            id: execution.id,
            source: Arc::clone(execution.source),
            types: execution.types.clone(),
            bound_at: execution.bound_at,
            carries_types: execution.carries_types,
        });
        let sent = start..sent.len();
        steps.push(Step { statement: work.statement, sum: Some(sum.value()), sent, execution });
        true
    }

    /// Its statements.
    pub fn steps(&self) -> &[Step] {
        &self.tape.steps
    }

    /// One of them, as it is sent again.
    pub fn work<'a>(&'a self, step: &'a Step, capabilities: Capabilities) -> Work<'a> {
        let sent = self.tape.sent.get(step.sent.clone()).unwrap_or_default();
        let plain = Work::command(sent, Expect::Results, step.statement);
        match &step.execution {
            None => {
                let text = sent.get(HEADER..).and_then(|payload| command::query_text(payload, capabilities));
                Work { text, ..plain }
            }
            Some(Prepared { id, source, types, bound_at, carries_types }) => {
                let execution = Execution {
                    id: *id,
                    source,
                    payload: sent,
                    types: types.clone(),
                    bound_at: *bound_at,
                    carries_types: *carries_types,
                    executes: true,
                };
                Work { execution: Some(execution), ..plain }
            }
        }
    }

    /// Whether anything is kept but the beginning.
    pub fn keeps_reads(&self) -> bool {
        self.limits.replay != Replay::Off
    }

    /// Whether writes are kept, too.
    pub fn keeps_writes(&self) -> bool {
        self.limits.replay == Replay::All
    }

    /// Whether one of its statements has written.
    pub fn has_written(&self) -> bool {
        self.steps().iter().any(|step| step.statement.class == Class::Write)
    }

    /// Whether nothing has run in it but its beginning, and savepoints.
    pub fn has_run_nothing(&self) -> bool {
        let mut steps = self.steps().iter().map(|step| step.statement.class);
        matches!(steps.next(), Some(Class::Begin(_))) && steps.all(|class| class == Class::EndOrSavepoint)
    }

    /// Whether it was begun, and nothing has run in it.
    pub fn is_only_begun(&self) -> bool {
        matches!(self.steps(), [Step { statement: Recognised { class: Class::Begin(_), .. }, .. }])
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Tape { mut steps, mut sent } = std::mem::take(&mut self.tape);
        steps.clear();
        sent.clear();
        let mut spare = self.home.0.borrow_mut();
        let small = steps.capacity() * STEP_SIZE + sent.capacity() <= SPARE_SIZE_MAX;
        if small && spare.len() < SPARE_MAX {
            spare.push(Tape { steps, sent });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Reason, Target};

    const LIMITS: Transactions =
        Transactions { replay: Replay::Reads, replay_statements_max: 3, replay_size_max: 2_000 };

    fn record(home: &Rc<Tapes>) -> Record {
        let route = Route { target: Target::Primary, reason: Reason::BeginTransaction };
        Record::new(home, LIMITS, route, &Arc::default(), Place::Nowhere)
    }

    fn push(record: &mut Record, sql: &[u8], reply: &[u8]) -> bool {
        let mut packets = Vec::new();
        command::put_query(&mut packets, sql, Capabilities::empty());
        let mut sum = Sum::new(7);
        sum.rows(reply);
        let statement = Recognised::plain(Class::Read, Uses::empty());
        record.push(&Work::command(&packets, Expect::Results, statement), &sum)
    }

    #[test]
    fn statements_are_sent_again_as_they_came() {
        let home = Rc::default();
        let mut record = record(&home);
        record.begin(Access::ReadOnly, Capabilities::empty());
        assert!(record.is_only_begun() && push(&mut record, b"SELECT 1", b"1") && !record.is_only_begun());
        let texts: Vec<_> = record
            .steps()
            .iter()
            .map(|step| record.work(step, Capabilities::empty()).text.map(<[u8]>::to_vec))
            .collect();
        assert_eq!(texts, [Some(b"START TRANSACTION READ ONLY".to_vec()), Some(b"SELECT 1".to_vec())]);
        let sums: Vec<_> = record.steps().iter().map(|step| step.sum.is_some()).collect();
        assert_eq!(sums, [false, true]);
    }

    #[test]
    fn savepoints_are_nothing_that_has_run() {
        let home = Rc::default();
        let mut record = record(&home);
        assert!(!record.has_run_nothing(), "it is not begun");
        record.begin(Access::Default, Capabilities::empty());
        let savepoint = Recognised::plain(Class::EndOrSavepoint, Uses::empty());
        assert!(record.push(&Work::command(b"", Expect::Results, savepoint), &Sum::new(7)));
        assert!(record.has_run_nothing() && !record.is_only_begun());
        assert!(push(&mut record, b"SELECT 1", b"1") && !record.has_run_nothing());
    }

    #[test]
    fn each_bound_holds() {
        let home = Rc::default();
        let mut many = record(&home);
        assert!((0..3).all(|_| push(&mut many, b"SELECT 1", b"")) && !push(&mut many, b"SELECT 1", b""));
        let mut large = record(&home);
        assert!(!push(&mut large, &[b' '; 2_000], b""));
        let mut much = record(&home);
        let half = vec![0; RESULTS_MAX as usize / 2];
        assert!(push(&mut much, b"SELECT 1", &half) && push(&mut much, b"SELECT 1", &half));
        assert!(!push(&mut much, b"SELECT 1", b"1"));
    }

    #[test]
    fn memory_serves_the_next_and_is_bounded() {
        let home = Rc::default();
        let mut first = record(&home);
        push(&mut first, b"SELECT 1", b"");
        let place = first.tape.sent.as_ptr();
        drop(first);
        let again = record(&home);
        assert!(again.steps().is_empty() && again.tape.sent.as_ptr() == place);
        let mut large = record(&home);
        large.tape.sent.reserve(SPARE_SIZE_MAX + 1);
        drop(large);
        assert_eq!(home.0.borrow().len(), 0, "what is large is given back");
        drop((0..100).map(|_| record(&home)).collect::<Vec<_>>());
        assert_eq!(home.0.borrow().len(), SPARE_MAX);
    }
}
