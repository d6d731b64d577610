//! The probe of one server: a connection of the monitor's own, kept open, and one round trip per probe.
//!
//! Owns: the monitor's statements and what their errors mean. Does not know: roles, limits, other servers.
//! Invariant: nothing here waits without bound as long as the caller bounds `probe`; it is not cancel safe, so a
//! prober whose probe was cut off is thrown away with its connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, DriverError, Error, IoError, Opts, OptsBuilder, Row, SslOpts};

use crate::config::{Secret, Server, ServerTls, ServerTlsMode};
use crate::sql::{Dialect, ServerVersion};

use super::book::Observation;
use super::facts::{self, ServerFacts};
use super::greeting::{self, Greeting};
use super::group::{self, Membership};
use super::gtid::Transactions;
use super::health::Cause;
use super::replication::{Channel, Replication};
use super::roles::Identity;

/// "Too many connections": the whole server's, one account's, one account's in use.
const BUSY: [u16; 3] = [1040, 1203, 1226];
/// Wrong password, no such account, account locked, password expired, TLS demanded.
const ACCESS_DENIED: [u16; 8] = [1045, 1044, 1130, 1251, 1698, 1862, 3118, 3159];
/// "Access denied; you need (at least one of) the … privilege(s) for this operation".
const PRIVILEGE_MISSING: u16 = 1227;
/// The account may not read this table; there is none of this name.
const TABLE_CLOSED: [u16; 2] = [1142, 1146];

/// Where and how to connect; made once per server.
#[derive(Clone, Debug)]
pub(super) struct Target {
    host: String,
    at: SocketAddr,
    plain: Opts,
    tls: Option<Opts>,
    /// `preferred`: a server without TLS is taken as it is.
    tls_may_lack: bool,
}

impl Target {
    /// This account's way to this server, which is at `at`.
    pub fn new(server: &Server, at: SocketAddr, tls: &ServerTls, user: &str, password: &Secret) -> Self {
        let options = OptsBuilder::default()
            .ip_or_hostname(at.ip().to_string())
            .tcp_port(at.port())
            .user(Some(user))
            .pass(Some(String::from_utf8_lossy(password.expose())))
            .prefer_socket(false)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(Duration::from_secs(10)))
            .stmt_cache_size(0)
            // Both given, or the driver asks the server for them at each connect.
            .max_allowed_packet(Some(1 << 20))
            .wait_timeout(Some(28_800))
            // With autocommit=0 as the server's default a probe would hold a transaction open.
            .init(vec!["SET autocommit=1"]);
        let own = tls
            .certificate
            .as_ref()
            .map(|files| ClientIdentity::new(files.certificate.clone().into(), files.key.clone().into()));
        let shown = SslOpts::default()
            .with_client_identity(own)
            .with_danger_tls_hostname_override(Some(server.host.clone()));
        let secured = match tls.mode {
            ServerTlsMode::Off => None,
            ServerTlsMode::Preferred | ServerTlsMode::Required => {
                Some(shown.with_danger_accept_invalid_certs(true))
            }
            ServerTlsMode::Verified => Some(
                shown
                    .with_disable_built_in_roots(true)
                    .with_root_certs(tls.ca.iter().map(|path| path.clone().into()).collect()),
            ),
        };
        Self {
            host: server.host.clone(),
            at,
            tls: secured.map(|secured| options.clone().ssl_opts(secured).into()),
            plain: options.into(),
            tls_may_lack: tls.mode == ServerTlsMode::Preferred,
        }
    }

    /// A connection, and whether it is over TLS.
    pub async fn connect(&self) -> Result<(Conn, bool), Error> {
        let Some(tls) = &self.tls else { return Ok((Conn::new(self.plain.clone()).await?, false)) };
        match Conn::new(tls.clone()).await {
            Err(Error::Driver(DriverError::NoClientSslFlagFromServer)) if self.tls_may_lack => {
                Ok((Conn::new(self.plain.clone()).await?, false))
            }
            connected => Ok((connected?, true)),
        }
    }
}

/// Why there is no observation.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server has no connection left.
    Busy(String),
    /// The probe failed; the text is for the log only: it may name hosts and accounts.
    Failed(Cause, String),
}

/// The prober of one server.
#[derive(Debug)]
pub(super) struct Prober {
    target: Target,
    link: Option<Link>,
}

