//! EXPLAIN TIDEGATE: where a statement of this session would go now, and why.
//!
//! Owns: which parts the answer has. Does not know: the words for a plan (`plan::sharded`). Invariant: nothing of the statement is
//! carried out, and no server is asked.

use std::sync::Arc;

use super::direct::{Directory, may_name_tables};
use crate::plan;
use crate::plan::sharded::{self, Arguments, Line, Planned};
use crate::session::diagnostics::Last;
use crate::session::{Flow, Session, reply};

/// Shards whose text is shown.
const TEXTS_MAX: usize = 64;

impl Session {
    /// Answers with a row for each part.
    pub(in crate::session) async fn explain_plan(&mut self, text: &[u8]) -> Flow {
        let statement = self.recognise(text);
        let route = plan::route(statement, self.situation());
        let mut lines = vec![
            Line::new("class", format!("{:?}", statement.class)),
            Line::new("role", route.target.role()),
            Line::new("reason", route.reason.name()),
            Line::new("digest", format!("{:016x}", self.digest(text))),
        ];
        let directory = Arc::clone(&self.worker.directory.load());
        match directory.lists_any() && may_name_tables(statement) {
            true => lines.extend(self.plan_lines(&directory, text)),
            false => lines.push(Line::new("plan", HOME)),
        }
        let rows: Vec<_> = lines.iter().map(|line| [line.item.as_bytes(), line.value.as_bytes()]).collect();
        self.last = Last { row_count: -1, found_rows: rows.len() as u64, ..Last::default() };
        let answer = reply::texts([b"item", b"value"], &rows, (1, self.standing()), self.client.capabilities);
        self.tell(&answer).await
    }

    fn plan_lines(&self, directory: &Directory, text: &[u8]) -> Vec<Line> {
        let (statement, reading, mut literals) = (self.recognise(text), self.reading(), Vec::new());
        let schema = self.logical_schema();
        let planned = self.planned_as(directory, text, statement, schema, reading, &mut literals);
        if *planned == Planned::Home {
            return vec![Line::new("plan", HOME)];
        }
        let lexing = reading.lexing;
        let mut lines = sharded::lines(text, &lexing, &planned, directory.rules());
        if let Planned::Routed(routed) = &*planned
            && let Some(database) = directory.rules().database(&routed.database)
        {
            let arguments = Arguments {
                sql: text,
                lexing: &lexing,
                literals: &literals,
                parameters: &[],
                charset: reading.charset,
            };
            lines.extend(sharded::execution(routed, &arguments, database, TEXTS_MAX));
        }
        lines
    }
}

/// The plan of what names no sharded table.
const HOME: &str = "home, as it stands";
