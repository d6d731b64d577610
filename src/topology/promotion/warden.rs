//! Sees to it that there is one primary, and that all others follow it.
//!
//! Owns: when something is done. Does not know: how it is done (`failover`, `guard`, `following`), what is decided (`plight`, `election`).
//! Invariant: one act at a time, each under a lease of its own; a refused act has changed nothing that is not put back.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, error, info, warn};

use super::super::shared::Shared;
use super::super::snapshot::Snapshot;
use super::Plight;
use super::hand::{PROMPT, Trouble};
use super::lease::{self, Lease};
use super::mark;
use super::tally::Why;
use crate::config::{Monitor, Promotion, ServerTls};
use crate::ids::ServerId;

/// Between two attempts at the same thing.
const AGAIN: Duration = Duration::from_millis(300);
/// Between two looks at servers that do not follow the primary, and could not be made to.
const AGAIN_APART: Duration = Duration::from_secs(10);
/// A candidate is waited for in steps of this, between which the lease is kept alive.
pub(super) const STEP: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the end of an act.
const END_LIMIT: Duration = Duration::from_secs(10);

/// Until the sessions have left a server; or why they do not.
pub type Quiet = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Who changes the servers' roles.
pub(in super::super) struct Warden {
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Promotion,
    pub(super) tls: ServerTls,
    pub(super) limit: Duration,
    /// From one probe to the next.
    pub(super) interval: Duration,
    /// What an act has left could not be cleared away.
    pub(super) untidy: AtomicBool,
    /// Held during an act.
    pub(super) acting: Mutex<()>,
}

