//! Holds the documents against the program: what it shows must be explained, and what is explained must exist.
//!
//! Owns: the comparison, by plain text. Does not know: whether an explanation is right.
//! Invariant: a metric or a label value that is added, renamed or removed fails here until `docs/` says so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::admin::http;
use crate::config::Config;
use crate::frontend::login::LoginErrorKind;
use crate::observe::{Metrics, Names};
use crate::plan::{Reason, Target};
use crate::session::{PIN_NAMES, ProblemKind, REPLAY_OUTCOMES};
use crate::topology::Clusters;

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// A running `/metrics` of a proxy whose only server is a port that nobody listens on.
async fn exposition() -> String {
    let config = Config::for_servers(&["127.0.0.1:1".to_owned()]).unwrap();
    let names = Names {
        routes: &Target::NAMES,
        reasons: Reason::NAMES,
        errors: ProblemKind::NAMES,
        pins: PIN_NAMES,
        replays: REPLAY_OUTCOMES,
        refusals: &[],
        login_failures: LoginErrorKind::NAMES,
    };
    let clusters = Arc::new(Clusters::start(&config));
    let metrics = Metrics::new(names, ["127.0.0.1:1".to_owned()], 1);
    let (_sender, draining) = watch::channel(false);
    let serving = http::serve("127.0.0.1:0".parse().unwrap(), clusters, metrics, draining).await.unwrap();
    let mut stream = TcpStream::connect(serving.address()).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: tidegate\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The metrics in a text: words that start with the prefix of all of them.
fn metrics_in(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("tidegate_"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_exists() {
    let exposed: BTreeSet<_> = exposition()
        .await
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    assert!(exposed.len() > 15, "{exposed:?}");
    assert_eq!(exposed, metrics_in(&document("docs/operations.md")));
}

#[test]
fn every_label_value_is_documented() {
    let text = document("docs/operations.md");
    let names = [
        &Target::NAMES,
        Reason::NAMES,
        PIN_NAMES,
        REPLAY_OUTCOMES,
        ProblemKind::NAMES,
        LoginErrorKind::NAMES,
    ];
    for name in names.concat() {
        assert!(text.contains(&format!("| `{name}` |")), "docs/operations.md has no row for `{name}`");
    }
}

#[test]
fn words_are_found_whole() {
    let found = metrics_in("`tidegate_clients`, tidegate_lag{a=\"b\"} 1 and not_tidegate_x or tidegate");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["tidegate_clients", "tidegate_lag"]);
}
