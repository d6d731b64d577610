//! What a prepared statement is by the rules, and where it is prepared.
//!
//! Owns: the plan of a statement with parameters, kept with it, and the choice of a site that tells what it takes and gives. Does not know:
//! executions (`bound`). Invariant: what is refused whatever the values is refused here.

use std::hash::BuildHasher;
use std::sync::Arc;

use crate::backend::statements::Source;
use crate::plan::sharded::{Arguments, Makes, Planned, Reason, Refusal, name_parameters};
use crate::session::scatter::Share;
use crate::session::sites::Site;
use crate::session::sites::abroad::Placed;
use crate::session::sites::direct::{Directory, On, RULES_CHANGED, Reading, may_name_tables, refused};
use crate::session::{Problem, Session};
use crate::sql::{self, Recognised};

/// How a statement is prepared.
#[derive(Default)]
pub(in crate::session) struct Prepare {
    /// As this text, where that is not the client's.
    pub sql: Option<Vec<u8>>,
    /// Where the session was, and has something open.
    pub back: Option<Site>,
    /// Each execution is another text.
    pub anew: bool,
    /// The client's text with its columns, where it names none.
    pub listed: Option<Vec<u8>>,
}

impl Session {
    /// Goes where a statement can be prepared.
    ///
    /// # Errors
    /// The plan refuses it.
    pub(in crate::session) async fn direct_prepare(
        &mut self,
        text: &[u8],
        statement: Recognised,
    ) -> Result<Prepare, Problem> {
        let directory = self.worker.directory.load();
        if !directory.lists_any() || !may_name_tables(statement) {
            return Ok(Prepare::default());
        }
        let directory = Arc::clone(&directory);
        // Apart from the session's own future, whose size every client pays for.
        Box::pin(self.direct_prepare_by(&directory, text, statement)).await
    }

    async fn direct_prepare_by(
        &mut self,
        directory: &Directory,
        text: &[u8],
        statement: Recognised,
    ) -> Result<Prepare, Problem> {
        self.find_home_by(directory);
        let (schema, reading) = (self.logical_schema(), self.reading());
        let mut placed = self.place(directory, text, statement, schema, reading);
        let mut listed = None;
        if let Planned::Unlisted(unlisted) = &*placed.planned {
            let about = (text, statement);
            let with =
                self.name_columns(directory, unlisted, about, (schema, reading), &mut Vec::new()).await?;
            placed = self.place(directory, &with.sql, statement, schema, reading);
            listed = Some(with.sql);
        }
        let text = listed.as_deref().unwrap_or(text);
        let (site, sql) = match &*placed.planned {
            Planned::Refused(refusal) => return Err(refused(refusal)),
            Planned::Home if sql::uses_no_table(text, &self.lexing) => return Ok(Prepare::default()),
            Planned::Home => (Site::home(self.home()), None),
            Planned::HomeOf(cluster) => (Site::home(*cluster), None),
            Planned::Copies(copies) => (Site::home(directory.rules_of(&copies.database)?.home.cluster), None),
            Planned::Dictionary(dictionary) => (
                Site::home(self.default_home()),
                Some(self.with_dictionary(directory, dictionary, text).await?),
            ),
            Planned::Definition(_) | Planned::Upkeep(_) => {
                return Err(Problem::Unsupported(DEFINITION.into()));
            }
            Planned::Load(_) => return Err(NOT_PREPARED),
            Planned::Routed(routed) => {
                let on = On { routed, database: directory.rules_of(&routed.database)? };
                let Share { site, sql, .. } = self.share_to_prepare(&on, text).ok_or(RULES_CHANGED)?;
                (site, (!sql.is_empty()).then_some(sql))
            }
            Planned::Makes(makes) => {
                let database = directory.rules_of(&makes.sequence.database)?;
                match &makes.bare {
                    None => (Site::home(database.home.cluster), None),
                    Some(routed) => {
                        let on = On { routed, database };
                        let Share { site, sql, .. } =
                            self.share_to_prepare(&on, text).ok_or(RULES_CHANGED)?;
                        (site, (!sql.is_empty()).then_some(sql))
                    }
                }
            }
            Planned::Unlisted(_) => return Err(RULES_CHANGED),
        };
        let back = (self.held.is_some() && !self.sites.is_at(&site)).then(|| self.sites.here());
        self.visit(&site).await;
        let anew = matches!(&*placed.planned, Planned::Dictionary(_));
        Ok(Prepare { sql: sql.or_else(|| listed.clone()), back, anew, listed })
    }

