//! The rows of several sites as one reply.
//!
//! Owns: in which order packets are read and go to the client, and the memory between. Does not know: how rows are merged (`merge`), who is
//! asked (`scatter`). Invariant: the reply has one head and one end, and is sent as it comes: what is kept is counted.

use super::parts::{Asked, Left};
use super::{Failure, Read, Share, Uniting};
use crate::execute::part::Packet;
use crate::execute::relay::RelayError;
use crate::merge::{self, Format, Merger, Purse, Step, Want};
use crate::plan::sharded::Merging;
use crate::session::diagnostics::Last;
use crate::session::spread::gathered::Gathered;
use crate::session::{Flow, Session};
use crate::wire::capabilities::Capabilities;
use crate::wire::column::Column;
use crate::wire::frame::{put_lenenc, put_packet};
use crate::wire::ok::{Status, put_end};

/// Bytes of the client's reply that are collected before they are sent.
const CHUNK: usize = 16 << 10;
/// `max_sort_length`, where the session has set none.
const SORT_LENGTH: usize = 1024;

/// The reply as it goes to the client.
#[derive(Debug, Default)]
pub(in crate::session) struct Reply {
    bytes: Vec<u8>,
    sequence: u8,
    rows: u64,
    /// Bytes that the client has.
    pub sent: u64,
    /// Bytes that its purse knows of.
    counted: usize,
    /// Warnings that are told of it, where they are known.
    pub warnings: Option<Gathered>,
}

impl Reply {
    /// One whose first packet has this number.
    pub fn new(sequence: u8) -> Self {
        Self { sequence, ..Self::default() }
    }

    pub fn put(&mut self, payload: &[u8]) {
        self.sequence = put_packet(&mut self.bytes, self.sequence, payload);
    }

    /// Has the purse know of its memory.
    fn count(&mut self, purse: &Purse) -> Result<(), merge::Error> {
        let before = std::mem::replace(&mut self.counted, self.bytes.capacity());
        purse.grown(before, self.counted)
    }
}

