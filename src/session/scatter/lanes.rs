//! On which connections the parts of a read run: one server for each cluster, room for several connections there, and who follows whom on one.
//!
//! Owns: the choice of servers, the way of a connection from one part to the next. Does not know: what is asked, how rows are merged
//! (`scatter`). Invariant: no connection is taken before there is room for all that the statement takes, at all servers, asked for in the
//! order of their ids: so statements never wait for each other in a ring. Parts without a connection of their own run one after the other.

use std::rc::Rc;

use super::parts::Asked;
use super::{Failure, Read, Share, Trial};
use crate::backend::connection::Connection;
use crate::backend::room::Place;
use crate::backend::spill::Spilled;
use crate::execute::client::Signals;
use crate::execute::part::Packet;
use crate::execute::relay::RelayError;
use crate::ids::{ClusterId, ServerId};
use crate::merge::Purse;
use crate::plan::{Route, Target};
use crate::session::attempt::failure::{Failure as Before, SHUTDOWN};
use crate::session::problem::INTERRUPTED;
use crate::session::work::Work;
use crate::session::{Problem, Session};
use crate::sql::{Class, Recognised, Uses};
use crate::topology::Signal;
use crate::wire::column::Column;
use crate::wire::reply::Expect;

/// Where the parts of a statement run that have nothing of the session.
#[derive(Debug, Default)]
pub(in crate::session) struct Lanes(Vec<Group>);

/// The parts at one cluster.
#[derive(Debug)]
struct Group {
    cluster: ClusterId,
    /// The first of them.
    first: usize,
    count: usize,
    route: Route,
    server: Option<ServerId>,
    /// Held until the statement has ended.
    place: Option<Place>,
    _spilled: Option<Spilled>,
    /// The last part on each connection, the one whose turn is next first.
    last: std::collections::VecDeque<usize>,
}

/// How a part gets its connection.
enum Turn {
    Own(ServerId, Route),
    Behind(usize),
}

impl Lanes {
    /// Of the part that is `at` this place among all.
    fn turn(&mut self, cluster: ClusterId, at: usize) -> Option<Turn> {
        let group = self.0.iter_mut().find(|group| group.cluster == cluster)?;
        let connections = group.place.as_ref().map_or(1, Place::count);
        if group.last.len() < connections {
            group.last.push_back(at);
            return Some(Turn::Own(group.server?, group.route));
        }
        let before = group.last.pop_front()?;
        group.last.push_back(at);
        Some(Turn::Behind(before))
    }
}

impl Session {
    /// Chooses servers for the parts, and takes room there.
    pub(in crate::session) async fn lanes(
        &mut self,
        shares: &[Share],
        read: &Read<'_>,
        trial: &mut Trial,
    ) -> Result<Lanes, Failure> {
        let mut groups: Vec<Group> = Vec::new();
        for (at, share) in shares.iter().enumerate() {
            self.visit(&share.site).await;
            if self.held.is_some() {
                continue; // it runs on what the session has there
            }
            match groups.iter_mut().find(|group| group.cluster == share.site.cluster) {
                Some(group) => group.count += 1,
                None => groups.push(Group {
                    cluster: share.site.cluster,
                    first: at,
                    count: 1,
                    route: trial.route,
                    server: None,
                    place: None,
                    _spilled: None,
                    last: std::collections::VecDeque::new(),
                }),
            }
        }
        groups.sort_by_key(|group| group.cluster);
        for group in &mut groups {
            let Some(share) = shares.get(group.first) else { continue };
            self.visit(&share.site).await;
            self.freshness.begin(read.statement, &self.topology.snapshot());
            self.asked_balance = read.statement.balance;
            if read.in_transaction {
                group.server = self.topology.snapshot().primary; // each part begins where its transaction may be
                continue;
            }
            if group.route.target == Target::Replica {
                self.move_on().await;
                self.keep_up().await;
            }
            let (server, spilled) =
                self.choose(&mut group.route, &mut trial.tried, &mut trial.deadline).await?;
            (group.server, group._spilled) = (Some(server), spilled);
        }
        groups.sort_by_key(|group| group.server);
        for group in &mut groups {
            let Some(server) = group.server else { continue };
            let place = self.worker.pool.enter(server, group.count, !read.in_transaction).await;
            group.place = Some(place.map_err(Problem::from)?);
        }
        Ok(Lanes(groups))
    }

