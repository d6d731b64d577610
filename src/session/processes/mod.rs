//! The servers' tables that list connections, as a derived table that speaks of Tidegate's sessions.
//!
//! Owns: which tables and columns those are, and the SQL that stands in for one. Does not know: sessions, connections.
//! Invariant: what a server shows to an account decides what Tidegate shows to it; no text of a client stands in the SQL but as
//! hexadecimal digits.

pub(super) mod own_ids;
pub(super) mod processlist;

use std::fmt::Write as _;

use crate::ids::{BackendId, ClientId};
use crate::sql::Dialect;
use crate::wire::socket::Peer;

/// A table that names connections by the servers' ids.
#[derive(Debug)]
pub(super) struct Listing {
    pub schema: &'static str,
    pub table: &'static str,
    /// The columns with the ids, in lower case.
    ids: &'static [&'static str],
    rows: Rows,
}

/// What a row is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rows {
    /// A connection; sessions that have none are added.
    Processes,
    /// A connection, or something about one.
    Threads,
    /// Something else that happens on connections.
    Facts,
}

macro_rules! listings {
    ($($schema:literal { $($table:literal ($($id:literal),*) $rows:ident)* })*) => {
        &[$($(Listing { schema: $schema, table: $table, ids: &[$($id),*], rows: Rows::$rows }),*),*]
    };
}

/// All of them, in both dialects.
pub(super) const LISTINGS: &[Listing] = listings! {
    "information_schema" {
        "processlist" ("id") Processes
        "innodb_trx" ("trx_mysql_thread_id") Facts
        "metadata_lock_info" ("thread_id") Facts
    }
    "performance_schema" {
        "processlist" ("id") Processes
        "threads" ("processlist_id") Threads
        "session_connect_attrs" ("processlist_id") Threads
        "session_account_connect_attrs" ("processlist_id") Threads
    }
    "sys" {
        "processlist" ("conn_id") Threads
        "x$processlist" ("conn_id") Threads
        "session" ("conn_id") Threads
        "x$session" ("conn_id") Threads
        "innodb_lock_waits" ("waiting_pid", "blocking_pid") Facts
        "x$innodb_lock_waits" ("waiting_pid", "blocking_pid") Facts
        "schema_table_lock_waits" ("waiting_pid", "blocking_pid") Facts
        "x$schema_table_lock_waits" ("waiting_pid", "blocking_pid") Facts
    }
};

/// The character set of names: MySQL warns of `utf8mb3`, which its own tables have.
const NAME: &str = "CHARACTER SET utf8mb4 PATH";

/// A thread of a server that belongs to this process.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    /// The server's `@@server_id`.
    pub server: u32,
    pub thread: BackendId,
    /// The session that uses it, and where its client is; `None` for one that nobody uses now.
    pub session: Option<(ClientId, Peer)>,
}

/// A session, as it is listed where no thread of the server stands for it.
#[derive(Clone, Debug)]
pub(super) struct Resting {
    pub id: ClientId,
    /// `@@server_id` of the server whose thread it uses; 0 for none.
    pub server: u32,
    pub user: String,
    pub host: String,
    pub database: Option<String>,
    pub command: &'static str,
    pub seconds: u64,
    pub state: &'static str,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Asker<'a> {
    pub id: ClientId,
    pub peer: Peer,
    /// Its statement as it has sent it; `None`: too long to be shown as it was.
    pub text: Option<&'a [u8]>,
}

/// The process's sessions and connections at one moment.
#[derive(Clone, Debug)]
pub(super) struct Processes<'a> {
    pub asker: Asker<'a>,
    pub threads: Vec<Thread>,
    pub resting: Vec<Resting>,
    pub dialect: Dialect,
}

