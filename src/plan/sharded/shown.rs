//! A plan in words: for `tidegate route`, EXPLAIN TIDEGATE and the golden cases.
//!
//! Owns: the words. Does not know: placement. Invariant: every part of a plan is shown, so that two plans that differ read differently.

use std::borrow::Cow;
use std::fmt::Write;

use super::choose::Chosen;
use super::edits::{NameEdit, Place, text_for};
use super::keys::{Bound, KeySource, Narrow, Typed};
use super::load::Load;
use super::makes::Makes;
use super::merge_words;
use super::parse::text::{At, Text, is_literal};
use super::planned::{
    Copies, Definition, Merge, Needs, Operand, Planned, Routed, Sites, Target, Upkeep, Verb,
};
use super::refusal::Refusal;
use super::split::Split;
use super::values::Arguments;
use crate::shard::{Database, Rules, Shard, ShardIx, ShardSet};
use crate::sql::Lexing;
use crate::sql::file::Format;

/// Sites of a statement that looks after tables whose texts are shown.
const TEXTS_OF_UPKEEP_MAX: usize = 64;

/// A part of a plan: what it is, and what it says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Such as `on`, `merge`, `shards`; the kind of statement in the first one.
    pub item: Cow<'static, str>,
    /// In words.
    pub value: String,
}

impl Line {
    /// A line.
    pub fn new(item: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self { item: item.into(), value: value.into() }
    }
}

/// Lines below a first one, as they are printed.
pub fn print(lines: &[Line]) -> String {
    let mut out = String::new();
    for Line { item, value } in lines {
        let value = value.replace('\n', "\n         ");
        let space = if item.len() > 6 { "  " } else { " " };
        _ = writeln!(out, "  {item:<6}{space}{value}");
    }
    out
}

/// The plan of a text, a line for each part.
pub fn describe(sql: &[u8], lexing: &Lexing, planned: &Planned, rules: &Rules) -> String {
    let lines = lines(sql, lexing, planned, rules);
    match &lines[..] {
        [] => String::new(),
        [home] if home.value.is_empty() => format!("{}\n", home.item),
        [first, error] if error.item == "error" => {
            format!("{}  {}\n         ERROR {}\n", first.item, first.value, error.value)
        }
        [first, rest @ ..] => format!("{}  {}\n{}", first.item, first.value, print(rest)),
    }
}

/// The same, part by part.
pub fn lines(sql: &[u8], lexing: &Lexing, planned: &Planned, rules: &Rules) -> Vec<Line> {
    match planned {
        Planned::Home => vec![Line::new("home", "")],
        Planned::HomeOf(cluster) if *cluster == rules.home => {
            vec![Line::new("home", "the default cluster's")]
        }
        Planned::HomeOf(cluster) => {
            let there = rules.moved().filter(|database| database.home.cluster == *cluster);
            let names = there.map(|database| &*database.name).collect::<Vec<_>>().join(", ");
            vec![Line::new("home", format!("that of {names}"))]
        }
        Planned::Refused(refusal) => {
            let (code, state) = refusal.reason.code();
            vec![
                Line::new("refused", refusal.reason.name()),
                Line::new("error", format!("{code} ({state}): {refusal}")),
            ]
        }
        Planned::Routed(routed) => Words::new(sql, lexing).routed(routed, rules),
        Planned::Copies(copies) => self::copies(sql, lexing, copies, rules),
        Planned::Definition(definition) => self::definition(sql, lexing, definition, rules),
        Planned::Upkeep(upkeep) => self::upkeep(sql, lexing, upkeep, rules),
        Planned::Dictionary(dictionary) => {
            vec![
                Line::new("dictionary", "home, with the shards' rows"),
                Line::new("reads", dictionary.words()),
            ]
        }
        Planned::Load(load) => self::load(sql, lexing, load, rules),
        Planned::Makes(makes) => self::makes(sql, lexing, makes, rules),
        Planned::Unlisted(unlisted) => {
            let what = format!("of {}, in order, as a shard tells them", unlisted.table);
            vec![
                Line::new("columns", what),
                Line::new("then", "planned with them, as if the client had named them"),
            ]
        }
    }
}

