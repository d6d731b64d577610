//! `tidegate check F`: what is printed, and the exit code.
//!
//! Owns: the report's words. Does not know: the terminal; `main` prints.
//! Invariant: the code is 0 exactly when `tidegate run` would accept the file.

use std::fmt::Write as _;
use std::path::Path;

use super::model::{Auth, Cluster, Config};

/// What `tidegate check` prints, and its exit code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// The report, ending with a line break: for stdout where `code` is 0, else for stderr.
    pub text: String,
    /// 0 where the file is right, 1 where it is not.
    pub code: u8,
}

/// Checks the rules file `path`.
pub fn check(path: &Path) -> Outcome {
    let name = path.display();
    match super::read(path) {
        Ok(config) => Outcome { text: format!("{name}: ok ({})\n", summary(&config)), code: 0 },
        Err(errors) => {
            let mut text = String::new();
            for error in &errors {
                let _ = writeln!(text, "{error}\n");
            }
            let count = errors.len();
            let _ = writeln!(text, "{name}: {count} error{}", if count == 1 { "" } else { "s" });
            Outcome { text, code: 1 }
        }
    }
}

/// One line on what the file says.
fn summary(config: &Config) -> String {
    let listen = config.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let cluster = |cluster: &Cluster| {
        let servers = cluster.servers.len();
        let plural = if servers == 1 { "" } else { "s" };
        format!("cluster `{}` with {servers} server{plural}", cluster.name)
    };
    let clusters = config.clusters.iter().map(cluster).collect::<Vec<_>>().join(", ");
    let auth = match &config.auth {
        Auth::Passthrough => "the servers' own accounts".to_owned(),
        Auth::Users(users) => format!("accounts of the file: {}", users.len()),
    };
    format!("listens on {listen}; {clusters}; {auth}")
}
