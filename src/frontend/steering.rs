//! Changes of the configuration while the proxy runs: a reload of the rules file, and orders of operators.
//!
//! Owns: the configuration in effect, and what of it can change. Does not know: who asks. Invariant: all of a change or nothing: what
//! is wrong, or cannot change without a restart, is refused by name before anything is touched.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::accounts::Accounts;
use super::fleet::Fleet;
use super::overrides::Overrides;
use super::proxy::check_files;
use crate::admin::console::{Asking, Order, Steering};
use crate::config::{Change, Cluster, Config, ConfigError};
use crate::generate::{Generators, Sequence};
use crate::ids::ServerId;
use crate::registry::{Handle, Phase, Registry};
use crate::session::{Directory, is_passing_pin};
use crate::shard::{GenerateBy, Rules};
use crate::topology::{Clusters, Quiet};

/// Reads the rules file again.
pub type Reread = Box<dyn Fn() -> Result<Config, Vec<ConfigError>> + Send + Sync>;

/// Between two looks at the sessions that are to leave a server.
const LEFT_LOOK: Duration = Duration::from_millis(5);
/// Bytes of errors that an operator gets; the log has all.
const ERRORS_SHOWN: usize = 4000;

/// The one place where a running proxy is changed.
pub(super) struct Helm {
    reread: Option<Arc<Reread>>,
    in_effect: Arc<ArcSwap<Config>>,
    directory: Arc<ArcSwap<Directory>>,
    generators: Arc<Generators>,
    wanted: Mutex<Wanted>,
    clusters: Arc<Clusters>,
    fleet: Arc<Fleet>,
    accounts: Arc<Accounts>,
    registry: Arc<Registry>,
}

/// What the configuration in effect is made of.
#[derive(Clone)]
struct Wanted {
    file: Arc<Config>,
    overrides: Overrides,
}

impl Helm {
    /// With the configuration that the proxy was started with.
    pub fn new(
        reread: Option<Reread>,
        (in_effect, directory, generators): (Arc<ArcSwap<Config>>, Arc<ArcSwap<Directory>>, Arc<Generators>),
        clusters: Arc<Clusters>,
        fleet: Arc<Fleet>,
        accounts: Arc<Accounts>,
        registry: Arc<Registry>,
    ) -> Self {
        want(&generators, &in_effect.load().rules);
        let wanted = Mutex::new(Wanted { file: in_effect.load_full(), overrides: Overrides::default() });
        Self {
            reread: reread.map(Arc::new),
            in_effect,
            directory,
            generators,
            wanted,
            clusters,
            fleet,
            accounts,
            registry,
        }
    }

    async fn read_again(&self) -> Result<Vec<Change>, String> {
        let reread = self.reread.clone().ok_or("Tidegate was started without a rules file")?;
        let mut wanted = self.wanted.lock().await;
        let read = move || {
            let config = reread().map_err(|errors| told(&errors))?;
            check_files(&config).map_err(|error| error.to_string())?;
            Ok(Arc::new(config))
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string());
        let file = read.and_then(|file| file)?;
        let next = Wanted { file, overrides: wanted.overrides.clone() };
        let changes = self.steer(&next)?;
        *wanted = next;
        for (server, what) in wanted.overrides.told() {
            tracing::info!(server, what, "what the console has changed of this server stands");
        }
        Ok(changes)
    }

    async fn obey(&self, order: Order) -> Result<Vec<Change>, String> {
        let mut wanted = self.wanted.lock().await;
        let mut next = wanted.clone();
        next.overrides.take(order, &next.file)?;
        let changes = self.steer(&next)?;
        *wanted = next;
        Ok(changes)
    }

