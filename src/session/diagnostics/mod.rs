//! What a statement has left that the next one may ask about, and how a connection is made to know it.
//!
//! Owns: counts, and the error or warning that no server has, or perhaps none has any more. Does not know: texts, routes.
//! Invariant: a question is asked of a connection that knows this session's last statement, and no other session's.

pub(super) mod outlasting;
pub(super) mod warnings;

use tokio::time::timeout;

use super::attempt::prelude::PRELUDE_LIMIT;
use super::pins::Pins;
use super::readback::contains_word;
use super::work::Work;
use super::{Flow, Problem, Session, reply};
use crate::backend::connection::{Connection, Key};
use crate::backend::exchange;
use crate::execute::relay::End;
use crate::ids::{BackendId, ServerId};
use crate::plan::Target;
use crate::sql::{self, Class, Dialect, Recognised, Uses};
use crate::wire::command;
use crate::wire::err::ErrPacket;
use crate::wire::frame::put_packet;
use crate::wire::reply::Expect;

/// A server's connection.
pub(super) type At = (ServerId, BackendId);

/// Characters of MESSAGE_TEXT that SIGNAL takes: MySQL's limit, and MariaDB's.
const TEXT_MAX: (usize, usize) = (128, 512);

/// ER_WRONG_ARGUMENTS: of an execution, MySQL adds it to what another session may have left.
const WRONG_ARGUMENTS: u16 = 1210;

/// ER_TOO_MANY_ROWS and ER_SUBQUERY_NO_1_ROW: MariaDB had found one row (also in SET, DO and changes).
const FOUND_ONE_TOO_MANY: [u16; 2] = [1172, 1242];

/// ER_DA_INVALID_CONDITION_NUMBER.
pub(super) const NO_SUCH_CONDITION: u16 = 1758;

/// What a statement left that the next one may ask about.
#[derive(Clone, Debug, Default)]
pub(super) struct Last {
    /// Where it ran; `None` where no server was asked.
    pub place: Option<At>,
    /// ROW_COUNT().
    pub row_count: i128,
    /// FOUND_ROWS().
    pub found_rows: u64,
    /// @@warning_count.
    pub warnings: u16,
    /// It is not: after LIMIT with an offset only the server knows it.
    pub found_rows_unknown: bool,
    /// FOUND_ROWS() is right at that place, too.
    pub found_there: bool,
    /// The server has counted more rows than it has sent, and was not asked.
    pub counted: bool,
    /// Tidegate has answered since: the connection's counts are older.
    pub counts_are_ours: bool,
    /// Its error or warning, for a connection that does not have it.
    pub condition: Option<Condition>,
    /// The server's reply to SHOW WARNINGS, asked for before the connection was given up.
    pub kept: Option<Box<[u8]>>,
}

/// An error, or a warning by its SQLSTATE.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// Its number, SQLSTATE and text.
    pub packet: Box<ErrPacket>,
    /// The connection that has it.
    pub at: Option<At>,
}

impl Last {
    /// Of a session that has run nothing: MariaDB counts one row (tried on both dialects).
    pub fn fresh(dialect: Dialect) -> Self {
        Self { found_rows: u64::from(dialect == Dialect::MariaDb), ..Self::default() }
    }

    /// Of a session that begins anew: servers keep FOUND_ROWS() (tried on both dialects).
    pub fn after_reset(&self) -> Self {
        Self { found_rows: self.found_rows, ..Self::default() }
    }

    /// Whether this connection has to be told what the statement left, for a question that uses these.
    pub fn is_elsewhere(&self, at: At, uses: Uses) -> bool {
        let lacks = |condition: &Condition| condition.at != Some(at);
        let lacks = uses.contains(Uses::DIAGNOSTICS) && self.condition.as_ref().is_some_and(lacks);
        self.place != Some(at) || lacks
    }
}

/// A statement that leaves this error or warning; `None` where none does.
fn signal(error: &ErrPacket, dialect: Dialect) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(&error.message).ok()?;
    let most = if dialect == Dialect::MySql { TEXT_MAX.0 } else { TEXT_MAX.1 };
    let end = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    let state = std::str::from_utf8(&error.sqlstate).ok()?;
    let well_formed = state.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    if error.code == 0 || !well_formed || state.starts_with("00") {
        return None;
    }
    let mut sql =
        format!("SIGNAL SQLSTATE '{state}' SET MYSQL_ERRNO={},MESSAGE_TEXT=_utf8mb4 x'", error.code);
    text[..end].bytes().for_each(|byte| sql.push_str(&format!("{byte:02x}")));
    sql.push('\'');
    Some(sql.into_bytes())
}

