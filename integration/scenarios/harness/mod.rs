//! What scenarios are written with: servers, a Tidegate in front of them, clients.
//!
//! Owns: starting, waiting, ending. Does not know: any behaviour under test. Invariant: nothing waits longer than
//! `PATIENCE`, nothing sleeps instead of asking, and what a scenario starts ends with it.

pub mod cluster;
pub mod packets;
pub mod proxy;
pub mod raw;
pub mod stage;

use std::future::Future;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

pub use cluster::Cluster;
pub use proxy::{Proxy, Rules, check};
pub use raw::{Login, Outcome, RawClient};
pub use stage::{Scenario, Stage};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// From one question to the next where only asking tells.
const PACE: Duration = Duration::from_millis(5);

/// Makes one test per dialect of each scenario.
macro_rules! both_dialects {
    ($($name:ident),* $(,)?) => {
        both_dialects!(@one mysql, MySql, $($name),*);
        both_dialects!(@one mariadb, MariaDb, $($name),*);
    };
    (@one $module:ident, $dialect:ident, $($name:ident),*) => {
        mod $module {
            // A thread beside the test's own takes clients' goodbyes to Tidegate while the test waits for its end.
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let dialect = tidegate::sql::Dialect::$dialect;
                super::$name(crate::harness::Scenario { dialect, module: module_path!(), name: stringify!($name) }).await;
            })*
        }
    };
}

/// Waits for `work`, within `PATIENCE`.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// When to ask: at once, then at a pace that leaves the processors to what is asked about. A test and a Tidegate that ask and answer
/// without a pause take both of two, from servers whose probes are waited for.
pub fn pace() -> Interval {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// Asks again and again until the answer is true, within `PATIENCE`.
pub async fn until<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let mut pace = pace();
    let asking = async {
        loop {
            pace.tick().await;
            if ask().await {
                return;
            }
        }
    };
    within(what, asking).await;
}
