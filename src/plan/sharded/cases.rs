//! `cases/NAME.txt`: rules, then statements with what becomes of each. `UPDATE_CASES=1` rewrites what becomes of them.
//!
//! A file begins with the rules in short (`database`, `keyspace NAME: table(key) …`, `reference: …`, `without_key READ WRITE`), up to
//! a line of `===`. Then come cases, a blank line between two: lines of thought (`#`), settings for this case (`@mariadb`,
//! `@database NAME`, `@none`, `@ansi`, `@pipes`, `@high_not`), the statement (`> `), and its plan.

use std::path::{Path, PathBuf};

use super::*;
use crate::sql::tests::{MARIADB, MYSQL};
use crate::sql::{self, Lexing};

struct Setting {
    lexing: Lexing,
    modes: Modes,
    database: Option<String>,
}

/// The rules at a file's head.
fn catalog(head: &str) -> Catalog {
    let mut databases: Vec<Database> = Vec::new();
    for line in head.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let (word, rest) = line.trim().split_once(' ').unwrap();
        if word == "database" {
            let (name, without_key) = rest.split_once(' ').unwrap_or((rest, "scatter refuse"));
            let mut words = without_key.split(' ').map(|word| word == "scatter");
            databases.push(Database {
                name: name.into(),
                keyspaces: Vec::new(),
                tables: Vec::new(),
                scatter_reads: words.next().unwrap(),
                scatter_writes: words.next().unwrap(),
            });
            continue;
        }
        let database = databases.last_mut().unwrap();
        if word == "reference" {
            database.tables.extend(rest.split(' ').map(|name| (name.into(), Listed::Reference)));
            continue;
        }
        let (name, tables) = rest.split_once(": ").unwrap();
        let keyspace = database.keyspaces.len();
        database.keyspaces.push(name.to_owned());
        for table in tables.split(' ') {
            let (table, key) = table.trim_end_matches(')').split_once('(').unwrap();
            let key = key.split(',').map(str::to_owned).collect();
            database.tables.push((table.into(), Listed::Sharded { keyspace, key }));
        }
    }
    Catalog { databases }
}

/// A case's lines without its plan, and the plan as it is now.
fn case(lines: &str, catalog: &Catalog) -> String {
    let mut setting = Setting {
        lexing: MYSQL,
        modes: Modes::default(),
        database: Some(String::from_utf8(catalog.databases[0].name.clone()).unwrap()),
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
                ("@none", _) => setting.database = None,
                ("@database", name) => setting.database = Some(name.to_owned()),
                _ => panic!("{line}"),
            },
            [b'>', b' ', ..] => statement.push(&line[2..]),
            _ => continue,
        }
        kept += &format!("{line}\n");
    }
    kept + &outcome(statement.join("\n").as_bytes(), &setting, catalog)
}

/// What becomes of a statement, and its text for a shard and for one with a suffix, where that differs.
fn outcome(sql: &[u8], setting: &Setting, catalog: &Catalog) -> String {
    let lexing = &setting.lexing;
    let request = Request {
        sql,
        lexing,
        modes: setting.modes,
        database: setting.database.as_deref().map(str::as_bytes),
        recognised: sql::recognise(sql, lexing),
    };
    let planned = plan(&request, catalog);
    let mut out = describe(sql, lexing, &planned, catalog);
    if let Planned::Routed(routed) = &planned {
        let database = &catalog.databases[routed.database].name[..];
        for (what, suffix) in [("sql   ", &b""[..]), ("suffix", b"_3")] {
            let place = Place { database, schema: b"shop_0", suffix };
            if let Some(text) = text_for(sql, lexing, &routed.edits, &place) {
                out += &format!("  {what} {}\n", String::from_utf8_lossy(&text).replace('\n', "\n         "));
            }
        }
    }
    out
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
        let rules = catalog(head);
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
