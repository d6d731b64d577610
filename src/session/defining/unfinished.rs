//! A definition that is not on all of its sites: the rest of it, in the state of the session that sent it.
//!
//! Owns: what of a session's state the journal keeps, and which sites have the definition by now. Does not know: how it is carried out
//! (`defining`). Invariant: it is carried out again only where the tables are as they were before; where they are neither so nor as a site's that
//! has it, nothing more is done.

use std::sync::Arc;

use super::Known;
use super::defined::Defined;
use super::defining_at::time_of;
use super::looks::Look;
use crate::backend::names;
use crate::backend::state::State;
use crate::plan::sharded::Planned;
use crate::plan::{Reason, Route, Target};
use crate::session::sites::Site;
use crate::session::sites::direct::{self, Directory};
use crate::session::spread::bracket::LOST;
use crate::session::spread::{Failure, Run};
use crate::session::{Flow, Problem, Session};
use crate::sql::{Class, Recognised, Uses};
use crate::topology::definitions::{Entry, Journal, Note, Word};
use crate::wire::err::ErrPacket;
use crate::wire::frame::{lenenc_string, put_lenenc_string};

impl Session {
    /// The session's state, by which its text is read, for whoever resumes what it begins: the default database, then names and values.
    pub(in crate::session) fn settings_for_later(&self) -> Vec<u8> {
        let state = self.logical_state();
        let (charset, collation) =
            names::of_collation(self.class.collation.into(), self.lexing.server.dialect);
        let snapshot = self.topology.snapshot();
        let mode = snapshot.facts.as_ref().map(|facts| facts.sql_mode.as_str()).unwrap_or_default();
        // What is not set comes from the handshake, or from the server: said here, as a resumed one may have others.
        let implied = [
            ("character_set_client", &*charset),
            ("character_set_connection", &charset),
            ("character_set_results", &charset),
            ("collation_connection", &collation),
            ("sql_mode", mode),
        ];
        let mut out = Vec::new();
        put_lenenc_string(&mut out, &state.schema);
        for (name, value) in implied.iter().filter(|(name, _)| state.get(name.as_bytes()).is_none()) {
            put_lenenc_string(&mut out, name.as_bytes());
            put_lenenc_string(&mut out, value.as_bytes());
        }
        for (name, value) in state.variables() {
            put_lenenc_string(&mut out, name);
            put_lenenc_string(&mut out, value);
        }
        out
    }

    /// `CALL tidegate.resume_definition(17)`.
    pub(in crate::session) async fn resume_definition(&mut self, id: u64) -> Flow {
        let directory = Arc::clone(&self.worker.directory.load());
        let opened = Journal::open(self.worker.clusters.home(), &self.worker.config.monitor).await;
        let taken = match opened {
            Ok(mut journal) => journal.take(id).await.map(|entry| (journal, entry)),
            Err(trouble) => Err(trouble),
        };
        let (mut journal, entry) = match taken {
            Ok(taken) => taken,
            Err(trouble) => {
                let problem = self.no_journal(&trouble);
                return self.refuse(&problem).await;
            }
        };
        // As before every definition: all that is open ends, and the session is at home.
        let definition = Recognised::plain(Class::Ddl, Uses::empty());
        if let Err(problem) = self.end_parts_for(&[], definition).await {
            self.leave_entry(&mut journal, id).await;
            return self.refuse(&problem).await;
        }
        let home = Site::home(self.default_home());
        self.visit(&home).await;
        let own = self.logical_state();
        self.database_is_here();
        if let Some(state) = state_of(&entry.settings, &own) {
            self.desired = Arc::new(state);
            self.relex();
        }
        let statement = self.recognise(&entry.statement);
        let route = Route { target: Target::Primary, reason: Reason::Write };
        let resumed = match self.as_planned(&directory, &entry) {
            Ok(defined) => {
                let mut run = self.definition_run(&defined, &entry.statement, statement, route);
                let result = self.resume_all(&defined, &mut run, (&mut journal, &entry)).await;
                let (ends, warnings, state_lost) = (run.ends, run.warnings, run.state_lost);
                Ok((defined, result, ends, warnings, state_lost))
            }
            Err(problem) => Err(problem),
        };
        self.visit(&home).await;
        self.database_is_here();
        self.desired = own;
        self.relex();
        match resumed {
            Ok((defined, result, ends, warnings, state_lost)) => {
                let mut run = self.definition_run(&defined, &entry.statement, statement, route);
                (run.ends, run.warnings, run.state_lost) = (ends, warnings, state_lost);
                self.end_definition(&run, result).await
            }
            Err(problem) => {
                self.leave_entry(&mut journal, id).await;
                self.refuse(&problem).await
            }
        }
    }

