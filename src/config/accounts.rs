//! Who connects: `auth` with `users`, `admin.users`, and `monitor`.
//!
//! Owns: accounts of clients, their accounts towards the servers, those of operators, and the account of the probes.
//! Does not know: how a password is proven. Invariant: no two users share a name.

use std::collections::HashSet;

use super::error::quoted;
use super::fields::{Context, Fields, Item};
use super::lag;
use super::model::{Auth, ClientTls, Monitor, Require, Secret, User};
use super::resolve::MINUTE;
use super::secret;
use super::tree::Value;

/// Characters of an account's name (MariaDB's limit; MySQL's is 32).
const NAME_MAX: usize = 128;
/// Accounts in one file.
const USERS_MAX: usize = 10_000;
/// Accounts of the console.
const OPERATORS_MAX: usize = 100;

/// How clients prove who they are.
pub(super) fn auth(fields: &mut Fields<'_>, tls: &ClientTls, cx: &mut Context<'_, '_>) -> Auth {
    let modes = [("passthrough", false), ("users", true)];
    let before = cx.errors.count();
    let listed = fields.choice(cx, "auth", &modes, false);
    let understood = cx.errors.count() == before;
    match (listed, fields.take("users")) {
        (true, Some(item)) => Auth::Users(users(&item, tls, cx)),
        (true, None) => {
            let help = "list the accounts: `users: [{name: app, password: \"${env:APP_PASSWORD}\"}]`";
            fields.missing(cx, "users", help);
            Auth::Users(Vec::new())
        }
        (false, Some(item)) => {
            users(&item, tls, cx);
            if understood {
                let help = Some("write `auth: users`, or remove the list".to_owned());
                item.error(cx, "the list is given, but `auth` is `passthrough`", help);
            }
            Auth::Passthrough
        }
        (false, None) => Auth::Passthrough,
    }
}

fn users(item: &Item<'_>, tls: &ClientTls, cx: &mut Context<'_, '_>) -> Vec<User> {
    let elements = item.elements();
    if item.node.is_null() || elements.is_empty() || elements.len() > USERS_MAX {
        let help = Some("write `- {name: app, password: \"${env:APP_PASSWORD}\"}`".to_owned());
        item.error(cx, format!("expected 1 to {USERS_MAX} accounts"), help);
        return Vec::new();
    }
    let mut names = HashSet::new();
    let mut users = Vec::with_capacity(elements.len());
    for element in elements {
        let mut fields = Fields::of(&element, cx);
        let item = fields.require(cx, "name", "name the account that clients give");
        let name = item.as_ref().and_then(|item| account(item, cx)).unwrap_or_default();
        if let Some(item) = item.filter(|_| !name.is_empty() && !names.insert(name.clone())) {
            let help = Some("list each account once".to_owned());
            item.error(cx, format!("the account {} is listed twice", quoted(&name)), help);
        }
        let password = required_password(&mut fields, cx);
        let (backend_user, backend_password) = match fields.take("backend") {
            Some(item) => backend(&item, &name, cx),
            None => (name.clone(), password.clone()),
        };
        let require = fields.take("require").map_or(Require::Nothing, |item| require(&item, tls, cx));
        fields.finish(cx);
        users.push(User { name, password, backend_user, backend_password, require });
    }
    users
}

/// What the client's connection must be like: `tls`, `x509`, or the names in its certificate.
fn require(item: &Item<'_>, tls: &ClientTls, cx: &mut Context<'_, '_>) -> Require {
    let any = Require::Certificate { subject: None, issuer: None };
    let require = match &item.node.value {
        Value::Map(_) => {
            let mut fields = Fields::of(item, cx);
            let mut name = |name| {
                let item = fields.take(name)?;
                let text = item.text(cx)?;
                if !text.starts_with('/') {
                    let help =
                        Some("write it as `openssl x509 -nameopt compat` does: `/C=SE/CN=client`".to_owned());
                    item.error(cx, format!("{} is not a name of a certificate", quoted(text)), help);
                }
                Some(text.to_owned())
            };
            let (subject, issuer) = (name("subject"), name("issuer"));
            fields.finish(cx);
            Require::Certificate { subject, issuer }
        }
        _ => match item.choice(cx, &[("tls", false), ("x509", true)]) {
            Some(true) => any,
            Some(false) => Require::Tls,
            None => return Require::Nothing,
        },
    };
    if !tls.enabled {
        item.error(cx, "this account could never log in: `tls.enabled` is false", None);
    } else if require != Require::Tls && tls.client_ca.is_none() {
        let help =
            Some("give `tls.client_ca`, the PEM file of the authorities of clients' certificates".to_owned());
        item.error(cx, "no client is asked for a certificate", help);
    }
    require
}

