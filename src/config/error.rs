//! Errors of the rules file: where, which rule, what is wrong, what to write instead.
//!
//! Owns: places in the file, the collector that keeps going after an error, and the snippet with its caret.
//! Does not know: the rules' language.
//! Invariant: no password of the file reaches a snippet, and what the file holds cannot steer a terminal.

use std::fmt;
use std::ops::Range;

/// Errors that are shown; the rest is counted.
pub(super) const ERRORS_MAX: usize = 50;
/// Characters of a line that a snippet shows.
const SNIPPET_WIDTH: usize = 110;
/// Characters of the file that a message quotes.
const QUOTE_MAX: usize = 60;
/// Characters of an option's path.
const RULE_MAX: usize = 100;

/// One error of the configuration, with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The file as the caller named it.
    pub file: String,
    /// Line, counted from 1; 0 where the error has no place inside the file.
    pub line: usize,
    /// Column in characters, counted from 1; 0 where the error has no place inside the file.
    pub column: usize,
    /// Path of the option, such as `clusters.main.reads.max_lag`; empty for the file as a whole.
    pub rule: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be said.
    pub help: Option<String>,
    /// The line with a caret under the place, ready to print; empty where there is no place.
    pub snippet: String,
}

impl ConfigError {
    /// A test of the rules in `file` that fails.
    pub fn of_rules(file: &str, message: String) -> Self {
        Self::without_place(file, message, None)
    }

    /// An error about something that has no line: a file that cannot be read, a command line argument.
    pub(super) fn without_place(file: &str, message: impl Into<String>, help: Option<String>) -> Self {
        let (file, rule, snippet) = (file.to_owned(), String::new(), String::new());
        Self { file, line: 0, column: 0, rule, message: message.into(), help, snippet }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    /// In the manner of rustc, over several lines, with no line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rule.is_empty() {
            write!(f, "error: {}", self.message)?;
        } else {
            write!(f, "error[{}]: {}", self.rule, self.message)?;
        }
        let indent = if self.line == 0 { 1 } else { self.line.to_string().len() };
        write!(f, "\n{:indent$}--> {}", "", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.snippet.is_empty() {
            write!(f, "\n{}", self.snippet)?;
        }
        match &self.help {
            Some(help) => write!(f, "\n{:indent$} = help: {help}", ""),
            None => Ok(()),
        }
    }
}

/// A place in the file: where it starts, and how many bytes are underlined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// Byte offset in the text.
    pub offset: usize,
    /// Length in bytes; what lies past the end of the line is not underlined.
    pub length: usize,
}

impl Place {
    /// The first character of the file.
    pub(super) const START: Self = Self { line: 1, column: 1, offset: 0, length: 1 };
}

/// Collects errors over one file, so that the first does not hide the second.
pub(super) struct Errors<'t> {
    file: &'t str,
    text: &'t str,
    secrets: Vec<Range<usize>>,
    found: Vec<(Place, ConfigError)>,
    omitted: usize,
}

