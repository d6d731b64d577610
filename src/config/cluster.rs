//! `clusters`: servers, TLS towards them, reads and pool.
//!
//! Owns: the cluster's options and their bounds. Does not know: which server is primary; that is found out.
//! Invariant: a cluster has at least one server and no server twice.

use std::collections::HashSet;
use std::time::Duration;

use crate::balance::Balance;
use crate::consistency::Consistency;
use crate::ids::ClusterId;

use super::address;
use super::defaults;
use super::error::quoted;
use super::failover;
use super::fields::{Context, Fields, Item};
use super::guess::did_you_mean;
use super::listen::Keepalive;
use super::model::{
    Cluster, Compression, Pool, Reads, Replay, Server, ServerTls, ServerTlsMode, Transactions, WEIGHTS,
};
use super::resolve::{DAY, HOUR, MINUTE, certificate_files};
use super::tree::{Node, Value};
use super::units::DURATION;

/// Servers of one cluster.
const SERVERS_MAX: usize = 128;
/// Bytes of a cluster's name, which stands in logs and metrics.
const NAME_MAX: usize = 64;
/// Clusters of one file.
const CLUSTERS_MAX: usize = 128;

/// Values of `topology`: whether it is `multi_primary`.
pub(super) const TOPOLOGIES: [(&str, bool); 2] = [("detect", false), ("multi_primary", true)];

const HELP: &str = "write `clusters: {main: {servers: [\"10.0.0.1:3306\"]}}`";

/// The clusters, and the one that holds everything which no rule places. There is at least one.
pub(super) fn clusters(top: &mut Fields<'_>, cx: &mut Context<'_, '_>) -> (Vec<Cluster>, ClusterId) {
    let mut clusters = listed(top, cx);
    let home = home(top, &clusters, cx);
    if clusters.is_empty() {
        clusters.push(empty(String::new())); // an error is told already
    }
    (clusters, home)
}

/// `default_cluster`.
fn home(top: &mut Fields<'_>, clusters: &[Cluster], cx: &mut Context<'_, '_>) -> ClusterId {
    let names: Vec<_> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
    let Some(item) = top.take("default_cluster") else {
        if names.len() > 1 {
            let help =
                format!("write `default_cluster: {}`: it holds everything that no rule places", names[0]);
            top.missing(cx, "default_cluster", &help);
        }
        return ClusterId(0);
    };
    let Some(text) = item.text(cx) else { return ClusterId(0) };
    let found = (0..).map(ClusterId).zip(&names).find(|(_, name)| **name == text);
    found.map_or_else(
        || {
            let help = match did_you_mean(text, names.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("the clusters are {}", names.join(", ")),
            };
            item.error(cx, format!("there is no cluster {}", quoted(text)), Some(help));
            ClusterId(0)
        },
        |(id, _)| id,
    )
}

fn listed(top: &mut Fields<'_>, cx: &mut Context<'_, '_>) -> Vec<Cluster> {
    let Some(item) = top.require(cx, "clusters", HELP) else { return Vec::new() };
    let Value::Map(entries) = &item.node.value else {
        item.refuse(cx, "a mapping from names to clusters");
        return Vec::new();
    };
    if entries.is_empty() || entries.len() > CLUSTERS_MAX {
        item.error(cx, format!("expected 1 to {CLUSTERS_MAX} clusters"), Some(HELP.to_owned()));
    }
    let mut clusters: Vec<Cluster> = Vec::new();
    for entry in entries {
        let rule = format!("{}.{}", item.rule, entry.key);
        if !valid_name(&entry.key) {
            let help = Some(format!("use 1 to {NAME_MAX} letters, digits, `-` and `_`"));
            cx.errors.add(
                entry.place,
                &rule,
                format!("{} cannot be a cluster's name", quoted(&entry.key)),
                help,
            );
        }
        let next = cluster(&entry.key, &Item { rule: rule.clone(), node: &entry.node }, cx);
        for server in next.servers.iter().map(Server::address) {
            let has = |other: &&Cluster| other.servers.iter().any(|known| known.address() == server);
            if let Some(other) = clusters.iter().find(has) {
                let message =
                    format!("the server {} is in cluster {} already", quoted(&server), quoted(&other.name));
                cx.errors.add(entry.place, &rule, message, Some("a server is in one cluster".to_owned()));
            }
        }
        clusters.push(next);
    }
    clusters
}

