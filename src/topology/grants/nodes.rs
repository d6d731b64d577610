//! Leases the node of this instance's snowflakes (`generate`) at the home's primary.
//!
//! Owns: the tables, the statements about them, and when a lease may be used. Does not know: what is made from it.
//! Invariant: two instances never make numbers of one node for one time. A row says up to which time in the numbers a node may have been
//! used; that is written before it is used, and whoever gets the node next begins behind it. What a failover can lose is only what was
//! written a moment before it: so a lease that is taken on a primary that has been one for less than [`TERM`] is not used before that is
//! over, by when every lease that was lost with the old primary has run out; and a node rests for an hour before another gets it.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::super::monitor::Topology;
use super::super::probe::{Target, not_understood};
use super::LIMIT;
use crate::generate::{Generators, Grant, NODES, milliseconds};

/// How long a lease lasts.
pub const TERM: Duration = Duration::from_secs(10);
/// How often it is renewed.
const RENEW: Duration = Duration::from_millis(2500);
/// Nodes that are tried before the next look at what is free.
const TRIES: u64 = 4;
const MAKE: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS tidegate.id_nodes (node SMALLINT UNSIGNED NOT NULL PRIMARY KEY, owner VARCHAR(64) NOT NULL, \
     used_to BIGINT UNSIGNED NOT NULL, expires DATETIME(3) NOT NULL) ENGINE = InnoDB",
    "CREATE TABLE IF NOT EXISTS tidegate.id_home (id TINYINT UNSIGNED NOT NULL PRIMARY KEY, server BIGINT UNSIGNED NOT NULL, \
     since DATETIME(3) NOT NULL) ENGINE = InnoDB",
];
/// When a row of `id_nodes` is nobody's any more.
const RESTED: &str = "expires <= UTC_TIMESTAMP(3) - INTERVAL 1 HOUR";

/// A node that is leased.
#[derive(Clone, Copy, Debug)]
struct Held {
    node: u16,
    /// Numbers of it have this time at least.
    from_ms: u64,
    /// It may be used from then on.
    settles: Instant,
}

/// Who leases.
struct Keeper {
    generators: Arc<Generators>,
    owner: String,
    held: Mutex<Option<Held>>,
}

/// Keeps a node leased for as long as the task lives, once the rules need one.
pub async fn keep_node(topology: Arc<Topology>, generators: Arc<Generators>) {
    let random = |seed: u8| RandomState::new().hash_one(seed);
    let owner = format!("{:016x}{:016x}", random(0), random(1));
    let keeper = Arc::new(Keeper { generators: Arc::clone(&generators), owner, held: Mutex::default() });
    let without =
        "no node can be leased for generated ids (`generate`): without one, INSERTs that need an id fail";
    super::at_primary(topology, without, || generators.wanted(), |target| Arc::clone(&keeper).keep(target))
        .await;
}

impl Keeper {
    /// Leases and renews by one connection until something fails.
    async fn keep(self: Arc<Self>, target: Target) -> Result<(), Error> {
        let late = |_| not_understood("no answer in time");
        let (mut connection, _) = timeout(LIMIT, target.connect()).await.map_err(late)??;
        timeout(LIMIT, super::enter(&mut connection)).await.map_err(late)??;
        let mut server = None;
        loop {
            let step = async {
                match self.held() {
                    Some(held) if self.renew(&mut connection, held).await? => Ok(()),
                    Some(held) => {
                        warn!(
                            node = held.node,
                            "the node for generated ids is another instance's: a new one is leased"
                        );
                        self.generators.snowflakes.lose();
                        *self.lock() = None;
                        self.acquire(&mut connection, &mut server).await
                    }
                    None => self.acquire(&mut connection, &mut server).await,
                }
            };
            timeout(LIMIT, step).await.map_err(late)??;
            let settles = self.held().map(|held| held.settles.saturating_duration_since(Instant::now()));
            let pause = settles.filter(|left| !left.is_zero()).map_or(RENEW, |left| left.min(RENEW));
            let hurried = async {
                self.generators.hurried().await;
                // What is not good yet is not good earlier for it; and who waits may wait for what is not to be had.
                sleep(Duration::from_millis(20)).await;
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = hurried, if settles.is_none_or(|left| left.is_zero()) => {}
            }
        }
    }

