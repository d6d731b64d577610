//! Files that nobody means well with: they end in errors, never in a panic, and no password is printed.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::cases::environment;
use crate::config::{Config, Outcome, check, load};

const WHOLE: &str = include_str!("../cases/whole.yaml");
const SHARDING: &str = include_str!("../cases/sharding.yaml");

/// A file that the test removes when it ends.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("tidegate-config-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

proptest! {
    #[test]
    fn a_damaged_file_never_panics(at in 0..WHOLE.len(), cut in 0..40_usize, piece in "[\\[\\]{}:,&*!|>'\"%@`\t\n #$a0é-]{0,6}") {
        let (start, end) = (at, (at + cut).min(WHOLE.len()));
        let mut text = WHOLE.to_owned();
        text.replace_range(start..end, &piece);
        if let Err(errors) = load(&text, "damaged.yaml", &environment) {
            prop_assert!(!errors.is_empty());
            for error in errors {
                prop_assert!(error.to_string().starts_with("error"));
            }
        }
    }

    #[test]
    fn damaged_sharding_rules_never_panic(at in 0..SHARDING.len(), cut in 0..40_usize, piece in "[\\[\\]{}:,.0-9a-f #-]{0,6}") {
        let (start, end) = (at, (at + cut).min(SHARDING.len()));
        let mut text = SHARDING.to_owned();
        text.replace_range(start..end, &piece);
        if let Err(errors) = load(&text, "damaged.yaml", &environment) {
            prop_assert!(!errors.is_empty());
        }
    }

    #[test]
    fn any_text_never_panics(text in "\\PC{0,200}") {
        let _ = load(&text, "any.yaml", &environment);
    }
}

#[test]
fn no_case_prints_a_password() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/cases");
    for name in ["secrets.txt", "many.txt", "unclosed.txt", "fits.txt", "whole.txt"] {
        let printed = std::fs::read_to_string(folder.join(name)).unwrap();
        for password in ["geheim", "hunter2", "from-the-environment"] {
            assert!(!printed.contains(password), "{name}");
        }
    }
}

#[test]
fn a_password_comes_from_a_file_beside_the_rules() {
    let secret = Temporary::new("secret", b"from a file\r\n");
    let name = secret.0.file_name().unwrap().to_string_lossy().into_owned();
    let text = format!(
        "version: 1\nmonitor: {{user: m, password: \"${{file:{name}}}\"}}\nclusters: {{main: {{servers: [a]}}}}\n"
    );
    let rules = Temporary::new("rules.yaml", text.as_bytes());
    let config = crate::config::read(&rules.0).unwrap();
    assert_eq!(config.monitor.password.expose(), b"from a file");
}

#[test]
fn files_that_are_no_text_are_refused_with_their_place() {
    let file = Temporary::new("latin1.yaml", b"version: 1\n# gr\xf6\xdfe\n");
    let Outcome { text, code } = check(&file.0);
    assert_eq!(code, 1);
    assert!(text.contains(":2:5\n"), "{text}");
    let large = Temporary::new("large.yaml", &vec![b'#'; (1 << 20) + 1]);
    assert!(check(&large.0).text.contains("exceeds 1 MiB"));
    assert!(check(&std::env::temp_dir()).text.contains("cannot read the file"));
    assert!(check(Path::new("no-such-file.yaml")).text.contains("cannot read the file"));
}

#[test]
fn check_says_what_was_read() {
    let text = "version: 1\nmonitor: {user: m}\nclusters: {main: {servers: [a]}}\n";
    let file = Temporary::new("right.yaml", text.as_bytes());
    let Outcome { text, code } = check(&file.0);
    assert_eq!(code, 0);
    assert!(text.ends_with(
        "ok (listens on 127.0.0.1:4406; cluster `main` with 1 server; the servers' own accounts)\n"
    ));
}

#[test]
fn servers_of_the_command_line_need_no_file() {
    let config = Config::for_servers(&["10.0.0.1".to_owned(), "[::1]:3307".to_owned()]).unwrap();
    let addresses: Vec<_> = config.home().servers.iter().map(crate::config::Server::address).collect();
    assert_eq!(addresses, ["10.0.0.1:3306", "[::1]:3307"]);
    for servers in [&[][..], &["a:b".to_owned()], &["a".to_owned(), "a:3306".to_owned()]] {
        let error = Config::for_servers(servers).unwrap_err();
        assert!(error.help.is_some(), "{error}");
    }
}
