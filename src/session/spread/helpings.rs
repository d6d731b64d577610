//! What each site gets of a file at a time: some rows, by a LOAD DATA LOCAL of its own.
//!
//! Owns: the rows that wait, how many go together, one such statement at a site, and what the sites have told. Does not know: where a row belongs
//! (`loading`). Invariant: rows of one site are loaded in the order of the file; what waits is bounded. A site that gets no rows for long, as
//! all are another's or the client is slow, waits in no statement, so that no server gives up.

use super::bracket::LOST;
use super::portions::Spread;
use super::{Failure, MADE_ID, Run};
use crate::backend::connection::Connection;
use crate::backend::insert_id;
use crate::execute::part::{Packet, Part};
use crate::execute::relay::RelayError;
use crate::execute::told::Summed;
use crate::plan::sharded::{NameEdit, Place, text_for};
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::{Problem, Session};
use crate::sql::Lexing;
use crate::sql::file::Field;
use crate::wire::buffer::Buffer;
use crate::wire::command;
use crate::wire::frame::put_packet;

/// Bytes that wait at most, of all sites together, and of each.
const ALL_BYTES: usize = 4 << 20;
const BYTES: (usize, usize) = (16 << 10, 256 << 10);
/// Rows that go together. Of so many a server keeps all warnings, by which it is seen whether a key was altered.
const ROWS: usize = 500;
/// Bytes of a packet to a server.
const PACKET: usize = 256 << 10;

/// Rows that wait.
#[derive(Debug, Default)]
struct Helping {
    bytes: Vec<u8>,
    /// Their places in the file.
    rows: Vec<usize>,
    /// The site has had some.
    served: bool,
}

/// What waits for all sites.
#[derive(Debug)]
pub(in crate::session) struct Helpings {
    /// Each site's text.
    texts: Vec<Vec<u8>>,
    waiting: Vec<Helping>,
    /// All do the same.
    copies: bool,
    bytes_max: usize,
    /// What the sites have told: of copies each by itself.
    told: Vec<Summed>,
    /// The first id that a server has made.
    made: Option<u64>,
    /// A key was 0, for which a server may make another one.
    zero: bool,
}

impl Helpings {
    /// Nothing waits yet.
    pub fn new(spread: &Spread) -> Self {
        let sites = spread.portions.len();
        Self {
            texts: spread.portions.iter().map(|portion| portion.share.sql.clone()).collect(),
            waiting: (0..sites).map(|_| Helping::default()).collect(),
            copies: spread.copies,
            bytes_max: (ALL_BYTES / sites.max(1)).clamp(BYTES.0, BYTES.1),
            told: vec![Summed::default(); if spread.copies { sites } else { 1 }],
            made: None,
            zero: false,
        }
    }

    /// Changes the text of each site.
    pub fn edit_texts(&mut self, edits: &[NameEdit], lexing: &Lexing) {
        let nowhere = Place { database: b"", schema: b"", suffix: b"" };
        for text in &mut self.texts {
            if let Some(edited) = text_for(text, lexing, edits, &nowhere) {
                *text = edited;
            }
        }
    }

    /// A row of this number for a site, or for all.
    pub fn take(&mut self, at: Option<usize>, number: usize, row: &[u8], key: &[Field]) {
        let sites = at.map_or(0..self.waiting.len(), |at| at..at + 1);
        for helping in self.waiting.get_mut(sites).unwrap_or_default() {
            helping.bytes.extend_from_slice(row);
            helping.rows.push(number);
        }
        let is_zero = |byte: &u8| matches!(byte, b'0' | b'.' | b'+' | b'-');
        self.zero |= key.iter().any(|field| matches!(field, Field::Text(text) if text.iter().all(is_zero)));
    }

    /// A site for which as much waits as may.
    pub fn full(&self) -> Option<usize> {
        let is_full = |helping: &Helping| helping.bytes.len() >= self.bytes_max || helping.rows.len() >= ROWS;
        self.waiting.iter().position(is_full)
    }

    /// Whether anything waits for a site.
    pub fn has_rows(&self, at: usize) -> bool {
        self.waiting.get(at).is_some_and(|helping| !helping.rows.is_empty())
    }

    /// Whether ids that a server has made may stay: others would count anew, or the key is one.
    fn may_make(&self) -> bool {
        let served = self.waiting.iter().filter(|helping| helping.served).count();
        !self.zero && (served == 1 && !self.copies || self.waiting.len() == 1)
    }
}

