//! The columns of sharded tables, for INSERTs that name none.
//!
//! Owns: what is kept of them, and for how long. Does not know: where the list belongs (`plan::sharded`). Invariant: a list is of the rules in
//! effect, and older than no definition that has gone through Tidegate; what others have defined is known `KNOWN_FOR` later. Until then a
//! statement is carried out as if it had come before that definition, for it names the columns that it was placed by.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::abroad::Placed;
use super::bound::MALFORMED;
use super::direct::{Directed, Directory, RULES_CHANGED, Reading, refused};
use crate::backend::statements::Source;
use crate::ids::AccountId;
use crate::plan::sharded::dictionary::{columns_question, columns_told};
use crate::plan::sharded::{Planned, Reason, Refusal, Unlisted};
use crate::session::{Problem, Session, kill};
use crate::shard::Charset;
use crate::sql::{Lexing, Literal, Recognised};
use crate::wire::err::ErrPacket;

/// How long a list is used before a shard is asked again.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// How long it is used where no shard can be asked now.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Lists that are kept for a core.
const LISTS_MAX: usize = 1024;

/// What was asked of a shard, by account, as each sees the columns that it may, database and table.
pub(in crate::session) type Lists = HashMap<(AccountId, String, String), List>;

/// The columns of a table, in order.
#[derive(Clone, Debug)]
pub(in crate::session) struct List {
    columns: Arc<[String]>,
    /// When a shard was asked.
    since: Instant,
    /// See [`Directory::edition`].
    edition: (u64, u64),
}

/// A statement with its columns.
pub(in crate::session) struct Listed {
    /// Its text,
    pub sql: Vec<u8>,
    /// the plan of that,
    pub planned: Arc<Planned>,
    /// and the columns.
    pub columns: Arc<[String]>,
}

impl Session {
    /// The statement with its columns. `literals` are its own then.
    ///
    /// # Errors
    /// No shard can be asked, or has no such table.
    pub(in crate::session) async fn name_columns(
        &self,
        directory: &Directory,
        unlisted: &Unlisted,
        (text, statement): (&[u8], Recognised),
        (database, reading): (&[u8], Reading),
        literals: &mut Vec<Literal>,
    ) -> Result<Listed, Problem> {
        let mut known = self.known_columns(directory, unlisted);
        loop {
            let is_known = known.is_some();
            let columns = match known.take() {
                Some(columns) => columns,
                None => self.ask_columns(directory, unlisted).await?,
            };
            let sql = with_columns(unlisted, text, &reading.lexing, reading.charset, &columns)?;
            let planned = self.planned_as(directory, &sql, statement, database, reading, literals);
            let misfits =
                matches!(&*planned, Planned::Refused(refusal) if refusal.reason == Reason::ColumnCount);
            if !(is_known && misfits) {
                return Ok(Listed { sql, planned, columns });
            }
        }
    }

    /// What a statement is by the rules and by the columns of its table, and its source where these are new.
    ///
    /// # Errors
    /// As above.
    pub(in crate::session) async fn placed_now(
        &mut self,
        directory: &Directory,
        id: u32,
        base: &mut Arc<Source>,
    ) -> Result<Option<Arc<Placed>>, Problem> {
        let Some(placed) = self.placed(directory, id) else { return Ok(None) };
        let placed = self.listed_anew(directory, id, placed).await?;
        if placed.listed.is_some()
            && let Some(known) = self.statements.known.get(&id)
        {
            base.clone_from(&known.source);
        }
        Ok(Some(placed))
    }

    /// A prepared statement with the columns that its table has now, where it names none.
    ///
    /// # Errors
    /// As above.
    async fn listed_anew(
        &mut self,
        directory: &Directory,
        id: u32,
        placed: Arc<Placed>,
    ) -> Result<Arc<Placed>, Problem> {
        let plan = match (&placed.listed, &*placed.planned) {
            (Some((plan, _)), _) => Arc::clone(plan),
            (None, Planned::Unlisted(_)) => Arc::clone(&placed.planned),
            (None, _) => return Ok(placed),
        };
        let Planned::Unlisted(unlisted) = &*plan else { return Ok(placed) };
        let columns = self.columns_now(directory, unlisted).await?;
        if placed.listed.as_ref().is_some_and(|(_, before)| *before == columns) {
            return Ok(placed);
        }
        let known = self.statements.known.get(&id).ok_or(MALFORMED)?;
        let (source, reading, statement) = (Arc::clone(&known.source), known.reading, known.statement);
        let written = known.written.clone().unwrap_or_else(|| source.text.to_vec().into());
        let schema = &source.state.schema;
        let about = (&*written, statement);
        let listed =
            self.name_columns(directory, unlisted, about, (schema, reading), &mut Vec::new()).await?;
        let placed = self.place(directory, &listed.sql, statement, schema, reading);
        let placed = Arc::new(Placed { listed: Some((Arc::clone(&plan), listed.columns)), ..placed });
        let state = Arc::clone(&source.state);
        let source = Arc::new(Source::new(listed.sql.into(), state, |_| source.copy, &self.worker.hasher));
        if let Some(known) = self.statements.known.get_mut(&id) {
            (known.source, known.written) = (source, Some(written));
            known.abroad.placed = Some(Arc::clone(&placed));
        }
        Ok(placed)
    }