impl fmt::Debug for Warden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warden").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Warden {
    pub fn new(shared: Arc<Shared>, settings: Promotion, tls: ServerTls, monitor: &Monitor) -> Self {
        let (limit, interval) = (monitor.timeout, monitor.interval);
        Self {
            shared,
            settings,
            tls,
            limit,
            interval,
            untidy: AtomicBool::new(false),
            acting: Mutex::new(()),
        }
    }

    /// Works for as long as the task lives.
    pub async fn work(self: Arc<Self>) {
        self.inspect().await;
        let mut changes = self.shared.subscribe();
        let mut told = None;
        let mut apart_at: Option<Instant> = None;
        let mut slept_on: Option<Instant> = None;
        let (mut tidied, mut untidy_at) = (None, None);
        let is_recent = |at: Option<Instant>| at.is_some_and(|at| at.elapsed() < AGAIN_APART);
        loop {
            // Not every probe makes a snapshot: a replica that loses its source while the primary is down makes none.
            let _ = timeout(AGAIN, changes.changed()).await;
            changes.mark_unchanged();
            if self.shared.snapshot().primary.is_none() {
                self.shared.probe_all_now(); // what the replicas say of the primary was true when it was there
            }
            let mut plight = self.shared.lock().plight();
            if is_recent(apart_at) {
                plight.stray.clear();
            }
            if is_recent(slept_on) {
                (plight.asleep, plight.halted) = (None, None);
            }
            let Ok(_acting) = self.acting.try_lock() else { continue };
            if tidied != plight.primary || self.untidy.swap(false, Ordering::Relaxed) {
                tidied = None;
            }
            if plight.is_well() {
                told = None;
                if let Some(primary) = plight.primary.filter(|_| tidied.is_none() && !is_recent(untidy_at)) {
                    let this = Arc::clone(&self);
                    let act = tokio::spawn(async move { this.tidy(&this.shared.snapshot(), primary).await });
                    match act.await {
                        Ok(Ok(())) => tidied = Some(primary),
                        // Another instance may be at it.
                        Ok(Err(trouble)) if trouble.why == Why::Locked => {}
                        Ok(Err(trouble)) => {
                            debug!(%trouble, "what acts have left was not looked for");
                            untidy_at = Some(Instant::now());
                        }
                        Err(_) => untidy_at = Some(Instant::now()),
                    }
                }
                continue;
            }
            let this = Arc::clone(&self);
            // In a task of its own: a panic of the driver over a hostile answer ends the act, not the warden.
            let only_strays = !plight.is_urgent();
            let act = tokio::spawn(async move { this.act(plight).await });
            match act.await {
                Ok(Ok(all_follow)) => {
                    told = None;
                    apart_at = (!all_follow).then(Instant::now);
                }
                Ok(Err(trouble)) => {
                    slept_on = (trouble.why == Why::Ordered).then(Instant::now);
                    apart_at = only_strays.then(Instant::now).or(apart_at);
                    if told.as_ref() != Some(&trouble) {
                        warn!(why = %trouble, "the servers' roles are left as they are");
                        self.shared.tally.refused(trouble.why);
                    }
                    told = Some(trouble);
                    sleep(AGAIN).await;
                }
                Err(_) => sleep(AGAIN).await,
            }
        }
    }

    /// Waits until nothing is being changed, if that is not for long; nothing is any more then.
    pub async fn come_to_an_end(&self) {
        match timeout(END_LIMIT, self.acting.lock()).await {
            Ok(acting) => std::mem::forget(acting), // nothing begins any more
            Err(_) => {
                warn!(
                    "the servers' roles are being changed still: what is left half done the next Tidegate finds"
                );
            }
        }
    }

    /// Tells the log what the account lacks, before it is needed.
    async fn inspect(&self) {
        let snapshot = self.shared.snapshot();
        let servers = snapshot.servers.iter();
        let known = servers.clone().filter(|server| server.at.is_some()).count();
        let mut hands = lease::reach(servers, &self.settings, &self.tls, self.limit.max(STEP)).await;
        for hand in &mut hands {
            let semi_sync = hand.semi_sync().await.unwrap_or_default();
            match hand.missing_rights(semi_sync.is_used()).await {
                Ok(missing) if missing.is_empty() => {}
                Ok(missing) => {
                    let (server, missing) = (&hand.address, missing.join(", "));
                    error!(%server, missing, "the account of `failover` lacks privileges: no promotion would succeed there");
                }
                Err(trouble) => warn!(%trouble, "the account of `failover` cannot be looked at"),
            }
            let lacks = hand.grants().await.map(|grants| mark::missing(&grants)).unwrap_or_default();
            if !lacks.is_empty() {
                let (server, missing) = (&hand.address, lacks.join(", "));
                warn!(%server, missing, "the account of `failover` lacks privileges on `tidegate.*`: a switchover that Tidegate does not live to end is left as it is");
            }
            let Ok(said) = hand.testify().await else { continue };
            let channels = said.identity.replication.channels();
            if channels.iter().any(|channel| channel.filtered) {
                warn!(server = %hand.address, "it leaves out some of what it receives (replication filters): it is never promoted");
            }
            if channels.is_empty() && !said.identity.read_only && semi_sync.acknowledges_alone() {
                warn!(server = %hand.address, "semi-synchronous replication is used, but this primary answers commits that no replica has: set its source side, and `wait_no_replica`, to ON");
            }
        }
        if hands.len() < known {
            let reached: Vec<_> = hands.iter().map(|hand| &*hand.address).collect();
            warn!(?reached, of = known, "the account of `failover` cannot log in at every server");
        }
        info!(servers = hands.len(), of = known, "Tidegate promotes a replica when the primary is gone");
    }

    /// Does the most urgent of what is to be done. False when a server's data keeps it apart.
    async fn act(&self, plight: Plight) -> Result<bool, Trouble> {
        let snapshot = self.shared.snapshot();
        if let Some(source) = plight.gone {
            // Who was the primary before it may be writable: it is shut out first.
            return self.fail_over(&snapshot, source, &plight.loose).await.map(|()| true);
        }
        if !plight.loose.is_empty() {
            return self.fence(&snapshot, &plight.loose).await.map(|()| true);
        }
        if let Some(only) = plight.unfinished {
            return self.finish(&snapshot, only).await.map(|()| true);
        }
        if let Some(halted) = plight.halted
            && self.resume(&snapshot, halted).await?
        {
            return Ok(true);
        }
        if let Some(last) = plight.asleep {
            return self.wake(&snapshot, last).await.map(|()| true);
        }
        if let Some(halted) = plight.halted.and_then(|id| snapshot.server(id)) {
            let address = &halted.address;
            let text = format!(
                "{address} is read only, and others follow it: somebody wants it so, or it was restarted before this Tidegate was \
                 started; SWITCHOVER TO '{address}' lets it take writes, SWITCHOVER TO another one makes that the primary"
            );
            return Err(Trouble::new(Why::Ordered, text));
        }
        match plight.primary {
            Some(primary) => self.gather(&snapshot, primary, &plight.stray).await,
            None => Ok(true),
        }
    }

    pub(super) async fn lease(&self, snapshot: &Snapshot) -> Result<Lease, Trouble> {
        Lease::take(snapshot, &self.settings, &self.tls, self.limit).await
    }

    /// The same for somebody who waits for it: another's act may be short, and a busy server late.
    pub(super) async fn lease_soon(&self, snapshot: &Snapshot) -> Result<Lease, Trouble> {
        let deadline = Instant::now() + PROMPT;
        loop {
            match self.lease(snapshot).await {
                Err(Trouble { why: Why::Locked | Why::NoMajority, .. }) if Instant::now() < deadline => {
                    sleep(AGAIN).await;
                }
                taken => return taken,
            }
        }
    }

    /// Waits until the probes have found this primary.
    pub(super) async fn until_seen(&self, primary: ServerId) {
        let mut changes = self.shared.subscribe();
        let seen = async {
            loop {
                changes.mark_unchanged();
                if self.shared.snapshot().primary == Some(primary) || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        if timeout(PROMPT, seen).await.is_err() {
            warn!("the new primary is not seen to be one yet");
        }
    }
}