    /// Makes this the configuration in effect.
    fn steer(&self, wanted: &Wanted) -> Result<Vec<Change>, String> {
        let mut next = (*wanted.file).clone();
        for cluster in &mut next.clusters {
            cluster.servers = wanted.overrides.over(&cluster.name, &cluster.servers);
            if cluster.servers.is_empty() {
                return Err(format!("the cluster `{}` would have no server", cluster.name));
            }
        }
        let changes = self.in_effect.load().changes(&next);
        let fixed: Vec<_> =
            changes.iter().filter(|change| !change.live).map(|change| change.option.as_str()).collect();
        if !fixed.is_empty() {
            return Err(format!("restart Tidegate to change {}, or put it back", fixed.join(", ")));
        }
        self.clusters.configure(&next).map_err(|refused| refused.to_string())?;
        self.fleet.adopt(&next.clusters);
        self.accounts.adopt(&next.auth);
        if next.rules != self.in_effect.load().rules {
            want(&self.generators, &next.rules);
            let before = self.directory.load();
            self.directory.store(Arc::new(Directory::new(next.rules.clone(), Some(&before))));
        }
        self.in_effect.store(Arc::new(next));
        for Change { option, before, after, .. } in &changes {
            tracing::info!(option, before, after, "the configuration has changed");
        }
        Ok(changes)
    }
}

/// What these rules make values from.
fn want(generators: &Generators, rules: &Rules) {
    generators.want_node(rules.generated(GenerateBy::Snowflake).next().is_some());
    let sequence =
        |(database, table): (&String, &String)| Sequence { database: database.clone(), table: table.clone() };
    generators.segments.want(rules.generated(GenerateBy::Segment).map(sequence).collect());
}

impl Steering for Helm {
    fn reload(&self) -> Asking<'_, Result<Vec<Change>, String>> {
        Box::pin(async move {
            let done = self.read_again().await;
            match &done {
                Ok(changes) => tracing::info!(changes = changes.len(), "the rules were read again"),
                Err(why) => {
                    tracing::error!(why, "the rules were read again and refused: nothing has changed");
                }
            }
            done
        })
    }

    fn switch_over(&self, address: String) -> Asking<'_, Result<(), String>> {
        let registry = Arc::clone(&self.registry);
        let config = self.in_effect.load();
        let has = |cluster: &Cluster| cluster.servers.iter().any(|server| server.address() == address);
        let place = config.clusters.iter().position(has).unwrap_or(config.home.place());
        let limit = config.clusters[place].promotion.as_ref().map(|promotion| promotion.transactions_timeout);
        let quiet = move |primary| -> Quiet { Box::pin(left(registry, primary, limit.unwrap_or_default())) };
        let topology = Arc::clone(self.clusters.at(place));
        Box::pin(async move { topology.switch_over(address, quiet).await })
    }

    fn order(&self, order: Order) -> Asking<'_, Result<Vec<Change>, String>> {
        Box::pin(self.obey(order))
    }
}

/// Waits until no session has anything on a server that it would lose with it.
async fn left(registry: Arc<Registry>, server: ServerId, limit: Duration) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    let mut seen_quiet = false;
    loop {
        let staying = registry.all().iter().filter(|session| stays(session, server)).count();
        // Twice, as a session may have been between its choice and the server.
        if staying == 0 && std::mem::replace(&mut seen_quiet, true) {
            return Ok(());
        }
        seen_quiet &= staying == 0;
        if Instant::now() >= deadline {
            return Err(format!(
                "{staying} sessions have open transactions, or keep connections, on the primary after {limit:?}: SHOW PINS and SHOW SESSIONS tell which"
            ));
        }
        sleep(LEFT_LOOK).await;
    }
}

/// Whether a session runs a statement there, has a transaction open, or keeps what cannot be had elsewhere.
fn stays(session: &Handle, server: ServerId) -> bool {
    if !session.is_at(server) {
        return false;
    }
    let (phase, _) = session.activity.phase();
    phase != Phase::Idle || session.activity.pins().iter().any(|pin| !is_passing_pin(pin.reason))
}

/// Errors of a file, as many as an operator is shown.
fn told(errors: &[ConfigError]) -> String {
    let mut text = String::new();
    for error in errors {
        tracing::error!("{error}");
        if text.len() < ERRORS_SHOWN {
            let separator = if text.is_empty() { "" } else { "; " };
            let ConfigError { file, line, column, rule, message, .. } = error;
            text.push_str(&format!("{separator}{file}:{line}:{column}: {rule}: {message}"));
        }
    }
    text
}
