//! Statements that no server knows: about what a session's reads must not miss, and where a statement would go.

use super::work::Work;
use super::{Flow, Problem, Session, reply};
use crate::consistency::Consistency;
use crate::plan::{Reason, Route, Target};
use crate::sql::Own;
use crate::topology::Transactions;
use crate::wire::command;
use crate::wire::reply::Expect;

impl Session {
    /// A statement that no server knows.
    pub(super) async fn carry_out_own(&mut self, own: Own, text: &[u8]) -> Flow {
        let wrong = |name: &str, value: &[u8]| {
            let value = String::from_utf8_lossy(value);
            Problem::Request(1231, format!("Variable '{name}' can't be set to the value of '{value}'").into())
        };
        match own {
            Own::Gtid => return self.tell_gtid().await,
            Own::ResumeDefinition(id) => return Box::pin(self.resume_definition(id)).await,
            Own::Explain(from) => {
                return Box::pin(self.explain_plan(text.get(from..).unwrap_or_default())).await;
            }
            Own::SetGtid(text) => {
                if !Transactions::parse(&text).is_some_and(|given| self.freshness.take_in(&given)) {
                    return self.refuse(&wrong("tidegate_gtid", &text)).await;
                }
            }
            Own::SetConsistency(text) => {
                let level = Consistency::parse(&text);
                if level.is_none() && !text.eq_ignore_ascii_case(b"default") {
                    return self.refuse(&wrong("tidegate_consistency", &text)).await;
                }
                self.freshness.level = level;
            }
        }
        self.tell(&reply::ok(1, self.standing(), 0, self.client.capabilities)).await
    }

    /// Hands out what the session has written, for another session to read no less. A server writes the result.
    async fn tell_gtid(&mut self) -> Flow {
        let Some(wrote) = self.freshness.named() else {
            let what = "what this session has written cannot be told: a statement failed that may have written, or its server has no GTIDs";
            return self.refuse(&Problem::Unsupported(what.into())).await;
        };
        let sql = format!("SELECT '{wrote}' AS `tidegate_gtid()`").into_bytes();
        let mut packets = Vec::new();
        command::put_query(&mut packets, &sql, self.class.capabilities);
        let work =
            Work { text: Some(&sql), ..Work::command(&packets, Expect::Results, self.recognise(&sql)) };
        self.perform(&work, Route { target: Target::Any, reason: Reason::SessionState }).await
    }
}
