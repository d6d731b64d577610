//! Where a session is: at home, where everything is that no rule places, or at a shard.
//!
//! Owns: going there and coming back: the cluster whose servers are chosen from, the mark of what its reads must not miss there, what the
//! default database is called, and what the session has left open elsewhere. Does not know: which site a statement needs (`direct`).
//! Invariant: what the session holds is of the site where it is; with nothing held and nothing open it is at the home of its default database.

pub(super) mod abroad;
pub(super) mod beginning;
pub(super) mod bound;
pub(super) mod branches;
pub(super) mod bulk;
pub(super) mod commits;
pub(super) mod dictionary;
pub(super) mod direct;
mod errors;
pub(super) mod explained;
pub(super) mod homes;
pub(super) mod leaving;
pub(super) mod listing;
pub(super) mod plans;
pub(super) mod savepoints;

use std::mem;
use std::sync::Arc;

use self::homes::NEUTRAL;
use self::savepoints::Savepoints;
use super::Session;
use super::diagnostics::At;
use super::freshness::Freshness;
use super::pins::Pins;
use super::pins::ledger::Ledger;
use super::resume::course::Course;
use super::statements::Open;
use crate::backend::connection::Connection;
use crate::backend::state::State;
use crate::backend::statements::Source;
use crate::execute::client::Signals;
use crate::execute::names::Names;
use crate::ids::ClusterId;
use crate::shard::Transactions;
use crate::wire::ok::Status;

/// A place where statements run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Site {
    pub cluster: ClusterId,
    /// The shard's schema and what its tables are called; at home everything is called as the client calls it.
    pub names: Option<Arc<Names>>,
}

impl Site {
    /// Where everything is that no rule places.
    pub fn home(cluster: ClusterId) -> Self {
        Self { cluster, names: None }
    }
}

/// Where a session is, and what it has left elsewhere.
#[derive(Debug, Default)]
pub(super) struct Sites {
    cluster: ClusterId,
    away: Option<Away>,
    /// The cluster of its default database's home, by the rules that it has seen last.
    home: ClusterId,
    /// Which these are.
    rules: u64,
    /// Of clusters where it is not.
    marks: Vec<(ClusterId, Freshness)>,
    /// What it holds elsewhere.
    pub(super) parked: Vec<Branch>,
    /// Since when the open transaction has written where the session is: how many savepoints had been set before. `None` where it has not.
    pub(super) wrote: Option<u64>,
    /// What the rules of those who have written in it say of more than one.
    pub(super) rule: Option<Transactions>,
    /// The statement in hand runs within a part of the open transaction.
    pub(super) in_part: bool,
    /// The statement that has begun the open transaction; `None` where none has.
    pub(super) begin: Option<Box<[u8]>>,
    /// Its savepoints.
    pub(super) savepoints: Savepoints,
}

/// At a shard, or at a home where its default database is not.
#[derive(Debug)]
struct Away {
    /// A shard's.
    names: Option<Arc<Names>>,
    /// The session's state as the client knows it.
    logical: Arc<State>,
    /// The same there, as it was when the session came.
    physical: Arc<State>,
}

/// A connection that is held at another site, and why.
#[derive(Debug)]
pub(super) struct Branch {
    site: Site,
    pub(super) held: Box<Connection>,
    aside: Aside,
}

/// What the session has at a site, on one connection.
#[derive(Debug)]
pub(super) struct Aside {
    pins: Pins,
    ledger: Ledger,
    course: Course,
    status: Status,
    status_unsure: bool,
    wrote: Option<u64>,
    /// What of the client's statements is there.
    open: Open,
}

impl Branch {
    /// Where it is.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// A part of the open transaction.
    pub fn is_open(&self) -> bool {
        self.aside.status.contains(Status::IN_TRANSACTION)
    }

    /// Whether that has written.
    pub fn wrote(&self) -> bool {
        self.aside.wrote.is_some()
    }

    /// Whether its transaction is read only.
    pub fn is_read_only(&self) -> bool {
        self.aside.status.contains(Status::IN_TRANSACTION_READONLY)
    }

    /// Something of Tidegate's own runs in its part, which could not be run again with it. `undone`: what was written since so many savepoints had
    /// been set is undone.
    pub fn ran_savepoint(&mut self, undone: Option<u64>) {
        self.aside.course.miss();
        self.aside.wrote = self.aside.wrote.filter(|since| undone.is_none_or(|undone| *since < undone));
    }

    /// Whether nothing has run in its part, and nothing else of the session is there.
    fn is_idle(&self) -> bool {
        let pins = self.aside.pins.difference(Pins::PASSING);
        let has_run_nothing = match &self.aside.course {
            Course::Begun(..) => true,
            Course::Told(record) => record.has_run_nothing(),
            Course::Untold | Course::Lost(_) => false,
        };
        match self.is_open() {
            true => has_run_nothing && !self.wrote() && pins.is_empty(),
            false => pins == Pins::SAVEPOINT,
        }
    }

