//! Idle connections of one core, and how a session gets one.
//!
//! Owns: the idle connections of this core to every server; `ladder`: how one comes back; `upkeep`: what is done about once a second. Does not know: clients, statements.
//! Invariant: a connection that is handed out belongs to the account and class asked for, is logged in, outside a
//! transaction, and its `state` is known. What threads share is the gate of each server.

mod ladder;
mod upkeep;

use std::cell::{Cell, RefCell};
use std::hash::BuildHasher;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::upkeep::User;
use super::account::Account;
use super::class::Class;
use super::connect::{ConnectError, Opening};
use super::connection::{Connection, Key, User as Session};
use super::epoch::{Before, Epoch};
use super::gate::{Grant, Offer, Permit};
use super::room::{self, Entry};
use super::server::{Directory, Server};
use super::spill::{Line, Spilled};
use super::state::State;
use crate::ids::{BackendId, ServerId};
use crate::observe::PoolMetrics;
use crate::wire::buffer::Freelist;

/// Time to read back what a session has on a connection that is to be closed.
const DEBT_LIMIT: Duration = Duration::from_secs(1);

/// How many idle connections are looked at for one whose state is already right.
const LOOK_AT: usize = 8;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Connecting failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// As many sessions wait as may.
    #[error("the queue for a connection is full")]
    QueueFull,
    /// None came free in time.
    #[error("no connection came free in time")]
    QueueTimeout,
    /// The server takes nothing new any more.
    #[error("the server takes nothing new")]
    Leaving,
    /// The statement needs more at once than the server may have.
    #[error(
        "the statement needs {wanted} connections to one server at once, which may have {max} (pool.max)"
    )]
    TooSmall {
        /// So many.
        wanted: usize,
        /// And no more there are.
        max: usize,
    },
}

/// Asks another core to give up idle connections to a server that sessions wait for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted(pub ServerId);

/// The connections that nobody uses, by server and by what they are good for.
type Idle = FxHashMap<(ServerId, Key), Vec<Box<Connection>>>;

/// The pool of one core.
#[derive(Debug)]
pub struct Pool {
    /// By id, as far as they were used here; those that are gone are empty.
    servers: RefCell<Vec<Option<Rc<Server>>>>,
    directory: Arc<dyn Directory>,
    epoch: Arc<Epoch>,
    idle: RefCell<Idle>,
    hasher: std::hash::RandomState,
    others: Vec<mpsc::UnboundedSender<Wanted>>,
    buffers: Rc<Freelist>,
    home: usize,
    /// Who has used which server lately, where `min_idle` asks for it.
    users: RefCell<FxHashMap<(ServerId, Key), User>>,
    refilling: Cell<bool>,
    closed: Cell<bool>,
}

impl Pool {
    /// The pool of core `home`. `hasher` is the same on all cores; `others` are the other cores' mailboxes.
    pub fn new(
        directory: Arc<dyn Directory>,
        epoch: Arc<Epoch>,
        hasher: std::hash::RandomState,
        others: Vec<mpsc::UnboundedSender<Wanted>>,
        buffers: Rc<Freelist>,
        home: usize,
    ) -> Self {
        Self {
            servers: RefCell::default(),
            directory,
            epoch,
            idle: RefCell::default(),
            hasher,
            others,
            buffers,
            home,
            users: RefCell::default(),
            refilling: Cell::new(false),
            closed: Cell::new(false),
        }
    }

    /// Accounts, their rights or global variables have changed: connections that are open now do not serve clients that log in from now on.
    pub fn age(&self) {
        self.epoch.next();
    }

    /// How often that has happened.
    pub fn epoch(&self) -> u64 {
        self.epoch.now()
    }

    /// The number of the last change of a global variable, see [`Epoch`].
    pub fn globals(&self) -> u64 {
        self.epoch.globals()
    }

    /// Global variables were changed; this is what they were before.
    pub fn note_globals(&self, before: Vec<Before>) {
        self.epoch.note_globals(before);
    }

    /// What was changed between these changes, as it was before, see [`Epoch`].
    pub fn globals_between(&self, seen: u64, last: u64) -> Vec<Before> {
        self.epoch.globals_between(seen, last)
    }

    /// A place on `primary` for a read that was meant for a replica, one of `max` of its cluster, all cores together.
    pub fn spill(&self, primary: ServerId, max: usize, line: Option<&Line>) -> Option<Spilled> {
        self.server(primary)?.spill().enter(max, line)
    }

