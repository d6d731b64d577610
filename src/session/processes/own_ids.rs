//! What a statement says of connections, in Tidegate's ids: its text as a server gets it.
//!
//! Owns: which statements are changed, and what others may know of the sessions now. Does not know: SQL's grammar (`sql::splice`), the SQL that
//! stands in for a table (`processes`). Invariant: a statement that names neither CONNECTION_ID() nor a list of connections pays nothing.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::processlist::{self, in_sessions};
use super::{Asker, LISTINGS, Listing, Processes, Resting, Thread};
use crate::backend::connection::Connection;
use crate::backend::statements::Source;
use crate::registry::{Handle, Phase};
use crate::session::reply::Rows;
use crate::session::{Session, kill};
use crate::sql::{self, Class, Dialect, Edit, Recognised, ServerVersion, Uses};

/// Sessions without a connection that are listed; more would make the statement larger than a server may take it.
const RESTING_MAX: usize = 4096;
/// Longest statement that is shown as its client has written it.
const TEXT_MAX: usize = 64 << 10;

/// The columns of the servers' tables, by their place in [`LISTINGS`], of one version.
pub(in crate::session) type Columns = HashMap<(usize, ServerVersion), Rc<[String]>>;

impl Session {
    /// Adds what the lexer alone cannot tell: whether lists of connections are read.
    pub(in crate::session) fn note_processes(&self, text: &[u8], statement: &mut Recognised) {
        let reads = match statement.class {
            Class::ShowServer => sql::shows_processlist(text, &self.lexing),
            Class::Read | Class::LockingRead | Class::Write => !self.listed(text).is_empty(),
            _ => false,
        };
        if reads {
            statement.uses |= Uses::PROCESSES | Uses::SYSTEM_SCHEMA; // which the name alone does not tell in its own database
        }
    }

    fn listed(&self, text: &[u8]) -> Vec<sql::ListedTable> {
        let wanted: Vec<_> = LISTINGS.iter().map(|listing| (listing.schema, listing.table)).collect();
        sql::listed_tables(text, &self.lexing, &self.desired.schema, &wanted)
    }

    /// The text that a server gets in place of the client's; `None`: the client's own.
    pub(in crate::session) async fn in_own_ids(&self, text: &[u8], statement: Recognised) -> Option<Vec<u8>> {
        let mut edits = Vec::new();
        if statement.uses.contains(Uses::CONNECTION_ID) && sql::bare_question(text, &self.lexing).is_none() {
            edits = sql::own_id_edits(text, &self.lexing, self.entry.handle.id.0);
        }
        if statement.uses.contains(Uses::PROCESSES) && has_json_table(self.lexing.server) {
            self.replace_tables(text, &mut edits).await;
        }
        (!edits.is_empty()).then(|| sql::splice(text, &edits))
    }

    /// The reply to SHOW PROCESSLIST with sessions for the threads that serve them.
    pub(in crate::session) fn processlist_in_own_ids(
        &self,
        connection: &Connection,
        reply: Vec<u8>,
        rows: Rows,
    ) -> Vec<u8> {
        let snapshot = self.topology.snapshot();
        let source = processlist::Source {
            server: snapshot.server(connection.server).map_or(0, |server| server.server_id),
            thread: connection.id,
            user: &self.account.backend_user,
            rows,
        };
        in_sessions(&reply, &source, &self.processes(b"")).unwrap_or(reply)
    }

    async fn replace_tables(&self, text: &[u8], edits: &mut Vec<Edit>) {
        for table in self.listed(text) {
            let Some(columns) = self.columns(table.which).await else { continue };
            let mut derived = self.processes(text).derived(&LISTINGS[table.which], &columns).into_bytes();
            if let Some(alias) = table.alias {
                derived.extend_from_slice(&[b" AS `", &alias[..], b"`"].concat());
            }
            edits.push(Edit { span: table.span, text: derived });
        }
        edits.sort_by_key(|edit| edit.span.start);
    }

    /// A prepared statement that reads lists of connections is another one at each execution. One that waits with a cursor or
    /// long data stays what it is.
    pub(in crate::session) async fn list_anew(
        &mut self,
        id: u32,
        source: Arc<Source>,
        statement: Recognised,
    ) -> Arc<Source> {
        let waits = self.statements.open.has(id);
        let written = self.statements.known.get(&id).and_then(|known| known.written.clone());
        let Some(text) = written.filter(|_| !waits) else { return source };
        let Some(listed) = self.in_own_ids(&text, statement).await else { return source };
        let state = Arc::clone(&source.state);
        let source = Arc::new(Source::new(listed.into(), state, |_| source.copy, &self.worker.hasher));
        if let Some(known) = self.statements.known.get_mut(&id) {
            known.source = Arc::clone(&source);
        }
        source
    }

