//! Replication status of both dialects in one form.
//!
//! Owns: the column names of SHOW REPLICA STATUS, SHOW SLAVE STATUS and SHOW ALL REPLICAS/SLAVES STATUS.
//! Does not know: what a status means for a role or for reads.

use std::time::Duration;

/// What a server says about the servers that it follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Replication {
    /// The monitor's account may not ask (error 1227).
    Unreadable,
    /// Every channel; none when it follows nobody.
    Channels(Vec<Channel>),
}

/// One source that a server follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Channel {
    /// The source's host as the replica was told.
    pub source_host: String,
    /// The source's port.
    pub source_port: u16,
    /// The source's `server_id`; 0 while the replica has never reached it.
    pub source_server_id: u32,
    /// The source's `server_uuid`; MySQL only.
    pub source_uuid: Option<String>,
    /// The thread that receives.
    pub io: IoThread,
    /// Whether the thread that applies runs.
    pub sql_runs: bool,
    /// `Seconds_Behind_Source`; `None` is NULL. Whole seconds; finer ones come from GTIDs (`course`).
    pub lag: Option<Duration>,
    /// Everything that was received has been applied.
    pub applied_all: bool,
    /// Last error of the receiving thread; 0 for none.
    pub io_error: u32,
    /// Last error of the applying thread; 0 for none.
    pub sql_error: u32,
    /// It leaves out some of what it receives.
    pub filtered: bool,
    /// It applies what it receives this much later, as it was told.
    pub delay: Duration,
}

/// State of the receiving thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum IoThread {
    /// Connected and receiving.
    Runs,
    /// Started, and not connected to its source.
    Connecting,
    /// Stopped, by a person or by an error.
    Stopped,
}

impl Replication {
    /// The channels, none where they could not be read.
    pub fn channels(&self) -> &[Channel] {
        match self {
            Self::Unreadable => &[],
            Self::Channels(channels) => channels,
        }
    }

    /// Whether it follows nobody, by its own word.
    pub fn is_known_to_be_none(&self) -> bool {
        matches!(self, Self::Channels(channels) if channels.is_empty())
    }
}

/// Columns that name what a replica leaves out, or all that it does not.
const FILTERS: [&str; 7] = [
    "Replicate_Do_DB",
    "Replicate_Ignore_DB",
    "Replicate_Do_Table",
    "Replicate_Ignore_Table",
    "Replicate_Wild_Do_Table",
    "Replicate_Wild_Ignore_Table",
    "Replicate_Rewrite_DB",
];
/// Errors of a receiving thread by which a source does not answer: of the network, and ER_SERVER_SHUTDOWN. All others are a source's own
/// words, or about what it has sent.
const NO_ANSWER: [std::ops::RangeInclusive<u32>; 4] = [0..=0, 2000..=2999, 1158..=1161, 1053..=1053];

impl Channel {
    /// Whether its source answers it, if only to refuse it: by a wrong password, too many connections, logs that are gone.
    pub fn hears(&self) -> bool {
        let answered = !NO_ANSWER.iter().any(|codes| codes.contains(&self.io_error));
        self.io == IoThread::Runs || (self.io == IoThread::Connecting && answered)
    }

    /// Whether it would be connected to its source, if that one answered.
    pub fn misses(&self) -> bool {
        match self.io {
            IoThread::Runs => false,
            IoThread::Connecting => !self.hears(),
            IoThread::Stopped => NO_ANSWER[1].contains(&self.io_error),
        }
    }

    /// Whether it was told of its source, which has this id, and never begun. MariaDB goes on to show the id of the one before.
    pub fn is_unbegun(&self, source: u32) -> bool {
        let reached = self.source_uuid.is_some() || (source != 0 && self.source_server_id == source);
        let errors = self.io_error != 0 || self.sql_error != 0;
        self.io == IoThread::Stopped && !self.sql_runs && !reached && !errors
    }

