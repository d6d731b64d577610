//! `docker-compose.yml` is read as Compose reads it, and held against the repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::{Config, ListenAddress, load};

/// The parts of a Compose file that must hold together.
#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    #[serde(default)]
    volumes: BTreeMap<String, Option<BTreeMap<String, String>>>,
}

#[derive(Deserialize)]
struct Service {
    image: Option<String>,
    build: Option<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Dependency>,
    healthcheck: Healthcheck,
    stop_grace_period: Option<String>,
}

#[derive(Deserialize)]
struct Dependency {
    condition: String,
}

#[derive(Deserialize)]
struct Healthcheck {
    test: Vec<String>,
    retries: u32,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn compose() -> Compose {
    serde_saphyr::from_str(&std::fs::read_to_string(root().join("docker-compose.yml")).unwrap()).unwrap()
}

/// The servers, with whom each replicates from.
const SERVERS: [(&str, Option<&str>); 7] = [
    ("east", None),
    ("east-replica", Some("east")),
    ("primary", None),
    ("replica1", Some("primary")),
    ("replica2", Some("primary")),
    ("west", None),
    ("west-replica", Some("west")),
];

/// The files of the repository that `service` sees at or below `target`.
fn mounted(service: &Service, target: &str) -> Vec<PathBuf> {
    let sources = service.volumes.iter().filter_map(|volume| {
        let (source, at) = volume.trim_end_matches(":ro").split_once(':')?;
        at.starts_with(target).then(|| root().join(source))
    });
    let sources: Vec<_> = sources.collect();
    assert!(!sources.is_empty(), "nothing is mounted at {target}");
    sources
}

/// The rules that Tidegate's container starts with.
fn rules(service: &Service) -> Config {
    let path = mounted(service, "/etc/tidegate/rules.yaml").remove(0);
    let environment = |name: &str| service.environment.get(name).cloned();
    let text = std::fs::read_to_string(&path).unwrap();
    load(&text, &path.to_string_lossy(), &environment).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

#[test]
fn services_start_in_order_and_are_watched() {
    let compose = compose();
    let names: Vec<_> =
        compose.services.keys().map(String::as_str).filter(|name| *name != "tidegate").collect();
    assert_eq!(names, SERVERS.map(|(name, _)| name));
    let servers = SERVERS.map(|(name, source)| (name, source.into_iter().collect::<Vec<_>>()));
    for (name, waits_for) in servers.into_iter().chain([("tidegate", names)]) {
        let service = &compose.services[name];
        let found: Vec<_> = service.depends_on.keys().map(String::as_str).collect();
        assert_eq!(found, waits_for, "{name}");
        assert!(service.depends_on.values().all(|dependency| dependency.condition == "service_healthy"));
        assert!(service.healthcheck.test.len() >= 2 && service.healthcheck.retries > 0, "{name}");
    }
}

#[test]
fn images_have_a_version() {
    let dockerfile = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
    let compose = compose();
    let bases = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM "));
    let bases = bases.filter_map(|base| base.split_whitespace().next()).map(str::to_owned);
    let mut images: Vec<_> = compose.services.values().filter_map(|service| service.image.clone()).collect();
    images.extend(bases);
    assert!(images.len() >= 5, "{images:?}");
    for image in images {
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| !tag.is_empty() && tag != "latest"), "{image}");
    }
    assert_eq!(compose.services["tidegate"].build.as_deref(), Some("."));
}

#[test]
fn every_mount_exists() {
    let compose = compose();
    for (name, service) in &compose.services {
        for volume in &service.volumes {
            let (source, _) = volume.split_once(':').unwrap();
            let known = compose.volumes.contains_key(source) || root().join(source).exists();
            assert!(known, "{name}: {volume}");
        }
    }
}

#[test]
fn the_rules_fit_the_services() {
    let compose = compose();
    let tidegate = &compose.services["tidegate"];
    let config = rules(tidegate);
    assert_eq!(config.home().name, "main");
    for (cluster, hosts) in [
        ("main", &["primary", "replica1", "replica2"][..]),
        ("east", &["east", "east-replica"]),
        ("west", &["west", "west-replica"]),
    ] {
        let cluster = config.clusters.iter().find(|known| known.name == cluster).unwrap();
        assert_eq!(cluster.servers.iter().map(|server| server.host.as_str()).collect::<Vec<_>>(), hosts);
    }
    let inside: Vec<_> = tidegate.ports.iter().filter_map(|port| port.rsplit(':').next()).collect();
    let bound = config.listen.iter().filter_map(ListenAddress::tcp).chain(config.http);
    let bound: Vec<_> = bound.inspect(|address| assert!(address.ip().is_unspecified())).collect();
    assert_eq!(inside, bound.iter().map(|address| address.port().to_string()).collect::<Vec<_>>());
    assert!(
        tidegate.ports.iter().all(|port| port.starts_with("127.0.0.1:")),
        "published to this machine only"
    );
    assert!(config.drain_timeout.as_secs() < 35);
    assert_eq!(tidegate.stop_grace_period.as_deref(), Some("35s"));
}

#[test]
fn the_servers_replicate_by_gtid_under_their_own_ids() {
    let compose = compose();
    let mut ids = Vec::new();
    for (name, source) in SERVERS {
        let service = &compose.services[name];
        for option in ["--gtid-mode=ON", "--enforce-gtid-consistency=ON"] {
            assert!(service.command.iter().any(|argument| argument == option), "{name}: {option}");
        }
        let relay_log = service.command.iter().any(|argument| argument == "--relay-log=relay");
        assert_eq!(relay_log, source.is_some(), "{name}: the default name changes with the container");
        assert_eq!(service.environment.get("SOURCE_HOST").map(String::as_str), source, "{name}");
        ids.extend(service.command.iter().filter(|argument| argument.starts_with("--server-id=")));
        let scripts = mounted(service, "/docker-entrypoint-initdb.d/");
        let scripts: String = scripts.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let used: Vec<_> = scripts.split("${").skip(1).filter_map(|rest| rest.split_once(":?}")).collect();
        assert!(!used.is_empty(), "{name}: the scripts set no password");
        for (variable, _) in used {
            assert!(service.environment.contains_key(variable), "{name}: {variable}");
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), SERVERS.len());
}

#[test]
fn the_shards_have_the_tables_that_the_rules_split() {
    let compose = compose();
    let config = rules(&compose.services["tidegate"]);
    let database = config.rules.databases.values().next().unwrap();
    for table in database.tables.keys() {
        for (server, has) in [("primary", false), ("east", true), ("west", true)] {
            let scripts = mounted(&compose.services[server], "/docker-entrypoint-initdb.d/");
            let created = format!("CREATE TABLE {}.{table} (", database.name);
            let found = scripts.iter().any(|path| std::fs::read_to_string(path).unwrap().contains(&created));
            assert_eq!(found, has, "{server}: {table}");
        }
    }
}
