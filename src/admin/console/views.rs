//! What the proxy does now, as tables: servers, pools, sessions, pins, digests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::CoreView;
use super::table::{Kind::*, Table, Value};
use super::time::utc;
use crate::config::Change;
use crate::ids::{BackendId, ServerId};
use crate::observe::{Digest, Metrics, merge};
use crate::plan::{Reason, Target};
use crate::registry::{Handle, Phase};
use crate::topology::definitions::{Entry, Site};
use crate::topology::{Server, Snapshot};

/// Of all clusters.
type Snapshots = [Arc<Snapshot>];

/// A server and a thread on it.
type Backend = Option<(ServerId, BackendId)>;

/// SHOW SERVERS.
pub(super) fn servers(snapshots: &Snapshots) -> Table {
    let mut table = Table::new(&[
        ("Server", Text),
        ("Role", Text),
        ("State", Text),
        ("Standing", Text),
        ("Lag_seconds", Fraction),
        ("Weight", Number),
        ("Read_share_percent", Fraction),
        ("Version", Text),
        ("Left_out", Text),
        ("At", Text),
        ("Cluster", Text),
    ]);
    for snapshot in snapshots {
        let shares: HashMap<ServerId, u64> = snapshot.readers.shares().collect();
        let all: u64 = shares.values().sum();
        for server in &snapshot.servers {
            let share = shares.get(&server.id).copied().unwrap_or(0);
            table.rows.push(vec![
                Value::from(&*server.address),
                server.role.as_str().into(),
                server.state.as_str().into(),
                server.standing.as_str().into(),
                server.lag.map_or(Value::Null, |lag| Value::Fraction(lag.as_secs_f64())),
                u64::from(server.config.weight).into(),
                Value::Fraction(share as f64 * 100.0 / all.max(1) as f64),
                Value::text_or_null(server.facts.as_ref().map(|facts| facts.version_text.as_str())),
                Value::text_or_null(server.left_out.as_ref().map(ToString::to_string)),
                Value::text_or_null(server.at.map(|at| at.to_string())),
                snapshot.cluster.name.as_str().into(),
            ]);
        }
    }
    table
}

/// SHOW DEFINITIONS.
pub(super) fn definitions(entries: Vec<Entry>) -> Table {
    let mut table = Table::new(&[
        ("Id", Number),
        ("State", Text),
        ("Database", Text),
        ("Tables", Text),
        ("Sites", Text),
        ("Account", Text),
        ("Began", Text),
        ("Statement", Text),
    ]);
    for Entry { id, state, database, tables, statement, account, began, running, sites, .. } in entries {
        let state = if running { "running".to_owned() } else { state };
        let sites = sites.into_iter().map(|Site { name, word, error, .. }| match error {
            Some(error) => format!("{name} {} ({error})", word.as_str()),
            None => format!("{name} {}", word.as_str()),
        });
        let sites = sites.collect::<Vec<_>>().join(", ");
        let statement = String::from_utf8_lossy(&statement).into_owned();
        let mut row: Vec<Value> = vec![id.into()];
        row.extend([state, database, tables, sites, account, began, statement].map(Value::from));
        table.rows.push(row);
    }
    table
}

/// RELOAD: what is different now.
pub(super) fn changes(changes: Vec<Change>) -> Table {
    let mut table = Table::of_texts(&["Option", "Before", "After"]);
    for Change { option, before, after, .. } in changes {
        let text = |text: String| Value::text_or_null((!text.is_empty()).then_some(text));
        table.rows.push(vec![option.into(), text(before), text(after)]);
    }
    table
}

