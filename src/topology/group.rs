//! What a server says of the group that it is in: MySQL's Group Replication, or Galera.
//!
//! Owns: the question and what its answer means. Does not know: other servers' answers, who is the primary. Invariant: who is not known
//! to belong to the part of its group that goes on is not used.

use std::fmt;

use super::gtid::Transactions;

/// Asks MySQL for the members as this server sees them. Without the plugin there is no name, and so no row.
pub(super) const ASK_MYSQL: &str = "SELECT g.variable_value, m.member_id, m.member_state \
     FROM performance_schema.global_variables g JOIN performance_schema.replication_group_members m \
     WHERE g.variable_name = 'group_replication_group_name' AND g.variable_value <> ''";
/// Asks MariaDB; without Galera it answers with a state that is no group's.
pub(super) const ASK_MARIADB: &str = "SHOW GLOBAL STATUS WHERE variable_name IN ('wsrep_cluster_state_uuid', \
     'wsrep_cluster_status', 'wsrep_last_committed', 'wsrep_local_state', 'wsrep_ready')";

/// Galera's `wsrep_local_state` of a member that has all and keeps up.
const SYNCED: &str = "4";

/// A server's place in its group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Membership {
    /// The group's name. Members of one group hold the same data.
    pub name: Box<str>,
    /// Why it cannot be used now.
    pub unfit: Option<Unfit>,
}

/// Why a member of a group cannot be used; its text may be shown to a client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unfit {
    /// It receives what it lacks, or gives another one what that lacks.
    Catching,
    /// It sees fewer than half of the members.
    Parted,
    /// It has left the group, or has not joined it.
    Outside,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Catching => {
                "a member of a group that is not in step with it (recovering, joining, or a donor)"
            }
            Self::Parted => "parted from the majority of its group",
            Self::Outside => "not in its group: it has left it, or has not joined it",
        })
    }
}

impl Membership {
    /// Reads the rows of [`ASK_MYSQL`] (group, member, state) at the server `uuid`. `None` where there is no group.
    pub fn of_mysql(rows: &[Vec<String>], uuid: &str) -> Option<Self> {
        let name = rows.first()?.first()?.as_str().into();
        let state = |row: &Vec<String>| row.get(2).cloned().unwrap_or_default();
        let own = rows.iter().find(|row| row.get(1).is_some_and(|id| id.eq_ignore_ascii_case(uuid)));
        let unfit = match own.map(state).as_deref() {
            Some("ONLINE") => {
                let reached = rows.iter().filter(|row| state(row) != "UNREACHABLE").count();
                (reached * 2 <= rows.len()).then_some(Unfit::Parted)
            }
            Some("RECOVERING") => Some(Unfit::Catching),
            _ => Some(Unfit::Outside),
        };
        Some(Self { name, unfit })
    }

    /// Reads the rows of [`ASK_MARIADB`] (name, value), and what the member has committed of the group's transactions. `None` where
    /// Galera is not there: then it has no state.
    pub fn of_galera(rows: &[Vec<String>]) -> Option<(Self, Option<Transactions>)> {
        let value = |name: &str| {
            rows.iter().find_map(|row| match &row[..] {
                [key, value] if key.eq_ignore_ascii_case(name) => Some(value.as_str()),
                _ => None,
            })
        };
        let name = value("wsrep_cluster_state_uuid")?;
        let unfit = match (value("wsrep_cluster_status"), value("wsrep_local_state")?, value("wsrep_ready")) {
            (Some("Primary"), SYNCED, Some("ON")) => None,
            (Some("Primary"), _, Some("ON")) => Some(Unfit::Catching),
            (Some("non-Primary"), ..) => Some(Unfit::Parted),
            _ => Some(Unfit::Outside),
        };
        let committed = value("wsrep_last_committed").and_then(|number| number.parse::<u64>().ok());
        let all = committed.filter(|last| *last > 0).map(|last| format!("{name}:1-{last}"));
        Some((Self { name: name.into(), unfit }, all.and_then(|all| Transactions::parse(all.as_bytes()))))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A member in good standing.
    pub fn member(name: &str) -> Option<Membership> {
        Some(Membership { name: name.into(), unfit: None })
    }

    fn rows(of: &[&[&str]]) -> Vec<Vec<String>> {
        of.iter().map(|row| row.iter().map(|text| (*text).to_owned()).collect()).collect()
    }

    #[test]
    fn a_member_serves_while_it_is_online_and_sees_the_majority() {
        let seen = |states: [&str; 3]| {
            let rows = rows(&[&["g", "A", states[0]], &["g", "b", states[1]], &["g", "c", states[2]]]);
            Membership::of_mysql(&rows, "a").unwrap().unfit
        };
        assert_eq!(seen(["ONLINE", "ONLINE", "RECOVERING"]), None);
        assert_eq!(seen(["ONLINE", "ONLINE", "UNREACHABLE"]), None);
        assert_eq!(seen(["ONLINE", "UNREACHABLE", "UNREACHABLE"]), Some(Unfit::Parted));
        assert_eq!(seen(["RECOVERING", "ONLINE", "ONLINE"]), Some(Unfit::Catching));
        assert_eq!(seen(["ERROR", "ONLINE", "ONLINE"]), Some(Unfit::Outside));
        assert_eq!(
            Membership::of_mysql(&rows(&[&["g", "", "OFFLINE"]]), "a").unwrap().unfit,
            Some(Unfit::Outside)
        );
        assert_eq!(Membership::of_mysql(&[], "a"), None, "no plugin");
    }

    #[test]
    fn a_galera_node_serves_while_it_is_synced_and_in_the_primary_component() {
        let seen = |uuid: &str, status: &str, state: &str, ready: &str| {
            let rows = rows(&[
                &["wsrep_cluster_state_uuid", uuid],
                &["wsrep_cluster_status", status],
                &["wsrep_last_committed", "7"],
                &["wsrep_local_state", state],
                &["wsrep_ready", ready],
            ]);
            Membership::of_galera(&rows)
        };
        const GROUP: &str = "6f1b2f0a-0000-11ee-8000-000000000001";
        let (membership, all) = seen(GROUP, "Primary", "4", "ON").unwrap();
        assert_eq!(membership, member(GROUP).unwrap());
        assert!(all.unwrap().contains(&Transactions::parse(format!("{GROUP}:1-7").as_bytes()).unwrap()));
        let unfit = |status, state, ready| seen(GROUP, status, state, ready).unwrap().0.unfit;
        assert_eq!(unfit("Primary", "2", "ON"), Some(Unfit::Catching), "a donor");
        assert_eq!(unfit("Primary", "4", "OFF"), Some(Unfit::Outside));
        assert_eq!(unfit("non-Primary", "0", "OFF"), Some(Unfit::Parted));
        assert_eq!(unfit("Disconnected", "0", "OFF"), Some(Unfit::Outside));
        let without = rows(&[&["wsrep_cluster_state_uuid", ""], &["wsrep_cluster_status", "Disconnected"]]);
        assert_eq!(Membership::of_galera(&without), None, "a server that does not use it");
        assert_eq!(Membership::of_galera(&[]), None, "one that was built without it");
    }
}
