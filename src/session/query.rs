//! COM_QUERY.

use super::incoming::Command;
use super::lease::ABOUT_BEFORE;
use super::pins::Pins;
use super::reply::{self, Number, Rows};
use super::scatter::Uniting;
use super::sites::direct::Directed;
use super::work::Work;
use super::{Flow, Problem, Session};
use crate::plan;
use crate::sql::{self, Class, Dialect, Question, Recognised, Uses};
use crate::wire::command;
use crate::wire::err::ErrPacket;
use crate::wire::reply::Expect;

/// MySQL's warning of FOUND_ROWS().
const FOUND_ROWS_IS_OLD: &str =
    "FOUND_ROWS() is deprecated and will be removed in a future release. Consider using COUNT(*) instead.";

/// The `mysql` client of MySQL 9 sends this at every start to learn by the error whether the server knows dollar
/// quotes. It is not worth a wait for a primary.
const DOLLAR_PROBE: &[u8] = b"select $$";

/// What asks how many rows the statement before has changed or found.
pub(super) const COUNTS: Uses = Uses::ROW_COUNT.union(Uses::FOUND_ROWS);

/// What a statement of Tidegate's own uses, as the lexer sees it, where it is no SET.
const OWN: Uses = Uses::UNKNOWN_FUNCTION.union(Uses::EXPLAINED);

/// What KILL must be like.
pub(super) const UNCLEAR_KILL: &str = "KILL must be the only statement of its packet, and name an id, an expression or, on MariaDB, QUERY ID or \
                            an account";

impl Session {
    /// One COM_QUERY, from packet to packets.
    pub(super) async fn query(&mut self, command: &Command) -> Flow {
        let Some(text) = command::query_text(command.payload(), self.class.capabilities) else {
            return self.refuse(&Problem::Request(1835, "Malformed communication packet.".into())).await;
        };
        let mut statement = match text {
            DOLLAR_PROBE => Recognised::plain(Class::Read, Uses::empty()),
            _ => self.recognise(text),
        };
        if statement.class == Class::Kill {
            return match sql::parse_kill(text, &self.lexing) {
                Some(kill) => self.kill(text, kill).await,
                // A server would take the number in it for one of its own.
                None => self.refuse(&Problem::Unsupported(UNCLEAR_KILL.into())).await,
            };
        }
        if statement.uses.intersects(Uses::CONNECTION_ID | Uses::ROW_COUNT | Uses::FOUND_ROWS)
            && let Some(answer) = self.answer(text, Rows::Text).await
        {
            return self.tell(&answer).await;
        }
        if let Some(kept) = self.kept_warnings(text, statement) {
            return self.tell(&kept).await;
        }
        if (matches!(statement.class, Class::Set | Class::Call) || statement.uses.intersects(OWN))
            && let Some(own) = sql::own_statement(text, &self.lexing)
        {
            return self.carry_out_own(own, text).await;
        }
        if statement.class == Class::EndOrSavepoint && self.ends_nothing(text) {
            self.note_own_end();
            return self.tell(&reply::ok(self.sequence, self.standing(), 0, self.client.capabilities)).await;
        }
        let asked = text;
        let directed = match self.direct(asked, statement).await {
            Ok(directed) => directed,
            Err(problem) => return self.refuse(&problem).await,
        };
        if matches!(directed, Directed::Done) {
            self.note_own_end();
            return self.tell(&reply::ok(self.sequence, self.standing(), 0, self.client.capabilities)).await;
        }
        let text = if let Directed::As(sql) = &directed { sql } else { asked };
        self.settle_before(statement, text).await;
        let about = self.about_text(text, &mut statement);
        let counted = self.begin_statement(self.digest(asked), asked);
        let route = plan::route(statement, self.situation());
        if let Directed::Scattered(shares, merging) = &directed {
            let flow = Box::pin(self.scatter(shares, Uniting::Rows(merging), statement, route, None)).await;
            self.end_statement(counted, route);
            self.note_parts(asked, statement).await;
            return flow;
        }
        if let Directed::Spread(spread) = &directed {
            let flow = Box::pin(self.spread(spread, asked, statement, route)).await;
            self.client.made = None;
            self.end_statement(counted, route);
            return flow;
        }
        if let Directed::Tended(tended) = &directed {
            let flow = Box::pin(self.look_after(tended, asked, statement, route)).await;
            self.end_statement(counted, route);
            self.note_parts(asked, statement).await;
            return flow;
        }
        if let Directed::Defined(defined) = &directed {
            let flow = Box::pin(self.define(defined, asked, statement, route)).await;
            self.end_statement(counted, route);
            return flow;
        }
        if let Directed::Loaded(loading) = &directed {
            let flow = Box::pin(self.load(loading, statement, route)).await;
            self.end_statement(counted, route);
            return flow;
        }
        let mut own = match statement.uses.intersects(Uses::CONNECTION_ID | Uses::PROCESSES) {
            true => self.in_own_ids(text, statement).await.map(|own| command.with_text(asked, &own)),
            false => None,
        };
        if statement.uses.intersects(COUNTS)
            && let Some(told) = self.with_counts(text, statement, route.target)
        {
            own = Some(command.with_text(asked, &told));
            statement.uses.remove(COUNTS);
        }
        if own.is_none() && matches!(directed, Directed::As(_)) {
            own = Some(command.with_text(asked, text));
        }
        let work = Work {
            packets: own.as_deref().unwrap_or(command.packets()),
            expect: Expect::Results,
            statement,
            text: Some(text),
            preparing: None,
            execution: None,
            about,
        };
        let flow = self.perform(&work, route).await;
        self.client.made = None;
        self.end_statement(counted, route);
        self.note_parts(asked, statement).await;
        flow
    }

