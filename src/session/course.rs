//! What is kept of the open transaction, so that it can go on elsewhere when its connection is lost.
//!
//! Owns: which statements can be run again, the bounds on what is kept, the reasons why not. Does not know: how it is run again
//! (`resume`). Invariant: a transaction is kept whole or not at all; what has an effect beyond it is never in one that is kept.

use std::sync::Arc;

use super::Session;
use super::execution::Execution;
use super::pins::Pins;
use super::work::Work;
use crate::backend::insert_id::Place;
use crate::backend::state::State;
use crate::backend::statements::Source;
use crate::config;
use crate::execute::relay::End;
use crate::execute::sum::Sum;
use crate::plan::{Route, Target};
use crate::sql::{self, Access, Class, Ending, Recognised, Uses};
use crate::wire::capabilities::Capabilities;
use crate::wire::command;
use crate::wire::frame::{HEADER, PAYLOAD_MAX};
use crate::wire::ok::Status;
use crate::wire::reply::Expect;

/// What each statement takes beside its bytes.
const STEP_SIZE: usize = size_of::<Step>();

/// What a statement may use that is run again: nothing else leaves its result to what the transaction and the database hold.
const REPEATABLE: Uses = Uses::USER_VARIABLE_READ
    .union(Uses::SYSTEM_VARIABLE)
    .union(Uses::LAST_INSERT_ID)
    .union(Uses::CALC_FOUND_ROWS)
    .union(Uses::SYSTEM_SCHEMA)
    .union(Uses::OFFSET);

macro_rules! outcomes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $words:literal;)*) => {
        /// How a transaction whose connection was lost went on; also the metric's label.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Outcome {
            $($(#[$doc])* $variant,)*
        }

        impl Outcome {
            /// Names for metrics and people, by `self as usize`.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// What the client is told of it.
            pub fn words(self) -> &'static str {
                match self {
                    $(Self::$variant => $words,)*
                }
            }
        }
    };
}

outcomes! {
    /// Its statements were run again, with the same results.
    Replayed = "replayed", "replayed";
    /// Nothing had run in it: it was begun again.
    BegunAgain = "begun again", "begun again";
    /// The statement in hand has ended it, perhaps.
    Commit = "commit", "COMMIT had been sent";
    /// Something in it cannot be run again.
    Statement = "statement", "one of its statements cannot be run again";
    /// It is longer than what is kept.
    TooLong = "too long", "it was longer than the rules keep";
    /// A pin stood beside it.
    Pinned = "session state", "the session had other state on that connection";
    /// The statement before has failed, and may have ended it.
    Unsure = "after an error", "the statement before had failed, and may have ended it";
    /// There are tables that keep what a lost transaction has written.
    NotTransactional = "table without transactions", "there are tables without transactions";
    /// A result was another one.
    Differs = "other result", "a result was not the same again";
    /// It was run again before.
    Twice = "lost twice", "it had been replayed before";
    /// No primary in time, or that was lost in the middle of it.
    NoServer = "no server", "no server could run it again in time";
}

/// The open transaction.
#[derive(Debug, Default)]
pub(super) enum Course {
    /// None is open, or nothing of it is kept.
    #[default]
    Untold,
    /// It was begun by a statement of its own, here, and nothing has run in it since.
    Begun(Access, Route),
    /// All that has run in it.
    Told(Box<Record>),
    /// It was to be kept, and cannot be.
    Lost(Outcome),
}

/// All that has run in a transaction.
#[derive(Debug)]
pub(super) struct Record {
    pub steps: Vec<Step>,
    bytes: usize,
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
pub(super) struct Step {
    pub statement: Recognised,
    /// Of its reply; `None` for one that says nothing.
    pub sum: Option<u64>,
    sent: Sent,
}

#[derive(Debug)]
enum Sent {
    /// COM_QUERY with its header.
    Text(Box<[u8]>),
    Execution {
        id: u32,
        source: Arc<Source>,
        payload: Box<[u8]>,
        types: Option<Arc<[u8]>>,
        bound_at: Option<usize>,
        carries_types: bool,
    },
}

/// What a statement is to a transaction that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It leaves nothing, and what it says is not about the data.
    Aside,
    /// It reads, or begins a transaction or a savepoint.
    Harmless,
    /// It writes to tables.
    Writes,
    /// COMMIT, and what else ends it.
    Ends(Ending),
    /// It cannot be run again.
    Unrepeatable,
}

impl Step {
    fn of(work: &Work<'_>, sum: u64) -> Self {
        let sent = match &work.execution {
            Some(execution) => Sent::Execution {
                id: execution.id,
                source: Arc::clone(execution.source),
                payload: execution.payload.into(),
                types: execution.types.clone(),
                bound_at: execution.bound_at,
                carries_types: execution.carries_types,
            },
            None => Sent::Text(work.packets.into()),
        };
        Self { statement: work.statement, sum: Some(sum), sent }
    }

