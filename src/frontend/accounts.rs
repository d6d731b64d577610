//! The accounts that clients may use, and what is known about their passwords.
//!
//! Owns: the list of `users:`, or the passwords that the servers have accepted (`passthrough`). Does not know: how a
//! client proves a password. Invariant: a remembered password was accepted by a server; past `FRESH` it lets nobody
//! in before a server has accepted it again, nor ever a client without TLS where only TLS was proven good enough;
//! memory is bounded and wiped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;

use super::judge::{Reach, Transport};
use crate::backend::account::Account;
use crate::config::{Auth, Require, Secret, User};
use crate::ids::AccountId;
use crate::wire::auth::same_bytes;

/// How long the servers' word holds: a revoked account is out after this at the latest, for new logins.
pub const FRESH: Duration = Duration::from_secs(30);
/// User names whose passwords are remembered.
const USERS_MAX: usize = 10_000;
/// Passwords remembered for one user: servers can accept an old and a new one while applications change over.
const PASSWORDS_PER_USER: usize = 2;

/// The accounts of one process; shared by all threads.
pub struct Accounts {
    kind: Kind,
    next_id: AtomicU64,
    fresh: Duration,
}

enum Kind {
    Listed(DashMap<Vec<u8>, Listed>),
    Remembered(DashMap<Vec<u8>, Vec<Remembered>>),
}

/// An account of the rules file.
#[derive(Clone)]
pub(super) struct Listed {
    pub account: Arc<Account>,
    /// The password that the client must prove; the account's secret is the servers'.
    pub password: Secret,
    /// What the client's connection must be like.
    pub require: Require,
}

/// An account whose password the servers have accepted.
#[derive(Clone)]
pub(super) struct Remembered {
    pub account: Arc<Account>,
    /// When a server last accepted it, for clients on TLS at least.
    accepted: Option<Instant>,
    /// When a server last accepted it for clients without TLS too.
    accepted_plain: Option<Instant>,
}

impl Remembered {
    fn accept(&mut self, reach: Reach) {
        self.accepted = Some(Instant::now());
        if reach == Reach::AnyClient {
            self.accepted_plain = self.accepted;
        }
    }
}

impl Accounts {
    /// The accounts that the configuration speaks of.
    pub fn new(auth: &Auth) -> Self {
        Self::with_fresh(auth, FRESH)
    }

    /// The same, with another time for which the servers' word holds.
    pub(super) fn with_fresh(auth: &Auth, fresh: Duration) -> Self {
        let next_id = AtomicU64::new(1);
        let kind = match auth {
            Auth::Passthrough => Kind::Remembered(DashMap::new()),
            Auth::Users(users) => {
                let id = || AccountId(next_id.fetch_add(1, Ordering::Relaxed));
                Kind::Listed(
                    users.iter().map(|user| (user.name.clone().into(), listed(user, id()))).collect(),
                )
            }
        };
        Self { kind, next_id, fresh }
    }

    /// The rules list other accounts now. One whose way to the servers is the same stays the same to the pools; who is logged in
    /// stays.
    pub fn adopt(&self, auth: &Auth) {
        let (Kind::Listed(known), Auth::Users(users)) = (&self.kind, auth) else { return };
        for user in users {
            let mut next = listed(user, AccountId(self.next_id.fetch_add(1, Ordering::Relaxed)));
            let mut entry = known.entry(user.name.clone().into()).or_insert_with(|| next.clone());
            let (before, after) = (&entry.account, &next.account);
            if (&before.backend_user, &before.secret) == (&after.backend_user, &after.secret) {
                next.account = Arc::clone(before);
            }
            *entry = next;
        }
        known.retain(|name, _| users.iter().any(|user| user.name.as_bytes() == name));
    }

    /// Whether the servers judge.
    pub fn is_passthrough(&self) -> bool {
        matches!(self.kind, Kind::Remembered(_))
    }

    /// The listed account of this name.
    pub(super) fn listed(&self, user: &[u8]) -> Option<Listed> {
        match &self.kind {
            Kind::Listed(users) => users.get(user).map(|entry| entry.clone()),
            Kind::Remembered(_) => None,
        }
    }

    /// The accounts of this name whose passwords the servers have accepted; the latest first.
    pub(super) fn remembered(&self, user: &[u8]) -> Vec<Remembered> {
        match &self.kind {
            Kind::Remembered(users) => users.get(user).map(|entry| entry.clone()).unwrap_or_default(),
            Kind::Listed(_) => Vec::new(),
        }
    }

    /// Whether the servers' word on this password still holds for a client on this transport.
    pub(super) fn is_fresh(&self, known: &Remembered, client: Transport) -> bool {
        let accepted = match client {
            Transport::Tls => known.accepted,
            Transport::Plain | Transport::Local => known.accepted_plain,
        };
        accepted.is_some_and(|accepted| accepted.elapsed() < self.fresh)
    }

