//! User locks on the held connection, by the server's word: those that the client's text names, and those of routines.
//!
//! Owns: the questions, and where routines have run. Does not know: names (`ledger`), routes.
//! Invariant: a lock that the server tells of keeps its connection; any other one ends with its session at the latest.

use tokio::time::timeout;

use super::Pins;
use crate::backend::connection::{Connection, Key};
use crate::backend::exchange::Answer;
use crate::backend::names::of_collation;
use crate::backend::state::Base;
use crate::session::Session;
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::diagnostics::At;
use crate::session::work::Work;
use crate::sql::{Dialect, Effect};
use crate::wire::capabilities::Capabilities;
use crate::wire::ok::Status;
use crate::wire::parameters::{Parameter, Parameters};

/// How many user locks the connection has. For accounts that may read the table.
const COUNT_OF_MYSQL: &[u8] = b"SELECT COUNT(*) FROM performance_schema.metadata_locks WHERE \
    OBJECT_TYPE IN ('USER LEVEL LOCK', 'LOCKING SERVICE') AND LOCK_STATUS='GRANTED' AND OWNER_THREAD_ID=PS_CURRENT_THREAD_ID()";
/// For all accounts, where the plugin `metadata_lock_info` is installed.
const COUNT_OF_MARIADB: &[u8] = b"SELECT COUNT(*) FROM information_schema.METADATA_LOCK_INFO WHERE \
    THREAD_ID=CONNECTION_ID() AND LOCK_TYPE='User lock'";

/// Connections of which a session remembers that a routine of its own ran there last.
const PLACES_MAX: usize = 16;

impl Session {
    /// A routine, or what may be one, has run on the connection.
    pub(in crate::session) fn note_routine(&mut self, connection: &mut Connection) {
        connection.routine_of = Some(self.me());
        connection.may_lock = true;
        self.ledger.doubt_unnamed_locks();
        let here = (connection.server, connection.id);
        if !self.routines_at.contains(&here) {
            self.routines_at.truncate(PLACES_MAX - 1);
            self.routines_at.insert(0, here);
        }
    }

    /// The session ends, or begins anew: what its routines have left on connections that it gave back, such as a lock that
    /// somebody waits for, ends with it, and not only when another session takes them.
    pub(in crate::session) fn clear_after_routines(&mut self) {
        let (me, key) = (self.me(), Key { account: self.account.id, class: self.class });
        for (server, id) in std::mem::take(&mut self.routines_at) {
            let Some(mut connection) = self.worker.pool.take_exactly(server, key, id) else { continue };
            connection.dirty |= connection.routine_of == Some(me);
            self.worker.pool.check_in(connection);
        }
    }

    /// A routine has run on this connection, which nothing else keeps: does it hold a lock?
    pub(in crate::session) async fn look_for_locks_of_routines(&mut self, connection: &mut Connection) {
        let kept = !self.pins.difference(Pins::PASSING.union(Pins::USER_VARIABLES)).is_empty();
        if !connection.may_lock
            || !connection.tells_locks
            || kept
            || connection.broken
            || connection.status.intersects(Status::IN_TRANSACTION | Status::MORE_RESULTS)
        {
            return;
        }
        if self.count_locks(connection).await.is_some_and(|count| count > 0) {
            self.ledger.note_unnamed_locks();
            self.set_pins(self.pins | Pins::USER_LOCK);
        }
    }

    /// Puts the names that an execution has brought in the place of its parameters.
    pub(in crate::session) fn name_locks(&self, effects: &mut [Effect], work: &Work<'_>) {
        for effect in effects {
            if let Effect::UserLockParameter(place) = effect
                && let Some(name) = self.lock_parameter(work, *place)
            {
                *effect = Effect::UserLock(name);
            }
        }
    }

