//! Which site a statement needs, by the rules, and the way there.
//!
//! Owns: the look at the plan, kept by shape; what is asked of shards in the client's place. Does not know: SQL (`plan::sharded`), where keys
//! are (`shard`), how a session changes sites (`sites`). Invariant: without rules for databases nothing here costs more than one look;
//! a statement that names a listed table runs where its plan says, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Site;
use super::leaving;
use super::listing::Listed;
use crate::execute::names::Names;
use crate::plan::sharded::{
    self, Arguments, Chosen, Merge, Merging, Modes, NameEdit, Place, Planned, Planner, Refusal, Request,
    Routed, Unlisted, Verb,
};
use crate::session::defining::defined::Defined;
use crate::session::scatter::Share;
use crate::session::scatter::tended::Tended;
use crate::session::spread::loading::Loading;
use crate::session::spread::making;
use crate::session::spread::portions::Spread;
use crate::session::{Problem, Session};
use crate::shard::{Charset, Database, Rules, Shard, ShardIx, ShardSet};
use crate::sql::{self, Class, Lexing, Literal, Recognised, Uses};
use crate::wire::err::ErrPacket;

/// The rules for databases, as sessions use them.
#[derive(Debug)]
pub struct Directory {
    /// Differs from that of those which were in effect before.
    generation: u64,
    /// Definitions that have begun or ended through Tidegate, under these rules.
    definitions: AtomicU64,
    planner: Planner,
}

impl Directory {
    /// Of these rules, in the place of others.
    pub fn new(rules: Rules, before: Option<&Self>) -> Self {
        let generation = before.map_or(0, |before| before.generation) + 1;
        Self { generation, definitions: AtomicU64::new(0), planner: Planner::new(Arc::new(rules)) }
    }

    /// Whether a table of any database is listed.
    pub(in crate::session) fn lists_any(&self) -> bool {
        !self.planner.is_idle()
    }

    /// Which rules these are.
    pub(in crate::session) fn generation(&self) -> u64 {
        self.generation
    }

    /// The rules, and the definitions of tables as far as Tidegate has changed them: what was known of tables in another edition may be wrong.
    pub(in crate::session) fn edition(&self) -> (u64, u64) {
        (self.generation, self.definitions.load(Ordering::SeqCst))
    }

    /// A definition begins, or has come to an end.
    pub(in crate::session) fn note_definition(&self) {
        self.definitions.fetch_add(1, Ordering::SeqCst);
    }

    /// All rules.
    pub(in crate::session) fn rules(&self) -> &Arc<Rules> {
        self.planner.rules()
    }

    /// What people call a site.
    pub(in crate::session) fn name_of(&self, site: &Site) -> String {
        let shards = self.planner.rules().databases.values().flat_map(|database| {
            let shards = database.keyspaces.iter().flat_map(|keyspace| {
                keyspace.all().iter().filter_map(|shard| keyspace.shard(shard)).collect::<Vec<_>>()
            });
            shards.map(move |shard| (database, shard))
        });
        let is_it = |(database, shard): &(&Database, &Shard)| {
            site.cluster == shard.cluster && site.names.as_deref() == Some(&*names(database, shard))
        };
        let found = shards.filter(|_| site.names.is_some()).find(is_it);
        found.map_or_else(|| "home".to_owned(), |(_, shard)| shard.name.clone())
    }

    /// The rules of a database that a plan is for.
    pub(in crate::session) fn rules_of(&self, database: &str) -> Result<&Database, Problem> {
        self.planner.rules().database(database).ok_or(RULES_CHANGED)
    }
}

/// How a text is read, as far as its plan depends on that beside the default database.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Reading {
    pub lexing: Lexing,
    pub modes: Modes,
    pub charset: Charset,
}

/// Where a statement runs, and as what.
pub(in crate::session) enum Directed {
    /// Nowhere: it is done.
    Done,
    /// Where the session is, as it stands.
    Here,
    /// The same, as another text.
    As(Vec<u8>),
    /// At several sites, whose rows are merged.
    Scattered(Vec<Share>, Box<Merging>),
    /// At several sites, which all do their parts or none.
    Spread(Box<Spread>),
    /// At one site after the other, with a journal.
    Defined(Box<Defined>),
    /// At all sites of the tables that it looks after.
    Tended(Box<Tended>),
    /// With a file of the client's, whose rows go to several sites.
    Loaded(Box<Loading>),
}

/// Literals for which a core keeps memory between two statements.
const LITERALS_KEPT: usize = 4096;