/// A cluster `name` with the defaults, and no server yet.
pub(super) fn empty(name: String) -> Cluster {
    Cluster {
        name,
        servers: Vec::new(),
        multi_primary: false,
        resolve_interval: defaults::RESOLVE_INTERVAL,
        tls: ServerTls::default(),
        compression: None,
        reads: Reads::default(),
        pool: Pool::default(),
        transactions: Transactions::default(),
        keepalive: Keepalive::default(),
        forward_attributes: false,
        promotion: None,
    }
}

fn valid_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(allowed)
}

fn cluster(name: &str, item: &Item<'_>, cx: &mut Context<'_, '_>) -> Cluster {
    let mut fields = Fields::of(item, cx);
    let mut cluster = empty(name.to_owned());
    if let Some(item) = fields.require(cx, "servers", "write `servers: [\"10.0.0.1:3306\"]`") {
        cluster.servers = servers(&item, cx);
    }
    cluster.multi_primary = fields.choice(cx, "topology", &TOPOLOGIES, cluster.multi_primary);
    cluster.resolve_interval = fields.duration(cx, "resolve_interval", cluster.resolve_interval, 100..=HOUR);
    cluster.tls = server_tls(fields.section(cx, "tls"), cx);
    let algorithms = [("none", None), ("zlib", Some(Compression::Zlib)), ("zstd", Some(Compression::Zstd))];
    cluster.compression = fields.choice(cx, "compression", &algorithms, cluster.compression);
    cluster.reads = reads(fields.section(cx, "reads"), cx);
    cluster.pool = pool(fields.section(cx, "pool"), cx);
    cluster.transactions = transactions(fields.section(cx, "transactions"), cx);
    cluster.forward_attributes = fields.flag(cx, "forward_attributes", cluster.forward_attributes);
    cluster.keepalive = Keepalive::resolve(fields.section(cx, "keepalive"), cx);
    cluster.promotion = failover::promotion(fields.section(cx, "failover"), &cluster, cx);
    fields.finish(cx);
    cluster
}