    /// Room for a connection at each of these sites' primaries, all at once.
    ///
    /// # Errors
    /// A server has not so many, or it takes too long.
    pub(in crate::session) async fn room_for(
        &self,
        clusters: impl Iterator<Item = ClusterId>,
    ) -> Result<Vec<Place>, Problem> {
        let mut wanted: std::collections::BTreeMap<ServerId, usize> = std::collections::BTreeMap::new();
        for cluster in clusters {
            // Where there is none, the wait for one follows.
            if let Some(primary) = self.worker.clusters.of(cluster).snapshot().primary {
                *wanted.entry(primary).or_default() += 1;
            }
        }
        let mut places = Vec::with_capacity(wanted.len());
        for (server, count) in wanted {
            places.push(self.worker.pool.enter(server, count, false).await?);
        }
        Ok(places)
    }

    /// Takes a connection for the part `at` this place, or a turn behind another.
    pub(in crate::session) async fn take_lane(
        &mut self,
        at: usize,
        share: &Share,
        read: &Read<'_>,
        lanes: &mut Lanes,
        trial: &mut Trial,
    ) -> Result<Asked, Failure> {
        let (server, route) = match lanes.turn(share.site.cluster, at) {
            Some(Turn::Own(server, route)) => (server, route),
            Some(Turn::Behind(other)) => return Ok(Asked::behind(other)),
            None => return Err(Failure::Again),
        };
        let mut connection = match self.lease_from(server, None).await {
            Ok(connection) if self.turns_out_transactional(&route, &connection) => {
                self.status.remove(crate::wire::ok::Status::AUTOCOMMIT);
                self.worker.pool.check_in(connection);
                return Err(Failure::Again);
            }
            Ok(connection) => connection,
            Err(error) => {
                let deadline = self.deadline(&mut trial.deadline);
                self.try_elsewhere(&route, server, error, &mut trial.tried, deadline).await?;
                return Err(Failure::Again);
            }
        };
        if let Err(failure) = self.bring(&mut connection, share, read).await {
            self.lose(connection);
            return Err(self.before_a_part_failed(failure, share.site.cluster, server, trial));
        }
        self.worker.counters.statements.count(route.target as usize, route.reason as usize);
        Ok(Asked::on(self.part_on(connection, &read.purse, read.may_move), None))
    }

    /// Brings a connection to the session's state where the session is, with the user variables that are read.
    pub(in crate::session) async fn bring(
        &mut self,
        connection: &mut Connection,
        share: &Share,
        read: &Read<'_>,
    ) -> Result<(), Before> {
        let mut buffer = self.worker.buffers.take();
        let (mut before, mut steps) = (Vec::new(), Vec::new());
        let idle = Recognised::plain(Class::Set, Uses::empty());
        let work = match read.reads_variables() {
            true => {
                let reads = Recognised::plain(Class::Read, Uses::USER_VARIABLE_READ);
                Work { text: Some(&share.sql), ..Work::command(&share.sql, Expect::Simple, reads) }
            }
            false => Work::command(&[], Expect::Simple, idle),
        };
        self.catch_up(connection, &work, &mut before, &mut steps, &mut buffer).await?;
        connection.stream.write_all(&before).await.map_err(Before::Unsent)?;
        self.consume(connection, &mut steps, &mut buffer).await
    }

    /// What it means that a connection could not be brought to the session's state.
    fn before_a_part_failed(
        &mut self,
        failure: Before,
        cluster: ClusterId,
        server: ServerId,
        trial: &mut Trial,
    ) -> Failure {
        match failure {
            Before::Prelude(error) if self.forget_variable(&error) => Failure::Again,
            Before::Behind => {
                self.worker.note_late(server);
                Failure::Again
            }
            Before::Unsent(_) | Before::Relay(RelayError::Server { .. }) => {
                self.note_lost(cluster, server, trial);
                Failure::Again
            }
            other => other.into(),
        }
    }

    /// A connection has failed.
    pub(in crate::session) fn note_lost(&mut self, cluster: ClusterId, server: ServerId, trial: &mut Trial) {
        let topology = self.worker.clusters.of(cluster);
        topology.report(server, Signal::ConnectionLost);
        if topology.snapshot().primary != Some(server) && !trial.tried.contains(&server) {
            trial.tried.push(server);
        }
        self.client.signals.lower(Signals::DOWN | Signals::REPLACED); // the statement does not go there again
    }

