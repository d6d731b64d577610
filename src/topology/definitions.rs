//! The journal of definitions: which shards have one, and which have not, known also where the Tidegate that carried it out is gone.
//!
//! Owns: its tables, at the primary of a database's home, and who holds an entry. Does not know: what a definition does, how it is carried out.
//! Invariant: of a table there is one open entry at most, and of an entry one holder: who finds it is another's writes nothing any more. What is
//! noted is durable before the call returns. Every statement is bounded in time.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Params, Row, TxOpts, Value, params};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::monitor::Topology;
use super::probe::{Target, not_understood};
use crate::config::Monitor;

/// Time for one note, commits that wait for a replica included.
const LIMIT: Duration = Duration::from_secs(10);
/// Between two signs of life of an entry's holder.
const BEAT: Duration = Duration::from_secs(3);
/// Entries that are over and stay for people to see.
const KEPT: u64 = 200;
/// The account may not, in this database, at this table, at all.
const DENIED: [u16; 3] = [1044, 1142, 1227];
const DUPLICATE: u16 = 1062;
const BEGAN: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', began)";
/// Whether somebody carries an entry out: without a sign of life for so long its holder is gone.
const RUNNING: &str = "(holder IS NOT NULL AND seen > UTC_TIMESTAMP(6) - INTERVAL 15 SECOND)";

/// What holds for the connection. `USE`: filters by the default database take or leave all of it then.
const SETTINGS: &str =
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES', innodb_lock_wait_timeout = 5, lock_wait_timeout = 5";
const ENTER: &str = "USE tidegate";
const IS_THERE: &str = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'tidegate' AND table_name IN ('definitions', 'definition_sites', \
                        'definition_tables')";
const MAKE: [&str; 5] = [
    "CREATE DATABASE IF NOT EXISTS tidegate",
    ENTER,
    "CREATE TABLE IF NOT EXISTS tidegate.definitions (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, state VARCHAR(10) NOT NULL, \
     name VARBINARY(256) NOT NULL, tables TEXT NOT NULL, statement MEDIUMBLOB NOT NULL, settings MEDIUMBLOB NOT NULL, account VARCHAR(300) NOT NULL, \
     holder VARCHAR(40) NULL, began DATETIME(6) NOT NULL, seen DATETIME(6) NOT NULL) ENGINE = InnoDB CHARACTER SET utf8mb4",
    "CREATE TABLE IF NOT EXISTS tidegate.definition_sites (id BIGINT UNSIGNED NOT NULL, place INT UNSIGNED NOT NULL, site VARCHAR(300) NOT NULL, \
     state VARCHAR(10) NOT NULL, had VARCHAR(64) NULL, error TEXT NULL, PRIMARY KEY (id, place)) ENGINE = InnoDB CHARACTER SET utf8mb4",
    "CREATE TABLE IF NOT EXISTS tidegate.definition_tables (name VARBINARY(256) NOT NULL, table_name VARBINARY(256) NOT NULL, \
     id BIGINT UNSIGNED NOT NULL, PRIMARY KEY (name, table_name), KEY (id)) ENGINE = InnoDB CHARACTER SET utf8mb4",
];

/// What the journal cannot do.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The account lacks privileges.
    #[error("the monitor account may not: {0}")]
    Denied(String),
    /// There is no primary to write to, or it fails.
    #[error("{0}")]
    Failed(String),
    /// Another definition of a table is open.
    #[error("definition {id} of {table} is open")]
    Taken {
        /// Which.
        id: u64,
        /// Of which table.
        table: String,
        /// Somebody is carrying it out.
        running: bool,
    },
    /// There is no such entry.
    #[error("there is no definition {0}")]
    Unknown(u64),
    /// Somebody is carrying it out.
    #[error("definition {0} is being carried out")]
    Running(u64),
    /// It is over.
    #[error("definition {0} is over")]
    Over(u64),
    /// Somebody else has taken it.
    #[error("definition {0} was taken by another")]
    Lost(u64),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Server(error) if DENIED.contains(&error.code) => Self::Denied(error.message),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// What is known of a definition at one site.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// Its turn has not come.
    Waiting,
    /// It has been sent, or is about to be: nobody knows.
    Running,
    /// The site has it.
    Done,
    /// The server has refused it.
    Failed,
}

