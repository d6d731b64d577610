//! Why a session must keep its server connection between statements.
//!
//! Owns: the reasons and when they end. Does not know: connections. Invariant: pure; a session is pinned exactly
//! while a reason stands.

pub(super) mod ledger;
pub(super) mod locks;

use bitflags::bitflags;

use crate::sql::{Class, Recognised, Uses};

bitflags! {
    /// The reasons.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Pins: u32 {
        /// A temporary table was made.
        const TEMPORARY_TABLE = 1;
        /// LOCK TABLES, FLUSH … WITH READ LOCK, LOCK INSTANCE.
        const LOCKS = 1 << 1;
        /// GET_LOCK and its family.
        const USER_LOCK = 1 << 2;
        /// HANDLER.
        const HANDLER = 1 << 3;
        /// XA.
        const XA = 1 << 4;
        /// Text PREPARE.
        const TEXT_PREPARED = 1 << 5;
        /// User variables were assigned, and are not read back yet.
        const USER_VARIABLES = 1 << 6;
        /// SET of a variable that belongs to one connection (sql_log_bin, timestamp …).
        const BINDING_VARIABLE = 1 << 7;
        /// SET ROLE, SET RESOURCE GROUP.
        const ROLE = 1 << 8;
        /// A server-side cursor is open.
        const CURSOR = 1 << 9;
        /// COM_STMT_SEND_LONG_DATA waits for its execution.
        const LONG_DATA = 1 << 10;
        /// SET TRANSACTION waits for its transaction.
        const NEXT_TRANSACTION = 1 << 11;
        /// Warnings, an error, or a row count may be asked for by the next statement.
        const DIAGNOSTICS = 1 << 12;
        /// The server reported state that no statement explains (a procedure's).
        const UNEXPLAINED = 1 << 13;
        /// A procedure was called, and it is not yet known whether it has left temporary tables.
        const CALLED = 1 << 14;
        /// The account's password had expired at login: only this connection is let in by it.
        const EXPIRED_PASSWORD = 1 << 15;
        /// FLUSH STATUS: what the client does from now on is counted on this connection.
        const SESSION_STATUS = 1 << 16;
        /// `profiling` is on: the profiles are on this connection.
        const PROFILING = 1 << 17;
        /// `optimizer_trace` is on: the traces are on this connection.
        const OPTIMIZER_TRACE = 1 << 18;
        /// The session has drawn from a sequence, and its account asks for the last value drawn.
        const SEQUENCE = 1 << 19;
        /// SAVEPOINT with `autocommit` off, before anything has begun the transaction that it is of.
        const SAVEPOINT = 1 << 20;
    }
}

impl Pins {
    /// Names for metrics and people, by bit.
    pub const NAMES: [&'static str; 21] = [
        "temporary table",
        "locks",
        "user lock",
        "handler",
        "xa",
        "text prepared statement",
        "user variables",
        "binding variable",
        "role",
        "cursor",
        "long data",
        "next transaction",
        "diagnostics",
        "unexplained state",
        "procedure called",
        "expired password",
        "session status",
        "profiling",
        "optimizer trace",
        "sequence",
        "savepoint",
    ];

    /// Reasons that only statements naming variables or prepared statements care about.
    pub const SOFT: Self = Self::USER_VARIABLES.union(Self::TEXT_PREPARED);

    /// Reasons that end with the next statement that does not ask about the one before.
    pub const PASSING: Self = Self::DIAGNOSTICS.union(Self::CALLED);

    /// Whether a reason of this name keeps nothing that the next statement would miss on another connection.
    pub fn is_passing(name: &str) -> bool {
        let bit = Self::NAMES.iter().position(|known| *known == name);
        bit.is_some_and(|bit| Self::PASSING.bits() & 1 << bit != 0)
    }

    /// Reasons that leave nothing on the connection that another client could see.
    pub const HARMLESS: Self = Self::DIAGNOSTICS.union(Self::SESSION_STATUS);

    /// Reasons that stand while the session's variables say so.
    pub const SWITCHED: Self = Self::PROFILING.union(Self::OPTIMIZER_TRACE);

    /// Reasons for which statements of Tidegate's own would be seen by the client, in its counters, profiles and traces.
    pub const MEASURED: Self = Self::SWITCHED.union(Self::SESSION_STATUS);

    /// Reasons for which COM_RESET_CONNECTION may leave something: it keeps the role (both dialects), and MariaDB the
    /// profiles of statements.
    pub const LASTING: Self = Self::ROLE.union(Self::UNEXPLAINED).union(Self::BINDING_VARIABLE);

    /// Whether every statement must go to the held connection.
    pub fn hold_all(self) -> bool {
        !self.difference(Self::SOFT | Self::PASSING | Self::NEXT_TRANSACTION).is_empty()
    }

    /// With what a statement that has succeeded adds. What it ends, the ledger tells.
    pub fn after(mut self, statement: Recognised) -> Self {
        let uses = statement.uses;
        for (used, pin) in [
            (Uses::TEMPORARY_TABLE, Self::TEMPORARY_TABLE),
            (Uses::LOCK_TABLES, Self::LOCKS),
            (Uses::USER_LOCK, Self::USER_LOCK),
            (Uses::HANDLER, Self::HANDLER),
            (Uses::XA, Self::XA),
            (Uses::TEXT_PREPARED, Self::TEXT_PREPARED),
            (Uses::BINDING_VARIABLE, Self::BINDING_VARIABLE),
            (Uses::ROLE, Self::ROLE),
            (Uses::NEXT_TRANSACTION, Self::NEXT_TRANSACTION),
            (Uses::FLUSH_STATUS, Self::SESSION_STATUS),
        ] {
            self.set(pin, self.contains(pin) || uses.contains(used));
        }
        self
    }

    /// Whether state that the server reports is explained by the statement, and so pinned or replayed already.
    pub fn explains(statement: Recognised) -> bool {
        statement.uses.intersects(crate::plan::MAKES_PIN | Uses::BINDING_VARIABLE)
            || matches!(statement.class, Class::Set | Class::Use | Class::SetGlobal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(class: Class, uses: Uses) -> Recognised {
        Recognised::plain(class, uses)
    }

    #[test]
    fn locks_hold_everything() {
        let pins = Pins::default().after(statement(Class::Session, Uses::LOCK_TABLES));
        assert_eq!(pins, Pins::LOCKS);
        assert!(pins.hold_all());
    }

    #[test]
    fn variables_pin_softly() {
        let pins = Pins::default().after(statement(Class::TextPrepared, Uses::TEXT_PREPARED));
        assert!(!pins.is_empty() && !pins.hold_all());
        assert!(!Pins::USER_VARIABLES.hold_all());
    }

    #[test]
    fn every_bit_has_a_name() {
        assert_eq!(Pins::all().iter().count(), Pins::NAMES.len());
    }
}
