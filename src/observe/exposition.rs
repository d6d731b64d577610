//! The counters as OpenMetrics families; summed over the workers at each scrape.
//!
//! Names are written without the registry's prefix and without `_total`, which the encoder adds.

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::latency;
use super::pools::{PoolMetrics, Rung};
use super::{Metrics, WorkerMetrics};

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        self.encode_clients(&mut encoder)?;
        self.encode_statements(&mut encoder)?;
        self.encode_latency(&mut encoder)?;
        self.encode_traffic(&mut encoder)?;
        self.encode_pools(&mut encoder)
    }
}

impl Metrics {
    fn encode_clients(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let clients = &self.clients;
        gauges(encoder, "clients", "Clients connected now", [([("", ""); 0], clients.connected())])?;
        counters(encoder, "clients_accepted", "Clients accepted", [([("", ""); 0], clients.accepted())])?;
        let refused = clients.refused.iter().map(|(cause, value)| ([("cause", cause)], value));
        counters(encoder, "clients_refused", "Clients refused before their login, by cause", refused)?;
        let failed = clients.login_failed.iter().map(|(kind, value)| ([("kind", kind)], value));
        counters(encoder, "logins_failed", "Failed logins, by kind", failed)?;
        let pins = self.pins.iter().map(|(reason, value)| ([("reason", reason)], value));
        gauges(encoder, "pinned_sessions", "Sessions that keep their backend connection, by reason", pins)?;
        let made = self.pins_made.iter().map(|(reason, value)| ([("reason", reason)], value));
        counters(encoder, "pins", "Times that a session came to keep its backend connection, by reason", made)
    }

    /// Pairs that never occurred are left out: most of them cannot.
    fn encode_statements(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let Some(first) = self.workers.first() else { return Ok(()) };
        let values = first.statements.pairs().filter_map(|((route, route_name), (reason, reason_name))| {
            let value = self.sum(|worker| worker.statements.get(route, reason));
            (value > 0).then_some(([("route", route_name), ("reason", reason_name)], value))
        });
        counters(encoder, "statements", "Statements, by route and its reason", values)?;
        let errors = self.names.errors.iter().enumerate();
        let errors =
            errors.map(|(kind, name)| ([("kind", *name)], self.sum(|worker| worker.errors.get(kind))));
        counters(encoder, "errors", "Errors told to clients, by kind", errors)?;
        let replays = self.names.replays.iter().enumerate();
        let replays =
            replays.map(|(index, name)| ([("outcome", *name)], self.sum(|worker| worker.replays.get(index))));
        let help = "Transactions whose connection was lost and that were to go on elsewhere, by how they did";
        counters(encoder, "transaction_replays", help, replays)
    }

    fn encode_latency(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let help = "Time from a statement's packet to the end of its reply, by route";
        let mut family =
            encoder.encode_descriptor("statement_duration_seconds", help, None, MetricType::Histogram)?;
        for (index, route) in self.names.routes.iter().enumerate() {
            let totals = latency::totals(self.workers.iter().filter_map(|worker| worker.latency(index)));
            let labels = [("route", *route)];
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(totals.sum, totals.count, &totals.buckets, None)?;
        }
        Ok(())
    }

    fn encode_traffic(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        const FAMILIES: [(&str, &str); 3] = [
            ("client_received_bytes", "Bytes that came from clients"),
            ("client_sent_bytes", "Bytes that went to clients"),
            ("retries", "Reads sent again to another server"),
        ];
        for (index, (name, help)) in FAMILIES.into_iter().enumerate() {
            let value = self.sum(|worker| worker.totals()[index]);
            counters(encoder, name, help, [([("", ""); 0], value)])?;
        }
        let help = "Statements on sharded tables, by whether their plan was kept or had to be made";
        let plans = ["kept", "made"].into_iter().enumerate();
        let plans = plans.map(|(index, found)| ([("plan", found)], self.sum(|worker| worker.plans()[index])));
        counters(encoder, "sharded_plans", help, plans)
    }

    fn encode_pools(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        const GAUGES: [(&str, &str); 3] = [
            ("pool_open", "Connections to the server"),
            ("pool_in_use", "Connections to the server that a session holds"),
            ("pool_waiting", "Sessions that wait for a connection to the server"),
        ];
        const COUNTERS: [(&str, &str); 3] = [
            ("pool_opened", "Connections made to the server"),
            ("pool_failed", "Connections to the server that could not be made"),
            ("pool_waits", "Times that a session waited for a connection to the server"),
        ];
        let pools = self.pools();
        for (index, (name, help)) in GAUGES.into_iter().enumerate() {
            gauges(encoder, name, help, each(&pools, |pool| pool.gauges()[index]))?;
        }
        for (index, (name, help)) in COUNTERS.into_iter().enumerate() {
            counters(encoder, name, help, each(&pools, |pool| pool.counters()[index]))?;
        }
        let help = "Time that sessions have waited for a connection to the server";
        counters(encoder, "pool_wait_seconds", help, each(&pools, |pool| pool.waited().as_secs_f64()))?;
        let rungs = pools.iter().flat_map(|pool| {
            let values = Rung::NAMES.into_iter().zip(pool.rungs());
            values.map(|(rung, value)| ([("server", pool.server()), ("rung", rung)], value))
        });
        counters(encoder, "pool_check_ins", "Connections that came back, by what had to be done", rungs)
    }

    fn sum(&self, value: impl Fn(&WorkerMetrics) -> u64) -> u64 {
        self.workers.iter().map(|worker| value(worker)).sum()
    }
}

