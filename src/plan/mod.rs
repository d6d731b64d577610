//! Where a statement goes, and why.
//!
//! Owns: the rules of read/write splitting. Does not know: sockets, the clock, which replica is picked.
//! Invariant: pure; every route carries its reason; in doubt a statement goes to the primary.

pub mod sharded;

use crate::sql::{Access, Class, Hint, Recognised, Uses};

/// Which server a statement needs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// The connection that the session holds: a transaction or pinned state is there.
    Held,
    /// The primary.
    Primary,
    /// A replica that may serve reads; the primary where there is none.
    Replica,
    /// The primary, or a replica where there is no primary: statements about session state only.
    Any,
}

impl Target {
    /// Names for metrics and people, by `self as usize`.
    pub const NAMES: [&'static str; 4] = ["held", "primary", "replica", "any"];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The same in words.
    pub fn role(self) -> &'static str {
        match self {
            Self::Replica => "replica",
            Self::Primary => "primary",
            Self::Any => "primary (any server where there is none)",
            Self::Held => "the connection of the statement before",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why a statement goes where it goes; also the metric's label.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Names for metrics and people, by `self as usize`.
            pub const NAMES: &'static [&'static str] = &[$($name),*];
        }
    };
}

reasons! {
    /// A query that only reads.
    ReadOnlyQuery = "read-only query",
    /// SHOW of what replicates.
    Dictionary = "data dictionary",
    /// START TRANSACTION READ ONLY, or a transaction in a session whose default is read only.
    ReadOnlyTransaction = "read-only transaction",
    /// Changes data.
    Write = "write",
    /// Changes definitions or rights.
    Definition = "definition",
    /// FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE.
    LockingRead = "locking read",
    /// SELECT … INTO.
    SelectInto = "select into",
    /// Calls a function that is not known to be free of effects.
    UnknownFunction = "unknown function",
    /// Calls a function whose effect or answer belongs to the primary.
    PrimaryFunction = "function of the primary",
    /// Asks about server variables, by which applications find a writer.
    ServerState = "server state",
    /// Opens a transaction that may write.
    BeginTransaction = "begins a transaction",
    /// A transaction is open on this connection.
    InTransaction = "in a transaction",
    /// `autocommit` is off: each statement opens a transaction.
    AutocommitOff = "autocommit is off",
    /// Ends a transaction that is not open, or names a savepoint.
    EndTransaction = "ends a transaction",
    /// Changes session state only.
    SessionState = "session state",
    /// CALL: procedures may write.
    Procedure = "procedure call",
    /// Makes state that stays on the connection.
    MakesPin = "makes connection state",
    /// Connection state is there already.
    Pinned = "pinned",
    /// Asks about the statement before.
    Diagnostics = "about the statement before",
    /// Nothing to run.
    Empty = "empty",
    /// Administrative.
    Administrative = "administrative",
    /// Not understood.
    Doubt = "not understood",
    /// A `/* tidegate: primary */` or `replica` comment.
    Hint = "hint",
    /// No replica may serve reads.
    NoReplica = "no replica can serve",
    /// No replica has what the session has written or read, or had it in time.
    NotFresh = "replicas are behind the session",
    /// A replica refused it as read only; run again on the primary.
    RefusedByReplica = "refused by a replica",
    /// KILL.
    Kill = "kill",
}

impl Reason {
    /// Its name.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Where a statement goes, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Which server.
    pub target: Target,
    /// Why.
    pub reason: Reason,
}

/// What of the session decides about routes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Situation {
    /// A transaction is open, by the server's status flags.
    pub in_transaction: bool,
    /// `autocommit` is off.
    pub autocommit_off: bool,
    /// `transaction_read_only` of the session is on.
    pub default_read_only: bool,
    /// State is on the held connection that every statement may need.
    pub pinned: bool,
    /// State is on the held connection that only statements naming variables or prepared statements need.
    pub pinned_softly: bool,
    /// SET TRANSACTION was sent and waits for its transaction on the held connection.
    pub next_transaction_set: bool,
}

