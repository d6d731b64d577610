//! `monitor.lag`: how it is measured how far a replica is behind.
//!
//! Owns: its options, and what makes a table's name or a question. Does not know: what servers answer. Invariant: an option of another
//! mode is an error, and a table's name stands in a statement as it is.

use std::fmt;
use std::time::Duration;

use super::error::quoted;
use super::fields::{Context, Fields, Item};
use super::model::Cluster;
use super::resolve::MINUTE;

/// Time between two beats, where the file says nothing: as pt-heartbeat's.
const INTERVAL: Duration = Duration::from_secs(1);
/// Characters of a database's or a table's name, as servers have it.
const NAME_MAX: usize = 64;
/// Bytes of a question.
const QUERY_MAX: usize = 4096;
/// Databases that are the servers' own, and not replicated as others are.
const SYSTEM: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];

/// What says how far a replica is behind.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum LagBy {
    /// The transactions that it has executed, else its own word (`Seconds_Behind_Source`).
    #[default]
    Auto,
    /// A table into which Tidegate writes at the primary.
    Heartbeat(Beats),
    /// A table into which pt-heartbeat writes.
    PtHeartbeat(Beats),
    /// A statement's answer on the replica: one row with one number of seconds, or NULL.
    Query(String),
}

/// A table of heartbeats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Beats {
    /// Which.
    pub table: TableName,
    /// How often somebody writes into it.
    pub interval: Duration,
}

/// A table with its database. Displayed as SQL, in backticks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableName {
    /// The database.
    pub database: String,
    /// The table in it.
    pub table: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`.`{}`", self.database, self.table) // `table` lets no backtick in
    }
}

impl LagBy {
    /// The word for it in the file.
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Heartbeat(_) => "heartbeat",
            Self::PtHeartbeat(_) => "pt-heartbeat",
            Self::Query(_) => "query",
        }
    }

    /// The table of heartbeats, where there is one.
    pub fn beats(&self) -> Option<&Beats> {
        match self {
            Self::Heartbeat(beats) | Self::PtHeartbeat(beats) => Some(beats),
            Self::Auto | Self::Query(_) => None,
        }
    }
}

/// What `lag` says.
pub(super) fn measure(mut fields: Fields<'_>, cx: &mut Context<'_, '_>) -> LagBy {
    #[derive(Clone, Copy, PartialEq)]
    enum Mode {
        Auto,
        Heartbeat,
        PtHeartbeat,
        Query,
    }
    let modes = [
        ("auto", Mode::Auto),
        ("heartbeat", Mode::Heartbeat),
        ("pt-heartbeat", Mode::PtHeartbeat),
        ("query", Mode::Query),
    ];
    let before = cx.errors.count();
    let mode = fields.choice(cx, "mode", &modes, Mode::Auto);
    let understood = cx.errors.count() == before;
    let (has_table, has_query) = (matches!(mode, Mode::Heartbeat | Mode::PtHeartbeat), mode == Mode::Query);
    let table = fields.take("table");
    let interval = fields.duration(cx, "interval", INTERVAL, 100..=MINUTE);
    let query = fields.take("query");
    for (option, is_read, other) in [
        ("table", has_table, "heartbeat"),
        ("interval", has_table, "heartbeat"),
        ("query", has_query, "query"),
    ] {
        if understood && !is_read && fields.has(option) {
            let message = format!("{} is given, but this `mode` does not read it", quoted(option));
            fields.conflict(cx, &[option], message, &format!("write `mode: {other}`, or remove it"));
        }
    }
    if has_table && table.is_none() {
        fields.missing(cx, "table", "name the table of the heartbeats, such as `table: tidegate.heartbeat`");
    }
    if has_query && query.is_none() {
        fields.missing(cx, "query", "write the statement that gives a replica's lag in seconds");
    }
    fields.finish(cx);
    let beats = |cx: &mut Context<'_, '_>| Some(Beats { table: table_name(&table?, cx)?, interval });
    match mode {
        Mode::Auto => None,
        Mode::Heartbeat => beats(cx).map(LagBy::Heartbeat),
        Mode::PtHeartbeat => beats(cx).map(LagBy::PtHeartbeat),
        Mode::Query => query.and_then(|item| question(&item, cx)).map(LagBy::Query),
    }
    .unwrap_or_default()
}

/// A table of heartbeats is of use only where it is written more often than `max_lag`, and where there is one primary to write at.
pub(super) fn fits(lag: &LagBy, cluster: &Cluster, top: &Fields<'_>, cx: &mut Context<'_, '_>) {
    let Some(Beats { interval, .. }) = lag.beats() else { return };
    if cluster.reads.max_lag.is_some_and(|max| *interval > max) {
        let message = "`monitor.lag.interval` exceeds `reads.max_lag`: a replica could be later than that before it shows";
        top.conflict(cx, &["monitor"], message, "lower `monitor.lag.interval`, or raise `reads.max_lag`");
    }
    if cluster.multi_primary {
        let message = "heartbeats are written at one primary, but `topology` is `multi_primary`";
        top.conflict(
            cx,
            &["monitor"],
            message,
            "write `lag: {mode: auto}`: servers that share their data are not late",
        );
    }
}

fn table_name(item: &Item<'_>, cx: &mut Context<'_, '_>) -> Option<TableName> {
    let text = item.text(cx)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_$-".contains(&byte);
    let is_name = |name: &str| !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(allowed);
    let Some((database, table)) = text.split_once('.').filter(|(one, other)| is_name(one) && is_name(other))
    else {
        let help = "write `database.table`, each of letters, digits, `_`, `$` and `-`";
        item.error(cx, format!("{} is not a table with its database", quoted(text)), Some(help.to_owned()));
        return None;
    };
    if SYSTEM.iter().any(|system| database.eq_ignore_ascii_case(system)) {
        let help = "use a database of its own, such as `tidegate.heartbeat`";
        item.error(
            cx,
            format!("{} is a database of the servers' own", quoted(database)),
            Some(help.to_owned()),
        );
        return None;
    }
    Some(TableName { database: database.to_owned(), table: table.to_owned() })
}

/// One statement that reads. What it really does is its server's to judge, by the account's privileges.
fn question(item: &Item<'_>, cx: &mut Context<'_, '_>) -> Option<String> {
    let text = item.text(cx)?.trim();
    let first = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let reads = ["SELECT", "WITH"].iter().any(|word| first.eq_ignore_ascii_case(word));
    let (message, help) = if text.len() > QUERY_MAX {
        (format!("the statement exceeds {QUERY_MAX} bytes"), "put what it asks into a view")
    } else if text.contains([';', '\0']) {
        ("more than one statement cannot be asked".to_owned(), "write one, without a semicolon")
    } else if !reads {
        (
            format!("{} does not begin a statement that reads", quoted(first)),
            "write `SELECT …`: one row, one number of seconds, or NULL",
        )
    } else {
        return Some(text.to_owned());
    };
    item.error(cx, message, Some(help.to_owned()));
    None
}