impl Word {
    /// As the journal has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Waiting, Self::Running, Self::Done, Self::Failed].into_iter().find(|own| own.as_str() == word)
    }
}

/// A definition that is about to begin.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The logical database.
    pub database: &'a str,
    /// The tables that it makes, changes or removes.
    pub tables: &'a [String],
    /// As the client has sent it.
    pub statement: &'a [u8],
    /// The session's state, which says how it is read.
    pub settings: &'a [u8],
    /// Who has sent it.
    pub account: &'a str,
    /// Where it runs, in this order.
    pub sites: &'a [String],
}

/// A definition of the journal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its number.
    pub id: u64,
    /// `open`, `done`, `abandoned`.
    pub state: String,
    /// The logical database.
    pub database: String,
    /// The tables, for people.
    pub tables: String,
    /// As the client has sent it.
    pub statement: Vec<u8>,
    /// See [`Claim::settings`].
    pub settings: Vec<u8>,
    /// Who has sent it.
    pub account: String,
    /// When, in UTC.
    pub began: String,
    /// The same in microseconds since 1970.
    pub began_us: u64,
    /// Somebody is carrying it out.
    pub running: bool,
    /// Where it runs.
    pub sites: Vec<Site>,
}

/// A site of a definition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// A shard's name, or `home`.
    pub name: String,
    /// What is known.
    pub word: Word,
    /// What there was before it was sent.
    pub had: Option<String>,
    /// Why the server has refused it.
    pub error: Option<String>,
}

/// A note about a site.
#[derive(Clone, Copy, Debug)]
pub struct Note<'a> {
    /// The site's place in the list.
    pub place: usize,
    /// What is known now.
    pub word: Word,
    /// What there was before; `None` leaves what was noted.
    pub had: Option<&'a str>,
    /// Why it was refused.
    pub error: Option<&'a str>,
}

/// The journal of one database, by a connection of the monitor account to the primary of its home.
pub struct Journal {
    way: Way,
    connection: Conn,
    holder: String,
    id: u64,
    beating: Option<AbortHandle>,
}

/// How its primary is found.
#[derive(Clone)]
struct Way {
    home: Arc<Topology>,
    monitor: Monitor,
}

impl Way {
    async fn connect(&self) -> Result<Conn, Trouble> {
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
}

/// Within the journal's limit.
async fn within<T>(work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let late = |_| Err(Trouble::Failed(format!("no answer within {LIMIT:?}")));
    timeout(LIMIT, work).await.unwrap_or_else(late)
}

impl Journal {
    /// Connects, and makes the journal's tables where they are not there.
    ///
    /// # Errors
    /// There is no primary, or the account may not.
    pub async fn open(home: &Arc<Topology>, monitor: &Monitor) -> Result<Self, Trouble> {
        let way = Way { home: Arc::clone(home), monitor: monitor.clone() };
        within(async {
            let mut connection = way.connect().await?;
            let there: Option<u64> = connection.query_first(IS_THERE).await?;
            let make: &[&str] = if there == Some(3) { &[ENTER] } else { &MAKE };
            for sql in make {
                connection.query_drop(*sql).await?;
            }
            Ok(Self { way, connection, holder: holder(), id: 0, beating: None })
        })
        .await
    }

    /// The same, of a journal that is there; `None` where no definition was ever entered.
    ///
    /// # Errors
    /// As above.
    pub async fn find(home: &Arc<Topology>, monitor: &Monitor) -> Result<Option<Self>, Trouble> {
        let way = Way { home: Arc::clone(home), monitor: monitor.clone() };
        within(async {
            let mut connection = way.connect().await?;
            let there: Option<u64> = connection.query_first(IS_THERE).await?;
            if there != Some(3) {
                return Ok(None);
            }
            connection.query_drop(ENTER).await?;
            Ok(Some(Self { way, connection, holder: holder(), id: 0, beating: None }))
        })
        .await
    }

