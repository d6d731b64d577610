//! Where a statement would go, in words: `tidegate route`.

use std::sync::Arc;

use crate::config::{Config, Expected, Role, RuleTest};
use crate::plan::sharded::{self, Arguments, Chosen, Modes, Planned, Planner, Request};
use crate::plan::{self, Situation, Target};
use crate::shard::Charset;
use crate::sql::{self, Dialect, LexCharset, Lexing, ServerVersion};

/// Shards whose text is shown.
const TEXTS_MAX: usize = 64;

/// How the statements of `tidegate route` are read: as in a fresh session.
fn lexing(mariadb: bool) -> Lexing {
    let (dialect, number) = if mariadb { (Dialect::MariaDb, 101_100) } else { (Dialect::MySql, 90_700) };
    Lexing {
        ansi_quotes: false,
        no_backslash_escapes: false,
        charset: LexCharset::AsciiSafe,
        server: ServerVersion { dialect, number },
    }
}

/// The plan of one statement where tables are sharded: keyspace, key, shards, text, merge or refusal; nothing for statements at home.
pub fn sharded(statement: &[u8], mariadb: bool, database: Option<&str>, planner: &Planner) -> String {
    let lexing = lexing(mariadb);
    let request = Request {
        sql: statement,
        lexing: &lexing,
        modes: Modes::default(),
        database: database.map(str::as_bytes),
        charset: Charset::Utf8,
        recognised: sql::recognise(statement, &lexing),
    };
    let planned = planner.plan(&request);
    if planned == Planned::Home {
        return String::new();
    }
    let mut out = sharded::describe(statement, &lexing, &planned, planner.rules());
    let planned = match planned {
        Planned::Makes(makes) => match makes.otherwise {
            Some(planned) => *planned,
            None => return out,
        },
        planned => planned,
    };
    if let Planned::Routed(routed) = &planned
        && let Some(database) = planner.rules().database(&routed.database)
    {
        let mut literals = Vec::new();
        sql::shape(statement, &lexing, 0, &mut literals);
        let arguments = Arguments {
            sql: statement,
            lexing: &lexing,
            literals: &literals,
            parameters: &[],
            charset: Charset::Utf8,
        };
        out += &sharded::print(&sharded::execution(routed, &arguments, database, TEXTS_MAX));
    }
    out
}

/// What the file's tests expect of its rules and do not find, one line for each.
pub fn failing_tests(config: &Config) -> Vec<String> {
    let planner = Planner::new(Arc::new(config.rules.clone()));
    config.tests.iter().filter_map(|test| Some(told(test, &unmet(test, &planner)?))).collect()
}

fn told(test: &RuleTest, found: &str) -> String {
    let (option, line) = &test.place;
    format!("{option}, line {line}: {found}: {}", test.sql)
}

