//! A definition's tokens, one after the other, and the tables that stand among them.
//!
//! Owns: what a table's name means here, and what becomes of it at a shard. Does not know: which statement it is. Invariant: a listed name
//! that stands where a table could is one that was read as a table, or the statement is refused.

use super::ROUTINES;
use crate::plan::sharded::edits::{Edit, NameEdit};
use crate::plan::sharded::parse::text::{At, Text};
use crate::plan::sharded::planner::{Meaning, Planner};
use crate::plan::sharded::refusal::{Reason, Refusal, shown};
use crate::shard::{Database, KeyType, Table};
use crate::sql::lexer::Kind;

/// Words in front of a table's name.
const INTRODUCE: &[&[u8]] = &[
    b"FROM",
    b"JOIN",
    b"STRAIGHT_JOIN",
    b"INTO",
    b"UPDATE",
    b"TABLE",
    b"TABLES",
    b"REFERENCES",
    b"LIKE",
    b"ON",
    b"UNION",
];

/// A table as a definition names it.
#[derive(Debug)]
pub(super) struct Name<'a> {
    /// The token of its own name.
    pub at: At,
    pub own: Vec<u8>,
    pub what: What<'a>,
}

/// What a table is by the rules.
#[derive(Debug)]
pub(super) enum What<'a> {
    Home,
    Reference(&'a Database),
    Sharded(Sharded<'a>),
}

/// A sharded table by the rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sharded<'a> {
    pub database: &'a Database,
    pub keyspace: usize,
    pub key: &'a [String],
}

impl<'a> Sharded<'a> {
    /// The types of the key's columns.
    pub fn types(&self) -> &'a [KeyType] {
        self.database.keyspaces.get(self.keyspace).map_or(&[], |keyspace| &keyspace.key)
    }
}

impl<'a> Name<'a> {
    pub fn shown(&self) -> String {
        shown(&self.own)
    }

    /// The database whose rules list it.
    pub fn database(&self) -> Option<&str> {
        match &self.what {
            What::Home => None,
            What::Reference(database) | What::Sharded(Sharded { database, .. }) => Some(&database.name),
        }
    }

    /// Where it is sharded, how.
    pub fn sharded(&self) -> Option<Sharded<'a>> {
        match self.what {
            What::Sharded(sharded) => Some(sharded),
            What::Home | What::Reference(_) => None,
        }
    }

    /// Whether tables have other names at some site than here.
    pub fn is_suffixed(&self) -> bool {
        let of = |database: &Database, keyspace: Option<usize>| {
            let own = |at: usize| keyspace.is_none_or(|keyspace| keyspace == at);
            let keyspaces = database.keyspaces.iter().enumerate().filter(|(at, _)| own(*at));
            keyspaces.flat_map(|(_, keyspace)| &keyspace.shards).any(|shard| shard.suffix.is_some())
        };
        match &self.what {
            What::Home => false,
            What::Reference(database) => of(database, None),
            What::Sharded(sharded) => of(sharded.database, Some(sharded.keyspace)),
        }
    }
}

