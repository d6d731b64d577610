//! From a packet to its plan: which statements there are, and what is common to all.
//!
//! Owns: the order of the questions, and the choice between one shard and several. Does not know: what each verb asks for besides.
//! Invariant: that of the module.

use super::across;
use super::define;
use super::derived;
use super::describe;
use super::dictionary;
use super::facts::Known;
use super::gate;
use super::homes;
use super::keys::{KeySource, Narrow, any};
use super::load;
use super::parse::statement::Statement;
use super::parse::text::{At, Text};
use super::parse::{Modes, NoTree, parse};
use super::planned::{Merge, Planned, Routed, Sites, Verb};
use super::planner::Planner;
use super::reach::Reach;
use super::refusal::{Reason, Refusal, shown};
use super::scope::{BlockIx, Instance, InstanceIx, Scope, What};
use super::upkeep;
use crate::shard::{Charset, Database, Policy};
use crate::sql::lexer::Kind;
use crate::sql::{Lexing, Recognised, Uses};

/// What is asked: one packet in the state of a session.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The text.
    pub sql: &'a [u8],
    /// How it is read.
    pub lexing: &'a Lexing,
    /// sql_mode besides.
    pub modes: Modes,
    /// The default database, as the client knows it.
    pub database: Option<&'a [u8]>,
    /// What its bytes mean: character_set_client.
    pub charset: Charset,
    /// What the lexer pass has found.
    pub recognised: Recognised,
}

/// Plans a packet.
pub(super) fn plan(planner: &Planner, request: &Request<'_>) -> Planned {
    let mut planned = decide(planner, request);
    if planner.moves_any() {
        planned = homes::place(planner, request, planned);
    }
    planned.unwrap_or_else(Planned::Refused)
}

fn decide(planner: &Planner, request: &Request<'_>) -> Result<Planned, Refusal> {
    let text = Text::new(request.sql, request.lexing);
    if request.charset != Charset::Utf8 && gate::in_other_bytes(&text, planner) {
        let what = "A name is not in UTF-8, and neither are names of sharded tables in ASCII";
        return Err(Refusal::new(Reason::NameCharset, what));
    }
    let mentions = gate::mentions(&text, planner, request.database);
    if !request.recognised.uses.contains(Uses::MULTIPLE)
        && let Some(described) = describe::plan(planner, &text, request.database, &mentions)
    {
        return described;
    }
    if mentions.is_empty() {
        define::of_database(&text, planner, request.database)?;
        let Request { sql, lexing, database, recognised, .. } = *request;
        if let Some(planned) = dictionary::plan(planner, &text, sql, lexing, database, recognised) {
            return planned;
        }
        return if prepares_text(&text) { text_prepared(&text, planner, request) } else { Ok(Planned::Home) };
    }
    let named = mentions.first().map(|at| shown(&text.name(*at))).unwrap_or_default();
    let refuse = |reason, what: &str| Err(Refusal::new(reason, what.replace("{}", &named)));
    let uses = request.recognised.uses;
    if uses.contains(Uses::MULTIPLE) {
        return refuse(
            Reason::SeveralStatements,
            "Several statements in one packet, and {} is among their names",
        );
    }
    if !uses.contains(Uses::DOUBT)
        && let Some(planned) = upkeep::plan(planner, &text, request.database)
    {
        return planned;
    }
    if define::is_definition(&text) && !uses.contains(Uses::DOUBT) {
        let view = define::view(&text, planner, request, &mentions);
        return view.unwrap_or_else(|| define::define(&text, planner, request.database, &mentions));
    }
    if load::is_load(&text) && !uses.contains(Uses::DOUBT) {
        return load::plan(&text, planner, request, &mentions);
    }
    let Some(first) = first_of_statement(&text) else {
        let (reason, what) = other_statement(&text);
        return refuse(reason, what);
    };
    if uses.contains(Uses::DOUBT) {
        return refuse(Reason::NotParsed, "A statement that names {} is not understood");
    }
    let (text, parsed) = parse(text, first, request.modes);
    let statement = match parsed {
        Ok(statement) => statement,
        Err(NoTree::TooDeep) => {
            return refuse(Reason::TooDeep, "A statement that names {} is nested too deeply");
        }
        Err(NoTree::TooLong) => return refuse(Reason::TooLong, "A statement that names {} is too long"),
        Err(NoTree::SqlMode) => {
            return refuse(
                Reason::SqlMode,
                "A statement that names {} uses an operator that sql_mode changes",
            );
        }
        Err(NoTree::NotParsed(_)) if uses.contains(Uses::INTO) => {
            return refuse(Reason::IntoFile, "A statement that names {} writes its rows to a file");
        }
        Err(NoTree::NotParsed(_)) => {
            return refuse(Reason::NotParsed, "A statement that names {} is not understood");
        }
    };
    let mut scope = Scope::new(&text, planner, request.database);
    let planned = match &statement {
        Statement::Query(query) => {
            let top = scope.query(query, None, false)?;
            understood(&scope, &mentions)?;
            scope.functions(uses)?;
            let tops = scope.tops(&query.body);
            let inside = derived::selects(&scope, query);
            routed(&mut scope, (&tops, &inside), Vec::new(), Verb::Select, |scope| {
                across::merge(scope, query, top, uses)
            })
        }
        Statement::Update(update) => scope.update(update, &mentions, uses),
        Statement::Delete(delete) => scope.delete(delete, &mentions, uses),
        Statement::Insert(insert) => scope.insert(insert, &mentions, uses),
    }?;
    let runs = text.is_word(0, b"ANALYZE");
    Ok(if first > 0 { explained(planned, runs) } else { planned })
}

