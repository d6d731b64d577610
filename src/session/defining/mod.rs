//! A definition on all of its sites, one after the other, and a journal that says which have it.
//!
//! Owns: the order of steps, what is noted, what the client is told. Does not know: where a definition runs (`defined`), how it does at one site
//! (`defining_at`), how the journal is kept (`topology::definitions`), how the rest of one is carried out later (`unfinished`). Invariant: a site is
//! noted as running before it is sent anything, and as done only after its server has said so; where nothing was done anywhere, no entry stays.

pub(super) mod defined;
pub(super) mod defining_at;
pub(super) mod definition_errors;
pub(super) mod looks;
pub(super) mod unfinished;

use tokio::time::timeout;

use self::defined::Defined;
use self::defining_at::{Outcome, time_of};
use self::definition_errors::unfinished;
use self::looks::Look;
use super::resume::course::Course;
use super::spread::bracket::{COMMIT, COMMIT_LIMIT, LOST};
use super::spread::{Failure, Run};
use super::work::Work;
use super::{Flow, Problem, Session};
use crate::execute::relay::End;
use crate::plan::Route;
use crate::sql::Recognised;
use crate::topology::Signal;
use crate::topology::definitions::{Claim, Journal, Note, Word};
use crate::wire::ok::Status;
use crate::wire::reply::Expect;

/// Longest statement that the journal keeps.
const STATEMENT_MAX: usize = 1 << 20;

/// What is known of a site.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub word: Word,
    pub had: Option<Look>,
}

impl Session {
    /// Carries out a definition on all of its sites, and answers as one server would.
    pub(super) async fn define(
        &mut self,
        defined: &Defined,
        text: &[u8],
        statement: Recognised,
        route: Route,
    ) -> Flow {
        let mut run = self.definition_run(defined, text, statement, route);
        let result = self.define_all(defined, &mut run).await;
        self.end_definition(&run, result).await
    }