    /// Enters a definition, unless one of its tables has an open one; its number, and when that was in microseconds since 1970.
    ///
    /// # Errors
    /// [`Trouble::Taken`], or what a server says.
    pub async fn claim(&mut self, claim: Claim<'_>) -> Result<(u64, u64), Trouble> {
        let (id, began_us) = within(self.enter(claim)).await?;
        self.id = id;
        self.beat();
        Ok((id, began_us))
    }

    async fn enter(&mut self, claim: Claim<'_>) -> Result<(u64, u64), Trouble> {
        let mut work = self.connection.start_transaction(TxOpts::new()).await?;
        let sql = "INSERT INTO definitions (state, name, tables, statement, settings, account, holder, began, seen) \
                   VALUES ('open', ?, ?, ?, ?, LEFT(?, 300), ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))";
        let tables = claim.tables.join(", ");
        let values = (claim.database, tables, claim.statement, claim.settings, claim.account, &self.holder);
        work.exec_drop(sql, values).await?;
        let id = work.last_insert_id().ok_or_else(|| Trouble::Failed("no id was made".to_owned()))?;
        for table in claim.tables {
            let sql = "INSERT INTO definition_tables (name, table_name, id) VALUES (?, ?, ?)";
            match work.exec_drop(sql, (claim.database, table, id)).await {
                Err(Error::Server(error)) if error.code == DUPLICATE => {
                    work.rollback().await?;
                    return Err(self.taken(claim.database, table).await?);
                }
                entered => entered?,
            }
        }
        let sql = "INSERT INTO definition_sites (id, place, site, state) VALUES (?, ?, ?, 'waiting')";
        let sites = claim.sites.iter().enumerate();
        work.exec_batch(sql, sites.map(|(place, site)| (id, place, site))).await?;
        let sql = format!("SELECT {BEGAN} FROM definitions WHERE id = ?");
        let row: Option<Row> = work.exec_first(sql, (id,)).await?;
        let [began_us] = row.map(fields).unwrap_or_default();
        work.commit().await?;
        Ok((id, number(began_us.as_deref())))
    }

    async fn taken(&mut self, database: &str, table: &str) -> Result<Trouble, Trouble> {
        let sql = format!(
            "SELECT d.id, {RUNNING} FROM definition_tables t JOIN definitions d ON d.id = t.id WHERE t.name = ? AND t.table_name = ?"
        );
        let row: Option<Row> = self.connection.exec_first(sql, (database, table)).await?;
        let Some([id, running]) = row.map(fields) else {
            return Ok(Trouble::Failed("another definition has just ended: send it again".to_owned()));
        };
        let (id, running) = (number(id.as_deref()), number(running.as_deref()) == 1);
        Ok(Trouble::Taken { id, table: table.to_owned(), running })
    }

    /// Takes an open entry that nobody carries out.
    ///
    /// # Errors
    /// It is not open, or another holds it.
    pub async fn take(&mut self, id: u64) -> Result<Entry, Trouble> {
        let entry = self.entry(id).await?;
        let sql = format!(
            "UPDATE definitions SET holder = ?, seen = UTC_TIMESTAMP(6) WHERE id = ? AND state = 'open' AND NOT {RUNNING}"
        );
        let holder = self.holder.clone();
        within(async { Ok(self.connection.exec_drop(sql, (holder, id)).await?) }).await?;
        match (&*entry.state, self.connection.affected_rows()) {
            ("open", 1) => {
                self.id = id;
                self.beat();
                Ok(entry)
            }
            ("open", _) => Err(Trouble::Running(id)),
            _ => Err(Trouble::Over(id)),
        }
    }

    /// An entry.
    ///
    /// # Errors
    /// [`Trouble::Unknown`], or what a server says.
    pub async fn entry(&mut self, id: u64) -> Result<Entry, Trouble> {
        self.entries(Some(id)).await?.pop().ok_or(Trouble::Unknown(id))
    }

