//! What shards tell of their tables, for statements that read the data dictionary.
//!
//! Owns: whom is asked, and that columns are asked for once. Does not know: SQL (`plan::sharded::dictionary`). Invariant: shards are asked on
//! connections of their own, under the client's account: nothing of its session or transaction goes there, and it is told what it may see.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::direct::{Directory, refused};
use crate::backend::statements::Source;
use crate::ids::{ClusterId, ServerId};
use crate::plan::sharded::dictionary::{Column, Dictionary, Listing, Read, Told};
use crate::session::incoming::Command;
use crate::session::{Problem, Session, kill};
use crate::sql::{Recognised, ServerVersion, quoted};

/// The columns of tables of information_schema, by the table and the servers' version.
pub(in crate::session) type Columns = HashMap<(&'static str, ServerVersion), Rc<[Column]>>;

impl Session {
    /// The text by which home answers for all sites.
    ///
    /// # Errors
    /// A shard cannot be asked, or has refused; the text would be too long.
    pub(in crate::session) async fn with_dictionary(
        &self,
        directory: &Directory,
        dictionary: &Dictionary,
        text: &[u8],
    ) -> Result<Vec<u8>, Problem> {
        let mut told = Vec::with_capacity(dictionary.reads.len());
        for read in &dictionary.reads {
            told.push(self.told_by_shards(read, directory).await?);
        }
        dictionary.text(text, &self.lexing, directory.rules(), &told).map_err(|refusal| refused(&refusal))
    }

    /// A prepared statement that reads the dictionary is another one at each execution. One that waits with a cursor or long data stays what
    /// it is.
    pub(in crate::session) async fn dictionary_anew(
        &mut self,
        directory: &Directory,
        dictionary: &Dictionary,
        id: u32,
        source: &Arc<Source>,
    ) -> Result<Arc<Source>, Problem> {
        if self.statements.open.has(id) {
            return Ok(Arc::clone(source));
        }
        let written = self.statements.known.get(&id).and_then(|known| known.written.clone());
        let written = written.unwrap_or_else(|| source.text.to_vec().into());
        let text = self.with_dictionary(directory, dictionary, &written).await?;
        if *text == *source.text {
            return Ok(Arc::clone(source));
        }
        let state = Arc::clone(&source.state);
        let source = Arc::new(Source::new(text.into(), state, |_| source.copy, &self.worker.hasher));
        if let Some(known) = self.statements.known.get_mut(&id) {
            (known.source, known.written) = (Arc::clone(&source), Some(written));
        }
        Ok(source)
    }

    /// Goes where COM_FIELD_LIST can be answered; the command for there, where the table has another name.
    ///
    /// # Errors
    /// The plan refuses it, or something of the session would stay behind.
    pub(in crate::session) async fn go_to_fields(
        &mut self,
        command: &Command,
        statement: Recognised,
    ) -> Result<Option<Vec<u8>>, Problem> {
        let named = command.payload().get(1..).unwrap_or_default();
        let end = memchr::memchr(0, named).unwrap_or(named.len());
        let (table, wildcard) = named.split_at(end);
        // As a statement that is planned alike.
        let text = [b"SHOW COLUMNS FROM ", &quoted(table, b'`')[..]].concat();
        self.direct(&text, statement).await?;
        let names = self.sites.here().names;
        let there = names.as_ref().and_then(|names| names.tables.iter().find(|(_, known)| known == table));
        Ok(there.map(|(there, _)| command.with_text(named, &[there, wildcard].concat())))
    }

    async fn told_by_shards(&self, read: &Read, directory: &Directory) -> Result<Told, Problem> {
        let pieces = read.pieces(directory.rules());
        let mut told = Told::default();
        if pieces.is_empty() {
            return Ok(told);
        }
        told.columns = read.of(&self.dictionary_columns(read.listing).await?);
        if told.columns.is_empty() {
            return Ok(told); // a server says that it has no such table
        }
        for piece in &pieces {
            let question = read.question(piece, &told.columns);
            let server = self.asked_server(piece.cluster)?;
            let asked = kill::ask(&self.worker, &self.account, self.class, server, question.as_bytes());
            read.take(&mut told, piece, asked.await?.rows).ok_or_else(not_understood)?;
        }
        Ok(told)
    }

    /// The columns of a table of information_schema, asked for once; none where the servers do not have it.
    async fn dictionary_columns(&self, listing: &Listing) -> Result<Rc<[Column]>, Problem> {
        let key = (listing.name, self.lexing.server);
        if let Some(known) = self.worker.dictionary.borrow().get(&key) {
            return Ok(Rc::clone(known));
        }
        let question = format!(
            "SELECT HEX(CONVERT(COLUMN_NAME USING utf8mb4)), HEX(CONVERT(COLUMN_TYPE USING utf8mb4)) FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA='information_schema' AND TABLE_NAME='{}' ORDER BY ORDINAL_POSITION",
            listing.name
        );
        let server = self.asked_server(self.default_home())?;
        let asked = kill::ask(&self.worker, &self.account, self.class, server, question.as_bytes()).await?;
        let columns: Rc<[Column]> =
            asked.rows.iter().map(|row| Column::of(row)).collect::<Option<_>>().ok_or_else(not_understood)?;
        self.worker.dictionary.borrow_mut().insert(key, Rc::clone(&columns));
        Ok(columns)
    }

    /// The server of a cluster that knows its definitions best.
    pub(in crate::session) fn asked_server(&self, cluster: ClusterId) -> Result<ServerId, Problem> {
        let snapshot = self.worker.clusters.of(cluster).snapshot();
        let server = snapshot.primary.or_else(|| snapshot.pick_replica(self.worker.random(), &[]));
        server.ok_or_else(|| Problem::NoServer(snapshot.explain_unusable_to_client()))
    }
}

fn not_understood() -> Problem {
    Problem::Connect("a server's answer about its tables is not understood".into())
}