    /// Reads one row by column name. `None` where a column that decides is missing.
    pub fn parse(row: &[(String, Option<Vec<u8>>)]) -> Option<Self> {
        let text = |name: &str| field(row, name).map(String::from_utf8_lossy);
        let number = |name: &str| text(name).and_then(|value| value.parse::<u32>().ok());
        let same = |one, other| field(row, one).is_some_and(|value| field(row, other) == Some(value));
        let applied_all = same("Source_Log_File", "Relay_Source_Log_File")
            && same("Read_Source_Log_Pos", "Exec_Source_Log_Pos");
        Some(Self {
            source_host: text("Source_Host")?.into_owned(),
            source_port: u16::try_from(number("Source_Port")?).ok()?,
            source_server_id: number("Source_Server_Id").unwrap_or(0),
            source_uuid: text("Source_UUID").filter(|uuid| !uuid.is_empty()).map(|uuid| uuid.into_owned()),
            io: match &*text("Replica_IO_Running")? {
                "Yes" => IoThread::Runs,
                "Connecting" | "Preparing" => IoThread::Connecting,
                _ => IoThread::Stopped,
            },
            sql_runs: text("Replica_SQL_Running")? == "Yes",
            lag: number("Seconds_Behind_Source").map(|seconds| Duration::from_secs(seconds.into())),
            applied_all,
            io_error: number("Last_IO_Errno").unwrap_or(0),
            sql_error: number("Last_SQL_Errno").unwrap_or(0),
            filtered: FILTERS.iter().any(|name| field(row, name).is_some_and(|value| !value.is_empty())),
            delay: Duration::from_secs(number("SQL_Delay").unwrap_or(0).into()),
        })
    }
}

/// What a channel has received, applied or not: MySQL's `Retrieved_Gtid_Set`, MariaDB's `Gtid_IO_Pos`. `None` where it tells neither.
pub(super) fn received(row: &[(String, Option<Vec<u8>>)]) -> Option<&[u8]> {
    field(row, "Retrieved_Gtid_Set").or_else(|| field(row, "Gtid_IO_Pos"))
}