fn each<V>(
    pools: &[Arc<PoolMetrics>],
    value: impl Fn(&PoolMetrics) -> V,
) -> impl Iterator<Item = ([(&str, &str); 1], V)> {
    pools.iter().map(move |pool| ([("server", pool.server())], value(pool)))
}

fn counters<'a, const N: usize, V: EncodeCounterValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = ([(&'a str, &'a str); N], V)>,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        if N == 0 {
            // A family of its own would write empty braces.
            return ConstCounter::new(value).encode(family);
        }
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn gauges<'a, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = ([(&'a str, &'a str); N], i64)>,
) -> Result<(), Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        if N == 0 {
            return ConstGauge::new(value).encode(family);
        }
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::super::Names;
    use super::*;

    const NAMES: Names = Names {
        routes: &["primary", "replica"],
        reasons: &["write", "read"],
        errors: &["backend"],
        pins: &["temporary_table"],
        replays: &["replayed"],
        refusals: &["limit"],
        login_failures: &["password"],
    };

    fn exposed(metrics: &Arc<Metrics>) -> String {
        let mut registry = Registry::with_prefix("tidegate");
        registry.register_collector(Box::new(Arc::clone(metrics)));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|each| each == line), "no line {line:?} in\n{text}");
    }

    #[test]
    fn workers_are_summed() {
        let metrics = Metrics::new(NAMES, [], 2);
        for index in [0, 1, 2] {
            let worker = metrics.worker(index);
            worker.statements.count(1, 1);
            worker.took(1, Duration::from_micros(60));
            worker.received(10);
            worker.sent(100);
            worker.errors.count(0);
        }
        metrics.worker(0).retried();
        metrics.worker(0).planned(true);
        metrics.worker(1).planned(true);
        metrics.worker(1).planned(false);
        metrics.worker(0).replays.count(0);
        metrics.worker(1).replays.count(0);
        let text = exposed(&metrics);
        has(&text, r#"tidegate_statements_total{route="replica",reason="read"} 3"#);
        assert!(!text.contains(r#"reason="write""#), "what never occurred is left out");
        has(&text, r#"tidegate_statement_duration_seconds_count{route="replica"} 3"#);
        has(&text, r#"tidegate_statement_duration_seconds_bucket{le="0.00005",route="replica"} 0"#);
        has(&text, r#"tidegate_statement_duration_seconds_bucket{le="0.0001",route="replica"} 3"#);
        has(&text, r#"tidegate_statement_duration_seconds_bucket{le="+Inf",route="replica"} 3"#);
        has(&text, "tidegate_client_received_bytes_total 30");
        has(&text, "tidegate_client_sent_bytes_total 300");
        has(&text, "tidegate_retries_total 1");
        has(&text, r#"tidegate_sharded_plans_total{plan="kept"} 2"#);
        has(&text, r#"tidegate_sharded_plans_total{plan="made"} 1"#);
        has(&text, r#"tidegate_errors_total{kind="backend"} 3"#);
        has(&text, r#"tidegate_transaction_replays_total{outcome="replayed"} 2"#);
    }

    #[test]
    fn clients_and_pins() {
        let metrics = Metrics::new(NAMES, [], 1);
        metrics.clients.entered();
        metrics.clients.entered();
        metrics.clients.left();
        metrics.clients.refused.count(0);
        metrics.clients.login_failed.count(0);
        metrics.pins.enter(0);
        metrics.pins_made.count(0);
        metrics.pins_made.count(0);
        let text = exposed(&metrics);
        has(&text, "tidegate_clients 1");
        has(&text, "tidegate_clients_accepted_total 2");
        has(&text, r#"tidegate_clients_refused_total{cause="limit"} 1"#);
        has(&text, r#"tidegate_logins_failed_total{kind="password"} 1"#);
        has(&text, r#"tidegate_pinned_sessions{reason="temporary_table"} 1"#);
        has(&text, r#"tidegate_pins_total{reason="temporary_table"} 2"#);
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_pool_of_each_server() {
        let metrics = Metrics::new(NAMES, ["a:3306".to_owned(), "b:3306".to_owned()], 1);
        let pool = metrics.pool("b:3306");
        pool.opened();
        pool.leased();
        pool.wait_begins();
        pool.failed();
        let text = exposed(&metrics);
        has(&text, r#"tidegate_pool_open{server="b:3306"} 1"#);
        has(&text, r#"tidegate_pool_in_use{server="b:3306"} 1"#);
        has(&text, r#"tidegate_pool_waiting{server="b:3306"} 1"#);
        has(&text, r#"tidegate_pool_failed_total{server="b:3306"} 1"#);
        pool.wait_ends(Duration::from_millis(250));
        pool.checked_in(Rung::Reset);
        pool.closed();
        let text = exposed(&metrics);
        has(&text, r#"tidegate_pool_in_use{server="b:3306"} 0"#);
        has(&text, r#"tidegate_pool_waiting{server="b:3306"} 0"#);
        has(&text, r#"tidegate_pool_waits_total{server="b:3306"} 1"#);
        has(&text, r#"tidegate_pool_wait_seconds_total{server="b:3306"} 0.25"#);
        has(&text, r#"tidegate_pool_check_ins_total{server="b:3306",rung="reset"} 1"#);
        has(&text, r#"tidegate_pool_check_ins_total{server="a:3306",rung="reset"} 0"#);
        metrics.retire_pool("b:3306");
        assert!(!exposed(&metrics).contains("b:3306"));
    }
}
