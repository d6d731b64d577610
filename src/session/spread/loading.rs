//! A file of the client's whose rows go to several sites: LOAD DATA LOCAL INFILE.
//!
//! Owns: the order of steps, and which rows go where. Does not know: where rows and fields end (`sql::file`), how a site gets its rows
//! (`helpings`), the transactions around them (`bracket`). Invariant: a row goes to the shard of its key as it stands in the file, or nothing of the
//! file stays anywhere; of the file a part is in memory at a time, whatever its length. A client that has been asked for the file is told
//! nothing before it has sent all of it.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use super::bracket::LOST;
use super::helpings::Helpings;
use super::numbering::Numbering;
use super::portions::{Portion, Spread};
use super::{Failure, Run};
use crate::backend::insert_id;
use crate::backend::variables::{Name, Value as Variable};
use crate::execute::told::Inserted;
use crate::execute::upload::{Upload, put_request};
use crate::plan::Route;
use crate::plan::sharded::{Load, Place, Reason, Refusal, text_for};
use crate::session::problem::INTERRUPTED;
use crate::session::scatter::Share;
use crate::session::sites::Site;
use crate::session::sites::direct::{self, RULES_CHANGED, charset, refused};
use crate::session::{Flow, Problem, Session};
use crate::shard::{Charset, Database, Keyspace, NoPlace, Rules, Shard, Transactions, Value};
use crate::sql::file::{Field, Next, Rows};
use crate::sql::{self, Recognised, Uses};
use crate::wire::capabilities::Capabilities;

/// Longest row of a file.
const ROW_MAX: usize = 16 << 20;
/// What a session may keep of a row without taking it out of the budget of all (`limits.packet_memory`).
const COUNTED_ABOVE: usize = 1 << 20;

/// A file that is to be loaded at several sites.
#[derive(Debug)]
pub(in crate::session) struct Loading {
    load: Load,
    rules: Arc<Rules>,
    spread: Spread,
    /// The user variables that it names.
    variables: Vec<Name>,
    /// It is loaded within the client's transaction, for which its database has this rule.
    within: Option<Transactions>,
}

impl Loading {
    pub(super) fn load(&self) -> &Load {
        &self.load
    }

    fn keyspace(&self) -> Option<&Keyspace> {
        self.rules.database(&self.load.database)?.keyspaces.get(self.load.keyspace?)
    }
}

impl Session {
    /// What each site gets of a file.
    ///
    /// # Errors
    /// All copies would be written to in a transaction that may write in one place; the client sends no files.
    pub(in crate::session) fn loading(
        &self,
        rules: &Arc<Rules>,
        load: &Load,
        text: &[u8],
    ) -> Result<Loading, Problem> {
        let database = rules.database(&load.database).ok_or(RULES_CHANGED)?;
        let within = self.within(database.transactions, load.keyspace.is_none())?;
        if !self.client.capabilities.contains(Capabilities::LOCAL_FILES) {
            return Err(Problem::no_local_files(self.lexing.server.dialect));
        }
        let variables =
            sql::user_variables(text, &self.lexing).ok_or(Problem::Unsupported(VARIABLES.into()))?;
        let variables = variables.into_iter().map(Vec::into_boxed_slice).collect();
        let on_shard = |shard: &Shard| {
            let mut share = direct::share(database, shard, text, &load.edits, &self.lexing);
            if share.sql.is_empty() {
                share.sql = text.to_vec();
            }
            Portion::new(share, shard.name.clone(), Vec::new())
        };
        let portions = match load.keyspace {
            Some(at) => {
                let keyspace = database.keyspaces.get(at).ok_or(RULES_CHANGED)?;
                keyspace.shards.iter().map(on_shard).collect()
            }
            None => {
                let home = self.load_at_home(database, load, text);
                [home].into_iter().chain(database.copies().into_iter().map(on_shard)).collect()
            }
        };
        let spread = Spread {
            portions,
            inserted: Some(Inserted { rows: Vec::new(), last: 0, ignores: false }),
            copies: load.keyspace.is_none(),
            made: None,
            kept: {
                let key = load.key.iter().filter(|_| load.keyspace.is_some());
                key.chain(load.makes.as_ref().map(|makes| &makes.column)).cloned().collect()
            },
        };
        Ok(Loading { load: load.clone(), rules: Arc::clone(rules), spread, variables, within })
    }

    /// Names stay as they are.
    fn load_at_home(&self, database: &Database, load: &Load, text: &[u8]) -> Portion {
        let name = database.name.as_bytes();
        let place = Place { database: name, schema: name, suffix: b"" };
        let sql = text_for(text, &self.lexing, &load.edits, &place).unwrap_or_else(|| text.to_vec());
        let share = Share { site: Site::home(database.home.cluster), sql, source: None };
        Portion::new(share, "home".to_owned(), Vec::new())
    }