    /// The lock's name that a parameter brings, as a literal; `None` where it is not told for certain.
    fn lock_parameter(&self, work: &Work<'_>, place: usize) -> Option<Vec<u8>> {
        let execution = work.execution.as_ref().filter(|execution| execution.executes)?;
        let known = self.statements.known.get(&execution.id)?;
        let attributes = self.class.capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
        let is_ahead = self.statements.open.long_data.contains(&execution.id);
        let types = execution.types.as_deref().filter(|_| !is_ahead)?;
        let parameters = Parameters::of(execution.payload, known.parameters, attributes, types, |_| None)?;
        let of_login = of_collation(self.class.collation.into(), self.lexing.server.dialect).0;
        let by_login = self.desired.base == Base::Handshake && of_login.starts_with("utf8");
        let charset = self.desired.get(b"character_set_client");
        let utf8 = charset.map_or(by_login, |charset| charset.starts_with(b"utf8"));
        match parameters.values().nth(place)? {
            Parameter::Text(name) if name.is_ascii() || utf8 => {
                let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
                Some(format!("_utf8mb4 x'{hex}'").into())
            }
            Parameter::Integer(number) => Some(format!("'{number}'").into()),
            _ => None,
        }
    }

    /// A statement about user locks has run: which does the session hold still?
    pub(in crate::session) async fn look_for_locks(&mut self, held: &mut Connection) {
        let counted = match self.ledger.has_unnamed_locks() || held.may_lock {
            true => self.count_locks(held).await,
            false => None,
        };
        let pins = match counted {
            Some(0) => self.ledger.note_locks(&[], self.pins),
            Some(_) => {
                self.ledger.note_unnamed_locks();
                self.pins
            }
            None => {
                let Some(held_still) = self.ask_by_name(held).await else { return };
                self.ledger.note_locks(&held_still, self.pins)
            }
        };
        self.set_pins(pins);
    }

    /// Which of the locks that the session has named it holds; `None` when that is not to be learned.
    async fn ask_by_name(&mut self, held: &mut Connection) -> Option<Vec<bool>> {
        let Some(question) = self.ledger.lock_question() else { return Some(Vec::new()) };
        let answer = self.ask_about_locks(held, &question).await?;
        if answer.error.is_some() {
            held.broken = true;
            return None;
        }
        let values = answer.rows.into_iter().flatten();
        Some(values.map(|value| value.as_deref() == Some(b"1")).collect())
    }

    /// How many user locks there are; `None` where the server does not tell this account, which is not asked again on the
    /// same connection.
    async fn count_locks(&mut self, connection: &mut Connection) -> Option<u64> {
        if !connection.tells_locks {
            return None;
        }
        let question = match self.lexing.server.dialect {
            Dialect::MySql => COUNT_OF_MYSQL,
            Dialect::MariaDb => COUNT_OF_MARIADB,
        };
        let answer = self.ask_about_locks(connection, question).await?;
        let count = answer.value().and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        connection.tells_locks = count.is_some();
        connection.may_lock = false;
        count
    }

    async fn ask_about_locks(&mut self, connection: &mut Connection, question: &[u8]) -> Option<Answer> {
        let mut buffer = self.worker.buffers.take();
        let answer = timeout(PRELUDE_LIMIT, connection.run(question, &mut buffer)).await;
        connection.user = None; // what the client may ask about its last statement is gone from it
        let answer = answer.ok().and_then(Result::ok).filter(|_| buffer.filled().is_empty());
        connection.broken |= answer.is_none();
        connection.warned |= answer.as_ref().is_some_and(|answer| answer.error.is_some());
        answer
    }

    /// A connection on which the session's own routines have left something.
    pub(in crate::session) fn is_of_own_routine(&self, connection: &Connection) -> bool {
        connection.routine_of == Some(self.me())
    }

    /// Where the session's routines have run, for a statement that may need what they left.
    pub(in crate::session) fn last_routine_at(&self) -> Option<At> {
        self.routines_at.first().copied()
    }
}
