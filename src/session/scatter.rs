//! One statement at several sites: their replies become one.
//!
//! Owns: who is asked, in which order packets go to the client, what is noted of each part. Does not know: how rows are merged (`merge`), what
//! the statement is at each site (it comes in). Invariant: the client's reply has one head and one end; what fails before its first byte is
//! an error of the statement, what fails later ends the reply by an error packet; a connection with more to come is never used again.

use super::diagnostics::Last;
use super::sites::Site;
use super::work::Work;
use super::{Flow, Problem, Session};
use crate::execute::part::{Packet, Part, PartEnd};
use crate::execute::relay::{End, RelayError};
use crate::merge::{self, Bounds, Format, Merger, Step, Want};
use crate::plan::Route;
use crate::plan::sharded::Merging;
use crate::sql::Recognised;
use crate::wire::column::Column;
use crate::wire::command;
use crate::wire::err::ErrPacket;
use crate::wire::frame::{put_lenenc, put_packet};
use crate::wire::ok::{Status, put_end};
use crate::wire::reply::Expect;

/// Bytes of the client's reply that are collected before they are sent.
const CHUNK: usize = 16 << 10;
/// What groups, distinct values and rows to be sorted may take.
const MEMORY_MAX: usize = 64 << 20;
/// `max_sort_length`, where the session has set none.
const SORT_LENGTH: usize = 1024;

/// What is to be run at a site.
#[derive(Debug)]
pub(super) struct Share {
    pub site: Site,
    pub sql: Vec<u8>,
}

/// How a scattered statement failed.
enum Failure {
    /// By a server's error, or one of our own that a client may see.
    Refused(ErrPacket),
    /// Before it was run anywhere, or while it ran.
    Problem(Problem),
    /// There is nobody to tell.
    Gone,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<RelayError> for Failure {
    fn from(error: RelayError) -> Self {
        match error {
            RelayError::Client(_) | RelayError::Killed => Self::Gone,
            _ => Self::Problem(Problem::Lost { outcome_unknown: false, state_lost: false }),
        }
    }
}

impl From<merge::Error> for Failure {
    fn from(error: merge::Error) -> Self {
        let (code, state) = error.mysql_code();
        Self::Refused(ErrPacket::new(code, state, error.to_string()))
    }
}

/// The reply as it goes to the client.
struct Reply {
    bytes: Vec<u8>,
    sequence: u8,
    rows: u64,
    sent: u64,
}

impl Reply {
    fn put(&mut self, payload: &[u8]) {
        self.sequence = put_packet(&mut self.bytes, self.sequence, payload);
    }
}

impl Session {
    /// Runs a query at all these sites and gives the client one result.
    pub(super) async fn scatter(
        &mut self,
        shares: &[Share],
        merging: &Merging,
        statement: Recognised,
        route: Route,
    ) -> Flow {
        let mut reply = Reply { bytes: Vec::new(), sequence: self.sequence, rows: 0, sent: 0 };
        let mut parts = Vec::with_capacity(shares.len());
        let result = match self.ask_all(shares, statement, route, &mut parts).await {
            Ok(()) => self.merge_into(&mut parts, shares, merging, &mut reply).await,
            Err(failure) => Err(failure),
        };
        self.entry.handle.runs_nothing();
        let ends = result.as_ref().ok().map_or(&[][..], |ends| ends);
        let open = self.give_back(parts, shares, ends, statement).await;
        match result {
            Ok(ends) => {
                let mut status = self.standing();
                status.set(Status::IN_TRANSACTION, open);
                let warnings = ends.iter().map(|end| u32::from(end.warnings)).sum::<u32>();
                let mut payload = Vec::new();
                let warnings = u16::try_from(warnings).unwrap_or(u16::MAX);
                self.last = Last {
                    row_count: -1,
                    found_rows: reply.rows,
                    found_rows_unknown: merging.offset() > 0,
                    warnings,
                    ..Last::default()
                };
                put_end(&mut payload, status, warnings, self.client.capabilities);
                reply.put(&payload);
                self.send_reply(&mut reply).await
            }
            Err(Failure::Gone) => Flow::Close,
            Err(Failure::Problem(problem)) if reply.sent == 0 => self.refuse(&problem).await,
            Err(Failure::Refused(error)) if reply.sent == 0 => self.refuse(&Problem::Server(error)).await,
            // In the place of a row.
            Err(failure) => {
                let error = match failure {
                    Failure::Refused(error) => error,
                    Failure::Problem(problem) => problem.packet(),
                    Failure::Gone => return Flow::Close,
                };
                reply.put(&error.encode());
                self.send_reply(&mut reply).await
            }
        }
    }

    /// Sends the statement to each site.
    async fn ask_all(
        &mut self,
        shares: &[Share],
        statement: Recognised,
        route: Route,
        parts: &mut Vec<Part>,
    ) -> Result<(), Failure> {
        let packet_max = self.worker.config.limits.packet_max;
        for share in shares {
            self.visit(&share.site).await;
            self.begin_here(statement).await?;
            let connection = match self.held.take() {
                Some(held) => held,
                None => self.ready(&mut { route }, None).await?,
            };
            parts.push(Part::new(connection, self.worker.buffers.take(), packet_max));
        }
        for (part, share) in parts.iter_mut().zip(shares) {
            let mut packets = Vec::with_capacity(share.sql.len() + 16);
            command::put_query(&mut packets, &share.sql, part.connection.capabilities);
            let written = part.connection.stream.write_all(&packets).await;
            if written.is_err() {
                part.connection.broken = true;
                return Err(Problem::Lost { outcome_unknown: false, state_lost: false }.into());
            }
            self.worker.counters.statements.count(route.target as usize, route.reason as usize);
        }
        Ok(())
    }

