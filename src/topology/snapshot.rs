//! The cluster as it was at one moment, for sessions to decide on.
//!
//! Does not know: how it was found out. Invariant: immutable; a `ServerId` means the same server in all snapshots, and one that has
//! left is in none.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::ids::ServerId;
use crate::sql::ServerVersion;

use super::balance::Readers;
use super::facts::ServerFacts;
use super::health::State;
use super::reads::LeftOut;
use super::roles::Role;

/// The cluster at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// Grows with every change.
    pub generation: u64,
    /// All configured servers, in the file's order; then those that are leaving.
    pub servers: Vec<Server>,
    /// The primary, if it is up.
    pub primary: Option<ServerId>,
    /// The replicas that take reads, with their shares.
    pub readers: Readers,
    /// Version of the primary, else of any server that was seen.
    pub version: Option<ServerVersion>,
    /// What the primary says of itself, else any server that was seen.
    pub facts: Option<Arc<ServerFacts>>,
    /// How it is configured.
    pub cluster: Arc<config::Cluster>,
}

/// What a server is to the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    /// It is used.
    #[default]
    Member,
    /// It finishes what it has begun.
    Draining,
    /// The same, and is gone then.
    Leaving,
}

impl Standing {
    /// The word for operators.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Draining => "draining",
            Self::Leaving => "leaving",
        }
    }
}

/// One server at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Which.
    pub id: ServerId,
    /// Host, port and weight as configured.
    pub config: Arc<config::Server>,
    /// `host:port`.
    pub address: Arc<str>,
    /// Where that is; `None` before its name was found.
    pub at: Option<SocketAddr>,
    /// What it is to the configuration.
    pub standing: Standing,
    /// What it is to the cluster.
    pub role: Role,
    /// Whether it takes connections.
    pub state: State,
    /// Another server has taken its place as the primary, and it may not know it: it is not known to take no writes.
    pub replaced: bool,
    /// Why it takes no reads, or, of a primary, why it cannot be used.
    pub left_out: Option<LeftOut>,
    /// How far it is behind; `None` where that is not known, and for a primary.
    pub lag: Option<Duration>,
    /// That is what it was asked for by `monitor.lag`, not what its replication status and its GTIDs tell.
    pub lag_is_asked: bool,
    /// Its `@@server_id`; 0 where that is not known.
    pub server_id: u32,
    /// What it last said of itself.
    pub facts: Option<Arc<ServerFacts>>,
}

impl Server {
    /// Whether it takes nothing new and its connections are to end. A primary that drains goes on until
    /// another server is the primary.
    pub fn is_closing(&self) -> bool {
        match self.standing {
            Standing::Member => false,
            Standing::Draining => self.role != Role::Primary,
            Standing::Leaving => true,
        }
    }
}

impl Snapshot {
    /// A replica for a read, by weight × lag factor. `random` must be evenly distributed over all of `u64`;
    /// `exclude` holds the servers that this read has already tried.
    pub fn pick_replica(&self, random: u64, exclude: &[ServerId]) -> Option<ServerId> {
        self.readers.pick(random, exclude)
    }

    /// The primary, if it is up.
    pub fn primary(&self) -> Option<&Server> {
        self.primary.and_then(|id| self.server(id))
    }

    /// A server by its id.
    pub fn server(&self, id: ServerId) -> Option<&Server> {
        // As long as none has left, ids are places.
        let at_its_place = self.servers.get(usize::from(id.0)).filter(|server| server.id == id);
        at_its_place.or_else(|| self.servers.iter().find(|server| server.id == id))
    }

    /// Whether anything can be served: a primary, or a replica that takes reads.
    pub fn can_serve(&self) -> bool {
        self.primary.is_some() || !self.readers.is_empty()
    }

    /// Each server and why it cannot be used, for the log (T63).
    pub fn explain_unusable(&self) -> String {
        self.explain(|_, server| server.address.to_string())
    }

    /// The same for a client: servers by their place in the configuration, no hosts (T63).
    pub fn explain_unusable_to_client(&self) -> String {
        self.explain(|place, _| format!("server {}", place + 1))
    }

    fn explain(&self, name: impl Fn(usize, &Server) -> String) -> String {
        let mut text = String::new();
        for (place, server) in self.servers.iter().enumerate() {
            let separator = if text.is_empty() { "" } else { "; " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}{} ({}): ", name(place, server), server.role.as_str());
            let _ = match &server.left_out {
                Some(reason) => write!(text, "{reason}"),
                None => write!(text, "usable"),
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::health::Cause;
    use super::*;

    fn server(id: u16, role: Role, state: State, left_out: Option<LeftOut>) -> Server {
        let config = config::Server { host: format!("10.0.0.{id}"), port: 3306, weight: 1, draining: false };
        Server {
            id: ServerId(id),
            address: config.address().into(),
            at: None,
            standing: Standing::Member,
            config: Arc::new(config),
            role,
            state,
            replaced: false,
            left_out,
            lag: None,
            lag_is_asked: false,
            server_id: 0,
            facts: None,
        }
    }

    #[test]
    fn t63_each_server_and_why_it_was_left_out() {
        let snapshot = Snapshot {
            generation: 1,
            servers: vec![
                server(0, Role::Primary, State::Down, Some(LeftOut::Down(Cause::Refused))),
                server(1, Role::Replica, State::Up, Some(LeftOut::SqlStopped(1062))),
                server(2, Role::Replica, State::Up, None),
            ],
            ..Snapshot::default()
        };
        assert_eq!(
            snapshot.explain_unusable(),
            "10.0.0.0:3306 (primary): down: connection refused; \
             10.0.0.1:3306 (replica): its applying (SQL) thread is stopped by error 1062; \
             10.0.0.2:3306 (replica): usable"
        );
        let shown = snapshot.explain_unusable_to_client();
        assert!(shown.starts_with("server 1 (primary): down: connection refused; server 2 (replica): its"));
        assert!(!shown.contains("10.0.0"), "{shown}");
    }

    #[test]
    fn a_server_that_is_not_configured_is_not_there() {
        let snapshot = Snapshot {
            generation: 0,
            servers: vec![server(0, Role::Primary, State::Up, None)],
            primary: Some(ServerId(0)),
            ..Snapshot::default()
        };
        assert!(snapshot.primary().is_some() && snapshot.can_serve());
        assert_eq!(snapshot.server(ServerId(1)), None);
    }
}
