//! Configuration: YAML resolved once into the values that the program passes around.
//!
//! Owns: the rules file's language, its defaults, and its errors (all of them at once, each with file,
//! line, column and a snippet). Does not know: sockets, servers, the clock.
//! Invariant: a `Config` that exists is whole and cross-checked; nothing later needs to validate it again.
//!
//! The way of a file: `tree` (YAML with places) → `resolve`, `listen`, `accounts`, `cluster` (options, by way of
//! `fields`) → `model`. Options and bounds are listed in `docs/configuration.md`.

mod accounts;
mod address;
mod change;
mod check;
mod cluster;
mod databases;
mod defaults;
mod error;
mod failover;
mod fields;
mod guess;
mod lag;
mod listen;
mod model;
mod resolve;
mod secret;
mod servers;
mod sharding;
mod shown;
mod tree;
mod units;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

pub use change::{Change, LIVE};
pub use check::{Outcome, check};
pub use error::ConfigError;
pub use lag::{Beats, LagBy, TableName};
pub use listen::{Keepalive, ListenAddress, Network, ProxyProtocol};
pub use model::*;
pub use sharding::{Expected, Role, RuleTest};

use error::{Errors, Place};
use fields::Context;

/// Bytes of a rules file.
const FILE_MAX: usize = 1 << 20;

/// The configuration that the YAML `text` describes.
///
/// `file_name` names the file in errors; relative paths in the file start at its folder. `environment` gives
/// the variables of `${env:NAME}`. Returns every error at once, in the file's order; a file that is no YAML
/// has the error that stops its parsing as its last.
pub fn load(
    text: &str,
    file_name: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Vec<ConfigError>> {
    if text.len() > FILE_MAX {
        return Err(vec![too_large(file_name)]);
    }
    let folder = Path::new(file_name).parent().unwrap_or(Path::new("")).to_owned();
    let mut errors = Errors::new(file_name, text);
    let Some(root) = tree::parse(text, &mut errors) else {
        if errors.is_empty() {
            let help = Some("begin with `version: 1`; see rules/quickstart.yaml".to_owned());
            errors.add(Place::START, "", "the file is empty", help);
        }
        return Err(errors.finish());
    };
    let mut cx = Context { errors, environment, folder };
    let config = resolve::config(&root, &mut cx);
    if cx.errors.is_empty() { Ok(config) } else { Err(cx.errors.finish()) }
}

/// The configuration in the file `path`, with the variables of this process's environment.
pub fn read(path: &Path) -> Result<Config, Vec<ConfigError>> {
    let name = path.to_string_lossy();
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_MAX + 1).unwrap_or(u64::MAX);
    if let Err(error) = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        return Err(vec![ConfigError::without_place(&name, format!("cannot read the file: {error}"), None)]);
    }
    if bytes.len() > FILE_MAX {
        return Err(vec![too_large(&name)]);
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => load(text, &name, &environment),
        Err(error) => Err(vec![not_utf8(&name, &bytes, error.valid_up_to())]),
    }
}

/// A variable of this process's environment.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn too_large(file_name: &str) -> ConfigError {
    let help = Some("a rules file is far smaller: is this the right file?".to_owned());
    ConfigError::without_place(file_name, format!("the file exceeds {} MiB", FILE_MAX >> 20), help)
}

/// The error for `bytes` whose first `valid` bytes are UTF-8 and whose next one is not.
fn not_utf8(file_name: &str, bytes: &[u8], valid: usize) -> ConfigError {
    let text = String::from_utf8_lossy(bytes.get(..valid).unwrap_or_default()).into_owned();
    let line = 1 + text.matches('\n').count();
    let column = 1 + text.rsplit('\n').next().unwrap_or_default().chars().count();
    let help = Some("save the file as UTF-8".to_owned());
    let message = "the file is not UTF-8 from here on";
    ConfigError { line, column, ..ConfigError::without_place(file_name, message, help) }
}