    /// Reads all, merges, and sends what comes of it, up to the end. Each part's end.
    async fn merge_into(
        &mut self,
        parts: &mut [Part],
        shares: &[Share],
        merging: &Merging,
        reply: &mut Reply,
    ) -> Result<Vec<PartEnd>, Failure> {
        let mut columns = vec![Vec::new(); parts.len()];
        for ((part, share), columns) in parts.iter_mut().zip(shares).zip(&mut columns) {
            self.entry.handle.runs_on(part.connection.server, part.connection.id);
            loop {
                match part.next(&mut self.client).await? {
                    Packet::Column(range) => {
                        let payload = part.bytes(range);
                        let own = share.site.names.as_ref().and_then(|names| names.of_definition(payload));
                        let column = Column::parse(own.as_deref().unwrap_or(payload));
                        columns.push(column.ok_or(RelayError::Protocol)?);
                    }
                    Packet::Columns => break,
                    Packet::Error(error) => return Err(Failure::Refused(error)),
                    Packet::Row(_) | Packet::End(_) => return Err(RelayError::Protocol.into()),
                }
            }
        }
        let bounds = Bounds { memory_max: MEMORY_MAX, sort_length_max: self.sort_length() };
        let first = columns.first().map_or(&[][..], Vec::as_slice);
        let mut merger = Merger::new(&merging.of(first.len())?, first, Format::Text, parts.len(), bounds)?;
        for (shard, columns) in columns.iter().enumerate().skip(1) {
            merger.check(shard, columns)?;
        }
        self.put_columns(&merger, reply);
        let mut ends: Vec<Option<PartEnd>> = parts.iter().map(|_| None).collect();
        let mut row = Vec::new();
        loop {
            row.clear();
            let shard = match merger.next(&mut row)? {
                Step::Row => {
                    reply.put(&row);
                    reply.rows += 1;
                    if reply.bytes.len() >= CHUNK && self.send_reply(reply).await == Flow::Close {
                        return Err(Failure::Gone);
                    }
                    continue;
                }
                Step::Done => break,
                Step::Wants(Want::Shard(shard)) => shard,
                Step::Wants(Want::Any) => ends.iter().position(Option::is_none).unwrap_or_default(),
            };
            if let Some(end) = self.feed(&mut merger, parts, shard).await? {
                merger.ended(shard)?;
                ends[shard] = Some(end);
            }
        }
        Ok(ends.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Reads one packet of a shard's rows.
    async fn feed(
        &mut self,
        merger: &mut Merger,
        parts: &mut [Part],
        shard: usize,
    ) -> Result<Option<PartEnd>, Failure> {
        let part = parts.get_mut(shard).ok_or(RelayError::Protocol)?;
        self.entry.handle.runs_on(part.connection.server, part.connection.id);
        match part.next(&mut self.client).await? {
            Packet::Row(range) => {
                merger.push(shard, part.bytes(range))?;
                Ok(None)
            }
            Packet::End(end) => Ok(Some(end)),
            Packet::Error(error) => Err(Failure::Refused(error)),
            Packet::Column(_) | Packet::Columns => Err(RelayError::Protocol.into()),
        }
    }

    fn put_columns(&self, merger: &Merger, reply: &mut Reply) {
        let flags = self.client.capabilities;
        let mut count = Vec::new();
        put_lenenc(&mut count, merger.columns().len() as u64);
        reply.put(&count);
        merger.columns().iter().for_each(|column| reply.put(column.payload()));
        if !flags.contains(crate::wire::capabilities::Capabilities::DEPRECATE_EOF) {
            let mut payload = Vec::new();
            put_end(&mut payload, self.standing(), 0, flags);
            reply.put(&payload);
        }
    }

    /// `max_sort_length` of the session.
    fn sort_length(&self) -> usize {
        let own = self
            .desired
            .get(b"max_sort_length")
            .and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        own.unwrap_or(SORT_LENGTH)
    }

    async fn send_reply(&mut self, reply: &mut Reply) -> Flow {
        let flow = self.tell(&reply.bytes).await;
        reply.sent += reply.bytes.len() as u64;
        reply.bytes.clear();
        flow
    }

    /// Takes in what each part has said, and keeps or gives back its connection. Whether a transaction is open.
    async fn give_back(
        &mut self,
        parts: Vec<Part>,
        shares: &[Share],
        ends: &[PartEnd],
        statement: Recognised,
    ) -> bool {
        let mut open = false;
        for (at, (part, share)) in parts.into_iter().zip(shares).enumerate() {
            self.visit(&share.site).await;
            let connection = part.into_connection();
            if connection.broken {
                self.lose(connection);
                continue;
            }
            if let Some(end) = ends.get(at) {
                let end = End {
                    status: end.status,
                    warnings: end.warnings,
                    changes: end.changes.clone(),
                    ..End::default()
                };
                let work = Work { text: Some(&share.sql), ..Work::command(&[], Expect::Results, statement) };
                self.note_freshness(connection.server, &work, &end);
            }
            self.status = connection.status;
            open |= connection.status.contains(Status::IN_TRANSACTION);
            if connection.status.contains(Status::IN_TRANSACTION) {
                self.hold(connection);
            } else {
                self.release(connection, false);
            }
        }
        open
    }
}
