//! What the primary has executed by now, asked once for all sessions of a core that want to know at a time.
//!
//! Owns: the last answer, and who is asking. Does not know: what it is for. Invariant: an answer counts only for who wanted to know
//! before the question was sent.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::ids::ServerId;
use crate::session::Session;
use crate::sql::Dialect;
use crate::topology::{Snapshot, Transactions};

/// How long a server may take to say what it has.
const ASK_LIMIT: Duration = Duration::from_secs(1);

/// The questions of one core.
#[derive(Debug, Default)]
pub struct Inquiry {
    last: RefCell<Option<Answer>>,
    asking: Cell<bool>,
    ended: Notify,
}

#[derive(Debug)]
struct Answer {
    server: ServerId,
    /// Just before the question was sent.
    at: Instant,
    /// `None` where it failed.
    executed: Option<Arc<Transactions>>,
}

/// A question on its way; others wait for its end, whatever that is.
struct Asking<'a>(&'a Inquiry);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.set(false);
        self.0.ended.notify_waiters();
    }
}

impl Session {
    /// What `server` has executed at or after `since`, and when that was; `None` where that cannot be had.
    pub(in crate::session) async fn executed_since(
        &self,
        server: ServerId,
        since: Instant,
    ) -> Option<(Instant, Arc<Transactions>)> {
        let worker = Rc::clone(&self.worker);
        let inquiry = &worker.inquiry;
        loop {
            let mut ended = pin!(inquiry.ended.notified());
            ended.as_mut().enable(); // before the look, so that no end falls between the look and the wait
            if let Some(answer) = &*inquiry.last.borrow()
                && answer.server == server
                && answer.at >= since
            {
                return answer.executed.clone().map(|executed| (answer.at, executed));
            }
            if inquiry.asking.replace(true) {
                timeout(ASK_LIMIT, ended).await.ok()?;
                continue;
            }
            let asking = Asking(inquiry);
            let at = Instant::now();
            let executed = self.ask_executed(server).await.map(Arc::new);
            *inquiry.last.borrow_mut() = Some(Answer { server, at, executed });
            drop(asking);
        }
    }

    /// Asks a server what it has executed; `None` where it does not say in time, or where that names no transactions.
    pub(in crate::session) async fn ask_executed(&self, server: ServerId) -> Option<Transactions> {
        let sql = self.question_for(server, &self.topology.snapshot())?;
        let mut connection = timeout(ASK_LIMIT, self.lease_from(server, None)).await.ok()?.ok()?;
        let mut buffer = self.worker.buffers.take();
        let answer = timeout(ASK_LIMIT, connection.run(sql, &mut buffer)).await;
        connection.user = None; // what somebody may ask there about a last statement is gone
        let executed = match answer {
            Ok(Ok(answer)) if buffer.filled().is_empty() => answer.value().and_then(Transactions::parse),
            _ => {
                connection.broken = true;
                None
            }
        };
        self.worker.pool.check_in(connection);
        executed
    }

    /// How to ask it; `None` where what it executes has no GTIDs.
    fn question_for(&self, server: ServerId, snapshot: &Snapshot) -> Option<&'static [u8]> {
        let has_gtids = snapshot.server(server)?.facts.as_ref()?.gtids;
        has_gtids.then_some(match self.lexing.server.dialect {
            Dialect::MySql => b"SELECT @@global.gtid_executed LIMIT 1",
            Dialect::MariaDb if snapshot.primary == Some(server) => {
                b"SELECT @@global.gtid_binlog_pos LIMIT 1"
            }
            Dialect::MariaDb => b"SELECT @@global.gtid_slave_pos LIMIT 1",
        })
    }
}