/// Decides where a statement goes.
pub fn route(statement: Recognised, situation: Situation) -> Route {
    let (natural, reason) = natural(statement, situation);
    if situation.in_transaction {
        return Route { target: Target::Held, reason: Reason::InTransaction };
    }
    if situation.pinned || situation.next_transaction_set {
        return Route { target: Target::Held, reason: Reason::Pinned };
    }
    let moves = natural == Target::Replica && matches!(statement.class, Class::Read | Class::Show);
    if situation.pinned_softly && (!moves || statement.uses.intersects(NEEDS_SOFT_PIN)) {
        return Route { target: Target::Held, reason: Reason::Pinned };
    }
    if let Some(hint) = statement.hint {
        let target = match hint {
            Hint::Fresh(_) => return Route { target: natural, reason },
            Hint::Primary => Target::Primary,
            // A hint does not send a write to a replica; it widens what may be read there.
            Hint::Replica if may_be_hinted(statement) && !situation.autocommit_off => Target::Replica,
            Hint::Replica => return Route { target: natural, reason },
        };
        return Route { target, reason: Reason::Hint };
    }
    Route { target: natural, reason }
}

/// What lives on a softly pinned connection.
const NEEDS_SOFT_PIN: Uses =
    Uses::USER_VARIABLE_READ.union(Uses::USER_VARIABLE_WRITE).union(Uses::TEXT_PREPARED);

/// What leaves state on the connection that cannot be replayed: it must be the primary's.
pub const MAKES_PIN: Uses = Uses::USER_VARIABLE_WRITE
    .union(Uses::TEMPORARY_TABLE)
    .union(Uses::LOCK_TABLES)
    .union(Uses::USER_LOCK)
    .union(Uses::HANDLER)
    .union(Uses::XA)
    .union(Uses::TEXT_PREPARED)
    .union(Uses::NEXT_TRANSACTION)
    .union(Uses::BINDING_VARIABLE)
    .union(Uses::ROLE);

/// Where the statement would go in a session without state.
fn natural(statement: Recognised, situation: Situation) -> (Target, Reason) {
    use Reason as R;
    use Target::{Any, Held, Primary, Replica};
    let uses = statement.uses;
    if uses.contains(Uses::DOUBT) {
        return (Primary, R::Doubt);
    }
    match statement.class {
        Class::Empty => (Any, R::Empty),
        Class::Read | Class::Show => read(statement, situation),
        Class::LockingRead => (Primary, R::LockingRead),
        Class::Write if uses.contains(Uses::INTO) => (Primary, R::SelectInto),
        Class::Write => (Primary, R::Write),
        Class::Ddl if uses.contains(Uses::TEMPORARY_TABLE) => (Primary, R::MakesPin),
        Class::Ddl => (Primary, R::Definition),
        Class::Begin(_) if uses.contains(Uses::MULTIPLE) => (Primary, R::BeginTransaction),
        Class::Begin(Access::ReadOnly) => (Replica, R::ReadOnlyTransaction),
        Class::Begin(Access::Default) if situation.default_read_only => (Replica, R::ReadOnlyTransaction),
        Class::Begin(_) => (Primary, R::BeginTransaction),
        // A savepoint is the first of what the next statements write.
        Class::EndOrSavepoint if situation.autocommit_off => (Primary, R::EndTransaction),
        Class::EndOrSavepoint => (Any, R::EndTransaction),
        Class::Set if uses.contains(Uses::UNKNOWN_FUNCTION) => (Primary, R::UnknownFunction),
        Class::Set if uses.intersects(MAKES_PIN.difference(Uses::USER_VARIABLE_WRITE)) => (Any, R::MakesPin),
        Class::Set if statement.begins_measuring() => (Primary, R::MakesPin),
        Class::Set | Class::Use => (Any, R::SessionState),
        Class::Call => (Primary, R::Procedure),
        Class::TextPrepared | Class::Session => (Primary, R::MakesPin),
        Class::Diagnostics => (Held, R::Diagnostics),
        // Where the server's list of threads comes from, whose ids it may name.
        Class::Kill => (Primary, R::Kill),
        Class::ShowServer if uses.contains(Uses::MEASURES) => (Held, R::Diagnostics),
        Class::ShowServer => (Primary, R::ServerState),
        Class::SetGlobal | Class::Other => (Primary, R::Administrative),
    }
}

