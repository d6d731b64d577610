//! Which tables a statement names, by the words in front of the names.
//!
//! Owns: where a table's name may stand (FROM lists, joins, INTO, UPDATE, TABLE …). Does not know: aliases,
//! schemas' contents. Invariant: one frame per open parenthesis, no recursion, linear time.

use std::collections::HashSet;

use super::keywords::Keyword;
use super::lexer::Kind;
use super::outline::{Seen, TableName};
use super::scan::unquoted;

/// What is known inside one pair of parentheses.
#[derive(Clone, Copy, Default)]
struct Frame {
    /// A SELECT or other verb stands in it: FROM names tables (not so in `TRIM(x FROM y)`).
    verb: bool,
    /// In a FROM list or another list of tables: a comma leads to the next table.
    list: bool,
    /// A table's name may come next.
    expect: bool,
}

/// Collects table names.
pub(super) struct Tables<'a> {
    sql: &'a [u8],
    frames: Vec<Frame>,
    frame: Frame,
    /// The name being read: its parts so far, and whether a dot has just been seen.
    parts: Vec<(usize, usize)>,
    after_dot: bool,
    last_name: Option<(usize, usize)>,
    with: bool,
    /// Keywords and other words of this statement that are no table's name.
    words: u32,
    /// Common table expressions' names, in lower case.
    common: HashSet<Vec<u8>>,
    found: Vec<TableName>,
}

impl<'a> Tables<'a> {
    pub(super) fn new(sql: &'a [u8]) -> Self {
        Self {
            sql,
            frames: Vec::new(),
            frame: Frame { verb: true, ..Frame::default() },
            parts: Vec::new(),
            after_dot: false,
            last_name: None,
            with: false,
            words: 0,
            common: HashSet::new(),
            found: Vec::new(),
        }
    }

    /// Looks at the next token.
    pub(super) fn see(&mut self, seen: &Seen) {
        let token = seen.token;
        let is_name = matches!(token.kind, Kind::Name | Kind::QuotedName)
            || token.kind == Kind::Word && (!seen.reserved || self.after_dot);
        if is_name
            && (self.after_dot && !self.parts.is_empty() || self.frame.expect && !self.is_modifier(seen))
        {
            self.parts.push((token.start, token.end));
            self.after_dot = false;
            self.frame.expect = false;
            self.last_name = Some((token.start, token.end));
            return;
        }
        if token.kind == Kind::Punct(b'.') && !self.parts.is_empty() {
            self.after_dot = true;
            return;
        }
        self.end_name();
        match token.kind {
            Kind::Punct(b'(') => self.open(),
            Kind::Punct(b')') => {
                self.frame = self.frames.pop().unwrap_or(Frame { verb: true, ..Frame::default() })
            }
            Kind::Punct(b',') => self.frame.expect = self.frame.list,
            Kind::Punct(b';') => {
                self.frames.clear();
                self.frame = Frame { verb: true, ..Frame::default() };
                self.with = false;
                self.words = 0;
            }
            Kind::Word => self.word(seen),
            Kind::UserVariable | Kind::String => self.frame.expect = false,
            _ => {}
        }
        self.last_name = is_name.then_some((token.start, token.end)).or(match seen.keyword {
            Keyword::As => self.last_name,
            _ => None,
        });
    }

    /// The tables, without common table expressions.
    pub(super) fn finish(mut self) -> Vec<TableName> {
        self.end_name();
        let common = self.common;
        let is_common =
            |table: &TableName| table.schema.is_none() && common.contains(&table.name.to_ascii_lowercase());
        self.found.retain(|table| !is_common(table));
        self.found
    }

    /// Words that may stand between INTO, UPDATE or TABLE and the name.
    fn is_modifier(&self, seen: &Seen) -> bool {
        const MODIFIERS: [&[u8]; 7] =
            [b"QUICK", b"LOCAL", b"ONLY", b"OUTFILE", b"DUMPFILE", b"LATERAL", b"DELAYED"];
        let text = seen.token.text(self.sql);
        seen.token.kind == Kind::Word && MODIFIERS.iter().any(|word| word.eq_ignore_ascii_case(text))
    }

    fn open(&mut self) {
        // `name AS (` after WITH names a common table expression.
        if self.with
            && let Some((start, end)) = self.last_name
            && let Some(name) = self.sql.get(start..end)
        {
            self.common.insert(unquoted(name).to_ascii_lowercase());
        }
        self.frames.push(self.frame);
        // `FROM (a, b)`: the parentheses only group.
        let grouping = self.frame.expect;
        self.frames.last_mut().into_iter().for_each(|frame| frame.expect = false);
        self.frame = Frame { verb: grouping, list: grouping, expect: grouping };
    }

    fn word(&mut self, seen: &Seen) {
        self.words = self.words.saturating_add(1);
        let frame = &mut self.frame;
        match seen.keyword {
            Keyword::With => self.with = true,
            Keyword::Select | Keyword::Delete => *frame = Frame { verb: true, list: false, expect: false },
            Keyword::From if frame.verb => *frame = Frame { list: true, expect: true, ..*frame },
            Keyword::Join | Keyword::StraightJoin => frame.expect = frame.verb,
            Keyword::Into => *frame = Frame { expect: true, list: false, ..*frame },
            Keyword::Update | Keyword::Table | Keyword::Tables => {
                *frame = Frame { list: true, expect: true, ..*frame }
            }
            // INSERT t, REPLACE t, TRUNCATE t, DESCRIBE t; as functions they are followed by `(`.
            Keyword::Insert | Keyword::Replace | Keyword::Truncate | Keyword::Describe => {
                frame.expect = self.frames.is_empty() && (self.words <= 2 || self.with);
            }
            Keyword::Set | Keyword::Values | Keyword::Where | Keyword::By | Keyword::Using => {
                *frame = Frame { list: false, expect: false, ..*frame };
            }
            Keyword::On => frame.expect = false,
            Keyword::For | Keyword::Key => *frame = Frame { list: false, expect: false, ..*frame },
            _ => {}
        }
    }

    fn end_name(&mut self) {
        self.after_dot = false;
        let (schema, name) = match self.parts[..] {
            [] => return,
            [name] => (None, name),
            [.., schema, name] => (Some(schema), name),
        };
        let text =
            |(start, end): (usize, usize)| unquoted(self.sql.get(start..end).unwrap_or_default()).to_vec();
        let start = schema.unwrap_or(name).0;
        self.found.push(TableName { schema: schema.map(text), name: text(name), span: start..name.1 });
        self.parts.clear();
    }
}