impl Session {
    /// Goes where the statement must run.
    ///
    /// # Errors
    /// The plan refuses it, or it cannot run there in the open transaction.
    pub(in crate::session) async fn direct(
        &mut self,
        text: &[u8],
        statement: Recognised,
    ) -> Result<Directed, Problem> {
        let directory = self.worker.directory.load();
        if !directory.lists_any() {
            return Ok(Directed::Here);
        }
        let directory = Arc::clone(&directory);
        // Apart from the session's own future, whose size every client pays for.
        Box::pin(self.direct_by(&directory, text, statement)).await
    }

    async fn direct_by(
        &mut self,
        directory: &Directory,
        text: &[u8],
        statement: Recognised,
    ) -> Result<Directed, Problem> {
        self.find_home_by(directory);
        if self.end_parts_for(text, statement).await? {
            return Ok(Directed::Done);
        }
        self.knows_variables(statement)?;
        if !may_name_tables(statement) {
            if statement.class == Class::Use {
                self.take_to_database(sql::used_database(text, &self.lexing).as_deref(), statement).await?;
            }
            return Ok(Directed::Here);
        }
        let mut literals = self.worker.literals.take();
        let planned = self.planned(directory, text, statement, &mut literals);
        let directed = match &*planned {
            Planned::Unlisted(unlisted) => {
                self.direct_listed(directory, unlisted, text, statement, &mut literals).await
            }
            planned => self.direct_planned(directory, planned, text, statement, &mut literals).await,
        };
        literals.shrink_to(LITERALS_KEPT); // after a bulk load
        self.worker.literals.replace(literals);
        directed
    }

    /// The same of a statement that names no columns.
    async fn direct_listed(
        &mut self,
        directory: &Directory,
        unlisted: &Unlisted,
        text: &[u8],
        statement: Recognised,
        literals: &mut Vec<Literal>,
    ) -> Result<Directed, Problem> {
        let read = (self.logical_schema(), self.reading());
        let Listed { sql, planned, .. } =
            self.name_columns(directory, unlisted, (text, statement), read, literals).await?;
        let directed = self.direct_planned(directory, &planned, &sql, statement, literals).await?;
        Ok(directed.by_text(sql))
    }

    async fn direct_planned(
        &mut self,
        directory: &Directory,
        planned: &Planned,
        text: &[u8],
        statement: Recognised,
        literals: &mut Vec<Literal>,
    ) -> Result<Directed, Problem> {
        let filled = match planned {
            Planned::Makes(makes) => self.fill(directory, makes, text, statement, literals).await?,
            _ => None,
        };
        let (planned, text) =
            filled.as_ref().map_or((planned, text), |filled| (&*filled.planned, &filled.sql));
        let directed = match making::whole(planned)? {
            Planned::Home => self.stay_home(text, statement).await,
            Planned::HomeOf(cluster) => self.go_home(Site::home(*cluster), statement).await,
            Planned::Refused(refusal) => Err(refused(refusal)),
            Planned::Dictionary(dictionary) => {
                let text = Box::pin(self.with_dictionary(directory, dictionary, text)).await;
                match text {
                    Ok(text) => {
                        let home = self.default_home();
                        self.stay_at(home, &text, statement).await.map(|_| Directed::As(text))
                    }
                    Err(problem) => Err(problem),
                }
            }
            Planned::Routed(routed) => {
                let (lexing, charset) = (self.lexing, self.charset);
                let arguments = Arguments { sql: text, lexing: &lexing, literals, parameters: &[], charset };
                self.follow(directory, routed, &arguments, statement).await
            }
            Planned::Copies(copies) => match directory.rules_of(&copies.database) {
                Ok(database) if database.copies().is_empty() => {
                    self.stay_at(database.home.cluster, text, statement).await
                }
                Ok(database) => self.spread_copies(database, copies, text),
                Err(problem) => Err(problem),
            },
            Planned::Definition(definition) => match directory.rules_of(&definition.database) {
                Ok(database) => match self.defined(database, definition, text) {
                    Some(defined) => Ok(Directed::Defined(Box::new(defined))),
                    None => self.stay_at(database.home.cluster, text, statement).await,
                },
                Err(problem) => Err(problem),
            },
            Planned::Upkeep(upkeep) => match directory.rules_of(&upkeep.database) {
                Ok(database) => self.tended(database, upkeep, text, statement).await,
                Err(problem) => Err(problem),
            },
            Planned::Load(load) => match directory.rules_of(&load.database) {
                Ok(database) if load.keyspace.is_none() && database.copies().is_empty() => {
                    self.stay_at(database.home.cluster, text, statement).await
                }
                Ok(_) => Ok(Directed::Loaded(Box::new(self.loading(directory.rules(), load, text)?))),
                Err(problem) => Err(problem),
            },
            Planned::Makes(_) | Planned::Unlisted(_) => Err(RULES_CHANGED),
        }?;
        let Some(filled) = filled else { return Ok(directed) };
        self.client.made = filled.made;
        Ok(filled.direct(directed))
    }

