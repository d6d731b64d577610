//! The parts of one statement at several sites: what the session had there, the reply as far as it has come, and the way back.
//!
//! Owns: taking connections for a statement and giving them back. Does not know: what is asked, how replies become one (`scatter`).
//! Invariant: what the session has at a site (a transaction, a cursor) is there again afterwards, or the session ends.

use super::bracket::LOST;
use super::course::{Course, Outcome};
use super::pins::Pins;
use super::scatter::Share;
use super::sites::Aside;
use super::work::Work;
use super::{Problem, Session};
use crate::backend::connection::Connection;
use crate::execute::client::{Client, Signals};
use crate::execute::part::{Packet, Part, PartEnd};
use crate::execute::relay::{End, RelayError};
use crate::plan::Route;
use crate::sql::Recognised;
use crate::wire::ok::Status;
use crate::wire::reply::Expect;

/// So much of a reply is read to spare a connection that has nothing of the session.
const SPARED_MAX: usize = 1 << 20;

/// A statement at one site.
#[derive(Debug)]
pub(super) struct Asked {
    part: Part,
    /// What the session had there.
    aside: Option<Aside>,
    /// The statement has been sent, or some of it.
    sent: bool,
    end: Option<PartEnd>,
}

/// What is left where a statement was run at several sites.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Left {
    /// A transaction is open.
    pub open: bool,
    /// Something of the session is lost.
    pub lost: bool,
}

impl Asked {
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.part.connection
    }

    /// Sends packets.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn send(&mut self, packets: &[u8]) -> Result<(), Problem> {
        self.sent = true;
        self.part.connection.stream.write_all(packets).await.map_err(|_| {
            self.part.connection.broken = true;
            Problem::Lost { outcome_unknown: false, state_lost: false }
        })
    }

    /// The reply's next packet; its end is kept, too.
    ///
    /// # Errors
    /// Nothing more can be read.
    pub async fn next(&mut self, client: &mut Client) -> Result<Packet, RelayError> {
        let next = self.part.next(client).await;
        self.part.connection.broken |= next.is_err();
        next
    }

    /// The bytes of a packet that was told of last.
    pub fn bytes(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.part.bytes(range)
    }

    /// The reply has come to this end.
    pub fn ended(&mut self, end: PartEnd) {
        self.end = Some(end);
    }

    /// Whether all rows are here.
    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Warnings that the reply's end has told of.
    pub fn warnings(&self) -> u32 {
        self.end.as_ref().map_or(0, |end| end.warnings.into())
    }

    /// Reads what is left of the reply: all of it where the session has something on the connection, else as much as the connection is worth.
    async fn drain(&mut self, client: &mut Client) {
        let bound = if self.aside.is_some() { usize::MAX } else { SPARED_MAX };
        let mut read = 0;
        while self.sent && !self.part.connection.broken && !self.part.is_done() && read < bound {
            match self.next(client).await {
                Ok(Packet::End(end)) => self.end = Some(end),
                Ok(Packet::Row(range) | Packet::Column(range)) => read = range.len().saturating_add(read),
                Ok(Packet::Columns | Packet::Error(_)) | Err(_) => {}
            }
        }
    }
}

impl Session {
    /// A connection for a statement where the session is, with all that it has there.
    pub(super) async fn take_part(&mut self, route: Route, statement: Recognised) -> Result<Asked, Problem> {
        self.begin_here(statement).await?;
        let packet_max = self.worker.config.limits.packet_max;
        if self.held.as_deref().is_some_and(|held| *held.state != *self.desired) {
            return Err(Problem::Unsupported(CHANGED.into()));
        }
        if self.client.signals.is_raised(Signals::REPLACED) {
            let snapshot = self.topology.snapshot();
            let is_replaced = |server| snapshot.server(server).is_none_or(|server| server.replaced);
            if self.held.as_deref().is_some_and(|held| is_replaced(held.server)) {
                return Err(LOST);
            }
            self.client.signals.lower(Signals::REPLACED); // it was about another site
        }
        let (connection, aside) = match self.held.take() {
            Some(held) => (held, Some(self.set_aside())),
            None => (self.ready(&mut { route }, None).await?, None),
        };
        let part = Part::new(connection, self.worker.buffers.take(), packet_max);
        Ok(Asked { part, aside, sent: false, end: None })
    }

    /// Reads to the end what is of no use any more; after a failure only where the session has something.
    pub(super) async fn drain_parts(&mut self, parts: &mut [Asked], failed: bool) {
        for asked in parts.iter_mut().filter(|asked| !failed || asked.aside.is_some()) {
            asked.drain(&mut self.client).await;
        }
    }

    /// Takes in what each part has said, and keeps its connection or gives it back.
    pub(super) async fn give_back(
        &mut self,
        parts: Vec<Asked>,
        shares: &[Share],
        statement: Recognised,
    ) -> Left {
        let mut left = Left::default();
        for (Asked { part, aside, sent, end }, share) in parts.into_iter().zip(shares) {
            self.visit(&share.site).await;
            if let Some(aside) = aside {
                self.have_again(aside);
            }
            let mut connection = if sent { part.into_connection() } else { part.into_unasked() };
            if let Some(source) = share.source.as_ref().filter(|_| end.is_none()) {
                connection.statements.forget_types(source); // it may have failed before the server took them
            }
            if connection.broken {
                left.lost |= self.is_held_for_more_than_questions();
                self.lose(connection);
                continue;
            }
            if let Some(PartEnd { status, warnings, changes, .. }) = end {
                let end = End { status, warnings, changes, ..End::default() };
                let work = Work { text: Some(&share.sql), ..Work::command(&[], Expect::Results, statement) };
                self.note_freshness(connection.server, &work, &end);
            }
            if sent && !matches!(self.course, Course::Untold) {
                self.course = Course::Lost(Outcome::Statement); // of several shards' rows nothing is kept
            }
            self.status = connection.status;
            left.open |= self.status.contains(Status::IN_TRANSACTION);
            if self.is_held_for_more_than_questions() {
                self.hold(connection);
            } else {
                self.set_pins(Pins::default());
                self.release(connection, false);
            }
        }
        left
    }
}

const CHANGED: &str = "the session's settings have changed since its transaction went to a shard: read one shard at a time, or set them before \
                       the transaction";