    /// The columns of one of the servers' tables, asked for once; `None` where the servers do not have it, or not for this account.
    async fn columns(&self, which: usize) -> Option<Rc<[String]>> {
        let key = (which, self.lexing.server);
        if let Some(columns) = self.worker.columns.borrow().get(&key) {
            return Some(Rc::clone(columns));
        }
        let Listing { schema, table, .. } = LISTINGS.get(which)?;
        let snapshot = self.topology.snapshot();
        let server = snapshot.primary.or_else(|| snapshot.pick_replica(self.worker.random(), &[]))?;
        drop(snapshot);
        // A performance schema that is switched off has its tables all the same.
        let on = if *schema == "performance_schema" { " AND @@performance_schema" } else { "" };
        let question = format!(
            "SELECT column_name FROM information_schema.columns WHERE table_schema='{schema}' AND \
             table_name IN('{table}','{}'){on} ORDER BY ordinal_position",
            table.to_ascii_uppercase() // names of information_schema, which MySQL compares byte for byte
        );
        let asked = kill::ask(&self.worker, &self.account, self.class, server, question.as_bytes()).await;
        let answer = asked.inspect_err(|problem| tracing::debug!(%problem, "columns are not known")).ok()?;
        let columns: Option<Rc<[String]>> =
            answer.rows.iter().map(|row| plain_name(row.first()?.as_deref()?)).collect();
        let columns = columns.filter(|columns| !columns.is_empty())?;
        self.worker.columns.borrow_mut().insert(key, Rc::clone(&columns));
        Some(columns)
    }

    /// The sessions and connections of the process now, as they are told to this one.
    fn processes<'a>(&self, text: &'a [u8]) -> Processes<'a> {
        let snapshot = self.topology.snapshot();
        let me = &self.entry.handle;
        let mut threads = HashMap::new();
        for server in &snapshot.servers {
            let gate = self.worker.pool.server(server.id).map(|server| server.gate.threads());
            for thread in gate.unwrap_or_default() {
                let entry = Thread { server: server.server_id, thread, session: None };
                threads.insert((server.id, thread), entry);
            }
        }
        let mut resting = Vec::new();
        for handle in self.worker.registry.all() {
            let place = place(&handle);
            let thread = place.and_then(|place| threads.get_mut(&place));
            let server = thread.as_ref().map_or(0, |thread| thread.server);
            if let Some(thread) = thread {
                thread.session = Some((handle.id, handle.who.peer));
            }
            if handle.id != me.id && resting.len() < RESTING_MAX {
                resting.push(rest(&handle, server));
            }
        }
        let text = (text.len() <= TEXT_MAX).then_some(text);
        Processes {
            asker: Asker { id: me.id, peer: me.who.peer, text },
            threads: threads.into_values().collect(),
            resting,
            dialect: self.lexing.server.dialect,
        }
    }
}

/// Whether servers of this version can read the derived tables: before, their own ids stay.
fn has_json_table(server: ServerVersion) -> bool {
    let since = match server.dialect {
        Dialect::MySql => 80_019,
        Dialect::MariaDb => 100_600,
    };
    server.number >= since
}

/// The thread that a session uses.
fn place(handle: &Handle) -> Option<(crate::ids::ServerId, crate::ids::BackendId)> {
    handle.running().or_else(|| handle.activity.holds())
}

/// A session as it is listed by a server of which it uses no thread.
fn rest(handle: &Handle, server: u32) -> Resting {
    let (phase, time) = handle.activity.phase();
    let (command, state) = match (phase, server) {
        (Phase::Busy, 0) => ("Query", "Waiting for a server connection"),
        (Phase::Busy, _) => ("Query", "Running on another server"),
        _ => ("Sleep", ""),
    };
    let database = handle.activity.database();
    Resting {
        id: handle.id,
        server,
        user: String::from_utf8_lossy(&handle.who.account.backend_user).into_owned(),
        host: handle.who.peer.to_string(),
        database: (!database.is_empty()).then(|| String::from_utf8_lossy(&database).into_owned()),
        command,
        seconds: time.as_secs(),
        state,
    }
}

/// A column's name, whatever the character set of results is on the connection that was asked.
fn plain_name(name: &[u8]) -> Option<String> {
    let name: Vec<u8> = name.iter().copied().filter(|byte| *byte != 0).collect();
    let plain = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    plain.then(|| String::from_utf8(name).ok())?
}