    /// The servers have just accepted `password` for `user`: remembers it.
    pub(super) fn remember(&self, user: &[u8], password: &[u8], reach: Reach) -> Arc<Account> {
        let fresh = || {
            let id = AccountId(self.next_id.fetch_add(1, Ordering::Relaxed));
            let (user, secret) = (user.to_vec(), Secret::new(password.to_vec()));
            Arc::new(Account { id, backend_user: user.clone(), user, secret, expired: false })
        };
        let Kind::Remembered(users) = &self.kind else { return fresh() };
        if users.len() >= USERS_MAX && !users.contains_key(user) {
            forget_one(users);
        }
        let mut entry = users.entry(user.to_vec()).or_default();
        let known = entry.iter().position(|known| same_bytes(known.account.secret.expose(), password));
        let mut known = match known {
            Some(index) => entry.remove(index),
            None => Remembered { account: fresh(), accepted: None, accepted_plain: None },
        };
        known.accept(reach);
        let account = Arc::clone(&known.account);
        entry.insert(0, known);
        entry.truncate(PASSWORDS_PER_USER);
        account
    }

    /// A server has accepted `password` for `user`, and it has expired: an account for one session, which nobody else gets.
    pub(super) fn expired(&self, user: &[u8], password: &[u8]) -> Arc<Account> {
        let id = AccountId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (user, secret) = (user.to_vec(), Secret::new(password.to_vec()));
        Arc::new(Account { id, backend_user: user.clone(), user, secret, expired: true })
    }

    /// A server has accepted this account again, by a connection that somebody needed anyway.
    pub fn accepted(&self, account: &Account, reach: Reach) {
        let Kind::Remembered(users) = &self.kind else { return };
        if let Some(mut entry) = users.get_mut(&account.user) {
            entry
                .iter_mut()
                .filter(|known| known.account.id == account.id)
                .for_each(|known| known.accept(reach));
        }
    }

    /// A server has refused this account to a client that came by `client`. Without TLS that may be for the want of
    /// TLS only: what the servers have just said about clients on TLS then still stands.
    pub(super) fn refused(&self, known: &Remembered, client: Transport) {
        let Kind::Remembered(users) = &self.kind else { return };
        if client == Transport::Tls || !self.is_fresh(known, Transport::Tls) {
            return self.invalidate(&known.account);
        }
        if let Some(mut entry) = users.get_mut(&known.account.user) {
            let same = |other: &&mut Remembered| other.account.id == known.account.id;
            entry.iter_mut().filter(same).for_each(|known| known.accepted_plain = None);
        }
    }

    /// Accounts have changed on the servers: what they have accepted, they must be asked again at the next login.
    pub fn forget_proofs(&self) {
        let Kind::Remembered(users) = &self.kind else { return };
        for mut entry in users.iter_mut() {
            entry.iter_mut().for_each(|known| (known.accepted, known.accepted_plain) = (None, None));
        }
    }

    /// A server has refused this account: its password is forgotten, and the next login has to give it again.
    /// Accounts of the list stay, as the file says.
    pub fn invalidate(&self, account: &Account) {
        let Kind::Remembered(users) = &self.kind else { return };
        users.remove_if_mut(&account.user, |_, entry| {
            entry.retain(|known| known.account.id != account.id);
            entry.is_empty()
        });
    }
}

fn listed(user: &User, id: AccountId) -> Listed {
    let account = Account {
        id,
        user: user.name.clone().into(),
        backend_user: user.backend_user.clone().into(),
        secret: user.backend_password.clone(),
        expired: false,
    };
    Listed { account: Arc::new(account), password: user.password.clone(), require: user.require.clone() }
}

