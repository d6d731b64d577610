//! Every file in `rules/` loads, and `docs/configuration.md` lists what the program reads.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::load;

/// Passwords that the shipped files refer to.
fn environment(name: &str) -> Option<String> {
    name.ends_with("_PASSWORD").then(|| "secret".to_owned())
}

#[test]
fn every_file_in_rules_loads() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if let Err(errors) = load(&text, &path.to_string_lossy(), &environment) {
            panic!("{}", errors.iter().map(|error| format!("{error}\n")).collect::<String>());
        }
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(names, ["failover.yaml", "quickstart.yaml", "read-write-splitting.yaml", "sharding.yaml"]);
}

/// Every option that the program reads, found by giving each section one that it does not know: the help then
/// lists the others. Written as in the document: `clusters.NAME.pool.max`, `users[].name`.
fn options() -> BTreeSet<String> {
    let errors = load(include_str!("../cases/unknown.yaml"), "unknown.yaml", &environment).unwrap_err();
    let mut options = BTreeSet::new();
    let mut sections = BTreeSet::new();
    for error in errors {
        let section = error.rule.trim_end_matches("zzzzzzzz").trim_end_matches('.');
        let section = section.replace("clusters.main", "clusters.NAME").replace("[0]", "[]");
        let help = error.help.unwrap();
        for name in help.split('`').skip(1).step_by(2) {
            options.insert(if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") });
        }
        sections.insert(section.trim_end_matches("[]").to_owned());
    }
    sections.extend(["clusters", "databases", "databases.NAME.keyspaces"].map(str::to_owned));
    sections.extend(["shards", "tables"].map(|of| format!("databases.NAME.keyspaces.NAME.{of}")));
    sections.insert("admin.users".to_owned());
    sections.remove("clusters.NAME.servers");
    sections.remove("users[].require");
    sections.remove("databases.NAME.reference_tables");
    options.difference(&sections).cloned().collect()
}

#[test]
fn the_table_lists_every_option() {
    let text = include_str!("../../../docs/configuration.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let listed = rows
        .map(|(option, _)| option.to_owned())
        .filter(|option| !option.starts_with(|first: char| first.is_ascii_uppercase())); // the environment's
    assert_eq!(listed.collect::<BTreeSet<_>>(), options());
}

#[test]
fn the_document_shows_an_error_as_it_is_printed() {
    let text = include_str!("../../../docs/configuration.md");
    assert!(text.contains(include_str!("../cases/example.txt").trim_end()));
}

#[test]
fn the_table_shows_the_defaults() {
    // The commented file is held to the program's defaults by a test below.
    let shown = concat!(
        include_str!("../../../rules/read-write-splitting.yaml"),
        include_str!("../../../rules/sharding.yaml")
    );
    let mut count = 0;
    for row in include_str!("../../../docs/configuration.md").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        let (option, default) = (cells[0].trim_matches('`'), cells[2]);
        let Some(value) = default.strip_prefix('`').and_then(|default| default.strip_suffix('`')) else {
            continue;
        };
        if option.contains("[]") || option.starts_with("TIDEGATE_") {
            continue;
        }
        let line = format!("{}: {value}", option.rsplit('.').next().unwrap());
        assert!(shown.lines().any(|shown| shown.trim() == line), "{line}");
        count += 1;
    }
    assert!(count >= 30, "{count} rows were understood");
}

#[test]
fn the_commented_file_shows_every_option() {
    let (sharding, others) = (
        include_str!("../../../rules/sharding.yaml"),
        include_str!("../../../rules/read-write-splitting.yaml"),
    );
    for option in options() {
        let is_rule =
            option.starts_with("databases.") && !option.contains(".reads.") || option.starts_with("tests[");
        let text = if is_rule { sharding } else { others };
        let name = option.rsplit('.').next().unwrap();
        let given = |line: &str| {
            let line = line.trim_start_matches([' ', '#', '-', '{']);
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
                || [", ", "{"].iter().any(|before| line.contains(&format!("{before}{name}:")))
        };
        assert!(text.lines().any(given), "{option}");
    }
}

#[test]
fn what_can_change_while_it_runs_is_documented() {
    let text = include_str!("../../../docs/configuration.md");
    let (_, section) = text.split_once("## Changing the rules of a running proxy").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let named: BTreeSet<_> = section.lines().filter(|line| line.starts_with("- `")).flat_map(code).collect();
    let mut live: BTreeSet<_> = crate::config::LIVE
        .iter()
        .map(|live| match live.strip_suffix('.') {
            Some(section) => format!("{section}.*"),
            None => (*live).to_owned(),
        })
        .collect();
    live.extend(["max", "backend"].map(str::to_owned)); // parts of these
    assert_eq!(named, live);
}

/// What stands in backticks.
fn code(line: &str) -> impl Iterator<Item = String> {
    line.split('`').skip(1).step_by(2).map(str::to_owned)
}

#[test]
fn the_commented_file_shows_the_defaults() {
    let text = include_str!("../../../rules/read-write-splitting.yaml");
    let shown = load(text, "rules/read-write-splitting.yaml", &environment).unwrap();
    let mut bare = load(
        "version: 1\nmonitor: {user: tidegate}\nclusters: {main: {servers: [a]}}\n",
        "bare.yaml",
        &environment,
    )
    .unwrap();
    bare.http = shown.http;
    bare.clusters[0].servers.clone_from(&shown.clusters[0].servers);
    assert_eq!(format!("{bare:?}"), format!("{shown:?}"));
}

#[test]
fn every_option_is_shown_and_no_secret() {
    let text = "version: 1\nauth: users\nusers: [{name: app, password: hush-1, backend: {user: b, password: hush-2}}]\n\
                admin: {users: [{name: op, password: hush-3}]}\nmonitor: {user: m, password: hush-4}\n\
                clusters: {main: {servers: [a]}}\n\
                databases: {NAME: {reference_tables: [c], reads: {balance: random}, home: {cluster: main, schema: NAME}, keyspaces: {NAME: {method: range, \
                key_type: integer, shards: {NAME: {cluster: main, schema: s, ranges: [{to: 1}, {from: 1}]}}, tables: {NAME: id}}}}}\n\
                tests: [{sql: SELECT 1, refused: true}]\n";
    let shown = load(text, "shown.yaml", &environment).unwrap().shown();
    assert!(!format!("{shown:?}").contains("hush"), "{shown:?}");
    let names: BTreeSet<_> = shown
        .iter()
        .map(|(name, _)| {
            name.replace("clusters.main", "clusters.NAME").replace("[0]", "[]").replace("[1]", "[]")
        })
        .collect();
    let is_shown = |option: &String| !option.ends_with("password") && option != "clusters.NAME.servers";
    assert_eq!(names, options().into_iter().filter(is_shown).collect());
    assert!(shown.contains(&("limits.packet".to_owned(), "64MiB".to_owned())), "{shown:?}");
}
