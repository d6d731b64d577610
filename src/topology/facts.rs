//! What one server says of itself that a proxy's greeting and session defaults need.

use std::time::Duration;

use crate::sql::{Dialect, ServerVersion};
use crate::wire::capabilities::Capabilities;

use super::greeting::Greeting;

/// A server's own settings, as its greeting and its global variables give them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerFacts {
    /// The version string as the server's own greeting writes it (MariaDB below 11 puts `5.5.5-` before it).
    pub version_text: String,
    /// Dialect and number of the version.
    pub version: ServerVersion,
    /// The capability flags of the server's greeting, all 32 bits as sent.
    pub capabilities: u32,
    /// MariaDB's extended capabilities; 0 on MySQL.
    pub mariadb_capabilities: u32,
    /// The authentication plugin that the greeting names.
    pub auth_plugin: String,
    /// Collation byte of the greeting (the low byte of the id only).
    pub greeting_collation: u8,
    /// `@@global.autocommit`.
    pub autocommit: bool,
    /// `@@global.completion_type` is not NO_CHAIN: COMMIT begins a transaction, or disconnects.
    pub commit_chains: bool,
    /// The isolation level is SERIALIZABLE by default: plain reads lock what they read.
    pub serializable: bool,
    /// `@@global.sql_mode`.
    pub sql_mode: String,
    /// `@@global.collation_server`.
    pub default_collation: String,
    /// Its id in `information_schema.collations`.
    pub default_collation_id: u16,
    /// `@@lower_case_table_names`: 0, 1 or 2.
    pub lower_case_table_names: u8,
    /// `@@global.wait_timeout`.
    pub wait_timeout: Duration,
    /// `@@global.interactive_timeout`.
    pub interactive_timeout: Duration,
    /// `@@global.max_allowed_packet` in bytes.
    pub max_allowed_packet: u64,
    /// What it writes carries GTIDs, which its OK packets tell.
    pub gtids: bool,
}

/// Reads `9.7.4-0debian1` or `10.11.19-MariaDB-0+deb12u1`; the comment helps where a build hides its name.
pub(super) fn parse_version(version: &str, comment: &str) -> Option<ServerVersion> {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    let patch = numbers.next().flatten().unwrap_or(0);
    if major > 999 || minor > 99 || patch > 99 {
        return None;
    }
    let names_mariadb = |text: &str| text.to_ascii_lowercase().contains("mariadb");
    let dialect =
        if names_mariadb(version) || names_mariadb(comment) { Dialect::MariaDb } else { Dialect::MySql };
    Some(ServerVersion { dialect, number: major * 10_000 + minor * 100 + patch })
}

/// The greeting that a server of this version sends by default: used where the real one could not be read
/// (the server had no connection left for a second look).
pub(super) fn usual_greeting(version: ServerVersion, version_text: &str, tls: bool) -> Greeting {
    let mut flags = Capabilities::OFFERED
        | Capabilities::COMPRESS
        | Capabilities::IGNORE_SIGPIPE
        | Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS;
    flags.set(Capabilities::SSL, tls);
    let mysql = version.dialect == Dialect::MySql;
    flags.set(Capabilities::LONG_PASSWORD, mysql);
    flags.set(Capabilities::OPTIONAL_RESULTSET_METADATA, mysql && version.number >= 80_000);
    flags.set(Capabilities::QUERY_ATTRIBUTES, mysql && version.number >= 80_023);
    flags.set(Capabilities::DEPRECATE_EOF, !mysql || version.number >= 50_705);
    let prefix = if !mysql && version.number < 110_000 { "5.5.5-" } else { "" };
    Greeting {
        version_text: format!("{prefix}{version_text}"),
        capabilities: u32::from_le_bytes(flags.low()),
        mariadb_capabilities: 0,
        collation: if mysql { 255 } else { 45 },
        auth_plugin: if mysql && version.number >= 80_000 {
            "caching_sha2_password"
        } else {
            "mysql_native_password"
        }
        .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_dialects() {
        let of = |version, comment| parse_version(version, comment).map(|v| (v.dialect, v.number));
        assert_eq!(of("9.7.4-0debian1", "(Debian)"), Some((Dialect::MySql, 90_704)));
        assert_eq!(of("8.0.36", "MySQL Community Server - GPL"), Some((Dialect::MySql, 80_036)));
        assert_eq!(of("10.11.19-MariaDB-0+deb12u1-log", "Debian 12"), Some((Dialect::MariaDb, 101_119)));
        assert_eq!(of("11.4.2-build", "mariadb.org binary distribution"), Some((Dialect::MariaDb, 110_402)));
        assert_eq!(of("8.4", ""), Some((Dialect::MySql, 80_400)));
        for bad in ["", "x", "8", "8.x.1", "99999999999.1.1", "8.100.1"] {
            assert_eq!(of(bad, ""), None, "{bad}");
        }
    }

    #[test]
    fn usual_greetings_differ_by_dialect() {
        let maria = ServerVersion { dialect: Dialect::MariaDb, number: 101_119 };
        let greeting = usual_greeting(maria, "10.11.19-MariaDB", false);
        assert_eq!(greeting.version_text, "5.5.5-10.11.19-MariaDB");
        let flags = Capabilities::of(greeting.capabilities, 0);
        assert!(
            !flags
                .intersects(Capabilities::LONG_PASSWORD | Capabilities::QUERY_ATTRIBUTES | Capabilities::SSL)
        );
        assert!(flags.contains(Capabilities::DEPRECATE_EOF | Capabilities::SESSION_TRACK));
        let mysql = ServerVersion { dialect: Dialect::MySql, number: 90_704 };
        let greeting = usual_greeting(mysql, "9.7.4", true);
        assert_eq!(greeting.version_text, "9.7.4");
        let flags = Capabilities::of(greeting.capabilities, 0);
        assert!(
            flags.contains(Capabilities::LONG_PASSWORD | Capabilities::QUERY_ATTRIBUTES | Capabilities::SSL)
        );
    }
}