/// SHOW POOLS. `cores`: in their order.
pub(super) fn pools(metrics: &Metrics, snapshots: &Snapshots, cores: &[CoreView]) -> Table {
    let mut table = Table::new(&[
        ("Server", Text),
        ("Max", Number),
        ("Open", Number),
        ("In_use", Number),
        ("Idle", Number),
        ("Idle_by_core", Text),
        ("Waiting", Number),
        ("Waits", Number),
        ("Wait_seconds", Fraction),
        ("Opened", Number),
        ("Closed", Number),
        ("Failed", Number),
        ("Reused", Number),
        ("Rolled_back", Number),
        ("Reset", Number),
        ("Not_reused", Number),
    ]);
    for pool in metrics.pools() {
        // A name that has moved is two servers for a while.
        let is_it = |server: &Server| *server.address == *pool.server();
        let Some(snapshot) = snapshots.iter().find(|snapshot| snapshot.servers.iter().any(is_it)) else {
            continue;
        };
        let max = snapshot.cluster.pool.max;
        let is_it = |id: &ServerId| snapshot.server(*id).is_some_and(is_it);
        let idle_of =
            |core: &CoreView| core.idle.iter().filter(|(id, _)| is_it(id)).map(|(_, idle)| idle).sum();
        let idle: Vec<usize> = cores.iter().map(idle_of).collect();
        let by_core = idle.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
        // The counters are read one after the other: a sum may be off by what has just happened, never below 0.
        let [open, in_use, waiting] = pool.gauges().map(|gauge| u64::try_from(gauge).unwrap_or(0));
        let [opened, failed, waits] = pool.counters();
        let mut row: Vec<Value> = vec![pool.server().into(), max.into(), open.into(), in_use.into()];
        row.extend([idle.iter().sum::<usize>().into(), by_core.into(), waiting.into()]);
        row.extend([waits.into(), Value::Fraction(pool.waited().as_secs_f64())]);
        row.extend([opened, opened.saturating_sub(open), failed].map(Value::from));
        row.extend(pool.rungs().map(Value::from));
        table.rows.push(row);
    }
    table
}

/// SHOW SESSIONS.
pub(super) fn sessions(sessions: &[Arc<Handle>], snapshots: &Snapshots, texts: &Texts) -> Table {
    let mut table = Table::new(&[
        ("Id", Number),
        ("User", Text),
        ("Client", Text),
        ("Database", Text),
        ("State", Text),
        ("Seconds", Fraction),
        ("Server", Text),
        ("Backend_id", Number),
        ("Pins", Text),
        ("Digest", Text),
        ("Digest_text", Text),
    ]);
    for session in sessions {
        let (phase, since) = session.activity.phase();
        let running = session.running();
        let state = match (phase, running) {
            (_, Some(_)) => "running",
            (Phase::Busy, None) => "waiting for a connection",
            (Phase::InTransaction, None) => "idle in transaction",
            (Phase::Idle, None) => "idle",
        };
        let pins = session.activity.pins();
        let pins = pins.iter().map(|pin| pin.reason).collect::<Vec<_>>().join(", ");
        let database = String::from_utf8_lossy(&session.activity.database()).into_owned();
        let digest = session.activity.digest();
        let [server, thread] = backend(running.or_else(|| session.activity.holds()), snapshots);
        table.rows.push(vec![
            u64::from(session.id.0).into(),
            String::from_utf8_lossy(&session.who.account.user).into_owned().into(),
            Value::Text(session.who.peer.to_string()),
            Value::text_or_null((!database.is_empty()).then_some(database)),
            state.into(),
            Value::Fraction(since.as_secs_f64()),
            server,
            thread,
            Value::text_or_null((!pins.is_empty()).then_some(pins)),
            hex(digest),
            texts.get(digest),
        ]);
    }
    table
}

/// SHOW PINS.
pub(super) fn pins(sessions: &[Arc<Handle>], snapshots: &Snapshots, texts: &Texts) -> Table {
    let mut table = Table::new(&[
        ("Id", Number),
        ("User", Text),
        ("Reason", Text),
        ("Since", Text),
        ("Seconds", Fraction),
        ("Server", Text),
        ("Backend_id", Number),
        ("Digest", Text),
        ("Digest_text", Text),
    ]);
    for session in sessions {
        for pin in session.activity.pins() {
            let [server, thread] = backend(session.activity.holds().or_else(|| session.running()), snapshots);
            let age = pin.since.elapsed().unwrap_or(Duration::ZERO);
            let text = pin.text.as_ref().map_or_else(|| texts.get(pin.digest), |text| lossy(text));
            table.rows.push(vec![
                u64::from(session.id.0).into(),
                String::from_utf8_lossy(&session.who.account.user).into_owned().into(),
                pin.reason.into(),
                utc(pin.since).into(),
                Value::Fraction(age.as_secs_f64()),
                server,
                thread,
                hex(pin.digest),
                text,
            ]);
        }
    }
    table
}

