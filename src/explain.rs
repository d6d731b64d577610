//! Where a statement would go, in words: `tidegate route`.

use crate::plan::sharded::{self, Arguments, Modes, Planned, Planner, Request};
use crate::plan::{self, Situation, Target};
use crate::shard::Charset;
use crate::sql::{self, Dialect, LexCharset, Lexing, ServerVersion};

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
        out += &sharded::describe_execution(routed, &arguments, database);
    }
    out
}

/// One line about one statement in a fresh session: class, role, reason, digest.
pub fn line(statement: &[u8], mariadb: bool) -> String {
    let lexing = lexing(mariadb);
    let recognised = sql::recognise(statement, &lexing);
    let route = plan::route(recognised, Situation::default());
    let role = match route.target {
        Target::Replica => "replica",
        Target::Primary => "primary",
        Target::Any => "primary (any server where there is none)",
        Target::Held => "the connection of the statement before",
    };
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
