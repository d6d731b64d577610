//! Sessions bound to a replica, by a read only transaction or what that has left there, where a statement comes that a
//! replica refuses.
//!
//! Owns: what such a statement does on a primary. Does not know: how statements run. Invariant: the client sees what one
//! server does: a write is refused by the transaction's own error, what ends a transaction by itself runs outside it, and
//! no write fails because of where a pin stands.

use crate::backend::connection::Connection;
use crate::execute::relay::End;
use crate::plan::{self, Reason, Route, Situation, Target};
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::attempt::refusal::READ_ONLY;
use crate::session::pins::Pins;
use crate::session::readback::contains_word;
use crate::session::statements::execution::Execution;
use crate::session::work::Work;
use crate::session::{Session, reply};
use crate::sql::{self, Access, Class, Dialect, Lexing, Recognised, Uses};
use crate::wire::err::ErrPacket;
use crate::wire::ok::Status;

/// ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION.
pub(in crate::session) const IN_READ_ONLY_TRANSACTION: u16 = 1792;

/// What leaves more on a connection than its transaction.
const OUTLASTS: Uses = Uses::USER_LOCK
    .union(Uses::HANDLER)
    .union(Uses::TEXT_PREPARED)
    .union(Uses::BINDING_VARIABLE)
    .union(Uses::XA);

/// What gives way on a replica to a statement that needs the primary, because it can be had on neither: open cursors, long data
/// of executions to come, and what a function in a view may have left. None of them is there unless the session reads only.
const GIVES_WAY: Pins = Pins::CURSOR.union(Pins::LONG_DATA).union(Pins::UNEXPLAINED);

/// Whether a server commits an open transaction before it runs the statement (tried on both dialects, in a read only
/// transaction: definitions, rights, SET DEFAULT ROLE, LOCK TABLES).
pub(in crate::session) fn commits(work: &Work<'_>, lexing: &Lexing) -> bool {
    let Recognised { class, uses, .. } = work.statement;
    !uses.intersects(Uses::MULTIPLE | Uses::TEMPORARY_TABLE)
        && (class == Class::Ddl
            || uses.contains(Uses::LOCK_TABLES)
            || matches!(class, Class::Other | Class::SetGlobal) && sql::changes_accounts(work.sql(), lexing))
}

/// Whether a replica runs the statement, or refuses it for some tables only, and writes it into its own binary log: MariaDB's then follows
/// no more, MySQL's has a transaction that nobody else has (tried on both dialects, in read only transactions, with `super_read_only`).
fn writes_on_replicas(text: &[u8], lexing: &Lexing) -> bool {
    const WRITTEN: [&[u8]; 4] = [b"flush", b"analyze", b"repair", b"optimize"];
    let first = sql::first_word(text, lexing);
    WRITTEN.iter().any(|word| word.eq_ignore_ascii_case(first))
}

/// Whether several statements, of which this is the strongest class, may run on a replica whatever transaction they end.
fn reads_on(class: Class) -> bool {
    matches!(class, Class::Empty | Class::Read | Class::Show | Class::Diagnostics | Class::Set | Class::Use)
        || class == Class::EndOrSavepoint
}

/// What a server says of a write in a read only transaction.
pub(in crate::session) fn refusal(dialect: Dialect) -> ErrPacket {
    let text = match dialect {
        Dialect::MySql => "Cannot execute statement in a READ ONLY transaction.",
        Dialect::MariaDb => "Cannot execute statement in a READ ONLY transaction",
    };
    ErrPacket::new(IN_READ_ONLY_TRANSACTION, b"25006", text)
}

impl Session {
    /// Whether a read only transaction is open on a connection to a replica.
    pub(in crate::session) fn is_reading_on_replica(&self, connection: &Connection) -> bool {
        connection.status.contains(Status::IN_TRANSACTION | Status::IN_TRANSACTION_READONLY)
            && self.topology.snapshot().primary != Some(connection.server)
    }

    /// Whether the session is there still, by what it cannot take along, with a statement that no replica must run.
    pub(in crate::session) fn must_not_run(&self, work: &Work<'_>) -> bool {
        let Recognised { class, uses, .. } = work.statement;
        // Of a table that is there for the session alone a replica takes definitions.
        let defines = class == Class::Ddl
            && !uses.contains(Uses::TEMPORARY_TABLE)
            && !self.pins.contains(Pins::TEMPORARY_TABLE);
        let must_not = |held: &Connection| {
            self.is_reading_on_replica(held)
                && (uses.contains(Uses::MULTIPLE)
                    || writes_on_replicas(work.sql(), &self.lexing)
                    || defines && !self.may_leave_replica(held))
        };
        self.status.contains(Status::IN_TRANSACTION_READONLY)
            && matches!(class, Class::Ddl | Class::Other)
            && !self.held.as_deref().is_some_and(|held| self.must_end_on_primary(held, work))
            && self.held.as_deref().is_some_and(must_not)
    }