    /// How the session's texts are read now.
    pub(in crate::session) fn reading(&self) -> Reading {
        Reading { lexing: self.lexing, modes: self.modes, charset: self.charset }
    }

    /// The plan for the statement, made where none is kept.
    fn planned(
        &self,
        directory: &Directory,
        text: &[u8],
        statement: Recognised,
        literals: &mut Vec<Literal>,
    ) -> Arc<Planned> {
        self.planned_as(directory, text, statement, self.logical_schema(), self.reading(), literals)
    }

    /// The same of a text that is, or was, read so in this default database.
    pub(in crate::session) fn planned_as(
        &self,
        directory: &Directory,
        text: &[u8],
        statement: Recognised,
        database: &[u8],
        Reading { lexing, modes, charset }: Reading,
        literals: &mut Vec<Literal>,
    ) -> Arc<Planned> {
        let seed = self.worker.seed(database, lexing, modes, charset);
        let shape = sql::shape(text, &lexing, seed, literals);
        let mut plans = self.worker.plans.borrow_mut();
        let known = plans.get(directory.generation, shape);
        self.worker.counters.planned(known.is_some());
        if let Some(known) = known {
            return known;
        }
        let database = (!database.is_empty()).then_some(database);
        let request = Request { sql: text, lexing: &lexing, modes, database, recognised: statement, charset };
        let planned = Arc::new(directory.planner.plan(&request));
        // What a definition may say of a key depends on its literals, and so does how a file is read, or what a text prepares.
        if !matches!(statement.class, Class::Ddl | Class::TextPrepared)
            && !statement.uses.contains(Uses::LOCAL_INFILE)
        {
            plans.keep(shape, Arc::clone(&planned));
        }
        planned
    }

    /// Goes to the shard, or to none where there are several.
    pub(in crate::session) async fn follow(
        &mut self,
        directory: &Directory,
        routed: &Routed,
        arguments: &Arguments<'_>,
        statement: Recognised,
    ) -> Result<Directed, Problem> {
        let database = directory.rules_of(&routed.database)?;
        if matches!(routed.verb, Verb::Insert | Verb::Replace) && !self.strict {
            return Err(Problem::Unsupported(NOT_STRICT.into()));
        }
        let (text, lexing) = (arguments.sql, arguments.lexing);
        if leaving::sets_variables(text) {
            return Err(Problem::Unsupported(leaving::SET_VAR.into()));
        }
        let on = On { routed, database };
        match routed.choose(arguments, database).map_err(|refusal| refused(&refusal))? {
            Chosen::One(shard) if !routed.ignores.is_empty() => {
                self.spread_over(&on, &ShardSet::one(shard), arguments)
            }
            Chosen::One(shard) => {
                let share = on.share(shard, text, &routed.edits, lexing).ok_or(RULES_CHANGED)?;
                self.may_leave_for(&share.site, statement)?;
                self.visit(&share.site).await;
                self.begin_here(statement).await?;
                self.note_write(statement, Some(database.transactions))?;
                self.note_part();
                Ok(if share.sql.is_empty() { Directed::Here } else { Directed::As(share.sql) })
            }
            Chosen::Several(shards) => {
                if routed.verb.writes() {
                    return self.spread_over(&on, &shards, arguments);
                }
                self.may_scatter(statement).await?;
                let Merge::Rows(merged) = routed.many.as_ref().map_err(refused)? else {
                    return Err(RULES_CHANGED);
                };
                let (merging, edits) =
                    merged.execution(&routed.edits, arguments).map_err(|refusal| refused(&refusal))?;
                let merging = if routed.verb == Verb::Explain { Merging::rows() } else { merging };
                if self.desired.get(b"sql_select_limit").is_some_and(|limit| *limit != *NO_LIMIT) {
                    return Err(Problem::Unsupported(SELECT_LIMIT.into()));
                }
                let share = |shard| {
                    let mut share = on.share(shard, text, &edits, lexing)?;
                    if share.sql.is_empty() {
                        share.sql = text.to_vec();
                    }
                    Some(share)
                };
                let shares = shards.iter().map(share).collect::<Option<Vec<_>>>().ok_or(RULES_CHANGED)?;
                Ok(Directed::Scattered(shares, Box::new(merging)))
            }
        }
    }
}

