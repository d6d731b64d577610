//! Parts of the open transaction at sites where it was not open.
//!
//! Owns: what begins one, on which server, with which savepoints. Does not know: which site a statement needs (`direct`). Invariant: each part was
//! begun as the first was, by the server's word on it, and has its savepoints.

use tokio::time::timeout;

use super::branches::may_write;
use super::{Branch, Site};
use crate::backend::connection::Connection;
use crate::backend::exchange::{self, ExchangeError};
use crate::plan::{Reason, Route, Target};
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::pins::Pins;
use crate::session::resume::course::{Course, Outcome};
use crate::session::spread::bracket::LOST;
use crate::session::{Problem, Session};
use crate::sql::{self, Access, Class, Recognised, Uses};
use crate::wire::buffer::Buffer;
use crate::wire::command;
use crate::wire::err::ErrPacket;
use crate::wire::ok::Status;
use crate::wire::reply::Expect;

const READ_ONLY: &[u8] = b"START TRANSACTION READ ONLY";
const READ_ONLY_SNAPSHOT: &[u8] = b"START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

const TEXTS: &str = "a session with statements of PREPARE cannot USE a database of another cluster: DEALLOCATE PREPARE them first, or let the driver \
                     prepare them";

impl Session {
    /// Goes where USE can be carried out: to the database's home, with the open transaction, of which the answer tells.
    pub(in crate::session) async fn take_to_database(
        &mut self,
        name: Option<&[u8]>,
        statement: Recognised,
    ) -> Result<(), Problem> {
        // Servers' own schemas are everywhere.
        let name = name.filter(|name| !sql::is_system_schema(name));
        let directory = self.worker.directory.load();
        let home = Site::home(name.map_or(self.home(), |name| directory.rules().home_of(name)));
        drop(directory);
        // What a text of PREPARE means is what it meant where it was prepared.
        let has_texts = !self.texts.is_empty() || self.pins.contains(Pins::TEXT_PREPARED);
        if home.cluster != self.home() && has_texts {
            return Err(Problem::Unsupported(TEXTS.into()));
        }
        self.may_leave_for(&home, statement)?;
        self.visit(&home).await;
        match self.sites.is_open_elsewhere() {
            true => self.begin_here(statement).await,
            false => Ok(()),
        }
    }

    /// Begins here what was begun elsewhere, where it is not open here yet, with its savepoints.
    pub(in crate::session) async fn begin_here(&mut self, statement: Recognised) -> Result<(), Problem> {
        if self.has_open_part() {
            return Ok(());
        }
        match self.beginning() {
            Some(begin) => self.begin_by(&begin, statement).await,
            None => Ok(()),
        }
    }

    /// The same, where no single statement of the client's will begin it here.
    pub(in crate::session) async fn begin_part(&mut self, statement: Recognised) -> Result<(), Problem> {
        if self.has_open_part() {
            return Ok(());
        }
        let begin = self.beginning().unwrap_or_else(|| b"START TRANSACTION".to_vec());
        self.begin_by(&begin, statement).await
    }

    async fn begin_by(&mut self, begin: &[u8], statement: Recognised) -> Result<(), Problem> {
        let access = match self.recognise(begin).class {
            Class::Begin(access) => access,
            _ => Access::Default,
        };
        let target = match access {
            Access::ReadOnly if !may_write(statement) => Target::Replica,
            _ => Target::Primary,
        };
        let savepoints = self.sites.savepoints.statements();
        let mut route = Route { target, reason: Reason::BeginTransaction };
        let mut connection = self.ready(&mut route, None).await?;
        match timeout(
            PRELUDE_LIMIT,
            begin_on(&mut connection, begin, &savepoints, &mut self.worker.buffers.take()),
        )
        .await
        {
            Ok(Ok(None)) => {
                self.status = connection.status;
                self.course = match savepoints.is_empty() {
                    true => Course::Begun(access, route),
                    false => Course::Lost(Outcome::Statement),
                };
                self.hold(connection);
                self.leave_idle_parts();
                Ok(())
            }
            Ok(Ok(Some(error))) => {
                self.release(connection, false);
                Err(Problem::Server(error))
            }
            _ => {
                self.lose(connection);
                Err(LOST)
            }
        }
    }

    /// What begins the open transaction at a site where it is not open; `None` where a statement does that by itself.
    fn beginning(&self) -> Option<Vec<u8>> {
        if let Some(begin) = &self.sites.begin {
            return Some(begin.to_vec());
        }
        // Begun by a routine, among several statements, or with `autocommit` off, where a savepoint may come first.
        let mut open = self.sites.parked.iter().filter(|branch| branch.is_open());
        let saved = !self.status.contains(Status::AUTOCOMMIT) && self.sites.savepoints.count() > 0;
        let is_begun = saved || self.sites.is_open_elsewhere();
        let read_only = open.any(Branch::is_read_only);
        is_begun.then(|| if read_only { READ_ONLY.to_vec() } else { b"START TRANSACTION".to_vec() })
    }

    /// What begins at other sites what a server has begun by this. MySQL keeps the mode of a read only transaction that BEGIN ends (MariaDB
    /// does not; tried on both), so the server's word decides.
    pub(super) fn begun_by(&self, text: &[u8], statement: Recognised) -> Box<[u8]> {
        let is_read_only = self.status.contains(Status::IN_TRANSACTION_READONLY);
        match statement.class {
            Class::Begin(Access::Default) if is_read_only => {
                let snapshot = statement.uses.contains(Uses::CHAIN_OR_RELEASE);
                if snapshot { READ_ONLY_SNAPSHOT.into() } else { READ_ONLY.into() }
            }
            _ => text.into(),
        }
    }
}

/// Begins a part, and sets savepoints in it; the error of a server that refuses.
async fn begin_on(
    connection: &mut Connection,
    begin: &[u8],
    savepoints: &[Vec<u8>],
    buffer: &mut Buffer,
) -> Result<Option<ErrPacket>, ExchangeError> {
    let mut packets = Vec::with_capacity(begin.len() + 8);
    command::put_query(&mut packets, begin, connection.capabilities);
    for savepoint in savepoints {
        command::put_query(&mut packets, savepoint, connection.capabilities);
    }
    connection.stream.write_all(&packets).await?;
    let mut error = None;
    for _ in 0..=savepoints.len() {
        let answer = exchange::receive(connection, buffer, Expect::Results).await?;
        error = error.or(answer.error);
    }
    Ok(error)
}