    /// A shard that says what the statement takes and gives: where the session is, else one by the text, whose cluster has a primary.
    fn share_to_prepare(&self, on: &On<'_>, text: &[u8]) -> Option<Share> {
        let keyspace = on.database.keyspaces.get(on.routed.keyspace)?;
        let shards: Vec<_> = keyspace.all().iter().collect();
        let here = self.sites.here();
        let is_near = |shard: &&_| {
            let schema = here.names.as_ref().map(|names| &names.schema.0[..]);
            keyspace.shard(**shard).is_some_and(|shard| Some(shard.schema.as_bytes()) == schema)
        };
        for near in shards.iter().filter(is_near) {
            let share = on.share(*near, text, &on.routed.edits, &self.lexing)?;
            if self.sites.is_at(&share.site) {
                return Some(share);
            }
        }
        let count = u64::try_from(shards.len()).ok().filter(|count| *count > 0)?;
        let start = usize::try_from(self.worker.hasher.hash_one(text) % count).ok()?;
        let serves = |shard: &&_| {
            let cluster = keyspace.shard(**shard).map(|shard| self.worker.clusters.of(shard.cluster));
            cluster.is_some_and(|cluster| cluster.snapshot().primary.is_some())
        };
        let mut from_there = shards.iter().cycle().skip(start).take(shards.len());
        let shard = from_there.find(serves).or_else(|| shards.get(start))?;
        on.share(*shard, text, &on.routed.edits, &self.lexing)
    }

    /// What a statement is by the rules.
    pub(in crate::session) fn place(
        &self,
        directory: &Directory,
        text: &[u8],
        statement: Recognised,
        database: &[u8],
        reading: Reading,
    ) -> Placed {
        let (generation, mut literals) = (directory.generation(), Vec::new());
        let planned = self.planned_as(directory, text, statement, database, reading, &mut literals);
        if let Planned::Makes(makes) = &*planned
            && let Some(refusal) =
                self.refused_with_values(directory, makes, text, (statement, database, reading))
        {
            let planned = Arc::new(Planned::Refused(refusal));
            return Placed::without_text(generation, planned);
        }
        if !matches!(*planned, Planned::Routed(_) | Planned::Makes(_)) {
            return Placed::without_text(generation, planned);
        }
        match name_parameters(text, &reading.lexing) {
            Some(named) => {
                sql::shape(&named, &reading.lexing, 0, &mut literals); // they are in other places there
                Placed { generation, planned, text: named.into(), literals, listed: None }
            }
            None => {
                let what = "A parameter stands in a place that is not understood";
                let planned = Arc::new(Planned::Refused(Refusal::new(Reason::NotParsed, what)));
                Placed::without_text(generation, planned)
            }
        }
    }

    /// The same of a statement that the client has, kept as long as the rules.
    pub(in crate::session) fn placed(&mut self, directory: &Directory, id: u32) -> Option<Arc<Placed>> {
        let known = self.statements.known.get(&id)?;
        let kept = known.abroad.placed.as_ref();
        if let Some(placed) = kept.filter(|placed| placed.generation == directory.generation()) {
            return Some(Arc::clone(placed));
        }
        let Source { text, state, .. } = &*known.source;
        let text = known.written.as_deref().unwrap_or(text);
        let placed = self.place(directory, text, known.statement, &state.schema, known.reading);
        let placed = Arc::new(placed);
        self.statements.known.get_mut(&id)?.abroad.placed = Some(Arc::clone(&placed));
        Some(placed)
    }

    /// Why rows with values would be refused, too.
    fn refused_with_values(
        &self,
        directory: &Directory,
        makes: &Makes,
        text: &[u8],
        (statement, database, reading): (Recognised, &[u8], Reading),
    ) -> Option<Refusal> {
        let lexing = &reading.lexing;
        let asked = Arguments { sql: text, lexing, literals: &[], parameters: &[], charset: reading.charset };
        let sql = makes.write(&asked, &makes.sure_needs()?, |_| b"1".to_vec());
        match &*self.planned_as(directory, &sql, statement, database, reading, &mut Vec::new()) {
            Planned::Refused(refusal) => Some(refusal.clone()),
            _ => None,
        }
    }
}

/// As servers refuse it: ER_UNSUPPORTED_PS.
pub(in crate::session) const NOT_PREPARED: Problem = Problem::Request(
    1295,
    std::borrow::Cow::Borrowed("This command is not supported in the prepared statement protocol yet"),
);
pub(in crate::session) const DEFINITION: &str = "a definition of a listed table cannot be prepared: send it as a text (COM_QUERY), as drivers do with statements without parameters, \
                          most often after a setting";
