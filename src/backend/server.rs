//! One server as one core sees it: its settings, and what is common to all connections to it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use super::account::Witness;
use super::connect::{Dialing, Place};
use super::connection::Connection;
use super::epoch::Epoch;
use super::exchange::ExchangeError;
use super::gate::Gate;
use super::room::Room;
use super::spill::Spill;
use crate::config;
use crate::ids::ServerId;
use crate::observe::PoolMetrics;
use crate::sql::Dialect;
use crate::wire::buffer::Buffer;
use crate::wire::track::Shown;

/// What all cores share about one server.
#[derive(Debug)]
pub struct Shared {
    /// Which server.
    pub id: ServerId,
    /// Where it is.
    pub place: Place,
    /// Who learns whom it lets in.
    pub witness: Arc<dyn Witness>,
    /// Their common limit.
    pub gate: Arc<Gate<Box<Connection>>>,
    /// For statements that need several.
    pub room: Arc<Room>,
    /// How session tracking is turned on; asked from the server once.
    tracking: OnceLock<Tracking>,
    in_use: AtomicU32,
    /// Of these, those on which nothing runs.
    resting: AtomicU32,
    /// Sessions for which a connection is opened or waited for.
    coming: AtomicU32,
    /// Counters of its connections.
    pub metrics: Arc<PoolMetrics>,
    common: Arc<Common>,
    closing: AtomicBool,
    gone: AtomicBool,
}

/// What the servers of a cluster have in common.
#[derive(Debug)]
pub struct Common {
    /// How servers are connected to.
    pub dialing: Dialing,
    /// How connections are kept; another value after a reload.
    pub settings: ArcSwap<config::Pool>,
    /// Reads on the primary that were meant for a replica.
    pub spill: Arc<Spill>,
    epoch: Arc<Epoch>,
}

impl Common {
    /// With these settings, until a reload.
    pub fn new(dialing: Dialing, settings: config::Pool, epoch: Arc<Epoch>) -> Self {
        Self { dialing, settings: ArcSwap::from_pointee(settings), spill: Arc::default(), epoch }
    }
}

/// Who knows all servers; implemented above this layer.
pub trait Directory: Send + Sync {
    /// The server with this id, unless it is gone.
    fn find(&self, id: ServerId) -> Option<Arc<Shared>>;
}

impl fmt::Debug for dyn Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Directory")
    }
}

impl Shared {
    /// A server that no connection has been made to yet.
    pub fn new(
        id: ServerId,
        place: Place,
        common: Arc<Common>,
        witness: Arc<dyn Witness>,
        metrics: Arc<PoolMetrics>,
    ) -> Self {
        let settings = common.settings.load();
        let gate = Arc::new(Gate::new(settings.max, settings.queue));
        let [in_use, resting, coming] = [(); 3].map(|()| AtomicU32::new(0));
        let tracking = OnceLock::new();
        let (closing, gone) = (AtomicBool::new(false), AtomicBool::new(false));
        let room = Arc::default();
        Self {
            id,
            place,
            witness,
            gate,
            room,
            tracking,
            in_use,
            resting,
            coming,
            metrics,
            common,
            closing,
            gone,
        }
    }

    /// How it is connected to.
    pub fn dialing(&self) -> &Dialing {
        &self.common.dialing
    }

    /// How connections to it are kept.
    pub fn settings(&self) -> Guard<Arc<config::Pool>> {
        self.common.settings.load()
    }

    /// Reads of its cluster on the primary that were meant for a replica, of all cores.
    pub fn spill(&self) -> &Arc<Spill> {
        &self.common.spill
    }

    /// See [`Epoch`].
    pub fn epoch(&self) -> u64 {
        self.common.epoch.now()
    }

    /// See [`Epoch::globals`].
    pub fn globals(&self) -> u64 {
        self.common.epoch.globals()
    }

    /// It takes nothing new: connections end as they are given back, and nobody waits for one. Or it does again.
    pub fn set_closing(&self, closing: bool) {
        self.closing.store(closing, SeqCst);
        if closing {
            self.gate.dismiss();
        }
    }

