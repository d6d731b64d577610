//! What each site gets of a file at a time: some rows, by a LOAD DATA LOCAL of its own.
//!
//! Owns: the rows that wait, how many go together, one such statement at a site, and what the sites have told. Does not know: where a row belongs
//! (`loading`). Invariant: rows of one site are loaded in the order of the file; what waits is bounded. A site that gets no rows for long, as
//! all are another's or the client is slow, waits in no statement, so that no server gives up.

use std::ops::Range;

use tokio::time::timeout;

use super::bracket::LOST;
use super::portions::Spread;
use super::{Failure, MADE_ID, Run};
use crate::backend::connection::Connection;
use crate::backend::insert_id;
use crate::backend::variables::Name;
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
/// Rows that go together. Of so many a server mostly keeps all warnings, by which it is seen whether a key was altered; where not, fewer go.
const ROWS: usize = 500;
/// Bytes of a packet to a server.
const PACKET: usize = 256 << 10;

/// Rows that wait.
#[derive(Debug, Default)]
struct Helping {
    bytes: Vec<u8>,
    /// Their places in the file,
    rows: Vec<usize>,
    /// and where each of them ends.
    ends: Vec<usize>,
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
    /// Rows that go together now: fewer where they warn of much.
    rows_max: usize,
    /// What the sites have told: of copies each by itself.
    told: Vec<Summed>,
    /// The first id that a server has made.
    made: Option<u64>,
    /// The site that has the last row; of copies the first.
    last: Option<usize>,
    /// A key was 0, for which a server may make another one.
    zero: bool,
    /// The user variables that the statement names.
    variables: Vec<Name>,
}

