//! The parts of one statement at several sites: what the session had there, the reply as far as it has come, and the way back.
//!
//! Owns: taking connections that the session has for a statement, and giving all back. Does not know: what is asked, how replies become one
//! (`scatter`), who gets which connection (`lanes`). Invariant: what the session has at a site (a transaction, a cursor) is there again
//! afterwards, or the session ends; what still runs of a statement that has failed is ended at its server.

use std::collections::VecDeque;
use std::rc::Rc;

use super::Share;
use crate::backend::connection::Connection;
use crate::execute::client::{Client, Signals};
use crate::execute::part::{Packet, Part, PartEnd};
use crate::execute::relay::{End, RelayError};
use crate::ids::ServerId;
use crate::merge::{self, Purse};
use crate::plan::Route;
use crate::session::attempt::failure::Failure;
use crate::session::diagnostics::At;
use crate::session::pins::Pins;
use crate::session::resume::course::{Course, Outcome};
use crate::session::sites::Aside;
use crate::session::spread::bracket::LOST;
use crate::session::work::Work;
use crate::session::{Problem, Session};
use crate::sql::{Class, Recognised, Uses};
use crate::wire::ok::Status;
use crate::wire::reply::Expect;

/// So much of a reply is read to spare a connection that has nothing of the session.
const SPARED_MAX: usize = 1 << 20;
/// What a row that is read ahead costs beside its bytes.
const ROW_COST: usize = 48;

/// A statement at one site.
#[derive(Debug)]
pub(in crate::session) struct Asked {
    /// `None` before its turn on another part's connection, and after it where that has gone on to the next.
    part: Option<Part>,
    /// What the session had there.
    aside: Option<Aside>,
    /// Whose connection it gets when that one's reply has ended.
    behind: Option<usize>,
    /// Where it runs.
    server: Option<ServerId>,
    /// The statement has been sent, or some of it.
    sent: bool,
    /// The connection failed.
    failed: bool,
    end: Option<PartEnd>,
    /// Rows that were read before the merge wanted them.
    ahead: VecDeque<Box<[u8]>>,
    /// The merge knows that there are no more.
    told: bool,
}

/// What is left where a statement was run at several sites.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::session) struct Left {
    /// A transaction is open.
    pub open: bool,
    /// Something of the session is lost.
    pub lost: bool,
}

/// How a statement at several sites has ended, as far as its connections are concerned.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Ended {
    /// It failed, or there is nobody to tell.
    pub failed: bool,
    /// A KILL may be on its way to one of the connections' threads.
    pub doomed: bool,
}

impl Asked {
    /// On this connection.
    pub fn on(part: Part, aside: Option<Aside>) -> Self {
        let server = Some(part.connection.server);
        Self { part: Some(part), server, ..Self::waiting(None, aside) }
    }

    /// On that of another part, once that has ended.
    pub fn behind(other: usize) -> Self {
        Self::waiting(Some(other), None)
    }

    fn waiting(behind: Option<usize>, aside: Option<Aside>) -> Self {
        let ahead = VecDeque::new();
        Self {
            part: None,
            aside,
            behind,
            server: None,
            sent: false,
            failed: false,
            end: None,
            ahead,
            told: false,
        }
    }

    /// The part whose connection it waits for.
    pub fn waits_for(&self) -> Option<usize> {
        self.behind.filter(|_| self.server.is_none())
    }

    /// The connection, where it has one.
    pub fn connection(&mut self) -> Option<&mut Connection> {
        self.part.as_mut().map(|part| &mut *part.connection)
    }

    /// Where it runs, or has run.
    pub fn server(&self) -> Option<ServerId> {
        self.server
    }

    /// Whether anything of the statement may have reached a server.
    pub fn was_sent(&self) -> bool {
        self.sent
    }

    /// Its turn has come.
    pub fn take_over(&mut self, mut part: Part) {
        part.begin();
        self.server = Some(part.connection.server);
        self.part = Some(part);
    }

    /// The connection goes on to another part.
    pub fn pass_on(&mut self) -> Option<Part> {
        self.part.take_if(|part| part.is_done() && !part.connection.status.contains(Status::IN_TRANSACTION))
    }

