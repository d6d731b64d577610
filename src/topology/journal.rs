//! Tells the log what changed between two snapshots: once per change, with the server, from, to, and why.

use tracing::{info, warn};

use super::health::State;
use super::reads::LeftOut;
use super::roles::Role;
use super::snapshot::{Server, Snapshot, Standing};

/// Logs every change of a state, of a role, of a reason to be left out, and of the primary.
pub(super) fn log_changes(old: &Snapshot, new: &Snapshot) {
    for after in &new.servers {
        let Some(before) = old.server(after.id) else {
            info!(server = %after.address, at = after.at.map(tracing::field::display), "a new server: it is used once its probes succeed");
            continue;
        };
        log_standing(before, after);
        log_state(before, after);
        log_role(before, after);
        log_reads(before, after);
        if old.primary == new.primary && new.primary.is_some() {
            log_lag(before, after);
        }
    }
    for gone in old.servers.iter().filter(|server| new.server(server.id).is_none()) {
        info!(server = %gone.address, at = gone.at.map(tracing::field::display), "server is gone: nothing of it is left");
    }
    if old.primary != new.primary {
        match new.primary() {
            Some(primary) => info!(server = %primary.address, "primary found"),
            None => warn!(servers = new.explain_unusable(), "no primary: writes wait for one"),
        }
    }
    if !old.readers.is_empty() && new.readers.is_empty() {
        warn!(servers = new.explain_unusable(), "no replica takes reads: they go to the primary");
    }
}

fn log_standing(before: &Server, after: &Server) {
    if before.at != after.at {
        info!(server = %after.address, at = after.at.map(tracing::field::display), "server's name found");
    }
    if before.standing == after.standing {
        return;
    }
    let (server, at) = (&after.address, after.at.map(tracing::field::display));
    match after.standing {
        Standing::Member => info!(%server, at, "server is used again"),
        Standing::Draining if after.role == Role::Primary => {
            warn!(%server, at, "the primary is to drain: it goes on until another server is the primary");
        }
        Standing::Draining => info!(%server, at, "server drains: it takes nothing new"),
        Standing::Leaving => info!(%server, at, "server leaves: it takes nothing new"),
    }
}

fn log_state(before: &Server, after: &Server) {
    if before.state == after.state {
        return;
    }
    let (server, from, to) = (&after.address, before.state.as_str(), after.state.as_str());
    match (&after.left_out, after.state) {
        (Some(why), State::Down) => warn!(%server, from, to, %why, "server state changed"),
        _ => info!(%server, from, to, role = after.role.as_str(), "server state changed"),
    }
}

fn log_role(before: &Server, after: &Server) {
    if before.role == after.role {
        return;
    }
    let (server, from, to) = (&after.address, before.role.as_str(), after.role.as_str());
    if after.role == Role::Rival {
        let why = LeftOut::Rival;
        warn!(%server, from, to, %why, "a second writable server: it takes no statement; set read_only there, or take it out of the configuration");
    } else {
        info!(%server, from, to, "server role changed");
    }
}

/// A state or role that changed has told its reason already.
fn log_reads(before: &Server, after: &Server) {
    let told = matches!(
        after.left_out,
        Some(
            LeftOut::Draining
                | LeftOut::Leaving
                | LeftOut::Down(_)
                | LeftOut::Rival
                | LeftOut::NotProbed(_)
                | LeftOut::RoleUndecided
        )
    );
    if told || LeftOut::same_kind(before.left_out, after.left_out) {
        return;
    }
    let server = &after.address;
    match &after.left_out {
        Some(LeftOut::NoWeight) => info!(%server, why = %LeftOut::NoWeight, "server takes no reads"),
        Some(why) => warn!(%server, %why, "server takes no reads"),
        None if after.role.reads() => {
            let (role, lag_ms) = (after.role.as_str(), after.lag.unwrap_or_default().as_millis());
            info!(%server, role, lag_ms, "replica takes reads");
        }
        None => {}
    }
}

/// What `monitor.lag` asks for has begun or ceased to say how late a server is.
fn log_lag(before: &Server, after: &Server) {
    let server = &after.address;
    match (before.lag_is_asked, after.lag_is_asked, after.state) {
        (false, true, _) => info!(%server, "lag is found as `monitor.lag` says"),
        (true, false, State::Up) => {
            warn!(%server, "lag is found as by `auto`: what `monitor.lag` asks for says nothing of it")
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, Instant};

    use super::super::book::{Book, Outcome, tests};
    use super::super::health::Cause;
    use super::*;
    use crate::ids::ServerId;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the journal writes when these probes end one after the other.
    fn journal(book: &mut Book, outcomes: Vec<(u16, Outcome)>) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let start = Instant::now();
            let mut old = book.snapshot(0, start);
            for (id, outcome) in outcomes {
                book.probed(ServerId(id), outcome, start);
                let new = book.snapshot(0, start);
                log_changes(&old, &new);
                old = new;
            }
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::trim).map(String::from).collect()
    }

    #[test]
    fn each_change_is_told_once_and_with_its_reason() {
        let mut book = tests::book();
        let found = journal(&mut book, vec![(0, tests::primary()), (1, tests::replica(Some(0)))]);
        assert!(
            found.iter().any(|line| line.contains("primary found") && line.contains("h:1")),
            "{found:#?}"
        );
        assert!(
            found.iter().any(|line| line.contains("replica takes reads") && line.contains("h:2")),
            "{found:#?}"
        );
        assert!(!found.iter().any(|line| line.contains("WARN")), "{found:#?}");

        assert_eq!(journal(&mut book, vec![(1, tests::replica(Some(1))), (0, tests::primary())]), [""; 0]);

        let late = (3..9).map(|lag| (1, tests::replica(Some(lag)))).collect();
        let told = journal(&mut book, late);
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(
            told[0].contains("server takes no reads") && told[0].contains("3s behind, more than 2s"),
            "{told:#?}"
        );
        assert!(told[1].contains("no replica takes reads"), "{told:#?}");

        let down = vec![(0, Outcome::Failed(Cause::Refused)); 6];
        let told = journal(&mut book, down);
        assert_eq!(told.len(), 2, "{told:#?}");
        assert!(told[0].contains(r#"from="up" to="down" why=down: connection refused"#), "{told:#?}");
        assert!(told[1].contains("no primary: writes wait"), "{told:#?}");
    }

    #[test]
    fn figures_alone_are_no_change() {
        let late = |s| LeftOut::Late {
            lag: Duration::from_secs(s),
            max: Duration::from_secs(1),
            told: Duration::ZERO,
        };
        assert!(LeftOut::same_kind(Some(late(2)), Some(late(3))));
        assert!(!LeftOut::same_kind(Some(late(2)), Some(LeftOut::LagUnknown)));
        assert!(!LeftOut::same_kind(None, Some(late(2))));
    }
}
