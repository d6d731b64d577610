//! Reading one mapping of the file, option by option.
//!
//! Owns: what each kind of value looks like (text, number, duration, list …), unknown options and the guess at
//! what was meant. Does not know: which options a section has.
//! Invariant: a wrong value is recorded once and replaced by the default, so that reading goes on; the result
//! counts only while no error was recorded.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{Errors, Place, quoted};
use super::guess::did_you_mean;
use super::tree::{Entry, Node, Value};
use super::units::{DURATION, PERCENT, SIZE, Units};

/// What reading needs besides the tree.
pub(super) struct Context<'t, 'v> {
    /// Where errors go.
    pub errors: Errors<'t>,
    /// The environment's variables.
    pub environment: &'v dyn Fn(&str) -> Option<String>,
    /// Folder of the rules file; relative paths start here.
    pub folder: PathBuf,
}

/// One mapping, and which of its options were asked for.
pub(super) struct Fields<'n> {
    /// Path of the mapping, such as `clusters.main.pool`; empty for the file's top.
    path: String,
    /// Where it starts.
    pub place: Place,
    entries: &'n [Entry],
    known: Vec<&'static str>,
    /// Whether something else than a mapping stood here, which was reported.
    refused: bool,
}

/// A value with the option it belongs to.
#[derive(Clone)]
pub(super) struct Item<'n> {
    pub rule: String,
    pub node: &'n Node,
}

impl<'n> Fields<'n> {
    /// The mapping of `item`; anything else but nothing at all is an error and reads as empty.
    pub(super) fn of(item: &Item<'n>, cx: &mut Context<'_, '_>) -> Self {
        let (entries, refused): (&'n [Entry], bool) = match &item.node.value {
            Value::Map(entries) => (entries, false),
            _ if item.node.is_null() => (&[], false),
            _ => {
                item.refuse(cx, "a mapping (lines `name: value`)");
                (&[], true)
            }
        };
        Self { path: item.rule.clone(), place: item.node.place, entries, known: Vec::new(), refused }
    }

    /// A mapping that the file does not give.
    pub(super) fn absent(path: String, place: Place) -> Self {
        Self { path, place, entries: &[], known: Vec::new(), refused: false }
    }

    /// The path of one option of this mapping.
    pub(super) fn rule(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The option `name`, if it is given.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Item<'n>> {
        self.known.push(name);
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        Some(Item { rule: self.rule(name), node: &entry.node })
    }

