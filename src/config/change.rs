//! What differs between two configurations, and whether a running proxy can take it over.
//!
//! Owns: which options can change while the proxy runs. Does not know: how they are taken over. Invariant: an option that is
//! not listed as live needs a restart; a new one is so by itself, and no secret is shown.

use std::collections::BTreeMap;

use super::model::{Auth, Cluster, Config, Server, User};
use super::sharding;
use crate::balance::Balance;
use crate::shard::Database;

/// Options that a running proxy takes over, and sections (with a dot at their end) of such options; those of a cluster
/// without its name.
pub const LIVE: [&str; 9] = [
    "users",
    "monitor.",
    "drain.timeout",
    "clusters.NAME.servers",
    "clusters.NAME.resolve_interval",
    "clusters.NAME.reads.",
    "clusters.NAME.pool.",
    "clusters.NAME.transactions.",
    "databases.",
];

/// One difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The option's name; of a server or an account that of its list.
    pub option: String,
    /// Its value so far; empty for what was not there.
    pub before: String,
    /// Its value from now on; empty for what is no longer there.
    pub after: String,
    /// It can be taken over while the proxy runs.
    pub live: bool,
}

impl Config {
    /// What is different in `next`, in the order of `docs/configuration.md`.
    pub fn changes(&self, next: &Self) -> Vec<Change> {
        let names = |config: &Self| -> Vec<_> {
            config.clusters.iter().map(|cluster| cluster.name.clone()).collect()
        };
        if names(self) != names(next) {
            return vec![Change::new("clusters", names(self).join(", "), names(next).join(", "))];
        }
        let single = |config: &Self| -> Vec<_> {
            let single = |option: &String| !option.contains('[') && !option.starts_with("databases.");
            config.shown().into_iter().filter(|(option, _)| single(option)).collect()
        };
        // What is in one of the two only (an option of the console, where there is none) is a change, too.
        let (before, after) = (single(self), single(next));
        let value = |of: &[(String, String)], name: &str| {
            of.iter().find(|(option, _)| option == name).map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let gone = before.iter().filter(|(option, _)| !after.iter().any(|(other, _)| option == other));
        let mut changes: Vec<_> = after
            .iter()
            .chain(gone)
            .map(|(option, _)| Change::new(option, value(&before, option), value(&after, option)))
            .collect();
        for (cluster, other) in self.clusters.iter().zip(&next.clusters) {
            let servers = |cluster: &Cluster| {
                cluster.servers.iter().map(|server| (server.address(), told(server))).collect()
            };
            let option = |name: &str| format!("clusters.{}.{name}", cluster.name);
            changes.extend(by_name(&option("servers"), &servers(cluster), &servers(other)));
            let secrets = |cluster: &Cluster| {
                let promotion = cluster.promotion.clone();
                promotion.map(|promotion| (promotion.password, promotion.replication_password))
            };
            if secrets(cluster) != secrets(other) {
                let option = option("failover.password");
                changes.push(Change::new(&option, "(not shown)".into(), "(changed)".into()));
            }
        }
        let databases = |config: &Self| {
            let told = |(name, balance): (&String, &Balance)| {
                (name.clone(), (format!("{name}, balance {}", balance.name()), ()))
            };
            config.home().reads.balance_of.iter().map(told).collect()
        };
        changes.extend(by_name("databases.", &databases(self), &databases(next)));
        let rules = |config: &Self| {
            let told = |(name, rules): (&String, &Database)| {
                (name.clone(), (sharding::database_told(rules), rules.clone()))
            };
            config.rules.databases.iter().map(told).collect()
        };
        changes.extend(by_name("databases.", &rules(self), &rules(next)));
        for (name, before) in &self.rules.databases {
            // Where rows are does not change because a file does.
            if next.rules.databases.get(name).is_none_or(|after| !after.keeps_places_of(before)) {
                let (was, is) = ("placed".to_owned(), "placed otherwise".to_owned());
                changes.push(Change { live: false, ..Change::new(&format!("databases.{name}"), was, is) });
            }
        }
        let operators = |config: &Self| users(config.console.iter().flat_map(|console| &console.users));
        changes.extend(by_name("admin.users", &operators(self), &operators(next)));
        changes.extend(by_name("users", &users(self.users()), &users(next.users())));
        if self.monitor.password != next.monitor.password {
            changes.push(Change::new("monitor.password", "(not shown)".into(), "(changed)".into()));
        }
        changes.retain(|change| change.before != change.after);
        changes
    }

    fn users(&self) -> impl Iterator<Item = &User> {
        let users: &[User] = if let Auth::Users(users) = &self.auth { users } else { &[] };
        users.iter()
    }
}

impl Change {
    fn new(option: &str, before: String, after: String) -> Self {
        // A cluster's name has no dot.
        let name = match option.strip_prefix("clusters.").and_then(|rest| rest.split_once('.')) {
            Some((_, rest)) => format!("clusters.NAME.{rest}"),
            None => option.to_owned(),
        };
        let live = LIVE.iter().any(|live| match live.strip_suffix('.') {
            Some(_) => name.starts_with(live),
            None => name == *live,
        });
        Self { option: option.to_owned(), before, after, live }
    }
}

/// A list's elements: name, what is shown, and what else must be the same.
type Elements<T> = BTreeMap<String, (String, T)>;

/// What has come, gone or changed in a list.
fn by_name<T: PartialEq>(option: &str, before: &Elements<T>, after: &Elements<T>) -> Vec<Change> {
    let text = |of: &Elements<T>, name: &String| of.get(name).map_or(String::new(), |(text, _)| text.clone());
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let differs = |name: &&String| before.get(*name) != after.get(*name);
    let change = |name: &String| {
        let (was, mut is) = (text(before, name), text(after, name));
        if was == is {
            is.push_str(" (changed in what is not shown)");
        }
        Change::new(option, was, is)
    };
    names.filter(differs).map(change).collect()
}

/// A server as the file could have it.
fn told(server: &Server) -> (String, ()) {
    let draining = if server.draining { ", draining" } else { "" };
    (format!("{}, weight {}{draining}", server.address(), server.weight), ())
}

fn users<'a>(users: impl Iterator<Item = &'a User>) -> Elements<User> {
    users.map(|user| (user.name.clone(), (user.name.clone(), user.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::model::Secret;
    use super::*;
    use crate::ids::ClusterId;
    use crate::shard::{Home, NoMatch, Transactions, WithoutKey};

    fn config() -> Config {
        Config::for_servers(&["10.0.0.1".to_owned(), "10.0.0.2".to_owned()]).unwrap()
    }

    fn changed(change: impl FnOnce(&mut Config)) -> Vec<(String, String, String, bool)> {
        let mut next = config();
        change(&mut next);
        let changes = config().changes(&next).into_iter();
        changes.map(|change| (change.option, change.before, change.after, change.live)).collect()
    }

    #[test]
    fn servers_are_compared_by_their_addresses() {
        assert_eq!(changed(|config| config.clusters[0].servers.swap(0, 1)), []);
        let list = || "clusters.main.servers".to_owned();
        let found = changed(|config| {
            config.clusters[0].servers.remove(0);
            config.clusters[0].servers[0].weight = 7;
            let new = Server { host: "10.0.0.3".into(), port: 3306, weight: 1, draining: true };
            config.clusters[0].servers.push(new);
        });
        assert_eq!(
            found,
            [
                (list(), "10.0.0.1:3306, weight 1".into(), String::new(), true),
                (list(), "10.0.0.2:3306, weight 1".into(), "10.0.0.2:3306, weight 7".into(), true),
                (list(), String::new(), "10.0.0.3:3306, weight 1, draining".into(), true),
            ]
        );
    }

    #[test]
    fn what_needs_a_restart_is_known_by_not_being_listed() {
        let live = |change: fn(&mut Config)| {
            let found = changed(change);
            assert_eq!(found.len(), 1, "{found:?}");
            (found[0].0.clone(), found[0].3)
        };
        assert_eq!(live(|c| c.threads = 77), ("threads".into(), false));
        assert_eq!(live(|c| c.limits.clients = 7), ("limits.clients".into(), false));
        assert_eq!(live(|c| c.clusters[0].forward_attributes = true).0, "clusters.main.forward_attributes");
        assert_eq!(live(|c| c.clusters[0].name = "other".into()), ("clusters".into(), false));
        assert_eq!(
            live(|c| c.clusters[0].reads.balance = Balance::Random),
            ("clusters.main.reads.balance".into(), true)
        );
        let of_shop = |c: &mut Config| {
            c.clusters[0].reads.balance_of.insert("shop[1]".into(), Balance::Random);
        };
        assert_eq!(live(of_shop), ("databases.".into(), true));
        let rules_of_shop = |c: &mut Config| {
            let home = Home { cluster: ClusterId(0), schema: "s".into() };
            let (without_key, no_match, transactions) =
                (WithoutKey::default(), NoMatch::Refuse, Transactions::default());
            let (name, keyspaces, tables) = ("shop".into(), Vec::new(), BTreeMap::new());
            let shop = Database { name, home, keyspaces, tables, without_key, no_match, transactions };
            c.rules.databases.insert("shop".into(), shop);
        };
        assert_eq!(live(rules_of_shop), ("databases.".into(), true));
        assert_eq!(live(|c| c.clusters[0].pool.max = 7), ("clusters.main.pool.max".into(), true));
        assert_eq!(live(|c| c.monitor.failures = 7), ("monitor.failures".into(), true));
    }

    #[test]
    fn passwords_are_compared_and_not_shown() {
        let found = changed(|config| config.monitor.password = Secret::new("hush"));
        assert_eq!((found.len(), found[0].3), (1, true));
        assert!(!format!("{found:?}").contains("hush"));
    }
}
