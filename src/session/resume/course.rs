//! What is kept of the open transaction, so that it can go on elsewhere when its connection is lost.
//!
//! Owns: which statements can be run again, and the reasons why not. Does not know: how they are kept (`record`), how they are run again
//! (`resume`). Invariant: what has an effect beyond its transaction is never in one that is kept; where the rules want that of reads
//! only, neither is what writes, or locks.

use super::record::Record;
use crate::config::{Replay, Transactions};
use crate::execute::relay::End;
use crate::execute::sum::Sum;
use crate::plan::{Route, Target};
use crate::session::Session;
use crate::session::pins::Pins;
use crate::session::work::Work;
use crate::sql::{self, Access, Class, Ending, Recognised, Uses};
use crate::wire::frame::PAYLOAD_MAX;
use crate::wire::ok::Status;
use crate::wire::reply::Expect;

/// What a statement may use that is run again: nothing else leaves its result to what the transaction and the database hold.
const REPEATABLE: Uses = Uses::USER_VARIABLE_READ
    .union(Uses::SYSTEM_VARIABLE)
    .union(Uses::LAST_INSERT_ID)
    .union(Uses::CALC_FOUND_ROWS)
    .union(Uses::SYSTEM_SCHEMA)
    .union(Uses::OFFSET);

/// The variable of the isolation level, by its names on both dialects; and the level at which plain reads lock.
const ISOLATION: [&[u8]; 2] = [b"transaction_isolation", b"tx_isolation"];
const SERIALIZABLE: &[u8] = b"SERIALIZABLE";

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
pub(in crate::session) enum Course {
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

impl Course {
    /// Something has run in it that is not kept.
    pub fn miss(&mut self) {
        if !matches!(self, Self::Untold) {
            *self = Self::Lost(Outcome::Statement);
        }
    }
}

/// What a statement is to a transaction that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::session) enum Kind {
    /// It leaves nothing, and what it says is not about the data.
    Aside,
    /// It reads, or begins a transaction or a savepoint.
    Reads,
    /// It reads what others may not change meanwhile, or changes what LAST_INSERT_ID() says.
    Locks,
    /// It writes to tables.
    Writes,
    /// COMMIT, and what else ends it.
    Ends(Ending),
    /// It cannot be run again.
    Unrepeatable,
}

impl Kind {
    /// Nothing would be left of it where its connection is lost before it is answered.
    pub fn is_harmless(self) -> bool {
        matches!(self, Self::Aside | Self::Reads | Self::Locks)
    }
}

impl Record {
    /// Whether the transaction can go on with a statement of this kind that was sent, and not answered.
    pub fn may_be_lost_in(&self, kind: Kind) -> bool {
        kind.is_harmless() || kind == Kind::Writes && self.keeps_writes()
    }
}

impl Session {
    /// What a statement is to the transaction that is open.
    pub(in crate::session) fn kind(&self, work: &Work<'_>) -> Kind {
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
                Ending::Savepoint if uses.is_empty() => Kind::Reads,
                Ending::Rollback if !uses.is_empty() => Kind::Ends(Ending::Commit),
                ending => Kind::Ends(ending),
            };
        }
        let fetches = work.execution.as_ref().is_some_and(|execution| !execution.executes);
        if matches!(class, Class::Begin(_)) && self.status.contains(Status::IN_TRANSACTION) {
            return Kind::Ends(Ending::Commit);
        }
        // LAST_INSERT_ID(expression) has no effect but on itself.
        let own = uses.contains(Uses::LAST_INSERT_ID) && !uses.contains(Uses::SEQUENCE);
        let allowed = if own { REPEATABLE | Uses::PRIMARY_FUNCTION } else { REPEATABLE };
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
            Class::LockingRead => Kind::Locks,
            Class::Read if own => Kind::Locks,
            Class::Empty | Class::Read | Class::Show | Class::ShowServer | Class::Begin(_) => Kind::Reads,
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
    pub(in crate::session) fn listen(&mut self, work: &Work<'_>) {
        let is_open = self.status.contains(Status::IN_TRANSACTION);
        if !is_open && !matches!(self.course, Course::Untold) {
            self.course = Course::Untold;
        }
        let opens =
            matches!(work.statement.class, Class::Begin(_)) || !self.status.contains(Status::AUTOCOMMIT);
        let listens = match &self.course {
            Course::Told(_) => true,
            Course::Untold if !is_open && opens => self.transactions().replay != Replay::Off,
            _ => false,
        };
        self.client.sum = listens.then(|| Sum::new(self.worker.sum_seed));
    }

    /// Whether enough is kept of the open transaction for it to go on elsewhere, with a statement that the server has refused as it ends.
    pub(in crate::session) fn may_go_on(&self, work: &Work<'_>) -> bool {
        let kind = self.kind(work);
        match &self.course {
            Course::Begun(..) => kind.is_harmless(),
            Course::Told(record) => record.may_be_lost_in(kind),
            Course::Untold | Course::Lost(_) => false,
        }
    }

    /// What the rules say of transactions.
    pub(in crate::session) fn transactions(&self) -> Transactions {
        self.topology.snapshot().cluster.transactions
    }

    /// A statement has been answered, on the connection that the session holds or will hold: keeps it, where the transaction is kept.
    pub(in crate::session) fn note_course(&mut self, work: &Work<'_>, end: &End, route: Route) {
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
        let limits = self.transactions();
        let sum = sum.filter(|_| limits.replay == Replay::All || !self.reads_lock());
        match (sum, class) {
            (Some(_), _) if !apart => Course::Lost(Outcome::Pinned),
            (Some(sum), _) => {
                let (tapes, insert_id) = (&self.worker.tapes, self.insert_id.place());
                self.kept(Box::new(Record::new(tapes, limits, route, &self.desired, insert_id)), work, &sum)
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
            Kind::Locks | Kind::Writes | Kind::Ends(_) | Kind::Unrepeatable if !record.keeps_writes() => {
                Course::Untold
            }
            Kind::Reads | Kind::Locks | Kind::Writes => match record.push(work, sum) {
                true => Course::Told(record),
                false => Course::Lost(Outcome::TooLong),
            },
            // A transaction that begins where another ends takes over its modes, by rules that differ.
            Kind::Ends(_) | Kind::Unrepeatable => Course::Lost(Outcome::Statement),
        }
    }

    /// Whether plain reads lock what they read: transactions of this session are SERIALIZABLE.
    fn reads_lock(&self) -> bool {
        let by_default = || {
            let snapshot = self.topology.snapshot();
            snapshot.facts.as_ref().is_none_or(|facts| facts.serializable)
        };
        let set = ISOLATION.into_iter().find_map(|name| self.desired.get(name));
        set.map_or_else(by_default, |level| level == SERIALIZABLE)
    }
}