    /// Whether the statement commits the read only transaction on this connection to a replica, and then writes: the transaction goes on on the
    /// primary first. Some accounts no replica refuses.
    pub(in crate::session) fn must_end_on_primary(&self, connection: &Connection, work: &Work<'_>) -> bool {
        self.may_leave_replica(connection) && commits(work, &self.lexing)
    }

    /// Whether such a connection can be given back: nothing else of the session is on it.
    pub(in crate::session) fn may_leave_replica(&self, connection: &Connection) -> bool {
        self.has_little_there() && self.is_reading_on_replica(connection)
    }

    /// Whether all that pins the session can be taken along, or gives way.
    fn has_little_there(&self) -> bool {
        let goes_along = !self.pins.contains(Pins::USER_VARIABLES) || self.variables.can_be_read();
        goes_along && self.pins.difference(Pins::PASSING | Pins::USER_VARIABLES | GIVES_WAY).is_empty()
    }

    /// Whether the session may be bound to a replica that a statement has to leave.
    pub(in crate::session) fn may_be_bound_to_replica(&self) -> bool {
        self.status.contains(Status::IN_TRANSACTION_READONLY) || self.pins.intersects(GIVES_WAY)
    }

    /// Whether the statement, after a transaction that has left a pin on this connection to a replica, needs the primary.
    fn is_misplaced(&self, connection: &Connection, statement: Recognised) -> bool {
        let free = Situation { pinned: false, pinned_softly: false, ..self.situation() };
        self.pins.intersects(GIVES_WAY)
            && self.has_little_there()
            && !connection.status.contains(Status::IN_TRANSACTION)
            && self.topology.snapshot().primary.is_some_and(|primary| primary != connection.server)
            && !matches!(statement.class, Class::ShowServer | Class::Kill)
            && plan::route(statement, free).target == Target::Primary
    }

    /// Whether the statement begins what lasts, a transaction or a pin, on the primary where there is one.
    pub(in crate::session) fn begins_on_primary(&self, statement: Recognised) -> bool {
        let in_transaction = |held: &Connection| held.status.contains(Status::IN_TRANSACTION);
        if self.held.as_deref().is_some_and(in_transaction) {
            return false;
        }
        let begins = match statement.class {
            Class::Begin(access) => access != Access::ReadOnly,
            Class::EndOrSavepoint => statement.uses.contains(Uses::CHAIN_OR_RELEASE) || self.end_leads_on(),
            Class::Set => statement.uses.intersects(plan::MAKES_PIN.difference(Uses::USER_VARIABLE_WRITE)),
            _ => false,
        };
        begins && self.topology.snapshot().primary.is_some()
    }

    /// Whether the session has a connection that is not one to the primary.
    pub(in crate::session) fn is_held_elsewhere(&self) -> bool {
        let primary = self.topology.snapshot().primary;
        self.held.as_deref().is_some_and(|held| Some(held.server) != primary)
    }

    /// What ends the transaction on a replica to write, or stays on its connection longer than the transaction, is no
    /// statement for a replica.
    pub(in crate::session) async fn leave_replica_for(&mut self, statement: Recognised, text: &[u8]) {
        if let Some(held) = self.held.take_if(|held| !held.status.contains(Status::IN_TRANSACTION)) {
            let left =
                if self.is_misplaced(&held, statement) { self.leave_replica(held).await } else { Err(held) };
            self.held = left.err();
            return;
        }
        let Recognised { class, uses, .. } = statement;
        let writes = match class {
            Class::Begin(Access::ReadWrite) => true,
            // MySQL keeps the mode of the transaction that it ends (tried).
            Class::Begin(Access::Default) => self.lexing.server.dialect == Dialect::MariaDb,
            _ => uses.contains(Uses::LOCK_TABLES),
        } && !uses.contains(Uses::MULTIPLE);
        // A procedure may make temporary tables.
        let stays = uses.intersects(OUTLASTS)
            || matches!(class, Class::Call | Class::Other)
            || class == Class::Set && contains_word(text, b"autocommit") // which may end it, and leaves its mode then
            || writes_on_replicas(text, &self.lexing)
            || statement.begins_measuring()
            || uses.contains(Uses::MULTIPLE) && !reads_on(class);
        if !writes && !stays {
            return;
        }
        let Some(held) = self.held.take() else { return };
        if !self.may_leave_replica(&held) {
            self.held = Some(held);
            return;
        }
        // The same transaction on the primary, later: locks are of use only where everybody takes them.
        let begun = if stays { self.begin_on_primary(None).await } else { None };
        if stays && begun.is_none() {
            self.held = Some(held);
            return;
        }
        if let Err(held) = self.move_to(held, begun).await {
            self.held = Some(held);
        }
    }

