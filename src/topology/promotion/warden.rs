//! Sees to it that there is one primary: replaces one that is gone, and shuts out one that comes back.
//!
//! Owns: when something is done, and its log. Does not know: how servers are told (`hand`), what is decided (`plight`, `election`).
//! Invariant: one act at a time, each under a lease of its own; a refused act has changed nothing that is not put back.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use super::super::gtid::Transactions;
use super::super::roles::Identity;
use super::super::shared::Shared;
use super::super::snapshot::Snapshot;
use super::Plight;
use super::election::{self, Refusal, Testimony};
use super::hand::{Hand, PROMPT, Trouble};
use super::lease::{self, Lease};
use super::words::{self, Source};
use crate::config::{Monitor, Promotion, ServerTls, ServerTlsMode};
use crate::ids::ServerId;

/// Between two attempts at the same thing.
const AGAIN: Duration = Duration::from_millis(300);
/// Between two looks at an old primary whose data keeps it out.
const AGAIN_DIVERGED: Duration = Duration::from_secs(10);
/// A candidate is waited for in steps of this, between which the lease is kept alive.
const STEP: Duration = Duration::from_secs(1);

/// Until the sessions have left a server; or why they do not.
pub type Quiet = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Who changes the servers' roles.
pub(in super::super) struct Warden {
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Promotion,
    tls: ServerTls,
    limit: Duration,
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
        Self { shared, settings, tls, limit: monitor.timeout, acting: Mutex::new(()) }
    }

    /// Works for as long as the task lives.
    pub async fn work(self: Arc<Self>) {
        self.inspect().await;
        let mut changes = self.shared.subscribe();
        let mut told = None;
        let mut diverged_at: Option<Instant> = None;
        let mut slept_on: Option<Instant> = None;
        loop {
            // Not every probe makes a snapshot: a replica that loses its source while the primary is down makes none.
            let _ = timeout(AGAIN, changes.changed()).await;
            changes.mark_unchanged();
            if self.shared.snapshot().primary.is_none() {
                self.shared.probe_all_now(); // what the replicas say of the primary was true when it was there
            }
            let mut plight = self.shared.lock().plight();
            if diverged_at.is_some_and(|at| at.elapsed() < AGAIN_DIVERGED) {
                plight.idle.clear();
            }
            if slept_on.is_some_and(|at| at.elapsed() < AGAIN_DIVERGED) {
                plight.asleep = None;
            }
            let nothing = plight.gone.is_none() && plight.asleep.is_none();
            if nothing && plight.loose.is_empty() && plight.idle.is_empty() {
                told = None;
                continue;
            }
            let Ok(_acting) = self.acting.try_lock() else { continue };
            let this = Arc::clone(&self);
            // In a task of its own: a panic of the driver over a hostile answer ends the act, not the warden.
            let may_sleep = plight.asleep.is_some();
            let act = tokio::spawn(async move { this.act(plight).await });
            match act.await {
                Ok(Ok(all_joined)) => {
                    told = None;
                    diverged_at = (!all_joined).then(Instant::now);
                }
                Ok(Err(trouble)) => {
                    slept_on = may_sleep.then(Instant::now);
                    if told.as_ref() != Some(&trouble) {
                        warn!(why = trouble, "the servers' roles are left as they are");
                    }
                    told = Some(trouble);
                    sleep(AGAIN).await;
                }
                Err(_) => sleep(AGAIN).await,
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
            match hand.missing_rights().await {
                Ok(missing) if missing.is_empty() => {}
                Ok(missing) => {
                    let (server, missing) = (&hand.address, missing.join(", "));
                    error!(%server, missing, "the account of `failover` lacks privileges: no promotion would succeed there");
                }
                Err(trouble) => warn!(trouble, "the account of `failover` cannot be looked at"),
            }
        }
        if hands.len() < known {
            let reached: Vec<_> = hands.iter().map(|hand| &*hand.address).collect();
            warn!(?reached, of = known, "the account of `failover` cannot log in at every server");
        }
        info!(servers = hands.len(), of = known, "Tidegate promotes a replica when the primary is gone");
    }

    /// Does the most urgent of what is to be done. False when an old primary's data keeps it out.
    async fn act(&self, plight: Plight) -> Result<bool, Trouble> {
        let snapshot = self.shared.snapshot();
        if !plight.loose.is_empty() {
            return self.fence(&snapshot, &plight.loose).await.map(|()| true);
        }
        if let Some(source) = plight.gone {
            return self.fail_over(&snapshot, source).await.map(|()| true);
        }
        if let Some(last) = plight.asleep {
            return self.wake(&snapshot, last).await.map(|()| true);
        }
        match plight.primary {
            Some(primary) => self.rejoin(&snapshot, primary, &plight.idle).await,
            None => Ok(true),
        }
    }

    pub(super) async fn lease(&self, snapshot: &Snapshot) -> Result<Lease, Trouble> {
        Lease::take(snapshot, &self.settings, &self.tls, self.limit).await
    }

    /// Puts the best replica in the place of a primary that is gone.
    async fn fail_over(&self, snapshot: &Snapshot, source: ServerId) -> Result<(), Trouble> {
        let started = Instant::now();
        let mut lease = self.lease(snapshot).await?;
        if let Some((identity, history)) = self.recall(source) {
            let history = history.map(|history| (*history).clone()).unwrap_or_default();
            let (holds, executed) = (Transactions::default(), Transactions::default());
            lease.remember(source, Testimony { identity, can_lead: false, holds, executed, history });
        }
        lease.survey().await;
        let place = lease.place(source).ok_or("the primary that is gone is no longer configured")?;
        match election::confirm(&lease.seats(), place) {
            Ok(()) => {}
            Err(Refusal::Unasked) => {
                // Perhaps by an instance that did not come to the end.
                self.receive(&mut lease, &[place], true).await;
                return Err(Refusal::Unasked.to_string());
            }
            Err(refusal) => return Err(refusal.to_string()),
        }
        let address = Arc::clone(&lease.seats[place].1.address);
        let (reached, of) = (lease.hands.len(), lease.seats.len());
        warn!(primary = %address, reached, of, "the primary is gone, as its replicas say too: one of them takes its place");
        match self.replace(&mut lease, place).await {
            Ok(best) => {
                let server = Arc::clone(&lease.seats[best].1.address);
                let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                info!(%server, took_ms, "promoted");
                self.shared.update(|book| book.depose(source, 0));
                let chosen = lease.seats[best].0;
                self.lead(&mut lease, best, &[]).await;
                self.until_seen(chosen).await;
                Ok(())
            }
            Err(trouble) => {
                self.receive(&mut lease, &[place], true).await;
                Err(trouble)
            }
        }
    }

    fn recall(&self, id: ServerId) -> Option<(Identity, Option<Arc<Transactions>>)> {
        self.shared.lock().last_words(id)
    }

    /// Elects a server and makes it the primary; its place.
    async fn replace(&self, lease: &mut Lease, source: usize) -> Result<usize, Trouble> {
        // What they have is what they will have; and if the primary lives after all, it gets no acknowledgement of semi-synchronous
        // replication from them any more.
        self.receive(lease, &[source], false).await;
        lease.survey().await;
        let seats = lease.seats();
        let (best, left) = election::elect(&seats, source).map_err(|refusal| refusal.to_string())?;
        for (index, why) in left {
            warn!(server = %seats[index].address, %why, "it cannot take the primary's place");
        }
        let Some(said) = &seats[best].said else { return Err("nobody was asked".to_owned()) };
        let (executed, received) = (said.executed.count(), said.holds.count());
        info!(server = %seats[best].address, executed, received, "it takes the primary's place once it has applied what it has received");
        if !said.executed.contains(&said.holds) {
            self.catch_up(lease, best, &said.holds.to_string(), self.settings.apply_timeout).await?;
        }
        lease.holds().await?;
        self.crown(lease.hand(best)?).await?;
        Ok(best)
    }

    /// Waits for a candidate to apply what it has received, and keeps the lease meanwhile.
    async fn catch_up(
        &self,
        lease: &mut Lease,
        place: usize,
        needs: &str,
        limit: Duration,
    ) -> Result<(), Trouble> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lease.hand(place)?.has_applied(needs, left.min(STEP)).await {
                Ok(()) => return Ok(()),
                Err(trouble) if left <= STEP => return Err(trouble),
                Err(_) => lease.holds().await?,
            }
        }
    }

    /// Makes a server the primary.
    pub(super) async fn crown(&self, hand: &mut Hand) -> Result<(), Trouble> {
        let limit = self.settings.apply_timeout;
        for sql in words::promote(hand.dialect()) {
            hand.tell_within(sql, limit).await?;
        }
        self.shared.probe_now(hand.id);
        Ok(())
    }

    /// Stops replicas from receiving, all but these servers, or has them begin again.
    pub(super) async fn receive(&self, lease: &mut Lease, but: &[usize], on: bool) {
        let follows = |seat: &election::Seat| {
            seat.said.as_ref().is_some_and(|said| !said.identity.replication.channels().is_empty())
        };
        let replicas: Vec<_> = lease.seats.iter().map(|(_, seat)| follows(seat)).collect();
        for hand in lease.hands.iter_mut().filter(|hand| replicas[hand.seat] && !but.contains(&hand.seat)) {
            if let Err(trouble) = hand.tell(words::receive(hand.dialect(), on)).await {
                warn!(trouble, on, "a receiving thread was not stopped or started");
            }
            // Who is seen to try to reach another server speaks against a new primary.
            self.shared.probe_now(hand.id);
        }
    }

    /// Makes all who answer follow the new primary; `anew` are those who have followed nobody.
    pub(super) async fn lead(&self, lease: &mut Lease, primary: usize, anew: &[usize]) {
        let seats = lease.seats();
        for hand in lease.hands.iter_mut().filter(|hand| hand.seat != primary) {
            let seat = &seats[hand.seat];
            let follows = seat
                .said
                .as_ref()
                .is_some_and(|said| seat.answered && said.identity.replication.channels().len() == 1);
            let anew = anew.contains(&hand.seat);
            if !follows && !anew {
                continue;
            }
            match self.follow(hand, &seats[primary], anew).await {
                Ok(()) => {
                    info!(server = %hand.address, primary = %seats[primary].address, "it follows the primary")
                }
                Err(trouble) => error!(trouble, "a server does not follow the new primary: make it do so"),
            }
            self.shared.probe_now(hand.id);
        }
    }

    async fn follow(&self, hand: &mut Hand, primary: &election::Seat, anew: bool) -> Result<(), Trouble> {
        hand.tell(words::fence(hand.dialect())).await?;
        let tls = matches!(self.tls.mode, ServerTlsMode::Required | ServerTlsMode::Verified);
        let source = Source { host: &primary.host, port: primary.port, settings: &self.settings, tls };
        hand.tell_secretly(&words::follow(hand.dialect(), &source, anew)).await
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

    /// Makes writable servers read only that are not the primary. It must answer at this moment: where it was just lost, the writable
    /// one may be what another instance has put in its place.
    async fn fence(&self, snapshot: &Snapshot, loose: &[ServerId]) -> Result<(), Trouble> {
        let mut lease = self.lease(snapshot).await?;
        lease.survey().await;
        let Plight { loose: still, primary, .. } = self.shared.lock().plight(); // somebody may have changed that meanwhile
        let leads = primary.and_then(|primary| lease.place(primary)).is_some_and(|place| {
            let seat = &lease.seats[place].1;
            seat.answered && seat.said.as_ref().is_some_and(|said| !said.identity.read_only)
        });
        if !leads {
            return Err("a second server is writable, and the primary does not answer: neither is shut out"
                .to_owned());
        }
        for hand in lease.hands.iter_mut().filter(|hand| loose.contains(&hand.id) && still.contains(&hand.id))
        {
            hand.tell(words::fence(hand.dialect())).await?;
            warn!(server = %hand.address, "fenced: a second writable server was set read only");
            self.shared.update(|book| book.depose(hand.id, 0));
            self.shared.probe_now(hand.id);
        }
        Ok(())
    }

    /// Lets a primary take writes again that is read only since it was restarted, as its configuration says; not one that somebody has
    /// set read only.
    async fn wake(&self, snapshot: &Snapshot, last: ServerId) -> Result<(), Trouble> {
        let mut lease = self.lease(snapshot).await?;
        let (still, seen) = {
            let book = self.shared.lock();
            (book.plight().asleep == Some(last), book.writable_before(last))
        };
        let place = lease.place(last).ok_or("the primary is no longer configured")?;
        let hand = lease.hand(place)?;
        let (_, uptime): (String, u64) = hand.ask("SHOW GLOBAL STATUS LIKE 'Uptime'", PROMPT).await?;
        // Whole seconds, one too many at times: who has been up for longer was not restarted since it was seen to be writable.
        let restarted =
            seen.is_some_and(|seen| Duration::from_secs(uptime.saturating_sub(1)) < seen.elapsed());
        if !still || !restarted {
            return Err(format!(
                "{} is read only, and was not restarted: somebody wants it so",
                hand.address
            ));
        }
        lease.holds().await?;
        let hand = lease.hand(place)?;
        hand.tell(words::unfence(hand.dialect())).await?;
        info!(server = %hand.address, "the primary was restarted and came back read only: it takes writes again");
        self.shared.probe_now(last);
        self.until_seen(last).await;
        Ok(())
    }

    /// Makes old primaries replicas whose data allows it. False when one must stay out.
    async fn rejoin(
        &self,
        snapshot: &Snapshot,
        primary: ServerId,
        idle: &[ServerId],
    ) -> Result<bool, Trouble> {
        let mut lease = self.lease(snapshot).await?;
        lease.survey().await;
        let place = lease.place(primary).ok_or("the primary is no longer configured")?;
        let still = self.shared.lock().plight();
        let known = match &lease.seats[place].1 {
            seat if seat.answered && still.primary == Some(primary) => seat.said.clone(),
            _ => None,
        };
        let known = known.ok_or("the primary is not what it was")?;
        let mut all = true;
        for id in idle.iter().filter(|id| still.idle.contains(id)) {
            let Some(at) = lease.place(*id) else { continue };
            let Some(said) = lease.seats[at].1.said.clone().filter(|_| lease.seats[at].1.answered) else {
                continue;
            };
            let address = Arc::clone(&lease.seats[at].1.address);
            let own = said.history.without(&known.history);
            if own.is_empty() {
                let seat = lease.seats[place].1.clone();
                self.follow(lease.hand(at)?, &seat, true).await?;
                info!(server = %address, "the old primary has nothing that the primary lacks: it follows it from now on");
                self.shared.probe_now(*id);
            } else {
                let (count, which) = (own.count(), own.to_string());
                error!(server = %address, count, transactions = which, "the old primary has transactions that the primary lacks: it is kept out");
                self.shared.update(|book| book.depose(*id, count));
                all = false;
            }
        }
        Ok(all)
    }
}
