//! The rules file as a tree of nodes that know their place.
//!
//! serde stops at its first error, and a user wants all of them; so the YAML events (of serde-saphyr's parser)
//! become a tree, and `resolve` reads that. A scalar keeps its text as written: `1.2` stays `1.2`.
//! Owns: YAML, duplicate keys, and the bounds on depth. Does not know: which options there are.
//! Invariant: a tree has at most `DEPTH_MAX` levels of each style and no alias, so walking it is cheap.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::error::{Errors, Place, quoted};

/// Nested blocks, and nested brackets, that a file may have.
const DEPTH_MAX: usize = 32;

/// One value of the file.
#[derive(Debug)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

/// What a node holds.
#[derive(Debug)]
pub(super) enum Value {
    /// Text, a number, a word: the text as written, and whether it stood without quotes.
    Scalar { text: String, plain: bool },
    /// `[a, b]` or lines with `-`.
    List(Vec<Node>),
    /// `{a: b}` or lines `a: b`; each key once, in the file's order.
    Map(Vec<Entry>),
    /// An error was already recorded here.
    Refused,
}

/// One `key: value`.
#[derive(Debug)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

impl Node {
    /// Whether the key stands with nothing behind it, or with YAML's word for nothing.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// What stands here, for "expected …, found …".
    pub(super) fn describe(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Refused => "an error",
        }
    }
}

/// Parses `text`; errors go to `errors`. `None` where no tree can be had.
pub(super) fn parse<'t>(text: &'t str, errors: &mut Errors<'t>) -> Option<Node> {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
    };
    let mut builder =
        Builder { parser: Parser::new_from_str_with_options(text, options), errors, hides: false };
    match builder.document() {
        Ok(root) => root,
        Err(error) => {
            syntax(text, &error, errors);
            None
        }
    }
}

struct Builder<'t, 'e> {
    parser: Parser<'t, StrInput<'t>>,
    errors: &'e mut Errors<'t>,
    /// Whether scalars are part of a password.
    hides: bool,
}

impl<'t> Builder<'t, '_> {
    fn document(&mut self) -> Result<Option<Node>, ScanError> {
        let mut root = None;
        while let Some(next) = self.parser.next_event() {
            match next? {
                (Event::StreamStart | Event::DocumentEnd | Event::StreamEnd, _) => {}
                (Event::DocumentStart(..), span) if root.is_some() => {
                    let help = Some("keep one document: remove `---` and what follows".to_owned());
                    self.errors.add(place(&span), "", "a second YAML document starts here", help);
                    return Ok(root);
                }
                (Event::DocumentStart(..), _) => {}
                (event, span) => root = Some(self.node(event, span)?),
            }
        }
        Ok(root)
    }

    /// The node that `event` begins. Recursion is bounded by the parser's nesting limits.
    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, ScanError> {
        if event.tag().is_some() {
            let at = span.tag_span().map_or(place(&span), |tag| place(&tag));
            let help = Some("remove the word that starts with `!`".to_owned());
            self.errors.add(at, "", "YAML tags are not part of the rules file's language", help);
        }
        let place = place(&span);
        let value = match event {
            Event::Scalar(text, style, ..) => {
                if self.hides {
                    self.errors.hide(span.byte_range().unwrap_or_default());
                }
                Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(..) => self.list()?,
            Event::MappingStart(..) => self.map()?,
            Event::Alias(_) => {
                let help = Some("write the value out where it is used".to_owned());
                self.errors.add(place, "", "YAML aliases are not part of the rules file's language", help);
                Value::Refused
            }
            _ => Value::Refused,
        };
        Ok(Node { place, value })
    }

    fn list(&mut self) -> Result<Value, ScanError> {
        let mut nodes = Vec::new();
        while let Some(next) = self.parser.next_event() {
            match next? {
                (Event::SequenceEnd, _) => break,
                (event, span) => nodes.push(self.node(event, span)?),
            }
        }
        Ok(Value::List(nodes))
    }

    fn map(&mut self) -> Result<Value, ScanError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        while let Some(next) = self.parser.next_event() {
            let (event, span) = next?;
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, span)?;
            let secret = matches!(&key.value, Value::Scalar { text, .. } if names_a_secret(text));
            let Some(next) = self.parser.next_event() else { break };
            let (event, span) = next?;
            let outer = self.hides;
            self.hides = outer || secret;
            let node = self.node(event, span)?;
            self.hides = outer;
            let Value::Scalar { text, .. } = key.value else {
                let help = Some("write a name followed by `:`".to_owned());
                self.errors.add(key.place, "", format!("{} cannot be a key", key.describe()), help);
                continue;
            };
            match lines.get(&text) {
                Some(line) => {
                    let message = format!("{} is given twice; the first is on line {line}", quoted(&text));
                    self.errors.add(key.place, "", message, Some("keep one of the two".to_owned()));
                }
                None => {
                    lines.insert(text.clone(), key.place.line);
                    entries.push(Entry { key: text, place: key.place, node });
                }
            }
        }
        Ok(Value::Map(entries))
    }
}

/// Whether the value of this key must not be printed; a misspelt `password` counts.
fn names_a_secret(key: &str) -> bool {
    secret_word(key).is_some()
}

/// Where `text` says that what follows is a password.
fn secret_word(text: &str) -> Option<usize> {
    let text = text.to_ascii_lowercase();
    ["pass", "pasw", "pw", "secret", "word"].iter().filter_map(|part| text.find(part)).min()
}

fn place(span: &Span) -> Place {
    let range = span.byte_range().unwrap_or_default();
    let length = range.end.saturating_sub(range.start);
    Place { line: span.start.line(), column: span.start.col() + 1, offset: range.start, length }
}

/// Records what the scanner could not read, with the mend of the usual mistakes.
fn syntax<'t>(text: &'t str, error: &ScanError, errors: &mut Errors<'t>) {
    let marker = error.marker();
    let offset = marker.byte_offset().unwrap_or_default().min(text.len());
    let line_start = text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let at = Place { line: marker.line(), column: marker.col() + 1, offset, length: 1 };
    if let Some(word) = secret_word(line)
        && let Some(colon) = line.get(word..).and_then(|rest| rest.find(':')).map(|at| word + at)
        && let Some(value) = line.get(colon + 1..).and_then(|rest| rest.find(|c: char| !c.is_whitespace()))
    {
        errors.hide(line_start + colon + 1 + value..line_start + line.len());
    }
    let (message, help) = match error.kind() {
        ErrorKind::RecursionLimitExceeded => (format!("nested deeper than {DEPTH_MAX} levels"), None),
        ErrorKind::UnknownAnchor => {
            let message = "YAML aliases are not part of the rules file's language".to_owned();
            (message, Some("quote a value that starts with `*`: \"*\"".to_owned()))
        }
        _ if line.contains("${") => {
            let help = "between braces, quote it: \"${env:NAME}\"".to_owned();
            (format!("not valid YAML: {}", error.info()), Some(help))
        }
        ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator
        | ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofFlowSequence => {
            let help = "close the braces and brackets that are open above".to_owned();
            (format!("not valid YAML: {}", error.info()), Some(help))
        }
        _ if line.starts_with('\t') || line.trim_start_matches(' ').starts_with('\t') => {
            (format!("not valid YAML: {}", error.info()), Some("indent with spaces, not tabs".to_owned()))
        }
        _ => (format!("not valid YAML: {}", error.info()), None),
    };
    errors.add(at, "", message, help);
}