    /// The option `name`, whose absence is an error with the mend `help`.
    pub(super) fn require(
        &mut self,
        cx: &mut Context<'_, '_>,
        name: &'static str,
        help: &str,
    ) -> Option<Item<'n>> {
        let item = self.take(name);
        if item.is_none() {
            self.missing(cx, name, help);
        }
        item
    }

    /// Whether the file gives the option `name`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == name)
    }

    /// Records that options do not fit together, at the first of `names` that the file gives.
    pub(super) fn conflict(
        &self,
        cx: &mut Context<'_, '_>,
        names: &[&str],
        message: impl Into<String>,
        help: &str,
    ) {
        let given = |name: &&str| self.entries.iter().find(|entry| entry.key == *name);
        let place = names.iter().find_map(given).map_or(self.place, |entry| entry.node.place);
        let rule = names.iter().find(|name| self.has(name)).map_or(self.path.clone(), |name| self.rule(name));
        cx.errors.add(place, &rule, message, Some(help.to_owned()));
    }

    /// Records that the option `name` is missing, unless it is there misspelt, which `finish` reports.
    pub(super) fn missing(&self, cx: &mut Context<'_, '_>, name: &str, help: &str) {
        let misspelt = |entry: &Entry| did_you_mean(&entry.key, [name].into_iter()).is_some();
        if self.refused || self.entries.iter().any(misspelt) {
            return;
        }
        let place = Place { length: 1, ..self.place };
        let message = format!("{} is missing", quoted(name));
        cx.errors.add(place, &self.rule(name), message, Some(help.to_owned()));
    }

    /// The sub-mapping `name`; empty where it is not given.
    pub(super) fn section(&mut self, cx: &mut Context<'_, '_>, name: &'static str) -> Self {
        match self.take(name) {
            Some(item) => Self::of(&item, cx),
            None => Self::absent(self.rule(name), self.place),
        }
    }

    /// A duration within `bounds` (milliseconds), or `default`.
    pub(super) fn duration(
        &mut self,
        cx: &mut Context<'_, '_>,
        name: &'static str,
        default: Duration,
        bounds: RangeInclusive<u64>,
    ) -> Duration {
        let value = self.take(name).and_then(|item| item.quantity(cx, &DURATION, bounds));
        value.map_or(default, Duration::from_millis)
    }

    /// A size within `bounds` (bytes), or `default`.
    pub(super) fn size(
        &mut self,
        cx: &mut Context<'_, '_>,
        name: &'static str,
        default: usize,
        bounds: RangeInclusive<u64>,
    ) -> usize {
        let value = self.take(name).and_then(|item| item.quantity(cx, &SIZE, bounds));
        value.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default)
    }

    /// A percentage from 0 to 100, or `default`.
    pub(super) fn percent(&mut self, cx: &mut Context<'_, '_>, name: &'static str, default: u32) -> u32 {
        let value = self.take(name).and_then(|item| item.quantity(cx, &PERCENT, 0..=100));
        value.and_then(|percent| u32::try_from(percent).ok()).unwrap_or(default)
    }

    /// A whole number within `bounds`, or `default`.
    pub(super) fn count<N: TryFrom<u64>>(
        &mut self,
        cx: &mut Context<'_, '_>,
        name: &'static str,
        default: N,
        bounds: RangeInclusive<u64>,
    ) -> N {
        let value = self.take(name).and_then(|item| item.count(cx, bounds));
        value.and_then(|number| N::try_from(number).ok()).unwrap_or(default)
    }

    /// `true` or `false`, or `default`.
    pub(super) fn flag(&mut self, cx: &mut Context<'_, '_>, name: &'static str, default: bool) -> bool {
        self.choice(cx, name, &[("true", true), ("false", false)], default)
    }

    /// One of the words of `choices`, or `default`.
    pub(super) fn choice<T: Copy>(
        &mut self,
        cx: &mut Context<'_, '_>,
        name: &'static str,
        choices: &[(&'static str, T)],
        default: T,
    ) -> T {
        self.take(name).and_then(|item| item.choice(cx, choices)).unwrap_or(default)
    }

    /// A readable file, relative to the folder of the rules file.
    pub(super) fn file(&mut self, cx: &mut Context<'_, '_>, name: &'static str) -> Option<PathBuf> {
        let item = self.take(name)?;
        let text = item.text(cx)?;
        let path = cx.folder.join(text);
        if let Err(error) = readable(&path) {
            let message = format!("cannot read {}: {error}", quoted(&path.to_string_lossy()));
            item.error(
                cx,
                message,
                Some("a relative path starts at the folder of the rules file".to_owned()),
            );
        }
        Some(path)
    }

    /// Records every option that nobody asked for.
    pub(super) fn finish(self, cx: &mut Context<'_, '_>) {
        for entry in self.entries.iter().filter(|entry| !self.known.contains(&entry.key.as_str())) {
            let help = match did_you_mean(&entry.key, self.known.iter().copied()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => {
                    let names = self.known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
                    let are =
                        if names.len() == 1 { "the only option here is" } else { "the options here are" };
                    format!("{are} {}", names.join(", "))
                }
            };
            let message = format!("unknown option {}", quoted(&entry.key));
            cx.errors.add(entry.place, &self.rule(&entry.key), message, Some(help));
        }
    }
}

impl<'n> Item<'n> {
    /// Records an error at this value.
    pub(super) fn error(&self, cx: &mut Context<'_, '_>, message: impl Into<String>, help: Option<String>) {
        cx.errors.add(self.node.place, &self.rule, message, help);
    }

    /// Records that this value is of another kind than `expected`.
    pub(super) fn refuse(&self, cx: &mut Context<'_, '_>, expected: &str) {
        if !matches!(self.node.value, Value::Refused) {
            self.error(cx, format!("expected {expected}, found {}", self.node.describe()), None);
        }
    }

    /// The text of a scalar, quoted or not.
    pub(super) fn text(&self, cx: &mut Context<'_, '_>) -> Option<&'n str> {
        match &self.node.value {
            _ if self.node.is_null() => {
                let help = "give a value, or remove the line for the default".to_owned();
                self.error(cx, "has no value", Some(help));
                None
            }
            Value::Scalar { text, .. } => Some(text),
            _ => {
                self.refuse(cx, "a single value");
                None
            }
        }
    }

    /// The elements of a list; a single value or mapping is a list of one.
    pub(super) fn elements(&self) -> Vec<Item<'n>> {
        match &self.node.value {
            Value::List(nodes) => {
                let item = |(at, node)| Item { rule: format!("{}[{at}]", self.rule), node };
                nodes.iter().enumerate().map(item).collect()
            }
            _ => vec![self.clone()],
        }
    }

    /// One of the words of `choices`.
    pub(super) fn choice<T: Copy>(
        &self,
        cx: &mut Context<'_, '_>,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(cx)?;
        if let Some((_, value)) = choices.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let names = choices.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>();
        let help = match did_you_mean(text, choices.iter().map(|(name, _)| *name)) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("write {}", names.join(" or ")),
        };
        self.error(cx, format!("{} is not one of {}", quoted(text), names.join(", ")), Some(help));
        None
    }

    /// A whole number within `bounds`.
    pub(super) fn count(&self, cx: &mut Context<'_, '_>, bounds: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(cx)?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(number) if digits && bounds.contains(&number) => Some(number),
            _ if digits => {
                self.out_of_bounds(cx, text, &bounds.start().to_string(), &bounds.end().to_string());
                None
            }
            _ => {
                let help = format!("write digits only, from {} to {}", bounds.start(), bounds.end());
                self.error(cx, format!("{} is not a whole number", quoted(text)), Some(help));
                None
            }
        }
    }

    /// A quantity with its unit within `bounds` (in the smallest unit).
    pub(super) fn quantity(
        &self,
        cx: &mut Context<'_, '_>,
        units: &Units,
        bounds: RangeInclusive<u64>,
    ) -> Option<u64> {
        let text = self.text(cx)?;
        match units.parse(text) {
            Ok(value) if bounds.contains(&value) => Some(value),
            Ok(_) => {
                self.out_of_bounds(cx, text, &units.show(*bounds.start()), &units.show(*bounds.end()));
                None
            }
            Err(refusal) => {
                self.error(cx, refusal.message, Some(refusal.help));
                None
            }
        }
    }

    fn out_of_bounds(&self, cx: &mut Context<'_, '_>, text: &str, low: &str, high: &str) {
        self.error(cx, format!("{} is out of bounds", quoted(text)), Some(format!("write {low} to {high}")));
    }
}

/// Whether `path` is a file that this process may open.
fn readable(path: &Path) -> std::io::Result<()> {
    if std::fs::metadata(path)?.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    std::fs::File::open(path).map(drop)
}