    /// Sends packets.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn send(&mut self, packets: &[u8]) -> Result<(), RelayError> {
        let Some(part) = &mut self.part else { return Err(RelayError::Protocol) };
        self.sent = true;
        part.connection.stream.write_all(packets).await.map_err(|error| {
            (part.connection.broken, self.failed) = (true, true);
            RelayError::Server { error, sent: false }
        })
    }

    /// Whether all of the reply has been read, so that something else can be asked.
    pub fn is_free(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.is_done() && !part.connection.broken)
    }

    /// The thread where it runs still, and where the session has something.
    fn must_end(&self) -> Option<At> {
        let connection = &self.part.as_ref().filter(|part| !part.is_done())?.connection;
        let is_needed = self.sent && self.aside.is_some() && !connection.broken;
        is_needed.then_some((connection.server, connection.id))
    }

    /// Something else is asked, whose reply comes next. The end of the first one stays what is told of.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn ask(&mut self, packets: &[u8]) -> Result<(), RelayError> {
        if let Some(part) = &mut self.part {
            part.begin();
        }
        self.send(packets).await
    }

    /// The reply's next packet.
    ///
    /// # Errors
    /// Nothing more can be read.
    pub async fn next(&mut self, client: &mut Client) -> Result<Packet, RelayError> {
        let Some(part) = &mut self.part else { return Err(RelayError::Protocol) };
        let next = part.next(client).await;
        if let Err(error) = &next {
            part.connection.broken = true;
            self.failed = matches!(error, RelayError::Server { .. } | RelayError::Protocol);
        }
        next
    }

    /// The bytes of a packet that was told of last.
    pub fn bytes(&self, range: std::ops::Range<usize>) -> &[u8] {
        self.part.as_ref().map_or(&[], |part| part.bytes(range))
    }

    /// The packet that was told of last is done with.
    pub fn release(&mut self) {
        if let Some(part) = &mut self.part {
            part.release();
        }
    }

    /// Keeps a row until the merge wants it.
    ///
    /// # Errors
    /// It is too much.
    pub fn keep(&mut self, range: std::ops::Range<usize>, purse: &Purse) -> Result<(), merge::Error> {
        purse.take(range.len() + ROW_COST)?;
        let row = self.bytes(range).into();
        self.ahead.push_back(row);
        self.release();
        Ok(())
    }

    /// The first row that was kept.
    pub fn kept(&mut self, purse: &Purse) -> Option<Box<[u8]>> {
        let row = self.ahead.pop_front()?;
        purse.give(row.len() + ROW_COST);
        Some(row)
    }

    /// The reply has come to this end.
    pub fn ended(&mut self, end: PartEnd) {
        self.end = Some(end);
    }

    /// Whether all rows are here.
    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// The merge knows of the end.
    pub fn note_told(&mut self) {
        self.told = true;
    }

    /// Whether it does.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// Warnings that the reply's end has told of.
    pub fn warnings(&self) -> u32 {
        self.end.as_ref().map_or(0, |end| end.warnings.into())
    }

    /// Reads what is left of the reply: all of it where the session has something on the connection, else as much as the connection is worth.
    async fn drain(&mut self, client: &mut Client) {
        let bound = if self.aside.is_some() { usize::MAX } else { SPARED_MAX };
        self.drain_up_to(bound, client).await;
    }

    async fn drain_up_to(&mut self, bound: usize, client: &mut Client) {
        let mut read = 0usize;
        let Some(part) = &mut self.part else { return };
        part.count_no_more();
        while self.sent && !part.connection.broken && !part.is_done() && read < bound {
            match part.next(client).await {
                Ok(Packet::End(end)) => self.end = Some(end),
                Ok(Packet::Row(range) | Packet::Column(range)) => read = range.len().saturating_add(read),
                Ok(Packet::Columns | Packet::Error(_)) => {}
                Ok(Packet::File(_)) | Err(_) => part.connection.broken = true,
            }
        }
    }
}

