//! From the tree to a `Config`: the file's top and its small sections.
//!
//! Owns: which options there are outside `users`, `monitor` and `clusters`, their bounds, and what must fit
//! together. Does not know: YAML.
//! Invariant: every option of the file is read or reported; none is skipped in silence.

use std::net::SocketAddr;

use tracing_subscriber::EnvFilter;

use super::address;
use super::error::{Place, quoted};
use super::fields::{Context, Fields, Item};
use super::guess::did_you_mean;
use super::listen::{Keepalive, ListenAddress};
use super::model::{
    CertificateFiles, ClientTls, Compression, Config, Console, Limits, Log, LogFormat, TlsVersion,
};
use super::tree::Node;
use super::{accounts, cluster, databases, defaults, lag, listen, sharding};
use crate::shard::Database;

/// Milliseconds of a minute, an hour and a day, for bounds.
pub(super) const MINUTE: u64 = 60_000;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

/// Schemas that each server has for itself.
const SYSTEM_SCHEMAS: [&str; 4] = ["information_schema", "performance_schema", "mysql", "sys"];
/// Port that the HTTP side usually has.
const HTTP_PORT: u16 = 4408;
/// Port that the SQL console usually has.
const CONSOLE_PORT: u16 = 4407;
/// Worker threads of one process.
const THREADS_MAX: u64 = 1024;