impl Session {
    /// Whether the connection of the statement before is at hand, as that has left it.
    pub(super) fn is_before_at_hand(&self) -> bool {
        let key = Key { account: self.account.id, class: self.class };
        let is_here = |server| self.topology.snapshot().server(server).is_some();
        self.last.place.filter(|(server, _)| is_here(*server)).is_some_and(|(server, id)| {
            let is_it =
                |held: &Connection| (held.server, held.id) == (server, id) && held.user == Some(self.me());
            self.held.as_deref().is_some_and(is_it)
                || self.worker.pool.was_last_used_by(server, key, id, self.me())
        })
    }

    /// The text with the session's counts in place of ROW_COUNT() and FOUND_ROWS(), where the connection that knows them serves others
    /// by now, would forget them, or is no place for a statement of this target. `None`: the text asks what it is to ask as it stands.
    pub(super) fn with_counts(&self, text: &[u8], statement: Recognised, target: Target) -> Option<Vec<u8>> {
        let uses = statement.uses;
        let found_rows = uses.contains(Uses::FOUND_ROWS);
        let reachable =
            |(server, _): At| target != Target::Primary || self.topology.snapshot().primary == Some(server);
        let at_hand = self.is_before_at_hand()
            && self.last.place.is_some_and(reachable)
            && !self.last.counts_are_ours
            && (!found_rows || self.last.found_there)
            // What would have to be brought by a SET.
            && !uses.contains(Uses::USER_VARIABLE_READ)
            && (!statement.may_use_insert_id() || self.insert_id.place().needs_nothing());
        if at_hand
            || found_rows && (self.last.found_rows_unknown || self.last.counted)
            || uses.intersects(Uses::CONNECTION_ID | Uses::PROCESSES)
        {
            return None;
        }
        let counts = sql::Counts {
            row_count: i64::try_from(self.last.row_count).unwrap_or(i64::MAX),
            found_rows: i64::try_from(self.last.found_rows).unwrap_or(i64::MAX),
        };
        let edits = sql::count_edits(text, &self.lexing, counts)?;
        Some(sql::splice(text, &edits))
    }