/// A column by its modern name, in a row of either vocabulary; `None` for NULL and for a missing column.
fn field<'a>(row: &'a [(String, Option<Vec<u8>>)], name: &str) -> Option<&'a [u8]> {
    let modern = |column: &str| column.replace("Master", "Source").replace("Slave", "Replica");
    row.iter().find(|(column, _)| modern(column) == name).and_then(|(_, value)| value.as_deref())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn row(pairs: &[(&str, Option<&str>)]) -> Vec<(String, Option<Vec<u8>>)> {
        pairs.iter().map(|(name, value)| ((*name).into(), value.map(|v| v.as_bytes().to_vec()))).collect()
    }

    fn mysql_9_7(io: &str, sql: &str, lag: Option<&str>) -> Vec<(String, Option<Vec<u8>>)> {
        row(&[
            ("Replica_IO_State", Some("Waiting for source to send event")),
            ("Source_Host", Some("127.0.0.1")),
            ("Source_Port", Some("3307")),
            ("Source_Log_File", Some("binlog.000002")),
            ("Read_Source_Log_Pos", Some("158")),
            ("Relay_Source_Log_File", Some("binlog.000002")),
            ("Replica_IO_Running", Some(io)),
            ("Replica_SQL_Running", Some(sql)),
            ("Exec_Source_Log_Pos", Some("158")),
            ("Seconds_Behind_Source", lag),
            ("Last_IO_Errno", Some("0")),
            ("Last_SQL_Errno", Some("1062")),
            ("Source_Server_Id", Some("1")),
            ("Source_UUID", Some("9a0b…")),
        ])
    }

    #[test]
    fn status_of_mysql_9_7() {
        let channel = Channel::parse(&mysql_9_7("Yes", "Yes", Some("3"))).unwrap();
        assert_eq!((channel.source_host.as_str(), channel.source_port), ("127.0.0.1", 3307));
        assert_eq!((channel.source_server_id, channel.source_uuid.as_deref()), (1, Some("9a0b…")));
        assert_eq!((channel.io, channel.sql_runs), (IoThread::Runs, true));
        assert_eq!(channel.lag, Some(Duration::from_secs(3)));
        assert_eq!((channel.applied_all, channel.sql_error), (true, 1062));
    }

    #[test]
    fn t23_null_lag_is_not_zero() {
        assert_eq!(Channel::parse(&mysql_9_7("Yes", "No", None)).unwrap().lag, None);
        assert_eq!(Channel::parse(&mysql_9_7("Yes", "Yes", Some("0"))).unwrap().lag, Some(Duration::ZERO));
        assert_eq!(Channel::parse(&mysql_9_7("Yes", "Yes", Some("-"))).unwrap().lag, None);
    }

    #[test]
    fn threads_that_are_not_running() {
        for (word, thread) in [
            ("No", IoThread::Stopped),
            ("Connecting", IoThread::Connecting),
            ("Preparing", IoThread::Connecting),
        ] {
            assert_eq!(Channel::parse(&mysql_9_7(word, "No", None)).unwrap().io, thread);
        }
        assert!(!Channel::parse(&mysql_9_7("Yes", "No", None)).unwrap().sql_runs);
    }

    #[test]
    fn status_of_mariadb_10_11() {
        let channel = Channel::parse(&row(&[
            ("Connection_name", Some("")),
            ("Slave_SQL_State", Some("Slave has read all relay log; waiting for more updates")),
            ("Master_Host", Some("10.0.0.1")),
            ("Master_Port", Some("3306")),
            ("Master_Log_File", Some("master-bin.000001")),
            ("Read_Master_Log_Pos", Some("900")),
            ("Relay_Master_Log_File", Some("master-bin.000001")),
            ("Slave_IO_Running", Some("Yes")),
            ("Slave_SQL_Running", Some("Yes")),
            ("Exec_Master_Log_Pos", Some("344")),
            ("Seconds_Behind_Master", Some("7")),
            ("Master_Server_Id", Some("1")),
        ]));
        let channel = channel.unwrap();
        assert_eq!(channel.lag, Some(Duration::from_secs(7)));
        assert_eq!((channel.applied_all, channel.source_uuid), (false, None));
    }

    #[test]
    fn a_row_without_the_deciding_columns_is_no_status() {
        assert_eq!(Channel::parse(&row(&[("Source_Host", Some("h"))])), None);
    }

    /// A channel in good order, for the tests of what builds on it.
    pub fn channel(source_server_id: u32, lag_s: Option<u64>) -> Channel {
        Channel {
            source_host: format!("host-{source_server_id}"),
            source_port: 3306,
            source_server_id,
            source_uuid: None,
            io: IoThread::Runs,
            sql_runs: true,
            lag: lag_s.map(Duration::from_secs),
            applied_all: true,
            io_error: 0,
            sql_error: 0,
            filtered: false,
            delay: Duration::ZERO,
        }
    }

    #[test]
    fn who_is_refused_by_its_source_hears_from_it() {
        let of = |io, io_error| Channel { io, io_error, ..channel(1, None) };
        for (io, error, hears, misses) in [
            (IoThread::Runs, 0, true, false),
            (IoThread::Connecting, 0, false, true),
            (IoThread::Connecting, 2003, false, true),
            (IoThread::Connecting, 1045, true, false),
            (IoThread::Connecting, 1040, true, false),
            (IoThread::Stopped, 0, false, false),
            (IoThread::Stopped, 1236, false, false),
            (IoThread::Stopped, 2003, false, true),
        ] {
            let channel = of(io, error);
            assert_eq!((channel.hears(), channel.misses()), (hears, misses), "{io:?} {error}");
        }
    }

    #[test]
    fn filters_and_delays_are_seen() {
        let mut status = mysql_9_7("Yes", "Yes", Some("0"));
        status.push(("Replicate_Wild_Ignore_Table".into(), Some(b"logs.%".to_vec())));
        status.push(("SQL_Delay".into(), Some(b"3600".to_vec())));
        let channel = Channel::parse(&status).unwrap();
        assert_eq!((channel.filtered, channel.delay), (true, Duration::from_secs(3600)));
        assert!(!Channel::parse(&mysql_9_7("Yes", "Yes", Some("0"))).unwrap().filtered);
    }
}