    /// Its part of the transaction has ended.
    pub fn ended(&mut self) {
        self.aside.status.remove(Status::IN_TRANSACTION | Status::IN_TRANSACTION_READONLY);
        (self.aside.status_unsure, self.aside.wrote, self.aside.course) = (false, None, Course::Untold);
    }

    /// Whether something else of the session is there.
    pub fn is_needed(&self) -> bool {
        !self.held.broken && !self.aside.pins.difference(Pins::PASSING).is_empty()
    }
}

impl Sites {
    /// At home.
    pub fn new(home: ClusterId) -> Self {
        Self { cluster: home, home, ..Self::default() }
    }

    /// Where the session is.
    pub fn here(&self) -> Site {
        Site { cluster: self.cluster, names: self.away.as_ref().and_then(|away| away.names.clone()) }
    }

    /// Whether the session is there.
    pub fn is_at(&self, site: &Site) -> bool {
        let names = self.away.as_ref().and_then(|away| away.names.as_deref());
        self.cluster == site.cluster && names == site.names.as_deref()
    }

    /// What is elsewhere on this connection.
    pub fn take_branch(&mut self, (server, id): At) -> Option<Branch> {
        let at =
            self.parked.iter().position(|branch| (branch.held.server, branch.held.id) == (server, id))?;
        Some(self.parked.swap_remove(at))
    }

    /// Whether a part of the open transaction is elsewhere.
    pub fn is_open_elsewhere(&self) -> bool {
        self.parked.iter().any(Branch::is_open)
    }
}

impl Session {
    /// No transaction is open anywhere.
    pub(super) fn forget_parts(&mut self) {
        (self.sites.wrote, self.sites.rule, self.sites.begin) = (None, None, None);
        self.sites.savepoints.clear();
    }

    /// Goes there. What is held here stays open, where something is on it.
    pub(super) async fn visit(&mut self, site: &Site) {
        if self.sites.is_at(site) {
            return;
        }
        if self.held.is_some() && !self.is_held_for_more_than_questions() {
            self.stop_expecting_questions().await;
        }
        self.take_variables_along().await;
        if let Some(held) = self.held.take() {
            self.park(held);
        }
        self.move_to_site(site);
        if let Some(at) = self.sites.parked.iter().position(|branch| branch.site == *site) {
            let branch = self.sites.parked.swap_remove(at);
            self.take_up_branch(branch);
        }
    }

    /// Goes home, where nothing is held here. Called between commands.
    pub(super) async fn come_home(&mut self) {
        let home = Site::home(self.home());
        if self.held.is_none() && !self.sites.is_at(&home) {
            self.visit(&home).await;
        }
    }

    /// Whether there is something on the held connection that would be lost with it.
    pub(super) fn is_held_for_more_than_questions(&self) -> bool {
        self.status.contains(Status::IN_TRANSACTION) || !self.pins.difference(Pins::PASSING).is_empty()
    }

    /// What the session has here, whose connection it does not hold any more.
    pub(super) fn set_aside(&mut self) -> Aside {
        let aside = Aside {
            pins: mem::take(&mut self.pins),
            ledger: mem::take(&mut self.ledger),
            course: mem::take(&mut self.course),
            status: self.status,
            status_unsure: mem::take(&mut self.status_unsure),
            wrote: mem::take(&mut self.sites.wrote),
            open: mem::take(&mut self.statements.open),
        };
        self.status.remove(Status::IN_TRANSACTION | Status::IN_TRANSACTION_READONLY);
        aside
    }

    /// It has that again.
    pub(super) fn have_again(&mut self, aside: Aside) {
        let Aside { pins, ledger, course, status, status_unsure, wrote, open } = aside;
        (self.pins, self.ledger, self.course) = (pins, ledger, course);
        (self.status, self.status_unsure, self.sites.wrote) = (status, status_unsure, wrote);
        self.statements.open = open;
    }

    /// Leaves what is held here.
    fn park(&mut self, held: Box<Connection>) {
        let aside = self.set_aside();
        self.sites.parked.push(Branch { site: self.sites.here(), held, aside });
    }

    /// The transaction is open where the session is: a part elsewhere in which nothing has run is not worth a connection.
    pub(super) fn leave_idle_parts(&mut self) {
        // A savepoint that is not known by its name would be gone with a part.
        if self.sites.savepoints.have_unknown() || !self.sites.parked.iter().any(Branch::is_idle) {
            return;
        }
        for mut branch in mem::take(&mut self.sites.parked) {
            match branch.is_idle() {
                true => {
                    branch.held.dirty |= !branch.is_open(); // no status tells of the savepoint
                    self.show_pins_of(&mut branch, |_| Pins::default());
                    self.release(branch.held, false); // the pool rolls it back
                }
                false => self.sites.parked.push(branch),
            }
        }
    }

