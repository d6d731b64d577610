//! Fetches segments of numbers (`generate: {id: segment}`) at the home's primary.
//!
//! Owns: the table, and the statements about it. Does not know: when numbers are needed, and what for.
//! Invariant: two instances never get one number. A row says from which number on nobody has any; one statement reads it and moves it on.
//! What a failover can lose is what was written a moment before it: so the first fetch at another server than the last one's leaves out
//! [`LOST`] times as many numbers as were ever fetched at once, and each instance fetches above all that it has had.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::time::timeout;

use super::super::monitor::Topology;
use super::super::probe::{Target, not_understood};
use super::LIMIT;
use crate::generate::{Fetch, Generators, Sequence};

/// A connection that nothing is fetched by is closed then.
const IDLE: Duration = Duration::from_secs(60);
/// So many segments can be lost by a failover.
const LOST: u64 = 16;

const MAKE: &str = "CREATE TABLE IF NOT EXISTS tidegate.id_segments (database_name VARCHAR(64) NOT NULL, table_name VARCHAR(64) NOT NULL, \
                    next_id BIGINT UNSIGNED NOT NULL, widest BIGINT UNSIGNED NOT NULL, server BIGINT UNSIGNED NOT NULL, \
                    PRIMARY KEY (database_name, table_name)) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
const LOOK: &str = "SELECT COUNT(*) FROM tidegate.id_segments WHERE database_name = ? AND table_name = ?";
const BEGIN: &str = "INSERT IGNORE INTO tidegate.id_segments (database_name, table_name, next_id, widest, server) VALUES (?, ?, 1, 1000, ?)";
/// From left to right: the first assignment reads what the others have not set yet. The last number's successor is what
/// LAST_INSERT_ID() is then.
const FETCH: &str = "UPDATE tidegate.id_segments SET next_id = LAST_INSERT_ID(GREATEST(next_id + IF(server = ?, 0, widest * ?), ?) + ?), \
                     widest = GREATEST(widest, ?), server = ? WHERE database_name = ? AND table_name = ?";

/// Fetches what is due for as long as the task lives.
pub async fn keep_segments(topology: Arc<Topology>, generators: Arc<Generators>) {
    let without = "no numbers can be fetched for generated ids (`generate: segment`): without them, INSERTs that need an id fail";
    let due = || async {
        generators.segments.due().await;
    };
    super::at_primary(topology, without, due, |target| fetch(target, Arc::clone(&generators))).await;
}

/// Fetches by one connection until something fails, or nothing is to be fetched for long.
async fn fetch(target: Target, generators: Arc<Generators>) -> Result<(), Error> {
    let late = |_| not_understood("no answer in time");
    let (mut connection, _) = timeout(LIMIT, target.connect()).await.map_err(late)??;
    timeout(LIMIT, super::enter(&mut connection)).await.map_err(late)??;
    let server = timeout(LIMIT, super::server_id(&mut connection)).await.map_err(late)??;
    let segments = &generators.segments;
    while let Ok(all) = timeout(IDLE, segments.due()).await {
        // A row that is locked keeps nobody from the others.
        let mut failed = None;
        for due in all {
            match timeout(LIMIT, grant(&mut connection, server, &due, &generators)).await.map_err(late)? {
                Err(error @ Error::Server(_)) => failed = Some(error),
                granted => granted?,
            }
        }
        failed.map_or(Ok(()), Err)?;
    }
    Ok(())
}

/// Fetches one.
async fn grant(
    connection: &mut Conn,
    server: u64,
    due: &Fetch,
    generators: &Generators,
) -> Result<(), Error> {
    let Fetch { sequence, count, from } = due;
    if *count == 0 {
        begin(connection, server, sequence).await?;
        generators.segments.is_there(sequence);
        return Ok(());
    }
    let end = match one(connection, server, due).await? {
        Some(end) => end,
        None => {
            // It was there, or the primary has lost it: it begins where nobody can have been.
            begin(connection, 0, sequence).await?;
            let fetched = one(connection, server, due).await?;
            fetched.ok_or_else(|| not_understood("the row is not there"))?
        }
    };
    let start = end.checked_sub(*count).filter(|start| start >= from);
    let start = start.ok_or_else(|| not_understood("the numbers go back"))?;
    generators.segments.grant(sequence, start..end);
    Ok(())
}

/// The end of a segment; `None` where the sequence is not there.
async fn one(
    connection: &mut Conn,
    server: u64,
    Fetch { sequence: Sequence { database, table }, count, from }: &Fetch,
) -> Result<Option<u64>, Error> {
    let values = (server, LOST, from, count, count, server, database, table);
    match connection.exec_drop(FETCH, values).await {
        Err(error) if super::is_absent(&error) => {
            super::make(connection, &[MAKE]).await?;
            return Ok(None);
        }
        fetched => fetched?,
    }
    Ok(connection.last_insert_id().filter(|_| connection.affected_rows() > 0))
}

/// Makes sure that the sequence is there. `server`: where it was fetched last.
async fn begin(
    connection: &mut Conn,
    server: u64,
    Sequence { database, table }: &Sequence,
) -> Result<(), Error> {
    match connection.exec_first::<u64, _, _>(LOOK, (database, table)).await {
        Err(error) if super::is_absent(&error) => super::make(connection, &[MAKE]).await?,
        there => {
            if there? == Some(1) {
                return Ok(());
            }
        }
    }
    connection.exec_drop(BEGIN, (database, table, server)).await
}