/// What becomes of a plan with an execution's values: the shards, and the text of each where it is not the client's, for as many of them.
pub fn execution(
    routed: &Routed,
    arguments: &Arguments<'_>,
    database: &Database,
    texts_max: usize,
) -> Vec<Line> {
    let refused = |refusal: Refusal| vec![Line::new("refused", refusal.to_string())];
    let shards = match routed.choose(arguments, database) {
        Ok(Chosen::One(shard)) => ShardSet::one(shard),
        Ok(Chosen::Several(shards)) => shards,
        Err(refusal) => return refused(refusal),
    };
    let texts = match Texts::of(routed, arguments, database, &shards) {
        Ok(texts) => texts,
        Err(refusal) => return refused(refusal),
    };
    let Some(keyspace) = database.keyspaces.get(routed.keyspace) else { return Vec::new() };
    let known: Vec<_> = shards.iter().filter_map(|shard| Some((shard, keyspace.shard(shard)?))).collect();
    let names: Vec<_> = known.iter().map(|(_, shard)| &*shard.name).collect();
    let mut out = vec![Line::new("shards", names.join(", "))];
    for (at, shard) in known.iter().take(texts_max) {
        let Some(text) = texts.on(*at, &place(shard, database), arguments) else { continue };
        let item = if texts_max == 1 { "sql".into() } else { Cow::Owned(format!("sql {}", shard.name)) };
        out.push(Line::new(item, String::from_utf8_lossy(&text)));
    }
    if known.len() > texts_max && texts_max > 1 {
        out.push(Line::new("sql", format!("… and that of {} shards more", known.len() - texts_max)));
    }
    out
}

/// An INSERT whose rows may need values.
fn makes(sql: &[u8], lexing: &Lexing, makes: &Makes, rules: &Rules) -> Vec<Line> {
    let rows = match makes.otherwise {
        Some(_) if makes.by.is_number() => "rows that ask for it by 0 or NULL",
        Some(_) => "rows that ask for it by NULL",
        None => "rows without one",
    };
    let mut out = vec![Line::new("makes", format!("`{}` by {} for {rows}", makes.column, makes.by.name()))];
    if let Some(planned) = &makes.otherwise {
        out.extend(lines(sql, lexing, planned, rules));
    }
    out
}

/// What shards are asked.
enum Texts<'a> {
    /// All the same, but for names.
    Alike(Vec<NameEdit>),
    /// Each for its rows.
    Rows(Split<'a>, Vec<ShardIx>, &'a [NameEdit]),
}

impl<'a> Texts<'a> {
    fn of(
        routed: &'a Routed,
        arguments: &Arguments<'a>,
        database: &Database,
        shards: &ShardSet,
    ) -> Result<Self, Refusal> {
        if shards.only().is_none()
            && let Ok(Merge::Rows(merged)) = &routed.many
        {
            return Ok(Self::Alike(merged.execution(&routed.edits, arguments)?.1));
        }
        if shards.only().is_none()
            && let Sites::Rows(rows) = &routed.sites
            && let Some(split) = Split::of(arguments.sql, arguments.lexing, rows)
        {
            return Ok(Self::Rows(split, routed.rows(arguments, database)?, &routed.edits));
        }
        Ok(Self::Alike(routed.edits.clone()))
    }

    /// A shard's text where it is not the client's.
    fn on(&self, shard: ShardIx, place: &Place<'_>, arguments: &Arguments<'_>) -> Option<Vec<u8>> {
        match self {
            Self::Alike(edits) => text_for(arguments.sql, arguments.lexing, edits, place),
            Self::Rows(split, places, edits) => {
                let own: Vec<_> = (0..places.len()).filter(|row| places.get(*row) == Some(&shard)).collect();
                let (text, edits) = split.only(&own, edits);
                Some(text_for(&text, arguments.lexing, &edits, place).unwrap_or(text))
            }
        }
    }
}

/// A change of all copies, and the text of the first one on a shard where it is not the client's.
fn copies(sql: &[u8], lexing: &Lexing, copies: &Copies, rules: &Rules) -> Vec<Line> {
    let Some(database) = rules.database(&copies.database) else { return Vec::new() };
    let shards = database.copies();
    let verb = format!("{:?}", copies.verb).to_ascii_lowercase();
    let mut out =
        vec![Line::new(verb, "all copies"), Line::new("on", format!("home and {} on shards", shards.len()))];
    if let Some(first) = shards.first()
        && let Some(text) = text_for(sql, lexing, &copies.edits, &place(first, database))
    {
        out.push(Line::new("sql", String::from_utf8_lossy(&text)));
    }
    out
}

