//! `cases/NAME.txt`: rules, then statements with what becomes of each. `UPDATE_CASES=1` rewrites what becomes of them.
//!
//! A file begins with `databases` of a rules file, up to a line of `===`. Then come cases, a blank line between two: lines of thought
//! (`#`), settings for this case (`@mariadb`, `@database NAME`, `@none`, `@ansi`, `@pipes`, `@high_not`, `@latin1`, `@parameters 1 2`, `@columns a b`: what a
//! shard tells of the table), the statement (`> `), its plan, the shards that it runs on, and their text where it is not the client's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::generate::Id;
use crate::shard::{Charset, Database, Value};
use crate::sql::tests::{MARIADB, MYSQL};
use crate::sql::{self, Lexing};

/// What stands in front of a file's rules.
const AROUND: &str = "version: 1\nlisten: 127.0.0.1:4406\nmonitor: {user: m, password: p}\n\
                      clusters: {main: {servers: [10.0.0.1]}, second: {servers: [10.0.0.2]}}\ndefault_cluster: main\n";

struct Setting {
    lexing: Lexing,
    modes: Modes,
    charset: Charset,
    database: Option<String>,
    parameters: Vec<Value<'static>>,
    columns: Vec<String>,
}

/// The rules at a file's head.
fn planner(head: &str) -> Planner {
    let config = crate::config::load(&format!("{AROUND}{head}\n"), "head", &|_| None);
    let config = config.unwrap_or_else(|errors| panic!("{head}\n{}", errors[0]));
    Planner::new(Arc::new(config.rules))
}

/// A case's lines without its plan, and the plan as it is now.
fn case(lines: &str, planner: &Planner) -> String {
    let mut setting = Setting {
        lexing: MYSQL,
        modes: Modes::default(),
        charset: Charset::Utf8,
        database: Some("shop".to_owned()),
        parameters: Vec::new(),
        columns: Vec::new(),
    };
    let (mut kept, mut statement) = (String::new(), Vec::new());
    for line in lines.lines() {
        match line.as_bytes() {
            [b'#', ..] => {}
            [b'@', ..] => match line.split_once(' ').unwrap_or((line, "")) {
                ("@mariadb", _) => setting.lexing = MARIADB,
                ("@ansi", _) => setting.lexing.ansi_quotes = true,
                ("@pipes", _) => setting.modes.pipes_as_concat = true,
                ("@high_not", _) => setting.modes.high_not_precedence = true,
                ("@latin1", _) => setting.charset = Charset::Latin1,
                ("@none", _) => setting.database = None,
                ("@columns", list) => setting.columns = list.split(' ').map(str::to_owned).collect(),
                ("@database", name) => setting.database = Some(name.to_owned()),
                ("@parameters", list) => {
                    setting.parameters = list
                        .split(' ')
                        .map(|word| word.parse().map_or(Value::Null, Value::Integer))
                        .collect();
                }
                _ => panic!("{line}"),
            },
            [b'>', b' ', ..] => statement.push(&line[2..]),
            _ => continue,
        }
        kept += &format!("{line}\n");
    }
    kept + &outcome(statement.join("\n").as_bytes(), &setting, planner)
}

fn outcome(sql: &[u8], setting: &Setting, planner: &Planner) -> String {
    let lexing = &setting.lexing;
    let request = Request {
        sql,
        lexing,
        modes: setting.modes,
        database: setting.database.as_deref().map(str::as_bytes),
        charset: setting.charset,
        recognised: sql::recognise(sql, lexing),
    };
    let planned = planner.plan(&request);
    let mut out = describe(sql, lexing, &planned, planner.rules());
    if let Planned::Unlisted(unlisted) = &planned {
        if setting.columns.is_empty() {
            let refused = Planned::Refused(unlisted.refusal()); // as where rules are tested
            return out + &describe(sql, lexing, &refused, planner.rules());
        }
        let sql = unlisted.write(sql, lexing, &setting.columns);
        return format!("{out}with   {}\n{}", String::from_utf8_lossy(&sql), outcome(&sql, setting, planner));
    }
    if let Planned::Makes(makes) = &planned {
        return out + &with_values(sql, setting, makes, planner);
    }
    if let Planned::Routed(routed) = &planned {
        out += &on_shards(sql, setting, routed, planner.rules().database(&routed.database).unwrap());
    }
    out
}

fn literals(sql: &[u8], setting: &Setting) -> Vec<sql::Literal> {
    let mut literals = Vec::new();
    sql::shape(sql, &setting.lexing, 1, &mut literals);
    literals
}

fn arguments<'a>(sql: &'a [u8], setting: &'a Setting, literals: &'a [sql::Literal]) -> Arguments<'a> {
    let Setting { lexing, parameters, charset, .. } = setting;
    Arguments { sql, lexing, literals, parameters, charset: *charset }
}

/// The text with values, and what becomes of that.
fn with_values(sql: &[u8], setting: &Setting, makes: &Makes, planner: &Planner) -> String {
    let literals = literals(sql, setting);
    let arguments = arguments(sql, setting, &literals);
    let needs = match makes.needs(&arguments, false) {
        Ok(needs) => needs,
        Err(refusal) => return format!("  refused  {refusal}\n"),
    };
    if needs.count() > 0 {
        let id = |at: usize| match makes.by.is_number() {
            true => Id::Number(1001 + at as u64),
            false => Id::Uuid(0x0190_0000_0000_7000_8000_0000_0000_0001 + at as u128),
        };
        let sql = makes.write(&arguments, &needs, |at| makes.literal(id(at)));
        return format!("with   {}\n{}", String::from_utf8_lossy(&sql), outcome(&sql, setting, planner));
    }
    match makes.otherwise.as_deref() {
        Some(Planned::Routed(routed)) => {
            on_shards(sql, setting, routed, planner.rules().database(&routed.database).unwrap())
        }
        _ => String::new(),
    }
}

