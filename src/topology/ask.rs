//! Asks each server for what `monitor.lag` names: the beat in a table, or an operator's own question.
//!
//! Owns: the statements that read, and a connection for them beside the probe's, so that a table that is locked or a question that takes
//! long takes no server out. Does not know: what an answer says of a lag, who writes the beats. Invariant: what cannot be asked is
//! [`Reading::Nothing`]; the server, too, gives up in bounded time.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{debug, warn};

use crate::config::LagBy;
use crate::ids::ServerId;

use super::health::State;
use super::probe::{Target, not_understood, values};
use super::pulse::{Beat, Reading};
use super::shared::Shared;
use super::watch::{Cut, Rhythm, guarded};

/// Seconds of a lag that is taken at its word; no replica is more than a century late.
const SECONDS_MAX: f64 = 3.2e9;

/// Asks one server for as long as the task lives, while it is up and there is a primary.
pub(super) async fn ask_server(shared: Arc<Shared>, id: ServerId, target: Target, by: LagBy, rhythm: Rhythm) {
    let mut connection = None;
    let mut told = None;
    let mut ticks = tokio::time::interval(rhythm.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let snapshot = shared.snapshot();
        let (Some(server), Some(primary)) = (snapshot.server(id), snapshot.primary()) else { continue };
        let Some(question) = Question::new(&by, primary.server_id, primary.id == id) else { continue };
        if server.state != State::Up {
            connection = None;
            continue;
        }
        let asked = Instant::now().into_std();
        let asking = question.ask(connection.take(), target.clone(), rhythm.timeout);
        let failure = match guarded(rhythm.timeout, asking).await {
            Ok(Ok((kept, reading))) => {
                connection = Some(kept);
                shared.update(|book| book.measured(id, reading, asked));
                (reading == Reading::Nothing).then(|| "there is no beat".to_owned())
            }
            Ok(Err(error)) => Some(error.to_string()),
            Err(Cut::TimedOut) => Some(format!("no answer within {:?}", rhythm.timeout)),
            Err(Cut::BrokeOff) => Some("the answer is not understood".to_owned()),
        };
        let Some(detail) = failure else {
            told = None;
            continue;
        };
        shared.update(|book| book.measured(id, Reading::Nothing, asked));
        if told.as_ref() == Some(&detail) {
            debug!(server = %server.address, detail, "lag could not be asked for again");
        } else {
            warn!(server = %server.address, mode = by.mode(), detail, "lag cannot be asked for: it is found as by `auto`");
            told = Some(detail);
        }
    }
}

/// A statement, and what its answer is.
struct Question {
    sql: String,
    is_beat: bool,
}

impl Question {
    /// What a server is asked while this one is the primary; `None` where nothing is.
    fn new(by: &LagBy, primary: u32, is_primary: bool) -> Option<Self> {
        let (column, of, condition) = match by {
            LagBy::Auto => return None,
            // The primary is not late.
            LagBy::Query(sql) => return (!is_primary).then(|| Self { sql: sql.clone(), is_beat: false }),
            LagBy::Heartbeat(beats) => ("beat", &beats.table, "id = 1".to_owned()),
            LagBy::PtHeartbeat(beats) => ("ts", &beats.table, format!("server_id = {primary}")),
        };
        // Only differences are of interest: no time zone comes in.
        let sql =
            format!("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {column}) FROM {of} WHERE {condition}");
        Some(Self { sql, is_beat: true })
    }

    async fn ask(
        self,
        kept: Option<Conn>,
        target: Target,
        limit: Duration,
    ) -> Result<(Conn, Reading), Error> {
        let mut connection = match kept {
            Some(connection) => connection,
            None => {
                let (mut connection, _) = target.connect().await?;
                connection.query_drop(settings(limit)).await?;
                connection
            }
        };
        let rows: Vec<Vec<Option<Vec<u8>>>> = connection.query_map(self.sql, values).await?;
        let reading = match &rows[..] {
            [] if self.is_beat => Reading::Nothing,
            [row] => match (&row[..], self.is_beat) {
                ([value], true) => beat(value.as_deref()),
                ([value], false) => seconds(value.as_deref()),
                _ => None,
            }
            .ok_or_else(|| not_understood("the answer is not one number"))?,
            _ => return Err(not_understood("the answer is not one row")),
        };
        Ok((connection, reading))
    }
}

/// What holds for the connection: nothing waits or runs for long at the server, few rows are sent, and nothing is written.
fn settings(limit: Duration) -> String {
    let seconds = limit.as_secs().max(1);
    // Each dialect has its own word for the time that a statement may take, and skips the other's comment.
    format!(
        "SET sql_select_limit = 2, lock_wait_timeout = {seconds} /*!50708 , max_execution_time = {} */ /*M!100108 , max_statement_time = {} */; \
         SET SESSION TRANSACTION READ ONLY",
        limit.as_millis(),
        limit.as_secs_f64(),
    )
}

/// NULL is what a server makes of a text that is no moment.
fn beat(value: Option<&[u8]>) -> Option<Reading> {
    let text = std::str::from_utf8(value?).ok()?;
    Some(Reading::Beat(Beat(text.parse().ok()?)))
}

/// A whole or a broken number. Less than nothing is a clock that is behind.
fn seconds(value: Option<&[u8]>) -> Option<Reading> {
    let Some(value) = value else { return Some(Reading::Answer(None)) };
    let seconds: f64 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    let known = seconds.is_finite() && seconds <= SECONDS_MAX;
    known.then(|| Reading::Answer(Some(Duration::from_secs_f64(seconds.max(0.0)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Beats, TableName};

    #[test]
    fn each_mode_asks_for_its_own() {
        let table = TableName { database: "d".into(), table: "t".into() };
        let beats = Beats { table, interval: Duration::from_secs(1) };
        let sql = |by: &LagBy, is_primary| Question::new(by, 7, is_primary).map(|question| question.sql);
        let asked = |what| Some(format!("SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {what}"));
        assert_eq!(sql(&LagBy::Heartbeat(beats.clone()), true), asked("beat) FROM `d`.`t` WHERE id = 1"));
        assert_eq!(sql(&LagBy::PtHeartbeat(beats), false), asked("ts) FROM `d`.`t` WHERE server_id = 7"));
        assert_eq!(sql(&LagBy::Auto, false), None);
        let own = LagBy::Query("SELECT 1".into());
        assert_eq!((sql(&own, false), sql(&own, true)), (Some("SELECT 1".into()), None));
    }

    #[test]
    fn answers_are_numbers_or_null() {
        let lag = |ms| Some(Reading::Answer(Some(Duration::from_millis(ms))));
        for (text, reading) in [("0", lag(0)), ("1.25", lag(1250)), ("12e-1", lag(1200)), ("-3", lag(0))] {
            assert_eq!(seconds(Some(text.as_bytes())), reading, "{text}");
        }
        for text in ["", "x", "NaN", "inf", "1e300", "1 s", "\u{fffd}"] {
            assert_eq!(seconds(Some(text.as_bytes())), None, "{text}");
        }
        assert_eq!(seconds(None), Some(Reading::Answer(None)));
        assert_eq!(beat(Some(b"1700000000000001")), Some(Reading::Beat(Beat(1_700_000_000_000_001))));
        assert_eq!((beat(None), beat(Some(b"now")), beat(Some(b"99999999999999999999"))), (None, None, None));
    }
}
