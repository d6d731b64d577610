//! Tells the log what changed between two snapshots: once per change, with the server, from, to, and why.

use tracing::{info, warn};

use super::health::State;
use super::reads::LeftOut;
use super::roles::Role;
use super::snapshot::{Server, Snapshot};

/// Logs every change of a state, of a role, of a reason to be left out, and of the primary.
pub(super) fn log_changes(old: &Snapshot, new: &Snapshot) {
    for (before, after) in old.servers.iter().zip(&new.servers) {
        log_state(before, after);
        log_role(before, after);
        log_reads(before, after);
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
        Some(LeftOut::Down(_) | LeftOut::Rival | LeftOut::NotProbed(_) | LeftOut::RoleUndecided)
    );
    if told || LeftOut::same_kind(before.left_out, after.left_out) {
        return;
    }
    let server = &after.address;
    match &after.left_out {
        Some(LeftOut::NoWeight) => info!(%server, why = %LeftOut::NoWeight, "server takes no reads"),
        Some(why) => warn!(%server, %why, "server takes no reads"),
        None if after.role == Role::Replica => {
            info!(%server, lag_ms = after.lag.unwrap_or_default().as_millis(), "replica takes reads");
        }
        None => {}
    }
}