    /// A definition on its way.
    pub(super) fn definition_run<'a>(
        &self,
        defined: &'a Defined,
        text: &'a [u8],
        statement: Recognised,
        route: Route,
    ) -> Run<'a> {
        self.worker.directory.load().note_definition();
        let (ends, mut warnings) = (Vec::new(), self.no_warnings(&[]));
        warnings.alike = true;
        let (restores, time, spread) = (Vec::new(), None, &defined.spread);
        let places = Vec::new(); // one connection at a time
        Run {
            spread,
            text,
            statement,
            route,
            restores,
            time,
            ends,
            warnings,
            state_lost: false,
            places,
            within: None,
        }
    }

    /// Tells the client.
    pub(super) async fn end_definition(&mut self, run: &Run<'_>, result: Result<(), Failure>) -> Flow {
        self.worker.directory.load().note_definition();
        // What is held here has a status of its own: a transaction that is open still, where nothing was begun.
        if self.held.is_none() {
            self.status.remove(Status::IN_TRANSACTION | Status::IN_TRANSACTION_READONLY);
            self.status_unsure = false;
        }
        let flow = match result {
            Ok(()) => self.tell_change(run).await,
            Err(Failure::Problem(problem)) => self.refuse(&problem).await,
            Err(Failure::Gone) => Flow::Close,
        };
        if run.state_lost { Flow::Close } else { flow }
    }

    async fn define_all(&mut self, defined: &Defined, run: &mut Run<'_>) -> Result<(), Failure> {
        if run.text.len() > STATEMENT_MAX {
            return Err(Problem::Unsupported(TOO_LONG.into()).into());
        }
        self.nothing_in_the_way(run)?;
        self.commit_before(run).await?;
        let home = self.worker.clusters.home();
        let tables: Vec<String> = defined.targets.iter().map(|target| target.table.clone()).collect();
        let (settings, account) =
            (self.settings_for_later(), String::from_utf8_lossy(&self.account.user).into_owned());
        let sites = defined.names();
        let claim = Claim {
            database: &defined.database,
            tables: &tables,
            statement: run.text,
            settings: &settings,
            account: &account,
            sites: &sites,
        };
        let claimed = async {
            let mut journal = Journal::open(home, &self.worker.config.monitor).await?;
            let claimed = journal.claim(claim).await?;
            Ok((journal, claimed))
        };
        let (mut journal, (id, began_us)) = claimed.await.map_err(|trouble| self.no_journal(&trouble))?;
        run.time = defined.alters.then(|| time_of(began_us));
        let mut known = vec![Known { word: Word::Waiting, had: None }; sites.len()];
        if let Err(failure) = self.look_everywhere(defined, run).await {
            self.forget(&mut journal, id).await;
            return Err(failure);
        }
        self.define_rest(defined, run, (&mut journal, id), &mut known).await
    }

    /// Ends what the client has open, as every server does before a definition.
    pub(super) async fn commit_before(&mut self, run: &mut Run<'_>) -> Result<(), Failure> {
        let open = self.status.contains(Status::IN_TRANSACTION);
        if let Some(mut held) = self.held.take_if(|_| open) {
            let mut buffer = self.worker.buffers.take();
            let server = held.server;
            let ended = timeout(COMMIT_LIMIT, held.run(COMMIT, &mut buffer)).await;
            match ended {
                Ok(Ok(answer)) if answer.error.is_none() => {
                    let end = End { status: held.status, changes: answer.changes, ..End::default() };
                    self.note_freshness(server, &Work::command(&[], Expect::Results, run.statement), &end);
                    self.course = Course::Untold;
                    self.part_with(held, run);
                }
                Ok(Ok(answer)) => {
                    self.status = held.status;
                    self.hold(held);
                    let refused = answer.error.map_or(LOST, Problem::Server);
                    return Err(refused.into());
                }
                Ok(Err(_)) | Err(_) => {
                    held.broken = true;
                    self.topology.report(server, Signal::ConnectionLost);
                    self.part_with(held, run);
                    return Err(Problem::CommitLost { why: None }.into());
                }
            }
        }
        self.forget_parts();
        Ok(())
    }

    /// Every site answers, and its tables are such that the definition can run.
    async fn look_everywhere(&mut self, defined: &Defined, run: &mut Run<'_>) -> Result<(), Failure> {
        for (portion, place) in defined.spread.portions.iter().zip(&defined.places) {
            let (connection, look) = self.look_at(portion, place, &defined.targets, run).await?;
            self.part_with(connection, run);
            if let Some(error) = look.refuses(&defined.targets, &defined.database, &portion.name) {
                return Err(Problem::Server(error).into());
            }
        }
        Ok(())
    }

    /// Carries it out where it is not done, in the order of the sites; the first failure ends it.
    pub(super) async fn define_rest(
        &mut self,
        defined: &Defined,
        run: &mut Run<'_>,
        (journal, id): (&mut Journal, u64),
        known: &mut [Known],
    ) -> Result<(), Failure> {
        let mut last = None;
        for at in 0..known.len() {
            if known[at].word == Word::Done {
                continue;
            }
            let stepped = self.step(defined, run, (journal, at, last), known).await;
            match stepped {
                Ok(()) => last = Some(at),
                Err(failure) => {
                    return Err(self.stop(defined, (journal, id), known, (at, last), failure).await);
                }
            }
        }
        let done = last.map(|place| Note { place, word: Word::Done, had: None, error: None });
        let noted = async {
            journal.note(done.as_slice()).await?;
            journal.finish().await
        };
        if let Err(trouble) = noted.await {
            tracing::error!(id, %trouble, "a definition is on all of its shards, and the journal could not be told: resume it, which does nothing else");
        }
        Ok(())
    }

    /// One site: `last` is the one before, of which the journal has not been told yet.
    async fn step(
        &mut self,
        defined: &Defined,
        run: &mut Run<'_>,
        (journal, at, last): (&mut Journal, usize, Option<usize>),
        known: &mut [Known],
    ) -> Result<(), Failure> {
        let (Some(portion), Some(place)) = (defined.spread.portions.get(at), defined.places.get(at)) else {
            return Err(LOST.into());
        };
        let (connection, had) = self.look_at(portion, place, &defined.targets, run).await?;
        let before = had.text();
        let notes = [
            last.map(|place| Note { place, word: Word::Done, had: None, error: None }),
            Some(Note { place: at, word: Word::Running, had: Some(&before), error: None }),
        ];
        if let Err(trouble) = journal.note(&notes.into_iter().flatten().collect::<Vec<_>>()).await {
            self.part_with(connection, run);
            return Err(self.no_journal(&trouble).into());
        }
        known[at] = Known { word: Word::Running, had: Some(had.clone()) };
        match self.define_at(portion, connection, run).await {
            Outcome::Done(end) => {
                run.ends.push(end);
                known[at].word = Word::Done;
                Ok(())
            }
            Outcome::Refused(error) => {
                // MariaDB may have dropped some of several tables.
                let partly = defined.targets.len() > 1 && {
                    let looked = self.look_at(portion, place, &defined.targets, run).await;
                    looked.is_ok_and(|(connection, now)| {
                        self.part_with(connection, run);
                        now != had
                    })
                };
                known[at].word = if partly { Word::Running } else { Word::Failed };
                Err(Problem::Server(error).into())
            }
            Outcome::Unknown(failure) => Err(failure),
        }
    }

    /// It has come to no end: the journal is told what is known, and so is the client.
    async fn stop(
        &mut self,
        defined: &Defined,
        (journal, id): (&mut Journal, u64),
        known: &[Known],
        (at, last): (usize, Option<usize>),
        failure: Failure,
    ) -> Failure {
        let untouched = |own: &Known| matches!(own.word, Word::Waiting | Word::Failed);
        if known.iter().all(untouched) {
            self.forget(journal, id).await;
            return failure;
        }
        let why = match &failure {
            Failure::Problem(problem) => Some(problem.packet()),
            Failure::Gone => None,
        };
        let said = why.as_ref().map(|why| String::from_utf8_lossy(&why.message).into_owned());
        let here = known.get(at).filter(|own| own.word != Word::Waiting);
        let notes = [
            last.map(|place| Note { place, word: Word::Done, had: None, error: None }),
            here.map(|own| Note { place: at, word: own.word, had: None, error: said.as_deref() }),
        ];
        let noted = async {
            journal.note(&notes.into_iter().flatten().collect::<Vec<_>>()).await?;
            journal.leave().await
        };
        if let Err(trouble) = noted.await {
            tracing::error!(id, %trouble, "the journal of definitions could not be told how far one has come");
        }
        let names = |word: &[Word]| -> Vec<&str> {
            let of = known.iter().zip(&defined.spread.portions).filter(|(own, _)| word.contains(&own.word));
            of.map(|(_, portion)| &*portion.name).collect()
        };
        let (have, unknown) = (names(&[Word::Done]), names(&[Word::Running]));
        let lack = names(&[Word::Waiting, Word::Failed]);
        tracing::error!(client = %self.entry.handle.id, id, ?have, ?lack, ?unknown, "a definition is on some of its shards only");
        match why {
            None => Failure::Gone,
            Some(why) => Problem::Server(unfinished(id, [&have, &lack, &unknown], &why)).into(),
        }
    }

    async fn forget(&self, journal: &mut Journal, id: u64) {
        if let Err(trouble) = journal.forget().await {
            tracing::error!(id, %trouble, "a definition was done nowhere, and the journal could not be told: ABANDON DEFINITION on the console");
        }
    }
}

const TOO_LONG: &str = "a definition of a listed table is longer than the 1 MiB that the journal keeps";