/// EXPLAIN runs where the statement would; several shards' plans come one after the other. MariaDB's ANALYZE carries the statement out.
fn explained(planned: Planned, runs: bool) -> Planned {
    let mut routed = match planned {
        Planned::Routed(routed) => routed,
        Planned::Copies(_) => return Planned::Home,
        Planned::Makes(makes) => match makes.otherwise {
            Some(otherwise) => return explained(*otherwise, runs),
            None => match makes.bare {
                Some(bare) => Box::new(bare),
                None => return Planned::Home,
            },
        },
        other => return other,
    };
    routed.verb = Verb::Explain;
    routed.ignores.clear();
    if routed.many == Ok(Merge::Affected) {
        routed.many = match runs {
            true => Err(Refusal::new(Reason::ExplainAcrossShards, "ANALYZE of a change of several shards")),
            false => Ok(Merge::Rows(Box::default())),
        };
    }
    Planned::Routed(routed)
}

/// The tables that the gate has seen are those that were found.
pub(super) fn understood(scope: &Scope<'_>, mentions: &[At]) -> Result<(), Refusal> {
    if gate::all_understood(scope, mentions) {
        return Ok(());
    }
    Err(Refusal::new(Reason::NotParsed, "A table's name stands in a place that is not understood"))
}

/// The first token of a statement that can be planned, behind EXPLAIN and its kin; `None` for all others.
pub(super) fn first_of_statement(text: &Text) -> Option<At> {
    let begins: &[&[u8]] = &[b"SELECT", b"WITH", b"VALUES", b"UPDATE", b"DELETE", b"INSERT", b"REPLACE"];
    let begins = |at: At| text.is_one_of(at, begins) || text.is(at, b'(');
    if begins(0) {
        return Some(0);
    }
    if !text.is_one_of(0, &[b"EXPLAIN", b"DESCRIBE", b"DESC", b"ANALYZE"]) {
        return None;
    }
    let mut at = 1;
    loop {
        if begins(at) {
            return Some(at);
        }
        at += match () {
            () if text.is_one_of(at, &[b"EXTENDED", b"PARTITIONS", b"ANALYZE"]) => 1,
            () if text.is_word(at, b"FORMAT") && text.is(at + 1, b'=') => 3,
            () => return None,
        };
    }
}

/// Why a statement that is none of those is refused.
fn other_statement(text: &Text) -> (Reason, &'static str) {
    let is = |words: &[&[u8]]| text.is_one_of(0, words);
    if is(&[
        b"CREATE",
        b"ALTER",
        b"DROP",
        b"RENAME",
        b"TRUNCATE",
        b"OPTIMIZE",
        b"REPAIR",
        b"CHECK",
        b"ANALYZE",
    ]) || is(&[b"CHECKSUM", b"CACHE", b"GRANT", b"REVOKE"])
    {
        (Reason::Definition, "A statement that defines or maintains {}")
    } else if is(&[b"SHOW", b"DESCRIBE", b"DESC", b"EXPLAIN", b"HELP"]) {
        (Reason::Description, "A statement that describes {}")
    } else if is(&[b"LOCK", b"UNLOCK", b"HANDLER", b"FLUSH", b"BACKUP"]) {
        (Reason::TableLock, "A statement that locks or opens {}")
    } else if is(&[b"LOAD", b"IMPORT"]) {
        (Reason::Load, "A file is loaded into {}")
    } else if is(&[b"PREPARE", b"EXECUTE", b"DEALLOCATE"]) {
        (Reason::TextPrepared, "A text that names {} is prepared by a statement")
    } else {
        (Reason::Statement, "A statement of this kind names {}")
    }
}