/// Makes room: forgets the user whom the servers accepted the longest time ago. Walks all of them, which is rare:
/// only a login by a new name past the bound comes here, and a server has just been asked about it.
fn forget_one(users: &DashMap<Vec<u8>, Vec<Remembered>>) {
    let latest = |entry: &[Remembered]| entry.first().map(|known| known.accepted);
    let oldest = users.iter().min_by_key(|entry| latest(entry.value())).map(|entry| entry.key().clone());
    if let Some(user) = oldest {
        users.remove(&user);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adopted_accounts_stay_the_same_where_the_servers_see_no_difference() {
        let user = |name: &str, password: &str, backend: &str| User {
            name: name.into(),
            password: Secret::new(password),
            backend_user: name.into(),
            backend_password: Secret::new(backend),
            require: Require::Nothing,
        };
        let accounts =
            Accounts::new(&Auth::Users(vec![user("a", "1", "x"), user("b", "1", "x"), user("c", "1", "x")]));
        let id = |name: &[u8]| accounts.listed(name).map(|listed| listed.account.id);
        let [a, b] = [id(b"a"), id(b"b")];
        accounts.adopt(&Auth::Users(vec![user("a", "2", "x"), user("b", "1", "y"), user("d", "1", "x")]));
        assert_eq!(accounts.listed(b"a").unwrap().password, Secret::new("2"));
        assert_eq!(id(b"a"), a);
        assert_ne!(id(b"b"), b);
        assert!(id(b"c").is_none() && id(b"d").is_some());
    }

    #[test]
    fn a_changed_password_is_another_account() {
        let accounts = Accounts::new(&Auth::Passthrough);
        let first = accounts.remember(b"app", b"one", Reach::AnyClient);
        assert_eq!(accounts.remember(b"app", b"one", Reach::AnyClient).id, first.id);
        let second = accounts.remember(b"app", b"two", Reach::AnyClient);
        assert_ne!(second.id, first.id);
        assert_eq!(accounts.remembered(b"app").len(), 2, "both are valid while applications change over");
        accounts.remember(b"app", b"three", Reach::AnyClient);
        let ids: Vec<_> = accounts.remembered(b"app").iter().map(|known| known.account.id).collect();
        assert!(!ids.contains(&first.id) && ids.contains(&second.id));
    }

    #[test]
    fn an_invalidated_account_is_forgotten_and_others_are_not() {
        let accounts = Accounts::new(&Auth::Passthrough);
        let (one, two) = (
            accounts.remember(b"app", b"one", Reach::AnyClient),
            accounts.remember(b"app", b"two", Reach::AnyClient),
        );
        accounts.invalidate(&one);
        assert_eq!(accounts.remembered(b"app")[0].account.id, two.id);
        accounts.invalidate(&two);
        assert!(accounts.remembered(b"app").is_empty());
        assert_ne!(
            accounts.remember(b"app", b"one", Reach::AnyClient).id,
            one.id,
            "a pool may still hold the old id's connections"
        );
    }

    #[test]
    fn what_was_accepted_over_tls_holds_for_tls_only() {
        let accounts = Accounts::new(&Auth::Passthrough);
        let account = accounts.remember(b"app", b"one", Reach::TlsClients);
        let fresh = |client| accounts.is_fresh(&accounts.remembered(b"app")[0], client);
        assert!(fresh(Transport::Tls) && !fresh(Transport::Plain));
        accounts.accepted(&account, Reach::TlsClients);
        assert!(!fresh(Transport::Plain));
        accounts.accepted(&account, Reach::AnyClient);
        assert!(fresh(Transport::Tls) && fresh(Transport::Plain));
        accounts.refused(&accounts.remembered(b"app")[0], Transport::Plain);
        assert!(
            fresh(Transport::Tls) && !fresh(Transport::Plain),
            "a refusal without TLS says nothing about TLS"
        );
        accounts.refused(&accounts.remembered(b"app")[0], Transport::Tls);
        assert!(accounts.remembered(b"app").is_empty());
    }

    #[test]
    fn a_stale_account_that_is_refused_without_tls_is_forgotten() {
        let accounts = Accounts::with_fresh(&Auth::Passthrough, Duration::ZERO);
        accounts.remember(b"app", b"one", Reach::TlsClients);
        accounts.refused(&accounts.remembered(b"app")[0], Transport::Plain);
        assert!(accounts.remembered(b"app").is_empty());
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes() {
        let accounts = Accounts::new(&Auth::Passthrough);
        for number in 0..=USERS_MAX {
            accounts.remember(format!("user{number}").as_bytes(), b"password", Reach::AnyClient);
        }
        assert!(accounts.remembered(b"user0").is_empty());
        assert_eq!(accounts.remembered(b"user1").len(), 1);
        assert_eq!(accounts.remembered(format!("user{USERS_MAX}").as_bytes()).len(), 1);
    }

    #[test]
    fn listed_accounts_map_to_their_backend_account() {
        let user = User {
            name: "web".into(),
            password: Secret::new(*b"client"),
            backend_user: "app".into(),
            backend_password: Secret::new(*b"server"),
            require: Require::Nothing,
        };
        let accounts = Accounts::new(&Auth::Users(vec![user]));
        let listed = accounts.listed(b"web").unwrap();
        assert_eq!(
            (listed.password.expose(), listed.account.secret.expose()),
            (&b"client"[..], &b"server"[..])
        );
        assert_eq!(listed.account.backend_user, b"app");
        accounts.invalidate(&listed.account);
        assert!(accounts.listed(b"web").is_some() && accounts.listed(b"WEB").is_none());
    }
}
