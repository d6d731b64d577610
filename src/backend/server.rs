//! One server as one core sees it: its settings, and what is common to all connections to it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::account::Witness;
use super::connect::Dialing;
use super::connection::Connection;
use super::exchange::ExchangeError;
use super::gate::Gate;
use crate::config;
use crate::ids::ServerId;
use crate::sql::Dialect;
use crate::wire::buffer::Buffer;
use crate::wire::track::Shown;

/// What all cores share about one server.
#[derive(Debug)]
pub struct Shared {
    /// Which server.
    pub id: ServerId,
    /// Where it is.
    pub config: config::Server,
    /// How it is connected to.
    pub dialing: Arc<Dialing>,
    /// Who learns whom it lets in.
    pub witness: Arc<dyn Witness>,
    /// Their common limit.
    pub gate: Arc<Gate<Box<Connection>>>,
    /// How session tracking is turned on; asked from the server once.
    tracking: OnceLock<Tracking>,
    epoch: AtomicU64,
    in_use: AtomicU32,
}

impl Shared {
    /// A server that no connection has been made to yet.
    pub fn new(
        id: ServerId,
        config: config::Server,
        dialing: Arc<Dialing>,
        witness: Arc<dyn Witness>,
        pool: &config::Pool,
    ) -> Self {
        let gate = Arc::new(Gate::new(pool.max, pool.queue));
        let (epoch, in_use) = (AtomicU64::new(0), AtomicU32::new(0));
        Self { id, config, dialing, witness, gate, tracking: OnceLock::new(), epoch, in_use }
    }

    /// How often accounts or their rights have changed through Tidegate. A server gives a connection the rights that its
    /// account has at the login, and those on a database at USE; a new session expects new ones.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Relaxed)
    }

    /// Connections that sessions of all cores have leased.
    pub fn in_use(&self) -> u32 {
        self.in_use.load(Relaxed)
    }

    /// A lease begins.
    pub(super) fn lease_begins(&self) {
        self.in_use.fetch_add(1, Relaxed);
    }

    /// A lease ends.
    pub(super) fn lease_ends(&self) {
        self.in_use.fetch_sub(1, Relaxed);
    }

    /// They have changed.
    pub fn next_epoch(&self) {
        self.epoch.fetch_add(1, Relaxed);
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
    /// Longest life of a connection.
    lifetime: Duration,
    jitter_percent: u32,
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
    pub fn new(shared: Arc<Shared>, pool: &config::Pool, home: usize) -> Self {
        Self { shared, lifetime: pool.lifetime, jitter_percent: pool.lifetime_jitter_percent, home }
    }

    /// A lifetime for one connection: the configured one less a random part, so that they do not all end together.
    pub(super) fn lifetime(&self) -> Duration {
        let random = u32::from(super::random_byte());
        let percent = self.jitter_percent.min(100) * random / 255;
        self.lifetime - self.lifetime / 100 * percent
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