/// A reading statement: a replica, unless something in it belongs to the primary.
fn read(statement: Recognised, situation: Situation) -> (Target, Reason) {
    use Reason as R;
    let uses = statement.uses;
    let about_before =
        Uses::DIAGNOSTICS | Uses::FOUND_ROWS | Uses::ROW_COUNT | Uses::LAST_INSERT_ID | Uses::MEASURES;
    let reason = if uses.intersects(MAKES_PIN) {
        R::MakesPin
    } else if uses.intersects(about_before) {
        R::Diagnostics
    } else if uses.contains(Uses::UNKNOWN_FUNCTION) {
        R::UnknownFunction
    } else if uses.intersects(Uses::PRIMARY_FUNCTION | Uses::CONNECTION_ID) {
        R::PrimaryFunction
    } else if uses.contains(Uses::INTO) {
        R::SelectInto
    } else if uses.intersects(Uses::SYSTEM_VARIABLE | Uses::SYSTEM_SCHEMA) {
        R::ServerState
    } else if situation.autocommit_off {
        R::AutocommitOff
    } else if statement.class == Class::Show {
        return (Target::Replica, R::Dictionary);
    } else {
        return (Target::Replica, R::ReadOnlyQuery);
    };
    // What asks only about session or server state is answered where no primary is, too (T20).
    let session_only = matches!(reason, R::ServerState | R::Diagnostics | R::PrimaryFunction);
    (if session_only { Target::Any } else { Target::Primary }, reason)
}

