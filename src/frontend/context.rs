//! What every login needs: who may come in, how to ask the servers, and what to announce for them.
//!
//! Owns: the greeting's content. Does not know: single clients. Invariant: nothing is announced that the servers
//! behind do not offer, but TLS and compression, which are ours.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::accounts::Accounts;
use super::judge::Judge;
use super::rsa::LoginKey;
use super::tls::FrontendTls;
use crate::config::{ClientTls, Compression, ProxyProtocol};
use crate::ids::ClientId;
use crate::session::worker::Caller;
use crate::wire::auth::{Plugin, Salt};
use crate::wire::capabilities::Capabilities;
use crate::wire::handshake::{Attributes, Greeting};
use crate::wire::packer::Algorithm;

/// SERVER_STATUS_AUTOCOMMIT, as servers greet.
const GREETING_STATUS: u16 = 2;

/// What the servers behind say of themselves in their own greeting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerFacts {
    /// The version as greeted; `greeting_version` makes it from `SELECT VERSION()`.
    pub version: Vec<u8>,
    /// What the servers offer, all of them.
    pub capabilities: Capabilities,
    /// Low byte of the id of the default collation.
    pub collation: u8,
    /// Whether they are MariaDB's.
    pub mariadb: bool,
}

/// The version that a server greets with, from its `SELECT VERSION()`: MariaDB 10 puts `5.5.5-` before it, for
/// replicas of old, and clients take it off again.
pub fn greeting_version(select_version: &str) -> Vec<u8> {
    let mariadb_10 = select_version.starts_with("10.") && select_version.contains("MariaDB");
    if mariadb_10 { format!("5.5.5-{select_version}").into() } else { select_version.into() }
}

/// What every login needs; one for the process, shared by all threads.
pub struct LoginContext {
    pub(super) accounts: Arc<Accounts>,
    pub(super) judge: Arc<dyn Judge>,
    pub(super) tls: Option<FrontendTls>,
    pub(super) require_tls: bool,
    pub(super) require_certificate: bool,
    /// The flags of the compression that clients may ask for.
    compression: Capabilities,
    pub(super) key: Arc<LoginKey>,
    /// For a whole login, the client's part and the servers'.
    pub(super) time_limit: Duration,
    /// Who may say on behalf of whom a client connects.
    pub(super) proxy_protocol: ProxyProtocol,
    /// Whether server connections show the attributes of the client that they were opened for.
    forward_attributes: bool,
    facts: ArcSwap<ServerFacts>,
}

impl LoginContext {
    /// Puts together what was prepared at start. `judge` is asked in passthrough only.
    #[expect(clippy::too_many_arguments, reason = "made once; each is another thing")]
    pub fn new(
        accounts: Arc<Accounts>,
        judge: Arc<dyn Judge>,
        tls: Option<FrontendTls>,
        client_tls: &ClientTls,
        key: Arc<LoginKey>,
        time_limit: Duration,
        proxy_protocol: ProxyProtocol,
        forward_attributes: bool,
        facts: ServerFacts,
    ) -> Self {
        let facts = ArcSwap::from_pointee(facts);
        let ClientTls { require, require_certificate, .. } = *client_tls;
        Self {
            accounts,
            judge,
            tls,
            require_tls: require,
            require_certificate,
            compression: Capabilities::empty(),
            key,
            time_limit,
            proxy_protocol,
            forward_attributes,
            facts,
        }
    }

    /// Clients may compress their connections with these; without this with none.
    pub fn compressing(mut self, allowed: &[Compression]) -> Self {
        self.compression = allowed.iter().map(|allowed| Algorithm::from(*allowed).flag()).collect();
        self
    }

    /// Greets with these facts from now on.
    pub fn announce(&self, facts: ServerFacts) {
        self.facts.store(Arc::new(facts));
    }

    /// The accounts, for those who learn whether the servers still accept them.
    pub fn accounts(&self) -> &Arc<Accounts> {
        &self.accounts
    }

    /// The plugin that clients are greeted with. Only caching_sha2_password can ask for the password itself, which
    /// passthrough needs; where the file has the passwords, each dialect's own default suits its clients best.
    pub(super) fn plugin(&self) -> Plugin {
        if self.facts.load().mariadb && !self.accounts.is_passthrough() {
            Plugin::NativePassword
        } else {
            Plugin::CachingSha2Password
        }
    }

    /// The flags that clients may use.
    pub(super) fn offered(&self) -> Capabilities {
        let offered =
            Capabilities::OFFERED.intersection(self.facts.load().capabilities).union(self.compression);
        if self.tls.is_some() { offered.union(Capabilities::SSL) } else { offered }
    }

    /// What server connections that are opened for this client show of it, beside what they show of us.
    pub(super) fn forwarded(&self, mut attributes: Attributes, caller: Caller) -> Option<Box<Attributes>> {
        let client =
            [("_proxy_client_id", caller.id.to_string()), ("_proxy_client_host", caller.peer.host())];
        let client = client.map(|(name, value)| (name.into(), value.into()));
        attributes.retain(|(name, _)| !name.starts_with(b"_proxy_")); // ours to say
        attributes.splice(..0, client);
        self.forward_attributes.then(|| Box::new(attributes))
    }

    /// The greeting for one client.
    pub(super) fn greeting(
        &self,
        id: ClientId,
        offered: Capabilities,
        plugin: Plugin,
        salt: &Salt,
    ) -> Greeting {
        let facts = self.facts.load();
        Greeting {
            version: facts.version.clone(),
            connection_id: id.0,
            salt: salt.to_vec(),
            capabilities: offered,
            collation: facts.collation,
            status: GREETING_STATUS,
            plugin: plugin.name().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mariadb_10_hides_its_version() {
        assert_eq!(greeting_version("10.11.19-MariaDB-log"), b"5.5.5-10.11.19-MariaDB-log");
        assert_eq!(greeting_version("11.4.2-MariaDB"), b"11.4.2-MariaDB");
        assert_eq!(greeting_version("9.7.4"), b"9.7.4");
    }
}