    /// All entries, the newest first, with the beginnings of their statements; or one, whole.
    ///
    /// # Errors
    /// What a server says.
    pub async fn entries(&mut self, id: Option<u64>) -> Result<Vec<Entry>, Trouble> {
        within(async {
            let one = "(? IS NULL OR d.id = ?)";
            let sql = format!(
                "SELECT id, state, name, tables, IF(? IS NULL, LEFT(statement, 1000), statement), settings, account, CAST(began AS CHAR), {BEGAN}, {RUNNING} FROM definitions d WHERE {one} ORDER BY id DESC"
            );
            let rows: Vec<Row> = self.connection.exec(sql, (id, id, id)).await?;
            let sql = format!("SELECT id, site, state, had, error FROM definition_sites d WHERE {one} ORDER BY id, place");
            let sites: Vec<Row> = self.connection.exec(sql, (id, id)).await?;
            let mut of: HashMap<u64, Vec<Site>> = HashMap::new();
            for row in sites {
                let [id, name, word, had, error] = fields(row);
                let word = Word::parse(&text(word)).ok_or_else(|| not_understood("a site's state"))?;
                let site = Site { name: text(name), word, had: had.map(|had| text(Some(had))), error: error.map(|error| text(Some(error))) };
                of.entry(number(id.as_deref())).or_default().push(site);
            }
            let entry = |row: Row| {
                let [id, state, database, tables, statement, settings, account, began, began_us, running] =
                    fields(row);
                let id = number(id.as_deref());
                let (statement, settings) = (statement.unwrap_or_default(), settings.unwrap_or_default());
                let running = number(running.as_deref()) == 1;
                let began_us = number(began_us.as_deref());
                let [state, database, tables, account, began] = [state, database, tables, account, began].map(text);
                let sites = of.remove(&id).unwrap_or_default();
                Entry {
                    id,
                    state,
                    database,
                    tables,
                    statement,
                    settings,
                    account,
                    began,
                    began_us,
                    running,
                    sites,
                }
            };
            Ok(rows.into_iter().map(entry).collect())
        })
        .await
    }

    /// Notes what has become of it at some sites, as its holder.
    ///
    /// # Errors
    /// [`Trouble::Lost`], or what a server says: then nobody knows whether it is noted.
    pub async fn note(&mut self, notes: &[Note<'_>]) -> Result<(), Trouble> {
        let sql = "UPDATE definition_sites SET state = :state, had = COALESCE(:had, had), error = :error WHERE id = :id AND place = :place";
        let id = self.id;
        let change = |note: &Note<'_>| {
            let Note { place, word, had, error } = *note;
            let error = error.map(|error| error.chars().take(4000).collect::<String>());
            (
                sql.to_owned(),
                params! { "state" => word.as_str(), "had" => had, "error" => error, "id" => id, "place" => place },
            )
        };
        self.write(notes.iter().map(change).collect()).await
    }

    /// It is on all of its sites.
    ///
    /// # Errors
    /// As above.
    pub async fn finish(&mut self) -> Result<(), Trouble> {
        let id = self.id;
        self.write(vec![
            ended("done", id),
            ("DELETE FROM definition_tables WHERE id = ?".into(), (id,).into()),
            (
                "DELETE s FROM definition_sites s JOIN definitions d ON d.id = s.id WHERE d.state <> 'open' AND d.id + ? <= ?"
                    .into(),
                (KEPT, id).into(),
            ),
            ("DELETE FROM definitions WHERE state <> 'open' AND id + ? <= ?".into(), (KEPT, id).into()),
        ])
        .await
    }

    /// Nothing of it was done anywhere.
    ///
    /// # Errors
    /// As above.
    pub async fn forget(&mut self) -> Result<(), Trouble> {
        let delete = |table| (format!("DELETE FROM {table} WHERE id = ?"), Params::from((self.id,)));
        let all = ["definition_tables", "definition_sites", "definitions"].map(delete);
        self.write(all.into()).await
    }

