//! A configuration without a file: `tidegate run --server host:port …`.
//!
//! Owns: the names of the two environment variables. Does not know: the command line's other arguments.
//! Invariant: all but servers and the monitor's account is as in a file that says nothing else.

use crate::ids::ClusterId;
use crate::shard::Rules;

use super::error::{ConfigError, quoted};
use super::listen::{Keepalive, ProxyProtocol};
use super::model::{Auth, ClientTls, Config, Limits, Log, Monitor, Secret, Server};
use super::{address, cluster, defaults};

/// The monitor's account; `tidegate` where it is not set.
const USER_VARIABLE: &str = "TIDEGATE_MONITOR_USER";
/// Its password; empty where it is not set.
const PASSWORD_VARIABLE: &str = "TIDEGATE_MONITOR_PASSWORD";

impl Config {
    /// The configuration for these servers (`host`, `host:port`), the environment's monitor account, and the
    /// defaults for all else.
    #[expect(clippy::result_large_err, reason = "made once at start, never on the request path")]
    pub fn for_servers(servers: &[String]) -> Result<Self, ConfigError> {
        for_servers(servers, &super::environment)
    }
}

#[expect(clippy::result_large_err, reason = "made once at start, never on the request path")]
fn for_servers(
    servers: &[String],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let refuse = |message: String, help: String| ConfigError::without_place("--server", message, Some(help));
    let mut cluster = cluster::empty("main".to_owned());
    for text in servers {
        let (host, port) = address::server(text).map_err(|(message, help)| refuse(message, help))?;
        let server = Server { host, port, weight: defaults::WEIGHT, draining: false };
        if cluster.servers.contains(&server) {
            let message = format!("the server {} is given twice", quoted(&server.address()));
            return Err(refuse(message, "give each server once".to_owned()));
        }
        cluster.servers.push(server);
    }
    if cluster.servers.is_empty() {
        let help = "give `--server host:port`, or a rules file with `--config`";
        return Err(refuse("no server is given".to_owned(), help.to_owned()));
    }
    let default = Monitor::default();
    let monitor = Monitor {
        user: environment(USER_VARIABLE).filter(|user| !user.is_empty()).unwrap_or(default.user),
        password: environment(PASSWORD_VARIABLE).map_or(default.password, Secret::new),
        ..Monitor::default()
    };
    let listen = defaults::LISTEN.parse().map(|address| vec![address]).unwrap_or_default();
    Ok(Config {
        listen,
        proxy_protocol: ProxyProtocol::default(),
        keepalive: Keepalive::default(),
        http: None,
        console: None,
        auth: Auth::Passthrough,
        client_tls: ClientTls::default(),
        client_compression: defaults::CLIENT_COMPRESSION.into(),
        monitor,
        clusters: vec![cluster],
        home: ClusterId::default(),
        rules: Rules::default(),
        tests: Vec::new(),
        limits: Limits::default(),
        drain_timeout: defaults::DRAIN_TIMEOUT,
        threads: defaults::threads(),
        log: Log::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monitor_account_comes_from_the_environment() {
        let servers = ["10.0.0.1".to_owned()];
        let set = |name: &str| Some(format!("value of {name}"));
        let monitor = for_servers(&servers, &set).unwrap().monitor;
        assert_eq!(monitor.user, "value of TIDEGATE_MONITOR_USER");
        assert_eq!(monitor.password.expose(), b"value of TIDEGATE_MONITOR_PASSWORD");
        let monitor = for_servers(&servers, &|_| None).unwrap().monitor;
        assert_eq!((monitor.user.as_str(), monitor.password.expose()), ("tidegate", &b""[..]));
    }
}