/// Whether it is PREPARE, or EXECUTE IMMEDIATE.
pub(super) fn prepares_text(text: &Text) -> bool {
    text.is_word(0, b"PREPARE") || text.is_word(0, b"EXECUTE") && text.is_word(1, b"IMMEDIATE")
}

/// PREPARE … FROM: the text may name a listed table, or not be known.
fn text_prepared(text: &Text, planner: &Planner, request: &Request<'_>) -> Result<Planned, Refusal> {
    let sharded = request.database.is_some_and(|name| planner.is_sharded(name));
    let known = (0..text.len()).all(|at| text.kind(at) != Kind::UserVariable);
    if gate::strings_mention(text, planner) || sharded && !known {
        let what = "A text that may name a sharded table is prepared by a statement";
        return Err(Refusal::new(Reason::TextPrepared, what));
    }
    Ok(Planned::Home)
}

/// The sharded tables of a statement, all of one keyspace.
pub(super) struct Tables<'a> {
    pub sharded: Vec<InstanceIx>,
    pub database: &'a Database,
    pub keyspace: usize,
}

impl<'a> Scope<'a> {
    /// The sharded tables, if they can be in one statement; `None` when there are none. Reference tables are at home too.
    pub(super) fn tables(&self) -> Result<Option<Tables<'a>>, Refusal> {
        let mut tables: Option<Tables<'a>> = None;
        for (at, instance) in self.instances.iter().enumerate() {
            let What::Sharded { database, keyspace, .. } = instance.what else { continue };
            match &mut tables {
                None => tables = Some(Tables { sharded: vec![at], database, keyspace }),
                Some(tables) if tables.database.name != database.name => {
                    return Err(Refusal::new(Reason::TwoDatabases, "Tables of two sharded databases"));
                }
                Some(tables) if tables.keyspace != keyspace => {
                    return Err(Refusal::new(Reason::TwoKeyspaces, "Tables of two keyspaces"));
                }
                Some(tables) => tables.sharded.push(at),
            }
        }
        let at_home = |instance: &&Instance<'_>| matches!(instance.what, What::Home);
        let home = self.instances.iter().find(at_home).and_then(|instance| instance.name);
        if let (Some(home), Some(_)) = (home, &tables) {
            let what =
                format!("{} is at home, other tables are sharded", shown(&self.text.name(home.last())));
            return Err(Refusal::new(Reason::HomeAndSharded, what));
        }
        Ok(tables)
    }

    /// What may stand in the way wherever the statement runs.
    pub(super) fn functions(&self, uses: Uses) -> Result<(), Refusal> {
        if uses.contains(Uses::USER_LOCK) {
            return Err(Refusal::new(
                Reason::ServerFunction,
                "A user lock is taken in a statement on sharded tables",
            ));
        }
        let own = |call: &&super::scope::Called| call.qualified;
        match self.calls.iter().find(own) {
            None => Ok(()),
            Some(call) => {
                let what = format!("{} is called by a qualified name", shown(&call.name));
                Err(Refusal::new(Reason::QualifiedFunction, what))
            }
        }
    }
}