    /// The statement that begins a transaction in which nothing has run.
    fn begin(access: Access, capabilities: Capabilities) -> Self {
        let sql: &[u8] = match access {
            Access::Default => b"BEGIN",
            Access::ReadOnly => b"START TRANSACTION READ ONLY",
            Access::ReadWrite => b"START TRANSACTION READ WRITE",
        };
        let mut packet = Vec::new();
        command::put_query(&mut packet, sql, capabilities);
        let statement = Recognised::plain(Class::Begin(access), Uses::empty());
        Self { statement, sum: None, sent: Sent::Text(packet.into()) }
    }

    fn size(&self) -> usize {
        let bytes = match &self.sent {
            Sent::Text(packets) => packets.len(),
            Sent::Execution { payload, source, .. } => payload.len() + source.text.len(),
        };
        STEP_SIZE + bytes
    }

    /// As it is sent again.
    pub fn work(&self, capabilities: Capabilities) -> Work<'_> {
        match &self.sent {
            Sent::Text(packets) => {
                let text =
                    packets.get(HEADER..).and_then(|payload| command::query_text(payload, capabilities));
                Work { text, ..Work::command(packets, Expect::Results, self.statement) }
            }
            Sent::Execution { id, source, payload, types, bound_at, carries_types } => {
                let execution = Execution {
                    id: *id,
                    source,
                    payload,
                    types: types.clone(),
                    bound_at: *bound_at,
                    carries_types: *carries_types,
                    executes: true,
                };
                Work { execution: Some(execution), ..Work::command(payload, Expect::Results, self.statement) }
            }
        }
    }

    /// It writes what LAST_INSERT_ID() says, which its own reply does not show.
    pub fn writes_insert_id(&self) -> bool {
        writes_insert_id(self.statement)
    }
}

/// Whether a statement writes what LAST_INSERT_ID() says.
pub(super) fn writes_insert_id(statement: Recognised) -> bool {
    statement.class == Class::Write && statement.uses.contains(Uses::LAST_INSERT_ID)
}

impl Record {
    /// One of a transaction in which nothing has run.
    pub fn begun(access: Access, route: Route, state: &Arc<State>, capabilities: Capabilities) -> Self {
        let mut record = Self::new(route, state, Place::Nowhere);
        record.steps.push(Step::begin(access, capabilities));
        record
    }

    fn new(route: Route, state: &Arc<State>, insert_id: Place) -> Self {
        Self { steps: Vec::new(), bytes: 0, route, state: Arc::clone(state), insert_id, resumed: false }
    }

    /// Keeps one more statement; false where that would be too much.
    fn push(&mut self, step: Step, limits: config::Transactions) -> bool {
        self.bytes += step.size();
        let fits = self.bytes <= limits.replay_size_max && self.steps.len() < limits.replay_statements_max;
        if fits {
            self.steps.push(step);
        }
        fits
    }

    /// Whether one of its statements has written.
    pub fn writes(&self) -> bool {
        self.steps.iter().any(|step| step.statement.class == Class::Write)
    }
}

impl Session {
    /// What a statement is to the transaction that is open.
    pub(super) fn kind(&self, work: &Work<'_>) -> Kind {
        let Recognised { class, uses, .. } = work.statement;
        let has_text = work.text.is_some() || work.execution.is_some();
        if work.preparing.is_some() || !has_text && class != Class::Use && class != Class::Session {
            return Kind::Aside;
        }
        if class == Class::Diagnostics && !uses.intersects(Uses::MULTIPLE | Uses::USER_VARIABLE_WRITE) {
            return Kind::Aside;
        }
        if class == Class::EndOrSavepoint && !uses.contains(Uses::MULTIPLE) {
            return match sql::ending(work.sql(), &self.lexing) {
                Ending::Savepoint if uses.is_empty() => Kind::Harmless,
                Ending::Rollback if !uses.is_empty() => Kind::Ends(Ending::Commit),
                ending => Kind::Ends(ending),
            };
        }
        let fetches = work.execution.as_ref().is_some_and(|execution| !execution.executes);
        let begins = matches!(class, Class::Begin(_));
        let allowed = if begins { REPEATABLE | Uses::CHAIN_OR_RELEASE } else { REPEATABLE };
        // LAST_INSERT_ID(expression) has no effect but on itself.
        let own = uses.contains(Uses::LAST_INSERT_ID) && !uses.contains(Uses::SEQUENCE);
        let allowed = if own { allowed | Uses::PRIMARY_FUNCTION } else { allowed };
        if fetches
            || work.about.is_some() // its text is not on every connection, but another session's may be
            || work.expect != Expect::Results
            || work.packets.len() > PAYLOAD_MAX
            || !allowed.contains(uses)
            || self.pins.contains(Pins::LONG_DATA)
        {
            return Kind::Unrepeatable;
        }
        match class {
            Class::Empty | Class::Read | Class::Show | Class::ShowServer | Class::LockingRead => {
                Kind::Harmless
            }
            Class::Begin(_) if !self.status.contains(Status::IN_TRANSACTION) => Kind::Harmless,
            Class::Begin(_) => Kind::Ends(Ending::Commit),
            // It may set the variables that it names; and files are not the same everywhere.
            Class::Write
                if !uses.contains(Uses::USER_VARIABLE_READ) && !sql::loads(work.sql(), &self.lexing) =>
            {
                Kind::Writes
            }
            _ => Kind::Unrepeatable,
        }
    }