    /// What the rules make of it now: the same sites.
    fn as_planned(&self, directory: &Directory, entry: &Entry) -> Result<Defined, Problem> {
        let (text, statement) = (&entry.statement[..], self.recognise(&entry.statement));
        let mut literals = Vec::new();
        let schema = self.logical_schema();
        let planned = self.planned_as(directory, text, statement, schema, self.reading(), &mut literals);
        let defined = match &*planned {
            Planned::Definition(definition) => {
                self.defined(directory.rules_of(&definition.database)?, definition, text)
            }
            Planned::Refused(refusal) => return Err(direct::refused(refusal)),
            _ => None,
        };
        let sites: Vec<&str> = entry.sites.iter().map(|site| &*site.name).collect();
        match defined {
            Some(defined) if defined.database == entry.database && defined.names() == sites => Ok(defined),
            _ => Err(Problem::Request(1105, OTHER_RULES.into())),
        }
    }

    async fn resume_all(
        &mut self,
        defined: &Defined,
        run: &mut Run<'_>,
        (journal, entry): (&mut Journal, &Entry),
    ) -> Result<(), Failure> {
        let looked = async {
            self.nothing_in_the_way(run)?;
            self.commit_before(run).await?;
            self.known_by_now(defined, run, entry).await
        };
        let mut known = match looked.await {
            Ok(known) => known,
            Err(failure) => {
                self.leave_entry(journal, entry.id).await;
                return Err(failure);
            }
        };
        let newly = known.iter().zip(&entry.sites).enumerate();
        let newly = newly.filter(|(_, (known, site))| known.word == Word::Done && site.word != Word::Done);
        let notes: Vec<_> =
            newly.map(|(place, _)| Note { place, word: Word::Done, had: None, error: None }).collect();
        if let Err(trouble) = journal.note(&notes).await {
            return Err(self.no_journal(&trouble).into());
        }
        run.time = defined.alters.then(|| time_of(entry.began_us));
        tracing::info!(client = %self.entry.handle.id, id = entry.id, "a definition is resumed");
        self.define_rest(defined, run, (journal, entry.id), &mut known).await
    }

    /// What is known of each site now: the journal's word, and where that leaves a doubt, a look.
    async fn known_by_now(
        &mut self,
        defined: &Defined,
        run: &mut Run<'_>,
        entry: &Entry,
    ) -> Result<Vec<Known>, Failure> {
        let mut known = Vec::new();
        for site in &entry.sites {
            known.push(Known { word: site.word, had: site.had.as_deref().and_then(Look::parse) });
        }
        // As the tables are where it is done, if it has left its mark there.
        let mut model = None;
        for (at, site) in known.iter().enumerate().filter(|(_, site)| site.word == Word::Done) {
            if !defined.again && model.is_none() {
                let now = self.look_of(defined, at, run).await?;
                model = (site.had.as_ref() != Some(&now)).then_some(now);
            }
        }
        for (at, site) in known.iter_mut().enumerate() {
            if site.word == Word::Done || defined.again {
                continue;
            }
            let now = self.look_of(defined, at, run).await?;
            let sent = site.word == Word::Running;
            match now.has(&defined.targets, site.had.as_ref(), model.as_ref()) {
                Some(true) if sent || model.is_some() => site.word = Word::Done,
                None if sent => {
                    let name = defined.spread.portions.get(at).map_or("", |portion| &portion.name);
                    let what = format!(
                        "Tidegate: at {name} the tables of definition {} are neither as they were before it nor as where it is done: make them the one or the \
                         other, or ABANDON DEFINITION {} on Tidegate's console",
                        entry.id, entry.id
                    );
                    return Err(Problem::Server(ErrPacket::new(1105, b"HY000", what)).into());
                }
                _ => {}
            }
        }
        Ok(known)
    }

    async fn look_of(&mut self, defined: &Defined, at: usize, run: &mut Run<'_>) -> Result<Look, Problem> {
        let (Some(portion), Some(place)) = (defined.spread.portions.get(at), defined.places.get(at)) else {
            return Err(LOST);
        };
        let (connection, look) = self.look_at(portion, place, &defined.targets, run).await?;
        self.part_with(connection, run);
        Ok(look)
    }

    async fn leave_entry(&self, journal: &mut Journal, id: u64) {
        if let Err(trouble) = journal.leave().await {
            tracing::warn!(id, %trouble, "the journal of definitions could not be told that nobody carries out this one");
        }
    }
}

/// The state by which an entry's text is read, for a session that has `own`.
fn state_of(settings: &[u8], own: &State) -> Option<State> {
    let (schema, mut rest) = lenenc_string(settings)?;
    let mut state = State::with_schema(schema.to_vec());
    state.base = own.base;
    let mut list = Vec::new();
    while !rest.is_empty() {
        let (name, behind) = lenenc_string(rest)?;
        let (value, behind) = lenenc_string(behind)?;
        list.push((name, value));
        rest = behind;
    }
    // In the order of names a collation comes before its character set, which would take it away.
    list.sort_by_key(|(name, _)| *name == b"collation_connection");
    list.into_iter().for_each(|(name, value)| _ = state.set(name, value));
    Some(state.within(own))
}

const OTHER_RULES: &str = "Tidegate: the rules do not give this definition the shards any more that it had: ABANDON DEFINITION on Tidegate's console, and carry it out anew";
