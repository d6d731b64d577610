//! One statement at several sites: their replies become one.
//!
//! Owns: who is asked, in which order packets go to the client, what is noted of each part. Does not know: how rows are merged (`merge`), what
//! the statement is at each site (it comes in). Invariant: the client's reply has one head and one end; what fails before its first byte is
//! an error of the statement, what fails later ends the reply by an error packet; a connection with more to come is never used again.

use std::sync::Arc;

use super::bound::Bindings;
use super::diagnostics::Last;
use super::failure::Failure as Before;
use super::parts::Asked;
use super::sites::Site;
use super::{Flow, Problem, Session};
use crate::backend::connection::Connection;
use crate::backend::statements::Source;
use crate::execute::part::Packet;
use crate::execute::relay::RelayError;
use crate::merge::{self, Bounds, Format, Merger, Step, Want};
use crate::plan::Route;
use crate::plan::sharded::Merging;
use crate::sql::Recognised;
use crate::wire::column::Column;
use crate::wire::command;
use crate::wire::err::ErrPacket;
use crate::wire::frame::{put_lenenc, put_packet};
use crate::wire::ok::{Status, put_end};

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
    /// The same, prepared.
    pub source: Option<Arc<Source>>,
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

impl From<Before> for Failure {
    /// Of what goes before an execution.
    fn from(failure: Before) -> Self {
        match failure {
            Before::Prelude(error) | Before::Reprepare(error) => Self::Refused(error),
            Before::Relay(error) => error.into(),
            Before::Behind | Before::Unsent(_) => {
                Self::Problem(Problem::Lost { outcome_unknown: false, state_lost: false })
            }
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
    /// Runs a query at all these sites, or executes it with these parameters, and gives the client one result.
    pub(super) async fn scatter(
        &mut self,
        shares: &[Share],
        merging: &Merging,
        statement: Recognised,
        route: Route,
        bindings: Option<&Bindings>,
    ) -> Flow {
        let mut reply = Reply { bytes: Vec::new(), sequence: self.sequence, rows: 0, sent: 0 };
        let mut parts = Vec::with_capacity(shares.len());
        let format = if bindings.is_some() { Format::Binary } else { Format::Text };
        let result = match self.ask_all(shares, statement, route, bindings, &mut parts).await {
            Ok(()) => self.merge_into(&mut parts, shares, merging, format, &mut reply).await,
            Err(failure) => Err(failure),
        };
        self.drain_parts(&mut parts, result.is_err()).await;
        self.entry.handle.runs_nothing();
        let warnings = parts.iter().map(Asked::warnings).sum::<u32>();
        let left = self.give_back(parts, shares, statement).await;
        let flow = match result {
            Ok(()) => {
                let mut status = self.standing();
                status.set(Status::IN_TRANSACTION, left.open);
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
        };
        // What the client sends next is meant for the state that is lost.
        if left.lost { Flow::Close } else { flow }
    }

    /// Sends the statement to each site.
    async fn ask_all(
        &mut self,
        shares: &[Share],
        statement: Recognised,
        route: Route,
        bindings: Option<&Bindings>,
        parts: &mut Vec<Asked>,
    ) -> Result<(), Failure> {
        let mut packets = Vec::with_capacity(shares.len());
        for share in shares {
            self.visit(&share.site).await;
            let mut asked = self.take_part(route, statement).await?;
            let written = self.write_share(asked.connection(), share, bindings).await;
            parts.push(asked);
            packets.push(written?);
        }
        for (asked, packets) in parts.iter_mut().zip(packets) {
            asked.send(&packets).await?;
            self.worker.counters.statements.count(route.target as usize, route.reason as usize);
        }
        Ok(())
    }

    /// The packets for a site, where the session is; a statement is prepared there first where it is not yet.
    async fn write_share(
        &self,
        connection: &mut Connection,
        share: &Share,
        bindings: Option<&Bindings>,
    ) -> Result<Vec<u8>, Failure> {
        let mut packets = Vec::with_capacity(share.sql.len() + 16);
        match (&share.source, bindings) {
            (Some(source), Some(bindings)) => {
                let mut buffer = self.worker.buffers.take();
                let execution = bindings.execution(source);
                if let Err(failure) = self.dress(connection, &execution, &mut packets, &mut buffer).await {
                    connection.broken |= !matches!(failure, Before::Prelude(_) | Before::Reprepare(_));
                    return Err(failure.into());
                }
            }
            _ => command::put_query(&mut packets, &share.sql, connection.capabilities),
        }
        Ok(packets)
    }

    /// Reads all, merges, and sends what comes of it, up to the end. Each part's end.
    async fn merge_into(
        &mut self,
        parts: &mut [Asked],
        shares: &[Share],
        merging: &Merging,
        format: Format,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let mut columns = vec![Vec::new(); parts.len()];
        for ((asked, share), columns) in parts.iter_mut().zip(shares).zip(&mut columns) {
            self.note_waits_for(asked);
            loop {
                match asked.next(&mut self.client).await? {
                    Packet::Column(range) => {
                        let payload = asked.bytes(range);
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
        let mut merger = Merger::new(&merging.of(first.len())?, first, format, parts.len(), bounds)?;
        for (shard, columns) in columns.iter().enumerate().skip(1) {
            merger.check(shard, columns)?;
        }
        self.put_columns(&merger, reply);
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
                Step::Wants(Want::Any) => {
                    parts.iter().position(|asked| !asked.has_ended()).unwrap_or_default()
                }
            };
            self.feed(&mut merger, parts, shard).await?;
        }
        Ok(())
    }

    /// Reads one packet of a shard's rows.
    async fn feed(&mut self, merger: &mut Merger, parts: &mut [Asked], shard: usize) -> Result<(), Failure> {
        let asked = parts.get_mut(shard).ok_or(RelayError::Protocol)?;
        self.note_waits_for(asked);
        match asked.next(&mut self.client).await? {
            Packet::Row(range) => Ok(merger.push(shard, asked.bytes(range))?),
            Packet::End(end) => {
                asked.ended(end);
                Ok(merger.ended(shard)?)
            }
            Packet::Error(error) => Err(Failure::Refused(error)),
            Packet::Column(_) | Packet::Columns => Err(RelayError::Protocol.into()),
        }
    }

    /// A KILL ends the statement at this site.
    fn note_waits_for(&self, asked: &mut Asked) {
        let connection = asked.connection();
        self.entry.handle.runs_on(connection.server, connection.id);
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
}
