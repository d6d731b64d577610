//! Servers' states, roles and lag as metrics, read from the topology's snapshot at each scrape.

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::topology::{Server, Snapshot, Standing, State, Tally, Topology};

/// Shows a topology's snapshot.
#[derive(Debug)]
pub(super) struct Servers(pub Arc<Topology>);

impl Collector for Servers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let snapshot = self.0.snapshot();
        encode_snapshot(&snapshot, &mut encoder)?;
        encode_probes(&self.0, &snapshot, &mut encoder)?;
        encode_tally(self.0.tally(), &mut encoder)
    }
}

fn encode_probes(
    topology: &Topology,
    snapshot: &Snapshot,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let probes = members(snapshot).flat_map(|server| {
        let outcomes = ["ok", "busy", "failed"].into_iter().zip(topology.probes(server.id));
        outcomes.map(|(outcome, count)| ([("server", &*server.address), ("outcome", outcome)], count))
    });
    counters(encoder, "server_probes", "Probes, by server and outcome", probes)
}

/// What was done to the servers' roles.
fn encode_tally(tally: &Tally, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let acts = tally.acts().map(|(act, count, _)| ([("act", act)], count));
    counters(encoder, "failover_acts", "Changes of servers' roles by Tidegate, by what was done", acts)?;
    let refusals = tally.refusals().map(|(reason, count)| ([("reason", reason)], count));
    let help =
        "Changes of servers' roles that were refused or failed, by reason, each as often as it was logged";
    counters(encoder, "failover_refusals", help, refusals)?;
    let last = tally
        .acts()
        .filter_map(|(act, _, at)| at.map(|at| ([("act", act)], i64::try_from(at).unwrap_or(i64::MAX))));
    let help = "When Tidegate has last changed a server's role, in seconds since 1970, by what was done";
    family(encoder, "failover_last_act_timestamp_seconds", help, last)
}

/// Those that are configured. One that leaves may share its address with the one that has come for it.
fn members(snapshot: &Snapshot) -> impl Iterator<Item = &Server> {
    snapshot.servers.iter().filter(|server| server.standing != Standing::Leaving)
}

fn encode_snapshot(snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let each = |value: fn(&Server) -> i64| {
        members(snapshot).map(move |server| ([("server", &*server.address)], value(server)))
    };
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
    let states = members(snapshot).map(|s| ([("server", &*s.address), ("state", s.state.as_str())], 1i64));
    family(encoder, "server_state", "The server's state", states)?;
    let roles = members(snapshot).map(|s| ([("server", &*s.address), ("role", s.role.as_str())], 1i64));
    family(encoder, "server_role", "The server's role", roles)?;
    let lags = snapshot
        .servers
        .iter()
        .filter_map(|server| server.lag.map(|lag| ([("server", &*server.address)], lag.as_secs_f64())));
    family(encoder, "server_lag_seconds", "How far a replica is behind, where that is known", lags)?;
    let total = snapshot.readers.shares().map(|(_, share)| share).sum::<u64>().max(1) as f64;
    let shares = members(snapshot).map(|server| {
        let share = snapshot.readers.shares().find(|(id, _)| *id == server.id).map_or(0, |(_, share)| share);
        ([("server", &*server.address)], share as f64 / total)
    });
    family(encoder, "server_read_share", "Part of the reads that the server takes as a replica", shares)?;
    let generation = encoder.encode_descriptor(
        "topology_generation",
        "Changes of the topology seen so far",
        None,
        MetricType::Gauge,
    )?;
    ConstGauge::new(i64::try_from(snapshot.generation).unwrap_or(i64::MAX)).encode(generation)
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