impl Processes<'_> {
    /// A derived table, in parentheses, with the columns of `listing`, which the server has named.
    ///
    /// A document in JSON carries what Tidegate knows, as both dialects read the same; `@@server_id` picks what is true where the
    /// statement runs.
    pub fn derived(&self, listing: &Listing, columns: &[String]) -> String {
        let Listing { schema, table, ids, rows } = listing;
        let (number, name) = (self.number(listing), NAME);
        let ids: Vec<&String> =
            columns.iter().filter(|column| ids.contains(&column.to_ascii_lowercase().as_str())).collect();
        let selected: Vec<_> =
            columns.iter().map(|column| self.column(column, &ids, number, *rows)).collect();
        let mut sql = format!(
            "(WITH tidegate_threads AS (SELECT t,c,h,b FROM JSON_TABLE(_utf8mb4 x'{}','$[*]' COLUMNS(\
             s BIGINT UNSIGNED PATH '$[0]',t {number} PATH '$[1]',c {number} PATH '$[2]',\
             h VARCHAR(64) {name} '$[3]',b VARCHAR(64) {name} '$[4]'))AS j WHERE s=@@server_id)\
             SELECT {} FROM `{schema}`.`{table}` AS p",
            hex(self.threads_as_json().as_bytes()),
            selected.join(",")
        );
        for (at, id) in ids.iter().enumerate() {
            let _ = write!(sql, " LEFT JOIN tidegate_threads AS i{at} ON i{at}.t=p.`{id}`"); // a String takes it all
        }
        if let (Rows::Processes | Rows::Threads, Some(id)) = (rows, ids.first()) {
            // What nobody uses is no client's.
            let _ = write!(sql, " WHERE i0.t IS NULL OR i0.c<>0 OR p.`{id}`=CONNECTION_ID()");
        }
        if *rows == Rows::Processes {
            sql.push_str(&self.added(listing, columns, number));
        }
        sql.push(')');
        sql
    }

    /// The type of the ids: with the other signedness they would become decimals.
    fn number(&self, listing: &Listing) -> &'static str {
        let signed = self.dialect == Dialect::MariaDb && listing.schema == "information_schema";
        if signed && listing.rows == Rows::Processes { "BIGINT" } else { "BIGINT UNSIGNED" }
    }

    fn column(&self, column: &str, ids: &[&String], number: &str, rows: Rows) -> String {
        let own = |id: &str, own: String, theirs: String| {
            format!("IF(p.`{id}`=CONNECTION_ID(),{own},{theirs}) AS `{column}`")
        };
        let cast = if number == "BIGINT" { "SIGNED" } else { "UNSIGNED" };
        let own_id = format!("CAST({} AS {cast})", self.asker.id);
        let lower = column.to_ascii_lowercase();
        if let Some(at) = ids.iter().position(|id| *id == column) {
            return own(column, own_id, format!("IFNULL(NULLIF(i{at}.c,0),p.`{column}`)"));
        }
        let verb = match lower.as_str() {
            "sql_kill_blocking_query" => "KILL QUERY ",
            "sql_kill_blocking_connection" => "KILL ",
            _ => "",
        };
        if let (false, Some(at)) = (verb.is_empty(), ids.iter().position(|id| *id == "blocking_pid")) {
            return format!("CONCAT('{verb}',IFNULL(NULLIF(i{at}.c,0),p.`blocking_pid`)) AS `{column}`");
        }
        let Some(id) = ids.first().filter(|_| rows != Rows::Facts) else { return format!("p.`{column}`") };
        match lower.as_str() {
            "host" => {
                own(id, text(self.asker.peer.to_string().as_bytes()), format!("IFNULL(i0.h,p.`{column}`)"))
            }
            "processlist_host" => {
                own(id, text(self.asker.peer.host().as_bytes()), format!("IFNULL(i0.b,p.`{column}`)"))
            }
            "info" | "processlist_info" => match self.asker.text {
                Some(sql) => own(id, text(sql), format!("p.`{column}`")),
                None => format!("p.`{column}`"),
            },
            _ => format!("p.`{column}`"),
        }
    }

    /// The sessions for which the server has no thread, for those who see threads of others, and one's own.
    fn added(&self, Listing { schema, table, .. }: &Listing, columns: &[String], number: &str) -> String {
        let values: Vec<_> = columns.iter().map(|column| value(&column.to_ascii_lowercase())).collect();
        let me = "SUBSTRING_INDEX(USER(),'@',1)";
        let name = NAME;
        format!(
            " UNION ALL SELECT {} FROM JSON_TABLE(_utf8mb4 x'{}','$[*]' COLUMNS(\
             s BIGINT UNSIGNED PATH '$[0]',c {number} PATH '$[1]',n INT PATH '$[2]',u VARCHAR(128) {name} '$[3]',\
             h VARCHAR(64) {name} '$[4]',d VARCHAR(64) {name} '$[5]',k VARCHAR(16) {name} '$[6]',\
             w VARCHAR(64) {name} '$[7]'))AS r WHERE r.s<>@@server_id AND (r.u={me} OR EXISTS(\
             SELECT 1 FROM `{schema}`.`{table}` AS o WHERE o.`USER`<>{me}))",
            values.join(","),
            hex(self.resting_as_json().as_bytes()),
        )
    }

    fn threads_as_json(&self) -> String {
        let rows = self.threads.iter().map(|thread| {
            let (id, host) = match &thread.session {
                Some((id, peer)) => (id.0, format!("{},{}", quoted(&peer.to_string()), quoted(&peer.host()))),
                None => (0, "null,null".to_owned()),
            };
            format!("[{},{},{id},{host}]", thread.server, thread.thread)
        });
        format!("[{}]", rows.collect::<Vec<_>>().join(","))
    }

    fn resting_as_json(&self) -> String {
        let rows = self.resting.iter().map(|session| {
            let Resting { id, server, user, host, database, command, seconds, state } = session;
            let database = database.as_deref().map_or("null".to_owned(), quoted);
            let (user, host, command, state) = (quoted(user), quoted(host), quoted(command), quoted(state));
            format!("[{server},{id},{seconds},{user},{host},{database},{command},{state}]")
        });
        format!("[{}]", rows.collect::<Vec<_>>().join(","))
    }
}

