//! ANALYZE, CHECK, OPTIMIZE, REPAIR and CHECKSUM TABLE of tables on several sites: asked of all at once, told as one server would.
//!
//! Owns: what each site is asked, the rows of all, and what is warned of. Does not know: which tables a statement names (`plan::sharded`), how a
//! message becomes one of several (`tended`). Invariant: nothing is told before all sites have answered; names are those of the client.

use super::parts::Asked;
use super::tended::{Answers, Place, Tended};
use super::united::Reply;
use super::{Failure, Read, Share, Uniting};
use crate::execute::part::Packet;
use crate::execute::relay::RelayError;
use crate::plan::Route;
use crate::plan::sharded::{Upkeep, UpkeepSite, Where};
use crate::session::sites::Site;
use crate::session::sites::direct::{self, Directed};
use crate::session::spread::gathered::Gathered;
use crate::session::spread::portions::Spread;
use crate::session::spread::{Failure as Undone, Run};
use crate::session::{Flow, Problem, Session};
use crate::shard::Database;
use crate::sql::Recognised;
use crate::wire::column::Column;
use crate::wire::command;
use crate::wire::ok::Status;

const QUESTION: &[u8] = b"SHOW WARNINGS";
/// What a row costs beside its bytes.
const ROW_COST: usize = 96;

/// What the sites have told of their tables.
#[derive(Debug, Default)]
struct Gathering {
    answers: Answers,
    /// Of the answers.
    columns: Vec<Column>,
    /// Of the warnings.
    of_warnings: Vec<Vec<u8>>,
}

