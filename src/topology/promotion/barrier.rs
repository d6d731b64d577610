//! A server is shut out though its own clients are in the way: commits that wait for an acknowledgement, statements that wait for each
//! other.
//!
//! Owns: the order in which that is done. Does not know: why a server is shut out. Invariant: from the moment at which a connection is
//! ended up to the one at which the server takes no writes, nobody is told that a write was done: the order to take none stands in its
//! queue of locks, behind which new writes wait; those that were before it have no client any more when they are let go. Threads of
//! replication and connections of this act are not touched.

use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;
use tracing::warn;

use super::super::probe::NamedRow;
use super::hand::{Hand, Trouble};
use super::words;

/// A server may take so long to become read only by itself.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks whether the order stands in the queue.
const PACE: Duration = Duration::from_millis(20);

impl Hand {
    /// Has the server take no writes from now on, whoever is in the way, and wait for no acknowledgement.
    pub async fn shut_out(&mut self) -> Result<(), Trouble> {
        self.give_order().await?;
        self.disarm().await
    }

    async fn give_order(&mut self) -> Result<(), Trouble> {
        let (order, orderer, aide) = (words::fence(self.dialect()), self.connection_id(), self.another());
        let mut ordering = pin!(self.tell(order));
        tokio::select! {
            done = &mut ordering => return done,
            () = sleep(PATIENCE) => {}
        }
        let found = tokio::select! {
            done = &mut ordering => return done,
            found = async {
                let mut aide = aide.await?;
                let clients = aide.clients_in_the_way(orderer).await?;
                Ok::<_, Trouble>((aide, clients))
            } => found,
        };
        let clear = async {
            let (mut aide, clients) = found?;
            aide.clear(clients).await
        };
        // What is begun is brought to its end, also where the first of them was the one in the way.
        let (done, cleared) = tokio::join!(ordering, clear);
        cleared.and(done)
    }

    /// All clients, once the order of connection `orderer` stands in its queue; those last whose end lets others' commits go.
    async fn clients_in_the_way(&mut self, orderer: u64) -> Result<Vec<Process>, Trouble> {
        // Without them it would not see who is there, and let clients go that are.
        let missing = self.missing_rights(true).await?;
        if !missing.is_empty() {
            let (address, missing) = (&self.address, missing.join(", "));
            return Err(format!("{address}: its clients are in the way; to end them takes {missing}").into());
        }
        let processes = loop {
            let processes: Vec<_> = self.rows("SHOW PROCESSLIST").await?.iter().map(Process::parse).collect();
            if processes.iter().any(|process| process.id == orderer && process.waits) {
                break processes;
            }
            sleep(PACE).await;
        };
        let own = [orderer, self.connection_id()];
        let mut clients = processes;
        clients.retain(|process| process.is_client && !own.contains(&process.id));
        // MariaDB: who waits does so for all who commit with it, and when it is ended they are answered OK.
        clients.sort_by_key(|client| client.awaits_word);
        Ok(clients)
    }

    /// Ends the connections of these clients, then all waiting for acknowledgements.
    async fn clear(&mut self, clients: Vec<Process>) -> Result<(), Trouble> {
        for client in &clients {
            // Its connection, never its statement alone: a commit that is killed so is answered OK by MariaDB.
            self.end_connection(client.id).await?;
        }
        let ended = clients.len();
        warn!(server = %self.address, ended, "clients were in the way of shutting it out: their connections were ended");
        match self.semi_sync().await?.release() {
            Some(release) => self.tell(&release).await,
            None => Ok(()),
        }
    }
}

/// A line of SHOW PROCESSLIST.
#[derive(Debug)]
struct Process {
    id: u64,
    is_client: bool,
    /// For a lock.
    waits: bool,
    /// It waits for an acknowledgement.
    awaits_word: bool,
}

impl Process {
    fn parse(row: &NamedRow) -> Self {
        let of = |wanted: &str| {
            let value = row
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .and_then(|(_, value)| value.as_deref());
            String::from_utf8_lossy(value.unwrap_or_default())
        };
        let command = of("Command");
        let works_for_server =
            matches!(&*of("User"), "system user" | "event_scheduler" | "unauthenticated user")
                || command == "Daemon"
                || ["Binlog Dump", "Slave_", "Register "]
                    .iter()
                    .any(|of_replication| command.starts_with(of_replication));
        Self {
            id: of("Id").parse().unwrap_or(0),
            is_client: !works_for_server,
            waits: of("State").starts_with("Waiting for "),
            awaits_word: of("State").starts_with("Waiting for semi-sync"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_from_threads_of_the_server() {
        let process = |user: &str, command: &str, state: Option<&str>| {
            let text = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
            let state = ("State".to_owned(), state.map(|state| state.as_bytes().to_vec()));
            Process::parse(&vec![text("Id", "7"), text("User", user), text("Command", command), state])
        };
        // As MySQL 9.7 and MariaDB 10.11 show them.
        for (user, command) in [
            ("system user", "Connect"),
            ("system user", "Query"),
            ("system user", "Slave_SQL"),
            ("event_scheduler", "Daemon"),
            ("repl", "Binlog Dump GTID"),
            ("repl", "Binlog Dump"),
            ("unauthenticated user", "Connect"),
        ] {
            assert!(!process(user, command, None).is_client, "{user}: {command}");
        }
        for command in ["Query", "Sleep", "Execute", "Killed"] {
            assert!(process("app", command, Some("")).is_client, "{command}");
        }
        assert!(process("p", "Query", Some("Waiting for commit lock")).waits);
        assert!(process("p", "Query", Some("Waiting for semi-sync ACK from slave")).awaits_word);
        assert!(!process("p", "Query", None).waits);
        assert_eq!(process("p", "Query", None).id, 7);
    }
}
