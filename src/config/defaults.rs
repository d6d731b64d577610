//! What holds where the file says nothing.
//!
//! Owns: every default value, and no other number. Does not know: the file.
//! Invariant: the defaults are within the bounds of `docs/configuration.md`, whose table repeats them.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::time::Duration;

use crate::balance::Balance;
use crate::consistency::Consistency;

use super::lag::LagBy;
use super::listen::Keepalive;
use super::model::{
    ClientTls, Cluster, Compression, Limits, Log, LogFormat, Monitor, Pool, Reads, Replay, Secret, ServerTls,
    ServerTlsMode, TlsVersion, Transactions,
};

/// Where clients are accepted: an own port beside MySQL's, from this machine only.
pub(super) const LISTEN: &str = "127.0.0.1:4406";
/// Where the SQL console is, once it has an account: from this machine only.
pub(super) const CONSOLE: &str = "127.0.0.1:4407";
/// Whether statements are counted by their digest for it.
pub(super) const DIGESTS: bool = true;
/// What clients may compress with: as mysqld's `protocol_compression_algorithms`.
pub(super) const CLIENT_COMPRESSION: [Compression; 2] = [Compression::Zlib, Compression::Zstd];
/// The monitor's account where no file names one.
pub(super) const MONITOR_USER: &str = "tidegate";
/// How long open transactions may go on after SIGTERM.
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How often servers' names are looked up.
pub(super) const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);
/// How long a candidate may take to apply what it has received.
pub(super) const APPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a planned switchover waits for open transactions: below `pool.primary_wait`, so that nobody who waits meanwhile fails.
pub(super) const TRANSACTIONS_TIMEOUT: Duration = Duration::from_secs(3);
/// A server's share of the reads.
pub(super) const WEIGHT: u32 = 1;

/// One worker per core that this process may use.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

impl Default for ClientTls {
    fn default() -> Self {
        Self {
            certificate: None,
            require: false,
            require_certificate: false,
            client_ca: None,
            enabled: true,
            min_version: TlsVersion::V1_2,
        }
    }
}

impl Default for Keepalive {
    /// A peer that vanished without a word is noticed after two minutes.
    fn default() -> Self {
        Self { time: Duration::from_secs(60), interval: Duration::from_secs(10), probes: 6 }
    }
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            user: MONITOR_USER.to_owned(),
            password: Secret::new(""),
            interval: Duration::from_millis(250),
            timeout: Duration::from_secs(1),
            failures: 3,
            successes: 2,
            lag: LagBy::Auto,
        }
    }
}

impl Default for Cluster {
    /// A cluster without servers.
    fn default() -> Self {
        super::cluster::empty("main".to_owned())
    }
}

impl Default for ServerTls {
    fn default() -> Self {
        Self { mode: ServerTlsMode::Preferred, ca: None, certificate: None }
    }
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            max_lag: Some(Duration::from_secs(2)),
            balance: Balance::LagWeighted,
            balance_of: BTreeMap::new(),
            consistency: Consistency::Session,
            wait: Duration::from_millis(200),
            slow_start: Duration::from_secs(10),
            spill: None,
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            max: 100,
            min_idle: 0,
            idle_timeout: Duration::from_secs(5 * 60),
            lifetime: Duration::from_secs(30 * 60),
            lifetime_jitter_percent: 10,
            queue: 1000,
            queue_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
            primary_wait: Duration::from_secs(5),
        }
    }
}

impl Default for Transactions {
    fn default() -> Self {
        Self { replay: Replay::Reads, replay_statements_max: 1000, replay_size_max: 1 << 20 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 10_000,
            login_timeout: Duration::from_secs(10),
            packet_max: 64 << 20,
            packet_memory_max: 1 << 30,
            merge_memory_max: 64 << 20,
            merge_memory_total_max: 1 << 30,
            prepared_max: 16_382,
            prepared_per_backend_max: 128,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Text }
    }
}