/// What becomes of a test's statement instead of what it expects.
fn unmet(test: &RuleTest, planner: &Planner) -> Option<String> {
    let (sql, lexing) = (test.sql.as_bytes(), lexing(false));
    let recognised = sql::recognise(sql, &lexing);
    let database = Some(test.database.as_bytes());
    let (modes, charset) = (Modes::default(), Charset::Utf8);
    let planned = planner.plan(&Request { sql, lexing: &lexing, modes, database, charset, recognised });
    let mut literals = Vec::new();
    sql::shape(sql, &lexing, 0, &mut literals);
    let arguments = Arguments { sql, lexing: &lexing, literals: &literals, parameters: &[], charset };
    let planned = match planned {
        Planned::Makes(mut makes) => match (makes.otherwise.take(), makes.bare.take()) {
            (Some(planned), _) => *planned,
            // With the values it is known; where the rules are tested there are none.
            (None, Some(routed)) => Planned::Routed(Box::new(routed)),
            (None, None) => Planned::Makes(makes),
        },
        planned => planned,
    };
    let found = match &planned {
        Planned::Home | Planned::HomeOf(_) | Planned::Dictionary(_) => Ok(0),
        // Into all copies.
        Planned::Makes(makes) => Ok(planner.rules().database(&makes.sequence.database)?.copies().len()),
        Planned::Refused(refusal) => Err(refusal.clone()),
        Planned::Unlisted(unlisted) => Err(unlisted.refusal()),
        Planned::Copies(copies) => Ok(planner.rules().database(&copies.database)?.copies().len()),
        Planned::Load(load) => {
            let database = planner.rules().database(&load.database)?;
            let keyspace = load.keyspace.and_then(|at| database.keyspaces.get(at));
            Ok(keyspace.map_or_else(|| database.copies().len(), |keyspace| keyspace.shards.len()))
        }
        Planned::Definition(definition) => {
            let (_, shards) = definition.sites(planner.rules().database(&definition.database)?);
            Ok(shards.len())
        }
        Planned::Upkeep(upkeep) => {
            let sites = upkeep.sites(planner.rules().database(&upkeep.database)?);
            Ok(sites.iter().filter(|site| site.shard.is_some()).count())
        }
        Planned::Routed(routed) => {
            let database = planner.rules().database(&routed.database)?;
            routed.choose(&arguments, database).map(|chosen| match chosen {
                Chosen::One(_) => 1,
                Chosen::Several(shards) => shards.len(),
            })
        }
    };
    match (test.expected, found) {
        (Expected::Refused, Ok(shards)) => Some(format!("it is not refused, but goes to {shards} shards")),
        (Expected::Refused, Err(_)) => None,
        (Expected::Sent { .. }, Err(refusal)) => Some(format!("it is refused: {refusal}")),
        (Expected::Sent { shards: Some(wanted), .. }, Ok(shards)) if shards != wanted => {
            Some(format!("it goes to {shards} shards, not {wanted}"))
        }
        (Expected::Sent { role: Some(role), .. }, Ok(_)) => {
            let target = plan::route(recognised, Situation::default()).target;
            let (is_met, name) = match role {
                Role::Primary => (target == Target::Primary, "primary"),
                Role::Replica => (target == Target::Replica, "replica"),
            };
            (!is_met).then(|| format!("it goes to {}, not to a {name}", target.name()))
        }
        (Expected::Sent { role: None, .. }, Ok(_)) => None,
    }
}

/// One line about one statement in a fresh session: class, role, reason, digest.
pub fn line(statement: &[u8], mariadb: bool) -> String {
    let lexing = lexing(mariadb);
    let recognised = sql::recognise(statement, &lexing);
    let route = plan::route(recognised, Situation::default());
    let role = route.target.role();
    let class = format!("{:?}", recognised.class);
    let digest = sql::digest(statement, &lexing);
    format!(
        "class={class} role={} reason={:?} digest={digest:016x} {role}",
        route.target.name(),
        route.reason.name()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_class_role_and_reason() {
        let line = line(b"SELECT * FROM t WHERE id = 1", false);
        assert!(line.starts_with("class=Read role=replica reason=\"read-only query\" digest="), "{line}");
    }

    #[test]
    fn a_sharded_statement_has_its_plan() {
        let rules = "version: 1\nmonitor: {user: m}\nclusters: {main: {servers: [a]}}\ndatabases: {shop: {home: {cluster: main, schema: shop}, \
             keyspaces: {k: {method: mod, key_type: integer, slots: 2, tables: {t: id}, \
             shards: {a: {cluster: main, schema: s_0, slots: 0}, b: {cluster: main, schema: s_1, slots: 1}}}}}}\n";
        let config =
            crate::config::load(rules, "rules", &|_| None).unwrap_or_else(|errors| panic!("{}", errors[0]));
        let planner = Planner::new(std::sync::Arc::new(config.rules));
        let plan = sharded(b"SELECT * FROM shop.t WHERE id = 3", false, None, &planner);
        assert!(plan.contains("key 3") && plan.contains("shards b") && plan.contains("`s_1`.t"), "{plan}");
        assert_eq!(sharded(b"SELECT 1", false, Some("shop"), &planner), "");
    }
}