/// Whether `/* tidegate: replica */` may send the statement to a replica.
fn may_be_hinted(statement: Recognised) -> bool {
    matches!(statement.class, Class::Read | Class::Show | Class::ShowServer)
        && !statement.uses.intersects(MAKES_PIN | Uses::INTO | Uses::DOUBT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consistency::Consistency;

    fn at(class: Class, uses: Uses, situation: Situation) -> (Target, Reason) {
        let Route { target, reason } = route(Recognised::plain(class, uses), situation);
        (target, reason)
    }

    const FREE: Situation = Situation {
        in_transaction: false,
        autocommit_off: false,
        default_read_only: false,
        pinned: false,
        pinned_softly: false,
        next_transaction_set: false,
    };

    #[test]
    fn reads_go_to_replicas_and_the_rest_to_the_primary() {
        let none = Uses::empty();
        assert_eq!(at(Class::Read, none, FREE), (Target::Replica, Reason::ReadOnlyQuery));
        assert_eq!(at(Class::Show, none, FREE), (Target::Replica, Reason::Dictionary));
        for class in
            [Class::Write, Class::Ddl, Class::LockingRead, Class::Call, Class::SetGlobal, Class::Other]
        {
            assert_eq!(at(class, none, FREE).0, Target::Primary, "{class:?}");
        }
    }

    #[test]
    fn t5_nothing_but_reads_ever_targets_a_replica() {
        let situations =
            [FREE, Situation { pinned_softly: true, ..FREE }, Situation { default_read_only: true, ..FREE }];
        for class in [
            Class::Write,
            Class::Ddl,
            Class::LockingRead,
            Class::Call,
            Class::SetGlobal,
            Class::Other,
            Class::TextPrepared,
            Class::Session,
            Class::Set,
            Class::Use,
            Class::Begin(Access::ReadWrite),
            Class::Kill,
            Class::EndOrSavepoint,
        ] {
            for hint in [None, Some(Hint::Replica)] {
                for situation in situations {
                    let statement = Recognised { hint, ..Recognised::plain(class, Uses::empty()) };
                    assert_ne!(route(statement, situation).target, Target::Replica, "{class:?} {hint:?}");
                }
            }
        }
    }

    #[test]
    fn t8_functions_that_are_not_known_go_to_the_primary() {
        assert_eq!(at(Class::Read, Uses::UNKNOWN_FUNCTION, FREE), (Target::Primary, Reason::UnknownFunction));
        assert_eq!(at(Class::Read, Uses::USER_LOCK, FREE), (Target::Primary, Reason::MakesPin));
        assert_eq!(at(Class::Write, Uses::INTO, FREE), (Target::Primary, Reason::SelectInto));
    }

    #[test]
    fn t2_without_autocommit_reads_stay_on_the_primary() {
        let off = Situation { autocommit_off: true, ..FREE };
        assert_eq!(at(Class::Read, Uses::empty(), off), (Target::Primary, Reason::AutocommitOff));
        let hinted =
            Recognised { hint: Some(Hint::Replica), ..Recognised::plain(Class::Read, Uses::empty()) };
        assert_eq!(route(hinted, off).target, Target::Primary);
    }

    #[test]
    fn t3_a_transaction_keeps_its_connection() {
        let open = Situation { in_transaction: true, ..FREE };
        assert_eq!(at(Class::Read, Uses::empty(), open), (Target::Held, Reason::InTransaction));
    }

    #[test]
    fn t19_read_only_transactions_use_a_replica() {
        assert_eq!(at(Class::Begin(Access::ReadOnly), Uses::empty(), FREE).0, Target::Replica);
        assert_eq!(at(Class::Begin(Access::Default), Uses::empty(), FREE).0, Target::Primary);
        let read_only = Situation { default_read_only: true, ..FREE };
        assert_eq!(at(Class::Begin(Access::Default), Uses::empty(), read_only).0, Target::Replica);
        assert_eq!(at(Class::Begin(Access::ReadWrite), Uses::empty(), read_only).0, Target::Primary);
    }

    #[test]
    fn t15_t20_server_state_is_the_primarys_or_anyones() {
        assert_eq!(at(Class::Read, Uses::SYSTEM_VARIABLE, FREE), (Target::Any, Reason::ServerState));
        assert_eq!(at(Class::Set, Uses::empty(), FREE), (Target::Any, Reason::SessionState));
    }

    #[test]
    fn a_soft_pin_leaves_plain_reads_free() {
        let soft = Situation { pinned_softly: true, ..FREE };
        assert_eq!(at(Class::Read, Uses::empty(), soft).0, Target::Replica);
        assert_eq!(at(Class::Read, Uses::USER_VARIABLE_READ, soft).0, Target::Held);
        assert_eq!(at(Class::Write, Uses::empty(), soft).0, Target::Held);
        assert_eq!(at(Class::Begin(Access::ReadOnly), Uses::empty(), soft).0, Target::Held);
    }

    #[test]
    fn hints_force_a_role_for_reads() {
        let hinted = |class, hint| {
            route(Recognised { hint: Some(hint), ..Recognised::plain(class, Uses::empty()) }, FREE)
        };
        assert_eq!(
            hinted(Class::Read, Hint::Primary),
            Route { target: Target::Primary, reason: Reason::Hint }
        );
        assert_eq!(hinted(Class::ShowServer, Hint::Replica).target, Target::Replica);
        assert_eq!(
            hinted(Class::Write, Hint::Fresh(Consistency::Eventual)),
            Route { target: Target::Primary, reason: Reason::Write }
        );
        assert_eq!(
            hinted(Class::Write, Hint::Replica),
            Route { target: Target::Primary, reason: Reason::Write }
        );
    }
}
