//! The SQL console: what the proxy is doing, as tables for MySQL clients.
//!
//! Owns: the console's statements and their answers. Does not know: how operators log in (`frontend` lets them in by
//! the same exchange as clients), sessions beyond what `registry` shows of them. Invariant: what changes
//! the data plane (KILL, orders about servers, RELOAD) is done by others, and logged; statements are bounded, and so is what they may cost.
//!
//! The way of a statement: `serve` (packets) → `tokens` → `statement` (with `expression`) → `answer` → a table of
//! `views`, `variables` or `catalog` → `encode`.

mod answer;
mod catalog;
mod encode;
mod expression;
mod serve;
mod statement;
mod table;
mod time;
mod tokens;
mod variables;
mod views;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use self::expression::Unanswerable;
use crate::config::{Change, Config, Server};
use crate::ids::{ClientId, ServerId};
use crate::observe::{Digest, Metrics};
use crate::registry::{Handle, Registry};
use crate::topology::Clusters;
use crate::wire::capabilities::Capabilities;
use crate::wire::err::ErrPacket;

/// The version that the console gives: what clients know of MySQL 8.0 suits it.
pub const VERSION: &str = concat!("8.0.11-Tidegate-", env!("CARGO_PKG_VERSION"));
/// `@@version_comment`.
const VERSION_COMMENT: &str = "Tidegate console";

/// What a worker thread alone knows.
#[derive(Clone, Debug)]
pub struct CoreView {
    /// Its idle connections to each server.
    pub idle: Vec<(ServerId, usize)>,
    /// The statements that it has served; `None` with digests off.
    pub digests: Option<Vec<Digest>>,
}

/// An answer of the worker threads, to come.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The worker threads, as far as the console asks them; implemented above this layer.
pub trait Cores: Send + Sync {
    /// What each knows; one that does not answer in time is left out.
    fn look(&self) -> Asking<'_, Vec<CoreView>>;

    /// Ends the statement that a session runs, if it runs one.
    fn kill_query(&self, target: Arc<Handle>) -> Asking<'_, Result<(), ErrPacket>>;
}

/// Who changes the configuration while the proxy runs; implemented above this layer.
pub trait Steering: Send + Sync {
    /// Reads the rules again and takes over what is different, all of it or nothing: that, or why not.
    fn reload(&self) -> Asking<'_, Result<Vec<Change>, String>>;

    /// Makes the server at this address the primary, without a statement that fails; or why not.
    fn switch_over(&self, address: String) -> Asking<'_, Result<(), String>>;

    /// Changes something about a server: what is different then, or why not.
    fn order(&self, order: Order) -> Asking<'_, Result<Vec<Change>, String>>;
}

/// What an operator wants done about a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Which; its address counts, for [`Verb::Add`] all of it.
    pub server: Server,
    /// What.
    pub verb: Verb,
    /// For [`Verb::Add`]: the cluster that it joins; `None` for the default one.
    pub cluster: Option<String>,
}

/// What can be done about a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    /// Make it one of a cluster's.
    Add,
    /// Let it finish what it has begun, and forget it.
    Drop,
    /// Let it finish what it has begun.
    Drain,
    /// Use it again.
    Resume,
    /// Change its share of the reads.
    Weight(u32),
    /// Take back what operators have changed of it.
    Reset,
}

/// The console: where it finds what it shows.
pub struct Console {
    /// The configuration in effect.
    pub config: Arc<ArcSwap<Config>>,
    /// Who changes it.
    pub steering: Arc<dyn Steering>,
    /// The servers, watched.
    pub clusters: Arc<Clusters>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Sessions.
    pub registry: Arc<Registry>,
    /// Worker threads.
    pub cores: Arc<dyn Cores>,
    /// When the process began to serve.
    pub started: SystemTime,
    /// How long an operator may take for what.
    pub bounds: Bounds,
}

/// How long an operator may take for what.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Who says nothing for this long is disconnected.
    pub silence: Duration,
    /// A statement that takes longer is given up.
    pub answer: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { silence: Duration::from_secs(3600), answer: Duration::from_secs(10) }
    }
}

/// An operator who is logged in.
#[derive(Clone, Debug)]
pub struct Operator {
    /// The connection's id; no session has the same.
    pub id: ClientId,
    /// The account of `admin.users`.
    pub user: Vec<u8>,
    /// The flags in force.
    pub capabilities: Capabilities,
    /// The default database.
    pub database: Option<String>,
}

impl Operator {
    /// Makes a database the default one.
    fn use_database(&mut self, name: &str) -> Result<(), Unanswerable> {
        let known =
            [catalog::OWN, catalog::DICTIONARY].into_iter().find(|own| own.eq_ignore_ascii_case(name));
        let known = known.ok_or_else(|| Unanswerable::NoDatabase(name.to_owned()))?;
        self.database = Some(known.to_owned());
        Ok(())
    }
}