    /// Renews it; false where it is no longer ours.
    async fn renew(&self, connection: &mut Conn, held: Held) -> Result<bool, Error> {
        let (asked, until_ms) = (Instant::now(), self.until_ms());
        let sql = format!(
            "UPDATE tidegate.id_nodes SET used_to = GREATEST(used_to, {until_ms}), expires = UTC_TIMESTAMP(3) + INTERVAL {} SECOND \
             WHERE node = {} AND owner = '{}'",
            TERM.as_secs(),
            held.node,
            self.owner
        );
        connection.query_drop(sql).await?;
        if connection.affected_rows() == 0 {
            let sql = format!(
                "SELECT COUNT(*) FROM tidegate.id_nodes WHERE node = {} AND owner = '{}' AND used_to >= {until_ms}",
                held.node, self.owner
            );
            // The row was as it should be.
            if connection.query_first::<u64, _>(sql).await? != Some(1) {
                return Ok(false);
            }
        }
        self.grant(held, asked, until_ms);
        Ok(true)
    }

    /// Leases a node that nobody has.
    async fn acquire(&self, connection: &mut Conn, server: &mut Option<u64>) -> Result<(), Error> {
        let settles_in = settle(connection, server).await?;
        for _ in 0..TRIES {
            let (asked, until_ms) = (Instant::now(), self.until_ms());
            let from_ms = until_ms.saturating_sub(millis(TERM));
            let taken =
                format!("SELECT node FROM tidegate.id_nodes WHERE NOT ({RESTED}) OR used_to > {from_ms}");
            let taken: Vec<u16> = connection.query(taken).await?;
            let free: Vec<u16> = (0..NODES).filter(|node| !taken.contains(node)).collect();
            let random = RandomState::new().hash_one(0u8);
            let Some(node) = free.get(usize::try_from(random % free.len().max(1) as u64).unwrap_or_default())
            else {
                return Err(not_understood("all nodes are leased, or were within the last hour"));
            };
            let row = format!(
                "'{}', {until_ms}, UTC_TIMESTAMP(3) + INTERVAL {} SECOND",
                self.owner,
                TERM.as_secs()
            );
            connection
                .query_drop(format!("INSERT IGNORE INTO tidegate.id_nodes VALUES ({node}, {row})"))
                .await?;
            if connection.affected_rows() == 0 {
                let update = format!(
                    "UPDATE tidegate.id_nodes SET owner = '{}', used_to = {until_ms}, expires = UTC_TIMESTAMP(3) + INTERVAL {} SECOND \
                     WHERE node = {node} AND {RESTED} AND used_to <= {from_ms}",
                    self.owner,
                    TERM.as_secs()
                );
                connection.query_drop(update).await?;
                if connection.affected_rows() == 0 {
                    continue; // another instance was faster
                }
            }
            let held = Held { node: *node, from_ms, settles: asked + settles_in };
            *self.lock() = Some(held);
            info!(node, settles_in = ?settles_in, "a node is leased for generated ids");
            self.grant(held, asked, until_ms);
            return Ok(());
        }
        Err(not_understood("other instances lease all nodes that are tried"))
    }

    /// Lets numbers be made by it, where it may be used by now.
    fn grant(&self, held: Held, asked: Instant, until_ms: u64) {
        let Held { node, from_ms, settles } = held;
        if settles > Instant::now() {
            self.generators.snowflakes.settles(settles);
        } else {
            self.generators.snowflakes.grant(Grant { node, from_ms, until_ms, ends: asked + TERM });
        }
        self.generators.tell();
    }

    /// Up to when numbers may go, once that is written.
    fn until_ms(&self) -> u64 {
        milliseconds().max(self.generators.snowflakes.reached_ms()) + millis(TERM)
    }

    fn held(&self) -> Option<Held> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long a lease that is taken now is not to be used: until what was leased at another primary before has run out.
async fn settle(connection: &mut Conn, server: &mut Option<u64>) -> Result<Duration, Error> {
    let server = match *server {
        Some(known) => known,
        None => *server.insert(super::server_id(connection).await?),
    };
    let note = format!("INSERT IGNORE INTO tidegate.id_home VALUES (1, {server}, UTC_TIMESTAMP(3))");
    match connection.query_drop(&note).await {
        Err(error) if super::is_absent(&error) => {
            super::make(connection, &MAKE).await?;
            connection.query_drop(note).await?;
        }
        noted => noted?,
    }
    let moved = "UPDATE tidegate.id_home SET since = UTC_TIMESTAMP(3), server =";
    connection.query_drop(format!("{moved} {server} WHERE id = 1 AND server <> {server}")).await?;
    let left = "SELECT CAST(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), since) AS SIGNED) FROM tidegate.id_home WHERE id = 1";
    let since: i64 =
        connection.query_first(left).await?.ok_or_else(|| not_understood("since when it is the primary"))?;
    // Behind us; a clock that was set back since says less.
    let term = i64::try_from(TERM.as_micros()).unwrap_or(i64::MAX);
    let left = since.saturating_add(term).clamp(0, term);
    Ok(Duration::from_micros(left.unsigned_abs()))
}
