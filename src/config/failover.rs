//! `failover`: whether Tidegate itself makes another server the primary, and by which accounts.
//!
//! Owns: those options, and what must be there for them. Does not know: how a promotion goes. Invariant: with `promote` all that it
//! needs is given, and a majority of the servers is left without the primary.

use std::time::Duration;

use super::accounts;
use super::defaults::{APPLY_TIMEOUT, TRANSACTIONS_TIMEOUT};
use super::fields::{Context, Fields};
use super::model::{Cluster, Promotion, Secret};
use super::resolve::{HOUR, MINUTE};
use super::secret;

/// Servers that can lose one and still have a majority.
const SERVERS_MIN: usize = 3;
/// How long a switchover may take once no transaction is open.
const HANDOVER: Duration = Duration::from_secs(2);
/// Characters of the account by which replicas follow: what CHANGE REPLICATION SOURCE takes.
const REPLICATION_USER_MAX: usize = 96;
/// Bytes of its password.
const REPLICATION_PASSWORD_MAX: usize = 32;

/// What `failover` says; `None` for `mode: follow`.
pub(super) fn promotion(
    mut fields: Fields<'_>,
    cluster: &Cluster,
    cx: &mut Context<'_, '_>,
) -> Option<Promotion> {
    let before = cx.errors.count();
    let promotes = fields.choice(cx, "mode", &[("follow", false), ("promote", true)], false);
    let understood = cx.errors.count() == before;
    let (user, password, replication) =
        (fields.take("user"), fields.take("password"), fields.take("replication"));
    let apply_timeout = fields.duration(cx, "apply_timeout", APPLY_TIMEOUT, 100..=HOUR);
    let transactions_timeout =
        fields.duration(cx, "transactions_timeout", TRANSACTIONS_TIMEOUT, 100..=MINUTE);
    if !promotes {
        if let Some(item) =
            [&user, &password, &replication].into_iter().flatten().next().filter(|_| understood)
        {
            item.error(
                cx,
                "an account is given, but `mode` is `follow`",
                Some("write `mode: promote`, or remove it".to_owned()),
            );
        }
        fields.finish(cx);
        return None;
    }
    if user.is_none() {
        fields.missing(cx, "user", "name the account that changes the servers' roles");
    }
    if password.is_none() {
        fields.missing(cx, "password", "write `password: \"${env:NAME}\"`");
    }
    if replication.is_none() {
        let help = "name the account by which replicas follow: `replication: {user: repl, password: \"${env:NAME}\"}`";
        fields.missing(cx, "replication", help);
    }
    if cluster.servers.len() < SERVERS_MIN {
        let message = format!(
            "`promote` needs {SERVERS_MIN} servers: of {} no majority is left without the primary, by which several Tidegates agree",
            cluster.servers.len()
        );
        fields.conflict(
            cx,
            &["mode"],
            message,
            "add a server (one with `weight: 0` will do), or write `mode: follow`",
        );
    }
    if cluster.multi_primary {
        let message = "`promote` is for one primary with replicas, but `topology` is `multi_primary`";
        fields.conflict(
            cx,
            &["mode"],
            message.to_owned(),
            "write `mode: follow`: the first server that is up takes the writes",
        );
    }
    if transactions_timeout + HANDOVER > cluster.pool.primary_wait {
        let message = "`transactions_timeout` must be 2 s below `pool.primary_wait` at least: statements that wait for a switchover would fail";
        fields.conflict(
            cx,
            &["transactions_timeout", "mode"],
            message,
            "lower it, or raise `pool.primary_wait`",
        );
    }
    let (replication_user, replication_password) = match replication {
        None => (String::new(), Secret::new("")),
        Some(item) => {
            let mut inner = Fields::of(&item, cx);
            let user = inner.require(cx, "user", "name the account by which replicas follow");
            let password = accounts::required_password(&mut inner, cx);
            inner.finish(cx);
            let name = user.as_ref().and_then(|item| accounts::account(item, cx)).unwrap_or_default();
            if name.chars().count() > REPLICATION_USER_MAX
                || password.expose().len() > REPLICATION_PASSWORD_MAX
            {
                let message = format!(
                    "servers take {REPLICATION_USER_MAX} characters of a name and {REPLICATION_PASSWORD_MAX} bytes of a password for replication"
                );
                item.error(cx, message, None);
            }
            (name, password)
        }
    };
    let promotion = Promotion {
        user: user.and_then(|item| accounts::account(&item, cx)).unwrap_or_default(),
        password: password.map_or(Secret::new(""), |item| secret::password(&item, cx)),
        replication_user,
        replication_password,
        apply_timeout,
        transactions_timeout,
    };
    fields.finish(cx);
    Some(promotion)
}
