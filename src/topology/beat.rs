//! Writes the heartbeats of `monitor.lag: {mode: heartbeat}` at the primary.
//!
//! Owns: the table (one row, which all instances write), and the statements that write it. Does not know: what a beat says of a replica.
//! Invariant: beats are written only where the cluster's one primary is: by this snapshot, and, should the server have stood still in between,
//! not after it has gone on. They only ever grow, whatever a primary's clock says: a replica that shows a later one is later.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

use crate::config::{Beats, TableName};
use crate::ids::ServerId;

use super::health::State;
use super::probe::{Target, not_understood};
use super::roles::Role;
use super::shared::Shared;
use super::snapshot::Snapshot;

/// There is no such table; no such database.
const NO_TABLE: u16 = 1146;
const NO_DATABASE: u16 = 1049;
/// What holds for the connection, whatever the server's defaults are.
const SETTINGS: &str =
    "SET innodb_lock_wait_timeout = 1, lock_wait_timeout = 1; SET SESSION TRANSACTION READ WRITE";

/// Writes beats for as long as the task lives, while this server is the only primary.
pub(super) async fn beat_server(
    shared: Arc<Shared>,
    id: ServerId,
    target: Target,
    beats: Beats,
    limit: Duration,
) {
    let mut generations = shared.subscribe();
    let mut told = None;
    loop {
        until(&mut generations, || is_only_primary(&shared.snapshot(), id)).await;
        let written = Arc::new(AtomicBool::new(false));
        // In a task of its own, whose panic is not ours; it ends with its connection.
        let mut running = JoinSet::new();
        running.spawn(beat(target.clone(), beats.clone(), limit, Arc::clone(&written)));
        let ended = tokio::select! {
            () = until(&mut generations, || !is_only_primary(&shared.snapshot(), id)) => continue,
            ended = running.join_next() => ended,
        };
        let detail = match ended {
            Some(Ok(Err(error))) => error.to_string(),
            _ => "the answer is not understood".to_owned(),
        };
        if written.load(Ordering::Relaxed) {
            told = None;
        }
        let snapshot = shared.snapshot();
        let server = snapshot.server(id).map_or("", |server| &server.address);
        if told.as_ref() == Some(&detail) {
            debug!(%server, detail, "heartbeat could not be written again");
        } else {
            let (table, needs) = (&beats.table, creation(&beats.table));
            warn!(
                %server,
                detail,
                needs,
                "heartbeat cannot be written: the monitor account needs SELECT, INSERT and UPDATE on {table}, and CREATE unless that is there"
            );
            told = Some(detail);
        }
        tokio::time::sleep(beats.interval).await;
    }
}

/// Whether this is the primary, and no other server takes writes.
fn is_only_primary(snapshot: &Snapshot, id: ServerId) -> bool {
    let writes = |role| matches!(role, Role::Rival | Role::Peer);
    let mut others = snapshot.servers.iter().filter(|server| server.id != id).peekable();
    snapshot.primary == Some(id)
        && others.peek().is_some()
        && !others.any(|server| server.state == State::Up && writes(server.role))
}

/// Waits until something holds of the cluster.
async fn until(generations: &mut watch::Receiver<u64>, holds: impl Fn() -> bool) {
    loop {
        generations.borrow_and_update();
        if holds() {
            return;
        }
        if generations.changed().await.is_err() {
            std::future::pending::<()>().await; // the task ends with the topology
        }
    }
}

/// Beats by one connection until something fails. A beat that is waited for (semi-synchronous replication) is waited for here, too: another
/// connection would only add to those that wait.
async fn beat(
    target: Target,
    beats: Beats,
    limit: Duration,
    written: Arc<AtomicBool>,
) -> Result<Infallible, Error> {
    let connecting = tokio::time::timeout(limit, target.connect()).await;
    let (mut connection, _) = connecting.map_err(|_| not_understood("no connection in time"))??;
    connection.query_drop(SETTINGS).await?;
    enter(&mut connection, &beats.table.database).await?;
    let mut ticks = tokio::time::interval(beats.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        write(&mut connection, &beats.table, limit).await?;
        written.store(true, Ordering::Relaxed);
    }
}

/// One beat: the primary's clock, and never less than the one before. The row is there but for the first time.
///
/// A server that stood still (SIGSTOP, a frozen machine) finds the statement when it goes on, and another may be the primary by then: what was
/// written here would be in no other server. So the beat is written only within `limit` of the server's clock a moment ago.
async fn write(connection: &mut Conn, table: &TableName, limit: Duration) -> Result<(), Error> {
    let look = format!(
        "SELECT CAST(UTC_TIMESTAMP(6) + INTERVAL {} MICROSECOND AS CHAR), (SELECT COUNT(*) FROM {table} WHERE id = 1)",
        limit.as_micros()
    );
    let (deadline, rows): (String, u64) = match connection.query_first(look).await {
        Err(Error::Server(error)) if error.code == NO_TABLE => {
            return connection.query_drop(creation(table)).await;
        }
        answer => answer?.ok_or_else(|| not_understood("no clock"))?,
    };
    if rows == 0 {
        return connection
            .query_drop(format!("INSERT IGNORE INTO {table} VALUES (1, UTC_TIMESTAMP(6))"))
            .await;
    }
    if !deadline.bytes().all(|byte| byte.is_ascii_digit() || b"-:. ".contains(&byte)) {
        return Err(not_understood("the clock")); // it becomes part of a statement
    }
    let beat = format!(
        "UPDATE {table} SET beat = GREATEST(beat + INTERVAL 1 MICROSECOND, UTC_TIMESTAMP(6)) \
         WHERE id = 1 AND UTC_TIMESTAMP(6) < '{deadline}'"
    );
    connection.query_drop(beat).await
}

/// Makes the table's database the connection's own, so that filters by the default database (`replicate_ignore_db`) take or leave its
/// creation, the table's and the beats alike: a replica that left out the first alone would stop at the second.
async fn enter(connection: &mut Conn, database: &str) -> Result<(), Error> {
    let enter = format!("USE `{database}`");
    match connection.query_drop(&enter).await {
        Err(Error::Server(error)) if error.code == NO_DATABASE => {
            connection.query_drop(format!("CREATE DATABASE IF NOT EXISTS `{database}`")).await?;
            connection.query_drop(enter).await
        }
        done => done,
    }
}

/// The statement that makes the table; several instances may run it at once.
fn creation(table: &TableName) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {table} (id TINYINT UNSIGNED NOT NULL PRIMARY KEY, beat DATETIME(6) NOT NULL) ENGINE = InnoDB"
    )
}
