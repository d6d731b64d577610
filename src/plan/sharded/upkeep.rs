//! ANALYZE, CHECK, OPTIMIZE, REPAIR and CHECKSUM TABLE: which tables they name, and the text for each site that has some of them.
//!
//! Owns: the form of these statements, which site has which tables. Does not know: how answers become one (`session::scatter::upkeep`). Invariant: every
//! table of the statement is at one site at least, and every site is asked of its own tables alone, by their names there.

use std::ops::Range;

use super::parse::text::{At, Text};
use super::planned::{Planned, Tended, Upkeep, UpkeepSite, Where};
use super::planner::{Meaning, Planner};
use super::refusal::{Reason, Refusal, shown};
use crate::shard::{Database, Shard, Table};
use crate::sql::{Lexing, quoted};

const BEGINS: &[&[u8]] = &[b"ANALYZE", b"CHECK", b"OPTIMIZE", b"REPAIR", b"CHECKSUM"];

/// Plans a statement of this kind; `None` for all others.
pub(super) fn plan(
    planner: &Planner,
    text: &Text,
    database: Option<&[u8]>,
) -> Option<Result<Planned, Refusal>> {
    if !text.is_one_of(0, BEGINS) {
        return None;
    }
    let logged = text.is_one_of(1, &[b"NO_WRITE_TO_BINLOG", b"LOCAL"]);
    let at = 1 + At::from(logged);
    let is_tables = text.is_one_of(at, &[b"TABLE", b"TABLES"]);
    is_tables.then(|| read(planner, text, database, at + 1))
}

fn read(planner: &Planner, text: &Text, default: Option<&[u8]>, start: At) -> Result<Planned, Refusal> {
    let mut at = start;
    let mut tables: Vec<Tended> = Vec::new();
    let mut own: Option<&Database> = None;
    let tail = loop {
        if !text.is_name(at) {
            let what =
                "Something else stands in the place of a table's name in a statement that looks after tables";
            return Err(Refusal::new(Reason::NotParsed, what));
        }
        let qualified = text.is(at + 1, b'.');
        let name = at..at + if qualified { 3 } else { 1 };
        at = name.end;
        let table = text.name(name.end - 1).into_owned();
        let schema = if qualified { Some(text.name(name.start)) } else { default.map(Into::into) };
        let place = match planner.table(schema.as_deref(), &table) {
            Meaning::Home => Where::Home,
            Meaning::OtherCase => {
                let what = format!("{} differs in its case from a table of the rules", shown(&table));
                return Err(Refusal::new(Reason::NameCase, what));
            }
            Meaning::Listed(database, listed) => {
                if own.replace(database).is_some_and(|before| before.name != database.name) {
                    return Err(Refusal::new(Reason::TwoDatabases, "Tables of two databases of the rules"));
                }
                match listed {
                    Table::Reference { .. } => Where::Copies,
                    Table::Sharded { keyspace, .. } => Where::Shards(*keyspace),
                }
            }
        };
        let schema = schema.map(|schema| schema.into_owned()).unwrap_or_default();
        tables.push(Tended { name, schema, table, place });
        if !text.is(at, b',') {
            break at..text.len();
        }
        at += 1;
    };
    if is_of_several(text, &tail, tables.len()) {
        let what = "Statistics are asked for by PERSISTENT, with several tables in one statement";
        return Err(Refusal::new(Reason::NotParsed, what));
    }
    let Some(database) = own else { return Ok(Planned::Home) };
    let upkeep = Upkeep {
        database: database.name.clone(),
        verb: String::from_utf8_lossy(text.bytes(0)).to_ascii_lowercase(),
        tables,
        head: 0..start,
        tail,
    };
    Ok(if upkeep.sites(database).iter().all(|site| site.shard.is_none()) {
        Planned::Home
    } else {
        Planned::Upkeep(Box::new(upkeep))
    })
}

/// MariaDB's `PERSISTENT FOR …` stands behind one table and holds for all (tried on 10.11): with several it is not told apart which it is for.
fn is_of_several(text: &Text, tail: &Range<At>, tables: usize) -> bool {
    let mut depth = 0u32;
    let more = tail.clone().any(|at| {
        depth += u32::from(text.is(at, b'('));
        depth = depth.saturating_sub(text.is(at, b')').into());
        depth == 0 && text.is(at, b',')
    });
    text.is_word(tail.start, b"PERSISTENT") && (more || tables > 1)
}

impl Upkeep {
    /// Whether it is CHECKSUM, whose answers are added up, and which changes nothing.
    pub fn sums(&self) -> bool {
        self.verb == "checksum"
    }

    /// Where it runs, and which tables there: home first, then the shards in the order of the rules.
    pub fn sites<'a>(&self, database: &'a Database) -> Vec<UpkeepSite<'a>> {
        let of = |has: &dyn Fn(Where) -> bool| -> Vec<usize> {
            let tables = self.tables.iter().enumerate().filter(|(_, table)| has(table.place));
            tables.map(|(at, _)| at).collect()
        };
        let copies = if self.sums() { Vec::new() } else { database.copies() };
        let home = of(&|place| matches!(place, Where::Home | Where::Copies));
        let mut sites = vec![UpkeepSite { shard: None, tables: home }];
        for (at, keyspace) in database.keyspaces.iter().enumerate() {
            for shard in &keyspace.shards {
                let has_copy = copies.iter().any(|copy| std::ptr::eq(*copy, shard));
                let tables = of(&|place| place == Where::Shards(at) || has_copy && place == Where::Copies);
                sites.push(UpkeepSite { shard: Some(shard), tables });
            }
        }
        sites.retain(|site| !site.tables.is_empty());
        sites
    }

    /// The text for a site.
    pub fn text(&self, sql: &[u8], lexing: &Lexing, site: &UpkeepSite<'_>) -> Vec<u8> {
        let text = Text::new(sql, lexing);
        let words =
            |tokens: &Range<At>| tokens.clone().map(|at| text.bytes(at)).collect::<Vec<_>>().join(&b' ');
        let mut out = words(&self.head);
        let tables = site.tables.iter().filter_map(|at| self.tables.get(*at));
        for (at, table) in tables.enumerate() {
            out.extend_from_slice(if at > 0 { b", " } else { b" " });
            match site.shard {
                Some(shard) => out.extend(physical(shard, table)),
                None => table.name.clone().for_each(|at| out.extend_from_slice(text.bytes(at))),
            }
        }
        if !self.tail.is_empty() {
            out.push(b' ');
            out.extend(words(&self.tail));
        }
        out
    }
}

/// A table's name on a shard, as SQL.
fn physical(shard: &Shard, table: &Tended) -> Vec<u8> {
    let mut out = quoted(shard.schema.as_bytes(), b'`');
    out.push(b'.');
    let name = [&table.table, shard.suffix.as_deref().unwrap_or_default().as_bytes()].concat();
    out.extend(quoted(&name, b'`'));
    out
}
