//! `cases/NAME.yaml` → `cases/NAME.txt`: the errors as they are printed, or the resolved values.
//! `UPDATE_CASES=1` rewrites the expectations.

use std::path::{Path, PathBuf};

use crate::config::load;

/// The environment of every case.
pub(super) fn environment(name: &str) -> Option<String> {
    match name {
        "APP_PASSWORD" => Some("from-the-environment".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/cases")
}

/// What the case prints; the folder is cut from paths, so that it is the same on every machine.
fn outcome(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let printed = match load(&text, &path.to_string_lossy(), &environment) {
        Ok(config) => format!("{config:#?}\n"),
        Err(errors) => errors.iter().map(|error| format!("{error}\n\n")).collect(),
    };
    printed.replace(&format!("{}/", folder().display()), "")
}

#[test]
fn t62_every_case_reports_all_its_errors_with_their_places() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        let (expected, found) = (path.with_extension("txt"), outcome(&path));
        if update {
            std::fs::write(&expected, &found).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong.push(format!("--- {}\n{found}", expected.display()));
        }
    }
    assert!(count >= 10, "the cases are missing");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn t27_no_bound_on_the_lag_has_its_own_spelling_and_0_is_refused() {
    let bound = |value: &str| {
        let cluster = format!("{{servers: [a, b], reads: {{max_lag: {value}}}}}");
        let text = format!("version: 1\nmonitor: {{user: m}}\nclusters: {{main: {cluster}}}\n");
        load(&text, "rules.yaml", &environment)
    };
    let config = bound("unlimited").unwrap();
    assert_eq!(config.clusters[0].reads.max_lag, None);
    for none in ["0", "0s", "0ms"] {
        let errors: String = bound(none).unwrap_err().iter().map(ToString::to_string).collect();
        assert!(errors.contains("rules.yaml:3:") && errors.contains("unlimited"), "{errors}");
    }
}