    /// The columns as far as they are known for certain.
    fn known_columns(&self, directory: &Directory, unlisted: &Unlisted) -> Option<Arc<[String]>> {
        let lists = self.worker.lists.borrow();
        let known = lists.get(&self.list_key(unlisted))?;
        let is_good = known.edition == directory.edition() && known.since.elapsed() < KNOWN_FOR;
        is_good.then(|| Arc::clone(&known.columns))
    }

    /// The columns, by the word of a shard a moment ago.
    pub(in crate::session) async fn columns_now(
        &self,
        directory: &Directory,
        unlisted: &Unlisted,
    ) -> Result<Arc<[String]>, Problem> {
        match self.known_columns(directory, unlisted) {
            Some(columns) => Ok(columns),
            None => self.ask_columns(directory, unlisted).await,
        }
    }

    async fn ask_columns(
        &self,
        directory: &Directory,
        unlisted: &Unlisted,
    ) -> Result<Arc<[String]>, Problem> {
        // Before the question: what is defined meanwhile makes the answer useless.
        let (edition, key) = (directory.edition(), self.list_key(unlisted));
        let columns: Arc<[String]> = match self.asked_columns(directory, unlisted).await {
            Ok(columns) => columns.into(),
            Err(problem @ Problem::Server(_)) => return Err(problem),
            Err(problem) => {
                let lists = self.worker.lists.borrow();
                let kept =
                    lists.get(&key).filter(|kept| kept.edition == edition && kept.since.elapsed() < KEPT_FOR);
                return kept.map(|kept| Arc::clone(&kept.columns)).ok_or(problem);
            }
        };
        if columns.is_empty() {
            let Unlisted { database, table, .. } = unlisted;
            let message = format!("Table '{database}.{table}' doesn't exist");
            return Err(Problem::Server(ErrPacket::new(1146, b"42S02", message)));
        }
        let mut lists = self.worker.lists.borrow_mut();
        if lists.len() >= LISTS_MAX {
            lists.clear();
        }
        let list = List { columns: Arc::clone(&columns), since: Instant::now(), edition };
        lists.insert(key, list);
        Ok(columns)
    }

    /// Asks the first shard whose cluster answers.
    async fn asked_columns(
        &self,
        directory: &Directory,
        unlisted: &Unlisted,
    ) -> Result<Vec<String>, Problem> {
        let database = directory.rules_of(&unlisted.database)?;
        let keyspace = database.keyspaces.get(unlisted.keyspace).ok_or(RULES_CHANGED)?;
        let mut problem = RULES_CHANGED;
        for shard in &keyspace.shards {
            let server = match self.asked_server(shard.cluster) {
                Ok(server) => server,
                Err(unusable) => {
                    problem = unusable;
                    continue;
                }
            };
            let question = columns_question(&shard.schema, &shard.physical(&unlisted.table));
            let asked =
                kill::ask(&self.worker, &self.account, self.class, server, question.as_bytes()).await?;
            let not_understood =
                || Problem::Connect("a server's answer about its columns is not understood".into());
            return columns_told(&asked.rows).ok_or_else(not_understood);
        }
        Err(problem)
    }

    fn list_key(&self, unlisted: &Unlisted) -> (AccountId, String, String) {
        (self.account.id, unlisted.database.clone(), unlisted.table.clone())
    }
}

impl Directed {
    /// What was directed by this text, for one who has the client's alone.
    pub fn by_text(self, sql: Vec<u8>) -> Self {
        match self {
            Self::Here => Self::As(sql),
            Self::Spread(mut spread) => {
                for portion in spread.portions.iter_mut().filter(|portion| portion.share.sql.is_empty()) {
                    portion.share.sql.clone_from(&sql);
                }
                Self::Spread(spread)
            }
            directed => directed,
        }
    }
}

/// The text with these columns, as the client's character set has them.
fn with_columns(
    unlisted: &Unlisted,
    text: &[u8],
    lexing: &Lexing,
    charset: Charset,
    columns: &[String],
) -> Result<Vec<u8>, Problem> {
    if charset != Charset::Utf8 && columns.iter().any(|name| !name.is_ascii()) {
        let what = format!("Columns of {} have names beyond ASCII", unlisted.table);
        return Err(refused(&Refusal::new(Reason::NameCharset, what)));
    }
    Ok(unlisted.write(text, lexing, columns))
}
