//! Definitions: which statements run on every shard of their tables, and as what.
//!
//! Owns: the heads of these statements, and which tables may stand in one. Does not know: what is inside a table (`body`, `changes`), how a
//! definition is carried out. Invariant: every table that a planned definition makes, changes or removes is listed, all of them are at the
//! same sites, and what follows from it for the key does not contradict the rules. Nothing here depends on values alone: plans of
//! definitions are not kept by shape, as the digits of a type are literals.

mod body;
mod changes;
mod key;
mod reader;
mod view;

pub(super) use self::view::plan as view;

use self::body::Body;
use self::reader::{Name, Reader, Sharded, What};
use super::copies::varying;
use super::homes::names_database;
use super::parse::text::{At, Text};
use super::planned::{Definition, Leaves, Needs, Planned, Target};
use super::planner::Planner;
use super::refusal::{Reason, Refusal, shown};

/// Longest definition, in tokens.
const TOKENS_MAX: At = 100_000;

/// What a statement begins with that is about definitions.
const BEGINS: &[&[u8]] = &[b"CREATE", b"ALTER", b"DROP", b"RENAME", b"TRUNCATE"];
/// What CREATE and DROP make and remove that is no table and no index.
const ROUTINES: &[&[u8]] = &[b"PROCEDURE", b"FUNCTION", b"EVENT", b"PACKAGE"];
/// In front of INDEX.
const KINDS_OF_INDEX: &[&[u8]] = &[b"UNIQUE", b"FULLTEXT", b"SPATIAL", b"VECTOR", b"ONLINE", b"OFFLINE"];

/// Whether the statement is one for `define`.
pub(super) fn is_definition(text: &Text) -> bool {
    text.is_one_of(0, BEGINS)
}

/// Refuses what would be done to the home of a database alone, though its shards are elsewhere: nothing of it names a table.
pub(super) fn of_database(text: &Text, planner: &Planner, database: Option<&[u8]>) -> Result<(), Refusal> {
    let mut reader = Reader::new(text, planner, database);
    let removes = reader.word(b"DROP") || reader.words(&[b"CREATE", b"OR", b"REPLACE"]);
    if !(removes || reader.word(b"ALTER")) || !reader.word_of(&[b"DATABASE", b"SCHEMA"]) {
        return Ok(());
    }
    reader.words(&[b"IF", b"EXISTS"]);
    let named = match names_database(text, reader.at) {
        true => Some(text.name(reader.at)),
        false => database.map(Into::into),
    };
    if !named.is_some_and(|name| planner.is_sharded(&name)) {
        return Ok(());
    }
    let what = "A database whose tables are on shards would be changed at its home only";
    Err(Refusal::new(Reason::Definition, what))
}

/// Plans a definition that names listed tables.
pub(super) fn define(
    text: &Text,
    planner: &Planner,
    database: Option<&[u8]>,
    mentions: &[At],
) -> Result<Planned, Refusal> {
    let named = mentions.first().map(|at| shown(&text.name(*at))).unwrap_or_default();
    if text.len() > TOKENS_MAX {
        return Err(Refusal::new(Reason::TooLong, format!("A statement that names {named} is too long")));
    }
    let mut reader = Reader::new(text, planner, database);
    let first = text.bytes(0).to_ascii_uppercase();
    reader.at = 1;
    let statement = match &first[..] {
        b"CREATE" => create(&mut reader)?,
        b"ALTER" => alter(&mut reader)?,
        b"DROP" => drop(&mut reader)?,
        b"RENAME" => rename(&mut reader)?,
        _ => {
            reader.word(b"TABLE");
            let table = reader.table()?;
            reader.wait();
            reader.end()?;
            Statement {
                verb: "truncate",
                targets: vec![(table, Needs::Present)],
                others: vec![],
                again: true,
            }
        }
    };
    reader.all_understood(mentions)?;
    planned(reader, statement)
}

/// A definition as it was read.
struct Statement<'a> {
    verb: &'static str,
    /// The tables that it makes, changes or removes.
    targets: Vec<(Name<'a>, Needs)>,
    /// Those that it only names.
    others: Vec<Name<'a>>,
    /// It leaves definitions as they are, and does no harm a second time.
    again: bool,
}

