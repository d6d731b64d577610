//! `tests`: statements, and where the rules are meant to send them.
//!
//! Owns: how a test is written. Does not know: how a statement is planned; `check` and every reload run them.
//! Invariant: a test expects something.

use super::super::error::quoted;
use super::super::fields::{Context, Fields, Item};
use super::list;

/// Bytes of a test's statement.
const SQL_MAX: usize = 64 << 10;
/// Shards that a test can name.
const SHARDS: std::ops::RangeInclusive<u64> = 0..=1024;

/// A statement, and what is expected of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RuleTest {
    /// The option's path, such as `tests[0]`, and its line in the file, for the report.
    pub place: (String, usize),
    /// The statement.
    pub sql: String,
    /// The session's default database.
    pub database: String,
    /// What must become of it.
    pub expected: Expected,
}

/// What must become of a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// It is refused.
    Refused,
    /// It is sent.
    Sent {
        /// To so many shards; 0 for the home.
        shards: Option<usize>,
        /// To servers of this role.
        role: Option<Role>,
    },
}

/// A server's role, as a test names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The primary.
    Primary,
    /// A replica.
    Replica,
}

/// The tests of the file, whose sharded databases are `databases`.
pub(in super::super) fn rule_tests(
    top: &mut Fields<'_>,
    databases: &[&str],
    cx: &mut Context<'_, '_>,
) -> Vec<RuleTest> {
    let Some(item) = top.take("tests").filter(|item| !item.node.is_null()) else { return Vec::new() };
    item.elements().iter().filter_map(|element| test(element, databases, cx)).collect()
}

fn test(item: &Item<'_>, databases: &[&str], cx: &mut Context<'_, '_>) -> Option<RuleTest> {
    let mut fields = Fields::of(item, cx);
    let sql = fields.require(cx, "sql", "write the statement: `{sql: \"SELECT …\", shards: 1}`");
    let database = fields.take("database");
    let shards = fields.take("shards");
    let roles = [("primary", Role::Primary), ("replica", Role::Replica)];
    let role = fields.take("role");
    let refused = fields.flag(cx, "refused", false);
    if let (true, Some(other)) = (refused, shards.as_ref().or(role.as_ref())) {
        other.error(
            cx,
            "a statement that is refused is sent nowhere",
            Some("remove one of the two".to_owned()),
        );
    }
    if !refused && shards.is_none() && role.is_none() {
        fields.conflict(
            cx,
            &["refused", "sql"],
            "the test expects nothing",
            "add `shards: 1`, `role: replica`, or `refused: true`",
        );
    }
    let shards = shards.and_then(|item| item.count(cx, SHARDS)).and_then(|count| usize::try_from(count).ok());
    let role = role.and_then(|item| item.choice(cx, &roles));
    let database = match (&database, databases) {
        (Some(item), _) => Some(item.text(cx)?.to_owned()),
        (None, [only]) => Some((*only).to_owned()),
        (None, _) => {
            let help = match databases {
                [] => "name the database that the session is in".to_owned(),
                _ => format!("write the one that the session is in, such as one of {}", list(databases)),
            };
            fields.missing(cx, "database", &help);
            None
        }
    };
    fields.finish(cx);
    let sql_item = sql?;
    let sql = sql_item.text(cx)?;
    if sql.trim().is_empty() || sql.len() > SQL_MAX {
        let help = Some(format!("write 1 to {SQL_MAX} bytes"));
        sql_item.error(cx, format!("{} is not a statement", quoted(sql)), help);
    }
    let expected = if refused { Expected::Refused } else { Expected::Sent { shards, role } };
    Some(RuleTest {
        place: (item.rule.clone(), item.node.place.line),
        sql: sql.to_owned(),
        database: database?,
        expected,
    })
}
