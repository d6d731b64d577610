//! Statements that leave the warnings of those before them: MariaDB clears these only for what uses tables.
//!
//! Owns: which statements do, and that they run beside what they leave. Does not know: what the warnings say, but for a single one that moves.
//! Invariant: where a text does not tell whether tables are used, its server does: nothing is claimed.

use tokio::time::timeout;

use super::Condition;
use crate::backend::connection::Connection;
use crate::backend::exchange::Answer;
use crate::plan::{MAKES_PIN, Reason, Route, Target};
use crate::session::Session;
use crate::session::attempt::prelude::PRELUDE_LIMIT;
use crate::session::work::Work;
use crate::sql::{self, Access, Class, Dialect, Recognised, Uses};
use crate::wire::err::ErrPacket;
use crate::wire::reply::Expect;

impl Session {
    /// Whether the statement leaves the warnings of those before it: MariaDB clears them for what uses tables (tried). A
    /// routine may use some: its server knows, and there is nothing to be told apart here.
    pub(in crate::session) fn leaves_warnings(&self, work: &Work<'_>) -> bool {
        let Recognised { class, uses, .. } = work.statement;
        let uses_none = || sql::uses_no_table(work.sql(), &self.lexing);
        self.last.warnings > 0
            && self.lexing.server.dialect == Dialect::MariaDb
            && !uses.contains(Uses::DOUBT)
            && match class {
                _ if work.preparing.is_some() => self.prepares_no_table(work.sql()),
                _ if work.execution.is_some() && work.expect == Expect::Simple => true, // COM_STMT_RESET
                _ if work.prepares_text() => self.prepares_no_tables(work),
                Class::Use | Class::Begin(_) | Class::EndOrSavepoint | Class::Set => {
                    !uses.intersects(Uses::MULTIPLE | Uses::SUBQUERY) || uses_none()
                }
                Class::Call | Class::Empty => true,
                Class::TextPrepared => self.prepares_no_tables(work),
                Class::Ddl => {
                    !uses.contains(Uses::MULTIPLE) && sql::defines_no_table(work.sql(), &self.lexing)
                }
                Class::Session => {
                    uses.intersects(Uses::XA | Uses::UNLOCK_TABLES) && !uses.contains(Uses::MULTIPLE)
                }
                Class::Other => uses.contains(Uses::FLUSH_STATUS) && !uses.contains(Uses::MULTIPLE),
                Class::Show => work.expect == Expect::Fields || uses_none(),
                Class::ShowServer => work.expect == Expect::Text || uses_none(),
                Class::Read => uses_none(),
                Class::Write => uses.contains(Uses::INTO) && uses_none(),
                _ => false,
            }
    }

    /// The same of one that is to come, and runs where the warnings are: what our questions would tell can wait for it.
    pub(in crate::session) fn runs_beside_warnings(&self, statement: Recognised, text: &[u8]) -> bool {
        if self.last.warnings == 0 || self.lexing.server.dialect != Dialect::MariaDb {
            return false;
        }
        match statement.class {
            _ if statement.uses.contains(Uses::DOUBT) => false,
            Class::Read | Class::Show | Class::Set => sql::uses_no_table(text, &self.lexing),
            _ if statement.uses.contains(Uses::MULTIPLE) => false,
            Class::Write => statement.uses.contains(Uses::INTO) && sql::uses_no_table(text, &self.lexing),
            Class::Begin(Access::ReadOnly) => false,
            Class::Begin(_) | Class::EndOrSavepoint => !self.situation().default_read_only,
            Class::Use | Class::Empty => true,
            Class::Session => statement.uses.contains(Uses::UNLOCK_TABLES),
            _ => false,
        }
    }

    /// Whether to prepare the text uses no table: then MariaDB leaves the warnings, as if it were executed.
    pub(in crate::session) fn prepares_no_table(&self, text: &[u8]) -> bool {
        match self.recognise(text).class {
            Class::Empty | Class::Use | Class::Call | Class::Begin(_) | Class::EndOrSavepoint => true,
            Class::Diagnostics => true,
            Class::Ddl => sql::defines_no_table(text, &self.lexing),
            Class::Read | Class::Show | Class::Set => sql::uses_no_table(text, &self.lexing),
            _ => false,
        }
    }

    /// The same of text PREPARE. Of what is executed, and of texts that are not known, the server knows better.
    fn prepares_no_tables(&self, work: &Work<'_>) -> bool {
        let texts = sql::prepared_texts(work.sql(), &self.lexing).unwrap_or_default();
        texts.iter().all(|text| self.prepared_text(text).is_none_or(|text| self.prepares_no_table(&text)))
    }

    /// Where warnings outlast the statement, it runs beside them if it can run anywhere, and leaves nothing there; else one
    /// warning goes along.
    pub(in crate::session) async fn beside_warnings(&mut self, work: &Work<'_>, route: Route) -> Route {
        let Recognised { class, uses, .. } = work.statement;
        let moves = matches!(route.target, Target::Any | Target::Replica)
            && matches!(
                class,
                Class::Read | Class::Set | Class::Use | Class::Show | Class::ShowServer | Class::Empty
            )
            && !uses.intersects(MAKES_PIN.union(Uses::CHAIN_OR_RELEASE));
        let held_there = |held: &Connection| self.last.place == Some((held.server, held.id));
        if self.held.as_deref().is_some_and(held_there) && self.leaves_warnings(work) {
            if moves {
                return Route { target: Target::Held, reason: Reason::Diagnostics };
            }
            let to_replica = route.target == Target::Replica;
            if (to_replica || matches!(route.target, Target::Primary | Target::Any))
                && self.last.condition.is_none()
            {
                self.take_warning(to_replica).await;
            }
        }
        route
    }

    /// What is to be asked about may be left on a replica, or on the primary where a replica is next: a warning, where it is the only one,
    /// can be left elsewhere too.
    async fn take_warning(&mut self, to_replica: bool) {
        let Some(mut held) = self.held.take() else { return };
        let is_primary = self.topology.snapshot().primary == Some(held.server);
        if is_primary == to_replica {
            let mut buffer = self.worker.buffers.take();
            let asked = timeout(PRELUDE_LIMIT, held.run(b"SHOW WARNINGS", &mut buffer)).await;
            held.broken |= !matches!(asked, Ok(Ok(_)));
            if let Ok(Ok(answer)) = asked {
                let packet = only_warning(&answer);
                self.last.condition = packet.map(|packet| Condition { packet: Box::new(packet), at: None });
            }
        }
        self.held = Some(held);
    }
}

/// The warning in an answer to SHOW WARNINGS with nothing else in it; not where its text depends on a character set.
fn only_warning(answer: &Answer) -> Option<ErrPacket> {
    let [row] = &answer.rows[..] else { return None };
    let [Some(level), Some(code), Some(text)] = &row[..] else { return None };
    let code = std::str::from_utf8(code).ok()?.parse().ok()?;
    (level == b"Warning" && text.is_ascii()).then(|| ErrPacket::new(code, b"01000", text.clone()))
}
