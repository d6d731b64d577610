//! What keeps a session from going to another site for a statement: what it has on the connection here, and what would be another thing there.
//!
//! Owns: the list of these. Does not know: which site a statement needs (`direct`). Invariant: what cannot go along is refused, never left
//! behind in silence.

use super::Site;
use crate::session::pins::Pins;
use crate::session::{Problem, Session};
use crate::sql::{Recognised, Uses};

/// What holds for the connection here, and would not for another one.
const STAYS: Pins =
    Pins::LOCKS.union(Pins::XA).union(Pins::NEXT_TRANSACTION).union(Pins::BINDING_VARIABLE).union(Pins::ROLE);

impl Session {
    /// Whether the session may go there for the statement.
    ///
    /// # Errors
    /// Something of it would stay behind.
    pub(in crate::session) fn may_leave_for(
        &self,
        site: &Site,
        statement: Recognised,
    ) -> Result<(), Problem> {
        if self.sites.is_at(site) {
            return Ok(());
        }
        if self.pins.intersects(STAYS) {
            return Err(Problem::Unsupported(HELD.into()));
        }
        if statement.uses.contains(Uses::USER_VARIABLE_READ) && self.variables.is_any_unread() {
            return Err(Problem::Unsupported(UNREAD.into()));
        }
        Ok(())
    }

    /// Whether the user variables that the statement reads are known here, or anywhere but at one other place.
    ///
    /// # Errors
    /// They are not.
    pub(in crate::session) fn knows_variables(&self, statement: Recognised) -> Result<(), Problem> {
        let elsewhere = self.variables.is_any_unread() && !self.pins.contains(Pins::USER_VARIABLES);
        match elsewhere && statement.uses.contains(Uses::USER_VARIABLE_READ) {
            true => Err(Problem::Unsupported(UNREAD.into())),
            false => Ok(()),
        }
    }

    /// Whether the statement may run at several sites at once.
    ///
    /// # Errors
    /// It sets user variables, or something of the session would stay behind.
    pub(in crate::session) async fn may_scatter(&mut self, statement: Recognised) -> Result<(), Problem> {
        if statement.uses.contains(Uses::USER_VARIABLE_WRITE) {
            return Err(Problem::Unsupported(VARIABLES.into()));
        }
        if statement.uses.contains(Uses::USER_VARIABLE_READ) {
            self.take_variables_along().await;
            if self.variables.is_any_unread() {
                return Err(Problem::Unsupported(UNREAD.into()));
            }
        }
        if self.pins.intersects(STAYS) {
            return Err(Problem::Unsupported(HELD.into()));
        }
        Ok(())
    }
}

/// Whether a hint sets variables for the statement alone, which its plan would not see.
pub(in crate::session) fn sets_variables(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"/*+").is_some_and(|at| {
        text[at..].windows(b"SET_VAR".len()).any(|word| word.eq_ignore_ascii_case(b"SET_VAR"))
    })
}

const HELD: &str = "a sharded table, or a database of another cluster, cannot be used, or left for others, while the session has table locks, XA, a role, SET TRANSACTION, or variables that \
                    hold for its connection alone (timestamp, insert_id, sql_log_bin and others): these would not hold there; end or unset them first";

const UNREAD: &str = "a user variable that one connection alone knows (one that was set in the open transaction, or is too long to go along) cannot be read at \
                      another shard, or outside of the shards: write the value itself";

const VARIABLES: &str = "a read of several shards cannot set user variables: let the client keep the values, or add the key to the condition";

pub(in crate::session) const SET_VAR: &str =
    "a statement on sharded tables cannot set variables by the hint SET_VAR: SET them for the session";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_that_sets_variables_is_found() {
        assert!(sets_variables(b"SELECT /*+ set_var(sql_select_limit=1) */ id FROM t"));
        assert!(!sets_variables(b"SELECT /*+ MAX_EXECUTION_TIME(1) */ id FROM t"));
        assert!(!sets_variables(b"SELECT 'SET_VAR' FROM t"));
    }
}