impl Session {
    /// Reads all, and sends what comes of it, up to the end.
    pub(in crate::session) async fn unite(
        &mut self,
        parts: &mut [Asked],
        shares: &[Share],
        uniting: Uniting<'_>,
        read: &Read<'_>,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        match uniting {
            Uniting::Rows(merging) => self.merge_into(parts, shares, merging, read, reply).await,
            Uniting::Tables(tended) => self.tend_into(parts, tended, read, reply).await,
        }
    }

    /// Reads all, merges, and sends what comes of it, up to the end.
    async fn merge_into(
        &mut self,
        parts: &mut [Asked],
        shares: &[Share],
        merging: &Merging,
        read: &Read<'_>,
        reply: &mut Reply,
    ) -> Result<(), Failure> {
        let mut columns = Vec::with_capacity(parts.len());
        for (shard, (asked, share)) in parts.iter_mut().zip(shares).enumerate() {
            if asked.waits_for().is_none() {
                columns.push((shard, self.columns_of(asked, share).await?));
            }
        }
        let first = columns.first().map_or(&[][..], |(_, columns)| columns);
        let format = if read.bindings.is_some() { Format::Binary } else { Format::Text };
        let (spec, sort_length) = (merging.of(first.len())?, self.sort_length());
        let mut merger = Merger::within(&spec, first, format, parts.len(), sort_length, &read.purse)?;
        for (shard, columns) in columns.iter().skip(1) {
            merger.check(*shard, columns)?;
        }
        self.put_definitions(merger.columns().iter().map(Column::payload), reply);
        let mut finisher = merger.finisher();
        let mut row = Vec::new();
        loop {
            row.clear();
            let before = row.capacity();
            let step = merger.next(&mut row)?;
            read.purse.grown(before, row.capacity())?;
            let shard = match step {
                Step::Row => {
                    match &mut finisher {
                        Some(finisher) => finisher.keep(&row)?,
                        None => self.put_row(&row, reply, read).await?,
                    }
                    continue;
                }
                Step::Done => break,
                Step::Wants(Want::Shard(shard)) => shard,
                Step::Wants(Want::Any) => parts.iter().position(|asked| !asked.is_told()).unwrap_or_default(),
            };
            self.feed(&mut merger, parts, shares, shard, read).await?;
        }
        match finisher {
            Some(finisher) => self.finish_rows(finisher, parts, shares, read, reply).await,
            None => Ok(()),
        }
    }

    /// Adds a row to the reply, and sends what has been collected.
    pub(in crate::session) async fn put_row(
        &mut self,
        row: &[u8],
        reply: &mut Reply,
        read: &Read<'_>,
    ) -> Result<(), Failure> {
        reply.put(row);
        reply.rows += 1;
        reply.count(&read.purse)?;
        match reply.bytes.len() >= CHUNK && self.send_reply(reply).await == Flow::Close {
            true => Err(Failure::Gone),
            false => Ok(()),
        }
    }

    /// Tells the merge of a shard's next row, or of its end.
    async fn feed(
        &mut self,
        merger: &mut Merger,
        parts: &mut [Asked],
        shares: &[Share],
        shard: usize,
        read: &Read<'_>,
    ) -> Result<(), Failure> {
        let mut turns = vec![shard];
        while let Some(before) = turns.last().and_then(|at| parts.get(*at)?.waits_for()) {
            turns.push(before);
        }
        turns.pop(); // it runs, or has run
        while let Some(turn) = turns.pop() {
            let columns = self.take_turn(turn, parts, shares, read).await?;
            merger.check(turn, &columns)?;
        }
        let asked = parts.get_mut(shard).ok_or(RelayError::Protocol)?;
        let share = shares.get(shard).ok_or(RelayError::Protocol)?;
        if let Some(row) = asked.kept(&read.purse) {
            return Ok(merger.push(shard, &row)?);
        }
        if !asked.has_ended() {
            match self.next_of(asked, share).await? {
                Packet::Row(range) => {
                    merger.push(shard, asked.bytes(range))?;
                    asked.release();
                    return Ok(());
                }
                Packet::End(end) => asked.ended(end),
                Packet::Error(error) => return Err(Failure::Refused(error)),
                Packet::Column(_) | Packet::Columns | Packet::File(_) => {
                    return Err(RelayError::Protocol.into());
                }
            }
        }
        asked.note_told();
        Ok(merger.ended(shard)?)
    }

    pub(in crate::session) fn put_definitions<'a>(
        &self,
        columns: impl ExactSizeIterator<Item = &'a [u8]>,
        reply: &mut Reply,
    ) {
        let flags = self.client.capabilities;
        let mut count = Vec::new();
        put_lenenc(&mut count, columns.len() as u64);
        reply.put(&count);
        columns.for_each(|column| reply.put(column));
        if !flags.contains(Capabilities::DEPRECATE_EOF) {
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

    pub(in crate::session) async fn send_reply(&mut self, reply: &mut Reply) -> Flow {
        let flow = self.tell(&reply.bytes).await;
        reply.sent += reply.bytes.len() as u64;
        reply.bytes.clear();
        flow
    }

    /// The reply's end.
    pub(in crate::session) async fn end_reply(
        &mut self,
        reply: &mut Reply,
        left: Left,
        warnings: u32,
        uniting: Uniting<'_>,
    ) -> Flow {
        let mut status = self.standing();
        status.set(Status::IN_TRANSACTION, left.open);
        let mut payload = Vec::new();
        let told = reply.warnings.take();
        let warnings = told.as_ref().map_or(u16::try_from(warnings).unwrap_or(u16::MAX), Gathered::count);
        let kept = told.and_then(|told| told.reply(status, self.client.capabilities));
        let (found_rows, found_rows_unknown) = match uniting {
            Uniting::Rows(merging) => (reply.rows, merging.offset() > 0),
            Uniting::Tables(_) => (self.last.found_rows, self.last.found_rows_unknown),
        };
        self.last = Last { row_count: -1, found_rows, found_rows_unknown, warnings, kept, ..Last::default() };
        put_end(&mut payload, status, warnings, self.client.capabilities);
        reply.put(&payload);
        self.send_reply(reply).await
    }
}
