//! The built `tidegate`, started with rules of a scenario's own and ended as an operator would.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::{Cluster, PATIENCE, until, within};

/// What a rules file says beside the servers; each line as it stands in YAML.
#[derive(Clone, Debug)]
pub struct Rules {
    pub pool: String,
    /// Further options of `monitor`.
    pub monitor: String,
    pub limits: String,
    pub server_tls: String,
    pub server_compression: &'static str,
    pub compression: &'static str,
    pub client_tls: String,
    pub auth: String,
    pub admin: String,
    pub drain: String,
    pub max_lag: String,
    /// Further options of `reads`.
    pub reads: String,
    /// Addresses beside the free port of loopback.
    pub listen: Vec<String>,
    /// Further lines of the file's top.
    pub top: String,
    /// A further line of the cluster.
    pub in_cluster: String,
    /// Further clusters, as the file has them.
    pub clusters: String,
    /// Weights of the servers, where they are not 1.
    pub weights: Vec<u32>,
    /// Servers that are left out, by their places.
    pub unlisted: Vec<usize>,
    /// Servers that drain.
    pub draining: Vec<usize>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            pool: "{}".into(),
            monitor: "failures: 3".into(),
            limits: "{}".into(),
            server_tls: "{}".into(),
            server_compression: "none",
            compression: "[zlib, zstd]",
            client_tls: "{}".into(),
            auth: "auth: passthrough".into(),
            admin: "sql: \"127.0.0.1:0\", users: [{name: operator, password: operator-pw}]".into(),
            drain: "{timeout: 3s}".into(),
            max_lag: "10s".into(),
            // Most scenarios want their reads spread, and wait for the replicas themselves.
            reads: "consistency: eventual".into(),
            listen: vec![],
            top: String::new(),
            in_cluster: "forward_attributes: false".into(),
            clusters: String::new(),
            weights: vec![],
            unlisted: vec![],
            draining: vec![],
        }
    }
}

impl Rules {
    /// Few server connections, so that sessions must share them.
    pub fn pool(pool: &str) -> Self {
        Self { pool: pool.into(), ..Self::default() }
    }

    pub fn yaml(&self, cluster: &Cluster) -> String {
        let mut servers = String::new();
        let listed = cluster.servers.iter().enumerate().filter(|(index, _)| !self.unlisted.contains(index));
        for (index, server) in listed {
            let weight = self.weights.get(index).copied().unwrap_or(1);
            let address = format!("{}:{}", server.host, server.port);
            let draining = self.draining.contains(&index);
            writeln!(servers, "      - {{address: \"{address}\", weight: {weight}, draining: {draining}}}")
                .unwrap();
        }
        let Self {
            pool,
            monitor,
            limits,
            server_tls,
            server_compression,
            client_tls,
            compression,
            auth,
            admin,
            drain,
            max_lag,
            reads,
            listen,
            top,
            in_cluster,
            clusters,
            ..
        } = self;
        let listen: String = listen.iter().map(|address| format!(", \"{address}\"")).collect();
        format!(
            "version: 1\nlog: {{filter: \"info,tidegate::session=debug,tidegate::frontend=debug\"}}\nlisten: [\"127.0.0.1:0\"{listen}]\n{top}\nadmin: {{http: \"127.0.0.1:0\", {admin}}}\n{auth}\n\
             monitor: {{user: tidegate, password: monitor-pw, interval: 100ms, {monitor}}}\ntls: {client_tls}\ncompression: {compression}\n\
             limits: {limits}\ndrain: {drain}\nclusters:\n  main:\n    {in_cluster}\n    tls: {server_tls}\n    compression: {server_compression}\n    pool: {pool}\n    \
             reads: {{max_lag: {max_lag}, {reads}}}\n    servers:\n{servers}{clusters}"
        )
    }
}

