//! KILL by the ids that Tidegate gave, and the end of statements whose client has gone.
//!
//! Owns: who may kill whom, and how a thread of a server is ended. Invariant: the servers judge rights; a thread is
//! killed only while it is claimed, so that never another client's statement dies.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::registry::{Claim, Handle};
use super::worker::Worker;
use super::{Flow, Problem, Session, reply};
use crate::backend::account::Account;
use crate::backend::class::Class;
use crate::backend::connect::Opening;
use crate::backend::connection::Connection;
use crate::backend::exchange::{Answer, ExchangeError};
use crate::backend::state::State;
use crate::execute::client::Signals;
use crate::ids::ServerId;
use crate::sql::Kill;
use crate::wire::err::ErrPacket;

/// Connections that are tried for a KILL.
const ASK_TRIES: u32 = 3;
/// Time for a KILL on a server.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// Whether the account of this connection may end other users' sessions.
const RIGHTS: &[u8] = b"SELECT COUNT(*) FROM information_schema.user_privileges WHERE \
    privilege_type IN ('SUPER', 'CONNECTION_ADMIN', 'CONNECTION ADMIN') AND \
    grantee = CONCAT('\\'', REPLACE(CURRENT_USER(), '@', '\\'@\\''), '\\'')";

impl Session {
    /// KILL [QUERY] id.
    pub(super) async fn kill(&mut self, kill: Kill) -> Flow {
        let Some(target) = self.worker.registry.find(kill.id) else {
            let message = format!("Unknown thread id: {}", kill.id);
            return self.refuse(&Problem::Request(1094, message.into())).await;
        };
        if let Err(problem) = self.may_kill(&target).await {
            return self.refuse(&problem).await;
        }
        let claim = target.claim();
        if claim.is_some() || !kill.query_only {
            tracing::info!(client = %self.entry.handle.id, target = kill.id, query_only = kill.query_only, "kill");
        }
        if let Some(claim) = claim
            && let Err(problem) = end_statement(&self.worker, &self.account, self.class, claim).await
        {
            return self.refuse(&problem).await;
        }
        let itself = target.id == self.entry.handle.id;
        if !kill.query_only && !itself {
            target.signals.raise(Signals::KILL);
        }
        if itself {
            // A server answers its own end with this error.
            let error = ErrPacket::new(1317, b"70100", "Query execution was interrupted");
            let flow = self.tell(&reply::error(1, &error)).await;
            return if kill.query_only { flow } else { Flow::Close };
        }
        self.tell(&reply::ok(1, self.standing(), self.client.capabilities)).await
    }

    /// One's own sessions may be killed; others' by whom the servers allow it.
    async fn may_kill(&self, target: &Handle) -> Result<(), Problem> {
        if target.user == self.account.user {
            return Ok(());
        }
        let snapshot = self.worker.topology.snapshot();
        let Some(server) = snapshot.primary.or_else(|| snapshot.pick_replica(self.worker.random(), &[]))
        else {
            return Err(Problem::NoServer(snapshot.explain_unusable_to_client()));
        };
        drop(snapshot);
        let answer = ask(&self.worker, &self.account, self.class, server, RIGHTS).await?;
        match answer.as_deref() {
            Some(b"0") | None => {
                let message = format!("You are not owner of thread {}", target.id);
                Err(Problem::Server(ErrPacket::new(1095, b"HY000", message)))
            }
            Some(_) => Ok(()),
        }
    }

    /// The client has gone, or was killed, while its statement runs: the statement is ended on the server.
    pub(super) fn abandon(&mut self, connection: Box<Connection>) {
        let (server, id) = (connection.server, connection.id);
        self.lose(connection);
        let worker = Rc::clone(&self.worker);
        let (account, class) = (Arc::clone(&self.account), self.class);
        tokio::task::spawn_local(async move {
            // An error means that the thread has ended by itself.
            if let Err(problem) = ask(&worker, &account, class, server, format!("KILL {id}").as_bytes()).await
            {
                tracing::debug!(%problem, "the statement of a client that has gone could not be killed");
            }
        });
    }
}

/// Ends the statement that runs on a claimed thread.
async fn end_statement(
    worker: &Worker,
    account: &Arc<Account>,
    class: Class,
    claim: Claim,
) -> Result<(), Problem> {
    let Some((server, id)) = claim.target() else { return Ok(()) };
    match ask(worker, account, class, server, format!("KILL QUERY {id}").as_bytes()).await {
        Err(Problem::Server(error)) if error.code == 1094 => Ok(()), // it has ended meanwhile
        other => other.map(|_| ()),
    }
}

/// Runs a statement of our own on a pooled connection; gives its first value.
async fn ask(
    worker: &Worker,
    account: &Arc<Account>,
    class: Class,
    server: ServerId,
    sql: &[u8],
) -> Result<Option<Vec<u8>>, Problem> {
    let work = async {
        let mut tries = 0;
        loop {
            tries += 1;
            // Any database does: the statement names none, and changes nothing on the connection.
            let any = State::with_schema(b"?".to_vec());
            let mut connection =
                worker.pool.lease(server, account, class, &any, None, Opening::default()).await?;
            let mut buffer = worker.buffers.take();
            let answer = connection.run(sql, &mut buffer).await;
            connection.broken = answer.is_err() || !buffer.filled().is_empty();
            worker.pool.check_in(connection);
            match answer.and_then(Answer::into_ok) {
                Ok(answer) => return Ok(answer.value().map(<[u8]>::to_vec)),
                Err(ExchangeError::Refused(error)) => return Err(Problem::Server(error)),
                // Both KILL and the question about rights may be asked twice; the connection had died in the pool.
                Err(error) if tries < ASK_TRIES => tracing::debug!(%server, %error, "asking a server again"),
                Err(error) => return Err(Problem::Connect(error.to_string())),
            }
        }
    };
    match timeout(KILL_LIMIT, work).await {
        Ok(result) => result,
        Err(_) => Err(Problem::Connect("no answer to KILL in time".into())),
    }
}
