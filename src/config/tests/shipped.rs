//! Every file in `rules/` loads, and `docs/configuration.md` lists what the program reads.

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
    assert!(names.contains(&"quickstart.yaml".to_owned()));
}