impl Helpings {
    /// Nothing waits yet.
    pub fn new(spread: &Spread, variables: &[Name]) -> Self {
        let sites = spread.portions.len();
        Self {
            texts: spread.portions.iter().map(|portion| portion.share.sql.clone()).collect(),
            waiting: (0..sites).map(|_| Helping::default()).collect(),
            copies: spread.copies,
            rows_max: ROWS,
            bytes_max: (ALL_BYTES / sites.max(1)).clamp(BYTES.0, BYTES.1),
            told: vec![Summed::default(); if spread.copies { sites } else { 1 }],
            made: None,
            last: None,
            zero: false,
            variables: variables.to_vec(),
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
        self.last = Some(at.unwrap_or_default());
        let sites = at.map_or(0..self.waiting.len(), |at| at..at + 1);
        for helping in self.waiting.get_mut(sites).unwrap_or_default() {
            helping.bytes.extend_from_slice(row);
            helping.rows.push(number);
            helping.ends.push(helping.bytes.len());
        }
        let is_zero = |byte: &u8| matches!(byte, b'0' | b'.' | b'+' | b'-');
        self.zero |= key.iter().any(|field| matches!(field, Field::Text(text) if text.iter().all(is_zero)));
    }

    /// A site for which as much waits as may.
    pub fn full(&self) -> Option<usize> {
        let is_full =
            |helping: &Helping| helping.bytes.len() >= self.bytes_max || helping.rows.len() >= self.rows_max;
        self.waiting.iter().position(is_full)
    }

    /// The site where the file's last row is.
    pub fn last(&self) -> Option<usize> {
        self.last
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
        let Some(waiting) = helpings.waiting.get_mut(at) else { return Err(LOST.into()) };
        let mut helping = std::mem::take(waiting);
        waiting.served = helping.served || !helping.rows.is_empty();
        let mut name = Vec::new();
        let mut begin = 0;
        loop {
            let end = helping.rows.len().min(begin + helpings.rows_max);
            match self.serve_piece(helpings, at, (&helping, begin..end), run).await? {
                Some(asked) => (name, begin) = (asked, end),
                None => helpings.rows_max = ((end - begin) / 2).max(1),
            }
            if begin >= helping.rows.len() {
                break;
            }
        }
        // The space is used again.
        if let Some(waiting) =
            helpings.waiting.get_mut(at).filter(|_| helping.bytes.len() <= helpings.bytes_max * 2)
        {
            helping.bytes.clear();
            helping.rows.clear();
            helping.ends.clear();
            *waiting = Helping { served: waiting.served, ..helping };
        }
        Ok(name)
    }

    /// The same of some of the rows; `None` where so many are too many, as the server does not keep all that it warns of: then none is there.
    async fn serve_piece(
        &mut self,
        helpings: &mut Helpings,
        at: usize,
        (helping, piece): (&Helping, Range<usize>),
        run: &mut Run<'_>,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let Some(portion) = run.spread.portions.get(at) else { return Err(LOST.into()) };
        let text = helpings.texts.get(at).ok_or(LOST)?;
        let end_of =
            |row: usize| row.checked_sub(1).and_then(|row| helping.ends.get(row)).copied().unwrap_or(0);
        let bytes = helping.bytes.get(end_of(piece.start)..end_of(piece.end)).unwrap_or_default();
        let rows = helping.rows.get(piece.clone()).unwrap_or_default();
        let is_first = !rows.is_empty() && piece.start == 0 && !helping.served;
        self.write_within(portion, !rows.is_empty(), run).await?;
        let mut held = self.take_open_part(portion, run).await?;
        helpings.variables.iter().for_each(|name| held.variables.touch(name));
        let may_split = rows.len() > 1 && self.keeps_few_warnings(run);
        if may_split && !self.on_part(&mut held, SAVE).await {
            self.keep_open(held, run);
            return Err(LOST.into());
        }
        let mut name = Vec::new();
        let (mut connection, answer) = match self.has_lost_its_place(held.server) {
            true => (held, Err(RelayError::Protocol)),
            false => self.upload(held, text, bytes, &mut name).await,
        };
        let warnings = match &answer {
            Ok(Packet::End(end)) => usize::from(end.warnings),
            _ => 0,
        };
        if may_split && warnings > run.warnings.most() {
            connection.warned = true;
            let back = self.on_part(&mut connection, BACK).await;
            self.keep_open(connection, run);
            return if back { Ok(None) } else { Err(LOST.into()) };
        }
        // The client reads of one copy only.
        let about = (portion, rows, !helpings.copies || at == 0);
        let (mut connection, end) = self.end_of_part(connection, answer, about, run).await?;
        let made = if is_first { self.made_id(&mut connection).await } else { Some(0) };
        self.keep_open(connection, run);
        if run.warnings.has_altered() {
            return Err(altered(rows).into());
        }
        if warnings * 4 < run.warnings.most() {
            helpings.rows_max = (helpings.rows_max * 2).min(ROWS);
        }
        if let Some(told) = helpings.told.get_mut(if helpings.copies { at } else { 0 }) {
            told.add(&end);
        }
        self.note_made_by(helpings, made)?;
        Ok(Some(name))
    }

    /// Whether the server may keep fewer warnings than there are, of a statement whose warnings must all be known.
    fn keeps_few_warnings(&self, run: &Run<'_>) -> bool {
        let dialect = self.lexing.server.dialect;
        !run.spread.kept.is_empty() && !run.asks_for_all_warnings(dialect)
    }

    /// Runs a statement about a part; whether it has succeeded.
    async fn on_part(&self, connection: &mut Connection, sql: &[u8]) -> bool {
        let mut buffer = self.worker.buffers.take();
        let answered = timeout(PRELUDE_LIMIT, connection.run(sql, &mut buffer)).await;
        let done = matches!(answered, Ok(Ok(answer)) if answer.error.is_none());
        connection.broken |= !done;
        done
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

    /// What a site's server would take for the file's character set.
    pub(in crate::session) async fn ask_charset(
        &mut self,
        at: usize,
        run: &mut Run<'_>,
    ) -> Result<String, Failure> {
        let Some(portion) = run.spread.portions.get(at) else { return Err(LOST.into()) };
        self.visit(&portion.share.site).await;
        let Some(mut held) = self.held.take() else { return Err(LOST.into()) };
        let mut buffer: Buffer = self.worker.buffers.take();
        let asked = timeout(PRELUDE_LIMIT, held.run(CHARSET, &mut buffer)).await;
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

/// In front of rows that may be too many to go together, and back to there.
const SAVE: &[u8] = b"SAVEPOINT tidegate_rows";
const BACK: &[u8] = b"ROLLBACK TO SAVEPOINT tidegate_rows";

/// A key, or an id, is not what the file says, in one of these rows.
fn altered(rows: &[usize]) -> Problem {
    let (first, last) = (rows.first().map_or(0, |row| row + 1), rows.last().map_or(0, |row| row + 1));
    let place = if first == last { format!("row {first}") } else { format!("rows {first} to {last}") };
    Problem::Unsupported(
        format!(
            "in {place} the file has a key that does not fit its column, or the server warns of more than it keeps, so that nobody can be sure of the keys; \
             nothing was loaded: look at the keys there, or load the rows that warn by themselves"
        )
        .into(),
    )
}