/// The plan, once all names are known.
fn planned(mut reader: Reader<'_>, statement: Statement<'_>) -> Result<Planned, Refusal> {
    let Statement { verb, targets, others, again } = statement;
    let Some((first, _)) = targets.first() else { return Err(reader.not_understood()) };
    let others: Vec<&Name<'_>> = others.iter().chain(targets.iter().map(|(name, _)| name)).collect();
    for other in others {
        match (&first.what, &other.what) {
            // Home has copies of reference tables.
            (What::Home, What::Home) => {}
            (What::Home, What::Reference(_)) if !is_target(&targets, other) => {}
            (What::Reference(one), What::Reference(two)) if one.name == two.name => {}
            (What::Sharded(one), What::Sharded(two)) if one.database.name == two.database.name => {
                if one.keyspace != two.keyspace {
                    return Err(Refusal::new(Reason::TwoKeyspaces, "Tables of two keyspaces"));
                }
            }
            // Every shard has a copy, and it is not defined by this.
            (What::Sharded(one), What::Reference(two))
                if one.database.name == two.name && !is_target(&targets, other) => {}
            (What::Sharded(_) | What::Reference(_), What::Sharded(_) | What::Reference(_)) => {
                let what = format!(
                    "{} is not where {} is, and both are in one definition",
                    other.shown(),
                    first.shown()
                );
                let two = first.database() != other.database();
                let reason = if two { Reason::TwoDatabases } else { Reason::HomeAndSharded };
                return Err(Refusal::new(reason, what));
            }
            (_, What::Home) | (What::Home, _) => {
                let what = format!("{} and {} are in one definition", first.shown(), other.shown());
                return Err(Refusal::new(Reason::HomeAndSharded, what));
            }
        }
    }
    let (database, keyspace) = match first.what {
        What::Home => return Ok(Planned::Home),
        What::Reference(database) => (database, None),
        What::Sharded(Sharded { database, keyspace, .. }) => (database, Some(keyspace)),
    };
    if let (None, "alter table", Some(function)) = (keyspace, verb, varying(reader.text)) {
        let what = format!(
            "The copies of {} would differ: {} has another value each time or on each server",
            first.shown(),
            shown(function)
        );
        return Err(Refusal::new(Reason::ReferenceWrite, what));
    }
    reader.edits.sort_by_key(|edit| edit.token);
    reader.edits.dedup();
    let target = |(name, needs): &(Name<'_>, Needs)| {
        let leaves = match (verb, needs) {
            ("drop table", _) | ("rename table", Needs::Present) => Leaves::Absent,
            ("create table" | "rename table", _) => Leaves::Present,
            _ => Leaves::Changed,
        };
        Target { table: String::from_utf8_lossy(&name.own).into_owned(), needs: *needs, leaves }
    };
    let targets = targets.iter().map(target).collect();
    Ok(Planned::Definition(Box::new(Definition {
        database: database.name.clone(),
        keyspace,
        verb,
        targets,
        again,
        edits: reader.edits,
    })))
}

fn is_target(targets: &[(Name<'_>, Needs)], name: &Name<'_>) -> bool {
    targets.iter().any(|(target, _)| target.at == name.at)
}

fn create<'a>(reader: &mut Reader<'a>) -> Result<Statement<'a>, Refusal> {
    let replaces = reader.words(&[b"OR", b"REPLACE"]);
    if reader.text.is_word(reader.at, b"TEMPORARY") {
        return Err(reader.temporary());
    }
    if reader.word(b"TABLE") {
        if replaces {
            let what = "CREATE OR REPLACE TABLE of a listed table would remove it twice where it is resumed";
            return Err(Refusal::new(Reason::Definition, what));
        }
        return create_table(reader);
    }
    let start = reader.at;
    while reader.word_of(KINDS_OF_INDEX) {}
    if reader.word(b"INDEX") {
        reader.words(&[b"IF", b"NOT", b"EXISTS"]);
        reader.name_of_part()?;
        while !reader.text.is_word(reader.at, b"ON") && reader.at < reader.text.len() {
            reader.at += 1; // USING BTREE
        }
        if !reader.word(b"ON") {
            return Err(reader.not_understood());
        }
        let table = reader.table()?;
        if !reader.text.is(reader.at, b'(') {
            reader.wait();
        }
        reader.no_query()?;
        return Ok(Statement::of("create index", table, Needs::Present));
    }
    reader.at = start;
    Err(reader.other_object())
}