/// The accounts of the SQL console: `admin.users`. An empty password would let in whoever reaches the port.
pub(super) fn operators(item: &Item<'_>, cx: &mut Context<'_, '_>) -> Vec<User> {
    let elements = item.elements();
    if item.node.is_null() || elements.is_empty() || elements.len() > OPERATORS_MAX {
        let help = Some("write `- {name: operator, password: \"${env:OPERATOR_PASSWORD}\"}`".to_owned());
        item.error(cx, format!("expected 1 to {OPERATORS_MAX} accounts"), help);
        return Vec::new();
    }
    let mut users: Vec<User> = Vec::with_capacity(elements.len());
    for element in elements {
        let mut fields = Fields::of(&element, cx);
        let item = fields.require(cx, "name", "name the account that operators give");
        let name = item.as_ref().and_then(|item| account(item, cx)).unwrap_or_default();
        if let Some(item) = item.filter(|_| users.iter().any(|user| !name.is_empty() && user.name == name)) {
            let help = Some("list each account once".to_owned());
            item.error(cx, format!("the account {} is listed twice", quoted(&name)), help);
        }
        let item = fields.require(cx, "password", "write `password: \"${env:NAME}\"`");
        let before = cx.errors.count();
        let password = item.as_ref().map_or(Secret::new(""), |item| secret::password(item, cx));
        if let Some(item) = item.filter(|_| password.expose().is_empty() && cx.errors.count() == before) {
            let help = Some("give it one; without `users` there is no console".to_owned());
            item.error(cx, "an account of the console cannot be without a password", help);
        }
        fields.finish(cx);
        let (backend_user, backend_password) = (name.clone(), Secret::new(""));
        users.push(User { name, password, backend_user, backend_password, require: Require::Nothing });
    }
    users
}

/// The account towards the servers; its name is the client's where none is given.
fn backend(item: &Item<'_>, name: &str, cx: &mut Context<'_, '_>) -> (String, Secret) {
    let mut fields = Fields::of(item, cx);
    let user = fields.take("user").and_then(|item| account(&item, cx)).unwrap_or_else(|| name.to_owned());
    let password = required_password(&mut fields, cx);
    fields.finish(cx);
    (user, password)
}

pub(super) fn required_password(fields: &mut Fields<'_>, cx: &mut Context<'_, '_>) -> Secret {
    let help = "write `password: \"${env:NAME}\"`; `\"\"` for an account without a password";
    match fields.require(cx, "password", help) {
        Some(item) => secret::password(&item, cx),
        None => Secret::new(""),
    }
}

/// The account and the rhythm of the servers' probes.
pub(super) fn monitor(top: &mut Fields<'_>, cx: &mut Context<'_, '_>) -> Monitor {
    let default = Monitor::default();
    let help = "write `monitor: {user: tidegate, password: \"${env:TIDEGATE_MONITOR_PASSWORD}\"}`";
    let Some(item) = top.require(cx, "monitor", help) else { return default };
    let mut fields = Fields::of(&item, cx);
    let user = fields.require(cx, "user", "name the account that probes the servers");
    let password = fields.take("password");
    let monitor = Monitor {
        user: user.and_then(|item| account(&item, cx)).unwrap_or_default(),
        password: password.map_or(default.password, |item| secret::password(&item, cx)),
        interval: fields.duration(cx, "interval", default.interval, 10..=MINUTE),
        timeout: fields.duration(cx, "timeout", default.timeout, 10..=MINUTE),
        failures: fields.count(cx, "failures", default.failures, 1..=100),
        successes: fields.count(cx, "successes", default.successes, 1..=100),
        lag: lag::measure(fields.section(cx, "lag"), cx),
    };
    fields.finish(cx);
    monitor
}

/// An account's name: 1 to 128 characters, no NUL (it ends the name in the handshake).
pub(super) fn account(item: &Item<'_>, cx: &mut Context<'_, '_>) -> Option<String> {
    let text = item.text(cx)?;
    if text.is_empty() || text.contains('\0') || text.chars().count() > NAME_MAX {
        let help = Some(format!("write 1 to {NAME_MAX} characters"));
        item.error(cx, format!("{} cannot be an account's name", quoted(text)), help);
        return None;
    }
    if text.contains("${") {
        let help = Some("only passwords are taken from `${env:…}` and `${file:…}`".to_owned());
        item.error(cx, format!("{} is not replaced in a name", quoted(text)), help);
        return None;
    }
    Some(text.to_owned())
}