    /// Whether it takes nothing new.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Relaxed)
    }

    /// The pools may forget it: it is never used again.
    pub fn set_gone(&self) {
        self.gone.store(true, SeqCst);
    }

    /// Whether a connection that comes back must end.
    pub(super) fn must_close(&self) -> bool {
        self.is_closing() || self.gate.is_crowded()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// Connections that sessions of all cores have leased.
    pub fn in_use(&self) -> u32 {
        self.in_use.load(Relaxed)
    }

    /// Sessions of all cores that have a connection, or wait for one.
    pub fn engaged(&self) -> u32 {
        self.in_use().saturating_add(self.coming.load(Relaxed))
    }

    /// Of these, those that are not silent: requests in flight.
    pub fn running(&self) -> u32 {
        self.engaged().saturating_sub(self.resting.load(Relaxed))
    }

    /// A lease begins.
    pub(super) fn lease_begins(&self) {
        self.in_use.fetch_add(1, Relaxed);
    }

    /// A lease ends.
    pub(super) fn lease_ends(&self) {
        self.in_use.fetch_sub(1, Relaxed);
    }
}

/// A session waits for a connection.
#[derive(Debug)]
pub(super) struct Coming(Arc<Shared>);

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.coming.fetch_sub(1, Relaxed);
    }
}

/// A session keeps a connection and is silent.
#[derive(Debug)]
pub struct Resting(Arc<Shared>);

impl Drop for Resting {
    fn drop(&mut self) {
        self.0.resting.fetch_sub(1, Relaxed);
    }
}

/// How session tracking is turned on, and what it was before.
#[derive(Clone, Debug)]
struct Tracking {
    statement: Arc<[u8]>,
    shown: Arc<Shown>,
    /// The server's product.
    dialect: Dialect,
}

/// One server on one core.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
    /// The core's number.
    pub home: usize,
}

impl std::ops::Deref for Server {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl Server {
    /// The view of core `home`.
    pub fn new(shared: Arc<Shared>, home: usize) -> Self {
        Self { shared, home }
    }

    /// A session waits for a connection, until this is dropped.
    pub(super) fn come(&self) -> Coming {
        self.coming.fetch_add(1, Relaxed);
        Coming(Arc::clone(&self.shared))
    }

    /// A session that keeps a connection is silent, until this is dropped.
    pub fn rest(&self) -> Resting {
        self.resting.fetch_add(1, Relaxed);
        Resting(Arc::clone(&self.shared))
    }

    /// A lifetime for one connection: the configured one less a random part, so that they do not all end together.
    pub(super) fn lifetime(&self) -> Duration {
        let random = u32::from(super::random_byte());
        let settings = self.common.settings.load();
        let percent = settings.lifetime_jitter_percent.min(100) * random / 255;
        settings.lifetime - settings.lifetime / 100 * percent
    }

    /// Turns session tracking on for everything that [`super::state::State`] replays.
    ///
    /// MySQL with `*` reports `statement_id` after every statement (tried on 9.7.4), so the variables are named.
    ///
    /// # Errors
    /// The server's or the network's; the connection must be closed then.
    pub async fn track(&self, connection: &mut Connection, buffer: &mut Buffer) -> Result<(), ExchangeError> {
        let tracking = match self.tracking.get() {
            Some(tracking) => tracking.clone(),
            None => {
                let made = prepare_tracking(connection, buffer).await?;
                self.tracking.get_or_init(|| made).clone()
            }
        };
        connection.run(&tracking.statement, buffer).await?.into_ok()?;
        connection.shown = tracking.shown;
        connection.dialect = tracking.dialect;
        Ok(())
    }
}

async fn prepare_tracking(
    connection: &mut Connection,
    buffer: &mut Buffer,
) -> Result<Tracking, ExchangeError> {
    let version = connection.run(b"SELECT VERSION()", buffer).await?.into_ok()?;
    let maria = version.value().is_some_and(|text| super::dialect_of(text) == Dialect::MariaDb);
    let names = if maria {
        b"*".to_vec()
    } else {
        let variables = connection.run(b"SHOW SESSION VARIABLES", buffer).await?.into_ok()?;
        let names = variables.rows.iter().filter_map(|row| row.first()?.as_deref());
        names.filter(|name| *name != b"statement_id" && is_plain(name)).collect::<Vec<_>>().join(&b',')
    };
    let mut shown = Shown::default();
    shown.choose(connection.chosen(buffer).await?.each_ref().map(Option::as_deref));
    let gtids: &[u8] = if maria { b"" } else { b",session_track_gtids=OWN_GTID" };
    let statement = [
        b"SET SESSION session_track_schema=ON,session_track_state_change=ON,session_track_system_variables='",
        &names[..],
        b"'",
        gtids,
    ]
    .concat();
    let dialect = if maria { Dialect::MariaDb } else { Dialect::MySql };
    Ok(Tracking { statement: statement.into(), shown: Arc::new(shown), dialect })
}

fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
}