/// The shards for the statement's values, and the text of the first one where it is not the client's.
fn on_shards(sql: &[u8], setting: &Setting, routed: &Routed, database: &Database) -> String {
    let literals = literals(sql, setting);
    let arguments = arguments(sql, setting, &literals);
    print(&execution(routed, &arguments, database, 1))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/plan/sharded/cases")
}

/// Every case's file as it is, and as it should be.
fn files() -> Vec<(PathBuf, String, String)> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let (head, body) = text.split_once("\n===\n").unwrap();
        let rules = planner(head);
        let blocks = body.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
        let cases: Vec<_> = blocks.map(|block| case(block, &rules)).collect();
        let now = format!("{head}\n===\n\n{}", cases.join("\n"));
        (path, text, now)
    };
    files.into_iter().map(read).collect()
}

#[test]
fn every_case_has_its_plan() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let files = files();
    assert!(files.len() >= 5, "the cases are missing");
    let mut wrong = Vec::new();
    for (path, before, now) in files {
        if update {
            std::fs::write(path, now).unwrap();
        } else if before != now {
            let differs = before.lines().zip(now.lines()).find(|(before, now)| before != now);
            wrong.push(format!("{}: {differs:#?}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A reason that no case shows may be one that never comes, or one that comes for everything.
#[test]
fn every_reason_has_a_case() {
    let shown: String = files().into_iter().map(|(_, before, _)| before).collect();
    // Too long for a file; below.
    let shown = shown + "(too-long)";
    let missing: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| reason.name())
        .filter(|name| !shown.contains(&format!("({name})")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
}

#[test]
fn every_reason_is_documented() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sql-coverage.md")).unwrap();
    for reason in Reason::ALL {
        assert!(text.contains(&format!("| `{}` |", reason.name())), "no row for {}", reason.name());
    }
}

/// The rules of most cases.
fn usual() -> Planner {
    let text = std::fs::read_to_string(folder().join("select.txt")).unwrap();
    planner(text.split_once("\n===\n").unwrap().0)
}

fn planned(planner: &Planner, sql: &[u8]) -> Planned {
    planner.plan(&Request {
        sql,
        lexing: &MYSQL,
        modes: Modes::default(),
        database: Some(b"shop"),
        charset: Charset::Utf8,
        recognised: sql::recognise(sql, &MYSQL),
    })
}

/// Words of statements that are nearly right.
const PIECES: &[&str] = &[
    "SELECT",
    "*",
    "FROM",
    "orders",
    "o",
    "items",
    "i",
    "countries",
    "stock",
    "JOIN",
    "LEFT JOIN",
    "ON",
    "USING (customer_id)",
    "WHERE",
    "customer_id",
    "o.customer_id",
    "i.customer_id",
    "shop.orders.customer_id",
    "=",
    "IN (",
    "(",
    ")",
    "5",
    "?",
    "NULL",
    "AND",
    "OR",
    "NOT",
    ",",
    "UPDATE",
    "SET",
    "x",
    "DELETE",
    "INSERT INTO",
    "VALUES",
    "(1, 2)",
    "SELECT 1 FROM items",
    "EXISTS",
    "UNION",
    "WITH o AS (SELECT 1)",
    "GROUP BY",
    "ORDER BY",
    "LIMIT",
    "COUNT(*)",
    "BETWEEN",
    "EXPLAIN",
    "FOR UPDATE",
    "DATABASE()",
    "(SELECT",
    "AS",
    "ON DUPLICATE KEY UPDATE",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_words_are_planned_or_refused(words in proptest::collection::vec(proptest::sample::select(PIECES), 0..40)) {
        let planner = usual();
        for sql in [words.join(" "), format!("SELECT * FROM orders o {}", words.join(" "))] {
            let planned = planned(&planner, sql.as_bytes());
            describe(sql.as_bytes(), &MYSQL, &planned, planner.rules());
            if let Planned::Routed(routed) = &planned {
                let setting = Setting {
                    lexing: MYSQL,
                    modes: Modes::default(),
                    charset: Charset::Utf8,
                    database: None,
                    parameters: Vec::new(),
                    columns: Vec::new(),
                };
                on_shards(sql.as_bytes(), &setting, routed, planner.rules().database("shop").unwrap());
            }
        }
    }
}

#[test]
fn what_is_too_long_is_refused_and_rows_of_an_insert_are_not() {
    let planner = usual();
    let plan = |sql: &str| planned(&planner, sql.as_bytes());
    let long = vec!["1"; 60_000].join(", ");
    let Planned::Refused(refusal) = plan(&format!("SELECT * FROM orders WHERE customer_id IN ({long})"))
    else {
        panic!("it is planned");
    };
    assert_eq!(refusal.reason, Reason::TooLong);
    let columns: Vec<_> = (0..20_000).map(|number| format!("c{number}")).collect();
    let columns = columns.join(", ");
    for sql in [
        format!("SELECT DISTINCT {columns} FROM orders"),
        format!("SELECT {columns} FROM orders ORDER BY {columns}"),
        format!("SELECT COUNT(*) FROM orders GROUP BY {columns}"),
    ] {
        assert!(matches!(plan(&sql), Planned::Refused(refusal) if refusal.reason == Reason::TooLong));
    }
    let rows = vec!["(1, 'x')"; 60_000].join(", ");
    let Planned::Routed(routed) = plan(&format!("INSERT INTO orders (customer_id, x) VALUES {rows}")) else {
        panic!("it is refused");
    };
    assert!(matches!(&routed.sites, Sites::Rows(rows) if rows.len() == 60_000));
}