/// A running Tidegate. Dropping it sends SIGTERM and demands a clean end.
pub struct Proxy {
    pub address: SocketAddr,
    http: SocketAddr,
    console: Option<SocketAddr>,
    pub pid: u32,
    log: Arc<Mutex<Vec<String>>>,
    /// Told of each line of the log.
    logged: Arc<Notify>,
    ended: Receiver<ExitStatus>,
    has_ended: bool,
    config: RulesFile,
}

/// A rules file that goes away with its owner.
struct RulesFile(PathBuf);

impl RulesFile {
    fn write(text: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Relaxed);
        let path =
            std::env::temp_dir().join(format!("tidegate-scenario-{}-{number}.yaml", std::process::id()));
        std::fs::write(&path, text).expect("a file can be written");
        Self(path)
    }
}

impl Drop for RulesFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// `tidegate check` of the rules: whether it finds them right, and what it says of them. With the application's account where it asks servers.
pub fn check(rules: &str, options: &[&str]) -> (bool, String) {
    let file = RulesFile::write(rules);
    let mut check = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    check.arg("check").arg(&file.0).args(options).env("TIDEGATE_CHECK_PASSWORD", "app-pw");
    let output = check.output().expect("tidegate runs");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    (output.status.success(), said)
}

impl Proxy {
    /// Starts it in front of the cluster and waits until it can serve.
    pub async fn start(cluster: &Cluster, rules: &Rules) -> Self {
        let proxy = Self::start_unready(cluster, rules).await;
        until("all servers known", || async { proxy.serves(cluster, rules).await }).await;
        proxy
    }

