//! What servers are told, in the words of their dialect.
//!
//! Pure. Does not know: connections, or when what is told. Invariant: text that comes from the rules is quoted here; statements with a
//! password are marked by being made by [`follow`] alone.

use std::fmt::Write as _;
use std::time::Duration;

use crate::config::Promotion;
use crate::sql::{Dialect, ServerVersion};

/// The lock that stands for the right to change a cluster's roles.
pub(super) const LOCK: &str = "tidegate-failover";
/// The lock that tells Tidegates that a server is about to hand over.
pub(in super::super) const HANDS_OVER: &str = "tidegate-switchover";
/// How many transactions are open at a server that may write; needs PROCESS.
pub(super) const OPEN_TRANSACTIONS: &str = "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> 0 AND trx_is_read_only = 0";
/// First MySQL with CHANGE REPLICATION SOURCE and `GET_SOURCE_PUBLIC_KEY`.
pub(super) const MYSQL_MIN: u32 = 80_023;

/// Asks a server what an election needs; a replication status follows.
pub(super) fn survey(version: ServerVersion) -> &'static str {
    match (version.dialect, version.number) {
        (Dialect::MySql, 80_026..) => {
            "SELECT @@global.read_only OR @@global.super_read_only, @@global.server_id, @@global.server_uuid, \
             @@global.log_bin AND @@global.log_replica_updates AND @@global.gtid_mode = 'ON', @@global.gtid_executed, ''; \
             SHOW REPLICA STATUS"
        }
        (Dialect::MySql, _) => {
            "SELECT @@global.read_only OR @@global.super_read_only, @@global.server_id, @@global.server_uuid, \
             @@global.log_bin AND @@global.log_slave_updates AND @@global.gtid_mode = 'ON', @@global.gtid_executed, ''; \
             SHOW REPLICA STATUS"
        }
        (Dialect::MariaDb, _) => {
            "SELECT @@global.read_only, @@global.server_id, '', @@global.log_bin AND @@global.log_slave_updates, \
             @@global.gtid_slave_pos, @@global.gtid_binlog_state; SHOW ALL SLAVES STATUS"
        }
    }
}

/// What a server has written to its binary log so far, in the form that [`wait_for`] takes.
pub(super) fn position(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "SELECT @@global.gtid_executed",
        Dialect::MariaDb => "SELECT @@global.gtid_binlog_pos",
    }
}

/// Waits until a replica has applied these; answers 0 where it has.
pub(super) fn wait_for(dialect: Dialect, transactions: &str, limit: Duration) -> String {
    let function = match dialect {
        Dialect::MySql => "WAIT_FOR_EXECUTED_GTID_SET",
        Dialect::MariaDb => "MASTER_GTID_WAIT",
    };
    format!("SELECT {function}('{transactions}', {})", limit.as_secs().max(1))
}

/// Stops receiving; or begins again.
pub(super) fn receive(dialect: Dialect, on: bool) -> &'static str {
    match (dialect, on) {
        (Dialect::MySql, true) => "START REPLICA IO_THREAD",
        (Dialect::MySql, false) => "STOP REPLICA IO_THREAD",
        (Dialect::MariaDb, true) => "START SLAVE IO_THREAD",
        (Dialect::MariaDb, false) => "STOP SLAVE IO_THREAD",
    }
}

/// Makes a replica a primary: it takes writes, stops following, and forgets whom it followed. In this order a server that is left
/// half done is no primary to anybody, as it still has a source; and it can be told from one whose threads a person has stopped.
pub(super) fn promote(dialect: Dialect) -> [&'static str; 3] {
    match dialect {
        // This turns super_read_only off as well.
        Dialect::MySql => ["SET GLOBAL read_only = OFF", "STOP REPLICA", "RESET REPLICA ALL"],
        Dialect::MariaDb => ["SET GLOBAL read_only = OFF", "STOP SLAVE", "RESET SLAVE ALL"],
    }
}

/// Follows on whom it has followed.
pub(super) fn start(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "START REPLICA",
        Dialect::MariaDb => "START SLAVE",
    }
}

/// Takes no writes from now on, not even by accounts that may pass `read_only`, where the server can refuse those.
pub(super) fn fence(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => "SET GLOBAL super_read_only = ON",
        Dialect::MariaDb => "SET GLOBAL read_only = ON",
    }
}

/// Takes writes again.
pub(super) fn unfence(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql | Dialect::MariaDb => "SET GLOBAL read_only = OFF",
    }
}

/// Whom to follow, and how the connection to it is made.
pub(super) struct Source<'a> {
    pub host: &'a str,
    pub port: u16,
    pub settings: &'a Promotion,
    /// Insist on TLS.
    pub tls: bool,
}

/// Makes a server follow another. `anew`: it has followed nobody: it goes on from what it has written itself, and tries again often.
/// These statements hold a password: they are not to be logged.
pub(super) fn follow(dialect: Dialect, source: &Source<'_>, anew: bool) -> Vec<String> {
    let Source { host, port, settings, tls } = source;
    let user = quoted(settings.replication_user.as_bytes());
    let password = quoted(settings.replication_password.expose());
    let host = quoted(host.as_bytes());
    match dialect {
        Dialect::MySql => {
            let mut change = format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = {host}, SOURCE_PORT = {port}, SOURCE_USER = {user}, \
                 SOURCE_PASSWORD = {password}, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1"
            );
            change.push_str(if *tls { ", SOURCE_SSL = 1" } else { "" });
            change.push_str(if anew {
                ", SOURCE_CONNECT_RETRY = 2, SOURCE_RETRY_COUNT = 86400, SOURCE_HEARTBEAT_PERIOD = 2"
            } else {
                ""
            });
            vec!["STOP REPLICA".into(), change, "START REPLICA".into()]
        }
        Dialect::MariaDb => {
            let mut change = format!(
                "CHANGE MASTER TO MASTER_HOST = {host}, MASTER_PORT = {port}, MASTER_USER = {user}, \
                 MASTER_PASSWORD = {password}, MASTER_USE_GTID = slave_pos"
            );
            change.push_str(if *tls { ", MASTER_SSL = 1, MASTER_SSL_VERIFY_SERVER_CERT = 0" } else { "" });
            change.push_str(if anew {
                ", MASTER_CONNECT_RETRY = 2, MASTER_HEARTBEAT_PERIOD = 2"
            } else {
                ""
            });
            let mut all = vec!["STOP SLAVE".to_owned()];
            if anew {
                all.push("SET GLOBAL gtid_slave_pos = @@global.gtid_binlog_pos".to_owned());
            }
            all.extend([change, "START SLAVE".to_owned()]);
            all
        }
    }
}