/// A connection and what stays the same while it lives.
#[derive(Debug)]
struct Link {
    connection: Conn,
    made: Instant,
    version: ServerVersion,
    greeting: Greeting,
    /// The last name and id of `collation_server`.
    collation: (String, u16),
}

impl Prober {
    /// A prober that has not connected yet.
    pub fn new(target: Target) -> Self {
        Self { target, link: None }
    }

    /// One probe. A kept connection that turns out to be gone (a restart, KILL, `wait_timeout`) is replaced
    /// within the same probe: it says nothing of the server. Not cancel safe.
    pub async fn probe(&mut self) -> Result<Observation, Failure> {
        if let Some(mut link) = self.link.take() {
            match link.observe().await {
                Ok(observation) => {
                    self.link = Some(link);
                    return Ok(observation);
                }
                Err(error) => tracing::debug!(%error, host = self.target.host, "monitor connection lost"),
            }
        }
        let mut link = Link::open(&self.target).await.map_err(|error| judge(&error))?;
        let observation = link.observe().await.map_err(|error| judge(&error))?;
        self.link = Some(link);
        Ok(observation)
    }
}

impl Link {
    async fn open(target: &Target) -> Result<Self, Error> {
        let (mut connection, is_tls) = target.connect().await?;
        let row: Row = connection
            .query_first("SELECT @@version, @@version_comment")
            .await?
            .ok_or_else(|| not_understood("no version"))?;
        let texts = texts(row);
        let [version_text, comment] = &texts[..] else { return Err(not_understood("version")) };
        let version =
            facts::parse_version(version_text, comment).ok_or_else(|| not_understood("version number"))?;
        let greeting = match greeting::read_from(target.at).await {
            Ok(greeting) => greeting,
            Err(error) => {
                tracing::debug!(%error, host = target.host, "greeting not read, the usual one is assumed");
                facts::usual_greeting(version, version_text, is_tls)
            }
        };
        Ok(Self { connection, made: Instant::now(), version, greeting, collation: (String::new(), 0) })
    }