    /// The next packet of a part. A KILL ends the statement there.
    pub(in crate::session) async fn next_of(
        &mut self,
        asked: &mut Asked,
        share: &Share,
    ) -> Result<Packet, Failure> {
        let place = asked.connection().map(|connection| (connection.server, connection.id));
        let (server, id) = place.ok_or(RelayError::Protocol)?;
        if self.entry.handle.running() != place {
            self.client.signals.lower(Signals::DOWN); // it was about another server
            if !self.entry.handle.goes_on_at(server, id) {
                return Err(INTERRUPTED.into()); // the part that was killed may have had its end before that
            }
        }
        match asked.next(&mut self.client).await {
            Ok(Packet::Error(error)) if error.code == SHUTDOWN => {
                Err(Failure::Lost(share.site.cluster, server))
            }
            Ok(Packet::Error(error)) => {
                let named = share.site.names.as_ref().and_then(|names| names.of_error(&error));
                Ok(Packet::Error(named.unwrap_or(error)))
            }
            Ok(packet) => Ok(packet),
            Err(RelayError::Server { error, .. }) => {
                let name = self.worker.name_of(server);
                tracing::debug!(server = %name, %error, "a server connection failed under a read of several shards");
                Err(Failure::Lost(share.site.cluster, server))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a part's packets.
    pub(in crate::session) async fn send_to(
        &self,
        asked: &mut Asked,
        packets: &[u8],
        share: &Share,
    ) -> Result<(), Failure> {
        asked.send(packets).await.map_err(|error| unsent(error, asked.server(), share))
    }

    /// The columns of a part's reply.
    pub(in crate::session) async fn columns_of(
        &mut self,
        asked: &mut Asked,
        share: &Share,
    ) -> Result<Vec<Column>, Failure> {
        let mut columns = Vec::new();
        loop {
            match self.next_of(asked, share).await? {
                Packet::Column(range) => {
                    let payload = asked.bytes(range);
                    let own = share.site.names.as_ref().and_then(|names| names.of_definition(payload));
                    let column = Column::parse(own.as_deref().unwrap_or(payload));
                    columns.push(column.ok_or(RelayError::Protocol)?);
                }
                Packet::Columns => return Ok(columns),
                Packet::Error(error) => return Err(Failure::Refused(error)),
                Packet::Row(_) | Packet::End(_) | Packet::File(_) => return Err(RelayError::Protocol.into()),
            }
        }
    }

    /// It is the turn of a part that waits for another one's connection. What is left of that one's rows is kept. The columns.
    pub(in crate::session) async fn take_turn(
        &mut self,
        at: usize,
        parts: &mut [Asked],
        shares: &[Share],
        read: &Read<'_>,
    ) -> Result<Vec<Column>, Failure> {
        let broken = || Failure::from(RelayError::Protocol);
        let before = parts.get(at).and_then(Asked::waits_for).ok_or_else(broken)?;
        let (share, next) = (shares.get(before).ok_or_else(broken)?, shares.get(at).ok_or_else(broken)?);
        let other = parts.get_mut(before).ok_or_else(broken)?;
        read_ahead(self, other, share, &read.purse).await?;
        let mut part = other.pass_on().ok_or_else(broken)?;
        self.visit(&next.site).await;
        let brought = self.bring(&mut part.connection, next, read).await;
        let asked = parts.get_mut(at).ok_or_else(broken)?;
        asked.take_over(part);
        if let (Err(_), Some(connection)) = (&brought, asked.connection()) {
            connection.broken = true; // in whatever state
        }
        brought?;
        let connection = asked.connection().ok_or_else(broken)?;
        let packets = self.write_share(connection, next, read.bindings).await?;
        self.send_to(asked, &packets, next).await?;
        self.columns_of(asked, next).await
    }
}

/// What it means that a part could not be sent something.
pub(in crate::session) fn unsent(error: RelayError, server: Option<ServerId>, share: &Share) -> Failure {
    match (error, server) {
        (RelayError::Server { .. }, Some(server)) => Failure::Lost(share.site.cluster, server),
        (error, _) => error.into(),
    }
}

/// Reads what is left of a part's rows.
async fn read_ahead(
    session: &mut Session,
    asked: &mut Asked,
    share: &Share,
    purse: &Rc<Purse>,
) -> Result<(), Failure> {
    while !asked.has_ended() {
        match session.next_of(asked, share).await? {
            Packet::Row(range) => asked.keep(range, purse)?,
            Packet::End(end) => asked.ended(end),
            Packet::Error(error) => return Err(Failure::Refused(error)),
            Packet::Column(_) | Packet::Columns | Packet::File(_) => return Err(RelayError::Protocol.into()),
        }
    }
    Ok(())
}