/// A file: where its rows go, how it is read, and the text of the first shard where it is not the client's.
fn load(sql: &[u8], lexing: &Lexing, load: &Load, rules: &Rules) -> Vec<Line> {
    let Some(database) = rules.database(&load.database) else { return Vec::new() };
    let keyspace = load.keyspace.and_then(|at| database.keyspaces.get(at));
    let on = match keyspace {
        Some(_) => {
            let place = |place: &usize| match *place < load.fields {
                true => (place + 1).to_string(),
                false => "made".to_owned(),
            };
            let places: Vec<_> = load.places.iter().map(place).collect();
            format!("each row by field {} of {}", places.join(", "), load.fields)
        }
        None => {
            format!("each row of {} fields on home and {} on shards", load.fields, database.copies().len())
        }
    };
    let quoted = |bytes: &[u8]| format!("'{}'", bytes.escape_ascii());
    let Format { field_end, line_end, line_start, enclosed, escaped } = &load.format;
    let mut reads = format!("fields to {}, lines to {}", quoted(field_end), quoted(line_end));
    if !line_start.is_empty() {
        reads += &format!(" from {}", quoted(line_start));
    }
    for (byte, word) in [(enclosed, "enclosed by"), (escaped, "escaped by")] {
        reads += &byte.map(|byte| format!(", {word} {}", quoted(&[byte]))).unwrap_or_default();
    }
    if load.skip > 0 {
        reads += &format!(", behind {} lines", load.skip);
    }
    if let Some(makes) = &load.makes {
        reads += &format!(", with {} made where it ", makes.column);
        reads += if makes.place.is_some() { "is NULL or 0" } else { "is not listed" };
    }
    if let Some(charset) = &load.charset {
        reads += &format!(", in {charset}");
    }
    let of = keyspace.map_or("all copies".to_owned(), |keyspace| format!("keyspace {}", keyspace.name));
    let mut out = vec![Line::new("load", of), Line::new("on", on), Line::new("reads", reads)];
    let shards = keyspace.map_or(database.copies(), |keyspace| keyspace.shards.iter().collect());
    if let Some(first) = shards.first()
        && let Some(text) = text_for(sql, lexing, &load.edits, &place(first, database))
    {
        out.push(Line::new("sql", String::from_utf8_lossy(&text)));
    }
    out
}

/// A definition: its sites, and the text of the first shard where it is not the client's.
fn definition(sql: &[u8], lexing: &Lexing, definition: &Definition, rules: &Rules) -> Vec<Line> {
    let Some(database) = rules.database(&definition.database) else { return Vec::new() };
    let (home, shards) = definition.sites(database);
    let keyspace = definition.keyspace.and_then(|at| database.keyspaces.get(at));
    let of = keyspace.map_or("all copies".to_owned(), |keyspace| format!("keyspace {}", keyspace.name));
    let names = home.then_some("home").into_iter().chain(shards.iter().map(|shard| &*shard.name));
    let tables: Vec<_> = definition
        .targets
        .iter()
        .map(|Target { table, needs, .. }| match needs {
            Needs::Present => format!("{table} is there"),
            Needs::Absent => format!("{table} is not there"),
            Needs::Either => table.clone(),
        })
        .collect();
    let again = if definition.again { "; again where it is resumed" } else { "" };
    let mut out = vec![
        Line::new(definition.verb, of),
        Line::new("tables", format!("{}{again}", tables.join(", "))),
        Line::new("sites", names.collect::<Vec<_>>().join(", ")),
    ];
    if let Some(first) = shards.first()
        && let Some(text) = text_for(sql, lexing, &definition.edits, &place(first, database))
    {
        out.push(Line::new("sql", String::from_utf8_lossy(&text)));
    }
    out
}

/// A statement that looks after tables: its sites, and each one's text.
fn upkeep(sql: &[u8], lexing: &Lexing, upkeep: &Upkeep, rules: &Rules) -> Vec<Line> {
    let Some(database) = rules.database(&upkeep.database) else { return Vec::new() };
    let sites = upkeep.sites(database);
    let name = |shard: Option<&Shard>| shard.map_or("home".to_owned(), |shard| shard.name.clone());
    let names: Vec<_> = sites.iter().map(|site| name(site.shard)).collect();
    let merge = if upkeep.sums() { "sums of each table" } else { "messages of each table" };
    let mut out = vec![
        Line::new(upkeep.verb.clone(), "tables"),
        Line::new("sites", names.join(", ")),
        Line::new("merge", merge),
    ];
    for site in sites.iter().take(TEXTS_OF_UPKEEP_MAX) {
        let text = upkeep.text(sql, lexing, site);
        out.push(Line::new(format!("sql {}", name(site.shard)), String::from_utf8_lossy(&text)));
    }
    out
}

fn place<'a>(shard: &'a Shard, database: &'a Database) -> Place<'a> {
    Place {
        database: database.name.as_bytes(),
        schema: shard.schema.as_bytes(),
        suffix: shard.suffix.as_deref().unwrap_or_default().as_bytes(),
    }
}

struct Words {
    text: Text,
    literals: Vec<At>,
}