    async fn observe(&mut self) -> Result<Observation, Error> {
        let mut answer = self.connection.query_iter(statements(self.version)).await?;
        let rows: Vec<Row> = answer.collect().await?;
        let replication = match answer.collect::<Row>().await {
            Ok(rows) => Replication::Channels(
                rows.into_iter()
                    .map(|row| {
                        Channel::parse(&named(row)).ok_or_else(|| not_understood("replication status"))
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Err(Error::Server(error)) if error.code == PRIVILEGE_MISSING => Replication::Unreadable,
            Err(error) => return Err(error),
        };
        let group = match answer.collect::<Row>().await {
            Ok(rows) => rows.into_iter().map(texts).collect(),
            // Without the privilege a member that takes no writes is a server that follows nobody.
            Err(Error::Server(error)) if TABLE_CLOSED.contains(&error.code) => Vec::new(),
            Err(error) => return Err(error),
        };
        drop(answer);
        let values = rows.into_iter().next().map(texts).unwrap_or_default();
        let [
            read_only,
            super_read_only,
            server_id,
            server_uuid,
            autocommit,
            completion_type,
            isolation,
            sql_mode,
            collation,
            lower_case_table_names,
            wait_timeout,
            interactive_timeout,
            max_allowed_packet,
            gtids,
            applied,
            written,
            state,
            hands_over,
        ] = &values[..]
        else {
            return Err(not_understood("variables"));
        };
        if self.collation.0 != *collation {
            self.collation = (collation.clone(), self.collation_id(collation).await?);
        }
        let (group, committed) = match self.version.dialect {
            Dialect::MySql => (Membership::of_mysql(&group, server_uuid), None),
            Dialect::MariaDb => {
                Membership::of_galera(&group).map_or((None, None), |(it, all)| (Some(it), all))
            }
        };
        // Each node of Galera names a transaction as it likes, unless told otherwise: their common order is another one.
        let in_galera = group.is_some() && self.version.dialect == Dialect::MariaDb;
        let seconds = |text: &str| Duration::from_secs(text.parse().unwrap_or(28_800));
        let facts = ServerFacts {
            version_text: self.greeting.version_text.clone(),
            version: self.version,
            capabilities: self.greeting.capabilities,
            mariadb_capabilities: self.greeting.mariadb_capabilities,
            auth_plugin: self.greeting.auth_plugin.clone(),
            greeting_collation: self.greeting.collation,
            autocommit: is_on(autocommit),
            commit_chains: completion_type != "NO_CHAIN",
            serializable: isolation == "SERIALIZABLE",
            sql_mode: sql_mode.clone(),
            default_collation: collation.clone(),
            default_collation_id: self.collation.1,
            lower_case_table_names: lower_case_table_names.parse().unwrap_or(0),
            wait_timeout: seconds(wait_timeout),
            interactive_timeout: seconds(interactive_timeout),
            max_allowed_packet: max_allowed_packet.parse().unwrap_or(1 << 24),
            gtids: is_on(gtids) && !in_galera,
        };
        let identity = Identity {
            read_only: is_on(read_only) || is_on(super_read_only),
            server_id: server_id.parse().unwrap_or(0),
            server_uuid: Some(server_uuid.clone()).filter(|uuid| !uuid.is_empty()),
            replication,
            group,
        };
        // What a MariaDB replica wrote itself counts in the same domain as what it should have applied: only the latter is asked of it.
        let follows = !identity.replication.channels().is_empty();
        let executed = if follows || written.is_empty() { applied } else { written };
        let executed = Transactions::parse(executed.as_bytes()).filter(|_| facts.gtids);
        let executed = if in_galera { committed } else { executed }.map(Arc::new);
        let history = match self.version.dialect {
            Dialect::MySql => executed.clone(),
            Dialect::MariaDb if in_galera => None,
            Dialect::MariaDb => Transactions::parse_state(state.as_bytes()).map(Arc::new),
        };
        Ok(Observation {
            connected: self.made,
            identity,
            facts: Arc::new(facts),
            executed,
            history,
            hands_over: is_on(hands_over),
        })
    }

    /// A second round trip, only when the collation is another one than at the last probe.
    async fn collation_id(&mut self, name: &str) -> Result<u16, Error> {
        // The server's own word; checked before it becomes part of a statement.
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(not_understood("collation name"));
        }
        let sql = format!(
            "SELECT id FROM information_schema.collations WHERE collation_name = '{name}' AND id IS NOT NULL"
        );
        let id: Option<u16> = self.connection.query_first(sql).await?;
        Ok(id.unwrap_or_else(|| self.greeting.collation.into()))
    }
}

/// The statements of one probe, sent together.
fn statements(version: ServerVersion) -> String {
    macro_rules! both {
        ($super_read_only:literal, $uuid:literal, $isolation:literal, $gtids:literal, $status:literal) => {
            concat!(
                "SELECT @@global.read_only, ", $super_read_only, ", @@global.server_id, ", $uuid,
                ", @@global.autocommit, @@global.completion_type, ", $isolation, ", @@global.sql_mode, @@global.collation_server, \
                 @@global.lower_case_table_names, @@global.wait_timeout, @@global.interactive_timeout, \
                 @@global.max_allowed_packet, ", $gtids, ", IS_USED_LOCK('tidegate-switchover') IS NOT NULL; ", $status
            )
        };
    }
    macro_rules! mysql {
        ($status:literal) => {
            both!(
                "@@global.super_read_only",
                "@@global.server_uuid",
                "@@global.transaction_isolation",
                "@@global.log_bin AND @@global.gtid_mode IN ('ON', 'ON_PERMISSIVE'), @@global.gtid_executed, '', ''",
                $status
            )
        };
    }
    macro_rules! mariadb {
        ($status:literal) => {
            both!(
                "0",
                "''",
                "@@global.tx_isolation",
                "@@global.log_bin, @@global.gtid_slave_pos, @@global.gtid_binlog_pos, @@global.gtid_binlog_state",
                $status
            )
        };
    }
    let (own, group) = match (version.dialect, version.number) {
        (Dialect::MySql, 80_022..) => (mysql!("SHOW REPLICA STATUS"), group::ASK_MYSQL),
        (Dialect::MySql, _) => (mysql!("SHOW SLAVE STATUS"), group::ASK_MYSQL),
        (Dialect::MariaDb, 100_501..) => (mariadb!("SHOW ALL REPLICAS STATUS"), group::ASK_MARIADB),
        (Dialect::MariaDb, _) => (mariadb!("SHOW ALL SLAVES STATUS"), group::ASK_MARIADB),
    };
    // What may be refused comes last: nothing behind it is run.
    format!("{own}; {group}")
}

pub(super) fn is_on(value: &str) -> bool {
    !matches!(value, "0" | "OFF" | "")
}

/// All values as text; NULL is empty.
pub(super) fn texts(row: Row) -> Vec<String> {
    values(row).into_iter().map(|value| lossy(value.unwrap_or_default())).collect()
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A row's values by their columns' names.
pub(super) type NamedRow = Vec<(String, Option<Vec<u8>>)>;

pub(super) fn named(row: Row) -> NamedRow {
    let columns = row.columns();
    let names = columns.iter().map(|column| column.name_str().into_owned());
    names.zip(row.unwrap_raw().into_iter().map(bytes)).collect()
}

/// All values, `None` for NULL.
pub(super) fn values(row: Row) -> Vec<Option<Vec<u8>>> {
    row.unwrap_raw().into_iter().map(bytes).collect()
}

/// Text results hold bytes or NULL.
fn bytes(value: Option<mysql_async::Value>) -> Option<Vec<u8>> {
    match value {
        Some(mysql_async::Value::Bytes(bytes)) => Some(bytes),
        _ => None,
    }
}

pub(super) fn not_understood(what: &'static str) -> Error {
    Error::Other(what.into())
}

fn judge(error: &Error) -> Failure {
    let cause = match error {
        Error::Server(server) if BUSY.contains(&server.code) => return Failure::Busy(error.to_string()),
        Error::Server(server) if ACCESS_DENIED.contains(&server.code) => Cause::AccessDenied,
        Error::Server(server) => Cause::Server(server.code),
        Error::Io(IoError::Io(error)) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Cause::Refused,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Cause::Lost,
            // The handshake's own errors arrive wrapped, not as `IoError::Tls`.
            _ if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => Cause::Tls,
            _ => Cause::Unreachable,
        },
        Error::Io(IoError::Tls(_)) | Error::Driver(DriverError::NoClientSslFlagFromServer) => Cause::Tls,
        Error::Driver(DriverError::ConnectionClosed) => Cause::Lost,
        Error::Driver(DriverError::UnknownAuthPlugin { .. } | DriverError::CleartextPluginDisabled) => {
            Cause::AccessDenied
        }
        _ => Cause::Protocol,
    };
    Failure::Failed(cause, error.to_string())
}

#[cfg(test)]
mod tests {
    use mysql_async::ServerError;

    use super::*;

    fn server_error(code: u16) -> Failure {
        judge(&Error::Server(ServerError { code, message: "m".into(), state: "HY000".into() }))
    }

    #[test]
    fn t32_too_many_connections_is_busy() {
        assert!(matches!(server_error(1040), Failure::Busy(_)));
        assert!(matches!(server_error(1045), Failure::Failed(Cause::AccessDenied, _)));
        assert!(matches!(server_error(1053), Failure::Failed(Cause::Server(1053), _)));
    }

    #[test]
    fn the_words_of_each_dialect() {
        let of = |dialect, number| statements(ServerVersion { dialect, number });
        assert!(of(Dialect::MySql, 90_704).contains("; SHOW REPLICA STATUS; SELECT g."));
        assert!(of(Dialect::MySql, 80_021).contains("; SHOW SLAVE STATUS; SELECT g."));
        assert!(of(Dialect::MariaDb, 101_119).contains("; SHOW ALL REPLICAS STATUS; SHOW GLOBAL"));
        assert!(!of(Dialect::MariaDb, 101_119).contains("super_read_only"));
        let announced = format!("IS_USED_LOCK('{}')", super::super::promotion::HANDS_OVER);
        assert!(
            of(Dialect::MySql, 90_704).contains(&announced)
                && of(Dialect::MariaDb, 101_119).contains(&announced)
        );
        assert!(of(Dialect::MariaDb, 100_411).contains("; SHOW ALL SLAVES STATUS; SHOW GLOBAL"));
    }

    #[test]
    fn switches_are_numbers_or_words() {
        assert!(is_on("1") && is_on("ON") && is_on("NO_LOCK_NO_ADMIN"));
        assert!(!is_on("0") && !is_on("OFF"));
    }
}
