//! Statements that go out together with the state that they need, in one write to the server. Those that change data are guarded:
//! the session reads only until that state is surely there.
//!
//! Owns: for which statements, and what guards. Does not know: who sends them. Invariant: where the server refuses any of the
//! state, it refuses the write, too (1792; tried on both dialects with 17 kinds of writes, of tables without transactions too).

use super::prelude::{Step, put_init_db};
use crate::backend::connection::Connection;
use crate::backend::state::Difference;
use crate::plan::MAKES_PIN;
use crate::session::Session;
use crate::session::work::Work;
use crate::sql::{self, Class, Dialect, Recognised, ServerVersion, Uses};
use crate::wire::command;
use crate::wire::ok::Status;

/// What a transaction that reads only does not surely refuse, or what could undo the guard.
const UNGUARDED: Uses = MAKES_PIN.union(Uses::MULTIPLE).union(Uses::INTO).union(Uses::DOUBT);

const ARMS: &[u8] = b"SET SESSION TRANSACTION READ ONLY";

impl Session {
    /// Whether the write may go out in front of the server's word on the state before it.
    pub(in crate::session) fn may_guard(
        &self,
        connection: &Connection,
        work: &Work<'_>,
        difference: &Difference,
        variables: &[u8],
    ) -> bool {
        let differs = difference.schema.is_some() || difference.set.is_some() || !variables.is_empty();
        // A database that is not entered shows by its name; so it must be another name than that of the one before, also to a
        // collation, for which accents are nothing.
        let before = &connection.state.schema;
        let tells =
            |name: &Vec<u8>| name.is_ascii() && before.is_ascii() && !name.eq_ignore_ascii_case(before);
        differs
            && work.statement.class == Class::Write
            && !work.statement.uses.intersects(UNGUARDED)
            && difference.role.is_none()
            && difference.schema.as_ref().is_none_or(tells)
            && self.pins.is_empty()
            && !connection.status.contains(Status::IN_TRANSACTION)
            // The client would be told of it.
            && self.desired.get(b"session_track_transaction_info").is_none()
            // MariaDB's SET STATEMENT could set what guards.
            && !sql::first_word(work.sql(), &self.lexing).eq_ignore_ascii_case(b"set")
    }

    /// Appends what brings the connection to the session's state, and allows writes last of all.
    pub(in crate::session) fn put_guarded(
        &self,
        connection: &Connection,
        difference: &Difference,
        variables: &[u8],
        before: &mut Vec<u8>,
        steps: &mut Vec<Step>,
    ) {
        command::put_query(before, ARMS, connection.capabilities);
        steps.push(Step::Guard);
        if let Some(schema) = &difference.schema {
            put_init_db(before, schema);
            steps.push(Step::Guarded);
        }
        let mut set = b"SET ".to_vec();
        for items in [difference.set.as_deref(), Some(variables)].into_iter().flatten() {
            if let Some(items) = items.strip_prefix(b"SET ") {
                set.extend_from_slice(items);
                set.push(b',');
            }
        }
        set.extend_from_slice(self.allows(difference.schema.as_deref()).as_bytes());
        command::put_query(before, &set, connection.capabilities);
        steps.push(Step::Guarded);
    }

    /// What takes the guard back, where the database is this one; it fails elsewhere.
    fn allows(&self, schema: Option<&[u8]>) -> String {
        let name = access_mode(self.lexing.server);
        let set = [&b"transaction_read_only"[..], b"tx_read_only"]
            .into_iter()
            .find_map(|name| self.desired.get(name));
        let wanted = match set {
            Some(b"ON" | b"1") => "1".to_owned(),
            Some(_) => "0".to_owned(),
            None => format!("@@global.{name}"),
        };
        let Some(schema) = schema else { return format!("SESSION {name}={wanted}") };
        let digits: String = schema.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("SESSION {name}=IF(DATABASE()<=>_utf8mb4 x'{digits}',{wanted},2)")
    }
}

/// The variable of a session's access mode.
fn access_mode(server: ServerVersion) -> &'static str {
    match server.dialect {
        Dialect::MariaDb if server.number < 110_101 => "tx_read_only",
        _ => "transaction_read_only",
    }
}

/// Whether the statement may go out in the same write as what goes before it: what reads, locks rows or begins a transaction
/// does no harm in a wrong state, as its answer is thrown away with the connection.
pub(in crate::session) fn pipelines(work: &Work<'_>, in_transaction: bool) -> bool {
    let Recognised { class, uses, .. } = work.statement;
    let alone = !uses.contains(Uses::MULTIPLE);
    match class {
        Class::Read | Class::Show => !uses.intersects(MAKES_PIN | Uses::UNKNOWN_FUNCTION),
        Class::LockingRead => alone && !uses.intersects(MAKES_PIN | Uses::UNKNOWN_FUNCTION),
        Class::Begin(_) => alone && !in_transaction, // it would commit what is open
        _ => false,
    }
}
