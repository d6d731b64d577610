//! What the sessions of one core share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::freshness::inquiry::Inquiry;
use super::processes::own_ids::Columns;
use super::readback::sequences::Askers;
use super::readback::variables::Unset;
use super::resume::record::Tapes;
use super::sites::dictionary;
use super::sites::direct::Directory;
use super::sites::listing::Lists;
use super::sites::plans::Plans;
use crate::backend::account::Account;
use crate::backend::pool::Pool;
use crate::config::Config;
use crate::generate::Generators;
use crate::ids::{AccountId, ClientId, ServerId};
use crate::merge::Budget;
use crate::observe::{Digests, Metrics, WorkerMetrics};
use crate::plan::sharded::Modes;
use crate::registry::Registry;
use crate::shard::Charset;
use crate::sql::{Lexing, Literal};
use crate::topology::{Clusters, golden};
use crate::wire::auth::Salt;
use crate::wire::buffer::Freelist;
use crate::wire::capabilities::Capabilities;
use crate::wire::handshake::Attributes;
use crate::wire::socket::Peer;
use crate::wire::stream::Stream;

/// How long an account's access to a database is taken for granted at login.
const SCHEMA_KNOWN: Duration = Duration::from_secs(10);
/// How long nothing waits on a replica that was waited for in vain.
const LATE_FOR: Duration = Duration::from_secs(1);
const SCHEMAS_MAX: usize = 1024;

/// Databases that accounts were let into: when, and in which epoch of the pool's.
type Schemas = HashMap<(AccountId, Vec<u8>), (Instant, u64)>;

/// A client that has become another user, up to the final OK.
#[derive(Debug)]
pub struct NewUser {
    /// The account that it may use now.
    pub account: Arc<Account>,
    /// The database that it named; not checked.
    pub database: Option<Vec<u8>>,
    /// What server connections that are opened for the client show of it.
    pub attributes: Option<Box<Attributes>>,
    /// Its collation's id.
    pub collation: u16,
    /// Sequence number of the final OK.
    pub sequence: u8,
}

/// Who sends a command.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The client.
    pub id: ClientId,
    /// Where it is.
    pub peer: Peer,
}

/// Why a client does not become another user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It has been told why, and the protocol is where the next command may come.
    Told,
    /// Nobody knows what it expects next: the connection must be closed.
    Broken,
}

/// The answer to come of [`Gatekeeper::change_user`].
pub type Changing<'a> = Pin<Box<dyn Future<Output = Result<NewUser, Refusal>> + 'a>>;

/// Who decides which clients come in; implemented above this layer.
pub trait Gatekeeper: Send + Sync {
    /// COM_CHANGE_USER of `caller`, within the time limit of logins. `salt` is the greeting's, for clients that know no other.
    fn change_user<'a>(
        &'a self,
        stream: &'a mut Stream,
        caller: Caller,
        payload: &'a [u8],
        capabilities: Capabilities,
        salt: &'a Salt,
    ) -> Changing<'a>;

    /// Accounts, their passwords or their rights have changed: what was proven must be proven again.
    fn accounts_changed(&self);

    /// A server has refused this account: its password is no longer right.
    fn refused(&self, account: &Account);
}

/// What the sessions of one core share. Lives on one thread.
pub struct Worker {
    parts: Parts,
    /// Statements by digest, where somebody can look at them.
    pub digests: Option<RefCell<Digests>>,
    random: Cell<u64>,
    draws: Cell<u64>,
    /// Replicas on which a wait was in vain, and until when none waits there again.
    late: RefCell<HashMap<ServerId, Instant>>,
    schemas: RefCell<Schemas>,
    /// What the primary has executed by now.
    pub(super) inquiry: Inquiry,
    /// The columns of the servers' tables that list connections, as far as they were asked for.
    pub(super) columns: RefCell<Columns>,
    /// The columns of tables of information_schema that tell of tables, as far as they were asked for.
    pub(super) dictionary: RefCell<dictionary::Columns>,
    /// The columns of sharded tables, as far as they were asked for a moment ago.
    pub(super) lists: RefCell<Lists>,
    pub(super) unset_variables: Unset,
    /// Memory for what is kept of transactions, and what their results' checksums begin with.
    pub(super) tapes: Rc<Tapes>,
    pub(super) sum_seed: u64,
    pub(super) sequence_askers: Askers,
    /// Plans of statements on listed tables.
    pub(super) plans: RefCell<Plans>,
    /// The literals of the statement in hand; kept for their memory.
    pub(super) literals: RefCell<Vec<Literal>>,
    /// Nobody else knows it.
    secret: u128,
}

