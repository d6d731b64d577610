//! The configuration in effect, as options and values of the rules file.
//!
//! Owns: every option's name beside the resolved value. Does not know: who asks. Invariant: no secret is shown, not
//! even whether there is one.

use std::time::Duration;

use super::cluster::TOPOLOGIES;
use super::defaults::{APPLY_TIMEOUT, TRANSACTIONS_TIMEOUT};
use super::lag::{LagBy, TableName};
use super::listen::Keepalive;
use super::model::{
    Auth, Cluster, Compression, Config, LogFormat, Pool, Require, ServerTlsMode, TlsVersion, Transactions,
};
use super::sharding;
use super::units::{DURATION, PERCENT, SIZE};

impl Config {
    /// Options with the values in effect, in the order of `docs/configuration.md`; lists have one entry an element.
    pub fn shown(&self) -> Vec<(String, String)> {
        let mut out = Shown::default();
        out.put("version", 1);
        out.list("listen", &self.listen);
        let trusted = &self.proxy_protocol;
        let mut networks: Vec<_> = trusted.networks.iter().map(ToString::to_string).collect();
        networks.extend(trusted.unix.then(|| "localhost".to_owned()));
        out.list("proxy_protocol.networks", &networks);
        out.keepalive("keepalive", &self.keepalive);
        out.optional("admin.http", self.http);
        out.optional("admin.sql", self.console.as_ref().map(|console| console.listen));
        let operators = self.console.iter().flat_map(|console| &console.users);
        for (at, user) in operators.enumerate() {
            out.put(format!("admin.users[{at}].name"), &user.name);
        }
        out.optional("admin.digests", self.console.as_ref().map(|console| console.digests));
        match &self.auth {
            Auth::Passthrough => out.put("auth", "passthrough"),
            Auth::Users(users) => {
                out.put("auth", "users");
                for (at, user) in users.iter().enumerate() {
                    out.put(format!("users[{at}].name"), &user.name);
                    out.put(format!("users[{at}].backend.user"), &user.backend_user);
                    let (require, subject, issuer) = match &user.require {
                        Require::Nothing => ("", None, None),
                        Require::Tls => ("tls", None, None),
                        Require::Certificate { subject, issuer } => {
                            ("x509", subject.as_ref(), issuer.as_ref())
                        }
                    };
                    out.put(format!("users[{at}].require"), require);
                    out.optional(format!("users[{at}].require.subject"), subject);
                    out.optional(format!("users[{at}].require.issuer"), issuer);
                }
            }
        }
        out.put("monitor.user", &self.monitor.user);
        out.duration("monitor.interval", self.monitor.interval);
        out.duration("monitor.timeout", self.monitor.timeout);
        out.put("monitor.failures", self.monitor.failures);
        out.put("monitor.successes", self.monitor.successes);
        let lag = &self.monitor.lag;
        out.put("monitor.lag.mode", lag.mode());
        let beats = lag.beats();
        let name = |TableName { database, table }: &TableName| format!("{database}.{table}");
        out.optional("monitor.lag.table", beats.map(|beats| name(&beats.table)));
        out.optional("monitor.lag.interval", beats.map(|beats| duration(beats.interval)));
        out.optional("monitor.lag.query", if let LagBy::Query(query) = lag { Some(query) } else { None });
        self.tls(&mut out);
        let allowed: Vec<_> = self.client_compression.iter().map(|allowed| compression(*allowed)).collect();
        out.list("compression", &allowed);
        out.put("default_cluster", &self.home().name);
        self.clusters.iter().for_each(|cluster| shown_cluster(cluster, &mut out));
        for (database, balance) in &self.home().reads.balance_of {
            out.put(format!("databases.{database}.reads.balance"), balance.name());
        }
        let names: Vec<_> = self.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        sharding::shown(&self.rules, &self.tests, &names, &mut out);
        let limits = &self.limits;
        out.put("limits.clients", limits.clients);
        out.duration("limits.login_timeout", limits.login_timeout);
        out.size("limits.packet", limits.packet_max);
        out.size("limits.packet_memory", limits.packet_memory_max);
        out.size("limits.merge_memory", limits.merge_memory_max);
        out.size("limits.merge_memory_total", limits.merge_memory_total_max);
        out.put("limits.prepared", limits.prepared_max);
        out.put("limits.prepared_per_backend", limits.prepared_per_backend_max);
        out.duration("drain.timeout", self.drain_timeout);
        out.put("threads", self.threads);
        out.put("log.filter", &self.log.filter);
        out.put("log.format", if self.log.format == LogFormat::Json { "json" } else { "text" });
        out.0
    }

    fn tls(&self, out: &mut Shown) {
        let tls = &self.client_tls;
        out.put("tls.enabled", tls.enabled);
        let files = tls.certificate.as_ref();
        out.optional("tls.certificate", files.map(|files| files.certificate.display()));
        out.optional("tls.key", files.map(|files| files.key.display()));
        match tls.require_certificate {
            true => out.put("tls.require", "x509"),
            false => out.put("tls.require", tls.require),
        }
        out.optional("tls.client_ca", tls.client_ca.as_ref().map(|path| path.display()));
        out.put("tls.min_version", if tls.min_version == TlsVersion::V1_2 { "1.2" } else { "1.3" });
    }
}

