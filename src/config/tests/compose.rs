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

/// The file of the repository that `service` sees at `target`.
fn mounted(service: &Service, target: &str) -> PathBuf {
    let source = service.volumes.iter().find_map(|volume| {
        let (source, at) = volume.trim_end_matches(":ro").split_once(':')?;
        (at == target).then(|| root().join(source))
    });
    source.unwrap_or_else(|| panic!("nothing is mounted at {target}"))
}

/// The rules that Tidegate's container starts with.
fn rules(service: &Service) -> Config {
    let path = mounted(service, "/etc/tidegate/rules.yaml");
    let environment = |name: &str| service.environment.get(name).cloned();
    let text = std::fs::read_to_string(&path).unwrap();
    load(&text, &path.to_string_lossy(), &environment).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

#[test]
fn services_start_in_order_and_are_watched() {
    let compose = compose();
    let names: Vec<_> = compose.services.keys().map(String::as_str).collect();
    assert_eq!(names, ["primary", "replica1", "replica2", "tidegate"]);
    for (name, waits_for) in [
        ("primary", &[][..]),
        ("replica1", &["primary"]),
        ("replica2", &["primary"]),
        ("tidegate", &["primary", "replica1", "replica2"]),
    ] {
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
    let hosts: Vec<_> = config.home().servers.iter().map(|server| server.host.as_str()).collect();
    assert_eq!(hosts, ["primary", "replica1", "replica2"]);
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
    for name in ["primary", "replica1", "replica2"] {
        let service = &compose.services[name];
        for option in ["--gtid-mode=ON", "--enforce-gtid-consistency=ON"] {
            assert!(service.command.iter().any(|argument| argument == option), "{name}: {option}");
        }
        let relay_log = service.command.iter().any(|argument| argument == "--relay-log=relay");
        assert_eq!(relay_log, name != "primary", "{name}: the default name changes with the container");
        ids.extend(service.command.iter().filter(|argument| argument.starts_with("--server-id=")));
        let script = std::fs::read_dir(mounted(service, "/docker-entrypoint-initdb.d")).unwrap().next();
        let script = std::fs::read_to_string(script.unwrap().unwrap().path()).unwrap();
        let used: Vec<_> = script.split("${").skip(1).filter_map(|rest| rest.split_once(":?}")).collect();
        assert!(!used.is_empty(), "{name}: the script sets no password");
        for (variable, _) in used {
            assert!(service.environment.contains_key(variable), "{name}: {variable}");
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}
