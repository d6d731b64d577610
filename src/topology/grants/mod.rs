//! What `generate` makes values from is granted by the home's primary: nodes (`nodes`), segments of numbers (`segments`).
//!
//! Owns: at which server that is written down, and a connection there. Does not know: what is granted.
//! Invariant: nothing is granted by a server that may not be the one primary.

mod nodes;
mod segments;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::health::State;
use super::monitor::Topology;
use super::probe::{Target, not_understood};
use super::roles::Role;
use super::snapshot::{Snapshot, Standing};
use crate::ids::ServerId;

pub use nodes::keep_node;
pub use segments::keep_segments;

/// Time for a connection, and for the statements of one grant.
const LIMIT: Duration = Duration::from_secs(3);
/// Between two attempts that fail.
const PAUSE: Duration = Duration::from_millis(500);
/// There is no such table; no such database.
const ABSENT: [u16; 2] = [1146, 1049];

const SETTINGS: &str =
    "SET innodb_lock_wait_timeout = 1, lock_wait_timeout = 1; SET SESSION TRANSACTION READ WRITE";
const DATABASE: &str = "CREATE DATABASE IF NOT EXISTS tidegate";
const ENTER: &str = "USE tidegate";

/// Does the work at the one primary for as long as the task lives, again and again, whenever `wanted` ends. `without`: what fails while
/// the work does.
async fn at_primary<Wanted, Work>(
    topology: Arc<Topology>,
    without: &'static str,
    wanted: impl Fn() -> Wanted,
    work: impl Fn(Target) -> Work,
) where
    Wanted: Future<Output = ()>,
    Work: Future<Output = Result<(), Error>> + Send + 'static,
{
    let mut told = None;
    loop {
        wanted().await;
        let Some((id, target)) = primary(&topology) else {
            let mut generations = topology.subscribe();
            tokio::select! {
                _ = generations.changed() => {}
                () = sleep(PAUSE) => {}
            }
            continue;
        };
        // In a task of its own, whose panic is not ours; it ends with its connection.
        let mut running = JoinSet::new();
        running.spawn(work(target));
        let ended = tokio::select! {
            () = until_other_than(&topology, id) => continue,
            ended = running.join_next() => ended,
        };
        let detail = match ended {
            Some(Ok(Ok(()))) => continue,
            Some(Ok(Err(error))) => error.to_string(),
            _ => "the answer is not understood".to_owned(),
        };
        if told.as_ref() == Some(&detail) {
            debug!(detail, without, "nothing is granted for generated ids still");
        } else {
            warn!(detail, needs = "SELECT, INSERT, UPDATE, CREATE ON tidegate.*", "{without}");
            told = Some(detail);
        }
        sleep(PAUSE).await;
    }
}

/// The one server that takes writes.
fn primary(topology: &Topology) -> Option<(ServerId, Target)> {
    let snapshot = topology.snapshot();
    let primary = snapshot.primary().filter(|_| is_alone(&snapshot))?;
    let monitor = topology.monitor();
    let tls = &snapshot.cluster.tls;
    Some((primary.id, Target::new(&primary.config, primary.at?, tls, &monitor.user, &monitor.password)))
}

/// Waits until that is another one, or none.
async fn until_other_than(topology: &Topology, id: ServerId) {
    let mut generations = topology.subscribe();
    loop {
        generations.borrow_and_update();
        {
            let snapshot = topology.snapshot();
            if snapshot.primary != Some(id) || !is_alone(&snapshot) {
                return;
            }
        }
        if generations.changed().await.is_err() {
            std::future::pending::<()>().await; // the task ends with the topology
        }
    }
}

/// Whether no other server takes writes. Where Tidegate promotes, half of the servers must be there, too: a side of a network that has
/// fewer may have been given up, and another primary be in the other.
fn is_alone(snapshot: &Snapshot) -> bool {
    let writes = |role| matches!(role, Role::Rival | Role::Peer);
    let members = || snapshot.servers.iter().filter(|server| server.standing != Standing::Leaving);
    let (all, up) = (members().count(), members().filter(|server| server.state == State::Up).count());
    !members().any(|server| server.state == State::Up && writes(server.role))
        && (snapshot.cluster.promotion.is_none() || up * 2 >= all)
}

/// Makes a new connection ready, whether the tables are there or not.
async fn enter(connection: &mut Conn) -> Result<(), Error> {
    connection.query_drop(SETTINGS).await?;
    match connection.query_drop(ENTER).await {
        Err(error) if is_absent(&error) => Ok(()),
        entered => entered,
    }
}

/// Makes the tables.
async fn make(connection: &mut Conn, tables: &[&str]) -> Result<(), Error> {
    for sql in [DATABASE, ENTER].iter().chain(tables) {
        connection.query_drop(*sql).await?;
    }
    Ok(())
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::Server(error) if ABSENT.contains(&error.code))
}

/// The server's own number among those that replicate from each other.
async fn server_id(connection: &mut Conn) -> Result<u64, Error> {
    let id: Option<u64> = connection.query_first("SELECT @@server_id").await?;
    id.ok_or_else(|| not_understood("no server_id"))
}