    /// Has the reply of the statement summed up, where it may be kept. Most are outside of transactions, and are none that opens one.
    pub(super) fn listen(&mut self, work: &Work<'_>) {
        let is_open = self.status.contains(Status::IN_TRANSACTION);
        if !is_open && !matches!(self.course, Course::Untold) {
            self.course = Course::Untold;
        }
        let opens =
            matches!(work.statement.class, Class::Begin(_)) || !self.status.contains(Status::AUTOCOMMIT);
        let listens = match &self.course {
            Course::Told(_) => true,
            Course::Untold if !is_open && opens => self.transactions().replay,
            _ => false,
        };
        self.client.sum = listens.then(|| Sum::new(&self.worker.hasher));
    }

    /// Whether enough is kept of the open transaction for it to go on elsewhere, with a statement that the server has refused as it ends.
    pub(super) fn may_go_on(&self, work: &Work<'_>) -> bool {
        match self.kind(work) {
            Kind::Aside | Kind::Harmless => matches!(self.course, Course::Begun(..) | Course::Told(_)),
            Kind::Writes => matches!(self.course, Course::Told(_)),
            Kind::Ends(_) | Kind::Unrepeatable => false,
        }
    }

    /// What the rules say of transactions.
    fn transactions(&self) -> config::Transactions {
        self.worker.topology.snapshot().cluster.transactions
    }

    /// A statement has been answered, on the connection that the session holds or will hold: keeps it, where the transaction is kept.
    pub(super) fn note_course(&mut self, work: &Work<'_>, end: &End, route: Route) {
        let sum = self.client.sum.take();
        if !end.status.contains(Status::IN_TRANSACTION) {
            if !matches!(self.course, Course::Untold) {
                self.course = Course::Untold;
            }
            return;
        }
        if matches!(self.course, Course::Untold) && self.status.contains(Status::IN_TRANSACTION) {
            return; // nothing of it was kept from its beginning
        }
        self.course = match (std::mem::take(&mut self.course), sum) {
            (Course::Untold, sum) => self.opened(work, sum, route),
            (Course::Begun(access, route), _) if self.kind(work) == Kind::Aside => {
                Course::Begun(access, route)
            }
            (Course::Told(record), Some(sum)) => self.kept(record, work, &sum),
            (Course::Lost(why), _) => Course::Lost(why),
            (Course::Begun(..) | Course::Told(_), _) => Course::Untold,
        };
    }

    /// A statement has opened a transaction.
    fn opened(&self, work: &Work<'_>, sum: Option<Sum>, route: Route) -> Course {
        let Recognised { class, uses, .. } = work.statement;
        let apart = self.pins.difference(Pins::PASSING).is_empty();
        match (sum, class) {
            (Some(_), _) if !apart => Course::Lost(Outcome::Pinned),
            (Some(sum), _) => {
                let record = Box::new(Record::new(route, &self.desired, self.insert_id.place()));
                self.kept(record, work, &sum)
            }
            (None, Class::Begin(access)) if apart && uses.is_empty() && route.target != Target::Held => {
                Course::Begun(access, route)
            }
            _ => Course::Untold,
        }
    }

    /// With one statement more.
    fn kept(&self, mut record: Box<Record>, work: &Work<'_>, sum: &Sum) -> Course {
        match self.kind(work) {
            Kind::Aside => Course::Told(record),
            Kind::Harmless | Kind::Writes => {
                if record.push(Step::of(work, sum.value()), self.transactions()) {
                    Course::Told(record)
                } else {
                    Course::Lost(Outcome::TooLong)
                }
            }
            // A transaction that begins where another ends takes over its modes, by rules that differ.
            _ => Course::Lost(Outcome::Statement),
        }
    }
}
