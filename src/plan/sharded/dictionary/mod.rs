//! Statements that read the servers' data dictionary: home answers, with the sharded tables' rows in the text that it gets.
//!
//! Owns: which tables of information_schema tell of tables, where a statement reads them, and what takes their place. Does not know: servers;
//! what they have answered comes in. Invariant: each table of the rules is there once, under the client's names; nothing of a shard's own
//! schema or names is.

mod columns;
mod compose;
mod headings;
mod list;
mod show;

pub use columns::{columns_question, columns_told};
pub use compose::{Answered, Column, Piece, Told};
pub use list::{Listing, Rows};

use super::edits::{Edit, NameEdit, Place, text_for};
use super::parse::text::{At, Text};
use super::planned::Planned;
use super::planner::Planner;
use super::refusal::{Reason, Refusal};
use crate::shard::Rules;
use crate::sql::lexer::Kind;
use crate::sql::{Class, Dialect, Lexing, Outline, Recognised, Uses, quoted};

/// Longest text that takes a statement's place: servers take packets of 16 MiB at least by default.
const TEXT_MAX: usize = 8 << 20;
/// References to such tables in one statement.
const REFERENCES_MAX: usize = 16;

/// A statement that reads the dictionary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dictionary {
    /// What it reads, each listing once.
    pub reads: Vec<Read>,
    /// Where it reads it.
    references: Vec<Reference>,
    /// What else becomes of the text.
    edits: Vec<NameEdit>,
    /// It is SHOW, and another text takes its place as a whole.
    show: Option<show::Show>,
}

/// A table of information_schema, and what of it is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Read {
    /// Which.
    pub listing: &'static Listing,
    /// The columns that the statement may name, in lower case; `None` for all.
    pub columns: Option<Vec<String>>,
}

/// A place where a statement names such a table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Reference {
    listing: &'static Listing,
    /// Its first token.
    at: At,
    /// How many there are: 1, or 3 with the schema.
    tokens: At,
    /// What columns are qualified with, where the statement gives it no other name.
    alias: Option<Vec<u8>>,
}

impl Dictionary {
    /// The text for home. `told`: what is known of each of `reads`, in their order.
    ///
    /// # Errors
    /// It would be too large.
    pub fn text(
        &self,
        sql: &[u8],
        lexing: &Lexing,
        rules: &Rules,
        told: &[Told],
    ) -> Result<Vec<u8>, Refusal> {
        let derived = |listing: &Listing| {
            let found = self.reads.iter().zip(told).find(|(read, _)| read.listing.name == listing.name);
            found.map_or_else(Vec::new, |(read, told)| read.derived(told, rules, lexing.server))
        };
        let text = match &self.show {
            Some(show) => show.text(&Text::new(sql, lexing), &derived(show.listing())),
            None => {
                let mut edits = self.edits.clone();
                for Reference { listing, at, tokens, alias } in &self.references {
                    let mut text = derived(listing);
                    if let Some(alias) = alias {
                        text.extend_from_slice(b" AS ");
                        text.extend(quoted(alias, b'`'));
                    }
                    edits.push(NameEdit { token: *at, edit: Edit::Text(text) });
                    if *tokens > 1 {
                        edits.push(NameEdit { token: at + 1, edit: Edit::Without(at + tokens) });
                    }
                }
                if lexing.server.dialect == Dialect::MySql {
                    edits.extend(headings::edits(&Text::new(sql, lexing), &|name| is_column(told, name)));
                }
                edits.sort_by_key(|edit| edit.token);
                let nowhere = Place { database: b"", schema: b"", suffix: b"" };
                text_for(sql, lexing, &edits, &nowhere).unwrap_or_else(|| sql.to_vec())
            }
        };
        if text.len() > TEXT_MAX {
            let what = "The sharded tables' rows would make the statement too long";
            return Err(Refusal::new(Reason::Description, what));
        }
        Ok(text)
    }

    /// Whether it is SHOW.
    pub(super) fn is_show(&self) -> bool {
        self.show.is_some()
    }

    /// How many parts it has.
    pub fn weight(&self) -> usize {
        self.references.len() + self.edits.len() + self.reads.len()
    }

    /// What it reads, for people.
    pub fn words(&self) -> String {
        self.reads.iter().map(|read| read.listing.name).collect::<Vec<_>>().join(", ")
    }
}

/// The plan of a statement that reads the dictionary; `None` for all others.
pub(super) fn plan(
    planner: &Planner,
    text: &Text,
    sql: &[u8],
    lexing: &Lexing,
    database: Option<&[u8]>,
    recognised: Recognised,
) -> Option<Result<Planned, Refusal>> {
    if !matches!(recognised.class, Class::Read | Class::Show) {
        return None;
    }
    if let Some(show) = show::read(text, planner, database) {
        if recognised.uses.contains(Uses::MULTIPLE) {
            let what = "Several statements in one packet, of which one shows a sharded database";
            return Some(Err(Refusal::new(Reason::SeveralStatements, what)));
        }
        let reads = vec![Read { listing: show.listing(), columns: show.columns() }];
        let dictionary = Dictionary { reads, references: Vec::new(), edits: Vec::new(), show: Some(show) };
        return Some(Ok(Planned::Dictionary(Box::new(dictionary))));
    }
    let in_its_schema = database.is_some_and(is_information_schema);
    if !recognised.uses.contains(Uses::SYSTEM_SCHEMA) && !in_its_schema {
        return None;
    }
    let moved = database.filter(|name| planner.rules().home_of(name) != planner.rules().home);
    queried(text, sql, lexing, in_its_schema, moved)
}

