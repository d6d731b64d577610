//! A definition on all of its sites, one after the other, and a journal that says which have it.
//!
//! Owns: the order of steps, what each answer means, what the client is told. Does not know: where a definition runs (`plan`), how the journal
//! is kept (`topology::definitions`), how the rest of one is carried out later (`unfinished`). Invariant: a site is noted as running before it is
//! sent anything, and as done only after its server has said so; where nothing was done anywhere, no entry stays.

use tokio::time::timeout;

use super::bracket::{COMMIT, COMMIT_LIMIT, LOST, START_CLOCK};
use super::course::Course;
use super::direct;
use super::failure::SHUTDOWN;
use super::looks::{Look, Place, look};
use super::portions::{Portion, Spread};
use super::prelude::PRELUDE_LIMIT;
use super::scatter::Share;
use super::sites::Site;
use super::spread::{Failure, Run};
use super::work::Work;
use super::{Flow, Problem, Session};
use crate::backend::connection::Connection;
use crate::execute::client::Signals;
use crate::execute::part::{Packet, PartEnd};
use crate::execute::relay::{End, RelayError};
use crate::ids::ClusterId;
use crate::plan::sharded::{Definition, Target};
use crate::plan::{Route, Target as Role};
use crate::shard::{Database, Shard};
use crate::sql::Recognised;
use crate::topology::Signal;
use crate::topology::definitions::{Claim, Journal, Note, Trouble, Word};
use crate::wire::err::ErrPacket;
use crate::wire::ok::{Change, Status, changes};
use crate::wire::reply::Expect;

/// Longest statement that the journal keeps.
const STATEMENT_MAX: usize = 1 << 20;
/// Connections that may turn out to be gone before anything was sent.
const FAILURES_MAX: u32 = 4;

/// A definition, ready to be carried out.
#[derive(Debug)]
pub(super) struct Defined {
    /// What each site gets.
    pub spread: Spread,
    /// Where its tables are, site by site.
    pub places: Vec<Place>,
    /// The database, as clients know it.
    pub database: String,
    /// Where the journal is.
    pub home: ClusterId,
    pub targets: Vec<Target>,
    /// See [`Definition::again`].
    pub again: bool,
    /// It may give values to rows that are there.
    pub alters: bool,
}

/// What is known of a site.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub word: Word,
    pub had: Option<Look>,
}

/// How it ended at one site.
enum Outcome {
    /// The server has carried it out.
    Done(PartEnd),
    /// The server has refused it.
    Refused(ErrPacket),
    /// Nobody knows.
    Unknown(Failure),
}

impl Defined {
    /// What the sites are called.
    pub fn names(&self) -> Vec<String> {
        self.spread.portions.iter().map(|portion| portion.name.clone()).collect()
    }
}

