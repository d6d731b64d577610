//! One server, as the account sees it that changes roles: a connection for one act, and what is said over it.
//!
//! Owns: all I/O of promotions, and its time limits. Does not know: why something is told. Invariant: every answer is waited for within
//! a limit; a hand that is dropped gives its lock back with its connection, and a server that hears nothing of it for
//! [`SILENCE`] closes that itself: an instance that was stopped for longer cannot go on with an act that another has finished.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, Error, Row};
use tokio::time::timeout;

use super::super::facts;
use super::super::gtid::Transactions;
use super::super::probe::{NamedRow, Target, is_on, named, not_understood, texts};
use super::super::replication::{Channel, Replication, received};
use super::super::roles::Identity;
use super::seat::Testimony;
use super::semisync::{self, SemiSync};
pub(super) use super::tally::Trouble;
use super::words;
use crate::ids::ServerId;
use crate::sql::{Dialect, ServerVersion};

/// Seconds without a word after which a server closes a hand's connection.
const SILENCE: u32 = 15;
/// Seconds that a statement waits for locks.
const LOCK_WAIT: u32 = 3;
/// How long a server may take for an answer that waits for nothing.
pub(super) const PROMPT: Duration = Duration::from_secs(4);
/// The account may not, in this database, at this table, at all.
const DENIED: [u16; 3] = [1044, 1142, 1227];
/// "Unknown thread id": there is no such connection any more.
const NO_SUCH_CONNECTION: u16 = 1094;

/// A server in hand.
pub(super) struct Hand {
    pub id: ServerId,
    /// Its place in the configuration.
    pub seat: usize,
    pub address: Arc<str>,
    pub version: ServerVersion,
    connection: Conn,
    target: Target,
    limit: Duration,
}

impl Hand {
    /// Connects, within `limit`.
    pub async fn reach(
        target: &Target,
        (id, seat, address): (ServerId, usize, Arc<str>),
        limit: Duration,
    ) -> Result<Self, Trouble> {
        let trouble = |error: Error| format!("{address}: {error}");
        let reaching = async {
            let (mut connection, _) = target.connect().await?;
            connection
                .query_drop(format!(
                    "SET SESSION sql_mode = '', wait_timeout = {SILENCE}, lock_wait_timeout = {LOCK_WAIT}"
                ))
                .await?;
            let (version, comment): (String, String) = connection
                .query_first("SELECT @@version, @@version_comment")
                .await?
                .ok_or_else(|| not_understood("no version"))?;
            let version =
                facts::parse_version(&version, &comment).ok_or_else(|| not_understood("version number"))?;
            Ok((connection, version))
        };
        let (connection, version) = timeout(limit, reaching)
            .await
            .map_err(|_| format!("{address}: no answer in time"))?
            .map_err(trouble)?;
        if version.dialect == Dialect::MySql && version.number < words::MYSQL_MIN {
            return Err(format!("{address}: MySQL before 8.0.23 cannot be promoted by Tidegate").into());
        }
        let (target, limit) = (target.clone(), limit.max(PROMPT));
        Ok(Self { id, seat, address, version, connection, target, limit })
    }

    /// One more connection to the same server.
    pub fn another(&self) -> impl Future<Output = Result<Self, Trouble>> + use<> {
        let (target, limit) = (self.target.clone(), self.limit);
        let who = (self.id, self.seat, Arc::clone(&self.address));
        async move { Self::reach(&target, who, limit).await }
    }

    /// The server's id of this connection.
    pub fn connection_id(&self) -> u64 {
        self.connection.id().into()
    }

    pub fn dialect(&self) -> Dialect {
        self.version.dialect
    }

    /// Runs a statement that has no result.
    pub async fn tell(&mut self, sql: &str) -> Result<(), Trouble> {
        self.tell_within(sql, self.limit).await
    }

