//! What operators have changed at the console, over what the rules file says of the servers.
//!
//! Owns: the two put together. Does not know: how a change is applied. Invariant: what an operator has changed holds until an
//! operator takes it back or the process ends, whatever is reloaded.

use std::collections::BTreeMap;

use crate::admin::console::{Order, Verb};
use crate::config::{Cluster, Config, Server};

/// Changes by address, `host:port`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Overrides(BTreeMap<String, Override>);

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Override {
    presence: Presence,
    weight: Option<u32>,
    draining: Option<bool>,
}

/// Whether the server is there.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
enum Presence {
    #[default]
    AsListed,
    /// To the cluster of this name.
    Added(String, Server),
    Dropped,
}

impl Overrides {
    /// The servers of a cluster as they are to be, where the file lists `listed`.
    pub fn over(&self, cluster: &str, listed: &[Server]) -> Vec<Server> {
        let is_listed = |address: &str| listed.iter().any(|server| server.address() == address);
        let added =
            self.0.iter().filter(|(address, _)| !is_listed(address)).filter_map(|(_, own)| {
                match &own.presence {
                    Presence::Added(to, server) if to == cluster => Some(server),
                    _ => None,
                }
            });
        let all = listed.iter().chain(added).filter_map(|server| match self.0.get(&server.address()) {
            None => Some(server.clone()),
            Some(Override { presence: Presence::Dropped, .. }) => None,
            Some(own) => Some(Server {
                weight: own.weight.unwrap_or(server.weight),
                draining: own.draining.unwrap_or(server.draining),
                ..server.clone()
            }),
        });
        all.collect()
    }

    /// Takes in an order about a server, where the file is `file`.
    ///
    /// # Errors
    /// Why it makes no sense; nothing has changed then.
    pub fn take(&mut self, Order { server, verb, cluster }: Order, file: &Config) -> Result<(), String> {
        let address = server.address();
        let is_there = |servers: &[Server]| servers.iter().any(|known| known.address() == address);
        let there = |known: &&Cluster| is_there(&self.over(&known.name, &known.servers));
        let there = file.clusters.iter().find(there).map(|cluster| cluster.name.clone());
        let is_listed = file.clusters.iter().any(|cluster| is_there(&cluster.servers));
        match verb {
            Verb::Add if let Some(cluster) = there => {
                return Err(format!("{address} is a server of the cluster `{cluster}` already"));
            }
            Verb::Add if is_listed_as_dropped(&self.0, &address) && is_listed => {
                self.0.remove(&address);
            }
            Verb::Add => {
                let cluster = cluster.unwrap_or_else(|| file.home().name.clone());
                if !file.clusters.iter().any(|known| known.name == cluster) {
                    return Err(format!("there is no cluster `{cluster}`"));
                }
                let presence = Presence::Added(cluster, server);
                self.0.insert(address, Override { presence, ..Override::default() });
            }
            Verb::Reset => {
                if self.0.remove(&address).is_none() && there.is_none() {
                    return Err(unknown(&address));
                }
            }
            _ if there.is_none() => return Err(unknown(&address)),
            Verb::Drop if is_listed => {
                self.0.insert(address, Override { presence: Presence::Dropped, ..Override::default() });
            }
            Verb::Drop => {
                self.0.remove(&address);
            }
            Verb::Drain => self.0.entry(address).or_default().draining = Some(true),
            Verb::Resume => self.0.entry(address).or_default().draining = Some(false),
            Verb::Weight(weight) => self.0.entry(address).or_default().weight = Some(weight),
        }
        Ok(())
    }

    /// Each address of which an operator has changed something, and what, in words.
    pub fn told(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|(address, own)| {
            let presence = match own.presence {
                Presence::AsListed => None,
                Presence::Added(ref cluster, _) => Some(format!("added to `{cluster}`")),
                Presence::Dropped => Some("dropped".to_owned()),
            };
            let draining =
                own.draining.map(|draining| if draining { "draining" } else { "not draining" }.to_owned());
            let weight = own.weight.map(|weight| format!("weight {weight}"));
            (&**address, [presence, draining, weight].into_iter().flatten().collect::<Vec<_>>().join(", "))
        })
    }
}

fn is_listed_as_dropped(all: &BTreeMap<String, Override>, address: &str) -> bool {
    all.get(address).is_some_and(|own| own.presence == Presence::Dropped)
}

fn unknown(address: &str) -> String {
    format!("{address} is not a server of any cluster")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str) -> Server {
        format!("{host}:3306").parse().unwrap()
    }

    fn give(overrides: &mut Overrides, host: &str, verb: Verb) -> Result<(), String> {
        let file = Config::for_servers(&["a".to_owned(), "b".to_owned()]).unwrap();
        overrides.take(Order { server: server(host), verb, cluster: None }, &file)
    }

    fn told(servers: &[Server]) -> Vec<String> {
        let told = |server: &Server| format!("{} {} {}", server.host, server.weight, server.draining);
        servers.iter().map(told).collect()
    }

    #[test]
    fn what_the_console_changed_stands_over_the_file() {
        let mut own = Overrides::default();
        give(&mut own, "a", Verb::Drain).unwrap();
        give(&mut own, "b", Verb::Weight(0)).unwrap();
        give(&mut own, "c", Verb::Add).unwrap();
        give(&mut own, "c", Verb::Weight(7)).unwrap();
        let listed = [server("a"), Server { weight: 9, ..server("b") }];
        assert_eq!(told(&own.over("main", &listed)), ["a 1 true", "b 0 false", "c 7 false"]);
        // A later file that lists it, too.
        assert_eq!(told(&own.over("main", &[server("c")])), ["c 7 false"]);
        give(&mut own, "b", Verb::Reset).unwrap();
        give(&mut own, "a", Verb::Resume).unwrap();
        give(&mut own, "c", Verb::Drop).unwrap();
        assert_eq!(told(&own.over("main", &listed)), ["a 1 false", "b 9 false"]);
    }

    #[test]
    fn what_is_dropped_comes_back_by_hand_only() {
        let mut own = Overrides::default();
        give(&mut own, "a", Verb::Drop).unwrap();
        assert_eq!(told(&own.over("main", &[server("a"), server("b")])), ["b 1 false"]);
        assert!(own.told().any(|told| told == ("a:3306", "dropped".to_owned())));
        give(&mut own, "a", Verb::Add).unwrap();
        assert_eq!(told(&own.over("main", &[server("a"), server("b")])), ["a 1 false", "b 1 false"]);
        assert_eq!(own, Overrides::default());
    }

    #[test]
    fn orders_that_make_no_sense_are_refused() {
        let mut own = Overrides::default();
        for (host, verb) in [("x", Verb::Drain), ("x", Verb::Drop), ("x", Verb::Reset), ("a", Verb::Add)] {
            assert!(give(&mut own, host, verb).is_err(), "{host} {verb:?}");
        }
        assert_eq!(own, Overrides::default());
    }
}
