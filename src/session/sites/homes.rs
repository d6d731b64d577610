//! Homes: where a database is but for what rules place elsewhere, and the way of a statement there.
//!
//! Owns: which home is the session's, as its default database changes or the rules do; which statements run there that name nothing of it.
//! Does not know: which home a statement names (`plan::sharded::homes`), how a session changes sites (`sites`).
//! Invariant: at a home that is not its default database's, the session's default database is one that every server has.

use super::Site;
use super::direct::{Directed, Directory};
use crate::ids::ClusterId;
use crate::session::pins::Pins;
use crate::session::readback::contains_word;
use crate::session::{Problem, Session};
use crate::sql::{self, Class, Recognised, Uses};

/// The default database where that of the client is not: every server has it, and no table of a client's is in it.
pub(super) const NEUTRAL: &[u8] = b"information_schema";

impl Session {
    /// The default database is another one, by these rules or by their new edition: its home is known.
    pub(in crate::session) fn find_home(&mut self) {
        // The client has another one now: that of a USE which was carried out here.
        self.sites.away.take_if(|away| away.names.is_none() && self.desired.schema != away.physical.schema);
        let directory = self.worker.directory.load();
        self.sites.rules = directory.generation();
        self.sites.home = directory.rules().home_of(self.logical_schema());
    }

    /// The same, where the rules have changed since.
    pub(in crate::session) fn find_home_by(&mut self, directory: &Directory) {
        if self.sites.rules != directory.generation() {
            self.find_home();
        }
    }

    /// The session's default database is what it is here.
    pub(in crate::session) fn database_is_here(&mut self) {
        self.sites.away.take_if(|away| away.names.is_none());
    }

    /// The cluster where everything of the default database is that no rule places.
    pub(in crate::session) fn home(&self) -> ClusterId {
        self.sites.home
    }

    /// The same of databases without a home of their own.
    pub(in crate::session) fn default_home(&self) -> ClusterId {
        self.worker.config.home
    }

    /// Whether it is at the home of this database.
    pub(in crate::session) fn is_at_home_of(&self, schema: &[u8]) -> bool {
        let at_home = self.sites.away.as_ref().is_none_or(|away| away.names.is_none());
        at_home && self.worker.directory.load().rules().home_of(schema) == self.sites.cluster
    }

    /// A statement that names no listed table runs at home, unless it names none at all.
    pub(in crate::session) async fn stay_home(
        &mut self,
        text: &[u8],
        statement: Recognised,
    ) -> Result<Directed, Problem> {
        self.stay_at(self.home(), text, statement).await
    }

    /// The same of a database that has its home on this cluster.
    pub(in crate::session) async fn stay_at(
        &mut self,
        home: ClusterId,
        text: &[u8],
        statement: Recognised,
    ) -> Result<Directed, Problem> {
        let home = Site::home(home);
        let must_go = || {
            let asks_for_database =
                || [&b"database"[..], b"schema"].iter().any(|word| contains_word(text, word));
            let unlocks = self.pins.contains(Pins::LOCKS)
                && sql::first_word(text, &self.lexing).eq_ignore_ascii_case(b"unlock");
            let is_about_here = self.is_away() && (statement.class == Class::Show || asks_for_database());
            !unlocks && (belongs_home(statement) || is_about_here || !sql::uses_no_table(text, &self.lexing))
        };
        match !self.sites.is_at(&home) && must_go() {
            true => self.go_home(home, statement).await,
            false => self.begin_at_home(statement).await,
        }
    }

    /// A statement that names what is at this home runs there.
    pub(in crate::session) async fn go_home(
        &mut self,
        home: Site,
        statement: Recognised,
    ) -> Result<Directed, Problem> {
        self.may_leave_for(&home, statement)?;
        self.visit(&home).await;
        self.begin_at_home(statement).await
    }

    async fn begin_at_home(&mut self, statement: Recognised) -> Result<Directed, Problem> {
        if self.sites.is_open_elsewhere() {
            self.begin_here(statement).await?;
        }
        self.note_write(statement, None)?;
        self.note_part();
        Ok(Directed::Here)
    }
}

/// Whether a statement without tables runs at home all the same: locks of users are one server's, accounts and routines are the home's.
fn belongs_home(statement: Recognised) -> bool {
    let reads = matches!(statement.class, Class::Read | Class::Show | Class::ShowServer | Class::Set);
    !reads || statement.uses.intersects(Uses::USER_LOCK | Uses::UNKNOWN_FUNCTION | Uses::MULTIPLE)
}
