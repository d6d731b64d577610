//! Where the journal of definitions is: its tables, at the primary of a database's home.
//!
//! Owns: the tables, the way there, and how long a step may take. Does not know: what is written. Invariant: every statement is bounded in time.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::time::timeout;

use super::Trouble;
use crate::config::Monitor;
use crate::topology::monitor::Topology;
use crate::topology::probe::Target;

/// Time for one note, commits that wait for a replica included.
const LIMIT: Duration = Duration::from_secs(10);
/// What holds for the connection. `USE`: filters by the default database take or leave all of it then.
const SETTINGS: &str =
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = 5, lock_wait_timeout = 5";
pub(super) const ENTER: &str = "USE tidegate";
const IS_THERE: &str = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'tidegate' AND table_name IN ('definitions', 'definition_sites', \
                        'definition_tables')";
const MAKE: [&str; 5] = [
    "CREATE DATABASE IF NOT EXISTS tidegate",
    ENTER,
    "CREATE TABLE IF NOT EXISTS tidegate.definitions (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, state VARCHAR(10) NOT NULL, \
     name VARBINARY(256) NOT NULL, tables TEXT NOT NULL, statement MEDIUMBLOB NOT NULL, settings MEDIUMBLOB NOT NULL, account VARCHAR(300) NOT NULL, \
     holder VARCHAR(40) NULL, began DATETIME(6) NOT NULL, seen DATETIME(6) NOT NULL) ENGINE = InnoDB CHARACTER SET utf8mb4",
    "CREATE TABLE IF NOT EXISTS tidegate.definition_sites (id BIGINT UNSIGNED NOT NULL, place INT UNSIGNED NOT NULL, site VARCHAR(300) NOT NULL, \
     state VARCHAR(10) NOT NULL, had MEDIUMTEXT NULL, error TEXT NULL, PRIMARY KEY (id, place)) ENGINE = InnoDB CHARACTER SET utf8mb4",
    "CREATE TABLE IF NOT EXISTS tidegate.definition_tables (name VARBINARY(256) NOT NULL, table_name VARBINARY(256) NOT NULL, \
     id BIGINT UNSIGNED NOT NULL, PRIMARY KEY (name, table_name), KEY (id)) ENGINE = InnoDB CHARACTER SET utf8mb4",
];

/// How its primary is found.
#[derive(Clone)]
pub(super) struct Way {
    pub home: Arc<Topology>,
    pub monitor: Monitor,
}

impl Way {
    /// A connection.
    pub async fn connect(&self) -> Result<Conn, Trouble> {
        let snapshot = Arc::clone(&self.home.snapshot());
        let primary = snapshot.primary.and_then(|id| snapshot.server(id));
        let Some((server, at)) = primary.and_then(|server| Some((server, server.at?))) else {
            return Err(Trouble::Failed("the home's cluster has no primary".to_owned()));
        };
        let (user, password) = (&self.monitor.user, &self.monitor.password);
        let target = Target::new(&server.config, at, &snapshot.cluster.tls, user, password);
        let (mut connection, _) = target.connect().await?;
        connection.query_drop(SETTINGS).await?;
        Ok(connection)
    }

    /// A connection in the journal's database; `None` where that or a table of it is not there and is not to be made.
    pub async fn enter(&self, make: bool) -> Result<Option<Conn>, Trouble> {
        let mut connection = self.connect().await?;
        let there: Option<u64> = connection.query_first(IS_THERE).await?;
        let steps: &[&str] = match there == Some(3) {
            true => &[ENTER],
            false if make => &MAKE,
            false => return Ok(None),
        };
        for sql in steps {
            connection.query_drop(*sql).await?;
        }
        Ok(Some(connection))
    }
}

/// Within the journal's limit.
pub(super) async fn within<T>(work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let late = |_| Err(Trouble::Failed(format!("no answer within {LIMIT:?}")));
    timeout(LIMIT, work).await.unwrap_or_else(late)
}
