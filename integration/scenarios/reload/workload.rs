//! Clients at work: reads, writes, transactions, prepared statements; each error is kept.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, TxOpts};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::harness::{Stage, within};

/// Between two rounds of one client.
pub const ROUND: Duration = Duration::from_millis(5);
const CLIENTS: u32 = 2;

/// Clients that go round until the end.
pub struct Workload {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

struct Shared {
    ids: Vec<u64>,
    reads: [AtomicU64; 3],
    read: Notify,
    writes: AtomicU64,
    errors: Mutex<Vec<String>>,
    ended: AtomicBool,
    options: OptsBuilder,
}

/// What one client does over and over.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Reads,
    Writes,
    Transactions,
    Prepared,
}

impl Workload {
    /// Two clients of each kind, who need a table `t (id … AUTO_INCREMENT, who INT)`.
    pub async fn begin(stage: &Stage) -> Self {
        let mut ids = Vec::new();
        for server in 0..stage.cluster.servers.len() {
            let id = stage.cluster.root(server).await.query_first("SELECT @@server_id").await;
            ids.push(id.unwrap().unwrap());
        }
        Self::with(stage.options("app", "app-pw"), ids)
    }

    /// The same for any proxy; `ids` are the servers'.
    pub fn with(options: OptsBuilder, ids: Vec<u64>) -> Self {
        let shared = Arc::new(Shared {
            ids,
            reads: Default::default(),
            read: Notify::new(),
            writes: AtomicU64::new(0),
            errors: Mutex::default(),
            ended: AtomicBool::new(false),
            options,
        });
        let mut clients = JoinSet::new();
        for kind in [Kind::Reads, Kind::Writes, Kind::Transactions, Kind::Prepared] {
            for who in 0..CLIENTS {
                clients.spawn(Arc::clone(&shared).work(kind, who));
            }
        }
        Self { shared, clients }
    }

    /// Reads that this server has answered so far.
    pub fn reads_at(&self, server: usize) -> u64 {
        self.shared.reads[server].load(Relaxed)
    }

    /// Waits until this server has answered further ones.
    pub async fn until_reads_at(&self, server: usize) {
        let enough = self.reads_at(server) + 10;
        let more = async {
            loop {
                let mut read = std::pin::pin!(self.shared.read.notified());
                read.as_mut().enable(); // before the look
                if self.reads_at(server) >= enough || !self.shared.errors.lock().unwrap().is_empty() {
                    return;
                }
                read.await;
            }
        };
        within(&format!("reads at server {server}"), more).await;
        self.assert_no_error();
    }

    /// Lets the clients finish; no statement may have failed, and each write is there.
    pub async fn end(mut self) {
        self.shared.ended.store(true, Relaxed);
        within("the clients' end", async { while self.clients.join_next().await.is_some() {} }).await;
        self.assert_no_error();
        let mut client = Conn::new(self.shared.options.clone()).await.unwrap();
        let rows: Option<u64> = client.query_first("SELECT COUNT(*) FROM t FOR UPDATE").await.unwrap();
        assert_eq!(rows, Some(self.shared.writes.load(Relaxed)));
    }

    fn assert_no_error(&self) {
        let errors = self.shared.errors.lock().unwrap();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

impl Shared {
    async fn work(self: Arc<Self>, kind: Kind, who: u32) {
        if let Err(error) = self.go_round(kind, who).await {
            self.errors.lock().unwrap().push(format!("{kind:?} {who}: {error}"));
            self.read.notify_waiters();
        }
    }

    async fn go_round(&self, kind: Kind, who: u32) -> Result<(), Error> {
        let mut client = Conn::new(self.options.clone()).await?;
        let prepared = client.prep("SELECT id FROM which WHERE id > ?").await?;
        let insert = client.prep("INSERT INTO t (who) VALUES (?)").await?;
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.ended.load(Relaxed) {
            rounds.tick().await;
            match kind {
                Kind::Reads => self.note(client.query_first("SELECT id FROM which").await?),
                Kind::Prepared => {
                    self.note(client.exec_first(&prepared, (0,)).await?);
                    client.exec_drop(&insert, (who,)).await?;
                    self.writes.fetch_add(1, Relaxed);
                }
                Kind::Writes => {
                    client.query_drop(format!("INSERT INTO t (who) VALUES ({who})")).await?;
                    self.writes.fetch_add(1, Relaxed);
                }
                Kind::Transactions => {
                    let mut transaction = client.start_transaction(TxOpts::default()).await?;
                    transaction.query_drop(format!("INSERT INTO t (who) VALUES ({who})")).await?;
                    let own: Option<u64> = transaction.query_first("SELECT ROW_COUNT()").await?;
                    assert!(own.is_some());
                    transaction.commit().await?;
                    self.writes.fetch_add(1, Relaxed);
                    let mut options = TxOpts::default();
                    options.with_readonly(true);
                    let mut transaction = client.start_transaction(options).await?;
                    let first: Option<u64> = transaction.query_first("SELECT id FROM which").await?;
                    let second: Option<u64> = transaction.query_first("SELECT id FROM which").await?;
                    assert_eq!(first, second, "a transaction has moved");
                    transaction.commit().await?;
                    self.note(second);
                }
            }
        }
        client.disconnect().await
    }

    fn note(&self, id: Option<u64>) {
        let place = self.ids.iter().position(|known| Some(*known) == id).expect("a server of ours");
        self.reads[place].fetch_add(1, Relaxed);
        self.read.notify_waiters();
    }
}
