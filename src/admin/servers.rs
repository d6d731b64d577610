//! Servers' states, roles and lag as metrics, read from the topology's snapshot at each scrape.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::topology::{Clusters, Server, Snapshot, Standing, State};

/// Shows the clusters' snapshots.
#[derive(Debug)]
pub(super) struct Servers(pub Arc<Clusters>);

impl Collector for Servers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let snapshots = self.0.snapshots();
        encode_snapshots(&snapshots, &mut encoder)?;
        encode_probes(&self.0, &snapshots, &mut encoder)?;
        encode_tally(&self.0, &mut encoder)
    }
}

fn encode_probes(
    clusters: &Clusters,
    snapshots: &[Arc<Snapshot>],
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let probes = clusters.iter().zip(snapshots).flat_map(|(topology, snapshot)| {
        members(snapshot).flat_map(|server| {
            let outcomes = ["ok", "busy", "failed"].into_iter().zip(topology.probes(server.id));
            outcomes.map(|(outcome, count)| ([("server", &*server.address), ("outcome", outcome)], count))
        })
    });
    counters(encoder, "server_probes", "Probes, by server and outcome", probes)
}

/// What was done to the servers' roles, in all clusters together.
fn encode_tally(clusters: &Clusters, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let (mut acts, mut refusals) = (BTreeMap::new(), BTreeMap::new());
    for tally in clusters.iter().map(|topology| topology.tally()) {
        for (act, count, at) in tally.acts() {
            let sum: &mut (u64, Option<u64>) = acts.entry(act).or_default();
            *sum = (sum.0 + count, sum.1.max(at));
        }
        for (reason, count) in tally.refusals() {
            *refusals.entry(reason).or_default() += count;
        }
    }
    let counts = acts.iter().map(|(act, (count, _))| ([("act", *act)], *count));
    counters(encoder, "failover_acts", "Changes of servers' roles by Tidegate, by what was done", counts)?;
    let refusals = refusals.into_iter().map(|(reason, count)| ([("reason", reason)], count));
    let help =
        "Changes of servers' roles that were refused or failed, by reason, each as often as it was logged";
    counters(encoder, "failover_refusals", help, refusals)?;
    let last = acts
        .iter()
        .filter_map(|(act, (_, at))| at.map(|at| ([("act", *act)], i64::try_from(at).unwrap_or(i64::MAX))));
    let help = "When Tidegate has last changed a server's role, in seconds since 1970, by what was done";
    family(encoder, "failover_last_act_timestamp_seconds", help, last)
}

/// Those that are configured. One that leaves may share its address with the one that has come for it.
fn members(snapshot: &Snapshot) -> impl Iterator<Item = &Server> {
    snapshot.servers.iter().filter(|server| server.standing != Standing::Leaving)
}

fn encode_snapshots(snapshots: &[Arc<Snapshot>], encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let all = || snapshots.iter().flat_map(|snapshot| members(snapshot));
    let each =
        |value: fn(&Server) -> i64| all().map(move |server| ([("server", &*server.address)], value(server)));
    family(
        encoder,
        "server_up",
        "Whether the server's probes succeed",
        each(|s| i64::from(s.state == State::Up)),
    )?;
    family(
        encoder,
        "server_draining",
        "Whether the server finishes what it has begun and takes nothing new",
        each(|s| i64::from(s.standing == Standing::Draining)),
    )?;
    let states = all().map(|s| ([("server", &*s.address), ("state", s.state.as_str())], 1i64));
    family(encoder, "server_state", "The server's state", states)?;
    let roles = all().map(|s| ([("server", &*s.address), ("role", s.role.as_str())], 1i64));
    family(encoder, "server_role", "The server's role", roles)?;
    let servers = snapshots.iter().flat_map(|snapshot| &snapshot.servers);
    let lags = servers
        .filter_map(|server| server.lag.map(|lag| ([("server", &*server.address)], lag.as_secs_f64())));
    family(encoder, "server_lag_seconds", "How far a replica is behind, where that is known", lags)?;
    let shares = snapshots.iter().flat_map(|snapshot| {
        let total = snapshot.readers.shares().map(|(_, share)| share).sum::<u64>().max(1) as f64;
        members(snapshot).map(move |server| {
            let own = snapshot.readers.shares().find(|(id, _)| *id == server.id);
            ([("server", &*server.address)], own.map_or(0, |(_, share)| share) as f64 / total)
        })
    });
    family(
        encoder,
        "server_read_share",
        "Part of its cluster's reads that the server takes as a replica",
        shares,
    )?;
    let generation = encoder.encode_descriptor(
        "topology_generation",
        "Changes of the topology seen so far",
        None,
        MetricType::Gauge,
    )?;
    let generations = snapshots.iter().map(|snapshot| snapshot.generation).sum::<u64>();
    ConstGauge::new(i64::try_from(generations).unwrap_or(i64::MAX)).encode(generation)
}

fn family<'a, const N: usize, V: EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = ([(&'a str, &'a str); N], V)>,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        family.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn counters<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = ([(&'a str, &'a str); N], u64)>,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
    }
    Ok(())
}