    /// The transaction on this connection to a replica goes on on the primary, where a server would end it by itself: so it
    /// says of the transaction what one server says.
    pub(in crate::session) async fn end_on_primary(
        &mut self,
        connection: Box<Connection>,
        execution: Option<&Execution<'_>>,
    ) -> Result<(), Box<Connection>> {
        let begun = self.begin_on_primary(execution).await;
        self.move_to(connection, begun).await
    }

    /// Leaves the replica, for the transaction that was begun on the primary where there is one.
    async fn move_to(
        &mut self,
        connection: Box<Connection>,
        begun: Option<Box<Connection>>,
    ) -> Result<(), Box<Connection>> {
        let left = self.leave_replica(connection).await;
        if left.is_ok() {
            self.held = begun;
            self.status = self.held.as_ref().map_or(self.status, |held| held.status);
        } else if let Some(mut begun) = begun {
            begun.dirty = true;
            self.worker.pool.check_in(begun);
        }
        left
    }

    /// A connection to the primary in this session's state, with a read only transaction; `None` where none can be had.
    async fn begin_on_primary(&mut self, execution: Option<&Execution<'_>>) -> Option<Box<Connection>> {
        let mut route = Route { target: Target::Primary, reason: Reason::MakesPin };
        let mut connection = self.ready(&mut route, None).await.ok()?;
        let mut buffer = self.worker.buffers.take();
        if let Some(execution) = execution.filter(|_| connection.dialect == Dialect::MariaDb)
            && connection.statements.get(execution.source).is_none()
        {
            // In a read only transaction MariaDB prepares no definition (tried). Why it is none here, the execution is told.
            let _ = self.prepare_again(&mut connection, execution.source, &mut buffer).await;
        }
        let begun = connection.run(self.client.told.beginning(), &mut buffer);
        match tokio::time::timeout(PRELUDE_LIMIT, begun).await {
            Ok(Ok(answer)) if answer.error.is_none() => Some(connection),
            _ => {
                connection.broken = true;
                self.worker.pool.check_in(connection);
                None
            }
        }
    }

    /// Ends the transaction on this connection, which may be left, and gives it back; not where user variables cannot be
    /// read, or the server fails.
    async fn leave_replica(&mut self, mut connection: Box<Connection>) -> Result<(), Box<Connection>> {
        let mut buffer = self.worker.buffers.take();
        let ended = tokio::time::timeout(PRELUDE_LIMIT, connection.run(b"COMMIT", &mut buffer)).await;
        connection.broken |= !matches!(ended, Ok(Ok(_)));
        if self.pins.intersects(GIVES_WAY) {
            connection.dirty = true;
            connection.worn_out |= self.pins.intersects(Pins::LASTING);
            self.statements.give_up();
            self.set_pins(self.pins.difference(GIVES_WAY)); // first, so that variables are read
        }
        self.read_variables(&mut connection).await;
        if connection.broken || self.pins.contains(Pins::USER_VARIABLES) {
            return Err(connection);
        }
        self.set_pins(Pins::default());
        self.status = connection.status;
        self.release(connection, false);
        Ok(())
    }

    /// A replica refuses writes because of what it is, before it looks at the transaction: the client is told what a
    /// primary says.
    pub(in crate::session) fn name_the_transaction(&self, connection: &Connection, end: &mut End) {
        let Some(error) = &mut end.error else { return };
        if error.unsent.is_none()
            || !READ_ONLY.contains(&error.code)
            || !self.is_reading_on_replica(connection)
        {
            return;
        }
        let packet = refusal(connection.dialect);
        error.code = packet.code;
        error.unsent = Some(reply::error(self.sequence, &packet));
        error.packet = Some(packet);
        error.renamed = true;
    }
}