impl Session {
    /// Gives a site what waits for it; the name by which its server asks for the file.
    pub(in crate::session) async fn serve(
        &mut self,
        helpings: &mut Helpings,
        at: usize,
        run: &mut Run<'_>,
    ) -> Result<Vec<u8>, Failure> {
        let Some(portion) = run.spread.portions.get(at) else { return Err(LOST.into()) };
        let (Some(helping), Some(text)) = (helpings.waiting.get_mut(at), helpings.texts.get(at)) else {
            return Err(LOST.into());
        };
        let bytes = std::mem::take(&mut helping.bytes);
        let rows = std::mem::take(&mut helping.rows);
        let is_first = !rows.is_empty() && !helping.served;
        helping.served |= is_first;
        let held = self.take_open_part(portion, run).await?;
        let mut name = Vec::new();
        let (connection, answer) = match self.has_lost_its_place(held.server) {
            true => (held, Err(RelayError::Protocol)),
            false => self.upload(held, text, &bytes, &mut name).await,
        };
        // The client reads of one copy only.
        let about = (portion, &rows[..], !helpings.copies || at == 0);
        let (mut connection, end) = self.end_of_part(connection, answer, about, run).await?;
        let made = if is_first { self.made_id(&mut connection).await } else { Some(0) };
        self.keep_open(connection, run);
        if run.warnings.has_altered() {
            return Err(Problem::Unsupported(ALTERED.into()).into());
        }
        if let Some(told) = helpings.told.get_mut(if helpings.copies { at } else { 0 }) {
            told.add(&end);
        }
        self.note_made_by(helpings, made)?;
        // The space is used again.
        if let Some(helping) = helpings.waiting.get_mut(at).filter(|_| bytes.len() <= helpings.bytes_max * 2)
        {
            (helping.bytes, helping.rows) = (bytes, rows);
            helping.bytes.clear();
            helping.rows.clear();
        }
        Ok(name)
    }

    fn note_made_by(&self, helpings: &mut Helpings, made: Option<u64>) -> Result<(), Failure> {
        let Some(made) = made else { return Err(LOST.into()) };
        if made != 0 {
            helpings.made.get_or_insert(made);
        }
        if helpings.made.is_some() && !helpings.may_make() {
            return Err(Problem::Unsupported(MADE_ID.into()).into());
        }
        Ok(())
    }

    /// All rows are given out: what the client will be told.
    pub(in crate::session) async fn finish_helpings(
        &mut self,
        helpings: &mut Helpings,
        run: &mut Run<'_>,
    ) -> Result<(), Failure> {
        for (at, portion) in run.spread.portions.iter().enumerate() {
            if !helpings.waiting.get(at).is_some_and(|helping| helping.served) {
                continue;
            }
            // Of rows behind the first ones.
            self.visit(&portion.share.site).await;
            let Some(mut held) = self.held.take() else { return Err(LOST.into()) };
            let made = self.made_id(&mut held).await;
            self.keep_open(held, run);
            self.note_made_by(helpings, made)?;
        }
        run.ends = helpings.told.iter().map(Summed::end).collect();
        if let Some(made) = helpings.made {
            self.insert_id.put(insert_id::Place::Known(made));
        }
        Ok(())
    }

    /// Sends rows as a file of their own; the answer's first packet, and the name by which the server has asked for the file.
    async fn upload(
        &mut self,
        held: Box<Connection>,
        sql: &[u8],
        rows: &[u8],
        name: &mut Vec<u8>,
    ) -> (Box<Connection>, Result<Packet, RelayError>) {
        let mut part = Part::new(held, self.worker.buffers.take(), self.worker.config.limits.packet_max);
        let mut packets = Vec::new();
        command::put_query(&mut packets, sql, part.connection.capabilities);
        self.entry.handle.runs_on(part.connection.server, part.connection.id);
        let answer = match part.connection.stream.write_all(&packets).await {
            Ok(()) => part.next(&mut self.client).await,
            Err(error) => Err(RelayError::Server { error, sent: false }),
        };
        let Ok(Packet::File(range)) = answer else { return (part.into_connection(), answer) };
        *name = part.bytes(range).to_vec();
        let answer = match send_file(&mut part.connection, rows).await {
            Ok(()) => part.next(&mut self.client).await,
            Err(error) => Err(RelayError::Server { error, sent: false }),
        };
        (part.into_connection(), answer)
    }

    /// What the first site's server would take for the file's character set.
    pub(in crate::session) async fn ask_charset(&mut self, run: &mut Run<'_>) -> Result<String, Failure> {
        let Some(portion) = run.spread.portions.first() else { return Err(LOST.into()) };
        self.visit(&portion.share.site).await;
        let Some(mut held) = self.held.take() else { return Err(LOST.into()) };
        let mut buffer: Buffer = self.worker.buffers.take();
        let asked = tokio::time::timeout(PRELUDE_LIMIT, held.run(CHARSET, &mut buffer)).await;
        let is_name = |name: &&[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let name = match &asked {
            Ok(Ok(answer)) => {
                answer.value().filter(is_name).map(|name| String::from_utf8_lossy(name).into_owned())
            }
            _ => None,
        };
        held.broken |= name.is_none();
        self.keep_open(held, run);
        name.ok_or_else(|| LOST.into())
    }
}

/// Packets, and the empty one that ends them. The server's question was the second packet of the exchange.
async fn send_file(connection: &mut Connection, rows: &[u8]) -> std::io::Result<()> {
    let (mut sequence, mut packet) = (2, Vec::new());
    for piece in rows.chunks(PACKET) {
        sequence = put_packet(&mut packet, sequence, piece);
        connection.stream.write_all(&packet).await?;
        packet.clear();
    }
    put_packet(&mut packet, sequence, b"");
    connection.stream.write_all(&packet).await
}

const CHARSET: &[u8] = b"SELECT @@character_set_database";

const ALTERED: &str = "the file has a key that does not fit its column, or servers warn of too much to be sure of the keys; nothing was loaded: look at the \
                       file's keys, or load the rows that warn by themselves";