impl Words {
    fn new(sql: &[u8], lexing: &Lexing) -> Self {
        let text = Text::new(sql, lexing);
        let literals = (0..text.len()).filter(|at| is_literal(text.kind(*at))).collect();
        Self { text, literals }
    }

    fn routed(&self, routed: &Routed, rules: &Rules) -> Vec<Line> {
        let database = rules.database(&routed.database);
        let keyspace = database.and_then(|database| database.keyspaces.get(routed.keyspace));
        let verb = format!("{:?}", routed.verb).to_ascii_lowercase();
        let merge = match &routed.many {
            Ok(_) if routed.verb == Verb::Explain => "the shards' plans, one after the other".to_owned(),
            Ok(merge) => self.merge(merge),
            Err(refusal) => format!("refused: {}", refusal.reason.name()),
        };
        let mut lines = vec![
            Line::new(verb, format!("keyspace {}", keyspace.map_or("", |keyspace| &keyspace.name))),
            Line::new("on", self.sites(&routed.sites)),
        ];
        if routed.sites != Sites::First {
            lines.push(Line::new("merge", merge));
        }
        lines
    }

    fn sites(&self, sites: &Sites) -> String {
        match sites {
            Sites::Spread { narrow, given } => format!("{}{}", self.narrow(narrow), self.given(given)),
            Sites::Together { narrows, given } => {
                let narrows: Vec<_> = narrows.iter().map(|narrow| self.narrow(narrow)).collect();
                format!("one shard for each of: {}{}", narrows.join("; "), self.given(given))
            }
            Sites::First => "the first shard".to_owned(),
            Sites::Rows(rows) => {
                let keys: Vec<_> = rows.iter().map(|row| self.key(&row.key)).collect();
                format!("rows {}", keys.join(", "))
            }
        }
    }

    fn given(&self, given: &[Vec<KeySource>]) -> String {
        given.iter().map(|key| format!(", gives key {}", self.key(key))).collect()
    }

    fn narrow(&self, narrow: &Narrow) -> String {
        let list = |list: &[Narrow], word: &str| {
            let parts: Vec<_> = list.iter().map(|part| format!("({})", self.narrow(part))).collect();
            parts.join(word)
        };
        match narrow {
            Narrow::All => "all shards".to_owned(),
            Narrow::Keys(keys) => {
                let keys: Vec<_> = keys.iter().map(|key| self.key(key)).collect();
                format!("key {}", keys.join(" | "))
            }
            Narrow::Range { low, high } => {
                let end = |bound: &Bound, mark: &str| {
                    format!("{mark}{} {}", if bound.inclusive { "=" } else { "" }, self.source(bound.source))
                };
                let ends = [low.as_ref().map(|low| end(low, ">")), high.as_ref().map(|high| end(high, "<"))];
                format!("key {}", ends.into_iter().flatten().collect::<Vec<_>>().join(" and "))
            }
            Narrow::And(parts) => list(parts, " and "),
            Narrow::Or(parts) => list(parts, " or "),
        }
    }

    fn key(&self, key: &[KeySource]) -> String {
        match key {
            [one] => self.source(*one),
            several => {
                let parts: Vec<_> = several.iter().map(|part| self.source(*part)).collect();
                format!("({})", parts.join(", "))
            }
        }
    }

    fn source(&self, source: KeySource) -> String {
        match source {
            KeySource::Literal { ordinal, negative, typed } => {
                let at = self.literals.get(ordinal as usize).copied().unwrap_or(At::MAX);
                let sign = if negative { "-" } else { "" };
                let typed = if typed == Typed::Plain { String::new() } else { format!("{typed:?} ") };
                format!("{typed}{sign}{}", String::from_utf8_lossy(self.text.bytes(at)))
            }
            KeySource::Parameter(ordinal) => format!("?{ordinal}"),
            KeySource::Null => "NULL".to_owned(),
        }
    }

    fn merge(&self, merge: &Merge) -> String {
        let Merge::Rows(merged) = merge else { return "affected rows".to_owned() };
        let numbers: Vec<_> = merged.numbers.iter().map(|number| self.source(*number)).collect();
        let texts: Vec<_> = merged.texts.iter().map(|text| self.source(*text)).collect();
        let mut out = merge_words::describe(&merged.spec, &numbers, &texts);
        if let Some(cut) = merged.limit {
            out += &format!(", {} of them", self.operand(cut.count));
            if let Some(offset) = cut.offset {
                out += &format!(" after {}", self.operand(offset));
            }
            if !cut.pushed {
                out += " when all have come";
            }
        }
        out
    }

    fn operand(&self, operand: Operand) -> String {
        self.source(operand.source)
    }
}