/// The plan, when all names are known. `tops` are the statement's own SELECTs, `inside` those of a derived table that is read as a sharded one.
/// `merge` says what is done when several shards are asked.
pub(super) fn routed(
    scope: &mut Scope<'_>,
    (tops, inside): (&[Reach], &[Reach]),
    given: Vec<Vec<KeySource>>,
    verb: Verb,
    merge: impl FnOnce(&Scope<'_>) -> Result<Merge, Refusal>,
) -> Result<Planned, Refusal> {
    let Some(Tables { sharded, database, keyspace }) = scope.tables()? else { return Ok(Planned::Home) };
    scope.edits.sort_by_key(|edit| edit.token);
    scope.edits.dedup();
    let apart = || Refusal::new(Reason::KeysApart, "The keys of this statement lie in several shards");
    let (sites, many);
    let known: Vec<(InstanceIx, Known)> = sharded.iter().map(|at| (*at, scope.known(*at))).collect();
    if let Some(anchors) = anchors(scope, tops, &known).or_else(|| anchors(scope, inside, &known)) {
        many = merge(scope);
        for (anchor, _) in anchors.iter().filter(|(_, known)| known.narrow == Narrow::All) {
            without_key(scope, database, verb, *anchor)?;
            // A key that is given to rows is no condition.
            if let Err(refusal) = &many {
                return Err(refusal.clone());
            }
        }
        let mut narrows: Vec<_> = anchors.into_iter().map(|(_, known)| known.narrow.clone()).collect();
        narrows.dedup();
        let narrow = if narrows.len() == 1 { narrows.remove(0) } else { any(narrows) };
        sites = Sites::Spread { narrow, given };
    } else {
        let top = tops.first().filter(|_| tops.len() == 1).map(|top| top.block);
        let mut narrows = Vec::new();
        for (at, known) in known {
            if known.narrow == Narrow::All {
                return Err(scope.not_tied(at, top, &sharded));
            }
            if !narrows.contains(&known.narrow) {
                narrows.push(known.narrow);
            }
        }
        sites = Sites::Together { narrows, given };
        many = Err(apart());
    }
    let edits = scope.edits.clone();
    Ok(Planned::Routed(Box::new(Routed {
        database: database.name.clone(),
        keyspace,
        verb,
        sites,
        many,
        edits,
        ignores: Vec::new(),
    })))
}

/// Whether the sharded tables of these SELECTs follow one of their own each, by their keys.
pub(super) fn are_tied(scope: &Scope<'_>, tops: &[Reach]) -> bool {
    let sharded =
        scope.instances.iter().enumerate().filter(|(_, own)| matches!(own.what, What::Sharded { .. }));
    let known: Vec<_> = sharded.map(|(at, _)| (at, scope.known(at))).collect();
    let own = |top: &Reach| top.instances.clone().any(|at| known.iter().any(|(own, _)| *own == at));
    tops.iter().all(own) && anchors(scope, tops, &known).is_some()
}

/// The table of each SELECT, of one or of a UNION's, that every row of its result has, and that all others there follow by their keys. A
/// SELECT without sharded tables has none; `None` where another has none.
fn anchors<'k>(
    scope: &Scope<'_>,
    tops: &[Reach],
    known: &'k [(InstanceIx, Known)],
) -> Option<Vec<(InstanceIx, &'k Known)>> {
    let mut anchors = Vec::new();
    let mut covered = 0;
    for top in tops {
        let own = || known.iter().filter(|(at, _)| top.instances.contains(at));
        if own().next().is_none() {
            continue;
        }
        let (anchor, narrow) = own().find(|(anchor, _)| {
            let kept = scope
                .instances
                .get(*anchor)
                .is_some_and(|own| own.block == top.block && own.nullable.is_empty());
            kept && own().all(|(_, other)| other.together.contains(anchor))
        })?;
        anchors.push((*anchor, narrow));
        covered += own().count();
    }
    // A common table expression's are in none of them.
    (covered == known.len() && !anchors.is_empty()).then_some(anchors)
}

/// Whether the rules let a statement without a key run everywhere.
fn without_key(scope: &Scope<'_>, database: &Database, verb: Verb, table: InstanceIx) -> Result<(), Refusal> {
    let (policy, reason) = match verb.writes() {
        false => (database.without_key.read, Reason::ReadWithoutKey),
        true => (database.without_key.write, Reason::WriteWithoutKey),
    };
    if policy == Policy::Scatter {
        return Ok(());
    }
    Err(Refusal::new(reason, format!("No condition on the key of {}", scope.shown(table))))
}

impl Scope<'_> {
    /// A table as the text has it, with its key.
    pub(super) fn shown(&self, at: InstanceIx) -> String {
        let Some(instance) = self.instances.get(at) else { return String::new() };
        let name = instance.name.map_or(&instance.called[..], |name| self.text.bytes(name.last()));
        match &instance.what {
            What::Sharded { key, .. } => format!("{} ({})", shown(name), key.join(", ")),
            _ => shown(name),
        }
    }

    /// Why a table whose key is not known, and that does not follow another, cannot be read.
    fn not_tied(&self, at: InstanceIx, top: Option<BlockIx>, sharded: &[InstanceIx]) -> Refusal {
        let table = self.shown(at);
        let Some(instance) = self.instances.get(at) else {
            return Refusal::new(Reason::NotJoinedByKey, "A table has no key");
        };
        let is_derived = |at: &InstanceIx| {
            let block = self.instances.get(*at).and_then(|own| self.blocks.get(own.block));
            block.is_some_and(|block| block.derived)
        };
        let is_inside = |at: &InstanceIx| self.instances.get(*at).is_some_and(|own| Some(own.block) != top);
        let (reason, what) = if sharded.iter().any(is_derived) {
            (Reason::DerivedAcrossShards, "is read without its key, with a derived table")
        } else if top.is_none() {
            (Reason::UnionAcrossShards, "is read without its key in a UNION")
        } else if sharded.iter().any(is_inside) {
            (Reason::SubqueryAcrossShards, "is read without its key, with a query inside another")
        } else if !instance.nullable.is_empty() && sharded.len() == 1 {
            (Reason::OuterJoinAcrossShards, "is joined to rows that every shard has")
        } else {
            (Reason::NotJoinedByKey, "is not joined by its key, which is not given either")
        };
        Refusal::new(reason, format!("{table} {what}"))
    }
}
