//! `/healthz`, `/readyz` and `/metrics`.
//!
//! Each connection serves one request and lives at most `LIFETIME`: probes and scrapes need no more.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::info;

use crate::observe::Metrics;
use crate::topology::{Clusters, Snapshot};

use super::listener::Bounded;
use super::servers::Servers;

/// Connections at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// From accept to the end of the answer.
const LIFETIME: Duration = Duration::from_secs(10);

const PLAIN: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The HTTP side at work; dropping it ends it.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    _task: JoinSet<()>,
}

impl Serving {
    /// The address that was bound; its port is the real one where port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Binds the address and serves on the current runtime. An address that cannot be bound is the error.
pub async fn serve(
    address: SocketAddr,
    clusters: Arc<Clusters>,
    metrics: Arc<Metrics>,
    draining: watch::Receiver<bool>,
) -> io::Result<Serving> {
    serve_for(LIFETIME, address, clusters, metrics, draining).await
}

async fn serve_for(
    lifetime: Duration,
    address: SocketAddr,
    clusters: Arc<Clusters>,
    metrics: Arc<Metrics>,
    draining: watch::Receiver<bool>,
) -> io::Result<Serving> {
    let tcp = TcpListener::bind(address).await?;
    let address = tcp.local_addr()?;
    let router = router(clusters, metrics, draining);
    let mut task = JoinSet::new();
    task.spawn(async move {
        // It never ends by itself: accept errors are retried.
        let _ = axum::serve(Bounded::new(tcp, CONNECTIONS_MAX, lifetime), router).await;
    });
    info!(%address, "HTTP is served: /healthz, /readyz, /metrics");
    Ok(Serving { address, _task: task })
}

#[derive(Clone)]
struct Shared {
    clusters: Arc<Clusters>,
    registry: Arc<Registry>,
    draining: watch::Receiver<bool>,
}

fn router(clusters: Arc<Clusters>, metrics: Arc<Metrics>, draining: watch::Receiver<bool>) -> Router {
    let mut registry = Registry::with_prefix("tidegate");
    registry.register_collector(Box::new(metrics));
    registry.register_collector(Box::new(Servers(Arc::clone(&clusters))));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .fallback(unknown)
        .with_state(Shared { clusters, registry: Arc::new(registry), draining })
}

/// The process runs and its HTTP side answers.
async fn healthz() -> Response {
    answer(StatusCode::OK, PLAIN, "ok\n".into())
}

/// Clients can be served by the default cluster. Where another cannot serve, what is placed there fails with its reason, and no
/// other instance could do better.
async fn readyz(State(shared): State<Shared>) -> Response {
    let (status, text) = readiness(&shared.clusters.home().snapshot(), *shared.draining.borrow());
    answer(status, PLAIN, text)
}

async fn show_metrics(State(shared): State<Shared>) -> Response {
    let mut body = String::new();
    match text::encode(&mut body, &shared.registry) {
        Ok(()) => answer(StatusCode::OK, OPEN_METRICS, body),
        Err(error) => {
            answer(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("metrics not encoded: {error}\n"))
        }
    }
}

async fn unknown() -> Response {
    answer(StatusCode::NOT_FOUND, PLAIN, "there are /healthz, /readyz and /metrics\n".into())
}

fn readiness(snapshot: &Snapshot, draining: bool) -> (StatusCode, String) {
    let unavailable = |why: String| (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n"));
    if draining {
        return unavailable("draining, no new clients are taken".into());
    }
    if !snapshot.can_serve() {
        return unavailable(snapshot.explain_unusable());
    }
    let primary = if snapshot.primary.is_some() { "a primary" } else { "no primary" };
    (StatusCode::OK, format!("ready: {primary}, replicas that take reads: {}\n", snapshot.readers.len()))
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, content_type), (header::CONNECTION, "close")], body).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpSocket, TcpStream};

    use super::*;
    use crate::config::{Config, Server};
    use crate::ids::ServerId;
    use crate::observe::Names;

    const NAMES: Names = Names {
        routes: &["primary"],
        reasons: &["write"],
        errors: &[],
        pins: &[],
        replays: &[],
        refusals: &[],
        login_failures: &[],
    };

    /// A port where nobody listens. A socket that does not listen has it for as long as the tests run, so that nobody else gets it.
    fn nobodys_port() -> u16 {
        static BOUND: OnceLock<TcpSocket> = OnceLock::new();
        let socket = BOUND.get_or_init(|| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
            socket
        });
        socket.local_addr().unwrap().port()
    }

    /// A cluster of one server on a port where nobody listens.
    fn nobody() -> Config {
        let mut config = Config::for_servers(&[format!("127.0.0.1:{}", nobodys_port())]).unwrap();
        config.monitor.failures = 1;
        config
    }

    async fn start(lifetime: Duration) -> (Serving, watch::Sender<bool>) {
        let config = nobody();
        let clusters = Arc::new(Clusters::start(&config));
        clusters.wait_until_known().await;
        let metrics = Metrics::new(NAMES, config.home().servers.iter().map(Server::address), 1);
        let (sender, draining) = watch::channel(false);
        let address = "127.0.0.1:0".parse().unwrap();
        (serve_for(lifetime, address, clusters, metrics, draining).await.unwrap(), sender)
    }

    async fn get(serving: &Serving, path: &str) -> String {
        let mut stream = TcpStream::connect(serving.address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: tidegate\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn healthz_answers_whatever_the_servers_do() {
        let (serving, _draining) = start(LIFETIME).await;
        assert!(get(&serving, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(get(&serving, "/").await.starts_with("HTTP/1.1 404"));
    }

    #[tokio::test]
    async fn t63_readyz_says_why_not() {
        let (serving, draining) = start(LIFETIME).await;
        let answer = get(&serving, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("down: connection refused"), "{answer}");
        draining.send_replace(true);
        assert!(get(&serving, "/readyz").await.contains("draining"));
    }

    #[tokio::test]
    async fn metrics_show_servers_and_counters() {
        let (serving, _draining) = start(LIFETIME).await;
        let answer = get(&serving, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("application/openmetrics-text"));
        assert!(answer.contains("tidegate_server_up{server=\"127.0.0.1:"), "{answer}");
        assert!(answer.contains("state=\"down\"} 1\n"), "{answer}");
        let failed = answer.lines().filter(|line| line.contains("outcome=\"failed\"")).count();
        assert!(failed > 0 && !answer.contains("outcome=\"failed\"} 0\n"), "{answer}");
        assert!(answer.contains("tidegate_clients 0\n"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_is_sent_away() {
        let (serving, _draining) = start(Duration::from_millis(50)).await;
        let mut silent = TcpStream::connect(serving.address()).await.unwrap();
        silent.write_all(b"GET /healthz HTTP/1.1\r\nHost:").await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), silent.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "still open");
        assert_eq!(answer, b"");
    }

    #[tokio::test]
    async fn an_address_in_use_is_an_error() {
        let (serving, _draining) = start(LIFETIME).await;
        let clusters = Arc::new(Clusters::start(&nobody()));
        let metrics = Metrics::new(NAMES, [], 1);
        let result = serve(serving.address(), clusters, metrics, watch::channel(false).1).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn ready_with_a_primary_or_a_replica() {
        let snapshot = |primary| Snapshot { primary, ..Snapshot::default() };
        assert_eq!(readiness(&snapshot(Some(ServerId(0))), false).0, StatusCode::OK);
        assert_eq!(readiness(&snapshot(Some(ServerId(0))), true).0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(readiness(&snapshot(None), false).0, StatusCode::SERVICE_UNAVAILABLE);
    }
}