fn create_table<'a>(reader: &mut Reader<'a>) -> Result<Statement<'a>, Refusal> {
    let maybe = reader.words(&[b"IF", b"NOT", b"EXISTS"]);
    let needs = if maybe { Needs::Either } else { Needs::Absent };
    let table = reader.table()?;
    let bracket = reader.text.is(reader.at, b'(') && reader.text.is_word(reader.at + 1, b"LIKE");
    reader.at += u32::from(bracket);
    if reader.word(b"LIKE") {
        let like = reader.table()?;
        reader.at += u32::from(bracket && reader.text.is(reader.at, b')'));
        reader.end()?;
        if let (What::Sharded(own), What::Sharded(other)) = (&table.what, &like.what)
            && own.key != other.key
        {
            let what = format!("{} has another key than {} in the rules", table.shown(), like.shown());
            return Err(Refusal::new(Reason::KeyColumn, what));
        }
        if let (What::Sharded(_), What::Reference(_)) = (&table.what, &like.what) {
            let what =
                format!("{} is made like {}, whose columns are not known", table.shown(), like.shown());
            return Err(Refusal::new(Reason::KeyColumn, what));
        }
        return Ok(Statement { others: vec![like], ..Statement::of("create table", table, needs) });
    }
    let others = Body { table: &table }.read(reader)?;
    Ok(Statement { others, ..Statement::of("create table", table, needs) })
}

fn alter<'a>(reader: &mut Reader<'a>) -> Result<Statement<'a>, Refusal> {
    let start = reader.at;
    while reader.word_of(&[b"ONLINE", b"IGNORE"]) {}
    if !reader.word(b"TABLE") {
        reader.at = start;
        return Err(reader.other_object());
    }
    reader.words(&[b"IF", b"EXISTS"]);
    let table = reader.table()?;
    reader.wait();
    let others = changes::read(reader, &table)?;
    Ok(Statement { others, ..Statement::of("alter table", table, Needs::Present) })
}

fn drop<'a>(reader: &mut Reader<'a>) -> Result<Statement<'a>, Refusal> {
    if reader.text.is_word(reader.at, b"TEMPORARY") {
        return Err(reader.temporary());
    }
    if reader.word_of(&[b"TABLE", b"TABLES"]) {
        let maybe = reader.words(&[b"IF", b"EXISTS"]);
        let needs = if maybe { Needs::Either } else { Needs::Present };
        let mut targets = Vec::new();
        loop {
            targets.push((reader.table()?, needs));
            if !reader.punct(b',') {
                break;
            }
        }
        reader.wait();
        reader.word_of(&[b"RESTRICT", b"CASCADE"]);
        reader.end()?;
        return Ok(Statement { verb: "drop table", targets, others: vec![], again: false });
    }
    let start = reader.at;
    reader.word_of(&[b"ONLINE", b"OFFLINE"]);
    if reader.word(b"INDEX") {
        reader.words(&[b"IF", b"EXISTS"]);
        reader.name_of_part()?;
        if !reader.word(b"ON") {
            return Err(reader.not_understood());
        }
        let table = reader.table()?;
        return Ok(Statement::of("drop index", table, Needs::Present));
    }
    reader.at = start;
    Err(reader.other_object())
}

fn rename<'a>(reader: &mut Reader<'a>) -> Result<Statement<'a>, Refusal> {
    if !reader.word_of(&[b"TABLE", b"TABLES"]) {
        return Err(reader.other_object());
    }
    reader.words(&[b"IF", b"EXISTS"]);
    let mut targets: Vec<(Name<'a>, Needs)> = Vec::new();
    loop {
        let from = reader.table()?;
        reader.wait();
        if !reader.word(b"TO") {
            return Err(reader.not_understood());
        }
        let to = reader.table()?;
        changes::may_be_renamed(&from, &to)?;
        // A name that comes twice, as where two tables change places, has no state that could be asked about.
        for (name, needs) in [(from, Needs::Present), (to, Needs::Absent)] {
            match targets.iter_mut().find(|(known, _)| known.own == name.own) {
                Some(known) => known.1 = Needs::Either,
                None => targets.push((name, needs)),
            }
        }
        if !reader.punct(b',') {
            break;
        }
    }
    reader.end()?;
    if targets.iter().any(|(_, needs)| *needs == Needs::Either) {
        let what = "A name comes twice in one RENAME TABLE, so that nobody could tell whether it was done";
        return Err(Refusal::new(Reason::Rename, what));
    }
    Ok(Statement { verb: "rename table", targets, others: vec![], again: false })
}

impl<'a> Statement<'a> {
    fn of(verb: &'static str, table: Name<'a>, needs: Needs) -> Self {
        Self { verb, targets: vec![(table, needs)], others: Vec::new(), again: false }
    }
}
