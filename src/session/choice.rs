//! Which server a route leads to now, and the wait for one where there is none.
//!
//! Does not know: connections, which replica is best. Invariant: every wait here is bounded, and what no server can take is an error that says why.

use tokio::sync::watch::Receiver;
use tokio::time::{Instant, timeout_at};

use super::lease::PAUSE;
use super::{Problem, Session};
use crate::backend::spill::{Line, Spilled};
use crate::ids::ServerId;
use crate::plan::{Reason, Route, Target};

/// A server; and its place on the primary, of a read that was meant for a replica, where such places are counted.
pub(super) type Choice = (ServerId, Option<Spilled>);

/// What a look at the servers has shown.
enum Look {
    Found(Choice),
    /// Some replica will serve it, once that has caught up.
    Behind,
    /// The primary would, but runs as many of its kind as it may; or a replica that is behind, once it has caught up.
    Crowded {
        behind: bool,
    },
    /// Nobody is there for it.
    Nobody,
}

/// What a statement waits for.
struct Wait {
    changes: Receiver<u64>,
    line: Option<Line>,
}

impl Session {
    /// How long the statement may wait for a server; known from the first wait on.
    pub(super) fn deadline(&self, known: &mut Option<Instant>) -> Instant {
        *known.get_or_insert_with(|| Instant::now() + self.topology.snapshot().cluster.pool.primary_wait)
    }

    /// A server for the route, waiting for a primary where there is none.
    pub(super) async fn choose(
        &mut self,
        route: &mut Route,
        tried: &mut Vec<ServerId>,
        deadline: &mut Option<Instant>,
    ) -> Result<Choice, Problem> {
        let mut wait: Option<Wait> = None;
        loop {
            if let Some(wait) = &mut wait {
                wait.listen(); // before the look, so that nothing falls between the look and the wait
            }
            let look = self.look(route, tried, wait.as_ref().and_then(|wait| wait.line.as_ref()));
            let (behind, crowded) = match look {
                Look::Found(choice) => return Ok(choice),
                Look::Behind => (true, false),
                Look::Crowded { behind } => (behind, true),
                Look::Nobody => (false, false),
            };
            let begun = wait.is_some();
            let wait = wait.get_or_insert_with(|| Wait { changes: self.topology.subscribe(), line: None });
            if crowded && wait.line.is_none() {
                let Some(primary) = self.topology.snapshot().primary else { continue };
                wait.line = Some(self.worker.pool.stand_in_line(primary).ok_or(TOO_MANY)?);
                continue;
            }
            if !begun {
                continue;
            }
            // Those that would do have failed this statement, perhaps by an old connection only: they are tried again. A
            // replica that catches up changes nothing that would be told.
            let deadline = self.deadline(deadline);
            let spent = behind || !tried.is_empty() && self.is_servable(route.target);
            let until = if spent { deadline.min(Instant::now() + PAUSE) } else { deadline };
            if timeout_at(until, wait.over()).await.is_err() && Instant::now() >= deadline {
                return Err(if crowded { TOO_MANY } else { self.nobody(route.target) });
            }
            tried.clear(); // the servers have changed since they failed, or have had a pause
        }
    }

    /// A server for the route as it is now. A read that the primary must take for want of a replica is told so by its route.
    fn look(&mut self, route: &mut Route, tried: &[ServerId], line: Option<&Line>) -> Look {
        let snapshot = self.topology.snapshot();
        let random = self.worker.random();
        let replica = || snapshot.pick_replica(random, tried);
        let primary = snapshot.primary.filter(|id| !tried.contains(id));
        let found = match route.target {
            Target::Replica => {
                if let Some(id) = self.choose_replica(&snapshot, tried) {
                    return Look::Found((id, None));
                }
                let behind = replica().is_some();
                let Some(id) = primary else { return if behind { Look::Behind } else { Look::Nobody } };
                let mut spilled = None;
                if let Some(max) = snapshot.cluster.reads.spill {
                    spilled = self.worker.pool.spill(id, max, line);
                    if spilled.is_none() {
                        return Look::Crowded { behind };
                    }
                }
                let reason = if behind { Reason::NotFresh } else { Reason::NoReplica };
                *route = Route { target: Target::Replica, reason };
                return Look::Found((id, spilled));
            }
            Target::Held | Target::Any => primary.or_else(replica),
            Target::Primary => primary,
        };
        found.map_or(Look::Nobody, |id| Look::Found((id, None)))
    }

    fn nobody(&self, target: Target) -> Problem {
        let snapshot = self.topology.snapshot();
        let why = snapshot.explain_unusable_to_client();
        tracing::warn!(servers = snapshot.explain_unusable(), target = target.name(), "no usable server");
        if target == Target::Primary { Problem::NoPrimary(why) } else { Problem::NoServer(why) }
    }

    /// Whether some server would do for this target.
    fn is_servable(&self, target: Target) -> bool {
        let snapshot = self.topology.snapshot();
        snapshot.primary.is_some()
            || target != Target::Primary && snapshot.pick_replica(self.worker.random(), &[]).is_some()
    }
}

const TOO_MANY: Problem = Problem::Queue(
    "no replica can serve this read, and the primary runs as many such reads as `reads.spill` allows",
);

impl Wait {
    fn listen(&mut self) {
        self.changes.mark_unchanged();
        if let Some(line) = &mut self.line {
            line.listen();
        }
    }

    /// Something has changed that may help.
    async fn over(&mut self) {
        let Self { changes, line } = self;
        let freed = async {
            match line {
                Some(line) => line.freed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // It ends with the topology only, that is with the process.
            _ = changes.changed() => {}
            () = freed => {}
        }
    }
}