/// The configuration of the tree `root`; it counts only if `cx.errors` stays empty.
pub(super) fn config(root: &Node, cx: &mut Context<'_, '_>) -> Config {
    let top = Item { rule: String::new(), node: root };
    let mut fields = Fields::of(&top, cx);
    fields.place = Place::START;
    version(&mut fields, cx);
    let listen = listen::addresses(&mut fields, cx);
    let (http, console) = admin(fields.section(cx, "admin"), &listen, cx);
    let client_tls = client_tls(fields.section(cx, "tls"), cx);
    let auth = accounts::auth(&mut fields, &client_tls, cx);
    let proxy_protocol = listen::proxy_protocol(fields.section(cx, "proxy_protocol"), cx);
    let keepalive = Keepalive::resolve(fields.section(cx, "keepalive"), cx);
    let client_compression = client_compression(&mut fields, cx);
    let monitor = accounts::monitor(&mut fields, cx);
    let (mut clusters, home) = cluster::clusters(&mut fields, cx);
    let names: Vec<_> = clusters.iter().map(|cluster| cluster.name.clone()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (balances, mut rules) = databases::databases(&mut fields, &names, cx);
    rules.home = home;
    clusters.iter_mut().for_each(|cluster| cluster.reads.balance_of.clone_from(&balances));
    for database in rules.databases.values() {
        home_has_its_name(database, &fields, cx);
    }
    let any = rules.databases.values().any(|database| !database.tables.is_empty());
    let lists = |database: &&Database| !(any && database.tables.is_empty());
    let sharded: Vec<_> = rules.databases.values().filter(lists).map(|database| &*database.name).collect();
    let tests = sharding::rule_tests(&mut fields, &sharded, cx);
    let config = Config {
        http,
        console,
        auth,
        proxy_protocol,
        keepalive,
        client_tls,
        client_compression,
        monitor,
        clusters,
        home,
        rules,
        tests,
        limits: limits(fields.section(cx, "limits"), cx),
        drain_timeout: drain(fields.section(cx, "drain"), cx),
        threads: threads(&mut fields, cx),
        log: log(fields.section(cx, "log"), cx),
        listen: listen.into_iter().map(|(address, _)| address).collect(),
    };
    config.clusters.iter().for_each(|cluster| lag::fits(&config.monitor.lag, cluster, &fields, cx));
    fields.finish(cx);
    config
}

/// A database is called at home as clients call it.
fn home_has_its_name(database: &Database, top: &Fields<'_>, cx: &mut Context<'_, '_>) {
    if SYSTEM_SCHEMAS.iter().any(|own| own.eq_ignore_ascii_case(&database.name)) {
        let message = format!("{} is a schema of the servers' own, which each has", quoted(&database.name));
        top.conflict(cx, &["databases"], message, "take it out of `databases`");
        return;
    }
    if database.home.schema == database.name {
        return;
    }
    let message = format!("the home of {} has another name", quoted(&database.name));
    let help = format!("this release takes `schema: {}` only, on any cluster", database.name);
    top.conflict(cx, &["databases"], message, &help);
}

fn version(fields: &mut Fields<'_>, cx: &mut Context<'_, '_>) {
    let help = "begin the file with `version: 1`";
    let Some(item) = fields.require(cx, "version", help) else { return };
    if let Some(text) = item.text(cx)
        && text != "1"
    {
        let message = format!("this release reads version 1, not {}", quoted(text));
        item.error(cx, message, Some("write `version: 1`".to_owned()));
    }
}

fn admin(
    mut fields: Fields<'_>,
    listen: &[(ListenAddress, Option<Item<'_>>)],
    cx: &mut Context<'_, '_>,
) -> (Option<SocketAddr>, Option<Console>) {
    let taken: Vec<_> = listen.iter().filter_map(|(address, _)| Some((address.tcp()?, "listen"))).collect();
    let item = fields.take("http");
    let http = item.as_ref().and_then(|item| beside(item, HTTP_PORT, &taken, cx));
    let taken = [taken, http.map(|http| (http, "admin.http")).into_iter().collect()].concat();
    let item = fields.take("sql");
    let sql = item.as_ref().and_then(|item| beside(item, CONSOLE_PORT, &taken, cx));
    let users = fields.take("users").map(|item| accounts::operators(&item, cx));
    let digests = fields.flag(cx, "digests", defaults::DIGESTS);
    if item.is_some() && users.is_none() {
        let help =
            "list who may come in: `users: [{name: operator, password: \"${env:OPERATOR_PASSWORD}\"}]`";
        fields.missing(cx, "users", help);
    }
    fields.finish(cx);
    let console = users.and_then(|users| {
        let listen = sql.or_else(|| defaults::CONSOLE.parse().ok())?;
        Some(Console { listen, users, digests })
    });
    (http, console)
}

/// An address for operators, on which nothing else is bound.
fn beside(
    item: &Item<'_>,
    port_usual: u16,
    taken: &[(SocketAddr, &str)],
    cx: &mut Context<'_, '_>,
) -> Option<SocketAddr> {
    let address = socket(item, cx, port_usual)?;
    if let Some((other, option)) = taken.iter().find(|(other, _)| address::collide(*other, address)) {
        let help = Some(format!("choose another port, such as {port_usual}"));
        item.error(cx, format!("{address} cannot be bound beside `{option}` on {other}"), help);
    }
    Some(address)
}

fn socket(item: &Item<'_>, cx: &mut Context<'_, '_>, port_usual: u16) -> Option<SocketAddr> {
    match address::listen(item.text(cx)?, port_usual) {
        Ok(address) => Some(address),
        Err((message, help)) => {
            item.error(cx, message, Some(help));
            None
        }
    }
}

fn client_tls(mut fields: Fields<'_>, cx: &mut Context<'_, '_>) -> ClientTls {
    let default = ClientTls::default();
    let enabled = fields.flag(cx, "enabled", default.enabled);
    let certificate = certificate_files(&mut fields, cx, "a self-signed pair");
    let client_ca = fields.file(cx, "client_ca");
    let require_item = fields.take("require");
    let words = [("true", (true, false)), ("false", (false, false)), ("x509", (true, true))];
    let require = require_item.as_ref().and_then(|item| item.choice(cx, &words));
    let (require, require_certificate) = require.unwrap_or((default.require, default.require_certificate));
    let versions = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
    let min_version = fields.choice(cx, "min_version", &versions, default.min_version);
    if let (false, true, Some(item)) = (enabled, require, &require_item) {
        let message = "TLS cannot be required while `tls.enabled` is false";
        item.error(cx, message, Some("remove one of the two".to_owned()));
    }
    if require_certificate && !fields.has("client_ca") {
        fields.missing(
            cx,
            "client_ca",
            "give the PEM file of the authorities that sign clients' certificates",
        );
    }
    fields.finish(cx);
    ClientTls { certificate, require, require_certificate, client_ca, enabled, min_version }
}

/// The files `certificate` and `key`, of which neither is of use alone.
pub(super) fn certificate_files(
    fields: &mut Fields<'_>,
    cx: &mut Context<'_, '_>,
    without: &str,
) -> Option<CertificateFiles> {
    let certificate = fields.file(cx, "certificate");
    let key = fields.file(cx, "key");
    let help = format!("give both `certificate` and `key`, or neither for {without}");
    match (certificate, key) {
        (Some(certificate), Some(key)) => return Some(CertificateFiles { certificate, key }),
        (Some(_), None) if !fields.has("key") => fields.missing(cx, "key", &help),
        (None, Some(_)) if !fields.has("certificate") => fields.missing(cx, "certificate", &help),
        _ => {}
    }
    None
}

fn client_compression(fields: &mut Fields<'_>, cx: &mut Context<'_, '_>) -> Vec<Compression> {
    let Some(item) = fields.take("compression") else { return defaults::CLIENT_COMPRESSION.into() };
    let elements = item.elements();
    let names = [("none", None), ("zlib", Some(Compression::Zlib)), ("zstd", Some(Compression::Zstd))];
    let chosen: Vec<_> = elements.iter().filter_map(|element| element.choice(cx, &names)).collect();
    if elements.is_empty() || (chosen.len() > 1 && chosen.contains(&None)) {
        let help = Some("write `[zlib, zstd]`, one of the two, or `none`".to_owned());
        item.error(cx, "expected the algorithms that clients may use", help);
    }
    chosen.into_iter().flatten().collect()
}

fn limits(mut fields: Fields<'_>, cx: &mut Context<'_, '_>) -> Limits {
    let default = Limits::default();
    let before = cx.errors.count();
    let limits = Limits {
        clients: fields.count(cx, "clients", default.clients, 1..=1_000_000),
        login_timeout: fields.duration(cx, "login_timeout", default.login_timeout, 100..=HOUR),
        packet_max: fields.size(cx, "packet", default.packet_max, 64 << 10..=1 << 30),
        packet_memory_max: fields.size(cx, "packet_memory", default.packet_memory_max, 1 << 20..=1 << 40),
        merge_memory_max: fields.size(cx, "merge_memory", default.merge_memory_max, 1 << 20..=1 << 40),
        merge_memory_total_max: fields.size(
            cx,
            "merge_memory_total",
            default.merge_memory_total_max,
            1 << 20..=1 << 40,
        ),
        prepared_max: fields.count(cx, "prepared", default.prepared_max, 1..=1_048_576),
        prepared_per_backend_max: fields.count(
            cx,
            "prepared_per_backend",
            default.prepared_per_backend_max,
            1..=65_536,
        ),
    };
    if limits.packet_memory_max < limits.packet_max && cx.errors.count() == before {
        let message = "`packet_memory` is below `packet`: the largest statement could never be received";
        let help = "make `packet_memory` a multiple of `packet`";
        fields.conflict(cx, &["packet_memory", "packet"], message, help);
    }
    if limits.merge_memory_total_max < limits.merge_memory_max && cx.errors.count() == before {
        let message = "`merge_memory_total` is below `merge_memory`: no statement could have what it may";
        let help = "make `merge_memory_total` a multiple of `merge_memory`";
        fields.conflict(cx, &["merge_memory_total", "merge_memory"], message, help);
    }
    fields.finish(cx);
    limits
}

fn drain(mut fields: Fields<'_>, cx: &mut Context<'_, '_>) -> std::time::Duration {
    let timeout = fields.duration(cx, "timeout", defaults::DRAIN_TIMEOUT, 0..=DAY);
    fields.finish(cx);
    timeout
}

fn threads(fields: &mut Fields<'_>, cx: &mut Context<'_, '_>) -> usize {
    let Some(item) = fields.take("threads") else { return defaults::threads() };
    if item.text(cx).is_none_or(|text| text == "auto") {
        return defaults::threads();
    }
    if let Some(text) = item.text(cx).filter(|text| !text.bytes().all(|byte| byte.is_ascii_digit())) {
        let help = Some(format!("write `auto`, or a number from 1 to {THREADS_MAX}"));
        item.error(cx, format!("{} is not a number of threads", quoted(text)), help);
        return defaults::threads();
    }
    item.count(cx, 1..=THREADS_MAX).and_then(|threads| usize::try_from(threads).ok()).unwrap_or(1)
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// A word of a log filter that stands where a level does, and is none: it would be taken for a part of the program, and silence all others.
fn mistaken_level(filter: &str) -> Option<&str> {
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_target = |word: &str| word.contains(['=', '[']) || word.starts_with("tidegate");
    filter.split(',').map(str::trim).find(|word| !is_level(word) && !is_target(word))
}

fn log(mut fields: Fields<'_>, cx: &mut Context<'_, '_>) -> Log {
    let mut log = Log::default();
    if let Some(item) = fields.take("filter")
        && let Some(text) = item.text(cx)
    {
        let help = "write a level (`info`) or `target=level` (`tidegate=debug`)";
        match (EnvFilter::builder().parse(text), mistaken_level(text)) {
            (Ok(_), None) => log.filter = text.to_owned(),
            (Ok(_), Some(word)) => {
                let meant = did_you_mean(word, LEVELS.into_iter());
                let help = meant.map_or(help.to_owned(), |level| format!("did you mean `{level}`?"));
                item.error(cx, format!("{} is no level of the log", quoted(word)), Some(help));
            }
            (Err(error), _) => {
                item.error(
                    cx,
                    format!("{} is not a log filter: {error}", quoted(text)),
                    Some(help.to_owned()),
                );
            }
        }
    }
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    log.format = fields.choice(cx, "format", &formats, log.format);
    fields.finish(cx);
    log
}