/// One cluster's options.
fn shown_cluster(cluster: &Cluster, out: &mut Shown) {
    let name = |option: &str| format!("clusters.{}.{option}", cluster.name);
    for (at, server) in cluster.servers.iter().enumerate() {
        out.put(name(&format!("servers[{at}].address")), server.address());
        out.put(name(&format!("servers[{at}].weight")), server.weight);
        out.put(name(&format!("servers[{at}].draining")), server.draining);
    }
    out.duration(name("resolve_interval"), cluster.resolve_interval);
    let mode = match cluster.tls.mode {
        ServerTlsMode::Off => "off",
        ServerTlsMode::Preferred => "preferred",
        ServerTlsMode::Required => "required",
        ServerTlsMode::Verified => "verified",
    };
    out.put(name("tls.mode"), mode);
    out.optional(name("tls.ca"), cluster.tls.ca.as_ref().map(|path| path.display()));
    let files = cluster.tls.certificate.as_ref();
    out.optional(name("tls.certificate"), files.map(|files| files.certificate.display()));
    out.optional(name("tls.key"), files.map(|files| files.key.display()));
    out.keepalive(&name("keepalive"), &cluster.keepalive);
    out.put(name("compression"), cluster.compression.map_or("none", compression));
    let topology = TOPOLOGIES.iter().find(|(_, multi)| *multi == cluster.multi_primary);
    out.optional(name("topology"), topology.map(|(name, _)| name));
    out.put(name("forward_attributes"), cluster.forward_attributes);
    let promotion = cluster.promotion.as_ref();
    out.put(name("failover.mode"), if promotion.is_some() { "promote" } else { "follow" });
    out.optional(name("failover.user"), promotion.map(|promotion| &promotion.user));
    out.optional(name("failover.replication.user"), promotion.map(|promotion| &promotion.replication_user));
    let times = promotion.map_or((APPLY_TIMEOUT, TRANSACTIONS_TIMEOUT), |promotion| {
        (promotion.apply_timeout, promotion.transactions_timeout)
    });
    out.duration(name("failover.apply_timeout"), times.0);
    out.duration(name("failover.transactions_timeout"), times.1);
    match cluster.reads.max_lag {
        Some(lag) => out.duration(name("reads.max_lag"), lag),
        None => out.put(name("reads.max_lag"), "unlimited"),
    }
    out.put(name("reads.balance"), cluster.reads.balance.name());
    out.put(name("reads.consistency"), cluster.reads.consistency);
    out.duration(name("reads.wait"), cluster.reads.wait);
    out.duration(name("reads.slow_start"), cluster.reads.slow_start);
    match cluster.reads.spill {
        Some(reads) => out.put(name("reads.spill"), reads),
        None => out.put(name("reads.spill"), "unlimited"),
    }
    let Pool { max, min_idle, idle_timeout, lifetime, lifetime_jitter_percent, .. } = cluster.pool;
    let Pool { queue, queue_timeout, connect_timeout, primary_wait, .. } = cluster.pool;
    out.put(name("pool.max"), max);
    out.put(name("pool.min_idle"), min_idle);
    out.duration(name("pool.idle_timeout"), idle_timeout);
    out.duration(name("pool.lifetime"), lifetime);
    out.put(name("pool.lifetime_jitter"), PERCENT.show(lifetime_jitter_percent.into()));
    out.put(name("pool.queue"), queue);
    out.duration(name("pool.queue_timeout"), queue_timeout);
    out.duration(name("pool.connect_timeout"), connect_timeout);
    out.duration(name("pool.primary_wait"), primary_wait);
    let Transactions { replay, replay_statements_max, replay_size_max } = cluster.transactions;
    out.put(name("transactions.replay"), replay.name());
    out.put(name("transactions.replay_statements"), replay_statements_max);
    out.size(name("transactions.replay_size"), replay_size_max);
}

fn compression(algorithm: Compression) -> &'static str {
    match algorithm {
        Compression::Zlib => "zlib",
        Compression::Zstd => "zstd",
    }
}

fn duration(value: Duration) -> String {
    DURATION.show(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
}

/// Options in order.
#[derive(Default)]
pub(super) struct Shown(Vec<(String, String)>);

impl Shown {
    pub(super) fn put(&mut self, option: impl Into<String>, value: impl ToString) {
        self.0.push((option.into(), value.to_string()));
    }

    pub(super) fn optional(&mut self, option: impl Into<String>, value: Option<impl ToString>) {
        self.put(option, value.map(|value| value.to_string()).unwrap_or_default());
    }

    pub(super) fn list(&mut self, option: &str, values: &[impl ToString]) {
        let values = values.iter().map(ToString::to_string).collect::<Vec<_>>();
        self.put(option, values.join(", "));
    }

    fn keepalive(&mut self, section: &str, keepalive: &Keepalive) {
        self.duration(format!("{section}.time"), keepalive.time);
        self.duration(format!("{section}.interval"), keepalive.interval);
        self.put(format!("{section}.probes"), keepalive.probes);
    }

    fn duration(&mut self, option: impl Into<String>, value: Duration) {
        self.put(option, duration(value));
    }

    fn size(&mut self, option: impl Into<String>, value: usize) {
        self.put(option, SIZE.show(value as u64));
    }
}