    /// The same with a limit of its own.
    pub async fn tell_within(&mut self, sql: &str, limit: Duration) -> Result<(), Trouble> {
        let told = timeout(limit, self.connection.query_drop(sql)).await;
        self.judge(told)
    }

    /// The same; false where the account may not.
    pub async fn may_tell(&mut self, sql: &str) -> Result<bool, Trouble> {
        match timeout(self.limit, self.connection.query_drop(sql)).await {
            Ok(Err(Error::Server(error))) if DENIED.contains(&error.code) => Ok(false),
            told => self.judge(told).map(|()| true),
        }
    }

    /// Runs statements that hold a password: of an error only the number is told.
    pub async fn tell_secretly(&mut self, statements: &[String]) -> Result<(), Trouble> {
        for sql in statements {
            match timeout(self.limit, self.connection.query_drop(sql)).await {
                Ok(Ok(())) => {}
                Ok(Err(Error::Server(error))) => {
                    let verb = sql.split(" TO ").next().unwrap_or_default();
                    return Err(format!("{}: {verb}: error {}", self.address, error.code).into());
                }
                Ok(Err(_)) | Err(_) => return Err(format!("{}: the connection failed", self.address).into()),
            }
        }
        Ok(())
    }

    /// The first row of a result.
    pub async fn ask<T: FromRow + Send + 'static>(
        &mut self,
        sql: &str,
        limit: Duration,
    ) -> Result<T, Trouble> {
        let answer = self.ask_for(sql, limit).await?;
        Ok(answer.ok_or_else(|| format!("{}: no answer", self.address))?)
    }

    /// The first row of a result, if there is one.
    pub async fn ask_for<T: FromRow + Send + 'static>(
        &mut self,
        sql: &str,
        limit: Duration,
    ) -> Result<Option<T>, Trouble> {
        let answer = timeout(limit.max(PROMPT), self.connection.query_first(sql)).await;
        self.judge(answer)
    }

    /// All rows of a result, by their columns' names.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<NamedRow>, Trouble> {
        let answer = timeout(self.limit, self.connection.query::<Row, _>(sql)).await;
        Ok(self.judge(answer)?.into_iter().map(named).collect())
    }

    /// Ends another connection, if it is there still.
    pub async fn end_connection(&mut self, id: u64) -> Result<(), Trouble> {
        match timeout(self.limit, self.connection.query_drop(format!("KILL CONNECTION {id}"))).await {
            Ok(Err(Error::Server(error))) if error.code == NO_SUCH_CONNECTION => Ok(()),
            done => self.judge(done),
        }
    }

    /// What it has of semi-synchronous replication.
    pub async fn semi_sync(&mut self) -> Result<SemiSync, Trouble> {
        let variables = timeout(self.limit, self.connection.query(semisync::VARIABLES)).await;
        Ok(SemiSync::parse(&self.judge(variables)?))
    }

    /// Before it is made writable: from now on it acknowledges nothing alone, where semi-synchronous replication is used.
    pub async fn arm(&mut self) -> Result<(), Trouble> {
        match self.semi_sync().await?.arm() {
            Some(sql) => self.tell(&sql).await,
            None => Ok(()),
        }
    }

    /// Once it takes no writes: what it receives waits for nobody.
    pub async fn disarm(&mut self) -> Result<(), Trouble> {
        match self.semi_sync().await?.disarm() {
            Some(sql) => self.tell(&sql).await,
            None => Ok(()),
        }
    }

    fn judge<T>(&self, done: Result<Result<T, Error>, tokio::time::error::Elapsed>) -> Result<T, Trouble> {
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(format!("{}: {error}", self.address).into()),
            Err(_) => Err(format!("{}: no answer in time", self.address).into()),
        }
    }

    /// Takes the lock, if it is free.
    pub async fn lock(&mut self) -> Result<bool, Trouble> {
        let got: Option<u8> = self.ask(&format!("SELECT GET_LOCK('{}', 0)", words::LOCK), PROMPT).await?;
        Ok(got == Some(1))
    }

    /// Lets all Tidegates know by their probes that this server is about to hand over: they begin nothing there. Or no longer.
    pub async fn announce(&mut self, hands_over: bool) -> Result<(), Trouble> {
        let sql = match hands_over {
            true => format!("DO GET_LOCK('{}', 0)", words::HANDS_OVER),
            false => format!("DO RELEASE_LOCK('{}')", words::HANDS_OVER),
        };
        self.tell(&sql).await
    }

    /// Whether the lock is still held.
    pub async fn holds_lock(&mut self) -> bool {
        let sql = format!("SELECT IS_USED_LOCK('{}') = CONNECTION_ID()", words::LOCK);
        matches!(self.ask::<Option<u8>>(&sql, PROMPT).await, Ok(Some(1)))
    }

    /// What the account may do.
    pub async fn grants(&mut self) -> Result<Vec<String>, Trouble> {
        let grants = timeout(PROMPT, self.connection.query("SHOW GRANTS")).await;
        self.judge(grants)
    }

    /// Privileges that the account lacks; `semi_sync`: also of those that semi-synchronous replication takes.
    pub async fn missing_rights(&mut self, semi_sync: bool) -> Result<Vec<&'static str>, Trouble> {
        Ok(words::missing(self.dialect(), &self.grants().await?, semi_sync))
    }

    /// Asks what an election needs.
    pub async fn testify(&mut self) -> Result<Testimony, Trouble> {
        let said = timeout(self.limit, testimony(&mut self.connection, self.version)).await;
        self.judge(said)
    }

    /// Waits until it has applied all of these, within `limit`.
    pub async fn has_applied(&mut self, transactions: &str, limit: Duration) -> Result<(), Trouble> {
        let sql = words::wait_for(self.dialect(), transactions, limit);
        match self.ask::<Option<i64>>(&sql, limit + PROMPT).await? {
            Some(0) => Ok(()),
            _ => Err(format!("{}: it has not applied what it needs within {limit:?}", self.address).into()),
        }
    }
}

