//! A plan in words: for `tidegate route`, EXPLAIN TIDEGATE and the golden cases.
//!
//! Owns: the words. Does not know: placement. Invariant: every part of a plan is shown, so that two plans that differ read differently.

use std::fmt::Write;

use super::choose::Chosen;
use super::edits::{NameEdit, Place, text_for};
use super::keys::{Bound, KeySource, Narrow, Typed};
use super::merge_words;
use super::parse::text::{At, Text, is_literal};
use super::planned::{Copies, Definition, Merge, Needs, Operand, Planned, Routed, Sites, Target};
use super::values::Arguments;
use crate::shard::{Database, Rules, Shard};
use crate::sql::Lexing;

/// The plan of a text, a line for each part.
pub fn describe(sql: &[u8], lexing: &Lexing, planned: &Planned, rules: &Rules) -> String {
    match planned {
        Planned::Home => "home\n".to_owned(),
        Planned::Refused(refusal) => {
            let (code, state) = refusal.reason.code();
            format!("refused  {}\n         ERROR {code} ({state}): {refusal}\n", refusal.reason.name())
        }
        Planned::Routed(routed) => Words::new(sql, lexing).routed(routed, rules),
        Planned::Copies(copies) => self::copies(sql, lexing, copies, rules),
        Planned::Definition(definition) => self::definition(sql, lexing, definition, rules),
    }
}

/// What becomes of a plan with an execution's values: the shards, and the text of the first one where it is not the client's.
pub fn describe_execution(routed: &Routed, arguments: &Arguments<'_>, database: &Database) -> String {
    let mut edits = routed.edits.clone();
    let shards: Vec<_> = match routed.choose(arguments, database) {
        Ok(Chosen::One(shard)) => vec![shard],
        Ok(Chosen::Several(shards)) => {
            if let Ok(Merge::Rows(merged)) = &routed.many {
                match merged.execution(&routed.edits, arguments) {
                    Ok((_, all)) => edits = all,
                    Err(refusal) => return format!("  refused  {refusal}\n"),
                }
            }
            shards.iter().collect()
        }
        Err(refusal) => return format!("  refused  {refusal}\n"),
    };
    let keyspace = database.keyspaces.get(routed.keyspace);
    let shards: Vec<_> = shards.iter().filter_map(|shard| keyspace?.shard(*shard)).collect();
    let names: Vec<_> = shards.iter().map(|shard| &*shard.name).collect();
    let mut out = format!("  shards {}\n", names.join(", "));
    let Some(first) = shards.first() else { return out };
    out += &text_on(first, database, arguments.sql, arguments.lexing, &edits);
    out
}

/// A change of all copies, and the text of the first one on a shard where it is not the client's.
fn copies(sql: &[u8], lexing: &Lexing, copies: &Copies, rules: &Rules) -> String {
    let Some(database) = rules.database(&copies.database) else { return String::new() };
    let shards = database.copies();
    let verb = format!("{:?}", copies.verb).to_ascii_lowercase();
    let mut out = format!("{verb}  all copies\n  on     home and {} on shards\n", shards.len());
    if let Some(first) = shards.first() {
        out += &text_on(first, database, sql, lexing, &copies.edits);
    }
    out
}

/// A definition: its sites, and the text of the first shard where it is not the client's.
fn definition(sql: &[u8], lexing: &Lexing, definition: &Definition, rules: &Rules) -> String {
    let Some(database) = rules.database(&definition.database) else { return String::new() };
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
    let mut out = format!("{}  {of}\n  tables {}", definition.verb, tables.join(", "));
    out += if definition.again { "; again where it is resumed\n" } else { "\n" };
    out += &format!("  sites  {}\n", names.collect::<Vec<_>>().join(", "));
    if let Some(first) = shards.first() {
        out += &text_on(first, database, sql, lexing, &definition.edits);
    }
    out
}

/// A shard's text where it is not the client's.
fn text_on(shard: &Shard, database: &Database, sql: &[u8], lexing: &Lexing, edits: &[NameEdit]) -> String {
    let place = Place {
        database: database.name.as_bytes(),
        schema: shard.schema.as_bytes(),
        suffix: shard.suffix.as_deref().unwrap_or_default().as_bytes(),
    };
    let text = text_for(sql, lexing, edits, &place);
    let told = |text: Vec<u8>| String::from_utf8_lossy(&text).replace('\n', "\n         ");
    text.map(told).map_or_else(String::new, |text| format!("  sql    {text}\n"))
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

    fn routed(&self, routed: &Routed, rules: &Rules) -> String {
        let database = rules.database(&routed.database);
        let keyspace = database.and_then(|database| database.keyspaces.get(routed.keyspace));
        let mut out = format!("{:?}", routed.verb).to_ascii_lowercase();
        out += &format!("  keyspace {}\n", keyspace.map_or("", |keyspace| &keyspace.name));
        _ = writeln!(out, "  on     {}", self.sites(&routed.sites));
        match &routed.many {
            Ok(merge) => _ = writeln!(out, "  merge  {}", self.merge(merge)),
            Err(refusal) => _ = writeln!(out, "  merge  refused: {}", refusal.reason.name()),
        }
        out
    }

    fn sites(&self, sites: &Sites) -> String {
        match sites {
            Sites::Spread { narrow, given } => format!("{}{}", self.narrow(narrow), self.given(given)),
            Sites::Together { narrows, given } => {
                let narrows: Vec<_> = narrows.iter().map(|narrow| self.narrow(narrow)).collect();
                format!("one shard for each of: {}{}", narrows.join("; "), self.given(given))
            }
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