impl<'t> Errors<'t> {
    /// A collector for the file `file` with the content `text`.
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, secrets: Vec::new(), found: Vec::new(), omitted: 0 }
    }

    /// Keeps the bytes `range` of the file out of every snippet, unless they only refer to a secret.
    pub(super) fn hide(&mut self, range: Range<usize>) {
        let value = self.text.get(range.start..).unwrap_or_default().trim_start_matches(['"', '\'']);
        if !value.starts_with("${env:") && !value.starts_with("${file:") {
            self.secrets.push(range);
        }
    }

    /// Records an error at `place` about the option `rule`.
    pub(super) fn add(&mut self, place: Place, rule: &str, message: impl Into<String>, help: Option<String>) {
        if self.found.len() >= ERRORS_MAX {
            self.omitted += 1;
            return;
        }
        let (file, rule) = (self.file.to_owned(), printable(rule));
        let Place { line, column, .. } = place;
        let (message, snippet) = (message.into(), String::new());
        self.found.push((place, ConfigError { file, line, column, rule, message, help, snippet }));
    }

    /// Whether nothing was wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many errors were found so far; unchanged over a section means that its values are the file's own.
    pub(super) fn count(&self) -> usize {
        self.found.len() + self.omitted
    }

    /// All errors in the order of the file, with their snippets.
    pub(super) fn finish(mut self) -> Vec<ConfigError> {
        self.secrets.sort_by_key(|range| range.start);
        self.secrets.dedup_by(|next, before| {
            let overlap = next.start <= before.end;
            if overlap {
                before.end = before.end.max(next.end);
            }
            overlap
        });
        self.found.sort_by_key(|(place, _)| place.offset);
        let mut errors = Vec::with_capacity(self.found.len() + 1);
        for (place, error) in &self.found {
            errors.push(ConfigError { snippet: self.snippet(*place), ..error.clone() });
        }
        if self.omitted > 0 {
            let message = format!("{} further errors are not shown", self.omitted);
            let help = Some("mend those above and check again".to_owned());
            errors.push(ConfigError::without_place(self.file, message, help));
        }
        errors
    }

    /// The line of `place` with its number, and a caret line below it.
    fn snippet(&self, place: Place) -> String {
        let line_start = self.text.get(..place.offset).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
        let rest = self.text.get(line_start..).unwrap_or_default();
        let line = rest.split(['\n', '\r']).next().unwrap_or_default();
        let marked = place.offset..place.offset.saturating_add(place.length.max(1));
        let shown = self.shown(line, line_start, marked);
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len());
        let (blank, carets) = (" ".repeat(shown.caret), "^".repeat(shown.caret_width));
        format!("{gutter} |\n{number} | {}\n{gutter} | {blank}{carets}", shown.text)
    }

    /// Masks secrets and control characters of `line`, and cuts it to a width around the marked bytes.
    fn shown(&self, line: &str, line_start: usize, marked: Range<usize>) -> Shown {
        let (mut cells, mut caret, mut caret_end) = (Vec::with_capacity(line.len()), None, None);
        for (at, character) in line.char_indices() {
            let offset = line_start + at;
            if caret.is_none() && offset >= marked.start {
                caret = Some(cells.len());
            }
            if caret_end.is_none() && offset >= marked.end {
                caret_end = Some(cells.len());
            }
            match self.secret_at(offset) {
                Some(range) if offset == range.start || at == 0 => cells.extend(['*'; 3]),
                Some(_) => {}
                None => cells.push(printable_char(character)),
            }
        }
        let caret = caret.unwrap_or(cells.len());
        let caret_end = caret_end.unwrap_or(cells.len()).max(caret + 1);
        let from = if caret_end > SNIPPET_WIDTH { caret.saturating_sub(SNIPPET_WIDTH / 2) } else { 0 };
        let cut_before = if from > 0 { "…" } else { "" };
        let cut_after = if cells.len() > from + SNIPPET_WIDTH { "…" } else { "" };
        let middle: String = cells.iter().skip(from).take(SNIPPET_WIDTH).collect();
        let caret = caret - from + usize::from(from > 0);
        let room = SNIPPET_WIDTH.saturating_sub(caret).max(1);
        let caret_width = (caret_end - from + usize::from(from > 0) - caret).min(room);
        Shown { text: format!("{cut_before}{middle}{cut_after}").trim_end().to_owned(), caret, caret_width }
    }

    fn secret_at(&self, offset: usize) -> Option<&Range<usize>> {
        let index = self.secrets.partition_point(|range| range.start <= offset);
        index.checked_sub(1).and_then(|index| self.secrets.get(index)).filter(|range| range.contains(&offset))
    }
}

/// A line as it is printed, and where its caret stands.
struct Shown {
    text: String,
    caret: usize,
    caret_width: usize,
}

/// `text` of the file between backticks for a message: printable, and cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let mut cut: String = text.chars().take(QUOTE_MAX).map(printable_char).collect();
    if text.chars().nth(QUOTE_MAX).is_some() {
        cut.push('…');
    }
    format!("`{cut}`")
}

/// The path of an option without characters that steer a terminal, and cut where it is long.
fn printable(rule: &str) -> String {
    rule.chars().take(RULE_MAX).map(printable_char).collect()
}

/// Escape sequences and text that runs backwards would let a file repaint the terminal.
fn printable_char(character: char) -> char {
    match character {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        character if character.is_control() => '\u{fffd}',
        character => character,
    }
}