async fn testimony(connection: &mut Conn, version: ServerVersion) -> Result<Testimony, Error> {
    let mut answer = connection.query_iter(words::survey(version)).await?;
    let rows: Vec<Row> = answer.collect().await?;
    let channels: Vec<Row> = answer.collect().await?;
    drop(answer);
    let values = rows.into_iter().next().map(texts).unwrap_or_default();
    let [read_only, server_id, uuid, can_lead, executed, state] = &values[..] else {
        return Err(not_understood("variables"));
    };
    let parse = |text: &str| Transactions::parse(text.as_bytes()).ok_or_else(|| not_understood("GTIDs"));
    let executed = parse(executed)?;
    let history = match version.dialect {
        Dialect::MySql => executed.clone(),
        Dialect::MariaDb => {
            Transactions::parse_state(state.as_bytes()).ok_or_else(|| not_understood("GTIDs"))?
        }
    };
    let (mut holds, mut claims) = (executed.clone(), history.clone());
    let mut parsed = Vec::new();
    for row in channels.into_iter().map(named) {
        let text = received(&row).unwrap_or_default();
        holds.join(&parse(&String::from_utf8_lossy(text))?);
        let by_writer = match version.dialect {
            Dialect::MySql => Transactions::parse(text),
            Dialect::MariaDb => Transactions::parse_state(text),
        };
        claims.join(&by_writer.ok_or_else(|| not_understood("GTIDs"))?);
        parsed.push(Channel::parse(&row).ok_or_else(|| not_understood("replication status"))?);
    }
    let identity = Identity {
        read_only: is_on(read_only),
        server_id: server_id.parse().unwrap_or(0),
        server_uuid: Some(uuid.clone()).filter(|uuid| !uuid.is_empty()),
        replication: Replication::Channels(parsed),
        group: None,
    };
    Ok(Testimony { identity, can_lead: is_on(can_lead), holds, executed, history, claims })
}
