//! Semi-synchronous replication: what a server has of it, and what must be set when its role changes.
//!
//! Both servers want of a primary the opposite of what they want of a replica: a primary must wait for an acknowledgement, also when it
//! has lost all who could give one; a replica's applier that waits, waits for replicas which it does not have. So no configuration that
//! all share is right, and who changes a server's role must set it.
//!
//! Pure. Does not know: connections, the order of an act. Invariant: nothing is set at a server whose replica's side is off: there is
//! no semi-synchronous replication where it goes on as a replica.

use super::super::probe::is_on;

/// Asks for the variables; there are none without the plugins.
pub(super) const VARIABLES: &str = "SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%'";

/// The source's side: whether it waits, and whether it does so without a replica that is connected. MariaDB has the second pair, as MySQL
/// has with its earlier plugins.
const SOURCE: [(&str, &str); 2] = [
    ("rpl_semi_sync_source_enabled", "rpl_semi_sync_source_wait_no_replica"),
    ("rpl_semi_sync_master_enabled", "rpl_semi_sync_master_wait_no_slave"),
];
/// The replica's side: whether it acknowledges.
const REPLICA: [&str; 2] = ["rpl_semi_sync_replica_enabled", "rpl_semi_sync_slave_enabled"];

/// What a server has of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct SemiSync {
    source: Option<Source>,
    acknowledges: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Source {
    enabled: &'static str,
    wait_alone: &'static str,
    is_on: bool,
    waits_alone: bool,
}

impl SemiSync {
    /// From the answer to [`VARIABLES`].
    pub fn parse(variables: &[(String, String)]) -> Self {
        let value = |wanted: &str| {
            let found = variables.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| is_on(value))
        };
        let source = SOURCE.into_iter().find_map(|(enabled, wait_alone)| {
            let (is_on, waits_alone) = (value(enabled)?, value(wait_alone)?);
            Some(Source { enabled, wait_alone, is_on, waits_alone })
        });
        Self { source, acknowledges: REPLICA.into_iter().any(|name| value(name) == Some(true)) }
    }

    /// Whether its role decides what is set.
    pub fn is_used(&self) -> bool {
        self.acknowledges && self.source.is_some()
    }

    /// Whether, as a primary, it may answer a commit that nobody else has.
    pub fn acknowledges_alone(&self) -> bool {
        self.acknowledges && self.source.is_some_and(|source| !(source.is_on && source.waits_alone))
    }

    /// Whether it waits for acknowledgements, which a replica must not.
    pub fn waits(&self) -> bool {
        self.disarm().is_some()
    }

    /// What is set before it is made writable, where that is not so yet: it answers no commit alone.
    pub fn arm(&self) -> Option<String> {
        let source = self.source.filter(|_| self.acknowledges_alone())?;
        // In this order: one that is on, and has fallen back, waits again by the first.
        Some(format!("SET GLOBAL {} = ON, GLOBAL {} = ON", source.wait_alone, source.enabled))
    }

    /// What is set once it takes no writes: what it receives is applied without waiting for anybody.
    pub fn disarm(&self) -> Option<String> {
        self.release().filter(|_| self.acknowledges)
    }

    /// What ends all waiting, whatever the server is.
    pub fn release(&self) -> Option<String> {
        let source = self.source.filter(|source| source.is_on)?;
        Some(format!("SET GLOBAL {} = OFF", source.enabled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> SemiSync {
        let pairs: Vec<_> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        SemiSync::parse(&pairs)
    }

    fn mysql(source: &str, wait: &str, replica: &str) -> SemiSync {
        variables(&[
            ("rpl_semi_sync_source_enabled", source),
            ("rpl_semi_sync_source_wait_no_replica", wait),
            ("rpl_semi_sync_replica_enabled", replica),
        ])
    }

    #[test]
    fn a_primary_waits_also_alone_and_a_replica_does_not_wait() {
        let replica = mysql("OFF", "OFF", "ON");
        let armed =
            "SET GLOBAL rpl_semi_sync_source_wait_no_replica = ON, GLOBAL rpl_semi_sync_source_enabled = ON";
        assert_eq!(replica.arm().as_deref(), Some(armed));
        assert_eq!(replica.disarm(), None);
        assert!(replica.is_used() && replica.acknowledges_alone());
        assert!(mysql("ON", "OFF", "ON").arm().is_some());
        let primary = mysql("ON", "ON", "ON");
        assert_eq!(primary.arm(), None);
        assert_eq!(primary.disarm().as_deref(), Some("SET GLOBAL rpl_semi_sync_source_enabled = OFF"));
    }

    #[test]
    fn nothing_is_set_where_it_is_not_used() {
        assert_eq!(variables(&[]), SemiSync::default());
        assert_eq!(
            (variables(&[]).arm(), variables(&[]).disarm(), variables(&[]).release()),
            (None, None, None)
        );
        let without_plugin = variables(&[("rpl_semi_sync_replica_enabled", "ON")]);
        assert_eq!((without_plugin.arm(), without_plugin.is_used()), (None, false));
        let source_only = mysql("ON", "OFF", "OFF");
        assert_eq!((source_only.arm(), source_only.disarm()), (None, None));
        // But it is set free where its commits keep it from being shut out.
        assert!(source_only.release().is_some());
    }

    #[test]
    fn earlier_names_are_known() {
        let mariadb = variables(&[
            ("rpl_semi_sync_master_enabled", "OFF"),
            ("rpl_semi_sync_master_wait_no_slave", "ON"),
            ("rpl_semi_sync_slave_enabled", "ON"),
        ]);
        let armed =
            "SET GLOBAL rpl_semi_sync_master_wait_no_slave = ON, GLOBAL rpl_semi_sync_master_enabled = ON";
        assert_eq!(mariadb.arm().as_deref(), Some(armed));
    }
}