fn queried(
    text: &Text,
    sql: &[u8],
    lexing: &Lexing,
    in_its_schema: bool,
    moved: Option<&[u8]>,
) -> Option<Result<Planned, Refusal>> {
    let begins: &[&[u8]] = &[b"SELECT", b"WITH", b"VALUES", b"TABLE", b"DO"];
    if !text.is_one_of(0, begins) && !text.is(0, b'(') {
        return None; // of a description or an explanation home's is as good
    }
    let mut references = Vec::new();
    for table in Outline::of(sql, lexing).tables {
        let in_schema = table.schema.as_deref().map_or(in_its_schema, is_information_schema);
        let Some(listing) = list::find(&table.name).filter(|_| in_schema) else { continue };
        let at = text.at_byte(table.span.start)?;
        let tokens = if table.schema.is_some() { 3 } else { 1 };
        if at.checked_sub(1).is_some_and(|before| text.is_word(before, b"TABLE"))
            || references.len() == REFERENCES_MAX
        {
            let what = "A table of information_schema is read in a form in which sharded tables cannot be put into it";
            return Some(Err(Refusal::new(Reason::Description, what)));
        }
        let after = at + tokens;
        let has_alias = text.is_word(after, b"AS") || text.is_name(after);
        references.push(Reference { listing, at, tokens, alias: (!has_alias).then_some(table.name) });
    }
    if references.is_empty() {
        return None;
    }
    let columns = columns(text);
    let mut reads: Vec<Read> = Vec::new();
    for reference in &references {
        if reads.iter().all(|read| read.listing.name != reference.listing.name) {
            reads.push(Read { listing: reference.listing, columns: columns.clone() });
        }
    }
    let mut edits = qualifiers(text, &references);
    edits.extend(moved.into_iter().flat_map(|name| current_database(text, name)));
    Some(Ok(Planned::Dictionary(Box::new(Dictionary { reads, references, edits, show: None }))))
}

/// Whether a table that is read has a column of this name, in capitals.
fn is_column(told: &[Told], name: &str) -> bool {
    told.iter().any(|told| told.columns.iter().any(|column| column.name == name))
}

/// The names that may be columns; `None` where all columns may be meant.
fn columns(text: &Text) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for at in 0..text.len() {
        let is_star = text.is(at, b'*') && !(text.is(at.saturating_sub(1), b'(') && text.is(at + 1, b')'));
        if is_star || text.is_word(at, b"NATURAL") {
            return None;
        }
        if matches!(text.kind(at), Kind::Word | Kind::Name | Kind::QuotedName) {
            names.push(String::from_utf8_lossy(&text.name(at)).to_ascii_lowercase());
        }
    }
    names.sort();
    names.dedup();
    Some(names)
}

/// What qualifies columns of a table that has no alias is written as its alias will be, and without the schema.
fn qualifiers(text: &Text, references: &[Reference]) -> Vec<NameEdit> {
    let mut edits = Vec::new();
    let inside = |at: At| references.iter().any(|own| (own.at..own.at + own.tokens).contains(&at));
    for at in (0..text.len()).filter(|at| text.is(at + 1, b'.') && !inside(*at)) {
        let name = text.name(at);
        let own = references
            .iter()
            .find_map(|own| own.alias.as_ref().filter(|alias| alias.eq_ignore_ascii_case(&name)));
        let Some(alias) = own else { continue };
        let behind_schema = at >= 2 && text.is(at - 1, b'.');
        if behind_schema && !is_information_schema(&text.name(at - 2)) {
            continue;
        }
        if behind_schema {
            edits.push(NameEdit { token: at - 2, edit: Edit::Without(at) });
        }
        if **alias != *name {
            edits.push(NameEdit { token: at, edit: Edit::Text(quoted(alias, b'`')) });
        }
    }
    edits
}

/// The default database is none where the statement runs: its name takes the place of DATABASE() and SCHEMA().
fn current_database(text: &Text, database: &[u8]) -> Vec<NameEdit> {
    let mut edits = Vec::new();
    let mut depth = 0u32;
    for at in 0..text.len() {
        depth += u32::from(text.is(at, b'('));
        depth = depth.saturating_sub(text.is(at, b')').into());
        let asks = text.is_one_of(at, &[b"DATABASE", b"SCHEMA"]) && !text.is(at.wrapping_sub(1), b'.');
        if !asks || !text.is(at + 1, b'(') || !text.is(at + 2, b')') {
            continue;
        }
        let mut name = compose::string(database);
        // A column's name is its text.
        let before = at.checked_sub(1);
        let is_column = before.is_some_and(|before| text.is_word(before, b"SELECT") || text.is(before, b','))
            && (text.is(at + 3, b',') || text.is_word(at + 3, b"FROM"));
        if depth == 0 && is_column {
            name.extend_from_slice(b" AS ");
            name.extend(quoted(&[text.bytes(at), b"()"].concat(), b'`'));
        }
        edits.push(NameEdit { token: at, edit: Edit::Text(name) });
        edits.push(NameEdit { token: at + 1, edit: Edit::Without(at + 3) });
    }
    edits
}

fn is_information_schema(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"information_schema")
}