    /// Loads a file, and answers as one server would.
    pub(in crate::session) async fn load(
        &mut self,
        loading: &Loading,
        mut statement: Recognised,
        route: Route,
    ) -> Flow {
        statement.uses.remove(Uses::LAST_INSERT_ID); // no site's own counts
        let status = self.status;
        let mut run = self.run_of(&loading.spread, b"", statement, route);
        run.within = loading.within.map(|rule| self.begin_within(rule));
        let (mut upload, mut numbering) = (None, None);
        self.entry.handle.runs_in_parts();
        let result = self.load_all(loading, &mut run, &mut upload, &mut numbering).await;
        self.entry.handle.parts_are_done();
        if result.is_err() {
            self.undo(&mut run).await;
        }
        if loading.within.is_none() {
            (self.status, self.status_unsure) = (status, false);
        }
        run.places.clear(); // nobody waits while the rest of the file comes
        let mut gone = matches!(result, Err(Failure::Gone));
        if let Some(upload) = &mut upload {
            gone = gone || upload.drain(&mut self.client).await.is_err();
            self.sequence = upload.sequence();
        }
        if gone {
            return Flow::Close;
        }
        let flow = match result {
            Ok(()) => {
                let some = run.ends.first().is_some_and(|end| end.affected_rows > 0);
                if let Some(id) = numbering.as_ref().and_then(Numbering::first).filter(|_| some) {
                    self.insert_id.put(insert_id::Place::Known(id));
                }
                self.tell_change(&run).await
            }
            Err(Failure::Problem(_)) if run.within.as_ref().is_some_and(|within| within.lost) => {
                self.refuse(&Problem::TransactionLost { outcome_unknown: false, why: None }).await
            }
            Err(Failure::Problem(problem)) => self.refuse(&problem).await,
            Err(Failure::Gone) => Flow::Close,
        };
        if run.state_lost { Flow::Close } else { flow }
    }

    /// Begins everywhere, asks for the file, gives out its rows, makes all last.
    async fn load_all(
        &mut self,
        loading: &Loading,
        run: &mut Run<'_>,
        upload: &mut Option<Upload>,
        numbering: &mut Option<Numbering>,
    ) -> Result<(), Failure> {
        self.take_variables_along().await;
        self.nothing_in_the_way(run)?;
        let portions = &loading.spread.portions;
        let first = match &run.within {
            Some(_) => self.enter_first(run).await?,
            None => {
                let clusters = portions.iter().map(|portion| portion.share.site.cluster);
                run.places = if portions.len() > 1 { self.room_for(clusters).await? } else { Vec::new() };
                for portion in portions {
                    self.open(portion, run).await?;
                }
                0
            }
        };
        let mut helpings = Helpings::new(&loading.spread, &loading.variables);
        let charset = self.charset_of_file(loading, &mut helpings, first, run).await?;
        // No rows yet: what a server has against the statement it says before it asks for the file.
        let name = self.serve(&mut helpings, first, run).await?;
        let mut request = Vec::new();
        let sequence = put_request(&mut request, self.sequence, &name);
        self.client.send(&request).await.map_err(|_| Failure::Gone)?;
        let upload = upload.insert(Upload::new(self.worker.buffers.take(), sequence));
        *numbering = self.numbering(loading, charset);
        self.give_out((loading, charset), &mut helpings, upload, numbering, run).await?;
        for at in 0..portions.len() {
            if helpings.has_rows(at) {
                self.serve(&mut helpings, at, run).await?;
            }
        }
        self.finish_helpings(&mut helpings, run).await?;
        let values = self.values_behind(loading, helpings.last(), run).await?;
        self.commit_all(run).await?;
        self.know_variables(values);
        Ok(())
    }

    /// What the statement's variables have got from the last row of the file.
    async fn values_behind(
        &mut self,
        loading: &Loading,
        last: Option<usize>,
        run: &mut Run<'_>,
    ) -> Result<Vec<(Name, Variable)>, Failure> {
        let portion = last.and_then(|last| loading.spread.portions.get(last));
        let Some(portion) = portion.filter(|_| !loading.variables.is_empty()) else { return Ok(Vec::new()) };
        self.visit(&portion.share.site).await;
        let Some(mut held) = self.held.take() else { return Err(LOST.into()) };
        let values = self.ask_variables(&mut held, &loading.variables).await;
        let is_lost = held.broken;
        self.keep_open(held, run);
        match values {
            Some(values) => Ok(values),
            None if is_lost => Err(LOST.into()),
            None => Err(Problem::Unsupported(VARIABLES.into()).into()),
        }
    }