fn servers(item: &Item<'_>, cx: &mut Context<'_, '_>) -> Vec<Server> {
    let elements = item.elements();
    if item.node.is_null() || elements.is_empty() || elements.len() > SERVERS_MAX {
        let help = Some("write `[\"10.0.0.1:3306\"]`".to_owned());
        item.error(cx, format!("expected 1 to {SERVERS_MAX} servers"), help);
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let mut servers = Vec::with_capacity(elements.len());
    for element in elements {
        let Some(server) = server(&element, cx) else { continue };
        if !seen.insert(server.address()) {
            let help = Some("list each server once; `weight` gives it a larger share".to_owned());
            element.error(cx, format!("the server {} is listed twice", quoted(&server.address())), help);
        }
        servers.push(server);
    }
    servers
}

/// A server: its address, or a mapping with `address`, `weight` and `draining`.
fn server(item: &Item<'_>, cx: &mut Context<'_, '_>) -> Option<Server> {
    let Node { value: Value::Map(_), .. } = item.node else {
        return located(item, defaults::WEIGHT, false, cx);
    };
    let mut fields = Fields::of(item, cx);
    let address = fields.require(cx, "address", "write `{address: \"10.0.0.1:3306\", weight: 2}`");
    let weight = fields.count(cx, "weight", defaults::WEIGHT, WEIGHTS);
    let draining = fields.flag(cx, "draining", false);
    fields.finish(cx);
    located(&address?, weight, draining, cx)
}

fn located(item: &Item<'_>, weight: u32, draining: bool, cx: &mut Context<'_, '_>) -> Option<Server> {
    match address::server(item.text(cx)?) {
        Ok((host, port)) => Some(Server { host, port, weight, draining }),
        Err((message, help)) => {
            item.error(cx, message, Some(help));
            None
        }
    }
}

fn server_tls(mut fields: Fields<'_>, cx: &mut Context<'_, '_>) -> ServerTls {
    let modes = [
        ("off", ServerTlsMode::Off),
        ("preferred", ServerTlsMode::Preferred),
        ("required", ServerTlsMode::Required),
        ("verified", ServerTlsMode::Verified),
    ];
    let before = cx.errors.count();
    let mode = fields.choice(cx, "mode", &modes, ServerTls::default().mode);
    let understood = cx.errors.count() == before;
    let ca = fields.file(cx, "ca");
    match (mode, fields.has("ca")) {
        _ if !understood => {}
        (ServerTlsMode::Verified, false) => {
            fields.missing(cx, "ca", "`mode: verified` checks against the authority in the PEM file `ca`");
        }
        (ServerTlsMode::Off | ServerTlsMode::Preferred | ServerTlsMode::Required, true) => {
            let message = "`ca` is given, but certificates are checked in mode `verified` only";
            fields.conflict(cx, &["ca"], message, "write `mode: verified`, or remove `ca`");
        }
        _ => {}
    }
    let certificate = certificate_files(&mut fields, cx, "none at all");
    if understood && mode == ServerTlsMode::Off && certificate.is_some() {
        let message = "`certificate` is given, but there is no TLS to show it in";
        fields.conflict(
            cx,
            &["certificate"],
            message,
            "write another `mode`, or remove `certificate` and `key`",
        );
    }
    fields.finish(cx);
    ServerTls { mode, ca, certificate }
}

fn reads(mut fields: Fields<'_>, cx: &mut Context<'_, '_>) -> Reads {
    let mut reads = Reads::default();
    if let Some(item) = fields.take("max_lag") {
        let value = &item.node.value;
        match value {
            Value::Scalar { text, .. } if text == "unlimited" => reads.max_lag = None,
            Value::Scalar { text, .. } if text == "0" || DURATION.parse(text) == Ok(0) => {
                let message =
                    "0 is refused: a replica is always a little behind, so none would ever serve reads";
                let help = "write the lag that reads may see, such as `2s`, or `unlimited` for no bound";
                item.error(cx, message, Some(help.to_owned()));
            }
            _ => {
                let lag = item.quantity(cx, &DURATION, 1..=7 * DAY);
                reads.max_lag = lag.map(Duration::from_millis).or(reads.max_lag);
            }
        }
    }
    reads.balance = fields.choice(cx, "balance", &Balance::NAMES, reads.balance);
    reads.consistency = consistency(&mut fields, cx).unwrap_or(reads.consistency);
    reads.wait = fields.duration(cx, "wait", reads.wait, 0..=5 * 1000);
    reads.slow_start = fields.duration(cx, "slow_start", reads.slow_start, 0..=HOUR);
    if let Some(item) = fields.take("spill") {
        let unlimited = matches!(&item.node.value, Value::Scalar { text, .. } if text == "unlimited");
        reads.spill = (!unlimited).then(|| item.count(cx, 0..=100_000)).flatten().map(|count| count as usize);
    }
    fields.finish(cx);
    reads
}

fn consistency(fields: &mut Fields<'_>, cx: &mut Context<'_, '_>) -> Option<Consistency> {
    let item = fields.take("consistency")?;
    let text = item.text(cx)?;
    let level = Consistency::parse(text.as_bytes());
    if level.is_none() {
        let message = format!("{} is not a level of consistency", quoted(text));
        item.error(cx, message, Some(format!("write one of {}", Consistency::FORMS)));
    }
    level
}

fn pool(mut fields: Fields<'_>, cx: &mut Context<'_, '_>) -> Pool {
    let default = Pool::default();
    let before = cx.errors.count();
    let pool = Pool {
        max: fields.count(cx, "max", default.max, 1..=100_000),
        min_idle: fields.count(cx, "min_idle", default.min_idle, 0..=100_000),
        idle_timeout: fields.duration(cx, "idle_timeout", default.idle_timeout, 1000..=DAY),
        lifetime: fields.duration(cx, "lifetime", default.lifetime, 1000..=7 * DAY),
        lifetime_jitter_percent: fields.percent(cx, "lifetime_jitter", default.lifetime_jitter_percent),
        queue: fields.count(cx, "queue", default.queue, 0..=1_000_000),
        queue_timeout: fields.duration(cx, "queue_timeout", default.queue_timeout, 1..=HOUR),
        connect_timeout: fields.duration(cx, "connect_timeout", default.connect_timeout, 10..=10 * MINUTE),
        primary_wait: fields.duration(cx, "primary_wait", default.primary_wait, 0..=HOUR),
    };
    if pool.min_idle > pool.max && cx.errors.count() == before {
        let message = format!("`min_idle` ({}) exceeds `max` ({})", pool.min_idle, pool.max);
        fields.conflict(cx, &["min_idle", "max"], message, "keep at most `max` connections idle");
    }
    fields.finish(cx);
    pool
}

fn transactions(mut fields: Fields<'_>, cx: &mut Context<'_, '_>) -> Transactions {
    let Transactions { replay, replay_statements_max, replay_size_max } = Transactions::default();
    let transactions = Transactions {
        replay: fields.choice(cx, "replay", &Replay::NAMES, replay),
        replay_statements_max: fields.count(cx, "replay_statements", replay_statements_max, 1..=100_000),
        replay_size_max: fields.size(cx, "replay_size", replay_size_max, 1 << 10..=16 << 20),
    };
    fields.finish(cx);
    transactions
}