    /// It stays open, for whoever resumes it.
    ///
    /// # Errors
    /// As above.
    pub async fn leave(&mut self) -> Result<(), Trouble> {
        let id = self.id;
        self.write(vec![("UPDATE definitions SET holder = NULL WHERE id = ?".into(), (id,).into())]).await
    }

    /// Gives up an open entry that nobody carries out: its tables can be defined anew.
    ///
    /// # Errors
    /// As [`Journal::take`].
    pub async fn abandon(&mut self, id: u64) -> Result<(), Trouble> {
        self.take(id).await?;
        let change = ended("abandoned", id);
        self.write(vec![change, ("DELETE FROM definition_tables WHERE id = ?".into(), (id,).into())]).await
    }

    /// Changes the entry in one transaction, as its holder; once more by another connection where this one is lost.
    async fn write(&mut self, changes: Vec<(String, Params)>) -> Result<(), Trouble> {
        match within(self.try_write(&changes)).await {
            Err(Trouble::Failed(_)) => {
                self.connection = within(self.way.connect()).await?;
                within(async { Ok(self.connection.query_drop(ENTER).await?) }).await?;
                within(self.try_write(&changes)).await
            }
            written => written,
        }
    }

    async fn try_write(&mut self, changes: &[(String, Params)]) -> Result<(), Trouble> {
        let mut work = self.connection.start_transaction(TxOpts::new()).await?;
        let sql = "SELECT holder FROM definitions WHERE id = ? FOR UPDATE";
        let row: Option<Row> = work.exec_first(sql, (self.id,)).await?;
        let [holder] = row.map(fields).unwrap_or_default();
        if holder.as_deref() != Some(self.holder.as_bytes()) {
            work.rollback().await?;
            return Err(Trouble::Lost(self.id));
        }
        for (sql, values) in changes {
            work.exec_drop(&**sql, values.clone()).await?;
        }
        Ok(work.commit().await?)
    }

    /// Shows that its holder lives, until that is dropped.
    fn beat(&mut self) {
        let (way, id, holder) = (self.way.clone(), self.id, self.holder.clone());
        let beating = tokio::spawn(async move {
            let mut connection = None;
            loop {
                tokio::time::sleep(BEAT).await;
                let once = async {
                    let mut own = match connection.take() {
                        Some(own) => own,
                        None => way.connect().await?,
                    };
                    let sql =
                        "UPDATE tidegate.definitions SET seen = UTC_TIMESTAMP(6) WHERE id = ? AND holder = ?";
                    own.exec_drop(sql, (id, &holder)).await?;
                    Ok(own)
                };
                match within(once).await {
                    Ok(own) => connection = Some(own),
                    Err(trouble) => {
                        tracing::warn!(id, %trouble, "the journal of definitions does not hear of this one")
                    }
                }
            }
        });
        if let Some(before) = self.beating.replace(beating.abort_handle()) {
            before.abort();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(beating) = &self.beating {
            beating.abort();
        }
    }
}

/// Nobody else has the same.
fn holder() -> String {
    let half = |of: u64| RandomState::new().hash_one(of);
    format!("{:016x}{:016x}", half(0), half(1))
}

fn ended(state: &str, id: u64) -> (String, Params) {
    ("UPDATE definitions SET state = ?, holder = NULL WHERE id = ?".to_owned(), (state, id).into())
}

/// The row's values as texts; those that are missing are NULL.
fn fields<const COUNT: usize>(row: Row) -> [Option<Vec<u8>>; COUNT] {
    let mut values = row.unwrap_raw().into_iter();
    std::array::from_fn(|_| match values.next().flatten()? {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        Value::Int(number) => Some(number.to_string().into_bytes()),
        Value::UInt(number) => Some(number.to_string().into_bytes()),
        other => Some(other.as_sql(true).into_bytes()),
    })
}

fn text(value: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&value.unwrap_or_default()).into_owned()
}

fn number(value: Option<&[u8]>) -> u64 {
    value.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or_default()
}