    /// Gives each row of the file to its site, or to all.
    async fn give_out(
        &mut self,
        (loading, charset): (&Loading, Charset),
        helpings: &mut Helpings,
        upload: &mut Upload,
        numbering: &mut Option<Numbering>,
        run: &mut Run<'_>,
    ) -> Result<(), Failure> {
        let Load { format, skip, fields, places, makes, .. } = &loading.load;
        let own = makes.as_ref().and_then(|makes| makes.place);
        let places = places.iter().copied().chain(own).collect();
        let mut rows = Rows::new(format.clone(), *skip, *fields, places, charset == Charset::Utf8);
        let worker = Rc::clone(&self.worker);
        let (mut file, mut number, mut wanted) = (Vec::new(), 0, 0);
        let row_max = ROW_MAX.min(self.worker.config.limits.packet_max);
        let kept = 1
            + usize::from(numbering.is_some())
            + if loading.load.keyspace.is_some() { 1 } else { loading.spread.portions.len() };
        let (mut reserved, mut counted) = (Vec::new(), COUNTED_ABOVE);
        loop {
            let mut from = 0;
            loop {
                let rest = file.get(from..).unwrap_or_default();
                if rest.len() < wanted && !upload.has_ended() {
                    break;
                }
                wanted = 0;
                match rows.next(rest, upload.has_ended()) {
                    Next::Row(length) => {
                        let row = rest.get(..length).unwrap_or_default();
                        let (row, key) = match numbering {
                            None => (row, rows.key()),
                            Some(numbering) => {
                                let numbered = numbering.number(&worker.generators, (row, &rows), number);
                                tokio::select! {
                                    biased;
                                    numbered = numbered => numbered?,
                                    _ = self.client.interrupted() => return Err(INTERRUPTED.into()),
                                }
                            }
                        };
                        let at = place(loading, key, charset, number)?;
                        helpings.take(at, number, row, key);
                        (from, number) = (from + length, number + 1);
                        while let Some(full) = helpings.full() {
                            self.serve(helpings, full, run).await?;
                        }
                    }
                    Next::Skipped(length) => from += length,
                    Next::More => {
                        wanted = (rest.len() * 2).min(row_max); // a long row is looked through as often as it doubles
                        break;
                    }
                    Next::Unclear => return Err(unclear(number).into()),
                }
            }
            if upload.has_ended() {
                self.passing = numbering.as_ref().and_then(Numbering::passing).map(Box::new);
                return Ok(());
            }
            file.drain(..from);
            if file.len() > row_max {
                return Err(too_long(number).into());
            }
            if file.len() > counted {
                // A long row is kept here and for each of its sites; space doubles.
                let target = file.len() * 2;
                reserved.push(self.worker.reserve_packet((target - counted) * kept).ok_or(NO_MEMORY)?);
                counted = target;
            }
            upload.next(&mut self.client, &mut file).await.map_err(|_| Failure::Gone)?;
        }
    }

    /// The character set in which the file is read: where the statement names none, that of the first asked site's database for all.
    async fn charset_of_file(
        &mut self,
        loading: &Loading,
        helpings: &mut Helpings,
        first: usize,
        run: &mut Run<'_>,
    ) -> Result<Charset, Failure> {
        let name = match &loading.load.charset {
            Some(name) => name.clone(),
            None => {
                let name = self.ask_charset(first, run).await?;
                let clause = [loading.load.naming_charset(&name)];
                helpings.edit_texts(&clause, &self.lexing);
                name
            }
        };
        match &*name {
            // Any byte may stand in it, and is taken over.
            "binary" | "ascii" => Ok(Charset::AsciiBased),
            other => match charset(other.as_bytes()) {
                Charset::Unknown => {
                    let what = format!("Rows of a file in the character set {name} are not told apart here");
                    Err(refused(&Refusal::new(Reason::Load, what)).into())
                }
                known => Ok(known),
            },
        }
    }
}

/// Where a row goes; `None` for everywhere.
fn place(
    loading: &Loading,
    key: &[Field],
    charset: Charset,
    number: usize,
) -> Result<Option<usize>, Problem> {
    let Some(keyspace) = loading.keyspace() else { return Ok(None) };
    let refuse = |reason, what: &dyn std::fmt::Display| {
        refused(&Refusal::new(reason, format!("The key of row {} of the file {what}", number + 1)))
    };
    let mut values = Vec::with_capacity(key.len());
    for field in key {
        values.push(match field {
            Field::Text(bytes) => Value::Text(bytes, charset),
            Field::Null => Value::Null,
            Field::Missing => return Err(refuse(Reason::MissingKey, &"is missing")),
            Field::Unclosed => return Err(refuse(Reason::DoubtfulKey, &"has no closing quote")),
        });
    }
    let shard = keyspace.locate(&values).map_err(|no| {
        let reason = match no {
            NoPlace::Null => Reason::NullKey,
            NoPlace::NoMatch => Reason::NoMatch,
            NoPlace::Doubt(_) => Reason::DoubtfulKey,
        };
        refuse(reason, &no)
    })?;
    Ok(Some(shard.index()))
}

const NO_MEMORY: Problem = Problem::Request(
    1041,
    Cow::Borrowed("Tidegate: Out of memory for long rows of files; try again later (limits.packet_memory)"),
);

const VARIABLES: &str = "the file leaves a value in a user variable that is too long to be kept for the session, or there are too many variables; nothing was loaded: \
                         name columns, or let the file end by a row whose value is short";

fn unclear(number: usize) -> Problem {
    let what = format!(
        "Before row {} of the file a line is passed over, or more fields than there are columns, and not all of it is of characters",
        number + 1
    );
    refused(&Refusal::new(Reason::Load, what))
}

fn too_long(number: usize) -> Problem {
    refused(&Refusal::new(Reason::Load, format!("Row {} of the file is too long", number + 1)))
}
