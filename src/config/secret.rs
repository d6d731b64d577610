//! Passwords of the file: literal, from the environment, or from a file.
//!
//! Owns: `${env:NAME}` and `${file:PATH}`. Does not know: what the password is for.
//! Invariant: no message holds a password or a part of one.

use std::fs::File;
use std::io::Read as _;

use zeroize::Zeroizing;

use super::error::quoted;
use super::fields::{Context, Item};
use super::model::Secret;

/// Bytes of a password; MySQL's own limit is far below.
const SECRET_MAX: usize = 4096;

/// The password that `item` stands for; an error gives the empty one.
pub(super) fn password(item: &Item<'_>, cx: &mut Context<'_, '_>) -> Secret {
    if item.node.is_null() {
        item.error(cx, "has no value", Some("write `\"\"` for an account without a password".to_owned()));
        return Secret::new("");
    }
    let Some(text) = item.text(cx) else { return Secret::new("") };
    let found = match reference(text) {
        Ok(Reference::Literal) => Ok(Zeroizing::new(text.as_bytes().to_vec())),
        Ok(Reference::Environment(name)) => from_environment(name, cx),
        Ok(Reference::File(path)) => from_file(path, cx),
        Err(refusal) => Err(refusal),
    };
    let checked = found.and_then(|bytes| match bytes.contains(&0) {
        true => Err(("the password holds a NUL byte, which MySQL's protocol cannot carry".to_owned(), None)),
        false if bytes.len() > SECRET_MAX => Err((format!("the password exceeds {SECRET_MAX} bytes"), None)),
        false => Ok(bytes),
    });
    match checked {
        Ok(bytes) => Secret::new(bytes.as_slice()),
        Err((message, help)) => {
            item.error(cx, message, help);
            Secret::new("")
        }
    }
}

/// A message and its mend.
type Refusal = (String, Option<String>);

/// Where a password comes from.
enum Reference<'t> {
    Literal,
    Environment(&'t str),
    File(&'t str),
}

fn reference(text: &str) -> Result<Reference<'_>, Refusal> {
    let inside = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match inside.and_then(|inside| inside.split_once(':')) {
        Some(("env", name)) if is_variable(name) => Ok(Reference::Environment(name)),
        Some(("file", path)) if !path.is_empty() && !path.contains("${") => Ok(Reference::File(path)),
        _ if text.starts_with("${") || text.contains("${env:") || text.contains("${file:") => {
            let help = "write `\"${env:NAME}\"` or `\"${file:PATH}\"`, and nothing beside it".to_owned();
            Err(("this reference to a secret cannot be read".to_owned(), Some(help)))
        }
        _ => Ok(Reference::Literal),
    }
}

/// Whether `name` can name a variable of the environment.
fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn from_environment(name: &str, cx: &Context<'_, '_>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    match (cx.environment)(name) {
        Some(value) if value.is_empty() => {
            let help = "write `\"\"` in its place for an account without a password".to_owned();
            Err((format!("the environment variable {} is empty", quoted(name)), Some(help)))
        }
        Some(value) => Ok(Zeroizing::new(value.into_bytes())),
        None => {
            let help = "set it where Tidegate is started".to_owned();
            Err((format!("the environment variable {} is not set", quoted(name)), Some(help)))
        }
    }
}

/// The content of the file without the line break at its end, as editors and secret stores write it.
fn from_file(path: &str, cx: &Context<'_, '_>) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let path = cx.folder.join(path);
    let shown = quoted(&path.to_string_lossy());
    let mut bytes = Zeroizing::new(Vec::new());
    let limit = u64::try_from(SECRET_MAX + 3).unwrap_or(u64::MAX);
    if let Err(error) = File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        let help = "a relative path starts at the folder of the rules file".to_owned();
        return Err((format!("cannot read the password file {shown}: {error}"), Some(help)));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.is_empty() {
        let help = "write `\"\"` in its place for an account without a password".to_owned();
        return Err((format!("the password file {shown} is empty"), Some(help)));
    }
    Ok(bytes)
}