/// SHOW DIGESTS: what took most time first.
pub(super) fn digests(cores: Vec<CoreView>) -> Table {
    let mut table = Table::new(&[
        ("Digest_text", Text),
        ("Digest", Text),
        ("Count", Number),
        ("Total_ms", Fraction),
        ("Avg_ms", Fraction),
        ("Max_ms", Fraction),
        ("Rows", Number),
        ("Errors", Number),
        ("Route", Text),
        ("Reason", Text),
        ("First_seen", Text),
    ]);
    let mut all: Vec<Digest> = merge(cores.into_iter().filter_map(|core| core.digests));
    all.sort_by_key(|digest| (std::cmp::Reverse(digest.figures.total_ns), digest.digest));
    for digest in all.into_iter().filter(|digest| digest.figures.count > 0) {
        let figures = digest.figures;
        let is_rest = digest.digest == 0;
        let ms = |ns: u64| Value::Fraction(ns as f64 / 1e6);
        let reason = Reason::NAMES.get(digest.reason).copied();
        table.rows.push(vec![
            if is_rest { "(all that are no longer in the table)".into() } else { lossy(&digest.text) },
            hex(digest.digest),
            figures.count.into(),
            ms(figures.total_ns),
            ms(figures.total_ns / figures.count),
            ms(figures.max_ns),
            figures.rows.into(),
            figures.errors.into(),
            routes(&figures.routes).into(),
            Value::text_or_null(reason.filter(|_| !is_rest)),
            if is_rest { Value::Null } else { utc(digest.first_seen).into() },
        ]);
    }
    table
}

/// `replica`, or `replica 12, primary 3` where it was not always the same; the most frequent first.
fn routes(counts: &[u64]) -> String {
    let mut taken: Vec<_> = Target::NAMES.into_iter().zip(counts).filter(|(_, count)| **count > 0).collect();
    taken.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    match &taken[..] {
        [(name, _)] => (*name).to_owned(),
        _ => taken.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", "),
    }
}

/// The digests' texts by digest.
pub(super) struct Texts(HashMap<u64, Arc<[u8]>>);

impl Texts {
    /// From what the cores show.
    pub fn of(cores: &[CoreView]) -> Self {
        let digests = cores.iter().filter_map(|core| core.digests.as_ref()).flatten();
        Self(digests.map(|digest| (digest.digest, Arc::clone(&digest.text))).collect())
    }

    fn get(&self, digest: u64) -> Value {
        self.0.get(&digest).filter(|_| digest != 0).map_or(Value::Null, |text| lossy(text))
    }
}

fn lossy(text: &[u8]) -> Value {
    Value::Text(String::from_utf8_lossy(text).into_owned())
}

fn hex(digest: u64) -> Value {
    if digest == 0 { Value::Null } else { Value::Text(format!("{digest:016x}")) }
}

fn backend(place: Backend, snapshots: &Snapshots) -> [Value; 2] {
    let Some((server, id)) = place else { return [Value::Null, Value::Null] };
    let server = snapshots.iter().find_map(|snapshot| snapshot.server(server));
    [Value::text_or_null(server.map(|server| &*server.address)), id.0.into()]
}

/// How long the process has run, for STATUS.
pub(super) fn uptime_s(started: SystemTime) -> u64 {
    started.elapsed().map_or(0, |uptime| uptime.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_told_by_their_share() {
        assert_eq!(routes(&[0, 0, 7, 0]), "replica");
        assert_eq!(routes(&[0, 2, 7, 0]), "replica 7, primary 2");
        assert_eq!(routes(&[0; 4]), "");
    }
}