    /// Starts it and waits until it accepts clients.
    pub async fn start_unready(cluster: &Cluster, rules: &Rules) -> Self {
        let config = RulesFile::write(&rules.yaml(cluster));
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["run", "--config"])
            .arg(&config.0)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("tidegate starts");
        let pid = child.id();
        let stderr = child.stderr.take().expect("piped");
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (send, addresses) = channel();
        let logged = Arc::<Notify>::default();
        let (reader, told, mut speaks) = (Arc::clone(&log), Arc::clone(&logged), Some(send));
        std::thread::spawn(move || {
            let (mut http, mut console) = (None, None);
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let address =
                    line.split("address=").nth(1).and_then(|text| text.split(' ').next()?.parse().ok());
                if line.contains("HTTP is served") {
                    http = address;
                } else if line.contains("the SQL console is served") {
                    console = address;
                } else if line.contains("accepts clients")
                    && let Some(send) = speaks.take()
                {
                    let _ = send.send((address, http, console));
                }
                reader.lock().unwrap().push(line);
                told.notify_waiters();
            }
        });
        let (send, ended) = channel();
        std::thread::spawn(move || send.send(child.wait().expect("our child")));
        let said = addresses.recv_timeout(PATIENCE);
        let Ok((Some(address), Some(http), console)) = said else {
            panic!("tidegate says no address: {said:?}\n{}", log.lock().unwrap().join("\n"))
        };
        Self { address, http, console, pid, log, logged, ended, has_ended: false, config }
    }

    /// Whether there is an SQL console.
    pub fn has_console(&self) -> bool {
        self.console.is_some()
    }

    /// The address of the SQL console.
    pub fn console(&self) -> SocketAddr {
        self.console.expect("the rules ask for a console")
    }

    /// Whether all servers of a healthy cluster do what they are there for.
    async fn serves(&self, cluster: &Cluster, rules: &Rules) -> bool {
        let weight = |index: usize| rules.weights.get(index).copied().unwrap_or(1);
        let reads = |index: &usize| weight(*index) > 0 && !self.is_out(rules, *index);
        let readers = (1..cluster.servers.len()).filter(reads).count();
        self.get("/readyz").await.contains(&format!("a primary, replicas that take reads: {readers}"))
            && !self.get("/readyz").await.contains("no primary")
    }

    fn is_out(&self, rules: &Rules, index: usize) -> bool {
        rules.unlisted.contains(&index) || rules.draining.contains(&index)
    }

    /// Writes other rules into its file, as an editor would, and sends SIGHUP.
    pub fn reload(&self, cluster: &Cluster, rules: &Rules) {
        self.reload_text(&rules.yaml(cluster));
    }

    /// The same with any text.
    pub fn reload_text(&self, text: &str) {
        self.write_rules(text);
        let status = Command::new("kill").args(["-HUP", &self.pid.to_string()]).status();
        assert!(status.expect("kill is there").success(), "it has ended by itself");
    }

    /// Writes other rules into its file; nobody tells it.
    pub fn write_rules(&self, text: &str) {
        std::fs::write(&self.config.0, text).expect("a file can be written");
    }

    /// What an HTTP path answers, head included.
    pub async fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http).await.expect("HTTP is served");
        let request = format!("GET {path} HTTP/1.1\r\nHost: tidegate\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("HTTP listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("HTTP answers");
        answer
    }

    /// The sum of the metric's samples whose labels contain all of `labels`; 0 where there is none.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let text = self.get("/metrics").await;
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        });
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// Waits until a metric has a value of which `wanted` holds.
    pub async fn until_metric(&self, name: &str, labels: &[&str], wanted: impl Fn(u64) -> bool) {
        until(&format!("{name}{labels:?}"), || async { wanted(self.metric(name, labels).await) }).await;
    }

    /// Open file descriptors of the process that are no pool's connections: the clients', and some that stay.
    pub async fn client_descriptors(&self) -> usize {
        let pools = self.metric("tidegate_pool_open", &[]).await as usize;
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("it runs").count() - pools
    }

    /// Waits until a line of the log contains `text`; the log is written behind what it tells of.
    pub async fn until_logged(&self, text: &str) {
        let logged = async {
            loop {
                let mut more = std::pin::pin!(self.logged.notified());
                more.as_mut().enable(); // before the look, so that no line falls between the look and the wait
                if self.has_logged(text) {
                    return;
                }
                more.await;
            }
        };
        within(&format!("a line of the log with {text:?}"), logged).await;
    }

    /// Whether a line of the log, as far as it is written, contains `text`.
    pub fn has_logged(&self, text: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(text))
    }

    /// Stops reading the log, until what is given is dropped.
    pub fn leave_log_unread(&self) -> impl Drop {
        self.log.lock().unwrap()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status();
        assert!(status.expect("kill is there").success(), "it has ended by itself");
    }

    /// Waits for the end, blocking; true when it was clean.
    pub fn ends_clean(&mut self) -> bool {
        let status = self.ended.recv_timeout(PATIENCE);
        self.has_ended = true;
        status.is_ok_and(|status| status.success())
    }

    /// True when it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.has_ended |= self.ended.try_recv().is_ok();
        self.has_ended
    }

    /// Ends it at once, as a crash would.
    pub fn crash(&mut self) {
        self.kill();
        self.ends_clean();
    }

    /// The TCP addresses on which it accepts clients.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let log = self.log.lock().unwrap();
        let lines = log.iter().filter(|line| line.contains("accepts clients"));
        lines.filter_map(|line| line.split("address=").nth(1)?.split(' ').next()?.parse().ok()).collect()
    }

    fn kill(&self) {
        let _ = Command::new("kill").args(["-KILL", &self.pid.to_string()]).status();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let clean = self.has_ended || {
            let _ = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status();
            self.ends_clean()
        };
        if !clean {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("--- tidegate's log ---\n{}", self.log.lock().unwrap().join("\n"));
            return;
        }
        let panicked = self.log.lock().unwrap().iter().any(|line| line.contains("panicked at"));
        assert!(!panicked, "tidegate has panicked:\n{}", self.log.lock().unwrap().join("\n"));
        assert!(clean, "no clean end within {PATIENCE:?}:\n{}", self.log.lock().unwrap().join("\n"));
    }
}