impl Session {
    /// What each site of a definition gets; `None` where home is the only one.
    pub(super) fn defined(
        &self,
        database: &Database,
        definition: &Definition,
        text: &[u8],
    ) -> Option<Defined> {
        let (home, shards) = definition.sites(database);
        if shards.is_empty() {
            return None;
        }
        let at_home = || {
            let share = Share { site: Site::home(database.home.cluster), sql: Vec::new(), source: None };
            let place = Place { schema: database.home.schema.clone(), suffix: String::new() };
            (Portion::new(share, "home".to_owned(), Vec::new()), place)
        };
        let on_shard = |shard: &Shard| {
            let share = direct::share(database, shard, text, &definition.edits, &self.lexing);
            let suffix = shard.suffix.clone().unwrap_or_default();
            let portion = Portion::new(share, shard.name.clone(), Vec::new());
            (portion, Place { schema: shard.schema.clone(), suffix })
        };
        let (portions, places) =
            home.then(at_home).into_iter().chain(shards.into_iter().map(on_shard)).unzip();
        let spread = Spread { portions, inserted: None, copies: home, made: None, kept: Vec::new() };
        Some(Defined {
            spread,
            places,
            database: database.name.clone(),
            home: database.home.cluster,
            targets: definition.targets.clone(),
            again: definition.again,
            alters: definition.verb == "alter table",
        })
    }

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
        let (ends, mut warnings) = (Vec::new(), self.no_warnings(&[]));
        warnings.alike = true;
        let (restores, time, spread) = (Vec::new(), None, &defined.spread);
        let places = Vec::new(); // one connection at a time
        Run { spread, text, statement, route, restores, time, ends, warnings, state_lost: false, places }
    }

    /// Tells the client.
    pub(super) async fn end_definition(&mut self, run: &Run<'_>, result: Result<(), Failure>) -> Flow {
        self.status.remove(Status::IN_TRANSACTION | Status::IN_TRANSACTION_READONLY);
        self.status_unsure = false;
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
        let home = self.worker.clusters.of(defined.home);
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
        (self.sites.begin, self.sites.wrote) = (None, false);
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

    /// A connection to a site's primary in the session's state, and the tables as they are there.
    pub(super) async fn look_at(
        &mut self,
        portion: &Portion,
        place: &Place,
        targets: &[Target],
        run: &mut Run<'_>,
    ) -> Result<(Box<Connection>, Look), Problem> {
        self.visit(&portion.share.site).await;
        self.nothing_in_the_way(run)?;
        let mut failures = 0;
        loop {
            if self.client.signals.is_raised(Signals::KILL) {
                return Err(Problem::Server(interrupted()));
            }
            let mut route = Route { target: Role::Primary, ..run.route };
            let mut connection = match self.ready(&mut route, None).await {
                Err(Problem::Connect(_)) if failures < FAILURES_MAX => {
                    failures += 1;
                    continue;
                }
                ready => ready?,
            };
            let mut buffer = self.worker.buffers.take();
            match look(&mut connection, targets, place, &mut buffer).await {
                Ok(look) => return Ok((connection, look)),
                Err(problem) => {
                    let again = connection.broken && failures < FAILURES_MAX && !run.state_lost;
                    self.part_with(connection, run);
                    failures += 1;
                    if !again {
                        return Err(problem);
                    }
                }
            }
        }
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

    /// Sends it to a site's server, and takes the answer.
    async fn define_at(
        &mut self,
        portion: &Portion,
        mut held: Box<Connection>,
        run: &mut Run<'_>,
    ) -> Outcome {
        let server = held.server;
        if let Some(failed) = self.stop_clock(&mut held, run).await {
            self.part_with(held, run);
            return failed;
        }
        self.worker.counters.statements.count(Role::Primary as usize, run.route.reason as usize);
        let (mut connection, answer) = self.ask(held, portion, run.text_of(portion)).await;
        if self.entry.handle.runs_nothing() {
            self.outlive_kill(&mut connection).await;
        }
        let outcome = match answer {
            Ok(Packet::End(end)) => {
                let told = End { status: end.status, changes: end.changes.clone(), ..End::default() };
                let work =
                    Work { text: Some(run.text), ..Work::command(&[], Expect::Results, run.statement) };
                self.note_freshness(server, &work, &told);
                connection.warned |= end.warnings > 0;
                connection.dirty |= changes(&end.changes).any(|change| matches!(change, Change::State));
                Outcome::Done(end)
            }
            Ok(Packet::Error(error)) if error.code != SHUTDOWN => {
                connection.warned = true;
                Outcome::Refused(error)
            }
            Err(RelayError::Client(_) | RelayError::Killed) => {
                run.state_lost = true;
                self.abandon(connection);
                return Outcome::Unknown(Failure::Gone);
            }
            Ok(_) | Err(_) => {
                connection.broken = true;
                self.topology.report(server, Signal::ConnectionLost);
                Outcome::Unknown(LOST.into())
            }
        };
        let outcome = match outcome {
            Outcome::Done(mut end) if end.warnings > 0 && (!run.spread.copies || run.ends.is_empty()) => {
                let known;
                (connection, known) =
                    self.gather_warnings(connection, (end.warnings, &[]), &mut run.warnings).await;
                end.warnings = end.warnings.saturating_sub(known);
                Outcome::Done(end)
            }
            outcome => outcome,
        };
        if run.time.is_some() && !connection.broken {
            self.start_clock(&mut connection).await;
        }
        self.part_with(connection, run);
        let replaced = self.topology.snapshot().server(server).is_none_or(|server| server.replaced);
        match outcome {
            Outcome::Done(_) if replaced => Outcome::Unknown(LOST.into()),
            outcome => outcome,
        }
    }

    /// New columns of rows that are there have one time at all sites, by which defaults such as CURRENT_TIMESTAMP are. Where a server does not let
    /// that be set (MariaDB's `secure_timestamp`) shards have times of their own; copies must not.
    async fn stop_clock(&mut self, connection: &mut Connection, run: &Run<'_>) -> Option<Outcome> {
        let set = [b"SET timestamp=", &run.time.as_ref()?[..]].concat();
        let mut buffer = self.worker.buffers.take();
        match timeout(PRELUDE_LIMIT, connection.run(&set, &mut buffer)).await {
            Ok(Ok(answer)) => answer.error.filter(|_| run.spread.copies).map(Outcome::Refused),
            Ok(Err(_)) | Err(_) => {
                connection.broken = true;
                Some(Outcome::Unknown(LOST.into()))
            }
        }
    }

    /// The connection has the server's own time again.
    async fn start_clock(&mut self, connection: &mut Connection) {
        let mut buffer = self.worker.buffers.take();
        let started = timeout(PRELUDE_LIMIT, connection.run(START_CLOCK, &mut buffer)).await;
        match started {
            Ok(Ok(answer)) => connection.dirty |= answer.error.is_some(),
            Ok(Err(_)) | Err(_) => connection.broken = true,
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

    /// What the client reads when the journal cannot be written.
    pub(super) fn no_journal(&self, trouble: &Trouble) -> Problem {
        match trouble {
            Trouble::Denied(_) | Trouble::Failed(_) => {
                tracing::error!(%trouble, "the journal of definitions cannot be written");
            }
            _ => tracing::debug!(%trouble, "a definition is refused"),
        }
        let resume = |id: u64| {
            format!("CALL tidegate.resume_definition({id}), or ABANDON DEFINITION {id} on Tidegate's console")
        };
        match trouble {
            Trouble::Denied(_) => Problem::Request(1227, DENIED.into()),
            Trouble::Failed(_) => Problem::Request(1105, FAILED.into()),
            Trouble::Taken { id, table, running: true } => {
                let what = format!(
                    "Tidegate: definition {id} of {table} is being carried out: try again when it is over"
                );
                Problem::Request(1205, what.into())
            }
            Trouble::Taken { id, table, .. } => {
                let what = format!(
                    "Tidegate: definition {id} of {table} is not on all of its shards yet: {}",
                    resume(*id)
                );
                Problem::Request(1105, what.into())
            }
            Trouble::Unknown(id) => {
                Problem::Request(1105, format!("Tidegate: there is no definition {id}").into())
            }
            Trouble::Over(id) => Problem::Request(1105, format!("Tidegate: definition {id} is over").into()),
            Trouble::Running(id) | Trouble::Lost(id) => {
                let what = format!(
                    "Tidegate: definition {id} is being carried out by another session: try again when it is over"
                );
                Problem::Request(1205, what.into())
            }
        }
    }
}

/// What the client reads of a definition that some shards have.
fn unfinished(id: u64, [have, lack, unknown]: [&[&str]; 3], why: &ErrPacket) -> ErrPacket {
    let said = [(have, "on"), (lack, "not on"), (unknown, "unknown on")];
    let said = said.iter().filter(|(sites, _)| !sites.is_empty());
    let said: Vec<_> = said.map(|(sites, what)| format!("{what} {}", sites.join(", "))).collect();
    let message = format!(
        "Tidegate: definition {id} is {}: {}: {why}; then CALL tidegate.resume_definition({id}), or ABANDON DEFINITION {id} on Tidegate's console",
        "not on all of its shards",
        said.join("; "),
    );
    match unknown.is_empty() {
        true => ErrPacket::new(1105, b"HY000", message),
        false => ErrPacket::new(1158, b"08007", message),
    }
}

/// As `SET timestamp` takes it.
pub(super) fn time_of(began_us: u64) -> Vec<u8> {
    format!("{}.{:06}", began_us / 1_000_000, began_us % 1_000_000).into_bytes()
}

fn interrupted() -> ErrPacket {
    ErrPacket::new(1317, b"70100", "Query execution was interrupted")
}

const TOO_LONG: &str = "a definition of a listed table is longer than the 1 MiB that the journal keeps";
const DENIED: &str = "Tidegate: the journal of definitions cannot be written, and nothing was done: Tidegate's monitor account needs CREATE, SELECT, INSERT, UPDATE and \
                      DELETE on tidegate.* at the database's home";
const FAILED: &str = "Tidegate: the journal of definitions at the database's home cannot be written, and nothing more was done: Tidegate's log says why";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reads_which_shards_have_it() {
        let why = ErrPacket::new(1062, b"23000", "Duplicate entry");
        let packet = unfinished(17, [&["s0"], &["s1", "s2"], &[]], &why);
        let message = String::from_utf8_lossy(&packet.message).into_owned();
        assert!(
            message.contains("definition 17 is not on all of its shards: on s0; not on s1, s2: "),
            "{message}"
        );
        assert!(
            message.contains("Duplicate entry") && message.contains("resume_definition(17)"),
            "{message}"
        );
        assert_eq!((packet.code, &packet.sqlstate), (1105, b"HY000"));
        let packet = unfinished(17, [&[], &["s1"], &["s0"]], &why);
        assert_eq!((packet.code, &packet.sqlstate), (1158, b"08007"));
        assert!(String::from_utf8_lossy(&packet.message).contains("unknown on s0"));
    }
}