/// The column of a session that no thread stands for.
fn value(column: &str) -> &'static str {
    match column {
        "id" => "r.c",
        "user" => "r.u",
        "host" => "r.h",
        "db" => "r.d",
        "command" => "r.k",
        "time" => "r.n",
        "time_ms" => "r.n*1000.000",
        "state" => "r.w",
        "execution_engine" => "'PRIMARY'",
        "stage" | "max_stage" | "progress" | "memory_used" | "max_memory_used" | "examined_rows"
        | "sent_rows" | "query_id" | "tid" => "0",
        _ => "NULL",
    }
}

/// A literal.
fn text(bytes: &[u8]) -> String {
    let utf8 = String::from_utf8_lossy(bytes);
    format!("_utf8mb4 x'{}'", hex(utf8.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |four: u8| char::from(DIGITS[usize::from(four & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// A string of JSON.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            _ if character.is_control() => out.push(' '),
            _ => out.push(character),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_of_json_is_well_formed_whatever_a_name_holds() {
        assert_eq!(quoted("a\"b\\c\nd é"), "\"a\\\"b\\\\c d é\"");
    }

    #[test]
    fn no_text_of_a_client_stands_in_the_statement() {
        let processes = Processes {
            asker: Asker { id: ClientId(1 << 30), peer: Peer::Local, text: Some(b"SELECT 'secret") },
            threads: vec![Thread {
                server: 1,
                thread: BackendId(7),
                session: Some((ClientId(1 << 30), Peer::Local)),
            }],
            resting: vec![Resting {
                id: ClientId(2),
                server: 0,
                user: "o'hara".into(),
                host: "localhost".into(),
                database: Some("d'b".into()),
                command: "Sleep",
                seconds: 5,
                state: "",
            }],
            dialect: Dialect::MySql,
        };
        let columns = ["ID", "USER", "HOST", "DB", "INFO"].map(str::to_owned);
        for listing in LISTINGS {
            let sql = processes.derived(listing, &columns);
            assert!(!sql.contains("secret") && !sql.contains("hara"), "{sql}");
            assert_eq!(sql.contains("UNION ALL"), listing.rows == Rows::Processes, "{sql}");
        }
    }
}
