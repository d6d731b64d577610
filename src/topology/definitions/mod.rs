//! The journal of definitions: which shards have one, and which have not, known also where the Tidegate that carried it out is gone.
//!
//! Owns: who holds an entry, and what is noted when. Does not know: where it is (`place`), what a definition does, how it is carried out.
//! Invariant: of a table there is one open entry at most, and of an entry one holder: who finds it is another's writes nothing any more. What is
//! noted is durable before the call returns.

mod entry;
mod place;
mod rows;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Params, Row, TxOpts, params};
use tokio::task::AbortHandle;

pub use self::entry::{Claim, Entry, Note, Site, Trouble, Word};
use self::place::{ENTER, Way, within};
use self::rows::{fields, number};
use super::monitor::Topology;
use crate::config::Monitor;

/// Between two signs of life of an entry's holder.
const BEAT: Duration = Duration::from_secs(3);
/// Entries that are over and stay for people to see.
const KEPT: u64 = 200;
const DUPLICATE: u16 = 1062;
/// How often a step begins again that a server has undone for another's.
const CROSSED_MAX: u32 = 5;
const BEGAN: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', began)";
/// Whether somebody carries an entry out: without a sign of life for so long its holder is gone.
const RUNNING: &str = "(holder IS NOT NULL AND seen > UTC_TIMESTAMP(6) - INTERVAL 15 SECOND)";

/// The journal of one database, by a connection of the monitor account to the primary of its home.
pub struct Journal {
    way: Way,
    connection: Conn,
    holder: String,
    id: u64,
    beating: Option<AbortHandle>,
}

impl Journal {
    /// Connects, and makes the journal's tables where they are not there.
    ///
    /// # Errors
    /// There is no primary, or the account may not.
    pub async fn open(home: &Arc<Topology>, monitor: &Monitor) -> Result<Self, Trouble> {
        let journal = Self::at(home, monitor, true).await?;
        journal.ok_or_else(|| Trouble::Failed("the journal's tables are not there".to_owned()))
    }

    /// The same, of a journal that is there; `None` where no definition was ever entered.
    ///
    /// # Errors
    /// As above.
    pub async fn find(home: &Arc<Topology>, monitor: &Monitor) -> Result<Option<Self>, Trouble> {
        Self::at(home, monitor, false).await
    }

    async fn at(home: &Arc<Topology>, monitor: &Monitor, make: bool) -> Result<Option<Self>, Trouble> {
        let way = Way { home: Arc::clone(home), monitor: monitor.clone() };
        let connection = within(way.enter(make)).await?;
        Ok(connection.map(|connection| Self { way, connection, holder: holder(), id: 0, beating: None }))
    }

    /// Enters a definition, unless one of its tables has an open one; its number, and when that was in microseconds since 1970.
    ///
    /// # Errors
    /// [`Trouble::Taken`], or what a server says.
    pub async fn claim(&mut self, claim: Claim<'_>) -> Result<(u64, u64), Trouble> {
        let mut crossed = 0;
        let (id, began_us) = loop {
            match within(self.enter(claim)).await {
                Err(Trouble::Crossed(_)) if crossed < CROSSED_MAX => crossed += 1,
                entered => break entered?,
            }
        };
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
        let sql = format!(
            "UPDATE definitions SET holder = ?, seen = UTC_TIMESTAMP(6) WHERE id = ? AND state = 'open' AND NOT {RUNNING}"
        );
        let holder = self.holder.clone();
        within(async { Ok(self.connection.exec_drop(sql, (holder, id)).await?) }).await?;
        let taken = self.connection.affected_rows() == 1;
        // As it is now that nobody else writes to it.
        let entry = self.entry(id).await?;
        match (&*entry.state, taken) {
            ("open", true) => {
                self.id = id;
                self.beat();
                Ok(entry)
            }
            ("open", _) => Err(Trouble::Running(id)),
            _ => Err(Trouble::Over(id)),
        }
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

    /// It is on all of its sites. Of those that are over the oldest go: others that are open, or begin, are in nobody's way.
    ///
    /// # Errors
    /// As above.
    pub async fn finish(&mut self) -> Result<(), Trouble> {
        let id = self.id;
        let old = id.saturating_sub(KEPT);
        self.write(vec![
            ended("done", id),
            ("DELETE FROM definition_tables WHERE id = ?".into(), (id,).into()),
            (
                "DELETE s FROM definition_sites s JOIN definitions d ON d.id = s.id WHERE d.id <= ? AND d.state <> 'open'".into(),
                (old,).into(),
            ),
            ("DELETE FROM definitions WHERE id <= ? AND state <> 'open'".into(), (old,).into()),
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
        let (mut lost, mut crossed) = (false, 0);
        loop {
            match within(self.try_write(&changes)).await {
                Err(Trouble::Crossed(_)) if crossed < CROSSED_MAX => crossed += 1,
                Err(Trouble::Failed(_)) if !lost => {
                    lost = true;
                    self.connection = within(self.way.connect()).await?;
                    within(async { Ok(self.connection.query_drop(ENTER).await?) }).await?;
                }
                written => return written,
            }
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