impl Session {
    /// A connection for a statement where the session is, with all that it has there; a transaction is begun there where one is open.
    pub(in crate::session) async fn take_part(
        &mut self,
        route: Route,
        statement: Recognised,
        purse: &Rc<Purse>,
    ) -> Result<Asked, Problem> {
        self.begin_here(statement).await?;
        if self.held.as_deref().is_some_and(|held| *held.state != *self.desired) {
            self.bring_held().await?;
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
        Ok(Asked::on(self.part_on(connection, purse, false), aside))
    }

    /// What has been set since the transaction was begun is set in its part here, too.
    async fn bring_held(&mut self) -> Result<(), Problem> {
        let Some(mut held) = self.held.take() else { return Ok(()) };
        let difference = held.state.difference(&self.desired, &held.handshake());
        if difference.is_none_or(|difference| difference.reset) {
            self.hold(held);
            return Err(LOST); // a reset would have ended it
        }
        let work = Work::command(&[], Expect::Simple, Recognised::plain(Class::Set, Uses::empty()));
        let mut buffer = self.worker.buffers.take();
        let (mut before, mut steps) = (Vec::new(), Vec::new());
        let brought = async {
            self.catch_up(&mut held, &work, &mut before, &mut steps, &mut buffer).await?;
            held.stream.write_all(&before).await.map_err(Failure::Unsent)?;
            self.consume(&mut held, &mut steps, &mut buffer).await
        };
        let brought = brought.await;
        held.broken |= brought.is_err(); // in whatever state
        self.hold(held);
        brought.map_err(|failure| match failure {
            Failure::Prelude(error) => Problem::Server(error),
            _ => LOST,
        })
    }

    /// A reply that will come on this connection.
    pub(in crate::session) fn part_on(
        &self,
        connection: Box<Connection>,
        purse: &Rc<Purse>,
        may_move: bool,
    ) -> Part {
        let packet_max = self.worker.config.limits.packet_max;
        Part::new(connection, self.worker.buffers.take(), packet_max).of_several(Rc::clone(purse), may_move)
    }

    /// Somebody has ended the statement: so it ends where its reply must be read to the end, because the session has something there.
    pub(in crate::session) async fn stop_parts(&self, parts: &[Asked]) {
        for (server, id) in parts.iter().filter_map(Asked::must_end) {
            self.stop_thread(server, id).await;
        }
    }

    /// Reads to the end what is of no use any more; after a failure only where the session has something.
    pub(in crate::session) async fn drain_parts(&mut self, parts: &mut [Asked], failed: bool) {
        for asked in parts.iter_mut().filter(|asked| !failed || asked.aside.is_some()) {
            asked.drain(&mut self.client).await;
        }
    }

    /// A part whose connection can be asked something else, once what is left of its reply has been read. `None` where all have failed.
    pub(in crate::session) async fn free_part(&mut self, parts: &mut [Asked]) -> Option<usize> {
        self.drain_parts(parts, false).await;
        if let Some(free) = parts.iter().position(Asked::is_free) {
            return Some(free);
        }
        for (at, asked) in parts.iter_mut().enumerate() {
            asked.drain_up_to(usize::MAX, &mut self.client).await; // more than a connection is worth, and there is no other
            if asked.is_free() {
                return Some(at);
            }
        }
        None
    }

    /// Takes in what each part has said, and keeps its connection or gives it back.
    pub(in crate::session) async fn give_back(
        &mut self,
        parts: Vec<Asked>,
        shares: &[Share],
        statement: Recognised,
        ended: Ended,
    ) -> Left {
        let mut left = Left::default();
        for (Asked { part, aside, sent, end, server, failed, .. }, share) in parts.into_iter().zip(shares) {
            self.visit(&share.site).await;
            if let Some(aside) = aside {
                self.have_again(aside);
            }
            let has_ended = end.is_some();
            if let (Some(PartEnd { status, warnings, changes, .. }), Some(server)) = (end, server) {
                let end = End { status, warnings, changes, ..End::default() };
                let work = Work { text: Some(&share.sql), ..Work::command(&[], Expect::Results, statement) };
                self.note_freshness(server, &work, &end);
            }
            let Some(part) = part else { continue };
            let unfinished = sent && !part.is_done() && !failed;
            let mut connection = if sent { part.into_connection() } else { part.into_unasked() };
            if let Some(source) = share.source.as_ref().filter(|_| !has_ended) {
                connection.statements.forget_types(source); // it may have failed before the server took them
            }
            if ended.doomed && !connection.broken {
                self.outlive_kill(&mut connection).await;
            }
            if connection.broken {
                left.lost |= self.is_held_for_more_than_questions();
                match unfinished && ended.failed {
                    true => self.abandon(connection),
                    false => self.lose(connection),
                }
                continue;
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