    /// Whether this is a COMMIT or ROLLBACK where nothing is open. Pools send one for every connection that comes back to
    /// them, so it should neither wait for a server connection nor take one from those who need it.
    fn ends_nothing(&self, text: &[u8]) -> bool {
        self.held.is_none()
            && self.pins.is_empty()
            && sql::is_bare_end(text)
            && !self.end_leads_on()
            && !self.sites.is_open_elsewhere()
    }

    /// Whether the end of a transaction begins the next one, or ends the session.
    pub(super) fn end_leads_on(&self) -> bool {
        let chains = || {
            let snapshot = self.topology.snapshot();
            snapshot.facts.as_ref().is_none_or(|facts| facts.commit_chains)
        };
        self.desired.get(b"completion_type").map_or_else(chains, |value| value != b"NO_CHAIN")
    }

    /// Before a statement is routed that does not ask about the one before: what that one has left decides where it
    /// goes. Our questions wait where the connection is needed anyway: in a session that measures what it does, because it
    /// would see them, between CALLs, because MariaDB's warnings show a row number that they would change, and beside warnings, because
    /// they would clear those.
    pub(super) async fn settle_before(&mut self, statement: Recognised, text: &[u8]) {
        self.settle_before_preparing(statement, text).await;
        if self.may_be_bound_to_replica() {
            self.leave_replica_for(statement, text).await;
        }
    }

    /// The same before a statement is prepared, which ends no transaction and begins none.
    pub(super) async fn settle_before_preparing(&mut self, statement: Recognised, text: &[u8]) {
        let between_calls = self.pins.contains(Pins::CALLED)
            && matches!(statement.class, Class::Call | Class::Ddl | Class::Set | Class::Use);
        let may_wait = (between_calls || self.pins.intersects(Pins::MEASURED)) && !blurs_count(statement);
        let may_wait = may_wait
            || self.pins.contains(Pins::DIAGNOSTICS)
                && self.runs_beside_warnings(statement, text)
                && !(self.begins_on_primary(statement) && self.is_held_elsewhere());
        if !statement.uses.intersects(ABOUT_BEFORE) && !may_wait {
            self.settle_pins().await;
        }
        self.free_variables_for(statement).await;
    }

    /// The session ends, or begins anew, right behind a CALL: what that has left may outlive a reset.
    pub(super) async fn look_after_last_call(&mut self) {
        if self.pins.contains(Pins::CALLED)
            && let Some(mut held) = self.held.take()
        {
            self.look_after_call(&mut held).await;
            self.held = Some(held);
        }
    }

    /// Asks the server about the reasons for which the connection is held and of which only the server knows the end.
    pub(super) async fn settle_pins(&mut self) {
        const ASKED: Pins = Pins::CALLED.union(Pins::USER_LOCK).union(Pins::USER_VARIABLES);
        let Some(mut held) = self.held.take_if(|held| self.pins.intersects(ASKED) || held.may_lock) else {
            return;
        };
        if self.pins.contains(Pins::CALLED) {
            self.look_after_call(&mut held).await;
        }
        if self.pins.contains(Pins::USER_LOCK) && self.ledger.may_ask_locks() {
            self.look_for_locks(&mut held).await;
        }
        if self.pins.contains(Pins::USER_VARIABLES) {
            self.read_variables(&mut held).await;
        }
        self.look_for_locks_of_routines(&mut held).await;
        self.held = Some(held);
    }

    /// Answers what only Tidegate knows, where the statement asks for that and nothing else: the client's own
    /// connection id, and the row counts of a statement whose connection serves others now.
    pub(super) async fn answer(&mut self, text: &[u8], rows: Rows) -> Option<Vec<u8>> {
        let question = sql::bare_question(text, &self.lexing)?;
        let mariadb = self.lexing.server.dialect == Dialect::MariaDb;
        let value = match question.kind {
            Question::ConnectionId if mariadb => (Number::Short, i64::from(self.entry.handle.id.0)),
            Question::ConnectionId => (Number::Unsigned, i64::from(self.entry.handle.id.0)),
            // A connection that nobody has used since knows it itself, and better: LIMIT with an offset.
            _ if self.is_before_at_hand()
                && !self.last.counts_are_ours
                && (question.kind == Question::RowCount || self.last.found_there) =>
            {
                return None;
            }
            Question::RowCount => (Number::Signed, i64::try_from(self.last.row_count).unwrap_or(i64::MAX)),
            Question::FoundRows if self.last.found_rows_unknown => return None,
            Question::FoundRows => (Number::Signed, i64::try_from(self.last.found_rows).unwrap_or(i64::MAX)),
            Question::LastInsertId => return None,
        };
        self.make_status_sure().await;
        let warns = question.kind == Question::FoundRows && !mariadb;
        self.note_own_answer(warns.then(|| ErrPacket::new(1287, b"01000", FOUND_ROWS_IS_OLD)));
        let (status, warnings) = (self.standing(), u16::from(warns));
        let flags = self.client.capabilities;
        Some(reply::number(&question.column_name, value, rows, (status, warnings), flags))
    }
}

/// Whether it is not known how many tables it makes the server count: then it is looked first what a CALL has created.
fn blurs_count(statement: Recognised) -> bool {
    statement.uses.intersects(Uses::MULTIPLE | Uses::FLUSH_STATUS) || statement.class == Class::TextPrepared
}