    /// Stands in line for such a place; `None` where as many wait as may.
    pub fn stand_in_line(&self, primary: ServerId) -> Option<Line> {
        let server = self.server(primary)?;
        server.spill().stand(server.settings().queue, Some(Arc::clone(&server.metrics)))
    }

    /// Room for up to `wanted` connections to the server at once; for fewer where it has not so many and the statement is `divisible`.
    /// Statements that need several at several servers ask in the order of the servers' ids.
    ///
    /// # Errors
    /// The server has not so many, or it takes too long.
    pub async fn enter(
        &self,
        id: ServerId,
        wanted: usize,
        divisible: bool,
    ) -> Result<room::Place, LeaseError> {
        let Some(server) = self.server(id) else { return Err(LeaseError::Leaving) };
        let (max, queue, patience) = {
            let settings = server.settings();
            (settings.max, settings.queue, settings.queue_timeout)
        };
        let count = if divisible { room::share(wanted, max) } else { wanted };
        if count > max {
            return Err(LeaseError::TooSmall { wanted, max });
        }
        let granted = match server.room.enter(count, max, queue) {
            Entry::Now(place) => return Ok(place),
            Entry::Later(granted) => granted,
            Entry::Full => return Err(LeaseError::QueueFull),
        };
        let _waiting = Waiting::begin(&server.metrics);
        match timeout(patience, granted).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(LeaseError::Leaving),
            Err(_) => Err(LeaseError::QueueTimeout),
        }
    }

    /// One server's shared side; `None` once it is gone.
    pub fn server(&self, id: ServerId) -> Option<Rc<Server>> {
        let known = self.servers.borrow().get(usize::from(id.0)).cloned().flatten();
        known.or_else(|| self.meet(id))
    }

    /// A server that was not used on this core before.
    fn meet(&self, id: ServerId) -> Option<Rc<Server>> {
        let server = Rc::new(Server::new(self.directory.find(id)?, self.home));
        let (mut servers, place) = (self.servers.borrow_mut(), usize::from(id.0));
        if servers.len() <= place {
            servers.resize(place + 1, None);
        }
        servers[place] = Some(Rc::clone(&server));
        Some(server)
    }

    /// This core's part of the configured `min_idle`.
    fn min_idle(&self, server: &Server) -> usize {
        let (all, cores) = (server.settings().min_idle, self.others.len() + 1);
        all / cores + usize::from(self.home < all % cores)
    }

    /// Whether connections are kept for accounts in use.
    pub fn keeps_some_idle(&self) -> bool {
        self.servers.borrow().iter().flatten().any(|server| self.min_idle(server) > 0)
    }

    /// A connection to `server` for `account`, best one whose state is `wanted` already and on which nothing of another
    /// client than `user` must be seen to first. One that must be opened is opened as `opening` says.
    ///
    /// # Errors
    /// See [`LeaseError`]; waits at most `queue_timeout` plus `connect_timeout`.
    pub async fn lease(
        &self,
        server: ServerId,
        account: &Arc<Account>,
        class: Class,
        wanted: &State,
        user: Option<Session>,
        opening: Opening<'_>,
    ) -> Result<Box<Connection>, LeaseError> {
        let key = Key { account: account.id, class };
        let connection = match self.take_idle(server, key, wanted, user) {
            Some(connection) => connection,
            None => {
                self.lease_slow(server, account, key, wanted, opening, user.map_or(0, |user| user.epoch))
                    .await?
            }
        };
        self.leased(server);
        Ok(connection)
    }

    /// The connection with this thread id, if it lies idle here.
    pub fn take_exactly(&self, server: ServerId, key: Key, id: BackendId) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(&(server, key))?;
        let at = list.iter().position(|connection| connection.id == id)?;
        let mut connection = list.remove(at);
        if connection.is_stale() {
            drop(idle);
            self.close(connection);
            return None;
        }
        self.leased(server);
        Some(connection)
    }

    /// Whether the connection with this thread id lies idle here, and this session used it last.
    pub fn was_last_used_by(&self, server: ServerId, key: Key, id: BackendId, user: Session) -> bool {
        let idle = self.idle.borrow();
        let of = idle.get(&(server, key)).into_iter().flatten();
        of.rev().any(|connection| connection.id == id && connection.user == Some(user))
    }

    fn take_idle(
        &self,
        server: ServerId,
        key: Key,
        wanted: &State,
        user: Option<Session>,
    ) -> Option<Box<Connection>> {
        let epoch = user.map_or(0, |user| user.epoch);
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(&(server, key))?;
        loop {
            let free = |c: &Connection| c.epoch >= epoch && (c.watched_by.is_none() || c.watched_by == user);
            let usable = |c: &Connection| free(c) && wanted.is_reachable_from(&c.state);
            let recent = || list.iter().enumerate().rev().take(LOOK_AT);
            let same = |c: &Connection| free(c) && (std::ptr::eq(&*c.state, wanted) || *c.state == *wanted);
            let clean = |c: &Connection| c.debt.is_none() && (c.routine_of.is_none() || c.routine_of == user);
            // Where the session has its LAST_INSERT_ID(), nothing need be read back.
            let own = |c: &Connection| c.debt.is_some() && c.user == user;
            let (at, _) = recent()
                .find(|(_, c)| own(c) && same(c))
                .or_else(|| recent().find(|(_, c)| clean(c) && same(c)))
                .or_else(|| recent().find(|(_, c)| same(c)))
                .or_else(|| list.iter().enumerate().rev().find(|(_, c)| usable(c)))?;
            let mut connection = list.remove(at);
            if !connection.is_stale() {
                return Some(connection);
            }
            self.count(server, PoolMetrics::closed);
            settle_debt(&mut connection);
        }
    }

    async fn lease_slow(
        &self,
        id: ServerId,
        account: &Arc<Account>,
        key: Key,
        wanted: &State,
        opening: Opening<'_>,
        epoch: u64,
    ) -> Result<Box<Connection>, LeaseError> {
        let Some(server) = self.server(id) else {
            return Err(LeaseError::Leaving);
        };
        let _coming = server.come();
        if let Some(permit) = server.gate.try_permit() {
            return self.open(&server, account, key.class, opening, permit).await;
        }
        if let Some(mut other) = self.take_any(id) {
            self.spare_debt(&mut other).await;
            self.close_now(other);
        }
        let kind = self.kind(key, wanted);
        let granted = server.gate.wait(kind);
        if server.is_closing() {
            return Err(LeaseError::Leaving); // looked at behind the wait's beginning: who came later is not sent away
        }
        let granted = granted.ok_or(LeaseError::QueueFull)?;
        let _waiting = Waiting::begin(&server.metrics);
        for other in &self.others {
            // A core that is shutting down has nothing to give.
            let _ = other.send(Wanted(id));
        }
        let patience = server.settings().queue_timeout;
        match timeout(patience, granted).await {
            Err(_) => Err(LeaseError::QueueTimeout),
            Ok(Err(_)) => Err(LeaseError::Leaving),
            Ok(Ok(Grant::Permit(permit))) => self.open(&server, account, key.class, opening, permit).await,
            // Logged in before the accounts changed that the session has logged in after.
            Ok(Ok(Grant::Connection(mut connection))) if connection.epoch < epoch => {
                self.count(id, PoolMetrics::closed);
                self.spare_debt(&mut connection).await;
                settle_debt(&mut connection);
                self.open(&server, account, key.class, opening, connection.into_permit()).await
            }
            Ok(Ok(Grant::Connection(connection))) => Ok(self.at_home(connection)?),
        }
    }

    async fn open(
        &self,
        server: &Server,
        account: &Arc<Account>,
        class: Class,
        opening: Opening<'_>,
        permit: Permit<Box<Connection>>,
    ) -> Result<Box<Connection>, LeaseError> {
        let limit = server.settings().connect_timeout;
        let opened = Connection::open(server, account, class, opening, permit, &self.buffers, limit).await;
        if opened.is_ok() {
            server.metrics.opened()
        } else {
            server.metrics.failed()
        }
        let connection = Box::new(opened?);
        if self.min_idle(server) > 0 {
            let user = User { account: Arc::clone(account), seen: Instant::now() };
            self.users.borrow_mut().insert((server.id, connection.key), user);
        }
        Ok(connection)
    }

    /// A connection of another core's has its socket watched here from now on. TLS ones stay where they are: they
    /// work from every core, only a wake-up further away.
    fn at_home(&self, mut connection: Box<Connection>) -> Result<Box<Connection>, ConnectError> {
        if connection.home != self.home && !connection.stream.is_tls() {
            connection.move_home(self.home)?;
        }
        Ok(connection)
    }

    /// Puts a clean connection where the next session finds it: with who waits, or with the idle ones.
    fn keep(self: &Rc<Self>, mut connection: Box<Connection>) {
        let Some(server) = self.server(connection.server) else { return };
        if server.must_close() {
            return self.close(connection);
        }
        if server.gate.is_wanted() {
            if connection.watched_by.is_some() || connection.is_stale() {
                return self.close_now(connection); // who waits opens another
            }
            // A debt goes along: who gets the connection reads it back, on whichever core.
            match server.gate.offer(self.kind(connection.key, &connection.state), connection) {
                Ok(()) => return,
                Err((mut back, Offer::Close)) => {
                    if back.debt.is_none() {
                        return self.close_now(back);
                    }
                    let pool = Rc::clone(self);
                    tokio::task::spawn_local(async move {
                        pool.spare_debt(&mut back).await;
                        pool.close_now(back);
                    });
                    return;
                }
                Err((back, Offer::Unwanted)) => connection = back,
            }
        }
        self.idle.borrow_mut().entry((connection.server, connection.key)).or_default().push(connection);
    }

    /// Another core's sessions wait for connections to `server`: gives up what lies idle here.
    pub fn donate(self: &Rc<Self>, server: ServerId) {
        while self.server(server).is_some_and(|server| server.gate.is_wanted()) {
            match self.take_any(server) {
                Some(connection) => self.keep(connection),
                None => return,
            }
            if self.idle.borrow().iter().any(|((id, _), list)| *id == server && !list.is_empty()) {
                continue;
            }
            return;
        }
    }

    fn take_any(&self, server: ServerId) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        let (_, list) = idle.iter_mut().find(|((id, _), list)| *id == server && !list.is_empty())?;
        Some(list.remove(0))
    }

    /// Closes every idle connection to `server`, or to all, for an account whose password is no longer right or a
    /// server that is gone.
    pub fn forget(&self, doomed: impl Fn(ServerId, Key) -> bool) {
        let mut closing = Vec::new();
        self.idle.borrow_mut().retain(|(server, key), list| {
            let keep = !doomed(*server, *key);
            if !keep {
                closing.append(list);
            }
            keep
        });
        closing.into_iter().for_each(|connection| self.close(connection));
    }

    /// Closes what is idle and everything that is checked in from now on.
    pub fn shut_down(&self) {
        self.closed.set(true);
        self.forget(|_, _| true);
    }

    /// Idle connections of this core to one server.
    pub fn idle(&self, server: ServerId) -> usize {
        self.idle.borrow().iter().filter(|((id, _), _)| *id == server).map(|(_, list)| list.len()).sum()
    }

    fn kind(&self, key: Key, state: &State) -> u64 {
        self.hasher.hash_one((key, state.schema.is_empty(), state.role.is_some()))
    }

    fn close(&self, mut connection: Box<Connection>) {
        self.count(connection.server, PoolMetrics::closed);
        settle_debt(&mut connection);
        connection.close();
    }

    /// Reads back the LAST_INSERT_ID() that a session has there, before the connection is closed for others.
    async fn spare_debt(&self, connection: &mut Connection) {
        if connection.debt.is_some() && !connection.is_stale() {
            let mut buffer = self.buffers.take();
            // What cannot be read is taken from what the server has told.
            let _ = timeout(DEBT_LIMIT, connection.pay_debt(&mut buffer)).await;
        }
    }

    /// Closes without goodbye, so that the permit is free at once.
    fn close_now(&self, mut connection: Box<Connection>) {
        self.count(connection.server, PoolMetrics::closed);
        settle_debt(&mut connection);
    }

    fn leased(&self, server: ServerId) {
        if let Some(server) = self.server(server) {
            server.lease_begins();
            server.metrics.leased();
        }
    }

    fn count(&self, server: ServerId, count: impl Fn(&PoolMetrics)) {
        if let Some(server) = self.server(server) {
            count(&server.metrics);
        }
    }
}

/// Counts a session that waits, until it no longer does.
struct Waiting<'a> {
    pool: &'a PoolMetrics,
    since: Instant,
}

impl<'a> Waiting<'a> {
    fn begin(pool: &'a PoolMetrics) -> Self {
        pool.wait_begins();
        Self { pool, since: Instant::now() }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.pool.wait_ends(self.since.elapsed());
    }
}

/// The connection goes where its value cannot be read back: the OK packet's word must do.
fn settle_debt(connection: &mut Connection) {
    if let Some(debt) = connection.debt.take() {
        debt.settle(connection.server, connection.id, None);
    }
}