/// What a worker is made of.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The servers, watched.
    pub clusters: Arc<Clusters>,
    /// This core's server connections.
    pub pool: Rc<Pool>,
    /// This core's buffers.
    pub buffers: Rc<Freelist>,
    /// All sessions of the process.
    pub registry: Arc<Registry>,
    /// Which tables are where.
    pub directory: Arc<ArcSwap<Directory>>,
    /// What values of rows are made from.
    pub generators: Arc<Generators>,
    /// Who lets clients in.
    pub gatekeeper: Arc<dyn Gatekeeper>,
    /// Counters of the process.
    pub metrics: Arc<Metrics>,
    /// Counters of this core.
    pub counters: Arc<WorkerMetrics>,
    /// Bytes held by statements above 1 MiB that are being received, all cores together.
    pub packet_memory: Arc<AtomicUsize>,
    /// What merges keep, all cores together.
    pub merge_memory: Arc<Budget>,
    /// Hashes prepared statements' sources; the same on all cores.
    pub hasher: RandomState,
}

impl Deref for Worker {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Worker {
    /// A worker without sessions.
    pub fn new(parts: Parts) -> Self {
        let counts = parts.config.console.as_ref().is_some_and(|console| console.digests);
        let seed = RandomState::new().hash_one(0);
        let half = || u128::from(RandomState::new().hash_one(1));
        let secret = half() << 64 | half();
        Self {
            parts,
            digests: counts.then(RefCell::default),
            random: Cell::new(seed | 1),
            draws: Cell::new(0),
            late: RefCell::default(),
            schemas: RefCell::default(),
            inquiry: Inquiry::default(),
            columns: RefCell::default(),
            dictionary: RefCell::default(),
            lists: RefCell::default(),
            unset_variables: Unset::default(),
            tapes: Rc::default(),
            sum_seed: RandomState::new().hash_one(0),
            sequence_askers: Askers::default(),
            plans: RefCell::default(),
            literals: RefCell::default(),
            secret,
        }
    }

    /// What shapes of statements are hashed with, where all this decides about their plans.
    pub(super) fn seed(&self, database: &[u8], lexing: Lexing, modes: Modes, charset: Charset) -> u128 {
        let hash = u128::from(self.hasher.hash_one((database, lexing, modes, charset)));
        self.secret ^ (hash << 64 | hash)
    }

    /// A number that spreads evenly (xorshift64*, Vigna 2016); not for secrets.
    pub fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Counts picks of replicas. The first number spreads any run of them over shares as the shares are, closer than by chance: sessions
    /// read on where they have begun, and few of them must spread well, too.
    pub fn draw(&self) -> (u64, u64) {
        let turn = self.draws.get();
        self.draws.set(turn.wrapping_add(1));
        (golden(turn), turn)
    }

    /// Whether reads may wait on this replica for what their session has written.
    pub fn may_wait_at(&self, id: ServerId) -> bool {
        self.late.borrow().get(&id).is_none_or(|until| *until <= Instant::now())
    }

    /// A wait there was in vain: the next ones would be, too.
    pub fn note_late(&self, id: ServerId) {
        self.late.borrow_mut().insert(id, Instant::now() + LATE_FOR);
    }

    /// Whether a server has let this account into this database a moment ago.
    pub fn is_schema_known(&self, account: AccountId, schema: &[u8]) -> bool {
        // The key is cloned: this is the login path, not a statement's.
        let known = self.schemas.borrow().get(&(account, schema.to_vec())).copied();
        known.is_some_and(|(since, epoch)| since.elapsed() < SCHEMA_KNOWN && epoch == self.pool.epoch())
    }

    /// A server has let this account into this database.
    pub fn know_schema(&self, account: AccountId, schema: &[u8]) {
        let mut schemas = self.schemas.borrow_mut();
        if schemas.len() >= SCHEMAS_MAX {
            schemas.clear();
        }
        schemas.insert((account, schema.to_vec()), (Instant::now(), self.pool.epoch()));
    }

    /// What the log calls a server.
    pub fn name_of(&self, server: ServerId) -> Arc<str> {
        self.clusters.server(server, |server| Arc::clone(&server.address)).unwrap_or_else(|| "?".into())
    }

    /// Takes `bytes` out of the common budget for large statements; `None` when it is used up.
    pub fn reserve_packet(&self, bytes: usize) -> Option<Reserved> {
        let max = self.config.limits.packet_memory_max;
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= max);
        self.packet_memory.fetch_update(Relaxed, Relaxed, fits).ok()?;
        Some(Reserved { budget: Arc::clone(&self.packet_memory), bytes })
    }
}

/// A part of the budget for large statements.
#[derive(Debug)]
pub struct Reserved {
    budget: Arc<AtomicUsize>,
    bytes: usize,
}

impl Reserved {
    /// Makes two parts one.
    pub fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.fetch_sub(self.bytes, Relaxed);
    }
}