/// Where in the text a definition is read.
pub(super) struct Reader<'a> {
    pub text: &'a Text,
    planner: &'a Planner,
    database: Option<&'a [u8]>,
    pub at: At,
    pub edits: Vec<NameEdit>,
    /// Tokens that were read as tables' names.
    seen: Vec<At>,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a Text, planner: &'a Planner, database: Option<&'a [u8]>) -> Self {
        Self { text, planner, database, at: 0, edits: Vec::new(), seen: Vec::new() }
    }

    /// What names mean.
    pub fn planner(&self) -> &'a Planner {
        self.planner
    }

    /// Goes behind a word, if it stands here.
    pub fn word(&mut self, word: &[u8]) -> bool {
        self.word_of(&[word])
    }

    /// The same of one of several.
    pub fn word_of(&mut self, words: &[&[u8]]) -> bool {
        let is = self.text.is_one_of(self.at, words);
        self.at += u32::from(is);
        is
    }

    /// The same of several words in a row: all of them or none.
    pub fn words(&mut self, words: &[&[u8]]) -> bool {
        let all = (self.at..).zip(words).all(|(at, word)| self.text.is_word(at, word));
        if all {
            self.at += u32::try_from(words.len()).unwrap_or_default();
        }
        all
    }

    pub fn punct(&mut self, byte: u8) -> bool {
        let is = self.text.is(self.at, byte);
        self.at += u32::from(is);
        is
    }

    /// MariaDB's `WAIT n` and `NOWAIT`.
    pub fn wait(&mut self) {
        if self.word(b"WAIT") {
            self.at += 1;
        } else {
            self.word(b"NOWAIT");
        }
    }

    /// The name of something within a table, such as an index.
    pub fn name_of_part(&mut self) -> Result<At, Refusal> {
        let at = self.at;
        let is_name = self.text.is_name(at) || self.text.kind(at) == Kind::Word;
        if !is_name {
            return Err(self.not_understood());
        }
        self.at += 1;
        Ok(at)
    }

    /// A table's name, of one part or two.
    pub fn table(&mut self) -> Result<Name<'a>, Refusal> {
        let first = self.at;
        if !self.text.is_name(first) {
            return Err(self.not_understood());
        }
        let qualified = self.text.is(first + 1, b'.');
        let at = if qualified { first + 2 } else { first };
        let is_name = matches!(self.text.kind(at), Kind::Word | Kind::Name | Kind::QuotedName);
        if !is_name || self.text.is(at + 1, b'.') {
            return Err(self.not_understood());
        }
        self.at = at + 1;
        let own = self.text.name(at).into_owned();
        let schema = match qualified {
            true => Some(self.text.name(first)),
            false => self.database.map(Into::into),
        };
        let what = match self.planner.table(schema.as_deref(), &own) {
            Meaning::Home => What::Home,
            Meaning::Listed(database, Table::Reference { .. }) => What::Reference(database),
            Meaning::Listed(database, Table::Sharded { keyspace, key, .. }) => {
                What::Sharded(Sharded { database, keyspace: *keyspace, key })
            }
            Meaning::OtherCase => {
                let what = format!("{} is written in another case than in the rules", shown(&own));
                return Err(Refusal::new(Reason::NameCase, what));
            }
        };
        if !matches!(what, What::Home) {
            if qualified {
                self.edits.push(NameEdit { token: first, edit: Edit::Schema });
            }
            self.edits.push(NameEdit { token: at, edit: Edit::Table });
        }
        self.seen.push(at);
        Ok(Name { at, own, what })
    }

    /// Nothing stands behind.
    pub fn end(&self) -> Result<(), Refusal> {
        if self.at >= self.text.len() { Ok(()) } else { Err(self.not_understood()) }
    }

    /// No query stands in what is left of the statement.
    pub fn no_query(&self) -> Result<(), Refusal> {
        if (self.at..self.text.len()).any(|at| self.text.is_word(at, b"SELECT")) {
            return Err(self.not_understood());
        }
        Ok(())
    }

    /// Behind the parenthesis that closes the one here.
    pub fn behind_bracket(&self, at: At) -> At {
        let mut depth = 0u32;
        for here in at..self.text.len() {
            if self.text.is(here, b'(') {
                depth += 1;
            } else if self.text.is(here, b')') {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return here + 1;
                }
            }
        }
        self.text.len()
    }

    /// Cuts the tokens from here up to `end` at the commas that stand in no parentheses.
    pub fn parts(&self, from: At, end: At) -> Vec<std::ops::Range<At>> {
        let (mut parts, mut start, mut depth) = (Vec::new(), from, 0u32);
        for at in from..end {
            match self.text.kind(at) {
                Kind::Punct(b'(') => depth += 1,
                Kind::Punct(b')') => depth = depth.saturating_sub(1),
                Kind::Punct(b',') if depth == 0 => {
                    parts.push(start..at);
                    start = at + 1;
                }
                _ => {}
            }
        }
        parts.push(start..end);
        parts
    }

    /// Every listed name where a table could stand was read as one.
    pub fn all_understood(&self, mentions: &[At]) -> Result<(), Refusal> {
        let is_part = |at: At| {
            let before = at.checked_sub(1);
            let introduced = before.is_some_and(|before| self.text.is_one_of(before, INTRODUCE));
            let dotted =
                before.is_some_and(|before| self.text.is(before, b'.')) || self.text.is(at + 1, b'.');
            !introduced && !dotted
        };
        match mentions.iter().find(|at| !self.seen.contains(at) && !is_part(**at)) {
            None => Ok(()),
            Some(at) => {
                let what = format!(
                    "{} stands in a definition in a place that is not understood",
                    shown(&self.text.name(*at))
                );
                Err(Refusal::new(Reason::NotParsed, what))
            }
        }
    }

    pub fn not_understood(&self) -> Refusal {
        Refusal::new(Reason::NotParsed, "A definition that names a listed table is not understood")
    }

    pub fn temporary(&self) -> Refusal {
        let what = "A temporary table has a listed name, or is made from a listed table";
        Refusal::new(Reason::TemporaryTable, what)
    }

    /// What is defined is no table.
    pub fn other_object(&self) -> Refusal {
        let mut words = (self.at..self.text.len()).filter(|at| self.text.kind(*at) == Kind::Word);
        let kinds: &[&[u8]] = &[b"VIEW", b"TRIGGER"];
        let found = words.find(|at| self.text.is_one_of(*at, kinds) || self.text.is_one_of(*at, ROUTINES));
        let (reason, what) = match found {
            Some(at) if self.text.is_word(at, b"VIEW") => {
                (Reason::View, "A statement about a view names listed tables in a way that is not understood")
            }
            Some(at) if self.text.is_word(at, b"TRIGGER") => {
                (Reason::Trigger, "A trigger names a listed table")
            }
            Some(_) => (Reason::Routine, "A stored routine or an event names a listed table"),
            None => (Reason::Definition, "A definition of this kind names a listed table"),
        };
        Refusal::new(reason, what)
    }
}