/// A character set as keys are compared in it.
pub(in crate::session) fn charset(name: &[u8]) -> Charset {
    match name {
        b"utf8mb4" | b"utf8mb3" | b"utf8" | b"ascii" => Charset::Utf8,
        b"latin1" => Charset::Latin1,
        b"latin2" | b"latin5" | b"latin7" | b"cp1250" | b"cp1251" | b"cp1256" | b"cp1257" | b"greek"
        | b"hebrew" | b"koi8r" | b"koi8u" => Charset::AsciiBased,
        _ => Charset::Unknown,
    }
}

/// A plan with the database that it is for.
pub(in crate::session) struct On<'a> {
    pub routed: &'a Routed,
    pub database: &'a Database,
}

impl On<'_> {
    /// What a shard is asked; an empty text for the one that is given.
    pub(in crate::session) fn share(
        &self,
        shard: ShardIx,
        text: &[u8],
        edits: &[NameEdit],
        lexing: &Lexing,
    ) -> Option<Share> {
        let keyspace = self.database.keyspaces.get(self.routed.keyspace)?;
        let shard = keyspace.shard(shard)?;
        Some(share(self.database, shard, text, edits, lexing))
    }
}

/// What a shard is asked; an empty text for the one that is given.
pub(in crate::session) fn share(
    database: &Database,
    shard: &Shard,
    text: &[u8],
    edits: &[NameEdit],
    lexing: &Lexing,
) -> Share {
    let place = Place {
        database: database.name.as_bytes(),
        schema: shard.schema.as_bytes(),
        suffix: shard.suffix.as_deref().unwrap_or_default().as_bytes(),
    };
    let sql = sharded::text_for(text, lexing, edits, &place).unwrap_or_default();
    Share { site: Site { cluster: shard.cluster, names: Some(names(database, shard)) }, sql, source: None }
}

/// What is called otherwise there.
fn names(database: &Database, shard: &Shard) -> Arc<Names> {
    let schema = (shard.schema.clone().into_bytes(), database.name.clone().into_bytes());
    let listed = database.tables.keys().filter(|_| shard.suffix.is_some());
    let tables = listed.map(|table| (shard.physical(table).into_bytes(), table.clone().into_bytes()));
    Arc::new(Names { schema, tables: tables.collect() })
}

/// Whether a statement may be about a listed table, or about what a database has.
pub(in crate::session) fn may_name_tables(statement: Recognised) -> bool {
    use Class::{Begin, Diagnostics, Empty, EndOrSavepoint, Kill, Set, SetGlobal, Use};
    let names_none = matches!(statement.class, Begin(_) | Diagnostics | Empty | EndOrSavepoint | Kill | Use)
        || matches!(statement.class, Set | SetGlobal)
            && !statement.uses.intersects(Uses::SUBQUERY | Uses::UNKNOWN_FUNCTION);
    !names_none || statement.uses.contains(Uses::MULTIPLE)
}

/// A refusal as the client reads it.
pub(in crate::session) fn refused(refusal: &Refusal) -> Problem {
    let (code, state) = refusal.reason.code();
    let mut sqlstate = *b"HY000";
    sqlstate.copy_from_slice(state.as_bytes().first_chunk().unwrap_or(b"HY000"));
    Problem::Server(ErrPacket::new(code, &sqlstate, refusal.to_string()))
}

pub(in crate::session) const RULES_CHANGED: Problem = Problem::Request(
    1317,
    std::borrow::Cow::Borrowed("the rules have changed while the statement was planned: send it again"),
);
/// `sql_select_limit`, where nothing is limited.
const NO_LIMIT: &[u8] = b"18446744073709551615";
const SELECT_LIMIT: &str =
    "sql_select_limit would cut the rows of each shard: set it to DEFAULT, and give the statement a LIMIT";
pub(in crate::session) const NOT_STRICT: &str = "rows for shards are not inserted while sql_mode has neither STRICT_TRANS_TABLES nor STRICT_ALL_TABLES: the server could \
                          store another key than the one that the shard was chosen by";