/// A text literal; the connections that it goes over have an empty `sql_mode` and a character set in which no byte of a character is
/// a quote or a backslash.
fn quoted(text: &[u8]) -> String {
    let mut out = String::from("'");
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '\'' | '\\' => {
                let _ = write!(out, "\\{character}");
            }
            '\n' => out.push_str("\\n"),
            '\0' => out.push_str("\\0"),
            _ => out.push(character),
        }
    }
    out.push('\'');
    out
}

/// Privileges that an account lacks for this, by its SHOW GRANTS; what comes by roles is not seen. `semi_sync`: also for a server whose
/// commits wait for acknowledgements, which is set so, and shut out by ending its clients.
pub(super) fn missing(dialect: Dialect, grants: &[String], semi_sync: bool) -> Vec<&'static str> {
    let needed: &[&[&str]] = match dialect {
        Dialect::MySql => &[
            &["REPLICATION_SLAVE_ADMIN", "SUPER"],
            &["SYSTEM_VARIABLES_ADMIN", "SUPER"],
            &["REPLICATION CLIENT", "SUPER"],
            &["RELOAD"],
        ],
        Dialect::MariaDb => &[
            &["REPLICATION SLAVE ADMIN", "REPLICATION REPLICA ADMIN", "SUPER"],
            &["READ_ONLY ADMIN", "READ ONLY ADMIN", "SUPER"],
            &["SLAVE MONITOR", "REPLICA MONITOR", "SUPER"],
            &["RELOAD"],
        ],
    };
    let more: &[&[&str]] = match dialect {
        _ if !semi_sync => &[],
        Dialect::MySql => &[&["PROCESS"], &["CONNECTION_ADMIN", "SUPER"]],
        Dialect::MariaDb => {
            &[&["PROCESS"], &["CONNECTION ADMIN", "SUPER"], &["REPLICATION MASTER ADMIN", "SUPER"]]
        }
    };
    let has = |name: &str| {
        grants.iter().map(|grant| grant.to_ascii_uppercase()).any(|grant| {
            let head = grant.split(" ON *.*").next().filter(|head| *head != grant).unwrap_or_default();
            let mut names = head.trim_start_matches("GRANT ").split(',').map(str::trim);
            names.any(|given| given == name || given == "ALL PRIVILEGES")
        })
    };
    needed.iter().chain(more).filter(|any| !any.iter().any(|name| has(name))).map(|any| any[0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn settings() -> Promotion {
        Promotion {
            user: "u".into(),
            password: Secret::new("p"),
            replication_user: "re'pl".into(),
            replication_password: Secret::new(r"a'b\c"),
            apply_timeout: Duration::from_secs(1),
            transactions_timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_comes_from_the_rules_is_quoted() {
        let settings = settings();
        let source = Source { host: "h", port: 3307, settings: &settings, tls: true };
        for dialect in [Dialect::MySql, Dialect::MariaDb] {
            let told = follow(dialect, &source, false).join("; ");
            assert!(told.contains(r"_USER = 're\'pl'") && told.contains(r"_PASSWORD = 'a\'b\\c'"), "{told}");
            assert!(told.contains("_SSL = 1") && told.contains("_PORT = 3307"), "{told}");
        }
    }

    #[test]
    fn a_server_that_followed_nobody_goes_on_from_what_it_wrote() {
        let settings = settings();
        let source = Source { host: "h", port: 1, settings: &settings, tls: false };
        let told = |anew| follow(Dialect::MariaDb, &source, anew);
        assert_eq!(told(true)[1], "SET GLOBAL gtid_slave_pos = @@global.gtid_binlog_pos");
        assert!(!told(false).iter().any(|sql| sql.contains("gtid_slave_pos =")));
    }

    #[test]
    fn rights_that_are_missing_are_named() {
        let grants = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let some = grants(&[
            "GRANT RELOAD, REPLICATION CLIENT ON *.* TO `f`@`%`",
            "GRANT REPLICATION_SLAVE_ADMIN ON *.* TO `f`@`%`",
        ]);
        assert_eq!(missing(Dialect::MySql, &some, false), ["SYSTEM_VARIABLES_ADMIN"]);
        let with_clients = missing(Dialect::MySql, &some, true);
        assert_eq!(with_clients, ["SYSTEM_VARIABLES_ADMIN", "PROCESS", "CONNECTION_ADMIN"]);
        let of_one_schema = grants(&["GRANT ALL PRIVILEGES ON `x`.* TO `f`@`%`"]);
        assert_eq!(missing(Dialect::MySql, &of_one_schema, false).len(), 4);
        let all = grants(&["GRANT ALL PRIVILEGES ON *.* TO `f`@`%` WITH GRANT OPTION"]);
        assert_eq!(missing(Dialect::MariaDb, &all, true), [""; 0]);
    }
}