    /// Is again where it has left something.
    fn take_up_branch(&mut self, Branch { held, aside, .. }: Branch) {
        if self.topology.snapshot().server(held.server).is_none_or(|server| server.replaced) {
            self.client.signals.raise(Signals::REPLACED); // others were told while the session was elsewhere
        }
        self.have_again(aside);
        self.held = Some(held);
    }

    /// Is there, with nothing held.
    pub(super) fn move_to_site(&mut self, site: &Site) {
        self.put_names_back();
        self.change_cluster(site.cluster);
        let schema = match &site.names {
            Some(names) => &names.schema.0[..],
            None if site.cluster == self.sites.home || self.desired.schema.is_empty() => return,
            None => NEUTRAL,
        };
        let logical = Arc::clone(&self.desired);
        let physical = Arc::new(logical.in_schema(schema));
        self.desired = Arc::clone(&physical);
        self.client.names = site.names.clone().filter(|names| names.differ());
        self.sites.away = Some(Away { names: site.names.clone(), logical, physical });
    }

    /// The default database is called as the client calls it.
    fn put_names_back(&mut self) {
        self.client.names = None;
        let Some(Away { logical, physical, .. }) = self.sites.away.take() else { return };
        self.desired = match Arc::ptr_eq(&self.desired, &physical) {
            true => logical,
            false => Arc::new(self.desired.in_schema(&logical.schema)),
        };
    }

    /// Chooses from another cluster's servers.
    fn change_cluster(&mut self, cluster: ClusterId) {
        if cluster == self.sites.cluster {
            return;
        }
        let known = self.sites.marks.iter().position(|(known, _)| *known == cluster);
        let mut mark = known.map(|at| self.sites.marks.swap_remove(at).1).unwrap_or_default();
        mark.level = self.freshness.level;
        let left = mem::replace(&mut self.freshness, mark);
        self.sites.marks.push((mem::replace(&mut self.sites.cluster, cluster), left));
        self.topology = Arc::clone(self.worker.clusters.of(cluster));
    }

    /// The default database as the client knows it; empty for none.
    pub(super) fn logical_schema(&self) -> &[u8] {
        self.sites.away.as_ref().map_or(&self.desired.schema, |away| &away.logical.schema)
    }

    /// Whether the default database is another one where the session is than its client knows: at a shard, or at another database's home.
    pub(super) fn is_away(&self) -> bool {
        self.sites.away.is_some()
    }

    /// The session's state as the client knows it, its default database included.
    pub(super) fn logical_state(&self) -> Arc<State> {
        match &self.sites.away {
            None => Arc::clone(&self.desired),
            Some(away) if Arc::ptr_eq(&self.desired, &away.physical) => Arc::clone(&away.logical),
            Some(away) => Arc::new(self.desired.in_schema(&away.logical.schema)),
        }
    }

    /// Goes where a statement has a cursor, or data that waits for its execution.
    pub(super) async fn visit_open(&mut self, id: u32) {
        let there = self.sites.parked.iter().find(|branch| branch.aside.open.has(id));
        if let Some(site) = there.map(|branch| branch.site.clone()) {
            Box::pin(self.visit(&site)).await;
        }
    }

    /// Whether a statement has a cursor, or data that waits for its execution, at another site.
    pub(super) fn is_open_elsewhere(&self, id: u32) -> bool {
        self.sites.parked.iter().any(|branch| branch.aside.open.has(id))
    }

    /// These end; `sources` are all that the statement may be known as there.
    pub(super) fn close_elsewhere(&mut self, id: u32, sources: &[Arc<Source>]) {
        for mut branch in mem::take(&mut self.sites.parked) {
            if branch.aside.open.close(id) {
                sources.iter().for_each(|source| branch.held.statements.remove(source));
                self.show_pins_of(&mut branch, |aside| aside.open.pins(aside.pins));
            }
            if branch.is_open() || branch.is_needed() {
                self.sites.parked.push(branch);
            } else {
                self.show_pins_of(&mut branch, |_| Pins::default());
                self.release(branch.held, false);
            }
        }
    }

    /// Changes the pins of a place where the session is not, and what the metrics show.
    fn show_pins_of(&mut self, branch: &mut Branch, pins: impl Fn(&Aside) -> Pins) {
        let here = mem::replace(&mut self.pins, branch.aside.pins);
        self.set_pins(pins(&branch.aside));
        branch.aside.pins = mem::replace(&mut self.pins, here);
    }

    /// Gives back what is held elsewhere. `leaving`: the session's state there is of no use any more.
    pub(super) fn leave_sites(&mut self) {
        for Branch { held, aside: Aside { pins, .. }, .. } in mem::take(&mut self.sites.parked) {
            let here = mem::replace(&mut self.pins, pins);
            self.release(held, true);
            self.set_pins(Pins::default());
            self.pins = here;
        }
        self.forget_parts();
    }
}