    /// Statements that leave no warnings, and the counts that the last one has left as far as such statements can. MariaDB
    /// clears its warnings only for what uses tables; DO is a row to MySQL's FOUND_ROWS() (tried).
    pub(super) fn clearing(&self) -> &'static [&'static [u8]] {
        let mysql = self.lexing.server.dialect == Dialect::MySql;
        match (self.last.row_count, self.last.found_rows) {
            (0, 0) if mysql => &[
                b"SELECT 1 FROM (SELECT 1) nothing WHERE 0",
                b"SET SESSION sql_warnings=@@SESSION.sql_warnings",
            ],
            (..0, 0) => &[b"SELECT 1 FROM (SELECT 1) nothing WHERE 0"],
            (..0, _) => &[b"SELECT 1 FROM (SELECT 1) nothing"],
            (_, 0) => &[b"DO (SELECT 1 FROM (SELECT 1) nothing WHERE 0)"],
            _ => &[b"DO (SELECT 1 FROM (SELECT 1) nothing)"],
        }
    }

    /// What makes a connection know what the last statement has left, where it does not.
    pub(super) fn put_condition(&mut self, connection: &Connection, before: &mut Vec<u8>) -> bool {
        let Some(condition) = &mut self.last.condition else { return false };
        let Some(sql) = signal(&condition.packet, connection.dialect) else { return false };
        let at = Some((connection.server, connection.id));
        condition.at = at;
        self.last.place = at;
        self.last.counts_are_ours = self.last.row_count > 0 || condition.packet.sqlstate.starts_with(b"01");
        command::put_query(before, &sql, connection.capabilities);
        self.set_pins(self.pins | Pins::DIAGNOSTICS);
        true
    }

    /// What gives a connection that was told of the condition the counts of a later statement, which has left that as it was: only
    /// MariaDB has such.
    pub(super) fn recounting(&self) -> Option<&'static [u8]> {
        let condition =
            self.last.condition.as_ref().filter(|_| self.lexing.server.dialect == Dialect::MariaDb)?;
        let warns = condition.packet.sqlstate.starts_with(b"01");
        match (self.last.row_count, self.last.found_rows) {
            (0, _) if !warns => Some(b"DO 0"),
            (..0, 0) if warns => Some(b"SELECT 1 LIMIT 0"),
            (..0, _) if warns => Some(b"SELECT 1"),
            _ => None,
        }
    }

    /// The warnings that MySQL counts in its answer to a command that leaves them; MariaDB counts the command's own.
    pub(super) fn left_warnings(&self) -> u16 {
        if self.lexing.server.dialect == Dialect::MySql { self.last.warnings } else { 0 }
    }

    /// An answer of Tidegate's own has gone out, and left this to ask about.
    pub(super) fn note_own_answer(&mut self, condition: Option<ErrPacket>) {
        if condition.is_none() && self.lexing.server.dialect == Dialect::MariaDb {
            // Warnings outlast what uses no table.
            (self.last.row_count, self.last.found_rows, self.last.counts_are_ours) = (-1, 1, true);
            return;
        }
        let condition = condition.map(|packet| Condition { packet: Box::new(packet), at: None });
        let warnings = u16::from(condition.is_some());
        self.last = Last { row_count: -1, found_rows: 1, warnings, condition, ..Last::default() };
    }

    /// FOUND_ROWS() after a statement that has succeeded (tried on both dialects).
    pub(super) fn found_rows(&self, work: &Work<'_>, end: &End) -> u64 {
        let mysql = self.lexing.server.dialect == Dialect::MySql;
        let statement = work.statement;
        match end.rows {
            Some(rows) => rows,
            None if statement.uses.contains(Uses::INTO)
                && !mysql
                && sql::uses_no_table(work.sql(), &self.lexing) =>
            {
                0
            }
            None if statement.uses.contains(Uses::INTO) => end.affected_rows,
            None if mysql && statement.class == Class::Read => 1, // DO
            None => self.last.found_rows,
        }
    }

    /// A question about warnings has been answered on this connection: what it leaves of the counts (tried on both dialects). GET
    /// DIAGNOSTICS leaves both, SHOW WARNINGS and SHOW ERRORS that of rows found.
    pub(super) fn note_question(&mut self, here: At, work: &Work<'_>, end: &End) {
        let shows = work.statement.class == Class::Diagnostics;
        if work.statement.uses.contains(Uses::MULTIPLE) {
            // Which statement has left which count, the server knows.
            let row_count = end.rows.map_or(i128::from(end.affected_rows), |_| -1);
            (self.last.place, self.last.row_count) = (Some(here), row_count);
            (self.last.found_there, self.last.found_rows_unknown, self.last.counts_are_ours) =
                (true, true, false);
            return;
        }
        if shows && end.rows.is_none() {
            return;
        }
        let counts = contains_word(work.sql(), b"count");
        let elsewhere = self.last.place != Some(here);
        let found_rows = if shows && !counts { self.last.found_rows } else { self.found_rows(work, end) };
        self.last.row_count = end.rows.map_or(i128::from(end.affected_rows), |_| -1);
        if found_rows != self.last.found_rows || end.rows.is_some() && !shows {
            (self.last.found_rows_unknown, self.last.counted) = (false, false);
        }
        self.last.found_rows = found_rows;
        self.last.counts_are_ours |= elsewhere;
    }

    /// Tidegate has answered a COMMIT or ROLLBACK of nothing.
    pub(super) fn note_own_end(&mut self) {
        if self.last.warnings > 0 && self.lexing.server.dialect == Dialect::MariaDb {
            (self.last.row_count, self.last.counts_are_ours) = (0, true);
        } else {
            let Last { found_rows, counted, .. } = self.last;
            self.last = Last { found_rows, counted, ..Last::default() };
        }
    }

    /// A server's error may be asked about.
    pub(super) fn note_error(&mut self, connection: &Connection, end: &mut End) {
        let Some(error) = &mut end.error else { return };
        let at = Some((connection.server, connection.id));
        let adds = error.code == WRONG_ARGUMENTS && connection.dialect == Dialect::MySql;
        let known = at.filter(|_| !error.renamed && !adds);
        let condition = error.packet.take().map(|packet| Condition { packet: Box::new(packet), at: known });
        let found_there = self.last.found_there && self.last.place == at;
        let one = connection.dialect == Dialect::MariaDb && FOUND_ONE_TOO_MANY.contains(&error.code);
        let found_rows = if one { 1 } else { self.last.found_rows };
        self.last = Last {
            place: at,
            row_count: -1,
            found_rows,
            found_there,
            warnings: 1,
            condition,
            ..Last::default()
        };
    }

    /// GET DIAGNOSTICS has found no such condition on this connection, and added that to what there is to ask about.
    pub(super) fn note_addition(&mut self, connection: &Connection) {
        let here = Some((connection.server, connection.id));
        // Its counts are those of the statements that have prepared it for the question.
        self.last.counts_are_ours |= self.last.place != here;
        self.last.row_count = -1; // as behind an error (tried on both dialects)
        self.last.place = here;
        if self.last.warnings == 0 {
            let packet = ErrPacket::new(NO_SUCH_CONDITION, b"35000", "Invalid condition number");
            self.last.condition = Some(Condition { packet: Box::new(packet), at: here });
        }
        self.last.warnings = self.last.warnings.saturating_add(1);
    }

    /// A command about a prepared statement has succeeded, at a server or none: it leaves the counts, but on MySQL no
    /// warnings of the statement before.
    pub(super) fn note_statement_command(&mut self, at: Option<At>, warnings: u16) {
        if self.lexing.server.dialect == Dialect::MySql {
            self.clear_warnings(at, warnings);
        }
    }

    /// A command that is none about rows leaves this count of them (tried on both dialects).
    pub(super) fn note_command(&mut self, row_count: i128) {
        let there = self.held.as_ref().map(|held| (held.server, held.id));
        self.last.row_count = row_count;
        self.last.counts_are_ours |= there.is_none() || there != self.last.place;
    }

    /// A text has been prepared there, which leaves the counts; what has brought the connection up to date before does not.
    pub(super) fn note_prepared(&mut self, text: &[u8], at: At, warnings: u16) {
        self.last.counts_are_ours = true;
        if self.lexing.server.dialect == Dialect::MySql || !self.prepares_no_table(text) {
            self.clear_warnings(Some(at), warnings);
        }
    }

    /// What stands there now is all that there is to ask about.
    fn clear_warnings(&mut self, at: Option<At>, warnings: u16) {
        if self.last.warnings > 0 && self.last.place != at {
            self.last.place = None;
        }
        self.last.warnings = warnings;
        (self.last.condition, self.last.kept) = (None, None);
    }

    /// Tells the client about a problem, and lets it ask about that.
    pub(super) async fn refuse(&mut self, problem: &Problem) -> Flow {
        self.worker.counters.errors.count(problem.kind() as usize);
        self.tally.fail();
        self.pass_nothing(problem);
        tracing::debug!(client = %self.entry.handle.id, %problem, "statement refused");
        let packet = problem.packet();
        self.last.counted |= self.last.found_rows_unknown; // the number outlasts the error
        self.ask_found_rows().await;
        let flow = self.tell(&reply::error(self.sequence, &packet)).await;
        let found_rows = self.last.found_rows;
        self.note_own_answer(Some(packet));
        self.last.found_rows = found_rows;
        if problem.ends_session() { Flow::Close } else { flow }
    }

    /// An error does not say whether its statement has ended the transaction: before Tidegate speaks of that itself,
    /// the server is asked by what disturbs nothing.
    pub(super) async fn make_status_sure(&mut self) {
        if !std::mem::take(&mut self.status_unsure) {
            return;
        }
        let Some(mut held) = self.held.take() else { return };
        let mut buffer = self.worker.buffers.take();
        let mut ping = Vec::with_capacity(8);
        put_packet(&mut ping, 0, &[command::PING]);
        let asked = async {
            held.stream.write_all(&ping).await?;
            exchange::receive(&mut held, &mut buffer, Expect::Simple).await
        };
        match timeout(PRELUDE_LIMIT, asked).await {
            Ok(Ok(answer)) => {
                self.status = held.status;
                self.client.told.miss(&answer.changes);
            }
            _ => held.broken = true,
        }
        self.held = Some(held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_left_by_a_signal() {
        let error = ErrPacket::new(1243, b"HY000", "it's");
        let sql = signal(&error, Dialect::MySql).unwrap();
        assert_eq!(sql, b"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO=1243,MESSAGE_TEXT=_utf8mb4 x'69742773'");
    }

    #[test]
    fn texts_are_cut_where_the_server_would_refuse_them() {
        let long = ErrPacket::new(1105, b"HY000", "ä".repeat(600));
        let digits = |dialect| signal(&long, dialect).unwrap().len();
        let empty = signal(&ErrPacket::new(1105, b"HY000", ""), Dialect::MySql).unwrap().len();
        assert_eq!(digits(Dialect::MySql) - empty, 128 * 4);
        assert_eq!(digits(Dialect::MariaDb) - empty, 512 * 4);
    }

    #[test]
    fn what_no_signal_leaves_is_none() {
        for error in [
            ErrPacket::new(0, b"HY000", ""),
            ErrPacket::new(1, b"00000", ""),
            ErrPacket::new(1, b"a'b--", ""),
            ErrPacket::new(1, b"HY000", b"\xff".to_vec()),
        ] {
            assert_eq!(signal(&error, Dialect::MySql), None);
        }
    }
}
