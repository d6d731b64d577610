//! Holds the layers: who may use whom, read from the source text.
//!
//! Owns: the order of the layers, and which layer alone may use a library. Does not know: what the layers do.
//! Invariant: every module of `src/` has a place; an edge that points up or sideways fails the test with its line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers from the top down. A module may use those of the lines below its own, and nothing beside it.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["layers", "documents"], // tests of the whole
    &["frontend", "explain", "survey"],
    &["session", "admin"],
    &["registry"],
    &["plan", "execute"],
    &["merge"],
    &["backend", "topology"],
    &["observe"],
    &["wire", "sql", "config"],
    &["shard"],
    &["ids", "consistency", "balance", "generate"],
];

/// Libraries that belong to some layers only, with the reason for which they stay there.
const LIBRARIES: &[(&str, &[&str], &str)] = &[
    (
        "mysql_async",
        &["topology"],
        "its rows are decoded and encoded again: probes only, never the data plane",
    ),
    ("sqlparser", &["sql", "plan"], "parses on a miss of the plan cache only; the lexer decides first"),
    ("mysql_common", &["wire", "backend"], "scrambles and collations; bytes are read and written in `wire`"),
    ("axum", &["admin"], "HTTP is for operators"),
    ("prometheus_client", &["admin", "observe"], "metrics observe, they never decide"),
    ("clap", &["main"], "the rest gets values, not arguments"),
];

/// One source file: its path below `src/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The module at the top of `src/` that the file belongs to.
    fn module(&self) -> &str {
        let top = self.path.split('/').next().unwrap_or_default();
        top.strip_suffix(".rs").unwrap_or(top)
    }
}

/// Everything that breaks a rule, one line each.
fn violations(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    // The map itself names all modules, and this file breaks every rule on purpose.
    for source in sources.iter().filter(|source| !["lib.rs", "layers.rs"].contains(&&*source.path)) {
        let module = source.module();
        let Some(own) = level(module) else {
            found.push(format!("{}: `{module}` has no place among the layers", source.path));
            continue;
        };
        let text = without_comments(&source.text);
        for used in used_modules(&text).iter().filter(|used| *used != module) {
            match level(used) {
                Some(theirs) if theirs > own => {}
                Some(_) => {
                    found.push(format!("{}: `{module}` uses `{used}`, which is not below it", source.path))
                }
                None => found.push(format!("{}: `{used}` has no place among the layers", source.path)),
            }
        }
        for (library, owners, why) in LIBRARIES {
            if names(&text, library) && !owners.contains(&module) {
                found.push(format!(
                    "{}: `{module}` uses {library}, which is for {owners:?}: {why}",
                    source.path
                ));
            }
        }
    }
    found
}

fn level(module: &str) -> Option<usize> {
    LAYERS.iter().position(|line| line.contains(&module))
}

/// The modules behind `crate::`, also in braces; `super::super::` counts where it comes out at a layer.
fn used_modules(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => used.extend(heads(group)),
            None => used.extend(word(rest)),
        }
    }
    let climbed = text.split("super::super::").skip(1).filter_map(word);
    used.extend(climbed.filter(|name| level(name).is_some()));
    used
}

/// The first word of each item in a `{…}` of a `use`, without what is nested.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut expecting) = (0usize, Vec::new(), true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expecting = true,
            _ if expecting && !character.is_whitespace() => {
                heads.extend(word(&group[at..]));
                expecting = false;
            }
            _ => {}
        }
    }
    heads
}

/// The identifier at the start.
fn word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// Whether a library is named as a path.
fn names(text: &str, library: &str) -> bool {
    text.match_indices(library).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        text[at + library.len()..].starts_with("::")
            && !before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

/// Doc comments may speak of any layer.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

fn all_sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                sources.push(Source { path, text });
            }
        }
    }
    sources
}

fn source(path: &str, text: &str) -> Source {
    Source { path: path.into(), text: text.into() }
}

#[test]
fn layers_point_one_way() {
    let sources = all_sources();
    let found = violations(&sources);
    assert!(found.is_empty(), "\n{}", found.join("\n"));
    // What reads nothing finds nothing: some edges that are known to be there.
    let session: Vec<_> = sources.iter().filter(|source| source.module() == "session").collect();
    let used: BTreeSet<_> =
        session.iter().flat_map(|source| used_modules(&without_comments(&source.text))).collect();
    for layer in ["backend", "execute", "plan", "sql", "topology", "wire"] {
        assert!(used.contains(layer), "session is not seen to use {layer}");
    }
}

#[test]
fn every_module_of_the_library_has_a_place_and_every_place_a_module() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let text = fs::read_to_string(root).unwrap();
    let lines = text.lines().map(|line| line.trim_start_matches("pub ").trim());
    let declared: BTreeSet<_> =
        lines.filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).chain(["main"]).collect();
    assert_eq!(declared, LAYERS.iter().flat_map(|line| line.iter().copied()).collect());
}

#[test]
fn an_edge_that_points_up_or_sideways_is_found() {
    for (path, text) in [
        ("wire/frame.rs", "use crate::session::Session;"),
        ("wire/frame.rs", "fn f() { crate::sql::recognise() }"),
        ("backend/pool.rs", "use crate::{ids::ServerId, topology::Topology};"),
        ("backend/pool.rs", "use crate::{\n    wire::{ok, err},\n    frontend,\n};"),
        ("plan/mod.rs", "pub(crate) use crate::execute::relay;"),
        ("topology/monitor.rs", "use super::super::session;"),
        ("session/mod.rs", "use mysql_async::Conn;"),
        ("frontend/login.rs", "let ast = sqlparser::parser::Parser::new(&d);"),
        ("novelty.rs", ""),
        ("session/mod.rs", "use crate::novelty;"),
    ] {
        assert_eq!(violations(&[source(path, text)]).len(), 1, "{path}: {text}");
    }
}

#[test]
fn edges_that_point_down_are_fine_and_so_is_talk_about_others() {
    let sources = [
        source("session/mod.rs", "use crate::{plan::{self, Route}, wire::ok};\n/// See `crate::frontend`.\n"),
        source("topology/probe.rs", "use mysql_async::Conn;\n//! crate::session::Session\n"),
        source(
            "session/lease.rs",
            "use super::pins::Pins; use crate::session::Session; let my_mysql_async = 1;",
        ),
    ];
    assert_eq!(violations(&sources), Vec::<String>::new());
}