impl Session {
    /// What each site is asked.
    ///
    /// # Errors
    /// Something of the session would not hold at other sites.
    pub(in crate::session) async fn tended(
        &mut self,
        database: &Database,
        upkeep: &Upkeep,
        text: &[u8],
        statement: Recognised,
    ) -> Result<Directed, Problem> {
        self.may_scatter(statement).await?;
        let sites = upkeep.sites(database);
        let share = |site: &UpkeepSite<'_>| {
            let there = match site.shard {
                Some(shard) => direct::share(database, shard, b"", &[], &self.lexing).site,
                None => Site::home(database.home.cluster),
            };
            Share { site: there, sql: upkeep.text(text, &self.lexing, site), source: None }
        };
        let shares = sites.iter().map(share).collect();
        let place = |site: &UpkeepSite<'_>| {
            let tables = site.tables.iter().filter_map(|at| upkeep.tables.get(*at));
            let known = |table: &[u8]| [database.name.as_bytes(), b".", table].concat();
            let names = tables.map(|table| match site.shard {
                Some(shard) => {
                    let suffix = shard.suffix.as_deref().unwrap_or_default().as_bytes();
                    ([shard.schema.as_bytes(), b".", &table.table, suffix].concat(), known(&table.table))
                }
                None => {
                    let own = [&table.schema[..], b".", &table.table].concat();
                    (own.clone(), own)
                }
            });
            let called = site.shard.map_or("home".to_owned(), |shard| shard.name.clone());
            Place { called, tables: site.tables.clone(), names: names.collect() }
        };
        let at_home = |place: Where| matches!(place, Where::Home);
        let shown = upkeep.tables.iter().map(|table| match at_home(table.place) {
            true => None,
            false => Some([database.name.as_bytes(), b".", &table.table].concat()),
        });
        let (sums, shown) = (upkeep.sums(), shown.collect());
        let places = sites.iter().map(place).collect();
        Ok(Directed::Tended(Box::new(Tended { shares, places, shown, sums })))
    }

    /// Asks all sites, and answers as one server would.
    pub(in crate::session) async fn look_after(
        &mut self,
        tended: &Tended,
        text: &[u8],
        statement: Recognised,
        route: Route,
    ) -> Flow {
        if !tended.sums {
            // As every server does before such a statement.
            let spread =
                Spread { portions: Vec::new(), inserted: None, copies: false, made: None, kept: Vec::new() };
            let (ends, restores, places) = (Vec::new(), Vec::new(), Vec::new());
            let warnings = self.no_warnings(&[]);
            let mut run = Run {
                spread: &spread,
                text,
                statement,
                route,
                restores,
                time: None,
                ends,
                warnings,
                state_lost: false,
                places,
                within: None,
            };
            match self.commit_before(&mut run).await {
                Ok(()) if run.state_lost => return Flow::Close,
                Ok(()) => {}
                Err(Undone::Problem(problem)) => {
                    let flow = self.refuse(&problem).await;
                    return if run.state_lost { Flow::Close } else { flow };
                }
                Err(Undone::Gone) => return Flow::Close,
            }
            if self.held.is_none() {
                self.status.remove(Status::IN_TRANSACTION | Status::IN_TRANSACTION_READONLY);
                self.status_unsure = false;
            }
        }
        self.scatter(&tended.shares, Uniting::Tables(tended), statement, route, None).await
    }

    /// Reads all answers, and makes one of them.
    pub(in crate::session) async fn tend_into(
        &mut self,
        parts: &mut [Asked],
        tended: &Tended,
        read: &Read<'_>,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let mut gathering = Gathering::default();
        for at in 0..parts.len() {
            self.take_answers(at, parts, tended, read, &mut gathering).await?;
        }
        let Gathering { answers, columns, of_warnings } = gathering;
        self.put_definitions(columns.iter().map(Column::payload), reply);
        let rows = if tended.sums { answers.sums(tended) } else { answers.messages(tended) };
        for row in rows {
            self.put_row(&row, reply, read).await?;
        }
        let mut warnings: Gathered = self.no_warnings(&[]);
        for row in answers.warnings(tended) {
            warnings.tell(&of_warnings, &row);
        }
        reply.warnings = Some(warnings);
        Ok(())
    }

    /// What one site tells.
    async fn take_answers(
        &mut self,
        at: usize,
        parts: &mut [Asked],
        tended: &Tended,
        read: &Read<'_>,
        gathering: &mut Gathering,
    ) -> Result<(), Failure> {
        let broken = || Failure::from(RelayError::Protocol);
        let share = tended.shares.get(at).ok_or_else(broken)?;
        let waits = parts.get(at).ok_or_else(broken)?.waits_for().is_some();
        let columns = match waits {
            true => self.take_turn(at, parts, &tended.shares, read).await?,
            false => self.columns_of(parts.get_mut(at).ok_or_else(broken)?, share).await?,
        };
        if gathering.columns.is_empty() {
            gathering.columns = columns;
        }
        let asked = parts.get_mut(at).ok_or_else(broken)?;
        let warns = loop {
            match self.next_of(asked, share).await? {
                Packet::Row(range) => {
                    read.purse.take(range.len() + ROW_COST)?;
                    gathering.answers.take(at, asked.bytes(range)).ok_or_else(broken)?;
                    asked.release();
                }
                Packet::End(end) => {
                    let warns = end.warnings > 0;
                    asked.ended(end);
                    break warns;
                }
                Packet::Error(error) => return Err(Failure::Refused(error)),
                Packet::Column(_) | Packet::Columns | Packet::File(_) => return Err(broken()),
            }
        };
        asked.note_told();
        if warns {
            self.take_warnings(at, asked, share, read, gathering).await?;
        }
        Ok(())
    }

    /// What one site has warned of.
    async fn take_warnings(
        &mut self,
        at: usize,
        asked: &mut Asked,
        share: &Share,
        read: &Read<'_>,
        gathering: &mut Gathering,
    ) -> Result<(), Failure> {
        let Some(capabilities) = asked.connection().map(|connection| connection.capabilities) else {
            return Ok(());
        };
        let mut question = Vec::with_capacity(QUESTION.len() + 8);
        command::put_query(&mut question, QUESTION, capabilities);
        asked.ask(&question).await?;
        let columns = self.columns_of(asked, share).await?;
        if gathering.of_warnings.is_empty() {
            gathering.of_warnings = columns.iter().map(|column| column.payload().to_vec()).collect();
        }
        loop {
            match self.next_of(asked, share).await? {
                Packet::Row(range) => {
                    read.purse.take(range.len() + ROW_COST)?;
                    gathering.answers.warn(at, asked.bytes(range)).ok_or(RelayError::Protocol)?;
                    asked.release();
                }
                Packet::End(_) => return Ok(()),
                Packet::Error(error) => return Err(Failure::Refused(error)),
                Packet::Column(_) | Packet::Columns | Packet::File(_) => {
                    return Err(RelayError::Protocol.into());
                }
            }
        }
    }
}
